"""Learning: facts into models in one process, alone and with all that keeps them exactly once."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import asyncpg
import httpx2
import psutil

from app.settings import Servers, Settings
from app.subscriptions import LEARNERS, learners_of
from loadtests.bench.catch_up import Tell
from loadtests.bench.events import BEGIN, CATEGORIES, CURRENCY, generate
from loadtests.bench.processes import Failed, environment
from loadtests.bench.tables import Row, Table
from ml_online.models import Models
from projections.postgres import connect, migrate
from streams import codec
from streams.codec import Fact
from streams.events import DayClosed, DayFigure, Event
from streams.log import Log
from streams.money import Money, SignedMoney
from streams.online_retail import read
from streams.topics import create_topics

PARTITIONS = 12
PREFIX = "learning-"
DAYS = 120
GOAL = 10_000
PATIENCE = 180.0

_ALONE = "models alone"
_RETAIL = "models alone, Online Retail (25 lines an order)"
_LIVE = "learner, from the log"
_AGAIN = "learner, after kill -9, along its journal"
_FILE = Path(__file__).parents[3] / "shared" / "data" / "online_retail_2010-12_2011-09.csv.gz"


@dataclass(frozen=True)
class Stretch:
    """How long the learner took, in seconds by the clock and of processor time."""

    wall: float
    busy: float


async def measure(servers: Servers, home: Path, rounds: int, count: int, tell: Tell) -> list[Table]:
    """Events a second, and events for each second of processor time."""
    events = [*generate(count), *days()]
    rates = {name: Row(name, leaves_out) for name, leaves_out in _CONTENDERS.items()}
    busy = {name: Row(name, leaves_out) for name, leaves_out in _CONTENDERS.items()}
    retail = online_retail()
    await produce(servers, events)
    for number in range(rounds):
        found = {_ALONE: (len(events), alone(as_facts(events)))}
        if retail:
            found[_RETAIL] = (len(retail), alone(retail))
        try:
            for name, stretch in zip(
                (_LIVE, _AGAIN), await from_the_log(servers, home, number, len(events)), strict=True
            ):
                found[name] = (len(events), stretch)
        except Failed as failed:
            rates[_LIVE].failed = busy[_LIVE].failed = str(failed)
        for name, (size, stretch) in found.items():
            rates[name].values.append(size / stretch.wall)
            busy[name].values.append(size / stretch.busy)
            tell(f"{name}: {size / stretch.wall:,.0f} events/s")
    note = (
        f"{count:,} orders and refunds of 1 to 3 lines on {PARTITIONS} partitions, and the closes "
        f"of {DAYS} days with {CATEGORIES + 1} series each. The goal is {GOAL:,} on one core."
    )
    return [
        Table("Learning", "events/s", _ALONE, list(rates.values()), 0, [note]),
        Table("Learning, by processor time", "events/s", _ALONE, list(busy.values()), 0, [note]),
    ]


_CONTENDERS = {
    _ALONE: "the log, decoding, dedupe, journal, snapshots",
    _RETAIL: "the log, decoding, dedupe, journal, snapshots",
    _LIVE: "–",
    _AGAIN: "–",
}


def days() -> Iterator[Event]:
    """The closes of the days before the orders, of a total and of each category."""
    random = Random(7)
    for number in range(DAYS):
        day = BEGIN.date() - timedelta(days=DAYS - number)
        values = [random.randint(1, 9) * 10_000_000 for _ in range(CATEGORIES)]
        figures = [_figure("total", "", sum(values))]
        figures += [
            _figure("category", f"category-{n:02d}", value) for n, value in enumerate(values)
        ]
        data = DayClosed(date=day.isoformat(), positions={}, figures=figures)
        at = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC)
        yield Event(
            id=f"closed-{day}",
            type="DayClosed",
            shop="main",
            subject=data.date,
            time=at,
            received_at=at,
            data=codec.raw(data),
        )


def _figure(level: str, key: str, net: int) -> DayFigure:
    return DayFigure(
        level=level,
        key=key,
        currency=CURRENCY,
        gross=Money(net),
        discounts=Money(0),
        refunds=Money(0),
        net=SignedMoney(net),
        orders=1,
        units=1,
    )


def as_facts(events: Sequence[Event]) -> list[Fact]:
    """Decoded, as if all had stood on one partition."""
    found = []
    for offset, event in enumerate(events):
        topic = "days" if event.type == "DayClosed" else "orders"
        found.append(Fact(topic, 0, offset, event, codec.decode_data(event, topic)))
    return found


def online_retail() -> list[Fact]:
    """The real shop's orders, where its file is there."""
    if not _FILE.exists():
        return []
    entries = read(_FILE, Settings().timezone, "main", datetime.now(UTC)).entries
    events = [entry.event for entry in entries if entry.event.type.startswith("Order")]
    return as_facts(events)


