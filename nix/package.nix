# SPDX-License-Identifier: Apache-2.0
# Builds sealboot from this tree: the agent and its units for the image, and the `sealboot` command for other machines.
{ lib, stdenv, meson, ninja, pkg-config, curl, json_c, libmicrohttpd, openssl, systemd, tpm2-tss, zlib, intel-ipsec-mb
, gpu ? false, source ? import ./tree.nix
}:
stdenv.mkDerivation {
  pname = "sealboot";
  version = lib.head (lib.elemAt (builtins.split "version : '([0-9.]+)'" (lib.readFile (source + "/meson.build"))) 1);
  src = source;
  strictDeps = true;
  nativeBuildInputs = [ meson ninja pkg-config ];
  buildInputs = [ curl json_c libmicrohttpd openssl systemd tpm2-tss zlib ]
    ++ lib.optional stdenv.hostPlatform.isx86_64 intel-ipsec-mb;
  mesonFlags = [ "-Dtests=false" ] ++ lib.optional gpu "-Dgpu=true";
  meta = {
    description = "Run sealed models on attestable AMIs";
    mainProgram = "sealboot";
    platforms = [ "x86_64-linux" "aarch64-linux" ];
  };
}
