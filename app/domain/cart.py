"""A cart: what somebody is about to buy, at the prices that they have seen."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, get_args

import msgspec
from msgspec import Struct

from app.domain.aggregate import Aggregate, Told
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
from streams.money import Money


class Status(StrEnum):
    OPEN = "open"
    ABANDONED = "abandoned"
    """Nothing has happened to it for long; it is open again with the next change."""
    MERGED = "merged"
    CHECKED_OUT = "checked_out"


class CartLine(Struct, frozen=True, omit_defaults=True):
    """So many units of a variant, and what one of them cost when the shopper last saw it."""

    product_id: str
    variant: str
    name: str
    price: Money
    quantity: int
    category: str | None = None


class Cart(Struct, frozen=True, omit_defaults=True):
    """A customer's, or its guest's. All its lines are of one currency."""

    cart_id: str
    changed_at: datetime
    customer: str | None = None
    status: Status = Status.OPEN
    currency: str = ""
    lines: Sequence[CartLine] = ()
    coupon: str | None = None
    denials: int = 0
    order_id: str | None = None
    merged_into: str | None = None

    @property
    def is_closed(self) -> bool:
        """Whether it changes no more."""
        return self.status in (Status.MERGED, Status.CHECKED_OUT)

    def line(self, variant: str) -> CartLine | None:
        return next((line for line in self.lines if line.variant == variant), None)


CartEvent = (
    CartOpened
    | ProductAdded
    | ProductRemoved
    | CartRepriced
    | CouponApplied
    | CouponRemoved
    | CouponDenied
    | CartAbandoned
    | CartRevived
    | CartMerged
    | CartCheckedOut
)


def evolve(cart: Cart | None, told: Told) -> Cart:
    """The cart after one more event."""
    data = told.data
    if isinstance(data, CartOpened):
        return Cart(data.cart_id, told.at, told.person)
    assert cart is not None
    changed: dict[str, Any]
    match data:  # the first that fits: some events are special forms of later ones
        case ProductRemoved():
            changed = {"lines": _fewer(cart.lines, data)}
        case ProductAdded():
            changed = {"lines": _more(cart.lines, data), "currency": data.currency}
        case CartRepriced():
            changed = {"lines": _repriced(cart.lines, data.products)}
        case CouponRemoved():
            changed = {"coupon": None}
        case CouponApplied():
            changed = {"coupon": data.coupon_id}
        case CouponDenied():
            changed = {"denials": cart.denials + 1}
        case CartAbandoned():
            return msgspec.structs.replace(cart, status=Status.ABANDONED)
        case CartRevived():
            changed = {"status": Status.OPEN}
        case CartMerged():
            changed = {"status": Status.MERGED, "merged_into": data.into_cart_id}
        case CartCheckedOut():
            changed = {"status": Status.CHECKED_OUT, "order_id": data.order_id}
        case _:
            raise TypeError(type(data))
    return msgspec.structs.replace(cart, changed_at=told.at, **changed)


def _more(lines: Sequence[CartLine], added: ProductAdded) -> Sequence[CartLine]:
    """One line per variant, in the order in which they came; the latest price holds."""
    assert added.variant is not None
    assert added.price is not None
    there = {line.variant: line for line in lines}
    units = there[added.variant].quantity if added.variant in there else 0
    there[added.variant] = CartLine(
        added.product_id,
        added.variant,
        added.name or "",
        added.price,
        units + added.quantity,
        added.category,
    )
    return list(there.values())


def _fewer(lines: Sequence[CartLine], removed: ProductRemoved) -> Sequence[CartLine]:
    left = [
        msgspec.structs.replace(line, quantity=line.quantity - removed.quantity)
        if line.variant == removed.variant
        else line
        for line in lines
    ]
    return [line for line in left if line.quantity > 0]


def _repriced(lines: Sequence[CartLine], seen: Iterable[Line]) -> Sequence[CartLine]:
    prices = {line.variant: line.price for line in seen}
    return [
        msgspec.structs.replace(line, price=prices.get(line.variant, line.price)) for line in lines
    ]


def _cart_of(data: Any) -> str:
    return str(data.cart_id)


_ABOUT: Mapping[type[Data], Callable[[Any], str]] = dict.fromkeys(get_args(CartEvent), _cart_of)

CART = Aggregate("carts", Cart, evolve, _ABOUT)
