# SPDX-License-Identifier: Apache-2.0
# Fake packages: derivations that the stub can build with /bin/sh alone.
{ lib, system }:
let
  make = name: text: run name { } text;
  run = name: environment: text: derivation (environment // {
    inherit name system;
    builder = "/bin/sh";
    args = [ "-c" text ];
  });
  call = scope: file: arguments:
    let f = import file; in f (builtins.intersectAttrs (builtins.functionArgs f) scope // arguments);
  # A fake compiler of kernel modules: the module is what make and strip were told.
  moduleOf = attributes: run "${attributes.pname}-${attributes.version}"
    { inherit (attributes) src buildPhase installPhase; } ''
    set -eu
    PATH=/usr/bin:/bin
    NIX_BUILD_CORES=2
    runHook() { :; }
    make() { echo "make $*" >neuron.ko; }
    strip() { echo "strip $*" | cat - "$4" >"$3"; }
    tar -xf $src
    cd */
    eval "$buildPhase"
    eval "$installPhase"
  '';
  names = [
    "meson" "ninja" "pkg-config" "curl" "json_c" "libmicrohttpd" "openssl" "tpm2-tss" "zlib" "intel-ipsec-mb"
    "sbsigntool"
    "mtools" "util-linux" "bash" "coreutils" "cpio" "zstd" "python3" "nginx" "awscli2" "coldsnap"
    "kmod" "nvidia" "nvidia-open" "nvidia-firmware" "nvidia-persistenced" "nvidia-fabricmanager"
  ];
  self = lib.genAttrs names (name: make name "echo ${name} > $out") // {
    inherit system lib;
    systemd = make "systemd" "echo systemd > $out" // { inherit (self) util-linux; };
    runtimeShell = "${self.bash}/bin/bash";
    stdenv.hostPlatform = { inherit system; isx86_64 = system == "x86_64-linux"; };
    # A fake sealboot. Its agent and gate refuse every configuration that has the word "refuse", with the messages of
    # the real programs.
    stdenv.mkDerivation = attributes: run "${attributes.pname}-${attributes.version}" { inherit (attributes) src; } ''
      PATH=/usr/bin:/bin
      mkdir -p $out/bin
      echo ${toString attributes.buildInputs} >$out/inputs
      echo ${toString attributes.mesonFlags} >$out/flags
      cat >$out/bin/sealboot-agent <<'END'
      #!/bin/sh
      PATH=/usr/bin:/bin
      [ "$1 $3" = "--config --check-config" ] || exit 2
      ! grep -q refuse "$2" || { echo "sealboot-agent: $2: the measured configuration is not valid" >&2; exit 10; }
      END
      cat >$out/bin/sealboot-gate <<'END'
      #!/bin/sh
      PATH=/usr/bin:/bin
      case $1 in
      --check-config)
        ! grep -q refuse "$2" || { echo "sealboot-gate: $2: the measured configuration is not valid" >&2; exit 10; }
        ;;
      --nginx-configuration) echo "# of"; cat "$2" ;;
      *) exit 2 ;;
      esac
      END
      chmod +x $out/bin/sealboot-agent $out/bin/sealboot-gate
    '';
    # callPackage is that of pkgs/top-level/linux-kernels.nix @ 0000f23a00ae: the kernel's packages come before others.
    # Later revisions have kernelModuleMakeFlags, from pkgs/os-specific/linux/kernel/common-flags.nix @ 0fc7cb2d1290.
    linuxPackages = {
      kernel = { version = "6.12.58"; modDirVersion = "6.12.58"; dev = "/kernel-dev"; moduleBuildDependencies = [ ]; };
      kernelModuleMakeFlags = [ "ARCH=of-the-kernel" ];
      stdenv.mkDerivation = moduleOf;
      callPackage = call (self // self.linuxPackages);
      # The attributes are those of pkgs/os-specific/linux/nvidia-x11/generic.nix @ 02cb9a188428.
      nvidiaPackages.production = self.nvidia // {
        open = self.nvidia-open;
        firmware = self.nvidia-firmware;
        persistenced = self.nvidia-persistenced;
        fabricmanager = self.nvidia-fabricmanager;
      };
    };
    # As pkgs/build-support/fetchurl @ 005b8027ceae: the hash is of what postFetch leaves. It takes files alone.
    fetchurl = { name, url, sha256, postFetch, downloadToTemp }:
      run name { inherit url postFetch; outputHashAlgo = "sha256"; outputHash = sha256; } ''
        PATH=/usr/bin:/bin
        downloadedFile=''${url#file://}
        eval "$postFetch"
      '';
    formats.json = { }: { type = lib.types.anything; };
    python3Packages.virt-firmware = make "virt-firmware" "echo > $out";
    runCommand = run;
    writeShellApplication = { name, text, runtimeInputs }:
      make name "echo '${text}' > $out; echo ${toString runtimeInputs} >> $out";
    callPackage = call self;
  };
in
self
