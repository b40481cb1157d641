"""Migrations: applied once, in order, by whoever comes first, and never changed afterwards."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from app.settings import Settings
from projections import postgres
from projections.postgres import MigrationChanged, migrate

FILES = [name for name, _ in postgres._migrations()]


@pytest.fixture
async def connection(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    found = await asyncpg.connect(
        settings.servers.postgres, server_settings={"search_path": settings.schema_name}
    )
    try:
        yield found
    finally:
        await found.close()


async def tables(connection: asyncpg.Connection, schema: str) -> set[str]:
    rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
    return {row["tablename"] for row in rows}


async def test_the_first_run_applies_every_migration_and_the_second_none(
    settings: Settings, connection: asyncpg.Connection
) -> None:
    dsn, schema = settings.servers.postgres, settings.schema_name
    assert await migrate(dsn, schema) == FILES == sorted(FILES)
    made = await tables(connection, schema)
    assert {"progress", "quarantine", "orders", "revenue", "best_sellers"} <= made
    await connection.execute("INSERT INTO orders VALUES ('main', 'o1', 'placed', '{}', 1)")
    assert await migrate(dsn, schema) == []
    assert await tables(connection, schema) == made
    assert await connection.fetchval("SELECT count(*) FROM orders") == 1


async def test_a_migration_that_was_changed_after_it_was_applied_is_refused(
    settings: Settings, connection: asyncpg.Connection
) -> None:
    dsn, schema = settings.servers.postgres, settings.schema_name
    await migrate(dsn, schema)
    await connection.execute("UPDATE migrations SET checksum = 'another' WHERE name = $1", FILES[1])
    with pytest.raises(MigrationChanged, match=FILES[1]):
        await migrate(dsn, schema)


async def test_a_migration_that_is_new_is_applied_to_what_is_there(
    settings: Settings, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn, schema = settings.servers.postgres, settings.schema_name
    before = postgres._migrations()
    await migrate(dsn, schema)
    more = [*before, ("9999_more.sql", "CREATE TABLE more (); CREATE TABLE even_more ();")]
    monkeypatch.setattr(postgres, "_migrations", lambda: more)
    assert await migrate(dsn, schema) == ["9999_more.sql"]
    assert {"more", "even_more"} <= await tables(connection, schema)


async def test_a_migration_that_fails_leaves_nothing_of_itself(
    settings: Settings, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn, schema = settings.servers.postgres, settings.schema_name
    await migrate(dsn, schema)
    before = await tables(connection, schema)
    broken = [*postgres._migrations(), ("9999_broken.sql", "CREATE TABLE more (); SELECT 1/0;")]
    with monkeypatch.context() as patched:
        patched.setattr(postgres, "_migrations", lambda: broken)
        with pytest.raises(asyncpg.DivisionByZeroError):
            await migrate(dsn, schema)
    assert await tables(connection, schema) == before
    assert await migrate(dsn, schema) == []


async def test_of_many_who_migrate_at_once_each_migration_is_applied_by_one(
    settings: Settings,
) -> None:
    dsn, schema = settings.servers.postgres, settings.schema_name
    async with asyncio.timeout(30):
        applied = await asyncio.gather(*(migrate(dsn, schema) for _ in range(5)))
    assert sorted(name for names in applied for name in names) == FILES


async def test_two_schemas_of_one_server_do_not_touch_each_other(
    settings: Settings, connection: asyncpg.Connection
) -> None:
    other = settings.schema_name + "_Other"
    dsn = settings.servers.postgres
    assert await migrate(dsn, settings.schema_name) == FILES
    assert await migrate(dsn, other) == FILES
    assert await tables(connection, other) == await tables(connection, settings.schema_name)
    pool = await postgres.connect(dsn, other, size=1)
    try:
        await pool.execute("INSERT INTO orders VALUES ('main', 'o1', 'placed', '{}', 1)")
    finally:
        await pool.close()
    assert await connection.fetchval("SELECT count(*) FROM orders") == 0
