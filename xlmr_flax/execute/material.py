"""What a phase trains on: its tasks' examples, models and splits to select on, checked before anything is written."""

import json
from typing import NamedTuple

from jax.sharding import Mesh

from xlmr_flax.config.architecture import Architecture
from xlmr_flax.config.schema import Experiment
from xlmr_flax.data.examples import Examples
from xlmr_flax.data.load import load_examples, load_languages, load_text
from xlmr_flax.data.mixture import Batches, Taken, steps_over, taken, training_batches
from xlmr_flax.data.tokenizer import Tokenizer
from xlmr_flax.errors import InputError
from xlmr_flax.execute.context import Context
from xlmr_flax.execute.robust import switch_of
from xlmr_flax.execute.trained import check_length, head_spec, heads_in, shape_of, tokenizer_in, tokenizer_of
from xlmr_flax.graph.folders import Folders
from xlmr_flax.graph.mixture import head_from
from xlmr_flax.graph.nodes import PhaseNode
from xlmr_flax.graph.origins import also_sources_of, sources_of
from xlmr_flax.model.build import Model
from xlmr_flax.sources.rows import Row
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import other_release, rows
from xlmr_flax.tasks.labels import with_labels
from xlmr_flax.tasks.task import Head, Task
from xlmr_flax.train.average import averaged_steps
from xlmr_flax.train.exchanges import make_model
from xlmr_flax.train.sharding import row_shards, rows_per_shard
from xlmr_flax.train.state import abstract_params


class Chosen(NamedTuple):
    """Rows to select on, in one language."""

    lang: str
    rows: list[Row]
    examples: Examples


class Part(NamedTuple):
    """One task of a phase: what of its examples is taken, and the rows to select on."""

    node: PhaseNode  # the phase as the task sees it
    task: Task
    model: Model
    taken: Taken
    select: list[Chosen]

    @property
    def examples(self) -> Examples:
        """All that there are of it."""
        return self.taken.examples

    @property
    def metric(self) -> str:
        """What a checkpoint is selected by."""
        selection = self.node.phase.selection
        return (selection.metric if selection else None) or self.task.metric


class Material(NamedTuple):
    """What a phase trains on, checked whole before anything is written."""

    arch: Architecture
    tokenizer: Tokenizer
    parts: tuple[Part, ...]
    steps: int
    sources: dict[str, str]
    also_sources: dict[str, str]  # of the languages that it selects on beside

    @property
    def models(self) -> dict[str, Model]:
        """By task; they differ in their heads."""
        return {part.node.task: part.model for part in self.parts}

    def batches(self, node: PhaseNode, context: Context, *, seed: int) -> Batches:
        """The phase's batches in the order of a seed."""
        shards = row_shards(context.mesh)
        found = [part.taken for part in self.parts]
        return training_batches(node.phase, found, seed=seed, steps=self.steps, packed_over=shards)


def prepare(node: PhaseNode, context: Context) -> Material:
    """Reads, encodes and checks everything that a phase needs, and writes nothing but the cache."""
    tokenizer = tokenizer_in(tokenizer_of(node, context.folders))
    arch = shape_of(node, tokenizer)
    parts = tuple(_part(member, context, arch, tokenizer) for member in node.members)
    steps = steps_over(node.phase, [part.taken for part in parts]) + added_steps(node, tokenizer, context.folders)
    _check_average(node, steps)
    return Material(
        arch, tokenizer, parts, steps, sources_of(node, context.folders), also_sources_of(node, context.folders)
    )


def _check_average(node: PhaseNode, steps: int) -> None:
    average = node.phase.average
    if average and len(found := averaged_steps(average, steps)) < average.checkpoints:
        apart = steps // average.checkpoints
        raise InputError(
            f"phases.{node.name}.average: {steps} steps have checkpoints at {', '.join(map(str, found))}, wanted "
            f"{average.checkpoints} of them; {f'set every_steps={apart} or less' if apart else 'average fewer'}"
        )


