"""Orders over HTTP, on the real servers: from a product to what the figures say of it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.api.access import Role
from app.commands.retold import check_states, shop_of
from app.vault import Vault
from projections.postgres import connect
from tests.e2e.counter import ADDRESS, Counter, counter, wish
from tests.e2e.people import registered
from tests.e2e.service import Service


@pytest.fixture
async def shop(service: Service, tag: str) -> AsyncIterator[Counter]:
    """Mugs at 9.90 and shirts at 30.00."""
    async with counter(service, f"shop-{tag}") as found:
        await found.lists("mug", category="kitchen")
        await found.lists("shirt", "30", 5)
        yield found


BOTH = {"mug": 2, "shirt": 1}


async def test_from_a_product_to_a_delivered_order(shop: Counter) -> None:
    answer = await shop.post("/v1/orders", wish(BOTH), shop.customer())
    assert answer.status_code == 201, answer.text
    order = answer.json()
    assert answer.headers["Location"] == f"/v1/orders/{order['order_id']}"
    assert answer.headers["ETag"] == '"2"'
    assert (order["status"], order["total"], order["person"]) == ("completed", "49.80", "u-1")
    assert order["shipping_address"]["name"] == "Ada Lovelace"
    assert order["payment"]["status"] == "pending"
    assert await shop.stock() == {"mug": (50, 2), "shirt": (5, 1)}
    shipped = await shop.changes(order, "ship", shipment_id="s-1")
    assert (shipped["status"], shipped["shipment_id"]) == ("shipped", "s-1")
    assert await shop.stock() == {"mug": (48, 0), "shirt": (4, 0)}
    delivered = await shop.changes(order, "deliver")
    assert (delivered["status"], delivered["payment"]["status"]) == ("delivered", "paid")
    found = await shop.get(f"/v1/orders/{order['order_id']}", shop.customer())
    delivered.pop("position")
    assert found.json() == delivered
    assert found.headers["ETag"] == '"5"'


async def test_without_a_body_an_order_is_shipped_as_well(shop: Counter) -> None:
    order = await shop.orders(BOTH)
    shipped = await shop.client.post(
        f"/v1/orders/{order['order_id']}/ship", params={"shop": shop.shop}, headers=shop.by()
    )
    assert shipped.status_code == 200, shipped.text


async def priced(shop: Counter) -> None:
    """Taxes, shipping, and a coupon for a tenth."""
    await shop.done(
        "/v1/tax-rates/DE",
        {"rates": [{"rate": "0.19"}, {"category": "kitchen", "rate": "0.07"}]},
        method="PUT",
    )
    rate = {"method": "post", "amount": "4.90", "currency": "EUR"}
    await shop.done("/v1/shipping-rates/DE", {"rates": [rate]}, method="PUT")
    await shop.done("/v1/coupons", {"code": "TENTH", "percent": "10", "limit": 1})


PRICED: dict[str, Any] = {"coupon": "tenth", "shipping_method": "post"}


async def test_a_cart_becomes_an_order_with_its_coupon(shop: Counter) -> None:
    await priced(shop)
    opened = await shop.done("/v1/carts", headers={})
    guest = {"Authorization": f"Bearer {opened['token']}"}
    cart = f"/v1/carts/{opened['cart_id']}"
    await shop.done(f"{cart}/lines", {"variant": "mug", "quantity": 2}, guest)
    await shop.done(f"{cart}/lines", {"variant": "shirt", "quantity": 1}, guest)
    await shop.done(f"{cart}/coupon", {"code": "tenth"}, guest)
    new = {
        "cart_id": opened["cart_id"],
        "payment_method": "card",
        "shipping_address": ADDRESS,
        "shipping_method": "post",
        "email": "ada@example.com",
    }
    answer = await shop.post("/v1/orders", new, guest)
    assert answer.status_code == 201, answer.text
    order = answer.json()
    assert (order["status"], order["coupon"], order["cart_id"]) == (
        "placed",
        "TENTH",
        opened["cart_id"],
    )
    assert (order["subtotal"], order["discount"]) == ("49.80", "4.98")
    seen = await shop.get(f"/v1/orders/{order['order_id']}", guest)
    assert seen.json()["email"] == "ada@example.com"
    assert (await shop.get(cart, guest)).json()["status"] == "checked_out"
    again = await shop.post("/v1/orders", new, guest)
    assert again.status_code == 409
    assert again.json()["errors"][0]["field"] == "cart_id"


async def test_the_figures_are_the_orders(shop: Counter) -> None:
    """Gross, discounts and net of `revenue` are the order's totals, to the last cent."""
    await priced(shop)
    order = await shop.orders(BOTH, **PRICED)
    assert (order["subtotal"], order["discount"], order["shipping"]) == ("49.80", "4.98", "4.90")
    await shop.changes(order, "ship")
    await shop.changes(order, "deliver")
    told = await shop.changes(
        order, "refunds", lines=[{"variant": "mug", "quantity": 1}], shipping=True
    )
    last = await shop.changes(order, "refunds", amount="5.00")
    goods = sum(cents(line["refunded"]) for line in last["lines"])
    figures = await revenue(shop, last["position"])
    assert {name: figures[name] for name in ("gross", "discounts", "orders", "units")} == {
        "gross": "49.80",
        "discounts": "4.98",
        "orders": 1,
        "units": 3,
    }
    assert cents(figures["refunds"]) == goods
    assert cents(figures["net"]) == cents("44.82") - goods
    assert cents(told["given_back"]) + 500 == cents(last["given_back"])
    seen = await shop.get(f"/v1/orders/{order['order_id']}", {})
    assert (seen.json()["net"], seen.json()["tax"]) == (figures["net"], order["tax"])
    assert "shipping_address" not in seen.json()


