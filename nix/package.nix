# SPDX-License-Identifier: Apache-2.0
# sealboot from this tree: the agent and its units for the image, the `sealboot` command for everybody else.
{ lib, stdenv, meson, ninja, pkg-config, curl, json_c, openssl, systemd, tpm2-tss, intel-ipsec-mb, source }:
stdenv.mkDerivation {
  pname = "sealboot";
  version = "0.1.0";
  src = source;
  strictDeps = true;
  nativeBuildInputs = [ meson ninja pkg-config ];
  buildInputs = [ curl json_c openssl systemd tpm2-tss ] ++ lib.optional stdenv.hostPlatform.isx86_64 intel-ipsec-mb;
  mesonFlags = [ "-Dtests=false" ];
  meta = {
    description = "Run sealed models on attestable AMIs";
    mainProgram = "sealboot";
    platforms = [ "x86_64-linux" "aarch64-linux" ];
  };
}
