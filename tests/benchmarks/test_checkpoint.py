"""What a save adds to a run on the CPU, and what memory a restore of XLM-R Large takes.

XLMR_FLAX_BENCH_SAVE_STEPS makes the run shorter. Large needs 9 GiB of memory and 7 GB of disk.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.bench, pytest.mark.long, pytest.mark.timeout(4 * 3600)]

STEPS = int(os.environ.get("XLMR_FLAX_BENCH_SAVE_STEPS", 100))
SAVE_SHARE_AT_MOST, MEMORY_AT_MOST = 0.05, 1.3


def worker(*arguments: object) -> dict:
    """A process of its own: this one has eight simulated devices and compiles without optimising."""
    left_out = ("XLA_FLAGS", "NPROC")
    env = {name: value for name, value in os.environ.items() if name not in left_out} | {"JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(Path(__file__).with_name("checkpoint_worker.py")), *map(str, arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, env=env, check=True).stdout)


def test_a_save_in_the_background_adds_little_to_a_run(tmp_path):
    """By the steps during the save, against those before and after it: a machine that slows down slows all of them."""
    found = worker("train", tmp_path / "base", "base", STEPS)
    saving, usual = found["while saving"], np.mean(found["plain"])
    added = sum(saving) - len(saving) * usual + found["blocked"]
    print(f"\nbase, {STEPS} steps of 8 x 64 tokens, one save of {found['bytes'] / 1e9:.2f} GB after half of them")
    print(f"a step takes {usual:.2f} s, {np.mean(saving):.2f} s in the {len(saving)} steps during the save")
    print(f"the loop stands still for {found['blocked']:.2f} s")
    print(f"a save adds {added:.1f} s to {STEPS * usual:.1f} s: {added / (STEPS * usual):.1%}")
    assert added < SAVE_SHARE_AT_MOST * STEPS * usual


def test_restoring_large_takes_little_more_memory_than_its_state(tmp_path):
    try:
        worker("save", tmp_path / "large", "large")
        found = worker("restore", tmp_path / "large", "large")
    finally:
        shutil.rmtree(tmp_path / "large", ignore_errors=True)
    size, peak = found["bytes"], found["peak"]
    print(f"\nXLM-R Large's state: {size / 1e9:.2f} GB, read and compared in {found['seconds']:.0f} s")
    print(f"most memory: {peak / 1e9:.2f} GB, of which {found['before'] / 1e9:.2f} GB before the restore began")
    print(f"{peak / size:.2f} times the state")
    assert 6.6e9 < size < 6.9e9
    assert peak < MEMORY_AT_MOST * size
