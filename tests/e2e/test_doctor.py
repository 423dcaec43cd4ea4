# SPDX-License-Identifier: Apache-2.0
"""sealboot doctor: boots that were really refused, and whether it finds why."""

import json
import re

import pytest

from firmware_log import ACPI, DRIVER, FILE, HD, PCI, image_event, log_with
from recorded import CASES
from sealer import Sealed

USAGE, IO, EVENT_LOG, MISMATCH, POLICY = 2, 61, 71, 73, 74
ZEROS = "00" * 48


@pytest.fixture
def single(boot):
    """A boot of one sealed object."""
    boot.put("model.sealed", bytes(Sealed(b"weights" * 1000, boot.data_key())))
    boot.launch("model.sealed")
    return boot


@pytest.fixture
def doctor(sealboot, stack, tmp_path):
    """doctor(report, options...) -> the finished program; .states {topic: [state, ...]} and .text of all problems."""
    def call(report, *options):
        (tmp_path / "captured.json").write_text(report if isinstance(report, str) else json.dumps(report))
        result = sealboot("doctor", "--json", *options, tmp_path / "captured.json")
        result.states, result.problems = {}, ""
        for remark in result.json["remarks"] if result.stdout else []:
            result.states.setdefault(remark["topic"], []).append(remark["state"])
            if remark["state"] == "problem":
                result.problems += f"{remark['topic']}: {remark['text']}\n"
        return result
    call.sealboot = sealboot
    return call


@pytest.fixture
def policy(stack, tmp_path):
    """The key's policy, as the aws command prints it."""
    def write(arn):
        answer = stack.kms().get_key_policy(KeyId=arn, PolicyName="default")
        (tmp_path / "policy.json").write_text(json.dumps({"Policy": answer["Policy"]}))
        return tmp_path / "policy.json"
    return write


@pytest.fixture
def key(stack, tmp_path):
    def write(arn):
        metadata = stack.kms().describe_key(KeyId=arn)["KeyMetadata"]
        (tmp_path / "key.json").write_text(json.dumps({"KeyMetadata": metadata}, default=str))
        return tmp_path / "key.json"
    return write


def image(stack, tmp_path):
    (tmp_path / "image.json").write_text(json.dumps({"Measurements": {f"PCR{n}": stack.pcr(n) for n in (2, 4, 7, 12)}}))
    return tmp_path / "image.json"


def test_another_image(single, doctor, policy, key, tmp_path, stack):
    other = {4: "ab" * 48, 12: ZEROS, 15: ZEROS}
    stack.kms().put_key_policy(KeyId=single.arn, PolicyName="default", Policy=json.dumps(stack.key_policy(pcrs=other)))
    (tmp_path / "meant.json").write_text(json.dumps({"Measurements": {"PCR4": "ab" * 48, "PCR12": ZEROS}}))
    report = single.refused(30).report
    result = doctor(report, "--policy", policy(single.arn), "--key", key(single.arn), "--reference",
                    tmp_path / "meant.json")
    assert result.returncode == MISMATCH
    assert result.states == {
        "outcome": ["problem"], "clock": ["ok"], "identity": ["ok"], "key": ["ok"], "pcrs": ["problem"],
        "policy": ["problem", "problem"]
    }
    assert re.search(rf"PCR4 is {stack.pcr(4)}, and \S+ expects {'ab' * 48}: another image", result.problems)
    unmet = f"StringEqualsIgnoreCase kms:RecipientAttestation:NitroTPMPCR4 wants {'ab' * 48} and found {stack.pcr(4)}."
    assert f"Release does not apply: {unmet}" in result.problems
    assert result.json["principal"] == stack.info["session_arn"]


