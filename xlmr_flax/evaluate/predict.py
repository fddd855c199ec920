"""Predictions of a model on a task's examples, whatever its head, on any number of devices."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh

from xlmr_flax.data.batches import Shown, evaluation_batches
from xlmr_flax.data.examples import Examples
from xlmr_flax.evaluate.dual import Ranked
from xlmr_flax.evaluate.spans import best_answers, guesses
from xlmr_flax.model.build import Model
from xlmr_flax.model.heads import SpanLogits
from xlmr_flax.sources.rows import Row
from xlmr_flax.tasks.task import Task
from xlmr_flax.train.processes import fetch
from xlmr_flax.train.sharding import row_shards
from xlmr_flax.train.state import place_batch
from xlmr_flax.train.step import make_predict_step

# A label word · an option's number · a tuple of tags · an answer, or a Guess where there may be none · a ranking.
Prediction = Any


def predict(
    model: Model,
    params: Any,
    task: Task,
    rows: Sequence[Row],
    examples: Examples,
    *,
    mesh: Mesh,
    batch_size: int,
    packing: bool = True,
) -> list[Prediction]:
    """One prediction for each row; that each was predicted once is asserted."""
    reader, parted = READERS[task.head.kind]
    read, step, seen = reader(task, rows, examples), make_predict_step(model), np.zeros(examples.items, np.int64)
    for shown, batch in evaluation_batches(examples, rows=rows_of(batch_size, examples, mesh), packing=packing):
        placed = place_batch(batch, mesh, lead=0)
        logits = fetch(step(params, placed.tokens, placed.target))
        read.take(shown.items, parted(shown, logits))
        np.add.at(seen, shown.items, 1)
    assert (seen == 1).all(), f"{task.name}: {(seen != 1).sum()} of {len(seen)} items were not predicted exactly once"
    found = read.predictions()
    assert len(found) == len(rows), f"{task.name}: {len(found)} predictions for {len(rows)} rows"
    return found


def rows_of(batch_size: int, examples: Examples, mesh: Mesh) -> int:
    """Rows of an evaluation batch: the nearest that divides over the devices and holds whole examples."""
    multiple = row_shards(mesh) * examples.units_per_item
    return -(-batch_size // multiple) * multiple


def _of_items(shown: Shown, logits_EX: np.ndarray) -> np.ndarray:
    """What a head gave for each item, of logits that come by item."""
    return logits_EX[: len(shown.items)]


def _of_slots(shown: Shown, logits_BSC: np.ndarray) -> np.ndarray:
    """The same of logits that come by the slots of rows."""
    return logits_BSC[shown.row_N, shown.slot_N]


def _of_tokens(shown: Shown, logits_BLC: np.ndarray) -> Iterable[np.ndarray]:
    """The best class of each of an item's tokens."""
    best_BL = logits_BLC.argmax(-1)
    for row, offset, size in zip(shown.row_N, shown.offset_N, shown.size_N, strict=True):
        yield best_BL[row, offset : offset + size]


def _of_spans(shown: Shown, logits: SpanLogits) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """The logits of each of an item's tokens as the start and as the end."""
    for row, slot, offset, size in zip(shown.row_N, shown.slot_N, shown.offset_N, shown.size_N, strict=True):
        own = slice(offset, offset + size)
        yield logits.start_BSL[row, slot, own], logits.end_BSL[row, slot, own]


class _Classes:
    """The most probable class of each row, or option of each example."""

    def __init__(self, task: Task, rows: Sequence[Row], examples: Examples) -> None:
        self.names: Sequence[Any] = task.head.labels or range(task.head.options or 0)
        self.found: list[Prediction] = [None] * examples.items

    def take(self, items: np.ndarray, logits_EC: np.ndarray) -> None:
        for item, number in zip(items, logits_EC.argmax(-1), strict=True):
            self.found[item] = self.names[number]

    def predictions(self) -> list[Prediction]:
        return self.found


class _Tags:
    """A tag for every word: that of its first sub-word, in whichever unit it stands."""

    def __init__(self, task: Task, rows: Sequence[Row], examples: Examples) -> None:
        self.labels, self.encoded = task.head.labels, examples.encoded
        self.found: list[list[str]] = [[""] * len(row.words) for row in rows]

    def take(self, items: np.ndarray, best: Iterable[np.ndarray]) -> None:
        start = self.encoded.start
        for item, best_L in zip(items, best, strict=True):
            words = self.encoded.where[start[item] : start[item + 1]]
            for place in np.flatnonzero(words >= 0):
                self.found[self.encoded.example[item]][words[place]] = self.labels[best_L[place]]

    def predictions(self) -> list[Prediction]:
        assert all(all(tags) for tags in self.found), "a word has no tag"
        return [tuple(tags) for tags in self.found]


class _Answers:
    """The best span over all windows of a question."""

    def __init__(self, task: Task, rows: Sequence[Row], examples: Examples) -> None:
        self.rows, self.encoded, self.read = rows, examples.encoded, guesses if task.nullable else best_answers
        self.start_logits: list[Any] = [None] * examples.items
        self.end_logits: list[Any] = [None] * examples.items

    def take(self, items: np.ndarray, logits: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        for item, (start_L, end_L) in zip(items, logits, strict=True):
            self.start_logits[item], self.end_logits[item] = start_L, end_L

    def predictions(self) -> list[Prediction]:
        return self.read(self.rows, self.encoded, self.start_logits, self.end_logits)


# By head kind: who reads the logits, and how they are parted among the items.
READERS: dict[str, tuple[Callable[..., Any], Callable[[Shown, Any], Iterable[Any]]]] = {
    "sequence": (_Classes, _of_slots),
    "choice": (_Classes, _of_items),
    "token": (_Tags, _of_tokens),
    "span": (_Answers, _of_spans),
    "dual": (Ranked, _of_items),
}
