"""The payment of an order: what was asked for, what came in, and what was given back."""

from collections.abc import Mapping
from datetime import datetime

import msgspec
from msgspec import Struct

from app.domain.aggregate import Told
from streams.events import (
    OrderCompleted,
    OrderPaid,
    PaymentFailed,
    PaymentRefunded,
    PaymentRequested,
    RefundFailed,
    RefundRequested,
)
from streams.money import Money

CARD = "card"
CASH_ON_DELIVERY = "cash_on_delivery"
OTHER = "other"
"""By hand: a transfer, a voucher, cash over the counter."""

NOTHING = Money(0)

PaymentEvent = (
    OrderCompleted
    | OrderPaid
    | PaymentRequested
    | PaymentFailed
    | RefundRequested
    | PaymentRefunded
    | RefundFailed
)


class Intent(Struct, frozen=True):
    """One attempt at paying, as the provider knows it: `pending`, `failed` or `paid`."""

    amount: Money
    status: str
    reason: str | None = None


class Refund(Struct, frozen=True):
    """Money on its way back: `requested`, `failed` or `made`; without `payment_id` by hand. `tries`
    counts how often the provider was to make it."""

    amount: Money
    status: str
    payment_id: str | None = None
    reason: str | None = None
    tries: int = 1


class Payment(Struct, frozen=True):
    """`status` is one of none, pending, failed, paid, partially_refunded, refunded.

    `intent_id` is the payment that counts for the order, `paid` and `refunded` what came in with it
    and went back. Another one that came in as well stands in `intents`, and is given back whole.
    """

    method: str
    status: str = "none"
    intent_id: str | None = None
    paid_at: datetime | None = None
    paid: Money = NOTHING
    refunded: Money = NOTHING
    intents: Mapping[str, Intent] = {}
    refunds: Mapping[str, Refund] = {}

    @property
    def promised(self) -> Money:
        """What was given back of `paid` and what is still to be, also what has failed so far."""
        of_it = [one for one in self.refunds.values() if one.payment_id == self.intent_id]
        return Money(sum(refund.amount for refund in of_it))

    @property
    def due(self) -> Mapping[str, Refund]:
        """The refunds that the provider is to make, by id."""
        return {one: refund for one, refund in self.refunds.items() if refund.status == "requested"}


def evolve(payment: Payment, told: Told) -> Payment:
    """The payment after one more event."""
    after = _evolve(payment, told)
    return msgspec.structs.replace(after, status=_status(after, told))


def _evolve(payment: Payment, told: Told) -> Payment:
    data = told.data
    assert isinstance(data, PaymentEvent)
    match data:
        case PaymentRequested():
            return _with_intent(payment, data.payment_id, Intent(data.amount, "pending"))
        case PaymentFailed():
            known = payment.intents.get(data.payment_id, Intent(NOTHING, "failed"))
            failed = Intent(known.amount, "failed", data.reason)
            return _with_intent(payment, data.payment_id, failed)
        case OrderPaid():
            return _paid(payment, data, told.at)
        case RefundRequested():
            before = payment.refunds.get(data.refund_id)
            tries = before.tries + 1 if before else 1
            asked = Refund(data.amount, "requested", data.payment_id, tries=tries)
            return _with_refund(payment, data.refund_id, asked)
        case PaymentRefunded():
            tried = payment.refunds.get(data.refund_id)
            made = Refund(data.amount, "made", data.payment_id, tries=tried.tries if tried else 1)
            of_it = data.payment_id == payment.intent_id
            more = data.amount if of_it else NOTHING
            return msgspec.structs.replace(
                _with_refund(payment, data.refund_id, made),
                refunded=Money(payment.refunded + more),
            )
        case RefundFailed():
            known_refund = payment.refunds[data.refund_id]
            failed_refund = msgspec.structs.replace(
                known_refund, status="failed", reason=data.reason
            )
            # A bank may send back what was made before.
            of_it = known_refund.payment_id == payment.intent_id
            back = known_refund.amount if of_it and known_refund.status == "made" else NOTHING
            return msgspec.structs.replace(
                _with_refund(payment, data.refund_id, failed_refund),
                refunded=Money(payment.refunded - back),
            )
        case OrderCompleted():
            return payment


def _paid(payment: Payment, data: OrderPaid, at: datetime) -> Payment:
    amount = data.amount or NOTHING
    if data.payment_id is not None and data.method == CARD:
        payment = _with_intent(payment, data.payment_id, Intent(amount, "paid"))
    if payment.paid_at is not None:
        return payment
    by_card = data.payment_id if data.method == CARD else None
    return msgspec.structs.replace(payment, paid=amount, paid_at=at, intent_id=by_card)


def _status(payment: Payment, told: Told) -> str:
    if payment.paid_at is not None:
        if not payment.refunded:
            return "paid"
        return "refunded" if payment.refunded >= payment.paid else "partially_refunded"
    if isinstance(told.data, OrderCompleted):
        return "pending"  # it is paid on delivery
    found = {intent.status for intent in payment.intents.values()}
    return next((one for one in ("pending", "failed") if one in found), payment.status)


def _with_intent(payment: Payment, intent_id: str, intent: Intent) -> Payment:
    return msgspec.structs.replace(payment, intents={**payment.intents, intent_id: intent})


def _with_refund(payment: Payment, refund_id: str, refund: Refund) -> Payment:
    return msgspec.structs.replace(payment, refunds={**payment.refunds, refund_id: refund})
