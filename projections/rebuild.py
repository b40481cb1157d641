"""Read models made anew from the log beside those in use, and put in their place at one moment.

A group's read models are rebuilt together: they share their offsets, and one builds on another's
changes. The new tables are filled up to where the workers are. Then a fence: nobody can move the
group's progress while the last records are folded, and in the same transaction the tables change
places and the read models get a new generation. Queries go on, before it on the old tables, after
it on the new; workers find at their next commit that the generation is another, and fold that batch
again onto the new tables. Only then are the old ones, which nobody sees any more, compared with the
new as they were at the fence, and dropped.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count as counter
from typing import NamedTuple

import asyncpg
import structlog

from projections.clock import ShopClock
from projections.contents import Comparison, Side, compare
from projections.erasure import count
from projections.live import LiveFigures
from projections.postgres import connect, connect_alone
from projections.read_model import Transaction
from projections.refold import (
    Folding,
    Group,
    Source,
    Tell,
    catch_up,
    create_tables,
    drop_tables,
    offsets_of,
)
from projections.shares import refolding
from projections.store import GroupStore
from projections.verify import made_right
from streams.batch import LogChanged
from streams.exclusive import Connection, alone, given_up, taken

logger = structlog.get_logger()

_FENCE_SECONDS = 5.0  # how long the workers are kept waiting, at most
_LOCK_SECONDS = 1.0  # how long queries queue behind a lock that waits for a longer one
_MOST = 0.9  # of the log: tables that hold so much of it look as they will in the end
_PAUSE_SECONDS = 0.5
_ASK_SECONDS = 0.2
_BUSY_SECONDS = 8.0  # after a kill, so long Postgres may take for the lock of a dead process


class RebuildRunning(Exception):
    """Another process is rebuilding this group."""


class Rebuilt(NamedTuple):
    """What was done: events folded now and in earlier attempts; how long the workers waited; and
    how the old tables differed from the new, `left` and `right`."""

    folded: int
    resumed_at: int
    seconds: float
    fence_seconds: float
    compared: Mapping[str, Comparison]
    not_compared: str = ""  # why; the new tables are in place all the same


class _Switched(NamedTuple):
    """How long the workers waited, how the tables compare, and why they could not be compared."""

    fence_seconds: float
    compared: Mapping[str, Comparison]
    not_compared: str = ""


class _Outdated(Exception):
    """What the new tables were made of holds no more: somebody was erased meanwhile, or an earlier
    attempt has folded another log."""


class _NotNow(Exception):
    """The moment was not right for the switch: it is tried again."""


_IN_THE_WAY = (
    TimeoutError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
)


def _schema(group: Group) -> str:
    """Where a group's new tables stand while they are filled."""
    return f"{group.schema}_rebuild_{group.name}"


def _replaced(group: Group) -> str:
    """Where the old ones stand until they are dropped."""
    return f"{group.schema}_replaced_{group.name}"


async def rebuild(group: Group, source: Source, tell: Tell = lambda _done, _of: None) -> Rebuilt:
    """Rebuilds a group's read models; goes on with what an interrupted attempt has left.

    Raises RebuildRunning, LogChanged, FoldFailed, ReadBackFailed, OSError, PostgresError.
    """
    begun = time.monotonic()
    async with _alone(group) as connection:
        while True:
            try:
                return await _rebuilt(connection, group, source, tell, begun)
            except _Outdated as outdated:
                logger.info("from the beginning", reason=str(outdated))


async def _rebuilt(
    connection: Connection, group: Group, source: Source, tell: Tell, begun: float
) -> Rebuilt:
    """One attempt. Raises _Outdated, and as `rebuild` does."""
    await drop_tables(connection, _replaced(group))
    schema, names = _schema(group), await count(connection)
    kept = not await create_tables(
        connection, group, schema, await origin(connection, group, source)
    )
    live = await offsets_of(connection, group.name, group.schema)
    if kept:
        logger.info("goes on where an earlier attempt has stopped")
    try:
        async with refolding(group, source, schema, live) as refold:
            resumed_at = sum(refold.at.values())
            switched = await _switch_when_near(connection, group, refold, names, tell)
    except LogChanged as changed:
        if not kept:
            raise
        await drop_tables(connection, schema)
        raise _Outdated(str(changed)) from changed
    return Rebuilt(sum(refold.at.values()), resumed_at, time.monotonic() - begun, *switched)


