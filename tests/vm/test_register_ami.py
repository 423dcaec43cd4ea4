# SPDX-License-Identifier: Apache-2.0
"""kiwi/register-ami against recorded calls: stand-ins for `aws` and `coldsnap` note what they were asked."""

import base64
import hashlib
import json
import os
import subprocess

import pytest

from machine import SOURCE

BLOCK = 512 * 1024
PCR4 = "4a" * 48

RECORDER = """#!/usr/bin/python3
import json, os, pathlib, sys
arguments = sys.argv[1:]
call = {"program": os.path.basename(sys.argv[0]), "arguments": arguments}
if "--block-data" in arguments:
    import base64, hashlib
    data = pathlib.Path(arguments[arguments.index("--block-data") + 1]).read_bytes()
    call["length"], call["sha256"] = len(data), base64.b64encode(hashlib.sha256(data).digest()).decode()
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps(call) + "\\n")
for words, answer, code in json.loads(os.environ["ANSWERS"]):
    if arguments[:len(words)] == words:
        print(answer)
        sys.exit(code)
"""
PCR12 = "00" * 48
MEASURED = json.dumps({"Measurements": {"HashAlgorithm": "SHA384 { ... }", "PCR4": PCR4, "PCR12": PCR12}})
ANSWERS = [[["measure"], MEASURED, 0], [["ebs", "start-snapshot"], "snap-0123456789abcdef0", 0],
           [["upload"], "snap-0123456789abcdef0", 0], [["ec2", "register-image"], "ami-0123456789abcdef0", 0]]


