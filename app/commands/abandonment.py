"""Carts in which nothing happens any more: told once each, by one process of all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeAlias

import asyncpg
import structlog

from app.commands.carts import abandon_cart
from app.commands.execute import Call, Commands
from app.commands.work import Work
from app.domain.refusal import Refusal
from app.vault import Vault
from streams.exclusive import Connect, alone

logger = structlog.get_logger()

OpenPool: TypeAlias = Callable[[], Awaitable["asyncpg.Pool[asyncpg.Record]"]]

_AT_ONCE = 500
_POLL_SECONDS = 10.0
_PAUSE_SECONDS = 1.0

_SILENT = """
    SELECT shop, id FROM carts WHERE status = 'open' AND filled AND changed_at <= $1
    ORDER BY changed_at LIMIT $2
"""


class Abandonment:
    """Looks for carts of one schema that have been silent for so long."""

    def __init__(
        self,
        connect: Connect,
        open_pool: OpenPool,
        silence: timedelta,
        poll_seconds: float = _POLL_SECONDS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._connect = connect
        self._open_pool = open_pool
        self._silence = silence
        self._poll_seconds = poll_seconds
        self._clock = clock

    async def run(self) -> None:
        """Looks, for ever, while no other process does."""
        while True:
            try:
                async with alone(self._connect, "carts"), self._commands() as commands:
                    while True:
                        if await self.once(commands) < _AT_ONCE:
                            await asyncio.sleep(self._poll_seconds)
            except Exception as error:
                # Whatever it was: the carts are there, and are found again.
                logger.warning("silent carts wait", error=repr(error))
            await asyncio.sleep(_PAUSE_SECONDS)

    async def once(self, commands: Commands) -> int:
        """Abandons the carts that have been silent for longest; how many it found.

        Each is a command of its own, which looks again under the cart's lock: a shopper who comes
        back at this moment is not told to be gone.
        """
        before = self._clock() - self._silence
        silent = await commands.pool.fetch(_SILENT, before, _AT_ONCE)
        for shop, cart_id in silent:
            call = Call(shop, "", Work.new_id(), b"")
            try:
                await commands.run(
                    call,
                    self._clock(),
                    partial(abandon_cart, cart_id=cart_id, silence=self._silence),
                )
            except Refusal as refusal:
                logger.warning("a silent cart waits", cart=cart_id, error=str(refusal))
        return len(silent)

    @asynccontextmanager
    async def _commands(self) -> AsyncIterator[Commands]:
        pool = await self._open_pool()
        try:
            yield Commands(pool, Vault(pool))
        finally:
            await asyncio.wait_for(pool.close(), 5)
