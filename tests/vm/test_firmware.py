# SPDX-License-Identifier: Apache-2.0
"""What an operator can put into firmware variables, onto the ESP and into the machine, and which PCR tells of it.

Each row boots the tiny UKI, whose firmware, stub and kernel are the image's, and asks the policy that `sealboot policy`
writes for the reference measurements. What no bound PCR tells of, test_outside.py tries on the whole image."""

import json
import struct
import sys
from dataclasses import dataclass

import pytest

from firmware import (DATABASE, KEPT, SEPARATOR, SWITCH, load_option, numbers, option_rom, program, signature_list,
                      store, unread_variables, utf16, variable)
from machine import SOURCE, STUBS, VARIABLES, Disk, Machine, script
from prediction import lists, predicted

sys.path.insert(0, str(SOURCE / "tests"))
from stack import identity, policy  # noqa: E402

BOUND = (2, 4, 7, 12)
OWNER, ADMIN = "arn:aws:iam::111122223333:user/sealer", "arn:aws:iam::111122223333:user/administrator"
INSTANCE = identity.role_session("444455556666", "instance", "i-0123456789abcdef0")


class Operator:
    """What an operator prepares for one boot: variables, files on the ESP, options of the machine."""

    def __init__(self, directory, tiny, keys=None):
        self.directory, self.tiny, self.keys = directory, tiny, keys
        self.source = keys / "OVMF_VARS.fd" if keys else VARIABLES
        self.variables, self.extra = [], []
        self.disk = Disk(directory / "disk.raw", 96)
        self.uki = directory / "uki.efi"
        script(f"sbsign --key {keys}/db.key --cert {keys}/db.pem --output {self.uki} {tiny}/tiny.efi 2>/dev/null"
               if keys else f"cp {tiny}/tiny.efi {self.uki}")
        self.put(self.uki, "/EFI/BOOT/BOOTX64.EFI")

    def put(self, source, name):
        parents = name.split("/")[1:-1]
        for depth in range(1, len(parents)):
            folder = "/".join(parents[:depth])
            script(f"mmd -D s -i {self.disk.path}{Disk.ESP} ::/{folder} 2>/dev/null || true")
        self.disk.put(source, name)

    def write(self, name, content):
        file = self.directory / "file"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.put(file, name)

    def set(self, name, data, **options):
        self.variables.append(variable(name, data, **options))

    def option(self, name, file, data=b"", disk=None):
        self.set(name, load_option((disk or self.disk).path, file, data))

    def boot(self):
        """The report, or None where nothing of the UKI ran; and the console."""
        with Machine(self.directory, self.disk.path, extra=self.extra, first=False,
                     variables=store(self.directory / "variables", self.variables, self.source)) as machine:
            ended = machine.wait_for(r"^report-end|failed to load Boot.*(Access Denied|Security Violation)", 240)
            return (machine.report() if ended[0] == "report-end" else None), machine.text()


def told(report, reference):
    """Of the PCRs that policies bind, those that are not as the reference says. PCR2 is a separator where nothing is
    loaded."""
    return {index for index in BOUND if report.pcrs["sha384"][index] != reference.get(f"PCR{index}", SEPARATOR)}


@pytest.fixture(scope="module")
def judge(sealboot, tmp_path_factory):
    """judge(reference, report): what the key policy of a reference says to an attestation of that boot."""
    def decide(reference, report):
        file = tmp_path_factory.mktemp("reference") / "pcr_measurements.json"
        file.write_text(json.dumps({"Measurements": reference}))
        text = sealboot("policy", "--reference", file, "--principal", INSTANCE.role, "--admin", ADMIN, "--sealer",
                        OWNER, "--context", "model=tiny", "--one-shot")
        keys = {f"kms:RecipientAttestation:NitroTPMPCR{n}": value for n, value in report.pcrs["sha384"].items()}
        return policy.evaluate(
            text, policy.Context("kms:Decrypt", INSTANCE, keys=keys | {"kms:EncryptionContext:model": "tiny"}))
    return decide


