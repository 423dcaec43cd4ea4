# SPDX-License-Identifier: Apache-2.0
"""The way in for consumers: sealboot-gate and nginx before a server, over the local stack's NitroTPM."""

import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
import socket
import ssl
import subprocess
import time
import urllib.parse

import gates
import kms_requests
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from stack import attestation, attestation_check, attested, cbor, pki

ATTESTATION, REPORT, REQUESTS = (gates.WELL_KNOWN + name for name in ("attestation", "report", "requests"))
MODEL = hashlib.sha384(b"model").digest()


@pytest.fixture(scope="module")
def images(stack):
    """The TPM of an instance that booted some image and measured some model. Before every test it is switched on."""
    def boot():
        stack.control.tpm_extend(4, sha384=hashlib.sha384(b"image").digest())
        stack.control.tpm_extend(15, sha384=MODEL)

    return boot


@pytest.fixture
def gate(build, stack, images):
    """gate({"callers": ...}) starts everything; it ends with the test."""
    started = []

    def start(config=None, **more):
        images()
        g = gates.Gate(build, stack.variables["TPM2TOOLS_TCTI"], config or {"callers": {"anybody": True}}, **more)
        started.append(g)
        return g.__enter__()

    yield start
    for g in started:
        g.__exit__()


@pytest.fixture(scope="module")
def for_anybody(build, stack):
    """One that tests share which change nothing of it."""
    with gates.Gate(build, stack.variables["TPM2TOOLS_TCTI"], {"callers": {"anybody": True}}) as g:
        yield g


@pytest.fixture(scope="module")
def for_tokens(build, stack):
    with gates.Gate(build, stack.variables["TPM2TOOLS_TCTI"], {"callers": TOKENS}) as g:
        yield g


def root_der(stack) -> bytes:
    pem = pathlib.Path(stack.variables["SEALBOOT_ATTESTATION_ROOT"]).read_bytes()
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


def spki(gate) -> bytes:
    with socket.create_connection(("127.0.0.1", gate.port)) as plain, gate.context().wrap_socket(plain) as s:
        certificate = x509.load_der_x509_certificate(s.getpeercert(binary_form=True))
    return certificate.public_key().public_bytes(serialization.Encoding.DER,
                                                 serialization.PublicFormat.SubjectPublicKeyInfo)


# --- the document


def test_the_document_binds_the_key(stack, gate):
    g, nonce = gate(), os.urandom(32)
    document = attestation_check.verify(g.attestation(f"?nonce={nonce.hex()}"), root_der(stack), time.time())
    assert document.user_data == b"sealboot tls v1\0" + hashlib.sha256(spki(g)).digest()
    assert document.nonce == nonce
    assert document.public_key is None
    assert document.pcrs[15] == hashlib.sha384(bytes(48) + MODEL).digest()


def test_without_nonce_it_is_kept(stack, gate):
    g = gate()
    first = g.attestation()
    assert g.attestation() == first
    document = attestation_check.verify(first, root_der(stack), time.time())
    assert document.nonce is None
    assert document.user_data == b"sealboot tls v1\0" + hashlib.sha256(spki(g)).digest()


def test_sealboot_verify_takes_it(stack, gate, sealboot, tmp_path):
    g, nonce = gate(), os.urandom(16)
    (tmp_path / "document").write_bytes(g.attestation(f"?nonce={nonce.hex().upper()}"))
    reference = {"Measurements": {f"PCR{n}": stack.pcr(n) for n in (2, 4, 12)}}
    (tmp_path / "reference.json").write_text(json.dumps(reference))
    result = sealboot("verify", "--root", stack.variables["SEALBOOT_ATTESTATION_ROOT"], "--nonce", nonce.hex(),
                      "--reference", tmp_path / "reference.json", "--model-digest", f"sha384:{MODEL.hex()}",
                      tmp_path / "document")
    assert result.returncode == 0, result


@pytest.mark.parametrize("query", [
    "?nonce=", "?nonce=00", "?nonce=" + "0" * 14, "?nonce=" + "0" * 17, "?nonce=" + "0" * 130, "?nonce=" + "g" * 16,
    "?nonce=" + "0" * 16 + "&nonce=" + "0" * 16, "?once=" + "0" * 16, "?nonce", "?nonce=" + "0" * 16 + "&x=1",
    "?nonce=%00" + "0" * 16, "?nonce=" + "0" * 16 + "%20"
])
def test_nonces_that_are_none(for_anybody, query):
    answer = for_anybody.get(ATTESTATION + query)
    assert answer.status == 400, answer
    assert "16 to 128 hex digits" in answer.json["error"]["message"]


@pytest.mark.parametrize("size", [8, 64])
def test_nonces_of_any_size(stack, gate, size):
    nonce = os.urandom(size)
    document = attestation_check.verify(gate().attestation(f"?nonce={nonce.hex()}"), root_der(stack), time.time())
    assert document.nonce == nonce


