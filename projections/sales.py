"""Sales by any period and any two dimensions, from whichever read model has it nearest.

`sales_periods` for days and longer along one dimension, whole months at once; `sales_lines` for all
else. The answers are the same, for all are sums of the same postings.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from projections import sales_lines, sales_periods
from projections.clock import ShopClock, following
from projections.conversion import Select, answered
from projections.measured import (
    GRAINS,
    Ask,
    Grain,
    Measured,
    Unit,
    period_of_day,
    period_of_hour,
)
from projections.read_model import Row, Transaction

_DAY = timedelta(days=1)
_BEGINNING, _END = date.min, date.max
_WHOLE_MONTHS = frozenset({"total", "month", "quarter", "year"})


class Sales:
    """The source of `projections.measured` for what is sold, given back and corrected."""

    name = "sales"
    group = "sales"
    measures: Mapping[str, Unit] = {
        name: "money" if name in sales_lines.AMOUNTS else "count" for name in sales_lines.MEASURES
    }
    dimensions = sales_lines.DIMENSIONS
    grains: Sequence[Grain] = GRAINS

    async def rows(
        self, transaction: Transaction, clock: ShopClock, ask: Ask, measures: Sequence[str]
    ) -> list[Measured]:
        """See `projections.measured.Source`."""
        found = await answered(self, transaction, clock, ask, measures)
        return [_measured(row, ask, clock, measures) for row in found]

    def select(self, clock: ShopClock, ask: Ask, measures: Sequence[str]) -> Select:
        """See `projections.conversion.Selecting`."""
        dimensions = {*ask.by, *ask.only}
        kept = len(dimensions) <= 1 and dimensions <= set(sales_periods.DIMENSIONS)
        if kept and ask.grain != "hour":
            return _from_periods(ask, measures)
        return _from_lines(clock, ask, measures)


SALES = Sales()


def _measured(row: Row, ask: Ask, clock: ShopClock, measures: Sequence[str]) -> Measured:
    period = row["period"]
    if isinstance(period, datetime):
        period = period.astimezone(clock.zone)
    key = tuple(row[f"key{number}"] for number in range(len(ask.by)))
    return Measured(period, key, row["currency"], {name: row[name] for name in measures})


# By day and month.

_PERIODS = """
    SELECT {period} AS period, {key} currency, {sums}
    FROM ({kept}) AS kept
    GROUP BY {by}
    HAVING ({tests}) <> ({zeros})
    ORDER BY {by}
"""
_KEPT = """
    SELECT period, key, currency, {measures} FROM sales_periods
    WHERE shop = $1 AND dimension = $2 AND grain = '{grain}'
        AND period >= ${first} AND period < ${end}
        AND ($3::text IS NULL OR currency = $3) {keys}
"""


def _from_periods(ask: Ask, measures: Sequence[str]) -> Select:
    dimension = next(iter((*ask.by, *ask.only)), "total")
    arguments: list[Any] = [ask.shop, dimension, ask.currency]
    keys = ""
    if (only := ask.only.get(dimension)) is not None:
        arguments.append(list(only))
        keys = f"AND key = ANY (${len(arguments)})"
    kept = []
    for grain, first, end in _spans(ask):
        kept.append(
            _KEPT.format(
                measures=", ".join(measures),
                grain=grain,
                first=len(arguments) + 1,
                end=len(arguments) + 2,
                keys=keys,
            )
        )
        arguments += [first, end]
    sums = [f"sum({name})" for name in measures]
    query = _PERIODS.format(
        period=period_of_day(ask.grain, "kept.period"),
        key="key AS key0," if ask.by else "",
        sums=", ".join(f"sum({name}) AS {name}" for name in measures),
        kept=" UNION ALL ".join(kept),
        by="1, key0, currency" if ask.by else "1, currency",
        tests=", ".join(sums),
        zeros=", ".join("0" for _ in sums),
    )
    return Select(query, tuple(arguments))


def _spans(ask: Ask) -> list[tuple[str, date, date]]:
    """Which rows make up the days that are asked: grain, first day, and the day after the last."""
    first = ask.first or _BEGINNING
    end = _END if ask.last is None or ask.last == _END else ask.last + _DAY
    begins, ends = whole_months(first, end)
    if ask.grain not in _WHOLE_MONTHS or begins >= ends:
        return [("day", first, end)]
    spans = [("day", first, begins), ("month", begins, ends), ("day", ends, end)]
    return [span for span in spans if span[1] < span[2]]


def whole_months(first: date, end: date) -> tuple[date, date]:
    """The first day of the first month that begins on `first` or later, and that of the last which
    begins on `end` or before. Where there is no month between, the second is not after the first.
    """
    begins = first if first.day == 1 else following(first)
    return begins, end if end == _END else end.replace(day=1)


# From the lines.

_LINES = """
    SELECT {period} AS period, {keys} currency, {sums}
    FROM sales_lines
    WHERE shop = $1 AND hour >= $2 AND hour < $3
        AND ($4::text IS NULL OR currency = $4)
        AND $5::text IS NOT NULL  -- the zone, which not every grain asks for
        {filters}
    GROUP BY {by}
"""
_ANSWER = """
    SELECT period, {keys} currency, {sums} FROM ({lines}) AS counted
    GROUP BY {by}
    HAVING ({tests}) <> ({zeros})
    ORDER BY {by}
"""


def _from_lines(clock: ShopClock, ask: Ask, measures: Sequence[str]) -> Select:
    """An order counts once in each row that it has a line in: first its lines are added up."""
    keys = [f"key{number}" for number in range(len(ask.by))]
    by = ["period", *keys, "currency"]
    only = list(ask.only.items())
    orders = "orders" in measures
    lines = _LINES.format(
        period=period_of_hour(ask.grain, "hour", "$5"),
        keys="".join(
            f"{_COLUMN.get(n, n)} AS {key}, " for key, n in zip(keys, ask.by, strict=True)
        ),
        sums=", ".join(f"sum({name}) AS {name}" for name in measures),
        filters=" ".join(
            f"AND {_COLUMN.get(name, name)} = ANY (${number})"
            for number, (name, _) in enumerate(only, 6)
        ),
        by=", ".join([str(n) for n in range(1, len(by) + 1)] + (["order_id"] if orders else [])),
    )
    sums = {
        name: "count(*) FILTER (WHERE orders > 0)" if name == "orders" else f"sum({name})"
        for name in measures
    }
    query = _ANSWER.format(
        lines=lines,
        keys="".join(f"{key}, " for key in keys),
        sums=", ".join(f"{told} AS {name}" for name, told in sums.items()),
        by=", ".join(by),
        tests=", ".join(sums.values()),
        zeros=", ".join("0" for _ in sums),
    )
    arguments = (
        ask.shop,
        *clock.span(ask.first, ask.last),
        ask.currency,
        clock.zone.key,
        *(list(values) for _, values in only),
    )
    return Select(query, arguments)


# As `sales_periods` counts: a product without variants is its own only one.
_COLUMN: Mapping[str, str] = {"variant": "coalesce(nullif(variant, ''), product)"}
