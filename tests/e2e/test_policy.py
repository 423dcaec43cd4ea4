# SPDX-License-Identifier: Apache-2.0
"""sealboot policy: what it writes and refuses to write, what it says of requests, and whether the local KMS says the
same."""

import hashlib
import itertools
import json
import random
import re
import struct
import subprocess
import time
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import kms_requests
from stack import attestation, attestation_check, identity, kms, pki
from stack import policy as evaluator

USAGE, IO, DOCUMENT, MISMATCH, POLICY = 2, 61, 72, 73, 74
NOW = int(time.time())
OWNER, CONSUMER = "111111111111", "222222222222"
ADMIN, ROLE = f"arn:aws:iam::{OWNER}:role/owner", f"arn:aws:iam::{CONSUMER}:role/inference"
SESSION = f"arn:aws:sts::{CONSUMER}:assumed-role/inference/i-0123456789abcdef0"
KEY = f"arn:aws:kms:us-east-1:{OWNER}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
TPM, ENCLAVE = "kms:RecipientAttestation:NitroTPMPCR", "kms:RecipientAttestation:PCR"
IMAGE = "kms:RecipientAttestation:ImageSha384"
ZEROS, FOUR, OTHER = "00" * 48, "44" * 48, "ab" * 48
ALONE = hashlib.sha384(bytes(48) + hashlib.sha384(bytes(4)).digest()).hexdigest()  # PCR2 without a driver from outside
SECURE_BOOT_OFF = "98441c7f7625d10058c47683aec486ce311c633235eb555593a7ee791121e3578ae72d04ecef661f272d59058b77af35"


@pytest.fixture(scope="module")
def root():
    return pki.root(NOW)


@pytest.fixture(scope="module")
def leaf(root):
    return pki.hierarchy(NOW, root=root)


@pytest.fixture
def run(build, tmp_path):
    def call(*arguments):
        return subprocess.run([build / "policy/sealboot", "policy", *map(str, arguments)], capture_output=True,
                              text=True)
    return call


def reference(path, **pcrs):
    path.write_text(json.dumps({"Measurements": {"HashAlgorithm": "SHA384 { ... }", **pcrs}}))
    return path


@pytest.fixture
def image(tmp_path):
    return reference(tmp_path / "image.json", PCR2=ALONE, PCR4=FOUR, PCR12=ZEROS)


WHO = ["--principal", ROLE, "--admin", ADMIN]


# --- writing

def released(policy, number=1):
    return next(s for s in policy["Statement"] if s["Sid"] == f"ReleaseToImage{number}")


def test_binds_all_it_knows(run, tmp_path):
    image = reference(tmp_path / "image.json", PCR2=ALONE, PCR3=ALONE, PCR4=FOUR, PCR7=OTHER, PCR12=ZEROS)
    result = run("--reference", image, *WHO, "--context", "model=llama", "--context", "version=3", "--one-shot")
    assert result.returncode == 0, result
    policy = json.loads(result.stdout)
    evaluator.validate(result.stdout)
    assert released(policy) == {
        "Sid": "ReleaseToImage1", "Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "kms:Decrypt",
        "Resource": "*", "Condition": {
            "StringEqualsIgnoreCase": {
                TPM + "2": ALONE, TPM + "3": ALONE, TPM + "4": FOUR, TPM + "7": OTHER, TPM + "12": ZEROS,
                TPM + "15": ZEROS
            }, "StringEquals": {"kms:EncryptionContext:model": "llama", "kms:EncryptionContext:version": "3"}
        }
    }
    used = {a for s in policy["Statement"] if s["Effect"] == "Allow" and s["Sid"] != "ReleaseToImage1"
            for a in evaluator.listed(s["Action"])}
    for action in ("kms:Decrypt", "kms:CreateGrant", "kms:ReEncryptFrom", "kms:*"):
        assert action not in used, "managing the key is not using it"
    assert "kms:PutKeyPolicy" in used


@pytest.mark.parametrize("options, deny", [
    ([], ["DenyGrants", "DenyUnlessNitroTPMPCR2", "DenyUnlessNitroTPMPCR4", "DenyUnlessNitroTPMPCR12"]),
    (["--one-shot"], ["DenyGrants", "DenyUnlessNitroTPMPCR2", "DenyUnlessNitroTPMPCR4", "DenyUnlessNitroTPMPCR12",
                      "DenyUnlessNitroTPMPCR15"]),
    (["--no-deny-unattested"], []),
])
def test_denies_by_each_pcr_by_default(run, image, options, deny):
    policy = json.loads(run("--reference", image, *WHO, *options).stdout)
    denials = {s["Sid"]: s for s in policy["Statement"] if s["Effect"] == "Deny"}
    assert list(denials) == deny
    for pcr, value in (("2", ALONE), ("4", FOUR), ("12", ZEROS)) if deny else ():
        denial = denials["DenyUnlessNitroTPMPCR" + pcr]
        assert (denial["Principal"], denial["Action"], denial["Resource"]) == ({"AWS": "*"}, "kms:Decrypt", "*")
        assert denial["Condition"] == {"StringNotEqualsIgnoreCase": {TPM + pcr: value}}


@pytest.mark.parametrize("pcr", [2, 4])
def test_zeros_that_no_boot_leaves_are_told(run, tmp_path, pcr):
    """The policy lets nobody in, so it is written, with a warning; `policy check` lists the zeros."""
    image = reference(tmp_path / "image.json", **{"PCR2": ALONE, "PCR4": FOUR, "PCR12": ZEROS, f"PCR{pcr}": ZEROS})
    result = run("--reference", image, *WHO)
    assert result.returncode == 0 and result.stderr.count("has zeros") == 1
    assert f"has zeros in PCR{pcr}" in result.stderr
    (tmp_path / "policy.json").write_text(result.stdout)
    result = run("check", "--json", tmp_path / "policy.json")
    found = [(f["statement"], f["code"]) for f in json.loads(result.stdout)["findings"]]
    assert result.returncode == POLICY and found == [("ReleaseToImage1", "never-measured")]


def test_every_image_has_its_own_statement(run, tmp_path, image):
    (tmp_path / "two.json").write_text(json.dumps([
        {"Measurements": {"PCR2": ALONE, "PCR4": OTHER, "PCR12": ZEROS}},
        {"Measurements": {"PCR2": ALONE, "PCR4": "cd" * 48, "PCR12": "ef" * 48}}]))
    policy = json.loads(run("--reference", image, "--reference", tmp_path / "two.json", *WHO).stdout)
    bound = [released(policy, n)["Condition"]["StringEqualsIgnoreCase"] for n in (1, 2, 3)]
    assert [(b[TPM + "4"], b[TPM + "12"]) for b in bound] == [
        (FOUR, ZEROS), (OTHER, ZEROS), ("cd" * 48, "ef" * 48)]


def test_enclaves(run, tmp_path):
    image = reference(tmp_path / "eif.json", PCR0=FOUR, PCR1=OTHER, PCR2=OTHER, PCR8=OTHER)
    policy = json.loads(run("--reference", image, *WHO).stdout)
    assert released(policy)["Condition"]["StringEqualsIgnoreCase"] == {
        IMAGE: FOUR, **{f"{ENCLAVE}{n}": OTHER for n in (1, 2, 8)}}


REFUSED = [
    (dict(PCR4=FOUR), [], "pcr4-without-pcr12"),
    (dict(PCR2=ALONE, PCR4=FOUR, PCR7=OTHER), [], "pcr4-without-pcr12"),
    (dict(PCR4=FOUR, PCR12=ZEROS), [], "pcr4-without-pcr2"),
    (dict(PCR4=FOUR, PCR7=OTHER, PCR12=ZEROS), [], "pcr4-without-pcr2"),
    (dict(PCR4=FOUR, PCR7=SECURE_BOOT_OFF, PCR12=ZEROS), ["--secure-boot"], "pcr4-without-pcr2"),
    (dict(PCR4=FOUR, PCR12=ZEROS), ["--secure-boot"], "pcr4-without-pcr2"),
    (dict(PCR3=ALONE, PCR4=FOUR, PCR12=ZEROS), [], "pcr4-without-pcr2"),
    (dict(PCR4=FOUR, PCR7=SECURE_BOOT_OFF), ["--secure-boot"], "secure-boot-off"),
    (dict(PCR7=SECURE_BOOT_OFF), ["--secure-boot"], "secure-boot-off"),
    (dict(PCR7=SECURE_BOOT_OFF, PCR12=ZEROS), [], "secure-boot-off"),
    (dict(PCR2=ALONE, PCR7=SECURE_BOOT_OFF, PCR12=ZEROS), [], "secure-boot-off"),
    (dict(PCR2=ALONE, PCR12=ZEROS), [], "image-not-bound"),
    (dict(PCR7=OTHER), [], "image-not-bound"),
    (dict(PCR12=ZEROS), [], "image-not-bound"),
    (dict(PCR12=ZEROS), ["--one-shot"], "image-not-bound"),
    (dict(PCR0=OTHER, PCR2=ALONE, PCR4=FOUR, PCR12=ZEROS), [], "firmware-pcr"),
    (dict(PCR1=OTHER, PCR2=ALONE, PCR4=FOUR, PCR12=ZEROS), [], "firmware-pcr"),
    (dict(PCR0=ZEROS), [], "debug-enclave"),
    (dict(PCR1=OTHER), [], "image-not-bound"),
    (dict(PCR8=ZEROS), [], "debug-enclave"),
    (dict(PCR2=ALONE, PCR4=FOUR, PCR12=ZEROS), ["--principal", ADMIN], "self-administration"),
    (dict(PCR2=ALONE, PCR4=FOUR, PCR12=ZEROS), ["--admin", CONSUMER], "self-administration"),
    (dict(PCR2=ALONE, PCR4=FOUR, PCR12=ZEROS), ["--admin", f"arn:aws:iam::{CONSUMER}:role/ops"], "self-administration"),
    (dict(PCR2=ALONE, PCR4=FOUR, PCR12=ZEROS), ["--admin", f"arn:aws:iam::{CONSUMER}:user/ops"], "self-administration"),
    (dict(PCR2=ALONE, PCR4=FOUR, PCR12=ZEROS), ["--sealer", ROLE], "self-sealing"),
    (dict(PCR2=ALONE, PCR4=FOUR, PCR12=ZEROS), ["--sealer", f"arn:aws:iam::{CONSUMER}:role/ops"], "self-sealing"),
    (dict(PCR2=ALONE, PCR4=FOUR, PCR12=ZEROS), ["--sealer", f"arn:aws:iam::{CONSUMER}:root"], "self-sealing"),
    (dict(PCR2=ALONE, PCR4=FOUR, PCR12=ZEROS), ["--opener", f"arn:aws:iam::{CONSUMER}:role/ops"], "outside the image"),
    (dict(PCR2=ALONE, PCR4=FOUR, PCR12=ZEROS), ["--admin", "AROAEXAMPLEEXAMPLE123"], "unique-id"),
    (dict(PCR2=ALONE, PCR4=FOUR, PCR12=ZEROS), ["--context", "model=${kms:EncryptionContext:model}"], "${"),
]


