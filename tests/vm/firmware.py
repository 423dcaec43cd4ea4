# SPDX-License-Identifier: Apache-2.0
"""What an operator can write into the firmware's variables: boot options, drivers, options of the loader and of
systemd."""

import json
import re
import struct
import subprocess
import uuid

from machine import SOURCE, VARIABLES, script

GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
DATABASE = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"  # of db and dbx
SYSTEMD = "8cf2644b-4b0b-428f-9387-6d876050dc67"
LOADER = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
SHIM = "605dab50-e046-4300-abb6-3dd810dd8b23"
SWITCH = "f0a30bc7-af08-4556-99c4-001009c93a44"  # EDK2's own SecureBootEnable
KEPT, BOOT = 7, 3  # non-volatile, with and without access at run time
ACTIVE = 1
SEPARATOR = "518923b0f955d08da077c96aaba522b9decede61c599cea6c41889cfbea4ae4d50529d96fe4d1afdafb65e7f95bf23c4"
SYSTEMD_OPTIONS = "systemd.mount-extra=/dev/vdb:/usr/lib/sealboot:erofs:ro rd.systemd.debug_shell=ttyS0"


def utf16(text):
    return (text + "\0").encode("utf-16-le")


def variable(name, data, guid=GLOBAL, attributes=KEPT):
    return {"name": name, "guid": guid, "attr": attributes, "data": data.hex()}


def numbers(*options):
    """BootOrder, DriverOrder, ...; BootNext is a list of one."""
    return struct.pack(f"<{len(options)}H", *options)


def store(directory, variables, source=VARIABLES):
    """A copy of the variable store SOURCE with VARIABLES in it."""
    directory.mkdir(exist_ok=True)
    (directory / "operator.json").write_text(json.dumps({"version": 2, "variables": variables}))
    script(f"virt-fw-vars --input {source} --set-json {directory}/operator.json --output {directory}/operator.fd")
    return directory / "operator.fd"


def device_path(disk, file, partition=1):
    """The path of FILE on a partition of a raw disk, as a boot option has it: HD(...)/FILE."""
    told = script(f"sgdisk --info={partition} {disk}", binds=["--bind", disk.parent])
    identity = uuid.UUID(re.search(r"unique GUID: (\S+)", told)[1])
    first, size = (int(re.search(rf"{what}: (\d+)", told)[1]) for what in ("First sector", "Partition size"))
    name = utf16(file.replace("/", "\\"))
    return (struct.pack("<BBHIQQ16sBB", 4, 1, 42, partition, first, size, identity.bytes_le, 2, 2) +
            struct.pack("<BBH", 4, 4, 4 + len(name)) + name + b"\x7f\xff\4\0")


def load_option(disk, file, data=b"", description="operator"):
    """The content of Boot####, Driver####, SysPrep####, ...; `data` is the optional data: an application's
    LoadOptions."""
    path = device_path(disk, file)
    return struct.pack("<IH", ACTIVE, len(path)) + utf16(description) + path + data


def option_rom(image, file):
    """FILE: an expansion ROM with a PE image (UEFI 2.10, 14.4.2): a header, the PCI data structure, the image, whole
    blocks of 512 bytes."""
    data = image.read_bytes()
    blocks = (64 + len(data) + 511) // 512
    head = struct.pack("<HHIHHH8sHH", 0xaa55, blocks, 0x0ef1, 11, 0x8664, 0, b"", 64, 28).ljust(28, b"\0")
    pcir = struct.pack("<4sHHHHB3sHHBBH", b"PCIR", 0x1af4, 0x1000, 0, 24, 3, b"\0\0\2", blocks, 0, 3, 0x80, 0)
    file.write_bytes((head + pcir).ljust(64, b"\0") + data + bytes(blocks * 512 - 64 - len(data)))
    return file


def program(directory, name, subsystem, *defines):
    """tests/vm/operator.c as a PE image: an application (10) or a boot service driver (11)."""
    built = directory / f"{name}.efi"
    subprocess.run([
        "gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-Os", "-mabi=ms", "-ffreestanding", "-fpie", "-fno-ident",
        "-fno-stack-protector", "-fshort-wchar", "-mno-red-zone", "-fno-asynchronous-unwind-tables",
        "-fcf-protection=none", f"-I{SOURCE}/tests/fixtures/measure", *(f"-D{d}" for d in defines), "-c",
        SOURCE / "tests/vm/operator.c", "-o",
        built.with_suffix(".o")
    ], check=True)
    subprocess.run([
        "ld", "-m", "i386pep", "--subsystem",
        str(subsystem), "--entry", "efi_main", "--image-base", "0x100000", "--dynamicbase", "--no-insert-timestamp",
        "--strip-all", "-o", built,
        built.with_suffix(".o")
    ], check=True)
    return built


def signature_list():
    """Of one SHA-256."""
    sha256 = uuid.UUID("c1c41626-504c-4092-aca9-41f936934328").bytes_le
    return sha256 + struct.pack("<III", 28 + 48, 0, 48) + bytes(16) + b"o" * 32


def unread_variables():
    """(name, vendor, content) of what systemd, its loader, shim and Linux would read."""
    return [("SystemdOptions", SYSTEMD, utf16(SYSTEMD_OPTIONS)), ("FactoryReset", SYSTEMD, utf16("t")),
            ("HibernateLocation", SYSTEMD,
             utf16(json.dumps({"uuid": "5ea1b007-0000-4000-8000-0000000000ff", "offset": 0}))),
            *((name, LOADER, utf16("operator.conf"))
              for name in ("LoaderEntryDefault", "LoaderEntryOneShot", "LoaderEntryLastBooted", "LoaderEntrySelected",
                           "LoaderEntries")), ("LoaderConfigTimeout", LOADER, utf16("60")),
            ("LoaderConfigTimeoutOneShot", LOADER, utf16("menu-force")),
            ("LoaderConfigConsoleMode", LOADER, utf16("max")), ("LoaderSystemToken", LOADER, b"o" * 32),
            ("LoaderDevicePartUUID", LOADER, utf16("5EA1B007-0000-4000-8000-0000000000FE")),
            ("LoaderBootCountPath", LOADER, utf16("\\EFI\\Linux\\other+3.efi")),
            ("LoaderTpm2ActivePcrBanks", LOADER, utf16("0x2")),
            *((name, SHIM, b"\1")
              for name in ("MokSBState", "MokSBStateRT", "MokIgnoreDB", "MokListTrusted", "MokListTrustedRT")),
            *((name, SHIM, signature_list()) for name in ("MokList", "MokListRT", "MokListX", "MokListXRT")),
            ("Timeout", GLOBAL, numbers(0)), ("PlatformLang", GLOBAL, b"fr\0")]
