"""What a daily demand series shows: where it goes, its seasons, and where it changed.

Pure functions. Days are counted from the first; a censored day, on which stock ran out or the shop
was closed, is no zero: it takes no part, and what it would have sold is estimated from the days
around it.

- Trend: the Mann-Kendall test with the variance of Hamed and Rao 1998 ("A modified Mann-Kendall
  trend test for autocorrelated data", J. of Hydrology 204:182-196), at least that of the first lag
  (Yue and Wang 2004, Water Resources Management 18:201-218; its bias: Kendall 1954, Biometrika
  41:403-404), and Sen's slope.
- Seasons: strength after Wang, Smith and Hyndman 2006 ("Characteristic-based clustering for time
  series data", Data Mining and Knowledge Discovery 13:335-364), and the Kruskal-Wallis test.
- Change points: in `ml_online.change_points`.
"""

import math
from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np

from ml_online.change_points import Change, changes
from ml_online.month_model import Array, Flags

SIGNIFICANT = 0.05
FEWEST_DAYS = 14
"""Known days that an analysis takes."""
MOST_DAYS = 1_100
"""Three years: what is compared is pairs of days."""

_WEEK, _MONTHS = 7, 12
_YEARS_DAYS = 730  # that it takes to speak of a year's season
_LEVEL_DAYS = 29  # around a day
_LEAST_FACTOR = 0.05  # a weekday that sells less is as good as closed
_ONE_SIDED_95 = 1.645
_MOST_CORRELATED = 0.9


class Trend(NamedTuple):
    """`slope` is in units a day. It is `rising` or `falling` where the chance that a series that
    goes nowhere looks like this (`p`) is below SIGNIFICANT, else `none`."""

    direction: str
    slope: float
    p: float


class Season(NamedTuple):
    """`strength` is 0 to 1: how much of what the level leaves open the season explains. `factors`
    are what a day of each weekday (Monday first) or month sells, relative to any day."""

    strength: float
    p: float
    significant: bool
    factors: Sequence[float]


class Demand(NamedTuple):
    """Of a series' days. `demand` is what would have been sold if no day had been censored.
    `yearly` is None of less than two years."""

    days: int
    censored: int
    units: float
    demand: float
    trend: Trend
    weekly: Season
    yearly: Season | None
    changes: Sequence[Change]


class TooFewDays(ValueError):
    """Fewer are known than an analysis takes."""


def analysed(first: date, units: Sequence[float], censored: Sequence[bool] = ()) -> Demand:
    """A series that begins on `first`; of which days are `censored`, by default none.

    Raises TooFewDays; ValueError where there are more than MOST_DAYS, or not a flag for each day.
    """
    values = np.asarray(units, dtype=np.float64)
    known = ~np.asarray(censored or [False] * len(values), dtype=np.bool_)
    if len(known) != len(values):
        raise ValueError(f"{len(known)} flags of {len(values)} days")
    if len(values) > MOST_DAYS:
        raise ValueError(f"{len(values)} days, of at most {MOST_DAYS}")
    if known.sum() < FEWEST_DAYS:
        raise TooFewDays(f"{known.sum()} days are known; an analysis takes {FEWEST_DAYS}")
    weekdays = (first.weekday() + np.arange(len(values))) % _WEEK
    weekly = _weekly(values, known, weekdays)
    factors = np.array(weekly.factors)[weekdays]
    adjusted = _adjusted(values, known, factors)
    expected = _around(adjusted) * factors
    return Demand(
        days=len(values),
        censored=int((~known).sum()),
        units=float(values.sum()),
        demand=float(np.where(known, values, np.fmax(values, expected)).sum()),
        trend=trend(adjusted),
        weekly=weekly,
        yearly=_yearly(first, adjusted) if len(values) >= _YEARS_DAYS else None,
        changes=changes(adjusted),
    )


# Trend.


def trend(values: Array) -> Trend:
    """Of a series without seasons, NaN where a day is not known."""
    at = np.flatnonzero(~np.isnan(values))
    slopes, signs = _pairs(values[at], at)
    slope = float(np.median(slopes)) if len(slopes) else 0.0
    score = int(signs.sum())
    count = len(at)
    ties = np.unique(values[at], return_counts=True)[1]
    variance = (_eighteen(count) - _eighteen(ties).sum()) / 18
    if not variance > 0:  # all days alike
        return Trend("none", 0.0, 1.0)
    variance *= _of_autocorrelation(values - slope * np.arange(len(values)))
    z = (score - np.sign(score)) / math.sqrt(variance)
    p = math.erfc(abs(z) / math.sqrt(2))
    direction = "none" if p >= SIGNIFICANT else "rising" if score > 0 else "falling"
    return Trend(direction, slope, p)


def _eighteen(count: "int | np.ndarray[tuple[int], np.dtype[np.int64]]") -> Array:
    return np.asarray(count * (count - 1.0) * (2 * count + 5.0))


