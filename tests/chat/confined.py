# SPDX-License-Identifier: Apache-2.0
"""A real server as its unit confines it, without systemd: a user that owns nothing, no capability, a network namespace
of its own with only loopback. What it serves on a TCP port there is carried to a Unix socket by the proxy that images
use, systemd-socket-proxyd."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

from .llama import LIKE_SYSTEMD, NOBODY, Server, Unavailable, healthy

PROXY = "/usr/lib/systemd/systemd-socket-proxyd"
PORT = 8080
# The model is the agent's file, which this user can only read.
INSIDE = (f'mount --make-rprivate / && ip link set lo up && exec setpriv --reuid {NOBODY} --regid {NOBODY} '
          '--clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs -- "$@"')


def anonymous_kib(pid: int) -> int:
    """Memory of the process's own; 0 where it is gone."""
    with contextlib.suppress(OSError, StopIteration):
        rows = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(row.split()[1]) for row in rows if row.startswith("Anonymous:"))
    return 0


class Tree(Server):
    """A server of several processes."""

    def processes(self) -> list[int]:
        found, waiting = [], [self.pid]
        while waiting:
            found.append(waiting.pop())
            with contextlib.suppress(OSError):
                for task in pathlib.Path(f"/proc/{found[-1]}/task").iterdir():
                    waiting += map(int, (task / "children").read_text().split())
        return found

    def private_mib(self) -> int:
        return sum(map(anonymous_kib, self.processes())) // 1024

    def maps(self, file: pathlib.Path) -> bool:
        inode = str(file.stat().st_ino)
        for pid in self.processes():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
                if any(line.split()[4] == inode and line.rstrip().endswith(file.name) for line in maps):
                    return True
        return False

    def kill(self):
        end_all(self.processes())

    def ports(self) -> list[int]:
        """The TCP ports on which something listens in the server's namespace."""
        rows = self.proc("net/tcp")[1:] + self.proc("net/tcp6")[1:]
        return [int(row.split()[1].rpartition(":")[2], 16) for row in rows if row.split()[3] == "0A"]


def stop(process):
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_all(processes: list[int]):
    """What of these still runs, as systemd ends a control group."""
    for pid in processes:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def proxied(pid: int, path: pathlib.Path):
    """Carries what connects to the socket `path` to PORT in the network namespace of the process."""
    with socket.socket(socket.AF_UNIX) as bound, open(path.with_suffix(".proxy.log"), "wb") as log:
        bound.bind(str(path))
        bound.listen(128)
        process = subprocess.Popen(
            ["nsenter", f"--net=/proc/{pid}/ns/net", "bash", "-c",
             f"LISTEN_PID=$$ exec {PROXY} 127.0.0.1:{PORT} 3<&{bound.fileno()}"],
            pass_fds=[bound.fileno()], env={**os.environ, "LISTEN_FDS": "1"}, stdin=subprocess.DEVNULL, stderr=log,
            **LIKE_SYSTEMD)
    try:
        yield
    finally:
        stop(process)


@contextlib.contextmanager
def serve(command: list, variables: dict[str, str], directory: pathlib.Path, health: str, limit: float = 120):
    """Runs the command with nothing in its environment but the variables; its home and its log are in `directory`."""
    if not pathlib.Path(PROXY).exists():
        raise Unavailable(f"there is no {PROXY}")
    home, log, path = directory / "home", directory / "server.log", directory / "server.sock"
    home.mkdir()
    shutil.chown(home, int(NOBODY), int(NOBODY))
    with open(log, "wb") as output:
        process = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", INSIDE, "sh", "env", "-i", f"HOME={home}", "PATH=/usr/bin:/bin",
             *(f"{k}={v}" for k, v in variables.items()), *map(str, command)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, **LIKE_SYSTEMD)
    try:
        while os.readlink(f"/proc/{process.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            time.sleep(0.01)
        with proxied(process.pid, path):
            end = time.monotonic() + limit
            while not healthy(path, health):
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')[-2000:]}")
                time.sleep(0.05)
            yield Tree(process, path)
    finally:
        left = Tree(process, path).processes()[1:] if process.poll() is None else []
        stop(process)
        end_all(left)
