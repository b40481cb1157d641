"""A person who has done everything is erased: nobody finds them, and no figure changes."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest
from aiokafka import TopicPartition

from app.api.access import Role
from app.commands.retold import check_states, shop_of
from app.folding import group_of, source_of
from app.settings import Settings
from app.subscriptions import GROUPS
from app.vault import Vault
from projections.postgres import connect, connect_alone
from projections.refold import offsets_of
from projections.verify import verify
from streams.exclusive import Connection
from streams.readback import log_ends
from tests.e2e import stores
from tests.e2e.people import PASSWORD, Person, log_in, registered
from tests.e2e.service import Service
from tests.e2e.test_commands import bearer, mug

ASKED = (
    "/v1/metrics/net?grain=total",
    "/v1/metrics/net?grain=day&by=product",
    "/v1/metrics/orders?grain=total",
    "/v1/metrics/new_customers?grain=day",
    "/v1/reports/acquisition",
    "/v1/reports/customer_segments",
    "/v1/reports/visitors?grain=total",
    "/v1/reports/funnel?grain=total",
    "/v1/reports/carts",
    "/v1/sales/revenue?grain=total",
)


class Whole:
    """Somebody, and all that is said of them."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.name, self.street = f"Ada{tag} Lovelace", f"{tag} Example Street"
        self.email, self.text = f"ada.{tag}@example.com", f"It leaks, says {tag}."
        self.query, self.visitor, self.cart = f"find {tag}", f"cookie-{tag}", f"shelf-{tag}"
        self.person: Person

    @property
    def secrets(self) -> list[str]:
        """What is nowhere in the clear, not even on the log."""
        return [self.name, self.street, self.email, self.text, self.query]

    async def lives(self, client: httpx2.AsyncClient, staff: dict[str, str]) -> None:
        """They register, look around, buy, write and go."""
        self.person = await registered(client, email=self.email, name=self.name)
        headers, tag = self.person.headers, self.tag
        home = {"name": self.name, "lines": [self.street], "city": "Berlin", "country": "DE"}
        posts: Sequence[tuple[str, Any, dict[str, str]]] = (
            ("/v1/products", mug(tag), staff),
            (
                "/v1/coupons",
                {"code": f"C-{tag}", "percent": "10", "limit_per_customer": 3},
                staff,
            ),
            (f"/v1/users/{self.person.user_id}/addresses", home, headers),
            (
                "/v1/orders",
                {
                    "lines": [{"variant": f"blue-{tag}", "quantity": 2}],
                    "payment_method": "cash_on_delivery",
                    "shipping_address": home,
                    "email": self.email,
                    "coupon": f"C-{tag}",
                },
                headers | {"Idempotency-Key": f"key-{tag}"},
            ),
            ("/v1/carts", {}, headers),
            (
                f"/v1/products/mug-{tag}/reviews",
                {"rating": 2, "review_body": self.text},
                headers,
            ),
        )
        for path, body, by in posts:
            answer = await client.post(path, json=body, headers=by)
            assert answer.status_code in (200, 201), (path, answer.text)
        told = await client.post("/v1/events", json=self._tracked())
        assert told.status_code == 202, told.text
        assert told.json()["rejected"] == []

    def _tracked(self) -> list[dict[str, Any]]:
        """What the storefront tells: before they are known, and afterwards."""
        product = {"product_id": f"mug-{self.tag}", "category": "kitchen", "price": "9.90"}
        known = {"subject": self.visitor, "person": self.person.user_id}
        in_cart = {"cart_id": self.cart, **product, "currency": "EUR"}
        sale = {
            "order_id": f"elsewhere-{self.tag}",
            "currency": "EUR",
            "country": "DE",
            "products": [{**product, "quantity": 3}],
        }
        return [
            {"type": "ProductViewed", "subject": self.visitor, "data": product},
            {"type": "ProductsSearched", "subject": self.visitor, "data": {"query": self.query}},
            {"type": "ProductViewed", **known, "data": product},
            {"type": "ProductsSearched", **known, "data": {"query": self.query}},
            {
                "type": "ProductAdded",
                "person": self.person.user_id,
                "context": {"visitor": self.visitor},
                "data": in_cart,
            },
            {"type": "OrderCompleted", "person": self.person.user_id, "data": sale},
        ]


async def settled(service: Service) -> None:
    """Until all that was said is on the log, and applied by every group."""
    settings = service.settings
    connection = await connect_alone(settings.servers.postgres, settings.schema_name)
    try:
        async with asyncio.timeout(60):
            while not await _applied(settings, connection):
                await asyncio.sleep(0.1)
    finally:
        await connection.close()


async def _applied(settings: Settings, connection: Connection) -> bool:
    if await connection.fetchval("SELECT count(*) FROM outbox WHERE acknowledged_at IS NULL"):
        return False
    for group in GROUPS:
        at = await offsets_of(connection, group, settings.schema_name)
        names = {TopicPartition(settings.prefix + p.topic, p.number): p for p in at}
        ends = await log_ends(settings.servers.kafka, list(names))
        if any(at[names[tp]] < end for tp, (_, end) in ends.items()):
            return False
    return True


