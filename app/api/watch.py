"""What the API sees of the whole: how far every group is, what waits, what is away.

`/health/ready`, `/v1/status` and `/metrics` tell it; however often they are asked, the servers are
once a second at most.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from redis.asyncio import Redis

from app.learner.client import LearnerClient
from app.settings import Settings
from app.status import (
    GroupStatus,
    OutboxStatus,
    QuarantineStatus,
    group_status,
    outbox_status,
    partitions_in,
    quarantine_status,
)
from app.subscriptions import ALL_GROUPS, topics_of
from projections.skips import Failure, standing
from streams.batch import Partition

logger = structlog.get_logger()

T = TypeVar("T")

_FRESH_SECONDS = 1.0
_PATIENCE_SECONDS = 4.0
_SAMPLE_SECONDS = 5.0
_SAMPLES = 4  # rates are those of the last 15 to 20 seconds

Offsets = Mapping[tuple[str, Partition], int]


@dataclass(frozen=True, slots=True)
class Seen:
    """The whole at one moment. `away` says of each server that does not answer why."""

    away: Mapping[str, str]
    groups: Sequence[GroupStatus] = ()
    rates: Mapping[tuple[str, Partition], float] = field(default_factory=dict)  # records a second
    outbox: OutboxStatus | None = None
    quarantine: QuarantineStatus | None = None
    failures: Sequence[Failure] = ()
    versions: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # and generations
    learner: Mapping[str, object] | None = None
    recommender: Mapping[str, object] | None = None


class Watch:
    """Looks at the servers through connections of the API's own."""

    def __init__(
        self,
        settings: Settings,
        pool: "asyncpg.Pool[asyncpg.Record]",
        redis: Redis,
        learner: LearnerClient,
        recommender: LearnerClient,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._redis = redis
        self._learner = learner
        self._recommender = recommender
        self._consumer: AIOKafkaConsumer | None = None
        self._connecting: asyncio.Task[AIOKafkaConsumer] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._looking = asyncio.Lock()
        self._seen = Seen({})
        self._seen_at = float("-inf")
        self._samples: deque[tuple[float, Offsets]] = deque(maxlen=_SAMPLES)

    async def run(self) -> None:
        """Remembers where the groups were, for their rates; for ever."""
        while True:
            # All that a look takes would be much for what nobody may ask for.
            if (offsets := await _unless_away("postgres", self._read_to(), {})) is not None:
                self._samples.append((time.monotonic(), offsets))
            await asyncio.sleep(_SAMPLE_SECONDS)

    async def _read_to(self) -> Offsets:
        rows = await self._pool.fetch(
            "SELECT group_name, topic, partition, next_offset FROM progress"
        )
        return {
            (row["group_name"], Partition(row["topic"], row["partition"])): row["next_offset"]
            for row in rows
        }

    async def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            found = (await asyncio.gather(self._connecting, return_exceptions=True))[0]
            if isinstance(found, AIOKafkaConsumer):
                await found.stop()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def look(self) -> Seen:
        """The whole as it is now, or was a second ago. Never raises for a server that is away."""
        async with self._looking:
            if time.monotonic() - self._seen_at > _FRESH_SECONDS:
                self._seen = await self._look()
                self._seen_at = time.monotonic()
            return self._seen

    async def _look(self) -> Seen:
        away: dict[str, str] = {}
        ends, _, learner, recommender = await asyncio.gather(
            _unless_away("kafka", self._ends(), away),
            _unless_away("redis", self._redis.ping(), away),
            _unless_away("learner", self._learner.health(), away),
            _unless_away("recommender", self._recommender.health(), away),
        )
        seen = await _unless_away("postgres", self._stored(ends or {}), away)
        quarantine = None
        if seen is not None:
            # A quarantine too full to be counted in time is no Postgres that is away.
            quarantine = await _unless_away("quarantine", quarantine_status(self._pool), {})
        for name in away.keys() - self._seen.away.keys():
            logger.warning("does not answer", server=name, error=away[name])
        groups, outbox, failures, versions = seen or ((), None, (), {})
        return Seen(
            *(away, groups, self._rates(groups), outbox, quarantine, failures, versions),
            *(learner, recommender),
        )

    async def _connect(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.servers.kafka, enable_auto_commit=False
        )
        try:
            await consumer.start()
        except BaseException:
            await consumer.stop()
            raise
        return consumer

    async def _ends(self) -> Mapping[TopicPartition, int]:
        if self._consumer is None:
            # Beyond this look's patience, if need be: the next one goes on waiting for it.
            if self._connecting is None or self._connecting.done():
                self._connecting = asyncio.create_task(self._connect())
                # Where no look waits for it any more, nobody else asks how it ended.
                self._connecting.add_done_callback(
                    lambda done: done.cancelled() or done.exception()
                )
            self._consumer = await asyncio.shield(self._connecting)
        assert self._consumer is not None
        topics = sorted({topic for group in ALL_GROUPS for topic in topics_of(group)})
        try:
            found: Mapping[TopicPartition, int] = await self._consumer.end_offsets(
                partitions_in(self._settings, topics)
            )
        except BaseException:
            # It may know topics from before they were there, and would not look again.
            self._leave(self._consumer)
            raise
        return found

    def _leave(self, consumer: AIOKafkaConsumer) -> None:
        """The next look connects anew."""
        self._consumer = self._connecting = None
        leaving = asyncio.create_task(consumer.stop())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _stored(
        self, ends: Mapping[TopicPartition, int]
    ) -> tuple[
        Sequence[GroupStatus],
        OutboxStatus,
        Sequence[Failure],
        Mapping[str, tuple[int, int]],
    ]:
        settings, pool = self._settings, self._pool
        groups = [
            await group_status(
                pool, name, partitions_in(settings, topics_of(name)), ends, settings.prefix
            )
            for name in ALL_GROUPS
        ]
        rows = await pool.fetch("SELECT name, version, generation FROM read_models")
        versions = {row["name"]: (row["version"], row["generation"]) for row in rows}
        return groups, await outbox_status(pool), await standing(pool), versions

    def _rates(self, groups: Sequence[GroupStatus]) -> Mapping[tuple[str, Partition], float]:
        if not self._samples:
            return {}
        at, before = self._samples[0]
        passed = max(time.monotonic() - at, _FRESH_SECONDS)
        keys = {(of.group, one.partition): one for of in groups for one in of.partitions}
        return {
            key: max(one.next_offset - before.get(key, one.next_offset), 0) / passed
            for key, one in keys.items()
        }


async def _unless_away(name: str, asked: Awaitable[T], away: dict[str, str]) -> T | None:
    """What a server answers; None, and why, where it does not in time."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await asked
    # Each client has its own errors for one and the same: no answer.
    except Exception as error:
        away[name] = f"{type(error).__name__}: {error}".removesuffix(": ")
        return None
