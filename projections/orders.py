"""`orders`: each order as the set of its events leaves it, and what it contributes to sales.

An order's contribution is a pure function of the *set* of its events. Whatever order they come
in, however often, however late, the figures built from new minus old contribution end the same.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Generic, TypeVar

import asyncpg
import msgspec
from msgspec import Struct

from projections.clock import ShopClock
from projections.read_model import (
    Contents,
    Figure,
    Folded,
    FoldFailed,
    ReadModel,
    Row,
    Setting,
    Transaction,
    Write,
    as_json,
)
from streams import money
from streams.codec import Fact
from streams.events import (
    Data,
    Line,
    OrderCancelled,
    OrderCompleted,
    OrderDelivered,
    OrderPaid,
    OrderPlaced,
    OrderRefunded,
    OrderShipped,
    OrderUpdated,
    SalesAdjusted,
)
from streams.money import allocate

NO_CURRENCY = "XXX"  # ISO 4217: no currency involved
UNKNOWN = ""

D = TypeVar("D", bound=Data)


class Told(Struct, Generic[D], frozen=True, gc=False):
    """One event of an order, as far as the order remembers it."""

    at: datetime
    id: str
    data: D
    person: str | None = None


class Order(Struct, frozen=True, omit_defaults=True, gc=False):
    """All that an order's figures depend on. Of two events that say the same, the earlier holds.

    Refunds are kept by refund id, adjustments by event id; an update's lines replace the sale's.
    """

    placed: Told[OrderPlaced] | None = None
    sale: Told[OrderCompleted] | None = None
    update: Told[OrderUpdated] | None = None
    paid: Told[OrderPaid] | None = None
    shipped: Told[OrderShipped] | None = None
    delivered: Told[OrderDelivered] | None = None
    cancelled: Told[OrderCancelled] | None = None
    refunds: dict[str, Told[OrderRefunded]] = {}
    adjustments: dict[str, Told[SalesAdjusted]] = {}


class PostingLine(Struct, frozen=True, gc=False):
    """One product's share of a posting; money in ten-thousandths."""

    product: str
    category: str
    name: str
    gross: int = 0
    discounts: int = 0
    refunds: int = 0
    adjustments: int = 0
    units: int = 0
    refunded_units: int = 0
    tax: int = 0
    variant: str = ""


class Posting(Struct, frozen=True, gc=False):
    """What an order contributes to sales at one moment; sign -1 takes it back.

    `orders` is 1 for the sale itself, 0 for what follows. Its lines' `tax` is what the sale
    brought, shipping's included, less what refunds gave back.
    """

    shop: str
    at: datetime
    currency: str
    country: str
    orders: int
    lines: Sequence[PostingLine]
    sign: int = 1
    order_id: str = ""
    customer: str = ""
    channel: str = ""


# The fold.

Key = tuple[str, str]  # shop, order id

_FIELDS: Mapping[type[Data], str] = {
    OrderPlaced: "placed",
    OrderCompleted: "sale",
    OrderPaid: "paid",
    OrderShipped: "shipped",
    OrderDelivered: "delivered",
    OrderCancelled: "cancelled",
}
_CONCERNING = frozenset({*_FIELDS, OrderUpdated, OrderRefunded, SalesAdjusted})


_UNKNOWN_ORDER = Order()


def evolve(order: Order, fact: Fact) -> Order:
    """The order with one more event known. The events' order does not matter, nor repetition."""
    event, data = fact.event, fact.data
    told: Told[Any] = Told(event.time, event.id, data, event.person)
    field = _FIELDS.get(type(data))
    if field is not None:
        return msgspec.structs.replace(order, **{field: _earlier(getattr(order, field), told)})
    if isinstance(data, OrderUpdated):
        if not data.products:
            return order  # it says nothing of what was sold
        return msgspec.structs.replace(order, update=_later(order.update, told))
    if isinstance(data, OrderRefunded):
        key = data.refund_id or told.id
        kept = {**order.refunds, key: _earlier(order.refunds.get(key), told)}
        return msgspec.structs.replace(order, refunds=kept)
    adjustments = {**order.adjustments, told.id: _earlier(order.adjustments.get(told.id), told)}
    return msgspec.structs.replace(order, adjustments=adjustments)


