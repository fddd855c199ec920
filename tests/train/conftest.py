"""Toys that a tiny encoder learns in a few steps, one for each head, on meshes of simulated devices."""

import functools
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from xlmr_flax.config.architecture import PRESETS, Architecture
from xlmr_flax.config.schema import Mesh as MeshSizes
from xlmr_flax.config.schema import Optim
from xlmr_flax.data.batches import TrainingBatches
from xlmr_flax.data.encoded import joined
from xlmr_flax.data.examples import Examples
from xlmr_flax.data.masking import Masking
from xlmr_flax.model.heads import HeadSpec
from xlmr_flax.train.exchanges import make_model
from xlmr_flax.train.sharding import dotted, make_mesh, row_shards
from xlmr_flax.train.state import State, abstract_state, place_batch, place_course
from xlmr_flax.train.step import make_train_step

VOCABULARY, LENGTH, BATCH, EXAMPLES = 150, 16, 32, 96
SPECS = {
    "sequence": HeadSpec("sequence", 3),
    "choice": HeadSpec("choice", 2),
    "token": HeadSpec("token", 5),
    "span": HeadSpec("span"),
    "mlm": HeadSpec("mlm"),
    "dual": HeadSpec("dual", scale=10.0),
}
MESHES = {
    "one": MeshSizes(data=1),
    "data": MeshSizes(data=8),
    "fsdp": MeshSizes(data=1, fsdp=8),
    "tensor": MeshSizes(data=4, tensor=2),
    "mix": MeshSizes(data=2, fsdp=2, tensor=2),
    "four": MeshSizes(data=1, fsdp=2, tensor=2),
    "pair": MeshSizes(data=1, tensor=2),
}
# Adam divides by the root of the second moment: with its eps of 1e-8 the rounding errors of gradients that are zero
# in exact arithmetic (those of the keys' biases) become whole steps. This one keeps small what is small.
OPTIM = Optim(peak_lr=1e-2, warmup_frac=0.0, eps=1e-2, weight_decay=0.01)


def toy(kind: str) -> Examples:
    """Units of 9 to 16 tokens whose labels can be read from their ids."""
    random = np.random.default_rng(7)
    per = 2 if kind in ("choice", "dual") else 1
    sizes = random.integers(7, LENGTH - 1, EXAMPLES * per)
    bodies = [random.integers(20, VOCABULARY, size).astype(np.int32) for size in sizes]
    label, masking = np.zeros(0, np.int32), None
    match kind:
        case "sequence":
            label = random.integers(0, 3, EXAMPLES).astype(np.int32)
            for body, value in zip(bodies, label, strict=True):
                body[1] = 5 + value
        case "choice":
            label = random.integers(0, 2, EXAMPLES).astype(np.int32)
            for example, value in enumerate(label):
                bodies[2 * example + value][1], bodies[2 * example + 1 - value][1] = 5, 6
        case "span":
            starts = random.integers(0, 5, EXAMPLES)
            for body, start in zip(bodies, starts, strict=True):
                body[[start, start + 1]] = 5, 6
            label = np.stack([starts + 1, starts + 2], axis=1).astype(np.int32)
        case "dual":
            label = random.integers(0, 60, EXAMPLES).astype(np.int32)  # some documents answer several queries
            for example, value in enumerate(label):
                bodies[2 * example][:], bodies[2 * example + 1][:] = 20 + value, 80 + value
        case "mlm":
            bodies = [np.full(len(body), body[0] % 8 + 20, np.int32) for body in bodies]
            masking = Masking(0.3, 4, np.arange(5, VOCABULARY), (0, 1, 2, 3, 4))
    units = [np.array([0, *body, 2], np.int32) for body in bodies]
    encoded = joined(units, np.repeat(np.arange(EXAMPLES), per), {}, label)
    if kind == "token":
        ids = encoded.ids
        encoded = encoded._replace(label=np.where(ids < 20, -100, ids % 5).astype(np.int32))
    return Examples(kind, encoded, LENGTH, 1, units_per_item=per, masking=masking)


