# SPDX-License-Identifier: Apache-2.0
"""The isolation audit: what must hold of an attestable image at rest, and of the machine that runs it.

Each check returns (verdict, reason). PASS and FAIL speak of a promise; WARN of what no promise forbids but a reader
should know. Where the recipe says what an image holds, a check compares with that, or with a list of what may be there:
a list of ways in ends where its author's imagination does. What cannot be read or is not there fails."""

import base64
import binascii
import functools
import hashlib
import json
import os
import re
import stat

import initrd
import promised
import recipe
import uki

PASS, WARN, FAIL = "PASS", "WARN", "FAIL"
INFERENCE_PORT = 443

# One each: a second .cmdline or .profile would be another boot than the one that is audited.
SECTIONS = {
    ".text", ".rodata", ".data", ".dynamic", ".dynsym", ".rela", ".reloc", ".sdmagic", ".sbat", ".osrel", ".uname",
    ".cmdline", ".linux", ".initrd"
}
# What a command line must say for the promises of kiwi/README.md to hold, whatever else the recipe says.
PROMISES = {
    "efi=noruntime", "systemd.import_credentials=no", "lockdown=confidentiality", "nohibernate", "sysctl.kernel.sysrq=0"
}

PROGRAMS = ("usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin", "usr/lib/systemd", "usr/libexec",
            "usr/lib/sealboot")
LOGINS = {"agetty", "mingetty", "sulogin", "login", "su", "sudo", "pkexec", "newgrp", "sshd", "dropbear", "in.telnetd",
          "amazon-ssm-agent", "cloud-init"}
# Whoever gets a program started in the image finds no tool there that takes orders.
TOOLS = {
    "sh", "bash", "dash", "ash", "ksh", "zsh", "busybox", "toybox", "perl", "awk", "gawk", "mawk", "apt", "apt-get",
    "dpkg", "rpm", "dnf", "curl", "wget", "nc", "socat", "gdb", "gcc", "ld", "dracut", "mdadm", "lvm", "dmsetup",
    "mkfs", "kexec", "insmod"
}
TOOL = re.compile(r"python[0-9.]*|mkfs\..*|lua[0-9.]*|ruby.*|node|nodejs")
SHELLS = {"/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false"}
UNIT_FOLDERS = ("etc/systemd/system", "usr/lib/systemd/system", "usr/local/lib/systemd/system")
TERMINAL = re.compile(
    r"^\s*(StandardInput\s*=[\s\\]*tty|TTYPath\s*=|Exec\w+\s*=.*/dev/(tty|console|hvc))", re.MULTILINE)
# Nothing makes units from the command line, EFI variables, credentials or partitions, or looks into disks.
GENERATOR_FOLDERS = [f"{folder}/systemd/{kind}-generators" for folder in ("usr/lib", "usr/local/lib", "etc")
                     for kind in ("system", "user", "system-environment")]
# What some unit wants: the recipe's own, then the distribution's.
# Of a GPU image, beside these; nvidia-persistenced and nvidia-fabricmanager stop where they have no device.
GPU = {"sealboot-gpu.service", "nvidia-persistenced.service", "nvidia-fabricmanager.service"}
OURS = {"sealboot-agent.service", "sealboot-firewall.service", "sealboot-lockdown.service", "sealboot-model.target",
        "sealboot-nginx.service"}
INFERENCE = {"llama-server.service", "vllm.service", "ollama.service"} | {
    f"{server}-proxy.{kind}" for server in ("llama", "vllm", "ollama") for kind in ("socket", "service")}
SYSTEM = {"chronyd.service", "tmp.mount"} | {
    f"systemd-{name}"
    for name in ("journald-dev-log.socket", "journald.service", "journald.socket", "modules-load.service",
                 "networkd-wait-online.service", "networkd.service", "networkd.socket", "resolved.service",
                 "sysctl.service", "timesyncd.service", "tmpfiles-setup-dev-early.service",
                 "tmpfiles-setup-dev.service", "tmpfiles-setup.service", "udev-trigger.service", "udevd-control.socket",
                 "udevd-kernel.socket", "udevd.service")
}
# What runs without being wanted by a link: by a unit's own Wants= or Requires=, by the agent's failure, by the mounts
# of the initrd.
ACTIVATED = {
    "systemd-udev-settle.service", "-.mount", "run-sealboot-model.mount", "var.mount", r"etc-machine\x2did.mount",
    "sealboot-power-off.timer", "sealboot-power-off.service", "sealboot-gate.service", "sealboot-gate.socket",
    "sealboot-nginx.socket"
}
MEMORY = {"tmpfs", "ramfs", "devtmpfs", "proc", "sysfs", "cgroup2", "devpts", "mqueue", "securityfs", "pstore", "bpf",
          "hugetlbfs", "nsfs"}


