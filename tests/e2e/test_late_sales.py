"""Days and months that were closed and told: corrected by what comes late, whoever dies then."""

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
from aiokafka import TopicPartition

from app.settings import Settings
from projections.closing_months import recall
from streams import codec
from streams.events import Event
from streams.readback import log_ends, read_back
from tests.e2e.service import Service, end, running
from tests.e2e.test_days import told
from tests.e2e.test_sales import ask, send

AGO = 70


def days_ago(days: int, number: str, price: str) -> dict[str, Any]:
    """An order of a mug, so many days ago."""
    at = datetime.now(UTC) - timedelta(days=days)
    products = [{"product_id": "mug", "category": "kitchen", "price": price}]
    data = {"order_id": number, "currency": "EUR", "products": products}
    return {"type": "OrderCompleted", "time": at.isoformat(), "data": data}


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(90):
        while not await holds():
            await asyncio.sleep(0.1)


async def row_of(service: Service, day: str) -> dict[str, Any]:
    """What is told of a day, nothing where it is open."""
    rows = (await ask(service, "/v1/sales/days", **{"from": day, "to": day}))["rows"]
    return dict(rows[0]) if rows else {}


async def month_is(service: Service, month: str, net: str, status: str) -> bool:
    rows = (await ask(service, "/v1/sales/months"))["rows"]
    return (month, net, status) in {(row["month"], row["net"], row["status"]) for row in rows}


async def log_of_days(settings: Settings) -> list[Event]:
    """All that stands there, repeats of the relay left out."""
    partition = TopicPartition(f"{settings.prefix}days", 0)
    events: dict[str, Event] = {}
    kafka = settings.servers.kafka
    async for _, fetched in read_back(kafka, await log_ends(kafka, [partition])):
        for record in fetched:
            event = codec.decode_envelope(record.value)
            events.setdefault(event.id, event)
    return list(events.values())


async def test_what_comes_late_corrects_its_day_and_its_month_whoever_dies_meanwhile(
    settings: Settings,
) -> None:
    quick = settings.model_copy(update={"day_grace": 1.0, "day_settle": 0.3})
    async with running(quick, workers=2) as service:
        long_ago = datetime.now(UTC).date() - timedelta(days=AGO)
        day, month = long_ago.isoformat(), f"{long_ago:%Y-%m}"
        await send(service, days_ago(0, "today", "9.00"), days_ago(AGO, "o1", "1.00"))
        await until(partial(month_is, service, month, "1.00", "closed"))
        row = await row_of(service, day)
        assert (row["status"], row["net"]) == ("closed", "1.00")
        for number, signal_ in enumerate((signal.SIGTERM, signal.SIGKILL), 1):
            # Whichever of the two it was that closes days, it may be the other one now.
            end(service.workers[number - 1], signal_)
            await send(service, days_ago(AGO, f"late{number}", "0.50"))
            service.start_worker()
            net = f"{1 + number / 2:.2f}"
            await until(partial(month_is, service, month, net, "corrected"))
            row = await row_of(service, day)
            assert (row["status"], row["revision"], row["net"]) == ("corrected", number, net)
        records = (await ask(service, "/v1/sales/records/monthly"))["rows"]
        assert (records[0]["month"], records[0]["status"]) == (month, "corrected")
        open_day = datetime.now(UTC).date().isoformat()
        assert (await ask(service, "/v1/sales/days", **{"from": open_day}))["rows"] == []

        async def twice_corrected() -> bool:
            states = dict(recall(await log_of_days(quick)))
            return states["main", long_ago.replace(day=1)].revision >= 2

        await until(twice_corrected)
        days, closed = await told(quick)
        log = await log_of_days(quick)
        months = (await ask(service, "/v1/sales/months"))["rows"]
    assert closed == [(long_ago + timedelta(days=n)).isoformat() for n in range(AGO)]
    assert days[day]["total", "", "EUR"]["net"] == "2.00"
    assert days[day]["category", "kitchen", "EUR"]["orders"] == 3
    corrected = [event.subject for event in log if event.type == "DayCorrected"]
    assert corrected == [day, day]
    last = datetime.now(UTC).date().replace(day=1) - timedelta(days=1)
    count = (last.year - long_ago.year) * 12 + last.month - long_ago.month + 1
    assert count == len(months)
    _months_are_told_once_and_after_their_days(log, month, count)


def _months_are_told_once_and_after_their_days(log: list[Event], month: str, count: int) -> None:
    said = Counter((event.type, event.subject) for event in log if event.type[:5] == "Month")
    assert {of: times for of, times in said.items() if of[0] == "MonthCorrected"} == {
        ("MonthCorrected", month): 2
    }
    assert [times for of, times in said.items() if of[0] == "MonthClosed"] == [1] * count
    days = [event for event in log if event.type.startswith("Day")]
    places = {event.id: place for place, event in enumerate(log)}
    for event in log:
        if event.type == "MonthClosed":
            listed = msgspec.json.decode(event.data)["days"]
            before = [one for one in days if places[one.id] < places[event.id]]
            assert set(listed) <= {one.subject for one in before}
            assert date.fromisoformat(max(listed)) + timedelta(days=1) == _following(event.subject)


def _following(month: str) -> date:
    first = date.fromisoformat(f"{month}-01")
    return (first + timedelta(days=31)).replace(day=1)
