# SPDX-License-Identifier: Apache-2.0
"""EC2 Auto Scaling: CompleteLifecycleAction of the Query protocol, for the one instance there is."""

import urllib.parse
import uuid
from xml.sax.saxutils import escape

from . import sigv4
from .faults import WIRE
from .web import Request, Response

SKEW = 5 * 60
GROUP, HOOK = "inference", "model-loaded"
SIGNATURE_ERRORS = {"missing": "MissingAuthenticationToken", "incomplete": "IncompleteSignature", "unknown": "InvalidClientTokenId",
                    "scope": "SignatureDoesNotMatch", "unsigned": "SignatureDoesNotMatch", "skew": "RequestExpired",
                    "mismatch": "SignatureDoesNotMatch", "expired": "ExpiredToken", "payload": "SignatureDoesNotMatch"}


class AutoScaling:
    def __init__(self, *, region: str, registry, clock, faults, audit, instance: str):
        self.region, self.registry, self.clock, self.faults, self.audit = region, registry, clock, faults, audit
        self.instance = instance

    def answer(self, request: Request) -> Response:
        raw = request.body(1 << 16)
        fields = dict(urllib.parse.parse_qsl(raw.decode(), strict_parsing=True))
        struck = self.faults.take("autoscaling", fields.get("Action", ""), fields.get("LifecycleHookName", ""), WIRE)
        if "error" in struck:
            return self.refuse(struck["error"].get("status", 500), struck["error"].get("code", "InternalFailure"), "as asked for")
        try:
            credentials = sigv4.verify(request, service="autoscaling", region=self.region, registry=self.registry,
                                       now=self.clock.now(), skew=SKEW, body=raw)
        except sigv4.SignatureError as e:
            return self.refuse(403, SIGNATURE_ERRORS[e.kind], e.message)
        wrong = self.wrong(request, fields)
        if wrong:
            return self.refuse(400, "ValidationError", wrong)
        self.audit.write("autoscaling", fields["Action"], principal=credentials.principal.arn, result=fields["LifecycleActionResult"])
        body = ('<CompleteLifecycleActionResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/"><CompleteLifecycleActionResult/>'
                f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata></CompleteLifecycleActionResponse>")
        return Response(200, body.encode(), {"Content-Type": "text/xml"})

    def wrong(self, request: Request, fields: dict) -> str | None:
        if request.method != "POST" or not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return "not a Query request"
        if (fields.get("Action"), fields.get("Version")) != ("CompleteLifecycleAction", "2011-01-01"):
            return "no such action"
        if fields.get("LifecycleActionResult") not in ("CONTINUE", "ABANDON"):
            return "LifecycleActionResult must be CONTINUE or ABANDON"
        if (fields.get("AutoScalingGroupName"), fields.get("LifecycleHookName"), fields.get("InstanceId")) != (GROUP, HOOK, self.instance):
            return f"No active Lifecycle Action found with instance ID {fields.get('InstanceId')}"
        return None

    @staticmethod
    def refuse(status: int, code: str, message: str) -> Response:
        body = (f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
                f"<RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>")
        return Response(status, body.encode(), {"Content-Type": "text/xml"})
