# SPDX-License-Identifier: Apache-2.0
"""The local stack, and machines to boot beside it. Only in a fresh root (tests/fresh): the machines are overlays of the
root the tests run in, with everything that is installed there."""

import os
import pathlib
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS / "e2e")]

from stack import session  # noqa: E402


@pytest.fixture(scope="module")
def stack():
    running = session.start()
    yield running
    session.end(running)


def pytest_collection_modifyitems(items):
    if not os.environ.get("SEALBOOT_FRESH_ROOT"):
        for item in items:
            item.add_marker(pytest.mark.skip(reason="boots the root it runs in: see tests/fresh"))
