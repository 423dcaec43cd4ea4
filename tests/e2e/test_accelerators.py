# SPDX-License-Identifier: Apache-2.0
"""sealboot-gpu on made-up machines: which drivers it loads, which nodes it makes, what it refuses, and what its test
says. In a namespace with another /sys, /proc, /dev and modprobe. What drivers do, tests/vm/test_gpu.py shows."""

import os
import stat
import subprocess

import pytest

# Beside other /proc files, programs with sanitizers read their own.
INSIDE = """set -eu
mount --bind /proc machine/proc.kernel
for name in sys proc dev; do mount --bind machine/$name /$name; done
export PATH=$PWD/machine/bin:$PATH
exec "$@"
"""
MODPROBE = """#!/bin/sh
set -eu
echo "$1" >>machine/loaded
. "machine/driver/$1"
"""
GPU = ("0x10de", "0x20b0", "0x030200")
SWITCH = ("0x10de", "0x1af1", "0x068000")
NEURON = ("0x1d0f", "0x7264", "0x088000")
# A write to the kernel's file, at its beginning, changes which word is in brackets. Of these, only the first does then.
RAISED, STUCK = " " * 20 + "[confidentiality]\n", "[none] integrity confidentiality\n"


class Made:
    """A machine with these PCI devices, and drivers that are scripts."""

    def __init__(self, build, directory, devices, lockdown=RAISED):
        self.program, self.directory, self.top = build / "agent/machine/sealboot-gpu", directory, directory / "machine"
        for folder in ("bin", "driver", "sys/bus/pci/devices", "proc/driver", "proc.kernel", "dev"):
            (self.top / folder).mkdir(parents=True)
        (self.top / "proc/self").symlink_to(self.top / "proc.kernel/self")
        for number, device in enumerate(devices):
            for name, value in zip(("vendor", "device", "class"), device):
                self.write(f"sys/bus/pci/devices/0000:00:{number:02x}.0/{name}", f"{value}\n")
        self.write("sys/kernel/security/lockdown", lockdown)
        self.write("proc/sys/kernel/modules_disabled", "1\n")
        self.write("sys/module/neuron/version", "2.24.7.0\n")
        self.write("bin/modprobe", MODPROBE)
        (self.top / "bin/modprobe").chmod(0o755)

    def write(self, name, text):
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def driver(self, name, *lines):
        self.write(f"driver/{name}", "\n".join(lines) + "\n")

    def neuron(self, started):
        """A Neuron driver that starts this many devices: devtmpfs makes a node of each, for root alone."""
        self.driver("neuron", *(line for n in range(started) for line in (
            f"mkdir -p /sys/class/neuron_device/neuron{n}", f"echo 248:{n} >/sys/class/neuron_device/neuron{n}/dev",
            f"mknod -m 600 /dev/neuron{n} c 248 {n}")))

    def nvidia(self, gpus):
        self.driver("nvidia", *(line for n in range(gpus) for line in (
            f"mkdir -p /proc/driver/nvidia/gpus/{n}",
            f"printf 'Model: A100\\nDevice Minor: \\t %d\\n' {n} >/proc/driver/nvidia/gpus/{n}/information")))
        self.driver("nvidia-uvm", "printf 'Character devices:\\n508 nvidia-uvm\\n' >/proc/devices")

    def run(self, *arguments):
        # The sanitizer that looks for leaks needs the real /proc.
        options = f"{os.environ.get('ASAN_OPTIONS', '')}:detect_leaks=0".lstrip(":")
        done = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", INSIDE, "sh", self.program,
                               *arguments], cwd=self.directory, env={**os.environ, "ASAN_OPTIONS": options},
                              capture_output=True, text=True, check=False)
        loaded = self.top / "loaded"
        self.loaded = loaded.read_text().split() if loaded.exists() else []
        return done

    def locked(self):
        return (self.top / "sys/kernel/security/lockdown").read_text().startswith("confidentiality ")

    def nodes(self):
        """{name: (major, minor, mode)}"""
        found = {p.name: p.lstat() for p in (self.top / "dev").iterdir()}
        return {name: (os.major(s.st_rdev), os.minor(s.st_rdev), stat.S_IMODE(s.st_mode))
                for name, s in found.items() if stat.S_ISCHR(s.st_mode)}

    def refuses(self, words, *arguments):
        """Nothing is locked then: the units that need this program fail, and the machine is powered off."""
        done = self.run(*arguments)
        assert done.returncode == 1 and words in done.stderr and done.stdout == "", done
        assert not self.locked()