async def forget_attempt(connection: Connection, group: Group) -> None:
    """Drops what an interrupted rebuild has left, unless somebody is at it."""
    work = f"rebuild/{group.name}"
    if await taken(connection, work):
        try:
            await drop_tables(connection, _schema(group))
            await drop_tables(connection, _replaced(group))
        finally:
            await given_up(connection, work)


@asynccontextmanager
async def _alone(group: Group) -> AsyncIterator[Connection]:
    async def connected() -> Connection:
        return await connect_alone(group.dsn, group.schema, seconds=None)

    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(_BUSY_SECONDS):
                work = alone(connected, f"rebuild/{group.name}", _ASK_SECONDS)
                connection = await stack.enter_async_context(work)
        except TimeoutError:
            raise RebuildRunning(
                f"{group.name} is being rebuilt by another process: wait for it, or end it"
            ) from None
        yield connection


async def origin(connection: Transaction, group: Group, source: Source) -> str:
    """All that tables depend on besides the log: those of another origin are of no use."""
    rows = await connection.fetch(f'SELECT name FROM "{group.schema}".migrations ORDER BY name')  # noqa: S608
    return json.dumps(
        {
            "read_models": {step.model.name: step.model.version for step in group.steps},
            "migrations": [row["name"] for row in rows],
            "timezone": source.clock.zone.key,
            "window": source.window,
            "erased": await count(connection),
        },
        sort_keys=True,
    )


async def _switch_when_near(
    connection: Connection, group: Group, refold: Folding, names: int, tell: Tell
) -> _Switched:
    """Folds on until the switch succeeds."""
    most = asyncio.Event()

    def told(done: int, of: int) -> None:
        tell(done, of)
        if done >= of * _MOST:
            most.set()

    async with _analyzing(group, most) as analyzed:
        for attempt in counter():
            await catch_up(connection, group, refold, told)
            await analyzed
            try:
                return await _switch(connection, group, refold, names)
            except _NotNow as error:
                logger.info("the switch is tried again", reason=str(error))
                await asyncio.sleep(min(attempt + 1, 10) * _PAUSE_SECONDS)
    raise AssertionError("unreachable")


async def renew_live(group: Group, clock: ShopClock, live: LiveFigures) -> None:
    """Puts the live figures of the new tables into Redis, and takes those of the old ones out.

    A group without any must not: Redis would seem to be full. Raises OSError, PostgresError,
    RedisError.
    """
    if not group.has_live:
        return
    pool = await connect(group.dsn, group.schema, size=1)
    try:
        store = GroupStore(pool, group.name, group.steps, clock)
        generations = await store.register()
        await live.refill(await store.live_figures())
    finally:
        await pool.close()
    await live.retire(generations)


@asynccontextmanager
async def _analyzing(group: Group, most: asyncio.Event) -> AsyncIterator[asyncio.Task[None]]:
    """Looks at what the new tables hold once most of it is there, while the rest is folded: a table
    without statistics is scanned where it has an index."""

    async def analyze() -> None:
        await most.wait()
        try:
            connection = await connect_alone(group.dsn, group.schema, seconds=None)
            try:
                for table in group.tables:
                    await connection.execute(f'ANALYZE "{_schema(group)}".{table}')
            finally:
                connection.terminate()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            logger.warning("queries may be slow: no statistics were made", error=repr(error))

    analyzing = asyncio.create_task(analyze())
    try:
        yield analyzing
    finally:
        analyzing.cancel()
        await asyncio.gather(analyzing, return_exceptions=True)


async def _switch(connection: Connection, group: Group, refold: Folding, names: int) -> _Switched:
    """Fences the group, folds what is left, and puts the new tables in place, if no more names were
    erased than they were made with. Raises _NotNow, _Outdated."""
    switched: _Switched | None = None
    witness = await connect_alone(group.dsn, group.schema, seconds=None)
    try:
        async with witness.transaction(isolation="repeatable_read", readonly=True):
            begun = time.monotonic()
            try:
                async with connection.transaction():
                    # Not around the commit: whoever leaves that does not know how it ended.
                    async with asyncio.timeout(_FENCE_SECONDS):
                        await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
                        # A commit is to wait here before it has locked anything: one that has
                        # `read_models` already would wait for us, and we for it.
                        await connection.execute("LOCK TABLE progress IN EXCLUSIVE MODE")
                        if await count(connection) != names:
                            raise _Outdated("somebody was erased meanwhile")
                        live = await offsets_of(connection, group.name, group.schema)
                        await refold.to(refold.reach(live))
                        await witness.execute("SELECT")  # sees the tables as they are at this point
                        await _exchange(connection, group)
            except _IN_THE_WAY as error:
                raise _NotNow(repr(error)) from error
            switched = _Switched(time.monotonic() - begun, {})
            switched = switched._replace(compared=await _compare(witness, group))
        await drop_tables(connection, _replaced(group))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if switched is None:
            raise
        logger.warning("the switch is done; what came after it failed", error=repr(error))
        return switched._replace(not_compared="" if switched.compared else repr(error))
    else:
        return switched
    finally:
        witness.terminate()


