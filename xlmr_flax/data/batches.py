"""Encoded examples into batches of fixed shapes, on the host."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np

from xlmr_flax.data.batch import (
    IGNORED,
    Batch,
    ChoiceTarget,
    DualTarget,
    MaskedTarget,
    SequenceTarget,
    SpanTarget,
    Tokens,
    TokenTarget,
)
from xlmr_flax.data.encode import Encoded
from xlmr_flax.data.order import first_items, items_at
from xlmr_flax.data.randomness import generator

TRAINING_SHAPES, EVALUATION_SHAPES = 4, 2  # lengths that a phase compiles at most


class Masking(NamedTuple):
    """How masked LM hides tokens: `rate` of them, of which 80 % become <mask>, 10 % another word, 10 % stay."""

    rate: float
    mask_id: int
    words: np.ndarray  # ids of the vocabulary without the special tokens
    specials: tuple[int, ...]  # never hidden


@dataclass(frozen=True)
class Examples:
    """Encoded examples of one head kind; an item is what a batch counts."""

    kind: str
    encoded: Encoded
    length: int  # tokens a row at most
    pad: int  # id of <pad>
    units_per_item: int = 1  # choices, queries with their documents: the units of an example are never parted
    masking: Masking | None = None

    @property
    def items(self) -> int:
        """How many there are: examples, or windows and pieces where an example may be cut into several."""
        return (len(self.encoded.start) - 1) // self.units_per_item

    def lengths(self) -> np.ndarray:
        """The longest unit of each item, in tokens."""
        lengths = np.diff(self.encoded.start)
        return lengths.reshape(-1, self.units_per_item).max(axis=1)

    def subset(self, limit: int | None, *, seed: int) -> np.ndarray:
        """The items of `limit` examples; one that is cut into several items is taken whole."""
        of_item = np.asarray(self.encoded.example)[:: self.units_per_item]
        numbers = np.unique(of_item)
        return np.flatnonzero(np.isin(of_item, numbers[first_items(len(numbers), limit=limit, seed=seed)]))

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
        )
        return replace(self, encoded=part)

    def batch(self, items: np.ndarray, *, length: int, noise: np.random.Generator | None = None) -> Batch:
        """Rows of these items at one length; items below 0 become rows of padding with weight 0."""
        units = (items[:, None] * self.units_per_item + np.arange(self.units_per_item)).reshape(-1)
        units = np.where(np.repeat(items, self.units_per_item) < 0, -1, units)
        ids, unit, position = self._tokens(units, length)
        target = getattr(self, f"_{self.kind}")(items, units, ids, unit, noise)
        return Batch(Tokens(ids, unit, position), target)

    def _tokens(self, units: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        ids = self._aligned(self.encoded.ids, units, length, fill=self.pad)
        place = np.arange(length, dtype=np.int32)[None]
        real = place < self._sizes(units)[:, None]
        row = np.arange(len(units), dtype=np.int32)[:, None]
        return ids, np.where(real, row, np.int32(-1)), np.where(real, place, np.int32(0))

    def _sizes(self, units: np.ndarray) -> np.ndarray:
        start = self.encoded.start
        return np.where(units >= 0, start[units + 1] - start[units], 0)

    def _aligned(self, values: np.ndarray, units: np.ndarray, length: int, *, fill: int) -> np.ndarray:
        """The units' part of values that go along with the ids, one unit a row."""
        sizes = self._sizes(units)
        assert sizes.max(initial=0) <= length, f"a unit of {sizes.max()} tokens in rows of {length}"
        result = np.full((len(units), length), fill, np.int32)
        start = self.encoded.start
        taken = [values[start[unit] : start[unit + 1]] for unit in units if unit >= 0]
        if taken:
            result[np.arange(length) < sizes[:, None]] = np.concatenate(taken)
        return result

    def _sequence(self, items: np.ndarray, units: np.ndarray, ids: Any, unit: Any, noise: Any) -> SequenceTarget:
        label = _take(self.encoded.label, items)
        return SequenceTarget(_zeros(items), label[:, None], (items >= 0).astype(np.float32)[:, None])

    def _choice(self, items: np.ndarray, units: np.ndarray, ids: Any, unit: Any, noise: Any) -> ChoiceTarget:
        return ChoiceTarget(_zeros(units), _take(self.encoded.label, items), (items >= 0).astype(np.float32))

    def _token(self, items: np.ndarray, units: np.ndarray, ids: np.ndarray, unit: Any, noise: Any) -> TokenTarget:
        return TokenTarget(self._aligned(self.encoded.label, units, ids.shape[1], fill=IGNORED))

    def _span(self, items: np.ndarray, units: np.ndarray, ids: Any, unit: Any, noise: Any) -> SpanTarget:
        spans = np.where(items[:, None] >= 0, self.encoded.label[np.maximum(items, 0)], 0).astype(np.int32)
        return SpanTarget(_zeros(items), spans[:, :1], spans[:, 1:], (items >= 0).astype(np.float32)[:, None])

    def _dual(self, items: np.ndarray, units: np.ndarray, ids: Any, unit: Any, noise: Any) -> DualTarget:
        return DualTarget(_zeros(units), _take(self.encoded.label, items), (items >= 0).astype(np.float32))

    def _embedding(self, items: np.ndarray, units: Any, ids: Any, unit: Any, noise: Any) -> None:
        return None

    def _mlm(self, items: Any, units: Any, ids: np.ndarray, unit: np.ndarray, noise: Any) -> MaskedTarget:
        assert self.masking is not None
        assert noise is not None
        return hide(ids, unit >= 0, self.masking, length=self.length, noise=noise)


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
    wanted = np.where(open_.any(axis=1), np.maximum(1, np.rint(masking.rate * open_.sum(axis=1))), 0).astype(np.int64)
    most = max(1, round(masking.rate * width))
    places = np.argsort(np.where(open_, choice, 2.0), axis=1, kind="stable")[:, :most].astype(np.int32)
    used = np.arange(most) < wanted[:, None]
    label = np.where(used, np.take_along_axis(ids, places, axis=1), IGNORED).astype(np.int32)
    fate, words = np.take_along_axis(fate, places, axis=1), np.take_along_axis(words, places, axis=1)
    old = np.take_along_axis(ids, places, axis=1)
    new = np.where(fate < 0.8, masking.mask_id, np.where(fate < 0.9, words, old))
    np.put_along_axis(ids, places, np.where(used, new, old).astype(np.int32), axis=1)
    return MaskedTarget(np.where(used, places, 0).astype(np.int32), label)


