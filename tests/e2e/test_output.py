# SPDX-License-Identifier: Apache-2.0
"""Standard output that goes nowhere: whatever either program prints, what does not arrive is an error with words and a
code."""

import json
import os
import re
import subprocess

import pytest

from models import write
from recorded import FIXTURES, ROOT

IO, DIGITS = 61, "44" * 48
DOCUMENTS = ROOT / "tests/fixtures/attestation"
ROLE, ADMIN = "arn:aws:iam::222222222222:role/inference", "arn:aws:iam::111111111111:role/owner"


def full():
    return os.open("/dev/full", os.O_WRONLY)


def broken_pipe():
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def closed():
    """As a shell's >&-: the program starts without a descriptor 1."""
    return None


SINKS = {full: "No space left on device", broken_pipe: "Broken pipe", closed: "Bad file descriptor"}


def run(command, env, sink, **more):
    """With SIGPIPE as a shell leaves it: Python starts programs with the default action."""
    descriptor = sink()
    try:
        start = {"stdout": descriptor} if descriptor is not None else {"preexec_fn": lambda: os.close(1)}
        return subprocess.run([str(part) for part in command], env=env, stdin=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, timeout=60, **start, **more)
    finally:
        if descriptor is not None:
            os.close(descriptor)


@pytest.fixture(scope="module")
def inputs(stack, build, tmp_path_factory):
    """Files for each verb, written by the verbs themselves where they can."""
    directory = tmp_path_factory.mktemp("inputs")

    def call(*arguments):
        command = [build / "policy/sealboot", *arguments]
        return subprocess.run([str(part) for part in command], env=stack.env, capture_output=True, text=True,
                              check=True).stdout

    reference = directory / "image.json"
    reference.write_text(call("measure", "--json", FIXTURES / "debian13.efi"))
    writing = ["policy", "--reference", reference, "--principal", ROLE, "--admin", ADMIN]
    (directory / "policy.json").write_text(call(*writing))
    (directory / "report.json").write_text(json.dumps({"outcome": "success"}))
    write(directory / "model", {"a": b"GGUF and so on", "b": b"more"})
    key = stack.create_key(pcrs={})
    call("seal", "--key", key, directory / "model", directory / "sealed/")
    return {
        "image": reference, "policy": directory / "policy.json", "report": directory / "report.json",
        "writing": writing, "model": directory / "model", "sealed": f"{directory / 'sealed'}/", "key": key,
        "log": FIXTURES / "debian13.log", "document": DOCUMENTS / "nitrotpm.cbor"
    }


def commands(inputs, new):
    """Each verb as it succeeds, in words and as JSON; new(): the name of something that is not there yet."""
    f = inputs
    yield ["attest"]
    yield ["attest", "--hex"]
    yield ["attest", "--json"]
    yield ["measure", FIXTURES / "debian13.efi"]
    yield ["measure", "--json", "--event-log", FIXTURES / "debian13.efi"]
    yield f["writing"]
    yield [*f["writing"], "--json"]
    yield ["policy", "check", f["policy"], "--reference", f["image"], "--principal", ROLE]
    yield ["policy", "check", "--json", f["policy"], "--reference", f["image"], "--principal", ROLE]
    yield ["verify", "--at", "document", "--root", DOCUMENTS / "root.pem", f["document"]]
    yield ["digest", "--files", f["model"]]
    for json_too in ([], ["--json"]):
        yield ["policy", "diff", *json_too, f["policy"], f["policy"]]
        yield ["replay", *json_too, f["log"]]
        yield ["doctor", *json_too, f["report"]]
        yield ["digest", *json_too, f["model"]]
        yield ["seal", *json_too, "--key", f["key"], f["model"], f"{new()}/"]
        yield ["unseal", *json_too, f["sealed"], new()]
        yield ["inspect", *json_too, f["sealed"]]


def check(command, stack, sink, ordinary):
    """A code of the command's own stays; success becomes FAILURE_IO. The reason is known unless an earlier write had
    failed, too."""
    result = run(command, stack.env, sink)
    assert result.returncode == (ordinary or IO), result
    assert re.search(rf"on: +standard output\n.*could be written(: {SINKS[sink]})?\n", result.stderr), result


@pytest.mark.parametrize("sink", SINKS, ids=lambda sink: sink.__name__)
def test_every_verb(build, stack, inputs, tmp_path, sink):
    made = []

    def new():
        made.append(None)
        return tmp_path / f"new-{len(made)}"

    for ordinary, arguments in zip(list(commands(inputs, new)), list(commands(inputs, new)), strict=True):
        command = [build / "policy/sealboot", *arguments]
        first = subprocess.run([build / "policy/sealboot", *ordinary], env=stack.env, capture_output=True,
                               stdin=subprocess.DEVNULL)
        assert first.stdout and first.returncode in (0, 73), first
        check(command, stack, sink, first.returncode)


@pytest.mark.parametrize("sink", SINKS, ids=lambda sink: sink.__name__)
def test_help_and_version(build, stack, sink):
    listed = subprocess.run([build / "policy/sealboot", "--help"], capture_output=True, text=True, check=True).stdout
    verbs = re.findall(r"^  ([a-z]+) ", listed, re.M)
    assert len(verbs) >= 10
    for arguments in (["--help"], ["--version"], *([verb, "--help"]
                                                   for verb in verbs), ["policy", "check",
                                                                        "-h"], ["policy", "diff", "-h"]):
        check([build / "policy/sealboot", *arguments], stack, sink, 0)
    for arguments in (["--help"], ["--version"]):
        check([build / "agent/sealboot-agent", *arguments], stack, sink, 0)


@pytest.mark.parametrize("sink", SINKS, ids=lambda sink: sink.__name__)
def test_check_config(boot, build, stack, tmp_path, sink):
    (tmp_path / "agent.json").write_text(json.dumps(boot.config))
    check([build / "agent/sealboot-agent", "--check-config", "--config", tmp_path / "agent.json"], stack, sink, 0)


def test_a_closed_descriptor_is_not_reused(build, stack, inputs, tmp_path):
    """What is printed must not go to the file that happens to be opened next."""
    check([build / "policy/sealboot", "unseal", inputs["sealed"], tmp_path / "to"], stack, closed, 0)
    assert {path.name: path.read_bytes()
            for path in (tmp_path / "to").iterdir()} == {"a": b"GGUF and so on", "b": b"more"}


def test_a_failure_keeps_its_code(build, stack, tmp_path):
    """Nothing was printed, so nothing is missing."""
    result = run([build / "policy/sealboot", "digest", tmp_path / "none"], stack.env, full)
    assert result.returncode == IO and "standard output" not in result.stderr, result
    result = run([build / "policy/sealboot", "verify", tmp_path / "none", "too-many"], stack.env, full)
    assert result.returncode == 2 and "standard output" not in result.stderr, result
