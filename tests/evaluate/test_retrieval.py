"""Retrieval: a vector for each sentence in its place, and the nearest by cosine."""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlmr_flax.config.schema import Mesh as MeshSizes
from xlmr_flax.data.batches import Examples
from xlmr_flax.data.encoded import joined
from xlmr_flax.evaluate import retrieval
from xlmr_flax.evaluate.retrieval import centred, embed, nearest
from xlmr_flax.train.sharding import make_mesh


@dataclasses.dataclass(frozen=True)
class Echo:
    """A model whose vector of a sentence is its first word and its length, and tells how it was asked."""

    def embeddings(self, params, tokens, pooling, layers):
        assert (pooling, layers) == ("first", (2,))
        real_BL = tokens.unit_BL >= 0
        return jax.numpy.stack([tokens.ids_BL[:, 0], real_BL.sum(axis=1)], axis=1).astype(float)[None]


@pytest.mark.parametrize("count", [1, 7, 63, 65])
def test_every_sentence_gets_its_own_vector_on_any_number_of_devices(count):
    random = np.random.default_rng(0)
    units = [np.full(random.integers(2, 17), 100 + number, np.int32) for number in range(count)]
    examples = Examples("embedding", joined(units, range(count), {}), 16, 1)
    wanted = np.array([[unit[0], len(unit)] for unit in units], np.float32)
    for devices in (1, 8):
        mesh = make_mesh(MeshSizes(), jax.devices()[:devices])
        found = embed(Echo(), {}, examples, pooling="first", layer=2, mesh=mesh, batch_size=8)
        np.testing.assert_array_equal(found, wanted)


@given(queries=st.integers(1, 9), candidates=st.integers(1, 9), seed=st.integers(0, 99))
def test_the_nearest_has_the_highest_cosine(queries, candidates, seed):
    random = np.random.default_rng(seed)
    one, other = (random.standard_normal((n, 5)).astype(np.float32) for n in (queries, candidates))
    cosine = (one @ other.T) / np.linalg.norm(one, axis=1)[:, None] / np.linalg.norm(other, axis=1)[None]
    found = nearest(one, other)
    assert found.shape == (queries,)
    np.testing.assert_allclose(cosine[np.arange(queries), found], cosine.max(axis=1), rtol=1e-5)


def test_length_does_not_count_and_of_equal_ones_the_first_is_taken():
    candidates = np.array([[100, 100], [1, 0], [2, 0], [0, 5]], np.float32)
    assert nearest(np.array([[3, 0.1], [0.1, 3]], np.float32), candidates).tolist() == [1, 3]


def test_a_sentence_without_a_vector_is_not_a_number_that_is_not_one():
    assert nearest(np.zeros((1, 2), np.float32), np.eye(2, dtype=np.float32)).tolist() == [0]


def test_blocks_do_not_show(monkeypatch):
    random = np.random.default_rng(0)
    one, other = (random.standard_normal((n, 4)).astype(np.float32) for n in (11, 13))
    whole = nearest(one, other)
    monkeypatch.setattr(retrieval, "BLOCK", 4)
    np.testing.assert_array_equal(nearest(one, other), whole)
    assert len(set(whole)) > 3


def test_vectors_cross_to_the_device_openly():
    with jax.transfer_guard("disallow"):
        assert nearest(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)).tolist() == [0, 1, 2]


def test_centring_takes_the_mean_of_the_language_away():
    vectors = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32) + 7
    np.testing.assert_allclose(centred(vectors).mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(centred(vectors)[3] - centred(vectors)[8], vectors[3] - vectors[8], rtol=1e-5)


def test_centring_finds_an_alignment_that_an_offset_hides():
    random = np.random.default_rng(0)
    english = random.standard_normal((50, 8)).astype(np.float32)
    foreign = english + 100 * random.standard_normal(8).astype(np.float32)
    assert (nearest(english, foreign) == np.arange(50)).mean() < 0.8
    assert (nearest(centred(english), centred(foreign)) == np.arange(50)).all()
