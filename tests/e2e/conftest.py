# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests: a fresh local stack per module, and the programs of a build run against it.

SEALBOOT_BUILD names the build directory; without it, tests that run our programs are skipped."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import boots  # noqa: E402
from stack import session  # noqa: E402

# nohup(1) and a shell's background ignore them, and what is ignored is inherited: by programs that are to be stopped,
# too.
for number, handler in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler),
                        (signal.SIGQUIT, signal.SIG_DFL)):
    signal.signal(number, handler)



def pytest_addoption(parser):
    parser.addoption("--cases", type=int, help="of each table of cases, only so many, spread over the whole table")


def pytest_collection_modifyitems(config, items):
    if not (cases := config.getoption("cases")):
        return
    tables = {}
    for item in items:
        tables.setdefault((item.path, item.originalname), []).append(item)
    kept = {table[i * len(table) // min(cases, len(table))] for table in tables.values()
            for i in range(min(cases, len(table)))}
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


class Completed:
    """A finished program: returncode, stdout, stderr as text; json: its output parsed; report: the agent's boot
    report."""

    def __init__(self, process: subprocess.CompletedProcess, report: pathlib.Path | None = None):
        self.args, self.returncode = process.args, process.returncode
        self.stdout, self.stderr = process.stdout, process.stderr
        self.report = json.loads(report.read_text()) if report and report.exists() else None

    @property
    def json(self):
        return json.loads(self.stdout)

    def __repr__(self):
        return f"<{' '.join(map(str, self.args))} -> {self.returncode}\n{self.stdout}\n{self.stderr}>"


@pytest.fixture(scope="module")
def stack():
    running = session.start()
    yield running
    session.end(running)


@pytest.fixture(autouse=True)
def _calm(request):
    if "stack" in request.fixturenames:
        request.getfixturevalue("stack").calm()


@pytest.fixture(scope="session")
def build() -> pathlib.Path:
    directory = os.environ.get("SEALBOOT_BUILD")
    if not directory:
        pytest.skip("SEALBOOT_BUILD is not set")
    return pathlib.Path(directory)


@pytest.fixture
def sealboot(build, stack):
    """sealboot("seal", ..., env={more variables}) runs the owner's program."""
    def call(*arguments, env=None, wrapper=(), **more) -> Completed:
        return Completed(
            session.run([*wrapper, build / "policy/sealboot", *arguments], env={**stack.env, **(env or {})}, **more))
    return call


@pytest.fixture
def agent(build, stack, tmp_path):
    """agent(config, ...) runs the agent on that configuration (a dict, or text to be taken as it is), with an
    environment that must not matter to it. The boot report is in .report, None if there is none."""
    def call(config, *arguments, tcti=None, wrapper=(), **more) -> Completed:
        path, report = tmp_path / "agent.json", tmp_path / "report.json"
        path.write_text(config if isinstance(config, str) else json.dumps(config, indent=2))
        report.unlink(missing_ok=True)
        environment = {k: v for k, v in stack.env.items() if not k.startswith(("AWS_", "TPM2"))}
        process = session.run([*wrapper, build / "agent/sealboot-agent", "--config", path, "--report", report, "--tcti",
                       tcti or stack.variables["TPM2TOOLS_TCTI"], *arguments], env=environment, **more)
        return Completed(process, report)
    return call


@pytest.fixture
def model_directory():
    """A directory in memory, as the agent demands."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="sealboot-test-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def boot(stack, agent, model_directory, tmp_path):
    return boots.Boot(stack, agent, model_directory, tmp_path)


@pytest.fixture(scope="module")
def key(stack):
    return stack.create_key(pcrs={})


@pytest.fixture
def place(stack, request):
    """A prefix of the test's own."""
    return f"s3://{stack.bucket}/{request.node.name.replace('[', '-').rstrip(']')}/"


@pytest.fixture
def printed(build):
    """printed("measure", ..., code=0) runs the owner's program without a stack, requires that exit code, and returns
    what it printed."""
    def call(*arguments, code=0):
        done = subprocess.run([build / "policy/sealboot", *map(str, arguments)], capture_output=True, text=True,
                              timeout=60)
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stdout + done.stderr
    return call
