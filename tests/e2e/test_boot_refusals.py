# SPDX-License-Identifier: Apache-2.0
"""Boots that must fail: each with its exit code and its own words on the console, and with nothing left behind."""

import copy
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from boots import CONTEXT, OBJECT, data, single
from sealer import DataKey, Sealed, manifest, put_model
from stack import cms

# ---- the key

def test_key_policy_for_other_pcrs(boot):
    boot.stack.kms().put_key_policy(
        KeyId=boot.arn, PolicyName="default",
        Policy=json.dumps(boot.stack.key_policy(pcrs={4: "ab" * 48, 12: "0" * 96, 15: "0" * 96})))
    single(boot)
    result = boot.refused(30, "AccessDeniedException", "presented PCRs")
    assert re.search(r"request id: [0-9a-f-]{36}", result.stderr), result
    assert boot.stack.pcr(4) in result.stderr and result.report["pcrs"]["4"] == boot.stack.pcr(4)
    assert result.report["failure"]["request_id"] in result.stderr


def test_tampered_pcr12(boot):
    single(boot)
    boot.stack.control.tpm_extend(12, sha384=b"\1" * 48)
    result = boot.refused(30, "presented PCRs")
    assert boot.stack.pcr(12) in result.stderr and set(boot.stack.pcr(12)) != {"0"}


def test_a_driver_from_outside_the_firmware(boot):
    """It leaves PCR4, 7 and 12 as they are. The refusal shows those that policies bind."""
    pcrs = (2, 4, 7, 12, 15)
    boot.stack.kms().put_key_policy(KeyId=boot.arn, PolicyName="default", Policy=json.dumps(boot.stack.key_policy(
        pcrs={n: boot.stack.pcr(n) for n in pcrs})))
    single(boot)
    boot.stack.control.tpm_extend(2, sha384=b"\1" * 48)
    result = boot.refused(30, "AccessDeniedException", "presented PCRs")
    shown = dict(re.findall(r"^    PCR(\d+) +([0-9a-f]{96})$", result.stderr, re.MULTILINE))
    assert shown == {str(n): boot.stack.pcr(n) for n in pcrs} == {str(n): result.report["pcrs"][str(n)] for n in pcrs}


def test_key_is_not_pinned(boot):
    single(boot)
    boot.config["keys"] = [boot.arn[:-4] + "beef"]
    boot.stack.control.clear_audit()
    boot.refused(52, boot.arn, "not among the 1 pinned keys")
    assert not boot.stack.control.audit(operation="Decrypt"), "KMS was asked about a key that is not pinned"


def test_encryption_context_is_not_the_one_required(boot):
    single(boot)
    boot.config["encryption_context"] = {"model": "other"}
    boot.refused(53, '"model" = "m"', '"other"')
    boot.config["encryption_context"] = {"tenant": "t"}
    boot.refused(53, 'lacks "tenant"')


def test_encryption_context_in_the_header_was_altered(boot):
    single(boot, bytes(Sealed(b"x", boot.data_key(), context={"model": "m", "version": "2"})))
    boot.refused(32, "InvalidCiphertextException")


def test_key_is_disabled(boot):
    single(boot)
    boot.stack.kms().disable_key(KeyId=boot.arn)
    boot.refused(31, "Disabled")


def test_data_key_of_another_message(boot):
    """KMS gives a key, but it is not the one the body was sealed under."""
    first, second = boot.data_key(), boot.data_key()
    first.blob = second.blob
    single(boot, bytes(Sealed(b"x", first)))
    boot.refused(54, "key commitment")


# A wrong data key is found out by the message it does not fit.
@pytest.mark.parametrize("shape", sorted(cms.MALFORMED))
def test_kms_answers_that_kms_does_not_send(boot, shape):
    single(boot)
    boot.stack.control.fault("cms", shape=shape, count=None)
    boot.refused(54 if shape == "other-key" else 34)


def test_kms_answers_in_pieces(boot):
    single(boot)
    boot.stack.control.settings(cms=cms.PIECES)
    assert boot.run().returncode == 0


def test_kms_gives_the_plaintext_away(boot):
    single(boot)
    boot.stack.control.fault("answer", service="kms", operation="Decrypt", count=None, members={"Plaintext": "AAAA"})
    boot.refused(34, "has the plaintext data key in it")


# ---- several keys

OTHER_REGION, THIRD_REGION = "eu-west-1", "eu-north-1"


def two_keys(boot, plaintext=b"GGUF" + bytes(9000)) -> str:
    """Launches a boot of an object that either of two keys opens, both pinned; the second one's ARN."""
    second, key = boot.stack.create_key(), boot.data_key()
    single(boot, bytes(Sealed(plaintext, key, others=[key.under(boot.stack.kms(), second)])))
    boot.config["keys"] = [boot.arn, second]
    boot.stack.control.clear_audit()
    return second


def asked(boot) -> list[str]:
    return [entry["key"] for entry in boot.stack.control.audit(operation="Decrypt")]


@pytest.mark.parametrize("broken", ["disabled", "pending deletion", "denied", "unavailable", "not found", "not pinned"])
def test_the_second_key_opens_it(boot, sealboot, tmp_path, broken):
    second, kms = two_keys(boot), boot.stack.kms()
    if broken == "disabled":
        kms.disable_key(KeyId=boot.arn)
    elif broken == "pending deletion":
        kms.schedule_key_deletion(KeyId=boot.arn)
    elif broken == "denied":
        boot.stack.control.fault("denied", service="kms", key=boot.arn, how="identity", count=None)
    elif broken == "unavailable":
        boot.config["kms_deadline_seconds"] = 1
        boot.stack.control.fault("error", service="kms", key=boot.arn, code="KeyUnavailableException", count=2000)
    elif broken == "not found":
        boot.stack.control.fault("error", service="kms", key=boot.arn, status=400, code="NotFoundException", count=None)
    else:
        boot.config["keys"] = [second]
    result = boot.run()
    assert result.returncode == 0 and result.report["key_arn"] == second, result
    refused = result.report["kms"].get("refused", {})
    assert [r["key_arn"] for r in refused.values()] == ([] if broken == "not pinned" else [boot.arn])
    if broken != "unavailable":
        url = f"s3://{boot.stack.bucket}/{OBJECT}"
        opened = sealboot("unseal", "-q", url, tmp_path / "out", *(["-k", second] if broken == "not pinned" else []))
        assert opened.returncode == 0, opened


