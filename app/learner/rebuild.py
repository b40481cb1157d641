"""The learners' models made anew from the log, in the order that the journal tells, beside those
that learn and answer meanwhile; then these go on from the new ones.

When little is left the journal is locked: what the learner commits next waits. The rest is learned,
the models are told apart from the learner's own by their digest, and in one transaction a snapshot
of them takes the place of all others and the journal gets an entry that the learner has not made.
By it the learner sees that its models are no longer those that count, and loads the snapshot.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import asyncpg
from aiokafka import TopicPartition

from app.learner.client import Away, asked
from app.learner.opening import opened
from app.settings import Settings
from ml_online import journal, snapshots
from ml_online.journal import Entry
from ml_online.models import Models
from ml_online.replay import facts_of
from projections import skips
from projections.erasure import erased
from projections.postgres import connect_alone
from projections.refold import Offsets, offsets_of
from streams.batch import Partition, Progress
from streams.dedupe import Window
from streams.erased import Erased
from streams.exclusive import Connection, taken
from streams.readback import log_ends
from streams.records import check_log
from streams.topic_ids import topic_ids

_NEAR = 2_000  # records that may be left when the journal is locked
_LOCK_SECONDS = 5
_TRIES, _PAUSE_SECONDS = 10, 0.2

Tell = Callable[[int, int], object]  # how many records are learned, of how many there are


class Running(Exception):
    """Another process is rebuilding the models."""


class NotTold(Exception):
    """The journal does not lead to what was read, or there is none."""


class Rebuilt(NamedTuple):
    """What was done. `before` is the digest of the learner's own models at the same place, None
    where it did not say."""

    records: int
    seconds: float
    locked_seconds: float
    digest: str
    before: str | None


async def rebuild(
    settings: Settings,
    group: str,
    models: Models,
    key: bytes,
    tell: Tell = lambda _done, _of: None,
) -> Rebuilt:
    """Rebuilds the models of a group of learners. It may be interrupted; then nothing has changed.

    Raises Running, NotTold, LogChanged, LearningFailed, ReadBackFailed, OSError, PostgresError.
    """
    begun = time.monotonic()
    connection = await connect_alone(settings.servers.postgres, settings.schema_name)
    try:
        if not await taken(connection, f"rebuild/{group}"):
            raise Running("the models are being rebuilt by another process")
        entries, end = await _told(connection, group)
        await _check(settings, group, connection, end)
        records = await _follow(settings, group, connection, models, entries, tell)
        locked = time.monotonic()
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
            # The group's learner moves these rows first. Other groups go on.
            await connection.execute(
                "SELECT FROM progress WHERE group_name = $1 ORDER BY topic, partition FOR UPDATE",
                group,
            )
            rest = await journal.entries_after(connection, group, models.seq)
            await records.learn(rest)
            before = await _of_learner(settings, group, models.seq)
            digest = models.digest()
            await _put_in_place(connection, group, models, key)
    finally:
        await connection.close()
    now = time.monotonic()
    return Rebuilt(records.done, now - begun, now - locked, digest, before)


async def _told(connection: Connection, group: str) -> tuple[Sequence[Entry], Offsets]:
    """The journal, and the offsets that it leads to. Raises NotTold."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        entries = await journal.entries_after(connection, group, 0)
        row = await connection.fetchval("SELECT current_schema()")
        end = await offsets_of(connection, group, row)
    if not entries or not journal.leads(entries, 0, {}, end):
        raise NotTold(
            "there is no journal that leads to what was read: `tillstream learner` begins one"
        )
    return entries, end


