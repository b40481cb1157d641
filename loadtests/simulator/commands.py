"""Shopping by command: the same visits, but carts are filled and orders placed at the shop's own
till, beside visits of whom the storefront only tells. Both are booked alike, and meet in the
figures.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from random import Random
from typing import Any, NamedTuple
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx2

from loadtests.simulator import truth as truths
from loadtests.simulator.books import Books
from loadtests.simulator.send import Refused, post
from loadtests.simulator.shop import CURRENCY, Product, catalogue, population
from loadtests.simulator.truth import Sent, Truth
from loadtests.simulator.visits import Happening, aftermath, visit

AT_ONCE = 8
_STOCK = 1_000_000
_TRIES = 8
_TIMEOUT_SECONDS = 30.0


class Till(NamedTuple):
    """Where commands are given: the API, the shop, and what issues the staff's tokens."""

    api: str
    shop: str
    staff: Callable[[], str]


class Shopping:
    """Visits, of which a share buys by command, until there were so many happenings."""

    def __init__(
        self, client: httpx2.AsyncClient, till: Till, seed: int, share: float, zone: ZoneInfo
    ) -> None:
        self._client, self._till, self._share = client, till, share
        self._rng = Random(seed)
        self._run = f"{seed}-{secrets.token_hex(4)}"
        self._products, self._shoppers = catalogue(self._rng), population(self._rng)
        self.books = Books(zone)
        self.acknowledged: dict[str, int] = {}
        self.commands = self.facts = 0

    async def open(self) -> None:
        """Offers what is sold, unless that was done before."""
        for category in sorted({product.category for product in self._products}):
            told = {"category_id": category, "name": category.title()}
            await self._staff("POST", "/v1/categories", told, there=True)
        left = iter(self._products)

        async def offer() -> None:
            for product in left:
                await self._staff("POST", "/v1/products", _offered(product), there=True)

        await asyncio.gather(*(offer() for _ in range(AT_ONCE)))

    async def play(self, rate: float, limit: int, on_done: Callable[[int], None]) -> None:
        """Raises Refused."""
        begun, done = time.monotonic(), 0

        async def visitor() -> None:
            nonlocal done
            while done < limit:
                by_command = self._rng.random() < self._share
                steps = self._by_command() if by_command else self._told()
                async for _ in steps:
                    done += 1
                    on_done(1)
                    await asyncio.sleep(max(0.0, begun + done / rate - time.monotonic()))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(visitor())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    def _visit(self) -> Iterator[Happening]:
        name = f"{self._run}-{self._rng.getrandbits(48):012x}"
        return visit(self._rng, self._products, self._rng.choice(self._shoppers), name)

    # Visits that the storefront tells of.

    async def _told(self) -> AsyncIterator[None]:
        for happening in self._visit():
            await self._tell(happening)
            yield
            if happening["type"] == "OrderCompleted":
                for _, follows in aftermath(self._rng, happening):
                    await self._tell(follows)
                    yield

    async def _tell(self, happening: Happening) -> None:
        """Sends an event, and books what it means."""
        now = datetime.now(UTC)
        event = {"id": str(uuid4()), "time": now.isoformat(), **happening}
        for position in await post(self._client, self._till.api, [event], asyncio.sleep):
            partition, _, offset = str(position).rpartition(":")
            self.acknowledged[partition] = max(int(offset), self.acknowledged.get(partition, 0))
        self.facts += 1
        _book(self.books, happening["type"], happening["data"], now)

    # Visits that buy at the till.

    async def _by_command(self) -> AsyncIterator[None]:
        """Looks are told, carts and orders are commands."""
        cart: Mapping[str, Any] | None = None
        for happening in self._visit():
            match happening["type"]:
                case "ProductAdded":
                    cart = cart or await self._ask("POST", "/v1/carts", None, "")
                    path = f"/v1/carts/{cart['cart_id']}/lines"
                    await self._ask("POST", path, _wanted(happening["data"]), cart["token"])
                case "OrderCompleted" if cart is not None:
                    async for _ in self._buy(cart, happening):
                        yield
                    continue
                case "ProductViewed":
                    await self._tell(happening)
                case _:
                    continue
            yield

    async def _buy(self, cart: Mapping[str, Any], completed: Happening) -> AsyncIterator[None]:
        country = completed["data"]["country"]
        wanted = {
            "cart_id": cart["cart_id"],
            "payment_method": "cash_on_delivery",
            "country": country,
            "shipping_method": await self._shipping(cart, country),
        }
        order = await self._ask("POST", "/v1/orders", wanted, cart["token"])
        told = {
            "order_id": order["order_id"],
            "currency": order["currency"],
            "country": country,
            "products": order["lines"],
        }
        self.books.sold(datetime.fromisoformat(order["completed_at"]), told)
        yield
        for _, follows in aftermath(self._rng, completed | {"data": told}):
            await self._follow(order["order_id"], follows)
            yield

    async def _shipping(self, cart: Mapping[str, Any], country: str) -> str | None:
        """How the shop ships a cart to a country; None where it has told no rates."""
        path, to = f"/v1/carts/{cart['cart_id']}", {"country": country}
        seen = await self._ask("GET", path, None, cart["token"], query=to)
        methods = seen["shipping_methods"]
        return methods[0]["method"] if methods else None

    async def _follow(self, order_id: str, follows: Happening) -> None:
        """What the staff does with an order."""
        kind, data = follows["type"], follows["data"]
        if kind == "OrderRefunded":  # it is paid on delivery: before, there is nothing to give back
            await self._staff("POST", f"/v1/orders/{order_id}/deliver", None)
            self.books.stage(order_id, "delivered")
        path, body = {
            "OrderCancelled": ("cancel", {}),
            "OrderShipped": ("ship", {"shipment_id": data.get("shipment_id")}),
            "OrderRefunded": ("refunds", {"lines": [*map(_wanted, data.get("products", ()))]}),
        }[kind]
        answer = await self._staff("POST", f"/v1/orders/{order_id}/{path}", body)
        at = datetime.fromisoformat(answer["cancelled_at"]) if path == "cancel" else None
        _book(self.books, kind, data, at or datetime.now(UTC))

    # How it is asked.

    async def _staff(self, method: str, path: str, body: Any, *, there: bool = False) -> Any:
        return await self._ask(method, path, body, self._till.staff(), there=there)

    async def _ask(
        self,
        method: str,
        path: str,
        body: Any,
        token: str,
        *,
        there: bool = False,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """A command's answer, asked for under one key until there is one. Raises Refused."""
        headers = {"Idempotency-Key": str(uuid4()), "Authorization": f"Bearer {token}"}
        for tried in range(_TRIES):
            try:
                answer = await self._client.request(
                    method,
                    self._till.api + path,
                    params={"shop": self._till.shop, **(query or {})},
                    json=body,
                    headers=headers if token else {**headers, "Authorization": ""},
                )
            except (httpx2.HTTPError, OSError):
                await asyncio.sleep(0.25 * 2**tried)
                continue
            if "Retry-After" in answer.headers:
                await asyncio.sleep(float(answer.headers["Retry-After"]))
                continue
            if answer.is_success:
                self.commands += method != "GET"
                found = answer.json()
                self._note(found.get("position"))
                return found
            if there and answer.status_code == 409:
                return {}
            raise Refused(f"{method} {path}: {answer.text[:300]}")
        raise Refused(f"{method} {path} is not answered")

    def _note(self, position: str | None) -> None:
        """The last of the outbox: who waits for it has waited for all before."""
        if position is not None:
            last = int(position.rpartition(":")[2].rpartition("-")[2])
            self.acknowledged["outbox"] = max(last, self.acknowledged.get("outbox", 0))


def _offered(product: Product) -> dict[str, Any]:
    variant = {"id": product.product_id, "price": str(product.price), "stock": _STOCK}
    named = {"product_id": product.product_id, "name": product.name, "category": product.category}
    return {**named, "currency": CURRENCY, "variants": [variant]}


def _wanted(line: Mapping[str, Any]) -> dict[str, Any]:
    return {"variant": line["product_id"], "quantity": line["quantity"]}


def _book(books: Books, kind: str, data: Mapping[str, Any], at: datetime) -> None:
    """What something that happened means for the books."""
    match kind:
        case "OrderCompleted":
            books.sold(at, data)
        case "OrderCancelled":
            books.cancelled(at, data["order_id"])
        case "OrderShipped":
            books.stage(data["order_id"], "shipped")
        case "OrderRefunded":
            for line in data["products"]:
                given = line["product_id"], line["quantity"], line["price"]
                books.took_back(at, data["order_id"], *given)


def truth_of(shopping: Shopping, till: Till, seed: int, today: date, zone: ZoneInfo) -> Truth:
    """What every figure has to be, where nobody else has sold anything in this shop."""
    views = shopping.books.views()
    records = shopping.facts + shopping.commands
    return Truth(
        format=truths.FORMAT,
        seed=seed,
        days=2,
        until=today,
        visits=0,
        shop=till.shop,
        timezone=zone.key,
        events=records,
        events_by_type={},
        sent=Sent(
            records=records,
            disorder={},
            moved=0,
            late=0,
            duplicates=0,
            contradictions=[],
            by_topic={},
        ),
        digest=truths.digest(views),
        figures={
            name: [([*key], [*view[key]]) for key in sorted(view)] for name, view in views.items()
        },
        acknowledged=shopping.acknowledged,
    )


def client(key: str) -> httpx2.AsyncClient:
    """A client of the storefront, with its write key."""
    return httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=_TIMEOUT_SECONDS)
