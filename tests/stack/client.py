# SPDX-License-Identifier: Apache-2.0
"""Tests' side of the control API."""

import json
import urllib.error
import urllib.parse
import urllib.request


class ControlError(RuntimeError):
    pass


class Control:
    def __init__(self, url: str):
        self.url = url.rstrip("/")

    def call(self, method: str, path: str, body: dict | bytes | None = None):
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        request = urllib.request.Request(self.url + path, data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                content = answer.read()
                is_json = answer.headers.get_content_type() == "application/json"
        except urllib.error.HTTPError as e:
            raise ControlError(f"{method} {path}: {e.read().decode()}") from e
        return json.loads(content) if is_json else content

    def info(self) -> dict:
        return self.call("GET", "/")

    def fault(self, kind: str, **fault) -> int:
        """For example fault("error", service="s3", operation="GetObject", code="SlowDown", count=3); skip=N lets the
        first N matching requests pass. See faults.KINDS."""
        return self.call("POST", "/faults", {"kind": kind, **fault})["id"]

    def faults(self) -> list[dict]:
        return self.call("GET", "/faults")

    def clear_faults(self):
        self.call("DELETE", "/faults")

    def settings(self, **changes) -> dict:
        return self.call("PATCH", "/settings", changes) if changes else self.call("GET", "/settings")

    def user_data(self, data: bytes | str | dict | None):
        if data is None:
            return self.call("DELETE", "/user-data")
        data = json.dumps(data) if isinstance(data, dict) else data
        return self.call("PUT", "/user-data", data.encode() if isinstance(data, str) else data)

    def audit(self, **match) -> list[dict]:
        return self.call("GET", "/audit?" + urllib.parse.urlencode(match))

    def clear_audit(self):
        self.call("DELETE", "/audit")

    def autoscaling(self, **changes) -> dict:
        """The instance in its Auto Scaling group, after {advance: seconds} or {enter_service: true}."""
        return self.call("PATCH", "/autoscaling", changes)

    def launch(self, **how):
        """Anew, in the Auto Scaling group: pool, timeout, default."""
        self.call("POST", "/autoscaling", how)

    def tpm(self) -> dict:
        return self.call("GET", "/tpm")

    def tpm_reset(self):
        self.call("POST", "/tpm/reset", {})

    def tpm_extend(self, index: int, **digests: bytes):
        self.call("POST", "/tpm/extend", {"index": index, "digests": {bank: d.hex() for bank, d in digests.items()}})

    def document(self, shape: str | None = None, pcrs: dict[int, bytes | None] | None = None,
                 **fields: bytes) -> bytes:
        """pcrs: other values than the TPM's; None leaves a PCR out."""
        body = {"shape": shape, "pcrs": {str(n): v and v.hex() for n, v in (pcrs or {}).items()}}
        return self.call("POST", "/tpm/document", body | {name: value.hex() for name, value in fields.items()})

    def credentials(self, lifetime: int = 3600) -> dict:
        return self.call("POST", "/credentials", {"lifetime": lifetime})

    def link_object(self, bucket: str, key: str, path: str) -> dict:
        """An object whose bytes are that local file's, which must not change any more."""
        return self.call("PUT", f"/objects/{bucket}/{urllib.parse.quote(key)}", {"alias": path})
