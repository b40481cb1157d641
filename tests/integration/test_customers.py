"""Every figure of customers is what is counted sale by sale, where clocks change and where not."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise, product
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from app.reports.report import Moment
from app.reports.table import REPORTS
from app.settings import Servers, Settings
from app.subscriptions import steps_of
from projections import customer_value
from projections.clock import ShopClock
from projections.customer_value import GRID, Place
from projections.postgres import connect, migrate
from projections.store import GroupStore
from streams import money, online_retail
from streams.batch import Batch, Part, Partition
from streams.events import VOCABULARY, Event
from tests import retail
from tests.conftest import settings_for
from tests.purchases import FIRST, LAST, Shop, purchases
from tests.sales import AT, facts

ZONES = ("Europe/Berlin", "Asia/Kolkata", "UTC")
RANGES = ((None, None), (date(2025, 10, 26), date(2026, 1, 14)), (date(2025, 11, 30), None))
GRAINS = ("total", "day", "week", "month", "quarter", "year")
FILTERS: tuple[dict[str, Any], ...] = ({}, {"country": ["DE"]}, {"currency": "GBP"})
ONE_DAY = timedelta(days=1)
Rows = list[dict[str, Any]]


@dataclass
class Asked:
    """A folded shop, what is counted of it, and how it is asked."""

    pool: asyncpg.Pool
    counted: Shop
    moment: Moment

    async def __call__(self, name: str, **asked: Any) -> Rows:
        report = REPORTS[name]
        told = {key: value for key, value in asked.items() if value is not None}
        parsed = report.asked.model_validate(told)
        rows = [dict(row) for row in await report.rows(self.pool, self.moment, parsed)]
        columns = [column.name for column in report.columns(parsed)]
        assert all([*row] == columns for row in rows), (columns, rows[:1])
        keys = [tuple(row[name] for name in report.key(parsed)) for row in rows]
        assert len(set(keys)) == len(keys)
        return rows


@pytest.fixture(scope="module", params=ZONES)
async def ask(
    request: pytest.FixtureRequest, servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Asked]:
    """Some 500 orders of 90 people."""
    sales, events = purchases(500, 90, seed=ZONES.index(request.param))
    clock = ShopClock(ZoneInfo(request.param))
    settings = settings_for(servers, tmp_path_factory.mktemp("customers"))
    async with folded(settings, events, clock) as pool:
        yield Asked(pool, Shop(sales, request.param), Moment(clock, AT + timedelta(hours=30)))


@asynccontextmanager
async def folded(
    settings: Settings, events: Sequence[Event], clock: ShopClock, most: int = 90
) -> AsyncIterator[asyncpg.Pool]:
    """A pool that sees what becomes of events, read in batches of `most` from two partitions."""
    await migrate(settings.servers.postgres, settings.schema_name)
    pool = await connect(settings.servers.postgres, settings.schema_name)
    store = GroupStore(pool, "sales", steps_of("sales"), clock)
    await store.register()
    await store.progress({Partition("orders", n): UUID(int=7) for n in range(2)})
    told = facts(events, partitions=2)
    for number in range(2):
        own = [fact for fact in told if fact.partition == number]
        for start, end in pairwise([*range(0, len(own), most), len(own)]):
            part = _part(number, start, own[start:end])
            await store.commit(await store.prepare(Batch([part], 1)))
    yield pool
    await pool.close()


def _part(number: int, start: int, told: Sequence[Any]) -> Part:
    end = start + len(told)
    ms = int(AT.timestamp() * 1000)
    return Part(Partition("orders", number), start, end, told, (), (), end, ms)


def begins(grain: str, day: date) -> str | None:
    """A period by its name."""
    match grain:
        case "day":
            return day.isoformat()
        case "week":
            return date.fromisocalendar(*day.isocalendar()[:2], 1).isoformat()
        case "month":
            return day.isoformat()[:7]
        case "quarter":
            return f"{day.year}-Q{1 + (day.month - 1) // 3}"
        case "year":
            return str(day.year)
    return None


def days(first: date | None, last: date | None) -> Iterator[date]:
    day, end = first or FIRST - ONE_DAY, last or LAST + timedelta(days=2)
    while day <= end:
        yield day
        day += ONE_DAY


def share(part: int, whole: int) -> str | None:
    return f"{round(Decimal(part) / whole, 6).normalize():f}" if whole else None


def amount(value: Decimal) -> str:
    return money.text(int(value * 10_000))


def _named(grain: str, period: str | None, **rest: Any) -> dict[str, Any]:
    return ({} if period is None else {grain: period}) | rest


async def test_who_orders_by_any_period_and_country(ask: Asked) -> None:
    shop = ask.counted
    for (first, last), grain, by, only in product(RANGES, GRAINS, ("", "country"), FILTERS):
        counts: dict[tuple[Any, str], Counter[str]] = defaultdict(Counter)
        seen: dict[tuple[Any, str], Counter[str]] = defaultdict(Counter)
        within = set(days(first, last))

        def counting(country: str, currency: str, only: Any = only) -> bool:
            return country in only.get("country", [country]) and currency == only.get(
                "currency", currency
            )

        for sale in shop.sales:
            day = shop.day(sale.at)
            if day in within and counting(sale.country, sale.currency):
                key = begins(grain, day), sale.country if by else ""
                if sale.customer:
                    seen[key][sale.customer] += 1
                else:
                    counts[key]["orders_without_customer"] += 1
        for (period, _), row in seen.items():
            told = counts[period, _]
            told["customers"] = len(row)
            told["repeat_customers"] = sum(count > 1 for count in row.values())
            told["returning_customers"] = sum(
                (begun := shop.first(customer)[0]) not in within or begins(grain, begun) != period
                for customer in row
            )
        for customer in shop.days:
            day, country, currency = shop.first(customer)
            if day in within and counting(country, currency):
                counts[begins(grain, day), country if by else ""]["new_customers"] += 1

        asked: dict[str, Any] = {"grain": grain, "by": [by] if by else [], **only}
        asked |= {"from": first, "to": last}
        for name in (
            *("customers", "new_customers", "returning_customers", "repeat_customers"),
            "orders_without_customer",
        ):
            assert await ask(name, **asked) == [
                _named(grain, period, **({by: key} if by else {}), **{name: row[name]})
                for (period, key), row in sorted(counts.items(), key=lambda item: str(item[0]))
                if row[name]
            ], (name, asked)
        rates = {
            (row.get(grain), row.get("country", "")): row["repeat_rate"]
            for row in await ask("repeat_rate", **asked)
        }
        assert rates == {
            key: share(row["repeat_customers"], row["customers"])
            for key, row in counts.items()
            if row["customers"]
        }


async def test_where_new_customers_come_from(ask: Asked) -> None:
    shop = ask.counted
    for (first, last), grain, by in product(
        RANGES, ("total", "week", "month"), (None, "country", "product")
    ):
        within = set(days(first, last))
        new: dict[Any, Counter[str]] = defaultdict(Counter)
        for customer in shop.days:
            day, country, _ = shop.first(customer)
            if day in within:
                found = {None: "", "country": country, "product": shop.first_product(customer)}[by]
                new[begins(grain, day)][found] += 1
        assert await ask("acquisition", grain=grain, by=by, **{"from": first, "to": last}) == [
            _named(
                grain,
                period,
                **({by: key} if by else {}),
                new_customers=count,
                share=share(count, row.total()),
            )
            for period, row in sorted(new.items(), key=lambda item: str(item[0]))
            for key, count in sorted(row.items())
        ], (first, grain, by)
    german = await ask("acquisition", grain="total", by="product", country=["DE"])
    assert sum(row["new_customers"] for row in german) == sum(
        shop.first(customer)[1] == "DE" for customer in shop.days
    )


async def test_who_is_lost_and_won_back(ask: Asked) -> None:
    shop, today = ask.counted, ask.moment.today
    for (first, last), grain, idle in product(RANGES, ("total", "week", "month"), (7, 30)):
        begun = first or min(min(days) for days in shop.days.values())
        told = [day for day in days(begun, last) if day <= today]
        periods: dict[Any, list[date]] = defaultdict(list)
        for day in told:
            periods[begins(grain, day)].append(day)
        wanted = []
        for period, within in periods.items():
            counts, eve = Counter[str](), within[0] - ONE_DAY
            for customer, own in shop.days.items():
                # Who orders on the very day that they churn on has churned and come back.
                active, rested = shop.within(customer, idle), shop.within(customer, idle - 1)
                alone = [day for day in within if day - ONE_DAY not in rested]
                gone = [day for day in alone if day - ONE_DAY in active]
                counts["active_at_start"] += eve in active
                counts["active_at_end"] += within[-1] in active
                counts["churned"] += len(gone)
                counts["lost"] += eve in active and bool(gone)
                for day in alone:
                    if day in own:
                        counts["new" if day == min(own) else "regained"] += 1
            if any(counts.values()):
                names = ("active_at_start", "new", "regained", "churned", "active_at_end", "lost")
                rate = share(counts["lost"], counts["active_at_start"])
                wanted.append(
                    _named(grain, period, **{n: counts[n] for n in names}, churn_rate=rate)
                )
        asked = {"grain": grain, "days": idle, "from": first, "to": last}
        assert await ask("churn", **asked) == wanted, asked


async def test_what_becomes_of_each_months_new_customers(ask: Asked) -> None:
    shop = ask.counted
    for (first, last), most in product(RANGES, (0, 2, 12)):
        within, cohorts = set(days(first, last)), defaultdict[str, list[str]](list)
        for customer, own in shop.days.items():
            if min(own) in within:
                cohorts[begins("month", min(own)) or ""].append(customer)
        wanted = []
        for cohort, members in sorted(cohorts.items()):
            for since in range(most + 1):
                number = int(cohort[:4]) * 12 + int(cohort[5:]) - 1 + since
                month = f"{number // 12}-{number % 12 + 1:02d}"
                if month <= ask.moment.today.isoformat()[:7]:
                    active = sum(
                        any(begins("month", day) == month for day in shop.days[customer])
                        for customer in members
                    )
                    wanted.append(
                        {
                            "cohort": cohort,
                            "months_since": since,
                            "size": len(members),
                            "customers": active,
                            "share": share(active, len(members)),
                        }
                    )
        assert await ask("cohorts", months=most, **{"from": first, "to": last}) == wanted


def valued(row: Any) -> dict[str, Any]:
    """Sums as a report tells them."""
    return {
        **{name: getattr(row, name) for name in ("orders", "units", "refunded_units")},
        **{
            name: amount(getattr(row, name))
            for name in ("gross", "discounts", "refunds", "net", "tax")
        },
        "average_order_value": amount(round(round(row.net / row.orders, 6), 4))
        if row.orders
        else None,
        "first_day": min(row.days).isoformat() if row.days else None,
        "last_day": max(row.days).isoformat() if row.days else None,
    }


async def test_what_customers_bring_and_who_brings_most(ask: Asked) -> None:
    shop = ask.counted
    for first, last in RANGES:
        within = [*days(first, last)]
        asked: dict[str, Any] = {"from": first, "to": last}
        sums = {key: row for key, row in shop.sums(within[0], within[-1]).items() if key[0]}
        assert await ask("customer_values", **asked) == [
            {"customer": customer, "currency": currency, **valued(row)}
            for (customer, currency), row in sorted(sums.items())
        ]
        for ranking in ("net", "gross", "orders", "units"):
            keys = ("country", "customer", "currency")
            by_country = shop.sums(within[0], within[-1], keys)
            groups: dict[tuple[str, str], list[tuple[Any, str, Any]]] = defaultdict(list)
            for (country, customer, currency), row in by_country.items():
                if customer and getattr(row, ranking):
                    groups[country, currency].append((-getattr(row, ranking), customer, row))
            told = {"by": "country", "ranking": ranking, "limit": 4, **asked}
            assert await ask("top_customers", **told) == [
                {
                    "country": country,
                    "currency": currency,
                    "rank": rank,
                    "customer": customer,
                    **valued(row),
                }
                for (country, currency), rows in sorted(groups.items())
                for rank, (_, customer, row) in enumerate(sorted(rows, key=lambda r: r[:2])[:4], 1)
            ]
            ones = await ask("top_customers", country=["FR"], ranking=ranking, limit=4, **asked)
            french = [row for row in await ask("top_customers", **told) if row["country"] == "FR"]
            assert [{"country": "FR"} | row for row in ones] == french


async def test_segments_by_recency_frequency_and_value(ask: Asked) -> None:
    for first, last in RANGES:
        within = [*days(first, last)]
        asked: dict[str, Any] = {"from": first, "to": last}
        sums = ask.counted.sums(within[0], within[-1])
        scores: Rows = []
        for currency in ("EUR", "GBP"):
            own = {
                customer: row
                for (customer, of), row in sums.items()
                if of == currency and customer and row.orders
            }

            def score(value: Any, every: Sequence[Any]) -> int:
                return 1 + 5 * [one < value for one in every].count(True) // len(every)

            for customer, row in sorted(own.items(), key=lambda item: (-item[1].net, item[0])):
                recency = score(max(row.days), [max(one.days) for one in own.values()])
                frequency = score(row.orders, [one.orders for one in own.values()])
                scores.append(
                    {
                        "currency": currency,
                        "customer": customer,
                        "segment": GRID[recency - 1][frequency - 1],
                        "recency": recency,
                        "frequency": frequency,
                        "monetary": score(row.net, [one.net for one in own.values()]),
                        "last_day": max(row.days).isoformat(),
                        "orders": row.orders,
                        "net": amount(row.net),
                    }
                )
        assert await ask("customer_scores", **asked) == scores
        assert {row["segment"] for row in scores} > {"champions", "hibernating", "at_risk"}
        await _hold_segments(ask, asked, scores, sums)


async def _hold_segments(ask: Asked, asked: Any, scores: Rows, sums: Any) -> None:
    found = {
        (row["currency"], row["segment"]): row for row in await ask("customer_segments", **asked)
    }
    for currency in ("EUR", "GBP"):
        own = [row for row in scores if row["currency"] == currency]
        if (nobodys := sums.get(("", currency))) and nobodys.orders:
            wanted = {"customers": 0, "share": None, "orders": nobodys.orders}
            row = found.pop((currency, "without_customer"))
            assert row.items() >= (wanted | {"net": amount(nobodys.net)}).items()
        for segment in {row["segment"] for row in own}:
            members = [row for row in own if row["segment"] == segment]
            assert found.pop((currency, segment)) == {
                "currency": currency,
                "segment": segment,
                "customers": len(members),
                "share": share(len(members), len(own)),
                "orders": sum(row["orders"] for row in members),
                "net": amount(sum((Decimal(row["net"]) for row in members), Decimal(0))),
            }
    assert not found


async def test_the_orders_of_one_by_pages(ask: Asked) -> None:
    shop, clock = ask.counted, ask.moment.clock
    most = max(shop.days, key=lambda customer: len(shop.days[customer]))
    for customer in (most, "c1", "nobody"):
        own = {sale.order: sale for sale in shop.sales if sale.customer == customer}
        found: list[Any] = []
        before: Place | None = None
        while page := await customer_value.orders_of(ask.pool, clock, "main", customer, 3, before):
            assert len(page) <= 3
            found, before = [*found, *page], page[-1][0]
        places = [place for place, _ in found]
        assert places == sorted(places, reverse=True)
        assert {told["order_id"] for _, told in found} == own.keys()
        assert len(found) == len(own)
        for _, told in found:
            sale = own[told["order_id"]]
            assert (told["completed_at"], told["gross"]) == (sale.at, amount(sale.gross))
            assert told["refunds"] == amount(sale.back[1] if sale.back else Decimal(0))


async def test_a_real_shops_customers_are_those_of_its_file(
    settings: Settings, data: Path, tmp_path: Path
) -> None:
    zone = ZoneInfo("Europe/London")
    winter = date(2010, 12, 1), date(2011, 2, 7)
    file = retail.part(data / f"{retail.NAME}.csv.gz", tmp_path / "winter.csv.gz", *winter)
    read = await asyncio.to_thread(online_retail.read, file, zone, "main", datetime.now(UTC))
    until = datetime(2011, 2, 1, tzinfo=zone)
    told = [
        entry.event
        for entry in read.entries
        if entry.event.time < until and VOCABULARY[entry.event.type].topic == "orders"
    ]
    async with folded(settings, told, ShopClock(zone), 1000) as pool:
        ask = Asked(pool, Shop([], zone.key), Moment(ShopClock(zone), datetime.now(UTC)))
        found = {
            name: [row[name] for row in await ask(name, grain="month", to=date(2011, 1, 31))]
            for name in ("customers", "new_customers", "orders_without_customer")
        }
        [december, january] = await ask("acquisition", to=date(2011, 1, 31))

    invoices: dict[str, tuple[str, str]] = {}
    for row in retail.lines_of(file):
        if int(row["Quantity"]) > 0 and Decimal(row["UnitPrice"]) > 0:
            told_at = row["InvoiceDate"][:7], row["CustomerID"]
            invoices[row["InvoiceNo"]] = min(invoices.get(row["InvoiceNo"], told_at), told_at)
    by_month: dict[str, list[str]] = defaultdict(list)
    for month, customer in invoices.values():
        by_month[month].append(customer)
    first, second = ({*by_month[month]} - {""} for month in ("2010-12", "2011-01"))
    assert len(first) > 800
    assert found["customers"] == [len(first), len(second)]
    assert found["new_customers"] == [len(first), len(second - first)]
    assert found["orders_without_customer"] == [
        by_month[month].count("") for month in ("2010-12", "2011-01")
    ]
    assert (december["new_customers"], january["share"]) == (len(first), "1")
