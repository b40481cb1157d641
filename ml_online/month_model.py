"""What is foretold of months: seasonality that is shrunk by evidence, and a few simple smoothers.

Pure functions over rows of monthly values, NaN where a month is not known, which all end with the
same month. A row is divided by its seasonal factors and followed by members that differ in how fast
their level and their damped trend move; their mean is multiplied again. It is weighted by how each
of them would have done, 1 to 24 months ahead, shrunk toward weights that favour no trend: of few
months, little can be told.

Combining simple damped smoothers of seasonally adjusted values is what did best of all simple ways
in the M4 competition (Makridakis, Spiliotis, Assimakopoulos 2020, Int. J. of Forecasting 36:54-74).
Factors are shrunk by their evidence after Miller and Williams 2003 (Int. J. of Forecasting
19:669-684): by n / (n + noise / signal), of n years. The member with half the slope of the straight
line is the Theta method (Hyndman and Billah 2003, Int. J. of Forecasting 19:287-290).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

SEASON = 12
HISTORY = 120
"""Months that take part: ten years."""

_NORMAL = np.array([-2.15, -1.3, -0.64, 0.0, 0.64, 1.3, 2.15])
_AT = np.array([0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975])

# How fast a member's level and trend move, and by what its trend is damped. To these come the line
# (the second of them, and half the slope of all months) and the seasonal naive.
_LEVEL, _TREND, _DAMPED = np.array(
    [
        (0.03, 0.0, 0.0),
        (0.1, 0.0, 0.0),
        (0.3, 0.0, 0.0),
        (0.7, 0.0, 0.0),
        (0.1, 0.03, 0.95),
        (0.1, 0.1, 0.98),
        (0.4, 0.1, 0.95),
        (0.7, 0.1, 0.95),
        (0.3, 0.0, 1.0),
    ]
).T
_CALM, _LINE = 2, 8  # the member that stands in where another has nothing to say; the line
_LINE_MONTHS = 6
_AHEAD = (1, 3, 6, 12, 18, 24)  # what members and deviations are measured at

_PASSING = 0.85  # a year's ratios weigh so much of the next year's
_LARGEST_RATIO = 6.0
_LEAST_FACTOR = 0.1  # a month that sells less tells nothing of the level
_UNSEEN_NOISE = 6.0  # as if so many months had shown as much noise as signal
_POWER = 24.0  # of errors, which differ little between members
_EQUAL = 10.0  # months after which weights are half by merit
_TRENDLESS = 12.0  # months after which a trend is half as likely as none

_USUAL = np.log(0.3**2)  # the variance of a month, relative to the level, before any is known
_USUAL_MONTHS = 3.0
_GROWTH = 0.15  # of the variance with each month ahead, before any is known
_CONTINUED = 0.25  # how much of what it grew beyond that goes on
_WIDER = 0.99
_LARGEST_RELATIVE = 3.0  # deviation, that is told as a factor
_SMALLEST = 1e-6


class Foretold(NamedTuple):
    """Of each row and month ahead: values, and quantiles 2.5, 10, 25, 50, 75, 90 and 97.5 %."""

    point: Array
    quantiles: Array


class _Smoothed(NamedTuple):
    """After each month: what members hold for level and trend [month, row, member]."""

    adjusted: Array  # [row, month]
    level: Array
    trend: Array


def foretell(values: Array, first_month: int, horizon: int) -> Foretold:
    """The months after the last column; the first is of calendar month `first_month`, 1 to 12.

    `values` are [row, month]. Rows that know of no month are foretold NaN.
    """
    left_out = max(0, values.shape[1] - HISTORY)
    known = values[:, left_out:]
    calendar = (first_month - 1 + left_out + np.arange(known.shape[1] + horizon)) % SEASON
    count = known.shape[1]
    factors = np.maximum(_factors(known, calendar[:count]), _LEAST_FACTOR)
    smoothed = _smooth(known / factors[:, calendar[:count]])
    weights = _weights(smoothed)
    ahead = np.stack([_mean(weights, _last(smoothed, h)) for h in range(1, horizon + 1)], axis=1)
    season = factors[:, calendar[count:]]
    spread = _deviations(smoothed, weights, horizon) * season
    return _with_quantiles(known, ahead * season, spread)


def _with_quantiles(known: Array, point: Array, spread: Array) -> Foretold:
    """Of what was never below zero, nothing ever is: its deviations are factors. And it is zero as
    often as it was."""
    none = np.isnan(known)
    positive: Flags = np.asarray((none | (known >= 0)).all(axis=1, keepdims=True))
    point = np.where(positive, np.maximum(point, 0), point)
    told = positive & (point > spread / _LARGEST_RELATIVE)
    relative = np.log1p((spread / np.where(told, point, np.inf)) ** 2)
    factors = np.exp(np.sqrt(relative)[..., None] * _NORMAL)
    quantiles = np.where(
        told[..., None],
        point[..., None] * factors,
        point[..., None] + spread[..., None] * _NORMAL,
    )
    zeros = (known == 0).sum(axis=1) / np.maximum(1, (~none).sum(axis=1))
    quantiles = np.where(positive[..., None] & (zeros[:, None, None] >= _AT), 0, quantiles)
    quantiles = np.where(positive[..., None], np.maximum(quantiles, 0), quantiles)
    return Foretold(point, quantiles)


# Seasonality.


def _factors(values: Array, calendar: NDArray[np.int64]) -> Array:
    """Of each row and calendar month. 1 where less than a year is known.

    The level is first the mean of a year around; where there is none, at the ends, that of what
    smoothing from either side says of the months so adjusted.
    """
    around = _year_around(values)
    first = np.maximum(_shrunk(values / _or_none(around), calendar), _LEAST_FACTOR)
    adjusted = values / first[:, calendar]
    level = (_followed(adjusted) + _followed(adjusted[:, ::-1])[:, ::-1]) / 2
    enough = (~np.isnan(values)).sum(axis=1, keepdims=True) >= SEASON
    level = np.where(np.isnan(around) & enough, level, around)
    return _shrunk(values / _or_none(level), calendar)


def _followed(adjusted: Array) -> Array:
    """The level after each month, as the calm member follows it."""
    known = ~np.isnan(adjusted)
    gain = np.maximum(_LEVEL[_CALM], 1 / np.maximum(np.cumsum(known, axis=1), 1))
    levels = np.empty(adjusted.shape)
    level = np.full(len(adjusted), np.nan)
    for at in range(adjusted.shape[1]):
        value = adjusted[:, at]
        moved = np.where(np.isnan(level), value, level + gain[:, at] * (value - level))
        levels[:, at] = level = np.where(known[:, at], moved, level)
    return levels


def _or_none(level: Array) -> Array:
    return np.where(level > 0, level, np.nan)


def _year_around(values: Array) -> Array:
    """The centred mean of twelve months; NaN where one of them is not known."""
    found = np.full(values.shape, np.nan)
    half = SEASON // 2
    for at in range(half, values.shape[1] - half):
        year = values[:, at - half : at + half + 1]
        found[:, at] = (year.sum(axis=1) - (year[:, 0] + year[:, -1]) / 2) / SEASON
    return found


def _shrunk(ratios: Array, calendar: NDArray[np.int64]) -> Array:
    """Factors from ratios of values to levels: 1 and what evidence there is of more or less."""
    rows, months = ratios.shape
    known = ~np.isnan(ratios)
    ratios = np.clip(np.where(known, ratios, 0), 0, _LARGEST_RATIO)
    weights = known * _PASSING ** ((months - 1 - np.arange(months)) // SEASON)
    total, squares, factors = (np.zeros((rows, SEASON)) for _ in range(3))
    for month in range(SEASON):
        of_month = calendar == month
        total[:, month] = weights[:, of_month].sum(axis=1)
        squares[:, month] = (weights[:, of_month] ** 2).sum(axis=1)
        factors[:, month] = (weights * ratios)[:, of_month].sum(axis=1)
    whole: Flags = np.asarray((total > 0).all(axis=1))
    factors = np.where(whole[:, None], factors / np.where(total > 0, total, 1), 1)
    factors /= np.maximum(factors.mean(axis=1, keepdims=True), _SMALLEST)
    years = np.where(whole, (total**2 / np.where(squares > 0, squares, 1)).mean(axis=1), 1)
    noise, signal = _noise_and_signal(ratios, weights, factors[:, calendar], factors, years)
    evidence = years * signal / np.maximum(years * signal + noise, _SMALLEST**2)
    return 1 + np.where(whole, evidence, 0)[:, None] * (factors - 1)


def _noise_and_signal(
    ratios: Array, weights: Array, expected: Array, factors: Array, years: Array
) -> tuple[Array, Array]:
    """Variances of ratios around factors, and of the true factors around 1. Of a single year they
    are taken to be alike."""
    count = (weights > 0).sum(axis=1)
    within = (weights * (ratios - expected) ** 2).sum(axis=1) / np.maximum(
        weights.sum(axis=1), _SMALLEST
    )
    between = factors.var(axis=1)
    noise = (within * count + _UNSEEN_NOISE * between / 2) / (
        np.maximum(count - SEASON, 0) + _UNSEEN_NOISE
    )
    return noise, np.maximum(between - noise / years, 0)


# Members.


def _smooth(adjusted: Array) -> _Smoothed:
    """All members through all months. The first months weigh alike, whatever the member."""
    rows, months = adjusted.shape
    levels = np.empty((months, rows, len(_LEVEL)))
    trends = np.empty_like(levels)
    level, trend = np.full((rows, len(_LEVEL)), np.nan), np.zeros((rows, len(_LEVEL)))
    seen = np.zeros((rows, 1))
    for at in range(months):
        value = adjusted[:, at : at + 1]
        known = ~np.isnan(value)
        seen = seen + known
        gain = np.maximum(_LEVEL, 1 / np.maximum(seen, 1))
        expected = level + _DAMPED * trend
        moved = np.where(np.isnan(level), value, expected + gain * (value - expected))
        turned = _DAMPED * trend + _TREND * np.where(np.isnan(level), 0, moved - expected)
        level = np.where(known, moved, expected)
        trend = np.where(known, turned, _DAMPED * trend)
        levels[at], trends[at] = level, trend
        trends[at, :, _LINE], trend[:, _LINE] = 0, 0
    trends[:, :, _LINE] = _half_slopes(adjusted).T
    return _Smoothed(adjusted, levels, trends)


def _half_slopes(adjusted: Array) -> Array:
    """Of the straight line through all months up to each, by least squares; 0 of few."""
    known = ~np.isnan(adjusted)
    values = np.where(known, adjusted, 0)
    at = known * np.arange(adjusted.shape[1], dtype=np.float64)
    count, times, squares = (np.cumsum(part, axis=1) for part in (known * 1.0, at, at * at))
    total, products = np.cumsum(values, axis=1), np.cumsum(values * at, axis=1)
    divisor = count * squares - times * times
    enough = (count >= _LINE_MONTHS) & (divisor > 0)
    slope = (count * products - times * total) / np.where(enough, divisor, 1)
    return np.asarray(np.where(enough, slope / 2, 0))


def _of_trend(horizon: int) -> Array:
    """How much of its trend each member adds, so many months ahead."""
    return np.asarray(sum(_DAMPED**month for month in range(1, horizon + 1)))


def _with_naive(members: Array, naive: Array) -> Array:
    naive = np.where(np.isnan(naive), members[..., _CALM], naive)
    return np.concatenate([members, naive[..., None]], axis=-1)


def _said(smoothed: _Smoothed, horizon: int) -> Array:
    """What members said at each month of the one so many later [origin, row, member]."""
    members = smoothed.level[:-horizon] + _of_trend(horizon) * smoothed.trend[:-horizon]
    years = SEASON * -(-horizon // SEASON)
    naive = np.full(members.shape[:2], np.nan)
    if (count := smoothed.adjusted.shape[1] - years) > 0:
        naive[years - horizon :] = smoothed.adjusted[:, :count].T
    return _with_naive(members, naive)


def _last(smoothed: _Smoothed, horizon: int) -> Array:
    """What members say after the last month [row, member]."""
    members = smoothed.level[-1] + _of_trend(horizon) * smoothed.trend[-1]
    at = smoothed.adjusted.shape[1] - SEASON + (horizon - 1) % SEASON
    missing = np.full(len(members), np.nan)
    return _with_naive(members, smoothed.adjusted[:, at] if at >= 0 else missing)


def _mean(weights: Array, members: Array) -> Array:
    return np.asarray((weights * members).sum(axis=-1))


def _weights(smoothed: _Smoothed) -> Array:
    """Of each row and member, by errors relative to the members' mean error."""
    months = smoothed.adjusted.shape[1]
    seen = (~np.isnan(smoothed.adjusted)).sum(axis=1)
    trendless = np.append(_DAMPED == 0, True)
    prior = np.where(trendless, 1.0, (seen / (seen + _TRENDLESS))[:, None])
    prior /= prior.sum(axis=1, keepdims=True)
    errors, counts = np.zeros_like(prior), np.zeros((len(prior), 1))
    for horizon in _AHEAD:
        if horizon < months:
            missed = np.abs(smoothed.adjusted.T[horizon:, :, None] - _said(smoothed, horizon))
            known = ~np.isnan(missed[..., 0])
            total = np.where(known[..., None], missed, 0).sum(axis=0)
            mean = total.mean(axis=1, keepdims=True)
            count = known.sum(axis=0)[:, None] / np.sqrt(horizon)
            errors += np.where(mean > 0, total / np.where(mean > 0, mean, 1), 1) * count
            counts += count
    relative = np.where(counts > 0, errors / np.where(counts > 0, counts, 1), 1)
    merit = prior * np.maximum(relative, 1e-3) ** -_POWER
    merit /= merit.sum(axis=1, keepdims=True)
    trust = (seen**2 / (seen**2 + _EQUAL**2))[:, None]
    return np.asarray(trust * merit + (1 - trust) * prior)