def test_a_crowd_cannot_keep_the_tpm_busy(gate):
    g = gate({"callers": {"anybody": True}, "limits": {"attestations_per_minute": 3}})
    answers = [g.get(f"{ATTESTATION}?nonce={os.urandom(8).hex()}") for _ in range(5)]
    assert [a.status for a in answers] == [200, 200, 200, 429, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
    assert g.get(ATTESTATION).status == 200


def test_one_address_cannot_use_up_what_all_share(gate):
    g = gate({"callers": {"anybody": True}, "limits": {"attestations_per_minute_and_address": 2}})
    answers = [g.get(f"{ATTESTATION}?nonce={os.urandom(8).hex()}") for _ in range(4)]
    assert [a.status for a in answers] == [200, 200, 200, 429]
    assert answers[-1].json["error"]["code"] == 429 and int(answers[-1].headers["retry-after"]) > 0
    assert [g.get(ATTESTATION).status for _ in range(6)] == [200] * 6


class BehindProxy(gates.Gate):
    """The consumer's address is what the PROXY protocol says, so that a test has many."""
    def nginx_configuration(self) -> str:
        said = "set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol; server_name _;"
        return super().nginx_configuration().replace("http2 default_server;", "http2 default_server proxy_protocol;") \
            .replace("server_name _;", said)

    def ask(self, address: str) -> int:
        with socket.create_connection(("127.0.0.1", self.port), 20) as plain:
            kind, other = ("TCP6", "::1") if ":" in address else ("TCP4", "127.0.0.1")
            plain.sendall(f"PROXY {kind} {address} {other} 1024 443\r\n".encode())
            with self.context().wrap_socket(plain) as s:
                s.sendall(f"GET {ATTESTATION}?nonce={os.urandom(8).hex()} HTTP/1.0\r\n\r\n".encode())
                return int(s.makefile("rb").readline().split()[1])


@pytest.mark.parametrize("addresses, last", [
    (["2001:db8:0:1::1", "2001:db8:0:1:a:b:c:d", "2001:db8:0:1:a0a:a0a:a0a:a0a"], 429),
    (["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:2::1"], 200),
    (["192.0.2.1", "192.0.2.1", "192.0.2.1"], 429),
    (["192.0.2.1", "192.0.2.1", "192.0.2.2"], 200),
])
def test_what_counts_as_one_address(build, stack, images, addresses, last):
    images()
    config = {"callers": {"anybody": True}, "ipv6": False, "limits": {"attestations_per_minute_and_address": 1}}
    with BehindProxy(build, stack.variables["TPM2TOOLS_TCTI"], config) as g:
        assert [g.ask(address) for address in addresses] == [200, 200, last]


def test_addresses_that_ask_often_leave_some_to_others(build, stack, images):
    """Of six a minute, two are kept for addresses that have had none."""
    images()
    config = {"callers": {"anybody": True}, "ipv6": False,
              "limits": {"attestations_per_minute": 6, "attestations_per_minute_and_address": 3}}
    with BehindProxy(build, stack.variables["TPM2TOOLS_TCTI"], config) as g:
        addresses = ["192.0.2.1"] * 4 + ["192.0.2.2"] * 2 + ["192.0.2.3", "192.0.2.4"]
        assert [g.ask(address) for address in addresses] == [200] * 5 + [429, 200, 429]


def test_a_tpm_that_fails(stack, gate):
    g = gate()
    stack.control.fault("rc", service="tpm", operation="NV_Write", rc=0x101)
    answer = g.get(f"{ATTESTATION}?nonce={'00' * 8}")
    assert answer.status == 503 and int(answer.headers["retry-after"]) > 0
    assert answer.json["error"]["message"] == "a TPM command failed"
    assert "TPM2_NV_Write" in g.path("gate.log").read_text()
    assert g.get(f"{ATTESTATION}?nonce={'00' * 8}").status == 200
    assert stack.control.tpm()["nv"] == []


def test_few_may_wait(stack, gate):
    """One question after the other goes to the TPM. Whoever would have to wait for many is told to come back."""
    g = gate({"callers": {"anybody": True}, "limits": {"attestations_per_minute": 6000,
                                                        "attestations_per_minute_and_address": 6000}})
    assert g.get(ATTESTATION).status == 200
    stack.control.fault("latency", service="tpm", operation="NV_Write", seconds=0.3, count=None)
    nonces = [os.urandom(8) for _ in range(40)]
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        waiting = [pool.submit(g.get, f"{ATTESTATION}?nonce={nonce.hex()}") for nonce in nonces]
        time.sleep(0.5)
        assert g.get("/v1/models").status == 200 and g.get(ATTESTATION).status == 200
        assert not all(w.done() for w in waiting)
        answers = [w.result() for w in waiting]
    given = [(a, n) for a, n in zip(answers, nonces) if a.status == 200]
    assert 16 <= len(given) < 40
    for answer, nonce in given:
        assert attestation_check.verify(answer.body, root_der(stack), time.time()).nonce == nonce
    assert {a.status for a in answers} <= {200, 429, 503}
    assert all(int(a.headers["retry-after"]) > 0 for a in answers if a.status != 200)


def test_a_stop_answers_those_who_wait(stack, gate):
    g = gate()
    stack.control.fault("latency", service="tpm", operation="NV_Write", seconds=2, count=None)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(g.get, f"{ATTESTATION}?nonce={'00' * 8}") for _ in range(3)]
        wait_for(lambda: stack.control.tpm()["nv"])  # the TPM has the first, and the others wait for it
        time.sleep(0.5)
        g.gate.terminate()
        assert g.gate.wait(20) == 0
        statuses = sorted(w.result().status for w in waiting)
    assert statuses[-1] == 503 and set(statuses) <= {200, 503}
    assert stack.control.tpm()["nv"] == []


