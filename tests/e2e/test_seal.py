# SPDX-License-Identifier: Apache-2.0
"""The owner's side: seal, inspect, digest and unseal over the local stack, and what the agent makes of it."""

import hashlib
import json
import os
import pathlib
import pty
import shutil
import signal
import subprocess
import time

import pytest

from boots import data, sharded
from models import read, refused, stored, succeed, write
from sealer import DataKey, Sealed, model_text, pcr15
from stack import checksums

ONE_LINER = r"(cd '%s'; find -L . -type f -printf '%%P\0' | LC_ALL=C sort -z | xargs -0 fsverity digest --) | sha384sum"


# --- there and back

def test_sharded_model_round_trip(sealboot, stack, key, place, tmp_path):
    files = sharded()
    model = write(tmp_path / "model", files)
    stack.control.clear_audit()
    sealed = succeed(sealboot("seal", "--json", "--key", key, "--name", "hf", "--version", "7", "--context", "team=a=b",
                              "--all", model, place)).json
    context = {"model": "hf", "version": "7", "team": "a=b", "sealboot": "manifest-model"}
    assert sealed["encryption_context"] == context and sealed["key"] == key and sealed["destination"] == place
    assert sealed["bytes"] == sum(map(len, files.values()))
    assert [f["path"] for f in sealed["files"]] == sorted(files, key=str.encode)

    # One call to KMS, with the context that CloudTrail will show; the manifest last of all.
    assert [e["encryption_context"] for e in stack.control.audit(service="kms")] == [context]
    puts = [
        e["key"] for e in stack.control.audit(service="s3")
        if e["operation"] in ("PutObject", "CompleteMultipartUpload")
    ]
    assert len(puts) == len(files) + 1 and puts[-1].endswith("manifest.sealed")
    assert stored(stack, place) == [f"{i:05}.sealed" for i in range(len(files))] + ["manifest.sealed"]

    # The digest is what Debian's tools say, and PCR15 follows from it.
    expected = subprocess.run(["bash", "-c", ONE_LINER % model], capture_output=True, text=True,
                              check=True).stdout.split()[0]
    assert sealed["digest"] == "sha384:" + expected == "sha384:" + hashlib.sha384(model_text(files)).hexdigest()
    assert sealed["pcr15"] == pcr15(model_text(files))
    digested = succeed(sealboot("digest", "--json", "--all", model)).json
    assert (digested["digest"], digested["pcr15"], digested["files"]) == (sealed["digest"], sealed["pcr15"],
                                                                          sealed["files"])
    assert hashlib.sha384(sealboot("digest", "--files", "--all", model).stdout.encode()).hexdigest() == expected

    stack.control.clear_audit()
    opened = succeed(
        sealboot("unseal", "--json", "--key", key, "--digest", sealed["digest"], place, tmp_path / "opened")).json
    assert opened["digest"] == sealed["digest"] and (opened["name"], opened["version"]) == ("hf", "7")
    assert read(tmp_path / "opened") == files
    assert len(stack.control.audit(service="kms", operation="Decrypt")) == 1
    assert sorted(os.listdir(tmp_path)) == ["model", "opened"]


def test_local_round_trip(sealboot, key, tmp_path):
    files = sharded()
    model = write(tmp_path / "model", files)
    sealed = succeed(sealboot("seal", "--key", key, "--frame-length", "65536", "--all", model, tmp_path / "out/"))
    opened = succeed(sealboot("unseal", tmp_path / "out/", tmp_path / "opened"))
    assert read(tmp_path / "opened") == files
    assert sealed.stdout.splitlines()[-2:] == opened.stdout.splitlines()[-2:] == [
        "digest  sha384:" + hashlib.sha384(model_text(files)).hexdigest(), "PCR15   " + pcr15(model_text(files))]


def test_single_file_is_a_single_object(sealboot, stack, key, place, tmp_path):
    gguf = b"GGUF" + data(30_000_000)
    (tmp_path / "llama.gguf").write_bytes(gguf)
    sealed = succeed(sealboot("seal", "--json", "--key", key, tmp_path / "llama.gguf", place + "anything")).json
    assert stored(stack, place) == ["anything"]
    assert sealed["encryption_context"] == {"model": "llama.gguf", "version": "1", "file": "llama.gguf"}
    report = succeed(sealboot("inspect", "--json", place + "anything")).json
    assert report["plaintext_size"] == len(gguf) and report["frames"] == 29 and report["frame_length"] == 1 << 20
    assert report["kind"] == "single-file" and report["encryption_context"] == sealed["encryption_context"]
    assert report["data_keys"] == [{"provider": "aws-kms", "key": key}]
    succeed(sealboot("unseal", place + "anything", tmp_path / "opened"))
    assert read(tmp_path / "opened") == {"llama.gguf": gguf}
    plain = succeed(sealboot("digest", "--json", "--measure", "sha384", tmp_path / "llama.gguf")).json
    assert plain["digest"] == "sha384:" + hashlib.sha384(gguf).hexdigest()


def test_single_file_may_be_a_model(sealboot, stack, key, place, tmp_path):
    (tmp_path / "llama.gguf").write_bytes(b"GGUF")
    succeed(sealboot("seal", "--key", key, tmp_path / "llama.gguf", place))
    assert stored(stack, place) == ["00000.sealed", "manifest.sealed"]


