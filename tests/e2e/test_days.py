"""The shop's days, closed: as a forecaster reads them from the log, and as the API gives them."""

import asyncio
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import TopicPartition

from app.settings import Settings
from streams.readback import log_ends, read_back
from tests.e2e.service import Service, running
from tests.e2e.test_replay import ALL, facts, replayed, replaying
from tests.e2e.test_sales import ask

__all__ = ["facts"]

FIRST, LAST = date(2010, 12, 1), date(2011, 9, 30)
Days = dict[str, dict[tuple[str, str, str], Mapping[str, Any]]]


async def told(settings: Settings) -> tuple[Days, list[str]]:
    """The log of days, read as anyone would: the figures by day and series, and the dates of
    DayClosed in order."""
    partition = TopicPartition(f"{settings.prefix}days", 0)
    kafka = settings.servers.kafka
    days: Days = {}
    closed: list[str] = []
    ids = set()
    async for _, records in read_back(kafka, await log_ends(kafka, [partition])):
        for record in records:
            event = msgspec.json.decode(record.value)
            if event["id"] in ids:
                continue
            ids.add(event["id"])
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
    every = [(FIRST + timedelta(days=n)).isoformat() for n in range((LAST - FIRST).days + 1)]
    assert closed == every
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
