# SPDX-License-Identifier: Apache-2.0
"""The units of the inference servers, as installed and started by systemd: what each server, in whose place another
program stands, can do with what it was given; and that it comes back."""

import dataclasses
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import time

import pytest
from test_boot import AGENT, FAKE_TPM, MODEL, measured

from machine import HERE, Machine
from sealer import MARK, DataKey, put_model


@dataclasses.dataclass
class Server:
    unit: str
    proxy: str
    socket: str
    files: dict[str, bytes]
    ready: dict
    writable: tuple[str, ...] = ()
    early: bool = False


LAYER = b"GGUF" + bytes(100_000)
LAYER_NAME = hashlib.sha256(LAYER).hexdigest()
SERVERS = {
    "llama-server": Server("llama-server.service", "llama-proxy", "llama-server.sock", MODEL, {"health": "/health"}),
    "ollama": Server("ollama.service", "ollama-proxy", "ollama.sock", {
        f"blobs/sha256-{LAYER_NAME}": LAYER, "manifests/registry.ollama.ai/library/m/latest": b"{}"
    }, {"health": "/api/version", "warm_up": {"path": "/api/generate", "body": {"model": "m", "prompt": "Hi"}}},
                     ("/run/ollama",)),
    "vllm": Server("vllm.service", "vllm-proxy", "vllm.sock", {"config.json": b"{}", "model.safetensors": LAYER},
                   {"health": "/health"}, ("/run/vllm", "/dev/shm"), early=True),
}
ROOM = {"/run/ollama": 1 << 16}
OTHERS = """
import os, signal, socket
listening = []
for name in "/run/other", "/tmp/other", "/var/tmp/other", "\\0other":
    listening.append(socket.socket(socket.AF_UNIX))
    listening[-1].bind(name)
    listening[-1].listen()
    if name[0] == "/":
        os.chmod(name, 0o777)
print("there", flush=True)
signal.pause()
"""
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


# They come in groups: systemd's proxy resolves its server's address anew for each, at most 256 at a time, and resets
# those beyond that ("Failed to resolve remote host: No buffer space available").
CROWD = """
import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
crowd = [socket.socket(socket.AF_UNIX) for _ in range(int(sys.argv[2]))]
for i, s in enumerate(crowd):
    s.settimeout(20)
    s.connect(sys.argv[1])
    time.sleep(0.3 if i % 50 == 49 else 0)
for s in crowd:
    s.sendall(b"GET /health HTTP/1.0\\r\\n\\r\\n")
print(sum(b" 200 " in s.recv(100) for s in crowd))
"""


def until(condition, machine, unit, limit=900):
    deadline = time.monotonic() + limit
    while not (found := condition()):
        if time.monotonic() > deadline:
            pytest.fail(machine.journal(unit)[-4000:])
        time.sleep(1)
    return found


def configuration(stack, server: Server) -> dict:
    """Puts the server's model into the bucket, and gives the agent's configuration that loads it."""
    config = measured(stack)
    key = DataKey.generate(stack.kms(), config["keys"][0], {"model": "m", "version": "1", **MARK})
    put_model(stack.s3(), stack.bucket, "m/", server.files, key)
    return config | {"ready": {"upstream": f"unix:/run/sealboot-upstream/{server.socket}", "seconds": 60,
                               **server.ready}}


def install(machine, kind: str):
    """The program, and the units as an image has them."""
    examples = "/usr/share/doc/sealboot/examples"
    shutil.copytree(examples, machine.root / "etc/systemd/system", dirs_exist_ok=True)
    if kind != "vllm":
        shutil.copy(HERE / "stand-in", machine.root / "usr/bin" / kind)
        return
    shutil.copy(f"{examples}/vllm-early", machine.root / "usr/lib/sealboot/vllm-early")
    package = "/opt/vllm/lib/vllm"
    machine.write("/opt/vllm/bin/python3", '#!/bin/sh\nPYTHONPATH=/opt/vllm/lib exec /usr/bin/python3 "$@"\n', 0o755)
    machine.write("/opt/vllm/bin/vllm", "", 0o755)
    machine.write(f"{package}/__init__.py", "ModelRegistry = None\n")
    for name in "utils", "entrypoints", "entrypoints/cli":
        machine.write(f"{package}/{name}/__init__.py", "")
    machine.write(f"{package}/utils/system_utils.py", "get_mp_context = None\n")
    machine.write(f"{package}/entrypoints/cli/main.py",
                  "import runpy\ndef main():\n    runpy.run_path('/opt/vllm/stand-in', run_name='__main__')\n")
    shutil.copy(HERE / "stand-in", machine.root / "opt/vllm/stand-in")


