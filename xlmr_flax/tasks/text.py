"""The text of an experiment: plain files, and all text of other tasks' files."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from xlmr_flax.config.schema import TextFiles
from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Text
from xlmr_flax.sources.text import read_text
from xlmr_flax.storage.copies import files_in
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import Found, check_there, found, paths
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
        matches = files_in(data, pattern)
        if not matches:
            check_there(data)
            raise InputError(f"text.files: nothing matches {pattern!r} in {data}")
        parts += [Part((path,)) for path in matches]
    for name in text.tasks:
        of_task = list(_parts_of(name, data))
        if not of_task:
            raise InputError(f"text.tasks: no file of {name} is in {data}. {task(name).source}")
        parts += of_task
    return parts


def text_rows(text: TextFiles, data: Path) -> list[Text]:
    """The texts that `text_found` gives, for those who have no use for the number of the rows without."""
    return text_found(text, data).rows


def text_found(text: TextFiles, data: Path) -> Found:
    """Every text once, in the order of the files, and which rows were left out of them.

    A context that many questions share is one text.
    """
    seen: dict[str, Text] = {}
    excluded: Counter[str] = Counter()
    for part in text_parts(text, data):
        split = _found(part, data)
        excluded.update(split.excluded)
        for row in split.rows:
            for number, words in enumerate(texts(row)):
                if words.strip():
                    name = f"{part.files[0].name}:{row.id}:{number}"
                    seen.setdefault(words, Text(name, name, words))
    return Found(list(seen.values()), dict(excluded))


def _parts_of(name: str, data: Path) -> Iterator[Part]:
    declared = task(name)
    for split in declared.splits:
        for lang in declared.langs:
            try:
                yield Part(tuple(paths(declared, split, lang, data)[1]), name, split, lang)
            except InputError:
                continue  # every split and language that is there; nothing at all is the caller's error


def _found(part: Part, data: Path) -> Found:
    if part.task is None:
        return Found(list(read_text(part.files[0])), {})
    return found(task(part.task), part.split, part.lang, data, labels=False)
