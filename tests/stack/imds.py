# SPDX-License-Identifier: Apache-2.0
"""The instance metadata service, version 2 only unless told otherwise."""

import json
import secrets
import threading

from .faults import WIRE
from .web import Request, Response

TOKEN_PATH = "/latest/api/token"
CREDENTIALS_PATH = "/latest/meta-data/iam/security-credentials/"


def no_credentials(code: str, message: str) -> tuple[int, str]:
    return 200, json.dumps({"Code": code, "Message": message, "LastUpdated": "2026-01-01T00:00:00Z"}, indent=2)


# What was seen before everything of a new instance is there. Reports: aws-cli issues 353 and 2060, botocore issue 1403.
STARTING = {
    "absent": (
        404, '<?xml version="1.0" encoding="iso-8859-1"?>\n<html><head><title>404 - Not Found</title></head></html>\n'),
    "empty": (200, ""),
    "failed": no_credentials("Failed", "The credentials are not available yet"),
    "no-profile": no_credentials(
        "InstanceProfileNotFound", "Instance Profile cannot be found.  Please see documentation at "
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html"),
    "no-assume": no_credentials(
        "AssumeRoleUnauthorizedAccess", "EC2 cannot assume the role sealboot-instance.  Please see "
        "documentation at https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html"),
}
TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"


class IMDS:
    """settings: mode ("v2", "v1-only", "off"), role (None: no instance profile), credentials_lifetime (seconds,
    negative: issued expired), lifecycle_state (None: in no Auto Scaling group),
    interruption (text of spot/instance-action, or None), user_data (bytes or None)."""

    def __init__(self, *, region: str, account: str, principal, registry, clock, faults, audit, settings: dict):
        self.region, self.account, self.principal, self.registry = region, account, principal, registry
        self.clock, self.faults, self.audit, self.settings = clock, faults, audit, settings
        self.lock, self.tokens, self.credentials = threading.Lock(), {}, None

    def answer(self, request: Request) -> Response:
        struck = self.faults.take("imds", f"{request.method} {request.path}", request.path, WIRE + ("starting",))
        if "starting" in struck:
            response = self.error(*STARTING[struck["starting"].get("how", "absent")])
        elif "error" in struck:
            response = self.error(struck["error"].get("status", 500), struck["error"].get("message", ""))
        else:
            response = self.route(request)
        response.faults = struck
        self.audit.write("imds", f"{request.method} {request.path}", status=response.status, faults=sorted(struck))
        return response

    @staticmethod
    def error(status: int, text: str = "") -> Response:
        return Response(status, text.encode(), {"Content-Type": "text/plain"})

    def route(self, request: Request) -> Response:
        if self.settings["mode"] == "off":
            return self.error(403, "Forbidden")
        if request.path == TOKEN_PATH:
            return self.token(request)
        if request.method != "GET":
            return self.error(405)
        if self.settings["mode"] == "v2" and not self.token_valid(request.headers.get("x-aws-ec2-metadata-token")):
            return self.error(401, "Unauthorized")
        body = self.read(request.path)
        return self.error(404, "Not Found") if body is None else Response(200, body, {"Content-Type": "text/plain"})

    def token(self, request: Request) -> Response:
        if self.settings["mode"] == "v1-only":
            return self.error(404, "Not Found")
        if request.method != "PUT":
            return self.error(405)
        ttl = request.headers.get(TTL_HEADER.lower(), "")
        if "x-forwarded-for" in request.headers:
            return self.error(403, "Forbidden")
        if not ttl.isdigit() or not 1 <= int(ttl) <= 21600:
            return self.error(400, "Bad Request")
        token = secrets.token_urlsafe(40) + "=="
        with self.lock:
            self.tokens[token] = self.clock.now() + int(ttl)
        return Response(200, token.encode(), {"Content-Type": "text/plain", TTL_HEADER: ttl})

    def token_valid(self, token: str | None) -> bool:
        with self.lock:
            return self.clock.now() < self.tokens.get(token, 0)

    def read(self, path: str) -> bytes | None:
        role = self.settings["role"]
        if path == "/latest/user-data":
            return self.settings["user_data"]
        if path == "/latest/dynamic/instance-identity/document":
            return json.dumps(self.identity_document(), indent=2).encode()
        if path == "/latest/meta-data/placement/region":
            return self.region.encode()
        if path == "/latest/meta-data/placement/availability-zone":
            return f"{self.region}a".encode()
        if path == "/latest/meta-data/instance-id":
            return self.identity_document()["instanceId"].encode()
        if path.rstrip("/") == "/latest/meta-data/iam/security-credentials" and role:
            return role.encode()
        if path == f"/latest/meta-data/iam/security-credentials/{role}" and role:
            return json.dumps(self.role_credentials(), indent=2).encode()
        if path == "/latest/meta-data/autoscaling/target-lifecycle-state":
            return self.text_of("lifecycle_state")
        if path == "/latest/meta-data/spot/instance-action":
            return self.text_of("interruption")
        return None

    def text_of(self, setting: str) -> bytes | None:
        text = self.settings[setting]
        return None if text is None else text.encode()

    def identity_document(self) -> dict:
        return {
            "accountId": self.account, "architecture": "x86_64", "availabilityZone": f"{self.region}a",
            "imageId": "ami-0123456789abcdef0", "instanceId": self.principal.arn.rpartition("/")[2],
            "instanceType": "g6.2xlarge",
            "pendingTime": self.clock.iso(), "privateIp": "10.0.0.10", "region": self.region, "version": "2017-09-30"
        }

    def role_credentials(self) -> dict:
        """The same ones until five minutes before they end, as the real service does; new ones each time when they live
        no longer than that."""
        lifetime, now = self.settings["credentials_lifetime"], self.clock.now()
        with self.lock:
            if self.credentials is None or not now < self.credentials.expires - 300 <= now + lifetime:
                self.credentials = self.registry.issue(self.principal, now + lifetime, token=True)
            issued = self.credentials
        return {
            "Code": "Success", "LastUpdated": self.clock.iso(), "Type": "AWS-HMAC", "AccessKeyId": issued.access_key_id,
            "SecretAccessKey": issued.secret_access_key, "Token": issued.session_token,
            "Expiration": self.clock.iso(issued.expires - now)
        }
