"""Connections to Postgres, and the plain SQL migrations that shape it."""

import hashlib
from collections.abc import Collection, Mapping
from importlib import resources

import asyncpg

_COMMAND_SECONDS = 60.0
MIGRATING = 7_118_290_355  # any number, the same in every process that migrates

AWAY = (
    *(OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError),
    *(asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError),
    asyncpg.InsufficientResourcesError,
)
"""What says that Postgres does not answer now, and may soon: it is cut off, starts or shuts down
(which is an operator's intervention to it), or has no room."""


class MigrationChanged(Exception):
    """A migration was edited after it had been applied here."""


async def connect(
    dsn: str,
    schema: str,
    size: int = 4,
    *,
    by_key: bool = False,
    before: str | None = None,
    name: str = "tillstream",
    patient: bool = True,
    limits: Mapping[str, str] | None = None,
    seconds: float | None = _COMMAND_SECONDS,
) -> "asyncpg.Pool[asyncpg.Record]":
    """A pool whose connections see one schema first. Small statements: compiling them costs more.

    `by_key` is for who reads and writes rows by their keys alone. A plan is kept from when a table
    was still empty, and then that was to scan it; so it would be scanned for as long as it grows.
    `before` is a schema whose tables are seen instead of those of the same name. Who is not
    `patient` does not wait for the disk: a crash of Postgres may undo the last of its commits.
    `limits` are more settings of the sessions, such as `lock_timeout`. A statement may take so many
    `seconds`, or as long as it takes.

    Raises OSError or asyncpg.PostgresError where the server does not answer.
    """
    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size,
        command_timeout=seconds,
        reset=_as_it_is,
        server_settings={
            "search_path": f'"{before}", "{schema}"' if before else f'"{schema}"',
            "application_name": name,
            "jit": "off",
            "enable_seqscan": "off" if by_key else "on",
            "synchronous_commit": "on" if patient else "off",
            **(limits or {}),
        },
    )


def sessions_of_api(schema: str) -> str:
    """The name that the sessions of a schema's API processes bear in Postgres, which keeps 63 bytes
    of it. A restore looks for them."""
    return f"tillstream api {schema}"[:63]


def sessions_of_jobs(schema: str) -> str:
    """As `sessions_of_api`, of the processes that do jobs for it."""
    return f"tillstream jobs {schema}"[:63]


async def connect_alone(
    dsn: str, schema: str, seconds: float | None = _COMMAND_SECONDS
) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection outside any pool, for what holds on to one: locks and notifications. A statement
    may take so many seconds; without them as long as it takes, as those on whole tables do."""
    return await asyncpg.connect(
        dsn,
        command_timeout=seconds,
        server_settings={
            "search_path": f'"{schema}"',
            "application_name": "tillstream",
            "jit": "off",
        },
    )


async def _as_it_is(_: object) -> None:
    """A connection goes back as it is. None of ours sets anything on one beyond a transaction, and
    the round trip that would undo it costs as much as a query."""


async def migrate(dsn: str, schema: str) -> list[str]:
    """Applies the migrations that are new here, each in one transaction; their names."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": f'"{schema}"'})
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", MIGRATING)
        return await shape(connection, schema)
    finally:
        await connection.close()


async def shape(
    connection: asyncpg.Connection, schema: str, names: Collection[str] | None = None
) -> list[str]:
    """Applies the migrations that are new here, or those of them that are named; their names. For
    whoever holds the lock `MIGRATING`, on a connection that sees the schema first."""
    await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, checksum text NOT NULL)"
    )
    rows = await connection.fetch("SELECT name, checksum FROM migrations")
    applied = {row["name"]: row["checksum"] for row in rows}
    return [
        name
        for name, sql in _migrations()
        if (names is None or name in names) and await _apply(connection, name, sql, applied)
    ]


async def _apply(
    connection: asyncpg.Connection, name: str, sql: str, applied: dict[str, str]
) -> bool:
    checksum = hashlib.sha256(sql.encode()).hexdigest()
    if name in applied:
        if applied[name] != checksum:
            raise MigrationChanged(f"{name} is not the one applied here: add a new one instead")
        return False
    async with connection.transaction():
        await connection.execute(sql)
        await connection.execute("INSERT INTO migrations VALUES ($1, $2)", name, checksum)
    return True


def migration_names() -> set[str]:
    """The migrations that this version knows."""
    return {name for name, _ in _migrations()}


def _migrations() -> list[tuple[str, str]]:
    files = resources.files("projections").joinpath("migrations").iterdir()
    return sorted((file.name, file.read_text()) for file in files if file.name.endswith(".sql"))
