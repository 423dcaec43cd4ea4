# SPDX-License-Identifier: Apache-2.0
# The image's kernel: its command line, its own build, and its parameters.
{ config, lib, pkgs, ... }:
let
  isX86 = pkgs.stdenv.hostPlatform.system == "x86_64-linux";
  parameters = [
    "panic=10"
    "oops=panic"
    "lockdown=confidentiality"
    # The kernel reads no EFI variable, because no PCR measures them: systemd before 258 takes additional command line
    # from the variable SystemdOptions.
    "efi=noruntime"
    "nohibernate"
    # SysRq keys on the serial console do nothing. Set here too, because sysctl.d is applied late.
    "sysctl.kernel.sysrq=0"
    # verityStore protects /usr, not the root: systemd.verity_root_options= would do nothing.
    "systemd.verity_usr_options=panic-on-corruption"
    "systemd.gpt_auto=no"
    # Credentials from SMBIOS or fw_cfg can add units without changing a PCR.
    "systemd.import_credentials=no"
    "systemd.getty_auto=no"
    "systemd.swap=no"
  ];
  shown = [ "console=ttyS0,115200n8" "quiet" "systemd.show_status=no" ];
  # Parameters that NixOS adds, and the NVIDIA driver's. lsm= need not name lockdown, because that is an early LSM.
  harmless = [
    "root=fstab" "loglevel=[0-7]" "lsm=[a-z,]+" "audit=[01]" "audit_backlog_limit=[0-9]+" "nvidia[a-z_-]*[.][^ \"]+"
  ];
  known = p: lib.elem p (parameters ++ shown) || lib.any (h: builtins.match h p != null) harmless;
  unknown = lib.filter (p: !known p) config.boot.kernelParams;

  # The sysctls that the kiwi image and this image share, and those that the shared file does not set. A name that
  # begins with - may be missing in the kernel.
  shared = lib.mapAttrs (_: lib.last)
    (import ./settings.nix (lib.readFile ../kiwi/root/usr/lib/sysctl.d/90-sealboot.conf));
  own = {
    "kernel.sysrq" = "0";
    "kernel.printk" = "1 4 1 4";
    # A panic caused by a diagnostic interrupt would print the registers of the code that was running.
    "kernel.unknown_nmi_panic" = "0";
    "kernel.io_uring_disabled" = "2";
    # No unit of the image has a user namespace (see image.nix), so no process needs to create one.
    "user.max_user_namespaces" = "0";
  };
  bare = lib.replaceStrings [ "-" ] [ "" ];
  x86Only = [
    "kernel.unknown_nmi_panic" "kernel.panic_on_unrecovered_nmi" "kernel.panic_on_io_nmi" "kernel.nmi_watchdog"
  ];
  spelled = name: if !isX86 && lib.elem name x86Only then "-${name}" else name;
  said = lib.filterAttrs (name: _: !shared ? "-${name}") own // shared;
  sysctl = lib.concatMapAttrs (name: value: { ${spelled name} = value; }) said;
  given = config.boot.kernel.sysctl;
  # sysctl.d reads / as . and takes the last of several spellings, so another spelling could replace a value.
  respelled = name: !sysctl ? ${name} && lib.elem (bare name) (map bare (lib.attrNames sysctl));
  loose = lib.filter (name: toString (given.${name} or null) != sysctl.${name}) (lib.attrNames sysctl)
    ++ lib.filter (name: lib.hasInfix "/" name || respelled name) (lib.attrNames given);

  # Optional, because not every kernel has these options.
  without = lib.genAttrs [
    "EFI_VARS" "EFI_VARS_PSTORE" "EFI_BOOTLOADER_CONTROL" "EFI_CAPSULE_LOADER" "EFI_TEST" "EFI_CUSTOM_SSDT_OVERLAYS"
    "EFI_RUNTIME_MAP" "EFI_RCI2_TABLE" "RTC_DRV_EFI" "MAGIC_SYSRQ_SERIAL"
  ] (_: lib.kernel.option lib.kernel.no);
  patches = [
    {
      name = "sealboot-lockdown";
      patch = ./lockdown.patch;
      structuredExtraConfig = lib.mapAttrs (_: lib.mkForce) {
        SECURITY_LOCKDOWN_LSM = lib.kernel.yes;
        SECURITY_LOCKDOWN_LSM_EARLY = lib.kernel.yes;
      };
    }
    {
      # Sets efi=noruntime at build time, too, and removes the code that would read EFI variables.
      name = "sealboot-no-efi-variables";
      patch = null;
      structuredExtraConfig = lib.mapAttrs (_: lib.mkForce) ({
        EFIVAR_FS = lib.kernel.no;
        EFI_DISABLE_RUNTIME = lib.kernel.yes;
        MAGIC_SYSRQ_DEFAULT_ENABLE = lib.kernel.option (lib.kernel.freeform "0x0");
      } // without);
    }
  ];
  missing = lib.filter (name: !lib.any (p: p.name == name) config.boot.kernelPatches) (map (p: p.name) patches);
  modules = config.boot.initrd.availableKernelModules ++ config.boot.initrd.kernelModules ++ config.boot.kernelModules;
in
{
  boot.kernelParams = parameters ++ shown;
  boot.kernel.sysctl = sysctl;
  boot.kernelPatches = patches;

  # Without the EFI runtime services an aarch64 machine may have no correct clock before it has the network's time. The
  # agent waits for that time.
  systemd.additionalUpstreamSystemUnits = lib.optional (!isX86) "systemd-time-wait-sync.service";
  systemd.services = lib.mkIf (!isX86) {
    systemd-time-wait-sync = { wantedBy = [ "time-sync.target" ]; serviceConfig.TimeoutStartSec = 90; };
    sealboot-agent = { wants = [ "time-sync.target" ]; after = [ "time-sync.target" ]; };
  };

  assertions = [
    {
      assertion = unknown == [ ];
      message = "a way in, for all that is known here: kernel parameters ${toString unknown}";
    }
    { assertion = loose == [ ]; message = "not what the image promises: sysctl ${toString loose}"; }
    {
      assertion = missing == [ ];
      message = "nixpkgs' kernel has no lockdown, and reads EFI variables; boot.kernelPatches lacks "
        + toString missing;
    }
    {
      assertion = !lib.elem "efivarfs" modules;
      message = "EFI variables change no PCR: efivarfs among the kernel modules";
    }
  ]
  ++ map
    (p: { assertion = lib.elem p config.boot.kernelParams; message = "the kernel command line lacks ${p}"; })
    parameters;
}
