# SPDX-License-Identifier: Apache-2.0
"""The image with the driver of GPUs, on a machine that has none: the driver loads and says so, the kernel is locked and
takes no more modules before there is a network, and the inference server answers. Which modules Secure Boot lets in.

tests/vm/check --gpu runs it; CI does not, since it compiles the driver. $SEALBOOT_GPU_IMAGE names an image that an
earlier run built (it is made there if missing). What only an instance with a GPU can show is in kiwi/README.md."""

import hashlib
import json
import lzma
import os
import pathlib
import re
import shutil
import subprocess

import pytest

import instance
import recipe
from instance import Instance, assert_proven, assert_serves, references, sign
from instance import configuration, key, model, overlay, released, stack  # noqa: F401 (fixtures)
from isolation import FAIL, PASS, audit
from machine import SOURCE, STUBS, VARIABLES, Disk, Machine, opened_image, run, script, wait_until

KIWI = SOURCE / "kiwi"
OVERLAYS = [SOURCE / "tests/vm/gpu-overlay", KIWI / "gpu/self-test"]
CACHE = pathlib.Path(os.environ.get("SEALBOOT_CACHE", "/var/cache/sealboot"))
RELEASE = re.search(r"linux-image-([0-9][^_]*)_", (KIWI / "debian.lock").read_text())[1]


def options(overlay):
    given = [word for directory in (overlay, *OVERLAYS) for word in ("--overlay", directory)]
    return ["--profile", "debian-gpu", "--neuron", *given]


def compiled(output, *options):
    """The driver's modules, as kiwi/gpu-driver compiles them, or has kept them."""
    subprocess.run([KIWI / "gpu-driver", "--system", "debian", "--kernel", RELEASE, "--neuron", "--output", output,
                    *options], check=True)
    return output / "modules"


@pytest.fixture(scope="module")
def image(configuration, overlay, tmp_path_factory):
    output = pathlib.Path(os.environ.get("SEALBOOT_GPU_IMAGE") or tmp_path_factory.getbasetemp() / "gpu-image")
    return instance.built(output, configuration, *options(overlay))


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("driver"))


def test_the_image_is_the_recipes(image, overlay):
    with opened_image(image / "sealboot.raw", "debian-gpu", [overlay, *OVERLAYS], [instance.KEEP]) as opened:
        found = audit(opened)
        assert not [result for result in found if result[1] == FAIL]
        assert ("driver", PASS, "as this tree compiles it, without signatures") in found
        # The driver adds its files, and no helper, compiler or DKMS.
        names = {str(p.relative_to(opened.root)) for p in opened.root.rglob("*") if not p.is_dir()}
        assert {f"usr/lib/modules/{RELEASE}/updates/{name}.ko" for name in ("nvidia", "nvidia-uvm", "neuron")} <= names
        assert not [name for name in names if re.search("nvidia-modprobe|dkms|nvidia-smi|/gcc|/usr/src", name)]
        # What test_image.py finds none of in a plain image.
        found = {re.sub(r"[0-9.]{4,}\S*", "*", line) for line in recipe.of_gpus(opened.root)}
        units = recipe.UNITS
        assert {f"{units}sealboot-gpu.service", f"{units}nvidia-persistenced.service", recipe.GPU_PROGRAM,
                f"{units}sealboot-lockdown.service: Requires=sealboot-firewall.service sealboot-gpu.service",
                "usr/lib/modprobe.d/sealboot-gpu.conf: blacklist neuron", "usr/bin/nvidia-persistenced",
                "usr/lib/sysusers.d/nvidia-persistenced.conf", "usr/lib/tmpfiles.d/nvidia-persistenced.conf"} <= found
        assert [line for line in found if line.startswith("etc/passwd: nvpd:")]
        assert [line for line in found if line.startswith("usr/lib/firmware/nvidia/")]
        libraries = opened.root / "usr/lib/x86_64-linux-gnu"
        assert (libraries / "libcuda.so.1").resolve().stat().st_size > 20 << 20


