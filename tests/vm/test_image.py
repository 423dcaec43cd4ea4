# SPDX-License-Identifier: Apache-2.0
"""Builds the debian image, boots it with the real agent inside against the local stack, and attacks it.

$SEALBOOT_IMAGE names an image that an earlier run built (it is made there if missing); else it is built anew.
"""

import contextlib
import copy
import hashlib
import json
import mmap
import os
import pathlib
import re
import shutil
import struct
import subprocess
import time

import pytest

import initrd
import promised
import recipe
import uki
from firmware import SYSTEMD, store, utf16, variable
from instance import (BOOT, DATE, GATE, KEEP, PROMPTS, ZEROS, Instance, assert_denied, assert_proven, assert_serves,
                      changed_esp, corrupt, injections, references)
from instance import configuration, image, key, model, overlay, released, served_model, stack  # noqa: F401 (fixtures)
from isolation import FAIL, PASS, PROMISES, audit
from machine import SOURCE, STUBS, opened_image, script, wait_until

# --- the boot

def test_boots_to_a_served_answer(image, stack, served_model, released, sealboot, tmp_path, record_property):
    model, word = served_model
    reference = references(image / "pcr_measurements.json")
    without_secure_boot = json.loads(sealboot("measure", "--json", "--secure-boot", "off",
                                              image / "sealboot.efi"))["Measurements"]
    released(image / "pcr_measurements.json")
    with Instance(tmp_path, image / "sealboot.raw", stack) as instance:
        report, guest = instance.told()
        (image / "guest-report").write_text(instance.raw())
        assert [report.pcrs["sha384"][n] for n in (2, 3, 4)] == [reference[f"PCR{n}"] for n in (2, 3, 4)]
        assert report.pcrs["sha384"][7] == without_secure_boot["PCR7"]
        assert report.pcrs["sha384"][12] == reference["PCR12"] == ZEROS
        assert_serves(instance, report, guest, model, word)
        assert_proven(instance, image, stack, model, sealboot)
        record_property("ready_seconds", int(guest.fact("agent-ready")) / 1e6)
        record_property("boot_report", guest.fact("boot-report"))
        record_property("startup", guest.fact("startup"))
    failures = [result for result in audit(guest) if result[1] == FAIL]
    assert not failures, failures


# --- what must not work

def test_appended_command_line_is_denied(image, stack, model, released, tmp_path):
    released(image / "pcr_measurements.json")
    extra = ["-smbios", "type=11,value=io.systemd.stub.kernel-cmdline-extra=systemd.log_level=debug"]
    with Instance(tmp_path, image / "sealboot.raw", stack, extra=extra) as instance:
        report, guest = instance.told()
        assert report.cmdline.endswith("systemd.log_level=debug")
        assert report.pcrs["sha384"][4] == references(image / "pcr_measurements.json")["PCR4"]
        assert report.pcrs["sha384"][12] != ZEROS
        assert_denied(stack, guest)


def test_uki_of_another_build_is_denied(image, stack, model, released, tmp_path):
    """The same kernel, initrd and root, but a command line that lets credentials and EFI variables in: then the
    credentials are there, and the kernel calls the firmware. (What would make units of credentials, or show systemd a
    variable, is not in the image, so even then nothing runs.)"""
    changed_esp(
        image, tmp_path / "other.raw", f"""
        for section in linux initrd cmdline uname; do
            objcopy --dump-section .$section=$section uki.efi rewritten.efi
        done
        command_line=$(tr -d "\\0" < cmdline | sed "s/systemd.import_credentials=no//; s/efi=noruntime//")
        ukify build --linux=linux --initrd=initrd --cmdline="$command_line" --os-release=ID=other \
            --stub={STUBS}/linuxx64.efi.stub --output=other.efi
        mcopy -o -i $esp other.efi ::/EFI/BOOT/BOOTX64.EFI""")
    released(image / "pcr_measurements.json")
    options = "systemd.hostname=systemd-options systemd.mask=sealboot-firewall.service systemd.debug_shell=ttyS0"
    variables = store(tmp_path / "variables", [variable("SystemdOptions", utf16(options), guid=SYSTEMD)])
    with Instance(tmp_path, tmp_path / "other.raw", stack, extra=injections(tmp_path), variables=variables) as instance:
        report, guest = instance.told()
        assert "efi=noruntime" not in report.cmdline and "SystemdOptions" not in guest.fact("efi-variables")
        assert guest.fact("host-name") != "systemd-options"
        assert not re.search("debug-shell|sealboot-firewall", guest.fact("run-units"))
        assert report.pcrs["sha384"][4] != references(image / "pcr_measurements.json")["PCR4"]
        assert report.pcrs["sha384"][12] == ZEROS
        # No module reads fw_cfg, so that what SMBIOS says is all there is.
        assert set(guest.fact("credentials").split()) == {
            "systemd.extra-unit.smbios.service", "systemd.unit-dropin.sysinit.target"
        }
        assert "brought by" not in instance.text()
        assert_denied(stack, guest)


