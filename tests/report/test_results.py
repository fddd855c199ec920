"""Rows, their sums, and the files of a run's results, from scores that are known."""

import csv
import json

import pytest

from xlmr_flax.config.schema import Experiment
from xlmr_flax.graph.build import build
from xlmr_flax.graph.nodes import folder_name
from xlmr_flax.report.results import collect, experiment_folder, rows_of, summary, write_results

INTERFACE = {
    "arm",
    "task",
    "lang",
    "metric",
    "score",
    "n_scored",
    "n_dataset",
    "seed",
    "phase_key",
    "eval_key",
    "selection",
    "flags",
}
TREE = {
    "name": "small",
    "seed": 3,
    "model": {"preset": "tiny"},
    "tokenizer": {"vocab_size": 300},
    "text": {"files": ["text/*.txt"], "tasks": ["xnli"]},
    "splits": [{"task": "udpos", "test": "test[50%:]"}],
    "phases": [
        {"name": "pretrain", "tasks": ["mlm"], "length": 32, "batch_size": 8, "steps": 10},
        {"name": "middle", "parent": "pretrain", "tasks": ["xnli"], "length": 32, "batch_size": 8, "epochs": 1.0},
        {
            "name": "tags", "parent": "middle", "tasks": ["udpos"], "length": 32, "batch_size": 8, "epochs": 1.0,
            "selection": {"every_steps": 5},
        },
    ],
    "evaluations": [
        {"phase": "middle", "tasks": ["xnli"], "langs": ["en", "de"]},
        {"phase": "middle", "tasks": ["tatoeba"], "langs": ["de"]},
        {"phase": "middle", "tasks": ["tatoeba"], "langs": ["de"], "layers": [1, 0], "poolings": ["cls"], "length": 16},
        {"phase": "tags", "tasks": ["udpos"], "langs": ["en", "de", "fr"]},
    ],
    "arms": [{"name": "whole"}, {"name": "direct", "skip": ["middle"]}],
}  # fmt: skip


def row(**changed):
    return {
        "arm": "a", "asked_phase": "p", "phase": "p", "task": "xnli", "setting": "", "lang": "en", "metric": "accuracy",
        "score": 0.5, "n_scored": 10, "n_dataset": 10, "seed": 0, "phase_key": "k", "selection": "last step",
        "flags": [],
    } | changed  # fmt: skip


@pytest.fixture
def graph():
    return build(Experiment.model_validate_json(json.dumps(TREE)))


@pytest.fixture
def runs(graph, tmp_path):
    """A runs folder in which every phase is done and every evaluation is scored."""
    for node in graph.nodes:
        folder = tmp_path / folder_name(node)
        folder.mkdir(parents=True)
        if node.kind == "phase":
            done = {
                "step": 5 if node.select else 10,
                "steps": 10,
                "selection": "best f1" if node.select else "last step",
            }
            (folder / "DONE").write_text(json.dumps(done), encoding="utf-8")
        elif node.kind == "eval":
            langs = {
                lang: {"scores": {"accuracy": 0.25 + 0.125 * n}, "n_scored": 7 + n, "n_dataset": 8 + n, "sources": {}}
                for n, lang in enumerate(node.langs)
            }
            if node.is_retrieval:
                asked = node.evaluation
                of = [
                    {"layer": layer, "pooling": pooling} for layer in asked.layers or (2,) for pooling in asked.poolings
                ]
                langs = {lang: one | {"settings": [more | one for more in of]} for lang, one in langs.items()}
            (folder / "scores.json").write_text(json.dumps({"langs": langs}), encoding="utf-8")
    return tmp_path


def test_english_the_mean_of_the_others_and_the_gap():
    (found,) = summary([row(score=0.75), row(lang="de", score=0.5, n_scored=4), row(lang="fr", score=0.25, n_scored=6)])
    assert (found["english"], found["mean_of_others"], found["gap"]) == (0.75, 0.375, 0.375)
    assert (found["languages"], found["n_scored"]) == (3, 20)
    assert (found["first_arm"], found["first_arm_ahead_english"]) == (None, None)


