"""What a storefront sees when it sends events."""

import asyncio
import base64
import gzip
import json
import subprocess
import time
from typing import Any

import httpx2
import pytest

from app.settings import Settings
from tests.e2e.service import KEY, Service, answers, end, environment, free_port, run_cli


def order(order_id: str, **changes: Any) -> dict[str, Any]:
    line = {"product_id": "mug", "category": "kitchen", "price": "9.90", "quantity": 2}
    data = {"order_id": order_id, "currency": "EUR", "country": "DE", "products": [line]}
    return {"type": "OrderCompleted", "data": data | changes}


async def test_an_event_is_answered_with_its_position_and_counts(
    service: Service, tag: str
) -> None:
    async with service.client() as client:
        sent = await client.post("/v1/events", json=order(tag))
        assert sent.status_code == 202
        assert set(sent.json()) == {"id", "position"}
        found = await client.get(
            f"/v1/orders/{tag}", params={"min_position": sent.json()["position"]}
        )
    assert found.status_code == 200
    assert found.json()["gross"] == "19.80"
    assert found.json()["status"] == "completed"
    topic, partition, offset = sent.json()["position"].split(":")
    assert found.json()["complete_to"]["next_offsets"][topic][int(partition)] > int(offset)


async def test_the_good_of_a_batch_are_taken_and_each_bad_one_is_told_why(
    service: Service, tag: str
) -> None:
    batch = [
        order(tag),
        {"type": "OrderCompleted", "data": {"order_id": tag, "products": []}},
        {"type": "NeverHappened", "data": {}},
        order(tag, products=[{"product_id": "mug", "price": "-1"}]),
        {"type": "ProductViewed", "data": {"product_id": "mug"}},
        order(tag, colour="red"),
        {**order(tag), "time": "2999-01-01T00:00:00Z"},
        "no event",
    ]
    async with service.client() as client:
        answer = await client.post("/v1/events", json=batch)
    assert answer.status_code == 202
    assert [one["index"] for one in answer.json()["accepted"]] == [0]
    rejected = {one["index"]: (one["field"], one["reason"]) for one in answer.json()["rejected"]}
    assert [rejected[index][0] for index in range(1, 8)] == [
        "data.products",
        "type",
        "data.products[0].price",
        "subject",
        "data.colour",
        "time",
        "",
    ]
    assert rejected[3][1] == "expected an amount of zero or more"
    assert all(reason for _, reason in rejected.values())


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"", 400),
        (b"[1, 2", 400),
        (b"[" * 100_000, 400),
        (b'{"type": "OrderCompleted"}', 422),
        (b'{"events": []}', 422),
        (b"\xff\xfe", 400),
        (gzip.compress(b"{}", mtime=0), 400),
    ],
)
async def test_what_is_no_event_is_refused_with_a_reason(
    service: Service, body: bytes, status: int
) -> None:
    async with service.client() as client:
        answer = await client.post("/v1/events", content=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


async def test_what_tillstream_alone_may_say_is_refused(service: Service) -> None:
    day = {"date": "2026-01-01", "positions": {}, "figures": []}
    async with service.client() as client:
        answer = await client.post("/v1/events", json={"type": "day.closed", "data": day})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"index": 0, "field": "type", "reason": "DayClosed is said by Tillstream alone"}
    ]


async def test_too_large_an_event_is_refused_alone_and_by_its_index(
    service: Service, tag: str
) -> None:
    lines = [{"product_id": f"p{i}", "name": "n" * 400, "price": "1"} for i in range(700)]
    large = order(f"{tag}-large", products=lines)
    async with service.client() as client:
        alone = await client.post("/v1/events", json=large)
        batch = await client.post("/v1/events", json=[order(tag), large])
        body = b"[" + b",".join([json.dumps(large).encode()] * 20) + b"]"
        too_much = await client.post("/v1/events", content=body)
        unsaid = await client.post("/v1/events", content=_in_parts(body))
    assert alone.status_code == 413
    assert batch.status_code == 202
    assert [one["index"] for one in batch.json()["rejected"]] == [1]
    assert "262144" in batch.json()["rejected"][0]["reason"]
    assert too_much.status_code == 413
    assert unsaid.status_code == 413


async def _in_parts(body: bytes) -> Any:
    for start in range(0, len(body), 65_536):
        yield body[start : start + 65_536]


