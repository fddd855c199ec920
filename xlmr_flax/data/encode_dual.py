"""Queries and the documents that answer them, as pairs of units that two vectors are made of."""

import zlib
from collections.abc import Sequence

import numpy as np

from xlmr_flax.data.encode import PAIR_SPECIALS, SINGLE_SPECIALS, longest_first, pair
from xlmr_flax.data.encoded import Encoded, check_length, joined
from xlmr_flax.data.tokenizer import Tokenizer
from xlmr_flax.sources.rows import Document, Matched


def encode_dual(rows: Sequence[Matched], tokenizer: Tokenizer, length: int) -> Encoded:
    """Two units for each row, its query (cut at the end) and its document (as in `encode_documents`).

    The label is a hash of the document's id: equal for equal documents, whatever other rows there are.
    """
    check_length(length)
    queries, queries_cut = _queries([row.query for row in rows], tokenizer, length)
    documents, documents_cut = _documents([(row.document, row.context) for row in rows], tokenizer, length)
    names = [row.document_id for row in rows]
    counts = {
        "rows": len(rows),
        "documents": len(set(names)),
        "queries_truncated": sum(queries_cut),
        "documents_truncated": sum(documents_cut),
    }
    units = [unit for both in zip(queries, documents, strict=True) for unit in both]
    cut = [lost for both in zip(queries_cut, documents_cut, strict=True) for lost in both]
    label = np.array([zlib.crc32(name.encode()) for name in names], np.uint32).view(np.int32)
    return joined(units, np.repeat(np.arange(len(rows)), 2), counts, label=label, cut=cut)


def encode_documents(rows: Sequence[Document], tokenizer: Tokenizer, length: int) -> Encoded:
    """One unit for each document: <s> text </s></s> context </s>, or <s> text </s> where it has no context.

    Too long a pair loses from its longer half first, as XTREME-R's processors/lareqa.py encodes answers in training.
    """
    check_length(length)
    units, cut = _documents([(row.text, row.context) for row in rows], tokenizer, length)
    return joined(units, range(len(rows)), {"rows": len(rows), "truncated": sum(cut)}, cut=cut)


def _queries(texts: Sequence[str], tokenizer: Tokenizer, length: int) -> tuple[list[np.ndarray], list[bool]]:
    """A unit for each text, and whether it was cut."""
    room = length - SINGLE_SPECIALS
    pieces = tokenizer.ids(texts)
    return [_single(ids[:room], tokenizer) for ids in pieces], [len(ids) > room for ids in pieces]


def _documents(
    texts: Sequence[tuple[str, str | None]], tokenizer: Tokenizer, length: int
) -> tuple[list[np.ndarray], list[bool]]:
    """The same for texts with or without a context."""
    first = tokenizer.ids([text for text, _ in texts])
    second = iter(tokenizer.ids([context for _, context in texts if context is not None]))
    units, cut = [], []
    for (_, context), text_ids in zip(texts, first, strict=True):
        if context is None:
            keep = min(len(text_ids), length - SINGLE_SPECIALS)
            cut.append(keep < len(text_ids))
            units.append(_single(text_ids[:keep], tokenizer))
        else:
            context_ids = next(second)
            keep, rest = longest_first(len(text_ids), len(context_ids), length - PAIR_SPECIALS)
            cut.append(keep < len(text_ids) or rest < len(context_ids))
            units.append(pair(text_ids[:keep], context_ids[:rest], tokenizer))
    return units, cut


def _single(ids: np.ndarray, tokenizer: Tokenizer) -> np.ndarray:
    return np.concatenate([[tokenizer.bos], ids, [tokenizer.eos]], dtype=np.int32)
