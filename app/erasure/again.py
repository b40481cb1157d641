"""Postgres came back as it was before an erasure: the log says who was erased, and they are again.

Their keys are in backups that were made before; nobody may read by them what was erased since.
"""

from uuid import UUID, uuid4

from aiokafka import TopicPartition

from app.commands.retold import Shop
from app.erasure.erase import apply, find
from streams import codec
from streams.codec import Refused
from streams.events import SHOP, Event, PersonErased
from streams.exclusive import Connection
from streams.readback import log_ends, read_back
from streams.topics import partitions_of

_TOPIC = "customers"


async def erase_again(connection: Connection, shop: Shop) -> int:
    """Erases whoever the log says was erased and Postgres still knows, in the caller's transaction,
    while no worker is there; how many. Raises OSError, KafkaError, PostgresError, ReadBackFailed.
    """
    count = 0
    for event, data in await _told(shop):
        known = await find(connection, event.shop, data.user_id)
        if known is None:
            number: UUID = uuid4()
            person, visitors = data.user_id, data.visitors
            await apply(connection, number, event.shop, person, visitors, event.time)
            count += 1
    return count


async def _told(shop: Shop) -> list[tuple[Event, PersonErased]]:
    names = [
        TopicPartition(shop.prefix + _TOPIC, number)
        for number in range(partitions_of(_TOPIC, shop.partitions))
    ]
    found = []
    async for _, records in read_back(shop.kafka, await log_ends(shop.kafka, names)):
        for record in records:
            # Most of them say something else: what is read is what may be it.
            if b'"PersonErased"' not in (record.value or b""):
                continue
            try:
                event = codec.decode_envelope(record.value)
                data = codec.decode_data(event, _TOPIC)
            except Refused:
                continue
            if event.source == SHOP and isinstance(data, PersonErased):
                found.append((event, data))
    return found
