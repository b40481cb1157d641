"""The learner's process: leads or waits to lead, loads its models, learns, and answers.

It assigns all partitions to itself: the lock says who reads, so there is nobody to share them with,
and no session of a killed one to wait for.
"""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import nullcontext, suppress
from functools import partial
from typing import NamedTuple

import asyncpg
import structlog
import uvicorn
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from fastapi import FastAPI
from faust.types import TP

from app import logs, metrics
from app.learner.answers import create_answers
from app.learner.client import NAME, name_of
from app.learner.leadership import LeadershipLost, leadership, publish
from app.learner.store import LearnerStore
from app.observed import Observed
from app.own_key import own_key
from app.settings import Settings
from app.subscriptions import LEARNERS, learners_of, topics_of
from app.watchdog import watching
from ml_online.journal import Overtaken
from ml_online.models import LearningFailed, Models
from projections.clock import ShopClock
from projections.postgres import connect, migrate
from projections.store import Prepared
from streams.interpreter import tune
from streams.readback import ReadBackFailed
from streams.subscribe import GroupReader, LogChanged, Transient
from streams.topics import create_topics, partitions_of
from streams.transport import Chunk, fresh_highwater

logger = structlog.get_logger()

_AGAIN_SECONDS = 1.0
_FETCH_BYTES = 4 * 1024 * 1024
_FETCH_RECORDS = 4000
# What may pass: the models are loaded anew, by us or by whoever leads then.
_AGAIN = (
    *(LeadershipLost, Overtaken, Transient, ReadBackFailed),
    *(KafkaError, OSError, TimeoutError),
    *(asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.InterfaceError),
)


class _Fetched(NamedTuple):
    """What the reader takes for an event of Faust's."""

    value: Chunk


class _Stream:
    """The log from given offsets on, chunk by chunk, as a reader consumes it."""

    def __init__(self, consumer: AIOKafkaConsumer, positions: Mapping[TP, int]) -> None:
        self._consumer = consumer
        self._positions = positions

    def noack(self) -> "_Stream":
        return self

    async def events(self) -> AsyncIterator[_Fetched]:
        self._consumer.assign([TopicPartition(*tp) for tp in self._positions])
        for tp, offset in self._positions.items():
            self._consumer.seek(TopicPartition(*tp), offset)
        while True:
            fetched = await self._consumer.getmany(timeout_ms=1000, max_records=_FETCH_RECORDS)
            for tp, records in fetched.items():
                yield _Fetched(Chunk(tp.topic, tp.partition, records, seek=1))


def snapshot_key(settings: Settings) -> bytes:
    """What the snapshots of models are signed with."""
    return own_key(settings.snapshot_key, settings.home / "snapshot.key")


class _Server(uvicorn.Server):
    """Answers, and leaves signals to us."""

    def capture_signals(self) -> "nullcontext[None]":  # type: ignore[override]
        return nullcontext()


async def learn(settings: Settings) -> None:
    """Leads whenever it may, until it is cancelled. Raises what only a person can mend."""
    servers = settings.servers
    await migrate(servers.postgres, settings.schema_name)
    await create_topics(servers.kafka, settings.partitions, settings.prefix, settings.replication)
    key = snapshot_key(settings)
    models = Models(learners_of(LEARNERS))  # here, for it imports River: who waits is to be ready
    with socket.create_server((settings.learner_host, 0)) as listener:
        while True:
            try:
                async with leadership(servers.postgres, settings.schema_name, LEARNERS) as lead:
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(lead.watch())
                        tasks.create_task(_serve(settings, listener, models, key))
            except BaseExceptionGroup as failed:
                passing, serious = failed.split(_AGAIN)
                if serious is not None:
                    raise _first(serious) from None
                logger.warning("will lead again", error=str(_first(passing or failed)))
            except LeadershipLost as lost:
                logger.warning("will lead again", error=str(lost))
            await asyncio.sleep(_AGAIN_SECONDS)


def _first(failed: BaseException) -> BaseException:
    while isinstance(failed, BaseExceptionGroup):
        failed = failed.exceptions[0]
    return failed


async def _serve(settings: Settings, listener: socket.socket, models: Models, key: bytes) -> None:
    """What a leader does. The answers begin at once and say that the models are being loaded."""
    pool = await connect(settings.servers.postgres, settings.schema_name)
    try:
        clock = ShopClock(settings.timezone)
        store = LearnerStore(pool, LEARNERS, models, clock, key, settings.snapshot_seconds)
        async with asyncio.TaskGroup() as tasks:
            answers = create_answers(store, settings.partitions)
            tasks.create_task(_answer(answers, name_of(settings), listener))
            host, port = listener.getsockname()[:2]
            await publish(pool, LEARNERS, f"http://{host}:{port}")
            observed = Observed(store, pool, LEARNERS)
            async with observed.watched():
                await store.load(settings.servers.kafka, settings.prefix, settings.dedupe_window)
            tasks.create_task(store.watch_journal())
            tasks.create_task(_read(settings, store, observed))
    finally:
        pool.terminate()


async def _answer(app: FastAPI, name: str, listener: socket.socket) -> None:
    """Answers until it is cancelled, and then no longer: the next to answer may be another."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        log_config=None,
        lifespan="off",
        headers=[(NAME, name)],
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener.dup()]))
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving


async def _read(settings: Settings, store: LearnerStore, observed: Observed) -> None:
    """Learns what comes in; at the end, whatever ends it, leaves a snapshot."""
    kafka = settings.servers.kafka
    reader = GroupReader(
        observed,
        kafka,
        settings.prefix,
        settings.dedupe_window,
        settings.commit_records,
    )
    partitions = {
        TP(settings.prefix + topic, number)
        for topic in topics_of(LEARNERS)
        for number in range(partitions_of(topic, settings.partitions))
    }
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka,
        enable_auto_commit=False,
        auto_offset_reset="none",
        max_partition_fetch_bytes=_FETCH_BYTES,
    ) as consumer:
        positions = await reader.resume(partitions, seek=1)
        try:
            with watching(settings, LEARNERS, lambda: reader.partitions):
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(reader.apply(lambda _: None))
                    tasks.create_task(reader.consume(_Stream(consumer, positions)))
                    tasks.create_task(_note_caught_up(reader, consumer))
        finally:
            await reader.release()
            with suppress(Transient):
                await store.snapshot()


async def _note_caught_up(reader: GroupReader[Prepared], consumer: AIOKafkaConsumer) -> None:
    while True:
        await asyncio.sleep(1.0)
        try:
            await reader.note_caught_up(partial(fresh_highwater, consumer))
        except (Transient, KafkaError) as error:
            logger.warning("the watermark stays where it is", error=str(error))


def run(settings: Settings) -> None:
    """Runs the learner in this process. Exits with 1 where only a person can help."""
    logs.configure(settings.log)
    metrics.serve(settings.metrics_host, settings.metrics_port)
    tune()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_until_told(settings))
        except (LogChanged, LearningFailed) as stopped:
            logger.critical("learning stops until a person has looked", reason=str(stopped))
            sys.exit(1)


async def _until_told(settings: Settings) -> None:
    learning = asyncio.create_task(learn(settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, learning.cancel)
    with suppress(asyncio.CancelledError):
        await learning
