"""Files of UCI's "Online Retail": what each line of an invoice tells, as events.

An invoice becomes one order, with its lines from all over the file. A C invoice becomes a refund,
a line without a price a stock correction, one with a negative price an adjustment of the books.
What is none of these is rejected, with its line and the reason: every line is accounted for.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta, Struct

from streams import codec, money
from streams.codec import AHEAD, Refused
from streams.csv_file import Rejected, rows_of
from streams.events import (
    Data,
    Event,
    Id,
    Line,
    Name,
    OrderCompleted,
    OrderRefunded,
    SalesAdjusted,
    StockAdjusted,
)
from streams.money import Money, SignedMoney
from streams.replay import Entry

SOURCE = "online-retail"
CURRENCY = "GBP"

_NAMESPACE = uuid5(NAMESPACE_URL, "https://doi.org/10.24432/C5BW33")
_decode_price: Callable[[type, Any], Any] = lru_cache(maxsize=100_000)(
    money.decode
)  # a shop has some hundreds of prices
_LARGEST_DATA = 1_000_000  # bytes; with its envelope it still is one record of Kafka's


class Kind(StrEnum):
    """What a line is."""

    SALE = "sale_positive_quantity_and_price"
    CANCELLATION = "cancellation_invoice"
    ZERO_PRICE_NEGATIVE_QUANTITY = "zero_price_negative_quantity"
    ZERO_PRICE_OTHER = "zero_price_other"
    NEGATIVE_PRICE = "negative_price"
    OTHER = "other"


class Summary(Struct, frozen=True, kw_only=True):
    """Every line of a file, accounted for: it is part of an event, or `rejected`."""

    lines: int
    lines_by_kind: Mapping[Kind, int]
    rejected: Sequence[Rejected]
    events_by_type: Mapping[str, int]
    gross: Decimal
    refunds: Decimal
    adjustments: Decimal

    @property
    def net(self) -> Decimal:
        return self.gross - self.refunds


class Retail(NamedTuple):
    """What a file holds: its events by their time, each with the number of lines it is made of."""

    entries: Sequence[Entry]
    summary: Summary


class Row(Struct, frozen=True, array_like=True, gc=False):
    """A line, its fields in the order of `COLUMNS`, and its number in the file."""

    invoice: Id
    product: Id
    description: Name
    quantity: Annotated[int, Meta(ge=-10_000_000, le=10_000_000)]
    at: Annotated[datetime, Meta(tz=False)]
    price: SignedMoney
    customer: Annotated[str, Meta(max_length=128)]
    country: Annotated[str, Meta(max_length=64)]
    line: int

    @property
    def amount(self) -> int:
        return self.price * self.quantity

    @property
    def person(self) -> str | None:
        """The customer's number, which spreadsheets write as `17850.0`."""
        return self.customer.removesuffix(".0") or None

    @property
    def name(self) -> str | None:
        return self.description.strip() or None


COLUMNS: Mapping[str, str] = {
    "InvoiceNo": "1 to 128 characters",
    "StockCode": "1 to 128 characters",
    "Description": "at most 512 characters",
    "Quantity": "a whole number of at most ten millions",
    "InvoiceDate": "a time such as 2010-12-01 08:26:00",
    "UnitPrice": "an amount with at most 4 decimal places",
    "CustomerID": "at most 128 characters",
    "Country": "at most 64 characters",
}


def read(path: Path, zone: ZoneInfo, shop: str, received_at: datetime) -> Retail:
    """Reads a .csv or .csv.gz file, whose times are those of the clocks in `zone`.

    Raises OSError where it cannot be opened, Unreadable where it is another kind of file.
    """
    account = _Account(zone, shop, received_at)
    orders: dict[str, list[Row]] = defaultdict(list)
    refunds: dict[str, list[Row]] = defaultdict(list)
    latest = (received_at + AHEAD).astimezone(zone).replace(tzinfo=None)
    for line, fields in rows_of(path, [*COLUMNS]):
        try:
            row = parse(fields, line, latest)
            kind = kind_of(row)
        except Refused as refused:
            account.reject(line, refused)
            continue
        if kind is Kind.SALE:
            orders[row.invoice].append(row)
        elif kind is Kind.CANCELLATION:
            refunds[row.invoice].append(row)
        elif kind is Kind.NEGATIVE_PRICE:
            account.add(kind, row.invoice, adjustment(row), [row])
        else:
            account.add(kind, row.product, stock_correction(row), [row])
    for invoice, rows in orders.items():
        account.add(Kind.SALE, invoice, order(rows), rows)
    for invoice, rows in refunds.items():
        account.add(Kind.CANCELLATION, invoice, refund(rows), rows)
    return account.done()


# From a line to what it is.


def parse(fields: Sequence[str], line: int, latest: datetime) -> Row:
    """A line's fields, checked. Raises Refused."""
    if len(fields) != len(COLUMNS):
        raise Refused("", "not as many fields as the header names")
    try:
        row = msgspec.convert((*fields, line), Row, strict=False, dec_hook=_decode_price)
    except msgspec.ValidationError as error:
        index = int(codec.refusal(error).field.strip("[]"))
        column, expected = list(COLUMNS.items())[index]
        found = fields[index] if len(fields[index]) <= 64 else f"{fields[index][:64]}…"
        raise Refused(column, f"expected {expected}, found {found!r}") from None
    if row.at.year < 1970 or row.at > latest:
        raise Refused("InvoiceDate", f"expected a time from 1970 until now, found {row.at}")
    return row


