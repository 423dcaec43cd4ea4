# SPDX-License-Identifier: Apache-2.0
"""Real clients of an attested instance, through `sealboot connect`, the gate and nginx: curl, OpenAI's client for
Python, a browser; before a program that stands for an inference server, and before llama.cpp's own. And pages of
strangers, in that browser, that must not get through.

Screenshots go into the build directory's screenshots/."""

import contextlib
import http.server
import json
import pathlib
import subprocess
import threading
import time

import pytest

from chat import llama
from stack import browser, inference, served, session

QUESTION = "What is the capital of France? Answer in one word."


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("clients")


@pytest.fixture(scope="module")
def machine(stack):
    """Booted once, for all tests."""
    stack.calm()
    served.boot(stack)
    return stack


@pytest.fixture(scope="module")
def instance(build, machine, place):
    """An attested instance whose image and model the consumer accepts."""
    upstream = place / "upstream.sock"
    with inference.serve(upstream) as server, served.gate(build, machine, place / "gate", upstream) as gate:
        gate.server = server
        yield gate


@pytest.fixture(scope="module")
def endpoint(instance):
    """The consumer's end of the channel: http://127.0.0.1:PORT."""
    with served.connect(instance) as local:
        yield local


@pytest.fixture(autouse=True)
def _calm():
    """Not what conftest.py does before each test: the instance stays as it was booted."""


@pytest.fixture
def prompts(instance):
    """What arrived since the test began."""
    before = len(instance.server.requests)
    return lambda: [body for method, _, body in instance.server.requests[before:] if method == "POST"]


@pytest.fixture(scope="module")
def screenshots(build):
    return build / "screenshots"


@pytest.fixture(scope="module")
def openai():
    try:
        return llama.client()
    except llama.Unavailable as e:
        pytest.skip(str(e))


