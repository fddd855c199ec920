"""SQuAD's JSON, and those of its kin."""

import json

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Answer, Excluded, Question
from xlmr_flax.sources.squad import (
    read_squad,
    read_squad_v2,
    read_translated_squad,
    read_tydiqa,
    read_tydiqa_part,
)


def article(*qas, context="Der 𝕏-Turm ist hoch.", **more):
    return {"paragraphs": [{"context": context, "qas": list(qas)}], **more}


def qa(name="q1", text="hoch", start=15, question="Wie ist er?"):
    return {"id": name, "question": question, "answers": [{"text": text, "answer_start": start}]}


@pytest.fixture
def write(tmp_path):
    def written(*articles):
        path = tmp_path / "xquad.de.json"
        path.write_text(json.dumps({"version": "1.1", "data": list(articles)}), encoding="utf-8")
        return path

    return written


def test_offsets_count_code_points(write):
    (row,) = read_squad(write(article(qa(), title="Turm")))
    assert row.answers == (Answer("hoch", 15),)
    assert (row.id, row.group, row.question) == ("q1", "Turm", "Wie ist er?")
    assert row.context[15:19] == "hoch"


def test_an_article_without_a_title_is_a_group_of_its_own(write):
    rows = read_squad(write(article(qa("a"), qa("b")), article(qa("c"), title=" "), article(qa("d"), title="T")))
    assert [row.group for row in rows] == ["article 0", "article 0", "article 1", "T"]


@pytest.mark.parametrize("answers", [[], [{"text": "", "answer_start": 0}]])
def test_blanked_answers_are_hidden(write, answers):
    (row,) = read_squad(write(article(qa() | {"answers": answers})))
    assert row.answers is None


def test_a_question_without_answer_is_for_another_reader(write):
    with pytest.raises(InputError, match=r"qas\[0\] has no answer \(is_impossible\), which is SQuAD 2\.0"):
        read_squad(write(article(qa() | {"answers": [], "is_impossible": True})))


def test_in_squad_2_an_impossible_question_has_no_answer_and_no_other_has_none(write):
    rows = read_squad_v2(
        write(article(qa("a") | {"is_impossible": False}, qa("b") | {"answers": [], "is_impossible": True}))
    )
    assert [(row.id, row.answers) for row in rows] == [("a", (Answer("hoch", 15),)), ("b", ())]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, r"qas\[0\]\.is_impossible is missing; SQuAD's layout is wanted"),
        ({"is_impossible": "no"}, r'qas\[0\]\.is_impossible is "no", true or false is wanted'),
        ({"is_impossible": 0}, r"qas\[0\]\.is_impossible is 0, true or false is wanted"),
        (
            {"is_impossible": True},
            r"is_impossible is true but question 'q1' has 1 answers; wanted none where it is true",
        ),
        ({"is_impossible": False, "answers": []}, r"is_impossible is false but question 'q1' has 0 answers"),
        ({"is_impossible": False, "answers": [{"text": "", "answer_start": 0}]}, r"answer to question 'q1' is blank"),
        (
            {"is_impossible": False, "answers": [{"text": "hoch", "answer_start": 1}]},
            r"the answer to question 'q1' should stand at offset 1: found 'er 𝕏'",
        ),
    ],
)
def test_squad_2_says_the_same_twice_or_is_refused(write, changes, message):
    with pytest.raises(InputError, match=message):
        read_squad_v2(write(article(qa() | changes)))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"answers": [{"text": "hoch", "answer_start": 14}]}, "an answer that does not stand at its offset"),
        ({"answers": [{"text": "hoch", "answer_start": -5}]}, "an answer that does not stand at its offset"),
        ({"answers": [{"text": "niedrig", "answer_start": 15}]}, "an answer that does not stand at its offset"),
        ({"answers": [{"text": "", "answer_start": 0}]}, "a blank answer, or none"),
        ({"answers": []}, "a blank answer, or none"),
        ({"question": " "}, "a blank context or question"),
    ],
)
def test_what_a_translator_lost_is_excluded_and_nothing_else(write, changes, reason):
    rows = read_translated_squad(write(article(qa("a"), qa("b") | changes, title="Turm")))
    assert rows == [
        Question("a", "Turm", "Der 𝕏-Turm ist hoch.", "Wie ist er?", (Answer("hoch", 15),)),
        Excluded("b", "Turm", reason),
    ]


def test_a_translation_without_its_context_is_excluded(write):
    rows = read_translated_squad(write(article(qa("a"), context="\n"), article(qa("b"))))
    assert [type(row) for row in rows] == [Excluded, Question]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answers": {}}, r"answers is an object, a list is wanted"),
        ({"answers": [{"text": "hoch", "answer_start": None}]}, r"answer_start is null, a whole number is wanted"),
        ({"question": 5}, r"question is 5, a string is wanted"),
        ({"id": ""}, r"id is blank"),
    ],
)
def test_a_translation_of_another_shape_is_refused(write, changes, message):
    with pytest.raises(InputError, match=message):
        read_translated_squad(write(article(qa() | changes)))


