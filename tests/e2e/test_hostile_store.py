# SPDX-License-Identifier: Apache-2.0
"""Whatever answers in the place of an owner's key store, over TLS: each boot ends with the exit code, the message id
and the words of what was wrong, shows nothing that could steer a terminal, and leaves nothing behind."""

import base64
import os
import re
import shutil
import time
import warnings

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from boots import CONTEXT, single
from journal import Journal
from sealer import DataKey, Sealed
from stack import cms, pki, web
from stack.hostile import NULL, HostileStore, http, refusal, tls

ARN = "arn:aws:kms:us-east-1:000000000000:key/records"
CLOCK, NETWORK, DENIED, KEY, CIPHERTEXT, UNAVAILABLE, ANSWER, AUTHENTICATION = 14, 15, 30, 31, 32, 33, 34, 54
PROMISED = {  # what sealboot-agent(8) lists, and what never changes
    CLOCK: ("clock", "fd6434db95164b6c9b8e82d0ffd3618d"),
    NETWORK: ("network", "0b66eb4781e943fcbec4a87c388c52e4"),
    DENIED: ("kms-denied", "eb2658d237b14f8993f17f5a3442c9fa"),
    KEY: ("kms-key", "0104f56ecf7f41399d21cb39cb7a8507"),
    CIPHERTEXT: ("kms-ciphertext", "3b88217add724c6f88d7b56aaf047e52"),
    UNAVAILABLE: ("kms-unavailable", "0be15571250f46d2b5e3be1582f6cccf"),
    ANSWER: ("kms-answer", "8680cf470bcd4e3e84d2e002737702b6"),
    AUTHENTICATION: ("authentication", "a7051a16f8424331a6fd156129c1b50f"),
}
PRINTABLE = re.compile("[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]*")
PCRS = r"  presented PCRs \(SHA-384\):\n" + "".join(f"    PCR{n:<2} [0-9a-f]{{96}}\n" for n in (2, 4, 7, 12, 15))
CONSOLE = re.compile(r"sealboot-agent: (?P<title>.+) \(exit code (?P<code>\d+), (?P<name>[a-z-]+)\)\n"
                     r"  on:         (?P<on>.+)\n  why:        (?P<why>.+)\n(  request id: (?P<id>.+)\n)?"
                     rf"  what to do: (?P<advice>.+)\n({PCRS})?")
ASK_THE_OWNER = "The key store named above is the owner's own: ask the owner, whose log says why."


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def authority(files):
    """The owner's authority, and a server that it vouches for."""
    authority, server = pki.server(int(time.time()))
    (files / "ca.pem").write_bytes(authority.pem)
    return authority, server


@pytest.fixture(scope="module")
def running(files, authority):
    with HostileStore(ARN, os.urandom(32), tls(files, authority[1])) as store:
        yield store


@pytest.fixture(scope="module")
def journal():
    with Journal() as journal:
        yield journal


@pytest.fixture
def store(boot, running, files):
    """The store of the boot's only model; its honest answer opens it."""
    running.calm()
    boot.config |= {"keys": [ARN], "key_store": {"url": running.url, "ca_bundle": str(files / "ca.pem")}}
    single(boot, bytes(Sealed(b"GGUF" + bytes(9000), DataKey(running.data_key, b"blob", ARN, CONTEXT))))
    return running


class Refusals:
    def __init__(self, boot, store, journal):
        self.boot, self.store, self.journal = boot, store, journal

    def __call__(self, code: int, *words: str, on: str | None = None, request_id: str | None = None):
        """Boot.refused(), and what the console and the journal have is this one failure and nothing beside it."""
        result = self.boot.refused(code, *words, wrapper=self.journal.wrapper)
        name, message_id = PROMISED[code]
        console, failure = CONSOLE.fullmatch(result.stderr), result.report["failure"]
        assert console and (int(console["code"]), console["name"]) == (code, name), result
        assert all(word in console["why"] for word in words), result
        assert console["on"] == (on or f"key store {self.store.url}, key {ARN}"), result
        assert all(PRINTABLE.fullmatch(line) for line in result.stderr.splitlines()), result
        assert (console["id"] or "") == failure["request_id"] == (request_id or ""), result
        assert [failure[part] for part in ("name", "subject", "reason", "advice")] == [
            name, console["on"], console["why"], console["advice"]], result
        assert [(e["MESSAGE_ID"], e["SEALBOOT_FAILURE"], e["SEALBOOT_EXIT_CODE"], e["SEALBOOT_SUBJECT"],
                 e["SEALBOOT_REASON"], e["SEALBOOT_REQUEST_ID"]) for e in self.journal.failures()
                ] == [(message_id, name, str(code), console["on"], console["why"], failure["request_id"])], result
        if code in range(DENIED, ANSWER + 1) and "plaintext data key" not in console["why"]:
            assert console["advice"] == ASK_THE_OWNER, result
        return result


