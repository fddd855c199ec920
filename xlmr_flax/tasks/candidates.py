"""What the queries of a retrieval task rank: the documents of a split of their own, of all languages together."""

import re
from pathlib import Path

from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Document
from xlmr_flax.storage.copies import files_in, name_in
from xlmr_flax.tasks.files import rows
from xlmr_flax.tasks.task import Task

CANDIDATES = "candidates"  # the split that holds a task's documents


def candidate_langs(task: Task, data: Path) -> tuple[str, ...]:
    """The languages whose documents are in the data folder, as XTREME-R takes whatever files are there.

    The training language alone, for a task whose documents are in one file.
    """
    patterns = [files.splits[CANDIDATES][0] for files in task.files if CANDIDATES in files.splits]
    if not any("{lang}" in pattern for pattern in patterns):
        return (task.train_lang,)
    found: set[str] = set()
    for pattern in patterns:
        name = re.compile(re.escape(pattern).replace(re.escape("{lang}"), "([A-Za-z0-9]+)"))
        paths = (name_in(data, path) for path in files_in(data, pattern.replace("{lang}", "*")))
        found |= {match[1] for match in map(name.fullmatch, paths) if match}
    if not found:
        raise InputError(f"{task.name}: no files of candidates: looked for {' and '.join(patterns)}. {task.source}")
    return tuple(sorted(found))


def candidates(task: Task, data: Path) -> list[Document]:
    """The documents of all languages."""
    return [row for lang in candidate_langs(task, data) for row in rows(task, CANDIDATES, lang, data)]
