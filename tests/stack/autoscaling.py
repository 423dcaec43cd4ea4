# SPDX-License-Identifier: Apache-2.0
"""EC2 Auto Scaling: groups whose instances a launch hook holds, warm pools, and the two calls of the Query protocol
that an instance makes. What an instance becomes is a table; machines are others' (fleet.py).

(Amazon EC2 Auto Scaling User Guide, "Amazon EC2 Auto Scaling instance lifecycle", "Use lifecycle hooks with a warm
pool"; API Reference, RecordLifecycleActionHeartbeat, CompleteLifecycleAction.)"""

import re
import threading
import urllib.parse
import uuid
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from . import identity, policy, sigv4
from .clock import Clock
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
ANSWER = """<{action}Response xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/"><{action}Result/>\
<ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></{action}Response>"""
REFUSAL = """<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
<RequestId>{id}</RequestId></ErrorResponse>"""

# The parameters of each action: pattern, and whether it is required. An instance is named by its id or by its token.
COMMON = {"Action": (r"\w+", True), "Version": ("2011-01-01", True), "AutoScalingGroupName": (r"[^\0:]{1,255}", True),
          "LifecycleHookName": (r"[A-Za-z0-9\-_/]{1,255}", True), "InstanceId": (r".{1,19}", False),
          "LifecycleActionToken": (r"[0-9a-f-]{36}", False)}
ACTIONS = {"RecordLifecycleActionHeartbeat": COMMON,
           "CompleteLifecycleAction": {**COMMON, "LifecycleActionResult": ("CONTINUE|ABANDON", True)}}

WAIT = ":Wait"
LONGEST_WAIT, LONGEST_TIMES = 48 * 3600, 100
POOLS = ("Stopped", "Running", "Hibernated")


class NotWaiting(Exception):
    pass


@dataclass
class Hook:
    timeout: int = 3600
    default: str = "ABANDON"
    name: str = HOOK


@dataclass
class Member:
    """An instance in its group. state: its lifecycle state; target: what IMDS says, where it is to go."""
    id: str
    account: str
    state: str = ""
    target: str = ""
    token: str | None = None            # of the action that the hook waits for
    deadline: float = 0
    longest: float = 0
    heartbeats: int = 0
    ended_by: str | None = None         # CONTINUE, ABANDON or TIMEOUT: how the last wait ended
    history: list = field(default_factory=list)

    def move(self, state: str):
        self.state = state
        self.history.append(state)


class Group:
    """changed(member): called after each change of state, without the lock."""

    def __init__(self, name: str, hook: Hook | None, clock: Clock, changed=None):
        self.name, self.hook, self.clock, self.changed = name, hook, clock, changed or (lambda member: None)
        self.lock, self.members = threading.RLock(), {}

    def launch(self, id: str, account: str, pool: str | None = None) -> Member:
        """A new instance, for service or for the warm pool."""
        with self.lock:
            self.members[id] = member = Member(id, account)
        self.move(member, f"Warmed:{pool}" if pool else "InService")
        return member

    def enter_service(self, id: str):
        """Out of the warm pool."""
        member = self.members[id]
        assert member.state.startswith("Warmed:") and member.token is None, member
        self.move(member, "InService")

    def move(self, member: Member, target: str):
        with self.lock:
            member.target = target
            pending = "Warmed:Pending" if target.startswith("Warmed:") else "Pending"
            member.move(pending)
            if self.hook:
                now = self.clock.now()
                member.token, member.deadline = str(uuid.uuid4()), now + self.hook.timeout
                member.longest = now + min(LONGEST_WAIT, LONGEST_TIMES * self.hook.timeout)
                member.move(pending + WAIT)
            else:
                member.move(target)
        self.changed(member)

    def terminate(self, id: str):
        with self.lock:
            member = self.members[id]
            warm = "Warmed:" if member.state.startswith("Warmed:") else ""
            member.token, member.target = None, f"{warm}Terminated"
            member.move(f"{warm}Terminating")
            member.move(f"{warm}Terminated")
        self.changed(member)

    def waiting(self, fields: dict) -> Member:
        """The member whose action is meant; NotWaiting without one."""
        self.expire()
        member = self.members.get(fields["InstanceId"]) if "InstanceId" in fields else next(
            (m for m in self.members.values() if m.token == fields["LifecycleActionToken"]), None)
        if not (self.hook and fields["LifecycleHookName"] == self.hook.name and member and member.token and
                fields.get("LifecycleActionToken", member.token) == member.token):
            raise NotWaiting
        return member

    def heartbeat(self, fields: dict):
        with self.lock:
            member = self.waiting(fields)
            member.deadline = min(self.clock.now() + self.hook.timeout, member.longest)
            member.heartbeats += 1

    def complete(self, fields: dict):
        with self.lock:
            member = self.waiting(fields)
        self.end_wait(member, fields["LifecycleActionResult"], fields["LifecycleActionResult"])

    def end_wait(self, member: Member, result: str, ended_by: str):
        with self.lock:
            member.token, member.ended_by = None, ended_by
            if result == "CONTINUE":
                member.move(member.state.removesuffix(WAIT) + ":Proceed")
                member.move(member.target)
        if result == "CONTINUE":
            self.changed(member)
        else:
            self.terminate(member.id)

    def expire(self):
        """Ends the waits whose timeout has passed."""
        with self.lock:
            late = [m for m in self.members.values() if m.token and self.clock.now() >= m.deadline]
        for member in late:
            self.end_wait(member, self.hook.default, "TIMEOUT")


