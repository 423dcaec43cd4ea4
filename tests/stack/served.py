# SPDX-License-Identifier: Apache-2.0
"""An attested instance as consumers reach it: the gate and nginx before an inference server, on the local stack's TPM.
And the consumer's end, `sealboot connect`.

    served.boot(stack)
    with served.gate(build, stack, directory, upstream) as instance, served.connect(instance) as endpoint: ..."""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass

from . import nginx

SEPARATOR = hashlib.sha384(bytes(4)).digest()
IMAGE = {2: [SEPARATOR], 3: [SEPARATOR], 4: [hashlib.sha384(b"an image").digest()],
         7: [hashlib.sha384(b"its keys").digest()]}
MODEL = hashlib.sha384(b"a model").digest()


def boot(stack, image: dict[int, list[bytes]] | None = None, model: bytes | None = MODEL):
    """A TPM that was just switched on, then the measurements of an image and, unless None, of the model that its agent
    loaded."""
    stack.control.tpm_reset()
    for n, digests in (IMAGE if image is None else image).items():
        for digest in digests:
            stack.control.tpm_extend(n, sha384=digest)
    if model:
        stack.control.tpm_extend(15, sha384=model)


@dataclass
class Instance:
    build: pathlib.Path
    stack: object
    directory: pathlib.Path
    port: int
    pid: int
    nginx_pid: int
    reference: pathlib.Path
    digest: str

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def expectations(self) -> list[str]:
        """What a consumer who accepts this image and this model says to `sealboot connect`."""
        return ["--reference", str(self.reference), "--model-digest", self.digest, "--root",
                self.stack.variables["SEALBOOT_ATTESTATION_ROOT"]]


def reference_of(stack) -> str:
    """The image's own reference measurements."""
    pcrs = {f"PCR{n}": stack.pcr(n) for n in (2, 3, 4, 7, 12)}
    return json.dumps({"Measurements": {"HashAlgorithm": "SHA384 { ... }", **pcrs}})


def listening(path: pathlib.Path, kind) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX, kind)
    bound.bind(str(path))
    if kind == socket.SOCK_STREAM:
        bound.listen(1024)
    return bound


def wait_for(condition, process: subprocess.Popen, what, limit: float = 30):
    """what: the program's name, or a function that tells what it said."""
    end = time.monotonic() + limit
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"this did not start: {what() if callable(what) else what}")
        time.sleep(0.02)


@contextlib.contextmanager
def ended(process: subprocess.Popen):
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def with_sockets(sockets, *arguments, environment: dict | None = None, **more) -> subprocess.Popen:
    """A program that finds these as its descriptors from 3 on, as systemd hands them over."""
    high = [fcntl.fcntl(s.fileno(), fcntl.F_DUPFD_CLOEXEC, 20) for s in sockets]
    moves = " ".join(f"{3 + i}<&{number} {number}<&-" for i, number in enumerate(high))
    process = subprocess.Popen(["bash", "-c", f'LISTEN_PID=$$ exec "$@" {moves}', "bash", *arguments], pass_fds=high,
                               stdin=subprocess.DEVNULL, **more,
                               env={**(os.environ if environment is None else environment),
                                    "LISTEN_FDS": str(len(sockets))})
    for number in high:
        os.close(number)
    return process


@contextlib.contextmanager
def program(build, directory: pathlib.Path, configuration: pathlib.Path):
    """sealboot-gate with its two sockets, as systemd starts it."""
    with listening(directory / "gate.sock", socket.SOCK_STREAM) as asked, \
            listening(directory / "log", socket.SOCK_DGRAM) as log:
        process = with_sockets([asked, log], build / "agent/gate/sealboot-gate", "--directory", directory,
                               configuration)
    with ended(process):
        wait_for((directory / "certificate.pem").exists, process, "sealboot-gate")
        yield process


def nginx_configuration(build, directory: pathlib.Path, configuration: pathlib.Path) -> str:
    """What follows from this gate.json, with nginx's directories below this one."""
    done = subprocess.run([build / "agent/gate/sealboot-gate", "--nginx-configuration", "--directory", directory,
                           configuration], check=True, stdout=subprocess.PIPE, text=True)
    user = "user root;\n" if os.geteuid() == 0 else ""
    return user + done.stdout.replace("/run/sealboot-nginx", str(directory))


