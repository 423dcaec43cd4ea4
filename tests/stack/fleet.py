# SPDX-License-Identifier: Apache-2.0
"""Many instances on one local stack: each has a TPM, a metadata service, a role session and an agent of its own. KMS,
S3 and Auto Scaling are shared, and Auto Scaling decides what becomes of a machine: a change of state switches it off.

The stack runs in this process, so that a story can follow one instance without asking."""

import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from . import identity, session, web
from .autoscaling import Group, Hook, Member
from .emulator import NitroTPM
from .imds import IMDS
from .local_aws import CONSUMER_ACCOUNT, ROLE, Stack
from .swtpm import SWTPM
from .tpm_server import Server as TPMServer

BANK = 0x000C                               # SHA-384
OFF = ("Warmed:Stopped", "Warmed:Hibernated", "Terminated", "Warmed:Terminated")
SETTLED = (*OFF, "InService", "Warmed:Running")


class Host:
    """What stays when a machine is switched off: a TPM for the next one."""

    def __init__(self, fleet: "Fleet", number: int):
        self.swtpm = SWTPM(fleet.path(f"tpm-{number}"))
        self.tpm = NitroTPM(self.swtpm, fleet.stack.attestation_root, fleet.stack.tpm_clock, fleet.stack.faults)
        self.tcti = TPMServer(self.tpm, fleet.stack.faults).tcti

    def power_on(self, pcrs: dict[int, bytes]):
        with self.tpm.lock:
            self.swtpm.reset()
            self.swtpm.forgive()
            for index, digest in pcrs.items():
                self.swtpm.extend(index, {BANK: digest})

    def pcr15(self) -> str:
        with self.tpm.lock:
            return self.swtpm.pcrs(BANK)[15].hex()

    def nv(self) -> list:
        with self.tpm.lock:
            return self.swtpm.handles("nv")


class Boot:
    """One boot of a machine, from power-on to power-off."""

    def __init__(self, process: subprocess.Popen, report: pathlib.Path, log: pathlib.Path):
        self.process, self.report_path, self.log_path = process, report, log
        self.began, self.pcr15, self.nv = time.monotonic(), None, None

    @property
    def code(self) -> int | None:
        return self.process.returncode

    @property
    def report(self) -> dict:
        return json.loads(self.report_path.read_text())

    @property
    def log(self) -> str:
        return self.log_path.read_text()


