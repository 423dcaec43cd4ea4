# SPDX-License-Identifier: Apache-2.0
"""The audit of a running guest fails on each thing that is wrong, and on nothing else. What it fails on in an image at
rest, test_image.py shows on a real one."""

import base64
import hashlib
import json
import pathlib
import re
import subprocess
import sys

import pytest

import initrd
import recipe
from isolation import FAIL, PASS, SETTINGS, WARN, Guest, Image, audit

AUDIT = pathlib.Path(__file__).with_name("audit")
USERS = {"systemd-network": "998", "systemd-resolve": "990", "sealboot": "989"}
RULES = (recipe.KIWI / "root/usr/lib/sealboot/firewall.nft").read_text().replace("flush ruleset",
                                                                                 "").replace("iif lo", 'iif "lo"')
RULES = re.sub(r'skuid "([\w-]+)"', lambda m: f"skuid {USERS[m[1]]}", RULES)


def socket(protocol, local, state="0A", user=0):
    return f"{protocol} 0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {user} " \
        "0 1 1 0000000000000000"


SOUND = {
    "accounts": "root:x:0:0:Super User:/:/usr/sbin/nologin\nsealboot:x:989:989::/:/usr/sbin/nologin\n"
    "systemd-network:x:998:998::/:/usr/sbin/nologin\nsystemd-resolve:x:990:990::/:/usr/sbin/nologin",
    "sockets": "\n".join([
        socket("tcp6", "0" * 32 + ":01BB"),
        socket("udp", "3500007F:0035", "07", 990),
        socket("udp", "0F02FEA9:0044", "07", 998),
        socket("raw6", "0" * 32 + ":003A", "07", 998)
    ]),
    "unix-consoles": "",
    "mounts": "/dev/dm-0 / erofs ro,nosuid,nodev,relatime 0 0\ntmpfs /var tmpfs rw,nosuid 0 0\n"
    "tmpfs /run/sealboot/model tmpfs rw,nosuid 0 0",
    "efi-variables": "",
    "kernel-command-line": recipe.command_line(),
    "modules": "erofs 147456 1 - Live 0x0\ndm_verity 49152 1 - Live 0x0",
    "devices": "dm-0\nnull\nvda\nvda1",
    "hibernation": "[disabled]",
    "sysctl": "\n".join(f"{name} {value}" for name, value in SETTINGS.items()),
    "swaps": "Filename Type Size Used Priority",
    "block-devices": "dm-0 1\nvda 1\nvda1 1\nvda2 1",
    "device-mapper": "verityroot: 0 900000 verity 1 254:2 254:2 4096 4096 112500 112501 sha256 aa bb 1 "
    "panic_on_corruption",
    "firewall": RULES,
    "lockdown": "none integrity [confidentiality]",
    "modules-disabled": "1",
    "core-pattern": "|/bin/false",
    "suid-dumpable": "0",
    "core-limit": "0",
    "kexec-disabled": "1",
    "credentials": "ls: /run/credentials/@system: No such file or directory",
    "units": "sealboot-agent.service loaded active exited Unseal\n"
    "sealboot-firewall.service loaded active exited Firewall\n"
    "sealboot-lockdown.service loaded active exited Lock\nsealboot-nginx.service loaded active running TLS\n"
    "emergency.service not-found inactive dead emergency.service",
    "boot-report": json.dumps({"pcr15": {"sha384": {"before": "00" * 48, "after": "ab" * 48}}}),
    "failed-units": "",
}


def report(facts):
    lines = [f"fact {name} {base64.b64encode(value.encode()).decode()}\n" for name, value in facts.items()]
    return "".join(["report-begin\n", *lines, "report-end\n"])


GPU_SOUND = {
    **SOUND, "kernel-command-line": recipe.command_line("debian-gpu"), "secure-boot": "0",
    "units": SOUND["units"] + "\nsealboot-gpu.service loaded active exited Drivers\n"
    "nvidia-persistenced.service loaded inactive dead GPUs",
    "order": "sealboot-gpu.service 3000000\nsealboot-lockdown.service 3100000\nsystemd-networkd.service 3200000",
}


def unsound(guest):
    return {(name, verdict) for name, verdict, _ in audit(guest) if verdict != PASS}


def test_a_sound_guest_passes():
    assert not unsound(Guest(report(SOUND)))


