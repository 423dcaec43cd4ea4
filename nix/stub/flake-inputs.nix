# SPDX-License-Identifier: Apache-2.0
# Stands in for the nixpkgs flake: its lib (the stub's, or the real one of $NIXPKGS_LIB), options and fake packages.
{ libPath ? "" }:
let
  lib = if libPath == "" then import ./lib.nix else import (/. + libPath);
  pkgsFor = system: import ./pkgs.nix { inherit lib system; };
in
{
  lib = lib // {
    nixosSystem = { system, modules }: lib.evalModules {
      specialArgs = { pkgs = pkgsFor system; modulesPath = toString ./modules; };
      modules = [ ./options.nix ] ++ modules;
    };
  };
  legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] pkgsFor;
}
