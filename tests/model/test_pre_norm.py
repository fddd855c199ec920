"""XLM-R XL and XXL: where their norms stand. test_parity.py compares the numbers with transformers'."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from xlmr_flax.config.architecture import PRESETS, Architecture
from xlmr_flax.config.schema import Mesh
from xlmr_flax.data.batch import Batch, TokenTarget
from xlmr_flax.errors import InputError
from xlmr_flax.model.build import build
from xlmr_flax.model.dropout import Noise
from xlmr_flax.model.encoder import Place
from xlmr_flax.model.export import class_name, export, kind_of, state_dict
from xlmr_flax.model.heads import HeadSpec
from xlmr_flax.model.hub import architecture
from xlmr_flax.model.weights import encoder_rows, flat, head_rows, leaves, load, names
from xlmr_flax.train.exchanges import make_model
from xlmr_flax.train.sharding import check_divides, make_mesh, stored
from xlmr_flax.train.state import abstract_params

KEY = jax.random.key(9)
WORD = jnp.uint32(7)
KINDS = ("sequence", "choice", "token", "span", "mlm")


@pytest.fixture(scope="module")
def arch():
    return Architecture(vocab_size=150, **PRESETS["tiny"], pre_norm=True)


@pytest.fixture(scope="module")
def models(arch, specs):
    return {kind: build(arch, spec, "float32") for kind, spec in specs.items()}


@pytest.fixture(scope="module")
def params(models, draw):
    return {kind: draw(model) for kind, model in models.items()}


@pytest.fixture(scope="module")
def hidden(models):
    return jax.jit(models["token"].hidden_states)


@pytest.fixture(scope="module")
def apply(models):
    return jax.jit(models["token"].apply)


@pytest.mark.parametrize(("preset", "billions"), [("xl", 3.5), ("xxl", 10.7)])
def test_the_presets_have_the_sizes_that_the_paper_gives(preset, billions):
    """arXiv:2105.00572, table 1; nothing of that size is made."""
    model = build(Architecture(vocab_size=250_880, **PRESETS[preset]), HeadSpec("sequence", 3), "bfloat16")
    tree = jax.eval_shape(model.init_params, KEY)
    assert round(sum(leaf.size for leaf in jax.tree.leaves(tree["encoder"])) / 1e9, 1) == billions
    assert tree["encoder"]["embeddings"]["words"].shape[0] == 250_880
    assert "norm" not in tree["encoder"]["embeddings"]
    assert tree["encoder"]["norm"]["scale"].shape == (model.arch.hidden_size,)


def normed(x, norm):
    """LayerNorm by its definition."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * norm["scale"] + norm["bias"]


def test_only_the_last_states_are_normed_and_by_the_norm_of_the_encoder(hidden, params, models, rows, units):
    tokens = rows([[unit] for unit in units]).tokens
    encoder = params["token"]["encoder"]
    states = np.asarray(hidden(params["token"], tokens))
    x_BLD = encoder["embeddings"]["words"][tokens.ids_BL] + encoder["embeddings"]["types"][0][None, None]
    x_BLD += encoder["embeddings"]["positions"][jnp.where(tokens.unit_BL >= 0, tokens.position_BL + 2, 1)]
    np.testing.assert_allclose(states[0], x_BLD, atol=1e-6)
    run = models["token"].encoder.run
    y_BLD, kept = run(encoder["layers"], jnp.asarray(x_BLD), tokens, None, keep=lambda x_BLD, _: x_BLD)
    np.testing.assert_allclose(states[1], kept[0], atol=1e-5)
    norm = jax.tree.map(np.asarray, encoder["norm"])
    np.testing.assert_allclose(states[2], normed(np.asarray(y_BLD), norm), atol=1e-5)
    assert np.abs(states[2] - np.asarray(y_BLD)).max() > 0.1


@pytest.mark.parametrize("part", ["attention", "feed_forward"])
def test_a_part_that_adds_nothing_leaves_its_input_as_it_is(part, models, params, rows, units):
    """After a post-norm part the input is normed."""
    tokens = rows([[unit] for unit in units]).tokens
    layers = jax.tree.map(lambda leaf: leaf[0], params["token"]["encoder"]["layers"])
    silent = {"attention": "out", "feed_forward": "down"}[part]
    layers[part] = {**layers[part], silent: jax.tree.map(jnp.zeros_like, layers[part][silent])}
    module = getattr(nnx.merge(models["token"].encoder.layer, layers), part)
    x_BLD = jax.random.normal(KEY, (*tokens.ids_BL.shape, 32))
    mask_BLM = tokens.unit_BL[:, :, None] == tokens.unit_BL[:, None, :]
    y_BLD = module(x_BLD, mask_BLM, None, 0) if part == "attention" else module(x_BLD, None, 0)
    np.testing.assert_array_equal(y_BLD, x_BLD)