def cents(amount: str) -> int:
    whole, _, rest = amount.partition(".")
    return int(whole) * 100 + int(rest)


async def revenue(shop: Counter, position: str) -> Any:
    """The one row that there is, when this position is in it."""
    answer = await shop.get("/v1/sales/revenue", min_position=position, wait=30, grain="total")
    assert answer.status_code == 200, answer.text
    (row,) = answer.json()["rows"]
    return row


async def test_what_is_cancelled_is_free_again_and_no_sale(shop: Counter) -> None:
    await priced(shop)
    order = await shop.orders(BOTH, **PRICED)
    answer = await shop.post("/v1/orders", wish(BOTH, **PRICED), shop.customer("u-2"))
    assert answer.status_code == 409
    assert answer.json()["code"] == "coupon_used_up"
    path = f"/v1/orders/{order['order_id']}/cancel"
    gone = await shop.done(path, {"reason": "customer"}, shop.customer())
    assert (gone["status"], gone["reason"], gone["left"]) == ("cancelled", "customer", "0.00")
    assert await shop.stock() == {"mug": (50, 0), "shirt": (5, 0)}
    assert (await revenue(shop, gone["position"]))["net"] == "0.00"
    await shop.orders(BOTH, shop.customer("u-2"), **PRICED)


async def test_what_comes_back_can_be_sold_again(shop: Counter) -> None:
    order = await shop.orders(BOTH)
    await shop.changes(order, "ship")
    await shop.changes(order, "deliver")
    one = await shop.changes(order, "return", lines=[{"variant": "mug", "quantity": 1}])
    assert (one["status"], one["given_back"]) == ("delivered", "9.90")
    assert one["payment"]["status"] == "partially_refunded"
    assert await shop.stock() == {"mug": (49, 0), "shirt": (4, 0)}
    rest = await shop.changes(order, "return", restock=False)
    assert (rest["status"], rest["left"], rest["payment"]["status"]) == (
        "returned",
        "0.00",
        "refunded",
    )
    assert await shop.stock() == {"mug": (49, 0), "shirt": (4, 0)}
    figures = await revenue(shop, rest["position"])
    assert (figures["net"], figures["refunded_units"]) == ("0.00", 3)


async def test_what_is_refunded_before_it_is_shipped_stays_in_the_house(shop: Counter) -> None:
    order = await shop.orders(BOTH, payment_method="card")
    await shop.changes(order, "complete", reference="4711")
    await shop.changes(order, "refunds", lines=[{"variant": "mug", "quantity": 1}])
    assert await shop.stock() == {"mug": (50, 1), "shirt": (5, 1)}
    await shop.changes(order, "ship")
    assert await shop.stock() == {"mug": (49, 0), "shirt": (4, 0)}


