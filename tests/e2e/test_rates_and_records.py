"""Currency rates, sales records and closed months over HTTP, on the real servers."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx2
import pytest

from app.identity.tokens import Role
from app.jobs.job import Job, Progress
from app.jobs.records import SALES_RECORDS
from app.settings import Servers
from tests.conftest import settings_for
from tests.e2e.service import Service, running
from tests.e2e.test_commands import bearer

MARCH = {"from": "2026-03-01", "to": "2026-03-31"}


@pytest.fixture(scope="module")
async def shops(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """A service with two shops, `rates` and `records`, which nobody else sells in."""
    async with AsyncExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:  # of these processes alone
            patch.setenv("TILLSTREAM_WRITE_KEYS", "to-rates:rates,to-records:records")
            settings = settings_for(servers, tmp_path_factory.mktemp("shops"))
            found = await stack.enter_async_context(running(settings))
        yield found


async def told_to(service: Service, shop: str, *events: dict[str, Any]) -> str:
    """Sends events to a shop; all their positions."""
    key = {"Authorization": f"Bearer to-{shop}"}
    async with httpx2.AsyncClient(base_url=service.api, headers=key, timeout=30) as client:
        answer = await client.post("/v1/events", json=events)
    assert answer.status_code < 300, answer.text
    return ",".join(one["position"] for one in answer.json()["accepted"])


def sale(order: str, at: str, price: str, currency: str, **more: Any) -> dict[str, Any]:
    lines = [{"product_id": "mug", "category": "kitchen", "price": price, "quantity": 2}]
    data = {"order_id": order, "currency": currency, "products": lines}
    return {"type": "OrderCompleted", "time": at, "data": data, **more}


def rate(day: str, told: str | None, currency: str = "USD") -> dict[str, Any]:
    return {"currency": currency, "into": "EUR", "day": day, "rate": told}


async def test_figures_are_converted_at_the_rates_that_were_said(shops: Service) -> None:
    service, shop = shops, {"shop": "rates"}
    staff = bearer(service, shop="rates")
    seen = await told_to(
        service,
        "rates",
        sale("o-1", "2026-03-01T10:00:00Z", "10.00", "EUR"),
        sale("o-2", "2026-03-02T10:00:00Z", "10.00", "USD"),
        sale("o-3", "2026-03-09T10:00:00Z", "1.2345", "USD"),
        sale("o-4", "2025-03-02T10:00:00Z", "5.00", "EUR"),
    )
    asked: dict[str, Any] = {
        **shop,
        "into": "EUR",
        "grain": "month",
        "min_position": seen,
        "wait": 20,
    }
    async with httpx2.AsyncClient(base_url=service.api, timeout=30, headers=staff) as client:

        async def say(*rates: Mapping[str, Any], **headers: str) -> httpx2.Response:
            return await client.post(
                "/v1/currency-rates", json={"rates": rates}, params=shop, headers=headers
            )

        async def net(**more: Any) -> Any:
            found = await client.get("/v1/metrics/net", params={**asked, **more})
            assert found.status_code == 200, found.text
            return found.json()["rows"]

        missing = await client.get("/v1/metrics/net", params=asked)
        assert (missing.status_code, missing.json()["code"]) == (422, "no_rate")
        assert "1 USD on 2026-03-02 or before" in missing.json()["errors"][0]["reason"]

        key = {"Idempotency-Key": "rates"}
        first = await say(rate("2026-03-01", "0.9"), rate("2026-03-05", "0.8"), **key)
        again = await say(rate("2026-03-01", "0.9"), rate("2026-03-05", "0.8"), **key)
        assert first.content == again.content
        assert again.headers["Idempotent-Replayed"] == "true"
        assert (first.json()["said"], first.json()["changed"]) == (2, 2)
        assert (await say(rate("2026-03-01", "0.90"))).json() == {"said": 1, "changed": 0}
        told = await client.get(
            "/v1/currency-rates",
            params={**shop, "min_position": first.json()["position"], "wait": 20},
        )
        assert told.json()["rows"] == [rate("2026-03-01", "0.9"), rate("2026-03-05", "0.8")]
        # 20 + 20 × 0.9 + 2.469 × 0.8, which is rounded at the end alone
        assert await net() == [
            {"month": "2025-03", "currency": "EUR", "net": "10.00"},
            {"month": "2026-03", "currency": "EUR", "net": "39.9752"},
        ]
        assert await net(compare="year", **MARCH) == [
            {"month": "2026-03", "currency": "EUR", "net": "39.9752", "net_before": "10.00",
             "change": "2.99752"},
        ]  # fmt: skip
        mended = await say(rate("2026-03-01", "0.5"), rate("2026-03-05", None))
        then = {"min_position": f"{seen},{mended.json()['position']}"}
        assert (await net(by="category,product", **then))[1:] == [
            {"month": "2026-03", "category": "kitchen", "product": "mug", "currency": "EUR",
             "net": "31.2345"},
        ]  # fmt: skip
        wrong = await say(rate("2026-03-01", "0"), rate("2026-03-01", "1", "EUR"))
        assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "rates.0.rate")
        for asked_for in ({"grain": "hour"}, {"grain": "total"}):
            no = await client.get(
                "/v1/metrics/net", params={**shop, "compare": "year", **asked_for}
            )
            assert no.status_code == 422
    shopper = bearer(service, Role.CUSTOMER, shop=shop["shop"])
    async with httpx2.AsyncClient(base_url=service.api, timeout=30, headers=shopper) as client:
        refused = await client.post(
            "/v1/currency-rates", json={"rates": [rate("2026-03-01", "1")]}, params=shop
        )
        assert refused.status_code == 403


async def generated(client: httpx2.AsyncClient, shop: Mapping[str, str]) -> Any:
    """The records of March as the log has them, by a job where the log is long."""
    found = await client.post("/v1/sales/records/generate", json=MARCH, params=shop)
    if found.status_code == 200:
        return found.json()
    assert found.status_code == 202, found.text
    async with asyncio.timeout(60):
        while True:
            job = (await client.get(found.headers["Location"])).json()
            if job["state"] == "done":
                return job["result"]
            assert job["state"] in ("waiting", "running"), job
            await asyncio.sleep(0.2)


async def test_records_are_those_of_the_log_and_it_is_said_where_they_are_not(
    shops: Service,
) -> None:
    service, shop = shops, {"shop": "records"}
    events = [
        sale("o-1", "2026-03-01T10:00:00Z", "10.00", "EUR", person="ada"),
        sale("o-2", "2026-03-01T11:00:00Z", "0.0005", "EUR", person="ada"),
        sale("o-3", "2026-03-31T10:00:00Z", "7.00", "USD", person="bob"),
        sale("o-4", "2026-04-01T10:00:00Z", "7.00", "USD"),
    ]
    back = {"order_id": "o-1", "refund_id": "r", "total": "5.00"}
    events.append({"type": "OrderRefunded", "time": "2026-03-31T12:00:00Z", "data": back})
    seen = await told_to(service, "records", *events)
    async with service.client() as client:
        asked: dict[str, Any] = {**shop, "min_position": seen, "wait": 20}
        daily = (await client.get("/v1/sales/records", params={**asked, **MARCH})).json()["rows"]
        named = ("day", "currency", "gross", "refunds", "net", "orders", "units", "customers")
        assert [tuple(row[name] for name in named) for row in daily] == [
            ("2026-03-01", "EUR", "20.001", "0.00", "20.001", 2, 4, 1),
            ("2026-03-31", "EUR", "0.00", "5.00", "-5.00", 0, 0, 0),
            ("2026-03-31", "USD", "14.00", "0.00", "14.00", 1, 2, 1),
        ]
        assert daily[0]["average_order_value"] == "10.0005"
        assert {row["status"] for row in daily} == {"open"}
        months = await client.get("/v1/sales/records/monthly", params=asked)
        assert [(row["month"], row["net"]) for row in months.json()["rows"]] == [
            ("2026-03", "15.001"),
            ("2026-03", "14.00"),
            ("2026-04", "14.00"),
        ]
        made = await generated(client, shop)
        assert (made["records"], made["differences"]) == (daily, [])
        assert sum(made["next_offsets"]["orders"]) >= len(events)

        settings = service.settings
        connection = await asyncpg.connect(settings.servers.postgres)
        spoiled = (
            f'UPDATE "{settings.schema_name}".sales_periods SET gross = gross + $1 '
            "WHERE shop = $2 AND currency = 'USD' AND period = '2026-03-31' AND grain = 'day' "
            "AND dimension = 'total'"
        )
        await connection.execute(spoiled, 1, shop["shop"])
        (otherwise,) = (await generated(client, shop))["differences"]
        assert (otherwise["day"], otherwise["currency"]) == ("2026-03-31", "USD")
        assert (otherwise["kept"]["gross"], otherwise["log"]["gross"]) == ("15.00", "14.00")
        await connection.execute(spoiled, -1, shop["shop"])
        await connection.close()

        # As a job does it, however long the log is.
        now = datetime.now(UTC)
        told = {"id": None, "kind": "sales_records", "key": "", "lock": "", "asked": MARCH}
        fields: Any = dict.fromkeys(Job._fields) | told | {"shop": shop["shop"], "created": now}
        by_job = await SALES_RECORDS.run(settings, Job(**fields), Progress())
        assert (by_job["records"], by_job["differences"]) == (daily, [])
        for first, last in (("2026-03-02", "2026-03-01"), ("2020-01-01", "2026-01-01")):
            wrong = {"from": first, "to": last}
            refused = await client.post("/v1/sales/records/generate", json=wrong)
            assert refused.status_code == 422
