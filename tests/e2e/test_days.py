"""The shop's days, closed: as a forecaster reads them from the log, and as the API gives them."""

import asyncio
import signal
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition

from app.settings import Settings
from projections.closer import told_in_the_log
from projections.closing import recall
from streams.readback import log_ends, read_back
from tests.e2e.service import Service, end, running
from tests.e2e.test_replay import ALL, facts, replayed, replaying
from tests.e2e.test_sales import ask, send

__all__ = ["facts"]

FIRST, LAST = date(2010, 12, 1), date(2011, 9, 30)
Days = dict[str, dict[tuple[str, str, str], Mapping[str, Any]]]


async def records(settings: Settings) -> list[dict[str, Any]]:
    """The events of the log of days, in order, repeats left out."""
    partition = TopicPartition(f"{settings.prefix}days", 0)
    kafka = settings.servers.kafka
    events: dict[str, dict[str, Any]] = {}
    async for _, fetched in read_back(kafka, await log_ends(kafka, [partition])):
        for record in fetched:
            event = msgspec.json.decode(record.value)
            events.setdefault(event["id"], event)
    return list(events.values())


async def told(settings: Settings) -> tuple[Days, list[str]]:
    """The figures by day and series, corrections applied, and the dates of DayClosed in order."""
    days: Days = {}
    closed: list[str] = []
    for event in await records(settings):
        data = event["data"]
        if event["type"] == "DayClosed":
            assert data["date"] not in days, "closed twice"
            closed.append(data["date"])
        figures = days.setdefault(data["date"], {})
        for one in data["figures"]:
            figures[one["level"], one.get("key", ""), one["currency"]] = one
    return days, closed


async def until_closed(service: Service, last: date, **query: Any) -> list[dict[str, Any]]:
    """Until this day is closed, and told; all that are."""
    async with asyncio.timeout(60):
        while True:
            rows = (await ask(service, "/v1/sales/days", **query))["rows"]
            _, closed = await told(service.settings)
            if closed[-1:] >= [last.isoformat()] and len(closed) == len({r["day"] for r in rows}):
                found: list[dict[str, Any]] = rows
                return found
            await asyncio.sleep(0.3)


async def test_every_day_of_ten_months_is_told_once_and_comes_to_what_the_shop_sold(
    settings: Settings, data: Path, facts: dict[str, Any]
) -> None:
    async with running(settings) as service:
        await replayed(replaying(service, data))
        rows = await until_closed(service, LAST)
        sold = (await ask(service, "/v1/sales/revenue", grain="day", **ALL))["rows"]
        days, closed = await told(settings)
        recalled = recall(await told_in_the_log(settings.servers.kafka, settings.prefix))
    every = [(FIRST + timedelta(days=n)).isoformat() for n in range((LAST - FIRST).days + 1)]
    assert closed == every
    assert [day.isoformat() for _, day in recalled] == every
    assert [row["day"] for row in rows] == every
    assert {row["status"] for row in rows} == {"closed"}
    by_day = {row["day"]: row for row in sold}
    zero = {"gross": "0.00", "discounts": "0.00", "refunds": "0.00", "net": "0.00"}
    nothing = {**zero, "orders": 0, "units": 0}
    for row in rows:
        figure = days[row["day"]]["total", "", "GBP"]
        category = days[row["day"]]["category", "", "GBP"]
        expected = by_day.get(row["day"], nothing)
        for measure in nothing:
            assert figure[measure] == row[measure] == expected[measure]
            assert category[measure] == figure[measure]
    traded = [row for row in rows if row["gross"] != "0.00"]
    assert sum(Decimal(row["gross"]) for row in rows) == Decimal(facts["gross"])
    assert sum(Decimal(row["refunds"]) for row in rows) == Decimal(facts["refunds"])
    assert sum(Decimal(row["net"]) for row in rows) == Decimal(facts["net_of_refunds"])
    assert 200 < len(traded) <= facts["trading_days"] < len(rows)
    saturdays = [row for row in rows if date.fromisoformat(row["day"]).weekday() == 5]
    assert len(saturdays) == 43
    assert {row["gross"] for row in saturdays} == {"0.00"}


def days_ago(days: int, number: str, price: str, **more: Any) -> dict[str, Any]:
    """An order of a mug, so many days ago."""
    at = datetime.now(UTC) - timedelta(days=days)
    products = [{"product_id": "mug", "category": "kitchen", "price": price}]
    data = {"order_id": number, "currency": "EUR", "products": products}
    return {"type": "OrderCompleted", "time": at.isoformat(), "data": data, **more}


async def until_net(service: Service, day: str, net: str) -> dict[str, Any]:
    """Until the day was told with this net; its row."""
    async with asyncio.timeout(60):
        while True:
            rows = (await ask(service, "/v1/sales/days", **{"from": day, "to": day}))["rows"]
            if [row["net"] for row in rows] == [net]:
                found: dict[str, Any] = rows[0]
                return found
            await asyncio.sleep(0.1)


async def test_what_comes_late_corrects_a_day_whoever_dies_meanwhile(settings: Settings) -> None:
    quick = settings.model_copy(update={"day_grace": 1.0, "day_settle": 0.3})
    async with running(quick, workers=2) as service:
        await send(service, days_ago(0, "today", "9.00"), days_ago(3, "o1", "1.00"))
        day = (datetime.now(UTC) - timedelta(days=3)).date().isoformat()
        assert (await until_net(service, day, "1.00"))["status"] == "closed"
        for revision, number in ((1, signal.SIGTERM), (2, signal.SIGKILL)):
            # Whichever of the two it was that closes days, it may be the other one now.
            end(service.workers[revision - 1], number)
            await send(service, days_ago(3, f"late{revision}", "0.50"))
            service.start_worker()
            row = await until_net(service, day, f"{1 + revision / 2:.2f}")
            assert (row["status"], row["revision"]) == ("corrected", revision)
        open_day = datetime.now(UTC).date().isoformat()
        assert (await ask(service, "/v1/sales/days", **{"from": open_day}))["rows"] == []
        async with asyncio.timeout(30):
            while len(await records(quick)) < 5:
                await asyncio.sleep(0.1)
        days, closed = await told(quick)
    expected = [(date.fromisoformat(day) + timedelta(days=n)).isoformat() for n in range(3)]
    assert closed == expected
    assert days[day]["total", "", "EUR"]["net"] == "2.00"
    assert days[day]["category", "kitchen", "EUR"]["orders"] == 3


@pytest.mark.parametrize("query", ["level=colour", "from=2026-02-01&to=2026-01-01", "currency=x"])
async def test_a_wrong_question_about_days_is_refused(service: Service, query: str) -> None:
    async with service.client() as client:
        answer = await client.get(f"/v1/sales/days?{query}")
    assert answer.status_code == 422


async def test_nobody_but_tillstream_closes_a_day(service: Service) -> None:
    closed = {"date": "2026-01-01", "positions": {}, "figures": []}
    async with service.client() as client:
        answer = await client.post("/v1/events", json={"type": "DayClosed", "data": closed})
    assert answer.status_code == 422
