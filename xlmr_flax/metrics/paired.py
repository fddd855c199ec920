"""What every score asks of its two lists."""

from collections.abc import Sequence
from typing import Any

from xlmr_flax.errors import InputError


def check_paired(gold: Sequence[Any], predicted: Sequence[Any]) -> None:
    """One prediction for each gold value, and at least one of them: a mean over nothing is no score."""
    if len(gold) != len(predicted):
        raise InputError(f"{len(predicted)} predictions for {len(gold)} gold values; one for each is wanted")
    if not gold:
        raise InputError("no gold values: there is nothing to score")
