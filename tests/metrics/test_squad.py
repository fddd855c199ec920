"""SQuAD 1.1's scores."""

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.metrics.squad import normalised, squad


def test_case_articles_ascii_punctuation_and_spaces_do_not_count():
    assert squad([("The  Eiffel-Tower!",)], ["eiffeltower a"]) == {"f1": 1.0, "exact_match": 1.0}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("An apple, a pear & the rest.", "apple pear rest"),
        ("北京。", "北京。"),
        ("Theatre anthem", "theatre anthem"),
        ("a\u3000b", "b"),
        ("U.S.A", "usa"),
        ("the", ""),
    ],
)
def test_the_normaliser_is_english_whatever_the_language(text, wanted):
    assert normalised(text) == wanted


def test_f1_counts_words_with_their_number():
    # found 3, wanted 4, in common "new new york": no, only one "new" is wanted: 2 of 3 and 2 of 4.
    assert squad([("new york city hall",)], ["new new york"]) == {"f1": pytest.approx(4 / 7), "exact_match": 0.0}


def test_chinese_without_spaces_is_one_word():
    assert squad([("北京市",)], ["北京"]) == {"f1": 0.0, "exact_match": 0.0}


def test_the_best_gold_answer_counts_and_each_score_has_its_own():
    assert squad([("no", "red wine", "wine")], ["wine"]) == {"f1": 1.0, "exact_match": 1.0}
    assert squad([("red wine", "no")], ["wine"]) == {"f1": pytest.approx(2 / 3), "exact_match": 0.0}


def test_a_missing_prediction_scores_nothing_and_counts():
    assert squad([("a b",), ("b",)], [None, "b"]) == {"f1": 0.5, "exact_match": 0.5}


def test_an_answer_that_normalises_to_nothing_matches_exactly_but_has_no_words():
    assert squad([("the",)], ["a"]) == {"f1": 0.0, "exact_match": 1.0}
    assert squad([("the",)], [""]) == {"f1": 0.0, "exact_match": 1.0}


def test_a_question_without_gold_answers_is_refused():
    with pytest.raises(InputError, match=r"question 2 has no gold answer"):
        squad([("a",), ()], ["a", "b"])


def test_lists_of_unequal_length_are_refused():
    with pytest.raises(InputError, match="0 predictions for 1 gold values"):
        squad([("a",)], [])
