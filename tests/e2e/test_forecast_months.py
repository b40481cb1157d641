"""Months to come and what demand shows, over HTTP: through the log, the learner and the books."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.e2e.service import Service
from tests.e2e.test_learner import append, ask, next_of
from tests.learning import MONDAY, day_event
from tests.months import month_event

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
DAY = timedelta(days=1)
YEAR = [100, 110, 120, 130, 140, 150, 140, 130, 120, 110, 200, 400]
MARCH_2ND = (MONDAY.replace(month=3, day=2) - MONDAY).days  # of 2020, as MONDAY is


async def test_months_are_foretold_with_what_they_were_learned_from(
    learning: Service, tag: str
) -> None:
    values = [{"": 3 * YEAR[n % 12], "tea": YEAR[n % 12]} for n in range(38)]
    months = [
        month_event(2017 + n // 12, n % 12 + 1, found, shop=tag) for n, found in enumerate(values)
    ]
    days = [day_event(MARCH_2ND + n - 1, {"": 12, "tea": 4}, shop=tag) for n in range(10)]
    path, shop = "/v1/forecasts/months", {"shop": tag}
    asked = {"min_position": await append(learning.settings, [*months, *days])}
    tea = await ask(learning, path, level="category", id="tea", **shop, **asked)
    units = await ask(learning, path, measure="units", horizon=3, **shop)
    async with learning.client() as client:
        unknown = await client.get(path, params={"level": "product", "id": "none", **shop})
        far = await client.get(path, params={"horizon": 25, **shop})
    assert (tea["measure"], tea["currency"], tea["months"]) == ("net", "EUR", 38)
    assert (tea["trained_through"], tea["seasonal"]) == ("2020-02", True)
    assert len(tea["forecasts"]) == 24
    march, december = tea["forecasts"][0], tea["forecasts"][9]
    assert (march["month"], december["month"]) == ("2020-03", "2020-12")
    assert float(december["value"]) > 2 * float(march["value"])
    assert december["seasonal_naive"] == "400.00"
    low, high = (float(end) for end in march["intervals"]["80"])
    assert low < float(march["value"]) < high
    assert tea["running"]["closed_days"] == 10
    assert tea["running"]["so_far"] == "40.00"
    assert 100 < float(tea["running"]["value"]) < 140
    assert tea["scores"][0]["pairs"] == 37
    assert tea["model"]["name"] == "monthly_forecast"
    assert (units["measure"], len(units["forecasts"])) == ("units", 3)
    assert float(units["forecasts"][0]["value"]) == pytest.approx(36, rel=0.25)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_series")
    assert far.status_code == 422


async def test_months_move_when_a_day_is_closed(learning: Service, tag: str) -> None:
    months = [month_event(2019 + n // 12, n % 12 + 1, {"": 90}, shop=tag) for n in range(14)]
    days = [day_event(MARCH_2ND + n - 1, {"": 3}, shop=tag) for n in range(3)]
    positions = await append(learning.settings, [*months, *days[:2]])
    await ask(learning, "/v1/forecasts/months", shop=tag, min_position=positions)
    async with connect(learning.api.replace("http", "ws") + "/v1/live") as socket:
        wanted = {"subscribe": "forecasts_months", "shop": tag, "filter": {"horizon": "2"}}
        await socket.send(json.dumps(wanted))
        march, april = (one["value"] for one in (await next_of(socket, "snapshot"))["figures"])
        assert (march["month"], march["closed_days"], march["so_far"]) == ("2020-03", 2, "6.00")
        assert (april["month"], april["closed_days"], april["nowcast"]) == ("2020-04", None, None)
        assert set(march["intervals"]) == set(march["nowcast_intervals"]) == {"50", "80", "95"}
        await append(learning.settings, days[2:])
        (moved,) = (one["value"] for one in (await next_of(socket, "delta"))["figures"])
    assert (moved["month"], moved["closed_days"], moved["so_far"]) == ("2020-03", 3, "9.00")
    assert moved["value"] == march["value"], "what was foretold before the month stays"


async def test_demand_shows_a_change_and_days_out_of_stock_are_no_zeros(
    service: Service, tag: str
) -> None:
    out = [NOON - n * DAY for n in range(30, 35)]
    events = [
        {
            "type": "OrderCompleted",
            "id": f"demand-{n}-{tag}",
            "time": at.isoformat(),
            "data": {
                "order_id": f"demand-{n}-{tag}",
                "currency": "EUR",
                "products": [
                    {"product_id": f"tea-{tag}", "price": "4", "quantity": _sold(n)},
                ],
            },
        }
        for n in range(1, 121)
        if (at := NOON - n * DAY) not in out
    ]
    async with service.client() as client:
        told = await client.post("/v1/events", json=events)
        positions = [one["position"] for one in told.json()["accepted"]]
        assert len(positions) == len(events), told.text
        asked: dict[str, Any] = {"product": f"tea-{tag}", "wait": 30}
        answer = await client.get(
            "/v1/forecasts/demand",
            params={
                **asked,
                "min_position": positions[-100:],
                "out_of_stock": [f"{at:%Y-%m-%d}" for at in out],
            },
        )
        assert answer.status_code == 200, answer.text
        found = answer.json()
        few = await client.get("/v1/forecasts/demand", params={"product": f"none-{tag}"})
        both = await client.get("/v1/forecasts/demand", params={**asked, "category": "x"})
        long = await client.get("/v1/forecasts/demand", params={**asked, "from": "2001-01-01"})
    assert (found["days"], found["out_of_stock_days"]) == (120, 5)
    assert found["units"] == sum(_sold(n) for n in range(1, 121) if not 30 <= n < 35)
    assert found["demand"] == pytest.approx(sum(_sold(n) for n in range(1, 121)), rel=0.02)
    assert found["from"] == f"{NOON - 120 * DAY:%Y-%m-%d}"
    [change] = found["changes"]
    assert change["day"] == f"{NOON - 60 * DAY:%Y-%m-%d}"
    assert change["after"] > 1.8 * change["before"]
    assert found["trend"]["direction"] == "rising"
    assert set(found["seasonality"]["weekday"]["ratios"]) == set("1234567")
    assert found["seasonality"]["month"] is None
    assert found["forecast"] is None  # nobody learns here
    assert "does not answer" in found["no_forecast"]
    assert (few.status_code, few.json()["code"]) == (404, "too_few_days")
    assert (both.status_code, long.status_code) == (422, 422)


def _sold(days_ago: int) -> int:
    """Twice as much in the last sixty days, give or take."""
    return (20 if days_ago <= 60 else 10) + days_ago * 7919 % 3
