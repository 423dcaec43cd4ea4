# SPDX-License-Identifier: Apache-2.0
# The tree around this directory, or an error that says how to name it. An unpacked release tarball is no git
# repository, and for such a tree Nix takes `./nix` for the whole flake and copies nothing else.
if builtins.pathExists ../meson.build then ../.
else
  throw ''
    nix/ was copied without the tree around it, since the tree is no git repository.
    Name the tree, and nix/ inside it: nix build "path:$PWD?dir=nix#raw-image"''
