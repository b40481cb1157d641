"""The documentation: nothing in it comes from elsewhere, and its examples are true."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any, NamedTuple
from uuid import uuid4

import httpx2
import pytest
from playwright.async_api import Browser, expect

from app.api.access import Role
from tests.e2e.browser import chromium, looking, needs_chromium
from tests.e2e.service import Service
from tests.e2e.test_commands import bearer

Schema = dict[str, Any]


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as found:
        yield found


@needs_chromium
@pytest.mark.parametrize(
    ("path", "shown"), [("/docs", "#operations-catalogue-products_create"), ("/redoc", "h2")]
)
async def test_it_is_shown_without_any_other_host(
    service: Service, browser: Browser, path: str, shown: str
) -> None:
    async with looking(browser, service.api + path) as (page, seen):
        await expect(page.locator(shown).first).to_be_visible(timeout=60_000)
        await expect(page.locator("body")).to_contain_text("/v1/products", timeout=60_000)
        await page.wait_for_load_state("networkidle")
    outside = {host for host in seen.hosts if host not in ("", service.api.split("//")[1])}
    assert outside == set()
    assert seen.errors == []


async def described(service: Service) -> Schema:
    async with service.client() as client:
        found: Schema = (await client.get("/openapi.json")).json()
        return found


class Operation(NamedTuple):
    """One method of one path, as it is described."""

    method: str
    path: str
    told: Schema


def operations(schema: Schema) -> Iterator[Operation]:
    for path, methods in schema["paths"].items():
        for method, told in methods.items():
            yield Operation(method, path, told)


def resolved(schema: Schema, part: Schema) -> Schema:
    while "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        part = schema["components"]["schemas"][name]
    return part


def example(schema: Schema, operation: Operation) -> Any:
    """A body that an operation's description shows; none where it takes none."""
    content = operation.told.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    shape = resolved(schema, content["schema"])
    for found in (content.get("example"), shape.get("example"), *shape.get("examples", [])):
        if found is not None:
            return found
    raise AssertionError(f"{operation.told['operationId']} has no example")


async def test_every_error_is_described_as_a_problem(service: Service) -> None:
    for operation in operations(await described(service)):
        for status, told in operation.told["responses"].items():
            if status >= "4":
                assert list(told["content"]) == ["application/problem+json"], operation
        assert "4XX" in operation.told["responses"], operation


async def test_every_body_has_an_example(service: Service) -> None:
    schema = await described(service)
    shown = [
        example(schema, operation)
        for operation in operations(schema)
        if operation.told["operationId"] not in ELSEWHERE
    ]
    assert any(shown)


# Every command's example is carried out, in a shop of its own, after what it needs.

ELSEWHERE = {
    *("events_append", "quarantine_resubmit", "jobs_cancel"),  # no commands
    *("imports_create", "imports_map", "imports_start", "imports_cancel"),  # no commands, and files
    *("images_add", "images_remove", "webhooks_stripe"),  # uploads, and what Stripe signs
    *("orders_payment_start", "orders_refund_retry"),  # need a provider
    *("forecasts_what_if", "forecasts_train", "sentiment_judge"),  # need a learner
    "customers_erase",  # takes a log-in of just now
}
"""Operations that have tests of their own with what they need."""


