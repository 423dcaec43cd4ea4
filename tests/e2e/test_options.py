# SPDX-License-Identifier: Apache-2.0
"""Options behave alike in every verb and in the agent: one table gives what is parsed, and what --help shows."""

import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
USAGE = 2
COMMANDS = {
    name: ["policy/sealboot", *name.split()[1:]]
    for name in ("sealboot attest", "sealboot connect", "sealboot digest", "sealboot doctor", "sealboot inspect",
                 "sealboot measure", "sealboot policy", "sealboot policy check", "sealboot policy diff",
                 "sealboot replay", "sealboot seal", "sealboot unseal", "sealboot verify")
}
COMMANDS["sealboot-agent"] = ["agent/sealboot-agent"]
COMMANDS["sealboot-gate"] = ["agent/gate/sealboot-gate"]
MANUALS = {
    name: f"units/man/{name}.8" if name in ("sealboot-agent",
                                            "sealboot-gate") else f"policy/man/{'-'.join(name.split()[:2])}.1"
    for name in COMMANDS
}


@pytest.fixture(params=COMMANDS)
def command(request, build):
    """command(arguments...) runs one of them, without a terminal and without input; .name, and .options that --help
    shows."""
    program, *verb = COMMANDS[request.param]

    def call(*arguments):
        return subprocess.run([build / program, *verb, *arguments], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL)
    call.name = request.param
    shown = call("--help")
    assert (shown.returncode, shown.stderr) == (0, ""), shown
    call.options = re.findall(r"^  (?:-(.), |    )--([a-zA-Z0-9-]+)(?:( |\[=)(\S+))?(?=  |$)", shown.stdout, re.M)
    assert ("h", "help", "", "") in call.options
    return call


def refused(command, result, words):
    assert (result.returncode, result.stdout) == (USAGE, ""), result
    assert result.stderr == f"{command.name}: {words}\nTry '{command.name} --help'.\n", result


def test_unknown(command):
    refused(command, command("--frob"), "unrecognized option '--frob'")
    refused(command, command("--frob=x"), "unrecognized option '--frob=x'")
    refused(command, command("--frob", "--help"), "unrecognized option '--frob'")
    refused(command, command("-%"), "unrecognized option '-%'")
    refused(command, command("--\x1b[2J"), "unrecognized option '--?[2J'")


def test_values(command):
    """Each option that takes a value needs one, unless it can be left out; the others take none."""
    for letter, name, mark, value in command.options:
        if mark == " ":
            refused(command, command(f"--{name}"), f"option '--{name}' needs a value: {value}")
            if letter:
                refused(command, command(f"-{letter}"), f"option '--{name}' needs a value: {value}")
        elif not mark:
            refused(command, command(f"--{name}=x"), f"option '--{name}' takes no value")


def test_help_wins_over_what_follows(command):
    for option in ("--help", "-h", "--hel"):
        result = command(option, "--frob", "too", "many", "words")
        assert result.returncode == 0 and result.stdout.startswith(
            f"Usage: {command.name} ") and not result.stderr, result


def test_each_option_is_in_the_manual(command):
    page = (ROOT / MANUALS[command.name]).read_text()
    if command.name == "sealboot replay":  # its manual refers to that of measure
        page += (ROOT / "policy/man/sealboot-measure.1").read_text()
    for _, name, _, _ in command.options:
        assert name in ("help", "version") or re.search(rf"\bFl Fl {name}\b", page), (command.name, name)


def test_ambiguous(build):
    done = subprocess.run([build / "policy/sealboot", "seal", "--f"], capture_output=True, text=True)
    assert done.returncode == USAGE and "option '--f' is ambiguous: --frame-length, --force\n" in done.stderr, done


def test_nothing_at_all(build):
    """Both say on standard error what they are for."""
    for arguments in ([], ["policy"]):
        done = subprocess.run([build / "policy/sealboot", *arguments], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (USAGE, "") and done.stderr.startswith("Usage: sealboot "), done
