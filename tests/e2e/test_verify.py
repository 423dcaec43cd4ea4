# SPDX-License-Identifier: Apache-2.0
"""sealboot verify: documents that must be refused, each for its own reason, and real ones that must not."""

import base64
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from manuals import ROOT, members, undocumented
from stack import attestation, cbor, malformed, pki

DOCUMENT, MISMATCH, USAGE, IO = 72, 73, 2, 61
NOW = int(time.time())
PCRS = {**attestation.zero_pcrs(), 4: b"\x44" * 48}
FIRMWARE_ALONE = hashlib.sha384(bytes(48) + hashlib.sha384(bytes(4)).digest()).digest()  # PCR2: a separator


@pytest.fixture(scope="module")
def root():
    return pki.root(NOW)


@pytest.fixture(scope="module")
def leaf(root):
    return pki.hierarchy(NOW, root=root)


@pytest.fixture
def verify(build, root, tmp_path):
    (tmp_path / "root.pem").write_bytes(root.pem)

    def call(document: bytes, *arguments, at="document"):
        (tmp_path / "document").write_bytes(document)
        result = subprocess.run([build / "policy/sealboot", "verify", "--json", "--root", tmp_path / "root.pem", "--at",
                                 str(at),
                                 *arguments, tmp_path / "document"], capture_output=True, text=True)
        answer = json.loads(result.stdout) if result.stdout else {}
        result.verified = answer.get("verified")
        result.document = answer.get("document")
        result.checks = {c["name"]: (c["result"], c["detail"]) for c in answer.get("checks", [])}
        return result
    return call


def check_refused(result, check, words):
    assert (result.returncode, result.verified) == (DOCUMENT, False), result
    failed = [(name, detail) for name, (outcome, detail) in result.checks.items() if outcome == "failed"]
    assert [name for name, _ in failed] == [check], failed
    assert words in failed[0][1], failed
    assert result.document is None


# Every malformed document that the emulator can sign: the check that refuses it, and why.
EMULATED = {
    "leaf-expired": ("validity", "certificate 1 of 5"),
    "leaf-not-yet-valid": ("validity", "is not yet valid"),
    "zonal-expired": ("validity", "certificate 3 of 5"),
    "instance-not-ca": ("chain", "is not a CA (CA bit missing)"),
    "instance-no-constraints": ("chain", "does not say whether it is a CA"),
    "instance-no-key-usage": ("chain", "issued another one, but its key usage"),
    "regional-path-too-short": ("chain", "more CAs below it than its path length allows"),
    "leaf-is-ca": ("chain", "signed the document, but is a CA"),
    "leaf-p256": ("structure", "signature is 64 bytes long, not 96"),
    "leaf-may-not-sign": ("chain", "signed the document, but its key usage"),
    "leaf-signed-sha256": ("chain", "not signed with ecdsa-with-SHA384"),
    "no-module-id": ("structure", 'has no "module_id"'),
    "empty-module-id": ("structure", "module_id is 0 bytes long"),
    "digest-sha256": ("structure", 'digest is "SHA256"'),
    "timestamp-text": ("structure", "timestamp is text where an unsigned integer"),
    "timestamp-negative": ("structure", "timestamp is a negative integer"),
    "timestamp-zero": ("structure", "timestamp is 0, which is no time"),
    "no-pcrs": ("structure", 'has neither "nitrotpm_pcrs" nor "pcrs"'),
    "pcrs-empty": ("structure", "holds 0 PCRs"),
    "pcrs-list": ("structure", "nitrotpm_pcrs is an array where a map belongs"),
    "pcr-short": ("structure", "is 47 bytes long, not 48"),
    "pcr-long": ("structure", "is 49 bytes long, not 48"),
    "pcr-index-24": ("structure", "holds PCR24, which does not exist"),
    "pcr-index-text": ("structure", "nitrotpm_pcrs is text where an unsigned integer"),
    "pcr-duplicate": ("structure", "holds PCR4 twice"),
    "no-certificate": ("structure", 'has no "certificate"'),
    "certificate-garbage": ("chain", "certificate 1, counted from the leaf, is not one DER certificate"),
    "cabundle-empty": ("structure", "cabundle holds 0 certificates"),
    "cabundle-not-list": ("structure", "cabundle is a byte string where an array"),
    "cabundle-entry-empty": ("structure", "cabundle is 0 bytes long"),
    "user-data-text": ("structure", "user_data is text where a byte string"),
    "user-data-long": ("structure", "user_data is 1025 bytes long"),
    "nonce-long": ("structure", "nonce is 1025 bytes long"),
    "public-key-long": ("structure", "public_key is 1025 bytes long"),
    "unknown-field": ("structure", 'unknown key "surprise"'),
    "both-pcr-maps": ("structure", 'has both "nitrotpm_pcrs" and "pcrs"'),
    "algorithm-es256": ("structure", "names algorithm -7, expected ES384"),
    "algorithm-es512": ("structure", "names algorithm -36, expected ES384"),
    "algorithm-missing": ("structure", "protected header has 0 parameters"),
    "algorithm-text": ("structure", "names its algorithm by text"),
    "protected-surplus": ("structure", "protected header has 2 parameters"),
    "protected-empty": ("structure", "protected header is 0 bytes long"),
    "unprotected-not-empty": ("structure", "unprotected header is not empty"),
    "unprotected-list": ("structure", "unprotected header is an array where a map"),
    "tag-17": ("structure", "has CBOR tag 17"),
    "three-parts": ("structure", "not a COSE_Sign1 array of four"),
    "five-parts": ("structure", "not a COSE_Sign1 array of four"),
    "context-signature": ("signature", "does not verify"),
    "signature-empty": ("structure", "signature is 0 bytes long, not 96"),
    "signature-zero": ("signature", "does not verify"),
    "signature-short": ("structure", "signature is 95 bytes long, not 96"),
    "signature-sha256": ("signature", "does not verify"),
    "other-root": ("chain", "is not the pinned root"),
    "signed-by-other": ("signature", "does not verify"),
    "bundle-reversed": ("chain", "is not the pinned root"),
    "bundle-missing-link": ("chain", "was not issued by the next one"),
    "bundle-no-root": ("chain", "is not the pinned root"),
    "signature-der": ("structure", "bytes long, not 96"),
    "duplicate-key": ("structure", 'has the key "nonce" twice'),
    "trailing-byte": ("structure", "the message is followed by 1 more bytes"),
    "payload-trailing-byte": ("structure", "the payload is followed by 1 more bytes"),
    "truncated": ("structure", "the signature is cut short"),
    "half": ("structure", "the payload is cut short"),
    "empty": ("structure", "the message is cut short"),
    "signature-flipped": ("signature", "does not verify"),
    "not-cbor": ("structure", "ends before it is complete"),
}


