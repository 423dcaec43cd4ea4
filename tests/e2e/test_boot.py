# SPDX-License-Identifier: Apache-2.0
"""The agent's whole boot over the real swtpm, the NitroTPM emulator and the local AWS."""

import json
import os
import pathlib
import random
import shutil
import tempfile

import pytest

from sealer import DataKey, Sealed, model_text, pcr15, put_model

CONTEXT = {"model": "m", "version": "1"}


@pytest.fixture
def model_directory():
    """A directory in memory, as the agent demands."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="sealboot-test-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


class Boot:
    """One boot to come: a key that releases to the PCRs as they are, and everything configured to succeed."""

    def __init__(self, stack, agent, model_directory, tmp_path, **policy):
        self.stack, self.agent, self.directory = stack, agent, model_directory
        self.arn = stack.create_key(**policy)
        self.log = tmp_path / "measure.log"
        self.config = {"keys": [self.arn], "encryption_context": {"model": "m"}, "model_directory": str(model_directory),
                       "measurement_log": str(self.log), "region": stack.region,
                       "endpoints": {"imds": stack.endpoints["imds"], "kms": stack.endpoints["kms"], "s3": stack.endpoints["s3"]}}

    def data_key(self, context=None) -> DataKey:
        return DataKey.generate(self.stack.kms(), self.arn, CONTEXT if context is None else context)

    def put(self, key: str, data: bytes):
        self.stack.s3().put_object(Bucket=self.stack.bucket, Key=key, Body=data)

    def launch(self, model: str):
        self.stack.control.user_data(json.dumps({"sealboot": {"model": f"s3://{self.stack.bucket}/{model}"}}).encode())

    def run(self, *arguments, **more):
        return self.agent(self.config, *arguments, **more)

    def refused(self, code: int, *words: str, **more):
        """A boot that must fail, with this exit code and these words on the console, and leave nothing behind."""
        result = self.run(**more)
        assert result.returncode == code, result
        for word in words:
            assert word in result.stderr, result
        assert "what to do:" in result.stderr
        assert result.report is None or result.report["failure"]["exit_code"] == code
        self.stack.nothing_left(self.directory)
        return result

    def published(self) -> dict[str, bytes]:
        root = self.directory / "current"
        return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def boot(stack, agent, model_directory, tmp_path):
    return Boot(stack, agent, model_directory, tmp_path)


def data(n: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(n)


def sharded() -> dict[str, bytes]:
    """Shaped like a Hugging Face snapshot: shards, one an exact multiple of the frame length, an empty file, odd names."""
    files = {f"model-{i:05}-of-00010.safetensors": data(3_000_000 + 100_003 * i, i) for i in range(1, 11)}
    files["model-00005-of-00010.safetensors"] = data(3 << 20, 5)
    files |= {"config.json": b"{}", ".gitattributes": b"", "tokenizer/a b+c%20=é.json": b"x" * 4097, "tokenizer/b": b"1"}
    return files


def check_published(boot, result, files):
    assert result.returncode == 0, result
    assert boot.published() == files
    text = model_text(files)
    for bank in ("sha1", "sha256", "sha384", "sha512"):
        assert boot.stack.pcr(15, bank) == pcr15(text, bank)
    printed = boot.stack.tpm("tpm2_pcrread", "sha384:15").split("0x")[1].strip().lower()
    assert printed == pcr15(text)
    report = result.report
    assert report["outcome"] == "published"
    assert report["pcr15"]["sha384"]["after"] == pcr15(text)
    assert set(report["pcr15"]["sha384"]["before"]) == {"0"}
    assert report["model"]["bytes"] == sum(map(len, files.values()))
    assert report["key_arn"] == boot.arn and report["kms"]["request_id"] and report["document"]["timestamp_ms"] > 1e12
    assert {s["name"] for s in report["stages"]} >= {"prepare", "tpm", "recipient-key", "metadata", "header", "attestation",
                                                     "key-release", "unseal", "measure", "publish"}
    assert boot.stack.control.tpm()["nv"] == []
    assert not (boot.directory / ".unsealing").exists() or not list((boot.directory / ".unsealing").iterdir())


def test_single_gguf(boot):
    gguf = b"GGUF" + data(20_000_000)
    boot.put("m/llama.gguf.sealed", bytes(Sealed(gguf, boot.data_key(), frame_length=1 << 20)))
    boot.launch("m/llama.gguf.sealed")
    check_published(boot, boot.run(), {"llama.gguf": gguf})


def test_single_is_named_by_its_sealer(boot):
    boot.put("moved/elsewhere", bytes(Sealed(b"GGUF", boot.data_key({**CONTEXT, "file": "llama.gguf"}))))
    boot.launch("moved/elsewhere")
    check_published(boot, boot.run(), {"llama.gguf": b"GGUF"})


@pytest.mark.parametrize("frame_length", [4096, 1 << 20, 1000, 5 << 20])
def test_sharded(boot, frame_length):
    files = sharded()
    put_model(boot.stack.s3(), boot.stack.bucket, "hf/", files, boot.data_key(), frame_length=frame_length)
    boot.launch("hf/")
    check_published(boot, boot.run(), files)


def test_objects_named_otherwise(boot):
    files = {"a": data(100_000), "b/c": data(5)}
    put_model(boot.stack.s3(), boot.stack.bucket, "odd/", files, boot.data_key(), objects={"a": "x/y", "b/c": "z"})
    boot.launch("odd/")
    check_published(boot, boot.run(), files)


def test_first_object_is_not_of_the_model(boot):
    files = {"a": data(100_000), "b": data(7)}
    put_model(boot.stack.s3(), boot.stack.bucket, "decoy/", files, boot.data_key(), objects={"a": "x", "b": "z"})
    boot.put("decoy/00000.sealed", bytes(Sealed(data(30_000_000), boot.data_key(), frame_length=1 << 20)))
    boot.launch("decoy/")
    check_published(boot, boot.run(), files)


def test_files_are_for_the_group_and_read_only(boot):
    put_model(boot.stack.s3(), boot.stack.bucket, "modes/", {"a/b": b"1"}, boot.data_key())
    boot.launch("modes/")
    assert boot.run().returncode == 0
    current = boot.directory / "current"
    assert [oct(p.stat().st_mode & 0o7777) for p in (current, current / "a", current / "a/b")] == ["0o750", "0o750", "0o440"]


def test_sha384_mode(boot):
    import hashlib
    plain = data(3_000_001)
    boot.config["measure"] = "sha384"
    boot.put("plain.sealed", bytes(Sealed(plain, boot.data_key())))
    boot.launch("plain.sealed")
    assert boot.run().returncode == 0
    assert boot.stack.pcr(15) == hashlib.sha384(bytes(48) + hashlib.sha384(plain).digest()).hexdigest()


def test_second_release_is_refused(boot):
    """One-shot: the policy binds PCR15 to zeros, and the agent itself refuses first."""
    boot.put("once.sealed", bytes(Sealed(b"weights", boot.data_key())))
    boot.launch("once.sealed")
    assert boot.run().returncode == 0
    shutil.rmtree(boot.directory / "current")
    result = boot.run()
    assert result.returncode == 23 and "sealboot-model" in result.stderr, result
