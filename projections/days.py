"""`days`: the shop's days as they were told when they closed, corrections applied.

A read model of the sales group only takes note of which days its sales have changed, in its own
transaction; the closer (`projections.closer`) reads the notes and tells what they come to.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from projections.orders import Posting
from projections.read_model import (
    Folded,
    ReadModel,
    Row,
    Setting,
    Transaction,
    Write,
)
from streams import money

LEVELS = ("total", "country", "category", "product", "variant")
"""Dimensions of `sales_periods`; to tell of one more is one more word."""

DENSE = LEVELS[:3]
"""Of these every series that has begun is told of every day, zeros included. There are few of them.
Products and variants, of which a shop may have tens of thousands that nobody buys that day, are
told where something was sold or given back: of what is not told, nothing was."""


def fold(changes: Sequence[Posting], _known: Mapping[Any, Any], setting: Setting) -> Folded:
    """The shops' days in which sales change, in order."""
    hour_of, day_of = setting.clock.hour, setting.clock.day
    return Folded(sorted({(change.shop, day_of(hour_of(change.at))) for change in changes}))


# A note that is there already is moved on: no one can take it away without having seen the change.
_WRITE = """
    INSERT INTO day_changes AS known (shop, day, first_at, last_at, change)
    SELECT row->>0, (row->>1)::date, now(), now(), pg_current_xact_id()::text::bigint
    FROM {rows} AS row
    ON CONFLICT (shop, day) DO UPDATE SET last_at = excluded.last_at, change = excluded.change
"""

WRITE = Write(_WRITE)
DAY_CHANGES = ReadModel("day_changes", version=1, fold=fold, write=WRITE)


async def note_complete(transaction: Transaction, shop: str) -> None:
    """An importer says that all it had to tell of a shop's past is applied by now."""
    await transaction.execute(
        """
        INSERT INTO day_histories VALUES ($1, clock_timestamp())
        ON CONFLICT (shop) DO UPDATE SET complete_at = excluded.complete_at
        """,
        shop,
    )


# The query.

MOST_ROWS = 200_000

_QUERY = """
    SELECT day, revision, series.key, currency,
        coalesce(gross, 0) AS gross, coalesce(discounts, 0) AS discounts,
        coalesce(refunds, 0) AS refunds, coalesce(orders, 0) AS orders, coalesce(units, 0) AS units
    FROM days
    JOIN day_series AS series USING (shop)
    LEFT JOIN day_figures USING (shop, level, day, key, currency)
    WHERE shop = $1 AND level = $2 AND day BETWEEN $3 AND $4 AND first_day <= day
        AND ($5::text[] IS NULL OR key = ANY ($5))
        AND ($6::text IS NULL OR currency = $6)
    ORDER BY day, key, currency
"""

_COUNT = """
    SELECT count(*) FROM (
        SELECT FROM days JOIN day_series USING (shop)
        WHERE shop = $1 AND level = $2 AND day BETWEEN $3 AND $4 AND first_day <= day
            AND ($5::text[] IS NULL OR key = ANY ($5))
            AND ($6::text IS NULL OR currency = $6)
        LIMIT $7
    ) AS asked
"""


class TooManyDays(Exception):
    """There are more rows than can be answered at once."""


async def days(
    transaction: Transaction,
    *,
    shop: str,
    first: date | None = None,
    last: date | None = None,
    level: str = "total",
    keys: Sequence[str] | None = None,
    currency: str | None = None,
) -> list[dict[str, Any]]:
    """The closed days of first..last (both included), a row per day, key and currency.

    Raises TooManyDays."""
    asked = (
        *(shop, level, first or date.min, last or date.max),
        *(list(keys) if keys else None, currency),
    )
    if await transaction.fetchval(_COUNT, *asked, MOST_ROWS + 1) > MOST_ROWS:
        raise TooManyDays(f"there are more than {MOST_ROWS:,} rows: ask for fewer days or keys")
    return [_told(row, level) for row in await transaction.fetch(_QUERY, *asked)]


def _told(row: Row, level: str) -> dict[str, Any]:
    amounts = {name: money.from_decimal(row[name]) for name in ("gross", "discounts", "refunds")}
    net = amounts["gross"] - amounts["discounts"] - amounts["refunds"]
    return {
        "day": row["day"].isoformat(),
        **({} if level == "total" else {level: row["key"] or None}),
        "currency": row["currency"],
        **{name: money.text(units) for name, units in amounts.items()},
        "net": money.text(net),
        "orders": row["orders"],
        "units": row["units"],
        "status": "corrected" if row["revision"] else "closed",
        "revision": row["revision"],
    }