def changed(fact, *pairs):
    text = SOUND[fact]
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    return fact, text


def more(fact, text):
    return fact, f"{SOUND[fact]}\n{text}"


@pytest.mark.parametrize("change, check, verdict", [
    (more("sockets", socket("tcp", "00000000:0016")), "listening ports", FAIL),
    (more("sockets", socket("udp", "00000000:14EB", "07")), "listening ports", FAIL),
    (more("sockets", socket("udp6", "0" * 32 + ":01BB", "07")), "listening ports", FAIL),
    (more("sockets", socket("udp", "00000000:0044", "07", 0)), "listening ports", FAIL),
    (more("sockets", socket("raw", "00000000:0001", "07", 0)), "listening ports", FAIL),
    (("sockets", ""), "listening ports", FAIL),
    (("sockets", "sh: sed: not found"), "listening ports", FAIL),
    (("unix-consoles", "/proc/7/fd/0 agetty"), "consoles", FAIL),
    (more("mounts", "/dev/vda1 /boot/efi vfat rw 0 0"), "storage", FAIL),
    (more("mounts", "/dev/vdb /data ext4 ro 0 0"), "storage", FAIL),
    (("block-devices", "vda 0\nvda1 1"), "block devices", FAIL),
    (("block-devices", "vda cat: /sys/class/block/vda/ro: No such file or directory"), "block devices", FAIL),
    (more("swaps", "/dev/vdb partition 1 0 -2"), "swap", FAIL),
    (("swaps", ""), "swap", FAIL),
    (changed("device-mapper", ("1 panic_on_corruption", "")), "verity", FAIL),
    (changed("device-mapper", ("1 panic_on_corruption", "2 panic_on_corruption ignore_zero_blocks")), "verity", FAIL),
    (changed("device-mapper", ("1 panic_on_corruption", "1 ignore_corruption")), "verity", FAIL),
    (changed("device-mapper", ("verityroot:", "another:")), "verity", FAIL),
    (changed("device-mapper", ("verity 1", "linear 1")), "verity", FAIL),
    (("device-mapper", ""), "verity", FAIL),
    (changed("mounts", ("/dev/dm-0 /", "/dev/vda2 /")), "verity", FAIL),
    (more("device-mapper", "data: 0 8 linear 254:16 0"), "verity", FAIL),
    (("efi-variables", "SystemdOptions-8cf2644b-4b0b-428f-9387-6d876050dc67"), "efi variables", FAIL),
    (more("modules", "efivarfs 24576 1 - Live 0x0"), "efi variables", FAIL),
    (changed("kernel-command-line", ("efi=noruntime", "")), "efi variables", FAIL),
    (more("devices", "ng0n1"), "command devices", FAIL),
    (more("devices", "nvme0"), "command devices", FAIL),
    (("devices", ""), "command devices", FAIL),
    (("hibernation", "[platform] shutdown reboot suspend test_resume"), "hibernation", FAIL),
    *((changed("sysctl", (f"{name} {value}", f"{name} 7")), "kernel settings", FAIL)
      for name, value in SETTINGS.items()),
    (("sysctl", ""), "kernel settings", FAIL),
    (more("mounts", "tmpfs / tmpfs rw 0 0"), "verity", FAIL),
    (changed(
        "firewall",
        ("hook output priority filter; policy drop", "hook output priority filter; policy accept")), "firewall", FAIL),
    (changed("firewall", ("iif \"lo\" accept", "iif \"lo\" accept\naccept")), "firewall", FAIL),
    (changed("firewall", ("tcp dport 443 accept", "tcp dport { 22, 443 } accept")), "firewall", FAIL),
    (changed("firewall", ("skuid 989 tcp dport 443", "skuid 0 tcp dport 443")), "firewall", FAIL),
    (changed("firewall", ("meta skuid 989 tcp dport 443", "tcp dport 443")), "firewall", FAIL),
    (changed("firewall", ("skuid 989 ip", "skuid 65000 ip"), ("skuid 989 tcp", "skuid 65000 tcp")), "firewall", FAIL),
    (more("firewall",
          "table ip x {\n chain x {\n type filter hook input priority -1; policy accept;\n }\n}"), "firewall", FAIL),
    (("firewall", ""), "firewall", FAIL),
    (("lockdown", "none [integrity] confidentiality"), "lockdown", FAIL),
    (("modules-disabled", "0"), "modules", FAIL),
    (("core-pattern", "|/usr/lib/systemd/systemd-coredump"), "core dumps", FAIL),
    (("suid-dumpable", "2"), "core dumps", FAIL),
    (("core-limit", "infinity"), "core dumps", FAIL),
    (("kexec-disabled", "0"), "kexec", FAIL),
    (("credentials", "systemd.extra-unit.x.service"), "credentials", FAIL),
    (more("credentials", "No such file"), "credentials", FAIL),
    (more("units", "x.service loaded active running X"), "units", FAIL),
    (more("units", "x.socket loaded active listening X"), "units", FAIL),
    (more("units", "data.mount loaded active mounted /data"), "units", FAIL),
    (more("units", "x.service loaded activating auto-restart X"), "units", FAIL),
    (changed("units",
             ("sealboot-lockdown.service loaded active exited", "sealboot-lockdown.service loaded failed failed")),
     "units", FAIL),
    (more("units", "getty@tty1.service loaded inactive dead Getty"), "login units", FAIL),
    (more("units", "debug-shell.service loaded failed failed Early root shell"), "login units", FAIL),
    (("boot-report", json.dumps({"pcr15": {"sha384": {"before": "01" * 48}}})), "pcr15 before the agent", FAIL),
    (("boot-report", json.dumps({"pcr15": {"sha384": {"before": ""}}})), "pcr15 before the agent", FAIL),
    (("boot-report", json.dumps({"outcome": "failed"})), "pcr15 before the agent", FAIL),
    (("boot-report", "cat: /run/sealboot/report.json: No such file or directory"), "pcr15 before the agent", FAIL),
    (("failed-units", "x.service loaded failed failed X"), "failed units", WARN),
])
def test_each_fault_is_found_and_no_other(change, check, verdict):
    fact, value = change
    assert unsound(Guest(report({**SOUND, fact: value}))) == {(check, verdict)}


