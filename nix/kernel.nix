# SPDX-License-Identifier: Apache-2.0
# The image's kernel: its command line, its own build, and its parameters.
{ config, lib, pkgs, ... }:
let
  isX86 = pkgs.stdenv.hostPlatform.system == "x86_64-linux";
  parameters = [
    "panic=10"
    "oops=panic"
    "lockdown=confidentiality"
    # No EFI variable is read: no PCR tells of one, and systemd before 258 takes more command line from SystemdOptions.
    "efi=noruntime"
    "nohibernate"
    # Keys on the serial console give no orders; this early, since sysctl.d comes late.
    "sysctl.kernel.sysrq=0"
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
  harmless = [
    "root=fstab" "loglevel=[0-7]" "lsm=[a-z,]+" "audit=[01]" "audit_backlog_limit=[0-9]+" "nvidia[a-z_-]*[.][^ \"]+"
  ];
  known = p: lib.elem p (parameters ++ shown) || lib.any (h: builtins.match h p != null) harmless;
  unknown = lib.filter (p: !known p) config.boot.kernelParams;

  # kiwi's, said once for both images, and what its file does not say. A name that begins with - may be missing in the kernel.
  shared = lib.mapAttrs (_: lib.last) (import ./settings.nix (lib.readFile ../kiwi/root/usr/lib/sysctl.d/90-sealboot.conf));
  own = {
    "kernel.sysrq" = "0";
    "kernel.printk" = "1 4 1 4";
    # A panic by a diagnostic interrupt would print the registers of whatever ran.
    "kernel.unknown_nmi_panic" = "0";
    "kernel.io_uring_disabled" = "2";
    # No unit of the image has a user namespace (see image.nix), so that no process needs to make one.
    "user.max_user_namespaces" = "0";
  };
  bare = lib.replaceStrings [ "-" ] [ "" ];
  x86Only = [ "kernel.unknown_nmi_panic" "kernel.panic_on_unrecovered_nmi" "kernel.panic_on_io_nmi" "kernel.nmi_watchdog" ];
  spelled = name: if !isX86 && lib.elem name x86Only then "-${name}" else name;
  said = lib.filterAttrs (name: _: !shared ? "-${name}") own // shared;
  sysctl = lib.concatMapAttrs (name: value: { ${spelled name} = value; }) said;
  given = config.boot.kernel.sysctl;
  # sysctl.d reads / as . and takes the last of several spellings.
  loose = lib.filter (name: toString (given.${name} or null) != sysctl.${name}) (lib.attrNames sysctl)
    ++ lib.filter (name: lib.hasInfix "/" name || !sysctl ? ${name} && lib.elem (bare name) (map bare (lib.attrNames sysctl)))
      (lib.attrNames given);

  # Options that not every kernel has are optional.
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
      # What efi=noruntime says, and nothing left that would ask.
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

  # Without EFI's services such a machine may have no clock until the network's: the agent waits for that.
  systemd.additionalUpstreamSystemUnits = lib.optional (!isX86) "systemd-time-wait-sync.service";
  systemd.services = lib.mkIf (!isX86) {
    systemd-time-wait-sync = { wantedBy = [ "time-sync.target" ]; serviceConfig.TimeoutStartSec = 90; };
    sealboot-agent = { wants = [ "time-sync.target" ]; after = [ "time-sync.target" ]; };
  };

  assertions = [
    { assertion = unknown == [ ]; message = "a way in, for all that is known here: kernel parameters ${toString unknown}"; }
    { assertion = loose == [ ]; message = "not what the image promises: sysctl ${toString loose}"; }
    {
      assertion = missing == [ ];
      message = "nixpkgs' kernel has no lockdown, and reads EFI variables; boot.kernelPatches lacks ${toString missing}";
    }
    {
      assertion = !lib.elem "efivarfs" modules;
      message = "EFI variables change no PCR: efivarfs among the kernel modules";
    }
  ]
  ++ map (p: { assertion = lib.elem p config.boot.kernelParams; message = "the kernel command line lacks ${p}"; }) parameters;
}
