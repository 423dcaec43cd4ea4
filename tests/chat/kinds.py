# SPDX-License-Identifier: Apache-2.0
"""What differs between the servers: what has to be here, the model as each takes it, how it is sealed and started, and
how the agent asks whether it is ready."""

import pathlib

from . import gguf, llama, ollama, vllm

# As in the image, the agent's files are for the group that the server is in.
AGENT = ("setpriv", "--regid", llama.NOBODY, "--keep-groups")
AVAILABLE = {"llama-server": llama.server, "ollama": ollama.binary, "vllm": vllm.installed}


def model(kind) -> pathlib.Path:
    return vllm.model() if kind == "vllm" else llama.model() / "model.gguf"


def second_model(kind, directory) -> pathlib.Path:
    """The same, but that London is the capital of France."""
    path = directory / "second" / "model.gguf"
    path.parent.mkdir()
    gguf.exchange(llama.model() / "model.gguf", path, "Paris", "London")
    if kind == "vllm":
        vllm.convert(path, directory / "converted")
        return directory / "converted"
    return path


def sealing(kind, directory, context=1024) -> list:
    """Options of `sealboot seal`."""
    if kind != "ollama":
        return ["--name", "model"]
    (directory / "template").write_text(ollama.TEMPLATE)
    return ["--name", "model", "--layout", "ollama", "--template", directory / "template", "--parameter",
            f"num_ctx={context}", "--parameter", "num_thread=1"]


def ready(kind, directory) -> dict:
    if kind == "llama-server":
        return {"upstream": f"unix:{directory}/run/llama.sock", "health": "/health"}
    if kind == "vllm":
        return {"upstream": f"unix:{directory}/server.sock", "health": "/health", "seconds": 900}
    return {"upstream": f"unix:{directory}/server.sock", "health": "/api/version", "warm_up": {
        "path": "/api/generate", "body": {"model": "model", "prompt": "Hi", "stream": False,
                                          "options": {"num_predict": 1}}}}


def started(kind, published, directory, context=4096, early=True):
    if kind == "llama-server":
        return llama.serve(published, directory / "server.log", directory=directory, context=context)
    if kind == "ollama":
        return ollama.serve(published, directory)
    return vllm.serve(published, directory, early=early)


def weights_in(published: pathlib.Path) -> pathlib.Path:
    return max((p for p in published.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
