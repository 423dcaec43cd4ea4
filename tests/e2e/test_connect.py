# SPDX-License-Identifier: Apache-2.0
"""sealboot connect: what passes, and that not a byte of a prompt leaves where it must not.

The servers are those of stack/attested.py, honest ones and liars, some of them behind a real nginx that has HTTP/2."""

import asyncio
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import re
import resource
import select
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time

import gates
import pytest

from stack import attestation, attested, nginx, pki
from stack.sockets import receive_until

NETWORK, DOCUMENT, MISMATCH, USAGE, IO = 15, 72, 73, 2, 61
PROMPT = b'{"messages": [{"role": "user", "content": "nobody else may read this"}]}'


class World:
    """A root, its documents, an accepted image and model."""

    def __init__(self, directory: pathlib.Path):
        now = int(time.time())
        self.directory, self.root = directory, pki.root(now)
        self.leaf = pki.hierarchy(now, root=self.root)
        self.values = attested.pcrs()
        self.digest = hashlib.sha384(b"model").hexdigest()
        (directory / "root.pem").write_bytes(self.root.pem)
        (directory / "image.json").write_text(attested.reference(self.values))

    def server(self, name="a", **more) -> attested.Server:
        return attested.Server(attested.Key(self.directory, name), self.leaf, dict(self.values), name=name, **more)

    @property
    def options(self):
        return [
            "--reference", self.directory / "image.json", "--root", self.directory / "root.pem", "--model-digest",
            self.digest
        ]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


