# SPDX-License-Identifier: Apache-2.0
"""agent/aws and policy/owner/s3-write against the local AWS, which verifies every signature: one call at a time, by
aws-tool."""

import base64
import contextlib
import datetime
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import threading
import time
import urllib.request

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from stack import session

TRICKY_KEYS = [
    "plain", "a/b", "sp ace/x", "pl+us", "eq=ual", "per%cent", "per%20cent", "ütf/日本語", "q?x=1&y", "h#x", "a//b",
    "~t*()'!@:,;$", 'quo"te<>&', "trailing/", "dots/../x", "./x", "semi;colon", "back\\slash", "c" * 1024
]
CLOCK, CREDENTIALS, IMDS, NETWORK = 14, 13, 12, 15
KMS_DENIED, KMS_KEY, KMS_CIPHERTEXT, KMS_UNAVAILABLE, KMS_ANSWER = 30, 31, 32, 33, 34
S3_DENIED, S3_NOT_FOUND, S3_CHANGED, S3_ANSWER = 40, 41, 43, 44


@pytest.fixture
def tool(build, stack):
    def call(*arguments, code=0, says="", env=None):
        process = session.run([build / "tests/helpers/aws-tool", *arguments], env={**stack.env, **(env or {})})
        assert process.returncode == code, process.stderr
        assert says in process.stderr, process.stderr
        return process.stdout
    return call


@pytest.fixture
def obj(stack):
    """A small object, and its ETag."""
    data = bytes(range(48, 58)) * 10
    etag = stack.s3().put_object(Bucket=stack.bucket, Key="object", Body=data)["ETag"]
    return data.decode(), etag


# --- signatures and keys

@pytest.mark.parametrize("key", TRICKY_KEYS)
@pytest.mark.parametrize("who", [[], ["--imds"]], ids=["long-term", "session"])
def test_keys(stack, tool, tmp_path, key, who):
    body = os.urandom(32).hex()
    (tmp_path / "file").write_text(body)
    tool("put", stack.bucket, key, tmp_path / "file")
    assert stack.s3().get_object(Bucket=stack.bucket, Key=key)["Body"].read().decode() == body
    assert tool(*who, "get", stack.bucket, key) == body
    assert tool(*who, "head", stack.bucket, key).split()[0] == "64"
    assert tool(*who, "range", stack.bucket, key, 1, 4, "-") == body[1:5]
    assert key in [line.split(" ", 1)[1] for line in tool("list", stack.bucket, key).splitlines()]
    tool("delete", stack.bucket, key)
    tool("get", stack.bucket, key, code=S3_NOT_FOUND, says="NoSuchKey")


def test_multipart(stack, tool, tmp_path):
    data = os.urandom(12 * 1024 * 1024 + 17)
    (tmp_path / "file").write_bytes(data)
    stack.control.fault("error", service="s3", operation="UploadPart", code="SlowDown")
    stack.control.fault("reset", service="s3", operation="UploadPart", skip=1)
    stack.control.fault("error", service="s3", operation="CompleteMultipartUpload", code="InternalError")
    tool("upload", stack.bucket, "dir/large one", tmp_path / "file", 5 * 1024 * 1024)
    assert stack.s3().get_object(Bucket=stack.bucket, Key="dir/large one")["Body"].read() == data
    assert "-3" in tool("head", stack.bucket, "dir/large one")


def test_failed_multipart_is_aborted(stack, tool, tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 6 * 1024 * 1024)
    stack.control.clear_audit()
    stack.control.fault("error", service="s3", operation="UploadPart", code="AccessDenied")
    tool("upload", stack.bucket, "never", tmp_path / "file", 5 * 1024 * 1024, code=S3_DENIED, says="AccessDenied")
    assert [e["operation"] for e in stack.control.audit(service="s3")][-1] == "AbortMultipartUpload"
    tool("head", stack.bucket, "never", code=S3_NOT_FOUND)


