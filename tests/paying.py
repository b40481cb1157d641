"""What tests pay with: the stand-in for Stripe over HTTP, and Stripe's own package to ask it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import uvicorn
from stripe import AIOHTTPClient, StripeClient

from app.stack.stripe.server import Keys, StandIn

SECRET_KEY = "sk_test_of_the_tests"
WEBHOOK_SECRET = "whsec_of_the_tests"


class Bank:
    """A running stand-in: where it answers, and its mischief."""

    def __init__(self, url: str, stand_in: StandIn) -> None:
        self.url = url
        self.stand_in = stand_in
        self._opened: list[AIOHTTPClient] = []

    def client(self, key: str = SECRET_KEY) -> StripeClient:
        """Stripe's package, pointed at it; it tries everything once."""
        self._opened.append(AIOHTTPClient(timeout=20))
        return StripeClient(
            key,
            base_addresses={"api": self.url},
            max_network_retries=0,
            http_client=self._opened[-1],
        )

    async def close(self) -> None:
        for client in self._opened:
            await client.close_async()  # type: ignore[no-untyped-call]

    async def mischief(self, **what: object) -> None:
        """Lets go wrong what is told, and nothing else any more."""
        async with httpx2.AsyncClient() as client:
            answer = await client.put(f"{self.url}/stand-in/mischief", json=what)
            answer.raise_for_status()


@asynccontextmanager
async def bank(forward_to: str | None = None, file: Path | None = None) -> AsyncIterator[Bank]:
    """The stand-in in this process, on a port of its own."""
    stand_in = StandIn(Keys(SECRET_KEY, WEBHOOK_SECRET, forward_to), file)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(stand_in.app, log_level="warning", lifespan="on"))
    serving = asyncio.create_task(server.serve([listening]))
    try:
        while not server.started:
            await asyncio.sleep(0.01)
        found = Bank(f"http://127.0.0.1:{listening.getsockname()[1]}", stand_in)
        try:
            yield found
        finally:
            await found.close()
    finally:
        server.should_exit = True
        await serving