async def test_taxes_are_told_by_line_and_by_rate(shop: Counter) -> None:
    await priced(shop)
    order = await shop.orders(BOTH, **PRICED)
    answer = await shop.get(f"/v1/orders/{order['order_id']}/tax", shop.customer())
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert [(line["variant"], line["rate"], line["net"]) for line in told["lines"]] == [
        ("mug", "0.07", "17.82"),
        ("shirt", "0.19", "27.00"),
    ]
    assert [(one["rate"], one["tax"]) for one in told["rates"]] == [
        ("0.07", "1.25"),
        ("0.19", "5.13"),
    ]
    assert (told["tax"], told["refunded_tax"]) == (order["tax"], "0.00")
    assert (
        await shop.get(f"/v1/orders/{order['order_id']}/tax", shop.customer("u-2"))
    ).status_code == 404


async def test_orders_are_listed_and_looked_for(shop: Counter) -> None:
    cash = await shop.orders({"mug": 1})
    card = await shop.orders({"mug": 1}, shop.customer("u-2"), payment_method="card")
    gone = await shop.orders({"mug": 1}, shop.customer("u-2"))
    await shop.changes(gone, "cancel")
    await shop.changes(cash, "ship")
    await shop.changes(cash, "deliver")

    async def found(**wanted: Any) -> list[str]:
        ids: list[str] = []
        cursor: dict[str, Any] = {}
        while True:
            answer = await shop.get("/v1/orders", limit=1, **wanted, **cursor)
            assert answer.status_code == 200, answer.text
            ids += [order["order_id"] for order in answer.json()["orders"]]
            if answer.json()["next_cursor"] is None:
                return ids
            cursor = {"cursor": answer.json()["next_cursor"]}

    cash, card, gone = (one["order_id"] for one in (cash, card, gone))
    assert await found() == [gone, card, cash]
    assert await found(status="delivered") == [cash]
    assert await found(unpaid=True) == [card]
    assert await found(unpaid=False) == [gone, cash]
    assert await found(user="u-2") == [gone, card]
    assert await found(**{"from": "2000-01-01", "to": "2001-01-01"}) == []
    assert await found(**{"from": "2000-01-01"}) == [gone, card, cash]
    assert (await shop.get("/v1/orders", cursor="x")).status_code == 422
    assert (await shop.get("/v1/orders", shop.customer())).status_code == 403


async def test_guests_order_what_is_in_their_cart(shop: Counter) -> None:
    answer = await shop.post("/v1/orders", wish(BOTH), shop.by(Role.GUEST, "c-1"))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "cart_id"


async def test_staff_order_for_a_user(shop: Counter) -> None:
    user = await registered(shop.client, shop.shop)
    order = await shop.orders({"mug": 1}, shop.by(), user_id=user.user_id)
    assert order["person"] == user.user_id
    assert (await shop.get(f"/v1/orders/{order['order_id']}", user.headers)).status_code == 200
    nobody = await shop.orders({"mug": 1}, shop.by())
    assert nobody["person"] == nobody["order_id"]


async def test_of_two_editors_with_one_etag_one_wins(shop: Counter) -> None:
    order = await shop.orders(BOTH)
    path = f"/v1/orders/{order['order_id']}"
    etag = (await shop.get(path)).headers["ETag"]
    headers = {**shop.by(), "If-Match": etag}
    answers = await asyncio.gather(
        shop.post(f"{path}/ship", {}, headers), shop.post(f"{path}/cancel", {}, headers)
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412]
    lost = next(answer for answer in answers if answer.status_code == 412)
    assert lost.json()["errors"][0]["field"] == "If-Match"


# What is refused, with the field that is at fault, and changes nothing.

