"""The outbox: what is committed reaches the log, once in effect, whoever dies on the way."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any

import asyncpg
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from app.settings import Settings
from projections.postgres import connect, connect_alone, migrate
from streams import codec
from streams.batch import Partition
from streams.dedupe import Window
from streams.events import Event
from streams.log import Log
from streams.outbox import LARGEST_EVENT, Relay, TooLarge, enqueue
from streams.readback import log_ends, read_back
from streams.records import decode_part
from streams.topics import create_topics
from tests.sales import line, said

PARTITIONS = 3
Pool = asyncpg.Pool


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    """A schema and topics of the test's own."""
    await migrate(settings.servers.postgres, settings.schema_name)
    await create_topics(settings.servers.kafka, PARTITIONS, settings.prefix)
    found = await connect(settings.servers.postgres, settings.schema_name, size=8)
    async with asyncio.timeout(90):
        yield found
        await found.close()


def relay(settings: Settings, kafka: str | None = None, **more: Any) -> Relay:
    alone = partial(connect_alone, settings.servers.postgres, settings.schema_name)
    return Relay(alone, kafka or settings.servers.kafka, PARTITIONS, settings.prefix, **more)


@asynccontextmanager
async def relaying(*relays: Relay) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(one.run()) for one in relays]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def sales(first: int, count: int) -> list[Event]:
    """Sales of seven orders in turn."""
    return [
        said("OrderCompleted", f"o{n % 7}", event_id=f"e{n}", products=[line("p1", "2.55")])
        for n in range(first, first + count)
    ]


