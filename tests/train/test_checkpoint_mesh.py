"""A phase that goes on elsewhere: the same batches, masks and numbers on another mesh, the same bits on its own."""

from itertools import pairwise

import jax
import numpy as np
import pytest

from xlmr_flax.train.checkpoint import Checkpoints
from xlmr_flax.train.state import abstract_state, parts_of, state_of

STEPS = 20


def relay(part_on, folder, meshes, optim):
    """The losses and the last state of a run that every mesh takes a share of, each from the checkpoint before."""
    losses, state = [], None
    shares = np.linspace(0, STEPS, len(meshes) + 1).astype(int)
    for mesh, (first, last) in zip(meshes, pairwise(shares), strict=True):
        part = part_on("sequence", mesh)
        checkpoints = Checkpoints(folder, keep=2)
        found = checkpoints.restore(parts_of(abstract_state(part.model, optim, part.mesh)))
        assert (found.step if found else 0) == first
        parts = found.parts if found else parts_of(part.start())
        state = state_of(parts)
        for step in range(first, last):
            state, tally = part.step(state, part.place(step), part.course)
            losses.append(float(tally.total) / float(tally.count))
        checkpoints.save(int(last), parts_of(state), {"best_step": None, "evaluations": [], "log": None})
        checkpoints.close()
    return losses, state


def farthest(one, other):
    return max(jax.tree.leaves(jax.tree.map(lambda a, b: np.abs(np.asarray(a) - np.asarray(b)).max(), one, other)))


@pytest.fixture(scope="module")
def straight(finished):
    return finished("sequence", "one", STEPS)


def test_eight_devices_then_one_then_four_train_as_one_does_dropout_included(trainer, straight, optim, tmp_path):
    losses, state = relay(trainer, tmp_path, ("data", "fsdp", "tensor", "one", "four"), optim)
    whole_state, whole = straight
    np.testing.assert_allclose(losses, whole, rtol=1e-5)
    assert farthest(state.params, whole_state.params) < 1e-5
    assert losses[-1] < 0.9 * losses[0]  # it has moved


def test_on_the_same_mesh_it_is_the_same_bits(trainer, finished, optim, tmp_path):
    whole_state, whole = finished("sequence", "fsdp", STEPS)
    losses, state = relay(trainer, tmp_path, ("fsdp", "fsdp", "fsdp"), optim)
    assert losses == whole
    assert farthest(parts_of(state), parts_of(whole_state)) == 0


def test_every_mesh_asks_for_the_same_batches(trainer):
    for step in (0, 7, 19):
        batches = [trainer("sequence", mesh).batches(step) for mesh in ("one", "data", "tensor", "four")]
        for other in batches[1:]:
            jax.tree.map(np.testing.assert_array_equal, batches[0], other)
