# SPDX-License-Identifier: Apache-2.0
"""A strict reader of the CBOR (RFC 8949) that attestation uses: what a lenient library would accept is an error
here."""

import struct
from dataclasses import dataclass

MAXIMUM_DEPTH = 16
OPEN_MAP, BREAK = b"\xbf", b"\xff"


class CBORError(ValueError):
    pass


@dataclass(frozen=True)
class Tag:
    number: int
    value: object


class Reader:
    """Definite lengths and shortest forms only, no floats, no duplicate keys; maps alone may be of indefinite length,
    as AWS sends the payloads of its attestation documents."""

    def __init__(self, data: bytes):
        self.data, self.offset = bytes(data), 0

    def take(self, n: int) -> bytes:
        if len(self.data) - self.offset < n:
            raise CBORError(f"truncated at byte {len(self.data)}")
        part = self.data[self.offset:self.offset + n]
        self.offset += n
        return part

    def head(self) -> tuple[int, int]:
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        if info < 24:
            return major, info
        if info > 27:
            raise CBORError("indefinite length or reserved additional information")
        size = 1 << (info - 24)
        argument = int.from_bytes(self.take(size), "big")
        if major != 7 and argument < (24 if size == 1 else 1 << (4 * size)):
            raise CBORError("integer is not in its shortest form")
        return major, argument

    def text(self, n: int) -> str:
        try:
            return self.take(n).decode("utf-8")
        except UnicodeDecodeError as e:
            raise CBORError("text is not UTF-8") from e

    def item(self, depth: int = 0):
        if depth > MAXIMUM_DEPTH:
            raise CBORError("nested too deeply")
        if self.data[self.offset:self.offset + 1] == OPEN_MAP:
            self.offset += 1
            return self.mapping(None, depth)
        major, n = self.head()
        if major == 0:
            return n
        if major == 1:
            return -1 - n
        if major == 2:
            return self.take(n)
        if major == 3:
            return self.text(n)
        if major == 4:
            return [self.item(depth + 1) for _ in range(self.bounded(n))]
        if major == 5:
            return self.mapping(self.bounded(n), depth)
        if major == 6:
            return Tag(n, self.item(depth + 1))
        if n in (20, 21, 22):
            return {20: False, 21: True, 22: None}[n]
        raise CBORError("float, undefined or unassigned simple value")

    def bounded(self, n: int) -> int:
        if n > len(self.data) - self.offset:
            raise CBORError("more elements than bytes")
        return n

    def more(self, n: int | None, done: int) -> bool:
        """Whether a map of n pairs (None: up to the break) has another one."""
        if n is not None or self.data[self.offset:self.offset + 1] != BREAK:
            return n is None or done < n
        self.offset += 1
        return False

    def mapping(self, n: int | None, depth: int) -> dict:
        result = {}
        while self.more(n, len(result)):
            key = self.item(depth + 1)
            if not isinstance(key, (int, str, bytes)) or isinstance(key, bool):
                raise CBORError("key of an unexpected type")
            if key in result:
                raise CBORError(f"duplicate key {key!r}")
            result[key] = self.item(depth + 1)
        return result


def loads(data: bytes):
    """The one item that data holds, and nothing after it."""
    reader = Reader(data)
    value = reader.item()
    if reader.offset != len(data):
        raise CBORError(f"{len(data) - reader.offset} trailing bytes")
    return value


def first(data: bytes):
    """The first item of data, whatever follows: an NV index is padded to its size."""
    return Reader(data).item()


def head(major: int, n: int) -> bytes:
    if n < 24:
        return bytes([major << 5 | n])
    for info, code, limit in ((24, ">B", 1 << 8), (25, ">H", 1 << 16), (26, ">I", 1 << 32), (27, ">Q", 1 << 64)):
        if n < limit:
            return bytes([major << 5 | info]) + struct.pack(code, n)
    raise CBORError("integer too large")


def dumps(value) -> bytes:
    """Maps keep their order; a list of pairs wrapped in Pairs may repeat keys, for malformed documents."""
    if value is None or isinstance(value, bool):
        return {None: b"\xf6", False: b"\xf4", True: b"\xf5"}[value]
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, (bytes, bytearray)):
        return head(2, len(value)) + bytes(value)
    if isinstance(value, str):
        raw = value.encode()
        return head(3, len(raw)) + raw
    if isinstance(value, Raw):
        return value.encoded
    if isinstance(value, Tag):
        return head(6, value.number) + dumps(value.value)
    if isinstance(value, OpenMap):
        return OPEN_MAP + b"".join(dumps(k) + dumps(v) for k, v in value.items) + BREAK
    if isinstance(value, Pairs):
        return head(5, len(value.items)) + b"".join(dumps(k) + dumps(v) for k, v in value.items)
    if isinstance(value, dict):
        return dumps(Pairs(list(value.items())))
    if isinstance(value, (list, tuple)):
        return head(4, len(value)) + b"".join(map(dumps, value))
    raise CBORError(f"cannot encode {type(value).__name__}")


@dataclass(frozen=True)
class Pairs:
    items: list


@dataclass(frozen=True)
class OpenMap(Pairs):
    """A map of indefinite length."""


@dataclass(frozen=True)
class Raw:
    """Bytes that go out as they are, for encodings that a writer should never make."""
    encoded: bytes