def _earlier(known: Told[Any] | None, told: Told[Any]) -> Told[Any]:
    return told if known is None or (told.at, told.id) < (known.at, known.id) else known


def _later(known: Told[Any] | None, told: Told[Any]) -> Told[Any]:
    return told if known is None or (told.at, told.id) > (known.at, known.id) else known


def contribution(shop: str, order_id: str, order: Order) -> list[Posting]:
    """All that an order adds to sales: the sale, what was given back, what was corrected."""
    postings = []
    left: list[PostingLine] = []
    currency, country = _currency(order), _country(order)
    whose = (order_id, _person(order) or UNKNOWN, _channel(order))
    if order.sale:
        left = _lines(order, order.sale.data)
        postings.append(Posting(shop, order.sale.at, currency, country, 1, left, 1, *whose))
    if order.refunds or order.cancelled:
        postings += [
            Posting(shop, at, own_currency, own_country, 0, lines, 1, *whose)
            for at, own_currency, own_country, lines in _given_back(order, left, currency, country)
        ]
    for told in sorted(order.adjustments.values(), key=lambda told: (told.at, told.id)):
        amount = PostingLine(UNKNOWN, UNKNOWN, "", adjustments=told.data.amount)
        own_currency, own_country = told.data.currency or currency, told.data.country or country
        postings.append(Posting(shop, told.at, own_currency, own_country, 0, [amount], 1, *whose))
    return postings


def _lines(order: Order, data: OrderPlaced | OrderCompleted | OrderUpdated) -> list[PostingLine]:
    """What was sold, as last updated, with the order's discount shared out over its lines."""
    if order.update and (not order.sale or order.update.at >= order.sale.at):
        data = order.update.data
    # By position: this is made for every line that is ever sold.
    lines = [
        PostingLine(
            line.product_id,
            line.category or UNKNOWN,
            line.name or "",
            line.price * line.quantity,
            0,
            0,
            0,
            line.quantity,
            0,
            0,
            line.sku or line.variant or "",
        )
        for line in data.products
    ]
    gross = [line.gross for line in lines]
    if data.discount is None:
        shares = [
            min(line.discount or 0, amount)
            for line, amount in zip(data.products, gross, strict=True)
        ]
    else:
        shares = _told_discounts(data) or allocate(min(data.discount, sum(gross)), gross)
    if any(shares):
        lines = [
            msgspec.structs.replace(line, discounts=share)
            for line, share in zip(lines, shares, strict=True)
        ]
    taxes = [line.tax or 0 for line in data.products]
    if tax := sum(taxes) if data.tax is None else data.tax:
        lines = _taxed(lines, tax, taxes)
    return lines


def _taxed(lines: Sequence[PostingLine], tax: int, told: Sequence[int]) -> list[PostingLine]:
    """An order's tax, that of its shipping included, shared out by what its lines were taxed; where
    they do not say, by what they cost."""
    weights = told if sum(told) else [line.gross - line.discounts for line in lines]
    shares = allocate(tax, weights if sum(weights) else [1] * len(lines))
    return [
        msgspec.structs.replace(line, tax=share) for line, share in zip(lines, shares, strict=True)
    ]


def _told_discounts(data: OrderPlaced | OrderCompleted | OrderUpdated) -> list[int] | None:
    """What was taken off each line, where that is told of all, and fits."""
    told = [line.discount for line in data.products]
    shares = [
        min(off, line.price * line.quantity)
        for off, line in zip(told, data.products, strict=True)
        if off is not None
    ]
    return shares if len(shares) == len(told) and sum(shares) == data.discount else None


def _given_back(
    order: Order, sold: Sequence[PostingLine], currency: str, country: str
) -> Iterable[tuple[datetime, str, str, list[PostingLine]]]:
    """Refunds in order of time, then the rest where a sold order was cancelled."""
    left = [[line.gross - line.discounts, line.units] for line in sold]
    tax_left = sum(line.tax for line in sold)
    variants = [line.variant for line in order.sale.data.products] if order.sale else []
    refunds = sorted(order.refunds.values(), key=lambda told: (told.at, told.id))
    # A cancellation gives back what no refund does, be it made before or after.
    cancelled = [order.cancelled] if order.cancelled and order.sale else []
    events: list[Told[Any]] = [*refunds, *cancelled]
    for told in events:
        lines = _told_shares(told.data, variants, sold, left)
        if lines is None:
            lines = _refund_lines(told.data, sold, left)
        if lines:
            tax = _told_tax(told.data, tax_left)
            tax_left = max(0, tax_left - tax)
            if tax:
                lines = _untaxed(lines, tax)
            own_currency, own_country = told.data.currency or currency, told.data.country or country
            yield told.at, own_currency, own_country, lines


