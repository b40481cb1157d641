"""What shoppers do with their carts."""

from collections.abc import Sequence
from datetime import timedelta

from app.commands.execute import Answer, Call, check_version
from app.commands.work import Raced, Work
from app.domain import coupon as coupons
from app.domain import shopping
from app.domain.cart import CART, Cart
from app.domain.coupon import COUPON, code_of
from app.domain.pricing import price
from app.domain.shopping import Shopper, owned
from app.queries.carts import as_shown
from app.queries.quote import found, offered, on_sale, prices
from streams.events import Data


async def open_cart(work: Work, customer: str | None) -> Answer:
    """A new cart; a customer has one alone, and gets the one that is there."""
    there = await cart_of(work, customer) if customer is not None else None
    if there is not None:
        cart = _still_open(await work.find(CART, there))
        return Answer(as_shown(cart), 200, work.version(CART, there), f"/v1/carts/{there}")
    cart_id = work.new_secret()
    await work.find(CART, cart_id)
    work.tell(*shopping.open_cart(cart_id), person=customer)
    return _answer(work, cart_id)._replace(status=201, location=f"/v1/carts/{cart_id}")


async def add_line(
    work: Work,
    call: Call,
    cart_id: str,
    shopper: Shopper,
    variant: str,
    quantity: int,
    recommendation_id: str | None = None,
) -> Answer:
    """More units of a variant, at its present price."""
    cart = await _owned(work, call, cart_id, shopper)
    sale = found(await on_sale(work, [variant], priced=False), variant)
    offer = sale.offer(variant, quantity)
    added = shopping.add(cart, offer, sale.product.currency, sale.available, recommendation_id)
    return _told(work, cart, added)


async def change_line(
    work: Work, call: Call, cart_id: str, shopper: Shopper, variant: str, quantity: int
) -> Answer:
    """Another quantity of a variant that is in the cart."""
    cart = await _owned(work, call, cart_id, shopper)
    sales = await on_sale(work, [variant], priced=False)
    offers = offered(sales, [(variant, quantity)])
    available = sales[variant].available if offers else 0
    offer = offers[0] if offers else None
    return _told(work, cart, shopping.change(cart, offer, variant, quantity, available))


async def remove_line(
    work: Work, call: Call, cart_id: str, shopper: Shopper, variant: str
) -> Answer:
    """All units of a variant, out of the cart."""
    cart = await _owned(work, call, cart_id, shopper)
    return _told(work, cart, shopping.remove(cart, variant))


async def agree_to_prices(work: Work, call: Call, cart_id: str, shopper: Shopper) -> Answer:
    """The present prices, where they are others than the shopper was shown."""
    cart = await _owned(work, call, cart_id, shopper)
    sales = await on_sale(work, [line.variant for line in cart.lines], priced=False)
    return _told(work, cart, shopping.reprice(cart, prices(sales)))


async def apply_coupon(work: Work, call: Call, cart_id: str, shopper: Shopper, told: str) -> Answer:
    """A coupon for what is in the cart. It is redeemed when an order is placed with it."""
    cart = await _owned(work, call, cart_id, shopper)
    code = code_of(told)
    coupon = (await work.look(COUPON, [code])).get(code)
    sales = await on_sale(work, [line.variant for line in cart.lines])
    offers = offered(sales, [(line.variant, line.quantity) for line in cart.lines])
    denied = coupons.refusal(
        coupon, offers, currency=cart.currency, customer=cart.customer, now=work.now
    )
    discount = None
    if denied is None:
        totals = price(
            offers,
            currency=cart.currency,
            country="",
            coupon=coupon,
            taxes=None,
            shipping=None,
            now=work.now,
        )
        discount = totals.discount
    return _told(work, cart, shopping.apply_coupon(cart, code, denied, discount))


async def deny_coupon(work: Work, cart_id: str, shopper: Shopper, told: str, reason: str) -> Answer:
    """Notes that a coupon was not taken: a shop wants to know which ones are tried in vain."""
    cart = owned(await work.find(CART, cart_id), cart_id, shopper)
    return _told(work, cart, shopping.deny_coupon(cart, code_of(told), reason))


async def remove_coupon(work: Work, call: Call, cart_id: str, shopper: Shopper) -> Answer:
    """The cart without its coupon."""
    cart = await _owned(work, call, cart_id, shopper)
    return _told(work, cart, shopping.remove_coupon(cart))


async def merge_carts(work: Work, guests_cart: str, customer: str) -> str | None:
    """Puts what is in a guest's cart into the customer's, who has just logged in with its token;
    the customer's cart, if there is one now. Never refuses."""
    own_cart = await cart_of(work, customer)
    new_cart = work.new_secret()
    carts = await work.load(CART, [guests_cart, own_cart or new_cart])
    guests = carts.get(guests_cart)
    if guests is None or guests.customer is not None or not guests.lines or guests.is_closed:
        return own_cart
    if own_cart is not None:
        _still_open(carts.get(own_cart))
    else:
        work.tell(*shopping.open_cart(new_cart), person=customer)
    own = work.state(CART, own_cart or new_cart)
    work.tell(*shopping.merge(guests, own), person=customer)
    return own.cart_id


async def abandon_cart(work: Work, cart_id: str, silence: timedelta) -> Answer:
    """Notes that nothing has happened to a cart for so long, if that is still so."""
    cart = await work.get(CART, cart_id)
    return _told(work, cart, shopping.abandon(cart, work.now, silence))


async def cart_of(work: Work, customer: str) -> str | None:
    """The open cart of a customer."""
    there: str | None = await work.connection.fetchval(
        "SELECT id FROM carts WHERE shop = $1 AND customer = $2 "
        "AND status IN ('open', 'abandoned')",
        work.shop,
        customer,
    )
    return there


def _still_open(cart: Cart | None) -> Cart:
    """A customer's cart, which was open when it was looked for. Raises Raced where it was ordered
    before it was locked: then there is another one, or none."""
    if cart is None or cart.is_closed:
        raise Raced
    return cart


async def _owned(work: Work, call: Call, cart_id: str, shopper: Shopper) -> Cart:
    """Locks a shopper's cart at the version that they have seen. Raises Unknown, Stale."""
    cart = owned(await work.find(CART, cart_id), cart_id, shopper)
    check_version(call, work.version(CART, cart_id))
    return cart


def _told(work: Work, cart: Cart, events: Sequence[Data]) -> Answer:
    work.tell(*events, person=cart.customer)
    return _answer(work, cart.cart_id)


def _answer(work: Work, cart_id: str) -> Answer:
    return Answer(as_shown(work.state(CART, cart_id)), version=work.version(CART, cart_id))
