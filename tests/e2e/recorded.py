# SPDX-License-Identifier: Apache-2.0
"""Boots that were recorded (tests/fixtures/measure): images, event logs and the PCRs that the TPM held."""

import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests/fixtures/measure"
CASES = {case["name"]: case for case in json.loads((FIXTURES / "cases.json").read_text())}


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
    loaders = [FIXTURES / f"{case['loader']}.efi"] if "loader" in case else []
    return options + loaders + [FIXTURES / case["image"]]
