"""Far too much, while Kafka stands still: refused in time, in bounded memory, and nothing that was
acknowledged is lost."""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from app.settings import Servers, Settings
from app.stack.up import Stack
from app.stack.up import running as stack_running
from streams import captured
from tests.conftest import settings_for
from tests.e2e.service import KEY, Service, running
from tests.e2e.test_ingest import order

MEGABYTE = 1 << 20
ROOM = 8 * MEGABYTE
CLIENTS = 150
BATCH = 300
DEADLINE = 4.0


@asynccontextmanager
async def kafka_of_its_own(servers: Servers, home: Path) -> AsyncIterator[tuple[Stack, Settings]]:
    """A Kafka that may stand still without anyone else standing still with it."""
    others = {"kafka": None, "postgres": servers.postgres, "redis": servers.redis}
    async with stack_running(Settings.model_validate({"home": home, **others})) as stack:
        yield stack, settings_for(stack.servers, home)


async def test_a_flood_before_a_kafka_that_stands_still(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILLSTREAM_INTAKE_BYTES", str(ROOM))
    async with kafka_of_its_own(servers, tmp_path) as (stack, settings):
        kafka = stack.pid("kafka")
        assert kafka is not None
        async with running(settings, workers=0) as service:
            flood = Flood(service)
            await flood.during(2.0)
            assert flood.answers[202] > 0
            before, flood.most_memory = flood.most_memory, 0
            os.kill(kafka, signal.SIGSTOP)
            try:
                # The answers to what was under way may be of before.
                await asyncio.sleep(0.5)
                flood.answers.clear()
                await flood.during(1.5 * DEADLINE)
            finally:
                os.kill(kafka, signal.SIGCONT)
            assert set(flood.answers) == {503}, flood.answers
            assert flood.reasons["overloaded"] > 0, "the room was never full"
            assert flood.reasons["log_unavailable"] > 0
            assert flood.slowest < 3 * DEADLINE
            assert flood.most_memory < before + 120 * MEGABYTE, (before, flood.most_memory)
            async with asyncio.timeout(60):
                while 202 not in flood.answers:
                    await flood.during(0.5)
            os.kill(
                stack.pid("kafka") or kafka, signal.SIGKILL
            )  # what was acknowledged survives it
            async with asyncio.timeout(60):
                while stack.pid("kafka") in (None, kafka):
                    await asyncio.sleep(0.1)
            assert await again(service) == 202
            written = tmp_path / "log"
            await captured.capture(
                settings.servers.kafka, settings.prefix, settings.partitions, written
            )
    there = {json.loads(line)["id"] for line in written.read_text().splitlines()}
    assert flood.acknowledged - there == set(), "acknowledged, and not in the log"


async def again(service: Service) -> int:
    """The answer to an event, once there is one of Kafka's."""
    async with asyncio.timeout(60), service.client() as client:
        while True:
            answer = await client.post("/v1/events", json=event("again"))
            if answer.status_code != 503:
                return answer.status_code
            await asyncio.sleep(0.2)


class Flood:
    """Clients who send batches without a pause and heed no Retry-After."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.acknowledged: set[str] = set()
        self.answers: Counter[int] = Counter()
        self.reasons: Counter[str] = Counter()
        self.slowest = 0.0
        self.most_memory = 0
        self._sent = 0

    async def during(self, seconds: float) -> None:
        """Returns once every request of this time is answered."""
        until = time.monotonic() + seconds
        limits = httpx2.Limits(max_connections=CLIENTS)
        async with httpx2.AsyncClient(
            base_url=self.service.api, headers=KEY, timeout=30, limits=limits
        ) as client:
            await asyncio.gather(*(self._send(client, until) for _ in range(CLIENTS)))

    async def _send(self, client: httpx2.AsyncClient, until: float) -> None:
        while time.monotonic() < until:
            self._sent += 1
            ids = [f"{self._sent}-{number}" for number in range(BATCH)]
            begun = time.monotonic()
            answer = await client.post("/v1/events", json=[event(name) for name in ids])
            self.slowest = max(self.slowest, time.monotonic() - begun)
            self.answers[answer.status_code] += 1
            if answer.status_code == 202:
                assert len(answer.json()["accepted"]) == BATCH
                self.acknowledged.update(ids)
            else:
                assert int(answer.headers["Retry-After"]) > 0
                self.reasons[answer.json()["code"]] += 1
            memory = psutil.Process(self.service.server.pid).memory_info().rss
            self.most_memory = max(self.most_memory, memory)


def event(name: str) -> dict[str, Any]:
    return {**order(name), "id": name}


async def test_a_key_that_sends_too_fast_is_told_when_to_come_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILLSTREAM_EVENTS_PER_SECOND", "5")
    monkeypatch.setenv("TILLSTREAM_WRITE_KEYS", "demo:main,other:main")
    async with running(settings, workers=0) as service, service.client() as client:
        assert (await client.post("/v1/events", json=[event("a")] * 40)).status_code == 202
        refused = await client.post("/v1/events", json=event("b"))
        other = {"Authorization": "Bearer other"}
        assert (await client.post("/v1/events", json=event("c"), headers=other)).status_code == 202
    assert refused.status_code == 429
    assert refused.json()["code"] == "rate_limited"
    assert 1 <= int(refused.headers["Retry-After"]) <= 6
