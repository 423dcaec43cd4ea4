# SPDX-License-Identifier: Apache-2.0
"""The time of a simulated machine: the real one, shifted."""

import time


def iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def http(seconds: float) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(seconds))


class Clock:
    def __init__(self, offset: float = 0):
        self.offset = offset

    def now(self) -> float:
        return time.time() + self.offset

    def iso(self, shift: float = 0) -> str:
        return iso(self.now() + shift)

    def http(self) -> str:
        return http(self.now())
