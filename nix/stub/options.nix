# SPDX-License-Identifier: Apache-2.0
# The NixOS options that the recipe may use, with the types NixOS gives them: any other name, or type, fails the evaluation.
{ config, lib, pkgs, ... }:
let
  inherit (lib) mkOption types;
  option = type: default: mkOption { inherit type default; };
  enable = option types.bool false;
  enabled = option types.bool true;
  freely = options: types.attrsOf (types.submodule { freeformType = types.anything; inherit options; });
  null' = type: option (types.nullOr type) null;
in
{
  options = {
    assertions = option (types.listOf types.unspecified) [ ];
    boot = {
      initrd.availableKernelModules = option (types.listOf types.str) [ ];
      initrd.systemd = { inherit enable; emergencyAccess = option (types.oneOf [ types.bool types.str ]) false; };
      kernel.sysctl = option (types.attrsOf (types.oneOf [ types.bool types.int types.str ])) { };
      kernelParams = option (types.listOf types.str) [ ];
      loader.grub.enable = enabled;
    };
    environment.etc = option (types.attrsOf (types.submodule { options.text = null' types.lines; })) { };
    fileSystems = option (types.attrsOf (types.submodule {
      options = { device = null' types.str; fsType = option types.str "auto"; options = option (types.listOf types.str) [ "defaults" ]; };
    })) { };
    image.repart = {
      name = mkOption { type = types.str; };
      sectorSize = null' types.int;
      verityStore = {
        inherit enable;
        ukiPath = option types.str "/EFI/Linux/uki.efi";
        partitionIds = { esp = option types.str "00-esp"; store-verity = option types.str "10-store-verity"; store = option types.str "20-store"; };
      };
      partitions = option (types.attrsOf (types.submodule {
        options.repartConfig = option (types.attrsOf (types.oneOf [ types.str types.int types.bool ])) { };
      })) { };
    };
    networking = {
      useNetworkd = enable;
      firewall.enable = enabled;
      nftables = { inherit enable; ruleset = option types.lines ""; };
    };
    nix.enable = enabled;
    security.lockKernelModules = enable;
    services = {
      amazon-ssm-agent.enable = enable;
      cloud-init.enable = enable;
      getty.autologinUser = null' types.str;
      llama-cpp = { inherit enable; host = option types.str "127.0.0.1"; port = option types.int 8080; model = null' (types.oneOf [ types.path types.str ]); };
      logind.enable = enabled;
      openssh.enable = enable;
      timesyncd.servers = option (types.listOf types.str) [ ];
      udev.packages = option (types.listOf types.package) [ ];
    };
    swapDevices = option (types.listOf types.anything) [ ];
    system = {
      build = option (types.lazyAttrsOf types.unspecified) { };
      image = { id = null' types.str; version = null' types.str; };
      stateVersion = option types.str "25.11";
    };
    systemd = {
      coredump.enable = enabled;
      enableEmergencyMode = enabled;
      mounts = option (types.listOf types.anything) [ ];
      packages = option (types.listOf types.package) [ ];
      services = option (freely { enable = enabled; wantedBy = option (types.listOf types.str) [ ]; requires = option (types.listOf types.str) [ ]; after = option (types.listOf types.str) [ ]; }) { };
      targets = option (freely { wantedBy = option (types.listOf types.str) [ ]; }) { };
      tmpfiles.packages = option (types.listOf types.package) [ ];
    };
    users = {
      allowNoPasswordLogin = enable;
      groups = option (freely { }) { };
      mutableUsers = enabled;
      users = option (freely {
        password = null' types.str;
        hashedPassword = null' types.str;
        hashedPasswordFile = null' types.str;
        initialPassword = null' types.str;
        initialHashedPassword = null' types.str;
        openssh.authorizedKeys = { keys = option (types.listOf types.str) [ ]; keyFiles = option (types.listOf types.path) [ ]; };
      }) { };
    };
  };

  config = {
    users.users.root = { };
    # As NixOS does: the system cannot be built while an assertion fails.
    system.build =
      let failed = map (a: a.message) (lib.filter (a: !a.assertion) config.assertions);
      in rec {
        toplevel = if failed != [ ] then throw (lib.concatStringsSep "\n" ([ "Failed assertions:" ] ++ failed)) else pkgs.runCommand "toplevel" { } "echo > $out";
        finalImage = pkgs.runCommand "image" { } ''
          : ${toplevel}
          echo '${builtins.toJSON {
            parameters = config.boot.kernelParams;
            agent = config.environment.etc."sealboot/agent.json".text;
            loader = config.image.repart.verityStore.ukiPath;
            partitions = lib.mapAttrs (_: p: p.repartConfig) config.image.repart.partitions;
            after = lib.mapAttrs (_: s: s.after) (lib.filterAttrs (_: s: s.enable) config.systemd.services);
            off = lib.attrNames (lib.filterAttrs (_: s: !s.enable) config.systemd.services);
            writable = lib.attrNames (lib.filterAttrs (_: f: f.fsType != "tmpfs" && !(lib.elem "ro" f.options)) config.fileSystems);
          }}' > $out
        '';
      };
  };
}
