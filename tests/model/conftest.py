"""Tiny encoders and rows for them, shared by the tests of this room."""

import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlmr_flax.config.architecture import PRESETS, Architecture
from xlmr_flax.data import batch
from xlmr_flax.model.build import Model, build
from xlmr_flax.model.heads import HeadSpec
from xlmr_flax.model.weights import flat, plant

B, L, S = 4, 20, 2  # the one shape of this room's rows, so that programs are compiled once
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
    """Lays units of ids into B rows of L; a row is a list of (unit number, ids), and missing rows are padding."""

    def build_rows(rows: Sequence[Sequence[tuple[int, Sequence[int]]]]) -> Rows:
        ids, unit, position = (np.full((B, L), fill, np.int32) for fill in (1, -1, 0))
        first = np.zeros((B, S), np.int32)
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
def draw() -> Callable[[Model], dict]:
    """Draws a model's parameters, with biases and scales that are not 0 and 1, so that a lost one shows."""

    def drawn(path: str, shape: jax.ShapeDtypeStruct, vocab_size: int) -> jax.Array:
        random = np.random.default_rng(zlib.crc32(path.encode()))
        array = 0.1 * random.standard_normal(shape.shape, np.float32) + path.endswith("scale")
        if path.endswith("words") or path == "head.bias":
            array[vocab_size:] = 0
        return jnp.asarray(array)

    def draw_all(model: Model) -> dict:
        tree: dict = {}
        for path, shape in flat(jax.eval_shape(model.init_params, jax.random.key(0))):
            plant(tree, path, drawn(path, shape, model.arch.vocab_size))
        return tree

    return draw_all


@pytest.fixture(scope="session")
def params(models: dict[str, Model], draw: Callable[[Model], dict]) -> dict[str, dict]:
    """Parameters for each head."""
    return {kind: draw(model) for kind, model in models.items()}
