"""A month's sales as one workbook: a summary with charts, and a sheet for each way to see it."""

from calendar import monthrange
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from app.exports.charts import Chart, charts
from app.exports.task import OfMonth, Said, Task
from app.exports.workbook import Book, Summed
from app.reports.report import Column
from projections import ledger
from projections.clock import ShopClock
from projections.measured import Ask, Grain, Measured
from projections.sales import SALES

Connection = asyncpg.Connection

_MEASURES = (
    *("gross", "discounts", "refunds", "adjustments", "tax"),
    *("orders", "units", "refunded_units"),
)
_AMOUNTS = (
    *(Column(name, "money") for name in ("gross", "discounts", "refunds", "net")),
    *(Column(name, "money") for name in ("adjustments", "tax")),
    *(Column(name, "count") for name in ("orders", "units", "refunded_units")),
)
_OF_TAX = tuple(c for c in _AMOUNTS if c.name in ("net", "tax", "orders"))
_OF_LINES = tuple(c for c in _AMOUNTS if c.name != "orders")


class _Sheet(NamedTuple):
    """One way to look at a month: by day, or by a dimension."""

    name: str
    by: str
    columns: Sequence[Column] = _AMOUNTS
    chart: str = ""


_SHEETS = (
    _Sheet("Days", "day", chart="Net by day"),
    _Sheet("Products", "product", chart="Net by product"),
    _Sheet("Countries", "country", chart="Net by country"),
    _Sheet("Categories", "category", chart="Net by category"),
    _Sheet("Tax", "country", _OF_TAX),
)


async def write(path: Path, connection: Connection, task: Task, clock: ShopClock) -> int:
    """Writes the month; how many rows."""
    assert isinstance(task.of, OfMonth)
    first = date(task.of.year, task.of.month, 1)
    last = first.replace(day=monthrange(first.year, first.month)[1])
    names = await ledger.names_of_products(connection, task.shop, first, last)
    book = Book(path, clock.zone)
    drawn: list[Chart] = []
    count = 0
    for sheet in _SHEETS:
        grain: Grain = "day" if sheet.by == "day" else "total"
        by = () if sheet.by == "day" else (sheet.by,)
        ask = Ask(task.shop, first, last, grain, by)
        rows = [_row(sheet.by, found) for found in await _asked(connection, clock, ask)]
        count += _sheet(book, sheet, rows, names)
        if sheet.chart:
            drawn += _charts(sheet, rows)
    count += await _lines(book, connection, task, clock, first, last)
    total = await _asked(connection, clock, Ask(task.shop, first, last))
    columns = (Column("currency"), *_AMOUNTS)
    said = _said(task, first, clock)
    book.summary(said, [Summed("Totals", columns, [_row("", found) for found in total])], drawn)
    book.close()
    return count


async def _asked(connection: Connection, clock: ShopClock, ask: Ask) -> Sequence[Measured]:
    return await SALES.rows(connection, clock, ask, _MEASURES)


def _row(by: str, found: Measured) -> dict[str, Any]:
    values = found.values
    key = found.period.isoformat() if found.period else "".join(found.key)
    net = Decimal(values["gross"]) - values["discounts"] - values["refunds"]
    return {**values, **({by: key} if by else {}), "currency": found.currency, "net": net}


def _sheet(
    book: Book, sheet: _Sheet, rows: Sequence[Mapping[str, Any]], names: Mapping[str, str]
) -> int:
    of = Column(sheet.by, "day" if sheet.by == "day" else "text")
    named = (Column("name"),) if sheet.by == "product" else ()
    table = book.table(sheet.name, (of, *named, Column("currency"), *sheet.columns))
    for row in rows:
        key: Any = date.fromisoformat(row[of.name]) if of.kind == "day" else row[of.name]
        name = (names.get(key) or None,) if named else ()
        table.add((key, *name, row["currency"], *(row[c.name] for c in sheet.columns)))
    table.end()
    return table.rows


def _charts(sheet: _Sheet, rows: Sequence[Mapping[str, Any]]) -> list[Chart]:
    of = Column(sheet.by, "day" if sheet.by == "day" else "text")
    found = charts((of, Column("currency"), Column("net", "money")), (sheet.by, "currency"), rows)
    currencies = (chart.title.removeprefix("net ") for chart in found)
    return [
        chart._replace(title=f"{sheet.chart}, {currency}")
        for chart, currency in zip(found, currencies, strict=True)
    ]


async def _lines(
    book: Book, connection: Connection, task: Task, clock: ShopClock, first: date, last: date
) -> int:
    kinds = {"hour": Column("hour", "time")}
    key = tuple(kinds.get(name, Column(name)) for name in ledger.KEY)
    table = book.table("Order lines", (*key, *_OF_LINES))
    span = clock.span(first, last)
    found: AsyncIterator[Any] = ledger.lines(connection, task.shop, *span)
    async for row in found:
        net = row["gross"] - row["discounts"] - row["refunds"]
        values = (net if c.name == "net" else row[c.name] for c in _OF_LINES)
        table.add((*(row[name] for name in ledger.KEY), *values))
    table.end()
    return table.rows


def _said(task: Task, first: date, clock: ShopClock) -> Said:
    complete = task.seen.complete_to
    return Said(
        f"Sales in {first:%B %Y}",
        (
            ("Shop", task.shop),
            ("Time zone", clock.zone.key),
            ("Complete to", complete.isoformat() if complete else "nothing was read yet"),
            ("Made", task.seen.now.isoformat(timespec="seconds")),
            ("Net", "gross less discounts and refunds; adjustments stand beside it"),
            ("Tax", "of what was sold, shipping's included, less what refunds gave back"),
            ("Orders", "completed in this month; one with several products counts once for each"),
        ),
    )
