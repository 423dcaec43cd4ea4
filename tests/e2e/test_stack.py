# SPDX-License-Identifier: Apache-2.0
"""The local stack itself: stock clients work against it, and what AWS would refuse it refuses."""

import base64
import hashlib
import io
import json
import os
import pathlib
import re
import select
import shutil
import socket
import ssl
import struct
import subprocess
import time
import types
import urllib.error
import urllib.request

import botocore.auth
import botocore.credentials
import pytest
from botocore import awsrequest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import kms_requests
from esdk import esdk  # noqa: F401
from stack import attestation_check, cbor, checksums, cms, malformed, nginx, pki, policy, sigv4, wire
from stack.identity import Credentials, role_session, user
from stack.session import end, start
from stack.swtpm import receive_frame

TRICKY_KEYS = ["plain", "a/b", "sp ace/x", "pl+us", "eq=ual", "per%cent", "per%20cent", "ütf/日本語", "q?x=1&y", "h#x",
               "a//b", "~t*()'!@:,;$", 'quo"te<>', "trailing/", "dots/../x"]

OWNER = user("111122223333", "model-owner")
ROLE = role_session("444455556666", "sealboot-instance", "i-0123456789abcdef0")


def refused(code: str):
    return pytest.raises(ClientError, match=code)


@pytest.fixture(scope="module")
def recipient():
    return rsa.generate_private_key(65537, 2048)


def public_der(key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def openssl_decrypt(enveloped: bytes, key, directory) -> bytes:
    (directory / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                          serialization.NoEncryption()))
    command = ["openssl", "cms", "-decrypt", "-inform", "DER", "-inkey", directory / "key.pem", "-binary"]
    return subprocess.run(command, input=enveloped, capture_output=True, check=True).stdout


# --- KMS

def test_data_key_round_trip(stack):
    kms, key = stack.kms(), stack.create_key()
    issued = kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext={"model": "m", "version": "1"})
    assert len(issued["Plaintext"]) == 32 and issued["KeyId"] == key
    blob = issued["CiphertextBlob"]
    again = kms.decrypt(CiphertextBlob=blob, EncryptionContext={"version": "1", "model": "m"})
    assert again["Plaintext"] == issued["Plaintext"]
    for context in ({}, {"model": "m"}, {"model": "m", "version": "2"}):
        with refused("InvalidCiphertextException"):
            kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)
    with refused("IncorrectKeyException"):
        kms.decrypt(CiphertextBlob=blob, EncryptionContext={"version": "1", "model": "m"}, KeyId=stack.create_key())
    with refused("InvalidCiphertextException"):
        kms.decrypt(CiphertextBlob=blob[:-1] + bytes([blob[-1] ^ 1]), EncryptionContext={"version": "1", "model": "m"})


def test_encrypt_and_without_plaintext(stack):
    kms, key = stack.kms(), stack.create_key()
    blob = kms.encrypt(KeyId=key, Plaintext=b"secret")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"secret"
    answer = kms.generate_data_key_without_plaintext(KeyId=key, NumberOfBytes=64)
    assert "Plaintext" not in answer
    assert len(kms.decrypt(CiphertextBlob=answer["CiphertextBlob"])["Plaintext"]) == 64


def test_key_states(stack):
    kms, key = stack.kms(), stack.create_key()
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    kms.disable_key(KeyId=key)
    with refused("DisabledException"):
        kms.decrypt(CiphertextBlob=blob)
    kms.enable_key(KeyId=key)
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    with refused("KMSInvalidStateException"):
        kms.decrypt(CiphertextBlob=blob)
    with refused("NotFoundException"):
        kms.describe_key(KeyId="00000000-0000-0000-0000-000000000000")


def test_aliases(stack):
    kms, keys = stack.kms(), [stack.create_key(), stack.create_key()]
    arn = keys[0].partition(":key/")[0] + ":alias/models/llama_1"
    with refused("NotFoundException"):
        kms.describe_key(KeyId="alias/models/llama_1")
    kms.create_alias(AliasName="alias/models/llama_1", TargetKeyId=keys[0])
    for reference in ("alias/models/llama_1", arn):
        assert kms.describe_key(KeyId=reference)["KeyMetadata"]["Arn"] == keys[0]
        issued = kms.generate_data_key(KeyId=reference, KeySpec="AES_256")
        assert issued["KeyId"] == keys[0]
        assert kms.decrypt(CiphertextBlob=issued["CiphertextBlob"], KeyId=reference)["Plaintext"] == issued["Plaintext"]
        with refused("Invalid keyId"):
            kms.disable_key(KeyId=reference)
    listed = kms.list_aliases(KeyId=keys[0])["Aliases"]
    assert [(a["AliasArn"], a["AliasName"], a["TargetKeyId"]) for a in listed] == [
        (arn, "alias/models/llama_1", keys[0].rsplit("/", 1)[1])]
    for bad in ("models", "alias/a b", "alias/aws/s3", "alias/"):
        with refused("InvalidAliasNameException"):
            kms.create_alias(AliasName=bad, TargetKeyId=keys[0])
    with refused("AlreadyExistsException"):
        kms.create_alias(AliasName="alias/models/llama_1", TargetKeyId=keys[1])
    with refused("NotFoundException"):         # an alias's name alone is one of the caller's own account
        stack.kms(stack.control.credentials()).generate_data_key(KeyId="alias/models/llama_1", KeySpec="AES_256")
    with refused("AccessDeniedException"):
        stack.kms(stack.control.credentials()).generate_data_key(KeyId=arn, KeySpec="AES_256")
    kms.update_alias(AliasName="alias/models/llama_1", TargetKeyId=keys[1])
    with refused("IncorrectKeyException"):
        kms.decrypt(CiphertextBlob=issued["CiphertextBlob"], KeyId=arn)
    kms.delete_alias(AliasName="alias/models/llama_1")
    assert kms.list_aliases(KeyId=keys[1])["Aliases"] == []


def test_request_alias_is_a_condition_key(stack):
    policy = stack.key_policy(pcrs={})
    policy["Statement"][1] |= {"Action": "kms:GenerateDataKey",
                               "Condition": {"StringEquals": {"kms:RequestAlias": "alias/only"}}}
    key = stack.kms().create_key(Policy=json.dumps(policy))["KeyMetadata"]["Arn"]
    stack.kms().create_alias(AliasName="alias/only", TargetKeyId=key)
    role = stack.kms(stack.control.credentials())
    assert role.generate_data_key(KeyId=key.partition(":key/")[0] + ":alias/only", KeySpec="AES_256")["KeyId"] == key
    with refused("AccessDeniedException"):
        role.generate_data_key(KeyId=key, KeySpec="AES_256")


