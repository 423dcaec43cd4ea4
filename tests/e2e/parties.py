# SPDX-License-Identifier: Apache-2.0
"""Owners of models that boot together, each with a key of their own."""

import hashlib
import json

from sealer import DataKey, model_text


class Party:
    """An owner with a key of their own, which this image may have once, before PCR15 is extended."""

    def __init__(self, stack, owner: str, name: str):
        self.owner, self.name, self.stack = owner, name, stack
        self.context = {"model": f"secret-{name}-of-{owner.split()[0]}"}
        self.arn = stack.create_key()

    def key(self, **more) -> DataKey:
        return DataKey.generate(self.stack.kms(), self.arn, self.context | more)

    def input(self, **more) -> dict:
        return {
            "name": self.name, "owner": self.owner, "keys": [self.arn], "encryption_context": self.context
        } | more


def place(boot, **inputs):
    """User data: a key in the bucket for each input, or None."""
    inputs = {name: f"s3://{boot.stack.bucket}/{key}" if key else None for name, key in inputs.items()}
    boot.stack.control.user_data(json.dumps({"sealboot": {"inputs": inputs}}).encode())


def digest(files) -> str:
    return hashlib.sha384(model_text(files)).hexdigest()


def set_text(*lines: str) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


def on_disk(tmp_path, files: dict) -> str:
    for path, content in files.items():
        (tmp_path / "plain" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "plain" / path).write_bytes(content)
    return str(tmp_path / "plain")
