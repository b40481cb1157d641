"""What is said of the whole, from rows that are not as they should be."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from app.settings import Settings
from app.status import quarantine_status
from projections.postgres import connect, migrate

Pool = asyncpg.Pool


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    await migrate(settings.servers.postgres, settings.schema_name)
    async with await connect(settings.servers.postgres, settings.schema_name, size=2) as found:
        yield found


async def test_a_record_that_is_counted_and_not_kept_is_missing(pool: Pool) -> None:
    await pool.executemany(
        "INSERT INTO progress (group_name, topic, partition, topic_id, quarantined) "
        "VALUES ($1, 'orders', $2, gen_random_uuid(), $3)",
        [("sales", 0, 2), ("sales", 1, 1), ("learners", 0, 0)],
    )
    await pool.executemany(
        "INSERT INTO quarantine (group_name, topic, partition, record_offset, field, reason, "
        "recorded_at) VALUES ($1, 'orders', 0, $2, '', 'no event', now())",
        [("sales", 4), ("sales", 7), ("another", 7)],
    )
    found = await quarantine_status(pool)
    assert (found.records, found.waiting) == (2, 2)
    assert found.missing == {"sales": 1, "learners": 0, "another": -1}
