"""Reports over HTTP: what commands and events say of stock, reviews and orders is in them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from app.api.access import Role
from app.reports.table import REPORTS
from app.subscriptions import topics_of
from tests.e2e.service import Service
from tests.e2e.shop import mug, sent, somebody

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
OURS = [name for name, report in REPORTS.items() if report.path.startswith("/v1/reports/")]


async def told(client: httpx2.AsyncClient, report: str, **asked: Any) -> list[dict[str, Any]]:
    found = await client.get(REPORTS[report].path, params={"wait": 30, **asked})
    assert found.status_code == 200, found.text
    answer = found.json()
    columns = {column["name"] for column in answer["columns"]}
    assert all(row.keys() == columns for row in answer["rows"])
    return list(answer["rows"])


async def said(service: Service, *events: dict[str, Any]) -> list[str]:
    """The positions of events."""
    async with service.client() as client:
        answer = await client.post("/v1/events", json=list(events))
        accepted = answer.json()["accepted"]
        assert len(accepted) == len(events), answer.text
    return [one["position"] for one in accepted]


def order(kind: str, order_id: str, at: datetime, tag: str = "", units: int = 0) -> dict[str, Any]:
    line = {"product_id": f"mug-{tag}", "variant": f"blue-{tag}", "price": "8", "quantity": units}
    data = {"order_id": order_id} | ({"products": [line], "currency": "EUR"} if units else {})
    return {"type": kind, "id": f"{kind}-{order_id}", "time": at.isoformat(), "data": data}


async def test_stock_is_as_commands_left_it_and_sold_as_events_say(
    service: Service, tag: str
) -> None:
    async with somebody(service) as staff:
        await sent(staff, "POST", "/v1/products", mug(tag))
        path = f"/v1/stock/blue-{tag}"
        await sent(staff, "POST", f"{path}/adjust", {"on_hand": 30})
        last = await sent(staff, "POST", f"{path}/threshold", {"threshold": 30})
        sales = [
            order("OrderCompleted", f"{n}-{tag}", NOW - (1 + n) * DAY, tag, units=10)
            for n in range(2)
        ]
        positions = [*await said(service, *sales), last["position"]]
        asked = {"product": f"mug-{tag}"}
        rows = await told(staff, "stock_on_hand", **asked, min_position=positions)
        blue = next(row for row in rows if row["variant"] == f"blue-{tag}")
        assert (blue["on_hand"], blue["available"], blue["threshold"]) == (30, 30, 30)
        known = await sent(staff, "GET", path)
        assert blue["adjusted"] + blue["received"] == known["on_hand"]
        low = await told(staff, "low_stock", **asked)
        assert [row["variant"] for row in low] == [f"blue-{tag}"]
        cover = await told(staff, "days_of_cover", **asked, min_position=positions)
        of_blue = next(row for row in cover if row["variant"] == f"blue-{tag}")
        assert (of_blue["units"], of_blue["days"]) == (20, "42")  # 30 by 20 in 28 days
        shares = await told(staff, "sell_through", by="variant", limit=100_000)
        share = next(row for row in shares if row["variant"] == f"blue-{tag}")
        assert (share["units"], share["on_hand"], share["sell_through"]) == (20, 30, "0.4")
        slow = await told(staff, "slow_selling", by="variant", limit=100_000)
        assert f"blue-{tag}" in {row["variant"] for row in slow if row["units"] == 20}
        best = await told(staff, "best_selling", by="variant", currency="EUR", limit=100_000)
        assert ("160.00", 20) in {(r["net"], r["units"]) for r in best if tag in str(r["variant"])}

        series = {"by": "variant", "key": f"blue-{tag}", "to": f"{NOW - DAY:%Y-%m-%d}"}
        daily = await told(staff, "demand", **series)
        assert [row["units"] for row in daily] == [10, 10]
        [trend] = await told(staff, "demand_trend", **series)
        assert (trend["days"], trend["mean"], trend["slope"]) == (2, "10", "0")
        seasons = await told(staff, "seasonality", **series, of="weekday")
        assert [row["ratio"] for row in seasons] == ["1", "1"]


async def test_ratings_follow_what_buyers_write_and_staff_hides(service: Service, tag: str) -> None:
    async with (
        somebody(service) as staff,
        somebody(service, Role.CUSTOMER, f"u-{tag}") as ada,
        somebody(service, Role.CUSTOMER, f"v-{tag}") as bob,
    ):
        await sent(staff, "POST", "/v1/products", mug(tag))
        path = f"/v1/products/mug-{tag}/reviews"
        of_ada = await sent(ada, "POST", path, {"rating": 2})
        of_bob = await sent(bob, "POST", path, {"rating": 5})
        last = await sent(ada, "PUT", f"{path}/{of_ada['review_id']}", {"rating": 3})
        asked = {"by": "product", "product": f"mug-{tag}"}
        [row] = await told(staff, "ratings", **asked, min_position=last["position"])
        assert (row["reviews"], row["average"], row["written"]) == (2, "4", 2)
        assert (row["stars_3"], row["stars_5"]) == (1, 1)
        hidden = {"hidden": True, "reason": "advertising"}
        last = await sent(staff, "POST", f"{path}/{of_bob['review_id']}/moderate", hidden)
        months = await told(staff, "ratings", **asked, grain="month", min_position=last["position"])
        assert [(row["reviews"], row["average"]) for row in months] == [(1, "3")]
        await sent(staff, "GET", path)


async def test_orders_are_where_their_events_leave_them(service: Service, tag: str) -> None:
    day = datetime(2011, 3, 27, 10, tzinfo=UTC)  # nobody else's
    ids = [f"{n}-{tag}" for n in range(4)]
    placed = [order("OrderPlaced", one, day, tag, units=1) for one in ids]
    sold = [order("OrderCompleted", one, day, tag, units=1) for one in ids[:3]]
    shipped = [
        order("OrderShipped", one, day + hours * timedelta(hours=1))
        for one, hours in zip(ids, (3, 30), strict=False)
    ]
    asked = {"from": "2011-03-27", "to": "2011-03-29"}
    positions = await said(service, *placed, *sold, *shipped)
    async with service.client() as client:
        rows = await told(client, "orders_by_status", **asked, min_position=positions)
        assert {row["status"]: row["orders"] for row in rows} == {
            "placed": 1,
            "completed": 1,
            "shipped": 2,
        }
        [row] = await told(client, "time_to_ship", **asked)
        assert (row["orders"], row["mean"], row["median"], row["p90"]) == (2, "16.5", "3", "30")
        assert (row["within_6h"], row["within_24h"], row["within_48h"]) == (1, 1, 2)
        open_ones = await told(client, "unpaid_orders", hours=24 * 365, limit=1000)
        assert ids[3] in [row["order_id"] for row in open_ones]
        assert not {*ids[:3]} & {row["order_id"] for row in open_ones}
        every = await told(client, "unpaid_orders", completed=True, limit=1000)
        assert {*ids} <= {row["order_id"] for row in every}


@pytest.mark.parametrize("report", OURS)
async def test_every_report_answers_and_refuses_what_it_does_not_know(
    service: Service, report: str
) -> None:
    async with service.client() as client:
        answer = (await client.get(REPORTS[report].path)).json()
        assert answer["report"] == report
        groups = (REPORTS[report].group, *REPORTS[report].also)
        topics = {topic for group in groups for topic in topics_of(group)}
        assert answer["complete_to"]["next_offsets"].keys() == topics
        wrong = await client.get(REPORTS[report].path, params={"colour": "blue"})
        assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "colour")
