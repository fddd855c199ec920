"""The one place that speaks to Orbax: what a running phase saves, and what a finished one hands over.

checkpoints/training/<step>/   encoder, head, optimizer; metadata: step, progress, a checksum of every leaf
checkpoints/selected/          encoder, head; all that stays when the phase is done
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from orbax.checkpoint import v1 as ocp

from xlmr_flax.errors import TrainingError
from xlmr_flax.train.sharding import dotted

Tree = Any
Parts = dict[str, Tree]  # encoder, head, and while training optimizer


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
        self.orbax = ocp.training.Checkpointer(self.folder, preservation_policy=self.keep, cleanup_tmp_directories=True)
        self.pending: Any = None

    def save(self, step: int, parts: Parts, progress: dict[str, Any]) -> None:
        """Starts saving; the arrays may be donated as soon as this returns. Raises what the save before raised."""
        self.wait()
        self.keep.best_step = progress.get("best_step")
        checksums = jax.device_get(checksums_of(parts))
        metadata = {
            "step": step,
            "progress": progress,
            "checksums": {name: int(value) for name, value in checksums.items()},
        }
        # overwrite: after a fall-back to an older checkpoint, a damaged newer one stands in the way
        self.pending = self.orbax.save_checkpointables_async(
            step, _dictionaries(parts), force=True, overwrite=True, custom_metadata=metadata
        )

    def wait(self) -> None:
        """Waits for the save under way, and raises its error if it had one."""
        if self.pending is not None:
            self.pending.result()
            self.pending = None

    def restore(self, like: Parts) -> Restored | None:
        """The newest whole checkpoint, laid out like the abstract arrays of `like`; None when there is none at all.

        Raises TrainingError when there are checkpoints but none is whole.
        """
        damaged = []
        for step in sorted((checkpoint.step for checkpoint in self.orbax.checkpoints), reverse=True):
            found = self._whole(step, like)
            if isinstance(found, Restored):
                return found
            damaged.append(found)
            print(f"{found}; trying the one before it", file=sys.stderr)
        if damaged:
            raise TrainingError(
                f"{self.folder}: none of {len(damaged)} checkpoints is whole; remove the phase's folder to start over"
            )
        return None

    def _whole(self, step: int, like: Parts) -> Restored | str:
        where = f"{self.folder / str(step)}"
        try:
            metadata = self.orbax.checkpointables_metadata(step).custom_metadata
            loaded = self.orbax.load_checkpointables(step, _dictionaries(like))
        except Exception as error:  # Orbax raises whatever its readers raise on damaged files
            return f"{where}: this checkpoint cannot be read ({type(error).__name__}: {str(error).splitlines()[0]})"
        parts = _trees(loaded, like)
        wrong = mismatch(parts, metadata["checksums"])
        if wrong:
            return f"{where}: this checkpoint is damaged: {wrong} is not what was saved"
        return Restored(metadata["step"], parts, metadata["progress"])

    def parts_at(self, step: int, like: Parts) -> Parts:
        """The arrays of one kept step. Raises TrainingError when it is damaged."""
        self.wait()
        found = self._whole(step, like)
        if isinstance(found, str):
            raise TrainingError(found)
        return found.parts

    def close(self) -> None:
        """Waits and lets go of the folder."""
        self.wait()
        self.orbax.close()


def save_selected(folder: Path, parts: Parts, metadata: dict[str, Any]) -> None:
    """Keeps what a finished phase hands over, and removes everything else under `folder`."""
    checksums = jax.device_get(checksums_of(parts))
    ocp.save_checkpointables(
        folder / "selected",
        _dictionaries(parts),
        overwrite=True,
        custom_metadata={**metadata, "checksums": {name: int(value) for name, value in checksums.items()}},
    )
    shutil.rmtree(folder / "training", ignore_errors=True)


def load_selected(folder: Path, like: Parts) -> Parts:
    """Parts of a finished phase, laid out like the abstract arrays of `like`.

    Raises TrainingError when a file is missing, a shape differs or a checksum does.
    """
    where = folder / "selected"
    try:
        metadata = ocp.checkpointables_metadata(where).custom_metadata
        parts = _trees(ocp.load_checkpointables(where, _dictionaries(like)), like)
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"{where}: cannot be read ({type(error).__name__}: {error})") from error
    wrong = mismatch(parts, metadata["checksums"])
    if wrong:
        raise TrainingError(f"{where}: damaged: {wrong} is not what was saved")
    return parts


def mismatch(parts: Parts, checksums: dict[str, int]) -> str | None:
    """The first leaf whose bits are not those that were saved."""
    for name, value in jax.device_get(checksums_of(parts)).items():
        if checksums.get(name) != int(value):
            return name
    return None


@jax.jit
def checksums_of(parts: Parts) -> dict[str, jax.Array]:
    """One integer a leaf, from all its bits and their places: equal on every mesh, because integer sums have no order."""
    return {dotted(path): _checksum(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(parts)}


def _checksum(x: jax.Array) -> jax.Array:
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32) if x.dtype.itemsize == 4 else x.astype(jnp.uint32)
    place = jnp.zeros(bits.shape, jnp.uint32)
    for axis, size in enumerate(bits.shape):
        place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
    return jnp.sum(bits * (2 * place + 1), dtype=jnp.uint32)


def _dictionaries(parts: Parts) -> Parts:
    """Plain dicts: optax's tuples go by their paths, so that no class name enters a file."""
    return {
        name: {dotted(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
        for name, tree in parts.items()
    }


def _trees(loaded: Parts, like: Parts) -> Parts:
    trees = {}
    for name, tree in like.items():
        leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
        for path, leaf in leaves:
            found = loaded[name][dotted(path)]
            if found.shape != leaf.shape or found.dtype != leaf.dtype:
                raise ValueError(f"{dotted(path)}: found {found.shape} {found.dtype}, wanted {leaf.shape} {leaf.dtype}")
        trees[name] = structure.unflatten([loaded[name][dotted(path)] for path, _ in leaves])
    return trees
