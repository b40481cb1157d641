"""`revenue`: sales by hour along one dimension at a time, from what orders contribute.

gross − discounts − refunds = net. Adjustments (corrections of the books) stand beside it.
A sale counts at its own time, a refund at the refund's.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from projections.clock import ShopClock
from projections.orders import Posting
from projections.read_model import (
    Contents,
    Figure,
    Folded,
    ReadModel,
    Row,
    Setting,
    Transaction,
    Write,
)
from streams import money

DIMENSIONS = ("total", "country", "category", "product")
MEASURES = (
    "gross",
    "discounts",
    "refunds",
    "adjustments",
    "orders",
    "units",
    "refunded_units",
)
_ORDERS = MEASURES.index("orders")
GRAINS = ("total", "hour", "day", "month")

_GROSS, _UNITS = MEASURES.index("gross"), MEASURES.index("units")
_SEEN = len(MEASURES)  # in a row that is being folded: which posting it has counted last

Rows = dict[str, list[int]]  # by key


def fold(changes: Sequence[Posting], _known: Mapping[Any, Any], setting: Setting) -> Folded:
    """What to add to each row, sorted by key. A row that comes to nothing is left out."""
    hours: dict[tuple[str, int, str], tuple[Rows, Rows, Rows, Rows]] = {}
    hour_of = setting.clock.hour
    for number, posting in enumerate(changes):
        at = (posting.shop, hour_of(posting.at), posting.currency)
        hour = hours.get(at)
        if hour is None:
            hour = hours[at] = ({}, {}, {}, {})  # as DIMENSIONS
        sign, orders = posting.sign, posting.sign * posting.orders
        total, country = _row(hour[0], ""), _row(hour[1], posting.country)
        gross = units = 0
        for line in posting.lines:
            category, product = _row(hour[2], line.category), _row(hour[3], line.product)
            amount, count = sign * line.gross, sign * line.units
            gross, units = gross + amount, units + count
            for row in (category, product):
                row[_GROSS] += amount
                row[_UNITS] += count
                if row[_SEEN] != number:
                    row[_SEEN] = number
                    row[_ORDERS] += orders
            if line.refunds or line.adjustments or line.discounts or line.refunded_units:
                for measure, name in _RARE:
                    for row in (total, country, category, product):
                        row[measure] += sign * getattr(line, name)
        for row in (total, country):
            row[_GROSS] += gross
            row[_UNITS] += units
            row[_ORDERS] += orders
    return Folded(
        sorted(
            (shop, dimension, hour, key, currency, *row[:_SEEN])
            for (shop, hour, currency), found in hours.items()
            for dimension, rows_by_key in zip(DIMENSIONS, found, strict=True)
            for key, row in rows_by_key.items()
            if any(row[:_SEEN])
        )
    )


_RARE = [(i, name) for i, name in enumerate(MEASURES) if name not in ("gross", "orders", "units")]


def _row(rows: Rows, key: str) -> list[int]:
    row = rows.get(key)
    if row is None:
        row = rows[key] = [0] * _SEEN + [-1]
    return row


_WRITE = """
    INSERT INTO revenue AS known (
        shop, dimension, hour, key, currency,
        gross, discounts, refunds, adjustments, orders, units, refunded_units, revision
    )
    SELECT
        row->>0, row->>1, to_timestamp((row->2)::bigint), row->>3, row->>4,
        (row->5)::numeric * 0.0001, (row->6)::numeric * 0.0001,
        (row->7)::numeric * 0.0001, (row->8)::numeric * 0.0001,
        (row->9)::bigint, (row->10)::bigint, (row->11)::bigint, 1
    FROM {rows} AS row
    ON CONFLICT (shop, dimension, hour, key, currency) DO UPDATE SET
        gross = known.gross + excluded.gross,
        discounts = known.discounts + excluded.discounts,
        refunds = known.refunds + excluded.refunds,
        adjustments = known.adjustments + excluded.adjustments,
        orders = known.orders + excluded.orders,
        units = known.units + excluded.units,
        refunded_units = known.refunded_units + excluded.refunded_units,
        revision = known.revision + 1
    RETURNING known.*
