"""Who comes into the shop and what they do there: look, fill a cart, buy, send things back."""

import itertools
from collections.abc import Container, Iterator, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from heapq import heappop, heappush
from random import Random
from typing import Any
from zlib import crc32

from loadtests.simulator.shop import CURRENCY, Basket, Product, Shopper, catalogue, population

_CENT = Decimal("0.01")
_AT_ONCE = 12
_FREE_SHIPPING = Decimal(60)
_SHIPPING = Decimal("4.90")
_SOURCES = ("search", "search", "direct", "newsletter", "spring-sale")
_ROBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
_COUPON, _COUPON_SHARE = "WELCOME10", Decimal("0.10")

Happening = dict[str, Any]
"""An event as a client sends it, without its id and time."""


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
            number, shopper = next(numbers), rng.choice(shoppers)
            visits.append(_came(visit(rng, products, shopper, f"{run}-{number}"), shopper, number))
        going = rng.choice(visits)
        happening = next(going, None)
        if happening is None:
            visits.remove(going)
            continue
        yield happening
        if happening["type"] == "OrderCompleted":
            for delay, follows in aftermath(rng, happening):
                heappush(later, (moment + delay, next(ties), follows))


def _came(visit: Iterator[Happening], shopper: Shopper, number: int) -> Iterator[Happening]:
    """A visit that says where it came from. Some are a robot's, who looks and buys nothing."""
    lot = crc32(b"%d" % number)
    context = {"source": _SOURCES[lot // 16 % len(_SOURCES)], "country": shopper.country}
    if lot % 16:
        for happening in visit:
            yield {**happening, "context": {**context, "visitor": shopper.person}}
        return
    robot = {**context, "user_agent": _ROBOT}
    for happening in visit:
        if happening["type"] == "ProductViewed":
            yield {**happening, "subject": f"robot-{number}", "person": None, "context": robot}


def visit(
    rng: Random,
    products: Sequence[Product],
    shopper: Shopper,
    name: str,
    currency: str = CURRENCY,
    sold_out: Container[str] = (),
) -> Iterator[Happening]:
    """One visit, from the first product seen to the order, or to where it is given up."""
    cart: list[Basket] = []
    for product in looked_at(rng, products):
        seen = {**described(product), "currency": currency}
        yield happened("ProductViewed", shopper, shopper.person, seen)
        if rng.random() < 0.4 and product.product_id not in sold_out:
            wanted = rng.choices((1, 2, 3, 4), (70, 18, 7, 5))[0]
            cart.append(Basket(product, wanted))
            added = {"cart_id": f"cart-{name}", **seen, "quantity": wanted}
            yield happened("ProductAdded", shopper, added["cart_id"], added)
    if not cart or rng.random() < 0.3:
        return
    order = order_of(rng, cart, shopper, f"S{name}", currency)
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
    rng: Random,
    cart: Sequence[Basket],
    shopper: Shopper,
    order_id: str,
    currency: str = CURRENCY,
) -> dict[str, Any]:
    """A cart's contents as an order, with its sums."""
    lines = [described(line.product) | {"quantity": line.quantity} for line in cart]
    named = {"order_id": order_id, "currency": currency, "country": shopper.country}
    return summed(named, lines, with_coupon=rng.random() < 0.1)


def summed(
    named: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], *, with_coupon: bool
) -> dict[str, Any]:
    """An order's lines and the sums that they make."""
    subtotal = sum((Decimal(line["price"]) * line["quantity"] for line in lines), Decimal(0))
    discount = Decimal(0)
    if with_coupon:
        discount = (subtotal * _COUPON_SHARE).quantize(_CENT, ROUND_HALF_UP)
    shipping = Decimal(0) if subtotal >= _FREE_SHIPPING else _SHIPPING
    order = {
        **named,
        "subtotal": str(subtotal),
        "revenue": str(subtotal - discount),
        "shipping": str(shipping),
        "total": str(subtotal - discount + shipping),
        "products": [*lines],
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