# Deviations.


def _deviations(smoothed: _Smoothed, weights: Array, horizon: int) -> Array:
    """What is to be expected, so many months ahead [row, month], in adjusted values.

    From the errors that there are, relative to the level, and before there are any, from what is
    usual. What variances grew by, from one horizon to the next, they are taken to grow on by.
    """
    adjusted = smoothed.adjusted
    seen = (~np.isnan(adjusted)).sum(axis=1)
    held = _with_naive(smoothed.level, np.full(smoothed.level.shape[:2], np.nan))
    level = np.abs(_mean(weights, held))
    usual = np.where(np.isnan(adjusted), 0, np.abs(adjusted)).sum(axis=1) / np.maximum(seen, 1)
    level = np.maximum(level, np.maximum(0.25 * usual, _SMALLEST))
    logs: list[Array] = []
    for number, ahead in enumerate(_AHEAD):
        variance, count = _errors(smoothed, weights, level, ahead)
        if number == 0:
            before, trusted = np.full(len(seen), _USUAL), _USUAL_MONTHS
        else:
            grown = np.log1p(_GROWTH * (_AHEAD[number - 1] - 1))
            more = np.maximum(logs[-1] - logs[0] - grown, 0) / max(1, number - 1)
            before = logs[-1] + np.log1p(_GROWTH * (ahead - 1)) - grown
            before, trusted = before + (_CONTINUED * more if number > 1 else 0), 1.0
        count = count / ahead  # they overlap
        seen_log = np.log(np.maximum(variance, _SMALLEST))
        logs.append((seen_log * count + trusted * before) / (count + trusted))
    deviations = np.maximum.accumulate(np.exp(np.array(logs) / 2), axis=0)
    deviations *= _WIDER * (1 + 1 / np.maximum(seen, 1)) * level[-1]
    return _between(deviations, horizon)


def _errors(smoothed: _Smoothed, weights: Array, level: Array, horizon: int) -> tuple[Array, Array]:
    """The mean square of relative errors so many months ahead, and of how many."""
    rows, months = smoothed.adjusted.shape
    if horizon >= months:
        return np.zeros(rows), np.zeros(rows)
    missed = smoothed.adjusted.T[horizon:] - _mean(weights, _said(smoothed, horizon))
    relative = missed / level[:-horizon]
    known = ~np.isnan(relative)
    squares = np.minimum(np.where(known, relative, 0) ** 2, 4)
    count = known.sum(axis=0).astype(np.float64)
    return squares.sum(axis=0) / np.maximum(count, 1), count


def _between(deviations: Array, horizon: int) -> Array:
    """[measured at, row] → [row, month ahead], in straight lines."""
    at = np.arange(1, horizon + 1)
    after = np.clip(np.searchsorted(_AHEAD, at), 1, len(_AHEAD) - 1)
    before = after - 1
    first, last = np.array(_AHEAD)[before], np.array(_AHEAD)[after]
    share = np.minimum((at - first) / (last - first), 1)[:, None]
    return np.asarray(((1 - share) * deviations[before] + share * deviations[after]).T)
