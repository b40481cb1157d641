"""From a POST to the screen: 500 events a second, one at a time, seen on a websocket.

Both pipelines push absolute counts, so an event has arrived with the first message whose count
reaches its number; messages that were merged on the way make nobody wait longer.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from app.settings import Servers
from loadtests.bench.services import Pipeline, minimal, ours
from loadtests.bench.tables import Row, Table
from loadtests.bench.wire import Connection, request

RATE = 500
WARM_UP_SECONDS = 5
SECONDS = 20
CONNECTIONS = 16
PATIENCE_SECONDS = 20

Open = Callable[..., AbstractAsyncContextManager[Pipeline]]
OURS, MINIMAL = "Tillstream", "minimal, by hand"
LEAVES_OUT = "checks, dedupe, orders, dimensions, resume"
SUBSCRIBE = {"subscribe": "revenue", "filter": {"day": "today", "dimension": "total"}}


async def measure(
    servers: Servers, home: Path, rounds: int, tell: Callable[[str], None]
) -> list[Table]:
    """Milliseconds at the 50th and 99th percentile, a value for each round."""
    contenders: dict[str, tuple[Open, str]] = {OURS: (ours, "–"), MINIMAL: (minimal, LEAVES_OUT)}
    tables = []
    found: dict[str, list[list[float]]] = {name: [] for name in contenders}
    for number in range(rounds):
        turns = list(contenders.items())
        for name, (open_pipeline, _) in turns if number % 2 else reversed(turns):
            async with open_pipeline(servers, home, worker=True) as pipeline:
                latencies = await run(pipeline)
            found[name].append(latencies)
            tell(f"latency, round {number + 1}: {name}: p50 {percentile(latencies, 50):.1f} ms")
    for at in (50, 99):
        rows = [
            Row(name, leaves_out, [percentile(one, at) for one in found[name]])
            for name, (_, leaves_out) in contenders.items()
        ]
        question = f"POST to websocket at {RATE} a second, p{at}"
        tables.append(Table(question, "ms", MINIMAL, rows, digits=1))
    return tables


def percentile(values: list[float], at: int) -> float:
    """In the unit of the values."""
    return quantiles(values, n=100)[at - 1]


async def run(pipeline: Pipeline) -> list[float]:
    """One round: milliseconds of every event after the warm-up."""
    loop = asyncio.get_running_loop()
    total = RATE * (WARM_UP_SECONDS + SECONDS)
    sent = [0.0] * (total + 1)
    arrived = [0.0] * (total + 1)
    async with connect(f"ws://127.0.0.1:{pipeline.port}{pipeline.live}") as socket:
        if pipeline.live == "/v1/live":
            await socket.send(json.dumps(SUBSCRIBE))
        watching = asyncio.create_task(_watch(socket, arrived, total, loop))
        await asyncio.sleep(0.5)
        await _post_all(pipeline, sent, total, loop)
        async with asyncio.timeout(30):
            await watching
    first = RATE * WARM_UP_SECONDS
    return [(arrived[n] - sent[n]) * 1000 for n in range(first, total + 1)]


async def _watch(
    socket: ClientConnection, arrived: list[float], total: int, loop: asyncio.AbstractEventLoop
) -> None:
    """Notes when the count first reached each number; hours add up, should one turn meanwhile."""
    counts: dict[str, int] = {}
    seen = 0
    while seen < total:
        message = json.loads(await socket.recv())
        now = loop.time()
        counts.update(_counts(message))
        reached = min(sum(counts.values()), total)
        for n in range(seen + 1, reached + 1):
            arrived[n] = now
        seen = max(seen, reached)


def _counts(message: dict[str, Any]) -> list[tuple[str, int]]:
    if "figures" in message:
        return [(figure["id"], figure["value"]["orders"]) for figure in message["figures"]]
    return [("", message["orders"])] if "orders" in message else []


async def _post_all(
    pipeline: Pipeline, sent: list[float], total: int, loop: asyncio.AbstractEventLoop
) -> None:
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(await Connection.open(pipeline.port))
    begun = loop.time()
    posts = set()
    async for n in _paced(total, begun, loop):
        # From when it was due: to wait for a server that stalls is part of it.
        sent[n] = begun + n / RATE
        connection = await asyncio.wait_for(free.get(), PATIENCE_SECONDS)
        posts.add(asyncio.create_task(_post(connection, free, pipeline.events, n)))
    await asyncio.gather(*posts)
    while not free.empty():
        free.get_nowait().close()


async def _paced(total: int, begun: float, loop: asyncio.AbstractEventLoop) -> AsyncIterator[int]:
    for n in range(1, total + 1):
        await asyncio.sleep(max(0.0, begun + n / RATE - loop.time()))
        yield n


async def _post(connection: Connection, free: asyncio.Queue[Connection], path: str, n: int) -> None:
    line = {"product_id": f"p{n % 400}", "category": f"c{n % 12}", "price": "9.90", "quantity": 2}
    event = {
        "id": f"e{n}",
        "type": "OrderCompleted",
        "time": datetime.now(UTC).isoformat(),
        "data": {"order_id": f"o{n}", "currency": "EUR", "country": "DE", "products": [line]},
    }
    status, body = await connection.post(request(path, json.dumps(event).encode()))
    if status != 202:
        raise RuntimeError(f"{status}: {body!r}")
    free.put_nowait(connection)
