"""How far the readers are: applied offsets from Postgres beside the log's ends from Kafka."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
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
from app.subscriptions import GROUPS, LEARNER_GROUPS, topics_of
from projections.postgres import connect
from projections.read_model import Row
from streams.batch import Partition
from streams.topics import TOPICS, partitions_of

# Nobody has ever joined a group here, or the broker has only just started.
_TOO_EARLY = (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition as a group has read it. `end` is None where Kafka did not say."""

    partition: Partition
    next_offset: int
    applied: int
    repeated: int
    quarantined: int
    complete_to: datetime | None
    end: int | None

    @property
    def lag(self) -> int:
        """Records that wait in the log, as far as is known."""
        return max((self.end or 0) - self.next_offset, 0)


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """One group: records applied, repeated and quarantined; how many still wait in the log."""

    group: str
    partitions: Sequence[PartitionStatus]

    @property
    def applied(self) -> int:
        return sum(one.applied for one in self.partitions)

    @property
    def repeated(self) -> int:
        return sum(one.repeated for one in self.partitions)

    @property
    def quarantined(self) -> int:
        return sum(one.quarantined for one in self.partitions)

    @property
    def lag(self) -> int:
        return sum(one.lag for one in self.partitions)

    @property
    def complete_to(self) -> datetime | None:
        """That of the partition that is furthest behind, of those that were read at all."""
        return min((one.complete_to for one in self.partitions if one.complete_to), default=None)

    @property
    def read(self) -> int:
        """Every record read became one of the three."""
        return self.applied + self.repeated + self.quarantined

    @property
    def unaccounted(self) -> int:
        """Records that were read and became none of the three: 0, or figures are wrong."""
        return sum(
            abs(one.next_offset - one.applied - one.repeated - one.quarantined)
            for one in self.partitions
        )


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
        return partitions_in(self._settings, topics)

    async def _group(self, group: str) -> GroupStatus:
        named = self._partitions(topics_of(group))
        ends = await self._consumer.end_offsets(named)
        return await group_status(self._pool, group, named, ends, self._settings.prefix)


def partitions_in(settings: Settings, topics: Iterable[str]) -> list[TopicPartition]:
    """All partitions of topics, by their names in Kafka."""
    return [
        TopicPartition(settings.prefix + topic, number)
        for topic in topics
        for number in range(partitions_of(topic, settings.partitions))
    ]


async def group_status(
    pool: "asyncpg.Pool[asyncpg.Record]",
    group: str,
    partitions: Sequence[TopicPartition],
    ends: Mapping[TopicPartition, int],
    prefix: str,
) -> GroupStatus:
    """A group, from its progress and the log's ends as far as they are known."""
    rows = await pool.fetch("SELECT * FROM progress WHERE group_name = $1", group)
    known = {(row["topic"], row["partition"]): row for row in rows}
    return GroupStatus(
        group,
        [
            _partition_status(
                partition := Partition(tp.topic.removeprefix(prefix), tp.partition),
                known.get(partition),
                ends.get(tp),
            )
            for tp in partitions
        ],
    )


def _partition_status(partition: Partition, row: "Row | None", end: int | None) -> PartitionStatus:
    if row is None:
        return PartitionStatus(partition, 0, 0, 0, 0, None, end)
    return PartitionStatus(
        partition,
        row["next_offset"],
        row["applied"],
        row["repeated"],
        row["quarantined"],
        row["complete_to"],
        end,
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
    if group in LEARNER_GROUPS:
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


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """Events that wait to be appended to the log, and for how long the first of them has."""

    waiting: int
    oldest_seconds: float


async def outbox_status(pool: "asyncpg.Pool[asyncpg.Record]") -> OutboxStatus:
    """The outbox as it stands now."""
    row = await pool.fetchrow(
        """
        SELECT count(*) AS waiting,
            coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest
        FROM outbox WHERE acknowledged_at IS NULL
        """
    )
    assert row is not None
    return OutboxStatus(row["waiting"], row["oldest"])


@dataclass(frozen=True, slots=True)
class QuarantineStatus:
    """Records in quarantine, and those that were not sent again; how many of each group's were
    counted as quarantined and are not kept."""

    records: int
    waiting: int
    missing: Mapping[str, int]


async def quarantine_status(pool: "asyncpg.Pool[asyncpg.Record]") -> QuarantineStatus:
    """The quarantine as it stands now. It takes the longer the more there is."""
    # In one statement, and so of one moment: between two of them a record would seem missing.
    rows = await pool.fetch(
        """
        SELECT group_name, (coalesce(counted, 0) - coalesce(kept, 0))::bigint AS missing
        FROM (
            SELECT group_name, sum(quarantined) AS counted FROM progress GROUP BY group_name
        ) AS progress
        FULL JOIN (
            SELECT group_name, count(*) AS kept FROM quarantine GROUP BY group_name
        ) AS quarantine USING (group_name)
        """
    )
    row = await pool.fetchrow(
        """
        SELECT count(*) AS records, count(*) FILTER (WHERE event_id IS NULL) AS waiting
        FROM (
            SELECT DISTINCT ON (topic, partition, record_offset)
                topic, partition, record_offset, topic_id
            FROM quarantine LEFT JOIN progress USING (group_name, topic, partition)
            ORDER BY topic, partition, record_offset, group_name
        ) AS found
        LEFT JOIN resubmissions USING (topic, partition, record_offset, topic_id)
        """
    )
    assert row is not None
    missing = {row["group_name"]: row["missing"] for row in rows}
    return QuarantineStatus(row["records"], row["waiting"], missing)
