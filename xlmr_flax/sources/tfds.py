"""Data sets of TFDS, prepared on disk as array_record and read through `tfds.data_source`, without TensorFlow."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from xlmr_flax.errors import InputError
from xlmr_flax.sources.hub import class_words
from xlmr_flax.sources.records import Convert, Record, converted, first_line, shard_prefix
from xlmr_flax.sources.rows import Excluded, Row

# Builders that are not what their names promise, and why.
UNSOUND = {
    "xtreme_pos": "its Tamil files hold Tagalog and its Tagalog files Tamil, and it keeps the words of fused forms "
    "apart, which XTREME joins; put UD's own files or XTREME's into the data folder",
    "universal_dependencies": "it holds release 2.10, XTREME scores 2.5 (2.7 for the languages that XTREME-R adds); "
    "put UD's own files into the data folder",
    "bucc": "it holds the translations only, and mining needs all sentences among which they are found; put the files "
    "of the shared task into the data folder",
}
_BATCH = 1000


class Shard(NamedTuple):
    """What a file's path says of it."""

    data_dir: Path
    builder: str
    split: str
    number: int


def read_array_record(path: Path, convert: Convert, lang: str = "") -> list[Row | Excluded]:
    """The rows of one shard, in TFDS's own order, which is shuffled.

    Raises InputError for a builder in UNSOUND, a file out of its place, or one that is damaged.
    """
    shard = _shard(path)
    name = shard.builder.split("/")[0]
    if name in UNSOUND:
        raise InputError(f"{path}: TFDS's {name} is not used here: {UNSOUND[name]}")
    rows = converted(_records(path, shard, lang), convert)
    if not rows:
        asked = f" in {lang}" if lang else ""
        raise InputError(f"{path}: there is not one record{asked}, at least one is wanted; is this the right file?")
    return rows


def _records(path: Path, shard: Shard, lang: str) -> Iterator[Record]:
    import tensorflow_datasets as tfds

    prefix = shard_prefix(path.name)
    try:
        source = tfds.data_source(
            shard.builder, split=f"{shard.split}[{shard.number}shard]", data_dir=shard.data_dir, download=False
        )
        features = source.dataset_info.features
        names = {column: names for column in features if (names := _names(features[column]))}
        for start in range(0, len(source), _BATCH):
            batch = source.__getitems__(range(start, min(start + _BATCH, len(source))))
            for number, values in enumerate(batch, start=start + 1):
                plain = {column: _plain(value) for column, value in values.items()}
                if None in plain.values():
                    raise ValueError("a record is cut off")  # that is how array_record gives one
                worded = {
                    column: class_words(value, names[column]) if column in names else value
                    for column, value in plain.items()
                }
                yield Record(path, f"{prefix}{number}", worded, lang)
    except InputError:
        raise
    except Exception as error:  # tfds and array_record raise whatever was raised within them
        raise InputError(
            f"{path}: TFDS cannot read it ({first_line(error)}); prepare {shard.builder} again, as array_record"
        ) from error


def _shard(path: Path) -> Shard:
    found = re.fullmatch(r"([a-z0-9_]+)-(.+)\.array_record-(\d{5})-of-\d{5}", path.name)
    version, *above = (parent.name for parent in list(path.parents)[:3])
    if not found or found[1] not in above:
        raise InputError(
            f"{path}: not where TFDS puts a file; wanted: tfds/BUILDER/CONFIG/VERSION/"
            "BUILDER-SPLIT.array_record-00000-of-00001, with dataset_info.json and features.json beside it"
        )
    depth = above.index(found[1])
    builder = found[1] if depth == 0 else f"{found[1]}/{above[0]}"
    return Shard(path.parents[depth + 2], f"{builder}:{version}", found[2], int(found[3]))


def _names(feature: Any) -> list[str] | None:
    return getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)


def _plain(value: Any) -> Any:
    """Bytes as text, arrays as lists, their numbers as Python's."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return _plain(value.tolist()) if hasattr(value, "tolist") else value
