"""What the chunk transport needs of Faust's private API, held on a real Kafka: the contract."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence, Set
from contextlib import asynccontextmanager, suppress
from typing import Any, cast
from warnings import catch_warnings

import faust
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata
from faust.exceptions import AlreadyConfiguredWarning
from faust.types import TP

from app.settings import Settings
from app.worker import faust_app
from streams.chunk import Chunk
from streams.log import Log
from streams.transport import ChunkConsumer, ChunkTransport
from tests.sales import said

GROUP = "contract"
PARTITIONS = 3


@pytest.fixture
def partitions() -> int:
    return PARTITIONS


async def appended(log: Log, count: int, start: int = 0) -> None:
    events = [
        said("OrderPaid", f"o{n}", event_id=f"e{n}", payment_id="x" * 100)
        for n in range(start, start + count)
    ]
    for first in range(0, count, 2_000):
        await log.append(events[first : first + 2_000])


class Positions:
    """A reader as the transport needs one: it knows what was applied, and how to wait."""

    def __init__(self, applied: dict[TP, int] | None = None) -> None:
        self.applied = {} if applied is None else applied
        self.seeks: list[int] = []
        self.owned: Set[TP] = set()
        self.releasing = asyncio.Event()
        self.may_release = asyncio.Event()
        self.may_release.set()
        self.may_resume = asyncio.Event()
        self.may_resume.set()

    async def resume(self, partitions: Set[TP], seek: int) -> Mapping[TP, int]:
        await self.may_resume.wait()
        self.seeks.append(seek)
        self.owned = set(partitions)
        return {tp: self.applied.get(tp, 0) for tp in partitions}

    async def release(self) -> None:
        self.releasing.set()
        await self.may_release.wait()
        self.owned = set()


class Member:
    """One member of the group: its app, its reader and the chunks that came."""

    def __init__(self, settings: Settings, positions: Positions, conf: Mapping[str, Any]) -> None:
        self.positions = positions
        self.events: list[Any] = []
        self.may_take = asyncio.Event()
        self.may_take.set()
        self.app: faust.App = faust_app(settings, GROUP)
        for name, value in {"broker_commit_interval": 0.2, **conf}.items():
            setattr(self.app.conf, name, value)
        self.transport = cast(ChunkTransport, self.app.transport)
        self.transport.reader = positions
        topic = self.app.topic(settings.prefix + "orders", value_type=None, key_type=None)
        self.app.agent(topic, name=GROUP, concurrency=1)(self._consume)

    async def _consume(self, stream: Any) -> None:
        async for event in stream.noack().events():
            await self.may_take.wait()
            self.events.append(event)

    @property
    def consumer(self) -> ChunkConsumer:
        found = self.app.consumer
        assert isinstance(found, ChunkConsumer)
        return found

    @property
    def chunks(self) -> list[Chunk]:
        return [event.value for event in self.events]

    def records(self) -> int:
        return sum(len(chunk.records) for chunk in self.chunks)

    def offsets(self) -> dict[int, list[int]]:
        """Of every record that came, by partition, in the order in which they came."""
        found: dict[int, list[int]] = {n: [] for n in range(PARTITIONS)}
        for chunk in self.chunks:
            found[chunk.partition] += [record.offset for record in chunk.records]
        return found

    def acknowledge(self, events: Sequence[Any]) -> None:
        for event in events:
            event.message.ack(self.consumer)


@asynccontextmanager
async def member(
    settings: Settings, positions: Positions | None = None, **conf: Any
) -> AsyncIterator[Member]:
    """A member that joins; when it is in, its reader has been asked for positions."""
    found = Member(settings, positions or Positions(), conf)
    found.app.finalize()
    joining = asyncio.create_task(found.app.start())
    try:
        yield found
    finally:
        found.may_take.set()
        found.positions.may_release.set()
        found.positions.may_resume.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(joining, 10)
        await asyncio.wait_for(found.app.stop(), 10)


async def until(
    true: Callable[[], Any] | Callable[[], Awaitable[Any]], seconds: float = 20
) -> None:
    async with asyncio.timeout(seconds):
        while True:
            answer = true()
            if (await answer) if isinstance(answer, Awaitable) else answer:
                return
            await asyncio.sleep(0.02)


def tps(settings: Settings) -> list[TopicPartition]:
    return [TopicPartition(settings.prefix + "orders", n) for n in range(PARTITIONS)]


@asynccontextmanager
async def bystander(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    """Who asks and tells Kafka about the group's offsets, without being in it."""
    async with AIOKafkaConsumer(
        bootstrap_servers=settings.servers.kafka,
        group_id=f"{settings.prefix}{GROUP}",
        enable_auto_commit=False,
    ) as consumer:
        consumer.assign(tps(settings))
        yield consumer


