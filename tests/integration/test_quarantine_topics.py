"""A topic that was created anew has other records at the same positions."""

from uuid import UUID

import asyncpg
import pytest
from msgspec.structs import replace

from app.resubmission import new_id
from app.status import quarantine_status
from projections.quarantine import find
from projections.skips import NotFailed, note_failure, of_group, skip, standing
from streams.batch import Partition
from streams.log import Position
from tests.sales import facts, line, said

FIRST, SECOND = UUID(int=1), UUID(int=2)
AT = Position("orders", 0, 7)

_READ = """
    INSERT INTO progress (group_name, topic, partition, topic_id)
    VALUES ('sales', 'orders', 0, $1)
"""
_REFUSED = """
    INSERT INTO quarantine (group_name, topic, partition, record_offset, field, reason, recorded_at)
    VALUES ('sales', 'orders', 0, 7, '', 'no event', now())
"""
_SENT_AGAIN = """
    INSERT INTO resubmissions (topic, partition, record_offset, topic_id, shop, event_id,
        fingerprint, outbox_id)
    VALUES ('orders', 0, 7, $1, 'main', $2, 1, 1)
"""


async def test_a_record_of_another_topic_was_not_sent_again(
    pool: "asyncpg.Pool[asyncpg.Record]",
) -> None:
    await pool.execute(_READ, FIRST)
    await pool.execute(_REFUSED)
    before = await find(pool, AT)
    assert before is not None
    assert before.resubmitted is None
    await pool.execute(_SENT_AGAIN, FIRST, new_id(before))
    found = await find(pool, AT)
    assert found is not None
    assert found.resubmitted is not None
    assert found.resubmitted.event_id == new_id(found)
    status = await quarantine_status(pool)
    assert (status.records, status.waiting) == (1, 0)

    await pool.execute("UPDATE progress SET topic_id = $1", SECOND)
    other = await find(pool, AT)
    assert other is not None
    assert other.resubmitted is None
    assert new_id(other) != new_id(found)
    status = await quarantine_status(pool)
    assert (status.records, status.waiting) == (1, 1)


async def test_a_failure_and_its_skip_are_those_of_a_topic(
    pool: "asyncpg.Pool[asyncpg.Record]",
) -> None:
    await pool.execute(_READ, FIRST)
    event = said("OrderCompleted", "o1", products=[line("p1", "1")])
    fact = replace(facts([event])[0], offset=7)
    await note_failure(pool, "sales", "revenue", fact, ValueError("odd"))
    await skip(pool, "sales", AT, "bug 12", "me")
    assert await of_group(pool, "sales") == {Partition("orders", 0): {7: "bug 12"}}
    assert [one.position for one in await standing(pool)] == [AT]

    await pool.execute("UPDATE progress SET topic_id = $1", SECOND)
    assert await of_group(pool, "sales") == {}
    assert await standing(pool) == []
    with pytest.raises(NotFailed):
        await skip(pool, "sales", AT, "bug 13", "me")
    await note_failure(pool, "sales", "revenue", fact, ValueError("odd, too"))
    assert [one.error for one in await standing(pool)] == ["ValueError: odd, too"]
    await skip(pool, "sales", AT, "bug 13", "me")
    assert await of_group(pool, "sales") == {Partition("orders", 0): {7: "bug 13"}}