def test_dry_run(stack, recipient):
    """All that would refuse the request does, and nothing else happens."""
    key, context = stack.create_key(context={"model": "m"}), {"model": "m"}
    blob = stack.kms().generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=context)["CiphertextBlob"]
    document = stack.control.document(public_key=public_der(recipient))
    answer = kms_requests.decrypt_attested(stack, blob, context, document, DryRun=True)
    assert (answer["status"], answer["__type"]) == (412, "DryRunOperationException")
    assert set(answer) == {"status", "__type", "message"}
    assert answer["message"] == "The request would have succeeded, but the DryRun option is set."
    assert "CiphertextForRecipient" in kms_requests.decrypt_attested(stack, blob, context, document, DryRun=False)
    answer = kms_requests.decrypt_attested(stack, blob, {}, document, DryRun=True)
    assert answer["__type"] == "InvalidCiphertextException"
    stack.control.tpm_extend(4, sha384=b"\1" * 48)
    denied = stack.control.document(public_key=public_der(recipient))
    assert kms_requests.decrypt_attested(stack, blob, context, denied, DryRun=True)["__type"] == "AccessDeniedException"
    for operation, members in (("GenerateDataKey", {"KeySpec": "AES_256"}), ("Encrypt", {"Plaintext": "eA=="}),
                               ("GenerateDataKeyWithoutPlaintext", {"NumberOfBytes": 32})):
        answer = kms_requests.request(stack, operation, None, {"KeyId": key, "DryRun": True, **members})
        assert answer["__type"] == "DryRunOperationException", operation


def test_key_policies_are_checked(stack):
    kms, key = stack.kms(), stack.create_key()
    assert json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]) == stack.key_policy()
    for change in ({"Condition": {"StringResembles": {"kms:CallerAccount": "1"}}},
                   {"Condition": {"StringEquals": {"kms:RecipientAttestation:NitroTPMPCR24": "0"}}},
                   {"Condition": {"StringEquals": {"kms:RecipientAttestation:PCR4x": "0"}}},
                   {"Effect": "allow"}, {"Action": "s3:GetObject"}, {"Principal": {"AWS": "somebody"}}):
        document = stack.key_policy()
        document["Statement"][1].update(change)
        with refused("MalformedPolicyDocumentException"):
            kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(document))
    locked = {**stack.key_policy(), "Statement": stack.key_policy()["Statement"][1:]}
    with refused("MalformedPolicyDocumentException"):
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(locked))


@pytest.mark.parametrize("shape", [*cms.SHAPES, cms.PIECES])
def test_decrypt_for_recipient(stack, recipient, tmp_path, shape):
    stack.control.settings(cms=shape)
    key = stack.create_key(context={"model": "m"})
    context = {"model": "m"}
    issued = stack.kms().generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=context)
    document = stack.control.document(public_key=public_der(recipient))
    answer = kms_requests.decrypt_attested(stack, issued["CiphertextBlob"], context, document)
    assert "Plaintext" not in answer
    enveloped = base64.b64decode(answer["CiphertextForRecipient"])
    assert openssl_decrypt(enveloped, recipient, tmp_path) == issued["Plaintext"]
    entry = stack.control.audit(operation="Decrypt")[-1]
    assert entry["principal"] == stack.info["session_arn"] and entry["encryption_context"] == context
    assert entry["pcrs"]["15"] == "0" * 96


def test_release_depends_on_pcrs(stack, recipient):
    key = stack.create_key()
    blob = stack.kms().generate_data_key(KeyId=key, KeySpec="AES_256")["CiphertextBlob"]

    def attempt():
        return kms_requests.decrypt_attested(stack, blob, {}, stack.control.document(public_key=public_der(recipient)))
    assert "CiphertextForRecipient" in attempt()
    stack.control.tpm_extend(15, sha384=b"\1" * 48)
    assert attempt()["__type"] == "AccessDeniedException"
    stack.control.tpm_reset()
    assert "CiphertextForRecipient" in attempt()
    stack.control.tpm_extend(12, sha384=b"\1" * 48)
    assert attempt()["__type"] == "AccessDeniedException"


def test_no_release_without_document(stack):
    key = stack.create_key()
    blob = stack.kms().generate_data_key(KeyId=key, KeySpec="AES_256")["CiphertextBlob"]
    with refused("AccessDeniedException"):
        stack.kms(stack.control.credentials()).decrypt(CiphertextBlob=blob)


@pytest.mark.parametrize("shape", malformed.SHAPES)
def test_malformed_documents_release_nothing(stack, recipient, shape):
    key = stack.create_key(pcrs={})
    blob = stack.kms().generate_data_key(KeyId=key, KeySpec="AES_256")["CiphertextBlob"]
    document = stack.control.document(shape, public_key=public_der(recipient))
    assert kms_requests.decrypt_attested(stack, blob, {}, document)["__type"] == "ValidationException"


def test_old_documents_release_nothing(stack, recipient):
    key = stack.create_key()
    blob = stack.kms().generate_data_key(KeyId=key, KeySpec="AES_256")["CiphertextBlob"]
    stack.control.settings(tpm_clock=-301)
    answer = kms_requests.decrypt_attested(stack, blob, {}, stack.control.document(public_key=public_der(recipient)))
    assert answer["__type"] == "ValidationException" and "expired" in answer["message"]


# --- signatures and credentials

@pytest.mark.parametrize("service", ["kms", "s3"])
def test_wrong_secret_is_refused(stack, service):
    wrong = {"AccessKeyId": stack.variables["AWS_ACCESS_KEY_ID"], "SecretAccessKey": "x" * 40, "Token": None}
    client = stack.client(service, wrong)
    with refused("InvalidSignatureException|SignatureDoesNotMatch"):
        client.list_keys() if service == "kms" else client.list_objects_v2(Bucket=stack.bucket)


