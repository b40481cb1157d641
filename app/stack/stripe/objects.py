"""Stripe's objects as it shows them, with what a shop reads and none of what it never does."""

from collections.abc import Sequence
from typing import Any

from app.stack.stripe.asked import NewIntent, NewRefund
from app.stack.stripe.cards import Card
from app.stack.stripe.store import Object


def intent(id: str, secret: str, asked: NewIntent, methods: Sequence[str], at: int) -> Object:  # noqa: A002
    """A payment intent that nobody has paid yet."""
    automatic = asked.automatic_payment_methods
    return {
        "id": id,
        "object": "payment_intent",
        "amount": asked.amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": automatic.model_dump() if automatic else None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic_async",
        "client_secret": f"{id}_secret_{secret}",
        "confirmation_method": "automatic",
        "created": at,
        "currency": asked.currency,
        "customer": None,
        "description": asked.description,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": asked.metadata,
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_options": {},
        "payment_method_types": list(methods),
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
    }


def method(id: str, test_id: str, card: Card, at: int) -> Object:  # noqa: A002
    """A payment method of a test card. Each use makes one of its own, as at Stripe; `test_id` is
    ours alone."""
    return {
        "id": id,
        "object": "payment_method",
        "billing_details": _NOBODY,
        "card": {
            "brand": card.brand,
            "country": "US",
            "exp_month": 12,
            "exp_year": 2040,
            "funding": "credit",
            "last4": card.last4,
        },
        "created": at,
        "customer": None,
        "livemode": False,
        "metadata": {"stand_in_card": test_id},
        "type": "card",
    }


def charge(id: str, paid: Object, by: Object, card: Card, at: int) -> Object:  # noqa: A002
    """The charge of an intent with a payment method: it succeeds unless the card is declined."""
    declined = card.decline
    return {
        "id": id,
        "object": "charge",
        "amount": paid["amount"],
        "amount_captured": 0 if declined else paid["amount"],
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": _NOBODY,
        "captured": declined is None,
        "created": at,
        "currency": paid["currency"],
        "customer": None,
        "description": paid["description"],
        "disputed": False,
        "failure_code": declined.code if declined else None,
        "failure_message": declined.message if declined else None,
        "livemode": False,
        "metadata": paid["metadata"],
        "outcome": {
            "network_status": "declined_by_network" if declined else "approved_by_network",
            "reason": (declined.decline_code or declined.code) if declined else None,
            "risk_level": "normal",
            "seller_message": "The bank did not return any further details with this decline."
            if declined
            else "Payment complete.",
            "type": "issuer_declined" if declined else "authorized",
        },
        "paid": declined is None,
        "payment_intent": paid["id"],
        "payment_method": by["id"],
        "payment_method_details": {"card": by["card"], "type": "card"},
        "receipt_email": None,
        "refunded": False,
        "status": "failed" if declined else "succeeded",
    }


def refund(id: str, of: Object, amount: int, asked: NewRefund, status: str, at: int) -> Object:  # noqa: A002
    """Money of a charge that goes back."""
    return {
        "id": id,
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": of["id"],
        "created": at,
        "currency": of["currency"],
        "destination_details": {"card": {"type": "refund"}, "type": "card"},
        "metadata": asked.metadata,
        "payment_intent": of["payment_intent"],
        "reason": asked.reason,
        "receipt_number": None,
        "status": status,
    }


def event(
    id: str,  # noqa: A002
    name: str,
    about: Object,
    version: str,
    request: dict[str, Any] | None,
    pending: int,
    at: int,
) -> Object:
    """What has happened to an object, which stands in it as it was then."""
    return {
        "id": id,
        "object": "event",
        "api_version": version,
        "created": at,
        "data": {"object": about},
        "livemode": False,
        "pending_webhooks": pending,
        "request": request or {"id": None, "idempotency_key": None},
        "type": name,
    }


_NOBODY = {
    "address": dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state")),
    "email": None,
    "name": None,
    "phone": None,
}
