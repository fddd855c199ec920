"""Dropout whose masks are a hash of what is masked, not of when or where it is computed.

A mask depends on (word, layer, site, unit, position, channel) alone, so it is equal on any mesh, in any row, packed or
not, however a batch is cut into micro-batches. The hash is a few integer operations that the compiler fuses into the
consumer; no mask is stored, and the backward pass computes it again.
"""

import enum
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Site(enum.IntEnum):
    """Where in the network a mask is laid."""

    EMBEDDINGS = 1
    PROBABILITIES = 2
    ATTENTION = 3
    FEED_FORWARD = 4
    HEAD = 5
    HEAD_INNER = 6
    SMOOTHING = 7  # no mask: noise


class Noise(NamedTuple):
    """A step's word (uint32, from seed and step) and what names each vector: its unit and its position there."""

    word: jax.Array
    unit_BL: jax.Array
    position_BL: jax.Array


def mix(h: jax.Array) -> jax.Array:
    """A bijection of uint32 in which every input bit flips every output bit half of the time.

    The constants are Wellons' "lowbias32" (hash-prospector), found by search for the least bias of its shape.
    """
    h = (h ^ (h >> 16)) * jnp.uint32(0x7FEB352D)
    h = (h ^ (h >> 15)) * jnp.uint32(0x846CA68B)
    return h ^ (h >> 16)


def drop_channels(
    x_BLD: jax.Array, noise: Noise | None, rate: float, *, site: Site, layer: jax.Array | int = 0
) -> jax.Array:
    """Zeroes channels of each vector, and scales the rest so that the mean stays."""
    if noise is None or rate == 0:
        return x_BLD
    seed_BL = absorb(_seed(noise, site, layer), noise.position_BL)
    channel_11D = _hashed(jnp.arange(x_BLD.shape[-1]))[None, None, :]
    return _drop(x_BLD, seed_BL[..., None], channel_11D, rate)


def drop_probabilities(probs_BHLM: jax.Array, noise: Noise | None, rate: float, *, layer: jax.Array | int) -> jax.Array:
    """Zeroes attention probabilities, by the positions of query and key within their unit."""
    if noise is None or rate == 0:
        return probs_BHLM
    seed_BL = absorb(_seed(noise, Site.PROBABILITIES, layer), noise.position_BL)
    seed_BHL = absorb(seed_BL[:, None, :], jnp.arange(probs_BHLM.shape[1])[None, :, None])
    key_BM = _hashed(noise.position_BL)
    return _drop(probs_BHLM, seed_BHL[..., None], key_BM[:, None, None, :], rate)


def uniform_channels(noise: Noise, width: int, *, site: Site) -> jax.Array:
    """Numbers strictly between 0 and 1 for each channel of each vector (BLD, float32), 2^23 of them equally likely."""
    seed_BL = absorb(_seed(noise, site, 0), noise.position_BL)
    channel_11D = _hashed(jnp.arange(width))[None, None, :]
    # Odd multiples of 2^-24, which float32 has all: so neither end is ever reached, nor where twice is less one.
    bits_BLD = mix(seed_BL[..., None] ^ channel_11D) >> 9
    return (2 * bits_BLD + 1).astype(jnp.float32) * 2.0**-24


def absorb(h: jax.Array, coordinate: jax.Array) -> jax.Array:
    """Takes one more coordinate into a hash."""
    return mix(h ^ _hashed(coordinate))


def _seed(noise: Noise, site: Site, layer: jax.Array | int) -> jax.Array:
    """The hash of word, layer, site and unit, of the shape of `unit_BL`."""
    h = absorb(absorb(mix(noise.word), jnp.asarray(layer)), jnp.asarray(int(site)))
    return absorb(jnp.broadcast_to(h, noise.unit_BL.shape), noise.unit_BL)


def _hashed(coordinate: jax.Array) -> jax.Array:
    # Hashed before it is xor-ed in: small integers differ in low bits only, and two rows whose seeds differ there too
    # would be permutations of each other. The constant keeps mix's fixed point, 0, away from coordinate 0.
    return mix(coordinate.astype(jnp.uint32) + jnp.uint32(0x9E3779B9))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _drop(x: jax.Array, seed: jax.Array, column: jax.Array, rate: float) -> jax.Array:
    """`seed` has x's shape with a last axis of 1, `column` the last axis of x."""
    kept = mix(seed ^ column) >= jnp.uint32(round(rate * 2**32))
    return jnp.where(kept, x * (1 / (1 - rate)), 0)


def _drop_forward(
    x: jax.Array, seed: jax.Array, column: jax.Array, rate: float
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _drop(x, seed, column, rate), (seed, column)


def _drop_backward(
    rate: float, residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, None, None]:
    return _drop(gradient, *residuals, rate), None, None


_drop.defvjp(_drop_forward, _drop_backward)
