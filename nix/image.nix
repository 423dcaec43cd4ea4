# SPDX-License-Identifier: Apache-2.0
# An attestable image: one UKI, /usr and the store under dm-verity, everything else in memory, and no way in.
{ config, lib, pkgs, modulesPath, ... }:
let
  inherit (config.image.repart.verityStore) partitionIds;
  loader = { x86_64-linux = "BOOTX64.EFI"; aarch64-linux = "BOOTAA64.EFI"; }.${pkgs.stdenv.hostPlatform.system};
  parameters = [
    "panic=10"
    "oops=panic"
    "lockdown=confidentiality"
    # verityStore protects /usr: the root's option of this name would do nothing.
    "systemd.verity_usr_options=panic-on-corruption"
    "systemd.gpt_auto=no"
    # Credentials from SMBIOS or fw_cfg add units without changing a PCR.
    "systemd.import_credentials=no"
    "systemd.getty_auto=no"
    "systemd.swap=no"
  ];
  shown = [ "console=ttyS0,115200n8" "quiet" "systemd.show_status=no" ];
  # What NixOS adds by itself, and the NVIDIA driver's own parameters. lockdown needs no place in lsm=: it is early.
  harmless = [ "root=fstab" "loglevel=[0-7]" "lsm=[a-z,]+" "audit=[01]" "audit_backlog_limit=[0-9]+" "nvidia[a-z_-]*[.][^ \"]+" ];
  unknown = lib.filter (p: !(lib.elem p (parameters ++ shown) || lib.any (h: builtins.match h p != null) harmless)) config.boot.kernelParams;

  # Said once, for kiwi's image and this one.
  ruleset = lib.readFile ../kiwi/root/usr/lib/sealboot/firewall.nft;
  sysctl = lib.mapAttrs (_: lib.last) (import ./settings.nix (lib.readFile ../kiwi/root/usr/lib/sysctl.d/90-sealboot.conf));
  loose = lib.filter (name: toString (config.boot.kernel.sysctl.${name} or null) != sysctl.${name}) (lib.attrNames sysctl)
    ++ lib.filter (lib.hasInfix "/") (lib.attrNames config.boot.kernel.sysctl); # sysctl.d reads / as . and would take the last

  # The agent asks for no key before these have succeeded.
  doors = [ "nftables.service" "sealboot-lockdown.service" ];
  agent = config.systemd.services.sealboot-agent;
  writable = lib.filterAttrs (_: fs: fs.fsType != "tmpfs" && (lib.elem "rw" fs.options || !lib.elem "ro" fs.options)) config.fileSystems;
  withPassword = lib.filterAttrs
    (_: user: user.password != null || user.hashedPassword != null || user.initialPassword != null
      || user.initialHashedPassword != null || user.hashedPasswordFile != null
      || user.openssh.authorizedKeys.keys != [ ] || user.openssh.authorizedKeys.keyFiles != [ ])
    config.users.users;
  masked = [
    "getty@" "serial-getty@" "autovt@" "console-getty" "container-getty@" "debug-shell" "emergency" "rescue" "user@"
    "systemd-logind" "linger-users"
    "systemd-pcrmachine" "systemd-pcrfs@" "systemd-pcrfs-root"
    "systemd-random-seed" "systemd-boot-random-seed" "systemd-pstore" "systemd-hibernate"
  ];
