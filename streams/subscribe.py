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
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain, repeat
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, ParamSpec, Protocol, TypeVar
from uuid import UUID

import msgspec
import numpy as np
import structlog
import xxhash
from aiokafka import ConsumerRecord
from faust.types import TP
from msgspec import Struct

from streams import codec
from streams.codec import Fact, Refused
from streams.crash_points import reached
from streams.dedupe import Seen, Window
from streams.events import Event
from streams.log import APPEND_SECONDS
from streams.readback import log_ends, read_back
from streams.topic_ids import described
from streams.topics import key_of, partition_of
from streams.transport import FRESH_SECONDS, Chunk

logger = structlog.get_logger()

Prepared = TypeVar("Prepared")
P = ParamSpec("P")
T = TypeVar("T")

_RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_RELEASE_SECONDS = 8.0
_WORTH_A_THREAD = 200
_RECORD_BYTES = 4096  # a larger record counts as several, where their number is bounded
_REBUILD = "to make the figures those of the log as it is now, run `tillstream rebuild all`"
# What is received now may take as long to be appended as a producer is patient (see `Log`): so long
# a later record of a partition may bear an earlier time.
_UNSEEN = timedelta(seconds=FRESH_SECONDS + APPEND_SECONDS)


class Partition(NamedTuple):
    """A partition of a topic by its own name, without the prefix it may bear in Kafka."""

    topic: str
    number: int


class Quarantined(Struct, frozen=True):
    """A record that is no event, kept whole with its reason."""

    offset: int
    event_id: str | None
    field: str
    reason: str
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    shop: str | None = None


class Part(Struct, frozen=True):
    """One partition's share of a batch: every offset in [first, next) is accounted for."""

    partition: Partition
    first: int
    next: int
    facts: Sequence[Fact]
    quarantined: Sequence[Quarantined]
    repeated: Sequence[int]
    last_digest: int
    until_ms: int


class Batch(Struct, frozen=True):
    """What one transaction applies: parts of distinct partitions, sorted by partition."""

    parts: Sequence[Part]
    seek: int

    def records(self) -> int:
        """How many offsets it accounts for."""
        return sum(part.next - part.first for part in self.parts)

    def facts(self, topics: Collection[str]) -> list[Fact]:
        """Those of these topics, partition by partition."""
        return [
            fact for part in self.parts if part.partition.topic in topics for fact in part.facts
        ]


class Progress(Struct, frozen=True):
    """What the store knows of a partition: where to go on, what stood before, and which records a
    person has told the group to pass by, with the reasons."""

    next_offset: int
    topic_id: UUID
    last_digest: int | None
    skipped: Mapping[int, str] = {}


class Moved(Exception):
    """The store's offsets are not where a batch begins; nothing of it was applied."""

    def __init__(self, next_offsets: Mapping[Partition, int]) -> None:
        super().__init__(f"the store has moved on: {dict(next_offsets)}")
        self.next_offsets = next_offsets


class Transient(Exception):
    """The store could not be reached, or asked for another try. The outcome may be unknown."""


class LogChanged(Exception):
    """The log is not the one that was read before. Reading on would skip or double: rebuild."""


class Store(Protocol[Prepared]):
    """Where a group's progress and read models live."""

    async def progress(self, ids: Mapping[Partition, UUID]) -> Mapping[Partition, Progress]:
        """Of each partition; one that was never read begins at 0 of the topic with this id."""

    async def prepare(self, batch: Batch, before: Prepared | None = None) -> Prepared:
        """Folds a batch, as if the one before were applied. Raises Transient."""

    async def commit(self, prepared: Prepared) -> None:
        """Applies a batch and its offsets, wholly or not at all. Raises Moved, Transient."""

    async def caught_up(self, next_offsets: Mapping[Partition, int], at: datetime) -> None:
        """Notes that nothing was waiting behind these offsets at that time."""

    async def resumed(self) -> None:
        """Reading begins again, perhaps after a crash: what is derived may be behind."""


