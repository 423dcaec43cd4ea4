# SPDX-License-Identifier: Apache-2.0
"""sealboot audit: CloudTrail's records in the shapes in which AWS gives them, and one trail with a release without a
document. The members are those of AWS's own examples (KMS Developer Guide, "Monitoring attested requests")."""

import gzip
import json
import re

import pytest

import manuals

OWNER, CONSUMER = "111122223333", "444455556666"
KEY = f"arn:aws:kms:us-west-2:{OWNER}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OTHER = f"arn:aws:kms:us-west-2:{OWNER}:key/ffffffff-12ab-34cd-56ef-1234567890ab"
FOUR, SEVEN, EIGHT = "4f" * 48, "7a" * 48, "00" * 48
SEALER = f"arn:aws:iam::{OWNER}:role/release"


def record(name="Decrypt", *, time="2026-11-30T02:59:30Z", key=KEY, arn=None, instance=None, pcrs=None, error=None,
           number=[0], **more):
    """As CloudTrail writes it of a call by an instance's role, or by `arn`."""
    number[0] += 1
    arn = arn or f"arn:aws:sts::{CONSUMER}:assumed-role/inference/{instance or 'i-0aaaaaaaaaaaaaaaa'}"
    made = {
        "eventVersion": "1.11",
        "userIdentity": {"type": "AssumedRole", "principalId": f"AROAEXAMPLE:{arn.rpartition('/')[2]}", "arn": arn,
                         "accountId": arn.split(":")[4], "accessKeyId": "ASIAEXAMPLE"},
        "eventTime": time, "eventSource": "kms.amazonaws.com", "eventName": name, "awsRegion": "us-west-2",
        "sourceIPAddress": "192.0.2.1", "userAgent": "sealboot-agent/0.0.1",
        "requestParameters": {"encryptionAlgorithm": "SYMMETRIC_DEFAULT", "keyId": key,
                              "encryptionContext": {"model": "llama", "version": "3.1"}},
        "responseElements": None, "requestID": f"request-{number[0]}", "eventID": f"event-{number[0]}",
        "readOnly": True,
        "resources": [{"accountId": OWNER, "type": "AWS::KMS::Key", "ARN": key}], "eventType": "AwsApiCall",
        "managementEvent": True, "recipientAccountId": OWNER, "eventCategory": "Management", **more
    }
    if instance:
        made["additionalEventData"] = {"recipient": {
            "attestationDocumentModuleId": f"{instance}-tpm0000000000000000",
            **{f"attestationDocumentNitroTPMPCR{n}": value
               for n, value in (pcrs or {4: FOUR, 7: SEVEN, 8: EIGHT}).items()}}}
    if error:
        made |= {"errorCode": error, "errorMessage": "User: x\x1b[2J is not authorized to perform: kms:Decrypt"}
    return made


GOOD = [record(instance=f"i-{n:017x}", time=f"2026-11-30T0{n % 8}:00:00Z") for n in range(40)]


@pytest.fixture
def reference(tmp_path):
    path = tmp_path / "image.json"
    path.write_text(json.dumps({"Measurements": {"PCR2": "02" * 48, "PCR4": FOUR, "PCR7": SEVEN, "PCR12": EIGHT}}))
    return path


@pytest.fixture
def audit(build, printed, reference, tmp_path):
    """audit(records or text or bytes, ..., code=0): what the verb prints of a trail's file."""
    def call(trail, *options, code=0):
        path = tmp_path / "trail.json"
        if isinstance(trail, list):
            trail = json.dumps({"Records": trail})
        path.write_bytes(trail.encode() if isinstance(trail, str) else trail)
        return printed("audit", "--reference", reference, *options, path, code=code)
    return call


def test_nothing_to_say(audit):
    shown = audit([*GOOD, record("GenerateDataKey", arn=f"arn:aws:sts::{OWNER}:assumed-role/release/me")], "--sealer",
                  SEALER)
    assert shown.startswith("0 alarms, 0 notices, 0 bad records; 41 calls of interest in 41 records, 2026-11-30T00:00")
    assert re.search(r"^ +40 Decrypt by 40 instances, 2026-11-30T00:00:00Z to 2026-11-30T07:00:00Z$", shown, re.M)
    assert "model    llama 3.1" in shown and "image.json" in shown and "ALARMS" not in shown


