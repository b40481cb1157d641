"""Giving back: cancelled before it is shipped, returned afterwards, refunded in part or whole.

What is given back of an order's lines, shipping and taxes is decided here, and with it what the
shopper is paid back: by the provider where they paid by card, else by hand, and nothing of what
they have not paid.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import Struct

from app.domain.currency import due, minor_unit
from app.domain.order import (
    COMPLETED,
    DELIVERED,
    PLACED,
    RETURNED,
    SHIPPED,
    Order,
    OrderLine,
    must_be,
    product_of,
)
from app.domain.payment import NOTHING
from app.domain.refusal import Conflict, Invalid, Refusal, Unknown, together
from streams.events import (
    Data,
    Line,
    OrderCancelled,
    OrderRefunded,
    OrderReturned,
    PaymentRefunded,
    RefundRequested,
    RefundShare,
)
from streams.money import Money, allocate


class Wanted(Struct, frozen=True):
    """What is to be given back: units of lines, shipping, both; or an amount; or (none) all."""

    units: Mapping[str, int] = {}
    shipping: bool = False
    amount: Money | None = None

    @property
    def all(self) -> bool:
        return not self.units and not self.shipping and self.amount is None


_Count = Callable[[OrderLine], int]


class _Parts(Struct, frozen=True):
    """One refund, taken apart."""

    shares: Sequence[RefundShare]
    shipping: Money = NOTHING
    shipping_tax: Money = NOTHING

    @property
    def goods(self) -> Money:
        return Money(sum(share.amount for share in self.shares))

    @property
    def tax(self) -> Money:
        return Money(sum(share.tax for share in self.shares) + self.shipping_tax)

    @property
    def total(self) -> Money:
        return Money(self.goods + self.tax + self.shipping)


def cancel(order: Order, refund_id: str, reason: str | None = None) -> list[Data]:
    """Nothing of it is shipped, and all that was paid is paid back. Raises Conflict."""
    must_be(order, PLACED, COMPLETED)
    cancelled = OrderCancelled(
        order_id=order.order_id, total=order.left, currency=order.currency, reason=reason
    )
    return [cancelled, *_paid_back(order, refund_id, order.due)]


def refund(order: Order, refund_id: str, wanted: Wanted, reason: str | None = None) -> list[Data]:
    """Gives back what was paid, in part or whole. Units refunded before they were shipped will not
    be. Raises Conflict, Invalid, Unknown."""
    must_be(order, COMPLETED, SHIPPED, DELIVERED, RETURNED)
    if order.payment.paid_at is None:
        raise Conflict("unpaid", "there is nothing to give back: it is not paid yet", "status")
    return _refunded(order, refund_id, wanted, reason)


def take_back(
    order: Order,
    return_id: str,
    units: Mapping[str, int],
    *,
    restock: bool,
    refund: bool,
    shipping: bool = False,
    reason: str | None = None,
) -> list[Data]:
    """Units have come back to the shop: all where none are named. `refund` gives back what was not
    refunded of them before, and `shipping` that too. Raises Conflict, Invalid, Unknown."""
    must_be(order, SHIPPED, DELIVERED)
    if not units:
        units = {line.variant: back for line in order.lines if (back := _outside(line))}
    _check(order, units, _outside, "came out of the shop")
    returned = OrderReturned(
        order_id=order.order_id,
        return_id=return_id,
        products=[
            product_of(line, units[line.variant]) for line in order.lines if line.variant in units
        ],
        restocked=restock,
        reason=reason,
    )
    if not refund:
        return [returned]
    left = {
        line.variant: some
        for line in order.lines
        if (some := min(units.get(line.variant, 0), line.left_units))
    }
    if not order.left or not (left or (shipping and order.left_shipping)):
        return [returned]
    return [returned, *_refunded(order, return_id, Wanted(left, shipping), reason)]


def _outside(line: OrderLine) -> int:
    return line.to_ship - line.returned_units


def _left_units(line: OrderLine) -> int:
    return line.left_units


def _check(order: Order, units: Mapping[str, int], most: _Count, what: str) -> None:
    """Raises Unknown, Invalid, Conflict, for all lines together."""
    faults: list[Refusal] = []
    for place, (variant, quantity) in enumerate(units.items()):
        line = order.line(variant)
        if line is None:
            reason = f"the order has no {variant!r}"
            faults.append(Unknown("unknown", reason, f"lines.{place}.variant"))
        elif quantity < 1:
            faults.append(Invalid("units", "expected one at least", f"lines.{place}.quantity"))
        elif quantity > most(line):
            reason = f"{most(line)} of {variant!r} {what}, not {quantity}"
            faults.append(Conflict("too_many", reason, f"lines.{place}.quantity"))
    if faults:
        raise together(faults)


# What one refund is made of.


def _refunded(order: Order, refund_id: str, wanted: Wanted, reason: str | None) -> list[Data]:
    parts = _parts(order, wanted)
    of_units = any(share.quantity for share in parts.shares)
    told = OrderRefunded(
        order_id=order.order_id,
        refund_id=refund_id,
        products=_products(order, parts.shares) if of_units else [],
        revenue=parts.goods,
        tax=parts.tax,
        shipping=parts.shipping,
        shipping_tax=parts.shipping_tax,
        total=parts.total,
        currency=order.currency,
        shares=[share for share in parts.shares if share.quantity or share.amount or share.tax],
        reason=reason,
    )
    rest = due(order.left - parts.total, order.currency)
    return [told, *_paid_back(order, refund_id, Money(order.due - rest))]


def _parts(order: Order, wanted: Wanted) -> _Parts:
    if wanted.amount is not None:
        if wanted.units or wanted.shipping:
            raise Invalid("one_of", "either an amount, or lines and shipping", "amount")
        return _of_amount(order, wanted.amount)
    if not order.left:
        raise Conflict("refunded", "all of it was given back already", "status")
    units = wanted.units
    if wanted.all:
        units = {line.variant: line.left_units for line in order.lines if line.left_units}
    _check(order, units, _left_units, "are not refunded yet")
    shares = [
        _of_units(line, units[line.variant], order.currency)
        for line in order.lines
        if line.variant in units
    ]
    if wanted.shipping or wanted.all:
        if not (shares or order.left_shipping or order.left_shipping_tax):
            raise Conflict("refunded", "no shipping is left to give back", "shipping")
        return _Parts(shares, order.left_shipping, order.left_shipping_tax)
    return _Parts(shares)


def _of_units(line: OrderLine, units: int, currency: str) -> RefundShare:
    """Units' share of what is left of their line: in whole coins, and all with the last one."""
    return RefundShare(
        variant=line.variant,
        quantity=units,
        amount=_portion(line.left, units, line.left_units, currency),
        tax=_portion(line.left_tax, units, line.left_units, currency),
    )


