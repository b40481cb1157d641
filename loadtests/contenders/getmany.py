"""What nothing that reads the log can undercut: aiokafka's `getmany`, and decoding each event."""

import asyncio

import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from loadtests.contenders.job import Job, Progress, told
from streams import codec


async def run(job: Job) -> None:
    progress = Progress(job)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=job.kafka,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    await consumer.start()
    consumer.assign([TopicPartition(job.topic, number) for number in range(job.partitions)])
    progress.assigned()
    while True:
        batch = await consumer.getmany(timeout_ms=1000, max_records=20_000)
        for records in batch.values():
            for record in records:
                codec.decode_data(codec.decode_envelope(record.value), "orders")
            progress.committed(len(records))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(told()))