async def figures(client: httpx2.AsyncClient) -> list[Any]:
    found = []
    for path in ASKED:
        answer = await client.get(path)
        assert answer.status_code == 200, answer.text
        found.append({k: v for k, v in answer.json().items() if k != "complete_to"})
    return found


async def rebuilt(client: httpx2.AsyncClient, path: str) -> None:
    async with asyncio.timeout(180):
        while True:
            answer = await client.get(path)
            assert answer.status_code == 200, answer.text
            if answer.json()["state"] == "done":
                return
            await asyncio.sleep(0.2)


async def differing(service: Service) -> dict[str, Any]:
    """What is not as the log tells, of figures and of states."""
    settings = service.settings
    checked = []
    for name in GROUPS:
        checked += await verify(group_of(settings, name), source_of(settings), [])
    async with await connect(settings.servers.postgres, settings.schema_name, size=2) as pool:
        checked += await check_states(shop_of(settings), Vault(pool))
    return {one.read_model: one.found.examples for one in checked if one.found.differing}


@pytest.fixture
async def ada(service: Service, tag: str) -> Whole:
    whole = Whole(tag)
    async with service.client() as client:
        await whole.lives(client, bearer(service))
    await settled(service)
    return whole


async def test_who_is_erased_is_found_nowhere_and_no_figure_changes(
    service: Service, ada: Whole
) -> None:
    whole = ada
    async with service.client() as client:
        before = await figures(client)
        user_id, headers = whole.person.user_id, whole.person.headers
        answer = await client.delete(f"/v1/customers/{user_id}/data", headers=headers)
        assert answer.status_code == 202, answer.text
        assert answer.json()["orders_under_way"] == 1
        assert await figures(client) == before
        assert (await client.get("/v1/users/me", headers=headers)).status_code == 401
        # Models know them until they are made anew: nobody is answered of them, before or after.
        staff = bearer(service, Role.STAFF, "clerk")
        for path in ("customers/{}/clv", "customers/{}/churn", "recommendations/{}"):
            asked = await client.get(f"/v1/{path.format(user_id)}", headers=staff)
            assert (asked.status_code, asked.json()["code"]) == (404, "unknown_customer")
        await rebuilt(client, answer.headers["Location"])
        assert await figures(client) == before
        assert await differing(service) == {}
        # Once more, by an admin: it is done already, and nothing else happens.
        admin = bearer(service, Role.ADMIN, "boss")
        again = await client.delete(f"/v1/customers/{user_id}/data", headers=admin)
        assert (again.status_code, again.headers["Location"]) == (202, answer.headers["Location"])
        # The door knows them no more, under whatever name.
        for named in (
            {"subject": whole.visitor},
            {"subject": "v", "person": user_id},
            {"subject": "v", "context": {"visitor": whole.visitor}},
        ):
            event = {"type": "ProductViewed", "data": {"product_id": "p"}, **named}
            refused = await client.post("/v1/events", json=event)
            assert refused.status_code == 422
            assert refused.json()["errors"][0]["reason"].startswith("erased")
        log_in_again = {"email": whole.email, "password": PASSWORD}
        assert (await client.post("/v1/auth/login", json=log_in_again)).status_code == 401
        renamed = await registered(client, email=whole.email)  # who comes back is somebody else
        assert renamed.user_id != user_id
        await client.delete("/v1/customers/me/data", headers=renamed.headers)
    everywhere = [*whole.secrets, user_id, renamed.user_id, whole.visitor]
    kept = [one async for one in stores.postgres(service)]
    kept += [one async for one in stores.redis(service)]
    found = stores.where([*kept, *stores.files(service)], everywhere)
    # The outbox is the log's last week: what it has is unreadable there as well.
    assert {name: at - {"outbox.event", "outbox.key"} for name, at in found.items()} == {
        name: set() for name in found
    }
    logged = [one async for one in stores.log(service)]
    assert stores.where(logged, whole.secrets) == {}
    assert stores.where(logged, [user_id]), "what is looked for is found where it is"


async def test_only_oneself_just_logged_in_or_an_admin(service: Service, tag: str) -> None:
    async with service.client() as client:
        one, other = await registered(client), await registered(client)
        path = f"/v1/customers/{one.user_id}/data"
        for headers, status in (
            (other.headers, 404),
            (bearer(service), 404),
            (bearer(service, Role.CUSTOMER, one.user_id), 403),  # of no log-in of just now
            ({"Authorization": ""}, 401),
        ):
            assert (await client.delete(path, headers=headers)).status_code == status
        admin = bearer(service, Role.ADMIN, f"a-{tag}")
        nobody = await client.delete(f"/v1/customers/nobody-{tag}/data", headers=admin)
        assert nobody.status_code == 404
        assert (await client.get(f"{path}/erasure", headers=admin)).status_code == 404
        assert (await log_in(client, one.email)).user_id == one.user_id
