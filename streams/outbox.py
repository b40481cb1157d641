"""The outbox: events committed together with what they tell of, then relayed to the log.

`enqueue` writes them in the caller's transaction. One `Relay` appends what waits in the order of
ids, and notes each position when Kafka acknowledges it. It asks for rows without a position, never
for rows beyond an id: rows commit late. Dying between the acknowledgement and the note means
appending the same id again, which every reader's dedupe window counts once.

Kafka acknowledges before it syncs to disk. Rows are therefore kept for a while, and whenever the
relay (re)connects, and each minute, it compares the latest of them with the log: what is not there
any more waits again.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

import asyncpg
import structlog
from aiokafka import TopicPartition
from asyncpg.pool import PoolConnectionProxy

from streams import codec
from streams.crash_points import reached
from streams.events import VOCABULARY, Event
from streams.exclusive import Connect, Connection, alone
from streams.log import Log
from streams.readback import log_ends, read_back
from streams.topic_ids import topic_ids
from streams.topics import TOPICS, key_of, partitions_of

logger = structlog.get_logger()

Transaction: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
    " | asyncpg.Pool[asyncpg.Record]"
)
Row: TypeAlias = "asyncpg.Record"
Partition = tuple[str, int]

LARGEST_EVENT = 1_000_000  # bytes; with its key it still is one record of Kafka's
KEPT = timedelta(days=7)

_CHANNEL = "outbox"
_BATCH_ROWS = 500
_BATCH_BYTES = 8 * 1024 * 1024
_DEADLINE_SECONDS = 10.0
_POLL_SECONDS = 2.0
_CHECK_SECONDS = 60.0
_CONNECT_SECONDS = 30.0
_PAUSE_SECONDS = 1.0


class Enqueued(NamedTuple):
    """A stretch of the outbox with all that was enqueued at once. Ids of others may be in it: who
    waits for the stretch waits for them, too, and they were enqueued at the same moment."""

    first: int
    last: int

    def __str__(self) -> str:
        return (
            f"outbox:{self.last}" if self.first == self.last else f"outbox:{self.first}-{self.last}"
        )

    @staticmethod
    def parse(text: str) -> "Enqueued":
        """`outbox:17` or `outbox:17-19`. Raises ValueError."""
        found = _STRETCH.fullmatch(text)
        if found is None:
            raise ValueError(f"not of the form outbox:17 or outbox:17-19: {text!r}")
        last = int(found["last"] or found["first"])
        return Enqueued(int(found["first"]), last)


_STRETCH = re.compile(r"outbox:(?P<first>[0-9]{1,18})(?:-(?P<last>[0-9]{1,18}))?")


class TooLarge(Exception):
    """An event is larger than a record may be; it would block all that come after it."""


async def enqueue(
    transaction: Transaction, events: Sequence[Event], *, waking: bool = True
) -> list[int]:
    """Puts events into the outbox, in this transaction; their ids, in order. Raises TooLarge.

    `waking` the relay within the transaction makes it wait for all others that do, until each is on
    the disk, one by one: so Postgres notifies in the order of commits. Who commits often wakes it
    afterwards, by `wake`.
    """
    values = [codec.encode(event) for event in events]
    for event, value in zip(events, values, strict=True):
        if len(value) > LARGEST_EVENT:
            raise TooLarge(f"{event.type} {event.id} has {len(value)} bytes")
    rows = await transaction.fetch(
        """
        WITH new AS (
            INSERT INTO outbox (topic, key, event)
            SELECT topic, key, event
            FROM unnest($1::text[], $2::bytea[], $3::bytea[]) WITH ORDINALITY
                AS given (topic, key, event)
            ORDER BY ordinality
            RETURNING id
        )
        SELECT id, CASE WHEN $5 THEN pg_notify($4, current_schema()) END FROM new ORDER BY id
        """,
        [VOCABULARY[event.type].topic for event in events],
        [key_of(event) for event in events],
        values,
        _CHANNEL,
        waking,
    )
    return [row["id"] for row in rows]


class Waker:
    """Wakes the relay after commits: once for all that come while it is being done. Where that
    fails, the relay looks by itself before long."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool
        self._wanted = False
        self._waking: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Returns at once."""
        self._wanted = True
        if self._waking is None or self._waking.done():
            self._waking = asyncio.create_task(self._wake())

    async def _wake(self) -> None:
        while self._wanted:
            self._wanted = False
            with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await self._pool.execute("SELECT pg_notify($1, current_schema())", _CHANNEL)


async def relayed(
    connection: Transaction, stretches: Sequence[Enqueued], topics: Sequence[str]
) -> Mapping[Partition, int] | None:
    """The last offsets at which events of these stretches stand, of some topics; None while one of
    them waits. What was forgotten since was relayed long ago."""
    waits = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM outbox, unnest($1::bigint[], $2::bigint[]) AS s (first, last) "
        "WHERE acknowledged_at IS NULL AND id BETWEEN first AND last AND topic = ANY($3))",
        *_columns(stretches),
        topics,
    )
    if waits:
        return None
    rows = await connection.fetch(
        "SELECT topic, partition, max(record_offset) AS record_offset "
        "FROM outbox, unnest($1::bigint[], $2::bigint[]) AS s (first, last) "
        "WHERE acknowledged_at IS NOT NULL AND id BETWEEN first AND last AND topic = ANY($3) "
        "GROUP BY topic, partition",
        *_columns(stretches),
        topics,
    )
    return {(row["topic"], row["partition"]): row["record_offset"] for row in rows}


class Relay:
    """Appends to Kafka what waits in the outbox of one schema."""

    def __init__(
        self,
        connect: Connect,
        bootstrap: str,
        partitions: int,
        prefix: str = "",
        kept: timedelta = KEPT,
        deadline: float = _DEADLINE_SECONDS,
        poll_seconds: float = _POLL_SECONDS,
        check_seconds: float = _CHECK_SECONDS,
    ) -> None:
        self._connect = connect
        self._bootstrap = bootstrap
        self._partitions = partitions
        self._prefix = prefix
        self._kept = kept
        self._deadline = deadline
        self._poll_seconds = poll_seconds
        self._check_seconds = check_seconds

    async def run(self) -> None:
        """Relays, for ever, while no other process does."""
        while True:
            try:
                async with alone(self._connect, "outbox") as connection, self._log() as log:
                    await self._relay(connection, log)
            except Exception as error:
                # Whatever it was: what waits is in Postgres, and waits on.
                logger.warning("the outbox waits", error=repr(error))
            await asyncio.sleep(_PAUSE_SECONDS)

    @asynccontextmanager
    async def _log(self) -> AsyncIterator[Log]:
        """A producer, once Kafka is there. After an error comes a new one: what the old one still
        held would be sent twice, and an idempotent producer that lost its place never recovers."""
        log = Log(self._bootstrap, self._partitions, self._prefix, self._deadline)
        await log.start()
        try:
            # Where only this process cannot reach Kafka, another one may.
            async with asyncio.timeout(_CONNECT_SECONDS):
                await log.connected()
            yield log
        finally:
            await log.stop()

    async def _relay(self, connection: Connection, log: Log) -> None:
        woken = asyncio.Event()
        await connection.add_listener(_CHANNEL, lambda *_: woken.set())
        topics: Mapping[str, UUID] = {}
        checked = -self._check_seconds
        while True:
            woken.clear()
            if time.monotonic() - checked >= self._check_seconds:
                topics = await self.check(connection)
                await self._forget(connection)
                checked = time.monotonic()
            while await self._append(connection, log, topics):
                pass
            with suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), self._poll_seconds)

    async def _append(self, connection: Connection, log: Log, topics: Mapping[str, UUID]) -> int:
        """Appends some of what waits; how many."""
        rows = await connection.fetch(_WAITING, _BATCH_ROWS, _BATCH_BYTES)
        if rows:
            events = [codec.decode_envelope(row["event"]) for row in rows]
            positions = await log.append(events)
            reached("relayed")
            await connection.execute(
                ACKNOWLEDGED,
                [row["id"] for row in rows],
                [topics[position.topic] for position in positions],
                [position.partition for position in positions],
                [position.offset for position in positions],
            )
        return len(rows)

    async def check(self, connection: Connection) -> Mapping[str, UUID]:
        """Lets wait again what Kafka has acknowledged and does not have; the ids of the topics. For
        whoever holds the relay's lock."""
        named = await topic_ids(self._bootstrap, [self._prefix + topic for topic in TOPICS])
        topics = {topic: named[self._prefix + topic] for topic in TOPICS}
        partitions = [
            TopicPartition(self._prefix + topic, number)
            for topic in TOPICS
            for number in range(partitions_of(topic, self._partitions))
        ]
        found = await log_ends(self._bootstrap, partitions)
        ends = {self._partition(tp): span for tp, span in found.items()}
        async with connection.transaction():
            strange = await connection.fetch(_STRANGE, list(topics), list(topics.values()))
            names = [row["topic"] for row in strange]
            lost = []
            if names:  # else all rows would be looked at
                ids = [topics[name] for name in names]
                lost += await connection.fetch(_FROM_ANOTHER_TOPIC, names, ids)
            lost += await connection.fetch(
                _BEYOND_THE_END,
                *_columns((*partition, end) for partition, (_, end) in ends.items()),
            )
            lost += await connection.fetch(_WAIT_AGAIN, await self._replaced(connection, ends))
        if lost:
            logger.warning("Kafka has lost what it acknowledged", again=len(lost))
        return topics

    def _partition(self, tp: TopicPartition) -> Partition:
        return tp.topic.removeprefix(self._prefix), tp.partition

    async def _replaced(
        self, connection: Connection, ends: Mapping[Partition, tuple[int, int]]
    ) -> list[int]:
        """The rows in whose places other records stand. A log loses its end alone: it is looked
        through backwards, until something is there."""
        replaced: list[int] = []
        before = {partition: end for partition, (_, end) in ends.items()}
        rows_each = 1
        while before:
            latest = await connection.fetch(
                _LATEST,
                *_columns((*partition, end) for partition, end in before.items()),
                rows_each,
            )
            # Below its start a log is cut off on purpose: that is no loss.
            rows = [
                row
                for row in latest
                if row["record_offset"] >= ends[row["topic"], row["partition"]][0]
            ]
            values = await self._values(rows)
            before = {}
            for row in rows:
                partition = row["topic"], row["partition"]
                if values.get((*partition, row["record_offset"])) == row["event"]:
                    before.pop(partition, None)  # rows come latest first: this is an earlier one
                else:
                    replaced.append(row["id"])
                    before[partition] = row["record_offset"]
            rows_each *= 4
        return replaced

    async def _values(self, rows: Sequence[Row]) -> dict[tuple[str, int, int], bytes]:
        """What the log has where these rows should be."""
        stretches: dict[TopicPartition, tuple[int, int]] = {}
        for row in rows:
            tp, at = (
                TopicPartition(self._prefix + row["topic"], row["partition"]),
                row["record_offset"],
            )
            start, end = stretches.get(tp, (at, at + 1))
            stretches[tp] = (min(start, at), max(end, at + 1))
        wanted = {(row["topic"], row["partition"], row["record_offset"]) for row in rows}
        return {
            where: record.value
            async for tp, records in read_back(self._bootstrap, stretches)
            for record in records
            if (where := (*self._partition(tp), record.offset)) in wanted
        }

    async def _forget(self, connection: Connection) -> None:
        await connection.execute(
            "DELETE FROM outbox WHERE acknowledged_at < now() - $1::interval", self._kept
        )


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