@pytest.mark.parametrize("pcrs, options, code", REFUSED)
def test_refuses_to_write_less(run, tmp_path, pcrs, options, code):
    result = run("--reference", reference(tmp_path / "image.json", **pcrs), *WHO, *options)
    assert (result.returncode, result.stdout) == (POLICY, "") and code in result.stderr, result


@pytest.mark.parametrize("secure_boot", [b"\0", b""])
def test_knows_the_value_of_secure_boot_off(run, tmp_path, secure_boot):
    """PCR7 from its events: the five variables (EFI_GUID, sizes, name, value) and a separator; no keys are enrolled."""
    guids = {
        "g": uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c"), "d": uuid.UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
    }
    pcr = bytes(48)
    for guid, name in (("g", "SecureBoot"), ("g", "PK"), ("g", "KEK"), ("d", "db"), ("d", "dbx"), (None, None)):
        value = secure_boot if name == "SecureBoot" else b""
        event = bytes(4)
        if name:
            event = guids[guid].bytes_le + struct.pack("<QQ", len(name), len(value)) + name.encode("utf-16le") + value
        pcr = hashlib.sha384(pcr + hashlib.sha384(event).digest()).digest()
    result = run("--reference", reference(tmp_path / "image.json", PCR4=FOUR, PCR7=pcr.hex()), *WHO, "--secure-boot")
    assert result.returncode == POLICY and "secure-boot-off" in result.stderr


@pytest.mark.parametrize("pcrs", [dict(PCR4=FOUR, PCR7=OTHER), dict(PCR7=OTHER), dict(PCR7=OTHER, PCR12=ZEROS),
                                  dict(PCR2=ALONE, PCR4=FOUR, PCR7=OTHER), dict(PCR4=FOUR, PCR7=OTHER, PCR12=ZEROS)])
def test_secure_boot_stands_in(run, tmp_path, pcrs):
    image, on, off = (tmp_path / name for name in ("image.json", "on.json", "off.json"))
    on.write_text(json.dumps({"Measurements": pcrs, "SecureBoot": True}))
    off.write_text(json.dumps([{"Measurements": pcrs, "SecureBoot": True}, {"Measurements": pcrs,
                                                                            "SecureBoot": False}]))
    result = run("--reference", reference(image, **pcrs), *WHO, "--secure-boot")
    assert result.returncode == 0 and f"{image} does not say" in result.stderr, "as nitro-tpm-pcr-compute writes them"
    result = run("--reference", on, *WHO, "--secure-boot")
    lacks = f"sealboot policy: {on} has no PCR12, which records credentials and command lines"
    assert result.returncode == 0
    assert result.stderr == "" or ("PCR4" in pcrs and "PCR12" not in pcrs and result.stderr.startswith(lacks) and
                                   len(result.stderr.splitlines()) == 1), result.stderr
    assert (lacks in result.stderr) == ("PCR4" in pcrs and "PCR12" not in pcrs)
    result = run("--reference", off, *WHO, "--secure-boot")
    assert (result.returncode, result.stdout) == (POLICY, "") and "secure-boot-off" in result.stderr
    assert "off.json[1]" in result.stderr and "Bind PCR2, PCR4 and PCR12" in result.stderr


def test_a_reference_without_pcr2_needs_a_word(run, tmp_path):
    """As an older sealboot and nitro-tpm-pcr-compute write it: what is missing is said, and no weaker policy is
    written."""
    image = reference(tmp_path / "image.json", PCR4=FOUR, PCR12=ZEROS)
    result = run("--reference", image, *WHO)
    assert (result.returncode, result.stdout) == (POLICY, "")
    for words in ("ReleaseToImage1", "pcr4-without-pcr2", "DriverOrder", "Measure again", "--pcr2 none",
                  "--secure-boot"):
        assert words in result.stderr, words
    for given, bound in (("none", ALONE), (OTHER, OTHER), (OTHER.upper(), OTHER)):
        result = run("--pcr2", given, "--reference", image, *WHO)
        assert result.returncode == 0, result
        assert released(json.loads(result.stdout))["Condition"]["StringEqualsIgnoreCase"] == {
            TPM + "2": bound, TPM + "4": FOUR, TPM + "12": ZEROS}
    measured = reference(tmp_path / "measured.json", PCR2=ALONE, PCR4=FOUR, PCR12=ZEROS)
    assert run("--reference", measured, "--pcr2", "none", *WHO).returncode == 0
    for path, given, words in ((measured, OTHER, "has another PCR2 than --pcr2"), (image, ZEROS, "is zero"),
                               (image, "44", "96 hex digits"), (image, "", "96 hex digits"),
                               (reference(tmp_path / "eif.json", PCR0=FOUR), "none", "enclave")):
        result = run("--reference", path, "--pcr2", given, *WHO)
        assert (result.returncode, result.stdout) == (USAGE, "") and words in result.stderr, result


def test_with_secure_boot_on_pcr7_covers_drivers(run, tmp_path):
    """Where a reference says so itself, that is enough; another image in the same policy is judged by what it says."""
    image = tmp_path / "image.json"
    on, off = ({"Measurements": dict(PCR4=FOUR, PCR7=OTHER, PCR12=ZEROS), "SecureBoot": state}
               for state in (True, False))
    whole = {"Measurements": dict(PCR2=ALONE, PCR4=OTHER, PCR12=ZEROS)}
    no_pcr7 = {"Measurements": dict(PCR4=FOUR, PCR12=ZEROS), "SecureBoot": True}
    contradicts = {"Measurements": dict(PCR4=FOUR, PCR7=SECURE_BOOT_OFF, PCR12=ZEROS), "SecureBoot": True}
    for images, refused in (([on], None), ([on, whole], None), ([whole, on, on], None), ([off], 1), ([on, off], 2),
                            ([no_pcr7], 1), ([on, whole, no_pcr7], 3), ([contradicts], 1), ([on, contradicts], 2)):
        image.write_text(json.dumps(images))
        result = run("--reference", image, *WHO)
        assert result.returncode == (POLICY if refused else 0), (images, result)
        assert not refused or f"ReleaseToImage{refused}" in result.stderr and "pcr4-without-pcr2" in result.stderr
    image.write_text(json.dumps(on))
    (tmp_path / "policy.json").write_text(run("--reference", image, *WHO).stdout)
    assert run("check", tmp_path / "policy.json", "--secure-boot").returncode == 0
    result = run("check", tmp_path / "policy.json")
    assert result.returncode == POLICY, "what its PCR7 is cannot be told from the value"
    assert "pcr4-without-pcr2" in result.stdout, result


def test_secure_boot_need_not_be_on_where_nothing_rests_on_it(run, tmp_path):
    image = tmp_path / "image.json"
    image.write_text(
        json.dumps({"Measurements": dict(PCR2=ALONE, PCR4=FOUR, PCR7=OTHER, PCR12=ZEROS), "SecureBoot": False}))
    for options in ([], ["--secure-boot"]):
        result = run("--reference", image, *WHO, *options)
        assert (result.returncode, result.stderr) == (0, "")


def test_fits_what_kms_takes(run, tmp_path):
    def images(n):
        (tmp_path / "images.json").write_text(json.dumps([
            {"Measurements": {"PCR2": ALONE, "PCR4": f"{i:096x}", "PCR12": ZEROS}} for i in range(n)]))
        return run("--reference", tmp_path / "images.json", *WHO)
    assert "\n " in images(20).stdout
    compact = 0
    for n in range(21, 70):
        written = images(n)
        if written.returncode:
            assert written.returncode == POLICY and "KMS takes no more than 32768" in written.stderr
            break
        assert len(written.stdout) <= 32768
        evaluator.validate(written.stdout)
        compact += "without white space" in written.stderr and "\n" not in written.stdout[:-1]
    assert compact >= 3 and n > 40