async def until(condition: Callable[[], Any], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


def emptied(pool: Pool) -> Callable[[], Any]:
    async def none_waits() -> bool:
        query = "SELECT NOT EXISTS (SELECT FROM outbox WHERE acknowledged_at IS NULL)"
        return bool(await pool.fetchval(query))

    return none_waits


async def logged(settings: Settings) -> dict[int, list[tuple[int, Event]]]:
    """Offsets and events of `orders`, by partition, as a reader takes them: repeats left out."""
    tps = [TopicPartition(f"{settings.prefix}orders", n) for n in range(PARTITIONS)]
    spans = await log_ends(settings.servers.kafka, tps)
    windows = {tp: Window(10_000) for tp in tps}
    found: dict[int, list[tuple[int, Event]]] = {tp.partition: [] for tp in tps}
    async for tp, records in read_back(settings.servers.kafka, spans):
        read = decode_part(Partition("orders", tp.partition), records, windows[tp], PARTITIONS)
        assert not read.quarantined
        found[tp.partition] += [(fact.offset, fact.event) for fact in read.facts]
    return found


async def ids(settings: Settings) -> list[str]:
    """The ids of the events that count, those of one order in the order of the log."""
    return [event.id for read in (await logged(settings)).values() for _, event in read]


async def appended(settings: Settings) -> int:
    """How many records there are, repeats included."""
    tps = [TopicPartition(f"{settings.prefix}orders", n) for n in range(PARTITIONS)]
    spans = await log_ends(settings.servers.kafka, tps)
    return sum(end for _, end in spans.values())


def has_appended(settings: Settings, count: int) -> Callable[[], Any]:
    async def so_many() -> bool:
        return await appended(settings) == count

    return so_many


def in_order(found: Sequence[str]) -> bool:
    """Whether the events of each of the seven orders come as they were enqueued."""
    numbers = [int(one[1:]) for one in found]
    return all(
        sorted(of_one) == of_one
        for of_one in ([n for n in numbers if n % 7 == k] for k in range(7))
    )


async def test_what_is_committed_is_appended_in_order_and_its_position_is_kept(
    settings: Settings, pool: Pool
) -> None:
    async with relaying(relay(settings, poll_seconds=30)):
        for n in range(0, 60, 20):
            async with pool.acquire() as connection, connection.transaction():
                assert len(await enqueue(connection, sales(n, 20))) == 20
        # The poll is far away: a notification woke it.
        await until(emptied(pool), 20)
    found = await logged(settings)
    assert in_order([event.id for read in found.values() for _, event in read])
    rows = await pool.fetch("SELECT * FROM outbox ORDER BY id")
    assert [codec.decode_envelope(row["event"]).id for row in rows] == [f"e{n}" for n in range(60)]
    there = {(n, offset): codec.encode(event) for n in found for offset, event in found[n]}
    assert {(row["partition"], row["record_offset"]): row["event"] for row in rows} == there
    assert {row["topic"] for row in rows} == {"orders"}
    assert len({row["topic_id"] for row in rows}) == 1


async def test_what_is_rolled_back_is_never_appended(settings: Settings, pool: Pool) -> None:
    async with relaying(relay(settings)):
        with suppress(ZeroDivisionError):
            async with pool.acquire() as connection, connection.transaction():
                await enqueue(connection, sales(0, 3))
                raise ZeroDivisionError
        await enqueue(pool, sales(3, 1))
        await until(emptied(pool))
    assert await ids(settings) == ["e3"]


async def test_rows_that_commit_late_and_in_any_order_are_not_passed_over(
    settings: Settings, pool: Pool
) -> None:
    """Each writer holds its ids open for a while, and one in five gives up."""
    random = Random(7)

    async def write(n: int, wait: float, gives_up: bool) -> None:
        with suppress(ZeroDivisionError):
            async with pool.acquire() as connection, connection.transaction():
                await enqueue(connection, sales(n, 3))
                await asyncio.sleep(wait)
                if gives_up:
                    raise ZeroDivisionError

    writers = [(3 * n, random.random(), random.random() < 0.2) for n in range(60)]
    async with relaying(relay(settings, poll_seconds=0.1)):
        await asyncio.gather(*(write(*writer) for writer in writers))
        await until(emptied(pool))
    kept = {f"e{n + k}" for n, _, gives_up in writers if not gives_up for k in range(3)}
    assert Counter(await ids(settings)) == Counter(kept)


async def test_an_acknowledgement_that_was_never_noted_counts_once(
    settings: Settings, pool: Pool
) -> None:
    async with relaying(relay(settings)):
        await enqueue(pool, sales(0, 40))
        await until(emptied(pool))
    # As a process leaves it that dies between Kafka's word and its own note.
    await pool.execute(
        "UPDATE outbox SET topic_id = NULL, partition = NULL, record_offset = NULL, "
        "acknowledged_at = NULL WHERE id % 3 = 0"
    )
    async with relaying(relay(settings)):
        await enqueue(pool, sales(40, 5))
        await until(emptied(pool))
    assert await appended(settings) == 40 + 13 + 5
    found = await ids(settings)
    assert sorted(found) == sorted(f"e{n}" for n in range(45))
    assert in_order(found)


async def test_relays_that_are_killed_again_and_again_lose_and_double_nothing(
    settings: Settings, pool: Pool
) -> None:
    async def write() -> None:
        for n in range(0, 400, 4):
            await enqueue(pool, sales(n, 4))
            await asyncio.sleep(0.02)

    writing = asyncio.create_task(write())
    random = Random(3)
    while not writing.done():
        async with relaying(relay(settings, poll_seconds=0.05)):
            await asyncio.sleep(0.15 + random.random() / 4)
    await writing
    async with relaying(relay(settings)):
        await until(emptied(pool))
    found = await ids(settings)
    assert sorted(found) == sorted(f"e{n}" for n in range(400))
    assert in_order(found)


async def test_of_two_relays_one_works_and_the_other_takes_over(
    settings: Settings, pool: Pool
) -> None:
    first, second = relay(settings), relay(settings)
    async with relaying(second):
        async with relaying(first):
            for n in range(0, 100, 10):
                await enqueue(pool, sales(n, 10))
            await until(emptied(pool))
            # Two at once would have appended some of it twice.
            assert await appended(settings) == 100
        await enqueue(pool, sales(100, 10))
        await until(emptied(pool))
    assert await appended(settings) == 110


async def test_relays_of_two_schemas_do_not_wait_for_each_other(
    settings: Settings, pool: Pool, tmp_path: Any
) -> None:
    from tests.conftest import settings_for

    other = settings_for(settings.servers, tmp_path)
    await migrate(other.servers.postgres, other.schema_name)
    await create_topics(other.servers.kafka, PARTITIONS, other.prefix)
    async with relaying(relay(settings), relay(other)):
        await enqueue(pool, sales(0, 3))
        await until(emptied(pool))
        async with await connect(other.servers.postgres, other.schema_name) as others:
            await enqueue(others, sales(3, 3))
            await until(emptied(others))
    assert sorted(await ids(settings)) == ["e0", "e1", "e2"]
    assert sorted(await ids(other)) == ["e3", "e4", "e5"]


@asynccontextmanager
async def answering(port: int, bootstrap: str) -> AsyncIterator[None]:
    """Kafka, reached through a port where nobody was before."""
    host, _, kafka_port = bootstrap.rpartition(":")
    piped: set[asyncio.Task[None]] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while some := await reader.read(65536):
                writer.write(some)
                await writer.drain()
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(kafka_port))
        piped.update(map(asyncio.create_task, (pipe(reader, back), pipe(there, writer))))

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
        for task in piped:
            task.cancel()
        await asyncio.gather(*piped, return_exceptions=True)


