"""Exact nearest neighbours by inner product, block by block over the devices, and the mining of translations by margin.

The device holds one block of either side and their scores, so matrices may be memory-mapped files of any size. Letters
beyond the legend of the model: N queries, M candidates, R and C those of a block, K nearest, G chunks, E elements.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from xlmr_flax.train.processes import fetch, put

ROWS = 4096  # of the first matrix at once, a device
COLUMNS = 2048  # of the second: a block of scores is 32 MiB a device
CHUNK = 16  # scores whose maximum stands for them: the best K lie in the K chunks of the highest maxima


class Nearest(NamedTuple):
    """For each query its nearest candidates, best first; of equal scores the lower number comes first."""

    scores_NK: np.ndarray  # float32 inner products
    numbers_NK: np.ndarray  # int32


def top_k(queries_ND: np.ndarray, candidates_MD: np.ndarray, k: int, *, mesh: Mesh | None = None) -> Nearest:
    """The k candidates (all of them, where there are fewer) with the highest inner product for each query, exactly.

    Vectors are float32 and are multiplied as such on every device; cosines are the products of `normalise`d ones.
    Without a mesh the first device computes. Raises ValueError for vectors that are not finite.
    """
    return _search(queries_ND, candidates_MD, (k, 0), mesh)[0]


def top_k_both(x_ND: np.ndarray, y_MD: np.ndarray, k: int, *, mesh: Mesh | None = None) -> tuple[Nearest, Nearest]:
    """`top_k` of x among y, and of y among x, from one computation of all products."""
    return _search(x_ND, y_MD, (k, k), mesh)


def normalise(vectors_ND: np.ndarray) -> None:
    """Makes every vector one of length 1 where it stands, in memory or in a file; zeros stay zeros."""
    for start in range(0, len(vectors_ND), ROWS):
        block = vectors_ND[start : start + ROWS]
        block /= np.maximum(np.linalg.norm(block, axis=1, keepdims=True), 1e-12)


class Candidates(NamedTuple):
    """Pairs of a number of one side and a number of the other, each number once; the best pair first."""

    source_P: np.ndarray
    target_P: np.ndarray
    score_P: np.ndarray  # float32


def mine(x_ND: np.ndarray, y_MD: np.ndarray, *, k: int = 4, mesh: Mesh | None = None) -> Candidates:
    """Pairs of `normalise`d vectors by the ratio margin of Artetxe and Schwenk (2019), as XTREME's `mine_bitext` does.

    A pair's score is its cosine over the mean of both sides' mean cosines with their k nearest. Every vector proposes
    its best pair; pairs are taken best first (of equal ones: proposals of x first, then the lower number, where the
    reference leaves it to an unstable sort) while both sides are free. Scores of 0 and less are left out.
    """
    of_x, of_y = top_k_both(x_ND, y_MD, k, mesh=mesh)
    mean_N, mean_M = of_x.scores_NK.mean(axis=1), of_y.scores_NK.mean(axis=1)
    forward_N, score_N = _proposals(of_x, mean_N, mean_M)
    backward_M, score_M = _proposals(of_y, mean_M, mean_N)
    source = np.concatenate([np.arange(len(x_ND)), backward_M])
    target = np.concatenate([forward_N, np.arange(len(y_MD))])
    score = np.concatenate([score_N, score_M])
    order = np.argsort(-score, kind="stable")
    taken = np.array(list(_greedy(order, source.tolist(), target.tolist())), np.int64)
    taken = taken[score[taken] > 0]
    return Candidates(source[taken], target[taken], score[taken])


def _proposals(nearest: Nearest, own_mean: np.ndarray, other_mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each vector's best partner by margin, and that margin, which is 0 where there is nothing to compare with."""
    mean_NK = (own_mean[:, None] + other_mean[nearest.numbers_NK]) / np.float32(2)
    margin_NK = np.divide(nearest.scores_NK, mean_NK, out=np.zeros_like(mean_NK), where=mean_NK != 0)
    best = margin_NK.argmax(axis=1)[:, None]
    return tuple(np.take_along_axis(of, best, axis=1)[:, 0] for of in (nearest.numbers_NK, margin_NK))


