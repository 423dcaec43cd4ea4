# SPDX-License-Identifier: Apache-2.0
"""KMS: JSON 1.1 over POST /, symmetric keys, key policies, attested recipients."""

import base64
import binascii
import hashlib
import json
import os
import re
import threading
import time
import uuid
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from . import attestation_check, cms, identity, policy, sigv4
from .faults import WIRE
from .web import Request, Response

CONTENT_TYPE = "application/x-amz-json-1.1"
SKEW = 5 * 60
DOCUMENT_MAXIMUM_AGE = 5 * 60
SIGNATURE_ERRORS = {
    "missing": "MissingAuthenticationTokenException",
    "incomplete": "IncompleteSignatureException",
    "unknown": "UnrecognizedClientException",
    "scope": "InvalidSignatureException",
    "unsigned": "InvalidSignatureException",
    "skew": "InvalidSignatureException",
    "mismatch": "InvalidSignatureException",
    "expired": "ExpiredTokenException",
    "payload": "InvalidSignatureException",
}
STATUS = {"KMSInternalException": 500, "DependencyTimeoutException": 503, "KeyUnavailableException": 500,
          "ServiceUnavailableException": 503, "InternalFailure": 500, "DryRunOperationException": 412}
OTHER_REGIONS = ("eu-west-1", "eu-north-1")
REFERENCE = "arn:aws:kms:{region}:{account}:key/{id}"
ALIAS = "arn:aws:kms:{region}:{account}:{name}"
BLOB_HEAD = bytes.fromhex("0102020078")


class KMSError(Exception):
    def __init__(self, code: str, message: str | None = None):
        super().__init__(message or code)
        self.code, self.message = code, message


@dataclass
class Key:
    id: str
    account: str
    arn: str
    policy: dict
    policy_text: str
    created: float
    description: str = ""
    state: str = "Enabled"
    deletion: float | None = None
    region: str = ""
    multi_region: bool = False
    backing: bytes = field(default_factory=lambda: os.urandom(32), repr=False)

    @property
    def digest(self) -> bytes:
        """All replicas of a multi-Region key have one."""
        return hashlib.sha256((f"{self.account}/{self.id}" if self.multi_region else self.arn).encode()).digest()


def default_policy(account: str) -> dict:
    return {"Version": "2012-10-17", "Id": "key-default-1", "Statement": [
        {"Sid": "Enable IAM User Permissions", "Effect": "Allow",
         "Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": "kms:*", "Resource": "*"}]}


def context_bytes(context: dict[str, str]) -> bytes:
    return json.dumps(context, sort_keys=True, separators=(",", ":")).encode()


# --- ciphertext blobs: opaque to clients; here a head, the key's digest, a nonce, and AES-GCM under the backing key

def seal(key: Key, plaintext: bytes, context: dict[str, str]) -> bytes:
    nonce = os.urandom(12)
    head = BLOB_HEAD + key.digest
    return head + nonce + AESGCM(key.backing).encrypt(nonce, plaintext, head + context_bytes(context))


def unseal(keys: list[Key], blob: bytes, context: dict[str, str]) -> tuple[Key, bytes]:
    key = next((k for k in keys if BLOB_HEAD + k.digest == blob[:37]), None)
    if key is None or len(blob) < 37 + 12 + 16:
        raise KMSError("InvalidCiphertextException")
    try:
        return key, AESGCM(key.backing).decrypt(blob[37:49], blob[49:], blob[:37] + context_bytes(context))
    except InvalidTag:
        raise KMSError("InvalidCiphertextException") from None


# --- request members

def member(body: dict, name: str, kind: type, *, required: bool = False, maximum: int | None = None):
    value = body.get(name)
    if value is None:
        if required:
            raise KMSError(
                "ValidationException", "1 validation error detected: Value null at "
                f"'{name[0].lower()}{name[1:]}' failed to satisfy constraint: Member must "
                "not be null")
        return None
    if not isinstance(value, kind) or isinstance(value, bool) and kind is not bool:
        raise KMSError("SerializationException", f"{name} is not {kind.__name__}")
    if maximum is not None and len(value) > maximum:
        raise KMSError("ValidationException", f"{name} is longer than {maximum}")
    return value


def blob(body: dict, name: str, maximum: int, required: bool = True) -> bytes | None:
    value = member(body, name, str, required=required)
    if value is None:
        return None
    try:
        data = base64.b64decode(value, validate=True)
    except binascii.Error as e:
        raise KMSError("SerializationException", f"{name} is not base64") from e
    if not 1 <= len(data) <= maximum:
        raise KMSError("ValidationException", f"{name} has {len(data)} bytes, not 1 to {maximum}")
    return data


