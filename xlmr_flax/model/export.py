"""A folder that transformers loads: config.json, model.safetensors and the tokenizer."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from xlmr_flax.config.architecture import Architecture
from xlmr_flax.errors import InputError
from xlmr_flax.model.encoder import Tree
from xlmr_flax.model.heads import HeadSpec, Kind
from xlmr_flax.model.hub import FAMILIES
from xlmr_flax.model.weights import PREFIX, encoder_rows, flat, head_rows, leaves, names, outward

CLASSES: dict[Kind, str] = {  # after the name of the family
    "sequence": "ForSequenceClassification",
    "choice": "ForMultipleChoice",
    "token": "ForTokenClassification",
    "span": "ForQuestionAnswering",
    "mlm": "ForMaskedLM",
    "embedding": "Model",
    "dual": "Model",
}

TOKENIZER_FILES = (
    "tokenizer.json",
    "sentencepiece.bpe.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)


def export(
    folder: Path,
    arch: Architecture,
    params: Tree,
    spec: HeadSpec,
    *,
    labels: Sequence[str] = (),
    tokenizer: Path | None = None,
    fetch: Callable[[Any], np.ndarray] = np.asarray,
) -> None:
    """Writes `params` as transformers keeps them; `labels` in the order of the logits.

    `fetch` brings one array to this host. The folder appears when it is whole, and must not exist before.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: there is something already; export into a new folder")
    if spec.kind in ("sequence", "token") and len(labels) != spec.size:
        raise InputError(f"{len(labels)} labels were given for a {spec.kind} head of size {spec.size}; name each")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    config = json.dumps(_config(arch, spec, labels), indent=2, ensure_ascii=False)
    (partial / "config.json").write_text(config + "\n", encoding="utf-8")
    if tokenizer is not None:
        _copy_tokenizer(tokenizer, partial)
    # "pt" says that the layout is PyTorch's; transformers refuses files without it.
    save_file(state_dict(arch, params, spec, fetch=fetch), partial / "model.safetensors", metadata={"format": "pt"})
    partial.replace(folder)


def class_name(arch: Architecture, kind: Kind) -> str:
    """Their class for an encoder with a head."""
    return FAMILIES[arch.pre_norm].classes + CLASSES[kind]


def kind_of(arch: Architecture, classes: Sequence[str]) -> Kind:
    """Our head for the classes that a config.json names as its architectures; the embedding where it has none."""
    return next((kind for kind in CLASSES if class_name(arch, kind) in classes), "embedding")


def state_dict(
    arch: Architecture, params: Tree, spec: HeadSpec, *, fetch: Callable[[Any], np.ndarray] = np.asarray
) -> dict[str, np.ndarray]:
    """Their tensors by their names."""
    arrays, tensors = dict(flat(params)), {}
    for leaf in leaves(encoder_rows(arch) + head_rows(spec.kind)):
        array = fetch(arrays.pop(leaf.path))
        layers = array if "{}" in leaf.name else array[None]
        for part, name in zip(layers, names(leaf, arch), strict=True):
            tensors[_full_name(name, spec)] = np.ascontiguousarray(outward(leaf, part, arch))
    if arrays:
        raise InputError(f"parameters {sorted(arrays)} have no name in transformers under a {spec.kind} head")
    return tensors


def _full_name(name: str, spec: HeadSpec) -> str:
    ours_alone = spec.kind in ("embedding", "dual") or name.startswith(("classifier", "qa_outputs", "lm_head"))
    return name if ours_alone else PREFIX + name


def _config(arch: Architecture, spec: HeadSpec, labels: Sequence[str]) -> dict[str, Any]:
    config = {
        "architectures": [class_name(arch, spec.kind)],
        "model_type": FAMILIES[arch.pre_norm].model_type,
        **arch.model_dump(exclude={"pre_norm"}),
        "position_embedding_type": "absolute",
        "tie_word_embeddings": True,
        "dtype": "float32",
    }
    if spec.kind == "dual":
        config["similarity"] = spec.similarity  # ours; transformers keeps what it does not know
    if labels:
        config["id2label"] = {str(i): label for i, label in enumerate(labels)}
        config["label2id"] = {label: i for i, label in enumerate(labels)}
    return config


def _copy_tokenizer(tokenizer: Path, folder: Path) -> None:
    found = [tokenizer / name for name in TOKENIZER_FILES if (tokenizer / name).is_file()]
    if not any(path.name in TOKENIZER_FILES[:2] for path in found):
        raise InputError(f"{tokenizer}: no tokenizer here; tokenizer.json or sentencepiece.bpe.model was expected")
    for path in found:
        shutil.copyfile(path, folder / path.name)
