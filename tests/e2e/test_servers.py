# SPDX-License-Identifier: Apache-2.0
"""Real servers with a real small model, from the sealed model to the consumer's answer: llama-server of Debian testing,
Ollama where its binary is kept (tests/servers --build), and vLLM where $SEALBOOT_VLLM names what
`tests/servers --install-vllm` installed: it needs minutes, so CI does not run it."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from models import stored, succeed
from stack import served

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))
from chat import confined, kinds, llama, vllm  # noqa: E402

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
    "vllm": [("GET", "/metrics"), ("GET", "/load"), ("GET", "/docs"), ("GET", "/openapi.json"),
             ("POST", "/invocations"), ("POST", "/scale_elastic_ep"), ("POST", "/is_scaling_elastic_ep"),
             ("GET", "/v1/responses/resp_1"),
             ("POST", "/inference/v1/generate"), ("POST", "/inference/v1/abort_requests"), ("GET", "/kv_event_sources"),
             ("POST", "/v1/responses/resp_1/cancel"), ("GET", "/redoc"), ("POST", "/v1/chat/completions/render"),
             ("GET", "/server_info"), ("POST", "/sleep"), ("POST", "/wake_up"),
             ("POST", "/reset_prefix_cache"), ("POST", "/collective_rpc"), ("POST", "/start_profile"),
             ("POST", "/v1/load_lora_adapter"), ("POST", "/pause"), ("POST", "/init_weight_transfer_engine")],
}
# Of these, what the server does answer when nothing stands before it. The list is of use as long as it does.
OPEN = {"llama-server": ["/lora-adapters"], "ollama": ["/api/ps"],
        "vllm": ["/metrics", "/load", "/docs", "/openapi.json"]}


@pytest.fixture(params=kinds.AVAILABLE)
def kind(request):
    try:
        llama.model(), llama.client(), kinds.AVAILABLE[request.param]()
    except llama.Unavailable as e:
        pytest.skip(str(e))
    return request.param


def sealed(kind, sealboot, boot, tmp_path, place, weights, *options) -> dict:
    """A release at this place of the bucket, from which the next instances boot."""
    boot.launch(place)
    boot.config["encryption_context"] = {"model": "model"}
    return succeed(sealboot("seal", "--json", "--quiet", "--key", boot.arn, *kinds.sealing(kind, tmp_path), *options,
                            weights, f"s3://{boot.stack.bucket}/{place}")).json


@contextlib.contextmanager
def scratch():
    with tempfile.TemporaryDirectory(prefix="sealboot-server-") as directory:
        os.chmod(directory, 0o755)
        yield pathlib.Path(directory)


class Booting:
    """A boot whose agent waits for the server. It starts when the model is there, as systemd would start it, or beside
    the agent, if it can wait for the model itself."""

    def __init__(self, boot, kind):
        self.boot, self.result = boot, None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        end = time.monotonic() + 60
        while kind != "vllm" and self.waits() and time.monotonic() < end:
            time.sleep(0.02)

    def waits(self) -> bool:
        return not (self.boot.directory / "current").exists() and self.thread.is_alive()

    def run(self):
        self.result = self.boot.run(timeout=1000, wrapper=kinds.AGENT)

    def ended(self):
        self.thread.join()
        return self.result


def asked(reached, method: str, path: str, body=None) -> tuple[int, str]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", reached.port, context=context, timeout=120)
    with contextlib.closing(connection):
        connection.request(method, path, json.dumps(body) if body is not None else None,
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.fixture
def owner(boot):
    """The owner's key releases to the image, on whatever instance, that has not loaded a model yet."""
    served.boot(boot.stack, model=None)
    boot.arn = boot.stack.create_key()
    boot.config["keys"] = [boot.arn]
    return boot