@pytest.mark.parametrize("arguments, code, words", [
    (["--principal", "*", "--admin", ADMIN], POLICY, "wildcard"),
    (["--principal", f"arn:aws:iam::{CONSUMER}:role/*", "--admin", ADMIN], POLICY, "wildcard"),
    (["--principal", "arn:aws:iam::*:role/inference", "--admin", ADMIN], POLICY, "wildcard"),
    (["--principal", ROLE, "--admin", "*"], POLICY, "wildcard"),
    (["--principal", ROLE, "--admin", ADMIN, "--sealer", "*"], POLICY, "wildcard"),
    (["--principal", ROLE, "--admin", ADMIN, "--opener", f"arn:aws:iam::{OWNER}:user/*"], POLICY, "wildcard"),
    (["--principal", ROLE, "--admin", ADMIN, "--opener", OWNER], USAGE, "as an opener must be"),
    (["--principal", "inference", "--admin", ADMIN], POLICY, "is not a principal"),
    (["--principal", ROLE], USAGE, "--admin"),
    (["--admin", ADMIN], USAGE, "principal"),
    ([*WHO, "--context", "model"], USAGE, "NAME=VALUE"),
    ([*WHO, "--context", "a=1", "--context", "a=2"], USAGE, "twice"),
    ([*WHO, "--for", "bucket"], USAGE, "--model"),
    ([*WHO, "--for", "role"], USAGE, "--key"),
    ([*WHO, "--for", "queue"], USAGE, "queue"),
    ([*WHO, "--model", "https://bucket/"], USAGE, "s3://"),
    ([*WHO, "write"], USAGE, "write"),
    ([*WHO, "--reference", "/nonexistent"], IO, "cannot be opened"),
])
def test_usage(run, image, arguments, code, words):
    result = run("--reference", image, *arguments)
    assert (result.returncode, result.stdout) == (code, "") and words in result.stderr, result


def test_one_shot_is_not_for_enclaves(run, tmp_path):
    result = run("--reference", reference(tmp_path / "eif.json", PCR0=FOUR), *WHO, "--one-shot")
    assert result.returncode == USAGE and "PCR15" in result.stderr


def test_role_and_bucket(run, image):
    model = ["--model", "s3://models/llama/"]
    role = json.loads(run("--for", "role", "--key", KEY, *model).stdout)
    assert [(s["Action"], s["Resource"]) for s in role["Statement"]] == [
        ("kms:Decrypt", KEY), ("s3:GetObject", "arn:aws:s3:::models/llama/*")]
    more = json.loads(run("--for", "role", "--key", KEY, *model, "--report-to", "s3://ops/reports/").stdout)
    assert more["Statement"][2] == {"Sid": "StoreBootReports", "Effect": "Allow", "Action": "s3:PutObject",
                                    "Resource": "arn:aws:s3:::ops/reports/*"}
    refused = run("--for", "role", "--key", KEY, *model, "--report-to", "s3://ops/reports")
    assert refused.returncode == USAGE and "ends in a slash" in refused.stderr
    more = json.loads(run("--for", "role", "--key", KEY, *model, "--auto-scaling-group", "infer ence/1").stdout)
    assert more["Statement"][2] == {
        "Sid": "TellAutoScaling", "Effect": "Allow",
        "Action": ["autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat"],
        "Resource": "arn:aws:autoscaling:*:*:autoScalingGroup:*:autoScalingGroupName/infer ence/1"}
    for name in ("", "a*", "a:b", "${aws:x}", "n" * 256):
        refused = run("--for", "role", "--key", KEY, *model, "--auto-scaling-group", name)
        assert refused.returncode == USAGE and "Auto Scaling group" in refused.stderr
    bucket = json.loads(run("--for", "bucket", "--principal", ROLE, *model).stdout)
    assert bucket["Statement"][0]["Principal"] == {"AWS": ROLE} and bucket["Statement"][1]["Effect"] == "Deny"
    everything = json.loads(run("--reference", image, *WHO, "--key", KEY, *model, "--json").stdout)
    assert everything["role"] == role and everything["bucket"]["Statement"][0] == bucket["Statement"][0]
    assert json.loads(run("--reference", image, *WHO, "--json").stdout)["role"] is None


@pytest.mark.parametrize("arn, partition", [(KEY, "aws"), (KEY.replace("aws", "aws-cn"), "aws-cn"),
                                            (ROLE.replace("aws", "aws-us-gov"), "aws-us-gov")])
def test_a_prefix_is_not_the_beginning_of_other_names(run, arn, partition):
    who = ["--for", "role", "--key", arn] if ":kms:" in arn else ["--for", "bucket", "--principal", arn]
    names = f"arn:{partition}:s3:::models"
    for prefix, below in (("", [f"{names}/*"]), ("/", [f"{names}/*"]), ("/llama/", [f"{names}/llama/*"]),
                          ("/llama/3.1", [f"{names}/llama/3.1/*", f"{names}/llama/3.1"])):
        policy = json.loads(run(*who, "--model", f"s3://models{prefix}").stdout)
        assert [evaluator.listed(s["Resource"]) for s in policy["Statement"]
                if s["Action"] != "kms:Decrypt"] == [below] * (1 if ":kms:" in arn else 2)


def test_kms_takes_and_keeps_what_is_written(stack, sealboot, tmp_path):
    """The written policy admits the emulator's instance, one-shot: once PCR15 is extended, KMS and `policy check` both
    say no."""
    owner = stack.kms()
    image = reference(tmp_path / "image.json", **{f"PCR{n}": stack.pcr(n) for n in (2, 4, 7, 12)})
    written = sealboot("policy", "--reference", image, "--principal", stack.role_arn, "--admin",
                       stack.info["owner_arn"], "--sealer", stack.info["owner_arn"], "--context", "model=m",
                       "--one-shot", "--deny-unattested")
    assert written.returncode == 0, written
    (tmp_path / "policy.json").write_text(written.stdout)
    key = owner.create_key(Policy=written.stdout)["KeyMetadata"]["Arn"]
    blob = owner.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext={"model": "m"})["CiphertextBlob"]

    def check(document, *more):
        (tmp_path / "document").write_bytes(document)
        return sealboot("policy", "check", "--json", "--principal", stack.role_arn, "--root",
                        stack.variables["SEALBOOT_ATTESTATION_ROOT"], *more, tmp_path / "policy.json",
                        tmp_path / "document")

    recipient = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    document = stack.control.document(public_key=recipient)
    assert "CiphertextForRecipient" in kms_requests.decrypt_attested(stack, blob, {"model": "m"}, document)
    assert check(document, "--context", "model=m").returncode == 0
    assert check(document, "--context", "model=n").returncode == MISMATCH
    with pytest.raises(owner.exceptions.ClientError, match="AccessDenied"):
        owner.decrypt(CiphertextBlob=blob, EncryptionContext={"model": "m"}, KeyId=key)
    stack.tpm("tpm2_pcrextend", "15:sha384=" + OTHER)
    document = stack.control.document(public_key=recipient)
    assert "AccessDenied" in kms_requests.decrypt_attested(stack, blob, {"model": "m"}, document)["__type"]
    result = check(document, "--context", "model=m")
    unmet = [e["key"] for e in result.json["statements"][2]["elements"] if e["met"] == "no"]
    assert result.returncode == MISMATCH and unmet == [TPM + "15"]


def test_kms_denies_after_a_driver_from_outside(stack, sealboot, tmp_path):
    """What a UEFI driver before the image leaves: PCR2 differs, and PCR4, 7 and 12 are as predicted."""
    owner = stack.kms()
    image = reference(tmp_path / "image.json", **{f"PCR{n}": stack.pcr(n) for n in (2, 4, 7, 12)})
    written = sealboot("policy", "--reference", image, "--principal", stack.role_arn, "--admin",
                       stack.info["owner_arn"], "--sealer", stack.info["owner_arn"], "--context", "model=m")
    assert written.returncode == 0, written
    key = owner.create_key(Policy=written.stdout)["KeyMetadata"]["Arn"]
    blob = owner.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext={"model": "m"})["CiphertextBlob"]
    recipient = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    document = stack.control.document(public_key=recipient)
    assert "CiphertextForRecipient" in kms_requests.decrypt_attested(stack, blob, {"model": "m"}, document)
    stack.tpm("tpm2_pcrextend", "2:sha384=" + OTHER)
    document = stack.control.document(public_key=recipient)
    assert "AccessDenied" in kms_requests.decrypt_attested(stack, blob, {"model": "m"}, document)["__type"]


EVERYTHING = {"Sid": "Everything", "Effect": "Allow", "Principal": {"AWS": [f"arn:aws:iam::{OWNER}:root", ADMIN, ROLE]},
              "Action": "kms:*", "Resource": "*"}
ADMINISTRATOR = identity.role_session(OWNER, "owner", "s")


@pytest.mark.parametrize("option, denies", [([], True), (["--deny-unattested"], True),
                                            (["--no-deny-unattested"], False)])
