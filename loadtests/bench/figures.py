# ruff: noqa: S608  (made of constants)
"""What reports cost: those who ask, beside the order lines in Postgres; the worker, beside revenue.

Three years of a shop with 100,000 orders are folded from the log. The same lines stand in a table
as one would make it by hand, with an index for each way in, and are asked the same questions.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import asyncpg
from aiokafka import TopicPartition

from app.reports.report import Moment
from app.reports.table import REPORTS
from app.settings import Servers
from app.subscriptions import steps_of
from loadtests.bench.catch_up import PARTITIONS, Contender, Tell, produce, run
from loadtests.bench.events import generate
from loadtests.bench.processes import Failed
from loadtests.bench.tables import Row, Table
from projections.clock import ShopClock
from projections.postgres import connect, connect_alone, migrate
from projections.refold import COMMIT_RECORDS, Group, Source, create_tables
from projections.shares import refolding
from streams.batch import Partition
from streams.readback import log_ends

_ZONE = "Europe/Berlin"
_BEGIN = datetime(2023, 1, 1, tzinfo=UTC)
_YEARS = timedelta(days=3 * 365)
_ORDERS = 100_000
_CUSTOMERS = 20_000
_TIMES = 60  # that each question is asked
GOAL = 20.0
_OURS, _RAW = "Tillstream", "order lines"


class Question(NamedTuple):
    """One question: the report that answers it, and the SQL that asks it of the lines."""

    name: str
    report: str
    asked: Mapping[str, Any]
    raw: str
    kept: bool = True  # in sums of its own; else it is added up from lines here, too


_LAST = _BEGIN.date() + _YEARS - timedelta(days=1)
_SINCE_90 = _LAST - timedelta(days=89)
_NET = "sum(gross - discounts - refunds)"
_LOCAL = f"at AT TIME ZONE '{_ZONE}'"
_MONTH = f"date_trunc('month', {_LOCAL})::date"


def _from(day: date) -> str:
    return f"at >= '{day}'::timestamp AT TIME ZONE '{_ZONE}'"


QUESTIONS = (
    Question(
        "net, by day, 90 days",
        "net",
        {"grain": "day", "from": _SINCE_90},
        f"SELECT ({_LOCAL})::date AS day, currency, {_NET} FROM order_lines "
        f"WHERE {_from(_SINCE_90)} GROUP BY 1, 2 ORDER BY 1",
    ),
    Question(
        "net, by month, three years",
        "net",
        {"grain": "month"},
        f"SELECT {_MONTH}, currency, {_NET} FROM order_lines GROUP BY 1, 2 ORDER BY 1",
    ),
    Question(
        "orders, by month, three years",
        "orders",
        {"grain": "month"},
        f"SELECT {_MONTH}, currency, count(DISTINCT order_id) FILTER (WHERE sale) "
        "FROM order_lines GROUP BY 1, 2 ORDER BY 1",
    ),
    Question(
        "net, by month and category, three years",
        "net",
        {"grain": "month", "by": ["category"]},
        f"SELECT {_MONTH}, category, currency, {_NET} FROM order_lines GROUP BY 1, 2, 3 "
        "ORDER BY 1, 2",
    ),
    Question(
        "net, by country, three years",
        "net",
        {"grain": "total", "by": ["country"]},
        f"SELECT country, currency, {_NET} FROM order_lines GROUP BY 1, 2 ORDER BY 1",
    ),
    Question(
        "units, by product, a year",
        "units",
        {"grain": "total", "by": ["product"], "from": _LAST - timedelta(days=364)},
        "SELECT product, currency, sum(units) FROM order_lines "
        f"WHERE {_from(_LAST - timedelta(days=364))} GROUP BY 1, 2 ORDER BY 1",
    ),
    Question(
        "average order value, by quarter, three years",
        "average_order_value",
        {"grain": "quarter"},
        f"SELECT date_trunc('quarter', {_LOCAL})::date, currency, "
        f"{_NET} / nullif(count(DISTINCT order_id) FILTER (WHERE sale), 0) "
        "FROM order_lines GROUP BY 1, 2 ORDER BY 1",
    ),
    Question(
        "units of one product, by day, 90 days",
        "units",
        {"grain": "day", "product": ["sku-0007"], "from": _SINCE_90},
        f"SELECT ({_LOCAL})::date, currency, sum(units) FROM order_lines "
        f"WHERE product = 'sku-0007' AND {_from(_SINCE_90)} GROUP BY 1, 2 ORDER BY 1",
    ),
    Question(
        "net, by month, country and category, three years",
        "net",
        {"grain": "month", "by": ["country", "category"]},
        f"SELECT {_MONTH}, country, category, currency, {_NET} FROM order_lines "
        "GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3",
        kept=False,
    ),
)


async def measure(servers: Servers, home: Path, rounds: int, count: int, tell: Tell) -> list[Table]:
    """Milliseconds of each question, and events a second of the worker."""
    return [
        *await ask(servers, tell),
        *await read(servers, home, rounds, count, tell),
    ]


# Who asks.


async def ask(servers: Servers, tell: Tell) -> list[Table]:
    """Each question's median and 99th percentile, here and there, asked in turn."""
    prefix, schema = "figures-", "bench_figures"
    orders = list(generate(_ORDERS, begin=_BEGIN, span=_YEARS, customers=_CUSTOMERS))
    await produce(servers, len(orders), prefix, orders)
    await migrate(servers.postgres, schema)
    folded = f"{schema}_folded"
    await _fold(servers, prefix, schema, folded)
    pool = await connect(servers.postgres, schema, before=folded)
    try:
        lines = await _order_lines(pool)
        tell(f"{len(orders):,} events, {lines:,} lines, three years")
        tables = [await _ask(pool, question, tell) for question in QUESTIONS]
    finally:
        await pool.execute(f'DROP SCHEMA "{schema}" CASCADE; DROP SCHEMA "{folded}" CASCADE')
        await pool.close()
    return tables


