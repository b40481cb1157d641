"""The learner as a process of its own: killed at random, away, and asked through the API."""

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from websockets.asyncio.client import ClientConnection, connect

from app.learner.leadership import publish
from app.settings import Servers, Settings
from app.subscriptions import LEARNERS
from projections.postgres import connect as connect_postgres
from projections.postgres import migrate
from streams.events import Event
from streams.log import Log
from tests.conftest import settings_for
from tests.e2e.service import Service, end, environment, run_cli, running
from tests.e2e.test_commands import bearer
from tests.learning import (
    MONDAY,
    NOON,
    Values,
    assortment,
    day_event,
    order_event,
    stock_event,
    weekly,
)

MODELS = "/v1/forecasts/models"


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
    """What `tillstream learner --digest` prints, without the place in the journal, once a learner
    leads."""
    begun, said = time.monotonic(), ""
    while not said:
        assert time.monotonic() - begun < 60, "no learner says its digest"
        process = run_cli(
            "learner",
            "--digest",
            environment=service.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        said = process.communicate(timeout=60)[0]
    digest = said.split()[0]
    assert len(digest) == 64
    return digest


async def test_killed_again_and_again_it_ends_in_the_same_bits(
    servers: Servers, tmp_path: Path
) -> None:
    """As those that are made anew along its journal, which nobody disturbs."""
    random = Random(11)
    settings = settings_for(servers, tmp_path / "killed")
    settings = settings.model_copy(update={"partitions": 4})
    days = [day_event(number, values) for number, values in enumerate(weekly(1_000))]
    days.insert(45, day_event(40, {"": 91, "c0": 1}, corrected=True))
    positions: list[str] = []
    enough = asyncio.Event()

    async def stream() -> None:
        """Days, and orders without an end, until there were kills enough among them."""
        async with appending(settings) as log:
            for number in count():
                closes = days[number // 5 : number // 5 + 1] if number % 5 == 0 else []
                events = [*_orders(number), *closes]
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
        for _ in range(2):
            await asyncio.sleep(random.uniform(0.3, 2.0))
            assert end(learner, signal.SIGKILL) == -signal.SIGKILL
            learner = service.start_learner()
            await service.learns(learner)
            assert not streaming.done()
        enough.set()
        await streaming
        reached = {"min_position": ",".join(_last(positions))}
        scores = await ask(service, "/v1/forecasts/scores", by="horizon", **reached)
        digest = digest_of(service)
        anew = run_cli(
            *("rebuild", "learners"), environment=service.environment, stderr=subprocess.PIPE
        )
        _, said = await asyncio.to_thread(anew.communicate, timeout=200)
        assert b"the same models as before" in b" ".join(said.split()), said
        assert digest_of(service) == digest
        assert end(learner) == 0
    assert scores["levels"][0]["overall"]["tillstream"]["pairs"] > 100


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
            # An old address, where somebody else answers now, is nobody's.
            pool = await connect_postgres(servers.postgres, service.settings.schema_name, size=1)
            await publish(pool, LEARNERS, service.api)
            await pool.close()
            answer = await client.get("/v1/forecasts/scores")
            assert (answer.status_code, answer.json()["code"]) == (503, "learner_unavailable")
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


async def test_a_lost_connection_to_postgres_costs_a_moment_and_nothing_else(
    learning: Service, tag: str
) -> None:
    settings, (learner,) = learning.settings, learning.workers
    positions = await append(settings, [order_event(1, ["a", "b"], shop=tag)])
    path = "/v1/products/a/bought-together"
    await ask(learning, path, shop=tag, min_position=positions)
    digest = digest_of(learning)
    postgres = await asyncpg.connect(settings.servers.postgres)
    await postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
    )
    await postgres.close()
    positions = await append(settings, [order_event(2, ["a", "c"], shop=tag)])
    async with learning.client() as client, asyncio.timeout(60):
        params = {"shop": tag, "min_position": positions, "wait": "1"}
        while (answer := await client.get(path, params=params)).status_code != 200:
            assert answer.status_code in (503, 504)
            await asyncio.sleep(0.1)
    assert {one["product_id"] for one in answer.json()["products"]} == {"b", "c"}
    assert digest_of(learning) != digest
    assert learner.poll() is None


async def closed(service: Service, shop: str, first: int, days: Sequence[Values]) -> str:
    """Closes days of a shop; their last position."""
    events = [day_event(first + n, values, shop=shop) for n, values in enumerate(days)]
    return await append(service.settings, events)


async def test_forecasts_say_what_they_are_and_add_up(learning: Service, tag: str) -> None:
    days = assortment(40)
    positions = await closed(learning, tag, 0, days)
    found = await ask(learning, "/v1/forecasts/sales", shop=tag, min_position=positions)
    last = MONDAY + timedelta(days=39)
    assert found["trained_through"] == last.isoformat()
    assert [(one["date"], one["horizon"]) for one in found["forecasts"]] == [
        ((last + timedelta(days=ahead)).isoformat(), ahead) for ahead in range(1, 46)
    ]
    assert (found["measure"], found["currency"], found["level"]) == ("net", "EUR", "total")
    assert found["model"]["name"] == "sales_forecast"
    assert int(positions.split(":")[-1]) < found["complete_to"]["next_offsets"]["days"][0]
    assert [Decimal(one["seasonal_naive"]) for one in found["forecasts"][:7]] == [
        days[33 + n][""] for n in range(7)
    ]
    for one in found["forecasts"]:
        low_95, high_95 = map(Decimal, one["intervals"]["95"])
        low_50, high_50 = map(Decimal, one["intervals"]["50"])
        assert 0 <= low_95 <= low_50 <= high_50 <= high_95
    summed = [Decimal(0)] * 3
    for category in ("c0", "c1"):
        asked = {"shop": tag, "level": "category", "id": category, "horizon": 3}
        of_category = (await ask(learning, "/v1/forecasts/sales", **asked))["forecasts"]
        values = [Decimal(one["value"]) for one in of_category]
        summed = [one + other for one, other in zip(summed, values, strict=True)]
    assert summed == [Decimal(one["value"]) for one in found["forecasts"][:3]]
    asked = {"shop": tag, "level": "product", "id": "p1", "measure": "units", "horizon": 1}
    (units,) = (await ask(learning, "/v1/forecasts/sales", **asked))["forecasts"]
    assert 0 < Decimal(units["value"]) < 20


async def test_scores_are_a_query_over_any_window(learning: Service, tag: str) -> None:
    positions = await closed(learning, tag, 0, assortment(60))
    path, asked = "/v1/forecasts/scores", {"shop": tag, "min_position": positions}
    whole = await ask(learning, path, **asked)
    assert [one["level"] for one in whole["levels"]] == [
        *("category", "country", "product", "total"),
    ]
    last = MONDAY + timedelta(days=59)
    window = {"from": (last - timedelta(days=9)).isoformat(), "to": last.isoformat()}
    more = {"level": "product", **window, **asked}
    (recent,) = (await ask(learning, path, by="day", **more))["levels"]
    pairs = recent["overall"]["tillstream"]["pairs"]
    assert len(recent["by_day"]) == 10
    assert sum(one["tillstream"]["pairs"] for one in recent["by_day"]) == pairs
    assert pairs < whole["levels"][2]["overall"]["tillstream"]["pairs"]
    for name in ("mae", "rmse", "r2", "wape", "mase", "crps"):
        assert recent["overall"]["tillstream"][name] is not None
    assert 0.5 < recent["overall"]["tillstream"]["coverage"]["95"] <= 1
    assert set(recent["overall"]) >= {"tillstream", "seasonal_naive"}
    (one,) = (await ask(learning, path, level="product", id="p3", **asked))["levels"]
    assert 0 < one["overall"]["tillstream"]["pairs"] < pairs * 6
    corrected = day_event(59, {"": 5}, corrected=True, shop=tag)
    positions = await append(learning.settings, [corrected])
    mended = await ask(learning, path, shop=tag, min_position=positions)
    assert mended["levels"][:3] == whole["levels"][:3]
    models = await ask(learning, "/v1/forecasts/models", shop=tag)
    assert {(one["measure"], one["level"]) for one in models["models"]} == {
        (measure, level)
        for measure in ("net", "units")
        for level in ("total", "country", "category", "product")
    }
    assert {one["series"] for one in models["models"] if one["level"] == "product"} == {6}


async def test_what_if_tells_the_difference_and_plans_nothing(learning: Service, tag: str) -> None:
    positions = await closed(learning, tag, 0, assortment(40))
    day = (MONDAY + timedelta(days=41)).isoformat()
    asked = {"shop": tag, "min_position": positions, "wait": "20", "horizon": "7"}
    entries = [{"kind": "closed", "first": day, "last": day}]
    async with learning.client() as client:
        path = "/v1/forecasts/what-if"
        answer = await client.post(path, params=asked, json={"entries": entries})
        assert answer.status_code == 200, answer.text
        backwards = [{**entries[0], "last": MONDAY.isoformat()}]
        gone = [{**entries[0], "first": MONDAY.isoformat(), "last": MONDAY.isoformat()}]
        unpriced = [{**entries[0], "kind": "price"}]
        for wrong, why in (
            ([], "entries"),
            (backwards, "is after last"),
            (gone, "none of its days is foretold: these are"),
            (unpriced, "value is needed of a price"),
            ([{**entries[0], "kind": "storm"}], "kind"),
        ):
            refused = await client.post(path, params=asked, json={"entries": wrong})
            assert refused.status_code == 422
            assert why in refused.text
        priced = await client.post(
            path, params=asked, json={"entries": [{**unpriced[0], "value": "0.8"}]}
        )
        assert priced.json()["unlearned"] == ["price"]
    found = answer.json()
    assert found["unlearned"] == []
    assert found["forecasts"][1]["known"] == {"closed": 1.0}
    told = await ask(learning, "/v1/forecasts/sales", shop=tag, horizon=7)
    assert [one["as_planned"] for one in found["forecasts"]] == [
        one["value"] for one in told["forecasts"]
    ]
    assert not any(one["known"] for one in told["forecasts"])
    differences = [Decimal(one["difference"]) for one in found["forecasts"]]
    assert sum(differences) == Decimal(found["difference"])


async def test_an_experiment_over_forecasters_has_each_branch_served_by_its_arm(
    learning: Service,
) -> None:
    positions = await closed(learning, "main", 0, assortment(21))
    path, staff = "/v1/forecasts/sales", bearer(learning)
    asked = {"min_position": positions, "wait": "30", "horizon": "7"}
    arms = [{"name": "served"}, {"name": "week", "value": "seasonal_naive"}]
    terms = {"id": "planning", "flag": "forecaster", "arms": arms}
    async with learning.client() as client:
        async with asyncio.timeout(240):
            while (answer := await client.get(path, params=asked)).status_code in (503, 504):
                await asyncio.sleep(0.1)
        usual = answer.json()
        nobody = await client.get(path, params={**asked, "unit": "branch-0"}, headers=staff)
        assert nobody.json()["experiment"] is None
        assert nobody.json()["forecasts"] == usual["forecasts"]
        begun = await client.post("/v1/experiments", json=terms, headers=staff)
        assert begun.status_code == 201, begun.text
        seen: dict[str, dict[str, Any]] = {}
        async with asyncio.timeout(60):
            while set(seen) != {"served", "week"}:
                unit = {"unit": f"branch-{len(seen)}-{uuid4().hex[:4]}"}
                found = await client.get(path, params={**asked, **unit}, headers=staff)
                assert found.status_code == 200, found.text
                if its := found.json()["experiment"]:
                    assert its["id"] == "planning"
                    seen[its["arm"]] = found.json()
                    mine = "/v1/experiments/planning/assignment"
                    assigned = (await client.get(mine, params=unit, headers=staff)).json()
                    assert assigned["arm"] == its["arm"]
        week = seen["week"]["forecasts"]
        assert seen["week"]["contender"] == "seasonal_naive"
        assert [one["value"] for one in week] == [one["seasonal_naive"] for one in week]
        assert seen["served"]["forecasts"] == usual["forecasts"]
        assert seen["served"]["contender"] == usual["contender"]
        # Who need not say who they are takes part in nothing, and has what is usual.
        anyone = await client.get(path, params={**asked, "unit": "branch-1"})
        assert anyone.json()["experiment"] is None
        assert anyone.json()["forecasts"] == usual["forecasts"]


async def next_of(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """The next message of a kind."""
    async with asyncio.timeout(60):
        while True:
            message: dict[str, Any] = json.loads(await socket.recv())
            if message["type"] == kind:
                return message
            assert message["type"] == "beat", message


async def test_forecasts_and_scores_move_when_a_day_is_closed(learning: Service, tag: str) -> None:
    days = assortment(31)
    positions = await closed(learning, tag, 0, days[:30])
    await ask(learning, "/v1/forecasts/models", shop=tag, min_position=positions)
    url = learning.api.replace("http", "ws") + "/v1/live"
    async with connect(url) as socket, connect(url) as scoring:
        wanted = {"subscribe": "forecasts_sales", "shop": tag, "filter": {"horizon": "3"}}
        await socket.send(json.dumps(wanted))
        wanted = {"subscribe": "forecasts_scores", "shop": tag, "filter": {"level": "total"}}
        await scoring.send(json.dumps(wanted))
        begun = await next_of(socket, "snapshot")
        told = await ask(learning, "/v1/forecasts/sales", shop=tag, horizon=3)
        assert [one["value"] for one in begun["figures"]] == told["forecasts"]
        before = (await next_of(scoring, "snapshot"))["figures"]
        await closed(learning, tag, 30, days[30:])
        moved = await next_of(socket, "delta")
        assert moved["gone"] == [f'["{told["forecasts"][0]["date"]}"]']
        told = await ask(learning, "/v1/forecasts/sales", shop=tag, horizon=3)
        assert moved["figures"][-1]["value"] == told["forecasts"][-1]
        changed = (await next_of(scoring, "delta"))["figures"]
        assert len(before) >= len(changed) > 0
        await socket.send(json.dumps({"subscribe": "forecasts_sales", "filter": {"colour": "red"}}))
        assert "colour" in (await next_of(socket, "error"))["field"]


async def test_a_training_runs_beside_and_is_not_done_twice(learning: Service, tag: str) -> None:
    # A variant that is not there for a week: a day without it says nothing, to neither of the two.
    moves = [(0, 60), (20, -60), (27, 60)]
    stock = [stock_event(day, "v", units, shop=tag) for day, units in moves]
    await ask(learning, MODELS, shop=tag, min_position=await append(learning.settings, stock))
    days = [
        {**values, "c0/p0/v": 0 if 20 <= number < 27 else values["c0/p0"]}
        for number, values in enumerate(assortment(40))
    ]
    positions = await closed(learning, tag, 0, days)
    before = await ask(learning, MODELS, shop=tag, min_position=positions)
    path = "/v1/forecasts/train"
    day = (MONDAY + timedelta(days=20)).isoformat()
    results = []
    async with learning.client() as client, asyncio.timeout(180):
        for told in ({}, {"from": day}):
            begun = await client.post(path, params={"shop": tag}, json=told)
            assert begun.status_code == 202, begun.text
            where = begun.headers["Location"]
            while (job := (await client.get(where)).json())["state"] in ("waiting", "running"):
                await asyncio.sleep(0.2)
            assert job["state"] == "done", job
            again = await client.post(path, params={"shop": tag}, json=told)
            assert (again.status_code, again.json()["job"]["id"]) == (200, job["id"])
            results.append(job["result"])
        listed = (await client.get(path, params={"shop": tag})).json()["jobs"]
        assert (await client.post(path, json={"from": "soon"})).status_code == 422
    whole, late = results
    assert len(listed) == 2
    assert whole["models"] == before["models"]
    assert whole["trained_through"] == late["trained_through"] == before["trained_through"]
    assert whole["digest"] != late["digest"]
    told = await ask(learning, "/v1/forecasts/sales", shop=tag)
    totals = {one["measure"]: one["forecasts"] for one in whole["totals"]}
    assert totals["net"] == told["forecasts"]
    now = await ask(learning, MODELS, shop=tag)
    assert now["models"] == before["models"]
    pairs = {
        one["level"]: one["recent"]["seasonal_naive"]["pairs"]
        for one in whole["models"]
        if one["measure"] == "net"
    }
    assert pairs["variant"] < pairs["total"]


async def test_what_cannot_be_forecast_says_why(learning: Service, tag: str) -> None:
    dollars = [day_event(n, {"": 9}, currency="USD", shop=tag) for n in range(3)]
    euros = [day_event(n, {"": 9}, shop=tag) for n in range(4)]
    # Of a currency that is told late it is known what it sold once another day closes.
    both = await append(learning.settings, [*euros[:3], *dollars, euros[3]])
    async with learning.client() as client:

        async def refused(status: int, code: str, **params: Any) -> str:
            answer = await client.get("/v1/forecasts/sales", params=params)
            assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
            detail: str = answer.json()["detail"]
            return detail

        more = {"shop": tag, "min_position": both, "wait": 20}
        assert "EUR, USD" in await refused(422, "invalid", **more)
        assert "7 closed days" in await refused(404, "too_few_days", currency="EUR", **more)
        assert "in GBP" in await refused(404, "unknown_series", currency="GBP", **more)
        nobody = f"{tag}-nobody"
        assert nobody in await refused(404, "unknown_series", shop=nobody)
        assert "says id" in await refused(404, "unknown_series", level="category", **more)
        await refused(422, "invalid", level="shelf")
        await refused(422, "invalid", horizon=46)
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
    assert "category EUR" in printed
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


async def test_what_is_out_of_the_ordinary_is_asked_and_live(learning: Service, tag: str) -> None:
    position = await append(learning.settings, [order_event(1, ["odd"], shop=tag)])
    found = await ask(learning, "/v1/anomalies", shop=tag, min_position=position)
    assert (found["shop"], found["anomalies"]) == (tag, [])  # one order is not two weeks
    async with connect(learning.api.replace("http", "ws") + "/v1/live") as socket:
        await socket.send(json.dumps({"subscribe": "anomalies", "shop": tag}))
        assert (await next_of(socket, "snapshot"))["figures"] == []


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