def digest(record: ConsumerRecord) -> int:
    """What tells one record from another, as a signed 64-bit integer for Postgres."""
    return xxhash.xxh3_64_intdigest(record.value or b"") - (1 << 63)


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

    async def resume(self, partitions: Set[TP], seek: int) -> Mapping[TP, int]:
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

    def _partition(self, tp: TP) -> Partition:
        return Partition(tp.topic.removeprefix(self._prefix), tp.partition)

    async def _check(self, wanted: Mapping[Partition, TP]) -> Mapping[Partition, Progress]:
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
        wanted: Mapping[Partition, TP],
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
            partition = self._partition(TP(tp.topic, tp.partition))
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
            behind = batch.records() >= _WORTH_A_THREAD
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
                records[self._partition(TP(chunk.topic, chunk.partition))].extend(chunk.records)
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

    async def note_caught_up(self, highwater: Callable[[TP], int | None]) -> None:
        """Tells the store up to when the figures are complete, where nothing waits."""
        at = self._clock() - _UNSEEN
        idle = {
            partition: offset
            for partition, offset in self._applied.items()
            if highwater(TP(self._prefix + partition.topic, partition.number)) == offset
        }
        if idle and not self._committing.locked():
            await self._store.caught_up(idle, at)

    async def watch_log(self) -> None:
        """Whether it still is the log that was read so far: Kafka says nothing of a topic that was
        recreated, or of a tail that was lost and has grown again, to who is reading already.

        Raises LogChanged, or a KafkaError or ReadBackFailed where Kafka does not answer.
        """
        known = {TP(self._prefix + p.topic, p.number): (p, at) for p, at in self._known.items()}
        if not known:
            return
        topics = await described(self._bootstrap, {tp.topic for tp in known})
        ends = await log_ends(self._bootstrap, list(known))
        for tp, (partition, progress) in known.items():
            check_log(partition, progress, topics[tp.topic].id, *ends[tp])
        last = {tp: (at.next_offset - 1, at.next_offset) for tp, (_, at) in known.items()}
        there = {tp: span for tp, span in last.items() if span[0] >= max(ends[tp][0], 0)}
        async for tp, records in read_back(self._bootstrap, there):
            check_last(*known[TP(tp.topic, tp.partition)], records[-1])


