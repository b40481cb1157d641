"""`customer_days`: what each customer ordered and gave back, by day, country and currency.

One customer's orders lie on several partitions, so a row is a sum that anyone may add to. Who is
new, comes back, or stays away is not kept but asked of these days (`customers`, `retention`,
`customer_value`): a late event may move somebody's first day either way. Orders without a customer
are kept as those of the customer `""`, and are nobody's anywhere.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from projections.orders import Posting
from projections.read_model import (
    Contents,
    Folded,
    ReadModel,
    Setting,
    Write,
)

NOBODY = ""
MEASURES = ("gross", "discounts", "refunds", "tax", "orders", "units", "refunded_units")
_KEY = ("shop", "customer", "day", "country", "currency")


def fold(changes: Sequence[Posting], _known: Mapping[Any, Any], setting: Setting) -> Folded:
    """What to add to each row, sorted by key. A row that comes to nothing is left out."""
    rows: dict[tuple[str, str, date, str, str], list[int]] = {}
    hour_of, day_of = setting.clock.hour, setting.clock.day
    for posting in changes:
        day = day_of(hour_of(posting.at))
        key = (posting.shop, posting.customer, day, posting.country, posting.currency)
        row = rows.get(key)
        if row is None:
            row = rows[key] = [0] * len(MEASURES)
        sign = posting.sign
        row[4] += sign * posting.orders
        for line in posting.lines:
            row[0] += sign * line.gross
            row[3] += sign * line.tax
            row[5] += sign * line.units
            if line.discounts or line.refunds or line.refunded_units:
                row[1] += sign * line.discounts
                row[2] += sign * line.refunds
                row[6] += sign * line.refunded_units
    return Folded(
        [
            (shop, customer, day.isoformat(), country, currency, *row)
            for (shop, customer, day, country, currency), row in sorted(rows.items())
            if any(row)
        ]
    )


_WRITE = """
    INSERT INTO customer_days AS known (
        shop, customer, day, country, currency,
        gross, discounts, refunds, tax, orders, units, refunded_units
    )
    SELECT
        row->>0, row->>1, (row->>2)::date, row->>3, row->>4,
        (row->5)::numeric * 0.0001, (row->6)::numeric * 0.0001, (row->7)::numeric * 0.0001,
        (row->8)::numeric * 0.0001, (row->9)::bigint, (row->10)::bigint, (row->11)::bigint
    FROM {rows} AS row
    ON CONFLICT (shop, customer, day, country, currency) DO UPDATE SET
        gross = known.gross + excluded.gross,
        discounts = known.discounts + excluded.discounts,
        refunds = known.refunds + excluded.refunds,
        tax = known.tax + excluded.tax,
        orders = known.orders + excluded.orders,
        units = known.units + excluded.units,
        refunded_units = known.refunded_units + excluded.refunded_units
"""
WRITE = Write(_WRITE)

_CONTENTS = Contents(
    _KEY,
    f"SELECT {', '.join((*_KEY, *MEASURES))} FROM customer_days "  # noqa: S608
    f"WHERE ({', '.join(MEASURES)}) <> (0, 0, 0, 0, 0, 0, 0)",
    of_day="told.day = asked.day",
)
CUSTOMER_DAYS = ReadModel(
    "customer_days",
    version=1,
    fold=fold,
    write=WRITE,
    contents=_CONTENTS,
    renamed=(
        """
        UPDATE customer_days SET customer = pseudonym
        FROM unnest($2::text[], $3::text[]) AS erased (name, pseudonym)
        WHERE shop = $1 AND customer = name
        """,
    ),
)
