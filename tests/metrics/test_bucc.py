"""F1 of mined pairs, and the threshold that makes it highest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlmr_flax.errors import InputError
from xlmr_flax.metrics.bucc import best_threshold, bucc, mined

SCORES = st.dictionaries(st.integers(0, 15), st.integers(0, 40).map(float), min_size=1)


def test_f1_is_of_sets():
    gold = [("de-1", "en-1"), ("de-2", "en-2")]
    found = bucc(gold, [("de-1", "en-1"), ("de-1", "en-1"), ("de-2", "en-9")])
    assert found == {"f1": 0.5, "precision": 0.5, "recall": 0.5}
    assert bucc(gold, []) == bucc(gold, [("en-1", "de-1")]) == {"f1": 0.0, "precision": 0.0, "recall": 0.0}


def test_without_gold_pairs_there_is_nothing_to_score():
    with pytest.raises(InputError, match="no gold pairs: there is nothing to score"):
        bucc([], [("a", "b")])
    with pytest.raises(InputError, match="no gold pairs: there is no threshold to find"):
        best_threshold({("a", "b"): 1.0}, [])


def test_the_threshold_is_midway_to_the_next_pair():
    scores = {"a": 1.5, "b": 1.25, "c": 1.0, "d": 0.5}
    assert best_threshold(scores, {"a", "b"}) == 1.125
    assert mined(scores, 1.125) == ["a", "b"]


def test_of_equally_good_thresholds_the_higher_one_stays():
    # Two of two and one missed, or three of four: F1 is 4/5 and then 6/7, or for one of one 2/3 as for two of four.
    assert best_threshold({"a": 4.0, "x": 3.0, "y": 2.0, "b": 1.0}, {"a", "b"}) == 3.5


def test_where_all_pairs_are_best_taken_the_last_ones_score_is_the_threshold():
    scores = {"a": 2.0, "b": 1.0}
    assert best_threshold(scores, {"a", "b"}) == 1.0
    assert mined(scores, 1.0) == ["a", "b"]


def test_where_no_gold_pair_was_found_the_threshold_is_zero():
    assert best_threshold({"a": 2.0}, {"b"}) == best_threshold({}, {"b"}) == 0.0


@given(SCORES, st.sets(st.integers(0, 15), min_size=1))
def test_no_cut_of_distinct_scores_gives_a_higher_f1(scores, gold):
    scores = {pair: score + pair / 100 for pair, score in scores.items()}  # all different
    reached = bucc(gold, mined(scores, best_threshold(scores, gold)))["f1"] if gold & scores.keys() else 0.0
    ranked = sorted(scores, key=scores.get, reverse=True)
    assert reached == max(bucc(gold, ranked[:count])["f1"] for count in range(1, len(ranked) + 1))
