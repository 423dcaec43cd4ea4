#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which way the code's arrows go: rooms.py [SOURCE-TREE]

A room is a directory of agent/ or policy/. A file may include, and call, what is in its own room and in the rooms that
are listed before it, and nothing else. Files use each other one way only: no file includes itself by way of others, and
no C file calls itself by way of others. The agent uses nothing of policy/, so that what it cannot do is a matter of
what is compiled.

KNOWN lists the arrows that break these rules today, each with its reason. The list can only become shorter: an arrow
that is not listed fails, and so does a listed arrow that is gone or that breaks no rule any more."""

import fnmatch
import pathlib
import re
import sys

# From the bottom up. The configuration stands above the rooms whose names and formats it checks (key ARNs, s3:// URIs,
# encryption contexts), and below the rooms that it configures.
AGENT = ["basic", "aws", "evidence", "recipient", "sealed", "configuration", "pipeline", "handoff", "report", "boot"]
POLICY = ["verify", "keypolicy", "owner", "measure", "replay", "doctor", "page", "fleet", "audit", "connect", "verbs"]
ORDER = [f"agent/{name}" for name in AGENT] + ["agent"] + [f"policy/{name}" for name in POLICY]

# Rooms that stand beside this order, with the only rooms that they use. Nothing uses them.
APART = {"agent/machine": ["agent/basic"],
         "agent/gate": ["agent/basic", "agent/configuration", "agent/evidence", "agent/report", "policy/verify"],
         "policy/examples": ["policy/verify"]}
# Rooms that are linked into the agent alone: policy/ does not use them.
AGENT_ALONE = ["agent/boot", "agent"]
# Other services link libsealboot-verify. It consists of these rooms, and of these files of other rooms.
VERIFY_ROOMS = ["agent/basic", "policy/verify"]
VERIFY_FILES = ["agent/evidence/cbor.c", "agent/evidence/cbor.h", "agent/evidence/registers.h"]

KNOWN = {}


def room(path):
    return path.rpartition("/")[0]


def sources(tree):
    """{path: text} of the C files of agent/ and policy/, without comments."""
    token = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|/\*.*?\*/|//[^\n]*', re.S)
    files = {}
    for path in sorted([*(tree / "agent").rglob("*.[ch]"), *(tree / "policy").rglob("*.[ch]")]):
        files[path.relative_to(tree).as_posix()] = path.read_text()
    return {path: token.sub(lambda m: " " if m[0].startswith("/") else m[0], text) for path, text in files.items()}


def includes(files):
    """{path: {path: name}}: the tree's own files that each file includes, by quoted names."""
    arrows = {}
    for path, text in files.items():
        arrows[path] = {}
        for name in re.findall(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"', text, re.M):
            places = [f"{directory}/{name}" for directory in ("agent", "policy", room(path))]
            arrows[path][next((p for p in places if p in files), name)] = name
    return arrows


def calls(files):
    """{path: {path: names}}: the C files whose functions each C file uses, and those functions.

    This relies on the tree's style: a definition begins at the left margin, and its brace ends the line. A linker would
    see the same arrows, but only of what one configuration compiles."""
    head = re.compile(r"^(?=[a-z])([^;{}=()\n]*?)\b(\w+)\([^;{}]*\) \{$", re.M)
    words, own, defined = {}, {}, {}
    for path, text in files.items():
        if not path.endswith(".c"):
            continue
        words[path] = set(re.findall(r"\b[a-z_]\w*\b", re.sub(r'"(?:\\.|[^"\\\n])*"|\bstruct \w+', "", text)))
        found = head.findall(text)
        own[path] = {name for _, name in found}
        for before, name in found:
            if not re.search(r"\bstatic\b", before) and name != "main":
                defined.setdefault(name, set()).add(path)
    arrows = {path: {} for path in words}
    for path in words:
        for name in sorted((words[path] & defined.keys()) - own[path]):
            for target in defined[name]:
                arrows[path].setdefault(target, []).append(name)
    return arrows


def circles(arrows):
    """The groups of files that reach each other (Tarjan's strongly connected components)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in arrows.get(node, ()):
            if target not in index:
                visit(target)
            if target in stack:
                low[node] = min(low[node], low[target])
        if low[node] == index[node]:
            group = stack[stack.index(node):]
            del stack[stack.index(node):]
            if len(group) > 1 or node in arrows.get(node, ()):
                found.append(sorted(group))

    for node in sorted(arrows):
        if node not in index:
            visit(node)
    return found


def may_use(user, path):
    """Whether a file of the room `user` may use the file `path`."""
    used = room(path)
    if user == used:
        return True
    if user in APART:
        return used in APART[user]
    if used not in ORDER or (user.startswith("policy/") and used in AGENT_ALONE):
        return False
    if user == "policy/verify" and used not in VERIFY_ROOMS and path not in VERIFY_FILES:
        return False
    return ORDER.index(used) < ORDER.index(user)


def examine(files, known):
    """Each fault of these files, one line each."""
    faults = [
        f"{path}: its room has no place in the order" for path in files
        if room(path) not in ORDER and room(path) not in APART
    ]
    if faults:
        return faults
    used = set()
    for verb, arrows in (("includes", includes(files)), ("calls", calls(files))):
        groups = [set(group) for group in circles(arrows)]
        for path, targets in arrows.items():
            for target in list(targets):
                in_circle = any(path in group and target in group for group in groups)
                if may_use(room(path), target) and not in_circle:
                    continue
                entry = next((k for k in known if fnmatch.fnmatchcase(f"{path} {verb} {target}", k)), None)
                if entry:
                    used.add(entry)
                    del targets[target]
                elif not may_use(room(path), target):
                    names = f" ({', '.join(targets[target])})" if verb == "calls" else ""
                    faults.append(f"{path} {verb} {target}{names}: a {room(path)} may not use that")
        faults += [
            f"a circle: each of these {verb} the next, or others between them: {', '.join(group)}"
            for group in circles(arrows)
        ]
    return faults + [
        f"KNOWN has '{entry}', which breaks no rule any more: remove it" for entry in known if entry not in used
    ]


def library(tree):
    """Faults of what policy/meson.build compiles into libsealboot-verify."""
    call = re.search(r"shared_library\('sealboot-verify',(.*?)include_directories",
                     (tree / "policy/meson.build").read_text(), re.S)
    listed = {("policy/" + name).replace("policy/../", "") for name in re.findall(r"'([^']+\.c)'", call[1])}
    rooms = {p.relative_to(tree).as_posix() for p in (tree / "policy/verify").glob("*.c")}
    return [f"{path} is in policy/verify, and not compiled into libsealboot-verify"
            for path in sorted(rooms - listed)] + \
           [f"{path} is compiled into libsealboot-verify, and not of its rooms" for path in sorted(listed)
            if room(path) not in VERIFY_ROOMS and path not in VERIFY_FILES]


def documented(tree):
    """Faults of the pages that list rooms, and the tests of each."""
    rooms = [name for name in [*ORDER, *APART] if "/" in name]
    faults = [f"CONTRIBUTING.md has no row for {name}" for name in rooms
              if name != "policy/examples" and f"`{name}`" not in (tree / "CONTRIBUTING.md").read_text()]
    rows = dict(re.findall(r"^\| `([^`]+)` \|(.*)\|$", (tree / "tests/README.md").read_text(), re.M))
    faults += [f"tests/README.md has no row for {name}" for name in rooms if name not in rows]
    for name in rooms:
        unit, fuzz, end = (re.findall(r"`([^`]+)`", cell) for cell in rows.get(name, "||").split("|"))
        files = [f"unit/test-{test}.c" for test in unit] + [f"fuzz/fuzz-{test}.c" for test in fuzz] + \
                [test if "/" in test else f"e2e/{test}" for test in end]
        faults += [
            f"tests/README.md names {file} for {name}, which is not there" for file in files
            if not (tree / "tests" / file).exists()
        ]
    return faults


def check_rules():
    """The rules find what they are for, in trees of two or three files."""
    a, b, c = "agent/aws/a", "agent/aws/b", "agent/sealed/c"
    table = [  # files, known, what is said of the only fault; None: there is none
        ({f"{c}.c": '#include "aws/a.h"\n', f"{a}.h": ""}, [], None),
        ({f"{a}.c": '#include "sealed/c.h"\n', f"{c}.h": ""}, [], "agent/aws/a.c includes agent/sealed/c.h"),
        ({f"{a}.c": '#include "c.h"\n', f"{c}.h": ""}, [], "agent/aws/a.c includes c.h"),
        ({f"{a}.c": '#include "../policy/owner/x.h"\n', "policy/owner/x.h": ""}, [], "includes ../policy/owner/x.h"),
        ({f"{a}.c": '#include "owner/x.h"\n', "policy/owner/x.h": ""}, [], "includes policy/owner/x.h"),
        ({"policy/owner/x.c": '#include "boot/b.h"\n', "agent/boot/b.h": ""}, [], "includes agent/boot/b.h"),
        ({"policy/verify/x.c": '#include "evidence/cbor.h"\n', "agent/evidence/cbor.h": ""}, [], None),
        ({"policy/verify/x.c": '#include "evidence/tpm.h"\n',
          "agent/evidence/tpm.h": ""}, [], "includes agent/evidence/tpm.h"),
        ({"agent/machine/m.c": '#include "aws/a.h"\n', f"{a}.h": ""}, [], "includes agent/aws/a.h"),
        ({f"{a}.h": '#include "aws/b.h"\n', f"{b}.h": '#include "a.h"\n'}, [], "a circle"),
        ({"agent/attic/x.c": ""}, [], "no place in the order"),
        ({f"{a}.c": "int f(void) {\n        return g();\n}\n",
          f"{b}.c": "int g(void) {\n        return f();\n}\n"}, [], "a circle"),
        ({f"{a}.c": "int f(void) {\n        return h();\n}\n",
          f"{c}.c": "int h(int a,\n      int b) {\n}\n"}, [], "agent/sealed/c.c (h)"),
        ({f"{a}.c": "int f(void) {\n        return h();\n}\n", f"{c}.c": "static int h(void) {\n}\n"}, [], None),
        ({f"{a}.c": "int h;\n", f"{c}.c": "int h(void) {\n}\n"}, [f"{a}.c calls *"], None),
        ({f"{a}.c": "", f"{c}.c": "int h(void) {\n}\n"}, [f"{a}.c calls *"], "remove it"),
        ({f"{c}.c": "int f(void) {\n        return h();\n}\n",
          f"{a}.c": "int h(void) {\n}\n"}, [f"{c}.c calls *"], "remove it"),
    ]
    for files, known, words in table:
        faults = examine(files, known)
        assert len(faults) == (words is not None) and (words or "") in "".join(faults), (files, known, words, faults)


def main():
    tree = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent)
    check_rules()
    files = sources(tree)
    faults = examine(files, KNOWN) + library(tree) + documented(tree)
    for fault in faults:
        print(f"rooms: {fault}", file=sys.stderr)
    if faults:
        print("rooms: the rules, the order and the exceptions are in tests/rooms.py", file=sys.stderr)
        return 1
    arrows = includes(files)
    between = {(room(path), room(target)) for path, targets in arrows.items() for target in targets
               if room(path) != room(target)}
    print(f"rooms: {len({room(path) for path in files})} rooms, {len(files)} files, "
          f"{sum(map(len, arrows.values()))} includes, "
          f"{len(between)} arrows between rooms, {len(KNOWN)} known exceptions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
