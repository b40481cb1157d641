"""Accounts made by whoever has the servers: without HTTP, and without being anyone in the shop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from app.commands import accounts
from app.commands.execute import Answer, Call, Commands
from app.commands.work import Work
from app.domain.account import SHOP_ITSELF
from app.identity import credentials
from app.identity.passwords import Passwords
from app.settings import Settings
from app.vault import Vault
from projections.postgres import connect, migrate
from streams.events import AccountRegistered, Role


class Registrar:
    """Makes accounts, and changes their passwords. All of it raises Refusal."""

    def __init__(self, commands: Commands, passwords: Passwords) -> None:
        self._commands = commands
        self._passwords = passwords

    async def create(
        self, shop: str, email: str, password: str, role: Role, name: str | None = None
    ) -> str:
        """A new account; its user's id."""
        hashed = await self._passwords.hash(password)
        registered = AccountRegistered(user_id=Work.new_id(), role=role, email=email, name=name)

        async def handle(work: Work) -> Answer:
            return await accounts.register(work, registered, hashed, SHOP_ITSELF)

        await self._commands.run(self._call(shop), datetime.now(UTC), handle)
        return registered.user_id

    async def set_password(self, shop: str, email: str, password: str) -> str | None:
        """Another password, and no session; the user's id, or None where there is no account."""
        known = await credentials.find(self._commands.pool, shop, email)
        if known is None:
            return None
        hashed = await self._passwords.hash(password)
        call = self._call(shop)

        async def handle(work: Work) -> Answer:
            return await accounts.change_password(
                work, call, known.user_id, hashed, SHOP_ITSELF, None
            )

        await self._commands.run(call, datetime.now(UTC), handle)
        return known.user_id

    async def ensure(self, shop: str, email: str, password: str, role: Role, name: str) -> str:
        """An account of this role that has this password, whether it was there or not."""
        there = await self.set_password(shop, email, password)
        if there is None:
            return await self.create(shop, email, password, role, name)
        call = self._call(shop)

        async def handle(work: Work) -> Answer:
            return await accounts.change_role(work, call, there, role, SHOP_ITSELF)

        await self._commands.run(call, datetime.now(UTC), handle)
        return there

    @staticmethod
    def _call(shop: str) -> Call:
        return Call(shop, "", Work.new_id(), b"")


@asynccontextmanager
async def registrar(settings: Settings) -> AsyncIterator[Registrar]:
    """On the servers of the settings. Raises OSError, PostgresError."""
    postgres = settings.servers.postgres
    await migrate(postgres, settings.schema_name)
    # Of two: a person's key is made beside the transaction that needs it.
    pool = await connect(postgres, settings.schema_name, size=2)
    passwords = Passwords()
    try:
        yield Registrar(Commands(pool, Vault(pool)), passwords)
    finally:
        passwords.close()
        await pool.close()