in
{
  imports = [
    "${modulesPath}/image/repart.nix"
    "${modulesPath}/profiles/minimal.nix"
    ./module.nix
  ];

  system.image = { id = "sealboot"; version = "1"; };
  system.stateVersion = lib.mkDefault "25.11";

  fileSystems = {
    "/" = { fsType = "tmpfs"; options = [ "mode=0755" "nosuid" "nodev" ]; };
    "/usr" = { device = "/dev/mapper/usr"; fsType = "erofs"; options = [ "ro" ]; };
    "/nix/store" = { device = "/usr/nix/store"; fsType = "none"; options = [ "bind" "ro" ]; };
  };
  image.repart = {
    name = "sealboot";
    sectorSize = 512;
    verityStore = { enable = true; ukiPath = "/EFI/BOOT/${loader}"; };
    partitions = {
      ${partitionIds.esp}.repartConfig = { Type = "esp"; Format = "vfat"; SizeMinBytes = "128M"; };
      ${partitionIds.store-verity}.repartConfig.Minimize = "best";
      ${partitionIds.store}.repartConfig.Minimize = "best";
    };
  };

  boot.loader.grub.enable = false;
  boot.initrd.systemd.enable = true;
  boot.initrd.systemd.emergencyAccess = false;
  boot.initrd.availableKernelModules = [ "nvme" "ena" "tpm_crb" "tpm_tis" ];
  boot.kernelParams = parameters ++ shown;
  boot.kernel.sysctl = sysctl;
  boot.kernelPatches = [
    {
      name = "sealboot-lockdown";
      patch = ./lockdown.patch;
      structuredExtraConfig = lib.mapAttrs (_: lib.mkForce) {
        SECURITY_LOCKDOWN_LSM = lib.kernel.yes;
        SECURITY_LOCKDOWN_LSM_EARLY = lib.kernel.yes;
      };
    }
  ];

  services.udev.extraRules = lib.replaceStrings [ "/usr/sbin/blockdev" ] [ "${pkgs.util-linux}/bin/blockdev" ]
    (lib.readFile ../kiwi/root/usr/lib/udev/rules.d/99-sealboot-read-only.rules);

  services.openssh.enable = false;
  services.getty.autologinUser = null;
  services.timesyncd.servers = [ "169.254.169.123" ];
  systemd.coredump.enable = false;
  systemd.enableEmergencyMode = false;
  systemd.services = lib.genAttrs masked (_: { enable = false; }) // {
    sealboot-agent = { requires = doors; after = doors; };
    sealboot-lockdown = {
      description = "Take no more code into the kernel, write to no device";
      wantedBy = [ "multi-user.target" ];
      # Every module that a device or the firewall needs is loaded by then.
      wants = [ "systemd-udev-settle.service" "network-online.target" ];
      requires = [ "nftables.service" ];
      after = [ "systemd-udev-settle.service" "systemd-modules-load.service" "nftables.service" "network-online.target" ];
      path = [ pkgs.util-linux ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = "${pkgs.runtimeShell} ${../kiwi/root/usr/lib/sealboot/lockdown}";
      };
    };
    nftables = {
      requiredBy = [ "systemd-networkd.service" ];
      # NixOS would open the firewall on the way down.
      serviceConfig.ExecStop = lib.mkForce [ ];
    };
  };
  swapDevices = [ ];
  users.mutableUsers = false;
  users.allowNoPasswordLogin = true;
  nix.enable = false;
  networking.useNetworkd = true;
  networking.firewall.enable = false;
  networking.nftables.enable = true;
  networking.nftables.ruleset = ruleset;
  # The build checks the rules where the image's users do not exist.
  networking.nftables.preCheckRuleset = "sed -E -i 's/skuid \"[^\"]+\"/skuid 0/' ruleset.conf";

  # /usr cannot be written, and nothing here asks for /usr/bin/env.
  system.activationScripts.usrbinenv = lib.mkForce "";

  system.build.pcrMeasurements = pkgs.runCommand "pcr_measurements.json" { } ''
    ${config.services.sealboot.package}/bin/sealboot measure --json --disk ${config.system.build.finalImage}/*.raw > $out
  '';

  assertions = [
    { assertion = config.services.sealboot.enable; message = "an attestable image without services.sealboot releases nothing"; }
    { assertion = !config.services.openssh.enable; message = "a way in: services.openssh"; }
    { assertion = !config.services.amazon-ssm-agent.enable; message = "a way in: services.amazon-ssm-agent"; }
    { assertion = !config.services.cloud-init.enable; message = "a way in: services.cloud-init runs what user data says"; }
    { assertion = config.services.getty.autologinUser == null; message = "a way in: services.getty.autologinUser"; }
    { assertion = withPassword == { }; message = "a way in: these users have a password or a key: ${toString (lib.attrNames withPassword)}"; }
    { assertion = !config.users.mutableUsers; message = "a way in: users.mutableUsers"; }
    { assertion = unknown == [ ]; message = "a way in, for all that is known here: kernel parameters ${toString unknown}"; }
    { assertion = config.boot.initrd.systemd.emergencyAccess == false; message = "a way in: boot.initrd.systemd.emergencyAccess"; }
    { assertion = !config.systemd.enableEmergencyMode; message = "a way in: systemd.enableEmergencyMode"; }
    { assertion = config.swapDevices == [ ]; message = "swap would write weights to a disk"; }
    { assertion = !config.systemd.coredump.enable; message = "core dumps would write weights to a disk"; }
    { assertion = writable == { }; message = "weights could be written to these file systems: ${toString (lib.attrNames writable)}"; }
    { assertion = loose == [ ]; message = "not what the image promises: sysctl ${toString loose}"; }
    {
      assertion = lib.any (p: p.name == "sealboot-lockdown") config.boot.kernelPatches;
      message = "nixpkgs' kernel has no lockdown; boot.kernelPatches lacks sealboot-lockdown";
    }
    {
      assertion = lib.all (door: lib.elem door agent.requires && lib.elem door agent.after) doors;
      message = "the agent would get a key before ${toString doors}";
    }
    {
      assertion = config.networking.nftables.enable && config.networking.nftables.ruleset == ruleset
        && config.networking.nftables.rulesetFile == null && config.networking.nftables.tables == { };
      message = "no firewall, or not the recipe's";
    }
  ]
  ++ map (name: { assertion = config.systemd.services.${name}.enable; message = "the door stays open without systemd.services.\"${name}\""; })
    [ "nftables" "sealboot-lockdown" "sealboot-agent" ]
  ++ map (name: { assertion = !(config.systemd.services.${name}.enable or true); message = "a way in, or into a PCR or a disk: systemd.services.\"${name}\""; }) masked
  ++ map (p: { assertion = lib.elem p config.boot.kernelParams; message = "the kernel command line lacks ${p}"; }) parameters;
}
