# SPDX-License-Identifier: Apache-2.0
"""Attestation documents, PCR15 and the measurement log, over swtpm and the NitroTPM emulator."""

import base64
import hashlib
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from stack import cbor, clock, emulator, faults, pki, swtpm, tpm_server, wire

BUILD = pathlib.Path(os.environ.get("SEALBOOT_BUILD", "unset"))  # without it the fixture `build` skips
SEALBOOT, TOOL = BUILD / "policy/sealboot", BUILD / "tests/helpers/evidence-tool"
DEVICES = BUILD / "tests/helpers/tpm-device.so"
INDICES = range(0x018B0070, 0x018B0078)
BANKS = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}
TPM_ABSENT, TPM_BUSY, TPM, PCR_NOT_ZERO, ATTESTATION, MEASURE = 20, 21, 22, 23, 24, 25


class Machine:
    """A TPM of its own, and programs run against it."""

    def __init__(self, directory):
        self.directory, self.faults, self.clock = directory, faults.Faults(), clock.Clock()
        self.real = swtpm.SWTPM(str(directory / "tpm"))
        self.root = pki.hierarchy(int(self.clock.now())).path()[0]
        self.tpm = emulator.NitroTPM(self.real, self.root, self.clock, self.faults)
        self.server = tpm_server.Server(self.tpm, self.faults)
        self.tcti, self.log = self.server.tcti, directory / "log/tpm2-measure.log"

    def run(self, *argv, **options):
        return subprocess.run([str(a) for a in argv], capture_output=True, timeout=60, **options)

    def attest(self, *argv, **options):
        return self.run(SEALBOOT, "attest", "--tcti", self.tcti, *argv, **options)

    def measure(self, text: bytes, pcr=15, **options):
        (self.directory / "text").write_bytes(text)
        return self.run(TOOL, "measure", self.tcti, pcr, self.log, self.directory / "text", **options)

    def indices(self):
        return [h for h in self.real.handles("nv") if h in INDICES]

    def pcr(self, bank, pcr=15):
        """As tpm2-tools read it."""
        out = self.run("tpm2_pcrread", f"{bank}:{pcr}", env={**os.environ, "TPM2TOOLS_TCTI": self.tcti}).stdout.decode()
        return out.split("0x")[1].split()[0].lower()

    def records(self):
        parts = self.log.read_bytes().split(b"\x1e")
        assert parts[0] == b"" and all(p.endswith(b"\n") for p in parts[1:])
        return [json.loads(p) for p in parts[1:]]

    def unfinished(self):
        return bool(self.log.stat().st_mode & stat.S_ISVTX)


@pytest.fixture
def machine(build, tmp_path):
    m = Machine(tmp_path)
    yield m
    m.real.stop()


def replay(records, bank, pcr=15):
    value = bytes(BANKS[bank])
    for record in records:
        if record["pcr"] == pcr:
            digest, = [d["digest"] for d in record["digests"] if d["hashAlg"] == bank]
            value = hashlib.new(bank, value + bytes.fromhex(digest)).digest()
    return value.hex()


# --- attest

def test_document_holds_what_was_given(machine, tmp_path):
    contents = {"user-data": os.urandom(1024), "nonce": b"", "public-key": os.urandom(294)}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    result = machine.attest(*(a for name in contents for a in (f"--{name}", tmp_path / name)), "-o",
                            tmp_path / "document")
    assert result.returncode == 0, result.stderr.decode()
    payload = cbor.loads(cbor.first((tmp_path / "document").read_bytes())[2])
    assert {k: payload[k.replace("-", "_")] for k in contents} == contents
    assert payload["nitrotpm_pcrs"][15] == bytes(48)
    assert machine.indices() == []


def test_document_verifies(machine, tmp_path):
    (tmp_path / "root.pem").write_bytes(machine.root.pem)
    (tmp_path / "nonce").write_bytes(b"fresh")
    assert machine.attest("-n", tmp_path / "nonce", "-o", tmp_path / "document").returncode == 0
    verified = machine.run(SEALBOOT, "verify", "--root", tmp_path / "root.pem", "--nonce", f"@{tmp_path}/nonce",
                           tmp_path / "document")
    assert verified.returncode == 0, verified.stdout.decode() + verified.stderr.decode()


