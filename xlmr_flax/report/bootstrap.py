"""Differences between arms with one hierarchical bootstrap: seeds are drawn, and within them examples.

Seeds are a sample of training runs, and examples one of texts, so a difference varies with both. A draw takes as many
seeds as there are, and as many examples, with replacement; all seeds, arms and languages with as many examples share
the drawn examples, since they share the texts (those of XNLI or XQuAD are translations of each other). Three things
that a plain bootstrap of few seeds gets wrong are put right:

- with S seeds the spread of a drawn mean is too small by (S - 1) / S, so seeds weigh more by the root of its inverse;
- what examples do to single seeds is part of the spread between them and would count twice, so that of the examples'
  draws only what moves all seeds alike is added;
- the spread of a handful of seeds is itself uncertain, so intervals are Student's, with Satterthwaite's degrees of
  freedom.
"""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

DRAWS = 1000
LEVEL = 0.05
ENOUGH_SEEDS = 5  # fewer cannot carry a test

SEEDS_AND_EXAMPLES = "seeds and examples"
SEEDS = "seeds"
EXAMPLES = "examples"
NOTHING = "nothing"


class Sample(NamedTuple):
    """The scores of one arm, or differences of two: by seed, and by seed in each of B draws of examples."""

    seeds: tuple[int | None, ...]
    scores_S: np.ndarray
    drawn_BS: np.ndarray | None = None  # None: nothing is known of the examples

    def less(self, other: "Sample") -> "Sample":
        """Seed by seed, of two that have the same seeds."""
        drawn = None if self.drawn_BS is None or other.drawn_BS is None else self.drawn_BS - other.drawn_BS
        return Sample(self.seeds, self.scores_S - other.scores_S, drawn)


class Estimate(NamedTuple):
    """A mean over seeds with its interval; `p` and the bounds are None where nothing was drawn."""

    value: float
    low: float | None
    high: float | None
    p: float | None
    seeds: int
    drawn: str  # what the interval is over
    draws_B: np.ndarray | None = None

    @property
    def tested(self) -> bool:
        """Whether there are enough seeds for a test."""
        return self.p is not None and self.seeds >= ENOUGH_SEEDS


class Spread(NamedTuple):
    """Draws of a mean about itself, their variance, and the degrees of freedom of that."""

    draws_B: np.ndarray
    variance: float
    freedom: float
    drawn: str


class Draws:
    """How often each example occurs in each draw: the same for all scores over as many examples of a task."""

    def __init__(self, name: str, draws: int = DRAWS) -> None:
        self.name, self.draws = name, draws
        self.times: dict[int, np.ndarray] = {}

    def of(self, examples: int) -> np.ndarray:
        """The counts, draws by examples."""
        if examples not in self.times:
            rng = _rng(self.name, examples)
            self.times[examples] = rng.multinomial(examples, np.full(examples, 1 / examples), size=self.draws).astype(
                np.float32
            )
        return self.times[examples]


def mean_of(samples: Sequence[Sample]) -> Sample:
    """The mean of several scores of the same runs, such as those of languages."""
    drawn = [one.drawn_BS for one in samples]
    whole = None if any(one is None for one in drawn) else np.mean(drawn, axis=0)
    return Sample(samples[0].seeds, np.mean([one.scores_S for one in samples], axis=0), whole)


def difference(one: Sample, other: Sample, *, level: float = LEVEL) -> Estimate:
    """How far one arm is ahead of another: run by run where they have the same seeds, else as two groups of runs."""
    if one.seeds == other.seeds:
        return estimate(one.less(other), level=level)
    spreads = [spread(one, "one"), spread(other, "other")]
    value = float(one.scores_S.mean() - other.scores_S.mean())
    kinds = {each.drawn for each in spreads}
    if kinds != {SEEDS_AND_EXAMPLES}:  # both with the same kind of draws, or the interval would tell half of it
        spreads = [spread(each._replace(drawn_BS=None), name) for each, name in ((one, "one"), (other, "other"))]
        kinds = {each.drawn for each in spreads}
    seeds = min(len(one.seeds), len(other.seeds))
    if NOTHING in kinds:
        return Estimate(value, None, None, None, seeds, NOTHING)
    shared = 0.0
    if one.drawn_BS is not None and other.drawn_BS is not None and kinds == {SEEDS_AND_EXAMPLES}:
        # The arms share the texts, so the examples' parts of their spreads are not independent.
        shared = float(np.cov(one.drawn_BS.mean(axis=1), other.drawn_BS.mean(axis=1))[0, 1])
    variance = max(sum(each.variance for each in spreads) - 2 * shared, np.finfo(float).tiny)
    freedom = variance**2 / sum(each.variance**2 / each.freedom for each in spreads)
    both = Spread(spreads[0].draws_B - spreads[1].draws_B, variance, freedom, kinds.pop())
    return _student(value, both, seeds, level)


