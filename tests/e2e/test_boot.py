# SPDX-License-Identifier: Apache-2.0
"""The agent's whole boot over the real swtpm, the NitroTPM emulator and the local AWS."""

import concurrent.futures
import hashlib
import pathlib
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

from boots import CONTEXT, data, sharded
from sealer import MARK, Sealed, model_text, pcr15, put_model


def check_published(boot, result, files):
    assert result.returncode == 0, result
    assert boot.published() == files
    text = model_text(files)
    for bank in ("sha1", "sha256", "sha384", "sha512"):
        assert boot.stack.pcr(15, bank) == pcr15(text, bank)
    printed = boot.stack.tpm("tpm2_pcrread", "sha384:15").split("0x")[1].strip().lower()
    assert printed == pcr15(text)
    report = result.report
    assert report["outcome"] == "published"
    assert report["pcr15"]["sha384"]["after"] == pcr15(text)
    assert set(report["pcr15"]["sha384"]["before"]) == {"0"}
    assert report["model"]["bytes"] == sum(map(len, files.values()))
    assert report["key_arn"] == boot.arn and report["kms"]["request_id"] and report["document"]["timestamp_ms"] > 1e12
    assert {s["name"] for s in report["stages"]} >= {
        "prepare", "tpm", "recipient-key", "metadata", "header", "attestation", "key-release", "kms", "unseal",
        "measure", "publish"
    }
    assert boot.stack.control.tpm()["nv"] == []
    assert not (boot.directory / ".unsealing").exists() or not list((boot.directory / ".unsealing").iterdir())


def test_single_gguf(boot):
    gguf = b"GGUF" + data(20_000_000)
    boot.put("m/llama.gguf.sealed", bytes(Sealed(gguf, boot.data_key(), frame_length=1 << 20)))
    boot.launch("m/llama.gguf.sealed")
    check_published(boot, boot.run(), {"model": gguf})


def test_pages_are_there_before_the_key(boot):
    """While KMS thinks, the whole file gets its pages, though only one part of it is fetched."""
    size = 96 << 20
    boot.put("m/large.sealed", bytes(Sealed(data(size), boot.data_key(), frame_length=1 << 20)))
    boot.launch("m/large.sealed")
    boot.config |= {"connections": 1, "workers": 1}
    boot.stack.control.fault("latency", service="kms", operation="Decrypt", seconds=3)
    boot.stack.control.clear_audit()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        booted, before_key, asked = pool.submit(boot.run), 0, None
        while not booted.done():
            pages = sum(p.stat().st_blocks * 512 for p in boot.directory.glob(".unsealing/*"))
            # KMS notes the call when it comes, and answers three seconds later.
            if not asked and any(
                    event.get("operation") == "Decrypt" for event in boot.stack.control.audit(service="kms")):
                asked = time.monotonic()
            if not asked or time.monotonic() < asked + 2.5:
                before_key = max(before_key, pages)
            time.sleep(0.05)
        assert booted.result().returncode == 0, booted.result()
    assert before_key >= size


def test_single_is_named_by_its_sealer(boot):
    boot.put("moved/elsewhere", bytes(Sealed(b"GGUF", boot.data_key({**CONTEXT, "file": "llama.gguf"}))))
    boot.launch("moved/elsewhere")
    check_published(boot, boot.run(), {"llama.gguf": b"GGUF"})


@pytest.mark.parametrize("key", ["model.gguf", "a/b/other.sealed", "sealed/..sealed"])
def test_an_objects_name_names_no_file(boot, key):
    """The operator chooses it; a sealer who gave no name gets the one that is documented."""
    boot.put(key, bytes(Sealed(b"GGUF", boot.data_key())))
    boot.launch(key)
    check_published(boot, boot.run(), {"model": b"GGUF"})


def test_a_model_sealed_before_its_objects_were_marked(boot):
    files = sharded()
    put_model(boot.stack.s3(), boot.stack.bucket, "old/", files, boot.data_key())
    boot.launch("old/")
    check_published(boot, boot.run(), files)


