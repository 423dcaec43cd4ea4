# SPDX-License-Identifier: Apache-2.0
"""A disk of the operator's: whatever a system might assemble, mount, swap to or resume from, one in each partition."""

import hashlib
import json
import struct
import uuid
import zlib

from machine import STUBS, script

ROOT_LABEL = "sealboot"  # the label that the recipe gives its own root
SWAP = "5ea1b007-0000-4000-8000-0000000000a1"
HIBERNATED = "5ea1b007-0000-4000-8000-0000000000a2"
ESP = "5ea1b007-0000-4000-8000-0000000000e5"
MEGABYTE = 1 << 20
# Partition types of the discoverable partitions specification, and of what else sgdisk has a code for.
LINUX, ROOT, USR = "8300", "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "8484680c-9521-48c6-9c11-b0720656f69e"
VAR, TMP = "4d21b016-b534-45c2-a9fb-5c16e091fd2d", "7ec6f557-3bc5-4aca-b293-16ef5df639d1"


def lvm(size):
    """A physical volume that is a whole volume group with one linear logical volume."""
    pv, vg, lv = (hashlib.sha256(name).hexdigest()[:32] for name in (b"pv", b"vg", b"lv"))

    def dashed(identity):
        return "-".join(identity[a:b] for a, b in zip((0, 6, 10, 14, 18, 22, 26), (6, 10, 14, 18, 22, 26, 32)))

    def crc(data):
        return zlib.crc32(data, 0xf597a6cf ^ 0xffffffff) ^ 0xffffffff
    text = f"""operator {{
id = "{dashed(vg)}"
seqno = 1
format = "lvm2"
status = ["RESIZEABLE", "READ", "WRITE"]
flags = []
extent_size = 2048
max_lv = 0
max_pv = 0
metadata_copies = 0
physical_volumes {{
pv0 {{
id = "{dashed(pv)}"
device = "/dev/vdz"
status = ["ALLOCATABLE"]
flags = []
dev_size = {size // 512}
pe_start = 2048
pe_count = {size // MEGABYTE - 1}
}}
}}
logical_volumes {{
root {{
id = "{dashed(lv)}"
status = ["READ", "WRITE", "VISIBLE"]
flags = []
segment_count = 1
segment1 {{
start_extent = 0
extent_count = 1
type = "striped"
stripe_count = 1
stripes = ["pv0", 0]
}}
}}
}}
}}
contents = "Text Format Volume Group"
version = 1
""".encode() + b"\0"
    rest = struct.pack("<I8s32sQ QQ QQ QQ QQ", 32, b"LVM2 001", pv.encode(), size, MEGABYTE, 0, 0, 0, 4096,
                       MEGABYTE - 4096, 0, 0)
    rest += bytes(512 - 20 - len(rest))
    label = b"LABELONE" + struct.pack("<QI", 1, crc(rest)) + rest
    area = b" LVM2 x[5A%r0N*>" + struct.pack("<IQQ QQII", 1, 4096, MEGABYTE - 4096, 512, len(text), crc(text), 0)
    area += bytes(512 - 4 - len(area))
    return bytes(512) + label + bytes(4096 - 1024) + struct.pack("<I", crc(area)) + area + text


