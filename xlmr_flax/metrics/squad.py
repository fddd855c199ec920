"""SQuAD 1.1's F1 and exact match, with its English normaliser for every language, as XTREME scores XQuAD and TyDiQA.

That normaliser strips ASCII punctuation only and splits at whitespace, so in Chinese and Thai an answer is one word.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

from xlmr_flax.errors import InputError
from xlmr_flax.metrics.paired import check_paired

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def squad(gold: Sequence[Sequence[str]], predicted: Sequence[str | None]) -> dict[str, float]:
    """`f1` and `exact_match`, each the best over a question's gold answers; None, no prediction, scores 0."""
    return answers(gold, predicted, normalised)


def answers(
    gold: Sequence[Sequence[str]], predicted: Sequence[str | None], normalise: Callable[[str], str]
) -> dict[str, float]:
    """`f1` and `exact_match` of answers as `normalise` leaves them: words between single spaces."""
    check_paired(gold, predicted)
    f1 = exact = 0.0
    for number, (wanted, text) in enumerate(zip(gold, predicted, strict=True), start=1):
        if not wanted:
            raise InputError(f"question {number} has no gold answer; only questions that have one are scored")
        if text is not None:
            found, every = normalise(text), [normalise(answer) for answer in wanted]
            f1 += max(word_f1(answer, found) for answer in every)
            exact += max(answer == found for answer in every)
    return {"f1": f1 / len(gold), "exact_match": exact / len(gold)}


def normalised(text: str) -> str:
    """Lower case, no ASCII punctuation, no English articles, single spaces."""
    text = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def word_f1(answer: str, text: str) -> float:
    """F1 of the words that two normalised texts have in common, each as often as it occurs in both."""
    wanted, found = answer.split(), text.split()
    common = (Counter(wanted) & Counter(found)).total()
    if not common:
        return 0.0
    precision, recall = common / len(found), common / len(wanted)
    return 2 * precision * recall / (precision + recall)
