"""Retrieval: a vector for each sentence in its place, the nearest by cosine, and mined pairs of ids."""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlmr_flax.config.schema import Mesh as MeshSizes
from xlmr_flax.data.encoded import joined
from xlmr_flax.data.examples import Examples
from xlmr_flax.evaluate.retrieval import Setting, centred, embed, mined_scores, nearest, unique
from xlmr_flax.sources.rows import Mined
from xlmr_flax.train.sharding import make_mesh


@dataclasses.dataclass(frozen=True)
class Echo:
    """A model whose vector of a sentence is its first word and its length, times what it was asked for."""

    def embeddings(self, params, tokens, first_BS, poolings, layers):
        unit_BS, word_BS = (jax.numpy.take_along_axis(x, first_BS, axis=1) for x in (tokens.unit_BL, tokens.ids_BL))
        size_BS = (tokens.unit_BL[:, None] == unit_BS[:, :, None]).sum(axis=2)
        vectors_BSD = jax.numpy.stack([word_BS, size_BS], axis=2).astype(float)
        factor = [[10 * layer + {"mean": 1, "first": 2}[pooling] for pooling in poolings] for layer in layers]
        return jax.numpy.array(factor)[:, :, None, None, None] * vectors_BSD[None, None]


SWEEP = [Setting(layer, pooling) for layer in (2, 0) for pooling in ("cls", "mean")]


@pytest.mark.parametrize("count", [1, 7, 63, 65])
def test_every_sentence_gets_its_own_vector_in_every_setting_on_any_number_of_devices(count, tmp_path):
    random = np.random.default_rng(0)
    units = [np.full(random.integers(2, 17), 100 + number, np.int32) for number in range(count)]
    examples = Examples("embedding", joined(units, range(count), {}), 16, 1)
    wanted = np.array([[unit[0], len(unit)] for unit in units], np.float32)
    for devices in (1, 8):
        mesh = make_mesh(MeshSizes(), jax.devices()[:devices])
        found = embed(Echo(), {}, examples, settings=SWEEP, mesh=mesh, batch_size=8, folder=tmp_path)
        assert list(found) == SWEEP
        for setting, factor in zip(SWEEP, (22, 21, 2, 1), strict=True):
            np.testing.assert_array_equal(found[setting], factor * wanted)


def test_vectors_lie_in_files(tmp_path):
    examples = Examples("embedding", joined([np.full(3, 7, np.int32)], range(1), {}), 16, 1)
    mesh = make_mesh(MeshSizes(), jax.devices()[:1])
    found = embed(Echo(), {}, examples, settings=SWEEP, mesh=mesh, batch_size=8, folder=tmp_path / "new")
    assert all(isinstance(vectors, np.memmap) for vectors in found.values())
    assert len(list((tmp_path / "new").iterdir())) == len(SWEEP)


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
    queries = np.array([[3, 0.1], [0.1, 3]], np.float32)
    assert nearest(queries, candidates).tolist() == [1, 3]
    assert candidates[0, 0] == 100, "what is searched is left as it is"


def test_a_sentence_without_a_vector_is_not_a_number_that_is_not_one():
    assert nearest(np.zeros((1, 2), np.float32), np.eye(2, dtype=np.float32)).tolist() == [0]


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


def corpus(*texts):
    """Rows of a side of which an id is the side's letter and the place."""
    return [
        Mined(f"{side[0]}{number}", f"{side[0]}{number}", text, side, None)
        for side, own in zip(("source", "target"), texts, strict=True)
        for number, text in enumerate(own)
    ]


def scored(rows):
    """What is mined where a text's vector says its first letter, in either case."""
    vectors = (
        np.array([np.arange(26) == ord(text[0].lower()) - ord("a") for text in unique(own)], np.float32) + 0.01
        for own in ([row for row in rows if row.side == side] for side in ("source", "target"))
    )
    return mined_scores(rows, *vectors)


def test_mined_pairs_are_told_by_their_ids_best_first():
    found = scored(corpus(["a", "b", "c"], ["C", "A", "X", "Y", "Z"]))
    assert list(found)[:2] == [("s0", "t1"), ("s2", "t0")]
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_a_text_that_occurs_twice_is_mined_once_and_has_no_id():
    found = scored(corpus(["a", "b", "c", "a"], ["A", "B", "C"]))
    assert sorted(found) == [("s1", "t1"), ("s2", "t2")]


def test_texts_that_differ_by_blanks_alone_are_mined_apart_and_have_no_id_either():
    rows = corpus(["a", "b "], ["A", "B", "B "])
    assert unique([row for row in rows if row.side == "target"]) == ["A", "B", "B "]
    assert sorted(scored(rows)) == [("s0", "t0")]
