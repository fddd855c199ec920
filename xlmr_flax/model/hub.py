"""Where weights are, a folder here or in a bucket or Hugging Face's hub, and what their config.json says."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import huggingface_hub
import pydantic
from huggingface_hub import errors

from xlmr_flax.config.architecture import Architecture
from xlmr_flax.config.load import is_folder
from xlmr_flax.errors import InputError, listed
from xlmr_flax.storage.copies import copy_of
from xlmr_flax.storage.places import is_remote, place

SMALL_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "*.bpe.model")
SAFETENSORS = ("model*.safetensors", "model.safetensors.index.json")
BIN = ("pytorch_model*.bin", "pytorch_model.bin.index.json")


class Family(NamedTuple):
    """Encoders that differ in sizes alone, and how transformers speaks of them.

    `silent` is what transformers takes where config.json is silent, which is not always what we take; sizes have to be
    there.
    """

    model_type: str
    classes: str  # what the names of its classes begin with
    silent: dict[str, Any]


SILENT = {
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "classifier_dropout": None,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}

FAMILIES = {  # by Architecture.pre_norm
    False: Family("xlm-roberta", "XLMRoberta", SILENT),
    True: Family(
        "xlm-roberta-xl",
        "XLMRobertaXL",
        {**SILENT, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
    ),
}

# Settings that change what is computed: only these values are built here.
ONLY: dict[str, Any] = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "is_encoder_decoder": False,
    "tie_word_embeddings": True,
    "pruned_heads": {},
}

# Settings that change nothing here: names, records of how the file came to be, and the making of outputs.
IGNORED = frozenset(
    (
        *(
            "_name_or_path",
            "architectures",
            "transformers_version",
            "torch_dtype",
            "dtype",
            "tokenizer_class",
            "language",
            "similarity",  # of a dual head that we exported
        ),
        *("id2label", "label2id", "num_labels", "problem_type", "finetuning_task", "task_specific_params"),
        *("use_cache", "output_past", "output_attentions", "output_hidden_states", "return_dict"),
        *("gradient_checkpointing", "chunk_size_feed_forward", "_attn_implementation_autoset"),
    )
)


def resolve(weights: str, *, revision: str = "main", cache: Path | None = None) -> Path:
    """The local folder of `weights`: a folder as it is, of a bucket's and of a hub id by downloading what is needed.

    The folder of a hub id is named by the commit, which is what `revision` means for ever.
    """
    if is_remote(weights):
        return _copied(place(weights))
    if weights and is_folder(Path(weights)):
        return Path(weights)
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", weights):
        raise InputError(
            f"weights={weights!r}: no such folder; give one, or a hub id like FacebookAI/xlm-roberta-large"
        )
    folder = _snapshot(weights, revision, cache, SMALL_FILES + SAFETENSORS)
    if not any(folder.glob("*.safetensors")):
        folder = _snapshot(weights, revision, cache, SMALL_FILES + BIN)
    return folder


def _copied(folder: Path) -> Path:
    here = copy_of(folder, SMALL_FILES + SAFETENSORS)
    if not any(here.glob("*.safetensors")):
        here = copy_of(folder, SMALL_FILES + BIN)
    if not here.is_dir():
        raise InputError(f"weights={str(folder)!r}: there is nothing of a model's files; is this its folder?")
    return here


def architecture(folder: Path) -> Architecture:
    """What the folder's config.json says of the encoder; what we do not build is refused by name."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{folder}: no config.json here, so the weights' shape is unknown; copy it beside them"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); copy it again") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error})") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: a {type(config).__name__} where settings were expected")
    fields = Architecture.model_fields.keys() - {"pre_norm"}
    known = {"model_type", *fields, *ONLY, *IGNORED}
    problems = [f"{path}: {problem}" for problem in _family_problems(config)]
    problems += [
        f"{path}: {name}={config[name]!r} is not supported, only {value!r}"
        for name, value in ONLY.items()
        if config.get(name, value) != value
    ]
    problems += [
        f"{path}: {name} is a setting nobody here knows; if it does not change the encoder, take it out"
        for name in config
        if name not in known
    ]
    if problems:
        raise listed(problems)
    pre_norm = next(key for key, family in FAMILIES.items() if family.model_type == config["model_type"])
    stated = {name: config[name] for name in fields if name in config}
    try:
        return Architecture(**{**FAMILIES[pre_norm].silent, **stated, "pre_norm": pre_norm})
    except pydantic.ValidationError as error:
        raise listed([f"{path}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]) from error


def _family_problems(config: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a config.json's model_type; early revisions of facebook/xlm-roberta-xxl state a wrong one."""
    stated, known = config.get("model_type"), [family.model_type for family in FAMILIES.values()]
    if stated not in known:
        yield f"model_type={stated!r} is not supported, only {' or '.join(map(repr, known))}"
    elif stated == FAMILIES[False].model_type and FAMILIES[True].classes in str(config.get("architectures")):
        yield (
            f"model_type={stated!r} contradicts architectures={config['architectures']!r}; "
            "take a later revision of the weights, or correct the file"
        )


def _snapshot(weights: str, revision: str, cache: Path | None, patterns: tuple[str, ...]) -> Path:
    try:
        found = huggingface_hub.snapshot_download(
            weights, revision=revision, cache_dir=cache, allow_patterns=list(patterns)
        )
    except errors.RevisionNotFoundError as error:
        raise InputError(f"weights={weights!r}: the hub has no revision {revision!r} of it") from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"weights={weights!r}: no such folder here and no such repository on the hub; "
            "correct the name, or set HF_TOKEN if it is private"
        ) from error
    except (
        errors.LocalEntryNotFoundError,
        errors.OfflineModeIsEnabled,
        errors.HfHubHTTPError,
        errors.HFValidationError,
        OSError,
    ) as error:
        raise InputError(
            f"weights={weights!r}: not a folder here, not in the hub's cache, and the hub cannot be reached "
            f"({type(error).__name__}); fetch it where there is a network and give the folder"
        ) from error
    return Path(found)