def test_none_of_the_keys_opens_it(boot, sealboot, tmp_path):
    second, kms = two_keys(boot), boot.stack.kms()
    kms.disable_key(KeyId=boot.arn)
    kms.schedule_key_deletion(KeyId=second)
    words = [
        f"{boot.arn}: HTTP 400 DisabledException", f"{second}: HTTP 400 KMSInvalidStateException",
        "none of the 2 KMS keys", "One of these keys is enough"
    ]
    boot.refused(31, *words)
    result = sealboot("unseal", "-q", f"s3://{boot.stack.bucket}/{OBJECT}", tmp_path / "out")
    assert result.returncode == 31 and all(word in result.stderr for word in words), result


def test_what_concerns_every_key_is_said_once(boot):
    two_keys(boot)
    boot.stack.control.fault("error", service="kms", code="UnrecognizedClientException", status=400, count=None)
    result = boot.refused(13, "UnrecognizedClientException")
    assert len(boot.stack.control.audit(operation="Decrypt")) == 1 and "none of the" not in result.stderr


def multi_region_key(boot, region: str) -> tuple:
    """A multi-Region key whose primary is in that Region, its ARN, and a client of KMS there."""
    kms = boot.stack.client("kms", region=region)
    return kms, kms.create_key(MultiRegion=True, Policy=json.dumps(boot.stack.key_policy()))["KeyMetadata"]["Arn"]


def replicate(boot, kms, arn: str, region: str) -> str:
    answer = kms.replicate_key(KeyId=arn, ReplicaRegion=region, Policy=json.dumps(boot.stack.key_policy()))
    return answer["ReplicaKeyMetadata"]["Arn"]


def test_a_replica_in_the_own_region_is_asked_first(boot):
    """Sealed in one Region, pinned by the name of another's replica, booted in a third."""
    kms, primary = multi_region_key(boot, OTHER_REGION)
    third, own = replicate(boot, kms, primary, THIRD_REGION), replicate(boot, kms, primary, boot.stack.region)
    single(boot, bytes(Sealed(b"GGUF", DataKey.generate(kms, primary, CONTEXT))))
    boot.config["keys"] = [third]
    boot.stack.control.clear_audit()
    result = boot.run()
    assert result.returncode == 0 and result.report["key_arn"] == own, result
    assert asked(boot) == [own]


def test_a_region_without_a_replica_asks_the_others(boot, sealboot, tmp_path):
    kms, primary = multi_region_key(boot, OTHER_REGION)
    third = replicate(boot, kms, primary, THIRD_REGION)
    single(boot, bytes(Sealed(b"GGUF", DataKey.generate(kms, primary, CONTEXT))))
    boot.config["keys"] = [third.replace("mrk-", "mrk-0")]
    boot.refused(52)
    boot.config["keys"] = [third]
    boot.stack.client("kms", region=THIRD_REGION).disable_key(KeyId=third)
    boot.stack.control.clear_audit()
    result = boot.run()
    assert result.returncode == 0 and result.report["key_arn"] == primary, result
    refused = [entry["result"] for entry in boot.stack.control.audit(operation="Decrypt")]
    assert refused == ["NotFoundException", "DisabledException", "ok"]
    opened = sealboot("unseal", "-q", "-k", third, f"s3://{boot.stack.bucket}/{OBJECT}", tmp_path / "out")
    assert opened.returncode == 0, opened


# ---- what KMS says of its refusals

@pytest.mark.parametrize("how, words", [
    ("identity", "IAM policy"), ("boundary", "permissions boundary"), ("session", "session policy"),
    ("service-control-deny", "service control policy"), ("resource-control-deny", "resource control policy"),
    ("vpc-endpoint", "VPC endpoint"), ("resource", "a PCR mismatch and a missing permission look alike")])
def test_the_kind_of_policy_that_refused(boot, how, words):
    single(boot)
    boot.stack.control.fault("denied", service="kms", operation="Decrypt", how=how, count=None)
    result = boot.refused(30, "AccessDeniedException")
    assert words in result.stderr.partition("what to do:")[2]
    assert ("presented PCRs" in result.stderr) == ("look alike" in result.stderr) == (how == "resource"), result


@pytest.mark.parametrize("seconds", [-400, -4 * 3600])
def test_a_document_that_is_too_old(boot, seconds):
    single(boot)
    boot.stack.control.settings(tpm_clock=seconds)
    result = boot.refused(30, "ValidationException", "too old", "NitroTPM sets")
    assert "presented PCRs" not in result.stderr and "instance type" not in result.stderr


@pytest.mark.parametrize("code", [
    "ThrottlingException", "KMSInternalException", "DependencyTimeoutException", "KeyUnavailableException",
    "ExpiredTokenException"
])
def test_kms_recovers(boot, code):
    """With a fresh document for every attempt."""
    single(boot)
    boot.stack.control.clear_audit()
    boot.stack.control.fault("error", service="kms", operation="Decrypt", status=400, code=code, message="later",
                             count=2)
    result = boot.run()
    assert result.returncode == 0 and result.report["kms"]["attempts"] == 3, result
    assert sum(s["name"] == "attestation" for s in result.report["stages"]) == 3


