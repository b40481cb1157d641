"""A group's reader on the real log and the real store: everything counts once, or is kept aside.

The reader is fed as the transport feeds it, chunk by chunk from where it wants to read on, but the
test says when, and what goes wrong meanwhile.
"""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from msgspec.structs import replace

from app.settings import Settings
from app.stack.up import running
from app.subscriptions import steps_of
from projections import at_once
from projections.clock import ShopClock
from projections.postgres import connect, migrate
from projections.store import GroupStore
from streams import codec
from streams.batch import LogChanged
from streams.chunk import Chunk
from streams.events import Event
from streams.log import Log
from streams.readback import log_ends, read_back
from streams.subscribe import GroupReader
from streams.topics import create_topics, key_of, partition_of
from tests.sales import booked, line, recount, said

PARTITIONS = 2
WINDOW = 500

Pool = asyncpg.Pool


def tps(settings: Settings) -> dict[int, TopicPartition]:
    return {n: TopicPartition(settings.prefix + "orders", n) for n in range(PARTITIONS)}


async def ends(settings: Settings) -> dict[int, int]:
    found = await log_ends(settings.servers.kafka, list(tps(settings).values()))
    return {tp.partition: end for tp, (_, end) in found.items()}


async def progress(pool: Pool) -> dict[int, asyncpg.Record]:
    rows = await pool.fetch("SELECT * FROM progress")
    return {row["partition"]: row for row in rows}


async def counted(pool: Pool) -> Counter[str]:
    """What became of all the records that were read."""
    rows = (await progress(pool)).values()
    columns = ("next_offset", "applied", "repeated", "quarantined")
    return Counter({name: sum(row[name] for row in rows) for name in columns})


@dataclass
class Arrived:
    """A chunk, as Faust's event brings it."""

    value: Chunk


@dataclass
class Feed:
    """The transport's side: what a reader is given, and what it acknowledged."""

    settings: Settings
    reader: GroupReader[Any]
    acknowledged: list[Arrived] = field(default_factory=list)
    waiting: asyncio.Queue[Arrived] = field(default_factory=lambda: asyncio.Queue(1))
    seek: int = 0
    failure: BaseException | None = None

    def noack(self) -> "Feed":
        return self

    async def events(self) -> AsyncIterator[Arrived]:
        while True:
            yield await self.waiting.get()

    async def resume(self, numbers: Iterable[int] = range(PARTITIONS)) -> dict[int, int]:
        """Assigns partitions, as at the end of a rebalance; where reading goes on."""
        self.seek += 1
        wanted = {TopicPartition(*tps(self.settings)[number]) for number in numbers}
        positions = await asyncio.wait_for(self.reader.resume(wanted, self.seek), 30)
        return {tp.partition: offset for tp, offset in positions.items()}

    async def give(self, number: int, records: Sequence[ConsumerRecord], seek: int = 0) -> None:
        topic = self.settings.prefix + "orders"
        await self.waiting.put(Arrived(Chunk(topic, number, records, seek or self.seek)))

    async def read(
        self, positions: dict[int, int], most: int = 1_000, until: dict[int, int] | None = None
    ) -> None:
        """Fetches from these positions to the end of the log (or up to some offset)."""
        last = until or await ends(self.settings)
        names = tps(self.settings)
        if all(offset >= last[number] for number, offset in positions.items()):
            return
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.settings.servers.kafka,
            enable_auto_commit=False,
            auto_offset_reset="none",
        )
        async with asyncio.timeout(30), consumer:
            consumer.assign([names[number] for number in positions])
            for number, offset in positions.items():
                consumer.seek(names[number], offset)
            at = dict(positions)
            while any(at[number] < last[number] for number in at):
                for tp, records in (await consumer.getmany(timeout_ms=2_000)).items():
                    kept = [record for record in records if record.offset < last[tp.partition]]
                    for start in range(0, len(kept), most):
                        await self.give(tp.partition, kept[start : start + most])
                    at[tp.partition] = records[-1].offset + 1

    async def applied(self, pool: Pool, wanted: dict[int, int] | None = None) -> None:
        """Waits until the store has everything."""
        wanted = wanted or await ends(self.settings)
        async with asyncio.timeout(30):
            while True:
                if self.failure is not None:
                    raise self.failure
                with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                    found = {
                        number: row["next_offset"] for number, row in (await progress(pool)).items()
                    }
                    if all(found.get(number) == offset for number, offset in wanted.items()):
                        return
                await asyncio.sleep(0.02)


