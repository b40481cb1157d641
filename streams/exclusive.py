"""Work that one process at a time may do: the one that holds an advisory lock of Postgres."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import asyncpg

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Connect: TypeAlias = Callable[[], Awaitable[Connection]]

_ASK_SECONDS = 2.0
_CLOSE_SECONDS = 2.0

# Asked for again and again: whoever waits within the statement keeps Postgres from vacuuming.
_TRY = "SELECT pg_try_advisory_lock(hashtextextended(current_schema() || '/' || $1, 0))"


@asynccontextmanager
async def alone(
    connect: Connect, work: str, ask_seconds: float = _ASK_SECONDS
) -> AsyncIterator[Connection]:
    """A connection of its own, once nobody else in this schema does this work.

    The lock ends with the connection: whoever has lost it cannot commit anything through it.
    """
    connection = await connect()
    try:
        while not await taken(connection, work):
            await asyncio.sleep(ask_seconds)
        yield connection
    finally:
        with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await connection.close(timeout=_CLOSE_SECONDS)


async def taken(connection: Connection, work: str) -> bool:
    """Whether a connection has got the lock of some work, which it then keeps until its end."""
    return bool(await connection.fetchval(_TRY, work))


async def given_up(connection: Connection, work: str) -> None:
    """Lets others do some work that this connection has got the lock of."""
    await connection.execute(
        "SELECT pg_advisory_unlock(hashtextextended(current_schema() || '/' || $1, 0))", work
    )


HELD = """
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND (classid::bigint << 32) | objid::bigint
            = hashtextextended(current_schema() || '/' || {work}, 0)
"""
"""The lock of some `work`, which is SQL, if anybody has got it."""
