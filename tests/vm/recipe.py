# SPDX-License-Identifier: Apache-2.0
"""What the recipe says an image holds: its own files byte for byte, its packages, its command line and its firewall. An
audit compares with this, so a new way in is found without being on anybody's list of ways in."""

import contextlib
import fnmatch
import hashlib
import json
import lzma
import os
import pathlib
import re
import stat
import subprocess
import tarfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]
KIWI = SOURCE / "kiwi"
CACHE = pathlib.Path(os.environ.get("SEALBOOT_CACHE", "/var/cache/sealboot")) / "packages"
UNITS = "usr/lib/systemd/system/"

# Not of a package and not of the recipe's files: what is compiled from this tree, what systemd-sysusers and depmod
# write.
MADE = re.compile(
    r"""
    etc/(passwd|shadow|group|gshadow) | etc/sealboot/((agent|gate)\.json | nginx\.conf) | usr/bin/sealboot-(agent|gate)
    | usr/lib/sealboot/sealboot-lockdown | usr/lib/modules/[^/]+/modules\.[a-z.]+
    """, re.VERBOSE)
GPU_PROGRAM = "usr/lib/sealboot/sealboot-gpu"
MERGED = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
LIBRARY = re.compile(r"usr/lib(64)?/([^/]+/)*[^/]+\.so(\.[\w.]+)?")
MODULE = re.compile(r"usr/lib/modules/[^/]+/kernel/.*/([^/]+)\.ko")


def words(path):
    """The words of a list in kiwi/, without its comments."""
    return [word for line in path.read_text().splitlines() for word in line.split("#")[0].split()]


def system(profile):
    """Whose packages an image has: a GPU profile is that of its system with the driver added."""
    return profile.removesuffix("-gpu")


def command_line(profile="debian", signed=False):
    """The command line of every system. A GPU image raises lockdown itself, once the driver is loaded; if its modules
    are signed, the kernel must read the keys of db."""
    left_out = {"lockdown=confidentiality"} if profile.endswith("-gpu") else set()
    left_out |= {"efi=noruntime"} if signed else set()
    return " ".join(word for word in words(KIWI / "cmdline") if word not in left_out)


def kept(profile="debian", keep=()):
    """The globs of what the root keeps of its packages."""
    lists = [KIWI / f"keep/files.{name}" for name in dict.fromkeys([system(profile), profile])]
    return [word.lstrip("?") for path in (KIWI / "keep/files", *lists, *keep) for word in words(path)]


def under(folder):
    """{name: what is there: the bytes of a file, or a link's target} of a folder of files for the root."""
    return {
        str(p.relative_to(folder)): content(p) for p in pathlib.Path(folder).rglob("*")
        if p.is_symlink() or not p.is_dir()
    }


def content(path):
    return os.readlink(path) if path.is_symlink() else path.read_bytes()


def files(profile="debian", overlays=()):
    """The recipe's files in the root, as kiwi/build lays them out: {name: bytes, or a link's target}."""
    units = SOURCE / "units"
    said = under(KIWI / "root")
    said |= {
        **{UNITS + f"sealboot-{name}.service": (units / f"sealboot-{name}.service.in").read_bytes().replace(
            b"@bindir@", b"/usr/bin") for name in ("agent", "gate")},
        "usr/lib/sysusers.d/sealboot.conf": (units / "sysusers.conf").read_bytes(),
        "usr/lib/tmpfiles.d/sealboot.conf": (units / "tmpfiles.conf").read_bytes(),
        "usr/lib/udev/rules.d/60-sealboot.rules": (units / "udev.rules").read_bytes(),
        "usr/share/sealboot/amazon-roots.pem": (units / "amazon-roots.pem").read_bytes(),
    }
    said |= {
        UNITS + name: (units / name).read_bytes() for name in (
            "run-sealboot-model.mount", "sealboot-model.target", "sealboot-gate.socket", "sealboot-nginx.service",
            "sealboot-nginx.socket")
    }
    servers = ("llama-",) if system(profile) == "debian" else ("ollama", "vllm")
    said |= {
        ("usr/lib/sealboot/" if name == "vllm-early" else UNITS) + name: data
        for name, data in under(units / "examples").items() if name.startswith(servers)
    }
    said |= under(KIWI / f"root-{system(profile)}")
    if profile.endswith("-gpu"):
        said |= under(KIWI / "root-gpu") | under(KIWI / f"root-{profile}")
    for overlay in overlays:
        said |= under(overlay)
    return said


