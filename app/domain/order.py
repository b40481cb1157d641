"""An order: what was sold, where it stands, how it is paid, and what of it was given back.

placed → completed → shipped → delivered; cancelled before it is shipped, returned afterwards.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, get_args

import msgspec
from msgspec import Struct

from app.domain import payment
from app.domain.aggregate import Aggregate, Told
from app.domain.currency import due
from app.domain.payment import NOTHING, Payment, PaymentEvent
from app.domain.refusal import Conflict
from streams.events import (
    Address,
    Line,
    OrderCancelled,
    OrderCompleted,
    OrderDelivered,
    OrderPlaced,
    OrderRefunded,
    OrderReturned,
    OrderShipped,
    Product,
    RefundShare,
)
from streams.money import Money

PLACED = "placed"
COMPLETED = "completed"
SHIPPED = "shipped"
DELIVERED = "delivered"
CANCELLED = "cancelled"
RETURNED = "returned"
STATUSES = (PLACED, COMPLETED, SHIPPED, DELIVERED, CANCELLED, RETURNED)


class OrderLine(Struct, frozen=True):
    """One variant as it was sold; `discount` and `tax` are of the whole line.

    Of its units some may be refunded, of these some before they were shipped, which they then are
    not; and some may have come back. `refunded` is without tax.
    """

    product_id: str
    variant: str
    name: str
    category: str | None
    price: Money
    quantity: int
    discount: Money = NOTHING
    tax: Money = NOTHING
    tax_rate: str | None = None
    refunded: Money = NOTHING
    refunded_tax: Money = NOTHING
    refunded_units: int = 0
    unshipped_units: int = 0
    returned_units: int = 0

    @property
    def amount(self) -> Money:
        """What was to be paid for it, without tax."""
        return Money(self.price * self.quantity - self.discount)

    @property
    def left(self) -> Money:
        """What of that was not given back."""
        return Money(self.amount - self.refunded)

    @property
    def left_tax(self) -> Money:
        return Money(self.tax - self.refunded_tax)

    @property
    def left_units(self) -> int:
        return self.quantity - self.refunded_units

    @property
    def to_ship(self) -> int:
        return self.quantity - self.unshipped_units


class Order(Struct, frozen=True):
    """Lines + tax + shipping − discount = total, of which never more than all is given back.

    The discount is that of the lines; `tax` includes `shipping_tax`. `person` is whose it is: a
    user, else a guest by their cart, else nobody, whose name is then the order's own.
    """

    order_id: str
    status: str
    currency: str
    lines: Sequence[OrderLine]
    subtotal: Money
    discount: Money
    shipping: Money
    shipping_tax: Money
    tax: Money
    total: Money
    payment: Payment
    placed_at: datetime
    person: str | None = None
    country: str | None = None
    coupon: str | None = None
    cart_id: str | None = None
    shipping_method: str | None = None
    email: str | None = None
    shipping_address: Address | None = None
    refunded_shipping: Money = NOTHING
    refunded_shipping_tax: Money = NOTHING
    completed_at: datetime | None = None
    shipped_at: datetime | None = None
    delivered_at: datetime | None = None
    cancelled_at: datetime | None = None
    shipment_id: str | None = None
    reason: str | None = None

    @property
    def customer(self) -> str | None:
        """The user that it is of, if it is one's."""
        return None if self.person in (self.cart_id, self.order_id) else self.person

    @property
    def left_shipping(self) -> Money:
        return Money(self.shipping - self.refunded_shipping)

    @property
    def left_shipping_tax(self) -> Money:
        return Money(self.shipping_tax - self.refunded_shipping_tax)

    @property
    def given_back(self) -> Money:
        """What the shop no longer asks for, be it paid back or never paid."""
        goods = sum(line.refunded + line.refunded_tax for line in self.lines)
        return Money(goods + self.refunded_shipping + self.refunded_shipping_tax)

    @property
    def left(self) -> Money:
        return Money(self.total - self.given_back)

    @property
    def payable(self) -> Money:
        """What of the total can be paid: the smallest prices are smaller than any coin."""
        return Money(due(self.total, self.currency))

    @property
    def due(self) -> Money:
        """What of it can still be paid, after what was given back."""
        return Money(due(self.left, self.currency))

    def line(self, variant: str) -> OrderLine | None:
        return next((line for line in self.lines if line.variant == variant), None)


def must_be(order: Order, *statuses: str) -> None:
    """Raises Conflict where the order stands elsewhere."""
    if order.status not in statuses:
        wanted = " or ".join(statuses)
        raise Conflict("status", f"the order is {order.status}, not {wanted}", "status")


OrderEvent = (
    OrderPlaced
    | OrderShipped
    | OrderDelivered
    | OrderCancelled
    | OrderRefunded
    | OrderReturned
    | PaymentEvent
)


