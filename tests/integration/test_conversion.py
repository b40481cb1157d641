"""Figures converted at each day's rate, against a recount in fractions that shares no code."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import combinations
from random import Random
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from msgspec.structs import replace

from app.reports.report import Moment
from app.reports.table import REPORTS
from app.settings import Settings
from projections.clock import ShopClock
from projections.conversion import NoRate
from projections.currency_rates import CURRENCY_RATES
from projections.postgres import connect, migrate
from projections.read_model import Setting
from streams.events import Event
from tests.integration.test_store import apply, opened, part
from tests.sales import AT, line
from tests.sales import said as said_later

# Clocks change on 28 and 29 March; the last of them by half an hour.
ZONES = ("Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe")
GRAINS = ("total", "hour", "day", "week", "month", "quarter", "year")
DIMENSIONS = ("country", "channel", "category", "product", "variant", "customer")
METRICS = ("gross", "net", "refunds", "orders", "units", "average_order_value", "refund_rate")
CURRENCIES = ("EUR", "USD", "JPY")

Pool = asyncpg.Pool


def said(*told: Any, **fields: Any) -> Event:
    """An event that was received at once."""
    event = said_later(*told, **fields)
    return replace(event, received_at=event.time)


class Entry(NamedTuple):
    """What a line brought or gave back, in ten-thousandths."""

    at: datetime
    order: str
    currency: str
    keys: Mapping[str, str]
    gross: int = 0
    refunds: int = 0
    units: int = 0
    sold: bool = True


def history(random: Random, count: int) -> tuple[list[Event], list[Entry]]:
    """Orders of three months in three currencies, some of them given back; and their books."""
    events: list[Event] = []
    books: list[Entry] = []
    for number in range(count):
        order, currency = f"o{number}", random.choice(CURRENCIES)
        minutes = random.randrange(90 * 24 * 60)
        fields = {
            "currency": currency,
            "country": random.choice(["DE", "FR"]),
            "channel": random.choice(["web", "shop"]),
        }
        person = random.choice(["ada", "bob", "eve"])
        price = random.choice([25_000, 33, 199_900])
        products = random.sample(["mug", "cup", "pen"], random.randrange(1, 4))
        lines = [
            line(
                one, f"{price / 10_000:.4f}", quantity=2, category=f"c-{one[0]}", variant=f"{one}-1"
            )
            for one in products
        ]
        told = said(
            "OrderCompleted",
            order,
            event_id=order,
            minutes=minutes,
            person=person,
            products=lines,
            **fields,
        )
        events.append(told)
        keys = [
            {"product": one, "category": f"c-{one[0]}", "variant": f"{one}-1", "customer": person}
            | {name: fields[name] for name in ("country", "channel")}
            for one in products
        ]
        books += [Entry(told.time, order, currency, key, 2 * price, 0, 2) for key in keys]
        if number % 3 == 0:
            later = said(
                "OrderRefunded",
                order,
                event_id=f"{order}-back",
                minutes=minutes + random.randrange(60 * 24 * 40),
                person=person,
                products=[lines[0] | {"quantity": 1}],
            )
            events.append(later)
            books.append(Entry(later.time, order, currency, keys[0], 0, price, 0, sold=False))
    return events, books


def rates_of(random: Random) -> dict[tuple[str, date], str]:
    """A rate now and then, from before the first sale on."""
    first = AT.date() - timedelta(days=3)
    days = {first, *(first + timedelta(days=random.randrange(140)) for _ in range(40))}
    said_of = {("USD", day): f"0.{random.randrange(8000, 9999)}" for day in days}
    return said_of | {("JPY", day): f"0.00{random.randrange(10**9)}7" for day in days}


async def keep(pool: Pool, told: Mapping[tuple[str, date], str | None], offset: int = 0) -> None:
    rows = [
        ("main", currency, "EUR", day.isoformat(), rate, offset)
        for (currency, day), rate in sorted(told.items())
    ]
    setting = Setting(ShopClock(ZoneInfo("UTC")), AT)
    async with pool.acquire() as connection:
        await CURRENCY_RATES.put(connection, rows, setting)


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    await migrate(settings.servers.postgres, settings.schema_name)
    found = await connect(settings.servers.postgres, settings.schema_name, size=4)
    async with asyncio.timeout(90):
        yield found
        await found.close()


async def ask(pool: Pool, zone: ZoneInfo, metric: str, **asked: Any) -> list[Mapping[str, Any]]:
    report = REPORTS[metric]
    moment = Moment(ShopClock(zone), datetime.now(UTC))
    async with pool.acquire() as connection:
        told = report.asked.model_validate(asked)
        return list(await report.rows(connection, moment, told))


# The recount.


def begins(at: datetime, grain: str, zone: ZoneInfo) -> str | None:
    """A period's name."""
    local = at.astimezone(zone)
    day = local.date()
    match grain:
        case "total":
            return None
        case "hour":
            passed = timedelta(minutes=local.minute, seconds=local.second)
            return (at - passed).astimezone(zone).isoformat()
        case "week":
            return (day - timedelta(days=day.weekday())).isoformat()
        case "month":
            return day.isoformat()[:7]
        case "quarter":
            return f"{day.year}-Q{-(-day.month // 3)}"
        case "year":
            return str(day.year)
    return day.isoformat()


