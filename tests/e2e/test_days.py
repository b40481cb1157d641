"""The shop's days, closed: as a forecaster reads them from the log, and as the API gives them."""

import asyncio
from collections.abc import Mapping
from datetime import date, timedelta
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
from tests.e2e.service import Service, running
from tests.e2e.test_replay import ALL, replayed, replaying
from tests.e2e.test_sales import ask
from tests.retail import NAME, part

FIRST, LAST = date(2010, 12, 1), date(2011, 1, 9)
Days = dict[str, dict[tuple[str, str, str], Mapping[str, Any]]]


async def records(settings: Settings) -> list[dict[str, Any]]:
    """What the log of days tells of days, in order, repeats left out."""
    partition = TopicPartition(f"{settings.prefix}days", 0)
    kafka = settings.servers.kafka
    events: dict[str, dict[str, Any]] = {}
    async for _, fetched in read_back(kafka, await log_ends(kafka, [partition])):
        for record in fetched:
            event = msgspec.json.decode(record.value)
            if event["type"].startswith("Day"):
                events.setdefault(event["id"], event)
    return list(events.values())


async def told(settings: Settings) -> tuple[Days, list[str]]:
    """The figures by day and series, corrections applied, and the dates of DayClosed in order."""
    days: Days = {}
    closed: list[str] = []
    for event in await records(settings):
        data = event["data"]
        part, parts = data.get("part", 1), data.get("parts", 1)
        if event["type"] == "DayClosed" and part == 1:
            assert data["date"] not in days, "closed twice"
        if event["type"] == "DayClosed" and part == parts:
            closed.append(data["date"])
        figures = days.setdefault(data["date"], {})
        for one in data["figures"]:
            figures[one["level"], one.get("key", ""), one["currency"]] = one
    return days, closed


async def until_closed(service: Service, last: date, **query: Any) -> list[dict[str, Any]]:
    """Until this day is closed, and told; all that are."""
    async with asyncio.timeout(300):
        while True:
            rows = (await ask(service, "/v1/sales/days", **query))["rows"]
            if [row["day"] for row in rows][-1:] < [last.isoformat()]:
                await asyncio.sleep(0.3)
                continue
            _, closed = await told(service.settings)
            if closed[-1:] >= [last.isoformat()] and len(closed) == len({r["day"] for r in rows}):
                found: list[dict[str, Any]] = rows
                return found
            await asyncio.sleep(0.3)


async def test_every_day_around_christmas_is_told_once_and_comes_to_what_the_shop_sold(
    settings: Settings, data: Path, tmp_path: Path
) -> None:
    days_of = part(data / f"{NAME}.csv.gz", tmp_path / "days.csv.gz", FIRST, LAST)
    async with running(settings) as service:
        await replayed(replaying(service, days_of))
        rows = await until_closed(service, LAST)
        sold = (await ask(service, "/v1/sales/revenue", grain="day", **ALL))["rows"]
        days, closed = await told(settings)
        log = await told_in_the_log(settings.servers.kafka, settings.prefix)
        recalled = [day for (_, day), _ in recall(log)]
    every = [(FIRST + timedelta(days=n)).isoformat() for n in range((LAST - FIRST).days + 1)]
    assert closed == every
    assert [day.isoformat() for day in recalled] == every
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
        for level in ("country", "product", "variant"):
            of_level = [one for key, one in days[row["day"]].items() if key[0] == level]
            for measure in zero:
                assert sum(Decimal(one[measure]) for one in of_level) == Decimal(figure[measure])
            assert sum(one["units"] for one in of_level) == figure["units"]
    traded = [row for row in rows if row["gross"] != "0.00"]
    assert 20 < len(traded) < len(rows)
    saturdays = [row for row in rows if date.fromisoformat(row["day"]).weekday() == 5]
    assert len(saturdays) == 6
    assert {row["gross"] for row in saturdays} == {"0.00"}


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
