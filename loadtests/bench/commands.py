"""Commands on one API process: orders placed and lines added to carts, beside a bare route that
inserts one row; then how fast the relay brings what they told to Kafka."""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import httpx2

from app.identity.tokens import Actor, Role, Tokens
from app.own_key import own_key
from app.settings import Servers
from loadtests.bench.processes import Failed, cpu_seconds, started
from loadtests.bench.services import PARTITIONS, Pipeline, answering, free_port, ours
from loadtests.bench.tables import Row, Table
from loadtests.bench.wire import drive, request
from projections.postgres import connect, connect_alone
from streams.outbox import Relay

SECONDS = 8.0
CONNECTIONS = 32
VARIANTS, CARTS = 500, 500
MOST = 3_000  # requests a second that there could be
BARE, ORDER, HOT, CART = (
    "bare FastAPI + asyncpg, one row",
    "Tillstream, place an order",
    "Tillstream, all orders of one variant",
    "Tillstream, add to a cart",
)


class Driven(NamedTuple):
    """Commands a second, their 99th percentile in ms, the API's share of a core, and how many were
    told to come again."""

    rate: float
    p99: float
    cpu: float
    again: int


async def measure(
    servers: Servers, home: Path, rounds: int, tell: Callable[[str], None]
) -> list[Table]:
    """Commands a second and p99, a value for each round; and events relayed a second."""
    rates = {name: Row(name, "–") for name in (ORDER, HOT, CART)}
    rates[BARE] = Row(BARE, "checks, roles, keys, locks, states, events, answers kept")
    tails = {name: Row(name, row.leaves_out) for name, row in rates.items()}
    relay, cpu, again = Row("the relay, into Kafka", "–"), dict.fromkeys(rates, 0.0), 0
    for number in range(rounds):
        found: dict[str, Driven] = {}
        async with _bare(servers, home) as port:
            body = json.dumps(_order("v-0")).encode()
            found[BARE] = await _drive(port, itertools.repeat(request("/rows", body)))
        async with ours(servers, home, worker=False) as pipeline, _Shop(pipeline) as shop:
            found[ORDER] = await _drive(pipeline.port, shop.orders(VARIANTS))
            found[HOT] = await _drive(pipeline.port, shop.orders(1))
            found[CART] = await _drive(pipeline.port, shop.lines())
            relay.values.append(await _relayed(pipeline))
        for name, driven in found.items():
            rates[name].values.append(driven.rate)
            tails[name].values.append(driven.p99)
            cpu[name] += driven.cpu / rounds
            again += driven.again
        tell(
            f"commands, round {number + 1}: " + ", ".join(f"{f.rate:,.0f}" for f in found.values())
        )
    used = "; ".join(f"{name}: {share:.0%}" for name, share in cpu.items())
    note = f"{CONNECTIONS} connections, one API process. Its share of a core: {used}. "
    note += f"Told to come again: {again}."
    return [
        Table("Commands", "commands/s", BARE, list(rates.values()), notes=[note]),
        Table("Commands, 99th percentile", "ms", BARE, list(tails.values()), 1),
        Table("Relay", "events/s", relay.contender, [relay]),
    ]


async def _drive(port: int, requests: Iterator[bytes]) -> Driven:
    times: list[float] = []
    again = 0

    def answered(status: int, body: bytes) -> None:
        nonlocal again
        if status not in (200, 201, 409, 503):
            raise Failed(f"{status}: {body[:200]!r}")
        again += status in (409, 503)

    before = cpu_seconds(port)
    took = await drive(port, CONNECTIONS, requests, SECONDS, answered, times)
    used = cpu_seconds(port) - before
    times.sort()
    p99 = times[int(len(times) * 0.99)] * 1000
    return Driven((len(times) - again) / took, p99, used / took, again)


