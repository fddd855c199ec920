"""What a task is: everything that the trainer needs to know about it, in one frozen value."""

import difflib
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Aligned, Choices, Classified, Question, Row, Tagged
from xlmr_flax.tasks.languages import ISO3
from xlmr_flax.tasks.splits import Slice, parse

# Enough to name a language or a variety of one, and nothing that means something in a path or a pattern.
_LANGUAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True, eq=False)
class Files:
    """Where a source keeps each split of a task.

    A split has one pattern for each argument of `read`, below the data folder, in which {lang} and {iso3} stand for
    the language. A pattern may match several files (treebanks): they are read in the order of their names, and the
    i-th match of one pattern belongs to the i-th of the others. A pattern without the language holds `train_lang`.
    """

    read: Callable[..., list[Any]]
    splits: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Head:
    """What stands on the encoder: its kind, and its labels in order or its number of options."""

    kind: Literal["sequence", "choice", "token", "span", "mlm", "embedding"]
    labels: tuple[str, ...] = ()
    options: int | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """One task, declared once.

    `files` are alternatives: the first that exists for a split and language is taken. `train`, `select` and `test` are
    split specifications (`splits.parse`); `select` shares no text with any split that is scored. Splits in `unlabelled`
    have hidden or made-up labels. `score` takes gold and predicted values and gives fractions of 1, of which `metric`
    is the headline. `source` says where the files come from and how to name them.
    """

    name: str
    head: Head
    langs: tuple[str, ...]
    files: tuple[Files, ...]
    train: str | None
    select: str | None
    test: str | None
    metric: str
    score: Callable[[list[Any], list[Any]], dict[str, float]]
    source: str
    train_lang: str = "en"
    unlabelled: frozenset[str] = frozenset()

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of all splits that some source has, without slices."""
        return tuple(dict.fromkeys(split for files in self.files for split in files.splits))


def identity(task: Task, spec: str, lang: str) -> dict[str, Any]:
    """What names these rows in a phase's key: declared, so it needs no file; equal specifications give equal values.

    `lang` may be "{lang}", to name the rows of every language at once.
    """
    part = _known(task, spec)
    sources = [
        {"reader": files.read.__name__, "patterns": list(placed(files.splits[part.split], lang))}
        for files in task.files
        if part.split in files.splits
    ]
    return {"task": task.name, "split": str(part), "lang": lang, "sources": sources}


def declared(task: Task, spec: str, lang: str) -> Slice:
    """The parsed specification, of a split that the task has and that comes in this language."""
    part = _known(task, spec)
    if not _LANGUAGE.fullmatch(lang):
        raise InputError(f"{task.name}: {lang!r} is not a language code; wanted: letters and digits, such as de")
    everywhere = [pattern for files in task.files for pattern in files.splits.get(part.split, ())]
    if lang != task.train_lang and not any("{" in pattern for pattern in everywhere):
        raise InputError(f"{task.name}: the split {part.split!r} comes in {task.train_lang} only, not in {lang}")
    return part


def placed(patterns: Sequence[str], lang: str) -> tuple[str, ...]:
    """The patterns with the language in them."""
    return tuple(pattern.format(lang=lang, iso3=ISO3.get(lang, lang)) for pattern in patterns)


def gold(task: Task, row: Row) -> Hashable:
    """What `task.score` compares a prediction with.

    A label word, an option's number, a tuple of tags, a tuple of possible answers; in retrieval the row's id, because
    there a prediction is the id of the row whose translation was found.
    """
    match row:
        case Classified(label=str() as label):
            return label
        case Choices(label=int() as label):
            return label
        case Tagged(tags=tuple() as tags):
            return tags
        case Question(answers=answers) if answers:
            return tuple(answer.text for answer in answers)
        case Aligned(id=name):
            return name
        case _:
            raise InputError(f"{task.name}: row {row.id} has no label to score against")


def texts(row: Row) -> tuple[str, ...]:
    """All text of a row, for masked language modelling; the words of a tagged sentence are joined by spaces."""
    match row:
        case Classified(text=text, pair=pair):
            return (text,) if pair is None else (text, pair)
        case Choices(prompt=prompt, options=options):
            return (prompt, *options)
        case Tagged(words=words):
            return (" ".join(words),)
        case Question(context=context, question=question):
            return (context, question)
        case Aligned(source=source, target=target):
            return (source, target)
    return (row.text,)


def _known(task: Task, spec: str) -> Slice:
    part = parse(spec)
    if not task.splits:
        raise InputError(f"{task.name} has no files of its own. {task.source}")
    if part.split not in task.splits:
        near = difflib.get_close_matches(part.split, task.splits, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"{task.name} has no split {part.split!r}, it has {', '.join(task.splits)}{meant}")
    return part
