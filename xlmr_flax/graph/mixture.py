"""Phases of several tasks: each task's own settings, which head serves what, and what a mixture must not be."""

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from xlmr_flax.config.load import did_you_mean
from xlmr_flax.config.schema import Mixture, MixtureTask, Phase
from xlmr_flax.tasks.catalogue import TASKS, task
from xlmr_flax.tasks.task import Task, fits, identity

# What a sampling reads beside the sizes of its tasks.
READ = {"capped": "cap", "temperature": "temperature", "weights": "weights"}

NO_ANSWER = ("mlm", "dual")  # kinds of heads to which robust training means nothing


def members(phase: Phase) -> tuple[Phase, ...]:
    """A phase as each of its tasks sees it: a phase of one task, with a length and a batch of its own."""
    if len(phase.tasks) == 1:
        return (phase,)
    return tuple(_member(phase, name) for name in phase.tasks)


def _member(phase: Phase, name: str) -> Phase:
    own = next((share for share in phase.mixture.each if share.task == name), MixtureTask(task=name))
    changes: dict[str, Any] = {
        "tasks": (name,),
        "mixture": Mixture(),
        "length": own.length or phase.length,
        "batch_size": own.batch_size or phase.batch_size,
    }
    # What is for some kinds of heads only is the business of those tasks, where the phase has any.
    kinds = {other: TASKS[other].head.kind for other in phase.tasks if other in TASKS}
    if kinds.get(name) == "mlm":
        changes |= {"langs": None, "selection": None}
    elif "mlm" in kinds.values():
        changes |= _defaults("mask_rate")
    if kinds.get(name) in NO_ANSWER:
        changes |= _defaults("robust")
    if "dual" in kinds.values() and kinds.get(name) != "dual":
        changes |= _defaults("similarity", "scale")
    return phase.model_copy(update=changes)


def _defaults(*names: str) -> dict[str, Any]:
    return {name: Phase.model_fields[name].default for name in names}


def head_for(names: tuple[str, ...], wanted: Task) -> str | None:
    """The task of a phase whose head scores or predicts `wanted`: its own, or one with the same labels.

    Of those the first that trained on the same rows comes first: SQuAD's head serves XQuAD and MLQA. Sentences are
    embedded without a head, under any of them.
    """
    if wanted.name in names or wanted.head.kind == "embedding":
        return wanted.name if wanted.name in names else names[0]
    if wanted.head.labels_read:  # which labels there are is known of a task's own rows alone
        return None
    return _nearest([name for name in names if task(name).head == wanted.head], wanted)


def head_from(names: tuple[str, ...], child: str) -> str | None:
    """The task of a parent whose head a child's task can start from: its own, or one that fits."""
    if child in names:
        return child
    return _nearest([name for name in names if fits(task(child).head, task(name).head)], task(child))


def _nearest(able: list[str], wanted: Task) -> str | None:
    return next(
        (name for name in able if training_rows(task(name)) == training_rows(wanted)), able[0] if able else None
    )


def training_rows(declared: Task) -> Any:
    """Where a task's training rows come from, whatever the task is called."""
    if declared.train is None:
        return declared.name
    return {**identity(declared, declared.train, declared.train_lang), "task": ""}


def settings(phase: Phase) -> dict[str, Any]:
    """What decides how often each task is trained on, as plain JSON values: what is not read is no part of a key."""
    mixture = phase.mixture
    found: dict[str, Any] = {"sampling": mixture.sampling}
    if mixture.sampling in READ:
        value = getattr(mixture, READ[mixture.sampling])
        found[READ[mixture.sampling]] = list(value) if isinstance(value, tuple) else value
    return found | ({"mlm_frac": mixture.mlm_frac} if mixture.mlm_frac and "mlm" in phase.tasks else {})


def rates(phase: Phase, sizes: tuple[int, ...]) -> tuple[float, ...]:
    """The share of the steps that each task has, by how many of its examples are taken.

    Proportional, capped (T5's examples-proportional mixing) and temperature as in jiant's samplers, which draw a step's
    task and not an example's.
    """
    mixture = phase.mixture
    match mixture.sampling:
        case "proportional":
            sized = [float(size) for size in sizes]
        case "capped":
            sized = [float(min(size, mixture.cap)) for size in sizes]
        case "temperature":
            sized = [size ** (1 / (mixture.temperature or 1.0)) for size in sizes]
        case "uniform":
            sized = [1.0] * len(sizes)
        case "weights":
            sized = list(mixture.weights or ())
    masked = mixture.mlm_frac if "mlm" in phase.tasks else None
    rest = sum(size for name, size in zip(phase.tasks, sized, strict=True) if masked is None or name != "mlm")
    shares = [size / rest * (1 - (masked or 0.0)) for size in sized]
    return tuple(
        masked if masked is not None and name == "mlm" else share
        for name, share in zip(phase.tasks, shares, strict=True)
    )


def steps_of_mixture(phase: Phase, sizes: tuple[int, ...]) -> int:
    """As many steps as each task alone would take for the phase's epochs, all together, by how many are taken of each.

    Masked LM with a share of its own adds its steps to those of the others, however much text there is.
    """
    beside = phase.mixture.mlm_frac if "mlm" in phase.tasks else None
    counted = [
        size * (phase.epochs or 1.0) / one.batch_size
        for one, size in zip(members(phase), sizes, strict=True)
        if beside is None or one.tasks != ("mlm",)
    ]
    return max(1, math.ceil(sum(counted) / (1 - (beside or 0.0)) - 1e-9))


def mixture_problems(phase: Phase) -> Iterator[str]:
    """What the schema cannot say of a phase's tasks together."""
    key, mixture = f"phases.{phase.name}", phase.mixture
    for name, times in Counter(phase.tasks).items():
        if times > 1:
            yield f"{key}.tasks: {name!r} stands there {times} times; names must differ"
    for share in mixture.each:
        if share.task not in phase.tasks:
            near = did_you_mean(share.task, phase.tasks)
            yield f"{key}.mixture.each: {share.task!r} is not among the tasks {', '.join(phase.tasks)}{near}"
        elif len(phase.tasks) == 1:
            yield f"{key}.mixture.each: {share.task} is the phase's only task; set {key}.length and batch_size"
    for name, times in Counter(share.task for share in mixture.each).items():
        if times > 1:
            yield f"{key}.mixture.each: {name!r} stands there {times} times; names must differ"
    for sampling, field in READ.items():
        given = getattr(mixture, field) != Mixture.model_fields[field].default
        if mixture.sampling != sampling and given:
            yield f"{key}.mixture.{field}: only sampling={sampling!r} reads it, and it is {mixture.sampling!r}"
        elif mixture.sampling == sampling and getattr(mixture, field) is None:
            yield f"{key}.mixture.{field}: missing; sampling={sampling!r} needs it"
    if mixture.weights is not None and len(mixture.weights) != len(phase.tasks):
        yield f"{key}.mixture.weights: {len(mixture.weights)} for {len(phase.tasks)} tasks; wanted one for each"
    if mixture.weights is not None and mixture.mlm_frac is not None:
        yield f"{key}.mixture.mlm_frac: masked LM has its share among the weights; remove one of the two"
