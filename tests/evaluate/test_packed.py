"""Whatever a head says of a unit, it says alone and among others in a row, on one device and on eight."""

import functools

import jax
import numpy as np
import pytest

from xlmr_flax.config.architecture import PRESETS, Architecture
from xlmr_flax.config.schema import Mesh as MeshSizes
from xlmr_flax.data.batches import evaluation_batches
from xlmr_flax.data.encoded import joined
from xlmr_flax.data.examples import Examples
from xlmr_flax.model.heads import HeadSpec
from xlmr_flax.train.exchanges import make_model
from xlmr_flax.train.sharding import make_mesh
from xlmr_flax.train.state import initial_params, place_batch
from xlmr_flax.train.step import make_embed_step, make_predict_step, make_vector_step

SPECS = {
    "sequence": HeadSpec("sequence", 3),
    "choice": HeadSpec("choice", 2),
    "token": HeadSpec("token", 5),
    "span": HeadSpec("span"),
    "dual": HeadSpec("dual"),
    "embedding": HeadSpec("mlm"),  # of any model's encoder
}
ARCH = Architecture(**{**PRESETS["tiny"], "vocab_size": 90, "initializer_range": 0.3})


def examples_of(kind):
    """Units of 4 to 15 tokens; none needs the longer of two rows."""
    random, per = np.random.default_rng(0), 2 if kind in ("choice", "dual") else 1
    units = [np.array([0, *random.integers(5, 90, size), 2], np.int32) for size in random.integers(2, 14, 40 * per)]
    label = np.zeros(sum(map(len, units)) if kind == "token" else (40, 2) if kind == "span" else 40, np.int32)
    encoded = joined(units, np.repeat(np.arange(40), per), {}, label)
    return Examples(kind, encoded, 64, 1, units_per_item=per)


def steps_of(kind, model, params):
    """What is computed of a batch, as arrays by row and slot or by item."""
    match kind:
        case "embedding":
            step = make_embed_step(model, poolings=("mean", "first"), layers=(0, 2))
            return lambda tokens, target: np.moveaxis(step(params, tokens, target.first_BS), (0, 1), (2, 3))
        case "dual":
            step = make_vector_step(model)
            return lambda tokens, target: np.asarray(step(params, tokens, target.first_BS))
    step = make_predict_step(model)
    return lambda tokens, target: jax.tree.map(np.asarray, step(params, tokens, target))


def said(kind, mesh, *, packing):
    """The numbers of every unit, or of every example of several, and how many positions they took."""
    model = make_model(ARCH, SPECS[kind], compute="float32", mesh=mesh)
    step, found, positions = steps_of(kind, model, initial_params(model, mesh, key=jax.random.key(2))), {}, 0
    for shown, batch in evaluation_batches(examples_of(kind), rows=16, packing=packing):
        placed = place_batch(batch, mesh, lead=0)
        out, positions = step(placed.tokens, placed.target), positions + batch.tokens.ids_BL.size
        if kind == "choice":
            found |= {int(item): scores for item, scores in zip(shown.items, out, strict=False)}
            continue
        for unit, row, slot, offset, size in zip(*shown[1:], strict=True):
            own = slice(offset, offset + size)
            match kind:
                case "token":
                    found[int(unit)] = out[row, own]
                case "span":
                    found[int(unit)] = np.stack([side[row, slot, own] for side in out])
                case _:
                    found[int(unit)] = out[row, slot]
    return found, positions


@functools.cache
def mesh_of(devices):
    return make_mesh(MeshSizes(fsdp=2 if devices > 1 else 1), jax.devices()[:devices])


@pytest.mark.parametrize("kind", SPECS)
def test_predictions_of_packed_rows_on_eight_devices_are_those_of_units_alone_on_one(kind):
    (alone, many), (packed, few) = said(kind, mesh_of(1), packing=False), said(kind, mesh_of(8), packing=True)
    assert few < 0.7 * many
    assert sorted(alone) == sorted(packed) == list(range(len(alone)))
    largest = max(np.abs(numbers).max() for numbers in alone.values())
    for unit, numbers in alone.items():
        np.testing.assert_allclose(packed[unit], numbers, rtol=0, atol=1e-5 * largest)
