# SPDX-License-Identifier: Apache-2.0
"""The checksums that S3 takes with an upload: x-amz-checksum-NAME, base64 of the big-endian value."""

import base64
import binascii
import hashlib
import zlib

try:
    import crcmod
except ImportError:         # right, but slow
    crcmod = None

CRC32C, CRC64NVME = 0x11EDC6F41, 0x1AD93D23594C93659        # RFC 3720; NVM Express


def reflected(polynomial: int):
    """A function (data, crc so far) -> crc, as zlib.crc32 is."""
    bits = polynomial.bit_length() - 1
    ones = (1 << bits) - 1
    if crcmod:
        return crcmod.mkCrcFun(polynomial, initCrc=0, rev=True, xorOut=ones)
    turned = int(f"{polynomial & ones:0{bits}b}"[::-1], 2)
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (turned if n & 1 else 0)
        table.append(n)

    def crc(data: bytes, before: int = 0) -> int:
        value = before ^ ones
        for byte in data:
            value = value >> 8 ^ table[(value ^ byte) & 255]
        return value ^ ones
    return crc


class CRC:
    def __init__(self, function, size: int):
        self.function, self.size, self.value = function, size, 0

    def update(self, data: bytes):
        self.value = self.function(data, self.value)

    def digest(self) -> bytes:
        return self.value.to_bytes(self.size, "big")


crc32c, crc64nvme = reflected(CRC32C), reflected(CRC64NVME)
ALGORITHMS = {"crc32": lambda: CRC(zlib.crc32, 4), "crc32c": lambda: CRC(crc32c, 4),
              "crc64nvme": lambda: CRC(crc64nvme, 8), "sha1": hashlib.sha1, "sha256": hashlib.sha256}
PREFIX = "x-amz-checksum-"
# x-amz-checksum-mode asks for them, -algorithm and -type announce them.
OTHERS = ("mode", "algorithm", "type")


def value_of(name: str, chunks) -> str:
    state = ALGORITHMS[name]()
    for chunk in chunks:
        state.update(chunk)
    return base64.b64encode(state.digest()).decode()


def named(headers: dict) -> list[str]:
    """The algorithms that these headers name, trailers included."""
    announced = [*headers, headers.get("x-amz-trailer", "")]
    names = [header.removeprefix(PREFIX) for header in announced if header.startswith(PREFIX)]
    return [name for name in names if name not in OTHERS]


def well_formed(name: str, value: str) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == len(ALGORITHMS[name]().digest())
    except binascii.Error:
        return False


def composite(name: str, parts: list[str]) -> str:
    """The checksum of the parts' checksums, and how many they are."""
    return f"{value_of(name, [b''.join(map(base64.b64decode, parts))])}-{len(parts)}"