@pytest.mark.parametrize("shape", sorted(set(malformed.SHAPES) - {"payload-flipped"}))
def test_emulated(verify, root, shape):
    check, words = EMULATED[shape]
    check_refused(verify(malformed.make(shape, root, PCRS, NOW), at=NOW), check, words)


UNKNOWN_CRITICAL = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00"), True)
CHAINS = {
    "regional-expired": ({"regional": {"not_after": NOW - 1}}, "validity", "certificate 4 of 5"),
    "instance-expired": ({"instance": {"not_after": NOW - 1}}, "validity", "certificate 2 of 5"),
    "instance-not-yet-valid": ({"instance": {"not_before": NOW + 60}}, "validity", "the clock says"),
    "zonal-not-ca": ({"zonal": {"ca": False}}, "chain", "certificate 3 of 5"),
    "regional-not-ca": ({"regional": {"ca": False}}, "chain", "certificate 4 of 5"),
    "zonal-may-not-sign": ({"zonal": {"key_usage": ("digital_signature", )}}, "chain", "its key usage does not allow"),
    "zonal-path-too-short": ({"zonal": {"path_length": 0}}, "chain", "certificate 3 of 5"),
    "instance-p256": ({"instance": {"curve": ec.SECP256R1}}, "chain", "certificate 2 of 5"),
    "zonal-p521": ({"zonal": {"curve": ec.SECP521R1}}, "chain", "not on the curve P-384"),
    "regional-signed-sha512": ({"regional": {"hash": hashes.SHA512}}, "chain", "not signed with ecdsa-with-SHA384"),
    "leaf-no-constraints": ({"leaf": {"ca": None}}, "chain", "does not say whether it is a CA"),
    "leaf-no-key-usage": ({"leaf": {"key_usage": None}}, "chain", "its key usage does not allow"),
    "leaf-critical-extension": ({"leaf": {"extensions": (UNKNOWN_CRITICAL, )}}, "chain",
                                "unhandled critical extension"),
    "zonal-critical-extension": ({"zonal": {"extensions": (UNKNOWN_CRITICAL, )}}, "chain",
                                 "unhandled critical extension"),
    "zonal-left-out": ({"zonal": None}, None, None),
}


