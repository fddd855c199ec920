"""Rankings by a dual head's vectors: every text once in its place, every document once, the best first."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlmr_flax.config.schema import Mesh as MeshSizes
from xlmr_flax.data.encoded import joined
from xlmr_flax.data.examples import Examples
from xlmr_flax.evaluate.dual import embed, rankings
from xlmr_flax.evaluate.predict import predict, rows_of
from xlmr_flax.sources.rows import Matched
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.train.sharding import make_mesh


@dataclasses.dataclass(frozen=True)
class Echo:
    """A model whose vector of a unit is a direction that its second token names."""

    spec: Any = None

    def vectors(self, params, tokens, first_BS):
        angle_BS = jnp.take_along_axis(tokens.ids_BL, first_BS + 1, axis=1) / 50.0
        return jnp.stack([jnp.cos(angle_BS), jnp.sin(angle_BS)], axis=2)

    def apply(self, params, tokens, target, noise):
        return self.vectors(params, tokens, target.first_BS).reshape(-1, 2)[target.place_E2]


def examples_of(numbers, per=1):
    units = [np.array([0, number, *[5] * (number % 7), 2], np.int32) for number in numbers]
    labels = np.zeros(len(units) // per, np.int32)
    kind = "dual" if per == 2 else "embedding"
    encoded = joined(units, np.repeat(np.arange(len(units) // per), per), {}, labels)
    return Examples(kind, encoded, 16, 1, units_per_item=per)


@pytest.mark.parametrize("count", [1, 17, 64])
def test_every_text_gets_its_own_vector_on_any_number_of_devices(count):
    numbers = np.random.default_rng(0).permutation(100)[:count] + 10
    examples, found_ND = examples_of(numbers), np.full((count, 2), np.nan, np.float32)
    wanted_ND = np.stack([np.cos(numbers / 50), np.sin(numbers / 50)], axis=1)
    for devices in (1, 8):
        mesh = make_mesh(MeshSizes(), jax.devices()[:devices])
        embed(Echo(), None, examples, found_ND, mesh=mesh, rows=rows_of(16, examples, mesh))
        np.testing.assert_allclose(found_ND, wanted_ND, rtol=1e-5)


def test_documents_are_ranked_by_their_inner_product_and_as_many_as_are_scored():
    random = np.random.default_rng(1)
    queries_ND, documents_MD = random.standard_normal((5, 3)), random.standard_normal((40, 3))
    found = rankings(np.float32(queries_ND), np.float32(documents_MD), [f"d{i}" for i in range(40)])
    order = np.argsort(-(queries_ND @ documents_MD.T), axis=1)[:, :20]
    assert found == [tuple(f"d{i}" for i in row) for row in order]
    assert rankings(np.ones((1, 2), np.float32), np.float32([[0, 1], [2, 2]]), ["a", "b"]) == [("b", "a")]


def test_training_pairs_are_ranked_among_their_documents_of_which_each_counts_once():
    # Queries of 20, 60 and 21; their documents are 25, 58 and, for the third query, the first one's again.
    rows = [Matched(str(i), str(i), "", "", name) for i, name in enumerate(("a", "b", "a"))]
    examples, mesh = examples_of([20, 25, 60, 58, 21, 25], per=2), make_mesh(MeshSizes(), jax.devices()[:8])
    found = predict(Echo(), None, task("lareqa"), rows, examples, mesh=mesh, batch_size=16)
    assert found == [("a", "b"), ("b", "a"), ("a", "b")]