def test_addon_on_the_esp_is_denied(image, stack, model, released, tmp_path):
    changed_esp(image, tmp_path / "addon.raw", f"""
        ukify build --cmdline=systemd.log_level=debug --stub={STUBS}/addonx64.efi.stub --output=evil.addon.efi
        mmd -i $esp ::/EFI/BOOT/BOOTX64.EFI.extra.d
        mcopy -i $esp evil.addon.efi ::/EFI/BOOT/BOOTX64.EFI.extra.d/""")
    released(image / "pcr_measurements.json")
    with Instance(tmp_path, tmp_path / "addon.raw", stack) as instance:
        report, guest = instance.told()
        assert "systemd.log_level=debug" in report.cmdline
        assert report.pcrs["sha384"][12] != ZEROS
        assert_denied(stack, guest)


def test_wrong_secure_boot_key_is_refused_by_the_firmware(image, stack, owner_keys, tmp_path):
    changed_esp(image, tmp_path / "stranger.raw", """
        openssl req -new -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=stranger -keyout s.key -out s.pem 2>/dev/null
        sbsign --key s.key --cert s.pem --output signed.efi uki.efi 2>/dev/null
        mcopy -o -i $esp signed.efi ::/EFI/BOOT/BOOTX64.EFI""")
    with Instance(tmp_path, tmp_path / "stranger.raw", stack, variables=owner_keys / "OVMF_VARS.fd") as instance:
        instance.wait_for("Access Denied|Security Violation", 300)
        assert "Linux version" not in instance.text() and not instance.raw()


def test_one_changed_byte_of_the_root_does_not_boot_to_service(image, stack, model, released, tmp_path):
    """In the first compressed block of systemd itself, which every boot reads."""
    disk = tmp_path / "corrupt.raw"
    changed_esp(image, disk, "")
    corrupt(disk)
    released(image / "pcr_measurements.json")
    with Instance(tmp_path, disk, stack) as instance:
        wait_until(lambda: instance.qemu.poll() is not None or "panic" in instance.text(), BOOT, "panic", instance.tail)
        assert re.search(r"verity.*corrupted|dm-verity device corrupted", instance.text()), instance.tail()
        assert not instance.raw() and not stack.control.audit(service="kms")




def test_an_initrd_that_fails_offers_no_shell(image, stack, tmp_path):
    """Without its root it says what it lacks and powers off; whoever types on its console gets nothing."""
    disk = tmp_path / "rootless.raw"
    changed_esp(image, disk, "")
    with open(disk, "r+b") as f, mmap.mmap(f.fileno(), 0) as data:
        at = data.find(b"verity\0\0" + struct.pack("<II", 1, 1))
        assert at % 4096 == 0
        data[at:at + 512] = bytes(512)
    with Instance(tmp_path, disk, stack) as instance:
        instance.wait_for("starting Boot", 300)

        def look():
            if instance.qemu.poll() is None:
                with contextlib.suppress(OSError):
                    instance.type("\r\recho typed-$((6 * 7))\r\x03\x04")
            return instance.qemu.poll() is not None
        wait_until(look, BOOT, "end of the machine", instance.tail)
        text = instance.text()
    # What is typed comes between what the machine says, so one line of its end may not be whole.
    assert re.search("no attached volume|cannot boot here|powering off", text), text[-2500:]
    assert "typed-42" not in text and not PROMPTS.search(text), text[-2500:]
    assert not instance.raw()


# --- the image at rest

SYSTEM = "etc/systemd/system/"
UNITS, SYSCTL, NETWORK = recipe.UNITS, promised.SYSCTL, promised.NETWORK
READ_ONLY = "usr/lib/udev/rules.d/99-sealboot-read-only.rules"


@pytest.fixture(scope="module")
def opened(image, overlay):
    with opened_image(image / "sealboot.raw", overlays=[overlay], keep=[KEEP]) as it:
        yield it


