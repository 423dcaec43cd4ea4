# SPDX-License-Identifier: Apache-2.0
"""Boots a UKI in seconds and compares what firmware and stub measured with what `sealboot measure` foretold."""

import hashlib
import json

from machine import Disk, Machine, extended, run, script

ZEROS = "00" * 48


def boot(directory, disk, **options):
    with Machine(directory, disk, **options) as machine:
        return machine.report()


def predicted(sealboot, *arguments):
    return json.loads(sealboot("measure", "--json", *arguments))["Measurements"]


def lists(keys):
    return [argument for name in ("PK", "KEK", "db", "dbx") if (keys / f"{name}.esl").exists()
            for argument in (f"--{name}", keys / f"{name}.esl")]


def measured(report):
    return {f"PCR{index}": report.pcrs["sha384"][index] for index in (4, 7, 12)}


def test_secure_boot_off(tiny, tmp_path, sealboot):
    report = boot(tmp_path, tiny / "tiny.raw")
    reference = predicted(sealboot, "--secure-boot", "off", tiny / "tiny.efi")
    assert measured(report) == {name: reference[name] for name in ("PCR4", "PCR7", "PCR12")}
    assert reference["PCR12"] == report.pcrs["sha384"][15] == ZEROS
    assert report.event_log[:4] == bytes(4)


def test_secure_boot_on(tiny, owner_keys, tmp_path, sealboot):
    run("sbsign", "--key", owner_keys / "db.key", "--cert", owner_keys / "db.pem", "--output", tmp_path / "signed.efi",
        tiny / "tiny.efi")
    disk = Disk(tmp_path / "disk.raw")
    disk.put(tmp_path / "signed.efi", "/EFI/BOOT/BOOTX64.EFI")
    report = boot(tmp_path, disk.path, variables=owner_keys / "OVMF_VARS.fd")
    reference = predicted(sealboot, *lists(owner_keys), tmp_path / "signed.efi")
    assert measured(report) == {name: reference[name] for name in ("PCR4", "PCR7", "PCR12")}


def test_wrong_secure_boot_key_is_refused_by_the_firmware(tiny, owner_keys, tmp_path):
    script(f"""openssl req -new -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=stranger \
            -keyout {tmp_path}/stranger.key -out {tmp_path}/stranger.pem 2>/dev/null
        sbsign --key {tmp_path}/stranger.key --cert {tmp_path}/stranger.pem --output {tmp_path}/signed.efi {tiny}/tiny.efi""")
    disk = Disk(tmp_path / "disk.raw")
    disk.put(tmp_path / "signed.efi", "/EFI/BOOT/BOOTX64.EFI")
    with Machine(tmp_path, disk.path, variables=owner_keys / "OVMF_VARS.fd") as machine:
        machine.wait_for("Access Denied|Security Violation", 120)
        assert "report-begin" not in machine.text()


def test_appended_command_line_moves_pcr12_only(tiny, tmp_path, sealboot):
    """With Secure Boot off the stub takes a command line from SMBIOS: PCR4 stays, PCR12 tells."""
    text = "init=/bin/sh"
    report = boot(tmp_path, tiny / "tiny.raw",
                  extra=["-smbios", f"type=11,value=io.systemd.stub.kernel-cmdline-extra={text}"])
    assert report.cmdline.endswith(text)
    assert measured(report)["PCR4"] == predicted(sealboot, tiny / "tiny.efi")["PCR4"]
    event = hashlib.sha384((text + "\0").encode("utf-16-le")).digest()
    assert bytes.fromhex(measured(report)["PCR12"]) == extended(bytes(48), event)


def test_addon_moves_pcr4_and_pcr12(tiny, tmp_path, sealboot):
    disk = Disk(tmp_path / "disk.raw")
    disk.put(tiny / "tiny.efi", "/EFI/BOOT/BOOTX64.EFI")
    disk.put(tiny / "evil.addon.efi", "/EFI/BOOT/BOOTX64.EFI.extra.d/evil.addon.efi")
    report = boot(tmp_path, disk.path)
    assert "sealboot.addon=1" in report.cmdline
    reference = predicted(sealboot, tiny / "tiny.efi")
    assert measured(report)["PCR4"] != reference["PCR4"]
    assert measured(report)["PCR12"] != reference["PCR12"]


def test_another_build_moves_pcr4(tiny, sealboot):
    assert predicted(sealboot, tiny / "tiny.efi")["PCR4"] != predicted(sealboot, tiny / "other.efi")["PCR4"]
