# SPDX-License-Identifier: Apache-2.0
"""The whole stack in one process: TPM, metadata, KMS, S3 and the control API, on ephemeral loopback ports."""

import os
import time

from . import pki, web
from .audit import Audit
from .autoscaling import GROUP, AutoScaling, Hook
from .clock import Clock
from .control import Control
from .emulator import NitroTPM
from .faults import Faults
from .identity import Registry, role_session, user
from .imds import IMDS
from .kms import KMS
from .qemu import Server as QemuServer
from .s3 import S3
from .store import Store
from .swtpm import SWTPM
from .tpm_server import Server as TPMServer

REGION = "us-east-1"
OWNER_ACCOUNT, CONSUMER_ACCOUNT = "111122223333", "444455556666"
OWNER, ROLE, INSTANCE = "model-owner", "sealboot-instance", "i-0123456789abcdef0"
BUCKET = "sealed-models"


def write(path: str, data: bytes, mode: int = 0o644) -> str:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as f:
        f.write(data)
    return path


def bucket_policy(role_arn: str) -> dict:
    return {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": role_arn},
         "Action": ["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket"],
         "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]}]}


class Stack:
    """tls: the exported endpoints are the HTTPS ones (both always exist). qemu: the TPM is a virtual machine's."""

    def __init__(self, directory: str, *, tls: bool = False, qemu: bool = False,
                 consumer_account: str = CONSUMER_ACCOUNT):
        self.directory, self.tls, self.qemu = directory, tls, qemu
        self.clock, self.tpm_clock, self.faults = Clock(), Clock(), Faults()
        self.audit = Audit(self.path("audit.jsonl"), self.clock)
        self.settings = {"cms": "alternate", "imds": {"mode": "v2", "role": ROLE, "credentials_lifetime": 6 * 3600,
                                                      "lifecycle_state": None, "interruption": None, "user_data": None}}
        self.make_certificates()
        self.registry = Registry()
        self.instance = role_session(consumer_account, ROLE, INSTANCE)
        self.owner = self.registry.issue(user(OWNER_ACCOUNT, OWNER))
        self.start_tpm()
        self.start_services(consumer_account)
        self.control = Control(self)

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def make_certificates(self):
        now = int(time.time())
        self.attestation_root = pki.root(now)
        write(self.path("attestation-root.pem"), self.attestation_root.pem)
        authority, server = pki.server(now)
        write(self.path("tls-ca.pem"), authority.pem)
        self.certificate = write(self.path("tls-server.pem"), server.pem + authority.pem)
        self.private_key = write(self.path("tls-server.key"), pki.private_pem(server), 0o600)

    def start_tpm(self):
        self.swtpm = SWTPM(self.path("tpm"), startup=not self.qemu)
        self.tpm = NitroTPM(self.swtpm, self.attestation_root, self.tpm_clock, self.faults)
        self.tpm_server = TPMServer(self.tpm, self.faults)
        if self.qemu:
            self.qemu_server = QemuServer(self.path("qemu-tpm.socket"), self.tpm, self.faults)

    def start_services(self, consumer_account: str):
        common = {"region": REGION, "registry": self.registry, "clock": self.clock, "faults": self.faults,
                  "audit": self.audit}
        self.store = Store(self.path("s3"), self.clock)
        self.store.create(BUCKET, OWNER_ACCOUNT).policy = bucket_policy(self.instance.role)
        self.kms = KMS(root_der=self.attestation_root.der, settings=self.settings, **common)
        self.s3 = S3(store=self.store, **common)
        self.imds = IMDS(account=consumer_account, principal=self.instance, settings=self.settings["imds"], **common)
        self.autoscaling = AutoScaling(**common)
        self.launch()
        context = web.tls_context(self.certificate, self.private_key)
        self.servers = {name: web.Server(service.answer, self.clock, tls) for name, service, tls in (
            ("imds", self.imds, None), ("kms", self.kms, None), ("s3", self.s3, None),
            ("autoscaling", self.autoscaling, None), ("kms_tls", self.kms, context), ("s3_tls", self.s3, context))}

    def launch(self, pool: str | None = None, **hook):
        """The instance is new in its Auto Scaling group, whose hook waits for it. What the metadata service says of
        that is a setting of its own."""
        self.autoscaling.hook_clock.offset = 0
        group = self.autoscaling.add_group(GROUP, Hook(**hook))
        group.launch(INSTANCE, self.instance.account, pool)

    def environment(self) -> dict[str, str]:
        suffix = "_tls" if self.tls else ""
        return {
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL_S3": self.servers["s3" + suffix].url,
            "AWS_ENDPOINT_URL_KMS": self.servers["kms" + suffix].url,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.servers["imds"].url,
            "AWS_ACCESS_KEY_ID": self.owner.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.owner.secret_access_key,
            "AWS_CA_BUNDLE": self.path("tls-ca.pem"),
            "TPM2TOOLS_TCTI": self.tpm_server.tcti,
            "SEALBOOT_ATTESTATION_ROOT": self.path("attestation-root.pem"),
            "SEALBOOT_STACK": self.directory,
            "SEALBOOT_STACK_CONTROL": self.control.url,
        }

    def facts(self) -> dict:
        """What tests want to know beyond the environment."""
        return {
            "bucket": BUCKET, "owner_account": OWNER_ACCOUNT, "owner_arn": self.owner.principal.arn,
            "role_arn": self.instance.role, "session_arn": self.instance.arn, "consumer_account": self.instance.account,
            "endpoints": {name: server.url for name, server in self.servers.items()},
            "qemu_tpm": self.path("qemu-tpm.socket") if self.qemu else None,
        }

    def stop(self):
        self.swtpm.stop()
