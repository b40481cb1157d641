"""The practised disaster: Postgres comes back older than Kafka, and every figure ends exact."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from aiokafka import TopicPartition
from redis.asyncio import Redis

from app.backup import StillRunning, restore
from app.settings import Settings
from projections.clock import following
from projections.live import LiveFigures
from projections.month_tables import candidates
from projections.postgres import connect
from streams.readback import log_ends, read_back
from tests.e2e.service import Service, environment, run_cli, running
from tests.e2e.test_ingest import order
from tests.e2e.test_live import next_message, watching
from tests.e2e.test_sales import ask, send

MONTH = datetime.now(UTC).replace(day=1) - timedelta(days=1)
"""The last one that has ended: every day since the first sale is closed and told."""
DAYS = [f"{MONTH:%Y-%m}-{day:02}" for day in (2, 3, 4, 5, 1)]  # of the last one is heard last
RANGE = {"from": min(DAYS), "to": max(DAYS)}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Days that are told soon."""
    return settings.model_copy(update={"day_grace": 0.0, "day_settle": 1.0})


async def cli(settings: Settings, *arguments: str) -> tuple[int, str]:
    """A command's exit code, and what it said."""
    process = run_cli(*arguments, environment=environment(settings), stderr=-1)
    _, said = await asyncio.to_thread(process.communicate, timeout=60)
    return process.returncode, " ".join(said.decode().split())


def sold(name: str, day: str, price: str = "2.50") -> dict[str, Any]:
    """A sale on a day, and of this hour, so that it is live, too."""
    lines = [{"product_id": f"mug-{name[-1]}", "category": "cups", "price": price, "quantity": 2}]
    return {**order(name, products=lines), "id": name, "time": f"{day}T12:00:00Z"}


def live_now(name: str, price: str) -> dict[str, Any]:
    lines = [{"product_id": "now", "category": "now", "price": price, "quantity": 1}]
    return {**order(name, products=lines), "id": name}


@dataclass
class Truth:
    """Everything that a shop's owner could ask for."""

    figures: list[Any]
    orders: list[Any]
    days: list[Any]
    said: dict[str, bytes]


async def told(service: Service, orders: list[str], positions: str) -> Truth:
    """All figures, once these positions are in them and the days at rest."""
    wait = {"min_position": positions, "wait": 20}
    figures = [
        (await ask(service, "/v1/sales/revenue", by=by, grain="hour", **wait))["rows"]
        for by in ("total", "country", "category", "product")
    ]
    best = (await ask(service, "/v1/sales/top-products", by="gross", **wait))["rows"]
    rows = [await ask(service, f"/v1/orders/{name}", **wait) for name in orders]
    for row in rows:
        del row["complete_to"]
    days = await at_rest(service, {DAYS[int(name[1])] for name in orders})
    return Truth([*figures, best], rows, days, await said_of_days(service.settings))


async def said_of_days(settings: Settings) -> dict[str, bytes]:
    """The log of days by id. One id that says two things is what readers would quarantine."""
    partition = TopicPartition(f"{settings.prefix}days", 0)
    kafka = settings.servers.kafka
    values: dict[str, bytes] = {}
    async for _, fetched in read_back(kafka, await log_ends(kafka, [partition])):
        for record in fetched:
            event_id = msgspec.json.decode(record.value)["id"]
            assert values.setdefault(event_id, record.value) == record.value
    return values


async def at_rest(service: Service, days: set[str]) -> list[Any]:
    """The closed days, once no change of one waits to be told, nor that of a month."""
    servers = service.settings.servers
    pool = await connect(servers.postgres, service.settings.schema_name, size=1)
    async with asyncio.timeout(90), pool:
        while True:
            rows: list[Any] = (await ask(service, "/v1/sales/days", **RANGE))["rows"]
            waiting = await pool.fetchval(
                "SELECT count(*) FROM outbox WHERE acknowledged_at IS NULL"
            ) + await pool.fetchval(
                "SELECT count(*) FROM day_changes WHERE day <= $1::text::date", max(DAYS)
            )
            waiting += sum(one.next_day >= following(one.month) for one in await candidates(pool))
            if {row["day"] for row in rows} == days and not waiting:
                return rows
            await asyncio.sleep(0.3)


async def snapshot(service: Service) -> list[Any]:
    """The live revenue as a new dashboard sees it."""
    async with watching(service, subscribe="revenue") as socket:
        figures = (await next_message(socket, "snapshot"))["figures"]
    return sorted((one["id"], one["value"]) for one in figures)


@asynccontextmanager
async def postgres(settings: Settings) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    async with await connect(settings.servers.postgres, settings.schema_name, size=1) as pool:
        yield pool


async def test_postgres_comes_back_older_than_kafka_and_every_figure_ends_exact(
    settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "shop.backup"
    before = [sold(f"a{number}", DAYS[number]) for number in range(4)]
    since = [
        *(sold(f"b{number}", DAYS[number], "7.01") for number in (0, 1, 4)),
        {
            "id": "refund",
            "type": "OrderRefunded",
            "time": f"{DAYS[4]}T13:00:00Z",
            "data": {"order_id": "a0", "refund_id": "r", "currency": "EUR", "total": "1.25"},
        },
        before[1],  # a client that was not sure
        live_now("n2", "30"),
    ]
    names = ["a0", "a1", "a2", "a3", "b0", "b1", "b4"]
    async with running(settings) as service:
        first = await send(service, *before, live_now("n1", "12"))
        await told(service, names[:4], first)
        code, said = await cli(settings, "backup", str(file))
        assert code == 0, said
        with pytest.raises(StillRunning):
            await restore(settings, file)
        second = await send(service, *since)
        truth = await told(service, names, second)
        live = await snapshot(service)
    assert any(row["revision"] for row in truth.days), "no day was corrected after the backup"

    code, said = await cli(settings, "restore", str(file), "--yes")
    assert code == 0, said
    async with postgres(settings) as pool:
        # As if the backup had been taken between a commit and Kafka's answer to the relay.
        await pool.execute(
            "UPDATE outbox SET acknowledged_at = NULL, topic_id = NULL, partition = NULL, "
            "record_offset = NULL WHERE id = (SELECT max(id) FROM outbox)"
        )
        held = LiveFigures(Redis.from_url(settings.servers.redis), settings.prefix, {})
        assert not await held._redis.exists(held.epoch_key), "Redis still holds later figures"
        await held._redis.aclose()

    async with running(settings) as service:
        again = await told(service, names, second)
        assert again.figures == truth.figures
        assert again.orders == truth.orders
        assert again.days == truth.days
        assert again.said == truth.said, "days that were told were told anew"
        assert await snapshot(service) == live
        third = await send(service, sold("c", DAYS[0], "0.05"), *since)
        rows = await ask(service, "/v1/sales/revenue", **RANGE, grain="total", min_position=third)
        assert Decimal(rows["rows"][0]["gross"]) == Decimal("62.16")  # 4 × 5 + 3 × 14.02 + 0.10
    async with postgres(settings) as pool:
        assert await pool.fetchval("SELECT count(*) FROM quarantine") == 0
