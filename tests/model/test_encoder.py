"""What the encoder promises besides its numbers, which test_parity.py compares with transformers'."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from xlmr_flax.config.architecture import PRESETS, XLMR_VOCABULARY, Architecture
from xlmr_flax.data.batch import Batch, TokenTarget
from xlmr_flax.errors import InputError
from xlmr_flax.model.build import build
from xlmr_flax.model.dropout import Noise
from xlmr_flax.model.encoder import Place, padded_rows
from xlmr_flax.model.heads import HeadSpec
from xlmr_flax.model.weights import flat

WORD = jnp.uint32(7)
EMBEDDING = HeadSpec("embedding")


@pytest.fixture(scope="module")
def model(arch):
    return build(arch, EMBEDDING, "float32")


@pytest.fixture(scope="module")
def encoder(params):
    return {"encoder": params["sequence"]["encoder"], "head": {}}


@pytest.fixture(scope="module")
def embeddings(model):
    return jax.jit(model.embeddings, static_argnums=(3, 4))


@pytest.fixture(scope="module")
def last_layer(model):
    """The last layer's states with dropout; one program for each shape."""

    @jax.jit
    def run(params, tokens, word):
        noise = None if word is None else Noise(word, tokens.unit_BL, tokens.position_BL)
        x_BLD = model.encoder.embed(params["encoder"]["embeddings"], tokens, noise)
        return model.encoder.run(params["encoder"]["layers"], x_BLD, tokens, noise, keep=lambda *_: None)[0]

    return run


def test_large_has_its_shapes_without_being_made():
    arch = Architecture(vocab_size=XLMR_VOCABULARY, **PRESETS["large"])
    tree = jax.eval_shape(build(arch, HeadSpec("sequence", 3), "bfloat16").init_params, jax.random.key(0))
    shapes = {path: leaf.shape for path, leaf in flat(tree)}
    assert shapes["encoder.embeddings.words"] == (250_112, 1024)
    assert shapes["encoder.layers.attention.query.kernel"] == (24, 1024, 16, 64)
    assert shapes["encoder.layers.attention.out.kernel"] == (24, 16, 64, 1024)
    assert shapes["encoder.layers.feed_forward.down.kernel"] == (24, 4096, 1024)
    assert {leaf.dtype for leaf in jax.tree.leaves(tree)} == {jnp.dtype("float32")}
    real = sum(leaf.size for leaf in jax.tree.leaves(tree["encoder"])) - (250_112 - XLMR_VOCABULARY) * 1024
    assert real == 558_840_832  # XLM-R Large without pooler and heads: 559,890,432 less the pooler's 1,049,600


def test_the_word_table_divides_by_128():
    assert [padded_rows(n) for n in (1, 128, 129, XLMR_VOCABULARY)] == [128, 128, 256, 250_112]


@pytest.fixture(scope="module")
def fresh(models):
    return jax.jit(models["mlm"].init_params)(jax.random.key(5))


def test_fresh_weights_are_drawn_as_transformers_draws_them(arch, fresh):
    leaves = dict(flat(fresh))
    words = np.asarray(leaves["encoder.embeddings.words"])
    assert not words[[arch.pad_token_id, *range(arch.vocab_size, len(words))]].any()
    assert not leaves["encoder.embeddings.positions"][arch.pad_token_id].any()
    for path, leaf in leaves.items():
        if path.endswith("bias"):
            assert not leaf.any(), path
        elif path.endswith("scale"):
            assert (leaf == 1).all(), path
        elif path.endswith("kernel"):
            assert abs(float(leaf.std()) / arch.initializer_range - 1) < 0.1, path
    kernel = leaves["encoder.layers.feed_forward.up.kernel"]
    assert not np.allclose(kernel[0], kernel[1])


def test_the_initializer_range_scales_what_is_drawn(arch, specs):
    wider = arch.model_copy(update={"initializer_range": 2 * arch.initializer_range})
    one, two = (build(each, specs["token"], "float32").init_head(jax.random.key(0)) for each in (arch, wider))
    np.testing.assert_allclose(two["out"]["kernel"], 2 * one["out"]["kernel"], rtol=1e-6)


