"""One process learns: the one that holds the group's advisory lock. Others wait for it, ready."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg

_ASK_SECONDS = 1.0
_TRY_SECONDS = 0.5
_ANSWER_SECONDS = 10.0
_GONE = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class LeadershipLost(Exception):
    """The lock went with its connection: someone else may be learning already."""


def lock_of(schema: str, group: str) -> int:
    """The lock's number, the same in every process."""
    found = hashlib.sha256(f"learner\0{schema}\0{group}".encode()).digest()
    return int.from_bytes(found[:8], "big", signed=True)


class Leadership:
    """The lock, held by a connection of its own."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    async def watch(self) -> None:
        """Runs for as long as the lock is held. Raises LeadershipLost."""
        while True:
            try:
                await self._connection.execute("SELECT 1", timeout=_ANSWER_SECONDS)
            except _GONE as error:
                raise LeadershipLost(f"Postgres does not answer: {error!r}") from error
            await asyncio.sleep(_ASK_SECONDS)


@asynccontextmanager
async def leadership(dsn: str, schema: str, group: str) -> AsyncIterator[Leadership]:
    """Waits for the lock as long as it takes, and holds it for the time of the block.

    Raises LeadershipLost where Postgres cannot be reached.
    """
    try:
        connection = await asyncpg.connect(dsn, timeout=_ANSWER_SECONDS)
    except _GONE as error:
        raise LeadershipLost(f"Postgres cannot be reached: {error!r}") from error
    try:
        try:
            # Asked for again and again: whoever waits within the statement keeps Postgres from
            # vacuuming, and a second learner may wait for weeks.
            while not await connection.fetchval(
                "SELECT pg_try_advisory_lock($1)", lock_of(schema, group), timeout=_ANSWER_SECONDS
            ):
                await asyncio.sleep(_TRY_SECONDS)
        except _GONE as error:
            raise LeadershipLost(f"Postgres went away: {error!r}") from error
        yield Leadership(connection)
    finally:
        # The server frees the lock when the connection ends, however it ends.
        with suppress(*_GONE):
            await connection.close(timeout=2)


async def publish(pool: "asyncpg.Pool[asyncpg.Record]", group: str, address: str) -> None:
    """Tells where the learner answers."""
    await pool.execute(
        """
        INSERT INTO learner_addresses VALUES ($1, $2, now())
        ON CONFLICT (group_name) DO UPDATE SET address = excluded.address, since = excluded.since
        """,
        group,
        address,
    )


async def address_of(pool: "asyncpg.Pool[asyncpg.Record]", group: str) -> str | None:
    """Where the learner answers, or last did; None where there was none yet."""
    found = await pool.fetchval(
        "SELECT address FROM learner_addresses WHERE group_name = $1", group
    )
    return None if found is None else str(found)


async def is_led(pool: "asyncpg.Pool[asyncpg.Record]", schema: str, group: str) -> bool:
    """Whether someone holds the lock."""
    found = await pool.fetchval(
        """
        SELECT count(*) FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND objsubid = 1
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND (classid::bigint << 32) | objid::bigint = $1
        """,
        lock_of(schema, group),
    )
    return bool(found)
