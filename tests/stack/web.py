# SPDX-License-Identifier: Apache-2.0
"""The HTTP server under the local AWS: threads, keep-alive, bodies from files by sendfile, faults at the wire."""

import http.client
import http.server
import os
import socket
import ssl
import struct
import threading
import time
import traceback
import urllib.parse
import uuid
from dataclasses import dataclass, field

CHUNK = 1 << 20


@dataclass
class FilePart:
    """A body that lies in a file."""
    file: object
    offset: int
    size: int


@dataclass
class Response:
    status: int
    body: bytes | FilePart = b""
    headers: dict = field(default_factory=dict)
    length: int | None = None       # Content-Length of a HEAD answer
    faults: dict = field(default_factory=dict)


class Reset(Exception):
    """Drop the connection without a further word."""


def framed(digits: str | bytes, base: int) -> int:
    """A length that frames a body; without a sound one the connection is of no further use."""
    try:
        if (length := int(digits, base)) >= 0:
            return length
    except ValueError:
        pass
    raise Reset


class Request:
    def __init__(self, handler: "Handler"):
        self.method, self.target = handler.command, handler.path
        self.raw_path, _, self.raw_query = self.target.partition("?")
        self.path = urllib.parse.unquote(self.raw_path, errors="surrogateescape")
        self.query = [tuple(urllib.parse.unquote_plus(part) for part in pair.partition("=")[::2])
                      for pair in self.raw_query.split("&") if pair]
        self.header_list = [(name.lower(), value.strip()) for name, value in handler.headers.items()]
        self.headers = {}
        for name, value in self.header_list:
            self.headers[name] = f"{self.headers[name]},{value}" if name in self.headers else value
        self.secure, self.peer = handler.server.secure, handler.client_address[0]
        self.handler, self.unread = handler, self.body_length()
        self.id = str(uuid.uuid4())

    def argument(self, name: str, default: str | None = None) -> str | None:
        return next((value for key, value in self.query if key == name), default)

    def body_length(self) -> int | None:
        """None: chunked."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return None
        return framed(self.headers.get("content-length", "0"), 10)

    def chunks(self):
        """The body piece by piece."""
        if self.unread is None:
            yield from self.transfer_chunks()
            self.unread = 0
        while self.unread:
            part = self.handler.rfile.read(min(CHUNK, self.unread))
            if not part:
                raise Reset
            self.unread -= len(part)
            yield part

    def transfer_chunks(self):
        lines = self.handler.rfile
        while size := framed(lines.readline(100).split(b";")[0].strip(), 16):
            yield lines.read(size)
            lines.readline(8)
        while lines.readline(8192).strip():
            pass

    def body(self, maximum: int = 8 << 20) -> bytes:
        data = bytearray()
        for part in self.chunks():
            data += part
            if len(data) > maximum:
                raise Reset
        return bytes(data)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 120
    wbufsize = 0

    def setup(self):
        if self.server.context:
            self.request.settimeout(30)
            self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self):
        try:
            super().handle()
        except (OSError, Reset, ValueError):
            self.close_connection = True

    def finish(self):
        try:
            super().finish()
        finally:
            if self.server.secure:          # wrap_socket() took the descriptor from the socket that the server closes
                self.connection.close()

    def log_message(self, *_):
        pass

    def serve(self):
        try:
            request = Request(self)
            response = self.server.answer(request)
            self.drain(request)
            self.send(response)
        except Reset:
            self.reset()
        except OSError:
            self.close_connection = True
        except Exception:           # a fault of the stack itself: tests look into its log
            traceback.print_exc()
            self.close_connection = True
            self.send(Response(500))

    do_GET = do_PUT = do_POST = do_PATCH = do_HEAD = do_DELETE = serve

    def drain(self, request: Request):
        """An answer given before the body was read: small bodies are skipped, larger ones end the connection."""
        if request.unread is None or request.unread > 64 << 20:
            self.close_connection = True
        else:
            for _ in request.chunks():
                pass

    def head(self, response: Response, size: int) -> bytes:
        headers = {"Date": self.server.date(), "Server": "sealboot-stack", **response.headers}
        if response.status not in (204, 304):
            headers.setdefault("Content-Length", str(size))
        if self.close_connection:
            headers["Connection"] = "close"
        reason = http.client.responses.get(response.status, "Unknown")
        lines = [f"HTTP/1.1 {response.status} {reason}"] + [f"{k}: {v}" for k, v in headers.items() if v is not None]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")

    def send(self, response: Response):
        faults = response.faults
        if "latency" in faults:
            time.sleep(faults["latency"].get("seconds", 1))
        if "reset" in faults and faults["reset"].get("after") is None:
            raise Reset
        body = response.body
        size = body.size if isinstance(body, FilePart) else len(body)
        head = self.head(response, size if response.length is None else response.length)
        if self.command == "HEAD":
            size = 0
        cut = next((faults[kind] for kind in ("reset", "truncate") if kind in faults), None)
        end = size if cut is None else min(size, cut.get("after", 0))
        if isinstance(body, FilePart):
            self.connection.sendall(head)
            with body.file:
                self.send_file(body, end, faults)
        else:
            self.send_bytes(head, body[:end], faults)
        if cut is not None:
            if cut.kind == "reset":
                raise Reset
            self.close_connection = True

    def send_bytes(self, head: bytes, body: bytes, faults: dict):
        if "slow" not in faults:
            self.connection.sendall(head + body)
            return
        self.connection.sendall(head)
        for start in range(0, len(body), 64):
            time.sleep(min(64, len(body) - start) / faults["slow"].get("rate", 1000))
            self.connection.sendall(body[start:start + 64])

    def send_file(self, part: FilePart, end: int, faults: dict):
        corrupt = faults.get("corrupt")
        at = corrupt.get("offset", 0) if corrupt else -1
        rate = faults["slow"].get("rate", 1 << 20) if "slow" in faults else None
        offset, stop = part.offset, part.offset + end
        while offset < stop:
            size = stop - offset if not rate else min(stop - offset, max(rate // 10, 1))
            if offset <= at < offset + size and at > offset:
                size = at - offset
            if offset == at:
                byte = os.pread(part.file.fileno(), 1, at)
                self.connection.sendall(bytes([byte[0] ^ 1]))
                size = 1
            else:
                self.copy(part.file, offset, size)
            offset += size
            if rate:
                time.sleep(size / rate)

    def copy(self, file, offset: int, size: int):
        if not self.server.secure:
            self.connection.sendfile(file, offset, size)
            return
        while size:
            piece = os.pread(file.fileno(), min(size, CHUNK), offset)
            if not piece:
                raise Reset
            self.connection.sendall(piece)
            offset, size = offset + len(piece), size - len(piece)

    def reset(self):
        self.close_connection = True
        try:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        except OSError:
            pass


class Server(http.server.ThreadingHTTPServer):
    """answer(request) -> Response; clock gives the Date header."""
    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, answer, clock, context: ssl.SSLContext | None = None, port: int = 0):
        self.answer, self.context, self.secure, self.date = answer, context, context is not None, clock.http
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True).start()

    def handle_error(self, request, client_address):
        pass


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context
