"""Chunk F1 by seqeval 0.0.12's rules."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlmr_flax.errors import InputError
from xlmr_flax.metrics.tagging import Chunk, chunks, tagging


def kinds(tags):
    return sorted((first, last, kind) for kind, first, last in chunks([tags.split()]))


def test_one_wrong_tag_in_a_run_of_equal_tags_costs_a_whole_chunk():
    # Nine words, eight gold chunks (NOUN NOUN is one), nine predicted, seven in common: 2·7 / (8 + 9).
    gold = ["NOUN", "NOUN", "DET", "ADJ", "ADP", "PRON", "VERB", "ADV", "PUNCT"]
    found = ["NOUN", "PROPN", "DET", "ADJ", "ADP", "PRON", "VERB", "ADV", "PUNCT"]
    scores = tagging([gold], [found])
    assert scores == pytest.approx({"f1": 14 / 17, "precision": 7 / 9, "recall": 7 / 8, "accuracy": 8 / 9})
    assert round(scores["f1"], 4) == 0.8235


def test_a_run_of_equal_bare_tags_is_one_chunk():
    assert kinds("NOUN NOUN VERB NOUN") == [(0, 1, "NOUN"), (2, 2, "VERB"), (3, 3, "NOUN")]


def test_bare_tags_that_begin_with_s_are_single():
    assert kinds("SCONJ SCONJ SYM X") == [(0, 0, "SCONJ"), (1, 1, "SCONJ"), (2, 2, "SYM"), (3, 3, "X")]


def test_entities_end_at_b_at_o_and_at_another_type():
    assert kinds("B-PER I-PER B-PER O I-LOC I-ORG") == [(0, 1, "PER"), (2, 2, "PER"), (4, 4, "LOC"), (5, 5, "ORG")]


def test_e_and_s_end_their_chunk_and_what_follows_begins_another():
    assert kinds("B-PER E-PER E-PER I-PER") == [(0, 1, "PER"), (2, 2, "PER"), (3, 3, "PER")]
    assert kinds("S-PER I-PER E-PER") == [(0, 0, "PER"), (1, 2, "PER")]


def test_a_chunk_does_not_reach_into_the_next_sentence():
    assert chunks([["NOUN"], ["NOUN"]]) == {Chunk("NOUN", 0, 0), Chunk("NOUN", 2, 2)}


def test_a_right_type_over_wrong_words_is_wrong():
    assert tagging([["B-PER", "I-PER", "O"]], [["B-PER", "O", "O"]])["f1"] == 0.0


def test_no_chunks_at_all_score_zero_but_their_tokens_count():
    assert tagging([["O", "O"]], [["O", "O"]]) == {"f1": 0.0, "precision": 0.0, "recall": 0.0, "accuracy": 1.0}


def test_sentences_of_unequal_length_are_refused():
    with pytest.raises(InputError, match="sentence 2: 1 predicted tags for 2 gold tags"):
        tagging([["X"], ["X", "X"]], [["X"], ["X"]])
    with pytest.raises(InputError, match="1 predictions for 2 gold values"):
        tagging([["X"], ["X"]], [["X"]])


def test_an_empty_tag_is_refused():
    with pytest.raises(InputError, match="an empty tag cannot be scored"):
        tagging([[""]], [["X"]])


BARE = ("NOUN", "VERB", "ADJ", "PUNCT", "X")  # none begins with a letter that means a place in a chunk


@given(st.lists(st.lists(st.sampled_from(BARE), min_size=1, max_size=8), min_size=1, max_size=4))
def test_runs_of_equal_bare_tags_are_the_chunks(sentences):
    runs = sum(len(list(itertools.groupby(sentence))) for sentence in sentences)
    assert len(chunks(sentences)) == runs


@given(st.lists(st.sampled_from(["B-PER", "I-PER", "B-LOC", "I-LOC", "O"]), min_size=1, max_size=12))
def test_entities_of_iob2_tags_are_those_that_conlleval_reads(tags):
    """An entity starts at B, or at I where none of its type is open, and lasts as long as I of its type follows."""
    wanted, last = set(), None
    for place, tag in enumerate(tags):
        letter, _, kind = tag.partition("-")
        if letter == "O":
            last = None
        elif letter == "I" and last and last[0] == kind:
            wanted.remove(Chunk(*last))
            last = (kind, last[1], place)
            wanted.add(Chunk(*last))
        else:
            last = (kind, place, place)
            wanted.add(Chunk(*last))
    assert chunks([tags]) == wanted
