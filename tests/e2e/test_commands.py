"""Commands over HTTP, on the real servers: what is answered, what is kept, what is on the log."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import TopicPartition

from app.api.access import Actor, Role, Tokens
from app.own_key import own_key
from streams import codec
from streams.readback import log_ends, read_back
from tests.e2e.service import Service


def bearer(
    service: Service,
    role: Role = Role.STAFF,
    id: str = "s-1",  # noqa: A002
    shop: str = "main",
) -> dict[str, str]:
    """The headers of somebody who is logged in."""
    settings = service.settings
    tokens = Tokens(own_key(settings.token_key, settings.home / "token.key"))
    token = tokens.issue(Actor(role, id, shop), datetime.now(UTC), timedelta(minutes=5))
    return {"Authorization": f"Bearer {token}"}


def mug(tag: str, **changed: Any) -> dict[str, Any]:
    return {
        "product_id": f"mug-{tag}",
        "name": "Mug",
        "currency": "EUR",
        "variants": [{"id": f"blue-{tag}", "price": "9.90", "stock": 50}],
        **changed,
    }


async def test_a_product_comes_with_its_stock_and_is_on_the_log(service: Service, tag: str) -> None:
    async with service.client() as client:
        answer = await client.post("/v1/products", json=mug(tag), headers=bearer(service))
        assert answer.status_code == 201, answer.text
        assert answer.headers["ETag"] == '"1"'
        assert answer.json()["variants"][0]["price"] == "9.90"
        assert answer.json()["position"].startswith("outbox:")
    async with asyncio.timeout(30):
        while await told(service, tag) != ["ProductListed", "StockReceived"]:
            await asyncio.sleep(0.1)


async def told(service: Service, tag: str) -> list[str]:
    """The types of the events on the log of the catalogue that are about it."""
    settings = service.settings
    names = [
        TopicPartition(settings.prefix + "catalog", number) for number in range(settings.partitions)
    ]
    ends = await log_ends(settings.servers.kafka, names)
    found = [
        codec.decode_envelope(record.value)
        async for _, records in read_back(settings.servers.kafka, ends)
        for record in records
    ]
    return [event.type for event in found if event.subject == f"mug-{tag}"]


async def test_under_one_key_it_is_done_once(service: Service, tag: str) -> None:
    headers = {**bearer(service), "Idempotency-Key": f"key-{tag}"}
    async with service.client() as client:
        answers = await asyncio.gather(
            *(client.post("/v1/products", json=mug(tag), headers=headers) for _ in range(20))
        )
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.content for answer in answers}) == 1
        other = await client.post("/v1/products", json=mug(tag, name="Cup"), headers=headers)
        assert other.status_code == 422
        assert other.json()["errors"][0]["field"] == "Idempotency-Key"


@pytest.mark.parametrize("role", [None, Role.CUSTOMER, Role.GUEST])
async def test_only_staff_may(service: Service, tag: str, role: Role | None) -> None:
    headers = bearer(service, role) if role else {"Authorization": ""}
    async with service.client() as client:
        answer = await client.post("/v1/products", json=mug(tag), headers=headers)
    assert answer.status_code == (403 if role else 401)


async def test_a_product_that_is_there_is_not_made_again(service: Service, tag: str) -> None:
    async with service.client() as client:
        assert (
            await client.post("/v1/products", json=mug(tag), headers=bearer(service))
        ).is_success
        answer = await client.post("/v1/products", json=mug(tag), headers=bearer(service))
    assert answer.status_code == 409
    assert answer.json()["errors"][0]["field"] == "product_id"


async def test_what_was_commanded_is_in_the_figures_that_are_asked_for_with_its_position(
    service: Service, tag: str
) -> None:
    async with service.client() as client:
        made = await client.post("/v1/products", json=mug(tag), headers=bearer(service))
        position = made.json()["position"]
        asked = {"min_position": position, "wait": 30, "grain": "total"}
        answer = await client.get("/v1/sales/revenue", params=asked)
        assert answer.status_code == 200, answer.text
        assert answer.json()["complete_to"]


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        ("outbox:x", "form"),
        ("outbox:", "form"),
        ("outbox:-1", "form"),
        ("outbox:9-1", "no command"),
        ("outbox:1-999999999", "no command"),
        ("outbox:999999999999", "nothing that was said"),
    ],
)
async def test_a_position_that_can_be_none_is_refused(
    service: Service, position: str, reason: str
) -> None:
    async with service.client() as client:
        for path in ("/v1/sales/revenue", "/v1/forecasts/sales"):
            answer = await client.get(path, params={"min_position": position})
            assert answer.status_code == 422
            assert reason in answer.json()["errors"][0]["reason"]
