"""All tasks by name: those of this package, and those that installed packages add.

To add one here, write one `Task(...)` into the file of its kind; to add a language, put its code into that task's
`langs`. A package adds its own under the entry point group `xlmr_flax.tasks`. Each task selects its checkpoint on a
split that shares no text with any split that a task scores.
"""

import difflib
from collections.abc import Iterable
from importlib.metadata import entry_points

from xlmr_flax.errors import InputError
from xlmr_flax.metrics.accuracy import accuracy
from xlmr_flax.tasks.choices import CHOICES
from xlmr_flax.tasks.pairs import PAIRS
from xlmr_flax.tasks.questions import QUESTIONS
from xlmr_flax.tasks.retrieval import RETRIEVAL
from xlmr_flax.tasks.tagging import TAGGING
from xlmr_flax.tasks.task import Head, Task

ENTRY_POINTS = "xlmr_flax.tasks"

MLM = Task(
    name="mlm",
    head=Head("mlm"),
    langs=(),
    files=(),
    train=None,
    select=None,
    test=None,
    metric="accuracy",
    score=accuracy,
    source="Its text is named in the experiment",
)


def task(name: str) -> Task:
    """The task of this name."""
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else "."
        raise InputError(f"there is no task {name!r}{meant} The tasks are {', '.join(TASKS)}")
    return TASKS[name]


def named(tasks: Iterable[Task]) -> dict[str, Task]:
    """The tasks by name. Raises InputError for a name that occurs twice."""
    by_name: dict[str, Task] = {}
    for one in tasks:
        if one.name in by_name:
            raise InputError(f"two tasks are called {one.name!r}; rename the one that an installed package adds")
        by_name[one.name] = one
    return by_name


def added() -> Iterable[Task]:
    """The tasks of installed packages: an entry point of the group is one Task."""
    for point in entry_points(group=ENTRY_POINTS):
        found = point.load()
        if not isinstance(found, Task):
            raise InputError(
                f"the entry point {point.name} = {point.value} in the group {ENTRY_POINTS} is a "
                f"{type(found).__name__}; a Task is wanted"
            )
        yield found


TASKS = named((*PAIRS, *CHOICES, *TAGGING, *QUESTIONS, *RETRIEVAL, MLM, *added()))
