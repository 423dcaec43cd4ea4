# SPDX-License-Identifier: Apache-2.0
"""A server on an attested instance, and every liar who pretends to be one: TLS 1.3 under a key that its documents name,
HTTP/1.1.

The documents are those of attestation.py, under a root of the test's. What a test changes (`document`, the TLS context)
makes the server lie. It keeps every request, so that a test can show that no prompt arrived."""

import asyncio
import contextlib
import datetime
import hashlib
import json
import pathlib
import ssl
import threading
import time
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from . import attestation, pki

FIRMWARE_ALONE = hashlib.sha384(bytes(48) + hashlib.sha384(bytes(4)).digest()).digest()  # PCR2: a separator
WELL_KNOWN = "/.well-known/sealboot/"
REPORT = {
    "agent": "9.9.9", "outcome": "published", "duration_ms": 2500, "model": {"name": "tiny", "version": "1"},
    "stages": [{"name": "configure", "began_ms": 0, "duration_ms": 12},
               {"name": "release", "began_ms": 12, "duration_ms": 480}]
}


def user_data(spki: bytes) -> bytes:
    return b"sealboot tls v1\0" + hashlib.sha256(spki).digest()


def pcrs(image: bytes = b"image", model: bytes | None = b"model") -> dict[int, bytes]:
    """Of an instance that booted this image and measured this model."""
    digest = hashlib.sha384(model).digest() if model else None
    return {
        **attestation.zero_pcrs(), 2: FIRMWARE_ALONE, 4: hashlib.sha384(image).digest(),
        7: hashlib.sha384(b"keys").digest(), 12: bytes(48),
        15: hashlib.sha384(bytes(48) + digest).digest() if digest else bytes(48)
    }


def reference(values: dict[int, bytes], *indices) -> str:
    return json.dumps({"Measurements": {f"PCR{n}": values[n].hex() for n in indices or (2, 4, 7, 12)}})


class Key:
    """A TLS key with its self-signed certificate, as files that ssl and nginx read."""

    def __init__(self, directory: pathlib.Path, name: str = "server"):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sealboot")])
        now = datetime.datetime.now(datetime.timezone.utc)
        certificate = x509.CertificateBuilder().subject_name(subject).issuer_name(subject) \
            .public_key(key.public_key()).serial_number(x509.random_serial_number()) \
            .not_valid_before(now - datetime.timedelta(hours=1)) \
            .not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
        self.spki = key.public_key().public_bytes(serialization.Encoding.DER,
                                                  serialization.PublicFormat.SubjectPublicKeyInfo)
        self.certificate_path, self.key_path = directory / f"{name}.crt", directory / f"{name}.key"
        self.certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.key_path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                    serialization.NoEncryption()))

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0
        context.load_cert_chain(self.certificate_path, self.key_path)
        return context


class Request:
    def __init__(self, method: str, target: str, headers: dict[str, str]):
        self.method, self.target, self.headers, self.body = method, target, headers, b""
        self.path, _, self.query = target.partition("?")
        self.parameters = dict(urllib.parse.parse_qsl(self.query))
        self.cut = False


