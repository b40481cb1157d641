"""What a read model is: a name, a version, what it reads, and a projection into its table."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from projections.clock import ShopClock
from streams.codec import Fact

# A pool will do where only a query is wanted.
Transaction: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
    " | asyncpg.Pool[asyncpg.Record]"
)
Row: TypeAlias = "asyncpg.Record"


LIVE = timedelta(hours=48)  # how far back figures are live: held in Redis, pushed as they change


class Setting(NamedTuple):
    """What a projection may know besides its input: the shop's clock, and since when is live."""

    clock: ShopClock
    live_since: datetime

    @property
    def live_day(self) -> date:
        """The first of the shop's days that are live."""
        return self.clock.day(self.clock.hour(self.live_since))


class Figure(NamedTuple):
    """A live figure's absolute value. Of two with one key, the one of the higher revision holds."""

    metric: str
    shop: str
    day: str  # of the shop, ISO
    key: str
    value: dict[str, Any]
    revision: int
    generation: int = 0  # of the table it is from; set by the store


class Folded(NamedTuple):
    """What a fold makes of its input: rows to upsert, in the order of their keys; changes for the
    read models that build on it; and, where it keeps states, the new ones by key."""

    rows: Sequence[Any] = ()
    changes: Sequence[Any] = ()
    states: Mapping[Any, Any] = {}


class Write(NamedTuple):
    """How a read model's rows are written by SQL that can stand alone, or beside that of others.

    `sql` takes them, one jsonb array each, from `{rows}`. Where it returns `known.*`, those of
    which `live` holds become figures; `live` may compare with `live.since` and `live.first_day`.
    """

    sql: str
    live: str | None = None
    figure: "Callable[[Row, Setting], Figure] | None" = None


class Contents(NamedTuple):
    """What a table says, whatever way it came to say it: the columns of its key, and the query of
    its rows. Revisions, and rows that are all zero, depend on how the log was cut into batches.
    `of_day` tells whether a row of `told` is of the day that is `asked` (day, starts, ends)."""

    key: Sequence[str]
    rows: str
    of_day: str | None = None


class ReadModel(Struct, frozen=True):
    """One table, of the same name, and how it is kept.

    `fold` is pure: input, the states known before (by `load`, where there is one), the setting.
    `write` says how its rows are written, alone or in one statement with those of others; `upsert`
    does it otherwise, where that is quicker for many. `live` reads all live figures.
    `contents` is what a rebuild must find again; without it, the rows are notes for someone who
    takes them away, and a rebuild adds to those that are there. `renamed` are the statements that
    give names ($2) that are erased from a shop ($1) their pseudonyms ($3) in every row: all figures
    wait meanwhile, so that each looks once for all of them.
    """

    name: str
    version: int
    fold: Callable[[Sequence[Any], Mapping[Any, Any], Setting], Folded]
    upsert: Callable[[Transaction, Sequence[Any], Setting], Awaitable[Sequence[Figure]]] | None = (
        None
    )
    load: Callable[[Transaction, Sequence[Any]], Awaitable[Mapping[Any, Any]]] | None = None
    live: Callable[[Transaction, Setting], Awaitable[Sequence[Figure]]] | None = None
    write: Write | None = None
    contents: Contents | None = None
    renamed: tuple[str, ...] = ()

    async def put(
        self, transaction: Transaction, rows: Sequence[Any], setting: Setting
    ) -> Sequence[Figure]:
        """Writes rows by themselves; the live figures that changed."""
        if self.upsert is not None:
            return await self.upsert(transaction, rows, setting)
        assert self.write is not None, "a read model is written somehow"
        return await write_alone(transaction, self.write, rows, setting)


class Step(NamedTuple):
    """A read model, fed by the facts of these topics or by another read model's changes."""

    model: ReadModel
    topics: Sequence[str] = ()
    of: str | None = None


async def one_generation(transaction: Transaction) -> None:
    """To be called first in a transaction of several queries over one snapshot. A rebuild that puts
    new tables in the old ones' place waits until it ends, or has done so before its snapshot: else
    a name could lead to a table whose rows this snapshot does not see."""
    await transaction.execute("LOCK TABLE read_models IN ACCESS SHARE MODE")


def as_json(rows: Collection[Any]) -> str:
    """Rows as one jsonb parameter. asyncpg looks at every element of an array twice: of a batch's
    thousands of rows this takes a third of the time, and integers may be of any size."""
    return msgspec.json.encode(rows).decode()


async def write_alone(
    transaction: Transaction, write: Write, rows: Sequence[Any], setting: Setting
) -> list[Figure]:
    """Writes rows; those that are live come back as figures with their new values."""
    sql = write.sql.replace("{rows}", "jsonb_array_elements($1::jsonb)")
    if write.live is None or write.figure is None:
        await transaction.execute(sql, as_json(rows))
        return []
    changed = await transaction.fetch(
        f"""
        WITH changed AS ({sql}), live AS (SELECT $2::timestamptz AS since, $3::date AS first_day)
        SELECT changed.* FROM changed, live WHERE {write.live}
        """,  # noqa: S608  (made of constants)
        as_json(rows),
        setting.live_since,
        setting.live_day,
    )
    return [write.figure(row, setting) for row in changed]


class FoldFailed(Exception):
    """A fold raised on one event: a bug. The group stops, naming the event."""

    def __init__(self, model: str, fact: Fact) -> None:
        where = f"{fact.topic}:{fact.partition}:{fact.offset}"
        super().__init__(f"{model} failed on {fact.event.type} {fact.event.id} at {where}")
        self.model = model
        self.fact = fact

    def __reduce__(self) -> tuple[type["FoldFailed"], tuple[str, Fact]]:
        return FoldFailed, (self.model, self.fact)
