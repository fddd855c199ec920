"""Tiny encoders and rows for them, shared by the tests of this room."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlmr_flax.config.architecture import PRESETS, Architecture
from xlmr_flax.model import batch
from xlmr_flax.model.build import Model, build
from xlmr_flax.model.heads import HeadSpec

SIZES = {"sequence": 3, "choice": 2, "token": 5, "span": 0, "mlm": 0}


class Rows(NamedTuple):
    """Rows and where in each row its units start."""

    tokens: batch.Tokens
    first_BS: jax.Array


@pytest.fixture(scope="session")
def arch() -> Architecture:
    return Architecture(vocab_size=150, **PRESETS["tiny"])


@pytest.fixture(scope="session")
def rows() -> Callable[..., Rows]:
    """Builds rows from units of ids; a row is a list of (unit number, ids)."""

    def build_rows(rows: Sequence[Sequence[tuple[int, Sequence[int]]]], length: int, pad: int = 1) -> Rows:
        ids, unit, position = (np.full((len(rows), length), fill, np.int32) for fill in (pad, -1, 0))
        first = np.zeros((len(rows), max(map(len, rows), default=0) or 1), np.int32)
        for r, row in enumerate(rows):
            at = 0
            for s, (number, words) in enumerate(row):
                here = slice(at, at + len(words))
                ids[r, here], unit[r, here], position[r, here], first[r, s] = words, number, np.arange(len(words)), at
                at += len(words)
        return Rows(batch.Tokens(jnp.array(ids), jnp.array(unit), jnp.array(position)), jnp.array(first))

    return build_rows


@pytest.fixture(scope="session")
def units() -> list[tuple[int, list[int]]]:
    """Four numbered units of different lengths."""
    random = np.random.default_rng(0)
    return [(number, [0, *random.integers(4, 150, n).tolist(), 2]) for number, n in enumerate((9, 4, 1, 6))]


@pytest.fixture(scope="session")
def specs() -> dict[str, HeadSpec]:
    return {kind: HeadSpec(kind, size) for kind, size in SIZES.items()}


@pytest.fixture(scope="session")
def models(arch: Architecture, specs: dict[str, HeadSpec]) -> dict[str, Model]:
    return {kind: build(arch, spec, "float32") for kind, spec in specs.items()}


@pytest.fixture(scope="session")
def params(models: dict[str, Model]) -> dict[str, dict]:
    """Parameters for each head, with biases and scales that are not 0 and 1, so that a lost one shows."""

    def noisy(key: jax.Array, leaf: jax.Array) -> jax.Array:
        return leaf + 0.05 * jax.random.normal(key, leaf.shape) * (leaf.ndim < 3)

    def draw(model: Model) -> dict:
        leaves, tree = jax.tree.flatten(model.init_params(jax.random.key(3)))
        keys = jax.random.split(jax.random.key(4), len(leaves))
        drawn = jax.tree.unflatten(tree, [noisy(key, leaf) for key, leaf in zip(keys, leaves, strict=True)])
        words = drawn["encoder"]["embeddings"]["words"]
        drawn["encoder"]["embeddings"]["words"] = words.at[model.arch.vocab_size :].set(0)
        if "bias" in drawn["head"]:
            drawn["head"]["bias"] = drawn["head"]["bias"].at[model.arch.vocab_size :].set(0)
        return drawn

    return {kind: jax.jit(lambda model=model: draw(model))() for kind, model in models.items()}
