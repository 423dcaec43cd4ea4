# SPDX-License-Identifier: Apache-2.0
"""What the recipe says an image holds: its own files byte for byte, its packages, its command line and its firewall. An audit
compares with this, so a new way in is found without being on anybody's list of ways in."""

import hashlib
import os
import pathlib
import re
import stat
import xml.etree.ElementTree

SOURCE = pathlib.Path(__file__).resolve().parents[2]
KIWI = SOURCE / "kiwi"
UNITS = "usr/lib/systemd/system/"
# KIWI's overlay module gives this beyond the description's command line.
ROOT = "root=overlay:MAPPER=verityroot"

# Not of a package and not of the recipe: what package scripts, KIWI and config.sh write. No code, and nothing that starts any.
MADE = re.compile(r"""
    etc/(passwd|shadow|group|gshadow|subuid|subgid|shells|environment|fstab|crypttab|machine-id|modules|motd|nsswitch\.conf|profile
       |inputrc|ld\.so\.cache|ca-certificates\.conf|mdadm/mdadm\.conf|default/mdadm|dracut\.conf\.d/02-kiwi\.conf|security/opasswd
       |pam\.d/common-(account|auth|password|session|session-noninteractive)|ssl/certs/ca-certificates\.crt)
    | usr/bin/sealboot-agent | etc/sealboot/agent\.json
    | usr/lib/modules/[^/]+/modules\.[a-z.]+ | usr/lib/udev/hwdb\.bin
    | var/lib/(dpkg|pam|systemd/deb-systemd-helper-(enabled|masked))/.* | var/lib/shells\.state
    | \.profile | root/\.(bashrc|profile) | boot/mbrid | config\.(bootoptions|partids) | image/.* | dev/null
    """, re.VERBOSE)
# Links to what is accounted for anyway, or to what is no file of the image: (place, target).
LINKS = [(re.compile(place), re.compile(target)) for place, target in (
    (r"etc/alternatives/[^/]+", r"/(usr/)?(s?bin|share)/.*"), (r"usr/s?bin/[^/]+", r"/etc/alternatives/[^/]+"),
    (r"etc/ssl/certs/[^/]+\.(pem|0)", r"(/usr/share/ca-certificates/mozilla/)?[^/]+\.(crt|pem)"),
    (r"etc/rc[0-6S]\.d/[SK][0-9]{2}(dbus|cryptdisks|cryptdisks-early)", r"\.\./init\.d/(dbus|cryptdisks|cryptdisks-early)"),
    (r"etc/(mtab|localtime)", r"\.\./(proc/self/mounts|usr/share/zoneinfo/UTC)"), (r"etc/vconsole\.conf", r"default/keyboard"),
    (r"etc/default/locale", r"\.\./locale\.conf"), (r"etc/dpkg/origins/default", r"debian"),
    (r"etc/(\.resolv\.conf\.systemd-resolved\.bak|resolv\.conf)", r"resolv\.conf\.kiwi|/run/systemd/resolve/stub-resolv\.conf"),
    (r"dev/(fd|std(in|out|err))", r"/proc/self/fd|fd/[012]"), (r"vmlinuz(\.old)?", r"boot/vmlinuz-[^/]+"),
    (r"usr/local/(share/man/)?man|var/spool/mail", r"share/man|\.\./mail"),
    (r"usr/share/llama\.cpp/llama-server/default-ui", r"/usr/share/llama\.cpp/.*"),
)]
MASKS = re.compile(r"etc/systemd/(system|system-generators)/[^/]+|etc/udev/rules\.d/[^/]+")
WANTS = re.compile(r"etc/systemd/system/([^/]+\.(wants|requires)/(?P<wanted>[^/]+)"
                   r"|dbus-org\.freedesktop\.(network|resolve|timesync)1\.service)")


def command_line():
    """The command line of every system: the description's and KIWI's own word."""
    lines = [type_.get("kernelcmdline") for type_ in xml.etree.ElementTree.parse(KIWI / "config.xml").iter("type")]
    assert len(lines) == 1 and lines[0], "config.xml has one type, with a command line"
    return f"{lines[0]} {ROOT}"


def under(folder):
    """{name: what is there: the bytes of a file, or a link's target} of a folder of files for the root."""
    return {str(p.relative_to(folder)): content(p) for p in pathlib.Path(folder).rglob("*") if p.is_symlink() or not p.is_dir()}


def content(path):
    return os.readlink(path) if path.is_symlink() else path.read_bytes()


def files(profile="debian", overlays=()):
    """The recipe's files in the root, as kiwi/build lays them out: {name: bytes, or a link's target}."""
    units = SOURCE / "units"
    said = under(KIWI / "root")
    del said["etc/fstab.script"]  # KIWI runs and removes it
    said |= {
        UNITS + "sealboot-agent.service": (units / "sealboot-agent.service.in").read_bytes().replace(b"@bindir@", b"/usr/bin"),
        "usr/lib/sysusers.d/sealboot.conf": (units / "sysusers.conf").read_bytes(),
        "usr/lib/tmpfiles.d/sealboot.conf": (units / "tmpfiles.conf").read_bytes(),
        "usr/lib/udev/rules.d/60-sealboot.rules": (units / "udev.rules").read_bytes(),
    }
    said |= {UNITS + name: (units / name).read_bytes() for name in ("run-sealboot-model.mount", "sealboot-model.target")}
    if profile == "debian":
        said |= {UNITS + name: data for name, data in under(units / "examples").items() if name.startswith("llama-")}
    said |= under(KIWI / f"root-{profile}")
    for overlay in overlays:
        said |= under(overlay)
    return said


