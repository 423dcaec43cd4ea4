# SPDX-License-Identifier: Apache-2.0
"""The time of a simulated machine: the real one, shifted."""

import datetime
import time


class Clock:
    def __init__(self, offset: float = 0):
        self.offset = offset

    def now(self) -> float:
        return time.time() + self.offset

    def iso(self, shift: float = 0) -> str:
        return datetime.datetime.fromtimestamp(self.now() + shift, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    def http(self) -> str:
        return datetime.datetime.fromtimestamp(self.now(), datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
