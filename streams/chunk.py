"""What a reader is given of the log, and asked for by who gives it; nothing here knows Faust, which
is slow to load."""

import time
from collections.abc import Mapping, Sequence, Set
from typing import Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from msgspec import Struct


class Chunk(Struct, frozen=True, gc=False):
    """What one fetch brought for one partition: ascending offsets, at least one record.

    `seek` counts the seeks of the consumer: a chunk that was fetched before the last seek is void.
    """

    topic: str
    partition: int
    records: Sequence[ConsumerRecord]
    seek: int


# The end of the log is known as of the last answer to a fetch, which comes every half second: one
# older than this tells nothing.
FRESH_SECONDS = 2.0


def fresh_highwater(consumer: AIOKafkaConsumer, tp: TopicPartition) -> int | None:
    """The end of a partition; None where Kafka has not said so just now, or it is not ours."""
    try:
        asked = consumer.last_poll_timestamp(tp)
        if asked is None or asked / 1000 < time.time() - FRESH_SECONDS:
            return None
        end: int | None = consumer.highwater(tp)
    except AssertionError:  # a rebalance takes partitions away before it says so
        return None
    else:
        return end


class Reader(Protocol):
    """Who knows where reading goes on, and must hear when partitions go."""

    async def resume(
        self, partitions: Set[TopicPartition], seek: int
    ) -> Mapping[TopicPartition, int]:
        """The next offset to read of each partition, once all that is under way has ended.

        From here on only chunks of this `seek` count.
        """

    async def release(self) -> None:
        """Partitions are about to go: drop what waits, end what is under way."""