@contextlib.contextmanager
def instance(kind, boot):
    """A new instance, with a TPM and a tmpfs of its own, boots until the agent has told Auto Scaling that the server
    answers. Yields the server and what it was given."""
    boot.stack.control.launch()
    served.boot(boot.stack, model=None)
    boot.stack.control.clear_audit()
    with scratch() as run, tempfile.TemporaryDirectory(prefix="sealboot-test-", dir="/dev/shm") as memory:
        os.chmod(memory, 0o755)
        boot.directory = pathlib.Path(memory)
        boot.config |= {"model_directory": memory, "lifecycle_hook": HOOK, "ready": kinds.ready(kind, run)}
        booting = Booting(boot, kind)
        published = boot.directory / "current"
        with kinds.started(kind, published, run) as server:
            result = booting.ended()
            assert result.returncode == 0 and result.report["server"]["ready"], result
            assert [e["result"] for e in boot.stack.control.audit(service="autoscaling") if e.get("result")] == [
                "CONTINUE"]
            yield server, published


def answered(upstream, path) -> int:
    with contextlib.closing(llama.UnixConnection(upstream)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


def test_a_sealed_model_is_served(kind, build, sealboot, owner, tmp_path):
    model = sealed(kind, sealboot, owner, tmp_path, f"{kind}/", kinds.model(kind))
    with instance(kind, owner) as (server, published):
        assert server.interfaces() == ["lo"]
        if kind != "vllm":  # which has a copy of its own
            assert server.maps(kinds.weights_in(published))
            assert server.private_mib() < 160  # the weights have 94 MiB, and a second copy would be here
        answers(kind, build, owner, server.socket, model, tmp_path)
        server.kill()
        # systemd starts it again, on the files that are there.
        with scratch() as again, kinds.started(kind, published, again) as server, \
                served.gate(build, owner.stack, tmp_path / "again", server.socket, paths={"server": kind}) as reached:
            status, text = asked(reached, "POST", "/v1/chat/completions", CHAT)
            assert status == 200 and "Paris" in text, text


@pytest.mark.parametrize("place", ["same", "next"])
def test_a_model_is_replaced(kind, place, build, sealboot, owner, tmp_path):
    """PCR15 takes one model a boot, so a new release is for new instances: the same place, sealed anew, or a place of
    its own that they are launched with. A consumer who has agreed to the one release is not served by the other."""
    other = kinds.second_model(kind, tmp_path)
    new = llama.sha256_of(kinds.weights_in(other) if other.is_dir() else other)
    if kind == "vllm" and place == "next":
        pytest.skip("the place makes no difference to vLLM, whose start takes minutes")
    names = [f"replaced-{kind}-{place}/", f"replaced-{kind}-{'same' if place == 'same' else 'second'}/"]
    first = sealed(kind, sealboot, owner, tmp_path, names[0], kinds.model(kind))
    with instance(kind, owner) as (server, published):
        old = llama.sha256_of(kinds.weights_in(published))
        assert says(build, owner, server, kind, tmp_path / "gate-first", first, refused=None) == "Paris"
    second = sealed(kind, sealboot, owner, tmp_path, names[1], other, *["--force"][:place == "same"])
    assert first["digest"] != second["digest"]
    with instance(kind, owner) as (server, published):
        weights = kinds.weights_in(published)
        assert old != llama.sha256_of(weights) == new and (kind == "vllm" or server.maps(weights))
        assert old not in [llama.sha256_of(p) for p in owner.directory.rglob("*") if p.is_file()]
        assert says(build, owner, server, kind, tmp_path / "gate-second", second, refused=first) == "London"
    if place == "same":  # whoever was launched before and boots again has the new release, too: the old is gone
        opened = tmp_path / "opened"
        succeed(sealboot("unseal", "--quiet", f"s3://{owner.stack.bucket}/{names[0]}", opened))
        assert llama.sha256_of(kinds.weights_in(opened)) == new
        assert len(stored(owner.stack, f"s3://{owner.stack.bucket}/{names[0]}")) == 1 + len(list(
            p for p in opened.rglob("*") if p.is_file()))


def answer(local) -> str:
    done = subprocess.run(["curl", "-sS", "--fail-with-body", f"{local}/v1/chat/completions", "--json",
                           json.dumps(CHAT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    return json.loads(done.stdout)["choices"][0]["message"]["content"]


def says(build, boot, server, kind, directory, model, refused) -> str:
    """The one word that a consumer of this release gets. The other release's consumer has to be refused."""
    with served.gate(build, boot.stack, directory, server.socket, paths={"server": kind}) as reached:
        if refused:
            reached.digest = refused["digest"]
            done = served.check(reached)
            assert done.returncode != 0 and "another model" in done.stdout + done.stderr, done
        reached.digest = model["digest"]
        with served.connect(reached) as local:
            said = answer(local)
    words = {"Paris", "London"} & set(re.findall(r"\w+", said))
    assert len(words) == 1, said
    return words.pop()


def answers(kind, build, boot, upstream, model, tmp_path):
    """What consumers get, and what they do not."""
    with served.gate(build, boot.stack, tmp_path / "gate", upstream, paths={"server": kind}) as reached:
        reached.digest = model["digest"]
        for path in OPEN[kind]:
            assert answered(upstream, path) == 200, path
        for method, path in CLOSED[kind]:
            assert asked(reached, method, path, {} if method == "POST" else None)[0] in (404, 405), path
        with served.connect(reached) as local:
            assert "Paris" in answer(local)
            client = subprocess.run([llama.client(), TESTS / "chat/ask.py", f"{local}/v1", QUESTION],
                                    capture_output=True, text=True, check=False)
            assert client.returncode == 0, client.stderr
            told = json.loads(client.stdout)
            assert told["pieces"] > 1 and told["first_s"] < told["last_s"] and "Paris" in told["answer"], told


@pytest.fixture
def with_vllm():
    try:
        llama.model(), vllm.installed()
    except llama.Unavailable as e:
        pytest.skip(str(e))


def test_an_engine_that_dies_takes_the_server_with_it(with_vllm, sealboot, owner, tmp_path):
    """vLLM's engine is a process of its own. A server without one would answer nothing, and systemd would not know."""
    sealed("vllm", sealboot, owner, tmp_path, "engine/", vllm.model())
    with instance("vllm", owner) as (server, _):
        engine = max(server.processes()[1:], key=confined.anonymous_kib)
        os.kill(engine, signal.SIGKILL)
        assert server.ended(60), [pathlib.Path(f"/proc/{p}/cmdline").read_text() for p in server.processes()]


def test_a_model_that_vllm_does_not_know(with_vllm, sealboot, owner, tmp_path):
    """A server that never gets ready: the group hears ABANDON, and the model stays published."""
    unknown = shutil.copytree(vllm.model(), tmp_path / "unknown")
    settings = json.loads((unknown / "config.json").read_text())
    (unknown / "config.json").write_text(json.dumps(settings | {"architectures": ["OfNobody"], "model_type": "none"}))
    sealed("vllm", sealboot, owner, tmp_path, "unknown/", unknown)
    owner.stack.control.clear_audit()
    with scratch() as run, tempfile.TemporaryDirectory(prefix="sealboot-test-", dir="/dev/shm") as memory:
        os.chmod(memory, 0o755)
        owner.directory = pathlib.Path(memory)
        owner.config |= {"model_directory": memory, "lifecycle_hook": HOOK,
                         "ready": {**kinds.ready("vllm", run), "seconds": 120}}
        booting = Booting(owner, "vllm")
        with pytest.raises(RuntimeError, match="the server did not start"), \
                kinds.started("vllm", owner.directory / "current", run):
            pass
        result = booting.ended()
        log = (run / "server.log").read_text()
        assert "vllm-early: the model is there" in log and "model type `none`" in log, log
        assert result.returncode == 64 and "it was not ready after 120 seconds" in result.stderr, result
        assert "ABANDON" in [e.get("result") for e in owner.stack.control.audit(service="autoscaling")]
        assert kinds.weights_in(owner.directory / "current").exists()
