"""From a task, a split and a language to the files in the data folder, and to checked rows."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Choices, Classified, Question, Row, Tagged
from xlmr_flax.tasks.splits import cut
from xlmr_flax.tasks.task import Files, Head, Task, declared, is_crossed, placed, spec_of


def paths(task: Task, split: str, lang: str, data: Path) -> tuple[Files, list[Path]]:
    """The first source that has this split in this language, and its files in the order in which they are read."""
    files, calls = _found(task, split, lang, data)
    return files, [path for call in calls for path in call]


def all_paths(task: Task, spec: str, lang: str, data: Path) -> list[Path]:
    """Every file that `rows` reads for the same arguments."""
    if task.members:
        every = (all_paths(member, spec_of(task, member, spec), lang, data) for member in task.members)
        return list(dict.fromkeys(path for some in every for path in some))
    return paths(task, declared(task, spec, lang).split, lang, data)[1]


def rows(task: Task, spec: str, lang: str, data: Path, *, labels: bool = True) -> list[Row]:
    """The rows of a split or of a slice of it, each checked against the task's head.

    With `labels` (to train or to score) a row without one is an error; without, rows may have none (to predict).
    Where several files are read, a row's id and group begin with its file's name; where several tasks are, with the
    task's.
    """
    if task.members:
        return [
            _prefixed(row, member.name)
            for member in task.members
            for row in rows(member, spec_of(task, member, spec), lang, data, labels=labels)
        ]
    part = declared(task, spec, lang)
    if labels and part.split in task.unlabelled:
        raise InputError(
            f"{task.name}: the labels of the split {part.split!r} are hidden, its files hold placeholders; "
            f"it can be predicted, not scored or trained on. {task.source}"
        )
    files, calls = _found(task, part.split, lang, data)
    taken: list[Row] = []
    for call in calls:
        found = files.read(*call, lang=lang) if files.tells_lang else files.read(*call)
        check(task, found, call[0], labels=labels)
        taken += found if len(calls) == 1 else [_prefixed(row, call[0].name) for row in found]
    twice = [name for name, count in Counter(row.id for row in taken).items() if count > 1]
    if twice:
        raise InputError(f"{task.name}: the row {twice[0]!r} of {_listed(calls)} occurs twice; is a file there twice?")
    selected = cut(taken, spec)
    if not selected:
        groups = len({row.group for row in taken})
        raise InputError(
            f"{task.name}: {spec} of {_listed(calls)} is empty: {len(taken)} rows in {groups} groups, which are never "
            f"parted; widen the slice"
        )
    return selected


def check(task: Task, found: Sequence[Row], path: Path, *, labels: bool = True) -> None:
    """Compares each row's label with the task's head; `path` is named in the error."""
    for row in found:
        if problem := _problem(task.head, row):
            raise InputError(f"{path}: row {row.id}: {problem}")
        if labels and not _labelled(row):
            raise InputError(
                f"{path}: row {row.id} has no label, so {task.name} can predict this file but neither train on it "
                f"nor score it. {task.source}"
            )


def _labelled(row: Row) -> bool:
    match row:
        case Classified(label=None) | Choices(label=None) | Tagged(tags=None) | Question(answers=()):
            return False
    return True


def _problem(head: Head, row: Row) -> str | None:
    """What does not fit the head, if anything."""
    match row:
        case Classified(label=str() as label) if label not in head.labels:
            return _unknown("label", label, head.labels)
        case Tagged(tags=tuple() as tags):
            odd = next((tag for tag in tags if tag not in head.labels), None)
            return None if odd is None else _unknown("tag", odd, head.labels)
        case Choices(options=options) if len(options) != head.options:
            return f"{len(options)} options, {head.options} are wanted"
        case Choices(label=int() as label, options=options) if not 0 <= label < len(options):
            return f"the label is {label}, which counts none of {len(options)} options from 0"
    return None


def _unknown(noun: str, label: str, labels: tuple[str, ...]) -> str:
    return f"the {noun} {label!r} is unknown, wanted: {', '.join(labels)}"


def _found(task: Task, split: str, lang: str, data: Path) -> tuple[Files, list[tuple[Path, ...]]]:
    """The source, and for each call of its reader the arguments."""
    declared(task, split, lang)
    if not data.is_dir():
        raise InputError(f"{data}: the data folder does not exist; name it with --data or XLMR_FLAX_DATA")
    tried: list[str] = []
    for files in task.files:
        declared_patterns = files.splits.get(split, ())
        if is_crossed(declared_patterns) != ("-" in lang):
            continue
        patterns = placed(declared_patterns, lang)
        matches = [sorted(filter(Path.is_file, data.glob(pattern)), key=_by_name) for pattern in patterns]
        if not any(matches):
            tried += patterns
            continue
        counts = dict(zip(patterns, map(len, matches), strict=True))
        if len(set(counts.values())) > 1:
            told = " and ".join(f"{count} of {pattern}" for pattern, count in counts.items())
            raise InputError(f"{task.name}: {data} has {told}; equally many are wanted. {task.source}")
        return files, list(zip(*matches, strict=True))
    raise InputError(
        f"{task.name}: no {split} files in {lang}: looked for {' and '.join(tried)} in {data}. {task.source}"
    )


def _by_name(path: Path) -> tuple[str, Path]:
    return path.name, path


def _prefixed(row: Row, name: str) -> Row:
    return row._replace(id=f"{name}:{row.id}", group=f"{name}:{row.group}")


def _listed(calls: Sequence[tuple[Path, ...]]) -> str:
    return ", ".join(str(path) for call in calls for path in call)