def test_denies_to_administrators_too(run, check, leaf, image, option, denies):
    """Whatever else the policy allows: both evaluators say that only the image gets the key, and nobody gives it
    away."""
    written = run("--reference", image, *WHO, "--one-shot", *option).stdout
    policy = json.loads(written)
    policy["Statement"].append(EVERYTHING)
    evaluator.validate(json.dumps(policy))
    pcrs = {**attestation.zero_pcrs(), 2: bytes.fromhex(ALONE), 3: bytes.fromhex(ALONE), 4: b"\x44" * 48}
    shown = {"image": pcrs, "driver": {**pcrs, 2: b"\xab" * 48}, "other": {**pcrs, 4: b"\xab" * 48},
             "command line": {**pcrs, 12: b"\xab" * 48}, "no driver event": {**pcrs, 2: bytes(48)},
             "model": {**pcrs, 15: b"\xab" * 48}, "nothing": {}}
    for (name, presented), action in itertools.product(
            shown.items(),
        ("kms:Decrypt", "kms:ReEncryptFrom", "kms:CreateGrant", "kms:GenerateDataKey", "kms:PutKeyPolicy")):
        free = action in ("kms:GenerateDataKey", "kms:PutKeyPolicy") or (name, action) == ("image", "kms:Decrypt")
        carries = presented if action in ("kms:Decrypt", "kms:GenerateDataKey") else {}
        decision = evaluator.evaluate(policy, evaluator.Context(action, ADMINISTRATOR, KEY, {
            f"{TPM}{n}": value.hex() for n, value in carries.items()} | {"aws:PrincipalArn": ADMIN}))
        document = attestation.document(leaf, presented or {0: b"\0" * 48}, now=NOW)
        answer = check(policy, document, "--principal", ADMIN, "--action", action).answer
        assert decision.effect == ("Allow" if free or not denies else "Deny"), (name, action, decision)
        assert (answer["decision"], answer["explicit_deny"]) == (
            "allowed" if free or not denies else "denied", denies and not free), (name, action)


def test_the_owner_opens_models_if_asked_for(stack, sealboot, tmp_path):
    """--opener, and nothing less, lets `sealboot unseal` in; what is written otherwise has no weakness."""
    image = reference(tmp_path / "image.json", **{f"PCR{n}": stack.pcr(n) for n in (2, 4, 7, 12)})
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights").write_bytes(b"w" * 5000)
    for name, option, code in (("closed", [], 30), ("open", ["--opener", stack.info["owner_arn"]], 0)):
        written = sealboot("policy", "--reference", image, "--principal", stack.role_arn, "--admin",
                           stack.info["owner_arn"], "--sealer", stack.info["owner_arn"], "--context", "model=m",
                           "--one-shot", *option)
        assert written.returncode == 0 and ("as --opener asks" in written.stderr) == bool(option), written
        (tmp_path / "policy.json").write_text(written.stdout)
        findings = json.loads(sealboot("policy", "check", "--json", tmp_path / "policy.json").stdout)["findings"]
        assert [(f["statement"], f["code"]) for f in findings if f["code"] != "never-measured"] == (
            [("OpenModels", "no-attestation")] if option else [])
        key = stack.kms().create_key(Policy=written.stdout)["KeyMetadata"]["Arn"]
        place = f"s3://{stack.bucket}/{name}/"
        sealed = sealboot("seal", "--quiet", "--key", key, "--name", "m", tmp_path / "model", place)
        assert sealed.returncode == 0, sealed
        opened = sealboot("unseal", "--quiet", place, tmp_path / name)
        assert opened.returncode == code, opened
        assert (tmp_path / name / "weights").exists() == bool(option)


# --- checking

@pytest.fixture
def check(run, root, tmp_path):
    (tmp_path / "root.pem").write_bytes(root.pem)

    def call(policy, document, *arguments):
        (tmp_path / "policy.json").write_text(policy if isinstance(policy, str) else json.dumps(policy))
        (tmp_path / "document").write_bytes(document)
        result = run("check", "--json", "--root", tmp_path / "root.pem", *arguments, tmp_path / "policy.json",
                     tmp_path / "document")
        result.answer = json.loads(result.stdout) if result.stdout else None
        return result
    return call


def allow(conditions=None, **changes):
    statement = {
        "Sid": "Release", "Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "kms:Decrypt", "Resource": "*"
    }
    return {"Version": "2012-10-17", "Statement": [{**statement, **({"Condition": conditions} if conditions else {}),
                                                    **changes}]}


def test_names_what_fails(run, check, leaf):
    policy = allow({"StringEqualsIgnoreCase": {TPM + "4": OTHER,
                                               TPM + "12": ZEROS},
                    "StringEquals": {"kms:EncryptionContext:model": "llama"}})
    document = attestation.document(leaf, {4: b"\x44" * 48, 12: bytes(48)}, now=NOW)
    result = check(policy, document, "--principal", SESSION, "--context", "model=mistral")
    unmet = {
        e["key"]: (e["wanted"], e["found"]) for e in result.answer["statements"][0]["elements"] if e["met"] != "yes"
    }
    assert result.returncode == MISMATCH and result.answer["decision"] == "denied"
    assert unmet == {TPM + "4": ([OTHER], FOUR), "kms:EncryptionContext:model": (["llama"], "mistral")}


def test_a_document_that_does_not_verify_presents_nothing(check, leaf):
    document = attestation.document(leaf, {4: b"\x44" * 48}, now=NOW)
    assert check(allow(), document[:-1] + bytes([document[-1] ^ 1]), "--principal", ROLE).returncode == DOCUMENT


def test_what_cannot_be_known_is_not_decided(check, leaf):
    document = attestation.document(leaf, {4: b"\x44" * 48}, now=NOW)
    policy = allow({"StringEquals": {"aws:SourceVpce": "vpce-1"}})
    assert check(policy, document, "--principal", ROLE).answer["decision"] == "unknown"
    assert check(policy, document, "--principal", ROLE, "--set", "aws:SourceVpce=vpce-1").returncode == 0
    assert check(policy, document, "--principal", ROLE, "--set", "aws:sourcevpce=vpce-2").answer["decision"] == "denied"


@pytest.fixture
def image_document(leaf):
    return attestation.document(leaf, {**attestation.zero_pcrs(), 2: bytes.fromhex(ALONE), 4: b"\x44" * 48}, now=NOW)


BOUND = {"StringEquals": {TPM + "2": ALONE, TPM + "4": FOUR, TPM + "12": ZEROS}}
ALSO = {"Principal": {"AWS": ROLE}, "Action": "kms:Decrypt", "Resource": "*"}


def with_denial(**denial):
    policy = allow(BOUND)
    policy["Statement"].append({"Effect": "Deny", **ALSO, **denial})
    return policy


@pytest.mark.parametrize("policy, otherwise, with_key", [
    (with_denial(Resource=KEY), "unknown", "denied"),
    (allow(BOUND, Resource=KEY), "unknown", "allowed"),
    (allow(BOUND, Resource=KEY[:-1]), "unknown", "denied"),
    (allow(BOUND, Resource=["*", KEY]), "allowed", "allowed"),
    ({**allow(BOUND, Resource="arn:${aws:partition}:kms:*"), "Version": "2012-10-17"}, "unknown", "unknown"),
])
def test_a_key_that_was_not_given_may_be_the_one_named(check, image_document, policy, otherwise, with_key):
    assert check(policy, image_document, "--principal", ROLE).answer["decision"] == otherwise
    assert check(policy, image_document, "--principal", ROLE, "--key", KEY).answer["decision"] == with_key
    assert check(policy, image_document, "--principal", ROLE, "--key", "alias/model").returncode == USAGE


def only_by(operator, wanted, effect="Allow"):
    condition = {operator: {"aws:PrincipalArn": wanted}}
    return allow({**BOUND, **condition}) if effect == "Allow" else with_denial(Condition=condition)


PATH = f"arn:aws:iam::{CONSUMER}:role/ml/inference"


@pytest.mark.parametrize("policy, decision", [
    (only_by("ArnNotLike", PATH, "Deny"), "unknown"),
    (only_by("ArnLike", ROLE), "unknown"),
    (only_by("StringEqualsIgnoreCase", PATH.upper()), "unknown"),
    (only_by("StringLike", "*/ml/*"), "unknown"),
    (only_by("StringEquals", [PATH, ROLE]), "unknown"),
    (only_by("StringLike", "*/ml/other"), "denied"),
    (only_by("ArnLike", f"arn:aws:iam::{CONSUMER}:role/*"), "allowed"),
    (only_by("StringLike", "*inference"), "allowed"),
    (only_by("ArnLike", f"arn:aws:iam::{OWNER}:role/*"), "denied"),
    (only_by("StringEquals", PATH + "2"), "denied"),
    (only_by("ArnNotLike", f"arn:aws:iam::{CONSUMER}:role/*inference", "Deny"), "allowed"),
])
def test_a_session_hides_the_path_of_its_role(check, image_document, policy, decision):
    assert check(policy, image_document, "--principal", SESSION).answer["decision"] == decision


def test_the_path_of_a_role_can_be_given(check, image_document):
    policy = only_by("ArnNotLike", PATH, "Deny")
    for arn, decision in ((PATH, "allowed"), (ROLE, "denied")):
        asked = check(policy, image_document, "--principal", SESSION, "--set", f"aws:PrincipalArn={arn}")
        assert asked.answer["decision"] == decision
    for principal, arn in ((SESSION, ADMIN), (ROLE, ROLE)):
        result = check(policy, image_document, "--principal", principal, "--set", f"aws:PrincipalArn={arn}")
        assert result.returncode == USAGE


