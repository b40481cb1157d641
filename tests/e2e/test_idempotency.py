"""Idempotency-Key at its limits: storms, lost answers, keys of others, and what is forgotten."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx2

from app.api.access import Role
from app.commands.execute import KEPT, keep_forgetting
from app.settings import Servers, Settings
from loadtests.chaos.proxy import Cut, Link
from projections.postgres import connect_alone, migrate
from tests.e2e.service import Service, end, running
from tests.e2e.test_commands import bearer, mug

MANY = 200


async def create(client: httpx2.AsyncClient, product: Any, **headers: str) -> httpx2.Response:
    return await client.post("/v1/products", json=product, headers=headers)


def many() -> httpx2.Limits:
    return httpx2.Limits(max_connections=MANY + 50)


async def test_a_storm_of_retries_is_one_command_and_keeps_no_one_waiting(
    service: Service, tag: str
) -> None:
    headers = {**bearer(service), "Idempotency-Key": f"storm-{tag}"}
    async with httpx2.AsyncClient(base_url=service.api, timeout=60, limits=many()) as client:
        storm = [create(client, mug(tag), **headers) for _ in range(MANY)]
        others = [create(client, mug(f"{tag}-{n}"), **bearer(service)) for n in range(20)]
        answers = await asyncio.gather(*storm)
        beside = await asyncio.gather(*others)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert {answer.status_code for answer in beside} == {201}


async def test_while_another_process_holds_a_key_its_copies_are_told_to_come_again(
    service: Service, tag: str
) -> None:
    settings = service.settings
    connection = await connect_alone(settings.servers.postgres, settings.schema_name)
    headers = {**bearer(service), "Idempotency-Key": f"held-{tag}"}
    async with httpx2.AsyncClient(base_url=service.api, timeout=60, limits=many()) as client:
        async with connection.transaction():
            await connection.execute(
                "INSERT INTO answers (shop, actor, key, digest, created_at) "
                "VALUES ('main', 'staff/s-1', $1, '', now())",
                headers["Idempotency-Key"],
            )
            copies = [asyncio.create_task(create(client, mug(tag), **headers)) for _ in range(30)]
            others = [create(client, mug(f"{tag}-{n}"), **bearer(service)) for n in range(5)]
            assert {one.status_code for one in await asyncio.gather(*others)} == {201}
            refused = await asyncio.gather(*copies)
            await connection.execute("DELETE FROM answers WHERE key = $1", f"held-{tag}")
        assert {one.status_code for one in refused} == {409}
        assert {one.json()["code"] for one in refused} <= {"busy", "in_flight"}
        assert {one.headers["Retry-After"] for one in refused} == {"1"}
        assert (await create(client, mug(tag), **headers)).status_code == 201
    await connection.close()


async def test_a_key_is_whose_it_is(service: Service, tag: str) -> None:
    key = {"Idempotency-Key": f"mine-{tag}"}
    async with service.client() as client:
        mine = await create(client, mug(tag), **bearer(service, id="a"), **key)
        theirs = await create(client, mug(f"{tag}-b"), **bearer(service, id="b"), **key)
        other = await create(
            client, mug(f"{tag}-c"), **bearer(service, role=Role.ADMIN, id="a"), **key
        )
    assert [one.status_code for one in (mine, theirs, other)] == [201, 201, 201]


@asynccontextmanager
async def through_a_link(settings: Settings) -> AsyncIterator[tuple[Service, Link]]:
    """A service whose way to Postgres can be cut."""
    to = urlsplit(settings.servers.postgres)
    assert to.hostname
    link = Link(to.hostname, to.port or 5432)
    async with link.open():
        address = settings.servers.postgres.replace(f":{to.port}", f":{link.port}")
        linked = Settings(**{**settings.model_dump(), "postgres": address})
        async with asyncio.timeout(200), running(linked, workers=0) as service:
            yield service, link


async def test_a_link_cut_at_the_commit_leaves_it_open_and_a_retry_says_what_became_of_it(
    settings: Settings, tag: str
) -> None:
    await migrate(settings.servers.postgres, settings.schema_name)
    async with through_a_link(settings) as (service, link), service.client() as client:
        for cut in Cut:
            product = mug(f"{tag}-{cut.name}")
            headers = {**bearer(service), "Idempotency-Key": f"{cut.name}-{tag}"}
            cutting = asyncio.create_task(link.cut_at_commits(cut))
            await asyncio.sleep(0)
            lost = await create(client, product, **headers)
            await cutting
            assert lost.status_code == 503
            assert "same Idempotency-Key" in lost.json()["detail"]
            again = await create(client, product, **headers)
            assert again.status_code == 201
            assert ("Idempotent-Replayed" in again.headers) == (cut is Cut.AFTER)
            assert (await create(client, product, **headers)).content == again.content


async def test_an_api_ends_in_time_also_where_postgres_says_nothing_any_more(
    settings: Settings,
) -> None:
    await migrate(settings.servers.postgres, settings.schema_name)
    async with through_a_link(settings) as (service, link), link.stalled():
        await asyncio.sleep(4)  # so that all that looks now and then is looking
        begun = time.monotonic()
        await asyncio.to_thread(end, service.server)
        assert time.monotonic() - begun < 15


async def test_old_answers_are_forgotten_and_newer_ones_are_not(
    settings: Settings, servers: Servers
) -> None:
    await migrate(servers.postgres, settings.schema_name)
    alone = partial(connect_alone, servers.postgres, settings.schema_name)
    connection = await alone()
    now = datetime.now(UTC)
    for key, age in (("old", KEPT + timedelta(minutes=1)), ("new", KEPT - timedelta(hours=1))):
        await connection.execute(
            "INSERT INTO answers (shop, actor, key, digest, created_at) "
            "VALUES ('', '', $1, '', $2)",
            key,
            now - age,
        )
    forgetting = asyncio.create_task(keep_forgetting(alone, every_seconds=0.05))
    try:
        async with asyncio.timeout(30):
            while len(keys := await connection.fetch("SELECT key FROM answers")) > 1:
                await asyncio.sleep(0.05)
    finally:
        forgetting.cancel()
        await asyncio.gather(forgetting, return_exceptions=True)
        await connection.close()
    assert [row["key"] for row in keys] == ["new"]
