# SPDX-License-Identifier: Apache-2.0
"""The image as tests boot it: built once, with the local stack for a network, a model and its key; and what an operator
can do to its disk."""

import base64
import hashlib
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from isolation import Guest
from machine import SOURCE, Machine, Report, run, script, wait_until

sys.path.insert(0, str(SOURCE / "tests"))
from chat import llama  # noqa: E402
from stack import session  # noqa: E402

KEY = "5ea1b007-0000-4000-8000-000000000001"
CONTEXT = {"model": "tiny"}
IMDS, KMS, S3 = ("169.254.169.254", 80), ("169.254.170.2", 443), ("169.254.170.3", 443)
BOOT = 900  # seconds; emulation on a busy machine
DATE = "1795000000"
ZEROS = "00" * 48
KEEP = SOURCE / "tests/vm/report-keep"
TOKEN = "a-token-of-the-tests"
GATE = {"callers": {"tokens": [{"name": "tests", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}]},
        "paths": {"server": "llama-server"}, "upstream": "unix:/run/sealboot-upstream/llama-server.sock"}


@pytest.fixture(scope="module")
def stack():
    running = session.start("--qemu")
    yield running
    session.end(running)


@pytest.fixture(scope="module")
def key(stack):
    created = stack.kms().create_key(Policy=json.dumps(stack.key_policy(pcrs={})),
                                     Tags=[{"TagKey": "_custom_id_", "TagValue": KEY}])
    return created["KeyMetadata"]["Arn"]


@pytest.fixture(scope="module")
def configuration(key, stack):
    url = "http://{}:{}".format
    return {"keys": [key], "encryption_context": CONTEXT, "region": stack.region,
            "endpoints": {"imds": "http://169.254.169.254", "kms": url(*KMS), "s3": url(*S3)}}


@pytest.fixture(scope="module")
def overlay(tmp_path_factory):
    """The report of a boot and the programs it calls, since the image has no shell."""
    directory = tmp_path_factory.mktemp("overlay")
    subprocess.run([SOURCE / "tests/vm/report-overlay", directory], check=True)
    return directory


@pytest.fixture(scope="module")
def image(configuration, overlay, tmp_path_factory):
    """The built image, whose only difference from the shipped one is the report and this configuration."""
    # One directory for all modules of a run: the second finds what the first built.
    output = pathlib.Path(os.environ.get("SEALBOOT_IMAGE") or tmp_path_factory.getbasetemp() / "image")
    return built(output, configuration, "--overlay", overlay)


def built(output, configuration, *options):
    """The image in this directory, built there if it is missing."""
    if not (output / "SHA256SUMS").exists():
        output.mkdir(parents=True, exist_ok=True)
        (output / "agent.json").write_text(json.dumps(configuration))
        (output / "gate.json").write_text(json.dumps(GATE))
        subprocess.run([SOURCE / "kiwi/build", "--config", output / "agent.json", "--gate", output / "gate.json",
                        "--keep", KEEP, "--output", output, "--date", DATE, *options], check=True)
    assert json.loads((output / "agent.json").read_text()) == configuration
    return output


def publish(stack, key, sealboot, directory, name):
    """Seals a directory under a prefix, and has user data name it."""
    destination = f"s3://{stack.bucket}/{name}/"
    sealed = sealboot("seal", "--json", "--quiet", "--key", key, "--name", CONTEXT["model"], directory, destination,
                      env=stack.env)
    stack.control.user_data({"sealboot": {"model": destination}})
    return json.loads(sealed)


@pytest.fixture(scope="module")
def model(stack, key, sealboot, tmp_path_factory):
    """A sealed model, named by the instance's user data."""
    directory = tmp_path_factory.mktemp("model") / "tiny"
    directory.mkdir()
    run(SOURCE / "tests/vm/tiny-model", directory / "model.gguf")
    return publish(stack, key, sealboot, directory, "tiny")


@pytest.fixture
def served_model(stack, key, sealboot, model, record_property):
    """(what `seal` says, a word of the answer to "The capital of France is"): a real small model where it can be had,
    else the generated one, whose answers have no meaning."""
    try:
        real = publish(stack, key, sealboot, llama.model(), "real"), "Paris"
    except llama.Unavailable as e:
        record_property("model", f"generated: {e}")
        yield model, ""
        return
    record_property("model", "SmolLM2 135M")
    yield real
    stack.control.user_data({"sealboot": {"model": f"s3://{stack.bucket}/tiny/"}})


