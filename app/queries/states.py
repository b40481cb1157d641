"""The states that commands decide about, as they are at one moment."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

import asyncpg
from msgspec import Struct

from app.commands.work import Connection, decode
from app.domain.aggregate import Aggregate

S = TypeVar("S", bound=Struct)
MOST_LISTED = 200


class Looks(Protocol):
    """What can be looked at without a lock: within a command, or by a query."""

    async def look(self, kind: Aggregate[S], ids: Sequence[str]) -> Mapping[str, S]: ...


class States:
    """One shop's states, all of the same moment."""

    def __init__(self, connection: Connection, shop: str) -> None:
        self.connection = connection
        self.shop = shop

    async def look(self, kind: Aggregate[S], ids: Sequence[str]) -> Mapping[str, S]:
        """Those of them that are there, by id."""
        rows = await self.connection.fetch(
            f"SELECT id, state FROM {kind.table} WHERE shop = $1 AND id = ANY($2)",  # noqa: S608
            self.shop,
            list(ids),
        )
        return {row["id"]: decode(kind, row["state"]) for row in rows}

    async def find(self, kind: Aggregate[S], id: str) -> tuple[S, int] | None:  # noqa: A002
        """One with its version; None where there is none."""
        row = await self.connection.fetchrow(
            f"SELECT state, version FROM {kind.table} WHERE shop = $1 AND id = $2",  # noqa: S608
            self.shop,
            id,
        )
        return (decode(kind, row["state"]), row["version"]) if row else None

    async def page(
        self, kind: Aggregate[S], after: str | None, limit: int
    ) -> tuple[list[S], str | None]:
        """Some of them in the order of their ids, and after which to go on, if there are more."""
        rows = await self.connection.fetch(
            f"SELECT id, state FROM {kind.table} "  # noqa: S608
            "WHERE shop = $1 AND id > $2 ORDER BY id LIMIT $3",
            self.shop,
            after or "",
            limit + 1,
        )
        states = [decode(kind, row["state"]) for row in rows[:limit]]
        return states, rows[limit - 1]["id"] if len(rows) > limit else None


@asynccontextmanager
async def at_one_moment(pool: "asyncpg.Pool[asyncpg.Record]", shop: str) -> AsyncIterator[States]:
    """All that is asked within it is of the same moment. Raises OSError, TimeoutError,
    PostgresError."""
    async with (
        pool.acquire(timeout=5) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        yield States(connection, shop)