def estimate(sample: Sample, *, level: float = LEVEL) -> Estimate:
    """The mean over seeds, with its interval and the p of its being zero."""
    value, seeds = float(sample.scores_S.mean()), len(sample.seeds)
    found = spread(sample, "seeds")
    if found.drawn == NOTHING:
        return Estimate(value, None, None, None, seeds, NOTHING)
    return _student(value, found, seeds, level)


def spread(sample: Sample, name: str) -> Spread:
    """The draws of a sample's mean about itself, with all corrections but Student's."""
    seeds, drawn_BS = len(sample.seeds), sample.drawn_BS
    draws = DRAWS if drawn_BS is None else len(drawn_BS)
    between = float(sample.scores_S.var(ddof=1)) if seeds > 1 else 0.0
    whole_B = np.zeros(draws)
    if drawn_BS is not None:
        mean_B = drawn_BS.mean(axis=1)
        whole_B += (mean_B - mean_B.mean()) * np.sqrt(_of_all_seeds(drawn_BS, mean_B))
    if seeds > 1:
        times_BS = _rng(name, seeds).multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
        whole_B += times_BS @ (sample.scores_S - sample.scores_S.mean()) / np.sqrt(seeds * (seeds - 1))
    drawn = {
        (True, True): SEEDS_AND_EXAMPLES, (True, False): SEEDS, (False, True): EXAMPLES, (False, False): NOTHING,
    }[seeds > 1, drawn_BS is not None]  # fmt: skip
    variance = float(whole_B.var(ddof=1))
    certain = between / seeds if seeds > 1 else 0.0
    freedom = max(variance**2 * (seeds - 1) / certain**2, seeds - 1) if certain else np.inf
    return Spread(whole_B, variance, freedom, drawn)


def _of_all_seeds(drawn_BS: np.ndarray, mean_B: np.ndarray) -> float:
    """The share of the examples' variance that moves all seeds alike; the rest is part of the spread between seeds."""
    seeds, whole = drawn_BS.shape[1], float(mean_B.var(ddof=1))
    if seeds == 1 or not whole:
        return 1.0
    own = float((drawn_BS - mean_B[:, None]).var(axis=0, ddof=1).sum()) / (seeds - 1)
    return max(whole - own / seeds, 0.0) / whole


def holm(p: Sequence[float | None]) -> list[float | None]:
    """The p of several comparisons together, by Holm's step-down; what has none is no comparison."""
    known = sorted((value, place) for place, value in enumerate(p) if value is not None)
    found: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, (value, place) in enumerate(known):
        highest = max(highest, min(1.0, value * (len(known) - rank)))
        found[place] = highest
    return found


def _student(value: float, found: Spread, seeds: int, level: float) -> Estimate:
    if found.variance <= np.finfo(float).tiny:  # all draws are the same
        return Estimate(value, value, value, 0.0 if value else 1.0, seeds, found.drawn, value + found.draws_B)
    from scipy import stats

    error = np.sqrt(found.variance)
    wide = float(stats.t.ppf(1 - level / 2, found.freedom)) * error
    p = 2 * float(stats.t.sf(abs(value) / error, found.freedom))
    return Estimate(value, value - wide, value + wide, p, seeds, found.drawn, value + found.draws_B)


def _rng(*names: object) -> np.random.Generator:
    """By name: a report says the same whenever it is written, and adding a table moves no other."""
    return np.random.default_rng([zlib.crc32(str(name).encode()) for name in names])
