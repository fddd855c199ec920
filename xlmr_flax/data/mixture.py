"""Batches of several tasks: which task a step trains on is drawn from the seed, and its n-th use is its n-th batch."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from xlmr_flax.config.schema import Phase
from xlmr_flax.data.batch import Batch
from xlmr_flax.data.batches import SAMPLED_STEPS, SAMPLED_UNITS, TRAINING_SHAPES, TrainingBatches
from xlmr_flax.data.examples import Examples
from xlmr_flax.data.order import steps_of
from xlmr_flax.data.packing import Layout, Shape, ladder, ranks, row_lengths
from xlmr_flax.data.randomness import generator
from xlmr_flax.data.switching import Switch
from xlmr_flax.graph.mixture import members, rates, steps_of_mixture


class Use(NamedTuple):
    """What a step trains on: one task's batches, and which of them."""

    task: str
    batches: TrainingBatches
    number: int


def drawn(rates: Sequence[float], *, seed: int, steps: int) -> np.ndarray:
    """The number of the task of each step, each drawn by itself: more steps change none before them."""
    edges = np.cumsum(rates)
    found = np.searchsorted(edges, generator(seed, "mixture").random(steps) * edges[-1], side="right")
    return np.minimum(found, len(edges) - 1)  # where rounding puts a draw beyond the last edge


class MixedBatches:
    """Batch `step` of a phase of several tasks, for any of its steps: a pure function of the seed and the step.

    `rates` are the shares of the tasks of `parts`, in their order.
    """

    def __init__(self, parts: Mapping[str, TrainingBatches], rates: Sequence[float], *, seed: int, steps: int) -> None:
        self.parts, self.names, self.seed = parts, tuple(parts), seed
        self.shares = dict(zip(parts, np.array(rates) / sum(rates), strict=True))
        # Shapes are chosen by the same steps however many there are.
        self.sampled = min(2 * SAMPLED_STEPS, max(8, SAMPLED_UNITS // max(_units(part) for part in parts.values())))
        self.task_T = drawn(rates, seed=seed, steps=max(steps, self.sampled))
        order = np.argsort(self.task_T, kind="stable")
        self.number_T = np.empty(len(order), np.int64)
        self.number_T[order] = ranks(self.task_T[order])

    def use(self, step: int) -> Use:
        """The task of a step, and how often it came before."""
        name = self.names[self.task_T[step]]
        return Use(name, self.parts[name], int(self.number_T[step]))

    def task_of(self, step: int) -> str:
        """The name of a step's task."""
        return self.names[self.task_T[step]]

    def look(self, step: int) -> tuple[str, Examples, np.ndarray]:
        """What batch `step` is made of: the task, its examples, and the numbers of the items."""
        task, batches, number = self.use(step)
        return task, batches.examples, batches.items(number)

    def made(self, step: int) -> tuple[np.ndarray, Examples]:
        """The items of batch `step`, and the examples of which they are the numbers."""
        _, batches, number = self.use(step)
        return batches.made(number)

    def items_in(self, step: int) -> int:
        """How many items batch `step` has."""
        return self.use(step).batches.batch_size

    def __call__(self, step: int) -> Batch:
        """Batch `step`, each array with the micro-batches as its first axis."""
        task, batches, number = self.use(step)
        return batches.batch_in(number, self.by_task[task])._replace(task=task)

    def shape(self, step: int) -> tuple[int, int, str]:
        """The rows of batch `step`, of all micro-batches, their length, and the task."""
        layout = self.laid(step)
        return layout.rows, layout.length, self.task_of(step)

    def laid(self, step: int) -> Layout:
        """Where the units of batch `step` lie in its rows."""
        task, batches, number = self.use(step)
        return batches.laid(number, self.by_task[task])

    @property
    def shapes(self) -> tuple[tuple[int, int, str], ...]:
        """All shapes of a micro-batch that a task may have: rows, length and task."""
        return tuple((*shape, task) for task, shapes in self.by_task.items() for shape in shapes)

    @cached_property
    def by_task(self) -> dict[str, tuple[Shape, ...]]:
        """The shapes of a micro-batch by task; packed rows have the same for all, the last of which takes any batch."""
        parts = self.parts.values()
        shards = next(iter(parts)).packed_over
        if shards is None:
            each = max(1, TRAINING_SHAPES // len(parts))
            return {name: part.unpacked_shapes(each) for name, part in self.parts.items()}
        likewise = {name: part.whole() for name, part in self.parts.items()}
        whole = MixedBatches(likewise, tuple(self.shares.values()), seed=0, steps=self.sampled)
        sampled = [whole.use(step) for step in range(self.sampled)]
        catch_all = [part.catch_all(shards) for part in parts]
        found = ladder(
            [(part, part.made(number)) for _, part, number in sampled],
            lambda one, length: one[0].loads(*one[1], length),
            row_lengths(max(part.longest for part in parts)),
            last=Shape(max(shape.rows for shape in catch_all), max(shape.length for shape in catch_all)),
            shards=shards,
            count=TRAINING_SHAPES,
        )
        return dict.fromkeys(self.names, found)


Batches = TrainingBatches | MixedBatches


class Taken(NamedTuple):
    """A task's examples, the items of them that a phase takes, and what replaces their words in training."""

    examples: Examples
    chosen: np.ndarray
    switch: Switch | None = None


def taken(examples: Examples, phase: Phase, *, seed: int, switch: Switch | None = None) -> Taken:
    """What a phase takes of a task's examples; `seed` is the experiment's."""
    subset_seed = seed if phase.subset_seed is None else phase.subset_seed
    return Taken(examples, examples.subset(phase.max_examples, seed=subset_seed), switch)


def steps_over(phase: Phase, parts: Sequence[Taken]) -> int:
    """The steps of a phase that trains on these items of its tasks."""
    if phase.steps:
        return phase.steps
    sizes = tuple(len(part.chosen) for part in parts)
    if len(sizes) == 1:
        return steps_of(sizes[0], batch_size=phase.batch_size, epochs=phase.epochs or 1.0)
    return steps_of_mixture(phase, sizes)


def training_batches(
    phase: Phase, parts: Sequence[Taken], *, seed: int, steps: int, packed_over: int | None
) -> Batches:
    """A phase's batches, on what it takes of each of its tasks."""
    batches = {
        one.tasks[0]: TrainingBatches(
            part.examples,
            part.chosen,
            switch=part.switch,
            batch_size=one.batch_size,
            micro_batches=one.accumulation,
            seed=seed,
            packed_over=packed_over if one.packing else None,
        )
        for one, part in zip(members(phase), parts, strict=True)
    }
    if len(batches) == 1:
        return next(iter(batches.values()))
    shares = rates(phase, tuple(len(part.chosen) for part in parts))
    return MixedBatches(batches, shares, seed=seed, steps=steps)


def _units(part: TrainingBatches) -> int:
    return part.batch_size * part.examples.units_per_item