@pytest.fixture
def register(tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    disk = tmp_path / "sealboot.raw"
    # Data, a hole, data, and a last block that the disk does not fill.
    disk.write_bytes(b"\1" * BLOCK + bytes(2 * BLOCK) + b"\2" * BLOCK + b"\3" * 4096)
    (tmp_path / "pcr_measurements.json").write_text(
        json.dumps({"Measurements": {"HashAlgorithm": "SHA384 { ... }", "PCR4": PCR4}}))
    calls = tmp_path / "calls"

    def call(*arguments, with_programs=("aws",), answers=ANSWERS):
        calls.unlink(missing_ok=True)
        for program in ("sealboot", *with_programs):
            (programs / program).write_text(RECORDER)
            (programs / program).chmod(0o755)
        environment = {"PATH": f"{programs}:{os.defpath}", "CALLS": str(calls), "ANSWERS": json.dumps(answers)}
        done = subprocess.run([SOURCE / "kiwi/register-ami", *map(str, arguments), disk], env=environment,
                              capture_output=True, text=True, check=False)
        noted = [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []
        done.measured = [call for call in noted if call["program"] == "sealboot"]
        done.calls = [call for call in noted if call["program"] != "sealboot"]
        return done
    return call


def option(call, name):
    return call["arguments"][call["arguments"].index(name) + 1]


def test_dry_run_calls_nothing(register):
    done = register("--name", "sealboot 1")
    assert done.returncode == 0 and done.calls == []
    assert "register-image --name sealboot\\ 1" in done.stdout and "--tpm-support v2.0" in done.stdout


def test_blocks_are_uploaded_with_their_checksums_and_zeros_are_not(register):
    done = register("--run", "--name", "sealboot")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "ami-0123456789abcdef0"
    blocks = {option(c, "--block-index"): c for c in done.calls if c["arguments"][1] == "put-snapshot-block"}
    assert sorted(blocks) == ["0", "3", "4"]
    for call in blocks.values():
        assert call["length"] == BLOCK and call["sha256"] == option(call, "--checksum")
    last = b"\3" * 4096 + bytes(BLOCK - 4096)
    assert blocks["4"]["sha256"] == base64.b64encode(hashlib.sha256(last).digest()).decode()
    order = [call["arguments"][1] for call in done.calls]
    assert order[0] == "start-snapshot" and order[-3:] == ["complete-snapshot", "wait", "register-image"]
    assert option(done.calls[-3], "--changed-blocks-count") == "3"


def test_image_has_a_tpm_boots_uefi_and_is_tagged_with_its_pcrs(register, tmp_path):
    (tmp_path / "uefi").write_text("QU1aTlVFRkk=")
    lists = [tmp_path / f"{name}.esl" for name in ("PK", "KEK", "db")]
    for path in lists:
        path.touch()
    done = register("--run", "--name", "sealboot", "--architecture", "arm64", "--uefi-data", tmp_path / "uefi",
                    with_programs=("aws", "coldsnap"))
    assert done.returncode == 0, done.stderr
    assert [call["program"] for call in done.calls] == ["coldsnap", "aws"]
    image = done.calls[-1]
    for name, value in (("--tpm-support", "v2.0"), ("--boot-mode", "uefi"), ("--imds-support", "v2.0"),
                        ("--architecture", "arm64"), ("--uefi-data", "QU1aTlVFRkk=")):
        assert option(image, name) == value
    assert "SnapshotId=snap-0123456789abcdef0" in option(image, "--block-device-mappings")
    assert done.measured[0]["arguments"] == [
        "measure", "--json", "--arch=aa64", *(f"--{path.stem}={path}" for path in lists),
        f"--disk={tmp_path}/sealboot.raw"
    ]
    assert json.loads(option(image, "--tag-specifications"))[0]["Tags"] == [{"Key": "sealboot:PCR4", "Value": PCR4}]


def test_says_what_goes_without_secure_boot(register, tmp_path):
    words = ("Secure Boot OFF", "DriverOrder", "Only PCR2 shows it", "only into PCR12", "SystemdOptions",
             "PCR7 says nothing", "kiwi/secure-boot")
    for options in ((), ("--run",)):
        done = register(*options, "--name", "sealboot")
        assert done.returncode == 0 and all(word in done.stderr for word in words), done.stderr
    (tmp_path / "uefi").write_text("QU1aTlVFRkk=")
    for name in ("PK", "KEK", "db"):
        (tmp_path / f"{name}.esl").touch()
    done = register("--name", "sealboot", "--uefi-data", tmp_path / "uefi")
    assert done.returncode == 0 and "Secure Boot" not in done.stderr


def test_pcrs_of_the_instances_devices_need_not_be_the_disks(register, tmp_path):
    """PCR2 of an instance type with option ROMs was given to `sealboot measure`; the AMI is tagged with it."""
    of_disk = {"PCR2": "22" * 48, "PCR3": "22" * 48, "PCR4": PCR4, "PCR12": PCR12}
    answers = [[["measure"], json.dumps({"Measurements": of_disk}), 0], *ANSWERS]
    path = tmp_path / "pcr_measurements.json"
    path.write_text(json.dumps({"Measurements": {**of_disk, "PCR2": "ab" * 48}}))
    done = register("--run", "--name", "sealboot", answers=answers)
    assert done.returncode == 0, done.stderr
    tags = json.loads(option(done.calls[-1], "--tag-specifications"))[0]["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {
        f"sealboot:{name}": value for name, value in {**of_disk, "PCR2": "ab" * 48}.items()}
    path.write_text(json.dumps({"Measurements": {**of_disk, "PCR12": "ab" * 48}}))
    assert "is of another image" in register("--run", "--name", "sealboot", answers=answers).stderr


@pytest.mark.parametrize(
    "words", (["ebs", "start-snapshot"], ["ebs", "put-snapshot-block"], ["ebs", "complete-snapshot"], ["ec2", "wait"]))
def test_nothing_is_registered_after_a_failed_upload(register, words):
    done = register("--run", "--name", "sealboot", answers=[[words, "", 255], *ANSWERS])
    assert done.returncode != 0
    assert not [call for call in done.calls if call["arguments"][1] == "register-image"]


def test_an_upload_that_names_no_snapshot_is_refused(register):
    done = register("--run", "--name", "sealboot", answers=[[["ebs", "start-snapshot"], "None", 0], *ANSWERS])
    assert done.returncode == 1 and "named no snapshot" in done.stderr


@pytest.mark.parametrize(
    "text", ("", "{}", "[]", '{"Measurements": {"PCR7": "%s"}}' % PCR12, '{"Measurements": {"PCR4": "4A"}}'))
def test_what_is_not_measurements_is_refused_before_the_upload(register, tmp_path, text):
    """As a measurement that failed leaves an empty file."""
    (tmp_path / "pcr_measurements.json").write_text(text)
    done = register("--run", "--name", "sealboot")
    assert done.returncode == 1 and "holds no reference measurements" in done.stderr and done.calls == []


def test_measurements_of_another_image_are_refused_before_the_upload(register, tmp_path):
    """Those of an earlier build that was signed lie where a signed image's are looked for first."""
    stale = {"Measurements": {"PCR4": "5b" * 48, "PCR7": "77" * 48, "PCR12": PCR12}}
    (tmp_path / "sealboot.raw.pcr_measurements.json").write_text(json.dumps(stale))
    done = register("--run", "--name", "sealboot")
    assert done.returncode == 1 and "is of another image" in done.stderr and PCR4 in done.stderr and done.calls == []


def test_a_disk_that_does_not_boot_there_is_refused_before_the_upload(register):
    done = register("--run", "--name", "sealboot", "--architecture", "arm64", answers=[[["measure"], "", 70], *ANSWERS])
    assert done.returncode == 1 and "does not boot on arm64" in done.stderr and done.calls == []


def test_a_failed_registration_goes_on_from_its_snapshot(register):
    failed = register("--run", "--name", "sealboot", answers=[[["ec2", "register-image"], "", 254], *ANSWERS])
    assert failed.returncode == 1 and "--snapshot snap-0123456789abcdef0" in failed.stderr
    done = register("--run", "--name", "sealboot", "--snapshot", "snap-0123456789abcdef0")
    assert done.returncode == 0, done.stderr
    assert [call["arguments"][1] for call in done.calls] == ["wait", "register-image"]
    assert "SnapshotId=snap-0123456789abcdef0" in option(done.calls[-1], "--block-device-mappings")


@pytest.mark.parametrize("options, why",
                         ((("--uefi-data", "/dev/null"), "/dev/null"), (("--uefi-data", __file__), "PK.esl is missing"),
                          (("--uploader", "scp"), "--uploader"), (("--snapshot", "vol-1"), "vol-1"),
                          (("--architecture", "riscv64"), "--architecture")))
def test_options_are_checked_before_the_upload(register, options, why):
    done = register("--run", "--name", "sealboot", *options)
    assert done.returncode == 1 and why in done.stderr and done.calls == []


@pytest.mark.parametrize(
    "script, option",
    [("register-ami", name)
     for name in ("--name", "--architecture", "--uefi-data", "--measurements", "--uploader", "--snapshot")]
    + [("build", name) for name in ("--config", "--output", "--profile", "--overlay", "--keep", "--date")]
    + [("uml", name) for name in ("--clock", "--hostname", "--bind")] + [("chroot", "--bind"),
                                                                         ("secure-boot", "variables --firmware")])
def test_an_option_without_its_value_is_named(script, option):
    done = subprocess.run([SOURCE / "kiwi" / script, *option.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr == f"kiwi/{script}: {option.split()[-1]} needs a value\n"
