#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures which requests libcurl's own SigV4 (CURLOPT_AWS_SIGV4) signs as AWS does.

Why agent/aws/sigv4.c exists: on the releases that distributions ship, some of these fail. Run it by hand for the table;
as a test it never fails for what libcurl gets wrong (a later one may get all of it right), only when it cannot measure.
"""

import hashlib
import hmac
import shutil
import socketserver
import subprocess
import threading
from urllib.parse import quote, unquote_to_bytes

import pytest

KEY_ID, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "IQoJb3JpZ2luX2VjEXAMPLE+/=="
UNSIGNED = ["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]
JSON = ["-H", "content-type: application/x-amz-json-1.1", "-H", "x-amz-target: TrentService.Decrypt",
        "--data-binary", '{"a": 1}']

# name, service, path and query as sent, options
CASES = [
    ("plain key", "s3", "/bucket/key", UNSIGNED),
    ("no x-amz-content-sha256 of ours", "s3", "/bucket/key", []),
    ("session token", "s3", "/bucket/key", [*UNSIGNED, "-H", f"x-amz-security-token: {TOKEN}"]),
    ("Range", "s3", "/bucket/key", [*UNSIGNED, "-H", "range: bytes=0-9"]),
    ("If-Match", "s3", "/bucket/key", [*UNSIGNED, "-H", 'if-match: "abc"']),
    ("key with a space", "s3", "/bucket/a%20b", UNSIGNED),
    ("key with + (encoded)", "s3", "/bucket/a%2Bb", UNSIGNED),
    ("key with + (bare)", "s3", "/bucket/a+b", UNSIGNED),
    ("key with = (encoded)", "s3", "/bucket/a%3Db", UNSIGNED),
    ("key with = (bare)", "s3", "/bucket/a=b", UNSIGNED),
    ("key with %", "s3", "/bucket/100%2525", UNSIGNED),
    ("key with UTF-8", "s3", "/bucket/%E1%88%B4", UNSIGNED),
    ("key with //", "s3", "/bucket/a//b", UNSIGNED),
    ("key with ..", "s3", "/bucket/a/../b", [*UNSIGNED, "--path-as-is"]),
    ("query, sorted", "s3", "/bucket?list-type=2&prefix=a", UNSIGNED),
    ("query, not sorted", "s3", "/bucket?prefix=a&list-type=2", UNSIGNED),
    ("query with %2F", "s3", "/bucket?list-type=2&prefix=a%2Fb", UNSIGNED),
    ("query with %2B and %3D", "s3", "/bucket?continuation-token=a%2Bb%3D&list-type=2", UNSIGNED),
    ("query without a value", "s3", "/bucket/key?uploads", UNSIGNED),
    ("query with an empty value", "s3", "/bucket/key?uploads=", UNSIGNED),
    ("PUT of a part", "s3", "/bucket/key?partNumber=1&uploadId=u", [*UNSIGNED, "-X", "PUT", "--data-binary", "part"]),
    ("KMS", "kms", "/", JSON),
    ("KMS, session token", "kms", "/", [*JSON, "-H", f"x-amz-security-token: {TOKEN}"]),
]


def encode(text, safe=""):
    return quote(unquote_to_bytes(text), safe="-._~" + safe)


def judge(method, target, headers, body):
    """None when the signature is AWS's for this request, else why not."""
    authorization = headers.get("authorization", "")
    if not authorization.startswith("AWS4-HMAC-SHA256 "):
        return "not signed"
    fields = dict(f.strip().split("=", 1) for f in authorization[17:].split(","))
    signed = fields["SignedHeaders"].split(";")
    unsigned = [h for h in headers if (h.startswith("x-amz-") or h == "host") and h not in signed]
    if unsigned:
        return f"{', '.join(unsigned)} not signed"
    scope = fields["Credential"].split("/", 1)[1]
    date, region, service, _ = scope.split("/")
    payload = headers.get("x-amz-content-sha256")
    if service == "s3" and payload is None:
        return "no x-amz-content-sha256"
    payload = payload or hashlib.sha256(body).hexdigest()
    path, _, query = target.partition("?")
    pairs = sorted(
        (encode(pair.partition("=")[0]), encode(pair.partition("=")[2])) for pair in query.split("&") if pair)
    request = "\n".join([
        method,
        encode(path, "/"), "&".join(f"{k}={v}" for k, v in pairs),
        *(f"{name}:{' '.join(headers[name].split())}" for name in signed), "", ";".join(signed), payload
    ])
    to_sign = "\n".join(
        ["AWS4-HMAC-SHA256", headers["x-amz-date"], scope,
         hashlib.sha256(request.encode()).hexdigest()])
    key = b"AWS4" + SECRET.encode()
    for part in (date, region, service, "aws4_request", to_sign):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return None if key.hex() == fields["Signature"] else "wrong signature"


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        line = self.rfile.readline().decode("latin-1")
        if not line:
            return
        method, target, _ = line.split(" ")
        headers = {}
        while (line := self.rfile.readline().decode("latin-1").strip()):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = self.rfile.read(int(headers.get("content-length", 0)))
        self.server.verdict = judge(method, target, headers, body)
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def measure():
    """[(case, None or what is wrong)]"""
    results = []
    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, service, target, options in CASES:
            server.verdict = "no request"
            url = f"http://127.0.0.1:{server.server_address[1]}{target}"
            curl = ["curl", "-q", "--silent", "--noproxy", "*", "--max-time", "10", "--user", f"{KEY_ID}:{SECRET}",
                    "--aws-sigv4", f"aws:amz:us-east-1:{service}", *options, url]
            status = subprocess.run(curl, check=False).returncode
            results.append((name, f"not sent: curl fails with {status}" if status else server.verdict))
        server.shutdown()
    return results


def version():
    return subprocess.run(["curl", "--version"], check=True, capture_output=True, text=True).stdout.splitlines()[0]


def show(results):
    wrong = [name for name, verdict in results if verdict]
    return "\n".join([version(), *(f"  {name:34} {verdict or 'right'}" for name, verdict in results),
                      f"  {len(results) - len(wrong)} of {len(results)} right"])


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_measure(record_property):
    # The judge itself, against a published example: AWS's "get-vanilla" with its date in the header.
    signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    headers = {"host": "example.amazonaws.com", "x-amz-date": "20150830T123600Z",
               "authorization": f"AWS4-HMAC-SHA256 Credential={KEY_ID}/20150830/us-east-1/service/aws4_request, "
                                f"SignedHeaders=host;x-amz-date, Signature={signature}"}
    assert judge("GET", "/", headers, b"") is None
    assert judge("GET", "/x", headers, b"") == "wrong signature"
    results = measure()
    print(show(results))
    record_property("libcurl_sigv4", show(results))
    assert len(results) == len(CASES) and all(verdict != "no request" for _, verdict in results)


if __name__ == "__main__":
    print(show(measure()))
