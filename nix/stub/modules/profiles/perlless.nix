# SPDX-License-Identifier: Apache-2.0
# What the recipe meets of profiles/perlless.nix @ f62af3e37eb8.
{ lib, ... }:
{
  systemd.sysusers.enable = lib.mkDefault true;
  system.forbiddenDependenciesRegexes = [ "perl" ];
}