class AutoScaling:
    """clock: of the services, for signatures. The timeouts of hooks have a clock of their own, which tests set
    forward."""

    def __init__(self, *, region: str, registry, clock, faults, audit):
        self.region, self.registry, self.clock, self.faults, self.audit = region, registry, clock, faults, audit
        self.hook_clock, self.groups = Clock(), {}

    def add_group(self, name: str, hook: Hook | None = None, changed=None) -> Group:
        self.groups[name] = Group(name, hook, self.hook_clock, changed)
        return self.groups[name]

    def answer(self, request: Request) -> Response:
        raw = request.body(1 << 16)
        pairs = urllib.parse.parse_qsl(raw.decode(errors="replace"), keep_blank_values=True)
        fields = dict(pairs)
        struck = self.faults.take("autoscaling", fields.get("Action", ""), fields.get("LifecycleHookName", ""),
                                  WIRE + ("not-waiting", "denied"))
        if "not-waiting" in struck:
            response = self.refuse(400, "ValidationError", self.not_waiting(fields))
        elif "denied" in struck:
            action = "autoscaling:" + fields.get("Action", "")
            response = self.refuse(
                403, "AccessDenied",
                identity.denial(struck["denied"].get("how"), "arn:aws:iam::444455556666:role/r", action, ""))
        elif "error" in struck:
            fault = struck["error"]
            response = self.refuse(fault.get("status", 500), fault.get("code", "InternalFailure"),
                                   fault.get("message", ""))
        else:
            response = self.act(request, raw, pairs)
        response.faults = struck
        return response

    def act(self, request: Request, raw: bytes, pairs: list) -> Response:
        try:
            credentials = sigv4.verify(request, service="autoscaling", region=self.region, registry=self.registry,
                                       now=self.clock.now(), skew=SKEW, body=raw)
        except sigv4.SignatureError as e:
            return self.refuse(403, SIGNATURE_ERRORS[e.kind], e.message)
        fields = dict(pairs)
        if wrong := self.wrong(request, pairs):
            return self.refuse(400, "ValidationError", wrong)
        if denied := self.denied(credentials.principal, fields):
            return self.refuse(403, "AccessDenied", denied)
        try:
            group = self.groups.get(fields["AutoScalingGroupName"])
            if group is None:
                raise NotWaiting
            (group.complete if "LifecycleActionResult" in fields else group.heartbeat)(fields)
        except NotWaiting:
            return self.refuse(400, "ValidationError", self.not_waiting(fields))
        self.audit.write("autoscaling", fields["Action"], principal=credentials.principal.arn,
                         group=group.name, instance=fields.get("InstanceId"),
                         result=fields.get("LifecycleActionResult"))
        return self.xml(200, ANSWER.format(action=fields["Action"], id=uuid.uuid4()))

    @staticmethod
    def wrong(request: Request, pairs: list) -> str | None:
        fields = dict(pairs)
        if request.method != "POST" or request.path != "/" or not request.headers.get("content-type",
                                                                                      "").startswith(FORM):
            return "not a Query request"
        known = ACTIONS.get(fields.get("Action"))
        if known is None:
            return "no such action"
        if len(pairs) != len(fields) or set(fields) - set(known):
            return f"unknown or repeated parameters: {sorted(name for name, _ in pairs)}"
        for name, (pattern, required) in known.items():
            if name not in fields and required:
                return f"1 validation error detected: Value null at '{name}' failed to satisfy constraint"
            if name in fields and not re.fullmatch(pattern, fields[name]):
                return f"1 validation error detected: Value '{fields[name]}' at '{name}' failed to satisfy constraint"
        if "InstanceId" not in fields and "LifecycleActionToken" not in fields:
            return "InstanceId or LifecycleActionToken must be provided"
        return None

    def denied(self, principal, fields: dict) -> str | None:
        """By the caller's identity policies; a group of another account cannot be named at all."""
        action, group = "autoscaling:" + fields["Action"], fields["AutoScalingGroupName"]
        arn = (f"arn:aws:autoscaling:{self.region}:{principal.account}:autoScalingGroup:"
               f"{uuid.uuid5(uuid.NAMESPACE_DNS, group)}:autoScalingGroupName/{group}")
        context = policy.Context(action, principal, arn)
        if any(policy.evaluate(document, context) for document in principal.policies):
            return None
        return identity.denial("identity", principal.arn, action, f" on resource: {arn}")

    @staticmethod
    def not_waiting(fields: dict) -> str:
        if "InstanceId" in fields:
            return f"No active Lifecycle Action found with instance ID {fields['InstanceId']}"
        return f"No active Lifecycle Action found with token {fields.get('LifecycleActionToken')}"

    def refuse(self, status: int, code: str, message: str) -> Response:
        return self.xml(status, REFUSAL.format(code=code, message=escape(message), id=uuid.uuid4()))

    @staticmethod
    def xml(status: int, text: str) -> Response:
        return Response(status, text.encode(), {"Content-Type": "text/xml"})
