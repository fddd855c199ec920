"""LayerNorm, softmax and GELU: their written gradients are those of the plain formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlmr_flax.model.elementwise import gelu, layer_norm, softmax

KEYS = jax.random.split(jax.random.key(0), 4)
X_BLD = 3 + 2 * jax.random.normal(KEYS[0], (2, 5, 16))
SCALE_D, BIAS_D = jax.random.normal(KEYS[1], (2, 16))
EPS = 1e-5


def plain_norm(x_BLD, scale_D, bias_D):
    centred_BLD = x_BLD - x_BLD.mean(-1, keepdims=True)
    variance_BL1 = (centred_BLD**2).mean(-1, keepdims=True)
    return centred_BLD / jnp.sqrt(variance_BL1 + EPS) * scale_D[None, None] + bias_D[None, None]


def close(found, wanted, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), found, wanted)


def pulled(function, *arguments, back):
    value, pull = jax.vjp(function, *arguments)
    return value, pull(back)


def test_layer_norm_and_its_three_gradients():
    back_BLD = jax.random.normal(KEYS[2], X_BLD.shape)
    found = pulled(lambda *a: layer_norm(*a, EPS, jnp.float32), X_BLD, SCALE_D, BIAS_D, back=back_BLD)
    close(found, pulled(plain_norm, X_BLD, SCALE_D, BIAS_D, back=back_BLD), rtol=1e-5, atol=1e-5)


def test_softmax_and_its_gradient_where_some_logits_are_masked():
    scores = jnp.where(jax.random.bernoulli(KEYS[1], 0.7, (3, 4, 9)), jax.random.normal(KEYS[0], (3, 4, 9)), -1e30)
    back = jax.random.normal(KEYS[2], scores.shape)
    found = pulled(lambda s: softmax(s, jnp.float32), scores, back=back)
    close(found, pulled(jax.nn.softmax, scores, back=back), rtol=1e-5, atol=1e-6)


def test_gelu_and_its_gradient_near_and_far_from_zero():
    x = jnp.concatenate([jnp.linspace(-6, 6, 241), jnp.array([-100.0, 100.0])])
    back = jax.random.normal(KEYS[2], x.shape)
    found = pulled(gelu, x, back=back)
    close(found, pulled(lambda x: jax.nn.gelu(x, approximate=False), x, back=back), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_types_go_in_and_come_back_as_they_are_computed_with(dtype):
    x_BLD = X_BLD.astype(dtype)
    y_BLD, (dx_BLD, dscale_D, dbias_D) = pulled(
        lambda *a: layer_norm(*a, EPS, dtype), x_BLD, SCALE_D, BIAS_D, back=jnp.ones_like(x_BLD)
    )
    assert (y_BLD.dtype, dx_BLD.dtype, dscale_D.dtype, dbias_D.dtype) == (dtype, dtype, jnp.float32, jnp.float32)
    probs, (dscores,) = pulled(lambda s: softmax(s, dtype), X_BLD, back=jnp.ones_like(x_BLD))
    assert (probs.dtype, dscores.dtype) == (dtype, jnp.float32)
    assert [x.dtype for x in jax.tree.leaves(pulled(gelu, x_BLD, back=jnp.ones_like(x_BLD)))] == [dtype, dtype]


def test_the_gradient_of_bfloat16_is_near_that_of_float32():
    back_BLD = jax.random.normal(KEYS[2], X_BLD.shape)
    half = pulled(
        lambda x: layer_norm(x, SCALE_D, BIAS_D, EPS, jnp.bfloat16), X_BLD, back=back_BLD.astype(jnp.bfloat16)
    )
    full = pulled(lambda x: layer_norm(x, SCALE_D, BIAS_D, EPS, jnp.float32), X_BLD, back=back_BLD)
    close(half, full, rtol=2e-2, atol=2e-2)
