"""What is known on a day of the days ahead of it: the ground that a forecast is made from.

All of it is relative to the level of a series, so that small and large ones teach one another, and
is a function of what stood in the window at the origin alone. `usual` is what such a day sold
lately: the mean of the same weekdays, those weighing most whose known inputs were alike.
"""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml_online.daily_effects import SPANS

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
IntArray = NDArray[np.int64]

SEASON = 7
WEEKS = 12
"""How many of the same weekdays before a day are looked at."""
YEAR = 364
"""Days: a year of whole weeks."""
OF_A_YEAR = 400
"""Days of history before which a year's course says nothing."""
REACH = YEAR + 12 * SEASON
"""Days before an origin of which something may be asked."""

_LEVEL = 56
_SURPRISES = (7, 14, 28, 56)
_LAGS = 4
_LARGEST_RATIO = 6.0
_ALIKE = 8.0  # how fast a weekday counts less, the more the effects of its inputs differ
_FADING = 0.95  # a week
_FAST_FADING = 0.75
_HARMONICS = (1, 2, 3)
_MOST_CROSSED = 8  # inputs that may do another thing on each weekday
_FEW = 0.3  # weekdays' weight below which the level of the series speaks for them, too


class Window(NamedTuple):
    """The latest days of series: columns up to and with `last`, the ordinal of a day.

    `values` [series, day] are NaN where none is known; `open` says which of them count as days of
    sale; `expected` is what had been usual for each a week before it; `known` [series, day, input]
    may hold fewer columns, the latest.
    """

    last: int
    values: Array
    open: Mask
    expected: Array
    known: Array


class Year(NamedTuple):
    """The days around those of a year ago, `values` and `open` [series, day] as in a window, from
    its column `first` on, which lies before it; `of_all` [pair] is how much more all series sold
    then around the target than in the weeks before the origin."""

    first: int
    values: Array
    open: Mask
    of_all: Array


class Ahead(NamedTuple):
    """The pairs of days to speak of, as columns: origin and target [pair]; a window's last day is
    the column before its width. `known` [series, pair, input] and `beside` [series, pair, 2] are of
    the target: its inputs, and whether the day before and the day after it are shut; `effect`
    [series, pair] is what it should sell relative to the level by `daily_effects`, NaN where there
    are none; `weights` [series, input] are the effects of the inputs, as logarithms."""

    origin: IntArray
    target: IntArray
    known: Array
    beside: Array
    effect: Array
    weights: Array


class Ground(NamedTuple):
    """`x` [series, pair, feature]; level [series, pair] in the unit of the series, 0 where nothing
    was sold; `usual` [series, pair] likewise; `rest` where no such weekday of late had any sale."""

    x: Array
    level: Array
    usual: Array
    rest: Mask


class _Sums(NamedTuple):
    """Running sums over a window, so that those of any stretch are a difference."""

    value: Array
    days: Array
    came: Array
    expected: Array


