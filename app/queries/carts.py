"""A cart as it stands now: with the present prices, what is there of it, and what it comes to."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from app.commands.execute import shown
from app.domain import coupon as coupons
from app.domain.cart import CART, Cart, CartLine
from app.domain.coupon import COUPON, Coupon
from app.domain.offer import Offer
from app.domain.pricing import price
from app.domain.refusal import Refusal
from app.domain.shopping import Shopper, owned
from app.queries.quote import OnSale, offered, on_sale, quote, shipping_methods
from app.queries.states import States


class Destination(NamedTuple):
    """Where it would be sent to, and by what method, if that is known."""

    country: str
    method: str | None = None


async def cart_now(
    states: States, cart_id: str, shopper: Shopper, to: Destination | None, now: datetime
) -> tuple[dict[str, Any], int]:
    """A shopper's cart and its version. Raises Unknown, Invalid."""
    there = await states.find(CART, cart_id)
    cart = owned(there[0] if there else None, cart_id, shopper)
    sales = await on_sale(states, [line.variant for line in cart.lines])
    offers = offered(sales, [(line.variant, line.quantity) for line in cart.lines])
    coupon, denied = await _coupon(states, cart, offers, now)
    plain = price(
        offers,
        currency=cart.currency,
        country="",
        coupon=coupon,
        taxes=None,
        shipping=None,
        now=now,
    )
    body = {
        **as_shown(cart),
        "lines": [_line_now(line, sales.get(line.variant)) for line in cart.lines],
        "subtotal": str(plain.subtotal),
        "discount": str(plain.discount),
    }
    if denied:
        body["coupon_denied"] = {"code": denied.code, "reason": denied.reason}
    if to:
        body |= await _sent(states, cart, offers, coupon, to, now)
    assert there is not None
    return body, there[1]


def as_shown(cart: Cart) -> dict[str, Any]:
    """A cart as its shopper sees it."""
    found = {
        "cart_id": cart.cart_id,
        "status": cart.status.value,
        "currency": cart.currency,
        "lines": [],
        **shown(cart),
    }
    found.pop("denials", None)
    return found


async def _coupon(
    states: States, cart: Cart, offers: list[Offer], now: datetime
) -> tuple[Coupon | None, Refusal | None]:
    """The cart's coupon if it still holds, else why it does not."""
    if cart.coupon is None:
        return None, None
    coupon = (await states.look(COUPON, [cart.coupon])).get(cart.coupon)
    denied = coupons.refusal(
        coupon, offers, currency=cart.currency, customer=cart.customer, now=now
    )
    return (None, denied) if denied else (coupon, None)


def _line_now(line: CartLine, sale: OnSale | None) -> Mapping[str, Any]:
    """`price` is what it costs now, `seen_price` what the shopper was shown when it was added."""
    now = sale.price(line.variant) if sale else None
    available = sale.available if sale and now is not None else 0
    changed = [
        *(["delisted"] if now is None else []),
        *(["price"] if now is not None and now != line.price else []),
        *(["out_of_stock"] if now is not None and available < line.quantity else []),
    ]
    return {
        **shown(line),
        "price": None if now is None else str(now),
        "seen_price": str(line.price),
        "available": available,
        "changed": changed,
    }


async def _sent(
    states: States,
    cart: Cart,
    offers: list[Offer],
    coupon: Coupon | None,
    to: Destination,
    now: datetime,
) -> dict[str, Any]:
    """What it comes to in a country, and by what it can be sent there. No totals before a method
    is chosen, where there is a choice to make."""
    methods = await shipping_methods(states, to.country, cart.currency)
    found: dict[str, Any] = {"shipping_methods": [shown(rate) for rate in methods]}
    if methods and to.method is None:
        return found
    totals = await quote(
        states,
        offers,
        currency=cart.currency,
        country=to.country,
        coupon=coupon,
        method=to.method,
        now=now,
    )
    return {**found, "country": to.country, "totals": shown(totals)}
