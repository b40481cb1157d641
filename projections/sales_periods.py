"""`sales_periods`: sales by day and by month, along one dimension at a time.

The sums that dashboards ask for: whatever the range, whole months are one row a key.
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
from projections.sales_lines import MEASURES

DIMENSIONS = ("total", "country", "channel", "category", "product", "variant")

_ORDERS = MEASURES.index("orders")
_SEEN = len(MEASURES)  # in a row that is being folded: which posting it has counted last

Rows = dict[str, list[int]]  # by key


def fold(changes: Sequence[Posting], _known: Mapping[Any, Any], setting: Setting) -> Folded:
    """What to add to each row, sorted by key. A row that comes to nothing is left out."""
    days: dict[tuple[str, date, str], tuple[Rows, ...]] = {}
    hour_of, day_of = setting.clock.hour, setting.clock.day
    for number, posting in enumerate(changes):
        at = (posting.shop, day_of(hour_of(posting.at)), posting.currency)
        rows = days.get(at)
        if rows is None:
            rows = days[at] = tuple({} for _ in DIMENSIONS)
        _add(rows, posting, number)
    months: dict[tuple[str, date, str], tuple[Rows, ...]] = {}
    for (shop, day, currency), found in days.items():
        month = months.setdefault(
            (shop, day.replace(day=1), currency), tuple({} for _ in DIMENSIONS)
        )
        for rows_of_month, rows_of_day in zip(month, found, strict=True):
            for key, row in rows_of_day.items():
                known = rows_of_month.get(key)
                added = row if known is None else [a + b for a, b in zip(known, row, strict=True)]
                rows_of_month[key] = added
    return Folded(
        sorted(
            (shop, grain, dimension, period.isoformat(), key, currency, *row[:_SEEN])
            for grain, periods in (("day", days), ("month", months))
            for (shop, period, currency), found in periods.items()
            for dimension, rows_by_key in zip(DIMENSIONS, found, strict=True)
            for key, row in rows_by_key.items()
            if any(row[:_SEEN])
        )
    )


def _add(rows: tuple[Rows, ...], posting: Posting, number: int) -> None:
    """Adds a posting to its day's rows; an order counts once in each of them."""
    sign, orders = posting.sign, posting.sign * posting.orders
    whole = (_row(rows[0], ""), _row(rows[1], posting.country), _row(rows[2], posting.channel))
    for row in whole:
        row[_ORDERS] += orders
    for line in posting.lines:
        told = (
            _row(rows[3], line.category),
            _row(rows[4], line.product),
            _row(rows[5], line.variant or line.product),
        )
        for row in told:
            if row[_SEEN] != number:
                row[_SEEN] = number
                row[_ORDERS] += orders
        gross, units, tax = sign * line.gross, sign * line.units, sign * line.tax
        rare = line.refunds or line.adjustments or line.discounts or line.refunded_units
        for row in (*whole, *told):
            row[0] += gross
            row[4] += tax
            row[6] += units
            if rare:
                row[1] += sign * line.discounts
                row[2] += sign * line.refunds
                row[3] += sign * line.adjustments
                row[7] += sign * line.refunded_units


def _row(rows: Rows, key: str) -> list[int]:
    row = rows.get(key)
    if row is None:
        row = rows[key] = [0] * _SEEN + [-1]
    return row


_WRITE = """
    INSERT INTO sales_periods AS known (
        shop, grain, dimension, period, key, currency,
        gross, discounts, refunds, adjustments, tax, orders, units, refunded_units
    )
    SELECT
        row->>0, row->>1, row->>2, (row->>3)::date, row->>4, row->>5,
        (row->6)::numeric * 0.0001, (row->7)::numeric * 0.0001, (row->8)::numeric * 0.0001,
        (row->9)::numeric * 0.0001, (row->10)::numeric * 0.0001,
        (row->11)::bigint, (row->12)::bigint, (row->13)::bigint
    FROM {rows} AS row
    ON CONFLICT (shop, grain, dimension, period, key, currency) DO UPDATE SET
        gross = known.gross + excluded.gross,
        discounts = known.discounts + excluded.discounts,
        refunds = known.refunds + excluded.refunds,
        adjustments = known.adjustments + excluded.adjustments,
        tax = known.tax + excluded.tax,
        orders = known.orders + excluded.orders,
        units = known.units + excluded.units,
        refunded_units = known.refunded_units + excluded.refunded_units
"""


WRITE = Write(_WRITE)
_KEY = ("shop", "grain", "dimension", "period", "key", "currency")
_CONTENTS = Contents(
    _KEY,
    f"SELECT {', '.join((*_KEY, *MEASURES))} FROM sales_periods "  # noqa: S608
    f"WHERE ({', '.join(MEASURES)}) <> (0, 0, 0, 0, 0, 0, 0, 0)",
    of_day="told.grain = 'day' AND told.period = asked.day",
)
SALES_PERIODS = ReadModel("sales_periods", version=1, fold=fold, write=WRITE, contents=_CONTENTS)