def test_boots_to_a_served_answer_without_a_gpu(image, stack, model, released, sealboot, tmp_path, record_property):
    released(image / "pcr_measurements.json")
    with Instance(tmp_path, image / "sealboot.raw", stack) as machine:
        report, guest = machine.told("debian-gpu")
        (image / "guest-report").write_text(machine.raw())
        assert report.cmdline == recipe.command_line("debian-gpu")
        assert report.pcrs["sha384"][4] == references(image / "pcr_measurements.json")["PCR4"]
        assert_serves(machine, report, guest, model)
        assert_proven(machine, image, stack, model, sealboot)
        record_property("startup", guest.fact("startup"))
    assert not [result for result in audit(guest) if result[1] == FAIL]
    # The driver's init function ran: nobody's signature was asked for, and there is no GPU.
    journal, log = guest.fact("gpu-journal"), guest.fact("kernel-log")
    assert "could not insert 'nvidia': No such device" in journal
    assert "0 NVIDIA GPUs, 0 NVSwitches, 0 Neuron devices; lockdown is at confidentiality" in journal
    assert "No NVIDIA GPU found" in log and "nvidia: module verification failed" in log
    assert not [line for line in guest.lines("modules") if line.startswith("nvidia")]
    # Neuron's driver takes it that there is no device, and stays.
    assert "Neuron Driver Started with Version:2.24.7.0" in log
    assert [line for line in guest.lines("modules") if line.startswith("neuron ")]
    # From then on nothing gets in, and lockdown cannot be lowered.
    assert "Operation not permitted" in guest.fact("late-driver") and "status 1" in guest.fact("late-driver")
    assert "[confidentiality]" in guest.fact("lower-lockdown")
    assert_tested(guest, machine, tmp_path)


def assert_tested(guest, machine, directory):
    """The self-test's overlay: on the console, in the journal, in the boot report, and what the doctor says of it."""
    tested = guest.fact("gpu-test")
    assert "FAIL gpus: this machine has no NVIDIA GPU" in tested and "PASS lockdown" in tested
    # The driver's libraries load with what the image has, and find no driver.
    assert "FAIL libraries: nvmlInit: " in tested and "FAIL cuda: cuInit: " in tested
    lines = [line for line in tested.splitlines() if line.startswith("gpu-test: ")]
    assert lines[-1] == "gpu-test: 1 of 6" and all(line in machine.text() for line in lines)
    boot_report = json.loads(guest.fact("boot-report"))
    assert [f"gpu-test: {'PASS' if check['passed'] else 'FAIL'} {check['name']}: {check['text']}"
            for check in boot_report["gpu_test"]] == lines[:-1]
    (directory / "report.json").write_text(json.dumps(boot_report))
    doctor = subprocess.run([pathlib.Path(os.environ["SEALBOOT_BUILD"], "policy/sealboot"), "doctor", "--json",
                             directory / "report.json"], capture_output=True, text=True, check=False)
    remarks = [remark["text"] for remark in json.loads(doctor.stdout)["remarks"] if remark["topic"] == "gpus"]
    assert doctor.returncode == 73 and len(remarks) == 5, doctor
    assert "the check gpus of the GPUs failed: this machine has no NVIDIA GPU" in remarks


def test_a_neuron_device_that_does_not_start_ends_the_boot(image, stack, model, released, tmp_path):
    """A machine that shows such a device to sealboot-gpu, where the driver finds none."""
    released(image / "pcr_measurements.json")
    port = ["-chardev", "null,id=neuron", "-device", "virtserialport,chardev=neuron,name=sealboot.neuron"]
    with Instance(tmp_path, image / "sealboot.raw", stack, extra=port) as machine:
        machine.wait_for("sealboot-gpu: /sys/class/neuron_device: the driver has not started every Neuron device",
                         instance.BOOT)
        wait_until(lambda: machine.qemu.poll() is not None, instance.BOOT, "end of the machine", machine.tail)
    # It had no network: nobody was asked for a key.
    assert not stack.control.audit()


