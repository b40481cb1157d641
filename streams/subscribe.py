"""One group's reader: chunks in, decoded and deduplicated, handed on in merged commits.

    agent → inbox → decode, dedupe → store.prepare → store.commit (one transaction) → ack

While one batch is being committed the next is decoded and folded. Nothing here keeps a position:
the store's transaction does, and whenever the two disagree the store is right.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import (
    AsyncIterable,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
    Set,
)
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain, repeat
from typing import Any, Generic, TypeVar

import msgspec
import structlog
from aiokafka import ConsumerRecord, TopicPartition

from streams.aside import WORTH_A_THREAD, aside
from streams.batch import (
    Batch,
    LogChanged,
    Moved,
    Partition,
    Prepared,
    Progress,
    Store,
    Transient,
    after,
)
from streams.chunk import FRESH_SECONDS, Chunk
from streams.crash_points import reached
from streams.dedupe import Window
from streams.log import APPEND_SECONDS
from streams.readback import log_ends, read_back
from streams.records import check_last, check_log, decode_part, remember
from streams.topic_ids import described

logger = structlog.get_logger()


T = TypeVar("T")

_RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_RELEASE_SECONDS = 8.0
_RECORD_BYTES = 4096  # a larger record counts as several, where their number is bounded
# What is received now may take as long to be appended as a producer is patient (see `Log`): so long
# a later record of a partition may bear an earlier time.
_UNSEEN = timedelta(seconds=FRESH_SECONDS + APPEND_SECONDS)


class GroupReader(Generic[Prepared]):
    """Reads a group's topics for one worker. It is the transport's `Reader`."""

    def __init__(
        self,
        store: Store[Prepared],
        bootstrap: str,
        prefix: str,
        window: int,
        commit_records: int,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._window = window
        self._commit_records = commit_records
        self._clock = clock
        self._seek = 0
        self._windows: dict[Partition, Window] = {}
        self._partitions: Mapping[str, int] = {}  # of each topic
        self._applied: dict[Partition, int] = {}
        # As of the last record applied. Kept when partitions go, until others come: what was read
        # is to be there whoever reads on, and a topic that is deleted takes them away, too.
        self._known: dict[Partition, Progress] = {}
        self._inbox = _Inbox(2 * commit_records)
        self._decoding = asyncio.Lock()
        self._committing = asyncio.Lock()

    @property
    def partitions(self) -> Collection[Partition]:
        """What it reads at this moment. May be asked from any thread."""
        return tuple(self._applied)

    # What the transport asks.

    async def resume(
        self, partitions: Set[TopicPartition], seek: int
    ) -> Mapping[TopicPartition, int]:
        """Checks the log against what was read before and rebuilds the dedupe windows.

        Raises LogChanged.
        """
        self._seek = seek
        await self._inbox.clear()
        async with self._decoding, self._committing:
            wanted = {self._partition(tp): tp for tp in partitions}
            try:
                progress = await self._check(wanted)
            except LogChanged as changed:
                logger.critical("reading stops: the log has changed", reason=str(changed))
                raise
            self._applied = {p: known.next_offset for p, known in progress.items()}
            self._known = dict(progress)
        await self._store.resumed()
        reached("resumed")
        logger.info("reading on", partitions=len(wanted), offsets=sum(self._applied.values()))
        return {tp: progress[partition].next_offset for partition, tp in wanted.items()}

    async def release(self) -> None:
        """Ends what is under way; a commit that takes too long is fenced by its offset row."""
        self._seek = -1
        self._applied = {}
        await self._inbox.clear()
        try:
            async with asyncio.timeout(_RELEASE_SECONDS), self._committing:
                pass
        except TimeoutError:
            logger.warning("a commit was still under way when partitions went")

    def _partition(self, tp: TopicPartition) -> Partition:
        return Partition(tp.topic.removeprefix(self._prefix), tp.partition)

    async def _check(
        self, wanted: Mapping[Partition, TopicPartition]
    ) -> Mapping[Partition, Progress]:
        if not wanted:
            return {}
        topics = await described(self._bootstrap, {tp.topic for tp in wanted.values()})
        self._partitions = {
            name.removeprefix(self._prefix): topic.partitions for name, topic in topics.items()
        }
        ends = await log_ends(self._bootstrap, list(wanted.values()))
        known = {p: topics[tp.topic].id for p, tp in wanted.items()}
        progress = await self._persist(partial(self._store.progress, known))
        for partition, tp in wanted.items():
            check_log(partition, progress[partition], topics[tp.topic].id, *ends[tp])
        self._windows = {
            p: kept
            if (kept := self._windows.get(p)) and kept.end == progress[p].next_offset
            else Window(self._window)
            for p in wanted
        }
        await self._read_back(wanted, progress, {p: ends[tp][0] for p, tp in wanted.items()})
        return progress

    async def _read_back(
        self,
        wanted: Mapping[Partition, TopicPartition],
        progress: Mapping[Partition, Progress],
        starts: Mapping[Partition, int],
    ) -> None:
        """Fills new windows, and holds the last record applied against what the log has there."""
        stretches = {}
        for partition, tp in wanted.items():
            end = progress[partition].next_offset
            new = self._windows[partition].end != end
            first = end - (self._window if new else 1)
            stretches[tp] = (max(first, starts[partition], 0), end)
        async for tp, records in read_back(self._bootstrap, stretches):
            partition = self._partition(TopicPartition(tp.topic, tp.partition))
            if self._windows[partition].end != progress[partition].next_offset:
                remember(records, self._windows[partition])
            if records[-1].offset + 1 == progress[partition].next_offset:
                check_last(partition, progress[partition], records[-1])

    # What the agent does.

    async def consume(self, stream: Any) -> None:
        """The body of the Faust agent. It never raises: that would ack what was not applied."""
        events: AsyncIterable[Any] = stream.noack().events()
        async for event in events:
            reached("fetched")
            records = event.value.records
            weight = sum(len(record.value or b"") for record in records) // _RECORD_BYTES
            await self._inbox.put(event, max(len(records), weight))

    async def apply(self, acknowledge: Callable[[Any], object]) -> None:
        """Applies what comes in, for ever. Raises what only a person can mend."""
        under_way: asyncio.Task[None] | None = None
        before: tuple[int, Prepared] | None = None
        decoding = asyncio.create_task(self._next_batch())
        while True:
            # A commit that fails must be known at once, also while nothing comes in.
            await asyncio.wait(
                {decoding, under_way} if under_way else {decoding},
                return_when=asyncio.FIRST_COMPLETED,
            )
            if under_way is not None and under_way.done():
                under_way.result()
            events, batch = await decoding
            reached("decoded")
            behind = batch.records() >= WORTH_A_THREAD
            if behind:
                decoding = asyncio.create_task(self._next_batch())
            if batch.parts:
                # A seek in between means that the batch before may never be applied.
                ground = before[1] if before and before[0] == batch.seek else None
                prepared = await self._persist(partial(self._store.prepare, batch, ground))
                reached("folded")
                before = (batch.seek, prepared)
                if under_way is not None:
                    await under_way
                under_way = asyncio.create_task(self._commit(batch, prepared, events, acknowledge))
            if not behind:
                # What comes in meanwhile makes one batch, sooner than several in a row would be.
                if under_way is not None:
                    await under_way
                decoding = asyncio.create_task(self._next_batch())

    async def _next_batch(self) -> tuple[Sequence[Any], Batch]:
        """What comes in next, decoded: the events of Faust, and the batch they make."""
        events = await self._inbox.take(self._commit_records)
        async with self._decoding:
            chunks = [event.value for event in events]
            size = sum(len(chunk.records) for chunk in chunks)
            return events, await aside(size, self._decode, chunks)

    def _decode(self, chunks: Iterable[Chunk]) -> Batch:
        seek = self._seek
        records: dict[Partition, list[ConsumerRecord]] = defaultdict(list)
        for chunk in chunks:
            if chunk.seek == seek:
                records[self._partition(TopicPartition(chunk.topic, chunk.partition))].extend(
                    chunk.records
                )
        parts = [
            decode_part(
                p, records[p], self._windows[p], self._partitions[p.topic], self._known[p].skipped
            )
            for p in sorted(records)
        ]
        return Batch(parts, seek)

    async def _commit(
        self,
        batch: Batch,
        prepared: Prepared,
        events: Sequence[Any],
        acknowledge: Callable[[Any], object],
    ) -> None:
        async with self._committing:
            reached("committing")
            left = batch
            while left.parts:
                if left.seek != self._seek:
                    return  # the partitions went, or come again from the store's own offsets
                try:
                    await self._persist(partial(self._store.commit, prepared))
                    break
                except Moved as moved:
                    # Someone else was quicker; or it was us, and the answer to a commit was lost.
                    logger.info("applied already, in part or whole", moved=str(moved))
                    left = after(left, moved.next_offsets)
                    prepared = await self._persist(partial(self._store.prepare, left))
                    await self._store.resumed()
            self._applied.update({part.partition: part.next for part in batch.parts})
            for part in batch.parts:
                if known := self._known.get(part.partition):
                    self._known[part.partition] = msgspec.structs.replace(
                        known, next_offset=part.next, last_digest=part.last_digest
                    )
        reached("acknowledging")
        for event in events:
            acknowledge(event)
        reached("acknowledged")

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Tries until the store answers."""
        for pause in chain(_RETRY_SECONDS, repeat(_RETRY_SECONDS[-1])):
            try:
                return await attempt()
            except Transient as error:
                logger.warning("will be tried again", error=str(error))
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    # What a timer does.

    async def note_caught_up(self, highwater: Callable[[TopicPartition], int | None]) -> None:
        """Tells the store up to when the figures are complete, where nothing waits."""
        at = self._clock() - _UNSEEN
        idle = {
            partition: offset
            for partition, offset in self._applied.items()
            if highwater(TopicPartition(self._prefix + partition.topic, partition.number)) == offset
        }
        if idle and not self._committing.locked():
            await self._store.caught_up(idle, at)

    async def watch_log(self) -> None:
        """Whether it still is the log that was read so far: Kafka says nothing of a topic that was
        recreated, or of a tail that was lost and has grown again, to who is reading already.

        Raises LogChanged, or a KafkaError or ReadBackFailed where Kafka does not answer.
        """
        known = {
            TopicPartition(self._prefix + p.topic, p.number): (p, at)
            for p, at in self._known.items()
        }
        if not known:
            return
        topics = await described(self._bootstrap, {tp.topic for tp in known})
        ends = await log_ends(self._bootstrap, list(known))
        for tp, (partition, progress) in known.items():
            check_log(partition, progress, topics[tp.topic].id, *ends[tp])
        last = {tp: (at.next_offset - 1, at.next_offset) for tp, (_, at) in known.items()}
        there = {tp: span for tp, span in last.items() if span[0] >= max(ends[tp][0], 0)}
        async for tp, records in read_back(self._bootstrap, there):
            check_last(*known[TopicPartition(tp.topic, tp.partition)], records[-1])


class _Inbox:
    """Chunks that wait, bounded by how many records they hold (a large one counts as several)."""

    def __init__(self, most_records: int) -> None:
        self._most = most_records
        self._waiting: deque[tuple[Any, int]] = deque()
        self._records = 0
        self._changed = asyncio.Condition()

    async def clear(self) -> None:
        """Drops what waits; whoever could not put anything in may try again."""
        async with self._changed:
            self._waiting.clear()
            self._records = 0
            self._changed.notify_all()

    async def put(self, event: Any, records: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._records < self._most)
            self._waiting.append((event, records))
            self._records += records
            self._changed.notify_all()

    async def take(self, most_records: int) -> list[Any]:
        """All that waits, up to so many records, but at least one chunk."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._waiting))
            taken = [self._pop()]
            room = most_records - taken[0][1]
            while self._waiting and self._waiting[0][1] <= room:
                taken.append(self._pop())
                room -= taken[-1][1]
            self._changed.notify_all()
        return [event for event, _ in taken]

    def _pop(self) -> tuple[Any, int]:
        event, records = self._waiting.popleft()
        self._records -= records
        return event, records
