"""Which examples are shown when, and to which host: for any sizes, hosts, packing and point to go on from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlmr_flax.data import order
from xlmr_flax.data.batches import TrainingBatches, evaluation_batches
from xlmr_flax.data.encoded import joined
from xlmr_flax.data.examples import Examples
from xlmr_flax.data.order import items_at
from xlmr_flax.train.loop import read

LENGTH, PAD = 40, 1


def examples_of(sizes, units_per_item=1):
    """Examples whose tokens all say which item they belong to."""
    units = [np.full(size, number + 2, np.int32) for number, size in enumerate(np.repeat(sizes, units_per_item))]
    items = np.repeat(np.arange(len(sizes)), units_per_item)
    kind = "sequence" if units_per_item == 1 else "choice"
    return Examples(kind, joined(units, items, {}, np.arange(len(sizes))), LENGTH, PAD, units_per_item=units_per_item)


@st.composite
def phases(draw):
    """A phase's examples and settings, over how many hosts its rows go, and where it stops and goes on."""
    hosts, micro, units = draw(st.sampled_from([1, 2, 3, 4])), draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 3]))
    examples = examples_of(draw(st.lists(st.integers(2, LENGTH), min_size=1, max_size=40)), units)
    limit = draw(st.none() | st.integers(1, examples.items))
    seed, packing = draw(st.integers(0, 2**31 - 1)), draw(st.booleans())
    batch_size = hosts * micro * draw(st.integers(1, 5))
    steps = draw(st.integers(1, 6))
    arguments = {"batch_size": batch_size, "micro_batches": micro, "seed": seed}
    return examples, examples.subset(limit, seed=seed), arguments, hosts, packing, steps, draw(st.integers(0, steps))


def batches_of(examples, chosen, arguments, hosts, packing):
    order._epoch.cache_clear()  # as in a process that has just started
    return TrainingBatches(examples, chosen, **arguments, packed_over=hosts if packing else None)


def shown_to(batch, host, hosts):
    """The units in a host's rows of each micro-batch, by their numbers in the batch, and the items that they are of."""
    ids, unit = np.asarray(batch.tokens.ids_BL), np.asarray(batch.tokens.unit_BL)
    share = ids.shape[1] // hosts
    assert share * hosts == ids.shape[1]
    ids, unit = (x[:, host * share : (host + 1) * share] for x in (ids, unit))
    found = dict(zip(unit[unit >= 0].tolist(), (ids[unit >= 0] - 2).tolist(), strict=True))
    assert (ids[unit < 0] == PAD).all()
    return found


@settings(max_examples=30)
@given(phase=phases())
def test_hosts_together_see_each_example_of_a_step_once_and_every_restart_the_same_sequence(phase):
    examples, chosen, arguments, hosts, _, steps, restart = phase
    batches, size, per_item = batches_of(*phase[:5]), arguments["batch_size"], examples.units_per_item
    shown = []
    for step in range(steps):
        batch = batches(step)
        parts = [shown_to(batch, host, hosts) for host in range(hosts)]
        numbers = sorted(number for part in parts for number in part)
        assert numbers == list(range(size * per_item))  # no unit twice, none left out, on whatever host it is
        units = {number: unit for part in parts for number, unit in part.items()}
        shown += [units[number] // per_item for number in range(0, size * per_item, per_item)]
        assert all(units[number] % per_item == number % per_item for number in numbers)
    order_of = [items_at(step, items=len(chosen), batch_size=size, seed=arguments["seed"]) for step in range(steps)]
    assert shown == chosen[np.concatenate(order_of)].tolist()
    for first in range(0, len(shown) - len(chosen) + 1, len(chosen)):
        assert sorted(shown[first : first + len(chosen)]) == sorted(chosen)
    again = batches_of(*phase[:5])
    for step in reversed(range(restart, steps)):
        for one, other in zip(again(step).tokens, batches(step).tokens, strict=True):
            np.testing.assert_array_equal(one, other)


@settings(max_examples=8)
@given(phase=phases())
def test_reading_ahead_from_any_step_gives_the_batches_of_those_steps(phase):
    *_, steps, restart = phase
    batches = batches_of(*phase[:5])
    found = list(read(batches_of(*phase[:5]), restart, steps))
    assert len(found) == steps - restart
    for step, batch in enumerate(found, start=restart):
        np.testing.assert_array_equal(batch.tokens.ids_BL, batches(step).tokens.ids_BL)


@pytest.mark.parametrize("packing", [True, False])
@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(2, LENGTH), min_size=1, max_size=60), hosts=st.integers(1, 4), share=st.integers(1, 4)
)
def test_hosts_together_evaluate_each_example_once(packing, sizes, hosts, share):
    examples, seen = examples_of(sizes), []
    for shown, batch in evaluation_batches(examples, rows=hosts * share, packing=packing):
        here = []
        for host in range(hosts):
            rows = slice(host * share, (host + 1) * share)
            ids, unit = batch.tokens.ids_BL[rows], batch.tokens.unit_BL[rows]
            here += [(number, int(ids[unit == number][0]) - 2) for number in np.unique(unit[unit >= 0])]
        assert [item for _, item in sorted(here)] == shown.items.tolist()
        seen += shown.items.tolist()
    assert sorted(seen) == list(range(len(sizes)))
