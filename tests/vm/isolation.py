# SPDX-License-Identifier: Apache-2.0
"""The isolation audit: what must hold of an attestable image at rest, and of the machine that runs it.

Each check returns (verdict, reason). PASS and FAIL speak of a promise; WARN of what no promise forbids but a reader should know.
"""

import base64
import json
import re
import stat

PASS, WARN, FAIL = "PASS", "WARN", "FAIL"
INFERENCE_PORT = 8080

REQUIRED = ("systemd.import_credentials=no", "systemd.gpt_auto=no", "rd.shell=0", "lockdown=confidentiality")
PANICS = ("rd.kiwi.verity_options=panic-on-corruption", "systemd.verity_root_options=panic-on-corruption",
          "systemd.verity_usr_options=panic-on-corruption")
# rd.emergency= says what dracut does instead of opening a shell, when it is one of these.
OPENERS = re.compile(r"(?<!\S)(?!rd\.emergency=(?:reboot|poweroff|halt)(?!\S))(?:rd\.)?"
                     r"(?:systemd\.debug_shell|systemd\.run|systemd\.unit|systemd\.wants|break|init|single|s|S|1|emergency|rescue|-b)"
                     r"(?:=\S*)?(?!\S)")
LOGINS = ("usr/sbin/agetty", "usr/sbin/sulogin", "usr/bin/login", "usr/bin/su", "usr/sbin/sshd", "usr/bin/amazon-ssm-agent",
          "usr/bin/cloud-init", "usr/bin/sudo")
LOGIN_UNITS = ("getty@.service", "serial-getty@.service", "console-getty.service", "autovt@.service", "debug-shell.service",
               "emergency.service", "rescue.service", "user@.service")
PCR15_UNITS = ("systemd-pcrmachine.service", "systemd-pcrfs@.service", "systemd-pcrfs-root.service")
GENERATORS = ("systemd-debug-generator", "systemd-getty-generator", "systemd-gpt-auto-generator", "systemd-run-generator",
              "systemd-ssh-generator")
MEMORY = {"tmpfs", "ramfs", "devtmpfs", "proc", "sysfs", "cgroup2", "devpts", "mqueue", "securityfs", "pstore", "bpf",
          "tracefs", "debugfs", "configfs", "fusectl", "hugetlbfs", "binfmt_misc", "autofs", "overlay", "nsfs"}


def judge(holds, good, bad, otherwise=FAIL):
    return (PASS, good) if holds else (otherwise, bad)


class Image:
    """A built image at rest: its root as a directory, the UKI's command line and the files of its ESP."""

    def __init__(self, root, cmdline, esp):
        self.root, self.cmdline, self.esp = root, cmdline.strip("\0\n "), esp

    def path(self, name):
        return self.root / name

    def masked(self, unit):
        link = self.path(f"etc/systemd/system/{unit}")
        return link.is_symlink() and str(link.readlink()) == "/dev/null"

    def check_esp(self):
        return judge(len(self.esp) == 1 and re.fullmatch(r"EFI/BOOT/BOOT[A-Z0-9]+\.EFI", self.esp[0]),
                     "holds the UKI alone", f"holds {self.esp}")

    def check_command_line(self):
        missing = [word for word in REQUIRED if word not in self.cmdline.split()]
        opener = OPENERS.search(self.cmdline)
        return judge(not missing and not opener, "forbids credentials, shells and discovered partitions",
                     f"lacks {missing}" if missing else f"opens a way in: {opener and opener[0]}")

    def check_verity_panics(self):
        return judge(any(word in self.cmdline.split() for word in PANICS), "a corrupt block panics",
                     "nothing makes dm-verity panic on a corrupt block")

    def check_login_programs(self):
        found = [name for name in LOGINS if self.path(name).exists()]
        return judge(not found, "none is installed", f"installed: {found}")

    def check_login_units(self):
        open_ = [unit for unit in LOGIN_UNITS if not self.masked(unit)]
        return judge(not open_, "all are masked", f"not masked: {open_}")

    def check_accounts(self):
        lines = [line.split(":") for line in self.path("etc/shadow").read_text().splitlines()]
        unlocked = [line[0] for line in lines if not line[1].startswith(("!", "*"))]
        shells = [line.split(":")[0] for line in self.path("etc/passwd").read_text().splitlines()
                  if not line.endswith(("/nologin", "/false"))]
        return judge(not unlocked and not shells, "every account is locked and has no shell",
                     f"not locked: {unlocked}; with a shell: {shells}")

    def check_authorized_keys(self):
        keys = [str(p.relative_to(self.root)) for p in self.root.glob("*/**/.ssh/authorized_keys")]
        return judge(not keys, "there are none", f"found {keys}")

    def check_privileged_programs(self):
        found = [str(p.relative_to(self.root)) for p in self.root.rglob("*")
                 if not p.is_symlink() and p.is_file() and p.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)]
        return judge(not found, "no program raises its own privileges", f"setuid or setgid: {found}")

    def check_generators(self):
        open_ = [g for g in GENERATORS if not self.path(f"etc/systemd/system-generators/{g}").is_symlink()]
        return judge(not open_, "none makes units from the command line or partitions", f"not masked: {open_}")

    def check_pcr15_extenders(self):
        open_ = [unit for unit in PCR15_UNITS if not self.masked(unit)]
        return judge(not open_, "nothing but the agent extends PCR15", f"not masked: {open_}")

    def check_pinned_keys(self):
        path = self.path("etc/sealboot/agent.json")
        configuration = json.loads(path.read_text()) if path.exists() else {}
        if configuration.get("discovery"):
            return WARN, "any KMS key may release a model (discovery)"
        return judge(configuration.get("keys"), f"{len(configuration.get('keys', []))} KMS key(s) pinned", "no KMS key is pinned")

    def check_swap_and_storage(self):
        fstab = self.path("etc/fstab")
        lines = [line.split() for line in (fstab.read_text().splitlines() if fstab.exists() else [])]
        kept = [line for line in lines if len(line) > 3 and not line[0].startswith("#") and line[2] not in MEMORY
                and "ro" not in line[3].split(",")]
        return judge(not kept, "fstab names no swap and no writable storage", f"fstab: {kept}")


