"""Sales records: what a shop's days and months come to, as they stand, a row a currency."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Literal, NamedTuple, TypeAlias

from projections.clock import ShopClock
from projections.read_model import Transaction
from streams import money

RecordGrain: TypeAlias = Literal["day", "month"]
Status: TypeAlias = Literal["open", "closed", "corrected"]


class Sums(NamedTuple):
    """Money in ten-thousandths. `customers` are those who completed an order, each once."""

    gross: int = 0
    discounts: int = 0
    refunds: int = 0
    tax: int = 0
    orders: int = 0
    units: int = 0
    customers: int = 0

    @property
    def net(self) -> int:
        return self.gross - self.discounts - self.refunds


class Record(NamedTuple):
    """What a day comes to, or a month by its first day."""

    period: date
    currency: str
    sums: Sums
    status: Status


async def records(
    transaction: Transaction,
    clock: ShopClock,
    *,
    shop: str,
    first: date | None = None,
    last: date | None = None,
    grain: RecordGrain = "day",
) -> list[Record]:
    """The records of the days first..last (both included), by period and currency; of a month what
    falls to these days. Closed days without a sale are among them, once a currency has begun."""
    rows = await transaction.fetch(
        _QUERY.format(told=_TOLD[grain]),
        shop,
        first or date.min,
        last or date.max,
        grain,
        clock.zone.key,
        clock.midnight(first) if first else None,
        clock.midnight(date.fromordinal(last.toordinal() + 1)) if last else None,
    )
    return [
        Record(
            row["period"],
            row["currency"],
            Sums(*(_whole(row[name]) for name in Sums._fields)),
            _STATUS[row["told"]],
        )
        for row in rows
    ]


def _whole(value: Decimal | int) -> int:
    """A sum of Postgres': amounts are numeric with four decimal places, counts have none."""
    return value if isinstance(value, int) else money.from_decimal(value)


_STATUS: Mapping[bool | None, Status] = {None: "open", False: "closed", True: "corrected"}


_QUERY = """
    WITH sold AS (
        SELECT date_trunc($4, period::timestamp)::date AS period, currency,
            sum(gross) AS gross, sum(discounts) AS discounts, sum(refunds) AS refunds,
            sum(tax) AS tax, sum(orders) AS orders, sum(units) AS units
        FROM sales_periods
        WHERE shop = $1 AND dimension = 'total' AND grain = 'day' AND period BETWEEN $2 AND $3
            AND (gross, discounts, refunds, tax, orders, units) <> (0, 0, 0, 0, 0, 0)
        GROUP BY 1, 2
    ), closed AS (
        SELECT DISTINCT date_trunc($4, day::timestamp)::date AS period, currency
        FROM days JOIN day_series AS series USING (shop)
        WHERE shop = $1 AND level = 'total' AND first_day <= day AND day BETWEEN $2 AND $3
    ), people AS (
        SELECT period, currency, count(*) AS customers
        FROM (
            SELECT date_trunc($4, hour AT TIME ZONE $5)::date AS period, currency, customer
            FROM sales_lines
            WHERE shop = $1 AND customer <> '' AND orders <> 0
                AND ($6::timestamptz IS NULL OR hour >= $6)
                AND ($7::timestamptz IS NULL OR hour < $7)
            GROUP BY 1, 2, 3
            HAVING sum(orders) > 0
        ) AS buying
        GROUP BY 1, 2
    )
    SELECT period, currency, coalesce(gross, 0) AS gross, coalesce(discounts, 0) AS discounts,
        coalesce(refunds, 0) AS refunds, coalesce(tax, 0) AS tax,
        coalesce(orders, 0)::bigint AS orders, coalesce(units, 0)::bigint AS units,
        coalesce(customers, 0) AS customers, {told} AS told
    FROM sold
    FULL JOIN closed USING (period, currency)
    LEFT JOIN people USING (period, currency)
    ORDER BY period, currency
"""
_TOLD: Mapping[RecordGrain, str] = {
    "day": "(SELECT revision > 0 FROM days WHERE shop = $1 AND day = period)",
    "month": "(SELECT revision > 0 FROM months WHERE shop = $1 AND month = period)",
}