@pytest.mark.parametrize("pcr", [2, 4])
def test_another_image_under_a_written_policy(single, doctor, sealboot, tmp_path, stack, pcr):
    """`sealboot policy` denies outright what no accepted image presents, and the advice is about the image, not the
    Deny."""
    meant = {**{f"PCR{n}": stack.pcr(n) for n in (2, 4, 12)}, f"PCR{pcr}": "ab" * 48}
    (tmp_path / "meant.json").write_text(json.dumps({"Measurements": meant}))
    written = sealboot("policy", "--reference", tmp_path / "meant.json", "--principal", stack.role_arn,
                       "--admin", stack.info["owner_arn"])
    assert written.returncode == 0, written
    stack.kms().put_key_policy(KeyId=single.arn, PolicyName="default", Policy=written.stdout)
    (tmp_path / "policy.json").write_text(written.stdout)
    result = doctor(single.refused(30).report, "--policy", tmp_path / "policy.json")
    denial, = [r for r in result.json["remarks"] if "denies it outright" in r["text"]]
    assert denial["text"] == (f"DenyUnlessNitroTPMPCR{pcr} denies it outright, because "
                              f"kms:RecipientAttestation:NitroTPMPCR{pcr} is {stack.pcr(pcr)}")
    assert denial["advice"].startswith("Boot the image the policy names")
    assert f"NitroTPMPCR{pcr} wants {'ab' * 48} and found {stack.pcr(pcr)}" in result.problems
    assert "DenyGrants" not in result.problems


def test_an_appended_command_line(single, doctor, policy, tmp_path, stack):
    reference = image(stack, tmp_path)
    stack.control.tpm_extend(12, sha384=b"\1" * 48)
    report = single.refused(30).report
    result = doctor(report, "--policy", policy(single.arn), "--reference", reference)
    assert result.states["pcrs"] == ["problem"] and "PCR12 is" in result.problems and "command line" in result.problems
    assert "NitroTPMPCR12 wants" in result.problems and "NitroTPMPCR4" not in result.problems
    without = doctor(report)
    assert without.states["pcrs"] == ["unknown"] and without.states["policy"] == ["unknown"]


def test_a_driver_from_outside_the_firmware(single, doctor, policy, tmp_path, stack):
    """The log is that of a firmware which ran it; the TPM that the agent has is fed from it."""
    log = log_with(tmp_path, "debian13", (2, DRIVER, image_event(ACPI, PCI, HD, FILE), b"a driver"))
    for event in json.loads(doctor.sealboot("replay", "--json", "--pcr=2", log).stdout)["events"]:
        stack.control.tpm_extend(2, sha384=bytes.fromhex(event["digest"]))
    expected = {2: CASES["debian13"]["pcrs"]["sha384"][2], **{n: stack.pcr(n) for n in (4, 7, 12, 15)}}
    stack.kms().put_key_policy(KeyId=single.arn, PolicyName="default",
                               Policy=json.dumps(stack.key_policy(pcrs=expected)))
    (tmp_path / "image.json").write_text(
        json.dumps({"Measurements": {f"PCR{n}": value for n, value in expected.items() if n < 15}}))
    report = single.refused(30).report
    options = ["--policy", policy(single.arn), "--reference", tmp_path / "image.json"]
    result = doctor(report, *options)
    assert result.states["pcrs"] == ["problem"
                                     ] and "PCR2 is" in result.problems and "NitroTPMPCR2 wants" in result.problems
    assert "a UEFI driver from outside the firmware ran" in result.problems
    result = doctor(report, *options, "--event-log", log)
    assert "a UEFI driver from outside the firmware ran" in result.problems
    assert "\\EFI\\BOOT\\drv.efi" in result.problems
    # Whether one ran, PCR2 tells without a reference, or with one of nitro-tpm-pcr-compute.
    (tmp_path / "old.json").write_text(json.dumps({"Measurements": {f"PCR{n}": expected[n] for n in (4, 7, 12)}}))
    for options, states in (([], ["unknown", "unknown"]), (["--reference", tmp_path / "old.json"], ["unknown", "ok"])):
        result = doctor(report, *options)
        assert result.states["pcrs"] == states and "a UEFI driver from outside the firmware ran" in result.stdout
    for value in (expected[2], "00" * 48):
        report["pcrs"]["2"] = value
        assert "UEFI driver" not in doctor(report, "--reference", tmp_path / "old.json").stdout


