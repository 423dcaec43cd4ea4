# SPDX-License-Identifier: Apache-2.0
# An attestable image: one UKI, /usr and the store protected by dm-verity, all other files in memory, and no login.
{ config, lib, options, pkgs, modulesPath, ... }:
let
  inherit (config.image.repart.verityStore) partitionIds;
  loader = { x86_64-linux = "BOOTX64.EFI"; aarch64-linux = "BOOTAA64.EFI"; }.${pkgs.stdenv.hostPlatform.system};
  cfg = config.services.sealboot;

  # Files that the kiwi image and this image share.
  kiwi = ../kiwi/root/usr/lib;
  shared = name: { source = kiwi + "/${name}"; };
  rules = lib.replaceStrings [ "/usr/lib/sealboot/" ] [ "${cfg.package}/lib/sealboot/" ]
    (lib.readFile (kiwi + "/udev/rules.d/99-sealboot-read-only.rules"));
  lockdown = "${cfg.package}/lib/sealboot/sealboot-lockdown";

  # Sets an option only if this nixpkgs has it. Some options are newer than nixos-25.11.
  only = path: value: lib.optionalAttrs (lib.hasAttrByPath path options) (lib.setAttrByPath path value);

  # The agent requests no data key before these units have succeeded.
  doors = [ "nftables.service" "sealboot-lockdown.service" ];
  agent = config.systemd.services.sealboot-agent;
  sealed = [ "sealboot-agent" "sealboot-gate" "sealboot-nginx" ] ++ lib.attrNames cfg.inferenceServices;
  withUsers = lib.filter (name: (config.systemd.services.${name}.serviceConfig.PrivateUsers or false) != false) sealed;
  writable = lib.filterAttrs
    (_: fs: fs.fsType != "tmpfs" && (lib.elem "rw" fs.options || !lib.elem "ro" fs.options)) config.fileSystems;
  surplus = lib.filter (name: !lib.elem name [ "/" "/usr" "/nix/store" ]) (lib.attrNames config.fileSystems);
  # NixOS itself sets root's hash to "!". No password has a hash that begins with "!" or "*".
  opens = hash: hash != null && builtins.match "[!*].*" hash == null;
  withPassword = lib.filterAttrs
    (_: user: user.password != null || user.initialPassword != null || opens user.hashedPassword
      || opens user.initialHashedPassword || user.hashedPasswordFile != null
      || user.openssh.authorizedKeys.keys != [ ] || user.openssh.authorizedKeys.keyFiles != [ ])
    config.users.users;
  masked = [
    "getty@" "serial-getty@" "autovt@" "console-getty" "container-getty@" "debug-shell" "emergency" "rescue" "user@"
    "systemd-logind" "linger-users" "systemd-sysext" "systemd-confext"
    "systemd-pcrmachine" "systemd-pcrfs@" "systemd-pcrfs-root"
    "systemd-random-seed" "systemd-boot-random-seed" "systemd-pstore" "systemd-hibernate"
    "systemd-udev-load-credentials"
  ];
  generators = import ./generators.nix;
  needed = [ "nftables" "sealboot-lockdown" "sealboot-agent" ];
