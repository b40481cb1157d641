"""Who stays: customers lost and won by period, and cohorts by the month of their first order.

A customer is active on a day they order on and for `idle` days after it; on the day after those
they have churned, and an order wins them back. So those who are active at the end of a period are
those at its beginning, with the new and the regained, less the churned.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from projections.customers import BEGINNING, ORDERED, range_of
from projections.measured import Ask, Grain, period_of_day
from projections.read_model import Transaction


class Churn(NamedTuple):
    """What became of customers in one period. `lost` are those of `active` who churned in it, a
    share of whom may be back by its end."""

    period: date | None
    active: int
    new: int
    regained: int
    churned: int
    lost: int

    @property
    def active_at_end(self) -> int:
        return self.active + self.new + self.regained - self.churned


class _Span(NamedTuple):
    """So many customers who were active from one period to another; None is outside the range."""

    begun: date | None
    ended: date | None
    new: bool
    customers: int


async def churn(transaction: Transaction, ask: Ask, idle: int) -> list[Churn]:
    """Each period of a range that ends on `ask.last`, which has to be told; without a first day it
    begins with the shop's first order. Periods in which nobody was active are left out."""
    assert ask.last is not None, "who is active depends on the day"
    first = ask.first or await transaction.fetchval(_FIRST_DAY, ask.shop)
    if first is None or first > ask.last:
        return []
    grain: Grain = "year" if ask.grain == "total" else ask.grain
    rows = await transaction.fetch(
        _SPANS.format(
            begun=_NOTHING if ask.grain == "total" else period_of_day(grain, "since"),
            ended=_NOTHING if ask.grain == "total" else period_of_day(grain, "churns"),
        ),
        ask.shop,
        max(first, BEGINNING + timedelta(days=idle + 1)) - timedelta(days=idle + 1),
        ask.last,
        idle,
        first,
    )
    spans = [_Span(*row) for row in rows]
    if ask.grain == "total":
        return [one._replace(period=None) for one in _by_period(spans, [_WHOLE]) if any(one[1:])]
    return [one for one in _by_period(spans, periods(grain, first, ask.last)) if any(one[1:])]


def _by_period(spans: Sequence[_Span], periods: Sequence[date]) -> Iterator[Churn]:
    new, regained, churned, lost = (Counter[date]() for _ in range(4))
    active = 0
    for span in spans:
        if span.begun is None:
            active += span.customers
        else:
            (new if span.new else regained)[span.begun] += span.customers
        if span.ended is not None:
            churned[span.ended] += span.customers
            if span.begun != span.ended:
                lost[span.ended] += span.customers
    for period in periods:
        told = Churn(period, active, new[period], regained[period], churned[period], lost[period])
        yield told
        active = told.active_at_end


_WHOLE = date(1, 1, 1)
_NOTHING = "date '0001-01-01'"
_FIRST_DAY = """
    SELECT day FROM customer_days WHERE shop = $1 AND customer <> '' AND orders > 0
    ORDER BY day LIMIT 1
"""
# From the days that count for the range's first on: who ordered, how long before, how long after.
# Of those days the first and the last of each span are left, and put together. It is all done in
# the order of the table's key, in which nothing has to be sorted; a day may be there several times.
_BY_DAY = "(PARTITION BY customer ORDER BY day, country, currency)"
_SPANS = f"""
    WITH told AS (
        SELECT customer, day, country, currency,
            lag(day) OVER by_day AS before, lead(day) OVER by_day AS after
        FROM customer_days WHERE {ORDERED} WINDOW by_day AS {_BY_DAY}
    ), edges AS (
        SELECT customer, day, country, currency, before IS NULL AS earliest,
            before IS NULL OR day - before > $4 AS begins,
            after IS NULL OR after - day > $4 AS ends
        FROM told
    ), spans AS (
        SELECT customer, earliest, begins, day AS since, $4 + 1 + CASE
            WHEN ends THEN day ELSE lead(day) OVER {_BY_DAY}
        END AS churns
        FROM edges WHERE begins OR ends
    )
    SELECT
        CASE WHEN since >= $5 THEN {{begun}} END AS begun,
        CASE WHEN churns <= $3 THEN {{ended}} END AS ended,
        since >= $5 AND earliest AND NOT EXISTS (
            SELECT FROM customer_days AS earlier
            WHERE earlier.shop = $1 AND earlier.customer = spans.customer
                AND earlier.day < $2 AND earlier.orders > 0
        ) AS new,
        count(*) AS customers
    FROM spans WHERE begins
    GROUP BY 1, 2, 3
"""  # noqa: S608  (made of constants)


def periods(grain: Grain, first: date, last: date) -> list[date]:
    """The first days of all periods from that of one day to that of another."""
    found = [_begins(grain, first)]
    while (after := _next(grain, found[-1])) <= last:
        found.append(after)
    return found


def _begins(grain: Grain, day: date) -> date:
    match grain:
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "quarter":
            return day.replace(day=1, month=day.month - (day.month - 1) % 3)
        case "year":
            return day.replace(day=1, month=1)
        case _:
            return day


def _next(grain: Grain, period: date) -> date:
    longest = {"week": 7, "month": 31, "quarter": 92, "year": 366}.get(grain, 1)
    return _begins(grain, period + timedelta(days=longest))


# Cohorts.


class Cohort(NamedTuple):
    """Customers whose first order was in one month: how many, and how many ordered again in each
    month from that one on, which is the first of `active`."""

    month: date
    customers: int
    active: Sequence[int]


async def cohorts(transaction: Transaction, ask: Ask, months: int, today: date) -> list[Cohort]:
    """The cohorts whose first day lies in the range, each until so many months after its own, or
    until this month."""
    rows = await transaction.fetch(_COHORTS, *range_of(ask))
    counts: dict[date, Counter[int]] = {}
    for row in rows:
        month, later = row["cohort"], row["month"]
        since = (later.year - month.year) * 12 + later.month - month.month
        counts.setdefault(month, Counter())[since] += row["customers"]
    found = []
    for month, active in sorted(counts.items()):
        so_far = (today.year - month.year) * 12 + today.month - month.month
        told = range(max(0, min(months, so_far)) + 1)
        found.append(Cohort(month, active[0], [active[since] for since in told]))
    return found


# The first of each customer's days in each month, beside the first of all.
_COHORTS = f"""
    SELECT cohort, month, count(*) AS customers
    FROM (
        SELECT date_trunc('month', first::timestamp)::date AS cohort,
            date_trunc('month', day::timestamp)::date AS month,
            date_trunc('month', before::timestamp)::date AS month_before
        FROM (
            SELECT day, first_value(day) OVER by_day AS first, lag(day) OVER by_day AS before
            FROM customer_days WHERE shop = $1 AND customer <> '' AND orders > 0
            WINDOW by_day AS {_BY_DAY}
        ) AS told
        WHERE first >= $2 AND first <= $3
    ) AS active
    WHERE month_before IS DISTINCT FROM month
    GROUP BY 1, 2 ORDER BY 1, 2
"""  # noqa: S608
