"""Webhooks on their way: signed, sent until they are taken, and on demand sent badly."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable
from contextlib import suppress

import httpx2
import structlog
from pydantic import BaseModel, ConfigDict, Field

from app.stack.stripe.account import NOBODY, Account
from app.stack.stripe.store import Delivery, Store

logger = structlog.get_logger()

GIVEN_UP_SECONDS = 3 * 24 * 3600.0
_ANSWER_SECONDS = 10.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 60.0  # Stripe's are up to hours: nobody waits so long for a demo
_AT_ONCE = 20


class Mischief(BaseModel):
    """What is to go wrong from now on, as it may at any time with the real ones."""

    model_config = ConfigDict(extra="forbid")

    hold: bool = False
    """Webhooks wait until this is taken back."""
    reverse: bool = False
    """The latest is sent first, of those that wait."""
    copies: int = Field(1, ge=1, le=10)
    """How often each is sent, one beside the other."""
    delay_seconds: float = Field(0.0, ge=0, le=3600)
    """How long each waits."""
    lose: bool = False
    """They are not sent, and never will be."""
    lost_answers: int = Field(0, ge=0)
    """Of how many requests what they ask for is done, and not told."""


def signature(body: str, secret: str, at: int) -> str:
    """The header that a webhook is signed with."""
    mac = hmac.new(secret.encode(), f"{at}.{body}".encode(), hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"


class Deliveries:
    """Sends what the store owes, one round after the other."""

    def __init__(self, store: Store, account: Account, now: Callable[[], float]) -> None:
        self.mischief = Mischief()
        self._store = store
        self._account = account
        self._now = now
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There may be something to send."""
        self._woken.set()

    async def run(self) -> None:
        """Sends, for ever."""
        async with httpx2.AsyncClient(timeout=_ANSWER_SECONDS) as client:
            while True:
                self._woken.clear()
                if not await self._round(client):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._woken.wait(), self._pause())

    def _pause(self) -> float | None:
        due = self._store.next_due()
        if due is None or self.mischief.hold:
            return None
        return min(max(due + self.mischief.delay_seconds - self._now(), 0.01), _LONGEST_PAUSE)

    async def _round(self, client: httpx2.AsyncClient) -> int:
        """Sends what is due; how many."""
        with self._store.transaction():
            self._account.request = NOBODY
            for refund in self._store.changes_due(self._now()):
                self._account.change_refund(refund)
        mischief = self.mischief
        if mischief.hold:
            return 0
        due = self._store.due(
            self._now() - mischief.delay_seconds, _AT_ONCE, latest_first=mischief.reverse
        )
        # One after the other: an order that nobody may rely on is still easier to read.
        for delivery in due:
            await self._deliver(client, delivery, mischief)
        return len(due)

    async def _deliver(
        self, client: httpx2.AsyncClient, delivery: Delivery, mischief: Mischief
    ) -> None:
        event = self._store.get("event", delivery.event)
        endpoint = self._store.get("webhook_endpoint", delivery.endpoint)
        if event is None or endpoint is None or mischief.lose:
            self._store.tried(delivery.id, "lost", self._now())
            return
        body = json.dumps(event, indent=2)
        sent = [
            self._send(client, endpoint["url"], body, endpoint["secret"])
            for _ in range(mischief.copies)
        ]
        taken = await asyncio.gather(*sent)
        now = self._now()
        if any(taken):
            with self._store.transaction():
                event["pending_webhooks"] -= 1
                self._store.put(event)
                self._store.tried(delivery.id, "delivered", now)
        elif now - delivery.begun > GIVEN_UP_SECONDS:
            self._store.tried(delivery.id, "given up", now)
        else:
            pause = min(_FIRST_PAUSE * 2**delivery.tries, _LONGEST_PAUSE)
            self._store.tried(delivery.id, "waiting", now + pause)

    async def _send(self, client: httpx2.AsyncClient, url: str, body: str, secret: str) -> bool:
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(body, secret, int(self._now())),
            "User-Agent": "Stripe/1.0 (a stand-in)",
        }
        try:
            answer = await client.post(url, content=body.encode(), headers=headers)
        except (httpx2.HTTPError, OSError) as error:
            logger.info("a webhook is not taken", url=url, error=repr(error))
            return False
        if not answer.is_success:
            logger.info("a webhook is not taken", url=url, status=answer.status_code)
        return bool(answer.is_success)