def ground(window: Window, ahead: Ahead, profile: Array, year: Year | None = None) -> Ground:
    """See Ground. `profile` [weekday] is how the weekdays of all series differ, 1 in the mean; it
    speaks for weekdays that a young series has not had. Without a `year` nobody is so old."""
    width = window.values.shape[1]
    sums = _sums(window)
    level, _ = _mean_of(sums.value, sums.days, ahead.origin + 1 - _LEVEL, ahead.origin + 1)
    horizon = ahead.target - ahead.origin
    week = SEASON * -(-horizon // SEASON)  # days back to the latest one of that weekday
    base = ahead.target - week
    columns = base[:, None] - SEASON * np.arange(WEEKS)
    inside = columns >= 0
    columns = np.maximum(columns, 0)
    counts: Mask = window.open[:, columns] & inside
    sold = np.where(counts, window.values[:, columns], 0.0)
    np.minimum(sold, (_LARGEST_RATIO * level)[..., None], out=sold)

    weekday = (window.last + 1 - width + ahead.target - 1) % SEASON
    fallback = level * profile[weekday]
    usual_8, seen = _weighted(sold, (counts & (np.arange(WEEKS) < 8)).astype(np.float64), fallback)
    like, near = _alike(window, ahead, columns, counts)
    usual, weight = _weighted(sold, like, usual_8)
    if ahead.known.shape[2] == 0:
        usual = usual_8
    mean_4, _ = _weighted(sold, (counts & (np.arange(WEEKS) < _LAGS)).astype(np.float64), usual)
    mean_12, _ = _weighted(sold, counts.astype(np.float64), usual)
    fading, _ = _weighted(sold, counts * _FAST_FADING ** np.arange(WEEKS), usual)

    scale = np.where(level > 0, level, 1.0)
    ratio = usual / scale
    effect = np.where(np.isfinite(ahead.effect) & (level > 0), ahead.effect, ratio)
    week_level, _ = _mean_of(sums.value, sums.days, ahead.origin + 1 - SEASON, ahead.origin + 1)
    month_level, _ = _mean_of(
        sums.value, sums.days, ahead.origin + 1 - 4 * SEASON, ahead.origin + 1
    )
    parts = [
        ratio,
        effect - ratio,
        mean_4 / scale - ratio,
        fading / scale - ratio,
        mean_12 / scale - ratio,
        usual_8 / scale - ratio,
        *(
            np.where(counts[:, :, lag], sold[:, :, lag] / scale - ratio, 0.0)
            for lag in range(_LAGS)
        ),
        *(ratio * _surprise(sums, ahead.origin, days) for days in _SURPRISES),
        ratio * (np.minimum(week_level / scale, _LARGEST_RATIO) - 1),
        ratio * (np.minimum(month_level / scale, _LARGEST_RATIO) - 1),
        1 - ratio,
        np.minimum(week_level / scale, _LARGEST_RATIO) - ratio,
        *_days_of_month(ratio, window.last + 1 - width, ahead.target),
        *_years(ratio, window, ahead, week, year),
        ratio * ahead.beside[:, :, 0],
        ratio * ahead.beside[:, :, 1],
        *_inputs(ratio, ahead.known, near, counts, seen, weight),
        *_of_weekdays(ratio, ahead.known[:, :, :_MOST_CROSSED], weekday),
    ]
    rest = (counts.sum(axis=2) >= _LAGS) & ~((sold > 0) & counts).any(axis=2)
    return Ground(np.stack(parts, axis=2), level, usual, rest)


def _sums(window: Window) -> _Sums:
    open_values = np.where(window.open, window.values, 0.0)
    judged = window.open & (window.expected > 0)
    parts = (
        open_values,
        window.open.astype(np.float64),
        np.where(judged, open_values, 0.0),
        np.where(judged, window.expected, 0.0),
    )
    return _Sums(*map(_running, parts))


def _running(values: Array) -> Array:
    """The sums of the columns before each, and of all."""
    found = np.zeros((values.shape[0], values.shape[1] + 1))
    np.cumsum(values, axis=1, out=found[:, 1:])
    return found


def _between(sums: Array, first: IntArray, end: IntArray) -> Array:
    """Of the columns first..end − 1; those that lie outside of the window count nothing."""
    last = sums.shape[1] - 1
    found: Array = sums[:, np.clip(end, 0, last)] - sums[:, np.clip(first, 0, last)]
    return found


def _mean_of(sums: Array, days: Array, first: IntArray, end: IntArray) -> tuple[Array, Array]:
    """Mean value of the open days among the columns first..end − 1, and their number."""
    count = _between(days, first, end)
    return np.maximum(_between(sums, first, end) / np.maximum(count, 1.0), 0.0), count


def _surprise(sums: _Sums, origin: IntArray, days: int) -> Array:
    """How much more than expected was sold of late, relative to it."""
    came = _between(sums.came, origin + 1 - days, origin + 1)
    expected = _between(sums.expected, origin + 1 - days, origin + 1)
    found = np.divide(came, expected, out=np.ones_like(came), where=expected > 0)
    return np.clip(found, 0.3, 3.0) - 1


def _weighted(values: Array, weights: Array, fallback: Array) -> tuple[Array, Array]:
    """Means over the last axis, drawn to a fallback where there is little, and the weights' sum."""
    total = weights.sum(axis=-1)
    mean = (values * weights).sum(axis=-1)
    return (mean + _FEW * fallback) / (total + _FEW), total


def _alike(window: Window, ahead: Ahead, columns: IntArray, counts: Mask) -> tuple[Array, Array]:
    """How much each of the weekdays counts for a target, which is less, the more its inputs do
    otherwise; and these inputs [series, pair, week, input]."""
    weights = counts * _FADING ** np.arange(WEEKS)
    if not ahead.known.shape[2]:
        return weights, np.zeros((*counts.shape, 0))
    offset = window.values.shape[1] - window.known.shape[1]
    near = window.known[:, np.maximum(columns - offset, 0)]
    weighed = ahead.weights.shape[1]
    then = np.einsum("spwi,si->spw", near[..., :weighed], ahead.weights)
    now = np.einsum("spi,si->sp", ahead.known[..., :weighed], ahead.weights)
    return weights * np.exp(-_ALIKE * np.abs(now[..., None] - then)), near


def _inputs(
    ratio: Array, known: Array, near: Array, counts: Mask, seen: Array, weight: Array
) -> Sequence[Array]:
    """Each known input of the target, and how far it is from those of the weekdays before."""
    of_8 = counts * (np.arange(WEEKS) < 8)
    parts = []
    for number in range(known.shape[2]):
        now = known[:, :, number]
        before = (near[..., number] * of_8).sum(axis=2) / np.maximum(seen, 1.0)
        parts += [
            ratio * now,
            ratio * np.where(seen > 0, now - before, 0.0),
            # Nothing alike was seen: what is usual says nothing of it.
            ratio * np.where(weight > _FEW, 0.0, now - before),
        ]
    return parts


def _of_weekdays(ratio: Array, known: Array, weekday: IntArray) -> Sequence[Array]:
    """Each known input on each weekday: a promotion does more on a Monday than on a Friday."""
    return [
        ratio * known[:, :, number] * (weekday == day)
        for number in range(known.shape[2])
        for day in range(SEASON)
    ]


def _days_of_month(ratio: Array, first: int, target: IntArray) -> Sequence[Array]:
    """Pay days: the beginning, the third week and the end of a month differ."""
    days = np.array([date.fromordinal(first + int(column)).day for column in target])
    return [ratio * ((begin <= days) & (days <= end)) for begin, end in SPANS]


def _years(
    ratio: Array, window: Window, ahead: Ahead, week: IntArray, year: Year | None
) -> Sequence[Array]:
    """The year's course, once there is one: harmonics, and how much more than in the weeks before
    the origin's day was sold a year ago around the target's, by a series and by all."""
    if year is None:
        return [np.zeros_like(ratio)] * (2 * len(_HARMONICS) + 2)
    first = window.last + 1 - window.values.shape[1]
    then, before = (_angle(first, columns) for columns in (ahead.target, ahead.target - week - 14))
    parts = []
    for harmonic in _HARMONICS:
        parts.append(ratio * (np.sin(harmonic * then) - np.sin(harmonic * before)))
        parts.append(ratio * (np.cos(harmonic * then) - np.cos(harmonic * before)))
    own, _ = year_ago(year.values, year.open, ahead.origin - year.first, ahead.target - year.first)
    return [*parts, ratio * (own - 1), ratio * (year.of_all - 1)]


def year_ago(values: Array, opened: Mask, origin: IntArray, target: IntArray) -> tuple[Array, Mask]:
    """How much more each series sold a year before the target than in the weeks before the origin's
    day then, and of which that is known [series, pair]; 1 of others."""
    sums = _running(np.where(opened, values, 0.0))
    days = _running(opened.astype(np.float64))
    ago, end = target - YEAR, origin - YEAR + 1
    near, count = _mean_of(sums, days, ago - SEASON, ago + SEASON)
    level, before = _mean_of(sums, days, end - _LEVEL, end)
    told = (count >= SEASON) & (before >= _LEVEL // 2) & (near > 0) & (level > 0)
    own = np.where(told, near / np.where(told, level, 1.0), 1.0)
    return np.clip(own, 0.3, 3.0), told


def _angle(first: int, columns: IntArray) -> Array:
    days = [date.fromordinal(first + int(column)).timetuple().tm_yday for column in columns]
    return np.array(days) * (2 * np.pi / 365.25)
