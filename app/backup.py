"""Backups of what only Postgres has, and the way back, to a log that has gone on since.

The log is the truth, and Kafka keeps it. Postgres has, beside what is derived from it, the keys of
persons, what waits in the outbox, in which order the learners learned. Redis has nothing alone.
"""

import zipfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import asyncpg
import structlog
from aiokafka import TopicPartition
from msgspec.structs import replace
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.commands.restated import Restated, restate
from app.commands.retold import shop_of
from app.erasure.again import erase_again
from app.learner.leadership import lock_of
from app.settings import Settings
from app.status import members
from app.subscriptions import ALL_GROUPS, GROUPS, LEARNER_GROUPS
from projections.as_of import drop_all
from projections.backup import Manifest, Position, dump, durable, load, opened, seal
from projections.closer import told_in_the_log
from projections.live import LiveFigures
from projections.postgres import MIGRATING, sessions_of_api, sessions_of_jobs
from projections.reconcile import reconcile
from streams.exclusive import Connection, taken
from streams.readback import log_ends
from streams.topic_ids import described
from streams.topics import TOPICS

logger = structlog.get_logger()

_COMPRESSION = 1  # the fastest: the disk is not what a backup waits for


class StillRunning(Exception):
    """Someone works with what is to be replaced."""


class OtherLog(Exception):
    """The log is not the one that the backup was made beside, or has lost what it had then."""


class Reconciled(NamedTuple):
    """What the log had beyond Postgres: how many records each group reads again, how many closed
    days, and which states."""

    again: Mapping[str, int]
    days: int
    restated: Restated
    erased: int = 0  # persons, whom this Postgres knew still


class Restored(NamedTuple):
    """What came back, and the tables that were left out."""

    manifest: Manifest
    reconciled: Reconciled
    left_out: list[str]


async def backup(settings: Settings, file: Path) -> Manifest:
    """Writes a backup beside whatever runs; the file is there whole, or not at all.

    Raises OSError, PostgresError, KafkaError.
    """
    unfinished = file.with_name(f".{file.name}.unfinished")
    try:
        with _private(unfinished) as archive:
            async with _connected(settings) as connection:
                manifest = await dump(connection, archive, version("tillstream"))
            # Later than the snapshot, so that nothing was read that the log did not have.
            ends = {str(p): end for p, (_, end) in (await _log(settings)).items()}
            manifest = replace(manifest, log_ends=ends)
            seal(archive, manifest)
        durable(unfinished)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
    durable(file)
    return manifest


@contextmanager
def _private(file: Path) -> Iterator[zipfile.ZipFile]:
    """A new archive that only its owner may read: there are keys in it."""
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION) as archive:
        yield archive


async def restore(settings: Settings, file: Path) -> Restored:
    """Puts a backup in the place of the schema, and sets right what the log has gone on to tell.

    All of it is one transaction. Raises BackupUnreadable, StillRunning, OtherLog, OSError,
    PostgresError, KafkaError, ReadBackFailed.
    """
    archive, manifest = opened(file)
    with archive:
        async with _alone(settings) as connection:
            again = await _to_read_again(settings, manifest.progress)
            told = await told_in_the_log(settings.servers.kafka, settings.prefix)
            async with connection.transaction():
                await drop_all(connection, settings.schema_name)  # they may be of another log
                left_out = await load(connection, settings.schema_name, archive, manifest)
                days = (await reconcile(connection, told)).days
                erased = await erase_again(connection, shop_of(settings))
                restated = await restate(connection, shop_of(settings))
        await _clear_redis(settings)
    return Restored(manifest, Reconciled(again, days, restated, erased), left_out)


async def reconciled(settings: Settings) -> Reconciled:
    """Sets right what does not follow the offsets, where Postgres came back by other means.
    Raises as `restore` does."""
    async with _alone(settings) as connection:
        rows = await connection.fetch(
            "SELECT group_name, topic, partition, next_offset, topic_id::text FROM progress"
        )
        again = await _to_read_again(settings, [Position(*row) for row in rows])
        told = await told_in_the_log(settings.servers.kafka, settings.prefix)
        async with connection.transaction():
            days = (await reconcile(connection, told)).days
            erased = await erase_again(connection, shop_of(settings))
            restated = await restate(connection, shop_of(settings))
    await _clear_redis(settings)
    return Reconciled(again, days, restated, erased)


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[Connection]:
    """A connection without a deadline: tables take as long as they take."""
    connection = await asyncpg.connect(
        settings.servers.postgres,
        server_settings={
            "search_path": f'"{settings.schema_name}"',
            "application_name": "tillstream backup",
        },
    )
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _alone(settings: Settings) -> AsyncIterator[Connection]:
    """A connection that keeps everyone else from beginning. Raises StillRunning."""
    for group in GROUPS:
        if count := await members(settings, group):
            raise StillRunning(f"{count} read for {group} (one that was killed: for 10 s)")
    async with _connected(settings) as connection:
        await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{settings.schema_name}"')
        for work in ("outbox", "days", "months"):
            if not await taken(connection, work):
                raise StillRunning("a worker is still there")
        for group in LEARNER_GROUPS:
            lock = lock_of(settings.schema_name, group)
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", lock):
                raise StillRunning(f"a learner of {group} is still there")
        # An API process knows the keys of persons by heart, also those that a restore takes away.
        if await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name IN ($1, $2))",
            sessions_of_api(settings.schema_name),
            sessions_of_jobs(settings.schema_name),
        ):
            raise StillRunning("an API process, or a job of one, is still there")
        await connection.execute("SELECT pg_advisory_lock($1)", MIGRATING)
        yield connection


class _Partition(NamedTuple):
    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.number}"


async def _log(settings: Settings) -> Mapping[_Partition, tuple[str, int]]:
    """The id of the topic, and the next offset, of every partition of the log."""
    kafka, prefix = settings.servers.kafka, settings.prefix
    topics = await described(kafka, [prefix + topic for topic in TOPICS])
    partitions = [
        TopicPartition(name, number)
        for name, topic in topics.items()
        for number in range(topic.partitions)
    ]
    ends = await log_ends(kafka, partitions)
    return {
        _Partition(tp.topic.removeprefix(prefix), tp.partition): (str(topics[tp.topic].id), end)
        for tp, (_, end) in ends.items()
    }


async def _to_read_again(settings: Settings, progress: Iterable[Position]) -> Mapping[str, int]:
    """How many records each group has before it. Raises OtherLog."""
    log = await _log(settings)
    again = dict.fromkeys(ALL_GROUPS, 0)
    for at in progress:
        topic_id, end = log.get(_Partition(at.topic, at.partition), ("", 0))
        name = f"{at.topic}:{at.partition}"
        if topic_id != at.topic_id:
            raise OtherLog(f"{name} is not the topic that was read: it was created anew")
        if end < at.next_offset:
            raise OtherLog(f"{name} ends at {end}, and was read to {at.next_offset}")
        again[at.group] = again.get(at.group, 0) + end - at.next_offset
    return again


async def _clear_redis(settings: Settings) -> None:
    """Its figures are of a generation that is over, and would give way one by one."""
    redis = Redis.from_url(settings.servers.redis)
    try:
        await LiveFigures(redis, settings.prefix, {}).clear()
    except (RedisError, OSError) as error:
        logger.warning("Redis keeps its figures until they are read again", error=repr(error))
    finally:
        await redis.aclose()