def kind_of(row: Row) -> Kind:
    """What a line is. Raises Refused where its signs make no sense."""
    if row.quantity == 0:
        raise Refused("Quantity", "a quantity of zero")
    if row.invoice.startswith("C"):
        if row.quantity > 0:
            raise Refused("Quantity", "a positive quantity in a cancellation")
        if row.price < 0:
            raise Refused("UnitPrice", "a negative price in a cancellation")
        return Kind.CANCELLATION
    if row.price < 0:
        if abs(row.amount) > money.LARGEST:
            raise Refused("UnitPrice", "the line's amount is too large")
        return Kind.NEGATIVE_PRICE
    if row.price == 0:
        return Kind.ZERO_PRICE_NEGATIVE_QUANTITY if row.quantity < 0 else Kind.ZERO_PRICE_OTHER
    if row.quantity < 0:
        raise Refused("Quantity", "a negative quantity outside a cancellation")
    return Kind.SALE


# From lines to what they tell.


def order(rows: Sequence[Row]) -> OrderCompleted:
    """An invoice's lines as its sale."""
    return OrderCompleted(
        order_id=rows[0].invoice,
        currency=CURRENCY,
        country=rows[0].country or None,
        products=[_line(row, row.quantity) for row in rows],
    )


def refund(rows: Sequence[Row]) -> OrderRefunded:
    """A C invoice's lines as money given back. It does not say for which order: it is its own."""
    return OrderRefunded(
        refund_id=rows[0].invoice,
        order_id=rows[0].invoice,
        currency=CURRENCY,
        country=rows[0].country or None,
        products=[_line(row, -row.quantity) for row in rows],
    )


def _line(row: Row, quantity: int) -> Line:
    return Line(product_id=row.product, name=row.name, price=Money(row.price), quantity=quantity)


def adjustment(row: Row) -> SalesAdjusted:
    """A line with a negative price, such as a bad debt."""
    return SalesAdjusted(
        order_id=row.invoice,
        amount=SignedMoney(row.amount),
        currency=CURRENCY,
        country=row.country or None,
        reason=row.name,
    )


def stock_correction(row: Row) -> StockAdjusted:
    """A line without a price: to a customer it is a gift, else the stock was counted."""
    if row.person:
        change, reason = -row.quantity, "given away"
    else:
        change, reason = row.quantity, "stock found" if row.quantity > 0 else "written off"
    told = f"{reason}: {row.name}" if row.name else reason
    return StockAdjusted(product_id=row.product, quantity=change, reason=told[:512])


class _Account:
    """The events and the account of one file, as they grow."""

    def __init__(self, zone: ZoneInfo, shop: str, received_at: datetime) -> None:
        self._zone = zone
        self._shop = shop
        self._received_at = received_at
        self._entries: list[Entry] = []
        self._kinds: Counter[Kind] = Counter(dict.fromkeys(Kind, 0))
        self._amounts: Counter[Kind] = Counter()
        self._rejected: list[Rejected] = []
        self._occurrences: Counter[str] = Counter()

    def reject(self, line: int, refused: Refused) -> None:
        self._kinds[Kind.OTHER] += 1
        self._rejected.append(Rejected(line, refused.field, refused.reason))

    def add(self, kind: Kind, subject: str, data: Data, rows: Sequence[Row]) -> None:
        """Adds the event that these lines, of one invoice, make together."""
        raw = codec.raw(data)
        if len(raw) > _LARGEST_DATA:
            for row in rows:
                self.reject(row.line, Refused("InvoiceNo", "too many lines for one event"))
            return
        at = min(row.at for row in rows)
        person = next((person for row in rows if (person := row.person)), None)
        event = Event(
            id=str(self._id(type(data).__name__, rows[0].invoice, at, person, raw)),
            type=type(data).__name__,
            shop=self._shop,
            subject=subject,
            time=at.replace(tzinfo=self._zone).astimezone(UTC),
            received_at=self._received_at,
            data=raw,
            source=SOURCE,
            person=person,
            correlation_id=None if subject == rows[0].invoice else rows[0].invoice,
        )
        self._entries.append(Entry(event, len(rows)))
        self._kinds[kind] += len(rows)
        self._amounts[kind] += sum(row.amount for row in rows)

    def _id(
        self, name: str, invoice: str, at: datetime, person: str | None, raw: msgspec.Raw
    ) -> UUID:
        """From what the file says and how often it said so: the same in every import.

        From its own clock's time, too: a file read again in another zone is still the same file.
        """
        content = "\0".join((name, invoice, str(at), person or "", bytes(raw).decode()))
        self._occurrences[content] += 1
        return uuid5(_NAMESPACE, f"{content}\0{self._occurrences[content]}")

    def done(self) -> Retail:
        self._entries.sort(key=lambda entry: entry.event.time)
        return Retail(
            self._entries,
            Summary(
                lines=sum(self._kinds.values()),
                lines_by_kind=dict(self._kinds),
                rejected=sorted(self._rejected),
                events_by_type=Counter(entry.event.type for entry in self._entries),
                gross=_decimal(self._amounts[Kind.SALE]),
                refunds=_decimal(-self._amounts[Kind.CANCELLATION]),
                adjustments=_decimal(self._amounts[Kind.NEGATIVE_PRICE]),
            ),
        )


def _decimal(units: int) -> Decimal:
    return Decimal(money.text(units))
