# SPDX-License-Identifier: Apache-2.0
"""The initrd of a UKI, which runs before the root that verity guards: what of it neither the root's files nor dracut's account for.

An initrd is cpio archives in the "newc" format, one after another (Linux, Documentation/driver-api/early-userspace/
buffer-format.rst): the kernel unpacks them all, so a reader must not stop after the first."""

import os
import re
import stat

DRACUT = "usr/lib/dracut"
# What dracut and KIWI's modules write when they make an initrd. No code but this library, in which dracut fills in three settings.
MADE = re.compile(r"""
    \.profile | etc/(passwd-?|group-?|gshadow|shadow|\.pwd\.lock|ld\.so\.cache|fstab\.empty|veritytab|conf\.d/systemd\.conf)
    | usr/lib/dracut/(build-parameter\.txt|modules\.txt|need-initqueue|dracut-[0-9-]+) | usr/lib/initrd-release
    | usr/lib/modules/[^/]+/modules\.[a-z.]+ | usr/lib/dracut-crypt-lib\.sh | dev/(console|kmsg|null|random|urandom)
    """, re.VERBOSE)
# Links that are not the root's own: (place, target).
LINKS = [(re.compile(place), re.compile(target)) for place, target in (
    (r"init", r"usr/lib/systemd/systemd"), (r"etc/mtab", r"/proc/self/mounts"), (r"var/(lock|run)", r"\.\./run(/lock)?"),
    (r"(etc|usr/lib)/(initrd|os)-release", r"(\.\./usr/lib/)?initrd-release"), (r"usr/bin/loginctl", r"true"),
    (r"usr/bin/dracut-getargs?", r"dracut-util"), (r"usr/lib/dracut/hooks", r"(\.\./){3}var/lib/dracut/hooks"),
    (r"usr/bin/sh", r"bash"), (r"(usr/bin|etc/alternatives)/awk", r"\.\./\.\./(etc/alternatives/awk|usr/bin/mawk)"),
    (r"usr/lib/systemd/system/default\.target", r"initrd\.target"),
    (r"etc/systemd/system/[^/]+\.(wants|requires)/([^/]+)", r"/usr/lib/systemd/system/[^/]+"),
)]


def entries(data):
    """{name: (mode, content)} of every archive in the unpacked initrd. A name that comes twice would hide the first one."""
    found, linked, at = {}, {}, 0
    while at < len(data):
        if not data[at]:
            at += 1
            continue
        if data[at:at + 6] != b"070701":
            raise ValueError(f"no cpio archive at byte {at} of the initrd")
        inode, mode, _, _, links, _, size, _, _, _, _, length, _ = (int(data[at + i:at + i + 8], 16) for i in range(6, 110, 8))
        name, at = data[at + 110:at + 109 + length].decode(), (at + 110 + length + 3) & ~3
        content, at = data[at:at + size], (at + size + 3) & ~3
        if name == "TRAILER!!!":
            linked.clear()
            continue
        name = os.path.normpath(name)
        if name.startswith(("/", "..")) or name in found and not (stat.S_ISDIR(mode) and stat.S_ISDIR(found[name][0])):
            raise ValueError(f"{name} of the initrd is outside of it, or twice in it")
        found[name] = (mode, content)
        if links > 1 and stat.S_ISREG(mode):  # hard links: the last one carries the data
            names = linked.setdefault(inode, [])
            names.append(name)
            found |= {other: (mode, content) for other in names}
    if at > len(data):
        raise ValueError("the initrd is cut")
    return found


def root_hash(found):
    """(hash, where the hashes begin) of the root that the initrd opens, from its veritytab: one line, as KIWI writes it."""
    line = found["etc/veritytab"][1].decode()
    read = re.fullmatch(r"verityroot (UUID=[0-9a-f-]+) \1 ([0-9a-f]{64}) hash-offset=([0-9]+),hash-block-size=4096\s*", line)
    if not read:
        raise ValueError(f"veritytab says {line}")
    return read[2], int(read[3])


def wanted(found):
    """The units that links of the initrd make another want."""
    return {name.rsplit("/", 1)[-1] for name in found if re.search(r"/systemd/system/[^/]+\.(wants|requires|upholds)/", name)}


def foreign(found, root):
    """What of the initrd is neither the root's file of that name, nor one of dracut's there, nor made by dracut: [name]."""
    modules = {p.read_bytes() for p in (root / DRACUT).rglob("*") if p.is_file()}
    return sorted(name for name, (mode, content) in found.items() if not (
        stat.S_ISDIR(mode) or MADE.fullmatch(name) and not stat.S_ISLNK(mode) or known(name, mode, content, root, modules)))


def known(name, mode, content, root, modules):
    path = root / name
    if stat.S_ISLNK(mode):
        target = content.decode()
        return path.is_symlink() and os.readlink(path) == target or \
            any(place.fullmatch(name) and allowed.fullmatch(target) for place, allowed in LINKS)
    return stat.S_ISREG(mode) and (content in modules or path.is_file() and path.read_bytes() == content)
