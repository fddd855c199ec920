"""Weights in and out by one table. test_parity.py proves the table against transformers' own classes."""

import json
import runpy
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from xlmr_flax.errors import InputError
from xlmr_flax.model.build import build
from xlmr_flax.model.export import export, state_dict
from xlmr_flax.model.heads import HeadSpec
from xlmr_flax.model.hub import architecture
from xlmr_flax.model.weights import encoder_rows, flat, head_rows, leaves, load, names, their_shape

files = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("torch_files.py"))))
KEY = jax.random.key(9)
KINDS = ("sequence", "choice", "token", "span", "mlm")


@pytest.fixture(scope="module")
def pretrained(arch, params, specs):
    """What the hub keeps of XLM-R: everything but the heads of tasks, and the decoder a second time."""
    tensors = state_dict(arch, params["mlm"], specs["mlm"])
    choice = state_dict(arch, params["choice"], specs["choice"])
    tensors |= {name: choice[name] for name in choice if "pooler" in name}
    return tensors | {"lm_head.decoder.weight": tensors["roberta.embeddings.word_embeddings.weight"].copy()}


def save(folder, tensors):
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    return folder


def equal(one, two):
    jax.tree.map(np.testing.assert_array_equal, one, two)


@pytest.mark.parametrize("kind", [*KINDS, "embedding"])
def test_the_table_names_every_parameter_once_and_nothing_else(kind, arch, specs):
    spec = specs.get(kind, HeadSpec("embedding"))
    shapes = jax.eval_shape(build(arch, spec, "float32").init_params, KEY)
    rows = [leaf.path for leaf in leaves(encoder_rows(arch) + head_rows(kind))]
    assert sorted(rows) == sorted(path for path, _ in flat(shapes))
    theirs = [name for leaf in leaves(encoder_rows(arch) + head_rows(kind)) for name in names(leaf, arch)]
    assert len(set(theirs)) == len(theirs)


def test_known_entries_lie_where_transformers_puts_them(arch, params, specs):
    """Entry by entry, so that a transpose or a split of heads cannot be undone by its own inverse."""
    encoder, tensors = params["mlm"]["encoder"], state_dict(arch, params["mlm"], specs["mlm"])
    query, out = (encoder["layers"]["attention"][name]["kernel"] for name in ("query", "out"))
    K = arch.hidden_size // arch.num_attention_heads
    layer = "roberta.encoder.layer.1."
    assert tensors[layer + "attention.self.query.weight"][1 * K + 3, 5] == query[1, 5, 1, 3]
    assert tensors[layer + "attention.output.dense.weight"][5, 1 * K + 3] == out[1, 1, 3, 5]
    assert (
        tensors[layer + "attention.self.key.bias"][1 * K + 2] == encoder["layers"]["attention"]["key"]["bias"][1, 1, 2]
    )
    assert (
        tensors[layer + "intermediate.dense.weight"][50, 7]
        == encoder["layers"]["feed_forward"]["up"]["kernel"][1, 7, 50]
    )
    assert tensors[layer + "output.LayerNorm.weight"][4] == encoder["layers"]["feed_forward"]["norm"]["scale"][1, 4]
    assert tensors["roberta.embeddings.word_embeddings.weight"].shape == (150, 32)
    assert tensors["lm_head.bias"].shape == (150,)


@pytest.mark.parametrize("kind", KINDS)
def test_import_export_import_is_the_identity_bit_for_bit(kind, arch, params, specs, models, tmp_path):
    labels = [str(i) for i in range(specs[kind].size)] if kind in ("sequence", "token") else []
    export(tmp_path / "one", arch, params[kind], specs[kind], labels=labels)
    assert architecture(tmp_path / "one") == arch
    first = load(tmp_path / "one", models[kind], KEY, head=True)
    assert (first.fresh, first.dropped) == ((), ())
    equal(first.params, params[kind])
    export(tmp_path / "two", arch, first.params, specs[kind], labels=labels)
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_pretrained_folder_gives_encoder_and_pooler_or_lm_head(pretrained, params, models, tmp_path):
    save(tmp_path, pretrained)
    mlm = load(tmp_path, models["mlm"], KEY)
    equal(mlm.params, params["mlm"])
    assert mlm.fresh == ()
    assert mlm.dropped == ("lm_head.decoder.weight", "pooler.dense.bias", "pooler.dense.weight")
    choice = load(tmp_path, models["choice"], KEY)
    equal(choice.params["head"]["pooler"], params["choice"]["head"]["pooler"])
    assert choice.fresh == ("head.out.bias", "head.out.kernel")
    assert "head.pooler.kernel" in choice.carried
    sequence = load(tmp_path, models["sequence"], KEY)
    assert sequence.fresh == ("head.dense.bias", "head.dense.kernel", "head.out.bias", "head.out.kernel")
    equal(sequence.params["head"], jax.jit(models["sequence"].init_head)(KEY))
    assert len(sequence.carried) == 21


