"""Cosmos QA's CSV: a blog post, a question and four answers."""

from pathlib import Path

from xlmr_flax.errors import InputError
from xlmr_flax.sources.delimited import records
from xlmr_flax.sources.rows import Choices

_UNLABELLED = ["id", "context", "question", "answer0", "answer1", "answer2", "answer3"]
_LABELLED = [*_UNLABELLED, "label"]


def read_cosmosqa(path: Path) -> list[Choices]:
    """The prompt is the context and then the question, as in jiant; questions about one context make a group.

    The group's name is the id of its first question.
    """
    header, *body = records(path, delimiter=",")
    if header.cells not in (_UNLABELLED, _LABELLED):
        raise InputError(
            f"{path}:1: the header is {','.join(header.cells)!r}, {','.join(_LABELLED)!r} is wanted "
            f"(without label where there are none)"
        )
    if not body:
        raise InputError(f"{path}: there is a header but no row; was its download cut off?")
    seen: dict[str, int] = {}
    group_of: dict[str, str] = {}
    rows: list[Choices] = []
    for line, cells in body:
        if len(cells) != len(header.cells):
            raise InputError(
                f"{path}:{line}: {len(cells)} columns, the header has {len(header.cells)}; complete the row"
            )
        name, context, question = cells[:3]
        if seen.setdefault(name, line) != line:
            raise InputError(f"{path}:{line}: the id {name!r} stands on line {seen[name]} already; ids are unique")
        label = _label(cells[7], f"{path}:{line}") if len(cells) == 8 else None
        group = group_of.setdefault(context, name)
        rows.append(Choices(name, group, context, options=tuple(cells[3:7]), label=label, question=question))
    return rows


def _label(cell: str, where: str) -> int:
    if cell not in ("0", "1", "2", "3"):
        raise InputError(f"{where}: the label is {cell!r}, the number of the right answer from 0 to 3 is wanted")
    return int(cell)
