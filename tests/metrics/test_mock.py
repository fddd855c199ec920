"""XTREME's own mock predictions, and what its scorer prints for them."""

import json
from statistics import fmean

import pytest

from xlmr_flax.metrics.accuracy import accuracy
from xlmr_flax.metrics.squad import squad
from xlmr_flax.metrics.tagging import tagging
from xlmr_flax.sources.lines import lines
from xlmr_flax.sources.squad import read_squad


def sentences(path):
    return [block.split("\n") for block in path.read_text(encoding="utf-8").strip().split("\n\n")]


def percent(folder, task, score, read_gold, read_predicted):
    """The mean over languages of each score, with four decimals."""
    golds = sorted((folder / "xtreme_mock/labels" / task).iterdir())
    scores = [
        score(*aligned(read_gold(gold), read_predicted(folder / "xtreme_mock/predictions" / task / gold.name)))
        for gold in golds
    ]
    return {name: f"{100 * fmean(one[name] for one in scores):.4f}" for name in scores[0]}


def aligned(gold, predicted):
    """Predictions by question id stand in the order of the gold answers."""
    if not isinstance(predicted, dict):
        return gold, predicted
    return [tuple(answer.text for answer in row.answers) for row in gold], [predicted.get(row.id) for row in gold]


@pytest.mark.parametrize(("task", "wanted"), [("xnli", "30.6667"), ("pawsx", "51.4286"), ("tatoeba", "53.6111")])
def test_accuracies_are_those_of_the_official_scorer(real_data, task, wanted):
    assert percent(real_data, task, accuracy, lines, lines) == {"accuracy": wanted}


@pytest.mark.parametrize(("task", "wanted"), [("udpos", "70.2175"), ("panx", "57.5079")])
def test_chunk_f1_is_that_of_the_official_scorer(real_data, task, wanted):
    assert percent(real_data, task, tagging, sentences, sentences)["f1"] == wanted


@pytest.mark.parametrize(
    ("task", "f1", "exact_match"), [("xquad", "79.9587", "77.2727"), ("tydiqa", "97.2222", "88.8889")]
)
def test_answers_score_as_the_official_scorer_says(real_data, task, f1, exact_match):
    found = percent(real_data, task, squad, read_squad, lambda path: json.loads(path.read_bytes()))
    assert found == {"f1": f1, "exact_match": exact_match}