def test_forms_of_output(machine):
    raw, hexed, jsoned = (machine.attest(*a).stdout for a in ([], ["--hex"], ["--json"]))
    documents = [raw, bytes.fromhex(hexed.decode()), base64.b64decode(json.loads(jsoned)["AttestationDocument"])]
    assert json.loads(jsoned)["KeyEncryptionAlgorithm"] == "RSAES_OAEP_SHA_256"
    assert all(cbor.loads(cbor.first(d)[2])["digest"] == "SHA384" for d in documents)


def test_standard_input_is_a_file_too(machine):
    result = machine.attest("--user-data", "-", input=b"piped")
    assert cbor.loads(cbor.first(result.stdout)[2])["user_data"] == b"piped"


def test_a_terminal_gets_no_binary(machine):
    master, terminal = pty.openpty()
    refused = subprocess.run([SEALBOOT, "attest", "--tcti", machine.tcti], stdout=terminal, stderr=subprocess.PIPE)
    assert refused.returncode == 2 and b"--output or --hex" in refused.stderr
    assert subprocess.run([SEALBOOT, "attest", "--hex", "--tcti", machine.tcti], stdout=terminal).returncode == 0
    os.close(master)
    os.close(terminal)


@pytest.mark.parametrize("option, contents, code, words", [
    ("--user-data", bytes(1025), 61, "larger than 1024 bytes"),
    ("--nonce", None, 61, "No such file"),
    ("--public-key", b"-----BEGIN PUBLIC KEY-----\n", 2, "this is PEM"),
])
def test_bad_files(machine, tmp_path, option, contents, code, words):
    if contents is not None:
        (tmp_path / "file").write_bytes(contents)
    result = machine.attest(option, tmp_path / "file")
    assert (result.returncode, result.stdout) == (code, b"") and words in result.stderr.decode()
    assert machine.tpm.documents == 0


COMMANDS = ["GetCapability", "NV_DefineSpace", "NV_Write", "Attest", "NV_Read", "NV_UndefineSpace"]


@pytest.mark.parametrize("kind, parameters", [("rc", {"rc": 0x101}), ("close", {})])
@pytest.mark.parametrize("skip", [0, 1])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_index_is_left_by_an_error_at_any_step(machine, tmp_path, command, skip, kind, parameters):
    """The TPM refuses, or the connection breaks, at each command; with a request and an answer of several chunks."""
    (tmp_path / "big").write_bytes(os.urandom(1024))
    machine.faults.add(kind, service="tpm", operation=command, skip=skip, **parameters)
    result = machine.attest("-u", tmp_path / "big", "-n", tmp_path / "big")
    if machine.faults.list()[0]["hits"] == 0 or command == "NV_UndefineSpace":
        assert result.returncode == 0, result.stderr.decode(
        )  # not reached a second time, or undefined by the second way
    else:
        assert result.returncode in (TPM, ATTESTATION) and result.stdout == b"" and b"0x" in result.stderr
    assert machine.indices() == []


def test_no_index_is_left_when_its_definition_went_unanswered(machine):
    """The TPM did as it was told, but the answer is lost."""
    answered = machine.tpm.rewritten
    define = answered[emulator.wire.CC["NV_DefineSpace"]]

    def lose(command, data):
        define(command, data)
        raise EOFError

    answered[emulator.wire.CC["NV_DefineSpace"]] = lose
    assert machine.attest().returncode == TPM
    assert machine.indices() == []


def wait_for_index(machine, client):
    while not machine.indices():
        assert client.poll() is None, f"the client ended with {client.returncode} before anybody saw its index"
        time.sleep(0.01)


