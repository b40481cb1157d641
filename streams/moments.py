"""Where the log stood at a moment of the past.

A record's timestamp is when whoever appended it had received it: several of them append to one
partition, each within seconds, so timestamps may be out of order by so much. What counts as known
at a moment is, of each partition, all before the first record that was received after it: a state
that figures could truly be in, and the same whenever it is asked for.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.batch import Partition
from streams.topic_ids import described


class LogAt(NamedTuple):
    """The id of each topic, and of each partition the offset before which all was known."""

    ids: Mapping[str, UUID]
    offsets: Mapping[Partition, int]


async def log_at(
    bootstrap: str, prefix: str, topics: Collection[str], at: datetime | None
) -> LogAt:
    """How topics stood at a moment, or, without one, how they stand. Raises KafkaError."""
    found = await described(bootstrap, [prefix + topic for topic in topics])
    names = {
        TopicPartition(name, number): Partition(name.removeprefix(prefix), number)
        for name, topic in found.items()
        for number in range(topic.partitions)
    }
    after = None if at is None else int(at.timestamp() * 1000) + 1  # a record's are whole ones
    ids = {name.removeprefix(prefix): topic.id for name, topic in found.items()}
    if after is not None and after <= 0:
        return LogAt(ids, dict.fromkeys(names.values(), 0))
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        # The ends come first: what is appended meanwhile may have been received later.
        ends = await consumer.end_offsets(list(names))
        later = (
            {} if after is None else await consumer.offsets_for_times(dict.fromkeys(names, after))
        )
    finally:
        await consumer.stop()
    offsets = {
        partition: later[tp].offset if later.get(tp) is not None else ends[tp]
        for tp, partition in names.items()
    }
    return LogAt(ids, offsets)
