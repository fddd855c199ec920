"""The one place that speaks to Orbax: what a running phase saves, and what a finished one hands over.

checkpoints/training/<step>/   encoder, head, optimizer, step; metadata: progress, checksums of every leaf and of itself
checkpoints/selected/          encoder, head; all that stays when the phase is done
"""

import functools
import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from orbax.checkpoint import v1 as ocp

from xlmr_flax.errors import InputError, TrainingError
from xlmr_flax.model.dropout import mix
from xlmr_flax.storage.places import remove
from xlmr_flax.train.sharding import dotted

Tree = Any
Parts = dict[str, Tree]  # encoder, head, and while training optimizer and step

# What Orbax and its readers raise on files that are damaged or gone (each kind of damage is tried in a test). Anything
# else, running out of memory first of all, says nothing about the checkpoint and must not make an older one be used.
UNREADABLE = (OSError, ValueError, KeyError, TypeError)


SLICE_BYTES = 2**20


class DamagedError(TrainingError):
    """A checkpoint whose files are not what was saved."""


class Restored(NamedTuple):
    """A checkpoint that was found whole."""

    step: int
    parts: Parts
    progress: dict[str, Any]  # plain JSON: best so far, evaluations until now


class Keep:
    """Orbax's preservation policy: the newest few and the best so far."""

    def __init__(self, newest: int) -> None:
        self.newest, self.best_step = newest, None

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        """True for each checkpoint that stays."""
        newest = sorted(checkpoint.step for checkpoint in checkpoints)[-self.newest :]
        return [checkpoint.step in (*newest, self.best_step) for checkpoint in checkpoints]


class Checkpoints:
    """The checkpoints of one running phase."""

    def __init__(self, folder: Path, *, keep: int) -> None:
        self.folder, self.keep = folder / "training", Keep(keep)
        self.orbax = ocp.training.Checkpointer(
            self.folder, preservation_policy=self.keep, cleanup_tmp_directories=True, context=_saving()
        )
        self.pending: Any = None

    def save(self, step: int, parts: Parts, progress: dict[str, Any]) -> None:
        """Starts saving; the arrays may be donated as soon as this returns. Raises what the save before raised."""
        self.wait()
        self.keep.best_step = progress.get("best_step")
        # overwrite: after a fall-back to an older checkpoint, a damaged newer one stands in the way
        self.pending = self.orbax.save_checkpointables_async(
            step,
            _dictionaries(parts),
            force=True,
            overwrite=True,
            custom_metadata=_signed({"step": step, "progress": progress}, parts),
        )

    def wait(self) -> None:
        """Waits for the save under way, and raises its error if it had one."""
        if self.pending is not None:
            self.pending.result()
            self.pending = None

    def restore(self, like: Parts) -> Restored | None:
        """The newest whole checkpoint, laid out like the abstract arrays of `like`; None when there is none at all.

        Raises TrainingError when there are checkpoints but none is whole, InputError when a shape is another.
        """
        damaged = []
        # By the folders that are there: to Orbax one that has lost its record is none, and it would say nothing.
        for step in sorted((int(path.name) for path in self.folder.glob("[0-9]*")), reverse=True):
            try:
                return self._whole(step, like)
            except DamagedError as error:
                damaged.append(step)
                print(f"{error}; trying the one before it", file=sys.stderr)  # noqa: T201
        if damaged:
            raise TrainingError(
                f"{self.folder}: none of its checkpoints is whole (steps {', '.join(map(str, damaged))}); "
                "remove the phase's folder to start it over"
            )
        return None

    def _whole(self, step: int, like: Parts) -> Restored:
        saved, parts = _load(
            self.folder / str(step),
            like,
            describe=lambda: self.orbax.checkpointables_metadata(step),
            load=lambda abstract: self.orbax.load_checkpointables(step, abstract),
        )
        return Restored(saved["step"], parts, saved["progress"])

    def parts_at(self, step: int, like: Parts) -> Parts:
        """The arrays of one kept step. Raises TrainingError when it is damaged."""
        self.wait()
        return self._whole(step, like).parts

    def close(self) -> None:
        """Waits and lets go of the folder."""
        self.wait()
        self.orbax.close()


def save_selected(folder: Path, parts: Parts, metadata: dict[str, Any]) -> None:
    """Keeps what a finished phase hands over, beside the checkpoints of its training."""
    with _saving():
        ocp.save_checkpointables(
            folder / "selected", _dictionaries(parts), overwrite=True, custom_metadata=_signed(metadata, parts)
        )


