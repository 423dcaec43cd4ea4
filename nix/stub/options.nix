# SPDX-License-Identifier: Apache-2.0
# The NixOS options that the recipe may use, with the types NixOS gives them. Any other name or type fails the
# evaluation. Each group names the file of nixpkgs' nixos/modules that it was read in, and the revision of nixpkgs.
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
  null' = type: option (types.nullOr type) null;
  # nixos/lib/systemd-unit-options.nix @ 01f31c2ee7d0
  unit = {
    description = option types.str "";
    enable = enabled;
    wantedBy = strings;
    requiredBy = strings;
    wants = strings;
    requires = strings;
    after = strings;
    before = strings;
    onFailure = strings;
    unitConfig = section;
  };
  services = several (unit // {
    path = option (types.listOf types.package) [ ];
    # NixOS looks the type up in a list of words.
    serviceConfig = option (types.addCheck (types.attrsOf unitOption) (s: !builtins.isList (s.Type or ""))) { };
  });
  mounts = option (types.listOf (types.submodule {
    options = unit // {
      where = mkOption { type = types.str; };
      what = mkOption { type = types.str; };
      type = option types.str "";
      options = option types.str "";
    };
  })) [ ];
  files = several {
    text = null' types.lines;
    source = null' types.path;
    mode = option types.str "symlink";
  };
