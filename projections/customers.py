"""Who orders: customers, the new among them and those who come back, by any period and country.

A customer is new on the first day they ordered on, and once: in the country (and the currency) of
most of that day's orders, of equals the first by name. From then on they are returning: in every
period that begins after that day.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from projections.clock import ShopClock
from projections.measured import Ask, Grain, Measured, Unit, period_of_day
from projections.read_model import Row, Transaction

_DAY = timedelta(days=1)
BEGINNING, END = date.min, date.max


class Customers:
    """The source of `projections.measured` for who orders. It counts heads: those of a quarter are
    not the sum of its months', nor those of the shop the sum of its countries'.

    Of the customers of a period, `repeat_customers` ordered more than once in it.
    """

    name = "customers"
    group = "sales"
    measures: Mapping[str, Unit] = {
        "customers": "count",
        "new_customers": "count",
        "returning_customers": "count",
        "repeat_customers": "count",
        "orders_without_customer": "count",
    }
    dimensions = ("country",)
    grains: Sequence[Grain] = ("total", "day", "week", "month", "quarter", "year")

    async def rows(
        self, transaction: Transaction, _clock: ShopClock, ask: Ask, measures: Sequence[str]
    ) -> list[Measured]:
        """See `projections.measured.Source`."""
        counted = _COUNTED if ask.by or ask.only or ask.currency else _COUNTED_WHOLE
        parts = [counted[name] for name in measures]
        query = _COUNTS.format(
            firsts=firsts(ask),
            counted=" UNION ALL ".join(dict.fromkeys(parts)),
            sums=", ".join(f"sum({name}) AS {name}" for name in measures),
            tests=", ".join(f"sum({name})" for name in measures),
            zeros=", ".join("0" for _ in measures),
        )
        query = query.format(
            period=period_of_day(ask.grain, "day"),
            key="country" if ask.by else "''",
        )
        found = await transaction.fetch(query, *range_of(ask), *filters_of(ask))
        return [
            Measured(row["period"], (row["key"],) * len(ask.by), "", {n: row[n] for n in measures})
            for row in found
        ]


CUSTOMERS = Customers()


def range_of(ask: Ask) -> tuple[str, date, date]:
    """The parameters $1 to $3 of every query here."""
    return ask.shop, ask.first or BEGINNING, ask.last or END


def filters_of(ask: Ask) -> tuple[str | None, list[str] | None]:
    """The parameters of `FILTERS`."""
    countries = ask.only.get("country")
    return ask.currency, list(countries) if countries else None


ORDERED = """
    shop = $1 AND day >= $2 AND day <= $3 AND customer <> '' AND orders > 0
"""
FILTERS = "($4::text IS NULL OR currency = $4) AND ($5::text[] IS NULL OR country = ANY ($5))"


def firsts(ask: Ask) -> str:
    """The query of those who are new within a range: their first day, its country and currency."""
    return _FIRSTS + (_NOT_BEFORE if ask.first else "") + _MOST_ORDERS


_FIRSTS = f"""
    SELECT DISTINCT ON (customer) customer, day, country, currency FROM customer_days AS told
    WHERE {ORDERED}
"""  # noqa: S608  (made of constants)
_NOT_BEFORE = """
    AND NOT EXISTS (
        SELECT FROM customer_days AS earlier
        WHERE earlier.shop = $1 AND earlier.customer = told.customer
            AND earlier.day < $2 AND earlier.orders > 0
    )
"""
_MOST_ORDERS = "ORDER BY customer, day, orders DESC, country, currency"

# Each measure is counted by a query of its own; several of one query are asked of it once.
_SEEN = f"""
    SELECT {{period}} AS period, {{key}} AS key, customer, sum(orders) AS orders
    FROM customer_days WHERE {ORDERED} AND {FILTERS} GROUP BY 1, 2, 3
"""  # noqa: S608
_ALL_OF_THEM = f"""
    SELECT period, key, 1 AS customers, 0 AS new_customers, 0 AS returning_customers,
        (orders > 1)::int AS repeat_customers, 0 AS orders_without_customer
    FROM ({_SEEN}) AS seen
"""  # noqa: S608
_NEW = f"""
    SELECT {{period}}, {{key}}, 0, 1, 0, 0, 0 FROM firsts WHERE {FILTERS}