@pytest.mark.parametrize("name", CHAINS)
def test_chains(verify, root, name):
    changes, check, words = CHAINS[name]
    result = verify(attestation.document(pki.hierarchy(NOW, root=root, **changes), PCRS, now=NOW), at=NOW)
    if check:
        check_refused(result, check, words)
    else:
        assert result.verified, result.checks


def test_a_leaf_on_another_curve(verify, root):
    leaf = pki.hierarchy(NOW, root=root, leaf={"curve": ec.SECP256R1})
    document = attestation.document(leaf, PCRS, now=NOW, envelope={"signature": bytes(96)})
    check_refused(verify(document, at=NOW), "chain", "certificate 1 of 5")


def resigned(issuing: str, root):
    """A chain in which one certificate names its issuer but was signed by another key."""
    shapes, identity, forger = pki.shapes(NOW), root, ec.generate_private_key(ec.SECP384R1())
    for role in ("regional", "zonal", "instance", "leaf"):
        identity = pki.issue(shapes[role], identity, signing_key=forger if role == issuing else None)
    return identity


@pytest.mark.parametrize("role, number", [("leaf", 1), ("instance", 2), ("zonal", 3), ("regional", 4)])
def test_forged_certificates(verify, root, role, number):
    document = attestation.document(resigned(role, root), PCRS, now=NOW)
    check_refused(verify(document, at=NOW), "chain", f"certificate {number} of 5")


def test_a_root_of_the_same_name(verify, root):
    other = pki.hierarchy(NOW, root=pki.root(NOW))
    document = attestation.document(other, PCRS, now=NOW, cabundle=[root.der, *other.cabundle()[1:]])
    check_refused(verify(document, at=NOW), "chain", "certificate 4 of 5")


@pytest.mark.parametrize("order", [(0, 2, 1, 3), (0, 1, 3, 2), (0, 3, 2, 1)])
def test_chain_order(verify, leaf, order):
    bundle = leaf.cabundle()
    document = attestation.document(leaf, PCRS, now=NOW, cabundle=[bundle[i] for i in order])
    check_refused(verify(document, at=NOW), "chain", "")


def test_surplus_certificates(verify, leaf):
    bundle = leaf.cabundle()
    twice = attestation.document(leaf, PCRS, now=NOW, cabundle=[*bundle, bundle[-1]])
    check_refused(verify(twice, at=NOW), "chain", "certificate 3 of 6")
    many = attestation.document(leaf, PCRS, now=NOW, cabundle=[bundle[0]] * 9)
    check_refused(verify(many, at=NOW), "structure", "cabundle holds 9 certificates")


def raw_payload(leaf, edit):
    return attestation.sign(edit(attestation.payload(leaf, PCRS, now=NOW)), leaf.key)


def as_definite(fields):
    return cbor.dumps(cbor.Pairs(list(fields.items())))


def with_raw(name, encoded):
    return lambda fields: cbor.dumps(cbor.Pairs([(k, cbor.Raw(encoded) if k == name else v)
                                                 for k, v in fields.items()]))


