"""Noise on the vectors of words, and how far two outputs are from each other."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import rel_entr, softmax

from xlmr_flax.data.batch import IGNORED, ChoiceTarget, EmbeddingTarget, SequenceTarget, SpanTarget, TokenTarget
from xlmr_flax.model.dropout import Noise
from xlmr_flax.model.encoder import NEVER
from xlmr_flax.model.heads import SpanLogits
from xlmr_flax.model.smoothing import Smoothing, divergence, moved

RANDOM = np.random.default_rng(0)


def noise(word=5, units=((0,) * 40 + (1,) * 40,), positions=(tuple(range(40)) * 2,)):
    return Noise(jnp.uint32(word), jnp.array(units), jnp.array(positions))


def drawn(kind="gaussian", scale=0.5, of=None, width=64):
    of = of or noise()
    return np.asarray(moved(jnp.zeros((*of.unit_BL.shape, width)), of, Smoothing(kind, scale, 0.0)))


@pytest.mark.parametrize(("kind", "deviation"), [("gaussian", 0.5), ("uniform", 0.5 / 3**0.5)])
def test_noise_has_the_stated_size_and_no_direction(kind, deviation):
    found = drawn(kind)
    count = found.size
    assert abs(found.mean()) < 4 * deviation / count**0.5
    assert abs(found.std() / deviation - 1) < 4 / (2 * count) ** 0.5
    assert kind == "gaussian" or abs(found).max() < 0.5
    assert abs(np.corrcoef(found[0, :40].ravel(), found[0, 40:].ravel())[0, 1]) < 4 / (count / 2) ** 0.5
    assert abs(np.corrcoef(found[0, :-1].ravel(), found[0, 1:].ravel())[0, 1]) < 4 / count**0.5


def test_noise_depends_on_the_word_the_unit_and_the_position_and_not_on_the_row():
    packed = drawn()
    apart = drawn(of=noise(units=((1,) * 40, (0,) * 40), positions=(tuple(range(40)),) * 2))
    np.testing.assert_array_equal(packed[0].reshape(2, 40, -1)[::-1], apart)
    assert (drawn(of=noise(word=6)) != packed).mean() > 0.99


def kl(one, other):
    p, q = softmax(one, -1), softmax(other, -1)
    return (rel_entr(p, q) + rel_entr(q, p)).sum(-1)


def pair(*shape):
    return RANDOM.normal(size=(2, *shape)).astype(np.float32)


def test_divergence_is_the_symmetric_kl_of_what_counts():
    weight = np.array([[1.0, 0.0], [1.0, 1.0]], np.float32)
    none = np.zeros((2, 2), np.int32)
    one, other = pair(2, 2, 3)
    found = divergence(jnp.array(one), jnp.array(other), SequenceTarget(none, none, jnp.array(weight)))
    np.testing.assert_allclose(found, (kl(one, other) * weight).sum(), rtol=1e-5)
    one, other = pair(2, 4)
    target = ChoiceTarget(none, none, none[0], jnp.array(weight[0]))
    np.testing.assert_allclose(
        divergence(jnp.array(one), jnp.array(other), target), (kl(one, other) * weight[0]).sum(), rtol=1e-5
    )
    one, other = pair(2, 2, 5)
    label = np.array([[3, IGNORED], [0, 1]])
    np.testing.assert_allclose(
        divergence(jnp.array(one), jnp.array(other), TokenTarget(jnp.array(label))),
        (kl(one, other) * (label != IGNORED)).sum(),
        rtol=1e-5,
    )
    starts, ends = pair(2, 2, 6), pair(2, 2, 6)
    for logits in (*starts, *ends):
        logits[:, 0, 4:] = NEVER  # outside the unit
        logits[:, 1, :] = NEVER  # no unit at all
    target = SpanTarget(none, none, none, jnp.array(np.array([[1.0, 0.0], [1.0, 0.0]], np.float32)))
    found = divergence(SpanLogits(starts[0], ends[0]), SpanLogits(starts[1], ends[1]), target)
    wanted = sum(kl(a[:, 0, :4], b[:, 0, :4]).sum() for a, b in (starts, ends)) / 2
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert divergence(SpanLogits(starts[0], ends[0]), SpanLogits(starts[0], ends[0]), target) == 0


def test_a_head_without_answers_is_refused():
    with pytest.raises(TypeError, match="EmbeddingTarget: this head gives no distribution"):
        divergence(jnp.zeros(1), jnp.zeros(1), EmbeddingTarget(jnp.zeros(1)))
