"""Monthly series, up to 24 months ahead: foretold, scored, then learned, month by month.

What is kept of a series is its last ten years and what was foretold of the months to come, so that
a month costs the same whenever it closes, and a correction mends whatever it touches.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ml_online.arrays import dump, load
from ml_online.daily import QUANTILES
from ml_online.month_model import HISTORY, SEASON, Array, Foretold, foretell

HORIZON = 24
MODELS = ("tillstream", "seasonal_naive")
SCORED = (1, 2, 3, 6, 9, 12, 18, 24)
"""Months ahead that are scored."""
MENDED = 3
"""Months after which a correction mends history, but no scores any more."""
FIRST_SEASONAL = 2 * SEASON
"""Months by which seasonality can be told from noise."""

_AT_ONCE = 1_000  # rows that are foretold together
_LOW_95, _LOW_80, _HIGH_80, _HIGH_95 = (QUANTILES.index(q) for q in (0.025, 0.1, 0.9, 0.975))
# Of what was foretold: the value, the naive's, the intervals' ends, what errors are relative to.
_POINT, _NAIVE, _ENDS_80, _ENDS_95, _SCALE, _KEPT = 0, 1, (2, 3), (4, 5), 6, 7
# Of scores: pairs, absolute errors, pairs that have a scale, scaled errors, hits of the intervals.
_PAIRS, _ERRORS, _SCALED_PAIRS, _SCALED, _WITHIN_80, _WITHIN_95, _SUMS = (
    0,
    (1, 2),
    3,
    (4, 5),
    6,
    7,
    8,
)


class MonthForecast(NamedTuple):
    """Of one series: values [month ahead], quantiles in the order of QUANTILES [month ahead, 7],
    and whether two seasons are known. Of one, what is known of it counts for about half."""

    point: Array
    quantiles: Array
    seasonal: bool


class MonthScore(NamedTuple):
    """Of one horizon. MAE and MASE are by model; None where there is nothing to tell."""

    horizon: int
    pairs: int
    mae: Mapping[str, float | None]
    mase: Mapping[str, float | None]
    coverage_80: float | None
    coverage_95: float | None


def ordinal(year: int, month: int) -> int:
    """Months since January of the year 0."""
    return year * SEASON + month - 1


def calendar_month(month: int) -> int:
    """1 to 12, of an ordinal."""
    return month % SEASON + 1


def forecast_months(values: Sequence[float], horizon: int, first_month: int) -> MonthForecast:
    """The months after these, of which the first was of calendar month `first_month`, 1 to 12.

    One month is enough; NaN is one that is not known. Raises ValueError where none is, or for a
    horizon that is not of 1 to 24.
    """
    if not 1 <= horizon <= HORIZON:
        raise ValueError(f"1 to {HORIZON} months ahead, not {horizon}")
    known = np.asarray(values, dtype=np.float64)
    count = int((~np.isnan(known)).sum())
    if not count:
        raise ValueError("a forecast takes a month")
    found = foretell(known[None], first_month, horizon)
    return MonthForecast(found.point[0], found.quantiles[0], count >= FIRST_SEASONAL)


class MonthlyForecaster:
    """All series of one kind. What it does is a pure function of months and corrections in their
    order; asking changes nothing."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.last = 0  # the last closed month, an ordinal; 0 before any
        self._row: dict[str, int] = {}
        self._values = np.empty((0, 0))
        self._sums = np.zeros((0, len(SCORED), _SUMS))
        # Of each scored horizon [origin, row, what is kept], the latest origin last.
        self._made = {horizon: np.empty((0, 0, _KEPT)) for horizon in SCORED}

    def close(self, month: int, values: Mapping[str, float]) -> None:
        """A month that is over. What was foretold for it is scored, then it is learned, then those
        to come are foretold. Series without a value, and months that are left out, stay unknown.

        Raises ValueError where it is not after the last one.
        """
        if self.last and month <= self.last:
            raise ValueError(f"month {month} does not follow {self.last}")
        if self.last and month - self.last > HISTORY:
            self._forget()  # nothing that is known reaches over such a gap
        self._add(values)
        for _ in range(self.last + 1, month) if self.last else ():
            self._append(np.full(len(self.keys), np.nan))
        self.last = month
        latest = np.array([values.get(key, np.nan) for key in self.keys], dtype=np.float64)
        for number, horizon in enumerate(SCORED):
            if len(made := self._made[horizon]) >= horizon:
                self._sums[:, number] += _scored(made[-horizon], latest)
        self._values = np.hstack([self._values, latest[:, None]])[:, -HISTORY:]
        self._keep()

    def correct(self, month: int, key: str, value: float) -> None:
        """Another value of a month that is over, and of what was scored on it. What lies before the
        history stays as it was."""
        at = self._values.shape[1] - 1 - (self.last - month)
        if not 0 <= at < self._values.shape[1]:
            return
        self._add([key])
        row = self._row[key]
        for number, horizon in enumerate(SCORED):
            back = self.last - month + 1 + horizon  # 1 is the latest origin
            if back <= len(made := self._made[horizon]):
                foretold = made[-back, row][None]
                old, new = np.array([self._values[row, at]]), np.array([value])
                self._sums[row, number] += (_scored(foretold, new) - _scored(foretold, old))[0]
        self._values[row, at] = value

    # What is asked.

    def __contains__(self, key: str) -> bool:
        return key in self._row

    def history(self, key: str) -> Array:
        """The months up to the last one from the first that is known. Raises KeyError."""
        values = self._values[self._row[key]]
        known = np.flatnonzero(~np.isnan(values))
        return np.array(values[known[0] :] if len(known) else values[:0])

    def forecast(self, key: str, horizon: int = HORIZON) -> MonthForecast:
        """The months after the last one. Raises KeyError; ValueError as `forecast_months`."""
        known = self.history(key)
        return forecast_months(known.tolist(), horizon, calendar_month(self.last + 1 - len(known)))

    def scores(self, key: str) -> list[MonthScore]:
        """How well it was foretold, by horizon. Raises KeyError."""
        return [
            _score(horizon, sums)
            for horizon, sums in zip(SCORED, self._sums[self._row[key]], strict=True)
        ]

    # What is kept.

    def state(self) -> Iterator[Any]:
        """All of it, in rows of what JSON can say."""
        yield [self.last, self.keys]
        for array in (self._values, self._sums, *self._made.values()):
            yield dump(array)

    def restore(self, rows: Iterable[Any]) -> None:
        """Goes on from a state."""
        (self.last, keys), *arrays = rows
        self.keys = list(keys)
        self._row = {key: row for row, key in enumerate(self.keys)}
        self._values, self._sums, *made = map(load, arrays)
        self._made = dict(zip(SCORED, made, strict=True))

    def _add(self, keys: Iterable[str]) -> None:
        new = [key for key in keys if key not in self._row]
        for key in new:
            self._row[key] = len(self.keys)
            self.keys.append(key)
        if new:
            none = np.full((len(new), self._values.shape[1]), np.nan)
            self._values = np.vstack([self._values, none])
            self._sums = np.vstack([self._sums, np.zeros((len(new), *self._sums.shape[1:]))])
            self._made = {
                horizon: np.hstack([made, np.full((len(made), len(new), _KEPT), np.nan)])
                for horizon, made in self._made.items()
            }

    def _forget(self) -> None:
        """Its history and what was foretold; keys and scores stay."""
        self._values = np.empty((len(self.keys), 0))
        self._made = {horizon: np.empty((0, len(self.keys), _KEPT)) for horizon in SCORED}
        self.last = 0

    def _append(self, values: Array) -> None:
        self._values = np.hstack([self._values, values[:, None]])[:, -HISTORY:]
        self._keep()

    def _keep(self) -> None:
        """What is foretold at the latest close, as long as it can be scored and mended."""
        made = np.full((len(SCORED), len(self.keys), _KEPT), np.nan)
        first = calendar_month(self.last + 1 - self._values.shape[1])
        for start in range(0, len(self.keys), _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            values = self._values[rows]
            made[:, rows] = _to_keep(values, foretell(values, first, HORIZON))
        for number, horizon in enumerate(SCORED):
            kept = [*self._made[horizon], made[number]][-(horizon + MENDED) :]
            self._made[horizon] = np.array(kept)


def _to_keep(values: Array, found: Foretold) -> Array:
    """[horizon, row, what is kept]."""
    made = np.empty((len(SCORED), len(values), _KEPT))
    for number, horizon in enumerate(SCORED):
        made[number, :, _POINT] = found.point[:, horizon - 1]
        quantiles = found.quantiles[:, horizon - 1]
        made[number][:, _ENDS_80] = quantiles[:, (_LOW_80, _HIGH_80)]
        made[number][:, _ENDS_95] = quantiles[:, (_LOW_95, _HIGH_95)]
        made[number, :, _NAIVE] = seasonal_naive(values, horizon)
        made[number, :, _SCALE] = naive_error(values)
    return made


def seasonal_naive(values: Array, horizon: int) -> Array:
    """The same month of the last year; before there is one, the last month [row]."""
    at = values.shape[1] - SEASON + (horizon - 1) % SEASON
    last = values[:, -1]
    same = values[:, at] if at >= 0 else last
    return np.where(np.isnan(same), last, same)


def naive_error(values: Array) -> Array:
    """What errors are relative to: how far off the seasonal naive was in the months known so far,
    and before a year is over, how much one month differs from the next; NaN where neither is."""
    return np.where(np.isnan(yearly := _step(values, SEASON)), _step(values, 1), yearly)


def _step(values: Array, months: int) -> Array:
    """The mean absolute difference of months so far apart; NaN where it is none, or nothing."""
    differences = np.abs(values[:, months:] - values[:, :-months])
    known = ~np.isnan(differences)
    mean = np.where(known, differences, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.where(mean > 0, mean, np.nan)


def _scored(made: Array, actual: Array) -> Array:
    """What a month adds to the sums [row, sum]; nothing where it, or its forecast, is not known."""
    pairs = ~np.isnan(actual) & ~np.isnan(made[:, _POINT])
    found = np.zeros((len(made), _SUMS))
    found[:, _PAIRS] = pairs
    scaled = pairs & ~np.isnan(made[:, _SCALE])
    found[:, _SCALED_PAIRS] = scaled
    for model, (plain, relative) in enumerate(zip(_ERRORS, _SCALED, strict=True)):
        error = np.abs(actual - made[:, model])
        found[:, plain] = np.where(pairs, error, 0)
        found[:, relative] = np.where(scaled, error / made[:, _SCALE], 0)
    for hits, (low, high) in ((_WITHIN_80, _ENDS_80), (_WITHIN_95, _ENDS_95)):
        found[:, hits] = pairs & (made[:, low] <= actual) & (actual <= made[:, high])
    return found


def _score(horizon: int, sums: Array) -> MonthScore:
    pairs, scaled = int(sums[_PAIRS]), int(sums[_SCALED_PAIRS])
    return MonthScore(
        horizon,
        pairs,
        {
            name: float(sums[at]) / pairs if pairs else None
            for name, at in zip(MODELS, _ERRORS, strict=True)
        },
        {
            name: float(sums[at]) / scaled if scaled else None
            for name, at in zip(MODELS, _SCALED, strict=True)
        },
        float(sums[_WITHIN_80]) / pairs if pairs else None,
        float(sums[_WITHIN_95]) / pairs if pairs else None,
    )
