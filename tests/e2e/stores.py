"""Every store of a service as plain bytes: what anybody finds who has the disks."""

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from aiokafka import TopicPartition
from redis.asyncio import Redis

from projections.postgres import connect_alone
from streams.readback import log_ends, read_back
from streams.topics import TOPICS, partitions_of
from tests.e2e.service import Service

Stored = tuple[str, bytes]
"""Where something stands, and what."""


async def postgres(service: Service) -> AsyncIterator[Stored]:
    """Every value of every row of every table, in this schema and in those made beside it."""
    settings = service.settings
    connection = await connect_alone(settings.servers.postgres, settings.schema_name)
    try:
        tables = await connection.fetch(
            "SELECT schemaname, tablename FROM pg_tables WHERE starts_with(schemaname, $1)",
            settings.schema_name,
        )
        for schema, table in tables:
            for row in await connection.fetch(f'SELECT * FROM "{schema}"."{table}"'):
                for column, value in row.items():
                    yield f"{table}.{column}", value if isinstance(value, bytes) else _text(value)
    finally:
        await connection.close()


async def redis(service: Service) -> AsyncIterator[Stored]:
    """Every key with its value, whatever its type."""
    settings = service.settings
    async with Redis.from_url(settings.servers.redis) as store:
        async for key in store.scan_iter(f"{settings.prefix}*"):
            yield "redis", key
            match await store.type(key):
                case b"string":
                    found: Any = await store.get(key)
                case b"hash":
                    found = await store.hgetall(key)
                case b"stream":
                    found = await store.xrange(key)
                case b"zset":
                    found = await store.zrange(key, 0, -1)
                case b"list":
                    found = await store.lrange(key, 0, -1)
                case _:
                    found = await store.smembers(key)
            yield f"redis {key!r}", repr(found).encode()


async def log(service: Service) -> AsyncIterator[Stored]:
    """Every record, key and value."""
    settings = service.settings
    names = [
        TopicPartition(settings.prefix + topic, number)
        for topic in TOPICS
        for number in range(partitions_of(topic, settings.partitions))
    ]
    async for tp, records in read_back(
        settings.servers.kafka, await log_ends(settings.servers.kafka, names)
    ):
        for record in records:
            yield f"log {tp.topic}", (record.key or b"") + b"\n" + (record.value or b"")


def files(service: Service) -> Iterator[Stored]:
    """What lies in the home folder."""
    for file in service.settings.home.rglob("*"):
        if file.is_file():
            yield str(file), file.read_bytes()


def _text(value: object) -> bytes:
    return str(value).encode()


def where(stored: Iterable[Stored], words: Iterable[str]) -> dict[str, set[str]]:
    """In which stores each word stands; those alone that stand anywhere."""
    found: dict[str, set[str]] = {}
    for name, value in stored:
        for word in words:
            if word.encode() in value:
                found.setdefault(word, set()).add(name)
    return found
