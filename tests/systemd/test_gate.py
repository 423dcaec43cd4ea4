# SPDX-License-Identifier: Apache-2.0
"""The way in for consumers, as installed and started by systemd: gate, nginx, and the inference server behind them."""

import hashlib
import json
import re
import socket
import ssl
import subprocess
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from test_boot import AGENT, MODEL, SERVER, measured, prepare

from machine import Machine
from sealer import model_text, pcr15
from stack import attestation_check

GATE, NGINX = "sealboot-gate.service", "sealboot-nginx.service"
CALLERS = {
    "tokens": [{
        "name": "app",
        "sha256": hashlib.sha256(b"secret").hexdigest()
    }, {
        "name": "auditor",
        "sha256": hashlib.sha256(b"reader").hexdigest(),
        "reads_requests": True
    }]
}
PORT = 443
# The stack's TPM is a TCP server; an instance has a device, and the gate no network.
REACH = "[Service]\nPrivateNetwork=no\nRestrictAddressFamilies=AF_UNIX AF_INET\nIPAddressAllow=localhost\n"


@pytest.fixture(scope="module")
def booted(stack):
    with Machine() as machine:
        prepare(machine, measured(stack))
        config = {
            "callers": CALLERS,
            "paths": {
                "server": "llama-server",
                "also": [{
                    "path": "/probe",
                    "methods": ["GET"]
                }]
            },
            "upstream": "unix:/run/sealboot-upstream/llama-server.sock",
            "tcti": stack.variables["TPM2TOOLS_TCTI"]
        }
        machine.write("/etc/sealboot/gate.json", json.dumps(config))
        printed = subprocess.run(["sealboot-gate", "--nginx-configuration", "--root", machine.root],
                                 capture_output=True,
                                 text=True,
                                 check=True)
        machine.write("/etc/sealboot/nginx.conf", printed.stdout)
        machine.write(f"/etc/systemd/system/{GATE}.d/tpm.conf", REACH)
        machine.enable(NGINX)
        subprocess.run(["systemctl", "--quiet", "--root", machine.root, "disable", "nginx.service"], check=False)
        machine.boot()
        yield machine


def get(path, token=None):
    """Status and body, over TLS from outside of the machine, which shares its network."""
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + (f"Authorization: Bearer {token}\r\n"
                                                                         if token else "")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", PORT), timeout=60) as plain, context.wrap_socket(plain) as s:
        s.sendall(f"{head}\r\n".encode())
        answer = b""
        while part := s.recv(65536):
            answer += part
        certificate = x509.load_der_x509_certificate(s.getpeercert(binary_form=True))
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"Transfer-Encoding: chunked" in head:
        body = body.partition(b"\r\n")[2].rpartition(b"\r\n0\r\n")[0]
    return int(head.split()[1]), body, certificate


def test_everything_starts(booted):
    assert booted.run("systemctl", "--failed", "--no-legend").stdout == "", booted.journal(GATE) + booted.journal(NGINX)
    for unit in GATE, NGINX, "sealboot-gate.socket", "sealboot-nginx.socket", SERVER:
        assert booted.show(unit, "ActiveState") == "active", booted.journal(unit)


def test_order(booted):
    times = [
        int(booted.show(unit, name))
        for unit, name in ((AGENT, "ActiveEnterTimestampMonotonic"), ("sealboot-model.target",
                                                                      "ActiveEnterTimestampMonotonic"),
                           (GATE, "ExecMainStartTimestampMonotonic"), (GATE, "ActiveEnterTimestampMonotonic"),
                           (NGINX, "ExecMainStartTimestampMonotonic"))
    ]
    assert times == sorted(times) and times[0] > 0


def test_a_consumer_is_served(booted, stack):
    status, document, certificate = get(f"/.well-known/sealboot/attestation?nonce={'ab' * 16}")
    assert status == 200
    with open(stack.variables["SEALBOOT_ATTESTATION_ROOT"], "rb") as f:
        root = x509.load_pem_x509_certificate(f.read()).public_bytes(serialization.Encoding.DER)
    checked = attestation_check.verify(document, root, time.time())
    spki = certificate.public_key().public_bytes(serialization.Encoding.DER,
                                                 serialization.PublicFormat.SubjectPublicKeyInfo)
    assert checked.user_data == b"sealboot tls v1\0" + hashlib.sha256(spki).digest()
    assert checked.nonce == bytes.fromhex("ab" * 16) and checked.public_key is None
    assert checked.pcrs[15].hex() == pcr15(model_text(MODEL), "sha384")
    assert get("/health")[0] == 401
    status, body, _ = get("/health", "secret")
    assert (status, json.loads(body)) == (200, {"status": "ok"})
    status, body, _ = get("/.well-known/sealboot/report", "secret")
    assert status == 200 and json.loads(body)["outcome"] == "published"


