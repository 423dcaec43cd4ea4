# SPDX-License-Identifier: Apache-2.0
"""Serves the emulator to clients of the swtpm TCTI: a data port, and the control port right after it.

One connection at a time; others wait until it is closed. The swtpm TCTI opens one for each command, so that a
client's end cannot be seen: what it left behind in the TPM is flushed when room is needed (SWTPM.command)."""

import socket
import struct
import threading
import time

from . import swtpm, wire


def two_ports() -> tuple[socket.socket, socket.socket]:
    """Two listening sockets on consecutive loopback ports."""
    for _ in range(100):
        data = socket.create_server(("127.0.0.1", 0))
        try:
            return data, socket.create_server(("127.0.0.1", data.getsockname()[1] + 1))
        except (OSError, OverflowError):
            data.close()
    raise OSError("no two consecutive free ports")


def serve(client: socket.socket, tpm, faults):
    """Answers TPM commands until the other side closes the connection."""
    try:
        while step(client, tpm, faults):
            pass
    except (EOFError, OSError):
        pass


def step(client: socket.socket, tpm, faults) -> bool:
    data = swtpm.receive_frame(client)
    struck = faults.take("tpm", wire.NAMES.get(wire.code_of(data), "other"), "", ("latency", "close", "rc"))
    if "latency" in struck:
        time.sleep(struck["latency"].get("seconds", 1))
    if "close" in struck:
        return False
    client.sendall(wire.error(struck["rc"].get("rc")) if "rc" in struck else tpm.execute(data))
    return True


class Server:
    def __init__(self, tpm, faults):
        self.tpm, self.faults = tpm, faults
        self.data, self.control = two_ports()
        self.port = self.data.getsockname()[1]
        for target in (self.serve_data, self.serve_control):
            threading.Thread(target=target, daemon=True).start()

    @property
    def tcti(self) -> str:
        return f"swtpm:host=127.0.0.1,port={self.port}"

    def serve_data(self):
        while True:
            client, _ = self.data.accept()
            with client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                serve(client, self.tpm, self.faults)

    def serve_control(self):
        while True:
            client, _ = self.control.accept()
            threading.Thread(target=self.control_client, args=(client,), daemon=True).start()

    def control_client(self, client: socket.socket):
        with client:
            try:
                while message := client.recv(4096):
                    client.sendall(control_answer(self.tpm, message))
            except OSError:
                pass


def control_answer(tpm, message: bytes) -> bytes:
    """A client may not take the TPM away from the next one."""
    command = struct.unpack_from(">I", message)[0] if len(message) >= 4 else 0
    if command in (swtpm.CMD_SHUTDOWN, swtpm.CMD_STOP):
        return bytes(4)
    return tpm.real.control(message)
