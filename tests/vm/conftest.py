# SPDX-License-Identifier: Apache-2.0
import os
import pathlib
import subprocess

import pytest

from machine import SOURCE, STUBS, VARIABLES, Disk, run, script


@pytest.fixture(scope="session")
def sealboot():
    """The `sealboot` command; $SEALBOOT_BUILD names the build directory."""
    build = pathlib.Path(os.environ.get("SEALBOOT_BUILD", SOURCE / "build"))
    program = build / "policy/sealboot"
    if not program.exists():
        pytest.fail(f"{program} is not built; run tests/vm/check, or set SEALBOOT_BUILD")

    def call(*arguments, env=None):
        done = subprocess.run([program, *map(str, arguments)], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout
    return call


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """UKIs of Debian's kernel and a busybox that prints the PCRs: boots in seconds. Also an addon for it."""
    work = tmp_path_factory.mktemp("tiny")
    script(f"""
        mkdir -p {work}/root/bin {work}/root/proc {work}/root/sys {work}/root/dev
        cp /usr/bin/busybox {work}/root/bin/; /usr/bin/busybox --install -s {work}/root/bin
        for link in {work}/root/bin/*; do [ ! -L $link ] || ln -sfn busybox $link; done
        install -m 755 {SOURCE}/tests/vm/guest-init {work}/root/init
        cd {work}/root && find . -print0 | sort -z | cpio -0 --quiet --reproducible -o -H newc > {work}/initrd
        for name in tiny other; do
            ukify build --linux=$(ls /boot/vmlinuz-*) --initrd={work}/initrd --stub={STUBS}/linuxx64.efi.stub \
                --cmdline="console=ttyS0,115200 quiet panic=-1 random.trust_cpu=1 sealboot.build=$name" \
                --os-release="ID=$name" --output={work}/$name.efi
        done
        ukify build --cmdline=sealboot.addon=1 --stub={STUBS}/addonx64.efi.stub --output={work}/evil.addon.efi""")
    disk = Disk(work / "tiny.raw")
    disk.put(work / "tiny.efi", "/EFI/BOOT/BOOTX64.EFI")
    return work


@pytest.fixture(scope="session")
def owner_keys(tmp_path_factory):
    """Secure Boot keys of an owner, with the variable stores and signature lists made from them."""
    keys = tmp_path_factory.mktemp("keys")
    run(SOURCE / "kiwi/secure-boot", "keys", keys)
    run(SOURCE / "kiwi/secure-boot", "variables", "--firmware", VARIABLES, keys)
    return keys
