"""A shop's months, up to 24 ahead: net revenue and units, in total and at every level that is told.

Hears of closed months, which are scored and learned, and of the days of the month that runs, of
which it says what the whole will come to. Levels need not add up.
"""

from calendar import monthrange
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from msgspec import Struct

from ml_online.family import ModelFamily
from ml_online.month_model import Array
from ml_online.monthly import MonthForecast, MonthlyForecaster, MonthScore, calendar_month, ordinal
from ml_online.nowcast import Rest, expected_rest, nowcast
from streams.codec import Fact
from streams.events import DayClosed, DayFigure, Event, MonthClosed

MEASURES = ("net", "units")

_MOST_SERIES = 5_000  # of one shop, measure and currency; those that come later have no forecasts
_TEN_THOUSAND = 10_000
_MANY = 2_000  # series that take long to close
_MOST_DAYS = 62  # of months that are not closed yet
_SEPARATOR = "\n"
_SPARSE = ("product", "variant")
"""Levels of which a month tells only what was sold; of the others it tells zeros, too."""
_SHOP, _KIND, _DAY = "shop", "kind", "day"  # kinds of rows of the state

Values = dict[str, float]  # by level and key, in ten-thousandths


class MonthKind(NamedTuple):
    """Series that close together."""

    measure: str
    currency: str


class Running(NamedTuple):
    """The month that runs: how many of its days are closed, what they come to, and it all."""

    month: int
    closed: int
    days: int
    so_far: float
    whole: Rest


class _Shop(Struct):
    """`pending` is of a month of which not all parts have come; `days` are of the running one."""

    kinds: dict[MonthKind, MonthlyForecaster] = {}
    pending: dict[MonthKind, Values] = {}
    days: dict[int, dict[MonthKind, Values]] = {}


def series_name(level: str, key: str) -> str:
    """What a series of a level is called among all of its kind."""
    return f"{level}{_SEPARATOR}{key}"


class MonthLearner:
    """Implements `ml_online.family.Learner`."""

    def __init__(self) -> None:
        self._shops: dict[str, _Shop] = {}

    def learn(self, fact: Fact) -> None:
        """Months and days, closed or corrected; what has a date that no calendar has is none."""
        data = fact.data
        try:
            if isinstance(data, MonthClosed):
                first = date.fromisoformat(f"{data.month}-01")
                _month(self._shops.setdefault(fact.event.shop, _Shop()), first, data)
            elif isinstance(data, DayClosed):
                day = date.fromisoformat(data.date)
                _day(self._shops.setdefault(fact.event.shop, _Shop()), day, data)
        except ValueError:
            return

    def shops(self) -> Mapping[str, object]:
        return self._shops

    def takes_long(self, fact: Fact) -> bool:
        """A month that closes of very many series."""
        data, known = fact.data, self._shops.get(fact.event.shop)
        if known is None or not isinstance(data, MonthClosed) or data.part < data.parts:
            return False
        return sum(len(one.keys) for one in known.kinds.values()) > _MANY

    def noticed(self) -> Sequence[Event]:
        """Of months, nothing is told on the log."""
        return ()

    # What is asked.

    def trained_through(self, shop: str) -> int | None:
        """The last month that was learned, an ordinal."""
        known = self._shops.get(shop)
        return max((one.last for one in known.kinds.values()), default=None) if known else None

    def currencies(self, shop: str, measure: str, level: str, key: str) -> list[str]:
        """Those in which there is such a series."""
        known = self._shops.get(shop)
        return sorted(
            kind.currency
            for kind, one in (known.kinds.items() if known else ())
            if kind.measure == measure and series_name(level, key) in one
        )

    def history(self, shop: str, kind: MonthKind, level: str, key: str) -> Array:
        """A series' months up to the last one, NaN where one is not known. Raises KeyError."""
        return self._shops[shop].kinds[kind].history(series_name(level, key))

    def forecast(
        self, shop: str, kind: MonthKind, level: str, key: str, horizon: int
    ) -> MonthForecast:
        """The months after the last one, in ten-thousandths. Raises KeyError; ValueError where no
        month of the series is known."""
        return self._shops[shop].kinds[kind].forecast(series_name(level, key), horizon)

    def scores(self, shop: str, kind: MonthKind, level: str, key: str) -> list[MonthScore]:
        """How well the series was foretold. Raises KeyError."""
        return self._shops[shop].kinds[kind].scores(series_name(level, key))

    def running(self, shop: str, kind: MonthKind, level: str, key: str) -> Running | None:
        """The month after the last one, from its closed days; None before there is one. Raises as
        `forecast`."""
        known = self._shops[shop]
        month = known.kinds[kind].last + 1
        of_month = [day for day in known.days if _month_of(day) == month]
        if not of_month:
            return None
        name = series_name(level, key)
        so_far = sum(known.days[day].get(kind, {}).get(name, 0.0) for day in sorted(of_month))
        days = monthrange(date.fromordinal(of_month[0]).year, calendar_month(month))[1]
        next_one = known.kinds[kind].forecast(name, 1)
        foretold = Rest(float(next_one.point[0]), next_one.quantiles[0])
        rest = expected_rest(so_far, len(of_month), days, foretold)
        return Running(month, len(of_month), days, so_far, nowcast(so_far, rest))

    # What is kept.

    def state(self) -> Iterator[Any]:
        for name, shop in sorted(self._shops.items()):
            yield [_SHOP, name, _plain(shop.pending)]
            for day, values in sorted(shop.days.items()):
                yield [_DAY, name, day, _plain(values)]
            for kind, forecaster in sorted(shop.kinds.items()):
                for row in forecaster.state():
                    yield [_KIND, name, list(kind), row]

    def restore(self, state: Iterable[Any]) -> None:
        self._shops = {}
        rows: dict[tuple[str, MonthKind], list[Any]] = {}
        for what, name, *row in state:
            shop = self._shops.setdefault(name, _Shop())
            if what == _SHOP:
                shop.pending = _by_kind(row[0])
            elif what == _DAY:
                shop.days[row[0]] = _by_kind(row[1])
            else:
                rows.setdefault((name, MonthKind(*row[0])), []).append(row[1])
        for (name, kind), of_kind in rows.items():
            self._shops[name].kinds[kind] = forecaster = MonthlyForecaster()
            forecaster.restore(of_kind)


