# SPDX-License-Identifier: Apache-2.0
"""Room on the model tmpfs, on real mounts: what a model takes up, what is counted before the fetch, and who refuses."""

import os
import pathlib
import re
import subprocess

import pytest

from boots import data
from sealer import Sealed, put_model

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
UNIT = SOURCE / "units/run-sealboot-model.mount"
DROP_IN = SOURCE / "kiwi/root-debian/usr/lib/systemd/system/run-sealboot-model.mount.d/image.conf"
MIB = 1 << 20

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts")


def options_of(unit: pathlib.Path) -> list[str]:
    return re.search(r"(?m)^Options=(.*)$", unit.read_text())[1].split(",")


def shipped(**changed) -> str:
    """The options of the shipped unit, without its owner, and with these instead of its own."""
    kept = [o for o in options_of(UNIT) if o.partition("=")[0] not in ("uid", "gid", *changed)]
    return ",".join([*kept, *(f"{name}={value}" for name, value in changed.items())])


def mounts(options: str) -> bool:
    return subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "-o", options, "tmpfs", "/mnt"],
                          capture_output=True).returncode == 0


@pytest.fixture
def mounted(boot, tmp_path):
    """mounted(options) makes boots write to a tmpfs of their own; mounted.used() is what the last one took up."""
    place, used = tmp_path / "memory", tmp_path / "used"
    place.mkdir()
    boot.config["model_directory"] = str(place)

    class Mounted:
        def __call__(self, options):
            script = (f'mount -t tmpfs -o {options} tmpfs {place} || exit 99; "$@"; code=$?; '
                      f'stat -f -c "%b %f %S %c %d" {place} >{used}; exit $code')
            self.wrapper = ("unshare", "--mount", "sh", "-c", script, "sh")
            return {"wrapper": self.wrapper}

        @staticmethod
        def used() -> tuple[int, int]:
            blocks, free, size, inodes, inodes_free = map(int, used.read_text().split())
            return (blocks - free) * size, inodes - inodes_free
    return Mounted()


def many(boot, n=200, size=60_000, directories=1):
    """Small files, as adapters, tokenizers and engine parts are; 15 pages of 4096 bytes each."""
    files = {f"{i % directories}/adapter_{i:03}": data(size, i) for i in range(n)}
    put_model(boot.stack.s3(), boot.stack.bucket, "many/", files, boot.data_key())
    boot.launch("many/")


def test_small_files_take_up_whole_pages_and_no_more(boot, mounted):
    """12,000,000 bytes in 200 files take up 12,288,000, which is less than 12 MiB and more than 11."""
    many(boot)
    result = boot.run(**mounted(shipped(size="12m")))
    assert result.returncode == 0, result
    assert mounted.used()[0] == 200 * 15 * 4096
    boot.stack.control.tpm_reset()
    boot.stack.control.clear_audit()
    boot.refused(57, "has 12000000 bytes and takes up 12288000", "the limit is the tmpfs (size=)",
                 **mounted(shipped(size="11m")))
    fetched = {e["key"] for e in boot.stack.control.audit(service="s3")}
    assert fetched <= {"many/manifest.sealed", "many/00000.sealed"}


def test_the_last_page_counts(boot, mounted):
    """A file of one byte more than a page takes up two, also when it is the only one."""
    boot.put("one", bytes(Sealed(data(8 * MIB - 4095), boot.data_key())))
    boot.launch("one")
    assert boot.run(**mounted(shipped(size="8m"))).returncode == 0
    assert mounted.used()[0] == 8 * MIB
    boot.stack.control.tpm_reset()
    boot.put("one", bytes(Sealed(data(8 * MIB + 1), boot.data_key())))
    boot.refused(57, f"needs {8 * MIB + 1} bytes and takes up {8 * MIB + 4096}", "the limit is the tmpfs (size=)",
                 **mounted(shipped(size="8m")))


def test_a_huge_page_for_every_file_is_counted_as_such(boot, mounted):
    if not mounts("huge=always"):
        pytest.skip("the kernel has no huge pages")
    many(boot)
    refused = boot.refused(57, "takes up 419430400", "the limit is the tmpfs (size=)",
                           **mounted(shipped(size="64m", huge="always")))
    assert "huge=within_size instead of huge=always" in refused.stderr


def test_files_and_directories_are_counted(boot, mounted):
    """The root, two private directories, 30 files in 5 directories: 38, and not one less."""
    many(boot, n=30, size=10, directories=5)
    assert boot.run(**mounted(shipped(nr_inodes=38))).returncode == 0
    assert mounted.used()[1] == 37          # .unsealing is gone
    boot.stack.control.tpm_reset()
    refused = boot.refused(57, "30 files in 5 directories", "takes 34 more of both (nr_inodes=)",
                           **mounted(shipped(nr_inodes=37)))
    assert "Raise nr_inodes=" in refused.stderr
    boot.refused(57, "the tmpfs has all the files it takes (nr_inodes=)", **mounted(shipped(nr_inodes=2)))


def test_noswap_is_the_only_change_of_the_image():
    assert [o for o in options_of(DROP_IN) if o != "noswap"] == options_of(UNIT)
    assert "noswap" in options_of(DROP_IN) and "noswap" not in options_of(UNIT)


def test_the_mount_is_never_swapped_out(boot, mounted):
    """What the unit mounts on every kernel, and what the image's drop-in mounts on those that know noswap."""
    if not mounts("noswap"):
        pytest.skip("the kernel is older than 6.4")
    many(boot, n=3)
    options = shipped(size="8m") + ",noswap"
    script = mounted(options)["wrapper"]
    shown = subprocess.run([*script, "sh", "-c", f"grep ' {boot.config['model_directory']} ' /proc/self/mountinfo"],
                           capture_output=True, text=True, check=True).stdout
    assert {"noswap", "huge=within_size", "noexec", "nosuid", "nodev"} <= set(re.split(r"[ ,]", shown.strip()))
    assert boot.run(**mounted(options)).returncode == 0