def test_the_scale_of_a_parts_input_does_not_matter_to_what_it_adds(models, params):
    layers = jax.tree.map(lambda leaf: leaf[0], params["token"]["encoder"]["layers"])
    feed = nnx.merge(models["token"].encoder.layer, layers).feed_forward
    x_BLD = 10 * jax.random.normal(KEY, (2, 3, 32))
    np.testing.assert_allclose(feed(x_BLD, None, 0) - x_BLD, feed(3 * x_BLD, None, 0) - 3 * x_BLD, atol=1e-4)


def test_packed_units_have_the_logits_they_have_alone_dropout_included(apply, params, rows, units):
    alone = rows([[unit] for unit in units]).tokens
    packed = rows([[units[2], units[0]], [units[3], units[1]]]).tokens
    for word in (None, WORD):
        one, two = (np.asarray(apply(params["token"], tokens, None, word)) for tokens in (alone, packed))
        for number, ids in units:
            here, there = (np.asarray(tokens.unit_BL == number) for tokens in (alone, packed))
            assert here.sum() == there.sum() == len(ids)
            np.testing.assert_allclose(one[here], two[there], atol=5e-6)


@pytest.mark.parametrize("field", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_each_place_that_drops_obeys_its_rate(field, arch, params, rows, units):
    tokens = rows([[unit] for unit in units]).tokens
    rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, field: 0.5}
    model, encoder = build(arch.model_copy(update=rates), HeadSpec("embedding"), "float32"), params["token"]["encoder"]
    layer = nnx.merge(model.encoder.layer, jax.tree.map(lambda leaf: leaf[0], encoder["layers"]))
    embed = nnx.merge(model.encoder.embeddings, encoder["embeddings"])
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


def test_every_weight_passes_its_place_once_the_last_norm_too(arch, specs, params, rows, units):
    seen = []

    def weights(tree):
        seen.extend(path for path, _ in flat(tree))
        return tree

    def layer(tree):
        return weights({"encoder": {"layers": tree}})["encoder"]["layers"]

    model = build(arch, specs["token"], "float32", place=Place(weights, layer=layer))
    jax.eval_shape(model.apply, params["token"], rows([[units[0]]]).tokens, None, None)
    assert sorted(seen) == sorted(path for path, _ in flat(params["token"]))


def test_bfloat16_goes_from_layer_to_layer_and_gradients_are_float32(arch, specs, params, rows, units):
    tokens = rows([[unit] for unit in units]).tokens
    batch = Batch(tokens, TokenTarget(jnp.where(tokens.unit_BL >= 0, 1, -100)))
    half, full = (build(arch, specs["token"], dtype) for dtype in ("bfloat16", "float32"))
    assert jax.eval_shape(half.hidden_states, params["token"], tokens).dtype == jnp.bfloat16
    gradient = jax.eval_shape(jax.grad(lambda p: half.loss(p, batch, None).total), params["token"])
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}
    loss, exact = (float(jax.jit(model.loss)(params["token"], batch, None).total) for model in (half, full))
    assert 0 < abs(loss - exact) / exact < 0.02


@pytest.mark.parametrize("kind", [*KINDS, "dual"])
def test_the_storage_table_has_a_row_for_every_parameter(kind, arch, specs):
    spec = specs.get(kind) or HeadSpec(kind)
    tree = jax.eval_shape(build(arch, spec, "float32").init_params, KEY)
    check_divides(tree, stored(tree, kind), make_mesh(Mesh(data=2, fsdp=2, tensor=2)))


def test_logits_are_those_of_one_device_on_a_mesh(apply, arch, specs, params, rows, units):
    tokens = rows([[unit] for unit in units]).tokens
    mesh = make_mesh(Mesh(data=2, fsdp=2, tensor=2))
    model = make_model(arch, specs["token"], compute="float32", mesh=mesh)
    places = abstract_params(model, mesh)
    placed = jax.tree.map(lambda leaf, like: jax.device_put(leaf, like.sharding), params["token"], places)
    logits = np.asarray(jax.jit(model.apply)(placed, tokens, None, None))
    np.testing.assert_allclose(logits, apply(params["token"], tokens, None, None), atol=1e-5)


