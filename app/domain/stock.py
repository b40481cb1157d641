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
    reserved_units: int = 0  # of all orders together
    threshold: int | None = None
    low: bool = False

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved_units


StockEvent = (
    StockReceived
    | StockAdjusted
    | StockReserved
    | StockReleased
    | StockShipped
    | StockThresholdChanged
    | LowStockReached
)


def open_with(product_id: str, variant: str, quantity: int) -> list[Data]:
    """The first units of a variant that is new; with none it is counted as none. Raises Invalid."""
    empty = Stock(product_id, variant)
    if quantity:
        return receive(empty, quantity, "opening stock")
    counted = StockAdjusted(
        product_id=product_id, variant=variant, quantity=0, reason="opening stock"
    )
    return [counted]


def receive(stock: Stock, quantity: int, reason: str | None = None) -> list[Data]:
    """More units have come, or have come back. Raises Invalid."""
    _check_units(quantity)
    if stock.on_hand + quantity > MOST_UNITS:
        raise Invalid("too_many", f"more than {MOST_UNITS:,} units", "quantity")
    return [
        StockReceived(
            product_id=stock.product_id, variant=stock.variant, quantity=quantity, reason=reason
        )
    ]


def count(stock: Stock, on_hand: int, reason: str | None = None) -> list[Data]:
    """So many units were counted in the house; a count that finds what is known tells nothing.
    Raises Invalid, Conflict."""
    if not 0 <= on_hand <= MOST_UNITS:
        raise Invalid("units", f"expected 0 to {MOST_UNITS:,} units", "on_hand")
    if on_hand == stock.on_hand:
        return []
    return _adjusted(stock, on_hand - stock.on_hand, reason, "on_hand")


def adjust(stock: Stock, change: int, reason: str | None = None) -> list[Data]:
    """So many units more, or fewer: a write-off, a gift, a find. Raises Invalid, Conflict."""
    if not change or abs(change) > MOST_UNITS or stock.on_hand + change > MOST_UNITS:
        raise Invalid("units", f"expected a change, to {MOST_UNITS:,} units at most", "change")
    return _adjusted(stock, change, reason, "change")


def _adjusted(stock: Stock, change: int, reason: str | None, field: str) -> list[Data]:
    if stock.available + change < 0:
        raise Conflict(
            "out_of_stock",
            f"of {stock.on_hand} in the house {stock.reserved_units} are reserved for orders",
            field,
        )
    return _with_low(
        stock,
        StockAdjusted(
            product_id=stock.product_id, variant=stock.variant, quantity=change, reason=reason
        ),
    )


def reserve(stock: Stock, order_id: str, quantity: int) -> list[Data]:
    """Sets units aside for an order. Raises Invalid, Conflict where there are not enough."""
    _check_units(quantity)
    if quantity > stock.available:
        raise Conflict(
            "out_of_stock",
            f"{stock.available} of {stock.variant!r} are available, {quantity} were asked for",
            "quantity",
        )
    reserved = StockReserved(
        product_id=stock.product_id,
        variant=stock.variant,
        quantity=quantity,
        order_id=order_id,
    )
    return _with_low(stock, reserved)


def release(stock: Stock, order_id: str, quantity: int | None = None) -> list[Data]:
    """Gives back units that were set aside for an order and are not shipped: so many, or all of
    them, if there are any. Raises Invalid, Conflict."""
    if not (units := _of_order(stock, order_id, quantity)):
        return []
    return [
        StockReleased(
            product_id=stock.product_id, variant=stock.variant, quantity=units, order_id=order_id
        )
    ]


def ship(stock: Stock, order_id: str, quantity: int | None = None) -> list[Data]:
    """Units that were set aside for an order leave the house: so many, or all of them, if there
    are any. Raises Invalid, Conflict."""
    if not (units := _of_order(stock, order_id, quantity)):
        return []
    return [
        StockShipped(
            product_id=stock.product_id, variant=stock.variant, quantity=units, order_id=order_id
        )
    ]


def _of_order(stock: Stock, order_id: str, quantity: int | None) -> int:
    reserved = stock.reserved.get(order_id, 0)
    if quantity is None:
        return reserved
    _check_units(quantity)
    if quantity > reserved:
        raise Conflict(
            "not_reserved",
            f"{reserved} of {stock.variant!r} are reserved for this order, not {quantity}",
            "quantity",
        )
    return quantity


def set_threshold(stock: Stock, threshold: int | None) -> list[Data]:
    """From how many available units on it is low; with none it never is. Raises Invalid."""
    if threshold is not None and not 0 <= threshold <= MOST_UNITS:
        raise Invalid("units", f"expected 0 to {MOST_UNITS:,} units, or null", "threshold")
    if threshold == stock.threshold:
        return []
    changed = StockThresholdChanged(
        product_id=stock.product_id, variant=stock.variant, threshold=threshold
    )
    return _with_low(stock, changed)


def _check_units(quantity: int) -> None:
    if not 1 <= quantity <= MOST_UNITS:
        raise Invalid("units", f"expected 1 to {MOST_UNITS:,} units", "quantity")


def _with_low(stock: Stock, event: Data) -> list[Data]:
    """An event, and that with it the stock has fallen to its threshold: once per crossing."""
    after = evolve(stock, Told(_NO_TIME, event))
    if after.low or after.threshold is None or after.available > after.threshold:
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
    return msgspec.structs.replace(
        stock, reserved=kept, reserved_units=stock.reserved_units + change
    )


def _variant(data: StockEvent) -> str:
    assert data.variant is not None
    return data.variant


STOCK = Aggregate(
    "stock",
    Stock,
    evolve,
    dict.fromkeys(get_args(StockEvent), _variant),
)
