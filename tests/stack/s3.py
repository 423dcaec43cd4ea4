# SPDX-License-Identifier: Apache-2.0
"""S3, path style: objects and their versions, ranges, multipart uploads, listings."""

import base64
import hashlib
import json
import os
import re
import secrets
import urllib.parse
import xml.etree.ElementTree as xml
from xml.sax.saxutils import escape

from . import checksums, clock, identity, policy, sigv4
from .faults import READING, WIRE
from .store import Upload, Version
from .web import FilePart, Request, Response

SKEW = 15 * 60
MINIMUM_PART = 5 << 20
NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
SIGNATURE_ERRORS = {
    "missing": "AccessDenied", "incomplete": "AuthorizationHeaderMalformed", "unknown": "InvalidAccessKeyId",
    "scope": "AuthorizationHeaderMalformed", "unsigned": "AccessDenied", "skew": "RequestTimeTooSkewed",
    "mismatch": "SignatureDoesNotMatch", "expired": "ExpiredToken", "payload": "InvalidArgument",
}
ERRORS = {
    "AccessDenied": (403, "Access Denied"),
    "AuthorizationHeaderMalformed": (400, "The authorization header is malformed."),
    "BadDigest": (400, "The Content-MD5 you specified did not match what we received."),
    "BucketAlreadyOwnedByYou": (409,
                                "Your previous request to create the named bucket succeeded and you already own it."),
    "EntityTooSmall": (400, "Your proposed upload is smaller than the minimum allowed size"),
    "ExpiredToken": (400, "The provided token has expired."),
    "IllegalLocationConstraintException": (400,
                                           "The me-south-1 location constraint is incompatible for the region specific "
                                           "endpoint this request was sent to."),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "InvalidAccessKeyId": (403, "The AWS Access Key Id you provided does not exist in our records."),
    "InvalidArgument": (400, "Invalid Argument"),
    "InvalidBucketName": (400, "The specified bucket is not valid."),
    "InvalidObjectState": (403, "The operation is not valid for the object's storage class"),
    "InvalidBucketState": (409, "Object Lock configuration cannot be enabled on existing buckets"),
    "InvalidDigest": (400, "The Content-MD5 you specified was invalid."),
    "InvalidPart": (400, "One or more of the specified parts could not be found."),
    "InvalidPartOrder": (400, "The list of parts was not in ascending order."),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "KMS.DisabledException": (400, "arn:aws:kms:us-east-1:111122223333:key/0a1b2c3d is disabled."),
    "KMS.KMSInvalidStateException": (400, "arn:aws:kms:us-east-1:111122223333:key/0a1b2c3d is pending deletion."),
    "KMS.NotFoundException": (400, "Key 'arn:aws:kms:us-east-1:111122223333:key/0a1b2c3d' does not exist"),
    "KMS.ThrottlingException": (400, "Rate exceeded"),
    "KeyTooLongError": (400, "Your key is too long"),
    "MalformedXML": (400, "The XML you provided was not well-formed or did not validate against our published schema"),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "NoSuchBucket": (404, "The specified bucket does not exist"),
    "NoSuchBucketPolicy": (404, "The bucket policy does not exist"),
    "MalformedPolicy": (400, "Policies must be valid JSON"),
    "NoSuchKey": (404, "The specified key does not exist."),
    "ObjectLockConfigurationNotFoundError": (404, "Object Lock configuration does not exist for this bucket"),
    "NoSuchUpload": (404,
                     "The specified upload does not exist. The upload ID may be invalid, or the upload may have been "
                     "aborted or completed."),
    "NoSuchVersion": (404, "The specified version does not exist."),
    "NotImplemented": (501, "A header or query you provided implies functionality that is not implemented."),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold"),
    "RequestTimeTooSkewed": (403, "The difference between the request time and the current time is too large."),
    "SignatureDoesNotMatch": (403,
                              "The request signature we calculated does not match the signature you provided. Check "
                              "your key and signing method."),
    "SlowDown": (503, "Please reduce your request rate."),
    "ServiceUnavailable": (503, "Service is unable to handle request."),
    "XAmzContentSHA256Mismatch": (400, "The provided 'x-amz-content-sha256' header does not match what was computed."),
}


