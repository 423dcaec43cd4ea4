# SPDX-License-Identifier: Apache-2.0
"""Verifies attestation documents as KMS does, independently of the product's own verifier."""

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from . import cbor

REQUIRED = {"module_id", "digest", "timestamp", "certificate", "cabundle"}
OPTIONAL = {"public_key", "user_data", "nonce"}
PCR_MAPS = {"nitrotpm_pcrs": 24, "pcrs": 32}
MAXIMUM = {"public_key": 1024, "user_data": 1024, "nonce": 1024, "certificate": 1024}


class DocumentError(ValueError):
    """The document cannot be believed; the text says why."""


@dataclass(frozen=True)
class Document:
    module_id: str
    timestamp: int                # milliseconds since the epoch
    pcrs: dict[int, bytes]
    kind: str                     # "nitrotpm_pcrs" or, from an enclave, "pcrs"
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None
    certificates: list            # leaf first, root last


def require(condition, reason: str):
    if not condition:
        raise DocumentError(reason)


def is_integer(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def envelope(data: bytes) -> tuple[bytes, bytes, bytes]:
    """protected header, payload, signature."""
    try:
        message = cbor.loads(data)
    except cbor.CBORError as e:
        raise DocumentError(f"not CBOR: {e}") from e
    if isinstance(message, cbor.Tag):
        require(message.number == 18, f"CBOR tag {message.number} is not COSE_Sign1")
        message = message.value
    require(isinstance(message, list) and len(message) == 4, "not an array of four")
    protected, unprotected, body, signature = message
    require(all(isinstance(part, bytes) for part in (protected, body, signature)), "a part is not a byte string")
    require(unprotected == {} and isinstance(unprotected, dict), "unprotected header is not an empty map")
    require(len(signature) == 96, "signature is not 96 bytes")
    try:
        header = cbor.loads(protected)
    except cbor.CBORError as e:
        raise DocumentError(f"protected header: {e}") from e
    require(isinstance(header, dict) and list(header.items()) == [(1, -35)], "algorithm is not ES384 alone")
    return protected, body, signature


def fields(body: bytes) -> dict:
    try:
        content = cbor.loads(body)
    except cbor.CBORError as e:
        raise DocumentError(f"payload: {e}") from e
    require(isinstance(content, dict), "payload is not a map")
    kinds = [kind for kind in PCR_MAPS if kind in content]
    require(len(kinds) == 1, "payload has not one map of PCRs")
    unknown = set(content) - REQUIRED - OPTIONAL - set(kinds)
    require(not unknown, f"unknown payload fields {sorted(map(str, unknown))}")
    require(REQUIRED <= set(content), f"payload lacks {sorted(REQUIRED - set(content))}")
    require(isinstance(content["module_id"], str) and content["module_id"], "module_id is not text")
    require(content["digest"] == "SHA384", "digest is not SHA384")
    require(is_integer(content["timestamp"]) and content["timestamp"] > 0, "timestamp is not a positive integer")
    for name in OPTIONAL:
        require(content.get(name) is None or isinstance(content[name], bytes), f"{name} is not bytes or null")
    for name, limit in MAXIMUM.items():
        require(content.get(name) is None or len(content[name]) <= limit, f"{name} is longer than {limit}")
    check_pcrs(content[kinds[0]], PCR_MAPS[kinds[0]])
    content["kind"] = kinds[0]
    return content


def check_pcrs(pcrs, limit: int):
    require(isinstance(pcrs, dict) and 1 <= len(pcrs) <= 32, "PCRs are not a map")
    for index, value in pcrs.items():
        require(is_integer(index) and 0 <= index < limit, f"no PCR {index!r}")
        require(isinstance(value, bytes) and len(value) == 48, f"PCR {index} is not 48 bytes")


def load_chain(content: dict) -> list[x509.Certificate]:
    bundle = content["cabundle"]
    require(isinstance(content["certificate"], bytes) and content["certificate"], "certificate is not bytes")
    require(isinstance(bundle, list) and 1 <= len(bundle) <= 8, "cabundle is not a list of certificates")
    require(all(isinstance(c, bytes) and 1 <= len(c) <= 1024 for c in bundle), "cabundle entry is not 1 to 1024 bytes")
    try:
        return [x509.load_der_x509_certificate(der) for der in [content["certificate"], *reversed(bundle)]]
    except ValueError as e:
        raise DocumentError(f"certificate does not parse: {e}") from e


def check_issued(child: x509.Certificate, parent: x509.Certificate, below: int):
    """below: CA certificates between this parent and the leaf."""
    require(child.issuer == parent.subject, "issuer's name does not match")
    try:
        constraints = parent.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = parent.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as e:
        raise DocumentError("issuer lacks basicConstraints or keyUsage") from e
    require(constraints.ca and usage.key_cert_sign, "issuer is not a certificate authority")
    require(constraints.path_length is None or constraints.path_length >= below, "path is longer than an issuer allows")
    require(isinstance(child.signature_hash_algorithm, hashes.SHA384), "certificate is not signed with SHA-384")
    try:
        parent.public_key().verify(child.signature, child.tbs_certificate_bytes, ec.ECDSA(hashes.SHA384()))
    except (InvalidSignature, UnsupportedAlgorithm) as e:
        raise DocumentError("a certificate's signature does not verify") from e


def validity(certificate: x509.Certificate) -> tuple[float, float]:
    if hasattr(certificate, "not_valid_before_utc"):        # cryptography >= 42; the older names warn there
        moments = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    else:
        moments = certificate.not_valid_before, certificate.not_valid_after
    return tuple(moment.replace(tzinfo=datetime.timezone.utc).timestamp() for moment in moments)


def check_chain(chain: list[x509.Certificate], root_der: bytes, at: float):
    require(chain[-1].public_bytes(Encoding.DER) == root_der, "chain does not end at the trusted root")
    for certificate in chain:
        key = certificate.public_key()
        require(isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP384R1), "key is not P-384")
        start, end = validity(certificate)
        require(start <= at, "a certificate is not yet valid")
        require(at <= end, "a certificate has expired")
    for below, (child, parent) in enumerate(zip(chain, chain[1:] + chain[-1:])):
        check_issued(child, parent, below if child is not parent else below - 1)
    leaf = chain[0].extensions
    try:
        require(not leaf.get_extension_for_class(x509.BasicConstraints).value.ca, "leaf is a certificate authority")
        require(leaf.get_extension_for_class(x509.KeyUsage).value.digital_signature, "leaf may not sign")
    except x509.ExtensionNotFound as e:
        raise DocumentError("leaf lacks basicConstraints or keyUsage") from e


def verify(data: bytes, root_der: bytes, at: float) -> Document:
    """at: seconds since the epoch, the moment for which certificates must be valid."""
    protected, body, signature = envelope(data)
    content = fields(body)
    chain = load_chain(content)
    try:
        check_chain(chain, root_der, at)
    except (ValueError, TypeError) as e:
        raise e if isinstance(e, DocumentError) else DocumentError(f"certificate: {e}") from e
    message = cbor.dumps(["Signature1", protected, b"", body])
    der = encode_dss_signature(int.from_bytes(signature[:48], "big"), int.from_bytes(signature[48:], "big"))
    try:
        chain[0].public_key().verify(der, message, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature as e:
        raise DocumentError("the document's signature does not verify") from e
    return Document(content["module_id"], content["timestamp"], content[content["kind"]], content["kind"],
                    content.get("public_key"), content.get("user_data"), content.get("nonce"), chain)
