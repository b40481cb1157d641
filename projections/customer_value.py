"""What customers are worth so far: their values, ranks and segments, and the orders of one.

Amounts are per currency, and of each currency customers are ranked by themselves.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, get_args

from projections import orders
from projections.clock import ShopClock
from projections.customers import END, FILTERS, filters_of, range_of
from projections.measured import Ask
from projections.read_model import Row, Transaction

_DAY = timedelta(days=1)
_NET = "sum(gross - discounts - refunds)"
_VALUES = f"""
    sum(orders) AS orders, sum(units) AS units, sum(refunded_units) AS refunded_units,
    sum(gross) AS gross, sum(discounts) AS discounts, sum(refunds) AS refunds, {_NET} AS net,
    sum(tax) AS tax, min(day) FILTER (WHERE orders > 0) AS first_day,
    max(day) FILTER (WHERE orders > 0) AS last_day
"""
_ZEROS = """
    (sum(orders), sum(units), sum(refunded_units), sum(gross), sum(discounts), sum(refunds),
    sum(tax)) <> (0, 0, 0, 0, 0, 0, 0)
"""


async def values(
    transaction: Transaction, ask: Ask, customers: Sequence[str] = (), limit: int | None = None
) -> Sequence[Row]:
    """What these customers, or all, have brought, by customer and currency."""
    return await transaction.fetch(
        _BY_CUSTOMER, *range_of(ask), *filters_of(ask), list(customers) or None, limit
    )


_BY_CUSTOMER = f"""
    SELECT customer, currency, {_VALUES} FROM customer_days
    WHERE shop = $1 AND day >= $2 AND day <= $3 AND customer <> '' AND {FILTERS}
        AND ($6::text[] IS NULL OR customer = ANY ($6))
    GROUP BY customer, currency HAVING {_ZEROS}
    ORDER BY customer, currency LIMIT $7
"""  # noqa: S608  (made of constants)


Ranking = Literal["net", "gross", "orders", "units"]


async def top(
    transaction: Transaction,
    ask: Ask,
    ranking: Ranking = "net",
    limit: int = 10,
    customers: Sequence[str] = (),
) -> Sequence[Row]:
    """The first so many customers of each currency, and of each country where it is asked `by`
    that; of equals the first by id. Who comes to nothing by the ranking is left out. The ranks are
    among all, also where some alone are asked for."""
    value = _NET if ranking == "net" else f"sum({ranking})"
    query = _TOP.format(country="country" if "country" in ask.by else "''", value=value)
    return await transaction.fetch(
        query, *range_of(ask), *filters_of(ask), list(customers) or None, limit
    )


# Only those who are among the first are added up in all that is told of them.
_TOP = f"""
    WITH ranked AS MATERIALIZED (
        SELECT key, customer, currency, rank FROM (
            SELECT *, row_number() OVER (
                PARTITION BY key, currency ORDER BY value DESC, customer
            ) AS rank
            FROM (
                SELECT {{country}} AS key, customer, currency, {{value}} AS value FROM customer_days
                WHERE shop = $1 AND day >= $2 AND day <= $3 AND customer <> '' AND {FILTERS}
                GROUP BY 1, 2, 3 HAVING {{value}} <> 0
            ) AS summed
        ) AS every
        WHERE rank <= $7 AND ($6::text[] IS NULL OR customer = ANY ($6))
    )
    SELECT ranked.*, told.* FROM ranked CROSS JOIN LATERAL (
        SELECT {_VALUES} FROM customer_days AS told
        WHERE told.shop = $1 AND told.customer = ranked.customer AND told.day >= $2
            AND told.day <= $3 AND told.currency = ranked.currency AND {{country}} = key
            AND ($5::text[] IS NULL OR told.country = ANY ($5))
    ) AS told
    ORDER BY key, currency, rank