def locked(profile="debian"):
    """The lines of the locks of a profile: (SHA-256, path). Of the packages for the driver, what compiles it is not in
    the image."""
    for line in (KIWI / "debian.lock").read_text().splitlines():
        yield line.split()
    if profile.endswith("-gpu"):
        yield from (line.split() for line in (KIWI / "gpu/debian.lock").read_text().splitlines()
                    if not line.split()[1].startswith("pool/main/"))


def archives(profile="debian"):
    """The locked packages as they were fetched, each checked against its hash: {file name: path}."""
    found = {}
    for digest, path in locked(profile):
        file = CACHE / pathlib.PurePath(path).name
        assert hashlib.sha256(file.read_bytes()).hexdigest() == digest, f"{file} is not what its lock names"
        found[file.name] = file
    return found


class Packaged:
    """What the locked packages hold: {name: (package, SHA-256 of a file or the target of a link)}. Read from the
    packages themselves, not from a database that an image brings."""

    def __init__(self, profile="debian"):
        self.profile = profile
        lock = hashlib.sha256(repr(list(locked(profile))).encode()).hexdigest()
        index = CACHE / f"index-{lock[:16]}.json"
        if not index.exists():
            for option in ([], ["--gpu"])[:1 + profile.endswith("-gpu")]:
                subprocess.run([KIWI / "lock", *option, "--fetch", CACHE / "locked"], check=True)
            found = {}
            for name, path in archives(profile).items():
                found |= {file: (name, *what) for file, what in listed(path)}
            index.write_text(json.dumps(found))
        self.found = {name: tuple(what) for name, what in json.loads(index.read_text()).items()}

    def brought(self, name, path):
        """The package that NAME is of, if it is as the package has it; None otherwise."""
        package, kind, value = self.found.get(name) or self.found.get(f"{name}.xz") or (None, None, None)
        if package is None:
            return None
        if path.is_symlink():
            return package if (kind, value) == ("link", os.readlink(path)) else None
        return package if kind == "file" and value == hashlib.sha256(path.read_bytes()).hexdigest() else None

    def content(self, name):
        """The bytes of a file of the locked packages."""
        with unpacked(archives(self.profile)[self.found[name][0]]) as archive:
            return next(
                archive.extractfile(entry).read() for entry in archive if merged(os.path.normpath(entry.name)) == name)

    def stubs(self):
        """The stubs that a UKI can begin with."""
        return [
            self.content(name) for name in self.found
            if re.fullmatch(r"usr/lib/systemd/boot/efi/linux\w+\.efi\.stub", name)
        ]


@contextlib.contextmanager
def unpacked(package):
    """The files of a Debian package, to be read once from the beginning."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as process, \
            tarfile.open(fileobj=process.stdout, mode="r|") as archive:
        yield archive
        process.stdout.read()


def listed(package):
    """(name, (kind, value)) of each file and link in a package. A packed kernel module counts as what is packed in
    it."""
    with unpacked(package) as archive:
        for entry in archive:
            name = merged(os.path.normpath(entry.name))
            if entry.issym():
                yield name, ("link", entry.linkname)
            elif entry.isreg():
                data = archive.extractfile(entry).read()
                if name.endswith(".ko.xz"):
                    data = lzma.decompress(data)
                yield name, ("file", hashlib.sha256(data).hexdigest())


SIGNATURE = b"~Module signature appended~\n"


def unsigned(module):
    """A kernel module without the signature at its end: the text is preceded by a struct module_signature, whose last
    four bytes are the length of the signature before it."""
    if not module.endswith(SIGNATURE):
        return module
    end = len(module) - len(SIGNATURE)
    return module[:end - 12 - int.from_bytes(module[end - 4:end], "big")]


def driver(root, profile):
    """The modules of a GPU's driver in a root: {name: as kiwi/gpu-driver compiles it?}."""
    known = {tuple(line.split()) for line in (KIWI / f"gpu/{system(profile)}.modules").read_text().splitlines()
             if not line.startswith("#")}
    return {str(path.relative_to(root)): (hashlib.sha256(unsigned(path.read_bytes())).hexdigest(), path.name,
                                          path.parent.parent.name) in known
            for path in root.glob("usr/lib/modules/*/updates/*.ko")}


