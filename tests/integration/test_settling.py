"""What looks for payments each second finds them by its indexes, and tries ever more rarely."""

from collections.abc import Iterable

import pytest

from app.payments.settling import INTENTS, REFUNDS, Pauses
from app.queries.orders import FAILED_REFUNDS
from app.settings import Settings
from projections.postgres import connect_alone, migrate

LISTED = f"SELECT id FROM shop_orders WHERE shop = 'main' AND {FAILED_REFUNDS} LIMIT $1"


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (REFUNDS, "shop_orders_refunds_owed"),
        (INTENTS, "shop_orders_intents_open"),
        (LISTED, "shop_orders_refunds_failed"),
    ],
)
async def test_what_waits_is_found_by_an_index(settings: Settings, query: str, index: str) -> None:
    await migrate(settings.servers.postgres, settings.schema_name)
    connection = await connect_alone(settings.servers.postgres, settings.schema_name)
    try:
        await connection.execute("SET enable_seqscan = off")
        plan = await connection.fetch(f"EXPLAIN {query}", 10)
    finally:
        await connection.close()
    assert index in "\n".join(row[0] for row in plan)


def tried(pauses: Pauses, names: Iterable[str], until: int) -> list[int]:
    return [second for second in range(until) if pauses.due(names, second)]


def test_what_waits_is_tried_ever_more_rarely() -> None:
    assert tried(Pauses(5, 20), ["a"], 80) == [0, 5, 15, 35, 55, 75]
    assert tried(Pauses(5, 20, before=10), ["a"], 40) == [10, 15, 25]


def test_what_waits_anew_is_tried_at_once() -> None:
    pauses = Pauses(5, 20)
    assert pauses.due(["a"], 0) == ["a"]
    assert pauses.due([], 1) == []
    assert pauses.due(["a", "b"], 2) == ["a", "b"]
    assert pauses.due(["a", "b"], 3) == []
