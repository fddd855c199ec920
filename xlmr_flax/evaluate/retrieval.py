"""Retrieval: vectors of sentences from one pass over them, and which sentences find each other by their vectors."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh

from xlmr_flax.data.batches import evaluation_batches
from xlmr_flax.data.examples import Examples
from xlmr_flax.evaluate.mining import mine, normalise, top_k
from xlmr_flax.evaluate.predict import rows_of
from xlmr_flax.model.build import Model
from xlmr_flax.model.heads import Pooling
from xlmr_flax.sources.rows import Mined
from xlmr_flax.train.processes import fetch
from xlmr_flax.train.state import place_batch
from xlmr_flax.train.step import make_embed_step

POOLINGS: dict[str, Pooling] = {"mean": "mean", "cls": "first"}


class Setting(NamedTuple):
    """What stands for a sentence: which hidden state, and how its tokens become one vector."""

    layer: int
    pooling: str  # of POOLINGS


def embed(
    model: Model,
    params: Any,
    examples: Examples,
    *,
    settings: Sequence[Setting],
    mesh: Mesh,
    batch_size: int,
    folder: Path,
    packing: bool = True,
) -> dict[Setting, np.ndarray]:
    """A float32 vector for each sentence in their order, for every setting: one pass, and a mapped file for each."""
    layers, poolings = (tuple(dict.fromkeys(part)) for part in zip(*settings, strict=True))
    step = make_embed_step(model, poolings=tuple(POOLINGS[name] for name in poolings), layers=layers)
    seen, found = np.zeros(examples.items, np.int64), {}
    folder.mkdir(parents=True, exist_ok=True)
    for shown, batch in evaluation_batches(examples, rows=rows_of(batch_size, examples, mesh), packing=packing):
        placed = place_batch(batch, mesh, lead=0)
        vectors = fetch(step(params, placed.tokens, placed.target.first_BS))
        np.add.at(seen, shown.units, 1)
        for setting in settings:
            vectors_BSD = vectors[layers.index(setting.layer), poolings.index(setting.pooling)]
            vectors_ND = vectors_BSD[shown.row_N, shown.slot_N]
            if setting not in found:
                found[setting] = _mapped(folder / f"{setting.layer}-{setting.pooling}.npy", examples.items, vectors_ND)
            found[setting][shown.units] = vectors_ND
    assert (seen == 1).all(), f"{(seen != 1).sum()} of {len(seen)} sentences were not embedded exactly once"
    return found


def _mapped(path: Path, count: int, like_ND: np.ndarray) -> np.ndarray:
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, like_ND.shape[1]))


def nearest(queries_ND: np.ndarray, candidates_MD: np.ndarray, *, mesh: Mesh | None = None) -> np.ndarray:
    """The number of the candidate with the highest cosine for each query; of equal ones the first.

    Tatoeba's direction is English to foreign: queries are the English sentences (XTREME, utils_retrieve.py).
    """
    queries_ND, candidates_MD = np.array(queries_ND), np.array(candidates_MD)
    normalise(queries_ND)
    normalise(candidates_MD)
    return top_k(queries_ND, candidates_MD, 1, mesh=mesh).numbers_NK[:, 0]


def centred(vectors_ND: np.ndarray) -> np.ndarray:
    """Vectors without their language's mean, which hides an alignment that is there."""
    return vectors_ND - vectors_ND.mean(axis=0, keepdims=True)


def sides(rows: Iterable[Mined]) -> tuple[list[Mined], list[Mined]]:
    """The rows of the source side and those of the target side."""
    rows = list(rows)
    return [row for row in rows if row.side == "source"], [row for row in rows if row.side == "target"]


def unique(rows: Sequence[Mined]) -> list[str]:
    """The texts, each once, in the order in which they first occur: what is embedded and mined."""
    return list(dict.fromkeys(row.text for row in rows))


def repeated(rows: Sequence[Mined]) -> set[str]:
    """The texts, without the blanks around them, that several rows have: no id can be told from them."""
    counts = Counter(row.text.strip() for row in rows)
    return {text for text, count in counts.items() if count > 1}


def mined_scores(
    rows: Sequence[Mined], sources_ND: np.ndarray, targets_MD: np.ndarray, *, mesh: Mesh | None = None
) -> dict[tuple[str, str], float]:
    """The pairs of ids that are mined from a comparable corpus, with their margins, best first.

    Vectors are those of the `unique` texts of either side, and are normalised where they stand. Duplicates are treated
    as in XTREME's utils_retrieve.py: a text that occurs twice takes part in the mining once, and as nobody knows which
    of its ids is meant, its pair is dropped afterwards.
    """
    normalise(sources_ND)
    normalise(targets_MD)
    found = mine(sources_ND, targets_MD, mesh=mesh)
    ids = [_ids(side) for side in sides(rows)]
    names = [[by_text.get(text) for text in unique(side)] for by_text, side in zip(ids, sides(rows), strict=True)]
    pairs = {
        (names[0][source], names[1][target]): score
        for source, target, score in zip(*(part.tolist() for part in found), strict=True)
    }
    return {pair: score for pair, score in pairs.items() if None not in pair}


def _ids(rows: Sequence[Mined]) -> dict[str, str]:
    """The id of each text that one row alone has."""
    several = repeated(rows)
    return {row.text: row.id for row in rows if row.text.strip() not in several}
