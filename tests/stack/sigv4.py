# SPDX-License-Identifier: Apache-2.0
"""Verifies AWS Signature Version 4 as the services do, from the specification, and more strictly than a client may
hope.

(AWS General Reference, "Create a signed AWS API request"; S3 API reference, "Authenticating requests".)"""

import calendar
import hashlib
import hmac
import re
import time
import urllib.parse

UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
AUTHORIZATION = re.compile(r"AWS4-HMAC-SHA256 +Credential=([^/,\s]+)/(\d{8})/([^/,\s]+)/([^/,\s]+)/aws4_request, *"
                           r"SignedHeaders=([a-z0-9;._-]+), *Signature=([0-9a-f]{64})$")


class SignatureError(Exception):
    """kind: what is wrong, for the service to translate into its own error code."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind, self.message = kind, message


def encode(text: bytes | str, safe: str = "") -> str:
    return urllib.parse.quote(text, safe=safe + "-._~")


def canonical_uri(raw_path: str, service: str) -> str:
    """S3 encodes the decoded path once; the others encode the path as sent once more."""
    if service == "s3":
        return encode(urllib.parse.unquote_to_bytes(raw_path), "/")
    return encode(raw_path, "/") or "/"


def canonical_query(raw_query: str) -> str:
    pairs = []
    for pair in filter(None, raw_query.split("&")):
        name, _, value = pair.partition("=")
        pairs.append(tuple(encode(urllib.parse.unquote_to_bytes(part.replace("+", " "))) for part in (name, value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def canonical_headers(header_list: list[tuple[str, str]], signed: list[str]) -> str:
    lines = []
    for name in signed:
        values = [re.sub(" +", " ", value.strip()) for key, value in header_list if key == name]
        if not values:
            raise SignatureError("mismatch", f"Signed header '{name}' is not in the request.")
        lines.append(f"{name}:{','.join(values)}\n")
    return "".join(lines)


def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = ("AWS4" + secret).encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def check_signed_headers(request, signed: list[str]):
    if signed != sorted(set(signed)):
        raise SignatureError("incomplete", "SignedHeaders are not sorted and unique.")
    must = {"host"} | {name for name, _ in request.header_list if name.startswith("x-amz-")}
    missing = sorted(must - set(signed))
    if missing:
        raise SignatureError("unsigned", f"There were headers present in the request which were not signed: {missing}")


def check_date(request, scope_date: str, now: float, skew: float):
    stamp = request.headers.get("x-amz-date", "")
    if not re.fullmatch(r"\d{8}T\d{6}Z", stamp):
        raise SignatureError("incomplete", "X-Amz-Date is missing or not an ISO 8601 basic date.")
    if stamp[:8] != scope_date:
        raise SignatureError("mismatch",
                             "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date.")
    signed_at = calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))
    if abs(signed_at - now) > skew:
        server = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        words = "Signature expired: %s is now earlier than %s" if signed_at < now \
            else "Signature not yet current: %s is still later than %s"
        raise SignatureError("skew", words % (stamp, server))


def check_payload(request, service: str, body: bytes | None) -> str:
    """The payload hash that was signed. S3 reads its body later and compares then."""
    given = request.headers.get("x-amz-content-sha256")
    if service == "s3":
        if given is None:
            raise SignatureError("incomplete", "Missing required header for this request: x-amz-content-sha256")
        if given not in (UNSIGNED, STREAMING) and not re.fullmatch("[0-9a-f]{64}", given):
            raise SignatureError("payload", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD or a valid sha256 value.")
        return given
    actual = hashlib.sha256(body or b"").hexdigest()
    if given is not None and given != actual:
        raise SignatureError("mismatch", "x-amz-content-sha256 is not the hash of the body.")
    return actual


def scope_region(request) -> str | None:
    """The Region that the request says it is for; not verified."""
    match = AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    return match and match.group(3)


def verify(request, *, service: str, region: str, registry, now: float, skew: float, body: bytes | None = None):
    """The credentials that signed the request; raises SignatureError."""
    header = request.headers.get("authorization")
    if header is None:
        raise SignatureError("missing", "Request is missing Authentication Token")
    match = AUTHORIZATION.fullmatch(header)
    if not match:
        raise SignatureError("incomplete", "Authorization header is malformed.")
    access_key, date, scope_region, scope_service, signed, signature = match.groups()
    signed = signed.split(";")
    credentials = registry.find(access_key)
    if credentials is None:
        raise SignatureError("unknown", "The security token included in the request is invalid.")
    if (scope_region, scope_service) != (region, service):
        raise SignatureError("scope", f"Credential should be scoped to region '{region}' and service '{service}', "
                                      f"not '{scope_region}' and '{scope_service}'.")
    check_signed_headers(request, signed)
    check_date(request, date, now, skew)
    payload = check_payload(request, service, body)
    canonical = "\n".join([request.method, canonical_uri(request.raw_path, service), canonical_query(request.raw_query),
                           canonical_headers(request.header_list, signed), ";".join(signed), payload])
    text = "\n".join(["AWS4-HMAC-SHA256", request.headers["x-amz-date"], f"{date}/{region}/{service}/aws4_request",
                      hashlib.sha256(canonical.encode()).hexdigest()])
    key = signing_key(credentials.secret_access_key, date, region, service)
    expected = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, signature):
        raise SignatureError(
            "mismatch", "The request signature we calculated does not match the signature you provided. "
            f"The canonical string should have been {canonical!r}")
    check_token(request, credentials, now)
    return credentials


def check_token(request, credentials, now: float):
    if request.headers.get("x-amz-security-token") != credentials.session_token:
        raise SignatureError("unknown", "The security token included in the request is invalid.")
    if credentials.expires is not None and now >= credentials.expires:
        raise SignatureError("expired", "The security token included in the request is expired")
