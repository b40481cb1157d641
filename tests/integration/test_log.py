"""Appending to the log: a position for every event, or a refusal within the deadline."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from time import monotonic

import pytest
from aiokafka import TopicPartition

from app.settings import Settings
from streams import codec
from streams.events import Event
from streams.log import Log, LogUnavailable, Position
from streams.readback import log_ends, read_back
from streams.topics import create_topics, key_of, partition_of
from tests.sales import line, said

PARTITIONS = 3


@asynccontextmanager
async def opened(
    settings: Settings, bootstrap: str | None = None, **more: float
) -> AsyncIterator[Log]:
    log = Log(bootstrap or settings.servers.kafka, PARTITIONS, settings.prefix, **more)  # type: ignore[arg-type]
    await log.start()
    try:
        yield log
    finally:
        await log.stop()


@pytest.fixture
async def log(settings: Settings) -> AsyncIterator[Log]:
    """A log whose topics are there."""
    await create_topics(settings.servers.kafka, PARTITIONS, settings.prefix)
    async with asyncio.timeout(60), opened(settings) as log:
        await log.connected()
        yield log


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers, as a server that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


async def nothing_is_left_open() -> None:
    """A client that was not closed says so when it is collected, which fails the test."""
    await asyncio.sleep(0.05)
    gc.collect()


def sales(count: int) -> list[Event]:
    return [
        said("OrderCompleted", f"o{n}", event_id=f"e{n}", products=[line("p1", "2.55")])
        for n in range(count)
    ]


async def records(settings: Settings, topic: str) -> dict[Position, tuple[bytes, bytes, int]]:
    """Key, value and timestamp of all that stands in a topic."""
    tps = [TopicPartition(settings.prefix + topic, n) for n in range(PARTITIONS)]
    found = {}
    async for tp, fetched in read_back(
        settings.servers.kafka, await log_ends(settings.servers.kafka, tps)
    ):
        for record in fetched:
            position = Position(topic, tp.partition, record.offset)
            found[position] = (record.key, record.value, record.timestamp)
    return found


async def test_every_event_has_the_position_where_it_stands_in_the_log(
    settings: Settings, log: Log
) -> None:
    events = sales(200)
    positions = await log.append(events)
    assert len(set(positions)) == len(events)
    there = await records(settings, "orders")
    assert set(there) == set(positions)
    for event, position in zip(events, positions, strict=True):
        assert position.partition == partition_of(key_of(event), PARTITIONS)
        assert there[position] == (
            b"main/" + event.subject.encode(),
            codec.encode(event),
            int(event.received_at.timestamp() * 1000),
        )


async def test_positions_of_one_key_ascend_in_the_order_of_appending(log: Log) -> None:
    events = [said("OrderPaid", "o1", event_id=f"e{n}") for n in range(100)]
    first = await log.append(events[:60])
    positions = first + await log.append(events[60:])
    assert len({position.partition for position in positions}) == 1
    assert [position.offset for position in positions] == list(range(100))


async def test_every_topic_takes_its_own_events(settings: Settings, log: Log) -> None:
    cart = said("ProductAdded", "c1", product_id="p1", cart_id="c1")
    # `said` gives every event an order; this one has none.
    cart = codec.decode_envelope(codec.encode(cart).replace(b'"order_id":"c1",', b""))
    [position] = await log.append([cart])
    assert position.topic == "carts"
    assert set(await records(settings, "carts")) == {position}


async def test_many_who_append_at_once_each_get_their_own_positions(log: Log) -> None:
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*(log.append([event]) for event in sales(300)))
    assert len({position for positions in answers for position in positions}) == 300


@pytest.mark.parametrize("text", ["orders:3:1234", "a-b.c:0:0"])
def test_a_position_is_read_back_from_its_text(text: str) -> None:
    assert str(Position.parse(text)) == text


@pytest.mark.parametrize("text", ["", "orders", "orders:1", "orders:a:1", "orders:1:b", "a:1:2:3"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Position.parse(text)


async def refused_within(seconds: float, settings: Settings, bootstrap: str) -> None:
    async with opened(settings, bootstrap, deadline=seconds) as log:
        begun = monotonic()
        with pytest.raises(LogUnavailable):
            await log.append(sales(1))
        assert monotonic() - begun < 1.5 * seconds
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.7):
                await log.connected()
        assert not log.ready


async def test_appending_is_refused_at_once_while_nobody_listens_at_kafkas_address(
    settings: Settings,
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        await refused_within(1.0, settings, f"127.0.0.1:{taken.getsockname()[1]}")
    await nothing_is_left_open()


async def test_appending_is_refused_within_the_deadline_when_kafka_hangs(
    settings: Settings, silent_port: int
) -> None:
    await refused_within(1.0, settings, f"127.0.0.1:{silent_port}")
    await nothing_is_left_open()


async def test_appending_to_a_topic_that_is_missing_is_refused_within_the_deadline(
    settings: Settings,
) -> None:
    async with opened(settings, deadline=1.0) as log:
        await log.connected()
        begun = monotonic()
        with pytest.raises(LogUnavailable):
            await log.append(sales(1))
        assert monotonic() - begun < 1.5
        # What could not be sent does not stand in the way of what can.
        await create_topics(settings.servers.kafka, PARTITIONS, settings.prefix)
        async with asyncio.timeout(20):
            while True:
                try:
                    assert len(await log.append(sales(3))) == 3
                except LogUnavailable:
                    await asyncio.sleep(0.2)
                else:
                    return


async def test_no_more_is_held_for_kafka_than_was_agreed(settings: Settings, log: Log) -> None:
    event = sales(1)[0]
    size = len(codec.encode(event))
    async with opened(settings, most_bytes=3 * size) as narrow:
        await narrow.connected()
        assert len(await narrow.append([event] * 3)) == 3
        with pytest.raises(LogUnavailable, match="too much"):
            await narrow.append([event] * 4)
        # What was acknowledged is no longer held.
        assert len(await narrow.append([event] * 3)) == 3


async def test_topics_that_are_there_are_left_as_they_are(settings: Settings, log: Log) -> None:
    [position] = await log.append(sales(1))
    async with asyncio.timeout(20):
        await asyncio.gather(
            *(create_topics(settings.servers.kafka, PARTITIONS, settings.prefix) for _ in range(3))
        )
    assert set(await records(settings, "orders")) == {position}


async def test_topics_that_kafka_does_not_create_are_an_error(settings: Settings) -> None:
    with pytest.raises(Exception, match="(?i)replication"):
        await create_topics(settings.servers.kafka, PARTITIONS, settings.prefix, replication=3)


async def test_topics_of_another_number_of_partitions_are_refused(
    settings: Settings, log: Log
) -> None:
    """Where a key lives would change, and a retry no longer meet its first copy."""
    with pytest.raises(Exception, match="partitions"):
        await create_topics(settings.servers.kafka, PARTITIONS + 1, settings.prefix)
