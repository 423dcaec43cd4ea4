# SPDX-License-Identifier: Apache-2.0
"""The firmware's event logs of real boots (tests/fixtures/measure), and the same with more events in them."""

import hashlib
import pathlib
import struct
import uuid

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "fixtures/measure"


def log_of(name):
    return FIXTURES / f"{name}.log"


def node(kind, subtype, body=b""):
    return struct.pack("<BBH", kind, subtype, 4 + len(body)) + body


END, ACPI = node(0x7f, 0xff), node(2, 1, bytes(8))
PCI = node(1, 1, b"\0\3")  # function, device
HD = node(4, 1, struct.pack("<IQQ", 1, 2048, 4096) + bytes(16) + b"\2\2")
FILE = node(4, 4, "\\EFI\\BOOT\\drv.efi\0".encode("utf-16le"))
ROM = node(4, 8, bytes(20))
DRIVER, RUNTIME_DRIVER, VARIABLE = 0x80000004, 0x80000005, 0x80000002


def image_event(*nodes):
    path = b"".join(nodes) + END
    return struct.pack("<QQQQ", 1 << 30, 4096, 0, len(path)) + path


def variable_event(name, value):
    guid = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c").bytes_le
    return guid + struct.pack("<QQ", len(name), len(value)) + name.encode("utf-16le") + value


def load_option(title, *nodes):
    path = b"".join(nodes) + END
    return struct.pack("<IH", 1, len(path)) + f"{title}\0".encode("utf-16le") + path


def log_with(tmp_path, name, *events):
    """The log of a boot, and what else was measured before the firmware's separators: (PCR, type, data, measured
    bytes)."""
    log = log_of(name).read_bytes()
    separator = log.index(struct.pack("<II", 0, 4))
    algorithms, = struct.unpack_from("<I", log, separator + 8)
    sizes, at = {0x4: 20, 0xb: 32, 0xc: 48, 0xd: 64}, separator + 12
    ids = []
    for _ in range(algorithms):
        ids.append(struct.unpack_from("<H", log, at)[0])
        at += 2 + sizes[ids[-1]]
    names = {0x4: "sha1", 0xb: "sha256", 0xc: "sha384", 0xd: "sha512"}
    more = b"".join(
        struct.pack("<III", pcr, kind, algorithms)
        + b"".join(struct.pack("<H", i) + hashlib.new(names[i], measured).digest()
                   for i in ids) + struct.pack("<I", len(data)) + data for pcr, kind, data, measured in events)
    path = tmp_path / "more.log"
    path.write_bytes(log[:separator] + more + log[separator:])
    return path
