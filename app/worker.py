"""The worker: a Faust app per group, reading its topics in chunks and keeping its read models."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import asyncpg
import faust
import structlog
import uvloop
from aiokafka.errors import KafkaError
from redis.asyncio import Redis
from yarl import URL

from app import logs, metrics
from app.commands.abandonment import Abandonment
from app.commands.execute import LIMITS, keep_forgetting
from app.folding import source_of
from app.jobs.train import train_after
from app.observed import Observed
from app.payments.opened import opened
from app.payments.settling import Settler
from app.settings import Settings
from app.subscriptions import steps_of
from app.watchdog import watching
from projections.clock import ShopClock
from projections.closer import GROUP as CLOSING_GROUP
from projections.closer import Closer, told_in_the_log
from projections.closing import Rules
from projections.live import LiveFigures, Publisher
from projections.month_closer import MonthCloser
from projections.postgres import connect, connect_alone, migrate
from projections.read_model import Step
from projections.refold import Group
from projections.sample import Sampler
from projections.store import GroupStore, ReadModelChanged
from streams.batch import LogChanged, Transient
from streams.interpreter import collect_garbage, tune
from streams.outbox import Relay
from streams.readback import ReadBackFailed
from streams.subscribe import GroupReader
from streams.topics import create_topics
from streams.transport import ChunkConsumer, ChunkTransport

logger = structlog.get_logger()

T = TypeVar("T")

_WATCH_SECONDS = 15.0  # how long a log that has changed may go unnoticed


_ROOM_SECONDS = 1.0
_REST = 19.0  # a check in the background takes a twentieth of the time


class _App(faust.App):
    def _create_directories(self) -> None:
        """Nothing is kept in files: no directory beside whatever the worker was started in."""


def faust_app(settings: Settings, group: str) -> faust.App:
    """A Faust app that consumes through the chunk transport and keeps nothing itself."""
    brokers = settings.servers.kafka.split(",")
    return _App(
        f"{settings.prefix}{group}",
        broker=[URL(f"chunks://{broker}") for broker in brokers],
        autodiscover=False,
        web_enabled=False,
        key_serializer="raw",
        value_serializer="raw",
        table_standby_replicas=0,
        topic_disable_leader=True,
        topic_allow_declare=False,
        stream_wait_empty=False,
        stream_buffer_maxsize=16,
        stream_recovery_delay=0,
        broker_max_poll_records=2500,
        consumer_max_fetch_size=4 * 1024 * 1024,
        broker_commit_interval=1.0,
        broker_session_timeout=10,  # so long a killed member keeps its partitions
        broker_request_timeout=120,  # within it a seek reads back the dedupe windows
        broker_heartbeat_interval=3,
        broker_rebalance_timeout=20,
        broker_max_poll_interval=300,
        consumer_metadata_max_age_ms=30_000,
        consumer_auto_offset_reset="none",
        processing_guarantee="at_least_once",
    )


class GroupWorker(faust.Worker):
    """Runs one group until it is told to stop, or until only a person can help."""

    def __init__(
        self, settings: Settings, group: str, steps: Sequence[Step] | None = None, **options: Any
    ) -> None:
        self.settings = settings
        self.group = group
        self.steps = steps_of(group) if steps is None else steps
        app = faust_app(settings, group)
        super().__init__(
            app,
            loglevel="WARN",
            quiet=True,
            redirect_stdouts=False,
            override_logging=False,
            **options,
        )
        self.spinner = None  # it writes to the log what only a terminal understands
        transport = app.transport
        assert isinstance(transport, ChunkTransport)
        self.transport = transport
        topics = sorted({settings.prefix + name for step in self.steps for name in step.topics})
        topic = app.topic(*topics, value_type=None, key_type=None)
        app.agent(topic, name=group, concurrency=1)(self._consume)
        app.task()(self._work)
        self._watched = ExitStack()

    async def _consume(self, stream: Any) -> None:
        await self.reader.consume(stream)

    async def on_first_start(self) -> None:
        """Opens what the group writes to, before Faust asks where to read from."""
        settings, servers = self.settings, self.settings.servers
        await with_room(partial(migrate, servers.postgres, settings.schema_name))
        await create_topics(
            servers.kafka, settings.partitions, settings.prefix, settings.replication
        )
        pool = await connect(servers.postgres, settings.schema_name, by_key=True)
        clock = ShopClock(settings.timezone)
        self.store = self.open_store(pool, clock)
        generations = await with_room(self.store.register)
        if any(step.model.live is not None for step in self.steps):
            live = LiveFigures(Redis.from_url(servers.redis), settings.prefix, generations)
            self.store.publisher = Publisher(live, self.store.live_figures)
        self.reader = GroupReader(
            Observed(self.store, pool, self.group),
            servers.kafka,
            settings.prefix,
            settings.dedupe_window,
            settings.commit_records,
        )
        self.transport.reader = self.reader
        # From here on: whoever never joins the group never gets to work.
        self._watched.enter_context(
            watching(self.settings, self.group, lambda: self.reader.partitions, self._joined)
        )
        await super().on_first_start()

    async def on_shutdown(self) -> None:
        self._watched.close()
        await super().on_shutdown()

    def _joined(self) -> bool:
        """Whether the last rebalance has come to its end. May be asked from any thread."""
        tables: Any = self.app.tables  # Faust waits for them, though there are none
        return tables.recovery.completed.is_set() and self.app.flow_control.is_active()

    def open_store(self, pool: "asyncpg.Pool[asyncpg.Record]", clock: ShopClock) -> GroupStore:
        """Where the group's offsets and read models are kept."""
        return GroupStore(pool, self.group, self.steps, clock)

    async def _work(self) -> None:
        """Applies, publishes and notes the watermark; the first failure ends the worker."""
        consumer = self.app.consumer
        publisher = self.store.publisher
        tasks = [
            asyncio.create_task(self.reader.apply(lambda event: event.message.ack(consumer))),
            *([asyncio.create_task(publisher.run())] if publisher else []),
            asyncio.create_task(self._note_caught_up()),
            asyncio.create_task(self._watch_log()),
            asyncio.create_task(collect_garbage()),
            *map(asyncio.create_task, self._beside()),
        ]
        try:
            await asyncio.gather(*tasks)
        except ReadModelChanged as changed:
            logger.critical("this code is not that of the tables", reason=str(changed))
            raise
        finally:
            for task in tasks:
                task.cancel()

    def _beside(self) -> list[Coroutine[Any, Any, None]]:
        """What one worker of all those of a group does beside: closing days and months, emptying
        the outbox, telling abandoned carts, forgetting old answers, seeing to payments, checking
        samples. None ever fails."""
        if self.group != CLOSING_GROUP:
            return []
        settings, servers = self.settings, self.settings.servers
        alone = partial(connect_alone, servers.postgres, settings.schema_name)
        rules = Rules(
            ShopClock(settings.timezone),
            grace=timedelta(seconds=settings.day_grace),
            settle=timedelta(seconds=settings.day_settle),
            country=settings.country,
        )
        pool = partial(connect, servers.postgres, settings.schema_name, size=1, limits=LIMITS)
        told = partial(told_in_the_log, servers.kafka, settings.prefix)
        return [
            Closer(alone, rules, settings.partitions, told).run(),
            MonthCloser(alone, rules, told, closed=train_after).run(),
            Relay(alone, servers.kafka, settings.partitions, settings.prefix).run(),
            Abandonment(alone, pool, timedelta(seconds=settings.cart_silence)).run(),
            keep_forgetting(alone),
            *self._paying(),
            *self._sampling(),
        ]

    def _paying(self) -> list[Coroutine[Any, Any, None]]:
        """Sees to payments, where there is a provider."""
        settings = self.settings
        if not settings.stripe_key:
            return []
        alone = partial(connect_alone, settings.servers.postgres, settings.schema_name)
        return [Settler(alone, partial(opened, settings)).run()]

    def _sampling(self) -> list[Coroutine[Any, Any, None]]:
        """Holds a few figures against the log now and then, if it is to."""
        settings = self.settings
        if not settings.verify_seconds:
            return []
        group = Group(settings.servers.postgres, settings.schema_name, self.group, self.steps)
        every = timedelta(seconds=settings.verify_seconds)
        sampler = Sampler(group, source_of(settings), settings.verify_orders, every, _REST)
        return [sampler.run()]

    async def _note_caught_up(self) -> None:
        consumer = self.app.consumer
        assert isinstance(consumer, ChunkConsumer)
        while True:
            await asyncio.sleep(1.0)
            try:
                await self.reader.note_caught_up(consumer.fresh_highwater)
            except (Transient, KafkaError) as error:
                logger.warning("the watermark stays where it is", error=str(error))

    async def _watch_log(self) -> None:
        """Ends the worker where the log has changed under it."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            try:
                await self.reader.watch_log()
            except LogChanged as changed:
                logger.critical("reading stops: the log has changed", reason=str(changed))
                raise
            except (KafkaError, ReadBackFailed, OSError, TimeoutError) as error:
                logger.warning("Kafka does not say whether it is the same log", error=str(error))


async def with_room(attempt: Callable[[], Awaitable[T]]) -> T:
    """Tries until Postgres has room: where its disk is full, whoever is started next would fare no
    better."""
    while True:
        try:
            return await attempt()
        except (asyncpg.InsufficientResourcesError, Transient) as error:
            if not isinstance(error.__cause__ or error, asyncpg.InsufficientResourcesError):
                raise
            logger.warning("Postgres has no room; will be tried again", error=str(error))
            await asyncio.sleep(_ROOM_SECONDS)


def run(settings: Settings, group: str) -> None:
    """Runs a worker in this process. Exits with 1 where only a person can help."""
    tune()
    logs.configure(settings.log)
    metrics.serve(settings.metrics_host, settings.metrics_port)
    worker = GroupWorker(settings, group, loop=uvloop.new_event_loop())
    worker.execute_from_commandline()
