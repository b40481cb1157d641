"""One import, from its files to the figures, by one process at a time.

Everything may end at any moment and be begun again: rows are read anew, events have the ids that
they had, and what was sent stands in `progress`, which is written before it is. In a shop one
import goes on at a time, so that what it adds can be counted.
"""

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from aiokafka.errors import KafkaError

from app.imports.known import Standing, standing
from app.imports.mapping import Correction, Invalid
from app.imports.mapping import Mapping as Map
from app.imports.orders import events_of
from app.imports.prepare import Prepared, Shapes, prepare, rows_of
from app.imports.reading import Aside, Bad, Fault, Reader
from app.imports.spill import Parts
from app.imports.store import MOST_REJECTIONS, Import, Store
from app.imports.tables import Unreadable
from app.replay import applied_by_all
from app.settings import Settings
from app.subscriptions import topics_of
from projections import orders
from projections.days import note_complete
from projections.postgres import connect_alone
from streams.log import Log, Position
from streams.replay import Entry, replay
from streams.topics import create_topics

CHUNK_EVENTS = 4_000
_READ_ROWS = 20_000  # before somebody hears of it
_BEAT_SECONDS = 1.0
_POLL_SECONDS = 0.2
_APPEND_SECONDS = 20.0
_TRY_SECONDS = 0.5


class Stopped(Exception):
    """It was cancelled."""


class NotApplied(Exception):
    """All of it is in the log, and not in the figures yet."""


class Failed(Exception):
    """It cannot be done; the message says why, and stands in its row."""


class Progress(msgspec.Struct):
    """How far it is. `next` is the event to go on with, `counted` up to where `events` and the
    counts of rows hold: what lies between was begun to be sent."""

    rows: int = 0
    taken: int = 0
    set_aside: dict[str, int] = {}
    rejected: int = 0
    orders: int = 0
    events: int = 0
    added: int = 0
    known: int = 0
    differing: int = 0
    next: int = 0
    counted: int = 0
    positions: dict[str, int] = {}


_DIFFERS = "this order is in the shop already, and says otherwise"

_SALES = "sales"

OnProgress = Callable[[str, Progress], None]


def folder_of(settings: Settings, import_id: str) -> Path:
    return settings.home / "imports" / import_id


async def clear_away(settings: Settings, store: Store) -> None:
    """Of drafts that nobody has come back to, and of what a killed process has left, the files
    go."""
    for import_id in [*await store.expired(), *await store.abandoned()]:
        await asyncio.to_thread(shutil.rmtree, folder_of(settings, import_id), ignore_errors=True)


def files_of(settings: Settings, one: Import) -> list[tuple[Path, str]]:
    folder = folder_of(settings, one.import_id)
    return [(folder / file["stored"], str(file["name"])) for file in one.files]


def said_of(told: Mapping[str, Any]) -> Correction:
    return msgspec.convert(told.get("correction", {}), Correction)


