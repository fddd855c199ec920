"""Noise on the vectors of words, and a loss that wants the same answer with it and without.

After Huang et al. 2021 (arXiv 2104.08645), whose randomised smoothing trains on inputs moved at random, because words
of other languages lie near their translations and not upon them; the consistency is R3F's (Aghajanyan et al. 2020,
arXiv 2008.03156), the symmetric KL divergence.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from xlmr_flax.data.batch import IGNORED, ChoiceTarget, SequenceTarget, SpanTarget, Target, TokenTarget
from xlmr_flax.model.dropout import Noise, Site, uniform_channels
from xlmr_flax.model.heads import SpanLogits


class Smoothing(NamedTuple):
    """How training moves the vectors of words; part of the compiled step."""

    noise: Literal["gaussian", "uniform"]
    scale: float  # the standard deviation, or half the width
    consistency: float  # weight of the divergence; 0: the clean inputs are not looked at


def moved(x_BLD: jax.Array, noise: Noise, smoothing: Smoothing) -> jax.Array:
    """The vectors with noise that depends on what they are of: the same on any mesh, packed or not."""
    u_BLD = uniform_channels(noise, x_BLD.shape[-1], site=Site.SMOOTHING) * 2 - 1
    drawn_BLD = u_BLD if smoothing.noise == "uniform" else jnp.sqrt(2.0) * jax.lax.erf_inv(u_BLD)
    return x_BLD + smoothing.scale * drawn_BLD


def divergence(one: jax.Array | SpanLogits, other: jax.Array | SpanLogits, target: Target) -> jax.Array:
    """The sum over examples, or words, of the divergence of two outputs; of spans the mean of both ends."""
    match target:
        case SequenceTarget(weight_BS=weight):
            return (_symmetric(one, other) * weight).sum()
        case ChoiceTarget(weight_E=weight):
            return (_symmetric(one, other) * weight).sum()
        case TokenTarget(label_BL=label):
            return (_symmetric(one, other) * (label != IGNORED)).sum()
        case SpanTarget(weight_BS=weight):
            ends = (_symmetric(a, b) for a, b in zip(one, other, strict=True))
            return (sum(ends) / 2 * weight).sum()
    raise TypeError(f"{type(target).__name__}: this head gives no distribution over answers")


def _symmetric(one: jax.Array, other: jax.Array) -> jax.Array:
    """KL(p‖q) + KL(q‖p) of the distributions of two arrays of logits, over the last axis."""
    log_p, log_q = jax.nn.log_softmax(one), jax.nn.log_softmax(other)
    return ((jnp.exp(log_p) - jnp.exp(log_q)) * (log_p - log_q)).sum(-1)