def _told_tax(data: OrderRefunded | OrderCancelled, left: int) -> int:
    """The tax that one refund gives back: what it says, or what its lines do; where it gives back
    all that is left, all that is left of the tax."""
    if isinstance(data, OrderCancelled):
        return left
    if data.tax is not None:
        return data.tax
    if data.products:
        return sum(line.tax or 0 for line in data.products)
    return left if data.revenue is None and data.total is None else 0


def _untaxed(lines: Sequence[PostingLine], tax: int) -> list[PostingLine]:
    """A refund's tax, shared out by what its lines give back."""
    weights = [line.refunds for line in lines]
    shares = allocate(tax, weights if sum(weights) else [1] * len(lines))
    return [
        msgspec.structs.replace(line, tax=-share) for line, share in zip(lines, shares, strict=True)
    ]


def _told_shares(
    data: OrderRefunded | OrderCancelled,
    variants: Sequence[str | None],
    sold: Sequence[PostingLine],
    left: list[list[int]],
) -> list[PostingLine] | None:
    """What falls to each sold line, where a refund tells it exactly."""
    if not isinstance(data, OrderRefunded) or not data.shares or len(variants) != len(sold):
        return None
    shares = {share.variant: share for share in data.shares}
    if not shares.keys() <= set(variants):
        return None
    lines = []
    for one, variant, rest in zip(sold, variants, left, strict=True):
        if share := shares.pop(variant or "", None):
            rest[:] = max(0, rest[0] - share.amount), max(0, rest[1] - share.quantity)
            lines += _given([one], [share.amount], [share.quantity])
    return lines


def _refund_lines(
    data: OrderRefunded | OrderCancelled, sold: Sequence[PostingLine], left: list[list[int]]
) -> list[PostingLine]:
    """What one refund gives back, by product; takes it off what is `left` of each sold line."""
    if isinstance(data, OrderRefunded) and data.products:
        return [_refund_line(line, sold, left) for line in data.products]
    amounts = [amount for amount, _ in left]
    told = data.revenue if data.revenue is not None else data.total
    if isinstance(data, OrderCancelled) or told is None:
        units = [count for _, count in left]
        left[:] = [[0, 0] for _ in left]
        return _given(sold, amounts, units)
    if not sum(amounts):
        return [PostingLine(UNKNOWN, UNKNOWN, "", refunds=told)] if told else []
    shares = allocate(told, amounts)
    left[:] = [[max(0, a - s), n] for (a, n), s in zip(left, shares, strict=True)]
    return _given(sold, shares, [0] * len(shares))


def _refund_line(line: Line, sold: Sequence[PostingLine], left: list[list[int]]) -> PostingLine:
    amount, units = line.price * line.quantity, line.quantity
    category, name = line.category or UNKNOWN, line.name or ""
    variant = line.sku or line.variant or ""
    open_amount, open_units = amount, units
    for one, rest in zip(sold, left, strict=True):
        if one.product == line.product_id:
            category, name = line.category or one.category, line.name or one.name
            variant = variant or one.variant
            taken, fewer = min(open_amount, rest[0]), min(open_units, rest[1])
            rest[0], rest[1] = rest[0] - taken, rest[1] - fewer
            open_amount, open_units = open_amount - taken, open_units - fewer
    return PostingLine(
        line.product_id, category, name, refunds=amount, refunded_units=units, variant=variant
    )


def _given(
    sold: Sequence[PostingLine], amounts: Sequence[int], units: Sequence[int]
) -> list[PostingLine]:
    return [
        PostingLine(
            line.product,
            line.category,
            line.name,
            refunds=amount,
            refunded_units=count,
            variant=line.variant,
        )
        for line, amount, count in zip(sold, amounts, units, strict=True)
        if amount or count
    ]


