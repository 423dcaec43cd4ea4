# SPDX-License-Identifier: Apache-2.0
# Fake packages: derivations that the stub can build with /bin/sh alone.
{ lib, system }:
let
  make = name: text: run name { } text;
  run = name: environment: text: derivation (environment // { inherit name system; builder = "/bin/sh"; args = [ "-c" text ]; });
  names = [ "meson" "ninja" "pkg-config" "curl" "json_c" "openssl" "systemd" "tpm2-tss" "intel-ipsec-mb" "sbsigntool" "mtools" "util-linux"
    "bash" "python3" "awscli2" "coldsnap" ];
  self = lib.genAttrs names (name: make name "echo ${name} > $out") // {
    inherit system lib;
    runtimeShell = "${self.bash}/bin/bash";
    stdenv.hostPlatform = { inherit system; isx86_64 = system == "x86_64-linux"; };
    stdenv.mkDerivation = attributes: make attributes.pname "echo ${toString attributes.buildInputs} > $out";
    python3Packages.virt-firmware = make "virt-firmware" "echo > $out";
    runCommand = run;
    writeShellApplication = { name, text, runtimeInputs }: make name "echo '${text}' > $out; echo ${toString runtimeInputs} >> $out";
    sealboot = make "sealboot" "echo sealboot > $out";
    callPackage = file: arguments:
      let f = import file; in f (builtins.intersectAttrs (builtins.functionArgs f) self // arguments);
  };
in
self
