"""The live feed as server-sent events: what `curl -N` shows."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from app.settings import Settings
from tests.e2e.service import Service, answers, end, environment, free_port, run_cli
from tests.e2e.test_live import sold
from tests.e2e.test_sales import ask, send


@dataclass
class Event:
    kind: str
    id: str
    data: Any


async def read_events(response: httpx2.Response) -> AsyncIterator[Event | str]:
    """Events, and comments as text, as the HTML standard has them."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        if line.startswith(":"):
            yield line.removeprefix(":").strip()
        elif line:
            fields[name] = value
        elif "data" in fields:
            yield Event(fields["event"], fields["id"], json.loads(fields["data"]))
            fields = {}


@asynccontextmanager
async def listening(
    api: str, query: Mapping[str, Any], last_event_id: str | None = None
) -> AsyncIterator[AsyncIterator[Event | str]]:
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    async with (
        httpx2.AsyncClient(base_url=api, timeout=20) as client,
        client.stream("GET", "/v1/live/revenue", params=query, headers=headers) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield read_events(response)


async def next_event(events: AsyncIterator[Event | str]) -> Event:
    async with asyncio.timeout(30):
        async for event in events:
            if isinstance(event, Event):
                return event
    raise AssertionError("the stream ended")


def of_category(tag: str) -> dict[str, str]:
    return {"dimension": "category", "key": tag}


async def test_a_snapshot_comes_first_and_then_every_change(service: Service, tag: str) -> None:
    await send(service, sold(tag, 0))
    async with listening(service.api, of_category(tag)) as events:
        first = await next_event(events)
        assert first.kind == first.data["type"] == "snapshot"
        assert first.id == first.data["revision"]
        await send(service, sold(tag, 1), sold(f"{tag}-other", 2))
        orders = 0
        while orders < 2:
            change = await next_event(events)
            assert change.kind == "delta"
            (figure,) = change.data["figures"]
            assert figure["value"]["key"] == tag
            orders = figure["value"]["orders"]


async def test_it_says_the_same_as_the_websocket(service: Service, tag: str) -> None:
    await send(service, {**sold(tag, 1), "time": "2001-01-01T00:00:00Z"}, sold(tag, 2))
    asked = {"day": "today", "key": [tag, "nothing"], "shop": "main"}
    async with listening(service.api, asked) as events:
        event = await next_event(events)
        while not event.data["figures"]:
            event = await next_event(events)
    (figure,) = event.data["figures"]
    assert figure["value"]["key"] == tag
    assert figure["value"]["gross"] == "1.50"


@pytest.mark.parametrize("how", ["header", "query"])
async def test_a_client_resumes_where_it_was_cut_off(service: Service, tag: str, how: str) -> None:
    await send(service, sold(tag, 0))
    async with listening(service.api, of_category(tag)) as events:
        while not (event := await next_event(events)).data["figures"]:
            pass  # it is on its way; and before the first change there is nothing to resume from
        last = event.id
    positions = await send(service, *(sold(tag, number) for number in range(1, 4)))
    await ask(service, "/v1/sales/revenue", min_position=positions)
    since = {"since": last} if how == "query" else {}
    header = last if how == "header" else None
    async with listening(service.api, of_category(tag) | since, header) as events:
        orders = 0
        while orders < 4:  # what is committed may still be on its way to Redis
            missed = await next_event(events)
            assert missed.kind == "delta"
            orders = max(
                (figure["value"]["orders"] for figure in missed.data["figures"]), default=orders
            )
    async with listening(service.api, of_category(tag), "other:1-1") as events:
        assert (await next_event(events)).kind == "snapshot"


async def test_silence_is_filled_with_comments(service: Service, tag: str) -> None:
    async with listening(service.api, of_category(tag)) as events:
        async with asyncio.timeout(30):
            seen = [event async for event in _until_comment(events)]
    assert isinstance(seen[-1], str)
    assert seen[-1].startswith("beat")


async def _until_comment(events: AsyncIterator[Event | str]) -> AsyncIterator[Event | str]:
    async for event in events:
        yield event
        if isinstance(event, str):
            return


@pytest.mark.parametrize(
    ("path", "query", "status", "field"),
    [
        ("/v1/live/weather", {}, 404, None),
        ("/v1/live/revenue", {"colour": "red"}, 422, "colour"),
        ("/v1/live/revenue", {"key": "x" * 200}, 422, "key"),
        ("/v1/live/revenue", {"since": "x" * 200}, 422, "since"),
    ],
)
async def test_a_wrong_address_is_told_why(
    service: Service, path: str, query: dict[str, str], status: int, field: str | None
) -> None:
    async with service.client() as client:
        answer = await client.get(path, params=query)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    if field:
        assert answer.json()["errors"][0]["field"] == field


async def test_a_page_of_another_origin_may_not_listen(service: Service) -> None:
    async with service.client() as client:
        answer = await client.get(
            "/v1/live/revenue", headers={"Origin": "https://elsewhere.example"}
        )
    assert answer.status_code == 403


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[tuple[str, Any]]:
    """An API of a test's own, and its process."""
    port = free_port()
    process = run_cli("api", "--port", str(port), environment=environment(settings))
    address = f"http://127.0.0.1:{port}"
    try:
        await answers(address)
        yield address, process
    finally:
        if process.poll() is None:
            end(process)


async def test_a_stream_ends_whole_when_the_server_stops(api: tuple[str, Any]) -> None:
    address, process = api
    async with httpx2.AsyncClient(base_url=address, timeout=20) as client:
        async with client.stream("GET", "/v1/live/revenue") as response:
            lines = response.aiter_lines()
            assert await anext(lines)
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):
                async for _ in lines:  # raises where the last chunk is missing
                    pass
    assert await asyncio.to_thread(process.wait, 20) in (0, -signal.SIGTERM)


async def test_websockets_are_told_to_come_again_when_the_server_stops(
    api: tuple[str, Any],
) -> None:
    address, process = api
    async with connect(address.replace("http", "ws") + "/v1/live") as socket:
        process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            async with asyncio.timeout(20):
                await socket.recv()
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 1012
