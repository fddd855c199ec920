"""What a step costs outside its computing: steps over 400 arrays that compute next to nothing, from call to return.

python overhead_worker.py ours|alone|nnx FOLDER: it answers `N` with the seconds of each of N steps. `alone` is the
compiled function of `ours`, called by nothing but the runtime: what it takes itself. `nnx` is the step with flax's own
nnx.jit and nnx.Optimizer.
"""

import dataclasses
import functools
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import PartitionSpec as P
from rich.console import Console

from xlmr_flax.config.schema import Mesh, Optim
from xlmr_flax.data.batch import Batch, Outcome, SequenceTarget, Tally, Tokens
from xlmr_flax.execute.devices import prepare_cpu
from xlmr_flax.model.heads import HeadSpec
from xlmr_flax.train import sharding
from xlmr_flax.train.log import Log
from xlmr_flax.train.optimizer import make_optimizer
from xlmr_flax.train.state import abstract_state, place_batch, place_course
from xlmr_flax.train.step import make_train_step
from xlmr_flax.train.watch import Watch

PARAMETERS, SIZE = 133, 8  # with Adam's two moments of each: 399 arrays, and Adam's count and the step
ROWS, LENGTH, STEPS = 8, 16, 100_000


@dataclasses.dataclass(frozen=True)
class Many:
    """A model of many small arrays, which are added up."""

    spec: HeadSpec

    def init_params(self, key):
        return {"encoder": {f"part{n}": jnp.ones(SIZE) for n in range(PARAMETERS)}, "head": {}}

    def loss(self, params, batch, noise):
        total = sum(part.sum() for part in params["encoder"].values())
        return Tally(total * batch.target.weight_BS.sum(), batch.target.weight_BS.sum())


class ManyModule(nnx.Module):
    """The same, kept by a module."""

    def __init__(self):
        for n in range(PARAMETERS):
            setattr(self, f"part{n}", nnx.Param(jnp.ones(SIZE)))

    def __call__(self, weight_KBS):
        return sum(getattr(self, f"part{n}")[...].sum() for n in range(PARAMETERS)) * weight_KBS.sum()


def host_batch():
    tokens = Tokens(*(np.zeros((1, ROWS, LENGTH), np.int32) for _ in Tokens._fields))
    return Batch(tokens, SequenceTarget(*(np.zeros((1, ROWS, 1), kind) for kind in (np.int32, np.int32, np.float32))))


class Parts(NamedTuple):
    """Our own step and what it takes, beside the state."""

    train: Any
    like: Any
    host: Batch
    course: Any

    def state(self):
        made = jax.tree.map(lambda leaf: jax.device_put(np.ones(leaf.shape, leaf.dtype), leaf.sharding), self.like)
        assert len(jax.tree.leaves(made)) >= 400
        return jax.block_until_ready(made)


def parts(mesh):
    sharding.STORED = {"encoder": ((r"part\d+$", P()),), "sequence": ()}
    model, optim = Many(HeadSpec("sequence", 2)), Optim()
    like, course = abstract_state(model, optim, mesh), place_course(optim, mesh, seed=0, steps=STEPS)
    return Parts(make_train_step(model, optim, mesh), like, host_batch(), course)


def ours(mesh, log):
    """Our own step, from the host's batch to the log."""
    part = parts(mesh)
    state = part.state()

    def take(number):
        nonlocal state
        began = time.perf_counter()
        state, outcome = part.train(state, place_batch(part.host, mesh, lead=1), part.course)
        log.step(number, outcome, examples=ROWS, tokens=ROWS * LENGTH)
        return time.perf_counter() - began, state

    return take


def alone(mesh, log):
    """What the runtime takes to run our compiled function: its arrays are there, and what it gives stays its own."""
    part = parts(mesh)
    batch = place_batch(part.host, mesh, lead=1)
    compiled = part.train.lower(part.like, batch, part.course).compile()
    leaves = functools.partial(jax.tree.leaves, is_leaf=lambda leaf: leaf is None)  # what is not there counts in both
    wanted = [leaf is not None for leaf in leaves(compiled.input_shardings)]
    run = compiled.runtime_executable().execute_sharded

    def take(number):
        given = leaves((part.state(), batch, part.course))
        used = [leaf for leaf, is_used in zip(given, wanted, strict=True) if is_used]
        began = time.perf_counter()
        given = run(used)
        return time.perf_counter() - began, given.disassemble_into_single_device_arrays()

    return take


def nnx_jit(mesh, log):
    """The step as flax's documentation writes it."""
    module, host = ManyModule(), host_batch()
    optimizer = nnx.Optimizer(module, make_optimizer(Optim()), wrt=nnx.Param)

    @nnx.jit
    def train(module, optimizer, batch):
        total, gradients = nnx.value_and_grad(lambda module: module(batch.target.weight_BS))(module)
        optimizer.update(module, gradients)
        return Outcome(total, batch.target.weight_BS.sum(), jnp.int32(0), jnp.int32(0))

    def take(number):
        began = time.perf_counter()
        outcome = train(module, optimizer, place_batch(host, mesh, lead=1))
        log.step(number, outcome, examples=ROWS, tokens=ROWS * LENGTH)
        return time.perf_counter() - began, nnx.state(module)

    return take


def main(engine, folder):
    prepare_cpu(Mesh())
    mesh, taken = sharding.make_mesh(Mesh()), 0
    how = {"console": Console(quiet=True), "watch": Watch(engine, max_skipped_steps=10, batch_of=str)}
    with Log(Path(folder), name=engine, start=0, steps=STEPS, every_steps=50, **how) as log:
        take = {"ours": ours, "alone": alone, "nnx": nnx_jit}[engine](mesh, log)
        print(json.dumps("ready"), flush=True)
        for line in sys.stdin:
            seconds = []
            for _ in range(int(line)):
                taken += 1
                took, state = take(taken)
                seconds.append(took)
                jax.block_until_ready(state)
            print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