def test_an_encoder_is_drawn_alike_under_any_head_and_sharded(models, fresh):
    key = jax.random.key(5)
    mesh = jax.make_mesh((8,), ("fsdp",), axis_types=(AxisType.Auto,))
    shapes = jax.eval_shape(models["token"].init_params, key)

    def last_axis(leaf):
        return NamedSharding(
            mesh, PartitionSpec(*[None] * (leaf.ndim - 1), "fsdp" if leaf.shape[-1] % 8 == 0 else None)
        )

    sharded = jax.jit(models["token"].init_params, out_shardings=jax.tree.map(last_axis, shapes))(key)
    assert len(sharded["encoder"]["embeddings"]["words"].sharding.device_set) == 8
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), sharded["encoder"], fresh["encoder"])


@pytest.fixture(scope="module")
def gradient_of(model, encoder):
    """The gradient, by the encoder's input, of a sum over chosen outputs."""

    def total(x_BLD, tokens, chosen_BL):
        y_BLD, _ = model.encoder.run(encoder["encoder"]["layers"], x_BLD, tokens, None, keep=lambda *_: None)
        return (jnp.where(chosen_BL[..., None], y_BLD, 0) * jnp.arange(1.0, 33)[None, None]).sum()

    def gradient(tokens, chosen_BL):
        x_BLD = np.random.default_rng(0).standard_normal((*tokens.ids_BL.shape, 32), np.float32)
        return np.asarray(compiled(x_BLD, tokens, chosen_BL))

    compiled = jax.jit(jax.grad(total))
    return gradient


def test_padding_has_no_gradient_at_all(gradient_of, rows, units):
    tokens = rows([[units[0]], [units[1]], [], [units[2], units[3]]]).tokens
    real_BL = np.asarray(tokens.unit_BL >= 0)
    gradient_BLD = gradient_of(tokens, real_BL)
    assert (gradient_BLD[~real_BL] == 0).all()
    assert (np.abs(gradient_BLD[real_BL]).max(-1) > 0).all()


def test_units_of_a_row_have_no_gradient_for_each_other(gradient_of, rows, units):
    tokens = rows([units[:2]]).tokens
    second_BL = np.asarray(tokens.unit_BL == 1)
    gradient_BLD = gradient_of(tokens, second_BL)
    assert (gradient_BLD[~second_BL] == 0).all()
    assert (np.abs(gradient_BLD[second_BL]).max(-1) > 0).all()


def test_ids_on_padding_change_nothing(last_layer, encoder, rows, units):
    tokens = rows([[units[0]], [units[1]]]).tokens
    other = tokens._replace(ids_BL=jnp.where(tokens.unit_BL < 0, 99, tokens.ids_BL))
    real_BL = np.asarray(tokens.unit_BL >= 0)
    one, two = (np.asarray(last_layer(encoder, each, WORD))[real_BL] for each in (tokens, other))
    np.testing.assert_array_equal(one, two)


def test_rows_of_padding_alone_are_finite_with_their_gradients(gradient_of, last_layer, encoder, rows):
    tokens = rows([]).tokens
    assert np.isfinite(last_layer(encoder, tokens, WORD)).all()
    assert np.isfinite(gradient_of(tokens, np.ones(tokens.ids_BL.shape, bool))).all()


def test_packed_units_have_the_states_they_have_alone_dropout_included(last_layer, encoder, rows, units):
    alone = rows([[unit] for unit in units]).tokens
    packed = rows([[units[2], units[0]], [units[3], units[1]]]).tokens
    for word in (None, WORD):
        one, two = np.asarray(last_layer(encoder, alone, word)), np.asarray(last_layer(encoder, packed, word))
        for number, ids in units:
            here, there = (np.asarray(tokens.unit_BL == number) for tokens in (alone, packed))
            assert here.sum() == there.sum() == len(ids)
            np.testing.assert_allclose(one[here], two[there], atol=2e-6)


def test_dropout_does_not_depend_on_the_order_of_rows(last_layer, encoder, rows, units):
    order = np.array([2, 0, 3, 1])
    one = last_layer(encoder, rows([[unit] for unit in units]).tokens, WORD)
    two = last_layer(encoder, rows([[units[i]] for i in order]).tokens, WORD)
    np.testing.assert_allclose(one[order], two, atol=1e-6)


