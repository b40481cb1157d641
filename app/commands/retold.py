"""Whether the states that commands decide about are what the log tells: every state row is folded
anew from its events, by the aggregates' own `evolve`, and compared at the same version.

The rows are those of one snapshot. What is on the log beyond it has a later version, and is left
out. What a command has enqueued is waited for: it is the relay that brings it to the log.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from aiokafka import TopicPartition
from cryptography.exceptions import InvalidTag

from app.commands.work import decode, encode
from app.domain.aggregate import Aggregate, Told
from app.domain.aggregates import AGGREGATES, OF_EVENT
from app.settings import Settings
from app.vault import Erased, Vault
from projections.contents import Comparison, Difference
from projections.erasure import erased
from projections.postgres import connect_alone
from projections.refold import Tell
from projections.verify import Checked, keep
from streams import codec
from streams.batch import Partition
from streams.codec import Fact
from streams.dedupe import Window
from streams.erased import Erased as Names
from streams.events import SHOP, VOCABULARY, Data, PersonErased
from streams.exclusive import Connection, alone
from streams.readback import log_ends, read_back
from streams.records import decode_part
from streams.topics import partitions_of

TOPICS = tuple(dict.fromkeys(VOCABULARY[event.__name__].topic for event in OF_EVENT))

_MOST_EXAMPLES = 20
_RELAY_SECONDS = 60.0
_POLL_SECONDS = 0.2


class NotRelayed(Exception):
    """What commands have said does not come to the log."""


class Shop(NamedTuple):
    """Where states, and the log of a shop, are found."""

    dsn: str
    schema: str
    kafka: str
    prefix: str
    partitions: int
    window: int


def shop_of(settings: Settings) -> Shop:
    """The shop of an installation."""
    return Shop(
        settings.servers.postgres,
        settings.schema_name,
        settings.servers.kafka,
        settings.prefix,
        settings.partitions,
        settings.dedupe_window,
    )


async def check_states(
    shop: Shop, vault: Vault, tell: Tell = lambda _done, _of: None, patience: float = _RELAY_SECONDS
) -> list[Checked]:
    """Compares every state row with the log; one result for each kind of aggregate: `left` is the
    row, `right` what the log tells. No more is in memory than a batch of events.

    Raises NotRelayed, ReadBackFailed, LogChanged, OSError, PostgresError.
    """
    begun = time.monotonic()

    async def connected() -> Connection:
        return await connect_alone(shop.dsn, shop.schema, seconds=None)

    async with alone(connected, "verify/shop") as connection:
        now = await connected()
        try:
            async with connection.transaction(isolation="repeatable_read"):
                await connection.execute(RETOLD)
                last = await connection.fetchval("SELECT coalesce(max(id), 0) FROM outbox")
                await _relayed(now, last, patience)
                refold = Refold(connection, vault, await erased(connection))
                for topic in TOPICS:
                    await read(shop, topic, refold, tell)
                found = [
                    (kind, await _compare(connection, now, kind, refold.broken))
                    for kind in AGGREGATES
                ]
            seconds = time.monotonic() - begun
            checked = [Checked(kind.table, "shop", one, {}, seconds) for kind, one in found]
            await keep(now, checked)
        finally:
            await now.close()
    return checked


async def _relayed(connection: Connection, last: int, patience: float) -> None:
    """Until the log has all that was enqueued up to here."""
    try:
        async with asyncio.timeout(patience):
            while waiting := await connection.fetchval(
                "SELECT count(*) FROM outbox WHERE acknowledged_at IS NULL AND id <= $1", last
            ):
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise NotRelayed(
            f"{waiting:,} events wait to be relayed to the log: is a worker running, and Kafka?"
        ) from None


async def read(
    shop: Shop, topic: str, refold: "Refold", tell: Tell = lambda _done, _of: None
) -> None:
    """Folds what a topic has of the shop's own events."""
    count = partitions_of(topic, shop.partitions)
    spans = await log_ends(
        shop.kafka, [TopicPartition(shop.prefix + topic, number) for number in range(count)]
    )
    # No window needs more places than there are records.
    windows = {tp: Window(max(1, min(shop.window, end))) for tp, (_, end) in spans.items()}
    done, of = 0, sum(end - start for start, end in spans.values())
    async for tp, records in read_back(shop.kafka, spans):
        partition = Partition(topic, tp.partition)
        part = await asyncio.to_thread(decode_part, partition, records, windows[tp], count)
        await refold.fold([fact for fact in part.facts if fact.event.source == SHOP])
        done += len(records)
        tell(done, of)


Key = tuple[str, str]  # shop, id


