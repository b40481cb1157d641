"""Every metric, by every dimension, pair and period, is what plain SQL over the events makes of it.

The oracle (`oracle.sql`) is filled straight from the log, record by record, and knows nothing of
read models. Each zone's figures are folded from the same log.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from app.reports.metrics import METRICS
from app.reports.report import Moment
from app.reports.table import REPORTS
from app.reports.wording import period_of, shown
from app.settings import Settings
from app.subscriptions import steps_of
from projections import sales
from projections.clock import ShopClock
from projections.measured import GRAINS
from projections.postgres import connect, connect_alone
from projections.refold import Group, Source, create_tables
from projections.shares import refolding
from streams import online_retail
from streams.batch import Partition
from streams.events import VOCABULARY, Event
from streams.log import Log
from streams.readback import log_ends
from tests import retail
from tests.sales import line

ORACLE = (Path(__file__).parent / "oracle.sql").read_text()
# The last of them puts its clocks forward by half an hour.
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
DIMENSIONS = sales.SALES.dimensions
PARTITIONS = 2


@pytest.fixture
def partitions() -> int:
    return PARTITIONS


def history(count: int, seed: int) -> list[Event]:
    """Orders of half a year around both changes of the clock, some given back, told in any order
    and now and then twice."""
    random = Random(seed)
    begun = datetime(2024, 10, 3, tzinfo=UTC)
    events = []
    for number in range(count):
        at = begun + timedelta(minutes=random.randrange(60 * 24 * 190))
        if number % 5 == 0:  # around midnight, when the clocks change
            changing = random.choice([date(2024, 10, 27), date(2024, 11, 3), date(2025, 3, 30)])
            at = datetime(changing.year, changing.month, changing.day, tzinfo=UTC)
            at += timedelta(minutes=random.randrange(-720, 1080))
        events += _order(f"o{number}", at, random)
    events += random.sample(events, count // 10)
    random.shuffle(events)
    return events


def _order(order: str, at: datetime, random: Random) -> list[Event]:
    lines = [
        line(
            f"p{product}",
            random.choice(["9.90", "0.001", "19.999", "3"]),
            random.randrange(1, 5),
            **_some(
                random, category=f"c{product % 4}", variant=f"p{product}-{random.randrange(2)}"
            ),
            **_some(random, tax=random.choice(["0.19", "1.2345", "0"])),
        )
        for product in random.sample(range(12), random.randrange(1, 5))
    ]
    fields = {
        "currency": random.choice(["EUR", "EUR", "GBP"]),
        **_some(random, country=random.choice(["DE", "FR", "AT"]), channel=random.choice("ab")),
        **_some(random, discount=random.choice(["1", "0.0007", "1000"])),
        **_some(random, tax=random.choice(["2.22", "0"])),
    }
    person = random.choice([None, *(f"person-{number}" for number in range(20))])
    found = [_said("OrderCompleted", order, at, person, products=lines, **fields)]
    later = at + timedelta(hours=random.randrange(1, 2000))
    match random.randrange(8):
        case 0:
            found.append(_said("OrderCancelled", order, later, person))
        case 1:
            back = [
                {name: told for name, told in one.items() if name not in ("variant", "category")}
                for one in random.sample(lines, random.randrange(1, len(lines) + 1))
            ]
            more = _some(random, tax="0.5", country="CH")
            found.append(_said("OrderRefunded", order, later, person, products=back, **more))
        case 2:
            found.append(_said("SalesAdjusted", order, later, person, amount="-0.5"))
        case 3:  # it was completed before, says somebody else
            again = _said("OrderCompleted", order, later, "x", products=lines[:1], event="again")
            found.append(again)
    return found


def _some(random: Random, **fields: str) -> dict[str, str]:
    return {name: told for name, told in fields.items() if random.random() < 0.6}


def _said(
    kind: str, order: str, at: datetime, person: str | None, event: str = "", **data: Any
) -> Event:
    return Event(
        id=f"{order}-{event or kind}",
        type=kind,
        shop="main",
        subject=order,
        time=at,
        received_at=at,
        person=person,
        data=msgspec.Raw(msgspec.json.encode({"order_id": order, **data})),
    )


# The oracle.


async def fill(pool: Any, settings: Settings, count: int = PARTITIONS, shop: str = "main") -> None:
    """Puts every record of a shop into the oracle's table, from the log."""
    await pool.execute(
        "CREATE TABLE told (id text, shop text, order_id text, type text, time timestamptz,"
        " person text, data jsonb)"
    )
    partitions = [TopicPartition(f"{settings.prefix}orders", n) for n in range(count)]
    async with AIOKafkaConsumer(
        bootstrap_servers=settings.servers.kafka, enable_auto_commit=False
    ) as consumer:
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        for partition in partitions:
            consumer.seek(partition, 0)
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                await pool.executemany(
                    """
                    INSERT INTO told SELECT $1::json ->> 'id', $1::json ->> 'shop',
                        $1::json ->> 'subject', $1::json ->> 'type',
                        ($1::json ->> 'time')::timestamptz, $1::json ->> 'person',
                        ($1::json -> 'data')::jsonb
                    """,
                    [
                        (record.value.decode(),)
                        for record in records
                        if (record.key or b"").startswith(f"{shop}/".encode())
                    ],
                )
    await pool.execute(ORACLE)


