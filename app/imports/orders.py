"""Rows of one order as its events. Their ids come from what they say, so that a file that is
imported again, or another with the same rows in it, adds nothing."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

from app.imports.reading import Fault, Kind, Sold
from streams import codec
from streams.events import (
    Data,
    Event,
    Line,
    OrderCancelled,
    OrderCompleted,
    OrderDelivered,
    OrderPlaced,
    OrderRefunded,
    OrderShipped,
    SalesAdjusted,
)
from streams.money import Money, SignedMoney
from streams.replay import Entry

SOURCE = "import"

_NAMESPACE = uuid5(NAMESPACE_URL, "https://tillstream.dev/imports")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST_DATA = 1_000_000  # bytes; with its envelope it still is one record of Kafka's


class Made(NamedTuple):
    """The events of some rows, and the rows of which none could be made."""

    entries: Sequence[Entry]
    faults: Sequence[Fault]


def events_of(rows: Iterable[Sold], shop: str, received_at: datetime) -> Made:
    """All orders that these rows make, in order of time; rows of one order are all among them."""
    orders: dict[str, list[Sold]] = defaultdict(list)
    seen: Counter[str] = Counter()
    for row in rows:
        if row.order:
            orders[row.order].append(row)
        else:
            # Two rows that say the same are two sales; the same file says so in the same way again.
            seen[row.content] += 1
            orders[f"row-{row.content}-{seen[row.content]}"].append(row)
    entries: list[Entry] = []
    faults: list[Fault] = []
    for order_id, told in orders.items():
        told.sort(key=lambda row: (row.at, row.line))
        good, wrong = _of_one_currency(told)
        faults += wrong
        maker = _Maker(order_id, shop, received_at)
        for data, at, made_of in _told(order_id, good):
            entry = maker.entry(data, at, made_of)
            if len(entry.event.data) > _LARGEST_DATA:
                faults += [
                    Fault(row.line, "", "", "too many rows for one order") for row in made_of
                ]
            else:
                entries.append(entry)
    entries.sort(key=lambda entry: (entry.event.time, entry.event.subject))
    return Made(entries, faults)


def _of_one_currency(rows: Sequence[Sold]) -> tuple[list[Sold], list[Fault]]:
    first = rows[0].currency
    good = [row for row in rows if row.currency == first]
    reason = f"another currency than the order's first row, {first}"
    wrong = [Fault(row.line, "", row.currency, reason) for row in rows if row.currency != first]
    return good, wrong


Telling = tuple[Data, int, Sequence[Sold]]
"""An event's own fields, when it was, and the rows that are counted as told by it."""


def _told(order_id: str, rows: Sequence[Sold]) -> Iterator[Telling]:
    by_kind: dict[int, list[Sold]] = defaultdict(list)
    for row in rows:
        by_kind[row.kind].append(row)
    returned = by_kind[Kind.RETURNED]
    sold = sorted([*by_kind[Kind.SALE], *returned], key=lambda row: (row.at, row.line))
    open_ones = [*by_kind[Kind.PENDING], *by_kind[Kind.CANCELLED]]
    if sold:
        # Of a sale some rows of which were cancelled, the others count.
        yield _order(OrderCompleted, order_id, sold), sold[0].at, [*sold, *open_ones]
    elif open_ones:
        open_ones.sort(key=lambda row: (row.at, row.line))
        yield _order(OrderPlaced, order_id, open_ones), open_ones[0].at, open_ones
        if by_kind[Kind.CANCELLED]:
            yield OrderCancelled(order_id=order_id), by_kind[Kind.CANCELLED][0].at, ()
    if returned:
        yield _refund(order_id, f"{order_id}@returned"[-128:], returned), returned[0].at, ()
    for refund_id, given in _refunds(
        order_id, by_kind[Kind.REFUND], alone=not sold and not open_ones
    ):
        yield _refund(order_id, refund_id, given), given[0].at, given
    for row in by_kind[Kind.ADJUSTMENT]:
        adjusted = SalesAdjusted(
            order_id=order_id,
            amount=SignedMoney(row.price),
            currency=row.currency,
            country=row.country or None,
            reason=row.name or None,
        )
        yield adjusted, row.at, [row]
    if shipped := min((row.shipped for row in rows if row.shipped), default=0):
        yield OrderShipped(order_id=order_id), shipped, ()
    if delivered := min((row.delivered for row in rows if row.delivered), default=0):
        yield OrderDelivered(order_id=order_id), delivered, ()


