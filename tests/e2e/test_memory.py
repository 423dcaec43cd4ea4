# SPDX-License-Identifier: Apache-2.0
"""The agent's memory beside the tmpfs: it does not grow with the model, and keys are in locked memory only."""

import contextlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import time

import pytest

from sealer import SUITE, Sealed, derive

MIB = 1 << 20
LIMIT_KIB = 64 * 1024


@pytest.mark.parametrize("size,frame_length", [(64 * MIB, MIB), (64 * MIB, 4096), (4096 * MIB, MIB)],
                         ids=["64 MiB", "64 MiB in frames of 4 KiB", "4 GiB"])
def test_peak_memory(boot, tmp_path, size, frame_length):
    if shutil.disk_usage("/dev/shm").free < size + (1 << 30) or shutil.disk_usage(tmp_path).free < 2 * size:
        pytest.skip(f"no room for a model of {size} bytes")
    block = os.urandom(frame_length)
    sealed = tmp_path / "big.sealed"
    Sealed(b"", boot.data_key(), frame_length=frame_length).write(sealed, (block for _ in range(size // frame_length)))
    boot.stack.control.link_object(boot.stack.bucket, "big.sealed", str(sealed))
    boot.launch("big.sealed")
    result = boot.run()
    sealed.unlink()
    assert result.returncode == 0, result
    assert (boot.directory / "current/model").stat().st_size == size
    # VmHWM: the tmpfs is not mapped, so this is all there is beside it.
    peak = result.report["resources"]["peak_memory_kib"]
    rate = next(s["gb_per_s"] for s in result.report["stages"] if s["name"] == "unseal")
    cpu = result.report["resources"]["cpu_seconds"] / size * 1e9
    print(f"{size // MIB} MiB: VmHWM {peak} KiB, {cpu:.2f} CPU s/GB, {rate} GB/s")
    assert peak <= LIMIT_KIB


def mappings(pid: int):
    """The readable mappings of a process: bytes, name, flags as in VmFlags of smaps."""
    found = []
    for line in open(f"/proc/{pid}/smaps"):
        words = line.split()
        if re.fullmatch("[0-9a-f]+-[0-9a-f]+", words[0]):
            start, end = (int(n, 16) for n in words[0].split("-"))
            found.append([start, end, words[5] if len(words) > 5 else "anonymous", []])
        elif words[0] == "VmFlags:":
            found[-1][3] = words[1:]
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for start, end, name, flags in found:
            if "rd" in flags and name not in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
                memory.seek(start)
                yield memory.read(end - start), name, flags


def secrets_of(sealed: Sealed) -> dict[str, bytes]:
    """The data key, and the file key, which an expanded AES key begins with."""
    key = sealed.key.plaintext
    return {"data key": key, "file key": derive(key, sealed.id, struct.pack(">H", SUITE) + b"DERIVEKEY")}


@contextlib.contextmanager
def unsealing(boot, build, tmp_path):
    """An agent that has begun to write plaintext: its keys are in use. With what it unseals."""
    model = os.urandom(8 * MIB)
    sealed = Sealed(model, boot.data_key(), frame_length=MIB)
    boot.put("slow", bytes(sealed))
    boot.launch("slow")
    boot.stack.control.fault("slow", service="s3", operation="GetObject", count=None, rate=MIB)
    (tmp_path / "agent.json").write_text(json.dumps(boot.config))
    process = subprocess.Popen([
        build / "agent/sealboot-agent", "--config", tmp_path / "agent.json", "--report", tmp_path / "report.json",
        "--tcti", boot.stack.variables["TPM2TOOLS_TCTI"]
    ], stderr=subprocess.DEVNULL)
    try:
        frames, deadline = [model[i * MIB:i * MIB + 64] for i in range(8)], time.monotonic() + 60
        while not any(frame in written for frame in frames for p in boot.directory.glob(".unsealing/*")
                      for written in [p.read_bytes()]) and time.monotonic() < deadline:
            time.sleep(0.1)
        yield process, sealed
    finally:
        process.kill()
        process.wait()


def test_keys_are_in_locked_memory_only(boot, build, tmp_path):
    """While a model is unsealed, its keys are nowhere but in memory that is never swapped, and never in a core file."""
    places = {}
    with unsealing(boot, build, tmp_path) as (process, sealed):
        os.kill(process.pid, signal.SIGSTOP)
        for contents, name, flags in mappings(process.pid):
            for what, bytes_ in secrets_of(sealed).items():
                if bytes_ in contents:
                    places.setdefault(what, []).append((name, flags))
    assert set(places) == set(secrets_of(sealed))
    for what, where in places.items():
        assert all("lo" in flags and "dd" in flags for _, flags in where), (what, where)


def test_neither_keys_nor_plaintext_outlive_a_notice(boot, build, tmp_path):
    """They are gone before Auto Scaling is told that the instance is given up, which can take half a minute."""
    boot.config |= {"lifecycle_hook": {"group": "inference", "name": "model-loaded"}, "heartbeat_seconds": 1}
    control = boot.stack.control
    told = control.fault("latency", service="autoscaling", operation="CompleteLifecycleAction", seconds=2)
    with unsealing(boot, build, tmp_path) as (process, sealed):
        control.settings(imds={"lifecycle_state": "Warmed:Hibernated"})
        while process.poll() is None and not any(f["hits"] for f in control.faults() if f["id"] == told):
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGSTOP)
        boot.stack.nothing_left(boot.directory)
        for contents, name, _ in mappings(process.pid):
            for what, bytes_ in secrets_of(sealed).items():
                assert bytes_ not in contents, (what, name)
        os.kill(process.pid, signal.SIGCONT)
        assert process.wait(30) == 16 and control.autoscaling()["ended_by"] == "ABANDON"
