"""What a backup must not do: go back half, go back to another log, lie open to others."""

import asyncio
import zipfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from app.backup import OtherLog, StillRunning, backup, reconciled, restore
from app.settings import Settings
from projections.as_of import prefix_of
from projections.backup import BackupUnreadable
from projections.postgres import connect, migrate, sessions_of_api, sessions_of_jobs
from streams.topic_ids import topic_ids
from streams.topics import create_topics

Pool = asyncpg.Pool


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    servers = settings.servers
    await migrate(servers.postgres, settings.schema_name)
    await create_topics(servers.kafka, settings.partitions, settings.prefix)
    async with await connect(servers.postgres, settings.schema_name, size=2) as found:
        yield found


async def person(pool: Pool, name: str) -> None:
    await pool.execute("INSERT INTO person_keys VALUES ('main', $1, $2)", name, b"\0\\key\n")


async def persons(pool: Pool) -> set[str]:
    rows = await pool.fetch("SELECT person FROM person_keys WHERE key = $1", b"\0\\key\n")
    return {row["person"] for row in rows}


async def test_what_goes_in_comes_back_and_ids_count_on(
    settings: Settings, pool: Pool, tmp_path: Path
) -> None:
    file = tmp_path / "shop.backup"
    odd = 'tab\t, \\N, quote" and \U0001f6d2'
    await person(pool, odd)
    last = await pool.fetchval(_WAITING, b"1")
    await backup(settings, file)
    await person(pool, "later")
    await pool.execute(_WAITING, b"2")
    restored = await restore(settings, file)
    assert restored.manifest.taken_at <= datetime.now(UTC)
    assert restored.left_out == []
    assert await persons(pool) == {odd}
    assert await pool.fetchval(_WAITING, b"3") == last + 1
    assert file.stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


_WAITING = "INSERT INTO outbox (topic, key, event) VALUES ('orders', $1, $1) RETURNING id"


async def test_figures_of_the_past_are_not_in_it_and_go_for_they_may_be_of_another_log(
    settings: Settings, pool: Pool, tmp_path: Path
) -> None:
    file, past = tmp_path / "shop.backup", prefix_of(settings.schema_name) + "0123"
    await pool.execute(f'CREATE SCHEMA "{past}" CREATE TABLE progress (n int)')
    assert list((await backup(settings, file)).tables["progress"].columns) != ["n"]
    await restore(settings, file)
    assert not await pool.fetchval("SELECT to_regnamespace($1)", past)


async def test_who_was_logged_in_still_is(settings: Settings, pool: Pool, tmp_path: Path) -> None:
    """Their tokens refer to sessions, a table that the alphabet would put back later."""
    file = tmp_path / "shop.backup"
    await pool.execute(_LOGGED_IN)
    await backup(settings, file)
    await pool.execute("DELETE FROM sessions")
    await restore(settings, file)
    assert await pool.fetchval("SELECT session FROM refresh_tokens") == "s-1"


_LOGGED_IN = """
    WITH begun AS (
        INSERT INTO sessions (id, shop, user_id, begun_at, ends_at)
        VALUES ('s-1', 'main', 'ada', now(), now() + interval '1 day')
    )
    INSERT INTO refresh_tokens (digest, session, made_at) VALUES ('token', 's-1', now())
"""


async def test_a_rebuild_takes_no_table_away_under_a_backup(
    settings: Settings, pool: Pool, tmp_path: Path
) -> None:
    """It would find another table of the same name, in which its snapshot sees half the rows."""
    async with pool.acquire() as holding, pool.acquire() as rebuilding:
        async with asyncio.timeout(60), holding.transaction():
            await holding.execute("LOCK TABLE answers IN ACCESS EXCLUSIVE MODE")  # copied first
            writing = asyncio.create_task(backup(settings, tmp_path / "shop.backup"))
            while not await holding.fetchval(_WAITS, f"{settings.schema_name}.answers"):
                await asyncio.sleep(0.02)
            with pytest.raises(asyncpg.LockNotAvailableError):
                await rebuilding.execute(_EXCHANGE)
        await writing


_EXCHANGE = """
    BEGIN; SET LOCAL lock_timeout = '100ms'; LOCK TABLE read_models IN ACCESS EXCLUSIVE MODE; COMMIT
"""
_WAITS = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = $1::text::regclass AND NOT granted)"


