"""Plain text, a line a row."""

from pathlib import Path

from xlmr_flax.sources.lines import lines
from xlmr_flax.sources.rows import Text


def read_text(path: Path) -> list[Text]:
    """One row for each line that is not blank; its id is the line's number, from 1."""
    return [
        Text(id=str(number), group=str(number), text=line)
        for number, line in enumerate(lines(path), start=1)
        if line.strip()
    ]
