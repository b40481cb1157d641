"""`tillstream replay`: a file of past sales through the log, until all of it is in the figures."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import asyncpg
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from app.formats import FORMATS, Account, Opened
from app.settings import Settings, SettingsError
from app.subscriptions import GROUPS, topics_of
from projections.days import note_complete
from projections.postgres import connect, migrate
from streams.csv_file import Rejected, Unreadable
from streams.log import Log, LogUnavailable
from streams.replay import Entry, Partition, Sent, replay, wait_applied
from streams.topics import create_topics

_CONNECT_SECONDS = 15.0
# A retry is harmless but writes everything twice: rather wait for a busy Kafka.
_APPEND_SECONDS = 20.0
_SHOWN_REJECTIONS = 10

_AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class ReplayFailed(Exception):
    """The file or a server is not what it should be; the message says what to do next."""


class Durations(NamedTuple):
    """Where the time went, in seconds."""

    reading: float
    sending: float
    committing: float
    """From the last acknowledgement on; most is committed while the rest is being sent."""


async def replay_file(
    settings: Settings,
    path: Path,
    speed: float | None,
    shop: str,
    console: Console,
    file_format: str = "online-retail",
) -> None:
    """Sends a file of a format of FORMATS, and returns once all that it sent is committed.

    Raises ReplayFailed, SettingsError. Cancelled, it says what that leaves behind.
    """
    if file_format not in FORMATS:
        raise SettingsError(f"unknown format {file_format!r}; there are {', '.join(FORMATS)}")
    servers = settings.servers
    readers = readers_by_topic()
    sent = Sent(readers)
    begun = time.monotonic()
    try:
        with _bars(console) as bars:
            reading = bars.add_task("reading", total=None)
            past = await _open(path, file_format, settings, shop)
            bars.update(
                reading, total=past.lines, completed=past.lines, visible=past.lines is not None
            )
            read_at = time.monotonic()
            entries = _Entries(past.entries, path, past.lines)
            async with _log(settings) as log, _pool(servers.postgres, settings.schema_name) as pool:
                sent_at = await _play(log, pool, entries, speed, sent, readers, bars)
                if sent.events and not entries.broken:
                    await _note_complete(pool, shop)
    except asyncio.CancelledError:
        console.print(interrupted(sent))
        raise
    durations = Durations(read_at - begun, sent_at - read_at, time.monotonic() - sent_at)
    if entries.broken and not sent.lines:
        raise ReplayFailed(f"{entries.broken}. Nothing was sent")
    account = past.account()
    if not sent.events:
        for line in rejections(account.rejected):
            console.print(line)
        raise ReplayFailed(f"{nothing_in(path, file_format, account)}. Nothing was sent")
    console.print(table(account))
    for line in closing_lines(account, sent, durations):
        console.print(line)
    if entries.broken:
        raise ReplayFailed(f"{entries.broken}; what stands before that is in the log")


async def _note_complete(pool: "asyncpg.Pool[asyncpg.Record]", shop: str) -> None:
    try:
        await note_complete(pool, shop)
    except _AWAY as error:
        raise ReplayFailed(
            "all of it is in the figures, but Postgres could not be told that the days of this "
            f"past are complete ({error!r}): they close some time later. Running it again is "
            "harmless, and tells it"
        ) from error


async def _open(path: Path, file_format: str, settings: Settings, shop: str) -> Opened:
    try:
        return await asyncio.to_thread(
            FORMATS[file_format], path, settings, shop, datetime.now(UTC)
        )
    except OSError as error:
        raise ReplayFailed(f"{path} cannot be read: {error.strerror or error}") from error
    except Unreadable as error:
        raise ReplayFailed(f"{error}. Nothing was sent") from error


class _Entries:
    """Entries up to where the file breaks; what is wrong with it is told once they are sent."""

    def __init__(self, entries: Iterable[Entry], path: Path, lines: int | None) -> None:
        self._entries = entries
        self._path = path
        self.lines = lines
        self.broken = ""

    def __iter__(self) -> Iterator[Entry]:
        try:
            yield from self._entries
        except Unreadable as error:
            self.broken = str(error)
        except OSError as error:
            self.broken = f"{self._path} cannot be read: {error.strerror or error}"


@asynccontextmanager
async def _log(settings: Settings) -> AsyncIterator[Log]:
    bootstrap = settings.servers.kafka
    log = Log(bootstrap, settings.partitions, settings.prefix, _APPEND_SECONDS, linger_ms=5)
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await create_topics(
                bootstrap, settings.partitions, settings.prefix, settings.replication
            )
            await log.start()
            await log.connected()
    except (TimeoutError, KafkaError, OSError) as error:
        await log.stop()
        raise ReplayFailed(f"Kafka does not answer at {bootstrap}") from error
    try:
        yield log
    finally:
        await log.stop()


@asynccontextmanager
async def _pool(dsn: str, schema: str) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await migrate(dsn, schema)
            pool = await connect(dsn, schema, size=1)
    except _AWAY as error:
        raise ReplayFailed(f"Postgres does not answer: {error!r}") from error
    try:
        yield pool
    finally:
        pool.terminate()  # it only reads: nothing is left to be finished


async def _play(
    log: Log,
    pool: "asyncpg.Pool[asyncpg.Record]",
    entries: _Entries,
    speed: float | None,
    sent: Sent,
    readers: Mapping[str, Sequence[str]],
    bars: Progress,
) -> float:
    """Sends and waits; when the last was acknowledged."""
    sending = bars.add_task("sending", total=entries.lines)
    applying = bars.add_task("applying", total=None)
    all_sent = asyncio.Event()

    async def progress() -> Mapping[Partition, int]:
        try:
            rows = await pool.fetch(_PROGRESS, list(GROUPS))
        except _AWAY:
            return {}  # it may come back, and until then nothing is applied
        return applied_by_all((tuple(row) for row in rows), readers)

    def show() -> None:
        bars.update(sending, completed=sent.lines)
        bars.update(applying, completed=sent.applied_lines)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            wait_applied(
                progress,
                sent,
                all_sent,
                on_progress=show,
                on_stalled=lambda: bars.console.print(_STALLED),
            )
        )
        await replay(
            log,
            entries,
            speed=speed,
            on_sent=sent.note,
            on_refused=lambda refused: bars.console.print(_refused(refused)),
        )
        sent_at = time.monotonic()
        bars.update(sending, total=sent.lines)
        bars.update(applying, total=sent.read_lines)
        all_sent.set()
    return sent_at


_PROGRESS = """
    SELECT group_name, topic, partition, next_offset FROM progress WHERE group_name = ANY($1)
