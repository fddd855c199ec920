"""A phase of two tasks and masked LM: trained, stopped, selected, scored, shown, exported and continued from."""

import contextlib
import io
import json
import re
from typing import NamedTuple

import numpy as np
import pytest

from xlmr_flax.cli import app
from xlmr_flax.errors import InputError, Interrupted
from xlmr_flax.execute import phase as running
from xlmr_flax.execute.local import run_nodes
from xlmr_flax.execute.phase import prepare, run_phase
from xlmr_flax.execute.show import show_batch
from xlmr_flax.execute.target import export_target, phase_folder
from xlmr_flax.graph.nodes import folder_name
from xlmr_flax.report.results import collect
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.train.loop import Stop

STEPS = 14


@pytest.fixture(scope="module")
def mixed(lab, open_lab, experiment, tmp_path_factory):
    """The experiment with a mixture after its pretraining, in a folder of its own."""

    def make(name, averages=(), **changes):
        joint = {
            "name": "joint", "tasks": ["xnli", "mlm"], "parent": "pretrain", "length": 16, "batch_size": 16,
            "steps": STEPS, "keep_head": True, "max_examples": 40, "optim": {"peak_lr": 1e-3},
            "mixture": {"mlm_frac": 0.4, "each": [{"task": "mlm", "batch_size": 24}]},
            "selection": {"every_steps": 7, "max_examples": 11},
        } | changes  # fmt: skip
        child = {
            "name": "child", "tasks": ["xnli_hypothesis"], "parent": "joint", "length": 16, "batch_size": 16,
            "steps": 1, "keep_head": True,
        }  # fmt: skip
        pretrain = next(one for one in experiment["phases"] if one["name"] == "pretrain")
        evaluations = [
            {"phase": "joint", "tasks": ["xnli"], "langs": ["en", "x1"]},
            {"phase": "joint", "tasks": ["tatoeba"], "layers": [1], "langs": ["x1"]},
            *({"phase": one["name"], "tasks": ["xnli"], "langs": ["x1"]} for one in averages),
        ]
        other = open_lab(
            tmp_path_factory.mktemp(name),
            phases=[pretrain, joint, child],
            evaluations=evaluations,
            averages=list(averages),
            arms=[{"name": "all"}],
        )
        for node in (lab.phase("pretrain"), *lab.graph.nodes[:2]):
            place = other.context.folders.runs / folder_name(node)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(lab.context.folders.of(node))
        other.context.folders.cache.symlink_to(lab.context.folders.cache)
        return other

    return make


class Done(NamedTuple):
    """The experiment as `xlmr-flax run` left it, and what it printed."""

    lab: object
    out: str
    said: str

    def folder(self):
        return self.lab.folder("joint")


@pytest.fixture(scope="module")
def done(mixed, tmp_path_factory):
    """The same, computed whole by the program."""
    lab, config = mixed("done"), tmp_path_factory.mktemp("config") / "joint.toml"
    tree = lab.context.experiment.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    config.write_text("".join(f"{name} = {toml(value)}\n" for name, value in tree.items()), encoding="utf-8")
    folders, out, said = lab.context.folders, io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        words = ["run", str(config), "--runs", str(folders.runs), "--cache", str(folders.cache)]
        app(words, standalone_mode=False)
    return Done(lab, out.getvalue(), said.getvalue())


def toml(value):
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {toml(inner)}' for name, inner in value.items())} }}"
    return f"[{', '.join(map(toml, value))}]" if isinstance(value, list) else json.dumps(value)


def log_of(folder):
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if not name.endswith("per_second")} for row in rows]


def batches_of(lab):
    node = lab.phase("joint")
    return prepare(node, lab.context).batches(node, lab.context, seed=3)


def recorded(folder):
    text = (folder / "checkpoints" / "selected" / "_CHECKPOINT_METADATA").read_text()
    return json.loads(text)["custom_metadata"]


def test_a_mixture_stopped_and_run_again_ends_with_the_same_bits(done, mixed, monkeypatch):
    other, place, left = mixed("parted"), running.place_batch, []

    def place_and_stop(batch, mesh, *, lead):
        left.extend([1] * lead)
        stop.asked = len(left) in (5, 11)
        return place(batch, mesh, lead=lead)

    monkeypatch.setattr(running, "place_batch", place_and_stop)
    for _ in range(2):
        stop = Stop()
        with pytest.raises(Interrupted, match="stopped at step"):
            run_phase(other.phase("joint"), other.context, stop)
    stop = Stop()
    run_phase(other.phase("joint"), other.context, stop)
    assert len(left) == STEPS
    assert recorded(other.folder("joint")) == recorded(done.folder())  # checksums of every leaf
    assert log_of(other.folder("joint")) == log_of(done.folder())
    one, same = (json.loads((folder / "DONE").read_text()) for folder in (done.folder(), other.folder("joint")))
    assert one == same


def test_every_head_is_kept_by_its_task_and_each_task_has_its_loss(done):
    leaves = recorded(done.folder())["leaves"]
    heads = {name.split(".")[1] for name in leaves if name.startswith("head.")}
    assert heads == {"xnli", "mlm"}
    rows = [row for row in log_of(done.folder()) if "loss" in row]
    assert all({"loss_xnli", "loss_mlm"} <= row.keys() for row in rows)
    batches = batches_of(done.lab)
    steps = [batches.task_of(step) for step in range(10)]
    counted = sum(rows[0][f"loss_{name}"] * steps.count(name) for name in ("xnli", "mlm")) / 10
    assert rows[0]["loss"] == pytest.approx(counted, rel=0.2)  # of masked LM the words count, and not the steps


