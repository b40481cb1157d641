"""A small shop's visitors, seeded: they look, fill carts, buy, and sometimes send things back.

What happens is a pure function of the seed; only the times at which it is sent are those of now.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from heapq import heappop, heappush
from random import Random
from typing import Any, NamedTuple

import httpx2

CURRENCY = "EUR"
COUNTRIES: Mapping[str, int] = {
    "DE": 34,
    "AT": 9,
    "CH": 8,
    "FR": 13,
    "NL": 10,
    "BE": 5,
    "IT": 7,
    "ES": 6,
    "PL": 4,
    "DK": 4,
}

_CENT = Decimal("0.01")
_SHOPPERS = 2_000
_AT_ONCE = 12
_FREE_SHIPPING = Decimal(60)
_SHIPPING = Decimal("4.90")
_COUPON, _COUPON_SHARE = "WELCOME10", Decimal("0.10")

_BATCH = 500
_MOST_BEHIND_SECONDS = 1.0
_TIMEOUT_SECONDS = 15.0
_RETRY_SECONDS = (0.25, 0.5, 1.0, 2.0, 5.0)

Happening = dict[str, Any]
"""An event as a client sends it, without its id and time."""


class Product(NamedTuple):
    product_id: str
    name: str
    category: str
    price: Decimal


class Basket(NamedTuple):
    """A product in a cart, and how many of it."""

    product: Product
    quantity: int


class Shopper(NamedTuple):
    person: str
    country: str


# What the shop sells, and to whom.

# Each with its usual price, which the seed varies.
_SHELVES: Mapping[str, str] = {
    "kitchen": "mug 9|teapot 38|bread knife 29|cutting board 24|salt mill 19|saucepan 45|whisk 8",
    "lighting": "desk lamp 59|floor lamp 129|pendant light 89|lantern 22|wall light 64|candle 6",
    "textiles": "blanket 69|cushion 25|tea towel 7|bath towel 19|rug 119|curtain 49|apron 18",
    "stationery": "notebook 8|fountain pen 28|pencil set 12|ink 9|letter tray 16|calendar 14",
    "garden": "watering can 27|trowel 11|herb pot 5|bird house 23|secateurs 31|gloves 12|twine 4",
    "toys": "train 26|building blocks 34|kite 17|puzzle 15|spinning top 7|marble run 42|doll 29",
    "bath": "soap 5|soap dish 12|bath brush 10|mirror 39|laundry basket 45|bath mat 22|comb 4",
    "furniture": "stool 79|side table 149|shelf 95|bench 189|coat rack 69|chair 139|ladder 89",
    "travel": "rucksack 75|suitcase 159|umbrella 25|water bottle 16|wash bag 21|luggage tag 6",
}
_COLOURS = ("Blue", "White", "Green", "Grey", "Red", "Black", "Sand", "Yellow")
_ENDINGS = ("0.00", "0.50", "0.90", "0.95")


def catalogue(rng: Random) -> list[Product]:
    """Some sixty products on nine shelves, the most wanted first."""
    products = [
        Product(
            f"{category}-{number}",
            f"{rng.choice(_COLOURS)} {item.rpartition(' ')[0]}",
            category,
            price_near(rng, int(item.rpartition(" ")[2])),
        )
        for category, items in _SHELVES.items()
        for number, item in enumerate(items.split("|"), 1)
    ]
    rng.shuffle(products)
    return products


def price_near(rng: Random, usual: int) -> Decimal:
    """Up to a fifth below or above, and as prices end."""
    return round(usual * rng.uniform(0.8, 1.2)) + Decimal(rng.choice(_ENDINGS))


def population(rng: Random) -> list[Shopper]:
    """Those who visit the shop again and again, known by a pseudonym."""
    countries = rng.choices([*COUNTRIES], [*COUNTRIES.values()], k=_SHOPPERS)
    return [Shopper(f"p-{number:04}", country) for number, country in enumerate(countries, 1)]


# What happens.


def happenings(rng: Random, run: str) -> Iterator[Happening]:
    """All that happens in the shop, without end: several visits at once, and what follows them."""
    products, shoppers = catalogue(rng), population(rng)
    numbers = itertools.count(1)
    visits: list[Iterator[Happening]] = []
    later: list[tuple[int, int, Happening]] = []
    ties = itertools.count()
    moment = 0
    while True:
        moment += 1
        if later and later[0][0] <= moment:
            yield heappop(later)[-1]
            continue
        while len(visits) < _AT_ONCE:
            name = f"{run}-{next(numbers)}"
            visits.append(visit(rng, products, rng.choice(shoppers), name))
        going = rng.choice(visits)
        happening = next(going, None)
        if happening is None:
            visits.remove(going)
            continue
        yield happening
        if happening["type"] == "OrderCompleted":
            for delay, follows in aftermath(rng, happening):
                heappush(later, (moment + delay, next(ties), follows))


def visit(
    rng: Random, products: Sequence[Product], shopper: Shopper, name: str
) -> Iterator[Happening]:
    """One visit, from the first product seen to the order, or to where it is given up."""
    cart: list[Basket] = []
    for product in looked_at(rng, products):
        seen = {**described(product), "currency": CURRENCY}
        yield happened("ProductViewed", shopper, shopper.person, seen)
        if rng.random() < 0.4:
            wanted = rng.choices((1, 2, 3, 4), (70, 18, 7, 5))[0]
            cart.append(Basket(product, wanted))
            added = {"cart_id": f"cart-{name}", **seen, "quantity": wanted}
            yield happened("ProductAdded", shopper, added["cart_id"], added)
    if not cart or rng.random() < 0.3:
        return
    order = order_of(rng, cart, shopper, f"S{name}")
    checkout = {key: order[key] for key in ("order_id", "currency", "country", "products")}
    yield happened(
        "CheckoutStarted", shopper, order["order_id"], checkout | {"value": order["revenue"]}
    )
    if rng.random() < 0.85:
        yield happened("OrderCompleted", shopper, order["order_id"], order)


def looked_at(rng: Random, products: Sequence[Product]) -> list[Product]:
    """A few products, each once, the most wanted more often (Zipf)."""
    weights = [1 / rank for rank in range(1, len(products) + 1)]
    return [*dict.fromkeys(rng.choices(products, weights, k=rng.randint(1, 7)))]


def order_of(
    rng: Random, cart: Sequence[Basket], shopper: Shopper, order_id: str
) -> dict[str, Any]:
    """A cart's contents as an order, with its sums."""
    subtotal = sum((line.product.price * line.quantity for line in cart), Decimal(0))
    discount = Decimal(0)
    if rng.random() < 0.1:
        discount = (subtotal * _COUPON_SHARE).quantize(_CENT, ROUND_HALF_UP)
    shipping = Decimal(0) if subtotal >= _FREE_SHIPPING else _SHIPPING
    order = {
        "order_id": order_id,
        "currency": CURRENCY,
        "country": shopper.country,
        "subtotal": str(subtotal),
        "revenue": str(subtotal - discount),
        "shipping": str(shipping),
        "total": str(subtotal - discount + shipping),
        "products": [described(line.product) | {"quantity": line.quantity} for line in cart],
    }
    return order | {"discount": str(discount), "coupon": _COUPON} if discount else order


