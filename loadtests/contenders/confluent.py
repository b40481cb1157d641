"""The same loop on confluent-kafka, whose C library fetches in threads of its own."""

import asyncio
from typing import Any

import orjson
import uvloop
from confluent_kafka import Consumer, TopicPartition

from loadtests.contenders.handwritten import commit, connect, offsets
from loadtests.contenders.job import Job, Progress, told


async def run(job: Job) -> None:
    progress = Progress(job)
    connection = await connect(job.postgres, job.schema)
    known = await offsets(job.postgres, job.schema)

    def assigned(consumer: Any, partitions: list[TopicPartition]) -> None:
        progress.assigned()
        for partition in partitions:
            partition.offset = known.get(partition.partition, 0)
        consumer.assign(partitions)

    consumer = Consumer(
        {
            "bootstrap.servers": job.kafka,
            "group.id": job.group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "queued.min.messages": 4 * job.commit_records,
            "max.partition.fetch.bytes": 4 * 1024 * 1024,
        }
    )
    consumer.subscribe([job.topic], on_assign=assigned)
    while True:
        records: list[Any] = await asyncio.to_thread(consumer.consume, job.commit_records, 0.1)
        if not records:
            continue
        events = [orjson.loads(record.value() or b"null") for record in records]
        next_offsets = {r.partition() or 0: (r.offset() or 0) + 1 for r in records}
        await commit(connection, events, next_offsets)
        progress.committed(len(records))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(told()))
