"""Intervals that keep what they promise: quantiles of past errors, which move with every day.

An error counts relative to what is usual for its series and for the size of the forecast. For each
week ahead and class of series, each quantile follows the errors by a step up or down, so that in
the long run as many outcomes lie below it as it says, whatever they do: online quantile tracking,
the P of conformal PID control (Angelopoulos, Candès and Tibshirani 2023).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_online.arrays import dump, load
from ml_online.daily_regression import WEEKS

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

QUANTILES = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
"""Of the 95, 80 and 50 % intervals, and the median."""
INTERVALS = {"50": (2, 4), "80": (1, 5), "95": (0, 6)}
"""Which of the quantiles are the ends of each."""
CLASSES = (0.0, 0.2, 0.5, 0.8)
"""Shares of days without a sale, above which a series is of the next class."""
NEW = len(CLASSES) + 1
"""The class of series that have just begun, of whose errors next to nothing is known."""

_POWER = 0.8  # errors grow with forecasts, a little less than in proportion
_SMALLEST, _LARGEST = 0.25, 4.0  # of forecasts beside the level, in that
_FADING = 0.975  # of errors, a day: half of them in four weeks
_FIRST = 10.0  # errors that a series seems to have made before its first
_OF_NAIVE = 0.7  # of the seasonal naive's, which these would have been
# Of Laplace's distribution, whose mean absolute deviation is 1.
_BEGINNING = (-3.0, -1.61, -0.69, 0.0, 0.69, 1.61, 3.0)
_STEP, _STEP_OF_MANY, _MANY = 0.05, 0.15, 20.0

_LEVELS = np.array(QUANTILES)


def class_of(idle: Array) -> IntArray:
    """Which class a series is of that sold nothing on such a share of its open days."""
    found: IntArray = np.searchsorted(np.array(CLASSES), idle, side="left").astype(np.int64)
    return found


class Intervals:
    """How far forecasts of each series lie from what comes."""

    def __init__(self) -> None:
        self._tracked = np.tile(np.array(_BEGINNING), (WEEKS, NEW + 1, 1))
        self._sum: Array = np.zeros(0)
        self._weight: Array = np.zeros(0)

    def room(self, series: int) -> None:
        """Makes room for so many series."""
        more = series - len(self._sum)
        if more > 0:
            self._sum = np.pad(self._sum, (0, more))
            self._weight = np.pad(self._weight, (0, more))

    def unit(self, scale: Array, rows: IntArray) -> Array:
        """What is usual for the errors of a series at its level [series], in its unit. `scale`
        [series] stands for those of a series that has made few."""
        found: Array = (self._sum[rows] + _FIRST * _OF_NAIVE * scale) / (
            self._weight[rows] + _FIRST
        )
        return found

    @property
    def offsets(self) -> Array:
        """How far quantiles lie from a forecast [week, class, quantile], relative to its width."""
        return np.sort(self._tracked, axis=2)

    def learn(
        self, actual: Array, point: Array, width: Array, unit: Array, week: IntArray, kind: IntArray
    ) -> None:
        """One day's outcome [series], beside what was said of it weeks before: point, width, unit
        and class [series, pair]; NaN where nothing was said."""
        error = actual[:, None] - point
        scored = np.isfinite(error) & (width > 0)
        size = np.where(scored, width, 1.0) / np.where(scored, unit, 1.0)
        relative = np.abs(np.where(scored, error, 0.0)) / size
        some = scored.any(axis=1)
        fading = np.where(some, _FADING, 1.0)
        self._sum = self._sum * fading + relative.sum(axis=1) / np.maximum(scored.sum(axis=1), 1)
        self._weight = self._weight * fading + some
        normal = np.where(scored, error, np.nan) / np.where(scored, width, 1.0)
        for number in np.unique(week):
            of_week = week == number
            errors, kinds = normal[:, of_week], kind[:, of_week]
            for one in np.unique(kinds):
                found = errors[kinds == one]
                self._follow(self._tracked[number, one], found[np.isfinite(found)])

    def _follow(self, tracked: Array, errors: Array) -> None:
        if not len(errors):
            return
        below = (errors[:, None] <= tracked).mean(axis=0)
        step = _STEP + _STEP_OF_MANY * (1 - np.exp(-len(errors) / _MANY))
        tracked += step * max(tracked[-1] - tracked[0], 1.0) / 2 * (_LEVELS - below)

    def shift(self, rows: IntArray) -> None:
        """Believes what is known of the errors of these series less."""
        self._sum[rows] *= 0.3
        self._weight[rows] *= 0.3

    def state(self) -> Iterator[Any]:
        """In rows of what JSON can say."""
        for array in (self._tracked, self._sum, self._weight):
            yield dump(array)

    def restore(self, rows: Iterator[Any]) -> None:
        """Goes on from a state."""
        self._tracked, self._sum, self._weight = (load(next(rows)) for _ in range(3))


def size_of(point: Array, level: Array) -> Array:
    """How large the errors of forecasts are, beside those at the level of their series."""
    relative = np.divide(point, level, out=np.ones_like(point), where=level > 0)
    found: Array = np.clip(relative, _SMALLEST, _LARGEST) ** _POWER
    return found


def quantiles(point: Array, width: Array, offsets: Array) -> Array:
    """[series, pair, quantile] from points and widths [series, pair] and offsets [series, pair,
    quantile] that are in order; never below zero."""
    found: Array = np.maximum(point[..., None] + offsets * width[..., None], 0.0)
    return found
