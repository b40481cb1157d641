"""Reports of the past, asked one by one: what a job has to make first, and what has no past."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest
from msgspec import structs
from msgspec.structs import replace

from app import subscriptions
from app.api import as_of
from app.api.as_of import PastFigures, Underway, parse
from app.api.problems import Problem
from app.jobs import queue
from app.jobs.job import Job
from app.jobs.process import work
from app.jobs.runner import Runner
from app.reports.report import Asked, Column, Moment, Report
from app.settings import Settings
from app.subscriptions import SUBSCRIPTIONS, Subscription
from projections.read_model import (
    Contents,
    Figure,
    Folded,
    ReadModel,
    Setting,
    Transaction,
)
from streams.codec import Fact
from streams.log import Log
from tests.integration.test_subscribe import sales

Pool = asyncpg.Pool
Rows = Sequence[Mapping[str, Any]]

FUTURE = datetime(2026, 4, 1, tzinfo=UTC)


class Told(Asked):
    joined: bool = False


def report(query: str, joined: str = "") -> Report[Told]:
    """One whose rows are those of a query, or of another where that is asked for."""

    async def rows(transaction: Transaction, moment: Moment, asked: Told) -> Rows:
        found = await transaction.fetch(joined if asked.joined else query)
        return [{**row, "at": moment.now} for row in found]

    return Report(
        name="told",
        says="what is told",
        path="/v1/reports/told",
        group="sales",
        asked=Told,
        columns=lambda _: [Column("told")],
        key=lambda _: ["told"],
        rows=rows,
    )


async def seen(past: PastFigures, one: Report[Told], **asked: Any) -> tuple[Rows, Any]:
    told = Told(**asked)
    async with past.snapshot(one, told) as (transaction, moment, complete_to):
        return await one.rows(transaction, moment, told), complete_to


async def job_of(past: PastFigures, one: Report[Told], **asked: Any) -> Job:
    with pytest.raises(Underway) as raised:
        await seen(past, one, **asked)
    return raised.value.job


async def worked(settings: Settings) -> None:
    """Until no job waits."""
    async with asyncio.timeout(60):
        while not await work(settings):
            await asyncio.sleep(0.05)


@pytest.fixture
def past(settings: Settings, pool: Pool, log: Log) -> PastFigures:
    return PastFigures(settings, pool, Runner(settings, pool))


async def test_what_is_not_kept_is_made_first_and_then_read(
    settings: Settings, pool: Pool, log: Log, past: PastFigures
) -> None:
    noon = datetime(2026, 3, 3, 12, tzinfo=UTC)
    events = [replace(event, received_at=noon) for event in sales(30)]
    await log.append(events[:20])
    await log.append(
        [replace(event, received_at=noon + timedelta(hours=1)) for event in events[20:]]
    )
    orders = report("SELECT count(*) AS told FROM orders")
    asked = {"as_of": "2026-03-03T12:30:00Z"}
    job = await job_of(past, orders, **asked)
    assert (await job_of(past, orders, **asked)).id == job.id
    assert (await job_of(past, orders, shop="other", **asked)).id != job.id
    assert sum(job.asked["groups"]["sales"]["next_offsets"]["orders"]) == 20
    await worked(settings)
    rows, complete_to = await seen(past, orders, **asked)
    told = len({event.subject for event in events[:20]})
    assert rows == [{"told": told, "at": noon + timedelta(minutes=30)}]
    assert complete_to.time == noon + timedelta(minutes=30) - timedelta(seconds=4)
    found = await queue.find(pool, job.id, "main")
    assert found is not None
    assert (found.state, found.done, found.total) == ("done", 20, 20)
    ends = complete_to.next_offsets["orders"]
    at = ",".join(f"orders:{n}:{end - 1}" for n, end in enumerate(ends) if end)
    rows, complete_to = await seen(past, orders, as_of=at)  # the same offsets
    assert rows == [{"told": told, "at": noon}]  # when the last of them was received
    assert complete_to.time is None


async def test_what_the_log_does_not_tell_has_no_past(
    settings: Settings, log: Log, past: PastFigures
) -> None:
    checks = report("SELECT count(*) AS told FROM verify_results")
    await job_of(past, checks, as_of=FUTURE.isoformat())
    await worked(settings)
    with pytest.raises(Problem) as raised:
        await seen(past, checks, as_of=FUTURE.isoformat())
    assert (raised.value.status, raised.value.code) == (422, "no_as_of")


async def test_what_is_joined_from_another_group_is_made_too(
    settings: Settings, pool: Pool, log: Log, past: PastFigures, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fold(facts: Sequence[Fact], _known: Mapping[Any, Any], _setting: Setting) -> Folded:
        return Folded([fact.event.id for fact in facts])

    async def upsert(
        transaction: Transaction, rows: Sequence[Any], _setting: Setting
    ) -> list[Figure]:
        await transaction.execute("INSERT INTO others SELECT unnest($1::text[])", rows)
        return []

    contents = Contents(("id",), "SELECT id FROM others")
    model = ReadModel("others", 1, fold, upsert, contents=contents)
    await pool.execute("CREATE TABLE others (id text)")
    known = (
        *SUBSCRIPTIONS,
        Subscription("others", model, topic="orders"),
        Subscription("others", structs.replace(model, name="beside"), topic="orders"),
    )
    monkeypatch.setattr(subscriptions, "SUBSCRIPTIONS", known)
    monkeypatch.setitem(as_of._OWNERS, "others", "others")
    await log.append(sales(30))
    orders = "SELECT count(*) AS told FROM orders"
    both = report(orders, f"SELECT count(*) + ({orders}) AS told FROM others")
    asked = {"as_of": FUTURE.isoformat()}
    await job_of(past, both, **asked, joined=True)
    await worked(settings)
    second = await job_of(past, both, **asked, joined=True)
    assert set(second.asked["groups"]) == {"sales", "others"}
    assert second.asked["groups"]["others"]["tables"] == ["others"]  # and nothing beside
    await worked(settings)
    told = len({event.subject for event in sales(30)})
    assert (await seen(past, both, **asked, joined=True))[0][0]["told"] == 30 + told
    assert (await seen(past, both, **asked))[0][0]["told"] == told  # this needs the one alone


async def test_what_has_failed_is_not_tried_again_at_once(
    settings: Settings, pool: Pool, log: Log, past: PastFigures, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = report("SELECT count(*) AS told FROM orders")
    asked = {"as_of": FUTURE.isoformat()}
    job = await job_of(past, orders, **asked)
    wrong = {
        name: {**told, "topics": {"orders": str(UUID(int=7))}}
        for name, told in job.asked["groups"].items()
    }
    await pool.execute(
        "UPDATE jobs SET asked = jsonb_set(asked, '{groups}', $1::jsonb)",
        orjson.dumps(wrong).decode(),
    )
    await worked(settings)
    with pytest.raises(Problem, match="was created anew") as raised:
        await seen(past, orders, **asked)
    assert (raised.value.status, raised.value.code) == (503, "as_of_failed")
    assert 1 <= int(raised.value.headers["Retry-After"]) <= 60
    await pool.execute("UPDATE jobs SET changed = changed - interval '2 minutes'")
    assert (await job_of(past, orders, **asked)).id != job.id


async def test_while_kafka_is_away_what_is_known_is_answered(
    settings: Settings, pool: Pool, log: Log, past: PastFigures
) -> None:
    orders = report("SELECT count(*) AS told FROM orders")
    asked = {"as_of": "2026-03-03T12:30:00Z"}
    await job_of(past, orders, **asked)
    await worked(settings)
    servers = replace_kafka(settings)
    away = PastFigures(servers, pool, Runner(servers, pool))
    with pytest.raises(Problem) as raised:
        await seen(away, orders, **asked)
    assert (raised.value.status, raised.value.code) == (503, "log_unavailable")
    past._settings = servers
    assert (await seen(past, orders, **asked))[0][0]["told"] == 0


def replace_kafka(settings: Settings) -> Settings:
    """Nobody answers there."""
    found = Settings.model_validate(settings.model_dump() | {"kafka": "127.0.0.1:1"})
    assert found.servers.kafka == "127.0.0.1:1"
    return found


@pytest.mark.parametrize(
    "told",
    [
        "2026-03-03T12:30:00Z",
        "2026-03-03T13:30:00+01:00",
        "2026-03-03T13:30:00 01:00",
        " 2026-03-03T12:30:00.000Z",
    ],
)
def test_a_moment_is_one_instant_however_it_is_written(told: str) -> None:
    assert parse(told, FUTURE) == datetime(2026, 3, 3, 12, 30, tzinfo=UTC)
