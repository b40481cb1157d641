"""Catching up: all events from the beginning into fresh tables, one process."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import asyncpg

from app.settings import Servers
from loadtests.bench.events import Key, Recount, Row, generate, recount
from loadtests.bench.processes import ROOT, Failed, output_of
from loadtests.bench.tables import Row as Result
from loadtests.bench.tables import Table
from loadtests.contenders import handwritten
from loadtests.contenders.job import Job
from projections.postgres import migrate
from streams import codec
from streams.events import Event
from streams.log import Log
from streams.topics import create_topics

PREFIX = "bench-"
PARTITIONS = 12
PATIENCE = 180.0
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Contender:
    name: str
    module: str
    commit_records: int
    leaves_out: str
    dedupe: bool = False


_ALL_BUT = "validation, quarantine, fencing, late and early events, other types of event"
REFERENCE = "aiokafka loop, 10,000"
CONTENDERS = (
    Contender("Tillstream, 10,000", "tillstream", 10_000, "–"),
    Contender("Tillstream, 75,000", "tillstream", 75_000, "–"),
    Contender(REFERENCE, "loop", 10_000, f"dedupe, {_ALL_BUT}"),
    Contender("aiokafka loop with dedupe, 10,000", "loop", 10_000, _ALL_BUT, dedupe=True),
    Contender("aiokafka loop, 75,000", "loop", 75_000, f"dedupe, {_ALL_BUT}"),
    Contender("confluent-kafka loop, 10,000", "confluent", 10_000, f"dedupe, {_ALL_BUT}"),
    Contender("Faust, take(1000)", "faust_take", 1_000, f"exactly once, dedupe, {_ALL_BUT}"),
    Contender("Quix Streams, sink, 10,000", "quix", 10_000, f"exactly once, dedupe, {_ALL_BUT}"),
)


async def measure(servers: Servers, home: Path, rounds: int, count: int, tell: Tell) -> list[Table]:
    """Every contender in every round. The table of events a second, and the one of seconds from the
    start of the process."""
    expected, size = await produce(servers, count)
    tell(f"{count:,} events of {size:.0f} bytes, {len(expected.revenue):,} rows of revenue")
    rates = {c.name: Result(c.name, c.leaves_out) for c in CONTENDERS}
    whole = {c.name: Result(c.name, c.leaves_out) for c in CONTENDERS}
    for number in range(rounds):
        turn = number % len(CONTENDERS)
        for contender in (*CONTENDERS[turn:], *CONTENDERS[:turn]):
            row = rates[contender.name]
            if row.failed:
                continue
            try:
                seconds, from_start, _ = await run(
                    servers, home, contender, number, count, expected
                )
            except Failed as failed:
                row.failed = whole[contender.name].failed = str(failed)
                tell(f"{contender.name}: {failed}")
                continue
            row.values.append(count / seconds)
            whole[contender.name].values.append(from_start)
            tell(f"{contender.name}: {count / seconds:,.0f} events/s")
    note = (
        f"{count:,} events of {size:.0f} B on {PARTITIONS} partitions, orders and revenue; of a "
        "past month, so that Tillstream has no live figures to push. The loops insert by unnest, "
        "where Tillstream copies in what is new."
    )
    by_rate, by_start = list(rates.values()), list(whole.values())
    return [
        Table("Catching up, exactly once", "events/s", REFERENCE, by_rate, 0, [note]),
        Table("The same from the start of the process", "s", REFERENCE, by_start, 1, [note]),
    ]


async def produce(
    servers: Servers, count: int, prefix: str = PREFIX, events: Sequence[Event] = ()
) -> tuple[Recount, float]:
    """Writes the events; what they come to, and their size in the middle."""
    await create_topics(servers.kafka, PARTITIONS, prefix, topics=["orders"])
    log = Log(servers.kafka, PARTITIONS, prefix, deadline=60, linger_ms=5)
    await log.start()
    await log.connected()
    events = events or list(generate(count))
    for start in range(0, count, 5_000):
        await log.append(events[start : start + 5_000])
    await log.stop()
    return recount(events), sum(len(codec.encode(event)) for event in events) / count


async def run(
    servers: Servers,
    home: Path,
    contender: Contender,
    number: int,
    count: int,
    expected: Recount,
    prefix: str = PREFIX,
) -> tuple[float, float, float]:
    """The seconds from its assignment to its last commit, those from its start, and those of
    processor time between assignment and last commit.

    Raises Failed where it did not end, or ended in other figures."""
    name = f"{contender.module}_{contender.commit_records}_{int(contender.dedupe)}_{number}"
    job = Job(
        kafka=servers.kafka,
        postgres=servers.postgres,
        redis=servers.redis,
        schema=f"bench_{name}",
        prefix=prefix,
        group=f"bench-{name}-{time.time_ns()}",
        partitions=PARTITIONS,
        records=count,
        commit_records=contender.commit_records,
        dedupe=contender.dedupe,
    )
    command = command_of(contender.module)
    admin = await asyncpg.connect(servers.postgres)
    try:
        await admin.execute(f'DROP SCHEMA IF EXISTS "{job.schema}" CASCADE')
        await create_tables(admin, servers, contender, job)
        await admin.execute("CHECKPOINT")
        started = time.monotonic()
        text = await output_of([*command, json.dumps(asdict(job))], home, PATIENCE)
        found = result_of(text)
        await check(admin, job.schema, expected)
    finally:
        await admin.execute(f'DROP SCHEMA IF EXISTS "{job.schema}" CASCADE')
        await admin.close()
    return found["committed"] - found["assigned"], found["committed"] - started, found["busy"]


def result_of(text: str) -> dict[str, float]:
    """What a contender told at its end; frameworks print, too. Raises Failed."""
    for line in reversed(text.splitlines()):
        if line.startswith('{"assigned"'):
            found: dict[str, float] = json.loads(line)
            return found
    raise Failed("ended before it was done")


def command_of(module: str) -> list[str]:
    """How to start a contender. Raises Failed where this cannot be."""
    if module != "quix":
        return [sys.executable, "-m", f"loadtests.contenders.{module}"]
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        raise Failed(f"needs uv beside {sys.executable}, for dependencies of its own")
    return [str(uv), "run", "--quiet", "--script", str(ROOT / "loadtests/contenders/quix.py")]


async def create_tables(
    admin: "asyncpg.Connection", servers: Servers, contender: Contender, job: Job
) -> None:
    if contender.module.startswith("tillstream"):
        await migrate(servers.postgres, job.schema)
    else:
        await admin.execute(f'CREATE SCHEMA "{job.schema}"')
        async with admin.transaction():
            await admin.execute(f'SET LOCAL search_path = "{job.schema}"')
            await admin.execute(handwritten.SCHEMA)


async def check(admin: "asyncpg.Connection", schema: str, expected: Recount) -> None:
    """Raises Failed where a contender's figures are not those of the recount."""
    await check_orders(admin, schema, expected)
    columns = "dimension, hour, key, currency, gross, refunds, orders, units, refunded_units"
    rows = await admin.fetch(f'SELECT {columns} FROM "{schema}".revenue')  # noqa: S608
    revenue: dict[Key, Row] = {tuple(row)[:4]: Row(*tuple(row)[4:]) for row in rows}
    if wrong := [k for k in revenue.keys() | expected.revenue if not _same(k, revenue, expected)]:
        key = min(wrong)
        raise Failed(
            f"wrong: {len(wrong)} rows of revenue, such as {key}: {revenue.get(key)}, "
            f"not {expected.revenue.get(key)}"
        )


async def check_orders(admin: "asyncpg.Connection", schema: str, expected: Recount) -> None:
    """Raises Failed where there are more orders, or fewer."""
    orders = await admin.fetchval(f'SELECT count(*) FROM "{schema}".orders')  # noqa: S608
    if orders != expected.orders:
        raise Failed(f"wrong: {orders:,} orders, not {expected.orders:,}")


def _same(key: Key, revenue: dict[Key, Row], expected: Recount) -> bool:
    return revenue.get(key) == expected.revenue.get(key)
