"""How far the readers are: applied offsets from Postgres beside the log's ends from Kafka."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)

from app.learner.leadership import is_led
from app.settings import Settings
from app.subscriptions import GROUPS, LEARNERS, topics_of
from projections.postgres import connect
from streams.topics import TOPICS, partitions_of

# Nobody has ever joined a group here, or the broker has only just started.
_TOO_EARLY = (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """One group: records applied, repeated and quarantined; how many still wait in the log."""

    group: str
    applied: int
    repeated: int
    quarantined: int
    lag: int
    complete_to: datetime | None

    @property
    def read(self) -> int:
        """Every record read became one of the three."""
        return self.applied + self.repeated + self.quarantined


class StatusReader:
    """Connections held open, for asking again and again."""

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        consumer: AIOKafkaConsumer,
        settings: Settings,
    ) -> None:
        self._pool = pool
        self._consumer = consumer
        self._settings = settings

    async def groups(self, names: Sequence[str] = GROUPS) -> list[GroupStatus]:
        """Groups as they stand now; without names, those that keep read models."""
        return [await self._group(group) for group in names]

    async def appended(self) -> int:
        """How many events all topics hold."""
        ends = await self._consumer.end_offsets(self._partitions(TOPICS))
        return sum(ends.values())

    def _partitions(self, topics: Iterable[str]) -> list[TopicPartition]:
        return [
            TopicPartition(self._settings.prefix + topic, number)
            for topic in topics
            for number in range(partitions_of(topic, self._settings.partitions))
        ]

    async def _group(self, group: str) -> GroupStatus:
        ends = await self._consumer.end_offsets(self._partitions(topics_of(group)))
        row = await self._pool.fetchrow(
            """
            SELECT coalesce(sum(next_offset), 0)::bigint AS next_offset,
                coalesce(sum(applied), 0)::bigint AS applied,
                coalesce(sum(repeated), 0)::bigint AS repeated,
                coalesce(sum(quarantined), 0)::bigint AS quarantined,
                min(complete_to) AS complete_to
            FROM progress WHERE group_name = $1
            """,
            group,
        )
        assert row is not None
        return GroupStatus(
            group,
            row["applied"],
            row["repeated"],
            row["quarantined"],
            sum(ends.values()) - row["next_offset"],
            row["complete_to"],
        )


@asynccontextmanager
async def reading_status(settings: Settings) -> AsyncIterator[StatusReader]:
    """A status reader, connected. Raises OSError, a KafkaError or a PostgresError."""
    servers = settings.servers
    consumer = AIOKafkaConsumer(bootstrap_servers=servers.kafka, enable_auto_commit=False)
    await consumer.start()
    try:
        async with await connect(servers.postgres, settings.schema_name, size=1) as pool:
            yield StatusReader(pool, consumer, settings)
    finally:
        await consumer.stop()


async def members(settings: Settings, group: str) -> int:
    """How many read for a group: workers as Kafka sees them, 0 while they are still gathering; of
    learners the one that leads."""
    if group == LEARNERS:
        async with await connect(settings.servers.postgres, settings.schema_name, size=1) as pool:
            return int(await is_led(pool, settings.schema_name, group))
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.servers.kafka)
    await admin.start()
    try:
        answers = await admin.describe_consumer_groups([settings.prefix + group])
    except _TOO_EARLY:
        return 0
    finally:
        await admin.close()
    for _, name, state, _, _, found, *_ in answers[0].groups:
        if name == settings.prefix + group and state == "Stable":
            return len(found)
    return 0
