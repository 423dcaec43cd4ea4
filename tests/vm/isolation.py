# SPDX-License-Identifier: Apache-2.0
"""The isolation audit: what must hold of an attestable image at rest, and of the machine that runs it.

Each check returns (verdict, reason). PASS and FAIL speak of a promise; WARN of what no promise forbids but a reader should know.
Where the recipe says what an image holds, a check compares with that, or with a list of what may be there: a list of ways in
ends where its author's imagination does. What cannot be read or is not there fails.
"""

import base64
import binascii
import hashlib
import json
import os
import re
import stat

import initrd
import recipe

PASS, WARN, FAIL = "PASS", "WARN", "FAIL"
INFERENCE_PORT = 8080

# Every word that may be on a kernel command line, once: what keeps a promise must be there, the others do no harm.
KEPT = {"rd.shell=0", "rd.emergency=reboot", "panic=10", "oops=panic", "systemd.import_credentials=no", "systemd.getty_auto=no",
        "systemd.gpt_auto=no", "systemd.firstboot=no", "systemd.swap=no", "lockdown=confidentiality",
        "rd.kiwi.verity_options=panic-on-corruption", recipe.ROOT}
HARMLESS = {"console=ttyS0,115200n8", "quiet", "systemd.show_status=no"}
# One each: a second .cmdline or .profile would be another boot than the one that is audited.
SECTIONS = {".text", ".rodata", ".data", ".dynamic", ".dynsym", ".rela", ".reloc", ".sdmagic", ".sbat", ".osrel", ".uname",
            ".cmdline", ".linux", ".initrd"}

PROGRAMS = ("usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin", "usr/lib/systemd", "usr/libexec")
LOGINS = ("agetty", "mingetty", "sulogin", "login", "su", "sudo", "pkexec", "newgrp", "sshd", "dropbear", "in.telnetd",
          "amazon-ssm-agent", "cloud-init")
LOGIN_UNITS = ("getty@.service", "serial-getty@.service", "console-getty.service", "container-getty@.service", "autovt@.service",
               "debug-shell.service", "emergency.service", "rescue.service", "user@.service")
SHELLS = {"/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false"}
UNIT_FOLDERS = ("etc/systemd/system", "usr/lib/systemd/system", "usr/local/lib/systemd/system")
TERMINAL = re.compile(
    r"^\s*(StandardInput\s*=[\s\\]*tty|TTYPath\s*=|Exec\w+\s*=.*/dev/(tty|console|hvc))", re.MULTILINE)
PCR15_UNITS = ("systemd-pcrmachine.service", "systemd-pcrfs@.service", "systemd-pcrfs-root.service")
# Generators whose input is a file of the image: fstab, rc.local, init.d, a pending update, a TPM.
GENERATORS = {"systemd-fstab-generator", "systemd-rc-local-generator", "systemd-sysv-generator", "systemd-system-update-generator",
              "systemd-tpm2-generator", "systemd-veritysetup-generator", "systemd-cryptsetup-generator",
              "systemd-integritysetup-generator"}
# What some unit may want besides what config.sh masks: the recipe's own, then the distribution's.
OURS = {"sealboot-agent.service", "sealboot-firewall.service", "sealboot-lockdown.service", "sealboot-model.target"}
INFERENCE = {"llama-proxy.socket", "llama-proxy.service", "llama-server.service", "inference-proxy.socket",
             "inference-proxy.service", "vllm.service", "ollama.service"}
SYSTEM = {"chronyd.service", "dbus.service", "dbus.socket", "dbus-broker.service", "dev-hugepages.mount", "dev-mqueue.mount",
          "dracut-shutdown.service", "getty-static.service", "kmod-static-nodes.service", "proc-sys-fs-binfmt_misc.automount",
          "remote-fs.target", "run-lock.mount", "sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "sys-kernel-debug.mount",
          "sys-kernel-tracing.mount", "tmp.mount"}
SYSTEM |= {f"systemd-{name}" for name in (
    "battery-check.service", "binfmt.service", "bsod.service", "hibernate-clear.service", "hostnamed.socket",
    "journald-dev-log.socket", "journald.service", "journald.socket", "modules-load.service", "network-generator.service",
    "networkd-wait-online.service", "networkd.service", "networkd.socket", "pcrphase-initrd.service", "pcrphase-sysinit.service",
    "pcrphase.service", "resolved.service", "sysctl.service", "sysusers.service", "timesyncd.service",
    "tmpfiles-clean.timer", "tmpfiles-setup-dev-early.service", "tmpfiles-setup-dev.service", "tmpfiles-setup.service",
    "udev-trigger.service", "udevd-control.socket", "udevd-kernel.socket", "udevd.service")}
