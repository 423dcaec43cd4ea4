# SPDX-License-Identifier: Apache-2.0
# services.sealboot.gpu: the driver of GPUs in an image. One image serves instances with a GPU and without.
{ config, lib, pkgs, ... }:
let
  inherit (lib) mkEnableOption mkIf mkOption types;
  cfg = config.services.sealboot.gpu;
  # The program that starts GPUs, which the other images do not have.
  sealboot = pkgs.callPackage ./package.nix { gpu = true; };
  # The settings of the kiwi image's units: whatever confines a service there confines it here.
  unit = name: import ./settings.nix
    (lib.last (builtins.split "\\[Service]" (lib.readFile (../kiwi/root-gpu/usr/lib/systemd/system + "/${name}"))));
  words = lib.mapAttrs (_: values: if lib.length values == 1 then lib.head values else values);
  daemon = words (removeAttrs (unit "nvidia-persistenced.service") [ "ExecStart" "WantedBy" ]);
  lockdown = config.systemd.services.sealboot-lockdown;
  early = [ "sealboot-gpu.service" ];
in
{
  options.services.sealboot.gpu = {
    enable = mkEnableOption ''
      the driver of NVIDIA's GPUs: its open kernel modules, firmware and CUDA's user space. Its licence needs
      `nixpkgs.config.allowUnfree`
    '';
    package = mkOption {
      type = types.package;
      default = config.boot.kernelPackages.nvidiaPackages.production;
      defaultText = lib.literalExpression "config.boot.kernelPackages.nvidiaPackages.production";
      description = "The driver: its `open` holds the kernel modules, its `firmware` what the GPU's processor runs.";
    };
    fabricManager = mkOption {
      type = types.nullOr types.package;
      default = null;
      description = ''
        The fabric manager of the driver's own version, for instances with NVSwitches (p4d, p5). Without it such an
        instance fails to boot, because CUDA would not work.
      '';
    };
  };

  config = mkIf cfg.enable {
    boot.extraModulePackages = [ cfg.package.open ];
    hardware.firmware = [ cfg.package.firmware ];
    hardware.graphics = { enable = true; extraPackages = [ cfg.package ]; };
    # sealboot-gpu loads the driver, and udev does not; nobody else makes device nodes.
    boot.blacklistedKernelModules = [ "nouveau" "nova_core" "nvidia" ];
    boot.extraModprobeConfig = "options nvidia NVreg_ModifyDeviceFiles=0";
    users.groups.nvpd = { };
    users.users.nvpd = { isSystemUser = true; group = "nvpd"; };

    systemd.services = {
      sealboot-gpu = {
        description = "Load the drivers of GPUs, make their device nodes, lock the kernel";
        requiredBy = [ "systemd-networkd.service" "sealboot-lockdown.service" ];
        wants = [ "systemd-udev-settle.service" "network-pre.target" ];
        after = [ "systemd-udev-settle.service" "systemd-modules-load.service" "local-fs.target" ];
        before = [ "network-pre.target" "sealboot-lockdown.service" "shutdown.target" ];
        unitConfig = { DefaultDependencies = false; Conflicts = "shutdown.target"; };
        path = [ pkgs.kmod ];
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStart = "${sealboot}/lib/sealboot/sealboot-gpu" + lib.optionalString (cfg.fabricManager != null)
            " --fabric-manager ${cfg.fabricManager}/bin/nv-fabricmanager";
          StandardError = "journal+console";
        };
      };
      sealboot-lockdown = { requires = early; after = early; };
      nvidia-persistenced = {
        description = "Keep the GPUs initialised";
        wantedBy = [ "multi-user.target" ];
        after = early;
        unitConfig.ConditionPathExists = "/dev/nvidiactl";
        serviceConfig = daemon // { ExecStart = "${cfg.package.persistenced}/bin/nvidia-persistenced --user nvpd"; };
      };
    } // lib.optionalAttrs (cfg.fabricManager != null) {
      nvidia-fabricmanager = {
        description = "Set up the NVSwitches between the GPUs";
        wantedBy = [ "multi-user.target" ];
        after = early ++ [ "nvidia-persistenced.service" ];
        unitConfig.ConditionPathExists = "/dev/nvidia-nvswitchctl";
        serviceConfig = removeAttrs daemon [ "CapabilityBoundingSet" "RuntimeDirectory" "Type" ] // {
          ExecStart = "${cfg.fabricManager}/bin/nv-fabricmanager"
            + " -c ${cfg.fabricManager}/share/nvidia-fabricmanager/fabricmanager.cfg";
          CapabilityBoundingSet = "";
          RuntimeDirectory = "nvidia-fabricmanager";
          RestrictAddressFamilies = "AF_UNIX AF_INET";
        };
      };
    };

    assertions = [
      {
        assertion = lib.elem "sealboot-gpu.service" lockdown.requires && lib.elem "sealboot-gpu.service" lockdown.after
          && config.systemd.services.sealboot-gpu.enable;
        message = "modules would be closed before the GPU's driver is loaded: systemd.services.sealboot-gpu";
      }
      {
        assertion = !lib.elem "nvidia" (config.boot.kernelModules ++ config.boot.initrd.kernelModules);
        message = "sealboot-gpu alone loads the GPU's driver: nvidia among the kernel modules";
      }
    ];
  };
}
