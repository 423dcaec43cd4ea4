# SPDX-License-Identifier: Apache-2.0
"""The UKI of an image: what of it is code, and whether that is the stub's and the kernel's of the locked packages."""

import hashlib
import struct

import recipe

# What kiwi/disk-stage adds to the stub. All else is the stub.
PAYLOAD = {".osrel", ".uname", ".cmdline", ".linux", ".initrd"}


def parsed(data):
    """(machine, entry point, [(name, address, content)]) of a PE image (Microsoft, "PE Format")."""
    header, = struct.unpack_from("<I", data, 60)
    if data[header:header + 4] != b"PE\0\0":
        raise ValueError("the UKI is no PE image")
    machine, count = struct.unpack_from("<HH", data, header + 4)
    optional, = struct.unpack_from("<H", data, header + 20)
    entry, = struct.unpack_from("<I", data, header + 40)
    sections = []
    for i in range(count):
        name, size, address, stored, start = struct.unpack_from("<8sIIII", data, header + 24 + optional + 40 * i)
        sections.append((name.rstrip(b"\0").decode(), address, data[start:start + min(size, stored)]))
    return machine, entry, sections


def code(data):
    """What a stub is: its machine, its entry point, and the sections that a build does not add."""
    machine, entry, sections = parsed(data)
    return machine, entry, [section for section in sections if section[0] not in PAYLOAD]


def foreign(data, os_release, packaged):
    """What of a UKI is not as the recipe has it: [reason]."""
    added = {name: content for name, _, content in parsed(data)[2]}
    release = added.get(".uname", b"").decode(errors="replace")
    kernel, wrong = packaged.found.get(f"boot/vmlinuz-{release}"), []
    if kernel is None or kernel[2] != hashlib.sha256(added.get(".linux", b"")).hexdigest():
        wrong.append(f"its kernel is not the locked package's for {release or 'no release'}")
    if code(data) not in [code(stub) for stub in packaged.stubs()]:
        wrong.append("its stub is not the locked package's")
    if added.get(".osrel") != os_release:
        wrong.append("its .osrel is not the root's os-release")
    return wrong
