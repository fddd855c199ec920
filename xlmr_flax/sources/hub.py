"""Parquet files of the Hugging Face Hub, read from the data folder by `datasets` itself."""

import glob
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xlmr_flax.errors import InputError
from xlmr_flax.sources.records import Convert, Record, converted, first_line, shard_prefix
from xlmr_flax.sources.rows import Excluded, Row

_BATCH = 1000


def read_parquet(path: Path, convert: Convert, lang: str = "") -> list[Row | Excluded]:
    """The rows of one file; no network is asked and no copy is left in the cache of `datasets`.

    Raises InputError for a file that is damaged or empty, or that lacks records that its own footer counts.
    """
    rows = converted(_records(path, lang), convert)
    if not rows:
        asked = f" in {lang}" if lang else ""
        raise InputError(f"{path}: there is not one record{asked}, at least one is wanted; is this the right file?")
    return rows


def parquet_count(path: Path) -> int:
    """How many records the file's footer counts."""
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_metadata(path).num_rows
    except (OSError, pyarrow.ArrowException) as error:
        raise _damaged(path, error) from error


def _records(path: Path, lang: str) -> Iterator[Record]:
    import datasets
    import pyarrow

    wanted, number, prefix = parquet_count(path), 0, shard_prefix(path.name)
    if not wanted:
        return
    try:
        # Streaming leaves nothing there but a lock file, and wants it no longer than this.
        with tempfile.TemporaryDirectory() as cache:
            found = datasets.load_dataset(
                "parquet", data_files={"all": glob.escape(str(path))}, split="all", streaming=True, cache_dir=cache
            )
        names = {column: names for column, kind in (found.features or {}).items() if (names := _names(kind))}
        for table in found.with_format("arrow").iter(_BATCH):
            for values in table.to_pylist():
                number += 1
                yield Record(path, f"{prefix}{number}", _worded(values, names), lang)
    except (OSError, UnicodeDecodeError, pyarrow.ArrowException, datasets.exceptions.DatasetsError) as error:
        raise _damaged(path, error) from error
    if number != wanted:
        raise InputError(f"{path}: {number} records were read, its footer counts {wanted}; fetch it again")


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: not a whole Parquet file ({first_line(error)}); fetch it again")


def _names(kind: Any) -> list[str] | None:
    """The names of the classes of a column, or of each element of its lists."""
    return getattr(kind, "names", None) or getattr(getattr(kind, "feature", None), "names", None)


def _worded(values: Mapping[str, Any], names: Mapping[str, list[str]]) -> dict[str, Any]:
    return {column: class_words(value, names[column]) if column in names else value for column, value in values.items()}


def class_words(value: Any, names: list[str]) -> Any:
    """The names of classes by their numbers, also in a list; what is no number of a class stays as it is (-1)."""
    if isinstance(value, list):
        return [class_words(one, names) for one in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value
