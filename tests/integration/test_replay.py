"""Replaying into the real Kafka, and the command around it until Postgres says all is applied."""

import asyncio
import gzip
import io
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.console import Console

from app.replay import ReplayFailed, readers_by_topic, replay_file
from app.settings import Settings
from streams import codec
from streams.events import Event
from streams.log import Log, Position
from streams.online_retail import COLUMNS, read
from streams.replay import replay
from streams.topics import create_topics, partitions_of

HEADER = ",".join(COLUMNS)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A thousand invoices over four days, some with a gift, some taken back; one bad line."""
    lines = [HEADER]
    for number in range(1_000):
        at = f"2011-05-{1 + number // 250:02} {number % 24:02}:00:00"
        lines.append(f"{number},mug,MUG,2,{at},2.55,17850.0,France")
        lines.append(f"{number},pot,POT,1,{at},10.001,17850.0,France")
        if number % 10 == 0:
            lines.append(f"{number},pen,PEN,1,{at},0,17850.0,France")
            lines.append(f"C{number},mug,MUG,-1,{at},2.55,17850.0,France")
    lines.append("1000,mug,MUG,many,2011-05-05 09:00:00,2.55,17850.0,France")
    path = tmp_path / "retail.csv"
    path.write_text("\n".join(lines))
    return path


async def everything(settings: Settings) -> dict[tuple[str, int], list[Event]]:
    """The events of each partition that an import writes to."""
    partitions = [
        TopicPartition(settings.prefix + topic, number)
        for topic in ("orders", "catalog")
        for number in range(settings.partitions)
    ]
    found: defaultdict[tuple[str, int], list[Event]] = defaultdict(list)
    async with AIOKafkaConsumer(bootstrap_servers=settings.servers.kafka) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(p) < ends[p] for p in partitions]):
            for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                topic = partition.topic.removeprefix(settings.prefix)
                found[topic, partition.partition] += [
                    codec.decode_envelope(record.value) for record in records
                ]
    return found


async def test_all_events_stand_in_the_log_once_in_order_of_their_time(
    settings: Settings, file: Path
) -> None:
    servers = settings.servers
    await create_topics(servers.kafka, settings.partitions, settings.prefix)
    entries, _ = read(file, ZoneInfo("UTC"), "main", datetime.now(UTC))
    log = Log(servers.kafka, settings.partitions, settings.prefix)
    await log.start()
    await log.connected()
    try:
        last = await replay(log, entries)
    finally:
        await log.stop()
    found = await everything(settings)
    assert last == [
        Position(topic, partition, len(found[topic, partition]) - 1)
        for topic, partition in sorted(found)
    ]
    assert Counter(event.id for events in found.values() for event in events) == Counter(
        entry.event.id for entry in entries
    )
    for events in found.values():
        assert [event.time for event in events] == sorted(event.time for event in events)


@asynccontextmanager
async def applying(settings: Settings) -> AsyncIterator[None]:
    """Somebody who applies, for every group, what it reads as soon as it is in the log."""
    task = asyncio.create_task(_apply(settings))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _apply(settings: Settings) -> None:
    readers = {
        TopicPartition(settings.prefix + topic, number): groups
        for topic, groups in readers_by_topic().items()
        for number in range(partitions_of(topic, settings.partitions))
    }
    connection = await asyncpg.connect(
        settings.servers.postgres, server_settings={"search_path": settings.schema_name}
    )
    try:
        async with AIOKafkaConsumer(bootstrap_servers=settings.servers.kafka) as consumer:
            while True:
                await asyncio.sleep(0.05)
                with suppress(asyncpg.UndefinedTableError):
                    await connection.executemany(
                        """
                        INSERT INTO progress (group_name, topic, partition, topic_id, next_offset)
                        VALUES ($1, $2, $3, gen_random_uuid(), $4)
                        ON CONFLICT (group_name, topic, partition) DO UPDATE SET next_offset = $4
                        """,
                        [
                            (group, tp.topic.removeprefix(settings.prefix), tp.partition, end)
                            for tp, end in (await consumer.end_offsets(list(readers))).items()
                            for group in readers[tp]
                        ],
                    )
    finally:
        await connection.close()


def console() -> tuple[Console, io.StringIO]:
    said = io.StringIO()
    return Console(file=said, width=200), said


async def test_the_command_returns_once_all_is_applied_and_accounts_for_every_line(
    settings: Settings, file: Path
) -> None:
    talk, said = console()
    async with asyncio.timeout(30), applying(settings):
        await replay_file(settings, file, None, "main", talk)
    told = [" ".join(line.split()) for line in said.getvalue().splitlines()]
    assert "2,000 sales 1,000 OrderCompleted 15,101.00 GBP" in told
    assert "100 cancellations 100 OrderRefunded -255.00 GBP" in told
    assert "100 no price, positive quantity 100 StockAdjusted" in told
    assert "1 rejected" in told
    assert "2,201 all lines 1,200 events" in told
    assert "! line 2202: Quantity: expected a whole number" in said.getvalue()
    assert "gross 15,101.00, refunds 255.00, net 14,846.00 GBP" in told
    assert told[-1].startswith("✓ 2,201 lines in ")


async def test_interrupted_and_run_again_it_sends_the_same_events(
    settings: Settings, file: Path
) -> None:
    talk, said = console()
    # At this speed the four days last some minutes, and nobody applies what was sent.
    await create_topics(settings.servers.kafka, settings.partitions, settings.prefix)
    halfway = asyncio.create_task(replay_file(settings, file, 1_000.0, "main", talk))
    async with asyncio.timeout(30):
        while not await everything(settings):
            await asyncio.sleep(0.2)
    halfway.cancel()
    with pytest.raises(asyncio.CancelledError):
        await halfway
    assert re.search(r"interrupted: \d+ lines are in the log", said.getvalue())
    first = Counter(
        event.id for events in (await everything(settings)).values() for event in events
    )
    assert 0 < len(first) < 1_200
    async with asyncio.timeout(30), applying(settings):
        await replay_file(settings, file, None, "main", talk)
    both = Counter(event.id for events in (await everything(settings)).values() for event in events)
    assert set(first) < set(both)
    assert len(both) == 1_200


async def test_a_file_that_cannot_be_read_is_told_before_anything_is_sent(
    settings: Settings, tmp_path: Path
) -> None:
    talk, _ = console()
    with pytest.raises(ReplayFailed, match="No such file"):
        await replay_file(settings, tmp_path / "nothing.csv", None, "main", talk)
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(ReplayFailed, match=r"other\.csv, line 1: the header has no InvoiceNo"):
        await replay_file(settings, other, None, "main", talk)


@pytest.mark.parametrize(
    ("file_format", "text", "reason"),
    [
        ("online-retail", "", "holds no line"),
        ("online-retail", "1,mug,Mug,one,1/5/2011 9:00,2.55,7,Spain\n", "no line of .* of 1 read"),
        ("tillstream", "not json\n{}\n", "no line of .* of 2 read"),
    ],
)
async def test_a_file_with_no_good_line_is_a_failure_and_closes_no_history(
    settings: Settings, tmp_path: Path, file_format: str, text: str, reason: str
) -> None:
    talk, said = console()
    header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    path = tmp_path / "bad"
    path.write_text(text if file_format == "tillstream" else header + text)
    with pytest.raises(ReplayFailed, match=f"{reason}.*Nothing was sent"):
        async with asyncio.timeout(60):
            await replay_file(settings, path, None, "main", talk, file_format)
    assert ("! line 1" in said.getvalue() or "! line 2" in said.getvalue()) == bool(text)
    assert not any((await everything(settings)).values())
    connection = await asyncpg.connect(
        settings.servers.postgres, server_settings={"search_path": settings.schema_name}
    )
    assert await connection.fetch("SELECT * FROM day_histories") == []
    await connection.close()


async def test_a_file_that_breaks_off_is_told_and_what_stood_before_is_in_the_log(
    settings: Settings, tmp_path: Path
) -> None:
    talk, said = console()
    header = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id"
    lines = [
        f"2019-10-01 00:{n // 60:02}:{n % 60:02} UTC,purchase,{n},1,,,2.55,u-{n},s-{n}"
        for n in range(3_000)
    ]
    whole = gzip.compress("\n".join((f"{header},user_session", *lines)).encode())
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(whole[: len(whole) - 2_000])
    with pytest.raises(
        ReplayFailed, match="not a whole gzip file.*what stands before that is in the"
    ):
        async with asyncio.timeout(30), applying(settings):
            await replay_file(settings, broken, None, "main", talk, "rees46")
    found = sum(map(len, (await everything(settings)).values()))
    assert 0 < found < 3_000
    assert f"{found:,} all lines {found:,} events" in " ".join(said.getvalue().split())
