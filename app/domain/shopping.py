"""What is decided about carts."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from app.domain.cart import Cart, CartLine, Status
from app.domain.offer import Offer
from app.domain.refusal import Conflict, Invalid, Refusal, Unknown
from streams.events import (
    CartAbandoned,
    CartCheckedOut,
    CartMerged,
    CartOpened,
    CartRepriced,
    CartRevived,
    CouponApplied,
    CouponDenied,
    CouponRemoved,
    Data,
    Line,
    ProductAdded,
    ProductRemoved,
)
from streams.money import LARGEST, Money

MOST_LINES = 100
MOST_UNITS = 100_000  # of one variant
MOST_DENIALS = 20  # then a cart tries no more coupons: their codes are not to be guessed


class Shopper(NamedTuple):
    """Who comes to a cart: its guest, by that cart's token, or somebody with an account."""

    guest_of: str | None = None
    customer: str | None = None

    def owns(self, cart: Cart) -> bool:
        if cart.customer is None:
            return self.guest_of == cart.cart_id
        return self.customer == cart.customer


def owned(cart: Cart | None, cart_id: str, shopper: Shopper) -> Cart:
    """The cart, if it is the shopper's. Raises Unknown: whose else it is is nobody's business."""
    if cart is None or not shopper.owns(cart):
        raise Unknown("unknown", f"there is no cart {cart_id!r}", "cart_id")
    return cart


class Change(NamedTuple):
    """A line whose variant costs something else now than the shopper has seen."""

    variant: str
    seen: Money
    price: Money


def open_cart(cart_id: str) -> list[Data]:
    """An empty one; told of the customer, if it is one's."""
    return [CartOpened(cart_id=cart_id)]


def add(
    cart: Cart,
    offer: Offer,
    currency: str,
    available: int,
    recommendation_id: str | None = None,
) -> list[Data]:
    """More units of a variant, at its present price, which holds for those that are there as well;
    with the recommendation that led to it, if one did.

    Raises Conflict, Invalid.
    """
    _check_open(cart)
    if offer.quantity < 1:
        raise Invalid("quantity", "expected one or more", "quantity")
    if cart.lines and cart.currency != currency:
        raise Conflict(
            "currency", f"this cart is in {cart.currency}, that is sold in {currency}", "variant"
        )
    there = cart.line(offer.variant)
    if there is None and len(cart.lines) >= MOST_LINES:
        raise Conflict("too_many", f"a cart has {MOST_LINES} lines at most", "variant")
    _check_quantity(offer, offer.quantity + (there.quantity if there else 0), available)
    added = _added(cart, offer, currency, offer.quantity)
    added = msgspec.structs.replace(added, recommendation_id=recommendation_id)
    return [*_revived(cart), added]


def change(
    cart: Cart, offer: Offer | None, variant: str, quantity: int, available: int
) -> list[Data]:
    """Another quantity of a variant that is there. No offer is needed for fewer of it: what is not
    for sale any more can be taken out. Raises Unknown, Conflict, Invalid."""
    _check_open(cart)
    line = _there(cart, variant)
    if quantity < 1:
        raise Invalid("quantity", "expected one or more: delete the line to have none", "quantity")
    if quantity == line.quantity:
        return []
    if quantity < line.quantity:
        return [*_revived(cart), _removed(cart, line, line.quantity - quantity)]
    if offer is None:
        raise Conflict("delisted", f"{line.name} is not for sale any more", "variant")
    _check_quantity(offer, quantity, available)
    return [*_revived(cart), _added(cart, offer, cart.currency, quantity - line.quantity)]


def remove(cart: Cart, variant: str) -> list[Data]:
    """All of a variant. Raises Unknown, Conflict."""
    _check_open(cart)
    line = _there(cart, variant)
    return [*_revived(cart), _removed(cart, line, line.quantity)]


def changes(cart: Cart, prices: Mapping[str, Money]) -> list[Change]:
    """The lines whose price is another one now, given the present ones by variant."""
    return [
        Change(line.variant, line.price, prices[line.variant])
        for line in cart.lines
        if line.variant in prices and prices[line.variant] != line.price
    ]


def reprice(cart: Cart, prices: Mapping[str, Money]) -> list[Data]:
    """The shopper agrees to the present prices. Raises Conflict."""
    _check_open(cart)
    changed = {change.variant: change.price for change in changes(cart, prices)}
    lines = [
        msgspec.structs.replace(_line(line), price=changed[line.variant])
        for line in cart.lines
        if line.variant in changed
    ]
    return [*_revived(cart), CartRepriced(cart_id=cart.cart_id, products=lines)] if lines else []


def apply_coupon(
    cart: Cart, code: str, denied: Refusal | None, discount: Money | None = None
) -> list[Data]:
    """A coupon that is good for these lines instead of the one that is there.

    `denied` is why it is not, as the coupon says. Raises that, Conflict.
    """
    _check_open(cart)
    if cart.denials >= MOST_DENIALS:
        raise Conflict("too_many", "too many coupons were tried", "coupon")
    if not cart.lines:
        raise Conflict("empty", "there is nothing in this cart that it could be for", "coupon")
    if denied is not None:
        raise denied
    if cart.coupon == code:
        return []
    applied = CouponApplied(cart_id=cart.cart_id, coupon_id=code, discount=discount)
    return [*_revived(cart), *_coupon_removed(cart), applied]


