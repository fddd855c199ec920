"""Losses are sums over what is labelled, the same packed and unpacked; padding and empty slots weigh nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlmr_flax.model import batch
from xlmr_flax.model.build import build
from xlmr_flax.model.encoder import NEVER, padded_rows
from xlmr_flax.model.heads import cross_entropy

WORD = jnp.uint32(11)
KINDS = ("sequence", "choice", "token", "span", "mlm")

# What is asked of each unit: class, tags by position, span within it, masked positions and their words.
CLASSES = {0: 2, 1: 0, 2: 1, 3: 1}
TAGS = {0: {1: 4, 3: 0}, 1: {2: 3}, 2: {}, 3: {1: 1, 5: 2}}
SPANS = {0: (2, 4), 1: (0, 0), 2: (1, 1), 3: (3, 6)}
MASKS = {0: {1: 77, 8: 5}, 1: {3: 149}, 2: {1: 4}, 3: {}}
RIGHT = (1, 0)  # of the choices (units 0 and 1, units 2 and 3)


def target(kind, laid):
    """The target of rows, from where each unit lies in them: {unit: (row, slot, start)}."""
    tokens, first_BS = laid
    B, L = tokens.ids_BL.shape
    filled_BS = np.zeros(first_BS.shape)
    where = {}
    for row, slot in np.ndindex(*first_BS.shape):
        unit = int(tokens.unit_BL[row, first_BS[row, slot]])
        if unit >= 0 and unit not in where:
            where[unit] = (row, slot, int(first_BS[row, slot]))
            filled_BS[row, slot] = 1
    weight_BS = jnp.array(filled_BS, jnp.float32)

    def by_slot(values):
        out = np.zeros(first_BS.shape, np.int32)
        for unit, (row, slot, start) in where.items():
            out[row, slot] = values(unit, start)
        return jnp.array(out)

    if kind == "sequence":
        return batch.SequenceTarget(first_BS, by_slot(lambda unit, start: CLASSES[unit]), weight_BS)
    if kind == "choice":
        return batch.ChoiceTarget(first_BS, jnp.array(RIGHT), jnp.ones(2))
    if kind == "span":
        start, end = (by_slot(lambda unit, at, side=side: at + SPANS[unit][side]) for side in (0, 1))
        return batch.SpanTarget(first_BS, start, end, weight_BS)
    labelled = TAGS if kind == "token" else MASKS
    label_BL = np.full((B, L), batch.IGNORED, np.int32)
    for unit, (row, _, start) in where.items():
        for position, label in labelled[unit].items():
            label_BL[row, start + position] = label
    if kind == "token":
        return batch.TokenTarget(jnp.array(label_BL))
    masked_BG, label_BG = np.zeros((B, 5), np.int32), np.full((B, 5), batch.IGNORED, np.int32)
    for row in range(B):
        (at,) = np.nonzero(label_BL[row] != batch.IGNORED)
        masked_BG[row, : len(at)], label_BG[row, : len(at)] = at, label_BL[row, at]
    return batch.MaskedTarget(jnp.array(masked_BG), jnp.array(label_BG))


@pytest.fixture(scope="module")
def losses(models):
    """Loss and gradient of each head, compiled once a shape."""
    return {
        kind: jax.jit(jax.value_and_grad(lambda p, b, n, m=model: m.loss(p, b, n), has_aux=False))
        if False
        else jax.jit(lambda p, b, n, m=model: jax.value_and_grad(lambda p: tuple(m.loss(p, b, n)), has_aux=True)(p))
        for kind, model in models.items()
    }


@pytest.fixture(scope="module")
def alone(rows, units):
    return rows([[unit] for unit in units], 12)


@pytest.fixture(scope="module")
def packed(rows, units):
    return rows([[units[0], units[1]], [units[2], units[3]]], 20)


def log_p(logits):
    logits = np.asarray(logits, np.float64)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def expected_loss(kind, model, params, laid):
    """Total and count computed in numpy from the logits."""
    aim = target(kind, laid)
    logits = model.apply(params, laid.tokens, aim, None)
    if kind == "sequence":
        return -sum(log_p(logits)[unit, 0, CLASSES[unit]] for unit in CLASSES), 4
    if kind == "choice":
        assert logits.shape == (2, 2)
        return -sum(log_p(logits)[e, right] for e, right in enumerate(RIGHT)), 2
    if kind == "token":
        pairs = [(unit, position, label) for unit in TAGS for position, label in TAGS[unit].items()]
        return -sum(log_p(logits)[pair] for pair in pairs), len(pairs)
    if kind == "span":
        total = 0
        for unit, (start, end) in SPANS.items():
            n = int((laid.tokens.unit_BL[unit] >= 0).sum())
            assert (np.asarray(logits.start_BSL)[unit, 0, n:] == np.float32(NEVER)).all()
            total -= (log_p(logits.start_BSL[unit, 0, :n])[start] + log_p(logits.end_BSL[unit, 0, :n])[end]) / 2
        return total, 4
    pairs = [(u, i, label) for u in MASKS for i, label in enumerate(MASKS[u].values())]
    real = log_p(logits[..., : model.arch.vocab_size])
    return -sum(real[pair] for pair in pairs), len(pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_is_the_sum_of_what_is_labelled(kind, models, params, losses, alone):
    (total, count), _ = losses[kind](params[kind], batch.Batch(alone.tokens, target(kind, alone)), None)
    expected, n = expected_loss(kind, models[kind], params[kind], alone)
    assert float(count) == n
    np.testing.assert_allclose(float(total), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("word", [None, WORD], ids=["without dropout", "with dropout"])
def test_packed_units_lose_what_they_lose_alone(kind, word, params, losses, alone, packed):
    (one, gradient), (two, gradient_packed) = (
        losses[kind](params[kind], batch.Batch(laid.tokens, target(kind, laid)), word) for laid in (alone, packed)
    )
    np.testing.assert_allclose(one, two, rtol=2e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=3e-6), gradient, gradient_packed)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_padding_and_empty_slots_add_nothing(kind, params, losses, rows, units, alone):
    laid = rows([[units[0], units[1]], [units[2], units[3]], [], []], 20)
    aim = target(kind, laid)
    if kind == "choice":
        aim = aim._replace(label_E=jnp.array([*RIGHT, 1, 0]), weight_E=jnp.array([1.0, 1.0, 0.0, 0.0]))
    (one, _), (two, gradient) = (
        losses[kind](params[kind], batch.Batch(each.tokens, each_aim), WORD)
        for each, each_aim in ((alone, target(kind, alone)), (laid, aim))
    )
    np.testing.assert_allclose(one, two, rtol=2e-6)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_nothing_has_loss_zero_and_gradient_zero(kind, params, losses, rows):
    tokens, first_BS = rows([[], []], 8)
    empty, zero = jnp.full((2, 8), batch.IGNORED), jnp.zeros((2, 1), jnp.int32)
    aim = {
        "sequence": lambda: batch.SequenceTarget(first_BS, zero, jnp.zeros((2, 1))),
        "choice": lambda: batch.ChoiceTarget(first_BS, jnp.zeros(1, jnp.int32), jnp.zeros(1)),
        "token": lambda: batch.TokenTarget(empty),
        "span": lambda: batch.SpanTarget(first_BS, zero, zero, jnp.zeros((2, 1))),
        "mlm": lambda: batch.MaskedTarget(empty * 0, empty),
    }[kind]()
    (total, count), gradient = losses[kind](params[kind], batch.Batch(tokens, aim), WORD)
    assert (float(total), float(count)) == (0.0, 0.0)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))


def test_a_weight_scales_its_example(params, losses, alone):
    aim = target("sequence", alone)
    each = [
        losses["sequence"](
            params["sequence"], batch.Batch(alone.tokens, aim._replace(weight_BS=jnp.array(w)[:, None])), None
        )[0]
        for w in ([1.0, 0, 0, 0], [0, 1.0, 0, 0], [2.0, 3.0, 0, 0])
    ]
    np.testing.assert_allclose(each[2][0], 2 * each[0][0] + 3 * each[1][0], rtol=1e-5)
    assert float(each[2][1]) == 5


def test_rows_beyond_the_vocabulary_are_never_guessed_and_never_learnt(models, params, losses, alone):
    aim = target("mlm", alone)
    size, kept = models["mlm"].arch.vocab_size, padded_rows(models["mlm"].arch.vocab_size)
    logits = models["mlm"].apply(params["mlm"], alone.tokens, aim, None)
    assert logits.shape == (4, 5, kept)
    assert (np.asarray(logits[..., size:]) == np.float32(NEVER)).all()
    _, gradient = losses["mlm"](params["mlm"], batch.Batch(alone.tokens, aim), None)
    words, bias = gradient["encoder"]["embeddings"]["words"], gradient["head"]["bias"]
    assert not words[size:].any()
    assert not bias[size:].any()
    assert (np.abs(words[:size]).max(-1) > 0).all()  # tied: every real word is decoded


def test_only_masked_positions_meet_the_vocabulary(models, params, alone):
    model = models["mlm"]
    aim = target("mlm", alone)
    text = str(jax.make_jaxpr(lambda p: model.loss(p, batch.Batch(alone.tokens, aim), None))(params["mlm"]))
    rows, kept = alone.tokens.ids_BL.shape[0], padded_rows(model.arch.vocab_size)
    assert f"f32[{rows},5,{kept}]" in text
    assert f"f32[{rows},12,{kept}]" not in text


@pytest.mark.parametrize("kind", ["sequence", "token"])
def test_classifier_dropout_is_the_heads_own_rate(kind, arch, specs, params, alone):
    calm = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}

    def logits(rates):
        model = build(arch.model_copy(update=rates), specs[kind], "float32")
        return np.asarray(model.apply(params[kind], alone.tokens, target(kind, alone), WORD))

    none = logits({**calm, "classifier_dropout": 0.0})
    np.testing.assert_array_equal(none, logits(calm))  # None: as hidden_dropout_prob
    assert np.abs(none - logits({**calm, "classifier_dropout": 0.5})).max() > 1e-2


@pytest.mark.parametrize("kind", ["choice", "span", "mlm"])
def test_the_other_heads_do_not_read_classifier_dropout(kind, arch, specs, params, alone):
    one, two = (
        build(arch.model_copy(update={"classifier_dropout": rate}), specs[kind], "float32").apply(
            params[kind], alone.tokens, target(kind, alone), WORD
        )
        for rate in (None, 0.5)
    )
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_choice_drops_with_the_hidden_rate(arch, specs, params, alone):
    one, two = (
        build(
            arch.model_copy(update={"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, **rate}),
            specs["choice"],
            "float32",
        ).apply(params["choice"], alone.tokens, target("choice", alone), WORD)
        for rate in ({}, {"hidden_dropout_prob": 1e-9})
    )
    np.testing.assert_allclose(one, two, rtol=1e-6)
    head = build(arch.model_copy(update={"hidden_dropout_prob": 0.5}), specs["choice"], "float32")
    x_BLD = jnp.ones((4, 12, 32))
    from flax import nnx

    from xlmr_flax.model.dropout import Noise

    module = nnx.merge(head.head, params["choice"]["head"])
    noise = Noise(WORD, alone.tokens.unit_BL, alone.tokens.position_BL)
    aim = target("choice", alone)
    dropped, plain = (module(x_BLD, None, alone.tokens, aim, each) for each in (noise, None))
    assert np.abs(np.asarray(dropped - plain)).max() > 1e-3


def test_cross_entropy_is_stable_far_from_zero():
    logits = jnp.array([[1e4, 0.0, -1e4]])
    assert float(cross_entropy(logits, jnp.array([0]))[0]) == 0
    assert float(cross_entropy(logits, jnp.array([2]))[0]) == 2e4


def test_tallies_add_and_are_not_divided():
    one, two = batch.Tally(jnp.float32(6), jnp.float32(3)), batch.Tally(jnp.float32(1), jnp.float32(1))
    assert one + two == batch.Tally(jnp.float32(7), jnp.float32(4))
