"""Curves through sizes: equal to scipy's, chosen by what they leave out, and turned round by hand."""

import numpy as np
import pytest
from scipy import optimize

from xlmr_flax.report.curves import POWER, SATURATING, Fit, band, fit, fits, needed

X = np.array([0, 1_000, 10_000, 100_000, 392_702], float)
POWERFUL = 0.5 + 0.002 * X**0.3
SATURATED = 0.5 + 0.1 * (1 - np.exp(-X / 8_000))


@pytest.mark.parametrize(("form", "y"), [(POWER, POWERFUL), (SATURATING, SATURATED)])
def test_the_form_that_made_the_points_is_found_with_its_parameters(form, y):
    found = fit(X, y)
    assert found.form == form
    assert found(X) == pytest.approx(y, abs=1e-4)
    wanted = (0.5, 0.002, 0.3) if form == POWER else (0.5, 0.1, 8_000)
    assert (found.a, found.b, found.c) == pytest.approx(wanted, rel=0.02)
    assert found.errors[form] == min(found.errors.values())


@pytest.mark.parametrize(("form", "y", "start"), [
    (POWER, POWERFUL, (0.5, 0.002, 0.3)), (SATURATING, SATURATED, (0.5, 0.1, 8_000))])  # fmt: skip
def test_noisy_points_have_the_least_squares_of_scipy(form, y, start):
    y = y + np.random.default_rng(1).normal(0, 0.002, len(X))
    curve = {POWER: lambda x, a, b, c: a + b * x**c, SATURATING: lambda x, a, b, c: a + b * (1 - np.exp(-x / c))}[form]
    wanted, _ = optimize.curve_fit(curve, X, y, p0=start, maxfev=20_000)
    found = fit(X, y)
    assert found.form == form
    assert ((found(X) - y) ** 2).sum() == pytest.approx(((curve(X, *wanted) - y) ** 2).sum(), rel=1e-3)


def test_fits_of_many_rows_are_those_of_each():
    rows = np.stack([SATURATED, SATURATED + 0.1, SATURATED * 2])
    found = fits(SATURATING, X, rows)
    for row, y in zip(found, rows, strict=True):
        assert Fit(SATURATING, *row, {})(X) == pytest.approx(y, abs=2e-3)


def test_too_few_sizes_have_no_curve():
    assert fit(X[:3], SATURATED[:3]) is None


@pytest.mark.parametrize("form", [POWER, SATURATING])
def test_nine_tenths_of_the_gain_by_hand(form):
    found = Fit(form, 0.5, 0.1, 0.5 if form == POWER else 1_000, {})
    x = np.array([0, 10_000.0])
    wanted = 0.81 * 10_000 if form == POWER else -1_000 * np.log(1 - 0.9 * (1 - np.exp(-10)))
    assert needed(found, x).examples == pytest.approx(wanted)
    at = found(np.array([0, needed(found, x).examples, 10_000]))
    assert (at[1] - at[0]) / (at[2] - at[0]) == pytest.approx(0.9)


def test_a_loss_needs_no_examples():
    assert needed(Fit(POWER, 0.5, -0.1, 0.5, {}), X) is None


def test_bands_hold_the_curve_and_widen_with_the_noise():
    rng, found = np.random.default_rng(2), fit(X, SATURATED)
    wide = []
    for noise in (0.001, 0.01):
        low, high = band(found, X, SATURATED + rng.normal(0, noise, (200, len(X))), X)
        assert ((low <= found(X) + 1e-3) & (found(X) <= high + 1e-3)).all()
        wide.append((high - low).mean())
    assert wide[0] < wide[1] / 5
    need = needed(found, X, SATURATED + rng.normal(0, 0.002, (200, len(X))))
    assert need.low < need.examples < need.high


def test_where_most_draws_gain_nothing_there_is_no_band():
    flat = np.full((50, len(X)), 0.5) - 0.01 * X / X.max()
    assert needed(fit(X, SATURATED), X, flat).low is None
