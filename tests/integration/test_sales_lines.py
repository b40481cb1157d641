"""The lines of sales, as they come into their table."""

import asyncio
import gc
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from app.settings import Settings
from projections.clock import ShopClock
from projections.orders import ORDERS
from projections.postgres import connect_alone, migrate
from projections.read_model import Setting
from projections.sales_lines import SALES_LINES
from tests.sales import facts, line, said

SETTING = Setting(ShopClock(ZoneInfo("UTC")), datetime(2026, 1, 1, tzinfo=UTC))
LINES = 2_000


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No garbage is collected, and every byte that is allocated is counted."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.enable()


async def test_many_lines_are_let_go_as_soon_as_they_are_copied_in(
    settings: Settings, uncollected: None
) -> None:
    """A worker collects garbage seldom: what a cycle held would stay until then."""
    await migrate(settings.servers.postgres, settings.schema_name)
    sold = said("OrderCompleted", products=[line(f"product-{n}", "1.25") for n in range(LINES)])
    changes = ORDERS.fold(facts([sold]), {}, SETTING).changes
    rows = SALES_LINES.fold(changes, {}, SETTING).rows
    assert len(rows) == LINES
    held = []
    async with asyncio.timeout(60):
        connection = await connect_alone(settings.servers.postgres, settings.schema_name)
        for _ in range(6):
            async with connection.transaction():
                await SALES_LINES.put(connection, rows, SETTING)
            held.append(tracemalloc.get_traced_memory()[0])
        copied = await connection.fetchval("SELECT count(*) FROM sales_lines")
        await connection.close()
    assert copied == 6 * LINES
    assert held[-1] - held[1] < 20 * LINES, "some of the 80 bytes of each line, four times"