def test_a_gate_that_is_started_again_keeps_the_key(stack, gate):
    g = gate()
    key = spki(g)
    g.gate.terminate()
    assert g.gate.wait(20) == 0
    g.start_gate()
    document = attestation_check.verify(g.attestation(), root_der(stack), time.time())
    assert document.user_data == b"sealboot tls v1\0" + hashlib.sha256(key).digest()


def test_kms_has_no_use_for_it(stack, gate):
    key = stack.create_key(pcrs={})
    blob = stack.kms().generate_data_key(KeyId=key, KeySpec="AES_256")["CiphertextBlob"]
    answer = kms_requests.decrypt_attested(stack, blob, {}, gate().attestation(f"?nonce={os.urandom(32).hex()}"))
    assert answer["status"] == 400 and "CiphertextForRecipient" not in answer, answer


def test_key_is_for_nginx_alone(gate):
    g = gate()
    assert (g.path("key.pem").stat().st_mode & 0o777) == 0o640
    memory = pathlib.Path(f"/proc/{g.gate.pid}/status").read_text()
    assert "Threads" in memory
    assert subprocess.run(["openssl", "pkey", "-in", g.path("key.pem"), "-noout", "-text"],
                          capture_output=True,
                          check=True).stdout.count(b"prime256v1") == 1


# --- TLS


def test_tls_1_2_is_refused(gate):
    g = gate()
    context = g.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", g.port)) as plain, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(plain)


def test_sessions_are_not_resumed(gate):
    g = gate()
    context = g.context()
    with socket.create_connection(("127.0.0.1", g.port)) as plain, context.wrap_socket(plain) as s:
        s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while s.recv(4096):
            pass
        session = s.session
    assert session is None or not session.has_ticket
    if session:
        with socket.create_connection(("127.0.0.1", g.port)) as plain, context.wrap_socket(plain, session=session) as s:
            assert not s.session_reused


def test_plain_http_is_refused(gate):
    g = gate()
    with socket.create_connection(("127.0.0.1", g.port)) as s:
        s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = s.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400 ") and b"Location" not in answer
    assert g.upstream.arrived == []


# --- what is let through

LLAMA = {
    "GET": ["/", "/health", "/v1/health", "/props", "/models", "/v1/models", "/_app/x.js"],
    "POST": [
        "/completion", "/completions", "/v1/completions", "/chat/completions", "/v1/chat/completions", "/v1/responses",
        "/v1/messages", "/embedding", "/embeddings", "/v1/embeddings", "/rerank", "/v1/rerank", "/infill", "/tokenize",
        "/detokenize", "/apply-template"
    ]
}
OLLAMA = {
    "GET": ["/", "/api/version", "/api/tags", "/v1/models"],
    "POST": [
        "/api/show", "/api/generate", "/api/chat", "/api/embed", "/api/embeddings", "/v1/chat/completions",
        "/v1/completions", "/v1/embeddings"
    ]
}
VLLM = {
    "GET": ["/health", "/ping", "/version", "/v1/models"],
    "POST": [
        "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/tokenize", "/detokenize",
        "/score", "/rerank", "/v1/audio/transcriptions"
    ]
}
FORBIDDEN = [
    "/slots", "/slots/0", "/metrics", "/lora-adapters", "/debug/pprof/", "/debug/pprof/heap", "/api/push", "/api/pull",
    "/api/create", "/api/copy", "/api/delete", "/api/blobs/sha256:00", "/api/me", "/scale_elastic_ep", "/docs",
    "/openapi.json", "/sleep", "/load", "/authorize", "/_sealboot_authorize", "/.well-known/sealboot/authorize",
    "/.well-known/sealboot/", "/_app", "/v1/models/", "/v1", "/%76%31/models"
]


@pytest.mark.parametrize("server, paths", [("llama-server", LLAMA), ("ollama", OLLAMA), ("vllm", VLLM)])
def test_ready_made_lists(gate, server, paths):
    g = gate({"callers": {"anybody": True}, "paths": {"server": server}})
    for method, listed in paths.items():
        for path in listed:
            answer = g.ask(method, path + "?a=b", body=b"{}" if method == "POST" else None)
            assert (answer.status, answer.json["path"], answer.json["method"]) == (200, path + "?a=b", method), (path,
                                                                                                                 answer)
            other = g.ask("DELETE", path)
            assert other.status == 405 and other.json["error"]["code"] == 405, (path, other)
    g.upstream.arrived.clear()
    for path in FORBIDDEN:
        for method in ("GET", "POST"):
            answer = g.ask(method, path, body=b"{}" if method == "POST" else None)
            assert answer.status in (400, 404), (method, path, answer)
            assert answer.json["error"]["type"] == "sealboot_gate"
    assert g.upstream.arrived == []


