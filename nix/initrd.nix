# SPDX-License-Identifier: Apache-2.0
# The image's initrd: systemd, with the modules and units that open /usr. No shell, no login, no EFI variables.
{ config, lib, options, pkgs, ... }:
let
  inherit (config.boot.initrd.systemd) package;
  inherit (config) fileSystems;
  mounted = name: lib.concatStringsSep "," (lib.filter (o: !lib.hasPrefix "x-" o) fileSystems.${name}.options);
  before = target: { requiredBy = [ target ]; before = [ target ]; };
in
{
  config = lib.mkMerge [
    {
      boot.initrd = {
        includeDefaultModules = false;
        # Forced, because NixOS adds efivarfs, which this kernel does not have.
        availableKernelModules = lib.mkForce
          [ "nvme" "dm_mod" "dm_verity" "erofs" "overlay" "loop" "autofs" "virtio_blk" "virtio_pci" ];
        kernelModules = [ "dm_mod" "dm_verity" ];
        compressor = "zstd";
      };
      boot.initrd.systemd = {
        enable = true;
        emergencyAccess = false;
        suppressedUnits = [
          "debug-shell.service" "rescue.service" "rescue.target" "ctrl-alt-del.target" "kexec.target"
          "systemd-kexec.service" "systemd-ask-password-console.path" "systemd-ask-password-console.service"
          "systemd-hibernate-resume.service" "systemd-fsck@.service" "systemd-bsod.service" "rpcbind.target"
          "syslog.socket"
        ];
        suppressedStorePaths = map (name: "${package}/lib/systemd/${name}")
          (map (generator: "system-generators/${generator}") (import ./generators.nix) ++ [
            "systemd-sulogin-shell" "systemd-sysroot-fstab-check" "systemd-hibernate-resume" "systemd-makefs"
            "systemd-fsck" "systemd-bsod"
          ])
        ++ [ "${package.util-linux}/bin/sulogin" ];
        # The initrd lacks systemd-fstab-generator, which also takes mounts from the command line: the mounts are units.
        mounts = [
          ({ where = "/sysroot"; what = "tmpfs"; type = "tmpfs"; options = mounted "/"; }
            // before "initrd-root-fs.target")
          ({ where = "/sysroot/usr"; what = fileSystems."/usr".device; type = "erofs"; options = mounted "/usr"; }
            // before "initrd-fs.target")
          ({
            where = "/sysroot/nix/store"; what = "/sysroot${fileSystems."/nix/store".device}"; type = "none";
            options = mounted "/nix/store";
          } // before "initrd-fs.target")
        ];
        services = {
          # NixOS' first command would read the root's fstab: it is dropped. The second command ends the initrd.
          initrd-parse-etc.serviceConfig.ExecStart = [ "" "systemctl --no-block start initrd-cleanup.service" ];
          # emergency.target starts a service of this name. Here the service gives no shell: it powers the machine off.
          emergency.serviceConfig = {
            ExecStartPre = [ "" ];
            ExecStart = [ "" "-/bin/echo sealboot: the initrd failed" "/bin/systemctl --force poweroff" ];
            StandardInput = "null";
            StandardOutput = "tty";
          };
        };
        contents."/etc/lvm/lvm.conf".text = import ./lvm.nix;
      };

      # The build checks that the built initrd has what the options above promise.
      system.checks = [
        (pkgs.runCommand "initrd-audit" { nativeBuildInputs = [ pkgs.cpio pkgs.zstd ]; } ''
          zstd -dc ${config.system.build.initialRamdisk}/initrd | cpio -t --quiet >list
          ${pkgs.runtimeShell} ${./audit-initrd} list
          touch $out
        '')
      ];

      assertions = [
        {
          assertion = config.boot.initrd.systemd.emergencyAccess == false;
          message = "a way in: boot.initrd.systemd.emergencyAccess";
        }
      ];
    }
    # This option is internal to nixpkgs and may be missing. Then the audit refuses an initrd that has a shell.
    (lib.optionalAttrs (lib.hasAttrByPath [ "boot" "initrd" "systemd" "shell" "enable" ] options) {
      boot.initrd.systemd.shell.enable = false;
    })
  ];
}
