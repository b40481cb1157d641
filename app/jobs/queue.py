"""The table of jobs: asking for one, looking at it, and what whoever does it writes."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import uuid_utils

from app.jobs.job import Job, Kind, State
from projections.read_model import Row, Transaction
from streams.exclusive import HELD, Connection, given_up, taken

KEPT = timedelta(days=30)
"""How long a job that has ended can still be looked at."""

MOST_ATTEMPTS = 5
"""Processes that may end in doing a job without saying why: the next would fare no better."""

_AT_ONCE = 20


class TooMany(Exception):
    """So many jobs wait that another is not taken in."""


# Whoever asks.


async def ask(
    transaction: Transaction,
    kind: Kind,
    shop: str,
    asked: Mapping[str, Any],
    key: str | None = None,
    most: int | None = None,
) -> tuple[Job, bool]:
    """A new job, or the one of this kind, shop and key that is under way, and whether it is new.
    Without a key no two are the same. Raises TooMany where `most` of a shop are under way, or of a
    kind that shops share: there a shop is but a word in a question."""
    number = UUID(str(uuid_utils.uuid7()))
    key = key or str(number)
    lock = f"{kind.name}/{key}" if kind.shops_share else f"{kind.name}/{shop}/{key}"
    shared = kind.name if kind.shops_share else ""
    while True:
        row = await transaction.fetchrow(
            _ASK, number, kind.name, shop, key, lock, orjson.dumps(asked).decode(), most, shared
        )
        if row is not None:
            return _job(row), True
        row = await transaction.fetchrow(
            "SELECT * FROM jobs WHERE kind = $1 AND shop = $2 AND key = $3 "
            "AND state IN ('waiting', 'running')",
            kind.name,
            shop,
            key,
        )
        if row is not None:
            return _job(row), False
        under_way = await transaction.fetchval(
            _UNDER_WAY.format(shop="$1", shared="$2"), shop, shared
        )
        if most is not None and under_way >= most:
            raise TooMany(f"{under_way} jobs are under way already")
        # It has ended at this moment.


_UNDER_WAY = """
    SELECT count(*) FROM jobs
    WHERE (shop = {shop}::text OR kind = {shared}::text) AND state IN ('waiting', 'running')
"""
_ASK = f"""
    INSERT INTO jobs (id, kind, shop, key, lock, asked)
    SELECT $1::uuid, $2::text, $3::text, $4::text, $5::text, $6::jsonb
    WHERE $7::int IS NULL OR $7 > ({_UNDER_WAY.format(shop="$3", shared="$8")})
    ON CONFLICT (kind, shop, key) WHERE state IN ('waiting', 'running') DO NOTHING
    RETURNING *
"""


async def find(transaction: Transaction, number: UUID, shop: str) -> Job | None:
    """A shop's job."""
    row = await transaction.fetchrow("SELECT * FROM jobs WHERE id = $1 AND shop = $2", number, shop)
    return _job(row) if row else None


async def last(transaction: Transaction, kind: Kind, key: str) -> Job | None:
    """The latest job of a kind and key, whoever has asked for it."""
    row = await transaction.fetchrow(
        "SELECT * FROM jobs WHERE kind = $1 AND key = $2 ORDER BY created DESC, id DESC LIMIT 1",
        kind.name,
        key,
    )
    return _job(row) if row else None


async def listed(
    transaction: Transaction,
    shop: str,
    kinds: Sequence[str],
    state: State | None,
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Job]:
    """Jobs of these kinds, the latest first; one more than `limit` where there are more."""
    created, number = before or (None, None)
    rows = await transaction.fetch(
        """
        SELECT * FROM jobs
        WHERE shop = $1 AND kind = ANY ($2) AND ($3::text IS NULL OR state = $3)
            AND ($4::timestamptz IS NULL OR (created, id) < ($4, $5::uuid))
        ORDER BY created DESC, id DESC LIMIT $6
        """,
        shop,
        list(kinds),
        state,
        created,
        number,
        limit + 1,
    )
    return [_job(row) for row in rows]


