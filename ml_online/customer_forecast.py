"""What customers will do: whether they order again, how often, and what it will be worth.

Each order counts at once: what is said of a customer goes by all that was heard of them. Once a
week, when a Sunday of the shop is closed, what all of them have in common is learned: the rates of
the purchase process (`buying`) and what orders are worth (`spending`) are fitted anew, and some
customers, chosen by lot, are noted with what is said of them; when four weeks have passed, and
8, 16, 32 and 52, it is scored and learned what became of them (`returning`).

A week is closed by event time, and not before all partitions are read as far as they were when the
shop closed its day: it is the same however far ahead they were read. Closing one takes a moment, in
which nobody is answered: of many that have waited, as after an import, each fact closes one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import numpy as np

from ml_online import buying, spending
from ml_online.buying import USUAL, Array, Buyers, Rates
from ml_online.customer_noted import HORIZONS, Noted, note, renumbered, resolve
from ml_online.customer_orders import CustomerOrders, IntArray, Known
from ml_online.customer_outlook import (
    Lessons,
    Outlook,
    Outlooks,
    discounted,
    intervals,
    outlook,
    outlooks,
)
from ml_online.family import ModelFamily
from ml_online.followed_orders import FollowedOrders
from ml_online.return_scores import ReturnScores, Score
from ml_online.returning import Returning
from ml_online.spending import Spenders, Spending
from ml_online.stock_days import span
from streams.codec import Fact
from streams.events import DayClosed, Event

MOST_WAITING = 1_000
"""Weeks that are closed, and have orders that are not read yet."""

_ORDERS = "orders"
_MOST_FITTED = 32_768
_DAY = 1 / 7
_SUNDAY = 7


class _Week(NamedTuple):
    """A Sunday, an ordinal, when it ended, and how far orders were read then, by partition."""

    day: int
    ends: int
    read: tuple[tuple[int, int], ...]


class _Shop:
    def __init__(self) -> None:
        self.orders = CustomerOrders()
        self.returning = Returning()
        self.rates = USUAL
        self.spending: dict[str, Spending] = {}
        self.noted: list[Noted] = []
        self.scores = {weeks: ReturnScores() for weeks in HORIZONS}
        self.waiting: list[_Week] = []
        self.last_week = 0  # that was told of
        self.learned_week = 0
        self.day = 0  # the last that is closed, and when it ended
        self.ended = 0
        self.revision = 0  # no part of the state: what was computed of another is old

    def lessons(self) -> Lessons:
        """What is common to all its customers."""
        return Lessons(self.rates, self.spending, self.orders.currencies, self.returning)


class Customers:
    """Implements `ml_online.family.Learner`. It hears orders, and days that are closed."""

    def __init__(self) -> None:
        self._shops: dict[str, _Shop] = {}
        self._followed = FollowedOrders()
        self._read: dict[int, int] = {}
        self._waiting: dict[str, None] = {}  # shops with weeks that wait
        self._computed: dict[tuple[str, float], tuple[tuple[int, int], Outlooks]] = {}

    # What is learned.

    def learn(self, fact: Fact) -> None:
        """An order or what becomes of one, or the end of a day."""
        if fact.topic == _ORDERS:
            self._read[fact.partition] = fact.offset + 1
            shop = self._shops.setdefault(fact.event.shop, _Shop())
            self._followed.hear(fact, shop.orders)
            shop.revision += 1
            if shop.orders.crowded():
                renumbered(shop.noted, shop.orders.forget())
        elif isinstance(fact.data, DayClosed) and not fact.data.revision:
            self._note_day(fact.event.shop, fact.data)
        self._close_a_week()

    def _note_day(self, name: str, told: DayClosed) -> None:
        try:
            day = date.fromisoformat(told.date)
        except ValueError:
            return  # a date that no calendar has
        shop, number = self._shops.setdefault(name, _Shop()), day.toordinal()
        _, ends = span(told, day)
        if number > shop.day:
            shop.day, shop.ended = number, ends
            shop.revision += 1
        if number % _SUNDAY == 0 and number > shop.last_week:
            shop.last_week = number
            shop.waiting = [*shop.waiting, _Week(number, ends, _places(told))][-MOST_WAITING:]
            self._waiting[name] = None

    def _close_a_week(self) -> None:
        """The earliest whose orders are all read, if there is one: whichever shop's it is."""
        ready = [
            (week.day, name)
            for name in self._waiting
            if self._is_read(week := self._shops[name].waiting[0])
        ]
        if not ready:
            return
        _, name = min(ready)
        shop = self._shops[name]
        _close(shop, shop.waiting.pop(0))
        if not shop.waiting:
            del self._waiting[name]

    def _is_read(self, week: _Week) -> bool:
        return all(self._read.get(partition, 0) >= offset for partition, offset in week.read)

    # What is asked.

    def as_of(self, shop: str) -> datetime | None:
        """The moment that what is said of a shop's customers is as of: its last day's end, or its
        latest order. None where there is neither."""
        known = self._shops.get(shop)
        at = _as_of(known) if known else 0
        return datetime.fromtimestamp(at, UTC) if at > 0 else None

    def learned_through(self, shop: str) -> date | None:
        """The last week's end that what is common to all was learned through."""
        known = self._shops.get(shop)
        return date.fromordinal(known.learned_week) if known and known.learned_week else None

    def customer(self, shop: str, customer: str, days: float) -> Outlook | None:
        """What is ahead of one within so many days. None of whom there is no order."""
        known = self._shops.get(shop)
        number = known.orders.number_of(customer) if known else None
        if known is None or number is None:
            return None
        return outlook(known.lessons(), known.orders.now(_as_of(known), [number]), days)

    def customers(self, shop: str, days: float) -> Outlooks:
        """The same of all, in short."""
        known = self._shops.get(shop)
        if known is None:
            return Outlooks.nobody()
        key, mark = (shop, days), (known.revision, _as_of(known))
        found = self._computed.get(key)
        if found is None or found[0] != mark:
            told = outlooks(known.lessons(), known.orders.now(_as_of(known)), days)
            found = mark, told
            self._computed = {**dict(list(self._computed.items())[-_COMPUTED:]), key: found}
        return found[1]

    def discounted(self, shop: str, customer: str, days: float, rate: float) -> float:
        """What a unit of what one will bring within so many days is worth now, at a rate a year."""
        known = self._shops.get(shop)
        number = known.orders.number_of(customer) if known else None
        if known is None or number is None or not rate:
            return 1.0
        return discounted(known.lessons(), known.orders.now(_as_of(known), [number]), days, rate)

    def intervals(self, shop: str, days: float) -> IntArray:
        """[customer, 2]: within which the orders of each stay, in the order of `customers`, four
        times of five."""
        known = self._shops.get(shop)
        if known is None:
            return np.zeros((0, 2), dtype=np.int64)
        return intervals(known.lessons(), known.orders.now(_as_of(known)), days)

    def name_of(self, shop: str, number: int) -> str:
        """The customer who has this number now."""
        return self._shops[shop].orders.ids[number]

    def scores(self, shop: str, first: date, last: date) -> Mapping[int, Score]:
        """By weeks ahead, of what ended within these days."""
        known = self._shops.get(shop)
        found = {
            weeks: scores.over(first.toordinal(), last.toordinal())
            for weeks, scores in (known.scores.items() if known else ())
        }
        return {weeks: score for weeks, score in found.items() if score is not None}

    def lessons(self, shop: str) -> Lessons | None:
        """What is common to all customers of a shop."""
        known = self._shops.get(shop)
        return known.lessons() if known else None

    # What is kept.

    def noticed(self) -> Sequence[Event]:
        return ()

    def state(self) -> Iterator[Any]:
        yield ["read", sorted(self._read.items())]
        for row in self._followed.state():
            yield ["followed", *row]
        for name, shop in sorted(self._shops.items()):
            yield ["shop", name, shop.day, shop.ended, shop.last_week, shop.learned_week]
            yield ["waiting", name, shop.waiting]
            yield ["rates", name, shop.rates, sorted(shop.spending.items())]
            yield ["returning", name, shop.returning.state()]
            for weeks, scores in shop.scores.items():
                yield ["scores", name, weeks, scores.state()]
            for noted in shop.noted:
                yield ["noted", name, noted.state()]
            for row in shop.orders.state():
                yield ["orders", name, *row]

    def restore(self, state: Iterable[Any]) -> None:
        self.__init__()  # type: ignore[misc]
        for what, *row in state:
            if what == "read":
                self._read = dict(row[0])
            elif what == "followed":
                self._followed.restore(*row)
            else:
                name, *rest = row
                shop = self._shops.setdefault(name, _Shop())
                _restore(shop, what, rest)
                if shop.waiting:
                    self._waiting[name] = None


