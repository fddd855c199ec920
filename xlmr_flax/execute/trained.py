"""What a phase computes with: its shape, its head, its tokenizer; and a finished phase's model, ready to predict."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from xlmr_flax.config.architecture import Architecture
from xlmr_flax.config.schema import Evaluation, Phase
from xlmr_flax.data.tokenizer import Tokenizer, check_fits, load_tokenizer
from xlmr_flax.errors import InputError
from xlmr_flax.execute.recorded import phase_config
from xlmr_flax.graph import check
from xlmr_flax.graph.folders import Folders
from xlmr_flax.graph.mixture import head_for, members
from xlmr_flax.graph.nodes import Perturbation, PhaseNode, TokenizerNode
from xlmr_flax.model import hub
from xlmr_flax.model.build import Model
from xlmr_flax.model.heads import HeadSpec
from xlmr_flax.storage.copies import copy_of
from xlmr_flax.tasks.task import Head, Task
from xlmr_flax.train.checkpoint import SELECTED, load_selected
from xlmr_flax.train.exchanges import make_model
from xlmr_flax.train.state import abstract_params


class Trained(NamedTuple):
    """A finished phase's model on the devices."""

    model: Model
    params: Any
    tokenizer: Tokenizer
    task: str
    length: int
    tokenizer_folder: Path
    labels: tuple[str, ...]


class Subject(NamedTuple):
    """What is scored: a model, on a task's split, with an evaluation's settings.

    Without `labels`, a split whose labels are hidden is predicted and gets no scores. Mining finds its threshold on
    `select`.
    """

    trained: Trained
    task: Task
    split: str
    evaluation: Evaluation
    data: Path
    labels: bool = True
    select: str | None = None
    shared: dict[str, Any] | None = None  # what is made once for all languages
    perturbation: Perturbation | None = None  # None: inputs as they are


def head_spec(head: Head, phase: Phase | None = None) -> HeadSpec:
    """The model's head for a task's, and a dual one as a phase wants its vectors compared."""
    if head.kind == "dual" and phase:
        return HeadSpec("dual", similarity=phase.similarity, scale=phase.scale)
    return HeadSpec(head.kind, len(head.labels) or head.options or 0)


def shape_of(node: PhaseNode, tokenizer: Tokenizer) -> Architecture:
    """The encoder's shape. Raises InputError when the tokenizer, the weights and the length do not go together."""
    model = node.root.model
    if model.weights:
        folder = hub.resolve(model.weights, revision=model.revision or "main")
        changes = {name: value for name, value in model.architecture.model_dump().items() if value is not None}
        arch = hub.architecture(folder).model_copy(update=changes)
        check_fits(tokenizer, arch.vocab_size)
    else:
        arch = check.architecture(model, tokenizer.vocab_size)
    if tokenizer.vocab_size > arch.vocab_size:
        raise InputError(f"the tokenizer has {tokenizer.vocab_size} words, the model's vocab_size is {arch.vocab_size}")
    if tokenizer.pad != arch.pad_token_id:
        raise InputError(f"the tokenizer's <pad> is {tokenizer.pad}, the model's pad_token_id is {arch.pad_token_id}")
    return arch


def check_length(arch: Architecture, length: int, *, field: str) -> None:
    """Raises InputError for rows that are longer than the model's positions."""
    if length > arch.longest:
        raise InputError(f"{field}={length}: the model has positions for at most {arch.longest} tokens")


@functools.lru_cache(maxsize=4)
def tokenizer_in(folder: Path) -> Tokenizer:
    """The tokenizer of a folder, read once."""
    return load_tokenizer(copy_of(folder))


def tokenizer_of(node: PhaseNode, folders: Folders) -> Path:
    """The folder of a phase's tokenizer: trained, given, or that of the weights."""
    if isinstance(node.tokenizer, TokenizerNode):
        return folders.of(node.tokenizer)
    if node.tokenizer:
        return hub.resolve(node.tokenizer)
    model = node.root.model
    return hub.resolve(model.weights or "", revision=model.revision or "main")


