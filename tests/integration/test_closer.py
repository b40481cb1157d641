"""The closer on a real Postgres, beside folds that commit: what it told is what was sold."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from msgspec.structs import replace

from app.settings import Settings
from projections.clock import ShopClock
from projections.closer import Closer
from projections.closing import Rules, recall
from projections.day_tables import notes, take_away
from projections.days import LEVELS, days, note_complete
from projections.postgres import connect, connect_alone, migrate
from projections.revenue import revenue
from projections.store import GroupStore
from streams import codec, money
from streams.events import Event
from streams.exclusive import Connection
from tests.integration.test_store import apply, life, opened, part
from tests.sales import AT, line, said

BERLIN = ShopClock(ZoneInfo("Europe/Berlin"))
SETTLE, GRACE = timedelta(seconds=30), timedelta(hours=1)
RULES = Rules(BERLIN, GRACE, SETTLE)
DAY = timedelta(days=1)
FIRST = date(2026, 3, 1)  # of `AT`, in Berlin

Pool = asyncpg.Pool


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    await migrate(settings.servers.postgres, settings.schema_name)
    found = await connect(settings.servers.postgres, settings.schema_name, size=8)
    async with asyncio.timeout(60):
        yield found
        await found.close()


@pytest.fixture
async def store(pool: Pool) -> GroupStore:
    return await opened(pool, clock=BERLIN)


@pytest.fixture
async def connection(settings: Settings, pool: Pool) -> AsyncIterator[Connection]:
    found = await connect_alone(settings.servers.postgres, settings.schema_name)
    yield found
    await found.close()


class Hands:
    """Turns the closer and the clock by hand: two partitions, complete up to its own now."""

    def __init__(self, settings: Settings, pool: Pool, connection: Connection) -> None:
        self.pool = pool
        self.connection = connection
        self._passed = timedelta(0)
        alone = partial(connect_alone, settings.servers.postgres, settings.schema_name)
        self.closer = Closer(alone, RULES, 2, self.told, now=lambda: self.now)

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) + self._passed

    async def turn(self, after: timedelta = timedelta(0)) -> None:
        """Lets time pass for partitions and closer, then turns until there is no more to do."""
        self._passed += after
        await self.pool.execute("UPDATE progress SET complete_to = $1", self.now)
        while await self.closer.turn(self.connection):
            pass

    async def told(self) -> list[Event]:
        """What is on its way to the log."""
        rows = await self.pool.fetch("SELECT event FROM outbox ORDER BY id")
        return [codec.decode_envelope(row["event"]) for row in rows]

    async def spoken(self) -> list[tuple[str, str]]:
        """The kinds and dates of what was told, in order."""
        return [(event.type.removeprefix("Day"), event.subject) for event in await self.told()]


@pytest.fixture
def hands(settings: Settings, pool: Pool, store: GroupStore, connection: Connection) -> Hands:
    return Hands(settings, pool, connection)


def sale(number: int, day: float, price: str = "2.50", shop: str = "main") -> Event:
    """A sale of a mug, so many days after the first."""
    event = said(
        "OrderCompleted",
        f"o{number}",
        event_id=f"e{number}",
        minutes=day * 24 * 60,
        shop=shop,
        currency="EUR",
        products=[line("mug", price, category="kitchen")],
    )
    return replace(event, received_at=event.time)


async def sales_by_day(transaction: Any, shop: str, level: str) -> list[dict[str, Any]]:
    """What was sold on each day at a level; `revenue` tells it of hours, but of no variant."""
    if level != "variant":
        return await revenue(transaction, BERLIN, shop=shop, by=level)
    rows = await transaction.fetch(
        """
        SELECT period, key, currency, gross, discounts, refunds, orders, units FROM sales_periods
        WHERE shop = $1 AND grain = 'day' AND dimension = 'variant'
        """,
        shop,
    )
    amounts = ("gross", "discounts", "refunds")
    return [
        {
            "day": row["period"].isoformat(),
            "variant": row["key"] or None,
            "currency": row["currency"],
            **{name: money.text(money.from_decimal(row[name])) for name in amounts},
            "net": money.text(money.from_decimal(row["gross"] - row["discounts"] - row["refunds"])),
            "orders": row["orders"],
            "units": row["units"],
        }
        for row in rows
    ]


async def agrees(pool: Pool, events: Iterable[Event], shop: str = "main") -> None:
    """Whether the log of days, and the table, come to what read models have of the same days."""
    told = {day: one for (of, day), one in recall(events) if of == shop}
    async with pool.acquire() as transaction:
        for level in LEVELS:
            sold = await sales_by_day(transaction, shop, level)
            kept = await days(transaction, shop=shop, level=level)
            names = ("gross", "discounts", "refunds", "net", "orders", "units")
            expected: dict[Any, Any] = defaultdict(lambda: ["0.00"] * 4 + [0] * 2)
            for row in sold:
                key = (row["day"], row.get(level), row["currency"])
                expected[key] = [row[name] for name in names]
            found = {
                (row["day"], row.get(level), row["currency"]): [row[name] for name in names]
                for row in kept
            }
            assert found == {key: expected[key] for key in found}
            missing = {key for key in expected if key not in found and any(expected[key][4:])}
            assert not {key for key in missing if date.fromisoformat(key[0]) in told}
            in_log = {
                (day.isoformat(), series.key or None if level != "total" else None, series.currency)
                for day, one in told.items()
                for series in one.figures
                if series.level == level
            }
            assert in_log <= set(found)
    revisions = await pool.fetch("SELECT day, revision FROM days WHERE shop = $1", shop)
    assert [(day, told[day].revision) for day in sorted(told)] == sorted(map(tuple, revisions))


async def test_days_close_in_order_with_zeros_and_the_positions_they_are_complete_to(
    hands: Hands, store: GroupStore
) -> None:
    await apply(store, part([sale(1, 0)]), part([sale(2, 3), sale(3, 3)], number=1))
    await hands.turn()
    assert await hands.spoken() == []
    await hands.turn(SETTLE)
    assert await hands.spoken() == [("Closed", f"2026-03-0{n}") for n in (1, 2, 3)]
    # Of the last day nobody knows whether it was all; after a long silence it is.
    await hands.turn(GRACE)
    told = await hands.told()
    assert [event.subject for event in told][3:] == ["2026-03-04"]
    data = codec.decode_data(told[0], "days")
    assert data.positions == {"orders:0": 1, "orders:1": 2}  # type: ignore[attr-defined]
    rows = await days(hands.pool, shop="main", level="category", keys=["kitchen"])
    assert [(row["day"], row["category"], row["gross"], row["orders"]) for row in rows] == [
        ("2026-03-01", "kitchen", "2.50", 1),
        ("2026-03-02", "kitchen", "0.00", 0),
        ("2026-03-03", "kitchen", "0.00", 0),
        ("2026-03-04", "kitchen", "5.00", 2),
    ]
    await agrees(hands.pool, told)
    assert await notes(hands.pool) == {}


async def test_an_import_that_says_it_is_complete_closes_its_last_day_at_once(
    hands: Hands, store: GroupStore
) -> None:
    await apply(store, part([sale(1, 0), sale(2, 1)]))
    await note_complete(hands.pool, "main")
    await hands.turn(timedelta(seconds=1))
    assert await hands.spoken() == [("Closed", "2026-03-01"), ("Closed", "2026-03-02")]


async def test_late_sales_and_refunds_correct_a_day_once_they_have_settled(
    hands: Hands, store: GroupStore
) -> None:
    await apply(store, part([sale(1, 0), sale(2, 1)]))
    await hands.turn(GRACE)
    await apply(store, part([sale(3, 0, "1.00")], first=2))
    back = said("OrderRefunded", "o1", event_id="r1", currency="EUR", total="0.50")
    await apply(store, part([back], first=3))
    await hands.turn(-GRACE)  # to the moment of the folds
    assert len(await hands.told()) == 2
    await hands.turn(SETTLE)
    told = await hands.told()
    assert await hands.spoken() == [
        ("Closed", "2026-03-01"),
        ("Closed", "2026-03-02"),
        ("Corrected", "2026-03-01"),
    ]
    [first, second] = await days(hands.pool, shop="main")
    assert (first["net"], first["status"], first["revision"]) == ("3.00", "corrected", 1)
    assert (second["net"], second["status"], second["revision"]) == ("2.50", "closed", 0)
    await agrees(hands.pool, told)


async def test_what_changes_no_figure_corrects_nothing(hands: Hands, store: GroupStore) -> None:
    await apply(store, part([sale(1, 0), sale(2, 1)]))
    await hands.turn(GRACE)
    # The order now belongs to another channel, which no level tells of.
    update = said(
        "OrderUpdated",
        "o1",
        event_id="u1",
        minutes=1,
        channel="phone",
        products=[line("mug", "2.50", category="kitchen")],
    )
    adjusted = said("SalesAdjusted", "o1", event_id="a1", minutes=2, amount="-1.00")
    await apply(store, part([update, adjusted], first=2))
    assert await notes(hands.pool)
    await hands.turn(GRACE + SETTLE)
    assert len(await hands.told()) == 2
    assert await notes(hands.pool) == {}


async def test_a_series_that_is_taken_back_is_told_as_zero(hands: Hands, store: GroupStore) -> None:
    await apply(store, part([sale(1, 0), sale(2, 1)]))
    await hands.turn(GRACE)
    update = said(
        "OrderUpdated", "o1", event_id="u1", minutes=1, products=[line("mug", "2", category="bath")]
    )
    await apply(store, part([update], first=2))
    await hands.turn(GRACE + SETTLE)
    told = await hands.told()
    data = codec.decode_data(told[-1], "days")
    assert {(one.level, one.key): str(one.gross) for one in data.figures} == {  # type: ignore[attr-defined]
        ("total", ""): "2.00",
        ("country", ""): "2.00",
        ("category", "kitchen"): "0.00",
        ("category", "bath"): "2.00",
        ("product", "mug"): "2.00",
        ("variant", "mug"): "2.00",
    }
    await agrees(hands.pool, told)


async def test_nothing_closes_before_every_partition_was_read(
    hands: Hands, store: GroupStore, pool: Pool
) -> None:
    await apply(store, part([sale(1, 0), sale(2, 1)]))
    await pool.execute("UPDATE progress SET complete_to = $1", hands.now)
    later = hands.now + GRACE
    await pool.execute("UPDATE progress SET complete_to = $1 WHERE partition = 0", later)
    await hands.closer.turn(hands.connection)
    assert await hands.told() == []
    await pool.execute("DELETE FROM progress WHERE partition = 1")
    await hands.closer.turn(hands.connection)
    assert await hands.told() == []


async def test_shops_do_not_touch_each_others_days(hands: Hands, store: GroupStore) -> None:
    """One sells today; into another its history is read, at full speed."""
    today = BERLIN.day(BERLIN.hour(hands.now))
    now = sale(99, (hands.now - AT) / DAY, shop="live")
    old = [sale(n, n, shop="old") for n in range(20)]
    await apply(store, part([now]), part(old, number=1))
    await note_complete(hands.pool, "old")
    await hands.turn(timedelta(seconds=1))
    told = await hands.told()
    assert {event.shop for event in told} == {"old"}
    assert len(told) == 20
    ended = BERLIN.midnight(today + DAY) + GRACE
    await hands.turn(ended - hands.now - timedelta(seconds=5))
    assert len(await hands.told()) == 20
    await hands.turn(timedelta(seconds=6))
    assert [(one.shop, one.subject) for one in (await hands.told())[20:]] == [
        ("live", today.isoformat())
    ]
    # It is live: of its days without sales nobody needs to be told.
    await hands.turn(3 * DAY)
    assert len(await hands.told()) == 24


async def test_a_note_that_was_renewed_meanwhile_is_not_taken_away(
    hands: Hands, store: GroupStore, pool: Pool
) -> None:
    await apply(store, part([sale(1, 0)]))
    seen = [("main", note) for note in (await notes(pool))["main"]]
    await apply(store, part([sale(2, 0)], first=1))
    await take_away(hands.connection, seen)
    [renewed] = (await notes(pool))["main"]
    assert renewed.when.first_at < renewed.when.last_at
    # Nor one that a fold is about to renew.
    async with pool.acquire() as other, other.transaction():
        await other.execute("UPDATE day_changes SET last_at = now()")
        async with asyncio.timeout(30):
            await take_away(hands.connection, [("main", renewed)])
    assert await notes(pool)
    await take_away(hands.connection, [("main", renewed)])
    assert await notes(pool) == {}


async def test_after_a_rebuild_the_days_are_those_of_the_log_and_nothing_is_told_again(
    hands: Hands, store: GroupStore, pool: Pool, settings: Settings
) -> None:
    sales = [sale(n, n % 5) for n in range(20)]
    await apply(store, part(sales))
    await hands.turn(GRACE)
    await apply(store, part([sale(20, 2)], first=20))
    await hands.turn(GRACE)
    told = await hands.told()
    before = await days(pool, shop="main")
    assert len(told) == 6

    async def log() -> list[Event]:
        return told

    await pool.execute(
        "TRUNCATE days, day_figures, day_series, day_shops, day_changes, day_histories, outbox, "
        "orders, revenue, best_sellers, sales_periods, sales_lines, progress"
    )
    again = await opened(pool, clock=BERLIN)
    alone = partial(connect_alone, settings.servers.postgres, settings.schema_name)
    hands.closer = Closer(alone, RULES, 2, log, now=lambda: hands.now)
    await hands.closer.recall(hands.connection)
    assert await days(pool, shop="main") == before
    # The log is read anew, a part first: what that comes to is not told.
    await apply(again, part(sales[:9]))
    await hands.closer.turn(hands.connection)
    await apply(again, part([*sales[9:], sale(20, 2)], first=9))
    await hands.turn(GRACE)
    assert await hands.told() == []
    # And goes on from there.
    await apply(again, part([sale(21, 2), sale(22, 7)], first=21))
    await hands.turn(2 * GRACE)
    assert await hands.spoken() == [
        ("Closed", "2026-03-06"),
        ("Closed", "2026-03-07"),
        ("Closed", "2026-03-08"),
        ("Corrected", "2026-03-03"),
    ]
    [correction] = (await hands.told())[3:]
    assert codec.decode_data(correction, "days").revision == 2  # type: ignore[attr-defined]
    await agrees(pool, [*told, *await hands.told()])


@asynccontextmanager
async def closing(*closers: Closer) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(one.run()) for one in closers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("seed", range(3))
async def test_beside_folds_that_go_on_nothing_is_missed_and_nothing_told_twice(
    settings: Settings, pool: Pool, seed: int
) -> None:
    """Two closers, of which one works, in a hurry; events that change the same days over and over;
    and a closer that is killed again and again."""
    store = await opened(pool, clock=BERLIN)
    random = Random(seed)
    events = life(random, 30, 400)
    alone = partial(connect_alone, settings.servers.postgres, settings.schema_name)
    hurry = Rules(BERLIN, timedelta(0), timedelta(milliseconds=20))

    async def nothing() -> list[Event]:
        return []

    async def tick() -> None:
        while True:
            await pool.execute("UPDATE progress SET complete_to = now()")
            await asyncio.sleep(0.02)

    ticking = asyncio.create_task(tick())
    closers = [Closer(alone, hurry, 2, nothing) for _ in range(2)]
    done, offset = 0, 0
    while done < len(events):
        async with closing(*closers):
            for _ in range(8):
                size = random.randrange(1, 12)
                await apply(store, part(events[done : done + size], first=offset))
                done += size
                offset += len(events[done - size : done])
                await asyncio.sleep(random.random() / 20)
    async with closing(closers[0]), asyncio.timeout(20):
        while await notes(pool):
            await asyncio.sleep(0.1)
    ticking.cancel()
    rows = await pool.fetch("SELECT event FROM outbox ORDER BY id")
    told = [codec.decode_envelope(row["event"]) for row in rows]
    assert len({event.id for event in told}) == len(told)
    assert any(event.type == "DayCorrected" for event in told)
    await agrees(pool, told)