def ask(python, address, question):
    done = session.run([python, pathlib.Path(llama.__file__).parent / "ask.py", f"{address}/v1", question], env={},
                       timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# ---- programs

def test_curl_asks_and_is_answered(endpoint, prompts):
    body = json.dumps({"messages": [{"role": "user", "content": "Who are you?"}]})
    done = session.run(["curl", "-sSf", f"{endpoint}/v1/chat/completions", "-H", "Content-Type: application/json",
                        "-d", body], env={})
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == "You asked: Who are you? "
    assert prompts() == [body.encode()]


def test_curl_sees_each_word_as_it_comes(endpoint):
    """A stream that something on the way had buffered would come all at once."""
    body = json.dumps({"stream": True, "messages": [{"role": "user", "content": " ".join(["word"] * 40)}]})
    times = []
    command = ["curl", "-sSfN", f"{endpoint}/v1/chat/completions", "-d", body]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
        for line in curl.stdout:
            if line.startswith("data: {"):
                times.append(time.monotonic())
    assert curl.returncode == 0 and len(times) == 42
    assert times[-1] - times[0] > 0.5  # 41 pauses of 20 ms


def test_openai_streams(endpoint, openai):
    told = ask(openai, endpoint, " ".join(["word"] * 40))
    assert told["answer"].startswith("You asked: word word") and told["pieces"] == 42
    assert told["last_s"] - told["first_s"] > 0.5


# ---- a browser

@pytest.fixture(scope="module")
def chromium():
    if not browser.program():
        pytest.skip("chromium is not installed (tests/install-deps browser)")
    with browser.start("--host-resolver-rules=MAP *.example 127.0.0.1") as running:
        yield running


def test_page_shows_what_was_verified(chromium, endpoint, instance, screenshots):
    page = chromium.open(f"{endpoint}/.well-known/sealboot/")
    page.screenshot(screenshots / "page.png")
    text = page.text()
    for n in (2, 4, 7, 12, 15):
        assert f"PCR{n}" in text
    assert instance.digest.removeprefix("sha384:")[:16] in text.replace("\u200b", "").replace("\n", "")
    lines = page.evaluate("[...document.querySelectorAll('.checks td:nth-of-type(1)')].map(td => {"
                          "const r = document.createRange(); r.selectNodeContents(td); "
                          "return r.getClientRects().length})")
    assert lines and set(lines) == {1}, "a result is broken over two lines"


def test_page_needs_nothing_from_elsewhere(chromium, endpoint):
    page = chromium.open(f"{endpoint}/.well-known/sealboot/")
    fetched = page.evaluate("performance.getEntriesByType('resource').map(e => e.name)")
    assert set(fetched) <= {f"{endpoint}/favicon.ico"}
    assert page.evaluate("document.scripts.length") == 0


def test_servers_own_page_answers_through_the_channel(chromium, endpoint, prompts, screenshots):
    page = chromium.open(f"{endpoint}/")
    assert page.evaluate("document.title") == "A server's own page"
    page.evaluate("document.getElementById('question').value = 'What do you see?'")
    page.evaluate("document.querySelector('button').click()")
    page.wait("document.getElementById('answer').dataset.state == 'answered'")
    page.screenshot(screenshots / "server.png")
    assert page.evaluate("document.getElementById('answer').textContent") == "You asked: What do you see? "
    assert len(prompts()) == 1


# ---- pages of strangers

class Stranger(http.server.BaseHTTPRequestHandler):
    """A page of somebody else's; and a server without a guard, which allows every origin as llama.cpp's does, and shows
    that the browser does send all of this."""

    def do_GET(self):
        self.server.seen.append((self.command, self.path))
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Headers", "*")
        self.end_headers()
        self.wfile.write(b"<!DOCTYPE html><title>stranger</title><p>Nothing to see here.")

    do_OPTIONS = do_GET

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def stranger():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        server.seen = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


PROMPT = json.dumps({"messages": [{"role": "user", "content": "stolen"}]})
POST = f"{{method: 'POST', body: {PROMPT!r}}}"
TYPED = f"{{method: 'POST', body: {PROMPT!r}, headers: {{'Content-Type': 'application/json'}}}}"
BLIND = f"{{method: 'POST', body: {PROMPT!r}, mode: 'no-cors'}}"
LATER = "setTimeout(() => r('sent'), 700)"
# Scripts in a page of the stranger's. Each sends something to %s, and tells what it learned of the answer.
WAYS = {
    "fetch": f"fetch('%s/v1/chat/completions', {POST}).then(r => r.text(), () => 'refused')",
    "fetch-no-cors": f"fetch('%s/v1/chat/completions', {BLIND}).then(r => r.text(), () => 'refused')",
    "fetch-preflight": f"fetch('%s/v1/chat/completions', {TYPED}).then(r => r.text(), () => 'refused')",
    "beacon": f"navigator.sendBeacon('%s/v1/chat/completions', {PROMPT!r}); new Promise(r => {LATER})",
    "image": "new Promise(r => { const i = new Image(); i.onload = () => r('loaded'); i.onerror = () => r('refused');"
             " i.src = '%s/v1/models' })",
    "script": "new Promise(r => { const s = document.createElement('script'); s.onload = () => r('loaded');"
              " s.onerror = () => r('refused'); s.src = '%s/bundle.js'; document.head.append(s) })",
    "form": "new Promise(r => { const f = document.createElement('form'); f.action = '%s/v1/chat/completions';"
            " f.method = 'post'; f.target = 'f'; document.body.innerHTML += '<iframe name=f></iframe>';"
            f" document.body.append(f); f.submit(); {LATER} }})",
    "frame": "new Promise(r => { const i = document.createElement('iframe'); i.src = '%s/'; document.body.append(i);"
             f" {LATER} }})",
}


@pytest.mark.parametrize("way", WAYS)
def test_page_of_a_stranger_gets_nothing(chromium, endpoint, instance, way):
    with stranger() as control, stranger() as home:
        page = chromium.open(f"http://stranger.example:{home.server_port}/")
        unguarded = f"http://127.0.0.1:{control.server_port}"
        page.evaluate(WAYS[way] % unguarded)
        sent = "GET" if way in ("image", "script", "frame") else "POST"
        assert sent in [method for method, _ in control.seen], "the browser does not send this: the test proves nothing"
        before = len(instance.server.requests)
        told = page.evaluate(WAYS[way] % endpoint)
        assert told in ("refused", "sent", "")
        assert instance.server.requests[before:] == []


@pytest.mark.parametrize("path", ["/", "/v1/models", "/.well-known/sealboot/"])
def test_name_of_a_stranger_that_leads_here_gets_nothing(chromium, endpoint, instance, path):
    """DNS rebinding: the browser takes the page for the stranger's own, and would let its scripts read the answers."""
    before = len(instance.server.requests)
    page = chromium.open(f"http://rebound.example:{endpoint.port}{path}")
    assert page.evaluate("performance.getEntriesByType('navigation')[0].responseStatus") == 403
    told = page.evaluate(f"fetch('/v1/chat/completions', {POST}).then(r => r.status, () => 0)")
    assert told in (0, 403)  # 0: the refusal's own Content-Security-Policy lets no script of it ask anything
    assert instance.server.requests[before:] == []
    text = page.text()
    assert "A server's own page" not in text and instance.digest.removeprefix("sha384:")[:16] not in text


# ---- llama.cpp's own server

@pytest.fixture(scope="module")
def chat(build, machine, place, openai):
    try:
        model = llama.model()
        llama.server()
    except llama.Unavailable as e:
        pytest.skip(str(e))
    with llama.serve(model, place / "llama.log") as server, \
            served.gate(build, machine, place / "gate-llama", server.socket) as gate, served.connect(gate) as local:
        yield local


def test_llama_answers_openai(chat, openai):
    told = ask(openai, chat, QUESTION)
    assert "Paris" in told["answer"] and told["pieces"] > 1


def test_llama_answers_on_its_own_page(chromium, chat, screenshots):
    page = chromium.open(f"{chat}/")
    page.wait("document.getElementById('user-in') && !document.getElementById('user-in').disabled")
    # Debian's page asks port 8080, unless its settings say otherwise.
    page.evaluate("document.gMe.baseURL = location.origin")
    page.evaluate("Object.assign(document.gMe.apiRequestOptions, {temperature: 0, max_tokens: 24, n_predict: 24})")
    page.evaluate(f"document.getElementById('user-in').value = {QUESTION!r}")
    page.evaluate("document.getElementById('user-btn').click()")
    page.wait("document.body.innerText.includes('Paris')", limit=180)
    page.screenshot(screenshots / "llama.png")
