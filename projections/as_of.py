"""Figures as they were at past positions: a group's read models folded up to exactly there.

They stand in a schema of their own, named after all that they depend on: so who asks for the same
moment again, or for another figure of the same group, finds them. The folds and upserts are those
of the live group. A few such schemas are kept for each group; the one that was asked for longest
ago goes first, but never while somebody reads it.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg

from projections.postgres import connect_alone
from projections.read_model import Transaction
from projections.rebuild import origin
from projections.refold import Group, Offsets, Source, Tell, create_tables, drop_tables
from projections.shares import refolding
from streams.batch import LogChanged, Partition, Transient
from streams.exclusive import Connection, given_up, taken
from streams.log import APPEND_SECONDS
from streams.topic_ids import topic_ids

_COMPLETE = "complete"
_ASK_SECONDS = 0.2
_NOTED = timedelta(seconds=1)
_STUCK_SECONDS = 60.0
_CLOSE_SECONDS = 2.0
_GIVE_UP_SECONDS = 5.0  # so long Postgres may take to see that who was filling them is gone


class Past(NamedTuple):
    """A group's read models, or some of them, up to these offsets, one for each partition that they
    read, of the topics with these ids."""

    group: Group
    offsets: Offsets
    ids: Mapping[str, UUID]


class Gone(Exception):
    """These figures are not kept, or not yet."""


def prefix_of(schema: str) -> str:
    """How the names of such schemas begin."""
    return f"{schema}_as_of_"


async def described(connection: Transaction, past: Past, source: Source) -> tuple[str, str]:
    """The name of the schema of some past figures, and what it says of itself."""
    told = json.dumps(
        {
            "tables": past.group.tables,
            "of": json.loads(await origin(connection, past.group, source)),
            "topics": {topic: str(number) for topic, number in sorted(past.ids.items())},
            "offsets": {f"{p.topic}:{p.number}": n for p, n in sorted(past.offsets.items())},
        },
        sort_keys=True,
    )
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    return prefix_of(past.group.schema) + digest, told


# Reading.


class Known(NamedTuple):
    """What past figures are complete to: the next offset of each partition, by topic, and the
    latest time at which any of their records was received, where there is one."""

    next_offsets: Mapping[str, list[int]]
    latest: datetime | None


@asynccontextmanager
async def reading(
    pool: "asyncpg.Pool[asyncpg.Record]", schemas: Sequence[str]
) -> AsyncIterator[tuple[Transaction, Known]]:
    """A transaction that sees the tables of these schemas, each of a group, and nothing that is of
    today; and what all of them are complete to. They stay for as long as it lasts.

    Raises Gone.
    """
    await _note_used(pool, schemas)
    path = ", ".join(f'"{schema}"' for schema in schemas)
    async with (
        pool.acquire(timeout=5) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        try:
            await connection.execute(f"SET LOCAL search_path = {path}")
            for schema in schemas:
                # Before the snapshot: whoever drops them waits, or has done so by then.
                await connection.execute(f'LOCK TABLE "{schema}".read_models IN ACCESS SHARE MODE')
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as error:
            raise Gone(str(error)) from error
        for schema in schemas:
            if not await _is_complete(connection, schema):
                raise Gone(f"{schema} is being filled")
        yield connection, await _known(connection, schemas)


async def _note_used(pool: "asyncpg.Pool[asyncpg.Record]", schemas: Sequence[str]) -> None:
    """Seldom: what is asked again and again need not be written each time."""
    with suppress(asyncpg.InsufficientResourcesError):  # they can be read all the same
        await pool.execute(
            "UPDATE as_of_used SET used_at = now() "
            "WHERE schema_name = ANY ($1) AND used_at < now() - $2::interval",
            list(schemas),
            _NOTED,
        )


async def _is_complete(connection: Transaction, schema: str) -> bool:
    found = await connection.fetchval(
        "SELECT obj_description(pg_class.oid, 'pg_class') FROM pg_class "
        "JOIN pg_namespace ON pg_namespace.oid = relnamespace "
        "WHERE nspname = $1 AND relname = 'progress'",
        schema,
    )
    return bool(found == _COMPLETE)


async def _known(connection: Transaction, schemas: Sequence[str]) -> Known:
    offsets: dict[Partition, int] = {}
    times: list[datetime] = []
    for schema in schemas:
        rows = await connection.fetch(
            f'SELECT topic, partition, next_offset, complete_to FROM "{schema}".progress'  # noqa: S608
        )
        times += [row["complete_to"] for row in rows if row["complete_to"]]
        for row in rows:
            partition, offset = Partition(row["topic"], row["partition"]), row["next_offset"]
            offsets[partition] = min(offset, offsets.get(partition, offset))
    latest = max(times) + timedelta(seconds=APPEND_SECONDS) if times else None
    return Known(by_topic(offsets), latest)


def by_topic(offsets: Offsets) -> Mapping[str, list[int]]:
    """The next offset of each partition, from 0 on, of each topic."""
    found: dict[str, list[int]] = {}
    for partition, offset in sorted(offsets.items()):
        found.setdefault(partition.topic, []).append(offset)
    return found


# Making.


async def make(past: Past, source: Source, kept: int, tell: Tell = lambda _done, _of: None) -> str:
    """Folds what is not kept yet, and goes on with what an interrupted attempt has left; the name
    of its schema. No more than `kept` of a group stay.

    Raises LogChanged, FoldFailed, ReadModelChanged, ReadBackFailed, Transient, OSError,
    PostgresError, KafkaError.
    """
    async with _connected(past.group) as connection:
        schema, told = await described(connection, past, source)
        while not await taken(connection, schema):
            await asyncio.sleep(_ASK_SECONDS)  # somebody else is at it
        if not await _is_complete(connection, schema):
            await make_room(connection, past.group, schema, told, kept)
            await create_tables(connection, past.group, schema, told)
            await _fold(past, source, schema, tell)
            await _complete(connection, past.group, schema)
        await connection.execute(
            "INSERT INTO as_of_used VALUES ($1) "
            "ON CONFLICT (schema_name) DO UPDATE SET used_at = now()",
            schema,
        )
    return schema


@asynccontextmanager
async def _connected(group: Group) -> AsyncIterator[Connection]:
    connection = await connect_alone(group.dsn, group.schema, seconds=None)
    try:
        yield connection
    finally:
        with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await connection.close(timeout=_CLOSE_SECONDS)


async def _fold(past: Past, source: Source, schema: str, tell: Tell) -> None:
    """Up to exactly these offsets. Raises LogChanged where the log does not reach them."""
    topics = [source.prefix + topic for topic in past.ids]
    found = await topic_ids(source.kafka, topics)
    for name, number in found.items():
        if past.ids[name.removeprefix(source.prefix)] != number:
            raise LogChanged(f"{name} was created anew since this was asked for")
    total = sum(past.offsets.values())
    async with refolding(past.group, source, schema, past.offsets) as refold:
        ends = refold.reach(past.offsets)
        if lost := [p for p, end in past.offsets.items() if ends[p] < end]:
            raise LogChanged(f"{_shown(lost[0])} does not reach {past.offsets[lost[0]]} any more")
        tell(sum(refold.at.values()), total)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_STUCK_SECONDS) as deadline:

                def moved() -> None:
                    deadline.reschedule(loop.time() + _STUCK_SECONDS)
                    tell(sum(refold.at.values()), total)

                await refold.to(past.offsets, moved)
        except TimeoutError:
            # A reader tries for ever, and says in the log what it waits for.
            raise Transient(
                f"nothing could be folded for {_STUCK_SECONDS:g} s: Postgres or Kafka is away, or "
                "has no room"
            ) from None
        tell(total, total)


def _shown(partition: Partition) -> str:
    return f"{partition.topic}:{partition.number}"


async def _complete(connection: Connection, group: Group, schema: str) -> None:
    """From here on they can be read."""
    for table in group.tables:
        await connection.execute(f'ANALYZE "{schema}".{table}')
    await connection.execute(f"COMMENT ON TABLE \"{schema}\".progress IS '{_COMPLETE}'")


async def make_room(
    connection: Connection, group: Group, schema: str, told: str, kept: int
) -> None:
    """Drops schemas until there is room for this one beside so many of its group less one: first
    those that were made by other code or in another time zone, which nobody will find again; then
    those that were asked for longest ago."""
    rows = await connection.fetch(
        """
        SELECT nspname, obj_description(oid, 'pg_namespace') AS told
        FROM pg_namespace LEFT JOIN as_of_used ON schema_name = nspname
        WHERE starts_with(nspname, $1) AND nspname <> $2
        ORDER BY used_at NULLS FIRST, nspname
        """,
        prefix_of(group.schema),
        schema,
    )
    of = json.loads(told)["of"]
    ours, stale = list[str](), list[str]()
    for row in rows:
        said = json.loads(row["told"] or "{}")
        if said.get("tables") == group.tables:
            (ours if said["of"] == of else stale).append(row["nspname"])
    for name in (*stale, *ours[: max(len(ours) - kept + 1, 0)]):
        await drop(connection, name)


async def drop(connection: Connection, schema: str) -> bool:
    """Drops a schema, unless somebody reads it or is filling it: then it is False."""
    if not await taken(connection, schema):
        return False
    try:
        async with connection.transaction():
            if await connection.fetchval("SELECT to_regclass($1)", f'"{schema}".read_models'):
                await connection.execute(
                    f'LOCK TABLE "{schema}".read_models IN ACCESS EXCLUSIVE MODE NOWAIT'
                )
            await drop_tables(connection, schema)
            await connection.execute("DELETE FROM as_of_used WHERE schema_name = $1", schema)
    except asyncpg.LockNotAvailableError:
        return False
    finally:
        await given_up(connection, schema)
    return True


async def give_up(past: Past, source: Source) -> None:
    """Drops what there is of figures that will not be complete."""
    async with _connected(past.group) as connection:
        schema, _ = await described(connection, past, source)
        with suppress(TimeoutError):
            async with asyncio.timeout(_GIVE_UP_SECONDS):
                while not await _is_complete(connection, schema):
                    if await drop(connection, schema):
                        return
                    await asyncio.sleep(_ASK_SECONDS)


async def drop_all(connection: Connection, schema: str) -> None:
    """Drops all past figures of an installation, as when its log may be another one."""
    rows = await connection.fetch(
        "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, $1)", prefix_of(schema)
    )
    for row in rows:
        await drop_tables(connection, row["nspname"])
