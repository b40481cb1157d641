"""The erased names as an API process knows them: nobody is let in under one."""

import asyncio

import asyncpg
import structlog

from app.vault import Vault
from projections import erasure
from projections.postgres import AWAY
from streams.codec import Refused
from streams.erased import NOBODY, Erased, is_erased
from streams.events import Event

logger = structlog.get_logger()

_LOOK_SECONDS = 1.0


class ErasedNames:
    """Looks once a second whether somebody was erased, by whatever process; from then on their
    events are refused, and their key is known here no more. What came in before is heard under a
    pseudonym like all the rest."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", vault: Vault) -> None:
        self._pool = pool
        self._vault = vault
        self.known: Erased = NOBODY

    async def look(self) -> None:
        """Whether there are more. Raises what says that Postgres is away."""
        async with self._pool.acquire(timeout=5) as connection:
            if await erasure.count(connection) == self.known.count:
                return
            self.known = await erasure.erased(connection)
        self._vault.forget()

    def are_gone(self, shop: str, name: str) -> bool:
        """Whether this was the name of somebody who was erased. Models know it until they are made
        anew, and nobody else is to."""
        return self.known.pseudonym(shop, name) is not None

    async def run(self) -> None:
        """Looks, for ever."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self.look()
            except AWAY as error:
                logger.warning("whether somebody was erased is not known now", error=repr(error))

    def check(self, event: Event) -> None:
        """Raises Refused where an event is of somebody who was erased."""
        visitor = event.context.visitor if event.context else None
        for field, name in (
            ("person", event.person),
            ("subject", event.subject),
            ("context.visitor", visitor),
        ):
            if name is not None and (is_erased(name) or self.known.pseudonym(event.shop, name)):
                raise Refused(
                    field, "erased: nothing more is taken of this person; others need another id"
                )