class Refold:
    """States as they become by their events, kept in a table of the transaction (RETOLD): as far as
    the rows are that they are compared with, or `beyond` them."""

    def __init__(
        self, connection: Connection, vault: Vault, names: Names, *, beyond: bool = False
    ) -> None:
        self._connection = connection
        self._vault = vault
        self._names = names
        self._beyond = beyond
        self.broken: dict[tuple[str, Key], str] = {}
        """What could not be folded, and why."""

    async def fold(self, facts: Sequence[Fact]) -> None:
        of_kind: dict[str, dict[Key, list[Fact]]] = defaultdict(lambda: defaultdict(list))
        kinds: dict[str, Aggregate[Any]] = {}
        for fact in map(self._named, facts):
            kind = OF_EVENT.get(type(fact.data))
            if kind is not None:
                kinds[kind.table] = kind
                key = fact.event.shop, kind.about[type(fact.data)](fact.data)
                of_kind[kind.table][key].append(fact)
        for table, told in of_kind.items():
            await self._fold_kind(kinds[table], told)

    def _named(self, fact: Fact) -> Fact:
        """A fact without erased names; PersonErased is of the pseudonym's account, too."""
        data = fact.data
        if isinstance(data, PersonErased):
            name = self._names.pseudonym(fact.event.shop, data.user_id) or data.user_id
            return msgspec.structs.replace(fact, data=PersonErased(user_id=name))
        return self._names.fact(fact)

    async def _fold_kind(self, kind: Aggregate[Any], told: Mapping[Key, Sequence[Fact]]) -> None:
        shops, ids = (list(column) for column in zip(*told, strict=True))
        rows = await self._connection.fetch(_KNOWN.format(table=kind.table), kind.table, shops, ids)
        changed = []
        for shop, one, kept, version, state in rows:
            key = shop, one
            end = None if self._beyond else kept
            made = None if state is None else decode(kind, state)
            for fact in told[key]:
                # Where the row is not there, all is folded: it may have come after the snapshot.
                if (end is not None and version >= end) or (kind.table, key) in self.broken:
                    break
                try:
                    made = kind.evolve(made, await self._told(fact))
                except Exception as error:
                    where = f"{fact.topic}:{fact.partition}:{fact.offset}"
                    self.broken[kind.table, key] = f"{fact.event.type} at {where}: {error!r}"
                else:
                    version += 1
            if made is not None:
                first, last = told[key][0].event.time, told[key][-1].event.time
                changed.append((shop, one, version, encode(made).decode(), first, last))
        if changed:
            columns = [list(column) for column in zip(*changed, strict=True)]
            await self._connection.execute(_TOLD, kind.table, *columns)

    async def _told(self, fact: Fact) -> Told:
        """An event with its personal fields; without them where these were erased."""
        event, data = fact.event, fact.data
        if event.sealed is not None and event.person is not None:
            try:
                opened = await self._vault.open(event.shop, event.person, event.id, event.sealed)
            except (Erased, InvalidTag):  # or it was lost with a disk, and has given way to another
                opened = {}
            data = _with(event.type, data, opened)
        return Told(event.time, data, event.person)


def _with(name: str, data: Data, fields: Mapping[str, Any]) -> Data:
    whole = {**msgspec.json.decode(codec.raw(data), type=dict[str, Any]), **fields}
    return codec.decode_fields(name, msgspec.Raw(msgspec.json.encode(whole)))


async def _compare(
    connection: Connection,
    now: Connection,
    kind: Aggregate[Any],
    broken: Mapping[tuple[str, Key], str],
) -> Comparison:
    """The rows of one kind in the snapshot, beside what the log tells of them."""
    keys = await connection.fetchval(f"SELECT count(*) FROM {kind.table}")  # noqa: S608
    rows = await connection.fetch(_UNLIKE.format(table=kind.table), kind.table)
    absent = [(row["shop"], row["id"]) for row in rows if row["kept"] is None]
    later = await _there(now, kind, absent)
    found = []
    for row in rows:
        key = row["shop"], row["id"]
        if key not in later or row["kept"] is not None:
            why = broken.get((kind.table, key))
            told = (why,) if why else _shown(row["told"], row["told_state"])
            found.append(Difference(key, _shown(row["kept"], row["kept_state"]), told))
    return Comparison(keys, len(found), found[:_MOST_EXAMPLES], "", "")


async def _there(now: Connection, kind: Aggregate[Any], keys: Sequence[Key]) -> set[Key]:
    """Which of these are there by now: they came after the snapshot."""
    if not keys:
        return set()
    rows = await now.fetch(
        f"SELECT shop, id FROM {kind.table} "  # noqa: S608
        "JOIN unnest($1::text[], $2::text[]) AS asked (shop, id) USING (shop, id)",
        *(list(column) for column in zip(*keys, strict=True)),
    )
    return {(row["shop"], row["id"]) for row in rows}


def _shown(version: int | None, state: str | None) -> tuple[str, ...] | None:
    return None if version is None else (f"version {version}", state or "")


RETOLD = """
    CREATE TEMPORARY TABLE retold (
        kind text, shop text, id text, version bigint NOT NULL, state jsonb NOT NULL,
        created_at timestamptz NOT NULL, changed_at timestamptz NOT NULL,
        PRIMARY KEY (kind, shop, id)
    ) ON COMMIT DROP
"""

# What is kept, and what is told so far, of each that a batch is about.
_KNOWN = """
    SELECT asked.shop, asked.id, kept.version AS kept, coalesce(told.version, 0) AS version,
        told.state
    FROM unnest($2::text[], $3::text[]) AS asked (shop, id)
    LEFT JOIN {table} AS kept ON kept.shop = asked.shop AND kept.id = asked.id
    LEFT JOIN retold AS told
        ON told.kind = $1 AND told.shop = asked.shop AND told.id = asked.id
"""
_TOLD = """
    INSERT INTO retold (kind, shop, id, version, state, created_at, changed_at)
    SELECT $1, shop, id, version, state::jsonb, first, last
    FROM unnest(
        $2::text[], $3::text[], $4::bigint[], $5::text[], $6::timestamptz[], $7::timestamptz[]
    ) AS new (shop, id, version, state, first, last)
    ON CONFLICT (kind, shop, id) DO UPDATE SET version = excluded.version, state = excluded.state,
        changed_at = excluded.changed_at
"""
_UNLIKE = """
    SELECT shop, id, kept.version AS kept, kept.state::text AS kept_state,
        told.version AS told, told.state::text AS told_state
    FROM {table} AS kept
    FULL JOIN (SELECT * FROM retold WHERE kind = $1) AS told USING (shop, id)
    WHERE kept.version IS DISTINCT FROM told.version OR kept.state IS DISTINCT FROM told.state
    ORDER BY shop, id
"""
