"""Words with tags in two columns, as XTREME writes UDPOS."""

from pathlib import Path

from xlmr_flax.errors import InputError
from xlmr_flax.sources.lines import lines
from xlmr_flax.sources.rows import Tagged


def read_tagged(path: Path) -> list[Tagged]:
    """Lines `word TAB tag`, a blank line between sentences; a file that has words only has no tags.

    A sentence's id is the number of its first line, from 1.
    """
    rows: list[Tagged] = []
    sentence: list[list[str]] = []
    columns, start = 0, 1
    # Blank lines after the last sentence are no sentences; one is put there in any case, to end it.
    body = "\n".join(lines(path)).rstrip("\n").split("\n")
    for number, line in enumerate([*body, ""], start=1):
        if not line:
            if not sentence:
                raise InputError(f"{path}:{number}: an empty sentence (two blank lines together); delete the line")
            rows.append(_row(start, sentence))
            sentence, start = [], number + 1
            continue
        cells = line.split("\t")
        columns = columns or len(cells)
        if len(cells) != columns or columns > 2 or not all(cell.strip() for cell in cells):
            wanted = "a word only" if columns == 1 else "a word, a TAB and its tag"
            raise InputError(f"{path}:{number}: found {line!r}, wanted {wanted}, as on the lines before")
        sentence.append(cells)
    return rows


def _row(start: int, sentence: list[list[str]]) -> Tagged:
    words = tuple(cells[0] for cells in sentence)
    tags = tuple(cells[1] for cells in sentence) if len(sentence[0]) == 2 else None
    return Tagged(id=str(start), group=str(start), words=words, tags=tags)
