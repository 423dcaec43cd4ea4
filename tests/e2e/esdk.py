# SPDX-License-Identifier: Apache-2.0
"""The stock AWS Encryption SDK for JavaScript as a fixture: the other side of the sealed format, written by AWS.

    from esdk import esdk  # noqa: F401
    def test(esdk, stack): sealed = esdk.encrypt(stack, data, key_arn, context={"model": "m", "version": "1"})

It is installed once by npm, from tests/e2e/js/package-lock.json, into SEALBOOT_NODE_DIR (default: below the build
directory)."""

import fcntl
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

NODE = 20
SCRIPTS = pathlib.Path(__file__).resolve().parent / "js"


class EncryptionSdk:
    def __init__(self, modules: pathlib.Path):
        self.modules = modules

    def run(self, stack, script: str, *arguments) -> str:
        process = subprocess.run(["node", "--no-warnings", SCRIPTS / script, *map(str, arguments)], capture_output=True,
                                 text=True, timeout=300, env={**stack.env, "NODE_PATH": str(self.modules)}, check=False)
        assert process.returncode == 0, process.stderr
        return process.stdout

    def encrypt(self, stack, plaintext: bytes, key: str, *, suite: str = "0478", frame_length: int = 4096,
                context: dict | None = None) -> bytes:
        """One message; suite in hex: 0478, 0578 (signed), 0178 or 0378 (without commitment)."""
        with tempfile.TemporaryDirectory() as directory:
            source, sealed = pathlib.Path(directory, "in"), pathlib.Path(directory, "out")
            source.write_bytes(plaintext)
            self.run(stack, "encrypt.js", "--key", key, "--suite", suite, "--frame-length", frame_length,
                     "--context", json.dumps(context or {}), source, sealed)
            return sealed.read_bytes()

    def decrypt(self, stack, sealed: bytes) -> tuple[bytes, dict]:
        """The plaintext, and what the SDK read in the header: suite, frameLength, context, keys."""
        with tempfile.TemporaryDirectory() as directory:
            source, opened = pathlib.Path(directory, "in"), pathlib.Path(directory, "out")
            source.write_bytes(sealed)
            header = self.run(stack, "decrypt.js", source, opened)
            return opened.read_bytes(), json.loads(header)


def install() -> pathlib.Path:
    """The node_modules directory; skips the test where it is not to be had."""
    for program in ("node", "npm"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < NODE:
        pytest.skip(f"node {version} is older than the SDKs' packages ask for ({NODE})")
    build = os.environ.get("SEALBOOT_BUILD")
    place = os.environ.get("SEALBOOT_NODE_DIR") or (build and os.path.join(build, "node"))
    if not place:
        pytest.skip("neither SEALBOOT_NODE_DIR nor SEALBOOT_BUILD says where to install the AWS Encryption SDK")
    directory = pathlib.Path(place)
    directory.mkdir(parents=True, exist_ok=True)
    lock, done = SCRIPTS / "package-lock.json", directory / "installed-package-lock.json"
    with open(directory / "lock", "w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not done.exists() or done.read_bytes() != lock.read_bytes():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(SCRIPTS / name, directory)
            process = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=directory,
                                     capture_output=True, text=True, timeout=600, check=False)
            if process.returncode != 0:
                pytest.skip(f"npm cannot install the AWS Encryption SDK: {process.stderr.strip().splitlines()[-1:]}")
            shutil.copy(lock, done)
    return directory / "node_modules"


@pytest.fixture(scope="session")
def esdk() -> EncryptionSdk:
    return EncryptionSdk(install())
