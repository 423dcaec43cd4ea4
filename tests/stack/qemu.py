# SPDX-License-Identifier: Apache-2.0
"""The NitroTPM as a virtual machine's TPM: QEMU's side of the emulator.

QEMU's `-tpmdev emulator` speaks swtpm's control protocol (swtpm_ioctls(3)) over a Unix socket and hands over, by
CMD_SET_DATAFD, the socket on which it will send TPM commands. That one stays here, so that the guest's commands pass
through the emulator; everything else on the control channel (reset, locality, established bit, buffer size) is the real
TPM's to answer. Complete for tests/vm:

    tests/stack/up --qemu ...      stack.json's "qemu_tpm" names the control socket
    qemu-system-x86_64 -chardev socket,id=tpm,path=DIR/qemu-tpm.socket -tpmdev emulator,id=tpm0,chardev=tpm \\
        -device tpm-crb,tpmdev=tpm0

One machine at a time. When it ends, the TPM stays as it was, for tests to look at; the next machine resets it. NV
lasts."""

import os
import socket
import struct
import threading

from . import swtpm
from .tpm_server import serve

SUCCESS = bytes(4)


class Server:
    def __init__(self, path: str, tpm, faults):
        self.tpm, self.faults = tpm, faults
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        os.chmod(path, 0o600)
        self.listener.listen(1)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            machine, _ = self.listener.accept()
            with machine:
                try:
                    self.control(machine)
                except OSError:
                    pass

    def control(self, machine: socket.socket):
        data = None
        try:
            while True:
                message, descriptors, _, _ = socket.recv_fds(machine, 4096, 1)
                if not message:
                    return
                command = struct.unpack_from(">I", message)[0]
                if command == swtpm.CMD_SET_DATAFD and descriptors:
                    data = socket.socket(fileno=descriptors[0])
                    threading.Thread(target=serve, args=(data, self.tpm, self.faults), daemon=True).start()
                    machine.sendall(SUCCESS)
                else:
                    machine.sendall(self.answer(command, message))
        finally:
            if data:
                data.shutdown(socket.SHUT_RDWR)

    def answer(self, command: int, message: bytes) -> bytes:
        if command == swtpm.CMD_SHUTDOWN:
            return SUCCESS
        with self.tpm.lock:
            return self.tpm.real.control(message)