async def committed(settings: Settings) -> dict[int, int | None]:
    async with bystander(settings) as consumer:
        return {tp.partition: await consumer.committed(tp) for tp in tps(settings)}


async def ends(settings: Settings) -> dict[int, int]:
    async with bystander(settings) as consumer:
        found = await consumer.end_offsets(tps(settings))
        return {tp.partition: end for tp, end in found.items()}


async def test_what_a_fetch_brings_for_a_partition_is_one_message(
    settings: Settings, log: Log
) -> None:
    await appended(log, 9_000)
    async with member(settings) as one:
        await until(lambda: one.records() == 9_000)
        assert len(one.events) <= 20
        assert one.offsets() == {n: list(range(end)) for n, end in (await ends(settings)).items()}
        for event in one.events:
            assert event.message.offset == event.value.records[-1].offset
            assert {record.partition for record in event.value.records} == {event.value.partition}
        # What comes later is delivered as well.
        await appended(log, 10, start=9_000)
        await until(lambda: one.records() == 9_010)


async def test_an_acknowledged_chunk_is_committed_whole_and_no_other(
    settings: Settings, log: Log
) -> None:
    await appended(log, 600)
    last = await ends(settings)
    async with member(settings) as one:
        await until(lambda: one.records() == 600)
        held = [event for event in one.events if event.value.partition == 2]
        one.acknowledge([event for event in one.events if event.value.partition != 2])

        async def two_are_committed() -> bool:
            return await committed(settings) == {0: last[0], 1: last[1], 2: None}

        await until(two_are_committed)
        await asyncio.sleep(0.5)
        assert await two_are_committed()
        one.acknowledge(held)

        async def all_are_committed() -> bool:
            return await committed(settings) == last

        await until(all_are_committed)


async def test_reading_goes_on_where_the_reader_says_whatever_kafka_was_told(
    settings: Settings, log: Log
) -> None:
    await appended(log, 600)
    told = {tp: OffsetAndMetadata(100, "") for tp in tps(settings)}
    async with bystander(settings) as consumer:
        await consumer.commit(told)
    first, second, _ = (TP(*tp) for tp in tps(settings))
    async with member(settings, Positions({first: 7, second: 150})) as one:
        last = await ends(settings)
        await until(lambda: one.records() == 600 - 7 - 150)
        assert one.offsets() == {
            0: list(range(7, last[0])),
            1: list(range(150, last[1])),
            2: list(range(last[2])),
        }


