"""One phase from beginning to DONE, or from where it was interrupted."""

import contextlib
import functools
import platform
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from xlmr_flax import __version__
from xlmr_flax.config.schema import ALL_LANGS, Phase
from xlmr_flax.data.batch import Batch
from xlmr_flax.data.mixture import Batches, MixedBatches
from xlmr_flax.evaluate.predict import predict
from xlmr_flax.execute.attempts import (
    Attempt,
    Selected,
    batch_text,
    current,
    give_up,
    learnt_nothing,
    remove_checkpoints,
)
from xlmr_flax.execute.beginning import start
from xlmr_flax.execute.context import Context
from xlmr_flax.execute.devices import circumstances
from xlmr_flax.execute.material import Chosen, Material, Part, prepare, releases_of
from xlmr_flax.execute.measured import measured_before, watched
from xlmr_flax.execute.robust import smoothing_of
from xlmr_flax.execute.trained import parameter_count, tokenizer_entry
from xlmr_flax.graph.nodes import DONE_ALSO, PhaseNode, folder_name, is_done
from xlmr_flax.graph.origins import also_sources_of, check_sources, dictionary_paths, sources_of
from xlmr_flax.plan.programs import train_program
from xlmr_flax.storage.places import create, json_text, write_json
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import excluded_text
from xlmr_flax.tasks.task import Head, gold, scores
from xlmr_flax.train import processes
from xlmr_flax.train.average import averaged_steps, mean_of
from xlmr_flax.train.checkpoint import SELECTED, SELECTED_ALSO, Checkpoints, save_selected
from xlmr_flax.train.log import Log
from xlmr_flax.train.loop import Best, Plan, Stop, train
from xlmr_flax.train.mixture import Models, abstract_params_of, make_mixed_step, params_of
from xlmr_flax.train.optimizer import make_optimizer_by_part
from xlmr_flax.train.processes import NODE_SECONDS
from xlmr_flax.train.sharding import row_shards
from xlmr_flax.train.state import State, parts_of, place_batch, place_course
from xlmr_flax.train.step import TrainStep, make_train_step
from xlmr_flax.train.watch import SickError, Watch

MEAN = "mean"  # what a phase of several tasks selects by
LOG_EVERY_STEPS = 10


def run_phase(node: PhaseNode, context: Context, stop: Stop) -> None:
    """Trains a phase unless it is done; raises Interrupted, with everything saved, when `stop` was asked.

    One that is done but has not kept what all languages select trains once more, and keeps that beside its weights.
    """
    folder = context.folders.of(node)
    finish = functools.partial(remove_checkpoints, folder, attempts=node.phase.retries + 1)
    if processes.of_writer(f"{node.key} is done", functools.partial(is_done, node, context.folders.runs)):
        check_sources(folder, sources_of(node, context.folders), also_sources_of(node, context.folders))
        processes.by_writer(f"{node.key} tidied", finish, seconds=NODE_SECONDS)  # a kill may have come after DONE
        return
    material = prepare(node, context)
    if (folder / "config.json").is_file():
        check_sources(folder, material.sources, material.also_sources)
    if processes.of_writer(f"{node.key} has its weights", (folder / "DONE").is_file):
        context.say(f"{node.name}: trained before without keeping what all languages select; trains once more for it")
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
    folder, phase, models = context.folders.of(node), node.phase, material.models
    state, best, carried = start(node, context, models, checkpoints, seed=attempt.seed)
    began = int(jax.device_get(state.step))
    plan = Plan(
        material.steps,
        context.experiment.save.every_steps,
        phase.selection.every_steps if phase.selection else None,
        phase.average,
    )
    batches = material.batches(node, context, seed=attempt.seed)
    _record(node, context, material, state, batches)
    course = place_course(phase.optim, context.mesh, seed=attempt.seed, steps=material.steps)
    step = _step_of(models, phase, context)
    step_fn = watched(
        lambda state, batch: step(state, batch, course),
        node,
        context,
        batches=batches,
        start=began,
        stop=material.steps,
        compile=lambda batch: _program_for(models, phase, context.mesh, batch).compile(),
    )
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
            task_of=batches.task_of if isinstance(batches, MixedBatches) else None,
        ) as log,
    ):
        state, last = train(
            state,
            start=began,
            plan=plan,
            batches=batches,
            step_fn=watched_step,
            place=functools.partial(place_batch, mesh=context.mesh, lead=1),
            evaluate=_selector(material, context, packing=phase.packing),
            save=functools.partial(_save, checkpoints),
            check_saved=checkpoints.check,
            best=best,
            metric=MEAN if node.mixed else material.parts[0].metric,
            log=log,
            stop=stop,
        )
    selected = [Selected(part.task, part.metric, _golds(part)) for part in material.parts]
    return Ended(state, last, best, learnt_nothing(selected, phase, watch, score=best.score))


