"""Packing is exact: loss, gradients and updates are those of a row for each unit, for every head, on any mesh."""

import jax
import numpy as np
import optax
import pytest

from xlmr_flax.train.step import batch_gradients, summed_gradients

KINDS = ("sequence", "choice", "token", "span", "mlm", "dual")
# A softmax over options or over positions is the same when all its logits move together: the gradient of their common
# bias is zero in exact arithmetic, and what stands there is the rounding of a sum.
ZERO_BIAS = ("choice", "span")


def farthest(one, other):
    """The largest difference of two trees, in units of the largest number of each leaf or of a hundredth of all.

    A gradient that is zero in exact arithmetic, as that of the bias which all options of a choice share, is what
    rounding left of terms as large as any: of all is then its unit.
    """
    largest = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(one))

    def of_leaf(a, b):
        a, b = np.asarray(a), np.asarray(b)
        zero = max(np.abs(a).max(), np.abs(b).max()) < 1e-6 * largest
        return float(np.abs(a - b).max() / (largest if zero else max(np.abs(a).max(), largest / 100)))

    return max(jax.tree.leaves(jax.tree.map(of_leaf, one, other)))


def assert_same(kind, one, other):
    """The losses and the gradients (Adam's first moments are sums of them) to 1e-5, and the weights after a step."""
    (state, losses), (other_state, other_losses) = one, other
    np.testing.assert_allclose(other_losses, losses, rtol=1e-5)
    assert farthest(*(nonzero(kind, moments(each)) for each in (state, other_state))) < 1e-5
    assert farthest(state.params, other_state.params) < 1e-5


def nonzero(kind, gradients):
    """The gradients without the one that is zero, which is looked at here."""
    if kind not in ZERO_BIAS:
        return gradients
    largest = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(gradients))
    out = gradients["head"]["out"]
    assert np.abs(out["bias"]).max() < 1e-6 * largest
    return {**gradients, "head": {**gradients["head"], "out": {"kernel": out["kernel"]}}}


def moments(state):
    return next(part.mu for part in state.opt if isinstance(part, optax.ScaleByAdamState))


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients_are_those_of_a_row_for_each_unit_with_dropout(kind, trainer, finished):
    plain, packed = (trainer(kind, "one", packed=each).place(0) for each in (False, True))
    assert packed.tokens.ids_BL.size < 0.95 * plain.tokens.ids_BL.size
    assert packed.tokens.ids_BL.shape[-1] > plain.tokens.ids_BL.shape[-1]  # several units share a row
    assert_same(kind, finished(kind, "one", 1), finished(kind, "one", 1, packed=True))


@pytest.mark.parametrize("kind", ["sequence", *(pytest.param(kind, marks=pytest.mark.long) for kind in KINDS[1:])])
def test_loss_and_gradients_are_those_of_a_row_for_each_unit_without_dropout(kind, trainer):
    gradients = batch_gradients if kind == "dual" else summed_gradients
    plain, packed = (trainer(kind, "one", packed=each) for each in (False, True))
    find = jax.jit(lambda params, batch: gradients(plain.model, params, batch, None))
    params = plain.start().params
    (tally, wanted), (packed_tally, found) = (find(params, each.place(0)) for each in (plain, packed))
    assert float(tally.count) == float(packed_tally.count) > 0
    np.testing.assert_allclose(packed_tally.total, tally.total, rtol=1e-5)
    assert farthest(nonzero(kind, wanted), nonzero(kind, found)) < 1e-5


@pytest.mark.parametrize(
    ("kind", "mesh", "micro_batches"),
    [
        pytest.param("sequence", "data", 1, marks=pytest.mark.long),
        ("choice", "mix", 2),
        ("dual", "mix", 4),
        *(pytest.param(kind, "mix", 2, marks=pytest.mark.long) for kind in ("token", "span", "mlm")),
    ],
)
def test_updates_are_the_same_in_packed_micro_batches_on_eight_devices(kind, mesh, micro_batches, finished):
    found = finished(kind, mesh, 1, micro_batches=micro_batches, packed=True)
    assert_same(kind, finished(kind, "one", 1), found)


@pytest.mark.parametrize("kind", ["choice", "span"])
def test_the_gradient_at_padding_between_units_is_exactly_zero(kind, trainer):
    part = trainer(kind, "one", packed=True)
    batch, params = jax.tree.map(lambda x: x[0], part.place(0)), part.start().params

    def loss(x_BLD):
        x_BLD = part.model._last_layer(params, x_BLD, batch.tokens, None)
        words_VD = params["encoder"]["embeddings"]["words"]
        logits = part.model._head(params)(x_BLD, words_VD, batch.tokens, batch.target, None)
        return part.model.head_loss(logits, batch.target).total

    x_BLD = part.model.encoder.embed(params["encoder"]["embeddings"], batch.tokens, None)
    grads_BLD, padding_BL = np.asarray(jax.jit(jax.grad(loss))(x_BLD)), np.asarray(batch.tokens.unit_BL) < 0
    assert padding_BL.any()
    assert not grads_BLD[padding_BL].any()
    assert np.abs(grads_BLD[~padding_BL]).sum(-1).all()