class TrainingBatches:
    """Batch `step` of a phase, for any step: a pure function of the seed and the step, for any number of hosts."""

    def __init__(
        self, examples: Examples, chosen: np.ndarray, *, batch_size: int, micro_batches: int, seed: int
    ) -> None:
        self.examples, self.chosen, self.seed = examples, chosen, seed
        self.batch_size, self.micro_batches = batch_size, micro_batches
        self.lengths, self.rungs = examples.lengths(), rungs(examples.length, TRAINING_SHAPES)

    def items(self, step: int) -> np.ndarray:
        """The numbers of the items of batch `step`."""
        return self.chosen[items_at(step, items=len(self.chosen), batch_size=self.batch_size, seed=self.seed)]

    def __call__(self, step: int) -> Batch:
        """Batch `step`, each array with the micro-batches as its first axis."""
        items = self.items(step)
        length = next(rung for rung in self.rungs if rung >= self.lengths[items].max())
        batch = self.examples.batch(items, length=length, noise=generator(self.seed, "mask", step))
        return jax.tree.map(lambda x: x.reshape(self.micro_batches, len(x) // self.micro_batches, *x.shape[1:]), batch)


def evaluation_batches(examples: Examples, *, rows: int) -> Iterator[tuple[np.ndarray, Batch]]:
    """Every item exactly once, in batches of one row count and at most two lengths, with the items of each.

    The last batch of a length is padded with items of number −1, which carry weight 0.
    """
    per_batch = rows // examples.units_per_item
    lengths, below = examples.lengths(), 0
    for rung in rungs(examples.length, EVALUATION_SHAPES):
        items = np.flatnonzero((lengths > below) & (lengths <= rung))
        below = rung
        for start in range(0, len(items), per_batch):
            part = items[start : start + per_batch]
            part = np.concatenate([part, np.full(per_batch - len(part), -1, part.dtype)])
            yield part, examples.batch(part, length=rung)


def rungs(length: int, count: int) -> tuple[int, ...]:
    """At most `count` row lengths up to `length`, in steps that compilers like."""
    step = 8 if length <= 128 else 32
    steps = -(-length // step)
    return tuple(sorted({min(length, step * -(-steps * k // count)) for k in range(1, count + 1)}))


def real_tokens(batch: Batch) -> int:
    """How many tokens of a host batch are not padding."""
    return int(np.count_nonzero(np.asarray(batch.tokens.unit_BL) >= 0))


def _zeros(items: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.zeros((len(items), 1), np.int32)


def _take(labels: np.ndarray, items: np.ndarray) -> np.ndarray:
    return np.where(items >= 0, labels[np.maximum(items, 0)], 0).astype(np.int32)