async def _check(settings: Settings, group: str, connection: Connection, end: Offsets) -> None:
    """Raises LogChanged where the log is not the one that was learned from, or not all of it."""
    names = {p: TopicPartition(settings.prefix + p.topic, p.number) for p in end}
    kafka = settings.servers.kafka
    ids = await topic_ids(kafka, {name.topic for name in names.values()})
    ends = await log_ends(kafka, list(names.values()))
    rows = await connection.fetch(
        "SELECT topic, partition, topic_id FROM progress WHERE group_name = $1", group
    )
    known = {Partition(row["topic"], row["partition"]): row["topic_id"] for row in rows}
    for partition, name in names.items():
        start, log_end = ends[name]
        progress = Progress(end[partition], known[partition], None)
        check_log(partition, progress, ids[name.topic], 0, log_end)
        if start > 0:
            raise NotTold(f"the log of {name.topic} begins at {start}: what was before is not told")


class _Following:
    """Learns the journal's entries one after the other."""

    def __init__(
        self,
        settings: Settings,
        models: Models,
        skipped: Mapping[Partition, Mapping[int, str]],
        erased: Erased,
        connection: Connection,
    ) -> None:
        self._connection = connection
        self._models = models
        self._skipped = skipped
        self._windows: dict[Partition, Window] = {}
        self._facts = partial(
            facts_of, settings.servers.kafka, settings.prefix, settings.dedupe_window, erased=erased
        )
        self.done = 0

    async def learn(self, entries: Sequence[Entry], tell: Callable[[int], object] = id) -> None:
        """These entries, which go on where the last have ended. Raises LearningFailed."""
        async for entry, facts in self._facts(entries, self._skipped, self._windows):
            heard = await opened(facts, self._models.opened, lambda: nullcontext(self._connection))
            for fact in heard:
                self._models.learn(fact)
            if entry.seq:
                self._models.passed(entry.partition, entry.next)
            self.done += entry.next - entry.first
            tell(self.done)


async def _follow(
    settings: Settings,
    group: str,
    connection: Connection,
    models: Models,
    entries: Sequence[Entry],
    tell: Tell,
) -> _Following:
    """Learns until little is left of what the learner has learned, which goes on meanwhile."""
    skipped = await skips.of_group(connection, group)
    following = _Following(settings, models, skipped, await erased(connection), connection)
    while (left := _records(entries)) and (left > _NEAR or not following.done):
        of = following.done + left
        await following.learn(entries, lambda done: tell(done, of))  # noqa: B023
        entries = await journal.entries_after(connection, group, models.seq)
    return following


def _records(entries: Sequence[Entry]) -> int:
    return sum(entry.next - entry.first for entry in entries)


async def _of_learner(settings: Settings, group: str, seq: int) -> str | None:
    """What tells the learner's models apart, if they are at this place of the journal."""
    for _ in range(_TRIES):
        try:
            found = await asked(settings, group, "/digest")
        except Away:
            return None
        if found["seq"] == seq:
            return str(found["digest"])
        await asyncio.sleep(_PAUSE_SECONDS)  # it learns what it has written down last
    return None


async def _put_in_place(
    connection: "asyncpg.Connection[asyncpg.Record]", group: str, models: Models, key: bytes
) -> None:
    """Has the learner go on from these models. They have learned all that the journal tells."""
    partition, at = min(models.next_offsets.items())
    await journal.append(connection, group, [Entry(models.seq + 1, partition, at, at)])
    models.passed(partition, at)
    await connection.execute("DELETE FROM learner_snapshots WHERE group_name = $1", group)
    snapshot = snapshots.take(models, group, key)
    await snapshots.keep(connection, group, snapshot, datetime.now(UTC))


async def forget(settings: Settings, group: str) -> None:
    """Has the learner of a group begin at the beginning of a log that is not the one it knows. It
    stands still before that log, or is not there."""
    connection = await connect_alone(settings.servers.postgres, settings.schema_name)
    try:
        async with connection.transaction():
            for table in ("learner_journal", "learner_snapshots", "progress", "failures"):
                await connection.execute(f"DELETE FROM {table} WHERE group_name = $1", group)  # noqa: S608
            await connection.execute("DELETE FROM quarantine WHERE group_name = $1", group)
    finally:
        await connection.close()
