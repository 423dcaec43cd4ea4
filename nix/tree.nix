# SPDX-License-Identifier: Apache-2.0
# Of the tree around this directory, what sealboot is built from; or an error that says how to name the tree. An
# unpacked release tarball is no git repository, and for such a tree Nix takes `./nix` for the whole flake and copies
# nothing else. Build directories and texts, and the directory's own name, change nothing: they would change the hash of
# the package, and so the image and its PCRs.
let
  root = toString ../.;
  sources = [ "agent" "policy" "units" "tests" "meson.build" "meson_options.txt" ];
  of_tests = [ "tests" "tests/meson.build" ]; # which meson reads even if it builds no tests
  relative = path: builtins.substring (builtins.stringLength root + 1) (builtins.stringLength path) path;
  first = path: builtins.head (builtins.split "/" path);
  wanted = path: builtins.elem (first path) sources && (first path != "tests" || builtins.elem path of_tests);
in
if builtins.pathExists ../meson.build then
  builtins.path { name = "sealboot-source"; path = ../.; filter = path: type: wanted (relative path); }
else
  throw ''
    nix/ was copied without the tree around it, since the tree is no git repository.
    Name the tree, and nix/ inside it: nix build "path:$PWD?dir=nix#raw-image"''
