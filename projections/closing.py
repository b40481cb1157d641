"""When a day of a shop is over, and what is told of it: pure functions.

Two clocks decide. The log's: its watermark (the least `complete_to` of the partitions of `orders`)
says that whatever was appended before a moment is applied. It says no more, for events of the past
are appended today. And the shop's: a shop is live from the first day of which something was heard
before it was over, and from then on the wall clock ends its days, sales or none.

What lies before is history, and comes as fast as someone can read a file, its partitions unevenly.
There a day is over once something of a later day was heard and both have settled, by the log's
clock; or once the importer says that all of it is there; or after a long silence.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import date, datetime, timedelta
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

from msgspec import Struct

from projections.clock import ShopClock
from streams import codec
from streams.codec import Refused
from streams.events import DayClosed, DayCorrected, DayFigure, Event
from streams.money import Money, SignedMoney

_NAMESPACE = uuid5(NAMESPACE_URL, "tillstream/days")
_DAY = timedelta(days=1)
_MOST_BURSTS = 10  # what never settles is told nevertheless, after so many times the rest
_MOST_FIGURES = 800  # in an event: at the largest some 1,000 bytes each


# When.


class Rules(Struct, frozen=True):
    """How days end. `grace`: how long after its end a day waits for what is late. `settle`: how
    long what is late must have rested before it is told."""

    clock: ShopClock
    grace: timedelta
    settle: timedelta

    def over(self, day: date) -> datetime:
        """When a day ends for whoever is live."""
        return self.clock.midnight(day + _DAY) + self.grace

    def silent(self, since: datetime) -> datetime:
        """When a history that rests since then is taken to be complete."""
        return since + max(self.grace, self.settle)

    def settled(self, change: "Change", at: datetime) -> bool:
        """Whether a day's changes have rested, or have gone on for too long to wait for it."""
        burst = change.first_at + _MOST_BURSTS * self.settle
        return min(change.last_at + self.settle, burst) <= at


class Change(NamedTuple):
    """When the first and the last of a day's changes since it was last told were folded."""

    first_at: datetime
    last_at: datetime


class Shop(Struct, frozen=True):
    """How far a shop is: all days before `next_day` are closed, from its first on."""

    next_day: date
    last_day: date
    live_from: date | None = None


def heard(shop: Shop | None, open_days: Mapping[date, Change], rules: Rules) -> Shop | None:
    """A shop, in the light of the open days of which something was heard."""
    if not open_days:
        return shop
    live = [day for day, change in open_days.items() if change.first_at < rules.over(day)]
    first, last = min(open_days), max(open_days)
    if shop is None:
        return Shop(first, last, min(live, default=None))
    if shop.live_from:
        live.append(shop.live_from)
    return Shop(min(first, shop.next_day), max(last, shop.last_day), min(live, default=None))


def may_close(shop: Shop, at: datetime, rules: Rules) -> bool:
    """Whether the next day is worth a closer look."""
    return rules.over(shop.next_day) <= at and (
        shop.live_from is not None or shop.next_day <= shop.last_day
    )


def closable(
    shop: Shop,
    open_days: Mapping[date, Change],
    closed: Set[date],
    *,
    at: datetime,
    complete_at: datetime | None,
    rules: Rules,
    until: date,
) -> tuple[list[date], date]:
    """The days before `until` that may close, in order, and the next day after them.

    `at` is the watermark, and not in the future; `complete_at` is when the importer said that the
    history is complete; days are `closed` here and there where an import reaches behind them.
    """
    live_from = shop.live_from
    history = {
        day: change for day, change in open_days.items() if live_from is None or day < live_from
    }
    complete = all(
        (complete_at is not None and change.last_at <= complete_at)
        or rules.silent(change.last_at) <= at
        for change in history.values()
    )
    reached = max(
        (day for day, change in history.items() if change.first_at + rules.settle <= at),
        default=date.min,
    )

    def ended(day: date) -> bool:
        if rules.over(day) > at:
            return False
        if live_from is not None and day >= live_from:
            return True
        if complete:
            return live_from is not None or day <= shop.last_day
        return day < reached and (day not in history or rules.settled(history[day], at))

    found, day = [], shop.next_day
    while day < until:
        if day not in closed:
            if not ended(day):
                break
            found.append(day)
        day += _DAY
    return found, day


