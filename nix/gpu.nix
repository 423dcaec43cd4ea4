# SPDX-License-Identifier: Apache-2.0
# services.sealboot.gpu: the drivers of NVIDIA's GPUs and of AWS's Neuron devices in an image. One image serves
# instances with such devices and without.
{ config, lib, pkgs, ... }:
let
  inherit (lib) mkEnableOption mkIf mkMerge mkOption types;
  cfg = config.services.sealboot.gpu;
  # The program that starts the devices, which the other images do not have.
  sealboot = pkgs.callPackage ./package.nix { gpu = true; };
  # The settings of the kiwi image's units: whatever confines a service there confines it here.
  unit = name: import ./settings.nix
    (lib.last (builtins.split "\\[Service]" (lib.readFile (../kiwi/root-gpu/usr/lib/systemd/system + "/${name}"))));
  words = lib.mapAttrs (_: values: if lib.length values == 1 then lib.head values else values);
  daemon = words (removeAttrs (unit "nvidia-persistenced.service") [ "ExecStart" "WantedBy" ]);
  lockdown = config.systemd.services.sealboot-lockdown;
  early = [ "sealboot-gpu.service" ];
  loaded = lib.filter (name: lib.elem name [ "nvidia" "neuron" ])
    (config.boot.kernelModules ++ config.boot.initrd.kernelModules);
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
    neuron = {
      enable = mkEnableOption ''
        the driver of AWS's Inferentia and Trainium. It needs no `services.sealboot.gpu.enable`, which is for NVIDIA's
        GPUs; an image with both serves instances of both kinds. The driver is a kernel module alone: Neuron's user
        space belongs to the packages of the inferenceServices, which may open the devices
      '';
      package = mkOption {
        type = types.package;
        default = config.boot.kernelPackages.callPackage ./neuron.nix { };
        defaultText = lib.literalExpression "config.boot.kernelPackages.callPackage ./neuron.nix { }";
        description = "The kernel module, by default of the source that kiwi/gpu/neuron.lock pins.";
      };
    };
  };

  config = mkMerge [
    (mkIf (cfg.enable || cfg.neuron.enable) {
      # sealboot-gpu loads the drivers, and udev does not; nobody else makes device nodes.
      boot.extraModprobeConfig = lib.readFile ../kiwi/root-gpu/usr/lib/modprobe.d/sealboot-gpu.conf;
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
      };

      assertions = [
        {
          assertion = lib.elem "sealboot-gpu.service" lockdown.requires
            && lib.elem "sealboot-gpu.service" lockdown.after && config.systemd.services.sealboot-gpu.enable;
          message = "modules would be closed before the drivers are loaded: systemd.services.sealboot-gpu";
        }
        {
          assertion = loaded == [ ];
          message = "sealboot-gpu alone loads the drivers: ${toString loaded} among the kernel modules";
        }
      ];
    })
    (mkIf cfg.enable {
      boot.extraModulePackages = [ cfg.package.open ];
      # Linux' own drivers of these GPUs.
      boot.blacklistedKernelModules = [ "nouveau" "nova_core" ];
      hardware.firmware = [ cfg.package.firmware ];
      hardware.graphics = { enable = true; extraPackages = [ cfg.package ]; };
      users.groups.nvpd = { };
      users.users.nvpd = { isSystemUser = true; group = "nvpd"; };
      systemd.services = {
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
    })
    (mkIf cfg.neuron.enable {
      boot.extraModulePackages = [ cfg.neuron.package ];
      systemd.services = lib.genAttrs (lib.attrNames config.services.sealboot.inferenceServices)
        (_: { serviceConfig.DeviceAllow = [ "char-neuron rw" ]; });
    })
  ];
}