SYSTEM |= {f"dracut-{name}.service" for name in ("cmdline", "initqueue", "mount", "pre-mount", "pre-pivot", "pre-trigger",
                                                 "pre-udev")}
# What runs without being wanted by a link: by a unit's own Wants=, by D-Bus, by the mounts of the initrd.
ACTIVATED = {"systemd-hostnamed.service", "systemd-tmpfiles-clean.service", "systemd-udev-settle.service",
             "modprobe@configfs.service", "modprobe@fuse.service", "modprobe@dm_mod.service",
             "modprobe@drm.service", "modprobe@efi_pstore.service", "modprobe@loop.service", "-.mount", "run-overlay.mount",
             "run-overlay-rootfsbase.mount", "run-sealboot-model.mount", "proc-sys-fs-binfmt_misc.mount"}
MEMORY = {"tmpfs", "ramfs", "devtmpfs", "proc", "sysfs", "cgroup2", "devpts", "mqueue", "securityfs", "pstore", "bpf",
          "tracefs", "debugfs", "configfs", "fusectl", "hugetlbfs", "binfmt_misc", "autofs", "overlay", "nsfs"}


def judge(holds, good, bad, otherwise=FAIL):
    return (PASS, good) if holds else (otherwise, bad)


class Image:
    """A built image at rest: its root as a directory, and what veritysetup says of it; the UKI's command line, sections and
    initrd (initrd.entries); what its ESP and partition table hold. `profile` and `overlays` are what kiwi/build was given."""

    def __init__(self, root, cmdline, sections, entries, verified, esp, partitions, profile="debian", overlays=()):
        self.root, self.cmdline, self.verified = root, cmdline.rstrip("\0\n"), verified
        self.sections, self.initrd, self.esp, self.partitions = sections, entries, esp, partitions
        self.profile, self.overlays = profile, overlays

    def path(self, name):
        return self.root / name

    def null(self, name):
        link = self.path(name)
        return link.is_symlink() and os.readlink(link) == "/dev/null"

    def masked(self, unit):
        """An instance is masked with its template, unless it has a file of its own."""
        if os.path.lexists(self.path(f"etc/systemd/system/{unit}")) or "@" not in unit:
            return self.null(f"etc/systemd/system/{unit}")
        return self.null(f"etc/systemd/system/{re.sub('@.*[.]', '@.', unit)}")

    def units(self):
        """(name, path) of each file of a unit, its drop-ins included, that is not masked."""
        for folder in UNIT_FOLDERS:
            for path in sorted(self.path(folder).rglob("*")):
                name = path.parent.name.removesuffix(".d") if path.suffix == ".conf" else path.name
                if path.is_file() and not path.is_symlink() and not self.masked(name):
                    yield name, path

    def wanted(self):
        """The units that a link makes another want or require, without what is masked."""
        return {path.name for folder in UNIT_FOLDERS for kind in ("wants", "requires", "upholds")
                for path in self.path(folder).glob(f"*.{kind}/*") if not self.masked(path.name)}

    def check_partitions(self):
        return judge(self.partitions in (["EF00", "8304"], ["EF00", "8305"]),
                     "an ESP and a root of x86_64 or arm64, nothing else", f"types {self.partitions}")

    def check_esp(self):
        boot = [name for name in self.esp if name not in ("EFI/", "EFI/BOOT/")]
        return judge(len(boot) == 1 and re.fullmatch(r"EFI/BOOT/BOOT[A-Z0-9]+\.EFI", boot[0]),
                     "holds the UKI alone", f"holds {self.esp}")

    def check_uki(self):
        odd = [name for name in self.sections if name not in SECTIONS or self.sections.count(name) > 1]
        return judge(self.sections and not odd, "one kernel, one initrd, one command line", f"sections {odd or 'unknown'}")

    def check_command_line(self):
        words = self.cmdline.split()
        missing, other = KEPT - set(words), [word for word in words if word not in KEPT | HARMLESS]
        twice = [word for word in words if words.count(word) > 1]
        return judge(not (missing or other or twice), "nothing but what the recipe says",
                     f"lacks {sorted(missing)}; has {other}, twice {twice}")

    def check_verity(self):
        return judge(self.verified == "verified", "the root is the one whose hash the initrd has", self.verified)

    def check_initrd(self):
        foreign = initrd.foreign(self.initrd, self.root)
        wanted = initrd.wanted(self.initrd) - SYSTEM - {"dracut-cmdline-ask.service", "systemd-ask-password-console.path"}
        shadow = [line.split(":") for line in self.initrd["etc/shadow"][1].decode().splitlines()]
        open_ = [fields[0] for fields in shadow if not fields[1].startswith(("!", "*"))]
        return judge(not (foreign or wanted or open_), "each file is the root's or dracut's, no account is open",
                     f"foreign: {foreign}; started: {sorted(wanted)}; not locked: {open_}")

    def check_packages(self):
        if self.profile != "debian":
            return WARN, f"nothing pins the packages of {self.profile}: compare those of two builds"
        unlike = recipe.installed(self.root) ^ recipe.packages()
        return judge(not unlike, "exactly those of debian.lock", f"not as debian.lock says: {sorted(unlike)}")

    def check_files(self):
        if self.profile != "debian":
            return WARN, f"the package database of {self.profile} is not read here: run rpm --verify --all --root"
        foreign = recipe.foreign(self.root, self.profile, self.overlays)
        agent = hashlib.sha256(self.path("usr/bin/sealboot-agent").read_bytes()).hexdigest()
        return judge(not foreign, f"each is of a package or of the recipe; sealboot-agent is {agent}", f"{foreign}")

    def check_units(self):
        allowed = OURS | INFERENCE | SYSTEM | {name.rsplit("/", 1)[-1] for o in self.overlays for name in recipe.under(o)}
        wanted = self.wanted()
        wrong = [f"{unit} is started" for unit in wanted - allowed] + [f"{unit} is not" for unit in OURS - wanted]
        default = os.path.realpath(self.path("usr/lib/systemd/system/default.target"))
        if os.path.lexists(self.path("etc/systemd/system/default.target")) or \
                not default.endswith(("/graphical.target", "/multi-user.target")):
            wrong.append("another default target")
        return judge(not wrong, "the recipe's and the distribution's known ones start", "; ".join(sorted(wrong)))

    def check_terminals(self):
        found = [str(path.relative_to(self.root)) for _, path in self.units()
                 if TERMINAL.search(path.read_text(errors="replace"))]
        return judge(not found, "no unit that can start opens one", f"opened by {found}")

    def check_login_programs(self):
        found = [f"{folder}/{name}" for folder in PROGRAMS for name in LOGINS if os.path.lexists(self.path(f"{folder}/{name}"))]
        return judge(not found, "none is installed", f"installed: {found}")

    def check_login_units(self):
        open_ = [unit for unit in LOGIN_UNITS if not self.null(f"etc/systemd/system/{unit}")]
        return judge(not open_, "all are masked", f"not masked: {open_}")

    def check_accounts(self):
        """passwd says `x`, shadow a hash that matches nothing: an empty field would be an account without a password."""
        accounts, shadow = ([line.split(":") for line in self.path(table).read_text().splitlines()]
                            for table in ("etc/passwd", "etc/shadow"))
        locked = {fields[0] for fields in shadow if fields[1].startswith(("!", "*"))}
        open_ = [fields[0] for fields in accounts
                 if len(fields) != 7 or fields[1] != "x" or fields[0] not in locked or fields[6] not in SHELLS]
        others = [fields[0] for fields in shadow if not fields[1].startswith(("!", "*"))]
        root = [fields[0] for fields in accounts if len(fields) == 7 and int(fields[2]) == 0]
        return judge(accounts and not open_ and not others and root == ["root"], "every account is locked and has no shell",
                     f"not locked or with a shell: {open_ + others}; with root's rights: {root}")

    def check_authorized_keys(self):
        keys = [str(p.relative_to(self.root)) for p in self.root.rglob("*")
                if p.parent.name == ".ssh" or p.name.startswith("authorized_keys")]
        return judge(not keys, "there are none", f"found {keys}")

    def check_privileged_programs(self):
        found = [str(p.relative_to(self.root)) for p in self.root.rglob("*") if not p.is_symlink() and p.is_file()
                 and (p.stat().st_mode & (stat.S_ISUID | stat.S_ISGID) or "security.capability" in os.listxattr(p))]
        return judge(not found, "no program raises its own privileges", f"setuid, setgid or with capabilities: {found}")

    def check_generators(self):
        present = [p for folder in ("usr/lib", "usr/local/lib", "etc")
                   for p in self.path(folder).glob("systemd/system-generators/*")]
        open_ = {p.name for p in present if not self.null(f"etc/systemd/system-generators/{p.name}")}
        return judge(present and not open_ - GENERATORS, "none makes units from the command line, credentials or partitions",
                     f"not masked: {sorted(open_ - GENERATORS)}")

    def check_pcr15_extenders(self):
        open_ = [unit for unit in PCR15_UNITS if not self.null(f"etc/systemd/system/{unit}")]
        return judge(not open_, "nothing but the agent extends PCR15", f"not masked: {open_}")

    def check_pinned_keys(self):
        configuration = json.loads(self.path("etc/sealboot/agent.json").read_text())
        if configuration.get("discovery"):
            return WARN, "any KMS key may release a model (discovery)"
        return judge(configuration.get("keys"), f"{len(configuration.get('keys', []))} KMS key(s) pinned", "no KMS key is pinned")

    def check_swap_and_storage(self):
        """No line in fstab or crypttab, however short, and no unit that mounts a device or swaps."""
        kept = [f"{table.name}: {line.strip()}" for table in map(self.path, ("etc/fstab", "etc/crypttab", "etc/veritytab"))
                if os.path.lexists(table) for line in table.read_text().splitlines() if line.strip() and line.strip()[0] != "#"]
        for name, path in self.units():
            types = re.findall(r"^\s*Type\s*=\s*(.*?)\s*$", path.read_text(errors="replace"), re.MULTILINE)
            if name.endswith(".swap") or name.endswith(".mount") and path.suffix != ".conf" and (not types or set(types) - MEMORY):
                kept.append(str(path.relative_to(self.root)))
        return judge(not kept, "nothing mounts a device or swaps", f"{kept}")