def test_an_object_of_a_model_is_no_model(sealboot, stack, key, place, tmp_path):
    """What unseal opens is what the agent would load."""
    succeed(sealboot("seal", "--key", key, write(tmp_path / "model", {"a": b"1", "b": b"2"}), place))
    stack.control.clear_audit()
    for name in ("00000.sealed", "00001.sealed", "manifest.sealed"):
        assert succeed(sealboot("inspect", "--json", place + name)).json["kind"] == "manifest-model"
        refused(sealboot("unseal", place + name, tmp_path / "opened"), 53, "not a model of its own",
                "s3://BUCKET/PREFIX/")
    assert "kind        one object of a model with a manifest" in succeed(sealboot("inspect", place)).stdout
    assert stack.control.audit(service="kms") == [] and os.listdir(tmp_path) == ["model"]


def test_an_object_of_another_program(sealboot, stack, key, place, tmp_path):
    """It has neither mark nor name: inspect says so, and unseal names the file as the agent would."""
    (tmp_path / "x.gguf.sealed").write_bytes(bytes(Sealed(b"GGUF", DataKey.generate(stack.kms(), key, {"model": "m"}))))
    report = succeed(sealboot("inspect", tmp_path / "x.gguf.sealed"))
    assert ('not stated: another program sealed it, or an older sealboot as part of a model; opened alone, its file is '
            'named "model"') in report.stdout
    assert succeed(sealboot("inspect", "--json", tmp_path / "x.gguf.sealed")).json["kind"] == "unmarked"
    opened = succeed(sealboot("unseal", "--json", tmp_path / "x.gguf.sealed", tmp_path / "opened")).json
    assert read(tmp_path / "opened") == {"model": b"GGUF"} and opened["pcr15"] == pcr15(model_text({"model": b"GGUF"}))


# Around the ends of frames, units of the digest, parts, and what makes one part two.
@pytest.mark.parametrize("frame_length", ["4096", "1048576", "16777216"])
def test_sizes(sealboot, key, tmp_path, frame_length):
    sizes = [0, 1, 4095, 4096, 4097, 524_287, 524_288, 524_289, (1 << 20) - 1, 1 << 20, (1 << 20) + 1,
             (8 << 20) - 1, 8 << 20, (8 << 20) + 1, (16 << 20) + 1]
    files = {str(n): data(n) for n in sizes}
    model = write(tmp_path / "model", files)
    sealed = succeed(sealboot("seal", "--json", "--key", key, "--frame-length", frame_length, model,
                              tmp_path / "out/")).json
    assert sealed["digest"] == "sha384:" + hashlib.sha384(model_text(files)).hexdigest()
    succeed(sealboot("unseal", tmp_path / "out/", tmp_path / "opened"))
    assert read(tmp_path / "opened") == files


def test_many_small_files(sealboot, key, place, tmp_path):
    files = {f"{i % 7}/{i}": data(i, i) for i in range(1000)}
    model = write(tmp_path / "model", files)
    succeed(sealboot("seal", "--key", key, "--connections", "16", model, place))
    succeed(sealboot("unseal", place, tmp_path / "opened"))
    assert read(tmp_path / "opened") == files


@pytest.mark.parametrize("single", [True, False])
def test_the_agent_boots_it(sealboot, boot, tmp_path, single):
    files = {"llama.gguf": b"GGUF" + data(12_000_000)} if single else sharded()
    model = write(tmp_path / "model", files)
    place = f"s3://{boot.stack.bucket}/booted-{single}/"
    sealed = succeed(sealboot("seal", "--json", "--key", boot.arn, "--name", "m",
                              model / "llama.gguf" if single else model, place + ("x" if single else ""))).json
    boot.launch(f"booted-{single}/" + ("x" if single else ""))
    succeed(boot.run())
    assert boot.published() == {path: content for path, content in files.items() if path != ".gitattributes"}
    assert boot.stack.pcr(15) == sealed["pcr15"]


# --- what S3 stores is what was sealed

def test_object_lock_takes_it(sealboot, stack, key, tmp_path):
    """Under Object Lock S3 refuses every body that comes without a checksum, in parts or not."""
    s3, bucket = stack.s3(), "sealed-and-locked"
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration={
        "ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}})
    files = {"small": b"x", "large": data(20_000_000)}
    succeed(sealboot("seal", "--key", key, write(tmp_path / "model", files), f"s3://{bucket}/m/"))
    for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]:
        where = {"Bucket": bucket, "Key": entry["Key"]}
        stored = s3.get_object(**where)["Body"].read()
        parts = [stored] if len(stored) < 8 << 20 else sealed_parts(stored)
        values = [checksums.value_of("crc32c", [part]) for part in parts]
        kept = s3.head_object(**where, ChecksumMode="ENABLED")["ChecksumCRC32C"]
        assert kept == (values[0] if len(parts) == 1 else checksums.composite("crc32c", values)), entry
    succeed(sealboot("unseal", f"s3://{bucket}/m/", tmp_path / "opened"))
    assert read(tmp_path / "opened") == files


