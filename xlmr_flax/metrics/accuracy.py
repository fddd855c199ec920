"""The share of predictions that equal the gold value."""

from collections.abc import Hashable, Sequence

from xlmr_flax.metrics.paired import check_paired


def accuracy(gold: Sequence[Hashable], predicted: Sequence[Hashable]) -> dict[str, float]:
    """Serves classes, choices, tokens and retrieval alike; in retrieval a value is the translation's index or id."""
    check_paired(gold, predicted)
    return {"accuracy": sum(a == b for a, b in zip(gold, predicted, strict=True)) / len(gold)}
