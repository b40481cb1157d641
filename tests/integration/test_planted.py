"""Bugs planted in a read model: the group stops and says on what, and goes on when told to; a
worker that is stuck ends by itself."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app.settings import Settings
from app.status import members
from app.watchdog import STUCK
from projections.postgres import connect, migrate
from projections.skips import standing
from streams.events import Event
from streams.log import Log, Position
from streams.topics import create_topics
from tests.e2e.service import end, environment, run_cli
from tests.sales import line, said

PARTITIONS = 2
Pool = asyncpg.Pool


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"partitions": PARTITIONS})


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    await migrate(settings.servers.postgres, settings.schema_name)
    await create_topics(settings.servers.kafka, PARTITIONS, settings.prefix)
    found = await connect(settings.servers.postgres, settings.schema_name)
    yield found
    found.terminate()


@pytest.fixture
async def log(pool: Pool, settings: Settings) -> AsyncIterator[Log]:
    found = Log(settings.servers.kafka, PARTITIONS, settings.prefix, deadline=20)
    await found.start()
    await found.connected()
    yield found
    await found.stop()


def variables(settings: Settings, **more: str) -> dict[str, str]:
    return {**environment(settings), "TILLSTREAM_PARTITIONS": str(PARTITIONS), **more}


@contextmanager
def worker(
    settings: Settings, kind: str, tmp_path: Path, **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker with a planted bug; what it says goes to `worker.log`."""
    root = Path(__file__).parents[2]
    with (tmp_path / "worker.log").open("ab") as said_:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.planted", kind],
            env={**variables(settings, **more), "PYTHONPATH": os.fspath(root)},
            cwd=root,
            stderr=said_,
            stdout=said_,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def sale(number: int, product: str = "mug") -> Event:
    event_id = f"{product}{number}"
    products = [line(product, "2.00")]
    return said(
        "OrderCompleted", f"o{number}", event_id=event_id, currency="EUR", products=products
    )


async def ended(process: subprocess.Popen[bytes]) -> int:
    return await asyncio.wait_for(asyncio.to_thread(process.wait), 60)


async def read_to(pool: Pool, position: Position) -> None:
    async with asyncio.timeout(60):
        while True:
            at = await pool.fetchval(
                "SELECT next_offset FROM progress WHERE topic = $1 AND partition = $2",
                *position[:2],
            )
            if at is not None and at > position.offset:
                return
            await asyncio.sleep(0.05)


def alerts(tmp_path: Path) -> list[dict[str, Any]]:
    """What we say ourselves that somebody must look at."""
    found = (tmp_path / "worker.log").read_text().splitlines()
    said_ = [json.loads(line) for line in found if line.startswith("{")]
    return [one for one in said_ if one["level"] == "critical" and "logger" not in one]


async def command(settings: Settings, *arguments: str) -> tuple[int, str]:
    process = run_cli(*arguments, environment=variables(settings), stderr=subprocess.PIPE)
    _, told = await asyncio.to_thread(process.communicate)
    return process.returncode, told.decode()


async def test_a_read_model_that_fails_stops_its_group_by_name_and_the_event_is_skipped_by_command(
    settings: Settings, pool: Pool, log: Log, tmp_path: Path
) -> None:
    sent = [sale(n) for n in range(60)]
    sent.insert(37, sale(99, "poison"))
    positions = await log.append(sent)
    poison = positions[37]
    with worker(settings, "fails", tmp_path) as process:
        assert await ended(process) != 0
    (alert,) = alerts(tmp_path)
    assert alert["position"] == str(poison)
    assert (alert["event_id"], alert["event_type"]) == ("poison99", "OrderCompleted")
    assert (alert["model"], alert["group"]) == ("planted", "sales")
    assert f"tillstream quarantine skip {poison} --group sales" in alert["next"]
    (failure,) = await standing(pool)
    assert (failure.position, failure.model, failure.times) == (poison, "planted", 1)
    # Other partitions may have been read before it; its own is where it was.
    at = await pool.fetchval(
        "SELECT next_offset FROM progress WHERE topic = $1 AND partition = $2", *poison[:2]
    )
    assert (at or 0) <= poison.offset

    elsewhere = str(positions[0])
    asked = ("quarantine", "skip", elsewhere, "--group", "sales", "--reason", "no")
    assert (await command(settings, *asked))[0] == 1
    asked = ("quarantine", "skip", str(poison), "--group", "sales", "--reason", "bug 12")
    code, told = await command(settings, *asked)
    assert code == 0, told
    with worker(settings, "fails", tmp_path) as process:
        for position in positions:
            await read_to(pool, position)
        assert end(process) == 0
    assert await standing(pool) == []
    row = await pool.fetchrow("SELECT * FROM quarantine")
    assert row is not None
    assert (row["event_id"], row["shop"], row["reason"]) == ("poison99", "main", "skipped: bug 12")
    assert b"poison" in row["value"]
    audit = await pool.fetchrow("SELECT * FROM skips")
    assert audit is not None
    assert audit["asked_by"]
    counted = await pool.fetchrow(
        "SELECT sum(applied)::int AS applied, sum(quarantined)::int AS quarantined, "
        "sum(next_offset)::int AS read FROM progress"
    )
    assert dict(counted or {}) == {"applied": 60, "quarantined": 1, "read": 61}
    assert await pool.fetchval("SELECT count(*) FROM orders") == 60

    # Another group hears of it and has not passed it by: there it would count twice.
    code, told = await command(settings, "quarantine", "resubmit", str(poison))
    assert code == 1
    assert "learners" in told


@pytest.mark.parametrize("kind", ["hangs", "waits"])
async def test_a_worker_that_is_stuck_ends_itself(
    settings: Settings, pool: Pool, log: Log, tmp_path: Path, kind: str
) -> None:
    """Stuck in a loop without an end, and waiting for what never comes."""
    (poison,) = await log.append([sale(2, "poison")])
    with worker(settings, kind, tmp_path, TILLSTREAM_STUCK_SECONDS="3") as process:
        assert await ended(process) == STUCK
    (alert,) = alerts(tmp_path)
    assert alert["partitions"] == [f"{poison.topic}:{poison.partition}"]
    assert "Thread 0x" in (tmp_path / "worker.log").read_text()


async def test_a_worker_that_is_told_to_stop_ends_its_batch_and_leaves_its_group(
    settings: Settings, pool: Pool, log: Log, tmp_path: Path
) -> None:
    with worker(settings, "fails", tmp_path) as process:
        (first,) = await log.append([sale(1)])
        await read_to(pool, first)
        many = await log.append([sale(n) for n in range(1_000, 5_000)])
        assert await asyncio.to_thread(end, process) == 0  # within twelve seconds
        # It said good-bye: Kafka did not have to wait for its session to end.
        assert await members(settings, "sales") == 0
    row = await pool.fetchrow(
        "SELECT sum(applied + repeated + quarantined)::int AS read, "
        "sum(next_offset)::int AS next FROM progress"
    )
    assert row is not None
    assert row["read"] == row["next"] <= len(many) + 1
    assert await pool.fetchval("SELECT count(*) FROM orders") == row["read"]
