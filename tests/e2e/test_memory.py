# SPDX-License-Identifier: Apache-2.0
"""The agent's memory beside the tmpfs does not grow with the model."""

import os
import shutil

import pytest

from sealer import Sealed

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
    assert (boot.directory / "current/big").stat().st_size == size
    # VmHWM: the tmpfs is not mapped, so this is all there is beside it.
    peak = result.report["resources"]["peak_memory_kib"]
    rate = next(s["gb_per_s"] for s in result.report["stages"] if s["name"] == "unseal")
    print(f"{size // MIB} MiB: VmHWM {peak} KiB, {result.report['resources']['cpu_seconds'] / size * 1e9:.2f} CPU s/GB, {rate} GB/s")
    assert peak <= LIMIT_KIB
