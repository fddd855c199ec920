"""The twins of the shipped studies from beginning to end, in one runs folder; minutes and headlines are printed."""

import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xlmr_flax.report.curves import FEWEST_SIZES

PROGRAM = Path(sys.executable).with_name("xlmr-flax")
STUDIES = Path(__file__).parents[2] / "configs" / "studies"
TWINS = sorted(path.stem for path in STUDIES.glob("*_mini.toml"))
MINUTES = 40  # of all together, on two cores
HEADLINE = (
    r" (by \d+\.\d points|where it was \(0\.0 points\)) against .* "
    r"\(95 % interval of the difference [+−]\d+\.\d to [+−]\d+\.\d, .*; \d seeds\)\.$"
)
OTHERS = "targets_languages_other_than_english"
ANSWERS = {"table": {OTHERS}, "size": {OTHERS, "fits"}, "scale": {"scales"}, "robustness": {"robustness", "fits"}}
took: dict[str, float] = {}


def program(*words: str, folder: Path) -> str:
    # a user has neither the tests' eight devices nor their unoptimised programs; `make studies` keeps what is compiled
    env = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "NPROC")}
    env["JAX_COMPILATION_CACHE_DIR"] = str(folder / "cache" / "compiled")
    done = subprocess.run([PROGRAM, *words], cwd=folder, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def processor() -> float:
    """The seconds of processor that all programs so far have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all twins run: what one has computed is there for the others."""
    return tmp_path_factory.mktemp("studies")


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", TWINS)
def test_a_twin_ends_with_a_headline_that_states_effect_interval_and_seeds(folder: Path, name: str) -> None:
    start, used = time.monotonic(), processor()
    out = program("run", str(STUDIES / f"{name}.toml"), folder=folder)
    took[name] = (time.monotonic() - start) / 60
    run = folder / out.splitlines()[-1]
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    said = program("report", str(run), "--out", str(folder / f"report_{name}"), folder=folder)
    report = json.loads((folder / f"report_{name}" / "results.json").read_text(encoding="utf-8"))
    print(f"\n{name}: {took[name]:.1f} minutes ({sum(took.values()):.1f} with those before)")
    print(f"{processor() - used:.0f} s of processor, load {os.getloadavg()[0]:.1f}, {len(results['rows']):,} rows")
    print(said)
    assert {arm["arm"] for arm in results["study"]["arms"]} == {row["arm"] for row in results["rows"]}
    assert re.search(HEADLINE, said.splitlines()[0]), said
    assert {table["name"] for table in report["tables"]} >= ANSWERS[report["question"]]
    assert all(len(curve["points"]) >= FEWEST_SIZES for curve in report["sizes"])
    assert report["question"] != "size" or any(curve["fit"] for curve in report["sizes"])
    assert any(not row["flags"] for row in results["rows"]), "nothing learnt anything"
    assert sum(took.values()) <= MINUTES, took
    before = sorted((folder / "runs" / "phases").glob("*/DONE"))
    program("run", str(STUDIES / f"{name}.toml"), folder=folder)
    assert sorted((folder / "runs" / "phases").glob("*/DONE")) == before
