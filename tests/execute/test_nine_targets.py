"""All nine targets of XTREME from one intermediate task: the shipped experiment, and the folder that it submits."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from xlmr_flax.config.load import load
from xlmr_flax.graph.build import build
from xlmr_flax.graph.nodes import EvalNode, PhaseNode
from xlmr_flax.report.xtreme import xtreme
from xlmr_flax.tasks.catalogue import task

PROGRAM = Path(sys.executable).with_name("xlmr-flax")
CONFIG = Path(__file__).parents[2] / "configs/xtreme_mini.toml"
NINE = tuple(xtreme("xtreme"))
# Of the invented languages: of chance, and of a score that takes some learning.
LEARNED = {"udpos": 0.6, "panx": 0.5, "xquad": 0.2, "mlqa": 0.2}


@pytest.fixture(scope="module")
def graph():
    return build(load(CONFIG, []))


def test_the_nine_are_those_of_xtreme(graph):
    assert {node.task for node in graph.nodes if isinstance(node, EvalNode)} == set(NINE)
    assert len(NINE) == 9


def test_one_intermediate_task_serves_every_target(graph):
    phases = {node.name: node for node in graph.nodes if isinstance(node, PhaseNode)}
    targets = {name: node for name, node in phases.items() if name not in ("pretrain", "intermediate")}
    assert {node.parent.name for node in targets.values()} == {"intermediate"}
    assert len({node.parent.key for node in targets.values()}) == 1
    scored = {node.task: node.phase.name for node in graph.nodes if isinstance(node, EvalNode)}
    assert {scored["bucc2018"], scored["tatoeba"]} == {"intermediate"}  # retrieval needs no target training
    assert scored["xquad"] == scored["mlqa"]


def test_every_language_of_the_world_is_scored(graph):
    for node in graph.nodes:
        if isinstance(node, EvalNode):
            english = () if task(node.task).head.kind == "embedding" else ("en",)
            assert node.langs == (*english, "x1", "x2", "x3")


def start(*words: object, cwd: Path) -> str:
    """What the program prints, with the devices of its config and not those of these tests."""
    alone = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "NPROC")}
    done = subprocess.run([PROGRAM, *words], cwd=cwd, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def summary(results: dict[str, Any], name: str) -> dict[str, Any]:
    (entry,) = (e for e in results["summary"] if (e["task"], e["metric"]) == (name, task(name).metric))
    return entry


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_shipped_experiment_scores_all_nine_and_submits_them(tmp_path, graph):
    before = time.monotonic()
    run = start("run", CONFIG, cwd=tmp_path).splitlines()[-1]
    minutes = (time.monotonic() - before) / 60
    results = json.loads((tmp_path / run / "results.json").read_text())
    (world,) = (tmp_path / "runs/worlds").iterdir()
    told = start("eval", run, "--data", world, "--tasks", ",".join(NINE), "--submission", "sent", cwd=tmp_path)
    print(f"\n{told}\nnine targets: {minutes:.1f} minutes")
    for node in (node for node in graph.nodes if isinstance(node, EvalNode)):
        suffix = "json" if task(node.task).head.kind == "span" else "tsv"
        sent = {path.name for path in (tmp_path / "sent" / node.task).iterdir()}
        assert sent == {f"test-{lang}.{suffix}" for lang in node.langs}
        rows = [row for row in results["rows"] if row["task"] == node.task]
        assert {row["lang"] for row in rows} == set(node.langs)
        assert all(row["n_scored"] == row["n_dataset"] > 0 for row in rows)
    for name, least in LEARNED.items():
        assert summary(results, name)["mean_of_others"] >= least, name
    assert minutes <= 6
