# SPDX-License-Identifier: Apache-2.0
# The part of nixpkgs' module system that the recipe uses. With it nix/check evaluates the recipe's options, types,
# assertions and outputs without nixpkgs. If $NIXPKGS_LIB names nixpkgs' own lib, nix/check uses that instead.
let
  inherit (builtins)
    all any attrNames attrValues concatLists concatMap concatStringsSep elem elemAt filter foldl' head isAttrs isBool
    isFunction isInt isList isString length listToAttrs map mapAttrs match removeAttrs substring stringLength tail
    toJSON typeOf;
  show = concatStringsSep ".";
  isType = type: value: isAttrs value && value._type or null == type;
  unique = foldl' (seen: x: if elem x seen then seen else seen ++ [ x ]) [ ];

  mkIf = condition: content: { _type = "if"; inherit condition content; };
  mkMerge = contents: { _type = "merge"; inherit contents; };
  mkOverride = priority: content: { _type = "override"; inherit priority content; };
  mkOption = attributes: attributes // { _type = "option"; };

  # Moves conditions down to the options, because the options' names must be known before a condition is evaluated.
  push = value:
    if isType "merge" value then concatMap push value.contents
    else if isType "if" value then map (mapAttrs (_: mkIf value.condition)) (push value.content)
    else if isType "override" value then map (mapAttrs (_: mkOverride value.priority)) (push value.content)
    else [ value ];

  # The definitions whose conditions hold, as { priority, value }.
  settle = value:
    if isType "merge" value then concatMap settle value.contents
    else if isType "if" value then (if value.condition then settle value.content else [ ])
    else if isType "override" value then map (d: d // { inherit (value) priority; }) (settle value.content)
    else [ { priority = 100; inherit value; } ];

  resolve = path: type: default: definitions:
    let
      settled = concatMap settle definitions ++ default;
      best = foldl' (p: d: if d.priority < p then d.priority else p) 1000000 settled;
      values = map (d: d.value) (filter (d: d.priority == best) settled);
      wrong = filter (v: !(type.check v)) values;
    in
    if settled == [ ] then throw "The option `${show path}' is used but not defined."
    else if wrong != [ ] then throw "A definition for option `${show path}' is not of type `${type.name}'."
    else type.merge path values;

  evaluate = path: free: options: definitions:
    if isType "option" options then
      let default = if options ? default then [ { priority = 1500; value = options.default; } ] else [ ];
      in resolve path options.type default definitions
    else
      let
        defined = concatMap push definitions;
        unknown = filter (n: !(options ? ${n})) (unique (concatMap attrNames defined));
        below = name: map (d: d.${name}) (filter (d: d ? ${name}) defined);
        known = mapAttrs (name: option: evaluate (path ++ [ name ]) free option (below name)) options;
      in
      if unknown == [ ] then known
      else if free != null then known // genAttrs unknown (name: resolve (path ++ [ name ]) free [ ] (below name))
      else throw "The option `${show (path ++ [ (head unknown) ])}' does not exist.";

  mergeOptions = foldl'
    (a: b: a // mapAttrs (n: o: if a ? ${n} && !(isType "option" o) then mergeOptions [ a.${n} o ] else o) b) { };

  evalModules = { modules, specialArgs ? { }, prefix ? [ ] }:
    let
      declared = mergeOptions (map (m: m.options or { }) loaded);
      arguments = specialArgs // { inherit lib; config = result; options = declared; };
      load = module:
        let
          content = if isFunction module || isAttrs module then module else import module;
          value = if isFunction content then content arguments else content;
          full = if value ? config || value ? options then value else {
            imports = value.imports or [ ];
            config = removeAttrs value [ "imports" "freeformType" ];
            freeformType = value.freeformType or null;
          };
        in
        concatMap load (full.imports or [ ]) ++ [ full ];
      loaded = concatMap load modules;
      free = foldl' (f: m: if m.freeformType or null != null then m.freeformType else f) null loaded;
      result = evaluate prefix free declared (map (m: m.config or { }) loaded);
    in
    { config = result; };

  one = path: values:
    if all (v: v == head values) values then head values
    else throw "The option `${show path}' has conflicting definition values.";
  plain = name: check: { inherit name check; merge = one; };

  types = rec {
    str = plain "string" isString;
    bool = plain "boolean" isBool;
    int = plain "signed integer" isInt;
    path = plain "path" (v: typeOf v == "path" || isAttrs v && v ? outPath || isString v && substring 0 1 v == "/");
    package = plain "package" (v: isAttrs v && v ? outPath);
    attrs = plain "attribute set" isAttrs;
    addCheck = type: check: type // { check = v: type.check v && check v; };
    unspecified = anything;
    raw = plain "raw value" (_: true);
    anything = {
      name = "anything";
      check = _: true;
      merge = path: values:
        if all isAttrs values && !(any (v: v ? outPath) values) then foldl' (a: b: a // b) { } values
        else if all isList values then concatLists values
        else one path values;
    };
    lines = str // { merge = _: concatStringsSep "\n"; };
    port = ints.between 0 65535;
    # Merges the definitions of one line of a unit as NixOS does: lists are concatenated, other values must be equal.
    unitOption = {
      name = "unit option";
      check = _: true;
      merge = path: values:
        if any isList values then concatMap (v: if isList v then v else [ v ]) values
        else one path values;
    };
    enum = values: plain "one of ${toJSON values}" (v: elem v values);
    strMatching = pattern: plain "string matching the pattern ${pattern}" (v: isString v && match pattern v != null);
    ints.between = low: high:
      plain "integer between ${toString low} and ${toString high}" (v: isInt v && v >= low && v <= high);
    ints.positive = plain "positive integer" (v: isInt v && v > 0);
    nullOr = type: {
      name = "null or ${type.name}";
      check = v: v == null || type.check v;
      merge = path: values: if all (v: v == null) values then null else type.merge path values;
    };
    oneOf = choices: plain (concatStringsSep " or " (map (t: t.name) choices)) (v: any (t: t.check v) choices);
    either = a: b: oneOf [ a b ];
    listOf = type: {
      name = "list of ${type.name}";
      check = isList;
      merge = path: values:
        map (v: resolve path type [ ] [ v ]) (filter (v: settle v != [ ]) (concatLists values));
    };
    attrsOf = type: {
      name = "attribute set of ${type.name}";
      check = isAttrs;
      merge = path: values:
        let
          defined = concatMap push values;
          below = n: map (d: d.${n}) (filter (d: d ? ${n}) defined);
          names = filter (n: concatMap settle (below n) != [ ]) (unique (concatMap attrNames defined));
        in
        genAttrs names (n: resolve (path ++ [ n ]) type [ ] (below n));
    };
    lazyAttrsOf = attrsOf;
    submodule = module: {
      name = "submodule";
      check = v: isAttrs v || isFunction v;
      merge = path: values:
        let modules = [ module ] ++ map (v: if isFunction v then v else { config = v; }) values;
        in (evalModules { inherit modules; prefix = path; }).config;
    };
  };

  genAttrs = names: f: listToAttrs (map (name: { inherit name; value = f name; }) names);
  lib = {
    inherit all any attrNames attrValues concatMap concatStringsSep elem elemAt filter foldl' genAttrs head length
      mapAttrs evalModules mkIf mkMerge mkOverride mkOption types unique;
    inherit (builtins) readFile replaceStrings toJSON hasAttr;
    inherit (builtins) match listToAttrs;
    kernel = {
      yes = { tristate = "y"; optional = false; };
      no = { tristate = "n"; optional = false; };
      freeform = x: { freeform = x; optional = false; };
      option = x: x // { optional = true; };
    };
    hasAttrByPath = path: set:
      path == [ ]
      || isAttrs set && set ? ${head path} && lib.hasAttrByPath (tail path) set.${head path};
    setAttrByPath = path: value:
      if path == [ ] then value else { ${head path} = lib.setAttrByPath (tail path) value; };
    optionalString = condition: text: if condition then text else "";
    versionAtLeast = a: b: builtins.compareVersions a b >= 0;
    last = list: elemAt list (length list - 1);
    concatMapAttrs = f: set: foldl' (a: b: a // b) { } (attrValues (mapAttrs f set));
    mkForce = mkOverride 50;
    mkDefault = mkOverride 1000;
    mkEnableOption = what: mkOption { type = types.bool; default = false; description = "Whether to enable ${what}."; };
    optional = condition: value: if condition then [ value ] else [ ];
    optionals = condition: values: if condition then values else [ ];
    optionalAttrs = condition: values: if condition then values else { };
    hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
    hasInfix = infix: text: builtins.length (builtins.split infix text) > 1;
    filterAttrs = keep: set:
      removeAttrs set (filter (name: !(keep name set.${name})) (attrNames set));
    literalExpression = text: { _type = "literalExpression"; inherit text; };
    getExe' = package: program: "${package}/bin/${program}";
    makeBinPath = packages: concatStringsSep ":" (map (p: "${p}/bin") packages);
  };
in
lib
