"""Pairs of sentences in two languages, out of the same pairs in each of them."""

from collections.abc import Sequence

from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Classified


def crossed(first: Sequence[Classified], second: Sequence[Classified], *, where: str) -> list[Classified]:
    """Sentence 1 of each row of `first` with sentence 2 of the row of the same id in `second`, whose label is the same.

    Raises InputError, which begins with `where`, unless both have the same ids, each once, and agree on every label.
    """
    partner = {row.id: row for row in second}
    if len(partner) < len(second) or len({row.id for row in first}) < len(first):
        raise InputError(f"{where}: an id occurs twice in one language, so its translation cannot be told")
    alone = [row.id for row in first if row.id not in partner]
    if alone or len(first) != len(second):
        example = alone[0] if alone else next(iter(partner.keys() - {row.id for row in first}))
        raise InputError(
            f"{where}: {len(first)} rows in one language and {len(second)} in the other, and row {example} is in one "
            f"only; they have to be translations of each other, row by row"
        )
    rows = [row._replace(pair=partner[row.id].pair) for row in first]
    odd = next((row for row in rows if row.label != partner[row.id].label), None)
    if odd is not None:
        raise InputError(
            f"{where}: row {odd.id} is labelled {odd.label!r} in one language and {partner[odd.id].label!r} in the "
            f"other; they have to be translations of each other, row by row"
        )
    return rows
