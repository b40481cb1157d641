"""The state of an earlier version is migrated, and goes on as if it had always been of this one.

`tests/fixtures/state-0006.jsonl` is what a worker of the version with six migrations had read, and
what it had made of it; `state-0036.jsonl` that of the version with the migrations up to that one. A
migration that changes tables gets another such file beside it.
"""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from app.cli.rebuild import _stale
from app.settings import Settings
from app.subscriptions import steps_of
from projections import postgres
from projections.postgres import connect, migrate
from projections.refold import Group
from projections.skips import of_group, standing
from projections.store import GroupStore
from projections.verify import verify
from streams import codec
from streams.batch import Partition
from streams.codec import Refused
from streams.events import Event
from streams.log import Log
from streams.topic_ids import topic_ids
from streams.topics import TOPICS, create_topics
from tests.e2e.service import end, environment, run_cli
from tests.integration.test_rebuild import CLOCK, doubled, group_of, rebuilt, source_of
from tests.integration.test_subscribe import PARTITIONS, read_all, sales
from tests.sales import booked, recount

FIXTURES = Path(__file__).parents[1] / "fixtures"
FIRST, LATEST = "0006", "0036"  # the last migration of each

Pool = asyncpg.Pool
State = Sequence[Mapping[str, Any]]


@pytest.fixture
def last() -> str:
    return FIRST


@pytest.fixture
def state(last: str) -> State:
    lines = (FIXTURES / f"state-{last}.jsonl").read_text().splitlines()
    return [json.loads(line, parse_float=str) for line in lines]


@pytest.fixture
async def events(settings: Settings, state: State) -> list[Event]:
    """The log of then, appended as it stood; the events in it that count."""
    servers = settings.servers
    await create_topics(servers.kafka, PARTITIONS, settings.prefix, topics=("orders",))
    topic = settings.prefix + "orders"
    found: dict[str, Event] = {}
    async with AIOKafkaProducer(bootstrap_servers=servers.kafka) as producer:
        for one in state:
            if "partition" in one:
                value = one["value"].encode()
                await producer.send_and_wait(topic, value, one["key"].encode(), one["partition"])
                try:
                    event = codec.decode_envelope(value)
                    found.setdefault(event.id, event)
                except Refused:
                    pass
    return list(found.values())


@pytest.fixture
async def pool(
    settings: Settings,
    last: str,
    state: State,
    events: list[Event],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Pool]:
    """The tables of then, with what they held."""
    dsn, topic = settings.servers.postgres, settings.prefix + "orders"
    every = postgres._migrations()
    with monkeypatch.context() as patched:
        first = [(name, sql) for name, sql in every if name[:4] <= last]
        patched.setattr(postgres, "_migrations", lambda: first)
        await migrate(dsn, settings.schema_name)
    found = await connect(dsn, settings.schema_name)
    rows: dict[str, list[Any]] = {}
    for one in state:
        if "table" in one:
            rows.setdefault(one["table"], []).append(one["row"])
    for table, held in rows.items():
        compact = json.dumps(held, separators=(",", ":"), ensure_ascii=False)
        await found.execute(
            f"INSERT INTO {table} SELECT * FROM json_populate_recordset(null::{table}, $1)", compact
        )
    ids = await topic_ids(settings.servers.kafka, [topic])
    for table in ("progress", "resubmissions") if last > FIRST else ("progress",):
        await found.execute(f"UPDATE {table} SET topic_id = $1", ids[topic])
    yield found
    found.terminate()


async def gone_on(settings: Settings, pool: Pool) -> list[Event]:
    """What the shop sells from now on, which is read, too."""
    more = sales(60, start=100, orders=10)
    log = Log(settings.servers.kafka, PARTITIONS, settings.prefix, deadline=20)
    await log.start()
    await log.connected()
    await log.append(more)
    await log.stop()
    await read_all(settings, pool)
    return more