def test_where_pooler_or_lm_head_are_absent_they_are_fresh(pretrained, models, tmp_path):
    save(tmp_path, {name: each for name, each in pretrained.items() if "pooler" not in name and "lm_head" not in name})
    choice, mlm = (load(tmp_path, models[kind], KEY) for kind in ("choice", "mlm"))
    assert choice.fresh == ("head.out.bias", "head.out.kernel", "head.pooler.bias", "head.pooler.kernel")
    assert mlm.fresh == ("head.bias", "head.dense.bias", "head.dense.kernel", "head.norm.bias", "head.norm.scale")


def test_half_a_pooler_is_an_error(pretrained, models, tmp_path):
    save(tmp_path, {name: each for name, each in pretrained.items() if name != "roberta.pooler.dense.bias"})
    with pytest.raises(
        InputError, match=r"tensor pooler\.dense\.bias is missing; it becomes head\.pooler\.bias \(32,\)"
    ):
        load(tmp_path, models["choice"], KEY)


def test_a_head_is_loaded_only_when_asked_for(arch, params, specs, models, tmp_path):
    save(tmp_path, state_dict(arch, params["token"], specs["token"]))
    fresh = load(tmp_path, models["token"], KEY)
    assert fresh.fresh == ("head.out.bias", "head.out.kernel")
    assert fresh.dropped == ("classifier.bias", "classifier.weight")
    equal(load(tmp_path, models["token"], KEY, head=True).params, params["token"])
    with pytest.raises(InputError, match=r"tensor classifier\.weight has shape \(5, 32\), .* asks for \(7, 32\)"):
        load(tmp_path, build(arch, HeadSpec("token", 7), "float32"), KEY, head=True)
    with pytest.raises(InputError, match=r"tensor qa_outputs\.weight is missing; it becomes head\.out\.kernel"):
        load(tmp_path, models["span"], KEY, head=True)


def bare(tensors):
    """As XLMRobertaModel alone saves them."""
    return {name.removeprefix("roberta."): each for name, each in tensors.items() if "lm_head" not in name}


# Names, precision and format as the hub's files have them. XLM-Align and InfoXLM: float16 and a decoder stored twice;
# XLM-V: its own vocabulary; old transformers: a counter among the weights; new ones: the bias under its other name.
FAMILIES = {
    "xlm-r, 2019": lambda t: t | {"roberta.embeddings.position_ids": np.arange(130)[None]},
    "xlm-align and infoxlm": lambda t: {name: each.astype(np.float16) for name, each in t.items()},
    "without prefix": bare,
    "bias under decoder": lambda t: {
        name.replace("lm_head.bias", "lm_head.decoder.bias"): each for name, each in t.items()
    },
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("form", ["safetensors", "bin", "legacy bin", "sharded safetensors", "sharded bin"])
def test_every_family_and_file_format_gives_the_same_weights(family, form, pretrained, params, models, tmp_path):
    tensors = FAMILIES[family](dict(pretrained))
    write_folder(tmp_path, tensors, form)
    loaded = load(tmp_path, models["mlm"], KEY)
    expected = params["mlm"]
    if family.startswith("xlm-align"):
        expected = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16).astype(np.float32), expected)
    equal(loaded.params["encoder"], expected["encoder"])
    if family != "without prefix":
        equal(loaded.params["head"], expected["head"])
    assert {leaf.dtype for leaf in jax.tree.leaves(loaded.params)} == {np.dtype("float32")}


def write_folder(folder, tensors, form):
    parts = {"one": tensors}
    if form.startswith("sharded"):
        names = list(tensors)
        parts = {"0001": {n: tensors[n] for n in names[::2]}, "0002": {n: tensors[n] for n in names[1::2]}}
    stem, suffix = ("model", "safetensors") if form.endswith("safetensors") else ("pytorch_model", "bin")
    index = {}
    for part, here in parts.items():
        path = folder / (f"{stem}.{suffix}" if part == "one" else f"{stem}-{part}.{suffix}")
        index |= dict.fromkeys(here, path.name)
        if suffix == "safetensors":
            save_file(here, path)
        else:
            (files.write_legacy if form.startswith("legacy") else files.write_zip)(path, *files.whole(here))
    if len(parts) > 1:
        (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"weight_map": index}))


def test_weights_come_one_by_one_and_go_where_put_says(pretrained, models, params, tmp_path):
    save(tmp_path, pretrained)
    seen = []
    loaded = load(tmp_path, models["mlm"], KEY, put=lambda path, array: seen.append(path) or array * 2)
    assert sorted(seen) == sorted(path for path, _ in flat(params["mlm"]))
    np.testing.assert_array_equal(loaded.params["head"]["bias"], 2 * params["mlm"]["head"]["bias"])


