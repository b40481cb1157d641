"""The learner as a process of its own: killed at random, away, and asked through the API."""

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import pytest

from app.learner.leadership import publish
from app.settings import Servers, Settings
from app.subscriptions import LEARNERS
from projections.postgres import connect, migrate
from streams.events import Event
from streams.log import Log
from tests.conftest import settings_for
from tests.e2e.service import Service, end, environment, run_cli, running
from tests.learning import MONDAY, NOON, day_event, order_event, weekly


@pytest.fixture(scope="module")
async def learning(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """An API and a learner; each test has a shop of its own."""
    settings = settings_for(servers, tmp_path_factory.mktemp("learning"))
    async with running(settings, workers=0) as service:
        await service.learns(service.start_learner())
        yield service


@asynccontextmanager
async def appending(settings: Settings) -> AsyncIterator[Log]:
    log = Log(settings.servers.kafka, settings.partitions, settings.prefix, deadline=20)
    await log.start()
    await log.connected()
    try:
        yield log
    finally:
        await log.stop()


async def append(settings: Settings, events: Iterable[Event]) -> str:
    """Appends events; all their positions, for `min_position`."""
    async with appending(settings) as log:
        last: dict[tuple[str, int], int] = {}
        for topic, number, offset in await log.append(list(events)):
            last[topic, number] = offset
    return ",".join(f"{topic}:{number}:{offset}" for (topic, number), offset in last.items())


async def ask(service: Service, path: str, **params: Any) -> dict[str, Any]:
    async with service.client() as client:
        answer = await client.get(path, params={"wait": 30, **params})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def digest_of(service: Service) -> str:
    """What `tillstream learner --digest` prints, without the place in the journal."""
    process = run_cli(
        "learner", "--digest", environment=service.environment, stdout=subprocess.PIPE, text=True
    )
    digest: str = process.communicate(timeout=60)[0].split()[0]
    assert len(digest) == 64
    return digest


async def test_killed_again_and_again_it_ends_in_the_same_bits(
    servers: Servers, tmp_path: Path
) -> None:
    """Beside one that nobody disturbs, on the same log but with a schema of its own."""
    random = Random(11)
    settings = settings_for(servers, tmp_path / "killed")
    calm = settings_for(servers, tmp_path / "calm").model_copy(update={"prefix": settings.prefix})
    settings = settings.model_copy(update={"partitions": 4})
    calm = calm.model_copy(update={"partitions": 4})
    days = [day_event(number, values) for number, values in enumerate(weekly(1_000))]
    days.insert(45, day_event(40, {"": 91, "c0": 1}, corrected=True))
    positions: list[str] = []
    enough = asyncio.Event()

    async def stream() -> None:
        """Days, and orders without an end, until there were kills enough among them."""
        async with appending(settings) as log:
            for number in count():
                events = [*_orders(number), *days[number : number + 1]]
                positions.extend(map(str, await log.append(events)))
                await asyncio.sleep(0.05)
                if enough.is_set():
                    return

    async with running(settings, workers=0) as service:
        service.environment["TILLSTREAM_SNAPSHOT_SECONDS"] = "0.5"  # type: ignore[index]
        service.environment["TILLSTREAM_PARTITIONS"] = "4"  # type: ignore[index]
        learner = service.start_learner()
        await service.learns(learner)
        streaming = asyncio.create_task(stream())
        for _ in range(3):
            await asyncio.sleep(random.uniform(0.3, 2.0))
            assert end(learner, signal.SIGKILL) == -signal.SIGKILL
            learner = service.start_learner()
            await service.learns(learner)
            assert not streaming.done()
        enough.set()
        await streaming
        reached = {"min_position": ",".join(_last(positions))}
        scores = await ask(service, "/v1/forecasts/scores", by="horizon", **reached)
        together = await ask(service, "/v1/products/p1/bought-together", limit=20)
        digest = digest_of(service)
        assert end(learner) == 0
    async with running(calm, workers=0) as service:
        service.environment["TILLSTREAM_PARTITIONS"] = "4"  # type: ignore[index]
        learner = service.start_learner()
        await service.learns(learner)
        undisturbed = await ask(service, "/v1/forecasts/scores", by="horizon", **reached)
        assert undisturbed["series"] == scores["series"]
        assert undisturbed["complete_to"]["next_offsets"] == scores["complete_to"]["next_offsets"]
        related = await ask(service, "/v1/products/p1/bought-together", limit=20)
        assert related["products"] == together["products"]
        assert digest_of(service) == digest
    assert scores["series"][0]["overall"]["pairs"] > 500


def _orders(batch: int) -> list[Event]:
    """Ten orders that no other batch has."""
    numbers = range(10 * batch, 10 * batch + 10)
    at = NOON - timedelta(hours=batch % 50)
    return [
        order_event(n, sorted({f"p{(n * step) % 30}" for step in (1, 3, 7)}), at=at)
        for n in numbers
    ]


def _last(positions: Iterable[str]) -> list[str]:
    last: dict[str, int] = {}
    for text in positions:
        partition, _, offset = text.rpartition(":")
        last[partition] = max(last.get(partition, 0), int(offset))
    return [f"{partition}:{offset}" for partition, offset in last.items()]


async def test_away_it_is_a_503_at_once_and_the_one_that_waits_takes_over(
    servers: Servers, tmp_path: Path
) -> None:
    async with running(settings_for(servers, tmp_path), workers=0) as service:
        async with service.client() as client:
            for path in ("/v1/forecasts/sales", "/v1/forecasts/scores"):
                answer = await client.get(path)
                assert (answer.status_code, answer.json()["code"]) == (503, "learner_unavailable")
                assert answer.headers["Retry-After"]
            learner = service.start_learner()
            await service.learns(learner)
            positions = await append(service.settings, [order_event(1, ["a", "b"])])
            path = "/v1/products/a/bought-together"
            before = await ask(service, path, min_position=positions)
            standby = service.start_learner()
            await asyncio.sleep(4)
            assert standby.poll() is None
            end(learner, signal.SIGKILL)
            begun = time.monotonic()
            while (answer := await client.get(path)).status_code != 200:
                assert answer.status_code == 503
                assert time.monotonic() - begun < 60
                await asyncio.sleep(0.05)
            assert answer.json()["products"] == before["products"]
            # Stopped, it holds its lock and its port, and says nothing.
            standby.send_signal(signal.SIGSTOP)
            begun = time.monotonic()
            try:
                answer = await client.get(path)
            finally:
                standby.send_signal(signal.SIGCONT)
            assert answer.status_code == 503
            assert time.monotonic() - begun < 15


async def test_an_old_address_where_somebody_else_answers_is_nobodys(
    servers: Servers, tmp_path: Path
) -> None:
    async with running(settings_for(servers, tmp_path), workers=0) as service:
        pool = await connect(servers.postgres, service.settings.schema_name, size=1)
        await publish(pool, LEARNERS, service.api)
        await pool.close()
        async with service.client() as client:
            answer = await client.get("/v1/forecasts/scores")
        assert (answer.status_code, answer.json()["code"]) == (503, "learner_unavailable")


async def test_a_lost_connection_to_postgres_costs_a_moment_and_nothing_else(
    servers: Servers, tmp_path: Path
) -> None:
    settings = settings_for(servers, tmp_path)
    async with running(settings, workers=0) as service:
        learner = service.start_learner()
        await service.learns(learner)
        positions = await append(settings, [order_event(1, ["a", "b"])])
        path = "/v1/products/a/bought-together"
        await ask(service, path, min_position=positions)
        digest = digest_of(service)
        postgres = await asyncpg.connect(servers.postgres)
        await postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        )
        await postgres.close()
        positions = await append(settings, [order_event(2, ["a", "c"])])
        async with service.client() as client, asyncio.timeout(60):
            params = {"min_position": positions, "wait": "1"}
            while (answer := await client.get(path, params=params)).status_code != 200:
                assert answer.status_code in (503, 504)
                await asyncio.sleep(0.1)
        assert {one["product_id"] for one in answer.json()["products"]} == {"b", "c"}
        assert digest_of(service) != digest
        assert learner.poll() is None


