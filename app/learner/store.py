"""The learners' progress, journal and snapshots in Postgres, and the models in memory.

A chunk is written to the journal in the transaction that moves its offsets, and learned only then.
So a crash between the two loses nothing: who comes next learns what the journal tells, and whoever
finds the next place in the journal taken knows that its own models are not what it tells.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import structlog

from app.api.completeness import CompleteTo
from app.learner.opening import opened
from ml_online import journal, snapshots
from ml_online.journal import Entry, Overtaken
from ml_online.models import Models
from ml_online.replay import facts_of
from ml_online.snapshots import Refused, Snapshot
from projections import skips
from projections.clock import ShopClock, moment
from projections.erasure import erased
from projections.store import Fenced, GroupStore, Prepared
from streams.batch import Batch, Part, Partition, Progress, Transient
from streams.codec import Fact
from streams.events import Event
from streams.outbox import enqueue

logger = structlog.get_logger()

_TURN_SECONDS = 0.002
_LOOK_SECONDS = 1.0
_OF_LATE = timedelta(days=7)
"""What was noticed before is told already, or no news any more, where models learn it again."""


def of_late(noticed: Sequence[Event], now: datetime) -> list[Event]:
    """What may not have been told when a learner died: of a journal that is learned again, all the
    rest was."""
    return [event for event in noticed if now - event.time <= _OF_LATE]


class LearnerStore(GroupStore):
    """Implements `streams.batch.Store` for a group of learners, which one process reads."""

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        group: str,
        models: Models,
        clock: ShopClock,
        key: bytes,
        snapshot_seconds: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(pool, group, (), clock, now=now)
        self.models = models
        self.loaded = False
        self._key = key
        self._snapshot_seconds = snapshot_seconds
        self._snapshot_at = time.monotonic()
        self._snapshot_seq = 0
        self._settled = True  # the models are exactly what the journal tells
        self._noticed: list[Event] = []  # and are to be told on the log
        self._telling = asyncio.Lock()
        self._complete_to: dict[Partition, datetime] = {}
        self._moved = asyncio.Event()

    # Coming up.

    async def load(self, bootstrap: str, prefix: str, window: int) -> None:
        """Makes the models what the journal tells: a snapshot, and from the log what came after.

        Raises Transient, ReadBackFailed, LogChanged, LearningFailed.
        """
        async with self._transaction() as transaction:
            end = await self._read_to(transaction)
            candidates = await snapshots.stored(transaction, self._group)
            skipped = await skips.of_group(transaction, self._group)
            self._erased = await erased(transaction)
        self._settled = False
        self.models.reset()
        left = None
        for snapshot in candidates:
            if (left := await self._restored(snapshot, end)) is not None:
                break
        if left is None:
            left = await self._from_the_beginning(end)
        self._snapshot_seq = self.models.seq
        records = sum(entry.next - entry.first for entry in left)
        logger.info("learning what the journal tells", after=self.models.seq, records=records)
        async for entry, facts in facts_of(
            bootstrap, prefix, window, left, skipped, erased=self._erased
        ):
            await self._learn(facts)
            self._noticed += of_late(self.models.noticed(), self._now())
            if entry.seq:
                self.models.passed(entry.partition, entry.next)
        async with self._transaction() as transaction:
            await skips.passed(transaction, self._group)
        self._settled = self.loaded = True
        await self._tell()

    async def _read_to(self, transaction: journal.Transaction) -> dict[Partition, int]:
        """The group's offsets; and up to when its partitions were complete."""
        rows = await transaction.fetch(
            "SELECT topic, partition, next_offset, complete_to FROM progress WHERE group_name = $1",
            self._group,
        )
        named = {Partition(row["topic"], row["partition"]): row for row in rows}
        self._complete_to = {
            partition: row["complete_to"]
            for partition, row in named.items()
            if row["complete_to"] is not None
        }
        return {partition: row["next_offset"] for partition, row in named.items()}

    async def _entries(self, after: int) -> list[Entry]:
        async with self._connection() as connection:
            return await journal.entries_after(connection, self._group, after)

    async def _restored(
        self, snapshot: Snapshot, end: Mapping[Partition, int]
    ) -> list[Entry] | None:
        """The journal's entries after a snapshot, which the models now are; None if it is not to be
        believed."""
        models = self.models
        try:
            await asyncio.to_thread(snapshots.restore, models, snapshot, self._group, self._key)
        except Refused as refused:
            logger.critical("a snapshot is refused", seq=snapshot.seq, reason=str(refused))
            return None
        entries = await self._entries(models.seq)
        if journal.leads(entries, models.seq, models.next_offsets, end):
            return entries
        logger.critical("a snapshot is not of this journal", seq=snapshot.seq)
        models.reset()
        return None

    async def _from_the_beginning(self, end: Mapping[Partition, int]) -> list[Entry]:
        """The whole journal. Where it does not tell what was read, it is written anew, in an order
        of its own."""
        entries = await self._entries(0)
        if journal.leads(entries, 0, {}, end):
            return entries
        logger.critical("the journal does not lead to the group's offsets: learning without it")
        entries = journal.without_order(end)
        async with self._transaction() as transaction:
            await journal.replace(transaction, self._group, entries)
        return entries

    # Going on.

    async def progress(self, ids: Mapping[Partition, UUID]) -> Mapping[Partition, Progress]:
        """Where to go on. See `GroupStore.progress`."""
        found = await super().progress(ids)
        for partition in found:
            self.models.next_offsets.setdefault(partition, 0)
        return found

    async def prepare(self, batch: Batch, before: Prepared | None = None) -> Prepared:  # noqa: ARG002
        """Nothing is learned before its place in the journal is certain."""
        return Prepared(batch, {}, self._setting())

    async def commit(self, prepared: Prepared) -> None:
        """Writes a batch's offsets and its journal, then learns it. Raises Overtaken, Transient,
        LearningFailed."""
        parts = prepared.batch.parts
        entries = [
            Entry(seq, part.partition, part.first, part.next)
            for seq, part in enumerate(parts, start=self.models.seq + 1)
        ]
        snapshot = await self._taken() if self._due() else None
        try:
            async with self._transaction() as transaction:
                await self._advance(transaction, parts)
                await self._keep_quarantined(transaction, parts)
                await journal.append(transaction, self._group, entries)
                if snapshot is not None:
                    await snapshots.keep(transaction, self._group, snapshot, self._now())
        except Fenced:
            raise Overtaken("the group's offsets are not where ours are") from None
        if snapshot is not None:
            self._snapshot_seq = snapshot.seq
        self._settled = False
        for part in parts:
            await self._learn(self._erased.facts(part.facts))
            self.models.passed(part.partition, part.next)
            self._complete(part.partition, moment(part.until_ms))
        self._settled = True
        await self._tell()

    async def _keep_quarantined(
        self, transaction: journal.Transaction, parts: Sequence[Part]
    ) -> None:
        """As ever, but for the names that were erased by now: the models hear of them only when
        they are made anew, and nothing else holds this back until then, as a read model's
        generation does. The offsets are moved already: no erasure is under way beside this."""
        if any(part.quarantined for part in parts):
            self._erased = await erased(transaction)
        await super()._keep_quarantined(transaction, parts)

    async def _tell(self) -> None:
        """Puts into the outbox what was noticed; where that fails, it is tried again. Until it is
        there no snapshot is taken: who dies now learns it once more, and notices the same."""
        async with self._telling:
            self._noticed += self.models.noticed()
            if not self._noticed:
                return
            try:
                async with self._transaction() as transaction:
                    await enqueue(transaction, self._noticed)
            except Transient as error:
                logger.warning("what was noticed is not told yet", error=str(error))
            else:
                self._noticed = []

    async def _learn(self, facts: Sequence[Fact]) -> None:
        """One after the other; whoever asks for a prediction gets a turn in between, and while a
        large shop's day closes, answers from before it."""
        heard = await opened(facts, self.models.opened, self._connection)
        turn = time.perf_counter()
        for fact in heard:
            if self.loaded and self.models.takes_long(fact):
                learned = await asyncio.to_thread(self.models.learned_beside, fact)
                self.models.take(learned, fact)
                turn = time.perf_counter()
                continue
            self.models.learn(fact)
            if time.perf_counter() - turn > _TURN_SECONDS:
                await asyncio.sleep(0)
                turn = time.perf_counter()

    async def caught_up(self, next_offsets: Mapping[Partition, int], at: datetime) -> None:
        """Moves the watermark, in Postgres and here."""
        await super().caught_up(next_offsets, at)
        if self._settled:
            await self._tell()
        for partition, offset in next_offsets.items():
            if self.models.next_offsets.get(partition, 0) == offset:
                self._complete(partition, at)

    # Snapshots.

    def _due(self) -> bool:
        return (
            self.models.seq > self._snapshot_seq
            and not self._noticed
            and time.monotonic() - self._snapshot_at > self._snapshot_seconds
        )

    async def _taken(self) -> Snapshot:
        """The models as they are, in a thread: predictions go on meanwhile."""
        snapshot = await asyncio.to_thread(snapshots.take, self.models, self._group, self._key)
        self._snapshot_at = time.monotonic()
        return snapshot

    async def snapshot(self) -> None:
        """Takes one now, if anything was learned since the last and nothing is under way.

        Raises Transient.
        """
        if not self._settled or self._noticed or self.models.seq <= self._snapshot_seq:
            return
        snapshot = await self._taken()
        async with self._transaction() as transaction:
            if await journal.last(transaction, self._group) == snapshot.seq:
                await snapshots.keep(transaction, self._group, snapshot, self._now())
        self._snapshot_seq = snapshot.seq

    async def watch_journal(self) -> None:
        """Runs until someone else writes the journal: a rebuild, of whose models the snapshot is to
        be loaded. Raises Overtaken, Transient."""
        ahead = 0
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            async with self._connection() as connection:
                last = await journal.last(connection, self._group)
            # Once may be a commit of our own, of which the answer has not come yet.
            if last > self.models.seq and self._settled:
                if last == ahead:
                    raise Overtaken(f"the journal is at {last}, and we are at {self.models.seq}")
                ahead = last

    # What an answer says of itself.

    def _complete(self, partition: Partition, at: datetime) -> None:
        self._complete_to[partition] = max(at, self._complete_to.get(partition, at))
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def complete_to(self) -> CompleteTo:
        """Up to where the models have learned."""
        offsets: dict[str, list[int]] = {}
        for partition, offset in sorted(self.models.next_offsets.items()):
            offsets.setdefault(partition.topic, []).append(offset)
        times = self._complete_to
        known = [times.get(partition) for partition in self.models.next_offsets]
        everywhere = known and all(known)
        return CompleteTo(
            next_offsets=offsets, time=min(filter(None, known)) if everywhere else None
        )

    async def reached(self, wanted: Mapping[Partition, int]) -> None:
        """Waits until the events at these offsets are learned."""
        at = self.models.next_offsets
        while any(at.get(partition, 0) <= offset for partition, offset in wanted.items()):
            await self._moved.wait()
            at = self.models.next_offsets
