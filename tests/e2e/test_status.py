"""Seen from outside: alive, ready, how far, and the same for Prometheus."""

import asyncio
import json
import subprocess
from collections import defaultdict
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.service import KEY, Service, end, environment, free_port, run_cli
from tests.e2e.test_ingest import order
from tests.e2e.test_quarantine import append, envelope

Samples = dict[str, list[tuple[dict[str, str], float]]]


def parsed(text: str) -> Samples:
    """Samples by name."""
    found: Samples = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name].append((sample.labels, sample.value))
    return found


async def metrics(client: httpx2.AsyncClient) -> Samples:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    return parsed(answer.text)


async def test_every_record_is_accounted_for_and_the_status_says_so(
    service: Service, tag: str
) -> None:
    async with service.client() as client:
        sent = await client.post("/v1/events", json=[order(tag), order(f"{tag}-2")])
        await client.post("/v1/events", json={"type": "nonsense", "data": {}})
        bad = await append(service, tag, b"no event " + tag.encode())
        async with asyncio.timeout(30):
            while True:
                status = (await client.get("/v1/status")).json()
                sales = status["groups"]["sales"]
                (there,) = [
                    one
                    for one in sales["partitions"]
                    if (one["topic"], one["partition"]) == bad[:2]
                ]
                if sales["lag"] == 0 and there["next_offset"] > bad.offset:
                    break
                await asyncio.sleep(0.2)
        found = await metrics(client)
    assert sales["unaccounted"] == 0
    assert sales["applied"] >= 2
    assert there["quarantined"] >= 1
    assert status["quarantine"]["waiting"] >= 1
    assert {one["name"] for one in status["models"] if one["group"] == "sales"} >= {
        "orders",
        "revenue",
        "best_sellers",
    }
    assert all(one["version"] >= 1 for one in status["models"] if one["group"] == "sales")
    assert set(status["outbox"]) == {"waiting", "oldest_seconds"}
    assert status["failures"] == []

    assert {value for _, value in found["tillstream_unaccounted_records"]} == {0}
    assert {value for _, value in found["tillstream_quarantine_missing_records"]} == {0}
    lags = {(one["group"], one["topic"]) for one, _ in found["tillstream_lag_records"]}
    assert lags >= {("sales", "orders"), ("activity", "carts"), ("activity", "interactions")}
    assert {one for one in lags if one[0] == "learners"} == {
        ("learners", "catalog"),
        ("learners", "orders"),
        ("learners", "days"),
        ("learners", "interactions"),
    }
    outcomes = {one["outcome"]: value for one, value in found["tillstream_events_total"]}
    assert outcomes["accepted"] >= len(sent.json()["accepted"])
    assert outcomes["rejected"] >= 1
    up = {one["name"]: value for one, value in found["tillstream_dependency_up"]}
    assert (up["kafka"], up["postgres"], up["redis"]) == (1, 1, 1)


async def test_whatever_clients_ask_for_the_metrics_stay_as_few(service: Service, tag: str) -> None:
    async with service.client() as client:
        before = await metrics(client)
        for n in range(20):
            await client.get(f"/v1/orders/{tag}-{n}")
            await client.get(f"/nowhere/{tag}-{n}")
            await client.request(f"X{tag}{n}".upper(), "/v1/events")
        after = await metrics(client)
    routes = {one["route"] for one, _ in after["tillstream_http_requests_total"]}
    assert "/v1/orders/{order_id:path}" in routes
    assert not [route for route in routes if tag in route]
    name = "tillstream_http_requests_total"
    assert len(after[name]) - len(before.get(name, [])) <= 6


async def test_what_is_missing_is_named(service: Service) -> None:
    """Each server in turn is where nobody answers."""
    nobody = f"127.0.0.1:{free_port()}"
    kafka, redis = await asyncio.gather(
        _asked_without(service, TILLSTREAM_KAFKA=nobody),
        _asked_without(service, TILLSTREAM_REDIS=f"redis://{nobody}/0"),
    )
    ready, status, up = kafka
    assert ready.status_code == 503
    assert "kafka" in {error["field"] for error in ready.json()["errors"]}
    assert status["missing"]["kafka"]
    assert status["groups"]["sales"]["lag"] is None
    assert (up["kafka"], up["redis"], up["postgres"]) == (0, 1, 1)
    ready, status, up = redis
    assert "redis" in ready.json()["missing"]
    assert status["missing"]["redis"]
    assert (up["kafka"], up["redis"], up["postgres"]) == (1, 0, 1)


