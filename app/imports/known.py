"""What a shop knows already of what an import has to tell."""

from collections.abc import Iterator
from enum import StrEnum

from projections.orders import Order, Told
from streams import codec
from streams.events import Event, OrderRefunded


class Standing(StrEnum):
    NEW = "new"
    KNOWN = "known"
    """It was told before, word for word."""
    DIFFERS = "differs"
    """The order has such an event already, which says something else: the first one holds."""


_FIELDS = {
    "OrderCompleted": "sale",
    "OrderPlaced": "placed",
    "OrderCancelled": "cancelled",
    "OrderShipped": "shipped",
    "OrderDelivered": "delivered",
}


def standing(event: Event, order: Order | None) -> Standing:
    """Whether an event would add something to its order."""
    if order is None:
        return Standing.NEW
    if any(told.id == event.id for told in _told(order)):
        return Standing.KNOWN
    if field := _FIELDS.get(event.type):
        return Standing.DIFFERS if getattr(order, field) else Standing.NEW
    if event.type == "OrderRefunded":
        data = codec.decode_fields(event.type, event.data)
        assert isinstance(data, OrderRefunded)
        return Standing.DIFFERS if (data.refund_id or event.id) in order.refunds else Standing.NEW
    return Standing.NEW


def _told(order: Order) -> Iterator[Told]:  # type: ignore[type-arg]
    once = (order.sale, order.placed, order.cancelled, order.shipped, order.delivered)
    yield from (told for told in once if told)
    yield from order.refunds.values()
    yield from order.adjustments.values()
