"""SQuAD 2.0's F1 and exact match, plain and at the best threshold, as the official evaluate-v2.0.py computes them."""

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

from xlmr_flax.metrics.paired import check_paired
from xlmr_flax.metrics.squad import normalised, word_f1


class Guess(NamedTuple):
    """The best answer that is not null, and how much better null is: null's logits minus those of the best span."""

    text: str
    null_score: float


class Best(NamedTuple):
    """The highest score that a threshold of null scores gives, and that threshold."""

    score: float
    threshold: float


def squad_v2(gold: Sequence[Sequence[str]], predicted: Sequence[Guess]) -> dict[str, float]:
    """Scores of questions of which some have no answer: an empty sequence of gold answers.

    `f1` and `exact_match` take null where it is the better one (`null_score` > 0); `best_f1` and `best_exact_match` at
    the threshold that is best on these very questions. Those of questions with and without an answer stand beside.
    """
    check_paired(gold, predicted)
    plain = [_scored(answers, answer_of(guess)) for answers, guess in zip(gold, predicted, strict=True)]
    kinds = {"has_answer": [bool(answers) for answers in gold], "no_answer": [not answers for answers in gold]}
    found = {"f1": fmean(f1 for f1, _ in plain), "exact_match": fmean(exact for _, exact in plain)}
    found |= {f"best_{name}": best.score for name, best in best_thresholds(gold, predicted).items()}
    for kind, chosen in kinds.items():
        if any(chosen):
            found[f"{kind}_f1"] = fmean(f1 for (f1, _), is_it in zip(plain, chosen, strict=True) if is_it)
            found[f"{kind}_exact_match"] = fmean(
                exact for (_, exact), is_it in zip(plain, chosen, strict=True) if is_it
            )
    return found


def answer_of(guess: Guess, threshold: float = 0.0) -> str:
    """The answer that a guess comes to: "" where null is better by more than the threshold."""
    return "" if guess.null_score > threshold else guess.text


def best_thresholds(gold: Sequence[Sequence[str]], predicted: Sequence[Guess]) -> dict[str, Best]:
    """The best threshold for `f1` and for `exact_match`."""
    scored = [_scored(answers, guess.text) for answers, guess in zip(gold, predicted, strict=True)]
    return {
        name: _best(gold, predicted, [pair[place] for pair in scored])
        for place, name in enumerate(("f1", "exact_match"))
    }


def _best(gold: Sequence[Sequence[str]], predicted: Sequence[Guess], scored: Sequence[float]) -> Best:
    """Raises the threshold question by question, from one below all null scores, which answers none.

    Two things are the official script's own. Of questions with equal null scores it answers some and not others, in
    the order in which they come, although no threshold can. And an answer of articles alone, which equals no answer,
    counts as wrong where there is none.
    """
    total = best = float(sum(not answers for answers in gold))
    threshold = 0.0
    for place in sorted(range(len(gold)), key=lambda place: predicted[place].null_score):
        if gold[place]:
            total += scored[place]
        elif predicted[place].text:
            total -= 1
        if total > best:
            best, threshold = total, predicted[place].null_score
    return Best(best / len(gold), threshold)


def _scored(answers: Iterable[str], text: str) -> tuple[float, float]:
    """F1 and exact match of one answer; a question none of whose answers has a word wants the empty one."""
    wanted = [answer for answer in map(normalised, answers) if answer] or [""]
    found = normalised(text)
    f1 = max(word_f1(answer, found) if answer and found else float(answer == found) for answer in wanted)
    return f1, float(found in wanted)
