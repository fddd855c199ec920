"""What is said of a checkpoint when it is saved: shape, type and checksum of every leaf, and a digest of all of it."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from xlmr_flax.errors import InputError
from xlmr_flax.model.dropout import mix
from xlmr_flax.train.sharding import dotted

Tree = Any
Parts = dict[str, Tree]  # encoder, head, and while training optimizer and counters


def signed(metadata: dict[str, Any], parts: Parts) -> dict[str, Any]:
    """`metadata` with what every leaf of `parts` is, and a digest of both; plain JSON."""
    checksums = jax.device_get(checksums_of(parts))
    leaves = {
        name: {"shape": leaf.shape, "dtype": str(leaf.dtype), "checksum": int(checksums[name])}
        for name, leaf in named(parts)
    }
    # A copy, because it is written in the background while the loop adds evaluations to its own.
    metadata = json.loads(json.dumps({**metadata, "leaves": leaves}))
    return {**metadata, "sha256": _digest(metadata)}


def verified(metadata: Any) -> dict[str, Any]:
    """The same, read back. Raises ValueError when a letter of it is another."""
    if not metadata or metadata.get("sha256") != _digest({k: v for k, v in metadata.items() if k != "sha256"}):
        raise ValueError("its metadata is not what was saved")
    return metadata


def _digest(metadata: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()


def check_shapes(where: Any, leaves: Mapping[str, Any], like: Parts) -> None:
    """Raises InputError when a leaf of `like` is not among the saved `leaves`, or there with another shape or type."""
    for name, leaf in named(like):
        if name not in leaves:
            raise InputError(f"{where}: {name} is not in this checkpoint; it was saved by another model")
        found, wanted = (tuple(leaves[name]["shape"]), leaves[name]["dtype"]), (leaf.shape, str(leaf.dtype))
        if found != wanted:
            raise InputError(
                f"{where}: {name} is {found[0]} {found[1]} in this checkpoint, wanted {wanted[0]} {wanted[1]}; "
                "it was saved by a model of another shape"
            )


def mismatch(parts: Parts, checksums: dict[str, int]) -> str | None:
    """The first leaf whose bits are not those that were saved."""
    for name, value in jax.device_get(checksums_of(parts)).items():
        if checksums.get(name) != int(value):
            return name
    return None


def checksums_of(parts: Parts) -> dict[str, jax.Array]:
    """An integer for each leaf, from its bits and their places: equal on any mesh, as integer sums have no order."""
    return {name: _checksum(leaf) for name, leaf in named(parts)}


@jax.jit  # by the leaf and not by the tree: weights, moments and other phases' leaves share their few shapes
def _checksum(x: jax.Array) -> jax.Array:
    bits = jax.lax.bitcast_convert_type(x, jnp.dtype(f"uint{8 * x.dtype.itemsize}")).astype(jnp.uint32)
    place = jnp.zeros(bits.shape, jnp.uint32)
    for axis, size in enumerate(bits.shape):
        place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
    # Each element is mixed before it is added: a plain weighted sum is 0 for a LayerNorm's 1,024 ones, as for zeros.
    return jnp.sum(mix(bits ^ mix(place + jnp.uint32(1))), dtype=jnp.uint32)


def named(parts: Parts) -> list[tuple[str, Any]]:
    """Every leaf by the dotted path that it is saved under."""
    return [(dotted(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(parts)]


def dictionaries(parts: Parts) -> Parts:
    """Plain dicts: optax's tuples go by their paths, so that no class name enters a file."""
    return {name: dict(named(tree)) for name, tree in parts.items()}


def trees(loaded: Parts, like: Parts) -> Parts:
    """Those dicts as the trees that `like` has."""
    found = {}
    for name, tree in like.items():
        leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
        found[name] = structure.unflatten([loaded[name][dotted(path)] for path, _ in leaves])
    return found
