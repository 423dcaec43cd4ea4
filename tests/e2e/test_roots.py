# SPDX-License-Identifier: Apache-2.0
"""units/amazon-roots.pem: Amazon's own authorities and nobody else's, and an agent that trusts no other."""

import hashlib
import pathlib
import shutil
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealer import Sealed

BUNDLE = pathlib.Path(__file__).resolve().parents[2] / "units/amazon-roots.pem"
DEBIAN = pathlib.Path("/usr/share/ca-certificates/mozilla")
# https://www.amazontrust.com/repository/: the SHA-256 of each certificate, and of its SubjectPublicKeyInfo.
PUBLISHED = {
    "Amazon Root CA 1": ("8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
                         "fbe3018031f9586bcbf41727e417b7d1c45c2f47f93be372a17b96b50757d5a2"),
    "Amazon Root CA 2": ("1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
                         "7f4296fc5b6a4e3b35d3c369623e364ab1af381d8fa7121533c9d6c633ea2461"),
    "Amazon Root CA 3": ("18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
                         "36abc32656acfc645c61b71613c4bf21c787f5cabbee48348d58597803d7abc9"),
    "Amazon Root CA 4": ("e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
                         "f7ecded5c66047d28ed6466b543c40e0743abe81d109254dcf845d4c2c7853c5"),
    "Starfield Services Root Certificate Authority - G2": (
        "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5",
        "2b071c59a0a0ae76b0eadb2bad23bad4580b69c3601b630c2eaf0613afa83f92"),
}


def certificates(path: pathlib.Path) -> list[tuple[str, str, str]]:
    """Name, fingerprint and key's fingerprint of each certificate in a PEM file, by OpenSSL's own reading of it."""
    found, pieces = [], path.read_text().split("-----BEGIN CERTIFICATE-----")[1:]
    for piece in pieces:
        text = "-----BEGIN CERTIFICATE-----" + piece.split(
            "-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
        der = subprocess.run(["openssl", "x509", "-outform", "DER"], input=text.encode(), capture_output=True,
                             check=True).stdout
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert certificate.issuer == certificate.subject
        name = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
        found.append((name, hashlib.sha256(der).hexdigest(), hashlib.sha256(key).hexdigest()))
    return found


def test_the_bundle_is_what_amazon_publishes():
    assert certificates(BUNDLE) == [(name, *fingerprints) for name, fingerprints in PUBLISHED.items()]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_bundle_is_what_debian_ships(name):
    path = DEBIAN / (name.replace(" ", "_") + ".crt")
    if not path.exists():
        pytest.skip("ca-certificates is not installed")
    assert certificates(path) == [(name, *PUBLISHED[name])]


@pytest.fixture
def trusted(boot, tmp_path):
    """trusted(...) boots over TLS on a machine whose own store trusts the stack's authority, file and hashed directory
    alike."""
    store, authority = tmp_path / "store", boot.stack.variables["AWS_CA_BUNDLE"]
    store.mkdir()
    shutil.copy(authority, store / "ca-certificates.crt")
    shutil.copy(authority, store / "test.pem")
    subprocess.run(["openssl", "rehash", store], check=True, stderr=subprocess.DEVNULL)
    boot.config["endpoints"] |= {service: boot.stack.endpoints[service + "_tls"] for service in ("kms", "s3")}
    boot.put("model.sealed", bytes(Sealed(b"GGUF", boot.data_key())))
    boot.launch("model.sealed")
    mount = f"mount --bind {store} /etc/ssl/certs && exec \"$@\""
    return {"wrapper": ("unshare", "--mount", "sh", "-c", mount, "sh")}


def test_an_authority_of_the_system_is_trusted_without_a_bundle(boot, trusted):
    assert boot.run(**trusted).returncode == 0


def test_an_authority_of_the_system_is_not_trusted_beside_the_bundle(boot, trusted):
    boot.config["ca_bundle"] = str(BUNDLE)
    boot.refused(15, "certificate", "ca_bundle", **trusted)


def test_kms_is_not_trusted_beside_the_bundle(boot, trusted):
    """Where S3 is plain, KMS is asked."""
    boot.config["ca_bundle"] = str(BUNDLE)
    boot.config["endpoints"]["s3"] = boot.stack.endpoints["s3"]
    boot.config["kms_deadline_seconds"] = 2
    boot.refused(15, "certificate", boot.stack.endpoints["kms_tls"].split("//")[1], **trusted)