def test_without_english_or_without_others_there_is_no_gap():
    (others,) = summary([row(lang="de"), row(lang="fr", score=0.0)])
    assert (others["english"], others["mean_of_others"], others["gap"]) == (None, 0.25, None)
    (english,) = summary([row()])
    assert (english["english"], english["mean_of_others"], english["gap"]) == (0.5, None, None)


def test_the_first_arm_is_compared_with_each_other_arm():
    scores = {"a": (0.75, 0.5), "b": (0.5, 0.625), "c": (0.25, 0.0)}
    rows = [
        row(arm=arm, lang=lang, score=score)
        for arm, both in scores.items()
        for lang, score in zip(("en", "de"), both, strict=True)
    ]
    first, second, third = summary(rows)
    assert (second["first_arm"], second["first_arm_ahead_english"], second["first_arm_ahead_mean_of_others"]) == (
        "a", 0.25, -0.125,
    )  # fmt: skip
    assert (third["first_arm_ahead_english"], third["first_arm_ahead_mean_of_others"]) == (0.5, 0.5)
    assert first["first_arm"] is None


def test_arms_with_baselines_stand_below_them_and_are_compared_with_their_own():
    scores = {"250": 0.5, "small none": 0.25, "all": 0.75, "large none": 0.625}
    rows = [row(arm=arm, lang="de", score=score) for arm, score in scores.items()]
    found = summary(rows, {"250": "small none", "all": "large none"})
    assert [(one["arm"], one["first_arm"], one["first_arm_ahead_mean_of_others"]) for one in found] == [
        ("small none", None, None), ("large none", None, None), ("250", "small none", -0.25),
        ("all", "large none", -0.125),
    ]  # fmt: skip


def test_arms_are_compared_only_in_the_same_languages_and_metrics():
    assert summary([row(lang="de"), row(arm="b", lang="fr")])[1]["first_arm"] is None
    assert summary([row(lang="de"), row(arm="b", lang="de", metric="f1")])[1]["first_arm"] is None
    assert summary([row(lang="de"), row(arm="b", lang="de", setting="layer 1")])[1]["first_arm"] is None
    assert summary([row(lang="de"), row(arm="b", lang="de", phase="q")])[1]["first_arm"] == "a"


def test_two_layers_of_one_phase_are_two_lines():
    assert len(summary([row(setting="layer 1"), row(setting="layer 2", score=0.25)])) == 2


def test_rows_say_what_was_scored_and_how_the_checkpoint_was_chosen(graph, runs):
    rows = collect(graph, runs)["rows"]
    assert all(row.keys() >= INTERFACE for row in rows)
    tags = [row for row in rows if row["task"] == "udpos" and row["arm"] == "whole"]
    assert [(row["lang"], row["score"], row["n_scored"], row["n_dataset"]) for row in tags] == [
        ("en", 0.25, 7, 8), ("de", 0.375, 8, 9), ("fr", 0.5, 9, 10),
    ]  # fmt: skip
    assert {row["selection"] for row in tags} == {"best f1, step 5"}
    assert {row["seed"] for row in rows} == {3}
    assert {row["selection"] for row in rows if row["task"] == "xnli"} == {"last step"}


def test_retrieval_of_a_skipped_phase_names_both_phases(graph, runs):
    found = {
        (row["arm"], row["asked_phase"], row["phase"])
        for row in collect(graph, runs)["rows"]
        if row["task"] == "tatoeba"
    }
    assert found == {("whole", "middle", "middle"), ("direct", "middle", "pretrain")}


def test_what_stands_for_a_sentence_is_told_and_each_setting_of_a_sweep_has_its_rows(graph, runs):
    found = {row["setting"] for row in collect(graph, runs)["rows"] if row["task"] == "tatoeba"}
    assert found == {"layer 2, mean with <s> and </s>", "layer 1, <s>, length 16", "layer 0, <s>, length 16"}
    assert {row["setting"] for row in collect(graph, runs)["rows"] if row["task"] != "tatoeba"} == {""}


def test_flags_tell_texts_seen_before_and_parts_of_splits(graph, runs):
    flags = {row["task"]: row["flags"] for row in collect(graph, runs)["rows"] if row["arm"] == "whole"}
    assert flags == {"xnli": ["transductive"], "tatoeba": [], "udpos": ["split test[50%:]"]}