def aftermath(rng: Random, completed: Happening) -> Iterator[tuple[int, Happening]]:
    """What follows an order, and how many happenings later."""
    order = completed["data"]
    order_id = order["order_id"]

    def follows(event_type: str, **data: Any) -> Happening:
        return {**completed, "type": event_type, "data": {"order_id": order_id, **data}}

    if rng.random() < 0.03:
        yield rng.randint(5, 40), follows("OrderCancelled", reason="changed mind")
        return
    shipped = rng.randint(20, 200)
    yield shipped, follows("OrderShipped", shipment_id=f"{order_id}-1")
    if rng.random() < 0.08:
        line = rng.choice(order["products"])
        returned = line | {"quantity": rng.randint(1, line["quantity"])}
        yield (
            shipped + rng.randint(20, 200),
            follows(
                "OrderRefunded",
                refund_id=f"{order_id}-R1",
                currency=order["currency"],
                country=order["country"],
                products=[returned],
            ),
        )


def described(product: Product) -> dict[str, Any]:
    return product._asdict() | {"price": str(product.price)}


def happened(event_type: str, shopper: Shopper, subject: str, data: dict[str, Any]) -> Happening:
    return {"type": event_type, "subject": subject, "person": shopper.person, "data": data}


# Sending it.


class Refused(Exception):
    """The API will not take what the simulator sends; the message says why."""


async def simulate(
    api: str,
    key: str,
    *,
    rate: float,
    seed: int,
    run_id: str,
    limit: int | None = None,
    on_sent: Callable[[int], None] = lambda _: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> int:
    """Plays the shop against a running API, `rate` events a second, until `limit`; how many.

    The same seed plays the same shop; another `run_id` gives every event and order another id.
    `on_sent` hears how many were acknowledged just now. Raises Refused where an event is.
    """
    events = itertools.islice(enumerate(happenings(Random(seed), f"{seed}-{run_id}"), 1), limit)
    gaps = Random(seed)
    sent, due = 0, clock()
    async with httpx2.AsyncClient(
        headers={"Authorization": f"Bearer {key}"}, timeout=_TIMEOUT_SECONDS, transport=transport
    ) as client:
        while True:
            # What an outage has held back is dropped: the shop goes on, it does not catch up.
            due = max(due, clock() - _MOST_BEHIND_SECONDS)
            count = 0
            while due <= clock() and count < _BATCH:
                due += gaps.expovariate(rate)
                count += 1
            if not count:
                await sleep(due - clock())
                continue
            stamp = now().isoformat()
            batch = [
                {"id": f"sim-{seed}-{run_id}-{number}", "time": stamp, **happening}
                for number, happening in itertools.islice(events, count)
            ]
            if not batch:
                return sent
            await _post(client, f"{api}/v1/events", batch, sleep)
            sent += len(batch)
            on_sent(len(batch))


async def _post(
    client: httpx2.AsyncClient,
    url: str,
    events: Sequence[Mapping[str, Any]],
    sleep: Callable[[float], Awaitable[object]],
) -> None:
    """Sends a batch until it is acknowledged, the same ids each time. Raises Refused."""
    for seconds in itertools.chain(_RETRY_SECONDS, itertools.repeat(_RETRY_SECONDS[-1])):
        try:
            answer = await client.post(url, json={"events": events})
        except (httpx2.NetworkError, httpx2.TimeoutException, httpx2.RemoteProtocolError):
            await sleep(seconds)
            continue
        if answer.status_code in (429, 503):
            await sleep(_retry_after(answer, seconds))
            continue
        if answer.status_code != 202:
            raise Refused(f"{url} answered {answer.status_code}: {answer.text[:500]}")
        if rejected := answer.json()["rejected"]:
            first = rejected[0]
            raise Refused(
                f"{len(rejected)} of {len(events)} events were rejected, the first because "
                f"{first['field']}: {first['reason']} ({events[first['index']]})"
            )
        return


def _retry_after(answer: httpx2.Response, otherwise: float) -> float:
    told = answer.headers.get("retry-after", "")
    return float(told) if told.isdecimal() else otherwise
