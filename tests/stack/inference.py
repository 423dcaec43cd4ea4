# SPDX-License-Identifier: Apache-2.0
"""Stands where an inference server does, on a Unix socket: the paths of OpenAI's that clients need, answers in words
that come one by one, and a user interface of one page. It keeps the requests, so that a test can show which prompts
arrived.

    with inference.serve(path) as server: ... server.prompts"""

import contextlib
import http.server
import json
import os
import socketserver
import threading
import time

PAGE = b"""<!DOCTYPE html>
<html lang="en"><head><title>A server's own page</title><link rel="stylesheet" href="/bundle.css"></head>
<body><h1>Ask the model</h1><form><input id="question" size="60"><button>Ask</button></form><p id="answer"></p>
<script src="/bundle.js"></script></body></html>
"""
STYLE = b"body { font-family: sans-serif; margin: 3em } #answer { white-space: pre-wrap }\n"
SCRIPT = b"""
document.querySelector("form").addEventListener("submit", async event => {
    event.preventDefault();
    const answer = document.getElementById("answer");
    answer.dataset.state = "asked"; answer.textContent = "";
    const question = {stream: true, messages: [{role: "user", content: document.getElementById("question").value}]};
    const told = await fetch("/v1/chat/completions", {method: "POST", headers: {"Content-Type": "application/json"},
                                                      body: JSON.stringify(question)});
    const reader = told.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ;) {
        const {done, value} = await reader.read();
        if (done) break;
        text += value;
        const events = text.split("\\n\\n"); text = events.pop();
        for (const event of events)
            if (event !== "data: [DONE]")
                answer.textContent += JSON.parse(event.slice(6)).choices[0].delta.content ?? "";
    }
    answer.dataset.state = "answered";
});
"""
MODELS = b'{"object":"list","data":[{"id":"m","object":"model","created":0,"owned_by":"nobody"}]}'
FILES = {"/": (PAGE, "text/html; charset=utf-8"), "/bundle.js": (SCRIPT, "text/javascript"),
         "/bundle.css": (STYLE, "text/css"), "/health": (b'{"status":"ok"}', "application/json"),
         "/v1/models": (MODELS, "application/json")}


def choice(**more) -> dict:
    return {"id": "1", "created": 0, "model": "m", "choices": [{"index": 0, **more}]}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "client"

    def log_message(self, *_):
        pass

    def answer(self, status, body, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        self.server.requests.append((self.command, self.path, b""))
        body, kind = FILES.get(self.path.partition("?")[0], (None, None))
        self.answer(200, body, kind) if body is not None else self.answer(404, b"{}")

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path, body))
        if self.path != "/v1/chat/completions":
            self.answer(404, b"{}")
            return
        asked = json.loads(body)
        words = self.server.words(asked["messages"][-1]["content"])
        if asked.get("stream"):
            self.stream(words)
        else:
            message = {"role": "assistant", "content": "".join(words)}
            self.answer(200, json.dumps({"object": "chat.completion", **choice(message=message, finish_reason="stop")})
                        .encode())

    def stream(self, words):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for word in words:
            self.event(json.dumps({"object": "chat.completion.chunk",
                                   **choice(delta={"content": word}, finish_reason=None)}))
            time.sleep(self.server.pause)
        self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def event(self, text):
        data = f"data: {text}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads, request_queue_size = True, 1024

    def __init__(self, path, words, pause):
        self.requests, self.words, self.pause = [], words, pause
        self.server_name, self.server_port = "localhost", 80
        super().__init__(str(path), Handler)
        os.chmod(path, 0o666)

    def get_request(self):
        connection, _ = super().get_request()
        return connection, ("client", 0)

    def handle_error(self, request, client_address):
        pass  # a client that went away

    @property
    def prompts(self) -> list[bytes]:
        return [body for method, _, body in self.requests if method == "POST"]


def echo(question: str) -> list[str]:
    return [f"{word} " for word in f"You asked: {question}".split()]


@contextlib.contextmanager
def serve(path, words=echo, pause: float = 0.02):
    """words: from a question to the pieces of its answer; pause: seconds between two pieces."""
    with Server(path, words, pause) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
