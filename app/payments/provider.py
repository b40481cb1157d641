"""Stripe, as far as a shop needs it, through its own package: each call by its idempotency key.

A call that got no answer may have been carried out. Sent again under its key it is not done twice;
Stripe keeps keys for a day, so whatever may be older is looked for before it is asked for again.

The package is loaded with the first key: many shops have none.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from app.payments.minor_units import from_minor, to_minor
from app.payments.told import Asked, Charge, Intent, Refund, Told
from streams.money import Money

if TYPE_CHECKING:
    from stripe.params import PaymentIntentCreateParams, RefundCreateParams

API_VERSION = "2026-10-28.endive"
"""What Stripe's answers look like: it keeps to it, whatever the account's own version is."""

TOLERANCE_SECONDS = 300
"""How old a webhook's signature may be. Every try is signed anew."""

_TIMEOUT_SECONDS = 8.0
_RETRIES = 1
_MOST_REFUNDS = 100


class Away(Exception):
    """Stripe gave no answer, or none that is one: it may have done what was asked for."""


class Refused(Exception):
    """Stripe will not do that: its code, and its words."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class Forged(Exception):
    """A webhook that is not signed by Stripe for us, or was too long ago."""


class Provider:
    """Stripe by one key; `url` is another address for it, such as the stand-in's."""

    def __init__(self, key: str, webhook_secrets: Sequence[str], url: str | None = None) -> None:
        from stripe import AIOHTTPClient, StripeClient

        self._http = AIOHTTPClient(timeout=_TIMEOUT_SECONDS)
        self._secrets = list(webhook_secrets)
        self._stripe = StripeClient(
            key,
            stripe_version=API_VERSION,
            base_addresses={"api": url.rstrip("/")} if url else {},
            max_network_retries=_RETRIES,
            http_client=self._http,
        )

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]

    # Payment intents.

    async def create_intent(
        self, shop: str, order_id: str, count: int, amount: Money, currency: str
    ) -> Intent:
        """An intent for an order that had `count` of them before: the same one whenever it is asked
        for again. Raises NotPayable, Refused, Away."""
        minor = to_minor(amount, currency)
        wanted: PaymentIntentCreateParams = {
            "amount": minor,
            "currency": currency.lower(),
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "metadata": {"shop": shop, "order_id": order_id},
        }
        key = _key("payment", shop, order_id, str(count), str(minor), currency)
        return _intent(
            await _called(
                self._stripe.v1.payment_intents.create_async(wanted, {"idempotency_key": key})
            )
        )

    async def intent(self, intent_id: str) -> Intent:
        """An intent as it is now. One that this account does not have, as after a change of keys,
        is as good as cancelled. Raises Refused, Away."""
        try:
            return _intent(await _called(self._stripe.v1.payment_intents.retrieve_async(intent_id)))
        except Refused as refused:
            if refused.code != "resource_missing":
                raise
            return Intent(intent_id, "canceled", Money(0), "", reason="canceled")

    async def cancel_intent(self, intent_id: str) -> Intent:
        """An intent that nobody can pay any more, unless somebody just did. Raises Refused,
        Away."""
        try:
            return _intent(await _called(self._stripe.v1.payment_intents.cancel_async(intent_id)))
        except Refused as refused:
            if refused.code not in ("payment_intent_unexpected_state", "resource_missing"):
                raise
            return await self.intent(intent_id)

    # Refunds.

    async def refund(self, asked: Asked) -> Refund:
        """Makes a refund, or finds that it was made. Raises NotPayable, Refused, Away."""
        for made in await self.refunds(asked.intent_id):
            if (made.refund_id, made.tries) == (asked.refund_id, asked.tries):
                return made
        minor = to_minor(asked.amount, asked.currency)
        metadata = {
            "shop": asked.shop,
            "order_id": asked.order_id,
            "refund_id": asked.refund_id,
            "tries": str(asked.tries),
        }
        wanted: RefundCreateParams = {
            "payment_intent": asked.intent_id,
            "amount": minor,
            "metadata": metadata,
        }
        key = _key("refund", *metadata.values())
        return _refund(
            await _called(self._stripe.v1.refunds.create_async(wanted, {"idempotency_key": key}))
        )

    async def refunds(self, intent_id: str) -> list[Refund]:
        """All refunds of an intent. Raises Refused, Away."""
        listed = await _called(
            self._stripe.v1.refunds.list_async(
                {"payment_intent": intent_id, "limit": _MOST_REFUNDS}
            )
        )
        return [_refund(one) for one in listed["data"]]

    # Webhooks.

    def told(self, body: bytes, signature: str) -> Told:
        """A webhook that is Stripe's by one of our secrets: during a rotation there are two.
        Raises Forged."""
        from stripe import SignatureVerificationError

        for secret in self._secrets:
            try:
                event = self._stripe.construct_event(body, signature, secret, TOLERANCE_SECONDS)
                return _told(event.to_dict())
            except SignatureVerificationError as error:
                forged = Forged(str(error.user_message))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise Forged(f"it is no event of Stripe's: {error!r}") from None
        raise forged if self._secrets else Forged("no webhook secret is set here")


def _key(*parts: str) -> str:
    """An idempotency key of ours, which Stripe limits to 255 characters."""
    return f"{parts[0]}-{hashlib.sha256(repr(parts).encode()).hexdigest()}"


async def _called(call: Any) -> dict[str, Any]:
    """What Stripe answers to a call. Raises Refused, Away."""
    from aiohttp import ClientError
    from stripe import CardError, InvalidRequestError, StripeError

    try:
        found: dict[str, Any] = (await call).to_dict()
    except (InvalidRequestError, CardError) as error:
        raise Refused(error.code or "refused", error.user_message or str(error)) from error
    except StripeError as error:
        raise Away(f"{type(error).__name__}: {error.user_message or error}") from error
    except (ClientError, TimeoutError, OSError) as error:
        raise Away(repr(error)) from error
    return found


def _intent(found: Mapping[str, Any]) -> Intent:
    currency = str(found["currency"]).upper()
    paid = found["status"] == "succeeded"
    metadata = found.get("metadata") or {}
    error = found.get("last_payment_error") or {}
    return Intent(
        found["id"],
        found["status"],
        from_minor(found["amount_received" if paid else "amount"], currency),
        currency,
        metadata.get("shop", ""),
        metadata.get("order_id", ""),
        found.get("client_secret"),
        "canceled"
        if found["status"] == "canceled"
        else error.get("decline_code") or error.get("code"),
    )


def _refund(found: Mapping[str, Any]) -> Refund:
    currency = str(found["currency"]).upper()
    metadata = found.get("metadata") or {}
    tries = str(metadata.get("tries", ""))
    return Refund(
        found["id"],
        found.get("payment_intent") or "",
        found.get("status") or "pending",
        from_minor(found["amount"], currency),
        currency,
        metadata.get("shop", ""),
        metadata.get("order_id", ""),
        metadata.get("refund_id", ""),
        int(tries) if tries.isascii() and tries.isdecimal() else 0,
        found.get("failure_reason"),
    )


def _told(event: Mapping[str, Any]) -> Told:
    about = event["data"]["object"]
    match about.get("object"):
        case "payment_intent":
            return Told(event["id"], event["type"], _intent(about))
        case "refund":
            return Told(event["id"], event["type"], _refund(about))
        case "charge":
            ours = about.get("metadata") or {}
            charge = Charge(
                about.get("payment_intent") or "", ours.get("shop", ""), ours.get("order_id", "")
            )
            return Told(event["id"], event["type"], charge)
    return Told(event["id"], event["type"], None)
