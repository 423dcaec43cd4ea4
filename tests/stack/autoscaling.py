# SPDX-License-Identifier: Apache-2.0
"""EC2 Auto Scaling: CompleteLifecycleAction of the Query protocol, for the one instance there is."""

import urllib.parse
import uuid
from xml.sax.saxutils import escape

from . import identity, sigv4
from .faults import WIRE
from .web import Request, Response

SKEW = 5 * 60
GROUP, HOOK = "inference", "model-loaded"
SIGNATURE_ERRORS = {
    "missing": "MissingAuthenticationToken", "incomplete": "IncompleteSignature", "unknown": "InvalidClientTokenId",
    "scope": "SignatureDoesNotMatch", "unsigned": "SignatureDoesNotMatch", "skew": "RequestExpired",
    "mismatch": "SignatureDoesNotMatch", "expired": "ExpiredToken", "payload": "SignatureDoesNotMatch",
}
FORM = "application/x-www-form-urlencoded"
ANSWER = """<CompleteLifecycleActionResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/">\
<CompleteLifecycleActionResult/><ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata>\
</CompleteLifecycleActionResponse>"""
REFUSAL = """<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
<RequestId>{id}</RequestId></ErrorResponse>"""


class AutoScaling:
    def __init__(self, *, region: str, registry, clock, faults, audit, instance: str):
        self.region, self.registry, self.clock, self.faults, self.audit = region, registry, clock, faults, audit
        self.instance = instance

    def answer(self, request: Request) -> Response:
        raw = request.body(1 << 16)
        fields = dict(urllib.parse.parse_qsl(raw.decode(errors="replace")))
        struck = self.faults.take("autoscaling", fields.get("Action", ""), fields.get("LifecycleHookName", ""),
                                  WIRE + ("not-waiting", "denied"))
        if "not-waiting" in struck:
            response = self.refuse(400, "ValidationError", self.not_waiting(fields))
        elif "denied" in struck:
            action = "autoscaling:CompleteLifecycleAction"
            response = self.refuse(
                403, "AccessDenied",
                identity.denial(struck["denied"].get("how"), "arn:aws:iam::444455556666:role/r", action, ""))
        elif "error" in struck:
            fault = struck["error"]
            response = self.refuse(fault.get("status", 500), fault.get("code", "InternalFailure"),
                                   fault.get("message", ""))
        else:
            response = self.complete(request, raw, fields)
        response.faults = struck
        return response

    def complete(self, request: Request, raw: bytes, fields: dict) -> Response:
        try:
            credentials = sigv4.verify(request, service="autoscaling", region=self.region, registry=self.registry,
                                       now=self.clock.now(), skew=SKEW, body=raw)
        except sigv4.SignatureError as e:
            return self.refuse(403, SIGNATURE_ERRORS[e.kind], e.message)
        wrong = self.wrong(request, fields)
        if wrong:
            return self.refuse(400, "ValidationError", wrong)
        self.audit.write("autoscaling", fields["Action"], principal=credentials.principal.arn,
                         result=fields["LifecycleActionResult"])
        return self.xml(200, ANSWER.format(id=uuid.uuid4()))

    def wrong(self, request: Request, fields: dict) -> str | None:
        if request.method != "POST" or not request.headers.get("content-type", "").startswith(FORM):
            return "not a Query request"
        if (fields.get("Action"), fields.get("Version")) != ("CompleteLifecycleAction", "2011-01-01"):
            return "no such action"
        if fields.get("LifecycleActionResult") not in ("CONTINUE", "ABANDON"):
            return "LifecycleActionResult must be CONTINUE or ABANDON"
        named = tuple(fields.get(name) for name in ("AutoScalingGroupName", "LifecycleHookName", "InstanceId"))
        if named != (GROUP, HOOK, self.instance):
            return self.not_waiting(fields)
        return None

    @staticmethod
    def not_waiting(fields: dict) -> str:
        return f"No active Lifecycle Action found with instance ID {fields.get('InstanceId')}"

    def refuse(self, status: int, code: str, message: str) -> Response:
        return self.xml(status, REFUSAL.format(code=code, message=escape(message), id=uuid.uuid4()))

    @staticmethod
    def xml(status: int, text: str) -> Response:
        return Response(status, text.encode(), {"Content-Type": "text/xml"})
