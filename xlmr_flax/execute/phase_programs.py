"""A phase's programs before it runs: what it computes with, as far as that is known, and its batches' shapes."""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from xlmr_flax.config.architecture import PRESETS, XLMR_VOCABULARY, Architecture
from xlmr_flax.config.schema import Experiment
from xlmr_flax.data.batches import TrainingBatches, evaluation_batches
from xlmr_flax.data.examples import Examples
from xlmr_flax.data.load import load_examples
from xlmr_flax.data.mixture import Taken, steps_over, taken, training_batches
from xlmr_flax.data.switching import Switch
from xlmr_flax.data.tokenizer import Tokenizer
from xlmr_flax.errors import InputError
from xlmr_flax.evaluate.predict import rows_of
from xlmr_flax.evaluate.retrieval import POOLINGS
from xlmr_flax.execute.material import added_steps, trained_model, training_examples
from xlmr_flax.execute.retrieval import settings
from xlmr_flax.execute.robust import smoothing_of, switch_of
from xlmr_flax.execute.trained import check_length, head_spec, shape_of, tokenizer_in
from xlmr_flax.graph import check
from xlmr_flax.graph.build import Graph
from xlmr_flax.graph.folders import Folders
from xlmr_flax.graph.nodes import EvalNode, PhaseNode, TokenizerNode
from xlmr_flax.model import hub
from xlmr_flax.model.build import Model
from xlmr_flax.plan.programs import (
    Shape,
    embed_program,
    full_examples,
    mixed_shapes,
    predict_program,
    shapes,
    train_program,
    training_shapes,
    vector_program,
)
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.labels import with_labels
from xlmr_flax.tasks.task import Task
from xlmr_flax.train.exchanges import make_model
from xlmr_flax.train.optimizer import make_optimizer_by_part
from xlmr_flax.train.sharding import row_shards, rows_per_shard

# Shapes of published weights and the rows of their word tables, so that planning with them fetches nothing.
PUBLISHED = {
    "FacebookAI/xlm-roberta-base": ("base", XLMR_VOCABULARY),
    "FacebookAI/xlm-roberta-large": ("large", XLMR_VOCABULARY),
    "facebook/xlm-roberta-xl": ("xl", 250_880),
    "facebook/xlm-roberta-xxl": ("xxl", 250_880),
}
SAMPLED_BATCHES = 64  # of an evaluation, to see how often each shape comes
SELECTION_BATCH = 64


class WorkPart(NamedTuple):
    """One task of a phase before its programs are known: its model's shape, and its examples where they are there."""

    node: PhaseNode  # the phase as the task sees it
    task: Task
    arch: Architecture
    tokenizer: Tokenizer | None
    taken: Taken
    real: bool  # the examples are the phase's own, and not all of the full length

    def trained(self, experiment: Experiment, mesh: Mesh) -> Model:
        """The model as the phase trains it."""
        return trained_model(self.node, self.arch, self.task.head, experiment, mesh)

    def evaluated(self, experiment: Experiment, mesh: Mesh) -> Model:
        """The model as evaluations load it."""
        spec = head_spec(self.task.head, self.node.phase)
        return make_model(self.arch, spec, compute=experiment.model.compute, mesh=mesh)


class Work(NamedTuple):
    """A phase before its programs are known."""

    node: PhaseNode
    parts: tuple[WorkPart, ...]  # by task
    steps: int | None

    @property
    def arch(self) -> Architecture:
        """The encoder's shape."""
        return self.parts[0].arch

    @property
    def real(self) -> bool:
        """Whether all examples are the phase's own."""
        return all(part.real for part in self.parts)

    def with_layers(self, count: int) -> "Work":
        """The same of a shallower encoder."""
        arch = self.arch.model_copy(update={"num_hidden_layers": count})
        return self._replace(parts=tuple(part._replace(arch=arch) for part in self.parts))

    def accumulating(self, count: int) -> "Work":
        """The same in so many micro-batches."""

        def changed(node: PhaseNode) -> PhaseNode:
            return dataclasses.replace(node, phase=node.phase.model_copy(update={"accumulation": count}))

        parts = tuple(part._replace(node=changed(part.node)) for part in self.parts)
        return self._replace(node=changed(self.node), parts=parts)


