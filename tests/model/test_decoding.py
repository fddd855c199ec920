"""Masked words are decoded in blocks: the same loss and gradients as of all logits at once, which never exist."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from xlmr_flax.data import batch
from xlmr_flax.model.decoding import BLOCKS, guess_loss, guesses
from xlmr_flax.model.heads import cross_entropy

ROWS, WIDTH, TABLE, WORDS = 3, 8, 256, 200  # the table's last 56 rows are no words


def case(places, seed, *, dtype=jnp.float32, labelled=0.7):
    """States, table, bias and labels of masked positions."""
    random = np.random.default_rng(seed)
    x, words, bias = (random.standard_normal(shape) for shape in ((ROWS, places, WIDTH), (TABLE, WIDTH), (TABLE,)))
    label = random.integers(0, WORDS, (ROWS, places))
    label = np.where(random.random(label.shape) < labelled, label, batch.IGNORED)
    return jnp.asarray(x, dtype), jnp.float32(words), jnp.float32(bias), jnp.int32(label)


def in_blocks(x, words, bias, label):
    return guess_loss(guesses(x, words, bias, vocab_size=WORDS), label)


def at_once(x, words, bias, label):
    logits = guesses(x, words, bias, vocab_size=WORDS).logits()
    return (cross_entropy(logits, jnp.where(label == batch.IGNORED, 0, label)) * (label != batch.IGNORED)).sum()


@functools.cache
def differentiated(of):
    return jax.jit(jax.value_and_grad(of, argnums=(0, 1, 2)))


@pytest.mark.parametrize(("places", "labelled"), [(1, 1.0), (BLOCKS, 0.0), (2 * BLOCKS + 3, 0.7)])
def test_blocks_lose_and_learn_what_all_logits_at_once_do(places, labelled):
    arrays = case(places, places, labelled=labelled)
    (loss, gradients), (whole, whole_gradients) = (differentiated(of)(*arrays) for of in (in_blocks, at_once))
    np.testing.assert_allclose(loss, whole, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(jax.jit(in_blocks)(*arrays), whole, rtol=1e-6, atol=1e-6)
    for ours, theirs in zip(gradients, whole_gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-6)


def test_the_gradient_is_of_whatever_the_loss_becomes():
    *arrays, label = case(5, 0)
    once, thrice = (
        jax.grad(lambda words, n=n: n * in_blocks(arrays[0], words, arrays[2], label))(arrays[1]) for n in (1, 3)
    )
    np.testing.assert_allclose(thrice, 3 * once, rtol=1e-6)


def test_the_tables_gradient_is_added_up_in_float32_over_the_blocks():
    x, words, bias, label = case(1, 0, dtype=jnp.bfloat16, labelled=1.0)
    one, many = (
        jax.grad(in_blocks, argnums=1)(x.repeat(n, axis=1), words, bias, label.repeat(n, axis=1))
        for n in (BLOCKS, 3 * BLOCKS)
    )
    np.testing.assert_allclose(many, 3 * one, rtol=1e-6, atol=1e-6)


def arrays_of(jaxpr):
    """Every array that a program computes, loops and the like included."""
    for equation in jaxpr.eqns:
        yield from (variable.aval.shape for variable in equation.outvars)
        for inner in jaxprs_in_params(equation.params):
            yield from arrays_of(inner)


@pytest.mark.parametrize("places", [BLOCKS, 2 * BLOCKS + 3])
def test_only_a_block_of_masked_positions_meets_the_vocabulary_at_once(models, params, alone_rows, places):
    model, tokens = models["mlm"], alone_rows.tokens
    rows, table = len(tokens.ids_BL), len(params["mlm"]["head"]["bias"])
    aim = batch.MaskedTarget(*(jnp.zeros((rows, places), jnp.int32),) * 2)
    step = jax.make_jaxpr(jax.value_and_grad(lambda p: model.loss(p, batch.Batch(tokens, aim), None).total))
    found = {shape for shape in arrays_of(step(params["mlm"]).jaxpr) if table in shape and shape[-1] == table}
    size = -(-places // BLOCKS)
    assert (rows, size, table) in found
    assert max(np.prod(shape[:-1], dtype=int) for shape in found) == rows * size


@pytest.fixture(scope="module")
def alone_rows(rows, units):
    return rows([[unit] for unit in units])
