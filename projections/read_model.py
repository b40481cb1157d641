"""What a read model is: a name, a version, what it reads, and a projection into its table."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
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


class Figure(NamedTuple):
    """A live figure's absolute value. Of two with one key, the one of the higher revision holds."""

    metric: str
    shop: str
    day: str  # of the shop, ISO
    key: str
    value: dict[str, Any]
    revision: int


class Folded(NamedTuple):
    """What a fold makes of its input: rows to upsert, in the order of their keys; changes for the
    read models that build on it; and, where it keeps states, the new ones by key."""

    rows: Sequence[Any] = ()
    changes: Sequence[Any] = ()
    states: Mapping[Any, Any] = {}


class ReadModel(Struct, frozen=True):
    """One table and how it is kept.

    `fold` is pure: input, the states known before (by `load`, where there is one), the setting.
    `upsert` writes its rows and returns the live figures that changed. `live` reads all of them.
    """

    name: str
    version: int
    fold: Callable[[Sequence[Any], Mapping[Any, Any], Setting], Folded]
    upsert: Callable[[Transaction, Sequence[Any], Setting], Awaitable[Sequence[Figure]]]
    load: Callable[[Transaction, Sequence[Any]], Awaitable[Mapping[Any, Any]]] | None = None
    live: Callable[[Transaction, Setting], Awaitable[Sequence[Figure]]] | None = None


class Step(NamedTuple):
    """A read model, fed by the facts of these topics or by another read model's changes."""

    model: ReadModel
    topics: Sequence[str] = ()
    of: str | None = None


def as_json(rows: Collection[Any]) -> str:
    """Rows as one jsonb parameter. asyncpg looks at every element of an array twice: of a batch's
    thousands of rows this takes a third of the time, and integers may be of any size."""
    return msgspec.json.encode(rows).decode()


class FoldFailed(Exception):
    """A fold raised on one event: a bug. The group stops, naming the event."""

    def __init__(self, model: str, fact: Fact) -> None:
        where = f"{fact.topic}:{fact.partition}:{fact.offset}"
        super().__init__(f"{model} failed on {fact.event.type} {fact.event.id} at {where}")
        self.model = model
        self.fact = fact