def _step_of(models: Models, phase: Phase, context: Context) -> TrainStep:
    if len(models) > 1:
        return make_mixed_step(models, phase.optim, context.mesh, smoothing_of(phase))
    (model,) = models.values()
    return make_train_step(model, phase.optim, context.mesh, smoothing_of(phase))


def _program_for(models: Models, phase: Phase, mesh: Mesh, batch: Batch) -> jax.stages.Lowered:
    """The program of the step that is taken with a batch."""
    if batch.task is None:
        (model,) = models.values()
        return train_program(model, phase.optim, mesh, batch, smoothing_of(phase))
    model, batch = models[batch.task], batch._replace(task=None)
    return train_program(model, phase.optim, mesh, batch, smoothing_of(phase), optimizer=make_optimizer_by_part)


def _golds(part: Part) -> dict[str, list[Any]]:
    mine = (chosen for chosen in part.select if chosen.lang in part.node.select_langs)
    return {chosen.lang: [gold(part.task, row) for row in chosen.rows] for chosen in mine}


def _selector(material: Material, context: Context, *, packing: bool) -> Callable[[State], dict[str, float]]:
    """What a state scores, in the mean of the languages; of several tasks all of it, and the mean of what selects.

    Where all languages select too, what they score has their name in its own.
    """

    def evaluate(state: State) -> dict[str, float]:
        if len(material.parts) == 1:
            return scores_of(material.parts[0], state.params)
        parts = [part for part in material.parts if part.select]
        by_part = [(part, scores_of(part, params_of(state.params, part.node.task))) for part in parts]
        found = {f"{part.node.task}_{name}": one for part, each in by_part for name, one in each.items()}
        found[MEAN] = _mean([each[part.metric] for part, each in by_part])
        if any(part.node.also_langs for part in parts):  # a task that comes in English alone has one score for both
            every = [each.get(f"{part.metric}_{ALL_LANGS}", each[part.metric]) for part, each in by_part]
            found[f"{MEAN}_{ALL_LANGS}"] = _mean(every)
        return found

    def scores_of(part: Part, params: Any) -> dict[str, float]:
        scored = {chosen.lang: scored_in(part, params, chosen) for chosen in part.select}
        return {
            f"{name}{ending}": _mean([scored[lang][name] for lang in langs])
            for langs, ending in ((part.node.select_langs, ""), (part.node.also_langs, f"_{ALL_LANGS}"))
            if langs
            for name in scored[langs[0]]
        }

    def scored_in(part: Part, params: Any, chosen: Chosen) -> dict[str, float]:
        predicted = predict(
            part.model,
            params,
            part.task,
            chosen.rows,
            chosen.examples,
            mesh=context.mesh,
            batch_size=64,
            packing=packing,
        )
        return scores(part.task, [gold(part.task, row) for row in chosen.rows], predicted, chosen.lang)

    return evaluate


