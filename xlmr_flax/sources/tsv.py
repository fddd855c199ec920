"""Texts and pairs of texts with a label, TAB-separated: as XTREME writes XNLI and PAWS-X, GLUE writes MNLI and QQP."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from xlmr_flax.errors import InputError
from xlmr_flax.sources.crossed import crossed
from xlmr_flax.sources.delimited import records
from xlmr_flax.sources.lines import lines
from xlmr_flax.sources.rows import Classified, Excluded

COLUMNS = "another number of columns than the others"


def read_pairs(path: Path) -> list[Classified]:
    """Rows `sentence 1, sentence 2, label` without a header; a file whose rows all have two columns has no labels.

    XTREME writes these files with Python's csv.writer, so a sentence with quotes is quoted and they are doubled.
    Its own reader takes the quotes as text; this one undoes them. A row's id is its first line's number, from 1.
    """
    rows: list[Classified] = []
    columns = 0
    for line, cells in records(path, delimiter="\t"):
        columns = columns or len(cells)
        if len(cells) not in (2, 3) or len(cells) != columns:
            wanted = "3 (sentence 1, sentence 2, label)" if columns == 3 else "2, or 3 with a label, in every row"
            raise InputError(f"{path}:{line}: {counted(cells)} between TABs, {wanted} wanted; complete the row")
        label = cells[2] if columns == 3 else None
        rows.append(Classified(id=str(line), group=str(line), text=cells[0], pair=cells[1], label=label))
    return rows


def read_crossed_pairs(first: Path, second: Path) -> list[Classified]:
    """Sentence 1 of one file of `read_pairs` with sentence 2 of another, which is its translation row by row."""
    return crossed(read_pairs(first), read_pairs(second), where=f"{first} and {second}")


def read_hypotheses(path: Path) -> list[Classified]:
    """The second sentences of `read_pairs` alone: what they give away is an artefact of how the pairs were made."""
    return [row._replace(text=row.pair or "", pair=None) for row in read_pairs(path)]


def read_glue_pairs(path: Path) -> list[Classified]:
    """Rows under a header that names `sentence1`, `sentence2` and, where there are labels, `gold_label`; no quoting.

    GLUE's files take every character but TAB and line feed as text. A row's id is its line's number, from 1.
    """
    return [
        Classified(line, line, first, second, label)
        for line, (first, second, label) in headed(path, ("sentence1", "sentence2"), optional="gold_label")
    ]


def read_qqp(path: Path) -> list[Classified | Excluded]:
    """Rows under a header that names `question1`, `question2` and, where there are labels, `is_duplicate`; no quoting.

    GLUE's file has some rows that are broken over lines; the parts are excluded. A row's id is its line's number.
    """
    found = table(path, ("question1", "question2"), optional="is_duplicate")
    return [Excluded(line, line, COLUMNS) if cells is None else Classified(line, line, *cells) for line, cells in found]


def headed(
    path: Path, columns: Sequence[str], *, optional: str | None = None
) -> Iterator[tuple[str, list[str | None]]]:
    """`table` of a file that is known to be clean. Raises InputError for a row of another number of columns."""
    for line, cells in table(path, columns, optional=optional):
        if cells is None:
            whole = lines(path)
            header, found = whole[0].split("\t"), whole[int(line) - 1].split("\t")
            raise InputError(
                f"{path}:{line}: {counted(found)} between TABs, the header has {len(header)}; complete the row"
            )
        yield line, cells


def table(
    path: Path, columns: Sequence[str], *, optional: str | None = None
) -> Iterator[tuple[str, list[str | None] | None]]:
    """Each row's line number, from 1, and its cells in these columns, which the header names; no quoting.

    A row of another number of columns than the header gives None. The `optional` column comes last, as None where the
    header does not name it.
    """
    header, *body = (line.split("\t") for line in lines(path))
    missing = [name for name in columns if name not in header]
    if missing:
        raise InputError(
            f"{path}:1: the header has no column {' and no column '.join(missing)}; it has {', '.join(header)}"
        )
    if not body:
        raise InputError(f"{path}: there is a header but no row; was its download cut off?")
    places = [header.index(name) for name in columns]
    if optional is not None:
        places.append(header.index(optional) if optional in header else len(header))
    for line, cells in enumerate(body, start=2):
        yield str(line), [(*cells, None)[place] for place in places] if len(cells) == len(header) else None


def counted(cells: Sequence[str]) -> str:
    """How many columns, in words."""
    return f"{len(cells)} column{'' if len(cells) == 1 else 's'}"