class Guest:
    """What the report of a running guest says of it."""

    def __init__(self, report):
        self.facts = {}
        for line in report.splitlines():
            word, _, rest = line.strip().partition(" ")
            if word == "fact":
                name, _, value = rest.partition(" ")
                self.facts[name] = base64.b64decode(value).decode(errors="replace")

    def fact(self, name):
        return self.facts.get(name, "").strip()

    def lines(self, name):
        return self.fact(name).splitlines()

    def check_listening_ports(self):
        others = []
        for line in self.lines("sockets"):
            address, _, port = line.split()[4].rpartition(":")
            local = address.startswith(("127.", "[::1]"))
            client = line.startswith("udp") and ("systemd-network" in line and port in ("68", "546") or "systemd-timesyn" in line)
            if not local and not client and port != str(INFERENCE_PORT):
                others.append(line)
        return judge(self.lines("sockets") and not others, f"nothing listens but the inference server's port {INFERENCE_PORT}",
                     f"listening: {others or 'no list'}")

    def check_consoles(self):
        return judge("unix-consoles" in self.facts and not self.fact("unix-consoles"), "no process has a console open",
                     f"open by {self.fact('unix-consoles')}")

    def check_writable_storage(self):
        kept = [line for line in self.lines("mounts")
                if line.split()[2] not in MEMORY and "ro" not in line.split()[3].split(",")]
        return judge(self.lines("mounts") and not kept, "every mount is read-only or in memory", f"writable: {kept}")

    def check_block_devices(self):
        writable = [line for line in self.lines("block-devices") if line.endswith(" 0")]
        return judge(self.lines("block-devices") and not writable, "all are read-only", f"writable: {writable}")

    def check_swap(self):
        return judge(len(self.lines("swaps")) == 1, "none", f"{self.lines('swaps')[1:]}")

    def check_verity(self):
        return judge(re.search(r"verity .*panic_on_corruption", self.fact("device-mapper")),
                     "the root is under dm-verity, which panics on corruption", self.fact("device-mapper"))

    def check_firewall(self):
        rules = self.fact("firewall")
        open_ = [hook for hook in ("input", "forward", "output")
                 if not re.search(rf"hook {hook} priority [^;]*; policy drop;", rules)]
        return judge(not open_, "drops by default in, through and out", f"no default drop: {open_}")

    def check_lockdown(self):
        return judge("[confidentiality]" in self.fact("lockdown"), "confidentiality", self.fact("lockdown"))

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
        return judge("No such file" in found or not found, "systemd took no credentials from outside", found)

    def check_login_units(self):
        found = [line.split()[0] for line in self.lines("units")
                 if re.match(r"(\S*getty\S*|ssh\S*|debug-shell|emergency|rescue|user@\S*)\.(service|socket) ", line)
                 and " masked " not in line and " active " in line]
        return judge(self.lines("units") and not found, "none is active", f"active: {found}")

    def check_pcr15_before_the_agent(self):
        try:
            banks = json.loads(self.fact("boot-report"))["pcr15"]
        except (ValueError, KeyError):
            return WARN, "no boot report says what the agent found"
        others = {bank: values["before"] for bank, values in banks.items() if values["before"].strip("0")}
        return judge(banks and not others, "the agent found it all zero", f"not zero before the agent: {others}")

    def check_failed_units(self):
        return judge(not self.fact("failed-units"), "none", self.fact("failed-units"), WARN)


def audit(subject):
    """Runs every check of an Image or a Guest: [(name, verdict, reason)]."""
    results = []
    for name in (n for n in type(subject).__dict__ if n.startswith("check_")):
        verdict, reason = getattr(subject, name)()
        results.append((name.removeprefix("check_").replace("_", " "), verdict, reason))
    return results
