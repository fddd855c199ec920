"""SQuAD 2.0's scores, plain and at the best threshold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlmr_flax.metrics.squad_v2 import Guess, best_thresholds, squad_v2

QUESTION = st.tuples(
    st.sampled_from([(), ("red wine",), ("wine", "beer")]), st.sampled_from(["wine", "red wine", "rum"])
)


def test_null_is_predicted_where_it_is_the_better_one():
    gold = [("wine",), ("wine",), (), ()]
    guesses = [Guess("wine", -1.0), Guess("wine", 0.5), Guess("wine", 2.0), Guess("wine", 0.0)]
    scores = squad_v2(gold, guesses)
    assert (scores["f1"], scores["exact_match"]) == (0.5, 0.5)
    assert (scores["has_answer_f1"], scores["no_answer_f1"]) == (0.5, 0.5)
    # At -1 the first alone is answered, at 0.5 the second and, wrongly, the last too: three of four, the lower stays.
    assert (scores["best_f1"], scores["best_exact_match"]) == (0.75, 0.75)
    assert best_thresholds(gold, guesses)["f1"] == (0.75, -1.0)


def test_answering_nothing_may_be_best():
    found = best_thresholds([(), (), ("a b",)], [Guess("x", -5.0), Guess("y", 1.0), Guess("a", 7.0)])
    assert found == {"f1": (2 / 3, 0.0), "exact_match": (2 / 3, 0.0)}


def test_f1_and_exact_match_have_a_threshold_each():
    gold = [("red wine",), (), ("beer",)]
    guesses = [Guess("wine", 1.0), Guess("rum", 0.0), Guess("beer", 2.0)]
    found = best_thresholds(gold, guesses)
    assert found["f1"] == pytest.approx(((2 / 3 + 1) / 3, 2.0))
    assert found["exact_match"] == (1 / 3, 0.0)


def test_of_equal_null_scores_the_earlier_question_is_answered_first_as_in_the_official_script():
    gold, guesses = [("a b",), ()], [Guess("a b", 0.0), Guess("x", 0.0)]
    assert squad_v2(gold, guesses)["best_f1"] == 1.0  # which no threshold can give
    assert squad_v2(gold[::-1], guesses[::-1])["best_f1"] == 0.5


def test_a_gold_answer_without_words_wants_none():
    scores = squad_v2([("the",), ("the", "wine")], [Guess("", -1.0), Guess("wine", -1.0)])
    assert (scores["f1"], scores["exact_match"]) == (1.0, 1.0)


def test_an_answer_of_articles_alone_costs_a_point_at_the_best_threshold_as_in_the_official_script():
    gold, guesses = [(), ("wine",)], [Guess("the", -2.0), Guess("wine", -1.0)]
    scores = squad_v2(gold, guesses)
    assert (scores["f1"], scores["best_f1"]) == (1.0, 0.5)


def test_questions_of_one_kind_have_no_score_of_the_other():
    assert "no_answer_f1" not in squad_v2([("a",)], [Guess("a", 0.0)])
    assert "has_answer_f1" not in squad_v2([()], [Guess("a", 0.0)])


@given(st.lists(QUESTION, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_no_threshold_gives_more_than_the_best_one(questions, random):
    nulls = random.sample(range(-20, 20), len(questions))  # all different: what ties do is tested above
    gold = [answers for answers, _ in questions]
    best = squad_v2(gold, [Guess(text, null) for (_, text), null in zip(questions, nulls, strict=True)])
    every = []
    for threshold in (-100, *nulls):
        shifted = [Guess(text, null - threshold) for (_, text), null in zip(questions, nulls, strict=True)]
        every.append(squad_v2(gold, shifted))
    assert best["best_f1"] == pytest.approx(max(scores["f1"] for scores in every))
    assert best["best_exact_match"] == pytest.approx(max(scores["exact_match"] for scores in every))
