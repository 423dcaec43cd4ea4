# SPDX-License-Identifier: Apache-2.0
"""`sealboot measure` against what OVMF, systemd's stubs and swtpm measured (tests/fixtures/measure)."""

import hashlib
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess

import pytest

from manuals import members, undocumented
from recorded import CASES, FIXTURES, options_of


@pytest.mark.parametrize("name", CASES)
def test_equals_what_was_measured(printed, name):
    case = CASES[name]
    said = json.loads(printed("measure", "--json", *options_of(case)))["Measurements"]
    measured = case["pcrs"]["sha384"]
    assert said == {"HashAlgorithm": "SHA384 { ... }", **{f"PCR{n}": measured[n] for n in (2, 3, 4, 7, 12)}}


# As published documents of EC2 instances have it (2026-02).
FIRMWARE_ALONE = "518923b0f955d08da077c96aaba522b9decede61c599cea6c41889cfbea4ae4d50529d96fe4d1afdafb65e7f95bf23c4"


def test_without_option_roms_pcr2_and_pcr3_are_a_separator(printed):
    said = json.loads(printed("measure", "--json", FIXTURES / "debian13.efi"))["Measurements"]
    assert said["PCR2"] == said["PCR3"] == FIRMWARE_ALONE
    text = printed("measure", FIXTURES / "debian13.efi")
    assert "without a UEFI driver from outside the firmware" in text and "PCR12 (an appended command line)" in text


def test_pcr2_of_option_roms_is_given(printed):
    keys = options_of(CASES["debian13-sb-addon"])
    plain = json.loads(printed("measure", "--json", "--event-log", *keys))
    for value in ("ab" * 48, "AB" * 48):
        given = json.loads(printed("measure", "--json", "--event-log", f"--pcr2={value}", *keys))
        assert given["Measurements"] == {**plain["Measurements"], "PCR2": "ab" * 48}
        assert [e for e in plain["Events"] if e["PCR"] != 2] == given["Events"]
    assert json.loads(printed("measure", "--json", "--event-log", "--pcr2=none", *keys)) == plain
    text = printed("measure", "--pcr2=" + "ab" * 48, *keys)
    assert f"PCR2   {'ab' * 48}\n" in text and "PCR2 is the value given" in text and "Without Secure Boot" not in text


def test_says_for_which_state_of_secure_boot(printed):
    """PCR7 of Secure Boot off with keys enrolled is a value like any other."""
    keys = options_of(CASES["debian13-sb-addon"])
    assert json.loads(printed("measure", "--json", *keys))["SecureBoot"] is True
    assert json.loads(printed("measure", "--json", "--secure-boot=off", *keys))["SecureBoot"] is False
    assert "SecureBoot" not in json.loads(printed("measure", "--json", FIXTURES / "debian12.efi"))


def test_event_log_says_what_and_why(printed):
    case = CASES["debian13-sb-addon"]
    events = json.loads(printed("measure", "--json", "--event-log", *options_of(case)))["Events"]
    assert [(e["PCR"], e["Type"]) for e in events] == [
        (7, "EV_EFI_VARIABLE_DRIVER_CONFIG")] * 5 + [(7, "EV_SEPARATOR"), (4, "EV_EFI_ACTION"),
        (2, "EV_SEPARATOR"), (3, "EV_SEPARATOR"), (4, "EV_SEPARATOR"),
        (7, "EV_EFI_VARIABLE_AUTHORITY"), (4, "EV_EFI_BOOT_SERVICES_APPLICATION"),
        (7, "EV_EFI_VARIABLE_AUTHORITY"), (4, "EV_EFI_BOOT_SERVICES_APPLICATION"), (12, "EV_IPL")]
    assert events[0]["What"] == "variable SecureBoot = 1" and events[0]["Why"] == "Secure Boot is on"
    assert "no driver from outside the firmware" in events[7]["Why"]
    assert "addon-signed-B.efi" in events[13]["What"] and "addon" in events[13]["Why"]
    assert '"sealboot.addon=1"' in events[14]["What"]
    text = printed("measure", "--event-log", *options_of(case))
    for event in events:
        assert event["Digest"] in text and event["What"] in text and event["Why"] in text


def test_the_manual_has_every_member_of_the_json(printed):
    answer = json.loads(printed("measure", "--json", "--event-log", *options_of(CASES["debian13-sb-addon"])))
    assert undocumented(answer, "measure") - {"HashAlgorithm", "PCR2", "PCR3", "PCR4", "PCR7", "PCR12"} == set()
    assert "Why" in members(answer)