def release(stack, key, sealboot, measurements):
    """Makes `sealboot policy`'s one-shot policy for these measurements the key's policy."""
    text = sealboot("policy", "--reference", measurements, "--principal", stack.role_arn, "--admin",
                    stack.info["owner_arn"], "--sealer", stack.info["owner_arn"], "--context", "model=tiny",
                    "--one-shot")
    stack.kms().put_key_policy(KeyId=key, PolicyName="default", Policy=text)
    stack.control.clear_audit()


@pytest.fixture
def released(stack, key, sealboot, model):
    """released(measurements): that policy, once there is a model."""
    return lambda measurements: release(stack, key, sealboot, measurements)


class Instance(Machine):
    """A machine of the image with the local stack for a network, a NitroTPM and a port for the report. `network` puts a
    network.Network between the two."""

    def __init__(self, directory, disk, stack, extra=(), network=None, **options):
        self.report_file = directory / "report"
        self.port = free_port()
        endpoints = stack.endpoints
        forwards = "".join(f",guestfwd=tcp:{ip}:{port}-cmd:socat - TCP:{endpoints[name].split('//')[1]}"
                           for name, (ip, port) in (("imds", IMDS), ("kms", KMS), ("s3", S3)))
        user = (f"user,id=user,net=169.254.0.0/16,host=169.254.0.2,dns=169.254.0.3,restrict=on,"
                f"hostfwd=tcp:127.0.0.1:{self.port}-:443{forwards}")
        super().__init__(directory, disk, tpm=stack.directory / "qemu-tpm.socket", memory=2048, **options, extra=[
            *(network.qemu(user) if network else ["-netdev", user]),
            # No option ROM: the firmware would load and measure it, and EC2's interfaces have none.
            "-device", f"virtio-net-pci,netdev={'guest' if network else 'user'},romfile=",
            "-chardev", f"file,id=report,path={self.report_file}", "-device", "virtio-serial-pci",
            "-device", "virtserialport,chardev=report,name=sealboot.report", *extra])

    def told(self, profile="debian"):
        """Waits for the report; (Report, Guest)."""
        def look():
            return "report-end" in self.raw() or self.qemu.poll() is not None
        wait_until(look, BOOT, "report from the guest", self.tail)
        assert "report-end" in self.raw(), f"the machine stopped without a report:\n{self.tail()}"
        return Report(self.raw()), Guest(self.raw(), profile)

    def raw(self):
        return self.report_file.read_text(errors="replace") if self.report_file.exists() else ""

    def ask(self, path, body):
        """What the inference server answers, once it does, through nginx and the gate. The server is not verified."""
        return completion(f"https://127.0.0.1:{self.port}{path}", body, self)


def completion(url, body, instance, seconds=300):
    """What a server answers at a URL, once it does. Whoever it is, it is not verified here."""
    answer, unverified = None, ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}),
                                         urllib.request.HTTPSHandler(context=unverified))

    def look():
        nonlocal answer
        request = urllib.request.Request(url, json.dumps(body).encode(), {
            "Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"
        })
        try:
            with opener.open(request, timeout=120) as response:
                answer = json.load(response)
        except (urllib.error.URLError, ConnectionError, TimeoutError, ValueError):
            time.sleep(1)
        return answer is not None
    wait_until(look, seconds, "answer from the inference server", instance.tail)
    return answer


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def references(path):
    return json.loads(path.read_text())["Measurements"]


def assert_denied(stack, guest):
    """The machine ran, asked KMS and was refused, and nothing of the model is there."""
    assert guest.fact("agent-state") == "failed", guest.fact("agent-journal")
    assert "KMS" in guest.fact("agent-journal") and "AccessDenied" in guest.fact("agent-journal")
    decrypts = [event for event in stack.control.audit(service="kms") if event.get("operation") == "Decrypt"]
    assert decrypts and all(event["result"] == "AccessDeniedException" for event in decrypts), decrypts
    assert "model.gguf" not in guest.fact("models")
    assert guest.fact("inference-state") != "active"


def assert_serves(instance, report, guest, sealed, word=""):
    """`word` is in the answer to the question."""
    assert guest.fact("agent-state") == "active", guest.fact("agent-journal")
    answer = instance.ask("/completion", {"prompt": "The capital of France is", "n_predict": 4, "temperature": 0})
    assert answer["tokens_predicted"] >= 1 and answer["stop"] is True and word in answer["content"], answer
    assert report.pcrs["sha384"][15] == sealed_pcr15(sealed)


