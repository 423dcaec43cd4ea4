# SPDX-License-Identifier: Apache-2.0
"""A second implementation of sealing (AWS Encryption SDK message format 2, suite 0x0478, framed), for tests that need
objects no honest sealer writes. Frames are kept apart until they are joined, so that a test can move, drop or spoil
them."""

import dataclasses
import hashlib
import json
import os
import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SUITE = 0x0478
# In the encryption context of each object of a model with a manifest: none of them is a model of its own.
MARK = {"sealboot": "manifest-model"}
FINAL = 0xFFFFFFFF


def counted(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def derive(data_key: bytes, message_id: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA512(), 32, message_id, info).derive(data_key)


@dataclasses.dataclass
class DataKey:
    """What GenerateDataKey gave; one serves all files of a model."""
    plaintext: bytes
    blob: bytes
    arn: str
    context: dict

    @classmethod
    def generate(cls, kms, arn: str, context: dict):
        answer = kms.generate_data_key(KeyId=arn, NumberOfBytes=32, EncryptionContext=context)
        return cls(answer["Plaintext"], answer["CiphertextBlob"], answer["KeyId"], context)

    def under(self, kms, arn: str) -> "DataKey":
        """The same data key, encrypted under another KMS key."""
        answer = kms.encrypt(KeyId=arn, Plaintext=self.plaintext, EncryptionContext=self.context)
        return DataKey(self.plaintext, answer["CiphertextBlob"], answer["KeyId"], self.context)


class Sealed:
    """One message, its data key encrypted under key's and the others' KMS keys. header (bytes, tag included) and frames
    (a list of bytes) may be changed before bytes() joins them."""

    def __init__(self, plaintext: bytes, key: DataKey, *, frame_length: int = 4096, suite: int = SUITE,
                 content_type: int = 2, provider: str = "aws-kms", empty_final: bool = False, ivs=None,
                 context: dict | None = None, others: list[DataKey] = ()):
        self.id = os.urandom(32)
        self.key = key
        self.frame_length = frame_length
        context = key.context if context is None else context
        pairs = b"".join(counted(k.encode()) + counted(v.encode()) for k, v in sorted(context.items()))
        aad = struct.pack(">H", len(context)) + pairs if context else b""
        wrapped = b"".join(
            counted(provider.encode()) + counted(k.arn.encode()) + counted(k.blob) for k in (key, *others))
        body = (b"\x02" + struct.pack(">H", suite) + self.id + counted(aad) + struct.pack(">H", 1 + len(others))
                + wrapped + bytes([content_type]) + struct.pack(">I", frame_length if content_type == 2 else 0)
                + derive(key.plaintext, self.id, b"COMMITKEY"))
        self.cipher = AESGCM(derive(key.plaintext, self.id, struct.pack(">H", suite) + b"DERIVEKEY"))
        self.header = body + self.cipher.encrypt(bytes(12), b"", body)
        self.frames = []
        pieces = [plaintext[i:i + frame_length] for i in range(0, len(plaintext), frame_length)]
        if not pieces or (empty_final and len(pieces[-1]) == frame_length):
            pieces.append(b"")
        for seq, piece in enumerate(pieces, 1):
            self.frames.append(self.frame(seq, piece, final=seq == len(pieces), iv=ivs(seq) if ivs else None))

    def frame(self, seq: int, plaintext: bytes, *, final: bool, iv: bytes | None = None) -> bytes:
        iv = iv or seq.to_bytes(12, "big")
        text = b"AWSKMSEncryptionClient Final Frame" if final else b"AWSKMSEncryptionClient Frame"
        aad = self.id + text + struct.pack(">IQ", seq, len(plaintext))
        head = struct.pack(">II", FINAL, seq) + iv + struct.pack(">I", len(plaintext)) if final else struct.pack(
            ">I", seq) + iv
        return head + self.cipher.encrypt(iv, plaintext, aad)

    def write(self, path, pieces):
        """The message to a file, of plaintext that comes in pieces of one frame each; for what does not fit into
        memory."""
        held = None
        with open(path, "wb") as f:
            f.write(self.header)
            for seq, piece in enumerate(pieces, 1):
                if held is not None:
                    f.write(self.frame(seq - 1, held, final=False))
                held, last = piece, seq
            f.write(self.frame(last, held, final=True))

    def __bytes__(self):
        return self.header + b"".join(self.frames)


def verity(data: bytes) -> str:
    """The fs-verity digest, in hex (SHA-256, 4096-byte blocks, no salt)."""
    def level(blocks):
        return [hashlib.sha256(b.ljust(4096, b"\0")).digest() for b in blocks]
    digests = level([data[i:i + 4096] for i in range(0, len(data), 4096)])
    while len(digests) > 1:
        joined = b"".join(digests)
        digests = level([joined[i:i + 4096] for i in range(0, len(joined), 4096)])
    root = digests[0] if digests else bytes(32)
    return hashlib.sha256(struct.pack("<BBBBIQ", 1, 1, 12, 0, 0, len(data)) + root.ljust(64, b"\0")
                          + bytes(176)).hexdigest()


def model_text(files: dict[str, bytes]) -> bytes:
    return b"".join(f"sha256:{verity(data)} {path}\n".encode()
                    for path, data in sorted(files.items(), key=lambda f: f[0].encode()))


def pcr15(text: bytes, algorithm: str = "sha384") -> str:
    digest = hashlib.new(algorithm, text).digest()
    return hashlib.new(algorithm, bytes(len(digest)) + digest).hexdigest()


def manifest(files: dict[str, bytes], *, name="m", version="1", objects=None, **change) -> dict:
    entries = [{
        "path": path, "size": len(data), "digest": "sha256:" + verity(data),
        "object": objects[path] if objects else f"{i:05}.sealed"
    } for i, (path, data) in enumerate(files.items())]
    return {"sealboot": 1, "name": name, "version": version,
            "digest": "sha384:" + hashlib.sha384(model_text(files)).hexdigest(), "files": entries, **change}


def put_model(s3, bucket: str, prefix: str, files: dict[str, bytes], key: DataKey, *, frame_length=1 << 20,
              objects=None, text: bytes | None = None):
    """Uploads a sealed model; `text` replaces the manifest's."""
    for i, (path, data) in enumerate(files.items()):
        name = objects[path] if objects else f"{i:05}.sealed"
        s3.put_object(Bucket=bucket, Key=prefix + name, Body=bytes(Sealed(data, key, frame_length=frame_length)))
    text = json.dumps(manifest(files, objects=objects)).encode() if text is None else text
    s3.put_object(Bucket=bucket, Key=prefix + "manifest.sealed", Body=bytes(Sealed(text, key,
                                                                                   frame_length=frame_length)))
