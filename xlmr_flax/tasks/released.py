"""Sources that are data sets of the Hugging Face Hub or of TFDS, beside a task's official files.

They stand after the official files in a task's `files`, and reports say so when one of them was read.
"""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from xlmr_flax.errors import InputError
from xlmr_flax.sources.hub import read_parquet
from xlmr_flax.sources.records import Convert
from xlmr_flax.sources.tfds import UNSOUND, read_array_record
from xlmr_flax.tasks.task import Files, Release


def hub(
    repo: str,
    subset: str,
    splits: Mapping[str, str | tuple[str, ...]],
    convert: Convert,
    *,
    langs: tuple[str, ...] | None = None,
    tells_lang: bool = False,
    tells_pairs: bool = False,
    revision: str = "main",
    note: str = "",
) -> Files:
    """Parquet files below hub/ in the data folder, as `data fetch` leaves them and as most repositories name them.

    A repository without subsets has `default`. A split may be several of the repository's together. `revision` is a
    branch or a commit; the first fetch writes down which commit it was, and later ones take that.
    """
    folder = f"hub/{repo}/{'data' if subset == 'default' else subset}"
    theirs = {own: (names,) if isinstance(names, str) else names for own, names in splits.items()}
    patterns = {own: tuple(f"{folder}/{name}-*.parquet" for name in names) for own, names in theirs.items()}
    release = Release("hub", repo, (subset,), theirs, revision)
    return Files(_reader("hub", read_parquet, convert), patterns, tells_lang, tells_pairs, langs, release, note)


def tfds(
    builder: str | tuple[str, ...],
    version: str,
    splits: Mapping[str, str],
    convert: Convert,
    *,
    langs: tuple[str, ...] | None = None,
    tells_lang: bool = False,
    tells_pairs: bool = False,
    note: str = "",
) -> Files:
    """Files below tfds/ in the data folder, as TFDS prepares them with `--file_format=array_record`.

    `builder` is a name, or a name and a configuration: paws_x_wiki/{lang}; or several whose splits are read together.
    Raises InputError for one that is unsound.
    """
    builders = (builder,) if isinstance(builder, str) else builder
    name = builders[0].split("/")[0]
    if name in UNSOUND:
        raise InputError(f"TFDS's {name} is no source for a task: {UNSOUND[name]}")

    patterns = {
        own: tuple(f"tfds/{one}/{version}/{name}-{theirs}.array_record-*" for one in builders)
        for own, theirs in splits.items()
    }
    release = Release("tfds", f"{name} {version}", builders, {own: (one,) for own, one in splits.items()})
    return Files(_reader("tfds", read_array_record, convert), patterns, tells_lang, tells_pairs, langs, release, note)


def _reader(kind: str, read: Callable[..., list[Any]], convert: Convert) -> Callable[..., list[Any]]:
    """The reader of a source, named for keys; it goes to other processes, which a function within one does not."""
    reader = functools.partial(_in_order, read, convert)
    reader.__name__ = f"read_{kind}"
    return reader


def _in_order(read: Callable[..., list[Any]], convert: Convert, *paths: Path, lang: str = "") -> list[Any]:
    """The rows of all files; where there are several, ids begin with the file's place, from 1."""
    parts = [read(path, convert, lang) for path in paths]
    if len(parts) == 1:
        return parts[0]
    return [
        row._replace(id=f"{place}:{row.id}", group=f"{place}:{row.group}")
        for place, part in enumerate(parts, start=1)
        for row in part
    ]
