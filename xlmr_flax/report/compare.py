"""Each arm against the baseline, column by column and on average, all comparisons of a table corrected together."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from xlmr_flax.report.bootstrap import LEVEL, Estimate, Sample, difference, holm, mean_of
from xlmr_flax.report.evidence import Column, Evidence, Line, Perturbed, column_name

ALL, OTHERS, ENGLISH = "all languages", "languages other than English", "English"

Pair = tuple[Line, Line, list[str]]  # an arm's line, the baseline's, and the languages that both have


class Compared(NamedTuple):
    """One difference: an arm less the baseline."""

    arm: str
    column: Column | None  # None: the average over tasks
    langs: tuple[str, ...]
    over: str  # ALL, OTHERS, ENGLISH or a language
    found: Estimate
    baseline: float
    p: float | None  # after Holm's correction
    comparisons: int  # how many were corrected together
    degenerate: bool  # a run of either side learnt nothing
    note: str = ""

    @property
    def excludes_zero(self) -> bool | None:
        """Whether the difference is told from none; None where seeds cannot carry a test."""
        return None if not self.found.tested else self.p is not None and self.p < LEVEL


def target_name(one: Compared, evidence: Evidence) -> str:
    """What a difference is of, in a sentence: a target, or the mean of several."""
    return f"the mean of {one.note}" if one.column is None else column_name(one.column, evidence.columns)


def chosen_langs(line: Line, over: str) -> list[str]:
    """The languages of a line that a table is over."""
    named = {ALL: line.langs, OTHERS: line.others}
    wanted = named.get(over, ["en" if over == ENGLISH else over])
    return [lang for lang in wanted if lang in line.langs]


def compare(
    evidence: Evidence,
    over: Sequence[str],
    *,
    chosen: str | None = None,
    perturbed: Perturbed | None = None,
    columns: Sequence[Column] | None = None,
) -> list[Compared]:
    """Every arm less the baseline in every column (or these) and on average, over each of `over`: one family."""
    found = [
        one
        for arm in evidence.loaded.arms
        if arm in evidence.loaded.baselines
        for each in over
        for one in _of_arm(evidence, arm, each, columns or evidence.columns, chosen, perturbed)
    ]
    return corrected(found)


def corrected(found: Sequence[Compared]) -> list[Compared]:
    """The same with p after Holm's correction over those that can be tested."""
    p = holm([one.found.p if one.found.tested else None for one in found])
    several = sum(value is not None for value in p)
    return [one._replace(p=value, comparisons=several) for one, value in zip(found, p, strict=True)]


def _of_arm(
    evidence: Evidence,
    arm: str,
    over: str,
    columns: Sequence[Column],
    chosen: str | None,
    perturbed: Perturbed | None,
) -> Iterable[Compared]:
    pairs: dict[str, list[Pair]] = {}
    for column in columns:
        mine, base = (evidence.line(name, column, chosen, perturbed) for name in (arm, evidence.loaded.baselines[arm]))
        if mine is None or base is None:
            continue
        theirs = chosen_langs(base, over)
        langs = [lang for lang in chosen_langs(mine, over) if lang in theirs]
        if langs:
            pairs.setdefault(column.task, []).append((mine, base, langs))
            yield _compared(evidence, arm, column, over, (mine, base, langs))
    if len(pairs) > 1:
        yield average(evidence, arm, over, list(pairs.values()))


def average(evidence: Evidence, arm: str, over: str, by_task: Sequence[Sequence[Pair]]) -> Compared:
    """The mean over tasks, each the mean of its headline metrics, over the seeds that all have."""
    every = [pair for pairs in by_task for pair in pairs]
    sides = []
    for side in (0, 1):
        seeds = common([pair[side] for pair in every])
        tasks = [mean_of([only(evidence.sample(p[side], p[2]), seeds) for p in pairs]) for pairs in by_task]
        sides.append(mean_of(tasks))
    langs = tuple(dict.fromkeys(lang for pair in every for lang in pair[2]))
    sick = any(line.degenerate for pair in every for line in pair[:2])
    note = f"{len(by_task)} tasks"
    return Compared(arm, None, langs, over, difference(*sides), float(sides[1].scores_S.mean()), None, 0, sick, note)


def _compared(evidence: Evidence, arm: str, column: Column, over: str, pair: Pair) -> Compared:
    mine, base, langs = pair
    one, other = evidence.sample(mine, langs), evidence.sample(base, langs)
    sick = bool(mine.degenerate or base.degenerate)
    return Compared(
        arm, column, tuple(langs), over, difference(one, other), float(other.scores_S.mean()), None, 0, sick
    )


def common(lines: Iterable[Line]) -> tuple[int | None, ...]:
    """The seeds that all of these lines have, in the order of the first."""
    lines = list(lines)
    shared = set.intersection(*(set(line.seeds) for line in lines))
    return tuple(seed for seed in lines[0].seeds if seed in shared)


def only(sample: Sample, seeds: tuple[int | None, ...]) -> Sample:
    """A sample of these of its seeds."""
    places = [sample.seeds.index(seed) for seed in seeds]
    drawn = None if sample.drawn_BS is None else sample.drawn_BS[:, places]
    return Sample(seeds, sample.scores_S[places], drawn)