PAYLOADS = {
    "open-nonce": (with_raw("nonce", b"\x5f\x41x\xff"), "indefinite length"),
    "open-module-id": (with_raw("module_id", b"\x7f\x61x\xff"), "indefinite length"),
    "open-cabundle": (with_raw("cabundle", b"\x9f\x41x\xff"), "indefinite length"),
    "open-pcrs": (with_raw("nitrotpm_pcrs", b"\xbf\x04\x58\x30" + bytes(48) + b"\xff"), "indefinite length"),
    "long-head": (with_raw("timestamp", b"\x1b\x00\x00\x00\x00\x00\x00\x00\x17"), "not in its shortest form"),
    "long-length": (with_raw("nonce", b"\x58\x01x"), "not in its shortest form"),
    "float-timestamp": (with_raw("timestamp", b"\xfb\x42\x78\x00\x00\x00\x00\x00\x00"), "a CBOR float or simple value"),
    "undefined-nonce": (with_raw("nonce", b"\xf7"), "a CBOR float or simple value"),
    "boolean-nonce": (with_raw("nonce", b"\xf5"), "is a boolean where a byte string"),
    "tagged-nonce": (with_raw("nonce", b"\xc2\x41x"), "is a tag where a byte string"),
    "reserved-head": (with_raw("nonce", b"\x5c"), "reserved CBOR head"),
    "latin1-module-id": (with_raw("module_id", b"\x61\xe9"), "not UTF-8"),
    "long-module-id": (lambda f: cbor.dumps({**f, "module_id": "i" * 257}), "module_id is 257 bytes long"),
    "timestamp-10000": (lambda f: cbor.dumps({**f, "timestamp": 253402300800000}), "no time in milliseconds"),
    "many-pcrs": (with_raw("nitrotpm_pcrs", b"\xb8\x19"), "holds 25 PCRs"),
    "huge-pcrs": (with_raw("nitrotpm_pcrs", b"\xbb" + b"\xff" * 8), "holds 18446744073709551615 PCRs"),
    "pcr-text": (lambda f: cbor.dumps({**f, "nitrotpm_pcrs": {4: "0" * 48}}), "is text where a byte string"),
    "negative-index": (lambda f: cbor.dumps({**f, "nitrotpm_pcrs": {-1: bytes(48)}}), "is a negative integer"),
    "huge-length": (with_raw("nonce", b"\x5b" + b"\xff" * 8), "is cut short"),
    "huge-cabundle": (with_raw("cabundle", b"\x9a\xff\xff\xff\xff"), "cabundle holds 4294967295 certificates"),
    "long-certificate": (lambda f: cbor.dumps({**f, "certificate": bytes(1025)}), "certificate is 1025 bytes long"),
    "null-certificate": (lambda f: cbor.dumps({**f, "certificate": None}), "certificate is null"),
    "digest-missing": (lambda f: cbor.dumps({k: v for k, v in f.items() if k != "digest"}), 'has no "digest"'),
    "integer-key": (lambda f: cbor.dumps({**f, 7: 7}), "is an unsigned integer where text belongs"),
    "key-twice-open": (lambda f: cbor.dumps(cbor.OpenMap([*f.items(),
                                                          ("digest", "SHA384")])), 'has the key "digest" twice'),
    "open-no-break": (lambda f: cbor.dumps(cbor.OpenMap(list(f.items())))[:-1], "is cut short"),
    "open-two-breaks": (lambda f: cbor.dumps(cbor.OpenMap(list(f.items()))) + b"\xff", "followed by 1 more bytes"),
    "open-break-at-value": (lambda f: cbor.dumps(cbor.OpenMap(list(f.items())))[:-1] + b"\x61x\xff", 'unknown key "x"'),
    "array-payload": (lambda f: cbor.dumps(list(f)), "the payload is not a map"),
    "long-map-head": (lambda f: b"\xb8\x09" + as_definite(f)[1:], "not in its shortest form"),
    "map-too-short": (lambda f: b"\xa8" + as_definite(f)[1:], "followed by"),
    "map-too-long": (lambda f: b"\xaa" + as_definite(f)[1:], "is cut short"),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_payloads(verify, leaf, name):
    edit, words = PAYLOADS[name]
    check_refused(verify(raw_payload(leaf, edit), at=NOW), "structure", words)


def test_certificates_with_something_after_them(verify, leaf):
    document = attestation.document(leaf, PCRS, now=NOW, certificate=leaf.der + b"\0")
    check_refused(verify(document, at=NOW), "chain", "is not one DER certificate")


ENVELOPES = {
    "open-array": (lambda d: b"\x9f" + d[1:] + b"\xff", "indefinite length"),
    "long-array-head": (lambda d: b"\x98\x04" + d[1:], "not in its shortest form"),
    "open-unprotected": (lambda d: d.replace(b"\xa0\x59", b"\xbf\xff\x59", 1), "indefinite length"),
    "tag-twice": (lambda d: b"\xd2\xd2" + d, "not a COSE_Sign1 array of four"),
    "long-tag": (lambda d: b"\xd8\x12" + d, "not in its shortest form"),
    "protected-map": (lambda d: b"\x84\xa1\x01\x38\x22" + d[6:], "protected header is a map where a byte string"),
    "protected-open": (lambda d: d.replace(b"\x44\xa1\x01\x38\x22", b"\x45\xbf\x01\x38\x22\xff", 1),
                       "indefinite length"),
    "protected-trailing": (lambda d: d.replace(b"\x44\xa1\x01\x38\x22", b"\x45\xa1\x01\x38\x22\x00", 1),
                           "followed by 1 more"),
    "protected-crit": (lambda d: d.replace(b"\x44\xa1\x01\x38\x22", b"\x44\xa1\x02\x38\x22", 1),
                       "parameter 2 where the algorithm"),
    "detached": (lambda d: d[:7] + b"\xf6" + d[-98:], "the payload is null"),
    "oversize": (lambda d: d + bytes(40000), "larger than 32768 bytes"),
    "two-documents": (lambda d: d + d, "more bytes"),
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_envelopes(verify, leaf, name):
    edit, words = ENVELOPES[name]
    check_refused(verify(edit(attestation.document(leaf, PCRS, now=NOW)), at=NOW), "structure", words)


def test_the_tables_are_long_enough():
    assert len(EMULATED) + len(CHAINS) - 1 + len(PAYLOADS) + len(ENVELOPES) >= 60


def test_not_yet_valid_says_clock(verify, leaf):
    result = verify(attestation.document(leaf, PCRS, now=NOW), at=NOW - 60)
    check_refused(result, "validity", "clock")
    assert "starts at" in result.checks["validity"][1]


@pytest.mark.parametrize("definite", [False, True])
def test_valid(verify, leaf, tmp_path, definite):
    fields = attestation.payload(leaf, PCRS, now=NOW, nonce=b"fresh", user_data=b"", public_key=b"key")
    document = attestation.sign(as_definite(fields) if definite else fields, leaf.key)
    reference = {
        "Measurements": {"HashAlgorithm": "SHA384 { ... }", "PCR2": "00" * 48, "PCR4": "44" * 48, "PCR12": "00" * 48}
    }
    (tmp_path / "image.json").write_text(json.dumps(reference))
    (tmp_path / "key").write_bytes(b"key")
    result = verify(document, "--nonce", b"fresh".hex(), "--public-key", f"@{tmp_path / 'key'}", "--user-data", "",
                    "--reference", tmp_path / "image.json", "--max-age", "3600", at=NOW + 10)
    assert (result.returncode, result.verified) == (0, True), result
    assert {name for name, (outcome, _) in result.checks.items() if outcome == "passed"} == {
        "structure", "chain", "validity", "signature", "age", "nonce", "user-data", "public-key", "pcrs",
        "command-line", "drivers"
    }
    assert {name for name, (outcome, _) in result.checks.items() if outcome == "not checked"} == {"debug-mode", "model"}
    assert result.document["pcrs"]["4"] == "44" * 48 and result.document["nonce"] == b"fresh".hex()


@pytest.mark.parametrize("pcrs, more, missing", [
    ((2, 4, 12), {}, set()),
    ((4, 12), {}, {"drivers"}),
    ((2, 4, 7), {}, {"command-line"}),
    ((4, ), {}, {"command-line", "drivers"}),
    ((4, 7, 12), {"SecureBoot": False}, {"drivers"}),
    ((4, 7), {"SecureBoot": True}, set()),
    ((4, ), {"SecureBoot": True}, {"command-line", "drivers"}),
])
def test_a_reference_must_cover_what_pcr4_does_not(verify, leaf, tmp_path, pcrs, more, missing):
    """As nitro-tpm-pcr-compute writes it, a reference has no PCR2: a UEFI driver that ran before the image goes
    unnoticed."""
    presented = {**PCRS, 2: FIRMWARE_ALONE, 7: b"\x77" * 48}
    document = attestation.document(leaf, presented, now=NOW)
    (tmp_path / "image.json").write_text(
        json.dumps({"Measurements": {f"PCR{n}": presented[n].hex() for n in pcrs}, **more}))
    result = verify(document, "--reference", tmp_path / "image.json")
    assert (result.returncode, result.verified) == ((MISMATCH, False) if missing else (0, True)), result
    assert {name for name, (outcome, _) in result.checks.items() if outcome == "failed"} == missing
    assert all("has PCR4 but no PCR" in result.checks[name][1] for name in missing)
    result = verify(document, "--partial-reference", "--reference", tmp_path / "image.json")
    assert (result.returncode, result.verified) == (0, True), result
    assert all(result.checks[name][0] == "not checked" for name in missing)


def test_pcr2_tells_of_a_driver(verify, leaf, tmp_path):
    (tmp_path / "image.json").write_text(json.dumps({"Measurements": {
        "PCR2": FIRMWARE_ALONE.hex(), "PCR4": "44" * 48, "PCR12": "00" * 48}}))
    good, bad = (attestation.document(leaf, {**PCRS, 2: value}, now=NOW) for value in (FIRMWARE_ALONE, b"\x22" * 48))
    assert "no UEFI driver from outside the firmware ran" in verify(good).checks["drivers"][1]
    assert "; a UEFI driver from outside the firmware ran" in verify(bad).checks["drivers"][1]
    assert verify(good, "--reference", tmp_path / "image.json").returncode == 0
    result = verify(bad, "--reference", tmp_path / "image.json")
    assert result.returncode == MISMATCH and "; a UEFI driver from outside the firmware ran" in result.checks["pcrs"][1]


def extended(digest: bytes) -> bytes:
    h = hashes.Hash(hashes.SHA384())
    h.update(bytes(48) + digest)
    return h.finalize()


def test_model_digest(verify, leaf):
    digest, other = os.urandom(48), os.urandom(48)
    document = attestation.document(leaf, {**PCRS, 15: extended(digest)}, now=NOW)
    assert verify(document, "--model-digest", other.hex(), "--model-digest", digest.hex(),
                  at=NOW).checks["model"][0] == "passed"
    result = verify(document, "--model-digest", other.hex(), at=NOW)
    assert result.returncode == MISMATCH and "PCR15 has been extended, but not once" in result.checks["model"][1]
    result = verify(attestation.document(leaf, PCRS, now=NOW), "--model-digest", digest.hex(), at=NOW)
    assert result.returncode == MISMATCH and "no model has been measured" in result.checks["model"][1]


def test_times_that_there_are(verify, leaf):
    document = attestation.document(leaf, PCRS, now=NOW)
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW + 60))
    assert verify(document, at=at).returncode == verify(document, at=NOW + 60).returncode == 0
    for at in ("2024-02-29T23:59:59Z", "1970-01-01T00:00:00Z"):
        check_refused(verify(document, at=at), "validity", "not yet valid")