def merged(name):
    """Debian packages may still say /lib for what is in /usr/lib."""
    name = name.lstrip("/")
    return f"usr/{name}" if name.split("/")[0] in MERGED and "/" in name else name


def needs(module):
    """The modules that a kernel module says it depends on, from its .modinfo."""
    found = re.search(rb"\0depends=([^\0]*)\0", module)
    return [name for name in found[1].decode().split(",") if name] if found else []


def unasked(modules, lists):
    """What of {name: bytes} of kernel modules neither a list names nor a named one needs."""
    def plain(name):
        return name.replace("-", "_")
    known = {plain(word.lstrip("?")) for path in lists for word in words(path)}
    for _ in modules:
        known |= {plain(n) for name, data in modules.items() if plain(name) in known for n in needs(data)}
    return sorted(name for name in modules if plain(name) not in known)


def linked(root, names, libraries):
    """Those of LIBRARIES that the programs NAMES of a root link, and that these link in turn."""
    said = subprocess.run(["readelf", "--dynamic", "--program-headers", "--wide", *sorted(names | libraries)], cwd=root,
                          capture_output=True, text=True, check=False).stdout
    asked = {
        part.split("\n", 1)[0]: {
            os.path.basename(one or other)
            for one, other in re.findall(r"\(NEEDED\).*\[(.*)\]|program interpreter: (\S+)\]", part)
        } for part in re.split(r"^File: ", said, flags=re.MULTILINE)[1:]
    }
    found, waiting = set(), sorted(names)
    while waiting:
        name = waiting.pop()
        wanted = {library for library in libraries if os.path.basename(library) in asked.get(name, ())}
        if os.path.islink(root / name):
            wanted |= {os.path.relpath(os.path.realpath(root / name), os.path.realpath(root))} & libraries
        waiting += wanted - found
        found |= wanted
    return found


GPU_WORDS = re.compile("nvidia|nouveau|nova_core|gpu|neuron|cuda|nvpd")
SETTINGS = ("etc/systemd", "etc/udev", "etc/modprobe.d", "etc/modules-load.d", "etc/passwd", "etc/group",
            "usr/lib/systemd", "usr/lib/udev/rules.d", "usr/lib/modprobe.d", "usr/lib/modules-load.d",
            "usr/lib/sysusers.d", "usr/lib/tmpfiles.d", "usr/lib/sysctl.d", "usr/lib/sealboot")


def of_gpus(root):
    """What of a root is of a driver of GPUs or Neuron devices: names, and "NAME: LINE" of units and settings. In every
    image the inference server's unit names the nodes that it may open."""
    names = [str(p.relative_to(root)) for p in root.rglob("*")]
    found = {name for name in names if GPU_WORDS.search(name)}
    for name in names:
        path = root / name
        if path.is_symlink() or not path.is_file() or not f"{name}/".startswith(tuple(f"{s}/" for s in SETTINGS)):
            continue
        text = path.read_bytes()
        if b"\0" in text:
            continue  # a program
        found |= {f"{name}: {line}" for line in text.decode(errors="replace").splitlines()
                  if GPU_WORDS.search(line) and not line.lstrip().startswith(("#", "DeviceAllow=char-"))}
    return found