async def test_a_write_key_is_needed_as_bearer_or_basic(service: Service, tag: str) -> None:
    basic = "Basic " + base64.b64encode(b"demo:").decode()
    async with httpx2.AsyncClient(base_url=service.api) as client:
        without = await client.post("/v1/events", json=order(tag))
        wrong = await client.post(
            "/v1/events", json=order(tag), headers={"Authorization": "Bearer nobody"}
        )
        right = await client.post("/v1/events", json=order(tag), headers={"Authorization": basic})
    assert (without.status_code, wrong.status_code, right.status_code) == (401, 401, 202)
    assert "Bearer" in without.json()["detail"]


async def test_the_same_id_counts_once_and_another_body_under_it_is_quarantined(
    service: Service, tag: str
) -> None:
    event = {**order(tag), "id": f"{tag}-1", "time": "2026-01-02T03:04:05Z"}
    other = {**event, "data": order(tag, coupon="FREE")["data"]}
    async with service.client() as client:
        for sent in (event, event, other):
            last = await client.post("/v1/events", json=sent)
            assert last.status_code == 202
        found = await client.get(
            f"/v1/orders/{tag}", params={"min_position": last.json()["position"]}
        )
    assert found.json()["gross"] == "19.80"
    assert found.json()["revision"] == 1


async def test_personal_fields_never_stand_readable_on_the_log(service: Service, tag: str) -> None:
    secret = f"my own words {tag}"
    event = {
        "type": "Product Reviewed",
        "data": {"product_id": "mug", "rating": 5, "review_body": secret},
    }
    async with service.client() as client:
        nameless = await client.post("/v1/events", json=event)
        sent = await client.post("/v1/events", json={**event, "person": f"p-{tag}"})
    assert nameless.status_code == 422
    assert nameless.json()["errors"][0]["field"] == "person"
    assert sent.status_code == 202
    value = await _record(service, sent.json()["position"])
    assert secret.encode() not in value
    assert json.loads(value)["sealed"]


async def _record(service: Service, position: str) -> bytes:
    from aiokafka import TopicPartition

    from streams.log import Position
    from streams.readback import read_back

    topic, partition, offset = Position.parse(position)
    at = TopicPartition(service.settings.prefix + topic, partition)
    stretches = {at: (offset, offset + 1)}
    async for _, records in read_back(service.settings.servers.kafka, stretches):
        return records[0].value or b""
    raise AssertionError("no such record")


async def test_without_kafka_nothing_is_acknowledged_and_the_answer_comes_in_five_seconds(
    settings: Settings, service: Service
) -> None:
    away = {**environment(service.settings), "TILLSTREAM_KAFKA": f"127.0.0.1:{free_port()}"}
    port = free_port()
    process = run_cli("api", "--port", str(port), environment=away)
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=KEY) as client:
            await _listens(client)
            begun = time.monotonic()
            answer = await client.post("/v1/events", json=order("x"), timeout=6)
            ready = await client.get("/health/ready")
    finally:
        end(process)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert time.monotonic() - begun < 5
    assert ready.status_code == 503


async def _listens(client: httpx2.AsyncClient) -> None:
    for _ in range(600):  # a busy machine takes its time to begin
        try:
            await client.get("/health/live")
        except httpx2.HTTPError:
            await asyncio.sleep(0.1)
        else:
            return
    raise AssertionError("the API does not listen")


async def test_every_type_has_a_published_schema(service: Service) -> None:
    from streams.events import VOCABULARY

    async with service.client() as client:
        found = (await client.get("/v1/schemas")).json()
    assert set(found) == set(VOCABULARY)
    assert found["OrderCompleted"]["required"] == ["order_id", "products"]
    assert found["ProductReviewed"]["properties"]["review_body"]["x-personal"] is True


async def test_the_documentation_needs_no_other_host(service: Service) -> None:
    async with service.client() as client:
        page = (await client.get("/docs")).text
        assert (await client.get("/openapi.json")).status_code == 200
    assert "https://" not in page
    await answers(service.api)


async def test_a_triggered_event_is_in_the_figures(service: Service, tag: str) -> None:
    process = run_cli(
        *("trigger", "order.completed", "--order", tag, "--price", "2.55", "--quantity", "2"),
        *("--api", service.api),
        environment=service.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    said, told = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0, told.decode()
    event_id, position = said.decode().split()
    async with service.client() as client:
        found = await client.get(f"/v1/orders/{tag}", params={"min_position": position})
    assert found.json()["gross"] == "5.10"
    assert json.loads(await _record(service, position))["id"] == event_id
    assert f"/v1/orders/{tag}?shop=main&min_position={position}" in told.decode()
