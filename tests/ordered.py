"""Orders to decide about: two mugs and a shirt, with a discount, taxes and shipping."""

from typing import Any

from app.domain.order import ORDER, Order
from app.domain.ordering import Purchase, place
from app.domain.payment import CARD
from app.domain.pricing import PricedLine, Totals
from streams.events import Data, OrderPaid
from streams.money import Money, parse
from tests.deciding import given

BUYER = "u-1"


def euros(text: str) -> Money:
    return Money(parse(text))


def totals() -> Totals:
    """20.00 + 30.00, less 5.00, 4.75 of it for 19 % of 25.00; 3.00 for shipping, 0.57 its tax."""
    mugs = PricedLine(
        "mug", "mug-blue", "Mug", "kitchen", euros("10"), 2, euros("0"), euros("0"), None
    )
    shirt = PricedLine(
        "shirt", "shirt-m", "Shirt", None, euros("30"), 1, euros("5"), euros("4.75"), "0.19"
    )
    return Totals(
        currency="EUR",
        lines=[mugs, shirt],
        subtotal=euros("50"),
        discount=euros("5"),
        shipping=euros("3"),
        tax=euros("5.32"),
        total=euros("53.32"),
        shipping_tax=euros("0.57"),
    )


def placed(payment_method: str = CARD, **changed: Any) -> list[Data]:
    """The events of a new order `o-1`."""
    fields: dict[str, Any] = {"country": "DE", "cart_id": "c-1", "coupon": "SPRING", **changed}
    return place(Purchase("o-1", payment_method, **fields), totals())


def paid(**changed: Any) -> OrderPaid:
    fields: dict[str, Any] = {
        "order_id": "o-1",
        "payment_id": "pi_1",
        "amount": euros("53.32"),
        "currency": "EUR",
        "method": CARD,
        **changed,
    }
    return OrderPaid(**fields)


def order(*events: Data) -> Order:
    """What these events make."""
    found = given(ORDER, *events, person=BUYER).state
    assert found is not None
    return found