@asynccontextmanager
async def reading(
    settings: Settings,
    pool: Pool,
    *,
    window: int = WINDOW,
    commit_records: int = 200,
    store: GroupStore | None = None,
) -> AsyncIterator[Feed]:
    """A reader at work, which was not yet told any partitions."""
    if store is None:
        store = GroupStore(pool, "sales", steps_of("sales"), ShopClock(ZoneInfo("UTC")))
        await store.register()
    reader = GroupReader(store, settings.servers.kafka, settings.prefix, window, commit_records)
    feed = Feed(settings, reader)

    async def apply() -> None:
        try:
            await reader.apply(feed.acknowledged.append)
        except Exception as failure:
            feed.failure = failure
            raise

    tasks = [asyncio.create_task(apply()), asyncio.create_task(reader.consume(feed))]
    try:
        yield feed
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_all(settings: Settings, pool: Pool, most: int = 1_000, **options: Any) -> None:
    """One start of a worker: from where the store stands to the end of the log."""
    async with reading(settings, pool, **options) as feed:
        await feed.read(await feed.resume(), most)
        await feed.applied(pool)


def sales(count: int, start: int = 0, orders: int = 40) -> list[Event]:
    """Orders, each sold, then updated, refunded or cancelled: neighbours in the log concern the
    same few, so that each batch builds on the ones before."""
    random = Random(start)
    events = []
    for n in range(start, start + count):
        kind = random.choice(["OrderCompleted", "OrderRefunded", "OrderUpdated", "OrderCancelled"])
        more: dict[str, Any] = {"total": "0.25"} if kind == "OrderRefunded" else {}
        if kind in ("OrderCompleted", "OrderUpdated"):
            product = f"p{random.randrange(5)}"
            more = {"currency": "EUR", "products": [line(product, "2.55", random.randrange(1, 4))]}
        number = random.randrange(orders)
        events.append(said(kind, f"o{number}", event_id=f"e{n}", minutes=n % 300, **more))
    return events


async def append_raw(
    settings: Settings, values: Iterable[bytes | None], key: bytes | None = None, number: int = 0
) -> list[int]:
    """Records of someone who minds no rules; their offsets."""
    async with AIOKafkaProducer(bootstrap_servers=settings.servers.kafka) as producer:
        return [
            (await producer.send_and_wait(settings.prefix + "orders", value, key, number)).offset
            for value in values
        ]


# Quarantine.


