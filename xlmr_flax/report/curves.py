"""How scores grow with the number of examples: two forms of curve, the better by cross-validation, and bands by draws.

Both have three parameters: a, where the curve begins; b, how much it rises; c, how it bends. A power law is
a + b·x^c with 0 < c < 1, and grows for ever; a saturating curve is a + b·(1 - exp(-x / c)) and ends at a + b. For a
given c both are straight lines in a and b, so that c is all that is searched: first over a grid, for all draws at once,
then between the grid's points.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

POWER, SATURATING = "power law", "saturating"
FEWEST_SIZES = 4  # of three parameters; one is left out at a time
SHARE = 0.9  # of the gain at the largest size
BAND = (2.5, 97.5)
GRID = 120


class Fit(NamedTuple):
    """A curve through the points; `errors` are the root mean squares of the left-out points by form."""

    form: str
    a: float
    b: float
    c: float
    errors: Mapping[str, float]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.a + self.b * _bent(self.form, np.asarray(x, float), self.c)


class Needed(NamedTuple):
    """How many examples give `SHARE` of the gain at the largest size, with the bounds of the draws."""

    examples: float
    low: float | None
    high: float | None


def fit(x_K: np.ndarray, y_K: np.ndarray) -> Fit | None:
    """The better of both forms through the means at K sizes; None where there are too few sizes."""
    if len(x_K) < FEWEST_SIZES:
        return None
    errors = {form: _left_out(form, x_K, y_K) for form in (POWER, SATURATING)}
    form = min(errors, key=errors.__getitem__)
    return Fit(form, *_fitted(form, x_K, y_K), errors)


def fits(form: str, x_K: np.ndarray, y_BK: np.ndarray) -> np.ndarray:
    """The parameters of curves of one form through B rows of points: B by a, b and c, c on the grid."""
    best_B = np.full(len(y_BK), np.inf)
    found_B3 = np.zeros((len(y_BK), 3))
    for c in _grid(form, x_K):
        a_B, b_B, error_B = _straight(_bent(form, x_K, c), y_BK)
        better_B = error_B < best_B
        best_B[better_B] = error_B[better_B]
        found_B3[better_B] = np.stack([a_B, b_B, np.full(len(y_BK), c)], axis=1)[better_B]
    return found_B3


def band(found: Fit, x_K: np.ndarray, y_BK: np.ndarray, at_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Between which values the curves through the draws lie, at N places."""
    drawn = [Fit(found.form, *row, {})(at_N) for row in fits(found.form, x_K, y_BK)]
    low, high = np.percentile(drawn, BAND, axis=0)
    return low, high


def needed(found: Fit, x_K: np.ndarray, y_BK: np.ndarray | None = None) -> Needed | None:
    """The examples for most of the gain that the curve has between its smallest and largest size; None without one."""
    whole = _needed(found, x_K)
    if whole is None:
        return None
    if y_BK is None:
        return Needed(whole, None, None)
    every = [_needed(Fit(found.form, *row, {}), x_K) for row in fits(found.form, x_K, y_BK)]
    known = [one for one in every if one is not None]
    if len(known) < 0.9 * len(every):  # in many draws nothing is gained at all
        return Needed(whole, None, None)
    low, high = np.percentile(known, BAND)
    return Needed(whole, float(low), float(high))


def _needed(found: Fit, x_K: np.ndarray) -> float | None:
    """In closed form: both curves can be turned round."""
    first, last = float(min(x_K)), float(max(x_K))
    gain = float(found(np.array(last)) - found(np.array(first)))
    if gain <= 0:
        return None
    bent = (float(found(np.array(first))) + SHARE * gain - found.a) / found.b
    return bent ** (1 / found.c) if found.form == POWER else -found.c * float(np.log1p(-bent))


def _bent(form: str, x: np.ndarray, c: float) -> np.ndarray:
    return x**c if form == POWER else -np.expm1(-x / c)


def _grid(form: str, x_K: np.ndarray) -> np.ndarray:
    if form == POWER:
        return np.linspace(0.02, 1.0, GRID)
    positive = x_K[x_K > 0]
    return np.geomspace(positive.min() / 5, positive.max() * 5, GRID)


def _straight(z_K: np.ndarray, y_BK: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least squares of y on z: where each line begins, its slope, and its squared error."""
    z_K = z_K - (middle := z_K.mean())
    mean_B = y_BK.mean(axis=1)
    b_B = (y_BK - mean_B[:, None]) @ z_K / max(float(z_K @ z_K), np.finfo(float).tiny)
    left_BK = y_BK - mean_B[:, None] - b_B[:, None] * z_K
    return mean_B - b_B * middle, b_B, (left_BK**2).sum(axis=1)


def _fitted(form: str, x_K: np.ndarray, y_K: np.ndarray) -> tuple[float, float, float]:
    """From the best place of the grid to the best between its neighbours."""
    from scipy import optimize

    grid = _grid(form, x_K)
    place = int(np.argmin([_error(form, c, x_K, y_K) for c in grid]))
    bounds = grid[max(place - 1, 0)], grid[min(place + 1, len(grid) - 1)]
    found = optimize.minimize_scalar(lambda c: _error(form, c, x_K, y_K), bounds=bounds, method="bounded")
    c = float(found.x) if found.fun < _error(form, grid[place], x_K, y_K) else float(grid[place])
    a_B, b_B, _ = _straight(_bent(form, x_K, c), y_K[None])
    return float(a_B[0]), float(b_B[0]), c


def _error(form: str, c: float, x_K: np.ndarray, y_K: np.ndarray) -> float:
    return float(_straight(_bent(form, x_K, c), y_K[None])[2][0])


def _left_out(form: str, x_K: np.ndarray, y_K: np.ndarray) -> float:
    """The root of the mean squared error at each size, of the curve through the others."""
    errors = []
    for place in range(len(x_K)):
        rest = np.arange(len(x_K)) != place
        found = Fit(form, *_fitted(form, x_K[rest], y_K[rest]), {})
        errors.append(float(found(x_K[place]) - y_K[place]) ** 2)
    return float(np.sqrt(np.mean(errors)))
