"""One copy of a command at a time: a storm of retries under one key takes one connection, and the
copies that come while it is being carried out get its answer without asking Postgres."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

K = TypeVar("K")
A = TypeVar("A")


class Waited(Exception):
    """It was not one's turn in time."""


class Turn(Generic[A]):
    """The copies under one key that are here at this moment."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.here = 0
        self.answer: A | None = None
        """What the first was answered with, for those that wait."""


class Turns(Generic[K, A]):
    """Whose turn it is under each key, in this process. Between processes Postgres decides."""

    def __init__(self) -> None:
        self._turns: dict[K, Turn[A]] = {}

    @asynccontextmanager
    async def turn(self, key: K, wait: float) -> AsyncIterator[Turn[A]]:
        """One's own turn, after so many seconds at most. Raises Waited."""
        turn = self._turns.setdefault(key, Turn())
        turn.here += 1
        try:
            try:
                async with asyncio.timeout(wait):
                    await turn.lock.acquire()
            except TimeoutError:
                raise Waited from None
            try:
                yield turn
            finally:
                turn.lock.release()
        finally:
            turn.here -= 1
            if not turn.here:
                del self._turns[key]
