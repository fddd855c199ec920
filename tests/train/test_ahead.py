"""Programs are compiled in the order in which steps want them, before they do, and no others are."""

import threading

import jax
import jax.numpy as jnp
import pytest

from xlmr_flax.data.batch import Batch, Tokens
from xlmr_flax.train import ahead
from xlmr_flax.train.ahead import Ahead
from xlmr_flax.train.clock import shape_of


class Batches:
    """Batches of which only the shapes are there."""

    def __init__(self, *lengths):
        self.lengths, self.shapes = lengths, (8, 16, 32, 64)

    def shape(self, step):
        return 4, self.lengths[step]

    def __call__(self, step):
        tokens = jax.ShapeDtypeStruct((1, 4, self.lengths[step]), jnp.int32)
        return Batch(Tokens(tokens, tokens, tokens), None)


def length(batch):
    return batch.tokens.ids_BL.shape[-1]


def test_a_rare_shape_is_compiled_before_its_step_and_one_that_no_step_has_never():
    batches, compiled, ready = Batches(*[16] * 50, 64, 16, 32), [], threading.Event()

    def compile_(batch):
        compiled.append(length(batch))
        if len(compiled) == 3:
            ready.set()

    with Ahead(batches, start=0, stop=53, compile=compile_, say=pytest.fail) as programs:
        step = programs.step(lambda state, batch: (state, length(batch)))
        assert ready.wait(60)
        assert [step(None, batches(now))[1] for now in (0, 50, 52)] == [16, 64, 32]
    assert compiled == [16, 64, 32]


def test_what_is_behind_is_not_compiled():
    batches, compiled = Batches(64, 16, 16), []
    with Ahead(batches, start=1, stop=3, compile=lambda batch: compiled.append(length(batch)), say=pytest.fail):
        pass
    assert compiled in ([], [16])  # it may have ended before it began


def test_a_step_waits_for_its_program_and_says_so(monkeypatch):
    monkeypatch.setattr(ahead, "PATIENCE_SECS", 0.01)
    batches, said, begun, go = Batches(16), [], threading.Event(), threading.Event()

    def compile_(batch):
        begun.set()
        assert go.wait(60)

    def say(text):
        said.append(text)
        go.set()

    with Ahead(batches, start=0, stop=1, compile=compile_, say=say) as programs:
        assert begun.wait(60)
        programs.step(lambda state, batch: (state, None))(None, batches(0))
    assert said == ["compiling the step of 4 rows of 16 tokens"]


def test_a_shape_that_nobody_compiles_yet_is_left_to_the_step():
    batches = Batches(16)
    programs = Ahead(batches, start=0, stop=1, compile=pytest.fail, say=pytest.fail)
    assert programs.step(lambda state, batch: (state, "stepped"))(None, batches(0)) == (None, "stepped")
    with programs:  # and it is not compiled a second time
        pass


def test_what_goes_wrong_in_the_compiler_is_raised_by_the_step():
    def compile_(batch):
        raise MemoryError("RESOURCE_EXHAUSTED")

    batches = Batches(16)
    with Ahead(batches, start=0, stop=1, compile=compile_, say=print) as programs:
        while not programs._programs:
            pass
        with pytest.raises(MemoryError, match="RESOURCE_EXHAUSTED"):
            programs.step(lambda state, batch: (state, None))(None, batches(0))


@pytest.mark.parametrize("micro_batches", [1, 2])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["choice", "mlm"])
def test_the_shape_of_a_step_is_known_without_its_batch(kind, packed, micro_batches, trainer):
    batches = trainer(kind, "one", packed=packed, micro_batches=micro_batches).batches
    assert [batches.shape(step) for step in range(5)] == [shape_of(batches(step)) for step in range(5)]
