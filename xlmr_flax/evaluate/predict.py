"""Predictions of a model on a task's examples, whatever its head, on any number of devices."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from xlmr_flax.data.batches import Examples, evaluation_batches
from xlmr_flax.evaluate.dual import Ranked
from xlmr_flax.evaluate.spans import best_answers, guesses
from xlmr_flax.model.build import Model
from xlmr_flax.sources.rows import Row
from xlmr_flax.tasks.task import Task
from xlmr_flax.train.sharding import row_shards
from xlmr_flax.train.step import make_predict_step, place_batch

# A label word · an option's number · a tuple of tags · an answer, or a Guess where there may be none · a ranking.
Prediction = Any


def predict(
    model: Model, params: Any, task: Task, rows: Sequence[Row], examples: Examples, *, mesh: Mesh, batch_size: int
) -> list[Prediction]:
    """One prediction for each row; that each was predicted once is asserted."""
    read = READERS[task.head.kind](task, rows, examples)
    step, seen = make_predict_step(model), np.zeros(examples.items, np.int64)
    for items, batch in evaluation_batches(examples, rows=rows_of(batch_size, examples, mesh)):
        placed = place_batch(batch, mesh, lead=0)
        read.take(items, jax.device_get(step(params, placed.tokens, placed.target)))
        np.add.at(seen, items[items >= 0], 1)
    assert (seen == 1).all(), f"{task.name}: {(seen != 1).sum()} of {len(seen)} items were not predicted exactly once"
    found = read.predictions()
    assert len(found) == len(rows), f"{task.name}: {len(found)} predictions for {len(rows)} rows"
    return found


def rows_of(batch_size: int, examples: Examples, mesh: Mesh) -> int:
    """Rows of an evaluation batch: the nearest that divides over the devices and holds whole examples."""
    multiple = row_shards(mesh) * examples.units_per_item
    return -(-batch_size // multiple) * multiple


class _Classes:
    """The most probable class of each row, or option of each example."""

    def __init__(self, task: Task, rows: Sequence[Row], examples: Examples) -> None:
        self.names: Sequence[Any] = task.head.labels or range(task.head.options or 0)
        self.found: list[Prediction] = [None] * examples.items

    def take(self, items: np.ndarray, logits: np.ndarray) -> None:
        best = logits.reshape(-1, logits.shape[-1]).argmax(-1)
        for item, number in zip(items, best, strict=True):
            if item >= 0:
                self.found[item] = self.names[number]

    def predictions(self) -> list[Prediction]:
        return self.found


class _Tags:
    """A tag for every word: that of its first sub-word, in whichever unit it stands."""

    def __init__(self, task: Task, rows: Sequence[Row], examples: Examples) -> None:
        self.labels, self.encoded = task.head.labels, examples.encoded
        self.found: list[list[str]] = [[""] * len(row.words) for row in rows]

    def take(self, items: np.ndarray, logits_BLC: np.ndarray) -> None:
        best_BL = logits_BLC.argmax(-1)
        start = self.encoded.start
        for item, best_L in zip(items, best_BL, strict=True):
            if item >= 0:
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

    def take(self, items: np.ndarray, logits: Any) -> None:
        lengths = np.diff(self.encoded.start)
        for item, start_SL, end_SL in zip(items, *logits, strict=True):
            if item >= 0:
                self.start_logits[item] = start_SL[0, : lengths[item]]
                self.end_logits[item] = end_SL[0, : lengths[item]]

    def predictions(self) -> list[Prediction]:
        return self.read(self.rows, self.encoded, self.start_logits, self.end_logits)


READERS: dict[str, Callable[..., Any]] = {
    "sequence": _Classes,
    "choice": _Classes,
    "token": _Tags,
    "span": _Answers,
    "dual": Ranked,
}
