"""A whole run by two processes, as on two hosts: one table, one log, every example scored once."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.timeout(1800)
hosts = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "hosts.py")))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of the runs, and how the two processes ended."""
    root = tmp_path_factory.mktemp("hosts")
    (root / "tiny.toml").write_text(hosts.TINY)
    words = ["run", str(root / "tiny.toml"), "--runs", str(root / "runs"), "--cache", str(root / "cache")]
    return root / "runs", hosts.Hosts(root / "said", 2, words).ended(1500)


def test_both_end_well_and_one_speaks(run):
    runs, (first, second) = run
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert Path(first.out.splitlines()[-1]).resolve().parent == runs
    assert (second.out, second.err) == ("", "")
    assert "Gloo" not in first.out + first.err
    assert "coordination" not in first.err


def test_each_step_is_logged_once_and_each_example_scored_once(run):
    runs, _ = run
    (log,) = runs.glob("phases/nli-*/train.jsonl")
    assert [row["step"] for row in map(json.loads, log.read_text().splitlines())] == [5, 7, 7]
    (results,) = runs.glob("hosts-*/results.json")
    found = {(row["task"], row["lang"]): row for row in json.loads(results.read_text())["rows"]}
    counts = {key: (row["n_scored"], row["n_dataset"]) for key, row in found.items()}
    assert counts == {("tatoeba", "x1"): (23, 23), ("xnli", "en"): (17, 17), ("xnli", "x1"): (17, 17)}


def test_nothing_is_left_of_what_only_one_process_used(run):
    runs, _ = run
    assert not list(runs.glob("evals/*/embeddings*"))
    assert [path.name for path in runs.glob("phases/nli-*/checkpoints/*")] == ["selected"]
    assert not list(runs.rglob("*.partial"))


def test_the_devices_of_both_are_recorded(run):
    runs, _ = run
    (host,) = (json.loads(path.read_text()) for path in runs.glob("phases/nli-*/host.json"))
    assert host["mesh"] == {"data": 2, "fsdp": 1, "tensor": 1}
    assert {shape["rows_per_device"] for shape in host["shapes"]} == {4}
