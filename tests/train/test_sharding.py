"""The storage table is closed at both ends, and the mesh fits the devices and the arrays."""

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from xlmr_flax.config.schema import Mesh as MeshSizes
from xlmr_flax.config.schema import Optim
from xlmr_flax.errors import InputError
from xlmr_flax.model.weights import flat
from xlmr_flax.train import sharding
from xlmr_flax.train.exchanges import make_model
from xlmr_flax.train.sharding import STORED, computed, make_mesh, over_fsdp, row_shards, rows_per_shard, stored
from xlmr_flax.train.state import abstract_params, abstract_state


@pytest.fixture
def shapes(trainer):
    return jax.eval_shape(trainer("token", "one").model.init_params, jax.random.key(0))


@pytest.mark.parametrize("kind", ["sequence", "choice", "token", "span", "mlm"])
def test_every_leaf_of_every_head_and_of_its_optimizer_has_its_place(kind, arch, specs, mesh):
    model = make_model(arch, specs[kind], compute="float32", mesh=mesh("mix"))
    state = abstract_state(model, Optim(), mesh("mix"))
    for part in (state.opt[1].mu, state.opt[1].nu):
        assert jax.tree.map(lambda x: x.sharding, part) == jax.tree.map(lambda x: x.sharding, state.params)


def test_a_leaf_that_no_row_matches_is_named(shapes):
    shapes["encoder"]["adapter"] = {"gate": jax.ShapeDtypeStruct((4, 4), np.float32)}
    with pytest.raises(ValueError, match=r"encoder\.adapter\.gate \(4, 4\): no storage rule matches"):
        stored(shapes, "token")


def test_a_row_that_matches_nothing_is_named(shapes, monkeypatch):
    table = dict(STORED) | {"token": (*STORED["token"], (r"head\.dense\.kernel$", P()))}
    monkeypatch.setattr(sharding, "STORED", table)
    with pytest.raises(ValueError, match=r"rules that match nothing: \['head\\\\.dense\\\\.kernel\$'\]"):
        stored(shapes, "token")


def test_what_is_stored_and_what_is_computed_with(shapes):
    specs = dict(flat(stored(shapes, "token")))
    assert specs["encoder.layers.attention.query.kernel"] == P(None, "fsdp", "tensor", None)
    assert specs["encoder.layers.feed_forward.down.kernel"] == P(None, ("fsdp", "tensor"), None)
    assert specs["encoder.layers.feed_forward.norm.scale"] == P(None)
    assert specs["encoder.embeddings.words"] == P(("fsdp", "tensor"), None)
    assert over_fsdp("encoder.layers.attention.query.kernel") == P("fsdp", None, None)
    assert over_fsdp("encoder.layers.feed_forward.down.kernel") == P("fsdp", None)
    assert computed("head.dense.kernel") == P(None, None)
    assert computed("encoder.embeddings.words") == P(("fsdp", "tensor"), None)


def test_each_device_stores_its_share_only(trainer):
    params = trainer("mlm", "mix").start().params
    held = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(params))
    assert held < 0.45 * sum(leaf.nbytes for leaf in jax.tree.leaves(params))  # a quarter, and what is replicated
    assert params["encoder"]["embeddings"]["words"].addressable_shards[0].data.shape == (64, 32)


@pytest.mark.parametrize(
    ("sizes", "found"), [(MeshSizes(fsdp=3), r"data=rest x fsdp=3 x tensor=1"), (MeshSizes(data=2), "data=2 x fsdp=1")]
)
def test_a_mesh_that_does_not_fit_the_devices_is_refused(sizes, found):
    with pytest.raises(InputError, match=rf"mesh: {found}.* does not fit 8 devices; wanted sizes whose product is 8"):
        make_mesh(sizes)


def test_data_takes_the_devices_that_are_left():
    found = make_mesh(MeshSizes(fsdp=2, tensor=2))
    assert dict(found.shape) == {"data": 2, "fsdp": 2, "tensor": 2}
    assert row_shards(found) == 4


@pytest.mark.parametrize(("rows", "near"), [(100, 96), (3, 8), (101, 104)])
def test_rows_that_do_not_divide_are_refused_with_the_nearest_that_do(rows, near):
    with pytest.raises(InputError, match=f"^batch_size={rows} does not split over 8 data shards; .* is {near}$"):
        rows_per_shard(rows, 8, field="batch_size")
    assert rows_per_shard(96, 8, field="batch_size") == 12


def test_arrays_that_do_not_split_over_the_mesh_are_all_named(arch, specs):
    wide = make_mesh(MeshSizes(data=1, fsdp=1, tensor=8))  # tiny has 2 heads
    model = make_model(arch, specs["token"], compute="float32", mesh=wide)
    with pytest.raises(InputError) as caught:
        abstract_params(model, wide)
    assert "encoder.layers.attention.query.kernel (2, 32, 2, 16) does not split over tensor=8; 2 must divide" in str(
        caught.value
    )
    assert "attention.out.kernel" in str(caught.value)
