"""Losses are sums over what is labelled, the same packed and unpacked; padding and empty slots weigh nothing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from xlmr_flax.data import batch
from xlmr_flax.model.build import build
from xlmr_flax.model.dropout import Noise
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
        if not filled_BS[:, 1:].any():  # an option a row, and no other slots
            return batch.ChoiceTarget(first_BS[:, :1], jnp.arange(4).reshape(2, 2), jnp.array(RIGHT), jnp.ones(2))
        place = [where[unit][0] * first_BS.shape[1] + where[unit][1] for unit in range(4)]
        place_EN = jnp.array([*place, 0, 0, 0, 0]).reshape(4, 2)  # and two that are padding
        return batch.ChoiceTarget(first_BS, place_EN, jnp.array([*RIGHT, 1, 0]), jnp.array([1.0, 1.0, 0.0, 0.0]))
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
    """(total, count) and the gradient of each head, with dropout unless the word is None."""

    def loss(model, params, each, word):
        return jax.value_and_grad(lambda params: tuple(model.loss(params, each, word)), has_aux=True)(params)

    return {kind: jax.jit(functools.partial(loss, model)) for kind, model in models.items()}


@pytest.fixture(scope="module")
def logits(models, params, alone):
    """What each head gives of the units alone, without dropout."""
    return {
        kind: jax.jit(model.apply)(params[kind], alone.tokens, target(kind, alone), None)
        for kind, model in models.items()
    }


@pytest.fixture(scope="module")
def alone(rows, units):
    return rows([[unit] for unit in units])


@pytest.fixture(scope="module")
def packed(rows, units):
    return rows([[units[0], units[1]], [units[2], units[3]]])


def log_p(logits):
    logits = np.asarray(logits, np.float64)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def expected_loss(kind, logits, laid, vocab_size):
    """Total and count computed in numpy from the logits."""
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
    return -sum(log_p(logits.logits()[..., :vocab_size])[pair] for pair in pairs), len(pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_is_the_sum_of_what_is_labelled(kind, models, logits, alone):
    total, count = models[kind].head_loss(logits[kind], target(kind, alone))
    expected, n = expected_loss(kind, logits[kind], alone, models[kind].arch.vocab_size)
    assert float(count) == n
    np.testing.assert_allclose(float(total), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_units_among_empty_rows_lose_what_they_lose_alone(kind, params, losses, alone, packed):
    (one, gradient), (two, gradient_packed) = (
        losses[kind](params[kind], batch.Batch(laid.tokens, target(kind, laid)), WORD) for laid in (alone, packed)
    )
    np.testing.assert_allclose(one, two, rtol=2e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=3e-6), gradient, gradient_packed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_nothing_has_loss_zero_and_gradient_zero(kind, params, losses, rows):
    tokens, first_BS = rows([])
    empty, none = jnp.full(tokens.ids_BL.shape, batch.IGNORED, jnp.int32), jnp.zeros(first_BS.shape)
    aim = {
        "sequence": lambda: batch.SequenceTarget(first_BS, first_BS, none),
        "choice": lambda: batch.ChoiceTarget(
            first_BS, jnp.zeros((4, 2), jnp.int32), jnp.zeros(4, jnp.int32), jnp.zeros(4)
        ),
        "token": lambda: batch.TokenTarget(empty),
        "span": lambda: batch.SpanTarget(first_BS, first_BS, first_BS, none),
        "mlm": lambda: batch.MaskedTarget(empty[:, :5] * 0, empty[:, :5]),
    }[kind]()
    (total, count), gradient = losses[kind](params[kind], batch.Batch(tokens, aim), WORD)
    assert (float(total), float(count)) == (0.0, 0.0)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))


def test_a_weight_scales_its_example(models, logits, alone):
    aim, loss = target("sequence", alone), models["sequence"].head_loss
    first, second, both = (
        loss(logits["sequence"], aim._replace(weight_BS=jnp.zeros((4, 2)).at[:2, 0].set(jnp.array(weights))))
        for weights in ([1.0, 0.0], [0.0, 1.0], [2.0, 3.0])
    )
    np.testing.assert_allclose(both.total, 2 * first.total + 3 * second.total, rtol=1e-5)
    assert float(both.count) == 5


def test_rows_beyond_the_vocabulary_are_never_guessed_and_never_learnt(models, params, losses, logits, alone):
    size, kept = models["mlm"].arch.vocab_size, padded_rows(models["mlm"].arch.vocab_size)
    logits_BGV = np.asarray(logits["mlm"].logits())
    assert logits_BGV.shape == (4, 5, kept)
    assert (logits_BGV[..., size:] == np.float32(NEVER)).all()
    _, gradient = losses["mlm"](params["mlm"], batch.Batch(alone.tokens, target("mlm", alone)), WORD)
    words, bias = gradient["encoder"]["embeddings"]["words"], gradient["head"]["bias"]
    assert not words[size:].any()
    assert not bias[size:].any()
    assert (np.abs(words[:size]).max(-1) > 0).all()  # tied: every real word is decoded


def head_moves(kind, arch, specs, params, laid, rates):
    """How much noise moves the head's logits of fixed states under some dropout rates."""
    model = build(arch.model_copy(update=rates), specs[kind], "float32")
    head = nnx.merge(model.head, params[kind]["head"])
    x_BLD = jax.random.normal(jax.random.key(0), (*laid.tokens.ids_BL.shape, arch.hidden_size))
    words = params[kind]["encoder"]["embeddings"]["words"]
    noise = Noise(WORD, laid.tokens.unit_BL, laid.tokens.position_BL)
    noisy, plain = (head(x_BLD, words, laid.tokens, target(kind, laid), each) for each in (noise, None))
    return max(
        np.abs(np.asarray(a - b)).max() for a, b in zip(jax.tree.leaves(noisy), jax.tree.leaves(plain), strict=True)
    )


@pytest.mark.parametrize(
    ("kind", "own", "hidden"),
    [  # which of classifier_dropout and hidden_dropout_prob a head obeys, as in transformers
        ("sequence", True, False),
        ("token", True, False),
        ("choice", False, True),
        ("span", False, False),
        ("mlm", False, False),
    ],
)
def test_each_head_drops_by_the_rate_that_transformers_gives_it(kind, own, hidden, arch, specs, params, alone):
    moves = functools.partial(head_moves, kind, arch, specs, params, alone)
    assert (moves({"classifier_dropout": 0.5, "hidden_dropout_prob": 0.0}) > 1e-3) == own
    assert (moves({"classifier_dropout": 0.0, "hidden_dropout_prob": 0.5}) > 1e-3) == hidden
    assert (moves({"classifier_dropout": None, "hidden_dropout_prob": 0.5}) > 1e-3) == (own or hidden)


def test_cross_entropy_is_stable_far_from_zero():
    logits = jnp.array([[1e4, 0.0, -1e4]])
    assert float(cross_entropy(logits, jnp.array([0]))[0]) == 0
    assert float(cross_entropy(logits, jnp.array([2]))[0]) == 2e4


def test_tallies_add_and_are_not_divided():
    one, two = batch.Tally(jnp.float32(6), jnp.float32(3)), batch.Tally(jnp.float32(1), jnp.float32(1))
    assert one + two == batch.Tally(jnp.float32(7), jnp.float32(4))
