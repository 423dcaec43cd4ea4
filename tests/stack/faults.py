# SPDX-License-Identifier: Apache-2.0
"""Faults that tests ask for: what goes wrong, where, how often."""

import fnmatch
import itertools
import threading
from dataclasses import asdict, dataclass, field

KINDS = {
    # of every HTTP service
    "latency": "wait `seconds` before answering",
    "slow": "send the body at `rate` bytes a second",
    "reset": "reset the connection after `after` bytes of the body (absent: before any answer)",
    "truncate": "close the connection in order after `after` bytes of the body",
    "error": "answer with `status`, `code` and `message` in the service's own form",
    "denied": "refuse as the policy kind `how` would (identity.DENIALS), for `action` or the operation's own",
    # of the metadata service
    "starting": "answer as in the first seconds of an instance, in the way of `how` (imds.STARTING)",
    # of Auto Scaling
    "not-waiting": "say that the instance waits for no lifecycle action",
    # of S3
    "corrupt": "flip bit 0 of the byte at `offset` of the object",
    "content-range": "claim a Content-Range that is `shift` bytes off (default 1)",
    "whole": "answer 200 with the whole object instead of 206 with the range",
    "short": "send `missing` bytes less than asked for, with matching headers",
    "replace": "replace the object by a new version (its bytes inverted) before answering",
    "etag": "answer with the ETag `etag`",
    # of KMS
    "cms": "malform the CiphertextForRecipient in the way of `shape` (cms.MALFORMED)",
    "answer": "merge `members` into the JSON answer (null removes one)",
    # of the TPM
    "rc": "answer the TPM command with response code `rc`",
    "close": "close the TPM connection instead of answering",
    "document": "make the attestation document malformed in the way of `shape` (malformed.SHAPES)",
    "response": "answer the attestation request with the CBOR bytes `hex`",
}
WIRE = ("latency", "slow", "reset", "truncate", "error")
READING = ("corrupt", "content-range", "whole", "short", "replace", "etag")


@dataclass
class Fault:
    kind: str
    service: str = "*"              # s3, kms, imds, tpm
    operation: str = "*"            # GetObject, Decrypt, PUT /latest/api/token, NV_Write, ...
    key: str = "*"                  # bucket/key, key ARN, path, NV index
    count: int | None = 1           # how often; None: always
    after: int = 0                  # let so many matching requests pass first
    parameters: dict = field(default_factory=dict)
    id: int = 0
    hits: int = 0

    def matches(self, service: str, operation: str, key: str) -> bool:
        pairs = ((self.service, service), (self.operation, operation), (self.key, key))
        return all(fnmatch.fnmatchcase(value, pattern) for pattern, value in pairs)

    def get(self, name: str, default=None):
        return self.parameters.get(name, default)


class Faults:
    def __init__(self):
        self.lock, self.ids, self.faults = threading.Lock(), itertools.count(1), []

    def add(self, kind: str, *, service="*", operation="*", key="*", count=1, skip=0, **parameters) -> Fault:
        if kind not in KINDS:
            raise ValueError(f"no fault '{kind}'; there are {', '.join(KINDS)}")
        fault = Fault(kind, service, operation, key, count, skip, parameters, next(self.ids))
        with self.lock:
            self.faults.append(fault)
        return fault

    def take(self, service: str, operation: str, key: str, kinds: tuple[str, ...]) -> dict[str, Fault]:
        """The faults of these kinds that strike this request, by kind; each is used up once more."""
        struck = {}
        with self.lock:
            for fault in self.faults:
                if fault.kind not in kinds or fault.kind in struck or not fault.matches(service, operation, key):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                elif fault.count is None or fault.hits < fault.count:
                    fault.hits += 1
                    struck[fault.kind] = fault
        return struck

    def list(self) -> list[dict]:
        with self.lock:
            return [asdict(fault) for fault in self.faults]

    def clear(self, id: int | None = None):
        with self.lock:
            self.faults = [f for f in self.faults if id is not None and f.id != id]
