"""Where units lie in rows: packing, and the few shapes of rows that a phase compiles. Pure functions of lengths.

N units · T sampled steps · C candidate shapes
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

# A unit takes at least so many tokens of its row, so that a shape alone says how many units a row can hold, and all
# languages share one program.
SLOT = 8

# Attention makes a position of a row of this many tokens twice as dear as one that is alone: for XLM-R Large on a TPU,
# 24 D² operations of a matrix unit against 4 D of them and some 25 H of the vector units for every token of the row.
ATTENTION = 1024

SAMPLED_UNITS = 2**15
LONGEST_ROW = 512  # unless units are longer than half of it


class Shape(NamedTuple):
    """Rows of one length: of a whole evaluation batch, or of one micro-batch."""

    rows: int
    length: int

    @property
    def slots(self) -> int:
        """How many units a packed row can hold."""
        return max(1, self.length // SLOT)

    @property
    def cost(self) -> float:
        """What computing it costs, in positions of short rows."""
        return self.rows * self.length * (1 + self.length / ATTENTION)


class Layout(NamedTuple):
    """Where each unit of a batch lies: its row, its number there, and the place of its first token."""

    row_N: np.ndarray
    slot_N: np.ndarray
    offset_N: np.ndarray
    rows: int  # of all micro-batches, which have equal shares of them, one after the other
    length: int
    slots: int
    parts: int  # micro-batches

    def places(self) -> np.ndarray:
        """Where in the (row, slot) pairs of its micro-batch each unit stands."""
        return self.row_N % (self.rows // self.parts) * self.slots + self.slot_N


def alone(units: int, length: int, *, parts: int = 1) -> Layout:
    """A row for each unit."""
    none = np.zeros(units, np.int64)
    return Layout(np.arange(units), none, none, units, length, 1, parts)


def packed(loads: Sequence[np.ndarray], shape: Shape) -> Layout | None:
    """The units of each micro-batch in rows of its own, by the tokens that each takes; None where they do not fit."""
    if max(load.max(initial=0) for load in loads) > shape.length:
        return None
    found = [pack(load, shape.length) for load in loads]
    if max(rows for _, _, rows in found) > shape.rows:
        return None
    row_N = np.concatenate([row_N + part * shape.rows for part, (row_N, _, _) in enumerate(found)])
    offset_N = np.concatenate([offset_N for _, offset_N, _ in found])
    rows = shape.rows * len(loads)
    return Layout(row_N, _slots(row_N, offset_N), offset_N, rows, shape.length, shape.slots, len(loads))


def pack(loads: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The row and the place in it of each unit, and the number of rows: the longest first, each where it fits best."""
    order = np.argsort(-loads, kind="stable")
    rows_with: list[list[int]] = [[] for _ in range(length + 1)]  # by how many tokens are free
    free, rows = 0, 0  # bit n of `free`: there is a row with n of them
    row_of, offset_of = [], []
    for load in loads[order].tolist():
        fitting = free >> load
        if fitting:
            room = load + (fitting & -fitting).bit_length() - 1
            row = rows_with[room].pop()
            if not rows_with[room]:
                free ^= 1 << room
        else:
            room, row, rows = length, rows, rows + 1
        row_of.append(row)
        offset_of.append(length - room)
        rows_with[room - load].append(row)
        free |= 1 << (room - load)
    row_N, offset_N = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    row_N[order], offset_N[order] = row_of, offset_of
    return row_N, offset_N, rows


def _slots(row_N: np.ndarray, offset_N: np.ndarray) -> np.ndarray:
    order = np.lexsort((offset_N, row_N))
    slot_N = np.empty_like(row_N)
    slot_N[order] = ranks(row_N[order])
    return slot_N


def ranks(sorted_N: np.ndarray) -> np.ndarray:
    """How many equal numbers stand before each, in numbers that do not fall."""
    number_N = np.arange(len(sorted_N))
    return number_N - np.searchsorted(sorted_N, sorted_N)


