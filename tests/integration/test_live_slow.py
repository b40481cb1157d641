"""Who listens and takes nothing: let go by us after a deadline, cut off by the kernel after."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import uvicorn
from fastapi import FastAPI

from app.api import live, server
from app.live import client as live_client
from app.live.protocol import Message, StreamId, Subscription, changes
from app.settings import Settings
from projections.clock import ShopClock
from tests.unit.test_live_client import FakeHub

MEGABYTES = 32


class LargeHub(FakeHub):
    """Its snapshot is larger than what kernels buffer, but that of best sellers."""

    async def opening(
        self, subscription: Subscription, since: str | None
    ) -> tuple[Message, StreamId]:
        size = 1 if subscription.metric == "best_sellers" else MEGABYTES << 20
        return Message("snapshot", "e:0-0", b"x" * size), (0, 0)


@pytest.fixture
async def hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[LargeHub]:
    """A hub behind a real server, whose `address` it has; a test may say what the kernel waits."""
    monkeypatch.setattr(live_client, "SEND_SECONDS", 0.3)
    monkeypatch.setattr(live_client, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(live, "_GOODBYE_SECONDS", 0.1)
    monkeypatch.setattr(server, "DEAD_SECONDS", getattr(request, "param", 2))
    app = FastAPI()
    hub = app.state.hub = LargeHub()
    app.state.settings = Settings(home=tmp_path)
    app.state.clock = ShopClock(ZoneInfo("UTC"))
    app.state.queries = None  # no report is asked for
    app.include_router(live.router)
    config = uvicorn.Config(app, port=0, log_level="critical", lifespan="off")
    running = server.Server(config, app)
    opened = server.listening(config)
    hub.address = opened.getsockname()
    task = asyncio.create_task(running.serve([opened]))
    yield hub
    running.should_exit = True
    await asyncio.wait_for(task, 10)


async def deaf(address: Any, path: str, headers: str = "") -> socket.socket:
    """Asks, and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, address)
    await loop.sock_sendall(client, f"GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
    return client


async def until(hub: FakeHub, clients: int) -> None:
    async with asyncio.timeout(30):
        while len(hub.clients) != clients:
            await asyncio.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has TCP_USER_TIMEOUT")
async def test_a_deaf_listener_is_let_go_and_then_cut_off(hub: LargeHub) -> None:
    client = await deaf(hub.address, "/v1/live/revenue")
    try:
        await until(hub, 1)
        await until(hub, 0)
        await asyncio.sleep(3)
        read = 0
        with suppress(ConnectionError):
            while chunk := await asyncio.get_running_loop().sock_recv(client, 1 << 20):
                read += len(chunk)
        assert read < MEGABYTES << 20
    finally:
        client.close()


async def test_one_who_reads_all_of_it_stays(
    hub: LargeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_client, "SEND_SECONDS", 10)
    client = await deaf(hub.address, "/v1/live/revenue")
    try:
        read = 0
        async with asyncio.timeout(60):
            while read < MEGABYTES << 20:
                chunk = await asyncio.get_running_loop().sock_recv(client, 1 << 20)
                assert chunk, "the connection was closed"
                read += len(chunk)
        await asyncio.sleep(0.5)
        assert len(hub.clients) == 1
    finally:
        client.close()
    await until(hub, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="what is inherited differs")
def test_what_is_accepted_sends_at_once_and_is_given_up_in_time() -> None:
    with server.listening(uvicorn.Config(FastAPI(), port=0)) as opened:
        opened.listen()
        with socket.create_connection(opened.getsockname()), opened.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            given_up = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert given_up == server.DEAD_SECONDS * 1000


@pytest.mark.parametrize("hub", [120], indirect=True)
async def test_who_takes_nothing_delays_no_one_else(
    hub: LargeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_client, "SEND_SECONDS", 60.0)
    deaf_ones = [await deaf(hub.address, "/v1/live/revenue") for _ in range(3)]
    host, port = hub.address[:2]
    async with asyncio.timeout(60):
        try:
            await until(hub, 3)
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET /v1/live/best_sellers HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"snapshot")
            for number in range(1, 51):
                figure = b'{"metric":"best_sellers","shop":"main","id":"x%d","value":{}}' % number
                (told,) = changes(f"{number}-0", {b"figures": b"[%b]" % figure})
                for client in hub.clients:
                    client.offer(told)
                await reader.readuntil(b'"x%d"' % number)
            assert len(hub.clients) == 4, "the deaf were let go before"
            writer.close()
        finally:
            for one in deaf_ones:
                one.close()
