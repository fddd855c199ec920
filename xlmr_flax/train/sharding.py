"""Where arrays live: the mesh, the storage table of the weights, and what the step gathers and scatters."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from xlmr_flax.config.schema import Mesh as MeshSizes
from xlmr_flax.errors import InputError, listed

# How weights are stored; Adam's moments follow, because their paths contain the parameter's. Rows describe one layer:
# leaves under `layers` are stacked and get a leading None. No catch-all: what no row matches is an error, and so is a
# row that matches nothing.
STORED: Mapping[str, tuple[tuple[str, P], ...]] = {
    "encoder": (
        (r"embeddings\.words$", P(("fsdp", "tensor"), None)),  # V D
        (r"embeddings\.(positions|types)$", P()),  # a few hundred rows
        (r"attention\.(query|key|value)\.kernel$", P("fsdp", "tensor", None)),  # D H K
        (r"attention\.(query|key|value)\.bias$", P("tensor", None)),  # H K
        (r"attention\.out\.kernel$", P("tensor", None, "fsdp")),  # H K D
        (r"attention\.out\.bias$", P()),
        (r"feed_forward\.up\.kernel$", P("fsdp", "tensor")),  # D F
        (r"feed_forward\.up\.bias$", P("tensor")),  # F
        (
            r"feed_forward\.down\.kernel$",
            P(("fsdp", "tensor"), None),
        ),  # F D; a TPU sums and shares out along a first axis only
        (r"feed_forward\.down\.bias$", P()),
        (r"encoder.*norm\.(scale|bias)$", P()),
    ),
    "sequence": (
        (r"head\.dense\.kernel$", P("fsdp", None)),
        (r"head\.dense\.bias$", P()),
        (r"head\.out\.(kernel|bias)$", P()),  # a few classes
    ),
    "choice": (
        (r"head\.pooler\.kernel$", P("fsdp", None)),
        (r"head\.pooler\.bias$", P()),
        (r"head\.out\.(kernel|bias)$", P()),
    ),
    "token": ((r"head\.out\.(kernel|bias)$", P()),),
    "span": ((r"head\.out\.(kernel|bias)$", P()),),
    "mlm": (
        (r"head\.dense\.kernel$", P("fsdp", None)),
        (r"head\.dense\.bias$", P()),
        (r"head\.norm\.(scale|bias)$", P()),
        (r"head\.bias$", P(("fsdp", "tensor"))),  # V
    ),
    "dual": (
        (r"head\.pooler\.kernel$", P("fsdp", None)),
        (r"head\.pooler\.bias$", P()),
    ),
}

ROWS = P(("data", "fsdp"))  # a batch's rows
# Token ids stay whole over fsdp, so that each device looks up its own rows of the sharded word table and only
# activations travel, never the table: 8 x 1 GB less to gather for XLM-R Large.
TOKENS = P("data")


def make_mesh(sizes: MeshSizes, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The devices as a mesh of data, fsdp and tensor.

    Raises InputError when the sizes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    inner = sizes.fsdp * sizes.tensor
    data = sizes.data or len(devices) // inner
    if data * inner != len(devices) or not data:
        raise InputError(
            f"mesh: data={sizes.data or 'rest'} x fsdp={sizes.fsdp} x tensor={sizes.tensor} does not fit "
            f"{len(devices)} devices; wanted sizes whose product is {len(devices)}"
        )
    grid = np.asarray(devices).reshape(data, sizes.fsdp, sizes.tensor)
    return Mesh(grid, ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)


def row_shards(mesh: Mesh) -> int:
    """Over how many devices the rows of a batch are spread."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def rows_per_shard(rows: int, shards: int, *, field: str) -> int:
    """`rows / shards`. Raises InputError that names the nearest number that divides."""
    if rows % shards:
        near = max(shards, round(rows / shards) * shards)
        raise InputError(f"{field}={rows} does not split over {shards} data shards; the nearest that does is {near}")
    return rows // shards


def stored(tree: Any, head: str) -> Any:
    """The PartitionSpec of every leaf of `tree` (params, or a whole train state) as it is stored.

    Raises ValueError for a leaf that no row matches and for a row that matches no leaf.
    """
    table = STORED["encoder"] + STORED[head]
    unused = {pattern for pattern, _ in table}

    def spec(path: Any, leaf: Any) -> P:
        if leaf.ndim == 0:
            return P()
        name = dotted(path)
        for pattern, layout in table:
            if re.search(pattern, name):
                unused.discard(pattern)
                return P(None, *layout) if ".layers." in name else layout
        raise ValueError(f"{name} {leaf.shape}: no storage rule matches; add one to sharding.STORED")

    specs = jax.tree_util.tree_map_with_path(spec, tree)
    if unused:
        raise ValueError(f"storage rules that match nothing: {sorted(unused)}")
    return specs


def check_divides(tree: Any, specs: Any, mesh: Mesh) -> None:
    """Raises InputError that names every array whose sizes do not split over the mesh."""
    problems = []
    for (path, leaf), spec in zip(jax.tree_util.tree_leaves_with_path(tree), jax.tree.leaves(specs), strict=True):
        for size, axes in zip(leaf.shape, spec, strict=False):
            names = (axes,) if isinstance(axes, str) else axes or ()
            shards = math.prod(mesh.shape[name] for name in names)
            if size % shards:
                told = " x ".join(f"{name}={mesh.shape[name]}" for name in names)
                problems.append(f"mesh: {dotted(path)} {leaf.shape} does not split over {told}; {size} must divide")
    if problems:
        raise listed(problems)


def shardings(specs: Any, mesh: Mesh) -> Any:
    """The specs on a mesh."""
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs, is_leaf=lambda leaf: isinstance(leaf, P))


def layer_stored(name: str) -> P:
    """How one layer's leaf (or another that is not stacked) is stored."""
    table = (row for rows in STORED.values() for row in rows)
    return next(layout for pattern, layout in table if re.search(pattern, name))


def computed(name: str) -> P:
    """How a leaf that is in no layer is used: gathered over fsdp and still split over tensor.

    The word table and what is as long as it stay as they are stored: they are used where their rows are.
    """
    layout = layer_stored(name)
    if ("fsdp", "tensor") in tuple(layout):
        return layout
    return P(*(axis if axis == "tensor" else None for axis in layout))


def over_fsdp(name: str) -> P:
    """How fsdp alone splits one layer's leaf."""
    return P(*("fsdp" if axes in ("fsdp", ("fsdp", "tensor")) else None for axes in layer_stored(name)))


def dotted(path: Any) -> str:
    """A tree path with dots between its keys."""
    return jax.tree_util.keystr(path, simple=True, separator=".")
