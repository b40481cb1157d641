"""What an account of Stripe's does: intents are paid, refused or cancelled, charges refunded.

Every operation changes the store in the caller's transaction, with the events that follow from it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from app.stack.stripe import asked, objects
from app.stack.stripe.amounts import check_amount, too_small
from app.stack.stripe.asked import (
    Cancel,
    Confirm,
    ListedEvents,
    ListedRefunds,
    NewEndpoint,
    NewIntent,
    NewRefund,
)
from app.stack.stripe.cards import CARDS, Card, Refunds
from app.stack.stripe.errors import StripeError, no_such
from app.stack.stripe.store import Object, Store

API_VERSION = "2026-10-28.endive"

_CANCELABLE = (
    "requires_payment_method, requires_capture, requires_confirmation, requires_action, processing"
)


class Request(NamedTuple):
    """The call that something follows from, as events name it."""

    id: str | None
    key: str | None


NOBODY = Request(None, None)


class Account:
    """The operations. `new_id` makes what follows a prefix; `now` is in seconds since 1970."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], float],
        new_id: Callable[[], str],
        refund_seconds: float = 1.0,
    ) -> None:
        """`refund_seconds` is when a refund changes that does by itself."""
        self.store = store
        self._now = now
        self._new_id = new_id
        self._refund_seconds = refund_seconds
        self.request = NOBODY

    @property
    def _at(self) -> int:
        return int(self._now())

    # Payment intents.

    def create_intent(self, new: NewIntent) -> Object:
        """Raises StripeError, also where it is confirmed at once and declined."""
        check_amount(new.amount, new.currency)
        intent = objects.intent(
            f"pi_3{self._new_id()}",
            self._new_id(),
            new,
            new.payment_method_types or ["card"],
            self._at,
        )
        if new.payment_method:
            intent |= {"payment_method": self._method(new.payment_method)["id"]}
            intent |= {"status": "requires_confirmation"}
        self._save(intent, "payment_intent.created")
        if new.confirm:
            return self._confirm(intent, Confirm(return_url=new.return_url))
        return intent

    def intent(self, id: str, secret: str | None = None) -> Object:  # noqa: A002
        """Raises StripeError."""
        found = self.store.get("payment_intent", id)
        if found is None or (secret is not None and found["client_secret"] != secret):
            raise no_such("payment_intent", id, "intent", 404)
        return found

    def change_intent(self, id: str, change: asked.ChangedIntent) -> Object:  # noqa: A002
        """Raises StripeError."""
        intent = self.intent(id)
        intent["metadata"] = {**intent["metadata"], **change.metadata}
        if change.description is not None:
            intent["description"] = change.description
        return self._save(intent)

    def confirm_intent(self, id: str, by: Confirm) -> Object:  # noqa: A002
        """Pays it. Raises StripeError: 402 where the card is declined, and the intent waits for
        another one."""
        return self._confirm(self.intent(id, by.client_secret), by)

    def _confirm(self, intent: Object, by: Confirm) -> Object:
        if intent["status"] not in (
            "requires_payment_method",
            "requires_confirmation",
            "requires_action",
        ):
            raise _unexpected(
                intent,
                "You cannot confirm this PaymentIntent because it has already succeeded after "
                "being previously confirmed."
                if intent["status"] == "succeeded"
                else "You cannot confirm this PaymentIntent because it has a status of "
                f"{intent['status']}. Only a PaymentIntent with one of the following statuses may "
                "be confirmed: requires_payment_method, requires_confirmation, requires_action.",
            )
        told = by.payment_method or intent["payment_method"]
        if not told:
            raise _unexpected(
                intent,
                "You cannot confirm this PaymentIntent because it's missing a payment method. "
                "Update the PaymentIntent with a payment method and then confirm it again.",
            )
        automatic = intent["automatic_payment_methods"]
        if automatic and automatic["allow_redirects"] == "always" and not by.return_url:
            raise StripeError(
                400,
                "This PaymentIntent is configured to accept payment methods enabled in your "
                "Dashboard. Because some of these payment methods might redirect your customer "
                "off of your page, you must provide a `return_url`. If you don't want to accept "
                "redirect-based payment methods, set `automatic_payment_methods[enabled]` to "
                "`true` and `automatic_payment_methods[allow_redirects]` to `never` when creating "
                "Setup Intents and Payment Intents.",
                param="return_url",
            )
        method = self._method(told)
        intent["payment_method"] = method["id"]
        if _card(method).authenticate:
            intent["status"] = "requires_action"
            intent["next_action"] = {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
            return self._save(intent, "payment_intent.requires_action")
        return self._charge(intent, method, _card(method))

    def authenticate(self, id: str, *, succeeds: bool) -> Object:  # noqa: A002
        """What the shopper's bank does where an intent requires action. Raises StripeError."""
        intent = self.intent(id)
        if intent["status"] != "requires_action":
            raise _unexpected(intent, f"its status is {intent['status']}")
        method = self._method(intent["payment_method"])
        if succeeds:
            return self._charge(intent, method, _card(method))
        reason = {
            "code": "payment_intent_authentication_failure",
            "message": "The provided PaymentMethod has failed authentication.",
            "type": "invalid_request_error",
        }
        return self._failed(intent, {**reason, "payment_method": method})

    def _charge(self, intent: Object, method: Object, card: Card) -> Object:
        charge = objects.charge(f"ch_3{self._new_id()}", intent, method, card, self._at)
        intent |= {"latest_charge": charge["id"], "next_action": None}
        if (declined := card.decline) is None:
            self._save(charge, "charge.succeeded")
            intent |= {"status": "succeeded", "amount_received": intent["amount"]}
            intent["last_payment_error"] = None
            return self._save(intent, "payment_intent.succeeded")
        self._save(charge, "charge.failed")
        reason = {"charge": charge["id"], "code": declined.code, "message": declined.message}
        if declined.decline_code:
            reason["decline_code"] = declined.decline_code
        failed = self._failed(intent, {**reason, "payment_method": method, "type": "card_error"})
        raise StripeError(
            402,
            declined.message,
            type="card_error",
            code=declined.code,
            kept=True,
            decline_code=declined.decline_code,
            charge=charge["id"],
            payment_intent=failed,
            payment_method=method,
        )

    def _failed(self, intent: Object, reason: Object) -> Object:
        intent |= {"status": "requires_payment_method", "payment_method": None}
        intent |= {"next_action": None, "last_payment_error": reason}
        return self._save(intent, "payment_intent.payment_failed")

    def cancel_intent(self, id: str, cancel: Cancel) -> Object:  # noqa: A002
        """Raises StripeError where it is paid, or was cancelled before."""
        intent = self.intent(id)
        if intent["status"] in ("succeeded", "canceled"):
            raise _unexpected(
                intent,
                "You cannot cancel this PaymentIntent because it has a status of "
                f"{intent['status']}. Only a PaymentIntent with one of the following statuses may "
                f"be canceled: {_CANCELABLE}.",
            )
        intent |= {"status": "canceled", "canceled_at": self._at, "next_action": None}
        intent["cancellation_reason"] = cancel.cancellation_reason
        return self._save(intent, "payment_intent.canceled")

    # Refunds.

    def create_refund(self, new: NewRefund) -> Object:
        """Raises StripeError."""
        charge = self._refundable(new)
        left = charge["amount"] - charge["amount_refunded"]
        if left == 0:
            raise StripeError(
                400,
                f"Charge {charge['id']} has already been refunded.",
                code="charge_already_refunded",
                kept=True,
            )
        amount = left if new.amount is None else new.amount
        if amount < 1:
            raise too_small("amount", "Invalid positive integer")
        if amount > left:
            unit = charge["currency"].upper()
            raise StripeError(
                400,
                f"Refund amount ({amount} {unit}, in minor units) is greater than unrefunded "
                f"amount on charge ({left} {unit})",
                param="amount",
                kept=True,
            )
        how = _card(self._method(charge["payment_method"])).refunds
        status = "pending" if how is Refunds.PENDING else "succeeded"
        refund = objects.refund(f"re_3{self._new_id()}", charge, amount, new, status, self._at)
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        self._save(refund, "refund.created")
        self._save(charge, "charge.refunded")
        if how is not Refunds.AT_ONCE:
            self.store.change_later(refund["id"], self._now() + self._refund_seconds)
        return refund

    def _refundable(self, new: NewRefund) -> Object:
        if new.payment_intent:
            intent = self.store.get("payment_intent", new.payment_intent)
            if intent is None:
                raise no_such("payment_intent", new.payment_intent, "payment_intent")
            if intent["status"] != "succeeded":
                raise StripeError(
                    400,
                    f"This PaymentIntent ({intent['id']}) does not have a successful charge to "
                    "refund.",
                    kept=True,
                )
            charge = self.store.get("charge", intent["latest_charge"])
            assert charge is not None
            return charge
        if not new.charge:
            raise StripeError(
                400,
                "One of the following params should be provided for this request: payment_intent "
                "or charge.",
            )
        charge = self.store.get("charge", new.charge)
        if charge is None:
            raise no_such("charge", new.charge, "charge")
        return charge

    def change_refund(self, id: str) -> None:  # noqa: A002
        """What a bank says later: a pending refund has succeeded, or one has failed after all."""
        refund = self.get("refund", id)
        charge = self.get("charge", refund["charge"])
        if refund["status"] == "pending":
            refund["status"] = "succeeded"
            self._save(refund, "refund.updated")
            self._tell("charge.refund.updated", refund)
            return
        refund |= {"status": "failed", "failure_reason": "expired_or_canceled_card"}
        charge["amount_refunded"] -= refund["amount"]
        charge["refunded"] = False
        self._save(charge)
        self._save(refund, "refund.updated")
        self._tell("charge.refund.updated", refund)
        self._tell("refund.failed", refund)

    # The rest.

    def get(self, kind: str, id: str) -> Object:  # noqa: A002
        """Raises StripeError."""
        found = self.store.get(kind, id)
        if found is None:
            raise no_such(kind, id, "id", 404)
        return found

    def list(self, kind: str, url: str, query: asked.Listed) -> Object:
        """A page, the latest first."""
        fields = {}
        if isinstance(query, ListedRefunds):
            fields = {"payment_intent": query.payment_intent, "charge": query.charge}
        if isinstance(query, ListedEvents):
            fields = {"type": query.type}
        told = {name: value for name, value in fields.items() if value is not None}
        since = query.created
        bounds = (since.gt, since.gte, since.lt, since.lte) if since else ()
        rows = self.store.latest(kind, told, bounds, query.starting_after, query.limit + 1)
        return {
            "object": "list",
            "data": rows[: query.limit],
            "has_more": len(rows) > query.limit,
            "url": url,
        }

    def create_endpoint(self, new: NewEndpoint) -> Object:
        """Where webhooks go to from now on; its secret is told this once."""
        endpoint = {
            "id": f"we_1{self._new_id()}",
            "object": "webhook_endpoint",
            "api_version": None,
            "created": self._at,
            "description": new.description,
            "enabled_events": new.enabled_events,
            "livemode": False,
            "metadata": new.metadata,
            "secret": f"whsec_{self._new_id()}",
            "status": "enabled",
            "url": new.url,
        }
        self.store.put(endpoint)
        return endpoint

    def delete_endpoint(self, id: str) -> Object:  # noqa: A002
        self.get("webhook_endpoint", id)
        self.store.delete(id)
        return {"id": id, "object": "webhook_endpoint", "deleted": True}

    def _method(self, id: str) -> Object:  # noqa: A002
        """A payment method: one of a test card's own, or one that was used before."""
        if (known := self.store.get("payment_method", id)) is not None:
            return known
        if (card := CARDS.get(id)) is None:
            raise no_such("PaymentMethod", id, "payment_method")
        return self._save(objects.method(f"pm_1{self._new_id()}", id, card, self._at))

    def _save(self, found: Object, event: str | None = None) -> Object:
        self.store.put(found)
        if event:
            self._tell(event, found)
        return found

    def _tell(self, name: str, about: Object) -> None:
        now = self._now()
        endpoints = [
            endpoint["id"]
            for endpoint in self.store.latest("webhook_endpoint", {}, (), None, 100)
            if {"*", name} & set(endpoint["enabled_events"])
        ]
        request: dict[str, Any] = {"id": self.request.id, "idempotency_key": self.request.key}
        told = objects.event(
            f"evt_3{self._new_id()}", name, about, API_VERSION, request, len(endpoints), int(now)
        )
        self.store.put(told)
        for endpoint in endpoints:
            self.store.owe(told["id"], endpoint, now, now)


def _card(method: Object) -> Card:
    return CARDS[method["metadata"]["stand_in_card"]]


def _unexpected(intent: Object, message: str) -> StripeError:
    return StripeError(
        400, message, code="payment_intent_unexpected_state", kept=True, payment_intent=intent
    )