def test_nginx_does_what_gate_json_says(opened):
    printed = subprocess.run([os.environ["SEALBOOT_BUILD"] + "/agent/gate/sealboot-gate", "--nginx-configuration",
                              "--root", opened.root], capture_output=True, text=True, check=True).stdout
    assert printed and opened.path("etc/sealboot/nginx.conf").read_text() == printed


def unsound(image):
    return {name for name, verdict, _ in audit(image) if verdict != PASS}


def test_audit_of_the_image(opened):
    failures = [result for result in audit(opened) if result[1] != PASS]
    assert not failures, failures


def test_nothing_of_the_gpu_images_is_in_it(opened):
    """test_gpu.py shows that the same search finds each kind of file and setting in those."""
    assert not recipe.of_gpus(opened.root)
    assert not [name for name in opened.initrd if recipe.GPU_WORDS.search(name)]
    assert {"lockdown=confidentiality", "efi=noruntime"} <= set(opened.cmdline.split())
    assert not recipe.GPU_WORDS.search(opened.cmdline)


class Spoiled:
    """A copy of an image's root, of links to its files: what is written is a file of its own."""

    def __init__(self, root):
        self.root = root

    def put(self, name, text, mode=0o644):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def link(self, name, target):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    def edit(self, name, old, new):
        text = (self.root / name).read_text()
        assert re.search(old, text, re.MULTILINE), f"{old} in {name}"
        self.put(name, re.sub(old, new, text, count=1, flags=re.MULTILINE), (self.root / name).stat().st_mode)

    def drop(self, name):
        (self.root / name).unlink()

    def enable(self, unit, target="multi-user.target", template=""):
        self.link(f"{SYSTEM}{target}.wants/{unit}", f"/usr/lib/systemd/system/{template or unit}")


def dropbear(root):
    root.put("usr/sbin/dropbear", "ELF", 0o755)
    root.put("usr/lib/systemd/system/dropbear.service", "[Service]\nExecStart=/usr/sbin/dropbear -F\n")
    root.enable("dropbear.service")


def own_instance(root):
    root.put(SYSTEM + "serial-getty@ttyS0.service",
             "[Service]\nExecStart=/bin/bash\nStandardInput=tty\nTTYPath=/dev/ttyS0\n")
    root.enable("serial-getty@ttyS0.service", "getty.target", "serial-getty@.service")


def console_shell(root):
    root.put("usr/lib/systemd/system/debug.service",
             "[Service]\nExecStart=/bin/sh -c 'exec sh </dev/ttyS0 >/dev/ttyS0'\n")


def drop_in(root):
    root.put(SYSTEM + "systemd-resolved.service.d/x.conf", "[Service]\nStandardInput=\\\n tty\n")


def capability(root):
    data = (root.root / "usr/bin/kmod").read_bytes()
    root.put("usr/bin/kmod", "", 0o755)
    (root.root / "usr/bin/kmod").write_bytes(data)
    os.setxattr(root.root / "usr/bin/kmod", "security.capability",
                bytes.fromhex("0100000200040000000000000000000000000000"))


def debug_module(root):
    """Of the kernel's own package, but on no list."""
    where = next(root.root.glob("usr/lib/modules/*/kernel"))
    root.put(str((where / "fs/efivarfs/efivarfs.ko").relative_to(root.root)), "ELF")


def built_in(root):
    """A kernel that has efivarfs in itself."""
    index = next(root.root.glob("usr/lib/modules/*/modules.builtin"))
    root.put(str(index.relative_to(root.root)), index.read_text() + "kernel/fs/efivarfs/efivarfs.ko\n")


def unlinked_library(root):
    """Of a locked package, byte for byte; no program asks for it."""
    packaged = recipe.Packaged()
    name = next(name for name, what in packaged.found.items()
                if what[1] == "file" and recipe.LIBRARY.fullmatch(name) and not os.path.lexists(root.root / name))
    root.put(name, "")
    (root.root / name).write_bytes(packaged.content(name))


def remount(root):
    root.link(UNITS + "local-fs.target.wants/systemd-remount-fs.service", "../systemd-remount-fs.service")


def model_mount(root):
    root.edit(UNITS + "run-sealboot-model.mount.d/image.conf", "noswap,", "")


def dropped(name):
    return f"{name} taken back", lambda r: r.drop(name), {"settings", "files"}


