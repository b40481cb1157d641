"""Orders from their placing to their delivery. What is taken back is decided in `refunding`."""

from datetime import UTC, datetime

from msgspec import Struct

from app.domain.aggregate import Told
from app.domain.order import (
    COMPLETED,
    PLACED,
    SHIPPED,
    Order,
    OrderLine,
    evolve,
    must_be,
)
from app.domain.payment import CARD, CASH_ON_DELIVERY, OTHER
from app.domain.pricing import PricedLine, Totals
from app.domain.refusal import Conflict
from streams.events import (
    Address,
    Data,
    Line,
    OrderCompleted,
    OrderDelivered,
    OrderPaid,
    OrderPlaced,
    OrderShipped,
)
from streams.money import Money

METHODS = (CARD, CASH_ON_DELIVERY)

_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)  # what is paid does not depend on when


class Purchase(Struct, frozen=True):
    """How somebody buys: what an order has beside its lines and amounts."""

    order_id: str
    payment_method: str
    country: str
    shipping_method: str | None = None
    cart_id: str | None = None
    coupon: str | None = None
    email: str | None = None
    shipping_address: Address | None = None


def place(purchase: Purchase, totals: Totals) -> list[Data]:
    """An order at these prices. To be paid on delivery it is a sale at once, and so is a gift."""
    placed = OrderPlaced(
        order_id=purchase.order_id,
        products=[_sold(line) for line in totals.lines],
        subtotal=totals.subtotal,
        revenue=Money(totals.subtotal - totals.discount),
        discount=totals.discount,
        shipping=totals.shipping,
        shipping_tax=totals.shipping_tax,
        tax=totals.tax,
        total=totals.total,
        currency=totals.currency,
        country=purchase.country,
        coupon=purchase.coupon,
        cart_id=purchase.cart_id,
        payment_method=purchase.payment_method,
        shipping_method=purchase.shipping_method,
        email=purchase.email,
        shipping_address=purchase.shipping_address,
    )
    order = evolve(None, Told(_NO_TIME, placed))
    if not order.payable:
        return [placed, _paid(order, OTHER), completed(order)]
    if purchase.payment_method == CASH_ON_DELIVERY:
        return [placed, completed(order)]
    return [placed]


def completed(order: Order) -> OrderCompleted:
    """That an order is a sale, as it was placed."""
    return OrderCompleted(
        order_id=order.order_id,
        products=[_sold(line) for line in order.lines],
        subtotal=order.subtotal,
        revenue=Money(order.subtotal - order.discount),
        discount=order.discount,
        shipping=order.shipping,
        tax=order.tax,
        total=order.total,
        currency=order.currency,
        country=order.country,
        coupon=order.coupon,
    )


def _sold(line: PricedLine | OrderLine) -> Line:
    return Line(**{name: getattr(line, name) for name in PricedLine.__struct_fields__})


def _paid(order: Order, method: str, payment_id: str | None = None) -> OrderPaid:
    return OrderPaid(
        order_id=order.order_id,
        payment_id=payment_id,
        amount=order.due,
        currency=order.currency,
        method=method,
    )


def complete(order: Order, reference: str | None = None) -> list[Data]:
    """An order that was paid by other means, such as a transfer, under this reference. Raises
    Conflict."""
    must_be(order, PLACED)
    return [_paid(order, OTHER, reference), completed(order)]


def ship(order: Order, shipment_id: str | None = None) -> list[Data]:
    """What was not refunded before leaves the house. Raises Conflict."""
    must_be(order, COMPLETED)
    if not any(line.to_ship for line in order.lines):
        raise Conflict("nothing_to_ship", "all of it was refunded: cancel it", "status")
    return [OrderShipped(order_id=order.order_id, shipment_id=shipment_id)]


def deliver(order: Order, shipment_id: str | None = None) -> list[Data]:
    """It has arrived, and what was to be paid on delivery is paid. Raises Conflict."""
    must_be(order, SHIPPED)
    delivered = OrderDelivered(
        order_id=order.order_id, shipment_id=shipment_id or order.shipment_id
    )
    if order.payment.paid_at is not None:
        return [delivered]
    return [delivered, _paid(order, CASH_ON_DELIVERY)]
