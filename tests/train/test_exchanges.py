"""Sums that are shared out over a whole slice go over its chips in two ways, and come to the same."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from xlmr_flax.config.schema import Mesh as MeshSizes
from xlmr_flax.train import exchanges
from xlmr_flax.train.sharding import make_mesh


def over_fsdp(run, mesh, out_specs):
    """`run` of every device's own rows of a whole array."""
    return jax.jit(jax.shard_map(run, mesh=mesh, in_specs=P("fsdp"), out_specs=out_specs, check_vma=False))


@pytest.mark.parametrize(
    ("sizes", "stages"),
    [
        ({"data": 1, "fsdp": 8}, 2),
        ({"data": 1, "fsdp": 4}, 2),
        ({"data": 1, "fsdp": 4, "tensor": 2}, 2),
        ({"data": 2, "fsdp": 4}, 1),
    ],
)
def test_a_sum_over_a_whole_slice_is_shared_out_in_two_stages(monkeypatch, sizes, stages):
    monkeypatch.setattr(exchanges, "STRAIGHT", 2)
    count = sizes["fsdp"]
    mesh = make_mesh(MeshSizes(**sizes), jax.devices()[: math.prod(sizes.values())])
    x = np.random.default_rng(0).integers(-9, 9, (count * 16, 3)).astype(np.float32)
    run = over_fsdp(exchanges._shared_out, mesh, P("fsdp"))
    np.testing.assert_array_equal(run(x), x.reshape(count, 16, 3).sum(axis=0))
    assert run.lower(x).as_text().count("stablehlo.reduce_scatter") == stages


def test_a_gathered_matrix_gives_its_gradient_back_in_shares(monkeypatch):
    monkeypatch.setattr(exchanges, "STRAIGHT", 2)
    mesh = make_mesh(MeshSizes(fsdp=8), jax.devices())
    shares, weights = (np.random.default_rng(seed).integers(-9, 9, (16, 3)).astype(np.float32) for seed in (0, 1))

    def run(share):
        return jax.value_and_grad(lambda share: jnp.vdot(exchanges._whole(share), weights))(share)

    total, grad = over_fsdp(run, mesh, out_specs=(P(), P("fsdp")))(shares)
    assert total == np.vdot(shares, weights)
    np.testing.assert_array_equal(grad, 8 * weights)  # each of eight devices adds its own
