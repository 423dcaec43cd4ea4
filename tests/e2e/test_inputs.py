# SPDX-License-Identifier: Apache-2.0
"""Models of several parties in one boot: each with a key of its own, all of them measured by one extend."""

import hashlib
import json
import shutil

import pytest

from boots import data
from parties import Party, digest, on_disk, place, set_text
from sealer import MARK, Sealed, pcr15, put_model

BASE = {"config.json": b"{}", "weights/model.safetensors": data(5_000_001, 3)}
ADAPTER = b"GGUF" + data(2_500_000, 4)
HOSPITAL = "St. Mary Hospital"


@pytest.fixture
def parties(boot):
    """The base model of Acme, and the adapter of a hospital, sealed as one object; both in S3."""
    acme, hospital = Party(boot.stack, "Acme", "base"), Party(boot.stack, HOSPITAL, "adapter")
    put_model(boot.stack.s3(), boot.stack.bucket, "acme/", BASE, acme.key(**MARK))
    boot.put("hospital/adapter.sealed", bytes(Sealed(ADAPTER, hospital.key(file="adapter.gguf"))))
    for key in ("keys", "encryption_context"):
        del boot.config[key]
    boot.config["inputs"] = [acme.input(directory="models/base"), hospital.input(required=False)]
    return acme, hospital


def check(boot, result, text: bytes, files: dict):
    """Register, published files, report, measurement log and a new document agree on this text."""
    assert result.returncode == 0, result
    assert boot.published() == files
    for bank in ("sha256", "sha384"):
        assert boot.stack.pcr(15, bank) == pcr15(text, bank)
    assert result.report["model"]["digest"] == "sha384:" + hashlib.sha384(text).hexdigest()
    assert result.report["pcr15"]["sha384"]["after"] == pcr15(text)
    record = json.loads(boot.log.read_text().lstrip("\x1e"))
    assert record["content"]["string"].encode() == text
    assert boot.stack.control.tpm()["nv"] == []
    return record["content"]["description"]


def check_document(boot, sealboot, tmp_path, text: bytes):
    """What a consumer asks afterwards: `verify` takes the digest of the set where it takes that of a model."""
    nonce, document = tmp_path / "nonce", tmp_path / "document"
    nonce.write_bytes(data(32))
    asked = sealboot("attest", "--nonce", nonce, "-o", document)
    assert asked.returncode == 0, asked
    for wanted, code in ((hashlib.sha384(text).hexdigest(), 0), ("0" * 96, 73)):
        result = sealboot("verify", "--root", boot.stack.env["SEALBOOT_ATTESTATION_ROOT"], "--nonce", f"@{nonce}",
                          "--model-digest", wanted, document)
        assert result.returncode == code, result


def predicted(sealboot, tmp_path, *inputs: str) -> dict:
    """What `digest` says of the configuration that booted."""
    arguments = [word for one in inputs for word in ("--input", one)]
    result = sealboot("digest", "--json", "--config", tmp_path / "agent.json", *arguments)
    assert result.returncode == 0, result
    return result.json


def test_two_parties(boot, parties, sealboot, tmp_path):
    place(boot, base="acme/", adapter="hospital/adapter.sealed")
    result = boot.run()
    adapter = digest({"adapter.gguf": ADAPTER})
    text = set_text(f"sha384:{digest(BASE)} base Acme", f"sha384:{adapter} adapter {HOSPITAL}")
    files = {f"models/base/{path}": content for path, content in BASE.items()} | {"adapter/adapter.gguf": ADAPTER}
    description = check(boot, result, text, files)
    assert description == (f"input base of Acme: model m version 1 from s3://{boot.stack.bucket}/acme/manifest.sealed; "
                           f"input adapter of {HOSPITAL}: model adapter.gguf version - from "
                           f"s3://{boot.stack.bucket}/hospital/adapter.sealed")
    check_document(boot, sealboot, tmp_path, text)

    said = predicted(sealboot, tmp_path, f"base={on_disk(tmp_path, BASE)}", f"adapter=sha384:{adapter}")
    assert (said["digest"], said["pcr15"]) == (result.report["model"]["digest"], pcr15(text))
    # One document serves both parties' keys: each bound PCR15 to zeros, so that both were released before the extend.
    assert [s["name"] for s in result.report["stages"]].count("attestation") == 1
    inputs = result.report["inputs"]
    for party, files in zip(parties, (BASE, {"adapter.gguf": ADAPTER})):
        said = inputs[party.name]
        assert (said["owner"], said["present"], said["key_arn"]) == (party.owner, True, party.arn)
        assert said["model"]["digest"] == "sha384:" + digest(files) and said["kms"]["request_id"]
        assert said["encryption_context"].items() >= party.context.items()
    assert "key_arn" not in result.report and "encryption_context" not in result.report


