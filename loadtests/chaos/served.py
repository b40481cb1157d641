"""What is served, held against a recount: Postgres and the API, figure by figure."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

import asyncpg
import httpx2

from loadtests.chaos.records import Fate, Judged
from loadtests.chaos.recount import (
    DIMENSIONS,
    MEASURES,
    MONEY,
    Books,
    Measures,
    by_period,
)
from loadtests.chaos.site import GROUP, TOPIC, Site

GRAINS = ("total", "hour", "day", "month")
RANKINGS = ("units", "gross", "net", "orders")
_TIMES = ("ordered_at", "completed_at", "paid_at", "shipped_at")
_AT_ONCE = 8
_TOP = 1000
_ZERO = Decimal(0)


class Difference(NamedTuple):
    """One figure that is not what the log says."""

    where: str
    what: str
    counted: object
    served: object

    def __str__(self) -> str:
        return f"{self.where} {self.what}: the log says {self.counted}, served is {self.served}"


class Comparison(NamedTuple):
    """How many figures were compared, and those that differ; events that are not counted though
    they should be, and those that are counted more often than they should be."""

    figures: int
    differences: Sequence[Difference]
    lost: int
    doubled: int


class Tally:
    """Collects figures of which two sides are known."""

    def __init__(self) -> None:
        self.figures = 0
        self.differences: list[Difference] = []

    def compare(self, where: str, counted: Mapping[Any, Any], served: Mapping[Any, Any]) -> None:
        """Every key of either side; a key's values may be mappings of figures themselves."""
        for key in counted.keys() | served.keys():
            one, other = counted.get(key), served.get(key)
            self.figures += len(one) if isinstance(one, Mapping) else 1
            if one != other:
                self.differences.append(Difference(where, _text(key), one, other))


def _text(key: object) -> str:
    return " ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def by_fate(log: Iterable[Judged]) -> dict[int, dict[str, int]]:
    """What each partition's reader has to have made of its records."""
    found: dict[int, dict[str, int]] = defaultdict(
        lambda: dict.fromkeys(("next_offset", "applied", "repeated", "quarantined"), 0)
    )
    names = {Fate.COUNTS: "applied", Fate.REPEATED: "repeated", Fate.QUARANTINED: "quarantined"}
    for record, fate, _ in log:
        row = found[record.partition]
        row["next_offset"] = record.offset + 1
        row[names[fate]] += 1
    return dict(found)