class Guest:
    """What the report of a running guest says of it: facts between its begin and its end."""

    def __init__(self, report):
        self.facts, self.faults = {}, []
        lines = [line.strip() for line in report.splitlines() if line.strip()]
        if lines.count("report-begin") != 1 or lines.count("report-end") != 1 or lines[-1] != "report-end":
            self.faults.append("no beginning, or no end")
        for line in lines:
            word, _, rest = line.partition(" ")
            if word == "fact":
                name, _, value = rest.partition(" ")
                if name in self.facts:
                    self.faults.append(f"{name} twice")
                try:
                    self.facts[name] = base64.b64decode(value, validate=True).decode(errors="replace")
                except binascii.Error:
                    self.faults.append(f"{name} is cut")

    def fact(self, name):
        """A fact that the report lacks fails the check that asks for it."""
        if name not in self.facts:
            raise LookupError(f"the report says nothing of {name}")
        return self.facts[name].strip()

    def lines(self, name):
        return self.fact(name).splitlines()

    def check_report(self):
        return judge(not self.faults, "complete", f"{self.faults}")

    def check_listening_ports(self):
        others = []
        for line in self.lines("sockets"):
            protocol, _, _, _, local, _, *users = line.split()
            address, _, port = local.rpartition(":")
            user = re.match(r'users:\(\("([^"]+)"', "".join(users))
            client = protocol == "udp" and user and (
                user[1] == "systemd-network" and port in ("68", "546") or user[1] == "systemd-timesyn")
            if not (address.startswith(("127.", "[::1]")) or client or (protocol, port) == ("tcp", str(INFERENCE_PORT))):
                others.append(line)
        return judge(self.lines("sockets") and not others, f"nothing listens but the inference server's port {INFERENCE_PORT}",
                     f"listening: {others or 'no list'}")

    def check_consoles(self):
        return judge(not self.fact("unix-consoles"), "no process has a console open", f"open by {self.fact('unix-consoles')}")

    def mounts(self):
        """{mount point: [(device, type, options)]}"""
        found = {}
        for device, point, type_, options, *_ in map(str.split, self.lines("mounts")):
            found.setdefault(point, []).append((device, type_, options.split(",")))
        return found

    def check_storage(self):
        """One mount is of a device: the root that verity guards. The rest is memory, or EFI variables that are only read."""
        kept = [f"{device} on {point}" for point, mounts in self.mounts().items() for device, type_, options in mounts
                if type_ not in MEMORY and not (type_ == "efivarfs" and "ro" in options)
                and not (point == "/run/overlay/rootfsbase" and type_ == "erofs" and "ro" in options)]
        return judge(self.mounts() and not kept, "nothing but the read-only root is mounted from a device", f"mounted: {kept}")

    def check_block_devices(self):
        writable = [line for line in self.lines("block-devices") if not re.fullmatch(r"\S+ 1", line)]
        return judge(self.lines("block-devices") and not writable, "all are read-only", f"writable: {writable}")

    def check_swap(self):
        swaps = self.lines("swaps")
        return judge(len(swaps) == 1 and swaps[0].startswith("Filename"), "none", f"{swaps[1:] or swaps}")

    def check_verity(self):
        """The root is an overlay of memory over one file system, and that one's own device is the verity one that panics."""
        (top,), (base,) = self.mounts()["/"], self.mounts()["/run/overlay/rootfsbase"]
        directories = {name: value for name, _, value in (option.partition("=") for option in top[2])}
        upper = [mount[1] for mount in self.mounts()["/run/overlay"]]
        name = base[0].removeprefix("/dev/mapper/")
        tables = [line.split() for line in self.lines("device-mapper") if line.startswith(f"{name}: ")]
        options = [table[14:] for table in tables if table[3] == "verity"]  # their count, and each
        return judge(top[1] == "overlay" and directories["lowerdir"] == "/run/overlay/rootfsbase" and upper == ["tmpfs"]
                     and directories["upperdir"].startswith("/run/overlay/") and base[0] == f"/dev/mapper/{name}"
                     and len(tables) == 1 and options == [["1", "panic_on_corruption"]],
                     "the root is under dm-verity, which panics on corruption",
                     f"the root is {base[0]}, with {self.fact('device-mapper') or 'no device mapper'}")

    def check_firewall(self):
        return judge(recipe.is_the_firewall(self.fact("firewall")), "the recipe's rules, default drop in, through and out",
                     "the rules are not the recipe's")

    def check_lockdown(self):
        return judge("[confidentiality]" in self.fact("lockdown").split(), "confidentiality", self.fact("lockdown"))

    def check_modules(self):
        return judge(self.fact("modules-disabled") == "1", "no module can be loaded any more", "modules can be loaded")

    def check_core_dumps(self):
        return judge(self.fact("core-pattern") == "|/bin/false" and self.fact("suid-dumpable") == "0"
                     and self.fact("core-limit") == "0", "none is written",
                     f"{self.fact('core-pattern')}, limit {self.fact('core-limit')}")

    def check_kexec(self):
        return judge(self.fact("kexec-disabled") == "1", "no other kernel can be started", "kexec is possible")

    def check_credentials(self):
        found = self.fact("credentials")
        return judge(not found or re.fullmatch(r"ls: cannot access '[^'\n]*': No such file or directory", found),
                     "systemd took no credentials from outside", found)

    def check_units(self):
        """Everything that runs, or is about to, is known."""
        known = OURS | INFERENCE | SYSTEM | ACTIVATED | {"sealboot-test-report.service"}
        known |= {f"run-credentials-{unit}.mount" for unit in (r"systemd\x2djournald.service", r"systemd\x2dnetworkd.service",
                                                               r"systemd\x2dresolved.service")}
        rows = [line.split() for line in self.lines("units")]
        other = [f"{row[0]} is {row[3]}" for row in rows if row[2] not in ("inactive", "failed") and row[0] not in known]
        missing = {unit for unit in OURS if unit.endswith(".service")} - {row[0] for row in rows if row[2] == "active"}
        return judge(rows and not other and not missing, "nothing runs that is not known",
                     f"unknown: {other}; not active: {sorted(missing)}")

    def check_login_units(self):
        """Not even tried: one that fails or starts again is not masked."""
        rows = [line.split() for line in self.lines("units")]
        found = [f"{row[0]} is {row[3]}" for row in rows if row[1] not in ("masked", "not-found")
                 and re.match(r"\S*getty|ssh|debug-shell|emergency|rescue|user@|sulogin", row[0])]
        return judge(rows and not found, "all are masked", "; ".join(found))

    def check_pcr15_before_the_agent(self):
        banks = json.loads(self.fact("boot-report"))["pcr15"]
        others = {bank: values["before"] for bank, values in banks.items() if set(values["before"]) != {"0"}}
        return judge("sha384" in banks and not others, "the agent found it all zero", f"not zero before the agent: {others}")

    def check_failed_units(self):
        return judge(not self.fact("failed-units"), "none", self.fact("failed-units"), WARN)


def audit(subject):
    """Runs every check of an Image or a Guest: [(name, verdict, reason)]. What cannot be judged fails."""
    results = []
    for name in (n for n in type(subject).__dict__ if n.startswith("check_")):
        try:
            verdict, reason = getattr(subject, name)()
        except (LookupError, ValueError, TypeError, AttributeError, OSError) as e:
            verdict, reason = FAIL, f"cannot be judged ({type(e).__name__}): {e}"
        results.append((name.removeprefix("check_").replace("_", " "), verdict, reason))
    return results