def test_the_configuration_can_require_the_mark_or_the_name(boot):
    boot.put("named", bytes(Sealed(b"GGUF", boot.data_key({**CONTEXT, "file": "llama.gguf"}))))
    boot.launch("named")
    boot.config["encryption_context"] = {"model": "m", "file": "llama.gguf"}
    check_published(boot, boot.run(), {"llama.gguf": b"GGUF"})
    boot.stack.control.tpm_reset()
    shutil.rmtree(boot.directory / "current")
    put_model(boot.stack.s3(), boot.stack.bucket, "marked/", {"a": b"1"}, boot.model_key())
    boot.launch("marked/")
    boot.config["encryption_context"] = {"model": "m", **MARK}
    check_published(boot, boot.run(), {"a": b"1"})


def test_thousand_files(boot):
    """Their file keys would not all fit into the locked heap at once."""
    files = {f"{i:04}": data(i % 7) for i in range(1000)}
    put_model(boot.stack.s3(), boot.stack.bucket, "many/", files, boot.model_key())
    boot.launch("many/")
    check_published(boot, boot.run(), files)


@pytest.mark.parametrize("frame_length", [4096, 1 << 20, 1000, 5 << 20])
def test_sharded(boot, frame_length):
    files = sharded()
    put_model(boot.stack.s3(), boot.stack.bucket, "hf/", files, boot.model_key(), frame_length=frame_length)
    boot.launch("hf/")
    check_published(boot, boot.run(), files)


def test_objects_named_otherwise(boot):
    files = {"a": data(100_000), "b/c": data(5)}
    put_model(boot.stack.s3(), boot.stack.bucket, "odd/", files, boot.model_key(), objects={"a": "x/y", "b/c": "z"})
    boot.launch("odd/")
    check_published(boot, boot.run(), files)


def test_first_object_is_not_of_the_model(boot):
    files = {"a": data(100_000), "b": data(7)}
    put_model(boot.stack.s3(), boot.stack.bucket, "decoy/", files, boot.model_key(), objects={"a": "x", "b": "z"})
    boot.put("decoy/00000.sealed", bytes(Sealed(data(30_000_000), boot.data_key(), frame_length=1 << 20)))
    boot.launch("decoy/")
    check_published(boot, boot.run(), files)


def test_files_are_for_the_group_and_read_only(boot):
    put_model(boot.stack.s3(), boot.stack.bucket, "modes/", {"a/b": b"1"}, boot.model_key())
    boot.launch("modes/")
    assert boot.run().returncode == 0
    current = boot.directory / "current"
    assert [oct(p.stat().st_mode & 0o7777)
            for p in (current, current / "a", current / "a/b")] == ["0o750", "0o750", "0o440"]


def test_agent_has_nothing_that_seals(build):
    symbols = {
        line.split()[-1]
        for line in subprocess.check_output(["nm", build / "agent/sealboot-agent"], text=True).splitlines()
    }
    assert {"boot_publish", "kms_release", "message_open"} <= symbols
    assert not symbols & {"kms_generate_data_key", "kms_decrypt", "message_header_new", "frame_seal", "manifest_write",
                          "credentials_from_environment"}


def test_what_only_an_owner_does_is_not_compiled_for_the_agent(build):
    """Not left to the linker: no object that the agent is linked from has the code, or its words."""
    owners = {"kms_generate_data_key", "kms_decrypt", "credentials_from_environment", "message_header_new",
              "message_object_size", "s3_head", "frame_head", "frame_close", "frame_seal", "manifest_write"}
    words = (b"AWS_ACCESS_KEY_ID", b"AWS_SHARED_CREDENTIALS_FILE", b"aws_session_token")

    def defined(objects) -> set:
        listed = subprocess.run(["nm", "--defined-only", *objects], capture_output=True, text=True, check=True).stdout
        return {line.split()[-1] for line in listed.splitlines() if len(line.split()) == 3}

    agents = [*build.glob("agent/libsealboot-internal.a.p/*.o"), *build.glob("agent/sealboot-agent.p/*.o")]
    assert {"kms_release", "credentials_from_imds", "message_open", "main"} <= defined(agents)
    assert not defined(agents) & owners
    assert not defined([build / "agent/libsealboot-internal.a"]) & owners
    for path in agents:
        data = path.read_bytes()
        assert not re.search(rb"(?<!kms:)(GenerateDataKey|Encrypt)\0", data), f"{path} asks for data keys"
        assert not [word for word in words if word in data], path
    assert owners <= defined(build.glob("policy/libsealboot-policy.a.p/owner_*.o"))


