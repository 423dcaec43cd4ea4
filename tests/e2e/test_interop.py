# SPDX-License-Identifier: Apache-2.0
"""What AWS's own Encryption SDK seals, sealboot opens; what sealboot seals, the SDK opens; and what neither should is
refused."""

import hashlib
import json

import pytest

from boots import CONTEXT, data
from esdk import esdk  # noqa: F401
from sealer import model_text

ODD_CONTEXT = {
    "model": "m", "version": "1", "ünï": "cødé", "a": "", "Z": "=&+ %", "𐀀": "astral", "\uffee": "above it in bytes"
}


@pytest.fixture(scope="module")
def key(stack):
    return stack.create_key(pcrs={})


@pytest.fixture
def opened(sealboot, tmp_path):
    """opened(sealed) -> the plaintext, by `sealboot unseal` of a local file."""
    def call(sealed: bytes) -> bytes:
        (tmp_path / "object").write_bytes(sealed)
        result = sealboot("unseal", "-q", tmp_path / "object", tmp_path / "opened")
        assert result.returncode == 0, result
        return (tmp_path / "opened" / "model").read_bytes()
    return call


# Both ends of a frame, exact multiples (which the SDK ends in a full or an empty final frame), one block of many small
# frames.
@pytest.mark.parametrize("size, frame_length", [(0, 4096), (1, 4096), (4096, 4096), (4097, 4096), (100_000, 4096),
                                                (12_288, 4096), (1000, 1), (100_000, 1000), (3_000_001, 65_536),
                                                (2_000_000, 16 << 20)])
def test_sealboot_opens_what_the_sdk_seals(esdk, stack, key, opened, size, frame_length):
    sealed = esdk.encrypt(stack, data(size), key, frame_length=frame_length, context=CONTEXT)
    assert opened(sealed) == data(size)


def test_sealboot_opens_any_encryption_context(esdk, stack, key, opened):
    assert opened(esdk.encrypt(stack, b"GGUF", key, context=ODD_CONTEXT)) == b"GGUF"
    assert stack.control.audit(operation="Decrypt")[-1]["encryption_context"] == ODD_CONTEXT


def test_sealboot_opens_without_encryption_context(esdk, stack, key, opened):
    assert opened(esdk.encrypt(stack, b"GGUF", key)) == b"GGUF"


def test_inspect_reads_the_sdks_header(esdk, stack, key, sealboot, tmp_path):
    (tmp_path / "object").write_bytes(esdk.encrypt(stack, data(100_000), key, context=ODD_CONTEXT))
    report = sealboot("inspect", "--json", tmp_path / "object").json
    assert report["encryption_context"] == ODD_CONTEXT
    assert report["data_keys"] == [{"provider": "aws-kms", "key": key}]
    assert (report["frame_length"], report["frames"], report["plaintext_size"]) == (4096, 25, 100_000)


@pytest.mark.parametrize("suite, reason", [("0578", "it is signed"), ("0178", "no key commitment"),
                                           ("0378", "no key commitment"), ("0078", "no key commitment")])
def test_other_suites_are_refused(esdk, stack, key, sealboot, tmp_path, suite, reason):
    (tmp_path / "object").write_bytes(esdk.encrypt(stack, data(10_000), key, suite=suite, context=CONTEXT))
    for verb in (["inspect"], ["unseal"]):
        result = sealboot(*verb, tmp_path / "object", *([tmp_path / "opened"] if verb == ["unseal"] else []))
        assert result.returncode == 51 and reason in result.stderr and f"0x{suite}" in result.stderr, result
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize("frame_length", [4096, 65_536, 1 << 20])
def test_the_sdk_opens_what_sealboot_seals(esdk, stack, key, sealboot, tmp_path, frame_length):
    files = {
        "empty": b"", "small": b"GGUF", "multiple": data(3 * frame_length), "more": data(3 * frame_length + 1),
        "parts": data(9 << 20)
    }
    (tmp_path / "model").mkdir()
    for name, content in files.items():
        (tmp_path / "model" / name).write_bytes(content)
    result = sealboot("seal", "-q", "--key", key, "--name", "m", "--frame-length", str(frame_length), "--context",
                      "ünï=cødé", "--context", "𐀀=astral", "--context", "\uffee=above", tmp_path / "model",
                      f"{tmp_path}/sealed/")
    assert result.returncode == 0, result
    manifest, header = esdk.decrypt(stack, (tmp_path / "sealed/manifest.sealed").read_bytes())
    assert header["suite"] == 0x0478 and header["frameLength"] == frame_length
    assert header["keys"] == [{"provider": "aws-kms", "info": key}]
    assert header["context"] == {
        "model": "m", "version": "1", "sealboot": "manifest-model", "ünï": "cødé", "𐀀": "astral", "\uffee": "above"
    }
    listed = json.loads(manifest)
    assert listed["digest"] == "sha384:" + hashlib.sha384(model_text(files)).hexdigest()
    assert [f["path"] for f in listed["files"]] == sorted(files)
    for f in listed["files"]:
        assert esdk.decrypt(stack, (tmp_path / "sealed" / f["object"]).read_bytes())[0] == files[f["path"]]


def test_the_agent_boots_what_the_sdk_sealed(esdk, boot):
    model = data(5_000_000)
    boot.put("sdk/model.gguf", esdk.encrypt(boot.stack, model, boot.arn, context=CONTEXT))
    boot.launch("sdk/model.gguf")
    result = boot.run()
    assert result.returncode == 0, result
    assert boot.published() == {"model": model}


def test_the_sdk_can_name_the_file(esdk, boot):
    boot.put("sdk/any", esdk.encrypt(boot.stack, b"GGUF", boot.arn, context={**CONTEXT, "file": "llama.gguf"}))
    boot.launch("sdk/any")
    assert boot.run().returncode == 0
    assert boot.published() == {"llama.gguf": b"GGUF"}


def test_the_agent_refuses_what_the_sdk_signed(esdk, boot):
    boot.put("sdk/signed.gguf", esdk.encrypt(boot.stack, data(100_000), boot.arn, suite="0578", context=CONTEXT))
    boot.launch("sdk/signed.gguf")
    boot.refused(51, "it is signed")
