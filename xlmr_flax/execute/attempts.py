"""The attempts of a phase: where one learnt nothing, its config may ask for another seed.

attempts.json tells those that were given up, and so which one is under way; each has a checkpoint folder of its own, so
that none goes on from another's. What decides is the training loss and the English selection score, never a score that
a table shows.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from xlmr_flax.config.schema import Phase
from xlmr_flax.data.mixture import Batches
from xlmr_flax.data.randomness import generator
from xlmr_flax.graph.nodes import PhaseNode
from xlmr_flax.report.chance import NEVER_FELL, SELECTED_AT_CHANCE, chance
from xlmr_flax.storage.places import remove, write_json
from xlmr_flax.tasks.task import Task
from xlmr_flax.train import processes
from xlmr_flax.train.checkpoint import remove_training
from xlmr_flax.train.watch import Watch

# Below an attempt's checkpoints those of a phase that selects in English and in all languages: no such training goes on
# from steps that were evaluated in English alone.
BOTH = "both"
NAMED_EXAMPLES = 8  # of a batch, in an error


class Attempt(NamedTuple):
    """The one that is under way."""

    seed: int  # of order, dropout and fresh weights; a subset of the examples stays that of the phase's own seed
    checkpoints: Path
    past: list[dict[str, Any]]  # those given up: seed, steps, score, flags
    last: bool  # whatever comes of it is kept


def current(node: PhaseNode, folder: Path) -> Attempt:
    """The attempt that a phase is at."""
    past = processes.of_writer(f"{node.key} attempts", functools.partial(_past, folder))
    number = len(past)
    place = _place(folder, number) / BOTH if node.keeps_also else _place(folder, number)
    return Attempt(seed_of(node.seed, number), place, past, last=number >= node.phase.retries)


def _past(folder: Path) -> list[dict[str, Any]]:
    path = folder / "attempts.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def seed_of(seed: int, number: int) -> int:
    """The phase's own seed, and then others that no experiment is likely to name."""
    return int(generator(seed, "retry", number).integers(2**31)) if number else seed


def give_up(folder: Path, attempt: Attempt, *, steps: int | None, score: float | None, flags: list[str]) -> None:
    """Records what became of an attempt; the next one starts from the beginning."""
    told = {"seed": attempt.seed, "steps_run": steps, "score": score, "flags": flags}
    write_json(folder / "attempts.json", [*attempt.past, told])
    remove_checkpoints(folder, attempts=len(attempt.past) + 1)


def remove_checkpoints(folder: Path, *, attempts: int) -> None:
    """Removes what so many attempts saved to go on from."""
    remove_training(folder / "checkpoints")
    remove(folder / "checkpoints" / BOTH)
    for number in range(1, attempts):
        remove(_place(folder, number))


def _place(folder: Path, number: int) -> Path:
    return folder / "checkpoints" / f"retry-{number}" if number else folder / "checkpoints"


class Selected(NamedTuple):
    """A task, and what its checkpoint was selected on: gold answers by language, none where it selects nothing."""

    task: Task
    metric: str
    golds: Mapping[str, Sequence[Any]]


def learnt_nothing(selected: Sequence[Selected], phase: Phase, watch: Watch, *, score: float | None) -> list[str]:
    """What says that a phase learnt nothing: a loss that never fell, or a selected score that one answer reaches too.

    A head that is kept may have learnt everything before.
    """
    found = [] if phase.keep_head else _unfallen(selected, watch)
    levels = [_level(one) for one in selected if one.golds] if score is not None else []
    if levels and None not in levels and score <= fmean(levels):
        found.append(SELECTED_AT_CHANCE)
    return found


def _unfallen(selected: Sequence[Selected], watch: Watch) -> list[str]:
    if len(selected) == 1:
        return [NEVER_FELL] if watch.never_fell() else []
    # Pretrained encoders guess masked words from the beginning.
    names = [one.task.name for one in selected if one.task.head.kind != "mlm" and watch.never_fell(one.task.name)]
    return [f"{NEVER_FELL}: {', '.join(names)}"] if names else []


def _level(selected: Selected) -> float | None:
    """The mean over the languages of what one answer reaches; None where that is unknown."""
    levels = [chance(selected.task, gold, lang, selected.metric) for lang, gold in selected.golds.items()]
    return None if None in levels else fmean(levels)


def batch_text(step: int, *, batches: Batches, folder: Path) -> str:
    """What a step was trained on, for an error: the first step has the first batch."""
    task, examples, items = batches.look(step - 1)
    names = [" ".join(filter(None, examples.name(item))) for item in items]
    told = (f"{task}: " if task else "") + ", ".join(names[:NAMED_EXAMPLES])
    more = f" and {len(names) - NAMED_EXAMPLES} more" if len(names) > NAMED_EXAMPLES else ""
    return f"Step {step} trained on {told}{more}; look at them: xlmr-flax data show {folder} --step {step}"
