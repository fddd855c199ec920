"""Batches of several tasks: whose turn it is, what it sees then, and the shapes they share."""

import dataclasses
import math

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlmr_flax.config.schema import Phase
from xlmr_flax.data.batches import TrainingBatches
from xlmr_flax.data.encoded import joined
from xlmr_flax.data.examples import Examples
from xlmr_flax.data.mixture import MixedBatches, drawn, steps_over, taken, training_batches

RATES = (0.6, 0.3, 0.1)


@settings(max_examples=25)
@given(
    weights=st.lists(st.floats(0.05, 1.0), min_size=1, max_size=5),
    seed=st.integers(0, 2**31 - 1),
)
def test_every_task_has_its_share_of_the_steps(weights, seed):
    steps, rates = 20_000, np.array(weights) / sum(weights)
    counts = np.bincount(drawn(rates, seed=seed, steps=steps), minlength=len(rates))
    for count, rate in zip(counts, rates, strict=True):  # five standard deviations: once in a million
        assert abs(count - steps * rate) <= 5 * math.sqrt(steps * rate * (1 - rate)) + 1


@given(seed=st.integers(0, 2**31 - 1), few=st.integers(0, 300), more=st.integers(0, 300))
def test_more_steps_change_none_before_them(seed, few, more):
    whole = drawn(RATES, seed=seed, steps=few + more)
    np.testing.assert_array_equal(drawn(RATES, seed=seed, steps=few), whole[:few])
    np.testing.assert_array_equal(drawn(RATES, seed=seed, steps=few + more), whole)


def test_other_seeds_draw_other_tasks():
    assert drawn(RATES, seed=0, steps=50).tolist() != drawn(RATES, seed=1, steps=50).tolist()


def test_the_tasks_are_the_ones_they_have_always_been():
    """A finished run would be another one if this changed; raise the graph's KEY_VERSION with it."""
    assert drawn(RATES, seed=7, steps=12).tolist() == [0, 0, 1, 0, 0, 1, 2, 1, 2, 0, 0, 2]


def sequences(items: int, longest: int, seed: int) -> Examples:
    """Units of all lengths up to the longest, whose first token says which they are."""
    sizes = np.random.default_rng(seed).integers(5, longest + 1, items)
    sizes[0] = longest
    units = [np.concatenate([[100 + item], np.full(size - 1, 7)]).astype(np.int32) for item, size in enumerate(sizes)]
    return Examples("sequence", joined(units, range(items), {}, np.zeros(items, np.int32)), longest, 1)


def mixed(steps=40, *, shards=2, **sizes):
    tasks = {"short": (90, 16, 8), "long": (40, 64, 4), "rare": (20, 24, 6)}
    parts = {}
    for number, (name, (items, longest, batch)) in enumerate(tasks.items()):
        found = sequences(items, longest, number)
        parts[name] = TrainingBatches(
            found, np.arange(items), batch_size=batch, micro_batches=2, seed=3, packed_over=shards
        )
    return MixedBatches(parts, RATES, seed=3, steps=steps)


def shown(batch):
    ids = np.asarray(batch.tokens.ids_BL)
    return sorted(ids[ids >= 100].tolist())


def test_the_nth_use_of_a_task_is_its_nth_batch():
    batches, seen = mixed(), dict.fromkeys(("short", "long", "rare"), 0)
    for step in range(40):
        name = batches.task_of(step)
        assert batches.use(step)[::2] == (name, seen[name])
        alone = batches.parts[name].items(seen[name]) + 100
        assert shown(batches(step)) == sorted(alone.tolist())
        seen[name] += 1
    assert min(seen.values()) > 0


def test_a_batch_of_a_mixture_is_a_function_of_the_seed_and_the_step():
    for one, other in zip(
        (mixed(40)(step) for step in (7, 2, 39)), (mixed(80)(step) for step in (7, 2, 39)), strict=True
    ):
        jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("shards", [2, None])
