"""A shop of a test's own, with what its staff and its customers do over HTTP."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx2

from app.api.access import Role
from tests.e2e.service import Service
from tests.e2e.test_commands import bearer

ADDRESS = {"name": "Ada Lovelace", "lines": ["1 Example Street"], "city": "Berlin", "country": "DE"}
TABLES = ("products", "stock", "coupons", "carts", "accounts", "shop_orders")

Headers = Mapping[str, str]


@dataclass
class Counter:
    """One shop, seen over the API."""

    service: Service
    client: httpx2.AsyncClient
    shop: str

    def by(self, role: Role = Role.STAFF, id: str = "s-1") -> dict[str, str]:  # noqa: A002
        """Somebody's headers."""
        return bearer(self.service, role, id, self.shop)

    def customer(self, id: str = "u-1") -> dict[str, str]:  # noqa: A002
        return self.by(Role.CUSTOMER, id)

    async def send(
        self, method: str, path: str, body: Any = None, headers: Headers | None = None
    ) -> httpx2.Response:
        """A request, of the staff where nobody else is named."""
        return await self.client.request(
            method,
            path,
            params={"shop": self.shop},
            json=body,
            headers=self.by() if headers is None else headers,
        )

    async def get(
        self, path: str, headers: Headers | None = None, **params: Any
    ) -> httpx2.Response:
        return await self.client.get(
            path,
            params={"shop": self.shop, **params},
            headers=self.by() if headers is None else headers,
        )

    async def post(
        self, path: str, body: Any = None, headers: Headers | None = None
    ) -> httpx2.Response:
        return await self.send("POST", path, body, headers)

    async def done(
        self, path: str, body: Any = None, headers: Headers | None = None, method: str = "POST"
    ) -> Any:
        """What a command that is carried out answers."""
        answer = await self.send(method, path, body, headers)
        assert answer.is_success, answer.text
        return answer.json()

    async def lists(
        self, variant: str, price: str = "9.90", stock: int = 50, **changed: Any
    ) -> None:
        """A product with one variant of the same id."""
        product = {
            "product_id": variant,
            "name": variant.title(),
            "currency": "EUR",
            "variants": [{"id": variant, "price": price, "stock": stock}],
        }
        await self.done("/v1/products", product | changed)

    async def orders(
        self, lines: Mapping[str, int], headers: Headers | None = None, **changed: Any
    ) -> Any:
        """A new order of a customer, to be paid on delivery."""
        return await self.done("/v1/orders", wish(lines, **changed), headers or self.customer())

    async def changes(self, order: Any, what: str, **told: Any) -> Any:
        """An order after what the staff has done with it."""
        return await self.done(f"/v1/orders/{order['order_id']}/{what}", told)

    async def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """All states of the shop, and how many events have ever waited for the log."""
        async with self.database() as database:
            found = {
                table: [
                    tuple(row)
                    for row in await database.fetch(
                        f"SELECT id, version, state FROM {table} WHERE shop = $1 ORDER BY id",
                        self.shop,
                    )
                ]
                for table in TABLES
            }
            told = await database.fetchval(
                "SELECT count(*) FROM outbox WHERE convert_from(event, 'UTF8') LIKE $1",
                f'%"shop":"{self.shop}"%',
            )
        return found | {"outbox": [(told,)]}

    async def stock(self) -> dict[str, tuple[int, int]]:
        """Units in the house and those reserved, by variant."""
        async with self.database() as database:
            rows = await database.fetch(
                "SELECT id, coalesce((state->>'on_hand')::int, 0) AS on_hand, "
                "coalesce((state->>'reserved_units')::int, 0) AS reserved "
                "FROM stock WHERE shop = $1",
                self.shop,
            )
        return {row["id"]: (row["on_hand"], row["reserved"]) for row in rows}

    @asynccontextmanager
    async def database(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        settings = self.service.settings
        database = await asyncpg.connect(
            settings.servers.postgres,
            server_settings={"search_path": f'"{settings.schema_name}"'},
        )
        try:
            yield database
        finally:
            await database.close()


def wish(lines: Mapping[str, int], **changed: Any) -> dict[str, Any]:
    """An order as it is asked for."""
    return {
        "lines": [{"variant": variant, "quantity": units} for variant, units in lines.items()],
        "payment_method": "cash_on_delivery",
        "shipping_address": ADDRESS,
        **changed,
    }


@asynccontextmanager
async def counter(service: Service, shop: str) -> AsyncIterator[Counter]:
    """A shop without anything in it."""
    async with httpx2.AsyncClient(
        base_url=service.api, timeout=60, limits=httpx2.Limits(max_connections=250)
    ) as client:
        yield Counter(service, client, shop)
