"""What becomes of orders: how many stand where, which are not paid, how long they take to ship.

Asked of the read model `orders`, whose columns say when each was ordered, completed and shipped.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from projections.clock import ShopClock
from projections.measured import period_of_hour
from projections.read_model import Row, Transaction

HOURS = (6, 12, 24, 48, 72, 168)  # up to which times to ship are counted together
_DAY = timedelta(days=1)

_BY_STATUS = """
    SELECT status, count(*) AS orders, min(ordered_at) AS oldest, max(ordered_at) AS latest
    FROM orders
    WHERE shop = $1
        AND ($2::timestamptz IS NULL OR ordered_at >= $2)
        AND ($3::timestamptz IS NULL OR ordered_at < $3)
    GROUP BY status
    ORDER BY status COLLATE "C"
"""


async def by_status(
    transaction: Transaction, clock: ShopClock, shop: str, first: date | None, last: date | None
) -> Sequence[Row]:
    """How many of the orders made on these days stand where, by status; without days those of
    which it is not known when they were made, too."""
    return await transaction.fetch(_BY_STATUS, shop, *_between(clock, first, last))


_UNPAID = """
    SELECT order_id, status, ordered_at FROM orders
    WHERE shop = $1 AND paid_at IS NULL AND completed_at IS NULL
        AND status NOT IN ('cancelled', 'refunded') AND ordered_at < $2
    ORDER BY ordered_at, order_id COLLATE "C"
    LIMIT $3
"""
_COMPLETED = """
    SELECT order_id, status, ordered_at FROM orders
    WHERE shop = $1 AND paid_at IS NULL AND status NOT IN ('cancelled', 'refunded')
        AND ordered_at < $2
    ORDER BY ordered_at, order_id COLLATE "C"
    LIMIT $3
"""


async def unpaid(
    transaction: Transaction, shop: str, before: datetime, *, completed: bool, limit: int | None
) -> Sequence[Row]:
    """Orders made before then without a payment, the oldest first; `completed` also those that are
    sales without one, such as cash on delivery."""
    return await transaction.fetch(_COMPLETED if completed else _UNPAID, shop, before, limit)


_TIME_TO_SHIP = """
    SELECT
        {period} AS period, count(*) AS orders, sum(taken) AS seconds,
        percentile_disc(0.5) WITHIN GROUP (ORDER BY taken) AS median,
        percentile_disc(0.9) WITHIN GROUP (ORDER BY taken) AS p90,
        {counts}
    FROM (
        SELECT shipped_at, extract(epoch FROM greatest(shipped_at, completed_at) - completed_at)
            AS taken
        FROM orders
        WHERE shop = $1 AND shipped_at IS NOT NULL AND completed_at IS NOT NULL
            AND ($2::timestamptz IS NULL OR shipped_at >= $2)
            AND ($3::timestamptz IS NULL OR shipped_at < $3)
    ) AS shipped, (SELECT $4::text AS zone) AS shop
    GROUP BY 1
    ORDER BY 1
"""


async def time_to_ship(
    transaction: Transaction,
    clock: ShopClock,
    shop: str,
    first: date | None,
    last: date | None,
    grain: str,
) -> Sequence[Row]:
    """Of the orders shipped in each period, in seconds: the sum, the median and p90, each the time
    of an order, from completed to shipped; and how many took no longer than so many of HOURS
    (`within_6h` …). What was shipped before it was completed took no time."""
    counts = (
        f"count(*) FILTER (WHERE taken <= {hours * 3600}) AS within_{hours}h" for hours in HOURS
    )
    period = period_of_hour(grain, "shipped_at", "zone")
    query = _TIME_TO_SHIP.format(period=period, counts=", ".join(counts))
    return await transaction.fetch(query, shop, *_between(clock, first, last), clock.zone.key)


def _between(
    clock: ShopClock, first: date | None, last: date | None
) -> tuple[datetime | None, datetime | None]:
    """The instants from which, and before which, these days are."""
    return (
        clock.midnight(first) if first else None,
        clock.midnight(last + _DAY) if last else None,
    )
