# SPDX-License-Identifier: Apache-2.0
{
  description = "sealboot: attestable NixOS images whose model is unsealed at boot";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";

  outputs = { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      forAllSystems = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ];
      build = system: nixpkgs.legacyPackages.${system}.callPackage ./package.nix { };

      # Builds an image from the given modules: mkImage "x86_64-linux" [ { services.sealboot.keys = [ ... ]; } ]
      mkImage = system: modules: lib.nixosSystem {
        inherit system;
        modules = [ ./image.nix { services.sealboot.package = lib.mkDefault (build system); } ] ++ modules;
      };
      example = system: mkImage system [ ./example.nix ];

      # Tools that run outside the image. Keys and credentials stay on that machine: none is copied into the Nix store.
      app = system: name: text:
        let pkgs = nixpkgs.legacyPackages.${system};
        in {
          type = "app";
          program = "${pkgs.writeShellApplication {
            inherit name text;
            runtimeInputs = [
              (build system) pkgs.bash pkgs.openssl pkgs.sbsigntool pkgs.mtools pkgs.util-linux pkgs.python3
              pkgs.python3Packages.virt-firmware pkgs.awscli2 pkgs.coldsnap
            ];
          }}/bin/${name}";
        };
    in
    # Fails first, with advice, if the tree around nix/ is missing.
    builtins.seq (import ./tree.nix) {
      lib = { inherit mkImage; };
      nixosModules = { sealboot = ./module.nix; image = ./image.nix; default = ./module.nix; };
      nixosConfigurations.example = example "x86_64-linux";

      packages = forAllSystems (system: rec {
        sealboot = build system;
        # The measured configuration. Its build fails if `sealboot-agent --check-config` refuses it.
        agent-config = (example system).config.environment.etc."sealboot/agent.json".source;
        raw-image = (example system).config.system.build.finalImage;
        pcr-measurements = (example system).config.system.build.pcrMeasurements;
        default = raw-image;
      });

      apps = forAllSystems (system: {
        measure = app system "measure" ''exec sealboot measure "$@"'';
        sign = app system "sign" ''exec bash ${../kiwi/secure-boot} sign "$@"'';
        uefi-data = app system "uefi-data" ''exec bash ${../kiwi/secure-boot} variables "$@"'';
        register-ami = app system "register-ami" ''exec bash ${../kiwi/register-ami} "$@"'';
      });

      checks = forAllSystems (system: { inherit (self.packages.${system}) agent-config raw-image pcr-measurements; });
    };
}
