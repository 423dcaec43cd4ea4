# SPDX-License-Identifier: Apache-2.0
# services.sealboot: the agent and its measured configuration. image.nix sets what an image needs besides.
{ config, lib, pkgs, ... }:
let
  inherit (lib) mkEnableOption mkIf mkOption types;
  cfg = config.services.sealboot;

  # The agent's configuration: every key of sealboot-agent(8), by the agent's own names.
  arn = types.strMatching "arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+";
  file = types.strMatching "/.+";
  key = type: description: mkOption { inherit description; type = types.nullOr type; default = null; };
  endpoint = name: key (types.strMatching "https?://.+") "URL of ${name}; by default AWS's in the Region.";
  known = {
    keys = key (types.listOf arn)
      "ARNs of the KMS keys a model may be sealed under. Measured: changing them changes PCR4.";
    discovery = key types.bool "Whether to accept models sealed under any key, instead of those pinned in `keys`.";
    encryption_context = key (types.attrsOf types.str) "Pairs that the encryption context of a sealed model must have.";
    model_digests = key (types.listOf (types.strMatching "sha384:[0-9a-f]{96}")) ''
      Digests of the models that may be loaded, as `sealboot digest` prints them: `sha384:` and 96 hexadecimal digits.
      None means any model that the keys release.
    '';
    model = key (types.strMatching "s3://.+") "The model to load when user data names none.";
    measure = key (types.enum [ "model" "sha384" ]) (
      "What PCR15 is extended with: `model`, the model digest, or `sha384`, "
      + "the SHA-384 of a model that is a single file."
    );
    key_store = key types.attrs ''
      An owner's service that releases the data key in the place of KMS, `url` and `ca_bundle`: see KEY STORES in
      sealboot-agent(8).
    '';
    inputs = key (types.listOf types.attrs) ''
      Models of several owners, in the place of `keys`, `encryption_context`, `model_digests`, `key_store` and `model`:
      see SEVERAL INPUTS in sealboot-agent(8). The build checks each with the agent.
    '';
    region = key (types.strMatching "[a-z0-9-]+") "AWS Region; by default the instance's.";
    endpoints = mkOption {
      type = types.submodule {
        options = lib.mapAttrs (_: endpoint) {
          imds = "the instance metadata service";
          kms = "KMS";
          s3 = "S3";
          autoscaling = "Auto Scaling";
        };
      };
      default = { };
      description = "Endpoints to use instead of AWS's own.";
    };
    ca_bundle = key types.path ''
      The authorities to trust for KMS, S3 and Auto Scaling, instead of the system's. Amazon's roots alone are in
      `''${config.services.sealboot.package}/share/sealboot/amazon-roots.pem`.
    '';
    tcti = key types.str "The TPM, as in tpm2-tools; by default the machine's.";
    model_directory = key file "The memory file system of the model.";
    report_to = key types.str
      "A prefix in S3, `s3://bucket/reports/`, where the agent stores a copy of each boot's report.";
    measurement_log = key file "The measurement log that the agent appends its event to.";
    report = key file "Where the boot report is written.";
    lifecycle_hook = key
      (types.submodule {
        options = lib.mapAttrs
          (_: what: mkOption { type = types.strMatching ".{1,255}"; description = "Name of the ${what}."; })
          { group = "Auto Scaling group"; name = "lifecycle hook"; };
      }) "The Auto Scaling lifecycle hook that the boot completes: CONTINUE with a model, ABANDON when it failed.";
    ready = key
      (types.submodule {
        options = {
          upstream = mkOption {
            type = types.strMatching "unix:/.+";
            example = "unix:/run/sealboot-upstream/llama-cpp.sock";
            description = "The socket of the server's proxy.";
          };
          health = mkOption {
            type = types.strMatching "/.*";
            example = "/health";
            description = "The path that the server answers with status 200 when it is ready.";
          };
          warm_up = mkOption {
            type = types.nullOr (pkgs.formats.json { }).type;
            default = null;
            description = "A request that the server must have answered, too: `path`, and `body` as JSON.";
          };
          seconds = mkOption {
            type = types.ints.between 1 7200;
            default = 900;
            description = "How many seconds to wait.";
          };
        };
      }) "The inference server to wait for before Auto Scaling hears CONTINUE.";
    keep = key (types.enum [ "always" "until-ready" ])
      "`until-ready` removes the published files as soon as the server is `ready`: it cannot start again afterwards.";
    workers = key (types.ints.between 1 1024) "Threads that decrypt and hash; by default one for each CPU.";
    connections = key (types.ints.between 1 1024) "Connections to S3; by default chosen by the number of CPUs.";
    kms_deadline_seconds = key (types.ints.between 1 3600)
      "How many seconds to try to get the data key; by default 60.";
    heartbeat_seconds = key (types.ints.between 1 3600) ''
      Seconds between two heartbeats, which start the timeout of the lifecycle hook anew while a model is loaded; by
      default 30. Choose at most half of that timeout.
    '';
    use_fips_endpoint = key types.bool "Whether to use AWS's FIPS endpoints for KMS, S3 and Auto Scaling.";
    use_dualstack_endpoint = key types.bool "Whether to use AWS's endpoints that have IPv6 addresses, too.";
    allow_any_iv = key types.bool
      "Whether to accept frames whose IV is not their sequence number, as other encryptors may write.";
  };
  # The settings that can also be set outside `settings`, each by its Nix name.
  short = {
    keys = "keys";
    discovery = "discovery";
    encryptionContext = "encryption_context";
    modelDigests = "model_digests";
    model = "model";
    measure = "measure";
    region = "region";
    endpoints = "endpoints";
    caBundle = "ca_bundle";
    lifecycleHook = "lifecycle_hook";
    ready = "ready";
    keep = "keep";
    workers = "workers";
    connections = "connections";
    kmsDeadlineSeconds = "kms_deadline_seconds";
    allowAnyIv = "allow_any_iv";
    useFipsEndpoint = "use_fips_endpoint";
    useDualstackEndpoint = "use_dualstack_endpoint";
  };
  # agent.json holds only what was set: the agent's own defaults are in sealboot-agent(8).
  said = lib.filterAttrs (_: value: value != null && value != { } && value != [ ] && value != false);
  saidBelow = settings: said (settings // {
    endpoints = said settings.endpoints;
    ready = if settings.ready == null then null else said settings.ready;
  });
  configuration = saidBelow cfg.settings;
  # The build runs the agent on the file, so that a file that the agent would refuse at boot fails the build.
  checked = pkgs.runCommand "agent.json" { configuration = builtins.toJSON configuration; } ''
    printf '%s\n' "$configuration" >$out
    ${cfg.package}/bin/sealboot-agent --config $out --check-config
  '';

  # The gate's configuration: who may send requests to the model, and which. The gate generates nginx's configuration
  # from it.
  served = cfg.inferenceServices != { };
  upstream = name: "/run/sealboot-upstream/${name}.sock";
  upstreams = map (name: "unix:${upstream name}") (lib.attrNames cfg.inferenceServices);
  gate = lib.optionalAttrs (lib.length upstreams == 1) { upstream = lib.head upstreams; } // cfg.gate;
  checkedGate = pkgs.runCommand "gate.json" { configuration = builtins.toJSON gate; } ''
    printf '%s\n' "$configuration" >$out
    ${cfg.package}/bin/sealboot-gate --check-config $out
  '';
  nginxConfiguration = pkgs.runCommand "nginx.conf" { }
    "${cfg.package}/bin/sealboot-gate --nginx-configuration ${checkedGate} >$out";

  # The memory file system has the options of units/run-sealboot-model.mount, except for its size, and noswap if the
  # kernel knows that option.
  mount = lib.mapAttrs (_: lib.last) (import ./settings.nix (lib.readFile ../units/run-sealboot-model.mount));
  mountOptions = lib.filter builtins.isString (builtins.split "," mount.Options);
  knowsNoswap = lib.versionAtLeast config.boot.kernelPackages.kernel.version "6.4";
  options = map (o: if lib.hasPrefix "size=" o then "size=${cfg.modelSize}" else o) mountOptions
    ++ lib.optional (knowsNoswap && !lib.elem "noswap" mountOptions) "noswap";

  # Inference servers are confined by the lines with which units/examples confines llama.cpp's server.
  serviceOf = file: import ./settings.nix (lib.last (builtins.split "\\[Service]" (lib.readFile file)));
  adding = [ "SupplementaryGroups" "DeviceAllow" "ReadOnlyPaths" "TemporaryFileSystem" "BindReadOnlyPaths" ];
  words = lib.mapAttrs (_: values: if lib.length values == 1 then lib.head values else values);
  confinement = lib.mapAttrs (key: values: if lib.elem key adding then values else lib.mkForce (lib.last values))
    (removeAttrs (serviceOf ../units/examples/llama-server.service.d/sealboot.conf) [ "Environment" ]);
  server = name: port: {
    ${name} = {
      requires = [ "sealboot-model.target" ];
      after = [ "sealboot-model.target" ];
      # On NixOS a GPU's libraries are in /run.
      serviceConfig = confinement // {
        BindReadOnlyPaths = confinement.BindReadOnlyPaths ++ [ "-/run/opengl-driver" ];
      };
    };
    "${name}-proxy" = rec {
      description = "Carry requests into the network namespace of ${name}";
      requires = [ "${name}.service" "${name}-proxy.socket" ];
      after = requires;
      unitConfig.JoinsNamespaceOf = "${name}.service";
      serviceConfig = words (serviceOf ../units/examples/llama-proxy.service) // {
        ExecStart = "${config.systemd.package}/lib/systemd/systemd-socket-proxyd --connections-max=8192 "
          + "127.0.0.1:${toString port}";
      };
    };
  };
  socket = name: _: {
    "${name}-proxy" = {
      description = "Requests to ${name}";
      after = [ "systemd-tmpfiles-setup.service" ];
      wantedBy = [ "sockets.target" ];
      listenStreams = [ (upstream name) ];
      # Only nginx may connect, which terminates TLS and asks the gate; and the agent, for `ready`.
      socketConfig = { SocketUser = "sealboot-nginx"; SocketGroup = "sealboot"; SocketMode = "0660"; };
    };
  };

  # Starts when the agent, or a unit that the agent requires, has failed. The console shows the reason before the
  # machine stops.
  failed = {
    description = "End a machine that has no model";
    unitConfig = { SuccessAction = cfg.failureAction; FailureAction = cfg.failureAction; };
    serviceConfig = {
      Type = "oneshot";
      TimeoutStartSec = 30;
      StandardOutput = "journal+console";
      ExecStart = [
        "-${pkgs.coreutils}/bin/echo sealboot: no model was published, for the reason above: ${cfg.failureAction}"
        "-${config.systemd.package}/bin/journalctl --sync"
        "-${pkgs.coreutils}/bin/sleep 2"
      ];
    };
  };