def test_a_permission_that_is_missing(single, doctor, policy, stack):
    """KMS says the same as for a PCR mismatch; the key policy tells them apart."""
    report = single.run().report
    assert report["outcome"] == "published"
    assert doctor(report, "--policy", policy(single.arn), "--principal", stack.role_arn).states["policy"] == ["ok"]
    session = stack.info["session_arn"]
    report |= {
        "outcome": "failed", "failure": {
            "name": "kms-denied", "title": "KMS refused", "subject": report["key_arn"],
            "reason": f"AccessDeniedException: User: {session} is not authorized"
        }
    }
    result = doctor(report, "--policy", policy(single.arn))
    assert result.states["policy"] == ["ok"] and result.states["permissions"] == ["problem"]
    assert "the role's own IAM policy must allow kms:Decrypt too" in result.problems


@pytest.mark.parametrize("how, own, others", [
    ("identity", "IAM policy", ["VPC endpoint", "service control"]),
    ("identity-deny", "IAM policy", ["VPC endpoint", "service control"]),
    ("boundary", "permissions boundary", ["IAM policy", "VPC endpoint"]),
    ("session", "session policy", ["IAM policy", "VPC endpoint"]),
    ("service-control-deny", "arn:aws:organizations::999999999999:policy/", ["IAM policy", "VPC endpoint"]),
    ("resource-control-deny", "resource control policy", ["IAM policy", "VPC endpoint"]),
    ("vpc-endpoint", "VPC endpoint", ["IAM policy", "service control"]),
    ("vpc-endpoint-deny", "VPC endpoint", ["IAM policy", "service control"]),
    ("resource", "not the key policy that was in force", ["IAM policy", "VPC endpoint"])])
def test_the_kind_of_policy_that_refused(single, doctor, policy, stack, how, own, others):
    stack.control.fault("denied", service="kms", operation="Decrypt", how=how, count=None)
    report = single.refused(30).report
    for options in (["--policy", policy(single.arn)], []):
        result = doctor(report, *options)
        said = [r for r in result.json["remarks"] if r["topic"] == "permissions"]
        if how == "resource" and not options:
            assert said == []
            continue
        text = f"{said[0]['text']} {said[0]['advice']}"
        assert len(said) == 1 and own in text and not any(other in text for other in others), text


def test_a_document_that_kms_did_not_take_is_no_matter_of_permissions(single, doctor, policy, stack):
    stack.control.settings(tpm_clock=-400)
    report = single.refused(30).report
    result = doctor(report, "--policy", policy(single.arn), "--principal", stack.role_arn)
    assert "permissions" not in result.states and result.states["policy"] == ["ok"]
    assert result.states["clock"] == ["problem"] and "against the NitroTPM's" in result.problems


def test_a_multi_region_key_is_in_no_other_region(single, doctor):
    report = single.run().report
    report["key_arn"] = report["key_arn"].replace("us-east-1", "eu-west-1").replace("key/", "key/mrk-")
    assert doctor(report).states["key"] == ["unknown"]


def test_a_second_model(single, doctor, stack):
    report = single.run().report
    report["pcrs"]["15"] = "ab" * 48
    result = doctor(report)
    assert "PCR15 was not zero" in result.problems and result.returncode == MISMATCH


def test_a_disabled_key(single, doctor, key, stack):
    stack.kms().disable_key(KeyId=single.arn)
    report = single.refused(31).report
    assert doctor(report).states["key"] == ["problem"]
    result = doctor(report, "--key", key(single.arn))
    assert f"{single.arn} is Disabled" in result.problems


