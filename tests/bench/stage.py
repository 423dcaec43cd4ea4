# SPDX-License-Identifier: Apache-2.0
"""The stage of the benchmarks: a tmpfs, nginx as S3, the local stack for all else, and boots of the agent whose costs
are told."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import boots
from stack import nginx, session

GIB = 1 << 30
FRAME = 1 << 20


def note(text: str):
    print(f"  {text}", file=sys.stderr, flush=True)


def machine() -> str:
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
                 "CPU of an unknown model")
    return f"{len(os.sched_getaffinity(0))} CPUs, {model}, Linux {os.uname().release}"


class Cost:
    """Of one run: CPU and wall seconds, peak memory in MiB, what the agent's own report adds."""

    def __init__(self, cpu, wall, peak, report=None):
        self.cpu, self.wall, self.peak, self.report = cpu, wall, peak, report


def free_memory() -> int:
    return next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemAvailable:")) * 1024


def timed(arguments, env) -> Cost:
    """The costs of a process and all that it waited for. The shell between keeps our own size out of its peak."""
    before = time.monotonic()
    pid = os.posix_spawn("/bin/sh", ["/bin/sh", "-c", '"$@"', "sh", *map(str, arguments)], env,
                         file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)])
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        raise RuntimeError(f"{arguments[0]} ended with status {status}")
    return Cost(usage.ru_utime + usage.ru_stime, time.monotonic() - before, usage.ru_maxrss / 1024)


class Stage:
    def __init__(self, build: pathlib.Path, scratch: pathlib.Path):
        self.build, self.scratch = build, scratch
        self.objects, self.memory = scratch / "objects", scratch / "memory"
        self.limits_program = build / "tests/bench/bench-limits"

    @contextlib.contextmanager
    def open(self):
        for directory in (self.objects / "bench", self.memory):
            directory.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "huge=within_size,mode=700,size=80%", "tmpfs", self.memory],
                       check=True)
        try:
            with self.serve() as self.server:
                self.stack = session.start()
                try:
                    self.stack.calm()
                    self.stack.s3().create_bucket(Bucket="bench")
                    self.boot = boots.Boot(self.stack, self.agent, self.memory / "model", self.scratch)
                    yield self
                finally:
                    session.end(self.stack)
        finally:
            subprocess.run(["umount", self.memory], check=True)

    def serve(self):
        """nginx, for the agent's S3."""
        return nginx.serve(self.objects)

    def endpoint(self, scheme: str) -> str:
        return getattr(self.server, scheme)

    @contextlib.contextmanager
    def warm(self, size: int):
        """Memory of that size which this machine has at hand, for whoever runs inside (limits.c says why)."""
        size = min(size, free_memory() // 2) // FRAME * FRAME
        with subprocess.Popen([self.limits_program, "hold", str(size)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as holder:
            if holder.stdout.readline() != b"ready\n":
                raise RuntimeError("cannot hold memory")
            try:
                yield
            finally:
                holder.stdin.close()

    def agent(self, config, *arguments, **_):
        path, report = self.scratch / "agent.json", self.scratch / "report.json"
        path.write_text(json.dumps(config))
        report.unlink(missing_ok=True)
        env = {k: v for k, v in self.stack.env.items() if not k.startswith(("AWS_", "TPM2"))}
        cost = timed([self.build / "agent/sealboot-agent", "--config", path, "--report", report, "--tcti",
                      self.stack.variables["TPM2TOOLS_TCTI"], *arguments], env)
        cost.report = json.loads(report.read_text())
        cost.peak = cost.report["resources"]["peak_memory_kib"] / 1024
        return cost

    def run_agent(self, scheme: str, model="model.sealed", kms_seconds=0.0, **config) -> Cost:
        self.stack.calm()
        if kms_seconds > 0:
            self.stack.control.fault("latency", service="kms", operation="Decrypt", seconds=kms_seconds, count=None)
        directory = self.memory / "model"
        directory.mkdir(mode=0o700)
        endpoints = {
            "imds": self.stack.endpoints["imds"], "kms": self.stack.endpoints["kms"], "s3": self.endpoint(scheme)
        }
        self.stack.control.user_data(json.dumps({"sealboot": {"model": f"s3://bench/{model}"}}))
        cost = self.agent({
            **self.boot.config, "model_directory": str(directory), "endpoints": endpoints, "ca_bundle": self.server.ca,
            **config
        })
        shutil.rmtree(directory)
        return cost