class Machine:
    """pcrs: what this image extends before its agent starts, beyond what the key policy expects."""

    def __init__(self, fleet: "Fleet", group: Group, member: Member, user_data: bytes, pcrs: dict[int, bytes],
                 policies: tuple):
        self.fleet, self.group, self.member, self.pcrs = fleet, group, member, pcrs
        self.directory = fleet.memory / member.id
        self.host, self.boots, self.lock = None, [], threading.RLock()
        self.settings = {"mode": "v2", "role": ROLE, "credentials_lifetime": 6 * 3600, "lifecycle_state": member.target,
                         "interruption": None, "user_data": user_data}
        principal = identity.role_session(member.account, ROLE, member.id, policies=policies)
        stack = fleet.stack
        self.server = web.Server(IMDS(region="us-east-1", account=member.account, principal=principal,
                                      registry=stack.registry, clock=stack.clock, faults=stack.faults,
                                      audit=stack.audit, settings=self.settings).answer, stack.clock)

    @property
    def boot(self) -> Boot:
        return self.boots[-1]

    def power_on(self):
        """The memory is empty, and the TPM at its start."""
        with self.lock:
            assert self.host is None
            self.host = self.fleet.take_host()
            self.host.power_on(self.pcrs)
            self.directory.mkdir(mode=0o700)
            place = self.fleet.directory / f"{self.member.id}-{len(self.boots)}"
            config, report, log = (place.with_suffix(suffix) for suffix in (".config", ".json", ".log"))
            config.write_text(json.dumps({
                **self.fleet.config, "model_directory": str(self.directory), "report": str(report),
                "measurement_log": str(place.with_suffix(".measurements")),
                "lifecycle_hook": {"group": self.group.name, "name": self.group.hook.name},
                "endpoints": {**self.fleet.endpoints, "imds": self.server.url}
            }))
            with open(log, "wb") as output:
                self.boots.append(Boot(subprocess.Popen(
                    [self.fleet.agent, "--config", config, "--tcti", self.host.tcti], stdin=subprocess.DEVNULL,
                    stdout=output, stderr=output, env=self.fleet.env), report, log))

    def power_off(self, grace: float):
        """As a shutdown does it: the agent is asked to end, and then made to. Nothing of the memory stays."""
        with self.lock:
            if self.host is None:
                return
            process = self.boot.process
            try:
                process.wait(grace)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            self.look()
            shutil.rmtree(self.directory)
            self.fleet.give_host(self.host)
            self.host = None

    def look(self):
        """What this boot has left in the TPM and in memory."""
        with self.lock:
            if self.host:
                self.boot.pcr15, self.boot.nv = self.host.pcr15(), self.host.nv()
                self.boot.files = {str(p.relative_to(self.directory)): p.read_bytes()
                                   for p in self.directory.rglob("*") if p.is_file()}

    def settle(self, seconds: float = 120) -> str:
        """Waits until Auto Scaling holds the instance no more, and until what follows from that is done: the agent has
        ended, unless it is to wait in the warm pool, and a machine that is not to run is off."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            state = self.member.state
            if state in SETTLED and (self.host is None if state in OFF else
                                     state == "Warmed:Running" or self.boot.process.poll() is not None):
                self.look()
                return state
            if self.boot.code is None:
                self.boot.process.poll()
            time.sleep(0.02)
        raise TimeoutError(f"{self.member} does not settle: {self.boot.log}")


class Fleet:
    """config: of every agent, without what differs. Call end() when done."""

    def __init__(self, build: pathlib.Path, **config):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="sealboot-fleet-"))
        self.memory = pathlib.Path(tempfile.mkdtemp(prefix="sealboot-fleet-", dir="/dev/shm"))
        self.agent, self.lock, self.hosts, self.free = build / "agent/sealboot-agent", threading.Lock(), [], []
        self.stack = Stack(self.path("stack"), consumer_account=CONSUMER_ACCOUNT)
        self.tests = session.Stack({"environment": self.stack.environment(), **self.stack.facts()})
        self.endpoints = {name: self.tests.endpoints[name] for name in ("kms", "s3", "autoscaling")}
        self.config, self.machines, self.grace = config, {}, 0.0
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "TPM2"))}
        self.events = queue.SimpleQueue()
        threading.Thread(target=self.follow, daemon=True).start()

    def path(self, name: str) -> str:
        path = self.directory / name
        path.mkdir(exist_ok=True)
        return str(path)

    def take_host(self) -> Host:
        with self.lock:
            if not self.free:
                self.free.append(Host(self, len(self.hosts)))
                self.hosts.append(self.free[-1])
            return self.free.pop()

    def give_host(self, host: Host):
        with self.lock:
            self.free.append(host)

    def add_group(self, name: str, **hook) -> Group:
        return self.stack.autoscaling.add_group(name, Hook(**hook), self.changed)

    def launch(self, group: Group, user_data: bytes, *, pool: str | None = None, pcrs: dict[int, bytes] | None = None,
               policies: tuple = (identity.EVERYTHING,)) -> Machine:
        with self.lock:
            id = f"i-{0xf1ee70000 + len(self.machines):017x}"
            self.machines[id] = None
        member = group.launch(id, CONSUMER_ACCOUNT, pool)
        self.machines[id] = Machine(self, group, member, user_data, pcrs or {}, policies)
        return self.machines[id]

    def changed(self, member: Member):
        """Called by Auto Scaling, before it answers: the metadata service knows at once, and the machine soon."""
        machine = self.machines.get(member.id)
        if machine:
            machine.settings["lifecycle_state"] = member.target
            if member.state in OFF:
                self.events.put((machine, time.monotonic() + (self.grace if "Terminated" in member.state else 0)))

    def follow(self):
        """Switches machines off."""
        while (event := self.events.get()) is not None:
            machine, until = event
            threading.Thread(target=machine.power_off, args=(max(0.2, until - time.monotonic()),), daemon=True).start()

    def end(self):
        """No process and no file stays."""
        self.events.put(None)
        for machine in filter(None, self.machines.values()):
            machine.power_off(0)
        for host in self.hosts:
            host.swtpm.stop()
        self.stack.stop()
        shutil.rmtree(self.directory)
        shutil.rmtree(self.memory)
