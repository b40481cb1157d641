"""The batch learner that is hard to beat: one LightGBM for all series, refitted at each origin."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadtests.evaluate.frame import Frame
from loadtests.evaluate.rolling import Tick
from ml_online.accuracy import Array, seasonal_error
from ml_online.daily import QUANTILES, SEASON, Forecasts

IntArray = NDArray[np.int64]

_SPAN = 28  # of four models, one for each week, the sum is slower and no better
_LAGS = 6
_WINDOWS = (7, 14, 28, 91, 364)
_TRAINED_DAYS = 730
_CALIBRATED_DAYS = 56
_MOST_ROWS = 300_000
_MOST_TREES = 1_000
_PATIENCE = 50
_PARAMETERS: dict[str, Any] = {
    "objective": "regression_l1",
    "learning_rate": 0.03,
    "num_leaves": 31,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 1.0,
    "seed": 1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


class _Pairs(NamedTuple):
    """What is asked: of a series, at an origin, so many days ahead."""

    row: IntArray
    origin: IntArray
    ahead: IntArray

    @property
    def target(self) -> IntArray:
        return self.origin + self.ahead


def lightgbm(
    frame: Frame, origin: int, horizon: int, judged: NDArray[np.bool_], tick: Tick
) -> tuple[Forecasts, int]:
    """Direct forecasts by one global model for all days ahead (of each four weeks).

    A row is a series, an origin and a day ahead, drawn at random for each day of two years. Its
    target is divided by the series' level at that origin; rows weigh as in MASE, by level over
    the series' seasonal error, under absolute loss. Features: six values of the same weekday, the
    latest that the origin knows; rolling means of 7 to 364 days at the origin; the share of zeros;
    the same time of last year; weekday, day of month and year, days ahead, the series itself; the
    known inputs of the day, of the days beside it and of the two lagged days.
    The last eight weeks before the origin stop the boosting; their errors, in units of the series'
    seasonal error, give the intervals; then it is fitted again with those weeks.
    """
    features = _Features(frame, origin)
    generator = np.random.default_rng(origin)
    point = np.zeros((len(frame.keys), horizon))
    quantiles = np.zeros((*point.shape, len(QUANTILES)))
    rows = np.flatnonzero(judged)
    spans = range(0, horizon, _SPAN)
    for first in spans:
        days = np.arange(first, min(first + _SPAN, horizon))
        model, errors = _fitted(features, origin, days, generator)
        asked = _Pairs(
            np.repeat(rows, len(days)),
            np.full(len(rows) * len(days), origin),
            np.tile(days + 1, len(rows)),
        )
        answer = np.maximum(_answers(model, features, asked), 0).reshape(len(rows), len(days))
        point[np.ix_(rows, days)] = answer
        spread = features.error[rows][:, None, None] * errors
        quantiles[np.ix_(rows, days)] = np.maximum(answer[..., None] + spread, 0)
        tick(1 / len(spans))
    return Forecasts(point, quantiles), 0


class _Features:
    """What is known of series at their origins. Nothing after the last one is looked at."""

    def __init__(self, frame: Frame, origin: int) -> None:
        self.first = frame.first
        self.values = frame.values[:, : origin + 1]
        self.known = frame.known
        some = ~np.isnan(self.values)
        self._sums = _cumulated(np.where(some, self.values, 0))
        self._counts = _cumulated(some.astype(np.float64))
        self._zeros = _cumulated((self.values == 0).astype(np.float64))
        self.begun = np.where(some.any(axis=1), some.argmax(axis=1), origin + 1)
        error = seasonal_error(self.values)
        usual = np.nanmedian(error[error > 0]) if (error > 0).any() else 1.0
        self.error = np.where(error > 0, error, usual)

    def mean(self, asked: _Pairs, window: int) -> Array:
        """Of the days up to the origin; NaN where none is known."""
        begin = np.maximum(asked.origin + 1 - window, 0)
        total, count = (
            found[asked.row, asked.origin + 1] - found[asked.row, begin]
            for found in (self._sums, self._counts)
        )
        mean: Array = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
        return mean

    def level(self, asked: _Pairs) -> Array:
        """What targets are divided by: the mean of four weeks, never far below that of a year."""
        recent, year = (np.nan_to_num(self.mean(asked, days)) for days in (28, 364))
        return np.maximum(np.maximum(recent, year / 4), self.error[asked.row] / 4)

    def value(self, row: IntArray, day: IntArray) -> Array:
        """NaN before the first day."""
        return np.where(day >= 0, self.values[row, np.maximum(day, 0)], np.nan)

    def of(self, asked: _Pairs) -> Array:
        """[pair, feature], values in units of the level."""
        level, target = self.level(asked), asked.target
        lag = -(-asked.ahead // SEASON) * SEASON
        lags = [self.value(asked.row, target - lag - SEASON * back) for back in range(_LAGS)]
        table = np.stack(lags)
        known = ~np.isnan(table)
        count = np.maximum(known.sum(axis=0), 1)
        weekday_mean = np.where(known, table, 0).sum(axis=0) / count
        deviation = np.where(known, np.abs(table - weekday_mean), 0).sum(axis=0) / count
        last_year = [self.value(asked.row, np.minimum(target - 364 + shift, asked.origin))
                     for shift in (-7, 0, 7)]  # fmt: skip
        scaled = [
            *lags, weekday_mean, deviation, *last_year,
            *(self.mean(asked, days) for days in _WINDOWS), self.error[asked.row],
        ]  # fmt: skip
        begin = np.maximum(asked.origin - 27, 0)
        zeros = self._zeros[asked.row, asked.origin + 1] - self._zeros[asked.row, begin]
        plain = [zeros, asked.ahead, asked.row, asked.origin - self.begun[asked.row]]
        plain += self._calendar(target)
        plain += self._inputs(asked, target, lag)
        return np.stack([*(one / level for one in scaled), *plain], axis=1).astype(np.float64)

    def _calendar(self, target: IntArray) -> Sequence[NDArray[Any]]:
        days = (target + self.first - 719_163).astype("datetime64[D]")  # since 1970
        months = days.astype("datetime64[M]")
        years = days.astype("datetime64[Y]")
        of_month = (days - months).astype(np.int64)
        to_end = ((months + 1).astype("datetime64[D]") - days).astype(np.int64)
        of_year = (days - years.astype("datetime64[D]")).astype(np.int64)
        return [(target + self.first) % SEASON, of_month, to_end, of_year]

    def _inputs(self, asked: _Pairs, target: IntArray, lag: IntArray) -> Sequence[Array]:
        last = self.known.shape[1] - 1
        days = [target, target - 1, np.minimum(target + 1, last), target - lag]
        days.append(target - lag - SEASON)
        return [
            self.known[asked.row, np.clip(day, 0, last), number]
            for number in range(self.known.shape[2])
            for day in days
        ]


def _cumulated(values: Array) -> Array:
    return np.hstack([np.zeros((len(values), 1)), np.cumsum(values, axis=1)])


def _drawn(
    features: _Features, first: int, last: int, days: IntArray, generator: np.random.Generator
) -> _Pairs:
    """A pair for every known target day of [first, last], its days ahead drawn at random."""
    row, target = np.nonzero(~np.isnan(features.values[:, max(first, 0) : last + 1]))
    target = target + max(first, 0)
    if len(row) > _MOST_ROWS:
        some = np.sort(generator.choice(len(row), _MOST_ROWS, replace=False))
        row, target = row[some], target[some]
    ahead = generator.choice(days + 1, len(row))
    origin = target - ahead
    old = origin >= features.begun[row] + SEASON
    return _Pairs(row[old], origin[old], ahead[old])


def _fitted(
    features: _Features, origin: int, days: IntArray, generator: np.random.Generator
) -> tuple[Any, Array]:
    """The model of some days ahead, and quantiles of its errors on days that it had not seen."""
    import lightgbm as lgb

    held_out = origin - _CALIBRATED_DAYS
    past = _drawn(features, origin - _TRAINED_DAYS, held_out, days, generator)
    recent = _drawn(features, held_out + 1, origin, days, generator)
    if not len(past.row) or not len(recent.row):
        return None, np.zeros(len(QUANTILES))
    train, test = _table(features, past), _table(features, recent)
    trial = lgb.train(
        _PARAMETERS,
        lgb.Dataset(train[0], train[1], weight=train[2], categorical_feature=_CATEGORICAL),
        _MOST_TREES,
        valid_sets=[lgb.Dataset(test[0], test[1], weight=test[2])],
        callbacks=[lgb.early_stopping(_PATIENCE, verbose=False)],
    )
    missed = (
        features.values[recent.row, recent.target] - _answers(trial, features, recent)
    ) / features.error[recent.row]
    whole = [np.concatenate(parts) for parts in zip(train, test, strict=True)]
    model = lgb.train(
        _PARAMETERS,
        lgb.Dataset(whole[0], whole[1], weight=whole[2], categorical_feature=_CATEGORICAL),
        max(trial.best_iteration, 10),
    )
    return model, np.asarray(np.quantile(missed, QUANTILES), dtype=np.float64)


_CATEGORICAL = [_LAGS + 2 + 3 + len(_WINDOWS) + 1 + 2]
"""Where the series itself stands among the features."""


def _table(features: _Features, asked: _Pairs) -> tuple[Array, Array, Array]:
    """Features, targets and weights."""
    level = features.level(asked)
    weight = level / features.error[asked.row]
    return features.of(asked), features.values[asked.row, asked.target] / level, weight


def _answers(model: Any, features: _Features, asked: _Pairs) -> Array:
    """In units of the values. Without a model, the level."""
    level = features.level(asked)
    if model is None:
        return level
    return np.asarray(model.predict(features.of(asked)) * level, dtype=np.float64)
