"""Sessions: a log-in, and the refresh tokens that follow one from another in it.

A refresh token is used once; what it was exchanged for is its successor. Whoever comes with a used
one either asked twice at the same time, and gets the same successor again for a few seconds, or
the token was stolen: then the session ends for everyone. Of tokens only digests are kept, and a
successor sealed with the token that it followed.
"""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

logger = structlog.get_logger()

LASTS = timedelta(days=30)
"""After which one logs in again, whatever was refreshed."""

GRACE = timedelta(seconds=10)
"""In which a used token gives its successor again: requests at the same time, answers lost."""

_TOKEN_BYTES = 32


class NoSession(Exception):
    """The token is of no session, or of none that goes on."""


class Refreshed(NamedTuple):
    """A session that goes on, whose it is, and its next refresh token."""

    session: str
    user_id: str
    role: str
    token: str


class Sessions:
    """The sessions of one schema."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    async def begin(self, shop: str, user_id: str, hashed: str, now: datetime) -> Refreshed:
        """A new session of who had this password's hash a moment ago. Raises NoSession where the
        password has changed since, or the account was closed."""
        session, token = secrets.token_hex(16), _new_token()
        async with self._pool.acquire(timeout=5) as connection, connection.transaction():
            if await connection.fetchval(_HASH, shop, user_id) != hashed:
                raise NoSession
            # Asked after the lock, behind which a role is changed and sessions are ended.
            role = await connection.fetchval(_ROLE, shop, user_id)
            await connection.execute(_BEGIN, session, shop, user_id, now, now + LASTS)
            await _add(connection, token, session, now)
            await connection.execute(_FORGET, now)
        return Refreshed(session, user_id, role, token)

    async def refresh(self, shop: str, token: str, now: datetime) -> Refreshed:
        """The next token of a session. Raises NoSession, after which there is none."""
        async with self._pool.acquire(timeout=5) as connection, connection.transaction():
            row = await connection.fetchrow(_FIND, _digest(token), shop)
            if row is None or row["ended_at"] or row["ends_at"] <= now:
                raise NoSession
            if row["used_at"] is None:
                successor = await self._exchange(connection, token, row["session"], now)
            elif now - row["used_at"] <= GRACE:
                successor = _opened(row["successor"], token)
            else:
                successor = None
                await connection.execute(_END, [row["session"]], now, "reuse")
        if successor is None:
            logger.warning("a refresh token was used again", shop=shop, session=row["session"])
            raise NoSession
        return Refreshed(row["session"], row["user_id"], row["role"], successor)

    async def _exchange(
        self,
        connection: "PoolConnectionProxy[asyncpg.Record]",
        token: str,
        session: str,
        now: datetime,
    ) -> str:
        successor = _new_token()
        await connection.execute(
            "UPDATE refresh_tokens SET used_at = $2, successor = $3 WHERE digest = $1",
            *(_digest(token), now, _sealed(successor, token)),
        )
        await _add(connection, successor, session, now)
        return successor

    async def end(self, shop: str, token: str, now: datetime) -> None:
        """Ends the session of a refresh token, used or not, if it is of any."""
        await self._pool.execute(_LOG_OUT, _digest(token), shop, now)

    async def is_fresh(self, session: str, now: datetime) -> bool:
        """Whether it began just now."""
        return bool(
            await self._pool.fetchval(
                "SELECT begun_at > $2 FROM sessions WHERE id = $1", *(session, now - FRESH)
            )
        )

    async def holds(self, session: str, now: datetime) -> bool:
        """Whether it goes on."""
        return bool(
            await self._pool.fetchval(
                "SELECT ended_at IS NULL AND ends_at > $2 FROM sessions WHERE id = $1",
                *(session, now),
            )
        )


FRESH = timedelta(minutes=15)
"""How long a log-in is one of just now: for what cannot be undone."""


async def end_all(
    connection: "PoolConnectionProxy[asyncpg.Record]",
    shop: str,
    user_id: str,
    why: str,
    now: datetime,
    but: str | None = None,
) -> None:
    """Ends all sessions of somebody, but one, with the transaction. None begins meanwhile."""
    await connection.execute(
        "SELECT FROM credentials WHERE shop = $1 AND user_id = $2 FOR UPDATE", shop, user_id
    )
    await connection.execute(
        """
        UPDATE sessions SET ended_at = $3, ended_by = $4
        WHERE shop = $1 AND user_id = $2 AND ended_at IS NULL AND id IS DISTINCT FROM $5
        """,
        *(shop, user_id, now, why, but),
    )


async def _add(
    connection: "PoolConnectionProxy[asyncpg.Record]", token: str, session: str, now: datetime
) -> None:
    await connection.execute(
        "INSERT INTO refresh_tokens (digest, session, made_at) VALUES ($1, $2, $3)",
        *(_digest(token), session, now),
    )


def _new_token() -> str:
    return secrets.token_urlsafe(_TOKEN_BYTES)


def _digest(token: str) -> bytes:
    return hashlib.sha256(b"refresh\0" + token.encode()).digest()


def _cipher(token: str) -> AESSIV:
    # A token is 256 random bits: a hash of it is a key. Each seals one successor, once.
    return AESSIV(hashlib.sha256(b"successor\0" + token.encode()).digest())


def _sealed(successor: str, token: str) -> bytes:
    return _cipher(token).encrypt(successor.encode(), None)


def _opened(sealed: bytes, token: str) -> str:
    return _cipher(token).decrypt(sealed, None).decode()


_HASH = "SELECT hash FROM credentials WHERE shop = $1 AND user_id = $2 FOR SHARE"
_ROLE = "SELECT role FROM accounts WHERE shop = $1 AND id = $2"
_BEGIN = """
    INSERT INTO sessions (id, shop, user_id, begun_at, ends_at) VALUES ($1, $2, $3, $4, $5)
"""
_FIND = """
    SELECT t.session, t.used_at, t.successor, s.user_id, s.ends_at, s.ended_at, a.role
    FROM refresh_tokens t
    JOIN sessions s ON s.id = t.session
    JOIN accounts a ON a.shop = s.shop AND a.id = s.user_id
    WHERE t.digest = $1 AND s.shop = $2
    FOR UPDATE OF t, s
"""
_END = "UPDATE sessions SET ended_at = $2, ended_by = $3 WHERE id = ANY($1) AND ended_at IS NULL"
_LOG_OUT = """
    UPDATE sessions SET ended_at = $3, ended_by = 'logout'
    WHERE shop = $2 AND ended_at IS NULL
        AND id = (SELECT session FROM refresh_tokens WHERE digest = $1)
"""
_FORGET = """
    DELETE FROM sessions WHERE ctid = ANY(
        ARRAY(SELECT ctid FROM sessions WHERE ends_at < $1 LIMIT 10 FOR UPDATE SKIP LOCKED)
    )
"""