@dataclass
class Row:
    """One input. tells: the bound PCRs that differ; beside: a PCR that tells, too, but that no policy binds. took: what
    shows that the input took effect on the tiny machine, which nobody hardened; refused: the firmware says no instead
    of that."""
    name: str
    prepare: object
    tells: set
    took: str = ""
    beside: int = None
    secure_boot: bool = False
    refused: bool = False

    def __str__(self):
        return self.name


ROWS = []


def row(name, tells=(), **more):
    def add(prepare):
        ROWS.append(Row(name, prepare, set(tells), **more))
        return prepare
    return add


# --- boot options

CMDLINE = "console=ttyS0,115200 quiet panic=-1 random.trust_cpu=1"


@row("Driver####", {2}, took="sealboot.build=evil")
def driver(operator):
    operator.put(program(operator.directory, "driver", 11), "/EFI/operator/driver.efi")
    operator.option("Driver0000", "/EFI/operator/driver.efi")
    operator.set("DriverOrder", numbers(0))


def rom(operator):
    """Of a device: the firmware runs it as it runs a driver of DriverOrder."""
    built = program(operator.directory, "driver", 11)
    operator.extra += ["-netdev", "user,id=rom,restrict=on", "-device",
                       f"virtio-net-pci,netdev=rom,romfile={option_rom(built, operator.directory / 'rom')}"]


row("option ROM", {2}, took="sealboot.build=evil")(rom)
# OVMF runs it without a signature, since its ROMs come from whoever runs the virtual machine. PCR7 does not tell: PCR2
# does.
row("option ROM, Secure Boot on", {2}, took="sealboot.build=evil", secure_boot=True)(rom)


@row("SysPrep####", {4}, took="operator: runs before the UKI")
def application(operator):
    operator.put(program(operator.directory, "application", 10, "APPLICATION"), "/EFI/operator/application.efi")
    operator.option("SysPrep0000", "/EFI/operator/application.efi")
    operator.set("SysPrepOrder", numbers(0))


@row("Boot#### optional data", {12}, took="sealboot.build=operator")
def optional_data(operator):
    operator.option("Boot0000", "/EFI/BOOT/BOOTX64.EFI", utf16(f"{CMDLINE} sealboot.build=operator"))
    operator.set("BootOrder", numbers(0))


@row("BootNext", {4}, took="sealboot.build=other")
def boot_next(operator):
    operator.put(operator.tiny / "other.efi", "/EFI/operator/other.efi")
    operator.option("Boot0000", "/EFI/BOOT/BOOTX64.EFI")
    operator.option("Boot0001", "/EFI/operator/other.efi")
    operator.set("BootOrder", numbers(0))
    operator.set("BootNext", numbers(1))


@row("BootOrder, an option that fails", {4})
def failing_option(operator):
    operator.option("Boot0000", "/EFI/operator/missing.efi")
    operator.option("Boot0001", "/EFI/BOOT/BOOTX64.EFI")
    operator.set("BootOrder", numbers(0, 1))


@row("BootOrder, another disk", {4}, took="sealboot.build=other")
def other_disk(operator):
    other = Disk(operator.directory / "other.raw")
    other.put(operator.tiny / "other.efi", "/EFI/BOOT/BOOTX64.EFI")
    operator.option("Boot0000", "/EFI/BOOT/BOOTX64.EFI", disk=other)
    operator.set("BootOrder", numbers(0))
    operator.extra += ["-drive", f"if=none,id=other,format=raw,readonly=on,file={other.path}",
                       "-device", "virtio-blk-pci,drive=other"]


@row("second loader", {4, 12}, took="sealboot.build=operator")
def second_loader(operator):
    operator.put(f"{STUBS}/systemd-bootx64.efi", "/EFI/operator/systemd-bootx64.efi")
    operator.write("/loader/loader.conf", "timeout 0\ndefault operator.conf\n")
    operator.write("/loader/entries/operator.conf",
                   f"title operator\nefi /EFI/BOOT/BOOTX64.EFI\noptions {CMDLINE} sealboot.build=operator\n")
    operator.option("Boot0000", "/EFI/operator/systemd-bootx64.efi")
    operator.set("BootOrder", numbers(0))


@row("PlatformRecovery####")
def platform_recovery(operator):
    """The firmware makes its own anew at each boot."""
    operator.put(operator.tiny / "other.efi", "/EFI/operator/other.efi")
    operator.option("PlatformRecovery0000", "/EFI/operator/other.efi")
    operator.set("OsIndications", struct.pack("<Q", 4))


