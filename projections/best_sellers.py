"""`best_sellers`: each product's units and money by day of the shop, ranked on asking."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

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

RANKINGS = ("units", "gross", "net", "orders")
MEASURES = ("gross", "discounts", "refunds", "orders", "units", "refunded_units")

Key = tuple[str, date, str, str]  # shop, day, product, currency


def fold(changes: Sequence[Posting], _known: Mapping[Any, Any], setting: Setting) -> Folded:
    """What to add to each row, sorted by key, and a name of its product.

    Of several names the greatest is kept: a label, not a figure.
    """
    rows: dict[Key, tuple[list[int], list[str]]] = {}
    clock = setting.clock
    for posting in changes:
        sign, day, counted = posting.sign, clock.day(clock.hour(posting.at)), set()
        for line in posting.lines:
            if not line.product:
                continue
            row = (posting.shop, day, line.product, posting.currency)
            known = rows.get(row)
            if known is None:
                known = rows[row] = ([0] * len(MEASURES), [""])
            amounts, name = known
            amounts[0] += sign * line.gross
            amounts[1] += sign * line.discounts
            amounts[2] += sign * line.refunds
            amounts[4] += sign * line.units
            amounts[5] += sign * line.refunded_units
            if posting.orders and row not in counted:
                counted.add(row)
                amounts[3] += sign
            name[0] = max(name[0], line.name)
    return Folded(
        [(*key, *rows[key][1], *rows[key][0]) for key in sorted(rows) if any(rows[key][0])]
    )


_WRITE = """
    INSERT INTO best_sellers AS known (
        shop, day, product, currency, name,
        gross, discounts, refunds, orders, units, refunded_units, revision
    )
    SELECT
        row->>0, (row->>1)::date, row->>2, row->>3, row->>4,
        (row->5)::numeric * 0.0001, (row->6)::numeric * 0.0001, (row->7)::numeric * 0.0001,
        (row->8)::bigint, (row->9)::bigint, (row->10)::bigint, 1
    FROM {rows} AS row
    ON CONFLICT (shop, day, product, currency) DO UPDATE SET
        name = greatest(known.name COLLATE "C", excluded.name COLLATE "C"),
        gross = known.gross + excluded.gross,
        discounts = known.discounts + excluded.discounts,
        refunds = known.refunds + excluded.refunds,
        orders = known.orders + excluded.orders,
        units = known.units + excluded.units,
        refunded_units = known.refunded_units + excluded.refunded_units,
        revision = known.revision + 1
    RETURNING known.*
"""


async def live(transaction: Transaction, setting: Setting) -> list[Figure]:
    """Every figure that is live, to fill Redis with."""
    rows = await transaction.fetch(
        "SELECT * FROM best_sellers WHERE day >= $1 ORDER BY shop, day, product, currency",
        setting.live_day,
    )
    return [_figure(row, setting) for row in rows]


def _figure(row: Row, _setting: Setting) -> Figure:
    day = row["day"].isoformat()
    value = {"day": day, "product": row["product"], "currency": row["currency"]}
    key = "|".join((day, row["product"], row["currency"]))
    value |= _measures(row)
    return Figure("best_sellers", row["shop"], day, key, value, row["revision"])


_KEY = ("shop", "day", "product", "currency")
# Which of several names is seen depends on the batches, too: a label, not a figure.
_CONTENTS = Contents(
    _KEY,
    f"SELECT {', '.join((*_KEY, *MEASURES))} FROM best_sellers "  # noqa: S608  (made of constants)
    f"WHERE ({', '.join(MEASURES)}) <> (0, 0, 0, 0, 0, 0)",
    of_day="told.day = asked.day",
)

WRITE = Write(_WRITE, live="day >= live.first_day", figure=_figure)
BEST_SELLERS = ReadModel(
    "best_sellers",
    version=1,
    fold=fold,
    write=WRITE,
    live=live,
    contents=_CONTENTS,
)


def _measures(row: Row) -> dict[str, Any]:
    amounts = {name: money.from_decimal(row[name]) for name in MEASURES[:3]}
    net = amounts["gross"] - amounts["discounts"] - amounts["refunds"]
    return (
        {"name": row["name"] or None}
        | {name: money.text(units) for name, units in amounts.items()}
        | {"net": money.text(net)}
        | {name: int(row[name]) for name in MEASURES[3:]}
    )


# The query.

_QUERY = """
    SELECT
        product, currency, max(name COLLATE "C") AS name,
        sum(gross) AS gross, sum(discounts) AS discounts, sum(refunds) AS refunds,
        sum(orders) AS orders, sum(units) AS units, sum(refunded_units) AS refunded_units
    FROM best_sellers
    WHERE shop = $1 AND ($2::date IS NULL OR day >= $2) AND ($3::date IS NULL OR day <= $3)
        AND ($4::text IS NULL OR currency = $4)
    GROUP BY product, currency
    HAVING (sum(gross), sum(discounts), sum(refunds), sum(orders), sum(units),
        sum(refunded_units)) <> (0, 0, 0, 0, 0, 0)
    ORDER BY {ranking} DESC, product, currency
    LIMIT $5
"""
_ORDER_BY = {
    "units": "sum(units)",
    "gross": "sum(gross)",
    "net": "sum(gross) - sum(discounts) - sum(refunds)",
    "orders": "sum(orders)",
}


async def best_sellers(
    transaction: Transaction,
    *,
    shop: str,
    first: date | None = None,
    last: date | None = None,
    ranking: str = "units",
    currency: str | None = None,
    limit: int = 10,
) -> list[dict[str, Any]]:
    """The products that sold best on the shop's days first..last, by one of RANKINGS."""
    query = _QUERY.format(ranking=_ORDER_BY[ranking])
    rows = await transaction.fetch(query, shop, first, last, currency, limit)
    return [
        {"rank": rank, "product": row["product"], "currency": row["currency"], **_measures(row)}
        for rank, row in enumerate(rows, 1)
    ]
