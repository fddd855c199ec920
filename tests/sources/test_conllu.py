"""CoNLL-U, and what XTREME makes of it."""

import logging

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.sources.conllu import read_conllu


def line(number, form, tag, head="0", deps="_"):
    return f"{number}\t{form}\tlemma\t{tag}\t_\t_\t{head}\tdep\t{deps}\t_\n"


def fused(span, form):
    return f"{span}\t{form}" + "\t_" * 8 + "\n"


@pytest.fixture
def write(tmp_path):
    def written(text, name="de_gsd-ud-dev.conllu"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return written


ZUM_HAUS = (
    "# newdoc id = d\n# sent_id = s1\n# text = Ab zum Haus\n"
    + line(1, "Ab", "ADV", 4)
    + fused("2-3", "zum")
    + line(2, "zu", "ADP", 4)
    + line(3, "dem", "DET", 4)
    + line(4, "Haus", "NOUN")
    + "\n"
)


def test_a_fused_form_stands_for_its_words(write):
    (row,) = read_conllu(write(ZUM_HAUS))
    assert tuple(row) == ("s1", "s1", ("Ab", "zum", "Haus"), ("ADV", "ADP", "NOUN"))


def test_the_word_nearest_the_root_gives_the_tag_whatever_its_rank(write):
    text = fused("1-2", "gives") + line(1, "give", "VERB", 2) + line(2, "s", "X") + "\n"
    assert read_conllu(write(text))[0].tags == ("X",)


@pytest.mark.parametrize(("name", "tag"), [("de_gsd", "NOUN"), ("fr_gsd", "PRON"), ("es_gsd", "PRON")])
def test_equal_height_is_decided_by_the_precedence_of_the_language(write, name, tag):
    text = fused("1-2", "ab") + line(1, "a", "NOUN", 3) + line(2, "b", "PRON", 3) + line(3, "c", "VERB") + "\n"
    assert read_conllu(write(text, f"{name}-ud-dev.conllu"))[0].tags == (tag, "VERB")


def test_tags_without_a_rank_come_last_and_in_their_order(write):
    text = fused("1-3", "abc") + line(1, "a", "SYM", 4) + line(2, "b", "FOO", 4) + line(3, "c", "PUNCT", 4)
    assert read_conllu(write(text + line(4, "d", "VERB") + "\n"))[0].tags == ("PUNCT", "VERB")
    text = fused("1-2", "ab") + line(1, "a", "SYM", 3) + line(2, "b", "FOO", 3) + line(3, "d", "VERB")
    assert read_conllu(write(text + "\n"))[0].tags == ("SYM", "VERB")


def test_enhanced_heads_count_as_ancestors_and_cycles_end(write):
    # By basic heads both words of the span hang from word 3; the enhanced graph puts word 1 below word 4 too,
    # so word 2, a DET, is nearer the root. Words 1 and 4 point at each other.
    text = fused("1-2", "ab") + line(1, "a", "VERB", 3, "3:obj|4:obj|4.1:obj") + line(2, "b", "DET", 3, "3:det")
    text += line(3, "c", "VERB") + line(4, "d", "NOUN", 3, "1:obj") + line("4.1", "e", "NOUN", "_", "1:x") + "\n"
    row = read_conllu(write(text))[0]
    assert (row.words, row.tags) == (("ab", "c", "d"), ("DET", "VERB", "NOUN"))


def test_empty_nodes_are_no_ancestors(write):
    text = fused("1-2", "ab") + line(1, "a", "VERB", 3, "3:obj|3.1:obj") + line(2, "b", "DET", 3, "3:det")
    text += line(3, "c", "VERB") + line("3.1", "d", "NOUN", "_", "3:x") + "\n"
    assert read_conllu(write(text))[0].tags == ("VERB", "VERB")


def test_spaces_and_zero_width_non_joiners_inside_words_go(write):
    text = line(1, "họ tên", "NOUN") + line(2, "می\u200cروم", "VERB", 1) + line(3, "10\xa0000", "NUM", 1) + "\n"
    assert read_conllu(write(text))[0].words == ("họtên", "میروم", "10\xa0000")


def test_a_sentence_without_sent_id_is_called_by_its_line(write):
    text = "# text = a\n" + line(1, "a", "X") + "\n" + line(1, "b", "X") + "\n"
    assert [row.id for row in read_conllu(write(text))] == ["line 1", "line 4"]


def test_sentences_without_their_words_are_dropped_and_counted(write, caplog):
    none = line(1, "_", "X") + line(2, "_", "X", 1) + "\n"
    one = line(1, "_", "X") + line(2, "!", "PUNCT", 1) + "\n"
    two = line(1, "_", "X") + line(2, "ja", "X", 1) + line(3, "!", "PUNCT", 1) + "\n"
    with caplog.at_level(logging.WARNING):
        rows = read_conllu(write(none + one + two))
    assert [row.words for row in rows] == [("_", "ja", "!")]
    assert "2 of 3 sentences dropped: their words are not in the file" in caplog.text


def test_nothing_is_said_where_nothing_is_dropped(write, caplog):
    read_conllu(write(ZUM_HAUS))
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ZUM_HAUS + ZUM_HAUS, r"dev\.conllu:10: the sent_id 's1' is that of line 1 already"),
        (ZUM_HAUS.removesuffix("\n"), r"dev\.conllu:8: the file ends within a sentence, a blank line is wanted"),
        (ZUM_HAUS[:-9], r"dev\.conllu:8: \d columns between TABs, CoNLL-U's 10 are wanted"),
        (ZUM_HAUS + "\n", r"dev\.conllu:10: an empty sentence \(two blank lines together\)"),
        ("# text = a\n\n", r"dev\.conllu:1: a sentence without words"),
        (line(1, "a", "X") + line(3, "b", "X") + "\n", r"dev\.conllu:2: the ID is '3', 2 is wanted"),
        (line("one", "a", "X") + "\n", r"dev\.conllu:1: the ID is 'one', 1 is wanted"),
        (line(1, " ", "X") + "\n", r"dev\.conllu:1: FORM is ' ' and UPOS is 'X', neither may be blank"),
        (line(1, "a", "") + "\n", r"dev\.conllu:1: FORM is 'a' and UPOS is '', neither may be blank"),
        (line(1, "\u200c", "X") + "\n", r"dev\.conllu:1: a word of the sentence is made of zero-width non-joiners"),
        (fused("2-3", "x") + line(1, "a", "X") + "\n", r"dev\.conllu:1: the range 2-3 is out of place, .* word is 1"),
        (fused("1-1", "x") + line(1, "a", "X") + "\n", r"dev\.conllu:1: the range 1-1 is out of place"),
        (fused("1-2", "x") + line(1, "a", "X") + "\n", r"dev\.conllu:1: the range 1-2 goes beyond .* 1 words"),
        (fused("1-2", "x") * 2 + line(1, "a", "X") + "\n", r"dev\.conllu:2: the range 1-2 is out of place"),
        (fused("1-" + "9" * 5000, "x") + line(1, "a", "X") + "\n", r"dev\.conllu:1: the ID is '1-999"),
    ],
)
def test_lines_that_do_not_fit_are_named(write, text, message):
    with pytest.raises(InputError, match=message):
        read_conllu(write(text))
