"""What a dashboard sees over its websocket."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from app.settings import Settings
from tests.e2e.service import Service, running
from tests.e2e.test_ingest import order
from tests.e2e.test_sales import ask, send


@asynccontextmanager
async def watching(service: Service, **wanted: Any) -> AsyncIterator[ClientConnection]:
    async with connect(service.api.replace("http", "ws") + "/v1/live") as socket:
        await socket.send(json.dumps(wanted))
        yield socket


async def next_message(socket: ClientConnection, kind: str = "delta") -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            message: dict[str, Any] = json.loads(await socket.recv())
            if message["type"] == kind:
                return message


def by_category(tag: str) -> dict[str, Any]:
    return {"subscribe": "revenue", "filter": {"dimension": "category", "key": tag}}


def sold(tag: str, number: int) -> dict[str, Any]:
    line = {"product_id": "mug", "category": tag, "price": "1.50"}
    return order(f"{tag}-{number}", products=[line])


async def test_a_snapshot_comes_first_and_then_every_change_in_order(
    service: Service, tag: str
) -> None:
    await send(service, sold(tag, 0))
    async with watching(service, id="mine", **by_category(tag)) as socket:
        snapshot = await next_message(socket, "snapshot")
        assert snapshot["id"] == "mine"
        await send(service, *(sold(tag, number) for number in range(1, 6)))
        counts, revisions = [0], []
        while counts[-1] < 6:
            (figure,) = (await next_message(socket))["figures"]
            counts.append(figure["value"]["orders"])
            revisions.append(figure["revision"])
    assert counts == sorted(counts)
    assert revisions == sorted(set(revisions))


async def test_a_dashboard_resumes_where_it_was_cut_off(service: Service, tag: str) -> None:
    async with watching(service, **by_category(tag)) as socket:
        revision = (await next_message(socket, "snapshot"))["revision"]
    positions = await send(service, *(sold(tag, number) for number in range(3)))
    await ask(service, "/v1/sales/revenue", min_position=positions)
    await asyncio.sleep(0.2)
    async with watching(service, since=revision, **by_category(tag)) as socket:
        missed = await next_message(socket)
    assert missed["figures"][0]["value"]["orders"] == 3
    async with watching(service, since="other-epoch:1-1", **by_category(tag)) as socket:
        assert (await next_message(socket, "snapshot"))["figures"]


async def test_only_what_was_asked_for_comes(service: Service, tag: str) -> None:
    async with watching(service, **by_category(tag)) as socket:
        assert (await next_message(socket, "snapshot"))["figures"] == []
        await send(service, sold(f"{tag}-other", 1), sold(tag, 2))
        delta = await next_message(socket)
    assert {figure["value"]["key"] for figure in delta["figures"]} == {tag}


async def test_today_means_the_day_of_the_shop(service: Service, tag: str) -> None:
    old = {**sold(tag, 1), "time": "2001-01-01T00:00:00Z"}
    wanted = {"subscribe": "best_sellers", "filter": {"day": "today"}}
    async with watching(service, **wanted) as socket:
        snapshot = await next_message(socket, "snapshot")
        await send(service, old, sold(tag, 2))
        delta = await next_message(socket)
    today = datetime.now(UTC).date().isoformat()
    assert {f["value"]["day"] for f in snapshot["figures"] + delta["figures"]} == {today}


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"subscribe": "weather"}, "subscribe"),
        ({"subscribe": "revenue", "filter": {"colour": "red"}}, "filter.colour"),
        ({"filter": {}}, "subscribe"),
        ({"subscribe": "revenue", "extra": 1}, "extra"),
    ],
)
async def test_a_wrong_subscription_is_told_why_and_keeps_the_socket(
    service: Service, tag: str, message: dict[str, Any], field: str
) -> None:
    async with watching(service, **message) as socket:
        error = await next_message(socket, "error")
        assert error["field"] == field
        assert error["reason"]
        await socket.send(json.dumps(by_category(tag)))
        assert (await next_message(socket, "snapshot"))["figures"] == []


async def test_a_page_of_another_origin_may_not_listen(service: Service) -> None:
    address = service.api.replace("http", "ws") + "/v1/live"
    with pytest.raises(InvalidStatus):
        async with connect(address, origin="https://elsewhere.example"):  # type: ignore[arg-type]
            pass


async def test_a_flushed_redis_is_refilled_and_dashboards_get_a_new_snapshot(
    settings: Settings, tag: str
) -> None:
    async with running(settings) as service:
        await send(service, sold(tag, 0))
        async with watching(service, **by_category(tag)) as socket:
            before = (await next_message(socket, "snapshot"))["revision"]
            async with Redis.from_url(settings.servers.redis) as redis:
                keys = [key async for key in redis.scan_iter(f"{settings.prefix}*")]
                await redis.delete(*keys)
            await send(service, sold(tag, 1))
            revision, total = before, Decimal(0)
            async with asyncio.timeout(30):
                # One more snapshot of the old epoch may come first, if the API had just found it.
                while revision.split(":")[0] == before.split(":")[0] or total != Decimal("3.00"):
                    message = json.loads(await socket.recv())
                    revision = message["revision"]
                    if figures := message.get("figures"):
                        total = sum((Decimal(f["value"]["gross"]) for f in figures), Decimal(0))
