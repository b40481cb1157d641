"""What became of carts: ordered, abandoned, or still open; and what is in them.

Of the shop's own carts its events say so. A cart that only a storefront tells of is ordered if an
order names it, or if its visitor has ordered since it changed; else it is abandoned once nothing
has happened to it for as long as the settings say, and open before that.
"""

from collections.abc import Sequence
from datetime import datetime

from projections.clock import ShopClock
from projections.measured import period_of_hour
from projections.read_model import Row, Transaction
from projections.traffic import COUNTED, Range
from projections.visitor_links import LINKED, WHO

STANDING = f"""
    SELECT told.cart_id, told.country, told.changed_at AS hour, told.bot,
        CASE
            WHEN told.merged_at IS NOT NULL THEN 'merged'
            WHEN told.ordered_at IS NOT NULL THEN 'ordered'
            WHEN told.abandoned_at >= coalesce(told.revived_at, '-infinity') THEN 'abandoned'
            WHEN told.commanded THEN 'open'
            WHEN EXISTS (
                SELECT FROM visitor_hours AS seen
                WHERE seen.shop = told.shop AND seen.visitor = told.visitor
                    AND seen.ordered_at >= told.changed_at
            ) OR EXISTS (
                SELECT FROM visitor_hours AS seen
                WHERE seen.shop = told.shop AND seen.visitor = {WHO} COLLATE "default"
                    AND seen.ordered_at >= told.changed_at
            ) THEN 'ordered'
            WHEN told.changed_at <= {{silent}} THEN 'abandoned'
            ELSE 'open'
        END AS standing
    FROM (
        SELECT *, substr(ranked, 2) COLLATE "default" AS visitor FROM cart_activity
        WHERE shop = $1 AND changed_at >= {{since}} AND changed_at < {{until}}
    ) AS told {LINKED}
"""  # noqa: S608  (made of constants)
"""Carts of shop $1 that last changed in a stretch of time, and how they stand."""

WORTH = """
    LATERAL (
        SELECT currency, sum(greatest(units, 0) * coalesce(price, 0)) AS value
        FROM cart_lines AS line WHERE line.shop = $1 AND line.cart_id = standing.cart_id
        GROUP BY currency HAVING sum(greatest(units, 0)) > 0
    ) AS worth
"""
"""What each cart of `standing` comes to, by currency; those that are empty are left out."""

_CARTS = """
    WITH standing AS MATERIALIZED ({standing})
    SELECT {period} AS period, currency,
        count(*) FILTER (WHERE {counted}) AS carts,
        count(*) FILTER (WHERE {counted} AND standing = 'ordered') AS ordered,
        count(*) FILTER (WHERE {counted} AND standing = 'abandoned') AS abandoned,
        count(*) FILTER (WHERE {counted} AND standing = 'open') AS open,
        coalesce(sum(value) FILTER (WHERE {counted} AND standing = 'ordered'), 0)
            AS ordered_value,
        coalesce(sum(value) FILTER (WHERE {counted} AND standing = 'abandoned'), 0)
            AS abandoned_value,
        coalesce(sum(value) FILTER (WHERE {counted} AND standing = 'open'), 0) AS open_value,
        count(*) FILTER (WHERE NOT ({counted})) AS left_out
    FROM standing, {worth}
    WHERE standing <> 'merged' AND $4::text IS NOT NULL
        AND ($6::text IS NULL OR currency = $6)
    GROUP BY period, currency ORDER BY period, currency COLLATE "C"
"""


async def carts(
    transaction: Transaction,
    clock: ShopClock,
    asked: Range,
    currency: str | None,
    silent_since: datetime,
) -> Sequence[Row]:
    """The carts with something in them that last changed in these days, by period and currency: how
    many of them, and what they come to, by how they stand; `left_out` are those not counted."""
    query = _CARTS.format(
        standing=STANDING.format(silent="$5::timestamptz", since="$2", until="$3"),
        worth=WORTH,
        period=period_of_hour(asked.grain, "hour", "$4"),
        counted=COUNTED[asked.bots],
    )
    return await transaction.fetch(
        query,
        asked.shop,
        *clock.span(asked.first, asked.last),
        clock.zone.key,
        silent_since,
        currency,
    )
