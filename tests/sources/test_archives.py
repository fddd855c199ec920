"""XNLI and PAWS-X as their authors publish them, and what machines translated: rows that do not fit."""

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.sources.crossed import crossed
from xlmr_flax.sources.pawsx import read_crossed_pawsx, read_pawsx
from xlmr_flax.sources.rows import Classified, Excluded
from xlmr_flax.sources.translated import (
    read_pawsx_translated,
    read_xnli_translated,
    read_xtreme_pawsx,
    read_xtreme_xnli,
)
from xlmr_flax.sources.tsv import COLUMNS, read_qqp
from xlmr_flax.sources.xnli import read_xnli

XNLI = "language\tgold_label\tgenre\tsentence1\tsentence2\tpairID\n"


@pytest.fixture
def write(tmp_path):
    def written(text, name="file.tsv"):
        path = tmp_path / name
        path.write_bytes(text.encode())
        return path

    return written


def test_quotes_are_text_in_the_archives(write):
    (row,) = read_xnli(write(XNLI + 'de\tneutral\tg\t"Er sagt\tJa"\t1\n'), lang="de")
    assert (row.text, row.pair) == ('"Er sagt', 'Ja"')
    (row,) = read_pawsx(write('id\tsentence1\tsentence2\tlabel\n3\t"Er\tJa "\t1\n'))
    assert tuple(row) == ("3", "3", '"Er', 'Ja "', "1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("language\tsentence1\n", r"file\.tsv:1: the header has no column gold_label and no column sentence2 and no "),
        (XNLI, r"file\.tsv: there is a header but no row"),
        (XNLI + "de\tneutral\tg\tA\tB\t1\n\n", r"file\.tsv:3: 1 column between TABs, the header has 6"),
        (XNLI + "de\tneutral\tg\tA\tB\n", r"file\.tsv:2: 5 columns between TABs, the header has 6; complete the row"),
        (XNLI + "en\tneutral\tg\tA\tB\t1\n", r"file\.tsv: no row in 'de'; its column language has: en"),
    ],
)
def test_xnli_of_another_shape_is_named(write, text, message):
    with pytest.raises(InputError, match=message):
        read_xnli(write(text), lang="de")


@pytest.mark.parametrize(
    ("reader", "header", "good", "bad"),
    [
        (read_xnli_translated, "premise\thypo\tlabel\n", "A\tB\tcontradictory\n", "A\tB\t0\n"),
        (read_pawsx_translated, "id\tsentence1\tsentence2\tlabel\n", "1\tA\tB\t1\n", "2\tA\tB\tx\n"),
        (read_xtreme_xnli, "", "a\tb\tA\tB\tcontradictory\n", "a\tb\tA\tB\t0\n"),
        (read_xtreme_pawsx, "", "a\tb\tA\tB\t1\n", "a\tb\tA\tB\tneutral\n"),
    ],
)
def test_machine_translated_rows_are_read_or_excluded_one_by_one(write, reader, header, good, bad):
    empty = good.replace("A", " ")
    rows = reader(write(header + good + bad + empty + "A\n" + good.replace("\n", "\tC\n")))
    assert (rows[0].text, rows[0].pair) == ("A", "B")
    assert rows[0].label in ("contradiction", "1")
    assert [row.reason for row in rows[1:]] == [
        "a label that does not exist", "a text is translated to nothing", COLUMNS, COLUMNS,
    ]  # fmt: skip
    assert [int(row.id) for row in rows] == list(range(1 + bool(header), 6 + bool(header)))


def test_qqp_keeps_what_is_whole_and_excludes_broken_rows(write):
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    rows = read_qqp(write(header + '0\t1\t2\t"Why\tHow\t1\n1\t3\t4\tWho\n is it?\tWho\t0\n'))
    assert rows == [Classified("2", "2", '"Why', "How", "1"), Excluded("3", "3", COLUMNS), Excluded("4", "4", COLUMNS)]
    assert read_qqp(write("id\tquestion1\tquestion2\n0\tWhy\tHow\n"))[0].label is None


def pairs(*rows):
    return [Classified(name, name, text, f"{text}2", label) for name, text, label in rows]


def test_crossed_pairs_meet_by_id_and_not_by_place():
    first, second = pairs(("1", "eins", "0"), ("2", "zwei", "1")), pairs(("2", "two", "1"), ("1", "one", "0"))
    assert [(row.text, row.pair) for row in crossed(first, second, where="here")] == [
        ("eins", "one2"), ("zwei", "two2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ([("1", "one", "0"), ("1", "one", "0")], "here: an id occurs twice in one language"),
        ([("1", "one", "0"), ("3", "two", "1")], "here: 2 rows in one language and 2 in the other, and row 2 is in"),
        (
            [("1", "one", "0"), ("2", "two", "1"), ("3", "x", "1")],
            "here: 2 rows .* and 3 in the other, and row 3 is in",
        ),
        ([("1", "one", "0"), ("2", "two", "0")], "here: row 2 is labelled '1' in one language and '0' in the other"),
    ],
)
def test_pairs_that_are_not_translations_of_each_other_are_refused(second, message):
    with pytest.raises(InputError, match=message):
        crossed(pairs(("1", "eins", "0"), ("2", "zwei", "1")), pairs(*second), where="here")


def test_crossed_files_are_named(write):
    header = "id\tsentence1\tsentence2\tlabel\n"
    first, second = write(header + "1\tA\tB\t1\n", "de.tsv"), write(header + "1\tC\tD\t0\n", "en.tsv")
    with pytest.raises(InputError, match=r"de\.tsv and .*en\.tsv: row 1 is labelled '1' in one language"):
        read_crossed_pawsx(first, second)
