# SPDX-License-Identifier: Apache-2.0
# Compiles AWS's Neuron driver for a kernel: the source of kiwi/gpu/neuron.lock, with the flags of kiwi/gpu/compile.
{ lib, stdenv, fetchurl, kernel, kernelModuleMakeFlags, neuronLock ? ../kiwi/gpu/neuron.lock }:
let
  said = pattern: lib.elemAt (builtins.split pattern (lib.readFile neuronLock)) 1;
  version = lib.head (said "driver ([0-9.]+) ");
  source = said "([0-9a-f]{64}) ([^\n]+)";
  modules = "lib/modules/${kernel.modDirVersion}";
in
stdenv.mkDerivation {
  pname = "aws-neuron-driver";
  version = "${version}-${kernel.version}";
  # The hash is of the archive after decompression, so this is what the store gets.
  src = fetchurl {
    name = "aws-neuron-driver-${version}.tar";
    url = lib.last source;
    sha256 = lib.head source;
    downloadToTemp = true;
    postFetch = ''gzip -dc <"$downloadedFile" >"$out"'';
  };
  nativeBuildInputs = kernel.moduleBuildDependencies;
  # The kernel's own flags say how its code is hardened.
  hardeningDisable = [ "all" ];
  buildPhase = ''
    runHook preBuild
    make -s -j"$NIX_BUILD_CORES" ${toString kernelModuleMakeFlags} -C ${kernel.dev}/${modules}/build M="$PWD" \
      CONFIG_DEBUG_INFO_BTF_MODULES= modules
    runHook postBuild
  '';
  installPhase = ''
    runHook preInstall
    mkdir -p "$out/${modules}/updates"
    strip --strip-debug -o "$out/${modules}/updates/neuron.ko" neuron.ko
    runHook postInstall
  '';
  meta = {
    description = "Kernel module of AWS's Inferentia and Trainium";
    platforms = [ "x86_64-linux" "aarch64-linux" ];
  };
}
