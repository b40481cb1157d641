"""Triggered events: of any type, in any spelling, valid, and saying what they were told to."""

import json
from typing import Any

import httpx2
import msgspec
import pytest

from app.target import Target
from app.trigger import Answer, NotSent, Said, event, near, next_steps, send
from streams import codec
from streams.events import PERSONAL, VOCABULARY, subject_of

SAYABLE = [name for name, kind in VOCABULARY.items() if not kind.ours]
TO = Target("http://shop", "key", "tidy")


@pytest.mark.parametrize("name", SAYABLE)
def test_every_type_can_be_triggered_and_is_valid(name: str) -> None:
    made = event(name, Said(), "abc")
    data = codec.decode_fields(name, msgspec.Raw(json.dumps(made["data"]).encode()))
    assert subject_of(VOCABULARY[name], data) or made["subject"] == "p-abc"
    assert made["person"]
    for field in PERSONAL.get(name, ()):
        assert len(getattr(data, field) or "") < 100


@pytest.mark.parametrize("name", SAYABLE)
def test_another_token_is_about_something_else(name: str) -> None:
    one, other = (event(name, Said(), token) for token in ("a", "b"))
    assert one != other


@pytest.mark.parametrize(
    "spelling", ["order.completed", "Order Completed", "Completed Order", "order_completed"]
)
def test_any_spelling_will_do_and_what_was_said_is_in_it(spelling: str) -> None:
    said = Said("FR", "pot", "garden", 3, "2.55", "CHF", "1001", "p-7")
    assert event(spelling, said, "abc") == {
        "type": "OrderCompleted",
        "person": "p-7",
        "data": {
            "order_id": "1001",
            "currency": "CHF",
            "country": "FR",
            "total": "7.65",
            "revenue": "7.65",
            "products": [
                {
                    "product_id": "pot",
                    "name": "Pot",
                    "category": "garden",
                    "price": "2.55",
                    "quantity": 3,
                }
            ],
        },
    }


def test_a_refund_without_a_product_gives_back_all_that_is_left() -> None:
    everything = event("order.refunded", Said(order="1001"), "abc")["data"]
    assert everything == {"order_id": "1001", "reason": "tried out"}
    one = event("order.refunded", Said(order="1001", product="mug", price="9.90"), "abc")["data"]
    assert [line["product_id"] for line in one["products"]] == ["mug"]


@pytest.mark.parametrize(
    ("spelling", "said", "reason"),
    [
        ("order.complete", Said(), "Did you mean OrderCompleted"),
        ("orders", Said(), "OrderPaid"),
        ("refund", Said(), "OrderRefunded"),
        ("zzz", Said(), "There are ProductsSearched"),
        ("day.closed", Said(), "no type that a shop may say"),
        (
            "order.shipped",
            Said(country="DE"),
            "OrderShipped has no country; its fields are order_id",
        ),
        ("order.completed", Said(price="-1"), "zero or more"),
        ("order.completed", Said(price="cheap"), "--price 'cheap'"),
        ("order.completed", Said(quantity=0), "would be refused"),
    ],
)
def test_what_cannot_be_is_told_with_a_way_out(spelling: str, said: Said, reason: str) -> None:
    with pytest.raises(NotSent, match=reason):
        event(spelling, said, "abc")


def test_near_matches_are_the_nearest_first() -> None:
    assert near("product.view").startswith("Did you mean ProductViewed")


async def test_it_is_sent_with_the_shops_key() -> None:
    seen: list[Any] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append((request.headers["authorization"], json.loads(request.content)))
        return httpx2.Response(202, json={"id": "e-1", "position": "orders:1:2"})

    made = event("order.completed", Said(order="1001"), "abc")
    found = await send(TO, made, httpx2.MockTransport(answer))
    assert (found, seen) == (Answer("e-1", "orders:1:2"), [("Bearer key", made)])
    steps = [*next_steps(TO, made, found.position)]
    assert "  curl 'http://shop/v1/orders/1001?shop=tidy&min_position=orders:1:2'" in steps
    odd = [*next_steps(TO, event("order.completed", Said(order="[b] 'x'/1"), "abc"), "orders:1:2")]
    assert any("/v1/orders/%5Bb%5D%20%27x%27%2F1?" in step for step in odd)


@pytest.mark.parametrize("status", [401, 422, 503])
async def test_a_refusal_is_told(status: int) -> None:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(status, text="because"))
    with pytest.raises(NotSent, match=f"{status}: because"):
        await send(TO, event("order.paid", Said(), "abc"), transport)


async def test_an_api_that_is_away_is_told() -> None:
    def away(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    with pytest.raises(NotSent, match="does not answer at http://shop"):
        await send(TO, event("order.paid", Said(), "abc"), httpx2.MockTransport(away))
