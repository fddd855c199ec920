"""The shipped experiments from beginning to end, as a user starts them; their figures are printed."""

import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(sys.executable).with_name("xlmr-flax")
CONFIGS = Path(__file__).parents[2] / "configs"
CHANCE = 1 / 300  # of a sentence's translation among all


def run(config: str, folder: Path, *words: str) -> tuple[dict[str, Any], float]:
    """The results of an experiment, and its minutes."""
    start = time.monotonic()
    # a user has neither the tests' eight devices nor their unoptimised programs
    env = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "NPROC")}
    done = subprocess.run(
        [PROGRAM, "run", CONFIGS / config, *words], cwd=folder, capture_output=True, text=True, check=False, env=env
    )
    assert done.returncode == 0, done.stderr
    print(f"\n{done.stdout}")
    results = json.loads((folder / done.stdout.splitlines()[-1] / "results.json").read_text())
    return results, (time.monotonic() - start) / 60


def mean(results: dict[str, Any], arm: str, task: str, metric: str) -> float:
    (entry,) = (e for e in results["summary"] if (e["arm"], e["task"], e["metric"]) == (arm, task, metric))
    return entry["mean_of_others"]


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_demo_transfers_and_its_control_does_not(tmp_path: Path, seed: int) -> None:
    results, minutes = run("demo.toml", tmp_path, f"seed={seed}")
    tagging = {arm: mean(results, arm, "udpos", "accuracy") for arm in ("intermediate", "direct", "control")}
    retrieval = mean(results, "direct", "tatoeba", "accuracy_centred")
    peak_gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(
        f"seed {seed}: tagging {tagging}, centred retrieval {retrieval:.3f}, {minutes:.1f} minutes, {peak_gib:.1f} GiB"
    )
    assert tagging["direct"] >= tagging["control"] + 0.15
    assert tagging["intermediate"] >= tagging["control"] + 0.15
    assert retrieval >= 20 * CHANCE
    assert minutes <= 8
    assert peak_gib <= 4


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_real_files_go_through_the_three_phases(tmp_path: Path, real_data: Path) -> None:
    results, minutes = run("real_small.toml", tmp_path, "--data", str(real_data))
    peak_gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"real files: {minutes:.1f} minutes, {peak_gib:.1f} GiB")
    rows = [row for row in results["rows"] if row["arm"] == "intermediate"]
    assert all(row["n_scored"] == row["n_dataset"] for row in results["rows"])
    assert Counter(row["task"] for row in rows if row["metric"] in ("accuracy", "exact_match")) == {
        "tatoeba": 10, "udpos": 7, "xquad": 8,
    }  # fmt: skip
    counted = {(row["task"], row["lang"]): row["n_scored"] for row in rows}
    for lang, iso3 in (("de", "deu"), ("sw", "swh"), ("ja", "jpn")):
        file = real_data / "tatoeba" / f"tatoeba.{iso3}-eng.{iso3}"
        assert counted["tatoeba", lang] == len(file.read_text(encoding="utf-8").splitlines())
    for lang in ("de", "vi", "yo", "zh"):
        (file,) = (real_data / "ud").glob(f"UD_*/{lang}_*-ud-test.conllu")
        assert counted["udpos", lang] == file.read_text(encoding="utf-8").count("# text = ")
    halves = {counted["xquad", lang] for lang in ("en", "de", "es", "ru", "zh", "hi", "ar", "tr")}
    assert len(halves) == 1
    assert all("transductive" in row["flags"] for row in rows)
    assert minutes <= 20
