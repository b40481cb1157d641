"""Visitors and the funnel, counted exactly: over any range, and told apart by what is asked.

A visitor counts once in each row. Who a visitor is, `projections.visitor_links` knows; robots are
left out unless asked for, and how many that were is always told.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Literal, NamedTuple

from projections.clock import ShopClock
from projections.funnel import STEPS
from projections.measured import period_of_day, period_of_hour
from projections.read_model import Row, Transaction
from projections.visitor_links import LINKED, WHO

Bots = Literal["exclude", "include", "only"]
COUNTED: Mapping[Bots, str] = {"exclude": "NOT bot", "include": "true", "only": "bot"}
"""Which rows count, as a condition of SQL."""
FUNNEL_DIMENSIONS = ("product", "source", "country")
VISITOR_DIMENSIONS = ("source", "country")


class Range(NamedTuple):
    """The shop's days first..last, both included, in periods of `grain`; told apart `by` some
    dimensions, of which `only` these values count."""

    shop: str
    first: date | None
    last: date | None
    grain: str
    by: Sequence[str]
    only: Mapping[str, Sequence[str]]
    bots: Bots = "exclude"


_FUNNEL = """
    WITH visits AS (
        SELECT {period} AS period, {keys} {who} AS who, {sums},
            coalesce(sum(viewed + added + checkout + ordered) FILTER (WHERE NOT ({counted})), 0)
                AS left_out
        FROM funnel AS told {linked}
        WHERE told.shop = $1 AND day BETWEEN $2 AND $3 AND (product = '') = $4 {filters}
        GROUP BY {by} who
    )
    SELECT period, {names} {events}, {visitors}, {passed}, sum(left_out)::bigint AS left_out
    FROM visits GROUP BY {grouped} ORDER BY {ordered}
"""


async def funnel(transaction: Transaction, asked: Range) -> Sequence[Row]:
    """For each step, by period and key: its events, its visitors, and in `…_passed` those of them
    who also did the step before; `left_out` are the events that are not counted."""
    counted = COUNTED[asked.bots]
    before = dict(zip(STEPS[1:], STEPS, strict=False))
    query = _FUNNEL.format(
        period=period_of_day(asked.grain, "day"),
        who=WHO,
        linked=LINKED,
        counted=counted,
        sums=", ".join(
            f"coalesce(sum({step}) FILTER (WHERE {counted}), 0) AS {step}" for step in STEPS
        ),
        events=", ".join(f"sum({step})::bigint AS {step}" for step in STEPS),
        visitors=", ".join(
            f"count(*) FILTER (WHERE {step} > 0) AS {step}_visitors" for step in STEPS
        ),
        passed=", ".join(
            [
                f"count(*) FILTER (WHERE {step} > 0 AND {first} > 0) AS {step}_passed"
                for step, first in before.items()
            ]
            + ["count(*) FILTER (WHERE viewed > 0 AND ordered > 0) AS converted"]
        ),
        **_keys(asked),
    )
    by_product = "product" in asked.by or "product" in asked.only
    return await transaction.fetch(
        query,
        asked.shop,
        asked.first or date.min,
        asked.last or date.max,
        not by_product,
        *map(list, asked.only.values()),
    )


_VISITORS = """
    WITH visits AS (
        SELECT {period} AS period, {keys} {who} AS who,
            bool_or({counted}) AS counted, bool_or(NOT ({counted})) AS not_counted
        FROM visitor_hours AS told {linked}
        WHERE told.shop = $1 AND hour >= $2 AND hour < $3 AND $4::text IS NOT NULL {filters}
        GROUP BY {by} who
    )
    SELECT period, {names} count(*) FILTER (WHERE counted) AS visitors,
        count(*) FILTER (WHERE not_counted AND NOT counted) AS left_out
    FROM visits GROUP BY {grouped} ORDER BY {ordered}
"""


async def visitors(transaction: Transaction, clock: ShopClock, asked: Range) -> Sequence[Row]:
    """Unique visitors by period and key; `left_out` are those who are not counted."""
    query = _VISITORS.format(
        period=period_of_hour(asked.grain, "hour", "$4"),
        who=WHO,
        linked=LINKED,
        counted=COUNTED[asked.bots],
        **_keys(asked),
    )
    return await transaction.fetch(
        query,
        asked.shop,
        *clock.span(asked.first, asked.last),
        clock.zone.key,
        *map(list, asked.only.values()),
    )


def _keys(asked: Range) -> dict[str, str]:
    """The parts of a query that tell its rows apart."""
    names = [f"key{number}" for number in range(len(asked.by))]
    columns = zip(asked.by, names, strict=True)
    numbers = range(1, len(names) + 2)
    return {
        "keys": "".join(f"told.{column} AS {name}, " for column, name in columns),
        "names": "".join(f"{name}, " for name in names),
        "filters": " ".join(
            f"AND told.{column} = ANY (${number}::text[])"
            for number, column in enumerate(asked.only, 5)
        ),
        "by": "".join(f"{number}, " for number in numbers),
        "grouped": ", ".join(("period", *names)),
        "ordered": ", ".join(("period", *(f'{name} COLLATE "C"' for name in names))),
    }
