# SPDX-License-Identifier: Apache-2.0
"""`sealboot measure` against what OVMF, systemd's stubs and swtpm measured (tests/fixtures/measure)."""

import json
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests/fixtures/measure"
CASES = {case["name"]: case for case in json.loads((FIXTURES / "cases.json").read_text())}


@pytest.fixture
def sealboot(build):
    """Runs the program, which needs no stack here, and returns what it printed."""
    def run(*arguments, code=0):
        done = subprocess.run([build / "policy/sealboot", *map(str, arguments)], capture_output=True, text=True, timeout=60)
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stdout + done.stderr

    return run


def options_of(case):
    """The command line that tells `measure` what the boot of a case was like."""
    options = []
    if "db" in case:
        options += [f"--PK={FIXTURES}/PK.esl", f"--KEK={FIXTURES}/KEK.esl", f"--db={FIXTURES}/{case['db']}"]
        options += ["--secure-boot=off"] if case.get("off") else []
    else:
        options.append("--secure-boot=off")
    if "dbx" in case:
        options.append(f"--dbx={FIXTURES}/{case['dbx']}")
    if "addon" in case:
        options.append(f"--addon={FIXTURES}/{case['addon']}.efi")
    if "appended" in case:
        options.append(f"--command-line={case['appended']}")
    if case.get("blank"):
        options.append("--failed-boot-options=1")
    if case["name"].startswith("handmade"):
        options.append("--stub-version=251")
    return options + [FIXTURES / case["image"]]


@pytest.mark.parametrize("name", CASES)
def test_equals_what_was_measured(sealboot, name):
    case = CASES[name]
    said = json.loads(sealboot("measure", "--json", *options_of(case)))["Measurements"]
    measured = case["pcrs"]["sha384"]
    assert said == {"HashAlgorithm": "SHA384 { ... }", "PCR4": measured[4], "PCR7": measured[7], "PCR12": measured[12]}