@pytest.mark.parametrize("service, skew", [("kms", 301), ("kms", -301), ("s3", 901), ("s3", -901)])
def test_clock_skew_is_refused(stack, service, skew):
    client = stack.client(service)
    stack.control.settings(clock=skew)
    with refused("InvalidSignatureException|RequestTimeTooSkewed"):
        client.list_keys() if service == "kms" else client.list_objects_v2(Bucket=stack.bucket)
    stack.control.settings(clock=skew // 2)
    client.list_keys() if service == "kms" else client.list_objects_v2(Bucket=stack.bucket)


@pytest.mark.parametrize("service", ["kms", "s3"])
def test_expired_and_foreign_tokens_are_refused(stack, service):
    def call(credentials):
        client = stack.client(service, credentials)
        client.list_keys() if service == "kms" else client.list_objects_v2(Bucket=stack.bucket)
    call(stack.control.credentials(60))
    with refused("ExpiredToken"):
        call(stack.control.credentials(-1))
    with refused("UnrecognizedClientException|InvalidAccessKeyId|InvalidToken"):
        call({**stack.control.credentials(60), "Token": "another"})


EMPTY = hashlib.sha256(b"").hexdigest()


# The examples of the S3 API reference, "Authenticating Requests: Using the Authorization Header".
@pytest.mark.parametrize("method, target, headers, signature", [
    ("GET", "/test.txt", {"range": "bytes=0-9", "x-amz-content-sha256": EMPTY},
     "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
    ("PUT", "/test%24file.text", {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY",
                                  "x-amz-content-sha256": hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()},
     "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
    ("GET", "/?lifecycle", {"x-amz-content-sha256": EMPTY},
     "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
    ("GET", "/?max-keys=2&prefix=J", {"x-amz-content-sha256": EMPTY},
     "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")])
def test_signatures_of_the_specification_verify(method, target, headers, signature):
    keys = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None, None, OWNER)
    headers = {"host": "examplebucket.s3.amazonaws.com", "x-amz-date": "20130524T000000Z", **headers}
    headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={keys.access_key_id}/20130524/us-east-1/s3/aws4_request,"
                                f"SignedHeaders={';'.join(sorted(headers))},Signature={signature}")
    path, _, query = target.partition("?")
    request = types.SimpleNamespace(method=method, raw_path=path, raw_query=query, headers=headers,
                                    header_list=list(headers.items()))
    registry = types.SimpleNamespace(find={keys.access_key_id: keys}.get)

    def verify():
        return sigv4.verify(request, service="s3", region="us-east-1", registry=registry, now=1369353600, skew=900)
    assert verify() is keys
    request.raw_path += "x"
    with pytest.raises(sigv4.SignatureError, match="does not match"):
        verify()


def signed_get(stack, key: str) -> tuple[str, dict]:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    request = AWSRequest("GET", f"{stack.endpoints['s3']}/{stack.bucket}/{key}", headers={"Range": "bytes=0-3"})
    S3SigV4Auth(Credentials(stack.variables["AWS_ACCESS_KEY_ID"], stack.variables["AWS_SECRET_ACCESS_KEY"]), "s3",
                stack.region).add_auth(request)
    return request.url, dict(request.headers)


def status_of(url: str, headers: dict) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as e:
        return e.code, e.read()


def test_tampered_requests_are_refused(stack):
    stack.s3().put_object(Bucket=stack.bucket, Key="signed", Body=b"0123456789")
    url, headers = signed_get(stack, "signed")
    assert status_of(url, headers) == (206, b"0123")
    authorization = headers["Authorization"]
    for changed in ({"Authorization": authorization[:-1] + ("0" if authorization[-1] != "0" else "1")},
                    {"Authorization": authorization.replace("us-east-1", "us-east-2")},
                    {"Authorization": authorization.replace("SignedHeaders=host;", "SignedHeaders=")},
                    {"X-Amz-Date": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - 60))},
                    {"X-Amz-Surprise": "unsigned"}, {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}):
        status, body = status_of(url, {**headers, **changed})
        assert status in (400, 403), (changed, body)
    assert status_of(url + "?versionId=x", headers)[0] == 403
    assert status_of(url.replace("signed", "Signed"), headers)[0] == 403
    assert status_of(url, {"Range": "bytes=0-3"})[0] == 403


# --- S3