async def compare_postgres(
    site: Site, log: Sequence[Judged], books: Books, shop: str | None = None
) -> Comparison:
    """Every figure in the tables, or those of one shop; and how many events are lost or doubled by
    what they say."""
    tally = Tally()
    fates = by_fate(log)
    columns = ("next_offset", "applied", "repeated", "quarantined")
    rows = await site.sql(
        "SELECT * FROM progress WHERE group_name = $1 AND topic = $2", GROUP, TOPIC
    )
    progress = {row["partition"]: {name: row[name] for name in columns} for row in rows}
    progress = {number: row for number, row in progress.items() if any(row.values())}
    tally.compare("progress", fates, progress)
    short = sum(
        row["applied"] - progress.get(number, {}).get("applied", 0) for number, row in fates.items()
    )

    rows = await site.sql(
        "SELECT partition, record_offset, value FROM quarantine WHERE group_name = $1", GROUP
    )
    kept = {(row["partition"], row["record_offset"]): row["value"] for row in rows}
    aside = {
        (record.partition, record.offset): record.value
        for record, fate, _ in log
        if fate is Fate.QUARANTINED
    }
    tally.compare("quarantine", aside, kept)

    rows = await site.sql("SELECT * FROM revenue WHERE $1::text IS NULL OR shop = $1", shop)
    revenue = _figures(rows, ("shop", "dimension", "hour", "key", "currency"))
    tally.compare("revenue", books.revenue, revenue)
    lost, doubled = _sales(books.revenue, revenue)

    rows = await site.sql("SELECT * FROM best_sellers WHERE $1::text IS NULL OR shop = $1", shop)
    sellers = _figures(rows, ("shop", "day", "product", "currency"))
    expected = {
        key: {name: value for name, value in measures.items() if name != "adjustments"}
        for key, measures in books.best_sellers.items()
    }
    expected = {key: measures for key, measures in expected.items() if measures}
    tally.compare("best_sellers", expected, sellers)
    compare_names(
        tally,
        "best_sellers",
        books,
        {(row["shop"], row["product"]): row["name"] for row in rows},
    )

    rows = await site.sql("SELECT * FROM sales_periods WHERE $1::text IS NULL OR shop = $1", shop)
    periods = _figures(rows, ("shop", "grain", "dimension", "period", "key", "currency"))
    tally.compare("sales_periods", books.periods, periods)

    rows = await site.sql("SELECT * FROM sales_minutes WHERE $1::text IS NULL OR shop = $1", shop)
    minutes = _figures(rows, ("shop", "minute", "country", "currency"))
    tally.compare("sales_minutes", books.minutes, minutes)

    rows = await site.sql(_LINES, shop)
    lines = _figures(rows, _LINE)
    tally.compare("sales_lines", books.lines, lines)

    rows = await site.sql("SELECT * FROM customer_days WHERE $1::text IS NULL OR shop = $1", shop)
    customers = _figures(rows, ("shop", "customer", "day", "country", "currency"))
    tally.compare("customer_days", books.customers, customers)

    rows = await site.sql("SELECT * FROM orders WHERE $1::text IS NULL OR shop = $1", shop)
    orders = {
        (row["shop"], row["order_id"]): {
            "status": row["status"],
            **_told(json.loads(row["state"])),
            **{name: row[name] for name in _TIMES if row[name] is not None},
        }
        for row in rows
    }
    pages = {
        key: {"status": page.status, **page.events, **page.times}
        for key, page in books.orders.items()
    }
    tally.compare("orders", pages, orders)
    return Comparison(
        tally.figures, tally.differences, max(short, lost, 0), max(-short, doubled, 0)
    )


_LINE = ("shop", "hour", "currency", "country", "customer", "order_id", "category", "product")
_LINES = f"""
    SELECT {", ".join(_LINE)}, {", ".join(f"sum({name}) AS {name}" for name in MEASURES)}
    FROM sales_lines WHERE $1::text IS NULL OR shop = $1
    GROUP BY {", ".join(_LINE)}
"""  # noqa: S608  (made of constants)


def compare_names(
    tally: Tally, where: str, books: Books, served: Mapping[tuple[str, str], str | None]
) -> None:
    """Which of a product's names is shown is not said; that it is one of them is."""
    known = {key: books.names.get(key, set()) for key in served}
    counted = {
        key: name if (name or "") in known[key] else " or ".join(sorted(known[key]))
        for key, name in served.items()
    }
    tally.compare(f"{where} names", counted, served)


def _figures(rows: Iterable[asyncpg.Record], key: Sequence[str]) -> dict[Any, Measures]:
    """Rows by key, without zeros, which a row that was never written has too."""
    found = {}
    for row in rows:
        measures = {name: Decimal(row[name]) for name in MEASURES if row.get(name)}
        if measures:
            found[tuple(row[name] for name in key)] = measures
    return found


def _sales(counted: Mapping[Any, Measures], served: Mapping[Any, Measures]) -> tuple[int, int]:
    """How many sales are too few and too many, row by row of the totals."""
    lost = doubled = 0
    for row in counted.keys() | served.keys():
        if row[1] == "total":
            missing = int(
                counted.get(row, {}).get("orders", _ZERO) - served.get(row, {}).get("orders", _ZERO)
            )
            lost, doubled = lost + max(0, missing), doubled + max(0, -missing)
    return lost, doubled


