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
    the language, and {first} and {second} for those of a pair such as de-en. A pattern may match several files
    (treebanks): they are read in the order of their names, and the i-th match of one pattern belongs to the i-th of the
    others. A pattern without a language holds `train_lang`, unless `tells_lang`: then a file holds many languages, and
    `read` is given `lang` to pick from it.
    """

    read: Callable[..., list[Any]]
    splits: Mapping[str, tuple[str, ...]]
    tells_lang: bool = False


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
    have hidden or made-up labels. `score` takes gold and predicted values (and the language, where `score_in_lang`) and
    gives fractions of 1, of which `metric` is the headline. `source` says where the files come from and how to name
    them. A task with `members` has no files of its own: its rows are those of all members.
    """

    name: str
    head: Head
    langs: tuple[str, ...]
    files: tuple[Files, ...]
    train: str | None
    select: str | None
    test: str | None
    metric: str
    score: Callable[..., dict[str, float]]
    source: str
    train_lang: str = "en"
    unlabelled: frozenset[str] = frozenset()
    score_in_lang: bool = False
    members: tuple["Task", ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of all splits that some source has, without slices; of several tasks together, their roles."""
        if self.members:
            return tuple(role for role in ("train", "select", "test") if getattr(self, role))
        return tuple(dict.fromkeys(split for files in self.files for split in files.splits))


def identity(task: Task, spec: str, lang: str) -> dict[str, Any]:
    """What names these rows in a phase's key: declared, so it needs no file; equal specifications give equal values.

    `lang` may be "{lang}", to name the rows of every language at once.
    """
    part = _known(task, spec)
    if task.members:
        return {
            "task": task.name,
            "lang": lang,
            "members": [identity(member, spec_of(task, member, spec), lang) for member in task.members],
        }
    sources = [
        {"reader": files.read.__name__, "patterns": list(placed(files.splits[part.split], lang))}
        for files in task.files
        if part.split in files.splits
    ]
    return {"task": task.name, "split": str(part), "lang": lang, "sources": sources}


def spec_of(task: Task, member: Task, spec: str) -> str:
    """The member's split that takes part in a split of the whole: the same slice of the one in the same role."""
    part = _known(task, spec)
    own = {"train": member.train, "select": member.select, "test": member.test}[part.split]
    if own is None:
        raise InputError(f"{task.name}: its member {member.name} has no split to {part.split}")
    if str(part) != part.split:
        raise InputError(
            f"{task.name}: the split {spec!r} of several tasks together cannot be sliced; name one of them"
        )
    return own


def declared(task: Task, spec: str, lang: str) -> Slice:
    """The parsed specification, of a split that the task has and that comes in this language."""
    part = _known(task, spec)
    if not _LANGUAGE.fullmatch(lang):
        raise InputError(f"{task.name}: {lang!r} is not a language code; wanted: letters and digits, such as de")
    sources = [files for files in task.files if part.split in files.splits]
    if "-" in lang and not any(is_crossed(files.splits[part.split]) for files in sources):
        raise InputError(f"{task.name}: the split {part.split!r} has no pairs of languages such as {lang}; name one")
    told = any(files.tells_lang or any("{" in pattern for pattern in files.splits[part.split]) for files in sources)
    if lang != task.train_lang and not told:
        raise InputError(f"{task.name}: the split {part.split!r} comes in {task.train_lang} only, not in {lang}")
    return part


def is_crossed(patterns: Sequence[str]) -> bool:
    """Whether files are those of a pair of languages."""
    return any("{second}" in pattern for pattern in patterns)


def placed(patterns: Sequence[str], lang: str) -> tuple[str, ...]:
    """The patterns with the language, or the pair of languages, in them."""
    first, _, second = lang.partition("-")
    return tuple(
        pattern.format(lang=lang, iso3=ISO3.get(lang, lang), first=first, second=second or first)
        for pattern in patterns
    )


def scores(task: Task, gold: list[Any], predicted: list[Any], lang: str) -> dict[str, float]:
    """What the task's scorer says of predictions in one language."""
    return task.score(gold, predicted, lang) if task.score_in_lang else task.score(gold, predicted)


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
