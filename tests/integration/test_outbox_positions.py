"""Where what was enqueued stands in the log: all of it, once all of it was relayed."""

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.settings import Settings
from projections.postgres import connect, migrate
from streams.outbox import Enqueued, enqueue, relayed
from tests.sales import line, said


@given(st.integers(0, 10**18 - 1), st.integers(0, 10**6))
def test_a_stretch_is_read_as_it_is_written(first: int, more: int) -> None:
    one = Enqueued(first, min(first + more, 10**18 - 1))
    assert Enqueued.parse(str(one)) == one


@pytest.mark.parametrize("text", ["outbox:", "outbox:1-", "outbox:-1", "outbox:1:2", "orders:1:2"])
def test_anything_else_is_no_stretch(text: str) -> None:
    with pytest.raises(ValueError, match="not of the form"):
        Enqueued.parse(text)


async def place(pool: "asyncpg.Pool[asyncpg.Record]", row: int, offset: int) -> None:
    await pool.execute(
        "UPDATE outbox SET partition = 1, record_offset = $2, acknowledged_at = now() "
        "WHERE id = $1",
        row,
        offset,
    )


async def test_it_stands_where_its_last_event_does_once_none_waits(settings: Settings) -> None:
    await migrate(settings.servers.postgres, settings.schema_name)
    pool = await connect(settings.servers.postgres, settings.schema_name, size=2)
    sold = [said("OrderCompleted", "o", event_id=f"e{n}", products=[line("p", "1")]) for n in "abc"]
    ids = await enqueue(pool, sold)
    stretch = Enqueued(ids[0], ids[-1])
    assert await relayed(pool, [stretch], ["orders"]) is None
    assert await relayed(pool, [stretch], ["catalog"]) == {}
    await place(pool, ids[0], 7)
    await place(pool, ids[2], 9)
    assert await relayed(pool, [stretch], ["orders"]) is None
    await place(pool, ids[1], 8)
    assert await relayed(pool, [stretch], ["orders"]) == {("orders", 1): 9}
    await pool.execute("DELETE FROM outbox")
    assert await relayed(pool, [stretch], ["orders"]) == {}
    await pool.close()
