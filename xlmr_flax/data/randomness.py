"""Randomness by name: adding a use shifts no other, and neither restarts nor host counts matter."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np


def stream(seed: int, name: str, step: int | jax.Array = 0) -> jax.Array:
    """The key on the device for one named use at one step."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode())), step)


def word(seed: int, name: str, step: int | jax.Array) -> jax.Array:
    """The same as one 32-bit word, for masks made by a counter hash."""
    return jax.random.bits(stream(seed, name, step), dtype=jnp.uint32)


def generator(seed: int, name: str, *numbers: int) -> np.random.Generator:
    """The same on the host, as numpy's generator."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, zlib.crc32(name.encode()), *numbers])))
