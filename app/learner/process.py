"""The learner's process: leads or waits to lead, loads its models, learns, and answers.

It assigns all partitions to itself: the lock says who reads, so there is nobody to share them with,
and no session of a killed one to wait for.
"""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import nullcontext, suppress
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import asyncpg
import structlog
import uvicorn
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from fastapi import FastAPI

from app import logs, metrics
from app.learner.answers import create_answers
from app.learner.client import NAME, name_of
from app.learner.leadership import LeadershipLost, leadership, publish
from app.learner.recommendation_answers import create_recommendations
from app.learner.store import LearnerStore
from app.observed import Observed
from app.own_key import own_key
from app.settings import Settings
from app.subscriptions import LEARNERS, RECOMMENDERS, learners_of, topics_of
from app.watchdog import watching
from ml_online.journal import Overtaken
from ml_online.models import LearningFailed, Models
from projections.clock import ShopClock
from projections.postgres import connect, migrate
from projections.store import Prepared
from streams.batch import LogChanged, Partition, Transient
from streams.chunk import Chunk, fresh_highwater
from streams.interpreter import tune
from streams.readback import ReadBackFailed
from streams.subscribe import GroupReader
from streams.topics import create_topics, partitions_of

logger = structlog.get_logger()

_ANSWERS = {LEARNERS: create_answers, RECOMMENDERS: create_recommendations}
# What models load where they work, before an answer would wait for it.
_RIVER = ("river.drift", "river.linear_model", "river.optim", "river.stats", "river.utils")
_WORKED_WITH = {LEARNERS: (*_RIVER, "scipy.optimize", "scipy.special"), RECOMMENDERS: _RIVER}
_AGAIN_SECONDS = 1.0
_KEPT_SECONDS = 75  # an idle connection: longer than who asks keeps it
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

    def __init__(self, consumer: AIOKafkaConsumer, positions: Mapping[TopicPartition, int]) -> None:
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


class _Idle:
    """A reader's partitions, but none while facts are learned: offsets move before a batch is, and
    on a busy machine some days of a large shop may take longer than a process may be stuck."""

    def __init__(self, store: LearnerStore, reader: GroupReader[Any]) -> None:
        self._store = store
        self._reader = reader
        self._learned = -1

    def __call__(self) -> Collection[Partition]:
        before, self._learned = self._learned, sum(list(self._store.models.next_offsets.values()))
        return self._reader.partitions if self._learned == before else ()


class _Server(uvicorn.Server):
    """Answers, and leaves signals to us."""

    def capture_signals(self) -> "nullcontext[None]":  # type: ignore[override]
        return nullcontext()


async def learn(settings: Settings, group: str) -> None:
    """Leads whenever it may, until it is cancelled. Raises what only a person can mend."""
    servers = settings.servers
    await migrate(servers.postgres, settings.schema_name)
    await create_topics(servers.kafka, settings.partitions, settings.prefix, settings.replication)
    key = snapshot_key(settings)
    models = Models(learners_of(group))
    for name in _WORKED_WITH[group]:  # here: who waits to lead is to be ready
        import_module(name)
    with socket.create_server((settings.learner_host, 0)) as listener:
        while True:
            try:
                async with leadership(servers.postgres, settings.schema_name, group) as lead:
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(lead.watch())
                        tasks.create_task(_serve(settings, group, listener, models, key))
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


async def _serve(
    settings: Settings, group: str, listener: socket.socket, models: Models, key: bytes
) -> None:
    """What a leader does. The answers begin at once and say that the models are being loaded."""
    pool = await connect(settings.servers.postgres, settings.schema_name)
    try:
        clock = ShopClock(settings.timezone)
        store = LearnerStore(pool, group, models, clock, key, settings.snapshot_seconds)
        async with asyncio.TaskGroup() as tasks:
            answers = _ANSWERS[group](store, settings.partitions)
            tasks.create_task(_answer(answers, name_of(settings, group), listener))
            host, port = listener.getsockname()[:2]
            await publish(pool, group, f"http://{host}:{port}")
            observed = Observed(store, pool, group)
            async with observed.watched():
                await store.load(settings.servers.kafka, settings.prefix, settings.dedupe_window)
            tasks.create_task(store.watch_journal())
            tasks.create_task(_read(settings, group, store, observed))
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
        timeout_keep_alive=_KEPT_SECONDS,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener.dup()]))
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving


async def _read(settings: Settings, group: str, store: LearnerStore, observed: Observed) -> None:
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
        TopicPartition(settings.prefix + topic, number)
        for topic in topics_of(group)
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
            with watching(settings, group, _Idle(store, reader)):
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


def run(settings: Settings, group: str) -> None:
    """Runs the learner of a group in this process. Exits with 1 where only a person can help."""
    logs.configure(settings.log)
    metrics.serve(settings.metrics_host, settings.metrics_port)
    tune()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_until_told(settings, group))
        except (LogChanged, LearningFailed) as stopped:
            logger.critical("learning stops until a person has looked", reason=str(stopped))
            sys.exit(1)


async def _until_told(settings: Settings, group: str) -> None:
    learning = asyncio.create_task(learn(settings, group))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, learning.cancel)
    with suppress(asyncio.CancelledError):
        await learning