def test_dropout_differs_from_step_to_step_and_from_none(last_layer, encoder, rows, units):
    tokens = rows([[unit] for unit in units]).tokens
    outs = [np.asarray(last_layer(encoder, tokens, word)) for word in (WORD, jnp.uint32(8), None)]
    real = np.asarray(tokens.unit_BL >= 0)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(outs[a] - outs[b])[real].mean() > 0.05


@pytest.mark.parametrize("field", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_each_dropout_rate_is_read(field, arch, encoder, rows, units):
    """One layer by hand, with one rate alone: every place that obeys it has to change the outcome."""
    tokens = rows([[unit] for unit in units]).tokens
    rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, field: 0.5}
    model = build(arch.model_copy(update=rates), EMBEDDING, "float32")
    layer = nnx.merge(model.encoder.layer, jax.tree.map(lambda leaf: leaf[0], encoder["encoder"]["layers"]))
    embed = nnx.merge(model.encoder.embeddings, encoder["encoder"]["embeddings"])
    noise = Noise(WORD, tokens.unit_BL, tokens.position_BL)
    mask_BLM = tokens.unit_BL[:, :, None] == tokens.unit_BL[:, None, :]

    @jax.jit
    def moves(x_BLD):
        parts = {
            "embeddings": lambda noise: embed(tokens, noise),
            "attention": lambda noise: layer.attention(x_BLD, mask_BLM, noise, 0),
            "feed_forward": lambda noise: layer.feed_forward(x_BLD, noise, 0),
        }
        return {name: jnp.abs(part(noise) - part(None)).max() for name, part in parts.items()}

    found = moves(jnp.ones((*tokens.ids_BL.shape, 32)) * jnp.arange(32.0)[None, None])
    obeying = {"embeddings", "attention", "feed_forward"} if field == "hidden_dropout_prob" else {"attention"}
    assert {name for name, moved in found.items() if moved > 1e-3} == obeying


def test_the_scan_is_the_layers_one_by_one_each_with_masks_of_its_own(model, encoder, last_layer, rows, units):
    tokens = rows([[unit] for unit in units]).tokens
    layers = [jax.tree.map(lambda leaf, i=i: leaf[i], encoder["encoder"]["layers"]) for i in (0, 1)]
    noise = Noise(WORD, tokens.unit_BL, tokens.position_BL)
    mask_BLM = tokens.unit_BL[:, :, None] == tokens.unit_BL[:, None, :]

    @jax.jit
    def in_turn(x_BLD, numbers):
        for layer, number in zip(layers, numbers, strict=True):
            x_BLD = nnx.merge(model.encoder.layer, layer)(x_BLD, mask_BLM, noise, number)
        return x_BLD

    x_BLD = jax.jit(model.encoder.embed)(encoder["encoder"]["embeddings"], tokens, noise)
    scanned = np.asarray(last_layer(encoder, tokens, WORD))
    np.testing.assert_allclose(scanned, in_turn(x_BLD, (0, 1)), atol=2e-6)
    assert np.abs(scanned - in_turn(x_BLD, (0, 0))).max() > 0.1


@pytest.mark.parametrize("part", ["probabilities", "attention", "feed_forward"])
def test_every_place_in_a_layer_has_other_masks_in_another_layer(part, arch, encoder, rows, units):
    tokens = rows([[unit] for unit in units]).tokens
    calm = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    own = "attention_probs_dropout_prob" if part == "probabilities" else "hidden_dropout_prob"
    model = build(arch.model_copy(update={**calm, own: 0.5}), EMBEDDING, "float32")
    layer = nnx.merge(model.encoder.layer, jax.tree.map(lambda leaf: leaf[0], encoder["encoder"]["layers"]))
    noise = Noise(WORD, tokens.unit_BL, tokens.position_BL)
    mask_BLM = tokens.unit_BL[:, :, None] == tokens.unit_BL[:, None, :]
    x_BLD = jax.random.normal(jax.random.key(0), (*tokens.ids_BL.shape, 32))

    @jax.jit
    def run(number):
        if part == "feed_forward":
            return layer.feed_forward(x_BLD, noise, number)
        return layer.attention(x_BLD, mask_BLM, noise, number)

    assert jnp.abs(run(0) - run(1)).max() > 0.05


