"""The whole way: two arms, every head, nothing scored twice or left out, and nothing computed again."""

import csv
import dataclasses
import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest

from xlmr_flax.errors import InputError, Interrupted
from xlmr_flax.execute import evaluation, local, phase
from xlmr_flax.execute.beginning import first_params
from xlmr_flax.execute.local import run_nodes
from xlmr_flax.execute.material import prepare
from xlmr_flax.execute.trained import load_trained
from xlmr_flax.graph.nodes import EvalNode, PhaseNode, folder_name
from xlmr_flax.report.results import collect
from xlmr_flax.train.loop import Stop


def rows_in(world: Path, task: str, lang: str) -> int:
    """How many examples a file holds, counted without any reader of ours."""
    match task:
        case "xnli":
            with (world / f"xnli/test-{lang}.tsv").open(newline="") as file:
                return sum(1 for _ in csv.reader(file, delimiter="\t"))
        case "cosmosqa":
            with (world / "cosmosqa/valid.csv").open(newline="") as file:
                return sum(1 for _ in csv.reader(file)) - 1
        case "udpos":
            return len(re.findall(r"\n\n", (world / f"udpos/test-{lang}.tsv").read_text() + "\n"))
        case "xquad":
            articles = json.loads((world / f"xquad/xquad.{lang}.json").read_text())["data"]
            return sum(len(paragraph["qas"]) for article in articles for paragraph in article["paragraphs"])
    return len((world / f"tatoeba/tatoeba.{lang}-eng.eng").read_text().splitlines())


def test_every_row_of_the_table_scored_as_many_examples_as_its_file_holds(lab, results):
    world = lab.context.folders.data_of(lab.phase("nli"))
    found = {(row["task"], row["lang"]): row for row in results["rows"]}
    assert len(found) == 3 + 1 + 3 + 3 + 2
    for (task, lang), row in found.items():
        assert row["n_scored"] == row["n_dataset"] == rows_in(world, task, lang) > 0
        assert 0 <= row["score"] <= 1


def test_each_arm_stands_in_the_table_and_retrieval_falls_back_to_the_phase_before(results):
    arms = {(row["arm"], row["task"], row["phase"]) for row in results["rows"]}
    assert arms == {
        ("choice", "tatoeba", "choice"), ("choice", "cosmosqa", "choice"), ("choice", "xnli", "nli"),
        ("choice", "udpos", "tags"), ("choice", "xquad", "spans"),
        ("direct", "tatoeba", "pretrain"), ("direct", "xnli", "nli"), ("direct", "udpos", "tags"),
        ("direct", "xquad", "spans"),
    }  # fmt: skip


def answers_in(path: Path, task: str) -> int:
    text = path.read_text()
    match task:
        case "xquad":
            return len(json.loads(text))
        case "udpos":
            return text.count("\n\n") + 1
    return len(text.splitlines())


def test_predictions_lie_in_files_with_one_answer_for_each_row(lab, results):
    runs = lab.context.folders.runs
    for node in (node for node in lab.graph.nodes if isinstance(node, EvalNode)):
        for lang in node.langs:
            (path,) = (runs / folder_name(node) / "predictions").glob(f"test-{lang}.*")
            wanted = {(row["task"], row["lang"]): row["n_scored"] for row in results["rows"]}
            assert answers_in(path, node.task) == wanted[node.task, lang], path


def test_scores_are_those_of_the_prediction_files(lab, results):
    world, runs = lab.context.folders.data_of(lab.phase("nli")), lab.context.folders.runs
    node = next(node for node in lab.graph.nodes if isinstance(node, EvalNode) and node.task == "xnli")
    for lang in ("en", "x1", "x2"):
        with (world / f"xnli/test-{lang}.tsv").open(newline="") as file:
            gold = [row[2] for row in csv.reader(file, delimiter="\t")]
        found = (runs / folder_name(node) / f"predictions/test-{lang}.tsv").read_text().split()
        row = next(row for row in results["rows"] if (row["task"], row["lang"], row["arm"]) == ("xnli", lang, "choice"))
        assert row["score"] == np.mean([one == other for one, other in zip(gold, found, strict=True)])


