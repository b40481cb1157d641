"""Rows of the outbox that wait although the log has them, as after a restore: a backup knows of no
acknowledgement that came later. They get their positions; relayed again, they would count once only
for as long as readers remember them.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from contextlib import aclosing

from aiokafka import TopicPartition

from streams.exclusive import Connection
from streams.outbox import ACKNOWLEDGED
from streams.readback import log_ends, read_back
from streams.topic_ids import topic_ids
from streams.topics import partitions_of


async def refind(connection: Connection, bootstrap: str, partitions: int, prefix: str) -> int:
    """Notes the positions of waiting rows that stand on the log; how many did. For whoever keeps
    the relay from its work.

    What waits was appended after all that had its position, for rows are relayed one batch after
    the other: the log is looked through from there. Raises OSError, KafkaError, PostgresError,
    ReadBackFailed.
    """
    waiting: dict[tuple[str, bytes], list[int]] = defaultdict(list)
    for row in await connection.fetch(_WAITING):
        waiting[row["topic"], row["digest"]].append(row["id"])
    topics = {topic for topic, _ in waiting}
    if not topics:
        return 0
    ids = await topic_ids(bootstrap, {prefix + topic for topic in topics})
    found: list[tuple[int, str, int, int]] = []
    spans = await _unknown(connection, bootstrap, partitions, prefix, topics)
    async with aclosing(read_back(bootstrap, spans)) as reading:
        async for tp, records in reading:
            topic = tp.topic.removeprefix(prefix)
            for record in records:
                rows = waiting.pop((topic, hashlib.sha256(record.value or b"").digest()), ())
                found += [(row, tp.topic, tp.partition, record.offset) for row in rows]
            if not waiting:
                break
    await connection.execute(
        ACKNOWLEDGED,
        [row for row, *_ in found],
        [ids[topic] for _, topic, _, _ in found],
        [number for _, _, number, _ in found],
        [offset for *_, offset in found],
    )
    return len(found)


async def _unknown(
    connection: Connection, bootstrap: str, partitions: int, prefix: str, topics: set[str]
) -> Mapping[TopicPartition, tuple[int, int]]:
    """What the log has beyond the last position that is noted, of each partition."""
    names = [
        (topic, n) for topic in sorted(topics) for n in range(partitions_of(topic, partitions))
    ]
    rows = await connection.fetch(_LAST, [topic for topic, _ in names], [n for _, n in names])
    last = {(row["topic"], row["partition"]): row["last"] for row in rows}
    ends = await log_ends(bootstrap, [TopicPartition(prefix + topic, n) for topic, n in names])
    return {
        tp: (max(start, last[tp.topic.removeprefix(prefix), tp.partition] + 1), end)
        for tp, (start, end) in ends.items()
    }


_WAITING = "SELECT id, topic, sha256(event) AS digest FROM outbox WHERE acknowledged_at IS NULL"
_LAST = """
    SELECT log.topic, log.partition, coalesce((
        SELECT max(record_offset) FROM outbox
        WHERE acknowledged_at IS NOT NULL
            AND topic = log.topic AND outbox.partition = log.partition
    ), -1) AS last
    FROM unnest($1::text[], $2::int[]) AS log (topic, partition)
"""
