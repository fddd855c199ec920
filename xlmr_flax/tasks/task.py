"""What a task is: everything that the trainer needs to know about it, in one frozen value."""

import difflib
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Aligned, Choices, Classified, Matched, Mined, Query, Question, Row, Tagged
from xlmr_flax.tasks.languages import ISO3, NAMES, UD_NAMES
from xlmr_flax.tasks.splits import Slice, parse

# Enough to name a language or a variety of one, and nothing that means something in a path or a pattern.
_LANGUAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Release:
    """A data set of the Hugging Face Hub or of TFDS: what reports call it, and what `data fetch` asks for.

    `subsets` may hold {lang} and its kin. `splits` are its names of the task's splits.
    """

    kind: Literal["hub", "tfds"]
    name: str
    subsets: tuple[str, ...]
    splits: Mapping[str, tuple[str, ...]]
    revision: str = "main"


@dataclass(frozen=True, eq=False)
class Files:
    """Where a source keeps each split of a task.

    A split has one pattern for each argument of `read`, below the data folder, in which {lang}, {iso3} and {name} stand
    for the language, and {first} and {second} for those of a pair such as de-en. A pattern may match several files
    (treebanks): they are read in the order of their names, and the i-th match of one pattern belongs to the i-th of the
    others. A pattern without a language holds `train_lang`, unless `tells_lang`: then a file holds many languages, and
    `read` is given `lang` to pick from it, also a pair of them where it `tells_pairs`. `langs`, if given, are all that
    these files come in. `release` is the data set that the files belong to, where they are not the official ones, and
    `note` how their text differs from that of the task's first source, where it does: reports name either.
    """

    read: Callable[..., list[Any]]
    splits: Mapping[str, tuple[str, ...]]
    tells_lang: bool = False
    tells_pairs: bool = False
    langs: tuple[str, ...] | None = None
    release: Release | None = None
    note: str = ""


@dataclass(frozen=True)
class Head:
    """What stands on the encoder: its kind, and its labels in order or its number of options.

    Where `labels_read`, the labels are not declared but those of the training split, sorted (`labels.with_labels`); a
    gold label elsewhere that is none of them is never predicted, and so counts as wrong.
    """

    kind: Literal["sequence", "choice", "token", "span", "mlm", "embedding", "dual"]
    labels: tuple[str, ...] = ()
    options: int | None = None
    labels_read: bool = False

    @property
    def units(self) -> int:
        """How many encoded sequences an example has that are never parted: its options, or a query and its document."""
        return 2 if self.kind == "dual" else self.options or 1


def fits(one: Head, other: Head) -> bool:
    """Whether a head can start from another's weights: the same labels; a choice scores each option by itself."""
    return one == other or one.kind == other.kind == "choice"


@dataclass(frozen=True, eq=False)
class Task:
    """One task, declared once.

    `files` are alternatives: the first that exists for a split and language is taken. `train`, `select` and `test` are
    split specifications (`splits.parse`); `select` shares no text with any split that is scored. Splits in `unlabelled`
    have hidden or made-up labels. `score` takes gold and predicted values (and the language, where `score_in_lang`) and
    gives fractions of 1, of which `metric` is the headline. `source` says where the files come from and how to name
    them. A task with `members` has no files of its own: its rows are those of all members.

    Questions of a `nullable` task may have no answer: its predictions are Guesses.
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
    nullable: bool = False

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
    for member in task.members:
        declared(member, spec_of(task, member, spec), lang)
    sources = [files for files in task.files if part.split in files.splits]
    if "-" in lang and not any(_has_pairs(files, part.split) for files in sources):
        raise InputError(f"{task.name}: the split {part.split!r} has no pairs of languages such as {lang}; name one")
    if sources and not any(holds(task, files, part.split, lang) for files in sources):
        raise InputError(f"{task.name}: the split {part.split!r} comes in {task.train_lang} only, not in {lang}")
    return part


def holds(task: Task, files: Files, split: str, lang: str) -> bool:
    """Whether a source is declared to have a split in this language."""
    patterns = files.splits.get(split, ())
    if not patterns or (files.langs is not None and lang not in files.langs):
        return False
    if "-" in lang:
        return _has_pairs(files, split)
    if any("{second}" in pattern for pattern in patterns):
        return False
    return lang == task.train_lang or files.tells_lang or any("{" in pattern for pattern in patterns)


def _has_pairs(files: Files, split: str) -> bool:
    return files.tells_pairs or any("{second}" in pattern for pattern in files.splits[split])


def placed(patterns: Sequence[str], lang: str) -> tuple[str, ...]:
    """The patterns with the language, or the pair of languages, in them."""
    first, _, second = lang.partition("-")
    words = {"lang": lang, "iso3": ISO3.get(lang, lang)}
    words |= {"name": NAMES.get(lang, lang), "Name": UD_NAMES.get(lang, lang)}
    return tuple(pattern.format(**words, first=first, second=second or first) for pattern in patterns)


def scores(task: Task, gold: list[Any], predicted: list[Any], lang: str) -> dict[str, float]:
    """What the task's scorer says of predictions in one language."""
    return task.score(gold, predicted, lang) if task.score_in_lang else task.score(gold, predicted)


def gold(task: Task, row: Row) -> Hashable:
    """What `task.score` compares a prediction with.

    A label word, an option's number, a tuple of tags, a tuple of possible answers (empty where there is none); in
    retrieval the row's id, because there a prediction is the id of the row whose translation was found; in mining
    all pairs of ids that begin with the row's; the ids of the documents that answer a query,
    because there a prediction is a ranking of documents.
    """
    match row:
        case Classified(label=str() as label):
            return label
        case Choices(label=int() as label):
            return label
        case Tagged(tags=tuple() as tags):
            return tags
        case Question(answers=tuple() as answers):
            return tuple(answer.text for answer in answers)
        case Aligned(id=name):
            return name
        case Mined(id=name, translations=tuple() as translations):
            return tuple((name, translation) for translation in translations)
        case Matched(document_id=name):
            return (name,)
        case Query(relevant=tuple() as relevant):
            return relevant
        case _:
            raise InputError(f"{task.name}: row {row.id} has no label to score against")


def texts(row: Row) -> tuple[str, ...]:
    """All text of a row, for masked language modelling; the words of a tagged sentence are joined by spaces."""
    match row:
        case Classified(text=text, pair=pair):
            return (text,) if pair is None else (text, pair)
        case Choices(prompt=prompt, question=question, options=options):
            return (f"{prompt} {question}".strip(), *options)
        case Tagged(words=words):
            return (" ".join(words),)
        case Question(context=context, question=question):
            return (context, question)
        case Aligned(source=source, target=target):
            return (source, target)
        case Matched(query=query, document=document):
            return (query, document)
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
