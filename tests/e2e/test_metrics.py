"""Metrics over HTTP: what is declared is asked, filtered, told apart and added up."""

from typing import Any

import httpx2

from tests.e2e.service import Service

LINES = [
    {"product_id": "mug", "variant": "mug-blue", "category": "kitchen", "price": "9.90"},
    {"product_id": "pen", "category": "desk", "price": "2.00", "quantity": 3, "tax": "0.96"},
]


def sale(order: str, at: str, person: str, country: str, **more: Any) -> dict[str, Any]:
    data = {"order_id": order, "currency": "EUR", "country": country, "products": LINES} | more
    return {"type": "OrderCompleted", "id": order, "time": at, "person": person, "data": data}


async def told(client: httpx2.AsyncClient, metric: str, **asked: Any) -> list[dict[str, Any]]:
    found = await client.get(f"/v1/metrics/{metric}", params={"wait": 20, **asked})
    assert found.status_code == 200, found.text
    return list(found.json()["rows"])


async def test_one_sale_is_the_same_by_whatever_it_is_asked(service: Service) -> None:
    events = [
        sale("m-1", "2019-02-27T23:30:00Z", "ada", "DE", channel="web"),
        sale("m-2", "2019-03-01T10:00:00Z", "ada", "FR", discount="1.90", tax="2.50"),
        sale("m-3", "2019-03-31T10:00:00Z", "bob", "DE"),
    ]
    async with service.client() as client:
        sent = (await client.post("/v1/events", json=events)).json()["accepted"]
        seen = {"min_position": [one["position"] for one in sent]}
        of = {"from": "2019-01-01", "to": "2019-12-31"}  # others' sales are of other years
        assert await told(client, "net", grain="month", **of, **seen) == [
            {"month": "2019-02", "currency": "EUR", "net": "15.90"},
            {"month": "2019-03", "currency": "EUR", "net": "29.90"},
        ]
        assert await told(client, "orders", grain="total", by="country", **of) == [
            {"country": "DE", "currency": "EUR", "orders": 2},
            {"country": "FR", "currency": "EUR", "orders": 1},
        ]
        pairs = await told(client, "units", grain="quarter", by="customer,variant", **of)
        assert [(row["customer"], row["variant"], row["units"]) for row in pairs] == [
            ("ada", "mug-blue", 2),
            ("ada", "pen", 6),
            ("bob", "mug-blue", 1),
            ("bob", "pen", 3),
        ]
        asked = {"from": "2019-02-28", "to": "2019-03-31", "grain": "total"}
        assert (await told(client, "gross", **asked))[0]["gross"] == "31.80"
        assert await told(client, "gross", **asked, channel="web") == []
        assert (await told(client, "tax", grain="total", **of))[0]["tax"] == "4.42"
        assert await told(client, "average_order_value", grain="year", **of) == [
            {"year": "2019", "currency": "EUR", "average_order_value": "15.2667"}
        ]
        wrong = await client.get("/v1/metrics/net", params={"by": "colour"})
        assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "by.0")
        wrong = await client.get("/v1/metrics/net", params={"contry": "DE"})
        assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "contry")
        turned = {"from": "2019-03-02", "to": "2019-03-01"}
        wrong = await client.get("/v1/metrics/net", params=turned)
        assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "to")
        wrong = await client.get("/v1/metrics/net", params={"by": "country,product,channel"})
        [error] = wrong.json()["errors"]
        assert (error["field"], error["reason"][:11]) == ("by", "at most two")