async def test_what_is_no_event_is_kept_aside_with_its_reason_and_the_partition_goes_on(
    settings: Settings, pool: Pool, log: Log
) -> None:
    good = sales(60)
    await log.append(good[:30])
    sale = good[0]
    unknown = codec.encode(replace(sale, id="unknown")).replace(b"Order", b"Zebra", 1)
    ahead = replace(sale, id="ahead", time=sale.received_at + timedelta(minutes=6))
    elsewhere = replace(sale, id="elsewhere", type="ProductAdded")
    newer = replace(sale, id="newer", version=9)
    values = {
        b"\xff\xfenot json": ("", None),
        b"{": ("", None),
        None: ("", None),
        b"{}": ("id", None),
        codec.encode(replace(sale, id="nul\0", person="\0")): ("", None),
        unknown: ("type", "unknown"),
        codec.encode(ahead): ("time", "ahead"),
        codec.encode(elsewhere): ("type", "elsewhere"),
        codec.encode(newer): ("version", "newer"),
        codec.encode(replace(sale, id="keyless", subject="other")): ("subject", "keyless"),
    }
    key = b"main/" + sale.subject.encode()
    offsets = await append_raw(settings, values, key)
    contradicting = replace(good[1], data=codec.raw(codec.decode_data(good[2], "orders")))
    [position] = await log.append([contradicting])
    await log.append(good[30:])
    await read_all(settings, pool, most=7)
    rows = await pool.fetch("SELECT * FROM quarantine WHERE reason <> ''")
    kept = {(row["partition"], row["record_offset"]): row for row in rows}
    assert set(kept) == {(0, offset) for offset in offsets} | {position[1:]}
    for offset, (value, (told, event_id)) in zip(offsets, values.items(), strict=True):
        row = kept[0, offset]
        assert (row["field"], row["event_id"]) == (told, event_id)
        assert (row["key"], row["value"]) == (key, value)
        assert row["recorded_at"] > datetime.now(UTC) - timedelta(minutes=5)
    contradiction = kept[position[1:]]
    assert (contradiction["field"], contradiction["event_id"]) == ("id", good[1].id)
    assert await counted(pool) == {
        "next_offset": 71,
        "applied": 60,
        "repeated": 0,
        "quarantined": 11,
    }
    assert await booked(pool) == recount(good)


async def test_a_copy_that_another_partitioner_has_put_elsewhere_is_kept_aside(
    settings: Settings, pool: Pool, log: Log
) -> None:
    [sale] = sales(1)
    key = key_of(sale)
    elsewhere = 1 - partition_of(key, PARTITIONS)
    await append_raw(settings, [codec.encode(sale)], key, elsewhere)
    await log.append([sale])
    await read_all(settings, pool)
    row = await pool.fetchrow("SELECT partition, field, reason FROM quarantine")
    reason = f"its key lives on partition {1 - elsewhere}"
    assert row is not None
    assert tuple(row) == (elsewhere, "subject", reason)
    assert await booked(pool) == recount([sale])


async def test_nothing_of_a_batch_is_kept_aside_before_the_batch_is_applied(
    settings: Settings, pool: Pool, log: Log
) -> None:
    """What was quarantined, but not committed, is quarantined once."""
    await append_raw(settings, [b"{", *map(codec.encode, sales(3)), b"}"])
    async with reading(settings, pool) as feed, pool.acquire() as connection:
        positions = await feed.resume()
        async with connection.transaction():
            await connection.execute("SELECT * FROM progress FOR UPDATE")
            await feed.read(positions)
            await asyncio.sleep(0.2)
            assert await connection.fetchval("SELECT count(*) FROM quarantine") == 0
        # The worker dies before it hears of its commit; the next one reads the same.
    await read_all(settings, pool)
    assert (await counted(pool))["quarantined"] == 5
    assert await pool.fetchval("SELECT count(*) FROM quarantine") == 5


# Duplicates.


async def test_an_event_said_twice_counts_once_across_chunks_commits_and_restarts(
    settings: Settings, pool: Pool, log: Log
) -> None:
    events = sales(120)
    for part in (events[:40], events[:20], events[20:90], events[30:60], events[60:]):
        await log.append(part)
        await read_all(settings, pool, most=9, commit_records=25)
    assert await counted(pool) == {
        "next_offset": 120 + 20 + 20 + 30 + 30,
        "applied": 120,
        "repeated": 100,
        "quarantined": 0,
    }
    assert await booked(pool) == recount(events)


async def test_an_event_repeats_within_the_window_and_is_new_beyond_it(
    settings: Settings, pool: Pool, log: Log
) -> None:
    """Each order's own row still counts it once; the record is merely not known to be a copy."""
    events = [said("OrderPaid", "o1", event_id=f"e{n}") for n in range(12)]
    await log.append([*events, events[2], events[1]])
    await read_all(settings, pool, window=10)
    found = await counted(pool)
    assert (found["applied"], found["repeated"]) == (13, 1)


