"""Batches of fixed shapes from encoded examples, on the host: of training by their step, of evaluation one by one."""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple

import jax
import numpy as np

from xlmr_flax.data.batch import Batch
from xlmr_flax.data.examples import Examples
from xlmr_flax.data.order import items_at
from xlmr_flax.data.packing import (
    SAMPLED_UNITS,
    Layout,
    Shape,
    alone,
    groups,
    ladder,
    packed,
    rounded,
    row_lengths,
)
from xlmr_flax.data.randomness import generator

TRAINING_SHAPES, EVALUATION_SHAPES = 4, 2  # that a phase compiles at most
SAMPLED_STEPS = 64  # at most; their lengths decide on the shapes of training


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