def test_what_a_killed_client_left_is_cleared(machine):
    machine.faults.add("latency", service="tpm", operation="NV_Read", seconds=2)
    client = subprocess.Popen([SEALBOOT, "attest", "--tcti", machine.tcti], stdout=subprocess.PIPE)
    wait_for_index(machine, client)
    client.kill()
    client.communicate()
    assert client.returncode == -signal.SIGKILL and machine.indices()
    assert machine.attest().returncode == 0
    assert machine.indices() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_waits_until_the_index_is_undefined(machine, number):
    machine.faults.add("latency", service="tpm", operation="NV_Read", seconds=2)
    client = subprocess.Popen([SEALBOOT, "attest", "--tcti", machine.tcti], stdout=subprocess.PIPE)
    wait_for_index(machine, client)
    client.send_signal(number)
    assert client.communicate(timeout=20)[0] == b""
    assert client.returncode == -number
    assert machine.indices() == []


def test_others_indices_are_left_alone(machine):
    environment = {**os.environ, "TPM2TOOLS_TCTI": machine.tcti}
    for index in (INDICES[0] - 1, INDICES[-1] + 1):
        assert machine.run("tpm2_nvdefine", "-s", "8", hex(index), env=environment).returncode == 0
    assert machine.attest().returncode == 0
    assert {INDICES[0] - 1, INDICES[-1] + 1} <= set(machine.real.handles("nv"))


def test_clients_at_the_same_time(machine):
    clients = [
        subprocess.Popen([SEALBOOT, "attest", "--tcti", machine.tcti], stdout=subprocess.PIPE) for _ in range(12)
    ]
    documents = {c.communicate(timeout=60)[0] for c in clients}
    assert [c.returncode for c in clients] == [0] * 12
    assert len(documents) == 12 and machine.indices() == []


def test_the_auth_value_is_judged(machine):
    """One that is changed on the way is refused by the real TPM, whichever command carries it."""
    for code in ("NV_Write", "Attest", "NV_Read"):
        handler = machine.tpm.rewritten[emulator.wire.CC[code]]

        def spoil(command, data, handler=handler):
            spoilt = bytearray(data)
            at = data.index(b"\x40\x00\x00\x09\x00\x00\x00\x00\x20") + 9
            spoilt[at] ^= 1
            return handler(emulator.wire.parse(bytes(spoilt)), bytes(spoilt))

        machine.tpm.rewritten[emulator.wire.CC[code]] = spoil
        result = machine.attest()
        machine.tpm.rewritten[emulator.wire.CC[code]] = handler
        assert result.returncode in (TPM, ATTESTATION) and b"0x0000098e" in result.stderr, result.stderr.decode()
        assert machine.indices() == []


@pytest.mark.parametrize("answer, words", [
    ({"Error": "InvalidArgument"}, "the NitroTPM answered: InvalidArgument"),
    ({"Error": "x" * 65}, "malformed: Error"),
    ({"Error": 7}, "malformed: Error"),
    ({}, "neither a document nor an error"),
    (cbor.OpenMap([]), "neither a document nor an error"),
    ({"Error": "InternalError", "Attestation": {"document": b"x"}}, "neither a document nor an error"),
    ({"Attestation": {"document": b""}}, "malformed: document"),
    ({"Attestation": {"document": "text"}}, "malformed: document"),
    ({"Attestation": {}}, "malformed: document"),
    ({"Attestation": {"document": b"x", "more": 1}}, "malformed: an unknown key"),
    ({"Attestation": b"x"}, "malformed: Attestation"),
    ({"Success": {}}, "malformed: an unknown key"),
    (["Attestation"], "malformed: not a map"),
    (cbor.Tag(1, {}), "malformed: not a map"),
    (None, "malformed: not a map"),
])
def test_malformed_answers(machine, answer, words):
    machine.faults.add("response", service="tpm", operation="document", hex=cbor.dumps(answer).hex())
    result = machine.attest("--hex")
    assert (result.returncode, result.stdout) == (ATTESTATION, b"") and words in result.stderr.decode()
    assert machine.indices() == []


@pytest.mark.parametrize("data", [
    b"\xff" * 16,                                                   # no CBOR
    b"\xbf\x61",                                                    # an open map of no text
    b"\xa1\x6bAttestation\xa1\x68document\x5a\x00\x00\x20\x00",     # 8192 bytes do not fit
    b"\xa1\x6bAttestation\xa1\x68document\x5b" + b"\xff" * 8,
    b"\xa1\x6bAttestation\xbb" + b"\x7f" * 8,
    b"\x81" * 64,
])
def test_answers_that_are_not_cbor(machine, data):
    machine.faults.add("response", service="tpm", operation="document", hex=data.hex())
    result = machine.attest("--hex")
    assert result.returncode == ATTESTATION and b"is not CBOR" in result.stderr, result.stderr.decode()
    assert machine.indices() == []