@pytest.mark.parametrize("arguments, code", [
    (["--nonce", "abc"], USAGE),
    (["--nonce", "zz"], USAGE),
    (["--nonce", "@/nonexistent"], IO),
    (["--reference", "/nonexistent"], IO),
    (["--reference", "/dev/null"], USAGE),
    (["--model-digest", "00"], USAGE),
    (["--max-age", "-1"], USAGE),
    (["--max-age", "soon"], USAGE),
    (["--at", "yesterday"], USAGE),
    (["--root", "/dev/null"], USAGE),
    (["--at", "2026-02-30T00:00:00Z"], USAGE),
    (["--at", "2026-01-01T24:00:00Z"], USAGE),
    (["--at", "2026-1-1T00:00:00Z"], USAGE),
    (["--at", "1969-12-31T23:59:59Z"], USAGE),
    (["--at", "-1"], USAGE),
    (["--max-age", "1"], USAGE),
    (["--no-such-option"], USAGE),
    (["another"], USAGE),
])
def test_usage(verify, leaf, arguments, code):
    result = verify(attestation.document(leaf, PCRS, now=NOW), *arguments)
    assert (result.returncode, result.stdout) == (code, ""), result


def test_base64_and_text(build, root, leaf, tmp_path):
    (tmp_path / "root.pem").write_bytes(root.pem)
    document = attestation.document(leaf, PCRS, now=NOW)
    command = [build / "policy/sealboot", "verify", "--root", tmp_path / "root.pem", "-"]
    result = subprocess.run(command, input=base64.encodebytes(document), capture_output=True)
    assert result.returncode == 0 and b"authentic" in result.stdout and b"not checked  nonce" in result.stdout, result
    assert subprocess.run(command, input=document.hex().encode() + b"\n", capture_output=True).returncode == 0
    result = subprocess.run(command, input=b"certainly not base64", capture_output=True)
    assert result.returncode == DOCUMENT, result
    flipped = document[:-1] + bytes([document[-1] ^ 1])
    result = subprocess.run(command, input=flipped, capture_output=True)
    assert result.returncode == DOCUMENT
    assert b"FAILED       signature" in result.stdout and b"trust nothing" in result.stdout, result