class World:
    """A shop of its own, in which an operation's example can be carried out."""

    def __init__(self, service: Service, client: httpx2.AsyncClient, schema: Schema) -> None:
        self.client, self.schema = client, schema
        self.service, self.shop = service, f"example-{uuid4().hex[:8]}"
        self.found = {one.told["operationId"]: one for one in operations(schema)}
        self.headers = bearer(service, shop=self.shop)
        self.places: dict[str, str] = {}
        self.changed: dict[str, Any] = {}

    async def do(self, name: str, **changed: Any) -> Any:
        """Carries out an operation's example, with what is changed in it."""
        operation = self.found[name]
        body = example(self.schema, operation)
        answer = await self.client.request(
            operation.method,
            operation.path.format(**self.places),
            params={"shop": self.shop},
            json=body if body is None else {**body, **changed},
            headers=self.headers,
        )
        assert answer.is_success, (name, answer.text)
        return answer.json() if answer.content else None

    # What an example needs.

    async def nothing(self) -> None: ...

    async def category(self) -> None:
        await self.do("categories_create")
        self.places["category_id"] = "home"

    async def kitchen(self) -> None:
        await self.do("categories_create", category_id="kitchen")

    async def product(self) -> None:
        await self.kitchen()
        await self.do("products_create")
        self.places |= {"product_id": "mug", "variant": "mug-blue"}

    async def variant(self) -> None:
        await self.product()
        self.places["variant"] = "mug-red"

    async def variants(self) -> None:
        await self.variant()
        await self.do("variants_put")

    async def delisted(self) -> None:
        await self.product()
        await self.do("products_delist")

    async def customer(self) -> None:
        self.headers = bearer(self.service, Role.CUSTOMER, "u-1", self.shop)

    async def product_and_customer(self) -> None:
        await self.product()
        await self.customer()

    async def review(self) -> None:
        await self.product_and_customer()
        self.places["review_id"] = (await self.do("reviews_create"))["review_id"]

    async def review_and_staff(self) -> None:
        await self.review()
        self.headers = bearer(self.service, shop=self.shop)

    async def coupon(self) -> None:
        await self.do("coupons_issue", limit_per_customer=5)
        self.places["code"] = "WELCOME10"

    async def country(self) -> None:
        self.places["country"] = "DE"

    async def entry_id(self) -> None:
        self.places["entry_id"] = "black-week"

    async def planned(self) -> None:
        await self.entry_id()
        await self.do("calendar_plan")

    async def experiment(self) -> None:
        self.places["experiment_id"] = (await self.do("experiments_start"))["id"]

    async def cart(self) -> None:
        await self.product()
        await self.coupon()
        await self.customer()
        self.places["cart_id"] = (await self.do("carts_open"))["cart_id"]

    async def filled(self) -> None:
        await self.cart()
        await self.do("carts_add_line")

    async def coupon_in_cart(self) -> None:
        await self.filled()
        await self.do("carts_apply_coupon")

    async def order(self, **changed: Any) -> None:
        await self.product_and_customer()
        self.places["order_id"] = (await self.do("orders_place", **changed))["order_id"]
        self.headers = bearer(self.service, shop=self.shop)

    async def unpaid(self) -> None:
        await self.order(payment_method="card")

    async def paid(self) -> None:
        await self.unpaid()
        await self.do("orders_complete")

    async def shipped(self) -> None:
        await self.order()
        await self.do("orders_ship")

    async def delivered(self) -> None:
        await self.shipped()
        await self.do("orders_deliver")

    async def registered(self) -> None:
        await self.do("auth_register")

    async def admin(self) -> None:
        self.headers = bearer(self.service, Role.ADMIN, "admin", self.shop)

    async def logged_in(self) -> None:
        await self.registered()
        found = await self.do("auth_login")
        self.places["user_id"] = found["user_id"]
        self.changed = {"refresh_token": found["refresh_token"]}

    async def themselves(self) -> None:
        await self.registered()
        found = await self.do("auth_login")
        self.places["user_id"] = found["user_id"]
        self.headers = {"Authorization": f"Bearer {found['access_token']}"}

    async def known_to_admin(self) -> None:
        await self.themselves()
        await self.admin()

    async def address(self) -> None:
        await self.themselves()
        found = await self.do("addresses_add")
        self.places["address_id"] = found["addresses"][0]["address_id"]


EXAMPLES: Mapping[str, Callable[[World], Awaitable[None]]] = {
    **dict.fromkeys(("auth_register", "coupons_issue", "categories_create"), World.nothing),
    **dict.fromkeys(("currency_rates_say", "sales_records_generate"), World.nothing),
    **dict.fromkeys(("users_create",), World.admin),
    "auth_login": World.registered,
    **dict.fromkeys(("auth_refresh", "auth_logout"), World.logged_in),
    **dict.fromkeys(("auth_password", "users_change", "addresses_add"), World.themselves),
    **dict.fromkeys(("users_role", "users_close"), World.known_to_admin),
    **dict.fromkeys(("addresses_change", "addresses_remove"), World.address),
    **dict.fromkeys(("categories_change", "categories_remove"), World.category),
    "products_create": World.kitchen,
    **dict.fromkeys(("products_change", "products_delist"), World.product),
    "products_relist": World.delisted,
    "variants_put": World.variant,
    "variants_remove": World.variants,
    **dict.fromkeys(("stock_receive", "stock_adjust", "stock_threshold"), World.product),
    "reviews_create": World.product_and_customer,
    **dict.fromkeys(("reviews_edit", "reviews_retract"), World.review),
    "reviews_moderate": World.review_and_staff,
    **dict.fromkeys(("coupons_change", "coupons_disable"), World.coupon),
    **dict.fromkeys(("tax_rates_set", "shipping_rates_set"), World.country),
    "calendar_plan": World.entry_id,
    "calendar_withdraw": World.planned,
    "experiments_start": World.nothing,
    "experiments_change": World.experiment,
    "carts_open": World.customer,
    "carts_add_line": World.cart,
    **dict.fromkeys(
        ("carts_change_line", "carts_remove_line", "carts_agree_to_prices", "carts_apply_coupon"),
        World.filled,
    ),
    "carts_remove_coupon": World.coupon_in_cart,
    "orders_place": World.product_and_customer,
    **dict.fromkeys(("orders_cancel", "orders_complete"), World.unpaid),
    "orders_ship": World.order,
    "orders_deliver": World.shipped,
    "orders_refund": World.paid,
    "orders_return": World.delivered,
}
"""What each operation's example needs."""


async def test_every_commands_example_is_carried_out(service: Service) -> None:
    schema = await described(service)
    commands = {one.told["operationId"] for one in operations(schema) if one.method != "get"}
    assert commands - ELSEWHERE == EXAMPLES.keys()
    async with httpx2.AsyncClient(base_url=service.api, timeout=60) as client:
        for name, prepare in EXAMPLES.items():
            world = World(service, client, schema)
            await prepare(world)
            await world.do(name, **world.changed)
