"""Words with tags in two columns: as XTREME writes UDPOS and PAN-X, as CCG supertags come, and WikiANN's own files."""

from collections.abc import Callable, Mapping
from pathlib import Path

from xlmr_flax.errors import InputError
from xlmr_flax.sources.lines import lines
from xlmr_flax.sources.rows import Tagged


def read_tagged(path: Path) -> list[Tagged]:
    """Lines `word TAB tag`, a blank line between sentences; a file that has words only has no tags.

    A sentence's id is the number of its first line, from 1.
    """
    return _read(path, lambda cell: cell, {1: "a word only", 2: "a word, a TAB and its tag"})


def read_wikiann(path: Path) -> list[Tagged]:
    """The files of WikiANN's archive, whose lines are `LANG:word TAB tag`.

    A word may be blank there: it stays, so that every line has its tag, and is encoded as an unknown one.
    """
    return _read(path, _after_prefix, {2: "LANG:word, a TAB and its tag"})


def _read(path: Path, word_in: Callable[[str], str | None], forms: Mapping[int, str]) -> list[Tagged]:
    """The sentences of a file whose lines have one of the `forms`, by their number of columns, and all the same.

    `word_in` gives the word that a first column holds, or None where it is not of the form.
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
        word, columns = word_in(cells[0]), columns or len(cells)
        if word is None or len(cells) != columns or columns not in forms or not all(cell.strip() for cell in cells):
            wanted = forms.get(columns, forms[2])
            raise InputError(f"{path}:{number}: found {line!r}, wanted {wanted}, as on the lines before")
        sentence.append([word, *cells[1:]])
    return rows


def _after_prefix(cell: str) -> str | None:
    lang, colon, word = cell.partition(":")
    return word.strip() if lang and colon else None


def _row(start: int, sentence: list[list[str]]) -> Tagged:
    words = tuple(cells[0] for cells in sentence)
    tags = tuple(cells[1] for cells in sentence) if len(sentence[0]) == 2 else None
    return Tagged(id=str(start), group=str(start), words=words, tags=tags)
