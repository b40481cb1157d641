"""Playing the past into the log, at its own pace or faster, and waiting until it is applied.

To do so again is harmless: the events keep their ids, and each counts once.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from heapq import heappop, heappush
from itertools import chain, repeat
from typing import NamedTuple, Protocol

from streams.events import Event
from streams.log import LogUnavailable, Position
from streams.topics import key_of, partition_of

LANES = 4
_BATCH_EVENTS = 400
_BATCH_BYTES = 512 * 1024
_RETRY_SECONDS = (0.25, 0.5, 1.0, 2.0, 5.0)
_POLL_SECONDS = 0.1
_STALLED_SECONDS = 20.0

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[object]]
Partition = tuple[str, int]


class Entry(NamedTuple):
    """An event of the past, and how many lines of its source it is made of."""

    event: Event
    lines: int


class Appends(Protocol):
    """What a replay needs of the log."""

    async def append(self, events: Sequence[Event]) -> list[Position]:
        """Raises LogUnavailable."""


OnSent = Callable[[Sequence[Entry], Sequence[Position]], None]
OnRefused = Callable[[LogUnavailable], None]


async def replay(
    log: Appends,
    entries: Iterable[Entry],
    *,
    speed: float | None = None,
    on_sent: OnSent = lambda *_: None,
    on_refused: OnRefused = lambda *_: None,
    clock: Clock = time.monotonic,
    sleep: Sleep = asyncio.sleep,
) -> list[Position]:
    """Sends events, given in order of time, until Kafka has them all; each partition's last.

    With a speed, the gaps between their times are kept, that many times shorter. Events of one
    key go through one lane, one batch after the other, so that not even a retry changes their
    order; among keys it may change by a few batches.
    """
    lanes: list[asyncio.Queue[Entry | None]] = [asyncio.Queue(_BATCH_EVENTS) for _ in range(LANES)]
    last: dict[Partition, Position] = {}

    async def send(lane: asyncio.Queue[Entry | None]) -> None:
        while batch := await _next_batch(lane):
            positions = await _append(log, [entry.event for entry in batch], on_refused, sleep)
            for position in positions:
                partition = position.topic, position.partition
                last[partition] = max(position, last.get(partition, position))
            on_sent(batch, positions)

    async with asyncio.TaskGroup() as tasks:
        for lane in lanes:
            tasks.create_task(send(lane))
        begun = clock()
        for due, entry in schedule(entries, speed):
            if (wait := begun + due - clock()) > 0:
                await sleep(wait)
            await lanes[partition_of(key_of(entry.event), LANES)].put(entry)
        for lane in lanes:
            await lane.put(None)
    return [last[partition] for partition in sorted(last)]


def schedule(entries: Iterable[Entry], speed: float | None) -> Iterator[tuple[float, Entry]]:
    """Each entry with the second, since the first, at which it is due; without a speed, 0."""
    first = None
    for entry in entries:
        first = first or entry.event.time
        yield (entry.event.time - first).total_seconds() / speed if speed else 0.0, entry


async def _next_batch(lane: asyncio.Queue[Entry | None]) -> list[Entry]:
    """All that waits in a lane, up to the size of a batch; nothing at its end."""
    batch: list[Entry] = []
    size = 0
    while not batch or (not lane.empty() and len(batch) < _BATCH_EVENTS and size < _BATCH_BYTES):
        entry = await lane.get()
        if entry is None:
            lane.put_nowait(None)  # for the next call
            break
        batch.append(entry)
        size += len(entry.event.data)
    return batch


async def _append(
    log: Appends, events: Sequence[Event], on_refused: OnRefused, sleep: Sleep
) -> list[Position]:
    """Appends, as often as it takes: what arrived already will count once."""
    for seconds in chain(_RETRY_SECONDS, repeat(_RETRY_SECONDS[-1])):
        try:
            return await log.append(events)
        except LogUnavailable as refused:
            on_refused(refused)
        await sleep(seconds)
    raise AssertionError


class Sent:
    """What Kafka has acknowledged, and how much of it those who read these topics have applied."""

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = topics
        self._waiting: dict[Partition, list[tuple[int, int]]] = defaultdict(list)
        self.events = 0
        self.lines = 0
        self.read_lines = 0
        self.applied_lines = 0

    @property
    def waiting(self) -> bool:
        """Whether something of it is not applied yet. What nobody reads is not waited for."""
        return any(self._waiting.values())

    def note(self, entries: Sequence[Entry], positions: Sequence[Position]) -> None:
        """Takes note of what Kafka has acknowledged: for `replay`'s `on_sent`."""
        for entry, position in zip(entries, positions, strict=True):
            self.events += 1
            self.lines += entry.lines
            if position.topic in self._topics:
                self.read_lines += entry.lines
                waiting = self._waiting[position.topic, position.partition]
                heappush(waiting, (position.offset, entry.lines))

    def note_applied(self, next_offsets: Mapping[Partition, int]) -> None:
        """Takes note of how far each partition is applied."""
        for partition, waiting in self._waiting.items():
            while waiting and waiting[0][0] < next_offsets.get(partition, 0):
                self.applied_lines += heappop(waiting)[1]


async def wait_applied(
    progress: Callable[[], Awaitable[Mapping[Partition, int]]],
    sent: Sent,
    all_sent: asyncio.Event,
    *,
    on_progress: Callable[[], None] = lambda: None,
    on_stalled: Callable[[], None] = lambda: None,
    clock: Clock = time.monotonic,
    sleep: Sleep = asyncio.sleep,
) -> None:
    """Follows what is sent until all of it is sent and applied.

    `progress` tells the next offset of each partition. `on_stalled` is called where something
    waits and nothing has moved for a while, once for each time that happens.
    """
    before: Mapping[Partition, int] = {}
    moved_at, stalled = clock(), False
    while True:
        complete = all_sent.is_set()
        next_offsets = await progress()
        sent.note_applied(next_offsets)
        on_progress()
        if complete and not sent.waiting:
            return
        if next_offsets != before or not sent.waiting:
            before, moved_at, stalled = next_offsets, clock(), False
        elif not stalled and clock() - moved_at >= _STALLED_SECONDS:
            stalled = True
            on_stalled()
        await sleep(_POLL_SECONDS)