def _plain(values: Mapping[MonthKind, Values]) -> list[Any]:
    return [[list(kind), sorted(of_kind.items())] for kind, of_kind in sorted(values.items())]


def _by_kind(rows: Iterable[Any]) -> dict[MonthKind, Values]:
    return {MonthKind(*kind): dict(values) for kind, values in rows}


def _month_of(day: int) -> int:
    found = date.fromordinal(day)
    return ordinal(found.year, found.month)


def _values(figures: Iterable[DayFigure], factor: float = 1.0) -> dict[MonthKind, Values]:
    found: dict[MonthKind, Values] = {}
    for figure in figures:
        name = series_name(figure.level, figure.key)
        for measure, value in (("net", int(figure.net)), ("units", figure.units * _TEN_THOUSAND)):
            found.setdefault(MonthKind(measure, figure.currency), {})[name] = value * factor
    return found


def _month(shop: _Shop, first: date, data: MonthClosed) -> None:
    """A month that follows the last one is learned once all of its parts have come; for an earlier
    one, history is mended."""
    month = ordinal(first.year, first.month)
    factor = _whole(first, len(data.days))
    values = {} if factor is None else _values(data.figures, factor)
    last = max((one.last for one in shop.kinds.values()), default=0)
    if month <= last:
        for kind, of_kind in sorted(values.items()):
            _mend(shop.kinds.setdefault(kind, MonthlyForecaster()), month, last, of_kind)
        return
    if data.part == 1:
        shop.pending = {}
    for kind, of_kind in values.items():
        shop.pending.setdefault(kind, {}).update(of_kind)
    if data.part < data.parts:
        return
    for kind in sorted(shop.pending.keys() | shop.kinds.keys()):
        forecaster = shop.kinds.setdefault(kind, MonthlyForecaster())
        told = _with_room(forecaster, shop.pending.get(kind, {}))
        forecaster.close(
            month, told if factor is None or data.revision else _unsold(forecaster) | told
        )
    shop.pending = {}
    shop.days = {day: of_day for day, of_day in shop.days.items() if _month_of(day) > month}


def _whole(first: date, told: int) -> float | None:
    """What the days told of a month, mostly a shop's first, are multiplied by to make a whole one;
    None of less than half of them, which say nothing of it."""
    days = monthrange(first.year, first.month)[1]
    if told >= days:
        return 1.0
    return days / told if 2 * told >= days else None


def _with_room(forecaster: MonthlyForecaster, values: Mapping[str, float]) -> Values:
    """Those that are known, and as many of the new ones with anything to learn as there is room."""
    room = _MOST_SERIES - len(forecaster.keys)
    new = sorted(name for name, value in values.items() if name not in forecaster and value)[:room]
    return {name: value for name, value in values.items() if name in forecaster} | {
        name: values[name] for name in new
    }


def _unsold(forecaster: MonthlyForecaster) -> Values:
    """What a month that does not tell of them says of the known series of sparse levels."""
    return {name: 0.0 for name in forecaster.keys if name.partition(_SEPARATOR)[0] in _SPARSE}


def _mend(
    forecaster: MonthlyForecaster, month: int, last: int, values: Mapping[str, float]
) -> None:
    if not forecaster.last:  # a currency that nobody knew
        forecaster.close(last, {})
    for name, value in sorted(_with_room(forecaster, values).items()):
        forecaster.correct(month, name, value)


def _day(shop: _Shop, day: date, data: DayClosed) -> None:
    """Notes a day of a month that is not closed yet."""
    last = max((one.last for one in shop.kinds.values()), default=0)
    if ordinal(day.year, day.month) <= last:
        return
    of_day = shop.days.setdefault(day.toordinal(), {})
    for kind, values in _values(data.figures).items():
        known = of_day.setdefault(kind, {})
        for name, value in sorted(values.items()):
            if name in known or len(known) < _MOST_SERIES:
                known[name] = value
    for old in sorted(shop.days)[:-_MOST_DAYS]:
        del shop.days[old]


MONTHLY_FORECAST = ModelFamily("monthly_forecast", version=2, new=MonthLearner)
