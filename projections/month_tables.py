"""What was told of months, and which are to be told; and the query of those that were."""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import msgspec

from projections.clock import following
from projections.closing import NOTHING, Series, Values
from projections.closing_months import ClosedDay, ToldMonth
from projections.day_tables import by_day
from projections.days import LEVELS
from projections.read_model import Row, Transaction, as_json
from streams import money


class Candidate(NamedTuple):
    """A month with closed days which nobody was told of, or not of all."""

    shop: str
    month: date
    next_day: date  # all days of the shop before it are closed
    revision: int | None  # of what was told, if it was


async def candidates(transaction: Transaction) -> list[Candidate]:
    """By shop and month. No day comes to be open again, nor is a revision ever counted down: so
    their number and sum tell whether anything was told since."""
    rows = await transaction.fetch(
        """
        SELECT shop, month, next_day, revision
        FROM (
            SELECT shop, date_trunc('month', day::timestamp)::date AS month, count(*) AS day_count,
                sum(revision) AS day_revisions
            FROM days GROUP BY 1, 2
        ) AS closed
        JOIN day_shops USING (shop)
        LEFT JOIN months AS told USING (shop, month)
        WHERE (told.day_count, told.day_revisions)
            IS DISTINCT FROM (closed.day_count, closed.day_revisions)
        ORDER BY shop, month
        """
    )
    return [Candidate(*row) for row in rows]


async def closed_days(transaction: Transaction, shop: str, month: date) -> dict[date, ClosedDay]:
    rows = await transaction.fetch(
        "SELECT day, revision, told_at FROM days "
        "WHERE shop = $1 AND day >= $2 AND day < $3 ORDER BY day",
        shop,
        month,
        following(month),
    )
    return {day: ClosedDay(revision, told_at) for day, revision, told_at in rows}


async def told(transaction: Transaction, shop: str, month: date) -> ToldMonth | None:
    """What was told of a month, but zeros."""
    row = await transaction.fetchrow(
        "SELECT revision, told_at, days FROM months WHERE shop = $1 AND month = $2", shop, month
    )
    if row is None:
        return None
    figures = by_day(
        await transaction.fetch(
            """
            SELECT month, level, key, currency, gross, discounts, refunds, orders, units
            FROM month_figures WHERE shop = $1 AND level = ANY ($2) AND month = $3
            """,
            shop,
            list(LEVELS),
            month,
        )
    )
    days = msgspec.json.decode(row["days"], type=dict[date, int])
    return ToldMonth(row["revision"], row["told_at"], days, figures.get(month, {}))


async def revisions(transaction: Transaction) -> dict[tuple[str, date], int]:
    """How often each month that was told was corrected."""
    rows = await transaction.fetch("SELECT shop, month, revision FROM months")
    return {(shop, month): revision for shop, month, revision in rows}


async def save(transaction: Transaction, shop: str, month: date, told: ToldMonth) -> None:
    """Keeps what is told of a month: values but zeros, of a correction those too."""
    days = {day.isoformat(): revision for day, revision in sorted(told.days.items())}
    await transaction.execute(
        _SAVE,
        *(shop, month, told.revision, told.at, as_json(days)),
        *(len(days), sum(days.values())),
    )
    changed = [
        (series.level, month, series.key, series.currency, *map(str, values))
        for series, values in told.figures.items()
        if told.revision or values != NOTHING
    ]
    await transaction.execute(_SAVE_FIGURES, shop, as_json(changed))


_SAVE = """
    INSERT INTO months VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (shop, month) DO UPDATE SET revision = $3, told_at = $4, days = $5, day_count = $6,
        day_revisions = $7
"""
_SAVE_FIGURES = """
    INSERT INTO month_figures
    SELECT $1, row->>0, (row->>1)::date, row->>2, row->>3, (row->>4)::numeric * 0.0001,
        (row->>5)::numeric * 0.0001, (row->>6)::numeric * 0.0001, (row->>7)::bigint,
        (row->>8)::bigint
    FROM jsonb_array_elements($2::jsonb) AS row
    ON CONFLICT (shop, level, month, key, currency) DO UPDATE SET
        gross = excluded.gross, discounts = excluded.discounts, refunds = excluded.refunds,
        orders = excluded.orders, units = excluded.units
"""


# The query.


class Month(NamedTuple):
    """A series' sums over a closed month, as they were told."""

    month: date
    series: Series
    values: Values
    days: int
    revision: int


async def months(
    transaction: Transaction,
    *,
    shop: str,
    first: date | None = None,
    last: date | None = None,
    level: str = "total",
    keys: Sequence[str] | None = None,
    currency: str | None = None,
) -> list[Month]:
    """The closed months that have a day of first..last, by month, key and currency."""
    rows = await transaction.fetch(
        _QUERY,
        shop,
        level,
        first.replace(day=1) if first else date.min,
        last or date.max,
        list(keys) if keys else None,
        currency,
    )
    return [_month(row, level) for row in rows]


def _month(row: Row, level: str) -> Month:
    gross, discounts, refunds = (
        money.from_decimal(row[name]) for name in ("gross", "discounts", "refunds")
    )
    values = Values(gross, discounts, refunds, row["orders"], row["units"])
    series = Series(level, row["key"], row["currency"])
    return Month(row["month"], series, values, row["day_count"], row["revision"])


_QUERY = """
    SELECT month, months.revision, day_count, series.key, currency,
        coalesce(gross, 0) AS gross, coalesce(discounts, 0) AS discounts,
        coalesce(refunds, 0) AS refunds, coalesce(orders, 0) AS orders, coalesce(units, 0) AS units
    FROM months
    JOIN day_series AS series USING (shop)
    LEFT JOIN month_figures USING (shop, level, month, key, currency)
    WHERE shop = $1 AND level = $2 AND month BETWEEN $3 AND $4
        AND first_day < month + interval '1 month'
        AND ($5::text[] IS NULL OR key = ANY ($5))
        AND ($6::text IS NULL OR currency = $6)
    ORDER BY month, key, currency
"""
