"""Rebuilding, step by step: what is made anew, what waits for whom, what an old worker does."""

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from msgspec.structs import replace

from app.api.completeness import Figures
from app.settings import Settings
from app.subscriptions import steps_of
from projections import at_once
from projections import rebuild as rebuilding
from projections.clock import ShopClock
from projections.read_model import Folded, ReadModel, Setting, Step
from projections.rebuild import RebuildRunning, Rebuilt, rebuild
from projections.refold import Group, Source, catch_up
from projections.revenue import fold
from projections.store import GroupStore, ReadModelChanged
from streams import upcast
from streams.batch import LogChanged, Moved
from streams.events import VOCABULARY
from streams.log import Log
from streams.topics import key_of, partition_of
from tests.integration.test_store import apply, batch, part
from tests.integration.test_subscribe import PARTITIONS, append_raw, read_all, sales
from tests.sales import booked, line, recount, said

CLOCK = ShopClock(ZoneInfo("UTC"))
Pool = asyncpg.Pool


def group_of(settings: Settings, steps: Sequence[Step] = ()) -> Group:
    steps = steps or steps_of("sales")
    return Group(settings.servers.postgres, settings.schema_name, "sales", steps)


def source_of(settings: Settings, commit_records: int = 200) -> Source:
    return Source(settings.servers.kafka, settings.prefix, 500, commit_records, CLOCK)


async def rebuilt(settings: Settings, steps: Sequence[Step] = (), **options: Any) -> Rebuilt:
    async with asyncio.timeout(60):
        return await rebuild(group_of(settings, steps), source_of(settings, **options))


async def opened(pool: Pool, steps: Sequence[Step] = ()) -> GroupStore:
    store = GroupStore(pool, "sales", steps or steps_of("sales"), CLOCK)
    await store.register()
    return store


async def schemas(pool: Pool, settings: Settings) -> set[str]:
    rows = await pool.fetch(
        "SELECT nspname FROM pg_namespace WHERE nspname LIKE $1", f"{settings.schema_name}%"
    )
    return {row["nspname"] for row in rows}


async def counts(pool: Pool) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await pool.fetch("SELECT * FROM progress ORDER BY partition")]


def by_id(row: Mapping[str, Any]) -> str:
    return str(row["order_id"])


async def test_what_was_wrong_is_named_and_made_right_and_all_else_is_as_before(
    settings: Settings, pool: Pool, log: Log
) -> None:
    events = sales(400)
    await log.append(events)
    await log.append(events[100:200])  # said twice
    await append_raw(settings, [b"no event"])
    await read_all(settings, pool)
    before, orders = await counts(pool), await pool.fetch("SELECT * FROM orders")
    await pool.execute("UPDATE revenue SET gross = gross + 1 WHERE dimension = 'total'")
    await pool.execute("DELETE FROM orders WHERE order_id = 'o7'")
    await pool.execute("INSERT INTO orders VALUES ('main', 'never', 'placed', '{}', 1)")
    await pool.execute("UPDATE quarantine SET value = 'of a topic that is no more'")
    done = await rebuilt(settings)
    assert await booked(pool) == recount(events)
    # Revisions are counted up by batches, and these are others.
    again = await pool.fetch("SELECT * FROM orders")
    said, anew = ([{**row, "revision": 0} for row in rows] for rows in (orders, again))
    assert sorted(anew, key=by_id) == sorted(said, key=by_id)
    assert await counts(pool) == before
    assert [row["value"] for row in await pool.fetch("SELECT * FROM quarantine")] == [b"no event"]
    wrong = done.compared["orders"]
    missing = {one.key: one.left is None for one in wrong.examples}
    assert missing == {("main", "o7"): True, ("main", "never"): False}
    assert done.compared["revenue"].differing == len(
        {key for key in recount(events)[0] if key[1] == "total"}
    )
    assert done.compared["best_sellers"].differing == 0
    assert await schemas(pool, settings) == {settings.schema_name}
    assert (await rebuilt(settings)).compared["orders"].differing == 0


