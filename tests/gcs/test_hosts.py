"""Two hosts that see each other's files in a bucket alone, and one that goes on from what they saved."""

import json
import os
import runpy
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from xlmr_flax.storage.places import look

hosts = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "hosts.py")))
pytestmark = [pytest.mark.gcs, pytest.mark.timeout(1800)]


def phase_in(runs):
    """The folder of the only phase, once there is one."""
    found = list((runs / "phases").iterdir()) if (runs / "phases").is_dir() else []
    return next((path for path in found if path.name.startswith("nli-")), None)


def saved(runs):
    """The steps of the checkpoints of its training."""
    folder = phase_in(runs) and phase_in(runs) / "checkpoints" / "training"
    return [int(path.name) for path in folder.iterdir() if path.name.isdigit()] if folder and folder.is_dir() else []


def test_two_hosts_save_into_a_bucket_and_one_goes_on_from_there(folder, tmp_path):
    (tmp_path / "tiny.toml").write_text(hosts.TINY, encoding="utf-8")
    runs = folder / "runs"
    words = ["run", str(tmp_path / "tiny.toml"), "phases.nli.steps=40", "phases.nli.selection.every_steps=20"]
    words += ["mesh.fsdp=2", "--runs", str(runs), "--cache", str(folder / "cache")]
    own = {"XDG_CACHE_HOME": str(tmp_path / "machine-{}")}
    started = hosts.Hosts(tmp_path / "two", 2, words, own=own)
    started.wait_for(lambda: saved(runs))
    os.kill(started.started[1].pid, signal.SIGTERM)
    first, second = started.ended(600)
    assert (first.code, second.code) == (75, 75), first.err + second.err
    stopped = int(first.err.splitlines()[-1].split()[3])
    assert max(saved(runs)) == stopped < 40
    log = look(phase_in(runs) / "train.jsonl").content.decode()
    assert all(json.loads(line)["step"] <= stopped for line in log.splitlines())

    again = {"XDG_CACHE_HOME": str(tmp_path / "another-{}")}
    (ended,) = hosts.Hosts(tmp_path / "one", 1, words, devices=2, own=again).ended(900)
    assert ended.code == 0, ended.err
    assert f"nli: continues at step {stopped}" in ended.err
    run = ended.out.splitlines()[-1]
    rows = json.loads(look(runs / run.rpartition("/")[2] / "results.json").content)["rows"]
    counts = {(row["task"], row["lang"]): (row["n_scored"], row["n_dataset"]) for row in rows}
    assert counts == {("tatoeba", "x1"): (23, 23), ("xnli", "en"): (17, 17), ("xnli", "x1"): (17, 17)}
    assert [path.name for path in (phase_in(runs) / "checkpoints").iterdir()] == ["selected"]
