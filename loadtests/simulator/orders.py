"""What becomes of an order once it is sold: each way it can go, as the shop does and books it."""

from collections.abc import Generator, Iterator
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from random import Random
from typing import Any, Protocol

from loadtests.simulator.books import Books
from loadtests.simulator.visits import Happening, summed

_HOUR, _DAY = 3600.0, 86400.0
_CENT = Decimal("0.01")

_CHANGED, _CANCELLED, _RETURNED, _BAD_DEBT = 0.02, 0.04, 0.08, 0.004


class Shop(Protocol):
    """What an order needs of the shop around it."""

    rng: Random
    books: Books

    @property
    def now(self) -> datetime: ...

    def tell(self, happening: Happening) -> None: ...


def after_sale(shop: Shop, completed: Happening) -> Generator[float, None, None]:
    """Paid, perhaps changed, called off or shipped, delivered, and perhaps sent back."""
    rng, order = shop.rng, completed["data"]
    yield rng.uniform(1, 90)
    paid = {"amount": order["total"], "currency": order["currency"]}
    _tell(shop, completed, "OrderPaid", payment_id=f"{order['order_id']}-P1", **paid)
    if rng.random() < _CHANGED:
        yield rng.uniform(0.1, 3) * _HOUR
        order = _change(shop, completed)
    if rng.random() < _CANCELLED:
        yield rng.uniform(0.2, 6) * _HOUR
        yield from _cancel(shop, completed, order)
        return
    yield rng.uniform(0.5, 2) * _DAY
    shop.books.stage(order["order_id"], "shipped")
    _tell(shop, completed, "OrderShipped", shipment_id=f"{order['order_id']}-1")
    yield rng.uniform(0.7, 3) * _DAY
    shop.books.stage(order["order_id"], "delivered")
    _tell(shop, completed, "OrderDelivered", shipment_id=f"{order['order_id']}-1")
    if rng.random() < _RETURNED:
        yield rng.uniform(1, 12) * _DAY
        _give_back(shop, completed, order)
    elif rng.random() < _BAD_DEBT:
        yield rng.uniform(5, 20) * _DAY
        owed = f"-{order['revenue']}"
        shop.books.corrected(shop.now, order["order_id"], owed)
        told = {"amount": owed, "currency": order["currency"], "country": order["country"]}
        _tell(shop, completed, "SalesAdjusted", **told, reason="bad debt")


def _change(shop: Shop, completed: Happening) -> dict[str, Any]:
    """One line becomes more or less; the whole order is told anew."""
    order = completed["data"]
    named = {key: order[key] for key in ("order_id", "currency", "country")}
    place = shop.rng.randrange(len(order["products"]))
    lines = [dict(line) for line in order["products"]]
    lines[place]["quantity"] += shop.rng.choice((1, 2)) if lines[place]["quantity"] == 1 else -1
    changed = summed(named, lines, with_coupon="coupon" in order)
    shop.books.changed(changed)
    shop.tell(completed | {"type": "OrderUpdated", "data": changed})
    return changed


def _cancel(shop: Shop, completed: Happening, order: dict[str, Any]) -> Iterator[float]:
    """Called off, sometimes after a part was given back already."""
    if shop.rng.random() < 0.2:
        _refund_amount(shop, completed, order)
        yield shop.rng.uniform(0.2, 4) * _HOUR
    shop.books.cancelled(shop.now, order["order_id"])
    _tell(shop, completed, "OrderCancelled", reason="changed mind")


def _give_back(shop: Shop, completed: Happening, order: dict[str, Any]) -> None:
    """A product comes back, or everything, or the goods are kept for a lower price."""
    way = shop.rng.random()
    if way < 0.15:
        shop.books.refunded_rest(shop.now, order["order_id"])
        _refund(shop, completed, order)
    elif way < 0.35 or "discount" in order:
        _refund_amount(shop, completed, order)
    else:
        line = shop.rng.choice(order["products"])
        back = line | {"quantity": shop.rng.randint(1, line["quantity"])}
        shop.books.took_back(
            shop.now, order["order_id"], line["product_id"], back["quantity"], line["price"]
        )
        _refund(shop, completed, order, products=[back])


def _refund_amount(shop: Shop, completed: Happening, order: dict[str, Any]) -> None:
    share = Decimal(shop.rng.randint(5, 60)) / 100
    amount = str((Decimal(order["revenue"]) * share).quantize(_CENT, ROUND_HALF_UP))
    shop.books.refunded(shop.now, order["order_id"], amount)
    _refund(shop, completed, order, total=amount)


def _refund(shop: Shop, completed: Happening, order: dict[str, Any], **told: Any) -> None:
    where = {"currency": order["currency"], "country": order["country"]}
    _tell(shop, completed, "OrderRefunded", refund_id=f"{order['order_id']}-R1", **where, **told)


def _tell(shop: Shop, completed: Happening, event_type: str, **data: Any) -> None:
    own = {"order_id": completed["data"]["order_id"], **data}
    shop.tell(completed | {"type": event_type, "data": own})
