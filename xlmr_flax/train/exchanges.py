"""A model laid out on a mesh: where its weights and rows lie while it computes, and what devices exchange for it."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.layout import Layout, with_layout_constraint
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from xlmr_flax.config.architecture import Architecture
from xlmr_flax.model.build import Model, build
from xlmr_flax.model.encoder import Place, take_rows
from xlmr_flax.model.heads import HeadSpec
from xlmr_flax.train.sharding import ROWS, TOKENS, computed, dotted, layer_stored, over_fsdp

STRAIGHT = 8  # devices over which a sum is shared out at once


@functools.lru_cache(maxsize=32)
def make_model(
    arch: Architecture,
    spec: HeadSpec,
    *,
    compute: str,
    mesh: Mesh,
    remat: str = "none",
    scan_layers: bool | None = None,
    reshard_after_forward: bool = True,
) -> Model:
    """The model, laid out on a mesh: rows over data and fsdp, weights gathered over fsdp.

    Layers are scanned on CPUs, where compiling counts, and elsewhere not, unless it is said.
    """
    if scan_layers is None:
        scan_layers = mesh.devices.flat[0].platform == "cpu"
    return build(
        arch,
        spec,
        compute,
        remat=remat,
        scan_layers=scan_layers,
        reshard_after_forward=reshard_after_forward,
        place=_place(mesh, jnp.dtype(compute)),
    )


def _place(mesh: Mesh, compute: Any) -> Place:
    """Layers and the table of words say what they exchange; the rest is left to the compiler.

    Left to it, gradients are summed whole over all devices, products are cut into pieces that go around a ring, and
    over data and fsdp together the table of words is gathered: on eight chips that takes twice the time.
    """

    def weight(path: Any, leaf: jax.Array) -> jax.Array:
        return jax.lax.with_sharding_constraint(leaf, NamedSharding(mesh, computed(dotted(path))))

    def activation(x_BLD: jax.Array) -> jax.Array:
        return jax.lax.with_sharding_constraint(x_BLD, NamedSharding(mesh, P(("data", "fsdp"), None, None)))

    # Every device then has all rows, and XLA ends at the sums over one device that a mapping would have.
    only_tensor = mesh.shape["tensor"] == mesh.size > 1

    def by_rows(run: Callable[..., Any]) -> Callable[..., Any]:
        def mapped(layers: Any, rows: Any, word: jax.Array | None) -> Any:
            layers = jax.tree_util.tree_map_with_path(functools.partial(_travelling, compute=compute), layers)
            if only_tensor:
                return run(layers, rows, word)
            shares = jax.tree_util.tree_map_with_path(lambda path, _: P(None, *over_fsdp(_of_layer(path))), layers)
            return jax.shard_map(
                run,
                mesh=mesh,
                in_specs=(shares, ROWS, P()),
                out_specs=(ROWS, P(None, *ROWS)),  # what is kept of each layer is stacked
                axis_names={"data", "fsdp"} if mesh.shape["tensor"] > 1 else set(mesh.axis_names),
                check_vma=False,
            )(layers, rows, word)

        return mapped

    return Place(
        weights=functools.partial(jax.tree_util.tree_map_with_path, weight),
        words=functools.partial(_words, mesh=mesh, compute=compute),
        beside_words=functools.partial(_beside_words, mesh=mesh),
        activations=activation,
        by_rows=by_rows,
        layer=(lambda layer: layer) if only_tensor else functools.partial(jax.tree_util.tree_map_with_path, _gathered),
    )


def _of_layer(path: Any) -> str:
    return f"encoder.layers.{dotted(path)}"


def _travelling(path: Any, leaf: jax.Array, *, compute: Any) -> jax.Array:
    """Stacked shares of the leaves that are split: gathered, and their gradients summed, in the compute type.

    So over data as over fsdp: a pod sends half as much besides as it would in float32.
    """
    return leaf.astype(compute) if "fsdp" in over_fsdp(_of_layer(path)) else leaf


def _gathered(path: Any, leaf: jax.Array) -> jax.Array:
    """A layer's leaf as products use it, from the devices' shares; its gradient is summed and shared out again.

    A barrier keeps its copy apart from the products: those of all layers are then the same to the compiler, which
    compiles them once. Heads lie in memory so that rows of the width are not one after the other, and a TPU that is to
    share out such a sum makes it whole on every device, which sends twice as much; so they travel as a matrix of rows.
    """
    layout = over_fsdp(_of_layer(path))
    if "fsdp" not in layout:
        return leaf
    axis = layout.index("fsdp")
    rows = jnp.moveaxis(leaf, axis, 0)
    whole = _whole(rows.reshape(len(rows), -1))
    if leaf.ndim > 2 and jax.lax.axis_size("fsdp") > 1:
        whole = with_layout_constraint(whole, Layout((0, 1)))
    return jnp.moveaxis(jax.lax.optimization_barrier(whole).reshape(-1, *rows.shape[1:]), 0, axis)


@jax.custom_vjp
def _whole(share: jax.Array) -> jax.Array:
    """All devices' shares of a matrix, one below the other."""
    return jax.lax.all_gather(share, "fsdp", axis=0, tiled=True)


