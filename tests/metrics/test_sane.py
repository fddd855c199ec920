"""The fairer scores of answers."""

import pytest

from xlmr_flax.metrics.sane import normalised, squad_sane
from xlmr_flax.metrics.squad import squad


@pytest.mark.parametrize(
    ("lang", "text", "wanted"),
    [
        ("zh", "北京。", "北 京"),
        ("th", "กข ค", "ก ข ค"),
        ("ja", "カタカナ2024", "カ タ カ ナ 2024"),
        ("en", "The ＡＢＣ", "abc"),
        ("fr", "the «chat»", "the chat"),
        ("ar", "سالم البيت", "سالم بيت"),
        ("de", "das Haus", "haus"),
    ],
)
def test_punctuation_width_and_articles_do_not_count_in_any_language(lang, text, wanted):
    assert normalised(text, lang) == wanted


def test_chinese_is_scored_by_character_and_labelled():
    gold, found = [("北京市",)], ["北京。"]
    assert squad(gold, found) == {"f1": 0.0, "exact_match": 0.0}
    assert squad_sane(gold, found, "zh") == pytest.approx({"f1_sane": 0.8, "exact_match_sane": 0.0})
    assert squad_sane([("北京",)], found, "zh") == {"f1_sane": 1.0, "exact_match_sane": 1.0}