async def test_a_new_member_reads_nothing_before_the_old_one_has_ended_its_work(
    settings: Settings, log: Log
) -> None:
    """A rebalance in the middle of a chunk: no loss, no doubling, no partition idle."""
    await appended(log, 3_000)
    applied: dict[TP, int] = {}
    async with member(settings, Positions(applied)) as one:
        await until(lambda: one.records() == 3_000)
        begun = len(one.events)
        one.positions.releasing.clear()
        one.positions.may_release.clear()  # a commit is under way
        async with member(settings, Positions(applied)) as two:
            await until(one.positions.releasing.is_set)
            await appended(log, 300, start=3_000)
            await asyncio.sleep(1.0)
            assert two.positions.seeks == []
            assert two.events == []
            # The commit ends: all that came before counts.
            for chunk in one.chunks[:begun]:
                applied[TP(chunk.topic, chunk.partition)] = chunk.records[-1].offset + 1
            one.positions.may_release.set()
            await until(lambda: two.positions.seeks and len(one.positions.seeks) == 2)
            assert one.positions.owned | two.positions.owned == {TP(*tp) for tp in tps(settings)}
            assert not one.positions.owned & two.positions.owned
            assert one.positions.owned
            assert two.positions.owned

            def counted() -> list[tuple[int, int]]:
                last = one.positions.seeks[-1]
                chunks = [chunk for chunk in one.chunks[begun:] if chunk.seek == last]
                return [
                    (chunk.partition, record.offset)
                    for chunk in chunks + two.chunks
                    for record in chunk.records
                ]

            await until(lambda: len(counted()) >= 300)
            last_offsets = await ends(settings)
            assert sorted(counted()) == [
                (tp.partition, offset)
                for tp in tps(settings)
                for offset in range(applied[TP(*tp)], last_offsets[tp.partition])
            ]
            # It works on: what comes to any partition is read by someone.
            await appended(log, 300, start=3_300)
            await until(lambda: len(counted()) == 600)


async def test_a_partition_that_is_left_behind_is_taken_over(settings: Settings, log: Log) -> None:
    positions = Positions()
    async with member(settings, positions) as one:
        async with member(settings) as two:
            await until(lambda: one.positions.owned and two.positions.owned)
            await until(lambda: len(one.positions.owned | two.positions.owned) == PARTITIONS)
        await until(lambda: len(one.positions.owned) == PARTITIONS)
        begun = len(one.events)
        await appended(log, 300)
        await until(lambda: sum(len(chunk.records) for chunk in one.chunks[begun:]) == 300)


async def test_a_chunk_bears_the_number_of_the_seek_it_was_fetched_after(
    settings: Settings, log: Log
) -> None:
    await appended(log, 600)
    async with member(settings) as one:
        await until(lambda: one.records() == 600)
        assert {chunk.seek for chunk in one.chunks} == {1} == set(one.positions.seeks)
        await one.consumer.perform_seek()
        await until(lambda: one.records() == 1_200)
        assert {chunk.seek for chunk in one.chunks} == {1, 2} == set(one.positions.seeks)
        again = [chunk for chunk in one.chunks if chunk.seek == 2]
        assert sum(len(chunk.records) for chunk in again) == 600


def disturb(monkeypatch: pytest.MonkeyPatch, disturbance: Callable[[ChunkConsumer], Any]) -> None:
    """Lets something happen between the first poll that brings anything and its delivery."""
    poll, done = ChunkConsumer._wait_next_records, asyncio.Event()

    async def disturbed(consumer: ChunkConsumer, timeout: float) -> Any:
        fetched = await poll(consumer, timeout)
        if fetched[0] and not done.is_set():
            done.set()
            await disturbance(consumer)
        return fetched

    monkeypatch.setattr(ChunkConsumer, "_wait_next_records", disturbed)


