# SPDX-License-Identifier: Apache-2.0
"""The background process of tests/stack/up: starts the stack, says so, and ends when told or when its parent has
gone."""

import json
import os
import select
import shutil
import signal
import sys

from .local_aws import Stack

STATE = ("tpm", "s3", "stack.json", "qemu-tpm.socket", "attestation-root.pem", "tls-ca.pem", "tls-server.pem",
         "tls-server.key", "log", "audit.jsonl", "pid")


def watch(pid: int) -> int:
    """A descriptor that becomes readable when that process ends."""
    return os.pidfd_open(pid) if pid else os.pipe()[0]


def serve(directory: str, parent: int, ready: int, made_directory: bool, **options):
    """Writes {"environment": ..., facts} to the descriptor ready once everything listens."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stack = Stack(directory, **options)
    summary = {
        "environment": stack.environment(), "pid": os.getpid(), "made_directory": made_directory, **stack.facts()
    }
    with open(os.path.join(directory, "stack.json"), "w", encoding="utf-8") as f:
        json.dump(summary, f, indent=2)
    with open(os.path.join(directory, "pid"), "w", encoding="ascii") as f:
        f.write(f"{os.getpid()}\n")
    os.write(ready, json.dumps(summary).encode())
    os.close(ready)
    parent_gone = watch(parent)
    woken, _, _ = select.select([wake_read, parent_gone], [], [])
    stack.stop()
    if parent_gone in woken:
        remove(directory)


def spawn(directory: str, parent: int, **options) -> dict:
    """Starts it as a session of its own and returns its summary; raises RuntimeError with its last words."""
    os.makedirs(directory, exist_ok=True)
    ready_read, ready_write = os.pipe()
    if os.fork() == 0:
        os.close(ready_read)
        detach(os.path.join(directory, "log"))
        if os.fork() == 0:
            run(directory, parent, ready_write, options)
        os._exit(0)
    os.close(ready_write)
    os.wait()
    with os.fdopen(ready_read, "rb") as f:
        said = f.read()
    if not said:
        with open(os.path.join(directory, "log"), encoding="utf-8") as log:
            raise RuntimeError(f"the stack did not start:\n{log.read()}")
    return json.loads(said)


def run(directory: str, parent: int, ready: int, options: dict):
    try:
        serve(directory, parent, ready, **options)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def detach(log: str):
    os.setsid()
    null, out = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for fd, source in ((0, null), (1, out), (2, out)):
        os.dup2(source, fd)


def remove(directory: str):
    """All of a directory that up made; of another one, what the stack put there, and the directory itself if it is
    empty."""
    with open(os.path.join(directory, "stack.json"), encoding="utf-8") as f:
        names = os.listdir(directory) if json.load(f)["made_directory"] else STATE
    for name in names:
        path = os.path.join(directory, name)
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)
    if not os.listdir(directory):
        os.rmdir(directory)


def stop(directory: str, timeout: float = 10) -> bool:
    """Ends the stack of that directory; False if none runs there."""
    try:
        with open(os.path.join(directory, "pid"), encoding="ascii") as f:
            pid = int(f.read())
        process = os.pidfd_open(pid)
    except (FileNotFoundError, ProcessLookupError):
        return False
    signal.pidfd_send_signal(process, signal.SIGTERM)
    if not select.select([process], [], [], timeout)[0]:
        signal.pidfd_send_signal(process, signal.SIGKILL)
    os.close(process)
    os.unlink(os.path.join(directory, "pid"))
    return True