class Server:
    """with Server(Key(...), leaf, pcrs(...)) as server: ... server.address, server.requests.

    tls False: plain HTTP, for nginx to stand before it. `answer(request)` gives (status, headers, body) or None for the
    usual."""
    def __init__(self, key: Key, leaf: pki.Identity, values: dict[int, bytes], *, context: ssl.SSLContext | None = None,
                 tls=True, name="a"):
        self.key, self.leaf, self.values, self.name = key, leaf, values, name
        self.context = (context or key.context()) if tls else None
        self.requests, self.connections, self.answer, self.cached, self.limit = [], 0, lambda request: None, None, None
        self.documents, self.writers = 0, set()
        self.loop = asyncio.new_event_loop()
        self.started = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        assert self.started.wait(10)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    def run(self):
        asyncio.set_event_loop(self.loop)
        listening = self.loop.run_until_complete(
            asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=self.context, backlog=2048))
        self.port = listening.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.loop.set_exception_handler(lambda *_: None)
        self.started.set()
        self.loop.run_forever()
        listening.close()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def drop(self):
        """Ends every connection, as a machine that is replaced does."""
        for writer in list(self.writers):
            self.loop.call_soon_threadsafe(writer.transport.abort)

    # --- what it says of itself

    def fields(self, nonce: bytes | None) -> dict:
        return {"user_data": user_data(self.key.spki), "nonce": nonce}

    def document(self, nonce: bytes | None) -> bytes:
        self.documents += 1
        return attestation.document(self.leaf, self.values, **self.fields(nonce))

    def evidence(self, request: Request):
        if request.path == WELL_KNOWN + "report":
            return 200, {"Content-Type": "application/json"}, json.dumps(REPORT).encode()
        if request.path != WELL_KNOWN + "attestation":
            return None
        nonce = bytes.fromhex(request.parameters["nonce"]) if "nonce" in request.parameters else None
        if nonce is not None and self.limit is not None:
            self.limit -= 1
            if self.limit >= 0:
                return 429, {"Retry-After": "1"}, b""
        if nonce is None:
            if not self.cached or self.cached[0] < time.monotonic() - 60:
                self.cached = time.monotonic(), self.document(None)
            return 200, {"Content-Type": "application/cbor"}, self.cached[1]
        return 200, {"Content-Type": "application/cbor"}, self.document(nonce)

    @property
    def prompts(self) -> list[Request]:
        """What arrived beside questions about the server itself."""
        return [r for r in self.requests if not r.path.startswith(WELL_KNOWN)]

    # --- HTTP/1.1

    async def serve(self, reader, writer):
        self.connections += 1
        self.writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            while await self.exchange(reader, writer):
                pass
        self.writers.discard(writer)
        with contextlib.suppress(Exception):
            writer.close()

    async def exchange(self, reader, writer) -> bool:
        line = (await reader.readline()).decode("latin-1").split()
        if len(line) != 3 or not line[2].startswith("HTTP/"):  # such as the first bytes of TLS, which are random
            return False
        headers = {}
        while (header := await reader.readline()) not in (b"\r\n", b""):
            name, _, value = header.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        request = Request(line[0], line[1], headers)
        self.requests.append(request)
        await self.body(reader, request)
        answer = self.answer(request) or self.evidence(request)
        if answer:
            await self.whole(writer, request, *answer)
        else:
            await self.application(writer, request)
        return headers.get("connection", "").lower() != "close"

    async def body(self, reader, request: Request):
        digest, size = hashlib.sha256(), 0
        if request.headers.get("transfer-encoding", "").lower() == "chunked":
            while (n := int((await reader.readline()).split(b";")[0], 16)) > 0:
                data = await reader.readexactly(n)
                digest.update(data)
                request.body, size = (request.body + data)[:65536], size + n
                await reader.readline()
            await reader.readline()
        left = int(request.headers.get("content-length", 0))
        while left > 0:
            data = await reader.read(min(left, 65536))
            if not data:
                raise ConnectionError
            digest.update(data)
            request.body, left, size = (request.body + data)[:65536], left - len(data), size + len(data)
        request.digest, request.size = digest.hexdigest(), size

    async def whole(self, writer, request, status, headers, body):
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        length = "" if status in (204, 304) else f"Content-Length: {len(body)}\r\n"
        writer.write(f"HTTP/1.1 {status} Status\r\n{head}{length}\r\n".encode()
                     + (b"" if request.method == "HEAD" else body))
        await writer.drain()

    async def chunk(self, writer, data: bytes):
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await writer.drain()

    async def application(self, writer, request):
        """/stream?n=&ms=: events; /bytes?n=: so many bytes; /who: its name; anything else says what was sent."""
        if request.path == "/stream":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            try:
                for i in range(int(request.parameters.get("n", 3))):
                    await self.chunk(writer, f"data: {i}\n\n".encode())
                    await asyncio.sleep(int(request.parameters.get("ms", 50)) / 1000)
            except (ConnectionError, ssl.SSLError):
                request.cut = True
                raise
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        elif request.path == "/bytes":
            left = int(request.parameters["n"])
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n\r\n".encode())
            while left > 0:
                writer.write(b"x" * min(left, 65536))
                left -= min(left, 65536)
                await writer.drain()
        elif request.path == "/who":
            await self.whole(writer, request, 200, {"Content-Type": "text/plain"}, self.name.encode())
        else:
            told = {
                "method": request.method, "target": request.target, "headers": request.headers, "size": request.size,
                "sha256": request.digest, "name": self.name
            }
            await self.whole(writer, request, 200, {"Content-Type": "application/json"}, json.dumps(told).encode())
