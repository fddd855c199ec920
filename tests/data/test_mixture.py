"""Batches of several tasks: whose turn it is, what it sees then, and the shapes they share."""

import math

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlmr_flax.data.batches import Examples, TrainingBatches
from xlmr_flax.data.encoded import joined
from xlmr_flax.data.mixture import MixedBatches, drawn

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