# What.


class Series(NamedTuple):
    """What is told of each day: a key of one level (a dimension of `revenue`), in one currency."""

    level: str
    key: str
    currency: str


class Values(NamedTuple):
    """One series' sales on one day; money in ten-thousandths."""

    gross: int = 0
    discounts: int = 0
    refunds: int = 0
    orders: int = 0
    units: int = 0


NOTHING = Values()
Figures = Mapping[Series, Values]


def closing_figures(first_days: Mapping[Series, date], day: date, sales: Figures) -> Figures:
    """A day's value of every series that has begun, zeros included."""
    begun = {series for series, first in first_days.items() if first <= day}
    return {series: sales.get(series, NOTHING) for series in sorted(begun | set(sales))}


def corrections(told: Figures, sales: Figures) -> Figures:
    """The new values of those series of a day that are no longer what was told."""
    return {
        series: sales.get(series, NOTHING)
        for series in sorted({*told, *sales})
        if sales.get(series, NOTHING) != told.get(series, NOTHING)
    }


# As events.


def telling(
    shop: str,
    day: date,
    revision: int,
    figures: Figures,
    positions: Mapping[str, int],
    now: datetime,
) -> list[Event]:
    """What is told of a day: its closing as revision 0, else a correction; mostly one event."""
    listed = [_figure(series, values) for series, values in figures.items()]
    kind = DayCorrected if revision else DayClosed
    parts = range(0, max(len(listed), 1), _MOST_FIGURES)
    return [
        Event(
            id=str(uuid5(_NAMESPACE, f"{shop}\0{day}\0{revision}\0{part}")),
            type=kind.__name__,
            shop=shop,
            subject=day.isoformat(),
            time=now,
            received_at=now,
            source="days",
            data=codec.raw(
                kind(
                    date=day.isoformat(),
                    positions=dict(positions),
                    figures=listed[start : start + _MOST_FIGURES],
                    revision=revision,
                    part=part,
                    parts=len(parts),
                )
            ),
        )
        for part, start in enumerate(parts, 1)
    ]


def _figure(series: Series, values: Values) -> DayFigure:
    gross, discounts, refunds, orders, units = values
    return DayFigure(
        level=series.level,
        key=series.key,
        currency=series.currency,
        gross=Money(gross),
        discounts=Money(discounts),
        refunds=Money(refunds),
        net=SignedMoney(gross - discounts - refunds),
        orders=orders,
        units=units,
    )


class Told(NamedTuple):
    """What the log has told of a day, corrections applied."""

    revision: int
    at: datetime
    figures: Figures


def recall(events: Iterable[Event]) -> dict[tuple[str, date], Told]:
    """What the log of days comes to, by shop and day. The higher revision holds."""
    spoken: dict[tuple[str, date], list[tuple[int, datetime, Sequence[DayFigure]]]] = {}
    for event in events:
        try:
            data = codec.decode_data(event, "days")
        except Refused:
            continue
        assert isinstance(data, DayClosed)
        of_day = spoken.setdefault((event.shop, date.fromisoformat(data.date)), [])
        of_day.append((data.revision, event.time, data.figures))
    told = {}
    for of_what, of_day in spoken.items():
        of_day.sort(key=lambda said: said[0])
        figures = {
            Series(one.level, one.key, one.currency): Values(
                int(one.gross), int(one.discounts), int(one.refunds), one.orders, one.units
            )
            for _, _, listed in of_day
            for one in listed
        }
        told[of_what] = Told(of_day[-1][0], of_day[-1][1], figures)
    return told