def configure(build, stack, directory: pathlib.Path, upstream, port: int, more: dict) -> pathlib.Path:
    """Writes gate.json, and the nginx.conf that follows from it, with its directories below this one."""
    configuration = directory / "gate.json"
    configuration.write_text(json.dumps({
        "callers": {"anybody": True}, "paths": {"server": "llama-server"}, "upstream": f"unix:{upstream}",
        "port": port, "ipv6": False, "tcti": stack.variables["TPM2TOOLS_TCTI"],
        "limits": {"attestations_per_minute": 6000, "attestations_per_minute_and_address": 6000}, **more}))
    (directory / "nginx.conf").write_text(nginx_configuration(build, directory, configuration))
    return configuration


@contextlib.contextmanager
def gate(build, stack, directory: pathlib.Path, upstream, digest: bytes = MODEL, **more):
    """The gate and its nginx on a free port, before what answers on the Unix socket `upstream`. more: keys of
    gate.json."""
    directory.mkdir()
    port, = nginx.free_ports(1)
    configuration = configure(build, stack, directory, upstream, port, more)
    reference, log = directory / "reference.json", directory / "nginx.log"
    reference.write_text(reference_of(stack))
    with program(build, directory, configuration) as running, open(log, "wb") as output, \
            ended(subprocess.Popen([nginx.program(), "-p", directory, "-c", directory / "nginx.conf"],
                                   stdin=subprocess.DEVNULL, stdout=output, stderr=output)) as front:
        if not nginx.listens(port, front):
            raise RuntimeError(f"nginx did not start:\n{log.read_text()}")
        yield Instance(build, stack, directory, port, running.pid, front.pid, reference, f"sha384:{digest.hex()}")


RELAY = """
daemon off;
pid {state}/pid;
error_log {state}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {state}/body;
    proxy_temp_path {state}/proxy;
    fastcgi_temp_path {state}/fastcgi;
    uwsgi_temp_path {state}/uwsgi;
    scgi_temp_path {state}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_protocols TLSv1.3;
        ssl_certificate {state}/server.pem;
        ssl_certificate_key {state}/server.key;
        location / {{ proxy_pass {to}; proxy_ssl_protocols TLSv1.3; }}
    }}
}}
"""


@contextlib.contextmanager
def relay(instance: Instance):
    """A man in the middle: TLS under his own key, for which an authority vouches, and behind it all that the real
    instance says. Yields his address."""
    with tempfile.TemporaryDirectory(prefix="sealboot-relay-") as state:
        port, = nginx.free_ports(1)
        nginx.write_certificates(state)
        configuration = pathlib.Path(state, "nginx.conf")
        user = "user root;\n" if os.geteuid() == 0 else ""
        configuration.write_text(user + RELAY.format(state=state, port=port, to=instance.address))
        with ended(subprocess.Popen([nginx.program(), "-p", state, "-c", configuration], stdin=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL)) as process:
            if not nginx.listens(port, process):
                raise RuntimeError("the relay did not start")
            yield f"https://127.0.0.1:{port}"


@dataclass
class Endpoint:
    """The consumer's end of a channel; as text, http://127.0.0.1:PORT."""
    port: int
    pid: int
    log: pathlib.Path

    def __str__(self):
        return f"http://127.0.0.1:{self.port}"


def command(instance: Instance, address: str | None, *options) -> list:
    program = instance.build / "policy/sealboot"
    return [program, "connect", *instance.expectations, *options, address or instance.address]


def check(instance: Instance, *options, address: str | None = None) -> subprocess.CompletedProcess:
    """sealboot connect --check: what it says, and its exit code. The address should be of the instance's image and
    model, and is by default its own."""
    return subprocess.run(command(instance, address, "--check", *options), env=instance.stack.env,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def refusal(instance: Instance, address: str) -> subprocess.CompletedProcess:
    """The same without --check, from a server that must be refused: the program ends by itself."""
    port, = nginx.free_ports(1)
    return subprocess.run(command(instance, address, "--listen", f"127.0.0.1:{port}"), env=instance.stack.env,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)


@contextlib.contextmanager
def connect(instance: Instance, *options):
    """`sealboot connect`, which has verified the instance and answers."""
    port, = nginx.free_ports(1)
    log = instance.directory / f"connect-{port}.log"
    with open(log, "wb") as output, \
            ended(subprocess.Popen(command(instance, None, "--listen", f"127.0.0.1:{port}", *options),
                                   env=instance.stack.env, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=output)) as process:
        wait_for(lambda: b"Listening on" in log.read_bytes(), process, lambda: f"sealboot connect\n{log.read_text()}")
        yield Endpoint(port, process.pid, log)