def test_it_selects_by_the_mean_of_its_labelled_tasks(done):
    told = json.loads((done.folder() / "DONE").read_text())
    assert told["selection"] == "best mean of accuracy on xnli dev (en)"
    assert [one["step"] for one in told["evaluations"]] == [7, 14]
    row = next(row for row in log_of(done.folder()) if "select_mean" in row)
    assert row["select_mean"] == row["select_xnli_accuracy"] == told["evaluations"][0]["score"]


def test_it_is_scored_with_the_head_of_the_task_and_without_any(done):
    rows = collect(done.lab.graph, done.lab.context.folders.runs)["rows"]
    assert {(row["task"], row["lang"]) for row in rows} == {("xnli", "en"), ("xnli", "x1"), ("tatoeba", "x1")}
    assert all(row["selection"].startswith("best mean of") for row in rows)
    assert "xnli, in %" in done.out
    assert done.out.splitlines()[-1].endswith(done.lab.graph.fingerprint)


def test_heads_that_fit_are_carried_in_and_out(done):
    assert re.search(r"joint: encoder carried from phases/pretrain-\w+ · mlm head carried · xnli head fresh", done.said)
    assert re.search(
        r"child: encoder carried from phases/joint-\w+ · xnli_hypothesis head carried · dropped: mlm", done.said
    )


def test_a_steps_batch_is_shown_with_its_task(done):
    batches = batches_of(done.lab)
    for name, count in (("xnli", 16), ("mlm", 24)):
        step = next(step for step in range(STEPS) if batches.task_of(step) == name)
        head, *lines = show_batch(str(done.folder()), None, step + 1, done.lab.context.folders)
        assert f"step {step + 1} of 14: {count} examples of {name} t" in head
        assert any("hidden: " in line for line in lines) == (name == "mlm")


def test_a_head_is_exported_by_its_task(done, tmp_path):
    folders, console = done.lab.context.folders, done.lab.context.console
    folder = str(done.folder())
    with pytest.raises(InputError, match=r"trained on xnli, mlm; name the head to export, as in --task xnli"):
        export_target(folder, tmp_path / "out", None, folders, console)
    with pytest.raises(
        InputError, match=r"--task xnlu: .* has no head of it; did you mean 'xnli'\?; it has: xnli, mlm"
    ):
        export_target(folder, tmp_path / "out", None, folders, console, "xnlu")
    export_target(folder, tmp_path / "out", None, folders, console, "xnli")
    told = json.loads((tmp_path / "out" / "config.json").read_text())
    assert told["architectures"] == ["XLMRobertaForSequenceClassification"]
    assert list(told["id2label"].values()) == list(task("xnli").head.labels)
    assert phase_folder(done.folder(), None, task("xnli")) == done.folder()


def test_a_subset_is_of_each_task_and_has_every_class_in_its_share(done):
    parts = {part.node.task: part for part in prepare(done.lab.phase("joint"), done.lab.context).parts}
    for part in parts.values():
        assert len(np.unique(part.examples.encoded.example[part.taken.chosen])) == 40  # a text may be cut into several
    labels = parts["xnli"].examples.encoded.label
    whole, few = (np.bincount(each, minlength=3) / len(each) for each in (labels, labels[parts["xnli"].taken.chosen]))
    assert np.abs(whole - few).max() < 2 / 40


@pytest.mark.long
def test_a_mixture_keeps_both_selections_and_its_runs_have_a_mean_with_all_their_heads(mixed):
    selection = {"every_steps": 2, "max_examples": 11, "also": "all_langs"}
    mean = {"name": "mean", "phase": "joint", "seeds": [3, 4]}
    lab = mixed("both", [mean], steps=4, init_seed=0, selection=selection)
    run_nodes(lab.graph, lab.context, only="joint")
    run_nodes(lab.graph, lab.context, only="mean")
    run_nodes(lab.graph, lab.context, only="xnli")
    told = json.loads((lab.folder("joint") / "DONE_all_langs").read_text())
    assert told["selection"] == "best mean of accuracy on xnli dev (all 3 languages)"
    (row, *_) = (row for row in log_of(lab.folder("joint")) if "select_mean" in row)
    assert row["select_mean_all_langs"] == row["select_xnli_accuracy_all_langs"]
    rows = [row for row in collect(lab.graph, lab.context.folders.runs)["rows"] if row["task"] == "xnli"]
    assert [(row["phase"], row["lang"], row["setting"]) for row in rows] == [
        ("joint", "en", ""), ("joint", "x1", ""),
        ("joint", "en", "selected in all languages"), ("joint", "x1", "selected in all languages"),
        ("mean", "x1", ""),
    ]  # fmt: skip
    (node,) = (node for node in lab.graph.nodes if node.name == "mean")
    leaves = recorded(lab.context.folders.of(node))["leaves"]
    assert {name.split(".")[1] for name in leaves if name.startswith("head.")} == {"xnli", "mlm"}
    assert rows[-1]["selection"].startswith("mean of 2 runs (seeds 3, 4), of each: best mean of accuracy on xnli")


@pytest.mark.long
def test_a_mixture_hands_over_the_mean_of_its_checkpoints(mixed):
    lab = mixed("averaged", steps=5, selection=None, average={"checkpoints": 2, "every_steps": 2})
    run_phase(lab.phase("joint"), lab.context, Stop())
    told = json.loads((lab.folder("joint") / "DONE").read_text())
    assert (told["averaged"], told["step"], told["score"]) == ([4, 5], 5, None)
