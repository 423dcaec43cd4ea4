# SPDX-License-Identifier: Apache-2.0
"""Virtual machines whose firmware measures for real: QEMU (TCG), OVMF's secboot build and a TPM 2.0 from swtpm.

Everything runs in the tool chroot of tests/vm/packages; KVM is never used, so that a run is the same everywhere.
"""

import base64
import contextlib
import json
import pathlib
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
FIRMWARE = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"
VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.fd"
STUBS = "/usr/lib/systemd/boot/efi"
# Random numbers come from the CPU and not from a virtio device: OVMF's driver for that waits for ever when a timer of
# the network's drivers asks for numbers while others do (edk2's pull request 11987), about once in fifty boots.
CPU = "Nehalem,+rdrand"


def in_tools(command, binds=()):
    """The command line that runs COMMAND in the tool chroot; it keeps the process id, so it can be stopped by it."""
    return [
        str(SOURCE / "kiwi/chroot"), "--bind",
        str(SOURCE), "--bind",
        tempfile.gettempdir(), *map(str, binds), "trixie",
        str(SOURCE / "tests/vm/packages"), *map(str, command)
    ]


def run(*command, binds=(), **options):
    """Runs COMMAND in the tool chroot, where the source tree and the temporary files are, and returns what it
    printed."""
    done = subprocess.run(in_tools(command, binds), capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def script(text, **options):
    return run("bash", "-euo", "pipefail", "-c", text, **options)


class Disk:
    """A raw disk with one EFI system partition, made without loop devices."""

    ESP = "@@1M"

    def __init__(self, path, megabytes=48):
        self.path = path
        script(f"""
            rm -f {path}; truncate -s {megabytes}M {path}
            sgdisk --clear --new=1:1M:0 --typecode=1:ef00 {path} >/dev/null
            mformat -i {path}{self.ESP} -F -T $(( ({megabytes} - 2) * 2048 )) ::
            mmd -i {path}{self.ESP} ::/EFI ::/EFI/BOOT""")

    def put(self, source, name):
        """Copies a file to NAME on the ESP, making the last folder of NAME if needed."""
        folder = name.rsplit("/", 1)[0]
        script(f"""
            mdir -i {self.path}{self.ESP} ::{folder} >/dev/null 2>&1 || mmd -i {self.path}{self.ESP} ::{folder}
            mcopy -o -i {self.path}{self.ESP} {source} ::{name}""")


class Report:
    """What the guest said between report-begin and report-end."""

    def __init__(self, text):
        self.pcrs = {}
        self.cmdline = self.event_log = None
        for line in text.splitlines():
            word, _, rest = line.strip().partition(" ")
            if word == "pcr":
                bank, index, value = rest.split()
                self.pcrs.setdefault(bank, {})[int(index)] = value.lower()
            elif word == "cmdline":
                self.cmdline = rest
            elif word == "event-log":
                self.event_log = base64.b64decode(rest)


class Machine:
    """One boot of a disk. `tpm` is the control socket of a running TPM; by default the machine starts its own swtpm.
    Without `first` QEMU leaves the order of boot options to the variable store."""

    def __init__(self, directory, disk, variables=VARIABLES, tpm=None, memory=1024, extra=(), first=True):
        self.directory = directory
        self.disk = disk
        self.tpm = tpm
        self.memory = memory
        self.extra = list(extra)
        self.order = ",bootindex=0" if first else ""
        self.variables = variables
        self.processes = []
        self.console = directory / "console.log"

    def start(self):
        d = self.directory
        run("cp", self.variables, d / "variables.fd")
        if self.tpm is None:
            self.tpm = d / "tpm.socket"
            (d / "tpm").mkdir(exist_ok=True)
            self.spawn(["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={d}/tpm", "--flags", "startup-clear",
                        "--ctrl", f"type=unixio,path={self.tpm}", "--log", f"file={d}/swtpm.log"])
            wait_until(self.tpm.exists, 20, "swtpm's control socket")
        self.qemu = self.spawn([
            "qemu-system-x86_64", "-machine", "q35,smm=on", "-accel", "tcg", "-cpu", CPU, "-smp", "1",
            "-m", str(self.memory), "-nodefaults", "-display", "none", "-no-reboot",
            "-global", "driver=cfi.pflash01,property=secure,value=on",
            "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={FIRMWARE}",
            "-drive", f"if=pflash,unit=1,format=raw,file={d}/variables.fd",
            "-drive", f"if=none,id=disk,format=raw,snapshot=on,file={self.disk}",
            "-device", f"virtio-blk-pci,drive=disk{self.order}",
            "-chardev", f"socket,id=tpm,path={self.tpm}", "-tpmdev", "emulator,id=tpm0,chardev=tpm",
            "-device", "tpm-crb,tpmdev=tpm0", "-serial", "chardev:console", "-chardev",
            f"socket,id=console,path={d}/console.socket,server=on,wait=off,logfile={self.console}", *self.extra])
        return self

    def spawn(self, command):
        with open(self.directory / f"{pathlib.Path(command[0]).name}.out", "ab") as log:
            process = subprocess.Popen(in_tools(command, ["--bind", self.disk.parent]), stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def text(self):
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def wait_for(self, pattern, seconds):
        """Waits until the console matches PATTERN; says how the console ended when it does not."""
        found = None

        def look():
            nonlocal found
            found = re.search(pattern, self.text(), re.MULTILINE)
            return found or self.qemu.poll() is not None

        wait_until(look, seconds, f"{pattern!r} on the console", self.tail)
        look()
        assert found, f"the machine stopped without {pattern!r} on the console:\n{self.tail()}"
        return found

    def tail(self):
        log = self.directory / "qemu-system-x86_64.out"
        return self.text()[-2500:] + (log.read_text(errors="replace")[-500:] if log.exists() else "")

    def type(self, text):
        """Types on the serial console."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(self.directory / "console.socket"))
            s.sendall(text.encode())
            time.sleep(1)

    def monitor(self, *commands):
        """QMP: each command is (name, arguments) or a name; the machine needs "-qmp
        unix:DIRECTORY/qmp.socket,server=on,wait=off"."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(self.directory / "qmp.socket"))
            with s.makefile("rw") as f:
                for command in ("qmp_capabilities", *commands):
                    name, arguments = command if isinstance(command, tuple) else (command, {})
                    f.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
                    f.flush()
                    answers = (json.loads(line) for line in f)
                    answer = next(a for a in answers if "return" in a or "error" in a)
                    assert "return" in answer, (command, answer)

    def report(self, seconds=240):
        """The tiny guest's report. A guest that panics also ends QEMU with status 0: only the end marker counts."""
        self.wait_for(r"^report-end", seconds)
        return Report(self.text().replace("\r", "").split("report-begin", 1)[1])

    def stop(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self.processes.clear()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


def wait_until(condition, seconds, what, context=lambda: ""):
    """A turn counts for no more than half a minute: a machine that was suspended meanwhile had no chance."""
    left, now = seconds, time.monotonic()
    while not condition():
        assert left > 0, f"no {what} within {seconds} s\n{context()}"
        time.sleep(0.1)
        before, now = now, time.monotonic()
        left -= min(now - before, 30)


def extended(value, *digests, algorithm="sha384"):
    """A PCR's value after it is extended with each digest in turn."""
    import hashlib
    for digest in digests:
        value = hashlib.new(algorithm, value + digest).digest()
    return value


@contextlib.contextmanager
def opened_image(disk, profile="debian", overlays=(), keep=()):
    """The isolation.Image of a raw disk: its erofs root unpacked, and whether it is the one that the initrd opens; the
    UKI's sections, command line and initrd; what is on the ESP: hidden and system files too, since the firmware does
    not mind."""
    import initrd
    from isolation import Image

    with tempfile.TemporaryDirectory(prefix="sealboot-image-") as work:
        link = pathlib.Path(work, "disk.raw")
        link.write_bytes(b"")
        mounted = ["--bind", f"{pathlib.Path(disk).resolve()}:{link}"]
        script(
            f"""cd {work}
            partition() {{
                sgdisk --info=$1 disk.raw | awk '/First sector/ {{ f = $3 }} /Last sector/ {{ print f, $3 - f + 1 }}'
            }}
            read -r start size < <(partition 2)
            dd if=disk.raw of=root.erofs bs=1M iflag=skip_bytes,count_bytes skip=$((start * 512)) \
                count=$((size * 512)) conv=sparse status=none
            fsck.erofs --extract={work}/root --xattrs root.erofs >/dev/null
            sgdisk --print disk.raw | awk 'table {{ print $6 }} $1 == "Number" {{ table = 1 }}' > partitions
            read -r start size < <(partition 1)
            mdir -/ -a -b -i disk.raw@@$((start * 512)) :: | sed 's#^::/##' > esp
            mcopy -i disk.raw@@$((start * 512)) "::$(grep -im1 '^EFI/BOOT/BOOT' esp)" uki.efi
            objdump --section-headers uki.efi | awk '$1 ~ /^[0-9]+$/ {{ print $2 }}' > sections
            objcopy --dump-section .cmdline=cmdline --dump-section .initrd=initrd uki.efi rewritten.efi
            zstd --quiet --decompress --force --stdout initrd > initrd.cpio""", binds=mounted)
        read = pathlib.Path(work)
        try:
            entries = initrd.entries((read / "initrd.cpio").read_bytes())
            digest, offset = initrd.root_hash(entries)
            verified = script(
                f"""veritysetup verify {work}/root.erofs {work}/root.erofs {digest} --hash-offset={offset} 2>&1 &&
                echo verified || true""").strip()
        except (ValueError, KeyError, struct.error) as e:
            entries, verified = {}, f"the initrd cannot be read: {e}"
        sections, esp, partitions = ((read / name).read_text().splitlines()
                                     for name in ("sections", "esp", "partitions"))
        yield Image(read / "root", (read / "cmdline").read_text(), sections, entries, verified, esp, partitions,
                    profile, overlays, keep, (read / "uki.efi").read_bytes())