ROOT = f"arn:aws:iam::{CONSUMER}:root"


@pytest.mark.parametrize("listed, principal, decision", [
    ([ROOT], SESSION, "unknown"), ([ROLE], SESSION, "unknown"), ([ROOT, ROLE], SESSION, "unknown"),
    ([ROOT, ROLE, SESSION], SESSION, "allowed"), ([CONSUMER, PATH, SESSION], SESSION, "allowed"),
    ([ROOT, ROLE, SESSION], ROLE, "unknown"), ([ADMIN], SESSION, "denied"), (["*"], SESSION, "allowed"),
])
def test_not_principal_spares_only_who_is_listed_with_the_account(check, image_document, listed, principal, decision):
    policy = with_denial(NotPrincipal={"AWS": listed})
    del policy["Statement"][1]["Principal"]
    result = check(policy, image_document, "--principal", principal)
    assert result.answer["decision"] == decision and result.answer["explicit_deny"] == (decision == "denied")


def test_not_principal_is_for_deny(check, image_document):
    policy = allow(BOUND)
    policy["Statement"][0]["NotPrincipal"] = policy["Statement"][0].pop("Principal")
    result = check(policy, image_document, "--principal", ROLE)
    assert result.returncode == POLICY and "only for Deny" in result.stderr


@pytest.mark.parametrize("key, operator, value, decision", [
    ("aws:CurrentTime", "DateLessThan", "2030-01-01T00:00:00Z", "unknown"),
    ("aws:SourceIp", "NotIpAddress", ["10.0.0.0/8"], "unknown"),
    ("aws:SourceIp", "IpAddressIfExists", "::1", "unknown"),
    ("aws:MultiFactorAuthAge", "NumericLessThan", 3600, "unknown"),
    ("kms:ViaService", "NumericNotEquals", 1, "allowed"),
    ("kms:ViaService", "BinaryEquals", "QQ==", "denied"),
    ("kms:ViaService", "StringMatches", "x", None),
    ("kms:ViaService", "NullIfExists", "true", None),
    ("kms:ViaService", "IpAddressIfexists", "10.0.0.1", None),
    ("kms:ViaService", "StringEquals", 1, None),
])
def test_operators_that_are_not_compared_are_not_decided(check, image_document, key, operator, value, decision):
    policy = allow({**BOUND, operator: {key: value}} if operator != "StringEquals" else {operator: {key: value}})
    result = check(policy, image_document, "--principal", ROLE, *(["--set", f"{key}=1"] if "aws:" in key else []))
    assert (result.answer or {}).get("decision") == decision and (decision or result.returncode == POLICY), result


def test_a_deleted_principal_matches_nobody(check, image_document):
    """What get-key-policy shows once a role is gone."""
    policy = allow(BOUND, Principal={"AWS": ["AROAEXAMPLEEXAMPLE123", "AIDAEXAMPLEEXAMPLE123"]})
    assert check(policy, image_document, "--principal", ROLE).answer["decision"] == "denied"
    policy["Statement"][0]["Principal"]["AWS"].append("AKIAEXAMPLEEXAMPLE123")
    assert check(policy, image_document, "--principal", ROLE).returncode == POLICY


@pytest.mark.parametrize("key", [TPM + "4", TPM + "7", IMAGE, "KMS:calleraccount", "kms:EncryptionContext:model",
                                 "kms:EncryptionContextKeys"])
def test_what_is_known_cannot_be_set(check, image_document, key):
    policy = allow({"StringEquals": {TPM + "4": OTHER}})
    result = check(policy, image_document, "--principal", ROLE, "--set", f"{key}={OTHER}")
    assert result.returncode == USAGE and key in result.stderr, result


def test_what_a_reference_does_not_tell_can_be_set(run, image, tmp_path):
    (tmp_path / "policy.json").write_text(json.dumps(allow({"StringEquals": {TPM + "4": FOUR, TPM + "7": OTHER}})))
    check = ["check", tmp_path / "policy.json", "--principal", ROLE, "--reference", image, "--set"]
    assert run(*check, f"{TPM}7={OTHER}").returncode == 0
    assert run(*check, f"{TPM}4={OTHER}").returncode == USAGE


def test_references_instead_of_documents(run, image, tmp_path):
    (tmp_path / "policy.json").write_text(run("--reference", image, *WHO, "--one-shot").stdout)
    arguments = ["check", tmp_path / "policy.json", "--principal", ROLE, "--reference"]
    assert run(*arguments, image).returncode == 0
    result = run(*arguments, reference(tmp_path / "other.json", PCR2=ALONE, PCR4=OTHER, PCR12=ZEROS))
    assert result.returncode == MISMATCH and f"NOT MET  StringEqualsIgnoreCase {TPM}4" in result.stdout
    result = run(*arguments, reference(tmp_path / "other.json", PCR4=FOUR))
    assert result.returncode == MISMATCH and "UNDECIDED" in result.stdout


def also(conditions, action, principal):
    """Release under these conditions, and an action for a principal without any."""
    policy = allow(conditions)
    policy["Statement"].append({"Effect": "Allow", "Principal": {"AWS": principal}, "Action": action, "Resource": "*"})
    return policy


def guarded(*denials, **changes):
    """An Allow without conditions, and Deny statements that demand attestation."""
    policy = allow(**changes)
    policy["Statement"] += denials
    return policy


DENY2, DENY4, DENY12 = ({"Effect": "Deny", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*",
                         "Condition": {"StringNotEqualsIgnoreCase": {TPM + pcr: value}}}
                        for pcr, value in (("2", ALONE), ("4", FOUR), ("12", ZEROS)))

