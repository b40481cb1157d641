"""The reference: a loop of aiokafka's `getmany` and asyncpg, offsets in the same transaction.

With `dedupe` it also drops events whose id stood among the last 100,000 of their partition, in
memory, filled again from the log after a start: the cheapest way that gives what Tillstream gives.
A table of ids in Postgres would need no filling and cost more for each event.
"""

import asyncio
from collections import defaultdict
from typing import Any

import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition

from loadtests.contenders.handwritten import commit, connect, offsets
from loadtests.contenders.job import Job, Progress, told

WINDOW = 100_000


class Seeks(ConsumerRebalanceListener):  # type: ignore[misc]
    """Goes on where Postgres says."""

    def __init__(self, job: Job, consumer: Any, progress: Progress) -> None:
        self._job = job
        self._consumer = consumer
        self._progress = progress

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None: ...

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._progress.assigned()
        known = await offsets(self._job.postgres, self._job.schema)
        for partition in assigned:
            self._consumer.seek(partition, known.get(partition.partition, 0))


class Window:
    """The ids of a partition's last records."""

    def __init__(self) -> None:
        self._ids: dict[tuple[str, str], None] = {}

    def new(self, event: Any) -> bool:
        """Whether an event is not one of them; it is from now on."""
        key = (event["shop"], event["id"])
        if key in self._ids:
            return False
        self._ids[key] = None
        if len(self._ids) > WINDOW:
            del self._ids[next(iter(self._ids))]
        return True


async def run(job: Job) -> None:
    progress = Progress(job)
    connection = await connect(job.postgres, job.schema)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=job.kafka,
        group_id=job.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    consumer.subscribe([job.topic], listener=Seeks(job, consumer, progress))
    await consumer.start()
    windows: dict[int, Window] = defaultdict(Window)
    while True:
        batch = await consumer.getmany(timeout_ms=1000, max_records=job.commit_records)
        events, next_offsets = [], {}
        for partition, records in batch.items():
            found = [orjson.loads(record.value) for record in records]
            if job.dedupe:
                window = windows[partition.partition]
                found = [event for event in found if window.new(event)]
            events += found
            next_offsets[partition.partition] = records[-1].offset + 1
        if batch:
            await commit(connection, events, next_offsets)
            progress.committed(sum(map(len, batch.values())))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(told()))
