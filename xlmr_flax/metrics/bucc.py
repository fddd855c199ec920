"""F1 of mined pairs of sentences, and the threshold that makes it highest, as XTREME's utils_retrieve.py has them."""

from collections.abc import Collection, Hashable, Iterable, Mapping

from xlmr_flax.errors import InputError


def bucc(gold: Iterable[Hashable], predicted: Iterable[Hashable]) -> dict[str, float]:
    """`f1`, `precision` and `recall` of predicted pairs of ids; a pair that occurs twice counts once."""
    wanted, found = set(gold), set(predicted)
    if not wanted:
        raise InputError("no gold pairs: there is nothing to score")
    right = len(wanted & found)
    if not right:
        return {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    precision, recall = right / len(found), right / len(wanted)
    return {"f1": 2 * precision * recall / (precision + recall), "precision": precision, "recall": recall}


def best_threshold(scores: Mapping[Hashable, float], gold: Collection[Hashable]) -> float:
    """The score above which pairs are taken so that F1 is highest on gold pairs; the higher one of equally good.

    It lies midway between the last pair that is taken and the next; 0 where no gold pair was found. Pairs of equal
    score stand in the order of `scores`, as the reference has them. Where all pairs should be taken the reference reads
    past its list (an IndexError); here the last pair's own score is the threshold, which takes it (`mined`).
    """
    wanted, best, threshold, right = set(gold), 0.0, 0.0, 0
    if not wanted:
        raise InputError("no gold pairs: there is no threshold to find")
    ranked = sorted(scores.items(), key=lambda item: -item[1])
    for taken, (pair, score) in enumerate(ranked, start=1):
        right += pair in wanted
        if not right:
            continue
        precision, recall = right / taken, right / len(wanted)
        f1 = 2 * precision * recall / (precision + recall)
        if f1 > best:
            following = ranked[taken][1] if taken < len(ranked) else score
            best, threshold = f1, (score + following) / 2
    return threshold


def mined(scores: Mapping[Hashable, float], threshold: float) -> list[Hashable]:
    """The pairs whose score reaches the threshold, in their order."""
    return [pair for pair, score in scores.items() if score >= threshold]