_AT = "lines.at AT TIME ZONE '{zone}'"
_PERIODS = {
    "total": "NULL::date",
    "hour": f"at - make_interval(mins => extract(minute FROM {_AT})::int) "
    f"- make_interval(secs => extract(second FROM {_AT})::float)",
    **{
        grain: f"date_trunc('{grain}', {_AT})::date"
        for grain in ("day", "week", "month", "quarter", "year")
    },
}
_COLUMNS = {
    "customer": "coalesce(person, '')",
    "variant": "coalesce(nullif(variant, ''), product)",
    "country": "coalesce(country, '')",
    "channel": "coalesce(channel, '')",
}
_SUMS = ("gross", "discounts", "refunds", "adjustments", "tax", "units", "refunded_units")


async def oracle(
    pool: Any, zone: str, grain: str, by: Sequence[str], where: str = "true"
) -> dict[tuple[Any, ...], dict[str, Decimal]]:
    """Every measure that is not zero, by period, keys and currency."""
    keys = "".join(f"{_COLUMNS.get(name, name)}, " for name in by)
    sums = ", ".join(f"sum({name}) AS {name}" for name in _SUMS)
    rows = await pool.fetch(
        f"""
        SELECT {_PERIODS[grain].format(zone=zone)} AS period, {keys} currency, {sums},
            count(DISTINCT order_id) FILTER (WHERE sale) AS orders
        FROM lines WHERE {where.format(at=_AT.format(zone=zone))}
        GROUP BY {", ".join(str(n) for n in range(1, len(by) + 3))}
        """
    )
    found = {}
    for row in rows:
        key = tuple(row.values())[: len(by) + 2]
        counts = {name: Decimal(row[name]) for name in (*_SUMS, "orders")}
        if any(counts.values()):
            found[key] = {
                name: value / 10_000 if name in _SUMS[:5] else value
                for name, value in counts.items()
            }
    return found


def expected(metric: str, counts: Mapping[str, Decimal]) -> Decimal | None:
    """A metric as a textbook has it."""
    net = counts["gross"] - counts["discounts"] - counts["refunds"]
    orders, gross = counts["orders"], counts["gross"]
    match metric:
        case "net":
            return net
        case "average_order_value":
            return net / orders if orders else None
        case "units_per_order":
            return counts["units"] / orders if orders else None
        case "refund_rate":
            return counts["refunds"] / gross if gross else None
    return counts[metric]


# What is held against it.


