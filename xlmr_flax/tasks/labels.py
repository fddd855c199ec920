"""The labels of heads that do not declare them: those that the training rows have."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Classified, Row, Tagged
from xlmr_flax.tasks.files import rows
from xlmr_flax.tasks.splits import parse
from xlmr_flax.tasks.task import Task


def with_labels(task: Task, spec: str, langs: Sequence[str], data: Path) -> Task:
    """The task with its head's labels: where they are read, all of the split of which `spec` is a slice, sorted.

    Not of the slice, so that what a phase keeps for its selection can be predicted as well.
    """
    if not task.head.labels_read:
        return task
    split = parse(spec).split
    found = {label for lang in langs for row in rows(task, split, lang, data) for label in _labels(row)}
    if len(found) < 2:
        raise InputError(
            f"{task.name}: its {split} rows have no label but {', '.join(map(repr, found))}; at least two are wanted. "
            f"{task.source}"
        )
    return labelled_as(task, tuple(sorted(found)))


def labelled_as(task: Task, labels: tuple[str, ...]) -> Task:
    """The task with the labels that a phase was trained with; a task that declares its own as it is."""
    return (
        dataclasses.replace(task, head=dataclasses.replace(task.head, labels=labels)) if task.head.labels_read else task
    )


def ordered_as(task: Task, labels: tuple[str, ...]) -> Task:
    """The task with its labels in the order of a model that has the same ones; with others, as it is.

    Published models have them in any order. For reading logits only: rows are encoded by the task's own order.
    """
    if set(labels) != set(task.head.labels):
        return task
    return dataclasses.replace(task, head=dataclasses.replace(task.head, labels=labels))


def _labels(row: Row) -> tuple[str, ...]:
    match row:
        case Tagged(tags=tuple() as tags):
            return tags
        case Classified(label=str() as label):
            return (label,)
    return ()