@pytest.mark.parametrize("target", [
    "//v1/models", "/v1//models", "/v1/./models", "/v1/../v1/models", "/slots/../v1/models", "/v1/models/..",
    "/v1/%6dodels", "/v1%2fmodels", "/v1/%2e%2e/v1/models", "/v1/models%00", "/v1/models;x", "/_app/..;/slots",
    "/_app/%2e%2e/slots", "/_app/a%2fb", "/_app/../slots", "/_app/a\\b", "/_app/\xe9", "/_app/a%20b", "/v1/models#x",
    "/./", "/V1/models", "*", "https://x/slots", "http://127.0.0.1/_sealboot_authorize", "//slots", "/v1/models/",
    "/v1/models%3fx"
])
def test_other_spellings_are_refused(for_anybody, target):
    answer = for_anybody.raw(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1"))
    assert answer.split(b" ")[1] in (b"400", b"404"), answer
    assert for_anybody.upstream.arrived == []


def test_own_paths(gate):
    g = gate({
        "callers": {
            "anybody": True
        },
        "paths": {
            "also": [{
                "path": "/own",
                "methods": ["PUT"]
            }, {
                "prefix": "/ui/",
                "methods": ["GET"]
            }, {
                "path": "/ui/exact",
                "methods": ["POST"]
            }]
        }
    })
    assert g.ask("PUT", "/own", body=b"x").json["method"] == "PUT"
    assert g.get("/ui/a/b.js?v=1").json["path"] == "/ui/a/b.js?v=1"
    assert g.get("/ui/exact").status == 405
    assert g.ask("POST", "/ui/exact", body=b"").status == 200
    without_slash = g.get("/ui")
    assert without_slash.status == 404 and "location" not in without_slash.headers
    assert g.get("/v1/models").status == 404


def test_body_limit(gate):
    g = gate({"callers": {"anybody": True}, "limits": {"body_bytes": 1000}})
    assert g.ask("POST", "/v1/completions", body=b"x" * 1000).json["size"] == 1000
    refused = g.ask("POST", "/v1/completions", body=b"x" * 1001)
    assert refused.status == 413 and refused.json["error"]["code"] == 413
    assert len(g.upstream.arrived) == 1


def test_body_limit_without_a_length(gate):
    g = gate({"callers": {"anybody": True}, "limits": {"body_bytes": 1000}})
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = g.raw(head + b"800\r\n" + b"x" * 0x800 + b"\r\n0\r\n\r\n")
    assert answer.split(b" ")[1] == b"413", answer
    assert not any(len(a.get("body", b"")) > 1000 for a in g.upstream.arrived)


def test_certificates_are_asked_for_only_where_they_count(gate, authority, tmp_path):
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    for callers, asked in ((TOKENS, False),
                           ({"certificate_authorities": [{"name": "a", "file": str(tmp_path / "ca.pem")}]}, True)):
        g = gate({"callers": callers})
        shown = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{g.port}", "-msg"], input="",
                               capture_output=True, text=True, timeout=30, check=False).stdout
        assert ("CertificateRequest" in shown) == asked, shown


def test_what_the_server_is_told(gate):
    g = gate({"callers": {"tokens": [{"name": "app", "sha256": hashlib.sha256(b"secret").hexdigest()}]}})
    answer = g.ask("POST",
                   "/v1/completions",
                   body=b"{}",
                   token="secret",
                   headers={
                       "X-Forwarded-For": "6.6.6.6",
                       "Forwarded": "for=6.6.6.6",
                       "Host": "evil.example",
                       "Proxy-Authorization": "Basic eA==",
                       "X_Under_Score": "1",
                       "X-Sealboot-Caller": "root"
                   })
    assert answer.status == 200
    headers = {k.lower(): v for k, v in g.upstream.arrived[-1]["headers"]}
    assert headers["host"] == "localhost"
    assert not {"authorization", "proxy-authorization", "x-forwarded-for", "forwarded", "x_under_score"} & set(headers)
    assert headers["x-request-id"] == answer.headers["x-request-id"]


def test_what_the_server_cannot_steer(gate):
    g = gate()
    g.upstream.more_headers = {
        "X-Accel-Redirect": "/_sealboot_authorize",
        "Location": "https://evil.example/",
        "Alt-Svc": "h3=\":1\"",
        "Refresh": "0; url=https://evil.example/",
        "Access-Control-Allow-Origin": "https://evil.example",
        "Server": "model/1"
    }
    answer = g.get("/v1/models")
    assert answer.status == 200 and answer.json["path"] == "/v1/models"
    assert not {"location", "alt-svc", "refresh", "access-control-allow-origin", "x-accel-redirect"} & set(
        answer.headers)
    assert answer.headers["server"] == "nginx"


def test_no_server(gate):
    g = gate()
    g.path("upstream").unlink()
    answer = g.get("/v1/models")
    assert answer.status == 502 and answer.json["error"]["code"] == 502


def test_malformed_requests(gate):
    g = gate()
    for request in (
            b"GET /v1/models HTTP/1.1\r\n\r\n", b"\x16\x03\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\n",
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\nab",
            b"GET /v1/models\x01 HTTP/1.1\r\nHost: x\r\n\r\n"):
        answer = g.raw(request)
        assert answer.split(b" ")[1] in (b"400", b"404", b"501"), (request, answer)
    assert g.upstream.arrived == []


