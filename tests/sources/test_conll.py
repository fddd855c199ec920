"""Words and tags in two columns."""

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.sources.conll import read_tagged, read_wikiann


@pytest.fixture
def write(tmp_path):
    def written(text):
        path = tmp_path / "test-de.tsv"
        path.write_bytes(text.encode())
        return path

    return written


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n\r\n\r\n"])
def test_a_blank_line_ends_a_sentence_and_the_last_needs_none(write, end):
    rows = read_tagged(write("Er\tPRON\r\ngeht\tVERB\r\n\r\nJa\tINTJ" + end))
    assert [tuple(row) for row in rows] == [
        ("1", "1", ("Er", "geht"), ("PRON", "VERB")),
        ("4", "4", ("Ja",), ("INTJ",)),
    ]


def test_a_file_of_words_has_no_tags(write):
    assert [(row.words, row.tags) for row in read_tagged(write("Er\ngeht\n\nJa\n"))] == [
        (("Er", "geht"), None),
        (("Ja",), None),
    ]


def test_a_no_break_space_is_part_of_its_word(write):
    assert read_tagged(write("10\xa0000\tNUM\n"))[0].words == ("10\xa0000",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Er\tPRON\ngeht\n", r"test-de\.tsv:2: found 'geht', wanted a word, a TAB and its tag"),
        ("Er\ngeht\tVERB\n", r"test-de\.tsv:2: found 'geht\\tVERB', wanted a word only, as on the lines before"),
        ("1\tEr\tPRON\n", r"test-de\.tsv:1: found '1\\tEr\\tPRON', wanted a word, a TAB and its tag"),
        ("Er\tPRON\n\tVERB\n", r"test-de\.tsv:2: found '\\tVERB', wanted"),
        ("Er\tPRON\n  \nJa\tINTJ\n", r"test-de\.tsv:2: found '  ', wanted"),
        ("Er\tPRON\n\n\nJa\tINTJ\n", r"test-de\.tsv:3: an empty sentence \(two blank lines together\)"),
        ("\nEr\tPRON\n", r"test-de\.tsv:1: an empty sentence"),
    ],
)
def test_lines_that_do_not_fit_are_named(write, text, message):
    with pytest.raises(InputError, match=message):
        read_tagged(write(text))


def test_the_language_before_a_word_goes_and_a_colon_inside_it_stays(write):
    rows = read_wikiann(write("en:Ratio\tO\nen:3:1\tO\nen::\tO\n\nen:Bonn\tB-LOC\n"))
    assert [(row.id, row.words, row.tags) for row in rows] == [
        ("1", ("Ratio", "3:1", ":"), ("O", "O", "O")),
        ("5", ("Bonn",), ("B-LOC",)),
    ]


def test_a_blank_word_of_wikiann_keeps_its_place_and_its_tag(write):
    (row,) = read_wikiann(write("ar:a\tO\nar:\xa0\tO\nar:\tB-PER\n"))
    assert (row.words, row.tags) == (("a", "", ""), ("O", "O", "B-PER"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("en:Er\tO\ngeht\tO\n", r"test-de\.tsv:2: found 'geht\\tO', wanted LANG:word, a TAB and its tag"),
        (":Er\tO\n", r"test-de\.tsv:1: found ':Er\\tO', wanted LANG:word"),
        ("en:Er\n", r"test-de\.tsv:1: found 'en:Er', wanted LANG:word"),
        ("en:Er\t \n", r"test-de\.tsv:1: found 'en:Er\\t ', wanted LANG:word"),
        ("en:Er\tO\tO\n", r"test-de\.tsv:1: found 'en:Er\\tO\\tO', wanted LANG:word"),
        ("en:Er\tO\n\n\nen:Ja\tO\n", r"test-de\.tsv:3: an empty sentence"),
    ],
)
def test_lines_that_are_not_those_of_wikiann_are_named(write, text, message):
    with pytest.raises(InputError, match=message):
        read_wikiann(write(text))
