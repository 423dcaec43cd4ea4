# SPDX-License-Identifier: Apache-2.0
"""Makes attestation documents as the NitroTPM does: COSE_Sign1 (RFC 9052), ES384, over a CBOR map.

The defaults give a valid document; every part can be replaced, to make documents that a verifier must refuse."""

import os
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from . import cbor, pki

ES384 = -35
MODULE_ID = "i-0123456789abcdef0-tpm0123456789abcdef"
ABSENT = object()


def payload(leaf: pki.Identity, pcrs: dict[int, bytes], /, *, now: float | None = None,
            user_data: bytes | None = None, nonce: bytes | None = None,
            public_key: bytes | None = None, **changes) -> dict:
    """The map that is signed. changes replaces entries by name (ABSENT removes one) or adds unknown ones."""
    fields = {
        "module_id": MODULE_ID,
        "digest": "SHA384",
        "timestamp": int((time.time() if now is None else now) * 1000),
        "nitrotpm_pcrs": dict(sorted(pcrs.items())),
        "certificate": leaf.der,
        "cabundle": leaf.cabundle(),
        "public_key": public_key,
        "user_data": user_data,
        "nonce": nonce,
    }
    fields.update(changes)
    return {name: value for name, value in fields.items() if value is not ABSENT}


def raw_signature(key, message: bytes, algorithm=hashes.SHA384) -> bytes:
    """r || s, each as long as the curve's order."""
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(algorithm())))
    size = (key.curve.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def sign(content, key, *, protected=None, unprotected=None, tag: int | None = None, signature: bytes | None = None,
         context="Signature1", algorithm=hashes.SHA384, parts: int = 4) -> bytes:
    """content: a map, which goes out as AWS sends it, of indefinite length, or bytes that are signed as they are.
    protected: a map or bytes. parts != 4 is malformed."""
    body = content if isinstance(content, bytes) else cbor.dumps(cbor.OpenMap(list(content.items())))
    header = protected if isinstance(protected,
                                     bytes) else cbor.dumps(protected if protected is not None else {1: ES384})
    if signature is None:
        signature = raw_signature(key, cbor.dumps([context, header, b"", body]), algorithm)
    message = [header, unprotected if unprotected is not None else {}, body, signature, b"surplus"][:parts]
    return cbor.dumps(message if tag is None else cbor.Tag(tag, message))


def document(leaf: pki.Identity, pcrs: dict[int, bytes], /, *, envelope: dict | None = None, **fields) -> bytes:
    """A whole document. envelope: arguments of sign(); the rest goes to payload()."""
    return sign(payload(leaf, pcrs, **fields), leaf.key, **(envelope or {}))


def zero_pcrs() -> dict[int, bytes]:
    """SHA-384 PCRs after startup: 17-22 are all ones until a dynamic launch."""
    return {n: (b"\xff" if 17 <= n <= 22 else b"\0") * 48 for n in range(24)}


def random_pcrs() -> dict[int, bytes]:
    return {n: os.urandom(48) for n in range(24)}