@pytest.fixture
def refused(boot, store, journal):
    journal.failures()  # of tests before this one
    return Refusals(boot, store, journal)


def again(boot):
    boot.stack.control.tpm_reset()
    shutil.rmtree(boot.directory / "current", ignore_errors=True)


def published(boot):
    result = boot.run()
    assert result.returncode == 0 and boot.published() == {"model": b"GGUF" + bytes(9000)}, result
    return result


def test_the_honest_answer(boot, store):
    published(boot)
    assert (len(store.requests), store.connections) == (1, 1)
    request = store.requests[0]
    assert request.headers["x-amz-target"] == "TrentService.Decrypt"
    assert "authorization" not in request.headers and "x-amz-security-token" not in request.headers
    assert request.members["KeyId"] == ARN and request.members["EncryptionContext"] == CONTEXT


# ---- the certificate

NOW = int(time.time())
BEFORE, LATER = {"not_before": NOW - 7200, "not_after": NOW - 60}, {"not_before": NOW + 3600}
CERTIFICATES = {  # who signs it (None: another authority), what is changed, the exit code and the words
    "another authority's": (None, {}, NETWORK, "self-signed certificate in certificate chain"),
    "another name's": ("owner", {"names": ("other.example",), "addresses": ()}, NETWORK, "'localhost'"),
    "an address's": ("owner", {"names": ("127.0.0.1",)}, NETWORK, "'localhost'"),
    "expired": ("owner", BEFORE, NETWORK, "certificate has expired"),
    "not valid yet": ("owner", LATER, CLOCK, "not valid yet: this machine's clock says 20"),
    "another authority's, not valid yet": (None, LATER, NETWORK, "self-signed certificate in certificate chain"),
    "signed by a server": ("server", {}, NETWORK, "invalid CA certificate"),
    "a client's": ("owner", {"usage": ExtendedKeyUsageOID.CLIENT_AUTH}, NETWORK, "certificate purpose"),
}


@pytest.mark.parametrize("name", CERTIFICATES)
def test_certificate(store, refused, files, authority, name):
    """The attestation document is not even sent."""
    signer, change, code, words = CERTIFICATES[name]
    signer, identity = pki.server(NOW, authority={"owner": authority[0], "server": authority[1], None: None}[signer],
                                  **change)
    store.context = tls(files, identity, *reversed(signer.path()))
    refused(code, "certificate", words)
    assert (store.requests, store.connections) == ([], 1)


def test_certificate_of_an_authority_that_is_trusted_for_kms(boot, store, refused):
    boot.config["ca_bundle"] = boot.stack.env["AWS_CA_BUNDLE"]
    store.context = web.tls_context(boot.stack.directory / "tls-server.pem", boot.stack.directory / "tls-server.key")
    refused(NETWORK, "the server's certificate is not accepted: ")
    assert (store.requests, store.connections) == ([], 1)


