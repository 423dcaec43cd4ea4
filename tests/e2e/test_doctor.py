# SPDX-License-Identifier: Apache-2.0
"""sealboot doctor: boots that were really refused, and whether it finds why."""

import json
import re

import pytest

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
    (tmp_path / "image.json").write_text(json.dumps({"Measurements": {f"PCR{n}": stack.pcr(n) for n in (4, 7, 12)}}))
    return tmp_path / "image.json"


def test_another_image(single, doctor, policy, key, tmp_path, stack):
    other = {4: "ab" * 48, 12: ZEROS, 15: ZEROS}
    stack.kms().put_key_policy(KeyId=single.arn, PolicyName="default", Policy=json.dumps(stack.key_policy(pcrs=other)))
    (tmp_path / "meant.json").write_text(json.dumps({"Measurements": {"PCR4": "ab" * 48, "PCR12": ZEROS}}))
    report = single.refused(30).report
    result = doctor(report, "--policy", policy(single.arn), "--key", key(single.arn), "--reference", tmp_path / "meant.json")
    assert result.returncode == MISMATCH
    assert result.states == {"outcome": ["problem"], "clock": ["ok"], "identity": ["ok"], "key": ["ok"], "pcrs": ["problem"],
                             "policy": ["problem", "problem"]}
    assert re.search(rf"PCR4 is {stack.pcr(4)}, and \S+ expects {'ab' * 48}: another image", result.problems)
    unmet = f"StringEqualsIgnoreCase kms:RecipientAttestation:NitroTPMPCR4 wants {'ab' * 48} and found {stack.pcr(4)}."
    assert f"Release does not apply: {unmet}" in result.problems
    assert result.json["principal"] == stack.info["session_arn"]


def test_an_appended_command_line(single, doctor, policy, tmp_path, stack):
    reference = image(stack, tmp_path)
    stack.control.tpm_extend(12, sha384=b"\1" * 48)
    report = single.refused(30).report
    result = doctor(report, "--policy", policy(single.arn), "--reference", reference)
    assert result.states["pcrs"] == ["problem"] and "PCR12 is" in result.problems and "command line" in result.problems
    assert "NitroTPMPCR12 wants" in result.problems and "NitroTPMPCR4" not in result.problems
    without = doctor(report)
    assert without.states["pcrs"] == ["unknown"] and without.states["policy"] == ["unknown"]


def test_a_permission_that_is_missing(single, doctor, policy, stack):
    """KMS says the same as for a PCR mismatch; the key policy tells them apart."""
    report = single.run().report
    assert report["outcome"] == "published"
    assert doctor(report, "--policy", policy(single.arn), "--principal", stack.role_arn).states["policy"] == ["ok"]
    session = stack.info["session_arn"]
    report |= {"outcome": "failed", "failure": {"name": "kms-denied", "title": "KMS refused", "subject": report["key_arn"],
                                                "reason": f"AccessDeniedException: User: {session} is not authorized"}}
    result = doctor(report, "--policy", policy(single.arn))
    assert result.states["policy"] == ["ok"] and result.states["permissions"] == ["problem"]
    assert "the role's own IAM policy must allow kms:Decrypt too" in result.problems


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


def test_before_the_tpm(single, doctor, policy):
    single.launch("../escape")
    report = single.run().report
    result = doctor(report, "--policy", policy(single.arn))
    assert result.states["outcome"] == ["problem"]
    assert result.states["pcrs"] == result.states["policy"] == ["unknown"]


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
    {"outcome": "failed", "failure": []}, {"outcome": "failed", "failure": {"name": 1}}, {"outcome": "x", "stages": {}},
    {"outcome": "x", "stages": [1, {"name": "attestation"}], "clock": {"realtime_ms": 1}, "document": {"timestamp_ms": 1}},
    {"outcome": "x", "key_arn": "arn", "identity": {"region": "r", "account": "a"}}, {"outcome": "x", "pcrs": []},
    {"outcome": "failed", "failure": {"name": "kms-denied", "reason": "User: arn:aws:sts::1:assumed-role/"},
     "pcrs": {"4": "ab" * 48}},
])
def test_reports_of_other_shapes(doctor, report):
    result = doctor(report)
    assert result.returncode in (0, MISMATCH, USAGE), result
