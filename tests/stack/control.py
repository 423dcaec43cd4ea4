# SPDX-License-Identifier: Apache-2.0
"""The control API: JSON over HTTP, for tests to arrange the world and to see what happened in it.

    GET    /                    environment and facts
    GET    /faults              faults with their hits      POST /faults {kind, service, ...}    DELETE /faults[/ID]
    GET    /settings            PATCH /settings             {cms, clock, tpm_clock, imds: {...}} (imds.IMDS)
    PUT    /user-data           the body as it is           DELETE /user-data
    GET    /audit[?field=value] DELETE /audit
    GET    /tpm                 {nv: [...], pcrs: {bank: {index: hex}}, documents: count}
    POST   /tpm/reset           power off and on, and forget wrong auth values
    POST   /tpm/extend          {index, digests: {bank: hex}}
    POST   /tpm/document        {shape, pcrs: {index: hex or null}, user_data, nonce, public_key: hex} -> its bytes
    POST   /credentials         {lifetime} -> role credentials as IMDS gives them, for tests of expiry
    GET    /autoscaling         the instance in its Auto Scaling group: {state, target, ended_by, history, ...}
    POST   /autoscaling         {pool, timeout, default}: launch it anew, into service or into the warm pool
    PATCH  /autoscaling         {advance}: let so many seconds pass for hooks, or {enter_service: true}
    PUT    /objects/KEY         {"alias": path}: make an object of a file without copying it through HTTP"""

import json
import os
import urllib.parse

from . import autoscaling, cms, swtpm
from .web import Request, Response, Server

BANKS = {name: algorithm for algorithm, (name, _) in swtpm.HASHES.items()}


class Control:
    def __init__(self, stack):
        self.stack = stack
        self.server = Server(self.answer, stack.clock)
        self.url = self.server.url

    def answer(self, request: Request) -> Response:
        room, _, rest = request.path.lstrip("/").partition("/")
        handler = getattr(self, f"{request.method.lower()}_{room.replace('-', '_') or 'root'}", None)
        if handler is None:
            return self.json({"error": f"no {request.method} {request.path}"}, 404)
        try:
            result = handler(request, rest)
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as e:
            return self.json({"error": f"{type(e).__name__}: {e}"}, 400)
        return result if isinstance(result, Response) else self.json(result)

    @staticmethod
    def json(value, status: int = 200) -> Response:
        return Response(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    @staticmethod
    def body(request: Request) -> dict:
        return json.loads(request.body() or b"{}")

    def get_root(self, _request, _rest):
        return {"environment": self.stack.environment(), **self.stack.facts()}

    # --- faults and settings

    def get_faults(self, _request, _rest):
        return self.stack.faults.list()

    def post_faults(self, request, _rest):
        return {"id": self.stack.faults.add(**self.body(request)).id}

    def delete_faults(self, _request, rest):
        self.stack.faults.clear(int(rest) if rest else None)
        return {}

    def get_settings(self, _request, _rest):
        stack = self.stack
        imds = {k: v for k, v in stack.settings["imds"].items() if k != "user_data"}
        return {
            "cms": stack.settings["cms"], "clock": stack.clock.offset, "tpm_clock": stack.tpm_clock.offset, "imds": imds
        }

    def patch_settings(self, request, _rest):
        changes = self.body(request)
        known = self.get_settings(None, None)
        unknown = [k
                   for k in changes if k not in known] + [k for k in changes.get("imds", {}) if k not in known["imds"]]
        if unknown:
            raise ValueError(f"unknown settings {unknown}")
        if changes.get("cms", "alternate") not in ("alternate", cms.PIECES, *cms.SHAPES):
            raise ValueError(f"no CMS shape {changes['cms']}")
        self.stack.clock.offset = changes.get("clock", self.stack.clock.offset)
        self.stack.tpm_clock.offset = changes.get("tpm_clock", self.stack.tpm_clock.offset)
        self.stack.settings["cms"] = changes.get("cms", known["cms"])
        self.stack.settings["imds"].update(changes.get("imds", {}))
        return self.get_settings(None, None)

    def put_user_data(self, request, _rest):
        self.stack.settings["imds"]["user_data"] = request.body()
        return {}

    def delete_user_data(self, _request, _rest):
        self.stack.settings["imds"]["user_data"] = None
        return {}

    def get_audit(self, request, _rest):
        return self.stack.audit.read(**dict(request.query))

    def delete_audit(self, _request, _rest):
        self.stack.audit.clear()
        return {}

    # --- Auto Scaling

    def get_autoscaling(self, _request, _rest):
        group = self.stack.autoscaling.groups[autoscaling.GROUP]
        group.expire()
        return {name: value for name, value in vars(next(iter(group.members.values()))).items() if name != "token"}

    def post_autoscaling(self, request, _rest):
        self.stack.launch(**self.body(request))
        return {}

    def patch_autoscaling(self, request, _rest):
        changes, group = self.body(request), self.stack.autoscaling.groups[autoscaling.GROUP]
        self.stack.autoscaling.hook_clock.offset += changes.get("advance", 0)
        if changes.get("enter_service"):
            group.enter_service(next(iter(group.members)))
        return self.get_autoscaling(None, None)

    # --- TPM

    def get_tpm(self, _request, _rest):
        tpm = self.stack.tpm
        with tpm.lock:
            banks = {name: {str(n): value.hex() for n, value in tpm.real.pcrs(algorithm).items()}
                     for name, algorithm in BANKS.items()}
            return {"nv": tpm.real.handles("nv"), "pcrs": banks, "documents": tpm.documents}

    def post_tpm(self, request, rest):
        return {"reset": self.reset, "extend": self.extend, "document": self.document}[rest](self.body(request))

    def reset(self, _body):
        with self.stack.tpm.lock:
            self.stack.swtpm.reset()
            self.stack.swtpm.forgive()
        return {}

    def extend(self, body):
        digests = {BANKS[bank]: bytes.fromhex(value) for bank, value in body["digests"].items()}
        with self.stack.tpm.lock:
            self.stack.swtpm.extend(body["index"], digests)
        return {}

    def document(self, body):
        fields = {name: bytes.fromhex(body[name]) for name in ("user_data", "nonce", "public_key") if body.get(name)}
        pcrs = {int(n): v and bytes.fromhex(v) for n, v in body.get("pcrs", {}).items()}
        data = self.stack.tpm.document(shape=body.get("shape"), pcrs=pcrs, **fields)
        return Response(200, data, {"Content-Type": "application/octet-stream"})

    # --- identities and objects

    def post_credentials(self, request, _rest):
        lifetime = self.body(request).get("lifetime", 3600)
        issued = self.stack.registry.issue(self.stack.instance, self.stack.clock.now() + lifetime, token=True)
        return {"AccessKeyId": issued.access_key_id, "SecretAccessKey": issued.secret_access_key,
                "Token": issued.session_token, "Expiration": self.stack.clock.iso(lifetime)}

    def put_objects(self, request, rest):
        """A hard link, or a copy where that is not possible."""
        source, store = self.body(request)["alias"], self.stack.store
        name, _, key = urllib.parse.unquote(rest).partition("/")
        path = store.new_path()
        os.link(source, path)
        size = os.path.getsize(path)
        version = store.put(store.buckets[name], key, path, size, os.urandom(16).hex(), "binary/octet-stream", {})
        return {"etag": version.etag}