async def test_forecasts_say_what_they_are_and_how_well_they_did(
    learning: Service, tag: str
) -> None:
    days = weekly(40)
    events = [day_event(number, values, shop=tag) for number, values in enumerate(days)]
    positions = await append(learning.settings, events)
    found = await ask(learning, "/v1/forecasts/sales", shop=tag, min_position=positions)
    last = MONDAY + timedelta(days=39)
    assert found["trained_through"] == last.isoformat()
    assert [one["date"] for one in found["forecasts"]] == [
        (last + timedelta(days=ahead)).isoformat() for ahead in range(1, 29)
    ]
    assert [one["horizon"] for one in found["forecasts"]] == list(range(1, 29))
    assert (found["measure"], found["currency"], found["level"]) == ("net", "EUR", "total")
    assert found["model"]["name"] == "sales_forecast"
    assert int(positions.split(":")[-1]) < found["complete_to"]["next_offsets"]["days"][0]
    sundays = [one for one in found["forecasts"] if one["horizon"] in (2, 9, 16, 23)]
    assert [one["value"] for one in sundays] == ["0.00"] * 4
    assert [Decimal(one["seasonal_naive"]) for one in found["forecasts"][:7]] == [
        days[33 + n][""] for n in range(7)
    ]
    more = {"shop": tag, "level": "category", "id": "c1", "horizon": 3}
    category = await ask(learning, "/v1/forecasts/sales", **more)
    assert len(category["forecasts"]) == 3
    scores = await ask(learning, "/v1/forecasts/scores", shop=tag)
    assert [(one["level"], one["id"]) for one in scores["series"]] == [
        *(("category", f"c{n}") for n in range(3)),
        ("total", ""),
    ]
    assert scores["mean_mase"]["model"] < scores["mean_mase"]["seasonal_naive"]
    assert scores["series"][3]["overall"]["pairs"] == sum(min(28, 39 - n) for n in range(6, 40))
    corrected = day_event(39, {"": 5}, corrected=True, shop=tag)
    positions = await append(learning.settings, [corrected])
    mended = await ask(learning, "/v1/forecasts/scores", shop=tag, min_position=positions)
    assert mended["series"][3]["overall"] != scores["series"][3]["overall"]
    assert mended["series"][:3] == scores["series"][:3]