_whole.defvjp(lambda share: (_whole(share), None), lambda _, back: (_shared_out(back),))


def _shared_out(x: jax.Array) -> jax.Array:
    """The sum over fsdp, of which every device gets its share of the first axis.

    Over all chips of a larger slice a TPU makes it whole on every chip, which sends twice as much; over the columns of
    a rectangle of chips and then over its rows it does not.
    """
    scatter = functools.partial(jax.lax.psum_scatter, axis_name="fsdp", scatter_dimension=0, tiled=True)
    count = jax.lax.axis_size("fsdp")
    if count <= STRAIGHT or jax.lax.axis_size("data") > 1:
        return scatter(x)
    columns = max(n for n in range(1, math.isqrt(count) + 1) if count % n == 0)
    rectangle = np.arange(count).reshape(-1, columns)
    for groups in (rectangle.T, rectangle):
        x = scatter(x, axis_index_groups=groups.tolist())
    return x


def _words(words_VD: jax.Array, ids_BL: jax.Array, *, mesh: Mesh, compute: Any) -> jax.Array:
    """The words' vectors in float32, of which each device looks up those in its own rows of the table.

    Their gradients travel in the compute type, as those of the layers do; what comes to a row is added up in float32.
    """
    size, table = len(words_VD), layer_stored("encoder.embeddings.words")
    mapped = functools.partial(jax.shard_map, mesh=mesh, check_vma=False)

    def own(ids_BL: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
        first = jax.lax.axis_index(("fsdp", "tensor")) * count
        row_BL = jnp.clip(ids_BL - first, 0, count - 1)
        return row_BL, row_BL + first == ids_BL

    def look_up(words_VD: jax.Array, ids_BL: jax.Array) -> jax.Array:
        row_BL, here_BL = own(ids_BL, len(words_VD))
        elsewhere_BL = jnp.where((ids_BL >= 0) & (ids_BL < size), 0, jnp.nan)  # beyond the table is nowhere, and shows
        x_BLD = jnp.where(here_BL[..., None], take_rows(words_VD, row_BL), elsewhere_BL[..., None])
        x_BLD = jax.lax.psum(x_BLD, "tensor")
        return _shared_out(x_BLD)

    def add_up(words_VD: jax.Array, ids_BL: jax.Array, back_BLD: jax.Array) -> jax.Array:
        row_BL, here_BL = own(ids_BL, len(words_VD))
        back_BLD = jax.lax.all_gather(back_BLD.astype(compute), "fsdp", tiled=True)
        back_BLD = jnp.where(here_BL[..., None], back_BLD.astype(jnp.float32), 0)
        sum_VD = jnp.zeros(words_VD.shape, jnp.float32).at[row_BL].add(back_BLD)
        if mesh.shape["data"] > 1:  # what is not sent stays as it is
            sum_VD = jax.lax.psum(sum_VD.astype(compute), "data").astype(jnp.float32)
        return sum_VD

    @jax.custom_vjp
    def vectors(words_VD: jax.Array, ids_BL: jax.Array) -> jax.Array:
        return mapped(look_up, in_specs=(table, TOKENS), out_specs=ROWS)(words_VD, ids_BL)

    def forward(words_VD: jax.Array, ids_BL: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        return vectors(words_VD, ids_BL), (words_VD, ids_BL)

    def backward(given: tuple[jax.Array, jax.Array], back_BLD: jax.Array) -> tuple[jax.Array, None]:
        return mapped(add_up, in_specs=(table, TOKENS, ROWS), out_specs=table)(*given, back_BLD), None

    vectors.defvjp(forward, backward)
    return vectors(words_VD, ids_BL)


def _beside_words(x_BGD: jax.Array, *, mesh: Mesh) -> jax.Array:
    """Masked positions of all rows on every device of fsdp, to be decoded with its own rows of the table of words.

    Left to the compiler, they are gathered again for each block, and their gradient goes around a ring: a third more
    time for decoding XLM-R Large's words over eight.
    """
    gather = functools.partial(jax.lax.all_gather, axis_name="fsdp", tiled=True)
    return jax.shard_map(gather, mesh=mesh, in_specs=ROWS, out_specs=TOKENS, check_vma=False)(x_BGD)
