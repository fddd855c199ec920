"""The text of an experiment: plain files, and all text of other tasks' files."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from xlmr_flax.config.schema import TextFiles
from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Row, Text
from xlmr_flax.sources.text import read_text
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import paths, rows
from xlmr_flax.tasks.task import texts


class Part(NamedTuple):
    """Files that belong together: plain text, or one split of a task in one language."""

    files: tuple[Path, ...]
    task: str | None = None
    split: str = ""
    lang: str = ""


def text_parts(text: TextFiles, data: Path) -> list[Part]:
    """All files that hold the text. Raises InputError for a pattern or a task of which nothing is there."""
    parts = []
    for pattern in text.files:
        found = sorted(data.glob(pattern))
        if not found:
            raise InputError(f"text.files: nothing matches {pattern!r} in {data}")
        parts += [Part((path,)) for path in found]
    for name in text.tasks:
        found = list(_parts_of(name, data))
        if not found:
            raise InputError(f"text.tasks: no file of {name} is in {data}. {task(name).source}")
        parts += found
    return parts


def text_rows(text: TextFiles, data: Path) -> list[Text]:
    """Every text once, in the order of the files; a context that many questions share is one text."""
    seen: dict[str, Text] = {}
    for part in text_parts(text, data):
        for row in _rows(part, data):
            for number, words in enumerate(texts(row)):
                if words.strip():
                    name = f"{part.files[0].name}:{row.id}:{number}"
                    seen.setdefault(words, Text(name, name, words))
    return list(seen.values())


def _parts_of(name: str, data: Path) -> Iterator[Part]:
    declared = task(name)
    for split in declared.splits:
        for lang in declared.langs:
            try:
                yield Part(tuple(paths(declared, split, lang, data)[1]), name, split, lang)
            except InputError:
                continue  # every split and language that is there; nothing at all is the caller's error


def _rows(part: Part, data: Path) -> list[Row]:
    if part.task is None:
        return list(read_text(part.files[0]))
    return rows(task(part.task), part.split, part.lang, data, labels=False)
