# SPDX-License-Identifier: Apache-2.0
"""tests/release refuses what must not be tagged, in repositories of a few files."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CHANGELOG = "# Changes\n\n## 1.2.3, 2026-11-29\n\n## 1.2.2, 2026-10-01\n"


@pytest.fixture
def tree(tmp_path):
    """tree(*arguments, files={path: text}) is what tests/release says in a repository with these files, all
    committed."""
    env = {
        **os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"
    }
    env = {k: v for k, v in env.items() if k not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")}

    class Tree:
        def git(self, *arguments):
            subprocess.run(["git", "-C", tmp_path, *arguments], env=env, check=True, capture_output=True)

        def write(self, files):
            for path, text in files.items():
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / path).write_text(text)

        def commit(self, files):
            self.write(files)
            self.git("add", "--all")
            self.git("commit", "--quiet", "--allow-empty", "--message", "x")

        def release(self, *arguments):
            done = subprocess.run([tmp_path / "tests/release", *arguments], env=env, capture_output=True, text=True)
            return done.returncode, done.stdout + done.stderr

    made = Tree()
    made.git("init", "--quiet")
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests/release", tmp_path / "tests/release")
    made.commit({"meson.build": "project('sealboot', 'c',\n        version : '1.2.3',\n)\n", "CHANGELOG.md": CHANGELOG})
    return made


def test_passes(tree):
    assert tree.release("version", "tree") == (0, "== version\n== tree\n")


@pytest.mark.parametrize("files, words", [
    ({"CHANGELOG.md": CHANGELOG.replace("1.2.3", "1.2.4")}, "begins with '## 1.2.4, 2026-11-29'"),
    ({"CHANGELOG.md": CHANGELOG.replace("2026-11-29", "not released yet")}, "not released yet"),
    ({"CHANGELOG.md": "# Changes\n"}, "no heading of a version"),
    ({"meson.build": "project('sealboot', 'c',\n        version : '1.3.0',\n)\n"}, "begins with '## 1.2.3"),
    ({"meson.build": "project('sealboot', 'c')\n"}, "meson.build has no version"),
    ({"agent/x.c": '#define VERSION "1.2.3"\n'}, 'agent/x.c:1:#define VERSION "1.2.3"'),
    ({"README.md": "This is sealboot 1.2.3.\n"}, "README.md:1:This is sealboot 1.2.3."),
])
def test_refuses_a_version(tree, files, words):
    tree.commit(files)
    status, output = tree.release("version")
    assert status == 1 and words in output, output


def test_other_numbers_are_not_the_version(tree):
    tree.commit({"tests/x": "11.2.3 1.2.34 1.2.3.4 10.1.2.3 1x2y3\n", "tests/fixtures/x": "1.2.3\n"})
    assert tree.release("version")[0] == 0


def test_refuses_the_tag_of_another_commit(tree):
    tree.git("tag", "v1.2.3")
    assert tree.release("version")[0] == 0
    tree.commit({"agent/y.c": ""})
    status, output = tree.release("version")
    assert status == 1 and "the tag v1.2.3 is of another commit" in output, output


@pytest.mark.parametrize("files", [{"CHANGELOG.md": CHANGELOG + "\n"}, {"new.c": ""}], ids=["changed", "added"])
def test_refuses_a_tree_that_is_not_committed(tree, files):
    tree.write(files)
    status, output = tree.release("tree")
    assert status == 1 and "not what is committed" in output and next(iter(files)) in output, output


def test_dry_run_runs_nothing(tree):
    tree.commit({"CHANGELOG.md": "# Changes\n"})
    status, output = tree.release("--dry-run")
    assert status == 0 and "tests/check --images --whole" in output and "git archive" not in tree.release("--dry-run",
                                                                                                  "tree")[1]
    assert [line[3:] for line in output.splitlines()
            if line.startswith("== ")] == ["version", "tree", "manuals", "tarball", "check"]


def test_usage(tree):
    assert tree.release("nonsense") == (2, "release: there is no step 'nonsense'; see --help\n")
    status, output = tree.release("--help")
    assert status == 0 and "tarball" in output and "set -e" not in output


def test_the_version_of_this_tree_is_in_one_place():
    """What a release would refuse, but for the date that a release writes."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    done = subprocess.run([ROOT / "tests/release", "version"], capture_output=True, text=True)
    version = re.search(r"version : '([0-9.]+)'", (ROOT / "meson.build").read_text())[1]
    assert done.returncode == 0 or f"begins with '## {version}, not released yet'" in done.stderr, done.stderr
