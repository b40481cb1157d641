"""Amounts of several currencies in one: each day's at that day's rate, added up exactly.

The rate of a day is the latest that was said of it or of a day before, in this direction. Nothing
is rounded here, and nothing is guessed: an amount without a rate is no answer.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple, Protocol

from projections.clock import ShopClock
from projections.measured import Ask, Grain, Unit, period_of_day
from projections.read_model import Row, Transaction


class Select(NamedTuple):
    """A query and its arguments."""

    sql: str
    arguments: Sequence[Any]


class Selecting(Protocol):
    """A source whose rows are one query's, of sums that may be added up over days."""

    @property
    def measures(self) -> Mapping[str, Unit]: ...

    def select(self, clock: ShopClock, ask: Ask, measures: Sequence[str]) -> Select:
        """Rows of `period`, a `key0`, `key1` for each dimension of `by`, `currency` and these
        measures, sorted; rows of zeros alone are left out. It knows nothing of `into`."""


class NoRate(Exception):
    """There are amounts of these currencies since these days, and no rate that early."""

    def __init__(self, into: str, missing: Mapping[str, date]) -> None:
        told = ", ".join(f"{currency} on {day} or before" for currency, day in missing.items())
        super().__init__(f"nobody has said what is worth, in {into}: 1 {told}")
        self.into = into
        self.missing = missing


async def answered(
    source: Selecting,
    transaction: Transaction,
    clock: ShopClock,
    ask: Ask,
    measures: Sequence[str],
) -> Sequence[Row]:
    """The rows of a source, converted where that is asked for. Raises NoRate."""
    limit = "" if ask.most is None else f" LIMIT {ask.most + 1}"
    if ask.into is None:
        select = source.select(clock, ask, measures)
        return await transaction.fetch(select.sql + limit, *select.arguments)
    rated, arguments, into = _rated(source, clock, ask, ask.into, measures)
    query = rated + _sums(source, ask, measures, into) + limit
    rows = await transaction.fetch(query, *arguments)
    if any(row["unrated"] for row in rows):
        missing = await transaction.fetch(rated + _MISSING, *arguments)
        raise NoRate(ask.into, {row["currency"]: row["day"] for row in missing})
    return rows


_RATED = """
    WITH counted AS ({counted}),
    dated AS (SELECT counted.*, {day} AS day FROM counted),
    used AS (SELECT DISTINCT currency, day FROM dated WHERE ({amounts}) <> ({zeros})),
    rated AS (
        SELECT currency, day, CASE WHEN currency = ${into} THEN 1 ELSE (
            SELECT rate FROM currency_rates AS said
            WHERE shop = ${shop} AND target = ${into} AND said.currency = used.currency
                AND said.day <= used.day AND rate IS NOT NULL
            ORDER BY said.day DESC LIMIT 1
        ) END AS rate
        FROM used
    )
"""
_MISSING = """
    SELECT currency, min(day) AS day FROM rated WHERE rate IS NULL GROUP BY currency ORDER BY 2, 1
"""
_CONVERTED = """
    SELECT {period} AS period, {keys} ${into}::text AS currency, {sums},
        coalesce(bool_or(rated.day IS NOT NULL AND rate IS NULL), false) AS unrated
    FROM dated LEFT JOIN rated USING (currency, day)
    GROUP BY {by}
    HAVING ({tests}) <> ({zeros}) OR bool_or(rated.day IS NOT NULL AND rate IS NULL)
    ORDER BY {by}
"""


def _rated(
    source: Selecting, clock: ShopClock, ask: Ask, into: str, measures: Sequence[str]
) -> tuple[str, Sequence[Any], int]:
    """What is counted of each day (or hour), and the rates of the days that have amounts: the
    beginning of a query, its arguments, and which of them is the currency to convert to."""
    grain: Grain = "hour" if ask.grain == "hour" else "day"
    counted = source.select(clock, ask._replace(grain=grain, into=None), measures)
    amounts = _amounts(source, measures) or ["0"]
    own = len(counted.arguments)
    query = _RATED.format(
        counted=counted.sql,
        day=f"(period AT TIME ZONE ${own + 3})::date" if grain == "hour" else "period",
        amounts=", ".join(amounts),
        zeros=", ".join("0" for _ in amounts),
        shop=own + 1,
        into=own + 2,
    )
    zone = [clock.zone.key] if grain == "hour" else []
    return query, [*counted.arguments, ask.shop, into, *zone], own + 2


def _amounts(source: Selecting, measures: Sequence[str]) -> list[str]:
    return [name for name in measures if source.measures[name] == "money"]


def _sums(source: Selecting, ask: Ask, measures: Sequence[str], into: int) -> str:
    """Each day's amounts at its rate, and counts as they are, by the period that is asked for."""
    amounts = _amounts(source, measures)
    sums = {
        name: f"coalesce(sum({name} * rate), 0)" if name in amounts else f"sum({name})"
        for name in measures
    }
    keys = [f"key{number}" for number in range(len(ask.by))]
    return _CONVERTED.format(
        period="dated.period" if ask.grain == "hour" else period_of_day(ask.grain, "dated.period"),
        keys="".join(f"{key}, " for key in keys),
        into=into,
        sums=", ".join(f"{told} AS {name}" for name, told in sums.items()),
        by=", ".join(["1", *keys]),
        tests=", ".join(sums.values()),
        zeros=", ".join("0" for _ in sums),
    )