def work(node: PhaseNode, folders: Folders) -> Work:
    """What a phase computes with, as far as it can be known before it runs."""
    tokenizer = _tokenizer(node, folders)
    arch = _architecture(node, tokenizer)
    parts = tuple(_part(member, folders, arch, tokenizer) for member in node.members)
    real = all(part.real for part in parts)
    if real and tokenizer:
        steps = steps_over(node.phase, [part.taken for part in parts]) + added_steps(node, tokenizer, folders)
        return Work(node, parts, steps)
    told = [one.phase.steps for one in (node, *node.stands_for)]
    return Work(node, parts, None if None in told else sum(filter(None, told)))


def _part(node: PhaseNode, folders: Folders, arch: Architecture, tokenizer: Tokenizer | None) -> WorkPart:
    phase = node.phase
    check_length(arch, phase.length, field=f"phases.{phase.name}.length")
    declared = with_labels(task(node.task), node.train, node.langs, folders.data_of(node))
    examples = _examples(node, declared, tokenizer, folders)
    if examples:
        switch = _switch(node, tokenizer, folders)
        found = taken(examples, phase, seed=node.seed, switch=switch)
        return WorkPart(node, declared, arch, tokenizer, found, real=True)
    full = _full(node, declared, phase.batch_size)
    return WorkPart(node, declared, arch, tokenizer, Taken(full, np.arange(full.items)), real=False)


