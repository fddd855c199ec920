"""The launch scripts in front of a cloud that is a folder."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = Path(__file__).with_name("stand_in.py")


class Cloud:
    """A folder in which scripts run, the programs that they find there, and what was asked of the cloud."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder / "laptop", folder / "cloud"
        programs = folder / "bin"
        for each in (self.folder / "configs", self.state / "bucket", programs):
            each.mkdir(parents=True)
        (self.folder / "configs" / "a.toml").write_text("name = 'a'\n", encoding="utf-8")
        (self.folder / "x-1.whl").write_bytes(b"wheel")
        for name in ("gcloud", "uv"):
            (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {STAND_IN} {name} "$@"\n')
            (programs / name).chmod(0o755)
        self.env = {"PATH": f"{programs}:{os.environ['PATH']}", "STAND_IN": str(self.state), "HOME": str(folder)}
        self.plan(workers=2)
        self.program('echo "worker $WORKER of $NODE runs $*"')

    def plan(self, **what) -> None:
        """What is going to happen, beside what was planned already."""
        path = self.state / "plan.json"
        path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | what))

    def program(self, text: str) -> None:
        """What stands for xlmr-flax on the workers."""
        (self.state / "program").write_text(text)

    def run(self, script: str, *words: str, poll: str = "0") -> subprocess.CompletedProcess:
        """A script with its words; what it prints is text."""
        command = [str(ROOT / "launch" / f"{script}.sh"), *(("--poll", poll) if poll else ()), *words]
        return subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=60)

    def ready(self) -> None:
        """A slice that is there and set up."""
        for script, more in (("create", ("--type", "v5litepod-16")), ("setup", ("--install", "x-1.whl"))):
            done = self.run(script, "pod", *more)
            assert done.returncode == 0, done.stderr

    def calls(self, *words: str) -> list[list[str]]:
        """Every command that the stand-in was given and that has these words in it."""
        path = self.state / "calls"
        found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [call for call in found if set(words) <= set(call)]


@pytest.fixture
def cloud(tmp_path):
    cloud = Cloud(tmp_path)
    yield cloud
    for path in cloud.state.glob("workers/*/xlmr_flax/job/pid"):  # a run outlives what started it
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(path.read_text()), signal.SIGKILL)


@pytest.fixture(scope="session")
def set_up(tmp_path_factory):
    """The state of a cloud with a slice of two workers that is set up."""
    cloud = Cloud(tmp_path_factory.mktemp("set_up"))
    cloud.ready()
    return cloud.state


@pytest.fixture
def pod(cloud, set_up):
    """A cloud with such a slice, `pod`."""
    shutil.copytree(set_up, cloud.state, dirs_exist_ok=True)
    return cloud
