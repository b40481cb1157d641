"""What must not end a worker: partitions that go, and a disk that is full as it starts."""

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from app import worker
from app.worker import with_room
from streams.batch import Transient
from streams.chunk import fresh_highwater


async def test_of_a_partition_that_was_just_taken_away_nothing_is_known() -> None:
    """A rebalance may be under way when the watermark is noted: that ends no worker."""
    consumer = AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1")
    try:
        assert fresh_highwater(consumer, TopicPartition("orders", 0)) is None
    finally:
        await consumer.stop()


async def test_a_worker_starts_once_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_ROOM_SECONDS", 0.0)
    full = asyncpg.DiskFullError("could not extend file")
    failing: list[Exception] = [full, Transient("full")]
    failing[1].__cause__ = full

    async def attempt() -> str:
        if failing:
            raise failing.pop()
        return "opened"

    assert await with_room(attempt) == "opened"
    failing.append(Transient("Postgres is away"))
    with pytest.raises(Transient):
        await with_room(attempt)