def difference(old: Sequence[Posting], new: Sequence[Posting]) -> list[Posting]:
    """What to take back and what to add, to come from one contribution to the other."""
    gone, come = list(old), []
    for posting in new:
        if posting in gone:
            gone.remove(posting)  # two refunds may be alike: each stands for one only
        else:
            come.append(posting)
    return [msgspec.structs.replace(posting, sign=-1) for posting in gone] + come


def _currency(order: Order) -> str:
    sale = order.sale
    return (sale and sale.data.currency) or _first(order, "currency") or NO_CURRENCY


def _country(order: Order) -> str:
    sale = order.sale
    return (sale and sale.data.country) or _first(order, "country") or UNKNOWN


def _channel(order: Order) -> str:
    sale = order.sale
    return (sale and sale.data.channel) or _first(order, "channel") or UNKNOWN


def _first(order: Order, field: str) -> str | None:
    """What the order's events say of a field, the sale first."""
    for told in _tellers(order):
        if value := getattr(told.data, field, None):
            found: str = value
            return found
    return None


def _person(order: Order) -> str | None:
    for told in _tellers(order):
        if told.person:
            return told.person
    return None


def _tellers(order: Order) -> Sequence[Told[Any]]:
    # Asked for every order that changes, and most have nothing but a sale.
    tellers = (order.sale, order.placed, order.update, order.cancelled, order.paid)
    found: list[Told[Any]] = [told for told in tellers if told is not None]
    if order.refunds:
        found += sorted(order.refunds.values(), key=lambda told: (told.at, told.id))
    return found


def status(order: Order, postings: Sequence[Posting]) -> str:
    """One word for where an order stands."""
    if order.cancelled:
        return "cancelled"
    if order.refunds and _all_refunded(postings):
        return "refunded"
    for stage, field in _LATEST_FIRST:
        if getattr(order, field):
            return stage
    return "adjusted" if order.adjustments else "updated"


_STAGES = {
    "placed": "placed",
    "paid": "paid",
    "completed": "sale",
    "shipped": "shipped",
    "delivered": "delivered",
    "cancelled": "cancelled",
}
_LATEST_FIRST = tuple(reversed(_STAGES.items()))


def _all_refunded(postings: Sequence[Posting]) -> bool:
    lines = [line for posting in postings for line in posting.lines]
    refunded = sum(line.refunds for line in lines)
    return 0 < refunded >= sum(line.gross - line.discounts for line in lines)


def fold(facts: Sequence[Fact], known: Mapping[Key, Order], _setting: Setting) -> Folded:
    """Evolves the orders that these facts concern, and says what that changes in sales.

    A row is (shop, order id, status, state, revision, times), the revision being 0 for one that is
    known; the times are when it was ordered, completed, paid and shipped, None where it was not.
    """
    of_order: dict[Key, list[Fact]] = defaultdict(list)
    for fact in facts:
        if type(fact.data) in _CONCERNING:
            of_order[fact.event.shop, fact.event.subject].append(fact)
    states, changes, rows = {}, [], []
    for key in sorted(of_order):
        try:
            old = known.get(key)
            new = _evolve_all(old or _UNKNOWN_ORDER, of_order[key])
            if new != (old or _UNKNOWN_ORDER):
                postings = contribution(*key, new)
                changes += difference(contribution(*key, old), postings) if old else postings
                states[key] = new
                shop, order_id = key
                state = _encoder.encode(new).decode()
                told = status(new, postings), state, 0 if old else 1
                rows.append((shop, order_id, *told, *_times(new)))
        except FoldFailed:
            raise
        except Exception as error:
            raise FoldFailed("orders", of_order[key][-1]) from error
    return Folded(rows, changes, states)


def _times(order: Order) -> tuple[datetime | None, ...]:
    """When it was ordered, completed, paid and shipped. Who places no orders completes them."""
    placed, sale, paid, shipped = order.placed, order.sale, order.paid, order.shipped
    ordered = placed or sale
    return (
        ordered.at if ordered else None,
        sale.at if sale else None,
        paid.at if paid else None,
        shipped.at if shipped else None,
    )


def _evolve_all(order: Order, facts: Iterable[Fact]) -> Order:
    for fact in facts:
        try:
            order = evolve(order, fact)
        except Exception as error:
            raise FoldFailed("orders", fact) from error
    return order


# The states, and the upsert.

_encoder = msgspec.json.Encoder(enc_hook=money.encode)
_decoder = msgspec.json.Decoder(Order, dec_hook=money.decode)


