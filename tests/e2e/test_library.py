# SPDX-License-Identifier: Apache-2.0
"""libsealboot-verify as installed, and what the agent's program must not hold."""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

from stack import attested, pki

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "policy/examples"


@pytest.fixture(scope="module")
def installed(build, tmp_path_factory):
    options = {o["name"]: o["value"] for o in json.loads((build / "meson-info/intro-buildoptions.json").read_text())}
    if options["b_sanitize"] != "none":
        pytest.skip("a program without the sanitizer cannot load a library that has it")
    root = tmp_path_factory.mktemp("installed")
    subprocess.run(["meson", "install", "--no-rebuild", "--quiet", "--destdir", root, "-C", build], check=True,
                   capture_output=True)
    return root


def find(root, name):
    return next(root.rglob(name))


def symbols(*arguments) -> set[str]:
    listed = subprocess.run(["nm", *map(str, arguments)], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].split("@")[0] for line in listed.splitlines() if len(line.split()) >= 2}


def test_only_the_public_functions_are_visible(installed):
    header = find(installed, "sealboot-verify.h").read_text()
    declared = set(re.findall(r"^[^ /].*?\b(sealboot_\w+)\(", header.split("struct sealboot_verifier;")[1], re.M))
    exported = symbols("-D", "--defined-only", find(installed, "libsealboot-verify.so")) - {"SEALBOOT_VERIFY_0"}
    assert exported == declared and len(declared) > 15 and "sealboot_verify_tls" in declared


def test_a_service_links_it(installed, stack, sealboot, tmp_path):
    pc = find(installed, "sealboot-verify.pc")
    environment = {**os.environ, "PKG_CONFIG_PATH": str(pc.parent), "PKG_CONFIG_SYSROOT_DIR": str(installed)}
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "sealboot-verify"], env=environment,
                           capture_output=True, text=True, check=True).stdout.split()
    source = os.path.join(os.path.dirname(__file__), "../../policy/examples/attested-service.c")
    subprocess.run(["cc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-o", tmp_path / "service", source,
                    *flags], check=True)

    (tmp_path / "nonce").write_bytes(os.urandom(32))
    (tmp_path / "key").write_bytes(b"a public key")
    (tmp_path / "image.json").write_text(json.dumps({"Measurements": {f"PCR{n}": stack.pcr(n) for n in (2, 4, 7, 12)}}))
    assert sealboot("attest", "-n", tmp_path / "nonce", "-p", tmp_path / "key", "-o",
                    tmp_path / "document").returncode == 0

    def ask(*more):
        libraries = {"LD_LIBRARY_PATH": str(find(installed, "libsealboot-verify.so").parent)}
        return subprocess.run([tmp_path / "service", tmp_path / "image.json", tmp_path / "nonce", tmp_path / "document",
                               *more],
                              env={**os.environ, **libraries}, capture_output=True, text=True)
    answer = ask(stack.variables["SEALBOOT_ATTESTATION_ROOT"])
    assert answer.returncode == 0 and "its key of 12 bytes" in answer.stdout, answer
    assert "refused: chain: the root in the document" in ask().stderr
    whole = (tmp_path / "image.json").read_text()
    (tmp_path / "image.json").write_text(json.dumps({"Measurements": {f"PCR{n}": stack.pcr(n) for n in (4, 7, 12)}}))
    assert "refused: drivers: " in ask(stack.variables["SEALBOOT_ATTESTATION_ROOT"]).stderr
    (tmp_path / "image.json").write_text(whole)
    (tmp_path / "nonce").write_bytes(os.urandom(32))
    assert "refused: nonce: " in ask(stack.variables["SEALBOOT_ATTESTATION_ROOT"]).stderr


@pytest.fixture(scope="module")
def clients(installed, tmp_path_factory):
    """The examples' clients: the commands that run them, and the environment for that."""
    pc, program = find(installed, "sealboot-verify.pc"), tmp_path_factory.mktemp("client") / "attested-tls"
    environment = {**os.environ, "PKG_CONFIG_PATH": str(pc.parent), "PKG_CONFIG_SYSROOT_DIR": str(installed)}
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "sealboot-verify", "libssl", "libcrypto"],
                           env=environment, capture_output=True, text=True, check=True).stdout.split()
    flags = [
        flag.removeprefix(str(installed)) if flag.startswith("-I") and not os.path.exists(flag[2:]) else flag
        for flag in flags
    ]
    subprocess.run([
        "cc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-o", program, EXAMPLES / "attested-tls.c", *flags
    ], check=True)
    commands = {"c": [program], "python": [sys.executable, EXAMPLES / "attested_tls.py"]}
    return commands, {**os.environ, "LD_LIBRARY_PATH": str(find(installed, "libsealboot-verify.so").parent)}


