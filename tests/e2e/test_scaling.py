# SPDX-License-Identifier: Apache-2.0
"""Auto Scaling: what a boot does for the states that the metadata service names, heartbeats, and notices that the
instance is taken away. scaling.py has a whole group of instances."""

import contextlib
import json
import subprocess
import time

import pytest
import scaling
from boots import single

HOOK = {"group": "inference", "name": "model-loaded"}
STATES = ("InService", "Standby", "Detached", "Terminated", "Warmed:Running", "Warmed:Stopped", "Warmed:Hibernated",
          "Warmed:Terminated")
MODEL = b"GGUF" + bytes(300_000)


@pytest.fixture
def held(boot):
    """A boot that a lifecycle hook holds, of a model that is there."""
    boot.stack.control.clear_audit()
    boot.config |= {"lifecycle_hook": HOOK, "heartbeat_seconds": 1}
    single(boot, plaintext=MODEL)
    return boot


def state(boot, text: str | None):
    boot.stack.control.settings(imds={"lifecycle_state": text})


def slow(boot, rate: int):
    boot.stack.control.fault("slow", service="s3", operation="GetObject", rate=rate, count=None)


class Running:
    """An agent that is not waited for."""

    def __init__(self, boot, build, tmp_path):
        self.boot, self.report_path = boot, tmp_path / "report.json"
        self.report_path.unlink(missing_ok=True)
        (tmp_path / "agent.json").write_text(json.dumps(boot.config))
        self.process = subprocess.Popen(
            [build / "agent/sealboot-agent", "--config", tmp_path / "agent.json", "--report", self.report_path,
             "--tcti", boot.stack.variables["TPM2TOOLS_TCTI"]],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def until(self, condition, what: str):
        """Waits until that holds; returns it."""
        for _ in range(1200):
            if found := condition():
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        pytest.fail(f"{what}: {self.end()}, {self.boot.stack.control.autoscaling()}")

    def until_state(self, wanted: str) -> dict:
        return self.until(lambda: (now := self.boot.stack.control.autoscaling())["state"] == wanted and now, wanted)

    def end(self, stop: bool = False) -> tuple[int, str, str]:
        if stop:
            self.process.terminate()
        stdout, stderr = self.process.communicate(timeout=60)
        return self.process.returncode, stdout, stderr

    @property
    def report(self) -> dict:
        return json.loads(self.report_path.read_text())


@pytest.fixture
def start(build, tmp_path):
    with contextlib.ExitStack() as stack:
        def call(boot) -> Running:
            running = Running(boot, build, tmp_path)
            stack.callback(running.process.kill)
            return running
        yield call


def calls(boot, service: str) -> list[str]:
    return [entry["operation"] for entry in boot.stack.control.audit(service=service)]


def nothing_was_asked_for(boot):
    assert calls(boot, "kms") == [] and calls(boot, "s3") == []
    boot.stack.nothing_left(boot.directory)


@pytest.mark.parametrize("text, code, words, told", [
    ("Warmed:Hibernated", 16, "about to hibernate it (Warmed:Hibernated)", "ABANDON"),
    ("Terminated", 4, "Auto Scaling is terminating it (Terminated)", None),
    ("Warmed:Terminated", 4, "Auto Scaling is terminating it (Warmed:Terminated)", None),
    ("inservice", 12, '"inservice" is not a lifecycle state', "ABANDON"),
    ("InService\n", 12, "is not a lifecycle state", "ABANDON"),
    ("InService\0Warmed:Hibernated", 12, "is not a lifecycle state", "ABANDON"),
    ("Pending:Wait", 12, '"Pending:Wait" is not a lifecycle state', "ABANDON"),
    ("\x1b[2J{}", 12, "is not a lifecycle state", "ABANDON"),
    pytest.param("W" * 4000, 12, "", "ABANDON", id="long"),
])
def test_states_without_a_model(held, text, code, words, told):
    held.stack.control.clear_audit()
    state(held, text)
    result = held.refused(code, words)
    nothing_was_asked_for(held)
    assert "\x1b" not in result.stderr
    lifecycle = held.stack.control.autoscaling()
    if told:
        assert lifecycle["ended_by"] == told and lifecycle["state"] == "Terminated"
        reason = result.report["failure"]["name"] + ": " + result.report["failure"]["reason"]
        assert result.report["lifecycle"]["result"] == told and result.report["lifecycle"]["reason"] == reason
        assert f"told Auto Scaling ABANDON, for lifecycle hook model-loaded of inference: {reason}" in result.stderr
    else:
        assert lifecycle["state"] == "Pending:Wait" and "result" not in result.report["lifecycle"]


@pytest.mark.parametrize("refusal", ["pcr4", "pcr15"])
def test_no_state_leaves_out_a_check(held, refusal):
    """KMS refuses an image with another PCR4, and the agent a PCR15 that is not zero, whatever IMDS says."""
    held.stack.control.tpm_extend(int(refusal[3:]), sha384=b"\1" * 48)
    for text in (None, *STATES) if refusal == "pcr4" else ("InService", "Warmed:Stopped"):
        if text == "Warmed:Stopped" and refusal == "pcr4":
            continue                        # waits, without a model: see below
        held.stack.control.launch()
        state(held, text)
        result = held.run()
        allowed = {"pcr4": (30, 16, 4), "pcr15": (23,)}[refusal]
        assert result.returncode in allowed and held.published() == {}, (text, result)


def test_a_stopped_warm_pool_waits_without_a_model(held, start):
    held.stack.control.clear_audit()
    held.stack.control.launch(pool="Stopped")
    state(held, "Warmed:Stopped")
    agent = start(held)
    lifecycle = agent.until_state("Warmed:Stopped")
    assert lifecycle["history"] == [
        "Warmed:Pending", "Warmed:Pending:Wait", "Warmed:Pending:Proceed", "Warmed:Stopped"]
    agent.until(lambda: agent.report.get("lifecycle", {}).get("result") == "CONTINUE", "the report")
    assert agent.report["outcome"] == "waiting" and agent.report["lifecycle"]["target"] == "Warmed:Stopped"
    code, stdout, stderr = agent.end(stop=True)
    assert code == 0 and stderr == "" and "no model is loaded before it goes into service" in stdout
    nothing_was_asked_for(held)

    # The boot after the stop.
    held.stack.control.autoscaling(enter_service=True)
    state(held, "InService")
    result = held.run()
    assert result.returncode == 0 and result.report["lifecycle"]["target"] == "InService", result
    assert held.published() == {"model": MODEL} and held.stack.control.autoscaling()["state"] == "InService"


def test_a_waiting_instance_that_is_not_stopped_loads_when_it_is_wanted(held, start):
    held.stack.control.launch(pool="Stopped")
    state(held, "Warmed:Stopped")
    agent = start(held)
    agent.until_state("Warmed:Stopped")
    held.stack.control.autoscaling(enter_service=True)
    state(held, "InService")
    code, _, stderr = agent.end()
    assert code == 0 and stderr == "" and held.published() == {"model": MODEL}
    assert held.stack.control.autoscaling()["state"] == "InService" and agent.report["outcome"] == "published"
    stages = [stage["name"] for stage in agent.report["stages"]]
    assert "recipient-key" in stages[stages.index("warm-pool"):]    # the key pair is not as old as the wait


@pytest.mark.parametrize("wanted", [True, False])
def test_a_running_warm_pool_keeps_its_model(held, start, wanted):
    """The hook holds the instance a second time when it goes into service; the key is released once."""
    held.stack.control.launch(pool="Running")
    state(held, "Warmed:Running")
    agent = start(held)
    agent.until_state("Warmed:Running")
    assert held.published() == {"model": MODEL}
    if wanted:
        held.stack.control.autoscaling(enter_service=True)
        state(held, "InService")
        agent.until_state("InService") if agent.process.poll() is None else None
    code, _, stderr = agent.end(stop=not wanted)
    assert code == 0 and stderr == "" and agent.report["outcome"] == "published"
    assert held.stack.control.autoscaling()["state"] == ("InService" if wanted else "Warmed:Running")
    assert calls(held, "kms").count("Decrypt") == 1 and held.published() == {"model": MODEL}


def test_heartbeats_outlast_the_timeout_of_the_hook(held, start):
    held.stack.control.launch(timeout=100)
    state(held, "InService")
    slow(held, 60_000)
    agent = start(held)
    for beats in range(1, 4):               # 270 s pass for the hook
        agent.until(lambda: held.stack.control.autoscaling()["heartbeats"] >= beats, "a heartbeat")
        held.stack.control.autoscaling(advance=90)
    code, _, stderr = agent.end()
    assert code == 0 and stderr == "" and held.stack.control.autoscaling()["state"] == "InService"
    assert agent.report["lifecycle"]["heartbeats"] >= 3 and agent.report["lifecycle"]["result"] == "CONTINUE"


def test_a_hook_that_times_out(held, start):
    """Heartbeats are refused, and the console says so once. Auto Scaling terminates the instance, and the agent learns
    it from the metadata service."""
    held.stack.control.fault("denied", service="autoscaling", operation="RecordLifecycleActionHeartbeat",
                             how="identity", count=None)
    slow(held, 10_000)
    agent = start(held)
    agent.until(lambda: held.stack.control.faults()[0]["hits"] >= 2, "two heartbeats")
    assert held.stack.control.autoscaling(advance=3600)["ended_by"] == "TIMEOUT"
    state(held, "Terminated")
    code, _, stderr = agent.end()
    assert code == 4 and "Auto Scaling is terminating it" in stderr and stderr.count("a heartbeat failed") == 1
    assert agent.report["outcome"] == "failed" and "not authorized" in agent.report["lifecycle"]["heartbeat_error"]
    assert not agent.report["lifecycle"].keys() & {"result", "error"}      # nobody waits for an answer any more
    held.stack.nothing_left(held.directory)


@pytest.mark.parametrize("notice, code, words", [
    ('{"action": "terminate", "time": "2030-01-01T00:00:00Z"}', 4,
     "EC2 interrupts this Spot instance: terminate at 2030-01-01T00:00:00Z"),
    ('{"action": "hibernate", "time": "2030-01-01T00:00:00Z"}', 4, "hibernate at"),
    ('{"action": "carry on"}', 12, '"action" is not terminate, stop or hibernate'),
])
def test_an_interruption_while_a_model_is_loaded(held, start, notice, code, words):
    slow(held, 10_000)
    agent = start(held)
    agent.until(lambda: calls(held, "kms"), "the key")
    held.stack.control.settings(imds={"interruption": notice})
    ended, _, stderr = agent.end()
    assert ended == code and words in stderr and "told Auto Scaling ABANDON" in stderr
    assert held.stack.control.autoscaling()["state"] == "Terminated"
    held.stack.nothing_left(held.directory)


@pytest.mark.parametrize("service, operation", [("kms", "Decrypt"), ("s3", "GetObject")])
def test_a_notice_ends_the_wait_for_an_answer(held, start, service, operation):
    held.stack.control.fault("latency", service=service, operation=operation, seconds=14, count=None)
    agent = start(held)
    agent.until(lambda: held.stack.control.faults()[0]["hits"], operation)
    state(held, "Terminated")
    noticed = time.monotonic()
    code, _, stderr = agent.end()
    assert code == 4 and "Auto Scaling is terminating it" in stderr and time.monotonic() - noticed < 10
    assert calls(held, "autoscaling").count("CompleteLifecycleAction") == 0
    held.stack.nothing_left(held.directory)


def test_metadata_that_fails_for_a_while_ends_no_boot(held):
    """While a model is loaded, only an answer counts."""
    state(held, "InService")
    slow(held, 100_000)
    for path in ("*/target-lifecycle-state", "*/spot/instance-action"):
        held.stack.control.fault("error", service="imds", key=path, status=500, count=None, skip=1)
    result = held.run()
    assert result.returncode == 0 and held.published() == {"model": MODEL}, result
    assert any(fault["hits"] for fault in held.stack.control.faults()[1:])


@pytest.mark.parametrize("changes, code, words", [
    ({"Version": "2010-08-01"}, "ValidationError", "Version"),
    ({"Action": "DescribeLifecycleHooks"}, "ValidationError", "no such action"),
    ({"LifecycleActionResult": "PROCEED"}, "ValidationError", "LifecycleActionResult"),
    ({"LifecycleHookName": "a b"}, "ValidationError", "LifecycleHookName"),
    ({"LifecycleActionToken": "0" * 36}, "ValidationError", "No active Lifecycle Action"),
    ({"InstanceId": "i-1"}, "ValidationError", "No active Lifecycle Action"),
    ({"AutoScalingGroupName": "other"}, "ValidationError", "No active Lifecycle Action"),
    ({"Reason": "because"}, "ValidationError", "unknown or repeated"),
    ({}, None, ""),
])
def test_the_local_auto_scaling_is_strict(stack, changes, code, words):
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    import urllib.error
    import urllib.parse
    import urllib.request
    fields = {"Action": "CompleteLifecycleAction", "Version": "2011-01-01", "AutoScalingGroupName": "inference",
              "LifecycleHookName": "model-loaded", "InstanceId": "i-0123456789abcdef0",
              "LifecycleActionResult": "CONTINUE", **changes}
    role = stack.control.credentials()
    request = AWSRequest("POST", stack.endpoints["autoscaling"] + "/", data=urllib.parse.urlencode(fields),
                         headers={"Content-Type": "application/x-www-form-urlencoded"})
    SigV4Auth(Credentials(role["AccessKeyId"], role["SecretAccessKey"], role["Token"]), "autoscaling",
              stack.region).add_auth(request)
    prepared = request.prepare()
    try:
        with urllib.request.urlopen(urllib.request.Request(prepared.url, prepared.body.encode(),
                                                           dict(prepared.headers))) as answer:
            said = answer.read().decode()
    except urllib.error.HTTPError as e:
        said = e.read().decode()
    assert (f"<Code>{code}</Code>" in said and words in said) if code else "CompleteLifecycleActionResult" in said
    assert stack.control.autoscaling()["state"] == ("Pending:Wait" if code else "InService")


def test_a_group_of_instances(build):
    """tests/bench/scaling has fifty."""
    simulation = scaling.Simulation(build, scaling.SMALL, scaling.workers())
    try:
        simulation.run()
    finally:
        simulation.end()