@pytest.mark.parametrize("start", [0, 50])
async def test_what_was_fetched_before_a_seek_is_not_delivered_after_it(
    settings: Settings, log: Log, start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await appended(log, 600)
    last = await ends(settings)
    positions = Positions()

    async def seek(consumer: ChunkConsumer) -> None:
        positions.applied.update({TP(*tp): start for tp in tps(settings)})
        await consumer.perform_seek()

    disturb(monkeypatch, seek)
    async with member(settings, positions) as one:
        await until(lambda: one.records() >= 600 - 3 * start)
        await asyncio.sleep(0.3)
        assert one.offsets() == {n: list(range(start, end)) for n, end in last.items()}
        assert {chunk.seek for chunk in one.chunks} == {2}


async def test_what_a_poll_brings_that_began_before_a_seek_is_not_lost(
    settings: Settings, log: Log
) -> None:
    """While nothing comes a poll waits a second for something, and a rebalance may be quicker."""
    async with member(settings) as one:
        await until(lambda: one.positions.seeks)
        await asyncio.sleep(0.2)
        for seek in (2, 3, 4):
            await one.consumer.perform_seek()
            already = one.records()
            await appended(log, 30, start=100 * seek)
            # Each seek goes back to the beginning.
            await until(lambda: one.records() == already + 30 * (seek - 1), seconds=5)  # noqa: B023


async def test_what_a_poll_brings_while_the_flow_is_stopped_is_not_lost(
    settings: Settings, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of a rebalance the flow is resumed after the seek, and a poll may come between."""
    await appended(log, 600)
    last = await ends(settings)

    async def stop(consumer: ChunkConsumer) -> None:
        consumer.stop_flow()
        asyncio.get_running_loop().call_later(0.2, consumer.resume_flow)

    disturb(monkeypatch, stop)
    async with member(settings) as one:
        await until(lambda: one.records() == 600)
        assert one.offsets() == {n: list(range(end)) for n, end in last.items()}


async def test_a_reader_that_takes_nothing_stops_the_fetching_and_loses_nothing(
    settings: Settings, log: Log
) -> None:
    """The queue is full: what waits is bounded, and comes in order when there is room again."""
    await appended(log, 12_000)
    last = await ends(settings)
    small: dict[str, Any] = {"stream_buffer_maxsize": 4, "broker_max_poll_records": 100}
    async with member(settings, **small) as one:
        one.may_take.clear()

        async def positions() -> list[int]:
            found = [await one.consumer._thread.position(TP(*tp)) for tp in tps(settings)]
            return [position or 0 for position in found]

        await until(lambda: one.positions.seeks)
        before: list[int] = []
        async with asyncio.timeout(20):
            while (now := await positions()) != before or not sum(now):
                before = now
                await asyncio.sleep(0.6)
        assert one.events == []
        assert sum(before) <= 20 * 100
        one.may_take.set()
        await until(lambda: one.records() == sum(last.values()))
        assert one.offsets() == {n: list(range(end)) for n, end in last.items()}


async def test_a_member_stops_at_once_in_the_middle_of_a_chunk(
    settings: Settings, log: Log
) -> None:
    await appended(log, 3_000)
    async with member(settings) as one:
        one.may_take.clear()
        await until(lambda: one.positions.seeks)
        await asyncio.sleep(0.5)
        async with asyncio.timeout(10):
            await one.app.stop()
    # Nothing was acknowledged, so nothing was committed, and another reads it all.
    assert set((await committed(settings)).values()) == {None}
    async with member(settings) as two:
        await until(lambda: two.records() == 3_000, seconds=25)


class Changed(Exception):
    """What a reader raises when it must not read on."""


async def test_a_reader_that_refuses_to_read_on_ends_the_worker_before_anything_is_read(
    settings: Settings, log: Log
) -> None:
    class Reluctant(Positions):
        async def resume(self, partitions: Set[TP], seek: int) -> Mapping[TP, int]:
            raise Changed

    await appended(log, 300)
    with suppress(Changed):
        async with member(settings, Reluctant()) as one:
            await until(lambda: one.app.crashed)
    assert one.app.crashed
    assert one.events == []


async def test_a_reader_that_takes_too_long_to_read_on_ends_the_worker(
    settings: Settings, log: Log
) -> None:
    """Else Faust would go on after a while as if it had been told where."""
    with suppress(TimeoutError):
        async with member(settings) as one:
            await until(lambda: one.positions.seeks)
            with catch_warnings(action="ignore", category=AlreadyConfiguredWarning):
                one.app.conf.broker_request_timeout = 0.5  # not before: it must join unhurried
            one.positions.may_resume.clear()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(one.consumer.perform_seek(), 20)
            await until(lambda: one.app.crashed)
    assert one.app.crashed