def test_an_optional_input_is_absent(boot, parties, sealboot, tmp_path):
    place(boot, base="acme/", adapter=None)
    result = boot.run()
    text = set_text(f"sha384:{digest(BASE)} base Acme", f"absent adapter {HOSPITAL}")
    description = check(boot, result, text, {f"models/base/{path}": content for path, content in BASE.items()})
    assert description.endswith(f"; input adapter of {HOSPITAL}: absent")
    check_document(boot, sealboot, tmp_path, text)
    said = predicted(sealboot, tmp_path, f"base={on_disk(tmp_path, BASE)}", "adapter=absent")
    assert said["pcr15"] == pcr15(text)
    assert result.report["model"]["name"] == "base"
    assert result.report["inputs"]["adapter"] == {"owner": HOSPITAL, "present": False}
    # The party was not asked for its key.
    asked = boot.stack.control.audit(service="kms", operation="Decrypt")
    assert not any(parties[1].arn in json.dumps(event) for event in asked)


@pytest.mark.parametrize("denied", ["base", "adapter"])
def test_one_party_refuses(boot, parties, denied):
    """The refusal is shown to that party's name only: no key, context, place or name of the other is in it."""
    place(boot, base="acme/", adapter="hospital/adapter.sealed")
    other, party = sorted(parties, key=lambda p: p.name == denied)
    policy = boot.stack.key_policy(pcrs={4: "ab" * 48})
    boot.stack.kms().put_key_policy(KeyId=party.arn, PolicyName="default", Policy=json.dumps(policy))
    result = boot.refused(30, f"input {denied} of {party.owner}: kms key {party.arn}", "PCR15")
    failure = result.report["failure"]
    assert result.report["key_arn"] == party.arn
    assert result.report["encryption_context"].items() >= party.context.items()
    told = json.dumps([failure, result.report["encryption_context"]]) + result.stderr
    for secret in (other.arn, other.owner, other.context["model"], other.name + " of", "acme/", "hospital/"):
        assert secret not in told, secret


def test_what_a_configuration_pins_is_held_for_each_input(boot, parties, sealboot, tmp_path):
    """The operator cannot give one party's input the model of the other, nor one that the digests do not allow."""
    adapter = {"adapter.gguf": ADAPTER}
    for change, inputs, code, words in (
            ({}, {"base": "hospital/adapter.sealed"}, 52, ("input base of Acme", "not among the 1 pinned keys")),
            ({}, {"base": "acme/", "adapter": "acme/"}, 52, (f"input adapter of {HOSPITAL}",)),
            ({"model_digests": ["sha384:" + "0" * 96]}, {"base": "acme/"}, 56, ("input base of Acme",)),
            ({}, {"base": "nowhere/"}, 41, ("input base of Acme",))):
        place(boot, **inputs)
        before = dict(boot.config["inputs"][0])
        boot.config["inputs"][0] |= change
        boot.refused(code, *words)
        if "model_digests" in change:
            result = sealboot("digest", "--config", tmp_path / "agent.json", "--input", f"base=sha384:{digest(BASE)}",
                              "--input", f"adapter=sha384:{digest(adapter)}")
            assert result.returncode == 56 and "input base of Acme" in result.stderr, result
        boot.config["inputs"][0] = before


def test_many_single_objects_through_one_connection(boot, parties):
    """While the keys are awaited, the first object holds the only connection of the pipeline."""
    third = Party(boot.stack, "Initech", "third")
    boot.config["inputs"] = [parties[1].input(), third.input(), parties[0].input()]
    boot.config |= {"connections": 1, "workers": 1}
    large = data(12_000_000, 9)
    boot.put("hospital/large", bytes(Sealed(large, parties[1].key(), frame_length=1 << 20)))
    boot.put("third", bytes(Sealed(b"", third.key())))
    place(boot, adapter="hospital/large", third="third", base="acme/")
    result = boot.run()
    text = set_text(f"sha384:{digest({'model': large})} adapter {HOSPITAL}",
                    f"sha384:{digest({'model': b''})} third Initech", f"sha384:{digest(BASE)} base Acme")
    check(boot, result, text, {"adapter/model": large, "third/model": b""} | {f"base/{p}": c for p, c in BASE.items()})
    boot.stack.control.tpm_reset()
    shutil.rmtree(boot.directory / "current")
