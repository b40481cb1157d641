"""The store: a batch and its offsets are one transaction, applied once or not at all."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from msgspec.structs import replace

from app.settings import Settings
from app.subscriptions import steps_of
from projections import at_once
from projections.best_sellers import RANKINGS, best_sellers
from projections.clock import ShopClock
from projections.live import Publisher
from projections.orders import ORDERS, order
from projections.postgres import connect, migrate
from projections.read_model import Figure, Folded, FoldFailed, Step
from projections.revenue import GRAINS, MEASURES, revenue
from projections.store import GroupStore, Prepared, ReadModelChanged
from streams.batch import Batch, Moved, Part, Partition, Progress, Quarantined, Transient, after
from streams.events import Event
from tests.sales import AT, booked, facts, line, recount, said

TOPIC = UUID(int=7)
BERLIN = ShopClock(ZoneInfo("Europe/Berlin"))
UTC_CLOCK = ShopClock(ZoneInfo("UTC"))

Pool = asyncpg.Pool


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    await migrate(settings.servers.postgres, settings.schema_name)
    found = await connect(settings.servers.postgres, settings.schema_name, size=8)
    async with asyncio.timeout(60):
        yield found
        await found.close()


@pytest.fixture(autouse=True, params=["one by one", "at once"])
def way_to_write(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many records are written read model by read model, a few in one statement: both must do."""
    if request.param == "one by one":
        monkeypatch.setattr(at_once, "MOST_RECORDS", 0)


@pytest.fixture
async def store(pool: Pool) -> GroupStore:
    return await opened(pool)


async def opened(pool: Pool, partitions: int = 2, clock: ShopClock = UTC_CLOCK) -> GroupStore:
    """A store that knows these partitions."""
    store = GroupStore(pool, "sales", steps_of("sales"), clock)
    await store.register()
    await store.progress({Partition("orders", n): TOPIC for n in range(partitions)})
    return store


def part(events: Iterable[Event], first: int = 0, number: int = 0) -> Part:
    """These events as the next records of a partition."""
    read = [replace(fact, partition=number, offset=first + fact.offset) for fact in facts(events)]
    return Part(
        Partition("orders", number),
        first=first,
        next=first + len(read),
        facts=read,
        quarantined=(),
        repeated=(),
        last_digest=first + len(read),
        until_ms=int(AT.timestamp() * 1000) + first,
    )


def batch(*parts: Part) -> Batch:
    return Batch(parts, seek=1)


async def apply(store: GroupStore, *parts: Part) -> None:
    await store.commit(await store.prepare(batch(*parts)))


async def progress(pool: Pool) -> dict[int, tuple[int, int, int, int]]:
    """Next offset, applied, repeated, quarantined, by partition."""
    rows = await pool.fetch("SELECT * FROM progress")
    return {
        row["partition"]: (
            row["next_offset"],
            row["applied"],
            row["repeated"],
            row["quarantined"],
        )
        for row in rows
    }


def life(random: Random, orders: int, length: int) -> list[Event]:
    """What happens to a few orders: every event concerns one of them, and so do its neighbours."""
    events = []
    for n in range(length):
        kind = random.choice(
            ["OrderCompleted", "OrderUpdated", "OrderRefunded", "OrderCancelled", "OrderPlaced"]
        )
        sold = [
            line(
                f"p{random.randrange(4)}", f"{random.randrange(1, 9)}.{random.randrange(99):02}", 2
            )
            for _ in range(random.randrange(1, 3))
        ]
        more: dict[str, Any] = {} if kind == "OrderCancelled" else {"products": sold}
        if kind == "OrderRefunded" and random.random() < 0.7:
            more = {"total": "0.50"}
        number = random.randrange(orders)
        events.append(
            said(kind, f"o{number}", event_id=f"e{n}", minutes=random.randrange(200), **more)
        )
    return events


SALE = said("OrderCompleted", currency="EUR", products=[line("p1", "2.55", 2, name="One")])
REFUND = said("OrderRefunded", event_id="e2", minutes=1, currency="EUR", total="1.00")


