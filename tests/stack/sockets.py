# SPDX-License-Identifier: Apache-2.0
"""Reading from sockets whose other side may close too early."""

import socket


def receive_until(s: socket.socket, is_whole) -> bytes:
    """What came until is_whole(what came) holds."""
    data = bytearray()
    while not is_whole(data):
        part = s.recv(1 << 20)
        if not part:
            raise ConnectionError(f"closed after {len(data)} bytes: {bytes(data[-200:])}")
        data += part
    return bytes(data)