@pytest.fixture
def made(build, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("making device nodes needs root")
    return lambda *devices, **options: Made(build, tmp_path, devices, **options)


def test_a_machine_without_an_accelerator_is_only_locked(made):
    machine = made(("0x1d0f", "0xec20", "0x020000"))
    done = machine.run()
    assert done.returncode == 0, done
    assert done.stdout == "0 NVIDIA GPUs, 0 NVSwitches, 0 Neuron devices; lockdown is at confidentiality\n"
    assert machine.loaded == [] and machine.nodes() == {} and machine.locked()


def test_a_kernel_that_stays_unlocked_is_refused(made):
    machine = made(lockdown=STUCK)
    done = machine.run()
    assert done.returncode == 1 and "cannot be raised" in done.stderr


def test_neuron_devices_are_started_and_every_user_may_open_them(made):
    machine = made(NEURON, NEURON)
    machine.neuron(2)
    done = machine.run()
    assert done.returncode == 0, done
    assert done.stdout == "0 NVIDIA GPUs, 0 NVSwitches, 2 Neuron devices; lockdown is at confidentiality\n"
    assert machine.loaded == ["neuron"] and machine.locked()
    assert machine.nodes() == {"neuron0": (248, 0, 0o666), "neuron1": (248, 1, 0o666)}
    tested = machine.run("--test", "--save", "saved")
    assert tested.returncode == 0, tested
    assert (machine.directory / "saved").read_text() == tested.stdout
    assert tested.stdout.splitlines() == [
        "gpu-test: PASS neurons: 2 Neuron devices, driver 2.24.7.0",
        "gpu-test: PASS lockdown: confidentiality, and no module can be loaded", "gpu-test: 2 of 2"]


def test_the_test_finds_a_neuron_device_that_nobody_can_open(made):
    machine = made(NEURON)
    machine.neuron(1)
    assert machine.run().returncode == 0
    (machine.top / "dev/neuron0").chmod(0o600)
    tested = machine.run("--test")
    assert tested.returncode == 1, tested
    assert "gpu-test: FAIL neurons: /dev/neuron0 has mode 600: no inference server can open it\n" in tested.stdout
    assert machine.run("--test", "--save", "saved").returncode == 1
    assert (machine.directory / "saved").read_text() == tested.stdout
    unsaved = machine.run("--test", "--save", "no/directory")
    assert unsaved.returncode == 1 and "no/directory.new: No such file" in unsaved.stderr, unsaved
    (machine.top / "dev/neuron0").unlink()
    assert "FAIL neurons: /dev/neuron0: No such file" in machine.run("--test").stdout


@pytest.mark.parametrize("started", [0, 1])
def test_a_neuron_device_that_does_not_start_is_refused(made, started):
    """The driver's module loads all the same."""
    machine = made(NEURON, NEURON)
    machine.neuron(started)
    machine.refuses("/sys/class/neuron_device: the driver has not started every Neuron device of this machine")
    tested = machine.run("--test")
    assert f"FAIL neurons: the machine has 2 Neuron devices, the driver started {started}\n" in tested.stdout


def test_a_node_that_is_another_device_is_refused(made):
    machine = made(NEURON)
    machine.neuron(1)
    machine.driver("neuron", (machine.top / "driver/neuron").read_text().replace("c 248 0", "c 1 1"))
    machine.refuses("/dev/neuron0: is there already, and is another device")


@pytest.mark.parametrize("device, module", [(NEURON, "neuron"), (GPU, "nvidia")])
def test_a_driver_that_does_not_load_is_refused(made, device, module):
    machine = made(device)
    machine.driver(module, "echo 'modprobe: could not insert' >&2; exit 1")
    machine.refuses(f"{module}: the driver of this machine's accelerator did not load, for the reason above")
    assert machine.loaded == [module]


def test_a_gpus_nodes_are_made(made):
    machine = made(GPU, GPU)
    machine.nvidia(2)
    done = machine.run()
    assert done.returncode == 0, done
    assert done.stdout == "2 NVIDIA GPUs, 0 NVSwitches, 0 Neuron devices; lockdown is at confidentiality\n"
    assert machine.loaded == ["nvidia", "nvidia-uvm"] and machine.locked()
    assert machine.nodes() == {
        "nvidiactl": (195, 255, 0o666), "nvidia0": (195, 0, 0o666), "nvidia1": (195, 1, 0o666),
        "nvidia-uvm": (508, 0, 0o666), "nvidia-uvm-tools": (508, 1, 0o666)}


def test_a_gpu_that_the_driver_does_not_list_is_refused(made):
    machine = made(GPU, GPU)
    machine.nvidia(1)
    machine.refuses("the driver does not list every GPU of this machine")
    assert machine.nodes() == {}


def test_switches_need_a_fabric_manager(made):
    """Without it nothing is loaded: CUDA would not work."""
    machine = made(GPU, SWITCH)
    machine.nvidia(1)
    machine.refuses("/no/fabric-manager: is not in this image", "--fabric-manager", "/no/fabric-manager")
    assert machine.loaded == []
    done = machine.run("--fabric-manager", "/bin/true")
    assert done.returncode == 0 and "1 NVIDIA GPUs, 1 NVSwitches" in done.stdout, done