def test_kms_never_recovers(boot):
    single(boot)
    boot.config["kms_deadline_seconds"] = 2
    boot.stack.control.fault("error", service="kms", operation="Decrypt", status=400, code="ThrottlingException",
                             message="later", count=None)
    boot.refused(33, "ThrottlingException", "attempts")


# ---- the format

@pytest.mark.parametrize("suite", [0x0578, 0x0014, 0x0078, 0x0178, 0x0378, 0x1234])
def test_suites(boot, suite):
    single(boot, suite=suite)
    boot.refused(51, f"0x{suite:04x}", {0x0578: "signed", 0x1234: "no such suite"}.get(suite, "no key commitment"))


def test_message_format_1(boot):
    single(boot, b"\x01\x80\x01\x78" + bytes(1000))
    boot.refused(51, "0x0178")


def test_body_is_not_framed(boot):
    single(boot, content_type=1)
    boot.refused(51, "not framed")


def test_not_sealed_at_all(boot):
    single(boot, b"GGUF" + bytes(10000))
    boot.refused(50, "starts with byte 47")


def test_truncated_at_every_boundary(boot):
    sealed = Sealed(bytes(10000), boot.data_key())
    whole, header = bytes(sealed), len(sealed.header)
    frames = [header, header + len(sealed.frames[0]), header + len(sealed.frames[0]) + len(sealed.frames[1])]
    cuts = {1, 3, 35, 37, 39, header - 48, header - 16, header - 1, len(whole) - 1, len(whole) - 16, len(whole) - 17}
    cuts |= {f + d for f in frames for d in (0, 4, 15, 16, 17)} | {frames[2] + 8, frames[2] + 20, frames[2] + 24}
    for cut in sorted(cuts):
        single(boot, whole[:cut])
        boot.refused(50)


def test_empty_object(boot):
    single(boot, b"")
    assert boot.run().returncode in (44, 50)
    boot.stack.nothing_left(boot.directory)


@pytest.mark.parametrize("extra", [1, 31, 40])
def test_trailing_bytes(boot, extra):
    single(boot, bytes(Sealed(bytes(8192 + 100), boot.data_key())) + bytes(extra))
    boot.refused(50, "trailing bytes")


def test_swapped_frames(boot):
    sealed = Sealed(bytes(20000), boot.data_key())
    sealed.frames[0], sealed.frames[1] = sealed.frames[1], sealed.frames[0]
    single(boot, bytes(sealed))
    boot.refused(50, "frame 2 at position 1")


def test_two_final_frames(boot):
    sealed = Sealed(bytes(4096 * 3), boot.data_key())
    sealed.frames[1] = sealed.frame(2, bytes(4096 - 8), final=True)
    single(boot, bytes(sealed))
    boot.refused(50, "final frame at position 2")


def test_missing_frame(boot):
    sealed = Sealed(bytes(20000), boot.data_key())
    del sealed.frames[2]
    single(boot, bytes(sealed))
    boot.refused(50, "frames were moved or lost")


def test_iv_that_is_not_the_sequence_number(boot):
    single(boot, ivs=lambda seq: bytes(11) + bytes([seq + 7]))
    boot.refused(50, "IV")
    boot.config["allow_any_iv"] = True
    assert boot.run().returncode == 0


def test_frame_of_another_message(boot):
    key = boot.data_key()
    one, other = Sealed(bytes(20000), key), Sealed(bytes(20000), key)
    one.frames[1] = other.frames[1]
    single(boot, bytes(one))
    boot.refused(54, "was altered: the tag of frame 2 of 5")


@pytest.mark.parametrize("where", ["header", "first", "middle", "last"])
def test_flipped_byte(boot, where):
    sealed = Sealed(data(30_000_000), boot.data_key(), frame_length=1 << 20)
    whole = bytearray(bytes(sealed))
    at = {
        "header": len(sealed.header) - 1, "first": len(sealed.header) + 100, "middle": len(whole) // 2,
        "last": len(whole) - 1
    }
    whole[at[where]] ^= 1
    single(boot, bytes(whole))
    boot.refused(54, "altered")


# ---- one object of a model of several files

FILES = {"config.json": b"{}", "guardrails.json": b'{"refuse": true}', "model.gguf": b"GGUF" + bytes(300_000)}
OBJECTS = ["00000.sealed", "00001.sealed", "00002.sealed", "manifest.sealed"]


@pytest.mark.parametrize("name", OBJECTS)
def test_one_object_of_a_model(boot, sealboot, tmp_path, name):
    """Copied by the operator to where an inference server would look for its weights; as sealboot itself sealed it."""
    (tmp_path / "m").mkdir()
    for path, content in FILES.items():
        (tmp_path / "m" / path).write_bytes(content)
    sealed = sealboot("seal", "-q", "--key", boot.arn, "--name", "m", tmp_path / "m",
                      f"s3://{boot.stack.bucket}/whole/", "--force")
    assert sealed.returncode == 0, sealed
    boot.put("other/model.gguf",
             boot.stack.s3().get_object(Bucket=boot.stack.bucket, Key=f"whole/{name}")["Body"].read())
    boot.launch("other/model.gguf")
    boot.stack.control.clear_audit()
    boot.refused(53, '"sealboot" = "manifest-model"', "not a model of its own", "s3://BUCKET/PREFIX/")
    assert not boot.stack.control.audit(operation="Decrypt"), "KMS was asked"


def test_the_mark_cannot_be_removed(boot):
    """It is in the context that KMS decrypts under."""
    single(boot, bytes(Sealed(b"x", boot.model_key(), context=CONTEXT)))
    boot.refused(32, "InvalidCiphertextException")


@pytest.mark.parametrize("extra",
                         [{"sealboot": "other"}, {"sealboot": ""}, {"sealboot": "manifest-model", "file": "a"}])
