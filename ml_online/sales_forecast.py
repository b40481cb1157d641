"""What will be sold on each of the next 45 days: net revenue and units, from the whole shop down to
its variants, in a way that adds up.

When a day is closed, what was foretold for it is scored, then it is learned. What is answered is
foretold when it is asked: from what was learned up to the last closed day, and from what is planned
of the days ahead by now.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
from msgspec import Struct

from ml_online.calendar import KNOWN, Calendar
from ml_online.daily import HISTORY, HORIZON, SEASON, Array, DailyForecaster
from ml_online.drift import DriftWatch
from ml_online.family import ModelFamily
from ml_online.sales_series import TEN_THOUSAND, Kind, Measure, New, Series, ShopSeries
from ml_online.shop_forecast import (
    UNIT,
    Known,
    ShopForecast,
    foretold,
    supposed,
)
from ml_online.stock_days import STOCK_DAYS, StockDays
from ml_online.stock_out_forecast import VariantUnits
from streams import codec
from streams.codec import Fact
from streams.events import (
    CalendarEntryPlanned,
    CalendarEntryWithdrawn,
    DayClosed,
    DriftNoticed,
    Event,
)

FIRST_FORECAST = SEASON
"""Closed days of a kind of series that a forecast takes; one that is new among others is foretold
what these sold when they began."""

MANY = 1_000
"""Series, of which a day takes so long to close that others are not to wait for it."""

_OF_LATE = timedelta(days=7)
_NAMESPACE = uuid5(NAMESPACE_URL, "tillstream/drift")
_CALENDAR, _SHOP = "calendar", "shop"  # rows of the state


class Ahead(Struct, frozen=True):
    """One day ahead, in ten-thousandths of the currency or of a unit. `quantiles` are those of
    `daily.QUANTILES`, `naive` is the same weekday's of the last week, `known` what is planned that
    is not as usual."""

    day: date
    horizon: int
    value: int
    quantiles: Sequence[int]
    naive: int
    known: Mapping[str, float]


def _new() -> DailyForecaster:
    return DailyForecaster(KNOWN)


class SalesForecaster:
    """Implements `ml_online.family.Learner`."""

    def __init__(self, stock: StockDays | None = None, new: New = _new) -> None:
        DriftWatch.load()  # River, which takes seconds: now, and not with the first day
        self._new = new
        self._stock = stock
        self._calendar = Calendar()
        self._shops: dict[str, ShopSeries] = {}
        self._noticed: list[Event] = []
        self._changes = 0  # of all that an answer is made from: no part of the state
        self._made = _Made()

    def learn(self, fact: Fact) -> None:
        """A day that follows the last one is learned once all parts of it have come; for an earlier
        one, history is mended. What is planned is noted."""
        name, data = fact.event.shop, fact.data
        if isinstance(data, CalendarEntryPlanned):
            self._calendar.plan(name, data, fact.event.time)
        elif isinstance(data, CalendarEntryWithdrawn):
            self._calendar.withdraw(name, data.entry_id)
        elif isinstance(data, DayClosed):  # DayCorrected is one, too
            shop = self._shops.setdefault(name, ShopSeries(name, self._new, self._stock))
            self._calendar.lies_in(name, data.country)
            shop.stock = self._stock
            shop.hear(data, self._calendar)
            self._calendar.forget(name, before=shop.last - HISTORY + 1)
            self._noticed += _told(shop, fact.event.time)
            shop.shifts.clear()
        else:
            return
        self._changes += 1

    def shops(self) -> Mapping[str, object]:
        return self._shops

    def takes_long(self, fact: Fact) -> bool:
        """A day that closes of very many series."""
        known = self._shops.get(fact.event.shop)
        return known is not None and (
            isinstance(fact.data, DayClosed) and known.size > MANY and known.closes(fact.data)
        )

    def noticed(self) -> Sequence[Event]:
        """Shifts of demand of late; not those that a history has seen."""
        found, self._noticed = self._noticed, []
        return found

    # What is asked.

    def trained_through(self, shop: str) -> date | None:
        """The last day that was learned."""
        known = self._shops.get(shop)
        return date.fromordinal(known.last) if known and known.last else None

    def series(self, shop: str) -> Mapping[Kind, Series]:
        """All series of a shop."""
        known = self._shops.get(shop)
        return known.kinds if known else {}

    def variants(self, shop: str, product: str) -> list[str]:
        """Those of a product that were sold."""
        known = self._shops.get(shop)
        lying = known.parents.get("variant", {}) if known else {}
        return [variant for variant, above in lying.items() if above == product]

    def forecasts(
        self,
        shop: str,
        kind: Kind,
        key: str,
        supposing: Sequence[CalendarEntryPlanned] = (),
        horizon: int = HORIZON,
        contender: str | None = None,
    ) -> list[Ahead]:
        """The days after the last closed one, as they are foretold now, or would be if this were
        planned, too; by who is served, or at all levels by this contender. Empty where too few
        days are closed.

        Raises KeyError where there is no such series, ValueError where there is no such contender.
        """
        of_shop = self._shops[shop]
        series = of_shop.kinds[kind]
        if key not in series.begun:
            raise KeyError(key)
        row = series.row(key)
        if of_shop.last - min(series.begun.values()) + 1 < FIRST_FORECAST:
            return []
        calendar = self._calendar
        planned = self._foretold(of_shop, kind.measure, kind.currency, contender)
        whole = planned.whole[kind.level]
        if supposing:
            calendar = calendar.supposing(shop, supposing)
            whole = supposed(of_shop, kind, planned, _known(of_shop, calendar), horizon)
        if not whole.known[row]:
            return []
        last = of_shop.last
        week = np.nan_to_num(series.forecaster.history(SEASON, [row])[0])
        inputs = calendar.known(shop, kind.level, [key], of_shop.parents, last + 1, HORIZON)[0]
        return [
            Ahead(
                day=date.fromordinal(last + ahead),
                horizon=ahead,
                value=int(whole.point[row, ahead - 1]) * UNIT,
                quantiles=[int(one) * UNIT for one in whole.quantiles[row, ahead - 1]],
                naive=max(0, round(float(week[(ahead - 1) % SEASON]) * TEN_THOUSAND)),
                known={
                    name: float(value)
                    for name, value in zip(KNOWN, inputs[ahead - 1], strict=True)
                    if value
                },
            )
            for ahead in range(1, horizon + 1)
        ]

    def variant_units(self, shop: str, days: int) -> VariantUnits | None:
        """The units of each variant, in all currencies together, as they were asked for on the last
        days and are foretold. None while no day is closed."""
        known = self._shops.get(shop)
        if known is None or not known.last:
            return None
        kinds = [kind for kind in sorted(known.kinds) if kind[::2] == ("units", "variant")]
        keys = list(dict.fromkeys(key for kind in kinds for key in known.kinds[kind].begun))
        row = {key: number for number, key in enumerate(keys)}
        sold = np.full((len(keys), days), np.nan)
        ahead = np.full((len(keys), HORIZON), np.nan)
        for kind in kinds:
            series = known.kinds[kind]
            rows = [row[key] for key in series.begun]
            known_days = series.forecaster.history(days)
            _add(sold[:, days - known_days.shape[1] :], rows, known_days)
            whole = self._foretold(known, kind.measure, kind.currency).whole[kind.level]
            point = np.where(whole.known[:, None], whole.point * UNIT / TEN_THOUSAND, np.nan)
            _add(ahead, rows, point)
        return VariantUnits(known.last, keys, sold, ahead)

    def _foretold(
        self, shop: ShopSeries, measure: Measure, currency: str, contender: str | None = None
    ) -> ShopForecast:
        """Made once for all who ask before something changes."""
        asked = shop.name, measure, currency, contender
        changes, found = self._made.get(asked, (-1, None))
        if found is None or changes != self._changes:
            known = _known(shop, self._calendar)
            found = foretold(shop, measure, currency, known, contender)
            self._made[asked] = self._changes, found
        return found

    # What is kept.

    def state(self) -> Iterator[Any]:
        for row in self._calendar.state():
            yield [_CALENDAR, row]
        for name, shop in sorted(self._shops.items()):
            for row in shop.state():
                yield [_SHOP, name, row]

    def restore(self, state: Iterable[Any]) -> None:
        calendar: list[Any] = []
        shops: dict[str, list[Any]] = {}
        for what, *row in state:
            if what == _CALENDAR:
                calendar.append(row[0])
            else:
                shops.setdefault(row[0], []).append(row[1])
        self._calendar = Calendar()
        if calendar:
            self._calendar.restore(calendar)
        self._shops = {}
        for name, rows in shops.items():
            self._shops[name] = ShopSeries(name, self._new, self._stock)
            self._shops[name].restore(rows)
        self._made.clear()


class _Made(dict[tuple[str, str, str, str | None], tuple[int, ShopForecast]]):
    """What was foretold after so many changes. A branch, which changes at once, makes its own."""

    def __deepcopy__(self, _memo: object) -> "_Made":
        return _Made()


def _known(shop: ShopSeries, calendar: Calendar) -> Known:
    """What is known of the days ahead by a calendar."""
    return lambda kind: shop.known(kind, calendar, shop.last + 1, HORIZON)


def _add(sums: Array, rows: Sequence[int], more: Array) -> None:
    """Adds to these rows; NaN is where nothing is known at all."""
    before = sums[rows]
    both = np.nan_to_num(before) + np.nan_to_num(more)
    sums[rows] = np.where(np.isnan(before) & np.isnan(more), np.nan, both)


def _told(shop: ShopSeries, at: datetime) -> Iterator[Event]:
    """The shifts that were noticed in days that had just passed when they were told."""
    for kind, key, shift in shop.shifts:
        day = date.fromordinal(shift.day)
        if at.date() - day > _OF_LATE:
            continue
        data = DriftNoticed(
            date=day.isoformat(),
            measure=kind.measure,
            currency=kind.currency,
            level=kind.level,
            key=key,
            error_before=f"{shift.before:.4f}",
            error_since=f"{shift.since:.4f}",
        )
        name = "\0".join((shop.name, *kind, key, data.date))
        yield Event(
            id=str(uuid5(_NAMESPACE, name)),
            type="DriftNoticed",
            shop=shop.name,
            subject=data.date,
            time=at,
            received_at=at,
            source="learners",
            data=codec.raw(data),
        )


SALES_FORECAST = ModelFamily(
    "sales_forecast", version=5, new=SalesForecaster, of=(STOCK_DAYS.name,)
)
