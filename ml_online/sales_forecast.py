"""Daily net revenue, in total and by category, for the next 28 days.

Once per closed day: what was foretold for it is scored, then it is learned, then the next 28 days
are foretold and kept. River's Bayesian linear regression learns how a day differs from the mean of
its weekday, relative to the level of its series: one model per shop, level of series and bucket of
horizons, so that many short series teach one another. A forecast is the mean of what it says and of
the weekday's mean, which carries a shop that has one short series.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import Struct

from ml_online import river_state
from ml_online.family import ModelFamily
from ml_online.scores import BUCKETS, HORIZON, SEASON, Made, bucket_of
from ml_online.series import FIRST_FORECAST, HISTORY, Series, features, forecast, target
from streams.codec import Fact
from streams.events import DayClosed

if TYPE_CHECKING:
    from river.linear_model import BayesianLinearRegression

LEVELS = ("total", "category")
MEASURE = "net"

_MOST_SERIES = 5_000  # of one shop; those that come later have no forecasts
_PRIOR_PRECISION = 100.0  # as if that much had been learned of no difference at all
_SHOP, _MODELS, _SERIES = "shop", "models", "series"  # kinds of rows of the state
_BUCKETS = [bucket_of(horizon) for horizon in range(1, HORIZON + 1)]


class SeriesKey(NamedTuple):
    """Which of a shop's series; the key is empty where the level is `total`."""

    level: str
    key: str
    currency: str


class Forecast(Struct, frozen=True):
    """One day ahead, in ten-thousandths of the currency."""

    day: date
    horizon: int
    value: int
    naive: int


class _Shop(Struct):
    """One shop's days: series and models by level."""

    last: int = 0  # the last closed day
    series: dict[SeriesKey, Series] = {}
    models: dict[str, list["BayesianLinearRegression"]] = {}


class SalesForecaster:
    """Implements `ml_online.family.Learner`."""

    def __init__(self) -> None:
        self._shops: dict[str, _Shop] = {}
        _new_model()  # imports River now, and not with the first day

    def learn(self, fact: Fact) -> None:
        """A day that follows the last one is learned; for an earlier one, history is mended."""
        if not isinstance(fact.data, DayClosed):  # DayCorrected is one, too
            return
        try:
            day = date.fromisoformat(fact.data.date).toordinal()
        except ValueError:
            return  # a date that no calendar has
        values = {
            SeriesKey(figure.level, figure.key, figure.currency): int(figure.net)
            for figure in fact.data.figures
            if figure.level in LEVELS
        }
        shop = self._shops.setdefault(fact.event.shop, _Shop())
        if day <= shop.last:
            _mend(shop, day, values)
        else:
            if shop.last and day - shop.last > HISTORY:
                shop.series.clear()  # nothing that is known reaches over such a gap
            else:
                for missing in range(shop.last + 1, day) if shop.last else ():
                    _close(shop, missing, {})  # nobody closed it: nothing was sold
            _close(shop, day, values)

    # What is asked.

    def trained_through(self, shop: str) -> date | None:
        """The last day that was learned."""
        known = self._shops.get(shop)
        return date.fromordinal(known.last) if known and known.last else None

    def series(self, shop: str) -> Mapping[SeriesKey, Series]:
        """All series of a shop."""
        known = self._shops.get(shop)
        return known.series if known else {}

    def forecasts(self, shop: str, key: SeriesKey) -> Sequence[Forecast]:
        """The next 28 days, as foretold at the last close. Empty where the series is too short.

        Raises KeyError where there is no such series.
        """
        known = self._shops[shop]
        series = known.series[key]
        if not series.made or series.made[-1][0] != known.last:
            return []
        made = series.made[-1][1]
        return [
            Forecast(date.fromordinal(known.last + horizon), horizon, *made.forecasts(horizon))
            for horizon in range(1, HORIZON + 1)
        ]

    # What is kept.

    def state(self) -> Iterator[Any]:
        for name, shop in sorted(self._shops.items()):
            yield [_SHOP, name, shop.last]
            for level, models in sorted(shop.models.items()):
                yield [_MODELS, name, level, [river_state.dump(model) for model in models]]
            for key, series in sorted(shop.series.items()):
                yield [_SERIES, name, list(key), msgspec.to_builtins(series)]

    def restore(self, state: Iterable[Any]) -> None:
        self._shops = {}
        for kind, name, *row in state:
            shop = self._shops.setdefault(name, _Shop())
            if kind == _SHOP:
                (shop.last,) = row
            elif kind == _MODELS:
                level, models = row
                shop.models[level] = [river_state.load(_new_model(), model) for model in models]
            else:
                key, series = row
                shop.series[SeriesKey(*key)] = msgspec.convert(series, Series)


def _new_model() -> "BayesianLinearRegression":
    # It takes seconds to import, which only those who learn should spend.
    from river.linear_model import BayesianLinearRegression

    return BayesianLinearRegression(alpha=_PRIOR_PRECISION)


def _close(shop: _Shop, day: int, values: Mapping[SeriesKey, int]) -> None:
    shop.last = day
    for key in sorted(values.keys() - shop.series.keys()):
        if values[key] and len(shop.series) < _MOST_SERIES:
            shop.series[key] = Series(day)
    ordered = sorted(shop.series.items())
    for key, series in ordered:
        value = values.get(key, 0)
        series.score(day, value)
        _learn(_models(shop, key.level), series.values, value)
        series.append(value)
    for key, series in ordered:
        if len(series.values) >= FIRST_FORECAST:
            series.keep(day, _foretell(_models(shop, key.level), series))


def _mend(shop: _Shop, day: int, values: Mapping[SeriesKey, int]) -> None:
    for key, value in sorted(values.items()):
        if key in shop.series:
            shop.series[key].put(day, value)
        elif value and shop.last - day < HISTORY and len(shop.series) < _MOST_SERIES:
            series = shop.series[key] = Series(day)
            for one in [value, *[0] * (shop.last - day)]:
                series.append(one)


def _models(shop: _Shop, level: str) -> "list[BayesianLinearRegression]":
    return shop.models.setdefault(level, [_new_model() for _ in BUCKETS])


def _learn(models: "Sequence[BayesianLinearRegression]", known: Sequence[int], value: int) -> None:
    """Teaches what each origin of the last 28 days should have said about this one."""
    latest = len(known) - 1
    for horizon, bucket in enumerate(_BUCKETS, 1):
        origin = latest + 1 - horizon
        if origin + 1 < FIRST_FORECAST:
            return
        if ground := features(known, origin, horizon):
            models[bucket].learn_one(ground.x, target(value, ground))


def _foretell(models: "Sequence[BayesianLinearRegression]", series: Series) -> Made:
    values = series.values
    last_week = [max(0, value) for value in values[-SEASON:]]
    said = [
        round(forecast(ground, models[bucket].predict_one(ground.x))) if ground else 0
        for horizon, bucket in enumerate(_BUCKETS, 1)
        for ground in (features(values, len(values) - 1, horizon),)
    ]
    return Made(series.scale, said, last_week)


SALES_FORECAST = ModelFamily("sales_forecast", version=2, new=SalesForecaster)