def test_readable_output_has_the_same_values(printed):
    for case in CASES.values():
        measured = case["pcrs"]["sha384"]
        lines, notes = printed("measure", *options_of(case)).split("\n\n")
        assert lines.splitlines() == [f"PCR{n:<2}  {measured[n]}" for n in (2, 3, 4, 7, 12)]
        assert not re.search("^PCR[0-9]+  ", notes, re.MULTILINE)


def test_a_command_line_that_an_efi_variable_can_change(build, tmp_path):
    """With Secure Boot off, no PCR tells of the variable SystemdOptions. The values are printed nonetheless."""
    image = (FIXTURES / "debian12-signed-A.efi").read_bytes()
    line, word = b"console=ttyS0 quiet sealboot.fixture=1", b"efi=noruntime"
    assert image.count(line) == 1
    for now, warned in ((line, True), (b"quiet " + word, False), (word + b"=1", True), (b"x" + word, True),
                        (word, False)):
        (tmp_path / "uki.efi").write_bytes(image.replace(line, now.ljust(len(line))))
        done = subprocess.run([build / "policy/sealboot", "measure", "--json", tmp_path / "uki.efi"],
                              capture_output=True, text=True, check=True)
        assert ("lacks efi=noruntime" in done.stderr) == warned and json.loads(done.stdout), (now, done)
    on = next(case for case in CASES.values() if case["image"] == "debian12-signed-A.efi")
    done = subprocess.run([build / "policy/sealboot", "measure", "--json", *map(str, options_of(on))],
                          capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["SecureBoot"] and not done.stderr, done


def test_without_key_lists_pcr7_is_not_predicted(printed):
    said = json.loads(printed("measure", "--json", FIXTURES / "debian12.efi"))["Measurements"]
    assert set(said) == {"HashAlgorithm", "PCR2", "PCR3", "PCR4", "PCR12"}
    assert "PCR7 is not predicted" in printed("measure", FIXTURES / "debian12.efi")


@pytest.mark.parametrize("what_if, pcr", [
    (["--command-line= init=/bin/sh\t"], 12),  # white space at the ends is not measured
    (["--failed-boot-options=1"], 4),
])
def test_what_if_equals_the_boot_where_it_was_so(printed, what_if, pcr):
    boot = {12: "debian12-appended", 4: "debian12-blank-first"}[pcr]
    said = json.loads(printed("measure", "--json", *what_if, FIXTURES / "debian12.efi"))["Measurements"]
    assert said[f"PCR{pcr}"] == CASES[boot]["pcrs"]["sha384"][pcr]


REFUSALS = [
    (["{f}/handmade.efi"], 70, "--stub-version=N"),
    (["{f}/handmade-inner-B.efi", "--stub-version=0"], 2, "is not a number from 1"),
    (["{f}/debian12.efi", "--stub-version=258"], 2, "says that it is 252"),
    (["{f}/nowhere.efi"], 61, "cannot be opened"),
    (["{f}/db-A.esl"], 70, "is not a PE image"),
    (["{f}/debian12.efi", "--addon={f}/addon.efi"], 70, "its stub is version 252, which loads no addons"),
    (["{f}/debian13.efi", "--addon={f}/debian12.efi"], 70, "is a UKI, not an addon"),
    (["{f}/addon.efi", "--command-line=x"], 70, "is not a UKI"),
    (["{f}/addon.efi"], 70, "is not a UKI"),
    (["{f}/debian13-systemd-boot.efi"], 70, "Give the images in load order, the UKI last."),
    (["{f}/debian13.efi", "{f}/debian13-systemd-boot.efi"], 70, "is not a UKI"),
    (["{f}/debian13-systemd-boot.efi", "{f}/debian13-aa64.efi"], 70, "is for arm64, where x86-64 is started"),
    (["{f}/debian13-aa64.efi", "--addon={f}/addon.efi"], 70, "is for x86-64, where arm64 is started"),
    (["{f}/debian13.efi", "--command-line=@1 x"], 2, "selects a profile"),
    (["{f}/debian13.efi", "--PK={f}/PK.esl",
      "--db={f}/db-A.esl"], 70, "it is not signed, and db does not hold its hash"),
    (["{f}/debian13-signed-A.efi", "--PK={f}/PK.esl", "--db={f}/db-CA.esl"], 70, "none of its signatures chains"),
    (["{f}/debian13-signed-A.efi", "--PK={f}/PK.esl", "--db={f}/db-A.esl", "--dbx={f}/db-A.esl"], 70, "dbx forbids it"),
    (["{f}/handmade-inner-B-signed-A.efi", "--PK={f}/PK.esl", "--db={f}/db-A.esl",
      "--stub-version=251"], 70, "handmade-inner-B-signed-A.efi:.linux"),
    (["{f}/debian13.efi", "--db={f}/db-A.esl"], 2, "--PK"),
    (["{f}/debian13.efi", "--secure-boot=on"], 2, "without a platform key"),
    (["{f}/debian13.efi", "--secure-boot=maybe"], 2, 'neither "on" nor "off"'),
    (["{f}/debian13.efi", "--PK={f}/debian13.efi"], 2, "is not an EFI signature list"),
    (["{f}/debian13.efi", "--disk={f}/debian13.efi"], 2, "either a disk or images"),
    (["--disk={f}/debian13.efi"], 70, "has no GUID partition table"),
    (["--arch=riscv64", "{f}/debian13.efi"], 2, "neither"),
    (["{f}/debian13.efi", "--pcr2=" + "ab" * 47], 2, "nor 96 hex digits"),
    (["{f}/debian13.efi", "--pcr2=" + "ab" * 49], 2, "nor 96 hex digits"),
    (["{f}/debian13.efi", "--pcr2=" + "xy" * 48], 2, "nor 96 hex digits"),
    (["{f}/debian13.efi", "--pcr2="], 2, "nor 96 hex digits"),
    (["{f}/debian13.efi", "--pcr2=" + "00" * 48], 2, "is zero, which no firmware leaves"),
    ([], 2, "name a UKI"),
    (["--nonsense"], 2, "Try 'sealboot measure --help'"),
]


@pytest.mark.parametrize("arguments, code, words", REFUSALS)
def test_refuses(printed, arguments, code, words):
    assert words in printed("measure", *(a.format(f=FIXTURES) for a in arguments), code=code)


# --- what other tools write ---

def optional_header(image):
    pe, = struct.unpack_from("<I", image, 60)
    return pe + 24


def sections(image):
    """(offset of the header, name, VirtualSize, VirtualAddress, SizeOfRawData, PointerToRawData) of each."""
    optional = optional_header(image)
    n, size = struct.unpack_from("<H", image, optional - 18)[0], struct.unpack_from("<H", image, optional - 4)[0]
    headers = [optional + size + 40 * i for i in range(n)]
    return [(at, *struct.unpack_from("<8sIIII", image, at)) for at in headers]


def authenticode(image):
    """SHA-384 over an unsigned image: headers without checksum and certificate directory, sections, and what follows
    them."""
    optional = optional_header(image)
    headers, = struct.unpack_from("<I", image, optional + 60)
    digest = hashlib.sha384(image[:optional + 64] + image[optional + 68:optional + 144] + image[optional + 152:headers])
    end = headers
    for *_, size, at in sorted(sections(image), key=lambda s: s[-1]):
        digest.update(image[at:at + size])
        end += size
    digest.update(image[end:])
    return digest.digest()


def enlarged_kernel(image, by):
    """The UKI with `by` more bytes of .linux in memory than its file has, and the kernel as the stub then hands it
    on."""
    at, _, size, address, raw, offset = next(s for s in sections(image) if s[1].rstrip(b"\0") == b".linux")
    uki = bytearray(image)
    struct.pack_into("<I", uki, at + 8, raw + by)
    struct.pack_into("<I", uki, optional_header(image) + 56, (address + raw + by + 4095) // 4096 * 4096)
    return bytes(uki), image[offset:offset + raw] + bytes(by)


@pytest.mark.parametrize("by", [1, 4096, 40 << 20])
def test_a_kernel_that_is_larger_in_memory(printed, tmp_path, by):
    uki, kernel = enlarged_kernel((FIXTURES / "debian13.efi").read_bytes(), by)
    path = tmp_path / "uki.efi"
    path.write_bytes(uki)
    value = bytes(48)
    for digest in (hashlib.sha384(b"Calling EFI Application from Boot Option").digest(),
                   hashlib.sha384(bytes(4)).digest(), authenticode(uki), authenticode(kernel)):
        value = hashlib.sha384(value + digest).digest()
    said = json.loads(printed("measure", "--json", "--event-log", path))
    assert said["Measurements"]["PCR4"] == value.hex()
    assert "with the zeros that are behind it" in said["Events"][-1]["Why"]


def test_a_kernel_that_is_larger_in_memory_than_can_be_is_refused(printed, tmp_path):
    uki, _ = enlarged_kernel((FIXTURES / "debian13.efi").read_bytes(), 1 << 30)
    path = tmp_path / "uki.efi"
    path.write_bytes(uki)
    refused = printed("measure", path, code=70)
    assert "larger in memory than in the file" in refused and "ukify 257.3 or later" in refused


def test_a_signed_kernel_with_zeros_behind_its_signature_is_refused(printed, tmp_path):
    image = (FIXTURES / "handmade-inner-B-signed-A.efi").read_bytes()
    uki, _ = enlarged_kernel(image, 4096)
    path = tmp_path / "uki.efi"
    path.write_bytes(uki)
    assert "ukify 257.3 or later" in printed("measure", "--stub-version=251", path, code=70)


def test_key_lists_from_efivarfs(printed, tmp_path):
    options = ["--json", FIXTURES / "debian13-signed-A.efi"]
    plain = printed("measure", f"--PK={FIXTURES}/PK.esl", f"--db={FIXTURES}/db-A.esl", *options)
    for name in ("PK", "db-A"):
        (tmp_path / name).write_bytes(b"\x27\0\0\0" + (FIXTURES / f"{name}.esl").read_bytes())
    assert printed("measure", f"--PK={tmp_path}/PK", f"--db={tmp_path}/db-A", *options) == plain
    (tmp_path / "dbx").write_bytes(b"\x27\0\0\0")  # set, and empty
    (tmp_path / "empty").write_bytes(b"")
    answers = [printed("measure", f"--PK={tmp_path}/PK", f"--db={tmp_path}/db-A", f"--dbx={tmp_path / name}", *options)
               for name in ("dbx", "empty")]
    assert answers[0] == answers[1]


# --- disks ---

def make_disk(directory, fat, files, size_mib, block=512, type_code="ef00"):
    """A GPT disk with an EFI system partition made by the tools everyone uses."""
    for tool in ("mkfs.vfat", "mcopy", "mmd", "sgdisk"):
        if not shutil.which(tool, path=os.environ["PATH"] + ":/sbin:/usr/sbin"):
            pytest.skip(f"{tool} is not installed")
    environment = {**os.environ, "PATH": os.environ["PATH"] + ":/sbin:/usr/sbin", "MTOOLS_SKIP_CHECK": "1"}

    def tool(*command):
        subprocess.run(list(map(str, command)), check=True, capture_output=True, env=environment, timeout=60)

    esp, disk = directory / "esp.img", directory / "disk.img"
    with open(esp, "wb") as f:
        f.truncate(size_mib << 20)
    tool("mkfs.vfat", "-F", fat, *(["-s", "1"] if fat == 32 else []), esp)
    made = set()
    for path, source in files.items():
        for parent in reversed(pathlib.PurePosixPath(path).parents):
            if str(parent) not in ("/", *made):
                tool("mmd", "-i", esp, f"::{parent}")
                made.add(str(parent))
        tool("mcopy", "-i", esp, source, f"::{path}")
    disk.write_bytes(bytes(1 << 20) + esp.read_bytes() + bytes(1 << 20))
    tool("sgdisk", f"--new=1:2048:+{size_mib}M", f"--typecode=1:{type_code}", disk)
    return disk


@pytest.mark.parametrize("fat, size", [(12, 4), (16, 24), (32, 40)])
def test_finds_the_image_on_a_disk(printed, tmp_path, fat, size):
    disk = make_disk(tmp_path, fat, {"/EFI/BOOT/BOOTX64.EFI": FIXTURES / "debian13.efi"}, size)
    measured = CASES["debian13"]["pcrs"]["sha384"]
    said = json.loads(printed("measure", "--json", "--secure-boot=off", f"--disk={disk}"))["Measurements"]
    assert [said[f"PCR{i}"] for i in (4, 7, 12)] == [measured[i] for i in (4, 7, 12)]


def test_finds_addons_on_a_disk(printed, tmp_path):
    disk = make_disk(tmp_path, 16, {
        "/EFI/BOOT/BOOTX64.EFI": FIXTURES / "debian13.efi",
        "/EFI/BOOT/BOOTX64.EFI.extra.d/fixture.addon.efi": FIXTURES / "addon.efi",
        "/EFI/BOOT/BOOTX64.EFI.extra.d/readme.txt": FIXTURES / "README",
        "/loader/loader.conf": FIXTURES / "README",
    }, 24)
    measured = CASES["debian13-addon"]["pcrs"]["sha384"]
    said = json.loads(printed("measure", "--json", f"--disk={disk}"))["Measurements"]
    assert (said["PCR4"], said["PCR12"]) == (measured[4], measured[12])


@pytest.mark.parametrize("path", ["/loader/credentials/root.cred", "/loader/extensions/tool.raw",
                                  "/EFI/BOOT/BOOTX64.EFI.extra.d/x.CRED", "/EFI/BOOT/BOOTX64.EFI.extra.d/x.sysext.raw",
                                  "/EFI/BOOT/BOOTX64.EFI.extra.d/x.confext.raw"])
def test_companions_that_are_not_predicted_are_refused(printed, tmp_path, path):
    files = {"/EFI/BOOT/BOOTX64.EFI": FIXTURES / "debian13.efi", path: FIXTURES / "README"}
    refused = printed("measure", f"--disk={make_disk(tmp_path, 16, files, 24)}", code=70)
    assert path.lower() in refused.lower() and "is not predicted" in refused


def test_files_beside_them_are_not_taken_for_companions(printed, tmp_path):
    readme = FIXTURES / "README"
    disk = make_disk(
        tmp_path, 16, {
            "/EFI/BOOT/BOOTX64.EFI": FIXTURES / "debian13.efi", "/loader/random-seed": readme,
            "/loader/credentials/note": readme, "/loader/credentials/.hidden.cred": readme,
            "/loader/addons/disk.raw": readme, "/EFI/BOOT/x.cred": readme,
            "/EFI/BOOT/BOOTX64.EFI.extra.d/directory.cred/file": readme
        }, 24)
    said = json.loads(printed("measure", "--json", f"--disk={disk}"))["Measurements"]
    assert said["PCR12"] == "00" * 48


def test_an_image_for_another_machine(printed, tmp_path):
    disk = make_disk(tmp_path, 16, {"/EFI/BOOT/BOOTX64.EFI": FIXTURES / "debian13-aa64.efi"}, 24)
    assert "is for arm64, where x86-64 is started" in printed("measure", f"--disk={disk}", code=70)


def test_addons_on_a_disk_are_nothing_to_an_older_stub(printed, tmp_path):
    disk = make_disk(tmp_path, 16, {"/EFI/BOOT/BOOTX64.EFI": FIXTURES / "debian12.efi",
                                    "/loader/addons/fixture.addon.efi": FIXTURES / "addon.efi"}, 24)
    said = json.loads(printed("measure", "--json", f"--disk={disk}"))["Measurements"]
    measured = CASES["debian12"]["pcrs"]["sha384"]
    assert (said["PCR4"], said["PCR12"]) == (measured[4], measured[12])


def test_a_boot_loader_on_a_disk_is_not_taken_for_all_of_it(printed, tmp_path):
    disk = make_disk(tmp_path, 16, {"/EFI/BOOT/BOOTX64.EFI": FIXTURES / "debian12-systemd-boot.efi",
                                    "/EFI/Linux/debian12.efi": FIXTURES / "debian12.efi"}, 24)
    assert "Give the images in load order instead" in printed("measure", f"--disk={disk}", code=70)


def test_two_architectures_on_a_disk(printed, tmp_path):
    disk = make_disk(tmp_path, 32, {"/EFI/BOOT/BOOTX64.EFI": FIXTURES / "debian13.efi",
                                    "/EFI/BOOT/BOOTAA64.EFI": FIXTURES / "debian13-aa64.efi"}, 40)
    assert "--arch=x64 or --arch=aa64" in printed("measure", f"--disk={disk}", code=70)
    for arch, boot in (("x64", "debian13"), ("aa64", "debian13-aa64")):
        said = json.loads(printed("measure", "--json", f"--disk={disk}", f"--arch={arch}"))["Measurements"]
        assert said["PCR4"] == CASES[boot]["pcrs"]["sha384"][4]


def test_disks_that_cannot_be_read(printed, tmp_path):
    disk = make_disk(tmp_path, 16, {"/EFI/BOOT/README": FIXTURES / "README"}, 24)
    assert "has no /EFI/BOOT/BOOTX64.EFI" in printed("measure", f"--disk={disk}", code=70)
    whole = disk.read_bytes()
    for name, data, words in (
        ("short", whole[:8 << 20], "it is cut short"),
        ("header", whole[:512 + 24] + b"\2" + whole[512 + 25:], "the partition table's header"),
        ("table", whole[:1024 + 56] + b"\1" + whole[1024 + 57:], "wrong checksum"),
        ("no file system", whole[:1 << 20] + bytes(512) + whole[(1 << 20) + 512:], "is not a FAT file system"),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        assert words in printed("measure", f"--disk={path}", code=70)
    disk = make_disk(tmp_path, 16, {"/EFI/BOOT/BOOTX64.EFI": FIXTURES / "debian13.efi"}, 24, type_code="8300")
    assert "has no EFI system partition" in printed("measure", f"--disk={disk}", code=70)
