"""The lines that sales are made of, one after another: what somebody who checks the books wants."""

from collections.abc import AsyncIterator
from datetime import date, datetime

import asyncpg

from projections.read_model import Row, Transaction
from projections.sales_lines import MEASURES

KEY = (
    *("hour", "order_id", "product", "variant", "category", "currency"),
    *("country", "channel", "customer"),
)
_AT_ONCE = 2_000  # rows

# What was taken back and said again is nothing.
_LINES = f"""
    SELECT {", ".join(KEY)}, {", ".join(f"sum({name}) AS {name}" for name in MEASURES)}
    FROM sales_lines
    WHERE shop = $1 AND hour >= $2 AND hour < $3
    GROUP BY {", ".join(KEY)}
    HAVING ({", ".join(f"sum({name})" for name in MEASURES)})
        <> ({", ".join("0" for _ in MEASURES)})
    ORDER BY {", ".join(KEY)}
"""  # noqa: S608  (made of constants)


async def lines(
    transaction: "asyncpg.Connection[asyncpg.Record]", shop: str, starts: datetime, ends: datetime
) -> AsyncIterator[Row]:
    """The lines of a shop in some time, by hour and order; a few at a time are held."""
    async for row in transaction.cursor(_LINES, shop, starts, ends, prefetch=_AT_ONCE):
        yield row


_NAMES = """
    SELECT product, max(name COLLATE "C") AS name FROM best_sellers
    WHERE shop = $1 AND day >= $2 AND day <= $3
    GROUP BY product
"""


async def names_of_products(
    transaction: Transaction, shop: str, first: date, last: date
) -> dict[str, str]:
    """What the products are called that were sold on some days."""
    rows = await transaction.fetch(_NAMES, shop, first, last)
    return {row["product"]: row["name"] for row in rows}
