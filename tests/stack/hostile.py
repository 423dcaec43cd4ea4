# SPDX-License-Identifier: Apache-2.0
"""A key store over TLS that can lie: the answer to an attested Decrypt, or whatever a test sends instead of it.

Its honest answer opens the model, so that a test which changes one thing shows that this one thing is refused. It
verifies nothing, keeps every request, and counts the connections."""

import base64
import contextlib
import json
import pathlib
import socket
import ssl
import threading

from . import attestation_check, cms, pki

NULL = object()  # null, as a member of a JSON object


def http(body: bytes | str | dict, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    """A whole answer; a dict becomes JSON."""
    body = json.dumps(body, default=lambda _: None) if isinstance(body, dict) else body
    body = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body) if length is None else length}"]
    return "".join(line + "\r\n" for line in lines).encode() + b"\r\n" + body


def refusal(kind, message="words", status: str = "400 Bad Request", *headers: str) -> bytes:
    return http({"__type": kind, "message": message}, status, *headers)


def tls(directory: pathlib.Path, identity: pki.Identity, *chain: pki.Identity) -> ssl.SSLContext:
    """What a server shows that has this certificate."""
    path = directory / f"{identity.fingerprint}.pem"
    path.write_bytes(b"".join(i.pem for i in (identity, *chain)) + pki.private_pem(identity))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


class Request:
    def __init__(self, headers: dict[str, str], body: bytes):
        self.headers, self.members = headers, json.loads(body)

    @property
    def document(self) -> bytes:
        return base64.b64decode(self.members["Recipient"]["AttestationDocument"])

    @property
    def public_key(self) -> bytes:
        return attestation_check.fields(attestation_check.envelope(self.document)[1])["public_key"]


class HostileStore:
    """with HostileStore(arn, data_key, tls(...)) as store: ... store.url, store.requests, store.connections.

    `answer(request)` gives the bytes of an answer, or pieces that are sent one by one. `hang_up`: the connection ends
    behind it. `context`: None is a server of plain HTTP. `mute`: it accepts connections, and says nothing."""

    def __init__(self, arn: str, data_key: bytes, context: ssl.SSLContext | None):
        self.arn, self.data_key, self.usual, self.open = arn, data_key, context, set()
        self.ended = threading.Event()
        self.calm()

    def calm(self):
        self.answer, self.hang_up, self.mute, self.context = self.honest, False, False, self.usual
        self.requests, self.connections = [], 0

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for held in (self.listener, *self.open):
            with contextlib.suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)
            held.close()

    # --- answers

    def members(self, request: Request, **change) -> dict:
        """Those of the honest answer, changed: None removes one, NULL is null."""
        members = {"KeyId": self.arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
                   "CiphertextForRecipient": self.envelope(request)}
        return {name: value for name, value in (members | change).items() if value is not None}

    def envelope(self, request: Request, data_key: bytes | None = None) -> str:
        return base64.b64encode(cms.envelop(data_key or self.data_key, request.public_key)).decode()

    def honest(self, request: Request) -> bytes:
        return http(self.members(request))

    def drip(self, piece: bytes, seconds: float = 0):
        """The same again and again, until the other side has had enough."""
        while not self.ended.wait(seconds):
            yield piece

    # --- connections

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections += 1
                self.open.add(connection)
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket):
        if self.mute:
            return
        with contextlib.suppress(OSError, EOFError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not self.context:
                connection.recv(65536)
                connection.sendall(http("", "400 Bad Request"))
                connection.close()
                return
            secure = self.context.wrap_socket(connection, server_side=True)
            self.open.add(secure)
            with secure, secure.makefile("rb") as reader:
                while self.exchange(reader, secure):
                    pass

    def exchange(self, reader, connection) -> bool:
        if not reader.readline():
            return False
        headers = {}
        while line := reader.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        request = Request(headers, reader.read(int(headers["content-length"])))
        self.requests.append(request)
        answer = self.answer(request)
        for piece in [answer] if isinstance(answer, bytes) else answer:
            connection.sendall(piece)
        return not self.hang_up
