# SPDX-License-Identifier: Apache-2.0
"""Boots to come, and models to boot."""

import contextlib
import json
import random
import socket
import threading

from sealer import MARK, DataKey, Sealed

CONTEXT = {"model": "m", "version": "1"}
OBJECT = "model.sealed"


class Boot:
    """One boot to come: a key that releases to the PCRs as they are, and everything configured to succeed."""

    def __init__(self, stack, agent, model_directory, tmp_path, **policy):
        self.stack, self.agent, self.directory = stack, agent, model_directory
        self.arn = stack.create_key(**policy)
        self.log = tmp_path / "measure.log"
        self.config = {
            "keys": [self.arn], "encryption_context": {"model": "m"}, "model_directory": str(model_directory),
            "measurement_log": str(self.log), "region": stack.region, "endpoints": {
                "imds": stack.endpoints["imds"], "kms": stack.endpoints["kms"], "s3": stack.endpoints["s3"],
                "autoscaling": stack.endpoints["autoscaling"]
            }
        }

    def data_key(self, context=None) -> DataKey:
        return DataKey.generate(self.stack.kms(), self.arn, CONTEXT if context is None else context)

    def model_key(self) -> DataKey:
        """For a model with a manifest, as sealboot seals it."""
        return self.data_key({**CONTEXT, **MARK})

    def put(self, key: str, data: bytes):
        self.stack.s3().put_object(Bucket=self.stack.bucket, Key=key, Body=data)

    def launch(self, model: str):
        self.stack.control.user_data(json.dumps({"sealboot": {"model": f"s3://{self.stack.bucket}/{model}"}}).encode())

    def run(self, *arguments, **more):
        return self.agent(self.config, *arguments, **more)

    def statuses(self, tmp_path, **more) -> tuple:
        """A boot, and what it told the service manager meanwhile."""
        told = []

        def listen():
            with contextlib.suppress(TimeoutError):
                while (text := listener.recv(4096).decode()) != "end":
                    told.extend(
                        line.removeprefix("STATUS=") for line in text.splitlines() if line.startswith("STATUS="))

        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(str(tmp_path / "notify"))
            listener.settimeout(120)
            thread = threading.Thread(target=listen)
            thread.start()
            result = self.run(wrapper=("env", f"NOTIFY_SOCKET={tmp_path}/notify"), **more)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
                end.sendto(b"end", str(tmp_path / "notify"))
            thread.join()
        return result, told

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


def data(n: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(n)


def sharded() -> dict[str, bytes]:
    """Shaped like a Hugging Face snapshot: shards, one an exact multiple of the frame length, an empty file, odd
    names."""
    files = {f"model-{i:05}-of-00010.safetensors": data(3_000_000 + 100_003 * i, i) for i in range(1, 11)}
    files["model-00005-of-00010.safetensors"] = data(3 << 20, 5)
    files |= {
        "config.json": b"{}", ".gitattributes": b"", "tokenizer/a b+c%20=é.json": b"x" * 4097, "tokenizer/b": b"1"
    }
    return files


def single(boot, message=None, plaintext=b"GGUF" + bytes(9000), **sealing):
    """Launches a boot of one object: these bytes, or an honest seal of the plaintext."""
    message = bytes(Sealed(plaintext, boot.data_key(), **sealing)) if message is None else message
    boot.put(OBJECT, message)
    boot.launch(OBJECT)
