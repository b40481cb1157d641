"""Who logs in with which e-mail address. Hashes of passwords stand here and nowhere else."""

import unicodedata
from datetime import datetime
from typing import NamedTuple, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record] | asyncpg.Pool[asyncpg.Record]"


class Credentials(NamedTuple):
    user_id: str
    hash: str
    role: str


def compared(email: str) -> str:
    """An address as it is compared: whoever writes it otherwise is the same."""
    return unicodedata.normalize("NFKC", email).strip().casefold()


async def add(
    connection: Connection, shop: str, user_id: str, email: str, hashed: str, now: datetime
) -> bool:
    """Whether the address was free."""
    return bool(
        await connection.fetchval(
            """
            INSERT INTO credentials (shop, user_id, email, hash, changed_at)
            VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT DO NOTHING RETURNING true
            """,
            *(shop, user_id, compared(email), hashed, now),
        )
    )


async def find(connection: Connection, shop: str, email: str) -> Credentials | None:
    """Those of an address."""
    row = await connection.fetchrow(
        f"{_FIND} WHERE c.shop = $1 AND c.email = $2", shop, compared(email)
    )
    return Credentials(*row) if row else None


async def of_user(connection: Connection, shop: str, user_id: str) -> Credentials | None:
    row = await connection.fetchrow(f"{_FIND} WHERE c.shop = $1 AND c.user_id = $2", shop, user_id)
    return Credentials(*row) if row else None


async def change(
    connection: Connection, shop: str, user_id: str, hashed: str, now: datetime
) -> None:
    """Another password from now on."""
    await connection.execute(
        "UPDATE credentials SET hash = $3, changed_at = $4 WHERE shop = $1 AND user_id = $2",
        *(shop, user_id, hashed, now),
    )


async def renew(
    connection: Connection, shop: str, user_id: str, known: str, hashed: str, now: datetime
) -> None:
    """Another hash of the same password, if that is still the password."""
    await connection.execute(
        "UPDATE credentials SET hash = $4, changed_at = $5 "
        "WHERE shop = $1 AND user_id = $2 AND hash = $3",
        *(shop, user_id, known, hashed, now),
    )


async def remove(connection: Connection, shop: str, user_id: str) -> None:
    await connection.execute(
        "DELETE FROM credentials WHERE shop = $1 AND user_id = $2", shop, user_id
    )


_FIND = """
    SELECT c.user_id, c.hash, a.role
    FROM credentials c JOIN accounts a ON a.shop = c.shop AND a.id = c.user_id
"""