def forms(document):
    """What web services, SDKs and shells make of a document."""
    text, url = base64.b64encode(document).decode(), base64.urlsafe_b64encode(document).decode()
    yield from {
        "base64url": url,
        "base64url without padding": url.rstrip("="),
        "base64 without padding": text.rstrip("="),
        "base64 of Windows": "\ufeff" + text.replace("A", "A\r\n"),
        "hex in capitals": document.hex().upper(),
        "0x": "0x" + document.hex(),
        "hex with a mark": "\ufeff" + document.hex() + "\r\n",
        "a JSON string": json.dumps(text) + "\n",
        "the README of others": json.dumps({"attestation_document": text}),
        "nested": json.dumps({"status": "ok", "id": "AAAA", "Recipient": {"AttestationDocument": url}, "again": [text]},
                             indent=2),
        "byte values": json.dumps({"attestation_doc": list(document)}),
        "a Node.js Buffer": json.dumps({"type": "Buffer", "data": list(document)}),
        "byte values alone": json.dumps(list(document), indent=4),
        "JSON of Windows": "\ufeff" + json.dumps({"d": text}) + "\r\n",
        "PEM armour": "-----BEGIN ATTESTATION DOCUMENT-----\n" + base64.encodebytes(document).decode()
        + "-----END ATTESTATION DOCUMENT-----\n",
        "PEM of Windows": "-----BEGIN CMS-----\r\n" + text + "\r\n-----END CMS-----\r\n",
        "0X": "0X" + document.hex(),
        "hex with colons": document.hex(":"),
        "hex with spaces": document.hex(" "),
        "a data: URL": "data:application/cbor;base64," + text,
        "in a shell's quotes": f"'{text}'\n",
        "a JSON string of PHP": json.dumps(text).replace("/", "\\/"),
        "lines in a JSON string": json.dumps({"d": base64.encodebytes(document).decode()}),
        "encoded twice": base64.encodebytes(text.encode()).decode(),
        "spaces before JSON": "\r\n \t" + json.dumps({"d": document.hex()}),
    }.items()


