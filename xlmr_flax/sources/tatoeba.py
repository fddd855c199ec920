"""Sentences and their English translations in two files, line i beside line i, as LASER lays out Tatoeba."""

from pathlib import Path

from xlmr_flax.errors import InputError
from xlmr_flax.sources.lines import lines
from xlmr_flax.sources.rows import Aligned


def read_tatoeba(foreign: Path, english: Path) -> list[Aligned]:
    """One row for each line; its id is the line's number, from 1. A blank line would have no translation: refused."""
    sources, targets = lines(foreign), lines(english)
    if len(sources) != len(targets):
        raise InputError(
            f"{foreign} has {len(sources)} lines and {english} has {len(targets)}, equally many are wanted: "
            f"line i of one translates line i of the other"
        )
    for path, sentences in ((foreign, sources), (english, targets)):
        for number, sentence in enumerate(sentences, start=1):
            if not sentence.strip():
                raise InputError(f"{path}:{number}: a blank line, a sentence is wanted")
    return [
        Aligned(id=str(number), group=str(number), source=source, target=target)
        for number, (source, target) in enumerate(zip(sources, targets, strict=True), start=1)
    ]
