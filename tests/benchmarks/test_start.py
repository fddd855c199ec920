"""How soon the program answers, in seconds of the processor: what a busy machine adds says nothing of the program."""

import os
import resource
import runpy
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.bench

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(sys.executable).with_name("xlmr-flax")
TIMES = 5
SMALL = runpy.run_path(str(ROOT / "tests" / "small.py"))["SMALL"]


def start(*words):
    own = ("XLA_FLAGS", "JAX_", "XLMR_FLAX_", "NPROC")
    env = {name: value for name, value in os.environ.items() if not name.startswith(own)} | {"JAX_PLATFORMS": "cpu"}
    return subprocess.run([PROGRAM, *words], cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout


def seconds(*words):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start(*words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(
    ("words", "most"),
    [
        (("--help",), 0.5),
        (("check", "configs/demo.toml"), 1.0),
        (("run", "configs/studies/paper.toml", "--dry"), 2.0),
    ],
    ids=["help", "check", "dry"],
)
def test_it_answers_at_once(words, most, record):
    took = statistics.median(seconds(*words) for _ in range(TIMES))
    record(f"xlmr-flax {' '.join(words)}", f"{took:.2f} s", wanted=f"< {most} s")
    assert took < most


def test_a_finished_run_prints_its_table_at_once(tmp_path, record):
    words = ("run", "configs/demo.toml", *SMALL, "--runs", str(tmp_path / "runs"), "--cache", str(tmp_path / "cache"))
    table = start(*words)
    took = statistics.median(seconds(*words) for _ in range(TIMES))
    assert start(*words) == table
    record("xlmr-flax run of what is finished", f"{took:.2f} s", wanted="< 2 s")
    assert took < 2
