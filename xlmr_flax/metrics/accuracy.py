"""The share of predictions that equal the gold value, alone and with the F1 of one class."""

from collections.abc import Hashable, Sequence

from xlmr_flax.metrics.paired import check_paired


def accuracy(gold: Sequence[Hashable], predicted: Sequence[Hashable]) -> dict[str, float]:
    """Serves classes, choices, tokens and retrieval alike; in retrieval a value is the translation's index or id."""
    check_paired(gold, predicted)
    return {"accuracy": sum(a == b for a, b in zip(gold, predicted, strict=True)) / len(gold)}


def accuracy_and_f1(
    gold: Sequence[Hashable], predicted: Sequence[Hashable], positive: Hashable = "1"
) -> dict[str, float]:
    """`accuracy`, `f1` of the positive class, and `accuracy_and_f1`, their mean, which is jiant's headline for QQP.

    Without a true positive F1 is 0, as in scikit-learn.
    """
    found = accuracy(gold, predicted)["accuracy"]
    f1 = _f1(gold, predicted, positive)
    return {"accuracy": found, "f1": f1, "accuracy_and_f1": (found + f1) / 2}


def accuracy_and_class_f1(
    gold: Sequence[Hashable], predicted: Sequence[Hashable], positive: Hashable = "1"
) -> dict[str, float]:
    """`accuracy`, F1 of the positive class, and the mean of the classes' F1s: of those among gold or predicted values.

    As scikit-learn's binary and macro averages.
    """
    classes = sorted(set(gold) | set(predicted), key=str)
    return {
        **accuracy(gold, predicted),
        "f1": _f1(gold, predicted, positive),
        "macro_f1": sum(_f1(gold, predicted, one) for one in classes) / len(classes),
    }


def _f1(gold: Sequence[Hashable], predicted: Sequence[Hashable], positive: Hashable) -> float:
    right = sum(a == b == positive for a, b in zip(gold, predicted, strict=True))
    either = sum((a == positive) + (b == positive) for a, b in zip(gold, predicted, strict=True))
    return 2 * right / either if right else 0.0
