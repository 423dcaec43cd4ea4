# SPDX-License-Identifier: Apache-2.0
# The NixOS options that the recipe may use, with the types NixOS gives them: any other name, or type, fails the evaluation.
{ config, lib, pkgs, ... }:
let
  inherit (lib) mkOption types;
  option = type: default: mkOption { inherit type default; };
  enable = option types.bool false;
  enabled = option types.bool true;
  several = options: option (types.attrsOf (types.submodule { inherit options; })) { };
  strings = option (types.listOf types.str) [ ];
  unitOption = types.unitOption or (lib.mkOptionType {
    name = "unit option";
    merge = loc: defs: let values = map (d: d.value) defs; in
      if lib.any builtins.isList values then lib.concatMap lib.toList values else lib.mergeEqualOption loc defs;
  });
  section = option (types.attrsOf unitOption) { };
  unit = { description = option types.str ""; enable = enabled; wantedBy = strings; requiredBy = strings; wants = strings; requires = strings; after = strings; before = strings; unitConfig = section; };
  null' = type: option (types.nullOr type) null;
in
{
  options = {
    assertions = option (types.listOf types.unspecified) [ ];
    boot = {
      initrd.availableKernelModules = option (types.listOf types.str) [ ];
      initrd.systemd = { inherit enable; emergencyAccess = option (types.oneOf [ types.bool types.str ]) false; };
      kernel.sysctl = option (types.attrsOf (types.nullOr (types.oneOf [ types.bool types.int types.str ]))) { };
      kernelParams = strings;
      kernelPatches = option (types.listOf types.attrs) [ ];
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
      nftables = {
        inherit enable;
        ruleset = option types.lines "";
        rulesetFile = null' types.path;
        tables = option (types.attrsOf types.anything) { };
        checkRuleset = enabled;
        preCheckRuleset = option types.lines "";
      };
    };
    nix.enable = enabled;
    services = {
      amazon-ssm-agent.enable = enable;
      cloud-init.enable = enable;
      getty.autologinUser = null' types.str;
      llama-cpp = { inherit enable; host = option types.str "127.0.0.1"; port = option types.port 8080; model = null' types.path; };
      openssh.enable = enable;
      timesyncd.servers = option (types.listOf types.str) [ ];
      udev.extraRules = option types.lines "";
      udev.packages = option (types.listOf types.package) [ ];
    };
    swapDevices = option (types.listOf types.anything) [ ];
    system = {
      activationScripts = option (types.attrsOf types.str) { };
      build = option (types.lazyAttrsOf types.unspecified) { };
      image = { id = null' types.str; version = null' types.str; };
      stateVersion = option types.str "25.11";
    };
    systemd = {
      coredump.enable = enabled;
      enableEmergencyMode = enabled;
      mounts = option (types.listOf (types.submodule {
        options = unit // { where = mkOption { type = types.str; }; what = mkOption { type = types.str; }; type = option types.str ""; options = option types.str ""; };
      })) [ ];
      package = option types.package pkgs.systemd;
      packages = option (types.listOf types.package) [ ];
      services = several (unit // {
        path = option (types.listOf types.package) [ ];
        # NixOS looks the type up in a list of words.
        serviceConfig = option (types.addCheck (types.attrsOf unitOption) (s: !builtins.isList (s.Type or ""))) { };
      });
      sockets = several (unit // { listenStreams = strings; socketConfig = section; });
      targets = several unit;
      tmpfiles.packages = option (types.listOf types.package) [ ];
    };
    users = {
      allowNoPasswordLogin = enable;
      groups = several { };
      mutableUsers = enabled;
      users = several {
        isSystemUser = enable;
        group = option types.str "";
        extraGroups = strings;
        password = null' types.str;
        hashedPassword = null' types.str;
        hashedPasswordFile = null' types.str;
        initialPassword = null' types.str;
        initialHashedPassword = null' types.str;
        openssh.authorizedKeys = { keys = strings; keyFiles = option (types.listOf types.path) [ ]; };
      };
    };
  };

  config = {
    users.users.root = { };
    # What NixOS says by itself, so that the recipe's word is seen to win, or to agree.
    boot.kernelParams = [ "root=fstab" "loglevel=4" "lsm=landlock,yama,bpf" ];
    boot.kernel.sysctl = {
      "kernel.core_pattern" = lib.mkIf (!config.systemd.coredump.enable) (lib.mkDefault "core");
      "kernel.kptr_restrict" = lib.mkDefault 1;
      "kernel.yama.ptrace_scope" = lib.mkDefault 0;
    };
    system.activationScripts.usrbinenv = "mkdir -p /usr/bin";
    systemd.services.nftables = lib.mkIf config.networking.nftables.enable {
      before = [ "network-pre.target" ];
      serviceConfig = { Type = "oneshot"; RemainAfterExit = true; ExecStart = "nft -f"; ExecStop = "nft flush ruleset"; };
    };
    systemd.services.llama-cpp = lib.mkIf config.services.llama-cpp.enable {
      wantedBy = [ "multi-user.target" ];
      serviceConfig = {
        ExecStart = "llama-server --host ${config.services.llama-cpp.host} --port ${toString config.services.llama-cpp.port}";
        PrivateDevices = false;
        PrivateTmp = true;
        ProtectSystem = "strict";
        RestrictAddressFamilies = [ "AF_INET" "AF_INET6" "AF_UNIX" ];
      };
    };
    # As NixOS does: the system cannot be built while an assertion fails.
    system.build =
      let failed = map (a: a.message) (lib.filter (a: !a.assertion) config.assertions);
      in rec {
        toplevel = if failed != [ ] then throw (lib.concatStringsSep "\n" ([ "Failed assertions:" ] ++ failed)) else pkgs.runCommand "toplevel" { } "echo > $out";
        finalImage = builtins.seq toplevel (pkgs.runCommand "image" {
          description = builtins.toJSON {
            parameters = config.boot.kernelParams;
            agent = config.environment.etc."sealboot/agent.json".text;
            loader = config.image.repart.verityStore.ukiPath;
            partitions = lib.mapAttrs (_: p: p.repartConfig) config.image.repart.partitions;
            services = lib.mapAttrs (_: s: { inherit (s) after requires requiredBy unitConfig serviceConfig; path = map toString s.path; })
              (lib.filterAttrs (_: s: s.enable) config.systemd.services);
            sockets = lib.mapAttrs (_: s: s.listenStreams) config.systemd.sockets;
            firewall = { inherit (config.networking.nftables) ruleset preCheckRuleset; };
            rules = config.services.udev.extraRules;
            inherit (config.boot) kernelPatches;
            inherit (config.boot.kernel) sysctl;
            inherit (config.system) activationScripts;
            off = lib.attrNames (lib.filterAttrs (_: s: !s.enable) config.systemd.services);
            writable = lib.attrNames (lib.filterAttrs (_: f: f.fsType != "tmpfs" && !(lib.elem "ro" f.options)) config.fileSystems);
          };
        } "printf %s \"$description\" > $out");
      };
  };
}
