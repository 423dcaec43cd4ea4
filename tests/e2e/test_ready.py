# SPDX-License-Identifier: Apache-2.0
"""The wait for the inference server: what Auto Scaling hears follows from the server's own answers."""

import contextlib
import http.server
import json
import os
import pathlib
import signal
import socketserver
import tempfile
import threading
import time

import pytest

from boots import single

HOOK = {"group": "inference", "name": "model-loaded"}
WARM_UP = {"path": "/api/generate", "body": {"model": "m", "prompt": "Hi", "stream": False}}


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """An inference server of which a test decides each answer: a status, or None for none at all. The last answer to a
    path stays."""
    daemon_threads = True

    def __init__(self, path, answers: dict[str, list]):
        self.answers, self.asked, self.seen = answers, [], []
        super().__init__(str(path), Handler)

    def handle_error(self, request, client_address):
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    def address_string(self):
        return "agent"

    def log_message(self, *_):
        pass

    def do(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answers = self.server.answers[self.path]
        status = answers.pop(0) if len(answers) > 1 else answers[0]
        self.server.asked.append((self.command, self.path, json.loads(body) if body else None))
        if callable(status):
            status = status()
        if status is None:
            self.close_connection = True
            return
        text = json.dumps({"error": "\x1b[2Jthe server's own words"} if status != 200 else {"response": "H"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do


@contextlib.contextmanager
def serving(**answers):
    paths = {"/health": answers.get("health", [200]), "/api/generate": answers.get("warm_up", [200])}
    with tempfile.TemporaryDirectory(prefix="sealboot-ready-") as directory, \
            Server(pathlib.Path(directory) / "server.sock", paths) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def prepared(boot, server, *, seconds=60, **more):
    single(boot)
    boot.stack.control.clear_audit()
    boot.config |= {"lifecycle_hook": HOOK, "ready": {"upstream": f"unix:{server.server_address}",
                                                      "health": "/health", "seconds": seconds, **more}}


def told(boot) -> list[str]:
    return [e["result"] for e in boot.stack.control.audit(service="autoscaling") if e.get("result")]


def stages(report) -> dict:
    return {stage["name"]: stage for stage in report["stages"]}


def test_auto_scaling_hears_of_a_server_that_answered(boot):
    """The server loads for a while, and has no model in memory before its first answer."""
    with serving(health=[None, 503, 503, 200], warm_up=[503, 200]) as server:
        prepared(boot, server, warm_up=WARM_UP)
        result = boot.run()
    assert result.returncode == 0 and told(boot) == ["CONTINUE"], result
    assert [a[:2] for a in server.asked] == [("GET", "/health")] * 4 + [("POST", "/api/generate")] * 2
    assert server.asked[-1][2] == WARM_UP["body"]
    report = result.report
    assert report["outcome"] == "published" and report["server"]["ready"] is True
    assert report["server"]["after_ms"] > report["duration_ms"] > 0
    seen = stages(report)
    assert seen["publish"]["began_ms"] < seen["server"]["began_ms"] < seen["warm-up"]["began_ms"]
    assert seen["server"]["duration_ms"] >= 60 and "duration_ms" in seen["warm-up"]


def test_ready_is_told_before_the_server_is_waited_for(boot, tmp_path):
    """Or the server would wait for the agent, and the agent for the server."""
    published = []

    def health():
        published.append((boot.directory / "current").exists())
        return 200

    with serving(health=[health]) as server:
        prepared(boot, server)
        result, statuses = boot.statuses(tmp_path)
    assert result.returncode == 0 and published == [True]
    assert statuses.count(f"Model published at {boot.directory}/current") == 2, statuses


@pytest.mark.parametrize("answers, words", [
    ({"health": [503]}, "/health answered HTTP 503"),
    ({"health": [None]}, "it was not ready after 1 seconds: "),
    ({"warm_up": [500]}, "/api/generate answered HTTP 500"),
])
def test_a_server_that_never_gets_ready(boot, answers, words):
    """The model stays: the server may still come up. The group replaces the instance. What the server says may hold a
    part of the model, so neither the console nor the report repeats it."""
    with serving(**answers) as server:
        prepared(boot, server, seconds=1, warm_up=WARM_UP)
        result = boot.run()
    assert result.returncode == 64 and told(boot) == ["ABANDON"], result
    for text in words, "after 1 seconds", "exit code 64, server", "what to do: ", str(server.server_address):
        assert text in result.stderr, result
    assert "own words" not in result.stderr + result.stdout + json.dumps(result.report)
    assert result.report["outcome"] == "published" and result.report["server"]["ready"] is False
    assert words in result.report["server"]["reason"] and boot.published()


def test_no_server_at_all(boot):
    with serving() as server:
        prepared(boot, server, seconds=1)
    result = boot.run()
    assert result.returncode == 64 and told(boot) == ["ABANDON"], result


def test_a_warm_up_that_the_server_refuses_is_not_tried_again(boot):
    with serving(warm_up=[404]) as server:
        prepared(boot, server, warm_up=WARM_UP)
        began = time.monotonic()
        result = boot.run()
    assert result.returncode == 64 and time.monotonic() - began < 20, result
    assert "own words" not in result.stderr + result.stdout + json.dumps(result.report)
    assert "HTTP 404" in result.stderr and 'Correct "ready"' in result.stderr and len(server.asked) == 2


def test_the_host_copy_is_given_back(boot):
    """Whoever has mapped the weights keeps them; nobody else finds them any more."""
    held = []

    def health():
        held.append(open(boot.directory / "current/model", "rb"))
        return 200

    with serving(health=[health]) as server:
        prepared(boot, server)
        boot.config["keep"] = "until-ready"
        result = boot.run()
    assert result.returncode == 0 and told(boot) == ["CONTINUE"], result
    assert list(boot.directory.iterdir()) == []
    with held[0]:
        assert held[0].read(4) == b"GGUF"


@pytest.mark.parametrize("answers", [{"health": [503]}, {"warm_up": [lambda: time.sleep(20)]}])
def test_a_notice_while_the_server_is_waited_for(boot, answers):
    """Nobody waits for an instance that goes away. The model stays, as for every server that did not get ready."""
    def leave(*_):
        boot.stack.control.settings(imds={"lifecycle_state": "Terminated"})
        return 200

    with serving(**{"health": [leave]} | answers) as server:
        prepared(boot, server, warm_up=WARM_UP)
        boot.config["heartbeat_seconds"] = 1
        if "health" in answers:
            answers["health"][0] = lambda: leave() and 503
        began = time.monotonic()
        result = boot.run()
    assert result.returncode == 4 and time.monotonic() - began < 18, result
    assert "Auto Scaling is terminating it" in result.stderr and "The model stays published" in result.stderr
    assert told(boot) == [] and boot.published()
    assert result.report["outcome"] == "published" and result.report["server"]["ready"] is False


def test_a_stop_while_the_server_is_waited_for(boot):
    """As at a shutdown: at once, and it is no failure."""
    with serving(health=[503]) as server:
        prepared(boot, server)
        began = time.monotonic()
        result = boot.run(wrapper=("timeout", "--preserve-status", "4"))
    assert result.returncode == 0 and "stopped while it waited for the inference server" in result.stdout, result
    assert time.monotonic() - began < 20 and told(boot) == [] and boot.published()