@pytest.mark.parametrize("seed", range(2))
async def test_every_cut_of_the_log_into_starts_chunks_and_commits_ends_the_same(
    settings: Settings, pool: Pool, log: Log, seed: int
) -> None:
    random = Random(seed)
    events = sales(300, orders=12)
    said_again = [*events, *(random.choice(events) for _ in range(100))]
    random.shuffle(said_again)
    await log.append(said_again)
    whole = await ends(settings)
    at = dict.fromkeys(whole, 0)
    while at != whole:
        async with reading(settings, pool, commit_records=random.randrange(1, 60)) as feed:
            assert await feed.resume() == at
            stop = {n: min(whole[n], offset + random.randrange(80)) for n, offset in at.items()}
            await feed.read(at, random.randrange(1, 40), stop)
            await feed.applied(pool, stop)
            at = stop
    found = await counted(pool)
    assert (found["next_offset"], found["applied"], found["repeated"]) == (400, 300, 100)
    assert await booked(pool) == recount(events)


# The log is not the one that was read.


async def test_a_topic_that_was_deleted_and_made_again_is_not_read_on(
    settings: Settings, pool: Pool, log: Log
) -> None:
    await log.append(sales(30))
    await read_all(settings, pool)
    before = await counted(pool)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.servers.kafka)
    await admin.start()
    try:
        await admin.delete_topics([settings.prefix + "orders"])
        async with asyncio.timeout(20):
            while settings.prefix + "orders" in await admin.list_topics():
                await asyncio.sleep(0.1)
    finally:
        await admin.close()
    kafka = settings.servers.kafka
    await create_topics(kafka, PARTITIONS, settings.prefix, topics=("orders",))
    await append_raw(settings, map(codec.encode, sales(200)))
    async with reading(settings, pool) as feed:
        with pytest.raises(LogChanged, match="recreated"):
            await feed.resume()
    assert await counted(pool) == before


async def test_a_topic_that_is_made_again_under_a_reader_is_noticed(
    settings: Settings, pool: Pool, log: Log
) -> None:
    await log.append(sales(30))
    async with reading(settings, pool) as feed:
        await feed.read(await feed.resume())
        await feed.applied(pool)
        await feed.reader.watch_log()
        await delete_records(settings, before=3)  # behind it: that is no loss
        await feed.reader.watch_log()
        admin = AIOKafkaAdminClient(bootstrap_servers=settings.servers.kafka)
        await admin.start()
        try:
            await admin.delete_topics([settings.prefix + "orders"])
            async with asyncio.timeout(20):
                while settings.prefix + "orders" in await admin.list_topics():
                    await asyncio.sleep(0.1)
        finally:
            await admin.close()
        kafka = settings.servers.kafka
        await create_topics(kafka, PARTITIONS, settings.prefix, topics=("orders",))
        await append_raw(settings, map(codec.encode, sales(200)))
        with pytest.raises(LogChanged, match="recreated"):
            await feed.reader.watch_log()


async def test_a_tail_that_was_lost_and_has_grown_again_under_a_reader_is_noticed(
    settings: Settings, pool: Pool, log: Log
) -> None:
    await log.append(sales(30))
    async with reading(settings, pool) as feed:
        # What was applied is not what the log has there now.
        async for _, records in read_back(
            settings.servers.kafka, {tps(settings)[0]: (0, (await ends(settings))[0])}
        ):
            chunk = [dataclasses.replace(r, value=(r.value or b"") + b" ") for r in records]
        positions = await feed.resume()
        await feed.give(0, chunk)
        await feed.applied(pool, {0: len(chunk), 1: positions[1]})
        with pytest.raises(LogChanged, match="another record"):
            await feed.reader.watch_log()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE progress SET topic_id = gen_random_uuid()", "recreated"),
        ("UPDATE progress SET next_offset = next_offset + 1", "tail was lost"),
        ("UPDATE progress SET last_digest = last_digest + 1", "another record"),
    ],
)
async def test_a_log_that_is_not_the_one_read_before_is_not_read_on(
    settings: Settings, pool: Pool, log: Log, change: str, reason: str
) -> None:
    await log.append(sales(30))
    await read_all(settings, pool)
    await pool.execute(change)
    before = await counted(pool), await booked(pool)
    await log.append(sales(30, start=30))
    if "tail" in reason:
        await pool.execute("UPDATE progress SET next_offset = next_offset + 1000")
        before = await counted(pool), await booked(pool)
    async with reading(settings, pool) as feed:
        with pytest.raises(LogChanged, match=reason):
            await feed.resume()
    assert (await counted(pool), await booked(pool)) == before