def judge(holds, good, bad, otherwise=FAIL):
    return (PASS, good) if holds else (otherwise, bad)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Image:
    """A built image at rest: its root as a directory, and what veritysetup says of it; the UKI, its command line,
    sections and initrd (initrd.entries); what its ESP and partition table hold. `profile` and `overlays` are what
    kiwi/build was given."""

    def __init__(self, root, cmdline, sections, entries, verified, esp, partitions, profile="debian", overlays=(),
                 keep=(), program=b""):
        self.root, self.cmdline, self.verified = root, cmdline.rstrip("\0\n"), verified
        self.sections, self.initrd, self.esp, self.partitions = sections, entries, esp, partitions
        self.profile, self.overlays, self.keep, self.program = profile, overlays, keep, program

    @functools.cached_property
    def packaged(self):
        return recipe.Packaged(self.profile)

    @functools.cached_property
    def system(self):
        return recipe.system(self.profile)

    @functools.cached_property
    def gpu(self):
        return self.profile.endswith("-gpu")

    @functools.cached_property
    def signed(self):
        """The modules of a GPU's driver that have a signature, and those that have none."""
        modules = list(self.root.glob("usr/lib/modules/*/updates/*.ko"))
        signed = {path.name for path in modules if path.read_bytes().endswith(recipe.SIGNATURE)}
        return signed, {path.name for path in modules} - signed

    @functools.cached_property
    def added(self):
        """What the overlays bring: an image's builder answers for that, and the audit names it."""
        return {name for overlay in self.overlays for name in recipe.under(overlay)}

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
        return judge(self.sections and not odd, "one kernel, one initrd, one command line",
                     f"sections {odd or 'unknown'}")

    def check_kernel(self):
        """PCR4 says that the UKI is this one; what runs before any check of ours must be the packages'."""
        if self.system != "debian":
            return WARN, f"nothing pins the kernel and the stub of {self.profile}: compare those of two builds"
        foreign = uki.foreign(self.program, self.path("usr/lib/os-release").read_bytes(), self.packaged)
        return judge(not foreign, "kernel and stub are those of the packages", "; ".join(foreign))

    def check_command_line(self):
        words, said = self.cmdline.split(), recipe.command_line(self.profile, self.vouched).split()
        promises = PROMISES - self.raised_later()
        missing, other = (promises | set(said)) - set(words), [word for word in words if word not in said]
        twice = [word for word in words if words.count(word) > 1]
        more = "; for Secure Boot alone: without a PCR7 of Secure Boot on, a policy lets EFI variables in"
        return judge(not (missing or other or twice), "nothing but what the recipe says" + more * self.vouched,
                     f"lacks {sorted(missing)}; has {other}, twice {twice}")

    def raised_later(self):
        """What the command line of a GPU image does not say: its units raise lockdown once the driver is loaded; and if
        Secure Boot is to let the modules in, the kernel has to read the keys of db."""
        later = {"lockdown=confidentiality"} if self.gpu else set()
        return later | ({"efi=noruntime"} if self.vouched else set())

    @functools.cached_property
    def vouched(self):
        """Whether Secure Boot is to let the driver's modules in: each is signed. One that is not would load with Secure
        Boot off alone, where nothing stands in for efi=noruntime."""
        signed, others = self.signed
        return self.gpu and bool(signed) and not others

    def check_driver(self):
        """The driver of a GPU image is the one that this tree compiles, and either all of it is signed, or nothing."""
        signed, others = self.signed
        if not self.gpu:
            return judge(not signed | others, "no module but the kernel's", f"{sorted(signed | others)}")
        if signed and others:
            return FAIL, f"signed: {sorted(signed)}, not signed: {sorted(others)}"
        if self.system != "debian":
            return WARN, f"no modules are known for {self.profile}: compare those of two builds"
        found = recipe.driver(self.root, self.profile)
        other = sorted(name for name, known in found.items() if not known)
        return judge({"nvidia.ko", "nvidia-uvm.ko"} <= signed | others and not other,
                     f"as this tree compiles it, {'signed' if signed else 'without signatures'}",
                     f"of {sorted(signed | others)}, not as this tree compiles it: {other}")

    def check_verity(self):
        return judge(self.verified == "verified", "the root is the one whose hash the initrd has", self.verified)

    def check_initrd(self):
        if self.system != "debian":
            return WARN, f"nothing pins the kernel of {self.profile}: the modules of the initrd are not compared"
        foreign = initrd.foreign(self.initrd, self.packaged)
        return judge(
            not foreign, f"one program, sealboot-init {sha256(self.initrd['init'][1])}, and the kernel's modules"
            if not foreign else "", "; ".join(foreign))

    def check_modules(self):
        """Where there is no efivarfs, nobody reads EFI variables, whatever the command line says."""
        names = [p.name for p in self.root.rglob("*.ko*")] + [name for name in self.initrd if name.endswith(".ko")]
        found = [
            name for name in names
            if re.search(r"efivarfs|efi.pstore|qemu.fw.cfg|kexec|vfat|fuse|cuse|loop|nbd|btrfs|raid", name)
        ]
        built_in = [
            line for path in self.root.glob("usr/lib/modules/*/modules.builtin")
            for line in path.read_text().splitlines() if re.search(r"/(efivarfs|efi.pstore|qemu.fw.cfg)\.ko", line)
        ]
        if built_in and self.system != "debian":
            keeps = ("nothing keeps it from them, and Secure Boot alone makes them harmless" if self.vouched else
                     "efi=noruntime alone keeps it from them")
            return WARN, f"the kernel itself can read EFI variables; {keeps}: {built_in}"
        return judge(names and not found and not built_in,
                     "none reads EFI variables, fw_cfg or another disk's file system",
                     f"{found + built_in or 'no modules'}")

    def check_packages(self):
        if self.system != "debian":
            return WARN, f"nothing pins the packages of {self.profile}: compare those of two builds"
        return PASS, f"files of {len(recipe.used(self.root, self.packaged))} of the packages that debian.lock pins"

    def check_files(self):
        if self.system != "debian":
            return WARN, f"the packages of {self.profile} are not read here: compare `files` of two builds"
        foreign = recipe.foreign(self.root, self.profile, self.overlays, self.keep, self.packaged)
        own = ", ".join(f"{name.rsplit('/', 1)[1]} {sha256(self.path(name).read_bytes())}"
                        for name in ("usr/bin/sealboot-agent", "usr/lib/sealboot/sealboot-lockdown"))
        return judge(not foreign, f"each is of a package or of the recipe; compiled: {own}", f"{foreign}")

    def check_settings(self):
        broken = promised.broken(self)
        return judge(not broken, "what the promises rest on is set", "; ".join(broken))

    def check_units(self):
        ours = OURS | ({"sealboot-gpu.service", "nvidia-persistenced.service"} if self.gpu else set())
        allowed = OURS | INFERENCE | SYSTEM | {name.rsplit("/", 1)[-1] for name in self.added}
        allowed |= GPU if self.gpu else set()
        wanted = self.wanted()
        wrong = [f"{unit} is started" for unit in wanted - allowed] + [f"{unit} is not" for unit in ours - wanted]
        default = os.path.realpath(self.path("usr/lib/systemd/system/default.target"))
        if os.path.lexists(
                self.path("etc/systemd/system/default.target")) or not default.endswith("/multi-user.target"):
            wrong.append("another default target")
        return judge(not wrong, "the recipe's and the distribution's known ones start", "; ".join(sorted(wrong)))

    def check_terminals(self):
        found = [str(path.relative_to(self.root)) for _, path in self.units()
                 if TERMINAL.search(path.read_text(errors="replace"))]
        return judge(not found, "no unit that can start opens one", f"opened by {found}")

    def programs(self):
        """The names of what can be executed, without what an overlay brings."""
        for path in self.root.rglob("*"):
            name = str(path.relative_to(self.root))
            if name not in self.added and (path.is_symlink() or path.is_file() and path.stat().st_mode & 0o111):
                yield name

    def check_login_programs(self):
        found = sorted(name for name in self.programs() if name.rsplit("/", 1)[-1] in LOGINS)
        return judge(not found, "none is installed", f"installed: {found}")

    def check_tools(self):
        found = sorted(name for name in self.programs()
                       if name.rsplit("/", 1)[-1] in TOOLS or TOOL.fullmatch(name.rsplit("/", 1)[-1]))
        return judge(not found, "no shell, interpreter or package manager", f"installed: {found}")

    def check_login_units(self):
        units = [
            name for name, _ in self.units()
            if re.match(r"\S*getty|ssh|debug-shell|emergency|rescue|user@|sulogin", name)
        ]
        return judge(not units, "there are none", f"there are {units}")

    def check_accounts(self):
        """passwd says `x`, shadow a hash that matches nothing: an empty field would be an account without a
        password."""
        accounts, shadow = ([line.split(":") for line in self.path(table).read_text().splitlines()]
                            for table in ("etc/passwd", "etc/shadow"))
        locked = {fields[0] for fields in shadow if fields[1].startswith(("!", "*"))}
        open_ = [fields[0] for fields in accounts
                 if len(fields) != 7 or fields[1] != "x" or fields[0] not in locked or fields[6] not in SHELLS]
        others = [fields[0] for fields in shadow if not fields[1].startswith(("!", "*"))]
        root = [fields[0] for fields in accounts if len(fields) == 7 and int(fields[2]) == 0]
        members = [line for table in ("etc/group", "etc/gshadow") for line in self.path(table).read_text().splitlines()
                   if line.split(":")[-1]]
        return judge(
            accounts and not open_ and not others and not members and root == ["root"],
            "every account is locked and has no shell",
            f"not locked or with a shell: {open_ + others}; with root's rights: {root}; members of groups: {members}")

    def check_authorized_keys(self):
        keys = [str(p.relative_to(self.root)) for p in self.root.rglob("*")
                if p.parent.name == ".ssh" or p.name.startswith("authorized_keys")]
        return judge(not keys, "there are none", f"found {keys}")

    def check_privileged_programs(self):
        found = [str(p.relative_to(self.root)) for p in self.root.rglob("*") if not p.is_symlink() and p.is_file()
                 and (p.stat().st_mode & (stat.S_ISUID | stat.S_ISGID) or "security.capability" in os.listxattr(p))]
        return judge(not found, "no program raises its own privileges", f"setuid, setgid or with capabilities: {found}")

    def check_generators(self):
        found = [str(p.relative_to(self.root)) for folder in GENERATOR_FOLDERS for p in self.path(folder).glob("*")]
        return judge(not found, "there are none", f"{found}")

    def check_pcr15_extenders(self):
        found = sorted(name for name in self.programs()
                       if re.search(r"/systemd-(pcr|tpm2|cryptsetup|veritysetup|measure)", name))
        return judge(not found, "nothing but the agent extends PCR15", f"{found}")

    def check_pinned_keys(self):
        configuration = json.loads(self.path("etc/sealboot/agent.json").read_text())
        if configuration.get("discovery"):
            return WARN, "any KMS key may release a model (discovery)"
        return judge(configuration.get("keys"), f"{len(configuration.get('keys', []))} KMS key(s) pinned",
                     "no KMS key is pinned")

    def check_swap_and_storage(self):
        """No line in fstab or crypttab, however short, and no unit that mounts a device or swaps."""
        kept = [
            f"{table.name}: {line.strip()}" for table in map(self.path, ("etc/fstab", "etc/crypttab", "etc/veritytab"))
            if os.path.lexists(table) for line in table.read_text().splitlines()
            if line.strip() and line.strip()[0] != "#"
        ]
        for name, path in self.units():
            types = re.findall(r"^\s*Type\s*=\s*(.*?)\s*$", path.read_text(errors="replace"), re.MULTILINE)
            if name.endswith(".swap") or name.endswith(".mount") and path.suffix != ".conf" and (not types or
                                                                                                 set(types) - MEMORY):
                kept.append(str(path.relative_to(self.root)))
        return judge(not kept, "nothing mounts a device or swaps", f"{kept}")


