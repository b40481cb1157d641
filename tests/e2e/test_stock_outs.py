"""Running out of stock, through the API: from moves of stock and closed days to what to order."""

from datetime import timedelta
from typing import Any

import pytest

from tests.e2e.service import Service
from tests.e2e.test_learner import append, ask
from tests.learning import MONDAY, day_event, stock_event

SHOP = "runs-out"
PATH = "/v1/forecasts/stockouts"


@pytest.fixture(scope="module")
async def told(learning: Service) -> str:
    """Ten weeks in which two variants sell, of which one is nearly gone; their positions."""
    events = [stock_event(0, "a", 60, shop=SHOP), stock_event(0, "b", 900, shop=SHOP)]
    for number in range(70):
        values = {"": 100, "c": 100, "c/p": 100, "c/p/a": 50 + number % 7 * 10, "c/p/b": 30}
        events.append(day_event(number, values, shop=SHOP))
    return await append(learning.settings, events)


async def test_the_likeliest_comes_first_with_when_and_what_to_order(
    learning: Service, told: str
) -> None:
    found = await ask(learning, PATH, shop=SHOP, min_position=told)
    assert found["trained_through"] == (MONDAY + timedelta(days=69)).isoformat()
    assert found["model"]["name"] == "stock_outs"
    first, second = found["stock_outs"]
    assert (first["variant"], second["variant"]) == ("a", "b")
    assert (first["available"], first["on_order"]) == (60, None)
    assert (first["alert"], second["alert"], found["alerts"]) == (False, False, 0)
    assert first["probability"] > second["probability"]
    assert len(first["by_day"]) == 7
    assert first["expected_date"] > found["trained_through"]
    assert second["suggested_quantity"] == 0
    assert (second["expected_date"], second["days_of_cover"]["median"]) == (None, None)
    calibration = found["calibration"]
    assert calibration["chances"] > 50
    assert 0 <= calibration["ece"] <= 1
    longer = await ask(learning, PATH, shop=SHOP, lead_time=14, review=7, cover=14)
    first = longer["stock_outs"][0]
    assert first["alert"] is True
    assert longer["alerts"] == 1
    assert first["suggested_quantity"] == first["order_up_to"] - 60 > 0
    assert first["order_up_to"] > first["reorder_point"] > first["demand"]


async def test_what_is_asked_for_narrows_the_answer(learning: Service, told: str) -> None:
    likely = await ask(learning, PATH, shop=SHOP, lead_time=21, min_probability=0.5)
    assert [one["variant"] for one in likely["stock_outs"]] == ["a"]
    (of_product,) = (await ask(learning, PATH, shop=SHOP, product="of-b"))["stock_outs"]
    assert of_product["variant"] == "b"
    one = await ask(learning, PATH, shop=SHOP, limit=1)
    assert (len(one["stock_outs"]), one["variants"]) == (1, 2)
    cheap = await ask(learning, PATH, shop=SHOP, lead_time=14, short_cost=1, over_cost=1)
    dear = await ask(learning, PATH, shop=SHOP, lead_time=14, short_cost=99, over_cost=1)
    assert (cheap["order_level"], dear["order_level"]) == (0.5, 0.99)
    assert dear["stock_outs"][0]["order_up_to"] > cheap["stock_outs"][0]["order_up_to"]
    nobody = await ask(learning, PATH, shop="nobody-runs-out")
    assert (nobody["stock_outs"], nobody["calibration"]) == ([], None)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"lead_time": 30, "review": 10, "cover": 6}, "lead_time"),
        ({"short_cost": 3}, "over_cost"),
        ({"over_cost": 3}, "short_cost"),
        ({"service_level": 1}, "service_level"),
        ({"lead_tme": 3}, "lead_tme"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    learning: Service, params: dict[str, Any], field: str
) -> None:
    async with learning.client() as client:
        answer = await client.get(PATH, params=params)
    assert answer.status_code == 422
    assert field in [error["field"] for error in answer.json()["errors"]]


async def test_what_is_at_risk_is_told_to_prometheus(learning: Service, told: str) -> None:
    await ask(learning, PATH, shop=SHOP, min_position=told)
    gone = [stock_event(70, "a", -55, shop=SHOP), day_event(70, {"c/p/a": 60}, shop=SHOP)]
    positions = await append(learning.settings, gone)
    found = await ask(learning, PATH, shop=SHOP, min_position=positions)
    assert found["stock_outs"][0]["alert"] is True
    async with learning.client() as client:
        metrics = (await client.get("/metrics")).text
    (line,) = (line for line in metrics.splitlines() if line.startswith("tillstream_stock_out_al"))
    assert float(line.split()[1]) >= 1
