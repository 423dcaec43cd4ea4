# SPDX-License-Identifier: Apache-2.0
"""Who may sign: IAM users and assumed roles with their credentials and identity policies."""

import secrets
import string
import threading
from dataclasses import dataclass, field

# How a refusal ends, by the kind of policy that refused (IAM User Guide, "Troubleshoot access denied error messages").
DENIALS = {
    "identity": "because no identity-based policy allows the {action} action",
    "identity-deny": "with an explicit deny in an identity-based policy",
    "resource": "because no resource-based policy allows the {action} action",
    "resource-deny": "with an explicit deny in a resource-based policy",
    "boundary": "because no permissions boundary allows the {action} action",
    "session": "because no session policy allows the {action} action",
    "service-control": "because no service control policy allows the {action} action",
    "service-control-deny": "with an explicit deny in a service control policy: "
                            "arn:aws:organizations::999999999999:policy/o-example/service_control_policy/p-example",
    "resource-control-deny": "with an explicit deny in a resource control policy",
    "vpc-endpoint": "because no VPC endpoint policy allows the {action} action",
    "vpc-endpoint-deny": "with an explicit deny in a VPC endpoint policy",
}
ALPHABET = string.ascii_uppercase + "234567"
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@dataclass(frozen=True)
class Principal:
    """arn: what CloudTrail names (a user, or an assumed-role session); role: the role behind a session."""
    account: str
    arn: str
    role: str | None = None
    policies: tuple = field(default=(EVERYTHING,), compare=False)


@dataclass(frozen=True)
class Credentials:
    access_key_id: str
    secret_access_key: str
    session_token: str | None
    expires: float | None
    principal: Principal


def denial(how: str, caller: str, action: str, on: str) -> str:
    return f"User: {caller} is not authorized to perform: {action}{on} {DENIALS[how].format(action=action)}"


def user(account: str, name: str, **more) -> Principal:
    return Principal(account, f"arn:aws:iam::{account}:user/{name}", **more)


def role_session(account: str, role: str, session: str, **more) -> Principal:
    return Principal(account, f"arn:aws:sts::{account}:assumed-role/{role}/{session}",
                     f"arn:aws:iam::{account}:role/{role}", **more)


class Registry:
    def __init__(self):
        self.lock, self.keys = threading.Lock(), {}

    def issue(self, principal: Principal, expires: float | None = None, token: bool = False) -> Credentials:
        key = ("ASIA" if token else "AKIA") + "".join(secrets.choice(ALPHABET) for _ in range(16))
        credentials = Credentials(key, secrets.token_urlsafe(30), secrets.token_urlsafe(300) + "==" if token else None,
                                  expires, principal)
        with self.lock:
            self.keys[key] = credentials
        return credentials

    def find(self, access_key_id: str) -> Credentials | None:
        return self.keys.get(access_key_id)
