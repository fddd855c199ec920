"""Saves, trains beside a save, or restores, in a process of its own; prints one JSON line.

python checkpoint_worker.py train FOLDER PRESET STEPS: so many steps, with a save after half of them
python checkpoint_worker.py save|restore FOLDER PRESET: a state at step 1, and the memory that reading it takes
"""

import json
import shutil
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np

from xlmr_flax.config.architecture import PRESETS, Architecture
from xlmr_flax.config.schema import Mesh, Optim
from xlmr_flax.data.batches import TrainingBatches
from xlmr_flax.data.encoded import joined
from xlmr_flax.data.examples import Examples
from xlmr_flax.model.heads import HeadSpec
from xlmr_flax.train.checkpoint import Checkpoints
from xlmr_flax.train.exchanges import make_model
from xlmr_flax.train.sharding import make_mesh
from xlmr_flax.train.state import State, abstract_state, parts_of, place_batch, place_course
from xlmr_flax.train.step import make_train_step

VOCABULARY, LENGTH, BATCH = 250_002, 64, 8


def size_of(parts: dict) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(parts))


def like_of(preset: str) -> tuple:
    mesh, optim = make_mesh(Mesh(data=1), jax.devices()[:1]), Optim()
    arch = Architecture(vocab_size=VOCABULARY, **PRESETS[preset])
    model = make_model(arch, HeadSpec("sequence", 3), compute="float32", remat="none", mesh=mesh)
    return model, optim, mesh, abstract_state(model, optim, mesh)


def drawn(like: State) -> State:
    """Weights and moments as after some training: no zeros, which files and pages would take for nothing."""
    random = np.random.default_rng(0)

    def leaf(x: jax.ShapeDtypeStruct) -> jax.Array:
        if not np.issubdtype(x.dtype, np.floating):
            return jax.device_put(np.zeros(x.shape, x.dtype), x.sharding)
        return jax.device_put(0.02 * np.abs(random.standard_normal(x.shape, np.float32)), x.sharding)

    return jax.tree.map(leaf, like)


def train(folder: Path, preset: str, steps: int) -> dict:
    model, optim, mesh, like = like_of(preset)
    random = np.random.default_rng(1)
    units = [random.integers(5, VOCABULARY, LENGTH).astype(np.int32) for _ in range(256)]
    encoded = joined(units, np.arange(len(units)), {}, random.integers(0, 3, len(units)).astype(np.int32))
    examples = Examples("sequence", encoded, LENGTH, 1)
    batches = TrainingBatches(examples, np.arange(len(units)), batch_size=BATCH, micro_batches=1, seed=0)
    course, step = place_course(optim, mesh, seed=0, steps=steps), make_train_step(model, optim, mesh)
    checkpoints = Checkpoints(folder, keep=1)
    state = drawn(like)

    def taken(state: State, number: int) -> State:
        return step(state, place_batch(batches(number % 32), mesh, lead=1), course)[0]

    state = jax.block_until_ready(taken(state, 0))  # compiles
    checkpoints.save(0, parts_of(state), {"best_step": None})  # compiles the checksums
    checkpoints.wait()
    told = {"plain": [], "while saving": []}
    for number in range(steps):
        start, while_saving = time.perf_counter(), checkpoints.pending is not None
        state = jax.block_until_ready(taken(state, number))  # so that the blocking part is the save's alone
        checkpoints.check()
        told["while saving" if while_saving else "plain"].append(time.perf_counter() - start)
        if number + 1 == steps // 2:
            start = time.perf_counter()
            checkpoints.save(number + 1, parts_of(state), {"best_step": None})
            told["blocked"] = time.perf_counter() - start
    assert checkpoints.pending is None, f"{steps} steps end before the save does"
    checkpoints.close()
    shutil.rmtree(folder)
    return told | {"bytes": size_of(parts_of(state))}


def save(folder: Path, preset: str) -> dict:
    state = drawn(like_of(preset)[-1])
    checkpoints = Checkpoints(folder, keep=1)
    checkpoints.save(1, parts_of(state), {"best_step": None})
    checkpoints.close()
    return {"bytes": size_of(parts_of(state))}


def resident() -> int:
    """Bytes of this process in memory."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return 1024 * int(line.split()[1])


def restore(folder: Path, preset: str) -> dict:
    like = parts_of(like_of(preset)[-1])
    before, most, done = resident(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            most[0] = max(most[0], resident())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start = time.perf_counter()
    found = Checkpoints(folder, keep=1).restore(like)
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    return {"seconds": seconds, "before": before, "peak": most[0], "bytes": size_of(found.parts)}


if __name__ == "__main__":
    what, where, name, *rest = sys.argv[1:]
    told = {"train": train, "save": save, "restore": restore}[what](Path(where), name, *map(int, rest))
    print(json.dumps(told), flush=True)