async def load(transaction: Transaction, facts: Sequence[Fact]) -> dict[Key, Order]:
    """The orders that these facts concern, as far as they are known."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for fact in facts:
        if type(fact.data) in _CONCERNING:
            wanted[fact.event.shop].add(fact.event.subject)
    return {
        (shop, order_id): _decoder.decode(state)
        for shop, order_ids in wanted.items()
        for order_id, state in await transaction.fetch(_LOAD, shop, as_json(order_ids))
    }


async def known(
    transaction: Transaction, shop: str, order_ids: Collection[str]
) -> dict[str, Order]:
    """Those of a shop's orders that are known, as their events leave them."""
    rows = await transaction.fetch(_LOAD, shop, as_json(order_ids))
    return {order_id: _decoder.decode(state) for order_id, state in rows}


_LOAD = """
    SELECT order_id, state FROM orders
    WHERE shop = $1 AND order_id = ANY (ARRAY(SELECT jsonb_array_elements_text($2::jsonb)))
"""


async def upsert(transaction: Transaction, rows: Sequence[Any], _setting: Setting) -> list[Figure]:
    """Sets the orders to their new states.

    What the fold did not know is not in the table, for no one else may write these partitions'
    orders: it is copied in, which takes half of an insert's time.
    """
    if new := [row for row in rows if row[4]]:
        await transaction.copy_records_to_table("orders", records=new, columns=_COLUMNS)
    for known in by_size([row for row in rows if not row[4]]):
        await transaction.execute(_UPDATE, as_json(known))
    return []


def by_size(rows: Sequence[Any], most: int = 16 * 1024 * 1024) -> Iterable[Sequence[Any]]:
    """Rows in parts whose states have so many characters at most, or one row each: Postgres holds
    up to 256 MB in one jsonb."""
    part: list[Any] = []
    size = 0
    for row in rows:
        size += len(row[3])
        if part and size > most:
            yield part
            part, size = [], len(row[3])
        part.append(row)
    if part:
        yield part


TIMES = ("ordered_at", "completed_at", "paid_at", "shipped_at")
_COLUMNS = ("shop", "order_id", "status", "state", "revision", *TIMES)
_UPDATE = """
    UPDATE orders SET
        status = row->>2, state = (row->>3)::json, revision = revision + 1,
        ordered_at = (row->>5)::timestamptz, completed_at = (row->>6)::timestamptz,
        paid_at = (row->>7)::timestamptz, shipped_at = (row->>8)::timestamptz
    FROM jsonb_array_elements($1::jsonb) AS row
    WHERE shop = row->>0 AND order_id = row->>1
"""

# The same for a few, whether they are known or not.
_WRITE = """
    INSERT INTO orders AS known (
        shop, order_id, status, state, revision, ordered_at, completed_at, paid_at, shipped_at
    )
    SELECT
        row->>0, row->>1, row->>2, (row->>3)::json, 1, (row->>5)::timestamptz,
        (row->>6)::timestamptz, (row->>7)::timestamptz, (row->>8)::timestamptz
    FROM {rows} AS row
    ON CONFLICT (shop, order_id) DO UPDATE SET
        status = excluded.status, state = excluded.state, revision = known.revision + 1,
        ordered_at = excluded.ordered_at, completed_at = excluded.completed_at,
        paid_at = excluded.paid_at, shipped_at = excluded.shipped_at
"""


_CONTENTS = Contents(
    ("shop", "order_id"),
    f"SELECT shop, order_id, status, state::text AS state, {', '.join(TIMES)} FROM orders",  # noqa: S608
)

# In a state, what looks like this is nothing else: within a text each quote has a backslash.
# One pass over all orders, however many names: an index of who is in a state would be written with
# every change of an order, and keep it from being changed in its place.
_RENAMED = """
    WITH RECURSIVE erased AS (
        SELECT nth, '"person":' || to_json(name)::text AS said,
            '"person":' || to_json(pseudonym)::text AS given
        FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS erased (name, pseudonym, nth)
    ),
    told AS (
        SELECT order_id, state::text AS state, 0::bigint AS done FROM orders
        WHERE shop = $1
            AND EXISTS (SELECT FROM erased WHERE strpos(orders.state::text, erased.said) > 0)
        UNION ALL
        SELECT order_id, replace(told.state, said, given), nth
        FROM told JOIN erased ON nth = done + 1
    )
    UPDATE orders SET state = told.state::json FROM told
    WHERE shop = $1 AND orders.order_id = told.order_id AND done = cardinality($2::text[])
"""
ORDERS = ReadModel(
    "orders",
    version=2,
    fold=fold,
    upsert=upsert,
    write=Write(_WRITE),
    load=load,
    contents=_CONTENTS,
    renamed=(_RENAMED,),
)