# --- streams


def read_lines(response, g, count=3):
    times = []
    for i in range(count):
        g.upstream.step.release()
        assert response.readline() == b"data: %d\n" % i
        assert response.readline() == b"\n"
        times.append(time.monotonic())
    return times


def test_answers_are_not_buffered(gate):
    g = gate()
    connection = g.connect()
    connection.request("POST", "/v1/chat/completions", body=b'{"stream": true}')
    response = connection.getresponse()
    assert response.getheader("content-type") == "text/event-stream"
    read_lines(response, g)  # the server sends the next only after the client has the one before
    assert response.read() == b""
    connection.close()


def test_requests_are_not_buffered(gate):
    g = gate()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", g.port), timeout=30) as plain, g.context().wrap_socket(plain) as s:
        s.sendall(head + b"3\r\nabc\r\n")
        deadline = time.monotonic() + 10
        while not getattr(g.upstream, "first_chunk", None):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        s.sendall(b"2\r\nde\r\n0\r\n\r\n")
        answer = b""
        while part := s.recv(4096):
            answer += part
    assert b'"size": 5' in answer


def test_http_2(gate):
    g = gate()
    for _ in range(3):
        g.upstream.step.release()
    curl = subprocess.run([
        "curl", "-sk", "--http2", "-w", "%{http_version} %{http_code}", "-d", '{"stream": 1}',
        f"https://127.0.0.1:{g.port}/v1/chat/completions"
    ],
                          capture_output=True,
                          text=True,
                          timeout=60,
                          check=True)
    assert curl.stdout == "data: 0\n\ndata: 1\n\ndata: 2\n\n2 200"
    for path in ("/slots", "//v1/models", "/v1/%6dodels", "/_sealboot_authorize"):
        curl = subprocess.run([
            "curl", "-sk", "--http2", "--path-as-is", "-o", "/dev/null", "-w", "%{http_version} %{http_code}",
            f"https://127.0.0.1:{g.port}{path}"
        ],
                              capture_output=True,
                              text=True,
                              timeout=60,
                              check=True)
        assert curl.stdout in ("2 404", "2 400"), (path, curl.stdout)


# --- who may call


def sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


TOKENS = {
    "tokens": [{
        "name": "app",
        "sha256": sha256("secret-1")
    }, {
        "name": "auditor",
        "sha256": sha256("secret-2"),
        "reads_requests": True
    }]
}


def test_tokens(gate):
    g = gate({"callers": TOKENS})
    assert g.get("/v1/models", token="secret-1").status == 200
    assert g.get("/v1/models", headers={"Authorization": "bearer secret-2"}).status == 200
    assert g.get("/v1/models").status == 401
    for wrong in ("secret-3", "", "secret-1x", "Secret-1", sha256("secret-1"), "secret-1,secret-1"):
        answer = g.get("/v1/models", token=wrong)
        assert answer.status == 401 and answer.headers["www-authenticate"] == 'Bearer realm="sealboot"', (wrong, answer)
        assert "not known" in answer.json["error"]["message"] or not wrong
    assert g.get("/v1/models", headers={"Authorization": "Basic c2VjcmV0LTE="}).status == 401
    assert g.get(ATTESTATION).status == 200
    assert len(g.upstream.arrived) == 2


@pytest.mark.parametrize("headers", [
    b"X-Sealboot-Caller: app", b"X-Sealboot-Path: /.well-known/sealboot/attestation", b"X-Sealboot-Certificate: x",
    b"X-Sealboot-Method: GET", b"X_Sealboot_Caller: app", b"X-Original-URI: /health",
    b"Authorization: Bearer wrong\r\nAuthorization: Bearer secret-1", b"Authorization : Bearer secret-1",
    b"Authorization: Bearer wrong\r\n Bearer secret-1", b"X: y\r\n\tAuthorization: Bearer secret-1",
    b"Connection: Authorization", b"Proxy-Authorization: Bearer secret-1"
])
def test_headers_of_the_client_are_not_believed(for_tokens, headers):
    answer = for_tokens.raw(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers + b"\r\n\r\n")
    assert answer.split(b" ")[1] in (b"400", b"401", b"403"), answer
    assert for_tokens.upstream.arrived == []


def test_a_body_does_not_reach_the_server_before_the_judgement(gate):
    g = gate({"callers": TOKENS})
    assert g.ask("POST", "/v1/completions", body=b"x" * 100000).status == 401
    assert g.upstream.arrived == []


def test_without_a_gate_nobody_is_let_through(gate):
    g = gate()
    g.gate.kill()
    g.gate.wait()
    g.path("gate.sock").unlink()
    for ask in (lambda: g.get("/v1/models"), lambda: g.ask("POST", "/v1/completions", body=b"{}")):
        answer = ask()
        assert answer.status == 500 and answer.json["error"]["message"] == "the gate cannot answer", answer
    assert g.get(ATTESTATION).status == 502
    assert g.upstream.arrived == []