def test_all_tasks_together_have_at_most_four_shapes(shards):
    batches = mixed(200, shards=shards)
    found = {batches(step).tokens.ids_BL.shape for step in range(200)}
    assert 1 < len(found) <= 4
    assert len({(rows, length) for rows, length, _ in batches.shapes}) <= 4
    assert {batches.shape(step)[2] for step in range(200)} == set(batches.parts)


def test_phases_on_fewer_examples_and_with_other_seeds_share_their_shapes():
    examples = sequences(400, 48, 0)
    found = {
        TrainingBatches(examples, chosen, batch_size=16, micro_batches=1, seed=seed, packed_over=2).shapes
        for seed in (1, 2) for chosen in (np.arange(400), examples.subset(100, seed=seed))
    }  # fmt: skip
    assert len(found) == 1
    assert len({batches_of(joint(max_examples=None), seed=seed).shapes for seed in (1, 2)}) == 1


def joint(**more):
    """A phase of two tasks, of which one has a batch of its own."""
    return Phase.model_validate(
        {
            "name": "joint", "tasks": ("xnli", "squad"), "length": 16, "batch_size": 8, "max_examples": 30,
            "epochs": 2.0, "mixture": {"each": ({"task": "squad", "batch_size": 4},)},
        } | more
    )  # fmt: skip


def batches_of(phase, *, seed=1):
    parts = [taken(sequences(items, 16, items), phase, seed=seed) for items in (90, 40)]
    return training_batches(phase, parts, seed=seed, steps=50, packed_over=2)


def test_a_subset_is_drawn_from_the_experiments_seed_or_from_one_of_its_own():
    examples = sequences(90, 16, 0)
    assert taken(examples, joint(), seed=3).chosen.tolist() == examples.subset(30, seed=3).tolist()
    mine = joint(subset_seed=5)
    assert taken(examples, mine, seed=3).chosen.tolist() == examples.subset(30, seed=5).tolist()
    assert taken(examples, mine, seed=3).chosen.tolist() != examples.subset(30, seed=3).tolist()


def test_a_subset_of_labelled_rows_has_every_class_in_its_share_and_the_seed_draws_it():
    examples = sequences(100, 16, 0)
    label = np.where(np.arange(100) < 80, 0, 1).astype(np.int32)
    examples = dataclasses.replace(examples, encoded=examples.encoded._replace(label=label))
    found = [examples.subset(10, seed=seed) for seed in range(8)]
    assert {label[items].sum() for items in found} == {2}
    assert len({tuple(items) for items in found}) == 8


def test_shares_and_steps_are_by_what_is_taken_of_each_task():
    assert batches_of(joint()).shares == {"xnli": 0.5, "squad": 0.5}  # 30 of 90, and 30 of 40
    assert batches_of(joint(max_examples=None)).shares == {"xnli": 90 / 130, "squad": 40 / 130}
    found = [taken(sequences(items, 16, items), joint(), seed=1) for items in (90, 40)]
    assert steps_over(joint(), found) == 23  # 30 × 2 / 8 and 30 × 2 / 4
    assert steps_over(joint(), found[:1]) == 8


def test_each_task_has_its_batch_and_the_phases_seed_draws_tasks_and_orders():
    one, other = batches_of(joint(subset_seed=5)), batches_of(joint(subset_seed=5), seed=2)
    assert {name: part.batch_size for name, part in one.parts.items()} == {"xnli": 8, "squad": 4}
    assert one.task_T[:50].tolist() == drawn((0.5, 0.5), seed=1, steps=50).tolist()
    assert one.task_T.tolist() != other.task_T.tolist()
    for name in ("xnli", "squad"):
        mine, theirs = (each.parts[name] for each in (one, other))
        assert sorted(mine.chosen) == sorted(theirs.chosen)
        assert mine.items(0).tolist() != theirs.items(0).tolist()
