"""Steps of several tasks on one encoder: heads that take turns are as if each were alone with the encoder."""

import itertools

import jax
import numpy as np
import pytest

from xlmr_flax.train.mixture import (
    abstract_mixed_params,
    abstract_mixed_state,
    make_mixed_step,
    params_of,
    view,
)
from xlmr_flax.train.optimizer import make_optimizer_by_part
from xlmr_flax.train.state import abstract_state, parts_of, place_course, state_of
from xlmr_flax.train.step import make_train_step

TURNS = ("tags", "tags", "text", "tags", "text", "text")
KINDS = {"tags": "token", "text": "mlm"}


def filled(like, tree=None):
    """Arrays in these places: those of `tree`, or zeros."""
    tree = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like) if tree is None else tree
    return jax.tree.map(lambda value, x: jax.device_put(value, x.sharding), tree, like)


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(jax.device_get(tree))]


@pytest.fixture(scope="module")
def mixture(trainer, optim):
    """What six steps in turns make of a state, over eight devices, and each state on the way."""
    parts = {task: trainer(kind, "mix") for task, kind in KINDS.items()}
    models = {task: part.model for task, part in parts.items()}
    mesh, starts = parts["tags"].mesh, {task: part.start().params for task, part in parts.items()}
    params = {"encoder": starts["tags"]["encoder"], "head": {task: one["head"] for task, one in starts.items()}}
    state = filled(abstract_mixed_state(models, optim, mesh))._replace(params=params)
    step, course = make_mixed_step(models, optim, mesh), place_course(optim, mesh, seed=3, steps=100)
    used, states, outcomes = dict.fromkeys(KINDS, 0), [jax.device_get(state)], []
    for task in TURNS:
        state, outcome = step(state, parts[task].place(used[task])._replace(task=task), course)
        used[task] += 1
        states.append(jax.device_get(state))
        outcomes.append(jax.device_get(outcome))
    return parts, models, states, outcomes


def test_a_head_that_is_not_used_keeps_every_bit_of_its_weights_and_moments(mixture):
    _, _, states, _ = mixture
    for task, (before, after) in zip(TURNS, itertools.pairwise(states), strict=True):
        for head in KINDS:
            one, other = (bits([state.params["head"][head], state.opt["head"][head]]) for state in (before, after))
            assert (one == other) == (head != task)
        assert bits(before.params["encoder"]) != bits(after.params["encoder"])


def test_a_heads_steps_are_counted_by_its_own_and_the_encoders_by_all(mixture):
    _, _, states, outcomes = mixture
    last = states[-1]
    assert (int(last.step), int(last.opt["encoder"].count)) == (6, 6)
    assert {task: int(last.opt["head"][task].count) for task in KINDS} == {"tags": 3, "text": 3}
    assert [int(outcome.skipped) for outcome in outcomes] == [0] * 6


def test_before_another_task_has_its_turn_it_is_training_alone(mixture, optim):
    """Two steps of one task: encoder, head and losses to the bit those of a phase that has no other."""
    parts, _, states, outcomes = mixture
    part = parts["tags"]
    like = abstract_state(part.model, optim, part.mesh, optimizer=make_optimizer_by_part)
    alone = filled(like, view(states[0], "tags"))
    step = make_train_step(part.model, optim, part.mesh, optimizer=make_optimizer_by_part)
    for number in range(2):
        alone, outcome = step(alone, part.place(number), part.course)
        assert bits(outcome) == bits(outcomes[number])
    assert bits(alone) == bits(view(states[2], "tags"))


def test_moments_by_part_make_the_same_numbers_as_moments_of_all(mixture, optim):
    """While a head is used at every step, its count is the encoder's: then AdamW by part is AdamW."""
    parts, _, states, _ = mixture
    part = parts["tags"]
    like = abstract_state(part.model, optim, part.mesh)
    state = filled(like)._replace(params=filled(like.params, view(states[0], "tags").params))
    for number in range(2):
        state, _ = part.step(state, part.place(number), part.course)
    found, wanted = (jax.tree.leaves(jax.device_get(tree)) for tree in (state.params, view(states[2], "tags").params))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_a_state_of_several_tasks_is_saved_and_read_in_one_layout(mixture, optim):
    parts, models, states, _ = mixture
    mesh = parts["tags"].mesh
    like = abstract_mixed_state(models, optim, mesh)
    assert jax.tree.structure(like) == jax.tree.structure(states[-1])
    assert bits(state_of(parts_of(states[-1]))) == bits(states[-1])
    assert set(parts_of(states[-1])) == {"encoder", "head", "optimizer", "counters"}
    shapes = jax.tree.map(lambda x: x.shape, abstract_mixed_params(models, mesh))
    assert jax.tree.map(lambda x: x.shape, states[-1].params) == shapes
    assert params_of(shapes, "text")["head"] == shapes["head"]["text"]
