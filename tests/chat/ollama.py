# SPDX-License-Identifier: Apache-2.0
"""Ollama, for CPUs, built once from the Go module proxy and kept by its version in $SEALBOOT_CACHE. A build takes
twelve minutes of CPU time, so only `tests/servers --build` makes one; without it, binary() raises Unavailable."""

import contextlib
import os
import pathlib
import subprocess
import tempfile

from . import confined
from .llama import Unavailable, cache, fetched, made_once

HERE = pathlib.Path(__file__).resolve().parent
VERSION = "0.17.4"
HEADERS = ("nlohmann-json3-dev", "libstb-dev")  # a Go module's zip lacks llama.cpp's vendor/
# SmolLM2's, in Go's template language.
TEMPLATE = """{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""


def build(to: pathlib.Path):
    with tempfile.TemporaryDirectory(prefix="sealboot-ollama-") as work:
        os.chmod(work, 0o755)
        for package in HEADERS:
            fetched(package, "Debian", ["apt-get", "download", package], cwd=work)
        for package in pathlib.Path(work).glob("*.deb"):
            fetched(package.name, "Debian", ["dpkg-deb", "-x", package, f"{work}/root"])
        include = f"-I{work}/root/usr/include -I{work}/root/usr/include/stb -I{HERE}/ollama-include"
        name = "github.com/ollama/ollama"
        environment = {**os.environ, "GOBIN": str(to), "CGO_CFLAGS": "-O2 -w", "CGO_CXXFLAGS": f"-O2 -w {include}"}
        command = ["go", "install", "-trimpath", "-ldflags", f"-s -w -X={name}/version.Version={VERSION}",
                   f"{name}@v{VERSION}"]
        subprocess.run(command, env=environment, cwd="/", check=True)


def binary(may_build: bool = False) -> pathlib.Path:
    if os.geteuid() != 0:
        raise Unavailable("Ollama runs in namespaces here, which takes root")
    name = f"ollama-{VERSION}"
    if not may_build and not (cache() / name / "ollama").exists():
        raise Unavailable(f"Ollama {VERSION} is not in {cache()}: tests/servers --build makes it, in 12 CPU minutes")
    with made_once(name) as (path, new):
        if new:
            build(new)
    return path / "ollama"


@contextlib.contextmanager
def serve(published: pathlib.Path, directory: pathlib.Path):
    """Ollama on a published store, as its unit has it."""
    variables = {"OLLAMA_MODELS": str(published), "OLLAMA_NOPRUNE": "1", "OLLAMA_NO_CLOUD": "1",
                 "OLLAMA_KEEP_ALIVE": "-1", "OLLAMA_HOST": f"127.0.0.1:{confined.PORT}"}
    with confined.serve([binary(), "serve"], variables, directory, "/api/version") as server:
        yield server
