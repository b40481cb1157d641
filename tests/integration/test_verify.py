"""Verifying: every figure that is not what the log says is named, and none that is."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from random import Random

import asyncpg
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from msgspec.structs import replace
from redis.asyncio import Redis

from app.api.gauges import registry_of
from app.api.watch import Seen
from app.settings import Settings
from app.subscriptions import steps_of
from projections.live import LiveFigures
from projections.sample import Drawn, Sampler, verify_sample
from projections.store import GroupStore, ReadModelChanged
from projections.verify import Checked, verify, verify_live
from streams.batch import LogChanged
from streams.log import Log
from tests.integration.test_rebuild import CLOCK, doubled, group_of, schemas, source_of
from tests.integration.test_subscribe import read_all, sales
from tests.sales import booked, facts, line, said

Pool = asyncpg.Pool


@pytest.fixture
async def live(settings: Settings) -> AsyncIterator[LiveFigures]:
    async with Redis.from_url(settings.servers.redis) as redis:
        yield LiveFigures(redis, settings.prefix, {})


async def whole(settings: Settings, *names: str) -> dict[str, Checked]:
    async with asyncio.timeout(60):
        checked = await verify(group_of(settings), source_of(settings), names)
    return {one.read_model: one for one in checked}


COMPARED = {step.model.name for step in steps_of("sales") if step.model.contents is not None}


async def sampled(settings: Settings, number: int, seed: int = 1) -> dict[str, Checked]:
    async with asyncio.timeout(60):
        checked = await verify_sample(group_of(settings), source_of(settings), number, Random(seed))
    return {one.read_model: one for one in checked}


def wrong(checked: dict[str, Checked]) -> dict[str, list[tuple[object, ...]]]:
    """The keys that differ, by read model."""
    return {
        name: sorted(example.key for example in one.found.examples)
        for name, one in checked.items()
        if one.found.differing
    }


async def test_every_key_that_was_tampered_with_is_named_and_nothing_is_changed(
    settings: Settings, pool: Pool, log: Log
) -> None:
    events = sales(300)
    await log.append(events)
    await read_all(settings, pool)
    clean = await whole(settings)
    assert wrong(clean) == {}
    assert set(clean) == COMPARED
    assert all(one.found.keys > 0 for one in clean.values())
    assert all(one.found.left == one.found.right for one in clean.values())
    [hour] = await pool.fetch(
        "UPDATE revenue SET gross = gross + 0.0001 WHERE ctid = "
        "(SELECT ctid FROM revenue WHERE dimension = 'product' LIMIT 1) RETURNING *"
    )
    await pool.execute("DELETE FROM orders WHERE order_id = 'o7'")
    await pool.execute("UPDATE best_sellers SET units = units - 1 WHERE product = 'p1'")
    before = await booked(pool)
    found = await whole(settings)
    assert wrong(found)["revenue"] == [
        tuple(hour[name] for name in ("shop", "dimension", "hour", "key", "currency"))
    ]
    assert wrong(found)["orders"] == [("main", "o7")]
    assert {key[2] for key in wrong(found)["best_sellers"]} == {"p1"}
    assert found["orders"].found.examples[0].left is None
    assert await booked(pool) == before
    assert await schemas(pool, settings) == {settings.schema_name}
    rows = await pool.fetch("SELECT * FROM verify_results WHERE scope = 'whole'")
    kept = {row["read_model"]: (row["differing"] > 0, row["checks"], row["failed"]) for row in rows}
    tampered = {"orders", "revenue", "best_sellers"}
    assert kept == {name: (name in tampered, 2, int(name in tampered)) for name in COMPARED}
    registry, alarm = await registry_of(Seen({}), pool), "tillstream_verify_differing_keys"
    labels = {"read_model": "orders", "scope": "whole"}
    assert registry.get_sample_value(alarm, labels) == 1


async def test_only_what_is_asked_for_is_compared(settings: Settings, pool: Pool, log: Log) -> None:
    await log.append(sales(50))
    await read_all(settings, pool)
    await pool.execute("DELETE FROM orders")
    assert wrong(await whole(settings, "revenue")) == {}


async def test_a_sample_finds_what_is_wrong_with_its_orders_and_their_days(
    settings: Settings, pool: Pool, log: Log
) -> None:
    events = sales(300)
    await log.append(events)
    await read_all(settings, pool)
    checked = await sampled(settings, 3)
    assert 3 <= checked["orders"].found.keys <= 6
    assert set(checked) == COMPARED - {"sales_lines"}  # of a day there may be too many
    assert wrong(checked) == {}
    await pool.execute("UPDATE best_sellers SET units = units - 1 WHERE product = 'p1'")
    await pool.execute("DELETE FROM revenue WHERE dimension = 'country'")
    found = wrong(await sampled(settings, 3))
    assert {key[2] for key in found["best_sellers"]} == {"p1"}
    assert {key[1] for key in found["revenue"]} == {"country"}
    await pool.execute("UPDATE orders SET status = 'broken'")
    found = wrong(await sampled(settings, 3))
    assert len(found["orders"]) >= 3
    kept = await pool.fetchrow(
        "SELECT * FROM verify_results WHERE read_model = 'orders' AND scope = 'sample'"
    )
    assert kept is not None
    assert (kept["checks"], kept["failed"]) == (3, 1)


async def test_an_order_that_the_figures_have_lost_is_found_though_it_is_nowhere(
    settings: Settings, pool: Pool, log: Log
) -> None:
    """A sample is drawn from the log: what is missing cannot be drawn from a table."""
    sale = said("OrderCompleted", currency="EUR", products=[line("p1", "2.50")])
    await log.append([sale])
    await read_all(settings, pool)
    for table in COMPARED:
        await pool.execute(f"DELETE FROM {table}")
    assert wrong(await sampled(settings, 5)) == {"orders": [("main", "o1")]}


async def test_where_the_log_has_lost_its_beginning_no_figure_is_called_wrong(
    settings: Settings, pool: Pool, log: Log, partitions: int
) -> None:
    await log.append(sales(100))
    await read_all(settings, pool)
    orders = f"{settings.prefix}orders"
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.servers.kafka)
    await admin.start()
    try:
        await admin.delete_records(
            {TopicPartition(orders, n): RecordsToDelete(2) for n in range(partitions)}
        )
    finally:
        await admin.close()
    with pytest.raises(LogChanged, match="begins at 2"):
        await sampled(settings, 5)
    assert await pool.fetchval("SELECT count(*) FROM verify_results") == 0


def test_a_sample_is_as_large_as_it_is_to_be_and_whole_for_each_key() -> None:
    events = [said("OrderPaid", f"o{n % 500}", event_id=f"e{n}") for n in range(2_000)]
    drawn = Drawn(10, seed=3)
    for fact in facts(events):
        drawn.offer(fact)
    assert 5 <= len(drawn.facts) <= 20
    assert {len(found) for found in drawn.facts.values()} == {4}


async def test_a_worker_checks_samples_by_itself(settings: Settings, pool: Pool, log: Log) -> None:
    await log.append(sales(40))
    await read_all(settings, pool)
    every = timedelta(milliseconds=10)
    sampler = Sampler(group_of(settings), source_of(settings), 5, every, rest=1.0)
    task = asyncio.create_task(sampler.run())
    try:
        async with asyncio.timeout(30):
            while not await pool.fetchval("SELECT sum(checks) > 3 FROM verify_results"):
                await asyncio.sleep(0.02)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await pool.fetchval("SELECT sum(failed) FROM verify_results") == 0


async def test_tables_of_other_code_are_not_called_wrong(
    settings: Settings, pool: Pool, log: Log
) -> None:
    await log.append(sales(20))
    await read_all(settings, pool)
    with pytest.raises(ReadModelChanged, match="tillstream rebuild revenue"):
        await verify(group_of(settings, doubled()), source_of(settings), ())


async def test_a_live_figure_that_redis_has_otherwise_is_named(
    settings: Settings, pool: Pool, log: Log, live: LiveFigures
) -> None:
    now = datetime.now(UTC)
    sale = said("OrderCompleted", currency="EUR", products=[line("p1", "2.50")])
    await log.append([replace(sale, time=now, received_at=now)])
    await read_all(settings, pool)
    store = GroupStore(pool, "sales", steps_of("sales"), CLOCK)
    await store.register()
    figures = await store.live_figures()
    await live.refill(figures)
    [clean] = await verify_live(group_of(settings), source_of(settings), live)
    assert (clean.found.keys, clean.found.differing) == (len(figures), 0)
    wanted = figures[0]
    gone = wanted._replace(key="never|" + wanted.key)
    more = wanted._replace(value={**wanted.value, "units": 7}, revision=9)
    await live.publish([gone, more])
    [found] = await verify_live(group_of(settings), source_of(settings), live)
    assert {one.key[2] for one in found.found.examples} == {wanted.key, gone.key}
    # A rebuild takes out what its tables do not have, and sets right what they have.
    await pool.execute("UPDATE read_models SET generation = 2")
    await store.register()
    await live.refill(await store.live_figures())
    await live.retire({"revenue": 2, "best_sellers": 2})
    [mended] = await verify_live(group_of(settings), source_of(settings), live)
    assert mended.found.differing == 0
