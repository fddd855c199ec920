"""One phase from beginning to DONE, or from where it was interrupted."""

import contextlib
import functools
import json
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from xlmr_flax import __version__
from xlmr_flax.config.architecture import Architecture
from xlmr_flax.config.schema import Phase
from xlmr_flax.data.batches import Examples, TrainingBatches
from xlmr_flax.data.examples import fingerprints, load_examples, load_languages, load_text, text_fingerprints
from xlmr_flax.data.order import steps_of
from xlmr_flax.data.randomness import stream
from xlmr_flax.data.switching import Switch
from xlmr_flax.data.tokenizer import Tokenizer
from xlmr_flax.errors import InputError
from xlmr_flax.evaluate.predict import predict
from xlmr_flax.execute.attempts import Attempt, batch_text, current, give_up, learnt_nothing, remove_checkpoints
from xlmr_flax.execute.context import Context, Folders
from xlmr_flax.execute.devices import circumstances
from xlmr_flax.execute.measured import measured_before, watched
from xlmr_flax.execute.robust import dictionary_paths, smoothing_of, switch_fingerprints, switch_of
from xlmr_flax.execute.trained import (
    check_length,
    head_spec,
    parameter_count,
    shape_of,
    tokenizer_entry,
    tokenizer_in,
)
from xlmr_flax.graph.nodes import PhaseNode, folder_name
from xlmr_flax.model import hub, weights
from xlmr_flax.model.build import Model
from xlmr_flax.plan.programs import train_program
from xlmr_flax.sources.rows import Row
from xlmr_flax.storage.places import create, json_text, write_json
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import excluded_text, other_release, rows
from xlmr_flax.tasks.labels import with_labels
from xlmr_flax.tasks.task import Task, gold, scores
from xlmr_flax.train import processes
from xlmr_flax.train.checkpoint import Checkpoints, load_selected, save_selected
from xlmr_flax.train.log import Log
from xlmr_flax.train.loop import Best, Plan, Stop, train
from xlmr_flax.train.processes import NODE_SECONDS, put
from xlmr_flax.train.sharding import row_shards, rows_per_shard
from xlmr_flax.train.step import (
    State,
    abstract_params,
    abstract_state,
    initial_head,
    initial_params,
    initial_state,
    make_model,
    make_train_step,
    parts_of,
    place_batch,
    place_course,
    state_of,
)
from xlmr_flax.train.watch import SickError, Watch

LOG_EVERY_STEPS = 10


class Chosen(NamedTuple):
    """Rows to select on, in one language."""

    lang: str
    rows: list[Row]
    examples: Examples


class Material(NamedTuple):
    """What a phase trains on, checked whole before anything is written."""

    task: Task
    arch: Architecture
    model: Model
    tokenizer: Tokenizer
    examples: Examples
    chosen: np.ndarray
    steps: int
    select: list[Chosen]
    sources: dict[str, str]
    switch: Switch | None  # of words, in training


def run_phase(node: PhaseNode, context: Context, stop: Stop) -> None:
    """Trains a phase unless it is done; raises Interrupted, with everything saved, when `stop` was asked."""
    folder = context.folders.of(node)
    finish = functools.partial(remove_checkpoints, folder, attempts=node.phase.retries + 1)
    if processes.of_writer(f"{node.key} is done", (folder / "DONE").is_file):
        check_sources(folder, sources_of(node, context))
        processes.by_writer(f"{node.key} tidied", finish, seconds=NODE_SECONDS)  # a kill may have come after DONE
        return
    material = prepare(node, context)
    if (folder / "config.json").is_file():
        check_sources(folder, material.sources)
    while not _attempted(node, context, stop, material):
        pass
    processes.by_writer(f"{node.key} done", finish, seconds=NODE_SECONDS)


def _attempted(node: PhaseNode, context: Context, stop: Stop, material: Material) -> bool:
    """Trains with the seed whose turn it is; says whether the phase is done, and not to be tried again."""
    folder = context.folders.of(node)
    attempt = current(node, folder)
    # Closed whatever happens: what is being saved when a phase is interrupted must be whole before the process ends.
    save = context.experiment.save
    opened = Checkpoints(attempt.checkpoints, keep=save.keep, keep_every_steps=save.keep_every_steps)
    with contextlib.closing(opened) as checkpoints:
        try:
            ended = _train(node, context, stop, material, checkpoints, attempt)
        except SickError as error:
            if attempt.last:
                raise
            ended = Ended(None, None, Best(), ["stopped: not finite"])
            context.say(str(error))
        if attempt.last or not ended.flags:
            _finish(node, context, checkpoints, material, attempt, ended)
            return True
    give = functools.partial(give_up, folder, attempt, steps=ended.last, score=ended.best.score, flags=ended.flags)
    processes.by_writer(f"{node.key} given up", give, seconds=NODE_SECONDS)
    told = f"seed {attempt.seed} learnt nothing ({', '.join(ended.flags)})"
    context.say(f"{node.name}: {told}; starting again with seed {current(node, folder).seed}")
    return False