# --- weights in and out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*KINDS, "embedding", "dual"])
def test_the_table_names_every_parameter_once_and_nothing_else(kind, arch, specs):
    shapes = jax.eval_shape(build(arch, specs.get(kind) or HeadSpec(kind), "float32").init_params, KEY)
    table = [*leaves(encoder_rows(arch) + head_rows(kind))]
    assert sorted(leaf.path for leaf in table) == sorted(path for path, _ in flat(shapes))
    theirs = [name for leaf in table for name in names(leaf, arch)]
    assert len(set(theirs)) == len(theirs)


def test_known_norms_lie_where_transformers_puts_them(arch, params, specs):
    encoder, tensors = params["mlm"]["encoder"], state_dict(arch, params["mlm"], specs["mlm"])
    layer, layers = "roberta.encoder.layer.1.", encoder["layers"]
    assert tensors[layer + "attention.self_attn_layer_norm.weight"][4] == layers["attention"]["norm"]["scale"][1, 4]
    assert tensors[layer + "LayerNorm.bias"][4] == layers["feed_forward"]["norm"]["bias"][1, 4]
    assert tensors["roberta.encoder.LayerNorm.weight"][4] == encoder["norm"]["scale"][4]
    assert not [name for name in tensors if "embeddings.LayerNorm" in name or "output.LayerNorm" in name]


@pytest.mark.parametrize("kind", KINDS)
def test_import_export_import_is_the_identity_bit_for_bit(kind, arch, params, specs, models, tmp_path):
    labels = [str(i) for i in range(specs[kind].size)] if kind in ("sequence", "token") else []
    export(tmp_path / "one", arch, params[kind], specs[kind], labels=labels)
    assert architecture(tmp_path / "one") == arch
    first = load(tmp_path / "one", models[kind], KEY, head=True)
    assert (first.fresh, first.dropped) == ((), ())
    jax.tree.map(np.testing.assert_array_equal, first.params, params[kind])
    export(tmp_path / "two", arch, first.params, specs[kind], labels=labels)
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_an_export_says_its_family_and_is_found_by_it(arch, params, specs, tmp_path):
    export(tmp_path / "out", arch, params["span"], specs["span"])
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert (config["model_type"], config["architectures"]) == ("xlm-roberta-xl", ["XLMRobertaXLForQuestionAnswering"])
    assert "pre_norm" not in config
    assert kind_of(arch, config["architectures"]) == "span"
    assert kind_of(arch, ["XLMRobertaForQuestionAnswering"]) == "embedding"
    plain = arch.model_copy(update={"pre_norm": False})
    assert [kind_of(plain, [class_name(plain, kind)]) for kind in KINDS] == list(KINDS)


def test_weights_of_the_other_family_are_refused_by_name(arch, params, specs, tmp_path):
    save_file(state_dict(arch, params["mlm"], specs["mlm"]), tmp_path / "model.safetensors")
    plain = build(arch.model_copy(update={"pre_norm": False}), specs["token"], "float32")
    with pytest.raises(InputError, match=r"tensor embeddings\.LayerNorm\.weight is missing; it becomes encoder\."):
        load(tmp_path, plain, KEY)


def test_what_the_hub_keeps_of_xl_gives_encoder_and_lm_head(arch, params, specs, models, tmp_path):
    """It has no pooler, and its decoder a second time, with a bias that is the head's."""
    tensors = state_dict(arch, params["mlm"], specs["mlm"])
    tensors["lm_head.decoder.weight"] = tensors["roberta.embeddings.word_embeddings.weight"].copy()
    tensors["lm_head.decoder.bias"] = tensors["lm_head.bias"].copy()
    save_file(tensors | {"roberta.embeddings.position_ids": np.arange(130)[None]}, tmp_path / "model.safetensors")
    mlm, choice = (load(tmp_path, models[kind], KEY) for kind in ("mlm", "choice"))
    jax.tree.map(np.testing.assert_array_equal, mlm.params, params["mlm"])
    assert mlm.fresh == ()
    assert choice.fresh == ("head.out.bias", "head.out.kernel", "head.pooler.bias", "head.pooler.kernel")
    assert len(load_file(tmp_path / "model.safetensors")) == len(tensors) + 1
