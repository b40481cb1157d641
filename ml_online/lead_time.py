"""How far the demand of a lead time comes from its forecast: learned from the sums themselves.

What single days are off adds up to no lead time's error: a level that is wrong is wrong on every
day of it. So the sum that is foretold at each close is kept until it is known, and teaches three
things then. First, the mean: a forecast that is right about most days says too little of demand
that comes in bursts, so it is held against what sums came to. Then the variance: what it is above
the mean, relative to the mean's square. In both a series that has shown little yet is taken to be
like others of its volume. And where a sum came to lie in the distribution that was foretold
corrects the distributions to come (`ml_online.placing`).
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_online import arrays
from ml_online.daily import HORIZON, Array, IntArray
from ml_online.placing import Placing
from ml_online.stock_outs import Demand, demand, exceeds, quantile

LEADS = (1, 3, 7, 14, 28, HORIZON)
"""Days; what lies between two of them is interpolated."""

HALF_LIFE = 120.0
"""Days, after which what an error taught counts half."""

_OWN = 10.0  # lead times that a series has to show to count as much as its volume
_OF_VOLUME = 20.0  # as many of a volume, to count as much as all of them
_VOLUMES = np.arange(-6.0, 20.0)  # powers of two: units over the lead time
_MOST = 25.0  # of an excess: more is one wild day's
_MOST_FACTOR = 4.0  # of a forecast
_FADE = 0.5 ** (1.0 / HALF_LIFE)
_LOG_LEADS = np.log(np.array(LEADS, dtype=float))


class LeadTimes:
    """Of series that close together, a row each. `closed` counts their days."""

    def __init__(self) -> None:
        self.closed = 0
        self._actual = np.empty((0, HORIZON))  # of the latest days, by day modulo HORIZON
        # What was foretold, by lead and by day modulo the lead: forecast, mean and excess.
        self._kept = [np.empty((0, lead, 3), dtype=np.float32) for lead in LEADS]
        # By row and lead, faded, of forecasts f and what they came to, y: 1, f, y, ff, fy, yy.
        self._sums = np.empty((0, len(LEADS), 6))
        self._placing = Placing(len(LEADS), _FADE)

    def grow(self, rows: int) -> None:
        """As many rows as this; of new ones nothing is known."""
        more = rows - len(self._actual)
        if more > 0:
            self._actual = _padded(self._actual, more, np.nan)
            self._kept = [_padded(kept, more, np.nan) for kept in self._kept]
            self._sums = _padded(self._sums, more, 0.0)

    # Learning.

    def close(self, values: Array) -> None:
        """A day's demand [row], NaN where it is not known: the sums that end with it are scored."""
        self._actual[:, self.closed % HORIZON] = values
        self.closed += 1
        self._sums *= _FADE
        self._placing.fade()
        for number, lead in enumerate(LEADS):
            if lead <= self.closed:
                self._score(number, lead)

    def _score(self, number: int, lead: int) -> None:
        foretold = self._kept[number][:, self.closed % lead].astype(float)
        realised = self.realised(lead)
        known = np.flatnonzero(~np.isnan(foretold[:, 0]) & ~np.isnan(realised))
        (told, mean, excess), came = foretold[known].T, realised[known]
        taught = (np.ones(len(known)), told, came, told * told, told * came, came * came)
        self._sums[known, number] += np.stack(taught, axis=1)
        of = demand(mean, excess)
        below, upto = 1 - exceeds(of, came - 1), 1 - exceeds(of, came)
        # Sums of overlapping days are worth one of them.
        self._placing.hear(number, mean, below, upto, 1 / lead)

    def realised(self, lead: int) -> Array:
        """The demand of the last `lead` days [row]; NaN where one of them is not known."""
        days = (self.closed - 1 - np.arange(lead)) % HORIZON
        return np.asarray(self._actual[:, days].sum(axis=1))

    def known_units(self, lead: int) -> Array:
        """The same, with nothing for what is not known: the least that the demand was."""
        days = (self.closed - 1 - np.arange(lead)) % HORIZON
        return np.asarray(np.nansum(self._actual[:, days], axis=1))

    def foretell(self, sums: Array) -> None:
        """Keeps what is foretold now: the demand [row, day] of all days up to each one ahead."""
        for number, lead in enumerate(LEADS):
            told = sums[:, lead - 1]
            kept = np.stack([told, *self._of_lead(number, told)], axis=1)
            self._kept[number][:, self.closed % lead] = kept

    # What is asked.

    # `told` is the forecast of the sum of so many days: of all rows, or of these.

    def demand(self, told: Array, days: float, rows: IntArray | None = None) -> Demand:
        """Of such a sum, as its own errors have it; before it is corrected."""
        mean, excess = np.zeros((2, len(told)))
        for number, weight in enumerate(_weights(days)):
            if weight:
                of_lead = self._of_lead(number, told, rows)
                mean, excess = mean + weight * of_lead[0], excess + weight * of_lead[1]
        return demand(mean, excess)

    def exceeds(
        self, told: Array, days: float, stock: Array, rows: IntArray | None = None
    ) -> Array:
        """How likely the demand of so many days is more than the stock."""
        of = self.demand(told, days, rows)
        return self._placing.corrected(_weights(days), of.mean, exceeds(of, stock))

    def quantile(
        self, told: Array, days: float, level: float, rows: IntArray | None = None
    ) -> Array:
        """The least units that suffice for so many days with this probability."""
        of = self.demand(told, days, rows)
        return quantile(of, self._placing.level(_weights(days), of.mean, level))

    def _of_lead(
        self, number: int, told: Array, rows: IntArray | None = None
    ) -> tuple[Array, Array]:
        """Mean and excess of sums of one lead: a series' own errors, drawn toward those of its
        volume, and these toward those of all."""
        count, f, y, ff, fy, yy = self._sums[:, number].T
        weight = count / LEADS[number]
        each = np.maximum(count, 1e-9)
        of_volume = _volume(y / each)
        # The regression of what came on what was foretold (Mincer and Zarnowitz 1969): one slope
        # for a volume, and what each series has besides.
        crossed, squared = (fy - f * y / each) / LEADS[number], (ff - f * f / each) / LEADS[number]
        slopes = _pooled(weight, crossed, squared, of_volume, _MOST_FACTOR, 1.0)
        slope = slopes[of_volume]
        rests = _sums_of(y - slope * f, of_volume) / np.maximum(_sums_of(count, of_volume), 1e-9)
        added = (weight * (y - slope * f) / each + _OWN * rests[of_volume]) / (weight + _OWN)
        mean = slope * f + added * count
        square = slope**2 * ff + 2 * slope * added * f + added**2 * count
        above = yy - 2 * (slope * fy + added * y) + square - mean
        ratios = _pooled(weight, above, square, of_volume, _MOST, 0.0)
        ratio = np.clip(above / np.maximum(square, 1e-12), 0.0, _MOST)
        excess = (weight * ratio + _OWN * ratios[of_volume]) / (weight + _OWN)
        if rows is not None:
            count, slope, added, excess = (one[rows] for one in (count, slope, added, excess))
        alike, known = _volume(np.nan_to_num(told)), count > 0
        slope = np.where(known, slope, slopes[alike])
        added = np.where(known, added, rests[alike])
        excess = np.where(known, excess, ratios[alike])
        found = np.maximum(slope * told + added, 0.0)
        return found, np.where(np.isnan(told), np.nan, excess)

    # What is kept.

    def state(self) -> Iterator[Any]:
        """All of it, in rows of what JSON can say."""
        yield [self.closed, self._placing.state()]
        yield arrays.dump(self._actual)
        yield arrays.dump(self._sums)
        for kept in self._kept:
            yield arrays.dump(kept)

    def restore(self, rows: Iterable[Any]) -> None:
        """Goes on from a state."""
        (self.closed, placing), *rest = rows
        self._placing.restore(placing)
        self._actual, self._sums, *self._kept = map(arrays.load, rest)


