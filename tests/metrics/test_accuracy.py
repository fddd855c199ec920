"""Accuracy, of classes and of retrieval, and with the F1 of one class."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlmr_flax.errors import InputError
from xlmr_flax.metrics.accuracy import accuracy, accuracy_and_class_f1, accuracy_and_f1

PAIRS = st.lists(st.tuples(st.sampled_from("01"), st.sampled_from("01")), min_size=1)


def test_accuracy_is_the_share_of_equal_values():
    assert accuracy(["a", "b", "c"], ["a", "c", "c"]) == {"accuracy": 2 / 3}


def test_retrieval_counts_the_indices_that_are_their_own():
    assert accuracy([0, 1, 2, 3], [0, 2, 2, 1]) == {"accuracy": 0.5}


def test_lists_of_unequal_length_are_refused():
    with pytest.raises(InputError, match="1 predictions for 2 gold values; one for each is wanted"):
        accuracy(["a", "b"], ["a"])


def test_nothing_has_no_score():
    with pytest.raises(InputError, match="there is nothing to score"):
        accuracy([], [])


def test_f1_is_that_of_the_positive_class_and_the_headline_is_the_mean():
    # One true positive, one false, two missed: precision 1/2, recall 1/3; three of six are right.
    found = accuracy_and_f1(list("111000"), list("100100"))
    assert found == pytest.approx({"accuracy": 0.5, "f1": 0.4, "accuracy_and_f1": 0.45})


def test_f1_without_a_true_positive_is_zero():
    assert accuracy_and_f1(list("00"), list("00")) == {"accuracy": 1.0, "f1": 0.0, "accuracy_and_f1": 0.5}


@given(PAIRS)
def test_f1_is_the_harmonic_mean_of_precision_and_recall(pairs):
    gold, found = zip(*pairs, strict=True)
    right = sum(pair == ("1", "1") for pair in pairs)
    precision, recall = (right / side.count("1") if "1" in side else 0.0 for side in (found, gold))
    wanted = 2 * precision * recall / (precision + recall) if right else 0.0
    assert accuracy_and_f1(gold, found)["f1"] == pytest.approx(wanted)


def test_macro_f1_is_the_mean_over_the_classes_that_occur():
    # Of "1" as above 2/5; of "0" two are right, three are true and four are said: 4/7.
    found = accuracy_and_class_f1(list("111000"), list("100100"))
    assert found == pytest.approx({"accuracy": 0.5, "f1": 0.4, "macro_f1": (0.4 + 4 / 7) / 2})
    assert accuracy_and_class_f1(list("11"), list("11")) == {"accuracy": 1.0, "f1": 1.0, "macro_f1": 1.0}
