"""Sentences and their English translations in two files, as LASER lays out Tatoeba and as XTREME downloads it."""

from pathlib import Path

from xlmr_flax.errors import InputError
from xlmr_flax.sources.lines import lines
from xlmr_flax.sources.rows import Aligned, Mined


def read_tatoeba(foreign: Path, english: Path) -> list[Aligned]:
    """One row for each line, line i beside line i; its id is the line's number, from 1."""
    sources, targets = _sentences(foreign, english)
    return [
        Aligned(id=str(number), group=str(number), source=source, target=target)
        for number, (source, target) in enumerate(zip(sources, targets, strict=True), start=1)
    ]


def read_tatoeba_sorted(foreign: Path, english: Path) -> list[Mined]:
    """The sentences of either file, of which XTREME has sorted the English ones: what translates what is hidden.

    An id is its file's side and the line's number, from 1.
    """
    sources, targets = _sentences(foreign, english)
    return [
        Mined(id=f"{side} {number}", group=f"{side} {number}", text=text, side=side, translations=None)
        for side, sentences in (("source", sources), ("target", targets))
        for number, text in enumerate(sentences, start=1)
    ]


def _sentences(foreign: Path, english: Path) -> tuple[list[str], list[str]]:
    """The lines of both. A blank one would have no translation: refused, as are files of unequal length."""
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
    return sources, targets
