# SPDX-License-Identifier: Apache-2.0
"""Boots a UKI in seconds and compares what firmware and stub measured with what `sealboot measure` foretold."""

import hashlib
import json
import os
import pathlib
import subprocess

import pytest

from machine import SOURCE, Disk, Machine, extended, run, script
from prediction import lists, predicted

ZEROS = "00" * 48


def boot(directory, disk, **options):
    with Machine(directory, disk, **options) as machine:
        return machine.report()


def measured(report):
    return {f"PCR{index}": report.pcrs["sha384"][index] for index in (2, 3, 4, 7, 12)}


def test_secure_boot_off(tiny, tmp_path, sealboot):
    report = boot(tmp_path, tiny / "tiny.raw")
    reference = predicted(sealboot, "--secure-boot", "off", tiny / "tiny.efi")
    assert measured(report) == {name: reference[name] for name in ("PCR2", "PCR3", "PCR4", "PCR7", "PCR12")}
    assert reference["PCR12"] == report.pcrs["sha384"][15] == ZEROS
    assert report.event_log[:4] == bytes(4)


def test_secure_boot_on(tiny, owner_keys, tmp_path, sealboot):
    """Signed as a built image is, by kiwi/secure-boot, which asks for the measurements of what it put on the ESP."""
    disk, signed, asked = tmp_path / "disk.raw", tmp_path / "signed.efi", tmp_path / "sealboot"
    asked.write_text(f'#!/bin/sh\nfor last; do :; done\ncp "$last" {signed}\necho "$@"\n')
    asked.chmod(0o755)
    script(f"""cp {tiny}/tiny.raw {disk}
        SEALBOOT={asked} {SOURCE}/kiwi/secure-boot sign {owner_keys} {disk}
        mcopy -i {disk}@@1M ::/EFI/BOOT/BOOTX64.EFI - | cmp - {signed}""")
    said = (tmp_path / "disk.raw.pcr_measurements.json").read_text().split()
    assert said[:-1] == ["measure", "--json", *map(str, lists(owner_keys))]
    report = boot(tmp_path, disk, variables=owner_keys / "OVMF_VARS.fd")
    reference = predicted(sealboot, *lists(owner_keys), signed)
    assert measured(report) == {name: reference[name] for name in ("PCR2", "PCR3", "PCR4", "PCR7", "PCR12")}


def test_signing_renews_the_sums_beside_the_disk(tiny, owner_keys, tmp_path):
    (tmp_path / "stand-in").write_text('#!/bin/sh\necho measured\n')
    (tmp_path / "stand-in").chmod(0o755)
    script(f"""cd {tmp_path}; cp {tiny}/tiny.raw .; touch packages
        sha256sum tiny.raw packages > SHA256SUMS
        SEALBOOT={tmp_path}/stand-in {SOURCE}/kiwi/secure-boot sign {owner_keys} {tmp_path}/tiny.raw
        sha256sum --check --strict --quiet SHA256SUMS""")
    names = [line.split()[1] for line in (tmp_path / "SHA256SUMS").read_text().splitlines()]
    assert names == ["packages", "tiny.raw", "tiny.raw.pcr_measurements.json"]
    assert (tmp_path / "tiny.raw").read_bytes() != (tiny / "tiny.raw").read_bytes()


@pytest.mark.parametrize("program, why",
                         (("false", "could not be measured"), ("/no/sealboot", "/no/sealboot is missing: SEALBOOT=")))
def test_a_disk_that_cannot_be_measured_is_not_signed(tiny, owner_keys, tmp_path, program, why):
    script(f"cp {tiny}/tiny.raw {tmp_path}/tiny.raw")
    with pytest.raises(AssertionError, match=why):
        script(f"SEALBOOT={program} {SOURCE}/kiwi/secure-boot sign {owner_keys} {tmp_path}/tiny.raw")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.raw"]
    assert (tmp_path / "tiny.raw").read_bytes() == (tiny / "tiny.raw").read_bytes()