"""  # noqa: S608
_RETURNING = f"""
    SELECT period, key, 0, 0, 1, 0, 0 FROM ({_SEEN}) AS seen
    WHERE NOT EXISTS (
        SELECT FROM (SELECT {{period}} AS period, customer FROM firsts) AS first
        WHERE first.customer = seen.customer AND first.period IS NOT DISTINCT FROM seen.period
    )
"""  # noqa: S608
# Of a whole shop they are all but the new.
_NOT_NEW = f"""
    SELECT period, key, 0, 0, 1, 0, 0 FROM ({_SEEN}) AS seen
    UNION ALL SELECT {{period}}, {{key}}, 0, 0, -1, 0, 0 FROM firsts
"""  # noqa: S608
_WITHOUT = f"""
    SELECT {{period}}, {{key}}, 0, 0, 0, 0, orders FROM customer_days
    WHERE shop = $1 AND customer = '' AND day >= $2 AND day <= $3 AND {FILTERS}
"""  # noqa: S608
_COUNTED: Mapping[str, str] = {
    "customers": _ALL_OF_THEM,
    "repeat_customers": _ALL_OF_THEM,
    "new_customers": _NEW,
    "returning_customers": _RETURNING,
    "orders_without_customer": _WITHOUT,
}
_COUNTED_WHOLE: Mapping[str, str] = {**_COUNTED, "returning_customers": _NOT_NEW}
_COUNTS = """
    WITH firsts AS MATERIALIZED ({firsts})
    SELECT period, key, {sums}
    FROM (
        SELECT NULL::date AS period, '' AS key, 0 AS customers, 0 AS new_customers,
            0 AS returning_customers, 0 AS repeat_customers, 0 AS orders_without_customer
        WHERE false UNION ALL {counted}
    ) AS counted
    GROUP BY 1, 2
    HAVING ({tests}) <> ({zeros})
    ORDER BY 1, 2
"""


# Where new customers come from.


async def acquired(transaction: Transaction, ask: Ask) -> Sequence[Row]:
    """(period, key, customers): the new of each period, by the country of their first day where it
    is asked `by` that, else with the key ''."""
    query = _ACQUIRED.format(
        firsts=firsts(ask),
        period=period_of_day(ask.grain, "day"),
        key="country" if ask.by else "''",
    )
    return await transaction.fetch(query, *range_of(ask), *filters_of(ask))


_ACQUIRED = f"""
    SELECT {{period}} AS period, {{key}} AS key, count(*) AS customers
    FROM ({{firsts}}) AS firsts WHERE {FILTERS} GROUP BY 1, 2 ORDER BY 1, 2
"""  # noqa: S608


async def acquired_by_product(
    transaction: Transaction, clock: ShopClock, ask: Ask
) -> Sequence[Row]:
    """(period, key, customers) by the product that each ordered most of in the first hour they
    ordered in: by gross, in the first currency by code; of equals the first by name."""
    query = _BY_PRODUCT.format(firsts=firsts(ask), period=period_of_day(ask.grain, "day"))
    return await transaction.fetch(
        query,
        *range_of(ask),
        *filters_of(ask),
        *clock.span(ask.first, ask.last),
        clock.zone.key,
    )


_BY_PRODUCT = """
    WITH firsts AS MATERIALIZED ({firsts}), ordered AS (
        SELECT customer, day, hour, line.currency, product, sum(gross) AS gross
        FROM sales_lines AS line JOIN firsts USING (customer)
        WHERE shop = $1 AND hour >= $6 AND hour < $7 AND (hour AT TIME ZONE $8)::date = day
            AND ($4::text IS NULL OR firsts.currency = $4)
            AND ($5::text[] IS NULL OR firsts.country = ANY ($5))
        GROUP BY 1, 2, 3, 4, 5 HAVING sum(orders) > 0
    ), first_product AS (
        SELECT DISTINCT ON (customer) customer, day, product FROM ordered
        ORDER BY customer, hour, currency, gross DESC, product
    )
    SELECT {period} AS period, product AS key, count(*) AS customers
    FROM first_product GROUP BY 1, 2 ORDER BY 1, 2
"""
