# SPDX-License-Identifier: Apache-2.0
"""Real servers with a real small model, from the sealed model to the consumer's answer: llama-server of Debian testing,
and Ollama where its binary is kept (tests/servers --build). vLLM: tests/servers."""

import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from models import succeed
from stack import served

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))
from chat import llama, ollama  # noqa: E402

HOOK = {"group": "inference", "name": "model-loaded"}
QUESTION = "What is the capital of France? Answer in one word."
CHAT = {"model": "model", "messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "max_tokens": 14}
# What each server answers by itself, and nobody should ask it: others' prompts, weights, administration, ways out.
CLOSED = {
    "llama-server": [("GET", "/slots"), ("GET", "/metrics"), ("POST", "/props"), ("GET", "/lora-adapters"),
                     ("POST", "/slots/0?action=save"), ("POST", "/models/load"), ("GET", "/cors-proxy?url=http://a/"),
                     ("GET", "/tools")],
    "ollama": [("POST", "/api/push"), ("POST", "/api/pull"), ("POST", "/api/create"), ("POST", "/api/copy"),
               ("DELETE", "/api/delete"), ("GET", "/api/ps"), ("POST", "/api/me"), ("GET", "/debug/pprof/heap"),
               ("POST", "/api/blobs/sha256:00"), ("POST", "/api/experimental/web_search"), ("POST", "/completion")],
}


@pytest.fixture(params=["llama-server", "ollama"])
def kind(request):
    try:
        llama.model(), llama.client()
        llama.server() if request.param == "llama-server" else ollama.binary()
    except llama.Unavailable as e:
        pytest.skip(str(e))
    return request.param


def sealed(kind, sealboot, boot, tmp_path) -> dict:
    weights = llama.model() / "model.gguf"
    options = []
    if kind == "ollama":
        (tmp_path / "template").write_text(ollama.TEMPLATE)
        options = ["--layout", "ollama", "--template", tmp_path / "template", "--parameter", "num_ctx=1024",
                   "--parameter", "num_thread=1"]
    place = f"s3://{boot.stack.bucket}/{kind}/"
    boot.launch(f"{kind}/")
    boot.config["encryption_context"] = {"model": "model"}
    return succeed(sealboot("seal", "--json", "--quiet", "--key", boot.arn, "--name", "model", *options, weights,
                            place)).json


def ready(kind, directory) -> dict:
    if kind == "llama-server":
        return {"upstream": f"unix:{directory}/run/llama.sock", "health": "/health"}
    return {"upstream": f"unix:{directory}/server.sock", "health": "/api/version", "warm_up": {
        "path": "/api/generate", "body": {"model": "model", "prompt": "Hi", "stream": False,
                                          "options": {"num_predict": 1}}}}


@contextlib.contextmanager
def started(kind, published, directory):
    for path in (published, *published.rglob("*")):  # in the image, the mount gives them to a group of their own
        shutil.chown(path, group=int(llama.NOBODY))
    with llama.serve(published, directory / "log", directory=directory) if kind == "llama-server" else \
            ollama.serve(published, directory) as server:
        yield server


@contextlib.contextmanager
def scratch():
    with tempfile.TemporaryDirectory(prefix="sealboot-server-") as directory:
        os.chmod(directory, 0o755)
        yield pathlib.Path(directory)


class Booting:
    """A boot whose agent waits for the server, which starts when the model is there, as systemd would start it."""

    def __init__(self, boot):
        self.boot, self.result = boot, None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        end = time.monotonic() + 60
        while not (boot.directory / "current").exists() and self.thread.is_alive() and time.monotonic() < end:
            time.sleep(0.02)

    def run(self):
        self.result = self.boot.run()

    def ended(self):
        self.thread.join()
        return self.result


def asked(instance, method: str, path: str, body=None) -> tuple[int, str]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", instance.port, context=context, timeout=120)
    with contextlib.closing(connection):
        connection.request(method, path, json.dumps(body) if body is not None else None,
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_a_sealed_model_is_served(kind, build, sealboot, boot, model_directory, tmp_path):
    served.boot(boot.stack, model=None)
    boot.arn = boot.stack.create_key()
    boot.config["keys"] = [boot.arn]
    model = sealed(kind, sealboot, boot, tmp_path)
    boot.stack.control.clear_audit()
    # The directory is for the agent alone otherwise; in the image, the server is in its group.
    model_directory.chmod(0o755)
    with scratch() as first:
        boot.config |= {"lifecycle_hook": HOOK, "ready": ready(kind, first)}
        booting = Booting(boot)
        published = boot.directory / "current"
        with started(kind, published, first) as server:
            result = booting.ended()
            assert result.returncode == 0 and result.report["server"]["ready"], result
            assert [e["result"] for e in boot.stack.control.audit(service="autoscaling") if e.get("result")] == [
                "CONTINUE"]
            weights = max((p for p in published.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
            assert server.maps(weights) and server.interfaces() == ["lo"]
            assert server.private_mib() < 160  # the weights have 94 MiB, and a second copy would be here
            answers(kind, build, boot, server.socket, model, tmp_path)
            os.kill(server.pid, signal.SIGKILL)
    # systemd starts it again, on the files that are there.
    with scratch() as again, started(kind, published, again) as server, \
            served.gate(build, boot.stack, tmp_path / "again", server.socket, paths={"server": kind}) as instance:
        status, text = asked(instance, "POST", "/v1/chat/completions", CHAT)
        assert status == 200 and "Paris" in text, text


def answers(kind, build, boot, upstream, model, tmp_path):
    """What consumers get, and what they do not."""
    with served.gate(build, boot.stack, tmp_path / "gate", upstream, paths={"server": kind}) as instance:
        instance.digest = model["digest"]
        for method, path in CLOSED[kind]:
            assert asked(instance, method, path, {} if method == "POST" else None)[0] in (404, 405), path
        with served.connect(instance) as local:
            done = subprocess.run(["curl", "-sSf", f"{local}/v1/chat/completions", "--json", json.dumps(CHAT)],
                                  capture_output=True, text=True, check=True)
            assert "Paris" in json.loads(done.stdout)["choices"][0]["message"]["content"], done.stdout
            client = subprocess.run([llama.client(), TESTS / "chat/ask.py", f"{local}/v1", QUESTION],
                                    capture_output=True, text=True, check=True)
            told = json.loads(client.stdout)
            assert told["pieces"] > 1 and told["first_s"] < told["last_s"] and "Paris" in told["answer"], told