def _pooled(
    weight: Array, over: Array, under: Array, of_volume: IntArray, most: float, unknown: float
) -> Array:
    """The ratio of sums by volume, each drawn toward that of all."""
    known, above, below = (_sums_of(sums, of_volume) for sums in (weight, over, under))
    every = unknown
    if below.sum() > 0:
        every = min(max(above.sum() / below.sum(), 0.0), most)
    ratio = np.clip(above / np.maximum(below, 1e-12), 0.0, most)
    return np.asarray((known * ratio + _OF_VOLUME * every) / (known + _OF_VOLUME))


def _sums_of(values: Array, of_volume: IntArray) -> Array:
    return np.bincount(of_volume, weights=values, minlength=len(_VOLUMES)).astype(float)


def _volume(units: Array) -> IntArray:
    """Which power of two a mean is next to, as a number from 0 on."""
    power = np.rint(np.log2(np.maximum(units, 1e-9)) - _VOLUMES[0])
    return np.asarray(np.clip(power, 0, len(_VOLUMES) - 1).astype(np.int64))


def _weights(days: float) -> Array:
    """How much each lead counts for so many days, by their logarithms."""
    log = np.log(min(max(days, LEADS[0]), LEADS[-1]))
    return np.array([np.interp(log, _LOG_LEADS, one) for one in np.eye(len(LEADS))])


def _padded(found: NDArray[Any], more: int, value: float) -> NDArray[Any]:
    return np.concatenate([found, np.full((more, *found.shape[1:]), value, dtype=found.dtype)])
