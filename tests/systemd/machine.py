# SPDX-License-Identifier: Apache-2.0
"""A root file system booted by systemd as PID 1, in namespaces, to test units for real.

The root is an overlay of the one the tests run in (a fresh one, see tests/in-root): whatever is installed there is
there too, and what the boot changes is thrown away. The network namespace is shared, so that the local stack can be
reached."""

import os
import pathlib
import shutil
import stat
import subprocess
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).parent
CGROUPS = pathlib.Path("/sys/fs/cgroup")


class Machine:
    def __init__(self):
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="sealboot-boot-"))
        self.root = self.work / "root"
        self.group = CGROUPS / self.work.name
        self.init = None
        self.pid = None
        self.console = ""

    def __enter__(self):
        self._mount("-t", "tmpfs", "tmpfs", self.work)
        for name in "upper", "work", "root":
            (self.work / name).mkdir()
        self._mount("-t", "overlay", "overlay", self.root,
                    "-o", f"lowerdir=/,upperdir={self.work}/upper,workdir={self.work}/work")
        self.group.mkdir()
        return self

    def __exit__(self, *exception):
        if self.init:
            self.init.kill()
            self.init.wait()
        (self.group / "cgroup.kill").write_text("1")
        for _ in range(100):
            if "populated 0" in (self.group / "cgroup.events").read_text():
                break
            time.sleep(0.1)
        for directory, _, _ in os.walk(self.group, topdown=False):
            os.rmdir(directory)
        subprocess.run(["umount", "-R", self.work], check=True)
        shutil.rmtree(self.work)

    @staticmethod
    def _mount(*arguments):
        subprocess.run(["mount", *arguments], check=True)

    def write(self, path, text, mode=0o644):
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def enable(self, *units):
        subprocess.run(["systemctl", "--quiet", "--root", self.root, "enable", *units], check=True)

    def show_directory(self, path):
        """A directory that is mounted where the tests run, and so not of the overlay."""
        (self.root / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
        self._mount("--bind", path, self.root / path.lstrip("/"))

    def device(self, name, number, group, mode):
        """A character device for /dev."""
        path = self.root / "devices" / name
        path.parent.mkdir(exist_ok=True)
        os.mknod(path, stat.S_IFCHR, number)
        shutil.chown(path, "root", group)
        path.chmod(mode)

    def boot(self, timeout=90):
        """Starts systemd and waits until its first transaction is through."""
        master, slave = os.openpty()
        threading.Thread(target=self._drain, args=[master], daemon=True).start()
        self.init = subprocess.Popen(
            ["unshare", "--pid", "--mount", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child",
             HERE / "init", self.root, os.ttyname(slave)],
            stdout=slave, stderr=slave, stdin=subprocess.DEVNULL,
            preexec_fn=lambda: (self.group / "cgroup.procs").write_text(str(os.getpid())))
        os.close(slave)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            children = pathlib.Path(f"/proc/{self.init.pid}/task/{self.init.pid}/children")
            if self.init.poll() is not None:
                break
            if self.pid is None and (found := children.read_text().split()):
                self.pid = int(found[0])
            if self.pid and self.run("systemctl", "is-system-running",
                                     check=False).stdout.strip() in ("running", "degraded"):
                return self
            time.sleep(0.2)
        raise AssertionError(f"systemd did not come up:\n{self.console}")

    def _drain(self, master):
        try:
            while data := os.read(master, 4096):
                self.console += data.decode(errors="replace")
        except OSError:  # the last process that had the terminal open is gone
            os.close(master)

    def run(self, *command, check=True):
        """Runs a command in the booted machine."""
        done = subprocess.run(
            ["nsenter", "--target",
             str(self.pid), "--pid", "--mount", "--uts", "--ipc", "--cgroup", *command], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120)
        if check and done.returncode:
            raise AssertionError(f"{command} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def show(self, unit, name):
        return self.run("systemctl", "show", "--value", "--property", name, unit).stdout.strip()

    def journal(self, unit):
        return self.run("journalctl", "--no-pager", "--unit", unit, "--output", "short-monotonic").stdout
