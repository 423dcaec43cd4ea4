# SPDX-License-Identifier: Apache-2.0
"""The key store of policy/examples, on libsealboot-verify: a party's key is there, and not in KMS."""

import base64
import contextlib
import functools
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from boots import data
from parties import Party, digest, on_disk, place, set_text
from sealer import pcr15, put_model
from stack import pki

SOURCE = pathlib.Path(__file__).resolve().parents[2] / "policy"
ARN = "arn:aws:kms:us-east-1:000000000000:key/records"
BOUND = (2, 4, 7, 12)
RECORDS = {"records.parquet": data(3_000_000, 7), "schema/v1.json": b"{}"}


def build_example(build, directory) -> pathlib.Path:
    options = {o["name"]: o["value"] for o in json.loads((build / "meson-info/intro-buildoptions.json").read_text())}
    # A program without the sanitizer cannot load a library that has it.
    sanitizers = [f"-fsanitize={options['b_sanitize']}"] * (options["b_sanitize"] != "none")
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libmicrohttpd", "json-c", "libcrypto"], check=True,
                           capture_output=True, text=True).stdout.split()
    subprocess.run(["cc", *sanitizers, "-g", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-I", SOURCE / "verify", "-o",
                    directory / "key-store", SOURCE / "examples/key-store.c", "-L", build / "policy",
                    f"-Wl,-rpath,{build}/policy", "-lsealboot-verify", *flags], check=True)
    return directory / "key-store"


