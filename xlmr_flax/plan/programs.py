"""A phase's programs as they would be compiled: its own steps, at the shapes of its own batches."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from xlmr_flax.config.architecture import Architecture
from xlmr_flax.config.schema import Optim
from xlmr_flax.data.batch import Batch, MaskedTarget, Tokens
from xlmr_flax.data.batches import TrainingBatches, real_tokens
from xlmr_flax.data.encoded import Encoded
from xlmr_flax.data.examples import Examples
from xlmr_flax.data.masking import Masking
from xlmr_flax.data.mixture import MixedBatches
from xlmr_flax.model.build import Model
from xlmr_flax.model.heads import Pooling
from xlmr_flax.model.smoothing import Smoothing
from xlmr_flax.train.optimizer import make_optimizer
from xlmr_flax.train.sharding import ROWS, TOKENS
from xlmr_flax.train.state import Course, MakeOptimizer, abstract_params, abstract_state
from xlmr_flax.train.step import make_embed_step, make_predict_step, make_train_step, make_vector_step

SAMPLED_STEPS = 64  # of a phase, to see how often each shape comes


class Shape(NamedTuple):
    """One shape of batch, with one of its batches and what batches of this shape hold on average."""

    rows: int  # of all devices and micro-batches
    length: int
    share: float | None  # of the steps; None is unknown
    batch: Batch
    items: float
    tokens: float  # that are not padding
    flops: float  # of a forward pass over them
    task: str | None = None  # whose, in a phase of several


class Measured(NamedTuple):
    """What one batch adds to its shape."""

    batch: Batch
    items: int
    tokens: int
    flops: float


def training_shapes(batches: TrainingBatches, arch: Architecture, *, steps: int) -> list[Shape]:
    """The shapes of a phase's first steps, the most frequent first."""
    found = (batches(step) for step in range(min(steps, SAMPLED_STEPS)))
    return shapes(((batch, batches.batch_size) for batch in found), arch)


def mixed_shapes(batches: MixedBatches, arch: Architecture, *, steps: int) -> list[Shape]:
    """The same of a phase of several tasks: the shapes of each task's first steps, by its share of all steps."""
    found: list[Shape] = []
    for task, part in batches.parts.items():
        made = (part.batch_in(number, batches.by_task[task]) for number in range(min(steps, SAMPLED_STEPS)))
        for shape in shapes(((batch, part.batch_size) for batch in made), arch):
            found.append(shape._replace(share=shape.share * float(batches.shares[task]), task=task))
    return sorted(found, key=lambda shape: -shape.share)


def shapes(found: Iterable[tuple[Batch, int]], arch: Architecture) -> list[Shape]:
    """Batches and how many items each holds, by their shape; the most frequent first."""
    by_shape: dict[tuple[int, int], list[Measured]] = {}
    for batch, items in found:
        *lead, length = batch.tokens.ids_BL.shape
        measured = Measured(batch, items, real_tokens(batch), forward_flops(arch, batch))
        by_shape.setdefault((int(np.prod(lead)), length), []).append(measured)
    count = sum(map(len, by_shape.values()))
    result = [
        Shape(
            rows,
            length,
            len(same) / count,
            same[0].batch,
            float(np.mean([one.items for one in same])),
            float(np.mean([one.tokens for one in same])),
            float(np.mean([one.flops for one in same])),
        )
        for (rows, length), same in by_shape.items()
    ]
    return sorted(result, key=lambda shape: -shape.share)


def forward_flops(arch: Architecture, batch: Batch) -> float:
    """Floating-point operations of matrix products that the real tokens of a batch need, and no padding does."""
    D, F, layers = arch.hidden_size, arch.intermediate_size, arch.num_hidden_layers
    unit = np.asarray(batch.tokens.unit_BL)
    sizes = np.unique(unit[unit >= 0], return_counts=True)[1].astype(np.float64)
    dense = layers * 2 * (4 * D**2 + 2 * D * F) * sizes.sum()
    attention = layers * 4 * D * (sizes**2).sum()
    decoded = batch.target.label_BG.size if isinstance(batch.target, MaskedTarget) else 0
    return float(dense + attention + decoded * 2 * D * (D + arch.vocab_size))


def full_examples(
    kind: str, *, items: int, units: int, length: int, mask_rate: float = 0.15, mask_id: int = 4
) -> Examples:
    """Examples that all have the full length, where the real ones are not known: no batch is larger than theirs."""
    count = items * units
    label = {
        "token": np.zeros(count * length, np.int32),
        "span": np.zeros((count, 2), np.int32),
        "mlm": np.zeros(0, np.int32),
        "embedding": np.zeros(0, np.int32),
    }.get(kind, np.arange(items, dtype=np.int32) if kind == "dual" else np.zeros(items, np.int32))
    encoded = Encoded(
        ids=np.full(count * length, mask_id + 1, np.int32),
        start=np.arange(count + 1, dtype=np.int64) * length,
        example=np.repeat(np.arange(items, dtype=np.int32), units),
        label=label,
        where=np.zeros(0, np.int32),
        counts={},
    )
    masking = Masking(mask_rate, mask_id, np.array([mask_id + 1]), (0, 1, 2)) if kind == "mlm" else None
    return Examples(kind, encoded, length, 1, units_per_item=units, masking=masking)


def train_program(
    model: Model,
    optim: Optim,
    mesh: Mesh,
    batch: Batch,
    smoothing: Smoothing | None = None,
    *,
    optimizer: MakeOptimizer = make_optimizer,
) -> jax.stages.Lowered:
    """The training step, traced and not compiled."""
    state = abstract_state(model, optim, mesh, optimizer=optimizer)
    step = make_train_step(model, optim, mesh, smoothing, optimizer=optimizer)
    return step.lower(state, abstract_batch(batch, mesh, lead=1), _course(mesh))


def predict_program(model: Model, mesh: Mesh, batch: Batch) -> jax.stages.Lowered:
    """The prediction step, traced and not compiled."""
    placed = abstract_batch(batch, mesh, lead=0)
    return make_predict_step(model).lower(abstract_params(model, mesh), placed.tokens, placed.target)


def abstract_batch(batch: Batch, mesh: Mesh, *, lead: int) -> Batch:
    """Shapes, types and shardings of a batch as `place_batch` places it."""
    rows, tokens = (NamedSharding(mesh, P(*(None,) * lead, *spec)) for spec in (ROWS, TOKENS))

    def abstract(x: Any, place: NamedSharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)

    places = Batch(Tokens(tokens, rows, rows), jax.tree.map(lambda _: rows, batch.target))
    return jax.tree.map(abstract, batch, places)


def embed_program(
    model: Model, mesh: Mesh, batch: Batch, *, poolings: tuple[Pooling, ...], layers: tuple[int, ...]
) -> jax.stages.Lowered:
    """The step that embeds sentences."""
    step = make_embed_step(model, poolings=poolings, layers=layers)
    placed = abstract_batch(batch, mesh, lead=0)
    return step.lower(abstract_params(model, mesh), placed.tokens, placed.target.first_BS)


def vector_program(model: Model, mesh: Mesh, batch: Batch) -> jax.stages.Lowered:
    """The step that gives a dual head's vectors."""
    placed = abstract_batch(batch, mesh, lead=0)
    return make_vector_step(model).lower(abstract_params(model, mesh), placed.tokens, placed.target.first_BS)


def _course(mesh: Mesh) -> Course:
    whole = NamedSharding(mesh, P())
    number = jax.ShapeDtypeStruct((), np.float32, sharding=whole)
    return Course(jax.ShapeDtypeStruct((), np.uint32, sharding=whole), number, number, number)
