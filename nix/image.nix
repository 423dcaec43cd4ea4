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
  openers = [ "systemd.debug_shell" "rd.systemd.debug_shell" "rd.shell" "rd.break" "init=" "systemd.run=" "systemd.setenv=" "systemd.unit=" ];
  opening = lib.filter (p: lib.any (o: lib.hasPrefix o p) openers) config.boot.kernelParams;
  withPassword = lib.filterAttrs
    (_: user: user.password != null || user.hashedPassword != null || user.initialPassword != null
      || user.initialHashedPassword != null || user.hashedPasswordFile != null
      || user.openssh.authorizedKeys.keys != [ ] || user.openssh.authorizedKeys.keyFiles != [ ])
    config.users.users;
  masked = [
    "getty@" "serial-getty@" "autovt@" "console-getty" "container-getty@" "debug-shell" "emergency" "rescue" "user@"
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
  boot.kernelParams = parameters ++ [ "console=ttyS0,115200n8" "quiet" "systemd.show_status=no" ];
  boot.kernel.sysctl = {
    "kernel.core_pattern" = "|/bin/false";
    "kernel.kexec_load_disabled" = 1;
    "kernel.sysrq" = 0;
    "kernel.unprivileged_bpf_disabled" = 1;
    "kernel.yama.ptrace_scope" = 3;
  };
  # No module after boot.
  security.lockKernelModules = true;

  services.openssh.enable = false;
  services.getty.autologinUser = null;
  services.logind.enable = lib.mkDefault false;
  services.timesyncd.servers = [ "169.254.169.123" ];
  systemd.coredump.enable = false;
  systemd.enableEmergencyMode = false;
  systemd.services = lib.genAttrs masked (_: { enable = false; });
  swapDevices = [ ];
  users.mutableUsers = false;
  users.allowNoPasswordLogin = true;
  nix.enable = false;
  networking.useNetworkd = true;
  networking.firewall.enable = false;
  networking.nftables.enable = true;
  networking.nftables.ruleset = lib.readFile ../kiwi/root/usr/lib/sealboot/firewall.nft;

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
    { assertion = opening == [ ]; message = "a way in: kernel parameters ${toString opening}"; }
    { assertion = config.boot.initrd.systemd.emergencyAccess == false; message = "a way in: boot.initrd.systemd.emergencyAccess"; }
    { assertion = !config.systemd.enableEmergencyMode; message = "a way in: systemd.enableEmergencyMode"; }
    { assertion = config.swapDevices == [ ]; message = "swap would write weights to a disk"; }
    { assertion = !config.systemd.coredump.enable; message = "core dumps would write weights to a disk"; }
    { assertion = config.security.lockKernelModules; message = "modules could be loaded after boot"; }
    { assertion = config.networking.nftables.enable; message = "no firewall"; }
  ]
  ++ map (name: { assertion = !(config.systemd.services.${name}.enable or true); message = "a way in, or into a PCR or a disk: systemd.services.\"${name}\""; }) masked
  ++ map (p: { assertion = lib.elem p config.boot.kernelParams; message = "the kernel command line lacks ${p}"; }) parameters;
}
