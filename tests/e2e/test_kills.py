"""kill -9 of the API and of the relay, at named points and at any moment: what was answered is on
the log once in effect, and states and log agree.

`TILLSTREAM_KILLS=50` kills that often; `TILLSTREAM_SEED` draws other moments.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import Any

import asyncpg
import httpx2
from aiokafka import TopicPartition

from app.commands.retold import check_states, shop_of
from app.settings import Settings
from app.vault import Vault
from projections.postgres import connect, migrate
from streams.batch import Partition
from streams.crash_points import OF_COMMANDS
from streams.dedupe import Window
from streams.events import (
    Data,
    OrderCompleted,
    OrderPlaced,
    ProductListed,
    StockReceived,
    StockReserved,
)
from streams.readback import log_ends, read_back
from streams.records import decode_part
from streams.topics import create_topics
from tests.e2e.service import Service, environment, free_port, run_cli
from tests.e2e.test_commands import bearer, mug

KILLS = int(os.environ.get("TILLSTREAM_KILLS", "4"))
SEED = os.environ.get("TILLSTREAM_SEED", "kills")
CLIENTS = 6
SECONDS = 240 + 20 * KILLS

Process = subprocess.Popen[bytes]
Start = Callable[[dict[str, str]], Process]


async def live(
    start: Start, points: Sequence[str | None], random: Random, last: asyncio.Event
) -> None:
    """Starts a process again and again: each life ends at a point, or at any moment. The last one
    goes on until it is no longer waited for."""
    process: Process | None = None
    try:
        for point in points:
            process = start({"TILLSTREAM_CRASH_AT": point} if point else {})
            if point is None:
                # Amid its start or amid its work: nobody asks.
                await asyncio.sleep(random.uniform(0.5, 6.0))
                process.kill()
            while process.poll() is None:
                await asyncio.sleep(0.02)
            assert process.returncode == -signal.SIGKILL, process.returncode
        process = start({})
        last.set()
        await asyncio.Event().wait()
    finally:
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()


class Shoppers:
    """Clients that send each command until it is answered."""

    def __init__(self, service: Service, tag: str) -> None:
        self._service, self._tag = service, tag
        self.answers: dict[int, bytes] = {}
        self.tries: Counter[int] = Counter()
        self.stopped = asyncio.Event()
        self._next = 0

    def client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=self._service.api, timeout=20)

    async def open(self) -> None:
        """Lists what all the orders are of."""
        async with self.client() as client:
            await self._once(client)

    async def shop(self) -> None:
        async with self.client() as client:
            while not self.stopped.is_set():
                await self._once(client)

    async def _once(self, client: httpx2.AsyncClient) -> None:
        number, self._next = self._next, self._next + 1
        self.answers[number] = await self.answered(client, number)

    async def answered(self, client: httpx2.AsyncClient, number: int) -> bytes:
        """One command, sent until it is answered."""
        path, body = self._wanted(number)
        while True:
            self.tries[number] += 1
            headers = {**bearer(self._service), "Idempotency-Key": f"{self._tag}-{number}"}
            with suppress(httpx2.HTTPError, OSError):
                answer = await client.post(path, json=body, headers=headers)
                if answer.status_code == 201:
                    return answer.content
                assert answer.status_code in (409, 503), answer.text
                assert answer.headers["Retry-After"]
            await asyncio.sleep(0.05)

    def _wanted(self, number: int) -> tuple[str, dict[str, Any]]:
        """A product, or an order of the first one: all orders meet in its stock."""
        if is_product(number):
            product = mug(f"{self._tag}-{number}")
            product["variants"][0]["stock"] = 1_000_000
            return "/v1/products", product
        lines = [{"variant": f"blue-{self._tag}-0", "quantity": 1}]
        order = {"lines": lines, "payment_method": "cash_on_delivery", "country": "DE"}
        return "/v1/orders", order

    def products(self) -> Counter[str]:
        """Those that were answered, once each."""
        return Counter({f"mug-{self._tag}-{n}": 1 for n in self.answers if is_product(n)})

    def orders(self) -> Counter[str]:
        told = (json.loads(body) for n, body in self.answers.items() if not is_product(n))
        return Counter({order["order_id"]: 1 for order in told})


def is_product(number: int) -> bool:
    return number % 3 == 0


def drawn(points: list[str], count: int, random: Random) -> list[str | None]:
    """Where each life ends: at points in turn, and at any moment as often."""
    each = [*points, None]
    found = [each[n % len(each)] for n in range(count)]
    random.shuffle(found)
    return [point and f"{point}:{random.randint(1, 12)}" for point in found]


async def test_what_was_answered_is_on_the_log_once_whoever_was_killed(
    settings: Settings, tag: str
) -> None:
    random, servers = Random(f"{SEED} {KILLS}"), settings.servers
    await migrate(servers.postgres, settings.schema_name)
    await create_topics(servers.kafka, settings.partitions, settings.prefix)
    port = free_port()
    told = environment(settings)

    def api(more: dict[str, str]) -> Process:
        process: Process = run_cli("api", "--port", str(port), environment={**told, **more})
        return process

    def relay(more: dict[str, str]) -> Process:
        where = [servers.postgres, settings.schema_name, servers.kafka, settings.prefix]
        command = [sys.executable, "-m", "tests.e2e.relaying", *where, str(settings.partitions)]
        return subprocess.Popen(command, env={**told, **more})

    of_api = drawn([*OF_COMMANDS], KILLS - KILLS // 2, random)
    of_relay = drawn(["relayed"], KILLS // 2, random)
    address = f"http://127.0.0.1:{port}"
    service = Service(settings, address, told, None)  # type: ignore[arg-type]  # it is born below
    shoppers = Shoppers(service, tag)
    api_lives, relay_lives = asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
        living = [
            group.create_task(live(api, of_api, random, api_lives)),
            group.create_task(live(relay, of_relay, random, relay_lives)),
        ]
        await shoppers.open()
        shopping = [group.create_task(shoppers.shop()) for _ in range(CLIENTS)]
        await api_lives.wait()
        await relay_lives.wait()
        before = len(shoppers.answers)
        while len(shoppers.answers) < before + 20:
            await asyncio.sleep(0.05)
        shoppers.stopped.set()
        await asyncio.gather(*shopping)
        await check(settings, shoppers)
        async with shoppers.client() as client:
            for number in random.sample(sorted(shoppers.answers), 20):
                assert await shoppers.answered(client, number) == shoppers.answers[number]
        for one in living:
            one.cancel()
    again = sum(count > 1 for count in shoppers.tries.values())
    sys.stdout.write(
        f"{KILLS} kills, {len(shoppers.answers):,} commands, {again} sent more than once\n"
    )
    assert again


async def check(settings: Settings, shoppers: Shoppers) -> None:
    """States and log agree, and the log has what was answered once, and nothing else."""
    servers = settings.servers
    pool: asyncpg.Pool[asyncpg.Record] = await connect(servers.postgres, settings.schema_name)
    found = await check_states(shop_of(settings), Vault(pool))
    assert [one for one in found if one.found.differing] == []
    await pool.close()
    told = await told_of(settings)
    assert told[ProductListed] == told[StockReceived] == shoppers.products()
    assert told[OrderPlaced] == told[OrderCompleted] == shoppers.orders()
    assert told[StockReserved].total() == shoppers.orders().total()


async def told_of(settings: Settings) -> Mapping[type[Data], Counter[str]]:
    """How often the log tells each type of event of each subject, as every reader counts it."""
    found: defaultdict[type[Data], Counter[str]] = defaultdict(Counter)
    for topic in ("catalog", "orders"):
        names = [
            TopicPartition(settings.prefix + topic, number) for number in range(settings.partitions)
        ]
        ends = await log_ends(settings.servers.kafka, names)
        windows = {tp: Window(10_000) for tp in ends}
        async for tp, records in read_back(settings.servers.kafka, ends):
            partition = Partition(topic, tp.partition)
            part = decode_part(partition, records, windows[tp], settings.partitions)
            assert not part.quarantined
            for fact in part.facts:
                found[type(fact.data)][fact.event.subject] += 1
    return found