def lost(name, line):
    """A line of the recipe's, taken back."""
    return f"{name} without {line}", lambda r: r.edit(name, f"^{re.escape(line)}\n", ""), {"settings", "files"}


FAULTS = [
    ("an empty password", lambda r: r.edit("etc/passwd", "^root:x:", "root::"), {"accounts"}),
    ("a password in passwd", lambda r: r.edit("etc/passwd", "^root:x:", "root:$6$x:"), {"accounts"}),
    ("a password", lambda r: r.edit("etc/shadow", "^root:[^:]*:", "root:$6$x:"), {"accounts"}),
    ("no password", lambda r: r.edit("etc/shadow", "^root:[^:]*:", "root::"), {"accounts"}),
    ("an account without a shadow", lambda r: r.edit("etc/shadow", "^sealboot:.*\n", ""), {"accounts"}),
    ("a shell of an account", lambda r: r.edit("etc/passwd", "/usr/sbin/nologin$", "/bin/sh"), {"accounts"}),
    ("no shell, so /bin/sh", lambda r: r.edit("etc/passwd", "/usr/sbin/nologin$", ""), {"accounts"}),
    ("a second root", lambda r: r.edit("etc/passwd", "^sealboot:x:[0-9]+", "sealboot:x:0"), {"accounts"}),
    ("a shell", lambda r: r.link("usr/bin/sh", "bash"), {"tools", "files"}),
    ("an interpreter", lambda r: r.put("usr/bin/python3.13", "ELF", 0o755), {"tools", "files"}),
    ("a package manager", lambda r: r.put("usr/bin/dpkg", "ELF", 0o755), {"tools", "files"}),
    ("a getty", lambda r: r.put(UNITS + "getty@.service", "[Service]\nExecStart=/x\nStandardInput=tty\n"),
     {"login units", "terminals", "files"}),
    ("a getty's instance", own_instance, {"login units", "units", "terminals", "files"}),
    ("an emergency shell", lambda r: r.put(UNITS + "emergency.service", "[Service]\nExecStart=/bin/sh\n"),
     {"login units", "files"}),
    ("a shell on the console", console_shell, {"terminals", "files"}),
    ("a drop-in with a terminal", drop_in, {"terminals", "files"}),
    ("a masked unit of the recipe", lambda r: r.link(SYSTEM + "sealboot-firewall.service", "/dev/null"),
     {"units", "files"}),
    ("a unit that is not wanted", lambda r: r.drop(UNITS + "multi-user.target.wants/sealboot-lockdown.service"),
     {"units", "settings", "files"}),
    ("another default target", lambda r: r.link(SYSTEM + "default.target", "/usr/lib/systemd/system/rescue.target"),
     {"units", "files"}),
    ("a unit of the distribution, enabled", lambda r: r.enable("systemd-poweroff.service"), {"units", "files"}),
    ("dropbear", dropbear, {"login programs", "units", "files"}),
    ("a login program", lambda r: r.put("usr/sbin/sshd", "", 0o755), {"login programs", "files"}),
    ("an authorized key", lambda r: r.put("root/.ssh/authorized_keys2", "ssh-ed25519 x"), {"authorized keys", "files"}),
    ("an authorized key elsewhere", lambda r: r.put("etc/ssh/authorized_keys.d/root", "x"),
     {"authorized keys", "files"}),
    ("a setuid program", lambda r: r.put("usr/bin/x", "", 0o4755), {"privileged programs", "files"}),
    ("a program with capabilities", capability, {"privileged programs"}),
    ("a generator", lambda r: r.put("usr/lib/systemd/system-generators/systemd-debug-generator", "", 0o755),
     {"generators", "files"}),
    ("a generator in /etc", lambda r: r.put("etc/systemd/system-generators/x", "", 0o755), {"generators", "files"}),
    ("a module that reads EFI variables", debug_module, {"modules", "files"}),
    ("PCR15", lambda r: r.put("usr/lib/systemd/systemd-pcrextend", "ELF", 0o755), {"pcr15 extenders", "files"}),
    ("no pinned key", lambda r: r.put("etc/sealboot/agent.json", "{}"), {"pinned keys"}),
    ("no configuration", lambda r: r.drop("etc/sealboot/agent.json"), {"pinned keys"}),
    ("any key", lambda r: r.put("etc/sealboot/agent.json", '{"discovery": true}'), {"pinned keys"}),
    ("fstab", lambda r: r.put("etc/fstab", "/dev/vdb /data ext4\n"), {"swap and storage", "files"}),
    ("fstab, read-only", lambda r: r.put("etc/fstab", "# x\n\t/dev/vdb /data ext4 ro 0 0\n"),
     {"swap and storage", "files"}),
    ("crypttab", lambda r: r.put("etc/crypttab", "data /dev/vdb\n"), {"swap and storage", "files"}),
    ("a mount unit", lambda r: r.put(SYSTEM + "data.mount", "[Mount]\nWhat=/dev/vdb\nWhere=/data\n"),
     {"swap and storage", "files"}),
    ("a swap unit", lambda r: r.put("usr/local/lib/systemd/system/dev-vdb.swap", "[Swap]\nWhat=/dev/vdb\n"),
     {"swap and storage", "files"}),
    ("a udev rule", lambda r: r.put("etc/udev/rules.d/x.rules", 'RUN+="/bin/sh"\n'), {"files"}),
    ("a rule that looks into disks",
     lambda r: r.put("usr/lib/udev/rules.d/60-persistent-storage.rules", 'IMPORT{builtin}="blkid"\n'), {"files"}),
    ("a timer", lambda r: r.put(SYSTEM + "x.timer", "[Timer]\nOnBootSec=1\n"), {"files"}),
    ("a preloaded library", lambda r: r.put("etc/ld.so.preload", "/x.so\n"), {"files"}),
    ("the program of a GPU image", lambda r: r.put(recipe.GPU_PROGRAM, "ELF", 0o755), {"files"}),
    ("a unit of a GPU image", lambda r: r.put(SYSTEM + "sealboot-gpu.service", "[Service]\nExecStart=/x\n"), {"files"}),
    ("the lockdown of a GPU image", lambda r: r.put(UNITS + "sealboot-lockdown.service",
                                                    (recipe.KIWI / "root-gpu" / UNITS / "sealboot-lockdown.service"
                                                     ).read_text()), {"files"}),
    ("another program of a package", lambda r: r.put("usr/bin/kmod", "#!/bin/sh\n", 0o755), {"files"}),
    ("another library of a package", lambda r: r.put("usr/lib/x86_64-linux-gnu/libc.so.6", "ELF", 0o755), {"files"}),
    ("a link in a program's place", lambda r: r.link("usr/bin/kmod", "/run/kmod"), {"files"}),
    ("an opened firewall", lambda r: r.edit("usr/lib/sealboot/firewall.nft", "policy drop", "policy accept"),
     {"settings", "files"}),
    ("a rule more in the firewall",
     lambda r: r.edit("usr/lib/sealboot/firewall.nft", "tcp dport 443 accept", "tcp dport { 22, 443 } accept"),
     {"files"}),
    ("DHCP that names the clock", lambda r: r.edit(NETWORK, "UseNTP=no", "UseNTP=yes"), {"settings", "files"}),
    ("a line again, with another value", lambda r: r.edit(NETWORK, r"\Z", "[DHCPv4]\nUseNTP=yes\n"),
     {"settings", "files"}),
    ("a drop-in of the recipe's network", lambda r: r.put(NETWORK + ".d/x.conf", "[DHCPv4]\nUseNTP=yes\n"), {"files"}),
    ("another network", lambda r: r.put("usr/lib/systemd/network/10-x.network", "[Match]\nType=ether\n"), {"files"}),
    ("no noswap", model_mount, {"settings", "files"}),
    dropped(UNITS + "sealboot-power-off.timer"),
    dropped(UNITS + "sealboot-power-off.service"),
    dropped(READ_ONLY),
    dropped(UNITS + "sealboot-agent.service.d/image.conf"),
    ("a network without a firewall",
     lambda r: r.drop(UNITS + "systemd-networkd.service.requires/sealboot-firewall.service"),
     {"units", "settings", "files"}),
    dropped(SYSCTL),
    dropped("usr/lib/systemd/timesyncd.conf.d/sealboot.conf"),
    *(lost(SYSCTL, line)
      for line in (recipe.KIWI / "root" / SYSCTL).read_text().splitlines() if line and line[0] != "#"),
    *(lost("usr/lib/sealboot/firewall.nft", f"                {line}")
      for line in ("ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept",
                   'meta skuid "systemd-network" udp dport 547 accept')),
    *(lost(NETWORK, f"{name}=no") for name in ("UseNTP", "UseHostname", "UseTimezone", "UseDomains", "LLMNR")),
    lost(UNITS + "sealboot-agent.service.d/image.conf", "OnFailure=sealboot-power-off.timer"),
    lost(UNITS + "sealboot-agent.service", "ExecStopPost=/usr/bin/sealboot-agent --clean-up"),
    ("a link to a unit that is not there", remount, {"units", "files"}),
    ("a kernel that reads EFI variables", built_in, {"modules"}),
    ("a library that nothing links", unlinked_library, {"files"}),
    ("a member of a group", lambda r: r.edit("etc/group", "^disk:.*$", r"\g<0>sealboot"), {"accounts"}),
    ("authorities of a package", lambda r: r.link("etc/ssl/certs/ca-certificates.crt", "/usr/share/x.pem"), {"files"}),
    ("a setting of the recipe, masked", lambda r: r.link("etc/sysctl.d/90-sealboot.conf", "/dev/null"), {"files"}),
]