SETTINGS = {"kernel/sysrq": "0", "kernel/printk": "1 4 1 4", "kernel/unknown_nmi_panic": "0", "kernel/panic": "10",
            "kernel/io_uring_disabled": "2", "user/max_user_namespaces": "0", "kernel/unprivileged_bpf_disabled": "2",
            "kernel/dmesg_restrict": "1"}


class Guest:
    """What the report of a running guest says of it: facts between its begin and its end."""

    def __init__(self, report, profile="debian"):
        self.facts, self.faults, self.gpu = {}, [], profile.endswith("-gpu")
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

    def sockets(self):
        """(protocol, address, port, user) of what listens, from /proc/net, where addresses are hexadecimal, least byte
        first."""
        users = dict((line.split(":")[2], line.split(":")[0]) for line in self.lines("accounts"))
        for line in self.lines("sockets"):
            protocol, _, local, _, state, _, _, _, user, *_ = line.split()
            address, port = local.split(":")
            if state == "0A" or not protocol.startswith("tcp"):
                yield protocol, bytes.fromhex(address), int(port, 16), users.get(user, user)

    def check_listening_ports(self):
        found, others = list(self.sockets()), []
        for protocol, address, port, user in found:
            local = address[-1:] == b"\x7f" if len(address) == 4 else address == bytes(12) + b"\1\0\0\0"
            dhcp = user == "systemd-network" and port in (68, 546)
            client = protocol.startswith("udp") and (dhcp or user == "systemd-timesync") \
                or protocol.startswith("raw") and user == "systemd-network"
            if not (local or client or protocol.startswith("tcp") and port == INFERENCE_PORT):
                others.append(f"{protocol} {address.hex()} {port} {user}")
        return judge(found and not others, f"nothing listens but nginx on port {INFERENCE_PORT}",
                     f"listening: {others or 'no list'}")

    def check_consoles(self):
        return judge(not self.fact("unix-consoles"), "no process has a console open",
                     f"open by {self.fact('unix-consoles')}")

    def mounts(self):
        """{mount point: [(device, type, options)]}"""
        found = {}
        for device, point, type_, options, *_ in map(str.split, self.lines("mounts")):
            found.setdefault(point, []).append((device, type_, options.split(",")))
        return found

    def check_storage(self):
        """One mount is of a device: the root that verity guards. The rest is memory."""
        kept = [f"{device} on {point}" for point, mounts in self.mounts().items() for device, type_, options in mounts
                if type_ not in MEMORY and not (point == "/" and type_ == "erofs" and "ro" in options)]
        return judge(self.mounts() and not kept, "nothing but the read-only root is mounted from a device",
                     f"mounted: {kept}")

    def check_efi_variables(self):
        """No file system of theirs, no module for one, and a kernel that does not call the firmware."""
        mounted = [point for point, mounts in self.mounts().items() for _, type_, _ in mounts if type_ == "efivarfs"]
        modules = [line.split()[0] for line in self.lines("modules") if line.startswith(("efivarfs", "efi_pstore"))]
        return judge(
            not mounted and not modules and not self.fact("efi-variables")
            and ("efi=noruntime" in self.fact("kernel-command-line").split() or self.trusts_db()), "nobody reads them",
            f"mounted at {mounted}, modules {modules}, {self.fact('efi-variables')[:200]}")

    def trusts_db(self):
        """A GPU image whose modules db vouches for runs with Secure Boot alone, and reads db when it boots."""
        return self.gpu and self.fact("secure-boot") == "1"

    def check_block_devices(self):
        writable = [line for line in self.lines("block-devices") if not re.fullmatch(r"\S+ 1", line)]
        return judge(self.lines("block-devices") and not writable, "all are read-only", f"writable: {writable}")

    def check_swap(self):
        swaps = self.lines("swaps")
        return judge(len(swaps) == 1 and swaps[0].startswith("Filename"), "none", f"{swaps[1:] or swaps}")

    def check_verity(self):
        """The root is erofs on the verity device that panics, and nothing is laid over it."""
        (root,) = self.mounts()["/"]
        tables = [line.split() for line in self.lines("device-mapper")]
        return judge(
            root[0] == "/dev/dm-0" and root[1] == "erofs" and "ro" in root[2] and len(tables) == 1
            and tables[0][0] == "verityroot:" and tables[0][3] == "verity"
            and tables[0][14:] == ["1", "panic_on_corruption"],
            "the root is under dm-verity, which panics on corruption",
            f"the root is {root[0]}, with {self.fact('device-mapper') or 'no device mapper'}")

    def check_firewall(self):
        return judge(recipe.is_the_firewall(self.fact("firewall")),
                     "the recipe's rules, default drop in, through and out", "the rules are not the recipe's")

    def check_lockdown(self):
        return judge("[confidentiality]" in self.fact("lockdown").split(), "confidentiality", self.fact("lockdown"))

    def check_modules(self):
        return judge(self.fact("modules-disabled") == "1", "no module can be loaded any more", "modules can be loaded")

    def check_order(self):
        """A GPU image boots without lockdown: it must be there, and modules closed, before there is a network."""
        if not self.gpu:
            return judge("lockdown=confidentiality" in self.fact("kernel-command-line").split(),
                         "locked from the beginning", "the command line does not lock the kernel")
        times = dict(line.split() for line in self.lines("order"))
        gpu, closed, network = (int(times[name]) for name in ("sealboot-gpu.service", "sealboot-lockdown.service",
                                                              "systemd-networkd.service"))
        return judge(0 < gpu <= closed <= network, "locked, and modules closed, before the network starts",
                     f"driver and lockdown {gpu}, modules {closed}, network {network}")

    def check_kernel_settings(self):
        """Keys and interrupts from the console give no orders; nobody makes a name space or an io_uring. What the
        kernel does not know (io_uring_disabled before 6.6) it does not say."""
        said = dict(line.split(None, 1) for line in self.lines("sysctl"))
        wrong = {
            name: said.get(name) for name, value in SETTINGS.items() if said.get(name, "").split() != value.split()
        }
        return judge(not wrong, "as the recipe sets them", f"{wrong}")

    def check_hibernation(self):
        return judge(self.fact("hibernation") == "[disabled]", "not possible", self.fact("hibernation"))

    def check_command_devices(self):
        """NVMe's character devices would pass a write command on."""
        found = [name for name in self.lines("devices") if re.fullmatch(r"ng\d+n\d+|nvme\d+", name)]
        return judge(self.lines("devices") and not found, "none", f"{found or 'no list'}")

    def check_core_dumps(self):
        return judge(self.fact("core-pattern") == "|/bin/false" and self.fact("suid-dumpable") == "0"
                     and self.fact("core-limit") == "0", "none is written",
                     f"{self.fact('core-pattern')}, limit {self.fact('core-limit')}")

    def check_kexec(self):
        return judge(self.fact("kexec-disabled") == "1", "no other kernel can be started", "kexec is possible")

    def check_credentials(self):
        found = self.fact("credentials")
        return judge(not found or re.fullmatch(r"ls: /run/credentials/@system: No such file or directory", found),
                     "systemd took no credentials from outside", found)

    def check_units(self):
        """Everything that runs, or is about to, is known."""
        known = OURS | INFERENCE | SYSTEM | ACTIVATED | {"sealboot-test-report.service"}
        known |= GPU | {"sealboot-test-driver.service"} if self.gpu else set()
        known |= {
            f"run-credentials-{unit}.mount"
            for unit in (r"systemd\x2djournald.service", r"systemd\x2dnetworkd.service", r"systemd\x2dresolved.service")
        }
        rows = [line.split() for line in self.lines("units")]
        other = [
            f"{row[0]} is {row[3]}" for row in rows if row[2] not in ("inactive", "failed") and row[0] not in known
        ]
        ours = OURS | ({"sealboot-gpu.service"} if self.gpu else set())
        missing = {unit for unit in ours if unit.endswith(".service")} - {row[0] for row in rows if row[2] == "active"}
        return judge(rows and not other and not missing, "nothing runs that is not known",
                     f"unknown: {other}; not active: {sorted(missing)}")

    def check_login_units(self):
        """None is there, or masked: one that fails or starts again is neither."""
        rows = [line.split() for line in self.lines("units")]
        found = [f"{row[0]} is {row[3]}" for row in rows if row[1] not in ("masked", "not-found")
                 and re.match(r"\S*getty|ssh|debug-shell|emergency|rescue|user@|sulogin", row[0])]
        return judge(rows and not found, "all are masked", "; ".join(found))

    def check_pcr15_before_the_agent(self):
        banks = json.loads(self.fact("boot-report"))["pcr15"]
        others = {bank: values["before"] for bank, values in banks.items() if set(values["before"]) != {"0"}}
        return judge("sha384" in banks and not others, "the agent found it all zero",
                     f"not zero before the agent: {others}")

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