def _told(state: Mapping[str, Any]) -> dict[str, str]:
    """The ids of the events that an order's state consists of."""
    several = {"refunds": "refund", "adjustments": "adjustment"}
    found = {name: told["id"] for name, told in state.items() if told and name not in several}
    for name, one in several.items():
        found |= {f"{one} {key}": told["id"] for key, told in state.get(name, {}).items()}
    return found


def as_served(measures: Measures) -> Measures:
    """Measures with what is net, without zeros."""
    gross, discounts, refunds = (measures.get(name, _ZERO) for name in MONEY[:3])
    found = {**measures, "net": gross - discounts - refunds}
    return {name: value for name, value in found.items() if value}


# The API.


async def compare_api(site: Site, books: Books, shop: str, orders: Sequence[str]) -> Comparison:
    """A shop's figures in every dimension and grain, its best sellers by every ranking, and these
    of its orders."""
    tally = Tally()
    async with httpx2.AsyncClient(base_url=site.api, timeout=60) as client:

        async def ask(path: str, **asked: Any) -> Any:
            answer = await client.get(path, params={"shop": shop, **asked})
            return answer.json() if answer.status_code == 200 else {}

        for dimension in DIMENSIONS:
            for grain in GRAINS:
                answer = await ask("/v1/sales/revenue", by=dimension, grain=grain)
                served = {
                    (row.get(grain, ""), row.get(dimension) or "", row["currency"]): measured(row)
                    for row in answer.get("rows", ())
                }
                counted = {
                    key: as_served(measures)
                    for key, measures in by_period(books.revenue, shop, dimension, grain)
                }
                tally.compare(f"api revenue/{dimension}/{grain}", counted, served)
        for ranking in RANKINGS:
            answer = await ask("/v1/sales/top-products", by=ranking, limit=_TOP)
            served_ranks = {
                row["rank"]: (row["product"], row["currency"], measured(row))
                for row in answer.get("rows", ())
            }
            rows = answer.get("rows", ())
            names = {(shop, row["product"]): row["name"] for row in rows}
            compare_names(tally, f"api top-products/{ranking}", books, names)
            ranks = dict(enumerate(_ranked(books, shop, ranking), 1))
            tally.compare(f"api top-products/{ranking}", ranks, served_ranks)
        await _compare_orders(tally, ask, books, shop, orders)
    return Comparison(tally.figures, tally.differences, 0, 0)


def measured(row: Mapping[str, Any]) -> Measures:
    """What is not zero in a row of the API or of Redis."""
    found = {name: Decimal(row[name]) for name in (*MEASURES, "net") if name in row}
    return {name: value for name, value in found.items() if value}


def _ranked(books: Books, shop: str, ranking: str) -> Iterator[tuple[str, str, Measures]]:
    sums: dict[tuple[str, str], Measures] = defaultdict(lambda: defaultdict(lambda: _ZERO))
    for (of_shop, _, product, currency), measures in books.best_sellers.items():
        if of_shop == shop:
            for name, value in measures.items():
                sums[product, currency][name] += value
    rows = [
        (product, currency, found)
        for (product, currency), measures in sums.items()
        if (found := as_served(measures))
    ]
    rows.sort(key=lambda row: (-row[2].get(ranking, _ZERO), row[0], row[1]))
    yield from rows


async def _compare_orders(
    tally: Tally, ask: Any, books: Books, shop: str, orders: Sequence[str]
) -> None:
    left = iter(orders)
    served: dict[str, dict[str, Any]] = {}

    async def one() -> None:
        for order_id in left:
            found = await ask(f"/v1/orders/{order_id}")
            if found:
                served[order_id] = {
                    **{name: Decimal(found[name]) for name in MONEY},
                    "status": found["status"],
                    "currency": found["currency"],
                    "country": found["country"] or "",
                }

    await asyncio.gather(*(one() for _ in range(_AT_ONCE)))
    counted = {}
    for order_id in orders:
        page = books.orders[shop, order_id]
        words = {"status": page.status, "currency": page.currency, "country": page.country}
        counted[order_id] = {**page.sums, **words}
    tally.compare("api orders", counted, served)