@row("OsRecovery####")
def os_recovery(operator):
    operator.put(operator.tiny / "other.efi", "/EFI/operator/other.efi")
    operator.option("OsRecovery0000", "/EFI/operator/other.efi")
    operator.set("OsRecoveryOrder", numbers(0))
    operator.set("OsIndications", struct.pack("<Q", 2))


# --- keys

def enrol(operator, options):
    """More keys, by a stranger to the owner."""
    d = operator.directory
    pem = f"5ea1b007-0000-4000-8000-00000000000f {d}/stranger.pem"
    script(f"""cd {d}
        [ -e stranger.pem ] || openssl req -new -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=stranger \
            -keyout stranger.key -out stranger.pem 2>/dev/null
        virt-fw-vars --input {operator.source} {options.format(pem=pem)} --output keys.fd""")
    operator.source = d / "keys.fd"


row("db, Secure Boot off", {7})(lambda operator: enrol(operator, "--add-db {pem}"))
row("KEK", {7}, secure_boot=True)(lambda operator: enrol(operator, "--add-kek {pem}"))
row("PK", {7}, secure_boot=True)(lambda operator: enrol(operator, "--set-pk {pem}"))


@row("dbx", {7}, secure_boot=True)
def another_dbx(operator):
    operator.set("dbx", signature_list(), guid=DATABASE, attributes=KEPT | 0x20)


@row("db", {7}, secure_boot=True)
def stranger_in_db(operator):
    """The owner's own UKI, signed by a stranger whom db names."""
    enrol(operator, "--add-db {pem}")
    script(f"""cd {operator.directory}
        sbsign --key stranger.key --cert stranger.pem --output signed.efi {operator.tiny}/tiny.efi 2>/dev/null""")
    operator.put(operator.directory / "signed.efi", "/EFI/BOOT/BOOTX64.EFI")


@row("SecureBootEnable", {4, 7}, secure_boot=True, took="sealboot.build=other")
def switched_off(operator):
    operator.put(operator.tiny / "other.efi", "/EFI/BOOT/BOOTX64.EFI")
    operator.set("SecureBootEnable", b"\0", guid=SWITCH, attributes=3)


# --- the ESP

def addon(operator, name):
    operator.put(operator.tiny / "evil.addon.efi", name)


row("addon", {4, 12}, took="sealboot.addon=1")(lambda o: addon(o, "/EFI/BOOT/BOOTX64.EFI.extra.d/operator.addon.efi"))
row("addon for every UKI", {4, 12}, took="sealboot.addon=1")(lambda o: addon(o, "/loader/addons/operator.addon.efi"))
row("credential", {12})(lambda o: o.write("/EFI/BOOT/BOOTX64.EFI.extra.d/operator.cred", "operator"))
row("credential for every UKI", {12})(lambda o: o.write("/loader/credentials/operator.cred", "operator"))
row("confext", {12})(lambda o: o.write("/EFI/BOOT/BOOTX64.EFI.extra.d/operator.confext.raw", bytes(4096)))
# Measured into PCR13, which no policy binds: the image's initrd must not look for it.
row("sysext", beside=13)(lambda o: o.write("/EFI/BOOT/BOOTX64.EFI.extra.d/operator.raw", bytes(4096)))


@row("devicetree", {4, 12})
def devicetree(operator):
    """In an addon: the stub takes none from a file."""
    tree = struct.pack(">10I", 0xd00dfeed, 72, 56, 72, 40, 17, 16, 0, 0, 16) + bytes(16) + struct.pack(
        ">4I", 1, 0, 2, 9)
    (operator.directory / "operator.dtb").write_bytes(tree)
    script(f"""cd {operator.directory}; ukify build --devicetree=operator.dtb --stub={STUBS}/addonx64.efi.stub \
        --output=operator.addon.efi""")
    operator.put(operator.directory / "operator.addon.efi", "/EFI/BOOT/BOOTX64.EFI.extra.d/operator.addon.efi")


# --- the machine

def smbios(operator):
    operator.extra += ["-smbios", "type=11,value=io.systemd.stub.kernel-cmdline-extra=sealboot.smbios=1"]