class S3Error(Exception):
    def __init__(self, code: str, message: str | None = None, **details):
        super().__init__(code)
        self.code, self.message, self.details = code, message, details


def element(name: str, *content: str) -> str:
    return f"<{name}>{''.join(content)}</{name}>"


def leaf(name: str, value) -> str:
    return element(name, escape(str(value)))


def document(name: str, *content: str) -> bytes:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{name} {NAMESPACE}>{"".join(content)}</{name}>'
    return text.encode("utf-8", "surrogateescape")


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and how many; None for a header that is to be ignored."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if not match or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        n = min(int(last), size)
        start, end = size - n, size - 1
    else:
        start, end = int(first), min(int(last), size - 1) if last else size - 1
        if last and int(last) < start:
            return None
    if start >= size or end < start:
        raise S3Error("InvalidRange", ActualObjectSize=size, RangeRequested=header)
    return start, end - start + 1


def etag_matches(header: str, etag: str) -> bool:
    return any(tag.strip().strip('"') in ("*", etag) for tag in header.split(","))


def aws_chunks(chunks, trailers: dict):
    """The payload of an aws-chunked body (x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER)."""
    buffer, source = bytearray(), iter(chunks)

    def need(n: int):
        while len(buffer) < n:
            try:
                buffer.extend(next(source))
            except StopIteration:
                raise S3Error("InvalidArgument", "aws-chunked body is truncated") from None

    def line() -> bytes:
        while (at := buffer.find(b"\r\n")) < 0:
            need(len(buffer) + 1)
        text = bytes(buffer[:at])
        del buffer[:at + 2]
        return text

    while size := int(line().split(b";")[0], 16):
        need(size + 2)
        yield bytes(buffer[:size])
        del buffer[:size + 2]
    while text := line():
        name, _, value = text.decode().partition(":")
        trailers[name.lower()] = value.strip()


class S3:
    def __init__(self, *, region: str, registry, clock, faults, audit, store):
        self.region, self.registry, self.clock, self.faults = region, registry, clock, faults
        self.audit, self.store = audit, store

    def answer(self, request: Request) -> Response:
        call = Call(self, request)
        try:
            response = call.run()
            call.log("ok", response.status)
        except sigv4.SignatureError as e:
            response = call.error(S3Error(SIGNATURE_ERRORS[e.kind], e.message if e.kind != "expired" else None))
        except S3Error as e:
            response = call.error(e)
        response.headers = {"x-amz-request-id": call.id, "x-amz-id-2": call.id2, **response.headers}
        response.faults = call.struck
        return response


OPERATIONS = [
    # method, has key, distinguishing query argument -> operation
    ("GET", False, "location", "GetBucketLocation"),
    ("GET", False, "policy", "GetBucketPolicy"),
    ("GET", False, "object-lock", "GetObjectLockConfiguration"),
    ("PUT", False, "object-lock", "PutObjectLockConfiguration"),
    ("GET", False, None, "ListObjectsV2"),
    ("HEAD", False, None, "HeadBucket"),
    ("PUT", False, "policy", "PutBucketPolicy"),
    ("PUT", False, None, "CreateBucket"),
    ("GET", True, None, "GetObject"),
    ("HEAD", True, None, "HeadObject"),
    ("PUT", True, "partNumber", "UploadPart"),
    ("PUT", True, None, "PutObject"),
    ("POST", True, "uploads", "CreateMultipartUpload"),
    ("POST", True, "uploadId", "CompleteMultipartUpload"),
    ("DELETE", True, "uploadId", "AbortMultipartUpload"),
    ("DELETE", True, None, "DeleteObject"),
]
PERMISSIONS = {
    "HeadObject": "GetObject", "ListObjectsV2": "ListBucket", "HeadBucket": "ListBucket", "UploadPart": "PutObject",
    "CreateMultipartUpload": "PutObject", "CompleteMultipartUpload": "PutObject", "ListBuckets": "ListAllMyBuckets",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
}


