"""The closer: tells of each day of each shop when it is over, and again when that was not all.

One turn is one transaction over one snapshot: the watermark and the positions, the notes of changed
days, and the sales they come to; then what was told, and its events in the outbox. Nothing that a
fold writes is written here, so neither waits for the other. The notes are taken away afterwards,
each only if no fold has renewed it meanwhile; dying before that means comparing once more.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import structlog
from aiokafka import TopicPartition

from projections import day_tables as tables
from projections.closing import (
    Rules,
    Shop,
    Told,
    closable,
    closing_figures,
    corrections,
    heard,
    may_close,
    recall,
    telling,
)
from projections.day_tables import Note
from projections.read_model import Transaction, one_generation
from streams import codec
from streams.codec import Refused
from streams.events import Event
from streams.exclusive import Connect, Connection, alone
from streams.outbox import enqueue
from streams.readback import log_ends, read_back

logger = structlog.get_logger()

GROUP, TOPIC = "sales", "orders"  # whose watermark ends a day
_MOST_DAYS = 31  # in a turn
_MOST_FIGURES = 100_000  # in a turn, about; a day is told whole
_LOOK_SECONDS = 1.0
_PAUSE_SECONDS = 2.0
_REST = 1  # a turn that leaves some to do is followed by a rest this many times as long


class Snapshot(NamedTuple):
    """What a turn goes by: the positions of all partitions, up to when they are applied (never in
    the future), and the time."""

    positions: Mapping[str, int]
    at: datetime
    now: datetime


class Closer:
    """Closes the days of all shops in one schema."""

    def __init__(
        self,
        connect: Connect,
        rules: Rules,
        partitions: int,
        told: Callable[[], Awaitable[Iterable[Event]]],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._connect = connect
        self._rules = rules
        self._partitions = partitions
        self._told = told
        self._now = now

    async def run(self) -> None:
        """Closes days, for ever, while no other process does."""
        while True:
            try:
                async with alone(self._connect, "days") as connection:
                    await self.recall(connection)
                    if former := await tables.note_former(connection):
                        logger.info("closed days lack levels that are told today", days=former)
                    while True:
                        begun = time.monotonic()
                        more = await self.turn(connection)
                        rest = _REST * (time.monotonic() - begun)
                        await asyncio.sleep(rest if more else _LOOK_SECONDS)
            except Exception as error:
                # Whatever it was, nothing of that turn is told, and it must not stop the folds.
                logger.warning("days stay open for now", error=repr(error))
            await asyncio.sleep(_PAUSE_SECONDS)

    async def recall(self, connection: Connection) -> None:
        """Where nothing is known to be told, as after a rebuild: what the log of days says."""
        if await connection.fetchval("SELECT EXISTS (SELECT FROM days)"):
            return
        spans: dict[str, list[date]] = defaultdict(list)
        events = await self._told()
        async with connection.transaction():
            for (shop, day), known in recall(events):
                await tables.save_told(connection, shop, {day: known})
                spans[shop].append(day)
            for shop, days in spans.items():
                await tables.save_shop(connection, shop, Shop(min(days), max(days)))
        if spans:
            number = sum(map(len, spans.values()))
            logger.info("the closed days are those of the log", days=number)

    async def turn(self, connection: Connection) -> bool:
        """Tells some of what there is to tell; whether there may be more."""
        room, seen = _MOST_DAYS, []
        async with connection.transaction(isolation="repeatable_read"):
            await one_generation(connection)
            snapshot = await self._snapshot(connection)
            if snapshot is None:
                return False
            shops, notes = await tables.shops(connection), await tables.notes(connection)
            for name in sorted({*shops, *notes}):
                of_shop = notes.get(name, [])
                days, more = await self._close(
                    connection, name, shops.get(name), of_shop, snapshot, room
                )
                late = self._late(of_shop, snapshot)[: room - len(days)]
                if days or late:
                    await self._tell(connection, name, days, late, snapshot)
                done = {*days, *(note.day for note in late)}
                seen += [(name, note) for note in of_shop if note.day in done]
                room = 0 if more else room - len(done)
                if not room:
                    break
        await tables.take_away(connection, seen)
        return not room

    async def _snapshot(self, transaction: Transaction) -> Snapshot | None:
        """None while a partition is not known to have been read at all."""
        rows = await transaction.fetch(
            "SELECT partition, next_offset, complete_to FROM progress "
            "WHERE group_name = $1 AND topic = $2 ORDER BY partition",
            GROUP,
            TOPIC,
        )
        times = [row["complete_to"] for row in rows]
        if len(times) < self._partitions or None in times:
            return None
        now = self._now()
        positions = {f"{TOPIC}:{row['partition']}": row["next_offset"] for row in rows}
        return Snapshot(positions, min(*times, now), now)

    def _late(self, notes: Sequence[Note], snapshot: Snapshot) -> list[Note]:
        """The closed days whose changes have settled."""
        return [
            note
            for note in notes
            if note.revision is not None and self._rules.settled(note.when, snapshot.at)
        ]

    async def _close(
        self,
        transaction: Transaction,
        name: str,
        known: Shop | None,
        notes: Sequence[Note],
        snapshot: Snapshot,
        most: int,
    ) -> tuple[list[date], bool]:
        """The days of a shop that close now, and whether there may be more; the shop is saved.

        None closes while former days are not told at every level: who learns of a new level learns
        its days in their order when the next one closes, and can then only mend what comes later.
        """
        open_days = {note.day: note.when for note in notes if note.revision is None}
        shop, days, more = heard(known, open_days, self._rules), list[date](), False
        former = any(note.former for note in notes)
        if shop is not None and not former and may_close(shop, snapshot.at, self._rules):
            series = await tables.series_count(transaction, name)
            most = min(most, max(1, _MOST_FIGURES // (series + 1)))
            until = shop.next_day + timedelta(days=most)
            days, next_day = closable(
                shop,
                open_days,
                await tables.closed(transaction, name, shop.next_day, until),
                at=snapshot.at,
                complete_at=await transaction.fetchval(
                    "SELECT complete_at FROM day_histories WHERE shop = $1", name
                ),
                rules=self._rules,
                until=until,
            )
            more = next_day == until
            shop = Shop(next_day, shop.last_day, shop.live_from)
        if shop is not None and shop != known:
            await tables.save_shop(transaction, name, shop)
        return days, more

    async def _tell(
        self,
        transaction: Transaction,
        shop: str,
        days: Sequence[date],
        late: Sequence[Note],
        snapshot: Snapshot,
    ) -> None:
        """Tells what closing days come to, and late ones, where that is not what was told. One
        after the other: a day of a large shop is much to hold."""
        first_days = await tables.first_days(transaction, shop) if days else {}
        for day in days:
            sales = await tables.sales(transaction, shop, day)
            figures = closing_figures(first_days, day, sales)
            first_days |= {series: min(day, first_days.get(series, day)) for series in figures}
            await self._say(transaction, shop, day, Told(0, snapshot.now, figures), snapshot)
        for day, _, _, revision, _ in late:
            told = await tables.told(transaction, shop, [day])
            sales = await tables.sales(transaction, shop, day)
            figures = corrections(told.get(day, {}), sales)
            if figures and revision is not None:
                news = Told(revision + 1, snapshot.now, figures)
                await self._say(transaction, shop, day, news, snapshot)
        await tables.looked_at(transaction, shop, [note.day for note in late])

    async def _say(
        self, transaction: Transaction, shop: str, day: date, told: Told, snapshot: Snapshot
    ) -> None:
        await tables.save_told(transaction, shop, {day: told})
        parents = await tables.parents(
            transaction, self._rules.clock, shop, day, day + timedelta(days=1)
        )
        revision, now, figures = told
        await enqueue(
            transaction,
            telling(
                *(shop, day, revision, figures, snapshot.positions, now),
                parents=parents,
                country=self._rules.country,
                span=self._rules.clock.span(day, day),
            ),
        )


async def told_in_the_log(bootstrap: str, prefix: str) -> list[Event]:
    """All that the log of days has, in order; what is no event is left out."""
    partition = TopicPartition(f"{prefix}days", 0)
    events = []
    async for _, records in read_back(bootstrap, await log_ends(bootstrap, [partition])):
        for record in records:
            with suppress(Refused):
                events.append(codec.decode_envelope(record.value))
    return events