"""  # noqa: S608


# Segments by recency, frequency and monetary value.

Segment = Literal[
    "champions",
    "loyal",
    "potential_loyalists",
    "new",
    "promising",
    "needing_attention",
    "about_to_sleep",
    "at_risk",
    "cannot_lose",
    "hibernating",
]
SEGMENTS: tuple[Segment, ...] = get_args(Segment)
# By recency (a row each, from 1) and frequency (1 to 5).
GRID: Sequence[Sequence[Segment]] = (
    ("hibernating", "hibernating", "at_risk", "at_risk", "cannot_lose"),
    ("hibernating", "hibernating", "at_risk", "at_risk", "cannot_lose"),
    ("about_to_sleep", "about_to_sleep", "needing_attention", "loyal", "loyal"),
    ("promising", "potential_loyalists", "potential_loyalists", "loyal", "loyal"),
    ("new", "potential_loyalists", "potential_loyalists", "champions", "champions"),
)


class Asked(NamedTuple):
    """Which scored customers: of these segments, and these ids; the first so many by net."""

    segments: Sequence[str] = ()
    customers: Sequence[str] = ()
    limit: int | None = None


async def scored(transaction: Transaction, ask: Ask, asked: Asked) -> Sequence[Row]:
    """Customers with their scores of 1 to 5, those of each currency by themselves.

    Of n customers of whom k do worse, a score is 1 + 5k div n: fifths, but equals score the same.
    Recency is the last day of an order, frequency how many there were, the third their net.
    """
    return await transaction.fetch(
        _SCORED_ONES,
        *range_of(ask),
        *filters_of(ask),
        [one for row in GRID for one in row],
        list(asked.segments) or None,
        list(asked.customers) or None,
        asked.limit,
    )


async def segments(transaction: Transaction, ask: Ask) -> Sequence[Row]:
    """(currency, segment, customers, orders, net), in the order of SEGMENTS. Orders without a
    customer are the segment ''."""
    return await transaction.fetch(
        _SEGMENTS,
        *range_of(ask),
        *filters_of(ask),
        [one for row in GRID for one in row],
        list(SEGMENTS),
    )


_OVER = "count(*) OVER (PARTITION BY currency)"
_SCORED = f"""
    WITH sums AS (
        SELECT customer, currency, max(day) FILTER (WHERE orders > 0) AS last_day,
            sum(orders)::bigint AS orders, {_NET} AS net
        FROM customer_days
        WHERE shop = $1 AND day >= $2 AND day <= $3 AND customer <> '' AND {FILTERS}
        GROUP BY customer, currency HAVING sum(orders) > 0
    ), scored AS (
        SELECT *, 1 + 5 * (rank() OVER (PARTITION BY currency ORDER BY last_day) - 1) / {_OVER}
                AS recency,
            1 + 5 * (rank() OVER (PARTITION BY currency ORDER BY orders) - 1) / {_OVER}
                AS frequency,
            1 + 5 * (rank() OVER (PARTITION BY currency ORDER BY net) - 1) / {_OVER} AS monetary
        FROM sums
    ), told AS (
        SELECT *, ($6::text[])[5 * (recency - 1) + frequency] AS segment FROM scored
    )
"""  # noqa: S608
_SCORED_ONES = f"""
    {_SCORED} SELECT * FROM told
    WHERE ($7::text[] IS NULL OR segment = ANY ($7))
        AND ($8::text[] IS NULL OR customer = ANY ($8))
    ORDER BY currency, net DESC, customer LIMIT $9
"""  # noqa: S608
_SEGMENTS = f"""
    {_SCORED}, found AS (
        SELECT currency, segment, count(*) AS customers, sum(orders) AS orders, sum(net) AS net
        FROM told GROUP BY 1, 2
        UNION ALL
        SELECT currency, '', 0, sum(orders), {_NET} FROM customer_days
        WHERE shop = $1 AND day >= $2 AND day <= $3 AND customer = '' AND {FILTERS}
        GROUP BY currency HAVING sum(orders) > 0
    )
    SELECT currency, segment, customers, orders::bigint, net FROM found
    ORDER BY currency, array_position($7::text[], segment)
"""  # noqa: S608


# The orders of one.


class Place(NamedTuple):
    """Where a page of orders ends: the hour that the last of them was completed in, and its id."""

    hour: datetime
    order_id: str


async def orders_of(
    transaction: Transaction,
    clock: ShopClock,
    shop: str,
    customer: str,
    limit: int,
    before: Place | None = None,
) -> list[tuple[Place, Mapping[str, Any]]]:
    """The completed orders of a customer, the latest hour first, and within it by id, downwards.

    Which days to look at is known from `customer_days`; there are as many orders at least.
    """
    last = clock.day(clock.hour(before.hour)) if before else END
    days = await transaction.fetch(_DAYS_OF, shop, customer, last, limit)
    begins = [clock.midnight(row["day"]) for row in days]
    ends = [clock.midnight(row["day"] + _DAY) for row in days]
    found = await transaction.fetch(
        _ORDERS_OF, shop, customer, begins, ends, *(before or (None, None)), limit
    )
    told = await orders.several(transaction, shop, [row["order_id"] for row in found])
    return [(Place(*row), _in_short(told[row["order_id"]])) for row in found]


def _in_short(order: Mapping[str, Any]) -> Mapping[str, Any]:
    units = sum(line["units"] for line in order["lines"])
    return {name: order[name] for name in _TOLD} | {"units": units}


_TOLD = (
    *("order_id", "status", "completed_at", "country", "currency"),
    *("gross", "discounts", "refunds", "net", "tax", "total"),
)
# One day more than orders are wanted: the first one's may all have been on the page before.
_DAYS_OF = """
    SELECT DISTINCT day FROM customer_days
    WHERE shop = $1 AND customer = $2 AND day <= $3 AND orders > 0
    ORDER BY day DESC LIMIT $4::int + 1
"""
_ORDERS_OF = """
    SELECT hour, order_id
    FROM unnest($3::timestamptz[], $4::timestamptz[]) AS days (begins, ends)
        JOIN sales_lines AS line ON line.shop = $1 AND hour >= begins AND hour < ends
    WHERE customer = $2 AND ($5::timestamptz IS NULL OR (hour, order_id) < ($5, $6::text))
    GROUP BY hour, order_id HAVING sum(orders) > 0
    ORDER BY hour DESC, order_id DESC LIMIT $7
"""
