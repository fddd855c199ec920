"""XNLI as its authors publish it: one file of all languages for each split that is scored."""

from pathlib import Path

from xlmr_flax.errors import InputError
from xlmr_flax.sources.crossed import crossed
from xlmr_flax.sources.rows import Classified
from xlmr_flax.sources.tsv import headed

COLUMNS = ("language", "gold_label", "sentence1", "sentence2", "pairID")
# XNLI spells one label in two ways.
SPELT = {"contradictory": "contradiction"}


def read_xnli(path: Path, *, lang: str) -> list[Classified]:
    """The rows of one language, or, for a pair such as de-en, sentence 1 in German with sentence 2 in English.

    The file is `xnli.dev.tsv` or `xnli.test.tsv` of XNLI-1.0. A row's id is its `pairID`, which all languages share.
    Texts lose the spaces around them, as in XTREME's copy.
    """
    wanted = lang.split("-", 1)
    found: dict[str, list[Classified]] = {one: [] for one in wanted}
    seen: dict[str, None] = {}
    for line, (language, label, first, second, name) in headed(path, COLUMNS):
        if not name.strip():
            raise InputError(f"{path}:{line}: the pairID is blank; was the file cut off?")
        seen[language] = None
        if language in found:
            row = Classified(name, name, first.strip(), second.strip(), SPELT.get(label, label))
            found[language].append(row)
    for one, rows in found.items():
        if not rows:
            raise InputError(f"{path}: no row in {one!r}; its column language has: {', '.join(seen)}")
    if len(wanted) == 1:
        return found[lang]
    return crossed(*(found[one] for one in wanted), where=f"{path} in {lang}")


def read_xnli_hypotheses(path: Path, *, lang: str) -> list[Classified]:
    """The second sentences of `read_xnli` alone."""
    return [row._replace(text=row.pair or "", pair=None) for row in read_xnli(path, lang=lang)]