def test_forms_of_a_document(build, root, leaf, tmp_path):
    (tmp_path / "root.pem").write_bytes(root.pem)
    document = attestation.document(leaf, PCRS, now=NOW)
    command = [build / "policy/sealboot", "verify", "--at", "document", "--root", tmp_path / "root.pem", "-"]
    for name, text in forms(document):
        encodings = ("utf-8", "utf-16") if text.isascii() else ("utf-8",)  # Python's utf-16 starts with FF FE
        for encoding in encodings:
            result = subprocess.run(command, input=text.encode(encoding), capture_output=True)
            assert result.returncode == 0, (name, encoding, result)
    answer = b"\xa1\x6bAttestation\xa1\x68document"  # of the NSM and of the NitroTPM, whole
    for prefix in (b"", answer):
        wrapped = prefix + b"\x59" + len(document).to_bytes(2, "big") + document
        assert subprocess.run(command, input=wrapped, capture_output=True).returncode == 0, prefix
        assert subprocess.run(command, input=wrapped + b"x", capture_output=True).returncode == DOCUMENT, prefix
    assert subprocess.run(command, input=answer, capture_output=True).returncode == DOCUMENT
    tagged = b"\xd2" + document
    assert subprocess.run(command, input=json.dumps({"d": base64.b64encode(tagged).decode()}).encode(),
                          capture_output=True).returncode == 0


@pytest.mark.parametrize("text, words", [
    ("{}", "holds no attestation document"),
    ('{"a": "AAAA"}', "holds no attestation document"),
    ("[]", "holds no attestation"),
    ('{"d": [132, 256, 1]}', "holds no attestation document"),
    ('{"d": [132, -1, 1]}', "holds no attestation document"),
    ('{"d": "hAAA", "e": "hAAB"}', "holds several"),
    ('{"d": ', "is not valid JSON"),
    ('{"d": "\\ud800"}', "JSON"),
    ('"', "is neither a COSE_Sign1 message nor"),
    ("", "is cut short"),
    ("hA!A", "is neither"),
    ("84a", "is neither"),
    ("hAAAA", "is neither"),
    ("\ufeff", "is cut short"),
    ("\0\0\0\0", "is neither"),
])
def test_forms_that_hold_no_document(build, tmp_path, text, words):
    result = subprocess.run([build / "policy/sealboot", "verify", "-"], input=text.encode(), capture_output=True)
    assert result.returncode == DOCUMENT and words in (result.stdout + result.stderr).decode(), result


