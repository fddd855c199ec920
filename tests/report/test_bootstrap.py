"""The statistics: calibrated where nothing is there, stronger the more is there, and right where one can calculate."""

import numpy as np
import pytest
from scipy import stats

from xlmr_flax.report.bootstrap import (
    ENOUGH_SEEDS,
    EXAMPLES,
    NOTHING,
    SEEDS,
    SEEDS_AND_EXAMPLES,
    Draws,
    Sample,
    difference,
    estimate,
    holm,
    mean_of,
)

REPETITIONS, EXAMPLES_EACH, DRAWN = 400, 150, 400
# What differences vary with: seeds, texts (alike for all seeds), and texts in each seed by themselves.
SPREADS = {
    "seeds": (0.1, 0.0, 0.3),
    "texts": (0.0, 1.0, 0.3),
    "chance": (0.0, 0.0, 1.0),
    "all": (0.05, 0.5, 0.5),
}


def p_values(name, *, seeds, effect, repetitions=REPETITIONS):
    """The p of differences that vary so, of as many independent studies."""
    rng = np.random.default_rng(7)
    by_seed, by_text, by_both = SPREADS[name]
    found = []
    for number in range(repetitions):
        if number % 20 == 0:  # or what one set of draws happens to be would be in all repetitions
            times_BN = Draws(f"set {number}", DRAWN).of(EXAMPLES_EACH) / EXAMPLES_EACH
        ahead_NS = effect + rng.normal(0, by_seed, seeds) + rng.normal(0, by_text, (EXAMPLES_EACH, 1))
        ahead_NS = ahead_NS + rng.normal(0, by_both, (EXAMPLES_EACH, seeds))
        found.append(estimate(Sample(tuple(range(seeds)), ahead_NS.mean(axis=0), times_BN @ ahead_NS)).p)
    return np.array(found)


@pytest.mark.parametrize("name", SPREADS)
def test_nothing_is_found_where_nothing_is_as_often_as_the_level_says(name):
    low, high = stats.binom.interval(0.99, REPETITIONS, 0.05)
    assert low <= (p_values(name, seeds=ENOUGH_SEEDS, effect=0.0) < 0.05).sum() <= high


@pytest.mark.parametrize("name", ["texts", "all"])
def test_power_grows_with_the_effect(name):
    shares = [(p_values(name, seeds=5, effect=effect, repetitions=100) < 0.05).mean() for effect in (0, 0.2, 0.4, 0.8)]
    assert shares == sorted(shares)
    assert shares[-1] > 0.9


def test_seeds_alone_give_the_t_test_of_scipy():
    """The bootstrap's own spread is within what a thousand draws leave uncertain."""
    one, other = np.array([0.81, 0.79, 0.85, 0.80, 0.83, 0.84]), np.array([0.78, 0.79, 0.80, 0.77, 0.81, 0.79])
    seeds = tuple(range(6))
    paired = difference(Sample(seeds, one), Sample(seeds, other))
    wanted = stats.ttest_rel(one, other)
    assert paired.drawn == SEEDS
    assert paired.p == pytest.approx(wanted.pvalue, rel=0.25)
    assert (paired.low, paired.high) == pytest.approx(tuple(wanted.confidence_interval()), abs=0.002)
    apart = difference(Sample(seeds, one), Sample(tuple(range(6, 12)), other))
    wanted = stats.ttest_ind(one, other, equal_var=False)
    assert apart.p == pytest.approx(wanted.pvalue, rel=0.3)
    assert (apart.low, apart.high) == pytest.approx(tuple(wanted.confidence_interval()), abs=0.003)


def test_examples_alone_give_the_error_of_a_mean():
    right = np.random.default_rng(1).random(400) < 0.7
    times_BN = Draws("a task").of(400)
    found = estimate(Sample((0,), np.array([right.mean()]), (times_BN @ right / 400)[:, None]))
    assert (found.drawn, found.seeds, found.tested) == (EXAMPLES, 1, False)
    half = 1.96 * np.sqrt(0.7 * 0.3 / 400)
    assert found.high - found.value == pytest.approx(half, rel=0.1)


def test_what_cannot_be_drawn_has_no_interval():
    found = estimate(Sample((0,), np.array([0.5])))
    assert (found.value, found.low, found.high, found.p, found.drawn) == (0.5, None, None, None, NOTHING)
    assert not found.tested


def test_few_seeds_are_never_a_test():
    for seeds, tested in ((ENOUGH_SEEDS - 1, False), (ENOUGH_SEEDS, True)):
        scores = np.linspace(0.1, 0.2, seeds)
        assert estimate(Sample(tuple(range(seeds)), scores)).tested is tested


def test_equal_runs_differ_by_nothing_and_surely():
    same = Sample((0, 1, 2, 3, 4), np.linspace(0.5, 0.6, 5), np.tile(np.linspace(0.5, 0.6, 5), (50, 1)))
    found = difference(same, same)
    assert (found.value, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_arms_with_other_seeds_share_the_texts():
    """The texts' part falls out of a difference also where the runs are not the same ones."""
    rng = np.random.default_rng(3)
    times_BN = Draws("t", 500).of(100) / 100
    easy_N = rng.normal(0, 1, 100)
    samples = []
    for seeds in ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9)):
        scores_NS = easy_N[:, None] + rng.normal(0, 0.1, (100, 5))
        samples.append(Sample(seeds, scores_NS.mean(axis=0), times_BN @ scores_NS))
    found = difference(*samples)
    assert found.drawn == SEEDS_AND_EXAMPLES
    assert found.high - found.low < 0.1 < estimate(samples[0]).high - estimate(samples[0]).low


def test_holm_by_hand():
    assert holm([0.01, 0.04, None, 0.03]) == [pytest.approx(0.03), pytest.approx(0.06), None, pytest.approx(0.06)]
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_draws_do_not_depend_on_what_was_drawn_before():
    first = Draws("xnli", 10)
    first.of(7)
    assert (first.of(9) == Draws("xnli", 10).of(9)).all()
    assert (first.of(9).sum(axis=1) == 9).all()
    assert not (first.of(9) == Draws("pawsx", 10).of(9)).all()


def test_a_mean_of_languages_is_drawn_only_where_all_are():
    whole, bare = Sample((0,), np.array([0.5]), np.ones((3, 1))), Sample((0,), np.array([0.7]))
    assert mean_of([whole, whole]).drawn_BS.shape == (3, 1)
    assert mean_of([whole, bare]).drawn_BS is None
    assert mean_of([whole, bare]).scores_S == pytest.approx([0.6])