def test_register_ami_knows_a_disk_by_its_measurements(tiny, owner_keys, tmp_path):
    """With the real `sealboot`: an image and whether it boots with Secure Boot, and on which architecture."""
    disk = tmp_path / "disk.raw"
    program = pathlib.Path(os.environ.get("SEALBOOT_BUILD", SOURCE / "build")) / "policy/sealboot"

    def refusal(*arguments):
        done = subprocess.run([SOURCE / "kiwi/register-ami", "--name", "tiny", *arguments, disk], capture_output=True,
                              text=True, env={"PATH": os.defpath, "SEALBOOT": program}, check=False)
        assert (done.returncode == 0) == ("register-image" in done.stdout), done.stderr
        return done.stderr if done.returncode else ""

    script(f"""cp {tiny}/tiny.raw {disk}
        SEALBOOT=true {SOURCE}/kiwi/secure-boot sign {owner_keys} {disk}
        mcopy -i {disk}@@1M ::/EFI/BOOT/BOOTX64.EFI {tmp_path}/signed.efi""")
    measurements, keys = tmp_path / "disk.raw.pcr_measurements.json", ("--uefi-data", owner_keys / "uefi-data.aws")

    def measure(*arguments):
        measurements.write_text(subprocess.check_output([program, "measure", "--json", *arguments], text=True))
    measure(*lists(owner_keys), tmp_path / "signed.efi")
    assert refusal(*keys) == ""
    assert "is of another image, or of one with another Secure Boot" in refusal()
    assert "does not boot on arm64" in refusal(*keys, "--architecture", "arm64")
    measure(tiny / "tiny.efi")
    assert refusal() == ""
    measure(tiny / "other.efi")
    assert "is of another image" in refusal()


def test_keys_are_never_overwritten(owner_keys):
    before = {path.name: path.read_bytes() for path in owner_keys.iterdir()}
    with pytest.raises(AssertionError, match="keys are never overwritten"):
        run(SOURCE / "kiwi/secure-boot", "keys", owner_keys)
    assert {path.name: path.read_bytes() for path in owner_keys.iterdir()} == before
    assert {path.name
            for path in owner_keys.iterdir()} >= {"PK.key", "KEK.key", "db.key", "uefi-data.aws", "OVMF_VARS.fd"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in owner_keys.glob("*.key"))


def test_a_disk_without_a_uki_is_not_signed(owner_keys, tmp_path):
    disk = Disk(tmp_path / "disk.raw")
    with pytest.raises(AssertionError, match="no .EFI.BOOT.BOOT"):
        script(f"SEALBOOT=true {SOURCE}/kiwi/secure-boot sign {owner_keys} {disk.path}")
    script(f"sgdisk --typecode=1:8300 {disk.path}")
    with pytest.raises(AssertionError, match="not exactly one EFI system partition"):
        script(f"SEALBOOT=true {SOURCE}/kiwi/secure-boot sign {owner_keys} {disk.path}")


def test_wrong_secure_boot_key_is_refused_by_the_firmware(tiny, owner_keys, tmp_path):
    script(f"""openssl req -new -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=stranger \
            -keyout {tmp_path}/stranger.key -out {tmp_path}/stranger.pem 2>/dev/null
        sbsign --key {tmp_path}/stranger.key --cert {tmp_path}/stranger.pem \
            --output {tmp_path}/signed.efi {tiny}/tiny.efi""")
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


def test_an_option_rom_moves_pcr2_only(tiny, tmp_path, sealboot):
    """That of QEMU's virtio network card: a UEFI driver that is not the firmware's, and which it runs before the
    image."""
    report = boot(tmp_path, tiny / "tiny.raw", extra=["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net"])
    reference = predicted(sealboot, "--secure-boot", "off", tiny / "tiny.efi")
    value = measured(report)["PCR2"]
    assert {name for name in measured(report) if measured(report)[name] != reference[name]} == {"PCR2"}
    assert measured(report) == {name: of_rom for name, of_rom in predicted(
        sealboot, "--secure-boot", "off", "--pcr2", value, tiny / "tiny.efi").items() if name.startswith("PCR")}
    (tmp_path / "log").write_bytes(report.event_log)
    program = pathlib.Path(os.environ.get("SEALBOOT_BUILD", SOURCE / "build")) / "policy/sealboot"
    said = json.loads(
        subprocess.run([program, "replay", "--json", f"--expect=PCR2={reference['PCR2']}", tmp_path / "log"],
                       capture_output=True, text=True, check=False).stdout)
    finding, = said["comparisons"]
    assert not finding["equal"] and finding["meaning"].startswith(
        "a UEFI driver from outside the firmware ran before the image")
    assert finding["event"]["text"].startswith("driver PCI ") and finding["event"]["text"].endswith(", option ROM")


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