def test_signed_modules_load_with_secure_boot(configuration, overlay, modules, owner_keys, stack, model, key, sealboot,
                                              tmp_path):
    """The variant for Secure Boot: whoever holds db.key signs the modules, and then the disk."""
    signed = tmp_path / "modules"
    shutil.copytree(modules, signed)
    run(KIWI / "secure-boot", "sign-modules", owner_keys, signed)
    output = tmp_path / "image"
    instance.built(output, configuration, *options(overlay), "--module-signatures", signed)
    # Measurements without PCR7 would release a key to this image with Secure Boot off.
    assert not (output / "pcr_measurements.json").exists()
    with opened_image(output / "sealboot.raw", "debian-gpu", [overlay, *OVERLAYS], [instance.KEEP]) as opened:
        assert ("driver", PASS, "as this tree compiles it, signed") in audit(opened)
    measurements = sign(output / "sealboot.raw", owner_keys, sealboot)
    instance.release(stack, key, sealboot, measurements)
    with Instance(tmp_path, output / "sealboot.raw", stack, variables=owner_keys / "OVMF_VARS.fd") as machine:
        report, guest = machine.told("debian-gpu")
        assert report.cmdline == recipe.command_line("debian-gpu", signed=True)
        assert report.pcrs["sha384"][7] == references(measurements)["PCR7"]
        assert_serves(machine, report, guest, model)
    assert not [result for result in audit(guest) if result[1] == FAIL]
    assert guest.fact("signatures-enforced") == "Y"
    assert [line for line in guest.lines("modules") if line.startswith("neuron ")]
    assert "could not insert 'nvidia': No such device" in guest.fact("gpu-journal")
    assert "Operation not permitted" in guest.fact("late-driver")


# --- which modules a kernel takes

GUEST = """#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs devtmpfs /dev
mount -t securityfs securityfs /sys/kernel/security
exec >/dev/ttyS0 2>&1
echo; echo report-begin
tried() { for name in bare stranger owner kernel; do echo "$1 $name $(insmod /$name.ko 2>&1)."; rmmod dummy; done; }
tried booted 2>/dev/null
echo confidentiality >/sys/kernel/security/lockdown
tried locked 2>/dev/null
echo 1 >/proc/sys/kernel/modules_disabled
tried closed 2>/dev/null
echo report-end
poweroff -f
"""
DENIED, REJECTED, ABSENT, LOADED = "not permitted", "rejected", "No such device", ""


@pytest.fixture(scope="module")
def tiny(modules, owner_keys, tmp_path_factory):
    """A guest of the image's kernel with busybox, the driver's module and one of Debian's."""
    work = tmp_path_factory.mktemp("modules")
    strangers = work / "strangers"
    run(KIWI / "secure-boot", "keys", strangers)
    package = next(path for path in recipe.archives().values() if path.name.startswith(f"linux-image-{RELEASE}_"))
    script(f"""
        mkdir -p {work}/root/bin {work}/root/proc {work}/root/sys {work}/root/dev {work}/deb
        cp /usr/bin/busybox {work}/root/bin/; /usr/bin/busybox --install -s {work}/root/bin
        for link in {work}/root/bin/*; do [ ! -L $link ] || ln -sfn busybox $link; done
        dpkg-deb -x {package} {work}/deb; cp {work}/deb/boot/vmlinuz-* {work}/kernel""", binds=["--bind", str(CACHE)])
    packed = next((work / "deb").rglob("dummy.ko.xz"))
    (work / "root/kernel.ko").write_bytes(lzma.decompress(packed.read_bytes()))
    for name, keys in (("bare", None), ("stranger", strangers), ("owner", owner_keys)):
        folder = work / name
        folder.mkdir()
        shutil.copyfile(modules / "nvidia.ko", folder / "nvidia.ko")
        if keys:
            run(KIWI / "secure-boot", "sign-modules", keys, folder)
            target = work / f"{name}-signed"
            target.mkdir()
            shutil.copyfile(modules / "nvidia.ko", target / "nvidia.ko")
            run(KIWI / "secure-boot", "attach-signatures", folder, target)
            folder = target
        shutil.copyfile(folder / "nvidia.ko", work / f"root/{name}.ko")
    (work / "root/init").write_text(GUEST)
    (work / "root/init").chmod(0o755)
    script(f"cd {work}/root && find . | cpio --quiet -o -H newc | zstd -q -1 >{work}/initrd")
    return work


