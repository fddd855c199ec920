"""XTREME's TSV and GLUE's."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlmr_flax.errors import InputError
from xlmr_flax.sources.tsv import read_glue_pairs, read_hypotheses, read_pairs

# What a text file can hold: no NUL, and no surrogates, which UTF-8 cannot write.
CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@pytest.fixture
def write(tmp_path):
    def written(text):
        path = tmp_path / "dev-en.tsv"
        path.write_bytes(text.encode())
        return path

    return written


def test_quotes_that_a_csv_writer_doubled_are_single_again(write):
    path = write('"He said ""hi"""\tShe "left".\tneutral\r\nA\tB\tentailment\r\n')
    assert [tuple(row) for row in read_pairs(path)] == [
        ("1", "1", 'He said "hi"', 'She "left".', "neutral"),
        ("2", "2", "A", "B", "entailment"),
    ]


def test_a_file_of_two_columns_has_no_labels(write):
    assert [row.label for row in read_pairs(write("A\tB\nC\tD\n"))] == [None, None]


def test_ids_are_first_lines_also_after_a_quoted_line_feed(write):
    assert [row.id for row in read_pairs(write('"A\nA"\tB\t0\nC\tD\t1\n'))] == ["1", "3"]


@given(table=st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=5))
def test_what_a_csv_writer_wrote_is_read_back(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("round") / "dev-en.tsv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t").writerow(("first", "second", "label"))
        csv.writer(file, delimiter="\t").writerows(table)
    assert [(row.text, row.pair, row.label) for row in read_pairs(path)[1:]] == table


def test_hypotheses_stand_alone_with_the_label_of_their_pair(write):
    (row,) = read_hypotheses(write("A man sleeps.\tNobody sleeps.\tcontradiction\n"))
    assert (row.text, row.pair, row.label) == ("Nobody sleeps.", None, "contradiction")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A\tB\t0\nC\tD\n", r"dev-en\.tsv:2: 2 columns between TABs, 3 \(sentence 1, sentence 2, label\) wanted"),
        ("A\tB\nC\tD\t0\n", r"dev-en\.tsv:2: 3 columns between TABs, 2, or 3 with a label, in every row wanted"),
        ("A\n", r"dev-en\.tsv:1: 1 column between TABs, 2, or 3"),
        ("A\tB\t0\n\nC\tD\t1\n", r"dev-en\.tsv:2: 0 columns between TABs, 3"),
        ("A\tB\t0\n1\tC\tD\t0\n", r"dev-en\.tsv:2: 4 columns between TABs, 3"),
        ('A\tB\t0\n"Hi" he said\tB\t0\n', r"dev-en\.tsv:2: the quoting is broken .* quotes inside it are doubled"),
        ('A\tB\t0\n"cut off\tB', r"dev-en\.tsv:2: the quoting is broken \(unexpected end of data\)"),
    ],
)
def test_rows_that_do_not_fit_are_named(write, text, message):
    with pytest.raises(InputError, match=message):
        read_pairs(write(text))


GLUE = "index\tgenre\tsentence1\tsentence2\tlabel1\tgold_label\n"


def test_glue_rows_are_found_by_their_header_and_quotes_are_text(write):
    (row,) = read_glue_pairs(write(GLUE + '0\tfiction\t"Stop\tHe "ran"\tneutral\tentailment\n'))
    assert tuple(row) == ("2", "2", '"Stop', 'He "ran"', "entailment")


def test_glue_test_files_have_no_labels(write):
    (row,) = read_glue_pairs(write("index\tsentence1\tsentence2\n0\tA\tB\n"))
    assert row.label is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A\tB\tneutral\n", r"dev-en\.tsv:1: the header has no column sentence1 and no column sentence2; it has A, B"),
        (GLUE, r"dev-en\.tsv: there is a header but no row"),
        (GLUE + "0\tfiction\tA\tB\tneutral\n", r"dev-en\.tsv:2: 5 columns between TABs, the header has 6"),
        (GLUE + "0\tfiction\tA\tB\tneutral\tneutral\tx\n", r"dev-en\.tsv:2: 7 columns between TABs, the header has 6"),
    ],
)
def test_glue_rows_that_do_not_fit_are_named(write, text, message):
    with pytest.raises(InputError, match=message):
        read_glue_pairs(write(text))
