"""What is handed on of a log: batches of facts, each partition's part with the offsets it accounts
for, and the store that applies them wholly or not at all."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

from msgspec import Struct

from streams.codec import Fact

Prepared = TypeVar("Prepared")


class Partition(NamedTuple):
    """A partition of a topic by its own name, without the prefix it may bear in Kafka."""

    topic: str
    number: int


class Quarantined(Struct, frozen=True):
    """A record that is no event, kept whole with its reason."""

    offset: int
    event_id: str | None
    field: str
    reason: str
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    shop: str | None = None


class Part(Struct, frozen=True):
    """One partition's share of a batch: every offset in [first, next) is accounted for."""

    partition: Partition
    first: int
    next: int
    facts: Sequence[Fact]
    quarantined: Sequence[Quarantined]
    repeated: Sequence[int]
    last_digest: int
    until_ms: int


class Batch(Struct, frozen=True):
    """What one transaction applies: parts of distinct partitions, sorted by partition."""

    parts: Sequence[Part]
    seek: int

    def records(self) -> int:
        """How many offsets it accounts for."""
        return sum(part.next - part.first for part in self.parts)

    def facts(self, topics: Collection[str]) -> list[Fact]:
        """Those of these topics, partition by partition."""
        return [
            fact for part in self.parts if part.partition.topic in topics for fact in part.facts
        ]


class Progress(Struct, frozen=True):
    """What the store knows of a partition: where to go on, what stood before, and which records a
    person has told the group to pass by, with the reasons."""

    next_offset: int
    topic_id: UUID
    last_digest: int | None
    skipped: Mapping[int, str] = {}


class Moved(Exception):
    """The store's offsets are not where a batch begins; nothing of it was applied."""

    def __init__(self, next_offsets: Mapping[Partition, int]) -> None:
        super().__init__(f"the store has moved on: {dict(next_offsets)}")
        self.next_offsets = next_offsets


class Transient(Exception):
    """The store could not be reached, or asked for another try. The outcome may be unknown."""


class LogChanged(Exception):
    """The log is not the one that was read before. Reading on would skip or double: rebuild."""


class Store(Protocol[Prepared]):
    """Where a group's progress and read models live."""

    async def progress(self, ids: Mapping[Partition, UUID]) -> Mapping[Partition, Progress]:
        """Of each partition; one that was never read begins at 0 of the topic with this id."""

    async def prepare(self, batch: Batch, before: Prepared | None = None) -> Prepared:
        """Folds a batch, as if the one before were applied. Raises Transient."""

    async def commit(self, prepared: Prepared) -> None:
        """Applies a batch and its offsets, wholly or not at all. Raises Moved, Transient."""

    async def caught_up(self, next_offsets: Mapping[Partition, int], at: datetime) -> None:
        """Notes that nothing was waiting behind these offsets at that time."""

    async def resumed(self) -> None:
        """Reading begins again, perhaps after a crash: what is derived may be behind."""


def after(batch: Batch, next_offsets: Mapping[Partition, int]) -> Batch:
    """What is left of a batch where the store is ahead of it.

    Raises LogChanged where the store is behind: it was set back while we were reading.
    """
    parts = []
    for part in batch.parts:
        start = next_offsets.get(part.partition, part.first)
        if start < part.first:
            raise LogChanged(f"{part.partition}: the store is at {start}, read to {part.first}")
        if start < part.next:
            parts.append(_trim(part, start))
    return Batch(parts, batch.seek)


def _trim(part: Part, start: int) -> Part:
    return Part(
        part.partition,
        first=start,
        next=part.next,
        facts=[fact for fact in part.facts if fact.offset >= start],
        quarantined=[record for record in part.quarantined if record.offset >= start],
        repeated=[offset for offset in part.repeated if offset >= start],
        last_digest=part.last_digest,
        until_ms=part.until_ms,
    )
