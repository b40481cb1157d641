"""Stripe's test payment methods, and what becomes of a payment with each."""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple


class Refunds(Enum):
    """What becomes of money that goes back to a card."""

    AT_ONCE = "succeeded"
    PENDING = "pending, and succeeded later"
    FAIL = "succeeded, and failed later"


class Decline(NamedTuple):
    """Why a card is declined: an error's code, the issuer's, and words for the shopper."""

    code: str
    message: str
    decline_code: str | None = None


class Card(NamedTuple):
    brand: str
    last4: str
    decline: Decline | None = None
    authenticate: bool = False
    refunds: Refunds = Refunds.AT_ONCE


_DECLINED = "Your card was declined."
_PLAIN = Decline("card_declined", _DECLINED, "generic_decline")

CARDS: Mapping[str, Card] = {
    "pm_card_visa": Card("visa", "4242"),
    "pm_card_visa_debit": Card("visa", "5556"),
    "pm_card_mastercard": Card("mastercard", "4444"),
    "pm_card_amex": Card("amex", "8431"),
    "pm_card_chargeDeclined": Card("visa", "0002", _PLAIN),
    "pm_card_visa_chargeDeclined": Card("visa", "0002", _PLAIN),
    "pm_card_chargeDeclinedInsufficientFunds": Card(
        "visa",
        "9995",
        Decline("card_declined", "Your card has insufficient funds.", "insufficient_funds"),
    ),
    "pm_card_chargeDeclinedLostCard": Card(
        "visa", "9987", Decline("card_declined", _DECLINED, "lost_card")
    ),
    "pm_card_chargeDeclinedStolenCard": Card(
        "visa", "9979", Decline("card_declined", _DECLINED, "stolen_card")
    ),
    "pm_card_chargeDeclinedExpiredCard": Card(
        "visa", "0069", Decline("expired_card", "Your card has expired.")
    ),
    "pm_card_chargeDeclinedIncorrectCvc": Card(
        "visa", "0127", Decline("incorrect_cvc", "Your card's security code is incorrect.")
    ),
    "pm_card_chargeDeclinedProcessingError": Card(
        "visa",
        "0119",
        Decline(
            "processing_error",
            "An error occurred while processing your card. Try again in a little bit.",
        ),
    ),
    "pm_card_authenticationRequired": Card("visa", "3184", authenticate=True),
    "pm_card_threeDSecure2Required": Card("visa", "3220", authenticate=True),
    "pm_card_pendingRefund": Card("visa", "7726", refunds=Refunds.PENDING),
    "pm_card_refundFail": Card("visa", "5126", refunds=Refunds.FAIL),
}