def free_ports(n: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [s.getsockname()[1] for s in sockets]


class KeyStore:
    """The example, running: with a TLS authority of the owner's own, which nothing else trusts."""

    def __init__(self, build, stack, directory, bound=BOUND, **reference):
        port, sealing = free_ports(2)
        self.directory, self.url, self.sealing = directory, f"https://localhost:{port}", f"http://127.0.0.1:{sealing}"
        authority, server = pki.server(int(time.time()))
        files = {
            "ca.pem": authority.pem, "tls.pem": server.pem + authority.pem, "tls.key": pki.private_pem(server),
            "secret": os.urandom(32), "revoked": b"# nothing yet\n", "image.json": json.dumps(
                {"Measurements": {f"PCR{n}": stack.pcr(n) for n in bound}, **reference}).encode()
        }
        for name, content in files.items():
            (directory / name).write_bytes(content)
        arguments = {
            "key": ARN, "secret": "secret", "reference": "image.json", "released": "released", "revoked": "revoked",
            "root": stack.env["SEALBOOT_ATTESTATION_ROOT"], "certificate": "tls.pem", "private-key": "tls.key",
            "port": port, "sealing-port": sealing
        }
        self.process = subprocess.Popen(
            [build_example(build, directory), *(f"--{name}={value}" for name, value in arguments.items())],
            cwd=directory, stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        assert line == "key-store: ready\n", line

    def end(self):
        self.process.terminate()
        said = self.process.stderr.read()
        assert self.process.wait(10) == 0, said
        return said

    def configured(self) -> dict:
        return {"key_store": {"url": self.url, "ca_bundle": str(self.directory / "ca.pem")}}

    def ask(self, body, operation="Decrypt", url=None):
        """(KeyId or error type, the answer)"""
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(url or self.url, body, {"X-Amz-Target": f"TrentService.{operation}"})
        context = ssl.create_default_context(cafile=self.directory / "ca.pem")
        try:
            with urllib.request.urlopen(request, context=None if url else context) as answer:
                said = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            said = json.loads(error.read())
        return said.get("__type") or said["KeyId"], said


@pytest.fixture(scope="module")
def store(build, stack, tmp_path_factory):
    running = KeyStore(build, stack, tmp_path_factory.mktemp("key-store"))
    yield running
    running.end()


def reboot(boot):
    boot.stack.control.tpm_reset()
    shutil.rmtree(boot.directory / "current", ignore_errors=True)


def test_end_to_end(boot, store, sealboot, tmp_path):
    """Acme's model is released by KMS, the hospital's records by the hospital's own store: sealed with it, booted,
    refused a second time, allowed again by its owner, and then revoked."""
    acme = Party(boot.stack, "Acme", "model")
    put_model(boot.stack.s3(), boot.stack.bucket, "acme/", {"m": b"GGUF"}, acme.key(sealboot="manifest-model"))
    sealed = sealboot("seal", "--key", ARN, "--name", "records", "--version", "1", on_disk(tmp_path, RECORDS),
                      f"s3://{boot.stack.bucket}/records/", env={"AWS_ENDPOINT_URL_KMS": store.sealing})
    assert sealed.returncode == 0, sealed
    for key in ("keys", "encryption_context"):
        del boot.config[key]
    hospital = {"name": "records", "owner": "St. Mary Hospital", "keys": [ARN], **store.configured(),
                "encryption_context": {"model": "records"}}
    boot.config["inputs"] = [acme.input(), hospital]
    place(boot, model="acme/", records="records/")

    result = boot.run()
    assert result.returncode == 0, result
    text = set_text(f"sha384:{digest({'m': b'GGUF'})} model Acme",
                    f"sha384:{digest(RECORDS)} records St. Mary Hospital")
    assert boot.stack.pcr(15) == pcr15(text)
    assert boot.published() == {"model/m": b"GGUF"} | {f"records/{path}": d for path, d in RECORDS.items()}
    assert len((store.directory / "released").read_text().splitlines()) == 1

    def refused(words):
        reboot(boot)
        denied = boot.refused(30, f"input records of St. Mary Hospital: key store {store.url}, key {ARN}", words,
                              "ask the owner")
        assert "Acme" not in denied.stderr and acme.arn not in denied.stderr
    refused("this data key was released to this instance already")
    (store.directory / "released").write_text("")
    (store.directory / "revoked").write_text(f"instance i-0\npcr4 {boot.stack.pcr(4).upper()} # of June\n")
    refused("this image is revoked")
    assert (store.directory / "released").read_text() == ""
    (store.directory / "revoked").write_text("")
    reboot(boot)
    assert boot.run().returncode == 0
    # The authorities of the store are the owner's alone.
    boot.config["inputs"][1]["key_store"]["ca_bundle"] = boot.stack.env["AWS_CA_BUNDLE"]
    boot.config["kms_deadline_seconds"] = 1
    reboot(boot)
    boot.refused(15, "input records of St. Mary Hospital", "certificate")


class Request:
    """A request that is granted, and its parts to change."""

    def __init__(self, store, stack):
        self.stack, context = stack, {"model": "m", "b": "2"}
        name, answer = store.ask({"KeyId": ARN, "KeySpec": "AES_256", "EncryptionContext": context}, "GenerateDataKey",
                                 store.sealing)
        assert name == ARN
        self.key = base64.b64decode(answer["Plaintext"])
        self.body = {"KeyId": ARN, "CiphertextBlob": answer["CiphertextBlob"], "EncryptionContext": context}

    def with_document(self, document=None, **fields) -> dict:
        document = self.document(**fields) if document is None else document
        return self.body | {"Recipient": {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
                                          "AttestationDocument": base64.b64encode(document).decode()}}

    def document(self, **fields) -> bytes:
        return self.stack.control.document(**({"public_key": public_key()} | fields))


@functools.cache
def public_key(bits=2048, number=0) -> bytes:  # of another number, another key
    return rsa.generate_private_key(65537, bits).public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_what_it_refuses(stack, store):
    """Between the instance and the store is the operator: whatever it sends gets no key."""
    (store.directory / "released").write_text("")
    good = Request(store, stack)
    denied, invalid, malformed_request = ("AccessDeniedException", "InvalidCiphertextException", "ValidationException")
    flipped = bytearray(base64.b64decode(good.body["CiphertextBlob"]))
    flipped[20] ^= 1
    whole = good.with_document()
    for body, kind, words in (
            (b"", malformed_request, "malformed"),
            (b"[]", malformed_request, "malformed"),
            (b'{"KeyId"', malformed_request, "malformed"),
            (b" " * 70_000, malformed_request, "too long"),
            (whole | {"EncryptionContext": []}, malformed_request, "malformed"),
            (whole | {"EncryptionContext": {"model": 1}}, malformed_request, "malformed"),
            (whole | {"EncryptionContext": {"model": "m\0", "b": "2"}}, malformed_request, "malformed"),
            (whole | {"KeyId": ARN + "0"}, "NotFoundException", "no such key"),
            (whole | {"KeyId": None}, "NotFoundException", "no such key"),
            (whole | {"EncryptionContext": {"model": "m"}}, invalid, "encryption context"),
            (whole | {"EncryptionContext": {"model": "mb", "2": ""}}, invalid, "encryption context"),
            (whole | {"CiphertextBlob": base64.b64encode(flipped).decode()}, invalid, "ciphertext"),
            (whole | {"CiphertextBlob": "!"}, invalid, "ciphertext"),
            (whole | {"CiphertextBlob": ""}, invalid, "ciphertext"),
            (good.body, denied, "Recipient"),
            (whole | {"Recipient": "x"}, denied, "Recipient"),
            (whole | {"Recipient": whole["Recipient"] | {"KeyEncryptionAlgorithm": "RSA"}}, denied, "Recipient"),
            (good.with_document(b"\xd2\x84"), denied, "references"),
            (good.with_document(good.document()[:-1]), denied, "references"),
            (good.with_document(good.document(shape="other-root")), denied, "references"),
            (good.with_document(pcrs={4: b"\1" * 48}), denied, "references"),
            (good.with_document(pcrs={12: b"\1" * 48}), denied, "references"),
            (good.with_document(pcrs={15: b"\1" * 48}), denied, "PCR15"),
            (good.with_document(stack.control.document()), denied, "names no RSA key"),
            (good.with_document(public_key=b"key"), denied, "2048 bits"),
            (good.with_document(public_key=public_key(1024)), denied, "2048 bits")):
        assert (asked := store.ask(body))[0] == kind and words in asked[1]["message"], (asked, words)
    for body, operation, url in ((whole, "Encrypt", None), (good.body, "GenerateDataKey", None),
                                 (whole, "Decrypt", store.sealing)):
        assert store.ask(body, operation, url)[0] == denied
    assert (store.directory / "released").read_text() == ""


@pytest.mark.parametrize("bound, reference", [(BOUND, {}), ((4, 7), {"SecureBoot": True}), ((2, 7, 12), {})])
def test_a_pcr_that_the_document_lacks(build, stack, tmp_path, bound, reference):
    """It is not equal to the reference's, and a PCR15 that is not there is not zero. Whatever the owner's reference
    binds, PCR4 is needed for the list of revocations."""
    store = KeyStore(build, stack, tmp_path, bound, **reference)
    try:
        good = Request(store, stack)
        for n in range(24):
            needed = "references" if n in bound else "lacks PCR4 or PCR15" if n in (4, 15) else None
            kind, answer = store.ask(good.with_document(pcrs={n: None}))
            assert kind == ("AccessDeniedException" if needed else ARN), (n, answer)
            assert not needed or needed in answer["message"], (n, answer)
        kind, answer = store.ask(good.with_document(pcrs={n: None for n in range(24) if n not in (*bound, 4, 15)}))
        assert kind == ARN, answer
        kind, answer = store.ask(good.with_document(pcrs={n: None for n in range(1, 24)}))
        assert kind == "AccessDeniedException" and "references" in answer["message"]
    finally:
        said = store.end()
    for n in bound:
        assert said.count(f"PCR{n} (document has none, reference {stack.pcr(n)}") == 2, said


def test_once(stack, store):
    """The same key pair may ask again; another of the same instance may not, for this data key."""
    (store.directory / "released").write_text("a line that was cut")
    first, second = Request(store, stack), Request(store, stack)
    document = first.document()
    assert store.ask(first.with_document(document))[0] == ARN
    assert store.ask(first.with_document(document))[0] == ARN
    assert store.ask(first.with_document())[0] == ARN
    assert store.ask(first.with_document(public_key=public_key(number=1)))[0] == "AccessDeniedException"
    assert store.ask(second.with_document(public_key=public_key(number=1)))[0] == ARN
    assert len((store.directory / "released").read_text().splitlines()) == 3


def test_revoked(stack, store):
    (store.directory / "released").write_text("")
    request = Request(store, stack)
    document = request.document()
    for line, words in ((f"key {ARN}", "this key is revoked"), ("instance i-0123456789abcdef0", "instance is revoked"),
                        ("key", "a line that is none"), ("image abc", "a line that is none"),
                        ("pcr4 a b", "a line that is none")):
        (store.directory / "revoked").write_text(f"# all of them\n\n{line}\n")
        kind, answer = store.ask(request.with_document(document))
        assert kind == "AccessDeniedException" and words in answer["message"], (line, answer)
    (store.directory / "revoked").unlink()
    assert "cannot be read" in store.ask(request.with_document(document))[1]["message"]
    (store.directory / "revoked").write_text(f"# key {ARN}\nkey {ARN}0\n")
    assert store.ask(request.with_document(document))[0] == ARN