_COMPUTED = 7  # answers of all customers that are held besides the newest


def _restore(shop: _Shop, what: str, row: Sequence[Any]) -> None:
    match what:
        case "shop":
            shop.day, shop.ended, shop.last_week, shop.learned_week = row
        case "waiting":
            shop.waiting = [
                _Week(day, ends, tuple((p, o) for p, o in read)) for day, ends, read in row[0]
            ]
        case "rates":
            shop.rates = Rates(*row[0])
            shop.spending = {currency: Spending(*one) for currency, one in row[1]}
        case "returning":
            shop.returning.restore(row[0])
        case "scores":
            shop.scores[row[0]].restore(row[1])
        case "noted":
            shop.noted.append(Noted.of(row[0]))
        case "orders":
            shop.orders.restore(*row)


def _places(told: DayClosed) -> tuple[tuple[int, int], ...]:
    found = []
    for name, offset in sorted(told.positions.items()):
        topic, _, partition = name.rpartition(":")
        if topic == _ORDERS and partition.isdecimal():
            found.append((int(partition), offset))
    return tuple(found)


def _as_of(shop: _Shop) -> int:
    return max(shop.ended, shop.orders.latest)


def _close(shop: _Shop, week: _Week) -> None:
    """Learns from what became of those who were noted, and notes some anew."""
    shop.noted = resolve(shop.noted, week.day, week.ends, shop.orders, shop.returning, shop.scores)
    known = shop.orders.as_of(week.ends)
    if len(known.who):
        _fit(shop, known.some(shop.orders.sample(known.who, _MOST_FITTED, 2 * week.day)))
        shop.noted.append(note(week.day, week.ends, known, shop.lessons(), shop.orders))
    shop.learned_week = week.day
    shop.revision += 1


def _fit(shop: _Shop, known: Known) -> None:
    shop.rates = buying.fit(*_alike(known.buyers))
    for number, currency in enumerate(shop.orders.currencies):
        own = known.currency == number
        if own.any():
            shop.spending[currency] = spending.fit(Spenders(known.valued[own], known.mean[own]))


def _alike(buyers: Buyers) -> tuple[Buyers, Array]:
    """By whole days: many have bought once, on the same day."""
    rounded = np.column_stack([buyers.x, *(np.rint(c / _DAY) for c in (buyers.t_x, buyers.age))])
    found, counts = np.unique(rounded, axis=0, return_counts=True)
    columns = found[:, 0], found[:, 1] * _DAY, found[:, 2] * _DAY
    return Buyers(*(np.ascontiguousarray(c) for c in columns)), counts.astype(np.float64)


CUSTOMERS = ModelFamily("customers", version=2, new=Customers)