@pytest.mark.parametrize("tls", [False, True])
def test_objects_with_tricky_keys(stack, tls):
    s3, bucket = stack.s3(tls=tls), f"tricky-{tls:d}"
    s3.create_bucket(Bucket=bucket)
    for key in TRICKY_KEYS:
        etag = s3.put_object(Bucket=bucket, Key=key, Body=key.encode())["ETag"]
        assert etag == f'"{hashlib.md5(key.encode()).hexdigest()}"'
        answer = s3.get_object(Bucket=bucket, Key=key, IfMatch=etag)
        assert answer["Body"].read() == key.encode()
        assert s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == len(key.encode())
    listed = [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert listed == sorted(TRICKY_KEYS, key=str.encode)
    for key in TRICKY_KEYS:
        s3.delete_object(Bucket=bucket, Key=key)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_multipart(stack):
    s3, data = stack.s3(), os.urandom((17 << 20) + 5)
    s3.upload_fileobj(io.BytesIO(data), stack.bucket, "multi part")
    head = s3.head_object(Bucket=stack.bucket, Key="multi part")
    assert head["ContentLength"] == len(data) and head["ETag"].endswith('-3"')
    answer = s3.get_object(Bucket=stack.bucket, Key="multi part", Range=f"bytes=8388600-{len(data) - 2}")
    assert answer["ContentRange"] == f"bytes 8388600-{len(data) - 2}/{len(data)}"
    assert answer["Body"].read() == data[8388600:-1]
    upload = s3.create_multipart_upload(Bucket=stack.bucket, Key="small")["UploadId"]
    tags = [s3.upload_part(Bucket=stack.bucket, Key="small", UploadId=upload, PartNumber=n, Body=b"x" * n)["ETag"]
            for n in (1, 2)]

    def complete(*parts):
        s3.complete_multipart_upload(Bucket=stack.bucket, Key="small", UploadId=upload, MultipartUpload={
            "Parts": [{"PartNumber": n, "ETag": tags[n - 1]} for n in parts]})
    with refused("EntityTooSmall"):
        complete(1, 2)
    with refused("InvalidPartOrder"):
        complete(2, 1)
    s3.abort_multipart_upload(Bucket=stack.bucket, Key="small", UploadId=upload)
    with refused("NoSuchUpload"):
        complete(1)


def test_ranges_and_conditions(stack):
    s3 = stack.s3()
    etag = s3.put_object(Bucket=stack.bucket, Key="ranges", Body=b"0123456789")["ETag"]
    for header, expected in (("bytes=0-0", b"0"), ("bytes=7-", b"789"), ("bytes=-3", b"789"), ("bytes=5-100",
                                                                                               b"56789")):
        assert s3.get_object(Bucket=stack.bucket, Key="ranges", Range=header)["Body"].read() == expected
    with refused("InvalidRange"):
        s3.get_object(Bucket=stack.bucket, Key="ranges", Range="bytes=10-")
    new = s3.put_object(Bucket=stack.bucket, Key="ranges", Body=b"9876543210")
    with refused("PreconditionFailed"):
        s3.get_object(Bucket=stack.bucket, Key="ranges", IfMatch=etag)
    assert s3.get_object(Bucket=stack.bucket, Key="ranges", VersionId=new["VersionId"])["Body"].read() == b"9876543210"
    with refused("NoSuchKey"):
        s3.get_object(Bucket=stack.bucket, Key="absent")
    with refused("NoSuchBucket"):
        s3.get_object(Bucket="absent", Key="absent")
    with refused("BadDigest"):
        s3.put_object(Bucket=stack.bucket, Key="ranges", Body=b"x", ContentMD5=base64.b64encode(bytes(16)).decode())


@pytest.mark.parametrize("name", checksums.ALGORITHMS)
def test_checksums(stack, name):
    """S3's own words for each way to be wrong."""
    s3, member, data = stack.s3(), "Checksum" + name.upper(), os.urandom(100_000)
    right, wrong = checksums.value_of(name, [data]), checksums.value_of(name, [b"x"])
    where = {"Bucket": stack.bucket, "Key": "checksum"}

    def put(**headers):
        return raw_put(stack, "checksum", data, headers)
    assert put(**{f"x-amz-checksum-{name}": right})["x-amz-checksum-" + name] == right
    assert s3.head_object(**where, ChecksumMode="ENABLED").get(member, right) == right
    assert member not in s3.head_object(**where)
    for headers, words in (
            ({name: wrong}, f"BadDigest.*The {name.upper()} you specified did not match the calculated checksum."),
            ({name: "AAAA"}, f"InvalidRequest.*Value for x-amz-checksum-{name} header is invalid."),
            ({name: right, "crc32x": right}, "Multiple checksum Types are not allowed"),
            ({"md4": right}, "The algorithm type you specified in x-amz-checksum- header is invalid")):
        with pytest.raises(urllib.error.HTTPError) as refusal:
            put(**{f"x-amz-checksum-{n}": v for n, v in headers.items()})
        assert re.search(words, refusal.value.read().decode())


def raw_put(stack, key: str, data: bytes, headers: dict, bucket: str | None = None) -> dict:
    """botocore computes checksums of its own: this sends those that it is told."""
    url = f"{stack.endpoints['s3']}/{bucket or stack.bucket}/{key}"
    headers = {"x-amz-content-sha256": "UNSIGNED-PAYLOAD", **headers}
    request = awsrequest.AWSRequest("PUT", url, headers=headers, data=data)
    keys = botocore.credentials.Credentials(*(stack.variables[n]
                                              for n in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")))
    botocore.auth.S3SigV4Auth(keys, "s3", stack.region).add_auth(request)
    sent = urllib.request.Request(url, data, dict(request.headers), method="PUT")
    with urllib.request.urlopen(sent) as answer:
        return dict(answer.headers)


def test_multipart_checksums(stack):
    s3, parts = stack.s3(), [os.urandom(5 << 20), b"last"]
    where = {"Bucket": stack.bucket, "Key": "checked parts"}
    values = [checksums.value_of("crc32", [part]) for part in parts]

    def begin(**more):
        return where | {"UploadId": s3.create_multipart_upload(**where, **more)["UploadId"]}

    def complete(upload, tags, values):
        return s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [
            {"PartNumber": n, "ETag": tag} | ({"ChecksumCRC32": value} if value else {})
            for n, (tag, value) in enumerate(zip(tags, values), 1)]})
    upload = begin()
    with refused("expected checksum Type: null, actual checksum Type: crc32"):
        s3.upload_part(**upload, PartNumber=1, Body=parts[0], ChecksumCRC32=values[0])
    upload = begin(ChecksumAlgorithm="CRC32")
    with refused("expected checksum Type: crc32, actual checksum Type: null"):
        s3.upload_part(**upload, PartNumber=1, Body=parts[0])
    tags = [s3.upload_part(**upload, PartNumber=n, Body=part, ChecksumCRC32=value)["ETag"]
            for n, (part, value) in enumerate(zip(parts, values), 1)]
    with refused("created using a crc32 checksum. The complete request must include the checksum for each part. "
                 "It was missing for part 2 in the request"):
        complete(upload, tags, [values[0], None])
    with refused("InvalidPart"):
        complete(upload, tags, values[::-1])
    done = complete(upload, tags, values)
    assert done["ChecksumCRC32"] == checksums.composite("crc32", values)
    assert s3.head_object(**where, ChecksumMode="ENABLED")["ChecksumCRC32"] == done["ChecksumCRC32"]
    assert s3.get_object(**where)["Body"].read() == b"".join(parts)


def test_object_lock(stack):
    s3 = stack.s3()
    with refused("InvalidBucketState"):
        s3.put_object_lock_configuration(Bucket=stack.bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})
    with refused("ObjectLockConfigurationNotFoundError"):
        s3.get_object_lock_configuration(Bucket=stack.bucket)
    locked_bucket(stack, "locked-away")
    rule = s3.get_object_lock_configuration(Bucket="locked-away")["ObjectLockConfiguration"]["Rule"]
    assert rule == {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    where = {"Bucket": "locked-away", "Key": "x"}
    upload = s3.create_multipart_upload(**where)["UploadId"]
    for what, query in (("Put Object", ""), ("Put Part", f"?partNumber=1&uploadId={upload}")):
        with pytest.raises(urllib.error.HTTPError) as refusal:
            raw_put(stack, "x" + query, b"x", {}, bucket="locked-away")
        words = f"Content-MD5 OR x-amz-checksum- HTTP header is required for {what} requests with Object Lock " \
            "parameters"
        assert words in refusal.value.read().decode()
    s3.put_object(**where, Body=b"x", ContentMD5=base64.b64encode(hashlib.md5(b"x").digest()).decode())
    with refused("InvalidDigest"):
        s3.put_object(**where, Body=b"x", ContentMD5="short")
    version = s3.put_object(**where, Body=b"x", ChecksumAlgorithm="SHA256")["VersionId"]
    with refused("protected by object lock"):
        s3.delete_object(**where, VersionId=version)
    s3.delete_object(**where)
    with refused("NoSuchKey"):
        s3.get_object(**where)


def locked_bucket(stack, name: str):
    s3 = stack.s3()
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    s3.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration={
        "ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}})


def test_buckets_are_listed(stack):
    s3 = stack.s3()
    s3.create_bucket(Bucket="listed-too")
    listed = {b["Name"]: b["CreationDate"] for b in s3.list_buckets()["Buckets"]}
    assert {"listed-too", stack.bucket} <= set(listed) and abs(listed["listed-too"].timestamp() - time.time()) < 60
    assert stack.s3(stack.control.credentials()).list_buckets()["Buckets"] == []      # another account


def test_listing_pages_and_prefixes(stack):
    s3 = stack.s3()
    s3.create_bucket(Bucket="listing")
    keys = [f"model/{directory}/{n}" for directory in "abc" for n in range(5)] + ["model.json"]
    for key in keys:
        s3.put_object(Bucket="listing", Key=key, Body=b"")
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket="listing", PaginationConfig={"PageSize": 4}))
    assert len(pages) == 4 and [o["Key"] for p in pages for o in p["Contents"]] == sorted(keys)
    rolled = s3.list_objects_v2(Bucket="listing", Prefix="model/", Delimiter="/")
    assert [p["Prefix"] for p in rolled["CommonPrefixes"]] == ["model/a/", "model/b/", "model/c/"]


def test_instance_role_reads_but_does_not_write(stack):
    stack.s3().put_object(Bucket=stack.bucket, Key="shared", Body=b"x")
    s3 = stack.s3(stack.control.credentials())
    assert s3.get_object(Bucket=stack.bucket, Key="shared")["Body"].read() == b"x"
    with refused("AccessDenied"):
        s3.put_object(Bucket=stack.bucket, Key="shared", Body=b"y")


# --- the AWS CLI

def cli_version() -> tuple[int, ...]:
    said = subprocess.run(["aws", "--version"], capture_output=True, text=True).stdout if shutil.which("aws") else ""
    return tuple(map(int, re.match(r"aws-cli/(\d+)\.(\d+)", said).groups())) if said else (0, 0)


