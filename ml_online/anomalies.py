"""What is out of the ordinary in a shop at this moment, said with what it is made of.

Ten minutes of event time are closed once something was heard that is a quarter of an hour later.
Then every count, and its sums over the last hour and six hours, is held against what is usual at
that hour of the week (`ml_online.slot_rates`): orders, revenue, visits, orders for what was looked
at, refused payments for those that were requested. What is very improbable is noticed, once, with
the countries, products, … that it mostly comes from; it is over when an hour has been as usual.

Only what was told as it happened is heard: a history that is read in says nothing of today. And
where most partitions are silent but one goes on for long, somebody is catching up with a log: what
was heard meanwhile is not judged.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec
from msgspec import Struct, field

from ml_online.family import ModelFamily
from ml_online.metric_watch import (
    DIGITS,
    LEAST_SLOTS,
    MOST_KEYS,
    SLOT_SECONDS,
    SURE,
    WINDOW,
    Alert,
    Count,
    Metric,
    Split,
)
from ml_online.slot_rates import HOURS, SCALES, bounds, oddness
from streams import codec
from streams.codec import Fact
from streams.events import (
    AnomalyNoticed,
    AnomalyPart,
    DayClosed,
    Event,
    OrderCompleted,
    PaymentFailed,
    PaymentRequested,
    ProductListViewed,
    ProductViewed,
)

GRACE_SECONDS = 900
MOST_CURRENCIES, MOST_ALERTS, MOST_SHOPS = 3, 50, 10_000
MOST_AHEAD = 144
"""Slots that may pass at once; after a longer silence only so many count as silent."""

_LIVE_SECONDS = 3600
_FEW = 0.4  # of the partitions that are usually heard in ten minutes
_MANY_PARTITIONS = 3.0
_MONEY = 10_000
_NAMESPACE = uuid5(NAMESPACE_URL, "tillstream/anomalies")


Told = tuple[str, float, Mapping[str, str]]
"""A metric, what it has more of, and of which keys of which dimensions that is."""


class _Slot(Struct, array_like=True):
    """What came in ten minutes: counts by metric, and what they are made of."""

    counts: Count = field(default_factory=dict)
    splits: dict[str, Split] = field(default_factory=dict)


ORDERS, VISITS, CONVERSION, REFUSED = "orders", "visits", "conversion", "refused_payments"
_REVENUE, _REQUESTED = "revenue:", "requested_payments"
_BASES = {CONVERSION: VISITS, REFUSED: _REQUESTED}


class _Shop:
    """A shop's slots that are not closed yet, and its metrics."""

    def __init__(self) -> None:
        self.slots: dict[int, _Slot] = {}
        self.next = -1  # the first slot that is not closed
        self.metrics: dict[str, Metric] = {}
        self.midnight = 0  # seconds after that of UTC
        self.currencies: list[str] = []  # whose revenue is watched
        self.alerts: list[Alert] = []

    def hour(self, slot: int) -> int:
        """Of the week, by the shop's clock."""
        return (slot * SLOT_SECONDS - self.midnight) // 3600 % HOURS

    def count(self, slot: int, told: Iterable[Told]) -> None:
        """Something came in a slot, unless it is closed."""
        if slot < self.next:
            return
        here = self.slots.setdefault(slot, _Slot())
        for metric, value, made in told:
            here.counts[metric] = here.counts.get(metric, 0.0) + value
            for dimension, key in made.items():
                split = here.splits.setdefault(metric, {}).setdefault(dimension, {})
                if key in split or len(split) < MOST_KEYS:
                    split[key] = split.get(key, 0.0) + value

    def close(self, until: int, whole: bool) -> list[Alert]:
        """Closes the slots before this one; what is noticed, if all of them was heard."""
        if self.next < 0:
            self.next = min(self.slots, default=until)
        self.next = max(self.next, until - MOST_AHEAD)
        found: list[Alert] = []
        while self.next < until:
            slot = self.slots.get(self.next) or _Slot()
            if whole:
                found += self._closed(self.next, slot)
            self.next += 1
        self.slots = {number: slot for number, slot in self.slots.items() if number >= until}
        self.alerts += found
        older, latest = self.alerts[:-MOST_ALERTS], self.alerts[-MOST_ALERTS:]
        self.alerts = [one for one in older if one.ended is None] + latest
        return found

    def _closed(self, number: int, slot: _Slot) -> Iterator[Alert]:
        hour = self.hour(number)
        known = {*self.metrics, *slot.counts} - {_REQUESTED}
        for name in sorted(known | {over for over, base in _BASES.items() if base in slot.counts}):
            metric = self.metrics.setdefault(name, Metric(name != REFUSED))
            base = slot.counts.get(_BASES[name], 0.0) if name in _BASES else 1.0
            value = slot.counts.get(name, 0.0)
            if name in _BASES and not base and not value:
                continue  # nothing that it could be of
            alert = metric.close(name, number, hour, base, value, slot.splits.get(name, {}))
            if alert is not None:
                yield alert

    def silent(self, until: int) -> Iterator[Alert]:
        """What is missing now, if the slots before this one were closed: the model stays as it
        is."""
        last = range(max(self.next, until - WINDOW), until)
        for name, metric in sorted(self.metrics.items()):
            if name in _BASES or metric.open is not None or metric.rates.slots < LEAST_SLOTS:
                continue
            came = [_of(self.slots.get(number), name) for number in last]
            means = [metric.rates.usual(self.hour(number), 1.0) for number in last]
            for scale in SCALES:
                usual = metric.rates.around(scale, sum(means[-scale:]))
                value = sum(came[-scale:])
                digits = -oddness(value, usual)
                if len(last) >= scale and digits >= DIGITS:
                    low, high = bounds(usual, SURE)
                    since, end = until - scale, until * SLOT_SECONDS
                    known = (name, since * SLOT_SECONDS, end, scale, value, usual.mean)
                    yield Alert(*known, low, high, digits)
                    break


