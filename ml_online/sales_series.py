"""One shop's daily series: they begin, close together, and are mended, as days are told of.

Series of one kind (measure, currency, level) are the rows of one forecaster. A series begins with
its first day that is not zero; a day on which it is not named was a day without sales.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import numpy as np
from msgspec import Struct, field

from ml_online.calendar import Calendar
from ml_online.daily import HISTORY, HORIZON, Array, DailyForecaster
from ml_online.drift import DriftWatch, Shift
from ml_online.stock_days import StockDays, demand
from streams.events import DayClosed, SalesLevel

LEVELS: Sequence[SalesLevel] = ("total", "country", "category", "product", "variant")
Measure: TypeAlias = Literal["net", "units"]
TEN_THOUSAND = 10_000
MOST_SERIES = 5_000
"""Of one kind. Those that come later have no forecasts."""

_GAP = 366  # days without a word, after which a shop begins anew
_SETTLED = 28  # days of a series before its errors tell of a shift
_MOST_WAITING = 8  # days of which not all parts have come
_LYING = ("country", "product", "variant")  # levels whose keys lie in others
_OF_CATEGORIES = ("product", "variant")  # levels of which what is new begins like its category
_CLOSED, _WAITING, _LATE, _PARENTS, _KIND, _FORECASTER, _DRIFT = (
    *("closed", "waiting", "late", "parents"),
    *("kind", "forecaster", "drift"),
)

New = Callable[[], DailyForecaster]


class Kind(NamedTuple):
    """Series that close together."""

    measure: Measure
    currency: str
    level: SalesLevel


Values = Mapping[Kind, Mapping[str, int]]  # by key; in ten-thousandths of a currency or a unit


class Series(Struct):
    """Of one kind: a row each in the forecaster, in the order of `begun`, and since which day."""

    forecaster: DailyForecaster
    begun: dict[str, int] = field(default_factory=dict)
    drift: DriftWatch = field(default_factory=DriftWatch)
    full: bool = False  # some have no room

    def begin(self, keys: Sequence[str], day: int) -> None:
        """New series, as far as there is room; and known ones that have begun later by now."""
        new = [key for key in keys if key not in self.begun]
        room = MOST_SERIES - len(self.begun)
        self.full = self.full or len(new) > room
        self.begun.update((key, day) for key in keys if self.begun.get(key, day) > day)
        self.begun.update(dict.fromkeys(new[:room], day))
        self.forecaster.rows(new[:room])

    def row(self, key: str) -> int:
        """Where a series stands that has begun."""
        return int(self.forecaster.rows([key])[0])

    def correct(self, key: str, day: int, value: float) -> None:
        """Another value of a closed day, NaN where it is not known any more."""
        row = self.row(key)
        if np.isnan(value):
            (known,) = self.forecaster.history(self.forecaster.last - day + 1, [row])
            if np.isnan(known[0]):
                return
        self.forecaster.correct(day, row, value)

    def values(self, told: Mapping[str, int]) -> Array:
        """A day's values as the forecaster takes them."""
        found = np.zeros(len(self.begun))
        known = [key for key in told if key in self.begun]
        found[self.forecaster.rows(known)] = [told[key] / TEN_THOUSAND for key in known]
        return found


class _Waiting(Struct):
    """A day of which not all parts have come."""

    parts: list[int] = field(default_factory=list)
    values: dict[Kind, dict[str, int]] = field(default_factory=dict)


