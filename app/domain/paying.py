"""What the payment provider says of an order, and what follows from it.

It is told over the web: twice, late, and in any order. Each of these decisions may be asked for
again at any time, and what is known already changes nothing.
"""

from app.domain.order import PLACED, Order, must_be
from app.domain.ordering import completed
from app.domain.payment import CARD, Refund
from app.domain.refusal import Conflict, Unknown
from streams.events import (
    Data,
    OrderPaid,
    PaymentFailed,
    PaymentRefunded,
    PaymentRequested,
    RefundFailed,
    RefundRequested,
)
from streams.money import Money


def request_payment(order: Order, intent_id: str) -> list[Data]:
    """The provider was asked for `order.payable`, under its own id. Raises Conflict where there is
    nothing to pay by card."""
    if intent_id in order.payment.intents:
        return []
    if order.payment.method != CARD:
        raise Conflict("payment_method", "this order is not paid by card", "payment_method")
    must_be(order, PLACED)
    return [
        PaymentRequested(
            order_id=order.order_id,
            payment_id=intent_id,
            amount=order.payable,
            currency=order.currency,
        )
    ]


def payment_succeeded(order: Order, intent_id: str, amount: Money, currency: str) -> list[Data]:
    """The money has come in: the order is a sale. Where it is cancelled, or paid already in another
    way, the money is to be given back. Raises Conflict where it is not what was asked for."""
    known = order.payment.intents.get(intent_id)
    if known and known.status == "paid":
        return []
    asked = known.amount if known and known.amount else order.payable
    _check(order, asked, amount, currency)
    paid = OrderPaid(
        order_id=order.order_id,
        payment_id=intent_id,
        amount=amount,
        currency=currency,
        method=CARD,
    )
    if order.status == PLACED:
        return [paid, completed(order)]
    # Its refund is of one id, whoever comes to decide it.
    back = RefundRequested(
        order_id=order.order_id,
        refund_id=f"{intent_id}-back",
        payment_id=intent_id,
        amount=amount,
        currency=currency,
    )
    return [paid, back]


def payment_failed(order: Order, intent_id: str, reason: str | None = None) -> list[Data]:
    """An attempt at paying has failed; the same one may still succeed."""
    known = order.payment.intents.get(intent_id)
    if known and (known.status == "paid" or (known.status, known.reason) == ("failed", reason)):
        return []
    return [PaymentFailed(order_id=order.order_id, payment_id=intent_id, reason=reason)]


def refund_succeeded(order: Order, refund_id: str, amount: Money, currency: str) -> list[Data]:
    """The provider has given money back. What has failed stays so until it is asked for again: a
    bank may send money back, and the news of both may come in any order. Raises Unknown,
    Conflict."""
    refund = _refund(order, refund_id)
    _check(order, refund.amount, amount, currency)
    if refund.status != "requested":
        return []
    return [
        PaymentRefunded(
            order_id=order.order_id,
            refund_id=refund_id,
            payment_id=refund.payment_id,
            amount=amount,
            currency=currency,
        )
    ]


def refund_failed(order: Order, refund_id: str, reason: str | None = None) -> list[Data]:
    """The provider could not give it back, or it came back later, and it will not try again.
    Raises Unknown."""
    if _refund(order, refund_id).status == "failed":
        return []
    return [RefundFailed(order_id=order.order_id, refund_id=refund_id, reason=reason)]


def _refund(order: Order, refund_id: str) -> Refund:
    refund = order.payment.refunds.get(refund_id)
    if refund is None:
        raise Unknown("unknown_refund", f"no refund {refund_id!r} was asked for", "refund_id")
    return refund


def _check(order: Order, asked: Money, amount: Money, currency: str) -> None:
    if currency != order.currency:
        raise Conflict("currency", f"expected {order.currency}, not {currency}", "currency")
    if amount != asked:
        raise Conflict("amount", f"expected {asked} {currency}, not {amount}", "amount")