def _of(slot: _Slot | None, metric: str) -> float:
    return slot.counts.get(metric, 0.0) if slot else 0.0


class Anomalies:
    """Implements `ml_online.family.Learner`."""

    def __init__(self) -> None:
        self._shops: dict[str, _Shop] = {}
        self._closed = 0  # slots before this one are closed, of all shops
        self._heard: list[str] = []  # partitions, since slots were closed last
        self._usually_heard = 0.0
        self._noticed: list[Event] = []

    def learn(self, fact: Fact) -> None:
        """Closes what is over by now, and counts what is told."""
        event = fact.event
        time = int(event.time.timestamp())
        if abs(event.received_at.timestamp() - time) > _LIVE_SECONDS:
            return
        until = (time - GRACE_SECONDS) // SLOT_SECONDS
        if until > self._closed:
            self._close(until, event.time)
        heard = f"{fact.topic}:{fact.partition}"
        if heard not in self._heard:
            self._heard.append(heard)
        shop = self._shop(event.shop)
        if shop is None:
            return
        if isinstance(fact.data, DayClosed) and fact.data.ends is not None:
            shop.midnight = int(fact.data.ends.timestamp()) % 86_400
        elif told := _told(fact, shop.currencies):
            shop.count(time // SLOT_SECONDS, told)

    def _shop(self, name: str) -> _Shop | None:
        shop = self._shops.get(name)
        if shop is None and len(self._shops) < MOST_SHOPS:
            shop = self._shops[name] = _Shop()
        return shop

    def _close(self, until: int, now: datetime) -> None:
        whole = self._is_whole()
        for name, shop in sorted(self._shops.items()):
            self._noticed += [_event(name, alert, now) for alert in shop.close(until, whole)]
        self._closed = until

    def _is_whole(self) -> bool:
        """Whether about as many partitions were heard as usual."""
        count, usual = len(self._heard), self._usually_heard
        self._heard = []
        if usual >= _MANY_PARTITIONS and count < _FEW * usual:
            return False
        self._usually_heard = usual + 0.02 * (count - usual) if usual else float(count)
        return True

    def alerts(self, shop: str) -> list[Alert]:
        """What was noticed, the latest first."""
        known = self._shops.get(shop)
        return known.alerts[::-1] if known else []

    def silent(self, shop: str, now: datetime) -> list[Alert]:
        """What should have been heard by now, and was not: where nothing at all comes, nothing says
        that time goes by."""
        known = self._shops.get(shop)
        until = (int(now.timestamp()) - GRACE_SECONDS) // SLOT_SECONDS
        return list(known.silent(until)) if known and until > known.next >= 0 else []

    def watched(self, shop: str) -> dict[str, int]:
        """The metrics of a shop, and how many slots each was learned from."""
        known = self._shops.get(shop)
        return (
            {name: one.rates.slots for name, one in sorted(known.metrics.items())} if known else {}
        )

    def noticed(self) -> Sequence[Event]:
        """See `family.Learner`."""
        found, self._noticed = self._noticed, []
        return found

    def state(self) -> Iterator[Any]:
        """See `family.Learner`."""
        yield [self._closed, self._heard, self._usually_heard]
        for name, shop in sorted(self._shops.items()):
            slots = [[number, slot] for number, slot in sorted(shop.slots.items())]
            yield [
                name,
                shop.next,
                shop.midnight,
                shop.currencies,
                msgspec.to_builtins(slots),
                msgspec.to_builtins(shop.alerts),
                [
                    [
                        key,
                        metric.rates.state(),
                        metric.recent,
                        metric.shares,
                        metric.open is not None,
                    ]
                    for key, metric in sorted(shop.metrics.items())
                ],
            ]

    def restore(self, state: Iterable[Any]) -> None:
        """See `family.Learner`."""
        rows = iter(state)
        self._closed, heard, usual = next(rows)
        self._heard, self._usually_heard = list(heard), float(usual)
        for name, at, midnight, currencies, slots, alerts, metrics in rows:
            shop = self._shops[name] = _Shop()
            shop.next, shop.midnight, shop.currencies = at, midnight, list(currencies)
            shop.slots = {number: msgspec.convert(slot, _Slot) for number, slot in slots}
            shop.alerts = msgspec.convert(alerts, list[Alert])
            for key, rates, recent, shares, is_open in metrics:
                metric = shop.metrics[key] = Metric(key != REFUSED)
                metric.rates.restore(rates)
                metric.recent = [(float(came), float(mean), made) for came, mean, made in recent]
                metric.shares = shares
                if is_open:  # it is one of those that are remembered, the last of its metric
                    metric.open = [one for one in shop.alerts if one.metric == key][-1]


def _told(fact: Fact, currencies: list[str]) -> Sequence[Told]:
    """What a fact adds to which metrics, and of what it is."""
    data, context = fact.data, fact.event.context
    match data:
        case ProductViewed() | ProductListViewed():
            country = context.country if context else None
            source = context.source if context else None
            return [(VISITS, 1.0, _named(country=country, source=source))]
        case OrderCompleted():
            first = data.products[0].product_id if data.products else None
            made = _named(country=data.country, channel=data.channel, product=first)
            found = [(ORDERS, 1.0, made), (CONVERSION, 1.0, made)]
            currency = data.currency or ""
            if currency not in currencies and len(currencies) < MOST_CURRENCIES:
                currencies.append(currency)
            if currency in currencies:
                value = sum(line.price * line.quantity for line in data.products) / _MONEY
                found.append((_REVENUE + currency, value, made))
            return found
        case PaymentRequested():
            return [(_REQUESTED, 1.0, {})]
        case PaymentFailed():
            return [(REFUSED, 1.0, _named(reason=data.reason))]
    return []


def _named(**told: str | None) -> dict[str, str]:
    return {dimension: key for dimension, key in told.items() if key}


def _event(shop: str, alert: Alert, now: datetime) -> Event:
    """The same whenever it is noticed."""
    data = AnomalyNoticed(
        metric=alert.metric,
        since=_time(alert.since),
        until=_time(alert.until),
        came=_decimal(alert.came),
        expected=_decimal(alert.expected),
        low=_decimal(alert.low),
        high=_decimal(alert.high),
        parts=[
            AnomalyPart(dimension=one, key=key, expected=_decimal(mean), came=_decimal(came))
            for one, key, mean, came in alert.parts
        ],
    )
    return Event(
        id=str(uuid5(_NAMESPACE, f"{shop}\0{alert.metric}\0{alert.until}")),
        type="AnomalyNoticed",
        shop=shop,
        subject=alert.metric,
        time=now,
        received_at=now,
        source="learners",
        data=codec.raw(data),
    )


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _decimal(value: float) -> str:
    return f"{value:.2f}"


ANOMALIES = ModelFamily("anomalies", version=1, new=Anomalies)
