"""Figures of the past: what is made equals what was known, and is kept for whoever asks next."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from app.settings import Settings
from projections import as_of
from projections.as_of import Gone, Past, described, drop, make, prefix_of, reading
from projections.contents import Parts, Side, parts
from projections.postgres import connect_alone
from projections.refold import Offsets, create_tables, offsets_of
from streams.batch import LogChanged, Partition, Transient
from streams.events import Event
from streams.exclusive import taken
from streams.log import Log
from streams.moments import LogAt, log_at
from streams.topic_ids import topic_ids
from tests.integration.test_rebuild import group_of, source_of
from tests.integration.test_subscribe import append_raw, read_all, sales
from tests.sales import booked, recount

Pool = asyncpg.Pool

BEGINNING = datetime(2026, 3, 3, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


async def looked_up(settings: Settings, at: datetime | None = None) -> LogAt:
    return await log_at(settings.servers.kafka, settings.prefix, ["orders"], at)


async def past(settings: Settings, offsets: Offsets) -> Past:
    ids = await topic_ids(settings.servers.kafka, [settings.prefix + "orders"])
    return Past(group_of(settings), offsets, {"orders": ids[settings.prefix + "orders"]})


async def made(settings: Settings, offsets: Offsets, kept: int = 4, **options: Any) -> str:
    async with asyncio.timeout(60):
        wanted = await past(settings, offsets)
        return await make(wanted, source_of(settings, **options), kept)


def received(events: Sequence[Event], at: datetime) -> list[Event]:
    return [replace(event, received_at=at) for event in events]


async def said_of(settings: Settings, schema: str) -> Mapping[str, Parts]:
    """What every table of a schema says."""
    connection = await connect_alone(settings.servers.postgres, schema)
    try:
        async with connection.transaction():
            return {
                step.model.name: await parts(Side(connection, schema), step.model.contents)
                for step in group_of(settings).steps
                if step.model.contents is not None
            }
    finally:
        await connection.close()


async def kept(pool: Pool, settings: Settings) -> list[str]:
    rows = await pool.fetch(
        "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, $1) ORDER BY nspname",
        prefix_of(settings.schema_name),
    )
    return [row["nspname"] for row in rows]


def split(total: int) -> Offsets:
    return {Partition("orders", 0): total, Partition("orders", 1): total}


async def test_each_moment_is_as_it_was_known_then(
    settings: Settings, pool: Pool, log: Log
) -> None:
    events = sales(240)
    known: list[tuple[Offsets, Mapping[str, Parts], int]] = []
    for n in range(4):
        await log.append(received(events[n * 60 : n * 60 + 60], BEGINNING + n * MINUTE))
        if n == 2:
            await log.append(received(events[:20], BEGINNING + n * MINUTE))  # said twice
            await append_raw(settings, [b"no event"])
        await read_all(settings, pool)
        connection = await connect_alone(settings.servers.postgres, settings.schema_name)
        offsets = await offsets_of(connection, "sales", settings.schema_name)
        await connection.close()
        known.append((offsets, await said_of(settings, settings.schema_name), n * 60 + 60))
    live = await said_of(settings, settings.schema_name)
    for n, (offsets, said, count) in enumerate(known):
        schema = await made(settings, offsets)
        assert await said_of(settings, schema) == said
        async with reading(pool, [schema]) as (transaction, complete):
            assert await booked(transaction) == recount(events[:count])  # type: ignore[arg-type]
            told = {p: complete.next_offsets[p.topic][p.number] for p in offsets}
            assert told == offsets
            if n < 2:  # then comes one who tells another time
                assert complete.latest == BEGINNING + n * MINUTE
                found = await looked_up(settings, BEGINNING + n * MINUTE + MINUTE / 2)
                assert found.offsets == offsets
    assert await said_of(settings, settings.schema_name) == live
    empty = await made(settings, split(0))
    assert not any((await said_of(settings, empty)).values())


async def test_a_moment_is_before_the_first_record_that_was_received_later(
    settings: Settings, pool: Pool, log: Log
) -> None:
    one = [event for event in sales(400) if event.subject == sales(1)[0].subject][:4]
    seconds = (0, 3, 1, 5)  # the third was on its way for longer than the second
    for event, after in zip(one, seconds, strict=True):
        await log.append(received([event], BEGINNING + timedelta(seconds=after, microseconds=900)))

    async def count(after: float) -> int:
        at = BEGINNING + timedelta(seconds=after)
        return sum((await looked_up(settings, at)).offsets.values())

    assert await count(-1) == 0
    assert [await count(n) for n in (0, 1, 2, 3, 4, 5, 600)] == [1, 1, 1, 3, 3, 4, 4]
    assert sum((await looked_up(settings)).offsets.values()) == 4
    early = await looked_up(settings, datetime(1965, 1, 1, tzinfo=UTC))
    assert set(early.offsets.values()) == {0}


async def test_an_interrupted_one_goes_on_and_is_not_read_before_it_is_complete(
    settings: Settings, pool: Pool, log: Log
) -> None:
    events = sales(400)
    await log.append(events)
    wanted = await past(settings, (await looked_up(settings)).offsets)
    source = source_of(settings, commit_records=20)
    resumed: list[int] = []

    class Interrupted(Exception):
        pass

    def tell(done: int, of: int) -> None:
        assert of == 400
        resumed.append(done)
        if len(resumed) > 5:
            raise Interrupted

    with pytest.raises(Interrupted):
        await make(wanted, source, 4, tell)
    (schema,) = await kept(pool, settings)
    with pytest.raises(Gone):
        async with reading(pool, [schema]):
            raise AssertionError
    begun = resumed[-1]
    resumed[:] = []

    def onward(done: int, _of: int) -> None:
        resumed.append(done)

    async with asyncio.timeout(60):
        assert await make(wanted, source, 4, onward) == schema
    assert 0 < begun <= resumed[0] + 20
    assert resumed[0] > 0
    async with reading(pool, [schema]) as (transaction, _):
        assert await booked(transaction) == recount(events)  # type: ignore[arg-type]
    await as_of.give_up(wanted, source)  # of what is complete nothing
    assert await kept(pool, settings) == [schema]


async def test_who_asks_at_the_same_time_folds_once(
    settings: Settings, pool: Pool, log: Log
) -> None:
    await log.append(sales(100))
    offsets = (await looked_up(settings)).offsets
    told: list[int] = []
    wanted = await past(settings, offsets)
    async with asyncio.timeout(60):
        found = await asyncio.gather(
            *(
                make(wanted, source_of(settings), 4, lambda done, _: told.append(done))
                for _ in range(4)
            )
        )
    assert len(set(found)) == 1
    assert told == sorted(told)  # nobody has begun anew


async def test_the_one_asked_for_longest_ago_goes_and_never_one_that_is_read(
    settings: Settings, pool: Pool, log: Log
) -> None:
    await log.append(sales(40))
    first = await made(settings, split(1), 3)
    second = await made(settings, split(2), 3)
    third = await made(settings, split(3), 3)
    await pool.execute("UPDATE as_of_used SET used_at = used_at - interval '1 minute'")
    async with reading(pool, [first]):
        pass  # asked for again
    fourth = await made(settings, split(4), 3)
    assert set(await kept(pool, settings)) == {first, third, fourth}
    assert second not in await kept(pool, settings)
    async with AsyncExitStack() as stack:
        transaction, _ = await stack.enter_async_context(reading(pool, [third]))
        fifth = await made(settings, split(5), 2)
        assert set(await kept(pool, settings)) == {third, fifth}
        assert await transaction.fetchval("SELECT count(*) FROM orders") >= 0
    last = await made(settings, split(6), 1)
    assert await kept(pool, settings) == [last]
    assert await made(settings, split(6), 1) == last
    rows = await pool.fetch("SELECT schema_name FROM as_of_used")
    assert [row["schema_name"] for row in rows] == [last]


async def test_one_that_is_being_filled_is_not_dropped(
    settings: Settings, pool: Pool, log: Log
) -> None:
    await log.append(sales(40))
    wanted = await past(settings, split(5))
    filling = await connect_alone(settings.servers.postgres, settings.schema_name)
    other = await connect_alone(settings.servers.postgres, settings.schema_name)
    try:
        name, _ = await described(filling, wanted, source_of(settings))
        schema = await made(settings, split(5))
        assert schema == name
        async with asyncio.timeout(30):
            while not await taken(filling, schema):
                await asyncio.sleep(0.05)
        assert not await drop(other, schema)
    finally:
        await filling.close()
        await other.close()


async def test_what_was_made_by_other_code_is_not_found_again_and_makes_room(
    settings: Settings, pool: Pool, log: Log
) -> None:
    await log.append(sales(40))
    before = await made(settings, split(3))
    await pool.execute("INSERT INTO migrations VALUES ('9999_later.sql', 'x')")
    after = await made(settings, split(3))
    assert after != before
    assert await kept(pool, settings) == [after]
    connection = await connect_alone(settings.servers.postgres, settings.schema_name)
    await as_of.drop_all(connection, settings.schema_name)
    await connection.close()
    assert await kept(pool, settings) == []


async def test_a_log_that_does_not_reach_there_is_told(
    settings: Settings, pool: Pool, log: Log
) -> None:
    await log.append(sales(40))
    with pytest.raises(LogChanged, match="does not reach 900"):
        await made(settings, split(900))
    wanted = await past(settings, split(900))
    await as_of.give_up(wanted, source_of(settings))
    assert await kept(pool, settings) == []
    another = wanted._replace(ids={"orders": type(wanted.ids["orders"])(int=7)})
    with pytest.raises(LogChanged, match="anew"):
        await make(another, source_of(settings), 4)


async def test_what_does_not_move_waits_for_better_times(
    settings: Settings, pool: Pool, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.append(sales(40))
    monkeypatch.setattr(as_of, "_STUCK_SECONDS", 0.5)
    wanted = await past(settings, split(9))
    holding = await connect_alone(settings.servers.postgres, settings.schema_name)

    async def held(*given: Any) -> bool:
        new = await created(*given)
        await holding.execute("BEGIN")  # as if nothing could be written any more
        await holding.execute(f'LOCK TABLE "{given[2]}".orders IN ACCESS EXCLUSIVE MODE')
        return new

    created = create_tables
    monkeypatch.setattr(as_of, "create_tables", held)
    try:
        async with asyncio.timeout(60):
            with pytest.raises(Transient, match="nothing could be folded"):
                await make(wanted, source_of(settings), 4)
    finally:
        await holding.close()
    monkeypatch.undo()
    schema = await made(settings, split(9))
    async with reading(pool, [schema]) as (_, complete):
        assert complete.next_offsets == {"orders": [9, 9]}