_WAITING = """
    SELECT id, event FROM (
        SELECT id, event, sum(octet_length(event)) OVER before AS bytes, row_number() OVER before
        FROM (
            SELECT id, event FROM outbox WHERE acknowledged_at IS NULL ORDER BY id LIMIT $1
        ) AS first
        WINDOW before AS (ORDER BY id)
    ) AS waiting
    WHERE bytes <= $2 OR row_number = 1
    ORDER BY id
"""

ACKNOWLEDGED = """
    UPDATE outbox SET topic_id = done.topic_id, partition = done.partition,
        record_offset = done.record_offset, acknowledged_at = now()
    FROM unnest($1::bigint[], $2::uuid[], $3::int[], $4::bigint[])
        AS done (id, topic_id, partition, record_offset)
    WHERE outbox.id = done.id
"""

_NO_POSITION = """
    UPDATE outbox SET topic_id = NULL, partition = NULL, record_offset = NULL,
        acknowledged_at = NULL
"""
# The topics of which some rows have another id: to look at the least and the greatest is enough.
_STRANGE = """
    SELECT DISTINCT now.topic
    FROM unnest($1::text[], $2::uuid[]) AS now (topic, id),
    LATERAL (
        (
            SELECT topic_id FROM outbox WHERE acknowledged_at IS NOT NULL AND topic = now.topic
            ORDER BY topic_id LIMIT 1
        )
        UNION ALL
        (
            SELECT topic_id FROM outbox WHERE acknowledged_at IS NOT NULL AND topic = now.topic
            ORDER BY topic_id DESC LIMIT 1
        )
    ) AS found
    WHERE found.topic_id <> now.id
"""
_FROM_ANOTHER_TOPIC = f"""
    {_NO_POSITION} FROM unnest($1::text[], $2::uuid[]) AS now (topic, id)
    WHERE acknowledged_at IS NOT NULL AND outbox.topic = now.topic AND topic_id <> now.id
    RETURNING outbox.id
"""
_BEYOND_THE_END = f"""
    {_NO_POSITION} FROM unnest($1::text[], $2::int[], $3::bigint[]) AS log (topic, partition, stop)
    WHERE acknowledged_at IS NOT NULL AND outbox.topic = log.topic
        AND outbox.partition = log.partition AND record_offset >= stop
    RETURNING outbox.id
"""
_WAIT_AGAIN = f"{_NO_POSITION} WHERE id = ANY($1) RETURNING id"

_LATEST = """
    SELECT log.topic, log.partition, kept.*
    FROM unnest($1::text[], $2::int[], $3::bigint[]) AS log (topic, partition, before),
    LATERAL (
        SELECT id, record_offset, event FROM outbox
        WHERE acknowledged_at IS NOT NULL AND topic = log.topic AND partition = log.partition
            AND record_offset < log.before
        ORDER BY record_offset DESC LIMIT $4
    ) AS kept
    ORDER BY log.topic, log.partition, record_offset DESC
"""
