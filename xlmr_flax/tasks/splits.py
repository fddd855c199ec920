"""`train[:95%]`: a split of a task, or a slice of it by groups."""

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Excluded, Row

AnyRow = TypeVar("AnyRow", bound=Row | Excluded)

_FORM = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)(?:\[(?:([0-9]{1,3})%)?:(?:([0-9]{1,3})%)?\])?")


class Slice(NamedTuple):
    """A split and the percents of its groups between which rows are taken; written back, it is in one standard form."""

    split: str
    start: int
    stop: int

    def __str__(self) -> str:
        start = f"{self.start}%" if self.start > 0 else ""
        stop = f"{self.stop}%" if self.stop < 100 else ""
        return f"{self.split}[{start}:{stop}]" if start or stop else self.split


def parse(spec: str) -> Slice:
    """Reads `split`, `split[:90%]`, `split[90%:]` or `split[10%:20%]`, with whole percents."""
    found = _FORM.fullmatch(spec)
    if not found:
        raise InputError(
            f"the split {spec!r} cannot be read; wanted: dev, dev[:90%], dev[90%:] or dev[10%:20%], in whole percents"
        )
    start, stop = int(found[2] or 0), int(found[3] or 100)
    if not 0 <= start < stop <= 100:
        raise InputError(f"the split {spec!r} takes nothing: its percents must rise, from 0 to 100")
    return Slice(found[1], start, stop)


def cut(rows: Sequence[AnyRow], spec: str) -> list[AnyRow]:
    """The rows of the slice, in their order; a group (an article) is never parted.

    Groups are counted in the order of their first rows, and group number g of n belongs to [a:b] if and only if
    a·n/100 <= g < b·n/100, both rounded down. So [:p] and [p:] share no group and together hold all.
    """
    part = parse(spec)
    groups = list(dict.fromkeys(row.group for row in rows))
    taken = set(groups[part.start * len(groups) // 100 : part.stop * len(groups) // 100])
    return [row for row in rows if row.group in taken]
