"""Nearest neighbours and mining against the definitions, written without blocks, chunks or devices."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlmr_flax.config.schema import Mesh as MeshSizes
from xlmr_flax.evaluate import mining
from xlmr_flax.evaluate.mining import mine, normalise, top_k, top_k_both
from xlmr_flax.train.sharding import make_mesh


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks in which the best two of a row are looked for in chunks, and of which there are several."""
    monkeypatch.setattr(mining, "ROWS", 128)
    monkeypatch.setattr(mining, "COLUMNS", 128)


def by_sorting(x, y, k):
    """All products, sorted; of equal ones the lower number first."""
    products = x.astype(np.float64) @ y.T.astype(np.float64)
    numbers = np.argsort(-products, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(products, numbers, axis=1), numbers


def whole_numbers(rows, width=6, seed=0):
    """Vectors whose products are exact and often equal."""
    return np.random.default_rng(seed).integers(-2, 3, (rows, width)).astype(np.float32)


SIZES = [(1, 1), (5, 3), (128, 300), (300, 129), (2100, 260)]


@pytest.mark.parametrize(("rows", "columns"), SIZES)
@pytest.mark.parametrize("devices", [1, 8])
def test_the_nearest_are_those_of_a_sort_and_equal_ones_stand_by_number(rows, columns, devices):
    x, y = whole_numbers(rows), whole_numbers(columns, seed=1)
    mesh = make_mesh(MeshSizes(fsdp=2, tensor=2) if devices == 8 else MeshSizes(), jax.devices()[:devices])
    of_x, of_y = top_k_both(x, y, 2, mesh=mesh)
    alone = top_k(x, y, 2, mesh=mesh)
    for found, (scores, numbers) in ((of_x, by_sorting(x, y, 2)), (of_y, by_sorting(y, x, 2))):
        np.testing.assert_array_equal(found.scores_NK, scores)
        np.testing.assert_array_equal(found.numbers_NK, numbers)
    np.testing.assert_array_equal(alone.numbers_NK, of_x.numbers_NK)


@pytest.mark.parametrize("k", [4, 20, 150])
def test_any_number_of_neighbours_may_be_asked_for_and_all_there_are_come(k):
    x, y = whole_numbers(40), whole_numbers(140, seed=1)
    of_x, of_y = top_k_both(x, y, k)
    assert (of_x.numbers_NK.shape, of_y.numbers_NK.shape) == ((40, min(k, 140)), (140, min(k, 40)))
    np.testing.assert_array_equal(of_x.numbers_NK, by_sorting(x, y, k)[1])
    np.testing.assert_array_equal(of_y.numbers_NK, by_sorting(y, x, k)[1])


@given(seed=st.integers(0, 10**6))
def test_of_many_equal_scores_the_first_come(seed):
    """Equal scores within a chunk, across chunks and across blocks."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, (300, 1)).astype(np.float32)
    found = top_k(np.ones((3, 1), np.float32), y, 2).numbers_NK
    np.testing.assert_array_equal(found, [np.argsort(-y[:, 0], kind="stable")[:2]] * 3)


def test_matrices_may_be_files(tmp_path):
    x, y = whole_numbers(150), whole_numbers(140, seed=1)
    for name, matrix in (("x", x), ("y", y)):
        np.save(tmp_path / f"{name}.npy", matrix)
    mapped = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "xy")
    np.testing.assert_array_equal(top_k(*mapped, 2).numbers_NK, by_sorting(x, y, 2)[1])


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_vectors_that_are_no_numbers_are_refused(odd):
    x, y = whole_numbers(3) + 3, whole_numbers(200, seed=1) + 3
    y[150, 2] = odd
    with pytest.raises(ValueError, match="not finite: they hold NaN or infinity"):
        top_k(x, y, 2)


def test_nothing_to_search_in_is_refused():
    with pytest.raises(ValueError, match="3 and 0 vectors: at least one on either side is wanted"):
        top_k(whole_numbers(3), whole_numbers(0), 2)


def test_vectors_cross_to_the_device_openly():
    with jax.transfer_guard("disallow"):
        assert top_k(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32), 1).numbers_NK[:, 0].tolist() == [0, 1, 2]


def test_vectors_are_made_of_length_one_where_they_stand():
    vectors = np.array([[3, 4], [0, 0], [-2, 0]], np.float32)
    normalise(vectors)
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [0, 0], [-1, 0]], rtol=1e-6)


def by_definition(x, y, k=4):
    """The margins of all pairs, and what a greedy reader takes of every side's best proposal."""
    cosine = x @ y.T
    mean_x = np.sort(cosine, axis=1)[:, ::-1][:, :k].mean(axis=1)
    mean_y = np.sort(cosine, axis=0)[::-1][:k].mean(axis=0)
    margin = cosine / ((mean_x[:, None] + mean_y[None]) / 2)
    among_x = np.where(cosine >= np.sort(cosine, axis=1)[:, -k:][:, :1], margin, -np.inf)
    among_y = np.where(cosine >= np.sort(cosine, axis=0)[-k:][:1], margin, -np.inf)
    proposals = [(margin[i, j], i, j) for i, j in enumerate(among_x.argmax(axis=1))]
    proposals += [(margin[i, j], i, j) for j, i in enumerate(among_y.argmax(axis=0))]
    taken = []
    for score, i, j in sorted(proposals, reverse=True):
        if all(i != other[0] and j != other[1] for other in taken):
            taken.append((i, j, score))
    return [pair for pair in taken if pair[2] > 0]


@pytest.mark.parametrize("seed", range(5))
def test_mining_takes_the_best_margins_first_and_each_sentence_once(seed):
    random = np.random.default_rng(seed)
    x = random.standard_normal((90, 8)).astype(np.float32)
    y = np.concatenate([x[:40] + 0.5 * random.standard_normal((40, 8)), random.standard_normal((70, 8))])
    y = y.astype(np.float32)
    normalise(x)
    normalise(y)
    found, wanted = mine(x, y), by_definition(x.astype(np.float64), y.astype(np.float64))
    assert list(zip(found.source_P, found.target_P, strict=True)) == [pair[:2] for pair in wanted]
    np.testing.assert_allclose(found.score_P, [pair[2] for pair in wanted], rtol=1e-5)
    assert 40 < len(wanted) < 90


def test_a_margin_of_nothing_is_no_pair():
    # a cosine of 1/2 among neighbours whose mean is negative
    x, y = np.array([[1, 0]], np.float32), np.array([[0.5, 0.75**0.5], [-1, 0], [-1, 0]], np.float32)
    assert len(mine(x, y).source_P) == 1
    y[0, 0] *= -1
    assert len(mine(x, y, k=1).source_P) == 1, "a negative cosine over a negative mean is a positive margin"
    assert len(mine(x, np.array([[0, 1]], np.float32)).source_P) == 0


def test_of_equal_margins_the_first_sentence_takes_the_first():
    found = mine(np.ones((3, 2), np.float32), np.ones((3, 2), np.float32))
    assert found.source_P.tolist() == found.target_P.tolist() == [0]