async def cancel(transaction: Transaction, number: UUID) -> Job | None:
    """Cancels a job that is under way. Whoever is doing it hears of it within a second or two."""
    row = await transaction.fetchrow(
        "UPDATE jobs SET state = 'cancelled', changed = now() "
        "WHERE id = $1 AND state IN ('waiting', 'running') RETURNING *",
        number,
    )
    return _job(row) if row else None


def _job(row: Row) -> Job:
    """A row as a job; asyncpg has jsonb as text."""
    told = {name: row[name] for name in Job._fields}
    told["asked"] = orjson.loads(row["asked"])
    told["result"] = None if row["result"] is None else orjson.loads(row["result"])
    return Job(**told)


# Whoever does them.

_OPEN = f"""
    state IN ('waiting', 'running') AND not_before <= now() AND kind = ANY ($1)
    AND NOT EXISTS ({HELD.format(work="'job/' || jobs.lock")})
"""


async def waiting(transaction: Transaction, kinds: Sequence[str]) -> int:
    """How many jobs wait for somebody to do them, at most twenty."""
    found: int = await transaction.fetchval(
        f"SELECT count(DISTINCT lock) FROM "  # noqa: S608
        f"(SELECT lock FROM jobs WHERE {_OPEN} LIMIT {_AT_ONCE}) AS open",
        list(kinds),
    )
    return found


async def claim(connection: Connection, kinds: Sequence[str]) -> Job | None:
    """The job that waits longest, which nobody else does for as long as this connection lasts, or
    until `leave`. One whose process was killed is among them."""
    rows = await connection.fetch(
        f"SELECT id, lock FROM jobs WHERE {_OPEN} ORDER BY created, id LIMIT {_AT_ONCE}",  # noqa: S608
        list(kinds),
    )
    for row in rows:
        if not await taken(connection, f"job/{row['lock']}"):
            continue
        claimed = await connection.fetchrow(
            """
            UPDATE jobs SET
                state = 'running', attempts = attempts + 1, begun = done,
                started = now(), changed = now()
            WHERE id = $1 AND state IN ('waiting', 'running') AND not_before <= now()
            RETURNING *
            """,
            row["id"],
        )
        if claimed is not None:
            return _job(claimed)
        await given_up(connection, f"job/{row['lock']}")
    return None


async def leave(connection: Connection, job: Job) -> None:
    """Lets others do what has this job's lock."""
    await given_up(connection, f"job/{job.lock}")


async def beat(connection: Connection, job: Job, done: int, total: int | None) -> bool:
    """Notes how far it is; whether it is still to be done."""
    row = await connection.fetchrow(
        """
        UPDATE jobs SET
            done = $2, total = $3, changed = now(),
            begun = CASE WHEN total IS NULL OR done = 0 THEN $2 ELSE begun END
        WHERE id = $1 AND state = 'running' RETURNING id
        """,
        job.id,
        done,
        total,
    )
    return row is not None


async def finish(connection: Connection, job: Job, result: Mapping[str, Any]) -> None:
    """It is done."""
    await connection.execute(
        """
        UPDATE jobs SET
            state = 'done', result = $2::jsonb, done = coalesce(total, done), error = NULL,
            changed = now()
        WHERE id = $1 AND state = 'running'
        """,
        job.id,
        orjson.dumps(result).decode(),
    )


async def fail(connection: Connection, job: Job, why: str) -> None:
    """It cannot be done."""
    await connection.execute(
        "UPDATE jobs SET state = 'failed', error = $2, changed = now() "
        "WHERE id = $1 AND state = 'running'",
        job.id,
        why,
    )


async def put_off(connection: Connection, job: Job, why: str | None, delay: timedelta) -> None:
    """It is to be tried again, by whoever is there then."""
    await connection.execute(
        """
        UPDATE jobs SET
            state = 'waiting', error = $2, not_before = now() + $3, attempts = 0, changed = now()
        WHERE id = $1 AND state = 'running'
        """,
        job.id,
        why,
        delay,
    )


async def forget(connection: Connection) -> None:
    """Lets go of jobs that have ended long ago."""
    await connection.execute(
        "DELETE FROM jobs "
        "WHERE state NOT IN ('waiting', 'running') AND changed < now() - $1::interval",
        KEPT,
    )
