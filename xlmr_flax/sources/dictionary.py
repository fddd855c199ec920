"""Bilingual dictionaries as MUSE publishes them: a folder of files such as en-de.txt, on each line a word in both."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from xlmr_flax.errors import InputError
from xlmr_flax.sources.lines import lines

# Of each word the translations into each language that has any.
Dictionary = Mapping[str, tuple[tuple[str, ...], ...]]

_NAME = re.compile(r"([A-Za-z0-9]+)-([A-Za-z0-9]+)\.txt")


def read_pairs(path: Path) -> dict[str, tuple[str, ...]]:
    """The translations of each word, in the order of the file; a word may stand there several times.

    The two columns are separated by a TAB, and a translation may then be several words, or by spaces.
    """
    found: dict[str, dict[str, None]] = {}
    for number, line in enumerate(lines(path), start=1):
        if not line.strip():
            continue
        columns = [column.strip() for column in line.split("\t")] if "\t" in line else line.split()
        if len(columns) != 2 or not all(columns):
            raise InputError(
                f"{path}:{number}: {len(columns)} columns, wanted 2: a word and its translation, with a TAB between "
                f"them where either is several words; found {line[:60]!r}"
            )
        found.setdefault(columns[0], {})[columns[1]] = None
    return {word: tuple(translations) for word, translations in found.items()}


def files_of(folder: Path, lang: str, into: Sequence[str] | None = None) -> list[Path]:
    """The files with the words of a language, in the order of their names; translations into `into` only, if given."""
    named = ((_NAME.fullmatch(path.name), path) for path in sorted(folder.glob("*.txt")))
    return [path for name, path in named if name and name[1] == lang and (into is None or name[2] in into)]


def read_dictionary(files: Sequence[Path]) -> Dictionary:
    """Several files of one language as one."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for path in files:
        for word, translations in read_pairs(path).items():
            found.setdefault(word, []).append(translations)
    return {word: tuple(each) for word, each in found.items()}
