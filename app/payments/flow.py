"""How payments come about: the order is read, Stripe is asked, the order is told what it said.

Stripe is never asked within a transaction, and each step can be done again. What a crash between
two of them leaves is an intent whose secret nobody was given, so that nobody can pay it: asked for
again within a day it is the same one, later another takes its place.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from app.commands import payments
from app.commands.execute import Answer, Call, Commands
from app.commands.payments import Outcome
from app.commands.work import Work
from app.domain.order import Order
from app.payments.provider import Provider
from app.payments.told import Charge, Intent, Refund, Told

_CHANGING = frozenset(
    (
        *("payment_intent.succeeded", "payment_intent.payment_failed", "payment_intent.canceled"),
        *("refund.created", "refund.updated", "refund.failed"),
        *("charge.refunded", "charge.refund.updated"),
    )
)
"""The webhooks that change something; all others are taken, and nothing more."""


class Flow(NamedTuple):
    """Payments of one schema's orders."""

    commands: Commands
    provider: Provider

    async def intent(self, shop: str, order: Order) -> Intent:
        """What an order is to be paid with: the intent that it has, unless that was cancelled.
        Raises NotPayable, Refused, Away."""
        for intent_id in payments.open_intents(order):
            found = await self.provider.intent(intent_id)
            if not found.cancelled:
                return found
        before = len(order.payment.intents)
        return await self.provider.create_intent(
            shop, order.order_id, before, order.payable, order.currency
        )

    async def hear(self, told: Told, now: datetime) -> bool:
        """What a webhook tells; false where it changes nothing here. Raises Refusal where it does
        not go with the order, Refused, Away."""
        about = told.about
        if told.type not in _CHANGING or about is None:
            return False
        of: Intent | Refund | Charge = about
        if isinstance(about, Refund) and about.intent_id and not about.order_id:
            # It was made by hand, in Stripe's dashboard: its payment says of which order.
            of = await self.provider.intent(about.intent_id)
        if not of.order_id:
            return False
        outcomes: Sequence[Outcome]
        if isinstance(about, Charge):
            # It does not name its refunds, but says that there are some.
            outcomes = await self.provider.refunds(about.intent_id)
        else:
            outcomes = [about]
        return await self.settle(of.shop, of.order_id, outcomes, now, told)

    async def settle(
        self,
        shop: str,
        order_id: str,
        outcomes: Sequence[Outcome],
        now: datetime,
        told: Told | None = None,
    ) -> bool:
        """Tells an order what has become of its payments and refunds, once for a webhook; false
        where there is nothing new in it. Raises Refusal."""
        call = Call(shop, "stripe", told.id if told else Work.new_id(), b"")
        changed: list[bool] = []

        async def handle(work: Work) -> Answer:
            new = told is None or await payments.first_heard(work, told.id, told.type)
            changed.append(new and await payments.settle(work, order_id, outcomes))
            return Answer({})

        await self.commands.run(call, now, handle)
        return changed[-1]