WEAK = [
    ("wildcard-principal", allow({"StringEquals": {IMAGE: OTHER}}, Principal="*")),
    ("no-attestation", allow()),
    ("no-attestation", allow(Action="kms:*", Principal={"AWS": f"arn:aws:iam::{OWNER}:root"})),
    ("no-attestation", allow(Action="kms:CreateGrant")),
    ("no-attestation", allow({"StringEqualsIfExists": {IMAGE: OTHER}})),
    ("no-attestation", allow({"ForAllValues:StringEquals": {IMAGE: OTHER}})),
    ("no-attestation", allow({"StringNotEquals": {IMAGE: OTHER}})),
    ("no-attestation", allow({"Null": {IMAGE: "false"}})),
    ("pcr4-without-pcr12", allow({"StringEquals": {TPM + "2": ALONE, TPM + "4": OTHER}})),
    ("pcr4-without-pcr2", allow({"StringEquals": {TPM + "4": OTHER, TPM + "12": ZEROS}})),
    ("pcr4-without-pcr2", allow({"StringEquals": {TPM + "4": OTHER, TPM + "7": FOUR, TPM + "12": ZEROS}})),
    ("pcr4-without-pcr2", allow({"StringEquals": {TPM + "4": OTHER, TPM + "12": ZEROS}, "Null": {TPM + "2": "false"}})),
    ("pcr4-without-pcr2",
     allow({"StringEquals": {TPM + "4": OTHER, TPM + "12": ZEROS}, "StringNotEquals": {TPM + "2": OTHER}})),
    ("pcr4-without-pcr2",
     allow({"StringEquals": {TPM + "4": OTHER, TPM + "12": ZEROS}, "StringEqualsIfExists": {TPM + "2": ALONE}})),
    ("firmware-pcr", allow({"StringEquals": {f"{TPM}{n}": OTHER for n in (0, 2, 4, 12)}})),
    ("image-not-bound", allow({"StringEquals": {TPM + "15": ZEROS}})),
    ("image-not-bound", allow({"StringEquals": {ENCLAVE + "3": OTHER}})),
    ("mixed-images", allow({"StringEquals": {f"{TPM}{n}": [OTHER, FOUR] for n in (4, 12)} | {TPM + "2": ALONE}})),
    ("loose-match", allow({"StringLike": {IMAGE: "ab*"}})),
    ("debug-enclave", allow({"StringEquals": {IMAGE: ZEROS}})),
    ("never-matches", allow({"StringEquals": {IMAGE: OTHER.upper()}})),
    ("debug-enclave", allow({"StringEquals": {ENCLAVE + "8": [OTHER, ZEROS]}})),
    ("policy-variable",
     allow({"StringLike": {TPM + "4": "${kms:RecipientAttestation:NitroTPMPCR4}", TPM + "12": ZEROS,
                           TPM + "2": ALONE}})),
    ("policy-variable", allow({"StringEquals": {IMAGE: OTHER,
                                                "kms:EncryptionContext:m": "${KMS:EncryptionContext:m}"}})),
    ("no-attestation", allow({"NumericEquals": {IMAGE: OTHER}})),
    ("self-administration", also(BOUND, "kms:Put*", ROOT)),
    ("self-administration", also(BOUND, "kms:ReplicateKey", CONSUMER)),
    ("self-administration", also(BOUND, "kms:PutKeyPolicy", [ADMIN, PATH])),
    ("self-administration", also(BOUND, "kms:PutKeyPolicy", SESSION)),
    ("self-administration", also(BOUND, "kms:PutKeyPolicy", ADMIN.replace(OWNER, CONSUMER))),
    ("self-administration", also(BOUND, "kms:PutKeyPolicy", ROLE.replace("role", "user"))),
    ("self-sealing", also(BOUND, ["kms:GenerateDataKey", "kms:Encrypt"], ROLE)),
    ("unique-id", also(BOUND, "kms:Encrypt", "AROAEXAMPLEEXAMPLE123")),
    ("policy-variable",
     allow({"StringEquals": {**BOUND["StringEquals"], "kms:EncryptionContext:tenant": "${aws:PrincipalTag/tenant}"}})),
    ("open-context", allow({**BOUND, "StringLike": {"kms:EncryptionContext:model": "*"}})),
    ("added-command-line", allow({"StringEquals": {**BOUND["StringEquals"], TPM + "12": [ZEROS, OTHER]}})),
    ("not-one-shot", allow({"StringEquals": {**BOUND["StringEquals"], TPM + "15": [ZEROS, OTHER]}})),
    ("never-measured", allow({"StringEquals": {**BOUND["StringEquals"], TPM + "4": ZEROS}})),
    ("never-measured", allow({"StringEquals": {**BOUND["StringEquals"], TPM + "2": ZEROS}})),
    ("never-measured", allow({"StringEquals": {**BOUND["StringEquals"], TPM + "2": [ALONE, ZEROS]}})),
    ("never-measured", guarded({**DENY2, "Condition": {"StringNotEquals": {TPM + "2": ZEROS}}}, DENY4, DENY12)),
    ("loose-match", allow({"StringLike": {**BOUND["StringEquals"], TPM + "2": "*"}})),
    ("unknown-key", allow({"StringEquals": {TPM + "2": ALONE, TPM + "04": FOUR, TPM + "12": ZEROS}})),
    ("no-attestation", guarded({**DENY4, "Principal": {"AWS": ROLE}})),
    ("no-attestation", guarded({**DENY4, "Action": "kms:ReEncryptFrom"})),
    ("no-attestation", guarded({**DENY4, "Resource": KEY})),
    ("no-attestation", guarded({**DENY4, "Condition": {**DENY4["Condition"], "Bool": {"aws:SecureTransport": "true"}}
                                })),
    ("no-attestation", guarded({**DENY4, "Condition": {"StringNotEqualsIfExists": {TPM + "4": FOUR}}})),
    ("no-attestation", guarded(DENY4, DENY12, Action=["kms:Decrypt", "kms:CreateGrant"])),
    ("pcr4-without-pcr12", guarded(DENY2, DENY4)),
    ("pcr4-without-pcr2", guarded(DENY4, DENY12)),
    ("pcr4-without-pcr2", guarded({**DENY2, "Principal": {"AWS": ROLE}}, DENY4, DENY12)),
    ("pcr4-without-pcr2", guarded({**DENY2, "Condition": {"StringNotEqualsIfExists": {TPM + "2": ALONE}}}, DENY4,
                                  DENY12)),
    ("self-administration", guarded(*({**d, "Action": "kms:*"} for d in (DENY2, DENY4, DENY12)), Action="kms:*")),
    ("mixed-images",
     guarded({**DENY4, "Condition": {"StringNotEquals": {TPM + "4": [FOUR, OTHER]}}},
             {**DENY12, "Condition": {"StringNotEquals": {TPM + "12": [FOUR, OTHER]}}}, DENY2)),
]
SOUND = [
    guarded(DENY2, DENY4, DENY12),
    guarded(DENY2 | {"Action": "*"}, {**DENY4, "Action": "kms:*"}, {**DENY12, "Action": "*"},
            Action=["kms:C*", "kms:ReEnc*"]),
    also(BOUND, "kms:PutKeyPolicy", [ADMIN, OWNER]),
    guarded(DENY2, **{"Condition": {"StringEquals": {TPM + "4": FOUR, TPM + "12": ZEROS}}}),
    allow({"StringEquals": {**BOUND["StringEquals"], TPM + "2": [ALONE, OTHER]}}),
    also(BOUND, "kms:GetKeyPolicy", ROLE),
    allow({"StringEquals": {IMAGE: OTHER, ENCLAVE + "8": ZEROS}}),
]


@pytest.mark.parametrize("code, policy", WEAK)
def test_weaknesses(run, tmp_path, code, policy):
    (tmp_path / "policy.json").write_text(json.dumps(policy))
    result = run("check", "--json", tmp_path / "policy.json")
    assert result.returncode == POLICY and [f["code"] for f in json.loads(result.stdout)["findings"]] == [code]


UNKNOWN = ["kms:RecipientAttestation", "kms:RecipientAttestation:NitroTPM_PCR4", TPM + "04"]


@pytest.mark.parametrize("key", UNKNOWN)
@pytest.mark.parametrize("operator", [
    "Null", "StringEquals", "StringNotEquals", "StringLikeIfExists", "ForAllValues:StringEquals",
    "ForAnyValue:StringNotEquals"
])
@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_a_key_that_kms_does_not_have_is_named_and_never_there(run, check, image, image_document, key, operator,
                                                               effect):
    policy = only_by("StringEquals", ROLE, effect)
    policy["Statement"][-1]["Condition"] = {operator: {key: "true"}}
    wanted = evaluator.evaluate(policy, evaluator.Context("kms:Decrypt", PRINCIPALS[0], KEY, {
        TPM + "2": ALONE, TPM + "4": FOUR, TPM + "12": ZEROS}))
    answer = check(policy, image_document, "--principal", ROLE).answer
    assert (answer["decision"], answer["explicit_deny"]) == ("allowed" if wanted else "denied", wanted.effect == "Deny")
    named, = [f for f in answer["findings"] if f["code"] == "unknown-key"]
    assert f"no condition key {key}," in named["text"] and "NitroTPMPCR4" in named["advice"]
    by_reference = ["check", "--json", "--reference", image, "--principal", ROLE, image.parent / "policy.json"]
    assert json.loads(run(*by_reference).stdout)["decision"] == answer["decision"], "a reference leaves no doubt either"
    result = run(*by_reference, "--set", f"{key}={FOUR}")
    assert result.returncode == USAGE and "not a condition key of KMS" in result.stderr


def test_actions_without_a_recipient_present_nothing(check, image_document):
    """KMS takes an attestation document for Decrypt and the like only."""
    for action, decision in (("kms:Decrypt", "allowed"), ("kms:ReEncryptFrom", "denied"), ("kms:CreateGrant",
                                                                                           "denied")):
        policy = allow(BOUND, Action=["kms:Decrypt", "kms:ReEncryptFrom", "kms:CreateGrant"])
        assert check(policy, image_document, "--principal", ROLE, "--action", action).answer["decision"] == decision


@pytest.mark.parametrize("policy", SOUND)
def test_no_weakness(run, tmp_path, policy):
    (tmp_path / "policy.json").write_text(json.dumps(policy))
    result = run("check", tmp_path / "policy.json")
    assert result.returncode == 0 and "No finding" in result.stdout, result


def test_takes_what_the_aws_command_prints(run, tmp_path):
    (tmp_path / "policy.json").write_text(json.dumps({"Policy": json.dumps(allow()), "PolicyName": "default"}))
    assert "no-attestation" in run("check", tmp_path / "policy.json").stdout


# --- manuals

MANUALS = Path(__file__).parents[2] / "policy/man"


def members(value):
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    for one in value if isinstance(value, list) else []:
        yield from members(one)


def test_the_manual_names_every_member(run, check, image_document, tmp_path):
    (tmp_path / "other").write_text(json.dumps(allow(BOUND)))
    checked = check(allow(), image_document, "--principal", ROLE).answer
    compared = json.loads(run("diff", "--json", tmp_path / "policy.json", tmp_path / "other").stdout)
    assert checked["findings"] and compared["changes"]
    manual = (MANUALS / "sealboot-policy.1").read_text().splitlines()
    for member in {*members(checked), *members(compared)}:
        assert any(re.fullmatch(rf"\.(It )?Ql {member}( [;:,.])?", line) for line in manual), member


def test_the_manual_lists_every_finding():
    source = (MANUALS.parent / "keypolicy/lint.c").read_text()
    codes = set(re.findall(r'\{ "([a-z0-9-]+)",\s+"', source.partition("advices[] = {")[2].partition("};")[0]))
    assert len(codes) >= 19 and {code for code, _ in WEAK} <= codes
    assert {code for code in re.findall(r'found\(l, "([a-z0-9-]+)"', source)} <= codes, "each has its advice"
    manual = (MANUALS / "sealboot-policy.1").read_text().partition(".Sh FINDINGS")[2].partition(".Sh")[0]
    assert set(re.findall(r"^\.It ([a-z0-9-]+)$", manual, re.MULTILINE)) == codes


@pytest.mark.parametrize("name", ["policy", "doctor"])
def test_the_manual_has_the_verb_in_its_synopsis(name):
    """groff's .Nm repeats no more than the first word."""
    manual = (MANUALS / f"sealboot-{name}.1").read_text()
    assert f".Nm sealboot {name}\n" in manual and "\n.Nm\n" not in manual


# --- agreement with the other evaluator

PRINCIPALS = [
    identity.role_session(CONSUMER, "inference", "i-0123456789abcdef0"),
    identity.role_session(CONSUMER, "training", "s"),
    identity.role_session(OWNER, "owner", "s"),
    identity.user(OWNER, "alice"),
    identity.user(CONSUMER, "inference"),
]
NAMES = [ROLE, SESSION, ADMIN, f"arn:aws:iam::{OWNER}:user/alice", f"arn:aws:iam::{CONSUMER}:root", CONSUMER, OWNER,
         f"arn:aws:iam::{OWNER}:root", f"arn:aws:iam::{CONSUMER}:role/training", "arn:aws:iam::333333333333:root", "*"]
