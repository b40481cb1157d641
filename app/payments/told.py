"""What Stripe has, in our words: payment intents, charges, refunds, and what webhooks tell."""

from typing import NamedTuple

from streams.money import Money


class Intent(NamedTuple):
    """A payment intent as it is, or was when a webhook told of it; once it is paid, with what was
    received. `shop` and `order_id` are empty where it is none of ours."""

    id: str
    status: str
    amount: Money
    currency: str
    shop: str = ""
    order_id: str = ""
    client_secret: str | None = None
    reason: str | None = None

    @property
    def paid(self) -> bool:
        return self.status == "succeeded"

    @property
    def cancelled(self) -> bool:
        return self.status == "canceled"


class Refund(NamedTuple):
    """A refund as it is or was. `refund_id` and `tries` are ours; empty where it is made by hand,
    in Stripe's dashboard."""

    id: str
    intent_id: str
    status: str
    amount: Money
    currency: str
    shop: str = ""
    order_id: str = ""
    refund_id: str = ""
    tries: int = 0
    reason: str | None = None

    @property
    def failed(self) -> bool:
        return self.status in ("failed", "canceled")


class Charge(NamedTuple):
    """The charge of an intent."""

    intent_id: str
    shop: str = ""
    order_id: str = ""


class Told(NamedTuple):
    """A webhook: its id, its type, and what it is about as it was then, if we know such things."""

    id: str
    type: str
    about: Intent | Refund | Charge | None


class Asked(NamedTuple):
    """A refund that is to be made: `tries` counts those that were asked for and have failed."""

    shop: str
    order_id: str
    refund_id: str
    tries: int
    intent_id: str
    amount: Money
    currency: str