def _refunds(
    order_id: str, rows: Sequence[Sold], *, alone: bool
) -> Iterator[tuple[str, Sequence[Sold]]]:
    """What was given back at one time is one refund; an invoice that only takes back is one."""
    if not rows:
        return
    if alone and order_id[:1] == "C" and order_id[1:2].isdigit():  # an invoice such as C536379
        yield order_id, rows
        return
    at_times: dict[int, list[Sold]] = defaultdict(list)
    for row in rows:
        at_times[row.at].append(row)
    for at, given in at_times.items():
        yield f"{order_id}@{_instant(at):%Y%m%dT%H%M%S}"[-128:], given


def _order(
    kind: type[OrderCompleted] | type[OrderPlaced], order_id: str, rows: Sequence[Sold]
) -> Data:
    discount = sum(row.discount for row in rows)
    tax = sum(row.tax for row in rows)
    shipping = sum(row.shipping for row in rows)
    return kind(
        order_id=order_id,
        currency=rows[0].currency,
        country=next((row.country for row in rows if row.country), None),
        channel=next((row.channel for row in rows if row.channel), None),
        discount=Money(discount) if discount else None,
        tax=Money(tax) if tax else None,
        shipping=Money(shipping) if shipping else None,
        products=[line for row in rows for line in _lines(row, with_discount=bool(discount))],
    )


def _refund(order_id: str, refund_id: str, rows: Sequence[Sold]) -> OrderRefunded:
    return OrderRefunded(
        order_id=order_id,
        refund_id=refund_id,
        currency=rows[0].currency,
        country=next((row.country for row in rows if row.country), None),
        channel=next((row.channel for row in rows if row.channel), None),
        products=[
            line for row in rows for line in _lines(row, with_discount=False, less=row.discount)
        ],
    )


def _lines(row: Sold, *, with_discount: bool, less: int = 0) -> Iterator[Line]:
    """A row as one line, or as two where a ten-thousandth is left over: the first has its discount
    and its tax."""
    price, extra, quantity = row.price, row.extra, row.quantity
    if less:
        price, extra = divmod(price * quantity + extra - less, quantity)
    first = True
    for units, each in ((quantity - extra, price), (extra, price + 1)):
        if not units:
            continue
        told = row.discount if first else 0
        yield Line(
            product_id=row.product,
            name=row.name or None,
            category=row.category or None,
            brand=row.brand or None,
            variant=row.variant or None,
            price=Money(each),
            quantity=units,
            discount=Money(told) if with_discount else None,
            tax=Money(row.tax) if row.tax and first else None,
        )
        first = False


def _instant(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


class _Maker:
    """Envelopes of one order's events."""

    def __init__(self, order_id: str, shop: str, received_at: datetime) -> None:
        self._order_id = order_id
        self._shop = shop
        self._received_at = received_at
        self._said: Counter[str] = Counter()

    def entry(self, data: Data, at: int, rows: Sequence[Sold]) -> Entry:
        raw = codec.raw(data)
        name = type(data).__name__
        person = next((row.customer for row in rows if row.customer), None)
        said = "\0".join((name, self._order_id, str(at), person or "", bytes(raw).decode()))
        self._said[said] += 1
        event = Event(
            id=str(uuid5(_NAMESPACE, f"{said}\0{self._said[said]}")),
            type=name,
            shop=self._shop,
            subject=self._order_id,
            time=_instant(at),
            received_at=self._received_at,
            data=raw,
            source=SOURCE,
            person=person,
        )
        return Entry(event, len(rows))