def test_marks_that_no_single_object_has(boot, extra):
    single(boot, bytes(Sealed(b"x", boot.data_key({**CONTEXT, **extra}))))
    boot.refused(53, "not a model of its own")


@pytest.mark.parametrize("text", [json.dumps(manifest(FILES)), "\n " + json.dumps(manifest(FILES), indent=1)])
def test_the_manifest_of_a_model_without_marks(boot, text):
    single(boot, plaintext=text.encode())
    boot.refused(53, 'the manifest of the model "m" version "1"', "s3://BUCKET/PREFIX/")


def test_other_objects_of_a_model_without_marks(boot):
    """Nothing tells them from what another program sealed; so they get no name, unless the configuration asks for
    one."""
    put_model(boot.stack.s3(), boot.stack.bucket, "old/", FILES, boot.data_key())
    boot.launch("old/00002.sealed")
    boot.config["encryption_context"] = {"file": "model.gguf"}
    boot.refused(53, 'lacks "file"')
    boot.config["encryption_context"] = {"model": "m"}
    assert boot.run().returncode == 0
    assert boot.published() == {"model": FILES["model.gguf"]}


def test_a_file_that_looks_like_a_manifest(boot):
    """Its sealer said that it is a file of its own."""
    text = json.dumps(manifest(FILES)).encode()
    single(boot, bytes(Sealed(text, boot.data_key({**CONTEXT, "file": "manifest.json"}))))
    assert boot.run().returncode == 0
    assert boot.published() == {"manifest.json": text}


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\nb"])
def test_names_that_no_file_has(boot, name):
    single(boot, bytes(Sealed(b"x", boot.data_key({**CONTEXT, "file": name}))))
    boot.stack.control.clear_audit()
    boot.refused(53, "which is no file name")
    assert not boot.stack.control.audit(operation="Decrypt"), "KMS was asked"


# ---- the manifest

def sealed_manifest(boot, text: bytes, objects=()):
    key = boot.data_key()
    boot.put("p/manifest.sealed", bytes(Sealed(text, key)))
    for name, plaintext in objects:
        boot.put("p/" + name, bytes(Sealed(plaintext, key)))
    boot.launch("p/")


GOOD = manifest({"a": b"1", "b": b"2"})


def changed(change):
    m = copy.deepcopy(GOOD)
    change(m)
    return m


def entry(**fields):
    return lambda m: m["files"][0].update(fields)


