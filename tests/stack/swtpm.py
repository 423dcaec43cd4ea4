# SPDX-License-Identifier: Apache-2.0
"""A real software TPM as a child process, reached over two socket pairs: when we are gone, so is it."""

import os
import socket
import struct
import subprocess
import threading

from . import wire

CMD_INIT, CMD_SHUTDOWN, CMD_STOP, CMD_SET_DATAFD = 2, 3, 14, 16     # swtpm_ioctls(3)
HASHES = {0x0004: ("sha1", 20), 0x000B: ("sha256", 32), 0x000C: ("sha384", 48), 0x000D: ("sha512", 64)}
SHA384 = 0x000C
RH_LOCKOUT = 0x4000000A
EMPTY_PASSWORD = struct.pack(">IHBH", wire.RS_PW, 0, 0, 0)
FULL = {0x902: ("transient",), 0x903: ("loaded-session",)}   # TPM_RC_OBJECT_MEMORY, TPM_RC_SESSION_MEMORY
HANDLE_TYPES = {"transient": 0x80000000, "loaded-session": 0x02000000, "nv": 0x01000000}


def receive(sock: socket.socket, n: int) -> bytes:
    data = bytearray()
    while len(data) < n:
        part = sock.recv(n - len(data))
        if not part:
            raise EOFError("connection closed")
        data += part
    return bytes(data)


def receive_frame(sock: socket.socket) -> bytes:
    """One TPM command or response: tag, size, code, body."""
    head = receive(sock, 10)
    size = struct.unpack_from(">I", head, 2)[0]
    if not 10 <= size <= 65536:
        raise EOFError(f"frame of {size} bytes")
    return head + receive(sock, size - 10)


class SWTPM:
    """startup: send TPM2_Startup after each reset; without it that is the firmware's to do."""

    def __init__(self, state: str, *, startup: bool = True):
        os.makedirs(state, exist_ok=True)
        self.lock, self.startup = threading.RLock(), startup
        self.data, data_child = socket.socketpair()
        self.control_socket, control_child = socket.socketpair()
        self.process = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--fd", str(data_child.fileno()),
             "--ctrl", f"type=unixio,clientfd={control_child.fileno()}", "--flags",
             "not-need-init,startup-clear" if startup else "not-need-init", "--log", f"file={state}/log,level=1"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=[data_child.fileno(), control_child.fileno()])
        data_child.close()
        control_child.close()

    def transmit(self, data: bytes) -> bytes:
        with self.lock:
            self.data.sendall(data)
            return receive_frame(self.data)

    def command(self, data: bytes) -> bytes:
        """Makes room, as a resource manager would, where clients that have gone left objects and sessions loaded."""
        with self.lock:
            response = self.transmit(data)
            for kind in FULL.get(wire.code_of(response), ()):
                for handle in self.handles(kind):
                    packed = struct.pack(">I", handle)
                    if packed not in data:
                        self.transmit(wire.command(wire.NO_SESSIONS, wire.CC["FlushContext"], packed))
                        response = self.transmit(data)
                    if wire.code_of(response) not in FULL:
                        return response
            return response

    def control(self, data: bytes) -> bytes:
        """A control message and its answer; swtpm takes and gives each in one piece."""
        with self.lock:
            self.control_socket.sendall(data)
            return self.control_socket.recv(4096)

    def reset(self):
        """Power off and on: PCRs and sessions go, NV stays."""
        with self.lock:
            if self.startup:
                self.command(wire.command(wire.NO_SESSIONS, wire.CC["Shutdown"], b"\0\0"))
            self.control(struct.pack(">II", CMD_INIT, 0))
            if self.startup:
                self.command(wire.command(wire.NO_SESSIONS, wire.CC["Startup"], b"\0\0"))

    def forgive(self):
        """Forgets wrong auth values: after three a TPM refuses every authorization for hours, even across resets."""
        self.command(wire.authorized(wire.CC["DictionaryAttackLockReset"], (RH_LOCKOUT,), EMPTY_PASSWORD, b""))

    def handles(self, kind: str) -> list[int]:
        body = struct.pack(">III", 1, HANDLE_TYPES[kind], 254)
        response = self.transmit(wire.command(wire.NO_SESSIONS, wire.CC["GetCapability"], body))
        if wire.code_of(response) != 0:
            return []
        count = struct.unpack_from(">I", response, 15)[0]
        return list(struct.unpack_from(f">{count}I", response, 19))

    def pcrs(self, algorithm: int = SHA384) -> dict[int, bytes]:
        """All 24 PCRs of one bank; a TPM gives at most eight at a time."""
        values, wanted = {}, set(range(24))
        while wanted:
            mask = sum(1 << n for n in wanted).to_bytes(3, "little")
            body = struct.pack(">IHB", 1, algorithm, 3) + mask
            response = self.command(wire.command(wire.NO_SESSIONS, wire.CC["PCR_Read"], body))
            if wire.code_of(response) != 0:
                raise OSError(f"PCR_Read: {wire.code_of(response):#x}")
            given = int.from_bytes(response[21:24], "little")
            indices = [n for n in range(24) if given >> n & 1]
            offset = 28
            for n in indices:
                values[n], offset = wire.sized(response, offset)
            if not indices:
                raise OSError("bank is not active")
            wanted -= set(indices)
        return dict(sorted(values.items()))

    def extend(self, index: int, digests: dict[int, bytes]):
        body = struct.pack(">I", len(digests)) + b"".join(struct.pack(">H", a) + d for a, d in digests.items())
        response = self.command(wire.authorized(wire.CC["PCR_Extend"], (index,), EMPTY_PASSWORD, body))
        if wire.code_of(response) != 0:
            raise OSError(f"PCR_Extend: {wire.code_of(response):#x}")

    def stop(self):
        self.data.close()
        self.control_socket.close()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
