"""Appending to the log: an event is acknowledged when Kafka has it (acks=all), or not at all."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed
from aiokafka.structs import RecordMetadata

from streams import codec
from streams.events import VOCABULARY, Event
from streams.topics import key_of, partition_of, partitions_of

APPEND_SECONDS = 4.0
"""How patient a producer is: so long after it was received an event may come to the log."""


class Position(NamedTuple):
    """Where a record stands in the log; `orders:3:1234` in text."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Raises ValueError."""
        topic, partition, offset = text.split(":")
        return cls(topic, int(partition), int(offset))


class LogUnavailable(Exception):
    """Kafka did not acknowledge in time. What was sent may still arrive: send it again."""


class Log:
    """An idempotent producer with its own deadline and a bound on what it holds."""

    def __init__(
        self,
        bootstrap: str,
        partitions: int,
        prefix: str = "",
        deadline: float = APPEND_SECONDS,
        most_bytes: int = 64 * 1024 * 1024,
        linger_ms: int = 0,
    ) -> None:
        self._bootstrap = bootstrap
        self._partitions = partitions
        self._prefix = prefix
        self._deadline = deadline
        self._most_bytes = most_bytes
        self._linger_ms = linger_ms
        self._held_bytes = 0
        self._producer: AIOKafkaProducer | None = None
        self._starting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connects in the background, as long as it takes: until then appending is refused."""
        self._starting = asyncio.create_task(self._connect())

    @property
    def ready(self) -> bool:
        """Whether Kafka has been reached."""
        return self._producer is not None

    async def connected(self) -> None:
        """Waits for the first connection."""
        if self._starting is not None:
            await asyncio.shield(self._starting)

    async def _connect(self) -> None:
        while True:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap,
                enable_idempotence=True,
                acks="all",
                linger_ms=self._linger_ms,
                max_batch_size=256 * 1024,
                max_request_size=4 * 1024 * 1024,
            )
            try:
                await producer.start()
            except (KafkaError, OSError):
                await producer.stop()
                await asyncio.sleep(0.5)
            except asyncio.CancelledError:
                await producer.stop()
                raise
            else:
                self._producer = producer
                return

    async def stop(self) -> None:
        """Flushes what is held, for as long as one deadline."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._producer is not None:
            try:
                await asyncio.wait_for(self._producer.stop(), self._deadline)
            except TimeoutError:
                await _abandon(self._producer)

    async def append(self, events: Sequence[Event]) -> list[Position]:
        """Appends events and waits until Kafka has them all; their positions, in order.

        Raises LogUnavailable after the deadline, or at once when too much is held already.
        """
        values = [codec.encode(event) for event in events]
        size = sum(map(len, values))
        if self._held_bytes + size > self._most_bytes:
            raise LogUnavailable("too much is waiting for Kafka already")
        self._held_bytes += size
        try:
            async with asyncio.timeout(self._deadline):
                return await self._send(events, values)
        except (TimeoutError, KafkaError) as error:
            raise LogUnavailable(f"Kafka has not acknowledged: {error!r}") from error
        finally:
            self._held_bytes -= size

    async def _send(self, events: Sequence[Event], values: Sequence[bytes]) -> list[Position]:
        if self._producer is None:
            raise LogUnavailable("Kafka is not reachable yet")
        send = self._producer.send
        sent: list[asyncio.Future[RecordMetadata]] = []
        try:
            for event, value in zip(events, values, strict=True):
                key, topic = key_of(event), VOCABULARY[event.type].topic
                sent.append(
                    await send(
                        self._prefix + topic,
                        value,
                        key,
                        partition_of(key, partitions_of(topic, self._partitions)),
                        int(event.received_at.timestamp() * 1000),
                    )
                )
            # One after another: most are done when the first is, and then cost no turn of the loop.
            return [self._position(await done) for done in sent]
        except BaseException:
            for done in sent:
                done.add_done_callback(_looked_at)
            raise

    def _position(self, done: RecordMetadata) -> Position:
        return Position(done.topic.removeprefix(self._prefix), done.partition, done.offset)


def _looked_at(done: "asyncio.Future[RecordMetadata]") -> None:
    """Its failure is known by another's; asyncio would complain that nobody asked."""
    if not done.cancelled():
        done.exception()


async def _abandon(producer: AIOKafkaProducer) -> None:
    """Closes a producer that cannot flush, which its own `stop` would wait for without an end."""
    await producer._sender.close()
    producer._message_accumulator.fail_all(ProducerClosed())
    await producer.client.close()