def assert_proven(instance, image, stack, sealed, sealboot):
    """A consumer outside verifies the image and the model, and only then is answered; another model is refused."""
    url, token = f"https://127.0.0.1:{instance.port}", instance.directory / "token"
    token.write_text(TOKEN)
    common = ["connect", "--root", stack.directory / "attestation-root.pem", "--reference",
              image / "pcr_measurements.json"]
    with pytest.raises(AssertionError, match="PCR15"):
        sealboot(*common, "--check", "--model-digest", "sha384:" + "ab" * 48, url)
    common += ["--model-digest", sealed["digest"]]
    sealboot(*common, "--check", url)
    port = free_port()
    program = pathlib.Path(os.environ["SEALBOOT_BUILD"], "policy/sealboot")
    with subprocess.Popen([program, *common, "--token-file", token, "--listen", f"127.0.0.1:{port}", url]) as endpoint:
        try:
            answer = completion(f"http://127.0.0.1:{port}/completion", {"prompt": "a", "n_predict": 4}, instance)
            assert answer["tokens_predicted"] >= 1
        finally:
            endpoint.terminate()


def sealed_pcr15(sealed):
    return next(value for name, value in sealed.items() if "pcr15" in name.lower())


def sign(disk, keys, sealboot):
    """Signs the UKI of a raw disk as kiwi/secure-boot does; the measurements of what firmware with those keys boots."""
    signed, measurements = disk.parent / "signed.efi", disk.parent / "pcr_measurements.json"
    script(f"""SEALBOOT=true {SOURCE}/kiwi/secure-boot sign {keys} {disk}
        start=$(sgdisk --info=1 {disk} | awk '/First sector/ {{ print $3 }}')
        mcopy -i {disk}@@$((start * 512)) ::/EFI/BOOT/BOOTX64.EFI {signed}""")
    lists = [argument for name in ("PK", "KEK", "db", "dbx") if (keys / f"{name}.esl").exists()
             for argument in (f"--{name}", keys / f"{name}.esl")]
    measurements.write_text(sealboot("measure", "--json", *lists, signed))
    return measurements


def injections(directory):
    """QEMU's options that bring credentials, and so units, from outside: SMBIOS type 11 and fw_cfg."""
    say = "".join(f"ExecStart=-{shell} -c 'echo {{0}} >/dev/console'\n"
                  for shell in ("/bin/sh", "/usr/lib/sealboot/test/sh"))
    unit = f"[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\n{say}"
    credentials = {"extra-unit.smbios.service": unit.format("brought by SMBIOS"),
                   "unit-dropin.sysinit.target": "[Unit]\nWants=smbios.service x.service\n"}
    (directory / "unit").write_text(unit.format("brought by fw_cfg"))
    smbios = [f"type=11,value=io.systemd.credential.binary:systemd.{name}={base64.b64encode(text.encode()).decode()}"
              for name, text in credentials.items()]
    return ["-fw_cfg", f"name=opt/io.systemd.credentials/systemd.extra-unit.x.service,file={directory}/unit",
            *(word for value in smbios for word in ("-smbios", value))]


def changed_esp(image, disk, commands):
    """A copy of the image's disk after COMMANDS, which see the ESP as $esp and the UKI as uki.efi."""
    script(f"""cp --sparse=always {image}/sealboot.raw {disk}
        cd {disk.parent}; cp {image}/sealboot.efi uki.efi
        esp={disk}@@$(( $(sgdisk --info=1 {disk} | awk '/First sector/ {{ print $3 }}') * 512 ))
        {commands}""", binds=["--bind", str(image)])


def corrupt(disk):
    """Flips a bit in the first compressed block of systemd itself, which every boot reads."""
    extents = disk.parent / "extents"
    root = int(script(f"""cd {disk.parent}
        root=$(sgdisk --info=2 {disk} | awk '/First sector/ {{ print $3 * 512 }}')
        dd if={disk} of=root.erofs bs=1M iflag=skip_bytes skip=$root conv=sparse status=none
        dump.erofs -e --path=/usr/lib/systemd/systemd root.erofs > {extents}; rm root.erofs
        echo $root"""))
    first = re.search(r"^ *0: .*\| *\d+ : *(\d+)\.\.", extents.read_text(), re.MULTILINE)
    assert first, extents.read_text()
    with open(disk, "r+b") as f:
        f.seek(root + int(first[1]) + 100)
        byte = f.read(1)
        f.seek(-1, 1)
        f.write(bytes([byte[0] ^ 1]))


PROMPTS = re.compile(
    r"Press Enter|maintenance|[#$] $|sh-5|bash-|login:|dracut:/|Entering emergency mode|Starting \\S*shell",
    re.MULTILINE)
