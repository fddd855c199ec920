"""What all encoders give: rows of one task as units of sub-word ids, end to end."""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from xlmr_flax.errors import InputError

# Raise this when the same rows come out differently: it is part of every cache's key.
ENCODER_VERSION = 3

NO_LABEL = -1  # of a whole row
NO_TOKEN_LABEL = -100
NOWHERE = -1

SHORTEST = 8

EMPTY = np.zeros(0, np.int32)


class Encoded(NamedTuple):
    """Rows as units: a unit is one sequence for the encoder, with its special tokens."""

    ids: np.ndarray  # int32, all units end to end
    start: np.ndarray  # int64, U+1: unit u is ids[start[u]:start[u + 1]]
    example: np.ndarray  # int32, U: the row that a unit belongs to
    label: (
        np.ndarray
    )  # int32; sequence, choice: per row · token: per id · span: U × 2, first and last token of the answer
    where: np.ndarray  # int32; token: per id, the word that begins here · span: ids × 2, code points of the context
    counts: dict[str, int]  # what a report must say
    # For those who look at examples; training reads none of it.
    cut: np.ndarray = EMPTY  # uint8, U: 1 where a unit does not hold all of its text
    name: np.ndarray = EMPTY  # uint8, UTF-8: language and id of every row, with a space between them, end to end
    name_start: np.ndarray = EMPTY  # int64, rows + 1


def joined(
    units: Sequence[np.ndarray],
    example: Sequence[int],
    counts: dict[str, int],
    label: np.ndarray = EMPTY,
    where: np.ndarray = EMPTY,
    cut: Sequence[bool] | None = None,
) -> Encoded:
    """Units end to end, and the counts that every report has; without `cut` every unit is whole."""
    start = np.zeros(len(units) + 1, np.int64)
    np.cumsum([len(unit) for unit in units], out=start[1:])
    counts = {"units": len(units), "tokens": int(start[-1])} | counts
    cut_U = np.array([False] * len(units) if cut is None else cut, np.uint8)
    return Encoded(flat(units), start, np.array(example, np.int32), label, where, counts, cut_U)


def named(encoded: Encoded, ids: Iterable[str], lang: str) -> Encoded:
    """The same with the ids of its rows, all of one language; "" where a row has none to speak of."""
    names = [f"{lang} {name}".encode() for name in ids]
    start = np.zeros(len(names) + 1, np.int64)
    np.cumsum([len(name) for name in names], out=start[1:])
    return encoded._replace(name=np.array(bytearray(b"".join(names)), np.uint8), name_start=start)


def name_of(encoded: Encoded, row: int) -> tuple[str, str]:
    """The language and the id of a row."""
    first, last = encoded.name_start[row : row + 2]
    lang, _, name = bytes(encoded.name[first:last]).decode().partition(" ")
    return lang, name


def together(parts: Sequence[Encoded]) -> Encoded:
    """The rows of all parts, one part after the other; counts add up."""
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.counts)
    before = itertools.accumulate((len(part.ids) for part in parts), initial=0)
    rows = itertools.accumulate((part.counts["rows"] for part in parts), initial=0)
    starts = [part.start[:-1] + offset for part, offset in zip(parts, before, strict=False)]
    examples = [part.example + offset for part, offset in zip(parts, rows, strict=False)]
    return Encoded(
        ids=flat([part.ids for part in parts]),
        start=np.concatenate([*starts, [counts["tokens"]]], dtype=np.int64),
        example=flat(examples),
        label=flat([part.label for part in parts]),
        where=flat([part.where for part in parts]),
        counts=dict(counts),
        cut=_bytes([part.cut for part in parts]),
        name=_bytes([part.name for part in parts]),
        name_start=_name_starts(parts),
    )


def _name_starts(parts: Sequence[Encoded]) -> np.ndarray:
    before = itertools.accumulate((len(part.name) for part in parts), initial=0)
    ends = [part.name_start[1:] + offset for part, offset in zip(parts, before, strict=False)]
    return np.concatenate([[0], *ends], dtype=np.int64) if any(map(len, ends)) else EMPTY.astype(np.int64)


def _bytes(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts, dtype=np.uint8, casting="unsafe") if parts else EMPTY.astype(np.uint8)


def flat(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Parts of int32 end to end, none of them being no parts."""
    return np.concatenate(parts).astype(np.int32, copy=False) if len(parts) else EMPTY


def check_length(length: int) -> None:
    """Refuses a length that leaves hardly a token beside the special ones."""
    if length < SHORTEST:
        raise InputError(f"length={length} is too short to encode anything: wanted {SHORTEST} or more")


def number_of(labels: Sequence[str], label: str, row: str) -> int:
    """The class of a label word; `row` says where it was found."""
    try:
        return labels.index(label)
    except ValueError:
        raise InputError(f"{row}: the label {label!r} is not one of {', '.join(labels)}") from None
