# SPDX-License-Identifier: Apache-2.0
"""Ollama's store: made when a model is sealed, compared with its names when it is unsealed."""

import hashlib
import json
import struct

import pytest

from boots import data
from models import read, refused, stored, succeed, write
from sealer import model_text, pcr15, put_model

TEMPLATE = b"{{ range .Messages }}<{{ .Role }}>{{ .Content }}{{ end }}"
GGUF = (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 20) + b"general.architecture"
        + struct.pack("<IQ", 8, 5) + b"llama")


def blob(content: bytes) -> str:
    return f"blobs/sha256-{hashlib.sha256(content).hexdigest()}"


def entry(kind: str, content: bytes) -> dict:
    return {"mediaType": f"application/vnd.{kind}", "size": len(content),
            "digest": f"sha256:{hashlib.sha256(content).hexdigest()}"}


def store(name: str, gguf: bytes, template: bytes | None, parameters: dict) -> dict[str, bytes]:
    """A second implementation, from what Ollama reads."""
    parameters = json.dumps(parameters, separators=(",", ":")).encode()
    layers = [("ollama.image.model", gguf), *([("ollama.image.template", template)] if template else []),
              ("ollama.image.params", parameters)]
    described = [entry(kind, content) for kind, content in layers]
    config = json.dumps({
        "model_format": "gguf", "model_family": "llama", "model_families": ["llama"], "model_type": "", "file_type": "",
        "architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in described]}}, separators=(",", ":"))
    kind = "docker.container.image.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "config": entry(kind, config.encode()), "layers": described}
    return {f"manifests/registry.ollama.ai/library/{name}/latest": manifest, blob(config.encode()): config.encode(),
            **{blob(content): content for _, content in layers}}


def parsed(files: dict) -> dict:
    """With manifests as JSON: the order of their keys means nothing."""
    return {path: json.loads(content) if path.startswith("manifests/") and isinstance(content, bytes) else content
            for path, content in files.items()}


def test_a_store_is_sealed_digested_booted_and_published(sealboot, boot, tmp_path):
    gguf = GGUF + data(21_000_000)
    model = write(tmp_path / "in", {"weights.gguf": gguf, "template": TEMPLATE})
    layout = ["--layout", "ollama", "--name", "m", "--template", model / "template", "--parameter", "num_ctx=2048",
              "--parameter", "stop=<|end|>", "--parameter", "temperature=0.10", "--parameter", "stop=1",
              model / "weights.gguf"]
    place = f"s3://{boot.stack.bucket}/store/"
    sealed = succeed(sealboot("seal", "--json", "--key", boot.arn, *layout, place)).json
    digested = succeed(sealboot("digest", "--json", *layout)).json
    assert digested["digest"] == sealed["digest"]
    boot.launch("store/")
    result = succeed(boot.run())
    assert boot.stack.pcr(15) == sealed["pcr15"] == digested["pcr15"] and "sha256" not in result.stderr
    there = boot.published()
    assert pcr15(model_text(there)) == sealed["pcr15"]
    parameters = '{"num_ctx":2048,"stop":["<|end|>","1"],"temperature":0.10,"use_mmap":true}'
    assert there[blob(parameters.encode())] == parameters.encode()
    wanted = store("m", gguf, TEMPLATE, {})
    assert there[blob(gguf)] == gguf and there[blob(TEMPLATE)] == TEMPLATE and len(there) == 5
    manifest = json.loads(there["manifests/registry.ollama.ai/library/m/latest"])
    expected = wanted["manifests/registry.ollama.ai/library/m/latest"]
    assert manifest["layers"] == [*expected["layers"][:2], entry("ollama.image.params", parameters.encode())]


def test_equal_input_gives_equal_bytes_and_nothing_is_left(sealboot, key, tmp_path):
    (tmp_path / "scratch").mkdir()
    gguf = write(tmp_path, {"Small.Q4.gguf": GGUF})
    for name in "one", "two":
        done = succeed(sealboot("seal", "--key", key, "--layout", "ollama", tmp_path / "Small.Q4.gguf",
                                tmp_path / name, env={"TMPDIR": str(tmp_path / "scratch")}))
        assert "there is no --template" in done.stderr
        succeed(sealboot("unseal", "--key", key, tmp_path / name, tmp_path / f"{name}-open"))
    assert parsed(read(tmp_path / "one-open")) == store("Small.Q4.gguf", GGUF, None, {"use_mmap": True})
    assert read(tmp_path / "one-open") == read(tmp_path / "two-open")
    # A store that is there already is sealed as it is.
    again = succeed(sealboot("seal", "--json", "--key", key, tmp_path / "one-open", tmp_path / "again")).json
    assert again["digest"] == succeed(sealboot("digest", "--json", "--layout", "ollama",
                                               tmp_path / "Small.Q4.gguf")).json["digest"]
    assert list((tmp_path / "scratch").iterdir()) == [] and gguf.exists()


@pytest.mark.parametrize("frames", [1, 40])
def test_a_blob_that_is_not_what_its_name_says_is_refused(boot, frames):
    """By the agent, whoever sealed it: everything else about the store is in order."""
    files = store("m", GGUF, TEMPLATE, {})
    files = {path: json.dumps(content).encode() if isinstance(content, dict) else content
             for path, content in files.items()}
    files[blob(b"other bytes")] = data(4096 * frames)
    put_model(boot.stack.s3(), boot.stack.bucket, "wrong/", files, boot.model_key(), frame_length=4096)
    boot.launch("wrong/")
    boot.refused(56, "it has the SHA-256 ", f'but its path is "{blob(b"other bytes")}"')


def test_the_owner_is_told_before_anything_is_sealed(sealboot, key, place, stack, tmp_path):
    wrong = write(tmp_path / "store", {blob(b"a"): b"b", "manifests/registry.ollama.ai/library/m/latest": b"{}"})
    refused(sealboot("seal", "--key", key, wrong, place), 56, "not the one of its name", "download it again")
    assert stored(stack, place) == []
    # Names that only look like it are no matter.
    fine = write(tmp_path / "fine", {f"sha256-{'a' * 64}": b"b", f"blobs/sha256-{'a' * 63}": b"b",
                                     f"blobs/sha256-{'A' * 64}": b"b", f"xblobs/sha256-{'a' * 64}": b"b"})
    succeed(sealboot("seal", "--key", key, fine, tmp_path / "sealed"))
    succeed(sealboot("unseal", "--key", key, tmp_path / "sealed", tmp_path / "open"))


@pytest.mark.parametrize("content, arguments, code, words", [
    (b"GGUF\1\0\0\0", [], 61, "not a GGUF file of version 2 or 3"),
    (b"GGUF", [], 61, "not a GGUF file of version 2 or 3"),
    (b"", [], 61, "not a GGUF file of version 2 or 3"),
    (b"PK\3\4" + bytes(100), [], 61, "not a GGUF file of version 2 or 3"),
    (GGUF, ["--name", "a/b"], 2, "not a name that Ollama takes"),
    (GGUF, ["--name", ".hidden"], 2, "not a name that Ollama takes"),
    (GGUF, ["--name", "n" * 81], 2, "not a name that Ollama takes"),
    (GGUF, ["--parameter", "Num_Ctx=1"], 2, "--parameter takes NAME=VALUE"),
    (GGUF, ["--parameter", "=1"], 2, "--parameter takes NAME=VALUE"),
    (GGUF, ["--parameter", "num_ctx"], 2, "--parameter takes NAME=VALUE"),
    (GGUF, ["--parameter", "num_ctx=1", "--parameter", "num_ctx=2"], 2, "it is given twice"),
    (GGUF, ["--template", "/dev/null"], 61, "and not empty"),
    (GGUF, ["--template", "/no/such/file"], 61, "/no/such/file"),
    (GGUF, ["--layout", "vllm"], 2, "--layout is 'ollama'"),
])
def test_what_is_no_store(sealboot, tmp_path, content, arguments, code, words):
    write(tmp_path, {"x.gguf": content})
    refused(sealboot("digest", "--layout", "ollama", *arguments, tmp_path / "x.gguf",
                     env={"TMPDIR": str(tmp_path)}), code, words)
    assert [p.name for p in tmp_path.iterdir()] == ["x.gguf"]


def test_the_layout_is_of_one_file_and_its_options_are_of_the_layout(sealboot, key, tmp_path):
    model = write(tmp_path / "model", {"x.gguf": GGUF})
    refused(sealboot("digest", "--layout", "ollama", model), 2, "--layout ollama takes a file")
    refused(sealboot("digest", "--template", "/dev/null", model), 2, "--template is for --layout ollama")
    refused(sealboot("seal", "--key", key, "--parameter", "a=1", model, tmp_path / "to"), 2, "--parameter is for")
    refused(sealboot("digest", "--name", "x", model), 2, "--name is for --layout ollama")
    refused(sealboot("seal", "--key", key, "--layout", "ollama", model / "x.gguf", "s3://bucket/object"), 2,
            "made into several files")
