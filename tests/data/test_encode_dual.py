"""Queries and documents as pairs of units: what is cut, what is counted, and which documents are the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlmr_flax.data.batches import TrainingBatches
from xlmr_flax.data.encode import encode_sentences, encode_sequence
from xlmr_flax.data.encode_dual import encode_documents, encode_dual
from xlmr_flax.data.examples import Examples
from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Classified, Document, Matched

ROWS = [
    Matched("1", "a", "the quick fox", "the lazy dog sleeps", "d1", "over the lazy dog in the warm grass"),
    Matched("2", "a", "people walked along the river", "the brown fox", "d2"),
    Matched("3", "b", "who sleeps on", "the lazy dog sleeps", "d1", "over the lazy dog in the warm grass"),
]


def units(encoded):
    return [encoded.ids[start:stop].tolist() for start, stop in zip(encoded.start, encoded.start[1:], strict=False)]


def test_a_row_is_its_query_and_then_its_document(tokenizer):
    encoded = encode_dual(ROWS, tokenizer, 64)
    queries = units(encode_sentences([row.query for row in ROWS], tokenizer, 64))
    documents = units(encode_documents([Document("", "", row.document, row.context) for row in ROWS], tokenizer, 64))
    assert units(encoded) == [unit for both in zip(queries, documents, strict=True) for unit in both]
    assert encoded.example.tolist() == [0, 0, 1, 1, 2, 2]
    assert encoded.counts["rows"] == 3
    assert encoded.counts["documents"] == 2


@given(length=st.integers(8, 40), words=st.integers(1, 30), context=st.integers(0, 30))
def test_a_document_with_its_context_is_cut_as_a_pair_is(tokenizer, length, words, context):
    text, around = "dog " * words, "fox " * context
    encoded = encode_documents([Document("1", "1", text, around)], tokenizer, length)
    pair = encode_sequence([Classified("1", "1", text, around, "x")], ("x", "y"), tokenizer, length)
    assert units(encoded) == units(pair)
    assert encoded.counts["truncated"] == pair.counts["truncated"]


@pytest.mark.parametrize("context", [None, "fox " * 30])
def test_what_is_cut_is_counted_by_its_side(tokenizer, context):
    rows = [Matched("1", "1", "dog " * 30, "dog", "d", context), Matched("2", "2", "dog", "fox", "e")]
    counts = encode_dual(rows, tokenizer, 16).counts
    assert counts["queries_truncated"] == 1
    assert counts["documents_truncated"] == (context is not None)


def test_labels_are_equal_for_equal_documents_whatever_other_rows_there_are(tokenizer):
    whole, part = encode_dual(ROWS, tokenizer, 64).label, encode_dual(ROWS[1:], tokenizer, 64).label
    assert whole[0] == whole[2] != whole[1]
    assert part.tolist() == whole[1:].tolist()


def test_a_length_without_room_is_refused(tokenizer):
    with pytest.raises(InputError, match="length=7 is too short"):
        encode_documents([Document("1", "1", "dog")], tokenizer, 7)


def test_batches_keep_a_query_beside_its_document_and_name_every_unit_once(tokenizer):
    encoded = encode_dual(ROWS * 4, tokenizer, 64)
    examples = Examples("dual", encoded, 64, tokenizer.pad, units_per_item=2)
    batch = TrainingBatches(examples, np.arange(12), batch_size=6, micro_batches=3, seed=1)
    for step in range(2):
        tokens, target = batch(step)[:2]
        items = batch.items(step).reshape(3, 2)
        assert tokens.ids_BL.shape[:2] == (3, 4)
        np.testing.assert_array_equal(target.document_E, encoded.label[items])
        for micro, item in np.ndindex(3, 2):
            for side in (0, 1):
                real = tokens.unit_BL[micro, 2 * item + side] >= 0
                ids = tokens.ids_BL[micro, 2 * item + side][real].tolist()
                assert ids == units(encoded)[2 * items[micro, item] + side]
        names = [set(row[row >= 0].tolist()) for row in tokens.unit_BL.reshape(12, -1)]
        assert sorted(name for row in names for name in row) == list(range(12))