async def _asked_without(
    service: Service, **wrong: str
) -> tuple[httpx2.Response, dict[str, Any], dict[str, float]]:
    """What an API says of itself that looks for a server where nobody answers."""
    port = free_port()
    variables = {**environment(service.settings), **wrong}
    api = run_cli("api", "--port", str(port), environment=variables)
    try:
        base = f"http://127.0.0.1:{port}"
        async with httpx2.AsyncClient(base_url=base, headers=KEY, timeout=20) as client:
            await _live(client)
            ready = await client.get("/health/ready")
            if "TILLSTREAM_REDIS" in wrong:
                async with asyncio.timeout(30):
                    while ready.status_code != 200:
                        await asyncio.sleep(0.5)
                        ready = await client.get("/health/ready")
            status = (await client.get("/v1/status")).json()
            found = (await metrics(client))["tillstream_dependency_up"]
    finally:
        await asyncio.to_thread(end, api)
    return ready, status, {one["name"]: value for one, value in found}


async def _live(client: httpx2.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                (await client.get("/health/live")).raise_for_status()
            except httpx2.HTTPError:
                await asyncio.sleep(0.1)
            else:
                return


async def test_a_worker_tells_its_own_numbers_and_its_log_is_json(
    service: Service, tag: str
) -> None:
    """With the ids by which a refused record is found again."""
    port = free_port()
    variables = {
        **service.environment,
        "TILLSTREAM_METRICS_PORT": str(port),
        "TILLSTREAM_LOG": "json",
    }
    worker = run_cli("worker", environment=variables, stderr=subprocess.PIPE)
    try:
        await service.reads(2)
        bad = envelope(tag, id=f"{tag}-bad", type="nonsense")
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            async with asyncio.timeout(60):
                number = 0
                while not (quarantined := _outcomes(await metrics(client)).get("quarantined")):
                    # Half of the keys are this worker's.
                    number += 1
                    await append(service, f"{tag}-{number}", json.dumps(bad).encode())
                    await asyncio.sleep(0.1)
            found = await metrics(client)
    finally:
        end(worker)
        with worker.stderr:
            told = worker.stderr.read().decode()
        await service.reads(1)
    assert quarantined >= 1
    assert found["tillstream_commits_total"]
    assert found["process_resident_memory_bytes"]
    lines = [json.loads(line) for line in told.splitlines()]
    (first, *_) = [line for line in lines if line["event"] == "a record is quarantined"]
    assert first["event_id"] == f"{tag}-bad"
    assert first["correlation_id"] == f"{tag}-visit"
    assert first["position"].startswith("orders:")


def _outcomes(found: Samples) -> dict[str, float]:
    return {one["outcome"]: value for one, value in found["tillstream_records_total"]}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/sales/revenue",
        "/v1/sales/days",
        "/v1/sales/top-products",
        "/v1/orders/o1",
        "/v1/forecasts/sales",
        "/v1/forecasts/scores",
        "/v1/products/p1/bought-together",
    ],
)
async def test_a_position_that_can_be_none_is_refused_at_once(service: Service, path: str) -> None:
    partitions = service.settings.partitions
    async with service.client() as client:
        for position in (
            f"orders:{partitions}:0",
            "days:1:0",
            "nothing:0:0",
            "orders:-1:0",
            f"orders:0:{2**63}",
            "orders:0",
        ):
            answer = await client.get(path, params={"min_position": position, "wait": 20})
            assert answer.status_code == 422, position
            assert answer.json()["errors"][0]["field"] == "min_position"
            assert position in answer.json()["detail"]


@pytest.mark.parametrize(
    "path", ["/v1/sales/revenue", "/v1/sales/days", "/v1/sales/top-products", "/v1/orders/o1"]
)
async def test_waiting_is_bounded_and_what_is_not_read_is_not_waited_for(
    service: Service, path: str
) -> None:
    async with service.client() as client:
        far = await client.get(path, params={"min_position": "orders:0:999999999", "wait": 0.1})
        # A real position, of a topic whose events never enter these figures.
        other = await client.get(path, params={"min_position": "interactions:0:9", "wait": 20})
    assert far.status_code == 504
    assert far.headers["retry-after"]
    assert other.status_code in (200, 404)


async def test_the_doctor_fits_a_terminal(service: Service) -> None:
    doctor = run_cli(
        "doctor",
        environment={**service.environment, "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    said, _ = await asyncio.to_thread(doctor.communicate)
    lines = said.decode().splitlines()
    assert max(map(len, lines)) <= 80
    (sales,) = [line for line in lines if line.startswith("sales")]
    assert len(sales.split()) >= 6  # nothing was cut off or wrapped
    assert [line for line in lines if line.startswith("outbox:")]
