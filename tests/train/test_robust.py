"""Steps with noise on the vectors of words: the same on any mesh and in any packing, and plain where there is none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlmr_flax.model.smoothing import Smoothing
from xlmr_flax.plan.programs import train_program
from xlmr_flax.train.step import make_train_step

SMOOTHING = Smoothing("gaussian", 0.3, 2.0)


@pytest.fixture(scope="module")
def ran(trainer, optim):
    """Weights and losses after two smoothed steps, by mesh."""

    def run(kind, mesh, **how):
        part = trainer(kind, mesh, **how)
        step = make_train_step(part.model, optim, part.mesh, SMOOTHING)
        state, losses = part.start(), []
        for number in range(2):
            state, outcome = step(state, part.place(number), part.course)
            losses.append(float(outcome.total) / float(outcome.count))
        return jax.device_get(state.params), losses

    return run


def test_noise_and_its_loss_are_the_same_on_any_mesh_packed_and_in_micro_batches(ran, finished):
    params, losses = ran("token", "one")
    other, others = ran("token", "mix", packed=True, micro_batches=2)
    np.testing.assert_allclose(others, losses, rtol=2e-5)
    for one, two in zip(jax.tree.leaves(params), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(two, one, atol=2e-5)
    assert abs(losses[0] - finished("token", "one")[1][0]) > 1e-3  # and it is not the plain step


@pytest.mark.parametrize("kind", ["sequence", "choice", "token", "span"])
def test_the_loss_is_that_of_moved_inputs_and_the_weighted_divergence(trainer, kind):
    part = trainer(kind)
    params, batch, word = part.start().params, jax.tree.map(lambda x: x[0], part.place(0)), jnp.uint32(9)

    @jax.jit
    def losses(params):
        plain = part.model.loss(params, batch, word)
        still, moved, both, twice = (
            part.model.smoothed_loss(params, batch, word, SMOOTHING._replace(scale=scale, consistency=weight))
            for scale, weight in ((1e-12, 1.0), (0.3, 0.0), (0.3, 1.0), (0.3, 2.0))
        )
        return [one.total for one in (plain, still, moved, both, twice)], plain.count, twice.count

    (plain, still, moved, both, twice), count, counted = jax.device_get(losses(params))
    assert count == counted
    np.testing.assert_allclose(still, plain, rtol=1e-6)
    assert abs(moved - plain) > 1e-3
    assert both - moved > 1e-3
    np.testing.assert_allclose(twice - moved, 2 * (both - moved), rtol=1e-3)


def test_a_phase_without_noise_has_the_program_that_it_had(trainer, optim):
    part = trainer("sequence")
    assert make_train_step(part.model, optim, part.mesh) is make_train_step(part.model, optim, part.mesh, None)
    plain = train_program(part.model, optim, part.mesh, part.batches(0)).as_text()
    smooth = train_program(part.model, optim, part.mesh, part.batches(0), SMOOTHING).as_text()
    assert "erf_inv" not in plain
    assert "erf_inv" in smooth
