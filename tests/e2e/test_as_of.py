"""Reports as they were: for each the same as it was answered then, whatever has been killed."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from app.reports.table import REPORTS
from app.settings import Servers
from projections.as_of import prefix_of
from projections.postgres import connect_alone
from tests.conftest import settings_for
from tests.e2e.service import Service, answers, doing, run_cli, running
from tests.e2e.test_ingest import order
from tests.e2e.test_metrics import sale

ASKED: Mapping[str, Mapping[str, str]] = {}
"""What a report cannot be asked without."""

NO_PAST = {name for name, report in REPORTS.items() if not report.past}
"""They say which days and months are closed, which is written down beside the log's folds."""


async def appended(client: httpx2.AsyncClient, events: Sequence[Mapping[str, Any]]) -> list[str]:
    found: list[str] = []
    for start in range(0, len(events), 500):
        answer = await client.post("/v1/events", json=events[start : start + 500])
        assert answer.status_code == 202, answer.text
        found += [one["position"] for one in answer.json()["accepted"]]
    return found


async def until_made(client: httpx2.AsyncClient, asked: str, params: dict[str, Any]) -> Any:
    """The answer, after the job that it takes."""
    answer = await client.get(asked, params=params)
    async with asyncio.timeout(240):
        while answer.status_code == 202:
            await ended(client, answer.headers["Location"])
            answer = await client.get(asked, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def ended(client: httpx2.AsyncClient, job: str, state: str = "done") -> dict[str, Any]:
    """A job, once it is no more under way."""
    async with asyncio.timeout(240):
        while True:
            found: dict[str, Any] = (await client.get(job)).raise_for_status().json()
            if found["state"] not in ("waiting", "running"):
                assert found["state"] == state, found
                return found
            await asyncio.sleep(0.1)


def positions(answer: Mapping[str, Any]) -> str:
    """The last records that an answer has in it."""
    return ",".join(
        f"{topic}:{number}:{offset - 1}"
        for topic, offsets in answer["complete_to"]["next_offsets"].items()
        for number, offset in enumerate(offsets)
        if offset
    )


# Every report, by what was answered at the time.


def told(tag: str, n: int) -> list[dict[str, Any]]:
    """What happens in a step: sales, and something given back of one before."""
    at = f"2026-0{n + 2}-27T23:30:00Z"
    events = [
        sale(f"{tag}-{n}-{one}", at, f"{tag}-{who}", country, channel="web")
        for one, (who, country) in enumerate([("ada", "DE"), ("bob", "FR"), ("ada", "FR")])
    ]
    if n:
        back = {"order_id": f"{tag}-{n - 1}-0", "total": "3.00", "currency": "EUR"}
        refund = {"type": "OrderRefunded", "id": f"{tag}-{n}-back", "time": at, "data": back}
        events.append(refund)
    return events


class Step:
    """A moment, and what every report said then."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC)
        self.said: dict[str, Any] = {}


def path_of(name: str) -> str:
    return re.sub(r"{[a-z_]+}", "nobody", REPORTS[name].path)


@pytest.fixture(scope="module")
async def steps(service: Service) -> list[Step]:
    """Three times something happens; each time all reports are asked."""
    found, tag = [], uuid4().hex[:8]
    async with service.client() as client:
        for n in range(3):
            seen = ",".join(await appended(client, told(tag, n)))
            step = Step()
            step.at += timedelta(milliseconds=2)
            for name in REPORTS:
                params: dict[str, Any] = {**ASKED.get(name, {}), "min_position": seen, "wait": 30}
                answer = await client.get(path_of(name), params=params)
                assert answer.status_code == 200, (name, answer.text)
                step.said[name] = answer.json()
            found.append(step)
            while datetime.now(UTC) <= step.at + timedelta(milliseconds=10):
                await asyncio.sleep(0.01)
    return found


@pytest.mark.parametrize("name", sorted(REPORTS.keys() - NO_PAST))
async def test_every_report_is_as_it_was_said_then(
    service: Service, steps: Sequence[Step], name: str
) -> None:
    rows = [step.said[name]["rows"] for step in steps]
    async with service.client() as client:
        for step in steps[:2]:
            known, params = step.said[name], ASKED.get(name, {})
            at = step.at.isoformat()
            found = await until_made(client, path_of(name), {**params, "as_of": at})
            assert found["rows"] == known["rows"], at
            reached = known["complete_to"]["next_offsets"]
            assert found["complete_to"]["next_offsets"].items() >= reached.items()
            assert found["as_of"] == at
            assert datetime.fromisoformat(found["complete_to"]["time"]) <= step.at
            # Of positions one step says as much: there is a job for every choice of topics.
            if not REPORTS[name].ages and step is steps[0]:
                asked = {**params, "as_of": positions(known)}
                found = await until_made(client, path_of(name), asked)
                assert found["rows"] == known["rows"], asked
    if name.startswith("net") or name == "orders":
        assert rows[0] != rows[1] != rows[2]


@pytest.mark.parametrize("name", sorted(NO_PAST))
async def test_what_is_written_beside_the_folds_has_no_past(service: Service, name: str) -> None:
    async with service.client() as client:
        asked = {"as_of": "2001-01-01T00:00:00Z"}
        answer = await client.get(path_of(name), params=asked)
        assert (answer.status_code, answer.json()["code"]) == (422, "no_as_of"), answer.text


async def test_of_positions_only_those_that_are_named_are_in_it(service: Service, tag: str) -> None:
    async with service.client() as client:
        shop = {"from": "2001-05-05", "to": "2001-05-05", "grain": "total"}
        sent = [
            sale(f"{tag}-{n}", "2001-05-05T10:00:00Z", "x", "DE", channel=tag) for n in range(6)
        ]
        last = (await appended(client, sent))[-1]
        asked = {**shop, "channel": tag, "as_of": last}
        found = await until_made(client, "/v1/metrics/orders", asked)
        topic, partition, offset = last.split(":")
        offsets = found["complete_to"]["next_offsets"][topic]
        assert {n: at for n, at in enumerate(offsets) if at} == {int(partition): int(offset) + 1}
        assert found["rows"][0]["orders"] >= 1
        assert found["complete_to"]["time"] is None


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("yesterday", "neither a moment"),
        ("", "neither a moment"),
        ("2026-03-01", "does not say its zone"),
        ("2026-03-01T12:00:00", "does not say its zone"),
        ("9999-12-31T23:59:59-23:59", "neither a moment"),
        ("0001-01-01T00:00:00+23:59", "neither a moment"),
        ("2999-01-01T00:00:00Z", "yet to come"),
        ("orders:0", "is not of the form"),
        ("orders:0:-1", "is of no offset"),
        ("orders:99:1", "is of no partition"),
        ("nothing:0:1", "is of no topic"),
        ("outbox:17", "none of the outbox"),
        ("orders:0:99999999", "is not in the log yet"),
        ("orders:0:1,2026-03-01T12:00:00Z", "is not of the form"),
    ],
)
async def test_what_is_no_past_is_refused(service: Service, told: str, reason: str) -> None:
    async with service.client() as client:
        answer = await client.get("/v1/metrics/net", params={"as_of": told})
        assert answer.status_code == 422, answer.text
        (error,) = answer.json()["errors"]
        assert error["field"] == "as_of"
        assert reason in error["reason"], error


async def test_the_past_waits_for_nothing_and_a_plus_may_be_a_space(service: Service) -> None:
    async with service.client() as client:
        asked = {"as_of": "2001-01-01T00:00:00Z", "min_position": "orders:0:0"}
        assert (await client.get("/v1/metrics/net", params=asked)).status_code == 422
        found = await until_made(client, "/v1/metrics/net", {"as_of": "2001-01-01T02:00:00 02:00"})
        assert found["rows"] == []
        again = await client.get("/v1/metrics/gross", params={"as_of": "2001-01-01T00:00:00Z"})
        assert again.status_code == 200  # the same offsets


# Of a service of its own, which commits often: so there is time to kill something.

MANY = 600


@pytest.fixture(scope="module")
def often() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TILLSTREAM_COMMIT_RECORDS", "1")
        patch.setenv("TILLSTREAM_JOBS_WAITING", "3")
        patch.setenv("TILLSTREAM_JOBS", "1")
        yield


@pytest.fixture(scope="module")
async def slow(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory, often: None
) -> AsyncIterator[Service]:
    """Nobody folds there but jobs."""
    home: Path = tmp_path_factory.mktemp("slow")
    async with running(settings_for(servers, home), workers=0) as found:
        async with found.client() as client:
            await appended(client, [order(f"o-{n}") for n in range(MANY)])
        yield found


async def schemas(service: Service) -> int:
    """How many moments of the past are kept, or being made."""
    name = service.settings.schema_name
    connection = await connect_alone(service.settings.servers.postgres, name)
    try:
        found: int = await connection.fetchval(
            "SELECT count(*) FROM pg_namespace WHERE starts_with(nspname, $1)", prefix_of(name)
        )
    finally:
        await connection.close()
    return found


async def partly(client: httpx2.AsyncClient, job: str, more_than: int = 0) -> int:
    """How far a job is, once it is somewhere in its midst."""
    async with asyncio.timeout(240):
        while True:
            found = (await client.get(job)).json()
            assert found["state"] in ("waiting", "running"), found
            if more_than < (done := int(found["progress"]["done"])):
                return done
            await asyncio.sleep(0.02)


async def sold(client: httpx2.AsyncClient, asked: str) -> int:
    found = await until_made(client, "/v1/metrics/orders", {"as_of": asked, "grain": "total"})
    return int(found["rows"][0]["orders"])


async def asked_for(client: httpx2.AsyncClient, at: str) -> str:
    answer = await client.get("/v1/metrics/orders", params={"as_of": at})
    assert answer.status_code == 202, answer.text
    assert int(answer.headers["Retry-After"]) >= 1
    return answer.headers["Location"]


async def test_twenty_who_ask_at_once_are_told_of_one_job(slow: Service) -> None:
    at = datetime.now(UTC).isoformat()
    async with slow.client() as client:
        told = await asyncio.gather(*(asked_for(client, at) for _ in range(20)))
        assert len(set(told)) == 1
        job = await ended(client, told[0])
        assert job["progress"]["done"] == job["progress"]["total"] == MANY
        assert sum(job["result"]["next_offsets"]["orders"]) == MANY
        assert await sold(client, at) == MANY
        jobs = (await client.get("/v1/jobs", params={"kind": "as_of"})).json()["jobs"]
        assert [one["id"] for one in jobs] == [job["id"]]


async def test_what_is_killed_goes_on(slow: Service) -> None:
    async with slow.client() as client:
        await appended(client, [order("killed")])
        at = datetime.now(UTC).isoformat()
        job = await asked_for(client, at)
        begun = await partly(client, job)
        (process,) = doing(slow)
        process.send_signal(signal.SIGKILL)
        assert await partly(client, job, begun) > begun
        (process,) = doing(slow)
        slow.server.kill()
        slow.server.wait()
        await asyncio.to_thread(process.wait, 30)  # it ends with whoever has started it
        port = slow.api.rpartition(":")[2]
        slow.server = run_cli("api", "--port", port, environment=slow.environment)
        await answers(slow.api, slow.server)
        found = await ended(client, job)
        assert found["progress"]["total"] == MANY + 1
        assert await sold(client, at) == MANY + 1


async def test_what_is_cancelled_stops_and_leaves_nothing(slow: Service) -> None:
    async with slow.client() as client:
        await appended(client, [order("cancelled")])
        at, before = datetime.now(UTC).isoformat(), await schemas(slow)
        job = await asked_for(client, at)
        await partly(client, job)
        assert await schemas(slow) == before + 1
        assert (await client.delete(job)).json()["state"] == "cancelled"
        assert (await client.delete(job)).status_code == 202  # said twice
        async with asyncio.timeout(120):
            while await schemas(slow) > before:
                await asyncio.sleep(0.05)
        again = await asked_for(client, at)
        assert again != job
        await ended(client, again)
        answer = await client.delete(again)
        assert (answer.status_code, answer.json()["code"]) == (409, "ended")


async def test_only_so_many_wait(slow: Service) -> None:
    async with slow.client() as client:
        jobs = [await asked_for(client, f"orders:0:{n}") for n in range(3)]
        answer = await client.get("/v1/metrics/orders", params={"as_of": "orders:0:3"})
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_jobs")
        assert "Retry-After" in answer.headers
        assert (await client.get("/v1/metrics/orders")).status_code == 200
        for job in jobs:
            await ended(client, job)
        assert await sold(client, "orders:0:3") >= 1


async def test_a_job_is_its_shops(slow: Service) -> None:
    async with slow.client() as client:
        asked = {"as_of": "2001-01-01T00:00:00Z", "shop": "else where"}
        answer = await client.get("/v1/metrics/orders", params=asked, headers={"Authorization": ""})
        assert answer.status_code == 202, answer.text
        job = answer.headers["Location"]
        assert job.endswith("?shop=else%20where")
        assert (await client.get(job, headers={"Authorization": ""})).status_code == 200
        assert (await client.get(job.partition("?")[0])).status_code == 404
        assert (await client.get("/v1/jobs/nothing")).status_code == 404
        assert (await client.get("/v1/jobs", params={"kind": "nothing"})).json()["jobs"] == []
