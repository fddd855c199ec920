"""Accuracy, of classes and of retrieval."""

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.metrics.accuracy import accuracy


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
