"""Recommendations that were served, told on the log behind the answer: nobody waits for it."""

import asyncio
from collections.abc import Callable

import structlog

from streams.codec import Refused
from streams.events import Event
from streams.log import Log, LogUnavailable

logger = structlog.get_logger()

_MOST_WAITING = 2_000


class Served:
    """What waits for Kafka. What it does not take teaches nothing: no more is lost. `check` raises
    Refused for what is not to be told: of somebody who was erased."""

    def __init__(self, log: Log, check: Callable[[Event], object]) -> None:
        self._log = log
        self._check = check
        self._waiting: set[asyncio.Task[None]] = set()

    def tell(self, event: Event) -> None:
        """Appends it, some time soon; not where too many wait already."""
        if len(self._waiting) >= _MOST_WAITING:
            return
        try:
            self._check(event)
        except Refused:
            return
        task = asyncio.create_task(self._append(event))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _append(self, event: Event) -> None:
        try:
            await self._log.append([event])
        except LogUnavailable as error:
            logger.warning("what was served is not told", answer=event.id, error=str(error))

    async def close(self) -> None:
        """Waits for what is under way."""
        await asyncio.gather(*self._waiting, return_exceptions=True)
