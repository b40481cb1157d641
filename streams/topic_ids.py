"""Which incarnation of a topic is this: Kafka's own id of it, which a recreated topic changes.

aiokafka speaks Metadata up to version 5; ids came with version 10 (KIP-516). Only the fields that
carry the ids are named after what they hold; the others are read to get past them.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)


class _Uuid(AbstractType[UUID]):  # type: ignore[misc]
    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: Any) -> UUID:
        return UUID(bytes=data.read(16))


_String = CompactString("utf-8")
_Ints = CompactArray(Int32)

_PARTITION = (
    ("error_code", Int16),
    ("partition", Int32),
    ("leader", Int32),
    ("leader_epoch", Int32),
    ("replicas", _Ints),
    ("isr", _Ints),
    ("offline", _Ints),
    ("tags", TaggedFields),
)
_TOPIC = (
    ("error_code", Int16),
    ("name", _String),
    ("id", _Uuid),
    ("internal", Boolean),
    ("partitions", CompactArray(*_PARTITION)),
    ("operations", Int32),
    ("tags", TaggedFields),
)
_BROKER = (
    ("node", Int32),
    ("host", _String),
    ("port", Int32),
    ("rack", _String),
    ("tags", TaggedFields),
)


class _MetadataResponse(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_ms", Int32),
        ("brokers", CompactArray(*_BROKER)),
        ("cluster", _String),
        ("controller", Int32),
        ("topics", CompactArray(*_TOPIC)),
        ("tags", TaggedFields),
    )


class _MetadataRequestStruct(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("id", _Uuid), ("name", _String), ("tags", TaggedFields))),
        ("create", Boolean),
        ("operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataRequestStruct]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topics: Iterable[str]) -> None:
        self._topics: list[tuple[UUID, str, dict[int, bytes]]] = [
            (UUID(int=0), name, {}) for name in topics
        ]

    def build(self, request_struct_class: type[_MetadataRequestStruct]) -> _MetadataRequestStruct:
        return request_struct_class(self._topics, False, False, {})


class Described(NamedTuple):
    """A topic as Kafka knows it."""

    id: UUID
    partitions: int


async def described(bootstrap: str, topics: Iterable[str]) -> Mapping[str, Described]:
    """Each topic. Raises a KafkaError where one is missing or Kafka is away."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        answer: Any = await client.send(client.get_random_node(), _MetadataRequest(topics))
    finally:
        await client.close()
    found: dict[str, Described] = {}
    for error_code, name, topic_id, _internal, partitions, *_ in answer.topics:
        if error_code:
            raise for_code(error_code)(name)
        found[name] = Described(topic_id, len(partitions))
    return found


async def topic_ids(bootstrap: str, topics: Iterable[str]) -> Mapping[str, UUID]:
    """The id of each topic. Raises a KafkaError where one is missing or Kafka is away."""
    return {name: topic.id for name, topic in (await described(bootstrap, topics)).items()}
