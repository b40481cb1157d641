"""What tests say of orders, and a recount of sales that shares no code with the folds.

`said` makes events; `recount` reads them as a bookkeeper would: all at once, from plain JSON, with
fractions, and with no idea of states, batches or differences.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg

from projections.read_model import Row
from streams import codec
from streams.codec import Fact
from streams.events import Event
from streams.topics import key_of, partition_of

AT = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)
Told = Mapping[str, Any]
Figures = dict[tuple[Any, ...], dict[str, int]]

MEASURES = ("gross", "discounts", "refunds", "adjustments", "orders", "units", "refunded_units")


def said(
    kind: str,
    order: str = "o1",
    *,
    event_id: str = "e1",
    minutes: float = 0,
    shop: str = "main",
    person: str | None = None,
    **data: Any,
) -> Event:
    """An event of an order, so many minutes after `AT`; received a day later."""
    at = AT + timedelta(minutes=minutes)
    fields = {
        "id": event_id,
        "type": kind,
        "shop": shop,
        "subject": order,
        "time": at.isoformat(),
        "received_at": (AT + timedelta(days=1)).isoformat(),
        "data": {"order_id": order, **data},
    }
    return codec.decode_envelope(
        json.dumps(fields | ({"person": person} if person else {})).encode()
    )


def line(product: str, price: str, quantity: int = 1, **more: Any) -> dict[str, Any]:
    """A line of an order."""
    return {"product_id": product, "price": price, "quantity": quantity, **more}


def facts(events: Iterable[Event], partitions: int = 1) -> list[Fact]:
    """The events as they come decoded from the log, appended in this order."""
    ends: dict[int, int] = defaultdict(int)
    found = []
    for event in events:
        partition = partition_of(key_of(event), partitions)
        data = codec.decode_data(event, "orders")
        found.append(Fact("orders", partition, ends[partition], event, data))
        ends[partition] += 1
    return found


# The recount.


def recount(events: Iterable[Event], zone: str = "UTC") -> tuple[Figures, Figures]:
    """`revenue` by (shop, dimension, hour, key, currency) and `best_sellers` by (shop, day,
    product, currency): every measure that is not zero."""
    told: dict[tuple[str, str], dict[str, Told]] = defaultdict(dict)
    for event in events:
        one = json.loads(codec.encode(event)) | {"at": event.time}
        told[event.shop, event.subject][event.id] = one
    revenue: Figures = defaultdict(lambda: defaultdict(int))
    best: Figures = defaultdict(lambda: defaultdict(int))
    for (shop, _), of_order in told.items():
        for at, currency, country, counts, lines in _entries(list(of_order.values())):
            local = at.astimezone(ZoneInfo(zone))
            hour = int(local.replace(minute=0, second=0, microsecond=0).timestamp())
            rows, products = set(), set()
            for sold in lines:
                keys = {
                    "total": "",
                    "country": country,
                    "category": sold["category"],
                    "product": sold["product"],
                }
                for dimension, key in keys.items():
                    row = (shop, dimension, hour, key, currency)
                    rows.add(row)
                    for measure in MEASURES:
                        revenue[row][measure] += sold.get(measure, 0)
                if sold["product"]:
                    product = (shop, local.date(), sold["product"], currency)
                    products.add(product)
                    for measure in set(MEASURES) - {"adjustments"}:
                        best[product][measure] += sold.get(measure, 0)
            for row in rows if counts else ():
                revenue[row]["orders"] += 1
            for product in products if counts else ():
                best[product]["orders"] += 1
    return nonzero(revenue), nonzero(best)


def nonzero(figures: Mapping[tuple[Any, ...], Mapping[str, int]]) -> Figures:
    """Figures without zeros, which a row that was never written has too."""
    found = {
        row: {measure: value for measure, value in measures.items() if value}
        for row, measures in figures.items()
    }
    return {row: measures for row, measures in found.items() if measures}


def _by_time(told: Told) -> tuple[datetime, str]:
    return told["at"], told["id"]


def _entries(told: Sequence[Told]) -> list[tuple[datetime, str, str, bool, list[dict[str, Any]]]]:
    """The entries of one order in the books: when, currency, country, is it the sale, lines."""
    by_time = sorted(told, key=_by_time)

    def first(kind: str) -> Told | None:
        return next((one for one in by_time if one["type"] == kind), None)

    sale, cancelled = first("OrderCompleted"), first("OrderCancelled")
    update = next(
        (
            one
            for one in reversed(by_time)
            if one["type"] == "OrderUpdated" and one["data"].get("products")
        ),
        None,
    )
    refunds: dict[str, Told] = {}
    for one in by_time:
        if one["type"] == "OrderRefunded":
            refunds.setdefault(one["data"].get("refund_id") or one["id"], one)

    speakers: list[Told | None] = [
        sale,
        first("OrderPlaced"),
        update,
        cancelled,
        first("OrderPaid"),
    ]
    speakers += [*sorted(refunds.values(), key=_by_time)]

    def answer(field: str) -> str:
        answers = (one["data"].get(field) for one in speakers if one)
        return next((value for value in answers if value), "")

    currency, country = answer("currency") or "XXX", answer("country")
    sold = _sold(sale, update) if sale else []
    entries = [(sale["at"], currency, country, True, sold)] if sale else []
    given_back = sorted(refunds.values(), key=_by_time)
    if cancelled and sale:
        given_back.append(cancelled)  # it gives back what no refund does, earlier or later
    left = [[one["gross"] - one["discounts"], one["units"]] for one in sold]
    for one in given_back:
        if lines := _back(one, sold, left):
            own = one["data"]
            where = own.get("currency") or currency, own.get("country") or country
            entries.append((one["at"], *where, False, lines))
    for one in by_time:
        if one["type"] == "SalesAdjusted":
            own = one["data"]
            amount = {"product": "", "category": "", "adjustments": _units(own["amount"])}
            where = own.get("currency") or currency, own.get("country") or country
            entries.append((one["at"], *where, False, [amount]))
    return entries


def _units(amount: str) -> int:
    return int(Decimal(amount) * 10_000)


def _sold(sale: Told, update: Told | None) -> list[dict[str, Any]]:
    data = update["data"] if update and update["at"] >= sale["at"] else sale["data"]
    gross = [_units(one["price"]) * one.get("quantity", 1) for one in data["products"]]
    discount = min(_units(data.get("discount") or "0"), sum(gross))
    return [
        {
            "product": one["product_id"],
            "category": one.get("category") or "",
            "gross": amount,
            "discounts": share,
            "units": one.get("quantity", 1),
        }
        for one, amount, share in zip(data["products"], gross, shared(discount, gross), strict=True)
    ]


def shared(amount: int, weights: Sequence[int]) -> list[int]:
    """An amount by weight, in whole units: what rounding down leaves goes to those who lost most
    by it, the first of them first."""
    if not sum(weights):
        return [0] * len(weights)
    exact = [Fraction(amount * weight, sum(weights)) for weight in weights]
    shares = [floor(share) for share in exact]
    losers = sorted(range(len(weights)), key=lambda i: shares[i] - exact[i])
    for i in losers[: amount - sum(shares)]:
        shares[i] += 1
    return shares


def _back(told: Told, sold: Sequence[Told], left: list[list[int]]) -> list[dict[str, Any]]:
    """What one refund or the cancellation gives back; it is taken off what is left."""
    data, is_refund = told["data"], told["type"] == "OrderRefunded"
    if is_refund and data.get("products"):
        return [_line_back(one, sold, left) for one in data["products"]]
    amount = next((data[name] for name in ("revenue", "total") if data.get(name) is not None), None)
    if not is_refund or amount is None:
        back = [tuple(rest) for rest in left]
        left[:] = [[0, 0] for _ in left]
    else:
        amounts = [money for money, _ in left]
        if not sum(amounts):
            unknown = {"product": "", "category": "", "refunds": _units(amount)}
            return [unknown] if _units(amount) else []
        back = [(share, 0) for share in shared(_units(amount), amounts)]
        for rest, (share, _) in zip(left, back, strict=True):
            rest[0] = max(0, rest[0] - share)
    return [
        {
            "product": one["product"],
            "category": one["category"],
            "refunds": money,
            "refunded_units": units,
        }
        for one, (money, units) in zip(sold, back, strict=True)
        if money or units
    ]


def _line_back(one: Told, sold: Sequence[Told], left: list[list[int]]) -> dict[str, Any]:
    units = one.get("quantity", 1)
    money, category = _units(one["price"]) * units, one.get("category") or ""
    open_money, open_units = money, units
    for line_sold, rest in zip(sold, left, strict=True):
        if line_sold["product"] == one["product_id"]:
            category = one.get("category") or line_sold["category"]
            taken = (min(open_money, rest[0]), min(open_units, rest[1]))
            rest[:] = [rest[0] - taken[0], rest[1] - taken[1]]
            open_money, open_units = open_money - taken[0], open_units - taken[1]
    return {
        "product": one["product_id"],
        "category": category,
        "refunds": money,
        "refunded_units": units,
    }


# The books as Postgres has them.


async def booked(connection: "asyncpg.Connection | asyncpg.Pool") -> tuple[Figures, Figures]:
    """What stands in `revenue` and `best_sellers`, in the form of a recount."""
    revenue = await connection.fetch("SELECT * FROM revenue")
    best = await connection.fetch("SELECT * FROM best_sellers")
    return (
        nonzero(
            {
                (
                    row["shop"],
                    row["dimension"],
                    int(row["hour"].timestamp()),
                    row["key"],
                    row["currency"],
                ): _measured(row)
                for row in revenue
            }
        ),
        nonzero(
            {
                (row["shop"], row["day"], row["product"], row["currency"]): _measured(row)
                for row in best
            }
        ),
    )


def _measured(row: Row) -> dict[str, int]:
    found = {}
    for measure in MEASURES:
        amount = row.get(measure, 0)
        if isinstance(amount, Decimal):
            amount *= 10_000
            assert amount == int(amount)
        found[measure] = int(amount)
    return found
