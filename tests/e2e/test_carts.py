"""Carts, coupons, taxes and shipping over HTTP, on the real servers."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from app.api.access import Role
from tests.e2e.service import Service
from tests.e2e.test_commands import bearer

HUGE = 10**30


class Shop:
    """A shop with a mug of 10.00 EUR, of which there are 50, a poster in USD, and rates."""

    def __init__(self, service: Service, client: httpx2.AsyncClient, tag: str) -> None:
        self.service, self.client, self.tag = service, client, tag
        self.staff = bearer(service)
        self.coupons = 0
        self.mug, self.poster = f"mug-{tag}", f"poster-{tag}"

    async def sent(
        self, method: str, path: str, json: Any = None, *, expect: int = 200, **headers: str
    ) -> Any:
        told = {"Authorization": "", **{name.replace("_", "-"): v for name, v in headers.items()}}
        answer = await self.client.request(method, path, json=json, headers=told)
        assert answer.status_code == expect, answer.text
        return answer

    async def by_staff(self, method: str, path: str, json: Any = None, expect: int = 200) -> Any:
        return (await self.sent(method, path, json, expect=expect, **self.staff)).json()

    async def stocked(self) -> "Shop":
        for variant, price, currency in ((self.mug, "10.00", "EUR"), (self.poster, "5", "USD")):
            product = {
                "product_id": f"p-{variant}",
                "name": "Mug",
                "category": f"kitchen-{self.tag}",
                "currency": currency,
                "variants": [{"id": variant, "price": price, "stock": 50}],
            }
            await self.by_staff("POST", "/v1/products", product, 201)
        return self

    async def guests_cart(self) -> "GuestsCart":
        answer = (await self.sent("POST", "/v1/carts", expect=201)).json()
        return GuestsCart(self, answer["cart_id"], {"Authorization": f"Bearer {answer['token']}"})

    async def coupon(self, **terms: Any) -> str:
        self.coupons += 1
        code = f"C-{self.tag}-{self.coupons}".upper()
        await self.by_staff("POST", "/v1/coupons", {"code": code, "percent": "10", **terms}, 201)
        return code


class GuestsCart:
    def __init__(self, shop: Shop, cart_id: str, token: dict[str, str]) -> None:
        self.shop, self.id, self.token = shop, cart_id, token

    async def sent(
        self, method: str, path: str = "", json: Any = None, *, expect: int = 200, **headers: str
    ) -> Any:
        headers = {**self.token, **headers}
        return await self.shop.sent(
            method, f"/v1/carts/{self.id}{path}", json, expect=expect, **headers
        )

    async def add(self, variant: str, quantity: Any = 1, expect: int = 200) -> Any:
        line = {"variant": variant, "quantity": quantity}
        return (await self.sent("POST", "/lines", line, expect=expect)).json()

    async def now(self, query: str = "") -> Any:
        return (await self.sent("GET", query)).json()


@pytest.fixture
async def shop(service: Service, tag: str) -> Any:
    async with service.client() as client:
        yield await Shop(service, client, tag).stocked()


async def test_a_guest_fills_a_cart_and_sees_what_it_comes_to(shop: Shop) -> None:
    kitchen = f"kitchen-{shop.tag}"
    rates = {"rates": [{"rate": "0.20"}, {"category": kitchen, "rate": "0.10"}]}
    post = {"method": "post", "amount": "4.90", "currency": "EUR", "free_from": "50"}
    await shop.by_staff("PUT", "/v1/tax-rates/AT", rates)
    await shop.by_staff("PUT", "/v1/shipping-rates/AT", {"rates": [post]})
    code = await shop.coupon(categories=[kitchen])
    cart = await shop.guests_cart()
    assert (await cart.add(shop.mug, 2))["lines"][0]["price"] == "10.00"
    assert (await cart.add(shop.mug))["lines"][0]["quantity"] == 3
    assert (await cart.sent("POST", "/coupon", {"code": code.lower()})).json()["coupon"] == code
    found = await cart.now("?country=AT&shipping_method=post")
    assert found["subtotal"] == "30.00"
    assert found["discount"] == "3.00"
    assert found["totals"]["tax"] == "2.70"
    assert found["totals"]["lines"][0]["tax_rate"] == "0.10"
    assert found["totals"]["shipping"] == "4.90"
    assert found["totals"]["total"] == "34.60"
    undecided = await cart.now("?country=AT")
    assert "totals" not in undecided
    assert undecided["shipping_methods"][0]["free_from"] == "50.00"
    assert (await cart.sent("PATCH", f"/lines/{shop.mug}", {"quantity": 1})).json()["lines"][0][
        "quantity"
    ] == 1
    await cart.sent("DELETE", "/coupon")
    assert (await cart.sent("DELETE", f"/lines/{shop.mug}")).json()["lines"] == []


async def test_a_change_names_the_version_that_was_seen(shop: Shop) -> None:
    cart = await shop.guests_cart()
    first = await cart.sent("POST", "/lines", {"variant": shop.mug})
    assert first.headers["ETag"] == '"2"'
    await cart.sent("POST", "/lines", {"variant": shop.mug}, If_Match=first.headers["ETag"])
    for method, path, json in (
        ("POST", "/lines", {"variant": shop.mug}),
        ("PATCH", f"/lines/{shop.mug}", {"quantity": 9}),
        ("DELETE", f"/lines/{shop.mug}", None),
        ("POST", "/prices", None),
        ("POST", "/coupon", {"code": "X"}),
        ("DELETE", "/coupon", None),
    ):
        stale = await cart.sent(method, path, json, expect=412, If_Match=first.headers["ETag"])
        assert stale.json()["errors"][0]["field"] == "If-Match"
    assert (await cart.sent("GET")).headers["ETag"] == '"3"'


async def test_a_line_under_one_key_is_added_once(shop: Shop) -> None:
    cart = await shop.guests_cart()
    line = {"variant": shop.mug}
    answers = await asyncio.gather(
        *(cart.sent("POST", "/lines", line, Idempotency_Key=f"k-{shop.tag}") for _ in range(8))
    )
    assert len({answer.content for answer in answers}) == 1
    assert (await cart.now())["lines"][0]["quantity"] == 1


async def test_what_is_added_at_one_time_is_all_there(shop: Shop) -> None:
    cart = await shop.guests_cart()
    await asyncio.gather(*(cart.add(shop.mug) for _ in range(12)))
    assert (await cart.now())["lines"][0]["quantity"] == 12


async def test_a_customer_has_one_cart_however_often_it_is_opened(shop: Shop) -> None:
    customer = bearer(shop.service, Role.CUSTOMER, f"c-{shop.tag}")
    answers = await asyncio.gather(
        *(shop.client.post("/v1/carts", headers=customer) for _ in range(6))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert len({answer.json()["cart_id"] for answer in answers}) == 1
    assert "token" not in answers[0].json()


async def test_a_guest_whose_answer_was_lost_gets_the_same_cart_under_its_key(shop: Shop) -> None:
    key = str(uuid4())
    opened = [await shop.sent("POST", "/v1/carts", expect=201, Idempotency_Key=key) for _ in "ab"]
    assert opened[0].content == opened[1].content
    await shop.sent("POST", "/v1/carts", expect=422, Idempotency_Key="1")  # others would have it


@pytest.mark.parametrize(
    ("method", "path", "json"),
    [
        ("GET", "", None),
        ("POST", "/lines", {"variant": "x"}),
        ("PATCH", "/lines/x", {"quantity": 1}),
        ("DELETE", "/lines/x", None),
        ("POST", "/prices", None),
        ("POST", "/coupon", {"code": "x"}),
        ("DELETE", "/coupon", None),
    ],
)
async def test_nobody_reaches_the_cart_of_another(
    shop: Shop, method: str, path: str, json: Any
) -> None:
    customer, other = (bearer(shop.service, Role.CUSTOMER, f"{n}-{shop.tag}") for n in "ab")
    owned = (await shop.sent("POST", "/v1/carts", expect=201, **customer)).json()["cart_id"]
    guests, others = await shop.guests_cart(), await shop.guests_cart()
    refused = [
        (guests.id, others.token),
        (guests.id, customer),
        (guests.id, shop.staff),
        (guests.id, bearer(shop.service, Role.CUSTOMER, guests.id)),
        (owned, other),
        (owned, guests.token),
        (owned, shop.staff),
        (owned, bearer(shop.service, Role.GUEST, owned)),
        ("nowhere", customer),
        ("nowhere", guests.token),
    ]
    for cart_id, token in refused:
        found = await shop.sent(method, f"/v1/carts/{cart_id}{path}", json, expect=404, **token)
        assert found.json()["errors"] == [
            {"field": "cart_id", "reason": f"there is no cart '{cart_id}'"}
        ]
    await shop.sent(method, f"/v1/carts/{owned}{path}", json, expect=401)
    for cart_id, token in ((guests.id, guests.token), (owned, customer)):
        seen = await shop.sent("GET", f"/v1/carts/{cart_id}", expect=200, **token)
        assert seen.headers["ETag"] == '"1"'


@pytest.mark.parametrize("quantity", [0, -1, 100_001, HUGE, 1.5, "2", None, True])
async def test_a_quantity_that_can_be_none_is_refused(shop: Shop, quantity: Any) -> None:
    cart = await shop.guests_cart()
    await cart.add(shop.mug)
    for method, path in (("POST", "/lines"), ("PATCH", f"/lines/{shop.mug}")):
        json = {"quantity": quantity} | ({"variant": shop.mug} if method == "POST" else {})
        refused = (await cart.sent(method, path, json, expect=422)).json()
        assert refused["errors"][0]["field"] == "quantity"
    assert (await cart.now())["lines"][0]["quantity"] == 1


async def test_what_cannot_be_in_a_cart_is_refused(shop: Shop) -> None:
    cart = await shop.guests_cart()
    await cart.add(shop.mug, 2)
    for variant, quantity, status, code in (
        ("nothing", 1, 404, "unknown"),
        ("\x00", 1, 422, "invalid"),
        ("", 1, 422, "invalid"),
        ("v" * 129, 1, 422, "invalid"),
        (shop.mug, 49, 409, "out_of_stock"),
        (shop.poster, 1, 409, "currency"),
    ):
        assert (await cart.add(variant, quantity, status))["code"] == code
    assert (await cart.sent("PATCH", "/lines/nothing", {"quantity": 1}, expect=404)).json()[
        "errors"
    ][0]["field"] == "variant"
    await cart.sent("PATCH", f"/lines/{shop.mug}", {"quantity": 51}, expect=409)
    await cart.sent("DELETE", "/lines/nothing", expect=404)
    await cart.sent("POST", "/lines", {"variant": shop.mug, "price": "0.01"}, expect=422)
    assert (await cart.sent("GET")).headers["ETag"] == '"2"'


async def test_a_coupon_that_is_not_taken_says_why_and_is_noted(shop: Shop) -> None:
    cart = await shop.guests_cart()
    empty = await cart.sent("POST", "/coupon", {"code": "NONE"}, expect=409)
    assert empty.json()["code"] == "empty"
    await cart.add(shop.mug)
    past, future = "2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"
    refused: list[tuple[dict[str, Any], str]] = [
        ({"valid_until": past}, "expired"),
        ({"valid_from": future}, "not_yet"),
        ({"percent": None, "amount": "5", "currency": "USD"}, "currency"),
        ({"minimum": "10.01", "currency": "EUR"}, "minimum"),
        ({"limit_per_customer": 1}, "customer"),
        ({"product_ids": ["other"]}, "products"),
    ]
    for terms, reason in refused:
        code = await shop.coupon(**terms)
        answer = (await cart.sent("POST", "/coupon", {"code": code}, expect=409)).json()
        assert answer["code"] == f"coupon_{reason}"
        assert answer["errors"][0]["field"] == "coupon"
    unknown = await cart.sent("POST", "/coupon", {"code": "NONE"}, expect=404)
    assert unknown.json()["code"] == "coupon_unknown"
    seen = await cart.sent("GET")
    assert "coupon" not in seen.json()
    assert seen.headers["ETag"] == f'"{2 + len(refused) + 1}"'  # each is an event of its own


@pytest.mark.parametrize("code", [" ", "ada@example.com", "\u0390" * 64])
async def test_what_can_be_no_code_is_refused_and_not_noted(shop: Shop, code: str) -> None:
    cart = await shop.guests_cart()
    await cart.add(shop.mug)
    seen = (await cart.sent("GET")).headers["ETag"]
    refused = await cart.sent("POST", "/coupon", {"code": code}, expect=422)
    assert refused.json()["errors"][0]["field"] == "code"
    assert (await cart.sent("GET")).headers["ETag"] == seen


async def test_a_cart_tries_so_many_coupons_and_no_more(shop: Shop) -> None:
    cart = await shop.guests_cart()
    await cart.add(shop.mug)
    for n in range(20):
        await cart.sent("POST", "/coupon", {"code": f"GUESS{n}"}, expect=404)
    code = await shop.coupon()
    refused = await cart.sent("POST", "/coupon", {"code": code}, expect=409)
    assert refused.json()["code"] == "too_many"


async def test_a_coupon_that_holds_no_more_is_told_and_not_counted(shop: Shop) -> None:
    cart, code = await shop.guests_cart(), await shop.coupon()
    await cart.add(shop.mug)
    await cart.sent("POST", "/coupon", {"code": code})
    await shop.by_staff("DELETE", f"/v1/coupons/{code}")
    found = await cart.now()
    assert found["discount"] == "0.00"
    assert found["coupon_denied"]["code"] == "coupon_disabled"