def evolve(order: Order | None, told: Told) -> Order:
    """The order after one more event."""
    data = told.data
    assert isinstance(data, OrderEvent)
    if isinstance(data, OrderPlaced):
        return _placed(data, told)
    assert order is not None
    if isinstance(data, PaymentEvent):
        order = msgspec.structs.replace(order, payment=payment.evolve(order.payment, told))
    match data:  # a delivery is a special form of a shipment
        case OrderCompleted():
            return msgspec.structs.replace(order, status=COMPLETED, completed_at=told.at)
        case OrderDelivered():
            return msgspec.structs.replace(order, status=DELIVERED, delivered_at=told.at)
        case OrderShipped():
            return msgspec.structs.replace(
                order, status=SHIPPED, shipped_at=told.at, shipment_id=data.shipment_id
            )
        case OrderCancelled():
            return _cancelled(order, data, told.at)
        case OrderRefunded():
            return _refunded(order, data)
        case OrderReturned():
            return _returned(order, data)
    return order


def _placed(data: OrderPlaced, told: Told) -> Order:
    return Order(
        order_id=data.order_id,
        status=PLACED,
        currency=data.currency or "",
        lines=[_line(line) for line in data.products],
        subtotal=data.subtotal or NOTHING,
        discount=data.discount or NOTHING,
        shipping=data.shipping or NOTHING,
        shipping_tax=data.shipping_tax or NOTHING,
        tax=data.tax or NOTHING,
        total=data.total or NOTHING,
        payment=Payment(data.payment_method or ""),
        placed_at=told.at,
        person=told.person,
        country=data.country,
        coupon=data.coupon,
        cart_id=data.cart_id,
        shipping_method=data.shipping_method,
        email=data.email,
        shipping_address=data.shipping_address,
    )


def _line(line: Line) -> OrderLine:
    return OrderLine(
        product_id=line.product_id,
        variant=line.variant or line.product_id,
        name=line.name or "",
        category=line.category,
        price=line.price,
        quantity=line.quantity,
        discount=line.discount or NOTHING,
        tax=line.tax or NOTHING,
        tax_rate=line.tax_rate,
    )


def _cancelled(order: Order, data: OrderCancelled, at: datetime) -> Order:
    """Of what was sold nothing is left; what was only placed was never to be given back."""
    order = msgspec.structs.replace(order, status=CANCELLED, cancelled_at=at, reason=data.reason)
    if order.completed_at is None:
        return order
    return msgspec.structs.replace(
        order,
        lines=[
            msgspec.structs.replace(
                line,
                refunded=line.amount,
                refunded_tax=line.tax,
                refunded_units=line.quantity,
                unshipped_units=line.quantity,
            )
            for line in order.lines
        ],
        refunded_shipping=order.shipping,
        refunded_shipping_tax=order.shipping_tax,
    )


def _refunded(order: Order, data: OrderRefunded) -> Order:
    shares = {share.variant: share for share in data.shares}
    shipping_tax = data.shipping_tax or NOTHING
    return msgspec.structs.replace(
        order,
        lines=[_with_share(line, shares.get(line.variant), order) for line in order.lines],
        refunded_shipping=Money(order.refunded_shipping + (data.shipping or NOTHING)),
        refunded_shipping_tax=Money(order.refunded_shipping_tax + shipping_tax),
    )


def _with_share(line: OrderLine, share: RefundShare | None, order: Order) -> OrderLine:
    if share is None:
        return line
    unshipped = share.quantity if order.shipped_at is None else 0
    return msgspec.structs.replace(
        line,
        refunded=Money(line.refunded + share.amount),
        refunded_tax=Money(line.refunded_tax + share.tax),
        refunded_units=line.refunded_units + share.quantity,
        unshipped_units=line.unshipped_units + unshipped,
    )


def _returned(order: Order, data: OrderReturned) -> Order:
    came = {product.variant: product.quantity for product in data.products}
    lines = [
        msgspec.structs.replace(
            line, returned_units=line.returned_units + came.get(line.variant, 0)
        )
        for line in order.lines
    ]
    all_back = all(line.returned_units == line.to_ship for line in lines)
    return msgspec.structs.replace(
        order, lines=lines, status=RETURNED if all_back else order.status
    )


def product_of(line: OrderLine, quantity: int) -> Product:
    """Some units of a line, as events name them."""
    return Product(
        product_id=line.product_id,
        variant=line.variant,
        name=line.name or None,
        category=line.category,
        price=line.price,
        quantity=quantity,
    )


def _order_id(data: Any) -> str:
    return str(data.order_id)


_EVENTS: Mapping[type[Any], Any] = dict.fromkeys(get_args(OrderEvent), _order_id)

ORDER = Aggregate("shop_orders", Order, evolve, _EVENTS)
"""In a table of its own name, for `orders` is what everybody's events leave of everybody's orders:
these are the shop's, and their events have the source `shop`."""
