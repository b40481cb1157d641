"""Folding anew in several processes: as one does it, also where one of them dies or fails."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.settings import Settings
from app.subscriptions import steps_of
from projections import orders
from projections import shares as sharing
from projections.orders import Key, Order
from projections.postgres import connect_alone
from projections.read_model import Folded, FoldFailed, Setting, Step
from projections.rebuild import Rebuilt, rebuild
from projections.refold import create_tables
from projections.shares import shares
from streams.batch import Partition
from streams.codec import Fact
from streams.log import Log
from tests.integration.test_rebuild import group_of, source_of
from tests.integration.test_subscribe import read_all, sales
from tests.sales import booked, recount

Pool = asyncpg.Pool


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.subprocess.Process]:
    """Those that are started; for any handful of records it is one more."""
    monkeypatch.setattr(sharing, "_WORTH_A_PROCESS", 20)
    found = []
    start = asyncio.create_subprocess_exec

    async def started(*args: Any, **options: Any) -> asyncio.subprocess.Process:
        found.append(await start(*args, **options))
        return found[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", started)
    return found


async def rebuilt(settings: Settings, steps: Sequence[Step] = (), **options: Any) -> Rebuilt:
    source = replace(source_of(settings, commit_records=20), processes=2)
    async with asyncio.timeout(60):
        return await rebuild(group_of(settings, steps), source, **options)


async def test_two_processes_make_the_tables_that_one_makes(
    settings: Settings,
    pool: Pool,
    log: Log,
    processes: list[asyncio.subprocess.Process],
) -> None:
    events = sales(400)
    await log.append(events)
    await log.append(events[100:200])  # said twice
    await read_all(settings, pool)
    before = await pool.fetch("SELECT * FROM progress ORDER BY partition")
    done = await rebuilt(settings)
    assert done.folded == 500
    assert await booked(pool) == recount(events)
    assert await pool.fetch("SELECT * FROM progress ORDER BY partition") == before
    assert not any(found.differing for found in done.compared.values())
    assert [process.returncode for process in processes] == [-signal.SIGKILL]


async def test_a_process_that_is_killed_ends_the_rebuild_and_the_next_one_goes_on(
    settings: Settings,
    pool: Pool,
    log: Log,
    processes: list[asyncio.subprocess.Process],
) -> None:
    events = sales(400)
    await log.append(events)
    await read_all(settings, pool)

    killed: list[int] = []

    def kill(done: int, _of: int) -> None:
        if done >= 100 and not killed:
            killed.append(processes[0].pid)
            os.kill(processes[0].pid, signal.SIGKILL)

    with pytest.raises(ChildProcessError):
        await rebuilt(settings, tell=kill)
    assert [process.returncode for process in processes] == [-signal.SIGKILL]
    done = await rebuilt(settings)
    assert done.resumed_at >= 100
    assert await booked(pool) == recount(events)
    assert not any(found.differing for found in done.compared.values())


async def test_who_is_alone_ends(
    settings: Settings,
    pool: Pool,
    log: Log,
    processes: list[asyncio.subprocess.Process],
) -> None:
    await log.append(sales(400))
    await read_all(settings, pool)

    class Interrupted(Exception):
        pass

    def tell(done: int, _of: int) -> None:
        if done >= 100:
            raise Interrupted

    with pytest.raises(Interrupted):
        await rebuilt(settings, tell=tell)
    assert [process.returncode for process in processes] == [-signal.SIGKILL]


async def test_who_is_told_nothing_any_more_ends_by_itself(
    settings: Settings, pool: Pool, log: Log
) -> None:
    """As after a kill -9 of who has started it."""
    await log.append(sales(40))
    await read_all(settings, pool)
    group, schema = group_of(settings), f"{settings.schema_name}_share"
    connection = await connect_alone(group.dsn, group.schema)
    await create_tables(connection, group, schema, "a test")
    await connection.close()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "projections.shares"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        told = (group, source_of(settings), schema, [Partition("orders", 0)])
        process.stdin.write(sharing._said(told))
        process.stdin.write(sharing._said((1, {Partition("orders", 0): 1_000_000})))
        async with asyncio.timeout(60):
            at, done, failed = await sharing._hear(process.stdout)
            assert (at[Partition("orders", 0)] > 0, done, failed) == (True, 0, None)
            process.stdin.close()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def failing(facts: Sequence[Fact], known: Mapping[Key, Order], setting: Setting) -> Folded:
    """The orders' fold, with a bug in it."""
    for fact in facts:
        if fact.offset == 7:
            raise FoldFailed("orders", fact)
    return orders.fold(facts, known, setting)


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("number", range(2))
async def test_what_fails_in_a_process_is_told_as_what_it_is(
    settings: Settings, pool: Pool, log: Log, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.append(sales(200))
    await read_all(settings, pool)
    both = shares({Partition("orders", n): 100 for n in range(2)}, 2)
    monkeypatch.setattr(sharing, "shares", lambda _left, _processes: both[:: 1 - 2 * number])
    steps = [
        step._replace(model=replace(step.model, fold=failing))
        if step.model.name == "orders"
        else step
        for step in steps_of("sales")
    ]
    with pytest.raises(FoldFailed, match=r"orders failed on \w+ \w+ at orders:\d:7"):
        await rebuilt(settings, steps)


@given(
    left=st.dictionaries(st.integers(0, 30), st.integers(0, 100_000), min_size=1),
    processes=st.integers(1, 8),
)
def test_every_partition_is_in_one_share_and_the_shares_are_even(
    left: dict[int, int], processes: int
) -> None:
    partitions = {Partition("orders", number): count for number, count in left.items()}
    found = shares(partitions, processes)
    assert sorted(p for share in found for p in share) == sorted(partitions)
    assert 1 <= len(found) <= processes
    weights = [sum(partitions[p] for p in share) for share in found]
    assert max(weights) - min(weights) <= max(left.values())
    if sum(left.values()) < 2 * sharing._WORTH_A_PROCESS:
        assert len(found) == 1
