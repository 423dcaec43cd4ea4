# SPDX-License-Identifier: Apache-2.0
"""The audit log: one JSON line for each request that reached a service, as CloudTrail would tell it."""

import json
import threading


class Audit:
    def __init__(self, path: str, clock):
        self.path, self.clock, self.lock = path, clock, threading.Lock()
        open(path, "a", encoding="utf-8").close()

    def write(self, service: str, operation: str, **fields):
        entry = {"time": self.clock.iso(), "service": service, "operation": operation, **fields}
        with self.lock, open(self.path, "a", encoding="utf-8") as f:
            f.write(json.dumps(entry) + "\n")

    def read(self, **match) -> list[dict]:
        with self.lock, open(self.path, encoding="utf-8") as f:
            entries = [json.loads(line) for line in f]
        return [e for e in entries if all(e.get(k) == v for k, v in match.items())]

    def clear(self):
        with self.lock:
            open(self.path, "w", encoding="utf-8").close()