def test_manual_of_attest_with_the_aws_cli(build, stack, tmp_path):
    """The commands of sealboot-attest(1), word for word, as far as this CLI knows their syntax."""
    version = cli_version()
    if version < (1, 36) or (2, 0) <= version < (2, 11):
        pytest.skip("no AWS CLI that knows kms decrypt --recipient, and a way to give it bytes")
    manual = (pathlib.Path(__file__).parent.parent.parent / "policy/man/sealboot-attest.1").read_text()
    page = manual[manual.index("$ openssl genpkey"):].replace("\\e\n", "\\\n").replace("\\(dq", '"')
    commands = page.partition("\n.Ed")[0]
    if (2, 0) <= version < (2, 20):
        older = page[page.index(".Dl $ aws kms decrypt"):].partition(" --recipient")[2].partition(" ...")[0]
        older = f"--cli-binary-format base64 --recipient {older}"
        commands = re.sub(r"--recipient \\\s+\S+", lambda _: older, commands)
    context = {"model": "llama", "version": "3.1"}
    key = stack.create_key(context=context)
    issued = stack.kms().generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=context)
    (tmp_path / "encrypted-data-key").write_bytes(issued["CiphertextBlob"])
    role = stack.control.credentials()
    path = f"{build.resolve() / 'policy'}:{os.environ['PATH']}"
    environment = {**stack.env, "PATH": path, "AWS_ACCESS_KEY_ID": role["AccessKeyId"],
                   "AWS_SECRET_ACCESS_KEY": role["SecretAccessKey"], "AWS_SESSION_TOKEN": role["Token"],
                   "AWS_DEFAULT_REGION": stack.region}
    script = 'aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL_KMS" "$@"; }\n' + re.sub(r"(?m)^\$ ", "", commands)
    ran = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", script], cwd=tmp_path, env=environment,
                         capture_output=True)
    assert ran.returncode == 0 and ran.stdout == issued["Plaintext"], ran


# --- the SDK for JavaScript

def test_javascript_sdk(esdk, stack, recipient, tmp_path):
    document = stack.control.document(public_key=public_der(recipient))
    issued = stack.control.credentials()
    said = esdk.run(stack, "stack.js", stack.bucket, stack.create_key(), base64.b64encode(document).decode(),
                    ",".join(issued[k] for k in ("AccessKeyId", "SecretAccessKey", "Token")))
    plaintext, wrapped = map(bytes.fromhex, said.split())
    assert openssl_decrypt(wrapped, recipient, tmp_path) == plaintext


# --- metadata