def load_trained(
    folder: Path, folders: Folders, mesh: Mesh, wanted: Task | None = None, *, selected: str = SELECTED
) -> Trained:
    """The model of a finished phase's folder, of several tasks with the head for the one that is wanted, or the first.

    Raises InputError when it is none.
    """
    check_finished(folder)
    config = phase_config(folder)
    heads = heads_in(config)
    task = (head_for(tuple(heads), wanted) if wanted else None) or next(iter(heads))
    tokenizer = recorded_tokenizer(config, folder, folders)
    model = model_of(config, task, mesh)
    like = abstract_params(model, mesh)
    if len(heads) > 1:
        of_task = {"encoder": like["encoder"], "head": {task: like["head"]}}
        params = load_selected(folder / "checkpoints", of_task, selected)
        params["head"] = params["head"][task]
    else:
        params = load_selected(folder / "checkpoints", like, selected)
    where = tokenizer_folder(config["tokenizer"], folders)
    return Trained(model, params, tokenizer, task, phase_of(config, task).length, where, heads[task].labels)


def model_of(config: Mapping[str, Any], task: str, mesh: Mesh) -> Model:
    """The model of a phase's config.json with the head for one of its tasks."""
    arch = Architecture.model_validate_json(json.dumps(config["architecture"]))
    head = head_spec(heads_in(config)[task], phase_of(config, task))
    return make_model(arch, head, compute=config["compute"], mesh=mesh)


def check_finished(folder: Path) -> None:
    """Raises InputError for a folder that is no finished phase's."""
    if not (folder / "DONE").is_file():
        raise InputError(f"{folder}: not a finished phase (no DONE in it); run its experiment to the end first")


def heads_in(config: Mapping[str, Any]) -> dict[str, Head]:
    """The heads that a phase's config.json tells, by task."""
    told = config["heads"] if "heads" in config else {config["task"]: config["head"]}
    return {name: Head(head["kind"], tuple(head["labels"]), head["options"]) for name, head in told.items()}


def phase_of(config: Mapping[str, Any], task: str) -> Phase:
    """The phase of a config.json, as one of its tasks sees it."""
    whole = Phase.model_validate_json(json.dumps(config["phase"]))
    return next(one for one in members(whole) if one.tasks == (task,))


def tokenizer_entry(node: PhaseNode, folders: Folders, tokenizer: Tokenizer) -> dict[str, Any]:
    """What a phase's config.json says of its tokenizer."""
    where = tokenizer_of(node, folders)
    inside = where.is_relative_to(folders.runs)
    return {
        "folder": str(where.relative_to(folders.runs) if inside else where.resolve()),
        # for another machine, where a hub's or a bucket's files lie elsewhere
        "name": None if inside else node.tokenizer or node.root.model.weights,
        "revision": None if inside or node.tokenizer else node.root.model.revision,
        "fingerprint": tokenizer.fingerprint,
    }


def recorded_tokenizer(config: Mapping[str, Any], folder: Path, folders: Folders) -> Tokenizer:
    """The tokenizer of a phase's config.json. Raises InputError when it is another by now."""
    where = tokenizer_folder(config["tokenizer"], folders)
    tokenizer = tokenizer_in(where)
    if tokenizer.fingerprint != config["tokenizer"]["fingerprint"]:
        raise InputError(f"{where}: not the tokenizer that {folder} was trained with; its content has changed")
    return tokenizer


def tokenizer_folder(recorded: Mapping[str, Any], folders: Folders) -> Path:
    """Where a phase's tokenizer is: below the runs, or a folder, or what its name means on this machine."""
    folder = folders.runs / recorded["folder"]  # an absolute one stays as it is
    if not folder.is_dir() and recorded.get("name"):
        return hub.resolve(recorded["name"], revision=recorded["revision"] or "main")
    return folder


def parameter_count(params: Any) -> int:
    """How many numbers a model has."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
