# SPDX-License-Identifier: Apache-2.0
"""The audit of a running guest fails on each thing that is wrong, and on nothing else. What it fails on in an image at rest,
test_image.py shows on a real one."""

import base64
import json
import pathlib
import subprocess
import sys

import pytest

from isolation import FAIL, OPENERS, PASS, WARN, Guest, audit

AUDIT = pathlib.Path(__file__).with_name("audit")
SOUND = {
    "sockets": 'tcp LISTEN 0 4096 *:8080 *:* users:(("systemd",pid=1,fd=40))\n'
               'udp UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:* users:(("systemd-resolve",pid=300,fd=14))\n'
               'udp UNCONN 0 0 10.0.0.15%ens3:68 0.0.0.0:* users:(("systemd-network",pid=301,fd=20))',
    "unix-consoles": "",
    "mounts": "overlay / overlay rw,relatime 0 0\n/dev/mapper/verityroot /run/overlay/rootfsbase erofs ro 0 0\n"
              "tmpfs /run/sealboot/model tmpfs rw,nosuid 0 0",
    "swaps": "Filename Type Size Used Priority",
    "block-devices": "dm-0 1\nvda 1\nvda1 1\nvda2 1",
    "device-mapper": "verityroot: 0 900000 verity 1 254:2 254:2 4096 4096 112500 112501 sha256 aa bb 1 panic_on_corruption",
    "firewall": "".join(f"chain {hook} {{ type filter hook {hook} priority filter; policy drop; }}\n"
                        for hook in ("input", "forward", "output")),
    "lockdown": "none integrity [confidentiality]",
    "modules-disabled": "1",
    "core-pattern": "|/bin/false",
    "suid-dumpable": "0",
    "core-limit": "0",
    "kexec-disabled": "1",
    "credentials": "ls: cannot access '/run/credentials/@system': No such file or directory",
    "units": "sealboot-agent.service loaded active exited Unseal\ngetty@tty1.service masked inactive dead getty@tty1.service",
    "boot-report": json.dumps({"pcr15": {"sha384": {"before": "00" * 48, "after": "ab" * 48}}}),
    "failed-units": "",
}


def report(facts):
    return "".join(f"fact {name} {base64.b64encode(value.encode()).decode()}\n" for name, value in facts.items())


def test_a_sound_guest_passes():
    assert {verdict for _, verdict, _ in audit(Guest(report(SOUND)))} == {PASS}


@pytest.mark.parametrize("fact, value, check, verdict", [
    ("sockets", SOUND["sockets"] + '\ntcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=9,fd=3))', "listening ports", FAIL),
    ("sockets", SOUND["sockets"] + '\nudp UNCONN 0 0 0.0.0.0:5355 0.0.0.0:* users:(("x",pid=9,fd=3))', "listening ports", FAIL),
    ("sockets", "", "listening ports", FAIL),
    ("unix-consoles", "/proc/7/fd/0 agetty", "consoles", FAIL),
    ("mounts", SOUND["mounts"] + "\n/dev/vda1 /boot/efi vfat rw 0 0", "writable storage", FAIL),
    ("mounts", "", "writable storage", FAIL),
    ("block-devices", "vda 0\nvda1 1", "block devices", FAIL),
    ("swaps", SOUND["swaps"] + "\n/dev/vdb partition 1 0 -2", "swap", FAIL),
    ("device-mapper", SOUND["device-mapper"].replace("panic_on_corruption", ""), "verity", FAIL),
    ("device-mapper", "", "verity", FAIL),
    ("firewall", SOUND["firewall"].replace("hook output priority filter; policy drop", "hook output priority filter; policy accept"),
     "firewall", FAIL),
    ("firewall", "", "firewall", FAIL),
    ("lockdown", "none [integrity] confidentiality", "lockdown", FAIL),
    ("modules-disabled", "0", "modules", FAIL),
    ("core-pattern", "|/usr/lib/systemd/systemd-coredump", "core dumps", FAIL),
    ("suid-dumpable", "2", "core dumps", FAIL),
    ("core-limit", "infinity", "core dumps", FAIL),
    ("kexec-disabled", "0", "kexec", FAIL),
    ("credentials", "systemd.extra-unit.x.service", "credentials", FAIL),
    ("units", SOUND["units"] + "\nserial-getty@ttyS0.service loaded active running Serial Getty", "login units", FAIL),
    ("units", SOUND["units"] + "\ndebug-shell.service loaded active running Early root shell", "login units", FAIL),
    ("boot-report", json.dumps({"pcr15": {"sha384": {"before": "01" * 48}}}), "pcr15 before the agent", FAIL),
    ("boot-report", json.dumps({"outcome": "failed"}), "pcr15 before the agent", WARN),
    ("failed-units", "x.service loaded failed failed X", "failed units", WARN),
])
def test_each_fault_is_found_and_no_other(fact, value, check, verdict):
    results = audit(Guest(report({**SOUND, fact: value})))
    assert {(name, v) for name, v, _ in results if v != PASS} == {(check, verdict)}


@pytest.mark.parametrize("words, opens", [
    ("quiet rd.shell=0 rd.emergency=reboot panic=10 root=overlay:MAPPER=verityroot", False),
    ("rd.emergency=poweroff", False), ("rd.emergency=halt", False),
    ("rd.emergency=ignore", True), ("rd.emergency=reboot-or-shell", True), ("rd.emergency", True), ("emergency", True),
    ("rd.break", True), ("rd.break=pre-mount", True), ("init=/bin/sh", True), ("systemd.unit=x.target", True), ("single", True),
    ("systemd.debug_shell=ttyS0", True), ("rd.systemd.debug_shell", True), ("1", True), ("systemd.run=/bin/sh", True),
])
def test_words_that_open_a_way_in(words, opens):
    assert bool(OPENERS.search("quiet " + words + " splash")) == opens


def test_the_command_says_each_item_with_its_reason_and_fails(tmp_path):
    def run(facts):
        (tmp_path / "report").write_text(report(facts))
        return subprocess.run([sys.executable, AUDIT, "--guest", tmp_path / "report"], capture_output=True, text=True, check=False)
    done = run(SOUND)
    assert done.returncode == 0 and "  PASS  lockdown: confidentiality" in done.stdout
    done = run({**SOUND, "modules-disabled": "0"})
    assert done.returncode == 1 and "  FAIL  modules: modules can be loaded" in done.stdout
    done = run({**SOUND, "failed-units": "x.service"})
    assert done.returncode == 0 and "  WARN  failed units: x.service" in done.stdout
