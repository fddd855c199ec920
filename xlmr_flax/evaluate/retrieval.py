"""Sentence retrieval: for each English sentence, which foreign one is its translation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from xlmr_flax.data.batches import Examples, evaluation_batches
from xlmr_flax.evaluate.predict import rows_of
from xlmr_flax.model.build import Model
from xlmr_flax.model.heads import Pooling
from xlmr_flax.train.step import make_embed_step, place_batch

BLOCK = 1024  # queries at once: a block of scores is BLOCK x sentences


def embed(
    model: Model, params: Any, examples: Examples, *, pooling: Pooling, layer: int, mesh: Mesh, batch_size: int
) -> np.ndarray:
    """A float32 vector for each sentence, in their order."""
    step, found = make_embed_step(model, pooling=pooling, layers=(layer,)), [None] * examples.items
    for items, batch in evaluation_batches(examples, rows=rows_of(batch_size, examples, mesh)):
        vectors_BD = jax.device_get(step(params, place_batch(batch, mesh, lead=0).tokens))[0]
        for item, vector_D in zip(items, vectors_BD, strict=True):
            if item >= 0:
                assert found[item] is None, f"sentence {item} was embedded twice"
                found[item] = vector_D
    assert all(vector is not None for vector in found), "a sentence was not embedded"
    return np.stack(found)


def nearest(queries_ND: np.ndarray, candidates_MD: np.ndarray) -> np.ndarray:
    """The number of the candidate with the highest cosine for each query; of equal ones the first.

    Tatoeba's direction is English to foreign: queries are the English sentences (XTREME, utils_retrieve.py).
    """
    unit_MD = jax.device_put(_normalised(candidates_MD))
    blocks = [_normalised(queries_ND[i : i + BLOCK]) for i in range(0, len(queries_ND), BLOCK)]
    return np.concatenate([jax.device_get(_best(jax.device_put(block), unit_MD)) for block in blocks])


@jax.jit
def _best(queries_ND: jax.Array, candidates_MD: jax.Array) -> jax.Array:
    return jnp.argmax(jnp.matmul(queries_ND, candidates_MD.T, precision="highest"), axis=1)


def centred(vectors_ND: np.ndarray) -> np.ndarray:
    """Vectors without their language's mean, which hides an alignment that is there."""
    return vectors_ND - vectors_ND.mean(axis=0, keepdims=True)


def _normalised(x_ND: np.ndarray) -> np.ndarray:
    return x_ND / np.maximum(np.linalg.norm(x_ND, axis=1, keepdims=True), 1e-12)