@pytest.mark.parametrize("spoil, checks", [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_audit_sees_what_is_wrong(opened, tmp_path, spoil, checks):
    """An audit that cannot fail says nothing: each way in, opened, is found, and nothing else is."""
    root = opened.root.parent / "spoiled"
    subprocess.run(["cp", "--archive", "--link", opened.root, root], check=True)
    try:
        spoil(Spoiled(root))
        spoiled = copy.copy(opened)
        spoiled.root = root
        assert unsound(spoiled) == checks
    finally:
        shutil.rmtree(root)


@pytest.mark.parametrize("fault, check", [
    ({"cmdline": "quiet"}, "command line"),
    *(({"drop": word}, "command line") for word in sorted(PROMISES)),
    ({"sections": [".linux", ".initrd", ".cmdline", ".cmdline"]}, "uki"),
    ({"sections": [".linux", ".initrd", ".cmdline", ".profile"]}, "uki"),
    ({"sections": []}, "uki"),
    ({"partitions": ["EF00", "8304", "8200"]}, "partitions"),
    ({"overlays": ()}, "files"),
    ({"esp": ["EFI/", "EFI/BOOT/", "EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/BOOTX64.EFI.extra.d/"]}, "esp"),
    ({"verified": "Verification failed at position 4096."}, "verity"),
    ({"initrd": {}}, "initrd"),
])
def test_audit_sees_what_is_wrong_around_the_root(opened, fault, check):
    spoiled = copy.copy(opened)
    if "drop" in fault:
        fault = {"cmdline": opened.cmdline.replace(fault["drop"], "")}
    vars(spoiled).update(fault)
    assert check in unsound(spoiled)


@pytest.mark.parametrize("name, mode, content", [
    ("etc/cmdline.d/x.conf", 0o100644, b"rd.shell=1"),
    ("usr/bin/sh", 0o100755, b"#!/bin/sh"),
    ("init", 0o120777, b"bin/sh"),
    ("init", 0o100755, b"#!/bin/sh"),
    ("dev/vda", 0o060600, b""),
    ("root.verity", 0o120777, b"/run/x"),
    ("modules/99-x.ko", 0o100644, b"ELF"),
    ("usr/lib/systemd/systemd", 0o100755, b"ELF"),
    (".extra/x.cred", 0o100644, b"x"),
    ("dev/console", 0o020600, b"1:1"),
])
def test_audit_sees_what_is_wrong_in_the_initrd(opened, name, mode, content):
    spoiled = copy.copy(opened)
    spoiled.initrd = opened.initrd | {name: (mode, content)}
    assert spoiled.check_initrd()[0] == FAIL


def test_audit_sees_a_module_of_the_kernel_that_is_on_no_list(opened):
    """It is the kernel's own, byte for byte, but nothing asks for it in the initrd."""
    module = next(opened.root.rglob("virtio_net.ko"))
    spoiled = copy.copy(opened)
    spoiled.initrd = opened.initrd | {"modules/50-virtio_net.ko": (0o100644, module.read_bytes())}
    assert spoiled.check_initrd() == (FAIL, "the module virtio_net is on no list")
    spoiled.initrd = opened.initrd | {"modules/50-nvme.ko": (0o100644, module.read_bytes())}  # by another's name
    assert spoiled.check_initrd() == (FAIL, "the module nvme is not the kernel's")


@pytest.mark.parametrize("section, why", [(".linux", "kernel"), (".text", "stub"), (".uname", "kernel"),
                                          (".osrel", ".osrel")])
def test_audit_sees_another_kernel_or_stub(opened, section, why):
    """PCR4 would be what is predicted of such a UKI, and the root its root."""
    content = next(data for name, _, data in uki.parsed(opened.program)[2] if name == section)
    at = opened.program.index(content)
    spoiled = copy.copy(opened)
    spoiled.program = opened.program[:at] + bytes([content[0] ^ 1]) + opened.program[at + 1:]
    verdict, reason = spoiled.check_kernel()
    assert verdict == FAIL and why in reason and ";" not in reason


def test_audit_sees_another_entry_point(opened):
    header, = struct.unpack_from("<I", opened.program, 60)
    spoiled = copy.copy(opened)
    spoiled.program = opened.program[:header + 40] + struct.pack("<I", 0x1c000) + opened.program[header + 44:]
    assert spoiled.check_kernel() == (FAIL, "its stub is not the locked package's")


def test_audit_fails_on_a_recipe_that_lost_a_promise(opened, tmp_path):
    """Then the image and the tree agree, and the comparison of the two says nothing."""
    for name, wanted in promised.settings("debian").items():
        text = opened.path(name).read_text()
        for key in wanted:
            bare = re.escape(key.rsplit("]", 1)[-1])
            root = tmp_path / "root"
            subprocess.run(["cp", "--archive", "--link", opened.root, root], check=True)
            Spoiled(root).put(name, re.sub(rf"^-?{bare} ?=.*\n", "", text, flags=re.MULTILINE))
            spoiled = copy.copy(opened)
            spoiled.root = root
            assert spoiled.check_settings()[0] == FAIL, (name, key)
            shutil.rmtree(root)


@pytest.mark.parametrize("old, new", [(b" 1 panic_on_corruption", b""),
                                      (b"panic_on_corruption", b"restart_on_corruption"), (b" sha256 ", b" sha1 "),
                                      (b"1 @ @", b"1 8:1 8:1")])
def test_audit_sees_another_table_of_the_root(opened, old, new):
    mode, table = opened.initrd["root.verity"]
    assert old in table
    with pytest.raises(ValueError, match=r"root\.verity"):
        initrd.root_hash(opened.initrd | {"root.verity": (mode, table.replace(old, new))})


def test_audit_sees_a_changed_byte_of_the_root(image, tmp_path):
    """Though it is in no file that anybody compares: the root is not the one whose hash the initrd has."""
    disk = tmp_path / "changed.raw"
    root = script(f"""cp --sparse=always {image}/sealboot.raw {disk}
        sgdisk --info=2 {disk} | awk '/First sector/ {{ print $3 }}'""", binds=["--bind", str(image)])
    with open(disk, "r+b") as f:
        f.seek(int(root) * 512)  # erofs keeps nothing in its first kilobyte
        f.write(b"x")
    with opened_image(disk) as spoiled:
        assert spoiled.check_verity()[0] == FAIL


@pytest.mark.parametrize("hide", ["", "mattrib -i $esp +h +s ::/EFI/BOOT/BOOTX64.EFI.extra.d/evil.addon.efi",
                                  "mattrib -i $esp +h ::/EFI/BOOT/BOOTX64.EFI.extra.d"])
def test_audit_sees_a_hidden_addon(image, tmp_path, hide):
    """The firmware and the stub do not mind the attribute."""
    disk = tmp_path / "hidden.raw"
    changed_esp(image, disk, f"""
        mmd -i $esp ::/EFI/BOOT/BOOTX64.EFI.extra.d
        echo addon > addon; mcopy -i $esp addon ::/EFI/BOOT/BOOTX64.EFI.extra.d/evil.addon.efi
        {hide}""")
    with opened_image(disk) as spoiled:
        assert "EFI/BOOT/BOOTX64.EFI.extra.d/evil.addon.efi" in spoiled.esp
        assert spoiled.check_esp()[0] == FAIL
    disk.unlink()


def test_differs_from_the_shipped_image_in_the_report_alone(opened, overlay, image):
    """The built root, but for the report and what it calls, is the shipped one: each file is of a package that
    debian.lock pins and on a list of what to keep, of the recipe, or of what a build makes."""
    report = set(recipe.under(overlay))
    foreign = {reason.split()[0] for reason in recipe.foreign(opened.root, packaged=opened.packaged)}
    assert foreign == report | {name for name in recipe.words(KEEP)}
    assert not report & set(recipe.files())
    assert (image / "packages").read_text().split() == sorted(recipe.used(opened.root, opened.packaged))


def test_lists_what_is_in_the_image(opened, image):
    """The list beside the image names every file of the root, with its digest."""
    listed = {}
    for line in (image / "files").read_text().splitlines():
        kind, value, name = line.split(" ", 2)
        listed[name] = (kind, value)
    for path in opened.root.rglob("*"):
        name = str(path.relative_to(opened.root))
        if path.is_symlink():
            assert listed.pop(name) == ("link", os.readlink(path))
        elif path.is_file():
            assert listed.pop(name) == (f"{path.stat().st_mode & 0o7777:04o}",
                                        hashlib.sha256(path.read_bytes()).hexdigest())
    assert not listed


def test_is_small(opened, image, overlay):
    """What nobody needs is not there to be used by somebody else: before, 202 packages, 481 programs and an initrd of
    30 MB."""
    programs = [n for n in opened.programs() if not opened.path(n).is_symlink() and n.split("/")[1] in ("bin", "sbin")]
    assert len((image / "packages").read_text().split()) <= 80
    assert len(programs) <= 14, programs
    assert (image / "sealboot.efi").stat().st_size < 16 << 20


@pytest.mark.skipif(not os.environ.get("SEALBOOT_REBUILD"), reason="SEALBOOT_REBUILD=1 builds a second time")
def test_a_second_build_is_byte_identical(image, configuration, overlay, tmp_path):
    """On another machine, as user-mode Linux is one: its own kernel, host name, file system and directory, its clock an
    hour ahead, and a disk stage of its own."""
    volume, contents = tmp_path / "volume", tmp_path / "contents"
    contents.mkdir()
    (contents / "agent.json").write_text(json.dumps(configuration))
    (contents / "gate.json").write_text(json.dumps(GATE))
    shutil.copytree(overlay, contents / "overlay", symlinks=True)
    subprocess.run([
        SOURCE / "kiwi/chroot", "--bind", tmp_path, "forky", SOURCE / "kiwi/packages", "mkfs.ext4", "-q", "-d",
        contents, volume, "24G"
    ], check=True)
    # Chroots of its own: the one that is the other machine's root cannot appear inside itself.
    cache = pathlib.Path(os.environ.get("SEALBOOT_CACHE", "/var/cache/sealboot"), "another")
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir()
    chroots = [subprocess.check_output([SOURCE / "kiwi/chroot", suite, SOURCE / "kiwi" / packages], text=True).strip()
               for suite, packages in (("forky", "packages"), ("trixie", "agent-packages"))]
    subprocess.run(["cp", "--archive", "--link", *chroots, cache.parent / "packages", cache], check=True)
    there = f"""
        mount --bind /host /host # so that namespaces can be made inside
        for directory in proc sys dev; do mount --rbind /$directory /host/$directory; done
        for directory in run tmp; do mount -t tmpfs tmpfs /host/$directory; done
        mount --bind /mnt /host/mnt
        echo "clock $(date +%s) $(hostname) $(uname -r)"
        cd /; chroot /host env PATH=$PATH SEALBOOT_CACHE={cache} {SOURCE}/kiwi/build --config /mnt/agent.json \
            --gate /mnt/gate.json --overlay /mnt/overlay --keep {KEEP} --output /mnt/somewhere/else --date {DATE}
        cat /mnt/somewhere/else/SHA256SUMS"""
    began = time.time()
    done = subprocess.run([SOURCE / "kiwi/uml", "--clock", "3600", "--hostname", "another", "--bind", "/:/host", volume,
                           "bash", "-euc", there], capture_output=True, text=True, check=False)
    volume.unlink()
    shutil.rmtree(cache)
    assert done.returncode == 0, done.stdout + done.stderr
    clock, host, kernel = re.search(r"^clock (\d+) (\S+) (\S+)", done.stdout, re.MULTILINE).groups()
    assert int(clock) >= began + 3600 and host == "another" and kernel != os.uname().release
    sums = [line for line in done.stdout.replace("\r", "").splitlines() if re.match(r"[0-9a-f]{64}  ", line)]
    assert sums == (image / "SHA256SUMS").read_text().splitlines()
    assert {line.split()[1]
            for line in sums} == {"sealboot.raw", "sealboot.efi", "pcr_measurements.json", "packages", "files"}