class Work:
    """An import under way in this process."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        import_id: str,
        on_progress: OnProgress,
        patience: float | None = None,
    ) -> None:
        """`patience`: seconds that the figures may take once all is sent; None: as they take."""
        self._patience = patience
        self._settings = settings
        self._store = store
        self._id = import_id
        self._on_progress = on_progress
        self._stage = "looking"
        self.found: Prepared | None = None
        self.progress = Progress()
        self._stop = False

    async def state(self) -> str:
        return await self._store.state(self._id)

    async def look(self) -> str:
        """Finds out what is in its files; the state that it then is in. Raises Failed, Stopped."""
        one = await self._found()
        settings = self._settings
        await clear_away(settings, self._store)
        said = said_of(one.said)
        saved = await self._store.corrections(one.owner)
        try:
            async with self._beating():
                found = await asyncio.to_thread(
                    prepare,
                    files_of(settings, one),
                    said,
                    saved,
                    currency=settings.currency,
                    timezone=settings.timezone.key,
                    most_bytes=settings.import_unpacked_bytes,
                    now=datetime.now(UTC),
                    going_on=self._going_on,
                )
        except (Unreadable, Invalid, OSError) as error:
            raise await self._failed(str(error) or type(error).__name__) from error
        self.found = found
        ready = not found.blocked and not one.said.get("preview")
        state = "queued" if ready else "draft"
        if not await self._store.prepared(self._id, found, state):
            raise Stopped
        return state

    async def run(self) -> Progress:
        """Everything from the first row to the figures. Raises Stopped."""
        one = await self._found()
        if not await self._store.turn(
            self._id, "running", before=("queued", "running", "applying")
        ):
            raise Stopped
        self.progress = msgspec.convert(one.progress, Progress)
        assert one.shape is not None
        assert one.mapping is not None
        shapes = msgspec.convert(one.shape, Shapes)
        mapping = msgspec.convert(one.mapping, Map)
        key = await self._store.key_of(one.shop)
        parts = Parts(folder_of(self._settings, self._id) / "parts", shapes.size)
        try:
            async with self._beating(), self._turn_of(one.shop), self._log() as log:
                if one.state != "applying":
                    await self._read(one, shapes, Reader(mapping, one.created_at, key), parts)
                    await self._send(one, log, parts)
                await self._applied(one)
        except Unreadable as error:
            raise await self._failed(str(error)) from error
        finally:
            parts.close()
        await self._write()
        if not await self._store.turn(self._id, "done"):
            raise Stopped
        self._clear()
        return self.progress

    async def _found(self) -> Import:
        found = await self._store.find(self._id)
        if found is None:
            raise Stopped
        return found

    async def let_go(self) -> None:
        """It was stopped: of what was cancelled the files go."""
        found = await self._store.find(self._id)
        if found is None or found.state == "cancelled":
            self._clear()

    def _clear(self) -> None:
        shutil.rmtree(folder_of(self._settings, self._id), ignore_errors=True)

    async def give_up(self, reason: str) -> None:
        """It ends here, and says why."""
        await self._store.turn(self._id, "failed", reason)
        self._clear()

    async def _failed(self, reason: str) -> Failed:
        await self.give_up(reason)
        return Failed(reason)

    # Rows.

    async def _read(self, one: Import, shapes: Shapes, reader: Reader, parts: Parts) -> None:
        await self._store.forget_rejections(self._id)
        self._counts = Counter[str]()
        self.progress.rows = self.progress.taken = self.progress.rejected = 0
        records = rows_of(files_of(self._settings, one), shapes)

        def read_some() -> tuple[int, list[Fault]]:
            faults: list[Fault] = []
            count = 0
            for record in records:
                count += 1
                try:
                    parts.add(reader.read(record))
                    self.progress.taken += 1
                except Bad as bad:
                    self.progress.rejected += 1
                    faults += bad.faults
                except Aside as aside:
                    self._counts[str(aside)] += 1
                if count >= _READ_ROWS:
                    break
            return count, faults

        while True:
            try:
                count, faults = await asyncio.to_thread(read_some)
            except OSError as error:
                raise Unreadable(f"its file cannot be read: {error.strerror or error}") from error
            self.progress.rows += count
            self.progress.set_aside = dict(self._counts.most_common(50))
            await self._reject(faults)
            self._tell("reading")
            if count < _READ_ROWS:
                return

    async def _reject(self, faults: Sequence[Fault]) -> None:
        room = MOST_REJECTIONS - self._rejections
        if faults and room > 0:
            await self._store.reject(self._id, faults[:room])
        self._rejections += len(faults)

    _rejections = 0

    # Events.

    async def _send(self, one: Import, log: Log, parts: Parts) -> None:
        index = 0
        self.progress.orders = 0
        each = parts.rows()
        while (rows := await asyncio.to_thread(next, each, None)) is not None:
            made = await asyncio.to_thread(events_of, rows, one.shop, datetime.now(UTC))
            self.progress.orders += len({entry.event.subject for entry in made.entries})
            wrong = {fault.line for fault in made.faults}
            self.progress.rejected += len(wrong)
            self.progress.taken -= len(wrong)
            await self._reject(made.faults)
            del rows
            for start in range(0, len(made.entries), CHUNK_EVENTS):
                chunk = made.entries[start : start + CHUNK_EVENTS]
                if index + len(chunk) > self.progress.next:
                    await self._send_chunk(one, log, chunk, index)
                index += len(chunk)
                self._tell("sending")

    async def _send_chunk(self, one: Import, log: Log, chunk: Sequence[Entry], index: int) -> None:
        """What is new of some events, counted before it is sent: were the process to end now, the
        next would find some of it known already, and count it as nothing new."""
        async with self._store.pool.acquire() as connection:
            subjects = sorted({entry.event.subject for entry in chunk})
            known = await orders.known(connection, one.shop, subjects)
        told = [standing(entry.event, known.get(entry.event.subject)) for entry in chunk]
        if self.progress.counted <= index:
            self._count(chunk, told)
            self.progress.counted = index + len(chunk)
            await self._reject([
                Fault(0, "", entry.event.subject, _DIFFERS)
                for entry, how in zip(chunk, told, strict=True)
                if how is Standing.DIFFERS and entry.lines
            ])  # fmt: skip
            await self._write()
        new = [entry for entry, how in zip(chunk, told, strict=True) if how is Standing.NEW]
        if new:
            positions = await replay(log, new)
            for position in positions:
                partition = f"{position.topic}:{position.partition}"
                last = self.progress.positions.get(partition, -1)
                self.progress.positions[partition] = max(last, position.offset)
        self.progress.next = index + len(chunk)
        await self._write()

    def _count(self, chunk: Sequence[Entry], told: Sequence[Standing]) -> None:
        by_standing: Counter[Standing] = Counter()
        for entry, how in zip(chunk, told, strict=True):
            by_standing[how] += entry.lines
        self.progress.events += sum(how is Standing.NEW for how in told)
        self.progress.added += by_standing[Standing.NEW]
        self.progress.known += by_standing[Standing.KNOWN]
        self.progress.differing += by_standing[Standing.DIFFERS]

    # Figures.

    async def _applied(self, one: Import) -> None:
        """Until all that was sent is in the sales figures; then the days of that past may close.
        Other figures follow as they do: each answer says what it is complete to. Raises
        NotApplied."""
        begun = time.monotonic()
        if not await self._store.turn(self._id, "applying"):
            raise Stopped
        readers = {topic: [_SALES] for topic in topics_of(_SALES)}
        wanted = [
            Position.parse(f"{at}:{offset}") for at, offset in self.progress.positions.items()
        ]
        wanted = [position for position in wanted if position.topic in readers]
        while True:
            self._tell("applying")
            rows = await self._store.pool.fetch(_APPLIED, [_SALES])
            done = applied_by_all((tuple(row) for row in rows), readers)
            if all(done.get((at.topic, at.partition), 0) > at.offset for at in wanted):
                break
            if self._patience is not None and time.monotonic() - begun > self._patience:
                raise NotApplied("no worker applies what was sent: start one, and it goes on")
            await asyncio.sleep(_POLL_SECONDS)
        if self.progress.events:
            async with self._store.pool.acquire() as connection:
                await note_complete(connection, one.shop)

    # Who is at it, and how far.

    def _tell(self, stage: str) -> None:
        self._stage = stage
        self._on_progress(stage, self.progress)
        self._going_on()

    def _going_on(self) -> None:
        if self._stop:
            raise Stopped

    def _as_told(self) -> dict[str, Any]:
        return {**msgspec.to_builtins(self.progress), "stage": self._stage}

    async def _write(self) -> None:
        if not await self._store.write(self._id, self._as_told()):
            raise Stopped

    @asynccontextmanager
    async def _beating(self) -> AsyncIterator[None]:
        """Hears of it when it is cancelled, and says now and then how far it is."""

        async def beat() -> None:
            while True:
                await asyncio.sleep(_BEAT_SECONDS)
                with suppress(OSError, TimeoutError):
                    if not await self._store.write(self._id, self._as_told()):
                        self._stop = True

        beats = asyncio.create_task(beat())
        try:
            yield
        except asyncio.CancelledError:
            self._stop = True  # what goes on in a thread ends, too
            raise
        finally:
            beats.cancel()
            await asyncio.gather(beats, return_exceptions=True)

    @asynccontextmanager
    async def _turn_of(self, shop: str) -> AsyncIterator[None]:
        """Of a shop one import goes on at a time."""
        settings = self._settings
        dsn, schema = settings.servers.postgres, settings.schema_name
        connection = await connect_alone(dsn, schema)
        try:
            name = f"import {schema} {shop}"
            while not await connection.fetchval(
                "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", name
            ):
                self._tell("waiting")
                await asyncio.sleep(_TRY_SECONDS)
            yield
        finally:
            await connection.close()

    @asynccontextmanager
    async def _log(self) -> AsyncIterator[Log]:
        settings = self._settings
        kafka = settings.servers.kafka
        log = Log(kafka, settings.partitions, settings.prefix, _APPEND_SECONDS, linger_ms=5)
        try:
            while True:
                try:
                    await create_topics(
                        kafka, settings.partitions, settings.prefix, settings.replication
                    )
                    break
                except (TimeoutError, KafkaError, OSError):
                    self._tell("waiting")
                    await asyncio.sleep(_TRY_SECONDS)
            await log.start()
            await log.connected()
            yield log
        finally:
            await log.stop()


_APPLIED = """
    SELECT group_name, topic, partition, next_offset FROM progress WHERE group_name = ANY($1)
"""
