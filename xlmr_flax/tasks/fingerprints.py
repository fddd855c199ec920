"""The content hashes of the files that examples come from: what says that they are those of before."""

from collections.abc import Sequence
from pathlib import Path

from xlmr_flax.config.schema import TextFiles
from xlmr_flax.storage.contents import file_fingerprints
from xlmr_flax.storage.copies import name_in
from xlmr_flax.tasks.candidates import CANDIDATES, candidate_langs
from xlmr_flax.tasks.files import all_paths
from xlmr_flax.tasks.task import Task
from xlmr_flax.tasks.text import text_parts


def fingerprints(task: Task, spec: str, lang: str, data: Path) -> dict[str, str]:
    """The sha256 of each file that a split comes from, by its path under the data folder."""
    return _relative(all_paths(task, spec, lang, data), data)


def text_fingerprints(text: TextFiles, data: Path) -> dict[str, str]:
    """The same for the experiment's text."""
    return _relative([path for part in text_parts(text, data) for path in part.files], data)


def candidate_fingerprints(task: Task, data: Path) -> dict[str, str]:
    """The content hash of each file that the documents come from."""
    found = (fingerprints(task, CANDIDATES, lang, data) for lang in candidate_langs(task, data))
    return {path: digest for some in found for path, digest in some.items()}


def _relative(files: Sequence[Path], data: Path) -> dict[str, str]:
    return {name_in(data, Path(path)): digest for path, digest in file_fingerprints(files).items()}
