"""A running API and workers, as processes of their own, on the run's servers."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2
import psutil

from app.settings import Settings
from app.status import members
from app.subscriptions import GROUPS, LEARNERS
from projections.postgres import migrate
from streams.topics import create_topics

KEY = {"Authorization": "Bearer demo"}


@dataclass
class Service:
    """Where the API answers, and the processes behind it."""

    settings: Settings
    api: str
    environment: Mapping[str, str]
    server: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    others: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """The workers of all groups but the first, one each; those are never killed by a test."""

    def client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=self.api, headers=KEY, timeout=30)

    def start_worker(self) -> subprocess.Popen[bytes]:
        """One more worker, without waiting until it reads."""
        worker: subprocess.Popen[bytes] = run_cli("worker", environment=self.environment)
        self.workers.append(worker)
        return worker

    def start_others(self) -> None:
        """A worker for each of the other groups."""
        for group in GROUPS[1:]:
            arguments = ("worker", "--group", group)
            self.others.append(run_cli(*arguments, environment=self.environment))

    def start_learner(self, group: str = LEARNERS) -> subprocess.Popen[bytes]:
        """One more learner of a group, without waiting until it answers."""
        arguments = ("learner", "--group", group)
        learner: subprocess.Popen[bytes] = run_cli(*arguments, environment=self.environment)
        self.workers.append(learner)
        return learner

    async def learns(self, learner: subprocess.Popen[bytes], group: str = LEARNERS) -> None:
        """Until the models of a group are loaded."""
        path = "/v1/forecasts/scores" if group == LEARNERS else "/v1/recommendations/scores"
        async with asyncio.timeout(120), self.client() as client:
            while (await client.get(path)).status_code != 200:
                assert learner.poll() is None, f"the learner ended with {learner.returncode}"
                await asyncio.sleep(0.1)

    async def reads(self, workers: int = 1) -> None:
        """Until so many workers read for the first group, by Kafka's word, and one for each of the
        others."""
        wanted = {GROUPS[0]: workers} | (dict.fromkeys(GROUPS[1:], 1) if self.others else {})
        async with asyncio.timeout(120):
            for group, count in wanted.items():
                while await members(self.settings, group) != count:
                    await asyncio.sleep(0.2)


def doing(service: Service) -> list[psutil.Process]:
    """The processes that an API has started to do jobs."""
    found = []
    for child in psutil.Process(service.server.pid).children():
        with suppress(psutil.Error):  # it has ended at this moment
            if "app.jobs.process" in child.cmdline():
                found.append(child)
    return found


def environment(settings: Settings) -> dict[str, str]:
    """The settings, for a process of ours."""
    servers = settings.servers
    stripe = {
        "TILLSTREAM_STRIPE_KEY": settings.stripe_key,
        "TILLSTREAM_STRIPE_WEBHOOK_SECRET": ",".join(settings.stripe_webhook_secret),
        "TILLSTREAM_STRIPE_URL": settings.stripe_url,
    }
    return {
        **os.environ,
        **{name: told for name, told in stripe.items() if told},
        "TILLSTREAM_HOME": str(settings.home),
        "TILLSTREAM_KAFKA": servers.kafka,
        "TILLSTREAM_POSTGRES": servers.postgres,
        "TILLSTREAM_REDIS": servers.redis,
        "TILLSTREAM_PREFIX": settings.prefix,
        "TILLSTREAM_SCHEMA_NAME": settings.schema_name,
        "TILLSTREAM_DAY_GRACE": str(settings.day_grace),
        "TILLSTREAM_DAY_SETTLE": str(settings.day_settle),
    }


def run_cli(*arguments: str, environment: Mapping[str, str], **options: Any) -> Any:
    """`tillstream …` as a process."""
    command = [sys.executable, "-m", "app.cli", *arguments]
    return subprocess.Popen(command, env=dict(environment), **options)


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def answers(api: str, process: subprocess.Popen[bytes] | None = None) -> None:
    """Until the API is ready, which it never is once its process has ended."""
    async with asyncio.timeout(120), httpx2.AsyncClient() as client:
        while True:
            assert process is None or process.poll() is None, "the API has ended"
            try:
                (await client.get(f"{api}/health/ready")).raise_for_status()
            except (httpx2.HTTPError, OSError):
                await asyncio.sleep(0.1)
            else:
                return


def end(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
    """Ends a process; its exit code."""
    process.send_signal(number)
    try:
        return process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


@asynccontextmanager
async def running(settings: Settings, workers: int = 1) -> AsyncIterator[Service]:
    """An API and workers over topics and a schema of their own."""
    servers = settings.servers
    await migrate(servers.postgres, settings.schema_name)
    await create_topics(servers.kafka, settings.partitions, settings.prefix)
    port = free_port()
    variables = environment(settings)
    api = run_cli("api", "--port", str(port), environment=variables)
    service = Service(settings, f"http://127.0.0.1:{port}", variables, api)
    try:
        for _ in range(workers):
            service.start_worker()
        if workers:
            service.start_others()
        await answers(service.api, api)
        if workers:
            await service.reads(workers)
        yield service
    finally:
        for process in (*service.workers, *service.others, service.server):
            if process.poll() is None:
                await asyncio.to_thread(end, process)  # what it leans on may be in this loop
