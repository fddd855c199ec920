"""Commands whose folders are in a bucket: data that is fetched there, weights, a report, a submission, predictions."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from xlmr_flax import cli
from xlmr_flax.config.architecture import PRESETS, Architecture
from xlmr_flax.config.world import WorldSettings
from xlmr_flax.data.tokenizer import load_tokenizer, train_tokenizer
from xlmr_flax.model.build import build
from xlmr_flax.model.export import export
from xlmr_flax.model.heads import HeadSpec
from xlmr_flax.sources.miniworld.write import write_world
from xlmr_flax.storage.copies import local_of
from xlmr_flax.storage.places import look, upload
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import rows

pytestmark = [pytest.mark.gcs, pytest.mark.timeout(1800)]
releases = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "releases.py")))
PAWSX = "google-research-datasets/paws-x"
LABELS = ("entailment", "neutral", "contradiction")

CONFIG = """
name = "placed"
model = { weights = "%s/weights", compute = "float32" }
[[phases]]
name = "nli"
tasks = ["xnli"]
length = 16
batch_size = 8
steps = 2
robust = { dictionary = "%s/data/dictionaries", switch_rate = 0.5 }
[[evaluations]]
phase = "nli"
tasks = ["xnli"]
langs = ["en"]
"""


def xlmr_flax(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["xlmr-flax", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0


def test_data_is_fetched_into_a_bucket_once_and_checked_there(folder, tmp_path, monkeypatch, capsys):
    schema = releases.hub_features(sentence1=releases.TEXT, sentence2=releases.TEXT, label=["0", "1"])
    for name, count in (("train", 5), ("validation", 3), ("test", 2)):
        texts = [{"sentence1": f"{name}{n}", "sentence2": "b", "label": n % 2} for n in range(count)]
        releases.write_parquet(tmp_path / "hub" / PAWSX / "en" / f"{name}-00000-of-00001.parquet", schema, texts)
    words = ("data", "fetch", "pawsx", "--langs", "en", "--from", tmp_path / "hub", "--data", folder)
    assert xlmr_flax(monkeypatch, *words) == 0
    known = json.loads(look(folder / "records.json").content)
    assert {one["origin"] for one in known["files"].values()} == {
        f"{PAWSX}@local: en/{name}-00000-of-00001.parquet" for name in ("train", "validation", "test")
    }
    assert [row.text for row in rows(task("pawsx"), "test", "en", folder)] == ["test0", "test1"]
    capsys.readouterr()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    assert xlmr_flax(monkeypatch, *words) == 0
    assert capsys.readouterr().err.count("there already") == 3
    assert xlmr_flax(monkeypatch, "data", "check", "pawsx", "--langs", "en", "--data", folder, "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["state"], [part["rows"] for part in told["splits"]]) == ("found", [5, 3, 2])
    upload(tmp_path / "hub" / PAWSX / "en", local := local_of(folder) / "changed")
    (local / "test-00000-of-00001.parquet").write_bytes(b"damaged")
    (name,) = (name for name in known["files"] if "/test-" in name)
    upload(local, folder / name.rpartition("/")[0])
    assert xlmr_flax(monkeypatch, "data", "check", "pawsx", "--langs", "en", "--data", folder) == 2
    assert "changed since it was recorded" in capsys.readouterr().out


@pytest.fixture
def placed(folder, tmp_path):
    """A bucket's folder with weights and data in it, and a config that names them."""
    texts = [f"{one} {other}" for one in ("the cat sat", "a dog ran") for other in ("on a mat", "by a tree")] * 8
    train_tokenizer(texts, 30, tmp_path / "tokenizer")
    arch = Architecture(vocab_size=load_tokenizer(tmp_path / "tokenizer").vocab_size, **PRESETS["tiny"])
    spec = HeadSpec("sequence", 3)
    params = jax.jit(build(arch, spec, "float32").init_params)(jax.random.key(0))
    export(tmp_path / "weights", arch, params, spec, labels=LABELS, tokenizer=tmp_path / "tokenizer")
    small = {"train": 24, "dev": 5, "test": 12}
    each = {"nli": small, **dict.fromkeys(("paraphrase", "tagging", "questions"), dict.fromkeys(small, 5))}
    world = WorldSettings.model_validate_json(
        json.dumps({"languages": ["x1"], "documents": 5, "retrieval_pairs": 4, **each,
                    "choice": {"train": 5, "dev": 5, "test": 0}})
    )  # fmt: skip
    write_world(world, tmp_path / "world")
    upload(tmp_path / "weights", folder / "weights")
    upload(tmp_path / "world", folder / "data")
    (tmp_path / "config.toml").write_text(CONFIG % (folder, folder), encoding="utf-8")
    return folder


def test_weights_data_report_and_submission_are_in_a_bucket(placed, clients, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | clients

    def told(machine, *words):
        command = [sys.executable, "-m", "xlmr_flax.cli", *map(str, words)]
        env = environment | {"XDG_CACHE_HOME": str(tmp_path / machine)}
        ended = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=900)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout, ended.stderr

    places = ("--runs", placed / "runs", "--cache", placed / "cache", "--data", placed / "data")
    out, said = told("a", "run", "config.toml", *places)
    assert f"arrays carried from {tmp_path / 'a'}" in said
    run = out.splitlines()[-1]
    assert run.startswith(f"{placed}/runs/placed-")
    out, _ = told("b", "report", run, "--out", placed / "report")
    assert out.splitlines()[-3:] == [f"{placed}/report/{name}" for name in ("index.html", "report.md", "results.json")]
    assert b"</html>" in look(placed / "report" / "index.html").content
    told("b", "eval", run, "--tasks", "xnli", "--langs", "en", "--submission", placed / "submission", *places)
    predicted = look(placed / "submission" / "xnli" / "test-en.tsv").content
    (evaluated,) = (one for one in (placed / "runs" / "evals").iterdir())
    assert predicted == look(evaluated / "predictions" / "test-en.tsv").content
    assert len(predicted.splitlines()) == 12
    (tmp_path / "lines.txt").write_text("the cat sat\ta dog ran\n", encoding="utf-8")
    out, _ = told("c", "predict", run, "lines.txt", "--task", "xnli", *places)
    assert json.loads(out)["label"] in LABELS
    shown, _ = told("c", "data", "show", run, "--step", "2", *places)
    assert "step 2 of 2: 8 examples of xnli" in shown