def _save(checkpoints: Checkpoints, step: int, state: State, progress: dict[str, Any]) -> None:
    checkpoints.save(step, parts_of(state), progress)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


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
    folder, average = context.folders.of(node), node.phase.average
    like = abstract_params_of(material.models, context.mesh)

    def keep(steps: Sequence[int], name: str) -> int:
        params = mean_of(state.params if step == last else checkpoints.parts_at(step, like) for step in steps)
        save_selected(folder / "checkpoints", params, {"step": steps[-1]}, name)
        return steps[-1]

    if node.keeps_also:
        told = {"step": keep([best.also_step], SELECTED_ALSO), "selection": selection_text(node, also=True)}
        processes.writes(create, folder / DONE_ALSO, json_text(told))
    if processes.of_writer(f"{node.key} has its weights", (folder / "DONE").is_file):
        return
    steps = averaged_steps(average, last) if average else [last if best.step is None else best.step]
    done = {
        "step": keep(steps, SELECTED),
        "steps_run": last,
        "steps": material.steps,
        "skipped_steps": int(jax.device_get(state.skipped)),
        "selection": selection_text(node),
        **({"averaged": steps} if average else {}),
        "score": best.score,
        "evaluations": best.evaluations,
        "counts": _by_task(node, {part.node.task: part.examples.encoded.counts for part in material.parts}),
        "flags": flags,
        "seed": attempt.seed,
        "attempts": attempt.past,
    }
    processes.writes(create, folder / "DONE", json_text(done))


def selection_text(node: PhaseNode, *, also: bool = False) -> str:
    """How a phase's checkpoint was chosen, for tables; `also`: the one that it keeps beside."""
    selection, average = node.phase.selection, node.phase.average
    if average:
        return f"mean of the last {average.checkpoints} checkpoints, {average.every_steps} steps apart"
    if not selection:
        return "last step"
    told = []
    for part in (part for part in node.members if part.select):
        every = part.also_langs if also else part.select_langs if selection.langs == "all" else ()
        langs = f"all {len(every)} languages" if len(every) > 1 else ", ".join(part.select_langs)
        told.append(f"{selection.metric or task(part.task).metric} on {part.task} {part.select} ({langs})")
    return f"best {told[0]}" if not node.mixed else f"best mean of {', '.join(told)}"


def _by_task(node: PhaseNode, values: dict[str, Any]) -> Any:
    """What a phase of several tasks says by task, and one of one task of itself."""
    return values if node.mixed else values[node.task]


def _record(node: PhaseNode, context: Context, material: Material, state: State, batches: Batches) -> None:
    """What the phase is (config.json) and where it runs (host.json)."""
    folder, parts = context.folders.of(node), material.parts
    for part in parts:
        read = ((part.node.train, part.examples), *((part.node.select, one.examples) for one in part.select))
        for spec, examples in read:
            if told := excluded_text(examples.encoded.counts):
                context.say(f"{node.name}: {part.node.task} {spec}: {told}")

    def by_task(value: Callable[[Part], Any]) -> Any:
        return _by_task(node, {part.node.task: value(part) for part in parts})

    heads = by_task(lambda part: _head_told(part.task.head))
    config = {
        "key": node.key,
        **({"tasks": list(node.tasks)} if node.mixed else {"task": node.task}),
        "phase": node.phase.model_dump(mode="json"),
        "seed": node.seed,
        "attempt_seed": batches.seed,
        "parent": folder_name(node.parent) if node.parent else node.model.weights or f"scratch ({node.model.preset})",
        "train": by_task(lambda part: part.node.train),
        "select": by_task(lambda part: part.node.select),
        "compute": node.model.compute,
        "architecture": material.arch.model_dump(mode="json"),
        "parameters": parameter_count(state.params),
        "heads" if node.mixed else "head": heads,
        "tokenizer": tokenizer_entry(node, context.folders, material.tokenizer),
        "sources": material.sources,
        **({"also_sources": material.also_sources} if node.keeps_also else {}),
        "examples": by_task(lambda part: part.examples.entry),
        "releases": releases_of(node, context),
        "counts": by_task(lambda part: part.examples.encoded.counts),
    }
    if node.phase.robust.dictionary:
        langs = tuple(dict.fromkeys(lang for one in node.members for lang in one.langs))
        config["dictionaries"] = dictionary_paths(node.phase, langs, context.folders.data_of(node))
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
            {
                "rows": rows,
                "length": length,
                "rows_per_device": rows // row_shards(context.mesh),
                **({"task": told[0]} if told else {}),
            }
            for rows, length, *told in batches.shapes
        ],
    }
    if before := measured_before(folder, host):
        host["measured"] = before
    processes.writes(write_json, folder / "host.json", host)


def _head_told(head: Head) -> dict[str, Any]:
    return {"kind": head.kind, "labels": list(head.labels), "options": head.options}
