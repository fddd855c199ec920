"""Means of weights: of one run's checkpoints, or of several runs (Schmidt et al. 2023, arXiv 2305.16834)."""

import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from xlmr_flax.config.schema import Average

Params = Any


def averaged_steps(average: Average, last: int) -> list[int]:
    """The steps whose mean a phase hands over that ends at `last`."""
    return sorted({*saved_steps(average, last), last})[-average.checkpoints :]


def saved_steps(average: Average, step: int) -> list[int]:
    """The checkpoints until `step` that may be averaged when the phase goes on."""
    every = average.every_steps
    return list(range(every, step + 1, every))[-average.checkpoints :]


def mean_of(trees: Iterable[Params]) -> Params:
    """The mean of trees of arrays that are laid out alike, which may be made one by one; it is laid out as they are.

    Added in their order and divided once, so that it has the same bits on any mesh.
    """
    trees = iter(trees)
    total, count = next(trees), 1
    for tree in trees:
        total, count = jax.tree.map(_sum, total, tree), count + 1
    return total if count == 1 else jax.tree.map(functools.partial(_share, count=count), total)


@jax.jit  # by the leaf: trees share their few shapes
def _sum(one: jax.Array, other: jax.Array) -> jax.Array:
    return one + other


@functools.partial(jax.jit, static_argnames="count")
def _share(total: jax.Array, *, count: int) -> jax.Array:
    return total / jnp.asarray(count, total.dtype)
