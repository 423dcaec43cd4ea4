# SPDX-License-Identifier: Apache-2.0
"""A certificate hierarchy shaped like the one AWS signs attestation documents with.

root (decades) > regional (weeks) > zonal (days) > instance (a day) > leaf (three hours, not backdated); all P-384,
ECDSA with SHA-384. Every property that a verifier must check is a parameter, so that tests can break one at a time."""

import datetime
import hashlib
import ipaddress
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOUR, DAY = 3600, 86400


@dataclass(frozen=True)
class Shape:
    """What a certificate says. Times are seconds since the epoch."""
    common_name: str
    not_before: int
    not_after: int
    ca: bool | None = True              # None: no basicConstraints at all
    path_length: int | None = None
    key_usage: tuple | None = ()        # names of x509.KeyUsage arguments; (): what the role needs; None: no extension
    curve: type = ec.SECP384R1
    hash: type = hashes.SHA384
    organization: str = "Amazon"
    key_identifiers: bool = True        # RFC 5280 wants them in a chain
    extensions: tuple = ()              # further (extension, critical) pairs
    serial: int | None = None


@dataclass(frozen=True)
class Identity:
    """A certificate with its private key, and where it stands in the chain."""
    certificate: x509.Certificate
    key: object
    issuer: "Identity | None" = None

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.der).hexdigest()

    def path(self) -> list["Identity"]:
        """From the root to this certificate."""
        return (self.issuer.path() if self.issuer else []) + [self]

    def cabundle(self) -> list[bytes]:
        """What a document carries beside its certificate: [root, ..., issuing]."""
        return [i.der for i in self.path()[:-1]]


def _time(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc).replace(tzinfo=None)


def _name(shape: Shape) -> x509.Name:
    parts = [(NameOID.COMMON_NAME, shape.common_name), (NameOID.ORGANIZATIONAL_UNIT_NAME, "AWS"),
             (NameOID.ORGANIZATION_NAME, shape.organization), (NameOID.COUNTRY_NAME, "US")]
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])


def _key_usage(names) -> x509.KeyUsage:
    every = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: name in names for name in every})


def _extensions(shape: Shape):
    if shape.ca is not None:
        yield x509.BasicConstraints(ca=shape.ca, path_length=shape.path_length if shape.ca else None), True
    if shape.key_usage is not None:
        usual = ("key_cert_sign", "crl_sign", "digital_signature") if shape.ca else ("digital_signature",)
        yield _key_usage(shape.key_usage or usual), True
    yield from shape.extensions


def _key_identifiers(shape: Shape, key, issuer_key):
    if shape.key_identifiers:
        yield x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False
        yield x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False


def issue(shape: Shape, issuer: Identity | None = None, *, key=None, signing_key=None, issuer_name=None) -> Identity:
    """A certificate of that shape. Without issuer it signs itself; signing_key forges the signature of somebody
    else."""
    key = key or ec.generate_private_key(shape.curve())
    subject = _name(shape)
    builder = (x509.CertificateBuilder().subject_name(subject)
               .issuer_name(issuer_name or (issuer.certificate.subject if issuer else subject))
               .public_key(key.public_key()).serial_number(shape.serial or x509.random_serial_number())
               .not_valid_before(_time(shape.not_before)).not_valid_after(_time(shape.not_after)))
    signer = signing_key or (issuer.key if issuer else key)
    for extension, critical in [*_extensions(shape), *_key_identifiers(shape, key, issuer.key if issuer else key)]:
        builder = builder.add_extension(extension, critical)
    return Identity(builder.sign(signer, shape.hash()), key, issuer)


def shapes(now: int, *, region="us-east-1", instance="i-0123456789abcdef0", service="nitro-tpm") -> dict[str, Shape]:
    """The usual shapes of the five certificates at the time now; change one with dataclasses.replace."""
    name = f"{region}.aws.{service}"
    return {
        "root": Shape(f"aws.{service}", now - 5 * 365 * DAY, now + 25 * 365 * DAY),
        "regional": Shape(f"5b0e6c1d8f2a4b7e.{name}", now - 6 * DAY, now + 14 * DAY, path_length=2),
        "zonal": Shape(f"c3d1a0f4e5b69788.zonal.{name}", now - 2 * DAY, now + 4 * DAY, path_length=1),
        "instance": Shape(f"{instance}.{name}", now - 6 * HOUR, now + 18 * HOUR, path_length=0),
        "leaf": Shape(f"{instance}-{service}.{name}", now, now + 3 * HOUR, ca=False),
    }


def hierarchy(now: int, *, root: Identity | None = None, **changes) -> Identity:
    """The leaf of a whole chain. changes: root=Identity, or ROLE={field: value} for the shape of one certificate,
    or ROLE=None to leave that certificate out; for example hierarchy(now, leaf={"not_after": now})."""
    identity = root
    for role, shape in shapes(now).items():
        change = changes.get(role, {})
        if change is None or (role == "root" and root):
            continue
        identity = issue(replace(shape, **change), identity)
    return identity


def root(now: int, **change) -> Identity:
    return issue(replace(shapes(now)["root"], **change))


def server(now: int, addresses=("127.0.0.1", "169.254.169.254"), names=("localhost",), *,
           authority: Identity | None = None, usage=ExtendedKeyUsageOID.SERVER_AUTH,
           **change) -> tuple[Identity, Identity]:
    """A TLS authority and a server certificate for the local endpoints; change: fields of the certificate's shape."""
    authority = authority or issue(Shape("sealboot local stack", now - HOUR, now + 30 * DAY, path_length=0,
                                         curve=ec.SECP256R1, hash=hashes.SHA256, organization="sealboot tests"))
    alternatives = [x509.IPAddress(ipaddress.ip_address(a)) for a in addresses] + [x509.DNSName(n) for n in names]
    extensions = ((x509.SubjectAlternativeName(alternatives), False), (x509.ExtendedKeyUsage([usage]), False))
    shape = Shape(names[0], now - HOUR, now + 30 * DAY, ca=False, curve=ec.SECP256R1, hash=hashes.SHA256,
                  organization="sealboot tests", extensions=extensions)
    return authority, issue(replace(shape, **change), authority)


def private_pem(identity: Identity) -> bytes:
    return identity.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                      serialization.NoEncryption())


def load(certificate_pem: bytes, key_pem: bytes) -> Identity:
    return Identity(x509.load_pem_x509_certificate(certificate_pem), serialization.load_pem_private_key(key_pem, None))