def test_answers_may_be_open_maps(machine):
    answer = cbor.dumps(cbor.OpenMap([("Attestation", cbor.OpenMap([("document", b"x" * 3000)]))]))
    machine.faults.add("response", service="tpm", operation="document", hex=answer.hex())
    assert machine.attest().stdout == b"x" * 3000


@pytest.mark.parametrize("size, expected", [(300, [1024]), (990, [1024]), (1000, [1024, 2]),
                                            (5000, [1024] * 4 + [930])])
def test_reads_no_more_than_the_answer(machine, size, expected):
    reads = []
    handler = machine.tpm.rewritten[emulator.wire.CC["NV_Read"]]

    def record(command, data):
        reads.append(int.from_bytes(data[-4:-2], "big"))
        return handler(command, data)

    machine.tpm.rewritten[emulator.wire.CC["NV_Read"]] = record
    answer = cbor.dumps({"Attestation": {"document": bytes(size)}})
    machine.faults.add("response", service="tpm", operation="document", hex=answer.hex())
    assert machine.attest().stdout == bytes(size)
    assert reads == expected


def test_a_tpm_that_is_no_nitrotpm(machine):
    machine.faults.add("rc", service="tpm", operation="Attest", rc=0x143)
    result = machine.attest()
    assert result.returncode == ATTESTATION and b"does not know the NitroTPM's attestation command" in result.stderr


def test_busy_answers_are_tried_again(machine):
    machine.faults.add("rc", service="tpm", operation="Attest", count=3, rc=0x922)  # TPM_RC_RETRY
    assert machine.attest().returncode == 0


def test_power_cuts_do_not_lock_the_agent_out(machine):
    """A TPM takes each for a guess at the index, and is locked after three: a machine that panics or is stopped hard
    still boots."""
    def locked():
        return "inLockout: 1" in re.sub(r":\s+", ": ", machine.run(
            "tpm2_getcap", "properties-variable", env={**os.environ, "TPM2TOOLS_TCTI": machine.tcti}).stdout.decode())

    for _ in range(5):
        assert machine.attest().returncode == 0
        machine.real.control(struct.pack(">II", swtpm.CMD_INIT, 0))
        machine.real.command(wire.command(wire.NO_SESSIONS, wire.CC["Startup"], b"\0\0"))
    assert locked()
    assert machine.attest().returncode == 0
    assert machine.indices() == []


def test_an_owner_password_is_named(machine):
    environment = {**os.environ, "TPM2TOOLS_TCTI": machine.tcti}
    assert machine.run("tpm2_changeauth", "-c", "owner", "secret", env=environment).returncode == 0
    result = machine.attest()
    assert result.returncode == TPM and b"owner hierarchy has a password" in result.stderr


# --- the way to the TPM

class Device:
    """The emulator behind a device node."""

    def __init__(self, machine, name, execute=None):
        self.execute, self.path = execute or machine.tpm.execute, machine.directory / f"{name}.socket"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.client, args=(client,), daemon=True).start()

    def client(self, client):
        with client:
            try:
                while True:
                    client.sendall(self.execute(swtpm.receive_frame(client)))
            except (EOFError, OSError):
                pass


def on_devices(machine, *argv, **nodes):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TPM2TOOLS")}
    environment.update({f"TPM_DEVICE_{name}": value for name, value in nodes.items()})
    return machine.run(*argv,
                       env={**environment, "LD_PRELOAD": str(DEVICES), "ASAN_OPTIONS": "verify_asan_link_order=0"})


def test_no_device(machine):
    result = on_devices(machine, SEALBOOT, "attest")
    assert result.returncode == TPM_ABSENT and b"/dev/tpmrm0, /dev/tpm0" in result.stderr


