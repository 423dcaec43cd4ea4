# SPDX-License-Identifier: Apache-2.0
# Reads the lines KEY=VALUE of a text as { KEY = [ VALUE ... ]; }. The recipe takes settings from the tree's units and
# sysctl files in this way, instead of repeating them.
text:
builtins.zipAttrsWith (_: values: values) (builtins.concatMap
  (line:
    let pair = if builtins.isString line then builtins.match "([^#= ]+) ?= ?(.*)" line else null;
    in if pair == null then [ ] else [ { ${builtins.head pair} = builtins.elemAt pair 1; } ])
  (builtins.split "\n" text))