def test_clocks_that_disagree(single, doctor):
    report = single.run().report
    for seconds, word in ((900, "leads by"), (-900, "lags by")):
        skewed = json.loads(json.dumps(report))
        skewed["clock"]["realtime_ms"] += seconds * 1000
        result = doctor(skewed)
        assert result.states["clock"] == ["problem"] and word in result.problems
    assert doctor(report).states["clock"] == ["ok"]
    for offset in (1e81, -1e81, -1.0, "soon"):
        report["stages"] = [{"name": "attestation", "began_ms": offset}]
        assert doctor(report).states["clock"] == ["unknown"]


def test_another_region(single, doctor):
    report = single.run().report
    report["identity"]["region"] = "eu-north-1"
    assert "is not in eu-north-1" in doctor(report).problems


def test_published(single, doctor, policy, tmp_path, stack, key):
    reference = image(stack, tmp_path)
    report = single.run().report
    result = doctor(report, "--policy", policy(single.arn), "--key", key(single.arn), "--reference", reference,
                    "--principal", stack.role_arn)
    assert result.returncode == 0 and set(sum(result.states.values(), [])) == {"ok"}, result


def test_what_the_cli_prints_of_a_key(single, doctor, key, tmp_path):
    report, described = single.run().report, json.loads(key(single.arn).read_text())
    inner = tmp_path / "inner.json"     # aws kms describe-key --query KeyMetadata, as a shell of Windows stores it
    inner.write_text("\ufeff" + json.dumps(described["KeyMetadata"]) + "\r\n")
    assert doctor(report, "--key", inner).states["key"] == doctor(report, "--key", key(
        single.arn)).states["key"] == ["ok"]


def test_before_the_tpm(single, doctor, policy):
    single.launch("../escape")
    report = single.run().report
    result = doctor(report, "--policy", policy(single.arn))
    assert result.states["outcome"] == ["problem"]
    assert result.states["pcrs"] == result.states["policy"] == ["unknown"]


OWNER, CONSUMER, FOUR = "111111111111", "222222222222", "44" * 48
ROLE, SESSION = f"arn:aws:iam::{CONSUMER}:role/inference", f"arn:aws:sts::{CONSUMER}:assumed-role/inference/i-1"
KEY = f"arn:aws:kms:us-east-1:{OWNER}:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture
def refused(doctor, tmp_path):
    """refused(statement...): what doctor says of a boot that was refused under this key policy."""
    def call(*statements, user=SESSION, options=(), **changes):
        common = {"Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "kms:Decrypt", "Resource": "*"}
        (tmp_path / "policy.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": [
            {**common, **s} for s in statements]}))
        failure = {"name": "kms-denied", "title": "KMS refused", "subject": KEY,
                   "reason": f"User: {user} is not authorized to perform: kms:Decrypt"}
        result = doctor({"outcome": "failed", "failure": failure, "key_arn": KEY, "pcrs": {"4": FOUR}, **changes},
                        "--policy", tmp_path / "policy.json", *options)
        result.policy = [r for r in result.json["remarks"] if r["topic"] == "policy"] if result.stdout else None
        return result
    return call


ATTESTED = {"StringEquals": {"kms:RecipientAttestation:NitroTPMPCR4": FOUR}}


def test_an_explicit_denial_is_named_alone(refused):
    denial = {
        "Sid": "D", "Effect": "Deny", "Resource": KEY, "Condition": {**ATTESTED, "Null": {"kms:ViaService": "true"}}
    }
    said = refused({"Sid": "A", "Condition": ATTESTED}, denial).policy
    assert [r["text"] for r in said] == [
        f"D denies it outright, because kms:RecipientAttestation:NitroTPMPCR4 is {FOUR} and kms:ViaService is absent",
        "the key policy does not release the key to what was presented"]
    assert "explicit Deny" in said[0]["advice"] and said[1]["advice"] is None
    said = refused({"Sid": "A", "Condition": {"Null": {"kms:RecipientAttestation:NitroTPMPCR4": "true"}}},
                   denial).policy
    assert said[0]["text"].startswith("A does not apply:") and said[1]["text"].startswith("D denies")