def test_a_task_that_shares_its_files_with_the_text_is_transductive():
    tree = {**TREE, "text": {"tasks": ["xnli_hypothesis"]}, "evaluations": TREE["evaluations"][:1]}
    node = build(Experiment.model_validate_json(json.dumps(tree))).scored[0].node
    from xlmr_flax.report.results import transductive

    assert transductive(node)
    tree["text"] = {"tasks": ["pawsx"]}
    assert not transductive(build(Experiment.model_validate_json(json.dumps(tree))).scored[0].node)


def test_what_is_not_scored_yet_has_no_rows(graph, runs, tmp_path):
    missing = graph.scored[0]
    (runs / folder_name(missing.node) / "scores.json").unlink()
    assert list(rows_of(missing, runs)) == []
    assert collect(graph, tmp_path / "nowhere")["rows"] == []


def test_the_files_of_an_experiment_say_the_same(graph, runs):
    results, folder = collect(graph, runs), experiment_folder(graph, runs)
    assert folder.name == f"small-{graph.fingerprint}"
    write_results(results, graph, folder)
    assert json.loads((folder / "results.json").read_text(encoding="utf-8")) == results
    assert results.keys() == {"experiment", "fingerprint", "rows", "summary"}
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [(float(line["score"]), line["lang"], line["arm"]) for line in table] == [
        (row["score"], row["lang"], row["arm"]) for row in results["rows"]
    ]
    assert table[0].keys() == results["rows"][0].keys()
    assert {line["flags"] for line in table} == {"", "transductive", "split test[50%:]"}
    again = Experiment.model_validate_json((folder / "config.json").read_text(encoding="utf-8"))
    assert again == graph.experiment
    nodes = json.loads((folder / "nodes.json").read_text(encoding="utf-8"))
    assert [(node["key"], node["folder"]) for node in nodes] == [(node.key, folder_name(node)) for node in graph.nodes]


def test_flagged_scores_are_counted_and_the_mean_without_them_stands_beside():
    sick = {"flags": ["transductive", "at chance level"]}
    (found,) = summary([row(score=0.75), row(lang="de", score=0.5), row(lang="fr", score=0.25, **sick)])
    assert (found["flagged"], found["mean_of_others"], found["mean_of_others_without_flagged"]) == (1, 0.375, 0.5)
    rows = [row(arm=arm, lang="de", **sick) for arm in "ab"]
    assert [entry["first_arm_flagged"] for entry in summary(rows)] == [None, 1]
    assert summary(rows)[0]["mean_of_others_without_flagged"] is None


def test_rows_take_the_flags_of_their_language_and_of_their_phases_training(graph, runs):
    scored = next(one for one in graph.scored if one.node.task == "udpos")
    path = runs / folder_name(scored.node) / "scores.json"
    langs = json.loads(path.read_text())
    langs["langs"]["de"]["flags"] = ["at chance level"]
    path.write_text(json.dumps(langs))
    done = runs / folder_name(scored.node.phase) / "DONE"
    past = [{"seed": 3, "flags": ["training loss never fell", "selected at chance level"]}]
    trained = {
        "skipped_steps": 2,
        "steps_run": 1234,
        "seed": 77,
        "attempts": past,
        "flags": ["selected at chance level"],
    }
    done.write_text(json.dumps(json.loads(done.read_text()) | trained))
    flags = {row["lang"]: row["flags"][1:] for row in rows_of(scored, runs)}
    of_training = [
        "selected at chance level", "2 of 1,234 steps skipped, not finite",
        "retried with seed 77 (seed 3: training loss never fell, selected at chance level)",
    ]  # fmt: skip
    assert flags == {"en": of_training, "de": ["at chance level", *of_training], "fr": of_training}


def test_a_perturbation_is_one_cell_of_the_table(graph, runs):
    results = collect(graph, runs)
    results["rows"][0]["perturbation"] = {"kind": "typos", "strength": 0.05}
    folder = experiment_folder(graph, runs)
    write_results(results, graph, folder)
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        assert [line["perturbation"] for line in csv.DictReader(file)][:2] == ["typos 0.05", ""]
