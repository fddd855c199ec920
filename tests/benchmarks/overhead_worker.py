"""What a step costs outside its computing: steps over 400 arrays that compute next to nothing, from call to return.

python overhead_worker.py ours|nnx FOLDER: it answers `N` with the seconds of each of N steps. `nnx` is the same with
flax's own nnx.jit and nnx.Optimizer.
"""

import dataclasses
import json
import sys
import time
from pathlib import Path

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
from xlmr_flax.train import sharding, step
from xlmr_flax.train.log import Log
from xlmr_flax.train.optimizer import make_optimizer
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


def ours(mesh, log):
    """Our own step, from the host's batch to the log."""
    sharding.STORED = {"encoder": ((r"part\d+$", P()),), "sequence": ()}
    model, optim, host = Many(HeadSpec("sequence", 2)), Optim(), host_batch()
    like = step.abstract_state(model, optim, mesh)
    state = jax.tree.map(lambda leaf: jax.device_put(np.ones(leaf.shape, leaf.dtype), leaf.sharding), like)
    assert len(jax.tree.leaves(state)) >= 400
    train, course = step.make_train_step(model, optim, mesh), step.place_course(optim, mesh, seed=0, steps=STEPS)

    def take(number):
        nonlocal state
        state, outcome = train(state, step.place_batch(host, mesh, lead=1), course)
        log.step(number, outcome, examples=ROWS, tokens=ROWS * LENGTH)
        return state

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
        outcome = train(module, optimizer, step.place_batch(host, mesh, lead=1))
        log.step(number, outcome, examples=ROWS, tokens=ROWS * LENGTH)
        return nnx.state(module)

    return take


def main(engine, folder):
    prepare_cpu(Mesh())
    mesh, taken = sharding.make_mesh(Mesh()), 0
    how = {"console": Console(quiet=True), "watch": Watch(engine, max_skipped_steps=10, batch_of=str)}
    with Log(Path(folder), name=engine, start=0, steps=STEPS, every_steps=50, **how) as log:
        take = {"ours": ours, "nnx": nnx_jit}[engine](mesh, log)
        print(json.dumps("ready"), flush=True)
        for line in sys.stdin:
            seconds = []
            for _ in range(int(line)):
                taken += 1
                began = time.perf_counter()
                state = take(taken)
                seconds.append(time.perf_counter() - began)
                jax.block_until_ready(state)
            print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