def test_without_a_key_a_denial_of_one_is_not_decided(refused):
    for key in (None, "arn", "alias/model"):
        result = refused({}, {"Effect": "Deny", "Resource": KEY}, key_arn=key)
        assert result.states["policy"] == ["unknown"] and result.json["policy"]["decision"] == "unknown"


def test_a_role_that_was_deleted(refused):
    result = refused({"Sid": "A", "Principal": {"AWS": "AROAEXAMPLEEXAMPLE123"}})
    assert [r["state"] for r in result.policy] == ["problem"] * 3
    assert "A names AROAEXAMPLEEXAMPLE123" in result.policy[1]["text"] and "its ARN" in result.policy[1]["advice"]
    assert "--principal" in result.policy[2]["advice"]


@pytest.mark.parametrize("user",
                         [f"arn:aws:iam::{CONSUMER}", "arn:aws", f"arn:aws:sts::{CONSUMER}:assumed-role/inference"])
def test_a_principal_that_is_none_is_a_remark(refused, user):
    result = refused({}, user=user)
    assert result.returncode == MISMATCH and result.states["outcome"] == ["problem"]
    assert result.states["policy"] == ["unknown"]
    assert result.json["principal"] is None and "--principal" in result.policy[0]["advice"]
    assert refused({}, user=user, options=["--principal", SESSION]).states["policy"] == ["ok"]
    assert refused({}, options=["--principal", user]).returncode == USAGE


@pytest.mark.parametrize("failure", [{}, {"failure": None}, {"failure": {}}, {"failure": {"name": 1}}])
def test_a_failure_without_a_name_is_one(doctor, failure):
    result = doctor({"outcome": "failed", **failure})
    assert result.returncode == MISMATCH and "outcome: the boot failed" in result.problems


def test_text_cannot_steer_a_terminal(sealboot, tmp_path):
    report = {"outcome": "failed", "failure": {"name": "x", "title": "t\x1b[2J", "subject": "s\n", "reason": "r\u009b",
                                               "request_id": "\x07"}}
    (tmp_path / "report.json").write_text(json.dumps(report))
    result = sealboot("doctor", tmp_path / "report.json")
    assert result.returncode == MISMATCH and "PROBLEM  t?[2J: s?: r" in result.stdout
    assert all(c == "\n" or c.isprintable() for c in result.stdout)


@pytest.mark.parametrize("report, options, code", [
    ("{}", [], USAGE), ("[]", [], USAGE), ("", [], USAGE), ('{"outcome": 1}', [], USAGE),
    ('{"outcome": "running", "pcrs": {"4": "ab"}}', [], USAGE),
    ('{"outcome": "running"}', ["--policy", "/nonexistent"], IO),
    ('{"outcome": "running"}', ["--policy", "/dev/null"], POLICY),
    ('{"outcome": "running"}', ["--key", "/dev/null"], USAGE),
    ('{"outcome": "running"}', ["--event-log", "/dev/null"], EVENT_LOG),
    ('{"outcome": "running"}', ["--reference", "/dev/null"], USAGE), ('{"outcome": "running"}', ["/dev/null"], USAGE),
])
def test_usage(doctor, report, options, code):
    result = doctor(report, *options)
    assert (result.returncode, result.stdout) == (code, ""), result


@pytest.mark.parametrize("report", [
    {"outcome": "failed", "failure": []},
    {"outcome": "failed", "failure": {"name": 1}},
    {"outcome": "x", "stages": {}},
    {
        "outcome": "x", "stages": [1, {"name": "attestation"}], "clock": {"realtime_ms": 1},
        "document": {"timestamp_ms": 1}
    },
    {"outcome": "x", "key_arn": "arn", "identity": {"region": "r", "account": "a"}},
    {"outcome": "x", "pcrs": []},
    {
        "outcome": "failed", "failure": {"name": "kms-denied", "reason": "User: arn:aws:sts::1:assumed-role/"},
        "pcrs": {"4": "ab" * 48}
    },
])
def test_reports_of_other_shapes(doctor, report):
    result = doctor(report)
    assert result.returncode in (0, MISMATCH, USAGE), result