async def test_an_interrupted_rebuild_goes_on_where_it_was(
    settings: Settings, pool: Pool, log: Log
) -> None:
    events = sales(400)
    await log.append(events)
    await read_all(settings, pool)

    class Interrupted(Exception):
        pass

    def tell(done: int, of: int) -> None:
        assert of == 400
        if done >= 100:
            raise Interrupted

    with pytest.raises(Interrupted):
        await rebuild(group_of(settings), source_of(settings, commit_records=20), tell)
    assert await booked(pool) == recount(events)
    more = sales(50, start=400)
    await log.append(more)
    await read_all(settings, pool)
    done = await rebuilt(settings)
    assert 100 <= done.resumed_at < 400
    assert done.folded == 450
    assert await booked(pool) == recount([*events, *more])
    assert not any(found.differing for found in done.compared.values())


async def test_a_partition_that_is_first_read_meanwhile_is_folded_from_its_beginning(
    settings: Settings, pool: Pool, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = sales(100)
    await log.append(events)

    async def first_read(*given: Any) -> None:
        await read_all(settings, pool)
        await catch_up(*given)

    monkeypatch.setattr(rebuilding, "catch_up", first_read)
    done = await rebuilt(settings)
    assert (done.resumed_at, done.folded) == (0, 100)
    assert not any(found.differing for found in done.compared.values())
    assert await booked(pool) == recount(events)


async def test_where_the_comparison_fails_the_switch_is_done_all_the_same(
    settings: Settings, pool: Pool, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = sales(50)
    await log.append(events)
    await read_all(settings, pool)
    await pool.execute("UPDATE revenue SET gross = gross + 1")

    async def never_ends(*_: Any) -> None:
        raise TimeoutError("it took too long")

    with monkeypatch.context() as patched:
        patched.setattr(rebuilding, "compare", never_ends)
        done = await rebuilt(settings)
    assert "too long" in done.not_compared
    assert await booked(pool) == recount(events)
    assert (await rebuilt(settings)).not_compared == ""
    assert await schemas(pool, settings) == {settings.schema_name}


async def test_what_was_begun_with_other_code_is_begun_anew(
    settings: Settings, pool: Pool, log: Log
) -> None:
    await log.append(sales(100))
    await read_all(settings, pool)

    def interrupted(_done: int, _of: int) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await rebuild(group_of(settings), source_of(settings), interrupted)
    assert (await rebuilt(settings, doubled())).resumed_at == 0


async def test_a_snapshot_that_was_begun_before_keeps_the_tables_it_has(
    settings: Settings, pool: Pool, log: Log
) -> None:
    events = sales(100)
    await log.append(events)
    await read_all(settings, pool)
    async with (
        asyncio.timeout(30),
        Figures(pool, settings.partitions).snapshot("sales") as (transaction, complete_to),
    ):
        task = asyncio.create_task(rebuilt(settings))
        while not task.done() and not await pool.fetchval(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock' "
            "AND NOT granted AND relation = 'read_models'::regclass)"
        ):
            await asyncio.sleep(0.01)
        assert complete_to.next_offsets["orders"] == [
            row["next_offset"]
            for row in await transaction.fetch("SELECT * FROM progress ORDER BY partition")
        ]
        found = await booked(transaction)  # type: ignore[arg-type]
    assert found == recount(events)
    await task
    assert await booked(pool) == recount(events)


def doubled() -> list[Step]:
    """The steps with another version of `revenue`, of which every amount is double."""

    def twice(changes: Sequence[Any], known: Mapping[Any, Any], setting: Setting) -> Folded:
        return fold([*changes, *changes], known, setting)

    def changed(model: ReadModel) -> ReadModel:
        return replace(model, version=2, fold=twice) if model.name == "revenue" else model

    return [step._replace(model=changed(step.model)) for step in steps_of("sales")]


async def test_new_code_asks_for_a_rebuild_and_the_old_code_stops_after_it(
    settings: Settings, pool: Pool, log: Log
) -> None:
    sale = said("OrderCompleted", currency="EUR", products=[line("p1", "2.50")])
    await log.append([sale])
    await read_all(settings, pool)
    old = await opened(pool)
    with pytest.raises(ReadModelChanged, match="tillstream rebuild revenue"):
        await opened(pool, doubled())
    await rebuilt(settings, doubled())
    gross = {key: row["gross"] for key, row in (await booked(pool))[0].items()}
    assert set(gross.values()) == {5_0000}
    assert {row["gross"] for row in (await booked(pool))[1].values()} == {2_5000}
    await opened(pool, doubled())
    number = partition_of(key_of(sale), PARTITIONS)
    refund = part([said("OrderRefunded", event_id="e2", total="1.00")], 1, number)
    with pytest.raises(ReadModelChanged, match="revenue is version 2 here, the code is version 1"):
        await apply(old, refund)
    assert {key: row["gross"] for key, row in (await booked(pool))[0].items()} == gross


@pytest.mark.parametrize("most", [0, at_once.MOST_RECORDS], ids=["a transaction", "a statement"])
async def test_a_commit_that_comes_into_the_fence_does_not_hold_it_up(
    settings: Settings, pool: Pool, log: Log, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(at_once, "MOST_RECORDS", most)
    sale = said("OrderCompleted", currency="EUR", products=[line("p1", "2.50")])
    refund = said("OrderRefunded", event_id="e2", minutes=1, currency="EUR", total="1.00")
    await log.append([sale])
    await read_all(settings, pool)
    worker = await opened(pool)
    number = partition_of(key_of(sale), PARTITIONS)
    prepared = await worker.prepare(batch(part([refund], 1, number)))
    exchange, commits = rebuilding._exchange, list[asyncio.Task[None]]()

    async def while_one_commits(connection: Any, group: Group) -> None:
        if not commits:
            commits.append(asyncio.create_task(worker.commit(prepared)))
            waits = "NOT granted AND relation = 'progress'::regclass"
            while not await pool.fetchval(f"SELECT EXISTS (SELECT FROM pg_locks WHERE {waits})"):
                await asyncio.sleep(0.01)
        await exchange(connection, group)

    monkeypatch.setattr(rebuilding, "_exchange", while_one_commits)
    done = await rebuilt(settings)
    with pytest.raises(Moved):
        await commits[0]
    assert done.fence_seconds < 0.8  # Postgres looks for a deadlock after one


async def test_what_was_folded_onto_the_old_tables_is_folded_again_onto_the_new(
    settings: Settings, pool: Pool, log: Log
) -> None:
    """The order in the table is not the one of the log: a fold that builds on it would be wrong."""
    sale = said("OrderCompleted", currency="EUR", products=[line("p1", "2.50")])
    refund = said("OrderRefunded", event_id="e2", minutes=1, currency="EUR", total="1.00")
    await log.append([sale])
    await read_all(settings, pool)
    await pool.execute("DELETE FROM orders")
    worker = await opened(pool)
    number = partition_of(key_of(sale), PARTITIONS)
    todo = batch(part([refund], 1, number))
    prepared = await worker.prepare(todo)
    await rebuilt(settings)
    with pytest.raises(Moved):
        await worker.commit(prepared)
    await worker.commit(await worker.prepare(todo))
    assert await booked(pool) == recount([sale, refund])


async def test_a_read_model_that_is_new_does_not_begin_in_the_middle(
    settings: Settings, pool: Pool, log: Log
) -> None:
    events = sales(50)
    await log.append(events)
    await read_all(settings, pool, store=await opened(pool, steps_of("sales")[:1]))
    with pytest.raises(ReadModelChanged, match="tillstream rebuild revenue"):
        await opened(pool)
    await rebuilt(settings)
    await opened(pool)
    assert await booked(pool) == recount(events)


async def test_one_rebuilds_at_a_time(
    settings: Settings, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "_BUSY_SECONDS", 0.1)
    async with rebuilding._alone(group_of(settings)):
        with pytest.raises(RebuildRunning):
            await rebuilt(settings)


async def test_events_of_an_earlier_version_are_folded_as_the_present_one(
    settings: Settings, pool: Pool, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if prices had once been in cents: those on the log stay as they were said."""
    cents = said("OrderCompleted", "o1", currency="EUR", products=[line("p1", "250")])
    await log.append([cents])
    await read_all(settings, pool)
    assert {row["gross"] for row in (await booked(pool))[1].values()} == {250_0000}

    def in_units(fields: dict[str, Any]) -> dict[str, Any]:
        lines = [{**one, "price": Decimal(one["price"]) / 100} for one in fields["products"]]
        return {**fields, "products": lines}

    second = replace(VOCABULARY["OrderCompleted"], version=2)
    monkeypatch.setitem(VOCABULARY, "OrderCompleted", second)
    monkeypatch.setattr(upcast, "UPCASTERS", {("OrderCompleted", 1): in_units})
    euros = said("OrderCompleted", "o2", event_id="e2", currency="EUR", products=[line("p1", "3")])
    await log.append([replace(euros, version=2)])
    await read_all(settings, pool)
    await rebuilt(settings)
    lifted = said("OrderCompleted", "o1", currency="EUR", products=[line("p1", "2.50")])
    assert await booked(pool) == recount([lifted, euros])
    assert await pool.fetchval("SELECT count(*) FROM quarantine") == 0


async def test_what_was_sent_again_counts_once_also_where_a_later_version_takes_both(
    settings: Settings, pool: Pool, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a future version, and quarantined; sent again; and then that version comes, and a rebuild.
    Corrections of the books are known by the event's id alone."""
    sold = said("OrderCompleted", "o1", currency="EUR", products=[line("p1", "9")])
    early = said("SalesAdjusted", "o1", event_id="early", amount="1")
    again = said("SalesAdjusted", "o1", event_id="again", amount="1")
    await log.append([sold, replace(early, version=2)])
    await read_all(settings, pool)
    assert await pool.fetchval("SELECT count(*) FROM quarantine") == 1
    await pool.execute(
        """
        INSERT INTO resubmissions (
            topic, partition, record_offset, topic_id, shop, event_id, fingerprint, outbox_id
        )
        SELECT topic, partition, record_offset, topic_id, shop, 'again', 0, 0
        FROM quarantine JOIN progress USING (group_name, topic, partition)
        """
    )
    monkeypatch.setitem(
        VOCABULARY, "SalesAdjusted", replace(VOCABULARY["SalesAdjusted"], version=2)
    )
    monkeypatch.setattr(upcast, "UPCASTERS", {("SalesAdjusted", 1): dict})
    await log.append([replace(again, version=2)])
    await read_all(settings, pool)
    assert await booked(pool) == recount([sold, again])
    done = await rebuilt(settings)
    assert not any(found.differing for found in done.compared.values())
    assert await booked(pool) == recount([sold, again])
    [reason] = [row["reason"] for row in await pool.fetch("SELECT reason FROM quarantine")]
    assert reason == "skipped: resubmitted as again"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE progress SET next_offset = next_offset + 3 WHERE partition = 0",  # its tail is lost
        "UPDATE progress SET topic_id = gen_random_uuid()",  # it is another topic
    ],
)
@pytest.mark.parametrize("left", [False, True], ids=["", "of an attempt"])
async def test_after_the_log_has_changed_the_figures_become_those_of_the_log_as_it_is(
    settings: Settings, pool: Pool, log: Log, change: str, left: bool
) -> None:
    events = sales(60)
    await log.append(events[:50])
    await read_all(settings, pool)
    if left:  # an attempt that was interrupted had read the log as it was

        def interrupt(done: int, _of: int) -> None:
            if done >= 50:
                raise KeyError

        with pytest.raises(KeyError):
            await rebuild(group_of(settings), source_of(settings), interrupt)
        new = f'"{settings.schema_name}_rebuild_sales".progress'
        assert await pool.fetchval(f"SELECT sum(next_offset) FROM {new}") > 0
        await pool.execute(change.replace("progress", new))
    await pool.execute(change)
    await pool.execute("UPDATE revenue SET gross = gross + 1")
    with pytest.raises(LogChanged, match="tillstream rebuild all"):
        await read_all(settings, pool)
    await rebuilt(settings)
    assert await booked(pool) == recount(events[:50])
    await log.append(events[50:])
    await read_all(settings, pool)
    assert await booked(pool) == recount(events)