def test_a_sound_gpu_guest_passes_as_one_alone():
    assert not unsound(Guest(report(GPU_SOUND), "debian-gpu"))
    assert unsound(Guest(report(GPU_SOUND))) == {("units", FAIL), ("order", FAIL)}


@pytest.mark.parametrize("change, check", [
    ({"lockdown": "none [integrity] confidentiality"}, "lockdown"),
    ({"modules-disabled": "0"}, "modules"),
    ({"order": GPU_SOUND["order"].replace("3200000", "3050000")}, "order"),
    ({"order": GPU_SOUND["order"].replace("3000000", "0")}, "order"),
    ({"order": GPU_SOUND["order"].replace("3000000", "3150000")}, "order"),
    ({"order": GPU_SOUND["order"].replace("sealboot-lockdown", "another")}, "order"),
    ({"units": GPU_SOUND["units"].replace("sealboot-gpu.service loaded active exited",
                                          "sealboot-gpu.service loaded failed failed")}, "units"),
    ({"kernel-command-line": recipe.command_line("debian-gpu", signed=True)}, "efi variables"),
])
def test_each_fault_of_a_gpu_guest_is_found_and_no_other(change, check):
    assert unsound(Guest(report({**GPU_SOUND, **change}), "debian-gpu")) == {(check, FAIL)}


def test_a_gpu_guest_reads_db_with_secure_boot_on():
    """Then its modules are signed, and no operator can set an EFI variable that the kernel acts on."""
    signed = {"kernel-command-line": recipe.command_line("debian-gpu", signed=True), "secure-boot": "1"}
    assert not unsound(Guest(report({**GPU_SOUND, **signed}), "debian-gpu"))
    assert unsound(Guest(report({**SOUND, **signed}))) == {("efi variables", FAIL), ("order", FAIL)}


@pytest.mark.parametrize("state",
                         ["loaded active running", "loaded activating auto-restart", "loaded deactivating stop"])
def test_a_login_unit_in_any_state_is_found(state):
    line = f"serial-getty@ttyS0.service {state} Serial Getty"
    assert unsound(Guest(report(dict([more("units", line)]) | {k: v for k, v in SOUND.items() if k != "units"}))) == \
        {("login units", FAIL), ("units", FAIL)}


@pytest.mark.parametrize("fact", SOUND)
def test_a_missing_fact_fails(fact):
    found = audit(Guest(report({name: value for name, value in SOUND.items() if name != fact})))
    assert {verdict for _, verdict, reason in found if f"says nothing of {fact}" in reason} == {FAIL}


