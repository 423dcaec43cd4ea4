# SPDX-License-Identifier: Apache-2.0
"""Evaluates IAM policy documents as KMS does with key policies, independently of the product's own evaluator.

    policy.validate(document)                      -> raises MalformedPolicy
    policy.evaluate(document, context)             -> Decision of that one document
    policy.authorize(key_policy, context, ...)     -> Decision of key policy and identity policies together

A context names who asks for what, and the condition keys that KMS would fill:

    Context(action="kms:Decrypt", resource="arn:aws:kms:...", principal=Principal(...), keys={"kms:...": value})

Values are strings, or lists of strings for keys with several values. Condition key names, those of an encryption
context included, are not case-sensitive (KMS developer guide, "AWS KMS condition keys"); values are as the operator
says."""

import ipaddress
import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from operator import eq, ge, gt, le, lt

VERSIONS = ("2012-10-17", "2008-10-17")
ARN = re.compile(r"arn:aws(-[a-z]+)*:(iam|sts)::\d{12}:"
                 r"(root|user/.+|role/.+|assumed-role/.+/.+|federated-user/.+)")
UNIQUE_ID = re.compile(r"(AROA|AIDA)[A-Z0-9]{12,124}")   # what is left of a role or user that was deleted
MAXIMUM_SIZE = 32 * 1024


class MalformedPolicy(ValueError):
    """MalformedPolicyDocumentException."""


@dataclass(frozen=True)
class Context:
    action: str
    principal: object                     # identity.Principal
    resource: str = "*"
    keys: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    effect: str            # "Allow", "Deny" (explicit), "None" (nothing matched)
    reason: str
    delegated: bool = False   # allowed to the account: only together with an identity policy
    certain: bool = True      # False: AWS documents that it may deny, not that it does

    def __bool__(self) -> bool:
        return self.effect == "Allow"


# --- conditions

def wildcard(value: str, pattern: str) -> bool:
    """* and ? of IAM; nothing else is special."""
    return re.fullmatch("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern), value,
                        re.DOTALL) is not None


def arn_like(value: str, pattern: str) -> bool:
    """Each of the six parts of an ARN on its own."""
    parts, patterns = value.split(":", 5), pattern.split(":", 5)
    return len(parts) == len(patterns) == 6 and all(wildcard(v, p) for v, p in zip(parts, patterns))


def moment(text: str) -> float:
    """ISO 8601, or seconds since 1970."""
    if re.fullmatch(r"[0-9.]+", text):
        return float(text)
    at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()


def comparisons(prefix: str, reading) -> dict:
    def by(compare):
        return lambda v, p: compare(reading(v), reading(p))
    return {prefix + name: by(compare) for name, compare in {
        "Equals": eq, "LessThan": lt, "LessThanEquals": le, "GreaterThan": gt, "GreaterThanEquals": ge}.items()}


OPERATORS = {
    "StringEquals": lambda v, p: v == p,
    "StringEqualsIgnoreCase": lambda v, p: v.lower() == p.lower(),
    "StringLike": wildcard,
    "ArnEquals": arn_like,
    "ArnLike": arn_like,
    "Bool": lambda v, p: v.lower() == p.lower(),
    "BinaryEquals": lambda v, p: v == p,
    "IpAddress": lambda v, p: ipaddress.ip_address(v) in ipaddress.ip_network(p, strict=False),
    **comparisons("Numeric", float),
    **comparisons("Date", moment),
}
NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NotIpAddress": "IpAddress",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
}
KEYS = [
    re.compile(pattern, re.IGNORECASE) for pattern in (
        r"kms:EncryptionContext:.+",
        r"kms:EncryptionContextKeys",
        r"kms:RecipientAttestation:NitroTPMPCR([0-9]|1[0-9]|2[0-3])",
        r"kms:RecipientAttestation:(ImageSha384|PCR([0-9]|[12][0-9]|3[01]))",
        r"kms:CallerAccount",
        r"kms:KeySpec",
        r"kms:KeyUsage",
        r"kms:KeyOrigin",
        r"kms:EncryptionAlgorithm",
        r"kms:ViaService",
        r"kms:RequestAlias",
        r"kms:GrantIsForAWSResource",
        r"kms:BypassPolicyLockoutSafetyCheck",
        r"kms:ScheduleKeyDeletionPendingWindowInDays",
        r"aws:PrincipalArn",
        r"aws:PrincipalAccount",
        r"aws:PrincipalType",
        r"aws:PrincipalOrgID",
        r"aws:SecureTransport",
        r"aws:SourceVpce?",
        r"aws:SourceIp",
        r"aws:SourceAccount",
        r"aws:SourceArn",
        r"aws:userid",
        r"aws:username",
        r"aws:PrincipalTag/.+",
        r"aws:ResourceTag/.+",
        r"aws:RequestedRegion",
        r"aws:CurrentTime",
        r"aws:EpochTime",
        r"aws:TokenIssueTime",
        r"aws:MultiFactorAuthAge",
    )
]


