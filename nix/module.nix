# SPDX-License-Identifier: Apache-2.0
# services.sealboot: the agent and its measured configuration. What an image must be besides is in image.nix.
{ config, lib, pkgs, ... }:
let
  inherit (lib) mkEnableOption mkIf mkOption types;
  cfg = config.services.sealboot;
  arn = types.strMatching "arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+";
  optional = type: description: mkOption { inherit description; type = types.nullOr type; default = null; };

  # agent.json holds only what was set: the agent's own defaults are in sealboot-agent(8).
  settings = lib.filterAttrs (_: value: value != null && value != { } && value != [ ] && value != false) {
    inherit (cfg) keys discovery model measure region workers connections;
    encryption_context = cfg.encryptionContext;
    model_digests = cfg.modelDigests;
    endpoints = lib.filterAttrs (_: value: value != null) cfg.endpoints;
    ca_bundle = cfg.caBundle;
    kms_deadline_seconds = cfg.kmsDeadlineSeconds;
    allow_any_iv = cfg.allowAnyIv;
  };

  # Inference servers are confined as units/examples confines llama.cpp's, by the same lines.
  serviceOf = file: import ./settings.nix (lib.last (builtins.split "\\[Service]" (lib.readFile file)));
  adding = [ "SupplementaryGroups" "DeviceAllow" "ReadOnlyPaths" "TemporaryFileSystem" "BindReadOnlyPaths" ];
  words = lib.mapAttrs (_: values: if lib.length values == 1 then lib.head values else values);
  confinement = lib.mapAttrs (key: values: if lib.elem key adding then values else lib.mkForce (lib.last values))
    (removeAttrs (serviceOf ../units/examples/llama-server.service.d/sealboot.conf) [ "Environment" ]);
  server = name: port: {
    ${name} = {
      requires = [ "sealboot-model.target" ];
      after = [ "sealboot-model.target" ];
      # A GPU's libraries are in /run on NixOS.
      serviceConfig = confinement // { BindReadOnlyPaths = confinement.BindReadOnlyPaths ++ [ "-/run/opengl-driver" ]; };
    };
    "${name}-proxy" = rec {
      description = "Carry requests into the network namespace of ${name}";
      requires = [ "${name}.service" "${name}-proxy.socket" ];
      after = requires;
      unitConfig.JoinsNamespaceOf = "${name}.service";
      serviceConfig = words (serviceOf ../units/examples/llama-proxy.service) // {
        ExecStart = "${config.systemd.package}/lib/systemd/systemd-socket-proxyd 127.0.0.1:${toString port}";
      };
    };
  };
  socket = name: port: {
    "${name}-proxy" = {
      description = "Requests to ${name}";
      wantedBy = [ "sockets.target" ];
      listenStreams = [ (toString port) ];
    };
  };
in
{
  options.services.sealboot = {
    enable = mkEnableOption "unsealing a model at boot with sealboot";
    package = mkOption {
      type = types.package;
      default = pkgs.sealboot;
      description = "The sealboot package.";
    };
    keys = mkOption {
      type = types.listOf arn;
      default = [ ];
      example = [ "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab" ];
      description = "ARNs of the KMS keys a model may be sealed under. Measured: changing them changes PCR4.";
    };
    discovery = mkEnableOption "accepting models sealed under any key, instead of those pinned in `keys`";
    encryptionContext = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = { model = "example"; };
      description = "Pairs that the encryption context of a sealed model must have.";
    };
    modelDigests = mkOption {
      type = types.listOf (types.strMatching "[0-9a-f]{96}");
      default = [ ];
      description = "Digests of the models that may be loaded; none means any that the keys release.";
    };
    model = optional (types.strMatching "s3://.+") "The model to load when user data names none.";
    measure = mkOption {
      type = types.enum [ "model" "sha384" ];
      default = "model";
      description = "What PCR15 is extended with: the model digest, or the SHA-384 of a model that is a single file.";
    };
    region = optional types.str "AWS Region; by default the instance's.";
    endpoints = {
      imds = optional types.str "URL of the instance metadata service; by default AWS's.";
      kms = optional types.str "URL of KMS; by default AWS's in the Region.";
      s3 = optional types.str "URL of S3; by default AWS's in the Region.";
    };
    caBundle = optional types.path "Certificates to trust for KMS and S3 instead of the system's.";
    workers = optional (types.ints.between 1 1024) "Threads that decrypt; by default one for each core.";
    connections = optional (types.ints.between 1 1024) "Parallel connections to S3; by default chosen from the rate.";
    kmsDeadlineSeconds = optional (types.ints.between 1 3600) "How long to try to get the data key.";
    allowAnyIv = mkEnableOption "frames whose IV is not their sequence number, as other encryptors may write";
    modelSize = mkOption {
      type = types.strMatching "[0-9]+[%kmgKMG]?";
      default = "90%";
      description = "Size limit of the memory file system that holds the model.";
    };
    inferenceServices = mkOption {
      type = types.attrsOf types.port;
      default = { };
      example = { llama-cpp = 8080; };
      description = ''
        Services that start only after the model is published, and may read it, each with the TCP port it serves on
        127.0.0.1. They have no other network, device or writable path; `NAME-proxy.socket` carries requests to the port in.
      '';
    };
  };

  config = mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.keys != [ ] || cfg.discovery;
        message = "services.sealboot.keys pins no KMS key; name one, or say discovery = true";
      }
      {
        assertion = !(cfg.keys != [ ] && cfg.discovery);
        message = "services.sealboot: discovery contradicts the pinned keys";
      }
    ];

    environment.etc."sealboot/agent.json".text = builtins.toJSON settings;
    users.groups.sealboot = { };
    users.groups.tss = { };
    users.users.sealboot = { isSystemUser = true; group = "sealboot"; extraGroups = [ "tss" ]; };

    services.udev.packages = [ cfg.package ];
    systemd.packages = [ cfg.package ];
    systemd.tmpfiles.packages = [ cfg.package ];
    systemd.mounts = [
      {
        where = "/run/sealboot/model";
        what = "tmpfs";
        type = "tmpfs";
        options = "size=${cfg.modelSize},huge=within_size,noexec,nosuid,nodev,noatime,mode=0750,uid=sealboot,gid=sealboot";
      }
    ];
    systemd.targets.sealboot-model.wantedBy = [ "multi-user.target" ];
    systemd.services = lib.concatMapAttrs server cfg.inferenceServices // {
      sealboot-agent.wantedBy = [ "sealboot-model.target" ];
    };
    systemd.sockets = lib.concatMapAttrs socket cfg.inferenceServices;
  };
}
