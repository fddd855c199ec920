"""What has no class or no answer: tags that training does not have, and questions without answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlmr_flax.data.encode import encode_span, encode_token
from xlmr_flax.data.encoded import NO_TOKEN_LABEL
from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Answer, Question, Tagged


def test_a_tag_of_no_class_has_no_label_and_is_counted(tokenizer):
    rows = [Tagged("1", "1", ("fox", "dog", "fox"), ("A", "NEW", "B")), Tagged("2", "2", ("dog",), ("NEW",))]
    encoded = encode_token(rows, ("A", "B"), tokenizer, 32, others=True)
    assert encoded.label[encoded.where >= 0].tolist() == [0, NO_TOKEN_LABEL, 1, NO_TOKEN_LABEL]
    assert encoded.counts["tags_not_in_training"] == 2
    with pytest.raises(InputError, match="row 1: the label 'NEW' is not one of A, B"):
        encode_token(rows, ("A", "B"), tokenizer, 32)


@given(tags=st.lists(st.lists(st.sampled_from("ABCD"), min_size=1, max_size=9), max_size=4))
def test_tags_of_a_class_are_encoded_as_ever_whatever_stands_beside_them(tokenizer, tags):
    rows = [Tagged(str(n), str(n), ("fox",) * len(of_row), tuple(of_row)) for n, of_row in enumerate(tags)]
    every = encode_token(rows, "ABCD", tokenizer, 12)
    some = encode_token(rows, "AB", tokenizer, 12, others=True)
    assert (np.where(every.label >= 2, NO_TOKEN_LABEL, every.label) == some.label).all()
    assert some.counts.get("tags_not_in_training", 0) == (every.label >= 2).sum()
    assert (every.ids == some.ids).all()


def test_rows_without_tags_have_no_label_and_count_nothing(tokenizer):
    encoded = encode_token([Tagged("1", "1", ("fox", "dog"), None)], (), tokenizer, 32, others=True)
    assert set(encoded.label.tolist()) == {NO_TOKEN_LABEL}
    assert encoded.counts.get("tags_not_in_training", 0) == 0


def test_a_question_without_answer_points_at_the_first_token_of_every_window(tokenizer):
    context = "the quick brown fox jumps over the lazy dog " * 4
    rows = [
        Question("none", "", context, "dog?", ()),
        Question("hidden", "", context, "dog?", None),
        Question("one", "", context, "dog?", (Answer("quick", 4),)),
    ]
    encoded = encode_span(rows, tokenizer, 24, 8)
    windows = {row.id: encoded.label[encoded.example == number] for number, row in enumerate(rows)}
    assert not windows["none"].any()
    assert not windows["hidden"].any()
    assert len(windows["one"]) > 2
    assert windows["one"][0].all()
    assert not windows["one"][-1].any()
    counts = encoded.counts
    assert (counts["questions_without_answer"], counts["answers"], counts["answers_in_no_window"]) == (1, 1, 0)
