"""The stand-in, asked by Stripe's own package: what it answers is what Stripe's would."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import stripe
import uvicorn
from stripe import StripeClient, Webhook

from app.stack.stripe.server import PUBLISHABLE_KEY
from tests.paying import WEBHOOK_SECRET, Bank, bank

Params = dict[str, Any]


@pytest.fixture
async def till() -> AsyncIterator[Bank]:
    async with bank() as found:
        yield found


def wanted(amount: object = 1999, currency: str = "eur", **more: Any) -> Any:
    automatic = {"enabled": True, "allow_redirects": "never"}
    return {
        "amount": amount,
        "currency": currency,
        "automatic_payment_methods": automatic,
        "metadata": {"order_id": "o-1"},
        **more,
    }


async def paid(client: StripeClient, card: str = "pm_card_visa", **more: Any) -> Any:
    intent = await client.v1.payment_intents.create_async(wanted(**more))
    return await client.v1.payment_intents.confirm_async(intent.id, {"payment_method": card})


async def test_a_card_pays_an_intent(till: Bank) -> None:
    client = till.client()
    intent = await client.v1.payment_intents.create_async(wanted())
    assert intent.status == "requires_payment_method"
    assert intent.metadata["order_id"] == "o-1"
    assert intent.client_secret
    assert intent.client_secret.startswith(f"{intent.id}_secret_")
    done = await client.v1.payment_intents.confirm_async(
        intent.id, {"payment_method": "pm_card_visa"}
    )
    assert (done.status, done.amount_received) == ("succeeded", 1999)
    events = await client.v1.events.list_async()
    assert [event.type for event in events.data] == [
        "payment_intent.succeeded",
        "charge.succeeded",
        "payment_intent.created",
    ]
    with pytest.raises(stripe.InvalidRequestError) as again:
        await client.v1.payment_intents.confirm_async(intent.id)
    assert again.value.code == "payment_intent_unexpected_state"


@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", None),
    ],
)
async def test_a_declined_card_leaves_the_intent_to_another_one(
    till: Bank, card: str, code: str, decline_code: str | None
) -> None:
    client = till.client()
    intent = await client.v1.payment_intents.create_async(wanted())
    with pytest.raises(stripe.CardError) as declined:
        await client.v1.payment_intents.confirm_async(intent.id, {"payment_method": card})
    error = declined.value.error
    assert error is not None
    assert (declined.value.http_status, declined.value.code) == (402, code)
    assert getattr(error, "decline_code", None) == decline_code
    assert error.payment_intent is not None
    assert error.payment_intent["status"] == "requires_payment_method"
    found = await client.v1.payment_intents.retrieve_async(intent.id)
    assert found.last_payment_error is not None
    assert found.last_payment_error.code == code
    done = await client.v1.payment_intents.confirm_async(
        intent.id, {"payment_method": "pm_card_visa"}
    )
    assert done.status == "succeeded"
    assert done.last_payment_error is None


async def test_the_bank_may_want_to_be_asked(till: Bank) -> None:
    client = till.client()
    intent = await paid(client, "pm_card_threeDSecure2Required")
    assert intent.status == "requires_action"
    async with httpx2.AsyncClient(base_url=till.url) as browser:
        failed = await browser.post(f"/stand-in/authenticate/{intent.id}?succeeds=false")
        assert failed.json()["status"] == "requires_payment_method"
        await client.v1.payment_intents.confirm_async(
            intent.id, {"payment_method": "pm_card_threeDSecure2Required"}
        )
        done = await browser.post(f"/stand-in/authenticate/{intent.id}")
    assert done.json()["status"] == "succeeded"


async def test_only_what_is_not_paid_is_cancelled(till: Bank) -> None:
    client = till.client()
    open_one = await client.v1.payment_intents.create_async(wanted())
    cancelled = await client.v1.payment_intents.cancel_async(open_one.id)
    assert cancelled.status == "canceled"
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.v1.payment_intents.cancel_async((await paid(client)).id)
    assert refused.value.code == "payment_intent_unexpected_state"
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.payment_intents.confirm_async(
            open_one.id, {"payment_method": "pm_card_visa"}
        )


async def test_refunds_never_exceed_the_charge(till: Bank) -> None:
    client = till.client()
    intent = await paid(client)
    part = await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 500})
    assert (part.status, part.amount, part.charge) == ("succeeded", 500, intent.latest_charge)
    with pytest.raises(stripe.InvalidRequestError) as too_much:
        await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 1500})
    assert too_much.value.param == "amount"
    rest = await client.v1.refunds.create_async({"payment_intent": intent.id})
    assert rest.amount == 1499
    with pytest.raises(stripe.InvalidRequestError) as twice:
        await client.v1.refunds.create_async({"payment_intent": intent.id})
    assert twice.value.code == "charge_already_refunded"
    charge = await client.v1.charges.retrieve_async(intent.latest_charge)
    assert (charge.refunded, charge.amount_refunded) == (True, 1999)
    listed = await client.v1.refunds.list_async({"payment_intent": intent.id})
    assert {refund.id for refund in listed.data} == {part.id, rest.id}
    unpaid = await client.v1.payment_intents.create_async(wanted())
    with pytest.raises(stripe.InvalidRequestError, match="successful charge"):
        await client.v1.refunds.create_async({"payment_intent": unpaid.id})


async def test_some_refunds_change_later(till: Bank) -> None:
    client = till.client()
    expected = {"pm_card_pendingRefund": "succeeded", "pm_card_refundFail": "failed"}
    for card, status in expected.items():
        intent = await paid(client, card)
        refund = await client.v1.refunds.create_async({"payment_intent": intent.id})
        assert refund.status != status
        async with asyncio.timeout(30):
            while (await client.v1.refunds.retrieve_async(refund.id)).status != status:
                await asyncio.sleep(0.1)
    failed = await client.v1.events.list_async({"type": "refund.failed"})
    assert [event.data.object["status"] for event in failed.data] == ["failed"]


async def test_a_request_under_one_key_is_done_once(till: Bank) -> None:
    client = till.client()

    async def create(key: str, **more: Any) -> Any:
        return await client.v1.payment_intents.create_async(
            wanted(**more), {"idempotency_key": key}
        )

    first, again = await create("k-1"), await create("k-1")
    assert again.id == first.id
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert again.last_response.headers["Original-Request"] == first.last_response.request_id
    with pytest.raises(stripe.IdempotencyError, match="same parameters"):
        await create("k-1", amount=2000)
    with pytest.raises(stripe.IdempotencyError, match="same endpoint"):
        await client.v1.refunds.create_async(
            {"payment_intent": first.id}, {"idempotency_key": "k-1"}
        )
    # A declined card is declined again; a request that was wrong may be mended.
    for _ in range(2):
        with pytest.raises(stripe.CardError):
            await client.v1.payment_intents.confirm_async(
                first.id, {"payment_method": "pm_card_chargeDeclined"}, {"idempotency_key": "k-2"}
            )
    with pytest.raises(stripe.InvalidRequestError):
        await create("k-3", amount=1)
    assert (await create("k-3")).amount == 1999
    failed = await client.v1.events.list_async({"type": "payment_intent.payment_failed"})
    assert len(failed.data) == 1


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        (lambda: {"currency": "eur"}, "parameter_missing", "amount"),
        (lambda: wanted(amount="much"), "parameter_invalid_integer", "amount"),
        (lambda: wanted(amount=-1), "parameter_invalid_integer", "amount"),
        (lambda: wanted(amount=49), "amount_too_small", "amount"),
        (lambda: wanted(amount=100_000_000), "amount_too_large", "amount"),
        (lambda: wanted(currency="EUR"), None, "currency"),
        (lambda: wanted(currency="isk", amount=250), "parameter_invalid_integer", "amount"),
        (lambda: wanted(colour="red"), "parameter_unknown", "colour"),
        (lambda: wanted(payment_method="pm_card_none"), "resource_missing", "payment_method"),
    ],
)
async def test_what_is_wrong_is_named(
    till: Bank, params: Callable[[], Any], code: str | None, param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await till.client().v1.payment_intents.create_async(params())
    assert (refused.value.http_status, refused.value.code) == (400, code)
    assert refused.value.param == param


async def test_keys_open_what_they_are_for(till: Bank) -> None:
    intent = await till.client().v1.payment_intents.create_async(wanted())
    for key in ("sk_test_wrong", PUBLISHABLE_KEY):
        with pytest.raises(stripe.AuthenticationError):
            await till.client(key).v1.payment_intents.retrieve_async(intent.id)
    async with httpx2.AsyncClient(base_url=till.url) as browser:
        assert (await browser.get("/v1/events")).status_code == 401
        path = f"/v1/payment_intents/{intent.id}/confirm"
        told = {"payment_method": "pm_card_visa", "client_secret": f"{intent.id}_secret_guessed"}
        wrong = await browser.post(path, data=told, auth=(PUBLISHABLE_KEY, ""))
        assert wrong.status_code == 404
        told["client_secret"] = str(intent.client_secret)
        right = await browser.post(path, data=told, auth=(PUBLISHABLE_KEY, ""))
    assert right.json()["status"] == "succeeded"


async def test_pages_go_back_in_time(till: Bank) -> None:
    client = till.client()
    made = [(await client.v1.payment_intents.create_async(wanted())).id for _ in range(5)]
    listed = await client.v1.payment_intents.list_async({"limit": 2})
    assert [intent.id for intent in listed.data] == [made[4], made[3]]
    assert listed.has_more
    assert [intent.id async for intent in listed.auto_paging_iter()] == made[::-1]
    later = await client.v1.payment_intents.list_async({"created": {"gt": 1 << 40}})
    assert not later.data


class Mailbox:
    """Takes webhooks, and what they were signed with; the first `refused` of them it does not."""

    def __init__(self) -> None:
        self.got: list[stripe.Event] = []
        self.refused = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while (message := await receive()).get("more_body") or message.get("body"):
            body += message["body"]
            if not message.get("more_body"):
                break
        signature = dict(scope["headers"])[b"stripe-signature"].decode()
        event = Webhook.construct_event(body, signature, WEBHOOK_SECRET)
        self.refused -= 1
        if taken := self.refused < 0:
            self.got.append(event)
        status = 200 if taken else 500
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def types(self, count: int) -> list[str]:
        """The types of so many events, once they are there."""
        async with asyncio.timeout(30):
            while len(self.got) < count:
                await asyncio.sleep(0.05)
        return [event.type for event in self.got]


@pytest.fixture
async def mailbox() -> AsyncIterator[tuple[Mailbox, str]]:
    box = Mailbox()
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(box, log_level="warning", lifespan="off"))
    serving = asyncio.create_task(server.serve([listening]))
    yield box, f"http://127.0.0.1:{listening.getsockname()[1]}/hook"
    server.should_exit = True
    await serving


PAID = ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"]


async def test_webhooks_are_signed_and_repeated_until_taken(mailbox: tuple[Mailbox, str]) -> None:
    box, url = mailbox
    box.refused = 2
    async with bank(url) as till:
        await paid(till.client())
        assert sorted(await box.types(3)) == sorted(PAID)
        async with asyncio.timeout(30):
            while (await till.client().v1.events.list_async()).data[0].pending_webhooks:
                await asyncio.sleep(0.05)


async def test_webhooks_come_doubled_and_reversed_on_demand(mailbox: tuple[Mailbox, str]) -> None:
    box, url = mailbox
    async with bank(url) as till:
        await till.mischief(hold=True)
        await paid(till.client())
        await till.mischief(copies=2, reverse=True)
        assert await box.types(6) == [name for name in PAID[::-1] for _ in range(2)]
        await till.mischief(lose=True)
        await paid(till.client())
        async with asyncio.timeout(30):
            while till.stand_in.store.next_due() is not None:
                await asyncio.sleep(0.05)
        await till.mischief()
        assert len(box.got) == 6


async def test_what_is_owed_outlives_a_restart(
    mailbox: tuple[Mailbox, str], tmp_path: Path
) -> None:
    box, url = mailbox
    async with bank(url, tmp_path / "db") as till:
        await till.mischief(hold=True)
        intent = await paid(till.client())
    async with bank(url, tmp_path / "db") as till:
        assert await box.types(3) == PAID
        found = await till.client().v1.payment_intents.retrieve_async(intent.id)
        assert found.status == "succeeded"


async def test_an_answer_may_be_lost(till: Bank) -> None:
    client = till.client()
    await till.mischief(lost_answers=1)
    options: Any = {"idempotency_key": "k"}
    with pytest.raises(stripe.APIError):
        await client.v1.payment_intents.create_async(wanted(), options)
    again = await client.v1.payment_intents.create_async(wanted(), options)
    assert again.last_response
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert len((await client.v1.payment_intents.list_async()).data) == 1
