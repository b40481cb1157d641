"""`tillstream up` keeps its processes up: whoever is killed, or does nothing any more."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from app.settings import Settings
from app.stack.process import running_pid
from tests.e2e.service import KEY, environment, free_port, run_cli
from tests.e2e.test_ingest import order

OURS = ("api", "worker", "worker-activity", "learner", "recommender", "stripe")


@asynccontextmanager
async def up(settings: Settings, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    ready = tmp_path / "ready.json"
    variables = {
        **environment(settings),
        "TILLSTREAM_API_PORT": str(free_port()),
        "TILLSTREAM_PARTITIONS": "2",
        "TILLSTREAM_STUCK_SECONDS": "6",
    }
    with (tmp_path / "up.log").open("wb") as told:
        process: subprocess.Popen[bytes] = run_cli(
            "up", "--ready-file", str(ready), environment=variables, stdout=told, stderr=told
        )
    try:
        async with asyncio.timeout(120):
            while not ready.exists():
                assert process.poll() is None, (tmp_path / "up.log").read_text()
                await asyncio.sleep(0.1)
        api = json.loads(ready.read_text())["api"]
        async with httpx2.AsyncClient(base_url=api, headers=KEY, timeout=30) as client:
            yield client
        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, 30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


async def answered(client: httpx2.AsyncClient, method: str, path: str, **more: Any) -> Any:
    """What is answered, once somebody does."""
    async with asyncio.timeout(180):
        while True:
            try:
                answer = await client.request(method, path, **more)
            except httpx2.HTTPError:
                await asyncio.sleep(0.1)
                continue
            if answer.status_code in (200, 202):
                return answer.json()
            await asyncio.sleep(0.1)


async def counts(client: httpx2.AsyncClient, name: str) -> None:
    """Until an event that is sent now is in the figures, once."""
    event = {**order(name), "id": name}
    sent = await answered(client, "POST", "/v1/events", json=event)
    wait = {"min_position": sent["position"], "wait": 10}
    found = await answered(client, "GET", f"/v1/orders/{name}", params=wait)
    assert (found["gross"], found["revision"]) == ("19.80", 1)


async def test_who_is_killed_or_stuck_is_started_again(settings: Settings, tmp_path: Path) -> None:
    home = settings.home.resolve()
    async with up(settings, tmp_path) as client:
        before = {name: running_pid(home, name) for name in OURS}
        assert all(before.values())
        for pid in before.values():
            os.kill(pid or 0, signal.SIGKILL)
        await counts(client, "after-kill")
        await answered(client, "GET", "/v1/forecasts/scores")
        async with asyncio.timeout(180):  # of one of them nothing was asked above
            after = {name: running_pid(home, name) for name in OURS}
            while any(after[name] in (None, before[name]) for name in OURS):
                await asyncio.sleep(0.1)
                after = {name: running_pid(home, name) for name in OURS}

        os.kill(after["worker"] or 0, signal.SIGSTOP)
        await counts(client, "after-stop")
        assert running_pid(home, "worker") not in (None, after["worker"])
    assert "worker is stuck" in (tmp_path / "up.log").read_text()
