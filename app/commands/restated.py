"""Postgres came back older than the log: the states that commands decide about, and the outbox, are
brought up to it.

A state's version counts its events. Commands that decided about older states would give versions a
second time, and sell what is sold. So every state is folded from the whole log, and from what waits
in the outbox, which is nowhere else; rows that differ are replaced.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import NamedTuple

from aiokafka import TopicPartition

from app.commands.retold import RETOLD, TOPICS, Refold, Shop, read
from app.domain.aggregates import AGGREGATES
from app.vault import Vault
from projections.erasure import erased
from projections.postgres import connect_alone
from streams import codec
from streams.codec import Fact, Refused
from streams.erased import Erased
from streams.events import SHOP
from streams.exclusive import Connection
from streams.outbox import Relay
from streams.readback import log_ends
from streams.refound import refind
from streams.topics import partitions_of


class Restated(NamedTuple):
    """How many rows of the outbox the log had already, how many states were replaced (None: the
    log has lost its beginning, and all are as they were), and what could not be folded."""

    relayed: int
    states: int | None
    broken: list[str]


async def restate(connection: Connection, shop: Shop) -> Restated:
    """Sets outbox and states right, in the caller's transaction. For whoever holds the relay's
    lock, while no API is there. Raises OSError, KafkaError, PostgresError, ReadBackFailed."""
    alone = partial(connect_alone, shop.dsn, shop.schema)
    # First what the log has lost waits again; then what it has waits no more.
    await Relay(alone, shop.kafka, shop.partitions, shop.prefix).check(connection)
    relayed = await refind(connection, shop.kafka, shop.partitions, shop.prefix)
    if not await _whole(shop):
        return Restated(relayed, None, [])
    await connection.execute(RETOLD)
    refold = _Refold(connection, await _waiting(connection), await erased(connection))
    for topic in TOPICS:
        await read(shop, topic, refold)
    await refold.fold(list(refold.waiting.values()))
    replaced = [await _replace(connection, kind.table, refold) for kind in AGGREGATES]
    broken = [f"{table} {key[1]}: {why}" for (table, key), why in refold.broken.items()]
    return Restated(relayed, sum(replaced), broken)


async def _whole(shop: Shop) -> bool:
    """Whether the log still begins with its first events."""
    names = [
        TopicPartition(shop.prefix + topic, number)
        for topic in TOPICS
        for number in range(partitions_of(topic, shop.partitions))
    ]
    spans = await log_ends(shop.kafka, names)
    return not any(start for start, _ in spans.values())


async def _waiting(connection: Connection) -> dict[tuple[str, str], Fact]:
    """What commands have said and the log has not, in the order in which it will."""
    found = {}
    for row in await connection.fetch(_WAITING):
        with suppress(Refused):  # as the log's own readers do
            event = codec.decode_envelope(row["event"])
            if event.source == SHOP:
                data = codec.decode_data(event, row["topic"])
                found[event.shop, event.id] = Fact(row["topic"], _OUTBOX, row["id"], event, data)
    return found


_OUTBOX = -1  # in the place of a partition


class _Refold(Refold):
    """States by the events of the log, beyond the rows that there are."""

    def __init__(
        self, connection: Connection, waiting: dict[tuple[str, str], Fact], names: Erased
    ) -> None:
        super().__init__(connection, Vault(_Held(connection)), names, beyond=True)
        self.waiting = waiting

    async def fold(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            self.waiting.pop((fact.event.shop, fact.event.id), None)
        await super().fold(facts)


class _Held(NamedTuple):
    """One connection, to those who acquire one: what they ask for is in its transaction."""

    connection: Connection

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        yield self.connection


async def _replace(connection: Connection, table: str, refold: Refold) -> int:
    """Puts what was told in the place of the rows that differ; how many. What could not be folded
    stays as it is."""
    broken = [key for of, key in refold.broken if of == table]
    columns = [shop for shop, _ in broken], [one for _, one in broken]
    # All that differ go first: a customer's cart of today may stand where one of then is open.
    gone = await connection.execute(_DELETE.format(table=table), table, *columns)
    come = await connection.execute(_INSERT.format(table=table), table, *columns)
    return max(int(done.split()[-1]) for done in (gone, come))


_WAITING = "SELECT id, topic, event FROM outbox WHERE acknowledged_at IS NULL ORDER BY id"
_DELETE = """
    DELETE FROM {table} AS kept
    WHERE NOT EXISTS (
        SELECT FROM retold AS told
        WHERE told.kind = $1 AND (told.shop, told.id) = (kept.shop, kept.id)
            AND told.version = kept.version AND told.state = kept.state
    ) AND (kept.shop, kept.id) NOT IN (SELECT * FROM unnest($2::text[], $3::text[]))
"""
_INSERT = """
    INSERT INTO {table} (shop, id, version, state, created_at, changed_at)
    SELECT shop, id, version, state, created_at, changed_at FROM retold
    WHERE kind = $1 AND (shop, id) NOT IN (SELECT * FROM unnest($2::text[], $3::text[]))
        AND NOT EXISTS (
            SELECT FROM {table} AS kept WHERE (kept.shop, kept.id) = (retold.shop, retold.id)
        )
"""
