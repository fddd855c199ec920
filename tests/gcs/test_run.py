"""A run whose folders are in a bucket: killed, continued by another machine, read again, scored by hand."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xlmr_flax.storage.places import look

pytestmark = pytest.mark.gcs
WAIT_SECS = 600

CONFIG = """
name = "bucket"
seed = 1
[world]
languages = ["x1"]
documents = 40
nli = { train = 48, dev = 12, test = 12 }
paraphrase = { train = 5, dev = 5, test = 5 }
tagging = { train = 5, dev = 5, test = 5 }
questions = { train = 5, dev = 5, test = 5 }
choice = { train = 5, dev = 5, test = 0 }
retrieval_pairs = 11
[text]
files = ["text/*.txt"]
[tokenizer]
vocab_size = 120
[model]
preset = "tiny"
compute = "float32"
[save]
every_steps = 4
[[phases]]
name = "pretrain"
tasks = ["mlm"]
length = 16
batch_size = 8
steps = 30
optim = { peak_lr = 1e-3 }
[[phases]]
name = "nli"
parent = "pretrain"
tasks = ["xnli"]
length = 32
batch_size = 8
steps = 6
optim = { peak_lr = 1e-3 }
selection = { every_steps = 3 }
[[evaluations]]
phase = "nli"
tasks = ["xnli"]
[[evaluations]]
phase = "nli"
tasks = ["tatoeba"]
layers = [1]
"""


@pytest.fixture
def start(clients, tmp_path):
    """Starts the program on a machine: with this machine's copies in a folder of its own."""
    (tmp_path / "config.toml").write_text(CONFIG, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | clients

    def start(*words, machine, runs, cache):
        command = [sys.executable, "-m", "xlmr_flax.cli", *words, "--runs", str(runs), "--cache", str(cache)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        copies = {"XDG_CACHE_HOME": str(tmp_path / machine)}
        return subprocess.Popen(command, env=environment | copies, cwd=tmp_path, **pipes)

    return start


def ended(process):
    out, err = process.communicate(timeout=WAIT_SECS)
    assert process.returncode == 0, err
    return out, err


def phase_folder(runs, name):
    return next(path for path in (runs / "phases").iterdir() if path.name.startswith(name))


def rows(text):
    """The rows of a log without their rates."""
    told = [json.loads(line) for line in text.splitlines()]
    return [{name: value for name, value in row.items() if "second" not in name} for row in told]


def test_a_kill_in_a_bucket_is_continued_elsewhere_with_the_same_bits(folder, start, tmp_path):
    here = {"runs": tmp_path / "runs", "cache": tmp_path / "cache"}
    there = {"runs": folder / "runs", "cache": folder / "cache"}
    undisturbed = start("run", "config.toml", machine="a", **here)
    first = start("run", "config.toml", machine="a", **there)
    while first.poll() is None and not any(
        path.name == "8"
        for phase in ((folder / "runs" / "phases").iterdir() if (folder / "runs" / "phases").is_dir() else ())
        if (phase / "checkpoints" / "training").is_dir()
        for path in (phase / "checkpoints" / "training").iterdir()
    ):
        time.sleep(0.05)
    assert first.poll() is None, first.communicate()
    first.kill()
    first.communicate()
    assert not (phase_folder(folder / "runs", "pretrain") / "DONE").is_file()
    out, err = ended(start("run", "config.toml", machine="b", **there))
    assert "that process is no more: going on from what it saved" in err
    assert "pretrain: continues at step" in err

    straight = ended(undisturbed)[0].splitlines()[-1]
    run = out.splitlines()[-1]
    assert run == f"{folder}/runs/{straight.rpartition('/')[2]}"
    results = json.loads(look(folder / "runs" / run.rpartition("/")[2] / "results.json").content)
    assert results == json.loads((Path(straight) / "results.json").read_text(encoding="utf-8"))
    for name in ("pretrain", "nli"):
        log = look(phase_folder(folder / "runs", name) / "train.jsonl").content.decode()
        assert rows(log) == rows((phase_folder(here["runs"], name) / "train.jsonl").read_text(encoding="utf-8"))
        done = json.loads(look(phase_folder(folder / "runs", name) / "DONE").content)
        assert done == json.loads((phase_folder(here["runs"], name) / "DONE").read_text(encoding="utf-8"))
        assert list((phase_folder(folder / "runs", name) / "tensorboard").iterdir())
        assert not (phase_folder(folder / "runs", name) / "checkpoints" / "training").exists()

    world = next((folder / "runs" / "worlds").iterdir())  # a third machine reads it
    again = start("run", "config.toml", machine="c", **there)
    scored = start("eval", run, "--tasks", "tatoeba", "--data", str(world), machine="c", **there)
    exported = start("export", run, f"{folder}/exported", machine="c", **there)
    straightly = start("export", straight, str(tmp_path / "exported"), machine="a", **here)
    assert ended(again)[0] == out
    assert "tatoeba" in ended(scored)[0]
    assert ended(exported)[0].strip() == f"{folder}/exported"
    ended(straightly)
    bits = (look(place / "exported" / "model.safetensors").content for place in (folder, tmp_path))
    assert len(set(bits)) == 1
