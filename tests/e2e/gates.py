# SPDX-License-Identifier: Apache-2.0
"""The way in as an image has it: sealboot-gate with the sockets that systemd would give it, nginx with the
configuration that follows from gate.json, and a server on a Unix socket in place of the inference server."""

import contextlib
import http.client
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import socketserver
import ssl
import subprocess
import tempfile
import threading
import time

from stack import nginx, served

WELL_KNOWN = "/.well-known/sealboot/"


class Upstream(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Keeps what arrives, and answers with it. A stream is sent line by line, each after `step` was released."""
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, path: str):
        super().__init__(path, Handler)
        self.arrived, self.step, self.more_headers = [], threading.Semaphore(0), {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "nginx"

    def log_message(self, *_):
        pass

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.server.first_chunk = time.monotonic()
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do(self):
        arrived = {"method": self.command, "path": self.path, "headers": self.headers.items()}
        self.server.arrived.append(arrived)
        arrived["body"] = self.body()
        if b'"stream"' in arrived["body"]:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for i in range(3):
                self.server.step.acquire(timeout=20)
                line = b"data: %d\n\n" % i
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
            return
        answer = json.dumps({"method": self.command, "path": self.path, "size": len(arrived["body"])}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        for name, value in self.server.more_headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do


class Answer:
    def __init__(self, response, body: bytes):
        self.status, self.body, self.headers = response.status, body, {k.lower(): v for k, v in response.getheaders()}

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:300]}>"


class Gate:
    """with Gate(build, tcti, {"callers": ...}) as gate: gate.get(path)

    Everything is in a directory of its own with a short name, since the names of Unix sockets are short. It is what
    stack/served.py starts, with what tests need beside that: an upstream that keeps what arrives, the journal, an
    environment without the test's own, and parts that can be started and stopped one by one."""
    def __init__(self, build: pathlib.Path, tcti: str, config: dict, report: pathlib.Path | None = None):
        self.build, self.program = build, build / "agent/gate/sealboot-gate"
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="sealboot-gate-"))
        self.port = nginx.free_ports(1)[0]
        self.config = {
            "paths": {
                "server": "llama-server"
            },
            "upstream": f"unix:{self.directory}/upstream",
            "port": self.port,
            "tcti": tcti,
            "report": str(report or self.directory / "report.json"),
            **config
        }
        self.processes, self.sockets, self.journal = [], [], []

    def path(self, name: str) -> pathlib.Path:
        return self.directory / name

    def write(self, name: str, content: str | bytes) -> str:
        path = self.path(name)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def listen(self, name: str, kind) -> socket.socket:
        self.sockets.append(served.listening(self.path(name), kind))
        return self.sockets[-1]

    def start_gate(self) -> subprocess.Popen:
        told = self.listen("notify", socket.SOCK_DGRAM) if not self.path("notify").exists() else self.sockets[2]
        kept = {k: v for k, v in os.environ.items() if k == "PATH" or k.endswith("SAN_OPTIONS")}
        process = served.with_sockets(
            self.sockets[:2], self.program, "--directory", self.directory, self.path("gate.json"),
            environment={**kept, "NOTIFY_SOCKET": str(self.path("notify"))}, stderr=open(self.path("gate.log"), "ab"))
        told.settimeout(20)
        try:
            while b"READY=1" not in told.recv(4096):
                pass
        except TimeoutError as e:
            raise AssertionError(self.path("gate.log").read_text()) from e
        self.processes.append(process)
        return process

    def nginx_configuration(self) -> str:
        printed = served.nginx_configuration(self.build, self.directory, self.path("gate.json"))
        return printed.replace("/dev/log", str(self.path("journal")))

    def start_nginx(self) -> subprocess.Popen:
        self.write("nginx.conf", self.nginx_configuration().replace("worker_processes auto", "worker_processes 1"))
        process = subprocess.Popen(
            [nginx.program(), "-e", "stderr", "-c", self.path("nginx.conf")],
            stdin=subprocess.DEVNULL,
            stderr=open(self.path("nginx.log"), "ab"))
        assert nginx.listens(self.port, process), self.path("nginx.log").read_text()
        self.processes.append(process)
        return process

    def __enter__(self):
        self.write("gate.json", json.dumps(self.config))
        self.listen("gate.sock", socket.SOCK_STREAM)
        self.listen("log", socket.SOCK_DGRAM)
        self.upstream = Upstream(str(self.path("upstream")))
        self.gate = self.start_gate()
        self.journal_socket = self.listen("journal", socket.SOCK_DGRAM)
        self.start_nginx()
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(20)
        self.upstream.shutdown()
        self.upstream.server_close()
        for s in self.sockets:
            s.close()
        log = self.path("gate.log").read_text()
        shutil.rmtree(self.directory)
        assert "Sanitizer" not in log and "runtime error" not in log, log

    # --- clients

    def context(self, certificate: tuple[str, str] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if certificate:
            context.load_cert_chain(*certificate)
        return context

    def connect(self, certificate=None) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context(certificate), timeout=30)

    def ask(self, method: str, path: str, body=None, headers=None, certificate=None, token=None) -> Answer:
        connection = self.connect(certificate)
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers={**bearer, **(headers or {})})
            response = connection.getresponse()
            return Answer(response, response.read())

    def get(self, path: str, **more) -> Answer:
        return self.ask("GET", path, **more)

    def raw(self, data: bytes) -> bytes:
        """What is answered to these bytes, until the end."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as plain, \
                self.context().wrap_socket(plain) as s:
            s.sendall(data)
            parts = []
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                while part := s.recv(65536):
                    parts.append(part)
            return b"".join(parts)

    def journal_lines(self) -> list[str]:
        self.journal_socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.journal.append(self.journal_socket.recv(8192).decode())
        return self.journal

    def attestation(self, query: str = "") -> bytes:
        answer = self.get(WELL_KNOWN + "attestation" + query)
        assert answer.status == 200, answer
        assert answer.headers["content-type"] == "application/cbor"
        return answer.body