async def test_with_kafka_away_everything_waits_and_goes_on_when_it_comes(
    settings: Settings, pool: Pool
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    async with relaying(relay(settings, kafka=f"127.0.0.1:{port}")):
        await enqueue(pool, sales(0, 20))
        await asyncio.sleep(1)
        waiting = "SELECT count(*) FROM outbox WHERE acknowledged_at IS NULL"
        assert await pool.fetchval(waiting) == 20
        async with answering(port, settings.servers.kafka):
            await until(emptied(pool))
    assert in_order(await ids(settings))
    assert await appended(settings) == 20


async def test_kafka_that_refuses_in_the_middle_is_tried_again(
    settings: Settings, pool: Pool
) -> None:
    """Without the topic Kafka takes nothing; what waits neither is lost nor blocks for good."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.servers.kafka)
    await admin.start()
    try:
        async with relaying(relay(settings, deadline=0.5, poll_seconds=0.1)):
            await enqueue(pool, sales(0, 5))
            await until(emptied(pool))
            await admin.delete_topics([f"{settings.prefix}orders"])
            await enqueue(pool, sales(5, 5))
            await asyncio.sleep(1.5)
            assert not await emptied(pool)()
            await create_topics(settings.servers.kafka, PARTITIONS, settings.prefix)
            await until(emptied(pool))
    finally:
        await admin.close()
    # The topic is another one now, and has none of what the old one had acknowledged.
    assert sorted(await ids(settings)) == sorted(f"e{n}" for n in range(10))


async def test_a_tail_that_kafka_lost_is_appended_again_and_nothing_else(
    settings: Settings, pool: Pool
) -> None:
    """Kafka's word without its disk: positions that its log does not reach, or where it has put
    something else meanwhile."""
    async with relaying(relay(settings)):
        await enqueue(pool, sales(0, 70))
        await until(emptied(pool))
    before = await appended(settings)
    # Beyond the end: of each partition's last two the log, as it is now, has never heard.
    await pool.execute(
        """
        UPDATE outbox SET record_offset = record_offset + 1000, event = convert_to(
            replace(convert_from(event, 'UTF8'), '"id":"e', '"id":"f'), 'UTF8')
        WHERE id IN (
            SELECT id FROM (
                SELECT id, row_number() OVER (PARTITION BY partition ORDER BY record_offset DESC)
                    AS latest
                FROM outbox
            ) AS all_rows WHERE latest <= 2
        )
        """
    )
    beyond = await pool.fetchval("SELECT count(*) FROM outbox WHERE record_offset >= 1000")
    async with relaying(relay(settings)):
        await until(has_appended(settings, before + beyond))
        await until(emptied(pool))
    # In their places stands something else: the log was cut off there and grew again.
    await pool.execute(
        """
        UPDATE outbox SET event = convert_to(
            replace(convert_from(event, 'UTF8'), '"id":"f', '"id":"g'), 'UTF8')
        WHERE convert_from(event, 'UTF8') LIKE '%"id":"f%'
        """
    )
    async with relaying(relay(settings, check_seconds=0.2, poll_seconds=0.1)):
        await until(has_appended(settings, before + 2 * beyond))
        await asyncio.sleep(1)
        # Once it is there again, it is not sent once more.
        assert await appended(settings) == before + 2 * beyond
    found = await ids(settings)
    assert sum(one.startswith("g") for one in found) == beyond
    assert sum(one.startswith("e") for one in found) == 70


async def test_what_was_deleted_from_the_log_on_purpose_stays_deleted(
    settings: Settings, pool: Pool
) -> None:
    async with relaying(relay(settings)):
        await enqueue(pool, sales(0, 30))
        await until(emptied(pool))
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.servers.kafka)
    await admin.start()
    try:
        spans = await log_ends(
            settings.servers.kafka,
            [TopicPartition(f"{settings.prefix}orders", n) for n in range(PARTITIONS)],
        )
        await admin.delete_records(
            {tp: RecordsToDelete(before_offset=end) for tp, (_, end) in spans.items()}
        )
    finally:
        await admin.close()
    async with relaying(relay(settings)):
        await enqueue(pool, sales(30, 1))
        await until(emptied(pool))
    assert await appended(settings) == 31


async def test_rows_are_kept_for_as_long_as_was_agreed(settings: Settings, pool: Pool) -> None:
    async with relaying(
        relay(settings, kept=timedelta(hours=1), check_seconds=0.2, poll_seconds=0.1)
    ):
        await enqueue(pool, sales(0, 3))
        await until(emptied(pool))
        await pool.execute(
            "UPDATE outbox SET acknowledged_at = now() - interval '2 hours' WHERE id = 2"
        )

        async def forgotten() -> bool:
            return not await pool.fetchval("SELECT EXISTS (SELECT FROM outbox WHERE id = 2)")

        await until(forgotten)
    assert [row["id"] for row in await pool.fetch("SELECT id FROM outbox ORDER BY id")] == [1, 3]


async def test_an_event_that_no_record_could_hold_is_refused_before_it_blocks_the_rest(
    settings: Settings, pool: Pool
) -> None:
    large = said("OrderCompleted", products=[line("p1", "2.55", name="n" * LARGEST_EVENT)])
    with pytest.raises(TooLarge, match="OrderCompleted e1"):
        await enqueue(pool, [*sales(0, 1), large])
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 0


async def test_many_large_events_go_in_several_appends(settings: Settings, pool: Pool) -> None:
    name = "n" * 400
    events = [
        said(
            "OrderCompleted",
            f"o{n % 7}",
            event_id=f"e{n}",
            products=[line("p1", "2.55", name=name)] * 1800,
        )
        for n in range(14)
    ]
    await enqueue(pool, events)
    async with relaying(relay(settings)):
        await until(emptied(pool))
    assert len(await ids(settings)) == 14


async def test_a_producer_that_cannot_flush_is_closed_within_its_deadline(
    settings: Settings, pool: Pool
) -> None:
    async with asyncio.timeout(30):
        log = Log(settings.servers.kafka, PARTITIONS, f"{settings.prefix}none-", deadline=0.5)
        await log.start()
        await log.connected()
        with suppress(Exception):
            await log.append(sales(0, 1))
        await log.stop()
