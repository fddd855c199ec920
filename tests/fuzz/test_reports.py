"""Folders that a report is asked for, however damaged their files: a report, or a sentence and nothing written."""

import json
import shutil
from pathlib import Path

import pytest

from tests.report.toy import toy
from xlmr_flax.report import figures
from xlmr_flax.report.page import Picture
from xlmr_flax.report.write import write_report

DRAWS = 20
PHASE = {
    "config.json": {
        "key": "p", "task": "xnli", "phase": {"name": "target", "tasks": ["xnli"], "batch_size": 8, "steps": 5},
        "seed": 0, "parent": "phases/a-b", "counts": {"rows": 9, "truncated": 2}, "sources": {"a.tsv": "0" * 64},
        "tokenizer": {"name": "FacebookAI/xlm-roberta-base"},
    },
    "host.json": {"devices": "2 x cpu (cpu)", "versions": {"jax": "0.10.2", "python": "3.11.2"}},
    "DONE": {"steps_run": 5, "steps": 5, "step": 5, "selection": "last step", "flags": ["training loss never fell"]},
}  # fmt: skip
LOG = [{"step": 2, "loss": 1.0, "examples_per_second": 7.5}, {"step": 5, "select_accuracy": 0.5}]


def changed(row):
    """Of one arm, texts that were made worse; of the other a size."""
    axes = row["axes"] | {"phases.middle.max_examples": 100 if row["arm"] == "mnli" else None}
    worse = {"perturbation": {"kind": "typos", "strength": 0.1}, "setting": "typos 10 %"} if row["lang"] == "sw" else {}
    return row | {"axes": axes} | worse


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of the runs: a study's, of two arms, a phase's, and those of its evaluations."""
    small = {"arms": ("direct", "mnli"), "ahead": (0.0, 0.1), "langs": ("en", "de", "sw"), "seeds": range(2)}
    where = toy(tmp_path_factory.mktemp("reports"), **small, examples=12, question="size", change=changed)
    nodes = [{"kind": "phase", "name": "target", "key": "p", "folder": "phases/target-p"}]
    (where / "nodes.json").write_text(json.dumps(nodes), encoding="utf-8")
    phase = where.parent / "phases" / "target-p"
    phase.mkdir(parents=True)
    for name, value in PHASE.items():
        (phase / name).write_text(json.dumps(value), encoding="utf-8")
    (phase / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in LOG), encoding="utf-8")
    for folder in (where.parent / "evals").iterdir():
        swept = {"layer": 1, "pooling": "mean", "scores": {"accuracy": 0.5, "f1": 0.5}}
        langs = {"en": {"scores": {"accuracy": 0.5}, "settings": [swept]}, "de": {"scores": {"accuracy": 0.5}}}
        (folder / "scores.json").write_text(json.dumps({"langs": langs}), encoding="utf-8")
    return where.parent


def drawn_in_words(name, caption, alternative, figure):
    """A picture without the drawing, which is most of the time."""
    return Picture(name, caption, alternative, "", {})


def test_the_whole_folder_is_reported(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "picture", drawn_in_words)
    found = write_report([runs / "toy-000000000000"], tmp_path / "out", draws=DRAWS)
    assert "mnli" in found.headline[0]
    assert (tmp_path / "out" / "csv" / "phases.csv").read_text(encoding="utf-8").count("target-p") == 1


@pytest.mark.parametrize("cases", [15, pytest.param(1500, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
@pytest.mark.filterwarnings("ignore::UserWarning")  # of matplotlib, on names that no font has or that are too long
def test_folders_to_report_on(fuzz, damage, retype, runs, tmp_path, monkeypatch, cases):
    copy, out = tmp_path / "runs", tmp_path / "out"
    picture = figures.picture
    files = sorted(path.relative_to(runs) for path in runs.rglob("*") if path.is_file())
    by_kind: dict[str, list[Path]] = {}
    for path in files:
        by_kind.setdefault(path.name if path.suffix != ".npz" else "npz", []).append(path)

    def case(draw):
        monkeypatch.setattr(figures, "picture", picture if draw.random() < 0.02 else drawn_in_words)
        for folder in (copy, out):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(runs, copy)
        path = copy / draw.choice(by_kind[draw.choice(list(by_kind))])
        way = draw.choice(("damage", "retype", "retype", "remove"))
        if way == "remove":
            path.unlink()
        elif way == "retype" and path.suffix in (".json", ""):
            path.write_text(json.dumps(retype(json.loads(path.read_text(encoding="utf-8")), draw)), encoding="utf-8")
        else:
            path.write_bytes(damage(path.read_bytes(), draw))
        try:
            write_report([copy / "toy-000000000000"], out, draws=DRAWS)
        except Exception:
            assert not out.exists()
            raise

    fuzz.each(cases, case)