async def test_records_that_retention_took_before_they_were_read_stop_the_reader(
    settings: Settings, pool: Pool, log: Log
) -> None:
    await log.append(sales(30))
    await read_all(settings, pool)
    await pool.execute("UPDATE progress SET next_offset = 1, last_digest = NULL")
    await log.append(sales(30, start=30))
    await delete_records(settings, before=10)
    async with reading(settings, pool) as feed:
        with pytest.raises(LogChanged, match="retention"):
            await feed.resume()


async def delete_records(settings: Settings, before: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.servers.kafka)
    await admin.start()
    try:
        wanted = dict.fromkeys(tps(settings).values(), RecordsToDelete(before))
        await admin.delete_records(wanted)
    finally:
        await admin.close()


async def test_retention_behind_the_reader_does_no_harm(
    settings: Settings, pool: Pool, log: Log
) -> None:
    events = sales(60)
    await log.append(events[:40])
    await read_all(settings, pool)
    await delete_records(settings, before=10)
    await log.append(events[40:])
    await read_all(settings, pool)
    assert await booked(pool) == recount(events)


# Chunks that came too late, or in a bad moment.


async def test_a_chunk_from_before_the_last_seek_counts_for_nothing(
    settings: Settings, pool: Pool, log: Log
) -> None:
    events = sales(40)
    await log.append(events)
    async with reading(settings, pool) as feed:
        positions = await feed.resume()
        await feed.read(positions, most=5, until={0: 5, 1: 5})
        await feed.applied(pool, {0: 5, 1: 5})
        first_seek = feed.seek
        positions = await feed.resume()
        assert positions == {0: 5, 1: 5}
        feed.seek = first_seek
        await feed.read({0: 0, 1: 5})
        await feed.read({0: 7, 1: 9})
        await asyncio.sleep(0.2)
        assert (await counted(pool))["next_offset"] == 10
        feed.seek = first_seek + 1
        await feed.read(positions)
        await feed.applied(pool)
    assert await booked(pool) == recount(events)
    assert (await counted(pool))["repeated"] == 0


async def test_partitions_that_go_while_a_commit_is_under_way_are_lost_to_no_one(
    settings: Settings, pool: Pool, log: Log
) -> None:
    """A rebalance in the middle of a chunk: the next owner reads from where the commit ended."""
    events = sales(100)
    await log.append(events)
    async with reading(settings, pool) as one, reading(settings, pool) as two:
        positions = await one.resume()
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT * FROM progress FOR UPDATE")
            await one.read(positions, until={0: 20, 1: 20})
            await asyncio.sleep(0.1)
            releasing = asyncio.create_task(one.reader.release())
            await asyncio.sleep(0.2)
            assert not releasing.done(), "the commit is still under way"
        await releasing
        mine, theirs = await asyncio.gather(one.resume([0]), two.resume([1]))
        # Both were in that commit, or one of them was to be in the next.
        assert {mine[0], theirs[1]} <= {0, 20}
        assert mine[0] + theirs[1] >= 20
        await asyncio.gather(one.read(mine), two.read(theirs))
        await one.applied(pool)
    assert await booked(pool) == recount(events)
    found = await counted(pool)
    assert (found["applied"], found["repeated"]) == (100, 0)


