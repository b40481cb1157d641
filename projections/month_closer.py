"""The closer of months: tells of each month of each shop once its days are closed, and again when
days of it were corrected.

It stands beside the closer of days and reads what that one has told, nothing else. One turn is one
transaction over one snapshot: what was told of the days, what they come to, its events in the
outbox. Dying at any moment leaves a month told, once, or not told yet.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, date, datetime

import structlog

from projections import day_tables, month_tables
from projections.clock import following
from projections.closing import Rules, corrections
from projections.closing_months import ToldMonth, closes, figures_of, recall, settled, telling
from projections.month_tables import Candidate
from projections.read_model import Transaction
from streams.events import Event
from streams.exclusive import Connect, Connection, alone
from streams.outbox import enqueue

logger = structlog.get_logger()

LOCK = "months"
_MOST_MONTHS = 12  # in a turn
_LOOK_SECONDS = 3.0
_PAUSE_SECONDS = 2.0


Closed = Callable[[Transaction, str, date], Awaitable[None]]
"""Hears, in the transaction that tells it, which month of which shop is closed now."""


class MonthCloser:
    """Closes the months of all shops in one schema."""

    def __init__(
        self,
        connect: Connect,
        rules: Rules,
        told: Callable[[], Awaitable[Iterable[Event]]],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        closed: Closed | None = None,
    ) -> None:
        self._connect = connect
        self._closed = closed
        self._rules = rules
        self._told = told
        self._now = now

    async def run(self) -> None:
        """Closes months, for ever, while no other process does."""
        while True:
            try:
                async with alone(self._connect, LOCK) as connection:
                    await self.recall(connection)
                    while True:
                        if not await self.turn(connection):
                            await asyncio.sleep(_LOOK_SECONDS)
            except Exception as error:
                # Whatever it was, nothing of that turn is told, and it must not stop the folds.
                logger.warning("months stay open for now", error=repr(error))
            await asyncio.sleep(_PAUSE_SECONDS)

    async def recall(self, connection: Connection) -> None:
        """Where nothing is known to be told, as after a rebuild: what the log says of months."""
        if await connection.fetchval("SELECT EXISTS (SELECT FROM months)"):
            return
        number = 0
        events = await self._told()
        async with connection.transaction():
            for (shop, month), known in recall(events):
                await month_tables.save(connection, shop, month, known)
                number += 1
        if number:
            logger.info("the closed months are those of the log", months=number)

    async def turn(self, connection: Connection) -> bool:
        """Tells some of what there is to tell; whether there may be more."""
        spoken = 0
        async with connection.transaction(isolation="repeatable_read"):
            now = self._now()
            for found in await month_tables.candidates(connection):
                spoken += await self._tell(connection, found, now)
                if spoken == _MOST_MONTHS:
                    return True
        return False

    async def _tell(self, transaction: Transaction, found: Candidate, now: datetime) -> bool:
        """Tells what a month comes to, if it is time to, and it is not what was told."""
        shop, month, next_day, revision = found
        if revision is None and not closes(month, next_day):
            return False
        days = await month_tables.closed_days(transaction, shop, month)
        told = await month_tables.told(transaction, shop, month)
        if told is not None and not settled(days, told.days, now, self._rules):
            return False
        first_days = await day_tables.first_days(transaction, shop)
        of_days = await day_tables.told(transaction, shop, list(days))
        figures = figures_of(first_days, month, of_days)
        revisions = {day: of_day.revision for day, of_day in days.items()}
        if told is None:
            spoken = ToldMonth(0, now, revisions, figures)
        else:
            changed = corrections(told.figures, figures)
            # Days that make up for each other leave the month as it is.
            revision, at = (told.revision + 1, now) if changed else (told.revision, told.at)
            spoken = ToldMonth(revision, at, revisions, changed)
        await month_tables.save(transaction, shop, month, spoken)
        if told is None or spoken.figures:
            parents = await day_tables.parents(
                transaction, self._rules.clock, shop, month, following(month)
            )
            events = telling(shop, month, spoken.revision, revisions, spoken.figures, now, parents)
            await enqueue(transaction, events)
        if told is None and self._closed is not None:
            await self._closed(transaction, shop, month)
        return True
