"""Visitors, funnel and carts in Postgres: whatever the order, the batches and the repetitions of
events, and several workers at once, they are what a recount of the set of events says."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from app.settings import Settings
from app.subscriptions import steps_of
from projections import cart_standing, live_view, traffic
from projections.clock import ShopClock
from projections.postgres import connect, migrate
from projections.read_model import Folded, Setting, write_alone
from streams.codec import Fact
from streams.events import Event
from tests.traffic import AT, Recount, facts, happened

Pool = asyncpg.Pool
STEPS = steps_of("activity")
OURS = ("visitor_links", "visitor_hours", "funnel", "cart_activity", "cart_lines")
NOW = AT + timedelta(hours=9)
SILENCE = timedelta(hours=3)


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    await migrate(settings.servers.postgres, settings.schema_name)
    found = await connect(settings.servers.postgres, settings.schema_name)
    yield found
    found.terminate()


def history(random: Random, count: int) -> list[Event]:
    """Visits of a few people under several names, some of them robots, over a change of the
    clock."""
    people, visitors, carts = ["ada", "bob", None], ["v1", "v2", "ada"], ["c1", "c2", "c3", "c4"]
    products = ["mug", "pen", "rug"]
    events = []
    for number in range(count):
        cart, visitor = random.choice(carts), random.choice(visitors)
        line = {"product_id": random.choice(products), "price": random.choice(["1.50", "2", "7"])}
        order = {"order_id": random.choice(["o1", "o2", "o3"]), "currency": "EUR"}
        lines = [line, {"product_id": random.choice(products), "price": "3"}]
        quantity = random.randint(1, 3)
        in_cart = {**line, "quantity": quantity, "cart_id": cart, "currency": "EUR"}
        if random.random() < 0.2:
            in_cart |= {"currency": "GBP"}
        told: list[tuple[str, str, dict[str, Any]]] = [
            ("ProductViewed", visitor, line),
            ("ProductViewed", visitor, line),
            ("ProductsSearched", visitor, {}),
            ("ProductAdded", cart, in_cart),
            ("ProductAdded", cart, in_cart),
            ("ProductRemoved", cart, in_cart),
            ("CartViewed", cart, {"cart_id": cart}),
            ("CheckoutStarted", order["order_id"], {**order, "products": lines}),
            ("OrderCompleted", order["order_id"], {**order, "products": lines}),
            ("OrderShipped", order["order_id"], {"order_id": order["order_id"]}),
            ("CartRepriced", cart, {"cart_id": cart, "products": [line]}),
            ("CartAbandoned", cart, {"cart_id": cart}),
            ("CartRevived", cart, {"cart_id": cart}),
        ]
        kind, subject, data = random.choice(told)
        if kind == "OrderCompleted" and random.random() < 0.3:
            data = {**data, "cart_id": cart}
        ours = kind in ("CartRepriced", "CartAbandoned", "CartRevived")
        context: dict[str, Any] = {}
        if random.random() < 0.4:
            context["visitor"] = random.choice(visitors)
        if random.random() < 0.3:
            context["source"] = random.choice(["mail", "ads"])
        if random.random() < 0.3:
            context["country"] = random.choice(["DE", "FR"])
        if random.random() < 0.1:
            context["bot"] = True
        person = random.choice(people)
        events.append(
            happened(
                kind,
                f"e{number}",
                subject,
                random.randint(-1500, 480),
                data=data,
                **({"person": person} if person else {}),
                **({"context": context} if context else {}),
                **({"source": "shop"} if ours else {}),
            )
        )
    return events


async def fold(pool: Pool, batch: Sequence[Fact], clock: ShopClock) -> None:
    """What a worker does with a batch, without the log."""
    setting = Setting(clock, datetime(9999, 1, 1, tzinfo=UTC))
    folded: dict[str, Folded] = {}
    async with pool.acquire() as connection, connection.transaction():
        for model, topics, of in STEPS:
            if model.name not in OURS:
                continue
            given = folded[of].changes if of else [f for f in batch if f.topic in topics]
            folded[model.name] = model.fold(given, {}, setting)
            if folded[model.name].rows:
                assert model.write is not None
                await write_alone(connection, model.write, folded[model.name].rows, setting)


def counted(rows: Sequence[Any], names: Sequence[str]) -> dict[tuple[str, str], dict[str, int]]:
    """Rows that count anything, by day and key."""
    found = {}
    for row in rows:
        key = row.get("key0", "")
        if any(row[name] for name in names):
            found[row["period"].isoformat(), key] = {name: row[name] for name in names}
    return found


COUNTS = (
    *("viewed", "added", "checkout", "ordered"),
    *("viewed_visitors", "added_visitors", "checkout_visitors", "ordered_visitors"),
    *("added_passed", "checkout_passed", "ordered_passed", "converted"),
)


@pytest.mark.parametrize("seed", range(12))
async def test_any_order_any_cut_and_several_at_once_come_to_the_recount(
    pool: Pool, seed: int
) -> None:
    random = Random(seed)
    zone = random.choice(["UTC", "Europe/Berlin", "Asia/Kolkata"])
    clock = ShopClock(ZoneInfo(zone))
    events = history(random, random.choice([3, 20, 60, 150]))
    log = facts(random.sample(events, len(events)))
    cuts = sorted({0, len(log), *(random.randint(0, len(log)) for _ in range(6))})
    batches = [log[start:end] for start, end in pairwise(cuts)]
    await asyncio.gather(*(fold(pool, batch, clock) for batch in batches))
    for bots in (False, True):
        await compare(pool, clock, Recount(events, zone), bots=bots)


async def compare(pool: Pool, clock: ShopClock, recount: Recount, *, bots: bool) -> None:
    asked = traffic.Range("main", None, None, "day", (), {}, "only" if bots else "exclude")
    for by in ("", "product", "source", "country"):
        rows = await traffic.funnel(pool, asked._replace(by=(by,) if by else ()))
        assert counted(rows, COUNTS) == recount.funnel(by, bots=bots)
    rows = await traffic.visitors(pool, clock, asked)
    found = {row["period"].isoformat(): row["visitors"] for row in rows if row["visitors"]}
    assert found == recount.visitors(bots=bots)
    if bots:
        return
    rows = await cart_standing.carts(pool, clock, asked, None, NOW - SILENCE)
    carts: dict[tuple[str, str], Mapping[str, Any]] = {
        (row["period"].isoformat(), row["currency"]): {
            name: row[name] for name in CARTS if row[name]
        }
        for row in rows
        if row["carts"]
    }
    wanted = recount.carts(NOW, SILENCE)
    assert carts == {
        key: {name: value for name, value in row.items() if value} for key, row in wanted.items()
    }


CARTS = (
    *("carts", "ordered", "abandoned", "open"),
    *("ordered_value", "abandoned_value", "open_value"),
)


async def test_names_lead_from_an_order_to_its_cart_its_visitor_and_the_person(pool: Pool) -> None:
    clock = ShopClock(ZoneInfo("UTC"))
    line = {"product_id": "mug", "price": "2"}
    order = {"order_id": "o1", "currency": "EUR", "products": [line], "cart_id": "c1"}
    shop = f"main-{uuid4().hex[:4]}"  # another shop's names are not these
    events = [
        happened("ProductViewed", "e1", "v1", data=line),
        happened("OrderCompleted", "e2", "o1", 9, data=order),
        happened("ProductAdded", "e3", "c1", 3, data={**line, "cart_id": "c1"}),
        happened("ProductViewed", "e4", "v9", data=line, shop=shop, person="eve"),
    ]
    await fold(pool, facts(events), clock)
    asked = traffic.Range("main", None, None, "total", (), {})
    assert (await traffic.funnel(pool, asked))[0]["converted"] == 0
    linked = happened(
        "CartViewed", "e5", "c1", 4, data={"cart_id": "c1"}, context={"visitor": "v1"}
    )
    await fold(pool, facts([linked]), clock)
    assert (await traffic.funnel(pool, asked))[0]["converted"] == 1
    before = await traffic.visitors(pool, clock, asked)
    assert [row["visitors"] for row in before] == [1]
    known = happened("ProductViewed", "e6", "v1", 20, data=line, person="ada")
    other = happened("ProductViewed", "e7", "phone", 21, data=line, person="ada")
    await fold(pool, facts([known, other]), clock)
    assert [row["visitors"] for row in await traffic.visitors(pool, clock, asked)] == [1]


async def test_today_is_held_against_the_same_time_of_a_week_ago_by_the_shops_clock(
    pool: Pool,
) -> None:
    """On the day when Berlin's clock goes back, in the hour that comes twice."""
    sales = {
        "2026-10-17T21:59Z": 1,  # before that day
        "2026-10-17T22:00Z": 2,
        "2026-10-18T00:14Z": 4,
        "2026-10-18T00:15Z": 8,  # after that time
        "2026-10-24T21:59Z": 16,
        "2026-10-24T22:00Z": 32,
        "2026-10-25T01:15Z": 64,
    }
    await pool.executemany(
        "INSERT INTO sales_minutes VALUES ('main', $1, 'DE', 'EUR', $2, 0, 0, 1)",
        [(datetime.fromisoformat(at), gross) for at, gross in sales.items()],
    )
    clock = ShopClock(ZoneInfo("Europe/Berlin"))
    now = datetime(2026, 10, 25, 1, 15, 30, tzinfo=UTC)  # a quarter past two, for the second time
    (row,) = await live_view.live_sales(pool, clock, "main", now)
    assert (row["net"], row["orders"]) == (96, 2)
    assert (row["net_before"], row["orders_before"]) == (6, 2)