def test_listing_has_pages(stack, tool, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for i in range(1003):
        (tmp_path / "alias").unlink(missing_ok=True)
        (tmp_path / "alias").write_bytes(b"")
        stack.control.link_object(stack.bucket, f"pages/{i:05} &", tmp_path.joinpath("alias").as_posix())
    assert tool("list", stack.bucket, "pages/").splitlines() == [f"0 pages/{i:05} &" for i in range(1003)]


# --- TLS

def test_tls(stack, tool, obj):
    tls = {"AWS_ENDPOINT_URL_S3": stack.endpoints["s3_tls"], "AWS_ENDPOINT_URL_KMS": stack.endpoints["kms_tls"]}
    assert tool("get", stack.bucket, "object", env=tls) == obj[0]
    assert " same " in tool("data-key", stack.create_key(), "m", env=tls)
    tool("get", stack.bucket, "object", code=NETWORK, says="certificate is not accepted",
         env={**tls, "AWS_CA_BUNDLE": "/etc/ssl/certs/ca-certificates.crt"})
    tool("get", stack.bucket, "object", code=NETWORK, says="certificate is not accepted",
         env={"AWS_ENDPOINT_URL_S3": f"https://wrong.localhost:{tls['AWS_ENDPOINT_URL_S3'].rsplit(':', 1)[1]}"})


@pytest.mark.parametrize("begins, ends, code, says", [(1, 2, CLOCK, "not valid yet: this machine's clock says 20"),
                                                      (-2, -1, NETWORK, "certificate has expired")])
def test_tls_at_another_time(stack, tool, tmp_path, begins, ends, code, says):
    """A clock that lags makes AWS's own certificates "not yet valid"."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
                   .serial_number(1).not_valid_before(now + datetime.timedelta(begins))
                   .not_valid_after(now + datetime.timedelta(ends))
                   .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
                   .sign(key, hashes.SHA256()))
    pem = tmp_path / "server.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            with contextlib.suppress(OSError):
                context.wrap_socket(server.accept()[0], server_side=True).recv(1)
        thread = threading.Thread(target=serve)
        thread.start()
        tool("get", stack.bucket, "object", code=code, says=says, env={
            "AWS_CA_BUNDLE": str(pem), "AWS_ENDPOINT_URL_S3": f"https://localhost:{server.getsockname()[1]}"})
        thread.join()


# --- ranges

def test_range(stack, tool, obj):
    data, etag = obj
    assert tool("range", stack.bucket, "object", 0, 0, etag) == data[0]
    assert tool("range", stack.bucket, "object", 90, 1000, etag) == data[90:]
    tool("range", stack.bucket, "object", 100, 100, etag, code=50, says="InvalidRange")
    tool("range", stack.bucket, "object", 0, 9, '"other"', code=S3_CHANGED, says="PreconditionFailed")
    tool("range", stack.bucket, "absent", 0, 9, "-", code=S3_NOT_FOUND, says="NoSuchKey")
    tool("range", "no-such-bucket", "object", 0, 9, "-", code=S3_NOT_FOUND, says="NoSuchBucket")


@pytest.mark.parametrize("fault, code, says", [
    ({"kind": "content-range"}, S3_ANSWER, "Content-Range header is bytes"),
    ({"kind": "whole"}, S3_ANSWER, "the whole object instead of the range"),
    ({"kind": "short", "missing": 2}, S3_ANSWER, "Content-Range header is bytes"),
    ({"kind": "etag", "etag": '"other"'}, S3_ANSWER, "ETag header is"),
    ({"kind": "replace"}, S3_CHANGED, "PreconditionFailed"),
    ({"kind": "error", "code": "AccessDenied"}, S3_DENIED, "HTTP 403 AccessDenied"),
])
def test_range_refused(stack, tool, obj, fault, code, says):
    stack.control.fault(service="s3", operation="GetObject", **fault)
    assert tool("range", stack.bucket, "object", 10, 19, obj[1], code=code, says=says) == ""


@pytest.mark.parametrize("fault", [
    {"kind": "error", "code": "SlowDown", "count": 3}, {"kind": "error", "code": "InternalError"}, {"kind": "reset"},
    {"kind": "error", "code": "ExpiredToken"}, {"kind": "truncate", "after": 0},
])
@pytest.mark.parametrize("verb", ["range", "get"])
def test_retried(stack, tool, obj, fault, verb):
    stack.control.fault(service="s3", operation="GetObject", **fault)
    range_of = [0, 99, obj[1]] if verb == "range" else []
    assert tool("--imds", verb, stack.bucket, "object", *range_of) == obj[0]


def test_a_stall_is_retried(stack, tool, obj):
    stack.control.fault("slow", service="s3", operation="GetObject", rate=1)
    began = time.monotonic()
    assert tool("get", stack.bucket, "object") == obj[0]
    assert time.monotonic() - began < 60  # not the 100 s that the slow answer takes


# --- clocks and credentials

def test_clock(stack, tool, obj):
    stack.control.settings(clock=3600)
    tool("get", stack.bucket, "object", code=CLOCK, says="s behind")
    tool("data-key", "alias/any", "m", code=CLOCK, says="this machine's clock says")
    stack.control.settings(clock=-3600)
    tool("range", stack.bucket, "object", 0, 1, "-", code=CLOCK, says="s ahead")


@pytest.mark.parametrize("ahead, says", [(1200, "s behind"), (-1200, "s ahead")])
def test_clock_of_a_head(stack, tool, obj, ahead, says):
    """S3's answer to a HEAD has no body that could tell."""
    stack.control.settings(clock=ahead)
    tool("head", stack.bucket, "object", code=CLOCK, says=says)


@pytest.mark.parametrize("fault, code, says", [
    ({"kind": "denied", "how": "identity"
      }, S3_DENIED, "because no identity-based policy allows the s3:GetObject action"),
    ({"kind": "error", "code": "KMS.DisabledException"}, S3_DENIED, "HTTP 400 KMS.DisabledException: arn:aws:kms:"),
    ({"kind": "error", "code": "InvalidAccessKeyId"}, CREDENTIALS, "InvalidAccessKeyId"),
    ({"kind": "error", "code": "ExpiredToken"}, CREDENTIALS, "The provided token has expired"),
])
def test_refused_head(stack, tool, obj, fault, code, says):
    stack.control.fault(service="s3", operation="*Object", count=None, **fault)
    began = time.monotonic()
    tool("head", stack.bucket, "object", code=code, says=says)
    assert time.monotonic() - began < 5


def test_wrong_keys(stack, tool, obj):
    wrong = {"AWS_SECRET_ACCESS_KEY": "not it"}
    tool("get", stack.bucket, "object", code=CREDENTIALS, says="SignatureDoesNotMatch", env=wrong)
    tool("data-key", "alias/any", "m", code=CREDENTIALS, says="InvalidSignatureException", env=wrong)
    tool("get", stack.bucket, "object", code=CREDENTIALS, says="InvalidAccessKeyId",
         env={"AWS_ACCESS_KEY_ID": "AKIANOBODY"})


def test_credentials_are_refreshed(stack, tool, obj):
    """They live three seconds; eight requests, one a second: several keys, no failure."""
    stack.control.settings(imds={"credentials_lifetime": 3})
    lines = tool("--imds", "watch", stack.bucket, "object", 8, 1000).split()
    keys = [line for line in lines if line.startswith("A")]
    assert len(keys) == 8 and len(set(keys)) >= 3


def test_expired_credentials(stack, tool, obj):
    stack.control.settings(imds={"credentials_lifetime": -10})
    tool("data-key", "alias/any", "m", code=CREDENTIALS, env={"AWS_ACCESS_KEY_ID": ""},
         says="AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not")
    blob = stack.directory / "no-blob"
    blob.write_bytes(b"blob")
    tool("--imds", "release", stack.create_key(), blob, blob, blob, blob, blob, blob, blob, blob, blob,
         code=CREDENTIALS, says="ExpiredTokenException", env={"AWS_TOOL_DEADLINE_MS": "400"})


# --- KMS

@pytest.fixture
def sealed(stack, tmp_path):
    """A key, the file of a data key under it, and so many attestation documents as files."""
    def make(documents: int, **policy):
        key = stack.create_key(**policy)
        blob = stack.kms().generate_data_key(KeyId=key, KeySpec="AES_256",
                                             EncryptionContext={"model": "m", "version": "1"})
        (tmp_path / "blob").write_bytes(blob["CiphertextBlob"])
        files = [tmp_path / f"document-{i}" for i in range(documents)]
        for i, file in enumerate(files):
            file.write_bytes(stack.control.document(public_key=PUBLIC, nonce=bytes([i])))
        return key, tmp_path / "blob", files
    return make


def public_key() -> bytes:
    return rsa.generate_private_key(65537,
                                    2048).public_key().public_bytes(serialization.Encoding.DER,
                                                                    serialization.PublicFormat.SubjectPublicKeyInfo)


PUBLIC = public_key()


@pytest.fixture
def release(build, stack):
    """release(key, blob, documents) -> exit code, attempts (of a success), errors"""
    def call(key, blob, documents, **env):
        process = subprocess.run([build / "tests/helpers/aws-tool", "--imds", "release", key, blob, *documents],
                                 capture_output=True, env={**stack.env, **env}, timeout=60, check=False)
        errors = process.stderr.decode()
        attempts = int(errors.split()[0]) if process.returncode == 0 else None
        assert process.returncode or process.stdout[:1] == b"\x30"
        return process.returncode, attempts, errors
    return call


def test_data_key(stack, tool):
    key = stack.create_key()
    assert tool("data-key", key, "mödel \"1\" \\ /").startswith(f"{key} same ")
    assert tool("data-key", key.rsplit("/", 1)[1], "m").startswith(f"{key} same ")
    stack.control.fault("error", service="kms", operation="GenerateDataKey", code="ThrottlingException", status=400,
                        count=2)
    stack.control.fault("reset", service="kms", operation="Decrypt")
    assert tool("data-key", key, "m").startswith(f"{key} same ")
    stack.kms().disable_key(KeyId=key)
    tool("data-key", key, "m", code=KMS_KEY, says="DisabledException")
    tool("data-key", key[:-1] + "x", "m", code=KMS_KEY, says="NotFoundException")


def test_release(stack, sealed, release):
    key, blob, documents = sealed(1)
    stack.control.clear_audit()
    assert release(key, blob, documents)[:2] == (0, 1)
    assert stack.control.audit(operation="Decrypt")[-1]["principal"] == stack.info["session_arn"]


def test_release_takes_a_fresh_document_for_each_attempt(stack, sealed, release):
    key, blob, documents = sealed(4)
    for code, status in (("ThrottlingException", 400), ("KMSInternalException", 500), ("ExpiredTokenException", 400)):
        stack.control.fault("error", service="kms", operation="Decrypt", code=code, status=status)
    assert release(key, blob, documents)[:2] == (0, 4)


def test_release_gives_up(stack, sealed, release):
    key, blob, documents = sealed(1)
    stack.control.fault("error", service="kms", operation="Decrypt", code="ThrottlingException", status=400, count=None)
    code, _, errors = release(key, blob, documents * 200, AWS_TOOL_DEADLINE_MS="700")
    assert code == KMS_UNAVAILABLE and re.search(r"ThrottlingException.*\(\d+ attempts in \d+\.\d s", errors), errors


@pytest.mark.parametrize("members, says", [
    ({"Plaintext": "A" * 43 + "="}, "has the plaintext data key in it"),
    ({"KeyId": "arn:aws:kms:us-east-1:1:key/2"}, "for another key"), ({"KeyId": None}, "names no KeyId"),
    ({"CiphertextForRecipient": None}, "has no CiphertextForRecipient"),
    ({"CiphertextForRecipient": "???"}, "is not base64"),
    ({"EncryptionAlgorithm": "RSAES_OAEP_SHA_1"}, "not SYMMETRIC_DEFAULT"),
])
def test_release_refuses_answers(stack, sealed, release, members, says):
    key, blob, documents = sealed(1)
    stack.control.fault("answer", service="kms", operation="Decrypt", members=members)
    code, _, errors = release(key, blob, documents)
    assert code == KMS_ANSWER and says in errors, errors


def test_release_denied(stack, sealed, release):
    key, blob, documents = sealed(1, pcrs={4: "ab" * 48})
    code, _, errors = release(key, blob, documents)
    assert code == KMS_DENIED and "AccessDeniedException" in errors and "request id" in errors
    other = stack.create_key()
    assert release(other, blob, documents)[0] == KMS_CIPHERTEXT


# --- what stays in memory

@pytest.fixture
def remains(build, stack):
    """remains(arguments) -> what aws-tool printed, and its writable memory once it has freed everything."""
    def call(*arguments, env=None):
        with subprocess.Popen([build / "tests/helpers/aws-tool", *arguments], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True,
                              env={**stack.env, "AWS_TOOL_PAUSE": "1", **(env or {})}) as process:
            line, memory = process.stdout.readline(), []
            time.sleep(0.3)
            maps = re.findall(r"^(\w+)-(\w+) rw", pathlib.Path(f"/proc/{process.pid}/maps").read_text(), re.M)
            with open(f"/proc/{process.pid}/mem", "rb", 0) as mem:
                for first, last in ((int(first, 16), int(last, 16)) for first, last in maps):
                    if last - first < 1 << 28:  # a sanitizer's shadow is terabytes
                        mem.seek(first)
                        memory.append(mem.read(last - first))
        return line, b"".join(memory)
    return call


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to read the memory of a process that forbids it")
@pytest.mark.parametrize("tls", ["", "_tls"], ids=["http", "https"])
def test_no_data_key_stays(stack, remains, tls):
    key = stack.create_key()
    line, memory = remains("data-key", key, "m", env={"AWS_ENDPOINT_URL_KMS": stack.endpoints["kms" + tls]})
    blob = base64.b64decode(line.split()[2])
    plaintext = stack.kms().decrypt(CiphertextBlob=blob, EncryptionContext={"model": "m", "version": "1"})["Plaintext"]
    assert key.encode() in memory  # it is this process's memory
    assert plaintext not in memory and plaintext[:16] not in memory
    assert base64.b64encode(plaintext)[:24] not in memory


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to read the memory of a process that forbids it")
@pytest.mark.parametrize("tls", ["", "_tls"], ids=["http", "https"])
def test_no_role_credentials_stay(stack, remains, obj, tls):
    endpoint = {"AWS_ENDPOINT_URL_S3": stack.endpoints["s3" + tls]}
    line, memory = remains("--imds", "head", stack.bucket, "object", env=endpoint)
    issued = metadata(stack, "/latest/meta-data/iam/security-credentials/sealboot-instance")
    assert obj[1] in line and stack.bucket.encode() in memory
    assert issued["SecretAccessKey"].encode() not in memory and issued["SecretAccessKey"][:20].encode() not in memory
    assert issued["Token"].encode() not in memory


def metadata(stack, path: str):
    base = stack.variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"]

    def ask(url, method, **header):
        headers = {f"X-aws-ec2-metadata-token{name}": value for name, value in header.items()}
        return urllib.request.urlopen(urllib.request.Request(base + url, method=method,
                                                             headers=headers)).read().decode()
    token = ask("/latest/api/token", "PUT", **{"-ttl-seconds": "60"})
    return json.loads(ask(path, "GET", **{"": token}))


# --- instance metadata

def test_metadata(stack, tool):
    account = stack.info["consumer_account"]
    assert tool("metadata").split() == ["us-east-1", account, "i-0123456789abcdef0", "g6.2xlarge", "-", "0", "-"]
    stack.control.user_data('{"sealboot":{}}')
    assert tool("metadata").split()[-2:] == ["15", '{"sealboot":{}}']


@pytest.mark.parametrize("mode, says", [("v1-only", "speaks version 1 only"), ("off", "metadata options forbid")])
def test_metadata_not_to_be_had(stack, tool, mode, says):
    stack.control.settings(imds={"mode": mode})
    tool("metadata", code=IMDS, says=says)


def test_metadata_slow_and_failing(stack, tool):
    stack.control.fault("latency", service="imds", operation="PUT /latest/api/token", seconds=2)
    stack.control.fault("error", service="imds", operation="GET /latest/meta-data/placement/region", status=503,
                        count=2)
    stack.control.fault("error", service="imds", operation="GET /latest/user-data", status=401)
    stack.control.fault("reset", service="imds", operation="GET /latest/dynamic/instance-identity/document")
    assert tool("metadata").startswith("us-east-1 ")


def test_no_role(stack, tool, obj):
    stack.control.settings(imds={"role": None})
    tool("--imds", "get", stack.bucket, "object", code=CREDENTIALS, says="no IAM role is attached")
