"""Cosmos QA's CSV."""

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.sources.cosmosqa import read_cosmosqa

HEADER = "id,context,question,answer0,answer1,answer2,answer3,label\n"


@pytest.fixture
def write(tmp_path):
    def written(text):
        path = tmp_path / "valid.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return written


def test_the_context_is_the_prompt_the_question_ends_it_and_a_context_makes_a_group(write):
    rows = read_cosmosqa(
        write(
            HEADER
            + 'q1,"I fell, hard .",Why ?,a,b,c,d,2\nq2,I won .,How ?,e,,g,h,0\nq3,"I fell, hard .",So ?,i,j,k,l,3\n'
        )
    )
    assert [tuple(row) for row in rows] == [
        ("q1", "q1", "I fell, hard .", ("a", "b", "c", "d"), 2, "Why ?"),
        ("q2", "q2", "I won .", ("e", "", "g", "h"), 0, "How ?"),
        ("q3", "q1", "I fell, hard .", ("i", "j", "k", "l"), 3, "So ?"),
    ]


def test_a_file_without_the_label_column_has_no_labels(write):
    (row,) = read_cosmosqa(write(HEADER.replace(",label", "") + "q1,c,q,a,b,c,d\n"))
    assert row.label is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1,c,q,a,b,c,d,2\n", r"valid\.csv:1: the header is 'q1,c,q,a,b,c,d,2', 'id,context,question,answer0,"),
        (HEADER.replace("question", "query"), r"valid\.csv:1: the header is 'id,context,query"),
        (HEADER, r"valid\.csv: there is a header but no row"),
        (HEADER + "q1,c,q,a,b,c,d\n", r"valid\.csv:2: 7 columns, the header has 8; complete the row"),
        (HEADER + "q1,c,q,a,b,c,d,1,x\n", r"valid\.csv:2: 9 columns, the header has 8"),
        (HEADER + "q1,c,q,a,b,c,d,4\n", r"valid\.csv:2: the label is '4', the number of the right answer from 0 to 3"),
        (HEADER + "q1,c,q,a,b,c,d,\n", r"valid\.csv:2: the label is '', the number"),
        (HEADER + 'q1,"a\nb",q,a,b,c,d,1\nq1,c,q,a,b,c,d,1\n', r"valid\.csv:4: the id 'q1' stands on line 2 already"),
        (HEADER + 'q1,"c" d,q,a,b,c,d,1\n', r"valid\.csv:2: the quoting is broken"),
        (HEADER + 'q1,"cut off', r"valid\.csv:2: the quoting is broken \(unexpected end of data\)"),
    ],
)
def test_rows_that_do_not_fit_are_named(write, text, message):
    with pytest.raises(InputError, match=message):
        read_cosmosqa(write(text))
