# SPDX-License-Identifier: Apache-2.0
"""nginx as a fast S3 for benchmarks: serves a directory with ETag, Range and If-Match over HTTP and HTTPS, and asks
nobody for a signature.

    with nginx.serve(directory) as server:
        server.http, server.https, server.ca      # http://127.0.0.1:PORT, https://127.0.0.1:PORT, PEM file"""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass

from . import pki

CONFIGURATION = """
worker_processes {workers};
daemon off;
pid {state}/pid;
error_log {state}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    client_body_temp_path {state}/body;
    proxy_temp_path {state}/proxy;
    fastcgi_temp_path {state}/fastcgi;
    uwsgi_temp_path {state}/uwsgi;
    scgi_temp_path {state}/scgi;
    default_type binary/octet-stream;
    ssl_certificate {state}/server.pem;
    ssl_certificate_key {state}/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:tls:4m;
    server {{
        listen 127.0.0.1:{http};
        listen 127.0.0.1:{https} ssl;
        root {directory};
        etag on;
    }}
}}
"""


@dataclass
class Server:
    http: str
    https: str
    ca: str
    pid: int


def free_ports(n: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def program() -> str:
    found = shutil.which("nginx") or "/usr/sbin/nginx"
    if not os.path.exists(found):
        raise FileNotFoundError("nginx is not installed (Debian: nginx-light)")
    return found


def write_certificates(state: str, *more: str):
    """For 127.0.0.1, localhost, and these addresses."""
    authority, server = pki.server(int(time.time()), ("127.0.0.1", *more))
    for name, data in (("ca.pem", authority.pem), ("server.pem", server.pem + authority.pem),
                       ("server.key", pki.private_pem(server))):
        with open(os.path.join(state, name), "wb") as f:
            f.write(data)


def listens(port: int, process: subprocess.Popen) -> bool:
    """Waits until it does, or has ended instead."""
    while process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        time.sleep(0.05)
    return False


def start(state: str, directory: str, workers: int) -> tuple[subprocess.Popen, int, int]:
    """A running nginx and its two ports; somebody else may have taken one meanwhile, so more than one try."""
    path, log = os.path.join(state, "nginx.conf"), os.path.join(state, "error.log")
    for _ in range(3):
        http, https = free_ports(2)
        with open(path, "w", encoding="utf-8") as f:
            f.write(("user root;" if os.geteuid() == 0 else "") + CONFIGURATION.format(
                workers=workers, state=state, http=http, https=https, directory=directory))
        with open(log, "ab") as output:
            process = subprocess.Popen([program(), "-p", state, "-c", path], stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=output)
        if listens(http, process):
            return process, http, https
    with open(log, encoding="utf-8") as f:
        raise RuntimeError(f"nginx did not start:\n{f.read()}")


@contextlib.contextmanager
def serve(directory: str | os.PathLike, workers: int = 1, addresses: tuple = ()):
    """addresses: further ones that clients may reach it by."""
    with tempfile.TemporaryDirectory(prefix="sealboot-nginx-") as state:
        os.chmod(state, 0o755)
        write_certificates(state, *addresses)
        process, http, https = start(state, os.path.realpath(directory), workers)
        try:
            yield Server(f"http://127.0.0.1:{http}", f"https://127.0.0.1:{https}", os.path.join(state, "ca.pem"),
                         process.pid)
        finally:
            process.terminate()
            process.wait(10)