def recount(
    books: Iterable[Entry],
    rates: Mapping[tuple[str, date], str],
    zone: ZoneInfo,
    grain: str,
    by: Sequence[str],
) -> dict[tuple[Any, ...], dict[str, Fraction]]:
    """Sums in euros, exact."""
    sums: dict[tuple[Any, ...], dict[str, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    orders: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for entry in books:
        day, rate = entry.at.astimezone(zone).date(), Fraction(1)
        if entry.currency != "EUR":
            known = max(d for currency, d in rates if currency == entry.currency and d <= day)
            rate = Fraction(rates[entry.currency, known])
        row = (begins(entry.at, grain, zone), *(entry.keys[name] for name in by))
        sums[row]["gross"] += rate * Fraction(entry.gross, 10_000)
        sums[row]["refunds"] += rate * Fraction(entry.refunds, 10_000)
        sums[row]["units"] += entry.units
        if entry.sold:
            orders[row].add(entry.order)
    for row, found in sums.items():
        found["orders"] = Fraction(len(orders[row]))
    return sums


def shown(metric: str, sums: Mapping[str, Fraction]) -> Any:
    """A metric as it is written, rounded once."""
    net = sums["gross"] - sums["refunds"]
    if metric in ("orders", "units"):
        return int(sums[metric])
    if metric == "refund_rate":
        return _decimal(sums["refunds"] / sums["gross"], 6) if sums["gross"] else None
    if metric == "average_order_value":
        if not sums["orders"]:
            return None
        value = net / sums["orders"]
    else:
        value = net if metric == "net" else sums[metric]
    return _decimal(value, 4)


def _decimal(value: Fraction, places: int) -> Fraction:
    return Fraction(round(value * 10**places), 10**places)  # a half goes to the even one


PARTS = {
    "net": ("gross", "refunds"),
    "average_order_value": ("gross", "refunds", "orders"),
    "refund_rate": ("gross", "refunds"),
}


@pytest.mark.parametrize("zone", [*map(ZoneInfo, ZONES)], ids=str)
async def test_every_metric_by_everything_is_each_days_amounts_at_that_days_rate(
    zone: ZoneInfo, pool: Pool
) -> None:
    random = Random(zone.key)
    events, books = history(random, 120)
    rates = rates_of(random)
    store = await opened(pool, clock=ShopClock(zone))
    await apply(store, part(events))
    await keep(pool, rates)
    pairs = random.sample(list(combinations(DIMENSIONS, 2)), 3)
    for grain in GRAINS:
        for by in [(), *((one,) for one in DIMENSIONS), *pairs]:
            counted = recount(books, rates, zone, grain, by)
            for metric in random.sample(METRICS, 2) if by else METRICS:
                rows = await ask(pool, zone, metric, grain=grain, by=list(by), into="EUR")
                served = {
                    (row.get(grain), *(row[name] for name in by)): row[metric] for row in rows
                }
                assert len(served) == len(rows)
                assert all(row["currency"] == "EUR" for row in rows)
                wanted = {
                    row: shown(metric, sums)
                    for row, sums in counted.items()
                    if any(sums[name] for name in PARTS.get(metric, (metric,)))
                }
                told = {
                    row: Fraction(value) if isinstance(value, str) else value
                    for row, value in served.items()
                }
                assert told == wanted, (metric, grain, by)


async def test_an_amount_without_a_rate_is_no_answer(pool: Pool) -> None:
    zone = ZoneInfo("UTC")
    store = await opened(pool)
    sales = [
        said(
            "OrderCompleted",
            f"o{n}",
            event_id=f"e{n}",
            minutes=n * 24 * 60,
            currency=currency,
            products=[line("mug", "10.00")],
        )
        for n, currency in enumerate(["EUR", "USD", "JPY", "JPY"])
    ]
    gone = [
        said(
            "OrderCompleted",
            "gone",
            event_id="g",
            minutes=-9999,
            currency="CHF",
            products=[line("mug", "10.00")],
        ),
        said("OrderCancelled", "gone", event_id="h", minutes=-9999),
    ]
    await apply(store, part([*sales, *gone]))
    first = AT.date()
    with pytest.raises(NoRate) as none:
        await ask(pool, zone, "gross", into="EUR", **{"from": first.isoformat()})
    assert none.value.missing == {
        "USD": first + timedelta(days=1),
        "JPY": first + timedelta(days=2),
    }
    rates: dict[tuple[str, date], str | None] = {("USD", first): "0.5", ("JPY", first): "0.25"}
    await keep(pool, rates)
    asked = {"into": "EUR", "grain": "total", "from": first.isoformat()}
    assert (await ask(pool, zone, "gross", **asked))[0]["gross"] == "20.00"
    assert (await ask(pool, zone, "gross", **asked, currency="USD"))[0]["gross"] == "5.00"
    await keep(pool, {("JPY", first + timedelta(days=3)): "0.5"}, offset=1)
    assert (await ask(pool, zone, "gross", **asked))[0]["gross"] == "22.50"
    await keep(pool, {("JPY", first): None}, offset=2)
    with pytest.raises(NoRate, match=f"1 JPY on {first + timedelta(days=2)} or before"):
        await ask(pool, zone, "gross", **asked)
    assert await ask(pool, zone, "orders", **asked) == [{"currency": "EUR", "orders": 4}]
    with pytest.raises(NoRate, match="EUR"):  # the other way round is another rate
        await ask(pool, zone, "gross", into="USD", grain="total")
    with pytest.raises(NoRate) as none:  # what was given back was worth as much, and how much?
        await ask(pool, zone, "net", into="EUR", to=(first - timedelta(days=1)).isoformat())
    assert none.value.missing == {"CHF": gone[0].time.date()}


async def test_years_are_compared_each_at_its_own_rates(pool: Pool) -> None:
    store = await opened(pool)
    year = 365 * 24 * 60  # from 2026-03-01 back to 2025-03-01
    sales = [
        said(
            "OrderCompleted",
            f"o{minutes}",
            event_id=f"e{minutes}",
            minutes=minutes,
            currency="USD",
            products=[line("mug", price)],
        )
        for minutes, price in ((0, "10.00"), (-year, "10.00"), (-year + 24 * 60, "3.00"))
    ]
    await apply(store, part(sales))
    first = AT.date()
    await keep(pool, {("USD", first - timedelta(days=365)): "0.8", ("USD", first): "1"})
    rows = await ask(
        pool,
        ZoneInfo("UTC"),
        "net",
        compare="year",
        into="EUR",
        **{"from": "2026-03-01", "to": "2026-03-31"},
    )
    assert rows == [
        {
            "day": "2026-03-01",
            "currency": "EUR",
            "net": "10.00",
            "net_before": "8.00",
            "change": "0.25",
        },
        {
            "day": "2026-03-02",
            "currency": "EUR",
            "net": "0.00",
            "net_before": "2.40",
            "change": "-1",
        },
    ]
