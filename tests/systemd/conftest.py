# SPDX-License-Identifier: Apache-2.0
"""The end-to-end tests' local stack, and machines to boot beside it. Only in a fresh root (tests/fresh): the machines are
overlays of the root the tests run in, with everything that is installed there."""

import os
import pathlib
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parent.parent)]

from e2e.conftest import _calm, build, stack  # noqa: E402, F401


def pytest_collection_modifyitems(items):
    if not os.environ.get("SEALBOOT_FRESH_ROOT"):
        for item in items:
            item.add_marker(pytest.mark.skip(reason="boots the root it runs in: see tests/fresh"))