def test_rooms_of_aws_have_no_circle():
    """The headers of agent/aws, each by those that it includes. http.h has several files, such as
    http-perform.c."""
    room = pathlib.Path(__file__).parent.parent.parent / "agent/aws"
    needs = {path.stem: set() for path in room.glob("*.h") if not path.stem.endswith("-internal")}

    def of(stem):
        return stem if stem in needs else max(name for name in needs if stem.startswith(name + "-"))
    for path in [*room.glob("*.h"), *room.glob("*.c")]:
        included = re.findall(r'#include "aws/([a-z0-9-]+)\.h"', path.read_text())
        needs[of(path.stem)] |= {of(stem) for stem in included} - {of(path.stem)}
    order = []
    while len(order) < len(needs):
        free = sorted(name for name in needs if name not in order and needs[name] <= set(order))
        assert free, f"these include each other: {sorted(set(needs) - set(order))}"
        order += free
    assert order.index("credentials") < order.index("imds") < order.index("credential-source") < order.index("service")


@pytest.mark.parametrize("model", ["plain.sealed", "plain/"])
def test_sha384_mode(boot, model):
    plain = data(3_000_001)
    boot.config["measure"] = "sha384"
    boot.config["model_digests"] = ["sha384:" + hashlib.sha384(plain).hexdigest()]
    if model.endswith("/"):
        put_model(boot.stack.s3(), boot.stack.bucket, model, {"weights": plain}, boot.model_key())
    else:
        boot.put(model, bytes(Sealed(plain, boot.data_key())))
    boot.launch(model)
    assert boot.run().returncode == 0
    assert boot.stack.pcr(15) == hashlib.sha384(bytes(48) + hashlib.sha384(plain).digest()).hexdigest()


def test_second_release_is_refused(boot):
    """One-shot: the policy binds PCR15 to zeros, and the agent itself refuses first."""
    boot.put("once.sealed", bytes(Sealed(b"weights", boot.data_key())))
    boot.launch("once.sealed")
    assert boot.run().returncode == 0
    shutil.rmtree(boot.directory / "current")
    result = boot.run()
    assert result.returncode == 23 and "sealboot-model" in result.stderr, result


def test_no_library_reads_the_environment(boot, tmp_path):
    """OpenSSL would load what OPENSSL_CONF names, and refuse to go on without; libcurl would log the keys of its
    connections, the TSS its commands; HOME and TZ lead to files, too."""
    (tmp_path / "openssl.cnf").write_text("openssl_conf = a\nconfig_diagnostics = 1\n[a]\nproviders = b\n[b]\nx = c\n"
                                          f"[c]\nmodule = {tmp_path}/none.so\nactivate = 1\n")
    boot.put("model.sealed", bytes(Sealed(b"GGUF", boot.data_key())))
    boot.launch("model.sealed")
    boot.config["endpoints"] |= {service: boot.stack.endpoints[service + "_tls"] for service in ("kms", "s3")}
    boot.config["ca_bundle"] = boot.stack.variables["AWS_CA_BUNDLE"]
    written = {
        "SSLKEYLOGFILE": "keys", "TSS2_LOGFILE": "tss", "QLOGDIR": "qlog", "CURL_TRACE": "curl",
        "MALLOC_TRACE": "malloc"
    }
    read = {
        "OPENSSL_CONF": tmp_path / "openssl.cnf", "OPENSSL_MODULES": tmp_path, "OPENSSL_ENGINES": tmp_path,
        "HOME": tmp_path, "SSL_CERT_FILE": tmp_path / "none", "SSL_CERT_DIR": tmp_path / "none",
        "TSS2_LOG": "all+trace", "LOCALDOMAIN": "evil", "https_proxy": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "AKIAEVIL", "CURL_CA_BUNDLE": tmp_path / "none",
        "AWS_CA_BUNDLE": tmp_path / "none", "TPM2TOOLS_TCTI": "swtpm:port=1", "TZ": ":/none"
    }
    before = {p.name for p in tmp_path.iterdir()}
    variables = [f"{name}={value}" for name, value in {**read, **{k: tmp_path / v for k, v in written.items()}}.items()]
    result = boot.run(wrapper=("env", *variables))
    check_published(boot, result, {"model": b"GGUF"})
    assert result.stderr == ""
    assert {p.name for p in tmp_path.iterdir()} == before | {"agent.json", "report.json", "report.prom", "measure.log"}


