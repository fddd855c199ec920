"""Which rows an experiment reads: a task's splits, as the experiment changes them."""

from xlmr_flax.config.schema import Experiment, Splits
from xlmr_flax.errors import InputError
from xlmr_flax.tasks.splits import parse
from xlmr_flax.tasks.task import Task
from xlmr_flax.tasks.task import declared as slice_in


def specs(experiment: Experiment, declared: Task) -> dict[str, str | None]:
    """The split specification of each role (train, select, test): the experiment's, or else the task's."""
    mine = next((splits for splits in experiment.splits if splits.task == declared.name), Splits(task=declared.name))
    return {role: getattr(mine, role) or getattr(declared, role) for role in ("train", "select", "test")}


def overlap(one: str, other: str) -> bool:
    """Whether two specifications of one task's splits share rows."""
    try:
        a, b = parse(one), parse(other)
    except InputError:
        return False  # told where it is declared
    return a.split == b.split and a.start < b.stop and b.start < a.stop


def comes_in(declared: Task, spec: str, lang: str) -> bool:
    """Whether a split is declared to have this language."""
    try:
        slice_in(declared, spec, lang)
    except InputError:
        return False
    return True