def foreign(root, profile="debian", overlays=(), keep=(), packaged=None):
    """What is in an image's root, or missing there, that neither its packages nor the recipe account for: [reason]."""
    said, packaged, wrong = files(profile, overlays), packaged or Packaged(profile), []
    compiled = driver(root, profile) if profile.endswith("-gpu") else {}
    wrong += [f"{name} is not as this tree compiles it" for name, known in compiled.items() if not known]
    globs, others, libraries = kept(profile, keep), set(), set()
    for folder, folders, names in os.walk(root):
        for name in names + [f for f in folders if os.path.islink(os.path.join(folder, f))]:
            path = pathlib.Path(folder, name)
            name = str(path.relative_to(root))
            if not path.is_symlink() and not stat.S_ISREG(path.lstat().st_mode):
                wrong.append(f"{name} is neither a file nor a link")
                continue
            if name in said:
                if content(path) != said[name]:
                    wrong.append(f"{name} is not as the recipe has it")
            elif not (path.is_symlink() and os.readlink(path) == MERGED.get(name)
                      or not path.is_symlink() and (MADE.fullmatch(name) or name in compiled)
                      or name == GPU_PROGRAM and profile.endswith("-gpu")):
                if packaged.brought(name, path) is None:
                    wrong.append(f"{name} is of no package, or not as its package has it")
                elif not (MODULE.fullmatch(name) or any(fnmatch.fnmatch(name, g) for g in globs)):
                    if LIBRARY.fullmatch(name):
                        libraries.add(name)
                    else:
                        wrong.append(f"{name} is on no list of what to keep")
                    continue
            others.add(name)
    wrong += [f"{name} is a library that nothing links" for name in libraries - linked(root, others, libraries)]
    modules = {MODULE.fullmatch(n)[1]: (root / n).read_bytes() for n in
               (str(p.relative_to(root)) for p in (root / "usr/lib/modules").rglob("*.ko")) if MODULE.fullmatch(n)}
    modules |= {pathlib.PurePath(n).stem: (root / n).read_bytes() for n in compiled}
    lists = [KIWI / "keep/modules"] + [KIWI / "keep/modules.gpu"] * profile.endswith("-gpu")
    wrong += [f"the module {name} is on no list" for name in unasked(modules, lists)]
    wrong += [f"{name} is missing" for name in said if not os.path.lexists(root / name)]
    return sorted(wrong)


def used(root, packaged=None):
    """The locked packages that a root has files of."""
    packaged = packaged or Packaged()
    names = [str(p.relative_to(root)) for p in root.rglob("*") if p.is_symlink() or p.is_file()]
    return {packaged.brought(name, root / name) for name in names} - {None}


def firewall(rules, names=None):
    """A ruleset without what nft writes otherwise than its author: comments, quotes, the order of sets, users'
    numbers."""
    rules = re.sub(r"#.*|\"|flush ruleset", "", rules)
    rules = re.sub(r"\{([^{}:;]*,[^{}:;]*)\}",
                   lambda m: "{" + ",".join(sorted(w.strip() for w in m[1].split(","))) + "}", rules)
    rules = re.sub(r"skuid (\S+)", lambda m: f"skuid {(names or {}).get(m[1], m[1])}", rules)
    return [" ".join(line.split()) for line in rules.splitlines() if line.strip()]


def users(listed):
    """Which user each number of a listed ruleset stands for, as the recipe's rules have them in order: {number: name}.
    A number that stands for two, for root, or for no system user is left alone, and the rulesets differ."""
    asked = re.findall(r"skuid \"?([\w-]+)", (KIWI / "root/usr/lib/sealboot/firewall.nft").read_text())
    found = re.findall(r"skuid \"?([\w-]+)", listed)
    pairs = set(zip(found, asked))
    if len(found) != len(asked) or not len(pairs) == len(dict(pairs)) == len({name for _, name in pairs}):
        return {}
    return {number: name for number, name in pairs if number == name or number.isdigit() and 0 < int(number) < 1000}


def is_the_firewall(listed):
    """Is what `nft list ruleset` printed the recipe's ruleset, rule for rule?"""
    return firewall(listed, users(listed)) == firewall((KIWI / "root/usr/lib/sealboot/firewall.nft").read_text())
