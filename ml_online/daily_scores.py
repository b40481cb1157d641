"""How well forecasts did, over any window: sums by day, model and horizon.

Every measure is a ratio of sums, and those of a window are the sums of its days. Days that are too
old to be kept one by one stay in the sums of all days; of each series there is one running total.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ml_online.arrays import dump, load
from ml_online.daily_intervals import INTERVALS, QUANTILES

Array = NDArray[np.float64]

HORIZONS = (1, 2, 3, 4, 5, 6, 7, 10, 14, 17, 21, 24, 28, 31, 35, 40, 45)
"""Days ahead at which forecasts are scored."""
BUCKETS = ((1, 7), (8, 14), (15, 28), (29, 45))
DAYS = 400
"""Days that are kept one by one, at the least."""

_FOLDED = 50  # days at a time become part of the sums of all days
_COUNT, _ABSOLUTE, _SQUARED, _ACTUAL = range(4)
_SKILLED, _ABOUT_MEAN = 4, 5
_SCALED_COUNT, _SCALED, _SCALED_SQUARED = range(6, 9)
_QUANTILE_COUNT, _PINBALL, _WITHIN_50, _WITHIN_80, _WITHIN_95 = range(9, 14)
_SUMS = 14
_WITHIN = {"50": _WITHIN_50, "80": _WITHIN_80, "95": _WITHIN_95}
_AT = {horizon: number for number, horizon in enumerate(HORIZONS)}
_LEVELS = np.array(QUANTILES)


class Score(Struct, frozen=True):
    """Of one model, over `pairs` of a series' day and a horizon. None where nothing was scored.

    `mae`, `rmse` and `crps` are in the unit of the series. `r2` compares with the mean of each
    series as it was known before the day (out of sample: Campbell and Thompson 2008): without skill
    it is 0, however much series differ from each other. `wape`, `mase`, `rmsse` are relative; the
    scale is the seasonal naive's error in sample. `crps` is twice the mean pinball loss, which is
    the weighted interval score (Bracher et al. 2021). `coverage` is the share of days within the
    50, 80 and 95 % intervals.
    """

    pairs: int
    mae: float | None = None
    rmse: float | None = None
    r2: float | None = None
    wape: float | None = None
    mase: float | None = None
    rmsse: float | None = None
    crps: float | None = None
    coverage: Mapping[str, float] | None = None


Scores = Mapping[str, Score]  # by model


class Span(NamedTuple):
    """Scores of days ahead from one to another, or of a day; both ends included."""

    first: int
    last: int
    scores: Scores


class DailyScores:
    """Sums of errors: a pure function of what was added, in its order.

    `errors` are those of the first model on the latest day, one day ahead, as multiples of the
    scale [series]; NaN where there is none. A drift is told by them.
    """

    def __init__(self) -> None:
        self.models: list[str] = []
        self.first = 0  # the first day that is kept by itself; 0 before any
        self.errors: Array = np.empty(0)
        self._days: Array = np.zeros((0, 0, len(HORIZONS), _SUMS))
        self._used = 0  # of these days
        self._before: Array = np.zeros((0, len(HORIZONS), _SUMS))
        self._series: Array = np.zeros((0, 0, _SUMS))
        self._known: Array = np.zeros((0, 2))  # of each series: days before the last, and their sum
        self._latest: Array = np.empty(0)  # the last day's values

    def add(
        self,
        day: int,
        model: str,
        horizons: Sequence[int],
        actual: Array,
        point: Array,
        scale: Array,
        quantiles: Array | None = None,
        sign: int = 1,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        """What a model had said of a day, beside what came; called before anything learns the day.

        actual [series], point and scale [horizon, series], quantiles [horizon, series, quantile] in
        the order of QUANTILES: NaN is not scored, and not scaled where the scale is 0. Days come in
        their order. With `sign` −1 it takes back what was added of a value that has been corrected.
        The series are all, or the first of them, or those of `rows`.
        """
        number = self._model(model)
        of = np.arange(len(actual)) if rows is None else rows
        self._room(int(of.max(initial=-1)) + 1)
        if sign > 0:
            self._begin(day)
        if sign > 0 and day == self.last:
            self._latest[of] = np.where(np.isnan(actual), self._latest[of], actual)
            if number == 0 and 1 in horizons and len(actual) >= len(self.errors):
                at = list(horizons).index(1)
                self.errors = _errors(actual, point[at], scale[at])
        sums = self._sums(actual, point, scale, quantiles, self._known[of])
        places = [_AT[horizon] for horizon in horizons]
        of_day = self._before[number]
        if day >= self.first:
            of_day = self._days[day - self.first, number]
        of_day[places] += sign * sums.sum(axis=1)
        self._series[of, number] += sign * sums.sum(axis=0)

    # Asking.

    def window(
        self, first: int | None = None, last: int | None = None, ahead: tuple[int, int] = (1, 45)
    ) -> Scores:
        """Of the days from `first` to `last`, or of all, and so many days ahead."""
        return self._scores(self._summed(first, last)[:, _places(*ahead)].sum(axis=1))

    def by_bucket(self, first: int | None = None, last: int | None = None) -> list[Span]:
        """For each bucket of horizons."""
        sums = self._summed(first, last)
        return [
            Span(*ahead, self._scores(sums[:, _places(*ahead)].sum(axis=1))) for ahead in BUCKETS
        ]

    def by_horizon(self, first: int | None = None, last: int | None = None) -> list[Span]:
        """For each horizon."""
        sums = self._summed(first, last)
        return [Span(h, h, self._scores(sums[:, at])) for h, at in _AT.items()]

    def by_day(
        self, first: int | None = None, last: int | None = None, ahead: tuple[int, int] = (1, 45)
    ) -> list[Span]:
        """For each of the days that are kept by themselves."""
        until = self.last if last is None else min(last, self.last)
        days = range(max(first or 0, self.first), until + 1)
        places = _places(*ahead)
        return [
            Span(day, day, self._scores(self._days[day - self.first][:, places].sum(axis=1)))
            for day in days
        ]

    def of_series(self, row: int) -> Scores:
        """Of one series, over all days and horizons."""
        if row >= len(self._series):
            return self._scores(np.zeros((len(self.models), _SUMS)))
        return self._scores(self._series[row])

    @property
    def last(self) -> int:
        """The last day that was scored; one before the first where there is none."""
        return self.first + self._used - 1

    # Keeping.

    def state(self) -> Iterator[Any]:
        """All of it, in rows of what JSON can say."""
        yield [self.models, self.first, self._used]
        kept = (self._days[: self._used], self._before, self._series, self._known)
        for array in (self.errors, *kept, self._latest):
            yield dump(array)

    def restore(self, rows: Iterable[Any]) -> None:
        """Goes on from a state."""
        (self.models, self.first, self._used), *arrays = rows
        self.models = list(self.models)
        self.errors, self._days, self._before, self._series, self._known, self._latest = map(
            load, arrays
        )

    # Inside.

    def _model(self, name: str) -> int:
        if name not in self.models:
            self.models.append(name)
            self._days = _grown(self._days, 1, len(self.models))
            self._before = _grown(self._before, 0, len(self.models))
            self._series = _grown(self._series, 1, len(self.models))
        return self.models.index(name)

    def _room(self, series: int) -> None:
        if series > len(self._series):
            self._series = _grown(self._series, 0, series)
            self._known = _grown(self._known, 0, series)
            more = np.full(series - len(self._latest), np.nan)
            self._latest = np.concatenate([self._latest, more])

    def _begin(self, day: int) -> None:
        """Makes a row for a new day; what came on the last one is now known."""
        if self.first and day <= self.last:
            return
        came = ~np.isnan(self._latest)
        self._known[came, 0] += 1
        self._known[came, 1] += self._latest[came]
        self._latest[:] = np.nan
        self.first = self.first or day
        while day - self.first >= DAYS + _FOLDED:
            self._before += self._days[:_FOLDED].sum(axis=0)
            self._days[:-_FOLDED] = self._days[_FOLDED:]
            self._days[-_FOLDED:] = 0
            self.first += _FOLDED
        self._used = day - self.first + 1
        if self._used > len(self._days):
            self._days = _grown(self._days, 0, min(2 * self._used + 8, DAYS + _FOLDED))

    def _sums(
        self,
        actual: Array,
        point: Array,
        scale: Array,
        quantiles: Array | None,
        known: Array,
    ) -> Array:
        """What is added up of each horizon and series."""
        error = point - actual
        scored = ~np.isnan(error)
        error = np.where(scored, error, 0.0)
        value = np.where(scored, actual, 0.0)
        days, total = known.T
        about = value - total / np.maximum(days, 1)
        skilled = scored & (days > 0)
        scaled = scored & (scale > 0)
        relative = np.divide(error, scale, out=np.zeros_like(error), where=scaled)
        sums = np.zeros((*error.shape, _SUMS))
        sums[..., _COUNT] = scored
        sums[..., _ABSOLUTE] = np.abs(error)
        sums[..., _SQUARED] = error**2
        sums[..., _ACTUAL] = np.abs(value)
        sums[..., _SKILLED] = np.where(skilled, error**2, 0.0)
        sums[..., _ABOUT_MEAN] = np.where(skilled, about**2, 0.0)
        sums[..., _SCALED_COUNT] = scaled
        sums[..., _SCALED] = np.abs(relative)
        sums[..., _SCALED_SQUARED] = relative**2
        if quantiles is not None:
            told = scored & ~np.isnan(quantiles).any(axis=2)
            below = actual[:, None] - quantiles
            loss = np.maximum(_LEVELS * below, (_LEVELS - 1) * below).mean(axis=2)
            sums[..., _QUANTILE_COUNT] = told
            sums[..., _PINBALL] = np.where(told, loss, 0.0)
            for percent, (low, high) in INTERVALS.items():
                within = (quantiles[..., low] <= actual) & (actual <= quantiles[..., high])
                sums[..., _WITHIN[percent]] = told & within
        return sums

    def _summed(self, first: int | None, last: int | None) -> Array:
        """[model, horizon, sum] of a window."""
        begin = 0 if first is None else max(0, first - self.first)
        end = self._used if last is None else max(0, min(self._used, last + 1 - self.first))
        found: Array = self._days[begin:end].sum(axis=0)
        return found + self._before if first is None else found

    def _scores(self, sums: Array) -> Scores:
        return {name: score(sums[number]) for number, name in enumerate(self.models)}


def score(sums: Array) -> Score:
    """The measures that sums come to."""
    pairs = round(sums[_COUNT])
    if not pairs:
        return Score(0)
    skilled, squared = (_of(sums, _SKILLED, _ABOUT_MEAN), _of(sums, _SCALED_SQUARED, _SCALED_COUNT))
    pinball = _of(sums, _PINBALL, _QUANTILE_COUNT)
    coverage = {percent: _of(sums, place, _QUANTILE_COUNT) for percent, place in _WITHIN.items()}
    return Score(
        pairs=pairs,
        mae=_of(sums, _ABSOLUTE, _COUNT),
        rmse=math.sqrt(max(sums[_SQUARED], 0.0) / pairs),
        r2=None if skilled is None else 1 - skilled,
        wape=_of(sums, _ABSOLUTE, _ACTUAL),
        mase=_of(sums, _SCALED, _SCALED_COUNT),
        rmsse=None if squared is None else math.sqrt(max(squared, 0.0)),
        crps=None if pinball is None else 2 * pinball,
        coverage={name: share for name, share in coverage.items() if share is not None} or None,
    )


def _of(sums: Array, part: int, whole: int) -> float | None:
    return float(sums[part] / sums[whole]) if sums[whole] > 0 else None


def _places(first: int, last: int) -> list[int]:
    return [at for horizon, at in _AT.items() if first <= horizon <= last]


def _errors(actual: Array, point: Array, scale: Array) -> Array:
    found = np.full(len(actual), np.nan)
    np.divide(actual - point, scale, out=found, where=scale > 0)
    return found


def _grown(array: Array, axis: int, size: int) -> Array:
    """With zeros at the end of one axis."""
    more = [(0, 0)] * array.ndim
    more[axis] = (0, size - array.shape[axis])
    found: Array = np.pad(array, more)
    return found
