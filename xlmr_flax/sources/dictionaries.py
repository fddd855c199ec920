"""A user's dictionaries: where they are, what is in them, and their content's hashes."""

import functools
from collections.abc import Sequence
from pathlib import Path

from xlmr_flax.errors import InputError
from xlmr_flax.sources.dictionary import Dictionary, files_of, read_dictionary
from xlmr_flax.storage.contents import file_fingerprints
from xlmr_flax.storage.copies import copy_of
from xlmr_flax.storage.places import is_remote, place


def dictionary_files(named: str, lang: str, into: Sequence[str] | None, data: Path) -> list[Path]:
    """The files with a language's words; of a pair of languages, de-en, those of both. There may be none."""
    folder = _folder(named, data)
    return [path for one in lang.split("-") for path in files_of(folder, one, into)]


def check_dictionary(named: str, langs: Sequence[str], into: Sequence[str] | None, data: Path) -> None:
    """Reads all of it. Raises InputError when it has none of the languages."""
    found = [path for lang in langs for path in dictionary_files(named, lang, into, data)]
    if not found:
        folder = _folder(named, data)
        there = ", ".join(path.name for path in sorted(folder.glob("*.txt"))[:8])
        raise InputError(
            f"{folder}: no dictionary of {', '.join(langs)}: wanted a folder with files such as "
            f"{langs[0]}-{into[0] if into else 'xx'}.txt, found {there or 'no .txt file'}"
        )
    load_dictionary(found)


def load_dictionary(files: Sequence[Path]) -> Dictionary:
    """The words of one language; a file that is as it was is not read again."""
    return _read(tuple(sorted(file_fingerprints(files).items())))


@functools.lru_cache(maxsize=16)
def _read(known: tuple[tuple[str, str], ...]) -> Dictionary:
    return read_dictionary([Path(name) for name, _ in known])


def dictionary_fingerprints(files: Sequence[Path]) -> dict[str, str]:
    """The sha256 of each file, under its name."""
    return {f"dictionary {Path(path).name}": digest for path, digest in file_fingerprints(files).items()}


def _folder(named: str, data: Path) -> Path:
    """A name that is no place of its own is one below the data folder."""
    own = Path(named).is_absolute() or is_remote(named)
    return copy_of(place(named) if own else data / named, ("*.txt",))
