"""The two pipelines that are measured over HTTP: ours, and the minimal one by hand."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx2

from app.settings import Servers
from app.subscriptions import GROUPS, LEARNER_GROUPS
from loadtests.bench.processes import started
from streams.topics import create_topics

PARTITIONS = 12


@dataclass(frozen=True)
class Pipeline:
    """Where it answers, and by which names."""

    port: int
    events: str
    live: str
    topic: str
    environment: dict[str, str] = field(default_factory=dict)


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@asynccontextmanager
async def ours(
    servers: Servers, home: Path, *, worker: bool, learner: bool = False
) -> AsyncIterator[Pipeline]:
    """Our API and, if wanted, our workers with all read models and the learners, over topics of
    their own."""
    name, port = f"b{uuid4().hex[:8]}", free_port()
    environment = {
        "TILLSTREAM_HOME": str(home / name),
        "TILLSTREAM_KAFKA": servers.kafka,
        "TILLSTREAM_POSTGRES": servers.postgres,
        "TILLSTREAM_REDIS": servers.redis,
        "TILLSTREAM_PREFIX": f"{name}-",
        "TILLSTREAM_SCHEMA_NAME": name,
    }
    await create_topics(servers.kafka, PARTITIONS, f"{name}-")
    command = (sys.executable, "-m", "app.cli")
    commands: list[tuple[str, ...]] = [(*command, "api", "--port", str(port))]
    commands += [(*command, "worker", "--group", group) for group in GROUPS] if worker else []
    learners = LEARNER_GROUPS if learner else ()
    commands += [(*command, "learner", "--group", group) for group in learners]
    async with _all(commands, home, environment, port):
        yield Pipeline(port, "/v1/events", "/v1/live", f"{name}-orders", environment)


@asynccontextmanager
async def minimal(servers: Servers, home: Path, *, worker: bool) -> AsyncIterator[Pipeline]:
    """The pipeline by hand."""
    name, port = f"m{uuid4().hex[:8]}", free_port()
    environment = {
        "MINIMAL_KAFKA": servers.kafka,
        "MINIMAL_POSTGRES": servers.postgres,
        "MINIMAL_REDIS": servers.redis,
        "MINIMAL_TOPIC": f"{name}-orders",
        "MINIMAL_SCHEMA": name,
        "MINIMAL_PORT": str(port),
    }
    await create_topics(servers.kafka, PARTITIONS, f"{name}-")
    command = (sys.executable, "-m", "loadtests.contenders.minimal")
    commands = [(*command, "api")] + ([(*command, "worker")] if worker else [])
    async with _all(commands, home, environment, port):
        yield Pipeline(port, "/events", "/live", f"{name}-orders")


@asynccontextmanager
async def _all(
    commands: Sequence[tuple[str, ...]], home: Path, environment: dict[str, str], port: int
) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for command in commands:
            await stack.enter_async_context(started(command, home, environment))
        await answering(port)
        if len(commands) > 1:
            await asyncio.sleep(8)  # until the workers have joined their groups
        yield


async def answering(port: int) -> None:
    """Until an API is ready."""
    async with asyncio.timeout(60), httpx2.AsyncClient() as client:
        while True:
            try:
                answer = await client.get(f"http://127.0.0.1:{port}/health/ready")
                if answer.status_code == 200:
                    return
            except httpx2.HTTPError:
                pass
            await asyncio.sleep(0.2)
