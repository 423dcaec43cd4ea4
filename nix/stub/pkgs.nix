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
    linuxPackages.kernel.version = "6.12.58";
    # The attributes are those of pkgs/os-specific/linux/nvidia-x11/generic.nix @ 02cb9a188428.
    linuxPackages.nvidiaPackages.production = self.nvidia // {
      open = self.nvidia-open;
      firmware = self.nvidia-firmware;
      persistenced = self.nvidia-persistenced;
      fabricmanager = self.nvidia-fabricmanager;
    };
    formats.json = { }: { type = lib.types.anything; };
    python3Packages.virt-firmware = make "virt-firmware" "echo > $out";
    runCommand = run;
    writeShellApplication = { name, text, runtimeInputs }:
      make name "echo '${text}' > $out; echo ${toString runtimeInputs} >> $out";
    callPackage = file: arguments:
      let f = import file; in f (builtins.intersectAttrs (builtins.functionArgs f) self // arguments);
  };
in
self
