# SPDX-License-Identifier: Apache-2.0
"""Attestation documents that must be refused, by name: each breaks one property of a valid one."""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from . import attestation, cbor, pki
from .attestation import ABSENT, sign

CHAIN = {
    "leaf-expired": lambda now: {"leaf": {"not_before": now - 3 * pki.HOUR, "not_after": now - 1}},
    "leaf-not-yet-valid": lambda now: {"leaf": {"not_before": now + 600, "not_after": now + 600 + 3 * pki.HOUR}},
    "zonal-expired": lambda now: {"zonal": {"not_after": now - 1}},
    "instance-not-ca": lambda now: {"instance": {"ca": False}},
    "instance-no-constraints": lambda now: {"instance": {"ca": None}},
    "instance-no-key-usage": lambda now: {"instance": {"key_usage": None}},
    "regional-path-too-short": lambda now: {"regional": {"path_length": 1}},
    "leaf-is-ca": lambda now: {"leaf": {"ca": True}},
    "leaf-p256": lambda now: {"leaf": {"curve": ec.SECP256R1}},
    "leaf-may-not-sign": lambda now: {"leaf": {"key_usage": ("key_agreement",)}},
    "leaf-signed-sha256": lambda now: {"leaf": {"hash": hashes.SHA256}},
}

FIELDS = {
    "no-module-id": {"module_id": ABSENT},
    "empty-module-id": {"module_id": ""},
    "digest-sha256": {"digest": "SHA256"},
    "timestamp-text": {"timestamp": "now"},
    "timestamp-negative": {"timestamp": -1},
    "timestamp-zero": {"timestamp": 0},
    "no-pcrs": {"nitrotpm_pcrs": ABSENT},
    "pcrs-empty": {"nitrotpm_pcrs": {}},
    "pcrs-list": {"nitrotpm_pcrs": [b"\0" * 48]},
    "pcr-short": {"nitrotpm_pcrs": {4: b"\0" * 47}},
    "pcr-long": {"nitrotpm_pcrs": {4: b"\0" * 49}},
    "pcr-index-24": {"nitrotpm_pcrs": {24: b"\0" * 48}},
    "pcr-index-text": {"nitrotpm_pcrs": {"4": b"\0" * 48}},
    "pcr-duplicate": {"nitrotpm_pcrs": cbor.Pairs([(4, b"\0" * 48), (4, b"\1" * 48)])},
    "no-certificate": {"certificate": ABSENT},
    "certificate-garbage": {"certificate": b"\x30\x03\x02\x01\x01"},
    "cabundle-empty": {"cabundle": []},
    "cabundle-not-list": {"cabundle": b"\x30"},
    "cabundle-entry-empty": {"cabundle": [b""]},
    "user-data-text": {"user_data": "text"},
    "user-data-long": {"user_data": b"u" * 1025},
    "nonce-long": {"nonce": b"n" * 1025},
    "public-key-long": {"public_key": b"k" * 1025},
    "unknown-field": {"surprise": 1},
    "both-pcr-maps": {"pcrs": {0: b"\0" * 48}},
}

ENVELOPE = {
    "algorithm-es256": {"protected": {1: -7}},
    "algorithm-es512": {"protected": {1: -36}},
    "algorithm-missing": {"protected": {}},
    "algorithm-text": {"protected": {1: "ES384"}},
    "protected-surplus": {"protected": {1: attestation.ES384, 4: b"kid"}},
    "protected-empty": {"protected": b""},
    "unprotected-not-empty": {"unprotected": {4: b"kid"}},
    "unprotected-list": {"unprotected": []},
    "tag-17": {"tag": 17},
    "three-parts": {"parts": 3},
    "five-parts": {"parts": 5},
    "context-signature": {"context": "Signature"},
    "signature-empty": {"signature": b""},
    "signature-zero": {"signature": bytes(96)},
    "signature-short": {"signature": bytes(95)},
    "signature-sha256": {"algorithm": hashes.SHA256},
}


def _other_root(root, pcrs, now, fields):
    return attestation.document(pki.hierarchy(int(now)), pcrs, now=now, **fields)


