"""One command's transaction: what it has locked, and what follows from what it decides."""

import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

import asyncpg
import msgspec
import uuid_utils
from asyncpg.pool import PoolConnectionProxy
from msgspec import Raw, Struct

from app.domain.aggregate import Aggregate, Told
from app.domain.aggregates import AGGREGATES, OF_EVENT
from app.domain.refusal import Unknown
from app.vault import Vault
from streams import codec, money
from streams.events import PERSONAL, SHOP, VOCABULARY, Data, Event, subject_of
from streams.outbox import Enqueued, enqueue

S = TypeVar("S", bound=Struct)
Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

encode = msgspec.json.Encoder(enc_hook=money.encode, decimal_format="string").encode


def decode(kind: Aggregate[S], state: str | bytes) -> S:
    """A state as its table holds it."""
    return msgspec.json.decode(state, type=kind.state, dec_hook=money.decode)


class Raced(Exception):
    """Another command was quicker to create the same: this one is to be done again."""


class Held(NamedTuple):
    """An aggregate as it is by now; no state where there is none yet."""

    state: Any
    version: int
    version_before: int


class Work:
    """Loads and locks aggregates, takes the events that were decided, and writes both."""

    def __init__(self, connection: Connection, vault: Vault, shop: str, now: datetime) -> None:
        self.connection = connection
        self.shop = shop
        self.now = now
        self._vault = vault
        self._held: dict[tuple[str, str], Held] = {}
        self._told: list[tuple[Data, str | None]] = []
        self._locked = 0

    # What is there.

    async def load(self, kind: Aggregate[S], ids: Sequence[str]) -> Mapping[str, S]:
        """Locks aggregates of one kind until the end; those that are there. All kinds are locked
        in the order of AGGREGATES, each with all its ids at once."""
        place = AGGREGATES.index(kind)
        assert place >= self._locked, f"{kind.table} is locked too late"
        self._locked = place
        rows = await self.connection.fetch(
            f"SELECT id, version, state FROM {kind.table} "  # noqa: S608
            "WHERE shop = $1 AND id = ANY($2) ORDER BY id FOR UPDATE",
            self.shop,
            sorted(set(ids)),
        )
        found = {row["id"]: Held(decode(kind, row["state"]), *[row["version"]] * 2) for row in rows}
        for one in ids:
            self._held.setdefault((kind.table, one), found.get(one, Held(None, 0, 0)))
        return {one: held.state for one, held in found.items()}

    async def find(self, kind: Aggregate[S], id: str) -> S | None:  # noqa: A002
        """Locks one aggregate; None where there is none."""
        return (await self.load(kind, [id])).get(id)

    async def get(self, kind: Aggregate[S], id: str, field: str = "") -> S:  # noqa: A002
        """Locks one aggregate. Raises Unknown."""
        found = await self.find(kind, id)
        if found is None:
            raise Unknown("unknown", f"there is no {id!r} among the {kind.table}", field)
        return found

    async def look(self, kind: Aggregate[S], ids: Sequence[str]) -> Mapping[str, S]:
        """Aggregates as they are at this moment, unlocked: for what may change meanwhile."""
        rows = await self.connection.fetch(
            f"SELECT id, state FROM {kind.table} WHERE shop = $1 AND id = ANY($2)",  # noqa: S608
            self.shop,
            list(ids),
        )
        return {row["id"]: decode(kind, row["state"]) for row in rows}

    # What becomes of it.

    def tell(self, *events: Data, person: str | None = None) -> None:
        """What was decided, of aggregates that are locked; it shows in their states at once."""
        for data in events:
            kind = OF_EVENT[type(data)]
            key = kind.table, kind.about[type(data)](data)
            held = self._held[key]
            state = kind.evolve(held.state, Told(self.now, data, person))
            self._held[key] = held._replace(state=state, version=held.version + 1)
            self._told.append((data, person))

    def state(self, kind: Aggregate[S], id: str) -> S:  # noqa: A002
        """A locked aggregate with all that was told of it."""
        return cast("S", self._held[kind.table, id].state)

    def version(self, kind: Aggregate[S], id: str) -> int:  # noqa: A002
        return self._held[kind.table, id].version

    @staticmethod
    def new_id() -> str:
        """An id that sorts by time."""
        return str(uuid_utils.uuid7())

    @staticmethod
    def new_secret() -> str:
        return secrets.token_urlsafe(32)

    async def save(self, correlation_id: str) -> Enqueued | None:
        """Writes states and events; where these are in the outbox. Raises Raced, TooLarge,
        Erased."""
        changed: dict[str, list[tuple[str, Held]]] = defaultdict(list)
        for (table, one), held in self._held.items():
            if held.version > held.version_before:
                changed[table].append((one, held))
        for kind in AGGREGATES:
            if rows := changed.get(kind.table):
                await self._write(kind.table, rows)
        if not self._told:
            return None
        events = [await self._event(*told, correlation_id) for told in self._told]
        ids = await enqueue(self.connection, events, waking=False)
        return Enqueued(ids[0], ids[-1])

    async def _write(self, table: str, rows: Sequence[tuple[str, Held]]) -> None:
        for sql, some in (
            (_INSERT, [row for row in rows if not row[1].version_before]),
            (_UPDATE, [row for row in rows if row[1].version_before]),
        ):
            if not some:
                continue
            written = await self.connection.fetch(
                sql.format(table=table),
                self.shop,
                [one for one, _ in some],
                [held.version for _, held in some],
                [encode(held.state).decode() for _, held in some],
                self.now,
            )
            if len(written) < len(some):
                raise Raced

    async def _event(self, data: Data, person: str | None, correlation_id: str) -> Event:
        name = type(data).__name__
        kind = VOCABULARY[name]
        event_id, sealed = self.new_id(), None
        # What readers would refuse would be in the state, and in nothing that is made of the log.
        codec.decode_fields(name, codec.raw(data))
        personal = {
            field: told for field in PERSONAL.get(name, ()) if (told := getattr(data, field))
        }
        if personal:
            assert person is not None, f"{name} has personal fields, and is of nobody"
            sealed = await self._vault.seal(self.shop, person, event_id, personal)
            data = msgspec.structs.replace(data, **dict.fromkeys(personal))
        return Event(
            id=event_id,
            type=name,
            shop=self.shop,
            subject=cast("str", subject_of(kind, data)),
            time=self.now,
            received_at=self.now,
            data=Raw(codec.raw(data)),
            source=SHOP,
            version=kind.version,
            person=person,
            correlation_id=correlation_id,
            sealed=sealed,
        )


_INSERT = """
    INSERT INTO {table} (shop, id, version, state, created_at, changed_at)
    SELECT $1, id, version, state::jsonb, $5, $5
    FROM unnest($2::text[], $3::bigint[], $4::text[]) AS new (id, version, state)
    ORDER BY id
    ON CONFLICT DO NOTHING
    RETURNING id
"""
_UPDATE = """
    UPDATE {table} SET version = new.version, state = new.state::jsonb, changed_at = $5
    FROM unnest($2::text[], $3::bigint[], $4::text[]) AS new (id, version, state)
    WHERE {table}.shop = $1 AND {table}.id = new.id
    RETURNING {table}.id
"""