in
{
  options.services.sealboot = {
    enable = mkEnableOption "unsealing a model at boot with sealboot";
    package = mkOption {
      type = types.package;
      default = pkgs.sealboot or (pkgs.callPackage ./package.nix { });
      defaultText = lib.literalExpression
        "pkgs.sealboot, or else sealboot built from the tree that this module lies in";
      description = "The sealboot package.";
    };
    settings = mkOption {
      type = types.submodule {
        freeformType = (pkgs.formats.json { }).type;
        options = known // { measure = known.measure // { default = "model"; }; };
      };
      default = { };
      example = { lifecycle_hook = { group = "models"; name = "model-published"; }; };
      description = ''
        The whole measured configuration, /etc/sealboot/agent.json, by the names of sealboot-agent(8). What is not said
        is left to the agent. The build runs `sealboot-agent --check-config` on it, and goes no further if the agent
        refuses.
      '';
    };
    modelSize = mkOption {
      type = types.strMatching "[0-9]+[%kmgKMG]?";
      default = "90%";
      description = "Size limit of the memory file system that holds the model.";
    };
    failureAction = mkOption {
      type = types.enum [ "none" "poweroff" "poweroff-force" "reboot" "reboot-force" ];
      default = "none";
      description = ''
        What the machine does, after it said so on the console, when the agent or a unit that the agent requires has
        failed: see FailureAction= in systemd.unit(5). An attestable image says `poweroff-force`, so that a GPU does not
        idle.
      '';
    };
    inferenceServices = mkOption {
      type = types.attrsOf types.port;
      default = { };
      example = { llama-cpp = 8080; };
      description = ''
        Services that start only after the model is published, and may read it, each with the TCP port it serves on
        127.0.0.1 in a network namespace of its own. They have no other network, no writable path, and no devices but
        those of GPUs. `NAME-proxy.socket`, which only nginx and the agent can connect to, carries requests in.
      '';
    };
    gate = mkOption {
      type = (pkgs.formats.json { }).type;
      default = { };
      example = {
        callers.tokens = [
          { name = "app"; sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"; }
        ];
        paths.server = "llama-server";
      };
      description = ''
        The gate's whole measured configuration, /etc/sealboot/gate.json, by the names of sealboot-gate(8): who may send
        requests to the model on port 443, and which. Needed where there are inferenceServices. `upstream` is the one
        service, or says which: `unix:/run/sealboot-upstream/NAME.sock`. The build runs `sealboot-gate --check-config`
        on it, and goes no further if the gate refuses.
      '';
    };
  } // lib.mapAttrs (_: name: known.${name}) short;

  config = mkIf cfg.enable {
    assertions = [
      {
        assertion = configuration ? keys || configuration ? discovery || configuration ? inputs;
        message = "services.sealboot.keys pins no KMS key; name one, or say discovery = true, or settings.inputs";
      }
      {
        assertion = !(configuration ? keys && configuration ? discovery);
        message = "services.sealboot: discovery contradicts the pinned keys";
      }
      {
        assertion = !served || lib.elem (gate.upstream or null) upstreams;
        message = "services.sealboot.gate.upstream names none of the inferenceServices: "
          + "expected unix:/run/sealboot-upstream/NAME.sock";
      }
      {
        assertion = (gate.port or 443) == 443;
        message = "services.sealboot.gate.port: sealboot-nginx.socket and the firewall have 443";
      }
    ];

    services.sealboot.settings = lib.concatMapAttrs
      (nix: name:
        let value = if name == "endpoints" then said cfg.endpoints else cfg.${nix};
        in lib.optionalAttrs (value != null) { ${name} = value; })
      short;

    environment.etc = {
      "sealboot/agent.json".source = checked;
    } // lib.optionalAttrs served {
      "sealboot/gate.json".source = checkedGate;
      "sealboot/nginx.conf".source = nginxConfiguration;
    };
    users.groups.sealboot = { };
    users.groups.tss = { };
    users.users.sealboot = { isSystemUser = true; group = "sealboot"; extraGroups = [ "tss" ]; };
    users.groups.sealboot-gate = { };
    users.groups.sealboot-nginx = { };
    users.users.sealboot-gate = { isSystemUser = true; group = "sealboot-gate"; };
    users.users.sealboot-nginx = { isSystemUser = true; group = "sealboot-nginx"; };

    services.udev.packages = [ cfg.package ];
    systemd.packages = [ cfg.package ];
    systemd.tmpfiles.packages = [ cfg.package ];
    systemd.mounts = [
      {
        where = mount.Where;
        what = mount.What;
        type = mount.Type;
        options = lib.concatStringsSep "," options;
      }
    ];
    systemd.targets.sealboot-model.wantedBy = [ "multi-user.target" ];
    systemd.services = lib.mkMerge [
      (lib.concatMapAttrs server cfg.inferenceServices)
      { sealboot-agent.wantedBy = [ "sealboot-model.target" ]; }
      (mkIf served {
        sealboot-nginx = {
          wantedBy = [ "multi-user.target" ];
          serviceConfig.ExecStart = [ "" "${pkgs.nginx}/bin/nginx -e stderr -c /etc/sealboot/nginx.conf" ];
        };
      })
      (mkIf (cfg.failureAction != "none") {
        sealboot-agent.onFailure = [ "sealboot-failed.service" ];
        sealboot-failed = failed;
      })
    ];
    systemd.sockets = lib.concatMapAttrs socket cfg.inferenceServices;
  };
}
