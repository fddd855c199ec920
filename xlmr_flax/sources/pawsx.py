"""PAWS-X as its authors publish it: `id`, `sentence1`, `sentence2` and `label` under a header, one file a language."""

from pathlib import Path

from xlmr_flax.errors import InputError
from xlmr_flax.sources.crossed import crossed
from xlmr_flax.sources.rows import Classified
from xlmr_flax.sources.tsv import headed


def read_pawsx(path: Path) -> list[Classified]:
    """`train.tsv`, `dev_2k.tsv` or `test_2k.tsv` of x-final; a row's id is that of the file, which all languages share.

    Every row is kept, as XTREME does: what a translator left out is scored like the rest. Texts lose the spaces around
    them, as in XTREME's copy.
    """
    rows = []
    for line, (name, first, second, label) in headed(path, ("id", "sentence1", "sentence2"), optional="label"):
        if not name.strip():
            raise InputError(f"{path}:{line}: the id is blank; complete the row")
        rows.append(Classified(name, name, first.strip(), second.strip(), label))
    return rows


def read_crossed_pawsx(first: Path, second: Path) -> list[Classified]:
    """Sentence 1 of one language's file with sentence 2 of another's."""
    return crossed(read_pawsx(first), read_pawsx(second), where=f"{first} and {second}")