async def test_what_cannot_be_forecast_says_why(learning: Service, tag: str) -> None:
    dollars = [day_event(n, {"": 9}, currency="USD", shop=tag) for n in range(3)]
    both = await append(
        learning.settings,
        [*(day_event(n, {"": 9}, shop=tag) for n in range(3)), *dollars],
    )
    async with learning.client() as client:

        async def refused(status: int, code: str, **params: Any) -> str:
            answer = await client.get("/v1/forecasts/sales", params=params)
            assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
            detail: str = answer.json()["detail"]
            return detail

        more = {"shop": tag, "min_position": both, "wait": 20}
        assert "EUR, USD" in await refused(422, "invalid", **more)
        assert "7 closed days" in await refused(404, "too_few_days", currency="EUR", **more)
        await refused(404, "unknown_series", currency="GBP", **more)
        await refused(404, "unknown_series", shop=f"{tag}-nobody")
        await refused(422, "invalid", level="product")
        await refused(422, "invalid", horizon=29)
        await refused(422, "invalid", min_position="days")
        await refused(504, "not_there_yet", min_position="days:0:999999999", wait=0.2)


async def test_bought_together_reads_ones_own_order_and_else_says_that_it_is_trending(
    learning: Service, tag: str
) -> None:
    events = [order_event(n, ["x", "y"], shop=tag) for n in range(3)]
    events.append(order_event(3, ["z"], shop=tag))
    events.append(order_event(0, ["x", "y"], event_id="the same order again", shop=tag))
    positions = await append(learning.settings, events)
    found = await ask(learning, "/v1/products/x/bought-together", shop=tag, min_position=positions)
    assert found["source"] == "bought_together"
    assert [(one["product_id"], one["orders"]) for one in found["products"]] == [("y", 3)]
    assert 0 < found["products"][0]["score"] < 1
    other = await ask(learning, "/v1/products/z/bought-together", shop=tag, limit=1)
    assert other["source"] == "trending"
    assert [(one["product_id"], one["orders"]) for one in other["products"]] == [("y", 3)]


async def test_scores_are_printed_beside_the_seasonal_naive(learning: Service) -> None:
    events = [day_event(number, values) for number, values in enumerate(weekly(20))]
    positions = await append(learning.settings, events)
    await ask(learning, "/v1/forecasts/scores", min_position=positions)
    wide = {**learning.environment, "COLUMNS": "120"}
    process = run_cli("scores", environment=wide, stdout=subprocess.PIPE, text=True)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert "category c0 EUR" in printed
    assert "seasonal naive" in printed


@pytest.mark.parametrize("command", [("scores",), ("learner", "--digest")])
@pytest.mark.parametrize("postgres", [True, False])
async def test_a_command_that_nobody_answers_says_so_in_a_line(
    servers: Servers, tmp_path: Path, command: tuple[str, ...], postgres: bool
) -> None:
    settings = settings_for(servers, tmp_path)
    await migrate(servers.postgres, settings.schema_name)
    variables = environment(settings)
    if not postgres:
        variables["TILLSTREAM_POSTGRES"] = "postgresql://127.0.0.1:9/nowhere"
    process = run_cli(*command, environment=variables, stderr=subprocess.PIPE, text=True)
    _, said = await asyncio.to_thread(process.communicate)
    assert process.returncode == 1
    assert ("Postgres" in said) == (not postgres)
    assert said.startswith("✗ ")
    assert "Traceback" not in said


async def test_models_that_are_rebuilt_are_the_same_and_answer_on(
    learning: Service, tag: str
) -> None:
    events = [order_event(n, [f"again-{n % 5}", "again"], shop=tag) for n in range(40)]
    position = await append(learning.settings, events)
    path = "/v1/products/again/bought-together"
    asked = {"shop": tag, "min_position": position}
    before = await ask(learning, path, **asked)
    process = run_cli(
        "rebuild", "learners", environment=learning.environment, stderr=subprocess.PIPE, text=True
    )
    told = (await asyncio.to_thread(process.communicate, timeout=120))[1]
    assert process.returncode == 0, told
    assert "the same models as before" in told
    more = await append(learning.settings, [order_event(99, ["again", "more"], shop=tag)])
    async with asyncio.timeout(120), learning.client() as client:
        while True:  # for a moment the learner loads, and says so
            answer = await client.get(path, params={**asked, "min_position": more, "wait": 10})
            if answer.status_code != 503:
                break
    after = answer.json()
    assert {one["product_id"] for one in after["products"]} == {
        "more",
        *(one["product_id"] for one in before["products"]),
    }