async def postings_on(
    transaction: "asyncpg.Connection[asyncpg.Record]", shop: str, day: date, clock: ShopClock
) -> AsyncIterator[list[Posting]]:
    """All that the known orders contribute to one day of a shop, whenever it was told, some orders
    at a time: of a busy shop's day there may be millions."""
    # Times stand in a state as they were sent, in a zone that may be a day and more away.
    near = [(day + timedelta(days=away)).isoformat() for away in range(-2, 3)]

    def on_that_day(rows: Sequence[Row]) -> list[Posting]:
        return [
            posting
            for row in rows
            for posting in contribution(shop, row["order_id"], _decoder.decode(row["state"]))
            if clock.day(clock.hour(posting.at)) == day
        ]

    found = await transaction.cursor(_NEAR, shop, "|".join(near))
    while rows := await found.fetch(_MOST_STATES):
        if postings := await asyncio.to_thread(on_that_day, rows):
            yield postings


_MOST_STATES = 2_000  # in memory at once
_NEAR = "SELECT order_id, state FROM orders WHERE shop = $1 AND state::text ~ $2"


# The query.


async def order(transaction: Transaction, shop: str, order_id: str) -> dict[str, Any] | None:
    """One order with its lines and times; money as decimal strings. None if it is not known."""
    row = await transaction.fetchrow(
        "SELECT status, state, revision FROM orders WHERE shop = $1 AND order_id = $2",
        shop,
        order_id,
    )
    return (
        None
        if row is None
        else describe(shop, order_id, _decoder.decode(row["state"])) | {"revision": row["revision"]}
    )


async def several(
    transaction: Transaction, shop: str, order_ids: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Those of these orders that are known, by id."""
    rows = await transaction.fetch(_LOAD, shop, as_json(order_ids))
    return {order_id: describe(shop, order_id, _decoder.decode(state)) for order_id, state in rows}


def describe(shop: str, order_id: str, known: Order) -> dict[str, Any]:
    """An order as the API gives it."""
    postings = contribution(shop, order_id, known)
    own = _currency(known)
    others = sorted({posting.currency for posting in postings} - {own})
    told = known.sale or known.placed
    ordered = known.sale or known.update or known.placed
    return {
        "shop": shop,
        "order_id": order_id,
        "status": status(known, postings),
        "person": _person(known),
        "country": _country(known) or None,
        "currency": own,
        **{
            f"{stage}_at": moment.at if (moment := getattr(known, field)) else None
            for stage, field in _STAGES.items()
        },
        **_sums(postings, own),
        **({"other_currencies": {one: _sums(postings, one) for one in others}} if others else {}),
        "shipping": _told_amount(told, "shipping"),
        "tax": _told_amount(told, "tax"),
        "total": _told_amount(told, "total"),
        "lines": [
            {
                "product": line.product,
                "name": line.name or None,
                "category": line.category or None,
                "units": line.units,
                "gross": money.text(line.gross),
                "discounts": money.text(line.discounts),
            }
            for line in (_lines(known, ordered.data) if ordered else ())
        ],
    }


def _sums(postings: Sequence[Posting], currency: str) -> dict[str, str]:
    """What postings in a currency come to."""
    lines = [line for posting in postings if posting.currency == currency for line in posting.lines]
    gross, discounts, refunds, adjustments = (
        sum(getattr(line, measure) for line in lines)
        for measure in ("gross", "discounts", "refunds", "adjustments")
    )
    return {
        "gross": money.text(gross),
        "discounts": money.text(discounts),
        "refunds": money.text(refunds),
        "net": money.text(gross - discounts - refunds),
        "adjustments": money.text(adjustments),
    }


def _told_amount(told: Told[Any] | None, field: str) -> str | None:
    amount = getattr(told.data, field) if told else None
    return None if amount is None else money.text(amount)