async def aside(size: int, compute: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Computes in a thread, so that the loop can go on talking to Postgres meanwhile; at once, if
    there is so little that handing it over would take longer."""
    if size < _WORTH_A_THREAD:
        return compute(*args, **kwargs)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_ASIDE, partial(compute, *args, **kwargs))


# One thread: two would only take the interpreter from each other.
_ASIDE = ThreadPoolExecutor(1, "aside")


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


def identify(record: ConsumerRecord) -> tuple[Event | Refused, int, int]:
    """A record's envelope, or why it has none, with what the window knows it by."""
    try:
        event = codec.decode_envelope(record.value)
    except Refused as refused:
        # Nothing repeats a record that has no id: its own position stands in for one.
        return refused, xxhash.xxh3_64_intdigest(b"\0%d" % record.offset), 0
    return event, codec.identity(event), codec.fingerprint(event)


def judge(
    records: Sequence[ConsumerRecord], ids: Sequence[int], prints: Sequence[int], window: Window
) -> Sequence[int]:
    """What the window says of each record (a `Seen`); from now on it knows them."""
    offsets = np.fromiter((record.offset for record in records), np.int64, len(records))
    seen = window.take(offsets, np.array(ids, np.uint64), np.array(prints, np.uint64))
    found: list[int] = seen.tolist()
    return found


def remember(records: Sequence[ConsumerRecord], window: Window) -> None:
    """Lets the window know records that were applied before."""
    _, ids, prints = zip(*map(identify, records), strict=True)
    judge(records, ids, prints, window)


def decode_part(
    partition: Partition,
    records: Sequence[ConsumerRecord],
    window: Window,
    partitions: int,
    skipped: Mapping[int, str] = MappingProxyType({}),
) -> Part:
    """Facts, repeats and what is to be quarantined, of the next records of one of so many
    partitions; of those, some are passed by at a person's word."""
    first, last = records[0].offset, records[-1].offset
    if last - first + 1 != len(records):
        raise LogChanged(f"{partition}: offsets {first} to {last} came with a gap among them")
    events: list[Event | Refused] = []
    found: list[Fact | Refused] = []
    ids, prints = [], []
    for record in records:
        event, number, print_ = identify(record)
        ids.append(number)
        prints.append(print_)
        events.append(event)
        found.append(_fact(partition, record, event, partitions))
    facts: list[Fact] = []
    quarantined: list[Quarantined] = []
    repeated: list[int] = []
    seen = judge(records, ids, prints, window)
    for record, event, fact, what in zip(records, events, found, seen, strict=True):
        if what == _REPEATED:
            repeated.append(record.offset)
        elif what == _CONTRADICTED:
            quarantined.append(_quarantine(record, event, _OTHERWISE))
        elif isinstance(fact, Refused):
            quarantined.append(_quarantine(record, event, fact))
        elif record.offset in skipped:
            reason = Refused("", f"skipped: {skipped[record.offset]}")
            quarantined.append(_quarantine(record, event, reason))
        else:
            facts.append(fact)
    return Part(
        partition,
        first=first,
        next=last + 1,
        facts=facts,
        quarantined=quarantined,
        repeated=repeated,
        last_digest=digest(records[-1]),
        until_ms=records[-1].timestamp - int(APPEND_SECONDS * 1000),
    )


_REPEATED, _CONTRADICTED = int(Seen.REPEATED), int(Seen.CONTRADICTED)
_OTHERWISE = Refused("id", "used before for an event that says something else")


def _fact(
    partition: Partition, record: ConsumerRecord, event: Event | Refused, partitions: int
) -> Fact | Refused:
    """What a record says, or why it says nothing."""
    if isinstance(event, Refused):
        return event
    if record.key != key_of(event):
        return Refused("subject", "the record's key is not that of the event's subject")
    topic, number = partition
    if partition_of(record.key, partitions) != number:
        # Another producer's partitioner: its copy of a subject would live beside ours.
        return Refused(
            "subject", f"its key lives on partition {partition_of(record.key, partitions)}"
        )
    try:
        return Fact(topic, number, record.offset, event, codec.decode_data(event, topic))
    except Refused as refused:
        return refused


def _quarantine(record: ConsumerRecord, event: Event | Refused, refused: Refused) -> Quarantined:
    return Quarantined(
        record.offset,
        None if isinstance(event, Refused) else event.id,
        refused.field,
        refused.reason,
        record.key,
        record.value,
        record.timestamp,
        codec.shop_of(record.value) if isinstance(event, Refused) else event.shop,
    )


def after(batch: Batch, next_offsets: Mapping[Partition, int]) -> Batch:
    """What is left of a batch where the store is ahead of it.

    Raises LogChanged where the store is behind: it was set back while we were reading.
    """
    parts = []
    for part in batch.parts:
        start = next_offsets.get(part.partition, part.first)
        if start < part.first:
            raise LogChanged(f"{part.partition}: the store is at {start}, read to {part.first}")
        if start < part.next:
            parts.append(_trim(part, start))
    return Batch(parts, batch.seek)


def _trim(part: Part, start: int) -> Part:
    return Part(
        part.partition,
        first=start,
        next=part.next,
        facts=[fact for fact in part.facts if fact.offset >= start],
        quarantined=[record for record in part.quarantined if record.offset >= start],
        repeated=[offset for offset in part.repeated if offset >= start],
        last_digest=part.last_digest,
        until_ms=part.until_ms,
    )


def check_log(
    partition: Partition, progress: Progress, topic_id: UUID, start: int, end: int
) -> None:
    """Raises LogChanged where reading on would skip or double events."""
    name = f"{partition.topic}:{partition.number}"
    if progress.topic_id != topic_id:
        raise LogChanged(f"{name}: the topic was recreated; {_REBUILD}")
    if end < progress.next_offset:
        raise LogChanged(
            f"{name}: the log ends at {end}, but was read to {progress.next_offset}: "
            f"its tail was lost; {_REBUILD}"
        )
    if start > progress.next_offset:
        raise LogChanged(
            f"{name}: the log begins at {start}, but was read only to {progress.next_offset}: "
            f"retention has passed the reader; {_REBUILD}"
        )


def check_last(partition: Partition, progress: Progress, record: ConsumerRecord) -> None:
    """Raises LogChanged where another record stands where the last one applied stood."""
    if progress.last_digest is not None and progress.last_digest != digest(record):
        raise LogChanged(
            f"{partition.topic}:{partition.number}:{record.offset}: another record stands where "
            f"the last one applied stood; {_REBUILD}"
        )
