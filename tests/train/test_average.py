"""Means of weights, and which steps of a phase they are made of."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from xlmr_flax.config.schema import Average
from xlmr_flax.train.average import averaged_steps, mean_of, saved_steps


def test_the_mean_is_that_of_each_number_and_has_the_same_bits_on_any_mesh(mesh):
    random = np.random.default_rng(0)
    trees = [{"a": random.normal(size=(8, 3)).astype(np.float32), "b": {"c": np.float32(n)}} for n in range(3)]
    found = []
    for name, spec in (("one", P()), ("mix", P(("data", "fsdp")))):
        places = {"a": NamedSharding(mesh(name), spec), "b": {"c": NamedSharding(mesh(name), P())}}
        found.append(mean_of(jax.device_put(tree, places) for tree in trees))
        assert found[-1]["a"].sharding.is_equivalent_to(places["a"], 2)
    np.testing.assert_array_equal(found[0]["a"], found[1]["a"])
    np.testing.assert_allclose(found[0]["a"], np.mean([tree["a"] for tree in trees], axis=0), rtol=1e-6)
    assert float(found[0]["b"]["c"]) == 1.0


@pytest.mark.parametrize(
    ("last", "steps", "before"),
    [(20, [12, 16, 20], [12, 16, 20]), (18, [12, 16, 18], [8, 12, 16]), (9, [4, 8, 9], [4, 8]), (3, [3], [])],
)
def test_a_phase_averages_its_last_step_and_those_before_it(last, steps, before):
    average = Average(checkpoints=3, every_steps=4)
    assert averaged_steps(average, last) == steps
    assert saved_steps(average, last) == before


@given(st.integers(2, 6), st.integers(1, 9), st.integers(1, 60), st.integers(1, 60))
def test_what_will_be_averaged_is_kept_wherever_a_phase_stops_and_goes_on(checkpoints, every, stop, more):
    average = Average(checkpoints=checkpoints, every_steps=every)
    before = {step for step in averaged_steps(average, stop + more) if step <= stop}
    assert before <= set(saved_steps(average, stop))


def test_one_tree_is_its_own_mean_to_the_bit():
    tree = {"a": np.float32([0.1, np.pi])}
    assert mean_of(iter([tree])) is tree