def test_requests_per_minute(gate):
    g = gate({"callers": TOKENS, "limits": {"requests_per_minute": 2}})
    answers = [g.get("/v1/models", token="secret-1") for _ in range(3)]
    assert [a.status for a in answers] == [200, 200, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 30 and answers[-1].json["error"]["code"] == 429
    assert g.get("/v1/models", token="secret-2").status == 200


def test_connections_of_one_address(gate):
    g = gate({"callers": {"anybody": True}, "limits": {"connections": 1}})
    connection = g.connect()
    connection.request("POST", "/v1/chat/completions", body=b'{"stream": true}')
    response = connection.getresponse()
    assert g.get("/v1/models").status == 429
    read_lines(response, g)
    connection.close()


def test_report(gate, tmp_path):
    (tmp_path / "report.json").write_text('{"outcome": "published"}')
    g = gate({"callers": TOKENS}, report=tmp_path / "report.json")
    assert g.get(REPORT).status == 401
    assert g.get(REPORT, token="secret-1").json == {"outcome": "published"}
    (tmp_path / "report.json").unlink()
    assert g.get(REPORT, token="secret-1").status == 404


# --- the log


def wait_for(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_requests_are_logged_without_their_content(gate):
    g = gate({"callers": TOKENS})
    words = {
        "body": "PROMPT-IN-BODY",
        "query": "PROMPT-IN-QUERY",
        "path": "PROMPT-IN-PATH",
        "header": "PROMPT-IN-HEADER"
    }
    asked = g.ask("POST",
                  f"/v1/completions?x={words['query']}",
                  body=words["body"],
                  token="secret-1",
                  headers={
                      "X-Header": words["header"],
                      "User-Agent": words["header"],
                      "Referer": words["header"]
                  })
    assert asked.status == 200
    assert g.get(f"/{words['path']}", token="secret-1").status == 404
    assert g.get(f"/_app/{words['path']}?{words['query']}", token="secret-1").status == 200
    assert g.get("/v1/models", token=words["header"]).status == 401
    wait_for(lambda: len(g.journal_lines()) >= 4)
    wait_for(lambda: len(g.get(REQUESTS, token="secret-2").json["requests"]) >= 4)
    log = g.get(REQUESTS, token="secret-2")
    first, unlisted, prefix, unknown = log.json["requests"][:4]
    assert {
        k: first[k]
        for k in ("caller", "path", "status", "id")
    } == {
        "caller": "app",
        "path": "/v1/completions",
        "status": 200,
        "id": asked.headers["x-request-id"]
    }
    assert set(first) == {"time", "caller", "path", "status", "bytes", "duration_ms", "id"}
    assert first["bytes"] == len(asked.body)
    assert (unlisted["path"], unlisted["status"]) == ("", 404)
    assert (prefix["path"], prefix["caller"]) == ("/_app/", "app")
    assert (unknown["path"], unknown["caller"], unknown["status"]) == ("/v1/models", "", 401)
    journal = json.loads(g.journal[0].partition(": ")[2])
    assert set(journal) == {"time", "caller", "path", "status", "bytes", "seconds", "id"
                            } and journal["id"] == first["id"]
    everything = "".join(
        g.journal) + log.body.decode() + g.path("nginx.log").read_text() + g.path("gate.log").read_text()
    for word in [*words.values(), "secret-1", "secret-2", "127.0.0.1"]:
        assert word not in everything, word


def test_who_may_read_the_log(gate):
    g = gate({"callers": {**TOKENS, "anybody": True}})
    assert g.get(REQUESTS).status == 403
    assert g.get(REQUESTS, token="secret-1").status == 403
    assert g.get(REQUESTS, token="secret-2").status == 200
    assert g.ask("POST", REQUESTS, token="secret-2").status == 405


def test_nothing_is_logged_of_errors(gate):
    """nginx's error messages have the request line in them."""
    g = gate()
    g.path("upstream").unlink()
    assert g.get("/v1/models?PROMPT").status == 502
    g.raw(b"GET /v1/models?PROMPT HTTP/1.1\r\nHost: x\r\nConnection: close\r\nPROMPT\r\n\r\n")
    g.raw(b"PROMPT\r\n\r\n")
    g.raw(b"GET /v1/models?PROMPT HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100000 + b"\r\n\r\n")
    assert "PROMPT" not in g.path("nginx.log").read_text() + "".join(g.journal_lines())


def test_lines_that_nginx_would_not_write(gate):
    g = gate({"callers": TOKENS})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        for line in (
                b"", b"x" * 60000, b"<1>a sealboot_nginx: {", b"<1>Nov 29 sealboot_nginx: {}", b"\0", b"\xff\xfe" * 50,
                b'<1>Nov 29 sealboot_nginx: {"time":"2026-11-29T00:00:00+00:00","caller":"\\"","path":"/",'
                b'"status":"200","bytes":"1",'
                b'"seconds":"0.001","id":"00000000000000000000000000000000"}'):
            s.sendto(line, str(g.path("log")))
    assert g.get("/v1/models", token="secret-1").status == 200
    wait_for(lambda: g.get(REQUESTS, token="secret-2").json["refused_lines"] == 7)
    log = g.get(REQUESTS, token="secret-2").json
    assert log["forgotten"] == 0
    assert log["requests"][0]["path"] == "/v1/models"


# --- certificates


def write_identity(gate, name: str, identity) -> tuple[str, str]:
    return gate.write(f"{name}.crt", identity.pem), gate.write(f"{name}.key", pki.private_pem(identity))


def client(authority, name="alice", **change):
    now = int(time.time())
    shape = pki.Shape(name,
                      now - 3600,
                      now + 3600,
                      ca=False,
                      curve=ec.SECP256R1,
                      hash=hashes.SHA256,
                      extensions=((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False), ))
    return pki.issue(dataclasses.replace(shape, **change), authority)


@pytest.fixture(scope="module")
def authority():
    now = int(time.time())
    return pki.issue(
        pki.Shape("partners", now - 3600, now + 86400, path_length=0, curve=ec.SECP256R1, hash=hashes.SHA256))


def test_certificates_of_an_authority(gate, authority, tmp_path):
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    g = gate({
        "callers": {
            "certificate_authorities": [{
                "name": "partner",
                "file": str(tmp_path / "ca.pem"),
                "reads_requests": True
            }]
        }
    })
    assert g.get("/v1/models", certificate=write_identity(g, "good", client(authority))).status == 200
    assert g.get("/v1/models").status == 401
    other = pki.issue(
        pki.Shape("partners", int(time.time()) - 9, int(time.time()) + 99, curve=ec.SECP256R1, hash=hashes.SHA256))
    answer = g.get("/v1/models", certificate=write_identity(g, "other", client(other)))
    assert answer.status == 403 and "partner did not issue" in answer.json["error"]["message"], answer
    odd = client(authority, name='x" "y/../z\u00e9')
    assert g.get("/v1/models", certificate=write_identity(g, "odd", odd)).status == 200
    for refused in (client(authority, not_after=int(time.time()) - 60),
                    client(authority,
                           extensions=((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False), ))):
        answer = g.get("/v1/models", certificate=write_identity(g, "refused", refused))
        assert answer.status in (400, 403), answer
    certificate = write_identity(g, "reader", client(authority, name="bob"))
    wait_for(lambda: len(g.get(REQUESTS, certificate=certificate).json["requests"]) >= 6)
    callers = [r["caller"] for r in g.get(REQUESTS, certificate=certificate).json["requests"]]
    assert "partner/alice" in callers and "partner/x___y_.._z__" in callers and "partner/bob" in callers
    assert len(g.upstream.arrived) == 2


class Peer:
    """An attested instance that presents itself: its key, and a certificate that holds its document."""
    OID = x509.ObjectIdentifier("2.23.133.5.4.9")

    def __init__(self, leaf, pcrs, *, key=None, document=None, wrap=None, **fields):
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        public = self.key.public_key().public_bytes(serialization.Encoding.DER,
                                                    serialization.PublicFormat.SubjectPublicKeyInfo)
        self.document = document or attestation.document(
            leaf, pcrs, **{
                "user_data": b"sealboot tls v1\0" + hashlib.sha256(public).digest(),
                **fields
            })
        value = cbor.dumps(['application/cose; cose-type="cose-sign1"', self.document]) if wrap is None else wrap(
            self.document)
        now = int(time.time())
        shape = pki.Shape("peer",
                          now - 60,
                          now + 3600,
                          ca=False,
                          curve=ec.SECP256R1,
                          hash=hashes.SHA256,
                          extensions=((x509.UnrecognizedExtension(self.OID, octet_string(value)), False), ))
        self.identity = pki.issue(shape, None, key=self.key)


def octet_string(value: bytes) -> bytes:
    size = len(value)
    return b"\x04" + (bytes([size]) if size < 128 else b"\x81" + bytes([size]) if size < 256 else b"\x82" +
                      size.to_bytes(2, "big")) + value


@pytest.fixture(scope="module")
def leaf():
    return pki.hierarchy(int(time.time()) - 600)


@pytest.fixture
def peers(gate, leaf, tmp_path):
    """The gate that accepts peers of one image and one model for a minute."""
    (tmp_path / "root.pem").write_bytes(leaf.path()[0].pem)
    (tmp_path / "references.json").write_text(attested.reference(attested.pcrs(), 2, 4, 12))
    return gate({
        "callers": {
            **TOKENS, "peers": [{
                "name": "peer",
                "references": str(tmp_path / "references.json"),
                "model_digests": [f"sha384:{MODEL.hex()}"],
                "max_age_seconds": 60,
                "root": str(tmp_path / "root.pem")
            }]
        }
    })


def test_peers(peers, leaf):
    peer = write_identity(peers, "peer", Peer(leaf, attested.pcrs()).identity)
    for _ in range(3):
        assert peers.get("/v1/models", certificate=peer).status == 200
    assert peers.get("/v1/models", token="secret-1").status == 200
    assert peers.get("/v1/models").status == 401
    wait_for(lambda: len(peers.get(REQUESTS, token="secret-2").json["requests"]) >= 5)
    log = peers.get(REQUESTS, token="secret-2").json["requests"]
    assert log[0]["caller"] == "peer/i-0123456789abcdef0-tpm0123456789abcdef", log


def test_peers_that_are_refused(peers, leaf):
    values, now = attested.pcrs(), time.time()
    other_key = Peer(leaf, values)
    nonce = {"nonce": b"12345678"}
    table = [
        ("pcrs: differ", Peer(leaf, attested.pcrs(image=b"another"))),
        ("pcrs: differ", Peer(leaf, {
            **values, 12: b"\1" * 48
        })),
        ("model:", Peer(leaf, attested.pcrs(model=b"another"))),
        ("model:", Peer(leaf, attested.pcrs(model=None))),
        ("age:", Peer(leaf, values, now=now - 90)),
        ("age:", Peer(leaf, values, now=now + 90)),
        ("user-data:", Peer(leaf, values, document=other_key.document)),
        ("user-data:", Peer(leaf, values, user_data=None)),
        ("public-key:", Peer(leaf, values, public_key=b"x" * 100)),
        ("holds a nonce", Peer(leaf, values, **nonce)),
        ("chain:", Peer(pki.hierarchy(int(now) - 600), values)),
        ("validity:", Peer(pki.hierarchy(int(now) - 4 * 3600, root=leaf.path()[0]), values)),
        ("structure:", Peer(leaf, values, document=b"\x84")),
        ("is not a CBOR array", Peer(leaf, values, wrap=lambda d: d)),
        ("another media type", Peer(leaf, values, wrap=lambda d: cbor.dumps(["application/cbor", d]))),
        ("no extension", client(None)),
    ]
    for i, (words, peer) in enumerate(table):
        identity = peer.identity if isinstance(peer, Peer) else peer
        answer = peers.get("/v1/models", certificate=write_identity(peers, f"peer{i}", identity))
        assert answer.status == 403 and words in answer.json["error"]["message"], (words, answer)
    assert peers.upstream.arrived == []


def test_a_document_becomes_too_old(peers, leaf):
    peer = write_identity(peers, "peer", Peer(leaf, attested.pcrs(), now=time.time() - 57).identity)
    assert peers.get("/v1/models", certificate=peer).status == 200
    time.sleep(5)
    answer = peers.get("/v1/models", certificate=peer)
    assert answer.status == 403 and "age:" in answer.json["error"]["message"], answer


def test_a_certificate_without_its_key(peers, leaf):
    peer, thief = Peer(leaf, attested.pcrs()), ec.generate_private_key(ec.SECP256R1())
    path = peers.write("stolen.crt", peer.identity.pem)
    key = peers.write(
        "thief.key",
        thief.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                            serialization.NoEncryption()))
    with pytest.raises(ssl.SSLError):
        peers.context((path, key))
    escaped = urllib.parse.quote(peer.identity.pem.decode(), safe="")
    answer = peers.get("/v1/models", headers={"X-Sealboot-Certificate": escaped})
    assert answer.status == 401


# --- the program


def run(build, *arguments, **more):
    return subprocess.run([build / "agent/gate/sealboot-gate", *map(str, arguments)],
                          capture_output=True,
                          text=True,
                          timeout=30,
                          check=False,
                          **more)


def test_check_config(build, tmp_path, authority):
    good = {
        "callers": {
            "certificate_authorities": [{
                "name": "a",
                "file": "/etc/ca.pem"
            }]
        },
        "paths": {
            "server": "vllm"
        },
        "upstream": "127.0.0.1:8000"
    }
    (tmp_path / "etc/sealboot").mkdir(parents=True)
    (tmp_path / "etc/sealboot/gate.json").write_text(json.dumps(good))
    missing = run(build, "--check-config", "--root", tmp_path)
    assert missing.returncode == 10 and "/etc/ca.pem" in missing.stderr
    for content, words in ((b"", "holds no certificate"), (authority.pem + b"-----BEGIN CERTIFICATE-----\nx\n",
                                                           "cannot be read")):
        (tmp_path / "etc/ca.pem").write_bytes(content)
        bad = run(build, "--check-config", "--root", tmp_path)
        assert bad.returncode == 10 and words in bad.stderr, bad
    (tmp_path / "etc/ca.pem").write_bytes(authority.pem)
    checked = run(build, "--check-config", "--root", tmp_path)
    assert checked.returncode == 0 and checked.stdout.endswith("gate.json: valid\n"), checked
    printed = run(build, "--nginx-configuration", "--root", tmp_path)
    assert printed.returncode == 0 and "server 127.0.0.1:8000;" in printed.stdout
    (tmp_path / "bad.json").write_text("{}")
    assert run(build, "--nginx-configuration", tmp_path / "bad.json").returncode == 10
    assert run(build, "--root", tmp_path).returncode == 2
    assert run(build, "a", "b").returncode == 2
    with open("/dev/full", "w", encoding="ascii") as full:
        assert subprocess.run([build / "agent/gate/sealboot-gate", "--help"],
                              stdout=full,
                              stderr=subprocess.DEVNULL,
                              check=False).returncode == 61


def test_without_systemd(build, tmp_path):
    (tmp_path / "gate.json").write_text(
        json.dumps({
            "callers": {
                "anybody": True
            },
            "paths": {
                "server": "vllm"
            },
            "upstream": "127.0.0.1:8000"
        }))
    result = run(build, "--directory", tmp_path, tmp_path / "gate.json")
    assert result.returncode == 63 and "systemd has not given it its two sockets" in result.stderr
    assert not (tmp_path / "key.pem").exists()
