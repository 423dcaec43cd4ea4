# SPDX-License-Identifier: Apache-2.0
"""Manuals are found: by man -k, by the names of verbs, and from each other; and each is installed."""

import json
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGES = sorted(ROOT.glob("*/man/*.[1-8]"))


def section(page: str, name: str) -> str:
    return re.search(rf"^\.Sh {name}\n(.*?)(?=^\.Sh |\Z)", page, re.M | re.S)[1]


def plain(text: str) -> str:
    """The text of a macro's arguments, as a reader sees it."""
    return re.sub(r"\s+", " ", text).strip()


@pytest.fixture(scope="module")
def verbs(build) -> dict:
    """{verb: what sealboot --help says of it}"""
    done = subprocess.run([build / "policy/sealboot", "--help"], capture_output=True, text=True, check=True)
    found = dict(re.findall(r"^  ([a-z]+) +(.*)$", done.stdout, re.M))
    assert len(found) >= 10 and "seal" in found, done.stdout
    return found


def test_there_are_manuals():
    assert {"sealboot.1", "sealboot-seal.1", "sealboot-agent.8"} <= {page.name for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_name(page):
    """One word, which is the file's: programs that index manuals take no name with a space. And one line of what it
    is."""
    text = page.read_text()
    assert re.fullmatch(rf"\.Nm {page.stem}\n\.Nd (\S.*)\n", section(text, "NAME")), section(text, "NAME")
    assert f"\n.Dt {page.stem.upper()} {page.suffix[1:]}\n" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lexgrog_reads_the_name(page):
    """man-db's, on Debian and on Amazon Linux."""
    if not shutil.which("lexgrog"):
        pytest.skip("no lexgrog: man-db is not installed")
    done = subprocess.run(["lexgrog", page], capture_output=True, text=True)
    description = re.search(r"^\.Nd (.*)$", page.read_text(), re.M)[1]
    assert done.returncode == 0 and f'"{page.stem} - {description}"' in done.stdout, done.stdout + done.stderr


def test_man_k_finds_each(tmp_path):
    """mandoc's index and its man -k, over a tree of our manuals alone."""
    makewhatis = shutil.which("makewhatis", path="/usr/sbin:/sbin:/usr/bin:/bin")
    search = shutil.which("mapropos")
    if not makewhatis or not search:
        pytest.skip("no makewhatis or no mapropos: mandoc is not installed")
    for page in PAGES:
        directory = tmp_path / f"man{page.suffix[1:]}"
        directory.mkdir(exist_ok=True)
        shutil.copy(page, directory)
    done = subprocess.run([makewhatis, "-p", tmp_path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done
    for page in PAGES:
        found = subprocess.run([search, "-M", tmp_path, f"Nm={page.stem}"], capture_output=True, text=True).stdout
        description = re.search(r"^\.Nd (.*)$", page.read_text(), re.M)[1]
        assert f"{page.stem}({page.suffix[1:]}) - {description}\n" in found, found


def test_each_verb_has_a_manual(verbs):
    assert {f"sealboot-{verb}.1" for verb in verbs} == {page.name for page in PAGES if page.name.startswith("sealboot-")
                                                        and page.suffix == ".1"}


def test_sealboot_1_lists_the_verbs(verbs):
    """In the words of --help, each with its manual; and all of them under SEE ALSO."""
    page = (ROOT / "policy/man/sealboot.1").read_text()
    listed = dict(re.findall(r"^\.It Cm ([a-z]+)\n(.*?)(?=^\.(?:It|El))", section(page, "DESCRIPTION"), re.M | re.S))
    assert {verb: plain(text) for verb, text in listed.items()} == \
        {verb: f"{words}: .Xr sealboot-{verb} 1" for verb, words in verbs.items()}
    assert list(listed) == sorted(listed)
    assert set(re.findall(r"^\.Xr (\S+) 1", section(page, "SEE ALSO"), re.M)) == {f"sealboot-{verb}" for verb in verbs}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_references_lead_somewhere(page):
    names = {page.name for page in PAGES}
    ours = [f"{name}.{number}" for name, number in re.findall(r"\.?\bXr (sealboot\S*) (\d)", page.read_text())]
    assert set(ours) <= names, set(ours) - names


def test_each_is_installed(build):
    if not shutil.which("meson"):
        pytest.skip("no meson")
    done = subprocess.run(["meson", "introspect", "--installed", build], capture_output=True, text=True, check=True)
    installed = {pathlib.Path(path).name for path in json.loads(done.stdout).values()}
    assert {page.name for page in PAGES} - installed == set()