async def test_a_partition_that_was_never_read_begins_at_nothing_of_its_topic(pool: Pool) -> None:
    store = GroupStore(pool, "sales", steps_of("sales"), UTC_CLOCK)
    wanted = {Partition("orders", n): TOPIC for n in range(3)}
    begun = dict.fromkeys(wanted, Progress(0, TOPIC, None))
    assert await store.progress(wanted) == begun
    # Another id does not change what is known: whoever asks must compare.
    asked = {partition: UUID(int=8) for partition in wanted}
    assert await store.progress(asked) == begun


async def test_what_was_applied_is_known_at_the_next_start(pool: Pool, store: GroupStore) -> None:
    await apply(store, part([SALE, REFUND]))
    again = await opened(pool)
    known = await again.progress({Partition("orders", n): TOPIC for n in range(2)})
    assert known == {
        Partition("orders", 0): Progress(2, TOPIC, 2),
        Partition("orders", 1): Progress(0, TOPIC, None),
    }


async def test_a_batch_is_in_the_books_with_its_offsets_and_its_counts(
    pool: Pool, store: GroupStore
) -> None:
    events = life(Random(1), orders=5, length=40)
    bad = Quarantined(41, "e?", "data.x", "why", b"key", b"\0\xff", 1_000, "main")
    first = replace(part(events), next=43, quarantined=[bad], repeated=[40, 42])
    other = said("OrderCompleted", "elsewhere", event_id="x", products=[line("p1", "9.99")])
    await apply(store, first, part([other], number=1))
    assert await booked(pool) == recount([*events, other])
    assert await progress(pool) == {0: (43, 40, 2, 1), 1: (1, 1, 0, 0)}
    kept = await pool.fetchrow("SELECT * FROM quarantine")
    assert kept is not None
    assert tuple(kept) == (
        "sales",
        "orders",
        0,
        41,
        "e?",
        "data.x",
        "why",
        b"key",
        b"\0\xff",
        datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
        "main",
    )


async def test_a_stale_partition_rolls_back_the_others_of_its_batch(
    pool: Pool, store: GroupStore
) -> None:
    await apply(store, part([SALE]))
    before = await booked(pool)
    stale, fresh = part([SALE]), part([REFUND], number=1)
    with pytest.raises(Moved) as moved:
        await apply(store, stale, fresh)
    assert moved.value.next_offsets == {stale.partition: 1, fresh.partition: 0}
    assert await booked(pool) == before
    assert await progress(pool) == {0: (1, 1, 0, 0), 1: (0, 0, 0, 0)}
    # What is left of it is applied.
    rest = after(batch(stale, fresh), moved.value.next_offsets)
    await store.commit(await store.prepare(rest))
    assert await progress(pool) == {0: (1, 1, 0, 0), 1: (1, 1, 0, 0)}


@pytest.mark.parametrize("seed", range(3))
async def test_batches_folded_while_the_one_before_is_committed_add_up(
    pool: Pool, store: GroupStore, seed: int
) -> None:
    random = Random(seed)
    events = life(random, orders=4, length=300)
    under_way: asyncio.Task[None] | None = None
    prepared: Prepared | None = None
    first = 0
    while first < len(events):
        size = random.randrange(1, 25)
        prepared = await store.prepare(batch(part(events[first : first + size], first)), prepared)
        if under_way is not None:
            await under_way
        under_way = asyncio.create_task(store.commit(prepared))
        first += size
    assert under_way is not None
    await under_way
    assert await booked(pool) == recount(events)
    assert (await progress(pool))[0] == (300, 300, 0, 0)


# Three batches of one order, each of which counts by what the one before it has left.
PLACED = part([said("OrderPlaced", event_id="placed", country="SE", products=[line("p1", "1")])])
SOLD = part([said("OrderCompleted", event_id="sold", products=[line("p1", "1.00", 3)])], 1)
CANCELLED = part([said("OrderCancelled", event_id="cancelled", minutes=5)], 2)
WHOLE = recount(fact.event for one in (PLACED, SOLD, CANCELLED) for fact in one.facts)


