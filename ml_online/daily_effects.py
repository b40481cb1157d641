"""What a weekday, a promotion or a closed day beside it does to each series, remembered for long.

The logarithm of value / level is a sum of effects, learned by ridge regression for all series
together and for each around what all have, so that a series speaks for itself as far as it has
seen something. Series that often sell nothing on open days have no logarithm, and none of this.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_online.arrays import dump, load

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

SEASON = 7
SPANS = ((1, 3), (4, 7), (19, 25), (29, 31))
"""Days of a month that differ: pay days."""
MOST_INPUTS = 8

_FORGETTING = 0.997  # a day
_OWN = 12.0  # observations' weight of what all series have
_POOLED = 5.0  # and of no effect at all
_FARTHEST = 2.0  # of a logarithm
_ROBUST = 0.25  # of a logarithm: where errors cease to count by their squares


def factors(weekday: IntArray, month_day: IntArray, known: Array, beside: Array) -> Array:
    """[series, day, factor]: weekdays, days of the month, inputs, and whether the days beside are
    shut. weekday and month_day [day]; known [series, day, input]; beside [series, day, 2]."""
    series, days, inputs = known.shape
    taken = min(inputs, MOST_INPUTS)
    found = np.zeros((series, days, SEASON + len(SPANS) + taken + 2))
    found[:, np.arange(days), weekday] = 1.0
    for number, (first, last) in enumerate(SPANS):
        found[:, :, SEASON + number] = (first <= month_day) & (month_day <= last)
    found[:, :, SEASON + len(SPANS) : -2] = known[:, :, :taken]
    found[:, :, -2:] = beside
    return found


class Effects:
    """Running sums of squares and products, of each series and of all."""

    def __init__(self, inputs: int) -> None:
        count = SEASON + len(SPANS) + min(inputs, MOST_INPUTS) + 2
        self._squares = np.zeros((0, count, count), dtype=np.float32)
        self._products = np.zeros((0, count), dtype=np.float32)
        self._effects = np.zeros((0, count))
        self._all = np.zeros(count)

    def room(self, series: int) -> None:
        """Makes room for so many series."""
        more = series - len(self._squares)
        if more > 0:
            self._squares = np.pad(self._squares, ((0, more), (0, 0), (0, 0)))
            self._products = np.pad(self._products, ((0, more), (0, 0)))
            self._effects = np.vstack([self._effects, np.tile(self._all, (more, 1))])

    def ratio(self, factors: Array, rows: IntArray) -> Array:
        """Value relative to the level [series, day]."""
        sums = np.einsum("sdf,sf->sd", factors, self._effects[rows])
        found: Array = np.exp(np.clip(sums, -_FARTHEST, _FARTHEST))
        return found

    def inputs(self, rows: IntArray) -> Array:
        """The effects of the first MOST_INPUTS inputs alone [series, input]."""
        found: Array = self._effects[rows, SEASON + len(SPANS) : -2]
        return found

    def unseen(self) -> IntArray:
        """Which of the first MOST_INPUTS inputs no day of any series ever had."""
        days = self._squares.diagonal(axis1=1, axis2=2).sum(axis=0)
        return np.flatnonzero(days[SEASON + len(SPANS) : -2] == 0)

    def learn(self, factors: Array, ratio: Array, rows: IntArray) -> None:
        """One day: factors [series, factor] and value / level [series], all above zero."""
        wanted = np.clip(np.log(np.maximum(ratio, 1e-9)), -_FARTHEST, _FARTHEST)
        error = np.abs(wanted - (factors * self._effects[rows]).sum(axis=1))
        weight = 1 / np.maximum(error / _ROBUST, 1.0)
        self._squares[rows] *= _FORGETTING
        self._products[rows] *= _FORGETTING
        self._squares[rows] += (factors * weight[:, None])[:, :, None] * factors[:, None, :]
        self._products[rows] += factors * (weight * wanted)[:, None]
        self._solve(rows)

    def _solve(self, rows: IntArray) -> None:
        eye = np.eye(len(self._all))
        squares = self._squares.sum(axis=0, dtype=np.float64)
        products = self._products.sum(axis=0, dtype=np.float64)
        self._all = np.linalg.solve(squares + _POOLED * eye, products)
        own = self._squares[rows].astype(np.float64)
        rest = self._products[rows] - own @ self._all
        self._effects[rows] = self._all + np.linalg.solve(own + _OWN * eye, rest[..., None])[..., 0]

    def state(self) -> Iterator[Any]:
        """In rows of what JSON can say."""
        for array in (self._squares, self._products, self._effects, self._all):
            yield dump(array)

    def restore(self, rows: Iterator[Any]) -> None:
        """Goes on from a state."""
        self._squares, self._products = load(next(rows)), load(next(rows))
        self._effects, self._all = load(next(rows)), load(next(rows))