async def test_a_reader_that_did_not_hear_of_a_rebalance_applies_nothing_twice(
    settings: Settings, pool: Pool, log: Log
) -> None:
    """Two readers believe that they own all partitions, as after a long pause of one of them."""
    events = sales(200, orders=10)
    await log.append([*events, *events[:50]])
    async with (
        reading(settings, pool, commit_records=13) as one,
        reading(settings, pool, commit_records=29) as two,
    ):
        positions = await one.resume()
        assert await two.resume() == positions
        await asyncio.gather(one.read(positions, most=11), two.read(positions, most=17))
        await one.applied(pool)
        await two.applied(pool)
        await asyncio.sleep(0.1)
        assert one.failure is None
        assert two.failure is None
    assert await booked(pool) == recount(events)
    found = await counted(pool)
    assert (found["applied"], found["repeated"]) == (200, 50)


async def test_a_rebalance_while_there_is_no_room_for_more_chunks_stalls_nothing(
    settings: Settings, pool: Pool, log: Log
) -> None:
    events = sales(400)
    await log.append(events)
    async with reading(settings, pool, commit_records=20) as feed:
        positions = await feed.resume()
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT * FROM progress FOR UPDATE")
            reads = asyncio.create_task(feed.read(positions, most=10))
            await asyncio.sleep(0.5)
            assert not reads.done(), "there was room for everything"
            releasing = asyncio.create_task(feed.reader.release())
            await asyncio.sleep(0.1)
        await releasing
        reads.cancel()
        await asyncio.gather(reads, return_exceptions=True)
        while not feed.waiting.empty():
            feed.waiting.get_nowait()
        positions = await feed.resume()
        await asyncio.wait_for(feed.read(positions, most=10), 20)
        await feed.applied(pool)
    assert await booked(pool) == recount(events)


async def test_what_waits_for_a_slow_store_is_bounded(
    settings: Settings, pool: Pool, log: Log
) -> None:
    events = sales(600)
    await log.append(events)
    given = 0
    async with reading(settings, pool, commit_records=50) as feed:
        positions = await feed.resume()
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT * FROM progress FOR UPDATE")
            reads = asyncio.create_task(feed.read(positions, most=10))
            await asyncio.sleep(1.0)
            given = feed.reader._inbox._records
            assert not reads.done()
        # Two commits' worth waits, and a chunk; two more are being folded and committed.
        assert given <= 2 * 50 + 10
        await asyncio.wait_for(reads, 20)
        await feed.applied(pool)
        assert sum(len(event.value.records) for event in feed.acknowledged) == 600
    assert await booked(pool) == recount(events)


# The store fails.


# What goes over a wire where a batch is committed: one by one, or at once with where its parts are.
COMMITS = (b"COMMIT", b'[["orders",')