def split_operator(operator: str) -> tuple[str, str, bool]:
    """set qualifier, plain operator, IfExists."""
    quantifier, colon, rest = operator.partition(":")
    if not colon:
        quantifier, rest = "", operator
    exists = rest.endswith("IfExists")
    return quantifier, rest.removesuffix("IfExists"), exists


def listed(value) -> list:
    return value if isinstance(value, list) else [value]


def text(value) -> str:
    return json.dumps(value) if isinstance(value, (bool, int, float)) else value


def one_matches(operator: str, value: str, patterns: list[str]) -> bool:
    if operator in NEGATED:
        return not any(OPERATORS[NEGATED[operator]](value, p) for p in patterns)
    return any(OPERATORS[operator](value, p) for p in patterns)


def condition_met(operator: str, present: list[str] | None, patterns: list[str]) -> bool:
    quantifier, plain, if_exists = split_operator(operator)
    if plain == "Null":
        return any((present is None) == (p.lower() == "true") for p in patterns)
    if quantifier == "ForAllValues":
        return all(one_matches(plain, v, patterns) for v in present or [])
    if present is None:
        return quantifier != "ForAnyValue" and (if_exists
                                                or plain in NEGATED) or quantifier == "ForAnyValue" and if_exists
    if quantifier == "ForAnyValue":
        return any(one_matches(plain, v, patterns) for v in present)
    combine = all if plain in NEGATED else any
    return combine(one_matches(plain, v, patterns) for v in present)


def unmet_condition(conditions: dict, keys: dict) -> str | None:
    """Of all the conditions, which must hold together, the first that does not."""
    lower = {}
    for name, value in keys.items():
        lower.setdefault(name.lower(), []).extend(listed(value))
    for operator, block in conditions.items():
        for key, patterns in block.items():
            present = lower.get(key.lower())
            if not condition_met(operator, present, [text(p) for p in listed(patterns)]):
                found = "absent" if present is None else ", ".join(present)
                return f"{operator} {key}: wanted {', '.join(map(text, listed(patterns)))}, found {found}"
    return None


# --- statements

def principal_matches(element, principal) -> str | None:
    """How a Principal element names who asks: "exact", "account", "anyone", or None."""
    if element == "*":
        return "anyone"
    best = None
    for name in listed(element.get("AWS", [])):
        if name == "*":
            return "anyone"
        if name in (principal.arn, principal.role):
            return "exact"
        if name in (principal.account, f"arn:aws:iam::{principal.account}:root"):
            best = "account"
    return best


def action_matches(statement: dict, action: str) -> bool:
    def match(patterns):
        return any(wildcard(action.lower(), pattern.lower()) for pattern in listed(patterns))
    return match(statement["Action"]) if "Action" in statement else not match(statement["NotAction"])