def metadata(stack, path: str, token: str | None = None, method="GET", **headers):
    if token:
        headers["X-aws-ec2-metadata-token"] = token
    request = urllib.request.Request(stack.endpoints["imds"] + path, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, None


def new_token(stack, ttl="60"):
    return metadata(stack, "/latest/api/token", method="PUT", **{"X-aws-ec2-metadata-token-ttl-seconds": ttl})


def test_metadata(stack):
    stack.control.user_data({"sealboot": {"model": "s3://bucket/prefix/"}})
    assert metadata(stack, "/latest/user-data")[0] == 401
    assert metadata(stack, "/latest/user-data", "wrong")[0] == 401
    assert new_token(stack, "0")[0] == new_token(stack, "21601")[0] == 400
    _, token = new_token(stack)
    assert json.loads(metadata(stack, "/latest/user-data", token)[1]) == {"sealboot": {"model": "s3://bucket/prefix/"}}
    assert metadata(stack, "/latest/meta-data/placement/region", token)[1] == "us-east-1"
    role = metadata(stack, "/latest/meta-data/iam/security-credentials/", token)[1]
    credentials = json.loads(metadata(stack, f"/latest/meta-data/iam/security-credentials/{role}", token)[1])
    stack.s3(credentials).list_objects_v2(Bucket=stack.bucket)
    document = json.loads(metadata(stack, "/latest/dynamic/instance-identity/document", token)[1])
    assert document["accountId"] == stack.info["consumer_account"]
    stack.control.settings(clock=61)
    assert metadata(stack, "/latest/user-data", token)[0] == 401


def test_metadata_modes(stack):
    stack.control.settings(imds={"mode": "v1-only"})
    assert new_token(stack)[0] == 404 and metadata(stack, "/latest/meta-data/placement/region")[0] == 200
    stack.control.settings(imds={"mode": "v2", "role": None})
    assert metadata(stack, "/latest/meta-data/iam/security-credentials/", new_token(stack)[1])[0] == 404
    stack.control.settings(imds={"role": "sealboot-instance", "credentials_lifetime": -1})
    issued = json.loads(metadata(stack, "/latest/meta-data/iam/security-credentials/sealboot-instance",
                                 new_token(stack)[1])[1])
    with refused("ExpiredToken"):
        stack.s3(issued).list_objects_v2(Bucket=stack.bucket)


# --- TPM

def test_ordinary_tpm_use_passes_through(stack):
    assert set(stack.tpm("tpm2_pcrread", "sha384:4,15").split("0x")[1].split()[0]) == {"0"}
    stack.tpm("tpm2_nvdefine", "0x1500001", "-s", "32", "-a", "ownerread|ownerwrite")
    stack.tpm("tpm2_nvwrite", "0x1500001", "-C", "o", "-i", "-", input="hello")
    assert stack.tpm("tpm2_nvread", "0x1500001", "-C", "o", "-s", "5") == "hello"
    assert stack.control.tpm()["nv"] == [0x1500001]
    stack.tpm("tpm2_nvundefine", "0x1500001")
    stack.tpm("tpm2_pcrextend", "16:sha384=" + "01" * 48)
    assert stack.pcr(16) == hashlib.sha384(bytes(48) + b"\1" * 48).hexdigest()


def test_transient_objects_of_earlier_clients_make_room(stack, tmp_path):
    for _ in range(5):
        stack.tpm("tpm2_createprimary", "-c", tmp_path / "primary.context")


class NVClient:
    """Speaks to the TPM byte by byte, as a client of the vendor command does, with password authorization."""

    INDEX, AUTH = 0x01800042, b"\7" * 32
    OWNER = 0x40000001

    def __init__(self, stack):
        self.address = ("127.0.0.1", int(stack.variables["TPM2TOOLS_TCTI"].rsplit("=", 1)[1]))

    def send(self, command: bytes) -> bytes:
        """TPM_RC_RETRY is how a TPM asks for time to note that dictionary attacks are possible from here on."""
        while True:
            with socket.create_connection(self.address) as s:
                s.sendall(command)
                response = receive_frame(s)
            if wire.code_of(response) != wire.RC_RETRY:
                return response

    def authorized(self, name: str, handles: tuple, parameters: bytes = b"", auth: bytes = AUTH) -> tuple[int, bytes]:
        area = struct.pack(">IHBH", wire.RS_PW, 0, 0, len(auth)) + auth
        response = self.send(wire.authorized(wire.CC[name], handles, area, parameters))
        code = wire.code_of(response)
        return code, response[14:14 + struct.unpack_from(">I", response, 10)[0]] if code == 0 else b""

    def define(self, size=8192) -> int:
        public = struct.pack(">IHIHH", self.INDEX, 0x000B, 0x00040004, 0, size)      # AUTHREAD | AUTHWRITE
        return self.authorized("NV_DefineSpace", (self.OWNER,), wire.tpm2b(self.AUTH) + wire.tpm2b(public), b"")[0]

    def undefine(self) -> int:
        return self.authorized("NV_UndefineSpace", (self.OWNER, self.INDEX), auth=b"")[0]

    def write(self, data: bytes, offset=0, **more) -> int:
        parameters = wire.tpm2b(data) + struct.pack(">H", offset)
        return self.authorized("NV_Write", (self.INDEX, self.INDEX), parameters, **more)[0]

    def read(self, size=1024, offset=0, **more) -> tuple[int, bytes]:
        code, data = self.authorized("NV_Read", (self.INDEX, self.INDEX), struct.pack(">HH", size, offset), **more)
        return code, data[2:]

    def attest(self, **more) -> int:
        return self.authorized("Attest", (self.INDEX, self.INDEX), **more)[0]

    def contents(self) -> bytes:
        return b"".join(self.read(offset=offset)[1] for offset in range(0, 8192, 1024))

    def ask(self, request) -> dict:
        """One whole exchange."""
        assert self.define() == 0
        assert self.write(request if isinstance(request, bytes) else cbor.dumps(request)) == 0
        assert self.attest() == 0
        answer = cbor.first(self.contents())
        assert self.undefine() == 0
        return answer


def request(**fields) -> dict:
    return {"Attestation": {"user_data": None, "nonce": None, "public_key": None, **fields}}


def test_vendor_command(stack):
    client = NVClient(stack)
    document = client.ask(request(nonce=b"n" * 32))["Attestation"]["document"]
    root = pki.x509.load_pem_x509_certificate(pathlib.Path(stack.variables["SEALBOOT_ATTESTATION_ROOT"]).read_bytes())
    checked = attestation_check.verify(document, root.public_bytes(serialization.Encoding.DER), time.time())
    assert checked.nonce == b"n" * 32 and checked.public_key is None
    assert {n: v.hex() for n, v in checked.pcrs.items()} == {n: stack.pcr(n) for n in range(24)}
    stack.nothing_left()


def test_vendor_command_takes_arrays_of_integers(stack):
    """As serde writes a vector of bytes that is not told to be a byte string."""
    client, root = NVClient(stack), pki.x509.load_pem_x509_certificate(
        pathlib.Path(stack.variables["SEALBOOT_ATTESTATION_ROOT"]).read_bytes())
    answer = client.ask(request(nonce=list(b"\0n\xff"), user_data=[], public_key=list(b"\1" * 200)))
    document = answer["Attestation"]["document"]
    checked = attestation_check.verify(document, root.public_bytes(serialization.Encoding.DER), time.time())
    assert (checked.nonce, checked.user_data, checked.public_key) == (b"\0n\xff", b"", b"\1" * 200)


def test_tpm_names_itself_as_a_nitrotpm(stack):
    said = stack.tpm("tpm2_getcap", "properties-fixed")
    values = re.findall(r"TPM2_PT_(MANUFACTURER|VENDOR_STRING_\d|FIRMWARE_VERSION_1):\s+raw: (0x[0-9A-Fa-f]+)", said)
    raw = {name: int(value, 16).to_bytes(4, "big") for name, value in values}
    assert raw.pop("MANUFACTURER") == b"AMZN" and raw.pop("FIRMWARE_VERSION_1") == bytes.fromhex("20191023")
    assert b"".join(raw[f"VENDOR_STRING_{n}"] for n in (1, 2, 3, 4)) == b"NitroTPMv1.0\0\0\0\0"


@pytest.mark.parametrize("bad, code", [
    (request(nonce=[256]), "InvalidArgument"), (request(nonce=[-1]), "InvalidArgument"),
    (request(nonce=[True]), "InvalidArgument"), (request(nonce=[b"x"]), "InvalidArgument"),
    ({"Attestation": {"nonce": None}}, "InvalidArgument"), (request(surprise=None), "InvalidArgument"),
    (request(nonce="text"), "InvalidArgument"), ({"Describe": {}}, "InvalidOperation"), (b"\xff", "InvalidOperation"),
    ({"Attestation": []}, "InvalidArgument"), (cbor.Pairs([("Attestation", {})] * 2), "InvalidOperation")])
def test_vendor_command_refuses_requests(stack, bad, code):
    assert NVClient(stack).ask(bad) == {"Error": code}


def test_vendor_command_limits_fields(stack):
    client, encoded = NVClient(stack), cbor.dumps(request(nonce=b"n" * 1025))
    assert client.define() == 0 and client.write(encoded[:1024]) == 0 and client.write(encoded[1024:], 1024) == 0
    assert client.attest() == 0
    assert cbor.first(client.contents()) == {"Error": "InputTooLarge"}
    assert client.undefine() == 0


def test_large_indices_are_judged_by_the_real_tpm(stack):
    client, wrong = NVClient(stack), {"auth": b"\x09" * 32}
    auth_fail, nv_defined = 0x98E, 0x14C
    assert client.define() == 0 and client.define() == nv_defined
    assert client.read()[0] == client.attest() == wire.RC_NV_UNINITIALIZED
    assert client.write(b"x", **wrong) == auth_fail
    assert client.write(b"x" * 1025) == wire.RC_SIZE_P1
    assert client.write(b"x" * 1024, 7169) == wire.RC_NV_RANGE
    assert client.write(b"last", 8188) == 0
    assert client.read(4, 8188) == (0, b"last")
    assert client.read(5, 8188)[0] == wire.RC_NV_RANGE and client.read(1025)[0] == wire.RC_VALUE_P1
    assert client.read(**wrong)[0] == client.attest(**wrong) == auth_fail
    assert stack.control.tpm()["nv"] == [client.INDEX]
    public = stack.tpm("tpm2_nvreadpublic", hex(client.INDEX))
    assert "size: 8192" in public
    stack.control.tpm_reset()
    assert client.read(4, 8188) == (0, b"last")
    assert client.undefine() == 0 and client.read()[0] & 0xBF == 0x8B
    assert client.define(8193) != 0
    stack.nothing_left()


def test_tpm_faults(stack):
    client = NVClient(stack)
    stack.control.fault("error", service="tpm", operation="document", code="InternalError")
    assert client.ask(request()) == {"Error": "InternalError"}
    stack.control.fault("document", service="tpm", shape="trailing-byte")
    with pytest.raises(cbor.CBORError, match="trailing"):
        cbor.loads(client.ask(request())["Attestation"]["document"])
    stack.control.fault("response", service="tpm", hex="a0")
    assert client.ask(request()) == {}
    stack.control.fault("rc", service="tpm", operation="NV_DefineSpace", rc=wire.RC_FAILURE)
    assert client.define() == wire.RC_FAILURE
    stack.control.fault("close", service="tpm", operation="NV_DefineSpace")
    with pytest.raises(EOFError):
        client.define()
    stack.nothing_left()


def test_qemu_control_channel(tmp_path):
    """What QEMU does at start: hands its data socket over, asks for capabilities, resets; then firmware starts it
    up."""
    machine = start("--qemu", "--dir", str(tmp_path))
    try:
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(machine.info["qemu_tpm"])
            data, theirs = socket.socketpair()
            socket.send_fds(control, [struct.pack(">II", 0x10, 0)], [theirs.fileno()])
            theirs.close()
            assert control.recv(4) == bytes(4)

            def command(code: int, body: bytes = b"") -> bytes:
                control.sendall(struct.pack(">I", code) + body)
                return control.recv(4096)
            assert command(1)[:4] == bytes(4)                                   # CMD_GET_CAPABILITY
            assert command(14) == bytes(4) and command(2, bytes(4)) == bytes(4)  # CMD_STOP, CMD_INIT
            data.sendall(wire.command(wire.NO_SESSIONS, wire.CC["GetRandom"], b"\0\1"))
            assert wire.code_of(data.recv(4096)) == wire.RC_INITIALIZE
            data.sendall(wire.command(wire.NO_SESSIONS, wire.CC["Startup"], b"\0\0"))
            assert wire.code_of(data.recv(4096)) == 0
            assert machine.pcr(4) == "0" * 96
            assert command(3) == bytes(4)                                       # CMD_SHUTDOWN
            data.close()
        assert machine.pcr(4) == "0" * 96                                       # and a look afterwards
    finally:
        end(machine)


def test_documents(stack):
    root = pathlib.Path(stack.variables["SEALBOOT_ATTESTATION_ROOT"]).read_bytes()
    der = pki.x509.load_pem_x509_certificate(root).public_bytes(serialization.Encoding.DER)
    data = stack.control.document(nonce=b"n" * 1024, user_data=b"u" * 1024, public_key=b"k" * 1024)
    assert len(cbor.dumps({"Attestation": {"document": data}})) <= 8192
    document = attestation_check.verify(data, der, time.time())
    assert (document.nonce, document.user_data, document.public_key) == (b"n" * 1024, b"u" * 1024, b"k" * 1024)
    assert document.pcrs[17] == b"\xff" * 48 and document.pcrs[15] == bytes(48)
    with pytest.raises(attestation_check.DocumentError, match="not yet valid"):
        attestation_check.verify(data, der, time.time() - 4 * 3600)
    with pytest.raises(attestation_check.DocumentError, match="expired"):
        attestation_check.verify(data, der, time.time() + 4 * 3600)


# --- faults

def test_s3_faults(stack):
    s3, data = stack.s3(), bytes(range(256)) * 64
    etag = s3.put_object(Bucket=stack.bucket, Key="f", Body=data)["ETag"]

    def get(header="bytes=100-199"):
        return s3.get_object(Bucket=stack.bucket, Key="f", Range=header)
    stack.control.fault("error", service="s3", operation="GetObject", code="SlowDown", count=2, skip=1)
    get()
    for _ in range(2):
        with refused("SlowDown"):
            get()
    stack.control.fault("corrupt", service="s3", key="*/f", offset=150)
    body = get()["Body"].read()
    assert [i for i in range(100) if body[i] != data[100 + i]] == [50]
    stack.control.fault("content-range", service="s3")
    assert get()["ContentRange"] == f"bytes 101-200/{len(data)}"
    stack.control.fault("whole", service="s3")
    assert len(get()["Body"].read()) == len(data)
    for kind in ("truncate", "reset"):
        stack.control.fault(kind, service="s3", after=10)
        with pytest.raises(Exception, match="IncompleteRead|[Cc]onnection|reset|more expected"):
            get()["Body"].read()
    assert get()["Body"].read() == data[100:200]
    stack.control.fault("replace", service="s3", operation="GetObject")
    assert get()["ETag"] != etag
    assert get()["Body"].read() == bytes(255 - b for b in data[100:200])
    assert all(f["hits"] == f["count"] for f in stack.control.faults())


def test_kms_faults(stack, recipient):
    key = stack.create_key()
    issued = stack.kms().generate_data_key(KeyId=key, KeySpec="AES_256")
    stack.control.fault("error", service="kms", code="ThrottlingException", message="Rate exceeded")
    with pytest.raises(ClientError) as e:
        stack.kms().describe_key(KeyId=key)
    assert e.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400

    def attempt():
        document = stack.control.document(public_key=public_der(recipient))
        return kms_requests.decrypt_attested(stack, issued["CiphertextBlob"], {}, document)
    for shape in cms.MALFORMED:
        stack.control.fault("cms", service="kms", operation="Decrypt", shape=shape)
        answer = attempt()
        assert ("CiphertextForRecipient" in answer) == (shape != "absent")
    stack.control.fault("answer", service="kms", members={"Plaintext": "AAAA", "CiphertextForRecipient": None})
    assert attempt() == {"KeyId": key, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT", "Plaintext": "AAAA"}


# --- CMS against real answers

@pytest.mark.parametrize("shape", cms.SHAPES)
def test_cms_has_the_shape_of_real_answers(shape):
    places = (directory / f"shared/data/cms/kms-{shape}.ber" for directory in pathlib.Path(__file__).resolve().parents)
    sample = next((place for place in places if place.exists()), None)
    if sample is None:
        pytest.skip("no real answers beside the repository")
    real = sample.read_bytes()
    size = {"octet-strings": 32, "primitive": 1}[shape]
    made = cms.envelop(b"x" * size, public_der(rsa.generate_private_key(65537, 2048)), shape)
    # Only the subject key id, the wrapped key, the IV and the ciphertext may differ.
    assert len(made) == len(real)
    for first, last in ((0, 33), (65, 131), (387, 415), (431, 435 if shape == "octet-strings" else 433)):
        assert made[first:last] == real[first:last], (first, last)
    assert made[-8:] == real[-8:]


# --- policies


@pytest.mark.parametrize("operator, wanted, found, result",
                         [("StringEquals", "abc", "abc", True), ("StringEquals", "abc", "ABC", False),
                          ("StringEquals", "abc", None, False), ("StringEquals", ["x", "abc"], "abc", True),
                          ("StringEqualsIgnoreCase", "abc", "ABC", True), ("StringNotEquals", "abc", "abd", True),
                          ("StringNotEquals", ["x", "abc"], "abc", False), ("StringNotEquals", "abc", None, True),
                          ("StringLike", "a*c", "abbc", True), ("StringLike", "a?c", "abbc", False),
                          ("StringLike", "a[b]c", "abc", False), ("StringNotLike", "a*", "abc", False),
                          ("Null", "true", None, True), ("Null", "true", "x", False), ("Null", "false", "x", True),
                          ("Null", False, None, False), ("StringEqualsIfExists", "abc", None, True),
                          ("StringEqualsIfExists", "abc", "x", False),
                          ("ForAllValues:StringEquals", ["a", "b"], ["a"], True),
                          ("ForAllValues:StringEquals", ["a"], ["a", "b"], False),
                          ("ForAllValues:StringEquals", ["a"], None, True),
                          ("ForAnyValue:StringEquals", ["a"], ["a", "b"], True),
                          ("ForAnyValue:StringEquals", ["a"], None, False), ("NumericLessThan", 7, "6.5", True),
                          ("NumericLessThan", "7", "7", False), ("NumericNotEquals", [1, 2], "2", False),
                          ("DateLessThan", "2026-11-21T00:00:00Z", "2026-11-20T23:59:59Z", True),
                          ("DateGreaterThanEquals", "2026-11-21T00:00:00Z", "1795219199", False),
                          ("DateEquals", 1795219200, "2026-11-21", True),
                          ("IpAddress", "10.1.0.0/16", "10.1.2.3", True),
                          ("NotIpAddress", ["10.1.0.0/16", "10.2.0.1"], "10.2.0.1", False),
                          ("IpAddressIfExists", "10.1.0.0/16", None, True),
                          ("DateLessThan", "2026-11-21T00:00:00Z", None, False)])
def test_conditions(operator, wanted, found, result):
    key = "kms:EncryptionContextKeys"
    document = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": OWNER.arn}, "Action": "kms:Decrypt", "Resource": "*",
        "Condition": {operator: {key: wanted}}}]}
    policy.validate(json.dumps(document))
    context = policy.Context("kms:Decrypt", OWNER, keys={} if found is None else {key.upper(): found})
    assert bool(policy.evaluate(document, context)) == result


