"""Orders as their events tell of them, while they may change: sold, changed, given back, cancelled.

All events of an order are on one partition, in any order, and any of them may come twice. Each
order is followed among so many of its partition; what is told of it later is not heard any more.
Whoever was erased is nobody: nothing is kept of what they bought.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import xxhash
from msgspec import Struct

from ml_online.customer_orders import MOST_WORTH, CustomerOrders
from streams.codec import Fact
from streams.erased import is_erased
from streams.events import (
    Line,
    OrderCancelled,
    OrderCompleted,
    OrderPlaced,
    OrderRefunded,
    OrderUpdated,
    Product,
)

FOLLOWED = 20_000
"""Orders of one partition."""

_NO_CURRENCY = "XXX"
_UNKNOWN = -1


class Heard(NamedTuple):
    """What an order came to: its number in the shop, and whose it is."""

    number: int
    customer: str


class _Order(Struct, gc=False):
    """`number` is that in its shop, once it was sold to somebody; amounts in ten-thousandths."""

    number: int = _UNKNOWN
    sold: int = _UNKNOWN
    sold_at: int = 0
    given: int = 0
    none: bool = False  # cancelled, or all given back
    person: str = ""
    refunds: tuple[int, ...] = ()


class FollowedOrders:
    """Of all shops, by partition."""

    def __init__(self) -> None:
        self._of: dict[int, dict[int, _Order]] = {}

    def hear(self, fact: Fact, shop: CustomerOrders) -> None:
        """Tells the shop what the fact changes."""
        data = fact.data
        match data:
            case OrderCompleted():
                order = self._order(fact, data.order_id)
                if order.sold == _UNKNOWN:
                    self._sell(fact, data, order, shop)
            case OrderPlaced():
                # The sale may not say whose it is.
                order = self._order(fact, data.order_id)
                if order.sold == _UNKNOWN and fact.event.person:
                    order.person = _unless_erased(fact.event.person)
            case OrderUpdated() if data.products:
                order = self._order(fact, data.order_id)
                if order.number != _UNKNOWN and fact.event.time.timestamp() >= order.sold_at:
                    order.sold = _worth(data.products, data.discount)
                    _tell(order, shop)
            case OrderRefunded():
                order = self._order(fact, data.order_id)
                refund = _hash(data.refund_id or fact.event.id)
                if refund not in order.refunds:
                    order.refunds = (*order.refunds, refund)
                    _give_back(order, data)
                    _tell(order, shop)
            case OrderCancelled():
                order = self._order(fact, data.order_id)
                order.none = True
                _tell(order, shop)
            case _:
                pass

    def _order(self, fact: Fact, order_id: str) -> _Order:
        followed = self._of.setdefault(fact.partition, {})
        key = _hash(f"{fact.event.shop}\0{order_id}")
        order = followed.get(key)
        if order is None:
            order = followed[key] = _Order()
            if len(followed) > FOLLOWED:
                del followed[next(iter(followed))]
        return order

    def _sell(self, fact: Fact, data: OrderCompleted, order: _Order, shop: CustomerOrders) -> None:
        order.sold = _worth(data.products, data.discount)
        order.sold_at = int(fact.event.time.timestamp())
        customer = _unless_erased(fact.event.person or order.person)
        order.person = ""
        if customer:
            currency = data.currency or _NO_CURRENCY
            order.number = shop.add(customer, order.sold_at, order.sold, currency)
            if order.none or order.given:
                _tell(order, shop)

    # What is kept.

    def state(self) -> Iterator[list[Any]]:
        for partition, orders in sorted(self._of.items()):
            rows = [
                [key, o.number, o.sold, o.sold_at, o.given, o.none, o.person, o.refunds]
                for key, o in orders.items()
            ]
            yield [partition, rows]

    def restore(self, partition: int, rows: Sequence[Sequence[Any]]) -> None:
        """One row of the state."""
        self._of[partition] = {
            key: _Order(number, sold, sold_at, given, none, person, tuple(refunds))
            for key, number, sold, sold_at, given, none, person, refunds in rows
        }


def _unless_erased(person: str) -> str:
    """Nobody, if they were erased."""
    return "" if is_erased(person) else person


def _hash(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode())


def _worth(lines: Sequence[Line | Product], discount: int | None) -> int:
    """What was paid for the goods, MOST_WORTH at most."""
    gross = sum((line.price or 0) * line.quantity for line in lines)
    if discount is None:
        discount = sum(getattr(line, "discount", None) or 0 for line in lines)
    return min(max(0, gross - discount), MOST_WORTH)


def _give_back(order: _Order, data: OrderRefunded) -> None:
    told = data.revenue if data.revenue is not None else data.total
    given = 0
    if data.shares:
        given = sum(share.amount for share in data.shares)
    elif data.products:
        given = sum(line.price * line.quantity for line in data.products)
    elif told is not None:
        given = told
    else:
        order.none = True  # all that is left
    order.given = min(order.given + given, MOST_WORTH)


def _tell(order: _Order, shop: CustomerOrders) -> None:
    if order.number == _UNKNOWN:
        return
    if order.none or (order.given and order.given >= order.sold):
        shop.remove(order.number)
    else:
        shop.revalue(order.number, order.sold - order.given)
