"""Rows of CSV and its TAB-separated kin, with real quoting."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from xlmr_flax.errors import InputError
from xlmr_flax.sources.lines import whole_text


class Record(NamedTuple):
    """One row of a delimited file and the line on which it starts, from 1."""

    line: int
    cells: list[str]


def records(path: Path, *, delimiter: str) -> Iterator[Record]:
    """Every row of the file; a quote that opens a cell must close it, and stands doubled inside it."""
    reader = csv.reader(io.StringIO(whole_text(path), newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(
                f"{path}:{line}: the quoting is broken ({error}); a cell that begins with a quote ends with one, "
                f"and quotes inside it are doubled"
            ) from error
        yield Record(line, cells)
