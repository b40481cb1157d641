"""Paying for orders over HTTP, with Stripe's own package, at the stand-in."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import httpx2
import pytest

from app.api.access import Role
from app.cli.payments import paid
from app.cli.terminal import Failed
from app.payments import WEBHOOK
from app.payments.opened import opened
from app.payments.settling import Settler
from app.payments.told import Asked
from app.settings import Servers, Settings
from app.stack.stripe.deliveries import signature
from app.stack.stripe.server import PUBLISHABLE_KEY
from projections.postgres import connect_alone
from streams.money import Money, parse
from tests.conftest import settings_for
from tests.e2e.service import Service, answers, free_port, run_cli, running
from tests.e2e.test_commands import bearer
from tests.paying import SECRET_KEY, WEBHOOK_SECRET, Bank, bank

OLD_SECRET = "whsec_of_before"


class Till:
    """A shop and its bank, and what a shopper, the staff and Stripe do there."""

    def __init__(self, service: Service, at: Bank) -> None:
        self.service = service
        self.bank = at
        self.stripe = at.client()

    async def listed(self, tag: str, price: str = "9.90", currency: str = "EUR") -> None:
        variant = {"id": f"mug-{tag}", "price": price, "stock": 50}
        product = {"product_id": f"mug-{tag}", "name": "Mug", "currency": currency}
        await self.staff("/v1/products", **product, variants=[variant])

    async def ordered(self, tag: str, **changed: Any) -> str:
        """A new order of two mugs; its id."""
        wanted = {
            "lines": [{"variant": f"mug-{tag}", "quantity": 2}],
            "payment_method": "card",
            "shipping_address": {
                "name": "Ada Lovelace",
                "lines": ["1 Example Street"],
                "city": "Berlin",
                "country": "DE",
            },
            **changed,
        }
        answer = await self.post("/v1/orders", self.shopper(tag), wanted)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["order_id"])

    def shopper(self, tag: str) -> dict[str, str]:
        return bearer(self.service, Role.CUSTOMER, f"u-{tag}")

    async def post(self, path: str, headers: dict[str, str], body: Any = None) -> httpx2.Response:
        async with self.service.client() as client:
            return await client.post(path, json=body, headers=headers)

    async def staff(self, path: str, **body: Any) -> Any:
        answer = await self.post(path, bearer(self.service), body)
        assert answer.is_success, answer.text
        return answer.json()

    async def started(self, tag: str, order_id: str, **headers: str) -> Any:
        answer = await self.post(f"/v1/orders/{order_id}/payment", {**self.shopper(tag), **headers})
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def confirmed(self, payment: Any, card: str = "pm_card_visa") -> httpx2.Response:
        """What Stripe's form does in the shopper's browser."""
        async with httpx2.AsyncClient(base_url=self.bank.url, timeout=30) as browser:
            return await browser.post(
                f"/v1/payment_intents/{payment['payment_id']}/confirm",
                data={"client_secret": payment["client_secret"], "payment_method": card},
                auth=(PUBLISHABLE_KEY, ""),
            )

    async def order(self, order_id: str) -> Any:
        async with self.service.client() as client:
            answer = await client.get(f"/v1/orders/{order_id}", headers=bearer(self.service))
        assert answer.is_success, answer.text
        return answer.json()

    async def until(self, order_id: str, so: Callable[[Any], bool], what: str) -> Any:
        """The order, once it is so."""
        last: Any = None
        try:
            async with asyncio.timeout(60):
                while not so(last := await self.order(order_id)):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"{what}: still not so after 60 s: {last}") from None
        return last

    async def paid(self, tag: str, card: str = "pm_card_visa") -> str:
        """An order of 19.80 EUR that is paid; its id."""
        order_id = await self.ordered(tag)
        await self.confirmed(await self.started(tag, order_id), card)
        await self.until(order_id, lambda order: order["status"] == "completed", "paid")
        return order_id

    async def delivered(self) -> None:
        """Until no webhook is owed any more."""
        async with asyncio.timeout(60):
            while self.bank.stand_in.store.next_due() is not None:
                await asyncio.sleep(0.05)

    async def refunds(self, order: Any) -> list[tuple[int, str]]:
        """What Stripe has given back of it: minor units and status."""
        listed = await self.stripe.v1.refunds.list_async(
            {"payment_intent": order["payment"]["intent_id"]}
        )
        return [(refund.amount, str(refund.status)) for refund in listed.data]


def with_bank(settings: Settings, at: Bank) -> Settings:
    return settings.model_copy(
        update={
            "stripe_key": SECRET_KEY,
            "stripe_webhook_secret": [WEBHOOK_SECRET, OLD_SECRET],
            "stripe_url": at.url,
        }
    )


@pytest.fixture(scope="session")
async def till(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Till]:
    """A service of its own, whose payments are made at a stand-in."""
    settings: Settings = settings_for(servers, tmp_path_factory.mktemp("till"))
    async with bank() as at, running(with_bank(settings, at)) as service:
        endpoint = await at.client().v1.webhook_endpoints.create_async(
            {"url": f"{service.api}{WEBHOOK}", "enabled_events": ["*"]}
        )
        at.stand_in.store.put({**endpoint.to_dict(), "secret": WEBHOOK_SECRET})
        yield Till(service, at)


async def test_a_card_pays_for_an_order(till: Till, tag: str) -> None:
    await till.listed(tag)
    order_id = await till.ordered(tag)
    payment = await till.started(tag, order_id)
    assert (payment["status"], payment["amount"], payment["currency"]) == (
        "pending",
        "19.80",
        "EUR",
    )
    assert (await till.started(tag, order_id))["payment_id"] == payment["payment_id"]
    unpaid = await till.order(order_id)
    assert (unpaid["status"], unpaid["payment"]["status"]) == ("placed", "pending")
    assert (await till.confirmed(payment)).json()["status"] == "succeeded"
    order = await till.until(order_id, lambda order: order["status"] == "completed", "paid")
    assert (order["payment"]["status"], order["payment"]["paid"]) == ("paid", "19.80")
    again = await till.post(f"/v1/orders/{order_id}/payment", till.shopper(tag))
    assert again.status_code == 409
    intent = await till.stripe.v1.payment_intents.retrieve_async(payment["payment_id"])
    assert intent.to_dict()["metadata"] == {"shop": "main", "order_id": order_id}


async def test_a_declined_card_leaves_the_order_to_another_one(till: Till, tag: str) -> None:
    await till.listed(tag)
    order_id = await till.ordered(tag)
    payment = await till.started(tag, order_id)
    declined = await till.confirmed(payment, "pm_card_chargeDeclinedInsufficientFunds")
    assert declined.status_code == 402
    order = await till.until(
        order_id, lambda order: order["payment"]["status"] == "failed", "declined"
    )
    intents = order["payment"]["intents"]
    assert intents[payment["payment_id"]]["reason"] == "insufficient_funds"
    assert order["status"] == "placed"
    assert (await till.started(tag, order_id))["payment_id"] == payment["payment_id"]
    await till.confirmed(payment)
    order = await till.until(order_id, lambda order: order["status"] == "completed", "paid")
    assert order["payment"]["status"] == "paid"


async def test_webhooks_doubled_and_reversed_are_one_payment(till: Till, tag: str) -> None:
    await till.listed(tag)
    order_id = await till.ordered(tag)
    payment = await till.started(tag, order_id)
    await till.delivered()
    try:
        await till.bank.mischief(hold=True)
        await till.confirmed(payment, "pm_card_chargeDeclined")
        await till.confirmed(payment)
        await till.bank.mischief(reverse=True, copies=3)
        await till.delivered()
    finally:
        await till.bank.mischief()
    order = await till.order(order_id)
    assert (order["status"], order["payment"]["status"]) == ("completed", "paid")
    # It was placed, its payment was asked for, it was paid, and completed: nothing else.
    assert await version(till, order_id) == 4


async def version(till: Till, order_id: str) -> int:
    """How many events an order has."""
    async with till.service.client() as client:
        answer = await client.get(f"/v1/orders/{order_id}", headers=bearer(till.service))
    return int(answer.headers["ETag"].strip('"'))


async def test_part_and_then_the_rest_are_refunded(till: Till, tag: str) -> None:
    await till.listed(tag)
    order_id = await till.paid(tag)
    path = f"/v1/orders/{order_id}/refunds"
    await till.staff(path, amount="5.00")
    order = await till.until(
        order_id, lambda order: order["payment"]["refunded"] == "5.00", "refunded in part"
    )
    assert order["payment"]["status"] == "partially_refunded"
    too_much = await till.post(path, bearer(till.service), {"amount": "14.81"})
    assert too_much.status_code == 409
    await till.staff(path)
    order = await till.until(
        order_id, lambda order: order["payment"]["status"] == "refunded", "refunded"
    )
    assert sorted(await till.refunds(order)) == [(500, "succeeded"), (1480, "succeeded")]
    assert order["left"] == "0.00"


async def test_a_paid_order_that_is_cancelled_is_paid_back(till: Till, tag: str) -> None:
    await till.listed(tag)
    order_id = await till.paid(tag)
    await till.staff(f"/v1/orders/{order_id}/cancel")
    order = await till.until(
        order_id, lambda order: order["payment"]["status"] == "refunded", "paid back"
    )
    assert order["status"] == "cancelled"
    assert await till.refunds(order) == [(1980, "succeeded")]


async def test_nobody_can_pay_for_what_was_cancelled(till: Till, tag: str) -> None:
    await till.listed(tag)
    order_id = await till.ordered(tag)
    payment = await till.started(tag, order_id)
    await till.staff(f"/v1/orders/{order_id}/cancel")
    await till.until(
        order_id, lambda order: order["payment"]["status"] == "failed", "its payment cancelled"
    )
    answer = await till.confirmed(payment)
    assert answer.json()["error"]["payment_intent"]["status"] == "canceled"


async def test_who_pays_while_it_is_cancelled_is_paid_back(till: Till, tag: str) -> None:
    await till.listed(tag)
    order_id = await till.ordered(tag)
    payment = await till.started(tag, order_id)
    await till.delivered()
    try:
        await till.bank.mischief(hold=True)
        await till.confirmed(payment)
        await till.staff(f"/v1/orders/{order_id}/cancel")
    finally:
        await till.bank.mischief()
    order = await till.until(
        order_id, lambda order: order["payment"]["status"] == "refunded", "paid back"
    )
    assert order["status"] == "cancelled"
    assert await till.refunds(order) == [(1980, "succeeded")]


async def test_a_refund_may_fail_and_be_tried_again(till: Till, tag: str) -> None:
    await till.listed(tag)
    order_id = await till.paid(tag, "pm_card_refundFail")
    await till.staff(f"/v1/orders/{order_id}/refunds", amount="5.00")
    order = await till.until(
        order_id,
        lambda order: [r["status"] for r in order["payment"]["refunds"].values()] == ["failed"],
        "the bank sends it back",
    )
    (refund_id, refund), *_ = order["payment"]["refunds"].items()
    assert refund["reason"] == "expired_or_canceled_card"
    assert (order["payment"]["status"], order["payment"]["refunded"]) == ("paid", "0.00")
    async with till.service.client() as client:
        listed = await client.get(
            "/v1/orders",
            params={"refund": "failed", "user": f"u-{tag}"},
            headers=bearer(till.service),
        )
    assert [one["order_id"] for one in listed.json()["orders"]] == [order_id]
    await till.staff(f"/v1/orders/{order_id}/refunds/{refund_id}/retry")
    await till.until(
        order_id,
        lambda order: (
            [(r["status"], r["tries"]) for r in order["payment"]["refunds"].values()]
            == [("failed", 2)]
        ),
        "it fails again",
    )
    assert await till.refunds(order) == [(500, "failed"), (500, "failed")]


async def test_a_refund_may_take_its_time(till: Till, tag: str) -> None:
    await till.listed(tag)
    order_id = await till.paid(tag, "pm_card_pendingRefund")
    await till.staff(f"/v1/orders/{order_id}/refunds")
    order = await till.until(
        order_id, lambda order: order["payment"]["status"] == "refunded", "refunded"
    )
    assert await till.refunds(order) == [(1980, "succeeded")]


async def test_what_is_refunded_in_stripes_dashboard_is_refunded_here(till: Till, tag: str) -> None:
    await till.listed(tag)
    order_id = await till.paid(tag)
    intent_id = (await till.order(order_id))["payment"]["intent_id"]
    await till.stripe.v1.refunds.create_async({"payment_intent": intent_id, "amount": 480})
    order = await till.until(
        order_id, lambda order: order["payment"]["refunded"] == "4.80", "refunded"
    )
    assert (order["given_back"], order["left"]) == ("4.80", "15.00")
    assert await till.refunds(order) == [(480, "succeeded")]


async def test_what_becomes_of_a_refund_in_stripes_dashboard_is_told_here(
    till: Till, tag: str
) -> None:
    """Its later news name the refund alone, which knows no order."""
    await till.listed(tag)
    for card, status, refunded in (
        ("pm_card_pendingRefund", "made", "4.80"),
        ("pm_card_refundFail", "failed", "0.00"),
    ):
        order_id = await till.paid(tag, card)
        intent_id = (await till.order(order_id))["payment"]["intent_id"]
        made = await till.stripe.v1.refunds.create_async(
            {"payment_intent": intent_id, "amount": 480}
        )
        order = await till.until(order_id, partial(_refund_is, made.id, status), status)
        assert order["payment"]["refunded"] == refunded


def _refund_is(refund_id: str, status: str, order: Any) -> bool:
    refund = order["payment"]["refunds"].get(refund_id)
    return refund is not None and refund["status"] == status


async def test_a_lost_webhook_is_asked_for(till: Till, tag: str) -> None:
    await till.listed(tag)
    order_id = await till.ordered(tag)
    payment = await till.started(tag, order_id)
    await till.delivered()
    try:
        await till.bank.mischief(lose=True)
        await till.confirmed(payment)
        await till.delivered()
    finally:
        await till.bank.mischief()
    assert (await till.order(order_id))["status"] == "placed"
    # Who asks to pay once more is told that it is paid; the worker asks by itself, in time.
    answer = await till.started(tag, order_id)
    assert answer["status"] == "paid"
    assert (await till.order(order_id))["status"] == "completed"


async def test_cash_on_delivery_asks_nobody(till: Till, tag: str) -> None:
    await till.listed(tag)
    order_id = await till.ordered(tag, payment_method="cash_on_delivery")
    answer = await till.post(f"/v1/orders/{order_id}/payment", till.shopper(tag))
    assert answer.status_code == 409
    assert answer.json()["code"] == "payment_method"
    await till.staff(f"/v1/orders/{order_id}/ship")
    await till.staff(f"/v1/orders/{order_id}/deliver")
    order = await till.order(order_id)
    assert (order["status"], order["payment"]["status"]) == ("delivered", "paid")
    assert order["payment"]["intents"] == {}


async def test_orders_without_payment_are_listed(till: Till, tag: str) -> None:
    await till.listed(tag)
    unpaid, paid = await till.ordered(tag), await till.paid(tag)
    async with till.service.client() as client:
        answer = await client.get(
            "/v1/orders", params={"unpaid": True, "user": f"u-{tag}"}, headers=bearer(till.service)
        )
    found = [order["order_id"] for order in answer.json()["orders"]]
    assert (unpaid in found, paid in found) == (True, False)


async def test_yen_have_no_hundredths(till: Till, tag: str) -> None:
    await till.listed(tag, "500", "JPY")
    order_id = await till.ordered(tag)
    payment = await till.started(tag, order_id)
    intent = await till.stripe.v1.payment_intents.retrieve_async(payment["payment_id"])
    assert (intent.amount, intent.currency, payment["amount"]) == (1000, "jpy", "1000.00")


async def test_a_payment_is_its_owners(till: Till, tag: str) -> None:
    await till.listed(tag)
    order_id = await till.ordered(tag)
    path = f"/v1/orders/{order_id}/payment"
    for headers, status in (
        (till.shopper("other"), 404),
        (bearer(till.service, Role.GUEST, "c-other"), 404),
        ({"Authorization": "Bearer forged"}, 401),
        ({"Authorization": ""}, 401),
        ({**till.shopper(tag), "If-Match": '"7"'}, 412),
    ):
        assert (await till.post(path, headers)).status_code == status
    unknown = await till.post("/v1/orders/none/payment", till.shopper(tag))
    assert unknown.status_code == 404
    assert (await till.order(order_id))["payment"]["intents"] == {}


async def test_under_one_key_the_first_answer_stands(till: Till, tag: str) -> None:
    await till.listed(tag)
    order_id = await till.ordered(tag)
    key = f"key-{tag}-0123456789abcdef"
    first = await till.started(tag, order_id, **{"Idempotency-Key": key})
    await till.confirmed(first)
    await till.until(order_id, lambda order: order["status"] == "completed", "paid")
    assert await till.started(tag, order_id, **{"Idempotency-Key": key}) == first


async def test_a_demo_is_paid_in_from_the_command_line(till: Till, tag: str) -> None:
    await till.listed(tag)
    order_id = await till.ordered(tag)

    settings = till.service.settings
    with pytest.raises(Failed, match="no payment"):
        await paid(settings, order_id, "pm_card_visa")
    await till.started(tag, order_id)
    with pytest.raises(Failed, match="card_declined"):
        await paid(settings, order_id, "pm_card_chargeDeclined")
    assert "1980 eur" in await paid(settings, order_id, "pm_card_visa")
    await till.until(order_id, lambda order: order["status"] == "completed", "paid")


# Webhooks that are none.


def event(order_id: str, amount: int = 1980, **changed: Any) -> Any:
    """What Stripe would tell of a payment that succeeded."""
    intent = {
        "id": "pi_told",
        "object": "payment_intent",
        "amount": amount,
        "amount_received": amount,
        "currency": "eur",
        "status": "succeeded",
        "last_payment_error": None,
        "metadata": {"shop": "main", "order_id": order_id},
        **changed,
    }
    return {
        "id": f"evt_{order_id}",
        "object": "event",
        "type": "payment_intent.succeeded",
        "data": {"object": intent},
    }


async def tell(till: Till, body: bytes, signed: str | None) -> httpx2.Response:
    headers = {"Content-Type": "application/json"}
    headers |= {"Stripe-Signature": signed} if signed is not None else {}
    async with httpx2.AsyncClient(base_url=till.service.api, timeout=30) as client:
        return await client.post(WEBHOOK, content=body, headers=headers)


def now() -> int:
    return int(time.time())


@pytest.mark.parametrize(
    "sign",
    [
        lambda _: None,
        lambda _: "",
        lambda _: "t=1,v1=abc",
        lambda _: "nonsense",
        lambda body: signature(body, "whsec_of_nobody", now()),
        lambda body: signature(body, WEBHOOK_SECRET, now() - 600),
        lambda body: signature(body + " ", WEBHOOK_SECRET, now()),
        lambda body: signature(body, WEBHOOK_SECRET, now()).replace("v1=", "v0="),
    ],
    ids=["unsigned", "empty", "short", "nonsense", "wrong", "old", "altered", "scheme"],
)
async def test_what_stripe_has_not_signed_changes_nothing(
    till: Till, tag: str, sign: Callable[[str], str | None]
) -> None:
    await till.listed(tag)
    order_id = await till.ordered(tag)
    body = json.dumps(event(order_id))
    answer = await tell(till, body.encode(), sign(body))
    assert answer.status_code == 400
    assert answer.json()["code"] == "signature"
    assert await version(till, order_id) == 1


async def test_what_is_signed_is_held_against_the_order(till: Till, tag: str) -> None:
    await till.listed(tag)
    order_id = await till.ordered(tag)
    for wrong in (event(order_id, 1979), event(order_id, currency="usd")):
        body = json.dumps(wrong)
        answer = await tell(till, body.encode(), signature(body, WEBHOOK_SECRET, now()))
        assert answer.status_code == 409, answer.text
    for ignored in (
        {**event(order_id), "type": "customer.created"},
        {**event(order_id), "type": "payment_intent.succeeded.not"},
        event("none"),
        event(order_id, metadata={}),
    ):
        body = json.dumps(ignored)
        answer = await tell(till, body.encode(), signature(body, WEBHOOK_SECRET, now()))
        assert answer.json()["changed"] is False
    assert await version(till, order_id) == 1
    # Signed with the secret of before a rotation, and sent twice.
    body = json.dumps(event(order_id))
    for changed in (True, False):
        answer = await tell(till, body.encode(), signature(body, OLD_SECRET, now()))
        assert answer.json()["changed"] is changed
    assert (await till.order(order_id))["status"] == "completed"


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"\xff", b'{"object": "event"}'])
async def test_what_is_no_event_is_refused(till: Till, body: bytes) -> None:
    signed = signature(body.decode(errors="replace"), WEBHOOK_SECRET, now())
    assert (await tell(till, body, signed)).status_code == 400


# Crashes.


async def test_killed_between_stripe_and_the_order_it_is_the_same_payment(
    till: Till, tag: str
) -> None:
    await till.listed(tag)
    order_id = await till.ordered(tag)
    port = free_port()
    variables = {**till.service.environment, "TILLSTREAM_CRASH_AT": "intent_made"}
    doomed = run_cli("api", "--port", str(port), environment=variables)
    api = f"http://127.0.0.1:{port}"
    await answers(api, doomed)
    async with httpx2.AsyncClient(base_url=api, timeout=30) as client:
        with pytest.raises(httpx2.HTTPError):
            await client.post(f"/v1/orders/{order_id}/payment", headers=till.shopper(tag))
    assert doomed.wait(30) == -9
    assert (await till.order(order_id))["payment"]["intents"] == {}
    payment = await till.started(tag, order_id)
    of_it = [intent for intent in await intents(till) if intent["metadata"] == payment_of(order_id)]
    assert [intent["id"] for intent in of_it] == [payment["payment_id"]]


async def test_an_answer_of_stripes_that_is_lost_is_asked_for_again(till: Till, tag: str) -> None:
    await till.listed(tag)
    order_id = await till.ordered(tag)
    # Stripe's package sends it twice by itself.
    await till.bank.mischief(lost_answers=2)
    answer = await till.post(f"/v1/orders/{order_id}/payment", till.shopper(tag))
    assert (answer.status_code, answer.json()["code"]) == (503, "provider_unavailable")
    payment = await till.started(tag, order_id)
    of_it = [intent for intent in await intents(till) if intent["metadata"] == payment_of(order_id)]
    assert [intent["id"] for intent in of_it] == [payment["payment_id"]]


async def test_an_intent_of_another_account_keeps_nobody_from_paying(till: Till, tag: str) -> None:
    await till.listed(tag)
    order_id = await till.ordered(tag)
    lost = await till.started(tag, order_id)
    till.bank.stand_in.store.delete(lost["payment_id"])
    found = await till.started(tag, order_id)
    assert found["payment_id"] != lost["payment_id"]
    await till.confirmed(found)
    await till.until(order_id, lambda order: order["status"] == "completed", "paid")
    order = await till.until(
        order_id,
        lambda order: order["payment"]["intents"][lost["payment_id"]]["reason"] == "canceled",
        "the other one is let go",
    )
    assert order["payment"]["status"] == "paid"


async def test_a_refund_whose_key_stripe_forgot_is_not_made_twice(till: Till, tag: str) -> None:
    await till.listed(tag)
    order_id = await till.paid(tag)
    intent_id = (await till.order(order_id))["payment"]["intent_id"]
    asked = Asked("main", order_id, "r-1", 1, intent_id, Money(parse("5")), "EUR")
    async with opened(till.service.settings) as flow:
        first = await flow.provider.refund(asked)
        till.bank.stand_in.store.forget_answers(time.time() + 1)
        assert (await flow.provider.refund(asked)).id == first.id
        assert (await flow.provider.refund(asked._replace(tries=2))).id != first.id


async def test_one_process_asks_for_what_webhooks_have_not_told(till: Till, tag: str) -> None:
    await till.listed(tag)
    order_id = await till.ordered(tag)
    payment = await till.started(tag, order_id)
    await till.delivered()
    try:
        await till.bank.mischief(lose=True)
        await till.confirmed(payment)
        await till.delivered()
    finally:
        await till.bank.mischief()
    settings = till.service.settings
    connect = partial(connect_alone, settings.servers.postgres, settings.schema_name)
    settler = Settler(connect, partial(opened, settings), heard_seconds=0)
    connection = await connect()
    try:
        async with opened(settings) as flow:
            await settler.once(connection, flow)
    finally:
        await connection.close()
    order = await till.order(order_id)
    assert (order["status"], order["payment"]["status"]) == ("completed", "paid")


def payment_of(order_id: str) -> dict[str, str]:
    return {"shop": "main", "order_id": order_id}


async def intents(till: Till) -> list[dict[str, Any]]:
    listed = await till.stripe.v1.payment_intents.list_async({"limit": 100})
    return [intent.to_dict() async for intent in listed.auto_paging_iter()]
