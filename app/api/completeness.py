"""What every answer says of itself: up to which offsets and time it is complete.

Figures and offsets are read in one snapshot of Postgres, so they always belong together.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import asyncpg
from fastapi import Query
from pydantic import BaseModel, Field

from app.api.problems import Problem
from app.subscriptions import topics_of
from projections.postgres import AWAY
from projections.read_model import Transaction, one_generation
from streams.log import Position
from streams.outbox import Enqueued, relayed
from streams.topics import TOPICS, partitions_of

T = TypeVar("T")

_POLL_SECONDS = 0.01
_OUTBOX = "outbox:"
_LONGEST_STRETCH = 100_000  # events in one command, and what others said meanwhile

MinPosition = Annotated[
    list[str],
    Query(
        description="answer only once these positions are in the figures, such as `orders:3:1234` "
        "or a command's `outbox:17`; after `wait` seconds a 504",
        max_length=100,
    ),
]
Wait = Annotated[float, Query(ge=0, le=30, description="seconds to wait for min_position")]


class CompleteTo(BaseModel):
    """Every event before these offsets is in the answer, and every event up to this time."""

    next_offsets: dict[str, list[int]] = Field(examples=[{"orders": [12, 9]}])
    time: datetime | None = Field(description="null while nothing was read yet")


class Figures:
    """Read access to the read models of one group, or of several."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", partitions: int) -> None:
        self._pool = pool
        self._partitions = partitions

    @asynccontextmanager
    async def snapshot(
        self,
        group: str,
        min_position: Sequence[str] = (),
        wait: float = 2.0,
        also: Sequence[str] = (),
    ) -> AsyncIterator[tuple[Transaction, CompleteTo]]:
        """One snapshot: a transaction to query in, and what it is complete to: where this group and
        all the others have come. Raises Problem."""
        with _readable():
            if min_position:
                begun = time.monotonic()
                for one in (group, *also):
                    await self._reach(one, min_position, wait, begun)
            async with (
                self._pool.acquire(timeout=5) as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                await one_generation(connection)
                # A plan for any range and filter is taken for the best once a question has come
                # some times; for those that are asked of years it is not.
                await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
                yield connection, await _complete_to(connection, (group, *also))

    async def standing(self, groups: Sequence[str]) -> str:
        """Where these groups and their read models stand: as long as it is the same, so is all that
        is made of them. Raises Problem."""
        with _readable():
            found: str = await self._pool.fetchval(_STANDING, groups)
            return found

    async def in_the_log(self, group: str, positions: Sequence[str], wait: float) -> list[str]:
        """These positions as ones in the log, of the topics that a group reads: what a command has
        said has them once it is relayed. Raises Problem where that takes too long."""
        with _readable():
            stretches = parse_outbox(positions)
            if not stretches:
                return plain(positions)
            last = await self._pool.fetchval(_LAST_ENQUEUED) or 0
            if beyond := [one for one in stretches if one.last > last]:
                raise _no_position(str(beyond[0]), "is of nothing that was said yet")

            async def placed() -> Mapping[tuple[str, int], int] | None:
                return await relayed(self._pool, stretches, topics_of(group))

            found = await self._until(placed, wait)
            return plain(positions) + [str(Position(*at, offset)) for at, offset in found.items()]

    async def _reach(self, group: str, positions: Sequence[str], wait: float, begun: float) -> None:
        places = await self.in_the_log(group, positions, wait)
        wanted = parse_positions(group, places, self._partitions)
        await self._until(
            lambda: self._reached(group, wanted), wait, wait - (time.monotonic() - begun)
        )

    async def _until(
        self, found: Callable[[], Awaitable[T | None]], wait: float, left: float | None = None
    ) -> T:
        """What is found, by asking again and again. Raises Problem when nothing is `left` of what
        was to be waited."""
        if (now := await found()) is not None:
            return now
        try:
            async with asyncio.timeout(wait if left is None else left):
                while (now := await found()) is None:
                    await asyncio.sleep(_POLL_SECONDS)
                return now
        except TimeoutError:
            raise not_there_yet(wait) from None

    async def _reached(
        self, group: str, wanted: Mapping[tuple[str, int], int]
    ) -> Literal[True] | None:
        rows = await self._pool.fetch(
            "SELECT topic, partition, next_offset FROM progress WHERE group_name = $1", group
        )
        at = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        return all(at.get(partition, 0) > offset for partition, offset in wanted.items()) or None


_LAST_ENQUEUED = """
    SELECT pg_sequence_last_value(
        pg_get_serial_sequence(quote_ident(current_schema()) || '.outbox', 'id')
    )
"""


@contextmanager
def _readable() -> Iterator[None]:
    """Raises Problem where Postgres does not answer."""
    try:
        yield
    except AWAY as error:
        raise Problem(
            503, "postgres_unavailable", "the figures cannot be read now", headers=RETRY
        ) from error


RETRY = {"Retry-After": "2"}


def not_there_yet(wait: float) -> Problem:
    """What is asked for has not been read in time."""
    return Problem(
        504,
        "not_there_yet",
        f"not all of min_position is in the figures after {wait:g} s; ask again",
        headers={"Retry-After": "1"},
    )


def _each(positions: Sequence[str]) -> list[str]:
    return [text.strip() for text in ",".join(positions).split(",")] if positions else []


def plain(positions: Sequence[str]) -> list[str]:
    """Those of them that are positions in the log, or nothing that can be read."""
    return [text for text in _each(positions) if not text.startswith(_OUTBOX)]


def parse_outbox(positions: Sequence[str]) -> list[Enqueued]:
    """Those of them that stand in the outbox. Raises Problem."""
    found = []
    for text in _each(positions):
        if text.startswith(_OUTBOX):
            try:
                found.append(Enqueued.parse(text))
            except ValueError:
                raise _no_position(text, "is not of the form outbox:17 or outbox:17-19") from None
            if not 0 <= found[-1].last - found[-1].first < _LONGEST_STRETCH:
                raise _no_position(text, "is of no command")
    return found


def parse_positions(
    group: str, positions: Sequence[str], partitions: int, field: str = "min_position"
) -> dict[tuple[str, int], int]:
    """The last offset asked for of each partition that the group reads; what else there is of
    topics never enters its figures. Raises Problem where a position can be none."""
    wanted: dict[tuple[str, int], int] = {}
    for text in plain(positions):
        try:
            topic, partition, offset = Position.parse(text)
        except ValueError:
            raise _no_position(text, "is not of the form topic:partition:offset", field) from None
        if topic not in TOPICS:
            raise _no_position(text, f"is of no topic there is: {', '.join(TOPICS)}", field)
        count = partitions_of(topic, partitions)
        if not 0 <= partition < count:
            raise _no_position(text, f"is of no partition: {topic} has {count}, from 0", field)
        if not 0 <= offset < 2**63:
            raise _no_position(text, "is of no offset", field)
        if topic in topics_of(group):
            wanted[topic, partition] = max(offset, wanted.get((topic, partition), -1))
    return wanted


def _no_position(text: str, reason: str, field: str = "min_position") -> Problem:
    """Waiting for it would be in vain."""
    told = f"{text!r} {reason}"
    errors = [{"field": field, "reason": told}]
    return Problem(422, "invalid", f"{field}: {told}", errors)


async def _complete_to(transaction: Transaction, groups: Sequence[str]) -> CompleteTo:
    rows = await transaction.fetch(_COMPLETE_TO, groups)
    offsets: dict[str, list[int]] = {}
    for row in rows:
        offsets.setdefault(row["topic"], []).append(row["next_offset"])
    times: list[Any] = [row["complete_to"] if row["known"] else None for row in rows]
    if {name for row in rows for name in row["groups"]} != set(groups):
        times.append(None)  # one of them has read nothing yet
    return CompleteTo(next_offsets=offsets, time=min(times) if times and all(times) else None)


_STANDING = """
    SELECT concat_ws(';', (
        SELECT string_agg(
            concat_ws(':', group_name, topic, partition, next_offset), ','
            ORDER BY group_name, topic, partition
        )
        FROM progress WHERE group_name = ANY ($1)
    ), (SELECT string_agg(name || ':' || generation, ',' ORDER BY name) FROM read_models))
"""
_COMPLETE_TO = """
    SELECT
        topic, partition, min(next_offset) AS next_offset, min(complete_to) AS complete_to,
        bool_and(complete_to IS NOT NULL) AS known, array_agg(group_name) AS groups
    FROM progress WHERE group_name = ANY ($1)
    GROUP BY topic, partition ORDER BY topic, partition
"""