def resource_matches(statement: dict, resource: str) -> bool:
    def match(patterns):
        return any(wildcard(resource, pattern) for pattern in listed(patterns))
    if "NotResource" in statement:
        return not match(statement["NotResource"])
    return match(statement.get("Resource", "*"))


def name_of(statement: dict, number: int) -> str:
    return f"statement {statement.get('Sid') or number}"


def spared(element, principal) -> str:
    """How a NotPrincipal element excepts who asks from a Deny: "wholly" when it lists the account and, in it, the user,
    or the role and the session, each of which AWS may look at on its own; "partly"; or "not"."""
    if element == "*":
        return "wholly"
    names = set(listed(element.get("AWS", [])))
    account = bool(names & {principal.account, f"arn:aws:iam::{principal.account}:root"})
    levels = [account, principal.arn in names, *([principal.role in names] if principal.role else [])]
    return "wholly" if "*" in names or all(levels) else "partly" if any(levels) else "not"


def named(statement: dict, principal) -> str | None:
    if "NotPrincipal" in statement:
        return {"wholly": None, "partly": "perhaps", "not": "anyone"}[spared(statement["NotPrincipal"], principal)]
    if "Principal" in statement:
        return principal_matches(statement["Principal"], principal)
    return "exact"                       # identity policy: attached to who asks


def evaluate(document: dict | str, context: Context) -> Decision:
    """One document: an explicit Deny wins, then any Allow, otherwise nothing. What may be denied is, here."""
    document = json.loads(document) if isinstance(document, str) else document
    allowed, delegated, doubtful, misses = None, None, None, []
    for number, statement in enumerate(listed(document["Statement"]), 1):
        name = name_of(statement, number)
        how = named(statement, context.principal)
        if not how or not action_matches(statement, context.action) or not resource_matches(
                statement, context.resource):
            continue
        unmet = unmet_condition(statement.get("Condition", {}), context.keys)
        if unmet:
            misses.append(f"{name}: {unmet}")
        elif statement["Effect"] == "Deny" and how == "perhaps":
            doubtful = Decision("Deny", f"{name} spares only a part of who asks", certain=False)
        elif statement["Effect"] == "Deny":
            return Decision("Deny", f"{name} denies {context.action}")
        elif how == "account":
            delegated = delegated or Decision("Allow", f"{name} allows the account", True)
        else:
            allowed = allowed or Decision("Allow", f"{name} allows {context.action}")
    if doubtful is not None and (allowed or delegated):
        return doubtful
    return allowed or delegated or Decision("None", "; ".join(misses) or f"no statement allows {context.action}")


def authorize(key_policy: dict, context: Context, owner: str) -> Decision:
    """Key policy and identity policies together. owner: the account that the key belongs to. Within that account the
    key policy alone may allow; from another account both must, and so where the key policy names the account alone."""
    on_key = evaluate(key_policy, context)
    by_identity = Decision("None", "no identity policy allows it")
    for document in context.principal.policies:
        decision = evaluate(document, context)
        if decision.effect == "Deny":
            return Decision("Deny", f"identity policy: {decision.reason}")
        by_identity = decision if decision else by_identity
    if on_key.effect != "Allow":
        return on_key
    if (on_key.delegated or context.principal.account != owner) and not by_identity:
        return Decision("None", f"identity policy: {by_identity.reason}")
    return on_key


# --- validation

def refuse_unless(condition, reason: str):
    if not condition:
        raise MalformedPolicy(reason)


def no_duplicates(pairs):
    names = [name for name, _ in pairs]
    refuse_unless(len(names) == len(set(names)), "duplicate key in JSON object")
    return dict(pairs)