class Wire:
    """A wire to Postgres that can be cut: between a COMMIT and its arrival, or its answer."""

    def __init__(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        self._host, self._port = parts.hostname, parts.port
        self._parts = parts
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.cut: Callable[[], str] = lambda: ""
        self.cuts = 0

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        where = self._parts.netloc.rpartition("@")[0] + f"@127.0.0.1:{port}"
        try:
            yield urlunsplit(self._parts._replace(netloc=where))
        finally:
            server.close()
            self.cut_all()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut_all(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection(self._host, self._port)
        self._open |= {writer, to_there}
        for source, target, outward in ((reader, to_there, True), (there, writer, False)):
            task = asyncio.create_task(self._carry(source, target, (writer, to_there), outward))
            self._tasks.add(task)

    async def _carry(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        outward: bool,
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while data := await source.read(65_536):
                how = self.cut() if outward and any(sign in data for sign in COMMITS) else ""
                if how != "before":
                    target.write(data)
                    await target.drain()
                if how:
                    self.cuts += 1
                    break
        for writer in both:
            if outward or source.at_eof():
                writer.transport.abort() if self.cuts else writer.close()


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("at_most", [0, at_once.MOST_RECORDS], ids=["one by one", "at once"])
async def test_a_commit_whose_answer_is_lost_is_applied_once(
    settings: Settings,
    pool: Pool,
    log: Log,
    how: str,
    at_most: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every third commit's wire is cut, before Postgres hears of it or before we hear of it."""
    monkeypatch.setattr(at_once, "MOST_RECORDS", at_most)
    events = sales(500, orders=8)
    await log.append([*events, *events[100:200]])
    wire, commits = Wire(settings.servers.postgres), iter(range(10_000))
    async with wire.laid() as dsn:
        through = await connect(dsn, settings.schema_name)
        store = GroupStore(through, "sales", steps_of("sales"), ShopClock(ZoneInfo("UTC")))
        await store.register()
        async with reading(settings, pool, commit_records=20, store=store) as feed:
            positions = await feed.resume()
            wire.cut = lambda: how if next(commits) % 3 == 1 else ""
            await feed.read(positions, most=7)
            await feed.applied(pool)
            wire.cut = lambda: ""
            async with asyncio.timeout(10):
                while sum(len(one.value.records) for one in feed.acknowledged) < 600:
                    await asyncio.sleep(0.02)
            # Its watermark moves: it knows that it has applied everything.
            highwater = await ends(settings)
            await feed.reader.note_caught_up(lambda tp: highwater[tp.partition])
        through.terminate()
    assert wire.cuts > 3
    assert await booked(pool) == recount(events)
    found = await counted(pool)
    assert (found["next_offset"], found["applied"], found["repeated"]) == (600, 500, 100)
    complete = [row["complete_to"] for row in (await progress(pool)).values()]
    assert min(complete) > datetime.now(UTC) - timedelta(seconds=30)


async def test_connections_that_are_ended_at_any_moment_cost_nothing_but_time(
    settings: Settings, pool: Pool, log: Log
) -> None:
    events = sales(1_500, orders=30)
    await log.append(events)
    ended = 0
    async with reading(settings, pool, commit_records=25) as feed:
        positions = await feed.resume()
        reads = asyncio.create_task(feed.read(positions, most=20))
        own = await asyncpg.connect(
            settings.servers.postgres, server_settings={"application_name": "who ends"}
        )
        random = Random(3)
        try:
            while ended < 8 and not reads.done():
                await asyncio.sleep(random.random() / 10)
                ended += await own.fetchval(
                    """
                    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE application_name = 'tillstream' AND state <> 'idle'
                    """
                )
        finally:
            await own.close()
        await reads
        await feed.applied(pool)
    assert ended
    assert await booked(pool) == recount(events)
    assert (await counted(pool))["applied"] == 1_500


async def test_a_restart_of_postgres_is_survived(settings: Settings, log: Log) -> None:
    events = sales(600, orders=20)
    await log.append(events[:400])
    kafka, redis = settings.servers.kafka, settings.servers.redis
    own = Settings(home=settings.home, kafka=kafka, redis=redis, prefix=settings.prefix)
    async with running(own) as stack:
        await migrate(stack.servers.postgres, own.schema_name)
        pool = await connect(stack.servers.postgres, own.schema_name)
        async with reading(own, pool, commit_records=50) as feed:
            positions = await feed.resume()
            halfway = {number: offset // 2 for number, offset in (await ends(own)).items()}
            await feed.read(positions, most=20, until=halfway)
            await feed.applied(pool, halfway)
            async with stack.without("postgres"):
                reads = asyncio.create_task(feed.read(halfway, most=20))
                await asyncio.sleep(0.5)
                assert feed.failure is None
            await log.append(events[400:])
            await asyncio.wait_for(reads, 20)
            await feed.read({n: row["next_offset"] for n, row in (await progress(pool)).items()})
            await feed.applied(pool)
        assert await booked(pool) == recount(events)
        assert (await counted(pool))["applied"] == 600
        pool.terminate()
