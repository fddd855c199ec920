"""A table as every output has it: HTML, Markdown, CSV and LaTeX show the same cells."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Cell(NamedTuple):
    """What is shown, what it is sorted and saved by, and how strongly it is coloured: from -1 to 1, None not at all."""

    text: str
    value: float | str | None = None
    shade: float | None = None
    told: str = ""  # shown when one asks: the interval of a difference


@dataclass(frozen=True)
class Table:
    """A table with what must be known beside it."""

    name: str  # of its files
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    head: int = 1  # how many of the first columns name the row
    wide: bool = field(default=False)  # of many columns: not for the eye of a phone's reader first


FULL_SHADE = 0.1  # a difference of ten points has the whole colour


def words(text: object) -> Cell:
    """A cell of words."""
    return Cell(str(text), str(text))


def percent(value: float | None, mark: str = "", told: str = "") -> Cell:
    """A score in percent."""
    return Cell("", None) if value is None else Cell(f"{100 * value:.1f}{mark}", 100 * value, told=told)


def points(value: float | None, mark: str = "", told: str = "") -> Cell:
    """A difference in points, with its sign and colour."""
    if value is None:
        return Cell("", None)
    shade = max(-1.0, min(1.0, value / FULL_SHADE))
    return Cell(signed(value) + mark, 100 * value, shade, told)


def number(value: float | int | None, form: str = ",") -> Cell:
    """A count or another figure."""
    return Cell("", None) if value is None else Cell(format(value, form), value)


def interval(low: float | None, high: float | None) -> str:
    """`[+0.3, +2.1]`, in points; a dash where there is none."""
    if low is None or high is None:
        return "–"
    return f"[{signed(low)}, {signed(high)}]"


def signed(value: float) -> str:
    """`+0.3` or `−0.3`, in points."""
    return f"{100 * value:+.1f}".replace("-", "−")


def slug(text: str) -> str:
    """A text as the name of a file, without its ending."""
    return re.sub(r"\W+", "_", text).strip("_").lower()


def table(
    name: str,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    notes: Sequence[str] = (),
    **more: int,
) -> Table | None:
    """A table, or None where it has no rows."""
    if not rows:
        return None
    return Table(name, title, tuple(columns), tuple(map(tuple, rows)), tuple(filter(None, notes)), **more)