async def test_a_backup_that_is_not_whole_changes_nothing(
    settings: Settings, pool: Pool, tmp_path: Path
) -> None:
    file, other = tmp_path / "shop.backup", tmp_path / "other.backup"
    await person(pool, "before")
    await backup(settings, file)
    await person(pool, "after")

    other.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BackupUnreadable):
        await restore(settings, other)
    for wrong in (_without("tables/person_keys.copy"), _with(b"main\tp\n"), _with(b"")):
        wrong(file, other)
        with pytest.raises(BackupUnreadable, match="person_keys"):
            await restore(settings, other)
    assert await persons(pool) == {"before", "after"}


def _without(name: str) -> Callable[[Path, Path], None]:
    def write(file: Path, other: Path) -> None:
        with zipfile.ZipFile(file) as old, zipfile.ZipFile(other, "w") as new:
            for member in old.namelist():
                if member != name:
                    new.writestr(member, old.read(member))

    return write


def _with(text: bytes) -> Callable[[Path, Path], None]:
    def write(file: Path, other: Path) -> None:
        _without("tables/person_keys.copy")(file, other)
        with zipfile.ZipFile(other, "a") as new:
            new.writestr("tables/person_keys.copy", text)

    return write


async def test_a_backup_goes_back_only_beside_the_log_that_it_was_made_beside(
    settings: Settings, pool: Pool, tmp_path: Path
) -> None:
    file = tmp_path / "shop.backup"
    name = f"{settings.prefix}orders"
    found = (await topic_ids(settings.servers.kafka, [name]))[name]
    await pool.execute(_PROGRESS, found, 0)
    await backup(settings, file)
    assert (await restore(settings, file)).reconciled.again["sales"] == 0

    other = settings.model_copy(update={"prefix": f"{settings.prefix}other-"})
    await create_topics(other.servers.kafka, other.partitions, other.prefix)
    with pytest.raises(OtherLog, match="created anew"):
        await restore(other, file)

    await pool.execute("UPDATE progress SET next_offset = 7")
    with pytest.raises(OtherLog, match="ends at 0"):
        await reconciled(settings)


_PROGRESS = """
    INSERT INTO progress (group_name, topic, partition, topic_id, next_offset)
    VALUES ('sales', 'orders', 0, $1, $2)
"""


async def test_what_redis_has_of_a_rebuild_after_the_backup_gives_way(
    settings: Settings, pool: Pool, tmp_path: Path
) -> None:
    """Also where Redis cannot be cleared: its figures bear the generation of what was rebuilt."""
    file = tmp_path / "shop.backup"
    await pool.execute("INSERT INTO read_models VALUES ('revenue', 1, 1)")
    await backup(settings, file)
    rebuilt = 9
    await pool.execute("UPDATE read_models SET generation = $1", rebuilt)
    await restore(settings, file)
    restored = await pool.fetchval("SELECT generation FROM read_models")
    assert restored > rebuilt
    await reconciled(settings)
    assert await pool.fetchval("SELECT generation FROM read_models") > restored


_AT_WORK = "SELECT count(*) FROM pg_stat_activity WHERE application_name = ANY ($1)"


async def test_nobody_may_be_at_work(settings: Settings, pool: Pool, tmp_path: Path) -> None:
    file = tmp_path / "shop.backup"
    await backup(settings, file)
    servers, schema = settings.servers, settings.schema_name
    api = await connect(servers.postgres, schema, size=1, name=sessions_of_api(schema))
    async with api:
        with pytest.raises(StillRunning, match="API"):
            await restore(settings, file)
    job = await connect(servers.postgres, schema, size=1, name=sessions_of_jobs(schema))
    async with job:
        with pytest.raises(StillRunning, match="job"):
            await restore(settings, file)
    async with asyncio.timeout(30):
        while await pool.fetchval(_AT_WORK, [sessions_of_api(schema), sessions_of_jobs(schema)]):
            await asyncio.sleep(0.05)
    locked = "SELECT pg_try_advisory_lock(hashtextextended(current_schema() || '/outbox', 0))"
    async with pool.acquire() as connection:
        assert await connection.fetchval(locked)
        with pytest.raises(StillRunning, match="worker"):
            await restore(settings, file)
        await connection.execute("SELECT pg_advisory_unlock_all()")
    await restore(settings, file)