class Ended(NamedTuple):
    """How an attempt ended."""

    state: State | None
    last: int | None  # step
    best: Best
    flags: list[str]  # that nothing was learnt


def _train(
    node: PhaseNode, context: Context, stop: Stop, material: Material, checkpoints: Checkpoints, attempt: Attempt
) -> Ended:
    folder, phase, declared, model = context.folders.of(node), node.phase, material.task, material.model
    state, best, carried = start(node, context, model, checkpoints, seed=attempt.seed)
    began = int(jax.device_get(state.step))
    plan = Plan(
        material.steps, context.experiment.save.every_steps, phase.selection.every_steps if phase.selection else None
    )
    batches = TrainingBatches(
        material.examples,
        material.chosen,
        batch_size=phase.batch_size,
        micro_batches=phase.accumulation,
        seed=attempt.seed,
        packed_over=row_shards(context.mesh) if phase.packing else None,
        switch=material.switch,
    )
    _record(node, context, material, state, batches)
    course = place_course(phase.optim, context.mesh, seed=attempt.seed, steps=material.steps)
    smoothing = smoothing_of(phase)
    step = make_train_step(model, phase.optim, context.mesh, smoothing)
    step_fn = watched(
        lambda state, batch: step(state, batch, course),
        node,
        context,
        batches=batches,
        start=began,
        stop=material.steps,
        compile=lambda batch: train_program(model, phase.optim, context.mesh, batch, smoothing).compile(),
    )
    metric = (phase.selection.metric if phase.selection else None) or declared.metric
    watch = Watch(
        node.name,
        max_skipped_steps=phase.max_skipped_steps,
        batch_of=functools.partial(batch_text, batches=batches, folder=folder),
    )
    with (
        step_fn as watched_step,
        processes.log_folder(folder) as kept,
        Log(
            kept,
            name=node.name,
            start=began,
            steps=material.steps,
            every_steps=LOG_EVERY_STEPS,
            console=context.console,
            watch=watch,
            carried=carried,
        ) as log,
    ):
        state, last = train(
            state,
            start=began,
            plan=plan,
            batches=batches,
            step_fn=watched_step,
            place=functools.partial(place_batch, mesh=context.mesh, lead=1),
            evaluate=_selector(declared, material, context, packing=phase.packing),
            save=functools.partial(_save, checkpoints),
            check_saved=checkpoints.check,
            best=best,
            metric=metric,
            log=log,
            stop=stop,
        )
    golds = {chosen.lang: [gold(declared, row) for row in chosen.rows] for chosen in material.select}
    return Ended(state, last, best, learnt_nothing(declared, phase, watch, golds, score=best.score, metric=metric))


