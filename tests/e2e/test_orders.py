"""Orders over HTTP, on the real servers: from a product to what the figures say of it."""

from typing import Any

import httpx2

from app.api.access import Role
from tests.e2e.service import Service
from tests.e2e.test_commands import bearer

ADDRESS = {"name": "Ada Lovelace", "lines": ["1 Example Street"], "city": "Berlin", "country": "DE"}


def wish(tag: str, **changed: Any) -> dict[str, Any]:
    """An order of two mugs and a shirt."""
    return {
        "lines": [
            {"variant": f"mug-{tag}", "quantity": 2},
            {"variant": f"shirt-{tag}", "quantity": 1},
        ],
        "payment_method": "cash_on_delivery",
        "shipping_address": ADDRESS,
        **changed,
    }


async def listed(client: httpx2.AsyncClient, service: Service, name: str, **changed: Any) -> None:
    """A product of one variant, of the same id."""
    variant = {"id": name, "price": "9.90", "stock": 50, **changed.pop("variant", {})}
    product = {"product_id": name, "name": name, "currency": "EUR", "variants": [variant]}
    answer = await client.post("/v1/products", json=product | changed, headers=bearer(service))
    assert answer.status_code == 201, answer.text


async def shop(client: httpx2.AsyncClient, service: Service, tag: str) -> None:
    await listed(client, service, f"mug-{tag}")
    await listed(client, service, f"shirt-{tag}", variant={"price": "30", "stock": 5})


def customer(service: Service, tag: str) -> dict[str, str]:
    return bearer(service, Role.CUSTOMER, f"u-{tag}")


async def ordered(client: httpx2.AsyncClient, service: Service, tag: str, **changed: Any) -> Any:
    """A new order of a customer."""
    answer = await client.post(
        "/v1/orders", json=wish(tag, **changed), headers=customer(service, tag)
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


async def done(
    client: httpx2.AsyncClient, service: Service, order: Any, what: str, **told: Any
) -> Any:
    """The order after what the staff has done with it."""
    answer = await client.post(
        f"/v1/orders/{order['order_id']}/{what}", json=told, headers=bearer(service)
    )
    assert answer.is_success, answer.text
    return answer.json()


async def test_from_a_product_to_a_delivered_order(service: Service, tag: str) -> None:
    async with service.client() as client:
        await shop(client, service, tag)
        order = await ordered(client, service, tag)
        assert (order["status"], order["total"]) == ("completed", "49.80")
        assert order["shipping_address"]["name"] == "Ada Lovelace"
        assert order["payment"]["status"] == "pending"
        assert (await done(client, service, order, "ship", shipment_id="s-1"))[
            "status"
        ] == "shipped"
        order = await done(client, service, order, "deliver")
        assert (order["status"], order["payment"]["status"]) == ("delivered", "paid")
        answer = await client.get(f"/v1/orders/{order['order_id']}", headers=customer(service, tag))
        assert answer.json()["lines"] == order["lines"]
        assert answer.headers["ETag"] == '"5"'
