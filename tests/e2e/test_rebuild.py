"""Rebuilding while the shop is open: nobody notices, but that what was wrong is right."""

import asyncio
import re
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from itertools import count
from typing import Any

import asyncpg
import httpx2
import pytest

from app.settings import Settings
from app.subscriptions import GROUPS, steps_of
from projections.postgres import connect_alone
from tests.e2e.service import Service, end, run_cli, running
from tests.e2e.test_ingest import order

DAY = "2001-02-03"
PRICE = Decimal("19.80")  # of each order: so a total is right if it is this times the offsets
PAUSE = 0.1  # seconds, of each who sends or asks: what they take, the rebuild has to wait for


@pytest.fixture
async def connection(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    found = await connect_alone(settings.servers.postgres, settings.schema_name)
    yield found
    await found.close()


def orders(names: Any) -> list[dict[str, Any]]:
    return [{**order(name), "time": f"{DAY}T10:00:00Z"} for name in names]


async def send(client: httpx2.AsyncClient, names: Any) -> str:
    answer = await client.post("/v1/events", json=orders(names))
    assert answer.status_code == 202, answer.text
    return ",".join(one["position"] for one in answer.json()["accepted"])


async def tillstream(service: Service, *arguments: str) -> tuple[int, str]:
    """A command, run to its end: its exit code and what it said."""
    process = run_cli(
        *arguments,
        environment={**service.environment, "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.to_thread(process.communicate, timeout=180)
    finally:
        process.kill()
    return process.returncode, output.decode()


def clean(said: str) -> str:
    """Numbers without what groups their digits."""
    return re.sub(r"(?<=\d),(?=\d)", "", said)


async def killed_while_it_rebuilds(service: Service, connection: asyncpg.Connection) -> int:
    """Begins to rebuild, and is killed when some of it is done; how much was."""
    folded = (
        f'SELECT sum(next_offset)::bigint FROM "{service.settings.schema_name}_rebuild_sales"'
        ".progress"
    )
    slowly = {**service.environment, "TILLSTREAM_COMMIT_RECORDS": "20"}
    process = run_cli("rebuild", "all", environment=slowly, stderr=subprocess.DEVNULL)
    async with asyncio.timeout(180):
        while not await folded_so_far(connection, folded):
            assert process.poll() is None, "it was done before it could be killed"
            await asyncio.sleep(0.01)
    end(process, signal.SIGKILL)
    return await folded_so_far(connection, folded)


async def folded_so_far(connection: asyncpg.Connection, query: str) -> int:
    with suppress(asyncpg.UndefinedTableError):
        return int(await connection.fetchval(query) or 0)
    return 0


@asynccontextmanager
async def shop_goes_on(service: Service) -> AsyncIterator[Counter[str]]:
    """Orders come in and analysts ask, all the time; what came of it is counted."""
    found: Counter[str] = Counter()

    async def ingest() -> None:
        async with service.client() as client:
            for n in count():
                await send(client, [f"on-{n}-{m}" for m in range(20)])
                found["sent"] += 20
                await asyncio.sleep(PAUSE)

    async def ask(path: str, **parameters: str) -> None:
        async with service.client() as client:
            while True:
                answer = await client.get(path, params={"from": DAY, "to": DAY, **parameters})
                if answer.status_code != 200:
                    found[f"error {answer.status_code} {answer.text}"] += 1
                    continue
                told = answer.json()
                read = sum(told["complete_to"]["next_offsets"]["orders"])
                gross = sum(Decimal(row["gross"]) for row in told["rows"])
                found["right" if gross == PRICE * read else f"mixed {gross} at {read}"] += 1
                await asyncio.sleep(PAUSE)

    tasks = [
        asyncio.create_task(ingest()),
        asyncio.create_task(ask("/v1/sales/revenue", grain="total", by="total")),
        asyncio.create_task(ask("/v1/sales/revenue", grain="total", by="product")),
        asyncio.create_task(ask("/v1/sales/top-products")),
    ]
    try:
        yield found
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_all_is_rebuilt_while_orders_come_in_and_queries_go_on(
    settings: Settings, connection: asyncpg.Connection
) -> None:
    async with running(settings) as service:
        async with service.client() as client:
            for n in range(4):
                last = await send(client, [f"o{n}-{m}" for m in range(500)])
            await client.get("/v1/orders/o3-1", params={"min_position": last, "wait": 30})
        await connection.execute("UPDATE orders SET status = 'broken' WHERE order_id = 'o3-7'")
        code, said = await tillstream(service, "verify")
        assert (code, said.count("keys differ")) == (1, 1), said
        assert "main o3-7: served broken" in said
        assert "`tillstream rebuild orders` makes it anew" in " ".join(said.split())
        alarm = "SELECT sum(differing) FROM verify_results"
        assert await connection.fetchval(alarm) == 1
        code, said = await tillstream(service, "verify", "revenue", "--sample", "20")
        assert (code, said.count("revenue, sample")) == (0, 1), said
        code, said = await tillstream(service, "verify", "funnel", "--sample", "20")
        assert code == 1, said  # not silence: it may be wrong
        assert "nothing was drawn of funnel" in said
        async with shop_goes_on(service) as found:
            killed_at = await killed_while_it_rebuilds(service, connection)
            assert killed_at > 0
            code, said = await tillstream(service, "rebuild", "all")
            assert code == 0, said
            assert await connection.fetchval(alarm) == 0
            before = found["right"]
            async with asyncio.timeout(60):  # and on the new tables
                while found["right"] < before + 20:
                    await asyncio.sleep(0.05)
        assert set(found) == {"sent", "right"}, found
        folded, anew = map(int, re.findall(r"(\d+) events, (\d+) of", clean(said))[0])
        assert folded - anew >= killed_at, said
        compared = [step.model for group in GROUPS for step in steps_of(group)]
        unchanged = sum(model.contents is not None for model in compared) - 1
        assert said.count("keys as before") == unchanged, said
        assert "main o3-7: was broken" in said
        generations = await connection.fetch("SELECT generation FROM read_models")
        assert {row["generation"] for row in generations} == {2}
        assert service.workers[0].poll() is None
        async with service.client() as client:
            last = await send(client, ["last"])
            answer = await client.get("/v1/orders/last", params={"min_position": last, "wait": 30})
        assert answer.status_code == 200