def test_inference_server_finds_no_way_to_key_gate_tpm_and_log(booted):
    status, body, _ = get("/probe", "secret")
    probe = json.loads(body)
    assert status == 200 and probe["sockets"] == [] and probe["tpm"] == [] and probe["interfaces"] == ["lo"], probe
    pid = booted.show(SERVER, "MainPID")
    user = booted.run("stat", "--format", "%u", f"/proc/{pid}").stdout.strip()
    groups = booted.run("sh", "-c", f"awk '/^Groups/ {{$1 = \"\"; print}}' /proc/{pid}/status").stdout.split()
    inside = [
        "nsenter", "--target", pid, "--mount", "setpriv", f"--reuid={user}", f"--regid={user}", "--groups",
        ",".join(groups) or user
    ]
    for path in "key.pem", "certificate.pem", "gate.sock", "log":
        assert booted.run(*inside, "cat", f"/run/sealboot-gate/{path}", check=False).returncode != 0
    # With its rights, and without its view of the files, it gets nowhere either.
    outside = inside[4:]
    for path in "key.pem", "certificate.pem":
        refused = booted.run(*outside, "cat", f"/run/sealboot-gate/{path}", check=False)
        assert refused.returncode != 0 and "Permission denied" in refused.stderr
    asked = booted.run(*outside, "curl", "-s", "--unix-socket", "/run/sealboot-gate/gate.sock", "http://x/authorize",
                       check=False)
    assert asked.returncode == 7, asked
    # Its own socket is for nginx and the agent, which asks whether the server is ready: it is in the agent's group.
    upstream = "/run/sealboot-upstream/llama-server.sock"
    assert booted.run("stat", "--format", "%a %U %G", upstream).stdout.split() == [
        "660", "sealboot-nginx", booted.show(AGENT, "Group")
    ]
    assert booted.run(*inside, "curl", "-s", "--unix-socket", upstream, "http://x/health", check=False).returncode == 7


def test_key_is_for_nginx(booted):
    shown = booted.run("stat", "--format", "%a %U %G", "/run/sealboot-gate", "/run/sealboot-gate/key.pem",
                       "/run/sealboot-gate/gate.sock", "/run/sealboot-gate/log").stdout.splitlines()
    assert shown == [
        "2750 sealboot-gate sealboot-nginx", "640 sealboot-gate sealboot-nginx", "660 sealboot-gate sealboot-nginx",
        "660 sealboot-gate sealboot-nginx"
    ]
    assert booted.run("stat", "--file-system", "--format", "%T", "/run/sealboot-gate").stdout.strip() == "tmpfs"


def test_nginx_can_do_no_more_than_it_needs(booted):
    pid = booted.show(NGINX, "MainPID")
    status = booted.run("cat", f"/proc/{pid}/status").stdout
    for name in "CapPrm", "CapEff", "CapBnd", "CapAmb":
        assert re.search(rf"^{name}:\s*0+$", status, re.M), status
    assert re.search(r"^NoNewPrivs:\s*1$", status, re.M)
    uid = booted.run("id", "-u", "sealboot-nginx").stdout.strip()
    assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}" in status
    seen = booted.run("nsenter", "--target", pid, "--mount", "find", "/run", "-mindepth", "1", "-maxdepth",
                      "1").stdout.split()
    assert sorted(seen) == ["/run/sealboot-gate", "/run/sealboot-nginx", "/run/sealboot-upstream", "/run/systemd"]
    listening = booted.run("ss", "-Hltn").stdout
    assert {line.split()[3] for line in listening.splitlines()} >= {f"0.0.0.0:{PORT}", f"[::]:{PORT}"}


def test_requests_reach_journal_and_log(booted):
    assert get("/health?PROMPT", "secret")[0] == 200
    deadline = time.monotonic() + 20
    while True:
        log = json.loads(get("/.well-known/sealboot/requests", "reader")[1])
        entries = [r for r in log["requests"] if r["path"] == "/health" and r["caller"] == "app"]
        journal = booted.run("journalctl", "--no-pager", "--output", "cat", "--identifier", "sealboot_nginx").stdout
        if entries and entries[-1]["id"] in journal:
            break
        assert time.monotonic() < deadline, (log, journal)
        time.sleep(0.2)
    assert "PROMPT" not in journal + json.dumps(log) + booted.journal(NGINX)


def test_a_gate_that_was_killed_comes_back_with_the_same_key(booted):
    before, nginx = get("/health")[2], booted.show(NGINX, "MainPID")
    booted.run("systemctl", "kill", "--signal", "KILL", GATE)
    deadline = time.monotonic() + 30
    while booted.show(GATE, "ActiveState") != "active" or booted.show(GATE, "NRestarts") == "0":
        assert time.monotonic() < deadline, booted.journal(GATE)
        time.sleep(0.2)
    status, document, after = get("/.well-known/sealboot/attestation")
    assert status == 200 and after == before and booted.show(NGINX, "MainPID") == nginx
    spki = after.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert hashlib.sha256(spki).digest() in document
    assert get("/health", "secret")[0] == 200


@pytest.mark.parametrize("unit, most", [(GATE, 1.2), (NGINX, 1.2)])
def test_sandbox(booted, unit, most):
    exposure = re.search(rf"Overall exposure level for {unit}: ([0-9.]+)",
                         booted.run("systemd-analyze", "security", unit).stdout)
    assert float(exposure[1]) <= most


def test_units_verify(booted):
    done = booted.run("systemd-analyze",
                      "verify",
                      "--man=no",
                      GATE,
                      NGINX,
                      "sealboot-gate.socket",
                      "sealboot-nginx.socket",
                      check=False)
    assert (done.returncode, done.stderr) == (0, "")
