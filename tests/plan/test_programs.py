"""Batches without data, their shapes, and that they are laid out as real ones are."""

import jax
import numpy as np
import pytest

from xlmr_flax.config.architecture import Architecture
from xlmr_flax.config.schema import Mesh
from xlmr_flax.data.batches import TrainingBatches, evaluation_batches
from xlmr_flax.plan.programs import abstract_batch, forward_flops, full_examples, shapes, training_shapes
from xlmr_flax.train.sharding import make_mesh
from xlmr_flax.train.state import place_batch

TINY = Architecture(
    vocab_size=100, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64
)  # fmt: skip
UNITS = {"sequence": 1, "choice": 4, "token": 1, "span": 1, "mlm": 1, "dual": 2}


def batches(kind, *, length=16, batch_size=8, micro=1, examples=None):
    """A phase's batches of full examples."""
    examples = examples or full_examples(kind, items=batch_size, units=UNITS[kind], length=length)
    return TrainingBatches(examples, np.arange(examples.items), batch_size=batch_size, micro_batches=micro, seed=0)


@pytest.mark.parametrize("kind", UNITS)
def test_full_examples_fill_every_position_of_any_head(kind):
    (found,) = training_shapes(batches(kind), TINY, steps=1)
    rows = 8 * UNITS[kind]
    assert (found.rows, found.length, found.share, found.items, found.tokens) == (rows, 16, 1, 8, rows * 16)


def test_sentences_to_embed_fill_every_position_too():
    examples = full_examples("embedding", items=8, units=1, length=16)
    (found,) = shapes(((batch, 8) for _, batch in evaluation_batches(examples, rows=8)), TINY)
    assert (found.rows, found.length, found.tokens) == (8, 16, 128)


def test_micro_batches_count_together():
    (found,) = training_shapes(batches("sequence", micro=2), TINY, steps=1)
    assert (found.rows, found.batch.tokens.ids_BL.shape) == (8, (2, 4, 16))


@pytest.mark.parametrize("kind", UNITS)
def test_a_batch_that_is_not_there_is_laid_out_as_a_real_one(kind):
    mesh = make_mesh(Mesh(fsdp=4))
    batch = batches(kind, micro=1)(0)
    real, abstract = place_batch(batch, mesh, lead=1), abstract_batch(batch, mesh, lead=1)
    same = jax.tree.map(
        lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype) and a.sharding.is_equivalent_to(b.sharding, a.ndim),
        real,
        abstract,
    )
    assert all(jax.tree.leaves(same))


def test_shapes_come_with_how_often_they_do():
    long, short = batches("sequence", length=32)(0), batches("sequence", length=16)(0)
    found = shapes([(long, 8), (short, 8), (short, 8), (short, 8)], TINY)
    assert [(one.length, one.share, one.tokens) for one in found] == [(16, 0.75, 128), (32, 0.25, 256)]


def test_flops_are_those_of_all_products_with_weights_and_of_attention():
    batch = batches("sequence", length=16, batch_size=2)(0)
    weights = 3 * (4 * 32 * 32 + 2 * 32 * 64)
    attention = 3 * 2 * 2 * 32 * 16 * 16  # layers, units, products, width, queries x keys
    assert forward_flops(TINY, batch) == 2 * 32 * weights + 2 * attention


def test_padding_takes_no_flops():
    batch = batches("sequence", length=16, batch_size=2)(0)
    unit_BL = batch.tokens.unit_BL.copy()
    unit_BL[..., 1, :] = -1
    half = batch._replace(tokens=batch.tokens._replace(unit_BL=unit_BL))
    assert forward_flops(TINY, half) == forward_flops(TINY, batch) / 2