in
{
  options = {
    assertions = option (types.listOf types.unspecified) [ ]; # misc/assertions.nix: not read; every module says it
    boot = {
      bcache.enable = enabled; # tasks/bcache.nix @ 05924f714f31
      enableContainers = enable; # virtualisation/nixos-containers.nix @ 00ef614eae76
      kexec.enable = enabled; # system/boot/kexec.nix @ 1181bb22b6c4
      loader.grub.enable = enabled; # as profiles/perlless.nix @ f62af3e37eb8 sets it
      # system/boot/kernel.nix @ 8a2b0a70a705; at later revisions the modules can also be sets, and lists are still
      # accepted
      initrd = {
        availableKernelModules = strings;
        kernelModules = strings;
        includeDefaultModules = enabled;
        compressor = option types.str "gzip -9n"; # system/boot/stage-1.nix @ 00976b194fe3
        # system/boot/systemd/initrd.nix @ 00e6b22b508f
        systemd = {
          inherit enable services mounts;
          package = option types.package pkgs.systemd;
          emergencyAccess = option (types.oneOf [ types.bool types.str ]) false;
          suppressedUnits = strings;
          suppressedStorePaths = strings;
          contents = files;
          shell.enable = enabled; # as nixos/tests/activation/bashless.nix @ 7226218c6c1c sets it
        };
      };
      blacklistedKernelModules = strings; # this and the next: system/boot/modprobe.nix @ 0c889da42f24
      extraModprobeConfig = option types.lines "";
      extraModulePackages = option (types.listOf types.package) [ ]; # system/boot/kernel.nix @ 8a2b0a70a705
      kernelModules = strings; # this and the next three: system/boot/kernel.nix @ 8a2b0a70a705
      kernelParams = strings;
      kernelPatches = option (types.listOf types.attrs) [ ];
      kernelPackages = option types.raw pkgs.linuxPackages;
      # config/sysctl.nix @ 05924f714f31
      kernel.sysctl = option (types.attrsOf (types.nullOr (types.oneOf [ types.bool types.int types.str ]))) { };
    };
    console.enable = enabled; # config/console.nix @ 027e1595812a
    environment = {
      etc = files; # system/etc/etc.nix @ 05924f714f31
      corePackages = option (types.listOf types.package) [ ]; # this and the next: config/system-path.nix @ 0354e8b747c8
      defaultPackages = option (types.listOf types.package) [ ];
      # system/activation/activation-script.nix @ 04da25cd20da
      usrbinenv = option (types.nullOr types.path) "/usr/bin/env";
      createUsrBinEnv = enabled; # as system/activation/nixos-init.nix @ 036e02bd13be reads it
    };
    # tasks/filesystems.nix @ 0148e16d1446
    fileSystems = several {
      device = null' types.str;
      fsType = option types.str "auto";
      options = option (types.listOf types.str) [ "defaults" ];
    };
    hardware = {
      firmware = option (types.listOf types.package) [ ]; # services/hardware/udev.nix @ 01f19f54e046
      # hardware/graphics.nix @ 0009474fe6d7
      graphics = { inherit enable; extraPackages = option (types.listOf types.package) [ ]; };
    };
    # image/repart.nix @ 013635633ffe, image/repart-verity-store.nix @ 1b592cdeb46e
    image.repart = {
      name = mkOption { type = types.str; };
      sectorSize = null' types.int;
      verityStore = {
        inherit enable;
        ukiPath = option types.str "/EFI/Linux/uki.efi";
        partitionIds = {
          esp = option types.str "00-esp";
          store-verity = option types.str "10-store-verity";
          store = option types.str "20-store";
        };
      };
      partitions = option (types.attrsOf (types.submodule {
        options.repartConfig = option (types.attrsOf (types.oneOf [ types.str types.int types.bool ])) { };
      })) { };
    };
    networking = {
      useNetworkd = enable; # this and the next: tasks/network-interfaces-systemd.nix @ 003a3fd2f05c
      useDHCP = enabled;
      firewall.enable = enabled; # as profiles/bashless.nix @ 7fe74bb8335f sets it
      # services/networking/nftables.nix @ 048ef0d45573
      nftables = {
        inherit enable;
        ruleset = option types.lines "";
        rulesetFile = null' types.path;
        tables = option (types.attrsOf types.anything) { };
        checkRuleset = enabled;
        preCheckRuleset = option types.lines "";
      };
    };
    nix.enable = enabled; # as profiles/image-based-appliance.nix @ 136283b55aa0 sets it
    powerManagement.enable = enabled; # config/power-management.nix @ 04e8a1744818
    programs.fuse.enable = enabled; # programs/fuse.nix @ ba5b70b72198
    programs.nano.enable = enabled; # programs/nano.nix @ 95d27ed8ac2a
    security.enableWrappers = enabled; # security/wrappers/default.nix @ 0148e16d1446
    security.sudo.enable = enabled; # security/sudo.nix @ 02627d7620b3
    services = {
      amazon-ssm-agent.enable = enable; # services/misc/amazon-ssm-agent.nix @ 136283b55aa0
      cloud-init.enable = enable; # services/system/cloud-init.nix @ 05924f714f31
      getty.autologinUser = null' types.str; # services/ttys/getty.nix @ 087472b1e523
      # services/misc/llama-cpp.nix @ 0d1c6dbeeef1
      llama-cpp = {
        inherit enable;
        host = option types.str "127.0.0.1";
        port = option types.port 8080;
        model = null' types.path;
      };
      openssh.enable = enable; # services/networking/ssh/sshd.nix @ 00976b194fe3
      timesyncd.servers = null' (types.listOf types.str); # this and the next: system/boot/timesyncd.nix @ 0861e45c3a68
      timesyncd.fallbackServers = null' (types.listOf types.str);
      udev.extraRules = option types.lines ""; # this and the next: services/hardware/udev.nix @ 01f19f54e046
      udev.packages = option (types.listOf types.package) [ ];
    };
    swapDevices = option (types.listOf types.anything) [ ]; # config/swap.nix @ 03a362fe87d4
    system = {
      activationScripts = option (types.attrsOf types.str) { }; # system/activation/activation-script.nix @ 04da25cd20da
      # this and the next two: system/activation/top-level.nix @ 01502f439c6a
      build = option (types.lazyAttrsOf types.unspecified) { };
      checks = option (types.listOf types.package) [ ];
      forbiddenDependenciesRegexes = strings;
      disableInstallerTools = enable; # installer/tools/tools.nix @ 00630c27001d
      etc.overlay = { inherit enable; mutable = enabled; }; # system/etc/etc-activation.nix @ 0a1ac06e40e7
      fsPackages = option (types.listOf types.package) [ ]; # tasks/filesystems.nix @ 0148e16d1446
      image = { id = null' types.str; version = null' types.str; }; # as image/repart.nix @ 013635633ffe reads it
      nixos-init.enable = enable; # system/activation/nixos-init.nix @ 7d0bfd857694
      stateVersion = option types.str "25.11"; # misc/version.nix @ 03a362fe87d4
      switch.enable = enabled; # system/activation/switchable-system.nix @ 0db57dc974ee
    };
    systemd = {
      coredump.enable = enabled; # system/boot/systemd/coredump.nix @ 08a4c8850831
      enableEmergencyMode = enabled; # system/boot/emergency-mode.nix @ 14fd976016ae
      # system/boot/networkd.nix @ dd3bd10db439
      network = { networks = option (types.attrsOf types.anything) { }; wait-online.anyInterface = enable; };
      # This and what follows: system/boot/systemd.nix @ 0017a06717bb
      inherit services mounts;
      additionalUpstreamSystemUnits = strings;
      generators = option (types.attrsOf types.path) { };
      package = option types.package pkgs.systemd;
      packages = option (types.listOf types.package) [ ];
      sockets = several (unit // { listenStreams = strings; socketConfig = section; });
      targets = several unit;
      shutdownRamfs.enable = enabled; # system/boot/systemd/shutdown.nix @ 03dcc0d7936d
      sysusers.enable = enable; # system/boot/systemd/sysusers.nix @ 02d79c9c8bcb
      tmpfiles.packages = option (types.listOf types.package) [ ]; # system/boot/systemd/tmpfiles.nix @ 046599161540
    };
    # config/users-groups.nix @ 005ab72f9cf5
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
    users.users.root.initialHashedPassword = lib.mkDefault "!";
    # Values that NixOS sets, so that the check sees whether the recipe's values replace them or agree with them.
    boot.kernelParams = [ "root=fstab" "loglevel=4" "lsm=landlock,yama,bpf" ];
    boot.initrd.availableKernelModules = [ "autofs" "efivarfs" ]
      ++ lib.optional config.boot.initrd.includeDefaultModules "ahci";
    boot.kernel.sysctl = {
      "kernel.core_pattern" = lib.mkIf (!config.systemd.coredump.enable) (lib.mkDefault "core");
      "kernel.kptr_restrict" = lib.mkDefault 1;
      "kernel.printk" = lib.mkDefault 4;
      "kernel.yama.ptrace_scope" = lib.mkDefault 0;
    };
    environment.etc."lvm/lvm.conf".text = "config {}";
    environment.defaultPackages = [ pkgs.python3 ];
    system.fsPackages = [ pkgs.mtools ];
    systemd.network.networks = lib.mkIf config.networking.useDHCP { "99-ethernet-default-dhcp".DHCP = "yes"; };
    systemd.services.nftables = lib.mkIf config.networking.nftables.enable {
      before = [ "network-pre.target" ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = "nft -f";
        ExecStop = "nft flush ruleset";
      };
    };
    systemd.services.llama-cpp = lib.mkIf config.services.llama-cpp.enable {
      wantedBy = [ "multi-user.target" ];
      serviceConfig = {
        ExecStart =
          let inherit (config.services.llama-cpp) host port; in "llama-server --host ${host} --port ${toString port}";
        PrivateDevices = false;
        PrivateTmp = true;
        PrivateUsers = true;
        ProtectSystem = "strict";
        RestrictAddressFamilies = [ "AF_INET" "AF_INET6" "AF_UNIX" ];
      };
    };
    # As NixOS does: the system cannot be built while an assertion fails.
    system.build =
      let
        failed = map (a: a.message) (lib.filter (a: !a.assertion) config.assertions);
        unitsOf = lib.mapAttrs (_: s: {
          inherit (s) after before requires wants wantedBy requiredBy onFailure unitConfig serviceConfig;
          path = map toString s.path;
        });
        sources = lib.filter (source: source != null) (map (f: f.source) (lib.attrValues config.environment.etc));
        written = f: f.fsType != "tmpfs" && !(lib.elem "ro" f.options);
        file = f: if f.text != null then { inherit (f) text mode; } else { source = toString f.source; };
      in
      rec {
        initialRamdisk = pkgs.runCommand "initrd" { } "echo > $out";
        toplevel =
          if failed != [ ] then throw (lib.concatStringsSep "\n" ([ "Failed assertions:" ] ++ failed))
          else pkgs.runCommand "toplevel" { etc = sources; } "echo > $out";
        finalImage = pkgs.runCommand "image" {
          inherit toplevel;
          description = builtins.toJSON {
            parameters = config.boot.kernelParams;
            etc = lib.mapAttrs (_: file) config.environment.etc;
            loader = config.image.repart.verityStore.ukiPath;
            partitions = lib.mapAttrs (_: p: p.repartConfig) config.image.repart.partitions;
            services = unitsOf (lib.filterAttrs (_: s: s.enable) config.systemd.services);
            sockets = lib.mapAttrs (_: s: s.listenStreams) config.systemd.sockets;
            mounts = map (m: { inherit (m) where what type options; }) config.systemd.mounts;
            firewall = { inherit (config.networking.nftables) ruleset preCheckRuleset; };
            rules = config.services.udev.extraRules;
            inherit (config.boot) kernelPatches;
            inherit (config.boot.kernel) sysctl;
            inherit (config.systemd) generators additionalUpstreamSystemUnits;
            initrd = {
              modules = config.boot.initrd.availableKernelModules;
              inherit (config.boot.initrd.systemd) suppressedUnits suppressedStorePaths;
              shell = config.boot.initrd.systemd.shell.enable;
              mounts = map
                (m: { inherit (m) where what type options requiredBy before; })
                config.boot.initrd.systemd.mounts;
              services = unitsOf config.boot.initrd.systemd.services;
              contents = lib.mapAttrs (_: file) config.boot.initrd.systemd.contents;
            };
            packages = map toString
              (config.environment.corePackages ++ config.environment.defaultPackages ++ config.system.fsPackages);
            wrappers = config.security.enableWrappers;
            driver = map toString (config.boot.extraModulePackages ++ config.hardware.firmware
              ++ config.hardware.graphics.extraPackages);
            modprobe = { inherit (config.boot) blacklistedKernelModules extraModprobeConfig; };
            audit = map (check: lib.elemAt check.args 1) config.system.checks;
            forbidden = config.system.forbiddenDependenciesRegexes;
            off = lib.attrNames (lib.filterAttrs (_: s: !s.enable) config.systemd.services);
            writable = lib.attrNames (lib.filterAttrs (_: written) config.fileSystems);
          };
        } "printf %s \"$description\" > $out";
      };
  };
}