def test_what_attest_prints_for_kms_can_be_verified(sealboot, stack, tmp_path):
    (tmp_path / "key.der").write_bytes(b"key")
    assert sealboot("attest", "-p", tmp_path / "key.der", "--json", "-o", tmp_path / "recipient.json").returncode == 0
    result = sealboot("verify", "--root", stack.variables["SEALBOOT_ATTESTATION_ROOT"], "--public-key",
                      f"@{tmp_path / 'key.der'}", tmp_path / "recipient.json")
    assert result.returncode == 0, result


def test_the_emulators_own_document(sealboot, stack, tmp_path):
    (tmp_path / "nonce").write_bytes(os.urandom(32))
    assert sealboot("attest", "--nonce", tmp_path / "nonce", "--output", tmp_path / "document").returncode == 0
    result = sealboot("verify", "--root", stack.variables["SEALBOOT_ATTESTATION_ROOT"], "--nonce",
                      f"@{tmp_path / 'nonce'}", "--max-age", "60", tmp_path / "document")
    assert result.returncode == 0, result
    assert sealboot("verify", tmp_path / "document").returncode == DOCUMENT     # AWS's root did not sign it


def test_the_manual_has_every_member_of_the_json(verify, leaf):
    answer = json.loads(verify(attestation.document(leaf, PCRS, now=NOW)).stdout)
    assert undocumented(answer, "verify") - {str(i) for i in range(24)} == set()
    assert "user_data" in members(answer)


@pytest.mark.parametrize("renderer", [["mandoc", "-Tascii"], ["groff", "-mandoc", "-Tascii"]], ids=lambda r: r[0])
def test_manuals_name_the_verb_whoever_renders_them(renderer):
    if not shutil.which(renderer[0]):
        pytest.skip(f"{renderer[0]} is not installed")
    for page in (pathlib.Path(__file__).resolve().parents[2] / "policy/man").glob("sealboot-*.1"):
        shown = subprocess.run([*renderer, page], capture_output=True, text=True, check=True).stdout
        shown = re.sub(r".\x08|\x1b\[[0-9;]*m", "", shown)
        synopsis = shown.split("SYNOPSIS\n")[1].split("DESCRIPTION")[0]
        assert synopsis.startswith(f"     sealboot {page.stem.removeprefix('sealboot-')} "), (page, synopsis)


REAL = os.environ.get("SEALBOOT_REAL_DOCUMENTS")


@pytest.mark.skipif(not REAL, reason="SEALBOOT_REAL_DOCUMENTS names no folder of documents that AWS signed")
def test_real_documents(build):
    """Each of them chains to the AWS root as of its own time; enclaves in debug mode are authentic but refused for
    that. Files named invalid-* are not authentic."""
    paths = sorted(p for p in pathlib.Path(REAL).iterdir() if p.is_file())
    assert paths
    for path in paths:
        result = subprocess.run([build / "policy/sealboot", "verify", "--json", "--at", "document", path],
                                capture_output=True)
        answer = json.loads(result.stdout)
        failed = [c["name"] for c in answer["checks"] if c["result"] == "failed"]
        if path.name.startswith("invalid-"):
            assert result.returncode == DOCUMENT, (path, failed)
            continue
        assert failed in ([], ["debug-mode"]), (path, answer["checks"])
        assert answer["document"]["kind"] == ("nitrotpm" if "-tpm" in answer["document"]["module_id"] else "enclave")
        now = subprocess.run([build / "policy/sealboot", "verify", path], capture_output=True)
        assert now.returncode == DOCUMENT and b"has expired" in now.stdout, path


@pytest.mark.parametrize("page", sorted(p.name for d in ("policy/man", "units/man") for p in (ROOT / d).glob("*.[18]")))
def test_quotes_in_manuals_are_closed_where_they_belong(page):
    path = next(p for d in ("policy/man", "units/man") for p in (ROOT / d).glob(page))
    text = subprocess.run(["mandoc", "-Tutf8", path], capture_output=True, text=True, check=True).stdout
    quotes = re.sub("[^‘’“”]", "", re.sub(".\x08", "", text).replace("\n", " "))
    assert quotes == "".join(q + {"‘": "’", "“": "”"}[q] for q in quotes[::2]), path
