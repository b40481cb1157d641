"""Logging in: counted before the password is looked at, and as slow for whom there is not."""

from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg

from app.identity import credentials
from app.identity.attempts import Attempts, Limit, who
from app.identity.passwords import Passwords
from app.identity.sessions import NoSession, Refreshed, Sessions


class Wrong(Exception):
    """There is no such account, or this is not its password: which of them is not told."""


class Limits(NamedTuple):
    """What may be tried: by account, by a client's address, and registered from one."""

    account: Limit
    address: Limit
    registration: Limit


def limits(per_account: int, per_address: int, registrations: int) -> Limits:
    quarter = timedelta(minutes=15)
    return Limits(
        Limit("login account", per_account, quarter),
        Limit("login address", per_address, quarter),
        Limit("registration", registrations, timedelta(hours=1)),
    )


class LogIns:
    """The way in to one schema's accounts."""

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        passwords: Passwords,
        sessions: Sessions,
        allowed: Limits,
    ) -> None:
        self.passwords = passwords
        self.sessions = sessions
        self._pool = pool
        self._attempts = Attempts(pool)
        self._limits = allowed

    async def log_in(
        self, shop: str, email: str, password: str, address: str, now: datetime
    ) -> Refreshed:
        """A new session. Raises Wrong, TooMany, Busy, OSError, PostgresError."""
        known = await credentials.find(self._pool, shop, email)
        # An account is counted by its address, so that one that is not there is counted as well.
        account = who(shop, credentials.compared(email))
        await self._check(known, account, shop, password, address, now)
        assert known is not None
        hashed = known.hash
        if self.passwords.is_dated(hashed):
            hashed = await self._renew(shop, known, password, now)
        try:
            return await self.sessions.begin(shop, known.user_id, hashed, now)
        except NoSession:
            raise Wrong from None

    async def confirm(
        self, shop: str, user_id: str, password: str, address: str, now: datetime
    ) -> None:
        """That somebody who is logged in knows their password. Raises as `log_in` does."""
        known = await credentials.of_user(self._pool, shop, user_id)
        await self._check(known, who(shop, "", user_id), shop, password, address, now)

    async def count_registration(self, address: str, now: datetime) -> None:
        """Raises TooMany."""
        await self._attempts.count(self._limits.registration, who(address), now)

    async def _check(
        self,
        known: credentials.Credentials | None,
        account: bytes,
        shop: str,
        password: str,
        address: str,
        now: datetime,
    ) -> None:
        # Counted first: however many ask at once, so many passwords are looked at and no more.
        await self._attempts.count(self._limits.address, who(shop, address), now)
        await self._attempts.count(self._limits.account, account, now)
        if not await self.passwords.fits(known and known.hash, password):
            raise Wrong
        await self._attempts.clear(self._limits.account, account, now)
        await self._attempts.forgive(self._limits.address, who(shop, address))

    async def _renew(
        self, shop: str, known: credentials.Credentials, password: str, now: datetime
    ) -> str:
        """The same password, hashed as it is done today."""
        hashed = await self.passwords.hash(password)
        # If it was changed meanwhile, the changed one stays, and no session begins with this one.
        await credentials.renew(self._pool, shop, known.user_id, known.hash, hashed, now)
        return hashed
