"""What a score is made of, example by example: kept beside it, so that a report can draw the examples again."""

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xlmr_flax.errors import InputError
from xlmr_flax.metrics.tagging import chunks
from xlmr_flax.storage.places import look, write
from xlmr_flax.tasks.task import Task, scores


class Terms(NamedTuple):
    """A metric as the mean of T ratios of sums over N examples; most are one ratio, with 1 below for each example."""

    above_TN: np.ndarray
    below_TN: np.ndarray | None = None


def score_of(terms: Terms) -> float:
    """The score that these examples have together; a ratio of nothing to nothing is 0."""
    return float(drawn(terms, np.ones((1, terms.above_TN.shape[1])))[0])


def drawn(terms: Terms, times_BN: np.ndarray) -> np.ndarray:
    """The score of each of B draws, in which example n occurs `times_BN[b, n]` times."""
    above_BT = times_BN @ terms.above_TN.T
    below_BT = times_BN.sum(axis=1, keepdims=True) if terms.below_TN is None else times_BN @ terms.below_TN.T
    return np.divide(above_BT, below_BT, out=np.zeros_like(above_BT), where=below_BT != 0).mean(axis=1)


def terms_of(
    task: Task, gold: Sequence[Any], predicted: Sequence[Any], scored: Mapping[str, float], lang: str
) -> dict[str, Terms]:
    """The terms of each metric of `scored` that is such a mean of ratios.

    Whatever does not come to the same score when its examples are put together again is left out: scores at the
    threshold that is best for all examples, for one.
    """
    match task.head.kind:
        case "token":
            found = _of_tags(gold, predicted)
        case "embedding" if not isinstance(gold[0], str):
            found = _of_pairs(gold, predicted)
        case "sequence" | "choice" | "embedding":
            found = _of_classes(gold, predicted)
        case _:
            found = _of_singles(task, gold, predicted, lang)
    return {
        name: one
        for name, one in found.items()
        if name in scored and math.isclose(score_of(one), scored[name], rel_tol=1e-9, abs_tol=1e-12)
    }


def write_terms(path: Path, by_setting: Sequence[Mapping[str, Terms]]) -> None:
    """One compressed file for one language: the metrics of each setting of a sweep, in their order."""
    arrays = {
        f"{number}/{metric}/{side}": _small(values)
        for number, metrics in enumerate(by_setting)
        for metric, terms in metrics.items()
        for side, values in (("above", terms.above_TN), ("below", terms.below_TN))
        if values is not None
    }
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    write(path, file.getvalue())


def read_terms(path: Path) -> dict[tuple[int, str], Terms]:
    """The terms by the number of their setting and their metric; none where there is no file, as in older runs."""
    seen = look(path)
    if seen is None:
        return {}
    try:
        return _terms_in(seen.content)
    except DAMAGED as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise InputError(
            f"{path}: damaged ({why}); remove {path.parent.parent} and run the experiment again, which scores it anew"
        ) from error


# What zipfile and numpy raise on files that are damaged.
DAMAGED = (
    OSError, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error,
    struct.error,
)  # fmt: skip


def _terms_in(content: bytes) -> dict[tuple[int, str], Terms]:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = dict(file)
    found = {}
    for name, above_TN in arrays.items():
        number, metric, side = name.split("/")
        if side == "above" and above_TN.size:  # of nothing, nothing can be drawn
            below_TN = arrays.get(f"{number}/{metric}/below")
            for side_TN in (above_TN, *([] if below_TN is None else [below_TN])):
                if side_TN.ndim != 2 or side_TN.shape != above_TN.shape:
                    raise ValueError(f"{name}: {side_TN.shape} numbers")
                if side_TN.dtype.kind not in "buif" or not np.isfinite(side_TN).all():
                    raise ValueError(f"{name}: not numbers")
            found[int(number), metric] = Terms(above_TN, below_TN)
    return found


def _of_classes(gold: Sequence[Any], predicted: Sequence[Any]) -> dict[str, Terms]:
    """Right and wrong; and of the classes, F1 of the one called 1, which two metrics have, and of all of them."""
    classes = list(dict.fromkeys(gold))
    right_N = np.array([a == b for a, b in zip(gold, predicted, strict=True)])
    if len(classes) > 20:  # ids of sentences, not classes
        return {"accuracy": Terms(right_N[None])}
    is_CN, said_CN = (np.array([[one == c for one in side] for c in classes]) for side in (gold, predicted))
    above_CN, below_CN = 2 * (is_CN & said_CN), is_CN.astype(int) + said_CN
    found = {"accuracy": Terms(right_N[None]), "macro_f1": Terms(above_CN, below_CN)}
    if "1" in classes:
        above_1N, below_1N = (side[classes.index("1")][None] for side in (above_CN, below_CN))
        both = np.concatenate([right_N[None], above_1N]), np.concatenate([np.ones_like(below_1N), below_1N])
        found |= {"f1": Terms(above_1N, below_1N), "accuracy_and_f1": Terms(*both)}
    return found


def _of_tags(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, Terms]:
    """Chunks that are right, found and wanted in each sentence, and its tokens."""
    wanted, found = ([chunks([tags]) for tags in side] for side in (gold, predicted))
    pairs = zip(gold, predicted, strict=True)
    right_N = np.array([len(a & b) for a, b in zip(wanted, found, strict=True)])
    wanted_N, found_N = (np.array([len(one) for one in side]) for side in (wanted, found))
    tokens_N = np.array([len(tags) for tags in gold])
    same_N = np.array([sum(a == b for a, b in zip(one, other, strict=True)) for one, other in pairs])
    token_accuracy = Terms(same_N[None], tokens_N[None])
    return {
        "f1": Terms(2 * right_N[None], (wanted_N + found_N)[None]),
        "precision": Terms(right_N[None], found_N[None]),
        "recall": Terms(right_N[None], wanted_N[None]),
        "accuracy": token_accuracy,
        "token_accuracy": token_accuracy,
    }


def _of_pairs(gold: Sequence[Any], predicted: Sequence[Any]) -> dict[str, Terms]:
    """Mined pairs by their first sentence, which is what is drawn; one without a pair on either side counts nothing."""
    wanted, found = {pair for one in gold for pair in one}, {pair for one in predicted for pair in one}
    names = {name: place for place, name in enumerate(sorted({pair[0] for pair in wanted | found}))}
    counts = []
    for pairs in (wanted & found, found, wanted):
        places = np.array([names[pair[0]] for pair in pairs], int)
        counts.append(np.bincount(places, minlength=len(names))[None])
    right_TN, found_TN, wanted_TN = counts
    return {
        "f1": Terms(2 * right_TN, found_TN + wanted_TN),
        "precision": Terms(right_TN, found_TN),
        "recall": Terms(right_TN, wanted_TN),
    }


def _of_singles(task: Task, gold: Sequence[Any], predicted: Sequence[Any], lang: str) -> dict[str, Terms]:
    """The scores of every example by itself."""
    singles = [scores(task, [a], [b], lang) for a, b in zip(gold, predicted, strict=True)]
    return {name: Terms(np.array([[one.get(name, 0.0) for one in singles]])) for name in singles[0]}


def _small(values: np.ndarray) -> np.ndarray:
    """The same numbers in as few bytes as they need."""
    if values.dtype == bool or (values == np.floor(values)).all():
        top = int(values.max(initial=0))
        return values.astype(np.uint8 if top < 2**8 else np.uint16 if top < 2**16 else np.int64)
    return values.astype(np.float64)
