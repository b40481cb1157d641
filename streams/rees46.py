"""Files of REES46's "behavior data from multi category store": views, carts and purchases.

A line is one act of a visitor. It is read as it comes, for a month has some gigabytes, and so the
lines must stand in order of time, as they do. The file knows no orders: what a session purchases
within one second is one. It names no currency either: that is the shop's own.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any
from uuid import NAMESPACE_URL, uuid5

import msgspec
from msgspec import Meta, Struct

from streams import codec, money
from streams.codec import AHEAD, Refused
from streams.csv_file import rows_of
from streams.events import (
    Category,
    Data,
    Event,
    Id,
    Line,
    Name,
    OrderCompleted,
    ProductAdded,
    ProductRemoved,
    ProductViewed,
    Time,
)
from streams.money import Money
from streams.past import Ids, Past, Tally
from streams.replay import Entry

SOURCE = "rees46"
PURCHASE = "purchase"

_NAMESPACE = uuid5(
    NAMESPACE_URL,
    "https://www.kaggle.com/datasets/mkechinov/ecommerce-behavior-data-from-multi-category-store",
)
_decode_price: Callable[[type, Any], Any] = lru_cache(maxsize=100_000)(money.decode)


class Row(Struct, frozen=True, array_like=True, gc=False):
    """A line, its fields in the order of `COLUMNS`, and its number in the file."""

    at: Time
    act: str
    product: Id
    category_id: Category
    category_code: Category
    brand: Name
    price: Money
    user: Id
    session: Annotated[str, Meta(max_length=100)]
    line: int

    @property
    def category(self) -> str | None:
        """The category's code, where it has one, such as `electronics.smartphone`."""
        return self.category_code or self.category_id or None

    @property
    def visit(self) -> str:
        """What the cart and the order are told apart by."""
        return self.session or self.user


COLUMNS: Mapping[str, str] = {
    "event_time": "a time such as 2019-10-01 00:00:00 UTC",
    "event_type": "view, cart, remove_from_cart or purchase",
    "product_id": "1 to 128 characters",
    "category_id": "at most 128 characters",
    "category_code": "at most 128 characters",
    "brand": "at most 512 characters",
    "price": "an amount of zero or more with at most 4 decimal places",
    "user_id": "1 to 128 characters",
    "user_session": "at most 100 characters",
}


def read(path: Path, shop: str, received_at: datetime, currency: str) -> Past:
    """Reads a .csv or .csv.gz file as its events are taken."""
    tally = Tally()
    return Past(_Reading(shop, received_at, currency, tally).entries(path), tally)


def parse(fields: Sequence[str], line: int, latest: datetime) -> Row:
    """A line's fields, checked. Raises Refused."""
    if len(fields) != len(COLUMNS):
        raise Refused("", "not as many fields as the header names")
    moment = fields[0].removesuffix(" UTC") + "Z"
    try:
        row = msgspec.convert(
            (moment, *fields[1:], line), Row, strict=False, dec_hook=_decode_price
        )
    except msgspec.ValidationError as error:
        index = int(codec.refusal(error).field.strip("[]"))
        raise _wrong(index, fields) from None
    if row.act not in _ACTS and row.act != PURCHASE:
        raise _wrong(1, fields)
    if row.at.year < 1970 or row.at > latest:
        raise Refused("event_time", f"expected a time from 1970 until now, found {fields[0]!r}")
    if row.act == PURCHASE and not row.price:
        raise Refused("price", "a purchase without a price")
    return row


def _wrong(index: int, fields: Sequence[str]) -> Refused:
    column, expected = list(COLUMNS.items())[index]
    found = fields[index] if len(fields[index]) <= 64 else f"{fields[index][:64]}…"
    return Refused(column, f"expected {expected}, found {found!r}")


# From a line to what it tells.


def _described(row: Row, currency: str) -> dict[str, Any]:
    return {
        "product_id": row.product,
        "category": row.category,
        "brand": row.brand or None,
        "price": row.price or None,  # the file says 0.00 where it knows none
        "currency": currency,
    }


def viewed(row: Row, currency: str) -> tuple[str, Data]:
    """A product seen: whom it is about, the visitor, and what it says."""
    return row.user, ProductViewed(**_described(row, currency))


def added(row: Row, currency: str) -> tuple[str, Data]:
    return row.visit, ProductAdded(cart_id=row.visit, **_described(row, currency))


def removed(row: Row, currency: str) -> tuple[str, Data]:
    return row.visit, ProductRemoved(cart_id=row.visit, **_described(row, currency))


_ACTS: Mapping[str, Callable[[Row, str], tuple[str, Data]]] = {
    "view": viewed,
    "cart": added,
    "remove_from_cart": removed,
}


def order(rows: Sequence[Row], currency: str) -> OrderCompleted:
    """What a session purchases within one second, as a sale; its number is made of both."""
    return OrderCompleted(
        order_id=f"{rows[0].visit}-{int(rows[0].at.timestamp())}",
        currency=currency,
        products=[
            Line(
                product_id=row.product,
                category=row.category,
                brand=row.brand or None,
                price=row.price,
            )
            for row in rows
        ],
    )


class _Reading:
    """One file, on its way."""

    def __init__(self, shop: str, received_at: datetime, currency: str, tally: Tally) -> None:
        self._shop = shop
        self._received_at = received_at
        self._currency = currency
        self._tally = tally
        self._ids = Ids(_NAMESPACE)

    def entries(self, path: Path) -> Iterator[Entry]:
        """The file's events. Of one second, the purchases come last."""
        latest = self._received_at + AHEAD
        second = datetime.min.replace(tzinfo=UTC)
        purchases: dict[str, list[Row]] = defaultdict(list)
        for line, fields in rows_of(path, [*COLUMNS]):
            try:
                row = parse(fields, line, latest)
                if row.at < second:
                    raise Refused("event_time", "earlier than a line before it: sort the file")
            except Refused as refused:
                self._tally.reject(line, refused)
                continue
            if row.at > second:
                yield from self._sold(purchases)
                purchases.clear()
                second = row.at
            if row.act == PURCHASE:
                purchases[row.visit].append(row)
            else:
                self._tally.note(row.act)
                yield self._entry([row], *_ACTS[row.act](row, self._currency))
        yield from self._sold(purchases)

    def _sold(self, purchases: Mapping[str, Sequence[Row]]) -> Iterator[Entry]:
        for rows in purchases.values():
            sale = order(rows, self._currency)
            self._tally.note(PURCHASE, len(rows), sum(row.price for row in rows))
            yield self._entry(rows, sale.order_id, sale)

    def _entry(self, rows: Sequence[Row], subject: str, data: Data) -> Entry:
        row, raw = rows[0], codec.raw(data)
        name = type(data).__name__
        event = Event(
            id=self._ids.next(row.at, name, row.user, subject, bytes(raw).decode()),
            type=name,
            shop=self._shop,
            subject=subject,
            time=row.at,
            received_at=self._received_at,
            data=raw,
            source=SOURCE,
            person=row.user,
        )
        return Entry(event, len(rows))
