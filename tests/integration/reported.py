"""A shop's life, read into tables, to ask reports of and to count by hand.

In three zones, over the days on which their clocks change: Berlin's on 29 March, St. John's on 8
March, Lord Howe's, by half an hour, on 5 April.
"""

import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
from msgspec.structs import replace

from app.reports.report import Moment
from app.reports.table import REPORTS
from app.settings import Servers
from app.subscriptions import steps_of
from projections.clock import ShopClock
from projections.postgres import connect, migrate
from projections.store import GroupStore
from streams import codec
from streams.batch import Batch, Part, Partition
from streams.codec import Fact
from streams.events import Event
from tests.conftest import settings_for

Pool = asyncpg.Pool
Rows = list[dict[str, Any]]

BEGINS = datetime(2026, 1, 3, tzinfo=UTC)
NOW = datetime(2026, 4, 6, 13, 20, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
PRODUCTS = ("p1", "p2", "p3", "p4")
ZONES = ("Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe")


class Told:
    """Events as plain values, and as the log has them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.events: list[dict[str, Any]] = []

    def say(self, kind: str, at: datetime, **data: Any) -> None:
        number = len(self.events)
        one = {"id": f"e{number:05}", "type": kind, "at": at, "data": data}
        self.events.append(one)

    def moment(self) -> datetime:
        """Often near a midnight somewhere."""
        day = self.random.randrange((NOW - BEGINS).days)
        hours = self.random.choice([2.4, 3.6, 12.9, 13.1, 22.9, 23.1, 10, 17])
        return BEGINS + day * DAY + hours * HOUR + timedelta(seconds=self.random.randrange(999))

    def order(self, number: int) -> None:
        random, order_id, at = self.random, f"o{number:03}", self.moment()
        lines = [
            {
                "product_id": product,
                "variant": random.choice([f"{product}-a", f"{product}-b"]),
                "category": f"c{product[1] in '12'}",
                "price": f"{random.randrange(1, 30)}.50",
                "quantity": random.randrange(1, 4),
            }
            for product in random.sample(PRODUCTS[:3], random.randrange(1, 3))
        ]
        place = {"currency": random.choice(["EUR", "GBP"]), "country": random.choice(["DE", "FR"])}
        sold = {"order_id": order_id, "products": lines, **place}
        if random.random() < 0.7:
            self.say("OrderPlaced", at - random.randrange(400) * HOUR, **sold)
        if random.random() < 0.5:
            self.say("OrderPaid", at, order_id=order_id)
        if random.random() < 0.8:
            self.say("OrderCompleted", at, **sold)
        if random.random() < 0.6:
            taken = random.choice([-1, 0, 1, 6, 6.001, 24, 30.5, 100, 300])
            self.say("OrderShipped", at + taken * HOUR, order_id=order_id)
            if random.random() < 0.5:
                self.say("OrderDelivered", at + 90 * HOUR, order_id=order_id)
        if random.random() < 0.1:
            self.say("OrderCancelled", at + HOUR, order_id=order_id)
        if random.random() < 0.1:
            self.say("OrderRefunded", at + 2 * HOUR, order_id=order_id)

    def stock(self) -> None:
        random, product = self.random, self.random.choice(PRODUCTS)
        kind = random.choice(["Received", "Reserved", "Released", "Shipped", "Adjusted"])
        more: dict[str, Any] = {"quantity": random.randrange(1, 40 if kind == "Received" else 6)}
        if kind == "Adjusted":
            more["quantity"] = random.randrange(-5, 5)
        elif kind != "Received":
            more["order_id"] = "o"
        if random.random() < 0.2:
            kind, more = "ThresholdChanged", {"threshold": random.choice([None, 5, 20, 60])}
        variant = f"{product}-{random.choice('ab')}"
        self.say(f"Stock{kind}", self.moment(), product_id=product, variant=variant, **more)

    def review(self) -> None:
        random, product = self.random, self.random.choice(PRODUCTS)
        of = {"product_id": product, "review_id": f"{product}/{random.randrange(8)}"}
        kind = random.choice(["ProductReviewed", "ProductReviewed", "ReviewEdited", "-", "+"])
        if kind in "-+":
            hides = random.random() < 0.5
            kind = "ReviewModerated" if kind == "-" else "ReviewRetracted"
            more: dict[str, Any] = {"hidden": hides} if kind == "ReviewModerated" else {}
        else:
            more = {"rating": random.randrange(1, 6)}
        self.say(kind, self.moment(), **of, **more)

    def facts(self, topic: str) -> list[Fact]:
        """In an order of their own."""
        found = []
        for told in self.events:
            data = told["data"]
            if ("order_id" in data and "product_id" not in data) == (topic == "orders"):
                fields = {
                    **{name: told[name] for name in ("id", "type", "data")},
                    "shop": "main",
                    "subject": data["order_id" if topic == "orders" else "product_id"],
                    "time": told["at"].isoformat(),
                    "received_at": (NOW + 30 * DAY).isoformat(),
                }
                event: Event = codec.decode_envelope(json.dumps(fields).encode())
                found.append(Fact(topic, 0, 0, event, codec.decode_data(event, topic)))
        self.random.shuffle(found)
        return [replace(fact, offset=offset) for offset, fact in enumerate(found)]


async def apply(pool: Pool, group: str, clock: ShopClock, facts: Sequence[Fact]) -> None:
    """Reads them in batches of any size: the small ones are written in one statement."""
    store = GroupStore(pool, group, steps_of(group), clock)
    await store.register()
    partition = Partition(facts[0].topic, 0)
    await store.progress({partition: UUID(int=7)})
    sizes, at = Random(len(facts)), 0
    while at < len(facts):
        some = facts[at : at + sizes.choice([1, 7, 60, 300])]
        end = at + len(some)
        part = Part(partition, at, end, some, (), (), end, end)
        await store.commit(await store.prepare(Batch([part], seek=1)))
        at = end


class Shop:
    """What was told, and the reports that are made of it."""

    def __init__(self, pool: Pool, zone: str, told: Told) -> None:
        self.pool, self.zone, self.told = pool, ZoneInfo(zone), told
        self.moment = Moment(ShopClock(self.zone), NOW)

    async def ask(self, name: str, **asked: Any) -> Rows:
        report = REPORTS[name]
        question = report.asked.model_validate(asked)
        rows = await report.rows(self.pool, self.moment, question)
        named = {column.name for column in report.columns(question)}
        assert all(row.keys() == named for row in rows)
        keys = [tuple(row[name] for name in report.key(question)) for row in rows]
        assert len(set(keys)) == len(keys)
        return [dict(row) for row in rows]

    def day(self, at: datetime) -> date:
        return at.astimezone(self.zone).date()

    def of(self, *kinds: str) -> Iterable[Mapping[str, Any]]:
        return (one for one in self.told.events if one["type"] in kinds)

    def units(self, by: str) -> dict[tuple[Any, date], int]:
        found: dict[tuple[Any, date], int] = Counter()
        for one in self.of("OrderCompleted"):
            for line in one["data"]["products"]:
                key = one["data"]["country"] if by == "country" else line.get(by, "")
                found[key, self.day(one["at"])] += line["quantity"]
        return found

    def levels(self, by: str = "variant") -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        on_hand = {"StockReceived": 1, "StockAdjusted": 1, "StockShipped": -1}
        reserved = {"StockReserved": 1, "StockReleased": -1, "StockShipped": -1}
        for one in self.told.events:
            if one["type"].startswith("Stock"):
                level, units = found[one["data"][by]], one["data"].get("quantity", 0)
                level["on_hand"] += units * on_hand.get(one["type"], 0)
                level["reserved"] += units * reserved.get(one["type"], 0)
        return found

    def thresholds(self) -> dict[str, int | None]:
        changes = self.of("StockThresholdChanged")
        by_time = sorted(changes, key=lambda one: (one["at"], one["id"]))
        return {one["data"]["variant"]: one["data"]["threshold"] for one in by_time}


@asynccontextmanager
async def opened(zone: str, servers: Servers, home: Path) -> AsyncIterator[Shop]:
    """A shop of which all is told, and read."""
    settings = settings_for(servers, home)
    await migrate(servers.postgres, settings.schema_name)
    pool = await connect(servers.postgres, settings.schema_name)
    told = Told(seed=7)
    for number in range(150):
        told.order(number)
    for _ in range(120):
        told.stock()
        told.review()
    found = Shop(pool, zone, told)
    await apply(pool, "sales", found.moment.clock, told.facts("orders"))
    await apply(pool, "activity", found.moment.clock, told.facts("catalog"))
    yield found
    pool.terminate()


def number(value: Fraction | None) -> str | None:
    """In six places, halves to even, as JSON has it."""
    if value is None:
        return None
    text = f"{Decimal(round(value * 10**6)).scaleb(-6):f}"
    return text.rstrip("0").rstrip(".") or "0"
