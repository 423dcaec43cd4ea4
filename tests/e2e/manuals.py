# SPDX-License-Identifier: Apache-2.0
"""What the manuals say of JSON output."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]


def members(answer):
    """The names of all members of a JSON answer, whose values may be objects, and arrays of them."""
    if isinstance(answer, dict):
        return set(answer).union(*map(members, answer.values()))
    return set().union(*map(members, answer)) if isinstance(answer, list) else set()


def undocumented(answer, verb):
    page = (ROOT / f"policy/man/sealboot-{verb}.1").read_text()
    return {m for m in members(answer) if not re.search(rf"^\.(Ql|It) {re.escape(m)}\b", page, re.MULTILINE)}