@pytest.fixture(scope="module", params=SERVERS)
def booted(stack, request):
    server = SERVERS[request.param]
    with Machine() as machine:
        machine.write("/etc/sealboot/agent.json", json.dumps(configuration(stack, server)))
        install(machine, request.param)
        machine.enable(server.unit, f"{server.proxy}.socket")
        for name in "tpmrm0", "tpm0":
            machine.device(name, FAKE_TPM, "root", 0o666)
        machine.boot()
        machine.server = server
        yield machine


def asked(machine, path, *options, check=True):
    return machine.run("curl", "-s", "--max-time", "20", *options, "--unix-socket",
                       f"/run/sealboot-upstream/{machine.server.socket}", f"http://localhost{path}", check=check)


def probe(machine, *ports):
    return json.loads(asked(machine, "/probe?" + "&".join(f"tcp={port}" for port in ports)).stdout)


def test_the_agent_waited_for_the_server(booted):
    server = booted.server
    assert booted.run("systemctl", "--failed", "--no-legend").stdout == "", booted.journal(AGENT)
    assert booted.show(server.unit, "ActiveState") == "active", booted.journal(server.unit)
    # A proxy that did not end its start would be ended, with all it carries, after systemd's limit for that.
    proxy = f"{server.proxy}.service"
    until(lambda: booted.show(proxy, "ActiveState") == "active", booted, proxy, 60)
    until(lambda: booted.show(AGENT, "SubState") == "exited", booted, AGENT, 60)
    report = json.loads(booted.run("cat", "/run/sealboot/report.json").stdout)
    assert report["server"]["ready"] is True, report
    assert {"server", *(["warm-up"] if "warm_up" in server.ready else [])} <= {s["name"] for s in report["stages"]}


def test_order(booted):
    """A server that can wait for the model itself starts when its place is mounted, the others when it is published."""
    started = int(booted.show(booted.server.unit, "ExecMainStartTimestampMonotonic"))
    published = int(booted.show("sealboot-model.target", "ActiveEnterTimestampMonotonic"))
    mounted = int(booted.show("run-sealboot-model.mount", "ActiveEnterTimestampMonotonic"))
    assert 0 < mounted < started
    assert booted.server.early or published <= started


def test_it_has_the_model_and_no_way_out(booted, stack):
    ports = [int(re.search(r":(\d+)", stack.endpoints[name])[1]) for name in ("imds", "kms", "s3")]
    for port in ports:  # the machine itself reaches them
        booted.run("bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}")
    listening = subprocess.Popen(["nsenter", "--target", str(booted.pid), "--pid", "--mount", "--uts", "--ipc",
                                  "--cgroup", "python3", "-c", OTHERS], stdout=subprocess.PIPE)
    try:
        assert listening.stdout.readline() == b"there\n"
        found = probe(booted, *ports)
    finally:
        listening.kill()
        listening.wait()
    server = booted.server
    assert found["files"] == {path: hashlib.sha256(data).hexdigest() for path, data in server.files.items()}
    assert found["writable"] == [f"{directory}/x" for directory in ("/dev/shm", "/run/ollama", "/run/vllm")
                                 if directory in server.writable]
    assert found["room"] == {directory: found["room"][directory] for directory in server.writable}
    assert all(found["room"][directory] <= ROOM.get(directory, 1 << 20) for directory in server.writable)
    assert (found["interfaces"], found["sockets"], found["ports"]) == (["lo"], [], [])
    assert (found["processes"], found["root"], found["core"]) == ([], False, 0)


def test_devices_of_a_tpm_are_not_its(booted):
    """Anybody may open these two, but for the unit's device rules. Where the kernel takes no such rules, as in some
    containers, this shows nothing."""
    assert booted.run(*NOBODY, "bash", "-c", "exec 3<>/dev/tpmrm0", check=False).returncode == 0
    assert booted.show(booted.server.unit, "DevicePolicy") == "closed"
    assert not re.search("tpm|mem|block", booted.show(booted.server.unit, "DeviceAllow"))
    assert probe(booted)["tpm"] == []


