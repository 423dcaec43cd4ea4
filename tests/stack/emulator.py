# SPDX-License-Identifier: Apache-2.0
"""A NitroTPM: a command proxy in front of a real TPM that adds the vendor command and NV indices of 8192 bytes.

For an index beyond the real TPM's 2048 bytes the real TPM defines one of 2048 under the same handle, attributes and
auth value, and judges the caller's authorization on every access; the contents stay here. The vendor command reads the
request from such an index, signs a document over the real SHA-384 PCRs, and leaves the response in the index.

A command that is rewritten no longer fits an HMAC session's authorization: password sessions only, as over the real
device's own bus, where there is nobody to hide from."""

import hashlib
import struct
import threading

from . import attestation, cbor, malformed, pki, wire

REAL_MAXIMUM, MAXIMUM, BUFFER = 2048, 8192, 1024
FIELD_MAXIMUM = 1024
FIELDS = ("user_data", "nonce", "public_key")
NAME_HASHES = {0x0004: "sha1", 0x000B: "sha256", 0x000C: "sha384", 0x000D: "sha512"}
CAP_TPM_PROPERTIES = 6
# What a NitroTPM says of itself where libtpms names itself: manufacturer "AMZN", vendor string "NitroTPMv1.0" in four
# parts, firmware 8217.4131; and 8192 bytes where the real TPM says what it can hold.
PROPERTIES = {0x105: int.from_bytes(b"AMZN", "big"), 0x106: int.from_bytes(b"Nitr", "big"),
              0x107: int.from_bytes(b"oTPM", "big"), 0x108: int.from_bytes(b"v1.0", "big"), 0x109: 0,
              0x10B: 0x20191023, 0x117: MAXIMUM}


class AttestationError(ValueError):
    """The code that the NitroTPM answers with instead of a document."""


def as_bytes(value):
    """A CBOR library that is not told otherwise writes a vector of bytes as an array of integers; both are taken."""
    if isinstance(value, list) and all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= 255 for n in value):
        return bytes(value)
    return value


def read_request(contents: bytes) -> dict[str, bytes | None]:
    try:
        request = cbor.first(contents)
    except cbor.CBORError as e:
        raise AttestationError("InvalidOperation") from e
    if not isinstance(request, dict) or list(request) != ["Attestation"]:
        raise AttestationError("InvalidOperation")
    fields = request["Attestation"]
    if not isinstance(fields, dict) or set(fields) != set(FIELDS):
        raise AttestationError("InvalidArgument")
    fields = {name: as_bytes(value) for name, value in fields.items()}
    for value in fields.values():
        if value is not None and not isinstance(value, bytes):
            raise AttestationError("InvalidArgument")
        if value is not None and len(value) > FIELD_MAXIMUM:
            raise AttestationError("InputTooLarge")
    return fields