def test_the_resource_manager_comes_first(machine):
    manager = Device(machine, "tpmrm0")
    result = on_devices(machine, SEALBOOT, "attest", tpmrm0=f"0:0:{manager.path}", tpm0="16:-1:")
    assert result.returncode == 0, result.stderr.decode()


def test_without_resource_manager(machine):
    result = on_devices(machine, SEALBOOT, "attest", tpm0=f"0:0:{Device(machine, 'tpm0').path}")
    assert result.returncode == 0, result.stderr.decode()


def test_a_busy_device_is_waited_for(machine):
    result = on_devices(machine, TOOL, "zero", "", 15, "", tpm0=f"16:10:{Device(machine, 'tpm0').path}")
    assert result.returncode == 0, result.stderr.decode()


def test_a_device_that_stays_busy(machine):
    started = time.monotonic()
    result = on_devices(machine, TOOL, "zero", "", 15, "", tpm0="16:-1:")
    assert result.returncode == TPM_BUSY and b"held it for all of 1000 ms" in result.stderr
    assert 1 <= time.monotonic() - started < 5


def test_a_device_that_may_not_be_opened(machine):
    result = on_devices(machine, TOOL, "zero", "", 15, "", tpmrm0="13:-1:")
    assert result.returncode == TPM and b"Permission denied" in result.stderr and b"group" in result.stderr


def test_a_resource_manager_that_does_not_know_the_vendor_command(machine):
    """Linux answers in the TPM's stead, with its own layer in the response code."""
    def refuse(data):
        if emulator.wire.code_of(data) == emulator.wire.CC["Attest"]:
            return emulator.wire.error(0x000B0143)
        return machine.tpm.execute(data)

    manager, raw = Device(machine, "tpmrm0", refuse), Device(machine, "tpm0")
    result = on_devices(machine, SEALBOOT, "attest", tpmrm0=f"0:0:{manager.path}", tpm0=f"0:0:{raw.path}")
    assert result.returncode == 0, result.stderr.decode()
    assert machine.indices() == []
    result = on_devices(machine, SEALBOOT, "attest", tpmrm0=f"0:0:{manager.path}")
    assert result.returncode == ATTESTATION and machine.indices() == []


@pytest.mark.parametrize("tcti, code", [
    ("swtpm:host=127.0.0.1,port=9", TPM_ABSENT), ("nonsense:x", TPM), ("device:/dev/null", TPM),
    ("device:/nonexistent", TPM_ABSENT), ("device:/etc/passwd/tpm", TPM_ABSENT),
])
def test_wrong_tctis(machine, tcti, code):
    result = machine.run(TOOL, "zero", tcti, 15, "")
    assert result.returncode == code, result.stderr.decode()
    assert result.stderr.decode().startswith("evidence-tool: ")  # and no line of the library's


# --- taking turns

# Run by another user: takes every lock and every name that the client might wait for, as far as that user can.
GREEDY = """
import fcntl, glob, os, socket, sys, time
held = []
for path in glob.glob("/run/sealboot*/*") + glob.glob("/run/sealboot*") + glob.glob("/run/user/*/*"):
    try:
        held.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        fcntl.flock(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pass
for name in ("sealboot/" + sys.argv[1], "sealboot/nitrotpm"):
    held.append(socket.socket(socket.AF_UNIX))
    held[-1].bind(chr(0) + name)
print("ready", flush=True)
time.sleep(60)
"""


def as_user(uid):
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes other users")
def test_another_user_cannot_take_the_turn(machine):
    assert machine.attest().returncode == 0  # what a first run leaves there is there
    with subprocess.Popen([*as_user(65534), sys.executable, "-c", GREEDY, machine.tcti], stdout=subprocess.PIPE,
                          text=True) as greedy:
        try:
            assert greedy.stdout.readline() == "ready\n"
            started = time.monotonic()
            result = machine.attest()
            assert result.returncode == 0, result.stderr.decode()
            assert time.monotonic() - started < 5
        finally:
            greedy.kill()


