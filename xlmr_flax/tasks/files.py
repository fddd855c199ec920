"""From a task, a split and a language to the files in the data folder, and to checked rows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Choices, Classified, Excluded, Mined, Query, Question, Row, Tagged
from xlmr_flax.storage.copies import files_in
from xlmr_flax.tasks.splits import cut, parse
from xlmr_flax.tasks.task import Files, Head, Task, declared, holds, placed, spec_of

AnyRow = TypeVar("AnyRow", bound=Row | Excluded)
_KINDS = {"hub": "hub", "tfds": "TFDS"}
EXCLUDED = "excluded: "  # begins the name of a count; the reason follows


class Found(NamedTuple):
    """The rows of a split, and how many were left out of it for which reason."""

    rows: list[Row]
    excluded: Mapping[str, int]

    @property
    def counts(self) -> dict[str, int]:
        """What reports say of the rows that were left out: how many, and how many for each reason."""
        if not self.excluded:
            return {}
        return {"excluded": sum(self.excluded.values())} | {
            f"{EXCLUDED}{reason}": count for reason, count in self.excluded.items()
        }


def excluded_text(counts: Mapping[str, int]) -> str:
    """What a log says of rows that were left out, from the counts of a split; nothing where there are none."""
    reasons = {name.removeprefix(EXCLUDED): count for name, count in counts.items() if name.startswith(EXCLUDED)}
    told = ", ".join(f"{count:,} × {reason}" for reason, count in reasons.items())
    return f"{counts['excluded']:,} rows left out: {told}" if reasons else ""


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


def other_release(task: Task, spec: str, lang: str, data: Path) -> str:
    """What reports call the source that is read, where its text is not surely that of the first source; else nothing.

    Official files in another layout have the same text, if nothing is noted of them.
    """
    if task.members:
        parts = (other_release(one, spec_of(task, one, spec), lang, data) for one in task.members)
        return ", ".join(dict.fromkeys(filter(None, parts)))
    split = declared(task, spec, lang).split
    first = next(files for files in task.files if holds(task, files, split, lang))
    files = paths(task, split, lang, data)[0]
    if files is first or not (files.release or files.note):
        return ""
    return source_name(files, split) + (f" ({files.note})" if files.note else "")


def source_name(files: Files, split: str) -> str:
    """What reports call a source: its release, or else the pattern of its files."""
    release = files.release
    return files.splits[split][0] if release is None else f"{_KINDS[release.kind]} {release.name}"


def rows(task: Task, spec: str, lang: str, data: Path, *, labels: bool = True) -> list[Row]:
    """The rows that `found` gives, for those who have no use for the number of the others."""
    return found(task, spec, lang, data, labels=labels).rows


def found(task: Task, spec: str, lang: str, data: Path, *, labels: bool = True) -> Found:
    """The rows of a split or of a slice of it, each checked against the task's head, and what was left out of it.

    With `labels` (to train or to score) a row without one is an error; without, rows may have none (to predict).
    Where several files are read, a row's id and group begin with its file's name; where several tasks are, with the
    task's.
    """
    if task.members:
        parts = (found(one, spec_of(task, one, spec), lang, data, labels=labels) for one in task.members)
        return _together(task, list(parts))
    part = declared(task, spec, lang)
    if labels and part.split in task.unlabelled:
        raise InputError(
            f"{task.name}: the labels of the split {part.split!r} are hidden, its files hold placeholders; "
            f"it can be predicted, not scored or trained on. {task.source}"
        )
    files, calls = _found(task, part.split, lang, data)
    taken: list[Row | Excluded] = []
    for call in calls:
        read = files.read(*call, lang=lang) if files.tells_lang else files.read(*call)
        check(task, read, call[0], labels=labels)
        # The shards of a release number their own rows, and an article may go on in the next.
        alone = len(calls) == 1 or files.release is not None
        taken += read if alone else [_prefixed(row, call[0].name) for row in read]
    twice = [name for name, count in Counter(row.id for row in taken).items() if count > 1]
    if twice:
        raise InputError(f"{task.name}: the row {twice[0]!r} of {_listed(calls)} occurs twice; is a file there twice?")
    selected = _separated(cut(taken, spec))
    if not selected.rows:
        groups = len({row.group for row in taken})
        raise InputError(
            f"{task.name}: {spec} of {_listed(calls)} is empty: {len(taken)} rows in {groups} groups, which are never "
            f"parted; widen the slice"
        )
    return selected


def check_there(data: Path) -> None:
    """Raises InputError where there is no data folder: more is wrong than that a file is missing."""
    if not data.is_dir():
        raise InputError(f"{data}: the data folder does not exist; name it with --data or XLMR_FLAX_DATA")


def check(task: Task, read: Sequence[Row | Excluded], path: Path, *, labels: bool = True) -> None:
    """Compares each row's label with the task's head; `path` is named in the error.

    A file of which most rows are excluded is refused: it is hardly the file that it should be.
    """
    excluded = _separated(read).excluded
    if 2 * sum(excluded.values()) > len(read):
        most = max(excluded, key=lambda reason: excluded[reason])
        raise InputError(
            f"{path}: {sum(excluded.values())} of {len(read)} rows cannot be used, most because of: {most}; is this "
            f"the right file, and whole? {task.source}"
        )
    for row in read:
        if isinstance(row, Excluded):
            continue
        if problem := _problem(task.head, row):
            raise InputError(f"{path}: row {row.id}: {problem}")
        if labels and not _labelled(row):
            raise InputError(
                f"{path}: row {row.id} has no label, so {task.name} can predict this file but neither train on it "
                f"nor score it. {task.source}"
            )


def hidden(task: Task, spec: str, read: Sequence[Row]) -> bool:
    """Whether labels of these rows of a split are missing or made up, so that they can be predicted, not scored."""
    return parse(spec).split in task.unlabelled or not all(map(_labelled, read))


def _separated(read: Sequence[Row | Excluded]) -> Found:
    kept = [row for row in read if not isinstance(row, Excluded)]
    return Found(kept, dict(Counter(row.reason for row in read if isinstance(row, Excluded))))


def _together(task: Task, parts: Sequence[Found]) -> Found:
    excluded: Counter[str] = Counter()
    for part in parts:
        excluded.update(part.excluded)
    kept = [_prefixed(row, one.name) for one, part in zip(task.members, parts, strict=True) for row in part.rows]
    return Found(kept, dict(excluded))


def _labelled(row: Row) -> bool:
    match row:
        case (
            Classified(label=None)
            | Choices(label=None)
            | Tagged(tags=None)
            | Question(answers=None)
            | Query(relevant=None)
            | Mined(translations=None)
        ):
            return False
    return True


def _problem(head: Head, row: Row) -> str | None:
    """What does not fit the head, if anything."""
    match row:
        case Classified(label=str() as label) if label not in head.labels and not head.labels_read:
            return _unknown("label", label, head.labels)
        case Tagged(tags=tuple() as tags) if not head.labels_read:
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
    check_there(data)
    tried: list[str] = []
    releases: list[str] = []
    for files in task.files:
        if not holds(task, files, split, lang):
            continue
        patterns = placed(files.splits[split], lang)
        matches = [sorted(files_in(data, pattern), key=_by_name) for pattern in patterns]
        if not any(matches):
            tried += patterns if files.release is None else ()
            releases += [] if files.release is None else [source_name(files, split)]
            continue
        counts = dict(zip(patterns, map(len, matches), strict=True))
        if len(set(counts.values())) > 1:
            told = " and ".join(f"{count} of {pattern}" for pattern, count in counts.items())
            raise InputError(f"{task.name}: {data} has {told}; equally many are wanted. {task.source}")
        return files, list(zip(*matches, strict=True))
    others = f" (or {', '.join(releases)}; xlmr-flax data fetch {task.name})" if releases else ""
    raise InputError(
        f"{task.name}: no {split} files in {lang}: looked for {' and '.join(tried)} in {data}{others}. {task.source}"
    )


def _by_name(path: Path) -> tuple[str, Path]:
    return path.name, path


def _prefixed(row: AnyRow, name: str) -> AnyRow:
    return row._replace(id=f"{name}:{row.id}", group=f"{name}:{row.group}")


def _listed(calls: Sequence[tuple[Path, ...]]) -> str:
    return ", ".join(str(path) for call in calls for path in call)