def products_of(jaxpr):
    """Matrix products in a program; those of a loop's body count once."""
    found = 0
    for equation in jaxpr.eqns:
        inner = [getattr(value, "jaxpr", value) for value in equation.params.values()]
        found += equation.primitive.name == "dot_general"
        found += sum(products_of(one) for one in inner if hasattr(one, "eqns"))
    return found


@pytest.mark.parametrize(
    ("passes", "more"),
    [
        ({"remat": "elementwise"}, 2),
        ({"remat": "layers"}, 8),
        ({"scan_layers": False}, 8 * 3),  # the second layer's products stand beside the first's
        ({"scan_layers": False, "remat": "layers"}, 8 * 3 + 2 * 8),
        ({"scan_layers": False, "remat": "layers", "reshard_after_forward": False}, 8 * 3 + 2 * 8),
        ({"reshard_after_forward": False}, 0),
    ],
    ids=str,
)
def test_passes_done_otherwise_give_the_same_loss_and_gradient(models, params, rows, units, passes, more):
    tokens = rows([[unit] for unit in units]).tokens
    batch = Batch(tokens, TokenTarget(jnp.where(tokens.unit_BL >= 0, 1, -100)))
    plain = models["token"]
    again = build(plain.arch, plain.spec, "float32", **passes)
    products = [
        products_of(jax.make_jaxpr(jax.grad(lambda p, m=m: m.loss(p, batch, WORD).total))(params["token"]).jaxpr)
        for m in (plain, again)
    ]
    # A layer has six projections and two products of attention; forward once, backward twice as many.
    assert products[1] - products[0] == more, products
    one, two = (
        jax.jit(jax.value_and_grad(lambda p, m=m: m.loss(p, batch, WORD).total))(params["token"])
        for m in (plain, again)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), one, two)


def test_every_weight_and_activation_passes_its_place_once(arch, specs, params, rows, units):
    seen, shapes = [], []

    def weights(tree):
        seen.extend(path for path, _ in flat(tree))
        shapes.extend(leaf.shape for _, leaf in flat(tree))
        return jax.tree.map(lambda leaf: 2 * leaf, tree)

    def layer(tree):
        return weights({"encoder": {"layers": tree}})["encoder"]["layers"]

    calls = []
    place = Place(weights, activations=lambda x_BLD: calls.append(x_BLD.shape) or x_BLD, layer=layer)
    model = build(arch, specs["token"], "float32", place=place)
    tokens = rows([[units[0]]]).tokens
    placed = jax.jit(model.apply)(params["token"], tokens, None, None)
    expected = {path: leaf.shape for path, leaf in flat(params["token"])}
    expected = {path: shape[1:] if path.startswith("encoder.layers") else shape for path, shape in expected.items()}
    assert dict(zip(seen, shapes, strict=True)) == expected
    assert len(seen) == len(expected)
    assert calls == [(4, 20, 32)]  # after the embeddings; layers keep to their rows
    doubled = jax.jit(build(arch, specs["token"], "float32").apply)(
        jax.tree.map(lambda leaf: 2 * leaf, params["token"]), tokens, None, None
    )
    np.testing.assert_allclose(placed, doubled, rtol=1e-5, atol=1e-5)


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_gradients(arch, specs, params, rows, units):
    tokens = rows([[unit] for unit in units]).tokens
    batch = Batch(tokens, TokenTarget(jnp.where(tokens.unit_BL >= 0, 1, -100)))
    half, full = (build(arch, specs["token"], dtype) for dtype in ("bfloat16", "float32"))
    assert jax.eval_shape(half.hidden_states, params["token"], tokens).dtype == jnp.bfloat16
    assert jax.eval_shape(half.apply, params["token"], tokens, None, None).dtype == jnp.float32
    gradient = jax.eval_shape(jax.grad(lambda p: half.loss(p, batch, None).total), params["token"])
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}
    loss, exact = (float(jax.jit(model.loss)(params["token"], batch, None).total) for model in (half, full))
    assert 0 < abs(loss - exact) / exact < 0.02


def test_float32_asks_for_float32_products_and_bfloat16_does_not(arch, specs, params, rows, units):
    tokens = rows([[units[0]]]).tokens
    text = {
        dtype: str(jax.make_jaxpr(build(arch, specs["token"], dtype).apply)(params["token"], tokens, None, None))
        for dtype in ("float32", "bfloat16")
    }
    assert text["float32"].count("dot_general") == text["float32"].count("Precision.HIGHEST") / 2 > 0
    assert "HIGHEST" not in text["bfloat16"]