@pytest.mark.parametrize("text", [
    report(SOUND).replace("report-end\n", ""),
    report(SOUND).replace("report-begin\n", ""),
    report(SOUND) + report({"swaps": "x"}),
    report(SOUND).replace("report-end", "fact swaps \nreport-end"),
    report(SOUND).replace("report-end", "fact more !\nreport-end"),
])
def test_a_report_that_is_not_whole_fails(text):
    assert ("report", FAIL) in unsound(Guest(text))


def test_an_empty_report_passes_nothing():
    assert {verdict for _, verdict, _ in audit(Guest(""))} == {FAIL}


def cpio(*files):
    """An archive of (name, inode, links, content), as the kernel reads it."""
    def entry(name, inode, links, content, mode=0o100644):
        fields = (inode, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + "".join(f"{field:08X}" for field in fields).encode() + name.encode() + b"\0"
        return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)
    return b"".join(entry(*file) for file in files) + entry("TRAILER!!!", 0, 1, b"")


def test_every_archive_of_an_initrd_is_read():
    first, second = cpio(("a", 1, 1, b"aaaaa"), ("b", 2, 2, b""), ("c", 2, 2, b"data")), cpio(("d", 1, 1, b"d"))
    assert {name: content for name, (_, content) in initrd.entries(first + bytes(512) + second + bytes(3)).items()} == \
        {"a": b"aaaaa", "b": b"data", "c": b"data", "d": b"d"}


@pytest.mark.parametrize(
    "data", [
        cpio(("a", 1, 1, b"x")) + cpio(("a", 1, 1, b"evil")),
        cpio(("a", 1, 1, b"x")) + b"\x28\xb5\x2f\xfd",
        b"\x1f\x8b" + bytes(100),
        cpio(("a", 1, 2, b"x")) + cpio(("a", 1, 2, b"evil")),
        cpio(("a", 1, 1, b"x"), ("a", 2, 2, b"evil")),
        cpio(("a", 1, 1, b"x"))[:60],
        cpio(("b/a", 1, 1, b"x"), ("./b//a", 2, 1, b"evil")),
        cpio(("../a", 1, 1, b"x")),
        cpio(("a", 1, 1, b"xxxxxxxx"))[:118],
    ], ids=[
        "a file twice", "a compressed one behind it", "gzip", "a hard link twice", "a hard link again", "cut",
        "by another name", "outside", "cut in a file"
    ])
def test_an_initrd_that_hides_something_is_refused(data):
    with pytest.raises(ValueError):
        initrd.entries(data)


def command_line(words, profile="debian", root=pathlib.Path("/nowhere")):
    return Image(root, words, [], {}, "", [], [], profile).check_command_line()[0]


def test_the_recipes_command_line_passes():
    assert command_line(recipe.command_line() + "\0") == PASS


RELEASE = "6.12.117+deb13-cloud-amd64"


def driver(root, **modules):
    """A root with these modules of a driver: {name: bytes}."""
    folder = root / "usr/lib/modules" / RELEASE / "updates"
    folder.mkdir(parents=True)
    for name, data in modules.items():
        (folder / f"{name.replace('_', '-')}.ko").write_bytes(data)
    return root


def signed(module, signature=b"s" * 300):
    tail = bytes([0, 0, 2, 0, 0, 0, 0, 0]) + len(signature).to_bytes(4, "big")
    return module + signature + tail + recipe.SIGNATURE


def test_lockdown_is_raised_late_in_a_gpu_image_alone(tmp_path):
    plain, late, reads_db = (recipe.command_line(*of) for of in (["debian"], ["debian-gpu"], ["debian-gpu", True]))
    assert set(plain.split()) - set(late.split()) == {"lockdown=confidentiality"}
    assert set(late.split()) - set(reads_db.split()) == {"efi=noruntime"}
    bare, vouched = driver(tmp_path / "bare", nvidia=b"m"), driver(tmp_path / "vouched", nvidia=signed(b"m"))
    half = driver(tmp_path / "half", nvidia=signed(b"m"), nvidia_uvm=b"m")
    for profile in ("debian-gpu", "al2023-gpu"):
        assert command_line(reads_db, profile, half) == FAIL
        assert Image(half, "", [], {}, "", [], [], profile).check_driver()[0] == FAIL
        assert command_line(late, profile, bare) == PASS and command_line(reads_db, profile, vouched) == PASS
        assert command_line(reads_db, profile, bare) == FAIL and command_line(late, profile, vouched) == FAIL
        assert command_line(plain, profile, bare) == FAIL
    assert command_line(late) == FAIL and command_line(reads_db, "debian", vouched) == FAIL


