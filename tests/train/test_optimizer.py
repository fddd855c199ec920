"""AdamW: what is clipped and what decays."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from xlmr_flax.config.schema import Optim
from xlmr_flax.model.weights import flat
from xlmr_flax.train.optimizer import decays, make_optimizer, make_optimizer_by_part

PARAMS = {"kernel": jnp.array([3.0, 4.0]), "bias": jnp.array([2.0])}
GRADS = {"kernel": jnp.array([6.0, 0.0]), "bias": jnp.array([8.0])}  # of norm 10


def first_moments(optim):
    tx = make_optimizer(optim)
    _, state = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    return next(part.mu for part in state if isinstance(part, optax.ScaleByAdamState))


def test_biases_and_layer_norms_do_not_decay_and_everything_else_does(trainer):
    for kind in ("sequence", "choice", "token", "span", "mlm"):
        for name, does in flat(decays(jax.eval_shape(trainer(kind, "one").model.init_params, jax.random.key(0)))):
            assert does == (name.split(".")[-1] in ("kernel", "words", "positions", "types")), name


def test_decay_adds_its_share_of_the_weight_after_adam():
    tx = make_optimizer(Optim(weight_decay=0.5))
    nothing = jax.tree.map(jnp.zeros_like, PARAMS)
    updates, _ = tx.update(nothing, tx.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["kernel"], [1.5, 2.0])
    np.testing.assert_allclose(updates["bias"], [0.0])


@pytest.mark.parametrize(("clip_norm", "scale"), [(5.0, 0.5), (20.0, 1.0), (None, 1.0)])
def test_gradients_are_clipped_by_the_norm_of_all_of_them(clip_norm, scale):
    moments = first_moments(Optim(clip_norm=clip_norm, b1=0.9))
    np.testing.assert_allclose(moments["kernel"], [0.1 * 6 * scale, 0], rtol=1e-5)
    np.testing.assert_allclose(moments["bias"], [0.1 * 8 * scale], rtol=1e-5)


def test_the_first_update_is_the_sign_of_the_gradient_and_eps_tempers_it():
    for eps, wanted in ((1e-8, 1.0), (6.0, 0.5)):
        tx = make_optimizer(Optim(eps=eps, weight_decay=0.0, clip_norm=None))
        updates, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS)
        np.testing.assert_allclose(updates["kernel"], [wanted, 0.0], rtol=1e-5)


def test_b1_and_b2_are_those_of_the_moments():
    tx = make_optimizer(Optim(b1=0.5, b2=0.75, clip_norm=None))
    _, state = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    adam = next(part for part in state if isinstance(part, optax.ScaleByAdamState))
    np.testing.assert_allclose(adam.mu["bias"], [4.0])
    np.testing.assert_allclose(adam.nu["bias"], [16.0])


def test_several_parts_are_clipped_by_the_norm_of_all_of_them():
    tx = make_optimizer_by_part(Optim(clip_norm=1.0))
    grads = {"encoder": {"kernel": jnp.full(1, 3.0)}, "head": {"kernel": jnp.full(1, 4.0)}}  # of norm 5
    _, state = tx.update(grads, tx.init(grads), grads)
    found = {part: float(state[part].mu[part]["kernel"][0]) for part in grads}
    assert found == {"encoder": pytest.approx(0.1 * 3 / 5), "head": pytest.approx(0.1 * 4 / 5)}
