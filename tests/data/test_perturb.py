"""Inputs made worse: what is hit, what stays, and that nothing but its name decides on it."""

import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlmr_flax.data.perturb import clusters, look_up, perturbed, switched, trimmed, typos, without_diacritics
from xlmr_flax.errors import InputError
from xlmr_flax.graph.nodes import Perturbation
from xlmr_flax.sources.rows import Aligned, Answer, Choices, Classified, Question, Tagged

TEXT = "In 1969 walked the first people on our moon; they came back after eight days, and nobody believed them."
SCRIPTS = [
    TEXT,
    "किसी भी भाषा में लिखना",
    "ประเทศไทยสวยงาม",
    "敏捷的棕色狐狸跳过了懒狗",
    "Съешь же ещё этих булок",
    "빠른 갈색 여우가",
]
DICTIONARY = {"moon": (("Mond",), ("lune",)), "first": (("erste", "ersten"),), "Nina": (("Ninotchka",),)}
words = st.text(alphabet=st.characters(categories=["Lu", "Ll", "Lo", "Mn", "Nd", "Po", "Zs"]), max_size=40)


def drawn(seed=0):
    return np.random.default_rng(seed)


def kind(name, strength=1.0, seed=0):
    return Perturbation(name, strength, seed, None, None)


@given(words, st.floats(0, 1), st.integers(0, 9))
def test_typos_keep_every_word_and_all_that_is_no_letter(text, strength, seed):
    found = typos(text, strength, drawn(seed))
    assert [unicodedata.category(sign)[0] == "L" for sign in found].count(True) <= 2 * len(text)
    others = [letter for letter in clusters(text) if unicodedata.category(letter[0])[0] != "L"]
    assert [letter for letter in clusters(found) if unicodedata.category(letter[0])[0] != "L"] == others
    assert len(found.split()) == len(text.split())


@pytest.mark.parametrize("text", SCRIPTS)
def test_typos_hit_their_share_of_the_letters_and_keep_marks_on_them(text):
    before = Counter(clusters(text))
    letters = sum(count for letter, count in before.items() if unicodedata.category(letter[0])[0] == "L")
    hits = []
    for seed in range(400):
        found = clusters(typos(text, 0.1, drawn(seed)))
        assert not set(found) - set(before)  # no new letter, and no mark that has lost its own
        hits.append(found != clusters(text))
    # A text of n letters stays as it is with probability 0.9 ** n; swaps keep a second hit from being seen.
    assert abs(np.mean(hits) - (1 - 0.9**letters)) < 4 * np.sqrt(0.25 / 400)


def test_every_typo_shows():
    assert all(typos("all", 1.0, drawn(seed)) != "all" for seed in range(50))


def test_a_greater_strength_hits_what_a_smaller_one_hits():
    marked = "ä" * 200
    places = [
        {place for place, letter in enumerate(without_diacritics(marked, strength, drawn())) if letter == "a"}
        for strength in (0.05, 0.2, 0.7, 1.0)
    ]
    assert places[0] < places[1] < places[2] < places[3] == set(range(200))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Käfig, naïve, Việt Nam đẹp", "Kafig, naive, Viet Nam đep"),  # đ is a letter of its own
        ("مُحَمَّد", "محمد"),
        ("ещё", "еще"),
        ("ก่า", "กา"),  # the tone goes, the vowel stays
        ("की भाषा", "की भाषा"),  # vowel signs are no diacritics
        ("빠른", "빠른"),
        ("plain", "plain"),
        ("ﬁn A\u030a", "ﬁn A"),  # what has none keeps its bits, compatibility characters too
    ],
)
def test_diacritics_go_and_letters_stay(text, wanted):
    assert without_diacritics(text, 1.0, drawn()) == wanted


def test_switched_words_keep_their_case_and_what_stands_around_them():
    found = {switched("(Moon) first, MOON\u00a0sun", 1.0, drawn(seed), DICTIONARY) for seed in range(60)}
    wanted = {
        f"({a}) {b}, {c}\u00a0sun" for a in ("Mond", "Lune") for b in ("erste", "ersten") for c in ("MOND", "LUNE")
    }
    assert found == wanted
    assert look_up("Nina", DICTIONARY) == (("Ninotchka",),)
    assert look_up("nina", DICTIONARY) == ()
    assert trimmed("«की»…") == ("«", "की", "»…")
    assert switched(TEXT, 0.0, drawn(), DICTIONARY) == TEXT


def test_a_question_changes_and_its_context_and_answers_do_not():
    row = Question("q", "g", TEXT, "Who walked there first?", (Answer("people", 25),))
    (found,), changed = perturbed([row], kind("typos"), "en")
    assert changed == 1
    assert found.question != row.question
    assert found._replace(question=row.question) == row


def test_labels_ids_and_the_number_of_words_stay():
    rows = [
        Classified("1", "1", TEXT, "They came back.", "entailment"),
        Classified("2", "2", TEXT, None, None),
        Choices("3", "3", TEXT, ("It was true.", "It was not."), 1, "What was it?"),
        Tagged("4", "4", ("They", "came", "."), ("PRON", "VERB", "PUNCT")),
    ]
    found, changed = perturbed(rows, kind("typos"), "en")
    assert changed == 4
    assert [row.id for row in found] == ["1", "2", "3", "4"]
    assert (found[0].label, found[1].pair, found[2].label, found[3].tags) == ("entailment", None, 1, rows[3].tags)
    assert len(found[2].options) == 2
    assert len(found[3].words) == 3
    assert all(found[3].words)


def test_what_happens_to_a_row_depends_on_its_name_and_on_no_other_row():
    rows = [Classified(str(n), str(n), TEXT, None, "a") for n in range(6)]
    whole, _ = perturbed(rows, kind("typos", 0.2), "en")
    assert perturbed(rows[3:], kind("typos", 0.2), "en")[0] == whole[3:]
    assert len({row.text for row in whole}) == 6
    assert perturbed(rows, kind("typos", 0.2, seed=1), "en")[0] != whole
    assert perturbed(rows, kind("typos", 0.2), "de")[0] != whole


def test_each_text_of_a_pair_of_languages_meets_its_own_dictionary():
    row = Classified("1", "1", "moon Mond", "moon Mond", "a")
    (found,), _ = perturbed([row], kind("code_switch"), "en-de", [{"moon": (("lune",),)}, {"Mond": (("luna",),)}])
    assert (found.text, found.pair) == ("lune Mond", "moon luna")


def test_rows_without_an_input_are_refused():
    with pytest.raises(InputError, match="row 1: a Aligned has no input that can be perturbed"):
        perturbed([Aligned("1", "1", "a", "b")], kind("typos"), "en")
