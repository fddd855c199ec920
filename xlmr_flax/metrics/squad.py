"""SQuAD 1.1's F1 and exact match, with its English normaliser for every language, as XTREME scores XQuAD and TyDiQA.

That normaliser strips ASCII punctuation only and splits at whitespace, so in Chinese and Thai an answer is one word.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

from xlmr_flax.errors import InputError
from xlmr_flax.metrics.paired import check_paired

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def squad(gold: Sequence[Sequence[str]], predicted: Sequence[str | None]) -> dict[str, float]:
    """`f1` and `exact_match`, each the best over a question's gold answers; None, no prediction, scores 0."""
    check_paired(gold, predicted)
    f1 = exact = 0.0
    for number, (answers, text) in enumerate(zip(gold, predicted, strict=True), start=1):
        if not answers:
            raise InputError(f"question {number} has no gold answer; SQuAD 1.1 scores questions that have one")
        if text is not None:
            f1 += max(_f1(answer, text) for answer in answers)
            exact += max(normalised(answer) == normalised(text) for answer in answers)
    return {"f1": f1 / len(gold), "exact_match": exact / len(gold)}


def normalised(text: str) -> str:
    """Lower case, no ASCII punctuation, no English articles, single spaces."""
    text = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def _f1(answer: str, text: str) -> float:
    wanted, found = normalised(answer).split(), normalised(text).split()
    common = (Counter(wanted) & Counter(found)).total()
    if not common:
        return 0.0
    precision, recall = common / len(found), common / len(wanted)
    return 2 * precision * recall / (precision + recall)
