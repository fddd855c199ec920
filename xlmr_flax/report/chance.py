"""Whether a model learnt anything: scores that one answer for everything reaches, and losses that do not fall.

XLM-R Large is known for runs that never leave chance. They are flagged wherever their scores are told, and no mean
takes them in without saying so.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from xlmr_flax.metrics.squad_v2 import Guess, answer_of
from xlmr_flax.tasks.task import Task, scores

AT_CHANCE = "at chance level"
COLLAPSED = "collapsed: "  # the one answer follows
NEVER_FELL = "training loss never fell"
SELECTED_AT_CHANCE = "selected at chance level"
SICK = (AT_CHANCE, COLLAPSED, NEVER_FELL, SELECTED_AT_CHANCE)

DEVIATIONS = 1.645  # a score is above chance where chance would reach it once in twenty times
FEW_CLASSES = 8  # each of which is tried as the one answer; of more, the most frequent
FALL = 0.98  # a loss that fell ends below this share of where it began


def judged(task: Task, gold: Sequence[Any], predicted: Sequence[Any], scored: dict[str, float], lang: str) -> list[str]:
    """What is sick about a language's predictions; pairs of sentences that were mined are not judged."""
    if task.head.kind == "embedding" and not isinstance(gold[0], str):
        return []
    found = []
    level = chance(task, gold, lang)
    if level is not None and scored[task.metric] <= level:
        found.append(AT_CHANCE)
    answers = _answers(task, predicted)
    if len(answers) == 1 and len(_answers(task, gold)) > 1:
        found.append(f"{COLLAPSED}always {next(iter(answers)) or 'no answer'}")
    return found


def chance(task: Task, gold: Sequence[Any], lang: str, metric: str | None = None) -> float | None:
    """Up to where a score (the headline one by default) is no better than giving the same answer to everything.

    That is the best score of any such answer, by the task's own scorer, and what luck adds to it: scores are means of
    values between 0 and 1, whose variance is no larger than that of right and wrong.
    """
    name = metric or task.metric
    best = max((scores(task, list(gold), one, lang)[name] for one in _constants(task, gold)), default=None)
    return None if best is None else best + DEVIATIONS * math.sqrt(best * (1 - best) / len(gold))


def never_fell(first: float, last: float) -> bool:
    """Whether a training loss ended about where it began, or above."""
    return last > FALL * first


def is_sick(flags: Collection[str]) -> bool:
    """Whether one of a row's flags says that the model learnt nothing."""
    return any(flag.startswith(SICK) for flag in flags)


def _constants(task: Task, gold: Sequence[Any]) -> Iterator[list[Any]]:
    """Predictions that are the same for every example."""
    match task.head.kind:
        case "sequence" | "choice":
            yield from ([answer] * len(gold) for answer in _frequent(gold))
        case "token":
            tag = _frequent([tag for tags in gold for tag in tags], most=1)
            yield from ([(one,) * len(tags) for tags in gold] for one in tag)
        case "span":
            yield [Guess("", 1.0) if task.nullable else ""] * len(gold)
        case "embedding":
            yield [gold[0]] * len(gold)


def _frequent(answers: Sequence[Any], most: int = FEW_CLASSES) -> list[Any]:
    counted = Counter(answers).most_common()
    return [answer for answer, _ in (counted if len(counted) <= most else counted[:1])]


def _answers(task: Task, given: Sequence[Any]) -> set[Any]:
    match task.head.kind:
        case "token":
            return {tag for tags in given for tag in tags}
        case "dual":
            return {next(iter(ranking), None) for ranking in given}
        case "span":
            return {answer_of(one) if isinstance(one, Guess) else one or "" for one in given}
    return set(given)