async def _fold(servers: Servers, prefix: str, schema: str, into: str) -> None:
    clock = ShopClock(ZoneInfo(_ZONE))
    group = Group(servers.postgres, schema, "sales", steps_of("sales"))
    source = Source(servers.kafka, prefix, 100_000, COMMIT_RECORDS, clock, processes=2)
    connection = await connect_alone(servers.postgres, schema)
    await create_tables(connection, group, into, "bench")
    names = {
        TopicPartition(f"{prefix}orders", n): Partition("orders", n) for n in range(PARTITIONS)
    }
    ends = await log_ends(servers.kafka, list(names))
    upto = {names[tp]: end for tp, (_, end) in ends.items()}
    async with refolding(group, source, into, upto) as refold:
        await refold.to(upto)
    for table in group.tables:
        await connection.execute(f'VACUUM ANALYZE "{into}".{table}')
    await connection.close()


async def _order_lines(pool: "asyncpg.Pool[asyncpg.Record]") -> int:
    """The lines as a shop's own table has them, ready for every question."""
    await pool.execute("""
        CREATE TABLE order_lines AS
        SELECT hour + random() * interval '59 minutes' AS at, order_id, currency, country, channel,
            customer, category, product, variant, gross, discounts, refunds, tax, units,
            orders > 0 AS sale
        FROM sales_lines
        ORDER BY 1
    """)
    for columns in ("at", "country, at", "category, at", "product, at", "customer, at"):
        await pool.execute(
            f"CREATE INDEX ON order_lines ({columns}) INCLUDE "
            f"({', '.join(sorted(_INCLUDED - set(columns.split(', '))))})"
        )
    await pool.execute("VACUUM ANALYZE order_lines")
    return int(await pool.fetchval("SELECT count(*) FROM order_lines"))


_INCLUDED = {"currency", "gross", "discounts", "refunds", "units"}


async def _ask(pool: "asyncpg.Pool[asyncpg.Record]", question: Question, tell: Tell) -> Table:
    report = REPORTS[question.report]
    asked = report.asked.model_validate(question.asked)
    moment = Moment(ShopClock(ZoneInfo(_ZONE)), datetime.now(UTC))
    times: dict[str, list[float]] = {_OURS: [], _RAW: []}
    for number in range(_TIMES + 2):
        for name in sorted(times, reverse=bool(number % 2)):
            begun = time.perf_counter()
            if name == _OURS:
                rows: Sequence[Any] = await report.rows(pool, moment, asked)
            else:
                rows = await pool.fetch(question.raw)
            if number >= 2:  # once for the plan, once for the cache
                times[name].append((time.perf_counter() - begun) * 1000)
            assert rows
    told = [Row(name, "–", [p50_of(values), p99_of(values)]) for name, values in times.items()]
    faster = p50_of(times[_RAW]) / p50_of(times[_OURS])
    slow = p99_of(times[_RAW]) / p99_of(times[_OURS])
    goal = f"the goal is {GOAL:g} ×" if question.kept else "added up from the lines here, too"
    note = f"{faster:.1f} × faster at the median, {slow:.1f} × at the 99th percentile; {goal}."
    tell(f"{question.name}: {note}")
    return Table(f"{question.name} (median and p99)", "ms", _RAW, told, 2, [note])


def p50_of(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def p99_of(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


# The worker.

_REVENUE, _EVERYTHING = "orders and revenue alone", "every read model of the sales"
_WORKERS = (
    Contender(_REVENUE, "tillstream", 10_000, "all others"),
    Contender(_EVERYTHING, "tillstream_all", 10_000, "–"),
)


async def read(servers: Servers, home: Path, rounds: int, count: int, tell: Tell) -> list[Table]:
    """Events a second of a worker that catches up, with few read models and with all of them."""
    prefix = "figures-all-"
    events = list(generate(count, customers=_CUSTOMERS))
    expected, size = await produce(servers, count, prefix, events)
    rates = {contender.name: Row(contender.name, contender.leaves_out) for contender in _WORKERS}
    for number in range(rounds):
        for contender in _WORKERS if number % 2 else _WORKERS[::-1]:
            try:
                seconds, *_ = await run(servers, home, contender, number, count, expected, prefix)
            except Failed as failed:
                rates[contender.name].failed = str(failed)
                tell(f"{contender.name}: {failed}")
                continue
            rates[contender.name].values.append(count / seconds)
            tell(f"{contender.name}: {count / seconds:,.0f} events/s")
    note = f"{count:,} events of {size:.0f} B on {PARTITIONS} partitions; the goal is 0.50 ×."
    name = "A worker that catches up with everything"
    return [Table(name, "events/s", _REVENUE, list(rates.values()), 0, [note])]