ACTIONS = ["kms:Decrypt", "kms:decrypt", "KMS:DECRYPT", "kms:*", "*", "kms:De*", "kms:Decryp?", "kms:Encrypt",
           "kms:GenerateDataKey*",
           "kms:Describe*", "kms:?ecrypt", "kms:Decrypt?"]
RESOURCES = [
    "*", KEY,
    KEY.upper(), "arn:aws:kms:*:*:key/*", "arn:aws:kms:us-east-1:111111111111:key/????abcd-*", KEY[:-1], "arn:*:key/1"
]
STRINGS = ["StringEquals", "StringEqualsIgnoreCase", "StringLike", "StringNotEquals", "StringNotEqualsIgnoreCase",
           "StringNotLike"]
ATTESTED = {
    **{f"{TPM}{n}": None for n in (0, 4, 7, 12, 15, 23)},
    **{f"{ENCLAVE}{n}": None for n in (0, 4, 8)}, IMAGE: None,
}
CONTEXTS = [{}, {"model": "llama"}, {"model": "llama", "version": "3"}, {"Model": "LLAMA"}, {"model": "mistral",
                                                                                             "tenant": "a b=c"}]


def documents(leaf):
    """Name, bytes: NitroTPM and enclave documents with PCRs that policies will and will not match."""
    tpm = attestation.zero_pcrs()
    yield "plain", attestation.document(leaf, {**tpm, 4: b"\x44" * 48}, now=NOW)
    yield "command-line", attestation.document(leaf, {**tpm, 4: b"\x44" * 48, 12: b"\xab" * 48}, now=NOW)
    yield "other", attestation.document(leaf, {**tpm, 4: b"\xab" * 48, 7: b"\x77" * 48}, now=NOW)
    yield "model", attestation.document(leaf, {**tpm, 4: b"\x44" * 48, 15: b"\xab" * 48}, now=NOW)
    yield "few", attestation.document(leaf, {4: b"\x44" * 48, 12: bytes(48)}, now=NOW)
    none = {"nitrotpm_pcrs": attestation.ABSENT}
    yield "enclave", attestation.document(leaf, {}, now=NOW, pcrs={0: b"\x44" * 48, 4: b"\xab" * 48, 8: bytes(48)},
                                          **none)
    yield "debug", attestation.document(leaf, {}, now=NOW, pcrs={n: bytes(48) for n in range(16)}, **none)


class Generator:
    """Policies near enough to a request to be met half the time; some not policies at all."""

    def __init__(self, seed: int, attested: dict[str, str]):
        self.random, self.attested = random.Random(seed), attested

    def some(self, values, most=2):
        chosen = self.random.sample(values, self.random.randint(1, most))
        return chosen[0] if len(chosen) == 1 and self.random.random() < 0.7 else chosen

    def case(self, text):
        return self.random.choice([text, text, text, text.lower(), text.upper()])

    def value(self, key):
        if key.startswith("kms:RecipientAttestation"):
            found = self.attested.get(key)
            pool = [found] * 6 + [found.upper(), found[:40] + "*", "?" + found[1:]] if found else []
            return self.random.choice(pool + [ZEROS, FOUR, OTHER, OTHER.upper(), "*"])
        return self.random.choice({
            "kms:EncryptionContextKeys": ["model", "version", "Model", "tenant", "*", "m*"],
            "kms:CallerAccount": [OWNER, CONSUMER, "2*", "333333333333"],
            "aws:PrincipalAccount": [OWNER, CONSUMER],
            "aws:PrincipalArn": [
                ROLE, ADMIN, f"arn:aws:iam::{CONSUMER}:role/*", "arn:aws:iam::*:role/inference", SESSION, "*"
            ],
            "aws:PrincipalType": ["AssumedRole", "User"],
            "kms:ViaService": ["s3.us-east-1.amazonaws.com"],
        }.get(key, ["llama", "LLAMA", "mistral", "3", "ll*", "l?ama", "a b=c"]))

    def condition(self):
        kind = self.random.random()
        if kind < 0.06:
            key = self.random.choice([*ATTESTED, "kms:EncryptionContext:model", "kms:ViaService",
                                      "kms:EncryptionContextKeys"])
            return "Null", {self.case(key): self.some(["true", "false", True, False])}
        if kind < 0.10:
            return self.random.choice(["Bool", "BoolIfExists"
                                       ]), {"aws:SecureTransport": self.some(["true", "false", True, "TRUE"])}
        if kind < 0.16:
            operator = self.random.choice(["ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike", "ArnLikeIfExists"])
            return operator, {"aws:PrincipalArn": self.some([self.value("aws:PrincipalArn") for _ in range(3)])}
        key = self.random.choice([*self.attested, *self.attested, *ATTESTED, "kms:EncryptionContext:model",
                                  "kms:EncryptionContext:version",
                                  "kms:EncryptionContextKeys", "kms:EncryptionContextKeys", "kms:CallerAccount",
                                  "aws:PrincipalAccount",
                                  "aws:PrincipalType", "aws:PrincipalArn", "kms:ViaService"])
        operator = self.random.choice(["StringEquals", "StringEqualsIgnoreCase", *STRINGS])
        if self.random.random() < (0.6 if key == "kms:EncryptionContextKeys" else 0.08):
            operator = self.random.choice(["ForAllValues:", "ForAnyValue:"]) + operator
        if self.random.random() < 0.1:
            operator += "IfExists"
        return operator, {self.case(key): self.some([self.value(key) for _ in range(3)], 3)}

    def statement(self):
        principal = {"AWS": self.some(NAMES, 4)} if self.random.random() < 0.9 else "*"
        if self.random.random() < 0.05:
            principal = {"Service": "s3.amazonaws.com"}
        effect = "Allow" if self.random.random() < 0.75 else "Deny"
        excepting = self.random.random() < (0.25 if effect == "Deny" else 0.01)
        if excepting and self.random.random() < 0.5:
            principal = {"AWS": self.random.sample([ROLE, SESSION, CONSUMER], self.random.randint(2, 3))}
        statement = {"Effect": effect, "NotPrincipal" if excepting else "Principal": principal,
                     "NotAction" if self.random.random() < 0.06 else "Action": self.some(ACTIONS[:6] * 2 + ACTIONS, 3),
                     "NotResource" if self.random.random() < 0.05 else "Resource": self.some(["*"] * 6 + RESOURCES)}
        conditions = {}
        for _ in range(self.random.choice([0, 1, 1, 2, 3])):
            operator, block = self.condition()
            conditions.setdefault(operator, {}).update(block)
        return {**statement, "Condition": conditions} if conditions else statement

    def broken(self, policy):
        """One thing that KMS refuses."""
        statement = self.random.choice(policy["Statement"])
        what = self.random.choice([
            "effect", "no effect", "element", "principal", "action", "operator", "version", "sid", "empty", "both",
            "resource", "value", "no statement", "key", "bool"
        ])
        change = {
            "effect": {"Effect": "allow"},
            "element": {"Conditions": {}},
            "principal": {"Principal": {"AWS": "arn:aws:iam::*:root"}},
            "action": {"Action": "s3:GetObject"},
            "operator": {"Condition": {"StringMatches": {"kms:CallerAccount": OWNER}}},
            "empty": {"Condition": {"StringEquals": {}}},
            "both": {"Action": "kms:Decrypt", "NotAction": "kms:Encrypt"},
            "resource": {"Resource": []},
            "value": {"Condition": {"StringEquals": {"kms:CallerAccount": 7}}},
            "key": {"Condition": {"StringEquals": {"CallerAccount": OWNER}}},
            "bool": {"Condition": {"Null": {"kms:ViaService": "maybe"}}},
        }.get(what, {})
        if what == "principal":
            statement.pop("NotPrincipal", None)
        if what == "resource":
            statement.pop("NotResource", None)
        if what == "action":
            statement.pop("NotAction", None)
        statement.update(change)
        if what == "no effect":
            del statement["Effect"]
        elif what == "version":
            policy["Version"] = "2020-01-01"
        elif what == "sid":
            policy["Statement"] = [{**statement, "Sid": "a"}, {**statement, "Sid": "a"}]
        elif what == "no statement":
            policy["Statement"] = []
        return policy

    def policy(self):
        statements = [self.statement() for _ in range(self.random.choice([1, 1, 2, 3, 4]))]
        policy = {"Version": "2012-10-17", "Statement": statements}
        return self.broken(policy) if self.random.random() < 0.12 else policy


def expected(policy, seen, principal, context):
    """What the local KMS's own evaluator says, with the condition keys that the local KMS fills."""
    call = SimpleNamespace(context=context, document=seen, principal=principal, alias=None,
                           region="us-east-1", request=SimpleNamespace(secure=True, peer="127.0.0.1"))
    keys = kms.Call.condition_keys(call)
    try:
        document = evaluator.validate(json.dumps(policy))
    except evaluator.MalformedPolicy:
        return POLICY, None, None, None
    decision = evaluator.evaluate(document, evaluator.Context("kms:Decrypt", principal, KEY, keys))
    said = ("allowed" if decision else "denied") if decision.certain else "unknown"
    return (0 if decision else MISMATCH), decision.certain and decision.effect == "Deny", decision.delegated, said