@pytest.mark.parametrize("how", ["plain HTTP", "TLS 1.1"])
def test_no_tls(boot, store, refused, files, authority, how):
    boot.config["kms_deadline_seconds"] = 1
    store.context = None
    if how == "TLS 1.1":
        store.context = tls(files, authority[1])
        store.context.set_ciphers("DEFAULT:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            store.context.minimum_version = store.context.maximum_version = 0x302
    refused(NETWORK, {"plain HTTP": "wrong version number", "TLS 1.1": "protocol version"}[how], " attempts in ")
    assert store.requests == [] and store.connections > 1


# ---- answers that end the boot at once. Each is bytes, members to change, or a function of store and request.

def endless(head: bytes, piece: bytes):
    def answer(store, _):
        yield head
        yield from store.drip(piece)
    return answer


def honest(status="200 OK", *headers):
    return lambda store, request: http(store.members(request), status, *headers)


def edited(old: bytes, new: bytes):
    return lambda store, request: store.honest(request).replace(old, new, 1)


def json_edited(edit):
    return lambda store, request: http(edit(http(store.members(request)).split(b"\r\n\r\n")[1].decode()))


def envelope_edited(edit):
    return lambda store, request: http(store.members(request, CiphertextForRecipient=edit(store.envelope(request))))


HEAD, TOO_LARGE = "HTTP 200 with headers that are malformed or larger than 32768 bytes", "of more than 65536 bytes"
LENGTHS = "the answer is HTTP 200 with more than one length of its body"
HTTP = {
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", "the answer is not HTTP"),
    "HTTP/0.9": (lambda store, request: store.honest(request).split(b"\r\n\r\n")[1], "the answer is not HTTP"),
    "HTTP/7.3": (edited(b"HTTP/1.1", b"HTTP/7.3"), "the answer is not HTTP"),
    "status 20": (edited(b"200", b"20"), "the answer is not HTTP"),
    "a status line without end": (endless(b"HTTP/1.1 200 ", b"a" * 65536),
                                  "the answer is not HTTP: its first line has no end"),
    "another protocol from here on": (edited(b"200 OK", b"101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
                                      "the answer is HTTP 101 with a change of the protocol"),
    "a large head": (honest("200 OK", "X: " + "a" * 40000), HEAD),
    "a header without end": (endless(b"HTTP/1.1 200 OK\r\nX: ", b"a" * 65536), HEAD),
    "headers without end": (endless(b"HTTP/1.1 200 OK\r\n", b"X: aaaa\r\n" * 100), HEAD),
    "a folded header": (honest("200 OK", "X: a", " b"), HEAD),
    "a header without a colon": (honest("200 OK", "nonsense"), "eader"),
    "a header with a NUL": (honest("200 OK", "X: a\0b"), "eader"),
    "two lengths": (honest("200 OK", "Content-Length: 2"), LENGTHS),
    "a length and chunks": (honest("200 OK", "Transfer-Encoding: chunked"), LENGTHS),
    "a negative length": (lambda store, request: http(store.members(request), length=-1), "Content-Length"),
    "a large body": (http("{" + 65536 * " " + "}"), TOO_LARGE),
    "a body without end": (endless(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65536), TOO_LARGE),
    "chunks without end": (endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                                   b"8000\r\n" + b" " * 0x8000 + b"\r\n"), TOO_LARGE),
    "an error without end": (endless(b"HTTP/1.1 400 Bad Request\r\n\r\n", b" " * 65536), TOO_LARGE),
    **{f"status {status}": (honest(status, *headers), f"HTTP {status[:3]} without a KMS error in it")
       for status, *headers in (("201 Created",), ("204 No Content",), ("206 Partial Content",),
                                ("304 Not Modified",), ("401 Unauthorized", "WWW-Authenticate: Basic realm=x"),
                                ("407 Proxy Authentication Required", "Proxy-Authenticate: Basic realm=x"))},
}
NOT_JSON = "it is not valid JSON"
JSON = {
    "nothing": (http(""), NOT_JSON),
    "a page": (http("<!DOCTYPE html><html><body>It works!</body></html>", "200 OK", "Content-Type: text/html"),
               NOT_JSON),
    "bytes": (http(bytes(range(256))), NOT_JSON),
    "UTF-16": (json_edited(lambda text: text.encode("utf-16")), "UTF-16"),
    "cut": (lambda store, request: http(store.members(request), length=100), NOT_JSON),
    "followed by more": (json_edited(lambda text: text + "{}"), NOT_JSON),
    "deep": (http("[" * 1000 + "]" * 1000), "nesting too deep"),
    "text": (http('"KeyId"'), "it is not a JSON object or array"),
    "a list": (http("[]"), "names no KeyId"),
    "a key twice": (json_edited(lambda text: text.replace("{", '{"KeyId": "x", ', 1)), "the same key twice"),
    "in apostrophes": (json_edited(lambda text: text.replace('"', "'")), "JSON"),
    "one level down": (json_edited(lambda text: f'{{"DecryptResponse": {text}}}'), "names no KeyId"),
    "empty": (http({}), "names no KeyId"),
    "an error of status 200": (refusal("AccessDeniedException", status="200 OK"), "names no KeyId"),
}
ANOTHER = "the answer is for another key, "
MEMBERS = {
    "no KeyId": ({"KeyId": None}, "names no KeyId"), "KeyId null": ({"KeyId": NULL}, "names no KeyId"),
    "KeyId a list": ({"KeyId": [ARN]}, "names no KeyId"), "KeyId with NUL": ({"KeyId": ARN + "\0"}, "names no KeyId"),
    "KeyId long": ({"KeyId": ARN + "a" * 2048}, "names no KeyId"), "KeyId empty": ({"KeyId": ""}, "names no KeyId"),
    "KeyId longer": ({"KeyId": ARN + "2"}, ANOTHER + ARN + "2"), "KeyId shorter": ({"KeyId": ARN[:-1]}, ANOTHER),
    "KeyId an id": ({"KeyId": "records"}, ANOTHER), "KeyId large": ({"KeyId": ARN.upper()}, ANOTHER),
    "KeyId another account's": ({"KeyId": ARN.replace("0" * 12, "1" * 12)}, ANOTHER),
    "KeyId steers": ({"KeyId": "\x1b[2J\r\n\u202e\x85"}, ANOTHER + "?[2J????"),
    "another algorithm": ({"EncryptionAlgorithm": "RSAES_OAEP_SHA_256\x1b"},
                          "the encryption algorithm is RSAES_OAEP_SHA_256?, not SYMMETRIC_DEFAULT"),
    "the data key": ({"Plaintext": "A" * 43 + "="}, "has the plaintext data key in it"),
    "the data key, its name hidden": (json_edited(lambda text: text.replace("{", r'{"Plaintex\u0074": "AAAA", ', 1)),
                                      "Plaintext is not base64"),
    "the data key, escaped": (json_edited(lambda text: text.replace("{", r'{"Plaintext": "\u0041AAA", ', 1)),
                              "Plaintext is not base64"),
}
NO_ENVELOPE, NOT_BASE64 = "the answer has no CiphertextForRecipient", "CiphertextForRecipient is not base64"
ENVELOPE = {
    **{name: ({"CiphertextForRecipient": value}, words) for name, value, words in (
        ("none", None, NO_ENVELOPE), ("null", NULL, NO_ENVELOPE), ("a number", 5, NO_ENVELOPE),
        ("an object", {}, NO_ENVELOPE), ("empty", "", NOT_BASE64), ("blank", "    ", NOT_BASE64),
        ("padding", "====", NOT_BASE64))},
    "with newlines": (envelope_edited(lambda text: re.sub("(.{64})", "\\1\n", text)), NOT_BASE64),
    "for URLs": (envelope_edited(lambda text: "-_" + text[2:]), NOT_BASE64),
    "cut": (envelope_edited(lambda text: text[:-1]), NOT_BASE64),
}
AT_ONCE = {f"{kind}: {name}": case
           for kind, cases in (("HTTP", HTTP), ("JSON", JSON), ("members", MEMBERS), ("envelope", ENVELOPE))
           for name, case in cases.items()}


def answers(store, how):
    """Has the store answer so: see above."""
    def answer(request):
        if isinstance(how, bytes):
            return how
        return http(store.members(request, **how)) if isinstance(how, dict) else how(store, request)
    store.answer = answer


@pytest.mark.parametrize("name", AT_ONCE)
def test_answer(store, refused, name):
    how, words = AT_ONCE[name]
    answers(store, how)
    refused(ANSWER, words)
    assert (len(store.requests), store.connections) == (1, 1)


# ---- the envelope

def flipped(at: int):
    """From its end: 10 bytes that end five elements, 48 of content, 4 that begin it, and 16 of the IV."""
    def edit(text: str) -> str:
        data = bytearray(base64.b64decode(text))
        data[at] ^= 1
        return base64.b64encode(data).decode()
    return envelope_edited(edit)


def for_another_key_pair(store, request):
    other = rsa.generate_private_key(65537, 2048).public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return http(store.members(request, CiphertextForRecipient=base64.b64encode(
        cms.envelop(store.data_key, other)).decode()))


def malformed(shape: str):
    return lambda store, request: http(store.members(request, CiphertextForRecipient=base64.b64encode(
        cms.MALFORMED[shape](store.data_key, request.public_key, "primitive")).decode()))


NOT_OPEN, NOT_32 = "it does not open with this boot's recipient key", "the encrypted content is not that of 32 bytes"
ENVELOPES = {
    "for another key pair": (for_another_key_pair, NOT_OPEN),
    "its key altered": (flipped(-150), NOT_OPEN),
    "its padding altered": (flipped(-20), NOT_OPEN),
    "16 bytes in it": (lambda store, request: http(store.members(
        request, CiphertextForRecipient=store.envelope(request, store.data_key[:16]))), NOT_32),
    "64 bytes in it": (lambda store, request: http(store.members(
        request, CiphertextForRecipient=store.envelope(request, store.data_key * 2))), NOT_32),
    **{shape: (malformed(shape), words) for shape, words in (
        ("truncated", "it is not CMS EnvelopedData"), ("half", "it is not CMS EnvelopedData"),
        ("garbage", "it is not CMS EnvelopedData"), ("trailing", "something follows the EnvelopedData"),
        ("pkcs1", "not encrypted by RSAES-OAEP"), ("oaep-sha1", "not encrypted by RSAES-OAEP"),
        ("31-bytes", NOT_32), ("33-bytes", NOT_OPEN), ("no-bytes", NOT_32), ("aes-128-key", NOT_OPEN),
        ("two-recipients", "more than one recipient"), ("no-recipient", "there is no KeyTransRecipientInfo"),
        ("version-0", "not of version 2"))},
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_envelope(store, refused, name):
    how, words = ENVELOPES[name]
    answers(store, how)
    refused(ANSWER, words, on=f"key store {store.url}, key {ARN}: CiphertextForRecipient")
    assert len(store.requests) == 1


@pytest.mark.parametrize("how", ["another data key", "its IV altered", "its content altered"])
def test_envelope_that_opens(boot, store, refused, how):
    """CBC does not authenticate: the message's key commitment does."""
    answers(store, {"another data key": malformed("other-key"), "its IV altered": flipped(-70),
                    "its content altered": flipped(-50)}[how])
    refused(AUTHENTICATION, "does not match its key commitment", on=f"s3://{boot.stack.bucket}/model.sealed")


def test_an_answer_of_another_boot(boot, store, refused):
    recorded = []
    store.answer = lambda request: recorded.append(store.honest(request)) or recorded[-1]
    published(boot)
    again(boot)
    store.answer = lambda request: recorded[0]
    refused(ANSWER, NOT_OPEN, on=f"key store {store.url}, key {ARN}: CiphertextForRecipient")


# ---- errors

ERRORS = {
    "AccessDeniedException": DENIED, "com.amazonaws.kms#AccessDeniedException:x": DENIED, "Unknown.Word-1_": DENIED,
    "NotFoundException": KEY, "DisabledException": KEY, "KMSInvalidStateException": KEY,
    "InvalidCiphertextException": CIPHERTEXT, "IncorrectKeyException": CIPHERTEXT, "ValidationException": CIPHERTEXT,
    # It is shown no credentials, and no time but the NitroTPM's.
    "ExpiredTokenException": ANSWER, "UnrecognizedClientException": ANSWER, "InvalidSignatureException": ANSWER,
    "RequestExpired": ANSWER, "RequestTimeTooSkewed": ANSWER,
}


@pytest.mark.parametrize("kind", ERRORS)
def test_error(store, refused, kind):
    answers(store, refusal(kind, "Signature expired: words", "400 \x1b[2J", "Date: Mon, 01 Jan 2001 00:00:00 GMT",
                           "x-amzn-RequestId: 12-ab"))
    refused(ERRORS[kind], f"HTTP 400 {kind.split('#')[-1].split(':')[0]}: Signature expired: words",
            request_id="12-ab")
    assert len(store.requests) == 1


MESSAGES = {
    "escapes": ("\x1b[2J\x1b]0;owned\x07", "?[2J?]0;owned?"), "C1": ("\x9b2J\x85", "?2J?"), "DEL": ("\x7f\b", "??"),
    "lines": ("no\r\n  why:        all is well\n  what to do: rest",
              "no??  why:        all is well?  what to do: rest"),
    "sd_notify": ("x\nREADY=1\nSTATUS=fine", "x?READY=1?STATUS=fine"),
    "right to left": ("\u202etoor\u2066\u2028", "?toor??"), "formats": ("%s%n%1000000d", "%s%n%1000000d"),
    "NUL": ("a\0b", "no message"), "a number": (5, "no message"), "missing": (NULL, "no message"),
    "umlauts": ("schlüssel \U0001f511", "schlüssel \U0001f511"), "long": ("x\x1b" * 8000, "x?" * 400),
    "half a surrogate": ("\ud800x", ""),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_message_of_an_error(store, refused, name):
    message, shown = MESSAGES[name]
    answers(store, refusal("AccessDeniedException", message, "400 Bad Request", "x-amzn-RequestId: \x1b[2J"))
    refused(DENIED, "HTTP 400 AccessDeniedException: " + shown)


@pytest.mark.parametrize("kind, shown", [
    ("", ""), ("Access\x1b[2J", " Access?[2J"), ("Access Denied", " Access Denied"), ("Überlast", " Überlast"), (5, ""),
    (NULL, ""), (["AccessDeniedException"], "")])
def test_kind_of_an_error(store, refused, kind, shown):
    answers(store, refusal(kind))
    refused(ANSWER, f"the answer is HTTP 400{shown} without a KMS error in it")


@pytest.mark.parametrize("status", ["302 Found", "308 Permanent Redirect"])
def test_redirect(store, refused, files, authority, status):
    """Not followed: neither to another server that the owner's authority vouches for, nor to a local file."""
    with HostileStore(ARN, store.data_key, tls(files, authority[1])) as elsewhere:
        for place in (elsewhere.url + "/", "file:///etc/passwd"):
            again(refused.boot)
            answers(store, honest(status, f"Location: {place}"))
            refused(ANSWER, f"HTTP {status[:3]} without a KMS error in it")
        assert (elsewhere.connections, len(store.requests)) == (0, 2)


# ---- what may pass: tried again, until the deadline. Some words are libcurl's, and differ between its releases.

PASSING = {
    "hang-up": (b"", NETWORK, "attempts"),
    "cut in the head": (b"HTTP/1.1 200 OK\r\nContent-Le", NETWORK, "attempts"),
    "cut in the body": (lambda store, request: http(store.members(request), length=100_000), NETWORK, "attempts"),
    "a bad chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", NETWORK, "chunk"),
    "status 429": (http("\x1b[2J", "429 \x1b[2J"), UNAVAILABLE, "HTTP 429 without a KMS error"),
    "status 503": (http("<html>\x1b[2J", "503 \x1b[2J"), UNAVAILABLE, "HTTP 503 without a KMS error"),
    "throttling": (refusal("ThrottlingException", "\x1b[2J\nREADY=1"), UNAVAILABLE,
                   "HTTP 400 ThrottlingException: ?[2J?READY=1"),
}


@pytest.mark.parametrize("name", PASSING)
def test_tried_again(boot, store, refused, name):
    how, code, words = PASSING[name]
    answers(store, how)
    store.hang_up = True
    boot.config["kms_deadline_seconds"] = 1
    refused(code, words, " attempts in ")
    assert len({request.document for request in store.requests}) == len(store.requests) == store.connections > 1


def test_it_comes_round(boot, store, tmp_path):
    """What was said meanwhile reaches the service manager in one line."""
    bad = [refusal("ThrottlingException", "\x1b[2J\nREADY=1\n"), http("", "503 x")]
    store.answer = lambda request: bad.pop(0) if bad else store.honest(request)
    result, told = boot.statuses(tmp_path)
    assert result.returncode == 0 and len(store.requests) == 3, result
    assert sum("HTTP 400 ThrottlingException: ?[2J?READY=1?" in line for line in told) == 1, told
    assert all(PRINTABLE.fullmatch(line) for line in told), told


# ---- what takes for ever

def slowly(head: bytes, piece: bytes):
    def answer(store, _):
        yield head
        yield from store.drip(piece, 0.02)
    return answer


STALLS = {
    "no handshake": None,
    "silence": slowly(b"", b""),
    "a head in drops": slowly(b"HTTP/1.1 200 OK\r\nX: ", b"a"),
    "a body in drops": slowly(b"HTTP/1.1 200 OK\r\n\r\n", b" "),
    "trailers in drops": slowly(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n",
                                b"X: a\r\n"),
    "interim answers": slowly(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("name", STALLS)
def test_stall(boot, store, refused, name):
    """Nothing goes on for longer than the deadline, by much."""
    store.mute = name == "no handshake"
    if not store.mute:
        answers(store, STALLS[name])
    boot.config["kms_deadline_seconds"] = 1
    result = refused(NETWORK, "time")
    took = sum(stage["duration_ms"] for stage in result.report["stages"] if stage["name"] == "kms")
    assert 900 < took < 3000, result
    assert len(store.requests) == (0 if store.mute else 1)


# ---- answers that nobody asked for

@pytest.mark.parametrize("seconds", [None, 0, 0.01])
def test_a_second_answer_is_of_no_request(boot, store, seconds):
    """In the same TLS record, in the next, a moment later: the next request has a connection of its own."""
    def twice(request):
        first, second = refusal("ThrottlingException"), http(store.members(request, KeyId="smuggled"))
        yield first + second if seconds is None else first
        if seconds is not None:
            time.sleep(seconds)
            yield second
    store.answer = lambda request: twice(request) if len(store.requests) == 1 else store.honest(request)
    published(boot)
    assert (len(store.requests), store.connections) == (2, 2)


def test_a_second_answer_heals_nothing(store, refused):
    store.answer = lambda request: http({}) + store.honest(request)
    refused(ANSWER, "names no KeyId")
    assert len(store.requests) == 1


def test_a_second_answer_spoils_nothing(boot, store):
    store.answer = lambda request: store.honest(request) + http({})
    published(boot)


# ---- KMS, whose answers go through the same code

@pytest.fixture
def kms(boot, store):
    """The store in the place of KMS."""
    boot.config |= {"endpoints": boot.config["endpoints"] | {"kms": store.url},
                    "ca_bundle": boot.config.pop("key_store")["ca_bundle"]}
    return store


@pytest.mark.parametrize("name", [
    "HTTP: a status line without end", "HTTP: another protocol from here on", "HTTP: a header without end",
    "HTTP: two lengths", "HTTP: a length and chunks", "members: the data key", "members: the data key, its name hidden",
    "envelope: none", "members: KeyId steers"])
def test_answer_in_the_place_of_kms(boot, kms, name):
    how, words = AT_ONCE[name]
    answers(kms, how)
    result = boot.refused(ANSWER, f"  on:         kms key {ARN}\n", words)
    assert CONSOLE.fullmatch(result.stderr) and len(kms.requests) == 1
    assert "authorization" in kms.requests[0].headers and "owner" not in result.stderr


def test_envelope_in_the_place_of_kms(boot, kms):
    answers(kms, for_another_key_pair)
    boot.refused(ANSWER, f"  on:         kms key {ARN}: CiphertextForRecipient\n", NOT_OPEN)


def test_stall_in_the_place_of_kms(boot, kms):
    answers(kms, STALLS["a body in drops"])
    boot.config["kms_deadline_seconds"] = 1
    result = boot.refused(NETWORK, f"kms key {ARN}", "time")
    assert sum(stage["duration_ms"] for stage in result.report["stages"] if stage["name"] == "kms") < 3000


def test_a_second_answer_in_the_place_of_kms(boot, kms):
    test_a_second_answer_is_of_no_request(boot, kms, 0)
