"""`sales_lines`: what orders contribute to sales, line by line, with all that tells lines apart.

Few sums are kept (`revenue`, `sales_periods`); whatever else is asked is added up from here.
"""

import csv
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from projections.clock import instant
from projections.orders import Posting
from projections.read_model import (
    Contents,
    Figure,
    Folded,
    ReadModel,
    Setting,
    Transaction,
    Write,
    write_alone,
)
from streams import money

DIMENSIONS = ("country", "channel", "category", "product", "variant", "customer")
MEASURES = (
    "gross",
    "discounts",
    "refunds",
    "adjustments",
    "tax",
    "orders",
    "units",
    "refunded_units",
)
AMOUNTS = MEASURES[:5]

_KEY = (
    *("shop", "hour", "currency", "country", "channel", "customer", "order_id"),
    *("category", "product", "variant"),
)
_COLUMNS = (*_KEY, *MEASURES)
_MANY = 100  # rows that are copied in, which has one more round trip


def fold(changes: Sequence[Posting], _known: Mapping[Any, Any], setting: Setting) -> Folded:
    """A row for each line, of the sign of its posting."""
    hour_of, text = setting.clock.hour, money.shown
    hours: dict[int, str] = {}
    rows = []
    for posting in changes:
        sign, orders, hour = posting.sign, posting.sign * posting.orders, hour_of(posting.at)
        head = (
            posting.shop,
            hours.get(hour) or hours.setdefault(hour, instant(hour).isoformat()),
            posting.currency,
            posting.country,
            posting.channel,
            posting.customer,
            posting.order_id,
        )
        rows += [
            (
                *head,
                line.category,
                line.product,
                line.variant,
                text(sign * line.gross),
                text(sign * line.discounts),
                text(sign * line.refunds),
                text(sign * line.adjustments),
                text(sign * line.tax),
                orders,
                sign * line.units,
                sign * line.refunded_units,
            )
            for line in posting.lines
        ]
    return Folded(rows)


async def upsert(transaction: Transaction, rows: Sequence[Any], setting: Setting) -> list[Figure]:
    """Adds the rows. Many are copied as text: a numeric takes asyncpg a Decimal to write."""
    if len(rows) < _MANY:
        return await write_alone(transaction, WRITE, rows, setting)
    table = io.StringIO()
    # Quoted, no text is ever taken for a NULL.
    csv.writer(table, quoting=csv.QUOTE_NONNUMERIC).writerows(rows)
    # For a file asyncpg would make a class at every call, which stays until garbage is collected,
    # and the rows with it.
    source = _in_one_piece(table.getvalue().encode())
    await transaction.copy_to_table("sales_lines", source=source, columns=_COLUMNS, format="csv")
    return []


async def _in_one_piece(content: bytes) -> AsyncIterator[bytes]:
    yield content


_WRITE = """
    INSERT INTO sales_lines
    SELECT
        row->>0, (row->>1)::timestamptz, row->>2, row->>3, row->>4, row->>5, row->>6,
        row->>7, row->>8, row->>9,
        (row->>10)::numeric, (row->>11)::numeric, (row->>12)::numeric, (row->>13)::numeric,
        (row->>14)::numeric, (row->>15)::int, (row->>16)::bigint, (row->>17)::bigint
    FROM {rows} AS row
"""
WRITE = Write(_WRITE)

_SUMS = ", ".join(f"sum({name}) AS {name}" for name in MEASURES)
# How often something was taken back and said again depends on the batches; what is left does not.
_CONTENTS = Contents(
    _KEY,
    f"SELECT {', '.join(_KEY)}, {_SUMS} FROM sales_lines GROUP BY {', '.join(_KEY)} "  # noqa: S608
    f"HAVING ({', '.join(f'sum({name})' for name in MEASURES)}) <> (0, 0, 0, 0, 0, 0, 0, 0)",
)
SALES_LINES = ReadModel(
    "sales_lines",
    version=1,
    fold=fold,
    upsert=upsert,
    write=WRITE,
    contents=_CONTENTS,
    renamed=(
        """
        UPDATE sales_lines SET customer = pseudonym
        FROM unnest($2::text[], $3::text[]) AS erased (name, pseudonym)
        WHERE shop = $1 AND customer = name AND customer <> ''
        """,
    ),
)
