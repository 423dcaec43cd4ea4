# SPDX-License-Identifier: Apache-2.0
# { KEY = [ VALUE ... ]; } of the lines KEY=VALUE in a text: what units and sysctls say elsewhere in the tree holds here too.
text:
builtins.zipAttrsWith (_: values: values) (builtins.concatMap
  (line:
    let pair = if builtins.isString line then builtins.match "([^#= ]+) ?= ?(.*)" line else null;
    in if pair == null then [ ] else [ { ${builtins.head pair} = builtins.elemAt pair 1; } ])
  (builtins.split "\n" text))
