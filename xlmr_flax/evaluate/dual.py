"""Rankings of documents by a dual head's vectors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh

from xlmr_flax.data.batches import evaluation_batches
from xlmr_flax.data.examples import Examples
from xlmr_flax.evaluate.mining import top_k
from xlmr_flax.metrics.ranking import DEPTH
from xlmr_flax.model.build import Model
from xlmr_flax.sources.rows import Matched
from xlmr_flax.train.processes import fetch
from xlmr_flax.train.state import place_batch
from xlmr_flax.train.step import make_vector_step

Ranking = tuple[str, ...]  # ids of documents, the best first


class Ranked:
    """For each query of training pairs, its ranking of all documents of these pairs, of which each counts once."""

    def __init__(self, task: Any, rows: Sequence[Matched], examples: Examples) -> None:
        self.rows = rows
        self.vectors: list[Any] = [None] * examples.items

    def take(self, items: np.ndarray, vectors_E2D: np.ndarray) -> None:
        """Keeps what the head gave for these items."""
        for item, vectors_2D in zip(items, vectors_E2D, strict=True):
            self.vectors[item] = vectors_2D

    def predictions(self) -> list[Ranking]:
        """The rankings in the order of the rows."""
        vectors_N2D = np.stack(self.vectors)
        first: dict[str, int] = {}
        for number, row in enumerate(self.rows):
            first.setdefault(row.document_id, number)
        return rankings(vectors_N2D[:, 0], vectors_N2D[list(first.values()), 1], list(first))


def rankings(
    queries_ND: np.ndarray, documents_MD: np.ndarray, ids: Sequence[str], *, mesh: Mesh | None = None
) -> list[Ranking]:
    """The ids of the documents that are most similar to each query, as many as are scored."""
    found = top_k(queries_ND, documents_MD, DEPTH, mesh=mesh).numbers_NK
    return [tuple(ids[number] for number in numbers) for numbers in found.tolist()]


def embed(
    model: Model,
    params: Any,
    examples: Examples,
    out_ND: np.ndarray,
    *,
    mesh: Mesh,
    rows: int,
    packing: bool = True,
) -> None:
    """Writes the vector of each single unit into `out_ND`, which may be a mapped file; `rows` are those of a batch."""
    step, seen = make_vector_step(model), np.zeros(examples.items, np.int64)
    for shown, batch in evaluation_batches(examples, rows=rows, packing=packing):
        placed = place_batch(batch, mesh, lead=0)
        vectors_BSD = fetch(step(params, placed.tokens, placed.target.first_BS))
        out_ND[shown.units] = vectors_BSD[shown.row_N, shown.slot_N]
        np.add.at(seen, shown.units, 1)
    assert (seen == 1).all(), f"{(seen != 1).sum()} of {len(seen)} texts were not embedded exactly once"