def sealed_parts(stored: bytes) -> list[bytes]:
    """Parts of eight frames of 1 MiB; the first has the header, too. 19 frames and a final one, 8 bytes longer."""
    frames = 8 * ((1 << 20) + 32)
    header = len(stored) - 20_000_000 - 19 * 32 - 40
    return [stored[:header + frames], *(stored[at:at + frames] for at in range(header + frames, len(stored), frames))]


def test_damage_on_the_way_is_repaired(sealboot, stack, key, place, tmp_path):
    model = write(tmp_path / "model", {"small": b"x", "large": data(20_000_000)})
    for operation in ("PutObject", "UploadPart"):
        stack.control.fault("error", service="s3", operation=operation, count=1, code="BadDigest", status=400,
                            message="The CRC32C you specified did not match the calculated checksum.")
    succeed(sealboot("seal", "--key", key, model, place))
    succeed(sealboot("unseal", place, tmp_path / "opened"))
    assert read(tmp_path / "opened") == read(model)


# --- which key

def test_aliases_name_the_key(sealboot, stack, key, tmp_path):
    """The sealed header has the key's ARN, which an image can pin; an alias can be pointed elsewhere."""
    stack.kms().create_alias(AliasName="alias/models", TargetKeyId=key)
    model = write(tmp_path / "model", {"a": b"x"})
    for i, reference in enumerate(("alias/models", key.partition(":key/")[0] + ":alias/models", key.rsplit("/", 1)[1])):
        assert succeed(sealboot("seal", "--json", "--key", reference, model, tmp_path / f"out{i}/")).json["key"] == key
        succeed(sealboot("unseal", "--key", key, tmp_path / f"out{i}/", tmp_path / f"opened{i}"))
    refused(sealboot("seal", "--key", "alias/none", model, tmp_path / "none/"), 31, "is not found")


# --- nobody there

@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://no-such-host.invalid"])
@pytest.mark.parametrize("service", ["S3", "KMS"])
def test_an_endpoint_where_nothing_answers(sealboot, stack, key, place, tmp_path, service, endpoint):
    """A mistyped endpoint is told in seconds; what a boot may wait for is minutes."""
    model = write(tmp_path / "model", {"a": b"x"})
    sealed = succeed(sealboot("seal", "--key", key, model, tmp_path / "local/"))
    assert sealed.returncode == 0
    calls = [("seal", "--key", key, model, place)]
    if service == "S3":
        calls += [("inspect", place), ("unseal", place, tmp_path / "o")]
    else:
        calls.append(("unseal", tmp_path / "local/", tmp_path / "o"))
    for call in calls:
        began = time.monotonic()
        refused(sealboot(*call, env={f"AWS_ENDPOINT_URL_{service}": endpoint}), 15, "attempts in")
        assert time.monotonic() - began < 15, call


# --- bookkeeping of the programs that brought the files

def repository() -> dict[str, bytes]:
    return {"config.json": b"{}", "model-00001-of-00002.safetensors": data(70_000), "onnx/model.onnx": data(5000, 2),
            ".cache/other": b"kept", "huggingface/x": b"kept", "a.git": b"kept", "-leading": b"kept",
            "git/x~y": b"kept"}


def downloaded(directory, now: float):
    """What `hf download --local-dir` leaves: the time of each file's download, and locks."""
    write(directory, repository() | {".gitattributes": b"*.safetensors filter=lfs\n"})
    for path in repository():
        write(directory / ".cache/huggingface/download",
              {f"{path}.metadata": b"0123\n4567\n%f\n" % now, f"{path}.lock": b""})
    return write(directory, {".cache/huggingface/.gitignore": b"*", "onnx/.cache/huggingface/x": b"%f" % now})


def cloned(directory):
    write(directory, repository() | {".gitattributes": b"*.safetensors filter=lfs\n", ".gitignore": b"x",
                                     ".gitmodules": b""})
    return write(directory, {".git/lfs/objects/ab/cd/abcd": data(70_000), ".git/HEAD": b"ref: x",
                             "onnx/.git": b"gitdir: ../x"})


def edited(directory):
    (write(directory, repository()) / "sub.swp").mkdir()
    return write(directory, {".config.json.swp": b"1", "config.json~": b"2", ".DS_Store": b"3", "onnx/.DS_Store": b"4",
                             ".msc": b"5", ".mdl": b"6", ".mv": b"7", "._____temp/x": b"8", "sub.swp/x": b"9"})


def shared(directory):
    """What notebooks, Python, Windows, macOS, NFS and older downloaders leave."""
    names = (".ipynb_checkpoints/config-checkpoint.json", "__pycache__/modeling.cpython-311.pyc",
             "onnx/__pycache__/x.pyc", "Thumbs.db", "desktop.ini", "._config.json", "onnx/._model.onnx",
             ".config.json.swo", ".nfs00000000012ab", "lost+found/x", ".huggingface/download/config.json.metadata",
             ".hfd/repo_metadata.json", ".lfsconfig")
    return write(directory, repository() | {name: b"1" for name in names})


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 4976698672\n"