class Call:
    def __init__(self, s3: S3, request: Request):
        self.s3, self.store, self.request = s3, s3.store, request
        self.id, self.id2 = secrets.token_hex(8).upper(), base64.b64encode(secrets.token_bytes(48)).decode()
        name, _, self.key = request.path.lstrip("/").partition("/")
        self.bucket_name, self.bucket, self.struck, self.principal = name, None, {}, None
        arguments = {key for key, _ in request.query}
        self.operation = next((op for method, has_key, argument, op in OPERATIONS if method == request.method
                               and has_key == bool(self.key) and (argument is None or argument in arguments)), None)
        if not name:
            self.operation = "ListBuckets" if request.method == "GET" else None

    def run(self) -> Response:
        kinds = WIRE + ("denied",) + (READING if self.operation in ("GetObject", "HeadObject") else ())
        self.struck = self.s3.faults.take("s3", self.operation or "?", f"{self.bucket_name}/{self.key}", kinds)
        if "error" in self.struck:
            code = self.struck["error"].get("code", "SlowDown")
            details = {"StorageClass": "GLACIER"} if code == "InvalidObjectState" else {}
            raise S3Error(code, self.struck["error"].get("message"), **details)
        self.principal = sigv4.verify(self.request, service="s3", region=self.s3.region, registry=self.s3.registry,
                                      now=self.s3.clock.now(), skew=SKEW).principal
        if "denied" in self.struck:
            action = self.struck["denied"].get("action") or self.action()
            key = "arn:aws:kms:us-east-1:111122223333:key/0a1b2c3d" if action.startswith("kms:") else self.resource()
            raise S3Error("AccessDenied", identity.denial(self.struck["denied"].get("how"), self.principal.arn, action,
                                                          f' on resource: "{key}"'))
        if self.operation is None:
            raise S3Error("MethodNotAllowed")
        if len(self.key.encode("utf-8", "surrogateescape")) > 1024:
            raise S3Error("KeyTooLongError")
        if self.operation == "ListBuckets":
            self.authorize()
        elif self.operation != "CreateBucket":
            self.bucket = self.store.buckets.get(self.bucket_name)
            if self.bucket is None:
                raise S3Error("NoSuchBucket", BucketName=self.bucket_name)
            self.authorize()
        return METHODS[self.operation](self)

    # --- who may

    def action(self) -> str:
        return "s3:" + PERMISSIONS.get(self.operation, self.operation)

    def resource(self) -> str:
        return f"arn:aws:s3:::{self.bucket_name or '*'}" + (f"/{self.key}" if self.key else "")

    def authorize(self):
        action, resource = self.action(), self.resource()
        context = policy.Context(action, self.principal, resource, {
            "aws:SecureTransport": "true" if self.request.secure else "false", "aws:PrincipalArn": self.principal.arn})
        by_identity = [policy.evaluate(p, context) for p in self.principal.policies]
        document, owner = (self.bucket.policy, self.bucket.owner) if self.bucket else (None, self.principal.account)
        on_bucket = policy.evaluate(document, context) if document else policy.Decision("None", "")
        allowed = any(by_identity) and (self.principal.account == owner or bool(on_bucket))
        if any(d.effect == "Deny" for d in [*by_identity, on_bucket]) or not allowed:
            raise S3Error(
                "AccessDenied", f"User: {self.principal.arn} is not authorized to perform: {action} on resource: "
                f'"{resource}" because no resource-based policy allows the {action} action')

    # --- buckets

    def create_bucket(self) -> Response:
        self.request.body()
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", self.bucket_name):
            raise S3Error("InvalidBucketName")
        with self.store.lock:
            if self.bucket_name in self.store.buckets:
                raise S3Error("BucketAlreadyOwnedByYou")
            bucket = self.store.create(self.bucket_name, self.principal.account)
            bucket.object_lock = self.request.headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true"
        return Response(200, b"", {"Location": f"/{self.bucket_name}"})

    def list_buckets(self) -> Response:
        """Those of the caller's account."""
        with self.store.lock:
            mine = [b for name, b in sorted(self.store.buckets.items()) if b.owner == self.principal.account]
        buckets = [element("Bucket", leaf("Name", b.name), leaf("CreationDate", clock.iso(b.created))) for b in mine]
        owner = element("Owner", leaf("ID", self.principal.account), leaf("DisplayName", self.principal.account))
        return Response(200, document("ListAllMyBucketsResult", element("Buckets", *buckets), owner),
                        {"Content-Type": "application/xml"})

    def get_object_lock_configuration(self) -> Response:
        if not self.bucket.object_lock:
            raise S3Error("ObjectLockConfigurationNotFoundError", BucketName=self.bucket_name)
        mode, days = self.bucket.retention or (None, None)
        rule = element("Rule", element("DefaultRetention", leaf("Mode", mode), leaf("Days", days))) if mode else ""
        return Response(200, document("ObjectLockConfiguration", leaf("ObjectLockEnabled", "Enabled"), rule),
                        {"Content-Type": "application/xml"})

    def put_object_lock_configuration(self) -> Response:
        if not self.bucket.object_lock:
            raise S3Error("InvalidBucketState")
        try:
            retention = xml.fromstring(self.request.body()).find("{*}Rule/{*}DefaultRetention")
            self.bucket.retention = None if retention is None else (retention.findtext("{*}Mode"),
                                                                    int(retention.findtext("{*}Days")))
        except (xml.ParseError, TypeError, ValueError):
            raise S3Error("MalformedXML") from None
        return Response(200)

    def head_bucket(self) -> Response:
        return Response(200, b"", {"x-amz-bucket-region": self.s3.region})

    def get_bucket_location(self) -> Response:
        region = "" if self.s3.region == "us-east-1" else escape(self.s3.region)
        return Response(200, document("LocationConstraint", region), {"Content-Type": "application/xml"})

    def get_bucket_policy(self) -> Response:
        if self.bucket.policy is None:
            raise S3Error("NoSuchBucketPolicy", BucketName=self.bucket_name)
        return Response(200, json.dumps(self.bucket.policy).encode(), {"Content-Type": "application/json"})

    def put_bucket_policy(self) -> Response:
        try:
            self.bucket.policy = json.loads(self.request.body())
        except ValueError:
            raise S3Error("MalformedPolicy") from None
        return Response(204)

    def list_objects(self) -> Response:
        argument, url = self.request.argument, self.request.argument("encoding-type") == "url"
        if argument("list-type") != "2":
            raise S3Error("NotImplemented", "Only ListObjectsV2 is implemented.")
        prefix, delimiter = argument("prefix", ""), argument("delimiter", "")
        limit = argument("max-keys", "1000")
        if not limit.isdigit():
            raise S3Error("InvalidArgument")
        after = self.decode_token(argument("continuation-token")) or argument("start-after", "")
        entries, truncated = self.page(prefix, delimiter, after, min(int(limit), 1000))

        def show(text: str) -> str:
            return urllib.parse.quote(text, safe="/-._~*", errors="surrogateescape") if url else text
        content = [leaf("Name", self.bucket_name), leaf("Prefix", show(prefix)), leaf("KeyCount", len(entries)),
                   leaf("MaxKeys", limit), leaf("IsTruncated", "true" if truncated else "false")]
        content += [leaf("Delimiter", show(delimiter))] if delimiter else []
        content += [leaf("EncodingType", "url")] if url else []
        content += [leaf("ContinuationToken", argument("continuation-token"))] if argument("continuation-token") else []
        content += [leaf("NextContinuationToken", self.encode_token(entries[-1][0]))] if truncated and entries else []
        for name, version in entries:
            content.append(element("CommonPrefixes", leaf("Prefix", show(name))) if version is None else element(
                "Contents", leaf("Key", show(name)), leaf("LastModified", clock.iso(version.modified)),
                leaf("ETag", f'"{version.etag}"'), leaf("Size", version.size), leaf("StorageClass", "STANDARD")))
        return Response(200, document("ListBucketResult", *content), {"Content-Type": "application/xml"})

    def page(self, prefix: str, delimiter: str, after: str, limit: int) -> tuple[list, bool]:
        """Keys, and prefixes (with None) where a delimiter rolls keys up."""
        def order(text: str) -> bytes:
            return text.encode("utf-8", "surrogateescape")
        entries, rolled = [], None
        for key, version in self.store.listing(self.bucket):
            if not key.startswith(prefix):
                continue
            at = key.find(delimiter, len(prefix)) if delimiter else -1
            name = key[:at + len(delimiter)] if at >= 0 else key
            if order(name) <= order(after) or name == rolled:
                continue
            if len(entries) == limit:
                return entries, True
            rolled = name if at >= 0 else None
            entries.append((name, None if at >= 0 else version))
        return entries, False

    @staticmethod
    def encode_token(name: str) -> str:
        return base64.urlsafe_b64encode(name.encode("utf-8", "surrogateescape")).decode()

    @staticmethod
    def decode_token(token: str | None) -> str:
        try:
            return base64.urlsafe_b64decode(token).decode("utf-8", "surrogateescape") if token else ""
        except ValueError:
            raise S3Error("InvalidArgument", "The continuation token provided is incorrect") from None

    # --- reading

    def find(self) -> Version:
        id = self.request.argument("versionId")
        version = self.store.version(self.bucket, self.key, id) if id else self.store.latest(self.bucket, self.key)
        if version is None or version.path is None:
            raise S3Error("NoSuchVersion" if id else "NoSuchKey", Key=self.key)
        return version

    def check_conditions(self, etag: str):
        headers = self.request.headers
        if "if-match" in headers and not etag_matches(headers["if-match"], etag):
            raise S3Error("PreconditionFailed", Condition="If-Match")

    def object_headers(self, version: Version) -> dict:
        return {"ETag": f'"{version.etag}"', "Last-Modified": clock.http(version.modified), "Accept-Ranges": "bytes",
                "x-amz-version-id": version.id, "Content-Type": version.content_type,
                "x-amz-server-side-encryption": "AES256", **version.metadata, **self.checksum_headers(version)}

    def checksum_headers(self, version: Version) -> dict:
        """Of the whole object only: a range has none."""
        if self.request.headers.get("x-amz-checksum-mode") != "ENABLED" or "range" in self.request.headers:
            return {}
        return {checksums.PREFIX + name: value for name, value in version.checksum.items()}

    def get_object(self) -> Response:
        if "replace" in self.struck and self.store.latest(self.bucket, self.key):
            self.store.replace_inverted(self.bucket, self.key)
        version = self.find()
        self.check_conditions(version.etag)
        headers = self.object_headers(version)
        if "if-none-match" in self.request.headers and etag_matches(self.request.headers["if-none-match"],
                                                                    version.etag):
            return Response(304, b"", headers)
        span = byte_range(self.request.headers.get("range"), version.size)
        if "etag" in self.struck:
            headers["ETag"] = self.struck["etag"].get("etag", '"0123456789abcdef0123456789abcdef"')
        if span is None or "whole" in self.struck:
            return self.part(version, 0, version.size, 200, headers)
        start, size = span
        if "short" in self.struck:
            size = max(size - self.struck["short"].get("missing", 1), 0)
        shift = self.struck["content-range"].get("shift", 1) if "content-range" in self.struck else 0
        headers["Content-Range"] = f"bytes {start + shift}-{start + size - 1 + shift}/{version.size}"
        return self.part(version, start, size, 206, headers)

    def part(self, version: Version, start: int, size: int, status: int, headers: dict) -> Response:
        if self.request.method == "HEAD":
            return Response(status, b"", headers, size)
        return Response(status, FilePart(open(version.path, "rb"), start, size), headers)

    head_object = get_object

    # --- writing

    def receive(self, what: str) -> tuple[str, int, bytes, dict]:
        """The body in a file, checked against every digest that came with it: path, size, MD5 and the checksum."""
        headers, trailers = self.request.headers, {}
        signed, names = headers["x-amz-content-sha256"], self.expected_checksums(what)
        states = {name: checksums.ALGORITHMS[name]() for name in names}
        chunks = self.request.chunks()
        if signed == sigv4.STREAMING:
            chunks = aws_chunks(chunks, trailers)
        path, size, md5, sha256 = self.store.save(self.watch(chunks, states), sha256=len(signed) == 64)
        given = {**headers, **trailers}
        try:
            if sha256 is not None and sha256 != signed:
                raise S3Error("XAmzContentSHA256Mismatch")
            if given.get("content-md5") not in (None, base64.b64encode(md5).decode()):
                raise S3Error("BadDigest")
            return path, size, md5, {name: self.check(name, state, given) for name, state in states.items()}
        except S3Error:
            os.unlink(path)
            raise

    @staticmethod
    def check(name: str, state, given: dict) -> str:
        value, computed = given.get(checksums.PREFIX + name, ""), base64.b64encode(state.digest()).decode()
        if not checksums.well_formed(name, value):
            raise S3Error("InvalidRequest", f"Value for {checksums.PREFIX}{name} header is invalid.")
        if value != computed:
            raise S3Error("BadDigest", f"The {name.upper()} you specified did not match the calculated checksum.")
        return computed

    def expected_checksums(self, what: str) -> list[str]:
        """What is named before a byte of the body is read; Object Lock demands some digest for every body ("what")."""
        headers = self.request.headers
        names = checksums.named(headers)
        if len(names) > 1:
            raise S3Error("InvalidRequest",
                          "Expecting a single x-amz-checksum- header. Multiple checksum Types are not "
                          "allowed.")
        if any(name not in checksums.ALGORITHMS for name in names):
            raise S3Error("InvalidRequest", "The algorithm type you specified in x-amz-checksum- header is invalid.")
        if "content-md5" in headers:
            try:
                if len(base64.b64decode(headers["content-md5"], validate=True)) != 16:
                    raise S3Error("InvalidDigest")
            except ValueError:
                raise S3Error("InvalidDigest") from None
        locked = self.bucket.retention or any(name.startswith("x-amz-object-lock-") for name in headers)
        if locked and not names and "content-md5" not in headers:
            raise S3Error("InvalidRequest", f"Content-MD5 OR x-amz-checksum- HTTP header is required for {what} "
                                            "requests with Object Lock parameters")
        return names

    @staticmethod
    def watch(chunks, states: dict):
        for chunk in chunks:
            for state in states.values():
                state.update(chunk)
            yield chunk

    def described(self) -> tuple[str, dict]:
        metadata = {k: v for k, v in self.request.headers.items() if k.startswith("x-amz-meta-")}
        return self.request.headers.get("content-type", "binary/octet-stream"), metadata

    def check_write_conditions(self):
        current, headers = self.store.latest(self.bucket, self.key), self.request.headers
        if headers.get("if-none-match") == "*" and current:
            raise S3Error("PreconditionFailed", Condition="If-None-Match")
        if "if-match" in headers:
            self.check_conditions(current.etag if current else "")

    def put_object(self) -> Response:
        if "x-amz-copy-source" in self.request.headers:
            raise S3Error("NotImplemented")
        path, size, md5, checksum = self.receive("Put Object")
        self.check_write_conditions()
        version = self.store.put(self.bucket, self.key, path, size, md5.hex(), *self.described())
        version.checksum = checksum
        self.lock(version)
        return Response(200, b"", {"ETag": f'"{version.etag}"', "x-amz-version-id": version.id,
                                   **{checksums.PREFIX + name: value for name, value in checksum.items()}})

    def lock(self, version: Version):
        if self.bucket.retention:
            version.locked_until = self.s3.clock.now() + 86400 * self.bucket.retention[1]

    def delete_object(self) -> Response:
        id = self.request.argument("versionId")
        version = self.store.version(self.bucket, self.key, id) if id else None
        if version and version.locked_until > self.s3.clock.now():
            raise S3Error("AccessDenied", "Access Denied because object protected by object lock.")
        gone = self.store.remove(self.bucket, self.key, self.request.argument("versionId"))
        return Response(204, b"", {"x-amz-version-id": gone.id} if gone else {})

    # --- multipart

    def create_multipart_upload(self) -> Response:
        upload = Upload(secrets.token_urlsafe(48), self.bucket_name, self.key, *self.described())
        algorithm = self.request.headers.get("x-amz-checksum-algorithm", "").lower()
        if algorithm and algorithm not in checksums.ALGORITHMS:
            raise S3Error("InvalidRequest", "Checksum algorithm provided is unsupported.")
        upload.algorithm = algorithm or None
        usual = "FULL_OBJECT" if algorithm == "crc64nvme" else "COMPOSITE"
        upload.composite = self.request.headers.get("x-amz-checksum-type", usual) == "COMPOSITE"
        self.store.uploads[upload.id] = upload
        body = document("InitiateMultipartUploadResult", leaf("Bucket", upload.bucket), leaf("Key", upload.key),
                        leaf("UploadId", upload.id))
        return Response(200, body, {"Content-Type": "application/xml"})

    def upload(self) -> Upload:
        upload = self.store.uploads.get(self.request.argument("uploadId"))
        if upload is None or (upload.bucket, upload.key) != (self.bucket_name, self.key):
            raise S3Error("NoSuchUpload")
        return upload

    def upload_part(self) -> Response:
        upload, number = self.upload(), self.request.argument("partNumber")
        if not number.isdigit() or not 1 <= int(number) <= 10000:
            raise S3Error("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
        named = next(iter(checksums.named(self.request.headers)), None)
        if named != upload.algorithm and (named or upload.composite):
            raise S3Error("InvalidRequest", "Checksum Type mismatch occurred, expected checksum Type: "
                                            f"{upload.algorithm or 'null'}, actual checksum Type: {named or 'null'}")
        path, size, md5, checksum = self.receive("Put Part")
        upload.parts[int(number)] = Version("", path, size, md5.hex(), self.s3.clock.now(), "", checksum=checksum)
        return Response(200, b"", {"ETag": f'"{md5.hex()}"', **{checksums.PREFIX + n: v for n, v in checksum.items()}})

    def complete_multipart_upload(self) -> Response:
        upload, parts = self.upload(), []
        for number, etag, given in self.listed_parts(upload.algorithm):
            part = upload.parts.get(number)
            if part is None or etag != part.etag:
                raise S3Error("InvalidPart")
            if upload.algorithm and upload.composite and given is None:
                raise S3Error("InvalidRequest", f"The upload was created using a {upload.algorithm} checksum. The "
                                                "complete request must include the checksum for each part. It was "
                                                f"missing for part {number} in the request.")
            if given not in (None, part.checksum.get(upload.algorithm)):
                raise S3Error("InvalidPart")
            parts.append((number, part))
        numbers = [number for number, _ in parts]
        if numbers != sorted(set(numbers)):
            raise S3Error("InvalidPartOrder")
        if any(part.size < MINIMUM_PART for _, part in parts[:-1]):
            raise S3Error("EntityTooSmall")
        self.check_write_conditions()
        path, size = self.store.concatenate([part for _, part in parts])
        digest = hashlib.md5(b"".join(bytes.fromhex(part.etag) for _, part in parts)).hexdigest()
        checksum = self.whole_checksum(upload, [part for _, part in parts], path)
        version = self.store.put(self.bucket, self.key, path, size, f"{digest}-{len(parts)}", upload.content_type,
                                 upload.metadata)
        version.checksum = checksum
        self.lock(version)
        del self.store.uploads[upload.id]
        shown = [leaf(f"Checksum{name.upper()}", value) for name, value in checksum.items()]
        body = document("CompleteMultipartUploadResult", leaf("Location", f"/{self.bucket_name}/{self.key}"),
                        leaf("Bucket", self.bucket_name), leaf("Key", self.key), leaf("ETag", f'"{version.etag}"'),
                        *shown)
        return Response(200, body, {"Content-Type": "application/xml", "x-amz-version-id": version.id})

    def whole_checksum(self, upload: Upload, parts: list[Version], path: str) -> dict:
        name = upload.algorithm
        if name is None:
            return {}
        if upload.composite:
            value = checksums.composite(name, [part.checksum[name] for part in parts])
        else:
            with open(path, "rb") as f:
                value = checksums.value_of(name, iter(lambda: f.read(1 << 20), b""))
        if self.request.headers.get(checksums.PREFIX + name) not in (None, value, value.partition("-")[0]):
            os.unlink(path)
            raise S3Error("BadDigest", f"The {name} you specified did not match the calculated checksum.")
        return {name: value}

    def listed_parts(self, algorithm: str | None) -> list[tuple[int, str, str | None]]:
        """Number, ETag, and checksum where there is one."""
        try:
            root = xml.fromstring(self.request.body())
            parts = [(int(part.findtext("{*}PartNumber")), part.findtext("{*}ETag").strip('"'),
                      part.findtext(f"{{*}}Checksum{algorithm.upper()}") if algorithm else None)
                     for part in root.findall("{*}Part")]
        except (xml.ParseError, TypeError, ValueError, AttributeError):
            raise S3Error("MalformedXML") from None
        if not parts:
            raise S3Error("MalformedXML")
        return parts

    def abort_multipart_upload(self) -> Response:
        self.upload()
        del self.store.uploads[self.request.argument("uploadId")]
        return Response(204)

    # --- answers

    def error(self, e: S3Error) -> Response:
        status, message = ERRORS.get(e.code, (400, e.code))
        status = ("error" in self.struck and self.struck["error"].get("status")) or status
        self.log(e.code, status)
        details = [leaf(name, value) for name, value in e.details.items()]
        text = element("Error", leaf("Code", e.code), leaf("Message", e.message or message), *details,
                       leaf("RequestId", self.id), leaf("HostId", self.id2))
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode("utf-8", "surrogateescape")
        return Response(status, body, {"Content-Type": "application/xml"})

    def log(self, result: str, status: int):
        self.s3.audit.write("s3", self.operation or "?", result=result, status=status, bucket=self.bucket_name,
                            key=self.key, principal=self.principal.arn if self.principal else None, request_id=self.id,
                            range=self.request.headers.get("range"), if_match=self.request.headers.get("if-match"),
                            user_agent=self.request.headers.get("user-agent"), faults=sorted(self.struck))


METHODS = {operation: getattr(Call, re.sub("(?<!^)(?=[A-Z])", "_", operation.removesuffix("V2")).lower())
           for operation in [*(operation for *_, operation in OPERATIONS), "ListBuckets"]}
