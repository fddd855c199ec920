"""The twins of the shipped studies from beginning to end, in one runs folder; minutes and headlines are printed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("xlmr-flax")
STUDIES = Path(__file__).parents[2] / "configs" / "studies"
TWINS = sorted(path.stem for path in STUDIES.glob("*_mini.toml"))
MINUTES = 40  # of all together, on two cores
took: dict[str, float] = {}


def program(*words: str, folder: Path) -> str:
    # a user has neither the tests' eight devices nor their unoptimised programs; `make studies` keeps what is compiled
    env = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "NPROC")}
    env["JAX_COMPILATION_CACHE_DIR"] = str(folder / "compiled")
    done = subprocess.run([PROGRAM, *words], cwd=folder, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all twins run: what one has computed is there for the others."""
    return tmp_path_factory.mktemp("studies")


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", TWINS)
def test_a_twin_ends_with_a_headline_that_states_effect_interval_and_seeds(folder: Path, name: str) -> None:
    start = time.monotonic()
    out = program("run", str(STUDIES / f"{name}.toml"), folder=folder)
    run = folder / out.splitlines()[-1]
    said = program("report", str(run), "--out", str(folder / f"report_{name}"), folder=folder)
    took[name] = (time.monotonic() - start) / 60
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    print(f"\n{name}: {took[name]:.1f} minutes, {len(results['rows']):,} rows\n{said}")
    assert {arm["arm"] for arm in results["study"]["arms"]} >= {row["arm"] for row in results["rows"]}
    headline = said.splitlines()[0]
    assert "95 % interval" in headline
    assert "seed" in headline
    assert sum(took.values()) <= MINUTES, took
    before = sorted((folder / "runs" / "phases").glob("*/DONE"))
    program("run", str(STUDIES / f"{name}.toml"), folder=folder)
    assert sorted((folder / "runs" / "phases").glob("*/DONE")) == before
