# SPDX-License-Identifier: Apache-2.0
"""The units as installed, started by systemd as PID 1 against the local stack."""

import json
import os
import random
import re
import shutil
import time

import pytest

from machine import HERE, Machine
from sealer import MARK, DataKey, model_text, pcr15, put_model

AGENT = "sealboot-agent.service"
SERVER = "llama-server.service"
MODEL = {"model.gguf": b"GGUF" + random.Random(1).randbytes(8_000_000), "tokenizer/config.json": b"{}"}
CONTEXT = {"model": "m", "version": "1", **MARK}
# As they stand in for a TPM, the device numbers of /dev/fuse, which any user may open.
FAKE_TPM = os.makedev(10, 229)


def measured(stack):
    """Puts a model into the bucket, launches with it, and gives the measured configuration that loads it."""
    stack.calm()
    key = DataKey.generate(stack.kms(), arn := stack.create_key(), CONTEXT)
    put_model(stack.s3(), stack.bucket, "m/", MODEL, key)
    stack.control.user_data(json.dumps({"sealboot": {"model": f"s3://{stack.bucket}/m/"}}).encode())
    return {"keys": [arn], "encryption_context": {"model": "m"}, "tcti": stack.variables["TPM2TOOLS_TCTI"],
            "endpoints": {name: stack.endpoints[name] for name in ("imds", "kms", "s3")}}


def prepare(machine, configuration):
    """What an image recipe does: configuration, inference server, which units start."""
    machine.write("/etc/sealboot/agent.json", json.dumps(configuration))
    shutil.copytree("/usr/share/doc/sealboot/examples", machine.root / "etc/systemd/system", dirs_exist_ok=True)
    shutil.copy(HERE / "stand-in", machine.root / "usr/bin/llama-server")
    machine.enable(SERVER, "llama-proxy.socket")
    return machine


@pytest.fixture(scope="module")
def booted(stack):
    with Machine() as machine:
        prepare(machine, measured(stack)).boot()
        machine.pcr15 = {bank: stack.pcr(15, bank) for bank in ("sha256", "sha384")}
        yield machine


def test_everything_starts(booted):
    assert booted.run("systemctl", "--failed", "--no-legend").stdout == "", booted.journal(AGENT)
    for unit in AGENT, "sealboot-model.target", "run-sealboot-model.mount", SERVER:
        assert booted.show(unit, "ActiveState") == "active", booted.journal(unit)


def test_agent_is_gone_when_the_model_is_there(booted):
    assert booted.show(AGENT, "SubState") == "exited"
    assert booted.show(AGENT, "MainPID") == "0"
    assert booted.run("pgrep", "-u", "sealboot", check=False).stdout == ""


def test_order(booted):
    def microseconds(unit, name):
        return int(booted.show(unit, name))

    mounted = microseconds("run-sealboot-model.mount", "ActiveEnterTimestampMonotonic")
    started = microseconds(AGENT, "ExecMainStartTimestampMonotonic")
    ready = microseconds(AGENT, "ActiveEnterTimestampMonotonic")
    reached = microseconds("sealboot-model.target", "ActiveEnterTimestampMonotonic")
    serving = microseconds(SERVER, "ExecMainStartTimestampMonotonic")
    assert 0 < mounted < started < ready <= reached <= serving
    # Nothing in the boot waits for what it does not need: network and clock are there when it starts.
    after = booted.show(AGENT, "After").split()
    assert {"network-online.target", "time-set.target", "run-sealboot-model.mount"} <= set(after)


def test_mount_options(booted):
    options = booted.run("findmnt", "--noheadings", "--output", "FSTYPE,OPTIONS", "/run/sealboot/model").stdout
    kind, options = options.split()
    assert kind == "tmpfs"
    uid, gid = booted.run("sh", "-c", "id -u sealboot; id -g sealboot").stdout.split()
    assert {"noexec", "nosuid", "nodev", "mode=750", "huge=within_size", f"uid={uid}",
            f"gid={gid}"} <= set(options.split(","))
    memory = int(re.search(r"MemTotal: *(\d+)", open("/proc/meminfo").read())[1])
    size = int(re.search(r"size=(\d+)k", options)[1])
    assert 0.85 * memory < size < 0.95 * memory