@pytest.mark.parametrize("form", ["safetensors", "bin", "legacy bin"])
def test_loading_never_holds_much_more_than_the_weights(form, arch, tmp_path, monkeypatch):
    """numpy counts its arrays with tracemalloc; safetensors' pages belong to the file."""
    monkeypatch.setattr("xlmr_flax.model.unpickle.BLOCK_NUMBERS", 1 << 16)
    wide = arch.model_copy(
        update={"vocab_size": 20_000, "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 8}
    )
    model = build(wide, HeadSpec("embedding"), "float32")
    shapes = jax.eval_shape(model.init_params, KEY)
    tensors = {}
    for leaf in leaves(encoder_rows(wide)):
        shape = dict(flat(shapes))[leaf.path].shape
        for name in names(leaf, wide):
            tensors[name] = np.ones(their_shape(leaf, shape[1:] if "{}" in leaf.name else shape, wide), np.float32)
    size = sum(each.nbytes for each in tensors.values())
    write_folder(tmp_path, tensors, form)
    del tensors
    tracemalloc.start()
    loaded = load(tmp_path, model, KEY)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(loaded.params)) >= size
    assert all((leaf[..., :1] == 1).all() for path, leaf in flat(loaded.params) if not path.endswith("words"))
    assert (loaded.params["encoder"]["embeddings"]["words"][:20_000] == 1).all()
    assert peak < 1.3 * size


# --- what is wrong is named -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["embeddings.word_embeddings.weight", "encoder.layer.1.output.dense.bias"])
def test_a_missing_tensor_is_named(name, pretrained, models, tmp_path):
    save(tmp_path, {each: tensor for each, tensor in pretrained.items() if each != f"roberta.{name}"})
    with pytest.raises(InputError, match=rf"{tmp_path}: tensor {name} is missing; it becomes encoder\."):
        load(tmp_path, models["token"], KEY)


@pytest.mark.parametrize(
    "name", ["roberta.encoder.layer.2.output.dense.bias", "adapter.weight", "classifier.extra.weight"]
)
def test_an_extra_tensor_is_named(name, pretrained, models, tmp_path):
    save(tmp_path, pretrained | {name: np.zeros(32, np.float32)})
    found = name.removeprefix("roberta.")
    with pytest.raises(InputError, match=rf"model\.safetensors: tensor {found} has no place in an XLM-R of 2 layers"):
        load(tmp_path, models["token"], KEY)


@pytest.mark.parametrize(
    ("name", "shape", "why"),
    [
        ("embeddings.word_embeddings.weight", (151, 32), r"config\.json's vocab_size=150 asks for \(150, 32\)"),
        ("embeddings.position_embeddings.weight", (99, 32), r"max_position_embeddings=130 asks for \(130, 32\)"),
        ("embeddings.token_type_embeddings.weight", (2, 32), r"type_vocab_size=1 asks for \(1, 32\)"),
        ("encoder.layer.0.intermediate.dense.weight", (32, 64), r"asks for \(64, 32\)"),
        ("encoder.layer.0.attention.self.query.bias", (2, 16), r"asks for \(32,\)"),
    ],
)
def test_a_wrong_shape_is_named_with_what_set_it(name, shape, why, pretrained, models, tmp_path):
    save(tmp_path, pretrained | {f"roberta.{name}": np.zeros(shape, np.float32)})
    found = str(shape).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(InputError, match=rf"model\.safetensors: tensor {name} has shape {found}, but .*{why}"):
        load(tmp_path, models["token"], KEY)


def test_all_problems_come_together_but_not_hundreds_of_lines(pretrained, arch, tmp_path):
    save(tmp_path, pretrained)
    wider = build(arch.model_copy(update={"hidden_size": 64}), HeadSpec("span"), "float32")
    with pytest.raises(InputError) as error:
        load(tmp_path, wider, KEY)
    lines = str(error.value).splitlines()
    assert len(lines) == 9
    assert lines[-1].endswith(": and 27 more of the kind")


def test_whole_numbers_are_no_weights(pretrained, models, tmp_path):
    save(tmp_path, pretrained | {"roberta.embeddings.LayerNorm.weight": np.ones(32, np.int64)})
    with pytest.raises(InputError, match=r"tensor embeddings\.LayerNorm\.weight holds int64, where floating point"):
        load(tmp_path, models["token"], KEY)


def test_a_name_with_and_without_prefix_is_an_error(pretrained, models, tmp_path):
    save(tmp_path, pretrained | {"embeddings.LayerNorm.weight": np.ones(32, np.float32)})
    with pytest.raises(
        InputError, match=r"holds both embeddings\.LayerNorm\.weight and roberta\.embeddings\.LayerNorm"
    ):
        load(tmp_path, models["token"], KEY)