class NitroTPM:
    def __init__(self, swtpm, root: pki.Identity, clock, faults):
        self.real, self.root, self.clock, self.faults = swtpm, root, clock, faults
        self.lock = threading.RLock()
        self.indices: dict[int, bytearray] = {}
        self.leaf, self.leaf_from = None, 0
        self.documents = 0
        self.rewritten = {
            wire.CC["NV_DefineSpace"]: self.define, wire.CC["NV_UndefineSpace"]: self.undefine,
            wire.CC["NV_Write"]: self.write, wire.CC["NV_Read"]: self.read, wire.CC["NV_ReadPublic"]: self.read_public,
            wire.CC["GetCapability"]: self.capability, wire.CC["Clear"]: self.clear, wire.CC["Attest"]: self.attest,
        }

    def execute(self, data: bytes) -> bytes:
        with self.lock:
            try:
                command = wire.parse(data)
                handler = self.rewritten.get(command.code)
                return handler(command, data) if handler else self.real.command(data)
            except wire.Malformed as e:
                return wire.error(e.rc)

    # --- NV indices

    def define(self, command, data):
        authorization, parameters = command.authorization(1)
        auth, offset = wire.sized(parameters)
        public, end = wire.sized(parameters, offset)
        if len(public) < 14 or end != len(parameters):
            return self.real.command(data)
        index, size = struct.unpack_from(">I", public)[0], struct.unpack(">H", public[-2:])[0]
        if not REAL_MAXIMUM < size <= MAXIMUM:
            return self.real.command(data)
        smaller = wire.tpm2b(auth) + wire.tpm2b(public[:-2] + struct.pack(">H", REAL_MAXIMUM))
        response = self.real.command(wire.authorized(command.code, command.handles(1), authorization, smaller))
        if wire.code_of(response) == 0:
            self.indices[index] = bytearray(b"\xff" * size)
        return response

    def undefine(self, command, data):
        response = self.real.command(data)
        if wire.code_of(response) == 0:
            self.indices.pop(command.handles(2)[1], None)
        return response

    def clear(self, command, data):
        response = self.real.command(data)
        left = self.real.handles("nv")
        self.indices = {index: contents for index, contents in self.indices.items() if index in left}
        return response

    def judge(self, command) -> bytes:
        """The real TPM's answer to reading one byte with the caller's own authorization."""
        authorization, _ = command.authorization(2)
        return self.real.command(wire.authorized(wire.CC["NV_Read"], command.handles(2), authorization,
                                                 struct.pack(">HH", 1, 0)))

    def write(self, command, data):
        index = command.handles(2)[1]
        if index not in self.indices:
            return self.real.command(data)
        authorization, parameters = command.authorization(2)
        contents, end = wire.sized(parameters)
        if len(parameters) != end + 2:
            return wire.error(wire.RC_COMMAND_SIZE)
        if len(contents) > BUFFER:
            return wire.error(wire.RC_SIZE_P1)
        verdict = self.judge(command)
        if wire.code_of(verdict) not in (0, wire.RC_NV_UNINITIALIZED):
            return verdict
        offset = struct.unpack_from(">H", parameters, end)[0]
        if offset + len(contents) > len(self.indices[index]):
            return wire.error(wire.RC_NV_RANGE)
        response = self.real.command(wire.authorized(command.code, command.handles(2), authorization,
                                                     wire.tpm2b(b"\0") + b"\0\0"))
        if wire.code_of(response) == 0:
            self.indices[index][offset:offset + len(contents)] = contents
        return response

    def read(self, command, data):
        index = command.handles(2)[1]
        if index not in self.indices:
            return self.real.command(data)
        _, parameters = command.authorization(2)
        if len(parameters) != 4:
            return wire.error(wire.RC_COMMAND_SIZE)
        size, offset = struct.unpack(">HH", parameters)
        if size > BUFFER:
            return wire.error(wire.RC_VALUE_P1)
        verdict = self.judge(command)
        if wire.code_of(verdict) != 0:
            return verdict
        if offset + size > len(self.indices[index]):
            return wire.error(wire.RC_NV_RANGE)
        contents = bytes(self.indices[index][offset:offset + size])
        return wire.success(wire.tpm2b(contents), wire.response_authorization(verdict))

    def read_public(self, command, data):
        response = self.real.command(data)
        index = command.handles(1)[0]
        if index not in self.indices or command.tag != wire.NO_SESSIONS or wire.code_of(response) != 0:
            return response
        public, _ = wire.sized(response, 10)
        public = public[:-2] + struct.pack(">H", len(self.indices[index]))
        algorithm = struct.unpack_from(">H", public, 4)[0]
        name = struct.pack(">H", algorithm) + hashlib.new(NAME_HASHES[algorithm], public).digest()
        body = wire.tpm2b(public) + wire.tpm2b(name)
        return struct.pack(">HII", wire.NO_SESSIONS, 10 + len(body), 0) + body

    def capability(self, command, data):
        """What the real TPM says, but for the properties that are the NitroTPM's own."""
        response = bytearray(self.real.command(data))
        if len(response) < 19 or wire.code_of(response) != 0 or command.tag != wire.NO_SESSIONS:
            return bytes(response)
        capability, count = struct.unpack_from(">II", response, 11)
        for at in range(19, 19 + 8 * count, 8) if capability == CAP_TPM_PROPERTIES else ():
            name, = struct.unpack_from(">I", response, at)
            if name in PROPERTIES:
                struct.pack_into(">I", response, at + 4, PROPERTIES[name])
        return bytes(response)

    # --- attestation

    def attest(self, command, _data):
        handles = command.handles(2)
        _, parameters = command.authorization(2)
        if parameters:
            return wire.error(wire.RC_COMMAND_SIZE)
        if handles[0] != handles[1]:
            return wire.error(wire.RC_NV_AUTHORIZATION)
        verdict = self.judge(command)
        if wire.code_of(verdict) != 0:
            return verdict
        if handles[1] not in self.indices:
            return wire.error(wire.RC_NV_SIZE)
        contents = self.indices[handles[1]]
        response = self.respond(bytes(contents))
        contents[:] = response + bytes(len(contents) - len(response))
        return wire.success(b"", wire.response_authorization(verdict))

    def respond(self, request: bytes) -> bytes:
        struck = self.faults.take("tpm", "document", "", ("document", "response", "error"))
        if "response" in struck:
            return bytes.fromhex(struck["response"].get("hex"))[:MAXIMUM]
        if "error" in struck:
            return cbor.dumps({"Error": struck["error"].get("code", "InternalError")})
        try:
            fields = read_request(request)
            shape = struck["document"].get("shape") if "document" in struck else None
            response = cbor.dumps({"Attestation": {"document": self.document(shape=shape, **fields)}})
            if len(response) > MAXIMUM:
                raise AttestationError("BufferTooSmall")
        except AttestationError as e:
            return cbor.dumps({"Error": str(e)})
        self.documents += 1
        return response

    def signer(self) -> pki.Identity:
        """The leaf: a new one an hour before the old one ends, or when the clock was turned back before it began."""
        now = int(self.clock.now())
        if self.leaf is None or not self.leaf_from <= now <= self.leaf_from + 2 * pki.HOUR:
            self.leaf, self.leaf_from = pki.hierarchy(now, root=self.root), now
        return self.leaf

    def document(self, *, shape: str | None = None, pcrs: dict[int, bytes | None] | None = None, **fields) -> bytes:
        """pcrs: other values than the real TPM's; None leaves a PCR out."""
        with self.lock:
            pcrs = {n: value for n, value in {**self.real.pcrs(), **(pcrs or {})}.items() if value is not None}
            if shape:
                return malformed.make(shape, self.root, pcrs, self.clock.now(), **fields)
            return attestation.document(self.signer(), pcrs, now=self.clock.now(), **fields)
