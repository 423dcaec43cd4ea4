# SPDX-License-Identifier: Apache-2.0
"""The initrd of a UKI, which runs before the root that verity guards: what of it the recipe does not account for.

An initrd is cpio archives in the "newc" format, one after another (Linux, Documentation/driver-api/early-userspace/
buffer-format.rst): the kernel unpacks them all, so a reader must not stop after the first."""

import hashlib
import os
import re
import stat
import struct

import recipe

FOLDERS = {"dev", "modules"}
FILES = {"init", "root.verity", "root.superblock"}
MODULE = re.compile(r"modules/[0-9]{2}-([^/]+)\.ko")


def entries(data):
    """{name: (mode, content)} of every archive in the unpacked initrd; a device's content is MAJOR:MINOR. A name that
    comes twice would hide the first one."""
    found, linked, at = {}, {}, 0
    while at < len(data):
        if not data[at]:
            at += 1
            continue
        if data[at:at + 6] != b"070701":
            raise ValueError(f"no cpio archive at byte {at} of the initrd")
        inode, mode, _, _, links, _, size, _, _, major, minor, length, _ = (int(data[at + i:at + i + 8], 16)
                                                                            for i in range(6, 110, 8))
        name, at = data[at + 110:at + 109 + length].decode(), (at + 110 + length + 3) & ~3
        content, at = data[at:at + size], (at + size + 3) & ~3
        if name == "TRAILER!!!":
            linked.clear()
            continue
        name = os.path.normpath(name)
        if name.startswith(("/", "..")) or name in found and not (stat.S_ISDIR(mode) and stat.S_ISDIR(found[name][0])):
            raise ValueError(f"{name} of the initrd is outside of it, or twice in it")
        found[name] = (mode, f"{major}:{minor}".encode() if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else content)
        if links > 1 and stat.S_ISREG(mode):  # hard links: the last one carries the data
            names = linked.setdefault(inode, [])
            names.append(name)
            found |= {other: (mode, content) for other in names}
    if at > len(data):
        raise ValueError("the initrd is cut")
    return found


def root_hash(found):
    """(hash, where the superblock is) of the root that the initrd opens. Its table is the superblock's, with the root
    hash and panic_on_corruption added (cryptsetup, "DMVerity": on-disk format 1)."""
    text, block = found["root.verity"][1].decode(), found["root.superblock"][1]
    read = re.fullmatch(
        r"([0-9]+)\n1 @ @ 4096 4096 ([0-9]+) ([0-9]+) sha256 ([0-9a-f]{64}) ([0-9a-f]{64}) 1 panic_on_corruption\n",
        text)
    if not read:
        raise ValueError(f"root.verity says {text}")
    offset, blocks, start = map(int, read.groups()[:3])
    magic, version, kind, _, algorithm, data_block, hash_block, said, salt_size, salt = struct.unpack(
        "<8sII16s32sIIQH6x256s", block[:344])
    header = (magic, version, kind, algorithm.rstrip(b"\0"), data_block, hash_block, said)
    if header != (b"verity\0\0", 1, 1, b"sha256", 4096, 4096, blocks) \
            or salt[:salt_size].hex() != read[5] or offset != blocks * 4096 or start != blocks + 1:
        raise ValueError("root.verity and root.superblock say different things")
    return read[4], offset


def foreign(found, packaged):
    """What of the initrd is not as the recipe has it: [reason]. Its program is compiled from this tree, and is the only
    one."""
    wrong = [f"{name} is not of it" for name, (mode, content) in found.items() if not (
        stat.S_ISDIR(mode) and name in FOLDERS or stat.S_ISREG(mode) and (name in FILES or MODULE.fullmatch(name))
        or name == "dev/console" and stat.S_ISCHR(mode) and content == b"5:1")]
    wrong += [f"{name} is missing" for name in sorted(FILES - set(found))]
    modules = {MODULE.fullmatch(name)[1]: data for name, (_, data) in found.items() if MODULE.fullmatch(name)}
    sums = {(re.sub(r".*/|\.ko(\.xz)?$", "", name), value[2]) for name, value in packaged.found.items()
            if name.endswith((".ko", ".ko.xz"))}
    wrong += [f"the module {name} is not the kernel's" for name, data in modules.items()
              if (name, hashlib.sha256(data).hexdigest()) not in sums]
    wrong += [
        f"the module {name} is on no list" for name in recipe.unasked(modules, [recipe.KIWI / "keep/modules.initrd"])
    ]
    if "init" in found and dynamic(found["init"][1]):
        wrong.append("init is not one static program")
    return sorted(wrong)


def dynamic(program):
    """Is this something else than an ELF program without an interpreter?"""
    if program[:5] != b"\x7fELF\x02":
        return True
    start, = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    return any(struct.unpack_from("<I", program, start + i * size)[0] == 3 for i in range(count))