@pytest.mark.parametrize("language", ["c", "python"])
def test_a_client_of_attested_tls(clients, language, tmp_path):
    """Each example asks an attested server, and no other: refused before the request."""
    commands, environment = clients
    now = int(time.time())
    root = pki.root(now)
    leaf, values = pki.hierarchy(now, root=root), attested.pcrs()
    (tmp_path / "root.pem").write_bytes(root.pem)
    (tmp_path / "image.json").write_text(attested.reference(values))

    def ask(change=lambda server: None):
        with attested.Server(attested.Key(tmp_path), leaf, dict(values), name="the model's answer") as server:
            change(server)
            done = subprocess.run(
                [*commands[language], server.address, tmp_path / "image.json", "/who", tmp_path / "root.pem"],
                capture_output=True, text=True, timeout=30, env=environment)
            assert len(server.prompts) == (done.returncode == 0), done
            return done
    done = ask()
    assert (done.returncode, done.stdout) == (0, "the model's answer\n"), done
    assert "refused: pcrs: differ from the reference: " in ask(lambda s: s.values.update({4: bytes(47) + b"4"})).stderr
    other = attested.Key(tmp_path, "other")
    assert "refused: user-data: the document is bound to another TLS key" in ask(lambda s: setattr(
        s.key, "spki", other.spki)).stderr
    assert "refused: nonce: " in ask(lambda s: setattr(s, "document", lambda nonce: type(s).document(s, bytes(32))
                                                       )).stderr
    assert "refused: debug-mode: PCR4 is zero" in ask(lambda s: s.values.update({4: bytes(48)})).stderr


def test_the_headers_example_can_be_copied(tmp_path):
    folder = os.path.join(os.path.dirname(__file__), "../../policy/verify")
    with open(os.path.join(folder, "sealboot-verify.h")) as f:
        example = re.findall(r"^ \*     (.*)$", f.read(), re.MULTILINE)
    assert len(example) > 5
    (tmp_path / "example.c").write_text("\n".join([
        "#include <stdio.h>", "#include <string.h>", "#include <sealboot-verify.h>",
        "int answers(const char *json, const void *document, size_t size);",
        "int answers(const char *json, const void *document, size_t size) {",
        "static const uint8_t nonce[32]; const uint8_t *key = NULL; size_t key_size = 0;",
        *example, "return key && key_size > 0;", "}", ""]))
    subprocess.run(["cc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", folder,
                    tmp_path / "example.c"], check=True)


def test_the_header_is_c_plus_plus_too(installed, tmp_path):
    (tmp_path / "empty.cc").write_text("#include <sealboot-verify.h>\n")
    include = find(installed, "sealboot-verify.h").parent
    compiled = subprocess.run(
        ["cc", "-x", "c++", "-fsyntax-only", "-Wall", "-Werror", "-I", include, tmp_path / "empty.cc"],
        capture_output=True, text=True)
    if "cc1plus" in compiled.stderr:
        pytest.skip("no C++ compiler")
    assert compiled.returncode == 0, compiled.stderr


def test_the_agent_holds_none_of_it(build):
    """Sealing, measuring, verifying and policies are people's business: the measured image carries only what a boot
    needs."""
    policy = symbols("--defined-only", "-g", build / "policy/libsealboot-policy.a")
    assert {"document_parse", "chain_build", "evaluate", "references_parse", "diagnose",
            "sealboot_verifier_run"} <= policy
    agent = symbols("--defined-only", "-g",
                    build / "agent/sealboot-agent")  # what is local may happen to have the same name
    assert "config_parse" in agent and agent & policy == set()
    needed = subprocess.run(["readelf", "-d", build / "agent/sealboot-agent"], capture_output=True, text=True,
                            check=True).stdout
    assert "sealboot-verify" not in needed