row("SMBIOS command line", {12}, took="sealboot.smbios=1")(smbios)
# The stub does not ask whether Secure Boot is on, and a credential has no signature: only PCR12 tells.
row("SMBIOS command line, Secure Boot on", {12}, took="sealboot.smbios=1", secure_boot=True)(smbios)
row("credential, Secure Boot on", {12},
    secure_boot=True)(lambda o: o.write("/loader/credentials/operator.cred", "operator"))


def ssdt():
    """An SSDT with Name(EVIL, 42)."""
    code = b"\x08EVIL\x0a\x2a"
    table = b"SSDT" + struct.pack("<IBB6s8sI4sI", 36 + len(code), 2, 0, b"OPERAT", b"OPERATOR", 1, b"OPER", 1) + code
    return table[:9] + bytes([-sum(table) & 255]) + table[10:]


@row("ACPI table", beside=1)
def acpi(operator):
    """PCR1 tells of it, which policies do not bind: the hypervisor alone hands out tables."""
    (operator.directory / "ssdt").write_bytes(ssdt())
    operator.extra += ["-acpitable", f"file={operator.directory}/ssdt"]


@row("variables and files that only a loader or an operating system reads")
def unread(operator):
    """Nothing that is measured reads them: what does, must be inert in the image (test_outside.py)."""
    for name, guid, data in unread_variables():
        operator.set(name, data, guid=guid)
    operator.write("/loader/loader.conf", "timeout 60\ndefault operator.efi\n")
    operator.write("/loader/entries/operator.conf", "title operator\nlinux /vmlinuz\noptions init=/bin/sh\n")
    operator.write("/loader/random-seed", b"o" * 32)
    operator.write("/startup.nsh", "\\EFI\\operator\\other.efi\r\n")
    operator.put(operator.tiny / "other.efi", "/EFI/Linux/other.efi")
    operator.extra += ["-smbios", "type=11,value=io.systemd.boot.kernel-cmdline-extra=sealboot.smbios=1",
                       "-smbios", "type=11,value=io.systemd.boot.entries-extra:operator=linux /vmlinuz",
                       "-fw_cfg", "name=opt/com.example.operator,string=operator"]


# --- Secure Boot on: the firmware and the stub say no

@row("Driver####, Secure Boot on", secure_boot=True, refused=True)
def unsigned_driver(operator):
    driver(operator)


@row("SysPrep####, Secure Boot on", secure_boot=True, refused=True)
def unsigned_application(operator):
    application(operator)


@row("command lines and addons, Secure Boot on", secure_boot=True, refused=True)
def more_words(operator):
    optional_data(operator)
    addon(operator, "/EFI/BOOT/BOOTX64.EFI.extra.d/operator.addon.efi")


@row("another UKI, Secure Boot on", secure_boot=True, refused=True)
def unsigned_uki(operator):
    operator.put(operator.tiny / "other.efi", "/EFI/BOOT/BOOTX64.EFI")


@pytest.fixture(scope="module")
def plain(tiny, tmp_path_factory):
    """The PCRs of a boot that nobody interferes with, Secure Boot off."""
    report, _ = Operator(tmp_path_factory.mktemp("plain"), tiny).boot()
    return report.pcrs["sha384"]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row, tiny, owner_keys, sealboot, judge, plain, tmp_path):
    operator = Operator(tmp_path, tiny, owner_keys if row.secure_boot else None)
    reference = predicted(sealboot, *(lists(owner_keys) if row.secure_boot else ("--secure-boot", "off")), operator.uki)
    row.prepare(operator)
    report, console = operator.boot()
    assert row.took in console, console[-2500:]
    if row.refused:
        assert "runs before the UKI" not in console and "sealboot.build=evil" not in console
    if report is None:
        assert row.refused
        return
    others = {n for n in range(16) if report.pcrs["sha384"][n] != plain[n]} - set(BOUND)
    assert row.beside is None or row.beside in others, others
    assert told(report, reference) == row.tells
    if not row.tells:
        assert report.cmdline == f"{CMDLINE} sealboot.build=tiny"
    decision = judge(reference, report)
    assert bool(decision) == (not row.tells), decision