def _signed_by_other(root, pcrs, now, fields):
    leaf = pki.hierarchy(int(now), root=root)
    return sign(attestation.payload(leaf, pcrs, now=now, **fields), ec.generate_private_key(ec.SECP384R1()))


def _reversed_bundle(root, pcrs, now, fields):
    leaf = pki.hierarchy(int(now), root=root)
    return attestation.document(leaf, pcrs, now=now, cabundle=leaf.cabundle()[::-1], **fields)


def _missing_link(root, pcrs, now, fields):
    leaf = pki.hierarchy(int(now), root=root)
    bundle = leaf.cabundle()
    return attestation.document(leaf, pcrs, now=now, cabundle=bundle[:2] + bundle[3:], **fields)


def _no_root(root, pcrs, now, fields):
    leaf = pki.hierarchy(int(now), root=root)
    return attestation.document(leaf, pcrs, now=now, cabundle=leaf.cabundle()[1:], **fields)


def _der_signature(root, pcrs, now, fields):
    leaf = pki.hierarchy(int(now), root=root)
    body = cbor.dumps(attestation.payload(leaf, pcrs, now=now, **fields))
    message = cbor.dumps(["Signature1", cbor.dumps({1: attestation.ES384}), b"", body])
    return sign(body, leaf.key, signature=leaf.key.sign(message, ec.ECDSA(hashes.SHA384())))


def _duplicate_key(root, pcrs, now, fields):
    leaf = pki.hierarchy(int(now), root=root)
    pairs = list(attestation.payload(leaf, pcrs, now=now, **fields).items())
    return sign(cbor.dumps(cbor.Pairs(pairs + [("nonce", b"another")])), leaf.key)


def _edited(edit):
    """An edit of a valid document's bytes."""
    def make(root, pcrs, now, fields):
        return edit(attestation.document(pki.hierarchy(int(now), root=root), pcrs, now=now, **fields))
    return make


def _flip(data: bytes, at: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def _payload_edit(root, pcrs, now, fields):
    leaf = pki.hierarchy(int(now), root=root)
    return sign(cbor.dumps(attestation.payload(leaf, pcrs, now=now, **fields)) + b"\0", leaf.key)


OTHERS = {
    "other-root": _other_root,
    "signed-by-other": _signed_by_other,
    "bundle-reversed": _reversed_bundle,
    "bundle-missing-link": _missing_link,
    "bundle-no-root": _no_root,
    "signature-der": _der_signature,
    "duplicate-key": _duplicate_key,
    "trailing-byte": _edited(lambda d: d + b"\0"),
    "payload-trailing-byte": _payload_edit,
    "truncated": _edited(lambda d: d[:-1]),
    "half": _edited(lambda d: d[:len(d) // 2]),
    "empty": _edited(lambda d: b""),
    "signature-flipped": _edited(lambda d: _flip(d, -1)),
    "payload-flipped": _edited(lambda d: _flip(d, len(d) // 2)),
    "not-cbor": _edited(lambda d: b"\xff" + d),
}


SHAPES = tuple(CHAIN) + tuple(FIELDS) + tuple(ENVELOPE) + tuple(OTHERS)


def make(shape: str, root: pki.Identity, pcrs: dict[int, bytes], now: float, **fields) -> bytes:
    """A document of that shape, otherwise as the emulator would sign it."""
    if shape in CHAIN:
        return attestation.document(pki.hierarchy(int(now), root=root, **CHAIN[shape](int(now))), pcrs, now=now,
                                    **fields)
    if shape in OTHERS:
        return OTHERS[shape](root, pcrs, now, fields)
    if shape not in FIELDS and shape not in ENVELOPE:
        raise ValueError(f"no malformed document '{shape}'; there are {', '.join(SHAPES)}")
    leaf = pki.hierarchy(int(now), root=root)
    return attestation.document(leaf, pcrs, now=now, envelope=ENVELOPE.get(shape),
                                **{**fields, **FIELDS.get(shape, {})})