def validate(text_: str) -> dict:
    """The document that text_ holds, if KMS would take it as a key policy."""
    refuse_unless(len(text_.encode()) <= MAXIMUM_SIZE, "policy is longer than 32 KiB")
    try:
        document = json.loads(text_, object_pairs_hook=no_duplicates)
    except json.JSONDecodeError as e:
        raise MalformedPolicy(f"not JSON: {e}") from e
    refuse_unless(isinstance(document, dict), "policy is not an object")
    unknown = set(document) - {"Version", "Id", "Statement"}
    refuse_unless(not unknown, f"unknown elements {sorted(unknown)}")
    refuse_unless(document.get("Version", "2008-10-17") in VERSIONS, "unknown Version")
    statements = listed(document.get("Statement", []))
    refuse_unless(statements, "policy has no statement")
    for number, statement in enumerate(statements, 1):
        refuse_unless(isinstance(statement, dict), f"statement {number} is not an object")
        validate_statement(statement, name_of(statement, number))
    sids = [s["Sid"] for s in statements if s.get("Sid")]
    refuse_unless(len(sids) == len(set(sids)), "statement ids are not unique")
    return document


def validate_statement(statement: dict, name: str):
    unknown = set(statement) - {"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource",
                                "NotResource", "Condition"}
    refuse_unless(not unknown, f"{name}: unknown elements {sorted(unknown)}")
    refuse_unless(statement.get("Effect") in ("Allow", "Deny"), f"{name}: Effect is not Allow or Deny")
    for element in ("Principal", "Action", "Resource"):
        given = [e for e in (element, f"Not{element}") if e in statement]
        refuse_unless(len(given) == 1, f"{name}: needs one of {element} and Not{element}")
        if element == "Principal":
            validate_principal(statement[given[0]], name)
        else:
            values = listed(statement[given[0]])
            refuse_unless(values and all(isinstance(v, str) and v for v in values), f"{name}: {given[0]} is not text")
    for action in listed(statement.get("Action", statement.get("NotAction"))):
        refuse_unless(action == "*" or re.fullmatch(r"kms:[A-Za-z*?]+", action, re.IGNORECASE),
                      f"{name}: action {action}")
    refuse_unless("Principal" in statement or statement["Effect"] == "Deny", f"{name}: NotPrincipal is only for Deny")
    conditions = statement.get("Condition", {})
    refuse_unless(isinstance(conditions, dict), f"{name}: Condition is not an object")
    for operator, block in conditions.items():
        validate_condition(operator, block, name)


def validate_principal(element, name: str):
    if element == "*":
        return
    refuse_unless(isinstance(element, dict) and element, f"{name}: Principal is not an object")
    refuse_unless(set(element) <= {"AWS", "Service"}, f"{name}: unknown kind of principal")
    values = [v for kind in element.values() for v in listed(kind)]
    refuse_unless(values and all(isinstance(v, str) for v in values), f"{name}: principal is not text")
    for value in listed(element.get("AWS", [])):
        refuse_unless(value == "*" or re.fullmatch(r"\d{12}", value) or UNIQUE_ID.fullmatch(value)
                      or ARN.fullmatch(value) and "*" not in value, f"{name}: invalid principal {value}")


def validate_condition(operator: str, block, name: str):
    quantifier, plain, if_exists = split_operator(operator)
    known = plain in OPERATORS or plain in NEGATED or plain == "Null" and not if_exists and not quantifier
    refuse_unless(known and quantifier in ("", "ForAllValues", "ForAnyValue"),
                  f"{name}: unknown condition operator {operator}")
    refuse_unless(isinstance(block, dict) and block, f"{name}: condition {operator} is not an object")
    for key, values in block.items():
        refuse_unless(any(pattern.fullmatch(key) for pattern in KEYS), f"{name}: unknown condition key {key}")
        values = listed(values)
        also = (int, float) if plain.startswith(("Numeric", "Date")) else bool
        refuse_unless(values and all(isinstance(v, (str, also)) for v in values), f"{name}: value of {key} is not text")
        refuse_unless(plain not in ("Null", "Bool") or all(text(v).lower() in ("true", "false") for v in values),
                      f"{name}: value of {plain} {key} is not true or false")
        refuse_unless(not any("${" in text(v) for v in values), f"{name}: policy variables are not modelled here")