async def test_a_worker_goes_on_from_the_state_of_an_earlier_version(
    settings: Settings, pool: Pool, events: list[Event]
) -> None:
    assert await booked(pool) == recount(events)
    applied = await migrate(settings.servers.postgres, settings.schema_name)
    assert applied == [name for name, _ in postgres._migrations() if name[:4] > FIRST]
    [reason] = await _stale(group_of(settings))  # read models that then were others, or none
    assert "tillstream rebuild orders" in reason
    done = await rebuilt(settings)
    assert not done.compared["revenue"].differing
    more = await gone_on(settings, pool)
    assert await booked(pool) == recount([*events, *more])
    counts = await pool.fetchrow(
        "SELECT sum(applied) AS applied, sum(repeated) AS repeated, sum(quarantined) AS quarantined"
        " FROM progress"
    )
    assert counts is not None
    assert tuple(counts) == (len(events) + len(more), 2, 1)
    checked = await verify(group_of(settings), source_of(settings), ())
    assert {one.read_model for one in checked} >= {"orders", "revenue", "sales_lines"}
    assert not any(one.found.differing for one in checked)
    done = await rebuilt(settings)
    assert not any(found.differing for found in done.compared.values())


@pytest.mark.parametrize("last", [LATEST])
async def test_a_worker_goes_on_from_the_state_of_the_last_version(
    settings: Settings, pool: Pool, events: list[Event]
) -> None:
    """With an event that it had failed on and was to pass by, and one that was sent again."""
    assert await booked(pool) == recount(events)
    applied = await migrate(settings.servers.postgres, settings.schema_name)
    assert applied == [name for name, _ in postgres._migrations() if name[:4] > LATEST]
    assert await _stale(group_of(settings)) == []
    passed_by = await of_group(pool, "sales")
    assert sorted(passed_by[Partition("orders", 0)].values()) == ["bug 12", "resubmitted as e1"]
    assert [str(one.position) for one in await standing(pool)] == ["orders:0:1000000"]
    more = await gone_on(settings, pool)
    assert await booked(pool) == recount([*events, *more])
    checked = await verify(group_of(settings), source_of(settings), ())
    assert not any(one.found.differing for one in checked)
    done = await rebuilt(settings)
    assert not any(found.differing for found in done.compared.values())


async def test_upgrading_makes_anew_what_has_changed_and_then_there_is_nothing_left(
    settings: Settings, pool: Pool, events: list[Event]
) -> None:
    said = []
    for command, code in (("upgrade --only-say", 1), ("upgrade", 0), ("upgrade", 0)):
        variables = {**environment(settings), "TILLSTREAM_PARTITIONS": str(PARTITIONS)}
        process = run_cli(*command.split(), environment=variables, stderr=-1)
        try:
            _, told = await asyncio.to_thread(process.communicate, timeout=120)
        finally:
            if process.poll() is None:
                end(process, signal.SIGKILL)
        assert process.returncode == code, told
        said.append(" ".join(told.decode().split()))
    assert "0007_verify_results.sql" in said[0]
    assert "run `tillstream rebuild orders`" in said[0]
    assert "run `tillstream rebuild orders`" in said[1]
    assert "the tables are of this version" in said[2]
    topics = [settings.prefix + topic for topic in TOPICS]
    assert (await topic_ids(settings.servers.kafka, topics)).keys() == set(topics)
    assert await booked(pool) == recount(events)
    assert await pool.fetchval("SELECT count(*) FROM sales_lines") > 0


async def test_a_new_group_reads_an_old_log_from_its_beginning_by_itself(
    settings: Settings, pool: Pool, events: list[Event]
) -> None:
    await migrate(settings.servers.postgres, settings.schema_name)
    steps = steps_of("activity")
    group = Group(settings.servers.postgres, settings.schema_name, "activity", steps)
    assert await _stale(group) == []
    store = GroupStore(pool, "activity", steps, CLOCK)
    await store.register()
    await read_all(settings, pool, store=store)
    sold = {event.id for event in events if event.type == "OrderCompleted"}
    assert sold
    async with asyncio.timeout(30):
        whole = "SELECT sum(ordered) FROM funnel WHERE product = ''"
        while await pool.fetchval(whole) != len(sold):
            await asyncio.sleep(0.05)


async def test_a_read_model_of_other_code_is_named_before_its_workers_stop_at_it(
    settings: Settings, pool: Pool
) -> None:
    await migrate(settings.servers.postgres, settings.schema_name)
    await rebuilt(settings)
    assert await _stale(group_of(settings)) == []
    [reason] = await _stale(group_of(settings, doubled()))
    assert "tillstream rebuild revenue" in reason
    assert steps_of("sales")[1].model.version == 1
