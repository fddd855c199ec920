"""Encoded examples of one head kind, and how they lie in the rows of a batch.

Letters as in batch.py; here N are the units of a batch and T all their tokens, in the order of the batch.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from xlmr_flax.data.batch import (
    IGNORED,
    Batch,
    ChoiceTarget,
    DualTarget,
    EmbeddingTarget,
    MaskedTarget,
    SequenceTarget,
    SpanTarget,
    Tokens,
    TokenTarget,
)
from xlmr_flax.data.encoded import Encoded, name_of
from xlmr_flax.data.masking import Masking, hide
from xlmr_flax.data.order import first_items
from xlmr_flax.data.packing import SLOT, Layout, alone, ranks


@dataclass(frozen=True)
class Examples:
    """Encoded examples of one head kind; an item is what a batch counts."""

    kind: str
    encoded: Encoded
    length: int  # tokens a row at most
    pad: int  # id of <pad>
    units_per_item: int = 1  # choices, queries with their documents: the units of an example are never parted
    masking: Masking | None = None
    entry: str | None = None  # where in the cache they are

    @property
    def items(self) -> int:
        """How many there are: examples, or windows and pieces where an example may be cut into several."""
        return (len(self.encoded.start) - 1) // self.units_per_item

    def lengths(self) -> np.ndarray:
        """The longest unit of each item, in tokens."""
        lengths = np.diff(self.encoded.start)
        return lengths.reshape(-1, self.units_per_item).max(axis=1)

    def subset(self, limit: int | None, *, seed: int) -> np.ndarray:
        """The items of `limit` examples, of every class in its share; one that is cut into several is taken whole."""
        of_item = np.asarray(self.encoded.example)[:: self.units_per_item]
        numbers = np.unique(of_item)
        classes = np.asarray(self.encoded.label)[numbers] if self.kind == "sequence" else None
        taken = first_items(len(numbers), limit=limit, seed=seed, classes=classes)
        return np.flatnonzero(np.isin(of_item, numbers[taken]))

    def first_rows(self, count: int) -> "Examples":
        """The examples of the first rows of their file only."""
        encoded = self.encoded
        units = int(np.searchsorted(encoded.example, count))
        tokens = int(encoded.start[units])
        part = encoded._replace(
            ids=encoded.ids[:tokens],
            start=encoded.start[: units + 1],
            example=encoded.example[:units],
            label=encoded.label[: {"token": tokens, "span": units}.get(self.kind, count)],
            where=encoded.where[:tokens],
            cut=encoded.cut[:units],
            name=encoded.name[: encoded.name_start[count]] if len(encoded.name_start) else encoded.name,
            name_start=encoded.name_start[: count + 1],
        )
        return replace(self, encoded=part)

    def name(self, item: int) -> tuple[str, str]:
        """The language of an item's row, "" where it has none, and the row's id."""
        return name_of(self.encoded, int(self.encoded.example[item * self.units_per_item]))

    def units(self, items: np.ndarray) -> np.ndarray:
        """The numbers of the items' units; −1 for those of an item below 0."""
        units_EN = items[:, None] * self.units_per_item + np.arange(self.units_per_item)
        return np.where(items[:, None] < 0, -1, units_EN).reshape(-1)

    def loads(self, units: np.ndarray, length: int) -> np.ndarray:
        """The tokens that each unit takes of a packed row of this length.

        They may be more than it has: so a row never holds more units, or more hidden tokens, than there is room for.
        """
        sizes = self._sizes(units)
        loads = np.maximum(sizes, min(SLOT, length))
        if self.masking is None:
            return loads
        most = self.masking.places(length, packed=True)
        return np.maximum(loads, np.ceil(self.masking.hidden(sizes) * length / most).astype(np.int64))

    def batch(self, items: np.ndarray, *, length: int, noise: np.random.Generator | None = None) -> Batch:
        """Rows of these items at one length, a unit a row; items below 0 become rows of padding with weight 0."""
        return self.laid(items, alone(len(items) * self.units_per_item, length), noise=noise)

    def laid(self, items: np.ndarray, layout: Layout, *, noise: np.random.Generator | None = None) -> Batch:
        """These items, their units where `layout` has them; what is of items below 0 has weight 0 and no tokens."""
        held = self._held(items, layout)
        ids, unit, position = (np.full(layout.rows * layout.length, fill, np.int32) for fill in (self.pad, -1, 0))
        ids[held.target_T] = self.encoded.ids[held.source_T]
        unit[held.target_T] = held.unit_T
        position[held.target_T] = held.within_T
        target = getattr(self, f"_{self.kind}")(held, ids, noise)
        return Batch(Tokens(*(x.reshape(layout.rows, layout.length) for x in (ids, unit, position))), target)

    def _held(self, items: np.ndarray, layout: Layout) -> "_Held":
        units = self.units(items)
        (real_N,) = np.nonzero(units >= 0)
        sizes = self._sizes(units[real_N])
        assert sizes.max(initial=0) <= layout.length, f"a unit of {sizes.max()} tokens in rows of {layout.length}"
        within_T = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        to_N = layout.row_N[real_N] * layout.length + layout.offset_N[real_N]
        return _Held(
            items=items,
            real_N=real_N,
            layout=layout,
            sizes=sizes,
            unit_T=np.repeat(real_N, sizes),
            within_T=within_T,
            source_T=np.repeat(self.encoded.start[units[real_N]], sizes) + within_T,
            target_T=np.repeat(to_N, sizes) + within_T,
        )

    def _sizes(self, units: np.ndarray) -> np.ndarray:
        return self.encoded.start[units + 1] - self.encoded.start[units]

    def _sequence(self, held: "_Held", ids: np.ndarray, noise: object) -> SequenceTarget:
        label_BS = held.by_slot(_take(self.encoded.label, held.items))
        return SequenceTarget(held.firsts(), label_BS, held.by_slot(held.weights()).astype(np.float32))

    def _choice(self, held: "_Held", ids: np.ndarray, noise: object) -> ChoiceTarget:
        return ChoiceTarget(held.firsts(), self._places(held), _take(self.encoded.label, held.items), held.weights())

    def _token(self, held: "_Held", ids: np.ndarray, noise: object) -> TokenTarget:
        label = np.full_like(ids, IGNORED)
        label[held.target_T] = self.encoded.label[held.source_T]
        return TokenTarget(label.reshape(held.layout.rows, -1))

    def _span(self, held: "_Held", ids: np.ndarray, noise: object) -> SpanTarget:
        within_N2 = np.where(held.items[:, None] >= 0, self.encoded.label[np.maximum(held.items, 0)], 0)
        start_BS, end_BS = (held.by_slot(held.layout.offset_N + within_N) for within_N in within_N2.T)
        return SpanTarget(held.firsts(), start_BS, end_BS, held.by_slot(held.weights()).astype(np.float32))

    def _dual(self, held: "_Held", ids: np.ndarray, noise: object) -> DualTarget:
        return DualTarget(held.firsts(), self._places(held), _take(self.encoded.label, held.items), held.weights())

    def _embedding(self, held: "_Held", ids: np.ndarray, noise: object) -> EmbeddingTarget:
        return EmbeddingTarget(held.firsts())

    def _mlm(self, held: "_Held", ids: np.ndarray, noise: np.random.Generator | None) -> MaskedTarget:
        """Hides with the units one above the other, so that what is hidden does not depend on the layout."""
        assert self.masking is not None
        assert noise is not None
        layout, masking = held.layout, self.masking
        sizes_N = np.zeros(len(layout.row_N), np.int64)
        sizes_N[held.real_N] = held.sizes
        real_NL = np.arange(sizes_N.max(initial=1)) < sizes_N[:, None]
        ids_NL = np.full(real_NL.shape, self.pad, np.int32)
        ids_NL[real_NL] = ids[held.target_T]
        within_NG, label_NG = hide(ids_NL, real_NL, masking, length=self.length, noise=noise)
        ids[held.target_T] = ids_NL[real_NL]
        unit, place = np.nonzero(label_NG != IGNORED)
        order = np.argsort(layout.row_N[unit], kind="stable")
        unit, place = unit[order], place[order]
        row, most = layout.row_N[unit], masking.places(layout.length, packed=layout.slots > 1)
        masked_BG = np.zeros((layout.rows, most), np.int32)
        label_BG = np.full((layout.rows, most), IGNORED, np.int32)
        masked_BG[row, ranks(row)] = layout.offset_N[unit] + within_NG[unit, place]
        label_BG[row, ranks(row)] = label_NG[unit, place]
        return MaskedTarget(masked_BG, label_BG)

    def _places(self, held: "_Held") -> np.ndarray:
        place_N = np.zeros(len(held.layout.row_N), np.int32)
        place_N[held.real_N] = held.layout.places()[held.real_N]
        return place_N.reshape(-1, self.units_per_item)


class _Held(NamedTuple):
    """What a batch holds: its items, and where each token comes from and goes to."""

    items: np.ndarray
    real_N: np.ndarray  # the units that are no padding
    layout: Layout
    sizes: np.ndarray  # of the real units
    unit_T: np.ndarray
    within_T: np.ndarray
    source_T: np.ndarray  # in the encoded ids
    target_T: np.ndarray  # in the flattened (B · L)

    def weights(self) -> np.ndarray:
        return (self.items >= 0).astype(np.float32)

    def firsts(self) -> np.ndarray:
        return self.by_slot(self.layout.offset_N)

    def by_slot(self, values_N: np.ndarray) -> np.ndarray:
        """Values of the units as BS, 0 where there is none."""
        values_BS = np.zeros((self.layout.rows, self.layout.slots), np.int32)
        values_BS[self.layout.row_N[self.real_N], self.layout.slot_N[self.real_N]] = values_N[self.real_N]
        return values_BS


def _take(labels: np.ndarray, items: np.ndarray) -> np.ndarray:
    return np.where(items >= 0, labels[np.maximum(items, 0)], 0).astype(np.int32)