def test_a_signature_is_read_off_a_module():
    assert recipe.unsigned(b"module") == b"module"
    assert recipe.unsigned(signed(b"module")) == b"module"
    assert recipe.unsigned(signed(signed(b"module"))) == signed(b"module")


@pytest.mark.parametrize("modules, verdict", [
    ({"nvidia": b"a", "nvidia_uvm": b"b"}, PASS),
    ({"nvidia": signed(b"a"), "nvidia_uvm": signed(b"b")}, PASS),
    ({"nvidia": signed(b"a"), "nvidia_uvm": b"b"}, FAIL),
    ({"nvidia": b"a"}, FAIL),
    ({}, FAIL),
    ({"nvidia": b"b", "nvidia_uvm": b"a"}, FAIL),
    ({"nvidia": signed(b"other"), "nvidia_uvm": signed(b"b")}, FAIL),
    ({"nvidia": b"a", "nvidia_uvm": b"b", "more": b"m"}, FAIL),
])
def test_the_driver_must_be_the_one_that_this_tree_compiles(modules, verdict, tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "KIWI", tmp_path)
    (tmp_path / "gpu").mkdir()
    lines = [f"{hashlib.sha256(data).hexdigest()} {name}.ko {RELEASE}\n"
             for name, data in (("nvidia", b"a"), ("nvidia-uvm", b"b"))]
    (tmp_path / "gpu/debian.modules").write_text("# comment\n" + "".join(lines))
    root = driver(tmp_path / "root", **modules)
    assert Image(root, "", [], {}, "", [], [], "debian-gpu").check_driver()[0] == verdict
    assert Image(root, "", [], {}, "", [], [], "debian").check_driver()[0] == (FAIL if modules else PASS)


@pytest.mark.parametrize("words", [
    "systemd.import_credentials=yes",
    "systemd.import_credentials=no",
    "rd.shell=1",
    "rd.shell",
    "lockdown=none",
    "rdinit=/bin/sh",
    "init=/bin/sh",
    "systemd.debug-shell",
    "systemd.debug_shell=ttyS0",
    "rd.systemd.debug-shell",
    "rd.systemd.debug_shell",
    "systemd.crash_shell=1",
    "rd.cmdline=ask",
    "rd.root.overlay.write=/dev/vdb1",
    "rd.kiwi.verity_options=ignore-corruption",
    "rd.emergency=ignore",
    "rd.emergency=reboot-or-shell",
    "emergency",
    "single",
    "1",
    "-b",
    "rd.break=pre-mount",
    "systemd.unit=x.target",
    "systemd.run=/bin/sh",
    "systemd.mask=sealboot-firewall.service",
    "root=/dev/vdb1",
    "--",
    "quiet",
])
def test_a_word_more_on_the_command_line_fails(words):
    assert command_line(f"{recipe.command_line()} {words}") == FAIL
    assert command_line(f"{words} {recipe.command_line()}") == FAIL


@pytest.mark.parametrize("word", [word for word in recipe.command_line().split() if word not in (
    "quiet", "console=ttyS0,115200n8", "systemd.show_status=no")])
def test_a_word_less_on_the_command_line_fails(word):
    assert command_line(recipe.command_line().replace(word, "")) == FAIL


def test_the_command_says_each_item_with_its_reason_and_fails(tmp_path):
    def run(facts):
        (tmp_path / "report").write_text(report(facts))
        return subprocess.run([sys.executable, AUDIT, "--guest", tmp_path / "report"], capture_output=True, text=True,
                              check=False)
    done = run(SOUND)
    assert done.returncode == 0 and "  PASS  lockdown: confidentiality" in done.stdout
    done = run({**SOUND, "modules-disabled": "0"})
    assert done.returncode == 1 and "  FAIL  modules: modules can be loaded" in done.stdout
    done = run({**SOUND, "failed-units": "x.service"})
    assert done.returncode == 0 and "  WARN  failed units: x.service" in done.stdout