def prepare(node: PhaseNode, context: Context) -> Material:
    """Reads, encodes and checks everything that a phase needs, and writes nothing but the cache."""
    phase, folders = node.phase, context.folders
    declared = with_labels(task(node.task), node.train, node.langs, folders.data_of(node))
    field = f"phases.{phase.name}"
    _check_kept_head(node, context, declared)
    # Whole examples go to a device: the options of a choice are never parted.
    rows_per_shard(
        phase.batch_size // phase.accumulation, row_shards(context.mesh), field=f"{field}.batch_size / accumulation"
    )
    tokenizer = tokenizer_in(folders.tokenizer_of(node))
    arch = shape_of(node, tokenizer)
    check_length(arch, phase.length, field=f"{field}.length")
    model = make_model(
        arch,
        head_spec(declared.head, phase),
        compute=node.model.compute,
        remat=context.experiment.model.remat,
        scan_layers=context.experiment.model.scan_layers,
        reshard_after_forward=context.experiment.mesh.reshard_after_forward,
        mesh=context.mesh,
    )
    abstract_params(model, context.mesh)  # refuses a mesh over which they do not split
    examples = training_examples(node, declared, tokenizer, folders)
    chosen = examples.subset(phase.max_examples, seed=node.seed)
    if not len(chosen):
        raise InputError(f"{field}: {node.task} gives nothing to train on")
    steps = training_steps(phase, len(chosen)) + added_steps(node, tokenizer, folders)
    material = {"data": folders.data_of(node), "tokenizer": tokenizer, "length": phase.length, "cache": folders.cache}
    select = []
    for lang in node.select_langs if node.select and phase.selection else ():
        found = rows(declared, node.select, lang, folders.data_of(node))[: phase.selection.max_examples]
        kept = load_examples(declared, node.select, lang, **material).first_rows(len(found))
        select.append(Chosen(lang, found, kept))
    switch = switch_of(phase, node.langs, tokenizer, folders.data_of(node))
    return Material(
        declared, arch, model, tokenizer, examples, chosen, steps, select, sources_of(node, context), switch
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
        examples = training_examples(other, task(other.task), tokenizer, folders)
        steps += training_steps(other.phase, len(examples.subset(other.phase.max_examples, seed=other.seed)))
    return steps


def training_steps(phase: Phase, chosen: int) -> int:
    """The steps of a phase that trains on so many items."""
    return phase.steps or steps_of(chosen, batch_size=phase.batch_size, epochs=phase.epochs or 1.0)


def _check_kept_head(node: PhaseNode, context: Context, declared: Task) -> None:
    """Raises InputError when the labels that were read are not those of the head that is kept."""
    if not (declared.head.labels_read and node.phase.keep_head and node.parent):
        return
    config = context.folders.of(node.parent) / "config.json"
    if not config.is_file():  # to be trained yet
        return
    kept = json.loads(config.read_text(encoding="utf-8"))["head"]["labels"]
    if tuple(kept) != declared.head.labels:
        raise InputError(
            f"phases.{node.phase.name}.keep_head: the head of {node.parent.name} has {len(kept)} labels and the "
            f"training rows of {declared.name} have {len(declared.head.labels)}, which are not the same; set "
            f"keep_head=false, or train both on the same split"
        )


def sources_of(node: PhaseNode, context: Context) -> dict[str, str]:
    """The content hash of every file that a phase trains or selects on."""
    data, declared = context.folders.data_of(node), task(node.task)
    others = {path: digest for one in node.stands_for for path, digest in sources_of(one, context).items()}
    if node.text:
        return others | text_fingerprints(node.text, data)
    read = [(node.train, lang) for lang in node.langs]
    read += [(node.select, lang) for lang in node.select_langs if node.select]
    found = {path: digest for spec, lang in read for path, digest in fingerprints(declared, spec, lang, data).items()}
    return others | found | switch_fingerprints(node.phase, node.langs, data)


def releases_of(node: PhaseNode, context: Context) -> list[str]:
    """What a phase trains on from elsewhere than the source that its task declares first."""
    if node.text:
        return []
    declared, data = task(node.task), context.folders.data_of(node)
    return list(dict.fromkeys(filter(None, (other_release(declared, node.train, lang, data) for lang in node.langs))))


def check_sources(folder: Path, now: dict[str, str]) -> None:
    """Raises InputError when a file is not the one that the phase in `folder` was trained on."""
    before = json.loads((folder / "config.json").read_text(encoding="utf-8"))["sources"]
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if changed:
        raise InputError(
            f"{folder}: {', '.join(changed)} changed since this phase was trained; put the old file back, "
            "or remove the folder"
        )


class Start(NamedTuple):
    """Where a phase begins or goes on."""

    state: State
    best: Best
    log: dict[str, Any] | None  # the row of the log that was under way


def start(node: PhaseNode, context: Context, model: Model, checkpoints: Checkpoints, *, seed: int) -> Start:
    """The newest checkpoint's state, or the first one: what is carried, fresh and dropped is said."""
    patience = node.phase.selection.patience if node.phase.selection else None
    like = abstract_state(model, node.phase.optim, context.mesh)
    restored = checkpoints.restore(parts_of(like))
    if restored is None:
        params = first_params(node, context, model, seed=seed)
        return Start(initial_state(model, node.phase.optim, context.mesh, params), Best(patience), None)
    context.say(f"{node.name}: continues at step {restored.step}")
    return Start(state_of(restored.parts), Best(patience, restored.progress["evaluations"]), restored.progress["log"])


def first_params(node: PhaseNode, context: Context, model: Model, *, seed: int) -> dict[str, Any]:
    """The weights that a phase starts from."""
    like, key, kind = abstract_params(model, context.mesh), stream(seed, "init"), model.spec.kind
    if node.parent:
        where = context.folders.of(node.parent)
        wanted = like if node.phase.keep_head else {"encoder": like["encoder"]}
        parts = load_selected(where / "checkpoints", wanted)
        old = task(node.parent.task).head.kind
        head = f"{old} head carried" if node.phase.keep_head else f"{kind} head fresh · dropped: its {old} head"
        context.say(f"{node.name}: encoder carried from {folder_name(node.parent)} · {head}")
        return parts if node.phase.keep_head else {**parts, "head": initial_head(model, context.mesh, key=key)}
    if node.model.weights:
        folder = hub.resolve(node.model.weights, revision=node.model.revision or "main")
        places = dict(weights.flat(like))
        loaded = weights.load(
            folder,
            model,
            key,
            head=node.phase.keep_head,
            put=lambda path, array: put(array, places[path].sharding),
        )
        context.say(
            f"{node.name}: {len(loaded.carried)} arrays carried from {folder} · fresh: "
            f"{', '.join(loaded.fresh) or 'none'} · dropped: {', '.join(loaded.dropped) or 'none'}"
        )
        return loaded.params
    context.say(f"{node.name}: encoder and {kind} head fresh ({node.model.preset}, random weights)")
    return initial_params(model, context.mesh, key=key)


def _selector(
    declared: Task, material: Material, context: Context, *, packing: bool
) -> Callable[[State], dict[str, float]]:
    def evaluate(state: State) -> dict[str, float]:
        scored = [scored_in(state, chosen) for chosen in material.select]
        return {name: sum(one[name] for one in scored) / len(scored) for name in scored[0]}

    def scored_in(state: State, chosen: Chosen) -> dict[str, float]:
        predicted = predict(
            material.model,
            state.params,
            declared,
            chosen.rows,
            chosen.examples,
            mesh=context.mesh,
            batch_size=64,
            packing=packing,
        )
        return scores(declared, [gold(declared, row) for row in chosen.rows], predicted, chosen.lang)

    return evaluate


def _save(checkpoints: Checkpoints, step: int, state: State, progress: dict[str, Any]) -> None:
    checkpoints.save(step, parts_of(state), progress)


def _finish(
    node: PhaseNode,
    context: Context,
    checkpoints: Checkpoints,
    material: Material,
    attempt: Attempt,
    ended: Ended,
) -> None:
    """Keeps the selected weights and says DONE; only then may the checkpoints of the training go."""
    state, last, best, flags = ended
    selected = best.step if best.step is not None else last
    folder, params = context.folders.of(node), state.params
    if selected != last:
        params = checkpoints.parts_at(selected, abstract_params(material.model, context.mesh))
    save_selected(folder / "checkpoints", params, {"step": selected})
    done = {
        "step": selected,
        "steps_run": last,
        "steps": material.steps,
        "skipped_steps": int(jax.device_get(state.skipped)),
        "selection": selection_text(node),
        "score": best.score,
        "evaluations": best.evaluations,
        "counts": material.examples.encoded.counts,
        "flags": flags,
        "seed": attempt.seed,
        "attempts": attempt.past,
    }
    processes.writes(create, folder / "DONE", json_text(done))


def selection_text(node: PhaseNode) -> str:
    """How a phase's checkpoint was chosen, for tables."""
    if not node.phase.selection:
        return "last step"
    metric = node.phase.selection.metric or task(node.task).metric
    return f"best {metric} on {node.task} {node.select} ({', '.join(node.select_langs)})"


def _record(node: PhaseNode, context: Context, material: Material, state: State, batches: TrainingBatches) -> None:
    """What the phase is (config.json) and where it runs (host.json)."""
    folder, head = context.folders.of(node), material.task.head
    for spec, examples in ((node.train, material.examples), *((node.select, one.examples) for one in material.select)):
        if told := excluded_text(examples.encoded.counts):
            context.say(f"{node.name}: {node.task} {spec}: {told}")
    config = {
        "key": node.key,
        "task": node.task,
        "phase": node.phase.model_dump(mode="json"),
        "seed": node.seed,
        "attempt_seed": batches.seed,
        "parent": folder_name(node.parent) if node.parent else node.model.weights or f"scratch ({node.model.preset})",
        "train": node.train,
        "select": node.select,
        "compute": node.model.compute,
        "architecture": material.arch.model_dump(mode="json"),
        "parameters": parameter_count(state.params),
        "head": {"kind": head.kind, "labels": list(head.labels), "options": head.options},
        "tokenizer": tokenizer_entry(node, context.folders, material.tokenizer),
        "sources": material.sources,
        "examples": material.examples.entry,
        "releases": releases_of(node, context),
        "counts": material.examples.encoded.counts,
    }
    if node.phase.robust.dictionary:
        config["dictionaries"] = dictionary_paths(node.phase, node.langs, context.folders.data_of(node))
    processes.writes(write_json, folder / "config.json", config)
    device = jax.devices()[0]
    host = {
        "command": sys.argv,
        "versions": {name: version(name) for name in ("jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy")}
        | {"xlmr_flax": __version__, "python": platform.python_version()},
        "devices": f"{len(jax.devices())} x {device.device_kind} ({device.platform})",
        "environment": circumstances(),
        "mesh": dict(context.mesh.shape),
        "micro_batches": node.phase.accumulation,
        # of a micro-batch: one program each, as far as steps have it
        "shapes": [
            {"rows": rows, "length": length, "rows_per_device": rows // row_shards(context.mesh)}
            for rows, length in batches.shapes
        ],
    }
    if before := measured_before(folder, host):
        host["measured"] = before
    processes.writes(write_json, folder / "host.json", host)