class ShopSeries:
    """All series of a shop. A pure function of what was told, in its order."""

    def __init__(self, name: str, new: New, stock: StockDays | None = None) -> None:
        self.name = name
        self.stock = stock
        self.last = 0  # the last closed day, an ordinal
        self.kinds: dict[Kind, Series] = {}
        self.parents: dict[str, dict[str, str]] = {}
        self.shifts: list[tuple[Kind, str, Shift]] = []  # just noticed; no part of the state
        self._new = new
        self._waiting: dict[int, _Waiting] = {}
        self._late: dict[Kind, dict[int, dict[str, int]]] = {}  # closed days of unknown kinds

    def hear(self, told: DayClosed, calendar: Calendar) -> None:
        """What is told of a day: it closes once all parts of it have come, or is mended."""
        try:
            day = date.fromisoformat(told.date).toordinal()
        except ValueError:
            return  # a date that no calendar has
        self._place(told, news=day > self.last)
        values = values_of(told)
        if day <= self.last:
            self._mend(day, values)
            return
        waiting = self._waiting.setdefault(day, _Waiting())
        for kind, of_kind in values.items():
            waiting.values.setdefault(kind, {}).update(of_kind)
        if told.part not in waiting.parts:
            waiting.parts.append(told.part)
        if told.revision or len(waiting.parts) >= told.parts:
            self._close_up_to(day, calendar)
        elif len(self._waiting) > _MOST_WAITING:
            self._close_up_to(min(self._waiting), calendar)

    def _place(self, told: DayClosed, news: bool) -> None:
        """What each key lies in: by the latest day, so what is long over moves none elsewhere."""
        for figure in told.figures:
            if figure.level in _LYING and (figure.net or figure.units):
                parents = self.parents.setdefault(figure.level, {})
                if news or figure.key not in parents:
                    parents[figure.key] = figure.parent

    @property
    def size(self) -> int:
        """How many series there are."""
        return sum(len(series.begun) for series in self.kinds.values())

    def closes(self, told: DayClosed) -> bool:
        """Whether a day is whole with what is told of it."""
        try:
            day = date.fromisoformat(told.date).toordinal()
        except ValueError:
            return False
        parts = {*(self._waiting[day].parts if day in self._waiting else ()), told.part}
        return day > self.last and (bool(told.revision) or len(parts) >= told.parts)

    def known(self, kind: Kind, calendar: Calendar, first: int, days: int) -> Array:
        """What is known ahead of days, [series, day, KNOWN]."""
        keys = list(self.kinds[kind].begun)
        return calendar.known(self.name, kind.level, keys, self.parents, first, days)

    # Days that close.

    def _close_up_to(self, last: int, calendar: Calendar) -> None:
        """A day, and those before it, whose missing parts nobody waits for any more."""
        for day in sorted(day for day in self._waiting if day <= last):
            values = self._waiting.pop(day).values
            if self.last and day - self.last > _GAP:
                self.kinds.clear()  # nothing that is known reaches over such a gap
                self._late.clear()
                self.parents.clear()
                self.last = 0
            for missing in range(self.last + 1, day) if self.last else ():
                self._close(missing, {}, calendar)  # nobody closed it: nothing was sold
            self._close(day, values, calendar)

    def _close(self, day: int, values: Values, calendar: Calendar) -> None:
        self._catch_up(calendar)
        self.last = day
        for kind in sorted(values.keys() | self.kinds.keys()):
            self._close_kind(kind, day, values.get(kind, {}), calendar)
        for level, parents in self.parents.items():
            if len(parents) > 2 * MOST_SERIES:
                self._forget(level)

    def _forget(self, level: str) -> None:
        """Where those lie that have no series."""
        begun = {
            key for kind, one in self.kinds.items() if kind.level == level for key in one.begun
        }
        known = self.parents[level].items()
        self.parents[level] = {key: parent for key, parent in known if key in begun}

    def _close_kind(
        self, kind: Kind, day: int, told: Mapping[str, int], calendar: Calendar
    ) -> None:
        sold = sorted(key for key, value in told.items() if value)
        if kind not in self.kinds and not sold:
            return
        series = self.kinds.setdefault(kind, Series(self._new()))
        series.begin(sold, day)
        known = self.known(kind, calendar, day, 1 + HORIZON)
        values = self._demand(kind, day, series.values(told))
        groups = self.groups(kind)
        alike = groups if kind.level in _OF_CATEGORIES else None
        series.forecaster.close(day, values, known[:, 0], known[:, 1:], alike)
        errors: dict[str, list[float]] = {}
        last = series.forecaster.scored.errors
        for group, begun, error in zip(groups, series.begun.values(), last, strict=False):
            if day - begun >= _SETTLED and error == error:  # NaN is nobody's
                errors.setdefault(group, []).append(float(error))
        means = {group: sum(of_group) / len(of_group) for group, of_group in errors.items()}
        for shifted, shift in series.drift.hear(day, means).items():
            series.forecaster.shift([n for n, group in enumerate(groups) if group == shifted])
            self.shifts.append((kind, shifted, shift))

    def _demand(self, kind: Kind, day: int, values: Array) -> Array:
        """What variants would have sold: not known of those that were out of stock."""
        series = self.kinds[kind]
        for key, share in self._out_of_stock(kind, day).items():
            if key in series.begun:
                row = series.row(key)
                values[row] = demand(float(values[row]), share)
        return values

    def _out_of_stock(self, kind: Kind, day: int) -> Mapping[str, float]:
        """For what share of a day there was nothing of variants; of other levels that says none."""
        if self.stock is None or kind.level != "variant":
            return {}
        return self.stock.censored(self.name, day)

    def groups(self, kind: Kind) -> list[str]:
        """With which others each series drifts, and begins alike: its category's, where it has
        one."""
        keys = self.kinds[kind].begun
        products, variants = (self.parents.get(level, {}) for level in ("product", "variant"))
        if kind.level == "product":
            return [products.get(key, "") for key in keys]
        if kind.level == "variant":
            return [products.get(variants.get(key, ""), "") for key in keys]
        return list(keys)

    # Days that are mended.

    def _mend(self, day: int, values: Values) -> None:
        """Other values of a day that is closed. Days without a sale before the first begin no
        series: of a history that is read into a living shop come years of them."""
        for kind, told in sorted(values.items()):
            series = self.kinds.get(kind)
            if series is None:
                self._put_off(kind, day, told)
                continue
            sold = sorted(key for key, value in told.items() if value)
            if self.last - day < HISTORY:
                series.begin(sold, day)
            out = self._out_of_stock(kind, day)
            for key, value in sorted(told.items()):
                if day >= series.begun.get(key, self.last + 1):
                    series.correct(key, day, demand(value / TEN_THOUSAND, out.get(key, 0.0)))

    def _put_off(self, kind: Kind, day: int, told: Mapping[str, int]) -> None:
        """Keeps a closed day of a kind of which nothing is known, as more of them may come."""
        if self.last - day >= HISTORY:
            return
        days = self._late.get(kind, {})
        known = {**days.pop(day, {}), **told}
        sold = sorted(key for key, value in known.items() if value)[:MOST_SERIES]
        if sold:
            days[day] = {key: known[key] for key in sold}
        if days:
            self._late[kind] = days
        else:
            self._late.pop(kind, None)

    def _catch_up(self, calendar: Calendar) -> None:
        """Learns the days that were put off, in their order, as if they had been told in time."""
        for kind, days in sorted(self._late.items()):
            for day in range(min(days), self.last + 1):
                self._close_kind(kind, day, days.get(day, {}), calendar)
        self._late.clear()

    # What is kept.

    def state(self) -> Iterator[Any]:
        """All of it, in rows of what JSON can say."""
        yield [_CLOSED, self.last]
        for day, waiting in sorted(self._waiting.items()):
            values = [[*kind, of_kind] for kind, of_kind in sorted(waiting.values.items())]
            yield [_WAITING, day, waiting.parts, values]
        for kind, days in sorted(self._late.items()):
            for day, sold in sorted(days.items()):
                yield [_LATE, *kind, day, sold]
        for level, parents in sorted(self.parents.items()):
            # In their order: sums over them are made in it.
            yield [_PARENTS, level, list(parents.items())]
        for kind, series in sorted(self.kinds.items()):
            yield [_KIND, *kind, list(series.begun.items()), series.full]
            for row in series.forecaster.state():
                yield [_FORECASTER, *kind, row]
            for row in series.drift.state():
                yield [_DRIFT, *kind, row]

    def restore(self, rows: Iterable[Any]) -> None:
        """Goes on from a state."""
        inner: dict[tuple[str, Kind], list[Any]] = {}
        for what, *row in rows:
            if what == _CLOSED:
                (self.last,) = row
            elif what == _WAITING:
                day, parts, values = row
                of_kinds = {Kind(*kind): dict(told) for *kind, told in values}
                self._waiting[day] = _Waiting(list(parts), of_kinds)
            elif what == _LATE:
                *kind, day, sold = row
                self._late.setdefault(Kind(*kind), {})[day] = dict(sold)
            elif what == _PARENTS:
                self.parents[row[0]] = dict(row[1])
            elif what == _KIND:
                *kind, begun, full = row
                self.kinds[Kind(*kind)] = Series(self._new(), dict(begun), full=full)
            else:
                *kind, one = row
                inner.setdefault((what, Kind(*kind)), []).append(one)
        for kind, series in self.kinds.items():
            series.forecaster.restore(inner[_FORECASTER, kind])
            series.drift.restore(inner.get((_DRIFT, kind), []))


def values_of(told: DayClosed) -> Values:
    """What is told of a day, by kind and key."""
    found: dict[Kind, dict[str, int]] = {}
    for figure in told.figures:
        if figure.level in LEVELS:
            net = Kind("net", figure.currency, cast(SalesLevel, figure.level))
            found.setdefault(net, {})[figure.key] = int(figure.net)
            units = net._replace(measure="units")
            found.setdefault(units, {})[figure.key] = figure.units * TEN_THOUSAND
    return found