def test_measured_and_logged(booted):
    for bank, value in booted.pcr15.items():
        assert value == pcr15(model_text(MODEL), bank)
    report = json.loads(booted.run("cat", "/run/sealboot/report.json").stdout)
    assert report["outcome"] == "published" and report["pcr15"]["sha384"]["after"] == booted.pcr15["sha384"]
    # systemd's own log, although the agent is not root: the tmpfiles rule gave it the file.
    assert "sealboot-model" in booted.run("cat", "/run/log/systemd/tpm2-measure.log").stdout


def test_report_is_for_everyone_and_weights_are_not(booted):
    assert booted.run("stat", "--format", "%a %U", "/run/sealboot/report.json").stdout.split() == ["644", "sealboot"]
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    assert booted.run(*nobody, "cat", "/run/sealboot/report.json").returncode == 0
    assert booted.run(*nobody, "ls", "/run/sealboot/model", check=False).returncode != 0


def test_journal_tells_each_stage(booted):
    entries = [
        json.loads(line) for line in booted.run("journalctl", "--output", "json", "--unit", AGENT).stdout.splitlines()
    ]
    stages = [e["SEALBOOT_STAGE"] for e in entries if "SEALBOOT_STAGE" in e]
    assert {"attestation", "unseal", "measure", "publish"} <= set(stages)
    assert all(re.fullmatch("[0-9a-f]{32}", e["MESSAGE_ID"]) for e in entries if "SEALBOOT_STAGE" in e)


def test_sandbox(booted):
    exposure = re.search(rf"Overall exposure level for {AGENT}: ([0-9.]+)",
                         booted.run("systemd-analyze", "security", AGENT).stdout)
    assert float(exposure[1]) <= 2.5


