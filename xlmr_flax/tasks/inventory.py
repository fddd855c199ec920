"""What of a task is in the data folder: its sources, rows and labels, compared with what was recorded before."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xlmr_flax import __version__
from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Choices, Classified, Matched, Mined, Query, Question, Row, Tagged
from xlmr_flax.storage.contents import sha256_of
from xlmr_flax.storage.copies import files_in, name_in
from xlmr_flax.storage.places import write
from xlmr_flax.tasks.files import Found, found, paths, source_name
from xlmr_flax.tasks.splits import parse
from xlmr_flax.tasks.task import Files, Release, Task, holds, placed

RECORDS = "records.json"


class Part(NamedTuple):
    """A split in a language that is there: where it is read from, and what is in it."""

    split: str
    lang: str
    source: str
    is_first: bool  # the source that the task declares first
    files: tuple[str, ...]
    rows: int
    excluded: Mapping[str, int]
    labels: Mapping[str, int]


class Inventory(NamedTuple):
    """What is there of a task, which needed files are missing, and what is wrong with those that are there."""

    task: str
    parts: tuple[Part, ...]
    missing: tuple[tuple[str, str], ...]  # the files as the first source calls them, and the language
    problems: tuple[str, ...]
    source: str
    releases: tuple[Release, ...]  # the data sets that are read as well

    @property
    def state(self) -> str:
        if self.problems:
            return "wrong"
        if self.missing:
            return "incomplete" if self.parts else "absent"
        return "found"


class Records:
    """What was known of the data folder's files when they were first seen: kept in it, and compared ever after."""

    def __init__(self, data: Path, *, renew: bool = False) -> None:
        self.data, self.path, self.renew = data, data / RECORDS, renew
        self.known: dict[str, dict[str, Any]] = {"files": {}, "parts": {}, "commits": {}}
        if self.path.is_file():
            try:
                self.known |= json.loads(self.path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise InputError(
                    f"{self.path}: cannot be read ({error}); remove it to record all files anew"
                ) from error

    def digest(self, path: Path) -> str:
        """The sha256 of a file, computed only when its size or time is new; a recorded one that differs is an error."""
        name, stat = self._name(path), path.stat()
        old, seen = self.known["files"].get(name, {}), {"bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}
        if seen.items() <= old.items():
            return old["sha256"]
        sha256 = sha256_of(path)
        if old.get("sha256", sha256) != sha256 and not self.renew:
            raise InputError(
                f"{path}: changed since it was recorded: it had {old['bytes']} bytes and sha256 {old['sha256'][:12]}…, "
                f"and has {stat.st_size} and {sha256[:12]}…; put the old file back, or take the new one with "
                f"xlmr-flax data check --renew"
            )
        self.known["files"][name] = {**old, **seen, "sha256": sha256}
        return sha256

    def note(self, path: Path, origin: str) -> None:
        """Writes down where a file was fetched from."""
        self.digest(path)
        self.known["files"][self._name(path)]["origin"] = origin

    def write(self) -> bool:
        """Keeps what is known; False where the data folder cannot be written to."""
        try:
            write(self.path, json.dumps(self.known, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
        except OSError:
            return False
        return True

    def _name(self, path: Path) -> str:
        return name_in(self.data, path)


def inventories(tasks: Sequence[Task], records: Records, langs: Sequence[str] | None = None) -> list[Inventory]:
    """What is there of each task, in all its languages or in `langs`; tasks without files of their own are left out."""
    if not records.data.is_dir():
        raise InputError(f"{records.data}: the data folder does not exist; name it with --data or XLMR_FLAX_DATA")
    known: dict[str, Inventory] = {}
    for task in (member for one in tasks for member in (*one.members, one)):
        if task.files and task.name not in known:
            known[task.name] = _inventory(task, records, langs)
    return [_together(one, known) if one.members else known[one.name] for one in tasks if one.members or one.files]


def _inventory(task: Task, records: Records, langs: Sequence[str] | None) -> Inventory:
    parts, missing, problems = [], [], []
    for split, lang, is_needed in _wanted(task, langs):
        try:
            files, there = paths(task, split, lang, records.data)
        except InputError as error:
            if _some_there(task, split, lang, records.data):
                problems.append(str(error))
            elif is_needed:
                missing.append((" and ".join(_first(task, split, lang).splits[split]), lang))
            continue
        try:
            parts.append(_part(task, split, lang, files, there, records))
        except InputError as error:
            problems.append(str(error))
    releases = tuple(files.release for files in task.files if files.release)
    return Inventory(task.name, tuple(parts), tuple(dict.fromkeys(missing)), tuple(problems), task.source, releases)


def _together(task: Task, known: Mapping[str, Inventory]) -> Inventory:
    """The inventory of a task that is made of others."""
    members = [known[member.name] for member in task.members]
    parts = (part._replace(split=f"{one.task} {part.split}") for one in members for part in one.parts)
    missing = (pair for one in members for pair in one.missing)
    problems = (text for one in members for text in one.problems)
    releases = (release for one in members for release in one.releases)
    return Inventory(task.name, tuple(parts), tuple(missing), tuple(problems), task.source, tuple(releases))


def needed(task: Task) -> list[tuple[str, str]]:
    """The splits, each with a language, without which a task cannot be trained, selected or scored as declared."""
    # What is not trained selects nothing in its training language: BUCC's thresholds come from every dev set.
    selected = (task.train_lang,) if task.train else task.langs
    roles = [(task.train, (task.train_lang,)), (task.select, selected), (task.test, task.langs)]
    asked = ((parse(spec).split, lang) for spec, langs in roles if spec for lang in langs)
    return list(dict.fromkeys(pair for pair in asked if _is_declared(task, *pair)))


def summary(read: Found) -> dict[str, Any]:
    """How many rows there are, how many were left out for which reason, and how often each label occurs."""
    counted = Counter(label for row in read.rows for label in _labels(row))
    return {
        "rows": len(read.rows),
        "excluded": dict(read.excluded),
        "labels": dict(sorted(counted.items(), key=lambda item: (-item[1], item[0]))),
    }


def _wanted(task: Task, langs: Sequence[str] | None) -> Iterator[tuple[str, str, bool]]:
    must = needed(task)
    for split in task.splits:
        for lang in dict.fromkeys((task.train_lang, *task.langs, *(langs or ()))):
            if (langs is None or lang in langs or lang == task.train_lang) and _is_declared(task, split, lang):
                yield split, lang, (split, lang) in must


def _is_declared(task: Task, split: str, lang: str) -> bool:
    return any(holds(task, files, split, lang) for files in task.files)


def _some_there(task: Task, split: str, lang: str, data: Path) -> bool:
    """Whether some file of the split is there, though not all that go together."""
    every = (placed(files.splits[split], lang) for files in task.files if holds(task, files, split, lang))
    return any(files_in(data, pattern) for patterns in every for pattern in patterns)


def _first(task: Task, split: str, lang: str) -> Files:
    """The source that the task declares first."""
    return next(files for files in task.files if holds(task, files, split, lang))


def _part(task: Task, split: str, lang: str, files: Files, there: Sequence[Path], records: Records) -> Part:
    """What is in the files: as it was recorded, if neither they nor this program have changed since."""
    digests = {name_in(records.data, path): records.digest(path) for path in there}
    key, made_of = f"{task.name} {split} {lang}", {"files": digests, "version": __version__}
    old = records.known["parts"].get(key, {})
    if made_of.items() <= old.items():
        counts = {name: old[name] for name in ("rows", "excluded", "labels")}
    else:
        counts = summary(found(task, split, lang, records.data, labels=False))
        records.known["parts"][key] = {**made_of, **counts}
    is_first = files is _first(task, split, lang)
    return Part(split, lang, source_name(files, split), is_first, tuple(digests), **counts)


def _labels(row: Row) -> Sequence[str]:
    """What is counted of a row; `no label` where the file hides it."""
    match row:
        case Classified(label=label):
            return (label or "no label",)
        case Choices(label=label):
            return ("no label" if label is None else str(label),)
        case Tagged(tags=tags):
            return tags or ("no label",)
        case Question(answers=answers):
            return ("no label" if answers is None else "answered" if answers else "unanswerable",)
        case Mined(side=side, translations=translations):
            return (side, *(("translated",) if translations else ()))
        case Query(relevant=relevant):
            return ("query", *(("no label",) if relevant is None else ()))
        case Matched():
            return ()
    return (type(row).__name__.lower(),)
