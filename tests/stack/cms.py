# SPDX-License-Identifier: Apache-2.0
"""CMS EnvelopedData (RFC 5652) in the two BER shapes in which KMS answers a Recipient, and malformed ones."""

import hashlib
import os

from cryptography.hazmat.primitives import hashes, padding as block_padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

SHAPES = ("octet-strings", "primitive")     # as KMS sends them
PIECES = "pieces"                           # several OCTET STRINGs: as valid, and never seen
PIECE = 16

OID_ENVELOPED = bytes.fromhex("06092a864886f70d010703")
OID_DATA = bytes.fromhex("06092a864886f70d010701")
OID_RSA = bytes.fromhex("06092a864886f70d010101")
OID_OAEP = bytes.fromhex("06092a864886f70d010107")
OID_MGF1 = bytes.fromhex("06092a864886f70d010108")
OID_SHA1 = bytes.fromhex("06052b0e03021a")
OID_SHA256 = bytes.fromhex("0609608648016503040201")
OID_AES256_CBC = bytes.fromhex("060960864801650304012a")
NULL, END = b"\x05\x00", b"\0\0"


def length(n: int) -> bytes:
    if n < 128:
        return bytes([n])
    raw = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(raw)]) + raw


def tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes([tag]) + length(len(body)) + body


def indefinite(tag: int, *parts: bytes) -> bytes:
    return bytes([tag, 0x80]) + b"".join(parts) + END


def integer(n: int) -> bytes:
    return tlv(0x02, bytes([n]))


def oaep_identifier(oid_hash: bytes) -> bytes:
    digest = tlv(0x30, oid_hash, NULL)
    return tlv(0x30, OID_OAEP, tlv(0x30, tlv(0xA0, digest), tlv(0xA1, tlv(0x30, OID_MGF1, digest))))


def transport(key, content_key: bytes, how: str) -> tuple[bytes, bytes]:
    """AlgorithmIdentifier and encrypted key."""
    if how == "pkcs1":
        return tlv(0x30, OID_RSA, NULL), key.encrypt(content_key, padding.PKCS1v15())
    oid, algorithm = {"oaep": (OID_SHA256, hashes.SHA256), "oaep-sha1": (OID_SHA1, hashes.SHA1)}[how]
    oaep = padding.OAEP(padding.MGF1(algorithm()), algorithm(), None)
    return oaep_identifier(oid), key.encrypt(content_key, oaep)


def envelop(plaintext: bytes, public_key_der: bytes, shape: str = "octet-strings", *, how: str = "oaep",
            content_key_size: int = 32, version: int = 2, recipients: int = 1) -> bytes:
    """shape: one of SHAPES, or PIECES."""
    key = serialization.load_der_public_key(public_key_der)
    content_key, iv = os.urandom(content_key_size), os.urandom(16)
    pad = block_padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(content_key), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(pad.update(plaintext) + pad.finalize()) + encryptor.finalize()
    identifier, wrapped = transport(key, content_key, how)
    subject_key = hashlib.sha256(public_key_der).digest()
    recipient = tlv(0x30, integer(2), tlv(0x80, subject_key), identifier, tlv(0x04, wrapped))
    if shape == "primitive":
        content = tlv(0x80, ciphertext)
    else:
        step = PIECE if shape == PIECES else len(ciphertext)
        content = indefinite(0xA0, *(tlv(0x04, ciphertext[i:i + step]) for i in range(0, len(ciphertext), step)))
    encrypted = indefinite(0x30, OID_DATA, tlv(0x30, OID_AES256_CBC, tlv(0x04, iv)), content)
    enveloped = indefinite(0x30, integer(version), tlv(0x31, recipient * recipients), encrypted)
    return indefinite(0x30, OID_ENVELOPED, indefinite(0xA0, enveloped))


MALFORMED = {
    "absent": lambda p, k, s: None,
    "empty": lambda p, k, s: b"",
    "truncated": lambda p, k, s: envelop(p, k, s)[:-1],
    "half": lambda p, k, s: envelop(p, k, s)[:200],
    "trailing": lambda p, k, s: envelop(p, k, s) + b"\0",
    "pkcs1": lambda p, k, s: envelop(p, k, s, how="pkcs1"),
    "oaep-sha1": lambda p, k, s: envelop(p, k, s, how="oaep-sha1"),
    "31-bytes": lambda p, k, s: envelop(p[:31], k, s),
    "33-bytes": lambda p, k, s: envelop(p + b"\0", k, s),
    "no-bytes": lambda p, k, s: envelop(b"", k, s),
    "other-key": lambda p, k, s: envelop(os.urandom(32), k, s),
    "aes-128-key": lambda p, k, s: envelop(p, k, s, content_key_size=16),
    "two-recipients": lambda p, k, s: envelop(p, k, s, recipients=2),
    "no-recipient": lambda p, k, s: envelop(p, k, s, recipients=0),
    "version-0": lambda p, k, s: envelop(p, k, s, version=0),
    "garbage": lambda p, k, s: os.urandom(457),
}
