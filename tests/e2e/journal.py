# SPDX-License-Identifier: Apache-2.0
"""A journal for one program: what it sends to journald, where no journald may run."""

import pathlib
import queue
import shutil
import socket
import struct
import tempfile
import threading


def entry(data: bytes) -> dict[str, str]:
    """The native protocol: NAME=VALUE and a newline; or NAME, a newline, the length of the value, the value."""
    fields = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size, = struct.unpack_from("<Q", rest)
            value, rest = rest[8:8 + size], rest[9 + size:]
        fields[name.decode()] = value.decode()
        data = rest
    return fields


class Journal:
    """with Journal() as journal: a program that runs under journal.wrapper has it, in a mount namespace of its own."""

    def __enter__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="sealboot-journal-", dir="/dev/shm"))
        self.received, self.socket = queue.SimpleQueue(), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.directory / "socket"))
        self.thread = threading.Thread(target=self.read)
        self.thread.start()
        mounts = f"mount -t tmpfs tmpfs /run && mkdir /run/systemd && ln -s {self.directory} /run/systemd/journal"
        self.wrapper = ("unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh")
        return self

    def __exit__(self, *_):
        self.send(b"")
        self.thread.join()
        self.socket.close()
        shutil.rmtree(self.directory)

    def send(self, data: bytes):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.sendto(data, str(self.directory / "socket"))

    def read(self):
        """On a thread: few datagrams fit into the socket, and whoever sends one more waits."""
        while data := self.socket.recv(1 << 20):
            self.received.put(entry(data))

    def failures(self) -> list[dict[str, str]]:
        """Those since the last call, of programs that have ended."""
        self.send(b"THE_END=1\n")
        entries = iter(lambda: self.received.get(timeout=10), {"THE_END": "1"})
        return [e for e in entries if "SEALBOOT_FAILURE" in e]
