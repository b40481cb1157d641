"""A client of the live feed: at its own pace, the latest value of a figure, nothing lost between
snapshot and deltas."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.live import client as live_client
from app.live.client import Client, Ended, attend
from app.live.protocol import (
    Change,
    LiveFigure,
    Message,
    StreamId,
    Subscribe,
    Subscription,
    figures_message,
)
from projections.clock import ShopClock
from streams.codec import Refused


class FakeHub:
    """Opens each subscription with an empty snapshot at 0-0, when `may_open`."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.may_open = asyncio.Event()
        self.may_open.set()
        self.revision = "e:0-0"
        self.clients: set[Client] = set()
        self.address: Any = None
        self.opened: list[Subscription] = []

    @property
    def listeners(self) -> int:
        return len(self.clients)

    def add(self, client: Client) -> None:
        self.clients.add(client)

    def remove(self, client: Client) -> None:
        self.clients.remove(client)

    def delta(self, name: str, last: StreamId, changes: Sequence[Change]) -> Message:
        encoded = [change.encoded for change in changes]
        return figures_message("delta", name, f"e:{last[0]}-{last[1]}", encoded)

    async def opening(
        self, subscription: Subscription, since: str | None
    ) -> tuple[Message, StreamId]:
        self.opened.append(subscription)
        await self.may_open.wait()
        return figures_message("snapshot", subscription.id, "e:0-0", []), (0, 0)


class Pipe:
    """What was sent, and a tap that can be closed."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def send(self, message: Message) -> None:
        await self.open.wait()
        self.messages.append(json.loads(message.body))

    async def has(self, count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(30):
            while len(self.messages) < count:
                await asyncio.sleep(0.001)
        return self.messages


def change(number: int, key: str) -> Change:
    body = {"metric": "revenue", "shop": "main", "id": key, "value": {"key": key, "n": number}}
    return Change((number, 0), LiveFigure(**body), json.dumps(body).encode())  # type: ignore[arg-type]


def subscription(name: str = "revenue", **filter: str) -> Subscription:  # noqa: A002
    return Subscription(
        Subscribe("revenue", id=name, filter={**filter}), ShopClock(ZoneInfo("UTC"))
    )


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_client, "SEND_SECONDS", 0.05)


async def for_ever() -> None:
    await asyncio.Event().wait()


async def stopped(hub: FakeHub, feed: "asyncio.Task[Ended]") -> Ended:
    hub.stopping.set()
    async with asyncio.timeout(30):
        return await feed


async def test_changes_are_conflated_only_while_a_send_is_under_way() -> None:
    hub, pipe = FakeHub(), Pipe()
    client = Client(pipe.send)
    client.subscribe(subscription())
    feed = asyncio.create_task(attend(hub, client, for_ever()))
    await pipe.has(1)
    pipe.open.clear()
    client.offer(change(1, "a"))
    await asyncio.sleep(0.01)  # the first is being sent
    for number in range(2, 50):
        client.offer(change(number, "a"))
    client.offer(change(50, "b"))
    pipe.open.set()
    _, first, rest = await pipe.has(3)
    assert [figure["value"]["n"] for figure in first["figures"]] == [1]
    assert [figure["value"]["n"] for figure in rest["figures"]] == [49, 50]
    assert rest["revision"] == "e:50-0"
    assert await stopped(hub, feed) is Ended.STOPPING
    assert not hub.clients


@pytest.mark.usefixtures("quick")
async def test_who_takes_nothing_is_let_go_within_the_deadline() -> None:
    hub, pipe = FakeHub(), Pipe()
    client = Client(pipe.send)
    client.subscribe(subscription())
    pipe.open.clear()
    async with asyncio.timeout(2):
        assert await attend(hub, client, for_ever()) is Ended.SLOW
    assert not hub.clients


async def test_who_leaves_is_forgotten() -> None:
    hub, pipe = FakeHub(), Pipe()
    assert await attend(hub, Client(pipe.send), asyncio.sleep(0)) is Ended.GONE
    assert not hub.clients


async def test_asking_anew_while_the_first_snapshot_is_read_gets_the_second_too() -> None:
    hub, pipe = FakeHub(), Pipe()
    client = Client(pipe.send)
    hub.may_open.clear()
    client.subscribe(subscription(key="a"))
    feed = asyncio.create_task(attend(hub, client, for_ever()))
    while not hub.opened:
        await asyncio.sleep(0.001)
    client.subscribe(second := subscription(key="b"))
    hub.may_open.set()
    await pipe.has(1)
    assert hub.opened[-1] is second
    client.offer(change(1, "a"))
    client.offer(change(2, "b"))
    snapshot, delta = await pipe.has(2)
    assert snapshot["type"] == "snapshot"
    assert [figure["id"] for figure in delta["figures"]] == ["b"]
    await stopped(hub, feed)


async def test_what_changes_before_the_snapshot_is_sent_follows_it() -> None:
    hub, pipe = FakeHub(), Pipe()
    client = Client(pipe.send)
    hub.may_open.clear()
    client.subscribe(subscription())
    feed = asyncio.create_task(attend(hub, client, for_ever()))
    client.offer(change(1, "a"))
    hub.may_open.set()
    messages = await pipe.has(2)
    assert [message["type"] for message in messages] == ["snapshot", "delta"]
    await stopped(hub, feed)


async def test_who_only_makes_noise_is_let_go() -> None:
    hub, never = FakeHub(), asyncio.Event()

    async def deaf(_: Message) -> None:
        await never.wait()

    client = Client(deaf)

    async def noise() -> None:
        while True:
            client.refuse(Refused("", "no"))
            await asyncio.sleep(0)

    async with asyncio.timeout(10):
        assert await attend(hub, client, noise()) is Ended.NOISY
    assert not hub.clients
