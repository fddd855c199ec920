"""How far up a ranking the right documents stand: LAReQA's mAP@20 and Mewsli-X's MRR@20."""

from collections.abc import Collection, Hashable, Sequence
from statistics import fmean

from xlmr_flax.errors import InputError
from xlmr_flax.metrics.paired import check_paired

DEPTH = 20  # XTREME-R's, for both tasks


def mean_average_precision(
    gold: Sequence[Collection[Hashable]], predicted: Sequence[Sequence[Hashable]], k: int = DEPTH
) -> dict[str, float]:
    """`map@20`, over queries of which each has one or more right documents, as XTREME's utils_lareqa.py has it.

    A query's precisions at its right documents are summed and divided by the number of right documents, or by k where
    there are more. A document that is named twice counts once.
    """
    check_paired(gold, predicted)
    return {f"map@{k}": fmean(map(_average_precision, gold, predicted, [k] * len(gold)))}


def mean_reciprocal_rank(
    gold: Sequence[Collection[Hashable]], predicted: Sequence[Sequence[Hashable]], k: int = DEPTH
) -> dict[str, float]:
    """`mrr@20`, one over the first right document's place, 0 where it is not among the first k.

    XTREME's scorer prints it as map@20: a mention has one right entity, and then the two are the same.
    """
    check_paired(gold, predicted)
    ranks = (
        next((rank for rank, one in enumerate(found[:k], start=1) if one in wanted), None)
        for wanted, found in zip(gold, predicted, strict=True)
    )
    return {f"mrr@{k}": fmean(1 / rank if rank else 0.0 for rank in ranks)}


def _average_precision(wanted: Collection[Hashable], found: Sequence[Hashable], k: int) -> float:
    if not wanted:
        raise InputError("a query has no right document; only queries that have one are scored")
    right, total = set(wanted), 0.0
    hits: set[Hashable] = set()
    for place, one in enumerate(found[:k], start=1):
        if one in right and one not in hits:
            hits.add(one)
            total += len(hits) / place
    return total / min(len(right), k)
