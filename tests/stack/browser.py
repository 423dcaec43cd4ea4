# SPDX-License-Identifier: Apache-2.0
"""A real browser: headless Chromium, told what to do by its own protocol (Chrome DevTools) over a pipe.

    with browser.start() as chromium:
        page = chromium.open("http://127.0.0.1:8000/")
        page.wait("document.title == 'x'"); page.evaluate("1 + 1"); page.screenshot(path)"""

import base64
import contextlib
import fcntl
import json
import os
import pathlib
import select
import shutil
import subprocess
import tempfile
import time

# Chromium asks its maker for this and that, and is not to. Its sandbox does not run as root.
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
         "--disable-extensions", "--hide-scrollbars", "--window-size=1100,900")


def program() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Refused(Exception):
    """The browser did not open the page, and says why (net::ERR_...), or a script threw."""


class Page:
    def __init__(self, chromium, session):
        self.chromium, self.session = chromium, session

    def call(self, method, **parameters):
        return self.chromium.call(method, self.session, **parameters)

    def go(self, address: str):
        told = self.call("Page.navigate", url=address)
        if "errorText" in told:
            raise Refused(told["errorText"])
        return self.wait("document.readyState == 'complete'")

    def evaluate(self, script: str):
        """The value of an expression; of a promise, what it comes to."""
        told = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if thrown := told.get("exceptionDetails"):
            raise Refused(thrown.get("exception", {}).get("description") or thrown["text"])
        return told["result"].get("value")

    def wait(self, condition: str, limit: float = 60):
        end = time.monotonic() + limit
        while not self.evaluate(condition):
            if time.monotonic() > end:
                raise TimeoutError(f"not in {limit} s: {condition}; the page says: {self.text()[:500]}")
            time.sleep(0.1)
        return self

    def text(self) -> str:
        return self.evaluate("document.body ? document.body.innerText : ''")

    def screenshot(self, path: pathlib.Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))


class Chromium:
    def __init__(self, process, to, of):
        self.process, self.to, self.of = process, to, of
        self.number, self.rest, self.dialogs = 0, b"", []

    def message(self, limit: float):
        while b"\0" not in self.rest:
            if not select.select([self.of], [], [], limit)[0]:
                raise TimeoutError(f"Chromium has said nothing for {limit} s")
            if not (more := os.read(self.of, 1 << 20)):
                raise RuntimeError("Chromium has ended")
            self.rest += more
        text, _, self.rest = self.rest.partition(b"\0")
        return json.loads(text)

    def send(self, method, session, parameters) -> int:
        self.number += 1
        sent = {"id": self.number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        os.write(self.to, json.dumps(sent).encode() + b"\0")
        return self.number

    def call(self, method, session=None, **parameters):
        number = self.send(method, session, parameters)
        while (told := self.message(120)).get("id") != number:
            if told.get("method") == "Page.javascriptDialogOpening":  # until somebody closes it, the page stands still
                self.dialogs.append(told["params"]["message"])
                self.send("Page.handleJavaScriptDialog", told["sessionId"], {"accept": True})
        if "error" in told:
            raise RuntimeError(f"{method}: {told['error']['message']}")
        return told["result"]

    def open(self, address: str = "about:blank") -> Page:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        page = Page(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        page.call("Page.enable")
        return page if address == "about:blank" else page.go(address)


def aside(descriptor: int) -> int:
    """The same file under a number that the shell does not need for something else."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved


@contextlib.contextmanager
def start(*options: str):
    """A browser with a profile of its own, which goes with it."""
    with tempfile.TemporaryDirectory(prefix="sealboot-browser-", ignore_cleanup_errors=True) as profile:
        (commands, to), (of, answers) = os.pipe(), os.pipe()
        commands, answers = aside(commands), aside(answers)
        # The shell gives the pipe's ends the numbers that Chromium expects, and is replaced by it.
        process = subprocess.Popen(
            ["bash", "-c", f'exec 3<&{commands} 4>&{answers}; exec "$@"', "bash", program(), *QUIET,
             f"--user-data-dir={profile}", "--remote-debugging-pipe", *options], pass_fds=(commands, answers),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": profile})
        os.close(commands)
        os.close(answers)
        chromium = Chromium(process, to, of)
        try:
            yield chromium
            with contextlib.suppress(RuntimeError, TimeoutError, OSError):
                chromium.call("Browser.close")
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()
            os.close(to)
            os.close(of)
