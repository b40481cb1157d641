"""Payments by card: how one is started, and how Stripe tells what became of it."""

from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import structlog
from fastapi import APIRouter, Depends, Request, Response

from app.api import access
from app.api.access import Actor
from app.api.commands import Change, carried_out
from app.api.completeness import RETRY
from app.api.orders import OrderId, party_of
from app.api.problems import Problem
from app.commands import ordering, payments
from app.commands.execute import Answer, Call
from app.commands.work import Work
from app.domain.order import Order
from app.domain.refusal import Refusal
from app.payments import WEBHOOK
from app.payments.flow import Flow
from app.payments.minor_units import NotPayable
from app.payments.provider import Away, Forged, Provider, Refused
from app.payments.told import Intent, Told
from projections.postgres import AWAY
from streams.crash_points import reached

logger = structlog.get_logger()
router = APIRouter(tags=["payments"])


@router.post("/v1/orders/{order_id}/payment", operation_id="orders_payment_start", status_code=201)
async def orders_payment_start(
    request: Request,
    order_id: OrderId,
    actor: Annotated[Actor, Depends(access.SHOPPER)],
    sent: Change,
) -> Response:
    """A payment by card: its `client_secret` is for Stripe's form in the shopper's browser.

    Asked again, it is the same payment for as long as it can be made, also after a declined card.
    Whether it was made is told by the order, once Stripe has told us.
    """
    party = party_of(actor)
    found: list[Order] = []

    async def look(work: Work, call: Call) -> Answer:
        try:
            found.append(await payments.payable(work, call, party, order_id))
        except Refusal:
            if sent.key is None:
                raise
            # It may have been answered under this key before: that answer stands.
        return Answer({})

    async def start(work: Work, call: Call) -> Answer:
        return await payments.start(work, call, party, order_id, intent)

    await carried_out(request, actor, sent._replace(key=None), look)
    intent = await _intent(_flow(request), actor.shop, found[-1]) if found else None
    reached("intent_made")
    return await carried_out(request, actor, sent, start)


@router.post("/v1/orders/{order_id}/refunds/{refund_id}/retry", operation_id="orders_refund_retry")
async def orders_refund_retry(
    request: Request,
    order_id: OrderId,
    refund_id: OrderId,
    actor: Annotated[Actor, Depends(access.STAFF)],
    sent: Change,
) -> Response:
    """Makes a refund once more that has failed: the bank would not have it, or Stripe not make it.
    Why stands in the order."""
    return await carried_out(
        request,
        actor,
        sent,
        lambda work, call: ordering.retry_refund(work, call, party_of(actor), order_id, refund_id),
    )


async def _intent(flow: Flow, shop: str, order: Order) -> Intent:
    """Raises Problem."""
    try:
        return await flow.intent(shop, order)
    except NotPayable as error:
        raise Problem(409, "not_payable", str(error)) from None
    except Refused as refused:
        raise Problem(409, refused.code, f"Stripe refuses it: {refused.reason}") from None
    except Away as away:
        logger.warning("Stripe is away", error=str(away))
        reason = "Stripe does not answer: ask again, it will be the same payment"
        raise Problem(503, "provider_unavailable", reason, headers=RETRY) from None


def _flow(request: Request) -> Flow:
    """Raises Problem."""
    provider: Provider | None = request.app.state.provider
    if provider is None:
        reason = "no payment provider is set here: set TILLSTREAM_STRIPE_KEY"
        raise Problem(503, "no_provider", reason)
    return Flow(request.app.state.commands, provider)


_EVENT = {
    "id": "evt_1",
    "object": "event",
    "type": "payment_intent.succeeded",
    "data": {
        "object": {
            "id": "pi_1",
            "object": "payment_intent",
            "status": "succeeded",
            "amount": 1980,
            "amount_received": 1980,
            "currency": "eur",
            "metadata": {"shop": "main", "order_id": "o-1"},
        }
    },
}
_BODY = {
    "requestBody": {
        "description": "an event as Stripe sends it, signed in the header `Stripe-Signature`",
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}, "example": _EVENT}},
    }
}


@router.post(
    WEBHOOK,
    operation_id="webhooks_stripe",
    openapi_extra=_BODY,
    response_model=dict[str, Any],
    dependencies=[Depends(access.SIGNED)],
)
async def webhooks_stripe(request: Request) -> Response:
    """What Stripe tells of payments and refunds. Told twice, late or out of order it changes
    nothing; other events are taken, and ignored."""
    flow = _flow(request)
    try:
        told = flow.provider.told(await request.body(), request.headers.get("stripe-signature", ""))
    except Forged as forged:
        logger.warning("a webhook is refused", reason=str(forged))
        raise Problem(400, "signature", "this is not signed by Stripe for us") from None
    changed = await _hear(flow, told)
    return Response(orjson.dumps({"event": told.id, "changed": changed}), 200, _PLAIN, _JSON)


async def _hear(flow: Flow, told: Told) -> bool:
    """Raises Problem, upon which Stripe sends it again."""
    try:
        return await flow.hear(told, datetime.now(UTC))
    except Refusal as refusal:
        logger.warning(
            "an order does not go with what Stripe tells: somebody has to look",
            event_id=told.id,
            type=told.type,
            reason=str(refusal),
        )
        raise Problem(409, refusal.code, str(refusal)) from None
    except (Away, Refused) as error:
        raise Problem(503, "provider_unavailable", str(error), headers=RETRY) from None
    except AWAY as error:
        raise Problem(503, "postgres_unavailable", "send it again", headers=RETRY) from error


_PLAIN = {"Cache-Control": "no-store"}
_JSON = "application/json"
