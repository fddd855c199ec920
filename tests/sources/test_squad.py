"""SQuAD 1.1's JSON."""

import json

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Answer
from xlmr_flax.sources.squad import read_squad


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


def test_blanked_answers_are_no_answers(write):
    (row,) = read_squad(write(article(qa(text="", start=0))))
    assert row.answers == ()


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
        ({"id": "q1", "question": "Wie?"}, r"qas\[0\]\.answers is missing; SQuAD 1\.1's layout is wanted"),
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
