# SPDX-License-Identifier: Apache-2.0
"""A running local stack, as tests see it: its environment, stock clients, keys, and what a failed boot may leave
behind."""

import json
import os
import pathlib
import subprocess

from .client import Control

DIRECTORY = pathlib.Path(__file__).resolve().parent
ADMINISTRATION = [
    "kms:CreateKey", "kms:DescribeKey", "kms:PutKeyPolicy", "kms:GetKeyPolicy", "kms:EnableKey", "kms:DisableKey",
    "kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion", "kms:ReplicateKey", "kms:Encrypt", "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext", "kms:Decrypt", "kms:CreateAlias", "kms:UpdateAlias", "kms:DeleteAlias"
]


def run(arguments, *, env: dict, timeout: float = 120, input: str | None = None,
        cwd=None) -> subprocess.CompletedProcess:
    return subprocess.run([str(a) for a in arguments], env=env, timeout=timeout, input=input, cwd=cwd,
                          stdin=None if input is not None else subprocess.DEVNULL, capture_output=True, text=True,
                          errors="surrogateescape", check=False)


class Stack:
    """A running local stack. env: an environment with nothing of AWS in it but the stack's."""

    def __init__(self, summary: dict):
        self.info, self.variables = summary, summary["environment"]
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "TPM2", "SEALBOOT_", "http", "HTTP"))
        }
        self.env = {**inherited, "AWS_EC2_METADATA_DISABLED": "true", **self.variables}
        self.directory = pathlib.Path(self.variables["SEALBOOT_STACK"])
        self.control = Control(self.variables["SEALBOOT_STACK_CONTROL"])
        self.bucket, self.role_arn = summary["bucket"], summary["role_arn"]
        self.region, self.endpoints, self.clients = self.variables["AWS_REGION"], summary["endpoints"], {}

    def calm(self):
        """Before each test: no faults, usual settings, no user data, a TPM that was just switched
        on, a lifecycle hook that waits."""
        self.control.clear_faults()
        self.control.settings(cms="alternate", clock=0, tpm_clock=0,
                              imds={"mode": "v2", "role": "sealboot-instance", "credentials_lifetime": 6 * 3600,
                                    "lifecycle_state": None, "interruption": None})
        self.control.launch()
        self.control.user_data(None)
        self.control.tpm_reset()

    def client(self, service: str, credentials: dict | None = None, *, tls: bool = False, region: str | None = None,
               **config):
        """A stock boto3 client; credentials as Control.credentials() gives them, by default the model owner's."""
        import boto3
        from botocore.config import Config
        keys = credentials or {"AccessKeyId": self.variables["AWS_ACCESS_KEY_ID"],
                               "SecretAccessKey": self.variables["AWS_SECRET_ACCESS_KEY"], "Token": None}
        return boto3.client(service, region_name=region or self.region,
                            endpoint_url=self.endpoints[service + "_tls" * tls],
                            verify=self.variables["AWS_CA_BUNDLE"] if tls else None,
                            aws_access_key_id=keys["AccessKeyId"], aws_secret_access_key=keys["SecretAccessKey"],
                            aws_session_token=keys["Token"], config=Config(s3={"addressing_style": "path"},
                                                                           retries={"total_max_attempts": 1}, **config))

    def owners(self, service: str):
        """The owner's client, made once: that takes boto3 a while."""
        if service not in self.clients:
            self.clients[service] = self.client(service)
        return self.clients[service]

    def kms(self, credentials: dict | None = None, **more):
        return self.client("kms", credentials, **more) if credentials or more else self.owners("kms")

    def s3(self, credentials: dict | None = None, **more):
        return self.client("s3", credentials, **more) if credentials or more else self.owners("s3")

    def tpm(self, *arguments, **more) -> str:
        """Runs one of tpm2-tools; fails unless it succeeds."""
        process = run(arguments, env=self.env, **more)
        assert process.returncode == 0, process.stderr
        return process.stdout

    def pcr(self, index: int, bank: str = "sha384") -> str:
        return self.control.tpm()["pcrs"][bank][str(index)]

    def key_policy(self, pcrs: dict[int, str] | None = None, context: dict[str, str] | None = None) -> dict:
        """The owner administers; the instance role decrypts into a recipient with those PCRs (default: 4, 7, 12 and 15
        as they are now)."""
        pcrs = {n: self.pcr(n) for n in (4, 7, 12, 15)} if pcrs is None else pcrs
        conditions = {f"kms:RecipientAttestation:NitroTPMPCR{n}": value for n, value in pcrs.items()}
        release = {"StringEqualsIgnoreCase": conditions} if conditions else {}
        if context:
            release["StringEquals"] = {f"kms:EncryptionContext:{k}": v for k, v in context.items()}
        return {
            "Version": "2012-10-17", "Statement": [{
                "Sid": "Administer", "Effect": "Allow", "Principal": {"AWS": self.info["owner_arn"]},
                "Action": ADMINISTRATION, "Resource": "*"
            }, {
                "Sid": "Release", "Effect": "Allow", "Principal": {"AWS": self.role_arn}, "Action": "kms:Decrypt",
                "Resource": "*", "Condition": release
            }]
        }

    def create_key(self, **policy) -> str:
        """The ARN of a new key with key_policy(**policy)."""
        return self.kms().create_key(Policy=json.dumps(self.key_policy(**policy)))["KeyMetadata"]["Arn"]

    def nothing_left(self, model_directory: pathlib.Path | None = None):
        """A failed boot leaves no NV index, no extended PCR15 and no file behind."""
        tpm = self.control.tpm()
        assert tpm["nv"] == [], f"NV indices left: {[hex(i) for i in tpm['nv']]}"
        for bank, pcrs in tpm["pcrs"].items():
            assert set(pcrs["15"]) == {"0"}, f"PCR15 was extended in bank {bank}"
        if model_directory and model_directory.exists():
            left = sorted(str(p.relative_to(model_directory)) for p in model_directory.rglob("*") if not p.is_dir())
            assert left == [], f"files left: {left}"


def start(*options) -> Stack:
    up = subprocess.run([DIRECTORY / "up", "--json", "--parent-pid", str(os.getpid()), *options], capture_output=True,
                        text=True, check=False)
    assert up.returncode == 0, up.stderr
    return Stack(json.loads(up.stdout))


def end(running: Stack):
    """The log has only what the stack itself did wrong."""
    log = (running.directory / "log").read_text()
    subprocess.run([DIRECTORY / "down", running.directory], check=True)
    assert log == "", log