def ladder(
    sampled: Sequence[Any],
    loads: Callable[[Any, int], Sequence[np.ndarray]],
    lengths: Sequence[int],
    *,
    last: Shape,
    shards: int,
    count: int,
) -> tuple[Shape, ...]:
    """At most `count` shapes for the micro-batches of a phase, the cheapest first, of which `last` takes any of them.

    `loads` gives the tokens that the units of some items take in rows of some length, by micro-batch. The shapes are
    chosen one after the other, each so that the sampled steps cost least when every one takes the cheapest that fits.
    """
    rows_TC = _needed(sampled, loads, lengths, shards)
    # Of T + 1 steps one is larger than T others: it stands here too, lest such steps all took the last shape.
    larger_C = np.where(rows_TC.all(axis=0), rows_TC.max(axis=0) + np.ceil(rows_TC.std(axis=0)).astype(int), 0)
    rows_TC = rounded(np.concatenate([rows_TC, larger_C[None]]), shards)
    wanted = sorted({Shape(int(rows), lengths[c]) for (_, c), rows in np.ndenumerate(rows_TC) if rows})
    if not wanted:
        return (last,)
    rows_TC = rows_TC[:, [lengths.index(shape.length) for shape in wanted]]
    fits_TC = (rows_TC > 0) & (rows_TC <= np.array([shape.rows for shape in wanted])[None])
    cost_TC = np.where(fits_TC, np.array([shape.cost for shape in wanted])[None], np.inf)
    chosen, cost_T = [last], np.full(len(rows_TC), last.cost)
    while len(chosen) < count:
        total_C = np.minimum(cost_TC, cost_T[:, None]).sum(axis=0)
        best = int(total_C.argmin())
        if total_C[best] >= cost_T.sum():
            break
        chosen.append(wanted[best])
        cost_T = np.minimum(cost_T, cost_TC[:, best])
    return tuple(sorted(chosen, key=lambda shape: shape.cost))


def _needed(
    sampled: Sequence[Any],
    loads: Callable[[Any, int], Sequence[np.ndarray]],
    lengths: Sequence[int],
    shards: int,
) -> np.ndarray:
    """The rows that each step needs at each length, up to the one where every step has but a row a shard."""
    columns: list[list[int]] = []
    for length in lengths:
        columns.append([_rows(loads(items, length), length) for items in sampled])
        if min(columns[-1]) > 0 and max(columns[-1]) <= shards:
            break
    return np.array(columns).T


def _rows(parts: Sequence[np.ndarray], length: int) -> int:
    """How many rows each micro-batch needs; 0 where a unit is too long."""
    if max(load.max(initial=0) for load in parts) > length:
        return 0
    return max(pack(load, length)[2] for load in parts)


def row_lengths(longest: int) -> list[int]:
    """Lengths of rows that compilers like and that may be worth while for units of at most `longest` tokens."""
    most = max(LONGEST_ROW, 2 * rounded(longest, 32))
    return [*range(SLOT, 128, 8), *range(128, most + 1, 32)]


def rounded(number: Any, multiple: int) -> Any:
    """The least multiple that is no smaller."""
    return -(-number // multiple) * multiple


def groups(loads_EN: np.ndarray, shape: Shape) -> Iterator[tuple[slice, Layout]]:
    """All items in their order, cut into batches of one shape that are as full as can be; items are rows of units."""
    total_E, first = np.cumsum(loads_EN.sum(axis=1)), 0
    most = shape.rows * shape.slots // loads_EN.shape[1]
    while first < len(loads_EN):
        before = total_E[first - 1] if first else 0
        stop = min(first + most, int(np.searchsorted(total_E, before + shape.rows * shape.length, side="right")))
        while (layout := packed([loads_EN[first:stop].reshape(-1)], shape)) is None:
            needed = pack(loads_EN[first:stop].reshape(-1), shape.length)[2]
            stop -= max(1, (stop - first) * (needed - shape.rows) // needed)
        assert stop > first, f"an item of {loads_EN[first].tolist()} tokens in {shape}"
        yield slice(first, stop), layout
        first = stop