def test_a_release_without_a_document(audit):
    """One in a trail of many, and one by an image that is not known: both on top, the others as notices or groups."""
    bad = record(arn=f"arn:aws:sts::{OWNER}:assumed-role/admin/eve", time="2026-11-30T09:00:00Z")
    unknown = record(instance="i-0bbbbbbbbbbbbbbbb", pcrs={4: "ee" * 48, 7: SEVEN}, time="2026-11-30T08:00:00Z")
    denied = record(arn=f"arn:aws:sts::{OWNER}:assumed-role/admin/eve", error="AccessDenied")
    policy = record("PutKeyPolicy", arn=f"arn:aws:iam::{OWNER}:user/Admin")
    trail = [*GOOD, bad, unknown, denied, policy, {"eventSource": "s3.amazonaws.com", "eventName": "GetObject"}]
    shown = audit(trail, code=73)
    assert shown.startswith("2 alarms, 2 notices, 0 bad records; 44 calls of interest in 45 records")
    alarms, notices = shown[shown.index("ALARMS"):shown.index("notices\n")], shown[shown.index("notices\n"):]
    assert "unknown-image" in alarms and "i-0bbbbbbbbbbbbbbbb" in alarms and f"PCR4     {'ee' * 48}" in alarms
    assert "unattested" in alarms and "assumed-role/admin/eve" in alarms and bad["requestID"] in alarms
    assert alarms.index("unknown-image") < alarms.index("unattested")
    assert "denied: KMS refused" in notices and "AccessDenied: User: x?[2J is not" in notices
    assert "PutKeyPolicy  key-changed" in notices
    assert all(c == "\n" or c.isprintable() for c in shown)

    told = json.loads(audit(trail, "--json", code=73).split("\n}\n")[0] + "\n}")
    assert [c["finding"] for c in told["calls"][:4]] == ["unknown-image", "unattested", "denied", "key-changed"]
    first = told["calls"][0]
    assert (first["level"], first["instance_id"], first["image"]) == ("alarm", "i-0bbbbbbbbbbbbbbbb", None)
    assert first["pcrs"] == {"4": "ee" * 48, "7": SEVEN} and told["calls"][1]["attested"] is False
    assert not manuals.undocumented({**told, "calls": [{**c, "pcrs": None, "encryption_context": None}
                                                       for c in told["calls"]]}, "audit")


def test_the_shapes_that_aws_gives(audit):
    """A trail's file, compressed; lookup-events; CloudTrail Lake; EventBridge; records one a line."""
    bad = record(arn=f"arn:aws:iam::{OWNER}:user/Eve")
    text = json.dumps(bad)
    for trail in (gzip.compress(json.dumps({"Records": [*GOOD, bad]}).encode()),
                  gzip.compress(json.dumps({"Records": GOOD}).encode()[:-2]) + gzip.compress(f", {text}]}}".encode()),
                  json.dumps({"Events": [{"EventId": "x", "EventName": "Decrypt", "CloudTrailEvent": text}]}),
                  json.dumps({"QueryStatus": "FINISHED", "QueryResultRows": [[{"eventID": "x"}, {"eventJson": text}]]}),
                  json.dumps({"version": "0", "detail-type": "AWS API Call via CloudTrail", "detail": bad}),
                  json.dumps(GOOD[0]) + "\n" + text + "\n", text, json.dumps([bad, bad], indent=1)):
        assert audit(trail, code=73).startswith("1 alarm, 0 notices, 0 bad records; ")


def test_both_trails_of_a_call_between_accounts(audit):
    """The owner's record has no ARN of the caller; both have one shared id."""
    theirs = record(instance="i-0cccccccccccccccc", sharedEventID="shared")
    ours = {**record(instance="i-0cccccccccccccccc", sharedEventID="shared"),
            "userIdentity": {"type": "AWSAccount", "principalId": "AROAEXAMPLE:i-0c", "accountId": CONSUMER}}
    shown = audit([ours, theirs], "--all")
    assert "; 1 calls of interest in 2 records" in shown and f"arn:aws:sts::{CONSUMER}:assumed-role/inference" in shown


def test_one_key_of_several(audit):
    trail = [*GOOD, record(key=OTHER, arn=f"arn:aws:iam::{OWNER}:user/Eve")]
    assert audit(trail, "--key", KEY).startswith("0 alarms")
    assert audit(trail, "--key", KEY, "--key", OTHER, code=73).startswith("1 alarm,")
    assert audit(trail, "--opener", f"arn:aws:iam::{OWNER}:user/Eve").startswith("0 alarms, 1 notice,")


def test_a_record_that_cannot_be_read_is_no_silence(audit):
    shown = audit([*GOOD, {**GOOD[0], "eventTime": "yesterday"}], code=73)
    assert "BAD RECORDS" in shown and 'trail.json, record 41: its "eventTime" is not a time' in shown


def test_a_file_that_cannot_be_read_does_not_hide_the_others(audit, tmp_path):
    """An encryption context is the caller's to choose, also in a request that KMS refuses. These two keys are one for a
    reader that ends at the NUL."""
    strange = json.dumps({"Records": [record(error="AccessDenied")]}).replace('"model"', r'"a\u0000": "1", "a"')
    assert '"a": "llama"' in strange
    (tmp_path / "strange.json").write_text(strange)
    eve = record(arn=f"arn:aws:iam::{OWNER}:user/Eve", instance=None)
    shown = audit([*GOOD, eve], tmp_path / "strange.json", code=73)
    assert "strange.json: it is not strict JSON" in shown and "unattested" in shown and "1 bad record" in shown


@pytest.mark.parametrize("trail, words", [
    ("", "not valid JSON"), ("{}", "none of the forms"), ("[3", "not valid JSON"), (b"\x1f\x8b\x08", "damaged gzip"),
    (gzip.compress(b'{"Records": []}')[:-3], "damaged gzip"), ('{"Records": 3}', "none of the forms"),
])
def test_what_is_no_trail(audit, trail, words):
    assert words in audit(trail, code=2)


def test_usage(printed, reference, tmp_path):
    for arguments, code, words in ((["x.json"], 2, "no --reference"),
                                   (["--reference", reference], 2, "a file of CloudTrail"),
                                   (["--reference", reference, "--key", "alias/x", "x"], 2, "ARN of a KMS key"),
                                   (["--reference", reference, "--opener", "me", "x"], 2, "ARN of a role or user"),
                                   (["--reference", reference, tmp_path / "none"], 61, "No such file")):
        assert words in printed("audit", *arguments, code=code)