def deny_coupon(cart: Cart, code: str, reason: str) -> list[Data]:
    """Notes that a coupon was not taken. Raises Conflict."""
    _check_open(cart)
    if cart.denials >= MOST_DENIALS:
        return []
    denied = CouponDenied(cart_id=cart.cart_id, coupon_id=code, reason=reason)
    return [*_revived(cart), denied]


def remove_coupon(cart: Cart) -> list[Data]:
    """Raises Unknown, Conflict."""
    _check_open(cart)
    if cart.coupon is None:
        raise Unknown("unknown", "this cart has no coupon", "coupon")
    return [*_revived(cart), *_coupon_removed(cart)]


def merge(guests: Cart, own: Cart) -> list[Data]:
    """What was in a guest's open cart is in the account's from now on, quantities added up.

    It never fails, for that would keep somebody from logging in: what is too much is left out. Of
    two currencies, that of the cart which they have just filled holds.
    """
    foreign = bool(own.lines) and own.currency != guests.currency
    gone = list(own.lines) if foreign else []
    kept = {} if foreign else {line.variant: line.quantity for line in own.lines}
    added: list[Data] = []
    for line in guests.lines:
        units = min(line.quantity, MOST_UNITS - kept.get(line.variant, 0))
        if units > 0 and (line.variant in kept or len(kept) < MOST_LINES):
            kept[line.variant] = kept.get(line.variant, 0) + units
            added.append(_added(own, _offer(line), guests.currency, units))
    coupon: list[Data] = []
    if guests.coupon and own.coupon is None:
        coupon = [CouponApplied(cart_id=own.cart_id, coupon_id=guests.coupon)]
    return [
        *_revived(own),
        *(_removed(own, line, line.quantity) for line in gone),
        *added,
        *coupon,
        *_revived(guests),
        CartMerged(cart_id=guests.cart_id, into_cart_id=own.cart_id),
    ]


def check_out(cart: Cart, order_id: str) -> list[Data]:
    """The cart has become an order, and changes no more. Raises Conflict."""
    _check_open(cart)
    if not cart.lines:
        raise Conflict("empty", "there is nothing in this cart", "cart_id")
    return [*_revived(cart), CartCheckedOut(cart_id=cart.cart_id, order_id=order_id)]


def check_prices(cart: Cart, prices: Mapping[str, Money]) -> None:
    """Before it is checked out: nobody pays a price that they have not seen. Raises Conflict."""
    if changed := changes(cart, prices):
        told = ", ".join(f"{one.variant} {one.seen} → {one.price}" for one in changed)
        raise Conflict(
            "prices_changed",
            f"prices have changed: {told}; agree to them, and order again",
            "lines",
        )


def abandon(cart: Cart, now: datetime, silence: timedelta) -> list[Data]:
    """Notes that nothing has happened to a filled cart for so long; once, until it is revived."""
    if cart.status is not Status.OPEN or not cart.lines or now - cart.changed_at < silence:
        return []
    return [
        CartAbandoned(
            cart_id=cart.cart_id,
            products=[_line(line) for line in cart.lines],
            value=_value(cart.lines),
            currency=cart.currency,
        )
    ]


def _value(lines: Iterable[CartLine]) -> Money:
    """What lines cost as they were shown; no more than an event can say."""
    return Money(min(sum(line.price * line.quantity for line in lines), LARGEST))


def _check_open(cart: Cart) -> None:
    if cart.is_closed:
        became = "was ordered" if cart.status is Status.CHECKED_OUT else "is part of another one"
        raise Conflict("closed", f"this cart {became}", "cart_id")


def _check_quantity(offer: Offer, quantity: int, available: int) -> None:
    if quantity > MOST_UNITS:
        raise Invalid("too_many", f"{MOST_UNITS:,} units of one variant at most", "quantity")
    if offer.price * quantity > LARGEST:
        raise Invalid("too_much", "more than an order can be worth", "quantity")
    if quantity > available:
        reason = f"{available} of {offer.variant!r} are available, {quantity} were asked for"
        raise Conflict("out_of_stock", reason, "quantity")


def _there(cart: Cart, variant: str) -> CartLine:
    if found := cart.line(variant):
        return found
    raise Unknown("unknown", f"there is no {variant!r} in this cart", "variant")


def _revived(cart: Cart) -> list[Data]:
    return [CartRevived(cart_id=cart.cart_id)] if cart.status is Status.ABANDONED else []


def _coupon_removed(cart: Cart) -> list[Data]:
    return [CouponRemoved(cart_id=cart.cart_id, coupon_id=cart.coupon)] if cart.coupon else []


def _offer(line: CartLine) -> Offer:
    return Offer(line.product_id, line.variant, line.name, line.price, line.quantity, line.category)


def _added(cart: Cart, offer: Offer, currency: str, units: int) -> ProductAdded:
    return ProductAdded(
        cart_id=cart.cart_id,
        product_id=offer.product_id,
        variant=offer.variant,
        name=offer.name,
        category=offer.category,
        price=offer.price,
        currency=currency,
        quantity=units,
    )


def _removed(cart: Cart, line: CartLine, units: int) -> ProductRemoved:
    added = _added(cart, _offer(line), cart.currency, units)
    return ProductRemoved(**msgspec.structs.asdict(added))


def _line(line: CartLine) -> Line:
    return Line(
        product_id=line.product_id,
        variant=line.variant,
        name=line.name,
        category=line.category,
        price=line.price,
        quantity=line.quantity,
    )
