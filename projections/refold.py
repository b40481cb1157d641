"""A group's read models folded anew from the log, into tables of their own beside those in use.

The tables stand in a schema that is looked at first, so that a fold, its upsert and its progress
are those of the live group, word for word; only Kafka's consumer group is missing, for whoever
folds anew reads all partitions by itself. What it has done is committed with its progress: it may
be stopped, or killed, at any moment, and goes on from there.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol

from aiokafka import TopicPartition
from msgspec import Struct

from projections.clock import ShopClock
from projections.postgres import connect
from projections.read_model import Step
from projections.store import GroupStore, Prepared
from streams.batch import Partition
from streams.chunk import Chunk
from streams.exclusive import Connection
from streams.readback import read_back
from streams.subscribe import GroupReader

_SHARED = ("progress", "quarantine", "read_models")  # what a group has besides its read models
_MOST_RECORDS = 2_500  # in a chunk
COMMIT_RECORDS = 10_000  # nobody waits for what is folded anew, and large commits are cheaper
_SEEK = 1  # there is one seek, at the beginning

_NEAR = 5_000  # records that are left when the workers are as good as reached

Offsets = Mapping[Partition, int]
Tell = Callable[[int, int], object]  # how many records are folded, of how many there are


class Source(Struct, frozen=True):
    """The log to fold, and how; as for the workers."""

    kafka: str
    prefix: str
    window: int
    commit_records: int
    clock: ShopClock
    processes: int = 1  # that fold at the same time, at most


class Group(NamedTuple):
    """Whose read models they are, and where the live ones stand."""

    dsn: str
    schema: str
    name: str
    steps: Sequence[Step]

    @property
    def tables(self) -> list[str]:
        """Of the read models, in the order in which they are written."""
        return [step.model.name for step in self.steps]

    @property
    def has_live(self) -> bool:
        """Whether any of them has figures in Redis."""
        return any(step.model.live is not None for step in self.steps)


async def create_tables(connection: Connection, group: Group, schema: str, origin: str) -> bool:
    """Makes empty tables like the live ones, in a schema of their own. What is there already of the
    same origin is kept, for somebody has begun; then it is False."""
    async with connection.transaction():
        known = await connection.fetchval(
            "SELECT obj_description(oid) FROM pg_namespace WHERE nspname = $1", schema
        )
        if known == origin:
            return False
        await connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
        await connection.execute(f'CREATE SCHEMA "{schema}"')
        for table in (*_SHARED, *group.tables):
            await connection.execute(
                f'CREATE TABLE "{schema}".{table} (LIKE "{group.schema}".{table} INCLUDING ALL)'
            )
        quoted = await connection.fetchval("SELECT quote_literal($1::text)", origin)
        await connection.execute(f'COMMENT ON SCHEMA "{schema}" IS {quoted}')
        return True


async def drop_tables(connection: Connection, schema: str) -> None:
    await connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


async def offsets_of(connection: Connection, group: str, schema: str) -> Offsets:
    """The next offset of each partition that a group has begun to read."""
    rows = await connection.fetch(
        f'SELECT topic, partition, next_offset FROM "{schema}".progress '  # noqa: S608
        "WHERE group_name = $1 ORDER BY topic, partition",
        group,
    )
    return {Partition(row["topic"], row["partition"]): row["next_offset"] for row in rows}


class _Arrived(NamedTuple):
    """A chunk, as the reader expects it of Faust."""

    value: Chunk


class Refold:
    """Folds some partitions up to where it is told, and then on. See `refolding_here`."""

    def __init__(self, reader: GroupReader[Prepared], source: Source) -> None:
        self._reader = reader
        self._source = source
        self._waiting: asyncio.Queue[_Arrived] = asyncio.Queue(2)
        self._applying: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()
        self._fed: dict[Partition, int] = {}
        self.at: dict[Partition, int] = {}

    def _partition(self, topic: str, number: int) -> Partition:
        return Partition(topic.removeprefix(self._source.prefix), number)

    def _tp(self, partition: Partition) -> TopicPartition:
        return TopicPartition(self._source.prefix + partition.topic, partition.number)

    async def begin(self, partitions: Collection[Partition]) -> None:
        """Finds out where it has stopped. Raises LogChanged."""
        names = {TopicPartition(*self._tp(partition)): partition for partition in partitions}
        positions = await self._reader.resume(set(names), _SEEK)
        self.at = {names[tp]: offset for tp, offset in positions.items()}
        self._fed = dict(self.at)

    async def to(self, ends: Offsets, tell: Callable[[], object] = lambda: None) -> None:
        """Goes on until all before these offsets is applied, several partitions at once; `tell` is
        called after each commit. Raises what stops the reader."""
        feeding = asyncio.create_task(self._feed(ends))
        try:
            while any(self.at[partition] < end for partition, end in ends.items()):
                moved = asyncio.create_task(self._moved.wait())
                working = {task for task in (self._applying, feeding) if task and not task.done()}
                await asyncio.wait({moved, *working}, return_when=asyncio.FIRST_COMPLETED)
                moved.cancel()
                self._moved.clear()
                for task in (self._applying, feeding):
                    if task is not None and task.done():
                        task.result()
                tell()
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    async def _feed(self, ends: Offsets) -> None:
        """Hands on what was not handed on before, be it applied by now or not."""
        stretches = {self._tp(p): (self._fed[p], end) for p, end in ends.items()}
        size = min(_MOST_RECORDS, self._source.commit_records)
        async for tp, records in read_back(self._source.kafka, stretches):
            partition = self._partition(tp.topic, tp.partition)
            for start in range(0, len(records), size):
                part = records[start : start + size]
                await self._waiting.put(_Arrived(Chunk(tp.topic, tp.partition, part, _SEEK)))
                self._fed[partition] = part[-1].offset + 1

    # What the reader sees of Faust: a stream, and what is acknowledged.

    def noack(self) -> "Refold":
        return self

    async def events(self) -> AsyncIterator[Any]:
        while True:
            yield await self._waiting.get()

    def _applied(self, event: Any) -> None:
        chunk: Chunk = event.value
        self.at[self._partition(chunk.topic, chunk.partition)] = chunk.records[-1].offset + 1
        self._moved.set()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        consuming = asyncio.create_task(self._reader.consume(self))
        self._applying = asyncio.create_task(self._reader.apply(self._applied))
        try:
            yield
        finally:
            # A commit that is under way may come to its end: it is as good as any other.
            await self._reader.release()
            for task in (consuming, self._applying):
                task.cancel()
            await asyncio.gather(consuming, self._applying, return_exceptions=True)


@asynccontextmanager
async def refolding_here(
    group: Group, source: Source, schema: str, partitions: Collection[Partition]
) -> AsyncIterator[Refold]:
    """A reader of these partitions over the tables of `schema`, which `create_tables` has made.

    Raises LogChanged, ReadModelChanged, Transient.
    """
    pool = await connect(
        group.dsn, group.schema, by_key=True, before=schema, patient=False, seconds=None
    )
    try:
        store = GroupStore(pool, group.name, group.steps, source.clock)
        await store.register()
        reader = GroupReader(
            store, source.kafka, source.prefix, source.window, source.commit_records
        )
        refold = Refold(reader, source)
        async with refold.working():
            await refold.begin(partitions)
            yield refold
    finally:
        pool.terminate()


class Folding(Protocol):
    """What folds a group's partitions, in whatever process."""

    @property
    def at(self) -> Offsets:
        """Up to where each is folded."""

    def reach(self, live: Offsets) -> Offsets:
        """Up to where to go to be where the live group is."""

    async def to(self, ends: Offsets, tell: Callable[[], object] = ...) -> None:
        """Goes on until all before these offsets is applied."""


async def catch_up(connection: Connection, group: Group, refold: Folding, tell: Tell) -> None:
    """Folds until little is left to where the workers are, who go on meanwhile."""
    left = _NEAR + 1
    while left > _NEAR:
        live = refold.reach(await offsets_of(connection, group.name, group.schema))
        end = sum(live.values())
        left = end - sum(refold.at.values())
        await refold.to(live, lambda: tell(sum(refold.at.values()), end))  # noqa: B023
        tell(end, end)