def test_hidden_states_and_embeddings_agree(model, embeddings, encoder, rows, units):
    tokens, first_BS = rows([[unit] for unit in units])
    hidden = np.asarray(jax.jit(model.hidden_states)(encoder, tokens))
    assert hidden.shape == (3, 4, 20, 32)
    means = np.asarray(embeddings(encoder, tokens, first_BS, ("mean",), (2, 0)))[:, 0, :, 0]
    for row, (_, ids) in enumerate(units):
        np.testing.assert_allclose(means[0, row], hidden[2, row, : len(ids)].mean(0), atol=1e-6)
        np.testing.assert_allclose(means[1, row], hidden[0, row, : len(ids)].mean(0), atol=1e-6)
    first = np.asarray(embeddings(encoder, tokens, first_BS, ("first", "mean"), (2, 1)))[1:, 0, :, 0]
    np.testing.assert_allclose(first[0], hidden[1, :, 0], atol=1e-6)


@pytest.mark.parametrize("poolings", [("mean",), ("first", "mean")])
def test_units_that_share_a_row_have_the_embeddings_that_they_have_alone(poolings, embeddings, encoder, rows, units):
    layers = (2, 0) if len(poolings) == 1 else (2, 1)
    alone = np.asarray(embeddings(encoder, *rows([[unit] for unit in units]), poolings, layers))
    packed = np.asarray(embeddings(encoder, *rows([units[2:], units[:2]]), poolings, layers))
    np.testing.assert_allclose(packed[..., [1, 1, 0, 0], [0, 1, 0, 1], :], alone[..., 0, :], atol=1e-5)


def test_the_embedding_of_an_empty_row_is_zero(embeddings, encoder, rows, units):
    tokens, first_BS = rows([[units[0]], []])
    for poolings, layers in ((("mean",), (2, 0)), (("first", "mean"), (2, 1))):
        vectors = np.asarray(embeddings(encoder, tokens, first_BS, poolings, layers))[0, 0]
        assert vectors[0].any()
        assert not vectors[1:].any()


def test_embeddings_keep_vectors_and_not_states(model, encoder, rows, units):
    laid = rows([[unit] for unit in units])
    jaxpr = jax.make_jaxpr(lambda p: model.embeddings(p, *laid, ("mean", "first"), (0, 1, 2)))(encoder)
    scan = next(eqn for eqn in jaxpr.eqns if eqn.primitive.name == "scan")
    assert sorted(var.aval.shape for var in scan.outvars) == [(2, 4, 2, 2, 32), (4, 20, 32)]


def test_a_layer_that_does_not_exist_is_named(model, encoder, rows, units):
    with pytest.raises(InputError, match=r"layers \[3\] do not exist: this encoder has 0 \(its embeddings\) to 2"):
        model.embeddings(encoder, *rows([[units[0]]]), ("mean",), (1, 3))


def test_an_embedding_has_no_loss(model, encoder, rows, units):
    with pytest.raises(InputError, match="a sentence embedding has no logits and no loss"):
        model.apply(encoder, rows([[units[0]]]).tokens, None, None)


def test_an_id_beyond_the_table_shows_as_nan(last_layer, encoder, rows):
    tokens = rows([[(0, [0, 99999, 2])]]).tokens
    assert np.isnan(last_layer(encoder, tokens, WORD)[0, :3]).all()


def test_a_model_is_a_static_value(arch, specs):
    one, two = (build(arch, specs["token"], "float32") for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)
    assert dataclasses.replace(one, spec=specs["span"]) != one


@pytest.mark.parametrize(
    ("kind", "size", "match"),
    [
        ("tagging", 3, "head kind 'tagging' does not exist; there are sequence, choice"),
        ("choice", 1, "a choice head of size 1 decides nothing"),
        ("span", 2, "a span head has no number of labels, but size=2 was given"),
    ],
)
def test_a_head_that_cannot_be_is_refused(kind, size, match):
    with pytest.raises(InputError, match=match):
        HeadSpec(kind, size)
