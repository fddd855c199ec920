"""Texts and pairs of texts with a label, TAB-separated: as XTREME writes XNLI and PAWS-X, and as GLUE writes MNLI."""

from pathlib import Path

from xlmr_flax.errors import InputError
from xlmr_flax.sources.delimited import records
from xlmr_flax.sources.lines import lines
from xlmr_flax.sources.rows import Classified


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
            raise InputError(f"{path}:{line}: {_columns(len(cells))} between TABs, {wanted} wanted; complete the row")
        label = cells[2] if columns == 3 else None
        rows.append(Classified(id=str(line), group=str(line), text=cells[0], pair=cells[1], label=label))
    return rows


def read_hypotheses(path: Path) -> list[Classified]:
    """The second sentences of `read_pairs` alone: what they give away is an artefact of how the pairs were made."""
    return [row._replace(text=row.pair or "", pair=None) for row in read_pairs(path)]


def read_glue_pairs(path: Path) -> list[Classified]:
    """Rows under a header that names `sentence1`, `sentence2` and, where there are labels, `gold_label`; no quoting.

    GLUE's files take every character but TAB and line feed as text. A row's id is its line's number, from 1.
    """
    header, *body = (line.split("\t") for line in lines(path))
    missing = [name for name in ("sentence1", "sentence2") if name not in header]
    if missing:
        raise InputError(
            f"{path}:1: the header has no column {' and no column '.join(missing)}; it has {', '.join(header)}"
        )
    if not body:
        raise InputError(f"{path}: there is a header but no row; was its download cut off?")
    first, second = header.index("sentence1"), header.index("sentence2")
    label = header.index("gold_label") if "gold_label" in header else None
    rows: list[Classified] = []
    for line, cells in enumerate(body, start=2):
        if len(cells) != len(header):
            raise InputError(
                f"{path}:{line}: {_columns(len(cells))} between TABs, the header has {len(header)}; complete the row"
            )
        word = None if label is None else cells[label]
        rows.append(Classified(id=str(line), group=str(line), text=cells[first], pair=cells[second], label=word))
    return rows


def _columns(count: int) -> str:
    return f"{count} column{'' if count == 1 else 's'}"