@pytest.mark.parametrize("secure, words, booted", [
    # what each of these gets: no signature, a stranger's, db's, Debian's
    (False, "", [ABSENT, ABSENT, ABSENT, LOADED]),
    (False, "lockdown=confidentiality", [DENIED, DENIED, DENIED, LOADED]),
    (True, "", [REJECTED, REJECTED, ABSENT, LOADED]),
    (True, "efi=noruntime", [REJECTED, REJECTED, REJECTED, LOADED]),
], ids=["off", "off, locked", "secure boot", "secure boot, db not read"])
def test_which_modules_the_kernel_takes(secure, words, booted, tiny, owner_keys, tmp_path):
    """"No such device" is the driver's own answer: the kernel took the module. After lockdown was raised late, only a
    signature that the kernel trusts counts; after modules_disabled none."""
    script(f"""ukify build --linux={tiny}/kernel --initrd={tiny}/initrd --stub={STUBS}/linuxx64.efi.stub \\
            --cmdline="console=ttyS0,115200 quiet loglevel=1 panic=-1 {words}" --output={tmp_path}/unsigned.efi
        sbsign --key {owner_keys}/db.key --cert {owner_keys}/db.pem --output {tmp_path}/signed.efi \\
            {tmp_path}/unsigned.efi 2>/dev/null""")
    disk = Disk(tmp_path / "disk.raw", 96)
    disk.put(tmp_path / ("signed.efi" if secure else "unsigned.efi"), "/EFI/BOOT/BOOTX64.EFI")
    variables = owner_keys / "OVMF_VARS.fd" if secure else VARIABLES
    with Machine(tmp_path, disk.path, variables=variables, memory=1536) as machine:
        machine.wait_for(r"^report-end", instance.BOOT)
        said = machine.text().replace("\r", "")
    found = dict(re.findall(r"^((?:booted|locked|closed) \w+) (.*)$", said, re.MULTILINE))
    trusted = booted if secure or words else [DENIED, DENIED, DENIED, LOADED]
    for when, expected in (("booted", booted), ("locked", trusted), ("closed", [DENIED] * 4)):
        for name, words in zip(("bare", "stranger", "owner", "kernel"), expected):
            answer = found[f"{when} {name}"]
            assert (words in answer if words else answer == "."), (when, name, answer, words)


def test_signatures_are_the_same_each_time_and_only_of_their_module(modules, owner_keys, tmp_path):
    first, second, target = (tmp_path / name for name in ("first", "second", "target"))
    for folder in (first, second, target):
        shutil.copytree(modules, folder)
    for folder in (first, second):
        run(KIWI / "secure-boot", "sign-modules", owner_keys, folder)
    written = [[p.read_bytes() for p in sorted(folder.glob("*.p7s"))] for folder in (first, second)]
    assert len(written[0]) == 3 and written[0] == written[1]
    before = hashlib.sha256((target / "nvidia.ko").read_bytes()).hexdigest()
    (second / "nvidia.ko.p7s").write_bytes((first / "nvidia-uvm.ko.p7s").read_bytes())
    with pytest.raises(AssertionError, match="no signature of this module"):
        run(KIWI / "secure-boot", "attach-signatures", second, target)
    assert hashlib.sha256((target / "nvidia.ko").read_bytes()).hexdigest() == before
    run(KIWI / "secure-boot", "attach-signatures", first, target)
    data = (target / "nvidia.ko").read_bytes()
    assert hashlib.sha256(recipe.unsigned(data)).hexdigest() == before and data.endswith(recipe.SIGNATURE)


# --- a second time

@pytest.mark.skipif(not os.environ.get("SEALBOOT_REBUILD"), reason="SEALBOOT_REBUILD=1 compiles a second time")
def test_a_second_compilation_gives_the_same_modules(modules, tmp_path):
    """In another throwaway root; kiwi/gpu-driver compares it with what it kept."""
    again = compiled(tmp_path, "--anew")
    assert {p.name for p in modules.iterdir()} == {"nvidia.ko", "nvidia-uvm.ko", "neuron.ko"}
    assert {p.name: p.read_bytes() for p in again.iterdir()} == {p.name: p.read_bytes() for p in modules.iterdir()}


@pytest.mark.skipif(not os.environ.get("SEALBOOT_REBUILD"), reason="SEALBOOT_REBUILD=1 builds a second time")
def test_a_second_build_is_byte_identical(image, configuration, overlay, tmp_path):
    again = instance.built(tmp_path / "again", configuration, *options(overlay))
    assert (again / "SHA256SUMS").read_text() == (image / "SHA256SUMS").read_text()
    assert json.loads((again / "pcr_measurements.json").read_text()) == \
        json.loads((image / "pcr_measurements.json").read_text())
