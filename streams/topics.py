"""The topics, what they are keyed by, and which partition a key lives on."""

import asyncio
from collections.abc import Mapping, Sequence

import xxhash
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from streams.events import VOCABULARY, Event

TOPICS: tuple[str, ...] = tuple(dict.fromkeys(kind.topic for kind in VOCABULARY.values()))

# Of these there is one line of events alone, whatever the settings say of the others.
SINGLE = frozenset({"days"})

# Events are the truth: nothing is ever deleted or compacted away.
_CONFIG = {
    "retention.ms": "-1",
    "cleanup.policy": "delete",
    "message.timestamp.type": "CreateTime",
    "max.message.bytes": str(1024 * 1024),
}


def key_of(event: Event) -> bytes:
    """One shop's one subject: a retried event always meets its first copy."""
    return f"{event.shop}/{event.subject}".encode()


def partition_of(key: bytes, partitions: int) -> int:
    """Where a key lives. Fixed for good: growing means a new topic and a rebuild."""
    return xxhash.xxh3_64_intdigest(key) % partitions


def partitions_of(topic: str, partitions: int) -> int:
    """How many partitions a topic has, where the others have so many."""
    return 1 if topic in SINGLE else partitions


_READABLE_SECONDS = 30.0


class PartitionsDiffer(Exception):
    """A topic is there with another number of partitions: keys would be looked for elsewhere."""


async def create_topics(
    bootstrap: str,
    partitions: int,
    prefix: str = "",
    replication: int = 1,
    topics: Sequence[str] = TOPICS,
) -> None:
    """Creates the topics that are not there yet; those that are, are left alone. Returns once they
    can be read: a reader that comes too early would look again only after a while.

    Raises PartitionsDiffer, TimeoutError, or a KafkaError where Kafka does not create one.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        there = set(await admin.list_topics())
        missing = {name for name in topics if prefix + name not in there}
        wanted = [
            NewTopic(
                prefix + name, partitions_of(name, partitions), replication, topic_configs=_CONFIG
            )
            for name in sorted(missing)
        ]
        if wanted:
            answer = await admin.create_topics(wanted)
            for name, code, *_ in answer.topic_errors:
                if code not in (0, TopicAlreadyExistsError.errno):  # another process was quicker
                    raise for_code(code)(f"topic {name} cannot be created")
        async with asyncio.timeout(_READABLE_SECONDS):
            while not (found := await _readable(admin, [prefix + name for name in topics])):
                await asyncio.sleep(0.05)
    finally:
        await admin.close()
    for name, count in found.items():
        wanted_count = partitions_of(name.removeprefix(prefix), partitions)
        if count != wanted_count:
            raise PartitionsDiffer(
                f"topic {name} has {count} partitions, not {wanted_count}: a key's partition is "
                "fixed for good; set TILLSTREAM_PARTITIONS to what it has"
            )


async def _readable(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> Mapping[str, int]:
    """How many partitions each has; nothing while one of them has none, or none to lead it."""
    found = await admin.describe_topics(list(topics))
    for topic in found:
        led = [one["leader"] >= 0 and not one["error_code"] for one in topic["partitions"]]
        if topic["error_code"] or not led or not all(led):
            return {}
    return {topic["topic"]: len(topic["partitions"]) for topic in found}