@pytest.fixture
def shared(machine):
    """shared(uid, shell command) in a mount namespace where /run/sealboot is the agent's user's, 12345, as on an
    image."""
    if os.geteuid() != 0:
        pytest.skip("mounts")
    script = """
        mount -t tmpfs -o mode=755 tmpfs /run && mkdir -m 700 /run/user && mkdir -m 755 /run/sealboot &&
            chown 12345:12345 /run/sealboot
        cp "$1" /run/program
        set -- /run/program "$2"
        root() { "$@"; }
        agent() { setpriv --reuid=12345 --regid=12345 --clear-groups "$@"; }
    """
    def call(commands):
        return machine.run("unshare", "--mount", "bash", "-ec", script + commands, "bash", SEALBOOT, machine.tcti)
    return call


@pytest.mark.parametrize("first, second", [("root", "agent"), ("agent", "root"), ("agent", "agent")])
def test_root_and_the_agents_user_take_turns(shared, machine, first, second):
    """Whoever made the file, it is the same for both; and the turn ends with the process that has it, however that
    ends."""
    result = shared(f"""
        {first} "$1" attest --tcti "$2" >/dev/null
        [ "$(stat --format %u:%a /run/sealboot/turn-*)" = 12345:600 ]
        {second} flock --exclusive /run/sealboot/turn-* sh -c 'echo $$; exec sleep 60' >/run/held &
        until [ -s /run/held ]; do sleep 0.05; done
        code=0; {first} "$1" attest --tcti "$2" >/dev/null 2>/run/said || code=$?
        cat /run/said
        [ $code = {TPM_BUSY} ]
        kill -9 $(cat /run/held)
        {first} "$1" attest --tcti "$2" >/dev/null
    """)
    assert result.returncode == 0 and b"another attestation was going on" in result.stdout, result
    assert machine.indices() == []


def test_many_at_once(shared, machine):
    result = shared("""
        "$1" attest --tcti "$2" >/dev/null
        for i in 1 2 3 4 5 6 7 8; do
            root "$1" attest --tcti "$2" >/dev/null & pids="$pids $!"
            agent "$1" attest --tcti "$2" >/dev/null & pids="$pids $!"
        done
        for pid in $pids; do wait $pid; done
    """)
    assert result.returncode == 0, result.stderr.decode()
    assert machine.indices() == []


# --- PCR15 and its log

TEXT = b"sha256:" + b"ab" * 32 + b" model \xc3\xa9.gguf\n"


def test_measured_into_every_bank(machine):
    assert machine.run(TOOL, "zero", machine.tcti, 15, machine.log).returncode == 0
    result = machine.measure(TEXT)
    assert result.returncode == 0, result.stderr.decode()
    changes = json.loads(result.stdout)
    assert list(changes) == list(BANKS)
    for bank, size in BANKS.items():
        digest = hashlib.new(bank, TEXT).digest()
        expected = hashlib.new(bank, bytes(size) + digest).hexdigest()
        assert changes[bank] == {"before": "00" * size, "digest": digest.hex(), "after": expected}
        assert machine.pcr(bank) == expected == replay(machine.records(), bank)
        assert machine.pcr(bank, 14) == "00" * size


def test_only_active_banks_are_measured_into(machine):
    allocation = "sha1:none+sha256:all+sha384:all+sha512:none"
    assert machine.run("tpm2_pcrallocate", allocation,
                       env={**os.environ, "TPM2TOOLS_TCTI": machine.tcti}).returncode == 0
    machine.real.reset()
    result = machine.measure(TEXT)
    assert result.returncode == 0, result.stderr.decode()
    assert list(json.loads(result.stdout)) == ["sha256", "sha384"
                                               ] == [d["hashAlg"] for d in machine.records()[0]["digests"]]
    assert machine.pcr("sha384") == replay(machine.records(), "sha384")


def test_ready_sha384_digest(machine):
    """What `sha384sum` and `tpm2_pcrextend 15:sha384=` lead to."""
    digest = hashlib.sha384(b"the model").digest()
    result = machine.run(TOOL, "measure-sha384", machine.tcti, 15, machine.log, digest.hex())
    assert result.returncode == 0, result.stderr.decode()
    assert machine.pcr("sha384") == hashlib.sha384(bytes(48) + digest).hexdigest()
    assert machine.pcr("sha256") == hashlib.sha256(bytes(32) + hashlib.sha256(digest).digest()).hexdigest()
    assert all(machine.pcr(bank) == replay(machine.records(), bank) for bank in BANKS)
    assert "string" not in machine.records()[0]["content"]


