"""Encoded examples into batches of fixed shapes, on the host.

Letters as in batch.py; here N are the units of a batch and T all their tokens, in the order of the batch.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import jax
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
from xlmr_flax.data.order import first_items, items_at
from xlmr_flax.data.packing import (
    SAMPLED_UNITS,
    SLOT,
    Layout,
    Shape,
    alone,
    groups,
    ladder,
    packed,
    ranks,
    rounded,
    row_lengths,
)
from xlmr_flax.data.randomness import generator

TRAINING_SHAPES, EVALUATION_SHAPES = 4, 2  # that a phase compiles at most
SAMPLED_STEPS = 64  # at most; their lengths decide on the shapes of training

# Hidden tokens of a packed row, as a share of what their rate gives: every unit's number of them is rounded.
MASKED_SLACK = 1.1


class Masking(NamedTuple):
    """How masked LM hides tokens: `rate` of them, of which 80 % become <mask>, 10 % another word, 10 % stay."""

    rate: float
    mask_id: int
    words: np.ndarray  # ids of the vocabulary without the special tokens
    specials: tuple[int, ...]  # never hidden

    def hidden(self, words: np.ndarray) -> np.ndarray:
        """How many are hidden in a unit of so many words; none in one without any."""
        return np.where(words > 0, np.maximum(1, np.rint(self.rate * words)), 0).astype(np.int64)

    def places(self, length: int, *, packed: bool) -> int:
        """How many hidden tokens a row has room for."""
        return max(1, round(self.rate * length * (MASKED_SLACK if packed else 1)))


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


def hide(
    ids: np.ndarray, real: np.ndarray, masking: Masking, *, length: int, noise: np.random.Generator
) -> MaskedTarget:
    """Hides tokens in `ids` in place and returns what they were.

    Random numbers are drawn for `length` tokens a row, so that the row's compiled length does not matter.
    """
    rows, width = ids.shape
    choice, fate = noise.random((2, rows, length))[:, :, :width]
    words = masking.words[noise.integers(len(masking.words), size=(rows, length))[:, :width]]
    open_ = real & ~np.isin(ids, masking.specials)
    wanted = masking.hidden(open_.sum(axis=1))
    most = masking.places(width, packed=False)
    places = np.argsort(np.where(open_, choice, 2.0), axis=1, kind="stable")[:, :most].astype(np.int32)
    used = np.arange(most) < wanted[:, None]
    label = np.where(used, np.take_along_axis(ids, places, axis=1), IGNORED).astype(np.int32)
    fate, words = np.take_along_axis(fate, places, axis=1), np.take_along_axis(words, places, axis=1)
    old = np.take_along_axis(ids, places, axis=1)
    new = np.where(fate < 0.8, masking.mask_id, np.where(fate < 0.9, words, old))
    np.put_along_axis(ids, places, np.where(used, new, old).astype(np.int32), axis=1)
    return MaskedTarget(np.where(used, places, 0).astype(np.int32), label)


class TrainingBatches:
    """Batch `step` of a phase, for any step: a pure function of the seed and the step, for any number of hosts.

    `packed_over` is the number of devices over which packed rows are spread; None: a row for each unit. `switch` makes
    the items of a batch into examples that are trained on in their place.
    """

    def __init__(
        self,
        examples: Examples,
        chosen: np.ndarray,
        *,
        batch_size: int,
        micro_batches: int,
        seed: int,
        packed_over: int | None = None,
        switch: Callable[[Examples, np.ndarray, np.random.Generator], Examples] | None = None,
    ) -> None:
        self.examples, self.chosen, self.seed, self.switch = examples, chosen, seed, switch
        self.batch_size, self.micro_batches, self.packed_over = batch_size, micro_batches, packed_over
        self.lengths = examples.lengths()

    def items(self, step: int) -> np.ndarray:
        """The numbers of the items of batch `step`."""
        return self.chosen[items_at(step, items=len(self.chosen), batch_size=self.batch_size, seed=self.seed)]

    def look(self, step: int) -> tuple[None, Examples, np.ndarray]:
        """What batch `step` is made of: the examples, and the numbers of the items."""
        return None, self.examples, self.items(step)

    def items_in(self, step: int) -> int:
        """How many items batch `step` has."""
        return self.batch_size

    def shape(self, step: int) -> tuple[int, int]:
        """The rows of batch `step`, of all micro-batches, and their length."""
        layout = self.laid(step)
        return layout.rows, layout.length

    def laid(self, step: int, shapes: tuple[Shape, ...] | None = None) -> Layout:
        """Where the units of batch `step` lie in its rows."""
        return self.layout(*self.made(step), shapes)

    def __call__(self, step: int) -> Batch:
        """Batch `step`, each array with the micro-batches as its first axis."""
        return self.batch_in(step, self.shapes)

    def batch_in(self, step: int, shapes: tuple[Shape, ...]) -> Batch:
        """The same in one of these shapes, the first that takes it."""
        items, examples = self.made(step)
        layout = self.layout(items, examples, shapes)
        batch = examples.laid(items, layout, noise=generator(self.seed, "mask", step))
        return jax.tree.map(lambda x: x.reshape(self.micro_batches, len(x) // self.micro_batches, *x.shape[1:]), batch)

    def made(self, step: int) -> tuple[np.ndarray, Examples]:
        """The items of batch `step`, and the examples of which they are the numbers."""
        items = self.items(step)
        if self.switch is None:
            return items, self.examples
        switched = self.switch(self.examples, items, generator(self.seed, "code_switch", step))
        return np.arange(len(items)), switched

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes of a micro-batch, the cheapest first; the last one takes any batch."""
        units = self.batch_size * self.examples.units_per_item
        if self.packed_over is None:
            return self.unpacked_shapes(TRAINING_SHAPES)
        whole, sampled = self.whole(), range(min(SAMPLED_STEPS, max(8, SAMPLED_UNITS // units)))
        return ladder(
            [whole.made(step) for step in sampled],
            lambda made, length: self.loads(*made, length),
            row_lengths(self.longest),
            last=self.catch_all(self.packed_over),
            shards=self.packed_over,
            count=TRAINING_SHAPES,
        )

    def whole(self) -> "TrainingBatches":
        """All the examples in the order of one seed, by which shapes are chosen.

        So phases on more or fewer of them, and with other seeds, share the programs that are compiled for them.
        """
        return TrainingBatches(
            self.examples,
            np.arange(self.examples.items),
            batch_size=self.batch_size,
            micro_batches=self.micro_batches,
            seed=0,
            packed_over=self.packed_over,
            switch=self.switch,
        )

    @property
    def longest(self) -> int:
        """The tokens of the longest unit."""
        return int(self.lengths.max()) if self.switch is None else self.examples.length

    def unpacked_shapes(self, count: int) -> tuple[Shape, ...]:
        """A row for each unit of a micro-batch, at no more than `count` lengths."""
        rows = self.batch_size * self.examples.units_per_item // self.micro_batches
        return tuple(Shape(rows, length) for length in rungs(self.examples.length, count))

    def catch_all(self, shards: int) -> Shape:
        """A shape of packed rows that takes any micro-batch."""
        longest = self.longest
        return Shape(
            rounded(self.batch_size * self.examples.units_per_item // self.micro_batches, shards),
            min(length for length in (*row_lengths(longest), self.examples.length) if length >= longest),
        )

    def layout(
        self, items: np.ndarray, examples: Examples | None = None, shapes: tuple[Shape, ...] | None = None
    ) -> Layout:
        """Where the units of a batch's items, of the phase's examples or of those given, lie in its rows.

        The rows have the first of the shapes that takes them.
        """
        examples, shapes = examples or self.examples, shapes or self.shapes
        if self.packed_over is None:
            longest = (self.lengths if examples is self.examples else examples.lengths())[items].max()
            length = next(shape.length for shape in shapes if shape.length >= longest)
            return alone(len(items) * self.examples.units_per_item, length, parts=self.micro_batches)
        found = (packed(self.loads(items, examples, shape.length), shape) for shape in shapes)
        return next(layout for layout in found if layout is not None)

    def loads(self, items: np.ndarray, examples: Examples, length: int) -> list[np.ndarray]:
        """The tokens that the units of each micro-batch take."""
        return np.split(examples.loads(examples.units(items), length), self.micro_batches)


class Shown(NamedTuple):
    """The items of an evaluation batch, and where each of their units lies in its rows."""

    items: np.ndarray
    units: np.ndarray
    row_N: np.ndarray
    slot_N: np.ndarray
    offset_N: np.ndarray
    size_N: np.ndarray


def evaluation_batches(examples: Examples, *, rows: int, packing: bool = True) -> Iterator[tuple[Shown, Batch]]:
    """Every item exactly once, in batches of one row count and at most two lengths, and what each batch shows.

    The last batch of a length is filled up with items of number −1, which carry weight 0.
    """
    for items, layout in packed_groups(examples, rows) if packing else single_groups(examples, rows):
        units = examples.units(items)
        (real,) = np.nonzero(units >= 0)
        where = (layout.row_N[real], layout.slot_N[real], layout.offset_N[real])
        shown = Shown(items[items >= 0], units[real], *where, examples._sizes(units[real]))
        yield shown, examples.laid(items, layout)


def single_groups(examples: Examples, rows: int) -> Iterator[tuple[np.ndarray, Layout]]:
    """The items of each batch with a row for each unit."""
    per_batch = rows // examples.units_per_item
    lengths, below = examples.lengths(), 0
    for rung in rungs(examples.length, EVALUATION_SHAPES):
        items = np.flatnonzero((lengths > below) & (lengths <= rung))
        below = rung
        for start in range(0, len(items), per_batch):
            yield _filled(items[start : start + per_batch], per_batch), alone(rows, rung)


def packed_groups(examples: Examples, rows: int) -> Iterator[tuple[np.ndarray, Layout]]:
    """The items of each batch in packed rows: all of one length, or the short ones in short rows, what costs less."""
    lengths = examples.lengths()
    half, full = (rungs(examples.length, EVALUATION_SHAPES)[at] for at in (0, -1))
    short = lengths <= half
    ways = [[(np.flatnonzero(short), half), (np.flatnonzero(~short), full)], [(np.arange(len(lengths)), full)]]
    if short.all():
        ways = ways[:1]
    made = [[one for items, length in way for one in _packed(examples, items, Shape(rows, length))] for way in ways]
    return iter(min(made, key=lambda way: sum(Shape(layout.rows, layout.length).cost for _, layout in way)))


def _packed(examples: Examples, items: np.ndarray, shape: Shape) -> Iterator[tuple[np.ndarray, Layout]]:
    per_item = examples.units_per_item
    most = shape.rows * shape.slots // per_item  # whatever the lengths are, so that all languages share a program
    loads = examples.loads(examples.units(items), shape.length).reshape(-1, per_item)
    for part, layout in groups(loads, shape):
        here = _filled(items[part], most)
        fill = len(here) * per_item - len(layout.row_N)
        padded = (np.pad(x, (0, fill)) for x in (layout.row_N, layout.slot_N, layout.offset_N))
        yield here, Layout(*padded, *layout[3:])


def _filled(items: np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([items, np.full(count - len(items), -1, items.dtype)])


def rungs(length: int, count: int) -> tuple[int, ...]:
    """At most `count` row lengths up to `length`, in steps that compilers like."""
    step = 8 if length <= 128 else 32
    steps = -(-length // step)
    return tuple(sorted({min(length, step * -(-steps * k // count)) for k in range(1, count + 1)}))


def real_tokens(batch: Batch) -> int:
    """How many tokens of a host batch are not padding."""
    return int(np.count_nonzero(np.asarray(batch.tokens.unit_BL) >= 0))


def _take(labels: np.ndarray, items: np.ndarray) -> np.ndarray:
    return np.where(items >= 0, labels[np.maximum(items, 0)], 0).astype(np.int32)