async def _compare(witness: Connection, group: Group) -> Mapping[str, Comparison]:
    """How the old tables, as the witness sees them, differ from the new, as it would see them."""
    second = await connect_alone(group.dsn, group.schema, seconds=None)
    try:
        async with second.transaction(isolation="repeatable_read", readonly=True):
            seen = await witness.fetchval("SELECT quote_literal(pg_export_snapshot())")
            await second.execute(f"SET TRANSACTION SNAPSHOT {seen}")
            old, new = Side(witness, _replaced(group)), Side(second, group.schema)
            return {
                step.model.name: await compare(old, new, step.model.contents)
                for step in group.steps
                if step.model.contents is not None
            }
    finally:
        second.terminate()


async def _exchange(connection: Connection, group: Group) -> None:
    """The new tables for the old ones, with all that belongs to them."""
    live, new, old = group.schema, _schema(group), _replaced(group)
    # Whoever reads several tables at one moment has said so here; see `one_generation`.
    await connection.execute("LOCK TABLE read_models IN ACCESS EXCLUSIVE MODE")
    await connection.execute(f'CREATE SCHEMA "{old}"')
    for step in group.steps:
        name = step.model.name
        if step.model.contents is None:
            await connection.execute(
                f'INSERT INTO "{live}".{name} SELECT * FROM "{new}".{name} ON CONFLICT DO NOTHING'  # noqa: S608
            )
        else:
            await connection.execute(f'ALTER TABLE "{live}".{name} SET SCHEMA "{old}"')
            await connection.execute(f'ALTER TABLE "{new}".{name} SET SCHEMA "{live}"')
    await made_right(connection, group)
    for statement in (_PROGRESS, _NO_LONGER_REFUSED, _REFUSED):
        await connection.execute(statement.format(live=live, new=new), group.name)
    await connection.executemany(
        _GENERATION, [(step.model.name, step.model.version) for step in group.steps]
    )
    # Whoever is killed from here on must not find it, and fold on into what is live now.
    await drop_tables(connection, new)


_GENERATION = """
    INSERT INTO read_models AS known VALUES ($1, $2, 1)
    ON CONFLICT (name) DO UPDATE SET
        version = excluded.version, generation = known.generation + 1
"""
_PROGRESS = """
    UPDATE "{live}".progress AS progress SET
        next_offset = new.next_offset, topic_id = new.topic_id, last_digest = new.last_digest,
        applied = new.applied, repeated = new.repeated, quarantined = new.quarantined,
        complete_to = greatest(progress.complete_to, new.complete_to)
    FROM "{new}".progress AS new
    WHERE progress.group_name = $1 AND new.group_name = $1
        AND progress.topic = new.topic AND progress.partition = new.partition
"""
_NO_LONGER_REFUSED = """
    DELETE FROM "{live}".quarantine AS kept WHERE group_name = $1
        AND NOT EXISTS (
            SELECT FROM "{new}".quarantine AS new WHERE new.group_name = $1
                AND (new.topic, new.partition, new.record_offset)
                    = (kept.topic, kept.partition, kept.record_offset)
        )
"""
_REFUSED = """
    INSERT INTO "{live}".quarantine AS kept
    SELECT * FROM "{new}".quarantine WHERE group_name = $1
    ON CONFLICT (group_name, topic, partition, record_offset) DO UPDATE SET
        event_id = excluded.event_id, field = excluded.field, reason = excluded.reason,
        key = excluded.key, value = excluded.value, recorded_at = excluded.recorded_at,
        shop = excluded.shop
    WHERE (kept.reason, kept.value) IS DISTINCT FROM (excluded.reason, excluded.value)
"""
