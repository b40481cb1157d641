"""Stock of one variant: what is on hand, and what of it is reserved for orders.

On hand are the units in the house, the reserved ones among them until they are shipped.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import get_args

import msgspec
from msgspec import Struct

from app.domain.aggregate import Aggregate, Told
from app.domain.refusal import Conflict, Invalid
from streams.events import (
    Data,
    LowStockReached,
    StockAdjusted,
    StockReceived,
    StockReleased,
    StockReserved,
    StockShipped,
    StockThresholdChanged,
)

MOST_UNITS = 10_000_000

_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)  # a stock does not depend on when


class Stock(Struct, frozen=True, omit_defaults=True):
    """One variant's units. `low` since it fell to its threshold, until it is above it again."""

    product_id: str
    variant: str
    on_hand: int = 0
    reserved: Mapping[str, int] = {}  # by order
    threshold: int | None = None
    low: bool = False

    @property
    def available(self) -> int:
        return self.on_hand - sum(self.reserved.values())


StockEvent = (
    StockReceived
    | StockAdjusted
    | StockReserved
    | StockReleased
    | StockShipped
    | StockThresholdChanged
    | LowStockReached
)


def receive(stock: Stock, quantity: int, reason: str | None = None) -> list[Data]:
    """Raises Invalid."""
    if stock.on_hand + quantity > MOST_UNITS:
        raise Invalid("too_many", f"more than {MOST_UNITS:,} units", "quantity")
    return [
        StockReceived(
            product_id=stock.product_id, variant=stock.variant, quantity=quantity, reason=reason
        )
    ]


def reserve(stock: Stock, order_id: str, quantity: int) -> list[Data]:
    """Sets units aside for an order. Raises Conflict where there are not enough."""
    if quantity > stock.available:
        raise Conflict(
            "out_of_stock",
            f"{stock.available} of {stock.variant!r} are available, {quantity} were asked for",
            "quantity",
        )
    return _with_low(
        stock,
        StockReserved(
            product_id=stock.product_id,
            variant=stock.variant,
            quantity=quantity,
            order_id=order_id,
        ),
    )


def _with_low(stock: Stock, event: Data) -> list[Data]:
    """An event, and that with it the stock has fallen to its threshold: once per crossing."""
    after = evolve(stock, Told(_NO_TIME, event))
    if stock.low or after.threshold is None or after.available > after.threshold:
        return [event]
    low = LowStockReached(
        product_id=stock.product_id,
        variant=stock.variant,
        available=after.available,
        threshold=after.threshold,
    )
    return [event, low]


def evolve(stock: Stock | None, told: Told) -> Stock:
    """The stock after one more event."""
    data = told.data
    assert isinstance(data, StockEvent)
    assert data.variant is not None
    stock = stock or Stock(data.product_id, data.variant)
    match data:  # the first that fits: some events are special forms of later ones
        case StockShipped():
            stock = _reserved(stock, data.order_id, -data.quantity)
            stock = msgspec.structs.replace(stock, on_hand=stock.on_hand - data.quantity)
        case StockReleased():
            stock = _reserved(stock, data.order_id, -data.quantity)
        case StockReserved():
            stock = _reserved(stock, data.order_id, data.quantity)
        case StockReceived() | StockAdjusted():
            stock = msgspec.structs.replace(stock, on_hand=stock.on_hand + data.quantity)
        case StockThresholdChanged():
            stock = msgspec.structs.replace(stock, threshold=data.threshold)
        case LowStockReached():
            return msgspec.structs.replace(stock, low=True)
    if stock.low and (stock.threshold is None or stock.available > stock.threshold):
        stock = msgspec.structs.replace(stock, low=False)
    return stock


def _reserved(stock: Stock, order_id: str, change: int) -> Stock:
    reserved = {**stock.reserved, order_id: stock.reserved.get(order_id, 0) + change}
    kept = {order: units for order, units in reserved.items() if units}
    return msgspec.structs.replace(stock, reserved=kept)


def _variant(data: StockEvent) -> str:
    assert data.variant is not None
    return data.variant


STOCK = Aggregate(
    "stock",
    Stock,
    evolve,
    dict.fromkeys(get_args(StockEvent), _variant),
)