class Trainer(NamedTuple):
    """A phase's parts without its loop."""

    model: Any
    mesh: Mesh
    batches: TrainingBatches
    step: Callable[[State, Any, Any], tuple[State, Any]]
    course: Any
    start: Callable[[], State]

    def place(self, step: int) -> Any:
        return place_batch(self.batches(step), self.mesh, lead=1)

    def run(self, steps: int) -> tuple[State, list[float]]:
        state, losses = self.start(), []
        for step in range(steps):
            state, tally = self.step(state, self.place(step), self.course)
            losses.append(float(tally.total) / float(tally.count))
        return state, losses


def drawn(like: State) -> State:
    """A state in these shapes and places, made on the host: compiling its initialisers takes longer than most tests."""

    def leaf(path: Any, x: Any) -> jax.Array:
        name = dotted(path)
        value = np.zeros(x.shape, x.dtype)
        if name.startswith("params") and not name.endswith("bias"):
            random = np.random.default_rng(zlib.crc32(name.encode()))
            value += 0.1 * random.standard_normal(x.shape, np.float32) + name.endswith("scale")
        if name.endswith("embeddings.words"):
            value[VOCABULARY:] = 0
        return jax.device_put(value, x.sharding)

    return jax.tree_util.tree_map_with_path(leaf, like)


@functools.cache
def mesh_of(name: str) -> Mesh:
    sizes = MESHES[name]
    return make_mesh(sizes, jax.devices()[: (sizes.data or 1) * sizes.fsdp * sizes.tensor])


@functools.cache
def trainer_of(
    kind: str,
    mesh: str = "one",
    *,
    micro_batches: int = 1,
    seed: int = 3,
    steps: int = 100,
    optim: Optim = OPTIM,
    packed: bool = False,
    passes: tuple[tuple[str, object], ...] = (),
) -> Trainer:
    model = make_model(ARCH, SPECS[kind], compute="float32", mesh=mesh_of(mesh), **dict(passes))

    def start() -> State:
        return drawn(abstract_state(model, optim, mesh_of(mesh)))

    examples = toy(kind)
    batches = TrainingBatches(
        examples,
        np.arange(examples.items),
        batch_size=BATCH,
        micro_batches=micro_batches,
        seed=seed,
        packed_over=row_shards(mesh_of(mesh)) if packed else None,
    )
    course = place_course(optim, mesh_of(mesh), seed=seed, steps=steps)
    return Trainer(model, mesh_of(mesh), batches, make_train_step(model, optim, mesh_of(mesh)), course, start)


ARCH = Architecture(vocab_size=VOCABULARY, **PRESETS["tiny"])  # dropout 0.1 everywhere


@pytest.fixture(scope="session")
def arch() -> Architecture:
    return ARCH


@pytest.fixture(scope="session")
def optim() -> Optim:
    return OPTIM


@pytest.fixture(scope="session")
def specs() -> dict[str, HeadSpec]:
    return SPECS


@pytest.fixture(scope="session")
def mesh() -> Callable[[str], Mesh]:
    """A mesh by its name: one, data, fsdp, tensor, mix, four."""
    return mesh_of


@pytest.fixture(scope="session")
def trainer() -> Callable[..., Trainer]:
    """The parts of a phase on a toy, by head kind and mesh; equal ones once."""
    return trainer_of


@pytest.fixture(scope="session")
def examples() -> Callable[[str], Examples]:
    return toy


@pytest.fixture(scope="session")
def finished(trainer: Callable[..., Trainer]) -> Callable[..., tuple[State, list[float]]]:
    """The state and the losses after a few steps, by head kind and mesh."""
    return functools.cache(lambda kind, mesh, steps=3, **how: trainer(kind, mesh, **how).run(steps))
