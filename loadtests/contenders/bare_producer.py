"""A bare aiokafka producer in a loop: how fast can Python append at all.

`python -m loadtests.contenders.bare_producer KAFKA TOPIC COUNT` prints the events a second. Same
kind of values and keys, acks=all, idempotent; no HTTP, no checks, no positions handed back.
"""

import asyncio
import sys
import time

import uvloop
from aiokafka import AIOKafkaProducer

from loadtests.bench.events import generate
from streams import codec
from streams.topics import key_of, partition_of

BATCH = 500


async def main(kafka: str, topic: str, count: int, partitions: int = 12) -> None:
    """Sends in batches of 500, each awaited whole, four at a time, as a client would."""
    ready = []
    for event in generate(count):
        key = key_of(event)
        ready.append((codec.encode(event), key, partition_of(key, partitions)))
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka, enable_idempotence=True, acks="all", max_batch_size=256 * 1024
    )
    await producer.start()
    batches = iter([ready[n : n + BATCH] for n in range(0, count, BATCH)])

    async def lane() -> None:
        for batch in batches:
            sent = [await producer.send(topic, *record) for record in batch]
            await asyncio.gather(*sent)

    begun = time.monotonic()
    await asyncio.gather(*(lane() for _ in range(4)))
    print(count / (time.monotonic() - begun), flush=True)
    await producer.stop()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
