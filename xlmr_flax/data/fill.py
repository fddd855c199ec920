"""Texts with <mask> in them, and the words that may stand there."""

from collections.abc import Sequence

import numpy as np

from xlmr_flax.data.encode import SINGLE_SPECIALS
from xlmr_flax.data.encoded import Encoded, check_length, joined
from xlmr_flax.data.tokenizer import Tokenizer
from xlmr_flax.data.words import checked
from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Text


def encode_masked(rows: Sequence[Text], tokenizer: Tokenizer, length: int) -> Encoded:
    """One unit for each text, in which the library has found <mask>, cut at the end where it is too long.

    Raises InputError where that would cut the last <mask> off.
    """
    check_length(length)
    room, units, cut = length - SINGLE_SPECIALS, [], []
    encodings = checked(tokenizer.backend.encode_batch, [row.text for row in rows])
    for row, encoding in zip(rows, encodings, strict=True):
        ids = np.array(encoding.ids, np.int32)
        if (ids[room:] == tokenizer.mask).any():
            raise InputError(f"row {row.id}: a <mask> stands behind the {room} tokens that the model reads")
        units.append(np.concatenate([[tokenizer.bos], ids[:room], [tokenizer.eos]], dtype=np.int32))
        cut.append(len(ids) > room)
    return joined(units, range(len(rows)), {"rows": len(rows), "truncated": sum(cut)}, cut=cut)


def word_of(tokenizer: Tokenizer, number: int) -> str:
    """A sub-word as text; a space in front of it says that it begins a word."""
    return tokenizer.backend.id_to_token(int(number)).replace("▁", " ")