def alone(facts: Sequence[Fact]) -> Stretch:
    """The models alone, in this process."""
    models = Models(learners_of(LEARNERS))
    wall, busy = time.perf_counter(), time.process_time()
    for fact in facts:
        models.learn(fact)
    return Stretch(time.perf_counter() - wall, time.process_time() - busy)


async def produce(servers: Servers, events: Sequence[Event]) -> None:
    await create_topics(servers.kafka, PARTITIONS, PREFIX, topics=["orders", "days"])
    log = Log(servers.kafka, PARTITIONS, PREFIX, deadline=60, linger_ms=5)
    await log.start()
    await log.connected()
    for start in range(0, len(events), 5_000):
        await log.append(events[start : start + 5_000])
    await log.stop()


async def from_the_log(
    servers: Servers, home: Path, number: int, count: int
) -> tuple[Stretch, Stretch]:
    """A learner that begins with nothing, is killed, and begins again. Raises Failed."""
    schema = f"learning_{number}"
    await migrate(servers.postgres, schema)
    pool = await connect(servers.postgres, schema)
    more = {
        "TILLSTREAM_HOME": str(home),
        "TILLSTREAM_KAFKA": servers.kafka,
        "TILLSTREAM_POSTGRES": servers.postgres,
        "TILLSTREAM_REDIS": servers.redis,
        "TILLSTREAM_PREFIX": PREFIX,
        "TILLSTREAM_SCHEMA_NAME": schema,
        "TILLSTREAM_SNAPSHOT_SECONDS": "100000",
    }
    try:
        async with _learner(home, more) as process:
            first = await _learned(pool, process, count)
            process.kill()
        await pool.execute("DELETE FROM learner_addresses")
        async with _learner(home, more) as process:
            second = await _learned(pool, process, count)
        return first, second
    finally:
        await pool.execute(f'DROP SCHEMA "{schema}" CASCADE')
        await pool.close()


@asynccontextmanager
async def _learner(home: Path, more: dict[str, str]) -> AsyncIterator[psutil.Process]:
    with (home / "processes.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "app.cli", "learner"),
            cwd=home,
            env=environment(more),
            stdout=log,
            stderr=log,
        )
        try:
            yield psutil.Process(process.pid)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _learned(
    pool: "asyncpg.Pool[asyncpg.Record]", process: psutil.Process, count: int
) -> Stretch:
    """From its first answer until all is learned. Raises Failed."""
    begun: float | None = None
    busy = 0.0
    query = "SELECT address FROM learner_addresses"
    async with asyncio.timeout(PATIENCE), httpx2.AsyncClient(timeout=30) as client:
        while True:
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                raise Failed("the learner ended")
            if address := await pool.fetchval(query):
                if begun is None:
                    begun, busy = time.monotonic(), sum(process.cpu_times()[:2])
                answer = await client.get(f"{address}/health")
                if answer.json()["learned"] >= count:
                    return Stretch(time.monotonic() - begun, sum(process.cpu_times()[:2]) - busy)
            await asyncio.sleep(0.02)
