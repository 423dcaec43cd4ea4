# SPDX-License-Identifier: Apache-2.0
"""What the owner's program says: advice for who runs it, names of what is not local, and what an object is that was
spoilt."""

import base64
import gzip
import os
import pathlib
import re
import subprocess

import pytest

from boots import data, single
from models import read, refused, succeed, write
from sealer import Sealed

ROOT = pathlib.Path(__file__).resolve().parents[2]

# What only the agent's reader has: an instance, its user data, its role, an image that is built anew.
AGENTS_WORDS = re.compile(
    "user data|measured configuration|image recipe|verity root|instance profile|the role|tmpfs|chrony|rebuild|"
    "nothing was published|this boot|TimeoutStartSec", re.IGNORECASE)


# --- advice

def failures(model, odd, place, key, tmp_path, stack):
    """(arguments, variables, exit code, what the advice must name) of commands that fail, each in its own way."""
    seal = ["seal", "-q", "--key", key, model]
    yield ["digest", odd], {}, 55, "Rename the file"
    yield ["seal", "-q", "--key", key, odd, place], {}, 55, "Rename the file"
    yield ["digest", tmp_path / "none"], {}, 61, ""
    yield [*seal, place], {"AWS_ENDPOINT_URL_S3": stack.endpoints["s3"] + "/path"}, 10, "AWS_ENDPOINT_URL_S3"
    yield [*seal, place], {"AWS_ENDPOINT_URL_S3": "", "AWS_ENDPOINT_URL": "ftp://x"}, 10, "AWS_ENDPOINT_URL, or unset"
    yield [*seal, place], {"AWS_ENDPOINT_URL_KMS": "localhost:1"}, 10, "AWS_ENDPOINT_URL_KMS"
    yield [*seal, place], {"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}, 10, "AWS_REGION"
    yield [*seal, place], {"AWS_REGION": "EU WEST"}, 10, "AWS_REGION"
    yield [*seal, place], {"AWS_REGION": "", "AWS_DEFAULT_REGION": "EU WEST"}, 10, "AWS_DEFAULT_REGION"
    yield [*seal, place], {"AWS_CA_BUNDLE": str(tmp_path / "none")}, 10, "AWS_CA_BUNDLE"
    yield [*seal, place], {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "",
                           "HOME": str(tmp_path)}, 13, "AWS_PROFILE"
    yield [*seal, place], {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"}, 15, "AWS_REGION"
    yield [*seal, "s3://no-such-bucket-here/p/"], {}, 41, "aws s3 mb"
    yield ["seal", "-q", "--key", key[:-12] + "0" * 12, model, place], {}, 31, "ARN, id or alias"
    yield ["inspect", place + "none"], {}, 41, "the key"
    yield ["inspect", model / "a"], {}, 50, "byte for byte"
    yield ["unseal", place + "none", tmp_path / "to"], {}, 41, ""
    yield ["unseal", model / "a", tmp_path / "to"], {}, 50, ""
    yield ["replay", model / "a"], {}, 71, "tpm2-measure.log"
    yield ["measure", model / "a"], {}, 70, "a UKI"
    yield ["policy", "check", model / "a"], {}, 74, ""
    yield ["doctor", model / "a"], {}, 2, "report.json"
    yield ["verify", model / "a"], {}, 72, "base64"
    yield ["attest", "--hex", "--tcti", "device:/dev/none"], {}, 20, "TCTI"


def test_advice_is_for_who_runs_the_command(sealboot, stack, key, place, tmp_path):  # noqa: F811
    model, odd = write(tmp_path / "m", {"a": b"GGUF and so on"}), write(tmp_path / "odd", {"a\tb.txt": b"x"})
    for arguments, variables, code, words in failures(model, odd, place, key, tmp_path, stack):
        result = refused(sealboot(*arguments, env=variables), code, words)
        assert not AGENTS_WORDS.search(result.stderr), result
        assert "decrypted" not in result.stderr and "Correct the file" not in result.stderr, result


def test_denied_by_kms(sealboot, stack, key, place, tmp_path):  # noqa: F811
    model = write(tmp_path / "m", {"a": b"a"})
    issued = stack.control.credentials()
    instance = {"AWS_ACCESS_KEY_ID": issued["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": issued["SecretAccessKey"],
                "AWS_SESSION_TOKEN": issued["Token"]}
    result = refused(sealboot("seal", "--key", key, model, place, env=instance), 30, "AccessDeniedException")
    assert "kms:GenerateDataKey" in result.stderr and not AGENTS_WORDS.search(result.stderr), result
    succeed(sealboot("seal", "--key", stack.create_key(), model, place))
    result = refused(sealboot("unseal", place, tmp_path / "to", env=instance), 30, "AccessDeniedException")
    assert "kms:Decrypt" in result.stderr and not AGENTS_WORDS.search(result.stderr), result


def test_a_report_that_is_cut_out_of_something_else(sealboot, tmp_path):
    (tmp_path / "console").write_text("[   12.3] sealboot-agent[99]: {}\n")
    refused(sealboot("doctor", tmp_path / "console"), 2, "Give the boot report by itself")


# --- what an object is

SPOILT = {
    "base64": (base64.b64encode, "the base64 text of a sealed file"),
    "base64 in lines": (base64.encodebytes, "the base64 text of a sealed file"),
    "hex": (lambda o: o.hex().encode(), "the hexadecimal text of a sealed file"),
    "gzip": (gzip.compress, "gzip-compressed"),
    "text": (lambda o: o.decode("utf-8", "replace").encode(), "stored as text"),
    "aws-chunked": (lambda o: b"%x\r\n" % len(o) + o + b"\r\n0\r\n\r\n", "aws-chunked"),
    "a line feed": (lambda o: o + b"\n", "1 trailing byte behind its final frame"),
    "frames behind it": (lambda o: o + bytes(300_000), "300000 trailing bytes behind"),
    "twice": (lambda o: o + o, "trailing bytes behind its final frame"),
    "one byte less": (lambda o: o[:-1], "lacks the last 1 byte of its final frame"),
    "a tag less": (lambda o: o[:-16], "lacks the last 16 bytes of its final frame"),
    "half": (lambda o: o[:len(o) // 2], "has no final frame behind its first "),
    "the header": (lambda o: o[:500], "has no final frame behind its first 0 whole frames"),
}


@pytest.mark.parametrize("where", ["local", "s3"])
@pytest.mark.parametrize("size", [0, 20_000, 200_000])
def test_inspect_says_what_it_is(sealboot, stack, key, place, tmp_path, where, size):  # noqa: F811
    (tmp_path / "w").write_bytes(data(size))
    succeed(sealboot("seal", "--key", key, "--frame-length", "65536", tmp_path / "w", tmp_path / "sealed"))
    sealed, target = (tmp_path / "sealed").read_bytes(), tmp_path / "target"
    header = succeed(sealboot("inspect", "--json", tmp_path / "sealed")).json["header_size"]
    for name, (spoil, words) in SPOILT.items():
        cut = name in ("half", "the header")
        spoilt = sealed[:header] if name == "the header" else spoil(sealed)
        if cut and size == 0 and name == "half":
            continue  # within the header
        target.write_bytes(spoilt)
        if where == "s3":
            stack.s3().put_object(Bucket=stack.bucket, Key=place.split("/", 3)[3] + "x", Body=spoilt)
        if name == "half" and size == 20_000:
            words = "lacks the last"  # of its only frame
        result = refused(sealboot("inspect", place + "x" if where == "s3" else target), 50, words)
        assert "inspect` shows" not in result.stderr, (name, result)
        if where == "local" and name != "half":
            refused(sealboot("unseal", target, tmp_path / "to"), 50)
    # What is whole is looked at as before.
    succeed(sealboot("inspect", tmp_path / "sealed"))


@pytest.mark.parametrize("name", ["base64", "hex", "gzip", "text", "aws-chunked", "a line feed"])
def test_the_agent_says_what_it_is(boot, name):
    spoil, words = SPOILT[name]
    single(boot, spoil(bytes(Sealed(b"GGUF" + bytes(9000), boot.data_key()))))
    boot.refused(50, "trailing bytes" if name == "a line feed" else words, "`sealboot inspect` shows what it is")


# --- names

REMOTE = [
    "arn:aws:s3:::models/", "arn:aws:s3:us-east-1:111122223333:accesspoint/ap/llama/",
    "s3://arn:aws:s3:us-east-1:111122223333:accesspoint/ap/llama/", "https://models.s3.us-east-1.amazonaws.com/llama/",
    "models.s3.amazonaws.com/llama/", "S3://models/llama/", "s3a://models/llama/", "s3:models/llama/",
    "s3:/models/llama/", "gs://models/llama/", "file:///srv/models/"
]


@pytest.mark.parametrize("name", REMOTE)
def test_what_is_not_local_is_no_local_path(sealboot, key, tmp_path, name):  # noqa: F811
    model, here = write(tmp_path / "m", {"a": b"a"}), tmp_path / "here"
    here.mkdir()
    for arguments in (["seal", "--key", key, model, name], ["seal", "--key", key, model / "a", name.rstrip("/") + "x"],
                      ["unseal", name, "to"], ["unseal", model, name], ["inspect", name], ["digest", name],
                      ["seal", "--key", key, name, "out/"]):
        result = refused(sealboot(*arguments, cwd=here), 2)
        assert "s3://" in result.stderr or "local" in result.stderr or "Give the path alone" in result.stderr, result
    assert "accesspoint" not in name or "alias" in sealboot("inspect", name).stderr
    assert not list(here.iterdir())


def test_digest_and_unseal_of_s3_names_where_only_local_ones_do(sealboot, key, place, tmp_path):  # noqa: F811
    model = write(tmp_path / "m", {"a": b"a"})
    refused(sealboot("digest", place), 2, "is not a local path", "'sealboot unseal' prints it")
    refused(sealboot("seal", "--key", key, place, tmp_path / "out/"), 2, "is not a local path", "download it first")
    refused(sealboot("unseal", model, place), 2, "is not a local path")
    refused(sealboot("verify", "--reference", place + "image.json", model / "a"), 61, "aws s3 cp")
    assert sorted(os.listdir(tmp_path)) == ["m"]


def test_the_bucket_of_a_policy(sealboot):
    for name, spelled in (("arn:aws:s3:::models/llama/", "s3://models/llama/"),
                          ("S3://models/llama/", "s3://models/llama/"), ("https://models.s3.amazonaws.com/llama/",
                                                                         "s3://models/llama/")):
        refused(sealboot("policy", "--for", "bucket", "--model", name), 2, f"Give it as {spelled}.")


def test_a_bucket_without_its_scheme(sealboot, key, tmp_path):  # noqa: F811
    model, here = write(tmp_path / "m", {"a": b"a"}), tmp_path / "here"
    here.mkdir()
    name = "no-such-bucket-of-mine/llama/"
    for arguments in (["seal", "--key", key, model, name], ["unseal", name, "to"], ["inspect", name]):
        refused(sealboot(*arguments, cwd=here), 61, f"give it as s3://{name}")
    assert not list(here.iterdir())
    # One that could be either is taken for a directory, and not without a word.
    assert "to      models/ (a local directory)" in succeed(sealboot("seal", "--key", key, model, "models/",
                                                                     cwd=here)).stdout
    assert "to      one (a local file)" in succeed(sealboot("seal", "--key", key, model / "a", "one", cwd=here)).stdout
    refused(sealboot("inspect", "none/x", cwd=here / "models"), 61, "s3://none/x")
    assert "s3://" not in refused(sealboot("inspect", "./none/x", cwd=here), 61).stderr


def test_a_local_path_that_looks_like_one(sealboot, key, tmp_path):  # noqa: F811
    model = write(tmp_path / "m", {"a": b"a"})
    succeed(sealboot("seal", "--key", key, model, "./arn:aws:s3:::models/", cwd=tmp_path))
    succeed(sealboot("unseal", "./arn:aws:s3:::models/", "./s3:x", cwd=tmp_path))
    assert read(tmp_path / "s3:x") == {"a": b"a"}


def test_empty_is_as_good_as_unset(sealboot, stack, key, place, tmp_path):  # noqa: F811
    model = write(tmp_path / "m", {"a": b"a"})
    credentials = tmp_path / "credentials"
    credentials.write_text(f"[default]\naws_access_key_id = {stack.env['AWS_ACCESS_KEY_ID']}\n"
                           f"aws_secret_access_key = {stack.env['AWS_SECRET_ACCESS_KEY']}\naws_session_token =\n")
    empty = {
        name: "" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
                              "AWS_REGION", "AWS_ENDPOINT_URL")
    }
    if "AWS_CA_BUNDLE" not in stack.env:
        empty["AWS_CA_BUNDLE"] = ""
    empty |= {"AWS_DEFAULT_REGION": stack.region, "AWS_SHARED_CREDENTIALS_FILE": str(credentials)}
    succeed(sealboot("seal", "--key", key, model, place, env=empty))
    tcti = {"TPM2TOOLS_TCTI": stack.variables["TPM2TOOLS_TCTI"]}
    succeed(sealboot("attest", "--tcti", "", "--hex", env=tcti))
    for arguments in (["attest", "--hex"], ["attest", "--hex", "--tcti="], ["replay", "--tpm=", tmp_path / "m/a"]):
        result = sealboot(*arguments, env={"TPM2TOOLS_TCTI": ""})
        assert "/dev/tpmrm0" in result.stderr or result.returncode in (0, 71), result


# --- files of the AWS tools

CREDENTIALS = {
    "aws configure": (
        "[other]\naws_access_key_id = x\n[default]\naws_access_key_id = {id}\naws_secret_access_key = {key}\n", {}),
    "no spaces, CRLF": ("[default]\r\naws_access_key_id={id}\r\naws_secret_access_key={key}\r\n", {}),
    "a byte order mark": ("\ufeff[default]\naws_access_key_id = {id}\naws_secret_access_key = {key}\n", {}),
    "capitals and colons": ("[default]\nAWS_ACCESS_KEY_ID: {id}\nAWS_Secret_Access_Key : {key}\n", {}),
    "comments": (
        "# one\n; two\n[default] # three\naws_access_key_id = {id} # four\n"
        "#aws_access_key_id = x\naws_secret_access_key = {key}\t; five\n"
        "region = eu-west-1\noutput = json\n", {}),
    "spaces around": ("[ default ]\n  aws_access_key_id = {id}  \n  aws_secret_access_key = {key}  \n", {}),
    "empty tokens": (
        "[default]\naws_access_key_id = {id}\naws_secret_access_key = {key}\n"
        "aws_session_token = \naws_security_token =\n",
        {}),
    "a quoted name": ('[profile "my own"]\naws_access_key_id = {id}\naws_secret_access_key = {key}\n',
                      {"AWS_PROFILE": "my own"}),
    "quoted values": ("[default]\naws_access_key_id = \"{id}\"\naws_secret_access_key = '{key}'\n", {}),
    "settings of services": (
        "[default]\naws_access_key_id = {id}\naws_secret_access_key = {key}\ns3 =\n  aws_access_key_id = x\n\n"
        "  # more\n  max_concurrent_requests = 20\n  aws_secret_access_key = x\nregion = x\n", {}),
    "indented, and an empty token first": (
        "[default]\n  aws_session_token =\n  aws_access_key_id = {id}\n  aws_secret_access_key = {key}\n", {}),
    "an old variable": ("[old]\naws_access_key_id = {id}\naws_secret_access_key = {key}\n",
                        {"AWS_DEFAULT_PROFILE": "old"}),
    "the newer one first": (
        "[old]\naws_access_key_id = x\naws_secret_access_key = x\n"
        "[new]\naws_access_key_id = {id}\naws_secret_access_key = {key}\n",
        {"AWS_DEFAULT_PROFILE": "old", "AWS_PROFILE": "new"}),
}


@pytest.mark.parametrize("where", ["credentials", "elsewhere", "config"])
@pytest.mark.parametrize("form", CREDENTIALS)
def test_credentials_as_the_tools_write_them(sealboot, stack, key, place, tmp_path, form, where):  # noqa: F811
    text, variables = CREDENTIALS[form]
    text = text.format(id=stack.env["AWS_ACCESS_KEY_ID"], key=stack.env["AWS_SECRET_ACCESS_KEY"])
    (tmp_path / ".aws").mkdir()
    if where == "config":
        text = re.sub(r"\[ *(old|new|other) *\]", r"[profile \1]", text)
        variables = {**variables, "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}
    if where == "elsewhere":
        variables = {**variables, "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/elsewhere"}
    (tmp_path / ".aws" / where).write_bytes(text.encode())
    unset = {name: "" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")}
    refused(sealboot("inspect", place + "none", env={**unset, "HOME": str(tmp_path), **variables}),
            41)  # known, and allowed to look


def test_credentials_of_a_kind_that_is_not_known(sealboot, place, tmp_path):  # noqa: F811
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text("[default]\nsso_session = x\ncredential_process = /bin/true\n")
    env = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": str(tmp_path)}
    refused(sealboot("inspect", place + "none", env=env), 13, "export-credentials", "/.aws/credentials",
            "/.aws/config has credential_process")
    (tmp_path / ".aws/credentials").write_text("[default]\naws_access_key_id = x\n")
    refused(sealboot("inspect", place + "none", env=env), 13, "export-credentials",
            "has no aws_access_key_id and aws_secret")
    refused(sealboot("inspect", place + "none", env={**env, "HOME": ""}), 13, "HOME is not either")
    (tmp_path / ".aws/credentials").write_text("[default]\nrole_arn = x\n")
    refused(sealboot("inspect", place + "none", env=env), 13,
            "has no aws_access_key_id and aws_secret_access_key, but role_arn")
    refused(sealboot("inspect", place + "none", env={**env, "AWS_PROFILE": "other"}), 13,
            "the file has no such profile")
    spaced = {**env, "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "x\n"}
    refused(sealboot("inspect", place + "none", env=spaced), 13, "AWS_SECRET_ACCESS_KEY has a space or a line's end")


def test_digests_with_and_without_their_prefix(sealboot, key, tmp_path):  # noqa: F811
    model = write(tmp_path / "m", {"a": b"a"})
    digest = succeed(sealboot("seal", "--json", "--key", key, model, tmp_path / "out/")).json["digest"]
    for i, text in enumerate((digest, digest.removeprefix("sha384:"), digest.removeprefix("sha384:").upper())):
        succeed(sealboot("unseal", "--digest", text, tmp_path / "out/", tmp_path / str(i)))
        refused(sealboot("verify", "--model-digest", text, tmp_path / "none"), 61)
    for wrong in ("", "sha384:", "sha256:" + digest[7:], digest + "0", "sha384:" + digest):
        refused(sealboot("unseal", "--digest", wrong, tmp_path / "out/", tmp_path / "x"), 2)
        refused(sealboot("verify", "--model-digest", wrong, tmp_path / "none"), 2)


# --- the digest by tools that know nothing of sealboot

def documented_pipelines(sealboot):
    """The command of the manual and that of --help, as one line of shell with DIRECTORY for the model's."""
    page = (ROOT / "policy/man/sealboot-digest.1").read_text().replace("\\e", "\\")
    yield re.search(r"^\$ (\(cd model;.*?\) \| sha384sum)$", page,
                    re.MULTILINE | re.DOTALL)[1].replace("cd model", "cd DIRECTORY")
    yield re.search(r"\(cd DIRECTORY;.*?\) \| sha384sum", succeed(sealboot("digest", "--help")).stdout, re.DOTALL)[0]


def test_any_name_goes_through_the_documented_pipeline(sealboot, tmp_path):
    names = [
        "-", "--", "-rf", "--help", "--hash-alg=sha512", "-dir/-file", "a b", " lead", "trail ", "*", "#x", "~", "\\",
        "a\\nb", "'q'", '"q"', "$HOME", "`x`", "ä€😀", "z" * 255, "Z", "_"
    ]
    model = write(tmp_path / "-model", {name: data(5000, i) for i, name in enumerate(names)})
    expected = succeed(sealboot("digest", "--json", "--", "-model", cwd=tmp_path)).json["digest"]
    pipelines = list(documented_pipelines(sealboot))
    assert len(pipelines) == 2
    for line in pipelines:
        done = subprocess.run(["bash", "-c", line.replace("DIRECTORY", f"'{model}'")], capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == "", done
        assert "sha384:" + done.stdout.split()[0] == expected, line