def raid(size):
    """The one member of an array of one: assembled as soon as it is seen."""
    head = struct.pack("<IIII16s32sQIIQIIi", 0xa92b4efc, 1, 0, 0, b"o" * 16, b"operator:0", 0, 1, 0, size // 512 - 2048,
                       0, 1, 0)
    head += bytes(128 - len(head))
    head += struct.pack("<QQQQII16sBBHiQQ", 2048, size // 512 - 2048, 8, 0, 0, 0, b"m" * 16, 0, 0, 0, 0, 0, 1)
    head += struct.pack("<QII", 0xffffffffffffffff, 0, 1) + bytes(32)
    head += struct.pack("<H", 0)
    words = struct.unpack(f"<{len(head) // 4}I", head[:len(head) // 4 * 4])
    total = sum(words) + struct.unpack("<H", head[-2:])[0]
    total = (total & 0xffffffff) + (total >> 32)
    return bytes(4096) + head[:216] + struct.pack("<I", total & 0xffffffff) + head[220:]


def luks(_size):
    """Version 1, no usable key slot."""
    slots = struct.pack(">II32sII", 0x0000dead, 1000, bytes(32), 8, 4000) * 8
    return struct.pack(">6sH32s32s32sII20s32sI40s", b"LUKS\xba\xbe", 1, b"aes", b"xts-plain64", b"sha256", 4096, 64,
                       bytes(20), bytes(32), 1000, b"5ea1b007-0000-4000-8000-0000000000a5") + slots


def crc32c(data):
    value = 0xffffffff
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
    return value ^ 0xffffffff


def btrfs(number, size):
    """Device NUMBER of a file system of two: a kernel that is told of both could mount it."""
    fsid, device = uuid.UUID(ESP[:-2] + "b0").bytes, uuid.UUID(f"{ESP[:-2]}b{number}").bytes
    item = struct.pack("<QQQIIIQQQIBB16s16s", number, size, 0, 4096, 4096, 4096, 0, 0, 0, 0, 0, 0, device, fsid)
    head = fsid + struct.pack("<QQ8sQQQQQQQQQIIIIIQQQQHBBB", 65536, 1, b"_BHRfS_M", 1, MEGABYTE, MEGABYTE, 0, 0,
                              2 * size, 4096, 6, 2, 4096, 16384, 16384, 4096, 0, 1, 0, 0, 0, 0, 0, 0, 0)
    head += item + b"operator".ljust(256, b"\0")
    head += bytes(4096 - 32 - len(head))
    return bytes(65536) + struct.pack("<I", crc32c(head)).ljust(32, b"\0") + head


def hibernated(signature):
    """A swap area with an image: what swsusp and systemd's hibernation leave in place of SWAPSPACE2."""
    page = bytes(1024) + struct.pack("<III", 1, 255, 0) + uuid.UUID(HIBERNATED).bytes
    return page + bytes(4086 - len(page)) + signature.ljust(10, b"\0")


def iso9660(label):
    descriptor = b"\1CD001\1\0" + b"".ljust(32) + label.encode().ljust(32)
    return bytes(32768) + descriptor.ljust(2048, b"\0") + b"\xffCD001\1".ljust(2048, b"\0")


def partitions(size):
    """(name, partition type, content, what blkid must say it is); content is bytes, or a command that fills $file."""
    erofs = "mkdir -p tree/etc tree/usr/bin tree/sbin; echo operator > tree/etc/operator; " \
        "mkfs.erofs -L {} $file tree >/dev/null"
    return [
        ("esp", "ef00", f"mkfs.vfat -n EFI $file >/dev/null; mmd -i $file ::/EFI ::/EFI/BOOT; "
                        f"mcopy -i $file {STUBS}/systemd-bootx64.efi ::/EFI/BOOT/BOOTX64.EFI", "vfat"),
        ("root", ROOT, erofs.format(ROOT_LABEL), "erofs"), ("usr", USR, erofs.format("usr"), "erofs"),
        ("home", "8302", erofs.format("home"), "erofs"), ("srv", "8306", erofs.format("srv"), "erofs"),
        ("var", VAR, erofs.format("var"), "erofs"), ("tmp", TMP, erofs.format("tmp"), "erofs"),
        ("xbootldr", "ea00", "mkfs.vfat -n XBOOTLDR $file >/dev/null", "vfat"),
        ("swap", "8200", f"mkswap -U {SWAP} -L swap $file >/dev/null", "swap"),
        ("suspended", "8200", hibernated(b"S1SUSPEND"), "swsuspend"),
        ("hibernated", "8200", hibernated(b"LINHIB0001"), "swsuspend"),
        ("lvm", "8e00", lvm(size), "LVM2_member"), ("md", "fd00", raid(size), "linux_raid_member"),
        ("luks", "8309", luks(size), "crypto_LUKS"),
        ("btrfs-1", LINUX, btrfs(1, size), "btrfs"), ("btrfs-2", LINUX, btrfs(2, size), "btrfs"),
        ("cidata", LINUX, iso9660("cidata"), "iso9660"),
    ]


def build(directory, name="hostile", megabytes=4):
    """The disk; fails unless blkid takes each partition for what it shall be."""
    size, disk, work = megabytes * MEGABYTE, directory / f"{name}.raw", directory / name
    work.mkdir()
    wanted = partitions(size)
    options, commands = [], []
    for number, (label, type_, content, kind) in enumerate(wanted, 1):
        file = work / label
        if isinstance(content, bytes):
            file.write_bytes(content)
            content = ""
        start = (number * megabytes) - megabytes + 1
        identity = f" --partition-guid={number}:{ESP}" if label == "esp" else ""
        options.append(f"--new={number}:{start}M:+{megabytes}M --typecode={number}:{type_} "
                       f"--change-name={number}:{label}{identity}")
        commands.append(f"""file={file}; truncate -s {size} $file; {content}
            truncate -s {size} $file
            found=$(blkid --probe --match-tag TYPE --output value $file || true)
            [ "$found" = {kind} ] || {{ echo "{label} is '$found'" >&2; exit 1; }}
            dd if=$file of={disk} bs=1M seek={start} conv=notrunc,sparse status=none""")
    script(f"""cd {work}; rm -f {disk}; truncate -s {(len(wanted) + 1) * megabytes + 2}M {disk}
        sgdisk --clear {" ".join(options)} {disk} >/dev/null
        {chr(10).join(commands)}""")
    return disk


def hibernate_location():
    """The EFI variable by which systemd finds the image to resume from."""
    return json.dumps(
        {"uuid": HIBERNATED, "offset": 0, "kernelVersion": "", "osReleaseId": "debian", "osReleaseVersionId": "13"})


def drive(disk, name):
    return [
        "-drive", f"if=none,id={name},format=raw,snapshot=on,file={disk}", "-device", f"virtio-blk-pci,drive={name}"
    ]
