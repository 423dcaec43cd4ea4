# SPDX-License-Identifier: Apache-2.0
"""Both halves together: `sealboot connect` on the consumer's machine, nginx and sealboot-gate on the instance."""

import concurrent.futures
import contextlib
import hashlib
import http.client
import json
import subprocess

import gates
import pytest

from stack import session

MODEL = hashlib.sha384(b"model").digest()
TOKENS = {"tokens": [{"name": "app", "sha256": hashlib.sha256(b"secret").hexdigest()}]}
PROMPT = b'{"stream": true, "messages": [{"role": "user", "content": "nobody else may read this"}]}'


def boot(stack):
    stack.control.tpm_extend(4, sha384=hashlib.sha384(b"image").digest())
    stack.control.tpm_extend(15, sha384=MODEL)


@pytest.fixture
def instance(build, stack, tmp_path):
    boot(stack)
    (tmp_path / "image.json").write_text(json.dumps({"Measurements": {f"PCR{n}": stack.pcr(n) for n in (2, 4, 12)}}))
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "report.json").write_text('{"outcome": "published"}')
    with gates.Gate(build, stack.variables["TPM2TOOLS_TCTI"], {"callers": TOKENS}, tmp_path / "report.json") as gate:
        yield gate


def options(stack, tmp_path):
    return [
        "--reference", tmp_path / "image.json", "--root", stack.variables["SEALBOOT_ATTESTATION_ROOT"],
        "--model-digest", f"sha384:{MODEL.hex()}", "--token-file", tmp_path / "token"
    ]


@contextlib.contextmanager
def connected(build, stack, tmp_path, gate, *more):
    """The address at which the consumer's programs ask."""
    command = [
        build / "policy/sealboot", "connect", *options(stack, tmp_path), *more, "--listen", "127.0.0.1:0",
        f"https://127.0.0.1:{gate.port}"
    ]
    with open(tmp_path / "connect.log", "wb") as log:
        process = subprocess.Popen(list(map(str, command)),
                                   env=stack.env,
                                   stdout=subprocess.PIPE,
                                   stderr=log,
                                   text=True)
    try:
        yield process.stdout.readline().split()[-1].removeprefix("http://")
    finally:
        process.terminate()
        assert process.wait(20) == 0, (tmp_path / "connect.log").read_text()


def ask(address, method, path, body=None):
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request(method, path, body)
    return connection, connection.getresponse()


def ask_at_once(address, path, body, n: int) -> list[int]:
    """The statuses of n requests on 16 connections. nginx answers them before it has read the prompts."""
    def one(_) -> int:
        connection, response = ask(address, "POST", path, body)
        with contextlib.closing(connection):
            response.read()
            return response.status

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        return list(pool.map(one, range(n)))


def test_a_consumer_asks_an_attested_server(build, stack, instance, tmp_path):
    with connected(build, stack, tmp_path, instance) as address:
        connection, response = ask(address, "GET", "/v1/models")
        assert (response.status, json.loads(response.read())["path"]) == (200, "/v1/models")
        connection.close()
        connection, response = ask(address, "POST", "/v1/chat/completions", PROMPT)
        for i in range(3):
            instance.upstream.step.release()
            assert response.readline() == b"data: %d\n" % i and response.readline() == b"\n"
        connection.close()
        connection, response = ask(address, "GET", "/slots")
        assert response.status == 404
        connection.close()
        connection, response = ask(address, "GET", gates.WELL_KNOWN + "?json")
        status = json.loads(response.read())
        connection.close()
    assert status, status
    bodies = [a["body"] for a in instance.upstream.arrived]
    assert bodies == [b"", PROMPT]


def test_check(build, stack, instance, tmp_path):
    checked = session.run([
        build / "policy/sealboot", "connect", *options(stack, tmp_path), "--check", f"https://127.0.0.1:{instance.port}"
    ],
                          env=stack.env)
    assert checked.returncode == 0, checked


@pytest.mark.parametrize("change, code, words", [({
    4: b"another"
}, 73, "PCR4"), ({
    15: b"another"
}, 73, "model"), ({
    12: b"more"
}, 73, "PCR12")])
def test_another_image_or_model(build, stack, instance, tmp_path, change, code, words):
    for pcr, text in change.items():
        stack.control.tpm_extend(pcr, sha384=hashlib.sha384(text).digest())
    checked = session.run([
        build / "policy/sealboot", "connect", *options(stack, tmp_path), "--check", f"https://127.0.0.1:{instance.port}"
    ],
                          env=stack.env)
    assert checked.returncode == code and words in checked.stdout + checked.stderr, checked
    assert instance.upstream.arrived == []


def test_a_wrong_token(build, stack, instance, tmp_path):
    (tmp_path / "token").write_text("wrong\n")
    with connected(build, stack, tmp_path, instance) as address:
        connection, response = ask(address, "POST", "/v1/completions", PROMPT)
        assert response.status == 401 and "not known" in json.loads(response.read())["error"]["message"]
        connection.close()
        assert ask_at_once(address, "/v1/completions", PROMPT + b" " * 200000, 64) == [401] * 64
    assert instance.upstream.arrived == []


def test_both_prove_themselves(build, stack, tmp_path):
    """The asking instance presents its own document, and the gate accepts peers of its image and model."""
    boot(stack)
    (tmp_path / "image.json").write_text(json.dumps({"Measurements": {f"PCR{n}": stack.pcr(n) for n in (2, 4, 12)}}))
    (tmp_path / "token").write_text("none\n")
    peers = {
        "peers": [{
            "name": "peer",
            "references": str(tmp_path / "image.json"),
            "max_age_seconds": 300,
            "model_digests": [f"sha384:{MODEL.hex()}"],
            "root": stack.variables["SEALBOOT_ATTESTATION_ROOT"]
        }]
    }
    with gates.Gate(build, stack.variables["TPM2TOOLS_TCTI"], {"callers": peers}) as gate:
        with connected(build, stack, tmp_path, gate, "--present") as address:
            connection, response = ask(address, "GET", "/v1/models")
            assert response.status == 200, (response.read(), (tmp_path / "connect.log").read_text())
            connection.close()
            assert gate.upstream.arrived[-1]["path"] == "/v1/models"
        with connected(build, stack, tmp_path, gate) as address:
            connection, response = ask(address, "GET", "/v1/models")
            assert response.status == 401
            connection.close()
