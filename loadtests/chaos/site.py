"""The place where it happens: servers, an API and workers of a chaos run's own, kept up."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx2
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from app.settings import Servers, Settings
from app.stack.process import Child, Program
from app.stack.up import Stack
from app.stack.up import running as running_stack
from app.status import members
from app.subscriptions import GROUPS
from loadtests.bench.processes import environment
from loadtests.bench.services import free_port
from loadtests.chaos.proxy import Link
from projections.postgres import migrate
from streams.topics import create_topics

GROUP, TOPIC = "sales", "orders"
CLI = (sys.executable, "-m", "app.cli")
ROOT = Path(__file__).parents[2]

_LOOK_SECONDS = 0.2
_LEAVE_SECONDS = 12.0


@dataclass(eq=False)
class Slot:
    """A process that is to be up, unless a fault holds it."""

    name: str
    arguments: Sequence[str]
    variables: dict[str, str] = field(default_factory=dict)
    command: Sequence[str] = CLI
    held: bool = False
    child: Child | None = None
    starts: int = 0

    @property
    def up(self) -> bool:
        return self.child is not None and self.child.code is None


class Site:
    """One set of topics and a schema on a stack, with the processes that serve them."""

    def __init__(self, stack: Stack, settings: Settings, link: Link) -> None:
        self.stack = stack
        self.settings = settings
        self.link = link
        self.port = free_port()
        self.slots: dict[str, Slot] = {}
        self.ended: list[tuple[str, int]] = []
        """Processes that ended though nobody held them, with their exit codes."""

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def servers(self) -> Servers:
        return self.stack.servers

    @property
    def topic(self) -> str:
        return self.settings.prefix + TOPIC

    @property
    def workers(self) -> list[Slot]:
        return [slot for name, slot in self.slots.items() if name.startswith("worker")]

    def add(self, name: str, *arguments: str, **variables: str) -> Slot:
        """One more process to keep up."""
        slot = self.slots[name] = Slot(name, arguments, variables)
        return slot

    def start(self, slot: Slot, **more: str) -> Child:
        """Starts a slot's process, with these variables besides."""
        variables = {**self._variables(), **slot.variables, **more}
        if slot.name.startswith(("worker", "activity")):
            variables["TILLSTREAM_POSTGRES"] = self._by_link()
        program = Program(
            f"{self.settings.schema_name}-{slot.name}",
            (*slot.command, *slot.arguments),
            cwd=ROOT,
            env=environment(variables),
            stages=((signal.SIGTERM, _LEAVE_SECONDS),),
        )
        slot.starts += 1
        slot.child = Child(program, self.stack.home)
        return slot.child

    def kill(self, slot: Slot) -> bool:
        """SIGKILL; whether it was there to be killed."""
        return self.signal(slot, signal.SIGKILL)

    def signal(self, slot: Slot, number: signal.Signals) -> bool:
        """Sends a signal; whether there was a process to take it."""
        if slot.child is None or slot.child.code is not None:
            return False
        os.kill(slot.child.pid, number)
        return True

    async def stop(self, slot: Slot) -> None:
        """SIGTERM, and what follows on it."""
        if slot.child is not None:
            await slot.child.stop()

    def _by_link(self) -> str:
        parts = urlsplit(self.servers.postgres)
        account = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{account}@127.0.0.1:{self.link.port}"))

    def _variables(self) -> dict[str, str]:
        settings, servers = self.settings, self.servers
        keys = ",".join(f"{key}:{shop}" for key, shop in settings.write_keys.items())
        return {
            "TILLSTREAM_HOME": str(self.stack.home),
            "TILLSTREAM_KAFKA": servers.kafka,
            "TILLSTREAM_POSTGRES": servers.postgres,
            "TILLSTREAM_REDIS": servers.redis,
            "TILLSTREAM_PREFIX": settings.prefix,
            "TILLSTREAM_SCHEMA_NAME": settings.schema_name,
            "TILLSTREAM_PARTITIONS": str(settings.partitions),
            "TILLSTREAM_DEDUPE_WINDOW": str(settings.dedupe_window),
            "TILLSTREAM_DAY_GRACE": str(settings.day_grace),
            "TILLSTREAM_DAY_SETTLE": str(settings.day_settle),
            "TILLSTREAM_WRITE_KEYS": keys,
        }

    async def keep_up(self) -> None:
        """Starts again what has ended, as `tillstream up` does, for ever."""
        while True:
            for slot in list(self.slots.values()):
                if slot.held or slot.up:
                    continue
                if slot.child is not None:
                    self.ended.append((slot.name, slot.child.code or 0))
                self.start(slot)
            await asyncio.sleep(_LOOK_SECONDS)

    async def answers(self, patience: float = 60.0) -> None:
        """Until the API is ready."""

        async def asked() -> bool:
            async with httpx2.AsyncClient(timeout=5) as client:
                return (await client.get(f"{self.api}/health/ready")).status_code == 200

        await until(asked, patience, "the API does not answer")

    async def reads(self, workers: int, patience: float = 60.0) -> None:
        """Until so many workers read, by Kafka's word."""

        async def gathered() -> bool:
            return await members(self.settings, GROUP) == workers

        await until(gathered, patience, f"not {workers} workers read")

    async def sql(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """A statement of ours, straight to the server. Raises OSError, PostgresError."""
        path = f'"{self.settings.schema_name}"'
        connection = await asyncpg.connect(
            self.servers.postgres, timeout=5, server_settings={"search_path": path}
        )
        try:
            return await connection.fetch(query, *arguments)
        finally:
            await connection.close(timeout=5)

    async def next_offsets(self) -> dict[int, int]:
        """How far each partition is applied."""
        rows = await self.sql(
            "SELECT partition, next_offset FROM progress WHERE group_name = $1 AND topic = $2",
            GROUP,
            TOPIC,
        )
        return {row["partition"]: row["next_offset"] for row in rows}


class Impatient(Exception):
    """Something did not come in its time; the message says what."""


async def until(asked: Callable[[], Awaitable[bool]], patience: float, otherwise: str) -> None:
    """Asks until the answer is yes; a server that is away has not said no. Raises Impatient."""
    trouble: Exception | None = None
    try:
        async with asyncio.timeout(patience):
            while True:
                try:
                    if await asked():
                        return
                except (
                    *(OSError, TimeoutError, KafkaError, httpx2.HTTPError, RedisError),
                    *(asyncpg.PostgresError, asyncpg.InterfaceError),
                ) as error:
                    trouble = error
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise Impatient(f"{otherwise} after {patience:g} s ({trouble!r})") from None


@asynccontextmanager
async def servers_in(home: Path) -> AsyncIterator[Stack]:
    """The embedded servers in a home of their own, whatever the environment says."""
    async with running_stack(Settings(home=home, kafka=None, postgres=None, redis=None)) as stack:
        yield stack


@asynccontextmanager
async def opened(
    stack: Stack,
    name: str,
    write_keys: Mapping[str, str],
    *,
    partitions: int,
    window: int,
    workers: int,
    command: Sequence[str] = CLI,
) -> AsyncIterator[Site]:
    """A site on a stack: its topics, its schema, an API and workers, until the end of the block."""
    servers = stack.servers
    settings = Settings(
        home=stack.home,
        kafka=servers.kafka,
        postgres=servers.postgres,
        redis=servers.redis,
        prefix=f"{name}-",
        schema_name=name,
        partitions=partitions,
        dedupe_window=window,
        write_keys=dict(write_keys),
        day_grace=0,
        day_settle=1,
    )
    await migrate(servers.postgres, name)
    await create_topics(servers.kafka, partitions, settings.prefix)
    postgres = urlsplit(servers.postgres)
    async with AsyncExitStack() as exits:
        link = await exits.enter_async_context(
            Link(postgres.hostname or "", postgres.port or 0).open()
        )
        site = Site(stack, settings, link)
        site.add("api", "api", "--port", str(site.port))
        for number in range(1, workers + 1):
            site.add(f"worker-{number}", "worker").command = command
        if workers:
            for group in GROUPS[1:]:
                site.add(group, "worker", "--group", group)
        keeper = asyncio.create_task(site.keep_up())
        try:
            await site.answers()
            if workers:
                await site.reads(workers)
            yield site
        finally:
            keeper.cancel()
            for slot in site.slots.values():
                site.signal(slot, signal.SIGCONT)
            await asyncio.gather(*(site.stop(slot) for slot in site.slots.values()))