class Connect:
    """A running `sealboot connect`; get(), post() and curl() go through it."""

    def __init__(self, process, address: str):
        self.process, self.address = process, address
        self.host, _, port = address.rpartition(":")
        self.port = int(port)

    def request(self, method: str, target: str, body=None, headers={}, timeout=20):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        connection.close()
        return answer

    def get(self, target, **headers):
        return self.request("GET", target, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def ask(self):
        return self.request("POST", "/v1/chat/completions", PROMPT, {"Content-Type": "application/json"})

    def status(self) -> dict:
        return json.loads(self.get("/.well-known/sealboot/?json").text)

    def is_small(self) -> bool:
        """At most 64 MiB so far; a sanitizer takes more than the program does."""
        process = pathlib.Path(f"/proc/{self.process.pid}")
        size = int(re.search(r"VmHWM:\s+(\d+)", (process / "status").read_text())[1])
        assert size < 64 * 1024 or re.search("lib(asan|tsan)", (process / "maps").read_text()), size
        return True


@pytest.fixture
def connect(build, world, tmp_path):
    """connect(server, options...) starts it and waits until it listens; check(...) runs it with --check."""
    running = []

    def start(server, *options, env={}, wait=True, trust=None):
        environment = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
        address = server if isinstance(server, str) else server.address
        log = open(tmp_path / f"connect-{len(running)}.log", "w+")
        process = subprocess.Popen([
            build / "policy/sealboot", "connect", *(trust or world.options), "--listen", "127.0.0.1:0", *options,
            f"https://{address}"
        ], stdout=subprocess.PIPE, stderr=log, text=True, env={**environment, **env})
        running.append(process)
        process.log = pathlib.Path(log.name)
        line = process.stdout.readline() if wait else ""
        if not line:
            process.wait(60)
            return process
        return Connect(process, line.split()[-1].removeprefix("http://"))
    yield start
    for process in running:
        if process.poll() is None:
            process.terminate()
            assert process.wait(20) == 0, process.log.read_text()
        assert "Sanitizer" not in process.log.read_text()


@pytest.fixture
def check(build, world):
    def call(server, *options, env={}):
        environment = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
        address = server if isinstance(server, str) else server.address
        return subprocess.run(
            [build / "policy/sealboot", "connect", "--check", *world.options, *options, f"https://{address}"],
            capture_output=True, text=True, env={**environment, **env}, timeout=60)
    return call


# --- What passes


def test_a_plain_client_is_served(connect, world):
    with world.server() as server:
        c = connect(server)
        answer = c.ask()
        told = json.loads(answer.text)
        assert (answer.status, told["method"], told["target"]) == (200, "POST", "/v1/chat/completions")
        assert told["sha256"] == hashlib.sha256(PROMPT).hexdigest()
        assert told["headers"] == {
            "host": server.address, "accept-encoding": "identity", "content-length": str(len(PROMPT)),
            "content-type": "application/json"
        }
        assert c.get("/who").text == "a"
        assert c.request("HEAD", "/who").getheader("Content-Length") == "1"
        target = "/v1/%2e%2e/x;y?a=%20b&c=d%2Fe"
        assert json.loads(c.get(target).text)["target"] == target
        for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
            told = json.loads(c.request(method, "/x", b"body").text)
            assert (told["method"], told["size"]) == (method, 4)
        for method in ("POST", "PUT"):
            assert json.loads(c.request(method, "/x", b"").text)["headers"]["content-length"] == "0"
        # On HTTP/1.1 one connection may still be fetching the boot report when the first request comes.
        assert server.connections <= 2 and server.documents <= 2


def test_headers_of_one_hop_stay_behind(connect, world):
    with world.server() as server:
        server.answer = lambda r: (200, {"Connection": "x-secret", "X-Secret": "1", "X-Open": "2",
                                         "Alt-Svc": 'h3=":443"', "Access-Control-Allow-Origin": "*",
                                         "Set-Cookie": "a=b", "Content-Security-Policy":
                                         "default-src *; report-uri https://evil.example/",
                                         "Content-Type": "text/plain"}, b"ok") \
            if r.path == "/h" else None
        c = connect(server)
        answer = c.get("/h", Connection="X-Mine", X_Mine="1", X_Yours="2", Proxy_Authorization="Basic x",
                       Upgrade="websocket", Referer="http://127.0.0.1/x", Authorization="Bearer client",
                       Cookie="session-of-another-program=1")
        assert answer.text == "ok" and answer.getheader("X-Open") == "2"
        assert not {"X-Secret", "Alt-Svc", "Access-Control-Allow-Origin"} & set(answer.headers)
        assert "Set-Cookie" not in answer.headers
        policy, = answer.headers.get_all("Content-Security-Policy")
        assert policy.startswith("default-src 'self' ") and "evil" not in policy
        sent = server.prompts[-1].headers
        assert sent["x-yours"] == "2" and sent["authorization"] == "Bearer client"
        assert not {"x-mine", "proxy-authorization", "upgrade", "referer", "connection", "cookie"} & set(sent)


def test_a_token_takes_the_place_of_the_clients_own(connect, world, tmp_path):
    (tmp_path / "token").write_text("sk-real\n")
    with world.server() as server:
        c = connect(server, "--token-file", tmp_path / "token")
        assert json.loads(c.get("/x",
                                Authorization="Bearer sk-local").text)["headers"]["authorization"] == "Bearer sk-real"
        # The report may be for callers alone, and the proof is for everybody.
        sent = {r.path.rpartition("/")[2]: r.headers.get("authorization") for r in server.requests}
        assert sent["attestation"] is None and sent["report"] == "Bearer sk-real"


def test_streams_are_not_held_back(connect, world):
    with world.server() as server:
        c = connect(server)
        with socket.create_connection((c.host, c.port)) as s:
            s.sendall(b"GET /stream?n=5&ms=200 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            began, arrivals, text = time.monotonic(), [], b""
            while not text.endswith(b"0\r\n\r\n"):
                data = s.recv(65536)
                assert data
                text += data
                arrivals += [time.monotonic() - began] * data.count(b"\ndata: ")
        assert len(arrivals) == 5
        assert all(0.2 * i - 0.05 < at < 0.2 * i + 0.15 for i, at in enumerate(arrivals)), arrivals


def test_a_request_is_streamed_too(connect, world):
    """The first part arrives before the last is sent; and a large one needs no memory."""
    with world.server() as server:
        c = connect(server)
        with socket.create_connection((c.host, c.port)) as s:
            s.sendall(b"POST /x HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            deadline = time.monotonic() + 5
            while not any(r.body == b"first" for r in server.prompts):
                assert time.monotonic() < deadline, server.prompts
                time.sleep(0.02)
            s.sendall(b"4\r\nlast\r\n0\r\n\r\n")
            text = receive_until(s, lambda text: text.endswith(b"}"))
            assert b'"size": 9' in text
        body = os.urandom(1 << 20) * 100
        assert json.loads(c.request("POST", "/x", body).text)["sha256"] == hashlib.sha256(body).hexdigest()
        assert c.is_small()


def test_a_slow_reader_slows_its_sender(connect, world):
    with world.server() as server:
        c = connect(server)
        with socket.create_connection((c.host, c.port)) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            s.sendall(b"GET /bytes?n=300000000 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            time.sleep(1)
            assert c.is_small()
            assert c.get("/who").text == "a"  # nobody else is held up
            head = receive_until(s, lambda text: b"\r\n\r\n" in text)
            size = len(head) - head.index(b"\r\n\r\n") - 4
            while size < 300000000 and (part := s.recv(1 << 20)):
                size += len(part)
        assert size == 300000000 and c.is_small()


def test_who_leaves_ends_the_request(connect, world):
    """A client that hangs up while nothing is sent to it: the server must not work on for nobody."""
    with world.server() as server:
        c = connect(server)
        with socket.create_connection((c.host, c.port)) as s:
            s.sendall(b"GET /stream?n=1000&ms=100 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert s.recv(65536)
        deadline = time.monotonic() + 5
        while not server.prompts[-1].cut:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert c.get("/who").text == "a"


def test_an_answer_that_breaks_off_is_not_whole(connect, world):
    with world.server() as server:
        c = connect(server)
        original = server.application

        async def application(writer, request):
            if request.path == "/chunked":
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            elif request.path == "/sized":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
            elif request.path == "/none":
                pass
            else:
                return await original(writer, request)
            await writer.drain()
            raise ConnectionError
        server.application = application
        for target in ("/chunked", "/sized"):
            with pytest.raises(http.client.IncompleteRead):
                c.get(target)
        answer = c.request("POST", "/none", b"x")
        assert answer.status == 502 and json.loads(answer.text)["error"]["code"] == "unreachable"
        assert len([r for r in server.prompts if r.path == "/none"]) == 1  # a request that was sent is not sent twice
        assert c.get("/who").text == "a"


# --- Who may ask


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"},
                {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example:80", "Origin": "http://evil.example:80"},
                {"Sec-Fetch-Site": "same-origin", "Service-Worker": "script"}],
    ids=str)
def test_web_pages_of_others_are_refused(connect, world, headers):
    with world.server() as server:
        c = connect(server)
        for target in ("/v1/models", "/.well-known/sealboot/"):
            answer = c.request("GET", target, headers=headers)
            assert answer.status == 403 and answer.text.startswith("sealboot connect: "), answer.text
        assert c.request("POST", "/v1/chat/completions", PROMPT, headers).status == 403
        assert server.prompts == []


@pytest.mark.parametrize("head", [
    b"GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"GET /x HTTP/1.1\r\n",
    b"CONNECT evil.example:443 HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"TRACE /x HTTP/1.1\r\nHost: 127.0.0.1\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n",
    b"GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n"
], ids=lambda h: h.split(b"\r\n")[0].decode())
def test_what_is_no_request_to_the_server(connect, world, head):
    with world.server() as server:
        c = connect(server)
        with socket.create_connection((c.host, c.port)) as s:
            s.sendall(head + b"\r\n")
            assert re.match(rb"HTTP/1.1 4\d\d ", s.recv(4096))
        assert server.prompts == []


# --- What is refused, before a byte of a prompt has left


def refused(world, server, check, connect, code: int, words: str):
    """--check and the endpoint both refuse, for that reason; and no request came but for evidence."""
    done = check(server)
    assert done.returncode == code and words in done.stdout + done.stderr, done
    process = connect(server)
    assert not isinstance(process, Connect) and process.returncode == code, process
    assert words in process.log.read_text(), process.log.read_text()
    assert server.prompts == []


def test_a_relay_with_another_key(world, check, connect):
    """A man in the middle passes on the real document, fresh and for this nonce, under a key of his own."""
    with world.server() as real, world.server("relay") as relay:
        relay.document = real.document
        refused(world, relay, check, connect, MISMATCH, "another key: the document is bound to another TLS key")


def test_a_replayed_document(world, check, connect):
    with world.server() as server:
        old = server.document(os.urandom(32))
        server.document = lambda nonce: old
        refused(world, server, check, connect, MISMATCH, "a replayed document: ")


def test_a_document_without_a_nonce(world, check, connect):
    with world.server() as server:
        server.document = lambda nonce: type(server).document(server, None)
        refused(world, server, check, connect, MISMATCH, "a replayed document: the document holds none")


FIELDS = {
    "made for kms": ({"public_key": b"a recipient's key"},
                     "a document made for another purpose: the document holds one"),
    "made for kms alone": ({"public_key": b"a recipient's key",
                            "user_data": None}, "another key: the document holds none"),
    "no binding": ({"user_data": None}, "the document holds none: it is bound to no TLS key"),
    "another label": ({"user_data": b"sealboot tls v2\0" + bytes(32)}, "made for another purpose"),
    "a digest alone": ({"user_data": bytes(32)}, "made for another purpose"),
    "another key": ({"user_data": attested.user_data(b"another key")}, "bound to another TLS key"),
    "another nonce": ({"nonce": bytes(32)}, "a replayed document"),
}


@pytest.mark.parametrize("case", FIELDS)
def test_a_document_with_other_fields(world, check, connect, case):
    changes, words = FIELDS[case]
    with world.server() as server:
        honest = server.fields
        server.fields = lambda nonce: {**honest(nonce), **changes}
        refused(world, server, check, connect, MISMATCH, words)


@pytest.mark.parametrize("pcr, words", [(2, "another image: PCR2 "), (4, "another image: PCR4 "),
                                        (7, "another image: PCR7 "), (12, "another image: PCR12 "),
                                        (15, "another model: ")])
def test_another_image_or_model(world, check, connect, pcr, words):
    with world.server() as server:
        server.values[pcr] = os.urandom(48)
        refused(world, server, check, connect, MISMATCH, words)


def test_no_model(world, check, connect):
    with world.server() as server:
        server.values[15] = bytes(48)
        refused(world, server, check, connect, MISMATCH, "another model: PCR15 is zero: no model has been measured")


def test_a_reference_may_name_the_model(world, check, connect, tmp_path):
    with world.server() as server:
        (tmp_path / "with-model.json").write_text(attested.reference(world.values, 2, 4, 7, 12, 15))
        server.values[15] = os.urandom(48)
        done = check(server, "--reference", tmp_path / "with-model.json")
        assert done.returncode == MISMATCH and "another image: PCR15" not in done.stderr


def test_all_pcrs_zero(world, check, connect, tmp_path):
    """As of an emulator: even where the reference says zero."""
    with world.server() as server:
        server.values = attestation.zero_pcrs()
        refused(world, server, check, connect, MISMATCH, "PCR4 is zero or absent")
        (tmp_path / "zero.json").write_text(attested.reference(server.values))
        done = check(server, "--reference", tmp_path / "zero.json")
        assert done.returncode == MISMATCH and "a machine whose boot was not measured" in done.stderr


def test_an_expired_chain(world, check, connect):
    now = int(time.time())
    with world.server() as server:
        server.leaf = pki.hierarchy(now - 2 * 86400, root=world.root)
        refused(world, server, check, connect, DOCUMENT, "the clock, or an old document: ")


def test_another_root(world, check, connect):
    with world.server() as server:
        server.leaf = pki.hierarchy(int(time.time()), root=pki.root(int(time.time())))
        refused(world, server, check, connect, DOCUMENT, "not signed by AWS: ")


@pytest.mark.parametrize("document", [b"", b"{}", b"\xd2\x84", b"x" * 40000], ids=["empty", "json", "cut", "large"])
def test_no_document(world, check, connect, document):
    with world.server() as server:
        server.document = lambda nonce: document
        refused(world, server, check, connect, DOCUMENT, "no attestation document: ")


def test_a_server_without_evidence(world, check, connect):
    with world.server() as server:
        server.answer = lambda r: (404, {}, b"")
        refused(world, server, check, connect, DOCUMENT, "gives no attestation document: HTTP status 404")


def test_a_redirect_to_the_real_one(world, check, connect):
    """Evidence of elsewhere proves nothing of here."""
    with world.server() as real, world.server("other") as server:
        server.answer = lambda r: (302, {"Location": f"https://{real.address}{r.target}"}, b"")
        refused(world, server, check, connect, DOCUMENT, "HTTP status 302, which leads elsewhere")
        assert real.requests == []


def test_redirects_stay_in_the_channel(connect, world):
    with world.server() as server, world.server("other") as other:
        there = {
            "/in": "/who", "/same": f"https://{server.address}/who?x", "/out": f"https://{other.address}/who",
            "/plain": "http://x/", "/twice": "//evil.example/"
        }
        server.answer = lambda r: (307, {"Location": there[r.path]}, b"") if r.path in there else None
        c = connect(server)
        assert c.get("/in").getheader("Location") == "/who"
        assert c.get("/same").getheader("Location") == "/who?x"
        for path in ("/out", "/plain", "/twice"):
            answer = c.request("POST", path, PROMPT)
            assert (answer.status, answer.getheader("Location")) == (502, None)
            assert json.loads(answer.text)["error"]["code"] == "bad-answer" and "leads to another host" in answer.text
        assert other.requests == []


def test_tls_1_2(world, check, connect):
    key = attested.Key(world.directory, "old")
    context = key.context()
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
    with attested.Server(key, world.leaf, dict(world.values), context=context) as server:
        refused(world, server, check, connect, NETWORK, "no TLS 1.3 connection")
        assert server.requests == []


def test_plain_http(world, check, connect, build):
    with world.server(tls=False) as server:
        refused(world, server, check, connect, NETWORK, "no TLS 1.3 connection")
        assert server.requests == []
        done = subprocess.run([build / "policy/sealboot", "connect", *world.options, f"http://{server.address}"],
                              capture_output=True, text=True)
        assert done.returncode == USAGE and "is plain HTTP, which cannot be attested" in done.stderr


def test_no_session_is_resumed(connect, world):
    """Tickets are not taken, so no connection goes without showing its key."""
    key = attested.Key(world.directory, "tickets")
    context = key.context()
    context.num_tickets = 4
    with attested.Server(key, world.leaf, dict(world.values), context=context) as server:
        c = connect(server)
        for _ in range(3):
            server.answer = lambda r: (200, {"Connection": "close"}, b"ok") if r.path == "/x" else None
            assert c.get("/x").text == "ok"
        assert context.session_stats()["hits"] == 0
        assert server.connections >= 2


def test_a_swap_between_two_requests(connect, world):
    """The name leads to another machine later: the first byte that is sent there is a question."""
    with world.server() as real, world.server("liar") as liar, balancer([real]) as between:
        liar.document = real.document
        c = connect(between)
        assert c.get("/who").text == "a"
        between.targets[:] = [liar]
        between.cut()
        answer = c.ask()
        assert answer.status == 502 and json.loads(
            answer.text)["error"]["code"] in ("another-key", "refused"), answer.text
        assert liar.prompts == [] and "another key" in answer.text
        between.targets[:] = [real]
        assert c.ask().status == 200


# --- Through others


class Balancer:
    """Passes TCP on, to one target after the other; an HTTP proxy where `proxy` is set."""

    def __init__(self, targets, proxy=False):
        self.targets, self.proxy, self.count, self.open = targets, proxy, 0, []
        self.seen, self.answer = b"", b"HTTP/1.1 200 OK\r\n\r\n"

    def cut(self):
        for s in self.open:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def handle(self, client):
        self.open.append(client)
        if self.proxy:
            self.seen += receive_until(client, lambda text: b"\r\n\r\n" in text)
            client.sendall(self.answer)
        target = self.targets[self.count % len(self.targets)]
        self.count += 1
        try:
            server = socket.create_connection(("127.0.0.1", target if isinstance(target, int) else target.port))
        except OSError:
            return
        self.open.append(server)
        with server:
            while True:
                for s in select.select([client, server], [], [])[0]:
                    data = s.recv(65536)
                    if not data:
                        return
                    (server if s is client else client).sendall(data)


@contextlib.contextmanager
def balancer(targets, **more):
    b = Balancer(list(targets), **more)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            with contextlib.suppress(OSError):
                b.handle(self.request)

    class Listening(socketserver.ThreadingTCPServer):
        daemon_threads, request_queue_size, allow_reuse_address = True, 1024, True
    with Listening(("127.0.0.1", 0), Handler) as listening:
        b.address = f"127.0.0.1:{listening.server_address[1]}"
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield b
        listening.shutdown()
        b.cut()


def test_a_proxy_of_the_environment(connect, check, world):
    with world.server() as server, balancer([server], proxy=True) as proxy:
        c = connect(server, env={"HTTPS_PROXY": f"http://{proxy.address}"})
        assert c.get("/who").text == "a"
        assert proxy.seen.startswith(
            f"CONNECT {server.address} HTTP/1.1\r\n".encode()) and b"nobody else" not in proxy.seen
        done = check(server, env={"https_proxy": f"https://{proxy.address}"})
        assert done.returncode == USAGE and "https_proxy names a proxy that is reached by TLS" in done.stderr


def test_a_downgrade_through_a_proxy(world, connect, check):
    """The proxy answers itself, without TLS, or has a server of its own behind it."""
    with world.server(tls=False) as plain, world.server() as real, world.server("liar") as liar:
        liar.document = real.document
        for target, code, words in ((plain, NETWORK, "no TLS 1.3 connection"), (liar, MISMATCH, "another key")):
            with balancer([target], proxy=True) as proxy:
                done = check(real, env={"HTTPS_PROXY": f"http://{proxy.address}"})
                assert done.returncode == code and words in done.stderr, done
                assert target.prompts == []
        with balancer([real], proxy=True) as proxy:
            proxy.answer = b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"
            done = check(real, env={"HTTPS_PROXY": f"http://{proxy.address}"})
            assert done.returncode == NETWORK and "the proxy refused with HTTP status 407" in done.stderr, done


# --- HTTP/2, by a real nginx


@contextlib.contextmanager
def front(server: attested.Server, directory: pathlib.Path):
    """nginx with the server's key before a server that has no TLS: it has HTTP/2. Gives its address."""
    port = nginx.free_ports(1)[0]
    user = "user root;" if os.geteuid() == 0 else ""
    (directory / "nginx.conf"
     ).write_text(f"""{user} daemon off; pid {directory}/nginx.pid; worker_processes 1; worker_rlimit_nofile 16384;
        events {{ worker_connections 8192; }}
        http {{
            access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
            fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
            upstream server {{ server {server.address}; keepalive 64; }}
            server {{
                listen 127.0.0.1:{port} ssl http2; ssl_certificate {server.key.certificate_path};
                ssl_certificate_key {server.key.key_path}; ssl_protocols TLSv1.3; ssl_session_tickets off;
                client_max_body_size 0; proxy_request_buffering off; proxy_buffering off; proxy_http_version 1.1;
                location / {{ proxy_pass http://server; proxy_set_header Connection ""; }}
            }}
        }}""")
    process = subprocess.Popen([nginx.program(), "-e", "stderr", "-c", directory / "nginx.conf"],
                               stdin=subprocess.DEVNULL, stderr=open(directory / "nginx.log", "ab"))
    try:
        assert nginx.listens(port, process), (directory / "nginx.log").read_text()
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def test_http_2(connect, world, tmp_path):
    with world.server(tls=False) as server, front(server, tmp_path) as address:
        c = connect(address)
        assert json.loads(c.ask().text)["sha256"] == hashlib.sha256(PROMPT).hexdigest()
        body = os.urandom(3 << 20)
        assert json.loads(c.request("POST", "/x", body).text)["sha256"] == hashlib.sha256(body).hexdigest()
        chunks = iter([body[i:i + 100000] for i in range(0, len(body), 100000)])
        assert json.loads(c.request("PUT", "/x", chunks).text)["size"] == len(body)
        assert len(c.get("/bytes?n=20000000").text) == 20000000
        assert [i["protocol"] for i in c.status()["instances"]] == ["HTTP/2"]


def test_a_slow_reader_holds_up_nobody_on_http_2(connect, world, tmp_path):
    with world.server(tls=False) as server, front(server, tmp_path) as address:
        c = connect(address)
        with socket.create_connection((c.host, c.port)) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            s.sendall(b"GET /bytes?n=300000000 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            time.sleep(1)
            for _ in range(30):
                began = time.monotonic()
                assert c.get("/who").text == "a"
                assert time.monotonic() - began < 2
            assert c.is_small()
            size = 0
            while size < 300000000:
                data = s.recv(1 << 20)
                assert data, size
                size += len(data)
        assert c.is_small()


def test_a_thousand_streams(connect, world, tmp_path):
    """All at a time, none waits for another; within 64 MiB."""
    n, lines = 1000, 10
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16384), hard))
    peak = now = 0

    async def stream(host, port):
        nonlocal peak, now
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"GET /stream?n={lines}&ms=1000 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        first = await reader.readuntil(b"data: 0")
        now += 1
        peak = max(peak, now)
        text = first + await reader.read()
        now -= 1
        writer.close()
        return text

    async def streams(host, port):
        return await asyncio.gather(*[stream(host, port) for _ in range(n)])
    try:
        with world.server(tls=False) as server, front(server, tmp_path) as address:
            c = connect(address)
            texts = asyncio.run(streams(c.host, c.port))
            assert all(text.endswith(b"0\r\n\r\n") and text.count(b"\ndata: ") == lines for text in texts)
            assert peak == n and c.is_small(), peak
            assert c.get("/who").text == "a"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- Several instances, and time


@contextlib.contextmanager
def stream_balancer(servers, directory: pathlib.Path):
    """nginx's stream module: each connection goes to the next server."""
    if not any(
            pathlib.Path(d).joinpath("ngx_stream_module.so").exists()
            for d in ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules")):
        pytest.skip("nginx has no stream module: Debian's libnginx-mod-stream")
    port = nginx.free_ports(1)[0]
    names = "".join(f"server {s.address} max_fails=1 fail_timeout=2s;" for s in servers)
    (directory / "stream.conf").write_text(f"""load_module /usr/lib/nginx/modules/ngx_stream_module.so; daemon off;
        pid {directory}/stream.pid; worker_processes 1; events {{ worker_connections 1024; }}
        stream {{
            upstream all {{ {names} }}
            server {{ listen 127.0.0.1:{port}; proxy_pass all; proxy_connect_timeout 1s; }}
        }}""")
    process = subprocess.Popen([nginx.program(), "-e", "stderr", "-c", directory / "stream.conf"],
                               stdin=subprocess.DEVNULL, stderr=open(directory / "stream.log", "ab"))
    try:
        assert nginx.listens(port, process), (directory / "stream.log").read_text()
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def together(c, n: int, target="/stream?n=1&ms=300") -> list:
    """So many requests at a time."""
    answers = [None] * n

    def one(i):
        answers[i] = c.get(target)
    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    return answers


def test_three_instances_behind_a_balancer(connect, world, tmp_path):
    with contextlib.ExitStack() as ends:
        servers = [world.server(name) for name in "abc"]
        for s in servers[1:]:
            ends.enter_context(s)
        dying = contextlib.ExitStack()
        dying.enter_context(servers[0])
        address = ends.enter_context(stream_balancer(servers, tmp_path))
        c = connect(address)
        assert {a.status for a in together(c, 12)} == {200}
        assert all(s.prompts for s in servers), "not every instance was used"
        keys = {i["key"] for i in c.status()["instances"]}
        assert keys == {"sha256:" + hashlib.sha256(s.key.spki).hexdigest() for s in servers}
        dying.close()  # one is killed
        time.sleep(0.5)
        for _ in range(3):
            assert {a.status for a in together(c, 6)} == {200}
        # Another image takes its place, with a key of its own.
        servers[1].values[4] = os.urandom(48)
        before = len(servers[1].prompts)
        servers[1].key = replace_key(servers[1], world)
        for s in servers[1:]:
            s.drop()
        time.sleep(0.2)
        for _ in range(2):
            answers = together(c, 30)
            assert {a.status for a in answers} == {200}, [a.text for a in answers if a.status != 200]
        assert len(servers[1].prompts) == before
        refused = [i for i in c.status()["instances"] if i["state"] == "refused"]
        assert [i["reason"] for i in refused] == ["another image: PCR4 not as in the reference"]


def replace_key(server, world):
    key = attested.Key(world.directory, "another")
    server.context.load_cert_chain(key.certificate_path, key.key_path)
    return key


def test_attests_again_without_cutting_streams(connect, world, tmp_path):
    with world.server(tls=False) as server, front(server, tmp_path) as address:
        c = connect(address, "--max-age", "2")
        documents = server.documents
        answer = c.get("/stream?n=7&ms=1000")
        assert answer.status == 200 and answer.text.count("data: ") == 7
        assert server.documents >= documents + 3
        assert server.connections >= 1 and c.status()["verified"]


def test_an_instance_that_changes_is_cut(connect, world, tmp_path):
    with world.server(tls=False) as server, front(server, tmp_path) as address:
        c = connect(address, "--max-age", "2")
        threading.Timer(1, lambda: server.values.update({15: os.urandom(48)})).start()
        with pytest.raises(http.client.IncompleteRead):
            c.get("/stream?n=20&ms=500")
        answer = c.ask()
        assert answer.status == 502 and "another model" in answer.text
        assert not c.status()["verified"]


def test_an_instance_that_changes_is_cut_on_every_connection(connect, world):
    """On HTTP/1.1 a stream has its connection to itself: another connection finds out."""
    with world.server() as server:
        c = connect(server, "--max-age", "2")
        threading.Timer(1, lambda: server.values.update({15: os.urandom(48)})).start()
        threading.Timer(3, c.ask).start()
        began = time.monotonic()
        with pytest.raises(http.client.IncompleteRead):
            c.get("/stream?n=20&ms=500")
        assert time.monotonic() - began < 8 and not c.status()["verified"]


def test_without_new_evidence_nothing_is_sent(connect, world):
    with world.server() as server:
        c = connect(server, "--max-age", "2")
        assert c.get("/who").text == "a"
        server.answer = lambda r: (500, {}, b"") if r.path.startswith(attested.WELL_KNOWN) else None
        time.sleep(3)
        prompts = len(server.prompts)
        answer = c.ask()
        assert answer.status == 502 and "HTTP status 500" in answer.text and len(server.prompts) == prompts


def test_a_busy_server_is_waited_for(connect, world):
    with world.server() as server:
        server.limit = 2
        began = time.monotonic()
        c = connect(server)
        assert c.get("/who").text == "a" and 1.9 < time.monotonic() - began < 10


def test_an_unreachable_server(connect, check, world):
    port = nginx.free_ports(1)[0]
    done = check(f"127.0.0.1:{port}")
    assert done.returncode == NETWORK and "the server could not be reached" in done.stderr, done
    assert "AWS" not in done.stderr, done
    with world.server() as server, balancer([server]) as between:
        c = connect(between)
        between.targets[:] = [port]
        between.cut()
        answer = c.ask()
        assert answer.status == 502 and json.loads(answer.text)["error"]["code"] == "unreachable"
        between.targets[:] = [server]
        assert c.ask().status == 200


# --- Seeing it


def test_the_page(connect, world, monkeypatch):
    hostile = {**attested.REPORT, "model": {"name": "<script>alert(1)</script>"}}
    monkeypatch.setattr(attested, "REPORT", hostile)
    with world.server() as server:
        c = connect(server)
        c.ask()
        for target in ("/.well-known/sealboot/", "/.well-known/sealboot"):
            page = c.get(target)
            assert page.status == 200 and page.getheader("Content-Type") == "text/html; charset=utf-8"
        assert page.getheader("Content-Security-Policy").startswith("default-src 'none'; ")
        assert "Verified: requests go to 1 attested instance, and to no other." in page.text
        for words in (world.values[4].hex(), world.digest, attestation.MODULE_ID, "aws.nitro-tpm", "&lt;script&gt;",
                      "480 ms"):
            assert words in page.text, words
        assert "<script" not in page.text and "http-equiv" not in page.text and "src=" not in page.text
        status = json.loads(c.get("/.well-known/sealboot/", Accept="application/json").text)
        assert status == {**c.status(), "instances": status["instances"]} and status["verified"] is True
        instance, = status["instances"]
        assert (instance["state"], instance["reason"], instance["requests"]) == ("attested", None, 1)
        assert instance["key"] == "sha256:" + hashlib.sha256(server.key.spki).hexdigest()
        assert instance["verdict"]["document"]["pcrs"]["4"] == world.values[4].hex() and instance["report"] == hostile
        assert len(instance["certificates"]) == 5 and instance["document_age_seconds"] < 60
        assert c.request("POST", "/.well-known/sealboot/", b"x").status == 405


def test_check_prints_the_table_of_verify(check, world):
    with world.server() as server:
        done = check(server)
        names = re.findall(r"^(?:passed|FAILED|not checked) +([a-z-]+)", done.stdout, re.M)
        assert done.returncode == 0 and names[0] == "structure" and names[-1] == "drivers" and len(names) == 13, done
        assert f"https://{server.address} is authentic, and all that was asked for holds" in done.stdout
        told = json.loads(check(server, "--json").stdout)
        assert told["verified"] and {c["name"] for c in told["checks"]} == set(names)
        server.values[4] = bytes(47) + b"x"
        done = check(server)
        assert done.returncode == MISMATCH and "FAILED       pcrs" in done.stdout
        assert done.stderr == "sealboot connect: refused: another image: PCR4 not as in the reference\n"


@pytest.mark.parametrize("arguments, words",
                         [([], "--reference is needed"),
                          (["--reference", "IMAGE", "--cert", "x"], "--cert and --key belong together"),
                          (["--reference", "IMAGE", "--json"], "--json needs --check"),
                          (["--reference", "IMAGE", "--max-age", "0"], "1 to 86400 seconds"),
                          (["--reference", "IMAGE", "--model-digest", "00"], "a model digest is"),
                          (["--reference", "IMAGE", "--listen", "x"], "--listen takes"),
                          (["--reference", "IMAGE", "--cert", "x", "--key", "x", "--present"], "exclude each other")],
                         ids=str)
def test_usage(build, world, arguments, words):
    arguments = [str(world.directory / "image.json") if a == "IMAGE" else a for a in arguments]
    done = subprocess.run([build / "policy/sealboot", "connect", *arguments, "https://127.0.0.1:1"],
                          capture_output=True, text=True)
    assert done.returncode == USAGE and words in done.stderr, done


# --- The real gate


@pytest.fixture
def gate(build, stack):
    """gate(callers) starts a gate on the instance whose TPM the stack emulates; .trust are the options for it."""
    started = []

    def start(callers):
        stack.control.tpm_extend(2, sha384=b"\1" * 48)
        stack.control.tpm_extend(4, sha384=hashlib.sha384(b"image").digest())
        stack.control.tpm_extend(15, sha384=hashlib.sha384(b"model").digest())
        g = gates.Gate(build, stack.variables["TPM2TOOLS_TCTI"], {"callers": callers})
        reference = {"Measurements": {f"PCR{n}": stack.pcr(n) for n in (2, 4, 7, 12)}}
        g.trust = [
            "--reference",
            g.write("image.json", json.dumps(reference)), "--root", stack.variables["SEALBOOT_ATTESTATION_ROOT"],
            "--model-digest",
            hashlib.sha384(b"model").hexdigest()
        ]
        g.address = f"127.0.0.1:{g.port}"
        started.append(g)
        return g
    yield start
    for g in started:
        if g.processes:
            g.__exit__()


def test_the_real_gate(gate, connect, check, stack):
    g = gate({"anybody": True})
    g.__enter__()
    c = connect(g.address, trust=g.trust)
    answer = c.ask()
    assert answer.status == 200 and json.loads(answer.text)["path"] == "/v1/chat/completions", answer.text
    assert c.get("/slots").status == 404  # the gate's own answer comes through
    instance, = c.status()["instances"]
    assert (instance["protocol"], instance["state"]) == ("HTTP/2", "attested")
    with socket.create_connection((c.host, c.port)) as s:
        s.sendall(
            b'POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 16\r\n\r\n{"stream": true}')
        for i in range(3):
            g.upstream.step.release()
            receive_until(s, lambda text, i=i: b"data: %d" % i in text)


def test_an_instance_presents_itself(gate, connect, stack, tmp_path):
    """A attests B, B attests A: the caller shows the document of its own instance, and the gate accepts its image and
    model."""
    (tmp_path / "peer.json").write_text("{}")
    g = gate({
        "peers": [{
            "name": "caller", "references": str(tmp_path / "peer.json"),
            "root": stack.variables["SEALBOOT_ATTESTATION_ROOT"],
            "model_digests": ["sha384:" + hashlib.sha384(b"model").hexdigest()]
        }]
    })
    shutil.copy(g.path("image.json"), tmp_path / "peer.json")
    g.__enter__()
    c = connect(g.address, trust=g.trust)
    assert c.ask().status in (401, 403)
    c = connect(g.address, "--present", trust=g.trust, env={"TPM2TOOLS_TCTI": stack.variables["TPM2TOOLS_TCTI"]})
    answer = c.ask()
    assert answer.status == 200, (answer.text, g.path("gate.log").read_text())
