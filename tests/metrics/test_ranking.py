"""Where the right documents stand in a ranking."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlmr_flax.errors import InputError
from xlmr_flax.metrics.ranking import mean_average_precision, mean_reciprocal_rank

RANKINGS = st.lists(st.permutations(range(25)), min_size=1, max_size=4)


def test_average_precision_is_the_mean_of_the_precisions_at_the_right_documents():
    assert mean_average_precision([{"a", "b"}], [["x", "a", "b"]])["map@20"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert mean_average_precision([{"a"}, {"b"}], [["a"], ["a"]]) == {"map@20": 0.5}


def test_a_right_document_that_is_not_found_counts():
    assert mean_average_precision([{"a", "b", "c", "d"}], [["a"]]) == {"map@20": 0.25}


def test_a_document_named_twice_counts_once():
    assert mean_average_precision([{"a", "b"}], [["a", "a", "b"]])["map@20"] == pytest.approx((1 + 2 / 3) / 2)


def test_only_the_first_twenty_count_and_more_right_ones_cannot_be_missed():
    gold, ranking = [set(range(30))], [list(range(30))]
    assert mean_average_precision(gold, ranking) == {"map@20": 1.0}
    assert mean_average_precision([{"a"}], [["x"] * 20 + ["a"]]) == {"map@20": 0.0}
    assert mean_reciprocal_rank([{"a"}], [["x"] * 20 + ["a"]]) == {"mrr@20": 0.0}


def test_reciprocal_rank_is_that_of_the_first_right_document():
    assert mean_reciprocal_rank([{"a", "b"}, {"a"}, {"c"}], [["x", "b", "a"], ["a"], []]) == {"mrr@20": 0.5}


def test_queries_without_a_right_document_and_unequal_lists_are_refused():
    with pytest.raises(InputError, match="a query has no right document"):
        mean_average_precision([set()], [["a"]])
    with pytest.raises(InputError, match="1 predictions for 2 gold values"):
        mean_reciprocal_rank([{"a"}, {"b"}], [["a"]])


@given(RANKINGS, st.integers(0, 24))
def test_with_one_right_document_both_are_the_same(rankings, right):
    gold = [{right}] * len(rankings)
    found = mean_average_precision(gold, rankings)["map@20"]
    assert found == pytest.approx(mean_reciprocal_rank(gold, rankings)["mrr@20"])
    places = [list(ranking).index(right) for ranking in rankings]
    assert found == pytest.approx(sum(1 / (place + 1) for place in places if place < 20) / len(places))
