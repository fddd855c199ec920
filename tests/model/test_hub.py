"""Where weights are, and which of them we can build."""

import json

import huggingface_hub
import pytest
from huggingface_hub import errors

from xlmr_flax.config.architecture import PRESETS, XLMR_VOCABULARY, Architecture
from xlmr_flax.errors import InputError
from xlmr_flax.model.hub import FAMILIES, architecture, resolve
from xlmr_flax.model.stored import open_folder

# As FacebookAI/xlm-roberta-large and microsoft/xlm-align-base (base) state it.
XLMR_LARGE = {
    "architectures": ["XLMRobertaForMaskedLM"], "attention_probs_dropout_prob": 0.1, "bos_token_id": 0,
    "eos_token_id": 2,
    "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 1024, "initializer_range": 0.02,
    "intermediate_size": 4096, "layer_norm_eps": 1e-05, "max_position_embeddings": 514, "model_type": "xlm-roberta",
    "num_attention_heads": 16, "num_hidden_layers": 24, "output_past": True, "pad_token_id": 1,
    "position_embedding_type": "absolute", "transformers_version": "4.17.0.dev0", "type_vocab_size": 1,
    "use_cache": True, "vocab_size": 250002,
}  # fmt: skip


# As facebook/xlm-roberta-xl states it, and what facebook/xlm-roberta-xxl states otherwise.
XLMR_XL = {
    "architectures": ["XLMRobertaXLForMaskedLM"], "attention_probs_dropout_prob": 0.1, "bos_token_id": 0,
    "classifier_dropout": None, "eos_token_id": 2, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
    "hidden_size": 2560, "initializer_range": 0.02, "intermediate_size": 10240, "layer_norm_eps": 1e-05,
    "max_position_embeddings": 514, "model_type": "xlm-roberta-xl", "num_attention_heads": 32,
    "num_hidden_layers": 36, "pad_token_id": 1, "position_embedding_type": "absolute",
    "tokenizer_class": "XLMRobertaTokenizer", "torch_dtype": "float32", "type_vocab_size": 1, "use_cache": True,
    "vocab_size": 250880,
}  # fmt: skip
XXL = {"hidden_size": 4096, "intermediate_size": 16384, "num_hidden_layers": 48}


@pytest.fixture
def config(tmp_path):
    def write(without=(), base=XLMR_LARGE, **changes):
        stated = {name: value for name, value in {**base, **changes}.items() if name not in without}
        (tmp_path / "config.json").write_text(json.dumps(stated))
        return tmp_path

    return write


def test_xlmr_large_is_our_preset(config):
    assert architecture(config()) == Architecture(vocab_size=XLMR_VOCABULARY, **PRESETS["large"])


@pytest.mark.parametrize(("preset", "changes"), [("xl", {}), ("xxl", XXL)])
def test_xlmr_xl_and_xxl_are_our_presets(preset, changes, config):
    assert architecture(config(base=XLMR_XL, **changes)) == Architecture(vocab_size=250_880, **PRESETS[preset])


@pytest.mark.parametrize(
    "changes",
    [
        {"vocab_size": 901629},  # XLM-V
        {"layer_norm_eps": 1e-9},
        {"hidden_act": "relu"},
        {"type_vocab_size": 2},
        {"pad_token_id": 3},
        {"max_position_embeddings": 1026},
        {"hidden_dropout_prob": 0},
        {"attention_probs_dropout_prob": 0.3},
        {"classifier_dropout": 0.2},
        {"num_hidden_layers": 6},
        {"num_attention_heads": 8},
        {"intermediate_size": 2048},
        {"hidden_size": 512},
        {"initializer_range": 0.5},
        {"bos_token_id": 7},
        {"eos_token_id": 8},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_field_is_read(changes, config):
    stated = {name: value for name, value in XLMR_LARGE.items() if name in Architecture.model_fields}
    assert next(iter(changes.values())) != stated.get(next(iter(changes)))
    assert architecture(config(**changes)) == Architecture(**{**stated, **changes})


def test_where_a_field_is_silent_transformers_default_holds(config):
    found = architecture(config(without=("layer_norm_eps", "type_vocab_size", "max_position_embeddings")))
    assert (found.layer_norm_eps, found.type_vocab_size, found.max_position_embeddings) == (1e-12, 2, 512)

    found = architecture(config(("layer_norm_eps", "type_vocab_size", "max_position_embeddings"), base=XLMR_XL))
    assert (found.layer_norm_eps, found.type_vocab_size, found.max_position_embeddings) == (1e-5, 1, 514)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.model_type)
def test_the_silent_defaults_are_transformers_own(family):
    import transformers

    theirs = getattr(transformers, f"{family.classes}Config")()
    assert {name: getattr(theirs, name) for name in family.silent} == family.silent
    assert theirs.model_type == family.model_type


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"model_type": "bert"}, "model_type='bert' is not supported, only 'xlm-roberta' or 'xlm-roberta-xl'"),
        (
            {"architectures": ["XLMRobertaXLForMaskedLM"]},  # as facebook/xlm-roberta-xxl had it at 51b1d0c
            r"model_type='xlm-roberta' contradicts architectures=\['XLMRobertaXLForMaskedLM'\]; take a later revision",
        ),
        ({"pre_norm": True}, "pre_norm is a setting nobody here knows"),
        ({"without": ("model_type",)}, "model_type=None is not supported"),
        (
            {"position_embedding_type": "relative_key"},
            "position_embedding_type='relative_key' is not supported, only 'absolute'",
        ),
        ({"is_decoder": True}, "is_decoder=True is not supported, only False"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings=False is not supported, only True"),
        ({"pruned_heads": {"0": [1]}}, r"pruned_heads=\{'0': \[1\]\} is not supported"),
        ({"adapters": {}}, "adapters is a setting nobody here knows; if it does not change the encoder, take it out"),
        ({"hidden_act": "swish"}, "hidden_act: Input should be 'gelu'"),
        ({"without": ("hidden_size",)}, "hidden_size: Field required"),
        ({"num_attention_heads": 7}, "hidden_size=1024 does not divide by 7 heads"),
        ({"vocab_size": "many"}, "vocab_size: Input should be a valid integer"),
    ],
)
def test_what_is_not_built_here_is_refused_by_name(changes, match, config):
    with pytest.raises(InputError, match=match) as error:
        architecture(config(**changes))
    assert str(error.value).startswith(str(config() / "config.json"))