def _order(variant: str) -> dict[str, Any]:
    address = {"name": "A", "lines": ["1 Street"], "city": "Berlin", "country": "DE"}
    return {
        "lines": [{"variant": variant, "quantity": 1}],
        "payment_method": "cash_on_delivery",
        "shipping_address": address,
    }


class _Shop:
    """A shop with stock for all who come, and what they send."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        key = own_key(None, Path(pipeline.environment["TILLSTREAM_HOME"]) / "token.key")
        self._tokens = Tokens(key)
        self._carts: list[tuple[str, str]] = []

    def _token(self, role: Role, name: str) -> str:
        actor = Actor(role, name, "main")
        return self._tokens.issue(actor, datetime.now(UTC))

    async def __aenter__(self) -> "_Shop":
        api = f"http://127.0.0.1:{self._pipeline.port}"
        staff = {"Authorization": f"Bearer {self._token(Role.STAFF, 's')}"}
        async with httpx2.AsyncClient(base_url=api, timeout=60) as client:
            for first in range(0, VARIANTS, 100):
                variants = [
                    {"id": f"v-{n}", "price": "9.90", "stock": 1_000_000, "options": {"n": str(n)}}
                    for n in range(first, first + 100)
                ]
                product = {"product_id": f"p-{first}", "name": "P", "currency": "EUR"}
                told = {**product, "variants": variants}
                (await client.post("/v1/products", json=told, headers=staff)).raise_for_status()
            for _ in range(CARTS):
                cart = (await client.post("/v1/carts")).raise_for_status().json()
                self._carts.append((cart["cart_id"], cart["token"]))
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def orders(self, variants: int) -> Iterator[bytes]:
        """Orders of so many variants in turn, each under a key of its own."""
        token = self._token(Role.CUSTOMER, "u-1")
        bodies = [json.dumps(_order(f"v-{n}")).encode() for n in range(variants)]
        for body in itertools.cycle(bodies):
            yield request("/v1/orders", body, token, {"Idempotency-Key": str(uuid4())})

    def lines(self) -> Iterator[bytes]:
        """Lines for all carts in turn."""
        for n in itertools.count():
            cart_id, token = self._carts[n % CARTS]
            body = json.dumps({"variant": f"v-{n % VARIANTS}", "quantity": 1}).encode()
            key = {"Idempotency-Key": str(uuid4())}
            yield request(f"/v1/carts/{cart_id}/lines", body, token, key)


@asynccontextmanager
async def _bare(servers: Servers, home: Path) -> AsyncIterator[int]:
    port = free_port()
    environment = {
        "MINIMAL_POSTGRES": servers.postgres,
        "MINIMAL_SCHEMA": f"i{uuid4().hex[:8]}",
        "MINIMAL_PORT": str(port),
    }
    command = (sys.executable, "-m", "loadtests.contenders.insert", "--port", str(port))
    async with started(command, home, environment):
        await answering(port)
        yield port


async def _relayed(pipeline: Pipeline) -> float:
    """Events a second from the outbox into Kafka, of all that wait there."""
    environment = pipeline.environment
    dsn, schema = environment["TILLSTREAM_POSTGRES"], environment["TILLSTREAM_SCHEMA_NAME"]
    pool = await connect(dsn, schema, size=1)
    waiting = "SELECT count(*) FROM outbox WHERE acknowledged_at IS NULL"
    count: int = await pool.fetchval(waiting)
    relay = Relay(
        partial(connect_alone, dsn, schema),
        environment["TILLSTREAM_KAFKA"],
        PARTITIONS,
        environment["TILLSTREAM_PREFIX"],
    )
    task = asyncio.create_task(relay.run())
    try:
        # Its start is none of its speed.
        async with asyncio.timeout(300):
            while (left := await pool.fetchval(waiting)) == count:
                await asyncio.sleep(0.01)
            begun, first = time.monotonic(), left
            while await pool.fetchval(waiting):
                await asyncio.sleep(0.02)
        return float(first / (time.monotonic() - begun))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await pool.close()