def _part(node: PhaseNode, context: Context, arch: Architecture, tokenizer: Tokenizer) -> Part:
    phase, folders = node.phase, context.folders
    declared = with_labels(task(node.task), node.train, node.langs, folders.data_of(node))
    field = f"phases.{phase.name}"
    _check_kept_head(node, context, declared)
    # Whole examples go to a device: the options of a choice are never parted.
    rows_per_shard(
        phase.batch_size // phase.accumulation, row_shards(context.mesh), field=f"{field}.batch_size / accumulation"
    )
    check_length(arch, phase.length, field=f"{field}.length")
    model = trained_model(node, arch, declared.head, context.experiment, context.mesh)
    abstract_params(model, context.mesh)  # refuses a mesh over which they do not split
    switch = switch_of(phase, node.langs, tokenizer, folders.data_of(node))
    found = taken(training_examples(node, declared, tokenizer, folders), phase, seed=node.seed, switch=switch)
    if not len(found.chosen):
        raise InputError(f"{field}: {node.task} gives nothing to train on")
    material = {"data": folders.data_of(node), "tokenizer": tokenizer, "length": phase.length, "cache": folders.cache}
    select = []
    for lang in node.selecting_langs if node.select and phase.selection else ():
        read = rows(declared, node.select, lang, folders.data_of(node))[: phase.selection.max_examples]
        kept = load_examples(declared, node.select, lang, **material).first_rows(len(read))
        select.append(Chosen(lang, read, kept))
    return Part(node, declared, model, found, select)


def trained_model(node: PhaseNode, arch: Architecture, head: Head, experiment: Experiment, mesh: Mesh) -> Model:
    """The model as a phase trains it, with its experiment's ways to save memory."""
    return make_model(
        arch,
        head_spec(head, node.phase),
        compute=node.model.compute,
        remat=experiment.model.remat,
        scan_layers=experiment.model.scan_layers,
        reshard_after_forward=experiment.mesh.reshard_after_forward,
        mesh=mesh,
    )


def training_examples(node: PhaseNode, declared: Task, tokenizer: Tokenizer, folders: Folders) -> Examples:
    """What a phase trains on, encoded: the experiment's text, or the rows of its task in all of its languages."""
    phase = node.phase
    material = {"data": folders.data_of(node), "tokenizer": tokenizer, "length": phase.length, "cache": folders.cache}
    if node.text:
        return load_text(node.text, mask_rate=phase.mask_rate, **material)
    return load_languages(declared, node.train, node.langs, **material)


def added_steps(node: PhaseNode, tokenizer: Tokenizer, folders: Folders) -> int:
    """The steps that the phases for which one stands would have taken, of their own data."""
    steps = 0
    for other in node.stands_for:
        found = [
            taken(training_examples(one, task(one.task), tokenizer, folders), one.phase, seed=one.seed)
            for one in other.members
        ]
        steps += steps_over(other.phase, found)
    return steps


def _check_kept_head(node: PhaseNode, context: Context, declared: Task) -> None:
    """Raises InputError when the labels that were read are not those of the head that is kept."""
    if not (declared.head.labels_read and node.phase.keep_head and node.parent):
        return
    config = context.folders.of(node.parent) / "config.json"
    if not config.is_file():  # to be trained yet
        return
    source = head_from(node.parent.tasks, node.task)
    if source is None:  # a head of its own beside those that are kept
        return
    kept = heads_in(json.loads(config.read_text(encoding="utf-8")))[source].labels
    if kept != declared.head.labels:
        raise InputError(
            f"phases.{node.phase.name}.keep_head: the head of {node.parent.name} has {len(kept)} labels and the "
            f"training rows of {declared.name} have {len(declared.head.labels)}, which are not the same; set "
            f"keep_head=false, or train both on the same split"
        )


def releases_of(node: PhaseNode, context: Context) -> list[str]:
    """What a phase trains on from elsewhere than the source that its task declares first."""
    if node.mixed:
        return list(dict.fromkeys(release for part in node.mixed for release in releases_of(part, context)))
    if node.text:
        return []
    declared, data = task(node.task), context.folders.data_of(node)
    return list(dict.fromkeys(filter(None, (other_release(declared, node.train, lang, data) for lang in node.langs))))
