"""`sales_minutes`: sales by the minute and country, for what is looked at while it happens."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from projections.orders import Posting
from projections.read_model import (
    Contents,
    Folded,
    ReadModel,
    Setting,
    Write,
)

MEASURES = ("gross", "discounts", "refunds", "orders")


def fold(changes: Sequence[Posting], _known: Mapping[Any, Any], _setting: Setting) -> Folded:
    """What to add to each row, sorted by key. A row that comes to nothing is left out."""
    found: dict[tuple[str, datetime, str, str], list[int]] = {}
    for posting in changes:
        minute = posting.at.replace(second=0, microsecond=0)
        key = (posting.shop, minute, posting.country, posting.currency)
        row = found.get(key)
        if row is None:
            row = found[key] = [0, 0, 0, 0]
        sign = posting.sign
        for line in posting.lines:
            row[0] += sign * line.gross
            row[1] += sign * line.discounts
            row[2] += sign * line.refunds
        row[3] += sign * posting.orders
    return Folded(
        [
            (shop, minute.isoformat(), *rest, *row)
            for (shop, minute, *rest), row in sorted(found.items())
            if any(row)
        ]
    )


_WRITE = """
    INSERT INTO sales_minutes AS known (
        shop, minute, country, currency, gross, discounts, refunds, orders
    )
    SELECT
        row->>0, (row->>1)::timestamptz, row->>2, row->>3,
        (row->4)::numeric * 0.0001, (row->5)::numeric * 0.0001, (row->6)::numeric * 0.0001,
        (row->>7)::bigint
    FROM {rows} AS row
    ON CONFLICT (shop, minute, country, currency) DO UPDATE SET
        gross = known.gross + excluded.gross, discounts = known.discounts + excluded.discounts,
        refunds = known.refunds + excluded.refunds, orders = known.orders + excluded.orders
"""


WRITE = Write(_WRITE)
_KEY = ("shop", "minute", "country", "currency")
SALES_MINUTES = ReadModel(
    "sales_minutes",
    version=1,
    fold=fold,
    write=WRITE,
    contents=Contents(
        _KEY,
        f"SELECT {', '.join((*_KEY, *MEASURES))} FROM sales_minutes "  # noqa: S608
        f"WHERE ({', '.join(MEASURES)}) <> (0, 0, 0, 0)",
        of_day="told.minute >= asked.starts AND told.minute < asked.ends",
    ),
)