def test_authorities_of_the_environment_are_not_trusted(boot):
    authority = boot.stack.variables["AWS_CA_BUNDLE"]
    boot.put("model.sealed", bytes(Sealed(b"GGUF", boot.data_key())))
    boot.launch("model.sealed")
    boot.config["endpoints"]["s3"] = boot.stack.endpoints["s3_tls"]
    boot.refused(
        15, "certificate",
        wrapper=("env", *(f"{name}={authority}" for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"))))


HOOK = {"group": "inference", "name": "model-loaded"}


def hook_results(boot):
    return [entry["result"] for entry in boot.stack.control.audit(operation="CompleteLifecycleAction")]


def name_hook(boot, where):
    if where == "user data":
        boot.stack.control.user_data(
            {"sealboot": {"model": f"s3://{boot.stack.bucket}/hook.sealed", "lifecycle_hook": HOOK}})
    else:
        boot.config["lifecycle_hook"] = HOOK


@pytest.mark.parametrize("where", ["configuration", "user data"])
def test_lifecycle_hook_continues(boot, where):
    boot.stack.control.clear_audit()
    boot.put("hook.sealed", bytes(Sealed(b"weights", boot.data_key())))
    boot.launch("hook.sealed")
    name_hook(boot, where)
    boot.stack.control.fault("error", service="autoscaling", status=500, count=1)
    result = boot.run()
    assert result.returncode == 0 and hook_results(boot) == ["CONTINUE"], result
    assert result.report["lifecycle"]["result"] == "CONTINUE"


def test_lifecycle_hook_that_auto_scaling_does_not_know_yet(boot, tmp_path):
    boot.stack.control.clear_audit()
    boot.config["lifecycle_hook"] = HOOK
    boot.put("hook.sealed", bytes(Sealed(b"weights", boot.data_key())))
    boot.launch("hook.sealed")
    boot.stack.control.fault("not-waiting", service="autoscaling", count=2)
    result, told = boot.statuses(tmp_path)
    assert result.returncode == 0 and hook_results(boot) == ["CONTINUE"], result
    assert sum("No active Lifecycle Action" in line
               for line in told) == 2 and told[-1].startswith("Model published at ")


IDENTITY = "/latest/dynamic/instance-identity/document"


def test_lifecycle_hook_waits_for_the_instance_to_know_itself(boot):
    boot.stack.control.clear_audit()
    boot.config["lifecycle_hook"] = HOOK
    boot.put("hook.sealed", bytes(Sealed(b"weights", boot.data_key())))
    boot.launch("hook.sealed")
    boot.stack.control.fault("starting", service="imds", key=IDENTITY, how="absent", count=3)
    result = boot.run()
    assert result.returncode == 0 and hook_results(boot) == ["CONTINUE"], result


@pytest.mark.parametrize("how", ["absent", "empty"])
def test_identity_is_not_waited_for_by_a_boot_without_a_hook(boot, how):
    boot.put("m.sealed", bytes(Sealed(b"weights", boot.data_key())))
    boot.launch("m.sealed")
    boot.stack.control.fault("starting", service="imds", key=IDENTITY, how=how, count=None)
    began = time.monotonic()
    result = boot.run()
    assert result.returncode == 0 and "identity" not in result.report and time.monotonic() - began < 10, result


@pytest.mark.parametrize("fault, words", [
    ({"kind": "denied", "how": "service-control-deny"}, "service control policy"),
    ({"kind": "denied", "how": "identity"}, "IAM policy allow autoscaling:CompleteLifecycleAction"),
    ({"kind": "error", "status": 400, "code": "NeverHeardOf", "message": "x"}, "Auto Scaling named the reason above"),
])
def test_lifecycle_hook_that_is_refused(boot, fault, words):
    boot.config["lifecycle_hook"] = HOOK
    boot.launch("no/such/object")
    boot.stack.control.fault(service="autoscaling", count=None, **fault)
    result = boot.refused(41)
    assert words in result.stderr.rpartition("what to do:")[2], result


def test_lifecycle_hook_is_abandoned(boot):
    boot.stack.control.clear_audit()
    boot.config["lifecycle_hook"] = HOOK
    boot.launch("no/such/object")
    result = boot.refused(41)
    assert hook_results(boot) == ["ABANDON"] and result.report["lifecycle"]["result"] == "ABANDON"


@pytest.mark.parametrize("where", ["configuration", "user data"])
def test_lifecycle_hook_is_abandoned_by_a_boot_that_asked_nothing_yet(boot, where):
    boot.stack.control.clear_audit()
    name_hook(boot, where)
    boot.stack.control.tpm_extend(15, sha256=b"\1" * 32)
    result = boot.run()
    assert result.returncode == 23 and hook_results(boot) == ["ABANDON"], result
    assert result.report["lifecycle"]["result"] == "ABANDON"


def test_lifecycle_hook_is_abandoned_when_user_data_is_wrong(boot):
    boot.stack.control.clear_audit()
    boot.config["lifecycle_hook"] = HOOK
    boot.stack.control.user_data("{")
    boot.refused(11)
    assert hook_results(boot) == ["ABANDON"]


def test_lifecycle_hook_that_cannot_be_told(boot):
    boot.config["lifecycle_hook"] = HOOK
    boot.launch("no/such/object")
    boot.config["endpoints"]["imds"] = "http://127.0.0.1:1"
    result = boot.refused(12, "the metadata service did not tell which instance this is")
    assert "did not tell" in result.report["lifecycle"]["error"] and result.report["failure"]["name"] == "imds"


def test_a_stop_while_auto_scaling_is_told_hides_no_failure(boot):
    boot.config["lifecycle_hook"] = HOOK
    boot.launch("no/such/object")
    boot.stack.control.fault("latency", service="autoscaling", seconds=4, count=None)
    boot.refused(41, "there is no sealed model at this place", wrapper=("timeout", "--preserve-status", "3"))


def test_ready_does_not_wait_for_auto_scaling(boot, tmp_path):
    ready = []

    def listen():
        while "READY=1" not in listener.recv(4096).decode().splitlines():
            pass
        ready.append(time.monotonic())

    boot.config["lifecycle_hook"] = HOOK
    boot.put("hook.sealed", bytes(Sealed(b"weights", boot.data_key())))
    boot.launch("hook.sealed")
    boot.stack.control.fault("latency", service="autoscaling", seconds=3, count=None)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        thread = threading.Thread(target=listen)
        thread.start()
        result = boot.run(wrapper=("env", f"NOTIFY_SOCKET={tmp_path}/notify"))
        thread.join()
    assert result.returncode == 0 and time.monotonic() - ready[0] > 2, result
    assert result.report["lifecycle"]["result"] == "CONTINUE"


def test_lifecycle_hook_of_another_group(boot):
    """The model is served all the same; the console says what Auto Scaling said."""
    boot.put("hook.sealed", bytes(Sealed(b"weights", boot.data_key())))
    boot.launch("hook.sealed")
    boot.config["lifecycle_hook"] = {**HOOK, "group": "other"}
    result = boot.run()
    assert result.returncode == 0 and "No active Lifecycle Action" in result.stderr, result
    assert "describe-lifecycle-hooks" in result.stderr and "attempts in 2" in result.stderr
    assert boot.published() == {"model": b"weights"}


@pytest.mark.parametrize("objects", [None, {"a": "x", "b": "y"}])
def test_what_is_fetched_ahead_takes_no_room_from_the_model(boot, tmp_path, objects):
    """A model that nearly fills its tmpfs, most of it there as ciphertext before the manifest can be read; or
    ciphertext of an object that is none of the model's, but lies where its first one is looked for."""
    files = {"a": data(30_000_000), "b": data(100)}
    put_model(boot.stack.s3(), boot.stack.bucket, "tight/", files, boot.model_key(), objects=objects)
    if objects:
        boot.put("tight/00000.sealed", bytes(Sealed(data(30_000_000), boot.data_key(), frame_length=1 << 20)))
    boot.launch("tight/")
    (tmp_path / "m").mkdir()
    boot.config["model_directory"] = str(tmp_path / "m")
    boot.stack.control.fault("latency", service="kms", operation="Decrypt", seconds=1)
    mount = f"mount -t tmpfs -o size=40m,mode=700 tmpfs {tmp_path}/m && exec \"$@\""
    result = boot.run(wrapper=("unshare", "--mount", "sh", "-c", mount, "sh"))
    assert result.returncode == 0 and result.report["model"]["bytes"] == 30_000_100, result
