"""Commands about payments: what Stripe said of an order's payments and refunds becomes its own."""

from collections.abc import Sequence
from typing import TypeAlias

from app.commands.execute import Answer, Call
from app.commands.ordering import Party, open_order, tell
from app.commands.work import Work
from app.domain import paying, refunding
from app.domain.order import ORDER, Order
from app.domain.refunding import Wanted
from app.domain.refusal import Conflict, Refusal
from app.payments.told import Intent, Refund
from streams.events import Data, PaymentRefunded

Outcome: TypeAlias = Intent | Refund
"""An intent or a refund, as Stripe has it."""

CANCELLED = "canceled"
"""The reason of a payment that cannot be made any more, in Stripe's spelling. One that has failed
for another reason may still succeed, with another card."""


async def payable(work: Work, call: Call, party: Party, order_id: str) -> Order:
    """An order that waits to be paid by card. Raises Refusal."""
    order = await open_order(work, call, party, order_id)
    paying.request_payment(order, "")  # for what it would refuse
    return order


def open_intents(order: Order) -> Sequence[str]:
    """The intents that can still be paid, as far as the order knows."""
    return [
        intent_id
        for intent_id, intent in order.payment.intents.items()
        if intent.status != "paid" and intent.reason != CANCELLED
    ]


async def start(
    work: Work, call: Call, party: Party, order_id: str, intent: Intent | None
) -> Answer:
    """The order is to be paid with this intent, or was paid with it, which nobody had told us. None
    is for an order that none was made for. Raises Refusal."""
    if intent is None:
        await payable(work, call, party, order_id)
        raise Conflict("raced", "it could not be paid a moment ago: ask again", "order_id")
    order = await open_order(work, call, party, order_id)
    if intent.paid:
        tell(work, order, outcome(order, intent))
    else:
        tell(work, order, paying.request_payment(order, intent.id))
    order = work.state(ORDER, order_id)
    shown = {
        "order_id": order_id,
        "payment_id": intent.id,
        "status": order.payment.status,
        "amount": str(intent.amount),
        "currency": intent.currency,
        "client_secret": intent.client_secret,
    }
    return Answer(shown, 201, work.version(ORDER, order_id), f"/v1/orders/{order_id}")


async def first_heard(work: Work, event_id: str, kind: str) -> bool:
    """Notes a webhook; false where it came before. Whoever comes second waits for how the first
    one ends."""
    noted = await work.connection.fetchval(
        "INSERT INTO stripe_events (id, type, received_at) VALUES ($1, $2, $3) "
        "ON CONFLICT DO NOTHING RETURNING true",
        *(event_id, kind, work.now),
    )
    return bool(noted)


async def settle(work: Work, order_id: str, outcomes: Sequence[Outcome]) -> bool:
    """Tells an order what has become of its payments and refunds; false where there is no such
    order, or it knows. Raises Refusal."""
    order = await work.find(ORDER, order_id)
    if order is None:
        return False
    before = work.version(ORDER, order_id)
    for one in outcomes:
        tell(work, order, outcome(order, one))
        order = work.state(ORDER, order_id)
    return work.version(ORDER, order_id) > before


def outcome(order: Order, one: Outcome) -> Sequence[Data]:
    """What follows from what Stripe has; nothing, where the order knows. Raises Refusal."""
    if isinstance(one, Refund):
        return _refunded(order, one)
    if one.paid:
        return paying.payment_succeeded(order, one.id, one.amount, one.currency)
    if one.reason is not None:
        return paying.payment_failed(order, one.id, one.reason)
    return []


def _refunded(order: Order, refund: Refund) -> Sequence[Data]:
    if not refund.refund_id:
        return _refunded_elsewhere(order, refund)
    known = order.payment.refunds.get(refund.refund_id)
    if known is None or known.tries != refund.tries:
        return []  # of a try before the last
    if refund.failed:
        return paying.refund_failed(order, refund.refund_id, refund.reason)
    if refund.status != "succeeded":
        return []
    return paying.refund_succeeded(order, refund.refund_id, refund.amount, refund.currency)


def _refunded_elsewhere(order: Order, refund: Refund) -> Sequence[Data]:
    """A refund that somebody made in Stripe's own dashboard: the money is gone, so the order gives
    back as much, as far as there is something to give back."""
    if refund.id in order.payment.refunds:
        if refund.failed:
            return paying.refund_failed(order, refund.id, refund.reason)
        return []
    if refund.status != "succeeded":
        return []
    made = PaymentRefunded(
        order_id=order.order_id,
        refund_id=refund.id,
        payment_id=refund.intent_id,
        amount=refund.amount,
        currency=refund.currency,
    )
    if refund.intent_id != order.payment.intent_id:
        return [made]  # of money that came in beside it: the order itself is paid as before
    try:
        decided = refunding.refund(order, refund.id, Wanted(amount=refund.amount))
    except Refusal:
        return [made]
    return [*decided, made]