def _portion(left: Money, units: int, of_units: int, currency: str) -> Money:
    if units == of_units:
        return left
    portion = left * units // of_units
    return Money(portion - portion % minor_unit(currency))


def _of_amount(order: Order, amount: Money) -> _Parts:
    """An amount, shared over all that is left: goods, shipping and their taxes alike. Raises
    Invalid, Conflict."""
    unit = minor_unit(order.currency)
    if amount <= 0 or amount % unit:
        reason = f"expected an amount that can be paid in {order.currency}"
        raise Invalid("amount", reason, "amount")
    if amount > order.left:
        raise Conflict("too_much", f"{order.left} {order.currency} are left", "amount")
    left = [
        *(line.left for line in order.lines),
        *(line.left_tax for line in order.lines),
        order.left_shipping,
        order.left_shipping_tax,
    ]
    step = unit if all(part % unit == 0 for part in left) else 1
    found = allocate(amount // step, [part // step for part in left])
    *parts, shipping, shipping_tax = (Money(part * step) for part in found)
    count = len(order.lines)
    shares = [
        RefundShare(variant=line.variant, amount=goods, tax=tax)
        for line, goods, tax in zip(order.lines, parts[:count], parts[count:], strict=True)
    ]
    return _Parts(shares, shipping, shipping_tax)


def _products(order: Order, shares: Sequence[RefundShare]) -> list[Line]:
    """Shares as lines whose prices times units are exactly what is given back."""
    found: list[Line] = []
    for share in shares:
        line = order.line(share.variant)
        assert line is not None
        each, more = divmod(share.amount, share.quantity)
        for price, units in ((each + 1, more), (each, share.quantity - more)):
            if units:
                one = product_of(line, units)
                fields = msgspec.structs.asdict(one) | {"price": Money(price)}
                found.append(Line(**fields))
    return found


def _paid_back(order: Order, refund_id: str, amount: Money) -> list[Data]:
    """The money's way back, if it ever came."""
    paid = order.payment
    if paid.paid_at is None or not amount:
        return []
    if paid.intent_id is not None:
        return [
            RefundRequested(
                order_id=order.order_id,
                refund_id=refund_id,
                payment_id=paid.intent_id,
                amount=amount,
                currency=order.currency,
            )
        ]
    return [
        PaymentRefunded(
            order_id=order.order_id,
            refund_id=refund_id,
            amount=amount,
            currency=order.currency,
        )
    ]


def retry_refund(order: Order, refund_id: str) -> list[Data]:
    """Asks the provider once more for what it could not do. Raises Unknown, Conflict."""
    known = order.payment.refunds.get(refund_id)
    if known is None:
        raise Unknown("unknown_refund", f"no refund {refund_id!r} was asked for", "refund_id")
    if known.status != "failed" or known.payment_id is None:
        raise Conflict("refund", f"the refund is {known.status}", "refund_id")
    return [
        RefundRequested(
            order_id=order.order_id,
            refund_id=refund_id,
            payment_id=known.payment_id,
            amount=known.amount,
            currency=order.currency,
        )
    ]
