"""`orders` and `revenue`, written by hand for one purpose: dicts, no validation.

Every contender but Tillstream itself shares this, so that they differ only in how records reach it
and how offsets are kept. It knows sales and refunds by line, which is all that the benchmark's
events hold. Anything else of Tillstream's (other events, quarantine, live figures) is left out.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import asyncpg
import orjson

SCHEMA = """
    CREATE TABLE orders (
        shop text NOT NULL, order_id text NOT NULL, status text NOT NULL, state json NOT NULL,
        PRIMARY KEY (shop, order_id)
    );
    CREATE TABLE revenue (
        shop text NOT NULL, dimension text NOT NULL, hour timestamptz NOT NULL, key text NOT NULL,
        currency text NOT NULL, gross numeric NOT NULL, refunds numeric NOT NULL,
        orders bigint NOT NULL, units bigint NOT NULL, refunded_units bigint NOT NULL,
        PRIMARY KEY (shop, dimension, hour, key, currency)
    );
    CREATE TABLE offsets (partition int PRIMARY KEY, next_offset bigint NOT NULL);
"""

_LOAD = """
    SELECT shop, order_id, state
    FROM orders JOIN unnest($1::text[], $2::text[]) AS wanted (shop, order_id)
    USING (shop, order_id)
"""
_ORDERS = """
    INSERT INTO orders
    SELECT shop, order_id, status, state::json
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS n (shop, order_id, status, state)
    ON CONFLICT (shop, order_id) DO UPDATE SET status = excluded.status, state = excluded.state
"""
_REVENUE = """
    INSERT INTO revenue AS r
    SELECT shop, dimension, hour, key, currency,
        gross * 0.0001, refunds * 0.0001, orders, units, refunded_units
    FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::text[],
        $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[])
        AS n (shop, dimension, hour, key, currency, gross, refunds, orders, units, refunded_units)
    ON CONFLICT (shop, dimension, hour, key, currency) DO UPDATE SET
        gross = r.gross + excluded.gross, refunds = r.refunds + excluded.refunds,
        orders = r.orders + excluded.orders, units = r.units + excluded.units,
        refunded_units = r.refunded_units + excluded.refunded_units
"""
_OFFSETS = """
    INSERT INTO offsets SELECT * FROM unnest($1::int[], $2::bigint[])
    ON CONFLICT (partition) DO UPDATE SET next_offset = excluded.next_offset
"""

Key = tuple[str, str]
State = dict[str, Any]
Revenue = dict[tuple[str, str, str, str, str], list[int]]


async def connect(dsn: str, schema: str) -> Any:
    """A connection to the contender's own schema."""
    return await asyncpg.connect(dsn, server_settings={"search_path": schema, "jit": "off"})


async def offsets(dsn: str, schema: str) -> dict[int, int]:
    """Where to go on, by partition; asked while batches may still be applied."""
    connection = await connect(dsn, schema)
    rows = await connection.fetch("SELECT partition, next_offset FROM offsets")
    await connection.close()
    return {row["partition"]: row["next_offset"] for row in rows}


async def commit(
    connection: Any, events: Sequence[Any], next_offsets: Mapping[int, int] | None = None
) -> None:
    """Applies a batch in one transaction, with its offsets where they are kept here."""
    async with connection.transaction():
        if events:
            await apply(connection, events)
        if next_offsets:
            partitions = sorted(next_offsets)
            await connection.execute(_OFFSETS, partitions, [next_offsets[p] for p in partitions])


async def apply(connection: Any, events: Iterable[Any]) -> None:
    """Applies decoded events within the caller's transaction."""
    by_order: dict[Key, list[Any]] = defaultdict(list)
    for event in events:
        by_order[event["shop"], event["subject"]].append(event)
    keys = sorted(by_order)
    known = await connection.fetch(_LOAD, [k[0] for k in keys], [k[1] for k in keys])
    states = {(row["shop"], row["order_id"]): orjson.loads(row["state"]) for row in known}
    revenue: Revenue = {}
    orders = [fold(key, states.get(key), by_order[key], revenue) for key in keys]
    await connection.execute(_ORDERS, *zip(*orders, strict=True))
    table = [
        (shop, dimension, _instant(hour), key, currency, *amounts)
        for (shop, dimension, hour, key, currency), amounts in sorted(revenue.items())
    ]
    await connection.execute(_REVENUE, *zip(*table, strict=True))


def fold(
    key: Key, state: State | None, events: Iterable[Any], revenue: Revenue
) -> tuple[str, str, str, str]:
    """An order's new row; what it changes in sales is added to `revenue`."""
    state = state or {"sale": None, "refunds": {}}
    for event in events:
        if event["type"] == "OrderCompleted":
            if state["sale"] is None:
                state["sale"] = {"time": event["time"], **event["data"]}
                add(revenue, event, 1)
        elif event["type"] == "OrderRefunded":
            refund = event["data"].get("refund_id", event["id"])
            if refund not in state["refunds"]:
                state["refunds"][refund] = {"time": event["time"], **event["data"]}
                add(revenue, event, 0)
    status = "refunded" if state["refunds"] else "completed"
    return (*key, status, orjson.dumps(state).decode())


def add(revenue: Revenue, event: Any, sale: int) -> None:
    """Adds one event to the rows of the four dimensions."""
    data, shop, hour = event["data"], event["shop"], event["time"][:13]
    currency = data["currency"]
    total = _row(revenue, (shop, "total", hour, "", currency))
    country = _row(revenue, (shop, "country", hour, data["country"], currency))
    counted: dict[int, list[int]] = {id(total): total, id(country): country}
    for line in data["products"]:
        quantity = line.get("quantity", 1)
        amount = units(line["price"]) * quantity
        category = _row(revenue, (shop, "category", hour, line["category"], currency))
        product = _row(revenue, (shop, "product", hour, line["product_id"], currency))
        counted[id(category)], counted[id(product)] = category, product
        for row in (total, country, category, product):
            if sale:
                row[0] += amount
                row[3] += quantity
            else:
                row[1] += amount
                row[4] += quantity
    if sale:
        for row in counted.values():
            row[2] += 1


def _row(revenue: Revenue, key: tuple[str, str, str, str, str]) -> list[int]:
    row = revenue.get(key)
    if row is None:
        row = revenue[key] = [0, 0, 0, 0, 0]
    return row


def units(amount: str) -> int:
    """`"2.55"` as 25500."""
    whole, _, fraction = amount.partition(".")
    return int(whole + fraction.ljust(4, "0"))


@lru_cache
def _instant(hour: str) -> datetime:
    return datetime.fromisoformat(hour + ":00:00+00:00")
