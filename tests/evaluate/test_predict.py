"""Predictions: every row once, whatever divides, on one device and on eight alike."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlmr_flax.config.architecture import PRESETS, Architecture
from xlmr_flax.config.schema import Mesh as MeshSizes
from xlmr_flax.data.batches import Shown
from xlmr_flax.data.examples import Examples
from xlmr_flax.data.load import encode
from xlmr_flax.data.tokenizer import load_tokenizer, train_tokenizer
from xlmr_flax.evaluate import predict as predicting
from xlmr_flax.evaluate.predict import predict, rows_of
from xlmr_flax.evaluate.spans import best_answers
from xlmr_flax.model.heads import HeadSpec, SpanLogits
from xlmr_flax.sources.rows import Answer, Choices, Classified, Question, Tagged
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.train.exchanges import make_model
from xlmr_flax.train.sharding import make_mesh
from xlmr_flax.train.state import initial_params

LENGTH, VOCABULARY = 24, 45
TASKS = {"sequence": "xnli", "choice": "cosmosqa", "token": "udpos", "span": "xquad"}
WORDS = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "omicron",
    "pi",
    "rho",
    "sigma",
    "tau",
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    random = np.random.default_rng(0)
    train_tokenizer([" ".join(random.permutation(WORDS)) for _ in range(50)], VOCABULARY, folder)
    return load_tokenizer(folder)


@functools.cache
def rows_for(kind, count):
    random = np.random.default_rng(count)

    def text(most):
        return " ".join(random.choice(WORDS, random.integers(1, most)))

    def row(number):
        name = str(number)
        match kind:
            case "sequence":
                return Classified(name, name, text(12), text(9), "neutral")
            case "choice":
                return Choices(name, name, text(9), tuple(text(5) for _ in range(4)), 0)
            case "token":  # some are cut into several units
                words = tuple(random.choice(WORDS, random.integers(1, 30)))
                return Tagged(name, name, words, ("NOUN",) * len(words))
            case _:  # most have several windows
                context = text(60)
                return Question(name, name, context, text(4), (Answer(context.split()[0], 0),))

    return [row(number) for number in range(count)]


def examples_for(kind, count, tokenizer):
    head = task(TASKS[kind]).head
    encoded = encode(head, rows_for(kind, count), tokenizer, LENGTH)
    return Examples(kind, encoded, LENGTH, tokenizer.pad, units_per_item=head.options or 1)


def mesh_of(devices, *, fsdp=1, tensor=1):
    return make_mesh(MeshSizes(fsdp=fsdp, tensor=tensor), jax.devices()[:devices])


@dataclasses.dataclass(frozen=True)
class Echo:
    """A model whose logits are the ids themselves, so that every prediction can be told from its row."""

    kind: str
    size: int

    def apply(self, params, tokens, target, noise):
        ids_BL = tokens.ids_BL
        if self.kind == "token":
            return jax.nn.one_hot(ids_BL % self.size, self.size)
        if self.kind == "sequence":
            second_BS = jnp.take_along_axis(ids_BL, target.first_BS + 1, axis=1)
            return jax.nn.one_hot(second_BS % self.size, self.size)
        unit_BS = jnp.take_along_axis(tokens.unit_BL, target.first_BS, axis=1)
        own_BSL = unit_BS[:, :, None] == tokens.unit_BL[:, None]
        if self.kind == "choice":
            return (jnp.where(own_BSL, ids_BL[:, None], 0).sum(axis=2) % 97).reshape(-1)[target.place_EN]
        return SpanLogits(*(jnp.where(own_BSL, ids_BL[:, None] % modulus, -1e30) for modulus in (13, 17)))


def echoed(kind, rows, examples):
    """What Echo should be read as, from the encoded units and without batches."""
    encoded, head = examples.encoded, task(TASKS[kind]).head
    units = [encoded.ids[a:b] for a, b in zip(encoded.start[:-1], encoded.start[1:], strict=True)]
    match kind:
        case "sequence":
            return [head.labels[unit[1] % len(head.labels)] for unit in units]
        case "choice":
            sums = [int(unit.sum()) % 97 for unit in units]
            return [int(np.argmax(sums[i : i + 4])) for i in range(0, len(sums), 4)]
        case "token":
            found = [[""] * len(row.words) for row in rows]
            for unit, row, start in zip(units, encoded.example, encoded.start[:-1], strict=True):
                for place, word in enumerate(encoded.where[start : start + len(unit)]):
                    if word >= 0:
                        found[row][word] = head.labels[unit[place] % len(head.labels)]
            return [tuple(tags) for tags in found]
    return best_answers(rows, encoded, *([unit % modulus for unit in units] for modulus in (13.0, 17.0)))


@pytest.mark.parametrize("count", [1, 7, 63, 65])
@pytest.mark.parametrize("kind", TASKS)
def test_every_row_gets_the_prediction_of_its_own_units(kind, count, tokenizer):
    rows, examples, declared = rows_for(kind, count), examples_for(kind, count, tokenizer), task(TASKS[kind])
    model, wanted = Echo(kind, len(declared.head.labels) or 4), echoed(kind, rows, examples)
    assert len(wanted) == count
    for devices, packing in ((1, True), (1, False), (8, True)):
        mesh = mesh_of(devices)
        assert predict(model, {}, declared, rows, examples, mesh=mesh, batch_size=8, packing=packing) == wanted


def test_the_toys_have_rows_of_several_units(tokenizer):
    for kind in ("token", "span"):
        assert examples_for(kind, 65, tokenizer).items > 70
    assert examples_for("choice", 65, tokenizer).items == 65


@pytest.mark.parametrize("kind", TASKS)
def test_a_real_model_predicts_the_same_packed_on_one_device_and_on_eight(kind, tokenizer):
    rows, examples, declared = rows_for(kind, 65), examples_for(kind, 65, tokenizer), task(TASKS[kind])
    arch = Architecture(**{**PRESETS["tiny"], "vocab_size": VOCABULARY, "initializer_range": 0.5})
    spec = HeadSpec(kind, len(declared.head.labels) or declared.head.options or 0)
    found = []
    for mesh, packing in ((mesh_of(1), False), (mesh_of(1), True), (mesh_of(8, fsdp=2, tensor=2), True)):
        model = make_model(arch, spec, compute="float32", mesh=mesh)
        params = initial_params(model, mesh, key=jax.random.key(1))
        found.append(predict(model, params, declared, rows, examples, mesh=mesh, batch_size=8, packing=packing))
    assert found[0] == found[1] == found[2]
    assert len(set(map(str, found[0]))) > 1


def test_an_item_that_is_never_predicted_is_noticed(tokenizer, monkeypatch):
    rows, examples = rows_for("sequence", 7), examples_for("sequence", 7, tokenizer)
    items, none = np.array([0, 1, 1, 2, 3, 4]), np.zeros(6, int)
    shown = Shown(items, items, np.arange(6), none, none, none)
    monkeypatch.setattr(
        predicting,
        "evaluation_batches",
        lambda examples, *, rows, packing: [(shown, examples.batch(np.zeros(8, int), length=24))],
    )
    with pytest.raises(AssertionError, match="xnli: 3 of 7 items were not predicted exactly once"):
        predict(Echo("sequence", 3), {}, task("xnli"), rows, examples, mesh=mesh_of(1), batch_size=8)


def test_rows_of_a_batch_are_rounded_up_to_whole_examples_on_every_device(tokenizer):
    choice, sequence = (examples_for(kind, 7, tokenizer) for kind in ("choice", "sequence"))
    assert rows_of(64, sequence, mesh_of(8)) == 64
    assert rows_of(60, sequence, mesh_of(8, tensor=2)) == 60
    assert rows_of(61, sequence, mesh_of(8)) == 64
    assert rows_of(64, choice, mesh_of(8)) == 64
    assert rows_of(33, choice, mesh_of(8, fsdp=2)) == 64
    assert rows_of(1, choice, mesh_of(1)) == 4
