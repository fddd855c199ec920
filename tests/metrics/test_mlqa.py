"""MLQA's scores, whose normaliser knows the language."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlmr_flax.errors import InputError
from xlmr_flax.metrics.mlqa import mlqa, normalised

TEXTS = st.text(st.sampled_from("ab ا ل北京。，'$-\u3000thedern"), max_size=12)


@pytest.mark.parametrize(
    ("lang", "text", "wanted"),
    [
        ("en", "The Tower — of «an» Ape…", "tower of ape"),
        ("en", "$5+5", "55"),  # ASCII's signs go too, although Unicode calls them symbols
        ("en", "€5", "€5"),
        ("es", "Unas casas y los el gato", "casas y gato"),
        ("de", "Eines Tages, dem die Stunde", "tages stunde"),
        ("vi", "những cái của là nhà", "nhà"),
        ("hi", "यह एक घर है।", "यह एक घर है"),
        ("zh", "北京2008年，abc def", "北 京 2008 年 abc def"),
        ("zh", "㐀ab", "㐀ab"),  # outside U+4E00-9FA5 a character is no word
        ("zh", "\u9fa5\u9fa6a", "\u9fa5 \u9fa6a"),
        ("zh", "the", "the"),
    ],
)
def test_each_language_has_its_punctuation_articles_and_words(lang, text, wanted):
    assert normalised(text, lang) == wanted


def test_the_arabic_article_goes_wherever_its_letters_stand():
    assert normalised("البيت", "ar") == "بيت"
    assert normalised("سالم", "ar") == "س م"  # Salim, whose name has no article


def test_a_chinese_answer_shares_characters():
    # Two of three characters: 2·(2/2)·(2/3) / (2/2 + 2/3).
    assert mlqa([("北京市",)], ["北京。"], "zh") == pytest.approx({"f1": 0.8, "exact_match": 0.0})
    assert mlqa([("北京。",)], ["北京"], "zh") == {"f1": 1.0, "exact_match": 1.0}


def test_the_answers_of_a_pair_are_in_the_language_of_its_context():
    assert mlqa([("der Hund",)], ["Hund"], "de-en") == {"f1": 1.0, "exact_match": 1.0}
    assert mlqa([("der Hund",)], ["Hund"], "en-de")["exact_match"] == 0.0


def test_a_missing_prediction_and_an_empty_one_score_nothing():
    assert mlqa([("Hund",), ("Hund",)], [None, ""], "de") == {"f1": 0.0, "exact_match": 0.0}


def test_another_language_is_refused():
    with pytest.raises(InputError, match="MLQA cannot score answers in 'fr'; its languages are en, es, de, vi, ar"):
        mlqa([("a",)], ["a"], "fr")


@given(TEXTS, st.sampled_from(["en", "es", "de", "vi", "ar", "hi", "zh"]))
def test_what_is_left_has_single_spaces_no_capitals_and_no_punctuation(text, lang):
    left = normalised(text, lang)
    assert left == " ".join(left.split()) == left.lower()
    assert not any(unicodedata.category(char).startswith("P") or char in "$+<=>^`|~" for char in left)


@given(TEXTS, TEXTS, st.sampled_from(["en", "ar", "zh"]))
def test_f1_is_symmetric_and_an_exact_match_with_words_is_whole(one, other, lang):
    scores = mlqa([(one,)], [other], lang)
    assert scores["f1"] == pytest.approx(mlqa([(other,)], [one], lang)["f1"])
    if scores["exact_match"] and normalised(one, lang):
        assert scores["f1"] == 1.0