def encryption_context(body: dict) -> dict[str, str]:
    context = member(body, "EncryptionContext", dict) or {}
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in context.items()):
        raise KMSError("SerializationException", "EncryptionContext is not a map of text")
    return context


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


class KMS:
    """All Regions of KMS behind one endpoint: the signature's scope tells which one is asked.
    settings: {"cms": "alternate", one of cms.SHAPES, or cms.PIECES}."""

    def __init__(self, *, region: str, registry, clock, faults, audit, root_der: bytes, settings: dict):
        self.region, self.registry, self.clock, self.faults, self.audit = region, registry, clock, faults, audit
        self.root_der, self.settings = root_der, settings
        self.lock, self.keys, self.answers = threading.RLock(), {}, 0
        self.aliases: dict[str, str] = {}          # ARN -> id of the key
        self.operations = {name: getattr(self, method) for name, method in {
            "CreateKey": "create_key", "DescribeKey": "describe_key", "PutKeyPolicy": "put_key_policy",
            "GetKeyPolicy": "get_key_policy", "DisableKey": "disable_key", "EnableKey": "enable_key",
            "ScheduleKeyDeletion": "schedule_key_deletion", "CancelKeyDeletion": "cancel_key_deletion",
            "Encrypt": "encrypt", "GenerateDataKey": "generate_data_key", "Decrypt": "decrypt",
            "GenerateDataKeyWithoutPlaintext": "generate_data_key_without_plaintext", "ListKeys": "list_keys",
            "ReplicateKey": "replicate_key",
            "CreateAlias": "create_alias", "UpdateAlias": "update_alias", "DeleteAlias": "delete_alias",
            "ListAliases": "list_aliases",
        }.items()}

    # --- transport

    def answer(self, request: Request) -> Response:
        call = Call(self, request)
        try:
            return call.succeed(call.run())
        except sigv4.SignatureError as e:
            return call.refuse(SIGNATURE_ERRORS[e.kind], e.message)
        except KMSError as e:
            return call.refuse(e.code, e.message)
        except policy.MalformedPolicy as e:
            return call.refuse("MalformedPolicyDocumentException", str(e))

    # --- operations; each gets its Call and returns the members of the answer

    def create_key(self, call) -> dict:
        call.authorize(None, "kms:CreateKey")
        account = call.principal.account
        text = member(call.body, "Policy", str) or json.dumps(default_policy(account))
        document = policy.validate(text)
        multi = member(call.body, "MultiRegion", bool) or False
        id = next((tag["TagValue"] for tag in member(call.body, "Tags", list) or [] if tag["TagKey"] == "_custom_id_"),
                  "mrk-" + uuid.uuid4().hex if multi else str(uuid.uuid4()))
        key = Key(id, account, REFERENCE.format(region=call.region, account=account, id=id), document, text,
                  self.clock.now(), member(call.body, "Description", str) or "", region=call.region, multi_region=multi)
        call.check_lockout(key, document)
        with self.lock:
            self.keys[call.region, id] = key
        call.key = key
        return {"KeyMetadata": self.metadata(key)}

    def metadata(self, key: Key) -> dict:
        metadata = {
            "AWSAccountId": key.account, "KeyId": key.id, "Arn": key.arn, "CreationDate": round(key.created, 3),
            "Enabled": key.state == "Enabled", "Description": key.description, "KeyUsage": "ENCRYPT_DECRYPT",
            "KeyState": key.state, "Origin": "AWS_KMS", "KeyManager": "CUSTOMER", "MultiRegion": key.multi_region,
            "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT", "KeySpec": "SYMMETRIC_DEFAULT",
            "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        }
        return metadata | ({"DeletionDate": key.deletion} if key.deletion else {})

    def replicate_key(self, call) -> dict:
        """With the policy that is given, or the default one: a replica does not get its primary's."""
        primary, region = call.target("kms:ReplicateKey"), member(call.body, "ReplicaRegion", str, required=True)
        if not primary.multi_region:
            raise KMSError("UnsupportedOperationException", f"{primary.arn} is not a multi-region primary key.")
        text = member(call.body, "Policy", str) or json.dumps(default_policy(primary.account))
        key = Key(primary.id, primary.account, REFERENCE.format(region=region, account=primary.account, id=primary.id),
                  policy.validate(text), text, self.clock.now(), region=region, multi_region=True,
                  backing=primary.backing)
        self.keys[region, key.id] = key
        return {"ReplicaKeyMetadata": self.metadata(key), "ReplicaPolicy": text}

    def of_region(self, region: str) -> list[Key]:
        return [key for key in self.keys.values() if key.region == region]

    def find(self, reference: str, account: str, region: str) -> Key:
        """A key's id or ARN; an alias's name, which is one of the caller's account, or ARN."""
        if self.is_alias(reference):
            arn = self.alias_arn(reference, account, region)
            if arn not in self.aliases:
                raise KMSError("NotFoundException", f"Alias {arn} is not found.")
            return self.keys[region, self.aliases[arn]]
        id = reference.rsplit("/", 1)[-1] if reference.startswith("arn:") else reference
        key = self.keys.get((region, id))
        if key is None or reference not in (key.id, key.arn):
            arn = reference if reference.startswith("arn:") else f"arn:aws:kms:{region}:key/{reference}"
            raise KMSError("NotFoundException", f"Key '{arn}' does not exist")
        return key

    # --- aliases

    @staticmethod
    def is_alias(reference: str) -> bool:
        return reference.startswith("alias/") or reference.startswith("arn:") and ":alias/" in reference

    def alias_arn(self, reference: str, account: str, region: str) -> str:
        if reference.startswith("arn:"):
            return reference
        return ALIAS.format(region=region, account=account, name=reference)

    def own_alias(self, call) -> str:
        """The ARN of the alias that the request names, checked as KMS does."""
        name = member(call.body, "AliasName", str, required=True, maximum=256)
        if not re.fullmatch(r"alias/[a-zA-Z0-9/_-]+", name) or name.startswith("alias/aws/"):
            raise KMSError("InvalidAliasNameException", f"{name} is not a valid alias name")
        return self.alias_arn(name, call.principal.account, call.region)

    def existing_alias(self, call) -> tuple[str, Key]:
        arn = self.own_alias(call)
        if arn not in self.aliases:
            raise KMSError("NotFoundException", f"Alias {arn} is not found.")
        return arn, self.keys[call.region, self.aliases[arn]]

    def create_alias(self, call) -> dict:
        arn, key = self.own_alias(call), call.target("kms:CreateAlias", name="TargetKeyId")
        if arn in self.aliases:
            raise KMSError("AlreadyExistsException", f"An alias with the name {arn} already exists")
        self.aliases[arn] = key.id
        return {}

    def update_alias(self, call) -> dict:
        arn, old = self.existing_alias(call)
        call.authorize(old, "kms:UpdateAlias")
        self.aliases[arn] = call.target("kms:UpdateAlias", name="TargetKeyId").id
        return {}

    def delete_alias(self, call) -> dict:
        arn, key = self.existing_alias(call)
        call.authorize(key, "kms:DeleteAlias")
        del self.aliases[arn]
        return {}

    def list_aliases(self, call) -> dict:
        call.authorize(None, "kms:ListAliases")
        reference = member(call.body, "KeyId", str)
        wanted = self.find(reference, call.principal.account, call.region).id if reference else None
        mine = [(arn, id) for arn, id in sorted(self.aliases.items())
                if arn.split(":")[3:5] == [call.region, call.principal.account] and wanted in (None, id)]
        aliases = [{"AliasArn": arn, "AliasName": arn.split(":", 5)[5], "TargetKeyId": id} for arn, id in mine]
        return {"Aliases": aliases, "Truncated": False}

    def list_keys(self, call) -> dict:
        call.authorize(None, "kms:ListKeys")
        mine = [k for k in self.of_region(call.region) if k.account == call.principal.account]
        return {"Keys": [{"KeyId": k.id, "KeyArn": k.arn} for k in mine], "Truncated": False}

    def describe_key(self, call) -> dict:
        return {"KeyMetadata": self.metadata(call.target("kms:DescribeKey", alias=True))}

    def get_key_policy(self, call) -> dict:
        key = call.target("kms:GetKeyPolicy")
        call.policy_name()
        return {"Policy": key.policy_text, "PolicyName": "default"}

    def put_key_policy(self, call) -> dict:
        key = call.target("kms:PutKeyPolicy")
        call.policy_name()
        text = member(call.body, "Policy", str, required=True)
        document = policy.validate(text)
        call.check_lockout(key, document)
        key.policy, key.policy_text = document, text
        return {}

    def disable_key(self, call) -> dict:
        call.target("kms:DisableKey", states=("Enabled", "Disabled")).state = "Disabled"
        return {}

    def enable_key(self, call) -> dict:
        call.target("kms:EnableKey", states=("Enabled", "Disabled")).state = "Enabled"
        return {}

    def schedule_key_deletion(self, call) -> dict:
        key = call.target("kms:ScheduleKeyDeletion", states=("Enabled", "Disabled"))
        days = member(call.body, "PendingWindowInDays", int) or 30
        if not 7 <= days <= 30:
            raise KMSError("ValidationException", "PendingWindowInDays must be between 7 and 30")
        key.state, key.deletion = "PendingDeletion", round(self.clock.now() + days * 86400, 3)
        return {"KeyId": key.arn, "DeletionDate": key.deletion, "KeyState": key.state, "PendingWindowInDays": days}

    def cancel_key_deletion(self, call) -> dict:
        key = call.target("kms:CancelKeyDeletion", states=("PendingDeletion",))
        key.state, key.deletion = "Disabled", None
        return {"KeyId": key.arn}

    def encrypt(self, call) -> dict:
        plaintext = blob(call.body, "Plaintext", 4096)
        key = call.target("kms:Encrypt", states=("Enabled",), alias=True)
        call.dry_run()
        return {"CiphertextBlob": encoded(seal(key, plaintext, call.context)), "KeyId": key.arn,
                "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}

    def new_data_key(self, call, action: str) -> tuple[Key, bytes, bytes]:
        spec, size = member(call.body, "KeySpec", str), member(call.body, "NumberOfBytes", int)
        if (spec is None) == (size is None):
            raise KMSError("ValidationException", "Please specify either number of bytes or key spec.")
        if spec is not None and spec not in ("AES_256", "AES_128") or size is not None and not 1 <= size <= 1024:
            raise KMSError("ValidationException", "KeySpec or NumberOfBytes is out of range")
        key = call.target(action, states=("Enabled",), alias=True)
        call.dry_run()
        plaintext = os.urandom(size or {"AES_256": 32, "AES_128": 16}[spec])
        return key, plaintext, seal(key, plaintext, call.context)

    def generate_data_key(self, call) -> dict:
        key, plaintext, ciphertext = self.new_data_key(call, "kms:GenerateDataKey")
        return {"CiphertextBlob": encoded(ciphertext), "KeyId": key.arn, **call.deliver(plaintext)}

    def generate_data_key_without_plaintext(self, call) -> dict:
        key, _, ciphertext = self.new_data_key(call, "kms:GenerateDataKeyWithoutPlaintext")
        return {"CiphertextBlob": encoded(ciphertext), "KeyId": key.arn}

    def decrypt(self, call) -> dict:
        ciphertext = blob(call.body, "CiphertextBlob", 6144)
        reference = member(call.body, "KeyId", str)
        algorithm = member(call.body, "EncryptionAlgorithm", str)
        if algorithm not in (None, "SYMMETRIC_DEFAULT"):
            raise KMSError("ValidationException", f"EncryptionAlgorithm {algorithm} is not for this key")
        if reference is not None:
            call.target("kms:Decrypt", states=("Enabled",), alias=True)
        key, plaintext = unseal(self.of_region(call.region), ciphertext, call.context)
        if reference is None:
            call.body["KeyId"] = key.arn
            call.target("kms:Decrypt", states=("Enabled",))
        elif call.key is not key:
            raise KMSError("IncorrectKeyException",
                           "The key ID in the request does not identify a CMK that can perform "
                           "this operation.")
        call.dry_run()
        return {"KeyId": key.arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT", **call.deliver(plaintext)}


class Call:
    """One request to KMS on its way: who, what, on which key, for which recipient."""

    def __init__(self, kms: KMS, request: Request):
        self.kms, self.request = kms, request
        self.operation = request.headers.get("x-amz-target", "").removeprefix("TrentService.")
        self.body, self.context, self.principal, self.key, self.document = {}, {}, None, None, None
        self.struck, self.reason, self.alias = {}, None, None
        asked = sigv4.scope_region(request)
        self.region = asked if asked in OTHER_REGIONS else kms.region

    def run(self) -> dict:
        raw = self.request.body(1 << 20)
        self.body = self.parse(raw)
        kinds = WIRE + ("answer", "denied") + (("cms",) if "Recipient" in self.body else ())
        self.struck = self.kms.faults.take("kms", self.operation, str(self.body.get("KeyId", "")), kinds)
        if "error" in self.struck:
            fault = self.struck["error"]
            raise KMSError(fault.get("code", "KMSInternalException"), fault.get("message"))
        credentials = sigv4.verify(self.request, service="kms", region=self.region, registry=self.kms.registry,
                                   now=self.kms.clock.now(), skew=SKEW, body=raw)
        self.principal = credentials.principal
        if "denied" in self.struck:
            on = f" on resource: {self.body.get('KeyId')}"
            raise KMSError(
                "AccessDeniedException",
                identity.denial(self.struck["denied"].get("how"), self.principal.arn, f"kms:{self.operation}", on))
        handler = self.kms.operations.get(self.operation)
        if (handler is None or self.request.method != "POST" or self.request.path != "/"
                or self.request.headers.get("content-type") != CONTENT_TYPE):
            raise KMSError("UnknownOperationException")
        self.context = encryption_context(self.body)
        self.document = self.recipient()
        with self.kms.lock:
            members = handler(self)
        if "answer" in self.struck:
            members = {k: v for k, v in {**members, **self.struck["answer"].get("members")}.items() if v is not None}
        return members

    def parse(self, raw: bytes) -> dict:
        try:
            body = json.loads(raw or b"{}")
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise KMSError("SerializationException", "the body is not a JSON object")
        return body

    # --- who may

    def recipient(self) -> attestation_check.Document | None:
        given = member(self.body, "Recipient", dict)
        if given is None:
            return None
        if self.operation not in ("Decrypt", "GenerateDataKey"):
            raise KMSError("ValidationException", f"{self.operation} takes no Recipient")
        if member(given, "KeyEncryptionAlgorithm", str, required=True) != "RSAES_OAEP_SHA_256":
            raise KMSError("ValidationException", "KeyEncryptionAlgorithm must be RSAES_OAEP_SHA_256")
        data = blob(given, "AttestationDocument", 262144)
        now = self.kms.clock.now()
        try:
            document = attestation_check.verify(data, self.kms.root_der, now)
        except attestation_check.DocumentError as e:
            raise KMSError("ValidationException", f"The attestation document is not valid: {e}") from e
        if not now - DOCUMENT_MAXIMUM_AGE <= document.timestamp / 1000 <= now + SKEW:
            raise KMSError("ValidationException", "The attestation document has expired: it is older than five minutes")
        self.check_public_key(document)
        return document

    @staticmethod
    def check_public_key(document: attestation_check.Document):
        try:
            key = serialization.load_der_public_key(document.public_key or b"")
        except ValueError:
            key = None
        if not isinstance(key, rsa.RSAPublicKey) or not 2048 <= key.key_size <= 4096:
            raise KMSError("ValidationException", "The attestation document has no RSA public key of 2048 to 4096 bits")

    def condition_keys(self) -> dict:
        keys = {f"kms:EncryptionContext:{name}": value for name, value in self.context.items()}
        if self.context:
            keys["kms:EncryptionContextKeys"] = sorted(self.context)
        if self.alias:
            keys["kms:RequestAlias"] = "alias/" + self.alias.partition("alias/")[2]
        if self.document and self.document.kind == "nitrotpm_pcrs":
            keys |= {f"kms:RecipientAttestation:NitroTPMPCR{n}": v.hex() for n, v in self.document.pcrs.items()}
        elif self.document:
            keys |= {f"kms:RecipientAttestation:PCR{n}": v.hex() for n, v in self.document.pcrs.items()}
            keys["kms:RecipientAttestation:ImageSha384"] = self.document.pcrs.get(0, b"").hex()
        return keys | {
            "kms:CallerAccount": self.principal.account,
            "kms:KeySpec": "SYMMETRIC_DEFAULT",
            "kms:KeyUsage": "ENCRYPT_DECRYPT",
            "kms:KeyOrigin": "AWS_KMS",
            "kms:EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "aws:PrincipalArn": self.principal.role or self.principal.arn,
            "aws:PrincipalAccount": self.principal.account,
            "aws:PrincipalType": "AssumedRole" if self.principal.role else "User",
            "aws:RequestedRegion": self.region,
            "aws:SecureTransport": "true" if self.request.secure else "false",
            "aws:SourceIp": self.request.peer,
            "aws:CurrentTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    def authorize(self, key: Key | None, action: str, document: dict | None = None):
        """document: judge by this key policy instead of the key's own."""
        context = policy.Context(action, self.principal, key.arn if key else "*", self.condition_keys())
        owner = key.account if key else self.principal.account
        key_policy = document or (key.policy if key else default_policy(owner))
        decision = policy.authorize(key_policy, context, owner)
        self.reason = decision.reason
        if not decision:
            raise KMSError("AccessDeniedException", self.denial(action, key, decision))

    def denial(self, action: str, key: Key | None, decision) -> str:
        """KMS says neither which condition failed nor whether the key exists; the audit log here does."""
        how, on = "resource-deny" if decision.effect == "Deny" else "resource", ""
        if key and key.account == self.principal.account:
            on = f" on resource: {key.arn}"
        elif action == "kms:Decrypt":
            on = " on the resource associated with this ciphertext"
        return identity.denial(how, self.principal.arn, action, on)

    def check_lockout(self, key: Key, document: dict):
        if member(self.body, "BypassPolicyLockoutSafetyCheck", bool):
            return
        context = policy.Context("kms:PutKeyPolicy", self.principal, key.arn, self.condition_keys())
        if not policy.authorize(document, context, key.account):
            raise policy.MalformedPolicy(
                "The new key policy will not allow you to update the key policy in the future.")

    def policy_name(self):
        if member(self.body, "PolicyName", str) not in (None, "default"):
            raise KMSError("NotFoundException", "No such policy exists")

    def dry_run(self):
        """After everything that could refuse the request."""
        if member(self.body, "DryRun", bool):
            raise KMSError("DryRunOperationException",
                           "The request would have succeeded, but the DryRun option is set.")

    def target(self, action: str, states: tuple | None = None, *, alias: bool = False, name: str = "KeyId") -> Key:
        """What uses a key takes its aliases, too; what administers it does not."""
        reference = member(self.body, name, str, required=True, maximum=2048)
        if self.kms.is_alias(reference) and not alias:
            raise KMSError("NotFoundException", f"Invalid keyId '{reference}'")
        self.key = self.kms.find(reference, self.principal.account, self.region)
        self.alias = reference if self.kms.is_alias(reference) else None
        self.authorize(self.key, action)
        if states and self.key.state not in states:
            code = "DisabledException" if self.key.state == "Disabled" else "KMSInvalidStateException"
            words = "disabled." if self.key.state == "Disabled" else "pending deletion."
            raise KMSError(code, f"{self.key.arn} is {words}")
        return self.key

    # --- answers

    def deliver(self, plaintext: bytes) -> dict:
        """The plaintext itself, or wrapped for the recipient that the document vouches for."""
        if self.document is None:
            return {"Plaintext": encoded(plaintext)}
        wanted = self.kms.settings["cms"]
        self.kms.answers += 1
        shape = cms.SHAPES[self.kms.answers % 2] if wanted == "alternate" else wanted
        make = cms.envelop
        if "cms" in self.struck:
            make = cms.MALFORMED[self.struck["cms"].get("shape")]
        wrapped = make(plaintext, self.document.public_key, shape)
        return {} if wrapped is None else {"CiphertextForRecipient": encoded(wrapped)}

    def log(self, result: str, message: str | None = None):
        pcrs = {str(n): v.hex() for n, v in self.document.pcrs.items()} if self.document else None
        self.kms.audit.write("kms", self.operation or "?", result=result, message=message, reason=self.reason,
                             principal=self.principal.arn if self.principal else None,
                             key=self.key.arn if self.key else None, encryption_context=self.context, pcrs=pcrs,
                             request_id=self.request.id, user_agent=self.request.headers.get("user-agent"),
                             faults=sorted(self.struck))

    def succeed(self, members: dict) -> Response:
        """Operations that answer nothing have an empty body."""
        self.log("ok")
        return Response(200, json.dumps(members).encode() if members else b"", self.headers(), faults=self.struck)

    def headers(self) -> dict:
        return {
            "Content-Type": CONTENT_TYPE, "x-amzn-RequestId": self.request.id, "Cache-Control": "no-cache, no-store"
        }

    def refuse(self, code: str, message: str | None) -> Response:
        fault = self.struck.get("error")
        status = (fault and fault.get("status")) or STATUS.get(code, 400)
        self.log(code, message)
        body = {"__type": code} | ({"message": message} if message else {})
        return Response(status, json.dumps(body).encode(), self.headers(), faults=self.struck)