"""


# The live figures.


async def live(transaction: Transaction, setting: Setting) -> list[Figure]:
    """Every figure that is live, to fill Redis with."""
    return [_figure(row, setting) for row in await transaction.fetch(_LIVE, setting.live_since)]


_LIVE = "SELECT * FROM revenue WHERE hour >= $1 ORDER BY shop, dimension, hour, key, currency"


def _figure(row: Row, setting: Setting) -> Figure:
    hour = row["hour"].astimezone(setting.clock.zone)
    value = {
        "dimension": row["dimension"],
        "key": row["key"],
        "hour": hour.isoformat(),
        "day": hour.date().isoformat(),
        "currency": row["currency"],
        **_measures(row),
    }
    key = "|".join((row["dimension"], row["hour"].isoformat(), row["key"], row["currency"]))
    return Figure("revenue", row["shop"], value["day"], key, value, row["revision"])


_KEY = ("shop", "dimension", "hour", "key", "currency")
_CONTENTS = Contents(
    _KEY,
    f"SELECT {', '.join((*_KEY, *MEASURES))} FROM revenue "  # noqa: S608  (made of constants)
    f"WHERE ({', '.join(MEASURES)}) <> (0, 0, 0, 0, 0, 0, 0)",
    of_day="hour >= starts AND hour < ends",
)

WRITE = Write(_WRITE, live="hour >= live.since", figure=_figure)
REVENUE = ReadModel("revenue", version=1, fold=fold, write=WRITE, live=live, contents=_CONTENTS)


def _measures(row: Row) -> dict[str, Any]:
    """A row's measures as the API gives them: exact decimals as strings, counts as numbers."""
    amounts = {name: money.from_decimal(row[name]) for name in MEASURES[:4]}
    net = amounts["gross"] - amounts["discounts"] - amounts["refunds"]
    return (
        {name: money.text(units) for name, units in amounts.items()}
        | {"net": money.text(net)}
        | {name: int(row[name]) for name in MEASURES[4:]}
    )


# The query.

_SUMS = ", ".join(f"sum({name}) AS {name}" for name in MEASURES)

_QUERY = f"""
    SELECT
        CASE $6::text
            WHEN 'hour' THEN hour
            WHEN 'day' THEN date_trunc('day', hour, $7)
            WHEN 'month' THEN date_trunc('month', hour, $7)
        END AS period,
        key, currency, {_SUMS}
    FROM revenue
    WHERE shop = $1 AND dimension = $2 AND hour >= $3 AND hour < $4
        AND ($5::text IS NULL OR currency = $5)
        AND ($8::text[] IS NULL OR key = ANY ($8))
    GROUP BY period, key, currency
    HAVING (sum(gross), sum(discounts), sum(refunds), sum(adjustments), sum(orders), sum(units),
        sum(refunded_units)) <> (0, 0, 0, 0, 0, 0, 0)
    ORDER BY period, sum(gross) DESC, key, currency
"""  # noqa: S608  (made of constants)


_PERIODS: Mapping[str, Callable[[datetime], str]] = {
    "hour": datetime.isoformat,
    "day": lambda begins: begins.date().isoformat(),
    "month": lambda begins: f"{begins:%Y-%m}",
}


async def revenue(
    transaction: Transaction,
    clock: ShopClock,
    *,
    shop: str,
    first: date | None = None,
    last: date | None = None,
    grain: str = "day",
    by: str = "total",
    currency: str | None = None,
    keys: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Sales of the shop's days first..last (both included), a row per period, key and currency."""
    rows = await transaction.fetch(
        _QUERY,
        shop,
        by,
        *clock.span(first, last),
        currency,
        grain,
        clock.zone.key,
        list(keys) if keys else None,
    )
    return [_period(row, grain, by, clock) for row in rows]


def _period(row: Row, grain: str, by: str, clock: ShopClock) -> dict[str, Any]:
    begins = row["period"].astimezone(clock.zone) if row["period"] else None
    period = {grain: _PERIODS[grain](begins)} if begins else {}
    key = {} if by == "total" else {by: row["key"] or None}
    return {**period, **key, "currency": row["currency"], **_measures(row)}