@pytest.mark.parametrize("principal, named, effect, result",
                         [(ROLE, ROLE.role, "Allow", True), (ROLE, ROLE.arn, "Allow", True), (ROLE, "*", "Allow", True),
                          (ROLE, "arn:aws:iam::444455556666:root", "Allow", True),
                          (ROLE, "444455556666", "Allow", True),
                          (ROLE, "arn:aws:iam::111122223333:root", "Allow", False),
                          (ROLE, "arn:aws:iam::444455556666:role/other", "Allow", False),
                          (OWNER, OWNER.arn, "Allow", True), (OWNER, OWNER.arn, "Deny", False)])
def test_principals(principal, named, effect, result):
    document = {"Version": "2012-10-17", "Statement": [
        {"Effect": effect, "Principal": {"AWS": named}, "Action": "kms:*", "Resource": "*"}]}
    assert bool(policy.authorize(document, policy.Context("kms:Decrypt", principal), "111122223333")) == result


@pytest.mark.parametrize("principal, listed, effect, certain", [
    (ROLE, [ROLE.arn, ROLE.role, "444455556666"], "Allow", True), (ROLE, ["*"], "Allow", True),
    (ROLE, [ROLE.arn, ROLE.role], "Deny", False), (ROLE, [ROLE.role, "444455556666"], "Deny", False),
    (ROLE, ["arn:aws:iam::444455556666:root"], "Deny", False), (ROLE, [OWNER.arn, "111122223333"], "Deny", True),
    (OWNER, [OWNER.arn, "111122223333"], "Allow", True), (OWNER, ["111122223333"], "Deny", False)])
