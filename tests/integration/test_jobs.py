"""Jobs: asked for once, done by one process at a time, put off, cancelled, taken up again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from app.jobs import queue
from app.jobs.job import Job, JobFailed, Kind, NotNow, Progress
from app.jobs.process import connected, do, work
from app.jobs.queue import TooMany
from app.settings import Settings
from projections.postgres import connect, migrate

Run = Callable[[Settings, Job, Progress], Awaitable[Mapping[str, Any]]]
Pool = asyncpg.Pool


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator["Pool[asyncpg.Record]"]:
    await migrate(settings.servers.postgres, settings.schema_name)
    async with await connect(settings.servers.postgres, settings.schema_name) as found:
        yield found


def kind(run: Run, **more: Any) -> Kind:
    return Kind("test", run, **more)


async def counted(_settings: Settings, job: Job, progress: Progress) -> Mapping[str, Any]:
    progress.tell(job.asked["n"], job.asked["n"])
    return {"counted": job.asked["n"]}


async def never(_settings: Settings, _job: Job, _progress: Progress) -> Mapping[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


async def row(pool: "Pool[asyncpg.Record]", job: Job) -> Job:
    found = await queue.find(pool, job.id, job.shop)
    assert found is not None
    return found


async def until(pool: "Pool[asyncpg.Record]", job: Job, state: str) -> Job:
    async with asyncio.timeout(60):
        while (found := await row(pool, job)).state != state:
            await asyncio.sleep(0.05)
    return found


async def test_a_job_is_done_and_says_what_came_of_it(
    settings: Settings, pool: "Pool[asyncpg.Record]"
) -> None:
    counting = kind(counted)
    first, new = await queue.ask(pool, counting, "main", {"n": 3}, key="three")
    same, again = await queue.ask(pool, counting, "main", {"n": 3}, key="three")
    other, _ = await queue.ask(pool, counting, "another", {"n": 3}, key="three")
    assert (new, again, same.id) == (True, False, first.id)
    assert other.id != first.id
    assert await queue.waiting(pool, ["test"]) == 2
    assert await work(settings, {"test": counting}) == 2
    done = await row(pool, first)
    assert (done.state, done.result, done.done, done.total) == ("done", {"counted": 3}, 3, 3)
    assert await queue.waiting(pool, ["test"]) == 0
    _, afresh = await queue.ask(pool, counting, "main", {"n": 3}, key="three")
    assert afresh


async def test_only_so_many_are_taken_in_and_a_kind_nobody_knows_waits(
    settings: Settings, pool: "Pool[asyncpg.Record]"
) -> None:
    counting = kind(counted)
    for n in range(2):
        await queue.ask(pool, counting, "main", {"n": n}, most=2)
    with pytest.raises(TooMany):
        await queue.ask(pool, counting, "main", {"n": 2}, most=2)
    await queue.ask(pool, counting, "another", {"n": 2}, most=2)
    assert await work(settings, {"other": counting}) == 0
    assert await work(settings, {"test": counting}) == 3


async def test_what_shops_share_is_not_asked_for_more_often_by_naming_more_shops(
    pool: "Pool[asyncpg.Record]",
) -> None:
    sharing = kind(counted, shops_share=True)
    for n in range(2):
        await queue.ask(pool, sharing, f"shop-{n}", {"n": n}, most=2)
    with pytest.raises(TooMany):
        await queue.ask(pool, sharing, "shop-2", {"n": 2}, most=2)
    await queue.ask(pool, Kind("other", counted), "shop-2", {"n": 2}, most=2)


async def test_twenty_who_ask_at_once_get_one_job(
    settings: Settings, pool: "Pool[asyncpg.Record]"
) -> None:
    asked = [queue.ask(pool, kind(counted), "main", {"n": 1}, key="one") for _ in range(20)]
    found = await asyncio.gather(*asked)
    assert len({job.id for job, _ in found}) == 1
    assert [new for _, new in found].count(True) == 1


async def test_what_cannot_be_done_says_why_and_what_is_not_yet_is_put_off(
    settings: Settings, pool: "Pool[asyncpg.Record]"
) -> None:
    given_up: list[UUID] = []

    async def run(_settings: Settings, job: Job, _progress: Progress) -> Mapping[str, Any]:
        raise {"fails": JobFailed, "waits": NotNow, "breaks": KeyError}[job.asked["it"]]("a word")

    async def give_up(_settings: Settings, job: Job) -> None:
        given_up.append(job.id)

    failing = kind(run, give_up=give_up)
    fails, waits, breaks = [
        (await queue.ask(pool, failing, "main", {"it": it}))[0]
        for it in ("fails", "waits", "breaks")
    ]
    assert await work(settings, {"test": failing}) == 3
    failed = await row(pool, fails)
    assert (failed.state, failed.error) == ("failed", "a word")
    put_off = await row(pool, waits)
    assert (put_off.state, put_off.error, put_off.attempts) == ("waiting", "a word", 0)
    assert "our fault" in str((await row(pool, breaks)).error)
    assert given_up == [fails.id, breaks.id]
    assert await work(settings, {"test": failing}) == 0  # not yet


async def test_a_job_is_one_processs_and_the_next_ones_when_that_is_gone(
    settings: Settings, pool: "Pool[asyncpg.Record]"
) -> None:
    hanging, counting = kind(never), kind(counted)
    job, _ = await queue.ask(pool, hanging, "main", {"n": 7})
    gone = await connected(settings)
    claimed = await queue.claim(gone, ["test"])
    assert claimed is not None
    doing = asyncio.create_task(do(gone, settings, hanging, claimed))
    await until(pool, job, "running")
    assert await work(settings, {"test": counting}) == 0
    gone.terminate()  # as if it were killed
    with suppress(asyncpg.InterfaceError, asyncpg.PostgresError, OSError):
        await asyncio.wait_for(doing, 30)
    async with asyncio.timeout(30):
        while not await queue.waiting(pool, ["test"]):
            await asyncio.sleep(0.05)
    assert await work(settings, {"test": counting}) == 1
    assert (await row(pool, job)).state == "done"


async def test_who_ends_process_after_process_is_given_up(
    settings: Settings, pool: "Pool[asyncpg.Record]"
) -> None:
    job, _ = await queue.ask(pool, kind(counted), "main", {"n": 1})
    for _ in range(queue.MOST_ATTEMPTS):
        killed = await connected(settings)
        async with asyncio.timeout(30):
            while not await queue.claim(killed, ["test"]):
                await asyncio.sleep(0.05)
        killed.terminate()
    async with asyncio.timeout(30):
        while not await work(settings, {"test": kind(counted)}):
            await asyncio.sleep(0.05)
    found = await row(pool, job)
    assert found.state == "failed"
    assert "5 processes" in str(found.error)


async def test_a_cancelled_job_stops(settings: Settings, pool: "Pool[asyncpg.Record]") -> None:
    stopped = asyncio.Event()

    async def run(*_: object) -> Mapping[str, Any]:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError

    job, _ = await queue.ask(pool, kind(run), "main", {})
    working = asyncio.create_task(work(settings, {"test": kind(run)}))
    await until(pool, job, "running")
    cancelled = await queue.cancel(pool, job.id)
    assert cancelled is not None
    assert await asyncio.wait_for(working, 30) == 1
    assert stopped.is_set()
    assert (await row(pool, job)).state == "cancelled"
    assert await queue.cancel(pool, job.id) is None


async def test_only_so_many_processes_work_at_once(
    settings: Settings, pool: "Pool[asyncpg.Record]"
) -> None:
    one = settings.model_copy(update={"jobs": 1})
    job, _ = await queue.ask(pool, kind(never), "main", {})
    working = asyncio.create_task(work(one, {"test": kind(never)}))
    await until(pool, job, "running")
    other, _ = await queue.ask(pool, kind(counted), "main", {"n": 1})
    assert await work(one, {"test": kind(counted)}) == 0
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    put_off = await row(pool, job)
    assert (put_off.state, put_off.error) == ("waiting", None)
    assert (await row(pool, other)).state == "waiting"