def _pairs(values: Array, at: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> tuple[Array, Array]:
    """Of all pairs of days, the slopes between them and whether the later one is higher."""
    before, after = np.triu_indices(len(at), 1)
    differences = values[after] - values[before]
    return differences / (at[after] - at[before]), np.sign(differences)


def _of_autocorrelation(detrended: Array) -> float:
    """What the variance of the test is multiplied by: 1 where days do not depend on one another.

    Only of what is significantly correlated, and never less than 1, nor than what the first lag
    alone tells once its bias is mended: the test may be too careful, not too bold.
    """
    known = ~np.isnan(detrended)
    ranks = np.where(known, _ranks(detrended), 0)
    count = int(known.sum())
    ranks = np.where(known, ranks - ranks.sum() / count, 0)
    power = (ranks**2).sum() / count
    total, least = 0.0, 1.0
    for lag in range(1, count // 4):
        pairs = int((known[lag:] & known[:-lag]).sum())
        if pairs < FEWEST_DAYS:
            continue
        correlation = float((ranks[lag:] * ranks[:-lag]).sum()) / pairs / power
        if abs(correlation) < _ONE_SIDED_95 / math.sqrt(pairs):
            break  # beyond the first that is none, they are chance
        total += (count - lag) * (count - lag - 1) * (count - lag - 2) * correlation
        if lag == 1 and correlation > 0:
            mended = min(_MOST_CORRELATED, correlation + (1 + 4 * correlation) / count)
            least = (1 + mended) / (1 - mended)
    return max(least, 1 + 2 * total / (count * (count - 1) * (count - 2)))


def _ranks(values: Array) -> Array:
    """1 for the smallest; those that are equal share theirs; NaN comes last."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse])


# Seasons.


def _weekly(
    values: Array, known: Flags, weekdays: "np.ndarray[tuple[int], np.dtype[np.int64]]"
) -> Season:
    """Days relative to the mean of those around them, so that neither level nor trend counts."""
    level = _around(np.where(known, values, np.nan))
    relative = np.where(known & (level > 0), values / np.where(level > 0, level, 1), np.nan)
    factors = _factors(relative, weekdays, _WEEK)
    level = _around(_adjusted(values, known, factors[weekdays]))
    told = np.where(known, values, np.nan)
    return _season(told, level, weekdays, factors, relative)


def _adjusted(values: Array, known: Flags, factors: Array) -> Array:
    """Days without their season: NaN where they are not known, or as good as closed."""
    told = known & (factors > _LEAST_FACTOR)
    return np.where(told, values / np.maximum(factors, _LEAST_FACTOR), np.nan)


def _yearly(first: date, adjusted: Array) -> Season:
    """Months relative to the line that years follow; the test takes each month as one."""
    days = [first + timedelta(days=number) for number in range(len(adjusted))]
    months = np.array([day.year * _MONTHS + day.month - 1 for day in days])
    every = np.arange(months[0], months[-1] + 1)
    found = [adjusted[(months == month) & ~np.isnan(adjusted)] for month in every]
    means = np.array([of.mean() if len(of) else np.nan for of in found])
    differences = means[_MONTHS:] - means[:-_MONTHS]
    a_year = float(np.median(differences[~np.isnan(differences)]))
    climb = a_year / _MONTHS * (every - every.mean())
    level = climb + float(np.nanmean(means - climb))
    relative = means / np.where(level > 0, level, np.nan)
    factors = _factors(relative, every % _MONTHS, _MONTHS)
    return _season(means, level, every % _MONTHS, factors, relative)


def _factors(
    relative: Array, part: "np.ndarray[tuple[int], np.dtype[np.int64]]", parts: int
) -> Array:
    """The mean of each part's days; 1 for a part that has none, and in the mean."""
    known = ~np.isnan(relative)
    sums = np.bincount(part[known], weights=relative[known], minlength=parts)
    counts = np.bincount(part[known], minlength=parts)
    factors = np.where(counts > 0, sums / np.maximum(counts, 1), 1.0)
    return np.asarray(factors / factors.mean() if factors.any() else np.ones(parts))


def _season(
    values: Array,
    level: Array,
    part: "np.ndarray[tuple[int], np.dtype[np.int64]]",
    factors: Array,
    relative: Array,
) -> Season:
    remainder = values - level * factors[part]
    both = values - level
    variance = float(np.nanvar(both)) if (~np.isnan(both)).any() else 0.0
    strength = max(0.0, 1 - float(np.nanvar(remainder)) / variance) if variance else 0.0
    known = ~np.isnan(relative)
    p = _kruskal_wallis(relative[known], part[known])
    return Season(strength, p, p < SIGNIFICANT, factors.tolist())


def _kruskal_wallis(values: Array, part: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> float:
    """The chance that parts that are alike differ as much."""
    count = len(values)
    groups, sizes = np.unique(part, return_counts=True)
    ties = np.unique(values, return_counts=True)[1].astype(np.float64)
    spread = 1 - float((ties**3 - ties).sum()) / max(1.0, float(count) ** 3 - count)
    if len(groups) < 2 or not spread > 0:
        return 1.0
    ranks = _ranks(values)
    sums = np.array([ranks[part == group].sum() for group in groups])
    score = 12 / (count * (count + 1)) * float((sums**2 / sizes).sum()) - 3 * (count + 1)
    return _chi_squared_beyond(score / spread, len(groups) - 1)


def _chi_squared_beyond(score: float, freedom: int) -> float:
    """How often chi-squared is larger, after Wilson and Hilferty 1931."""
    part = 2 / (9 * freedom)
    z = ((max(0.0, score) / freedom) ** (1 / 3) - (1 - part)) / math.sqrt(part)
    return 0.5 * math.erfc(z / math.sqrt(2))


def _around(values: Array, days: int = _LEVEL_DAYS) -> Array:
    """The mean of the known days around each; where there is none, that of all."""
    known = ~np.isnan(values)
    kernel = np.ones(min(days, 2 * len(values) - 1))
    counts = _centred(known.astype(np.float64), kernel)
    sums = _centred(np.where(known, values, 0), kernel)
    mean = float(values[known].mean()) if known.any() else 0.0
    return np.where(counts > 0.5, sums / np.maximum(counts, 1), mean)


def _centred(values: Array, kernel: Array) -> Array:
    half = len(kernel) // 2
    return np.convolve(values, kernel)[half : half + len(values)]
