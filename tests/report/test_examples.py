"""What is kept of every example gives the scores again, and those of any draw of the examples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlmr_flax.errors import InputError
from xlmr_flax.metrics.squad_v2 import Guess
from xlmr_flax.report.examples import Terms, drawn, read_terms, score_of, terms_of, write_terms
from xlmr_flax.tasks.catalogue import TASKS
from xlmr_flax.tasks.task import scores

WORDS = ("a house", "the river", "blue", "big house")
TAGS = ("NOUN", "VERB", "SCONJ", "INTJ", "O", "B-PER", "I-PER")


def gold_and_predicted(name, seed, size):
    """Random values as the scorer of a task takes them."""
    draw = np.random.default_rng(seed)
    pick = lambda values: values[draw.integers(len(values))]  # noqa: E731
    if name in ("xnli", "pawsx", "qqp"):
        labels = TASKS[name].head.labels
        return [pick(labels) for _ in range(size)], [pick(labels) for _ in range(size)]
    if name == "panx":
        lengths = draw.integers(0, 6, size)
        return tuple([tuple(pick(TAGS) for _ in range(one)) for one in lengths] for _ in range(2))
    if name in ("xquad", "mlqa", "squad_v2"):
        gold = [(pick(WORDS), pick(WORDS)) if draw.random() < 0.8 or name != "squad_v2" else () for _ in range(size)]
        texts = [pick(WORDS) for _ in range(size)]
        return gold, [Guess(text, draw.normal()) for text in texts] if name == "squad_v2" else texts
    if name == "mewslix":
        return [(f"Q{draw.integers(5)}",) for _ in range(size)], [
            tuple(f"Q{one}" for one in draw.permutation(5)) for _ in range(size)
        ]
    assert name == "bucc2018"
    pair = lambda: (f"de-{draw.integers(size)}", f"en-{draw.integers(3)}")  # noqa: E731
    return [(pair(),) for _ in range(size)], [list({pair() for _ in range(size)})]


FOUND = {  # the metrics that are kept
    "xnli": {"accuracy"},
    "pawsx": {"accuracy"},
    "qqp": {"accuracy", "f1", "accuracy_and_f1"},
    "panx": {"f1", "precision", "recall", "accuracy"},
    "xquad": {"f1", "exact_match"},
    "mlqa": {"f1", "exact_match"},
    "squad_v2": {"f1", "exact_match"},
    "mewslix": {"mrr@20"},
    "bucc2018": {"f1", "precision", "recall"},
}


@pytest.mark.parametrize("name", FOUND)
@settings(max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_terms_give_the_score_of_all_examples_and_of_any_draw(name, seed):
    task, size = TASKS[name], 30
    gold, predicted = gold_and_predicted(name, seed, size)
    scored = scores(task, list(gold), list(predicted), "de")
    terms = terms_of(task, gold, predicted, scored, "de")
    assert terms.keys() & FOUND[name] == FOUND[name] & scored.keys()
    if name == "bucc2018":  # a pair occurs once, so that there is no scoring of a draw
        return
    places = np.random.default_rng(seed).integers(0, size, size)
    times_BN = np.bincount(places, minlength=size)[None].astype(float)
    again = scores(task, [gold[place] for place in places], [predicted[place] for place in places], "de")
    for metric in FOUND[name]:
        assert drawn(terms[metric], times_BN)[0] == pytest.approx(again[metric], abs=1e-12)


def test_a_score_that_is_no_mean_of_ratios_is_left_out():
    gold, predicted = gold_and_predicted("squad_v2", 3, 40)
    scored = scores(TASKS["squad_v2"], gold, predicted, "en")
    assert not {"best_f1", "has_answer_f1"} & terms_of(TASKS["squad_v2"], gold, predicted, scored, "en").keys()


def test_terms_come_back_from_their_file(tmp_path):
    first = {"f1": Terms(np.array([[2, 0, 300]]), np.array([[3, 1, 300]])), "em": Terms(np.array([[0.25, 1.0, 0.0]]))}
    second = {"f1": Terms(np.array([[True, False, True]]))}
    write_terms(tmp_path / "x" / "de.npz", [first, second])
    found = read_terms(tmp_path / "x" / "de.npz")
    assert found.keys() == {(0, "f1"), (0, "em"), (1, "f1")}
    assert [score_of(one) for one in found.values()] == [score_of(one) for one in (*first.values(), *second.values())]
    assert found[0, "f1"].above_TN.dtype == np.uint16
    assert read_terms(tmp_path / "x" / "absent.npz") == {}
    (tmp_path / "x" / "de.npz").write_bytes((tmp_path / "x" / "de.npz").read_bytes()[:-9])
    with pytest.raises(InputError, match=r"de\.npz: damaged \(BadZipFile: .* and run the experiment again"):
        read_terms(tmp_path / "x" / "de.npz")


def test_a_ratio_of_nothing_to_nothing_is_no_score():
    assert score_of(Terms(np.zeros((1, 2)), np.zeros((1, 2)))) == 0.0