def test_a_decoder_of_its_own_is_reported(pretrained, models, tmp_path):
    save(tmp_path, pretrained | {"lm_head.decoder.weight": np.zeros((150, 32), np.float32)})
    dropped = load(tmp_path, models["mlm"], KEY).dropped
    assert "lm_head.decoder.weight (differs from the word table, which decodes here as in transformers)" in dropped
    assert "lm_head.decoder.weight" in load(tmp_path, models["token"], KEY).dropped


def test_a_folder_without_weights_is_named(models, tmp_path):
    with pytest.raises(InputError, match=r"no weights here; one of model\.safetensors, pytorch_model\.bin"):
        load(tmp_path, models["token"], KEY)


def test_a_damaged_safetensors_file_is_named(pretrained, models, tmp_path):
    save(tmp_path, pretrained)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-7])
    with pytest.raises(InputError, match=r"model\.safetensors: not a whole safetensors file"):
        load(tmp_path, models["token"], KEY)


def test_an_index_has_to_agree_with_its_files(pretrained, models, tmp_path):
    write_folder(tmp_path, pretrained, "sharded safetensors")
    path = tmp_path / "model.safetensors.index.json"
    index = json.loads(path.read_text())["weight_map"]

    def refused(changed, match):
        path.write_text(changed if isinstance(changed, str) else json.dumps({"weight_map": changed}))
        with pytest.raises(InputError, match=match):
            load(tmp_path, models["token"], KEY)

    name = next(name for name, file in index.items() if "0001" in file)
    refused(
        index | {name: "model-0002.safetensors"}, rf"says that model-0002\.safetensors holds {name}, but it does not"
    )
    refused({n: f for n, f in index.items() if n != name}, rf"does not say that model-0001\.safetensors holds {name}")
    refused(index | {name: "model-0003.safetensors"}, r"model-0003\.safetensors: missing, though the index")
    refused(index | {name: "../model.safetensors"}, r"names the file '\.\./model\.safetensors', which is not beside it")
    refused("{}", "not an index of weights")
    refused("[]", "not an index of weights")
    refused("no json", "not an index of weights")


# --- out --------------------------------------------------------------------------------------------------------------


def test_config_json_says_all_of_the_architecture_and_the_labels(arch, params, specs, tmp_path):
    labels = ["entailment", "neutral", "widerspruch ß"]
    export(tmp_path / "out", arch, params["sequence"], specs["sequence"], labels=labels)
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["XLMRobertaForSequenceClassification"]
    assert config["model_type"] == "xlm-roberta"
    assert config["id2label"] == {"0": "entailment", "1": "neutral", "2": "widerspruch ß"}
    assert config["label2id"] == {"entailment": 0, "neutral": 1, "widerspruch ß": 2}
    assert config.items() >= arch.model_dump(exclude={"pre_norm"}).items()
    assert "pre_norm" not in config


def test_the_tokenizer_comes_along(arch, params, specs, tmp_path):
    source = tmp_path / "tokenizer"
    source.mkdir()
    with pytest.raises(InputError, match="no tokenizer here"):
        export(tmp_path / "out", arch, params["span"], specs["span"], tokenizer=source)
    assert not (tmp_path / "out").exists()
    for name in ("tokenizer.json", "tokenizer_config.json", "unrelated.txt"):
        (source / name).write_text(name)
    export(tmp_path / "out", arch, params["span"], specs["span"], tokenizer=source)
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def test_the_embedding_is_exported_as_the_bare_model(arch, params, tmp_path):
    encoder = {"encoder": params["mlm"]["encoder"], "head": {}}
    export(tmp_path / "out", arch, encoder, HeadSpec("embedding"))
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert "embeddings.word_embeddings.weight" in tensors
    assert not [name for name in tensors if name.startswith("roberta.")]


def test_export_does_not_write_over_anything(arch, params, specs, tmp_path):
    (tmp_path / "mine").write_text("precious")
    for folder in (tmp_path, tmp_path / "mine"):
        with pytest.raises(InputError, match="there is something already; export into a new folder"):
            export(folder, arch, params["span"], specs["span"])


def test_export_wants_a_name_for_each_label(arch, params, specs, tmp_path):
    with pytest.raises(InputError, match="2 labels were given for a sequence head of size 3; name each"):
        export(tmp_path / "out", arch, params["sequence"], specs["sequence"], labels=["a", "b"])


def test_export_refuses_another_heads_parameters(arch, params, specs, tmp_path):
    with pytest.raises(InputError, match=r"parameters \['head\.dense\.bias', 'head\.dense\.kernel'\] have no name"):
        export(tmp_path / "out", arch, params["sequence"], specs["token"], labels=list("abcde"))