@asynccontextmanager
async def folded(settings: Settings, zone: str) -> AsyncIterator[Any]:
    """A pool that sees the log's figures by the clock of a zone."""
    clock, schema = ShopClock(ZoneInfo(zone)), f"{settings.schema_name}_of_a_zone"
    group = Group(settings.servers.postgres, settings.schema_name, "sales", steps_of("sales"))
    source = Source(settings.servers.kafka, settings.prefix, 5_000, 700, clock)
    pool = await connect(
        settings.servers.postgres, settings.schema_name, before=schema, name="oracle"
    )
    try:
        connection = await connect_alone(group.dsn, group.schema)
        await create_tables(connection, group, schema, zone)
        await connection.close()
        tps = {
            TopicPartition(f"{settings.prefix}orders", n): Partition("orders", n)
            for n in range(PARTITIONS)
        }
        ends = {tps[tp]: end for tp, (_, end) in (await log_ends(source.kafka, list(tps))).items()}
        async with refolding(group, source, schema, ends) as refold:
            await refold.to(ends)
        yield pool
    finally:
        await pool.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
        pool.terminate()


QUESTIONS = [
    (grain, by) for grain in GRAINS for count in range(3) for by in combinations(DIMENSIONS, count)
]


async def hold(
    pool: Any, zone: str, questions: Sequence[tuple[str, tuple[str, ...]]], shop: str = "main"
) -> int:
    """Asks every metric these questions, in turns where there are two dimensions; how many figures
    were compared."""
    moment = Moment(ShopClock(ZoneInfo(zone)), datetime.now(UTC))
    every = [metric for metric in METRICS if metric.source is sales.SALES]
    compared = 0
    for number, (grain, by) in enumerate(questions):
        counted = await oracle(pool, zone, grain, by)
        for metric in every if len(by) < 2 else every[number % 3 :: 3]:
            report = REPORTS[metric.name]
            asked = report.asked.model_validate({"grain": grain, "by": by, "shop": shop})
            rows = await report.rows(pool, moment, asked)
            served = {
                (row.get(grain), *(row[name] or "" for name in by), row["currency"]): row[
                    metric.name
                ]
                for row in rows
            }
            assert len(served) == len(rows)
            parts = {*metric.parts, *metric.over}
            wanted = {}
            for (period, *keys), counts in counted.items():
                local = period.astimezone(moment.clock.zone) if grain == "hour" else period
                told = None if period is None else period_of(grain, local)
                if any(counts[name] for name in parts):
                    value = expected(metric.name, counts)
                    wanted[told, *keys] = shown(value, metric.unit)
            assert served == wanted, (metric.name, grain, by)
            compared += len(wanted)
    return compared


@pytest.mark.parametrize("zone", ZONES)
async def test_every_metric_by_everything_is_what_the_events_say(
    zone: str, settings: Settings, pool: Any, log: Log
) -> None:
    await log.append(history(200, seed=ZONES.index(zone)))
    await fill(pool, settings)
    async with folded(settings, zone) as figures:
        assert await hold(figures, zone, QUESTIONS) > 15_000


async def test_real_sales_by_a_choice_of_everything_are_what_the_events_say(
    settings: Settings, pool: Any, log: Log, data: Path, tmp_path: Path
) -> None:
    zone = ZoneInfo("Europe/London")
    days = date(2011, 3, 20), date(2011, 4, 1)
    file = retail.part(data / f"{retail.NAME}.csv.gz", tmp_path / "days.csv.gz", *days)
    read = online_retail.read(file, zone, "main", datetime.now(UTC))
    chosen = [
        entry.event for entry in read.entries if VOCABULARY[entry.event.type].topic == "orders"
    ]
    for start in range(0, len(chosen), 500):
        await log.append(chosen[start : start + 500])
    await fill(pool, settings)
    async with folded(settings, zone.key) as figures:
        assert await hold(figures, zone.key, Random(7).sample(QUESTIONS, 20)) > 20_000