def test_record(machine):
    assert machine.measure(TEXT).returncode == 0
    record, = machine.records()
    assert list(record) == ["pcr", "digests", "content_type", "content"]
    assert record["pcr"] == 15 and record["content_type"] == "systemd"
    assert record["digests"] == [{"hashAlg": b, "digest": hashlib.new(b, TEXT).hexdigest()} for b in BANKS]
    content = record["content"]
    assert content["string"] == TEXT.decode() and content["eventType"] == "sealboot-model"
    boot_id = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    assert content["bootId"] == boot_id
    assert abs(content["timestamp"] - time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000) < 60_000_000
    assert stat.S_IMODE(machine.log.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", [b"\xff\xfe", b"a\0b", b"x" * 65537, b""], ids=["not-utf8", "nul", "long", "empty"])
def test_text_that_cannot_be_shown_is_measured_all_the_same(machine, text):
    result = machine.measure(text)
    assert result.returncode == 0, result.stderr.decode()
    assert all(machine.pcr(bank) == replay(machine.records(), bank) for bank in BANKS)
    assert machine.records()[0]["content"].get("string", "") == ""


def test_once_per_boot(machine):
    assert machine.measure(TEXT).returncode == 0
    for result in (machine.measure(TEXT), machine.run(TOOL, "zero", machine.tcti, 15, machine.log)):
        assert result.returncode == PCR_NOT_ZERO
        assert b"(sha1, sha256, sha384, sha512)" in result.stderr
        assert b'"model test version 1" (sealboot-model)' in result.stderr
    assert len(machine.records()) == 1
    machine.real.reset()
    assert machine.run(TOOL, "zero", machine.tcti, 15, machine.log).returncode == 0


def test_says_who_extended_it(machine):
    machine.log.parent.mkdir()
    record = {"pcr": 15, "digests": [{"hashAlg": "sha256", "digest": "00" * 32}], "content_type": "systemd",
              "content": {"string": "machine-id:0123\x1b[2J", "bootId": "00" * 16, "eventType": "machine-id"}}
    other = {**record, "pcr": 11, "content": {"string": "initrd:enter"}}
    garbage = "\x1e{\"pcr\": 15\n\x1e[15]\n\x1e{\"pcr\": \"15\"}\n\x1e\n"
    machine.log.write_text("".join(f"\x1e{json.dumps(r)}\n" for r in (other, record)) + garbage)
    machine.real.extend(15, {0x000B: bytes(range(32))})
    result = machine.measure(TEXT)
    assert result.returncode == PCR_NOT_ZERO
    assert b'(sha256)' in result.stderr and b'"machine-id:0123?[2J" (machine-id)' in result.stderr
    assert b"initrd" not in result.stderr and machine.log.read_text().count("\x1e") == 6


def test_an_unknown_hand_extended_it(machine):
    machine.real.extend(15, {0x000C: bytes(48)})
    result = machine.run(TOOL, "zero", machine.tcti, 15, machine.log)
    assert result.returncode == PCR_NOT_ZERO and b"does not tell who" in result.stderr
    assert machine.run(TOOL, "zero", machine.tcti, 15, "").returncode == PCR_NOT_ZERO


def test_a_log_that_goes_on(machine):
    """Another writer's records stay, and a replay over both gives the PCRs."""
    for pcr in (11, 12):
        machine.measure(b"first", pcr=pcr)
    assert machine.measure(TEXT).returncode == 0
    assert [r["pcr"] for r in machine.records()] == [11, 12, 15]
    assert all(machine.pcr(bank, pcr) == replay(machine.records(), bank, pcr) for pcr in (11, 12, 15) for bank in BANKS)


def test_nothing_is_logged_when_the_tpm_refuses(machine):
    machine.faults.add("rc", service="tpm", operation="PCR_Extend", rc=0x101)
    result = machine.measure(TEXT)
    assert result.returncode == MEASURE and b"TPM2_PCR_Extend" in result.stderr
    assert machine.log.read_bytes() == b"" and not machine.unfinished()
    assert machine.pcr("sha384") == "00" * 48
    assert machine.measure(TEXT).returncode == 0


def test_a_lost_answer_leaves_the_log_marked(machine):
    machine.faults.add("close", service="tpm", operation="PCR_Extend")
    assert machine.measure(TEXT).returncode == MEASURE
    assert machine.unfinished()
    assert machine.measure(TEXT).returncode == 0
    assert machine.unfinished() and len(machine.records()) == 1  # whatever happened then is still not in the log


def test_something_else_extends_at_the_same_time(machine):
    execute = machine.tpm.execute

    def late(data):
        response = execute(data)
        if emulator.wire.code_of(data) == emulator.wire.CC["PCR_Extend"]:
            machine.real.extend(15, {0x000C: bytes(48)})
        return response

    machine.tpm.execute = late
    result = machine.measure(TEXT)
    assert result.returncode == MEASURE and b"something else extended it" in result.stderr
    assert len(machine.records()) == 1


@pytest.mark.parametrize("spoil", ["directory", "symlink", "parent"])
def test_a_log_that_cannot_be_written_stops_before_the_tpm(machine, spoil):
    machine.log.parent.mkdir()
    if spoil == "directory":
        machine.log.mkdir()
    elif spoil == "symlink":
        machine.log.symlink_to(machine.directory / "elsewhere")
    else:
        machine.log.parent.rmdir()
        machine.log.parent.write_text("a file")
    result = machine.measure(TEXT)
    assert result.returncode == MEASURE and b"measurement log" in result.stderr
    assert machine.pcr("sha384") == "00" * 48 and not (machine.directory / "elsewhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small tmpfs")
def test_a_full_log_stops_before_the_tpm(machine):
    machine.log.parent.mkdir()
    if machine.run("mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", machine.log.parent).returncode != 0:
        pytest.skip("cannot mount")
    try:
        (machine.log.parent / "filler").write_bytes(bytes(8192))
        result = machine.measure(TEXT)
        assert result.returncode == MEASURE and b"no room" in result.stderr
        assert machine.pcr("sha384") == "00" * 48 and not machine.unfinished()
    finally:
        machine.run("umount", machine.log.parent)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_the_logs_owner_need_not_be_root(build):
    """As in the image, where the agent is given the file, and no directory that it may write."""
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        directory.chmod(0o711)
        (directory / "text").write_bytes(TEXT)
        tool = shutil.copy(TOOL, directory / "evidence-tool")
        machine = Machine(directory)
        machine.log.parent.mkdir()
        machine.log.touch(0o600)
        os.chown(machine.log, 65534, 65534)
        result = machine.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", tool, "measure",
                             machine.tcti, 15, machine.log, directory / "text")
        machine.real.stop()
        assert result.returncode == 0, result.stderr.decode()
        assert len(machine.records()) == 1 and not machine.unfinished() and machine.log.stat().st_uid == 65534


def test_writers_take_turns(machine):
    writers = [subprocess.Popen([TOOL, "measure", machine.tcti, str(pcr), machine.log, "/dev/null"],
                                stdout=subprocess.DEVNULL) for pcr in range(8, 16)]
    assert [w.wait(60) for w in writers] == [0] * 8
    assert sorted(r["pcr"] for r in machine.records()) == list(range(8, 16))
    assert not machine.unfinished()


def test_systemd_pcrlock_reads_the_log(machine):
    pcrlock = shutil.which("systemd-pcrlock", path="/usr/lib/systemd:/lib/systemd")
    if not pcrlock:
        pytest.skip("no systemd-pcrlock here")
    assert machine.measure(TEXT).returncode == 0
    result = machine.run(pcrlock, "cel", env={**os.environ, "SYSTEMD_MEASURE_LOG_USERSPACE": str(machine.log),
                                              "SYSTEMD_MEASURE_LOG_FIRMWARE": "/dev/null"})
    assert result.returncode == 0 and hashlib.sha384(TEXT).hexdigest() in result.stdout.decode(), result.stderr.decode()