def test_units_verify(booted):
    done = booted.run("systemd-analyze", "verify", "--man=no", "sealboot-model.target", check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_second_start_is_refused_and_takes_the_server_down(booted):
    """Last on this machine. PCR15 is extended and the model is there: nothing can be released again."""
    assert booted.run("systemctl", "restart", AGENT, check=False).returncode != 0
    assert booted.show(AGENT, "ExecMainStatus") == "60", booted.journal(AGENT)
    assert booted.show(SERVER, "ActiveState") == "inactive"


def refused(stack, code, configuration):
    with Machine() as machine:
        prepare(machine, configuration).boot()
        assert machine.show(AGENT, "ExecMainStatus") == str(code), machine.journal(AGENT)
        assert machine.show(AGENT, "ActiveState") == "failed"
        assert machine.show("sealboot-model.target", "ActiveState") == "inactive"
        assert machine.show(SERVER, "ActiveState") == "inactive"
        assert machine.show(SERVER, "ExecMainStartTimestampMonotonic") == "0"
        assert machine.run("find", "/run/sealboot/model", "-type", "f").stdout == ""
        report = json.loads(machine.run("cat", "/run/sealboot/report.json").stdout)
        assert report["outcome"] == "failed" and report["failure"]["exit_code"] == code
        assert f"(exit code {code}, " in machine.console and "what to do: " in machine.console, machine.console
        journal = machine.run("journalctl", "--output", "json", f"SEALBOOT_EXIT_CODE={code}").stdout
        assert json.loads(journal)["MESSAGE_ID"]


def test_denied_agent_keeps_the_server_from_starting(stack):
    configuration = measured(stack)
    stack.tpm("tpm2_pcrextend", f"12:sha384={'ab' * 48}")
    refused(stack, 30, configuration)


def test_used_pcr15_keeps_the_server_from_starting(stack):
    configuration = measured(stack)
    stack.tpm("tpm2_pcrextend", f"15:sha384={'ab' * 48}")
    refused(stack, 23, configuration)


def test_tpm_devices_are_the_only_ones(stack):
    """The sandbox (device rules, group, user namespace) lets the agent's user open the TPM, and nothing like it."""
    with Machine() as machine:
        machine.write(f"/etc/systemd/system/{AGENT}.d/devices.conf", "\n".join([
            "[Service]", "ExecStart=", "Type=oneshot",
            "ExecStart=/bin/bash -c 'exec 3<>/dev/tpmrm0 && echo tpmrm0 opened; exec 3<>/dev/tpm0 && echo tpm0 opened'",
            "ExecStart=-/bin/bash -c 'exec 3<>/dev/other && echo other opened'", "[Unit]", ""]))
        machine.device("tpmrm0", FAKE_TPM, "tss", 0o660)
        machine.device("tpm0", FAKE_TPM, "tss", 0o660)
        machine.device("other", os.makedev(10, 237), "tss", 0o666)
        machine.enable("sealboot-model.target")
        machine.boot()
        journal = machine.journal(AGENT)
        assert "tpmrm0 opened" in journal and "tpm0 opened" in journal, journal
        if machine.run("sh", "-c", "exec 3<>/dev/other", check=False).returncode == 0:
            assert "other opened" not in journal


def test_killed_agent_leaves_no_plaintext(stack):
    """As the OOM killer does it: the agent is gone at once, and systemd cleans up after it."""
    configuration = measured(stack)
    stack.control.fault("slow", service="s3", operation="GetObject", count=None, rate=1_000_000)
    with Machine() as machine:
        machine.write("/etc/sealboot/agent.json", json.dumps(configuration))
        machine.boot()
        machine.run("systemctl", "start", "--no-block", AGENT)
        deadline = time.monotonic() + 30
        while "/0\n" not in machine.run("find", "/run/sealboot/model", "-type", "f", "-size",
                                        "+0").stdout and time.monotonic() < deadline:
            time.sleep(0.1)
        # The process alone: systemd 257 kills ExecStopPost=, too, when it is told to kill all of the unit.
        machine.run("systemctl", "kill", "--kill-whom", "main", "--signal", "KILL", AGENT)
        while machine.show(AGENT, "ActiveState") != "failed" and time.monotonic() < deadline:
            time.sleep(0.1)
        assert machine.show(AGENT, "Result") == "signal", machine.journal(AGENT)
        assert machine.show(AGENT, "ExecMainStatus") == "9", machine.journal(AGENT)
        assert machine.run("find", "/run/sealboot/model", "-mindepth", "1").stdout == "", machine.journal(AGENT)
        assert "removed what a run that was killed had left in /run/sealboot/model" in machine.console, machine.console
        stack.control.clear_faults()
        machine.run("systemctl", "start", AGENT)
        assert machine.show(AGENT, "ActiveState") == "active"


def test_environment_of_the_manager_does_not_reach_the_agent(stack):
    """A setting of systemd's, of whatever origin (kernel command line, system.conf), is one of every unit's."""
    measured(stack)
    names = [
        "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "GLIBC_TUNABLES", "GCONV_PATH", "OPENSSL_CONF", "OPENSSL_MODULES",
        "SSLKEYLOGFILE", "TSS2_LOG", "TSS2_LOGFILE", "RES_OPTIONS"
    ]
    with Machine() as machine:
        machine.write("/etc/systemd/system.conf.d/environment.conf",
                      "[Manager]\nDefaultEnvironment=SEEN=1 " + " ".join(f"{name}=/none" for name in names) + "\n")
        machine.write(f"/etc/systemd/system/{AGENT}.d/environment.conf",
                      "[Service]\nExecStart=\nType=oneshot\nExecStart=/usr/bin/env\n")
        machine.enable("sealboot-model.target")
        machine.boot()
        journal = machine.journal(AGENT)
        assert "SEEN=1" in journal, journal
        assert not [name for name in names if f"{name}=" in journal] and "cannot be preloaded" not in journal, journal