def _saving() -> ocp.Context:
    context = ocp.Context()
    # Replicas share the writing of an array slice by slice. Of a model of 0.1 million parameters on eight devices that
    # made 600 slices a save and took 0.25 s longer.
    context.array.saving.min_slice_bytes_for_replica_parallel = SLICE_BYTES
    return context


def remove_training(folder: Path) -> None:
    """Removes the checkpoints of a phase that is done: optimizer state is as large as the weights, twice."""
    remove(folder / "training")


def load_selected(folder: Path, like: Parts) -> Parts:
    """Parts of a finished phase, laid out like the abstract arrays of `like`.

    Raises TrainingError when a file is missing or damaged, InputError when a shape is another.
    """
    where = folder / "selected"
    describe = functools.partial(ocp.checkpointables_metadata, where)
    return _load(where, like, describe=describe, load=functools.partial(ocp.load_checkpointables, where))[1]


def _load(
    where: Path, like: Parts, *, describe: Callable[[], Any], load: Callable[[Parts], Parts]
) -> tuple[dict[str, Any], Parts]:
    """What was said of a checkpoint when it was saved, and its arrays, every bit of both compared."""
    try:
        saved = _verified(describe().custom_metadata)
    except UNREADABLE as error:
        raise DamagedError(f"{where}: this checkpoint cannot be read ({_reason(error)})") from error
    # Before Orbax sees it: its own words on another shape name no leaf.
    _check_shapes(where, saved["leaves"], like)
    try:
        loaded = load(_dictionaries(like))
    except UNREADABLE as error:
        raise DamagedError(f"{where}: this checkpoint cannot be read ({_reason(error)})") from error
    parts = _trees(loaded, like)
    wrong = mismatch(parts, {name: leaf["checksum"] for name, leaf in saved["leaves"].items()})
    if wrong:
        raise DamagedError(f"{where}: this checkpoint is damaged: {wrong} is not what was saved")
    return saved, parts


def _signed(metadata: dict[str, Any], parts: Parts) -> dict[str, Any]:
    checksums = jax.device_get(checksums_of(parts))
    leaves = {
        name: {"shape": leaf.shape, "dtype": str(leaf.dtype), "checksum": int(checksums[name])}
        for name, leaf in _named(parts)
    }
    # A copy, because it is written in the background while the loop adds evaluations to its own.
    metadata = json.loads(json.dumps({**metadata, "leaves": leaves}))
    return {**metadata, "sha256": _digest(metadata)}


def _verified(metadata: Any) -> dict[str, Any]:
    if not metadata or metadata.get("sha256") != _digest({k: v for k, v in metadata.items() if k != "sha256"}):
        raise ValueError("its metadata is not what was saved")
    return metadata


def _digest(metadata: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()


def _reason(error: BaseException) -> str:
    # Orbax wraps what went wrong in a page about its handlers.
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else 'no message'}"


def _check_shapes(where: Path, saved: Mapping[str, Any], like: Parts) -> None:
    for name, leaf in _named(like):
        if name not in saved:
            raise InputError(f"{where}: {name} is not in this checkpoint; it was saved by another model")
        found, wanted = (tuple(saved[name]["shape"]), saved[name]["dtype"]), (leaf.shape, str(leaf.dtype))
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
    return {name: _checksum(leaf) for name, leaf in _named(parts)}


@jax.jit  # by the leaf and not by the tree: weights, moments and other phases' leaves share their few shapes
def _checksum(x: jax.Array) -> jax.Array:
    bits = jax.lax.bitcast_convert_type(x, jnp.dtype(f"uint{8 * x.dtype.itemsize}")).astype(jnp.uint32)
    place = jnp.zeros(bits.shape, jnp.uint32)
    for axis, size in enumerate(bits.shape):
        place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
    # Each element is mixed before it is added: a plain weighted sum is 0 for a LayerNorm's 1,024 ones, as for zeros.
    return jnp.sum(mix(bits ^ mix(place + jnp.uint32(1))), dtype=jnp.uint32)


def _named(parts: Parts) -> list[tuple[str, Any]]:
    return [(dotted(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(parts)]


def _dictionaries(parts: Parts) -> Parts:
    """Plain dicts: optax's tuples go by their paths, so that no class name enters a file."""
    return {name: dict(_named(tree)) for name, tree in parts.items()}


def _trees(loaded: Parts, like: Parts) -> Parts:
    trees = {}
    for name, tree in like.items():
        leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
        trees[name] = structure.unflatten([loaded[name][dotted(path)] for path, _ in leaves])
    return trees