in
{
  imports = [
    "${modulesPath}/image/repart.nix"
    "${modulesPath}/profiles/minimal.nix"
    # No perl: /etc is an overlay of erofs, and systemd creates the users. With this profile the build fails if perl is
    # in the closure.
    "${modulesPath}/profiles/perlless.nix"
    ./module.nix
    ./gpu.nix
    ./kernel.nix
    ./initrd.nix
    ./network.nix
  ];

  config = lib.mkMerge [
    {
      system.image = { id = "sealboot"; version = "1"; };
      system.stateVersion = lib.mkDefault "25.11";
      services.sealboot.failureAction = lib.mkDefault "poweroff-force";

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
      swapDevices = [ ];

      # A program of NixOS activates the system, instead of a script.
      system.nixos-init.enable = true;
      system.etc.overlay = { enable = true; mutable = false; };
      system.switch.enable = false;
      system.disableInstallerTools = true;
      # NixOS cannot create /usr/bin/env, because /usr is read-only. Nothing in the image needs it.
      environment.usrbinenv = null;
      # The root contains only the programs that its units name.
      environment.defaultPackages = lib.mkForce [ ];
      nix.enable = false;
      boot.bcache.enable = false;
      boot.enableContainers = false;
      console.enable = false;
      powerManagement.enable = false;
      programs.nano.enable = false;
      security.sudo.enable = false;
      system.fsPackages = lib.mkForce [ ];
      systemd.shutdownRamfs.enable = false;
      system.forbiddenDependenciesRegexes = [ "-nix-[0-9]" "-cloud-init-" "-amazon-ssm-agent-" ];

      environment.etc = {
        "systemd/system.conf.d/sealboot.conf" = shared "systemd/system.conf.d/sealboot.conf";
        "systemd/journald.conf.d/sealboot.conf" = shared "systemd/journald.conf.d/sealboot.conf";
        "systemd/resolved.conf.d/sealboot.conf" = shared "systemd/resolved.conf.d/sealboot.conf";
        "lvm/lvm.conf".text = import ./lvm.nix;
        machine-id = { text = ""; mode = "0444"; };
      };

      services.udev.extraRules = rules;
      services.openssh.enable = false;
      services.getty.autologinUser = null;
      systemd.coredump.enable = false;
      systemd.enableEmergencyMode = false;
      systemd.generators = lib.genAttrs generators (_: "/dev/null");
      systemd.services = lib.mkMerge [
        (lib.genAttrs masked (_: { enable = false; }))
        # The kernel allows no user namespace, not even to root, and so PrivateUsers= would fail. PrivateUsers= would
        # protect little here: these units have no capabilities, cannot gain any, and may not create namespaces.
        (lib.genAttrs sealed (_: { serviceConfig.PrivateUsers = lib.mkForce false; }))
        {
          sealboot-agent = { requires = doors; after = doors; };
          sealboot-lockdown = {
            description = "Take no more code into the kernel, write to no device";
            wantedBy = [ "multi-user.target" ];
            # After these units, every module that a device or the firewall needs is loaded.
            wants = [ "systemd-udev-settle.service" "network-online.target" ];
            requires = [ "nftables.service" ];
            after = [
              "systemd-udev-settle.service" "systemd-modules-load.service" "nftables.service" "network-online.target"
            ];
            path = [ pkgs.util-linux ];
            serviceConfig = {
              Type = "oneshot";
              RemainAfterExit = true;
              ExecStart = lockdown;
            };
          };
        }
      ];
      users.mutableUsers = false;
      users.allowNoPasswordLogin = true;

      system.build.pcrMeasurements = pkgs.runCommand "pcr_measurements.json" { } ''
        ${cfg.package}/bin/sealboot measure --json --disk ${config.system.build.finalImage}/*.raw > $out
      '';

      assertions = [
        { assertion = cfg.enable; message = "an attestable image without services.sealboot releases nothing"; }
        { assertion = !config.services.openssh.enable; message = "a way in: services.openssh"; }
        { assertion = !config.services.amazon-ssm-agent.enable; message = "a way in: services.amazon-ssm-agent"; }
        {
          assertion = !config.services.cloud-init.enable;
          message = "a way in: services.cloud-init runs what user data says";
        }
        { assertion = config.services.getty.autologinUser == null; message = "a way in: services.getty.autologinUser"; }
        {
          assertion = withPassword == { };
          message = "a way in: these users have a password or a key: ${toString (lib.attrNames withPassword)}";
        }
        { assertion = !config.users.mutableUsers; message = "a way in: users.mutableUsers"; }
        { assertion = !config.systemd.enableEmergencyMode; message = "a way in: systemd.enableEmergencyMode"; }
        { assertion = config.swapDevices == [ ]; message = "swap would write weights to a disk"; }
        { assertion = !config.systemd.coredump.enable; message = "core dumps would write weights to a disk"; }
        {
          assertion = writable == { };
          message = "weights could be written to these file systems: ${toString (lib.attrNames writable)}";
        }
        {
          assertion = surplus == [ ];
          message = "nothing mounts these file systems: the image reads no fstab (say systemd.mounts): "
            + toString surplus;
        }
        {
          assertion = !lib.hasInfix "/usr/" rules;
          message = "NixOS has no /usr/bin: kiwi's udev rules name a program that nix/image.nix does not know";
        }
        {
          assertion = withUsers == [ ];
          message = "the kernel gives no user namespace: PrivateUsers of ${toString withUsers}";
        }
        {
          assertion = !config.nix.enable && !config.system.switch.enable;
          message = "the image changes nothing of itself: nix.enable, system.switch.enable";
        }
        {
          assertion = config.system.nixos-init.enable && config.system.etc.overlay.enable
            && !config.system.etc.overlay.mutable;
          message = "scripts would make the system at each boot: system.nixos-init.enable, system.etc.overlay";
        }
        {
          assertion = lib.all (door: lib.elem door agent.requires && lib.elem door agent.after) doors;
          message = "the agent would get a key before ${toString doors}";
        }
      ]
      ++ map
        (name: {
          assertion = config.systemd.services.${name}.enable;
          message = "the door stays open without systemd.services.\"${name}\"";
        })
        needed
      ++ map
        (name: {
          assertion = !(config.systemd.services.${name}.enable or true);
          message = "a way in, or into a PCR or a disk: systemd.services.\"${name}\"";
        })
        masked
      ++ map
        (name: {
          assertion = toString (config.systemd.generators.${name} or "") == "/dev/null";
          message = "a way in: systemd.generators.${name}";
        })
        generators;
    }
    (only [ "boot" "kexec" "enable" ] false)
    (only [ "programs" "fuse" "enable" ] false)
    (only [ "environment" "corePackages" ] (lib.mkForce [ ]))
    (only [ "environment" "createUsrBinEnv" ] false)
    (only [ "security" "enableWrappers" ] false)
  ];
}
