"""What is known of languages, and that it is known from somewhere."""

import pytest

from xlmr_flax.report.languages import (
    CORPUS_SOURCE,
    FAMILIES,
    GROUPINGS,
    LANGUAGES,
    NOT_THERE,
    UNKNOWN,
    group_of,
    groups,
)
from xlmr_flax.report.xtreme import xtreme
from xlmr_flax.tasks.catalogue import TASKS

SCORED = sorted(
    {code for task in TASKS.values() for lang in task.langs for code in lang.split("-")}
    | {lang for version in ("xtreme", "xtreme-r") for task in xtreme(version).values() for lang in task.langs}
)


@pytest.mark.parametrize("lang", SCORED)
def test_every_language_of_every_task_has_a_family_a_script_and_a_size_with_their_sources(lang):
    known = LANGUAGES[lang]
    assert known.family in FAMILIES
    assert known.name
    assert known.script
    family, script, corpus = known.sources
    assert "languageGroups" in family
    assert "likelySubtags" in script
    assert corpus == (CORPUS_SOURCE if known.gib is not None else NOT_THERE)
    assert "1911.02116" in corpus


def test_the_languages_without_pretraining_text_are_the_four_that_xlmr_lacks():
    assert [lang for lang in SCORED if LANGUAGES[lang].gib is None] == ["ht", "qu", "wo", "yo"]
    assert {(known.gib is None) == (known.tokens is None) for known in LANGUAGES.values()} == {True}


def test_no_family_is_without_a_language():
    assert {known.family for known in LANGUAGES.values()} == FAMILIES.keys()


def test_figures_of_the_paper_s_table():
    """Three rows that stand in the table, and the sum of the two of Chinese."""
    assert [(LANGUAGES[lang].gib, LANGUAGES[lang].tokens) for lang in ("en", "sw", "jv")] == [
        (300.8, 55608),
        (1.6, 275),
        (0.2, 24),
    ]
    assert LANGUAGES["zh"].gib == pytest.approx(46.9 + 16.6)


def test_groups_are_in_order_and_the_unknown_last():
    langs = ["en", "x1", "sw", "yo", "jv", "bn"]
    assert groups(langs, "size") == {
        "none": ["yo"], "< 1 GiB": ["jv"], "1 to 10 GiB": ["sw", "bn"], "≥ 50 GiB": ["en"], UNKNOWN: ["x1"],
    }  # fmt: skip
    assert list(groups(langs, "family")) == ["Atlantic-Congo", "Austronesian", "Indo-European", UNKNOWN]


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_a_pair_is_of_its_first_language_and_an_invented_one_of_no_group(grouping):
    assert group_of("de-en", grouping) == group_of("de", grouping)
    assert group_of("x1", grouping) == UNKNOWN
