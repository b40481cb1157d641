"""What payments wait for, seen to by one process: refunds that are owed are made, intents that must
not be paid any more are cancelled, and what no webhook has told is asked for."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import structlog

from app.commands.payments import Outcome
from app.domain.refusal import Refusal
from app.payments.flow import Flow
from app.payments.minor_units import NotPayable
from app.payments.provider import Away, Refused
from app.payments.told import Asked, Intent, Refund
from streams.crash_points import reached
from streams.exclusive import Connect, Connection, alone
from streams.money import Money, parse

logger = structlog.get_logger()

KEPT = timedelta(days=60)
"""How long a webhook is known again. Stripe repeats one for three days by itself, and for thirty on
demand."""

_POLL_SECONDS = 1.0
_FORGET_SECONDS = 3600.0
_MOST = 5000
_AT_ONCE = 8
_SOON = 5.0
_OFTEN = 600.0
_NOW_AND_THEN = 6 * 3600.0  # most shoppers who have not paid in a day never will


@dataclass
class Pauses:
    """When each thing is tried again: after `first` seconds, later each time, at the latest after
    `longest`; the first time after `before`."""

    first: float
    longest: float
    before: float = 0.0
    _next: dict[str, tuple[float, float]] = field(default_factory=dict)

    def due(self, names: Iterable[str], now: float) -> list[str]:
        """Those to be tried now, whose next time is set with it. Others than these names are
        forgotten: they do not wait any more."""
        known, self._next = self._next, {}
        found = []
        for name in names:
            at, pause = known.get(name, (now + self.before, self.first))
            if now >= at:
                found.append(name)
                at, pause = now + pause, min(pause * 2, self.longest)
            self._next[name] = at, pause
        return found


class Open(NamedTuple):
    """An intent that is not paid, as far as its order knows; unwanted, where it should not be."""

    shop: str
    order_id: str
    intent_id: str
    unwanted: bool


class Settler:
    """Sees to the payments of one schema. `heard_seconds` is how long a webhook may take before
    Stripe is asked instead."""

    def __init__(
        self,
        connect: Connect,
        flow: Callable[[], AbstractAsyncContextManager[Flow]],
        heard_seconds: float = 120.0,
    ) -> None:
        self._connect = connect
        self._flow = flow
        self._asking = Pauses(heard_seconds, _NOW_AND_THEN, heard_seconds)
        self._cancelling = Pauses(_SOON, _OFTEN)
        self._refunding = Pauses(_SOON, _OFTEN)

    async def run(self) -> None:
        """Sees to them, for ever, while no other process does."""
        while True:
            try:
                async with alone(self._connect, "payments") as connection, self._flow() as flow:
                    await self._watch(connection, flow)
            except Exception as error:
                # Whatever it was: what waits is in Postgres, and waits on.
                logger.warning("payments wait", error=repr(error))
            await asyncio.sleep(_POLL_SECONDS)

    async def _watch(self, connection: Connection, flow: Flow) -> None:
        forgotten = -_FORGET_SECONDS
        while True:
            if time.monotonic() - forgotten > _FORGET_SECONDS:
                await connection.execute(_FORGET, KEPT)
                forgotten = time.monotonic()
            await self.once(connection, flow)
            await asyncio.sleep(_POLL_SECONDS)

    async def once(self, connection: Connection, flow: Flow) -> None:
        """Sees to all that is due at this moment."""
        now = time.monotonic()
        refunds = await _refunds(connection)
        intents = await _intents(connection)
        unwanted = [name for name, intent in intents.items() if intent.unwanted]
        wanted = [name for name, intent in intents.items() if not intent.unwanted]
        turn = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for name in self._refunding.due(refunds, now):
                tasks.create_task(_in_turn(turn, _refund(flow, refunds[name])))
            for name in self._cancelling.due(unwanted, now):
                tasks.create_task(_in_turn(turn, _cancel(flow, intents[name])))
            for name in self._asking.due(wanted, now):
                tasks.create_task(_in_turn(turn, _ask(flow, intents[name])))


async def _in_turn(turn: asyncio.Semaphore, work: Coroutine[Any, Any, None]) -> None:
    async with turn:
        await work


async def _refund(flow: Flow, asked: Asked) -> None:
    """Makes a refund, and tells its order how it ended."""
    told = {"order_id": asked.order_id, "refund_id": asked.refund_id}
    try:
        made = await flow.provider.refund(asked)
    except Away as away:
        logger.warning("a refund waits for Stripe", error=str(away), **told)
        return
    except (Refused, NotPayable) as refused:
        logger.warning("Stripe refuses a refund: somebody has to look", error=str(refused), **told)
        made = _refused(asked, str(refused))
    reached("refund_made")
    await _settle(flow, asked.shop, asked.order_id, made)


def _refused(asked: Asked, reason: str) -> Refund:
    return Refund(
        id="",
        intent_id=asked.intent_id,
        status="failed",
        amount=asked.amount,
        currency=asked.currency,
        shop=asked.shop,
        order_id=asked.order_id,
        refund_id=asked.refund_id,
        tries=asked.tries,
        reason=reason[:500],
    )


async def _cancel(flow: Flow, intent: Open) -> None:
    """Sees to it that nobody pays for what is not for sale any more; if somebody just did, their
    order gives it back."""
    try:
        found = await flow.provider.cancel_intent(intent.intent_id)
    except (Away, Refused) as error:
        logger.warning("an intent waits for Stripe", error=str(error), **intent._asdict())
        return
    await _settle(flow, intent.shop, intent.order_id, found)


async def _ask(flow: Flow, intent: Open) -> None:
    """Asks for what a webhook should have told, if it happened."""
    try:
        found = await flow.provider.intent(intent.intent_id)
    except (Away, Refused) as error:
        logger.warning("Stripe does not tell of an intent", error=str(error), **intent._asdict())
        return
    if found.paid or found.cancelled:
        logger.warning("a webhook was lost", intent=intent.intent_id, status=found.status)
        await _settle(flow, intent.shop, intent.order_id, found)


async def _settle(flow: Flow, shop: str, order_id: str, outcome: Intent | Refund) -> None:
    outcomes: list[Outcome] = [outcome]
    try:
        await flow.settle(shop, order_id, outcomes, datetime.now(UTC))
    except Refusal as refusal:
        logger.warning(
            "an order does not go with what Stripe has: somebody has to look",
            order_id=order_id,
            stripe=outcome.id,
            reason=str(refusal),
        )


async def _refunds(connection: Connection) -> Mapping[str, Asked]:
    """The refunds that are to be made, by what tells each from all others and its earlier tries."""
    rows = await connection.fetch(REFUNDS, _MOST)
    return {
        f"{row['shop']}/{row['order_id']}/{row['refund_id']}/{row['tries']}": Asked(
            **{**row, "amount": Money(parse(row["amount"]))}
        )
        for row in rows
    }


async def _intents(connection: Connection) -> Mapping[str, Open]:
    return {row["intent_id"]: Open(**row) for row in await connection.fetch(INTENTS, _MOST)}


# The conditions on `state` are those of the indexes in 0016_payments.sql, word for word.

REFUNDS = """
    SELECT shop, id AS order_id, refund.key AS refund_id,
        coalesce((refund.value ->> 'tries')::int, 1) AS tries,
        refund.value ->> 'payment_id' AS intent_id, refund.value ->> 'amount' AS amount,
        state ->> 'currency' AS currency
    FROM shop_orders, jsonb_each(state #> '{payment,refunds}') AS refund
    WHERE state @? '$.payment.refunds.* ? (@.status == "requested")'
        AND refund.value ->> 'status' = 'requested'
    ORDER BY changed_at
    LIMIT $1
"""

INTENTS = """
    SELECT shop, id AS order_id, intent.key AS intent_id, status <> 'placed' AS unwanted
    FROM shop_orders, jsonb_each(state #> '{payment,intents}') AS intent
    WHERE state @? '$.payment.intents.* ? (@.status != "paid" && !(@.reason == "canceled"))'
        AND intent.value ->> 'status' <> 'paid'
        AND coalesce(intent.value ->> 'reason', '') <> 'canceled'
    ORDER BY changed_at DESC
    LIMIT $1
"""

_FORGET = "DELETE FROM stripe_events WHERE received_at < now() - $1::interval"