# The closed days.

_DAY_MEASURES = ("gross", "discounts", "refunds", "orders", "units")
Series = tuple[str, str, str, str, str]  # shop, level, day, key, currency


def day_figures(books: Books, before: date) -> dict[Series, Measures]:
    """What the days before one have to be told as, without zeros."""
    found: dict[Series, Measures] = {}
    for shop in {row[0] for row in books.revenue}:
        for level in DIMENSIONS:
            for (day, key, currency), measures in by_period(books.revenue, shop, level, "day"):
                kept = {n: measures[n] for n in _DAY_MEASURES if measures.get(n)}
                if kept and day < before.isoformat():
                    found[shop, level, day, key, currency] = kept
    return found


def _totals(
    told: Mapping[Series, Measures], level: str, before: date = date.max
) -> dict[tuple[str, str, str], Measures]:
    """The sums over a level's keys, by shop, day and currency, of what can be added up."""
    found: dict[tuple[str, str, str], Measures] = defaultdict(dict)
    for (shop, of_level, day, _, currency), measures in told.items():
        if of_level == level and day < before.isoformat():
            sums = found[shop, day, currency]
            for name in set(measures) - {"orders"}:
                sums[name] = sums.get(name, _ZERO) + measures[name]
    kept = {key: {n: v for n, v in sums.items() if v} for key, sums in found.items()}
    return {key: sums for key, sums in kept.items() if sums}


async def compare_days(
    site: Site, books: Books, told: Sequence[Mapping[str, Any]], before: date
) -> Comparison:
    """The closed days as they stand in Postgres, as the API gives them, and as the log of days
    (`told`: its events, in order) has told them."""
    tally = Tally()
    counted = day_figures(books, before)
    rows = await site.sql("SELECT * FROM day_figures")
    tables = {
        (row["shop"], row["level"], row["day"].isoformat(), row["key"], row["currency"]): {
            name: Decimal(row[name]) for name in _DAY_MEASURES if row[name]
        }
        for row in rows
    }

    def heard_of(told: Mapping[Series, Measures]) -> dict[Series, Measures]:
        """What was told of these days and dimensions,."""
        kept = {k: v for k, v in told.items() if v and k[2] < before.isoformat()}
        return {k: v for k, v in kept.items() if k[1] in DIMENSIONS}

    tally.compare("days", counted, heard_of(tables))
    tally.compare("days of variants", _totals(counted, "total"), _totals(tables, "variant", before))
    said: dict[Series, Measures] = {}
    heard: set[str] = set()
    for event in told:
        if event["id"] in heard:
            continue
        heard.add(event["id"])
        data = event["data"]
        for one in data["figures"]:
            series = (
                event["shop"],
                one["level"],
                data["date"],
                one.get("key", ""),
                one["currency"],
            )
            said[series] = {
                name: Decimal(one[name]) for name in _DAY_MEASURES if Decimal(one[name])
            }
    tally.compare("log of days", counted, heard_of(said))
    async with httpx2.AsyncClient(base_url=site.api, timeout=60) as client:
        for shop in sorted({series[0] for series in counted}):
            for level in DIMENSIONS:
                answer = await client.get("/v1/sales/days", params={"shop": shop, "level": level})
                served = {
                    (row["day"], row.get(level) or "", row["currency"]): {
                        name: Decimal(row[name]) for name in _DAY_MEASURES if Decimal(row[name])
                    }
                    for row in answer.json()["rows"]
                    if row["day"] < before.isoformat()
                }
                of_level = {
                    series[2:]: measures
                    for series, measures in counted.items()
                    if series[:2] == (shop, level)
                }
                tally.compare(f"api days/{level}", of_level, {k: v for k, v in served.items() if v})
    return Comparison(tally.figures, tally.differences, 0, 0)