def test_a_denial_spares_who_is_listed_with_the_account(principal, listed, effect, certain):
    document = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"},
        {"Effect": "Deny", "NotPrincipal": {"AWS": listed}, "Action": "kms:*", "Resource": "*"}]}
    policy.validate(json.dumps(document))
    decision = policy.evaluate(document, policy.Context("kms:Decrypt", principal))
    assert (decision.effect, decision.certain) == (effect, certain)
    document["Statement"][1]["Effect"] = "Allow"
    with pytest.raises(policy.MalformedPolicy, match="only for Deny"):
        policy.validate(json.dumps(document))


def test_deny_wins_and_identity_policies_count():
    both = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*"},
        {"Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*", "Condition": {
            "StringNotEqualsIgnoreCase": {"kms:RecipientAttestation:NitroTPMPCR12": "00"}}}]}
    for value, result in (("00", True), ("01", False), (None, False)):
        keys = {"kms:RecipientAttestation:NitroTPMPCR12": value} if value else {}
        assert bool(policy.authorize(both, policy.Context("kms:Decrypt", OWNER, keys=keys), "111122223333")) == result
    open_key = {
        "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"AWS": [ROLE.role, "arn:aws:iam::111122223333:root"]},
            "Action": "kms:Decrypt", "Resource": "*"
        }]
    }
    for principal in (role_session("444455556666", "sealboot-instance", "i", policies=()),
                      user("111122223333", "u", policies=())):
        assert not policy.authorize(open_key, policy.Context("kms:Decrypt", principal), "111122223333")


# --- nginx

@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nginx_serves_ranges_of_one_version(tmp_path, scheme):
    (tmp_path / "object").write_bytes(bytes(range(256)))
    with nginx.serve(tmp_path) as server:
        context = ssl.create_default_context(cafile=server.ca)

        def get(**headers):
            request = urllib.request.Request(getattr(server, scheme) + "/object", headers=headers)
            return urllib.request.urlopen(request, context=context if scheme == "https" else None)
        with get() as answer:
            etag = answer.headers["ETag"]
        with get(**{"Range": "bytes=10-19", "If-Match": etag}) as answer:
            assert answer.status == 206 and answer.read() == bytes(range(10, 20))
        with pytest.raises(urllib.error.HTTPError, match="412"):
            get(**{"Range": "bytes=10-19", "If-Match": '"other"'})
        pid = server.pid
    assert not running(pid)


# --- up and down

def running(pid) -> bool:
    """A zombie, which only its parent can remove, does not run."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_up_and_down_leave_nothing(tmp_path):
    tests = pathlib.Path(__file__).resolve().parent.parent
    directory = tmp_path / "stack"
    up = subprocess.run([tests / "stack/up", "--dir", directory, "--tls"], capture_output=True, text=True, check=True)
    exported = dict(line.removeprefix("export ").split("=", 1) for line in up.stdout.splitlines())
    assert exported["AWS_ENDPOINT_URL_S3"].startswith("https://") and exported["SEALBOOT_STACK"] == str(directory)
    pid = int((directory / "pid").read_text())
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(children) == 1
    subprocess.run([tests / "stack/down", directory], check=True)
    assert not directory.exists()
    assert not any(running(p) for p in (pid, *children))
    assert subprocess.run([tests / "stack/down", directory], capture_output=True, check=False).returncode == 1


def test_dies_with_its_parent(tmp_path):
    tests = pathlib.Path(__file__).resolve().parent.parent
    with subprocess.Popen(["sleep", "60"]) as parent:
        subprocess.run([tests / "stack/up", "--dir", tmp_path / "stack", "--parent-pid", str(parent.pid)], check=True,
                       capture_output=True)
        process = os.pidfd_open(int((tmp_path / "stack/pid").read_text()))
        parent.kill()
    assert select.select([process], [], [], 30)[0]
    os.close(process)
    assert not (tmp_path / "stack").exists()