MANIFESTS = {
    "dotdot": (changed(entry(path="../a")), '".."'),
    "dotdot inside": (changed(entry(path="x/../../a")), '".."'),
    "absolute": (changed(entry(path="/etc/passwd")), "absolute"),
    "empty part": (changed(entry(path="a//b")), "empty part"),
    "trailing slash": (changed(entry(path="a/")), "empty part"),
    "dot": (changed(entry(path="./a")), '"."'),
    "empty": (changed(entry(path="")), "files[0].path"),
    "newline": (changed(entry(path="a\nb")), "control character"),
    "duplicate": (changed(entry(path="b")), "twice"),
    "file and directory": (changed(entry(path="b/c")), "is a file, too"),
    "duplicate object": (changed(entry(object="00001.sealed")), "twice"),
    "object elsewhere": (changed(entry(object="../secret")), '".."'),
    "negative size": (changed(entry(size=-1)), "files[0].size"),
    "size as text": (changed(entry(size="1")), "must be a number of bytes"),
    "short digest": (changed(entry(digest="sha256:00")), "64 hex digits"),
    "other algorithm": (changed(entry(digest="md5:00")), "64 hex digits"),
    "unknown key": (changed(entry(mode=0o4755)), "unknown key"),
    "no files": (changed(lambda m: m.update(files=[])), "files"),
    "format 2": (changed(lambda m: m.update(sealboot=2)), "sealboot"),
    "model digest": (changed(lambda m: m.update(digest="sha384:" + "0" * 96)), "model digest"),
    "10001 paths": (changed(lambda m: m.update(
        files=[{**GOOD["files"][0], "path": f"f{i}", "object": f"o{i}"} for i in range(10001)])), "files"),
    "sizes overflow": (changed(lambda m: [f.update(size=(1 << 63) - 1) for f in m["files"]]), "more than any memory"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest(boot, name):
    content, words = MANIFESTS[name]
    sealed_manifest(boot, json.dumps(content).encode())
    boot.refused(55, words)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"sealboot": 1, "sealboot": 1}', b"\0", b"\xff"])
def test_manifest_is_not_json(boot, text):
    sealed_manifest(boot, text)
    boot.refused(55)


def test_10000_paths_are_fine_but_missing(boot):
    files = [{**GOOD["files"][0], "path": f"d{i % 100}/f{i}", "object": f"o{i}"} for i in range(10000)]
    import hashlib
    text = "".join(f"{f['digest']} {f['path']}\n" for f in sorted(files, key=lambda f: f["path"].encode()))
    sealed_manifest(
        boot,
        json.dumps({**GOOD, "files": files, "digest": "sha384:" + hashlib.sha384(text.encode()).hexdigest()}).encode())
    boot.refused(41, "s3://")


def test_sizes_that_do_not_fit(boot):
    m = changed(lambda m: m["files"][0].update(size=1 << 50))
    sealed_manifest(boot, json.dumps(m).encode(), [("00000.sealed", b"1"), ("00001.sealed", b"2")])
    boot.refused(57, "there is room for")


def test_size_of_a_file_is_a_lie(boot):
    m = changed(lambda m: m["files"][0].update(size=2))
    sealed_manifest(boot, json.dumps(m).encode(), [("00000.sealed", b"1"), ("00001.sealed", b"2")])
    boot.refused(56, "the manifest says 2")


def test_digest_mismatch(boot):
    sealed_manifest(boot, json.dumps(GOOD).encode(), [("00000.sealed", b"1"), ("00001.sealed", b"3")])
    boot.refused(56, 'the manifest has for "b"')


def test_files_exchanged(boot):
    sealed_manifest(boot, json.dumps(GOOD).encode(), [("00000.sealed", b"2"), ("00001.sealed", b"1")])
    boot.refused(56)


def test_file_sealed_under_another_data_key(boot):
    sealed_manifest(boot, json.dumps(GOOD).encode(), [("00000.sealed", b"1")])
    boot.put("p/00001.sealed", bytes(Sealed(b"2", boot.data_key())))
    refused = boot.refused(53, "different seals were mixed", "sealed under another data key")
    assert "All files of a model must be sealed under one data key" in refused.stderr


def test_file_sealed_under_another_context(boot):
    sealed_manifest(boot, json.dumps(GOOD).encode(), [("00000.sealed", b"1")])
    boot.put("p/00001.sealed", bytes(Sealed(b"2", boot.data_key(CONTEXT | {"version": "2"}))))
    refused = boot.refused(53, "different seals were mixed", "another encryption context than the header")
    assert "data key:" not in refused.stderr


def test_model_is_not_among_those_allowed(boot):
    put_model(boot.stack.s3(), boot.stack.bucket, "allowed/", {"a": b"1"}, boot.model_key())
    boot.launch("allowed/")
    boot.config["model_digests"] = ["sha384:" + "0" * 96]
    boot.refused(56, "not among the 1")
    boot.config["model_digests"].append(manifest({"a": b"1"})["digest"])
    assert boot.run().returncode == 0


def test_does_not_fit_the_tmpfs(boot, tmp_path):
    """A tmpfs of 8 MiB and an object of 20: refused by its size, before its bytes."""
    single(boot, plaintext=bytes(20_000_000), frame_length=1 << 20)
    boot.config["model_directory"] = str(tmp_path)
    mount = f"mount -t tmpfs -o size=8m,mode=700 tmpfs {tmp_path}/m && exec \"$@\""
    (tmp_path / "m").mkdir()
    boot.config["model_directory"] = str(tmp_path / "m")
    boot.refused(57, "needs 20000000 bytes", wrapper=("unshare", "--mount", "sh", "-c", mount, "sh"))


def test_model_directory_on_a_disk(boot, tmp_path):
    single(boot)
    boot.config["model_directory"] = str(tmp_path)
    if os.statvfs(tmp_path).f_fsid == os.statvfs("/dev/shm").f_fsid:
        pytest.skip("the temporary directory is in memory")
    boot.refused(60, "not on a tmpfs")


# ---- S3

def test_no_such_object(boot):
    single(boot)
    boot.launch("no/such/object")
    boot.refused(41, "NoSuchKey")


def test_no_such_manifest(boot):
    boot.launch("nothing/here/")
    boot.refused(41, "manifest.sealed")


def test_object_replaced_while_it_is_read(boot):
    single(boot, plaintext=data(40_000_000), frame_length=1 << 20)
    boot.stack.control.fault("replace", service="s3", operation="GetObject", skip=2)
    boot.refused(43, "replaced")


@pytest.mark.parametrize("fault", [{"kind": "reset", "after": 3_000_000}, {"kind": "truncate", "after": 3_000_000},
                                   {"kind": "error", "status": 503, "code": "SlowDown"},
                                   {"kind": "error", "status": 500, "code": "InternalError"}])
def test_s3_recovers(boot, fault):
    plaintext = data(40_000_000)
    single(boot, plaintext=plaintext, frame_length=1 << 20)
    # One of four may ask for what is left of a part, which is less than the fault lets through.
    boot.stack.control.fault(service="s3", operation="GetObject", count=4, **fault)
    result = boot.run()
    assert result.returncode == 0, result
    assert boot.published() == {"model": plaintext} and result.report["transfer"]["retries"] >= 3


# The first request comes before the header is read, and asks for more than the first part.
@pytest.mark.parametrize("frame_length, after", [(10 << 20, 4_000_000), (4096, 8_300_000),
                                                 (1 << 20, 8 * (1 << 20) + 1000)])
def test_s3_breaks_off_behind_the_first_part(boot, frame_length, after):
    plaintext = data(30_000_000)
    single(boot, plaintext=plaintext, frame_length=frame_length)
    boot.stack.control.fault("reset", service="s3", operation="GetObject", count=1, after=after)
    result = boot.run()
    assert result.returncode == 0, result
    assert boot.published() == {"model": plaintext}


def test_bytes_without_a_whole_frame_are_no_progress(boot):
    single(boot, plaintext=data(12_000_000), frame_length=4 << 20)
    boot.stack.control.fault("reset", service="s3", operation="GetObject", count=None, after=3_000_000)
    began = time.monotonic()
    refusal = boot.refused(15, "attempts in")
    assert 30 < time.monotonic() - began < 90, refusal


@pytest.mark.parametrize("fault", [{"kind": "content-range"}, {"kind": "whole"}])
def test_s3_answers_that_do_not_fit_the_question(boot, fault):
    single(boot, plaintext=data(20_000_000), frame_length=1 << 20)
    boot.stack.control.fault(service="s3", operation="GetObject", count=None, **fault)
    boot.refused(44)


def test_corrupted_on_the_way(boot):
    single(boot, plaintext=data(20_000_000), frame_length=1 << 20)
    boot.stack.control.fault("corrupt", service="s3", operation="GetObject", count=None, offset=15_000_000)
    boot.refused(54, "altered")


@pytest.mark.parametrize("fault, code, has, lacks", [
    ({"kind": "error", "code": "KMS.DisabledException"}, 40, "SSE-KMS", "Something stands between"),
    ({"kind": "error", "code": "KMS.NotFoundException"}, 40, "SSE-KMS", "Something stands between"),
    ({"kind": "error", "code": "NeverHeardOf", "status": 409}, 40, "NeverHeardOf", "Something stands between"),
    ({"kind": "error", "code": "IllegalLocationConstraintException"}, 41, "another Region", "Something stands between"),
    ({"kind": "error", "code": "InvalidObjectState"}, 40, "archived in the storage class GLACIER", "s3:GetObject"),
    ({"kind": "denied", "how": "resource", "action": "kms:Decrypt"}, 40, "must allow kms:Decrypt", "s3:GetObject"),
    ({"kind": "denied", "how": "vpc-endpoint"}, 40, "VPC endpoint", "bucket policy"),
    ({"kind": "denied", "how": "identity", "action": "s3:GetObjectVersion"
      }, 40, "IAM policy allow s3:GetObjectVersion", "bucket policy"),
])
def test_s3_refusals_have_their_own_advice(boot, fault, code, has, lacks):
    single(boot)
    boot.stack.control.fault(service="s3", operation="GetObject", count=None, **fault)
    advice = boot.refused(code).stderr.partition("what to do:")[2]
    assert has in advice and lacks not in advice, advice


# ---- the TPM

RETRY, YIELDED, TESTING, NV_RATE, NV_UNAVAILABLE, LOCKOUT = 0x922, 0x908, 0x90A, 0x920, 0x923, 0x921
TPM_COMMANDS = ["GetCapability", "PCR_Read", "NV_DefineSpace", "NV_Write", "NV_Read", "NV_UndefineSpace", "PCR_Extend"]


@pytest.mark.parametrize("rc", [RETRY, YIELDED, TESTING, NV_RATE, NV_UNAVAILABLE], ids=hex)
def test_tpm_that_says_not_now(boot, tmp_path, rc):
    single(boot)
    for operation in [*TPM_COMMANDS, "Attest"]:
        boot.stack.control.fault("rc", service="tpm", operation=operation, rc=rc, count=7)
    result, told = boot.statuses(tmp_path)
    assert result.returncode == 0, result
    assert any(line.startswith("Waiting for the TPM: ") for line in told), told
    assert boot.stack.control.tpm()["nv"] == []


@pytest.mark.parametrize("operation", ["NV_Write", "PCR_Read"])
def test_tpm_that_says_no(boot, operation):
    single(boot)
    boot.stack.control.fault("rc", service="tpm", operation=operation, rc=LOCKOUT, count=None)
    began = time.monotonic()
    result = boot.run()
    boot.stack.control.clear_faults()
    assert result.returncode == 22 and time.monotonic() - began < 5, result


def test_tpm_that_never_comes_round(boot):
    single(boot)
    boot.stack.control.fault("rc", service="tpm", operation="NV_Write", rc=NV_RATE, count=None)
    began = time.monotonic()
    boot.refused(22, "was put off for all of 15000 ms")
    assert 14 < time.monotonic() - began < 30


def test_pcr15_extended_already(boot):
    single(boot)
    boot.stack.control.tpm_extend(15, sha256=b"\1" * 32)
    result = boot.run()
    assert result.returncode == 23 and "sha256" in result.stderr, result
    assert not list(boot.directory.iterdir()) and boot.stack.control.tpm()["nv"] == []


def test_sha384_bank_is_not_active(boot):
    """Known before any key is asked for, and no other bank is extended."""
    single(boot)
    try:
        boot.stack.tpm("tpm2_pcrallocate", "sha1:none+sha256:all+sha384:none+sha512:none")
        boot.stack.control.tpm_reset()
        boot.stack.control.clear_audit()
        result = boot.run()
        assert result.returncode == 26 and "active PCR banks are sha256;" in result.stderr, result
        assert "tpm2_pcrallocate" in result.stderr, result
        assert result.report["failure"]["name"] == "pcr-bank"
        assert not [e for e in boot.stack.control.audit() if e["service"] in ("kms", "s3")]
        assert not list(boot.directory.iterdir()) and set(
            boot.stack.tpm("tpm2_pcrread", "sha256:15").split("0x")[1].strip()) == {"0"}
    finally:
        boot.stack.tpm("tpm2_pcrallocate", "sha1:all+sha256:all+sha384:all+sha512:all")
        boot.stack.control.tpm_reset()


def test_no_tpm(boot):
    single(boot)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    boot.refused(20, tcti=f"swtpm:host=127.0.0.1,port={port}")


@pytest.mark.parametrize("operation", ["NV_DefineSpace", "NV_Write", "NV_Read", "PCR_Read"])
def test_tpm_command_fails(boot, operation):
    single(boot)
    boot.stack.control.fault("rc", service="tpm", operation=operation, rc=0x101)
    result = boot.run()
    boot.stack.control.clear_faults()
    assert result.returncode in (22, 24), result
    boot.stack.nothing_left(boot.directory)


def test_index_is_undefined_at_the_second_try(boot):
    single(boot)
    boot.stack.control.fault("rc", service="tpm", operation="NV_UndefineSpace", rc=0x101)
    assert boot.run().returncode == 0
    assert boot.stack.control.tpm()["nv"] == []


@pytest.mark.parametrize("operation", ["PCR_Extend"])
def test_pcr15_cannot_be_extended(boot, operation):
    single(boot)
    boot.stack.control.fault("rc", service="tpm", operation=operation, rc=0x101)
    boot.refused(25)


# ---- the metadata service

def test_imds_v1_only(boot):
    single(boot)
    boot.stack.control.settings(imds={"mode": "v1-only"})
    boot.refused(12, "IMDSv2")


def test_no_role(boot):
    """Not for long does an instance without one look like a new one."""
    single(boot)
    boot.stack.control.settings(imds={"role": None})
    began = time.monotonic()
    boot.refused(13, "no IAM role is attached to this instance", "attempts in")
    assert 15 < time.monotonic() - began < 40


ROLE_LIST = "/latest/meta-data/iam/security-credentials/"
ROLE = ROLE_LIST + "sealboot-instance"


@pytest.mark.parametrize("how, path", [("absent", ROLE_LIST), ("empty", ROLE_LIST), ("absent", ROLE), ("empty", ROLE),
                                       ("failed", ROLE), ("no-profile", ROLE), ("no-assume", ROLE),
                                       ("absent", "/latest/meta-data/placement/region"),
                                       ("empty", "/latest/meta-data/placement/region"), ("absent", "/latest/user-data"),
                                       ("empty", "/latest/user-data")])
def test_the_first_seconds_of_the_metadata_service(boot, tmp_path, how, path):
    single(boot)
    del boot.config["region"]
    boot.stack.control.fault("starting", service="imds", key=path, how=how, count=2)
    result, told = boot.statuses(tmp_path)
    assert result.returncode == 0, result
    assert sum(line.startswith("Trying again: ") and path in line for line in told) == 2, told
    assert told[-1].startswith("Model published at ")


def test_user_data_is_not_waited_for_where_the_image_names_a_model(boot):
    single(boot)
    boot.config["model"] = f"s3://{boot.stack.bucket}/{OBJECT}"
    boot.stack.control.user_data(None)
    began = time.monotonic()
    assert boot.run().returncode == 0 and time.monotonic() - began < 10


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_empty_user_data_is_as_good_as_none(boot, content):
    single(boot)
    boot.config["model"] = f"s3://{boot.stack.bucket}/{OBJECT}"
    boot.stack.control.user_data(content)
    assert boot.run().returncode == 0


def test_no_user_data(boot):
    boot.refused(11, "this instance has no user data, and the measured configuration names no model")


def test_expired_credentials(boot):
    single(boot)
    boot.stack.control.settings(imds={"credentials_lifetime": -60})
    boot.refused(13, "expired")


def test_token_expires_under_way(boot):
    plaintext = data(40_000_000)
    single(boot, plaintext=plaintext, frame_length=1 << 20)
    boot.stack.control.fault("error", service="s3", operation="GetObject", status=400, code="ExpiredToken", skip=1)
    assert boot.run().returncode == 0


@pytest.mark.parametrize(
    "text,words",
    [
        ('{"sealboot": {"model": 5}}', '"sealboot.model" must be an s3:// URI'),
        ('{"sealboot": {"model": "https://x/"}}', "s3://"),
        ('{"sealboot": {"model": "s3://b/k", "keys": ["arn:aws:kms:us-east-1:111122223333:key/evil"]}}',
         'unknown key "sealboot.keys"'),
        ('{"sealboot": {"measure": "sha384"}}', 'unknown key "sealboot.measure"'),
        ('{"sealboot": []}', "must be an object"),
        # What the service manager and the console are told names the model: no line of it may be the operator's own.
        ('{"sealboot": {"model": "s3://bucket/x\\nREADY=1\\n"}}', "control characters"),
        ('{"sealboot": {"model": "s3://bucket/\\u001b[2J"}}', "control characters"),
        ("{}", "names no model"),
        ("#!/bin/sh\nreboot", "JSON"),
    ])
def test_user_data(boot, text, words):
    boot.stack.control.user_data(text)
    boot.refused(11, words)


def test_clock_is_wrong(boot):
    single(boot)
    boot.stack.control.settings(clock=3600)
    boot.config["lifecycle_hook"] = {"group": "inference", "name": "model-loaded"}
    result = boot.refused(14, "clock")
    told = result.stderr[result.stderr.index("Auto Scaling could not be told"):]
    assert "RequestExpired" in told and "The instance's clock is wrong" in told, result


# ---- being stopped

def test_stopped_while_unsealing(boot, build):
    single(boot, plaintext=data(60_000_000), frame_length=1 << 20)
    boot.stack.control.fault("slow", service="s3", operation="GetObject", count=None, rate=1_000_000)
    config = boot.directory.parent / (boot.directory.name + ".json")
    config.write_text(json.dumps(boot.config))
    report = config.with_suffix(".report")
    process = subprocess.Popen([build / "agent/sealboot-agent", "--config", config, "--report", report, "--tcti",
                                boot.stack.variables["TPM2TOOLS_TCTI"]], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not any(boot.directory.rglob("0")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, printed = process.communicate(timeout=20)
    outcome = json.loads(report.read_text())
    config.unlink()
    report.unlink()
    assert process.returncode == 3, printed
    assert "stopped by signal 15" in printed and outcome["failure"]["name"] == "stopped"
    assert list(boot.directory.iterdir()) == []
    boot.stack.nothing_left(boot.directory)


# ---- being killed

KILLED = {"a": data(100_000), "b/c": b"1"}


def killed(boot, build, at):
    """A boot that is killed when it is about to give a file, or the model, this name."""
    put_model(boot.stack.s3(), boot.stack.bucket, "killed/", KILLED, boot.model_key())
    boot.launch("killed/")
    result = boot.run(wrapper=("env", f"LD_PRELOAD={build}/tests/helpers/kill-at.so", f"KILL_AT={at}",
                               "ASAN_OPTIONS=verify_asan_link_order=0"))
    assert result.returncode == -signal.SIGKILL, result
    assert {p.read_bytes() for p in boot.directory.rglob("*") if p.is_file()} == set(KILLED.values())
    return result


@pytest.mark.parametrize("at, extended", [("b/c", False), ("current", True)])
def test_what_a_killed_boot_leaves_is_cleaned_up(boot, build, at, extended):
    """As ExecStopPost= does it; PCR15 may be extended by then, and the model is not published."""
    killed(boot, build, at)
    assert (set(boot.stack.pcr(15)) != {"0"}) == extended
    result = boot.run("--clean-up")
    assert (result.returncode, result.stdout) == (0, ""), result
    assert result.stderr == f"sealboot-agent: removed what a run that was killed had left in {boot.directory}\n"
    assert list(boot.directory.iterdir()) == []
    again = boot.run("--clean-up")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert boot.run().returncode == (23 if extended else 0)


def test_cleaning_up_leaves_a_published_model_alone(boot):
    put_model(boot.stack.s3(), boot.stack.bucket, "killed/", KILLED, boot.model_key())
    boot.launch("killed/")
    assert boot.run().returncode == 0
    result = boot.run("--clean-up")
    assert (result.returncode, result.stderr) == (0, "") and boot.published() == KILLED


def test_cleaning_up_follows_no_link(boot, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_text("x")
    (boot.directory / ".unsealing").mkdir()
    (boot.directory / ".unsealing/0").symlink_to(tmp_path / "kept/file")
    (boot.directory / ".unsealing/1").symlink_to(tmp_path / "kept")
    (boot.directory / ".publishing").symlink_to(tmp_path / "kept")
    assert boot.run("--clean-up").returncode == 0
    assert list(boot.directory.iterdir()) == [] and (tmp_path / "kept/file").read_text() == "x"


def test_cleaning_up_where_nothing_was(boot, tmp_path):
    boot.config["model_directory"] = str(tmp_path / "none")
    assert boot.run("--clean-up").returncode == 0
    (tmp_path / "file").write_text("")
    boot.config["model_directory"] = str(tmp_path / "file")
    result = boot.run("--clean-up")
    assert result.returncode == 60 and "the model directory cannot be opened" in result.stderr, result
    boot.config["keys"] = []
    assert boot.run("--clean-up").returncode == 10


# ---- the configuration

@pytest.mark.parametrize("change,words", [
    ({"keys": []}, "keys"),
    ({"keys": ["alias/x"]}, "must be a KMS key ARN"),
    ({"keys": ["arn:aws:kms:us-east-1:111122223333:alias/x"]}, "must be a KMS key ARN"),
    ({"keys": ["arn:aws:kms:us-east-1:111122223333:key/*"]}, "must be a KMS key ARN"),
    ({"keys": "arn"}, '"keys" must be a list'),
    ({"discovery": True}, "exclude each other"),
    ({"key": "x"}, 'unknown key "key"'),
    ({"connections": 0}, '"connections" is 0, expected 1 to 1024'),
    ({"connections": 2.5}, "not double"),
    ({"measure": "md5"}, '"measure" is "md5"'),
    ({"endpoints": {"s3": "file:///etc/"}}, "endpoints.s3"),
    ({"use_fips_endpoint": "true"}, "use_fips_endpoint"),
    ({"use_dualstack_endpoint": 1}, "use_dualstack_endpoint"),
    ({"endpoints": {"sts": "https://x"}}, 'unknown key "endpoints.sts"'),
    ({"endpoints": {"imds": "http://169.254.169.254/latest"}}, "more than a scheme, a host and a port"),
    ({"endpoints": {"autoscaling": "https://user@autoscaling.example"}}, "endpoints.autoscaling"),
    ({"region": "EU-WEST-1"}, "is not the name of a Region"),
    ({"model": "https://bucket.s3.amazonaws.com/x/"}, "is not of the form s3://bucket/key"),
    ({"tcti": "device:tpm0"}, "names no device"),
    ({"ca_bundle": "/nowhere/ca.pem"}, '"ca_bundle" cannot be opened'),
    ({"ca_bundle": "/dev/null"}, "holds no certificate"),
    ({"lifecycle_hook": {"group": "g", "name": "a b"}}, "lifecycle hook"),
    ({"model_directory": "model"}, "absolute path"),
    ({"model_digests": ["00"]}, "96 hex digits"),
    ({"encryption_context": {"model": 1}}, "encryption_context.model"),
])
def test_configuration(boot, build, tmp_path, change, words):
    boot.config |= change
    refused = boot.refused(10, words)
    assert "ca_bundle" in change or "agent.json" in refused.stderr
    checked = check_config(build, "--config", tmp_path / "agent.json")
    assert checked.returncode == 10 and checked.stderr == refused.stderr and not checked.stdout


def check_config(build, *arguments):
    command = [build / "agent/sealboot-agent", "--check-config", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_check_config_in_an_image(boot, build, tmp_path):
    """A path of the configuration is one of the image, also where symbolic links of the image lead."""
    root = tmp_path / "root"
    (root / "etc/sealboot").mkdir(parents=True)
    (root / "usr/share/ca").mkdir(parents=True)
    (root / "etc/ssl").symlink_to("/usr/share/ca")
    (root / "etc/sealboot/agent.json").write_text(json.dumps(boot.config | {"ca_bundle": "/etc/ssl/own.pem"}))
    missing = check_config(build, "--root", root)
    assert missing.returncode == 10 and f"below {root}" in missing.stderr
    shutil.copy(pathlib.Path(__file__).parent.parent / "fixtures/attestation/root.pem", root / "usr/share/ca/own.pem")
    good = check_config(build, "--root", root)
    assert good.returncode == 0
    assert good.stdout.startswith(f"{root}/etc/sealboot/agent.json: valid\nWhat only a boot can tell:\n")
    assert boot.config["model_directory"] in good.stdout and not good.stderr
    assert check_config(build, "--config", root / "etc/sealboot/agent.json").returncode == 10
    assert subprocess.run([build / "agent/sealboot-agent", "--root", root], capture_output=True).returncode == 2


def test_configuration_without_keys(boot):
    del boot.config["keys"]
    boot.refused(10, '"keys" is missing')


@pytest.mark.parametrize("text", ["", "{", "{} {}", '{"keys": [], "keys": []}', "[" * 100])
def test_configuration_is_not_json(boot, text):
    boot.config = text
    boot.refused(10, "agent.json")