def test_all_refusals_come_together(config):
    with pytest.raises(InputError) as error:
        architecture(config(model_type="bert", adapters={}))
    assert len(str(error.value).splitlines()) == 2


def test_a_folder_without_config_or_with_a_broken_one_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no config\.json here, so the weights' shape is unknown"):
        architecture(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json: not JSON"):
        architecture(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(InputError, match=r"config\.json: a list where settings were expected"):
        architecture(tmp_path)


def test_a_folder_is_taken_as_it_is(tmp_path):
    assert resolve(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("weights", ["./nowhere", "/nowhere/at/all", "a/b/c", ""])
def test_a_folder_that_is_not_there_is_named(weights):
    with pytest.raises(InputError, match="no such folder; give one, or a hub id like FacebookAI/xlm-roberta-large"):
        resolve(weights)


def test_a_hub_id_without_network_says_what_to_do(tmp_path):
    with pytest.raises(
        InputError, match=r"weights='someone/something': not a folder here, not in the hub's cache, and"
    ):
        resolve("someone/something", cache=tmp_path)


def test_a_snapshot_in_the_cache_needs_no_network(tmp_path):
    repository = tmp_path / "models--someone--something"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    (snapshot / "model.safetensors").write_text("")
    assert resolve("someone/something", cache=tmp_path) == snapshot


class Hub:
    """Stands for the hub: records what is asked for and gives a folder with some files."""

    def __init__(self, folder, files=(), error=None):
        self.folder, self.files, self.error, self.asked = folder, files, error, []

    def snapshot_download(self, weights, *, revision, cache_dir, allow_patterns):
        self.asked.append((weights, revision, allow_patterns))
        if self.error:
            raise self.error
        for name in self.files:
            (self.folder / name).write_text("")
        return str(self.folder)


@pytest.mark.parametrize(("files", "downloads"), [(["model.safetensors"], 1), (["pytorch_model.bin"], 2)])
def test_only_one_kind_of_weights_is_downloaded_at_the_revision(files, downloads, tmp_path, monkeypatch):
    hub = Hub(tmp_path, files)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    assert resolve("FacebookAI/xlm-roberta-large", revision="c23d21b") == tmp_path
    assert [(weights, revision) for weights, revision, _ in hub.asked] == [
        ("FacebookAI/xlm-roberta-large", "c23d21b")
    ] * downloads
    first, *rest = (patterns for _, _, patterns in hub.asked)
    assert "config.json" in first
    assert "tokenizer.json" in first
    assert "model*.safetensors" in first
    assert not any("pytorch_model" in pattern for pattern in first)
    assert all("pytorch_model*.bin" in patterns and "model*.safetensors" not in patterns for patterns in rest)


def response():
    import httpx2 as httpx  # huggingface_hub's errors carry a response

    return httpx.Response(404, request=httpx.Request("GET", "https://hub"))


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        (
            errors.RepositoryNotFoundError,
            "no such folder here and no such repository on the hub; correct the name, or set",
        ),
        (errors.RevisionNotFoundError, "the hub has no revision 'v9' of it"),
    ],
)
def test_what_the_hub_does_not_have_is_named(kind, match, tmp_path, monkeypatch):
    hub = Hub(tmp_path, error=kind("no", response=response()))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    with pytest.raises(InputError, match=match):
        resolve("someone/something", revision="v9")


def test_a_config_json_that_is_a_folder_or_has_no_end_is_told(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(InputError, match=r"config\.json: not JSON \(maximum recursion depth"):
        architecture(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match=r"config\.json: cannot be read \(Is a directory\)"):
        architecture(tmp_path)


def test_an_index_of_weights_that_has_no_end_or_names_no_file_is_told(tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    for content in ("[" * 100_000, json.dumps({"weight_map": {"a": "x" * 5000}})):
        index.write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=r"index\.json: not an index of weights"):
            open_folder(tmp_path)
