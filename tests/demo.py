#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""sealboot on one machine: builds it, starts the local stack (TPM, metadata, KMS, S3), seals a model, boots the agent,
serves the model, and has a consumer verify the machine before asking it; and shows what is refused, and by whom.
Installs what is missing. Exits with 0 only if all of it happened as shown."""

import argparse
import base64
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BOOT = ROOT / "tests/fixtures/measure"  # a signed UKI, its Secure Boot keys, and the event log of a real boot of it
COLOURS = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
MIB = 1 << 20
CAPITAL = "What is the capital of France? Answer in one word."


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOURS else text


def say(text=""):
    print(text, flush=True)


def step(title):
    say(f"\n{paint('1;36', '▶')} {paint('1', title)}")


def fact(name, value, good=None):
    mark = "" if good is None else paint(32, " ✔") if good else paint("1;31", " ✘")
    say(f"  {paint(2, f'{name:<14}')} {value}{mark}")
    if good is False:
        sys.exit("demo: this is not what should have happened")


def short(digest):
    return f"{digest[:16]}…{digest[-16:]}"


def installed(*groups):
    subprocess.run([ROOT / "tests/install-deps", "build", "test", *groups], check=True)


def built(directory):
    began = time.monotonic()
    if not (directory / "build.ninja").exists():
        subprocess.run(["meson", "setup", directory, ROOT], check=True, stdout=subprocess.DEVNULL)
    build = subprocess.run(["ninja", "-C", directory], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           check=False)
    if build.returncode:
        sys.exit(build.stdout)
    fact("built", f"{directory} in {time.monotonic() - began:.0f} s")


def make_model(directory, mib):
    """Weights that do not compress, in the shape a GGUF model has."""
    directory.mkdir()
    with open(directory / "model.gguf", "wb") as f:
        f.write(b"GGUF\x03\0\0\0")
        for _ in range(mib):
            f.write(os.urandom(MIB))
    (directory / "tokenizer.json").write_text('{"version": "1.0"}\n')
    return directory


def fetched():
    """The model, the server and the client of --chat, once."""
    from chat import llama
    step("A real model, a real server and a real client")
    try:
        model = llama.model()
        size = (model / "model.gguf").stat().st_size
        fact("model", f"SmolLM2 135M, {size / MIB:.0f} MiB, SHA-256 as expected ({llama.MODEL_PACKAGE}, PyPI)")
        fact("server", f"llama.cpp's of Debian testing, in {llama.server()}")
        fact("client", f"{llama.CLIENT_PACKAGE} (PyPI), {llama.client()}")
    except llama.Unavailable as e:
        sys.exit(f"demo: --chat is not possible here: {e}")
    return model


def files_of(model):
    if model.is_file():
        return {model.name: model}
    return {str(f.relative_to(model)): f for f in sorted(model.rglob("*")) if f.is_file()}


class Demo:
    def __init__(self, programs, stack, work, memory):
        self.programs, self.stack, self.work, self.memory = programs, stack, work, memory
        self.question, self.answer = CAPITAL, "Paris"
        self.directory = memory / "model"
        self.directory.mkdir()

    def sealboot(self, *arguments, **more):
        done = subprocess.run([self.programs / "policy/sealboot", *map(str, arguments)], env=self.stack.env, text=True,
                              stdout=subprocess.PIPE, check=False, **more)
        if done.returncode:
            sys.exit(f"demo: sealboot {arguments[0]} failed with exit code {done.returncode}")
        return done.stdout

    # ---- the owner

    def predict(self):
        """What the image will measure, from the image alone."""
        reference = self.work / "reference.json"
        keys = (f"--{k}={BOOT}/{f}.esl" for k, f in (("PK", "PK"), ("KEK", "KEK"), ("db", "db-A")))
        reference.write_text(self.sealboot("measure", "--json", *keys, BOOT / "debian13-signed-A.efi"))
        measurements = json.loads(reference.read_text())["Measurements"]
        self.expected = {int(k[3:]): v for k, v in measurements.items() if k[:3] == "PCR"}
        for n, value in sorted(self.expected.items()):
            fact(f"PCR{n}", short(value))
        self.reference = reference

    def create_key(self):
        policy = self.sealboot("policy", "--reference", self.reference, "--one-shot", "--context", "model=demo",
                               "--admin", self.stack.info["owner_arn"], "--sealer", self.stack.info["owner_arn"],
                               "--principal", self.stack.role_arn)
        self.key = self.stack.kms().create_key(Policy=policy)["KeyMetadata"]["Arn"]
        bound = {c.rpartition("NitroTPM")[2] for s in json.loads(policy)["Statement"]
                 for o in s.get("Condition", {}).values() for c in o if "NitroTPM" in c}
        bound = sorted(bound, key=lambda p: int(p[3:]))
        fact("key", self.key)
        fact("releases to", f"{self.stack.role_arn.rpartition(':')[2]}, where {', '.join(bound)} are as expected",
             bound == ["PCR2", "PCR3", "PCR4", "PCR7", "PCR12", "PCR15"])

    def seal(self, model):
        began = time.monotonic()
        result = json.loads(self.sealboot("seal", "--json", "--quiet", "--key", self.key, "--name", "demo", model,
                                          f"s3://{self.stack.bucket}/demo/"))
        seconds = time.monotonic() - began
        self.digest = result["digest"]
        self.pcr15 = json.loads(self.sealboot("digest", "--json", "--quiet", model))["pcr15"]
        size = sum(f.stat().st_size for f in files_of(model).values())
        fact("sealed", f"{size / MIB:.0f} MiB to s3://{self.stack.bucket}/demo/ in {seconds:.1f} s, "
             f"{size / 1e9 / seconds:.2f} GB/s")
        fact("model digest", short(result["digest"].removeprefix("sha384:")))

    # ---- the instance

    def power_on(self):
        """A TPM without measurements, and then those the firmware and the stub made in a real boot of the image."""
        log = json.loads(self.sealboot("replay", "--json", BOOT / "debian13-sb.log"))
        self.stack.control.tpm_reset()
        for event in log["events"]:
            if event["type"] != "EV_NO_ACTION":
                self.stack.control.tpm_extend(event["pcr"], sha384=bytes.fromhex(event["digest"]))
        shutil.rmtree(self.directory)
        self.directory.mkdir()

    def boot(self):
        configuration = self.work / "agent.json"
        configuration.write_text(json.dumps({
            "keys": [self.key], "encryption_context": {"model": "demo"}, "model_directory": str(self.directory),
            "measurement_log": str(self.work / "measure.log"), "report": str(self.work / "report.json"),
            "tcti": self.stack.variables["TPM2TOOLS_TCTI"],
            "endpoints": {k: self.stack.endpoints[k] for k in ("imds", "kms", "s3")}}))
        done = subprocess.run([self.programs / "agent/sealboot-agent", "--config", configuration], text=True,
                              check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return done, json.loads((self.work / "report.json").read_text())

    def attests_as_expected(self):
        return all(self.stack.pcr(n) == value for n, value in self.expected.items())

    def serve(self, model):
        """nginx reads the published files; a client compares what it gets with what the owner has."""
        from stack import nginx
        with nginx.serve(str(self.directory / "current")) as server:
            for path, file in files_of(model).items():
                began = time.monotonic()
                curl = subprocess.Popen(["curl", "-sSf", f"{server.http}/{urllib.parse.quote(path)}"],
                                        stdout=subprocess.PIPE)
                served = hashlib.file_digest(curl.stdout, "sha256")
                with open(file, "rb") as f:
                    same = curl.wait() == 0 and served.digest() == hashlib.file_digest(f, "sha256").digest()
                size = file.stat().st_size
                rate = size / 1e9 / (time.monotonic() - began)
                fact("served", f"{path}, {size:,} bytes" + (f", {rate:.2f} GB/s" if rate > 0.01 else ""), same)

    @contextlib.contextmanager
    def llama(self):
        """llama.cpp's server reads the published files where they are."""
        from chat import llama
        published = self.directory / "current"
        for path in (published, *published.rglob("*")):  # in the image, the mount gives them to a group of their own
            shutil.chown(path, group=int(llama.NOBODY))
        with llama.serve(published, self.work / "llama.log") as server:
            only = server.interfaces()
            fact("llama-server", f"as nobody; network interfaces: {', '.join(only)}", only == ["lo"])
            fact("weights", f"mapped from the tmpfs; {server.private_mib()} MiB of the server's own",
                 server.maps(published / "model.gguf"))
            yield server.socket

    @contextlib.contextmanager
    def stand_in(self, model):
        """Stands where an inference server does, and answers with what the published weights are."""
        from stack import inference
        published = self.directory / "current"

        def words(_):
            with open(max(published.rglob("*"), key=lambda f: f.stat().st_size), "rb") as f:
                return ["The weights' SHA-256 is ", hashlib.file_digest(f, "sha256").hexdigest(), "."]

        with open(max(files_of(model).values(), key=lambda f: f.stat().st_size), "rb") as f:
            self.question, self.answer = "Which weights answer me?", hashlib.file_digest(f, "sha256").hexdigest()
        with inference.serve(self.work / "inference.sock", words):
            yield self.work / "inference.sock"

    # ---- the consumer

    @contextlib.contextmanager
    def gate(self, upstream):
        """What the instance shows to the outside: TLS that ends in it, and its documents."""
        from stack import served
        directory = self.work / f"gate-{len(list(self.work.glob('gate-*')))}"
        with served.gate(self.programs, self.stack, directory, upstream,
                         report=str(self.work / "report.json")) as instance:
            instance.reference, instance.digest = self.reference, self.digest
            yield instance

    def ask_with_curl(self, address):
        body = {"messages": [{"role": "user", "content": self.question}], "temperature": 0, "max_tokens": 24}
        began = time.monotonic()
        done = subprocess.run(["curl", "-sSf", f"{address}/v1/chat/completions", "-H", "Content-Type: application/json",
                               "-d", json.dumps(body)], stdout=subprocess.PIPE, text=True, check=False)
        answer = json.loads(done.stdout)["choices"][0]["message"]["content"] if done.returncode == 0 else ""
        fact("curl", f"{answer.strip()} ({time.monotonic() - began:.1f} s)", self.answer in answer)

    def ask_with_openai(self, python, address):
        done = subprocess.run([python, ROOT / "tests/chat/ask.py", f"{address}/v1", self.question],
                              stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            fact("openai", "no answer", False)
        told = json.loads(done.stdout)
        streamed = told["pieces"] > 1 and told["first_s"] < told["last_s"]
        fact("openai", f"{told['answer'].strip()} ({told['pieces']} pieces, the first after {told['first_s']:.1f} s, "
             f"the last after {told['last_s']:.1f} s)", streamed and self.answer in told["answer"])

    def nothing_left(self):
        return not any(f.is_file() for f in self.directory.rglob("*")) and self.stack.control.tpm()["nv"] == []


def timeline(report):
    width, total = 46, report["duration_ms"]
    end = f"{total:.0f} ms"
    say(f"  {paint(2, 'timeline')}{' ' * 7}{paint(2, '0')}{' ' * (width - len(end) - 1)}{paint(2, end)}")
    for stage in report["stages"]:
        if "duration_ms" not in stage:
            continue
        left = round(stage["began_ms"] / total * width)
        length = max(1, round(stage["duration_ms"] / total * width))
        left = min(left, width - length)
        bar = " " * left + paint(36, "█" * length) + " " * (width - left - length)
        rate = f"  {stage['bytes'] / MIB:.0f} MiB, {stage['gb_per_s']:.2f} GB/s" if "bytes" in stage else ""
        say(f"  {stage['name']:<14} {bar} {stage['duration_ms']:7.1f} ms{rate}")


def show_refusal(done):
    for line in done.stderr.splitlines():
        if line.startswith(("sealboot-agent:", "  on:", "  why:")):
            say("  " + paint(33, line if len(line) < 112 else line[:109] + "..."))


def refusals(demo):
    step("Refused: the operator appends to the kernel command line")
    demo.power_on()
    demo.stack.control.tpm_extend(12, sha384=hashlib.sha384("init=/bin/sh".encode("utf-16le") + b"\0\0").digest())
    done, _ = demo.boot()
    show_refusal(done)
    fact("exit code", f"{done.returncode}: KMS denied, nothing published",
         done.returncode == 30 and demo.nothing_left())

    step("Refused: a UEFI driver of the operator's runs before the image")
    demo.power_on()
    demo.stack.control.tpm_extend(2, sha384=hashlib.sha384(b"a driver that DriverOrder names").digest())
    done, _ = demo.boot()
    show_refusal(done)
    same = all(demo.stack.pcr(n) == demo.expected[n] for n in (4, 7, 12)) and demo.stack.pcr(2) != demo.expected[2]
    fact("PCR2 differs", "and PCR4, 7 and 12 do not", same)
    fact("exit code", f"{done.returncode}: KMS denied, nothing published",
         done.returncode == 30 and demo.nothing_left())

    step("Refused: a second release, once a model was measured into PCR15")
    demo.power_on()
    answer = ask_kms(demo)
    fact("PCR15 is zero", f"KMS {answer}", answer == "releases the key")
    done, _ = demo.boot()
    fact("agent boots", "published", done.returncode == 0)
    fact("attested now", "PCR2, 4, 7, 12 as before; PCR15 tells the model",
         demo.attests_as_expected() and demo.stack.pcr(15) == demo.pcr15)
    answer = ask_kms(demo)
    fact("KMS says", answer, answer == "AccessDeniedException")
    shutil.rmtree(demo.directory / "current")
    done, _ = demo.boot()
    show_refusal(done)
    fact("exit code", f"{done.returncode}: the agent does not even ask", done.returncode == 23)

    step("Refused: one bit of the ciphertext flips in S3")
    demo.power_on()
    s3, key = demo.stack.s3(), "demo/00000.sealed"
    sealed = s3.get_object(Bucket=demo.stack.bucket, Key=key)["Body"].read()
    body = bytearray(sealed)
    body[len(body) // 2] ^= 1
    s3.put_object(Bucket=demo.stack.bucket, Key=key, Body=bytes(body))
    done, _ = demo.boot()
    show_refusal(done)
    untouched = set(demo.stack.pcr(15)) == {"0"}
    fact("exit code", f"{done.returncode}: nothing published, PCR15 still zero",
         done.returncode == 54 and demo.nothing_left() and untouched)
    s3.put_object(Bucket=demo.stack.bucket, Key=key, Body=sealed)


def ask_kms(demo):
    """As root on the instance could: a genuine document over a key pair of his own, and the instance's credentials.
    Signed by the stock client's signer; the client itself, in Debian 12, does not know Recipient yet."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    context = {"model": "demo", "version": "1"}
    generated = demo.stack.kms().generate_data_key(KeyId=demo.key, NumberOfBytes=32, EncryptionContext=context)
    public = demo.work / "key.der"
    public.write_bytes(rsa.generate_private_key(65537, 2048).public_key()
                       .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    blob = base64.b64encode(generated["CiphertextBlob"]).decode()
    body = json.dumps({"CiphertextBlob": blob, "KeyId": demo.key, "EncryptionContext": context,
                       "Recipient": json.loads(demo.sealboot("attest", "--public-key", public, "--json"))})
    request = AWSRequest("POST", demo.stack.endpoints["kms"] + "/", data=body, headers={
        "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "TrentService.Decrypt"})
    role = demo.stack.control.credentials()
    credentials = Credentials(role["AccessKeyId"], role["SecretAccessKey"], role["Token"])
    SigV4Auth(credentials, "kms", demo.stack.region).add_auth(request)
    signed = urllib.request.Request(request.url, body.encode(), dict(request.headers))
    try:
        with urllib.request.urlopen(signed) as answer:
            return "CiphertextForRecipient" in json.load(answer) and "releases the key"
    except urllib.error.HTTPError as e:
        return json.load(e)["__type"].rpartition("#")[2]


# ---- the consumer

def show_check(done):
    """The lines of a verdict that tell something."""
    for line in (done.stdout + done.stderr).splitlines():
        if line.strip() and not line.startswith("not checked"):
            say("  " + paint(33 if done.returncode else 2, line if len(line) < 112 else line[:109] + "..."))


def consumer(demo, model, chat):
    from stack import served
    step("The machine is booted once more, and a consumer verifies it before asking")
    demo.power_on()
    done, _ = demo.boot()
    if done.returncode:
        sys.exit(done.stderr)
    with (demo.llama() if chat else demo.stand_in(model)) as upstream, demo.gate(upstream) as instance:
        done = served.check(instance)
        show_check(done)
        fact("exit code", f"{done.returncode}: TLS ends in this image, with this model", done.returncode == 0)
        with served.connect(instance) as local:
            fact("endpoint", f"{local}, for clients that know nothing of this")
            say(f"  {paint(2, 'question')}       {demo.question}")
            demo.ask_with_curl(local)
            if chat:
                from chat import llama
                demo.ask_with_openai(llama.client(), local)
    consumers_refusals(demo)


def consumers_refusals(demo):
    from stack import inference, served
    model = bytes.fromhex(demo.digest.removeprefix("sha384:"))
    other = hashlib.sha384(b"something else").digest()
    with inference.serve(demo.work / "other.sock") as server:
        step("Refused: another image, which shows the right model")
        with elsewhere(demo, {4: other, 15: model}) as instance:
            not_asked(instance, server, instance.address, "another image: PCR4")

        step("Refused: the right image, with another model")
        with elsewhere(demo, {15: other}) as instance:
            not_asked(instance, server, instance.address, "another model")

        step("Refused: a man in the middle, who relays the real document under a key of his own")
        with elsewhere(demo, {15: model}) as instance, served.relay(instance) as address:
            fact("without him", "verified", served.check(instance).returncode == 0)
            not_asked(instance, server, address, "another key")


@contextlib.contextmanager
def elsewhere(demo, more):
    """A machine at the operator's choice: the image's measurements and these. Its server would answer anything."""
    demo.power_on()
    for pcr, digest in more.items():
        demo.stack.control.tpm_extend(pcr, sha384=digest)
    with demo.gate(demo.work / "other.sock") as instance:
        yield instance


def not_asked(instance, server, address, reason):
    """The consumer's program says why, and nothing but the question for evidence has left the consumer's machine."""
    from stack import served
    done = served.refusal(instance, address)
    for line in done.stderr.splitlines():
        if line.startswith(("sealboot:", "  on:", "  why:")):
            say("  " + paint(33, line if len(line) < 112 else line[:109] + "..."))
    fact("exit code", str(done.returncode), done.returncode == 73 and reason in done.stderr)
    fact("prompts", f"{len(server.requests)} arrived: there is no endpoint that a client could ask",
         server.requests == [])


def chosen(options):
    """Whether to serve the real model without being asked to: only what is here already, since fetching takes longer
    than the whole demo."""
    from chat import llama
    if options.generated or options.model:
        return False
    real = llama.kept()
    if not real:
        fact("model", "generated; the real one is not kept here, and `tests/demo --chat` fetches it")
    return real


def main():
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--chat", action="store_true",
                        help="serve a real small model with llama.cpp's server and ask it; needs root, Debian's mirror "
                        "and PyPI once, and keeps what it fetched in $SEALBOOT_CACHE. Later runs do so by themselves")
    parser.add_argument("--generated", action="store_true",
                        help="serve a generated model even where a real one is kept")
    parser.add_argument("--model", type=pathlib.Path, metavar="PATH",
                        help="a model of yours: a directory or a file (default: generated)")
    parser.add_argument("--size", type=int, default=256, metavar="MIB",
                        help="size of the generated model (default: 256)")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release", metavar="DIR",
                        help="build directory")
    options = parser.parse_args()

    step("Build")
    installed(*(["chat"] if options.chat else []))
    built(options.build.resolve())
    sys.path.insert(0, str(ROOT / "tests"))
    options.chat = options.chat or chosen(options)
    if options.chat:
        options.model = fetched()
    from stack import session

    with tempfile.TemporaryDirectory(prefix="sealboot-demo-") as work, \
            tempfile.TemporaryDirectory(prefix="sealboot-demo-", dir="/dev/shm") as memory:
        work = pathlib.Path(work)
        model = options.model.resolve() if options.model else make_model(work / "model", options.size)
        stack = session.start()
        try:
            run(Demo(options.build.resolve(), stack, work, pathlib.Path(memory)), model, options.chat)
        finally:
            session.end(stack)


def run(demo, model, chat):
    step("The owner predicts what the image measures, binds a KMS key to it, and seals a model")
    demo.predict()
    demo.create_key()
    demo.seal(model)

    step("An instance boots: firmware measures the image, the agent does the rest")
    demo.power_on()
    fact("PCR2, 4, 7, 12", "as predicted", demo.attests_as_expected())
    demo.stack.control.user_data({"sealboot": {"model": f"s3://{demo.stack.bucket}/demo/"}})
    done, report = demo.boot()
    if done.returncode:
        sys.exit(done.stderr)
    timeline(report)
    printed = demo.stack.tpm("tpm2_pcrread", "sha384:15").split("0x")[1].strip().lower()
    fact("KMS request", f"{report['kms']['request_id']}, attempt {report['kms']['attempts']}")
    used = report["resources"]
    fact("memory", f"{used['peak_memory_kib'] / 1024:.0f} MiB beside the model, {used['cpu_seconds']:.2f} CPU s")
    fact("PCR15", f"{short(printed)} (tpm2_pcrread)")
    fact("expected", f"{short(demo.pcr15)} (sealboot digest)", printed == demo.pcr15)

    step("An inference server reads the model")
    demo.serve(model)
    refusals(demo)
    consumer(demo, model, chat)
    say(f"\n{paint('1;32', 'All as it should be.')} The same on AWS: see README.md.")


if __name__ == "__main__":
    main()