def _greedy(order: np.ndarray, source: list[int], target: list[int]) -> Iterator[int]:
    """The places of pairs whose sides are both still free, in this order."""
    sources, targets = set(), set()
    for place in order.tolist():
        if source[place] not in sources and target[place] not in targets:
            sources.add(source[place])
            targets.add(target[place])
            yield place


class _Best(NamedTuple):
    """The best so far: of equal scores the lower number stands first."""

    score: Any  # float32, a row for each vector
    number: Any  # int32


def _search(x_ND: np.ndarray, y_MD: np.ndarray, sizes: tuple[int, int], mesh: Mesh | None) -> tuple[Nearest, Nearest]:
    """The nearest of both sides; `sizes` says how many of either."""
    mesh = mesh or Mesh(np.array(jax.devices()[:1]), ("rows",))
    if not (len(x_ND) and len(y_MD)):
        raise ValueError(f"{len(x_ND)} and {len(y_MD)} vectors: at least one on either side is wanted")
    wanted = min(sizes[0], len(y_MD)), min(sizes[1], len(x_ND))
    devices = mesh.devices.size
    rows, columns = devices * _block(-(-len(x_ND) // devices), ROWS), _block(len(y_MD), COLUMNS)
    split, whole = NamedSharding(mesh, P(mesh.axis_names)), NamedSharding(mesh, P())
    of_x: list[_Best] = []
    of_y = [_put(_nothing(columns, wanted[1]), whole) for _ in range(0, len(y_MD), columns)]
    for x_start in range(0, len(x_ND), rows):
        x_block = _put(_padded(x_ND, x_start, rows), split)
        best = _put(_nothing(rows, wanted[0]), split)
        for number, y_start in enumerate(range(0, len(y_MD), columns)):
            y_block = _put(_padded(y_MD, y_start, columns), whole)
            full = x_start + rows <= len(x_ND) and y_start + columns <= len(y_MD)
            best, of_y[number] = _program(mesh, wanted, full)(x_block, y_block, best, of_y[number])
        of_x.append(fetch(best))  # also keeps the host from running ahead with blocks in its hands
    return _nearest(of_x, len(x_ND)), _nearest(fetch(of_y), len(y_MD))


def _put(tree: Any, place: NamedSharding) -> Any:
    return put(tree, jax.tree.map(lambda _: place, tree))


def _block(vectors: int, most: int) -> int:
    """The size of a block: a power of two, so that small searches share few programs."""
    return min(most, max(CHUNK, 1 << (vectors - 1).bit_length()))


def _nothing(rows: int, k: int) -> _Best:
    return _Best(np.full((rows, k), -np.inf, np.float32), np.full((rows, k), -1, np.int32))


def _padded(vectors_ND: np.ndarray, start: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """A block of vectors and their numbers, which are -1 on padding."""
    found = np.asarray(vectors_ND[start : start + rows], np.float32)
    number = np.arange(start, start + rows, dtype=np.int32)
    if len(found) == rows:
        return found, number
    padding = np.zeros((rows - len(found), found.shape[1]), np.float32)
    return np.concatenate([found, padding]), np.where(number < start + len(found), number, -1).astype(np.int32)


def _nearest(parts: list[_Best], count: int) -> Nearest:
    found = Nearest(*(np.concatenate(part)[:count] for part in zip(*parts, strict=True)))
    if not np.isfinite(found.scores_NK).all():
        raise ValueError("a product of two vectors is not finite: they hold NaN or infinity, or are too large")
    return found


@functools.lru_cache(maxsize=32)
def _program(mesh: Mesh, sizes: tuple[int, int], full: bool) -> Callable[..., tuple[_Best, _Best]]:
    split, whole = P(mesh.axis_names), P()
    step = functools.partial(_step, sizes=sizes, axes=mesh.axis_names, full=full)
    return jax.jit(
        jax.shard_map(step, mesh=mesh, in_specs=(split, whole, split, whole), out_specs=(split, whole), check_vma=False)
    )


def _step(
    x: tuple[jax.Array, jax.Array],
    y: tuple[jax.Array, jax.Array],
    of_x: _Best,
    of_y: _Best,
    *,
    sizes: tuple[int, int],
    axes: tuple[str, ...],
    full: bool,
) -> tuple[_Best, _Best]:
    """What one block of scores adds to the best of its rows and of its columns; each device has some of the rows.

    A full block has no padding to be masked, which on CPU takes longer than all the rest of the selection.
    """
    (x_RD, x_R), (y_CD, y_C) = x, y
    scores_RC = jnp.matmul(x_RD, y_CD.T, precision="highest")
    if sizes[0]:
        shown_RC = scores_RC if full else jnp.where(y_C[None] >= 0, scores_RC, -jnp.inf)
        score, place = _best_of_rows(shown_RC, sizes[0])
        of_x = _merged(of_x, _Best(score, y_C[place]))
    if sizes[1]:
        shown_RC = scores_RC if full else jnp.where(x_R[:, None] >= 0, scores_RC, -jnp.inf)
        score, place = _best_of_columns(shown_RC, sizes[1])
        # devices stand in the order of their rows, so that equal scores stay in the order of their numbers
        everyones = jax.lax.all_gather(_Best(score, x_R[place]), axes, axis=1, tiled=True)
        of_y = _merged(of_y, everyones)
    return of_x, of_y


def _merged(before: _Best, new: _Best) -> _Best:
    """The best of both; numbers in `before` are lower than those in `new`."""
    both = _Best(*(jnp.concatenate(pair, axis=1) for pair in zip(before, new, strict=True)))
    score, place = jax.lax.top_k(both.score, before.score.shape[1])
    return _Best(score, jnp.take_along_axis(both.number, place, axis=1))


def _best_of_rows(scores_RC: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    R, C = scores_RC.shape
    if 2 * k * CHUNK >= C:
        return _few(scores_RC, k)
    scores_RGE = scores_RC.reshape(R, C // CHUNK, CHUNK)
    chunk_RK = _chunks(scores_RGE.max(axis=2), k)
    return _in_chunks(jnp.take_along_axis(scores_RGE, chunk_RK[:, :, None], axis=1), chunk_RK)


def _best_of_columns(scores_RC: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """The same for columns, without a transposed copy of the scores."""
    R, C = scores_RC.shape
    if 2 * k * CHUNK >= R:
        return _few(scores_RC.T, k)
    scores_GEC = scores_RC.reshape(R // CHUNK, CHUNK, C)
    chunk_CK = _chunks(scores_GEC.max(axis=1).T, k)
    inside_E = jnp.arange(CHUNK)
    elements_CKE = scores_GEC[chunk_CK[:, :, None], inside_E[None, None], jnp.arange(C)[:, None, None]]
    return _in_chunks(elements_CKE, chunk_CK)


def _few(scores_RC: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """top_k without chunks; a block has fewer columns than k only where later blocks make up for it."""
    k = min(k, scores_RC.shape[1])
    return tuple(jax.lax.top_k(scores_RC, k))


def _chunks(maxima_RG: jax.Array, k: int) -> jax.Array:
    """The chunks that hold the best k, in their order, which keeps equal scores in the order of their numbers.

    An element of any other chunk is beaten by one of each of these: by a higher maximum, or an equal one further left.
    """
    return jnp.sort(jax.lax.top_k(maxima_RG, k)[1], axis=1)


def _in_chunks(elements_RKE: jax.Array, chunk_RK: jax.Array) -> tuple[jax.Array, jax.Array]:
    R, K, E = elements_RKE.shape
    score_RK, place_RK = jax.lax.top_k(elements_RKE.reshape(R, K * E), K)
    return score_RK, jnp.take_along_axis(chunk_RK, place_RK // E, axis=1) * E + place_RK % E