def packages():
    """The packages of debian.lock, as NAME_VERSION_ARCHITECTURE."""
    lines = (KIWI / "debian.lock").read_text().splitlines()
    return {pathlib.PurePath(line.split()[1]).name.removesuffix(".deb") for line in lines}


def installed(root):
    """The packages that an image says it has, in the same form."""
    found = set()
    for entry in (root / "var/lib/dpkg/status").read_text().split("\n\n"):
        said = dict(line.split(": ", 1) for line in entry.splitlines() if re.match(r"[A-Z][A-Za-z-]*: ", line))
        if said:
            found.add(f"{said['Package']}_{said['Version'].split(':')[-1]}_{said['Architecture']}")
    return found


class Packaged:
    """The files of an image's packages, from its package database: what is listed, and each one's MD5 sum."""

    def __init__(self, root):
        info = root / "var/lib/dpkg/info"
        self.listed = {merged(name) for path in info.glob("*.list") for name in path.read_text().splitlines()}
        self.sums = {merged(line.split(None, 1)[1]): line.split()[0]
                     for path in info.glob("*.md5sums") for line in path.read_text().splitlines()}
        status = (root / "var/lib/dpkg/status").read_text()
        self.folders = {name.rsplit("/", 1)[0] for name in self.listed if "/" in name}
        conffiles = re.findall(r"^ (/\S+) ([0-9a-f]{32})(?: obsolete)?$", status, re.MULTILINE)
        self.sums |= {merged(name): md5 for name, md5 in conffiles}

    def brought(self, root, name):
        """Is NAME of a package, and as the package has it?"""
        path = root / name
        if path.is_symlink():
            return name in self.listed and name not in self.sums and name not in self.folders
        return self.sums.get(name) == hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def merged(name):
    """Debian packages may still say /lib for what is in /usr/lib."""
    name = name.lstrip("/")
    return f"usr/{name}" if name.split("/")[0] in ("bin", "sbin", "lib", "lib64") and "/" in name else name


def foreign(root, profile="debian", overlays=()):
    """What is in an image's root, or missing there, that neither its packages nor the recipe account for: [reason]."""
    said, packaged, wrong = files(profile, overlays), Packaged(root), []
    for folder, folders, names in os.walk(root):
        for name in names + [f for f in folders if os.path.islink(os.path.join(folder, f))]:
            path = pathlib.Path(folder, name)
            name = str(path.relative_to(root))
            if not path.is_symlink() and not stat.S_ISREG(path.lstat().st_mode):
                wrong.append(f"{name} is neither a file nor a link")
            elif name in said:
                if content(path) != said[name]:
                    wrong.append(f"{name} is not as the recipe has it")
            elif not (packaged.brought(root, name) or made(path, name, said, root)):
                wrong.append(f"{name} is of no package" if name not in packaged.listed else f"{name} is not as its package has it")
    wrong += [f"{name} is missing" for name in said if not os.path.lexists(root / name)]
    return sorted(wrong)


def made(path, name, said, root):
    """Is NAME of what a build makes? A link must point where such a link may; a mask may not hide what the recipe brings."""
    if not path.is_symlink():
        return MADE.fullmatch(name)
    target = os.readlink(path)
    if target == "/dev/null":
        return MASKS.fullmatch(name) and path.name not in {n.rsplit("/", 1)[-1] for n in said}
    enabled = WANTS.fullmatch(name)
    if enabled:
        unit = enabled["wanted"]
        real = re.fullmatch(r"/(?:usr/)?lib/systemd/system/([^/]+)", target)
        return real and (not unit or real[1] in (unit, re.sub("@.*[.]", "@.", unit))) and (root / UNITS / real[1]).exists()
    return any(place.fullmatch(name) and allowed.fullmatch(target) for place, allowed in LINKS)


def firewall(rules, names=None):
    """A ruleset without what nft writes otherwise than its author: comments, quotes, the order of sets, users' numbers."""
    rules = re.sub(r"#.*|\"|flush ruleset", "", rules)
    rules = re.sub(r"\{([^{}:;]*,[^{}:;]*)\}", lambda m: "{" + ",".join(sorted(w.strip() for w in m[1].split(","))) + "}", rules)
    rules = re.sub(r"skuid (\S+)", lambda m: f"skuid {(names or {}).get(m[1], m[1])}", rules)
    return [" ".join(line.split()) for line in rules.splitlines() if line.strip()]


def users(listed):
    """Which user each number of a listed ruleset stands for, as the recipe's rules have them in order: {number: name}. A number
    that stands for two, for root, or for no system user is left alone, and the rulesets differ."""
    asked = re.findall(r"skuid \"?([\w-]+)", (KIWI / "root/usr/lib/sealboot/firewall.nft").read_text())
    found = re.findall(r"skuid \"?([\w-]+)", listed)
    pairs = set(zip(found, asked))
    if len(found) != len(asked) or not len(pairs) == len(dict(pairs)) == len({name for _, name in pairs}):
        return {}
    return {number: name for number, name in pairs if number == name or number.isdigit() and 0 < int(number) < 1000}


def is_the_firewall(listed):
    """Is what `nft list ruleset` printed the recipe's ruleset, rule for rule?"""
    return firewall(listed, users(listed)) == firewall((KIWI / "root/usr/lib/sealboot/firewall.nft").read_text())
