# SPDX-License-Identifier: Apache-2.0
"""An Auto Scaling group of simulated instances with real agents: scale-out, warm pools, instance refresh, failures, and
hooks that time out. Each instance has a story, and the story says where it has to end."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import subprocess
import threading
import time

from sealer import DataKey, Sealed, verity
from stack.fleet import Fleet, Machine

CONTEXT = {"model": "m", "version": "1"}
ZEROS = "0" * 96
SLOW = 40_000                               # bytes per second
MODELS = {"v1.sealed": b"GGUF" + bytes(200_000), "v2.sealed": b"GGUF" + bytes(range(256)) * 800,
          "slow.sealed": b"GGUF" + bytes(160_000), "stuck.sealed": b"GGUF" + bytes(1_200_000)}

# How many instances each story is told of.
FULL = {"scale_out": 14, "stopped": 5, "stopped_and_stays": 3, "running": 4, "running_and_stays": 1, "hibernated": 3,
        "refresh": 6, "another_image": 2, "replacement": 2, "no_model": 1, "damaged": 1, "patient": 3,
        "no_heartbeats": 2, "killed": 1, "interrupted": 1, "garbage": 1}
SMALL = {"scale_out": 1, "stopped": 1, "running": 1, "hibernated": 1, "refresh": 1, "another_image": 1, "patient": 1,
         "no_heartbeats": 1}


class Simulation:
    def __init__(self, build: pathlib.Path, counts: dict[str, int], workers: int):
        self.build, self.counts, self.workers, self.ended = build, counts, workers, []
        self.fleet = Fleet(build, encryption_context={"model": "m"}, heartbeat_seconds=1, region="us-east-1")
        self.fleet.grace = 20
        tests = self.fleet.tests
        self.arn = tests.create_key()
        self.fleet.config["keys"] = [self.arn]
        self.upload()
        self.groups = {name: self.fleet.add_group(name, timeout=300) for name in ("inference", "patient", "late")}
        self.policies = {name: self.role_policy(name) for name in self.groups}
        # A role that was written before there were heartbeats.
        self.policies["late"]["Statement"][2]["Action"] = "autoscaling:CompleteLifecycleAction"

    def upload(self):
        tests = self.fleet.tests
        for name, plaintext in MODELS.items():
            message = bytes(Sealed(plaintext, DataKey.generate(tests.kms(), self.arn, CONTEXT)))
            tests.s3().put_object(Bucket=tests.bucket, Key=f"models/{name}", Body=message)
        damaged = message[:-2000] + bytes([message[-2000] ^ 1]) + message[-1999:]
        tests.s3().put_object(Bucket=tests.bucket, Key="models/damaged.sealed", Body=damaged)
        for name in ("slow", "stuck"):
            self.fleet.stack.faults.add("slow", service="s3", key=f"*{name}.sealed", count=None, rate=SLOW)

    def role_policy(self, group: str) -> dict:
        """As the product writes it: no instance may do more."""
        return json.loads(subprocess.run(
            [self.build / "policy/sealboot", "policy", "--for", "role", "--key", self.arn, "--model",
             f"s3://{self.fleet.tests.bucket}/models/", "--auto-scaling-group", group], check=True,
            capture_output=True).stdout)

    # ---- what stories are made of

    def launch(self, model: str = "v1.sealed", group: str = "inference", **more) -> Machine:
        data = {"sealboot": {"model": f"s3://{self.fleet.tests.bucket}/models/{model}"}}
        machine = self.fleet.launch(self.groups[group], json.dumps(data).encode(),
                                    policies=(self.policies[group],), **more)
        machine.model = MODELS.get(model)
        return machine

    def boot(self, machine: Machine, state: str, code: int | None):
        """Boots the machine until it is in that state. code: how the agent ended; None: it waits."""
        machine.power_on()
        self.settled(machine, state, code)

    def settled(self, machine: Machine, state: str, code: int | None):
        found = machine.settle()
        boot = machine.boot
        assert (found, boot.code) == (state, code), (machine.member, boot.code, boot.log)
        published = boot.code == 0 and state == "InService" or state == "Warmed:Running"
        if published:
            assert boot.files == {f: machine.model for f in boot.files} and len(boot.files) == 1, boot.files.keys()
            text = f"sha256:{verity(machine.model)} model\n".encode()
            measured = hashlib.sha384(bytes(48) + hashlib.sha384(text).digest()).hexdigest()
            assert boot.pcr15 == measured and boot.report["outcome"] == "published", (boot.pcr15, boot.report)
        else:
            assert (boot.pcr15, boot.files) == (ZEROS, {}), (boot.pcr15, boot.files.keys())
        assert boot.nv == []

    def into_service(self, machine: Machine):
        machine.group.enter_service(machine.member.id)

    def failed(self, machine: Machine, code: int, ended_by: str, words: str):
        """The instance was given up, and the reason is where an operator looks."""
        assert machine.member.ended_by == ended_by and words in machine.boot.log, (machine.member, machine.boot.log)
        report = machine.boot.report
        assert report["failure"]["exit_code"] == code and report["outcome"] == "failed"
        if ended_by == "ABANDON":
            assert report["lifecycle"]["reason"] == f"{report['failure']['name']}: {report['failure']['reason']}"
            assert "told Auto Scaling ABANDON" in machine.boot.log

    def releases(self, machine: Machine) -> int:
        """How often KMS released the key to this instance."""
        return sum(entry["principal"].endswith(machine.member.id) and entry.get("error") is None
                   for entry in self.fleet.stack.audit.read(service="kms", operation="Decrypt"))

    # ---- the stories

    def scale_out(self):
        machine = self.launch()
        self.boot(machine, "InService", 0)
        assert machine.boot.report["lifecycle"] | {"heartbeats": 0} == {
            "target": "InService", "result": "CONTINUE", "heartbeats": 0}
        return machine

    def stopped_and_stays(self):
        machine = self.launch(pool="Stopped")
        self.boot(machine, "Warmed:Stopped", 0)
        assert self.releases(machine) == 0 and machine.boot.report["outcome"] == "waiting"
        return machine

    def stopped(self):
        machine = self.stopped_and_stays()
        self.into_service(machine)
        self.boot(machine, "InService", 0)
        assert self.releases(machine) == 1 and machine.boot.report["lifecycle"]["target"] == "InService"
        return machine

    def running_and_stays(self):
        machine = self.launch(pool="Running")
        self.boot(machine, "Warmed:Running", None)
        return machine

    def running(self):
        machine = self.running_and_stays()
        self.into_service(machine)
        self.settled(machine, "InService", 0)
        assert self.releases(machine) == 1 and len(machine.boots) == 1
        return machine

    def hibernated(self):
        machine = self.launch(pool="Hibernated")
        self.boot(machine, "Warmed:Terminated", 16)
        self.failed(machine, 16, "ABANDON", "about to hibernate it")
        assert self.releases(machine) == 0
        return machine

    def refresh(self):
        """The new instance first, then the end of an old one."""
        new, old = self.launch("v2.sealed"), self.scaled_out.pop()
        self.boot(new, "InService", 0)
        old.group.terminate(old.member.id)
        assert old.settle() == "Terminated"
        return new

    def another_image(self):
        machine = self.launch(pcrs={4: b"\1" * 48})
        self.boot(machine, "Terminated", 30)
        self.failed(machine, 30, "ABANDON", "KMS refused to release the data key")
        return machine

    replacement = scale_out                 # of an instance that was terminated

    def no_model(self):
        machine = self.launch("of/another/time")
        self.boot(machine, "Terminated", 41)
        self.failed(machine, 41, "ABANDON", "there is no sealed model at this place")
        return machine

    def damaged(self):
        machine = self.launch("damaged.sealed")
        self.boot(machine, "Terminated", 54)
        self.failed(machine, 54, "ABANDON", "the sealed bytes do not verify")
        return machine

    def patient(self):
        """A model that takes longer than the timeout of the hook."""
        machine = self.launch("slow.sealed", "patient")
        self.boot(machine, "InService", 0)
        assert machine.boot.report["lifecycle"]["heartbeats"] >= 2
        return machine

    def no_heartbeats(self):
        """The role may not send them: the hook's timeout passes while the model is loaded."""
        machine = self.launch("stuck.sealed", "late")
        machine.power_on()
        self.until(lambda: "a heartbeat failed" in machine.boot.log, machine)
        self.let_time_pass(machine, 301)
        self.settled(machine, "Terminated", 4)
        self.failed(machine, 4, "TIMEOUT", "Auto Scaling is terminating it")
        assert machine.member.heartbeats == 0
        return machine

    def killed(self):
        """An agent that is gone sends no heartbeat: the hook decides."""
        machine = self.launch("stuck.sealed", "late")
        machine.power_on()
        self.until(lambda: self.releases(machine), machine)
        machine.boot.process.kill()
        self.let_time_pass(machine, 301)
        assert machine.settle() == "Terminated" and machine.member.ended_by == "TIMEOUT"
        assert (machine.boot.pcr15, machine.boot.code) == (ZEROS, -9)
        return machine

    def interrupted(self):
        machine = self.launch("stuck.sealed")
        machine.power_on()
        self.until(lambda: self.releases(machine), machine)
        machine.settings["interruption"] = json.dumps({"action": "terminate", "time": "2030-01-01T00:00:00Z"})
        self.settled(machine, "Terminated", 4)
        self.failed(machine, 4, "ABANDON", "EC2 interrupts this Spot instance")
        return machine

    def garbage(self):
        """The operator's metadata service says what Auto Scaling never says."""
        machine = self.launch()
        machine.settings["lifecycle_state"] = "InService; Warmed:Running"
        self.boot(machine, "Terminated", 12)
        self.failed(machine, 12, "ABANDON", "is not a lifecycle state")
        assert self.releases(machine) == 0
        return machine

    # ---- time

    @staticmethod
    def until(condition, machine: Machine):
        for _ in range(2400):
            if condition():
                return
            time.sleep(0.05)
        raise TimeoutError(f"{machine.member}: {machine.boot.log}")

    @staticmethod
    def let_time_pass(machine: Machine, seconds: float):
        """For the hook of this instance alone."""
        machine.member.deadline -= seconds
        machine.group.expire()

    def keep_patience_short(self, ended: threading.Event):
        """As long as instances of the group "patient" beat, most of the timeout passes after each beat."""
        group, seen = self.groups["patient"], {}
        while not ended.wait(0.05):
            for member in list(group.members.values()):
                if member.token and member.heartbeats > seen.get(member.id, 0):
                    seen[member.id] = member.heartbeats
                    member.deadline -= 0.9 * group.hook.timeout
            group.expire()

    # ---- the run

    def tell(self, name: str) -> Machine:
        machine = getattr(self, name)()
        self.ended.append((name, machine))
        return machine

    def run(self):
        """Two phases: a refresh needs instances that are in service."""
        ended = threading.Event()
        clock = threading.Thread(target=self.keep_patience_short, args=(ended,))
        clock.start()
        try:
            with concurrent.futures.ThreadPoolExecutor(self.workers) as pool:
                for phase in (lambda name: name != "refresh", lambda name: name == "refresh"):
                    # Those that wait longest begin first.
                    names = [name for name in reversed(self.counts) if phase(name) for _ in range(self.counts[name])]
                    self.scaled_out = [machine for name, machine in self.ended if name == "scale_out"]
                    for future in [pool.submit(self.tell, name) for name in names]:
                        future.result()
        finally:
            ended.set()
            clock.join()
        self.check()

    def check(self):
        """Every instance is where its story ended, and a refreshed one was terminated since."""
        states = {}
        for name, machine in self.ended:
            states.setdefault(name, []).append(machine.member.state)
        wanted = {
            "stopped_and_stays": "Warmed:Stopped", "running_and_stays": "Warmed:Running",
            "hibernated": "Warmed:Terminated",
            **dict.fromkeys(("stopped", "running", "refresh", "replacement", "patient"), "InService"),
        }
        for name, count in self.counts.items():
            expected = [wanted.get(name, "Terminated")] * count
            if name == "scale_out":
                replaced = self.counts.get("refresh", 0)
                expected = ["InService"] * (count - replaced) + ["Terminated"] * replaced
            assert sorted(states[name]) == sorted(expected), (name, states[name])
        assert len(self.fleet.machines) == sum(self.counts.values())

    def end(self):
        self.fleet.end()


def workers() -> int:
    return 2 + len(os.sched_getaffinity(0))