def test_a_finished_run_is_read_and_not_computed(lab, results, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("computed again")

    for module, name in (
        (phase, "prepare"), (phase, "Checkpoints"), (phase, "train"),
        (evaluation, "load_trained"), (evaluation, "found_in"),
        (local, "write_world"), (local, "train_tokenizer"), (evaluation, "write_json"), (phase, "write_json"),
        (local, "create"), (local, "held"), (phase, "create"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, refuse)
    before = {path: path.stat().st_mtime_ns for path in lab.context.folders.runs.rglob("*") if path.is_file()}
    run_nodes(lab.graph, lab.context)
    assert collect(lab.graph, lab.context.folders.runs) == results
    assert {path: path.stat().st_mtime_ns for path in lab.context.folders.runs.rglob("*") if path.is_file()} == before


def test_a_finished_phase_keeps_weights_and_no_optimizer(lab):
    for node in (node for node in lab.graph.nodes if isinstance(node, PhaseNode)):
        checkpoints = lab.context.folders.of(node) / "checkpoints"
        assert [path.name for path in checkpoints.iterdir()] == ["selected"]
        assert not (checkpoints / "selected" / "optimizer").exists()


def first_and_parent(lab, name, *, keep_head=None):
    node = lab.phase(name)
    if keep_head is not None:
        node = dataclasses.replace(node, phase=node.phase.model_copy(update={"keep_head": keep_head}))
    material = prepare(node, lab.context)
    first = first_params(node, lab.context, material.models, seed=node.seed)
    parent = load_trained(lab.context.folders.of(node.parent), lab.context.folders, lab.context.mesh)
    return first, parent.params


def equal(one, other):
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in leaves)


def test_the_encoder_is_carried_bit_for_bit_and_the_head_is_fresh(lab):
    first, parent = first_and_parent(lab, "nli")
    assert equal(first["encoder"], parent["encoder"])
    assert set(first["head"]) == {"dense", "out"}
    assert set(parent["head"]) == {"pooler", "out"}
    assert all(np.abs(np.asarray(part["kernel"])).min() > 0 for part in first["head"].values())
    assert "nli: encoder carried from phases/choice-" in lab.said()
    assert "sequence head fresh · dropped: its choice head" in lab.said()


def test_a_head_is_carried_where_that_is_asked_for(lab):
    first, parent = first_and_parent(lab, "probe")
    assert equal(first, parent)
    other, _ = first_and_parent(lab, "probe", keep_head=False)
    assert equal(other["encoder"], parent["encoder"])
    assert not np.isclose(other["head"]["out"]["kernel"], parent["head"]["out"]["kernel"]).any()
    assert "sequence head carried" in lab.said()


def test_training_went_on_from_there(lab):
    for name in ("choice", "nli", "probe", "tags", "spans"):
        node = lab.phase(name)
        trained, parent = (
            load_trained(lab.context.folders.of(each), lab.context.folders, lab.context.mesh).params["encoder"]
            for each in (node, node.parent)
        )
        assert not equal(trained, parent)


def test_a_changed_file_is_named_whether_it_was_trained_on_or_scored(lab, tmp_path):
    world = lab.context.folders.data_of(lab.phase("nli"))
    for name, wanted in (
        ("xnli/dev-en.tsv", "xnli/dev-en.tsv changed since this phase was trained; put the old file back"),
        ("xnli/test-x2.tsv", "xnli/test-x2.tsv changed since it was scored; put the old file back"),
    ):
        path, old = world / name, (world / name).read_bytes()
        path.write_bytes(old + b"another\tline\tneutral\n")
        try:
            with pytest.raises(InputError, match=re.escape(wanted)):
                run_nodes(lab.graph, lab.context)
        finally:
            path.write_bytes(old)
    run_nodes(lab.graph, lab.context)


def test_a_language_that_is_asked_for_later_is_added_and_the_others_stay(lab, monkeypatch):
    node = next(node for node in lab.graph.nodes if isinstance(node, EvalNode) and node.task == "xnli")
    path = lab.context.folders.of(node) / "scores.json"
    scores = json.loads(path.read_text())
    path.write_text(json.dumps(scores | {"langs": {lang: scores["langs"][lang] for lang in ("x2", "en")}}))
    scored = []
    score = evaluation.score
    monkeypatch.setattr(
        evaluation,
        "score",
        lambda subject, lang, *rest, **more: scored.append(lang) or score(subject, lang, *rest, **more),
    )
    run_nodes(lab.graph, lab.context)
    assert scored == ["x1"]
    assert json.loads(path.read_text())["langs"] == scores["langs"]


def test_a_stop_before_a_phase_begins_leaves_it_to_the_next_run(lab, open_lab, tmp_path):
    other = open_lab(tmp_path, seed=4)
    stop = Stop()
    stop.asked = True
    for node in other.graph.nodes[:2]:
        local.run_node(node, other.context, stop)
    with pytest.raises(Interrupted, match="stopped at step 0 of 2"):
        local.run_node(other.phase("pretrain"), other.context, stop)
    assert not (other.folder("pretrain") / "DONE").exists()
