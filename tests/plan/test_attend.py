"""A compiler that takes its process down with it, and goes on with the next program."""

import json
import signal
import sys

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.plan import attend as room

PROGRAM = """
import json, os, pathlib, signal, sys
plans = pathlib.Path(sys.argv[1]); number = int(sys.argv[2])
assert os.environ["XLMR_FLAX_PLAN_ATTENDED"]
if number and not (plans / "bad.json").exists():
    (plans / f"bad.{os.getpid()}.compiling").touch()
    os.kill(os.getpid(), number)
sys.exit(int(sys.argv[3]))
"""


@pytest.fixture
def attended(tmp_path, monkeypatch):
    """Attends a program that is ended by a signal at its first start, or with a code."""
    (tmp_path / "plans").mkdir()
    real = room.subprocess.Popen

    def start(command, env):
        return real([sys.executable, "-c", PROGRAM, str(tmp_path / "plans"), *command[3:]], env=env)

    monkeypatch.setattr(room.subprocess, "Popen", start)
    return lambda number, code: room.attend([str(int(number)), str(code)], tmp_path)


def test_the_exit_code_is_the_programs(attended):
    assert [attended(0, code) for code in (0, 2)] == [0, 2]


def test_after_a_crash_the_program_is_noted_and_the_rest_goes_on(attended, tmp_path):
    assert attended(signal.SIGSEGV, 0) == 0
    assert json.loads((tmp_path / "plans" / "bad.json").read_text())["fits"] is None
    assert [path.name for path in (tmp_path / "plans").iterdir()] == ["bad.json"]


def test_a_kill_is_no_crash_and_is_told(attended, tmp_path):
    with pytest.raises(InputError, match=r"ended by signal 9 \(Killed\); a large program takes 20 GB"):
        attended(signal.SIGKILL, 0)
    assert list((tmp_path / "plans").iterdir()) == []
