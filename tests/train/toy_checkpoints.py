"""Checkpoints of a toy state, and ways to damage them; for the tests of checkpoints, which run this file."""

from pathlib import Path

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from xlmr_flax.train.checkpoint import Checkpoints

SPECS = {
    "encoder": {"words": P(("fsdp", "tensor"), None), "layers": {"kernel": P(None, "fsdp", "tensor"), "scale": P()}},
    "head": {"bias": P()},
    "optimizer": ({}, {"mu": {"words": P(("fsdp", "tensor"), None)}, "count": P()}),
    "step": P(),
}


def parts_on(mesh, step=1, rows=64):
    """A state with every kind of leaf; its numbers depend on the step."""
    random = np.random.default_rng(step)

    def draw(*shape):
        # Any bits, so that no compression hides where in a file a number stands.
        drawn = random.integers(0, 2**32, shape, np.uint32).view(np.float32)
        return np.where(np.isfinite(drawn), drawn, np.float32(1))

    host = {
        "encoder": {"words": draw(rows, 4), "layers": {"kernel": draw(2, 8, 8), "scale": np.ones((2, 64), np.float32)}},
        "head": {"bias": draw(3)},
        "optimizer": ({}, {"mu": {"words": draw(rows, 4)}, "count": np.int32(step)}),
        "step": np.int32(step),
    }
    return jax.device_put(host, jax.tree.map(lambda spec: NamedSharding(mesh, spec), SPECS, is_leaf=_is_spec))


def _is_spec(leaf):
    return isinstance(leaf, P)


def abstract(parts):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), parts)


def progress(best=None):
    return {"best_step": best, "evaluations": [{"step": 1, "score": 0.1 + 0.2}], "log": None}


def assert_equal(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(np.asarray(a), np.asarray(b)), one, other)


def saved(folder, mesh, steps, *, keep=2, best=None):
    checkpoints = Checkpoints(folder, keep=keep)
    for step in steps:
        checkpoints.save(step, parts_on(mesh, step), progress(best if best in range(step + 1) else None))
    checkpoints.close()
    return steps_in(folder)


def steps_in(folder):
    return sorted(int(path.name) for path in (folder / "training").iterdir() if path.name.isdigit())


def restored(folder, like):
    checkpoints = Checkpoints(folder, keep=2)
    try:
        return checkpoints.restore(abstract(like))
    finally:
        checkpoints.close()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def data_file(folder: Path) -> Path:
    """The largest of a checkpoint's files: arrays."""
    return max(folder.glob("encoder/ocdbt.process_0/d/*"), key=lambda path: path.stat().st_size)


def flip_a_bit_of(array: jax.Array, folder: Path) -> None:
    path, stored = data_file(folder), np.asarray(array).tobytes()
    content = bytearray(path.read_bytes())
    content[content.index(stored[512:544])] ^= 4
    path.write_bytes(bytes(content))
