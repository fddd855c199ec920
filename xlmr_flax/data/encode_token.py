"""Tagged sentences as units: the first sub-word of a word carries its tag, and every word has one."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from xlmr_flax.data.encoded import NO_TOKEN_LABEL, NOWHERE, Encoded, check_length, flat, joined, number_of
from xlmr_flax.data.tokenizer import Tokenizer
from xlmr_flax.sources.rows import Tagged


def encode_token(
    rows: Sequence[Tagged], labels: Sequence[str], tokenizer: Tokenizer, length: int, *, others: bool = False
) -> Encoded:
    """As many units for a sentence as it needs; no word is parted over two, and none is lost.

    A word without sub-words, or with more than a unit holds, becomes <unk>. A tag that is none of the labels is an
    error, or with `others` no class at all.
    """
    check_length(length)
    pieces = _word_pieces(rows, tokenizer)
    unknown = np.array([tokenizer.unk], np.int32)
    numbers = {label: number for number, label in enumerate(labels)}
    units, example, label, where = [], [], [], []
    counts = Counter(rows=len(rows), words=0, words_without_pieces=0, words_too_long=0, rows_split=0)
    for number, row in enumerate(rows):
        words = []
        for word in row.words:
            ids = pieces[word]
            counts["words_without_pieces"] += len(ids) == 0
            counts["words_too_long"] += len(ids) > length - 2
            words.append(ids if 0 < len(ids) <= length - 2 else unknown)
        classes = _classes(row, numbers, others=others)
        counts["words"] += len(words)
        before = len(units)
        for first, last in _cuts([len(ids) for ids in words], length - 2):
            unit, unit_where = _unit(words[first:last], first, tokenizer)
            units.append(unit)
            example.append(number)
            where.append(unit_where)
            label.append(np.where(unit_where == NOWHERE, NO_TOKEN_LABEL, classes[unit_where]))
        counts["rows_split"] += len(units) > before + 1
        if others and row.tags is not None:
            counts["tags_not_in_training"] += int((classes[:-1] == NO_TOKEN_LABEL).sum())
    return joined(units, example, dict(counts), label=flat(label), where=flat(where))


def _word_pieces(rows: Sequence[Tagged], tokenizer: Tokenizer) -> dict[str, np.ndarray]:
    words = list(dict.fromkeys(word for row in rows for word in row.words))
    return dict(zip(words, tokenizer.ids(words), strict=True))


def _classes(row: Tagged, numbers: Mapping[str, int], *, others: bool) -> np.ndarray:
    """The class of each word, and one entry more, which stands for no word at all."""
    if row.tags is None:
        return np.full(len(row.words) + 1, NO_TOKEN_LABEL, np.int32)
    odd = next((tag for tag in row.tags if tag not in numbers), None)
    if odd is not None and not others:
        number_of(tuple(numbers), odd, f"row {row.id}")  # raises
    return np.array([*(numbers.get(tag, NO_TOKEN_LABEL) for tag in row.tags), NO_TOKEN_LABEL], np.int32)


def _cuts(lengths: list[int], room: int) -> Iterator[tuple[int, int]]:
    """First and last word (exclusive) of each unit, filled from the left; a sentence without words has one unit."""
    first = used = 0
    for word, tokens in enumerate(lengths):
        if used + tokens > room:
            yield first, word
            first, used = word, 0
        used += tokens
    yield first, len(lengths)


def _unit(words: list[np.ndarray], first: int, tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    ids = np.concatenate([[tokenizer.bos], *words, [tokenizer.eos]], dtype=np.int32)
    where = np.full(len(ids), NOWHERE, np.int32)
    begins = 1 + np.cumsum([0, *(len(word) for word in words)])[:-1]
    where[begins] = np.arange(first, first + len(words))
    return ids, where
