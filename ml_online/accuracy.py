"""How good forecasts are: errors that compare across series, and what intervals are worth.

Arrays are [series, pair] unless said otherwise, a pair being an origin and a day ahead of it; NaN
in `actual` is a pair that nothing is known of, and counts nowhere.

MASE: Hyndman and Koehler, "Another look at measures of forecast accuracy", 2006. RMSSE: Makridakis
et al., "The M5 competition", 2022. Pinball loss, CRPS and interval score: Gneiting and Raftery,
"Strictly proper scoring rules, prediction, and estimation", 2007.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SEASON = 7


def seasonal_error(history: Array, season: int = SEASON, power: int = 1) -> Array:
    """Of each series [series, day]: the mean error of its seasonal naive in sample, to a power.

    NaN where no day has one a season before it.
    """
    return mean_known(np.abs(history[:, season:] - history[:, :-season]) ** power)


def mean_known(values: Array) -> Array:
    """The mean of each row's known values; NaN where there is none."""
    some = ~np.isnan(values)
    count = some.sum(axis=1)
    total = np.where(some, values, 0).sum(axis=1)
    mean: Array = np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)
    return mean


def scaled(errors: Array, scale: Array) -> Array:
    """Of each series: its mean error, in units of its scale. NaN where the scale is zero."""
    usable = np.where(scale > 0, scale, np.nan)
    return np.asarray(mean_known(errors) / usable, dtype=np.float64)


def mase(actual: Array, forecast: Array, scale: Array) -> Array:
    """Of each series: the mean absolute error in units of `seasonal_error`."""
    return scaled(np.abs(actual - forecast), scale)


def rmsse(actual: Array, forecast: Array, squared_scale: Array) -> Array:
    """Of each series: the root of the mean squared error in units of `seasonal_error` squared."""
    return np.asarray(np.sqrt(scaled((actual - forecast) ** 2, squared_scale)), dtype=np.float64)


def wape(actual: Array, forecast: Array) -> float:
    """The sum of absolute errors, as a share of the sum of all that was. NaN where that is 0."""
    total = np.nansum(np.abs(actual))
    return float(np.nansum(np.abs(actual - forecast)) / total) if total else float("nan")


def r_squared(actual: Array, forecast: Array, scale: Array | None = None) -> float:
    """The share of the variance about each series' own mean that is explained, over all series.

    `scale`: each series counts in units of its own, and not at all where that is zero. A forecast
    that knows no more than the mean of the days it is judged on has 0; NaN where nothing varies.
    """
    unit = np.ones(len(actual)) if scale is None else np.where(scale > 0, scale, np.nan)
    about = (actual - mean_known(actual)[:, None]) / unit[:, None]
    varied = np.nansum(about**2)
    missed = np.nansum(((actual - forecast) / unit[:, None]) ** 2)
    return float(1 - missed / varied) if varied else float("nan")


def pinball(actual: Array, quantile: Array, level: float) -> Array:
    """The loss of each quantile: `level` for each unit above it, 1 − `level` for one below."""
    above = actual - quantile
    return np.asarray(np.maximum(level * above, (level - 1) * above), dtype=np.float64)


def crps(actual: Array, quantiles: Array, levels: Sequence[float]) -> Array:
    """The continuous ranked probability score of each pair, by quantiles [series, pair, level].

    Twice the integral of the pinball loss over levels: each stands for those that are nearest.
    """
    edges = [0.0, *((low + high) / 2 for low, high in pairwise(levels)), 1.0]
    losses = (
        2 * (edges[number + 1] - edges[number]) * pinball(actual, quantiles[..., number], level)
        for number, level in enumerate(levels)
    )
    return np.asarray(sum(losses), dtype=np.float64)


def coverage(actual: Array, low: Array, high: Array) -> float:
    """The share of the known actual values that lie in their interval, its ends included."""
    known = ~np.isnan(actual)
    if not known.any():
        return float("nan")
    return float(((low <= actual) & (actual <= high))[known].mean())


def interval_score(actual: Array, low: Array, high: Array, level: float) -> Array:
    """Of each pair: the width of its interval of this level, and what a miss costs beyond it."""
    penalty = 2 / (1 - level)
    missed = np.maximum(low - actual, 0) + np.maximum(actual - high, 0)
    return np.asarray(high - low + penalty * missed, dtype=np.float64)


def bootstrap_mean(
    values: Array, level: float = 0.95, resamples: int = 2_000, seed: int = 0
) -> tuple[float, float]:
    """The percentile interval of the mean of these values [series], resampled with replacement.

    NaN where there are fewer than two: one series says nothing of others.
    """
    known = values[~np.isnan(values)]
    if len(known) < 2:
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    means = [generator.choice(known, len(known)).mean() for _ in range(resamples)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
