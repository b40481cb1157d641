"""What an analyst sees when they ask."""

import asyncio
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e.service import Service
from tests.e2e.test_ingest import order


async def send(service: Service, *events: dict[str, Any]) -> str:
    """Sends events, again where told to come again; all their positions, for `min_position`."""
    async with service.client() as client, asyncio.timeout(60):
        answer = await client.post("/v1/events", json=list(events))
        while answer.status_code in (429, 503):
            await asyncio.sleep(float(answer.headers["Retry-After"]))
            answer = await client.post("/v1/events", json=list(events))
        assert answer.status_code == 202, answer.text
        assert answer.json()["rejected"] == [], answer.text
        return ",".join(one["position"] for one in answer.json()["accepted"])


async def ask(service: Service, path: str, **parameters: Any) -> dict[str, Any]:
    async with service.client() as client:
        answer = await client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_sales_by_every_dimension_add_up_to_the_same_total(
    service: Service, tag: str
) -> None:
    day = {"from": "2001-02-03", "to": "2001-02-04"}
    lines = [
        {"product_id": f"{tag}-a", "category": "one", "price": "0.001", "quantity": 3},
        {"product_id": f"{tag}-b", "category": "two", "price": 2.5},
    ]
    sold = {**order(tag, products=lines), "time": "2001-02-03T23:59:59.999Z"}
    refund = {
        "type": "OrderRefunded",
        "time": "2001-02-04T00:00:00Z",
        "data": {"order_id": tag, "currency": "EUR", "total": "1.20"},
    }
    positions = await send(service, refund, sold)
    for by in ("total", "country", "category", "product"):
        rows = (
            await ask(
                service, "/v1/sales/revenue", by=by, grain="total", min_position=positions, **day
            )
        )["rows"]
        assert sum(Decimal(row["gross"]) for row in rows) == Decimal("2.503")
        assert sum(Decimal(row["refunds"]) for row in rows) == Decimal("1.2")
        assert sum(Decimal(row["net"]) for row in rows) == Decimal("1.303")
    days = (await ask(service, "/v1/sales/revenue", grain="day", **day))["rows"]
    assert [(row["day"], row["gross"], row["refunds"]) for row in days] == [
        ("2001-02-03", "2.503", "0.00"),
        ("2001-02-04", "0.00", "1.20"),
    ]
    hours = (await ask(service, "/v1/sales/revenue", grain="hour", **day))["rows"]
    assert [row["hour"] for row in hours] == [
        "2001-02-03T23:00:00+00:00",
        "2001-02-04T00:00:00+00:00",
    ]
    top = (await ask(service, "/v1/sales/top-products", by="units", **day))["rows"]
    assert [(row["product"], row["units"]) for row in top] == [(f"{tag}-a", 3), (f"{tag}-b", 1)]


async def test_amounts_of_different_currencies_are_never_added_up(
    service: Service, tag: str
) -> None:
    day = {"from": "2001-03-03", "to": "2001-03-03"}
    events = [
        {**order(f"{tag}-{currency}", currency=currency), "time": "2001-03-03T10:00:00Z"}
        for currency in ("EUR", "JPY")
    ]
    positions = await send(service, *events)
    rows = (await ask(service, "/v1/sales/revenue", min_position=positions, **day))["rows"]
    assert {(row["currency"], row["gross"]) for row in rows} == {
        ("EUR", "19.80"),
        ("JPY", "19.80"),
    }
    only = await ask(service, "/v1/sales/revenue", currency="JPY", **day)
    assert [row["currency"] for row in only["rows"]] == ["JPY"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/sales/revenue?grain=week", "grain"),
        ("/v1/sales/revenue?by=colour", "by"),
        ("/v1/sales/revenue?from=yesterday", "from"),
        ("/v1/sales/revenue?from=2011-02-01&to=2011-01-01", "to"),
        ("/v1/sales/top-products?limit=0", "limit"),
        ("/v1/sales/revenue?min_position=orders", "min_position"),
    ],
)
async def test_a_wrong_parameter_is_named(service: Service, path: str, field: str) -> None:
    async with service.client() as client:
        answer = await client.get(path)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_position_that_does_not_come_is_a_timeout_and_not_an_old_answer(
    service: Service,
) -> None:
    async with service.client() as client:
        answer = await client.get(
            "/v1/sales/revenue", params={"min_position": "orders:0:999999999", "wait": 0.3}
        )
    assert answer.status_code == 504


async def test_an_order_nobody_spoke_of_is_not_found(service: Service, tag: str) -> None:
    async with service.client() as client:
        assert (await client.get(f"/v1/orders/{tag}")).status_code == 404


@pytest.mark.parametrize("path", ["/v1/sales/revenue", "/v1/sales/top-products", "/v1/orders/o1"])
async def test_a_misspelt_parameter_is_refused_by_name(service: Service, path: str) -> None:
    async with service.client() as client:
        answer = await client.get(path, params={"form": "2026-11-01", "shop": "main"})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["form"]


async def test_an_order_is_found_whatever_its_id(service: Service, tag: str) -> None:
    event = order(f"{tag}/1 #ä?")
    async with service.client() as client:
        position = (await client.post("/v1/events", json=event)).json()["position"]
        answer = await client.get(
            f"/v1/orders/{quote(f'{tag}/1 #ä?', safe='')}", params={"min_position": position}
        )
        reached = await client.get(
            "/v1/sales/revenue", params={"min_position": position, "wait": 0}
        )
        wrong = await client.get("/v1/sales/revenue", params={"min_position": "orders:-1:-5"})
    assert answer.json()["order_id"] == f"{tag}/1 #ä?"
    assert reached.status_code == 200
    assert wrong.status_code == 422
