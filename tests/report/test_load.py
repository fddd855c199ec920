"""Folders become one set of rows, or an error that says what was wanted."""

import json
import shutil

import pytest

from tests.report.toy import toy
from xlmr_flax.errors import InputError
from xlmr_flax.report.load import Examples, clean_and_perturbed, load, perturbation, protocol


def test_a_study_has_its_baseline_first(tmp_path):
    loaded = load([toy(tmp_path, arms=("mnli", "direct", "squad"))])
    assert loaded.arms == ["direct", "mnli", "squad"]
    assert (loaded.baseline, loaded.question, loaded.name) == ("direct", "table", "toy")


def test_an_experiment_is_compared_with_the_arm_that_skips_least(tmp_path):
    where = toy(tmp_path, arms=("whole", "control", "direct"), study=False)
    arms = [{"name": "whole", "skip": []}, {"name": "control", "skip": ["a", "b"]}, {"name": "direct", "skip": ["b"]}]
    (where / "config.json").write_text(json.dumps({"name": "toy", "arms": arms}))
    assert load([where]).baseline == "direct"


def test_one_arm_has_nothing_to_be_compared_with(tmp_path):
    assert load([toy(tmp_path, arms=("main",), ahead=(0,), study=False)]).baseline is None


def test_runs_that_differ_in_their_seed_go_together_and_others_by_their_names(tmp_path):
    one, other = (toy(tmp_path / str(seed), seeds=[seed], study=False) for seed in (1, 2))
    for where, seed in ((one, 1), (other, 2)):
        (where / "config.json").write_text(json.dumps({"name": "toy", "seed": seed, "model": "m"}))
    loaded = load([one, other])
    assert loaded.arms == ["direct", "mnli", "squad"]
    assert {row["seed"] for row in loaded.rows} == {1, 2}
    (other / "config.json").write_text(json.dumps({"name": "toy", "seed": 2, "model": "another"}))
    results = json.loads((other / "results.json").read_text()) | {"experiment": "second"}
    (other / "results.json").write_text(json.dumps(results))
    assert load([one, other]).arms[:2] == ["toy: direct", "toy: mnli"]
    assert load([one, other]).arms[-1] == "second: squad"


def test_a_folder_that_is_named_twice_counts_once(tmp_path):
    where = toy(tmp_path)
    assert len(load([where, where]).rows) == len(load([where]).rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "has no results.json; wanted the folder of a run or of a study"),
        ("{", "results.json: not JSON"),
        ("[]", "results.json: Input should be an object; run the experiment again"),
        ('{"experiment": "x", "rows": []}', "no scores yet"),
        (
            '{"experiment": "x", "rows": [], "study": {"question": "why"}}',
            "study.question=why: Input should be 'table'",
        ),
        ('{"experiment": "x", "rows": [], "more": 1e999}', "1e999 is no number"),
        ('{"experiment": "x", "rows": [], "more": "\\ud800"}', "not JSON: unexpected end of hex escape"),
    ],
)
def test_what_is_no_run_is_told(tmp_path, text, message):
    where = toy(tmp_path)
    if text is None:
        (where / "results.json").unlink()
    else:
        (where / "results.json").write_text(text)
    with pytest.raises(InputError, match=message):
        load([where])


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        ("last step", "last step"),
        ("best accuracy on xnli dev (en), step 40", "English dev"),
        ("best f1 on panx dev (en, de, sw)", "dev of 3 languages"),
        ("best f1 on panx dev (de)", "de dev"),
        ("best accuracy on xnli dev (all 15 languages), step 40", "dev of all languages"),
        ("best mean of accuracy on xnli dev (en), f1 on squad dev (en), step 9", "English dev"),
        ("best mean of accuracy on xnli dev (all 15 languages), f1 on squad dev (en)", "dev of all languages"),
        ("mean of the last 3 checkpoints, 4 steps apart", "mean of the last 3 checkpoints, 4 steps apart"),
        ("", "not known"),
    ],
)
def test_selection_in_the_words_of_a_table(selection, said):
    assert protocol(selection) == said


def test_examples_are_found_by_their_setting(tmp_path):
    where = toy(tmp_path, arms=("direct",), ahead=(0,), tasks=(("tatoeba", "accuracy"),), langs=("de",), seeds=[0])
    folder = where.parent / "evals" / "tatoeba-direct0tatoeba"
    settings = [{"layer": layer, "pooling": "mean", "scores": {"accuracy": 0.1}} for layer in (1, 2)]
    (folder / "scores.json").write_text(json.dumps({"langs": {"de": {"settings": settings}}}))
    loaded = load([where])
    row = dict(loaded.rows[0])
    examples = Examples(loaded)
    assert examples.of(row | {"setting": "layer 1, mean with <s> and </s>, length 32"}) is not None
    assert examples.of(row | {"setting": "layer 2, mean with <s> and </s>"}) is None  # the toy keeps the first only
    assert examples.of({**row, "eval_key": None}) is None
    shutil.rmtree(folder / "examples")
    assert Examples(loaded).of(row | {"setting": "layer 1, mean with <s> and </s>"}) is None


@pytest.mark.parametrize(
    ("setting", "wrong"),
    [
        ({"told": "38 candidates", "pooling": "<s> of the last layer through the pooler", "candidates": 38}, ""),
        ({"layer": 3, "pooling": "cls"}, ""),
        ({"layer": 3, "pooling": "max"}, "a layer with pooling 'max', wanted one of mean, cls"),
        ({"layer": 3}, "a layer with pooling None, wanted one of mean, cls"),
    ],
)
def test_how_vectors_were_made_is_told_by_layer_or_in_words(tmp_path, setting, wrong):
    where = toy(tmp_path, arms=("direct",), ahead=(0,), tasks=(("lareqa", "map@20"),), langs=("de",), seeds=[0])
    scores = where.parent / "evals" / "lareqa-direct0lareqa" / "scores.json"
    scores.write_text(json.dumps({"langs": {"de": {"settings": [setting | {"scores": {"map@20": 0.1}}]}}}))
    loaded = load([where])
    if wrong:
        with pytest.raises(InputError, match=wrong):
            Examples(loaded).of(loaded.rows[0])
    else:
        Examples(loaded).of(loaded.rows[0])


@pytest.mark.parametrize(
    ("kind", "setting", "clean", "words"),
    [
        ("typos", "typos 30 %", "", "typos"),
        ("code_switch", "length 32, code-switch into de, fr 30 %", "length 32", "code-switch into de, fr"),
        ("typos", "typos 30 %, perturbed by seed 3", "", "typos, perturbed by seed 3"),
        ("typos", "length 32, selected in all languages, typos 30 %", "length 32", "typos"),
    ],
)
def test_a_perturbation_stands_apart_from_the_setting_of_the_clean_texts(kind, setting, clean, words):
    row = {"setting": setting, "perturbation": {"kind": kind, "strength": 0.3}}
    assert perturbation(row) == (words, 0.3)
    assert clean_and_perturbed(row)[0] == clean
    assert perturbation({"setting": setting}) is None
    assert clean_and_perturbed({"setting": "length 32, layer 1"}) == ("length 32, layer 1", "")


def test_which_of_two_models_was_scored_is_no_setting():
    assert clean_and_perturbed({"setting": "layer 1, <s>, selected in all languages"})[0] == "layer 1, <s>"
    assert clean_and_perturbed({"setting": "selected in all languages"})[0] == ""
