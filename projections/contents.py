"""What tables say, compared: a digest of each, and the keys in which two of them differ.

A digest is the sum of the rows' hashes, so their order does not matter. It is taken in parts by a
hash of the key: of two tables that differ, only those parts are read of which the digests differ.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple, TypeVar

from projections.clock import ShopClock
from projections.read_model import Contents, Row
from streams.exclusive import Connection

PARTS = 256
_MOST_READS = 16  # of a table that differs everywhere: so much of it is in memory at once
_MOST_EXAMPLES = 20

Key = tuple[Any, ...]
Rows = Mapping[Key, Sequence[Any]]
Parts = Mapping[int, tuple[int, int]]  # rows and the sum of their hashes

T = TypeVar("T")


class Side(NamedTuple):
    """Tables as one transaction sees them in one schema."""

    transaction: Connection
    schema: str

    async def look(self) -> Connection:
        """The transaction, in which names now mean this schema's tables."""
        path = self.schema.replace('"', '""')
        await self.transaction.execute(
            f"SET LOCAL search_path = \"{path}\"; SET LOCAL timezone = 'UTC'"
        )
        return self.transaction


class Difference(NamedTuple):
    """A key that two tables differ in: the rest of its row in each, None where it is missing."""

    key: Key
    left: Sequence[Any] | None
    right: Sequence[Any] | None


class Comparison(NamedTuple):
    """How many keys there are on either side, how many of them differ, and some of those."""

    keys: int
    differing: int
    examples: Sequence[Difference]
    left: str
    right: str


async def parts(side: Side, contents: Contents) -> Parts:
    """Of each part of a table: how many rows it has, and the sum of their hashes."""
    transaction = await side.look()
    rows = await transaction.fetch(
        f"""
        SELECT part, count(*) AS rows, sum(hash) AS hashes FROM (
            SELECT {_part(contents)} AS part, hash_record_extended(told, 0) AS hash
            FROM ({contents.rows}) AS told
            OFFSET 0  -- else whole rows are sorted, on disk, to be grouped
        ) AS hashed
        GROUP BY part
        """  # noqa: S608  (made of constants)
    )
    return {row["part"]: (row["rows"], int(row["hashes"])) for row in rows}


def digest(found: Parts) -> str:
    """One word for all of a table."""
    count = sum(rows for rows, _ in found.values())
    total = sum(hashes for _, hashes in found.values())
    return hashlib.sha256(f"{count} {total}".encode()).hexdigest()[:16]


async def compare(left: Side, right: Side, contents: Contents) -> Comparison:
    """Which keys differ between two tables of the same contents. Each side is to have a transaction
    of its own: they are read at the same time."""
    ours, theirs = await _both(left, right, lambda side: parts(side, contents))
    keys = sum(max(ours.get(p, (0, 0))[0], theirs.get(p, (0, 0))[0]) for p in {*ours, *theirs})
    count, examples = 0, list[Difference]()
    unlike = [part for part in sorted({*ours, *theirs}) if ours.get(part) != theirs.get(part)]
    for n in range(_MOST_READS):
        if few := unlike[n::_MOST_READS]:
            found = _differences(*await _both(left, right, lambda side: _rows(side, contents, few)))
            count += len(found)
            examples += found[: _MOST_EXAMPLES - len(examples)]
    return Comparison(keys, count, examples, digest(ours), digest(theirs))


async def _both(left: Side, right: Side, read: Callable[[Side], Awaitable[T]]) -> tuple[T, T]:
    """What is read of either side, at the same time."""
    reading = [asyncio.ensure_future(read(side)) for side in (left, right)]
    try:
        ours, theirs = await asyncio.gather(*reading)
    finally:
        for one in reading:
            one.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
    return ours, theirs


async def of_keys(side: Side, contents: Contents, keys: Sequence[Sequence[str]]) -> Rows:
    """The rows of these keys, which are texts."""
    columns = ", ".join(f"told.{name}" for name in contents.key)
    given = ", ".join(f"${n}::text[]" for n in range(1, len(contents.key) + 1))
    transaction = await side.look()
    rows = await transaction.fetch(
        f"SELECT * FROM ({contents.rows}) AS told "  # noqa: S608
        f"WHERE ({columns}) IN (SELECT * FROM unnest({given}))",
        *map(list, zip(*keys, strict=True)),
    )
    return _by_key(rows, contents)


async def of_day(side: Side, contents: Contents, shop: str, day: date, clock: ShopClock) -> Rows:
    """The rows of a shop's day."""
    transaction = await side.look()
    rows = await transaction.fetch(
        f"""
        SELECT told.* FROM ({contents.rows}) AS told,
            (SELECT $2::date AS day, $3::timestamptz AS starts, $4::timestamptz AS ends) AS asked
        WHERE told.shop = $1 AND {contents.of_day}
        """,  # noqa: S608
        shop,
        day,
        *clock.span(day, day),
    )
    return _by_key(rows, contents)


def compared(left: Rows, right: Rows) -> Comparison:
    """Which keys differ between some rows."""
    found = _differences(left, right)
    return Comparison(len({*left, *right}), len(found), found[:_MOST_EXAMPLES], "", "")


def together(found: Sequence[Comparison]) -> Comparison:
    """Several comparisons of parts of a table as one."""
    examples = [example for one in found for example in one.examples][:_MOST_EXAMPLES]
    differing = sum(one.differing for one in found)
    return Comparison(sum(one.keys for one in found), differing, examples, "", "")


async def _rows(side: Side, contents: Contents, parts: Sequence[int]) -> Rows:
    transaction = await side.look()
    rows = await transaction.fetch(
        f"SELECT * FROM ({contents.rows}) AS told WHERE {_part(contents)} = ANY ($1)",  # noqa: S608
        parts,
    )
    return _by_key(rows, contents)


def _by_key(rows: Iterable[Row], contents: Contents) -> Rows:
    width = len(contents.key)
    return {tuple(row)[:width]: tuple(row)[width:] for row in rows}


def _differences(left: Rows, right: Rows) -> list[Difference]:
    return [
        Difference(key, left.get(key), right.get(key))
        for key in sorted({*left, *right})
        if left.get(key) != right.get(key)
    ]


def _part(contents: Contents) -> str:
    """Which part a row belongs to, by the texts in its key: other types are slow to write out."""
    key = " || ".join(f"told.{name}::text" for name in contents.key)
    return f"(hashtext({key}) & {PARTS - 1})"
