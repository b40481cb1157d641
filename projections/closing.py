"""When a day of a shop is over, and what is told of it: pure functions.

Two clocks decide. The log's: its watermark (the least `complete_to` of the partitions of `orders`)
says that whatever was appended before a moment is applied. It says no more, for events of the past
are appended today. And the shop's: a shop is live from the first day of which something was heard
before it was over, and from then on the wall clock ends its days, sales or none.

What lies before is history, and comes as fast as someone can read a file, its partitions unevenly.
There a day is over once something of a later day was heard and both have settled, by the log's
clock; or once the importer says that all of it is there; or after a long silence.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from datetime import date, datetime, timedelta
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

from msgspec import Struct

from projections.clock import ShopClock
from projections.days import DENSE
from streams import codec
from streams.codec import Refused
from streams.events import VOCABULARY, Data, DayClosed, DayCorrected, DayFigure, Event
from streams.money import Money, SignedMoney

_NAMESPACE = uuid5(NAMESPACE_URL, "tillstream/days")
_DAY = timedelta(days=1)
_MOST_BURSTS = 10  # what never settles is told nevertheless, after so many times the rest
_MOST_FIGURES = 800  # in an event
_MOST_BYTES = 850_000  # in an event, of figures as long as they can come to be
_FIGURE_BYTES = 250  # of one, besides its names
_CHARACTER_BYTES = 6  # at most, as JSON writes one


# When.


class Rules(Struct, frozen=True):
    """How days end. `grace`: how long after its end a day waits for what is late. `settle`: how
    long what is late must have rested before it is told. `country`: where the shops are."""

    clock: ShopClock
    grace: timedelta
    settle: timedelta
    country: str = ""

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
    """What is told of each day: a key of one level (of `days.LEVELS`), in one currency."""

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
Parents = Mapping[tuple[str, str], str]
"""By level and key, what it lies in: a product's category, a variant's product."""


def closing_figures(first_days: Mapping[Series, date], day: date, sales: Figures) -> Figures:
    """A day's value of every series that has begun, zeros included where the level is dense."""
    begun = {series for series, first in first_days.items() if first <= day}
    return {
        series: sales.get(series, NOTHING)
        for series in sorted(begun | set(sales))
        if series.level in DENSE or sales.get(series, NOTHING) != NOTHING
    }


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
    parents: Parents | None = None,
    country: str = "",
    span: tuple[datetime | None, datetime | None] = (None, None),
) -> list[Event]:
    """What is told of a day: its closing as revision 0, else a correction; mostly one event. `span`
    is when it begins and ends."""
    kind = DayCorrected if revision else DayClosed
    parts = parts_of(figures, parents or {})
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
                    figures=listed,
                    revision=revision,
                    part=part,
                    parts=len(parts),
                    country=country or None,
                    begins=span[0],
                    ends=span[1],
                )
            ),
        )
        for part, listed in enumerate(parts, 1)
    ]


def parts_of(figures: Figures, parents: Parents) -> list[list[DayFigure]]:
    """Figures as events have them, the dense levels first, in as many parts as it takes, one at
    least."""
    parts, size = [list[DayFigure]()], 0
    for series, values in sorted(figures.items(), key=lambda one: one[0].level not in DENSE):
        figure = as_figure(series, values, parents.get((series.level, series.key), ""))
        letters = len(figure.key) + len(figure.parent)
        size += _FIGURE_BYTES + _CHARACTER_BYTES * letters
        if len(parts[-1]) == _MOST_FIGURES or size > _MOST_BYTES:
            parts.append([])
            size = _FIGURE_BYTES + _CHARACTER_BYTES * letters
        parts[-1].append(figure)
    return parts


def as_figure(series: Series, values: Values, parent: str = "") -> DayFigure:
    """A series' values as events have them."""
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
        parent=parent,
    )


def of_figure(one: DayFigure) -> tuple[Series, Values]:
    """A series and its values, as an event has them."""
    return Series(one.level, one.key, one.currency), Values(
        int(one.gross), int(one.discounts), int(one.refunds), one.orders, one.units
    )


class Told(NamedTuple):
    """What the log has told of a day, corrections applied."""

    revision: int
    at: datetime
    figures: Figures


def recall(events: Iterable[Event]) -> Iterator[tuple[tuple[str, date], Told]]:
    """What the log of days comes to, by shop and day, one day at a time: all of it would be too
    much to hold. The higher revision holds."""
    for (shop, subject), of_day in sorted(by_subject(events, DayClosed).items()):
        said = [(event.time, decoded) for event in of_day if (decoded := _day_closed(event))]
        if said:
            said.sort(key=lambda one: one[1].revision)
            figures = {
                series: values
                for _, data in said
                for series, values in map(of_figure, data.figures)
            }
            at, last = said[-1]
            yield (shop, date.fromisoformat(subject)), Told(last.revision, at, figures)


def by_subject(events: Iterable[Event], kind: type[Data]) -> dict[tuple[str, str], list[Event]]:
    """The events of a kind, and of those that it has become, by shop and what they are about."""
    found: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in events:
        if event.type in VOCABULARY and issubclass(VOCABULARY[event.type].data, kind):
            found[event.shop, event.subject].append(event)
    return found


def _day_closed(event: Event) -> DayClosed | None:
    try:
        data = codec.decode_data(event, "days")
    except Refused:
        return None
    return data if isinstance(data, DayClosed) and data.date == event.subject else None