def test_of_nine_languages_one_is_read_and_every_question_by_exactly_one(write):
    names = ["english-12--1-0", "finnish-7-1", "english-12--1-1", "swahili-3-2"]
    path = write(article(*map(qa, names), title="T"))
    found = {lang: [row.id for row in read_tydiqa(path, lang)] for lang in ("en", "fi", "sw")}
    assert found == {"en": [names[0], names[2]], "fi": [names[1]], "sw": [names[3]]}


def test_a_file_without_the_language_says_which_it_has(write):
    with pytest.raises(InputError, match=r"no question's id begins with korean-; those here: english, finnish"):
        read_tydiqa(write(article(qa("finnish-1-1"), qa("english-1-1"))), "ko")


def test_an_id_without_a_language_is_refused(write):
    with pytest.raises(InputError, match=r"qas\[0\]\.id is '17', wanted the name of a language, a hyphen"):
        read_tydiqa(write(article(qa("17"))), "en")


def test_ids_that_were_cut_are_told_apart_and_one_context_is_one_group(write):
    path = write(article(qa("1")), article(qa("1", start=6), context="Er ist hoch."), article(qa("0")))
    with pytest.raises(InputError, match=r"should stand at offset 6: found ' hoc'"):
        read_tydiqa_part(path)
    path = write(article(qa("1")), article(qa("1", start=7), context="Er ist hoch."), article(qa("0")))
    rows = read_tydiqa_part(path)
    assert [(row.id, row.group) for row in rows] == [("0-1", "context 0"), ("1-1", "context 1"), ("2-0", "context 0")]


def test_every_answer_is_kept(write):
    question = qa()
    question["answers"].append({"text": "Turm ist hoch", "answer_start": 6})
    assert len(read_squad(write(article(question)))[0].answers) == 2


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (
            qa(start=14),
            r"answers\[0\]: the answer to question 'q1' should stand at offset 14: found ' hoc', wanted 'hoch'",
        ),
        (qa(start=99), r"offset 99: found '', wanted 'hoch' \(the context has 20 code points\)"),
        (qa(start=-5), r"offset -5: found '', wanted 'hoch'"),
        (qa(text="", start=3), r"offset 3: found '', wanted ''"),
        (qa(start="15"), r'answers\[0\]\.answer_start is "15", a whole number is wanted'),
        (qa(start=True), r"answers\[0\]\.answer_start is true, a whole number is wanted"),
        (qa(start=15.0), r"answers\[0\]\.answer_start is 15\.0, a whole number is wanted"),
        (qa(text=None), r"answers\[0\]\.text is null, a string is wanted"),
        (qa(name=7), r"data\[0\]\.paragraphs\[0\]\.qas\[0\]\.id is 7, a string is wanted"),
        (qa(name=" "), r"qas\[0\]\.id is blank, text is wanted"),
        (qa(question="\ud800?"), r"qas\[0\]\.question holds U\+D800, which is no character of a text"),
        (qa(question="a\0?"), r"qas\[0\]\.question holds U\+0000"),
        ({"id": "q1", "question": "Wie?"}, r"qas\[0\]\.answers is missing; SQuAD's layout is wanted"),
        ({"id": "q1", "question": "Wie?", "answers": {}}, r"qas\[0\]\.answers is an object, a list is wanted"),
        ("q1", r'qas\[0\] is "q1", an object is wanted'),
    ],
)
def test_questions_that_do_not_fit_are_named(write, question, message):
    with pytest.raises(InputError, match=r"xquad\.de\.json: .*" + message):
        read_squad(write(article(question)))


def test_an_id_that_occurs_twice_is_refused(write):
    with pytest.raises(InputError, match=r"data\[1\]\.paragraphs\[0\]\.qas\[0\]: the question id 'q1' occurs twice"):
        read_squad(write(article(qa()), article(qa())))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"data": [\n{"paragraphs"', r"xquad\.json:2: not JSON at column 14 .*was its download cut off\?"),
        ("[1, 2]", r"xquad\.json: the file is a list, an object is wanted"),
        ("{}", r"xquad\.json: data is missing"),
        ('{"data": []}', r"xquad\.json: there is not one question in data\[\]\.paragraphs\[\]\.qas\[\]"),
        ('{"data": [[]]}', r"xquad\.json: data\[0\] is a list, an object is wanted"),
        ('{"data": [{"paragraphs": 5}]}', r"xquad\.json: data\[0\]\.paragraphs is 5, a list is wanted"),
        ("[" * 200_000, r"xquad\.json: JSON that cannot be read"),
        ('{"data": ' + "9" * 5000 + "}", r"xquad\.json: JSON that cannot be read"),
    ],
)
def test_json_of_another_shape_is_refused(tmp_path, text, message):
    path = tmp_path / "xquad.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_squad(path)
