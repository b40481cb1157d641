"""The events that every contender reads, from a seed, and what they must come to."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import NamedTuple
from uuid import UUID

from streams import codec
from streams.events import Event, Line, OrderCompleted, OrderFields, OrderRefunded
from streams.money import Money

BEGIN = datetime(2025, 3, 1, 6, tzinfo=UTC)
SPAN = timedelta(hours=12)
PRODUCTS = 400
CATEGORIES = 12
COUNTRIES = ("DE", "FR", "NL", "AT", "BE", "IT", "ES", "GB")
REFUNDED = 0.05
CURRENCY = "EUR"

Key = tuple[str, datetime, str, str]  # dimension, hour, key, currency


class Row(NamedTuple):
    """A row of `revenue`, without its key."""

    gross: Decimal = Decimal(0)
    refunds: Decimal = Decimal(0)
    orders: int = 0
    units: int = 0
    refunded_units: int = 0


class Recount(NamedTuple):
    """How many orders there are, and every row of `revenue`."""

    orders: int
    revenue: dict[Key, Row]


def generate(
    count: int,
    seed: int = 7,
    begin: datetime = BEGIN,
    span: timedelta = SPAN,
    customers: int = 0,
) -> Iterator[Event]:
    """So many events in order of time: orders of one to three lines, and among them refunds of a
    line of an earlier order. Of no known customer, or of so many."""
    random = Random(seed)
    whose: dict[str, str] = {}
    catalogue = [
        (f"sku-{n:04d}", f"category-{n % CATEGORIES:02d}", random.randint(99, 19_999) * 100)
        for n in range(PRODUCTS)
    ]
    sold: list[OrderCompleted] = []
    for n in range(count):
        at = begin + span * n / count
        if sold and random.random() < REFUNDED:
            order = sold.pop(random.randrange(len(sold)))
            refund = _refund(order, random.choice(order.products), n)
            yield _event(random, at, refund, whose.get(order.order_id))
        else:
            lines = [
                Line(product_id=product, category=category, price=Money(price), quantity=quantity)
                for product, category, price in random.sample(catalogue, random.randint(1, 3))
                for quantity in (random.randint(1, 4),)
            ]
            order = OrderCompleted(
                order_id=f"order-{n:07d}",
                currency=CURRENCY,
                country=random.choice(COUNTRIES),
                products=lines,
            )
            sold.append(order)
            if customers:
                whose[order.order_id] = f"person-{random.randrange(customers):06d}"
            yield _event(random, at, order, whose.get(order.order_id))


def _refund(order: OrderCompleted, line: Line, n: int) -> OrderRefunded:
    return OrderRefunded(
        order_id=order.order_id,
        refund_id=f"refund-{n:07d}",
        currency=order.currency,
        country=order.country,
        products=[line],
    )


def _event(random: Random, at: datetime, data: OrderFields, person: str | None) -> Event:
    at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    return Event(
        id=str(UUID(int=random.getrandbits(128), version=4)),
        type=type(data).__name__,
        shop="main",
        subject=data.order_id,
        time=at,
        received_at=at + timedelta(milliseconds=random.randint(20, 900)),
        person=person,
        data=codec.raw(data),
    )


def recount(events: Iterable[Event]) -> Recount:
    """What the events come to, each by itself, in decimals."""
    orders: set[str] = set()
    sums: dict[Key, Row] = defaultdict(Row)
    for event in events:
        data = codec.decode_fields(event.type, event.data)
        assert isinstance(data, OrderCompleted | OrderRefunded)
        orders.add(event.subject)
        sale = isinstance(data, OrderCompleted)
        hour = event.time.replace(minute=0, second=0, microsecond=0)
        for dimension, key, lines in _shares(data.country or "", data.products):
            amount = Decimal(sum(line.price * line.quantity for line in lines)) / 10_000
            units = sum(line.quantity for line in lines)
            one = Row(amount, Decimal(), 1, units, 0) if sale else Row(refunds=amount)
            if not sale:
                one = one._replace(refunded_units=units)
            known = sums[dimension, hour, key, CURRENCY]
            sums[dimension, hour, key, CURRENCY] = Row(
                known.gross + one.gross,
                known.refunds + one.refunds,
                known.orders + one.orders,
                known.units + one.units,
                known.refunded_units + one.refunded_units,
            )
    return Recount(len(orders), dict(sums))


def _shares(country: str, lines: Sequence[Line]) -> Iterator[tuple[str, str, list[Line]]]:
    yield "total", "", list(lines)
    yield "country", country, list(lines)
    for category in {line.category or "" for line in lines}:
        yield "category", category, [line for line in lines if line.category == category]
    for product in {line.product_id for line in lines}:
        yield "product", product, [line for line in lines if line.product_id == product]