@pytest.mark.parametrize("files,words,advice", [
    ({"model.safetensors": LFS_POINTER}, "is a pointer of Git LFS", "git lfs pull"),
    ({"onnx/x.bin": LFS_POINTER.replace(b"git-lfs", b"hawser")}, "is a pointer of Git LFS", "git lfs pull"),
    ({"model.safetensors.incomplete": b"x"}, "until it is complete", "Finish the download"),
    ({"model.gguf": b"x", "model.gguf.aria2": b"x"}, "until it is complete", "Finish the download"),
    ({"blobs/ab": b"x", "refs/main": b"01", "snapshots/01/x": b"x"
      }, "repository of a Hugging Face cache", "--dereference"),
])
def test_what_is_not_a_whole_model_is_refused(sealboot, key, tmp_path, files, words, advice):
    model = write(tmp_path / "model", {"config.json": b"{}"} | files)
    for verb in (["digest"], ["seal", "--key", key]):
        result = sealboot(*verb, model, *([tmp_path / "out/"] if verb[0] == "seal" else []))
        refused(result, 61, words)
        assert advice in result.stderr and not (tmp_path / "out").exists()
    everything = "sha384:" + hashlib.sha384(model_text(read(model))).hexdigest()
    assert succeed(sealboot("digest", "--all", "--json", model)).json["digest"] == everything


def test_a_text_about_lfs_is_no_pointer(sealboot, tmp_path):
    model = write(tmp_path / "model", {"README.md": b"# " + LFS_POINTER, "long": LFS_POINTER + bytes(2000)})
    assert len(succeed(sealboot("digest", "--json", model)).json["files"]) == 2


def test_bookkeeping_is_left_out(sealboot, key, tmp_path):
    expected = "sha384:" + hashlib.sha384(model_text(repository())).hexdigest()
    sources = {
        "first": downloaded(tmp_path / "first", 1760000000.1), "again": downloaded(tmp_path / "again", 1760000061.2),
        "clone": cloned(tmp_path / "clone"), "edited": edited(tmp_path / "edited"),
        "shared": shared(tmp_path / "shared"), "plain": write(tmp_path / "plain", repository())
    }
    for name, model in sources.items():
        digested = succeed(sealboot("digest", "--quiet", "--json", model))
        assert digested.json["digest"] == expected, name
        sealed = succeed(sealboot("seal", "--quiet", "--json", "--key", key, model, tmp_path / f"out-{name}"))
        assert sealed.json["digest"] == expected
        assert [f["path"] for f in sealed.json["files"]] == sorted(repository(), key=str.encode)
        assert sealed.json["left_out"] == digested.json["left_out"]
        assert all(("left out as bookkeeping:" in said.stderr) == (name != "plain") for said in (digested, sealed))
        succeed(sealboot("unseal", tmp_path / f"out-{name}", tmp_path / f"opened-{name}"))
        assert read(tmp_path / f"opened-{name}") == repository()
    left = succeed(sealboot("digest", "--json", sources["first"]))
    assert left.json["left_out"] == [".cache/huggingface", ".gitattributes", "onnx/.cache/huggingface"]
    assert ".cache/huggingface" in left.stderr and "(--all takes every file)" in left.stderr
    assert "and 1 more" in sealboot("digest", sources["edited"]).stderr
    refused(sealboot("digest", write(tmp_path / "empty", {".git/HEAD": b"x"})), 61, "no file in it but bookkeeping")


def test_all_takes_bookkeeping(sealboot, key, tmp_path):
    model = cloned(tmp_path / "clone")
    everything = "sha384:" + hashlib.sha384(model_text(read(model))).hexdigest()
    digested = succeed(sealboot("digest", "--all", "--json", model))
    sealed = succeed(sealboot("seal", "-a", "--json", "--key", key, model, tmp_path / "out/"))
    assert digested.json["digest"] == sealed.json["digest"] == everything
    assert digested.json["left_out"] == [] and "left out" not in digested.stderr + sealed.stderr
    single = write(tmp_path / "s", {"x.swp": b"1"})
    assert succeed(sealboot("digest", "--files", single / "x.swp")).stdout.encode() == model_text({"x.swp": b"1"})


