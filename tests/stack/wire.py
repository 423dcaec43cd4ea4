# SPDX-License-Identifier: Apache-2.0
"""TPM 2.0 command and response framing (TPM 2.0 Library, parts 2 and 3), as far as the emulator looks into it."""

import struct
from dataclasses import dataclass

NO_SESSIONS, SESSIONS = 0x8001, 0x8002
RS_PW = 0x40000009
RC_SUCCESS = 0
RC_INITIALIZE, RC_FAILURE, RC_COMMAND_SIZE = 0x100, 0x101, 0x142
RC_NV_RANGE, RC_NV_SIZE, RC_NV_AUTHORIZATION, RC_NV_UNINITIALIZED = 0x146, 0x147, 0x149, 0x14A
RC_RETRY, RC_BAD_TAG, RC_SIZE_P1, RC_VALUE_P1 = 0x922, 0x01E, 0x1D5, 0x1C4

CC = {
    "NV_UndefineSpaceSpecial": 0x11F, "NV_UndefineSpace": 0x122, "Clear": 0x126, "NV_DefineSpace": 0x12A,
    "NV_Write": 0x137, "DictionaryAttackLockReset": 0x139, "Startup": 0x144, "Shutdown": 0x145, "NV_Read": 0x14E,
    "FlushContext": 0x165, "NV_ReadPublic": 0x169, "GetCapability": 0x17A, "GetRandom": 0x17B, "PCR_Read": 0x17E,
    "PCR_Extend": 0x182, "Attest": 0x20000001,
}
NAMES = {code: name for name, code in CC.items()}


class Malformed(ValueError):
    """The bytes are no TPM command; rc is what a TPM answers."""

    def __init__(self, rc: int):
        super().__init__(f"malformed command, answer {rc:#x}")
        self.rc = rc


@dataclass(frozen=True)
class Command:
    tag: int
    code: int
    body: bytes                # everything after the header

    @property
    def name(self) -> str:
        return NAMES.get(self.code, f"{self.code:#x}")

    def handles(self, n: int) -> tuple[int, ...]:
        if len(self.body) < 4 * n:
            raise Malformed(RC_COMMAND_SIZE)
        return struct.unpack_from(f">{n}I", self.body)

    def authorization(self, n_handles: int) -> tuple[bytes, bytes]:
        """The authorization area and the parameters after it."""
        start = 4 * n_handles + 4
        if self.tag != SESSIONS or len(self.body) < start:
            raise Malformed(RC_BAD_TAG if self.tag != SESSIONS else RC_COMMAND_SIZE)
        size = struct.unpack_from(">I", self.body, start - 4)[0]
        if len(self.body) < start + size:
            raise Malformed(RC_COMMAND_SIZE)
        return self.body[start:start + size], self.body[start + size:]


def parse(data: bytes) -> Command:
    if len(data) < 10:
        raise Malformed(RC_COMMAND_SIZE)
    tag, size, code = struct.unpack_from(">HII", data)
    if size != len(data):
        raise Malformed(RC_COMMAND_SIZE)
    return Command(tag, code, data[10:])


def command(tag: int, code: int, body: bytes = b"") -> bytes:
    return struct.pack(">HII", tag, 10 + len(body), code) + body


def authorized(code: int, handles: tuple[int, ...], authorization: bytes, parameters: bytes) -> bytes:
    head = struct.pack(f">{len(handles)}II", *handles, len(authorization))
    return command(SESSIONS, code, head + authorization + parameters)


def error(rc: int) -> bytes:
    return struct.pack(">HII", NO_SESSIONS, 10, rc)


def success(parameters: bytes, authorization: bytes) -> bytes:
    body = struct.pack(">I", len(parameters)) + parameters + authorization
    return struct.pack(">HII", SESSIONS, 10 + len(body), RC_SUCCESS) + body


def code_of(response: bytes) -> int:
    return struct.unpack_from(">I", response, 6)[0]


def response_authorization(response: bytes) -> bytes:
    """The authorization area of a successful response with sessions and no handles."""
    size = struct.unpack_from(">I", response, 10)[0]
    return response[14 + size:]


def sized(data: bytes, offset: int = 0) -> tuple[bytes, int]:
    """A TPM2B at offset, and where it ends."""
    if len(data) < offset + 2:
        raise Malformed(RC_COMMAND_SIZE)
    size = struct.unpack_from(">H", data, offset)[0]
    if len(data) < offset + 2 + size:
        raise Malformed(RC_COMMAND_SIZE)
    return data[offset + 2:offset + 2 + size], offset + 2 + size


def tpm2b(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data