UNKNOWN = "00000000-0000-7000-8000-000000000000"
BAD_ORDERS: dict[str, tuple[dict[str, Any], int, list[str]]] = {
    "no lines": ({"lines": []}, 422, ["cart_id"]),
    "a cart and lines": ({"cart_id": "c-1"}, 422, ["cart_id"]),
    "an unknown cart": ({"lines": [], "cart_id": "c-1"}, 404, ["cart_id"]),
    "an unknown variant": (
        {"lines": [{"variant": "cup", "quantity": 1}]},
        404,
        ["lines.0.variant"],
    ),
    "none of it": ({"lines": [{"variant": "mug", "quantity": 0}]}, 422, ["lines.0.quantity"]),
    "less than none": ({"lines": [{"variant": "mug", "quantity": -1}]}, 422, ["lines.0.quantity"]),
    "half of it": ({"lines": [{"variant": "mug", "quantity": 1.5}]}, 422, ["lines.0.quantity"]),
    "too many": ({"lines": [{"variant": "mug", "quantity": 51}]}, 409, ["lines.0.quantity"]),
    "far too many": (
        {"lines": [{"variant": "mug", "quantity": 10**30}]},
        422,
        ["lines.0.quantity"],
    ),
    "the same twice": (
        {"lines": [{"variant": "mug", "quantity": 1}] * 2},
        422,
        ["lines.1.variant"],
    ),
    "another currency": ({"currency": "USD"}, 409, ["lines.0.variant"]),
    "two currencies": (
        {"lines": [{"variant": "mug", "quantity": 1}, {"variant": "hat", "quantity": 1}]},
        409,
        ["lines.1.variant"],
    ),
    "not for sale any more": (
        {"lines": [{"variant": "lamp", "quantity": 1}]},
        409,
        ["lines.0.variant"],
    ),
    "an unknown way to pay": ({"payment_method": "shells"}, 422, ["payment_method"]),
    "no country": ({"shipping_address": None}, 422, ["country"]),
    "no such country": ({"country": "Atlantis"}, 422, ["country"]),
    "another country": ({"country": "FR"}, 422, ["shipping_address.country"]),
    "an unknown coupon": ({"coupon": "NONE"}, 404, ["coupon"]),
    "an expired coupon": ({"coupon": "PAST"}, 409, ["coupon"]),
    "no way to ship": ({"shipping_method": "pigeon"}, 422, ["shipping_method"]),
    "for somebody else": ({"user_id": "u-2"}, 404, ["user_id"]),
    "no e-mail address": ({"email": "ada"}, 422, ["email"]),
    "something else": ({"price": "0.01"}, 422, ["price"]),
    "all of it at once": (
        {
            "lines": [{"variant": "cup", "quantity": 1}, {"variant": "mug", "quantity": 51}],
            "shipping_method": "pigeon",
            "shipping_address": None,
            "country": "DE",
            "user_id": "u-2",
        },
        422,
        ["lines.0.variant", "user_id", "shipping_method", "lines.1.quantity"],
    ),
}


@pytest.fixture(scope="module")
async def bad(service: Service) -> AsyncIterator[Counter]:
    """A shop with all that can be ordered wrongly."""
    async with counter(service, "bad-orders") as found:
        await found.lists("mug")
        await found.lists("hat", currency="USD")
        await found.lists("lamp")
        await found.done("/v1/products/lamp", method="DELETE")
        past = {"code": "PAST", "percent": "10", "valid_until": "2020-01-01T00:00:00Z"}
        await found.done("/v1/coupons", past)
        yield found


@pytest.mark.parametrize("what", BAD_ORDERS)
async def test_what_cannot_be_ordered_is_refused(bad: Counter, what: str) -> None:
    changed, status, fields = BAD_ORDERS[what]
    before = await bad.rows()
    answer = await bad.post("/v1/orders", wish({"mug": 1}) | changed, bad.customer())
    assert answer.status_code == status, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == fields
    assert await bad.rows() == before


BAD_CHANGES: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "an unknown order": ("/v1/orders/o-9/cancel", {}, 404, "order_id"),
    "delivered before it is shipped": ("{order}/deliver", {}, 409, "status"),
    "paid by hand, to be paid on delivery": ("{order}/complete", {}, 409, "status"),
    "returned before it is shipped": ("{order}/return", {}, 409, "status"),
    "refunded before it is paid": ("{order}/refunds", {}, 409, "status"),
    "for no reason": ("{order}/cancel", {"reason": "because"}, 422, "reason"),
    "more than it was": ("{paid}/refunds", {"amount": "9.91"}, 409, "amount"),
    "less than nothing": ("{paid}/refunds", {"amount": "-1"}, 422, "amount"),
    "nothing": ("{paid}/refunds", {"amount": "0"}, 422, "amount"),
    "half a cent": ("{paid}/refunds", {"amount": "0.005"}, 422, "amount"),
    "an endless amount": ("{paid}/refunds", {"amount": "1" * 40}, 422, "amount"),
    "no number": ("{paid}/refunds", {"amount": "NaN"}, 422, "amount"),
    "an amount and lines": (
        "{paid}/refunds",
        {"amount": "1", "shipping": True},
        422,
        "amount",
    ),
    "an unknown line": (
        "{paid}/refunds",
        {"lines": [{"variant": "cup", "quantity": 1}]},
        404,
        "lines.0.variant",
    ),
    "more units than there were": (
        "{paid}/return",
        {"lines": [{"variant": "mug", "quantity": 2}]},
        409,
        "lines.0.quantity",
    ),
    "a line twice": (
        "{paid}/return",
        {"lines": [{"variant": "mug", "quantity": 1}] * 2},
        422,
        "lines.1.variant",
    ),
    "no shipping": ("{paid}/refunds", {"shipping": True}, 409, "shipping"),
    "shipped twice": ("{paid}/ship", {}, 409, "status"),
    "cancelled too late": ("{paid}/cancel", {}, 409, "status"),
}


