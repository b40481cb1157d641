"""Every report as a live query: what a dashboard holds in the end is what the HTTP query answers,
through two API processes and the death of a worker."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect

from app.api.live import MOST_SUBSCRIPTIONS
from app.reports.table import REPORTS
from app.settings import Servers
from tests.conftest import settings_for
from tests.e2e.service import Service, answers, end, free_port, run_cli, running
from tests.e2e.test_live import next_message, watching
from tests.e2e.test_live_events import Event, read_events
from tests.e2e.test_sales import send
from tests.live import Held

FIVE: Mapping[str, Mapping[str, Any]] = {
    "net": {"grain": "month", "by": ["country"], "from": "2026-01-01"},
    "orders": {"grain": "total", "by": "country,product", "country": ["DE", "FR"]},
    "units": {"grain": "day", "product": "p-1"},
    "average_order_value": {"grain": "week", "by": "channel"},
    "refund_rate": {"grain": "total", "by": "product"},
}
ASKED: Mapping[str, Mapping[str, Any]] = {}
"""What a report must be asked with."""

BATCHES, SALES = 12, 40


@dataclass
class Asking:
    """One live query, and what a client of it holds."""

    report: str
    filter: Mapping[str, Any]
    held: Held = field(default_factory=Held)

    @property
    def query(self) -> list[tuple[str, str | int | float | bool | None]]:
        return [
            (name, one)
            for name, value in self.filter.items()
            for one in ([value] if isinstance(value, str) else value)
        ]

    async def told(self, client: httpx2.AsyncClient) -> Any:
        found = await client.get(REPORTS[self.report].path, params=self.query)
        assert found.status_code == 200, found.text
        return found.json()["rows"]


def history(batch: int) -> list[dict[str, Any]]:
    """Sales over some months, some given back, and what was looked at before."""
    first = datetime(2026, 1, 3, 22, 30, tzinfo=UTC)
    events: list[dict[str, Any]] = []
    for number in range(batch * SALES, (batch + 1) * SALES):
        at = (first + timedelta(hours=5 * number)).isoformat()
        name, product = f"live-{number}", f"p-{number % 7}"
        line = {"product_id": product, "category": f"c-{number % 3}", "price": f"{number % 9}.99"}
        data = {
            "order_id": name,
            "currency": ("EUR", "EUR", "GBP")[number % 3],
            "country": ("DE", "FR", "GB", "AT")[number % 4],
            "channel": ("web", "shop")[number % 2],
            "products": [{**line, "quantity": 1 + number % 3}],
        }
        seen = {"subject": f"v-{number % 11}", "data": {"product_id": product}}
        events.append({"type": "ProductViewed", "id": f"s-{name}", "time": at, **seen})
        sale = {"type": "OrderCompleted", "id": name, "time": at, "data": data}
        events.append({**sale, "person": f"live-{number % 13}"})
        if number % 5 == 0:
            back = {
                "order_id": name,
                "refund_id": f"r-{name}",
                "total": "0.50",
                "currency": data["currency"],
            }
            events.append({"type": "OrderRefunded", "id": f"r-{name}", "time": at, "data": back})
    return events


@dataclass
class Two:
    """A service, and a second API process over the same servers."""

    service: Service
    second: str


@pytest.fixture(scope="module")
async def two(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Two]:
    home: Path = tmp_path_factory.mktemp("live-reports")
    async with running(settings_for(servers, home)) as service:
        port = free_port()
        api = run_cli("api", "--port", str(port), environment=service.environment)
        try:
            second = f"http://127.0.0.1:{port}"
            await answers(second, api)
            yield Two(service, second)
        finally:
            end(api)


@asynccontextmanager
async def followed(api: str, asked: Sequence[Asking]) -> AsyncIterator[None]:
    """Keeps each of these told over one websocket; what ends it fails the test."""
    async with connect(api.replace("http", "ws") + "/v1/live", max_size=None) as socket:
        for number, one in enumerate(asked):
            wanted = {"subscribe": one.report, "id": str(number), "filter": one.filter}
            await socket.send(json.dumps(wanted))

        async def follow() -> None:
            async for frame in socket:
                message = json.loads(frame)
                assert message["type"] != "error", message
                if message["type"] != "beat":
                    asked[int(message["id"])].held.take(message)

        following = asyncio.create_task(follow())
        try:
            yield
            assert not following.done(), following.result()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


@asynccontextmanager
async def followed_as_events(api: str, one: Asking) -> AsyncIterator[None]:
    """The same as server-sent events."""

    async def follow(events: AsyncIterator[Event | str]) -> None:
        async for event in events:
            if isinstance(event, Event):
                assert event.id == event.data["revision"]
                one.held.take(event.data)

    async with (
        httpx2.AsyncClient(base_url=api, timeout=60) as client,
        client.stream("GET", f"/v1/live/{one.report}", params=one.query) as response,
    ):
        assert response.status_code == 200
        following = asyncio.create_task(follow(read_events(response)))
        try:
            yield
            assert not following.done(), following.result()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def becomes_equal(api: str, one: Asking) -> None:
    """Until a client holds what the HTTP query answers. What ages is asked again, too."""
    async with httpx2.AsyncClient(base_url=api, timeout=60) as client:
        told: Any = None
        try:
            async with asyncio.timeout(180):
                while not one.held.revision or one.held.rows != (told := await one.told(client)):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            assert one.held.rows == told, one.report  # says what differs


async def all_counts(service: Service) -> None:
    """Until all that was sent is in the figures: a new worker has its group first when the dead one
    is given up."""
    asked, orders = Asking("orders", {"grain": "total", "currency": "EUR"}), 0
    async with asyncio.timeout(240), service.client() as client:
        while orders < 2 * BATCHES * SALES // 3:
            await asyncio.sleep(0.2)
            orders = sum(row["orders"] for row in await asked.told(client))
    assert orders == 2 * BATCHES * SALES // 3


async def test_all_end_equal_to_the_http_answers(two: Two) -> None:
    five = [Asking(name, found) for name, found in FIVE.items()]
    again = [Asking(name, found) for name, found in FIVE.items()]
    events = [Asking(name, FIVE[name]) for name in ("net", "orders")]
    every = [Asking(name, ASKED.get(name, {})) for name in REPORTS]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(followed(two.service.api, five))
        await stack.enter_async_context(followed(two.second, again))
        for one in events:
            await stack.enter_async_context(followed_as_events(two.second, one))
        for start in range(0, len(every), MOST_SUBSCRIPTIONS):
            part = every[start : start + MOST_SUBSCRIPTIONS]
            await stack.enter_async_context(followed(two.service.api, part))
        for batch in range(BATCHES):
            await send(two.service, *history(batch))
            if batch == BATCHES // 2:
                end(two.service.workers[-1], signal.SIGKILL)
                two.service.start_worker()
        await all_counts(two.service)
        for one in (*five, *again, *events, *every):
            await becomes_equal(two.service.api, one)
    assert all(one.held.rows for one in five)
    assert [one.held.revision for one in five] == [one.held.revision for one in again]


async def test_a_dashboard_resumes_at_another_process_without_a_snapshot(two: Two) -> None:
    asked = {
        "subscribe": "gross",
        "filter": {"grain": "total", "by": "channel", "channel": "kiosk"},
    }
    await send(two.service, kiosk("kiosk-1"))
    async with watching(two.service, **asked) as socket:
        told = await next_message(socket, "snapshot")
        while not told["figures"]:
            told = await next_message(socket)
    async with connect(two.second.replace("http", "ws") + "/v1/live") as socket:
        await socket.send(json.dumps({**asked, "since": told["revision"]}))
        same = await next_message(socket)
        assert (same["figures"], same["revision"]) == ([], told["revision"])
        await send(two.service, kiosk("kiosk-2"))
        (figure,) = (await next_message(socket))["figures"]
    assert figure["value"] == {"channel": "kiosk", "currency": "EUR", "gross": "4.00"}


def kiosk(order: str) -> dict[str, Any]:
    line = {"product_id": "pen", "category": "desk", "price": "2.00"}
    data = {"order_id": order, "currency": "EUR", "channel": "kiosk", "products": [line]}
    return {"type": "OrderCompleted", "id": order, "data": data}


@pytest.mark.parametrize(
    ("filter", "field"),
    [
        ({"contry": "DE"}, "contry"),
        ({"by": "colour"}, "by.0"),
        ({"from": "yesterday"}, "from"),
        ({"as_of": "2026-03-01T00:00:00Z"}, "as_of"),
        ({"wait": "1"}, "wait"),
    ],
)
async def test_a_wrong_filter_is_named_over_both(
    service: Service,
    filter: dict[str, str],  # noqa: A002
    field: str,
) -> None:
    async with watching(service, subscribe="net", filter=filter) as socket:
        error = await next_message(socket, "error")
        assert error["field"] == f"filter.{field}"
        await socket.send(json.dumps({"subscribe": "net", "filter": {"grain": "total"}}))
        assert (await next_message(socket, "snapshot"))["id"] == "net"
    async with service.client() as client:
        answer = await client.get("/v1/live/net", params=filter)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


async def test_one_name_is_one_subscription_whatever_it_was_before(
    service: Service, tag: str
) -> None:
    async with watching(service, subscribe="revenue", id="mine", filter={"key": tag}) as socket:
        assert (await next_message(socket, "snapshot"))["figures"] == []
        report = {
            "subscribe": "orders",
            "id": "mine",
            "filter": {"grain": "total", "country": "NO"},
        }
        await socket.send(json.dumps(report))
        assert (await next_message(socket, "snapshot"))["figures"] == []
        data = {"order_id": tag, "currency": "NOK", "country": "NO", "products": []}
        line = {"product_id": tag, "category": tag, "price": "1.00"}
        sale = {"type": "OrderCompleted", "data": {**data, "products": [line]}}
        await send(service, sale)
        told = (await next_message(socket))["figures"]
    assert [figure["metric"] for figure in told] == ["orders"]
    assert told[0]["value"]["orders"] >= 1