def test_nothing_is_swapped(booted):
    group = booted.show(booted.server.unit, "ControlGroup")
    limit = booted.run("cat", f"/sys/fs/cgroup{group}/memory.swap.max", check=False).stdout.strip()
    assert limit in ("0", ""), limit  # "": this machine gives its containers no memory controller
    assert booted.show(booted.server.unit, "MemorySwapMax") == "0"


def test_only_nginx_and_the_agent_reach_it(booted):
    path = f"/run/sealboot-upstream/{booted.server.socket}"
    assert booted.run("stat", "--format", "%a %U %G", path).stdout.split() == ["660", "sealboot-nginx", "sealboot"]
    command = ["curl", "-s", "--max-time", "5", "--unix-socket", path, "http://localhost/health"]
    assert booted.run(*NOBODY, *command, check=False).returncode == 7
    # It listens on a port of a namespace of its own.
    assert booted.run("curl", "-s", "--max-time", "5", "http://127.0.0.1:8080/health", check=False).returncode == 7
    for user in "sealboot-nginx", "sealboot":
        assert booted.run("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *command).stdout


def test_a_crowd_is_carried(booted):
    """Almost as many at a time as the gate lets an address have, and as the stand-in can have."""
    path = f"/run/sealboot-upstream/{booted.server.socket}"
    done = booted.run("python3", "-c", CROWD, path, "900", check=False)
    assert done.stdout == "900\n", f"{done}\n" + "\n".join(
        booted.journal(unit)[-2000:] for unit in (booted.server.unit, f"{booted.server.proxy}.service"))


@pytest.mark.parametrize("signal", ["KILL", "SEGV", "TERM"])
def test_it_comes_back(booted, signal):
    """And the proxy carries requests to the new one."""
    unit, before = booted.server.unit, probe(booted)["pid"]
    booted.run("systemctl", "kill", "--kill-whom=main", "--signal", signal, unit)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        time.sleep(0.2)
        done = asked(booted, "/probe", check=False)
        if done.returncode == 0 and done.stdout and (now := json.loads(done.stdout))["pid"] != before:
            break
    else:
        pytest.fail(booted.journal(unit) + booted.journal(f"{booted.server.proxy}.service"))
    assert now["interfaces"] == ["lo"] and set(now["files"]) == set(booted.server.files)
    assert booted.run("find", "/var/lib/systemd/coredump", "-type", "f", check=False).stdout == ""


def test_sandbox(booted):
    for unit in booted.server.unit, f"{booted.server.proxy}.service":
        exposure = re.search(rf"Overall exposure level for {unit}: ([0-9.]+)",
                             booted.run("systemd-analyze", "security", unit).stdout)
        assert float(exposure[1]) <= 2.5, unit


def test_units_verify(booted):
    done = booted.run("systemd-analyze", "verify", "--man=no", booted.server.unit, f"{booted.server.proxy}.service",
                      f"{booted.server.proxy}.socket", check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_model_no_server(booted):
    """Last on this machine: the second start is refused, and takes the server down."""
    assert booted.run("systemctl", "restart", AGENT, check=False).returncode != 0
    unit = booted.server.unit
    until(lambda: booted.show(unit, "ActiveState") == "inactive", booted, unit, 20)


@pytest.mark.parametrize("kind", SERVERS)
def test_a_refused_boot_starts_no_server_or_ends_it(stack, kind):
    server = SERVERS[kind]
    config = configuration(stack, server)
    stack.tpm("tpm2_pcrextend", f"12:sha384={'ab' * 48}")
    with Machine() as machine:
        machine.write("/etc/sealboot/agent.json", json.dumps(config))
        install(machine, kind)
        machine.enable(server.unit, f"{server.proxy}.socket")
        machine.boot()
        assert machine.show(AGENT, "ExecMainStatus") == "30", machine.journal(AGENT)
        assert machine.show(server.unit, "ActiveState") == "inactive", machine.journal(server.unit)
        if not server.early:
            assert machine.show(server.unit, "ExecMainStartTimestampMonotonic") == "0"


# ---- vLLM itself

VLLM, WEIGHTS = pathlib.Path("/opt/vllm"), pathlib.Path("/opt/model")
# With numbers of 16 bits, the answer to "What is the capital of France?" depends on the kind of CPU.
CHAT = {"model": "model", "messages": [{"role": "user", "content": "What is the name of the capital of France?"}],
        "temperature": 0, "max_tokens": 14, "logprobs": True, "top_logprobs": 2}
ON_A_CPU = """[Service]
Environment=VLLM_CPU_KVCACHE_SPACE=1 VLLM_EARLY_ARCHITECTURES=LlamaForCausalLM
ExecStart=
ExecStart=/opt/vllm/bin/python3 /usr/lib/sealboot/vllm-early /run/sealboot/model/current --host 127.0.0.1 --port 8080 \\
        --served-model-name model --enforce-eager --max-model-len 1024
"""


def told(machine) -> str:
    done = asked(machine, "/v1/chat/completions", "--max-time", "100", "--json", json.dumps(CHAT), check=False)
    return done.stdout if done.returncode == 0 and "choices" in done.stdout else ""


@pytest.mark.skipif(not (VLLM / "bin/vllm").exists(), reason="tests/servers --vllm VENV --systemd tries vLLM itself")
def test_vllm_itself(stack):
    """With its unit's confinement, and nothing more for it: it serves, leaves no file elsewhere, and comes back when
    its engine dies."""
    server = dataclasses.replace(SERVERS["vllm"], files={p.name: p.read_bytes() for p in WEIGHTS.iterdir()})
    with Machine() as machine:
        machine.server = server
        config = configuration(stack, server)
        config["ready"]["seconds"] = 900
        machine.write("/etc/sealboot/agent.json", json.dumps(config))
        examples = "/usr/share/doc/sealboot/examples"
        shutil.copytree(examples, machine.root / "etc/systemd/system", dirs_exist_ok=True)
        shutil.copy(f"{examples}/vllm-early", machine.root / "usr/lib/sealboot/vllm-early")
        machine.show_directory(str(VLLM))
        machine.write("/etc/systemd/system/vllm.service.d/test.conf", ON_A_CPU)
        machine.enable(server.unit, "vllm-proxy.socket")
        machine.boot()
        until(lambda: machine.show(AGENT, "SubState") == "exited", machine, server.unit)
        report = json.loads(machine.run("cat", "/run/sealboot/report.json").stdout)
        assert report["server"]["ready"] is True, machine.journal(server.unit)[-4000:]
        said = told(machine)
        assert "Paris" in said, f"{said}\n{machine.journal(server.unit)[-4000:]}"
        check_vllm(machine, server.unit)
        pids = machine.run("systemctl", "show", "--value", "--property", "MainPID", server.unit).stdout.split()
        engine = machine.run("pgrep", "-f", "^VLLM::EngineCore").stdout.split()[0]
        machine.run("kill", "-KILL", engine)
        until(lambda: machine.show(server.unit, "MainPID") not in (*pids, "0"), machine, server.unit, 60)
        assert "Paris" in until(lambda: told(machine), machine, server.unit)


def check_vllm(machine, unit):
    main = machine.show(unit, "MainPID")
    user = machine.run("stat", "--format", "%u", f"/proc/{main}").stdout.strip()
    assert user != "0"
    inside = ["nsenter", "--target", main, "--mount", "--net"]
    assert machine.run(*inside, "find", "/tmp", "/var", "/run", "-xdev", "-user", user).stdout == ""
    room = machine.run(*inside, "find", "/run/vllm", "-user", user).stdout.split()
    assert any(path.startswith("/run/vllm/") for path in room), room
    assert machine.run("find", "/tmp", "/var/tmp", "/run", "-xdev", "-user", user).stdout == ""
    ports = machine.run(*inside, "cat", "/proc/net/tcp").stdout.splitlines()[1:]
    assert sum(row.split()[3] == "0A" for row in ports) > 1  # of which the machine's own namespace has none:
    assert machine.run("curl", "-s", "--max-time", "5", "http://127.0.0.1:8080/health", check=False).returncode == 7
