"""The order in which chunks were learned, and how to follow it again.

An entry is written in the transaction that moves the group's progress, before its chunk is learned.
So what a crash leaves is always a snapshot and the entries after it, and the models are what comes
of learning these in their order.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from streams.batch import Partition

Transaction: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
    " | asyncpg.Pool[asyncpg.Record]"
)


class Entry(Struct, frozen=True):
    """The chunk [first, next) of a partition was learned as the seq-th, counted from 1. An empty
    one says that from here on the models are those of a rebuild."""

    seq: int
    partition: Partition
    first: int
    next: int


class Overtaken(Exception):
    """Someone else has written the journal: the models in this memory are not what it tells."""


async def append(transaction: Transaction, group: str, entries: Sequence[Entry]) -> None:
    """Adds entries. Raises Overtaken where one of these places is taken."""
    try:
        await _insert(transaction, group, entries)
    except asyncpg.UniqueViolationError as error:
        raise Overtaken(str(error)) from None


async def replace(transaction: Transaction, group: str, entries: Sequence[Entry]) -> None:
    """Writes the journal anew, where the old one does not tell what was read."""
    await transaction.execute("DELETE FROM learner_journal WHERE group_name = $1", group)
    await transaction.execute("DELETE FROM learner_snapshots WHERE group_name = $1", group)
    await _insert(transaction, group, entries)


async def _insert(transaction: Transaction, group: str, entries: Sequence[Entry]) -> None:
    await transaction.executemany(
        "INSERT INTO learner_journal VALUES ($1, $2, $3, $4, $5, $6)",
        [(group, one.seq, *one.partition, one.first, one.next) for one in entries],
    )


async def entries_after(transaction: Transaction, group: str, seq: int) -> list[Entry]:
    """All entries after this one, in their order."""
    rows = await transaction.fetch(
        """
        SELECT seq, topic, partition, first_offset, next_offset FROM learner_journal
        WHERE group_name = $1 AND seq > $2 ORDER BY seq
        """,
        group,
        seq,
    )
    return [Entry(row[0], Partition(row[1], row[2]), row[3], row[4]) for row in rows]


async def last(transaction: Transaction, group: str) -> int:
    """The last entry's number; 0 where there is none."""
    found = await transaction.fetchval(
        "SELECT max(seq) FROM learner_journal WHERE group_name = $1", group
    )
    return int(found or 0)


def leads(
    entries: Iterable[Entry],
    seq: int,
    start: Mapping[Partition, int],
    end: Mapping[Partition, int],
) -> bool:
    """Whether entries lead from one set of offsets to another, each going on where the last of its
    partition ended. A partition that is not named is at 0."""
    at = dict(start)
    for entry in entries:
        seq += 1
        if entry.seq != seq or entry.first != at.get(entry.partition, 0):
            return False
        at[entry.partition] = entry.next
    return all(at.get(partition, 0) == end.get(partition, 0) for partition in at.keys() | end)


def without_order(end: Mapping[Partition, int]) -> list[Entry]:
    """A journal for a log whose order of learning is not known: partition after partition."""
    read = [(partition, offset) for partition, offset in sorted(end.items()) if offset]
    return [
        Entry(seq, partition, 0, offset) for seq, (partition, offset) in enumerate(read, start=1)
    ]


def in_steps(entries: Iterable[Entry], most_records: int) -> Iterator[list[Entry]]:
    """Entries in their order, those longer than a step in pieces, so many records at a time. Only
    the last piece bears its entry's seq, the others bear 0."""
    step: list[Entry] = []
    room = most_records
    for entry in entries:
        first = entry.first
        if first == entry.next:
            step.append(entry)
        while first < entry.next:
            last = min(entry.next, first + room)
            seq = entry.seq if last == entry.next else 0
            step.append(Entry(seq, entry.partition, first, last))
            room -= last - first
            first = last
            if not room:
                yield step
                step, room = [], most_records
    if step:
        yield step