def train_programs(one: Work, experiment: Experiment, mesh: Mesh) -> Iterator[tuple[Shape, jax.stages.Lowered]]:
    """The training step at each of its shapes, the most frequent first."""
    phase, shards = one.node.phase, row_shards(mesh)
    field = f"phases.{phase.name}.batch_size" + (" / accumulation" if phase.accumulation > 1 else "")
    for part in one.parts:
        rows_per_shard(part.node.phase.batch_size // phase.accumulation, shards, field=field)
    steps = (one.steps or 1) if one.real else 1
    batches = training_batches(
        phase,
        [part.taken for part in one.parts],
        seed=one.node.seed,
        steps=steps,
        packed_over=shards if one.real else None,
    )
    if isinstance(batches, TrainingBatches):
        model = one.parts[0].trained(experiment, mesh)
        for shape in training_shapes(batches, one.arch, steps=steps):
            yield shape, train_program(model, phase.optim, mesh, shape.batch, smoothing_of(phase))
        return
    models = {part.node.task: part.trained(experiment, mesh) for part in one.parts}
    # Where examples are not there their numbers are unknown, and so are the shares that come of them.
    known = one.real or phase.mixture.sampling in ("uniform", "weights")
    for shape in mixed_shapes(batches, one.arch, steps=steps):
        lowered = train_program(
            models[shape.task or ""],
            phase.optim,
            mesh,
            shape.batch,
            smoothing_of(phase),
            optimizer=make_optimizer_by_part,
        )
        yield shape if known else shape._replace(share=None), lowered


def eval_programs(one: Work, graph: Graph, folders: Folders, mesh: Mesh) -> Iterator[tuple[Shape, jax.stages.Lowered]]:
    """The steps that evaluate a phase's model, each kind at each of its shapes."""
    for part in one.parts:
        for shape, lowered in _part_programs(part, graph, folders, mesh):
            yield shape._replace(task=part.node.task if one.node.mixed else None), lowered


def _part_programs(
    one: WorkPart, graph: Graph, folders: Folders, mesh: Mesh
) -> Iterator[tuple[Shape, jax.stages.Lowered]]:
    seen = set()
    for name, declared, examples, batch_size, node in _evaluated(one, graph, folders):
        rows = rows_of(batch_size, examples, mesh)
        packing = node.evaluation.packing if node else one.node.phase.packing
        model = (one.evaluated if node else one.trained)(graph.experiment, mesh)
        batches = itertools.islice(evaluation_batches(examples, rows=rows, packing=packing), SAMPLED_BATCHES)
        for shape in shapes(((batch, len(shown.items)) for shown, batch in batches), one.arch):
            if (name, shape.rows, shape.length) not in seen:
                seen.add((name, shape.rows, shape.length))
                yield shape, _evaluation_program(model, declared, node, mesh, shape)


def _evaluation_program(
    model: Model, declared: Task, node: EvalNode | None, mesh: Mesh, shape: Shape
) -> jax.stages.Lowered:
    if declared.head.kind == "embedding" and node:
        layers, poolings = zip(*settings(node.evaluation, model.arch.num_hidden_layers), strict=True)
        unique = tuple(dict.fromkeys(POOLINGS[name] for name in poolings))
        return embed_program(model, mesh, shape.batch, poolings=unique, layers=tuple(dict.fromkeys(layers)))
    if declared.head.kind == "dual":
        return vector_program(model, mesh, shape.batch)
    return predict_program(model, mesh, shape.batch)


def _evaluated(
    one: WorkPart, graph: Graph, folders: Folders
) -> Iterator[tuple[str, Task, Examples, int, EvalNode | None]]:
    """What a phase's model is evaluated on: the kind of program, the task, examples, the batch size."""
    phase, kind = one.node.phase, one.task.head.kind
    if phase.selection and kind != "dual":
        yield kind, one.task, _full(one.node, one.task, SELECTION_BATCH), SELECTION_BATCH, None
    for node in graph.nodes:
        if not isinstance(node, EvalNode) or node.phase.name != one.node.name or node.trained.task != one.node.task:
            continue
        declared, size, length = task(node.task), node.evaluation.batch_size, node.evaluation.length
        declared = one.task if declared.head.kind == one.task.head.kind else declared
        examples = None
        if declared.head.kind not in ("embedding", "dual") and one.tokenizer:
            examples = _evaluation_examples(node, declared, one.tokenizer, folders)
        kind = declared.head.kind
        if kind == "embedding":
            kind = f"{kind} {node.evaluation.layers} {node.evaluation.poolings}"
        yield kind, declared, examples or _full(one.node, declared, size, length), size, node


def _full(node: PhaseNode, declared: Task, items: int, length: int | None = None) -> Examples:
    return full_examples(
        declared.head.kind,
        items=items,
        units=declared.head.units,
        length=length or node.phase.length,
        mask_rate=node.phase.mask_rate,
    )


def _tokenizer(node: PhaseNode, folders: Folders) -> Tokenizer | None:
    """The phase's tokenizer where it is on this machine."""
    if isinstance(node.tokenizer, TokenizerNode):
        folder = folders.of(node.tokenizer)
        return tokenizer_in(folder) if (folder / "DONE").is_file() else None
    given = node.tokenizer or node.root.model.weights or ""
    return tokenizer_in(Path(given)) if Path(given).is_dir() else None


def _architecture(node: PhaseNode, tokenizer: Tokenizer | None) -> Architecture:
    """The encoder's shape: by its tokenizer, or as it is published, or as the config says."""
    if tokenizer:
        return shape_of(node, tokenizer)
    model = node.root.model
    if not model.weights:
        given = isinstance(node.tokenizer, TokenizerNode)
        return check.architecture(model, node.tokenizer.vocab_size if given else XLMR_VOCABULARY)
    if not Path(model.weights).is_dir() and model.weights in PUBLISHED:
        preset, vocab_size = PUBLISHED[model.weights]
        arch = Architecture(vocab_size=vocab_size, **PRESETS[preset])
    else:
        arch = hub.architecture(hub.resolve(model.weights, revision=model.revision or "main"))
    changes = {name: value for name, value in model.architecture.model_dump().items() if value is not None}
    return arch.model_copy(update=changes)


def _examples(node: PhaseNode, declared: Task, tokenizer: Tokenizer | None, folders: Folders) -> Examples | None:
    """The phase's own examples, where its files and its tokenizer are there."""
    if tokenizer is None:
        return None
    try:
        return training_examples(node, declared, tokenizer, folders)
    except InputError:
        return None


def _switch(node: PhaseNode, tokenizer: Tokenizer, folders: Folders) -> Switch | None:
    """What replaces words, where its dictionary is there; without it lengths are a little off."""
    with contextlib.suppress(InputError):
        return switch_of(node.phase, node.langs, tokenizer, folders.data_of(node))
    return None


def _evaluation_examples(node: EvalNode, declared: Task, tokenizer: Tokenizer, folders: Folders) -> Examples | None:
    try:
        return load_examples(
            declared,
            node.split,
            node.langs[0],
            data=folders.data_of(node.phase),
            tokenizer=tokenizer,
            length=node.evaluation.length or node.trained.phase.length,
            cache=folders.cache,
        )
    except InputError:
        return None
