"""The whole of a shop in one story: from a guest who looks around to a refund, over HTTP alone; and
revenue, stock and live figures follow it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx2

from app.commands.retold import check_states, shop_of
from app.vault import Vault
from projections.postgres import connect
from tests.e2e.people import log_in, somebody
from tests.e2e.shop import sent
from tests.e2e.test_commands import bearer
from tests.e2e.test_live import next_message, watching
from tests.e2e.test_payments import Till, till  # noqa: F401  (a fixture)

HOME = {"name": "Ada Lovelace", "lines": ["Rua da Prata 80"], "city": "Lisboa", "country": "PT"}

Ask = Callable[..., Awaitable[Any]]


async def opened(till: Till, tag: str) -> None:  # noqa: F811
    """A shop that sells lamps to Portugal."""
    staff = bearer(till.service)
    async with httpx2.AsyncClient(base_url=till.service.api, headers=staff, timeout=30) as client:
        await sent(
            client, "POST", "/v1/categories", {"category_id": f"lamps-{tag}", "name": "Lamps"}
        )
        lamp = {
            "product_id": f"lamp-{tag}",
            "name": f"Harbour Lamp {tag}",
            "category": f"lamps-{tag}",
            "currency": "EUR",
            "variants": [
                {"id": f"brass-{tag}", "price": "20.00", "stock": 10, "options": {"metal": "brass"}}
            ],
        }
        await sent(client, "POST", "/v1/products", lamp)
        await sent(client, "PUT", "/v1/tax-rates/PT", {"rates": [{"rate": "0.23"}]})
        post = {"method": "post", "amount": "4.90", "currency": "EUR", "free_from": "100"}
        await sent(client, "PUT", "/v1/shipping-rates/PT", {"rates": [post]})
        coupon = {"code": f"TEN{tag}", "percent": "10", "limit_per_customer": 1}
        await sent(client, "POST", "/v1/coupons", coupon)


async def sales(client: httpx2.AsyncClient, tag: str, position: str) -> dict[str, Any]:
    """What was sold of the lamp, with what stands at this position."""
    asked = {"by": "product", "key": f"lamp-{tag}", "grain": "total", "wait": "30"}
    answer = await client.get("/v1/sales/revenue", params={**asked, "min_position": position})
    assert answer.status_code == 200, answer.text
    (row,) = answer.json()["rows"]
    return {name: row[name] for name in ("gross", "discounts", "refunds", "net", "units")}


async def stock(client: httpx2.AsyncClient, tag: str) -> tuple[int, int]:
    """On hand, and available."""
    found = (await client.get(f"/v1/stock/brass-{tag}")).json()
    return found["on_hand"], found["available"]


async def test_a_lamp_is_found_bought_paid_shipped_praised_and_given_back(
    till: Till,  # noqa: F811
    tag: str,
) -> None:
    await opened(till, tag)
    api, lamp = till.service.api, f"lamp-{tag}"
    figures = {"subscribe": "revenue", "id": "lamp"}
    where = {"dimension": "product", "key": lamp}
    async with (
        httpx2.AsyncClient(base_url=api, timeout=30) as anyone,
        httpx2.AsyncClient(base_url=api, headers=bearer(till.service), timeout=30) as staff,
        watching(till.service, **figures, filter=where) as live,
    ):
        await next_message(live, "snapshot")
        # Somebody looks around, and fills a cart.
        found = (await anyone.get("/v1/products", params={"q": f"harbour {tag}"})).json()
        assert [one["product_id"] for one in found["products"]] == [lamp]
        key = {"Idempotency-Key": str(uuid4())}
        cart = await sent(anyone, "POST", "/v1/carts", None, **key)
        assert (await sent(anyone, "POST", "/v1/carts", None, **key))["token"] == cart["token"]
        guest = {"Authorization": f"Bearer {cart['token']}"}
        line = {"variant": f"brass-{tag}", "quantity": 3}
        path = f"/v1/carts/{cart['cart_id']}"
        await sent(anyone, "POST", f"{path}/lines", line, **guest)
        # They register, log in, and the cart is theirs.
        new = somebody()
        await sent(anyone, "POST", "/v1/auth/register", new)
        ada = await log_in(anyone, new["email"])
        told = {"email": new["email"], "password": new["password"], "cart_token": cart["token"]}
        logged_in = await sent(anyone, "POST", "/v1/auth/login", told)
        path = f"/v1/carts/{logged_in['cart_id']}"
        await sent(anyone, "POST", f"{path}/coupon", {"code": f"ten{tag}"}, **ada.headers)
        asked = {"country": "PT", "shipping_method": "post"}
        shown = (await anyone.get(path, params=asked, headers=ada.headers)).json()
        assert shown["totals"]["total"] == "71.32"  # 60 - 6 = 54, 23 % of it, and 4.90
        # They order, and pay by card.
        wanted = {
            "cart_id": logged_in["cart_id"],
            "payment_method": "card",
            "shipping_method": "post",
            "shipping_address": HOME,
        }
        once = {**ada.headers, "Idempotency-Key": f"order-{tag}"}
        order = await sent(anyone, "POST", "/v1/orders", wanted, **once)
        again = await sent(anyone, "POST", "/v1/orders", wanted, **once)
        assert (order["total"], order["status"]) == ("71.32", "placed")
        assert again["order_id"] == order["order_id"]
        assert await stock(staff, tag) == (10, 7)
        at = f"/v1/orders/{order['order_id']}"
        await till.confirmed(await sent(anyone, "POST", f"{at}/payment", None, **ada.headers))
        await till.until(order["order_id"], lambda one: one["status"] == "completed", "paid")
        (sold,) = (await next_message(live))["figures"]
        assert (sold["value"]["gross"], sold["value"]["units"]) == ("60.00", 3)
        # It is shipped, delivered, and praised.
        shipped = await sent(staff, "POST", f"{at}/ship", {"shipment_id": "s-1"})
        assert await stock(staff, tag) == (7, 7)
        assert await sales(staff, tag, shipped["position"]) == {
            "gross": "60.00",
            "discounts": "6.00",
            "refunds": "0.00",
            "net": "54.00",
            "units": 3,
        }
        await sent(staff, "POST", f"{at}/deliver")
        review = {"rating": 5, "review_body": "Lights the whole room."}
        await sent(anyone, "POST", f"/v1/products/{lamp}/reviews", review, **ada.headers)
        rated = (await anyone.get(f"/v1/products/{lamp}")).json()["rating"]
        assert (rated["average"], rated["count"]) == (5.0, 1)
        # One of them goes back, and the money with it.
        back = {"lines": [{"variant": f"brass-{tag}", "quantity": 1}]}
        returned = await sent(staff, "POST", f"{at}/return", back)
        assert returned["given_back"] == "22.14"  # 18, and 23 % of it
        assert await stock(staff, tag) == (8, 8)
        after = await sales(staff, tag, returned["position"])
        assert (after["refunds"], after["net"]) == ("18.00", "36.00")
        mine = (await anyone.get(f"/v1/users/{ada.user_id}/orders", headers=ada.headers)).json()
        assert [one["order_id"] for one in mine["orders"]] == [order["order_id"]]
        taxes = (await anyone.get(f"{at}/tax", headers=ada.headers)).json()
        assert taxes["tax"] == "12.42"
    await till.until(order["order_id"], _is_given_back, "refunded")
    await as_the_log_tells(till)


def _is_given_back(order: Any) -> bool:
    return [one["status"] for one in order["payment"]["refunds"].values()] == ["made"]


async def as_the_log_tells(till: Till) -> None:  # noqa: F811
    settings = till.service.settings
    pool = await connect(settings.servers.postgres, settings.schema_name)
    async with asyncio.timeout(120):
        compared = await check_states(shop_of(settings), Vault(pool))
    await pool.close()
    assert [one for one in compared if one.found.differing] == []