PAIRS = 1200


def test_agrees_with_the_local_kms(check, leaf, root):
    outcomes = {}
    presented = {
        name: (document, attestation_check.verify(document, root.der, NOW)) for name, document in documents(leaf)
    }
    for seed, name in zip(range(PAIRS), itertools.cycle(presented)):
        document, seen = presented[name]
        chosen = random.Random(-seed - 1)
        principal, context = chosen.choice(PRINCIPALS[:1] * 3 + PRINCIPALS), chosen.choice(CONTEXTS)
        prefix = "kms:RecipientAttestation:" + ("NitroTPMPCR" if seen.kind == "nitrotpm_pcrs" else "PCR")
        attested = {f"{prefix}{n}": v.hex() for n, v in seen.pcrs.items() if n in (0, 4, 7, 12, 15)}
        policy = Generator(seed, attested).policy()
        wanted = expected(policy, seen, principal, context)
        role = ["--set", f"aws:PrincipalArn={principal.role}"] if principal.role else []
        result = check(policy, document, "--principal", principal.arn, "--key", KEY, *role,
                       *(a for k, v in context.items() for a in ("--context", f"{k}={v}")))
        answer = result.answer or {}
        said = result.returncode, answer.get("explicit_deny"), answer.get("delegated"), answer.get("decision")
        assert said == wanted, (seed, name, principal.arn, context, json.dumps(policy), answer, result.stderr)
        outcomes[wanted[:2] + wanted[3:]] = outcomes.get(wanted[:2] + wanted[3:], 0) + 1
    undecided = outcomes.pop((MISMATCH, False, "unknown"))
    assert undecided >= 3 and sum(outcomes.values()) >= 1000 and min(outcomes.values()) >= 50, (undecided, outcomes)
    assert len(outcomes) == 4


def test_what_is_not_said_changes_no_answer(check, leaf):
    """Without the key and the role's path, the answer is the same or none."""
    undecided = 0
    for seed, (name, document) in zip(range(250), itertools.cycle(documents(leaf))):
        policy = Generator(seed + 9000, {TPM + "4": FOUR, TPM + "12": ZEROS}).policy()
        told = check(policy, document, "--principal", SESSION, "--key", KEY, "--set", f"aws:PrincipalArn={ROLE}")
        untold = check(policy, document, "--principal", SESSION)
        if told.returncode == POLICY:
            assert untold.returncode == POLICY
        elif untold.answer["decision"] == "unknown":
            undecided += told.answer["decision"] != "unknown"
        else:
            assert untold.answer["decision"] == told.answer["decision"], (seed, name, policy)
    assert undecided >= 10


# --- comparing

def test_diff_ignores_notation(run, tmp_path):
    one = allow({"StringEqualsIgnoreCase": {TPM + "4": [OTHER, FOUR]}},
                Action=["kms:Decrypt", "kms:DescribeKey"], Principal={"AWS": [CONSUMER, ADMIN]})
    two = {"Statement": allow({"StringEqualsIgnoreCase": {"KMS:recipientattestation:nitrotpmpcr4": [FOUR, OTHER.upper(),
                                                                                                    FOUR]}}, Sid="x",
                              Action=["KMS:describekey", "kms:Decrypt"],
                              Principal={"AWS": [ADMIN, f"arn:aws:iam::{CONSUMER}:root"]})["Statement"][0]}
    (tmp_path / "one").write_text(json.dumps(one))
    (tmp_path / "two").write_text(json.dumps(two))
    result = run("diff", tmp_path / "one", tmp_path / "two")
    assert result.returncode == 0 and "the same" in result.stdout, result


@pytest.mark.parametrize("partition", ["aws-cn", "aws-us-gov", "aws-iso-b", "aws-eusc"])
def test_diff_knows_an_account_of_any_partition(run, tmp_path, partition):
    admin = ADMIN.replace("arn:aws:", f"arn:{partition}:")
    (tmp_path / "one").write_text(json.dumps(allow(Principal={"AWS": [CONSUMER, admin]})))
    (tmp_path / "two").write_text(json.dumps(
        allow(Principal={"AWS": [admin, f"arn:{partition}:iam::{CONSUMER}:root"]})))
    (tmp_path / "other").write_text(json.dumps(allow(Principal={"AWS": [admin, f"arn:aws:iam::{CONSUMER}:root"]})))
    assert run("diff", tmp_path / "one", tmp_path / "two").returncode == 0
    assert run("diff", tmp_path / "one", tmp_path / "other").returncode == MISMATCH


def test_diff_names_changes(run, tmp_path):
    (tmp_path / "one").write_text(
        run("--reference", reference(tmp_path / "a.json", PCR2=ALONE, PCR4=FOUR, PCR12=ZEROS), *WHO).stdout)
    (tmp_path / "two").write_text(
        run("--reference", reference(tmp_path / "b.json", PCR2=ALONE, PCR4=OTHER, PCR12=ZEROS), *WHO, "--sealer",
            ADMIN).stdout)
    result = run("diff", "--json", tmp_path / "one", tmp_path / "two")
    changes = {(c["before"], c["after"]): (c["removed"], c["added"]) for c in json.loads(result.stdout)["changes"]}
    pcr4 = "Condition StringEqualsIgnoreCase kms:recipientattestation:nitrotpmpcr4 = "
    assert result.returncode == MISMATCH
    assert changes[("ReleaseToImage1", "ReleaseToImage1")] == ([pcr4 + FOUR], [pcr4 + OTHER])
    assert changes[(None, "SealModels")][0] == [] and "Action kms:encrypt" in changes[(None, "SealModels")][1]
    denied = "Condition StringNotEqualsIgnoreCase kms:recipientattestation:nitrotpmpcr4 = "
    assert changes[("DenyUnlessNitroTPMPCR4", "DenyUnlessNitroTPMPCR4")] == ([denied + FOUR], [denied + OTHER])
    assert len(changes) == 3
    assert run("diff", tmp_path / "one", tmp_path / "a.json").returncode == POLICY


CONTEXT = "kms:EncryptionContext:model"


def versioned(version, **changes):
    policy = allow(**changes)
    return {**({"Version": version} if version else {}), "Statement": policy["Statement"]}


@pytest.mark.parametrize("before, after, removed, added", [
    (allow({"StringEquals": {CONTEXT: ["a", "b"]}}), allow({"StringEquals": {CONTEXT: "a | b"}
                                                            }), "= a | b", '= "a | b"'),
    (allow({"StringEquals": {CONTEXT + " = x": "llama"}}), allow({"StringEquals": {CONTEXT: "x = llama"}
                                                                  }), 'model = x" = llama', 'model = "x = llama"'),
    (allow({"StringEquals": {CONTEXT: '"a"'}}), allow({"StringEquals": {CONTEXT: "a"}}), '= "\\"a\\""', "= a"),
    (allow({"StringEquals": {CONTEXT: ""}}), allow({"StringEquals": {CONTEXT: ["", " "]}}), '= ""', '= "" | " "'),
    (allow({"BinaryEquals": {CONTEXT: "QQ=="}}), allow({"BinaryEquals": {CONTEXT: "qQ=="}}), '"QQ=="', '"qQ=="'),
    (allow(Resource=OWNER), allow(Resource=f"arn:aws:iam::{OWNER}:root"), "Resource 1111", "Resource arn"),
    *((versioned(None, **over), versioned("2012-10-17", **over), "Version 2008-10-17", "Version 2012-10-17")
      for over in ({"Condition": {"StringLike": {CONTEXT: "${aws:username}"}}},
                   {"Resource": "arn:${aws:partition}:kms:*"})),
])
def test_diff_takes_no_two_for_one(run, tmp_path, before, after, removed, added):
    (tmp_path / "before").write_text(json.dumps(before))
    (tmp_path / "after").write_text(json.dumps(after))
    result = run("diff", "--json", tmp_path / "before", tmp_path / "after")
    change, = json.loads(result.stdout)["changes"]
    assert result.returncode == MISMATCH and removed in change["removed"][0] and added in change["added"][0]


def test_diff_ignores_the_version_where_it_says_nothing(run, tmp_path):
    (tmp_path / "before").write_text(json.dumps(versioned("2008-10-17", Condition=BOUND)))
    (tmp_path / "after").write_text(json.dumps(versioned("2012-10-17", Condition=BOUND)))
    assert run("diff", tmp_path / "before", tmp_path / "after").returncode == 0


def test_diff_agrees_with_evaluation(run, tmp_path):
    """Policies that diff calls the same are the same to the evaluator: shuffling changes nothing, dropping a condition
    does."""
    for seed in range(60):
        policy = Generator(seed + 5000, {}).policy()
        try:
            evaluator.validate(json.dumps(policy))
        except evaluator.MalformedPolicy:
            continue
        shuffled = json.loads(json.dumps(policy))
        random.Random(seed).shuffle(shuffled["Statement"])
        (tmp_path / "one").write_text(json.dumps(policy))
        (tmp_path / "two").write_text(json.dumps(shuffled))
        assert run("diff", tmp_path / "one", tmp_path / "two").returncode == 0, policy
        bound = [s for s in shuffled["Statement"] if "Condition" in s]
        if bound:
            del bound[0]["Condition"]
            (tmp_path / "two").write_text(json.dumps(shuffled))
            assert run("diff", tmp_path / "one", tmp_path / "two").returncode == MISMATCH, policy