"""
_STALLED = (
    "[yellow]![/] no worker is applying: start one with `tillstream worker` or `tillstream up`; "
    "what was sent is in the log and waits for it"
)


def _refused(refused: LogUnavailable) -> str:
    return f"[yellow]![/] {refused}: trying again"


def readers_by_topic() -> dict[str, list[str]]:
    """The groups that read each topic; no topic that nobody reads."""
    topics = {topic for group in GROUPS for topic in topics_of(group)}
    return {topic: [group for group in GROUPS if topic in topics_of(group)] for topic in topics}


def applied_by_all(
    rows: Iterable[tuple[str, str, int, int]], readers: Mapping[str, Sequence[str]]
) -> dict[Partition, int]:
    """The offset of each partition up to which every group that reads it has applied it."""
    known = {(group, topic, number): offset for group, topic, number, offset in rows}
    partitions = {(topic, number) for _, topic, number in known if topic in readers}
    return {
        (topic, number): min(known.get((group, topic, number), 0) for group in readers[topic])
        for topic, number in partitions
    }


# What a person sees.


class _Rate(ProgressColumn):
    """Lines a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} lines/s", style="progress.data.speed")


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<8}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
    )


def interrupted(sent: Sent) -> str:
    """What an interruption leaves behind, and what to do about it."""
    return (
        f"[yellow]interrupted[/]: {sent.lines:,} lines are in the log. Running it again is "
        "harmless, since each event counts once, and finishes the rest"
    )


def nothing_in(path: Path, file_format: str, account: Account) -> str:
    """Why a file has led to no event."""
    if not account.lines:
        return f"{path} holds no line"
    return f"no line of {path} is a good one of {file_format}, of {account.lines:,} read"


def table(account: Account) -> Table:
    """Every line read, by what it was and what became of it."""
    shown = Table("lines", "what they are", "events", "amount", box=None, header_style="dim")
    for number in (0, 2, 3):
        shown.columns[number].justify = "right"
    for kind in account.kinds:
        shown.add_row(f"{kind.lines:,}", *kind[1:])
    whole = (f"{account.lines:,}", "all lines", f"{account.events:,} events")
    shown.add_row(*whole, style="bold")
    return shown


def closing_lines(account: Account, sent: Sent, took: Durations) -> Iterator[str]:
    """The rejected lines, the figures, and how long everything took."""
    yield from rejections(account.rejected)
    if account.sums:
        yield account.sums
    if unread := sent.lines - sent.read_lines:
        yield f"{unread:,} lines are on topics that nothing reads yet; the log keeps them"
    total = sum(took)
    yield (
        f"[green]✓[/] {account.lines:,} lines in {total:.1f} s, {account.lines / total:,.0f} "
        f"lines/s: {took.reading:.1f} s reading, {took.sending:.1f} s sending, then "
        f"{took.committing:.1f} s until the last was committed"
    )


def rejections(rejected: Sequence[Rejected]) -> Iterator[str]:
    """The lines that became no event, by reason, with the first of each."""
    counts = Counter((field, reason) for _, field, reason in rejected)
    first = {(field, reason): line for line, field, reason in reversed(rejected)}
    for (field, reason), count in counts.most_common(_SHOWN_REJECTIONS):
        where = f"line {first[field, reason]}" + (f" and {count - 1:,} more" if count > 1 else "")
        yield f"[yellow]![/] {where}: {f'{field}: ' if field else ''}{escape(reason)}"
    if len(counts) > _SHOWN_REJECTIONS:
        yield f"[yellow]![/] and {len(counts) - _SHOWN_REJECTIONS:,} other reasons"
