"""Files of Retailrocket's "events": what visitors view, put into their cart, and buy.

The lines stand in no order, so a file is read whole, as bare rows; events are made of them one by
one. The file has no prices at all. A transaction is told as the sale that it is, with its lines
at 0 in `XXX`, the ISO code for "no currency": units and orders count, and no money is made up.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import NAMESPACE_URL, uuid5

import msgspec
from msgspec import Meta, Struct

from streams import codec
from streams.codec import AHEAD, Refused
from streams.csv_file import rows_of
from streams.events import Data, Event, Id, Line, OrderCompleted, ProductAdded, ProductViewed, Time
from streams.money import Money
from streams.past import Ids, Past, Tally
from streams.replay import Entry

SOURCE = "retailrocket"
NO_CURRENCY = "XXX"
VIEW, CART, TRANSACTION = "view", "addtocart", "transaction"

_NAMESPACE = uuid5(NAMESPACE_URL, "https://www.kaggle.com/datasets/retailrocket/ecommerce-dataset")
# The file as published says the words; samples of it number them.
_ACTS: Mapping[str, str] = {"0": VIEW, "1": CART, "2": TRANSACTION} | {
    word: word for word in (VIEW, CART, TRANSACTION)
}

COLUMNS: Mapping[str, str] = {
    "timestamp": "milliseconds since 1970, or a time such as 2015-09-03 22:01:27.081",
    "visitorid": "1 to 128 characters",
    "event": "view, addtocart or transaction, or 0, 1 or 2",
    "itemid": "1 to 128 characters",
    "transactionid": "at most 128 characters",
}


class Row(Struct, frozen=True, array_like=True, gc=False):
    """A line, its fields in the order of `COLUMNS`, and its number in the file."""

    at: Time
    visitor: Id
    act: str
    item: Id
    transaction: Annotated[str, Meta(max_length=128)]
    line: int


def read(path: Path, shop: str, received_at: datetime) -> Past:
    """Reads a .csv or .csv.gz file when its first event is taken."""
    tally = Tally()
    return Past(_entries(path, shop, received_at, tally), tally)


def parse(fields: Sequence[str], line: int, latest: datetime) -> Row:
    """A line's fields, checked. Raises Refused."""
    if len(fields) != len(COLUMNS):
        raise Refused("", "not as many fields as the header names")
    act = _ACTS.get(fields[2])
    if act is None:
        raise _wrong(2, fields)
    try:
        told = (_moment(fields[0]), fields[1], act, *fields[3:], line)
        row = msgspec.convert(told, Row, strict=False)
    except msgspec.ValidationError as error:
        raise _wrong(int(codec.refusal(error).field.strip("[]")), fields) from None
    if row.at.year < 1970 or row.at > latest:
        raise Refused("timestamp", f"expected a time from 1970 until now, found {fields[0]!r}")
    if bool(row.transaction) != (act == TRANSACTION):
        reason = "no transaction has one" if row.transaction else "a transaction without its id"
        raise Refused("transactionid", reason)
    return row


def _moment(told: str) -> str | datetime:
    """What msgspec reads as a time."""
    if not told.isdecimal():
        return f"{told}Z"
    try:
        return datetime.fromtimestamp(int(told) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return told


def _wrong(index: int, fields: Sequence[str]) -> Refused:
    column, expected = list(COLUMNS.items())[index]
    found = fields[index] if len(fields[index]) <= 64 else f"{fields[index][:64]}…"
    return Refused(column, f"expected {expected}, found {found!r}")


def order(rows: Sequence[Row]) -> OrderCompleted:
    """A transaction's lines as its sale, of which no price is known."""
    return OrderCompleted(
        order_id=rows[0].transaction,
        currency=NO_CURRENCY,
        products=[Line(product_id=row.item, price=Money(0)) for row in rows],
    )


def _entries(path: Path, shop: str, received_at: datetime, tally: Tally) -> Iterator[Entry]:
    ids = Ids(_NAMESPACE)
    for rows in _acts(path, received_at + AHEAD, tally):
        row = rows[0]
        subject, data = _told(rows)
        tally.note(row.act, len(rows))
        raw, name = codec.raw(data), type(data).__name__
        event = Event(
            id=ids.next(row.at, name, row.visitor, subject, bytes(raw).decode()),
            type=name,
            shop=shop,
            subject=subject,
            time=row.at,
            received_at=received_at,
            data=raw,
            source=SOURCE,
            person=row.visitor,
        )
        yield Entry(event, len(rows))


def _told(rows: Sequence[Row]) -> tuple[str, Data]:
    """Whom or what an act is about, and what it says. A visitor has one cart."""
    row = rows[0]
    if row.act == TRANSACTION:
        return row.transaction, order(rows)
    if row.act == CART:
        return row.visitor, ProductAdded(cart_id=row.visitor, product_id=row.item)
    return row.visitor, ProductViewed(product_id=row.item)


def _acts(path: Path, latest: datetime, tally: Tally) -> Iterator[Sequence[Row]]:
    """Rows in order of time, those of a transaction together at its first."""
    rows: list[Row] = []
    for line, fields in rows_of(path, [*COLUMNS]):
        try:
            rows.append(parse(fields, line, latest))
        except Refused as refused:
            tally.reject(line, refused)
    rows.sort(key=lambda row: (row.at, row.line))
    transactions: dict[str, list[Row]] = {}
    for row in rows:
        if row.act == TRANSACTION:
            known = transactions.setdefault(row.transaction, [])
            if known and known[0].visitor != row.visitor:
                reason = f"another visitor's, {known[0].visitor}, on line {known[0].line}"
                tally.reject(row.line, Refused("transactionid", reason))
            else:
                known.append(row)
    for row in rows:
        if row.act != TRANSACTION:
            yield [row]
        elif row is transactions[row.transaction][0]:
            yield transactions[row.transaction]