async def lose_the_answer(pool: Pool, store: GroupStore, prepared: Prepared) -> None:
    """The batch is applied, but its store does not know, and tries again."""
    await (await opened(pool)).commit(prepared)
    with pytest.raises(Moved):
        await store.commit(prepared)


async def test_a_batch_folded_again_is_the_ground_for_the_next(
    pool: Pool, store: GroupStore
) -> None:
    placed = await store.prepare(batch(PLACED))
    sold = await store.prepare(batch(SOLD), placed)
    await lose_the_answer(pool, store, placed)
    # As a reader does: the next is folded while this one is committed, and folded again for that.
    _, cancelled = await asyncio.gather(store.commit(sold), store.prepare(batch(CANCELLED), sold))
    await store.commit(cancelled)
    assert await booked(pool) == WHOLE


async def test_a_batch_folded_again_does_not_build_on_the_one_after_it(
    pool: Pool, store: GroupStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise Transient("away")

    placed = await store.prepare(batch(PLACED))
    sold = await store.prepare(batch(SOLD), placed)
    await lose_the_answer(pool, store, placed)
    with monkeypatch.context() as patched:
        patched.setattr(store, "_write", away)
        with pytest.raises(Transient):
            await store.commit(sold)
        cancelled = await store.prepare(batch(CANCELLED), sold)
    await store.commit(sold)
    await store.commit(cancelled)
    assert await booked(pool) == WHOLE


async def test_what_is_left_of_a_batch_does_not_build_on_the_one_after_it(
    pool: Pool, store: GroupStore
) -> None:
    """Half of a batch turns out to be applied; the next is folded before the rest of it is."""
    half, both = PLACED, replace(SOLD, first=0, facts=[*PLACED.facts, *SOLD.facts])
    todo = batch(both)
    prepared = await store.prepare(todo)
    await apply(await opened(pool), half)
    with pytest.raises(Moved) as moved:
        await store.commit(prepared)
    cancelled = await store.prepare(batch(CANCELLED), prepared)
    rest = after(todo, moved.value.next_offsets)
    await store.commit(await store.prepare(rest))
    await store.commit(cancelled)
    assert await booked(pool) == WHOLE


@pytest.mark.parametrize("seed", range(3))
async def test_two_stores_that_race_for_the_same_partitions_apply_everything_once(
    pool: Pool, seed: int
) -> None:
    random = Random(seed)
    logs = [life(random, orders=3, length=120) for _ in range(2)]
    for number, log in enumerate(logs):  # a key lives on one partition
        logs[number] = [replace(event, subject=f"{event.subject}-{number}") for event in log]

    async def reads_on(pause: Random) -> None:
        """One worker: from the store's offsets on, in chunks of its own, to the end."""
        store = await opened(pool)
        ids = {Partition("orders", n): TOPIC for n in range(2)}
        known = await store.progress(ids)
        at = {partition.number: found.next_offset for partition, found in known.items()}
        while any(at[n] < len(log) for n, log in enumerate(logs)):
            todo = batch(
                *(
                    part(log[at[n] : at[n] + pause.randrange(1, 20)], at[n], n)
                    for n, log in enumerate(logs)
                    if at[n] < len(log)
                )
            )
            at |= {one.partition.number: one.next for one in todo.parts}
            prepared = await store.prepare(todo)
            while todo.parts:
                await asyncio.sleep(pause.random() / 500)
                try:
                    await store.commit(prepared)
                    break
                except Moved as moved:
                    todo = after(
                        todo, {p: max(n, begins(todo, p)) for p, n in moved.next_offsets.items()}
                    )
                    prepared = await store.prepare(todo)
            known = await store.progress(ids)
            at = {partition.number: found.next_offset for partition, found in known.items()}

    async with asyncio.timeout(30):
        await asyncio.gather(*(reads_on(Random(seed * 10 + n)) for n in range(3)))
    assert await progress(pool) == {0: (120, 120, 0, 0), 1: (120, 120, 0, 0)}
    assert await booked(pool) == recount([*logs[0], *logs[1]])


def begins(todo: Batch, partition: Partition) -> int:
    return next(one.first for one in todo.parts if one.partition == partition)


async def test_a_zombies_commit_is_fenced_by_the_rows_that_its_successor_locked(
    pool: Pool, store: GroupStore
) -> None:
    successor = await opened(pool)
    mine, theirs = await store.prepare(batch(part([SALE]))), part([SALE, REFUND])
    async with pool.acquire() as connection:
        async with connection.transaction():
            await connection.execute("SELECT * FROM progress FOR UPDATE")
            zombie = asyncio.create_task(store.commit(mine))
            await waits_for_a_lock(pool)
            prepared = await successor.prepare(batch(theirs))
            queued = asyncio.create_task(successor.commit(prepared))
        outcomes = await asyncio.gather(zombie, queued, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome] == [Moved]
    assert (await progress(pool))[0][0] in (1, 2)
    assert await booked(pool) == recount([SALE, REFUND][: (await progress(pool))[0][0]])


async def waits_for_a_lock(pool: Pool, count: int = 1) -> list[int]:
    """Until so many of this schema's connections wait for a row; their process ids."""
    async with asyncio.timeout(10):
        while True:
            rows = await pool.fetch(
                """
                SELECT DISTINCT pid FROM pg_locks
                WHERE NOT granted AND pid <> pg_backend_pid() AND EXISTS (
                    SELECT FROM pg_locks AS held
                    WHERE held.pid = pg_locks.pid AND held.relation = 'progress'::regclass
                )
                """
            )
            if len(rows) >= count:
                return [row["pid"] for row in rows]
            await asyncio.sleep(0.01)


async def test_a_commit_whose_connection_is_ended_is_worth_another_try(
    pool: Pool, store: GroupStore
) -> None:
    prepared = await store.prepare(batch(part([SALE])))
    async with pool.acquire() as connection:
        async with connection.transaction():
            await connection.execute("SELECT * FROM progress FOR UPDATE")
            attempt = asyncio.create_task(store.commit(prepared))
            for pid in await waits_for_a_lock(pool):
                await connection.execute("SELECT pg_terminate_backend($1)", pid)
            with pytest.raises(Transient):
                await attempt
    assert await booked(pool) == ({}, {})
    await store.commit(prepared)
    assert await booked(pool) == recount([SALE])


async def test_a_server_that_is_away_is_worth_another_try(settings: Settings, pool: Pool) -> None:
    gone = await connect(settings.servers.postgres, settings.schema_name)
    store = await opened(gone)
    await gone.close()
    with pytest.raises(Transient):
        await store.prepare(batch(part([SALE])))
    with pytest.raises(Transient):
        await store.caught_up({Partition("orders", 0): 0}, AT)
    with pytest.raises(Transient):
        await store.live_figures()


async def test_data_that_postgres_refuses_is_not_worth_another_try(
    pool: Pool, store: GroupStore
) -> None:
    prepared = await store.prepare(batch(part([SALE])))
    rows = [("main", "o1", "completed", "no JSON", 1, None, None, None, None)]
    wrong = dataclasses.replace(prepared, folded={**prepared.folded, "orders": Folded(rows)})
    with pytest.raises(Exception, match="json") as refused:
        await store.commit(wrong)
    assert not isinstance(refused.value, Transient)
    assert (await progress(pool))[0] == (0, 0, 0, 0)


async def test_an_event_whose_row_postgres_refuses_is_named(pool: Pool, store: GroupStore) -> None:
    await pool.execute("ALTER TABLE orders ADD CHECK (order_id NOT IN ('o7', 'o9'))")
    sold = [
        said("OrderCompleted", f"o{n}", event_id=f"e{n}", products=[line("p1", "1.00")])
        for n in range(12)
    ]
    prepared = await store.prepare(batch(part(sold[:4]), part(sold[4:], number=1)))
    with pytest.raises(FoldFailed, match="orders failed on OrderCompleted e7 at orders:1:3"):
        await store.commit(prepared)
    assert await pool.fetchval("SELECT count(*) FROM orders") == 0


async def test_the_watermark_of_an_idle_partition_moves_only_where_it_stands(
    pool: Pool, store: GroupStore
) -> None:
    await apply(store, part([SALE]), part([REFUND], number=1))
    later = AT + timedelta(hours=1)
    await store.caught_up({Partition("orders", 0): 1, Partition("orders", 1): 7}, later)
    rows = await pool.fetch("SELECT complete_to FROM progress ORDER BY partition")
    assert [row["complete_to"] for row in rows] == [later, AT]
    await store.caught_up({Partition("orders", 0): 1}, AT)
    assert await pool.fetchval("SELECT max(complete_to) FROM progress") == later


async def test_a_group_that_has_no_progress_row_any_more_stops(
    pool: Pool, store: GroupStore
) -> None:
    prepared = await store.prepare(batch(part([SALE])))
    await pool.execute("DELETE FROM progress")
    with pytest.raises(Moved) as moved:
        await store.commit(prepared)
    with pytest.raises(Exception, match="(?i)store"):
        after(prepared.batch, moved.value.next_offsets)


async def test_a_read_model_of_another_version_than_its_table_is_refused(
    pool: Pool, store: GroupStore
) -> None:
    assert await store.register() == {step.model.name: 1 for step in steps_of("sales")}
    await pool.execute("UPDATE read_models SET generation = 4 WHERE name = 'revenue'")
    assert (await store.register())["revenue"] == 4
    newer = GroupStore(pool, "sales", [Step(replace(ORDERS, version=9), ("orders",))], UTC_CLOCK)
    with pytest.raises(ReadModelChanged, match="orders is version 2 here, the code is version 9"):
        await newer.register()


async def test_the_greatest_amounts_that_an_event_may_tell_are_exact(
    pool: Pool, store: GroupStore
) -> None:
    most = [
        said(
            "OrderCompleted",
            f"o{n}",
            event_id=f"e{n}",
            currency="VND",
            products=[line("p1", "999999999999.9999", 10_000_000, name="Everything")] * 3,
        )
        for n in range(4)
    ]
    lost = said("SalesAdjusted", "o1", event_id="a", currency="VND", amount="-1000000000000")
    await apply(store, part(most[:2]))
    await apply(store, part([*most[2:], lost], first=2))
    assert await booked(pool) == recount([*most, lost])
    [row] = await revenue(pool, UTC_CLOCK, shop="main", grain="total")
    assert row["gross"] == "119999999999999988000.00"
    [row] = await best_sellers(pool, shop="main")
    assert row["net"] == "119999999999999988000.00"
    assert len(await store.live_figures()) == 0


async def test_revenue_is_asked_for_by_period_dimension_and_currency(pool: Pool) -> None:
    """Over the day of 25 hours, in the shop's own time."""
    store = await opened(pool, clock=BERLIN)
    start = datetime(2026, 10, 24, 12, tzinfo=UTC)
    events = [
        replace(
            said(
                "OrderCompleted",
                f"o{n}",
                event_id=f"e{n}",
                currency="EUR" if n % 4 else "GBP",
                country=["DE", "FR", ""][n % 3] or None,
                products=[line(f"p{n % 3}", "1.01", n % 5 + 1, category="c")],
            ),
            time=start + timedelta(minutes=20 * n),
            received_at=start + timedelta(days=9),
        )
        for n in range(160)
    ]
    await apply(store, part(events))
    figures, _ = recount(events, "Europe/Berlin")
    for grain in GRAINS:
        for by in ("total", "country", "product", "category"):
            wanted: dict[tuple[Any, ...], dict[str, int]] = {}
            for (_, dimension, hour, key, currency), measures in figures.items():
                local = datetime.fromtimestamp(hour, BERLIN.zone)
                period = {
                    "total": None,
                    "hour": local.isoformat(),
                    "day": local.date().isoformat(),
                    "month": f"{local:%Y-%m}",
                }[grain]
                if dimension == by:
                    row = wanted.setdefault((period, key, currency), dict.fromkeys(MEASURES, 0))
                    for measure, amount in measures.items():
                        row[measure] += amount
            found = {
                (row.get(grain), row.get(by) or "", row["currency"]): {
                    measure: amounts(row[measure]) for measure in MEASURES
                }
                for row in await revenue(pool, BERLIN, shop="main", grain=grain, by=by)
            }
            assert found == wanted
    long_day = date(2026, 10, 25)
    hours = await revenue(
        pool, BERLIN, shop="main", first=long_day, last=long_day, grain="hour", currency="EUR"
    )
    assert len({row["hour"] for row in hours}) == 25
    [day] = await revenue(
        pool, BERLIN, shop="main", first=long_day, last=long_day, currency="EUR", keys=[""]
    )
    assert day["orders"] == sum(row["orders"] for row in hours)
    assert await revenue(pool, BERLIN, shop="other") == []
    assert await revenue(pool, BERLIN, shop="main", last=date(2026, 10, 23)) == []


def amounts(value: str | int) -> int:
    """A decimal string of the API in ten-thousandths, a count as it is."""
    if isinstance(value, int):
        return value
    whole, _, fraction = value.partition(".")
    return int(whole + fraction.ljust(4, "0"))


async def test_best_sellers_are_ranked_by_what_is_asked_for(pool: Pool, store: GroupStore) -> None:
    events = [
        said("OrderCompleted", "o1", event_id="1", products=[line("many", "0.01", 100)]),
        said("OrderCompleted", "o2", event_id="2", products=[line("dear", "99.00", name="Dear")]),
        said("OrderCompleted", "o3", event_id="3", products=[line("back", "150.00")]),
        said("OrderRefunded", "o3", event_id="4", minutes=1, total="149.00"),
        *(
            said("OrderCompleted", f"o{n}", event_id=f"{n}", products=[line("often", "1.00")])
            for n in range(5, 10)
        ),
    ]
    await apply(store, part(events))
    first = {
        ranking: [row["product"] for row in await best_sellers(pool, shop="main", ranking=ranking)]
        for ranking in RANKINGS
    }
    assert {ranking: products[0] for ranking, products in first.items()} == {
        "units": "many",
        "gross": "back",
        "net": "dear",
        "orders": "often",
    }
    [top] = await best_sellers(pool, shop="main", ranking="net", limit=1)
    assert (top["rank"], top["name"], top["net"], top["units"]) == (1, "Dear", "99.00", 1)
    assert await best_sellers(pool, shop="main", last=AT.date() - timedelta(days=1)) == []
    assert await best_sellers(pool, shop="main", currency="EUR") == []


async def test_an_order_is_answered_as_its_events_left_it(pool: Pool, store: GroupStore) -> None:
    await apply(store, part([SALE]))
    await apply(store, part([REFUND], first=1))
    answer = await order(pool, "main", "o1")
    assert answer is not None
    assert (answer["status"], answer["net"], answer["revision"]) == ("completed", "4.10", 2)
    assert await order(pool, "main", "o2") is None
    assert await order(pool, "other", "o1") is None


class Collected(Publisher):
    """A publisher that keeps what it is offered."""

    def __init__(self) -> None:
        self.figures: dict[tuple[str, str], Figure] = {}

    def offer(self, figures: Sequence[Figure]) -> None:
        self.figures.update({(figure.metric, figure.key): figure for figure in figures})


async def test_live_figures_are_the_new_absolute_values_of_what_a_commit_changed(
    pool: Pool,
) -> None:
    offered = Collected()
    now = AT + timedelta(hours=47)
    store = GroupStore(pool, "sales", steps_of("sales"), UTC_CLOCK, offered, lambda: now)
    await store.progress({Partition("orders", 0): TOPIC})
    old = said(
        "OrderCompleted", "old", event_id="old", minutes=-2250, products=[line("p9", "1.00")]
    )
    await apply(store, part([old, SALE]))
    await apply(store, part([REFUND], first=2))
    assert {(f.metric, f.key): f for f in await store.live_figures()} == offered.figures
    by_revision = {f.key: f for f in offered.figures.values() if f.metric == "revenue"}
    [total] = [figure for key, figure in by_revision.items() if key.startswith("total")]
    assert total.revision == 2
    assert (total.value["gross"], total.value["refunds"]) == ("5.10", "1.00")
    # What is older than two days is not live.
    assert not [key for key in by_revision if "p9" in key]
