"""How often something may be tried: counted in Postgres, so that all API processes count together.

A window begins with the first attempt in it. Postgres holds the credentials too: while it is away
nothing is counted, and nobody gets in either.
"""

import hashlib
import ipaddress
from datetime import datetime, timedelta
from math import ceil
from typing import NamedTuple

import asyncpg

_IPV6_NETWORK = 64  # what one subscriber has: all of it is one address here


class TooMany(Exception):
    """It was tried too often. `seconds` until it may be tried again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many attempts; again in {seconds} seconds")
        self.seconds = seconds


class Limit(NamedTuple):
    """So many attempts in a window of time, by one."""

    what: str
    most: int
    window: timedelta


def who(*parts: str) -> bytes:
    """Somebody, as they are counted: without saying who."""
    return hashlib.sha256("\0".join(parts).encode()).digest()


def network_of(address: str | None) -> str:
    """The address of a client, as it is counted."""
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _IPV6_NETWORK), strict=False))
    return str(found)


class Attempts:
    """Counts in one schema."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    async def count(self, limit: Limit, by: bytes, now: datetime) -> None:
        """One attempt more. Raises TooMany, OSError, PostgresError."""
        row = await self._pool.fetchrow(_COUNT, limit.what, by, now, limit.window, limit.most)
        assert row is not None
        if row["times"] > limit.most:
            left = row["since"] + limit.window - now
            raise TooMany(max(1, ceil(left.total_seconds())))

    async def forgive(self, limit: Limit, by: bytes) -> None:
        """It was none to be counted, after all."""
        await self._pool.execute(
            "UPDATE attempts SET times = greatest(times - 1, 0) WHERE what = $1 AND who = $2",
            *(limit.what, by),
        )

    async def clear(self, limit: Limit, by: bytes, now: datetime) -> None:
        """Lets go of what was counted, and of some that nobody will ask for any more."""
        await self._pool.execute(
            "DELETE FROM attempts WHERE what = $1 AND who = $2", limit.what, by
        )
        await self._pool.execute(_FORGET, now - timedelta(days=1))


_COUNT = """
    INSERT INTO attempts AS known (what, who, since, times) VALUES ($1, $2, $3, 1)
    ON CONFLICT (what, who) DO UPDATE SET
        since = CASE WHEN known.since <= $3 - $4::interval THEN $3 ELSE known.since END,
        times = CASE WHEN known.since <= $3 - $4::interval THEN 1
            ELSE least(known.times, $5::int) + 1 END
    RETURNING since, times
"""
_FORGET = """
    DELETE FROM attempts WHERE ctid = ANY(
        ARRAY(SELECT ctid FROM attempts WHERE since < $1 LIMIT 20 FOR UPDATE SKIP LOCKED)
    )
"""
