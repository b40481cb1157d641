"""Reading stretches of the log that are already known to be there."""

from collections.abc import AsyncGenerator, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

_FETCH_BYTES = 4 * 1024 * 1024
_PATIENCE_SECONDS = 20.0


class ReadBackFailed(Exception):
    """Kafka did not hand over records that it has."""


async def read_back(
    bootstrap: str, stretches: Mapping[TopicPartition, tuple[int, int]]
) -> AsyncGenerator[tuple[TopicPartition, Sequence[ConsumerRecord]]]:
    """Yields every record of [start, end) of each partition, in order within it.

    Raises ReadBackFailed if a stretch does not come within 20 s of silence.
    """
    wanted = {tp: span for tp, span in stretches.items() if span[0] < span[1]}
    if not wanted:
        return
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="none",
        max_partition_fetch_bytes=_FETCH_BYTES,
    )
    await consumer.start()
    try:
        consumer.assign(list(wanted))
        for tp, (start, _) in wanted.items():
            consumer.seek(tp, start)
        while wanted:
            fetched = await consumer.getmany(
                timeout_ms=int(_PATIENCE_SECONDS * 1000), max_records=20_000
            )
            if not fetched:
                raise ReadBackFailed(f"no records came for {sorted(wanted)}")
            for tp, records in fetched.items():
                if tp not in wanted:
                    continue
                end = wanted[tp][1]
                if records[-1].offset + 1 >= end:
                    del wanted[tp]
                    consumer.pause(tp)
                if kept := [record for record in records if record.offset < end]:
                    yield tp, kept
    finally:
        await consumer.stop()


async def log_ends(
    bootstrap: str, partitions: Sequence[TopicPartition]
) -> Mapping[TopicPartition, tuple[int, int]]:
    """The first offset that is still there and the next that will be, of each partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        starts = await consumer.beginning_offsets(list(partitions))
        ends = await consumer.end_offsets(list(partitions))
    finally:
        await consumer.stop()
    return {tp: (starts[tp], ends[tp]) for tp in partitions}
