"""Traffic over HTTP: what a storefront tells ends in the funnel, in carts and in the live view."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from tests.e2e.service import Service

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0"
ROBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


async def send(client: httpx2.AsyncClient, *events: Any, **headers: str) -> list[str]:
    answer = await client.post("/v1/events", json=list(events), headers=headers)
    assert answer.status_code == 202, answer.text
    return [one["position"] for one in answer.json()["accepted"]]


async def report(client: httpx2.AsyncClient, name: str, **asked: Any) -> list[dict[str, Any]]:
    answer = await client.get(f"/v1/reports/{name}", params={"wait": 30, **asked})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["rows"])


def viewed(tag: str, visitor: str, at: str, **more: Any) -> dict[str, Any]:
    data = {"product_id": f"{tag}-mug", "price": "9.90"}
    return {"type": "ProductViewed", "subject": f"{tag}-{visitor}", "time": at, "data": data} | more


def added(tag: str, cart: str, at: str, **more: Any) -> dict[str, Any]:
    data = {"product_id": f"{tag}-mug", "price": "9.90", "quantity": 2, "cart_id": f"{tag}-{cart}"}
    return {"type": "ProductAdded", "time": at, "data": data} | more


def ordered(tag: str, order: str, at: str, kind: str = "OrderCompleted") -> dict[str, Any]:
    line = {"product_id": f"{tag}-mug", "price": "9.90", "quantity": 2}
    data = {"order_id": f"{tag}-{order}", "country": "AT", "products": [line]}
    return {"type": kind, "time": at, "data": data}


async def test_a_visitor_is_followed_from_the_look_to_the_order(service: Service, tag: str) -> None:
    at = "2026-02-03T10:00:00Z"
    mail = {"context": {"source": f"{tag}-mail", "visitor": f"{tag}-ada"}}
    came = {"context": {"source": f"{tag}-mail"}}
    async with service.client() as client:
        seen = await send(
            client,
            viewed(tag, "ada", at, **came),
            viewed(tag, "ada", at, **came),
            viewed(tag, "bob", at, **came),
            added(tag, "c1", at, **mail),
            ordered(tag, "o1", at, "CheckoutStarted") | mail,
            ordered(tag, "o1", at) | mail,
        )
        asked = {"source": f"{tag}-mail", "grain": "total", "min_position": seen}
        found = await report(client, "funnel", **asked)
        assert found == [
            {
                "viewed": 3,
                "added": 1,
                "checkout": 1,
                "ordered": 1,
                "viewed_visitors": 2,
                "added_visitors": 1,
                "checkout_visitors": 1,
                "ordered_visitors": 1,
                "added_rate": "0.5",
                "checkout_rate": "1",
                "ordered_rate": "1",
                "conversion": "0.5",
                "left_out": 0,
            }
        ]
        rows = await report(client, "funnel", product=f"{tag}-mug", by="product,source")
        assert [(row["product"], row["source"], row["viewed"]) for row in rows] == [
            (f"{tag}-mug", f"{tag}-mail", 3)
        ]
        rows = await report(client, "visitors", source=f"{tag}-mail", grain="week")
        assert rows == [{"week": "2026-02-02", "visitors": 2, "left_out": 0}]


async def test_robots_are_left_out_and_counted_and_can_be_looked_at(
    service: Service, tag: str
) -> None:
    at = "2026-02-04T10:00:00Z"
    came: dict[str, Any] = {"context": {"source": tag}}
    told = {"context": {"source": tag, "user_agent": "Mozilla/5.0 AhrefsBot/7.0"}}
    async with service.client() as client:
        seen = [
            *await send(client, viewed(tag, "ada", at, **came), **{"User-Agent": CHROME}),
            *await send(client, viewed(tag, "eve", at, **came), **{"User-Agent": ROBOT}),
            # A server tells of others: what it is itself says nothing of them.
            *await send(client, viewed(tag, "bob", at, **came), **{"User-Agent": "curl/8.5"}),
            *await send(client, viewed(tag, "mal", at, **told), **{"User-Agent": "curl/8.5"}),
        ]
        asked = {"source": tag, "grain": "total", "min_position": seen}
        counts = {
            bots: [(row["visitors"], row["left_out"]) for row in rows]
            for bots in ("exclude", "include", "only")
            for rows in [await report(client, "visitors", bots=bots, **asked)]
        }
        assert counts == {"exclude": [(2, 2)], "include": [(4, 0)], "only": [(2, 2)]}
        (row,) = await report(client, "funnel", **asked)
        assert (row["viewed"], row["left_out"]) == (2, 2)
        wrong = await client.post("/v1/events", json=viewed(tag, "x", at, context={"ip": "1"}))
        assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "context.ip")


async def test_a_cart_is_open_abandoned_or_ordered(service: Service, tag: str) -> None:
    """By what a storefront tells alone."""
    now = datetime.now(UTC)
    long_ago, before = (now - timedelta(days=400)), (now - timedelta(days=400, hours=1))
    currency = "XTS"  # nobody else's
    carts = [
        added(tag, "left", long_ago.isoformat()),
        added(tag, "bought", before.isoformat(), person=f"{tag}-ada"),
        ordered(tag, "b", long_ago.isoformat()) | {"person": f"{tag}-ada"},
        added(tag, "named", before.isoformat()),
        ordered(tag, "n", long_ago.isoformat()),
        added(tag, "open", now.isoformat()),
    ]
    for event in carts:
        event["data"]["currency"] = currency
    carts[4]["data"]["cart_id"] = f"{tag}-named"
    async with service.client() as client:
        seen = await send(client, *carts)
        rows = await report(client, "carts", currency=currency, grain="total", min_position=seen)
    assert rows == [
        {
            "currency": currency,
            "carts": 4,
            "ordered": 2,
            "abandoned": 1,
            "open": 1,
            "ordered_value": "39.60",
            "abandoned_value": "19.80",
            "open_value": "19.80",
            "abandonment_rate": "0.333333",
            "left_out": 0,
        }
    ]


async def test_the_shop_now(service: Service, tag: str) -> None:
    now = datetime.now(UTC)
    soon, later = now.isoformat(), (now - timedelta(minutes=6)).isoformat()
    country = f"Land of {tag}"
    here = {"context": {"country": country}}
    async with service.client() as client:
        (before,) = await report(client, "live_view")
        order = ordered(tag, "o", soon)
        order["data"]["country"] = country
        order["data"]["currency"] = "XTT"
        seen = await send(
            client,
            viewed(tag, "ada", soon, **here),
            viewed(tag, "gone", later, **here),
            viewed(tag, "bot", soon, context={"country": country, "bot": True}),
            added(tag, "c", soon, **here),
            ordered(tag, "o", soon, "CheckoutStarted")
            | {"person": f"{tag}-ada", "context": here["context"]},
            order | {"person": f"{tag}-ada"},
        )
        # Purchases are those of sales, which another group reads.
        sales = await client.get(
            "/v1/reports/live_sales", params={"min_position": seen, "wait": 30}
        )
        assert [row for row in sales.json()["rows"] if row["currency"] == "XTT"] == [
            {
                "currency": "XTT",
                "net": "19.80",
                "orders": 1,
                "net_before": "0.00",
                "orders_before": 0,
            }
        ]
        rows = await report(client, "live_countries", min_position=seen)
        (row,) = [row for row in rows if row["country"] == country]
        assert row == {
            "country": country,
            # Nothing says that the cart is ada's: it is of somebody else.
            "visitors": 2,
            "active_carts": 1,
            "checkouts": 1,
            "purchases": 1,
            "left_out": 1,
        }
        (after,) = await report(client, "live_view")
    assert after["visitors"] >= before["visitors"]
    assert after["left_out"] >= 1
    assert after["purchases"] >= 1