@pytest.mark.parametrize("make", [lambda d: downloaded(d, 1.5), cloned, edited, shared])
def test_auditors_commands_leave_out_the_same(sealboot, tmp_path, make):
    """The commands that --help gives, and the manual: word for word."""
    model = make(tmp_path / "model")
    shown = succeed(sealboot("digest", "--help")).stdout
    commands = shown[shown.index("  (cd DIRECTORY"):shown.index("| sha384sum")] + "| sha384sum"
    manual = (pathlib.Path(__file__).parent.parent.parent / "policy/man/sealboot-digest.1").read_text()
    page = manual[manual.index("$ (cd model; find"):].partition("\n.Ed")[0].removeprefix("$ ").replace("\\e", "\\")
    for text in (commands.replace("DIRECTORY", "model"), page):
        ran = subprocess.run(["bash", "-c", text], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert succeed(sealboot("digest", "--json", model)).json["digest"] == "sha384:" + ran.stdout.split()[0]


# --- what inspect does

def test_inspect_reads_two_heads_alone(sealboot, stack, key, place, tmp_path):
    model = write(tmp_path / "model", {"a": data(5_000_000)})
    succeed(sealboot("seal", "--key", key, model, place))
    stack.control.clear_audit()
    report = succeed(sealboot("inspect", place))
    assert f"key         aws-kms {key}" in report.stdout and "model = model" in report.stdout
    assert [e["operation"] for e in stack.control.audit()] == ["HeadObject", "GetObject", "GetObject"]
    stack.control.clear_audit()
    assert "plaintext 5000000 bytes" in succeed(sealboot("inspect", place + "00000.sealed")).stdout
    inspected = stack.control.audit()
    size = len(stack.s3().get_object(Bucket=stack.bucket, Key=place.split("/", 3)[3] + "00000.sealed")["Body"].read())
    last = size - 16 - 5_000_000 % (1 << 20) - 24
    assert [(e["operation"], e.get("range")) for e in inspected] == [
        ("HeadObject", None), ("GetObject", "bytes=0-4095"), ("GetObject", f"bytes={last}-{last + 23}")]


def test_inspect_refuses(sealboot, place, tmp_path):
    write(tmp_path, {"text": b"GGUF and more", "empty": b"", "short": b"\2\4\x78" + bytes(40)})
    refused(sealboot("inspect", tmp_path / "text"), 50, "starts with byte 47")
    refused(sealboot("inspect", tmp_path / "empty"), 50, "truncated inside the message header")
    refused(sealboot("inspect", tmp_path / "short"), 50)
    refused(sealboot("inspect", tmp_path / "none"), 61, "No such file")
    refused(sealboot("inspect", place + "none"), 41)


def test_inspect_keeps_the_terminal_safe(sealboot, key, tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    succeed(sealboot("seal", "--key", key, "--context", "a=\x1b[2J\u009b2J", tmp_path / "f", tmp_path / "sealed"))
    report = succeed(sealboot("inspect", tmp_path / "sealed"))
    assert "a = ?[2J?2J" in report.stdout
    assert json.loads(sealboot("inspect", "--json",
                               tmp_path / "sealed").stdout)["encryption_context"]["a"] == "\x1b[2J\u009b2J"


# --- symbolic links, and what is no model

def test_links_inside_are_followed(sealboot, tmp_path):
    model = write(tmp_path / "model", {"blobs/1": b"one", "dir/2": b"two"})
    (model / "weights").symlink_to("blobs/1")
    (model / "linked").symlink_to("dir")
    (model / "up").mkdir()
    (model / "up/absolute").symlink_to(model / "blobs/1")
    expected = {"blobs/1": b"one", "dir/2": b"two", "weights": b"one", "linked/2": b"two", "up/absolute": b"one"}
    assert succeed(sealboot("digest", "--files", model)).stdout.encode() == model_text(expected)


def test_hugging_face_cache(sealboot, key, tmp_path):
    write(tmp_path / "cache/blobs", {"abc": b"config", "def": data(100_000)})
    snapshot = tmp_path / "cache/snapshots/1234"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").symlink_to("../../blobs/abc")
    (snapshot / "model.safetensors").symlink_to("../../blobs/def")
    refused(sealboot("seal", "--key", key, snapshot, tmp_path / "out/"), 61, "leads out of the model's directory",
            "--dereference")
    assert not (tmp_path / "out").exists()
    succeed(sealboot("seal", "--key", key, "--dereference", snapshot, tmp_path / "out/"))
    succeed(sealboot("unseal", tmp_path / "out/", tmp_path / "opened"))
    assert read(tmp_path / "opened") == {"config.json": b"config", "model.safetensors": data(100_000)}


@pytest.mark.parametrize("name, make, code, words", [
    ("loop", lambda p: p.symlink_to("."), 61, "out of the model's directory"),
    ("sub/loop", lambda p: p.symlink_to(".."), 61, "out of the model's directory"),
    ("sub/sub/loop", lambda p: p.symlink_to(".."), 61, "contains itself"),
    ("dangling", lambda p: p.symlink_to("nothing"), 61, "cannot be resolved"),
    ("out", lambda p: p.symlink_to("/etc/passwd"), 61, "leads out"),
    ("fifo", os.mkfifo, 61, "neither a file nor a directory"),
    ("line\nbreak", lambda p: p.write_bytes(b""), 55, "control character"),
    (b"latin-\xe9", lambda p: p.write_bytes(b""), 55, "not UTF-8"),
])
def test_what_is_no_model(sealboot, key, tmp_path, name, make, code, words):
    model = write(tmp_path / "model", {"a": b"a"})
    path = model / os.fsdecode(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path)
    refused(sealboot("digest", model), code, words)
    refused(sealboot("seal", "--key", key, model, tmp_path / "out/"), code, words)
    assert not (tmp_path / "out").exists()


def test_nothing_is_no_model(sealboot, tmp_path):
    (tmp_path / "model/empty").mkdir(parents=True)
    refused(sealboot("digest", tmp_path / "model"), 61, "has no file in it")


# --- what is there already

def test_overwriting_is_refused(sealboot, stack, key, place, tmp_path):
    first, second = write(tmp_path / "1", {"a": b"1", "b": b"1", "c": b"1"}), write(tmp_path / "2", {"a": b"2"})
    for destination in (place, f"{tmp_path}/out/", place + "single", f"{tmp_path}/single"):
        is_model = destination.endswith("/")
        succeed(sealboot("seal", "--key", key, first if is_model else first / "a", destination))
        again = ["seal", "--key", key, second if is_model else second / "a", destination]
        stack.control.clear_audit()
        refused(sealboot(*again), 60, "already", "--force")
        assert stack.control.audit(service="kms") == []
        succeed(sealboot(*again, "--force"))
        opened = tmp_path / "opened"
        succeed(sealboot("unseal", destination, opened))
        assert read(opened) == {"a": b"2"}
        shutil.rmtree(opened)
    # No object of the larger model is left over.
    assert stored(stack, place) == ["00000.sealed", "manifest.sealed", "single"]
    assert sorted(os.listdir(tmp_path / "out")) == ["00000.sealed", "manifest.sealed"]


def test_unseal_replaces_nothing(sealboot, key, tmp_path):
    model = write(tmp_path / "model", {"a": b"1"})
    succeed(sealboot("seal", "--key", key, model, tmp_path / "out/"))
    refused(sealboot("unseal", tmp_path / "out/", model), 60, "not an empty directory")
    refused(sealboot("unseal", tmp_path / "out/", model / "a"), 60, "not an empty directory")
    (tmp_path / "empty").mkdir()
    succeed(sealboot("unseal", tmp_path / "out/", tmp_path / "empty"))
    assert read(tmp_path / "empty") == read(model) == {"a": b"1"}


# --- failures leave nothing behind

def uploads_left(stack) -> int:
    def count(operation):
        return len([e for e in stack.control.audit(service="s3", operation=operation) if e["result"] == "ok"])
    return count("CreateMultipartUpload") - count("CompleteMultipartUpload") - count("AbortMultipartUpload")


@pytest.mark.parametrize("operation, key_pattern, skip", [("UploadPart", "*", 2), ("CompleteMultipartUpload", "*", 0),
                                                          ("CreateMultipartUpload", "*", 1),
                                                          ("PutObject", "*manifest.sealed", 0),
                                                          ("PutObject", "*/00002.sealed", 0)])
def test_failed_upload_leaves_nothing(sealboot, stack, key, place, tmp_path, operation, key_pattern, skip):
    model = write(tmp_path / "model", {"a": data(20_000_000), "b": data(20_000_000), "c": b"small"})
    stack.control.clear_audit()
    stack.control.fault("error", service="s3", operation=operation, key=key_pattern, status=403, code="AccessDenied",
                        message="no", skip=skip, count=None)
    refused(sealboot("seal", "--key", key, model, place), 40, "AccessDenied")
    stack.control.clear_faults()
    assert stored(stack, place) == []
    assert uploads_left(stack) == 0


def test_slow_down_is_waited_out(sealboot, stack, key, place, tmp_path):
    files = {"a": data(30_000_000), "b": b"small"}
    model = write(tmp_path / "model", files)
    for operation in ("UploadPart", "PutObject", "CreateMultipartUpload"):
        stack.control.fault("error", service="s3", operation=operation, status=503, code="SlowDown",
                            message="slow down", count=2)
    stack.control.fault("reset", service="s3", operation="UploadPart", count=1)
    stack.control.fault("error", service="kms", operation="GenerateDataKey", status=400, code="ThrottlingException",
                        message="", count=1)
    succeed(sealboot("seal", "--key", key, model, place))
    succeed(sealboot("unseal", place, tmp_path / "opened"))
    assert read(tmp_path / "opened") == files


def start(build, stack, *arguments):
    return subprocess.Popen([build / "policy/sealboot", *map(str, arguments)], env=stack.env, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def wait_for(condition, seconds: float = 30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_seal_leaves_nothing(build, stack, key, place, tmp_path, which):
    model = write(tmp_path / "model", {"a": b"small", "b": data(60_000_000)})
    stack.control.clear_audit()
    stack.control.fault("latency", service="s3", operation="UploadPart", seconds=1, count=None)
    running = start(build, stack, "seal", "--connections", "1", "--key", key, model, place)
    wait_for(lambda: stack.control.audit(service="s3", operation="UploadPart"))
    running.send_signal(which)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 3 and "stopped by signal" in err, err
    assert stored(stack, place) == []
    assert uploads_left(stack) == 0


def test_source_that_changes_is_refused(build, stack, key, place, tmp_path):
    model = write(tmp_path / "model", {"a": data(40_000_000)})
    stack.control.clear_audit()
    stack.control.fault("latency", service="s3", operation="UploadPart", seconds=1, count=None)
    running = start(build, stack, "seal", "--connections", "1", "--key", key, model, place)
    wait_for(lambda: stack.control.audit(service="s3", operation="UploadPart"))
    with open(model / "a", "r+b") as f:
        f.write(b"another version")
    _, err = running.communicate(timeout=60)
    assert running.returncode == 61 and "was changed while it was read" in err, err
    assert stored(stack, place) == []
    assert uploads_left(stack) == 0


def test_interrupted_unseal_leaves_nothing(build, sealboot, stack, key, place, tmp_path):
    model = write(tmp_path / "model", {"a": data(30_000_000)})
    succeed(sealboot("seal", "--key", key, model, place))
    stack.control.fault("slow", service="s3", operation="GetObject", key="*00000.sealed", rate=100_000, count=None)
    running = start(build, stack, "unseal", place, tmp_path / "opened")
    wait_for(lambda: [p for p in os.listdir(tmp_path) if p.startswith("opened.")])
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 3 and "stopped by signal" in err, err
    assert os.listdir(tmp_path) == ["model"]


# What the manifest says of an object's size is compared before its frames are looked at.
@pytest.mark.parametrize("name, spoil, code, words", [
    ("00000.sealed", lambda o: o[:2000] + bytes([o[2000] ^ 1]) + o[2001:], 54, "does not verify"),
    ("00000.sealed", lambda o: o[:-1], 56, ""),
    ("00000.sealed", lambda o: o + b"\0", 56, ""),
    ("00000.sealed", lambda o: o[:50], 50, "truncated"),
    ("manifest.sealed", lambda o: o[:800] + bytes([o[800] ^ 1]) + o[801:], 54, "does not verify"),
    ("manifest.sealed", lambda o: o[:-1], 50, "truncated"),
    ("manifest.sealed", lambda o: o + b"\0", 50, "trailing"),
    ("manifest.sealed", lambda o: o[:50], 50, "truncated"),
])
def test_spoilt_objects_are_not_opened(sealboot, key, tmp_path, name, spoil, code, words):
    names = {f"{'n' * 60}-{i}": data(1000, i) for i in range(8)}
    model = write(tmp_path / "model", {**names, "0": data(100_000)})
    succeed(sealboot("seal", "--key", key, "--frame-length", "4096", model, tmp_path / "out/"))
    sealed = tmp_path / "out" / name
    sealed.write_bytes(spoil(sealed.read_bytes()))
    refused(sealboot("unseal", tmp_path / "out/", tmp_path / "opened"), code, words)
    assert sorted(os.listdir(tmp_path)) == ["model", "out"]


def test_swapped_objects_are_not_opened(sealboot, key, tmp_path):
    model = write(tmp_path / "model", {"a": data(1000, 1), "b": data(1000, 2)})
    succeed(sealboot("seal", "--key", key, model, tmp_path / "out/"))
    (tmp_path / "out/00000.sealed").rename(tmp_path / "out/x")
    (tmp_path / "out/00001.sealed").rename(tmp_path / "out/00000.sealed")
    (tmp_path / "out/x").rename(tmp_path / "out/00001.sealed")
    refused(sealboot("unseal", tmp_path / "out/", tmp_path / "opened"), 56)
    assert sorted(os.listdir(tmp_path)) == ["model", "out"]


# --- permissions and keys

def test_without_permission(sealboot, stack, key, place, tmp_path):
    model = write(tmp_path / "model", {"a": b"a"})
    issued = stack.control.credentials()
    instance = {
        "AWS_ACCESS_KEY_ID": issued["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": issued["SecretAccessKey"],
        "AWS_SESSION_TOKEN": issued["Token"]
    }
    refused(sealboot("seal", "--key", key, model, place, env=instance), 30, "AccessDeniedException")
    succeed(sealboot("seal", "--key", key, model, place))
    # The instance's role may decrypt into an attested recipient only.
    succeed(sealboot("seal", "--force", "--key", stack.create_key(), model, place))
    refused(sealboot("unseal", place, tmp_path / "opened", env=instance), 30, "AccessDeniedException")
    assert not (tmp_path / "opened").exists()


def test_keys(sealboot, stack, key, place, tmp_path):
    model = write(tmp_path / "model", {"a": b"a"})
    refused(sealboot("seal", "--key", key[:-12] + "000000000000", model, place), 31)
    assert stored(stack, place) == []
    succeed(sealboot("seal", "--key", key, model, place))
    refused(sealboot("unseal", "--key", stack.create_key(pcrs={}), place, tmp_path / "opened"), 52,
            "not among the 1 keys that --key names")
    refused(sealboot("unseal", "--digest", "sha384:" + "0" * 96, place, tmp_path / "opened"), 56)
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("ahead", [1200, -1200])
def test_wrong_clock(sealboot, stack, key, place, tmp_path, ahead):
    """Found out by the first question, which is a HEAD."""
    stack.control.settings(clock=ahead)
    refused(sealboot("seal", "-q", "--key", key, write(tmp_path / "model", {"a": b"a"}), place), 14,
            "RequestTimeTooSkewed", f"s {'behind' if ahead > 0 else 'ahead'}")


def test_profile_with_an_empty_token(sealboot, stack, key, place, tmp_path):
    variables = stack.variables
    profile = tmp_path / "credentials"
    profile.write_text(f"[default]\naws_access_key_id = {variables['AWS_ACCESS_KEY_ID']}\naws_secret_access_key = "
                       f"{variables['AWS_SECRET_ACCESS_KEY']}\naws_session_token =\n")
    environment = {"AWS_SHARED_CREDENTIALS_FILE": str(profile), "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "",
                   "AWS_SESSION_TOKEN": "", "AWS_PROFILE": ""}
    succeed(sealboot("seal", "-q", "--key", key, write(tmp_path / "model", {"a": b"a"}), place, env=environment))


def test_host_of_aws(sealboot):
    """In a network namespace of its own, where no name resolves: the error has the name."""
    environment = {"AWS_REGION": "eusc-de-east-1", "AWS_ENDPOINT_URL_S3": "", "AWS_ENDPOINT_URL": "",
                   "AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "True"}
    refused(sealboot("inspect", "s3://bkt/key", env=environment, wrapper=("unshare", "-rn")), 15,
            "resolve host: bkt.s3-fips.dualstack.eusc-de-east-1.amazonaws.eu ", "attempts in")


def test_endpoint_settings_that_are_none(sealboot):
    refused(sealboot("inspect", "s3://bkt/key", env={"AWS_USE_FIPS_ENDPOINT": "yes"}), 10, "AWS_USE_FIPS_ENDPOINT",
            "true or false")
    refused(sealboot("inspect", "s3://bkt/key", env={"AWS_USE_FIPS_ENDPOINT": "true", "AWS_REGION": "cn-north-1",
                                                     "AWS_ENDPOINT_URL_S3": "", "AWS_ENDPOINT_URL": ""}), 10, "aws-cn")


def test_environment(sealboot, key, place, tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    refused(sealboot("seal", "--key", key, tmp_path / "a", place, env={"AWS_REGION": ""}), 10, "no Region")
    refused(sealboot("seal", "--key", key, tmp_path / "a", place, env={"AWS_ACCESS_KEY_ID": "", "HOME": str(tmp_path)}),
            13)


@pytest.mark.parametrize("arguments, words", [
    ([], "--key is needed"),
    (["--key", "k", "a"], "two arguments"),
    (["--key", "k", "--frame-length", "4095", "a", "b"], "power of two"),
    (["--key", "k", "--frame-length", "12288", "a", "b"], "power of two"),
    (["--key", "k", "--frame-length", "33554432", "a", "b"], "power of two"),
    (["--key", "k", "--connections", "0", "a", "b"], "--connections"),
    (["--key", "k", "--context", "novalue", "a", "b"], "NAME=VALUE"),
    (["--key", "k", "--context", "=x", "a", "b"], "NAME=VALUE"),
    (["--key", "k", "--context", "model=x", "a", "b"], "--name and --version"),
    (["--key", "k", "--context", "sealboot=x", "a", "b"], "automatically"),
    (["--key", "k", "--context", "file=x", "a", "b"], "automatically"),
    (["--key", "k", "--context", "aws-crypto-public-key=x", "a", "b"], "belong to the AWS Encryption SDK"),
    (["--key", "k", "--context", "a=1", "--context", "a=2", "a", "b"], "given twice"),
    (["--key", "k", "--name", "", "a", "b"], "--name"),
    (["--key", "k", "--version", "v" * 257, "a", "b"], "--version"),
    (["--frob"], "unrecognized option"),
])
def test_usage(sealboot, arguments, words):
    assert "Try 'sealboot seal --help'" in refused(sealboot("seal", *arguments), 2, words).stderr


@pytest.mark.parametrize("arguments, words", [
    (["a"], "two arguments"),
    (["--connections", "257", "a", "b"], "from 1 to 256"),
    (["--connections", "8x", "a", "b"], "from 1 to 256"),
    (["--digest", "sha384:00", "a", "b"], "96 hex digits"),
])
def test_usage_of_unseal(sealboot, arguments, words):
    assert "Try 'sealboot unseal --help'" in refused(sealboot("unseal", *arguments), 2, words).stderr


def test_directory_needs_a_prefix(sealboot, stack, key, tmp_path):
    model = write(tmp_path / "model", {"a": b"a"})
    refused(sealboot("seal", "--key", key, model, f"s3://{stack.bucket}/object"), 2, "end in '/'")
    refused(sealboot("seal", "--key", key, model, "s3://No_Bucket/x/"), 2, "not the name of a bucket")


# --- what people see

def test_progress(build, sealboot, stack, key, place, tmp_path):
    model = write(tmp_path / "model", {"a": data(40_000_000)})
    stack.control.fault("latency", service="s3", operation="UploadPart", seconds=1.5, count=None)
    plain = succeed(sealboot("seal", "--connections", "1", "--key", key, model, place))
    assert "sealing: " in plain.stderr and " of 40.0 MB, " in plain.stderr and "\r" not in plain.stderr
    quiet = succeed(sealboot("seal", "--quiet", "--force", "--connections", "1", "--key", key, model, place))
    assert quiet.stderr == ""
    main, terminal = pty.openpty()
    with subprocess.Popen([build / "policy/sealboot", "seal", "--force", "--key", key, model, place],
                          stdout=subprocess.DEVNULL, stderr=terminal, env={**stack.env, "TERM": "xterm"}) as running:
        os.close(terminal)
        shown = b""
        while True:
            try:
                shown += os.read(main, 4096)
            except OSError:
                break
    os.close(main)
    assert running.returncode == 0 and b"\r\x1b[Ksealing [" in shown and b" left" in shown and shown.endswith(
        b"\r\x1b[K")