@pytest.fixture(scope="module")
async def taken(bad: Counter) -> dict[str, str]:
    """One order to be paid on delivery, and one that is delivered."""
    order = await bad.orders({"mug": 1})
    paid = await bad.orders({"mug": 1})
    await bad.changes(paid, "ship")
    await bad.changes(paid, "deliver")
    return {"order": f"/v1/orders/{order['order_id']}", "paid": f"/v1/orders/{paid['order_id']}"}


@pytest.mark.parametrize("what", BAD_CHANGES)
async def test_what_cannot_become_of_an_order_is_refused(
    bad: Counter, taken: dict[str, str], what: str
) -> None:
    path, body, status, field = BAD_CHANGES[what]
    before = await bad.rows()
    answer = await bad.post(path.format(**taken), body)
    assert answer.status_code == status, answer.text
    assert answer.json()["errors"][0]["field"] == field
    assert await bad.rows() == before


async def test_a_stale_version_changes_nothing(bad: Counter, taken: dict[str, str]) -> None:
    before = await bad.rows()
    for version, status in (('"1"', 412), ('"99"', 412), ("x", 422)):
        headers = {**bad.by(), "If-Match": version}
        answer = await bad.post(f"{taken['order']}/cancel", {}, headers)
        assert answer.status_code == status, answer.text
        assert answer.json()["errors"][0]["field"] == "If-Match"
    assert await bad.rows() == before


@pytest.mark.parametrize(
    ("role", "id", "get", "cancel", "ship"),
    [
        (Role.CUSTOMER, "u-1", 200, None, 403),
        (Role.CUSTOMER, "u-2", 404, 404, 403),
        (Role.GUEST, "c-1", 404, 404, 403),
        (Role.GUEST, "u-1", 404, 404, 403),
        (Role.STAFF, "s-1", 200, None, None),
        (None, "", 404, 401, 401),
    ],
)
async def test_other_peoples_orders_are_not_there(
    bad: Counter,
    taken: dict[str, str],
    role: Role | None,
    id: str,  # noqa: A002
    get: int,
    cancel: int | None,
    ship: int | None,
) -> None:
    """A guest is known by their cart: with a user's id for it, they would be another still."""
    headers = bad.by(role, id) if role else {}
    before = await bad.rows()
    seen = await bad.get(taken["order"], headers)
    if role is None:  # what nobody in particular sees are figures, which may not be there yet
        assert "shipping_address" not in seen.json()
    else:
        assert seen.status_code == get, seen.text
    if cancel is not None:
        answer = await bad.post(f"{taken['order']}/cancel", {}, headers)
        assert answer.status_code == cancel, answer.text
    if ship is not None:
        answer = await bad.post(f"{taken['order']}/ship", {}, headers)
        assert answer.status_code == ship, answer.text
    assert await bad.rows() == before


async def test_the_states_are_what_the_log_tells(service: Service, bad: Counter) -> None:
    """All orders of this run, folded anew from their events, what is personal in them included."""
    settings = service.settings
    async with bad.database() as database:
        kept = await database.fetchval("SELECT count(*) FROM shop_orders")
    pool = await connect(settings.servers.postgres, settings.schema_name)
    try:
        checked = await check_states(shop_of(settings), Vault(pool))
    finally:
        await pool.close()
    found = {one.read_model: one.found for one in checked}
    for name in ("shop_orders", "stock", "carts", "coupons"):
        assert found[name].examples == [], name
    assert found["shop_orders"].keys == kept > 0
